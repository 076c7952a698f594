"""Geometry against mdtraj, scipy and exact answers."""

import math

import mdtraj
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from gfnode import geometry


@pytest.fixture
def cloud() -> mdtraj.Trajectory:
    """Turned and deformed conformations of ten atoms, in nm as mdtraj keeps them.

    They resemble each other: mdtraj finds the rotation in single precision, which the superposition
    of unlike shapes magnifies.
    """
    generator = np.random.default_rng(3)
    shape = generator.normal(size=(10, 3)) + 0.2 * generator.normal(size=(50, 10, 3))
    xyz = shape @ Rotation.random(50, rng=generator).as_matrix() + generator.normal(size=(50, 1, 3))
    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    for i in range(10):
        topology.add_atom(f"C{i}", mdtraj.element.carbon, residue)
    return mdtraj.Trajectory(xyz.astype(np.float32), topology)


def rotations(seed: int, count: int) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(count, rng=seed).as_matrix())


def test_superpose_and_rmsd_agree_with_mdtraj(cloud: mdtraj.Trajectory) -> None:
    x = torch.from_numpy(cloud.xyz.copy())
    placed = geometry.superpose(x, x[7])
    theirs = cloud[:].superpose(cloud, 7)
    np.testing.assert_allclose(placed, theirs.xyz, atol=2e-5)
    rmsd = (placed - x[7]).square().sum(-1).mean(-1).sqrt()
    np.testing.assert_allclose(rmsd, mdtraj.rmsd(cloud, cloud, 7), atol=2e-6)


def test_weights_superpose_on_the_chosen_atoms(cloud: mdtraj.Trajectory) -> None:
    x = torch.from_numpy(cloud.xyz.copy())
    chosen = [0, 2, 3, 8]
    weights = torch.zeros(10)
    weights[chosen] = 1.0
    theirs = cloud[:].superpose(cloud, 7, atom_indices=chosen)
    np.testing.assert_allclose(geometry.superpose(x, x[7], weights), theirs.xyz, atol=2e-5)


def test_angles_agree_with_mdtraj(cloud: mdtraj.Trajectory) -> None:
    x = torch.from_numpy(cloud.xyz.copy())
    generator = np.random.default_rng(4)
    index = np.argsort(generator.random((30, 10)), axis=1)
    pairs, triples, quadruples = index[:, :2], index[:, :3], index[:, :4]
    np.testing.assert_allclose(
        geometry.bond_lengths(x, torch.from_numpy(pairs)),
        mdtraj.compute_distances(cloud, pairs),
        rtol=1e-5,
    )
    theirs = mdtraj.compute_angles(cloud, triples, opt=False)
    ours = geometry.bond_angles(x, torch.from_numpy(triples)).numpy()
    np.testing.assert_allclose(np.cos(ours), np.cos(theirs), atol=2e-6)
    np.testing.assert_allclose(
        geometry.dihedrals(x, torch.from_numpy(quadruples)),
        mdtraj.compute_dihedrals(cloud, quadruples, opt=False),
        atol=2e-4,
    )


def bent(angle: float) -> torch.Tensor:
    """Three atoms with an angle, in float32."""
    return torch.tensor([[1.0, 0, 0], [0, 0, 0], [1.2 * math.cos(angle), 1.2 * math.sin(angle), 0]])


@pytest.mark.parametrize("angle", [0.0, 1e-4, 1.9, math.pi - 1e-4, math.pi])
def test_angle_is_accurate_at_its_ends(angle: float) -> None:
    x = bent(angle).requires_grad_()
    found = geometry.bond_angles(x, torch.tensor([[0, 1, 2]]))
    assert found.item() == pytest.approx(angle, abs=5e-7)
    found.sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("phi", [-math.pi + 1e-4, -2.0, -1e-4, 0.0, 1e-4, 1.0, math.pi])
