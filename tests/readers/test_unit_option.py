"""``unit``: lengths of a file in another unit than that of its format."""

from dataclasses import replace

import mdtraj
import numpy as np
import pytest

import gfnode
from commands import fails, works
from gfnode.errors import InputError
from gfnode.readers import Reader
from gfnode.readers.joined import load_joined
from gfnode.units import BOHR


@pytest.fixture(scope="module")
def toluene():
    sample = gfnode.load("sample:toluene")[:60]
    cell = np.repeat(np.diag([30.0, 31.0, 32.0]).astype(np.float32)[None], 60, 0)
    return replace(sample, cell=cell, forces=None)


def times(toluene, factor):
    """The same with lengths times a factor."""
    found = {key: getattr(toluene, key) * np.float32(factor) for key in ("positions", "velocities")}
    return replace(toluene, cell=toluene.cell * np.float32(factor), **found)


@pytest.mark.parametrize(("unit", "worth"), [("nm", 10.0), ("bohr", BOHR), ("pm", 0.01)])
def test_lengths_velocities_and_cell_are_in_the_unit(toluene, unit, worth, tmp_path):
    path = times(toluene, 1 / worth).save(tmp_path / "other.extxyz")
    for found in (gfnode.load(path, unit=unit), load_joined([path], unit=unit)):
        for key in ("positions", "velocities", "cell"):
            np.testing.assert_allclose(getattr(found, key), getattr(toluene, key), atol=2e-4)
        assert np.array_equal(found.times, toluene.times)


def test_angstrom_in_a_file_of_nm(toluene, tmp_path):
    """As scripts write it that forget that mdtraj has nm."""
    top = toluene[:1].save(tmp_path / "toluene.pdb")
    with mdtraj.formats.XTCTrajectoryFile(str(tmp_path / "wrong.xtc"), "w") as file:
        file.write(toluene.positions, time=np.asarray(toluene.times / 1000, dtype=np.float32))
    found = gfnode.load(tmp_path / "wrong.xtc", top=top, unit="Å")
    np.testing.assert_allclose(found.positions, toluene.positions, atol=1e-3)


def test_the_command_line_finds_it_and_trains(toluene, tmp_path):
    path = times(toluene, 0.1).save(tmp_path / "nm.extxyz")
    said = fails("train", path, "--out", tmp_path / "run")
    assert "positions look like nm, not Å" in said
    assert "read the file with --unit nm" in said
    advice = next(line for line in works("data", path).splitlines() if "gfnode train" in line)
    assert "--unit nm" in advice
    horizon = ("--set", "windows.horizon=20fs", "--set", "model.name=persistence")
    works("train", path, "--unit", "nm", *horizon, "--out", tmp_path / "run")
    run = gfnode.Run.open(tmp_path / "run")
    np.testing.assert_allclose(
        run.predict(path, [5.0]).positions[0], toluene.positions[0], atol=1e-4
    )


def test_what_is_no_unit_and_a_mapping_beside_it_are_refused(toluene, tmp_path):
    path = toluene.save(tmp_path / "t.npz")
    with pytest.raises(InputError, match="the unit of length is 'mile', expected one of angstrom"):
        gfnode.load(path, unit="mile")
    with pytest.raises(InputError, match="give the unit of each array there"):
        gfnode.load(path, unit="nm", mapping="positions=positions,numbers=numbers,times=times")


def test_files_that_state_their_unit_are_not_read_in_another(toluene, tmp_path):
    own = toluene.save(tmp_path / "own.npz")
    arrays = {"R": toluene.positions / BOHR, "z": toluene.numbers}
    np.savez(tmp_path / "silent.npz", **arrays)
    np.savez(tmp_path / "stating.npz", **arrays, r_unit="bohr")
    for path in (own, tmp_path / "stating.npz"):
        with pytest.raises(InputError, match="the file states its unit of length"):
            gfnode.load(path, unit="bohr", step=5)
    for name, unit in (("silent", "bohr"), ("stating", None)):
        found = gfnode.load(tmp_path / f"{name}.npz", unit=unit, step=5)
        np.testing.assert_allclose(found.positions, toluene.positions, atol=1e-4)


def test_a_run_reads_its_own_files_in_the_unit_and_others_as_they_are(toluene, tmp_path):
    path = times(toluene, 1 / BOHR).save(tmp_path / "bohr.extxyz")
    changes = {"windows.horizon": "20fs", "model.name": "persistence", "windows.score": "all"}
    reader = Reader(unit="bohr")
    run = gfnode.fit(path, changes=changes, out=tmp_path / "run", reader=reader, progress=False)
    predicted = run.predict(path, [5.0]).save(tmp_path / "predicted.extxyz")
    assert run.provenance.reader(path).unit == "bohr"
    assert run.provenance.reader(predicted).unit is None
    assert np.isfinite(run.evaluate().errors["persistence"]).all()
