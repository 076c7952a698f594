"""Compressed files: read as what they hold, and nothing of them left behind."""

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest

import gfnode
from commands import works
from gfnode.errors import InputError
from gfnode.readers.joined import load_joined

PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def packed(path: Path, suffix: str = ".gz") -> Path:
    there = path.with_name(path.name + suffix)
    there.write_bytes(PACK[suffix](path.read_bytes()))
    path.unlink()
    return there


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("GFNODE_SCRATCH", str(folder))
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture
def few():
    return gfnode.load("sample:toluene")[:12]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".GZ"])
@pytest.mark.parametrize("kind", [".extxyz", ".npz", ".lammpstrj"])
def test_what_a_compressed_file_holds_is_read(few, tmp_path, scratch, kind, suffix):
    few.save(tmp_path / f"few{kind}")
    path = packed(tmp_path / f"few{kind}", suffix.lower())
    path = path.rename(path.with_suffix(suffix))
    read = gfnode.load(path)
    np.testing.assert_allclose(read.positions, few.positions, atol=1e-5)
    np.testing.assert_allclose(read.times, few.times)
    assert kind == ".npz" or read.source == str(path)  # npz knows where it came from


def test_a_compressed_trajectory_beside_a_compressed_topology(few, tmp_path, scratch):
    few.save(tmp_path / "few.xtc")
    path, top = packed(tmp_path / "few.xtc"), packed(tmp_path / "few.pdb", ".bz2")
    read = gfnode.load(path, top=top)
    np.testing.assert_allclose(read.positions, few.positions, atol=0.006)
    np.testing.assert_array_equal(read.numbers, few.numbers)


def test_parts_of_a_series_one_of_them_compressed(few, tmp_path, scratch):
    few[:6].save(tmp_path / "a.extxyz")
    few[6:].save(tmp_path / "b.extxyz")
    read = load_joined([packed(tmp_path / "b.extxyz"), tmp_path / "a.extxyz"])
    np.testing.assert_allclose(read.positions, few.positions, atol=1e-5)


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("damage", ["cut", "flipped", "none of it"])
def test_a_damaged_one_is_refused_by_its_name(few, tmp_path, scratch, suffix, damage):
    few.save(tmp_path / "few.extxyz")
    path = packed(tmp_path / "few.extxyz", suffix)
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    path.write_bytes({"cut": data[: len(data) // 2], "none of it": b"text\n"}.get(damage, data))
    with pytest.raises(InputError, match=rf"few\.extxyz\{suffix}: cannot be unpacked.*damaged"):
        gfnode.load(path)


def test_errors_within_name_the_compressed_file(tmp_path, scratch):
    (tmp_path / "bad.extxyz").write_text("2\ncomment\nC 0 0 0\nC 0 0\n")
    path = packed(tmp_path / "bad.extxyz")
    with pytest.raises(InputError) as error:
        gfnode.load(path, step="1fs")
    assert str(error.value).startswith(str(path))
    assert str(scratch) not in str(error.value)


def test_an_unknown_format_is_told_before_it_is_unpacked(tmp_path, scratch):
    path = tmp_path / "run.tar.gz"
    path.write_bytes(b"not gzip at all")
    with pytest.raises(InputError, match=r"unknown format \.tar"):
        gfnode.load(path)


def test_no_room_on_the_disk_is_one_clear_error(few, tmp_path, monkeypatch):
    few.save(tmp_path / "few.extxyz")
    path = packed(tmp_path / "few.extxyz")
    monkeypatch.setenv("GFNODE_SCRATCH", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="GFNODE_SCRATCH"):
        gfnode.load(path)


def test_compressed_files_are_not_written(few, tmp_path):
    with pytest.raises(InputError, match=r"write few\.extxyz and compress it"):
        few.save(tmp_path / "few.extxyz.gz")


def test_the_command_line_reads_it(few, tmp_path, scratch):
    few.save(tmp_path / "few.extxyz")
    assert "15 atoms, 12 frames" in works("data", packed(tmp_path / "few.extxyz"))
