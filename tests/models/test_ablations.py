"""The parts that GF-NODE is compared without or with others in their place."""

import networkx as nx
import numpy as np
import pytest
import torch
from checking import check_gradients

from gfnode.dynamics import InteractingDynamics, LinearDynamics, NeuralDynamics
from gfnode.errors import InputError
from gfnode.models.encoders import ENCODERS
from making import build_variant, roughen, samples_of, system_of, windows_of

DEFAULT, PAPER = "preset:default", "preset:paper"


def silu(x):
    return x / (1 + np.exp(-x))


# Encoders


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("kind", ["graphsage", "gcn"])
def test_encoders_that_see_the_graph_alone(kind, residual):
    """Against loops over neighbours; positions come out as they went in."""
    system = system_of("CH3CH2OH")
    encoder = ENCODERS[kind](system.n_atoms, system.edges, 4, 2, 5, anchored=residual)
    h, x = torch.randn(system.n_atoms, 2, 4), torch.randn(system.n_atoms, 2, 3)
    with torch.no_grad():
        found, moved = encoder(h, x, torch.randn_like(x), torch.randn(len(system.edges), 2, 5))
    assert moved is x
    near = [system.edges.index[1][system.edges.index[0] == i] for i in range(system.n_atoms)]
    expected = h.numpy()
    for layer in encoder.layers:
        W, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        new = np.empty_like(expected)
        for i, others in enumerate(near):
            if kind == "graphsage":
                inputs = np.concatenate([expected[i], expected[others].mean(0)], -1)
            else:
                inputs = sum(
                    expected[j] / np.sqrt((len(others) + 1) * (len(near[j]) + 1))
                    for j in [i, *others]
                )
            new[i] = silu(inputs @ W.T + b)
        expected = expected + new if residual else new
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ENCODERS)
def test_atoms_without_neighbours_stay_finite(kind):
    model = build_variant(PAPER, {"encoder": kind}, system_of("Si"))
    found = model(torch.zeros(1, 1, 3), torch.full((1, 1, 3), 1e-3), torch.tensor([[100.0]]))
    assert found.isfinite().all()


@pytest.mark.parametrize("kind", ["graphsage", "gcn"])
def test_only_the_equivariant_encoder_sees_distances(kind):
    """Two starts of the same speeds and graph: the features of these encoders are the same."""
    system = system_of("ethanol", "heavy")
    batch = windows_of(samples_of("ethanol", system)).batch(slice(0, 2))
    x = batch.positions
    for encoder in ("egnn", kind):
        model = build_variant(PAPER, {"encoder": encoder}, system)
        features = []
        for start in (x, 1.3 * x):
            v = batch.velocities * system.time_step
            h, scalars = model.inputs(start, v, None)
            features.append(model.encoder(h, start.transpose(0, 1), v.transpose(0, 1), scalars)[0])
        assert torch.equal(*features) == (encoder != "egnn")


# Basis


def test_the_path_basis_is_cosines():
    """λ_k = 2 − 2 cos(πk/N), u_k(n) ∝ cos(πk(n + ½)/N): the discrete cosine transform."""
    model = build_variant(PAPER, {"basis": "path", "modes": None}, system_of("toluene", "heavy"))
    transform, n_atoms = model.features.transform, 7
    k = np.arange(n_atoms)
    np.testing.assert_allclose(
        transform.eigenvalues, 2 - 2 * np.cos(np.pi * k / n_atoms), atol=1e-6
    )
    cosines = np.cos(np.pi * k * (np.arange(n_atoms)[:, None] + 0.5) / n_atoms)
    overlap = (cosines / np.linalg.norm(cosines, axis=0)).T @ transform.vectors.numpy()
    np.testing.assert_allclose(np.abs(overlap), np.eye(n_atoms), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "exact"),
    [
        ("combinatorial", nx.laplacian_spectrum),
        ("normalised", nx.normalized_laplacian_spectrum),
    ],
)
def test_modes_are_those_of_the_laplacian_asked_for(kind, exact):
    system = system_of("toluene", "heavy")
    model = build_variant(PAPER, {"laplacian": kind, "modes": None}, system)
    graph = nx.Graph(system.edges.index.T.tolist())
    found = model.features.transform.eigenvalues
    np.testing.assert_allclose(found, np.sort(exact(graph)), atol=1e-6)


def test_parts_are_told_what_was_asked_for():
    system = system_of("toluene")
    ode = {"dynamics": "neural", "coordinate_dynamics": "neural", "time_input": "sinusoidal"}
    model = build_variant(PAPER, ode, system)
    assert model.features.dynamics.time_input == "sinusoidal"
    assert model.coordinates.dynamics.time_input == "sinusoidal"
    for kind in ("attention", "concatenation"):
        assert (
            build_variant(PAPER, {"mode_interaction": kind}, system).features.dynamics.kind == kind
        )
    for rotors in (True, False):
        frame = build_variant(DEFAULT, {"rotors": rotors}, system).frame
        assert len(frame.rotors) == rotors  # a methyl group
    model = build_variant(DEFAULT, {"coordinate_basis": "graph"}, system)
    assert model.coordinates.transform is model.features.transform


# Coordinates


