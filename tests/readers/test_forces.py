"""Forces: read from every format that holds them, in their units, and kept through everything."""

from dataclasses import replace

import numpy as np
import pytest

import gfnode
from gfnode.convert import Aligner, losses
from gfnode.errors import InputError
from gfnode.readers import Reader, load
from gfnode.trajectory import Trajectory
from gfnode.units import ELECTRONVOLT, KCAL_MOL

RNG = np.random.default_rng(5)


def made(frames=6):
    x = RNG.standard_normal((frames, 9, 3)).cumsum(0) * 0.01 + np.arange(9)[:, None]
    forces = 0.01 * RNG.standard_normal((frames, 9, 3))
    numbers = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1])
    return Trajectory(x, np.arange(frames) * 0.5, numbers, forces=forces, name="ethanol")


def test_md17_holds_kcal_a_mol_and_angstrom(tmp_path):
    forces = RNG.standard_normal((6, 9, 3))
    path = tmp_path / "md17.npz"
    np.savez(path, R=made().positions, z=made().numbers, F=forces)
    found = load(path)
    assert np.allclose(found.forces, forces * 4.184e-4, rtol=1e-6)


def test_of_rmd17_those_are_taken_that_belong_to_the_motion(tmp_path):
    old, new = RNG.standard_normal((2, 6, 9, 3))
    path = tmp_path / "rmd17.npz"
    order = np.array([3, 0, 5, 1, 4, 2])
    np.savez(
        path,
        coords=made().positions,
        nuclear_charges=made().numbers,
        old_indices=order,
        old_forces=old,
        forces=new,
    )
    found = load(path)
    assert np.allclose(found.forces[order], old * KCAL_MOL, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".npz", ".extxyz"])
def test_they_come_back_from_files(tmp_path, suffix):
    trajectory = made()
    path = trajectory.save(tmp_path / f"run{suffix}")
    assert np.allclose(load(path).forces, trajectory.forces, atol=1e-8)
    part = load(path, select="heavy", stride=2)
    assert np.array_equal(part.forces, load(path).forces[::2, :3])


def test_ase_reads_the_same(tmp_path):
    import ase.io

    trajectory = made()
    path = trajectory.save(tmp_path / "run.extxyz")
    found = np.stack([frame.get_forces() for frame in ase.io.read(path, ":")])
    assert np.allclose(found * ELECTRONVOLT, trajectory.forces, atol=1e-8)


def test_a_mapping_may_name_their_unit(tmp_path):
    path, forces = tmp_path / "any.npz", RNG.standard_normal((6, 9, 3))
    np.savez(path, x=made().positions, Z=made().numbers, f=forces)
    for unit, factor in (("", KCAL_MOL), (":ev/angstrom", ELECTRONVOLT)):
        found = Reader(mapping=f"positions=x,numbers=Z,forces=f{unit}", step=0.5).load(path)[0]
        assert np.allclose(found.forces, forces * factor, rtol=1e-6)
    with pytest.raises(InputError, match="furlong"):
        Reader(mapping="positions=x,numbers=Z,forces=f:furlong", step=0.5).load(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.zeros((6, 8, 3)), r"expected \(6, 9, 3\)"), (np.full((6, 9, 3), np.nan), "not finite")],
)
def test_wrong_ones_are_refused(tmp_path, values, message):
    path = tmp_path / "md17.npz"
    np.savez(path, R=made().positions, z=made().numbers, F=values)
    with pytest.raises(InputError, match=message):
        load(path)


def test_they_turn_with_the_molecule_and_are_named_where_lost():
    trajectory = made()
    turned = Aligner(trajectory, np.arange(9))(trajectory)
    assert np.allclose(
        np.linalg.norm(turned.forces, axis=-1), np.linalg.norm(trajectory.forces, axis=-1)
    )
    moments = [np.einsum("fai,fai->f", t.forces, t.positions - t.positions.mean(1)[:, None])
               for t in (trajectory, turned)]  # fmt: skip
    assert np.allclose(*moments, atol=1e-5)
    assert any("forces" in lost.text for lost in losses(trajectory, ".xtc"))
    assert not any("forces" in lost.text for lost in losses(trajectory, ".npz"))


def test_they_make_another_data_set():
    trajectory = made()
    assert trajectory.fingerprint != replace(trajectory, forces=None).fingerprint
    assert gfnode.load("sample:toluene").forces is None
