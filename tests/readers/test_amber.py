"""AMBER NetCDF against MDAnalysis, on files of AMBER and on our own."""

from dataclasses import replace
from pathlib import Path

import MDAnalysis
import MDAnalysisTests.datafiles as real
import numpy as np
import pytest
from scipy.io import netcdf_file

from gfnode.errors import InputError
from gfnode.readers import load, save
from gfnode.units import KJ_MOL
from making import wiggle

FORCE = KJ_MOL  # u Å/fs² in one kJ/mol/Å, as MDAnalysis has forces


def check(path: Path, top: Path, **options: object) -> None:
    """All arrays of every frame as MDAnalysis reads them."""
    ours = load(path, top=top, select="all", whole=False, **options)
    theirs = MDAnalysis.Universe(str(top), str(path), format="NCDF")
    assert len(ours) == len(theirs.trajectory)
    for number, frame in enumerate(theirs.trajectory):
        np.testing.assert_allclose(ours.positions[number], frame.positions, rtol=0, atol=1e-5)
        assert (ours.velocities is None) == (not frame.has_velocities)
        if ours.velocities is not None:
            np.testing.assert_allclose(ours.velocities[number] * 1e3, frame.velocities, rtol=1e-5)
        assert (ours.forces is None) == (not frame.has_forces)
        if ours.forces is not None:
            expected = frame.forces * FORCE
            np.testing.assert_allclose(ours.forces[number], expected, rtol=1e-4, atol=1e-9)
        if ours.cell is not None:
            box = MDAnalysis.lib.mdamath.triclinic_vectors(frame.dimensions)
            np.testing.assert_allclose(ours.cell[number], box, rtol=1e-4, atol=1e-4)
        if not options:
            assert ours.times[number] == pytest.approx(frame.time * 1e3)


@pytest.mark.filterwarnings("ignore")
def test_a_file_of_amber() -> None:
    """Velocities, forces and a box of water."""
    check(Path(real.TRJ_NCBOX), Path(real.PRM_NCBOX))


@pytest.mark.filterwarnings("ignore")
def test_times_that_do_not_run_take_a_step() -> None:
    with pytest.raises(InputError, match=r"all 30 frames are at 0 fs; .* --step 2fs"):
        load(real.NCDF, top=real.PRMncdf)
    check(Path(real.NCDF), Path(real.PRMncdf), step="2fs")


@pytest.mark.filterwarnings("ignore")
def test_ours_is_read_by_mdanalysis(tmp_path: Path) -> None:
    made = wiggle(40)
    rng = np.random.default_rng(1)
    cell = np.zeros((40, 3, 3), np.float32)
    cell[:] = [[20, 0, 0], [3, 21, 0], [-4, 5, 22]]
    forces = rng.normal(0, 1e-3, made.positions.shape).astype(np.float32)
    made = replace(made, cell=cell, forces=forces)
    path = save(made, tmp_path / "run.nc")
    check(path, tmp_path / "run.pdb")
    again = load(path, top=tmp_path / "run.pdb", whole=False)
    np.testing.assert_array_equal(again.positions, made.positions)
    np.testing.assert_allclose(again.velocities, made.velocities, rtol=1e-6)
    np.testing.assert_allclose(again.forces, made.forces, rtol=1e-6)
    with netcdf_file(str(path), "r", mmap=False) as file:
        assert file.Conventions == b"AMBER"
        assert file.variables["velocities"].scale_factor == pytest.approx(20.455)


def written(path: Path, kind: str = "f", **variables: object) -> Path:
    """A NetCDF file of water, some variables of it replaced or left out (None)."""
    with netcdf_file(str(path), "w") as file:
        for key, length in (("frame", None), ("atom", 3), ("spatial", 3)):
            file.createDimension(key, length)
        x = np.arange(45, dtype=float).reshape(5, 3, 3)
        given = {"coordinates": (x, "angstrom"), "time": (0.002 * np.arange(5), "picosecond")}
        for key, found in (given | variables).items():
            if found is not None:
                values, unit = found
                made = file.createVariable(key, kind, ("frame", "atom", "spatial")[: values.ndim])
                made[:] = values
                if unit:
                    made.units = unit
    return path


