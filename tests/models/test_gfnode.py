"""GF-NODE against a literal implementation, exact motions, and what its basis may not decide."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import torch
from scipy.spatial.transform import Rotation
from test_layers import literal as literal_layer

from gfnode.errors import InputError
from gfnode.experiment import build_model, configure, prepare
from gfnode.graph import bonds_from_distances, hop_edges, laplacian
from gfnode.models import build
from gfnode.models.anchored import _best
from gfnode.molecule.system import System
from gfnode.simulate import asymmetric_top, counter_rotors
from gfnode.training import Trainer
from gfnode.trajectory import Trajectory
from gfnode.windows.cutting import WindowSettings, make_windows
from gfnode.windows.published import rigid_pairs
from making import build_variant, geometry_of, roughen, samples_of, system_of, windows_of

DEFAULT, PAPER, PUBLISHED = "preset:default", "preset:paper", "preset:published"
LAGS = torch.tensor([[2.0, 300.0, 900.0, 1500.0]])


def prepared(preset, name, state, options=None, *, rough=True):
    system = system_of(name, state)
    frames = samples_of(name, system)
    model = build_variant(preset, options or {}, system)
    model.prepare(windows_of(frames))
    if rough:
        roughen(model, scale=0.7)
    batch = windows_of(frames).batch(slice(0, 3))
    return model.eval(), batch.positions, batch.velocities


# The published model


@pytest.mark.parametrize("name", ["ethanol", "toluene"])
def test_published_has_as_many_weights_as_the_published_code(name):
    model = build_variant(PUBLISHED, {}, system_of(name, "heavy"))
    assert sum(w.numel() for w in model.parameters()) == 552_092


def test_published_initial_dynamics_are_uniform():
    model = build_variant(PUBLISHED, {}, system_of("toluene", "heavy"))
    for dynamics, width in ((model.features.dynamics, 64), (model.coordinates.dynamics, 2)):
        assert dynamics.weight.shape == (2, width, width)
        scaled = dynamics.weight.detach() * width**2
        assert scaled.min() >= 0
        assert scaled.max() <= 1
    scaled = model.features.dynamics.weight.detach() * 64**2
    assert float(scaled.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(scaled.std()) == pytest.approx(12**-0.5, abs=0.02)


@pytest.mark.parametrize(
    ("numbers", "atoms", "expected"),
    [
        ([6, 6, 8, 1, 1, 1, 1, 1, 1], None, [(0, 1)]),
        ([6] * 6 + [1] * 6, None, [(0, 1), (2, 3), (4, 5)]),
        ([1, 6, 1, 6, 6, 6, 1, 6, 6, 1, 1, 1], [7, 8, 1, 3], [(2, 3), (0, 1)]),  # by file order
        ([6, 1, 1, 1, 1], None, []),
    ],
    ids=["ethanol", "benzene", "part of benzene in another order", "methane"],
)
def test_rigid_marks_go_by_formula_and_file_order(numbers, atoms, expected):
    numbers = np.array(numbers)
    atoms = np.arange(len(numbers)) if atoms is None else np.array(atoms)
    found = rigid_pairs(numbers, atoms, np.empty((0, 2), dtype=np.int64))
    assert list(map(tuple, found.tolist())) == expected


def test_every_alanine_dipeptide_bond_is_marked():
    bonds = np.array([[0, 1], [1, 2]])
    numbers = np.array([6] * 6 + [7] * 2 + [8] * 2 + [1] * 12)
    assert rigid_pairs(numbers, np.arange(22), bonds) is bonds


def silu(x):
    return x / (1 + np.exp(-x))


def literal(model, x, v, lags):
    """The published GF-NODE in loops and double precision, ``x, v (atom, 3)``, ``lags (time,)``."""
    system = model.system
    w = {k: p.detach().double().numpy() for k, p in model.named_parameters()}
    index, hop = system.edges.index, system.edges.hop
    numbers = system.numbers.astype(float)
    marked = {frozenset(pair) for pair in system.rigid.tolist()}
    scalars = np.array(
        [
            [numbers[i], numbers[j], k, frozenset((i, j)) in marked, ((x[i] - x[j]) ** 2).sum()]
            for (i, j), k in zip(index.T.tolist(), hop, strict=True)
        ]
    )
    v = v * system.time_step
    atoms = np.stack([np.linalg.norm(v, axis=1), numbers / numbers.max()], 1)
    h = atoms @ w["inputs.embed.weight"].T + w["inputs.embed.bias"]
    mean = x.mean(0)
    for layer in model.encoder.layers:
        h, x = literal_layer(layer, h, x, v, scalars, index)
    U = model.features.transform.vectors.double().numpy()
    spaces = model.features.transform.spaces.tolist()
    results = []
    for lag in lags:
        t = lag / system.horizon
        moved_h, moved_c = np.zeros_like(h), np.zeros((*x.shape, 2))
        channels = np.stack([x - mean, v], -1)
        for k in range(U.shape[1]):
            in_mode = U[:, k] @ h
            W = scipy.linalg.expm(t * w["features.dynamics.weight"][spaces[k]])
            moved_h += np.outer(U[:, k], in_mode @ W)
            in_mode = np.einsum("a,acf->cf", U[:, k], channels)
            W = scipy.linalg.expm(t * w["coordinates.dynamics.weight"][spaces[k]])
            moved_c += U[:, k][:, None, None] * (in_mode @ W)
        g = h + silu(moved_h)
        c = channels + (silu(moved_c) if model.settings.coordinate_activation else moved_c)
        y, u = c[..., 0] + mean, c[..., 1]
        angles = lag / system.time_step * 10_000 ** (-np.arange(16) / 15)
        embedding = np.concatenate([np.sin(angles), np.cos(angles)])
        g = np.concatenate([g, np.tile(embedding, (len(g), 1))], 1)
        for layer in model.decoder.layers:
            g, y = literal_layer(layer, g, y, u, scalars, index)
        results.append(y)
    return np.stack(results)


@pytest.mark.parametrize("preset", [PUBLISHED, PAPER])
@pytest.mark.parametrize("rough", [False, True])
def test_fast_and_literal_forms_agree(preset, rough):
    model, x, v = prepared(preset, "ethanol", "heavy", rough=rough)
    matrix = laplacian(model.system.edges.index, 3).toarray()
    U = model.features.transform.vectors.double().numpy()
    kept = np.diag(U.T @ matrix @ U)
    np.testing.assert_allclose(matrix @ U, U * kept, atol=1e-6)
    np.testing.assert_allclose(kept, [0, 3, 3][: U.shape[1]], atol=1e-6)
    with torch.no_grad():
        found = model(x, v, LAGS.expand(3, -1)).numpy()
    for sample in range(3):
        expected = literal(
            model, x[sample].double().numpy(), v[sample].double().numpy(), LAGS[0].numpy()
        )
        moved = np.abs(expected - x[sample].numpy()).max()
        assert moved > 0.1
        assert np.abs(found[sample] - expected).max() < 1e-4 * moved


# What the basis may not decide


def turned_basis(vectors, spaces, seed):
    """The same eigenspaces, spanned by other vectors."""
    rng, turned = np.random.default_rng(seed), vectors.clone()
    for space in range(int(spaces.max()) + 1):
        mine = spaces == space
        Q = scipy.linalg.qr(rng.standard_normal((int(mine.sum()),) * 2))[0]
        turned[:, mine] = (vectors[:, mine].double() @ torch.from_numpy(Q)).float()
    return turned


@pytest.mark.parametrize(
    ("preset", "state", "options"),
    [
        (PAPER, "heavy", {}),
        (PAPER, "heavy", {"modes": None}),
        (PAPER, "heavy", {"dynamics": "neural", "coordinate_dynamics": "neural"}),
        (DEFAULT, "all", {}),
        (DEFAULT, "heavy", {}),
        (DEFAULT, "heavy", {"dynamics": "neural"}),
    ],
)
def test_the_choice_of_eigenvectors_does_not_matter(preset, state, options):
    model, x, v = prepared(preset, "benzene", state, options)
    transform = model.features.transform
    counts = transform.spaces.bincount()
    assert counts.max() >= 2
    lags = LAGS.expand(3, -1)
    with torch.no_grad():
        found = model(x, v, lags)
        assert (found - x[:, None]).norm(dim=-1).mean() > 0.1
        original = transform.vectors.clone()
        for seed in range(3):
            transform.vectors.copy_(turned_basis(original, transform.spaces, seed))
            assert (transform.vectors - original).abs().max() > 0.1
            assert (model(x, v, lags) - found).abs().max() < 1e-5


def test_published_depends_on_the_choice_of_eigenvectors():
    """It keeps one mode out of benzene's three of eigenvalue 4: the exemption is needed."""
    model, x, v = prepared(PUBLISHED, "benzene", "heavy")
    transform, lags = model.features.transform, LAGS.expand(3, -1)
    values, vectors = np.linalg.eigh(laplacian(model.system.edges.index, 6).toarray())
    np.testing.assert_allclose(values[1:4], 4)
    with torch.no_grad():
        found = model(x, v, lags)
        transform.vectors[:, 1] = torch.from_numpy(vectors[:, 1] + vectors[:, 3]) / 2**0.5
        assert (model(x, v, lags) - found).abs().max() > 1e-2


