"""The learned potential: exact gradients, symmetries, and what it learns of known forces."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import shortest_path

from gfnode.dynamics.potential import Potential
from gfnode.graph import automorphisms, hop_edges
from gfnode.molecule.system import System
from making import conformations, rotation, springs, system_of

ETHANOL = system_of("ethanol")


def rough(seed=0, spread=0.2):
    """A potential with random weights, in double precision."""
    potential = Potential(ETHANOL, width=16, members=2).double()
    generator = torch.Generator().manual_seed(seed)
    for weights in potential._weights:
        weights.normal_(0, 0.5, generator=generator)
    potential.mean.fill_(0.4)
    potential.spread.fill_(spread)
    potential.scale.fill_(0.01)
    return potential


@pytest.mark.parametrize("spread", [0.2, 0.05, 0.02])  # the largest z: 3, 12, 29
def test_forces_are_minus_the_gradient_of_the_energy(spread):
    potential = rough(spread=spread)
    x = conformations()[None].repeat(2, 1, 1, 1).requires_grad_()
    (slope,) = torch.autograd.grad(potential.energy(x).sum(), x)
    assert torch.allclose(potential(x), -slope, rtol=1e-9, atol=1e-12)
    h, y = 1e-5, x.detach()
    for atom, axis in ((0, 0), (5, 2)):
        step = torch.zeros_like(y)
        step[..., atom, axis] = h
        difference = (potential.energy(y - step) - potential.energy(y + step)) / (2 * h)
        assert torch.allclose(potential(y)[..., atom, axis], difference, rtol=1e-5, atol=1e-8)


def test_the_members_are_networks_of_their_own():
    found = rough()(conformations()[None].expand(2, -1, -1, -1))
    assert (found[0] - found[1]).abs().max() > 1e-4


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_forces_turn_with_the_molecule_and_neither_push_nor_twist_it(mirror):
    potential, x = rough(), conformations()[None].expand(2, -1, -1, -1)
    matrix = rotation(3) * torch.tensor([1.0, 1.0, mirror])
    found = potential(x)
    turned = potential(x @ matrix.mT + torch.tensor([1.0, -2.0, 3.0]))
    assert torch.allclose(turned, found @ matrix.mT, atol=1e-10)
    assert found.sum(-2).abs().max() < 1e-12
    assert torch.linalg.cross(x, found).sum(-2).abs().max() < 1e-11
    assert found.abs().max() > 1e-3


def forces_of_springs(x):
    return torch.from_numpy(springs().forces(x.double().numpy())).float()


@pytest.fixture(scope="module")
def learned():
    """A potential that has learned the forces of springs."""
    torch.manual_seed(0)
    x = conformations(1000, noise=0.06).float()
    potential, told = Potential(ETHANOL, members=2), []
    shown = torch.ones(2, 1000, dtype=torch.bool)
    potential.fit(
        x,
        forces_of_springs(x),
        shown,
        steps=1500,
        batch=64,
        report=lambda *at: told.append(at),
    )
    assert told[-1] == (1500, 1500)
    return potential


def wrong(potential, x):
    """Error of forces over their size, of each member."""
    right = forces_of_springs(x)
    found = potential(x.expand(2, *x.shape))
    return (found - right).square().mean((1, 2, 3)).sqrt() / right.square().mean().sqrt()


def test_it_learns_the_forces_of_springs(learned):
    assert wrong(learned, conformations(1200, noise=0.06)[1000:].float()).max() < 0.12


def test_bonds_and_angles_are_known_where_a_torsion_is_not(learned):
    """The hydroxyl group turned to where it never was: springs between near atoms do not mind."""
    (oxygen,) = np.flatnonzero(ETHANOL.numbers == 8)
    ends = [set(bond) - {oxygen} for bond in ETHANOL.bonds.tolist() if oxygen in bond]
    carbon, hydrogen = sorted((end.pop() for end in ends), key=lambda end: -ETHANOL.numbers[end])
    x = conformations(200, noise=0.06, seed=5)
    axis = torch.nn.functional.normalize(x[:, oxygen] - x[:, carbon], dim=-1)
    arm = x[:, hydrogen] - x[:, oxygen]
    along = (arm * axis).sum(-1, keepdim=True) * axis
    x[:, hydrogen] = x[:, oxygen] + 2 * along - arm  # half a turn
    free = copy.deepcopy(learned)
    free.limit.fill_(1e6)
    x = x.float()
    assert (wrong(learned, x) < 0.5 * wrong(free, x)).all()


def test_only_what_lies_beyond_its_limit_is_held_and_bonds_and_angles_never_are():
    potential = rough(spread=1.0)
    torsion, bond = potential.limit.argmin(), potential.limit.argmax()
    values = torch.tensor([0.0, -4.9, 5.0, 7.0, -9.0, 40.0], dtype=torch.float64)
    z = potential.mean + values[:, None].expand(-1, len(potential.mean))
    found, slope = potential._saturated(z)
    expected = torch.tensor([0.0, -4.9, 5.0, 6.5, -7.0, 7.0], dtype=torch.float64)
    torch.testing.assert_close(found[:, torsion], expected)
    torch.testing.assert_close(slope[:, torsion], expected.new_tensor([1, 1, 1, 0.5, 0, 0]))
    torch.testing.assert_close(found[:, bond], values)
    assert (slope[:, bond] == 1).all()


def test_the_quadratic_form_is_of_near_pairs(learned):
    bonds = np.zeros((ETHANOL.n_atoms,) * 2)
    bonds[tuple(ETHANOL.bonds.T)] = bonds[tuple(ETHANOL.bonds.T)[::-1]] = 1
    apart = shortest_path(bonds, unweighted=True)[np.triu_indices(ETHANOL.n_atoms, 1)]
    near = np.flatnonzero(apart <= 3)
    assert 0 < len(near) < len(apart)
    assert learned.near.tolist() == near.tolist()
    assert learned.square.shape == (2, len(near), len(near))
    assert (learned.line != 0).all()
    x = conformations(20).float().expand(2, -1, -1, -1)
    without = copy.deepcopy(learned)
    without.square.zero_()
    without.line.zero_()
    change = (learned.energy(x) - without.energy(x)) / (learned.scale * learned._share)
    q = 1 / learned._pair_vectors(x).norm(dim=-2)
    z = ((q - learned.mean) / learned.spread)[..., near]
    expected = torch.einsum("mbi,mij,mbj->mb", z, learned.square, z) + (z * learned.line).sum(-1)
    torch.testing.assert_close(change, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_atoms_without_bonds_have_a_potential_without_quadratic_form(count):
    """Noble gases: it learns, and its forces are minus the gradient of its energy."""
    x = conformations(60, noise=0.06)[:, 2 : 2 + count].float()
    none, every = np.empty((0, 2), dtype=np.int64), np.arange(count)
    numbers = np.array([2, 10, 18, 36, 54])[:count]
    system = System(numbers, every, every, none, hop_edges(none, count), 10.0, 1000.0)
    apart = x[:, :, None] - x[:, None]
    forces = (0.1 * apart).sum(2)
    torch.manual_seed(0)
    potential = Potential(system, width=16, members=2)
    assert len(potential.near) == 0
    potential.fit(x, forces, torch.ones(2, 60, dtype=torch.bool), steps=200, batch=32)
    x = x.expand(2, -1, -1, -1).clone().requires_grad_()
    (slope,) = torch.autograd.grad(potential.energy(x).sum(), x)
    with torch.no_grad():
        found = potential(x)
    torch.testing.assert_close(found, -slope, rtol=1e-3, atol=1e-4)
    assert (found - forces).square().mean() < 0.1 * forces.square().mean()


def test_the_seed_of_the_run_counts():
    x = conformations(40, noise=0.06).float()
    f = forces_of_springs(x)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        potential = Potential(ETHANOL, width=8, members=1)
        potential.fit(x, f, torch.ones(1, 40, dtype=torch.bool), steps=5)
        found.append(potential.weight0)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_member_learns_only_from_what_it_is_shown():
    x = conformations(40, noise=0.06).float()
    right = forces_of_springs(x)
    wrong = torch.cat([right[:20], right[20:].roll(1, 0)])
    shown = torch.ones(2, 40, dtype=torch.bool)
    shown[0, 20:] = False
    found = []
    for forces in (right, wrong):
        torch.manual_seed(0)
        potential = Potential(ETHANOL, width=8, members=2)
        potential.fit(x, forces, shown, steps=50)
        found.append(potential.weight0)
    moved = (found[0] - found[1]).abs().amax((1, 2))
    assert moved[0] < 1e-4
    assert moved[1] > 1e-2


@pytest.mark.parametrize(
    ("name", "count"), [("ethanol", 12), ("benzene", 12), ("toluene", 12), ("ethane", 72)]
)
def test_renumberings_are_the_automorphisms_of_the_graph(name, count):
    system = system_of(name)
    bonds = {tuple(sorted(bond)) for bond in system.bonds.tolist()}
    found = automorphisms(system.bonds, system.numbers, most=72)
    assert len({tuple(order) for order in found}) == len(found) == count
    for order in found:
        assert (system.numbers[order] == system.numbers).all()
        moved = {tuple(sorted((int(order[i]), int(order[j])))) for i, j in bonds}
        assert moved == bonds


def test_few_of_many_renumberings_still_exchange_all_that_is_alike():
    """Neopentane has 4! 6⁴ = 31 104: each carbon and each hydrogen comes to stand for any other."""
    carbons, hydrogens = np.arange(1, 5), np.arange(5, 17)
    bonds = [[0, c] for c in carbons] + [[1 + k // 3, h] for k, h in enumerate(hydrogens)]
    numbers = np.array([6] * 5 + [1] * 12)
    found = automorphisms(np.array(bonds), numbers, most=64)
    assert len({tuple(order) for order in found}) > 50
    for atom in carbons:
        assert set(found[:, atom]) == set(carbons)
    for atom in hydrogens:
        assert set(found[:, atom]) == set(hydrogens)


def test_errors_in_an_unknown_direction_do_not_count():
    """Forces with as much noise in one direction of each frame as there is force."""
    x = conformations(60, noise=0.06).float()
    right = forces_of_springs(x)
    generator = torch.Generator().manual_seed(0)
    unknown = torch.randn(x.shape, generator=generator)
    noise = torch.randn(60, 1, 1, generator=generator) * unknown * right.square().mean().sqrt()
    errors = []
    for aside in (unknown, None):
        torch.manual_seed(0)
        potential = Potential(ETHANOL, members=1)
        shown = torch.ones(1, 60, dtype=torch.bool)
        potential.fit(x, right + noise, shown, steps=300, batch=64, unknown=aside)
        errors.append(float((potential(x[None])[0] - right).square().mean().sqrt()))
    assert errors[0] < 0.4 * errors[1]


def test_forces_on_atoms_that_are_held_do_not_count():
    """LAMMPS stores zeros for them, ASE what they would be."""
    system = replace(system_of("ethanol"), held=np.array([1, 7]))
    x = conformations(60, noise=0.05).float()
    forces = forces_of_springs(x)
    learned = []
    for theirs in (1.0, 0.0):
        torch.manual_seed(0)
        potential = Potential(system, 16, 1)
        given = forces.clone()
        given[:, system.held] *= theirs
        potential.fit(x, given, torch.ones(1, 60, dtype=torch.bool), steps=50)
        learned.append(potential(x[None]))
    assert torch.equal(*learned)


def test_what_is_held_is_pushed_as_the_others_push_it():
    """No force on it is learned as zero: those on the others would have to add up to zero."""
    x = conformations(60, noise=0.06).float()
    right = forces_of_springs(x)
    held = np.arange(1, 9)  # all but one, on which the force would be zero too
    torch.manual_seed(0)
    potential = Potential(replace(ETHANOL, held=held), 16, 1)
    potential.fit(x, right, torch.ones(1, 60, dtype=torch.bool), steps=60, batch=32)
    wrong = (potential(x[None])[0] - right)[:, 0].square().mean()
    assert wrong < 0.1 * right[:, 0].square().mean()