@pytest.mark.parametrize("settling", [True, False])
@pytest.mark.parametrize("anharmonic", [True, False])
def test_without_anharmonicity_and_settling_vibrations_are_linear(anharmonic, settling):
    """Without settling alone they are odd; with it neither."""
    system = system_of("ethanol")
    options = {"anharmonic": anharmonic, "settling": settling}
    model = build_variant(DEFAULT, options, system)
    model.prepare(windows_of(samples_of("ethanol", system)))
    generator = torch.Generator().manual_seed(0)
    block = model.coordinates.double()
    with torch.no_grad():
        for weight in block.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
        start = torch.randn(2, 9, 3, 2, generator=generator).double() * torch.tensor([0.1, 0.01])
        times = torch.rand(2, 4, generator=generator).double()
        found, twice, back = (block(scale * start, times) for scale in (1, 2, -1))
    assert torch.allclose(twice, 2 * found, atol=1e-9) == (not anharmonic and not settling)
    assert torch.allclose(back, -found, atol=1e-9) == (not settling)


@pytest.mark.parametrize(
    ("name", "kept", "modes"), [("ethanol", None, 21), ("ethanol", 5, 5), ("N2", None, 1)]
)
def test_there_are_as_many_modes_as_vibrations(name, kept, modes):
    model = build_variant(DEFAULT, {"modes": kept}, system_of(name))
    assert model.coordinates.transform.n_modes == modes


# Modes that see each other

SPACES = torch.tensor([0, 1, 1, 2])
VALUES = torch.tensor([0.0, 1.0, 1.0, 3.0])


def interacting(kind, width=6, *, rough=True):
    torch.manual_seed(0)
    module = InteractingDynamics(LinearDynamics(SPACES, width), VALUES, SPACES, width, kind=kind)
    if rough:
        roughen(module)
    return module.double()


def rotation_of(size, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]


def amplitudes(rows=3, width=6):
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(2, 4, rows, width, generator=generator, dtype=torch.float64)
    return z, torch.tensor([[0.2, 1.0, 0.6], [0.0, 0.5, 0.7]], dtype=torch.float64)


@pytest.mark.parametrize("kind", ["attention", "concatenation"])
def test_modes_depend_on_each_other_and_on_no_choice_of_eigenvectors(kind):
    module = interacting(kind)
    z, times = amplitudes()
    with torch.no_grad():
        found = module(z, times)
        # another basis of the twofold eigenspace, other signs of the rest, rows turned
        turn = torch.block_diag(-torch.eye(1).double(), rotation_of(2, 0), torch.eye(1).double())
        rows = rotation_of(3, 1)
        turned = module(torch.einsum("kl,blrf,rs->bksf", turn, z, rows), times)
        expected = torch.einsum("kl,btlrf,rs->btksf", turn, found, rows)
        torch.testing.assert_close(turned, expected, rtol=1e-10, atol=1e-10)
        # a change of mode 3 reaches mode 0, and no other sample; without interaction it does not
        z[0, 3] += 1
        changed = (module(z, times) - found).abs().amax((1, 3, 4))
        assert changed[0, 0] > 1e-4
        assert changed[1].max() == 0
        alone = module.dynamics(z, times) - module.dynamics(amplitudes()[0], times)
        assert alone[:, :, 0].abs().max() == 0


@pytest.mark.parametrize("kind", ["attention", "concatenation"])
def test_interaction_begins_as_none(kind):
    module = interacting(kind, rough=False)
    z, times = amplitudes()
    assert torch.equal(module(z, times), module.dynamics(z, times))
    module(z, times).square().sum().backward()
    assert module.write.weight.grad.abs().max() > 0


def test_attention_does_not_go_by_the_number_of_a_space():
    """Spaces in another order with all that is theirs; concatenation tells them apart."""
    z, times = amplitudes()
    back = torch.tensor([3, 1, 2, 0])
    for kind in ("attention", "concatenation"):
        module = interacting(kind)
        other = InteractingDynamics(
            LinearDynamics(SPACES, 6), VALUES[back], SPACES, 6, kind=kind
        ).double()
        other.load_state_dict(module.state_dict())
        with torch.no_grad():
            other.dynamics.weight.copy_(module.dynamics.weight[[2, 1, 0]])
            difference = (other(z[:, back], times) - module(z, times)[:, :, back]).abs().max()
        assert (difference < 1e-10) == (kind == "attention")


# Time


@pytest.mark.parametrize("told", ["none", "scalar", "sinusoidal"])
def test_only_an_autonomous_ode_may_be_started_again(told):
    """φ(t₁ + t₂) = φ(t₂) ∘ φ(t₁) if and only if the field is not told the time."""
    torch.manual_seed(2)
    options = {"rtol": 1e-8, "atol": 1e-9}
    module = NeuralDynamics(VALUES, SPACES, 6, 8, time_input=told, **options).double()
    roughen(module)
    z, _ = amplitudes()
    half, whole = (torch.full((2, 1), t, dtype=torch.float64) for t in (0.5, 1.0))
    with torch.no_grad():
        once = module(z, whole)[:, 0]
        twice = module(module(z, half)[:, 0], half)[:, 0]
    error = (once - twice).abs().max() / (once - z).abs().max()
    assert (error < 1e-6) if told == "none" else (error > 1e-3)


def test_a_time_input_without_an_ode_to_tell_is_refused():
    for preset in (DEFAULT, PAPER):
        with pytest.raises(InputError, match=r"needs model\.dynamics=neural"):
            build_variant(preset, {"time_input": "none"}, system_of("ethanol"))


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "graphsage", "mode_interaction": "attention"},
        {"encoder": "gcn", "mode_interaction": "concatenation"},
    ],
    ids=str,
)
def test_gradients_against_finite_differences(options):
    small = {"width": 6, "encoder_layers": 2, "decoder_layers": 2, "lag_width": 4}
    system = system_of("ethanol", "heavy")
    model = build_variant(PAPER, small | options, system)
    roughen(model, scale=0.7)
    batch = windows_of(samples_of("ethanol", system)).batch(slice(0, 1))
    check_gradients(model, batch.positions, batch.velocities, torch.tensor([[20.0, 1500.0]]))