# Gradients


@pytest.mark.parametrize(
    ("preset", "state", "name"),
    [(DEFAULT, "all", "CH3OH"), (PAPER, "heavy", "ethanol"), (PUBLISHED, "heavy", "ethanol")],
)
def test_gradients_against_finite_differences(preset, state, name):
    options = {"width": 6, "encoder_layers": 2, "decoder_layers": 2, "lag_width": 4}
    model, x, v = prepared(preset, name, state, options)
    model = model.double()
    x, v = x[:1].double(), 200 * v[:1].double()
    lags = torch.tensor([[20.0, 1500.0]], dtype=torch.float64)
    project = torch.randn(1, 2, x.shape[1], 3, dtype=torch.float64)

    def of_start(x, v):
        return (model(x, v / 200, lags) * project).sum()

    inputs = (x.requires_grad_(), v.requires_grad_())
    assert torch.autograd.gradcheck(of_start, inputs, eps=1e-6, atol=1e-6, rtol=1e-4)

    weights = list(model.parameters())
    gradients = torch.autograd.grad(of_start(*inputs), weights, allow_unused=True)
    directions = [torch.randn_like(w) for w in weights]
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True) if g is not None)
    used = [k for (k, _), g in zip(model.named_parameters(), gradients, strict=True) if g is None]
    assert all("decoder.layers.1.feature" in k or "log_" in k for k in used), used

    def shifted(step):
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight.add_(step * direction)
            value = of_start(*inputs)
            for weight, direction in zip(weights, directions, strict=True):
                weight.sub_(step * direction)
        return float(value)

    step = 1e-6
    numerical = (shifted(step) - shifted(-step)) / (2 * step)
    assert float(slope) == pytest.approx(numerical, rel=1e-4, abs=1e-6)


