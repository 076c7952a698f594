"""The trivial baselines against exact motions and their definitions."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from gfnode import geometry
from gfnode.errors import InputError
from gfnode.graph import bonds_from_distances, hop_edges
from gfnode.models.base import Symmetry
from gfnode.models.trivial import ConstantVelocity, MeanConformer, Persistence, RigidRotor
from gfnode.molecule.system import System
from gfnode.simulate import asymmetric_top, counter_rotors
from making import permuted

KINDS = {
    "persistence": Persistence,
    "constant-velocity": ConstantVelocity,
    "mean-conformer": MeanConformer,
    "rigid-rotor": RigidRotor,
}
LAGS = np.linspace(0, 1500, 31)


class Samples:
    """Stands for the training windows: a model takes conformations from them."""

    device = torch.device("cpu")

    def __init__(self, conformations: torch.Tensor) -> None:
        self._conformations = conformations

    def conformations(self, limit: int = 2000) -> torch.Tensor:
        return self._conformations[:limit]


def system_of(numbers: np.ndarray, positions: np.ndarray, score: list[int] | None = None) -> System:
    bonds = bonds_from_distances(numbers, positions[None])
    atoms = np.arange(len(numbers))
    chosen = np.flatnonzero(numbers > 1) if score is None else np.asarray(score)
    return System(numbers, atoms, chosen, bonds, hop_edges(bonds, len(numbers)), 0.5, 1500.0)


def start_of(motion, times: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Start in float32, and the exact positions later."""
    x, v = motion.state(np.append(0.0, times))
    first = [torch.from_numpy(a[:1]).float() for a in (x, v)]
    return first[0], first[1], torch.from_numpy(x[1:])[None]


LAG_TENSOR = torch.from_numpy(LAGS).float()[None]


def carrying(system: System, start: torch.Tensor) -> RigidRotor:
    """A rotor whose conformer is the one start, ``(1, atom, 3)``."""
    model = RigidRotor(system)
    model.prepare(Samples(start))
    return model


@pytest.mark.parametrize("spin", [None, [6e-3, 1e-3, 2e-3], [1e-4, 6e-3, 3e-4]])
def test_rigid_rotor_is_the_asymmetric_top(spin: list[float] | None) -> None:
    motion = asymmetric_top(spin=spin, drift=(1e-3, -2e-3, 5e-4), seed=3)
    x, v, later = start_of(motion, LAGS)
    model = RigidRotor(system_of(motion.numbers, motion.reference))
    model.prepare(Samples(later[0].float()))
    found = model(x, v, LAG_TENSOR)
    assert found.dtype == torch.float32
    assert (later - x).norm(dim=-1).max() > 3
    assert (found - later).norm(dim=-1).max() < 1e-4


def test_rigid_rotor_with_water() -> None:
    """The lightest rotor: tens of radians inside the horizon."""
    motion = asymmetric_top("H2O", seed=4)
    x, v, later = start_of(motion, LAGS)
    found = carrying(system_of(motion.numbers, motion.reference), x)(x, v, LAG_TENSOR)
    assert (found - later).norm(dim=-1).max() < 2e-4


@pytest.mark.parametrize("name", ["CO2", "C2H2", "N2"])
def test_rigid_rotor_of_linear_molecules(name: str) -> None:
    """A linear molecule turns at the constant rate L/I in its plane."""
    built = molecule(name)
    system = system_of(np.asarray(built.numbers), built.positions)
    x = torch.from_numpy(built.positions).float()
    axis = x[1] - x[0]
    axis = axis / axis.norm()
    spin = 6e-3 * torch.linalg.cross(axis, torch.tensor([0.6, 0.8, 0.0]))
    spin = 6e-3 * spin / spin.norm()
    r = x - geometry.center(x, torch.from_numpy(system.masses))
    v = torch.linalg.cross(spin.expand_as(r), r) + torch.tensor([1e-3, 0, 0])
    turned = r @ geometry.rotation_matrix(spin * LAG_TENSOR[0, :, None]).mT
    expected = turned + (x - r) + LAG_TENSOR[0, :, None, None] * torch.tensor([1e-3, 0, 0])
    found = carrying(system, x[None])(x[None], v[None], LAG_TENSOR)
    assert (found[0] - expected).norm(dim=-1).max() < 1e-4


def test_rigid_rotor_of_a_single_atom_flies_straight() -> None:
    system = system_of(np.array([18]), np.zeros((1, 3)))
    x, v = torch.tensor([[[1.0, 2, 3]]]), torch.tensor([[[1e-3, 0, -1e-3]]])
    np.testing.assert_allclose(
        carrying(system, x)(x, v, LAG_TENSOR),
        ConstantVelocity(system)(x, v, LAG_TENSOR),
        atol=1e-6,
    )


def test_rigid_rotor_at_rest_stays() -> None:
    motion = counter_rotors(rate=0.02, seed=5)  # no total angular momentum
    x, v, _ = start_of(motion, LAGS)
    found = carrying(system_of(motion.numbers, motion.reference), x)(x, v, LAG_TENSOR)
    np.testing.assert_allclose(found, x[:, None].expand_as(found), atol=1e-4)


