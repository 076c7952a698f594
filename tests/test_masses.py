"""Masses other than the standard ones: isotopes, and those moved to hydrogens for longer steps."""

import mdtraj
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule

import gfnode
from commands import call
from gfnode import geometry
from gfnode.errors import InputError
from gfnode.experiment import configure, prepare
from gfnode.models.trivial import RigidRotor
from gfnode.molecule.system import System
from gfnode.readers.joined import load_joined
from gfnode.readers.topology import _masses
from gfnode.run import Run
from gfnode.trajectory import Doubles, Trajectory
from making import wiggle

HEAVY = np.array([15.999 - 2 * 2.016, 3.024, 3.024])
"""Water whose hydrogens took mass from its oxygen."""


def heavy_water(frames: int = 400) -> Trajectory:
    """The two modes of :func:`making.wiggle`, with other masses."""
    light = wiggle(frames)
    return Trajectory(light.positions, light.times, light.numbers, light.velocities,
                      name="heavy", atom_masses=HEAVY)  # fmt: skip


def deuterated(frames: int = 2000, kelvin: float = 300.0) -> list[Atoms]:
    rng, found = np.random.default_rng(0), []
    for k in range(frames):
        atoms = molecule("CH3OH")
        masses = np.where(atoms.numbers == 1, 2.014, atoms.get_masses())
        atoms.set_masses(masses)
        atoms.set_velocities(rng.normal(size=(6, 3)) * np.sqrt(units.kB * kelvin / masses)[:, None])
        atoms.info["time_fs"] = float(k)
        found.append(atoms)
    return found


def test_ase_hands_its_masses_over_and_gets_them_back():
    frames = deuterated()
    found = Trajectory.from_ase(frames)
    np.testing.assert_allclose(found.masses, frames[0].get_masses())
    assert found.temperature() == pytest.approx(300.0, rel=0.02)
    back = found[:2].to_ase()[1]
    np.testing.assert_allclose(back.get_masses(), frames[1].get_masses())
    np.testing.assert_allclose(back.get_momenta(), frames[1].get_momenta(), rtol=1e-5, atol=1e-6)


def test_mdanalysis_hands_them_over_and_gets_them_back():
    universe = heavy_water(5).to_mdanalysis()
    assert np.array_equal(universe.atoms.masses, HEAVY)
    assert np.array_equal(Trajectory.from_mdanalysis(universe).masses, HEAVY)


@pytest.mark.parametrize("suffix", [".npz", ".extxyz"])
def test_files_keep_them(suffix, tmp_path):
    there = heavy_water(30)
    back = gfnode.load(there.save(tmp_path / f"w{suffix}"))
    np.testing.assert_allclose(back.masses, HEAVY, rtol=1e-6)
    np.testing.assert_allclose(back.velocities, there.velocities, rtol=1e-4, atol=1e-7)
    assert back.notes == (
        f"w{suffix}: masses are not all standard: H 3.024 u (standard 1.008), "
        "O 11.97 u (standard 16)",
    )
    assert np.array_equal(back.select([1, 2]).masses, back.masses[1:])
    assert np.array_equal(back[3:9].masses, back.masses)
    assert there.fingerprint != wiggle(30).fingerprint


def test_files_that_do_not_keep_them_are_told(tmp_path):
    path = heavy_water(30).save(tmp_path / "w.npz")
    said = call("convert", path, tmp_path / "w.xtc").stderr
    assert "warning: .xtc cannot store masses: reading it will give standard ones" in said


def test_standard_ones_need_not_be_named():
    light = wiggle(30)
    rounded = Trajectory(light.positions, light.times, light.numbers, atom_masses=[16.0, 1.0, 1.0])
    assert rounded.atom_masses is None
    assert np.array_equal(rounded.masses, light.masses)
    with pytest.raises(InputError, match="the mass of atom 1 is 0 u, expected a mass above zero"):
        Trajectory(light.positions, light.times, light.numbers, atom_masses=[16.0, 0.0, 1.0])
    with pytest.raises(InputError, match=r"atom_masses has shape \(2,\), expected \(3,\)"):
        Trajectory(light.positions, light.times, light.numbers, atom_masses=[16.0, 1.0])


