"""Trajectories written in pieces: the same file as of the whole, whatever the pieces are."""

import errno
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import gfnode
from gfnode.errors import InputError
from gfnode.files import whole as written
from gfnode.readers.formats import OWN
from gfnode.readers.saving import Pieces, save_pieces
from gfnode.trajectory import Trajectory


@pytest.fixture(scope="module")
def whole() -> Trajectory:
    """Twenty frames of the sample, with velocities and a box."""
    sample = gfnode.load("sample:toluene")[:20]
    rng = np.random.default_rng(0)
    return Trajectory(
        sample.positions,
        sample.times,
        sample.numbers,
        velocities=1e-2 * rng.normal(size=sample.positions.shape),
        cell=np.tile(np.diag([20.0, 21.0, 22.0]), (20, 1, 1)),
        name="toluene",
    )


def cut(whole: Trajectory, *ends: int) -> Pieces:
    def pieces() -> Iterator[Trajectory]:
        return (whole[a:b] for a, b in zip((0, *ends), (*ends, len(whole)), strict=True))

    return pieces


def opened(path, like: Trajectory) -> Trajectory:
    options = (
        {"top": path.with_suffix(".pdb")}
        if path.suffix in (".xtc", ".trr", ".dcd", ".nc", ".ncdf")
        else {}
    )
    timeless = {"step": like.step} if path.suffix in (".dcd", ".pdb") else {}
    return gfnode.load(path, whole=False, **options, **timeless)


@pytest.mark.parametrize("suffix", OWN)
def test_pieces_make_the_file_of_the_whole(whole, suffix, tmp_path):
    one = whole.save(tmp_path / f"one{suffix}")
    for name, ends in (("a", (7, 8, 15)), ("b", ())):
        path = save_pieces(cut(whole, *ends), 20, tmp_path / f"{name}{suffix}")
        expected, found = opened(one, whole), opened(path, whole)
        for key in ("positions", "times", "numbers", "velocities", "cell"):
            a, b = getattr(expected, key), getattr(found, key)
            assert (a is None) == (b is None), key
            if a is not None:
                np.testing.assert_array_equal(a, b, err_msg=key)
        assert path.with_suffix(".pdb").exists() == one.with_suffix(".pdb").exists()
    if suffix not in (".h5", ".dcd"):  # which hold the time of their making
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert {each.stem for each in tmp_path.iterdir()} == {"one", "a", "b"}  # nothing is left over


@pytest.mark.parametrize("suffix", [".npz", ".xtc", ".extxyz"])
def test_takes_the_first_frames(whole, suffix, tmp_path):
    path = save_pieces(cut(whole, 7, 8, 15), 10, tmp_path / f"a{suffix}")
    np.testing.assert_allclose(opened(path, whole).times, whole.times[:10])


def test_refuses_what_is_out_of_order_or_too_little(whole, tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match=r"a\.npz: a piece begins at 25 fs, after 45 fs"):
        save_pieces(lambda: iter([whole[:10], whole[5:]]), 20, path)
    with pytest.raises(InputError, match=r"a\.npz: got 20 of 21 frames"):
        save_pieces(cut(whole, 10), 21, path)
    with pytest.raises(InputError, match=r"unknown format \.gro: expected \.npz"):
        save_pieces(cut(whole), 20, tmp_path / "a.gro")
    with pytest.raises(InputError, match=r"the folder .* does not exist"):
        save_pieces(cut(whole), 20, tmp_path / "no" / "a.npz")
    assert not list(tmp_path.iterdir())


def test_times_that_the_format_cannot_tell_apart_at_the_seam(whole, tmp_path):
    far = Trajectory(whole.positions[:2], [1e9, 1e9 + 1e-3], whole.numbers)
    with pytest.raises(InputError, match="too coarse to tell these frames apart"):
        save_pieces(cut(far, 1), 2, tmp_path / "a.xtc")


@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".dcd", ".nc"])
def test_a_topology_of_other_atoms_beside_is_refused(whole, suffix, tmp_path):
    """It would be taken for that of the new file: names, bonds and elements of another molecule."""
    path, topology = tmp_path / f"a{suffix}", tmp_path / "a.pdb"
    whole.select(np.arange(10)).save(topology)
    for write in (whole.save, lambda to: save_pieces(cut(whole, 7), 20, to)):
        with pytest.raises(InputError, match=rf"a\.pdb: already exists .* than .*a\{suffix}"):
            write(path)
        assert [each.name for each in tmp_path.iterdir()] == ["a.pdb"]
    topology.write_text("no topology\n")
    with pytest.raises(InputError, match=r"a\.pdb: already exists"):
        whole.save(path)
    save_pieces(cut(whole, 7), 20, path, anew=True)
    assert opened(path, whole).n_atoms == whole.n_atoms
    kept = topology.read_bytes()
    whole[5:].save(path)  # of the same atoms: it stays
    assert topology.read_bytes() == kept


@pytest.mark.parametrize("suffix", OWN)
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a bug"),
        InputError("source.xtc: cut off"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "source.xtc"),
    ],
)
def test_what_fails_in_making_the_pieces_is_no_failure_to_write(whole, suffix, error, tmp_path):
    def pieces() -> Iterator[Trajectory]:
        yield whole[:10]
        raise error

    with pytest.raises(type(error)) as found:
        save_pieces(pieces, 20, tmp_path / f"a{suffix}")
    assert found.value is error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", OWN)
def test_what_making_the_pieces_warns_of_is_seen(whole, suffix, tmp_path):
    def pieces() -> Iterator[Trajectory]:
        yield whole[:10]
        warnings.warn("beyond the horizon", UserWarning, stacklevel=1)
        yield whole[10:]

    with pytest.warns(UserWarning, match="beyond the horizon"):
        save_pieces(pieces, 20, tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".xtc", ".extxyz"])
def test_what_fails_in_another_library_names_the_file(whole, suffix, tmp_path, monkeypatch):
    where = {
        ".xtc": "gfnode.readers.mdtraj_writers.WRITERS",
        ".extxyz": "gfnode.readers.extxyz.ase_frames",
    }

    def broken(*_: object) -> None:
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        raise ValueError("not that")

    monkeypatch.setattr(where[suffix], {".xtc": broken} if suffix == ".xtc" else broken)
    path = tmp_path / f"a{suffix}"
    for write in (whole.save, lambda to: save_pieces(cut(whole, 7), 20, to)):
        with pytest.raises(InputError) as found:
            write(path)
        assert str(found.value) == f"{path}: cannot be written: ValueError: not that"


def test_only_an_error_of_the_file_itself_says_that_it_cannot_be_written(tmp_path):
    path = tmp_path / "a.npz"
    with (
        pytest.raises(InputError, match=r"a\.npz: cannot be written: No space left"),
        written(path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(InputError, match=r"no/a: cannot be written: No such file"),
        written(tmp_path / "no" / "a") as partial,
    ):
        partial.write_text("")
    with pytest.raises(FileNotFoundError, match=r"other\.npz"), written(path):
        Path("other.npz").read_bytes()


def test_a_precision_is_a_number(whole: Trajectory, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the precision is '0.1', expected a number of Å"):
        whole.save(tmp_path / "a.npz", precision="0.1")  # type: ignore[arg-type]
    gfnode.load(whole.save(tmp_path / "a.npz", precision=np.float32(1e-3)))  # type: ignore[arg-type]