def test_definitions_of_persistence_and_constant_velocity() -> None:
    motion = counter_rotors(rate=0.02, seed=5)
    system = system_of(motion.numbers, motion.reference)
    x, v, _ = start_of(motion, LAGS)
    still, flying = (kind(system)(x, v, LAG_TENSOR) for kind in (Persistence, ConstantVelocity))
    np.testing.assert_array_equal(still, x[:, None].expand(-1, 31, -1, -1))
    np.testing.assert_allclose(flying[0, 10], x[0] + 500 * v[0], atol=1e-4)


def test_mean_conformer_is_placed_on_the_scored_atoms() -> None:
    """The spinning methyl hydrogens neither blur the carbons nor turn the placement."""
    motion = counter_rotors(rate=0.02, seed=6)
    x, v, later = start_of(motion, np.linspace(0, 40_000, 999))
    model = MeanConformer(system_of(motion.numbers, motion.reference))
    model.prepare(Samples(later[0].float()))
    found = model(x, v, LAG_TENSOR)
    np.testing.assert_allclose(found[:, :, :7], x[:, None, :7].expand(-1, 31, -1, -1), atol=1e-5)
    spread = found[0, 0, 7:10] - found[0, 0, 7:10].mean(0)
    assert spread.norm(dim=-1).max() < 0.1  # the average of a spinning group lies on its axis


def test_mean_conformer_keeps_its_hand() -> None:
    built = molecule("CH3CH2OH")
    generator = torch.Generator().manual_seed(0)
    x = torch.from_numpy(built.positions) + 0.2 * torch.randn(9, 3, generator=generator)
    system = system_of(np.asarray(built.numbers), built.positions, score=list(range(9)))
    model = MeanConformer(system)
    model.prepare(Samples(x[None].float()))
    mirror = x[None].float() * torch.tensor([1.0, 1, -1])
    found = model(mirror, torch.zeros_like(mirror), LAG_TENSOR)
    assert (found - mirror[:, None]).norm(dim=-1).max() > 0.1
    np.testing.assert_allclose(torch.cdist(found[0, 0], found[0, 0]), torch.cdist(x, x), atol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_state_travels_with_the_model(name: str) -> None:
    motion = asymmetric_top(seed=1)
    system = system_of(motion.numbers, motion.reference)
    x, v, later = start_of(motion, LAGS)
    model, copy = KINDS[name](system), KINDS[name](system)
    model.prepare(Samples(later[0].float()))
    copy.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(copy(x, v, LAG_TENSOR), model(x, v, LAG_TENSOR))
    assert not list(model.parameters())
    assert (Symmetry.START in model.kept) == (name in ("persistence", "constant-velocity"))


@pytest.mark.parametrize("name", KINDS)
def test_promises_are_kept(name: str) -> None:
    """Every declared symmetry, on starts with thermal noise in all coordinates."""
    built = molecule("CH3CH2OH")
    numbers, generator = np.asarray(built.numbers), torch.Generator().manual_seed(1)
    system = system_of(numbers, built.positions, score=[0, 1, 2, 4, 5])
    base = torch.from_numpy(built.positions).float()
    x = base + 0.1 * torch.randn(40, 9, 3, generator=generator)
    v = 5e-3 * torch.randn(40, 9, 3, generator=generator)
    lags = 1500 * torch.rand(40, 5, generator=generator)

    def run(x, v, lags, order=tuple(range(9))):
        model = KINDS[name](permuted(system, order))
        model.prepare(Samples(samples[:, list(order)]))
        return model(x, v, lags), model.kept

    samples = base + 0.1 * torch.randn(60, 9, 3, generator=generator)
    found, kept = run(x, v, lags)
    R = geometry.rotation_matrix(torch.tensor([0.3, -2.0, 1.1]))
    M = R * torch.tensor([1.0, 1.0, -1.0])
    order = torch.randperm(9, generator=generator).tolist()
    shift = torch.tensor([3.0, -5.0, 8.0])
    changed = {
        Symmetry.TRANSLATION: (run(x + shift, v, lags)[0], found + shift),
        Symmetry.ROTATION: (run(x @ R.T, v @ R.T, lags)[0], found @ R.T),
        Symmetry.REFLECTION: (run(x @ M.T, v @ M.T, lags)[0], found @ M.T),
        Symmetry.PERMUTATION: (run(x[:, order], v[:, order], lags, order)[0], found[:, :, order]),
        Symmetry.BATCH: (run(x[:1], v[:1], lags[:1])[0], found[:1]),
        Symmetry.LAGS: (run(x, v, lags[:, 3:4])[0], found[:, 3:4]),
        Symmetry.START: (run(x, v, 0 * lags)[0], x[:, None].expand_as(found)),
    }
    for symmetry, (ours, expected) in changed.items():
        size = (ours - expected).abs().max()
        if symmetry in kept:
            assert size < 1e-4, symmetry
        else:
            assert size > 1e-2, symmetry


def test_an_unprepared_model_says_so() -> None:
    motion = asymmetric_top()
    system = system_of(motion.numbers, motion.reference)
    x, v, _ = start_of(motion, LAGS)
    for kind in (MeanConformer, RigidRotor):
        with pytest.raises(InputError, match="prepare"):
            kind(system)(x, v, LAG_TENSOR)