# The anchored frame


def test_at_first_atoms_fly_on():
    """As it is built: the change at short lags is lag times velocity."""
    model, x, v = prepared(DEFAULT, "toluene", "all", rough=False)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "coordinates" in name:
                weight.add_(0.3 * torch.randn_like(weight))
        model.frame.log_memory.zero_()
        model.frame.share.fill_(0.7)
        model.frame.free.fill_(1.0)
    model, x, v = model.double(), x.double(), v.double()
    lag = 0.01
    with torch.no_grad():
        at = model(x, v, torch.tensor([[lag, 2 * lag]] * 3, dtype=torch.float64))
        start = model(x, v, torch.zeros(3, 1, dtype=torch.float64))
    np.testing.assert_allclose(start[:, 0], x, atol=1e-12)
    slope = (4 * at[:, 0] - at[:, 1] - 3 * x) / (2 * lag)
    assert (slope - v).abs().max() < 1e-3 * v.abs().max()


@pytest.mark.parametrize("scored", [False, True])
def test_the_centre_of_mass_flies_on(scored):
    """Whichever atoms the conformer is superposed on, its modes have no momentum."""
    model, x, v = prepared(DEFAULT, "toluene", "all", rough=False)
    with torch.no_grad():
        if scored:
            model.frame.conformer.weights.copy_(torch.arange(15) < 7)
        model.frame.log_memory.fill_(10.0)  # free flight
        lags = LAGS.expand(len(x), -1)
        model, x, v, lags = (y.double() for y in (model, x, v, lags))
        found = model(x, v, lags)
    m = model.frame.masses[:, None] / model.frame.masses.sum()
    flown = (m * x).sum(-2)[:, None] + lags[..., None] * (m * v).sum(-2)[:, None]
    torch.testing.assert_close((m * found).sum(-2), flown, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mirrored", [False, True])
def test_turning_tips_turn_with_the_molecule(mirrored):
    model, x, v = prepared(DEFAULT, "toluene", "all", rough=False)
    with torch.no_grad():
        model.frame.share.fill_(0.7)
        model.frame.free.fill_(1.0)
    model, x, v = model.double(), x.double(), v.double()
    turn = torch.from_numpy(Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix())
    turn = -turn if mirrored else turn
    lags = LAGS.double().expand(len(x), -1)
    with torch.no_grad():
        found, moved = model(x, v, lags), model(x @ turn.mT + 1.0, v @ turn.mT, lags)
        model.frame.free.zero_()
        still = model(x, v, lags)
    assert (found - still).abs().max() > 0.5
    torch.testing.assert_close(moved, found @ turn.mT + 1.0, atol=1e-6, rtol=0)


def test_a_placement_is_its_definition():
    """Drift, turn and spins against sums over atoms, and nothing is lost."""
    model, x, v = prepared(DEFAULT, "toluene", "all", rough=False)
    with torch.no_grad():
        model.frame.share.fill_(0.7)
        model.frame.free.fill_(1.0)
        found = model.frame.place(x, v)
    m = model.system.masses
    rotors = model.frame.rotors
    (hinge, far), group = rotors.axes[0].tolist(), (rotors.mass[0] > 0).numpy()
    assert group.sum() == 4
    for k in range(len(x)):
        X, V = (y[k].double().numpy() for y in (x, v))
        centre, drift = m @ X / m.sum(), m @ V / m.sum()
        r, w = X - centre, V - drift
        inertia = (m * (r**2).sum(1)).sum() * np.eye(3) - (m[:, None] * r).T @ r
        total = (m[:, None] * np.cross(r, w)).sum(0)
        spin = (m[:, None] * np.cross(X - X[hinge], V - V[hinge]))[group].sum(0)
        axis = (X[hinge] - X[far]) / np.linalg.norm(X[hinge] - X[far])
        # the body turns by ω, the group by what is left: I ω + s a = L and s + a·I_b ω = spin
        arms = (X - X[hinge])[group]
        second = (m[group, None] * arms).T @ arms
        own = (np.trace(second) * np.eye(3) - second) @ axis
        equations = np.block([[inertia, axis[:, None]], [own[None], np.ones((1, 1))]])
        spin = np.linalg.solve(equations, np.append(total, spin @ axis))[3] * axis
        rate = spin @ axis / (own @ axis)
        np.testing.assert_allclose(found.centre[k, 0], centre, atol=1e-5)
        np.testing.assert_allclose(found.drift[k, 0], drift, atol=1e-7)
        np.testing.assert_allclose(found.momentum[k].numpy(), total, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.spins[k, 0], spin, rtol=1e-4, atol=1e-5)
        inverse = found.inverse[k].double().numpy()
        np.testing.assert_allclose(inverse @ inertia, np.eye(3), atol=1e-4)
        own = found.rotation[k].double().numpy()
        np.testing.assert_allclose(own @ own.T, np.eye(3), atol=1e-6)
        displaced = found.displacement[k].double().numpy() @ own.T
        np.testing.assert_allclose(found.body[k].numpy() + displaced, r, atol=1e-5)
        turning = np.cross(inverse @ (total - 0.7 * spin), r)
        turning[group] += rate * np.cross(axis, arms)
        vibration = found.vibration[k].double().numpy() @ own.T
        np.testing.assert_allclose(vibration + turning, w, atol=1e-6)


def prepared_on(motion, frames=2000, horizon=600.0):
    return prepared_from(motion.trajectory(frames, 1.0), motion.reference, horizon)


def prepared_from(trajectory, reference, horizon):
    parts, horizon = make_windows([trajectory], WindowSettings(horizon=horizon, split="all"))
    bonds = bonds_from_distances(trajectory.numbers, reference[None])
    atoms = np.arange(len(trajectory.numbers))
    score = np.flatnonzero(trajectory.numbers > 1)
    edges = hop_edges(bonds, len(atoms))
    system = System(trajectory.numbers, atoms, score, bonds, edges, trajectory.step, horizon)
    options = dict(configure().model)
    model = build(options.pop("name"), system, options)
    model.prepare(parts["test"])
    return model.eval()


def test_a_free_rigid_body_turns_as_it_should():
    """Prepared on one such motion, it follows another: unseen momenta, off the axes."""
    model = prepared_on(asymmetric_top(drift=(2e-3, -1e-3, 5e-4), seed=2), 2600)
    motion = asymmetric_top(drift=(-1e-3, 1e-3, 1e-3), seed=5)
    times = np.linspace(0, 600, 13)
    x, v = motion.state(times)
    with torch.no_grad():
        found = model(
            torch.from_numpy(x[:1]).float(),
            torch.from_numpy(v[:1]).float(),
            torch.from_numpy(times[None, 1:]).float(),
        )[0].numpy()
    error = np.linalg.norm(found - x[1:], axis=-1).max(1)
    moved = np.linalg.norm(x[1:] - x[0], axis=-1).max(1)
    assert moved.max() > 3
    assert error.max() < 1e-2, error


def in_solvent(numbers, reference, memory, speed, turn=None):
    """A rigid body whose drift is that of Langevin, with a rotation of its own in each frame."""
    kept, shape = np.exp(-1 / memory), np.broadcast_to(reference, (4000, *reference.shape))
    kicks = speed * np.random.default_rng(0).normal(size=(4000, 3)) * np.sqrt(1 - kept**2)
    drift = scipy.signal.lfilter([1.0], [1.0, -kept], kicks, axis=0)
    x = drift.cumsum(0)[:, None] + (shape if turn is None else shape @ turn)
    v = np.broadcast_to(drift[:, None], x.shape)
    x, v = x.astype(np.float32), v.astype(np.float32)
    return Trajectory(x, 1.0 * np.arange(4000), numbers, v)


def test_a_drift_is_forgotten_in_the_time_of_the_friction():
    """A rigid body in a solvent (Langevin): ⟨x(τ) − x⟩ = v τ_p (1 − e^(−τ/τ_p))."""
    memory, motion = 60.0, asymmetric_top()
    trajectory = in_solvent(motion.numbers, motion.reference, memory, 0.01)
    model = prepared_from(trajectory, motion.reference, 300.0)
    found = 300 * float(model.frame.log_memory[0].detach().exp())
    assert 0.5 * memory < found < 2 * memory  # of times that differ by a factor of 1.8
    start = torch.from_numpy(trajectory.positions[:1]), torch.full((1, 9, 3), 0.01)
    lags = np.array([20.0, 80.0, 300.0])
    with torch.no_grad():
        moved = model(*start, torch.tensor(lags[None]).float())[0] - start[0]
    m = model.system.masses / model.system.masses.sum()
    expected = 0.01 * found * (1 - np.exp(-lags / found))
    np.testing.assert_allclose(m @ moved.numpy(), expected[:, None].repeat(3, 1), atol=1e-3)


def test_a_slow_drift_is_told_from_turns_that_nothing_foretells():
    """Benzene, whose carbons are about its centre of mass, turns by an Å and drifts by less."""
    numbers, reference = geometry_of("benzene")
    turn = Rotation.random(4000, rng=np.random.default_rng(1)).as_matrix()
    trajectory = in_solvent(numbers, reference, 60.0, 5e-4, turn)
    model = prepared_from(trajectory, reference, 300.0)
    found = 300 * float(model.frame.log_memory[0].detach().exp())
    assert 30 < found < 120


@pytest.mark.parametrize(
    ("radians", "steps", "followed"),
    [(0.3, 2, True), (10.2, 21, True), (63.0, 64, True), (65.0, 64, False)],
)
def test_turns_are_integrated_in_steps_of_half_a_radian(radians, steps, followed):
    model, x, v = prepared(DEFAULT, "ethanol", "all", rough=False)
    frame = model.frame
    with torch.no_grad():
        frame.log_memory.fill_(20.0)  # free flight
        spin = torch.tensor([[0.0, 0.0, radians / 500], [0.0, 1e-4, 0.0], [0.0, 0.0, 0.0]])
        placed = frame.place(x, v)._replace(momentum=2 * spin, inverse=0.5 * torch.eye(3))
        assert frame._count_steps(placed, torch.tensor([[5.0, 500.0]] * 3)) == followed
    assert (frame._steps, int(frame.steps)) == (steps, steps)


@pytest.mark.parametrize("least", range(0, 36, 5))
def test_the_search_of_memory_times_ends_at_the_least_error(least):
    tried = []

    def error(value):
        tried.append(float(value))
        return torch.tensor(1 + 0.1 * abs(float(value) - least))

    assert float(_best(error, torch.arange(36.0))) == least
    assert len(set(tried)) == len(tried) <= 18
    # the first of those that are as good, or of all
    assert float(_best(lambda value: 1 + (value < least).float(), torch.arange(36.0))) == least
    assert float(_best(lambda value: 1 + 1e-4 * value.sin(), torch.arange(36.0))) == 0


def test_turns_that_the_targets_do_not_show_are_forgotten():
    """Frames of a tumbling molecule, a picosecond apart, superposed on their start."""
    rng = np.random.default_rng(0)
    motion, frames = asymmetric_top(), 600
    reference = motion.reference - motion.masses @ motion.reference / motion.masses.sum()
    x = reference @ Rotation.random(frames, rng=rng).as_matrix() + rng.normal(size=(frames, 1, 3))
    v = np.cross(rng.normal(scale=0.02, size=(frames, 1, 3)), x) + 0.001
    trajectory = Trajectory(
        x.astype(np.float32), 1000.0 * np.arange(frames), motion.numbers, v.astype(np.float32)
    )
    model = prepared_from(trajectory, motion.reference, 50_000.0)
    start = torch.from_numpy(trajectory.positions[:1]), torch.from_numpy(trajectory.velocities[:1])
    with torch.no_grad():
        found = model(*start, torch.tensor([[5_000.0, 50_000.0]]))
    assert (found - start[0]).norm(dim=-1).max() < 0.1


def test_scored_atoms_in_a_plane_do_not_leave_the_others_to_chance():
    """Ethanol's C, C and O fit their mirror image; its hydrogens must decide, not rounding."""
    motion = asymmetric_top(seed=2)
    model = prepared_on(motion, 2600)
    x, v = (torch.from_numpy(y).float() for y in motion.state(np.arange(0.0, 900.0, 100.0)))
    for mirror in (1.0, -1.0):
        seen = mirror * x
        placement = model.frame.place(seen, mirror * v)
        assert placement.displacement.norm(dim=-1).max() < 1e-3


EXACT = {
    "top": (lambda k: asymmetric_top(seed=k, drift=(1e-3 * (k - 2), 5e-4 * k, -1e-3)), 3.0),
    "rotors": (lambda k: counter_rotors(seed=k, rate=(0.012, -0.02, 0.03, -0.028)[k % 4]), 1.5),
}


@pytest.mark.parametrize("kind", list(EXACT))
def test_trained_on_exact_motions_it_follows_unseen_momenta(kind):
    """To 1e-2 Å over 3000 frames of 0.5 fs; and the angular momentum is that of the start."""
    motion, least = EXACT[kind]
    changes = {
        "windows": {"horizon": "1.5ps", "most": [64, 16, 16], "velocities": "stored"},
        "training": {"epochs": 2, "patience": None, "rate": 1e-4},
    }
    experiment = configure(changes=changes)
    data = prepare([motion(k).trajectory(38_000, 0.5) for k in range(3)], experiment)
    model = build_model(experiment, data.system)
    parts = data.of(model)
    model.prepare(parts["train"])
    Trainer(model, parts, experiment.training, 0, accelerator="cpu").run()
    unseen = motion(43)
    times = np.linspace(0, 1500, 13)
    x, v = (y.astype(np.float32) for y in unseen.state(times))
    asked = np.concatenate([times[1:] - 5, times[1:] + 5]).astype(np.float32)
    start = torch.from_numpy(x[:1]), torch.from_numpy(v[:1])
    with torch.no_grad():
        found = model.eval()(*start, torch.from_numpy(times[None, 1:]).float())[0].numpy()
        sides = model(*start, torch.from_numpy(asked)[None])[0].numpy()
    error = np.linalg.norm(found - x[1:], axis=-1).max(1)
    moved = np.linalg.norm(x[1:] - x[0], axis=-1)[:, data.system.score].max(1)
    assert moved.max() > least
    assert error.max() < 1e-2, error

    masses = data.system.masses[:, None]
    before, after = sides[: len(found)], sides[len(found) :]
    begun = masses * np.cross(x[0], v[0])
    kept = masses * np.cross(found, (after - before) / 10)
    size = np.linalg.norm(begun, axis=-1).sum()  # in counter rotors the sum itself is zero
    np.testing.assert_allclose(kept.sum(1), np.tile(begun.sum(0), (12, 1)), atol=0.01 * size)


@pytest.mark.parametrize("preset", [DEFAULT, PAPER, PUBLISHED])
@pytest.mark.parametrize("name", ["CO2", "C2H2", "N2", "HCl", "Si"])
def test_linear_molecules_and_single_atoms_stay_finite(preset, name):
    model, x, v = prepared(preset, name, "all")
    x, v = x.requires_grad_(), v.requires_grad_()
    found = model(x, v, LAGS.expand(3, -1))
    assert found.isfinite().all()
    found.square().sum().backward()
    gradients = [x.grad, v.grad, *(w.grad for w in model.parameters() if w.grad is not None)]
    assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("name", ["CO2", "N2"])
def test_exactly_linear_starts_at_rest_stay_finite(name):
    """All atoms on one line, none moving: nothing may be divided by zero."""
    system = system_of(name)
    frames = samples_of(name, system)
    line = torch.tensor([1.0, 2.0, -1.0]) * torch.arange(system.n_atoms)[:, None]
    frames = replace(
        frames,
        positions=line.expand_as(frames.positions).contiguous(),
        velocities=torch.zeros_like(frames.positions),
    )
    model = build_variant(DEFAULT, {}, system)
    model.prepare(windows_of(frames))
    roughen(model)
    batch = windows_of(frames).batch(slice(0, 2))
    found = model(batch.positions, batch.velocities, LAGS.expand(2, -1))
    assert found.isfinite().all()
    found.sum().backward()
    assert all(w.grad.isfinite().all() for w in model.parameters() if w.grad is not None)


# Options


def test_options_that_do_not_fit_together_are_refused():
    """Before any data is read; an activation of oscillators once counted as breaking rotation."""
    for preset, changes, said in (
        ("paper", {"coordinate_dynamics": "oscillator"}, "oscillator propagates displacements"),
        ("default", {"coordinate_dynamics": "linear"}, "use oscillator"),
        ("default", {"coordinate_activation": True}, "no effect on oscillators"),
        ("paper", {"time_input": "sinusoidal"}, r"time_input=sinusoidal needs model\.dynamics"),
    ):
        with pytest.raises(InputError, match=rf"^options of model gfnode: model\..*{said}"):
            configure(preset, {f"model.{key}": value for key, value in changes.items()})


def test_more_modes_than_atoms_are_all_of_them():
    model = build_variant(DEFAULT, {"modes": 1000}, system_of("ethanol", "heavy"))
    assert model.features.transform.n_modes == 3


def test_a_disconnected_graph_is_handled():
    """Two molecules: two constant modes, one eigenspace, and finite predictions."""
    system = system_of("ethanol", "heavy")
    bonds = system.bonds[:1]
    system = replace(system, bonds=bonds, edges=hop_edges(bonds, 3))
    model = build_variant(PAPER, {"modes": 1}, system)
    assert model.features.transform.n_modes == 2
    frames = samples_of("ethanol", system)
    batch = windows_of(frames).batch(slice(0, 2))
    assert model(batch.positions, batch.velocities, LAGS.expand(2, -1)).isfinite().all()