def test_a_map_names_them(tmp_path):
    water = heavy_water(30)
    np.savez(tmp_path / "w.npz", x=water.positions, Z=water.numbers, m=HEAVY)
    mapping = "positions=x,numbers=Z,masses=m"
    assert np.array_equal(gfnode.load(tmp_path / "w.npz", mapping=mapping, step=5).masses, HEAVY)
    np.savez(tmp_path / "w.npz", x=water.positions, Z=water.numbers, m=HEAVY[:2])
    with pytest.raises(
        InputError, match=r"masses are float64 of shape \(2,\), expected numbers of"
    ):
        gfnode.load(tmp_path / "w.npz", mapping=mapping, step=5)


def test_topologies_of_amber_name_them(tmp_path):
    path = tmp_path / "w.prmtop"
    path.write_text(
        "%FLAG CHARGE\n%FORMAT(5E16.8)\n  1.0E+00\n%FLAG MASS                       \n"
        "%FORMAT(5E16.8)          \n  1.19670000E+01  3.02400000E+00\n  3.02400000E+00\n"
        "%FLAG ATOM_TYPE_INDEX\n%FORMAT(10I8)\n       1       2\n"
    )
    found = _masses(path, 3)
    assert found is not None
    np.testing.assert_allclose(found, HEAVY)