def test_dihedral_sign_and_its_ends(phi: float) -> None:
    # Looking along the middle bond (+z, away from the viewer) the back atom is turned clockwise:
    # x to the right, y down in that view.
    x = torch.tensor(
        [[1.0, 0, 0], [0, 0, 0], [0, 0, 1.5], [math.cos(phi), math.sin(phi), 1.5]]
    ).requires_grad_()
    found = geometry.dihedrals(x, torch.tensor([[0, 1, 2, 3]]))
    assert math.cos(found.item() - phi) == pytest.approx(1, abs=1e-9)
    assert found.item() == pytest.approx(phi, abs=1e-6)
    found.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_dihedral_of_atoms_in_line_is_a_number() -> None:
    x = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 1, 0]])
    assert torch.isfinite(geometry.dihedrals(x, torch.tensor([[0, 1, 2, 3]]))).all()


SHAPES = {
    "solid": torch.randn(7, 3, generator=torch.Generator().manual_seed(0)),
    "planar": torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    * torch.tensor([1, 1, 0]),
    "linear": torch.linspace(-2, 3, 5)[:, None] * torch.tensor([[0.6, 0.8, 0.0]]),
    "two atoms": torch.tensor([[0.0, 0, 0], [0, 0, 1.1]]),
    "one atom": torch.tensor([[1.0, 2, 3]]),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reflect", [False, True])
def test_a_moved_copy_comes_back(shape: str, reflect: bool) -> None:
    x = SHAPES[shape]
    R = rotations(5, 200)
    y = x.double() @ R.mT + 30 * torch.randn(200, 1, 3, generator=torch.Generator().manual_seed(2))
    placed = geometry.superpose(x, y.float(), reflect=reflect)
    np.testing.assert_allclose(placed, y, atol=1e-5)  # float32 at 100 Å
    found = geometry.kabsch_rotation(x.expand(200, -1, 3), y, reflect=reflect)
    identity = torch.eye(3).double().expand(200, 3, 3)
    np.testing.assert_allclose(found @ found.mT, identity, atol=1e-12)
    if not reflect:
        np.testing.assert_allclose(torch.det(found), 1, atol=1e-12)
    if shape == "solid":
        np.testing.assert_allclose(found, R, atol=1e-6)


def test_a_mirror_image_is_reached_by_reflection_only() -> None:
    x = SHAPES["solid"]
    mirror = x * torch.tensor([1.0, 1, -1])
    assert (geometry.superpose(x, mirror) - mirror).abs().max() > 0.3
    np.testing.assert_allclose(geometry.superpose(x, mirror, reflect=True), mirror, atol=2e-6)


def test_the_proper_rotation_is_the_best_one() -> None:
    """Scipy finds the same optimum for clouds that prefer a reflection as well."""
    generator = np.random.default_rng(8)
    x, y = generator.normal(size=(2, 40, 6, 3))
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    weights = generator.uniform(0.1, 2, 6)
    x = x - (weights[:, None] * x).sum(1, keepdims=True) / weights.sum()
    y = y - (weights[:, None] * y).sum(1, keepdims=True) / weights.sum()
    ours = geometry.kabsch_rotation(
        torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(weights)
    )
    theirs = [
        Rotation.align_vectors(b, a, weights)[0].as_matrix() for a, b in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("reflect", [False, True])
def test_superpose_has_the_right_gradient(reflect: bool) -> None:
    generator = torch.Generator().manual_seed(6)
    x, y = torch.randn(2, 5, 6, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(6, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a, b: geometry.superpose(a, b, weights, reflect),
        (x.requires_grad_(), y.requires_grad_()),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_finite_for_every_shape(shape: str) -> None:
    x = SHAPES[shape].clone().requires_grad_()
    y = (SHAPES[shape].double() @ rotations(9, 1)[0].mT).float()
    geometry.superpose(x, y).mul(torch.arange(3.0)).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_a_diverged_frame_spoils_only_itself() -> None:
    x = SHAPES["solid"].repeat(3, 1, 1)
    x[0, 2, 1], x[1, 0, 0] = torch.nan, torch.inf
    placed = geometry.superpose(x, SHAPES["solid"])
    assert not placed[:2].isfinite().all((1, 2)).any()
    np.testing.assert_allclose(placed[2], SHAPES["solid"], atol=1e-6)


def test_mean_conformer_of_moved_copies_is_their_shape() -> None:
    generator = torch.Generator().manual_seed(7)
    x = SHAPES["solid"].double()
    noise = 0.05 * torch.randn(4000, 7, 3, generator=generator, dtype=torch.float64)
    moved = (x + noise) @ rotations(11, 4000).mT + torch.randn(4000, 1, 3, generator=generator)
    mean = geometry.mean_conformer(moved.float())
    np.testing.assert_allclose(geometry.center(mean), 0, atol=1e-6)
    np.testing.assert_allclose(geometry.superpose(mean.double(), x), x, atol=0.005)
    again = geometry.superpose(moved, mean.double()).mean(0)
    np.testing.assert_allclose(again, mean, atol=1e-5)  # a fixed point


def test_mean_conformer_of_mirror_images() -> None:
    x = SHAPES["solid"]
    both = torch.stack([x, x * torch.tensor([1.0, 1, -1])])
    np.testing.assert_allclose(
        geometry.superpose(geometry.mean_conformer(both, reflect=True), x), x, atol=1e-5
    )


@pytest.mark.parametrize(("swing", "flat"), [(0.172, False), (0.174, True)])
def test_what_swings_through_its_plane_far_enough_is_flat(swing: float, flat: bool) -> None:
    """A chair, as high as 0.1 Å on average, whose height swings: flat from √3 of that on.

    Its mean square distance from the plane is then a quarter of that of the samples.
    """
    angle = math.pi / 3 * torch.arange(6).double()
    up = torch.tensor([1.0, -1.0] * 3).double()
    ring = 1.4 * torch.stack([angle.cos(), angle.sin(), 0 * up], -1)
    axis = torch.tensor([0.0, 0.0, 1.0])
    samples = ring + (0.1 + swing * up[:, None, None]) * (up[:, None] * axis)
    moved = samples @ rotations(14, 6).mT + 5 * axis
    chair = (ring + 0.1 * up[:, None] * axis) @ rotations(15, 1)[0].mT
    found = geometry.flattened(chair.float(), moved)
    if flat:
        assert not found[:, 2].any()
        np.testing.assert_allclose(torch.pdist(found), torch.pdist(ring), atol=1e-6)
    else:
        assert torch.equal(found, chair.float())


coordinate = st.floats(-20, 20, width=32)


@given(
    arrays(np.float32, (4, 3), elements=coordinate), arrays(np.float32, (4, 3), elements=coordinate)
)
def test_superpose_never_increases_the_distance(x: np.ndarray, y: np.ndarray) -> None:
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    placed = geometry.superpose(a, b)
    assert torch.isfinite(placed).all()
    centred = a - geometry.center(a) + geometry.center(b)
    bound = (centred - b).square().sum().sqrt()
    assert (placed - b).square().sum().sqrt() <= bound + 1e-4
    before, after = torch.pdist(a), torch.pdist(placed)
    np.testing.assert_allclose(after, before, atol=2e-5)


def test_momenta_and_inertia() -> None:
    generator = torch.Generator().manual_seed(12)
    x = torch.randn(4, 6, 3, generator=generator, dtype=torch.float64)
    masses = torch.rand(6, generator=generator, dtype=torch.float64) + 1
    spin, drift = torch.randn(2, 4, 1, 3, generator=generator, dtype=torch.float64)
    r = x - geometry.center(x, masses)
    v = torch.linalg.cross(spin.expand_as(r), r) + drift
    inertia = geometry.inertia_tensor(x + 5, masses)
    L = geometry.angular_momentum(x + 5, v, masses)
    np.testing.assert_allclose(L, (inertia @ spin.mT)[..., 0], atol=1e-12)
    np.testing.assert_allclose(geometry.momentum(v, masses), masses.sum() * drift[:, 0], atol=1e-12)
    energy = 0.5 * (masses[:, None] * (v - drift).square()).sum((-1, -2))
    np.testing.assert_allclose(0.5 * (L * spin[:, 0]).sum(-1), energy, atol=1e-12)


def test_thermal_momenta_are_those_of_velocities_at_random() -> None:
    """Of a large and a small conformation, with the velocities of Maxwell and Boltzmann."""
    generator = torch.Generator().manual_seed(13)
    x = SHAPES["solid"].double() * torch.tensor([1.0, 0.3])[:, None, None] + 5
    masses, heat = torch.linspace(1, 16, 7).double(), 2.5e-4
    v = torch.randn(20_000, 2, 7, 3, generator=generator).double() * (heat / masses[:, None]).sqrt()
    found = geometry.momentum(v, masses), geometry.angular_momentum(x.expand_as(v), v, masses)
    rms = [float(y.square().sum(-1).mean().sqrt()) for y in found]
    assert geometry.thermal_momenta(x, masses, heat) == pytest.approx(rms, rel=0.02)


@given(arrays(np.float64, (3,), elements=st.floats(-7, 7)))
def test_rotation_matrix_is_that_of_scipy(vector: np.ndarray) -> None:
    found = geometry.rotation_matrix(torch.from_numpy(vector))
    np.testing.assert_allclose(found, Rotation.from_rotvec(vector).as_matrix(), atol=1e-14)
    skew = geometry.cross_matrix(torch.from_numpy(vector))
    np.testing.assert_array_equal(geometry.vector_of(skew), vector)


def test_quaternions_are_composed_as_those_of_scipy() -> None:
    first, second = np.random.default_rng(2).normal(0, 3, (2, 5, 3))
    found = geometry.composed(*(geometry.quaternion(torch.tensor(x)) for x in (first, second)))
    expected = Rotation.from_rotvec(first) * Rotation.from_rotvec(second)
    np.testing.assert_allclose(geometry.matrix_of(found), expected.as_matrix(), atol=1e-13)


@pytest.mark.parametrize("angle", [0.0, 1e-20, 1e-9, 2.0])
def test_rotation_matrix_has_a_gradient_at_any_angle(angle: float) -> None:
    vector = torch.tensor([0.0, angle, 0.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(geometry.rotation_matrix, vector)


@pytest.mark.parametrize(
    ("x", "left"),
    [
        ([[0.3, 0.1, 0.2]], 0),
        ([[0.0, 0, 0], [0.4, 0.5, 0.9]], 1),
        ([[-0.3, 0.6, 0.9], [0, 0, 0], [0.1, -0.2, -0.3]], 4),
        ([[0.0, 0, 0], [0.9, 0.1, 0], [-0.3, 0.9, 0.2]], 3),
    ],
)
def test_velocities_without_momenta(x: list[list[float]], left: int) -> None:
    """In single precision too, where three atoms in line are off it by rounding."""
    positions = torch.tensor(x)
    atoms = len(positions)
    masses = torch.linspace(1, 16, atoms).double()
    units = torch.eye(3 * atoms).double().unflatten(1, (atoms, 3))
    for precise in (positions, positions.double()):
        many = precise.expand(3 * atoms, -1, -1)
        still = geometry.without_momenta(many, units, masses)
        assert torch.linalg.matrix_rank(still.flatten(1), atol=1e-6) == left
        assert geometry.free_directions(many, masses).tolist() == [left] * 3 * atoms
        assert float(geometry.momentum(still, masses).abs().max()) < 1e-6
        assert float(geometry.angular_momentum(many.double(), still, masses).abs().max()) < 1e-5
        again = geometry.without_momenta(many, still, masses)
        torch.testing.assert_close(again, still, atol=1e-6, rtol=0)


def test_leading_axes_broadcast() -> None:
    x = torch.randn(2, 3, 5, 3, generator=torch.Generator().manual_seed(1))
    assert geometry.superpose(x, x[:, :1]).shape == x.shape
    assert geometry.dihedrals(x, torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])).shape == (2, 3, 2)
    assert geometry.inertia_tensor(x, torch.ones(5)).shape == (2, 3, 3, 3)
