"""ASE's trajectories, against ASE: real ones made by its dynamics, and our own."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io.trajectory import Trajectory as AseTrajectory
from ase.md.verlet import VelocityVerlet
from damaging import any_damage, loaded_or_refused
from hypothesis import strategies as st

from gfnode.errors import InputError
from gfnode.readers import load, save
from gfnode.units import ELECTRONVOLT
from making import wiggle


def run(path: Path, atoms: Atoms) -> Path:
    """Eleven frames of a run by ASE, every 4 fs."""
    atoms.calc = EMT()
    atoms.set_velocities(np.random.default_rng(0).normal(0, 0.02, (len(atoms), 3)))
    dynamics = VelocityVerlet(atoms, 2 * units.fs)
    with AseTrajectory(str(path), "w", atoms) as file:
        dynamics.attach(file.write, interval=2)
        dynamics.run(20)
    return path


def check(path: Path, **options: object) -> None:
    """All of every frame as ASE reads it."""
    ours = load(path, whole=False, **options)
    theirs = ase.io.read(path, index=":")
    assert len(ours) == len(theirs)
    for number, atoms in enumerate(theirs):
        np.testing.assert_allclose(ours.positions[number], atoms.positions, rtol=1e-6, atol=1e-6)
        assert ours.numbers.tolist() == atoms.numbers.tolist()
        if ours.velocities is not None:
            velocities = atoms.get_velocities() * units.fs
            np.testing.assert_allclose(ours.velocities[number], velocities, rtol=1e-6, atol=1e-9)
        if ours.forces is not None:
            forces = atoms.get_forces(apply_constraint=False) * ELECTRONVOLT
            np.testing.assert_allclose(ours.forces[number], forces, rtol=1e-6, atol=1e-9)
        cell = atoms.cell.array * atoms.pbc[:, None]
        np.testing.assert_allclose(0 if ours.cell is None else ours.cell[number], cell, rtol=1e-6)


def test_a_run_of_ase(tmp_path: Path) -> None:
    """A crystal with a constraint, in a cell that leans, of which a direction is open."""
    crystal = bulk("Cu") * (2, 2, 3)
    crystal.pbc = [True, True, False]
    crystal.set_constraint(FixAtoms([0]))
    crystal.rattle(0.05, seed=1)
    path = run(tmp_path / "run.traj", crystal)
    with pytest.raises(InputError, match=r"stores no times: give --step"):
        load(path)
    check(path, step="4fs")
    found = load(path, step="4fs", whole=False)
    moved = np.diff(found.positions, axis=0)
    middle = (found.velocities[1:] + found.velocities[:-1]) / 2 * 4
    np.testing.assert_allclose(moved, middle, rtol=0.05, atol=1e-3)
    assert found.forces is not None


def test_isotopes_rest_and_times(tmp_path: Path) -> None:
    """ASE leaves momenta out at rest."""
    path = tmp_path / "a.traj"
    water = molecule("H2O")
    water.set_masses([15.999, 2.014, 2.014])
    with AseTrajectory(str(path), "w") as file:
        for i in range(4):
            water.info = {"time_ps": 0.002 * i, "name": "heavy", "note": [1, 2]}
            if i == 2:
                water.set_velocities(np.ones((3, 3)))
            file.write(water)
    check(path)
    found = load(path)
    assert found.times.tolist() == [0, 2, 4, 6]
    assert found.name == "heavy"
    np.testing.assert_allclose(found.atom_masses, [15.999, 2.014, 2.014])
    assert any("2 of 4 frames store no momenta" in note for note in found.notes)


def test_frames_with_heads_of_their_own(tmp_path: Path) -> None:
    """ASE repeats the head where a frame differs; a frame without one follows the first."""
    path = tmp_path / "a.traj"
    with AseTrajectory(str(path), "w") as file:
        for i in range(5):
            box = Atoms("CO", [[0, 0, 0], [0, 0, 1.1 + i]], cell=[9, 9, 9], pbc=i > 1)
            box.info["time"] = i
            if i < 3:
                box.calc = SinglePointCalculator(box, forces=np.ones((2, 3)), energy=1.0)
            file.write(box)
    check(path)
    (note,) = load(path, whole=False).notes
    assert "forces are left out, as 2 of 5 frames do not have them (the first is frame 3)" in note


def test_ours_is_read_by_ase(tmp_path: Path) -> None:
    made = wiggle(40)
    rng = np.random.default_rng(1)
    cell = np.broadcast_to(np.float32([[0, 20, 0], [3, 21, 5], [-4, 5, 22]]), (40, 3, 3))
    forces = rng.normal(0, 1e-3, made.positions.shape).astype(np.float32)
    made = replace(made, cell=cell, forces=forces, atom_masses=np.full(made.n_atoms, 30.0))
    path = save(made, tmp_path / "run.traj")
    check(path)
    again = load(path, whole=False)
    for key in ("positions", "times", "numbers", "cell", "atom_masses"):
        np.testing.assert_array_equal(getattr(again, key), getattr(made, key), key)
    np.testing.assert_allclose(again.velocities, made.velocities, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(again.forces, made.forces, rtol=1e-6)
    assert ase.io.read(path, index=3).info["time_fs"] == made.times[3]


class Trap:
    """Creates a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


