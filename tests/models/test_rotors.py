"""Rotors against rotations by scipy, rigid bodies and counter rotors."""

import numpy as np
import pytest
import torch
from ase.data import atomic_masses
from scipy.spatial.transform import Rotation

from gfnode.geometry import inertia_tensor
from gfnode.graph import bonds_from_distances
from gfnode.models.rotors import Rotors
from gfnode.simulate import asymmetric_top, counter_rotors
from gfnode.simulate.molecules import built_in


def of(motion):
    bonds = bonds_from_distances(motion.numbers, motion.reference[None])
    return Rotors(bonds, motion.masses).double(), torch.as_tensor(motion.masses)


def begun(motion):
    """Start about the centre of mass, inertia and total angular momentum."""
    _, m = of(motion)
    x, v = (torch.from_numpy(y) for y in motion.state([0.0]))
    r, v = (y - (m @ y / m.sum()) for y in (x[0], v[0]))
    r, v = r[None], v[None]
    return r, v, inertia_tensor(r, m), (m[:, None] * torch.linalg.cross(r, v)).sum(-2)


def test_in_a_rigid_body_nothing_spins_against_it():
    motion = asymmetric_top(seed=3, drift=(1e-3, 0, 0))
    rotors, _ = of(motion)
    spins, rates = rotors.spins(*begun(motion))
    assert len(rotors) == 2  # methyl and hydroxyl of ethanol
    assert float(begun(motion)[3].norm()) > 0.1
    assert float(spins.norm()) < 1e-9
    assert float(rates.abs().max()) < 1e-12


def test_counter_rotors_spin_by_the_difference_of_their_rates():
    motion = counter_rotors(rate=0.02, seed=1)
    rotors, _ = of(motion)
    spins, rates = rotors.spins(*begun(motion))
    expected = motion.rates.max() - motion.rates.min()
    assert rates.abs().item() == pytest.approx(expected, rel=1e-6)
    inertia = begun(motion)[2][0]
    axis = spins[0, 0] / spins[0, 0].norm()
    # the ring's own turn is −L_b / I about the shared axis
    turn = float(spins[0, 0] @ axis / (axis @ inertia @ axis))
    assert turn == pytest.approx(abs(motion.rates).min(), rel=1e-6)


def test_tips_turn_about_their_bonds_and_nothing_else_moves():
    aspirin = built_in()["aspirin"]
    bonds = bonds_from_distances(aspirin.numbers, aspirin.positions[None])
    rotors = Rotors(bonds, atomic_masses[aspirin.numbers]).double()
    assert 0 < int(rotors.tip.sum()) < len(rotors)  # the acetyl group holds a methyl group
    x = torch.from_numpy(np.random.default_rng(0).normal(scale=2.0, size=(2, 21, 3)))
    angles = torch.from_numpy(np.random.default_rng(1).uniform(-3, 3, (2, len(rotors))))
    found = rotors.turn(x, angles)
    assert torch.equal(found[:, ~rotors.turns], x[:, ~rotors.turns])
    for number in rotors.tip.nonzero().flatten().tolist():
        hinge, far = rotors.axes[number].tolist()
        group = (rotors.mass[number] > 0).numpy()
        for k in range(2):
            y = x[k].numpy()
            axis = (y[hinge] - y[far]) / np.linalg.norm(y[hinge] - y[far])
            turn = Rotation.from_rotvec(float(angles[k, number]) * axis)
            expected = y[hinge] + turn.apply(y[group] - y[hinge])
            np.testing.assert_allclose(found[k, group].numpy(), expected, atol=1e-12)
    # rates are the slope, and a turn back is the inverse
    slope = (rotors.turn(x, 1e-6 * angles) - rotors.turn(x, -1e-6 * angles)) / 2e-6
    torch.testing.assert_close(rotors.spinning(x, angles), slope, atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(rotors.turn(found, -angles), x)


def test_alignment_finds_the_angle_between():
    motion = counter_rotors(seed=2)
    rotors, _ = of(motion)
    x = torch.from_numpy(motion.reference)
    first, second = rotors.alignment(x, rotors.turn(x, torch.tensor([0.7], dtype=x.dtype)))
    assert torch.atan2(second, first).item() == pytest.approx(0.7)


def test_a_molecule_without_rotors():
    rotors = Rotors(np.empty((0, 2), dtype=np.int64), np.ones(4))
    x = torch.ones(3, 4, 3)
    spins, rates = rotors.spins(x, x, torch.eye(3).expand(3, 3, 3), torch.ones(3, 3))
    assert spins.shape == (3, 0, 3)
    assert rates.shape == (3, 0)
    assert torch.equal(rotors.turn(x, torch.empty(3, 0)), x)
    assert not rotors.spinning(x, torch.empty(3, 0)).any()