def test_deuterium_of_a_topology_is_heavy(tmp_path):
    path = wiggle(3).save(tmp_path / "w.pdb")
    light = path.read_text()
    lines = [
        line[:76] + " D" + line[78:] if line.startswith(("ATOM", "HETATM")) and " H" in line[76:78]
        else line
        for line in light.splitlines()
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    (tmp_path / "x.pdb").write_text(path.read_text())
    wiggle(3).save(tmp_path / "x.xtc")
    taken = Trajectory.from_mdtraj(mdtraj.load(path), step=1)
    for found in (taken, gfnode.load(path, step=1), gfnode.load(tmp_path / "x.xtc", top=path)):
        assert found.masses == pytest.approx([15.999, 2.0141, 2.0141])
        assert found.formula == "H2O"
    (note,) = gfnode.load(path, step=1).notes
    assert "H 2.014 u (standard 1.008)" in note


def test_files_of_one_series_have_one_kind_of_masses(tmp_path):
    light, heavy = wiggle(40), heavy_water(40)
    silent = light[:20].save(tmp_path / "a.npz")
    naming = heavy[20:].save(tmp_path / "b.npz")
    found = load_joined([silent, naming])
    assert np.array_equal(found.masses, HEAVY)
    assert any(note.startswith("a.npz: no masses stored; those of b.npz") for note in found.notes)
    other = _heavy(light[:20], 1.5 * HEAVY).save(tmp_path / "c.npz")
    with pytest.raises(InputError, match=r"b\.npz: has different masses from .*c\.npz"):
        load_joined([naming, other])
    same = _heavy(light[:20], 1.001 * HEAVY).save(tmp_path / "d.npz")
    assert load_joined([same, naming]).notes == (
        "d.npz + b.npz: masses are not all standard: H 3.027 u (standard 1.008), "
        "O 11.98 u (standard 16)",
    )
    np.savez(tmp_path / "e.npz", **dict(np.load(naming)) | {"masses": HEAVY[:2]})
    with pytest.raises(InputError, match=r"e\.npz: masses are float64 of shape \(2,\)"):
        load_joined([same, tmp_path / "e.npz"])


def test_a_start_of_other_masses_is_told(tmp_path):
    changes = {"windows.horizon": 60.0, "model.name": "rigid-rotor", "windows.score": "all"}
    run = gfnode.fit(wiggle(), changes=changes, out=tmp_path / "run", progress=False)
    said = "heavy: its masses differ from those of training, which are used: atom 1 "
    with pytest.warns(UserWarning, match=said + r"has 3\.024 u, in training 1\.008 u"):
        found = run.predict(heavy_water(), [20.0])
    assert found.atom_masses is None
    with pytest.warns(UserWarning, match=said):
        run.evaluate(heavy_water(2000))


def test_trajectories_of_other_masses_are_not_mixed():
    with pytest.raises(InputError, match="have different atomic masses"):
        prepare([wiggle(), heavy_water()], configure(changes={"windows.horizon": 60.0}))


def test_a_system_keeps_them_and_models_count_with_them():
    dataset = prepare([heavy_water()], configure(changes={"windows.horizon": 60.0}))
    system = System.from_dict(dataset.system.to_dict())
    assert np.array_equal(system.masses, HEAVY)
    assert np.array_equal(dataset.whole_system.masses, HEAVY)
    rotor = RigidRotor(dataset.whole_system)
    x, v, lags, _ = vars(dataset.parts["train"].batch(slice(0, 1))).values()
    rotor.conformer.copy_(x[0])  # on its own start a conformer has the same centre
    weights = torch.from_numpy(HEAVY)
    later = rotor(x, v, lags).double()
    moved = geometry.center(later, weights) - geometry.center(x.double(), weights)[:, None]
    drift = geometry.momentum(v.double(), weights)[:, None, None] / weights.sum()
    torch.testing.assert_close(moved, drift * lags[:, :, None, None], rtol=1e-3, atol=1e-4)


def test_a_start_without_masses_gets_those_of_training(tmp_path):
    changes = {"windows.horizon": 60.0, "model.name": "rigid-rotor", "windows.score": "all"}
    run = gfnode.fit(heavy_water(), changes=changes, out=tmp_path / "run", progress=False)
    again = Run.open(run.folder)
    one, two = (again.predict(each, [20.0]) for each in (heavy_water(), wiggle()))
    assert np.array_equal(one.positions, two.positions)
    assert np.array_equal(two.masses, HEAVY)
    assert np.array_equal(again.evaluate(wiggle(seed=1)).errors["rigid-rotor"],
                          again.evaluate(_heavy(wiggle(seed=1))).errors["rigid-rotor"])  # fmt: skip


def test_starts_are_steadied_with_the_masses_of_training():
    system = prepare([heavy_water()], configure(changes={"windows.horizon": 60.0})).system
    assert np.array_equal(system.whole_of(wiggle(9)).masses, HEAVY)
    light = prepare([wiggle()], configure(changes={"windows.horizon": 60.0})).system
    assert light.whole_of(heavy_water(9)).atom_masses is None
    part = wiggle(9).select([0, 1])
    assert light.whole_of(part) is part


def test_the_ase_driver_moves_atoms_of_the_masses_of_training(tmp_path):
    changes = {"windows.horizon": 60.0, "model.name": "constant-velocity", "windows.score": "all"}
    run = gfnode.fit(heavy_water(), changes=changes, out=tmp_path / "run", progress=False)
    start = heavy_water()[7]
    atoms = Atoms(start.numbers, start.positions[0])
    atoms.set_velocities(start.velocities[0] / units.fs)
    later = next(iter(gfnode.ase.Propagator(atoms, run, "10fs", steps=1)))
    np.testing.assert_allclose(later.get_masses(), HEAVY)
    np.testing.assert_allclose(later.get_velocities(), atoms.get_velocities(), rtol=1e-4, atol=1e-6)


def test_replicas_of_the_same_masses_but_for_rounding_go_together():
    one = heavy_water()
    rounded = Trajectory(one.positions, one.times, one.numbers, one.velocities,
                         atom_masses=np.round(HEAVY, 3) * (1 + 1e-9))  # fmt: skip
    prepare([one, rounded], configure(changes={"windows.horizon": 60.0}))


def _heavy(light: Trajectory, masses: Doubles = HEAVY) -> Trajectory:
    return Trajectory(light.positions, light.times, light.numbers, light.velocities,
                      name=light.name, atom_masses=masses)  # fmt: skip