def test_pickles_are_refused(tmp_path: Path) -> None:
    """As old versions of ASE wrote them."""
    path = tmp_path / "old.traj"
    path.write_bytes(b"PickleTrajectory" + pickle.dumps(Trap(tmp_path / "ran")))
    with pytest.raises(
        InputError, match=r"is a pickle written by an old version of ASE, and reading it could run"
    ):
        load(path)
    path.write_bytes(pickle.dumps(Trap(tmp_path / "ran")))
    with pytest.raises(InputError, match=r"is not an ASE trajectory, or is damaged"):
        load(path)
    assert not (tmp_path / "ran").exists()


def patched(path: Path, **changes: object) -> Path:
    """A trajectory of water whose first frame says something else: a JSON of the same length."""
    with AseTrajectory(str(path), "w") as file:
        for i in range(2):
            water = molecule("H2O", cell=[9, 9, 9])
            water.info = {"time_fs": float(i), "pad": "x" * 400}
            water.calc = SinglePointCalculator(water, forces=np.ones((3, 3)))
            file.write(water)
    raw = path.read_bytes()
    begin = raw.index(b'{"version"')
    length = int.from_bytes(raw[begin - 8 : begin], "little")
    said = json.loads(raw[begin : begin + length])
    said["info"].pop("pad")
    for key, value in changes.items():
        said[key] = value
    text = json.dumps({k: v for k, v in said.items() if v is not None}).encode()
    assert len(text) <= length
    path.write_bytes(raw[:begin] + text.ljust(length) + raw[begin + length :])
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"positions.": None}, "frame 0 has no positions"),
        ({"positions.": {"ndarray": [[2, 3], "float64", 80]}}, r"positions of frame 0 have shape"),
        ({"positions.": {"ndarray": [[3, 3], "float64", 10**9]}}, "positions lie outside the"),
        ({"positions.": {"ndarray": [[3, 3], "float64", -8]}}, "not an ASE trajectory, or"),
        ({"positions.": {"ndarray": [[3, 3], "object", 80]}}, "positions are 'object' of shape"),
        ({"positions.": {"ndarray": [[10**12, 3], "float64", 80]}}, "positions lie outside th"),
        ({"positions.": [1]}, "not an ASE trajectory, or"),
        ({"numbers.": None}, "frame 0 has no elements"),
        ({"numbers.": {"ndarray": [[3], "int64", 80]}, "pbc": [[1]]}, "unknown element|not a"),
        ({"numbers.": None, "numbers": [0, 1, 1]}, "unknown element"),
        ({"numbers.": None, "numbers": [8, 1]}, "have shape"),
        ({"masses": [1.0, 2.0]}, "masses"),
        ({"masses": [1.0, "a", 2.0]}, "not an ASE trajectory, or"),
        ({"cell": [1, 2, 3]}, r"cell of frame 0 has shape \(3,\)"),
        ({"cell": {"__ase_objtype__": "cell"}}, "not an ASE trajectory, or|has shape"),
        ({"cell": {"__ndarray__": [[10**11], "float64", [0]]}}, "not an ASE trajectory|has shape"),
        ({"info": {"time_fs": "soon"}}, "not an ASE trajectory, or"),
        ({"info": {}}, "frame 0 has no time in its info, but others have: give --step"),
        ({"info": {"time_fs": 5.0}}, "times"),
        ({"calculator.": {"forces.": {"ndarray": [[3], "float64", 80]}}}, "forces of frame 0 have"),
    ],
)
def test_bad_files(tmp_path, changes, words):
    path = patched(tmp_path / "a.traj", **changes)
    with pytest.raises(InputError, match=words) as caught:
        load(path, whole=False)
    assert str(path) in str(caught.value)


def test_constraints_and_other_objects_stay_json(tmp_path, monkeypatch):
    """ASE would call what a stranger's file names, with what it says."""
    called = []
    monkeypatch.setattr("ase.constraints.dict2constraint", called.append)
    monkeypatch.setattr("ase.io.jsonio.create_ase_object", lambda *given: called.append(given))
    trap = {"constraints": '[{"name": "FixAtoms", "kwargs": {"indices": [0]}}]'}
    path = patched(tmp_path / "a.traj", **trap, other={"__ase_objtype__": "bandpath"})
    assert load(path).numbers.tolist() == [8, 1, 1]
    assert not called


GOOD: list[bytes] = []


@any_damage
def test_damage_of_any_kind(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "bad.traj"
    if not GOOD:
        GOOD.append(patched(path).read_bytes())
    loaded_or_refused(path, GOOD[0], data)


def test_cut_off_anywhere(tmp_path: Path) -> None:
    """At the end is room for places of further frames, which may be lost."""
    raw = patched(tmp_path / "a.traj").read_bytes().rstrip(b"\0")
    for length in range(1, len(raw) - 8, 7):
        (tmp_path / "cut.traj").write_bytes(raw[:length])
        with pytest.raises(InputError, match=r"cut\.traj: "):
            load(tmp_path / "cut.traj")