@pytest.fixture
def water(tmp_path: Path) -> Path:
    save(wiggle(1), tmp_path / "water.pdb")
    return tmp_path / "water.pdb"


X = np.arange(45, dtype=float).reshape(5, 3, 3)


@pytest.mark.parametrize("kind", ["f", "d"])
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (X, 2.0, None)),
        ({"coordinates": (X, "nanometer")}, (10 * X, 2.0, None)),
        ({"coordinates": (X, "")}, (X, 2.0, None)),
        ({"time": (np.arange(5.0), "femtosecond")}, (X, 1.0, None)),
        ({"velocities": (X, "angstrom/picosecond")}, (X, 2.0, 1e-3 * X)),
        ({"velocities": (X, "nm/ps")}, (X, 2.0, 1e-2 * X)),
        ({"extra": (X, "")}, (X, 2.0, None)),
    ],
)
def test_units(tmp_path, water, kind, variables, expected):
    positions, spacing, velocities = expected
    path = written(tmp_path / "a.nc", kind, **variables)
    found = load(path, top=water, whole=False)
    np.testing.assert_allclose(found.positions, positions, rtol=1e-6)
    np.testing.assert_allclose(found.times, spacing * np.arange(5))
    assert (found.velocities is None) == (velocities is None)
    if velocities is not None:
        np.testing.assert_allclose(found.velocities, velocities, rtol=1e-6)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"coordinates": None}, r"expected coordinates \(frame, atom, 3\) .*, got none"),
        ({"coordinates": (X[..., 0], "angstrom")}, r"got of shape \(5, 3\)"),
        ({"coordinates": (X, "parsec")}, r"the unit of coordinates is 'parsec', expected one of"),
        ({"time": None}, "stores no times: give --step"),
        (
            {"velocities": (X[..., 0], "nm/ps")},
            r"velocities have shape \(5, 3\), expected \(5, 3, 3\)",
        ),
        (
            {"coordinates": (np.where(X < 30, X, 9.96921e36), "angstrom")},
            r"frame 3 was never written \(was the run interrupted",
        ),
    ],
)
def test_bad_files(tmp_path, water, variables, words):
    path = written(tmp_path / "a.nc", **variables)
    with pytest.raises(InputError, match=words):
        load(path, top=water, whole=False)


def test_times_of_other_frames_are_refused(tmp_path, water):
    """The last two frames were left out without a word."""
    path = written(tmp_path / "a.nc", time=None)
    with netcdf_file(str(path), "a") as file:
        file.createVariable("time", "f", ("atom",))[:] = np.arange(3.0)
    with pytest.raises(InputError, match=r"times have shape \(3,\), .* for 5 frames"):
        load(path, top=water, whole=False)
    assert len(load(path, top=water, whole=False, step="2fs")) == 5


def test_angles_of_the_cell_have_a_scale_too(tmp_path, water):
    box = np.full((5, 3), 20.0), np.full((5, 3), 45.0)
    path = written(tmp_path / "a.nc", cell_lengths=(box[0], "angstrom"), cell_angles=(box[1], ""))
    with netcdf_file(str(path), "a") as file:
        file.variables["cell_angles"].scale_factor = 2.0
    found = load(path, top=water, whole=False)
    np.testing.assert_allclose(found.cell, np.tile(20 * np.eye(3), (5, 1, 1)), atol=1e-5)


def test_netcdf_4_says_what_to_do(tmp_path, water):
    (tmp_path / "a.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(InputError, match=r"is NetCDF 4 .* nccopy -k nc6"):
        load(tmp_path / "a.nc", top=water)
