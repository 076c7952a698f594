"""Messages as one operation: the same as one operation after the other, gradients included."""

import os
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from compilers import compiled
from gfnode.errors import InputError
from gfnode.experiment import build_model, configure, prepare
from gfnode.graph import hop_edges
from gfnode.kernels import build, messages
from gfnode.models import layers
from gfnode.models.layers import EGNNLayers
from gfnode.training.stepping import matmul_precision
from making import system_of, wiggle

SYSTEM = system_of("CH3CH2OH")
SCALARS = 3
SMALL = {
    "windows": {"horizon": 60.0, "times": 3, "most": (70, 20, 20), "split": "blocked"},
    "graph": {"bonds": "distances"},
    "windows.state": "all",
    "windows.score": "all",
}


@pytest.fixture
def one_by_one(monkeypatch):
    """Take the plain form from here on."""
    return lambda: monkeypatch.setattr(layers, "suits", lambda *arrays: False)


def stack(width=32, n_layers=2, **options):
    torch.manual_seed(3)
    return EGNNLayers(SYSTEM.n_atoms, SYSTEM.edges, width, n_layers, SCALARS, **options)


def inputs(batch, width=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(SYSTEM.n_atoms, batch, n) for n in (width, 3, 3)]
    shapes.append((len(SYSTEM.edges), batch, SCALARS))
    return [torch.randn(*shape, generator=generator).requires_grad_() for shape in shapes]


def outcome(network, arrays, **options):
    h, x = network(*arrays, **options)
    loss = (h.sin() if h.requires_grad else h).sum() + x.square().sum()
    wanted = [*arrays, *network.parameters()]
    return [h, x, *torch.autograd.grad(loss, wanted, allow_unused=True)]


def assert_alike(found, expected):
    """A gradient of nothing is zero."""
    arrays = [torch.zeros(()) if y is None else y for y in (*found, *expected)]
    for one, other in zip(arrays[: len(found)], arrays[len(found) :], strict=True):
        assert (one - other).abs().max() <= 2e-5 * (1e-3 + other.abs().max())


@compiled
@pytest.mark.parametrize("width", [8, 32, 48, 96])
@pytest.mark.parametrize("batch", [1, 5, 6, 50, 131])
def test_values_and_gradients_are_the_same(width, batch, one_by_one):
    network, arrays = stack(width), inputs(batch, width)
    assert messages.suits(*arrays)
    found = outcome(network, arrays)
    one_by_one()
    assert_alike(found, outcome(network, arrays))


@compiled
@pytest.mark.parametrize(
    ("made", "asked"),
    [
        ({"moves": False}, {}),
        ({"residual": True}, {}),
        ({"moves": False, "residual": True}, {}),
        ({}, {"positions_only": True}),
        ({"residual": True}, {"positions_only": True}),
    ],
)
def test_so_they_are_for_every_form_of_layer(made, asked, one_by_one):
    network, arrays = stack(**made), inputs(20)
    found = outcome(network, arrays, **asked)
    one_by_one()
    assert_alike(found, outcome(network, arrays, **asked))


@compiled
@pytest.mark.parametrize("asked", [0, 1], ids=["features", "positions"])
def test_a_gradient_of_one_output_alone(asked, one_by_one):
    network, arrays = stack(), inputs(9)
    wanted = [*arrays, *network.parameters()]

    def outcome():
        output = network(*arrays)[asked]
        gradients = torch.autograd.grad(output.sin().sum(), wanted, allow_unused=True)
        return [output, *gradients]

    found = outcome()
    one_by_one()
    assert_alike(found, outcome())


@compiled
@pytest.mark.parametrize("alone", range(4), ids=["features", "positions", "velocities", "scalars"])
def test_a_gradient_of_one_input_alone(alone, one_by_one):
    network = stack().requires_grad_(False)
    arrays = [y.requires_grad_(n == alone) for n, y in enumerate(inputs(9))]

    def outcome():
        h, x = network(*arrays)
        return torch.autograd.grad(h.sin().sum() + x.sin().sum(), arrays[alone])

    found = outcome()
    one_by_one()
    assert_alike(found, outcome())


@compiled
@pytest.mark.parametrize("size", [1.0, 3000.0])
def test_no_atom_moves_farther_than_100_and_then_its_messages_have_no_say(size, one_by_one):
    network, arrays = stack(n_layers=1), inputs(9)
    with torch.no_grad():
        network.layers[0].shift[-1].weight *= size
    found = outcome(network, arrays)
    moved = (found[1] - arrays[1]).abs().max()
    assert (moved > 90) == (size > 1)
    one_by_one()
    assert_alike(found, outcome(network, arrays))


@compiled
def test_frozen_weights_and_no_gradients_at_all():
    network, arrays = stack().requires_grad_(False), inputs(7)
    expected = [y.detach() for y in network(*arrays)]
    _, x = network(*arrays)
    assert torch.autograd.grad(x.sum(), arrays[1])[0].abs().max() > 0
    with torch.no_grad():
        for one, other in zip(network(*arrays), expected, strict=True):
            assert torch.equal(one, other)


def rounds():
    """Whether the processor multiplies numbers in bfloat16."""
    return "avx512_bf16" in Path("/proc/cpuinfo").read_text().split()


@compiled
@pytest.mark.parametrize("batch", [1, 5, 24, 50, 131])
@pytest.mark.parametrize("width", [24, 32, 48, 96])
def test_products_are_rounded_where_the_processor_has_them(width, batch):
    network, arrays = stack(width), inputs(batch, width)
    expected = outcome(network, arrays)
    with matmul_precision("bfloat16"):
        found = outcome(network, arrays)
    pairs = [(y, z.detach()) for y, z in zip(found, expected, strict=True) if z is not None]
    off = [float((y.detach() - z).norm() / z.norm()) for y, z in pairs]
    if rounds() and width > 24:
        assert max(off) > 1e-3
        assert max(off) < 3e-2
    else:
        assert max(off) == 0


@compiled
def test_sums_of_products_are_not_rounded():
    """Weights and features of few bits are multiplied exactly."""
    network, arrays = stack(n_layers=1), inputs(20)
    layer = network.layers[0]
    with torch.no_grad():
        for y in (layer.drive[0].weight, arrays[0]):
            y.copy_(y.bfloat16())
        for y in layer.message_out.parameters():  # so that shifts have no products
            y.zero_()
        _, expected = network(*arrays, positions_only=True)
        with matmul_precision("bfloat16"):
            _, found = network(*arrays, positions_only=True)
    assert (expected - arrays[1]).abs().max() > 0.1
    assert (found - expected).abs().max() < 1e-6 * expected.abs().max()


@compiled
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_sample_does_not_depend_on_the_others_nor_on_threads(threads):
    network, arrays = stack(), inputs(61)
    before = torch.get_num_threads()
    try:
        whole = network(*arrays)
        torch.set_num_threads(threads)
        for few in (slice(0, 1), slice(3, 40), slice(55, 61)):
            part = network(*(y[:, few] for y in arrays))
            for one, other in zip(part, whole, strict=True):
                assert torch.equal(one, other[:, few])
    finally:
        torch.set_num_threads(before)


@compiled
def test_numbers_of_any_size():
    """Where exponentials would overflow, SiLU is zero or the number itself."""
    network, arrays = stack(n_layers=1), inputs(8)
    with torch.no_grad():
        for size in (0.0, 1e2, 1e6):
            h, x = network(size * arrays[0], *arrays[1:])
            double = EGNNLayers(SYSTEM.n_atoms, SYSTEM.edges, 32, 1, SCALARS).double()
            double.load_state_dict(network.state_dict())
            expected = double(size * arrays[0].double(), *(y.double() for y in arrays[1:]))
            for one, other in zip((h, x), expected, strict=True):
                assert (one - other).abs().max() <= 1e-5 * (1 + other.abs().max())


@compiled
def test_a_missing_number_stays_missing():
    network, arrays = stack(n_layers=1), inputs(8)
    with torch.no_grad():
        arrays[0][0, 3] = torch.nan
        h, _ = network(*arrays)
    assert h[0, 3].isnan().all()
    assert h[:, 4].isfinite().all()


@compiled
def test_atoms_without_edges_and_without_samples():
    edges = hop_edges(np.array([[0, 1]]), 3)
    network = EGNNLayers(3, edges, 32, 1, SCALARS)
    h, x, v = torch.randn(3, 4, 32), torch.randn(3, 4, 3), torch.randn(3, 4, 3)
    scalars = torch.randn(len(edges), 4, SCALARS)
    drive = network.layers[0].drive(h[2])
    torch.testing.assert_close(network(h, x, v, scalars)[1][2], x[2] + drive * v[2])
    empty = network(h[:, :0], x[:, :0], v[:, :0], scalars[:, :0])
    assert [tuple(y.shape) for y in empty] == [(3, 0, 32), (3, 0, 3)]


@compiled
@pytest.mark.parametrize("name", ["gfnode", "egnn", "egno"])
def test_models_train_by_it(name, one_by_one, monkeypatch):
    sizes = {} if name == "gfnode" else {"model.name": name}
    experiment = configure("paper", SMALL | sizes)
    dataset = prepare([wiggle()], experiment)
    torch.manual_seed(0)
    model = build_model(experiment, dataset.system)
    batch = dataset.of(model)["train"].batch(slice(0, 20))
    calls = []

    def noted(arrays, weights, **how):
        calls.extend(weights)
        return messages.messages(arrays, weights, **how)

    monkeypatch.setattr(layers, "messages", noted)

    def gradients():
        loss = model.loss(batch, torch.Generator().manual_seed(0))
        return [loss, *torch.autograd.grad(loss, model.parameters(), allow_unused=True)]

    found = gradients()
    assert len(calls) >= 4
    one_by_one()
    for one, other in zip(found, gradients(), strict=True):
        if other is not None:
            assert (one - other).norm() <= 1e-4 * (1e-6 + other.norm())


def test_other_numbers_and_graphs_of_pytorch_take_the_plain_form():
    h = torch.zeros(2, 3, 32)
    assert not messages.suits(h.double())
    assert not messages.suits(h[..., :6])
    assert not messages.suits(h.to("meta"))
    assert not messages.suits(h, h.double())
    network, arrays = stack(), inputs(4)
    expected = network(*arrays)
    torch._dynamo.reset()
    graph = torch.compile(network, backend="eager", fullgraph=True)
    for one, other in zip(graph(*arrays), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("number", range(4))
def test_other_shapes_are_refused(number, dtype):
    """Nothing would keep the fused operation from reading beyond the arrays."""
    network = stack().to(dtype)
    for change in (
        lambda y: y[:1],
        lambda y: y[:, :1],
        lambda y: y[..., :-1],
        lambda y: y.transpose(0, 1),
        lambda y: y[None],
    ):
        arrays = [y.to(dtype) for y in inputs(4)]
        arrays[number] = change(arrays[number])
        with pytest.raises(InputError, match=r"^(h|x|v|scalars) has the shape \(.*, expected \("):
            network(*arrays)


@pytest.mark.parametrize("odd", range(5))
def test_numbers_of_two_types_are_refused(odd):
    """Of arrays and weights, one is in double precision: PyTorch names both types."""
    network, arrays = stack(), inputs(4)
    if odd == 4:
        network = network.double()
    else:
        arrays[odd] = arrays[odd].double()
    with pytest.raises(RuntimeError, match="dtype"):
        network(*arrays)


def test_gradients_of_each_sample():
    """By a transformed function, and as those of a sum over samples."""
    network, arrays = stack(), inputs(4)

    def loss(*arrays):
        return network(*(y[:, None] for y in arrays))[1].square().sum()

    each = torch.func.vmap(torch.func.grad(loss, argnums=1), in_dims=1, out_dims=1)
    found = each(*(y.detach() for y in arrays))
    (expected,) = torch.autograd.grad(network(*arrays)[1].square().sum(), arrays[1])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def apart(monkeypatch, tmp_path):
    """A cache folder of its own, and nothing remembered in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build.loaded.cache_clear()
    yield tmp_path
    build.loaded.cache_clear()


@compiled
def test_it_is_compiled_once(apart, monkeypatch):
    commands, run = [], subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda *of, **how: commands.append(of) or run(*of, **how)
    )
    assert build.loaded("messages.cpp", WIDTH=32) is not None
    kept = apart / "cache" / "gfnode" / "compiled"
    assert kept == build.folder()
    made = [path.name for path in kept.iterdir()]
    assert len(commands) == 3  # version, compile, link
    assert len(made) == 1
    assert made[0].endswith(".so")
    build.loaded.cache_clear()
    assert build.loaded("messages.cpp", WIDTH=32) is not None
    assert len(commands) == 4
    assert build.loaded("messages.cpp", WIDTH=64) is not None  # other code
    assert len(list(kept.iterdir())) == 2


@compiled
def test_it_needs_nothing_else_of_pytorch(apart, monkeypatch):
    """A linker that keeps whatever it is given, as some are set up to."""
    linker = apart / "linker"
    linker.write_text(f'#!/bin/sh\nexec {build._compiler()} -Wl,--no-as-needed "$@"\n')
    linker.chmod(0o700)
    monkeypatch.setenv("CXX", str(linker))
    assert build.loaded("messages.cpp", WIDTH=32, ROUNDED=0) is not None


def test_without_it_everything_works(apart, monkeypatch):
    h = torch.zeros(2, 3, 32)
    for name, value in (("CXX", "no-such-compiler"), (build.OFF, "1")):
        with monkeypatch.context() as patched:
            patched.setenv(name, value)
            build.loaded.cache_clear()
            assert not messages.suits(h)
    network, arrays = stack(), inputs(4)
    build.loaded.cache_clear()
    expected = network(*arrays)  # in one pass, where there is a compiler
    monkeypatch.setenv(build.OFF, "1")
    build.loaded.cache_clear()
    assert not messages.suits(arrays[0])
    assert_alike(network(*arrays), expected)


@compiled
@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("exit 1", "non-zero exit status 1"),
        ('echo "code.cpp:3: error: no such instruction" >&2; exit 1', r"\(no such instruction\)"),
        (
            '[ $1 = --version ] && exit; for out; do :; done; echo . > "$out"',
            "too short|ELF header",
        ),
    ],
    ids=["silent", "outspoken", "useless"],
)
def test_a_compiler_that_fails_is_said_once(apart, monkeypatch, does, said):
    broken = apart / "broken"
    broken.write_text(f"#!/bin/sh\n{does}\n")
    broken.chmod(0o700)
    monkeypatch.setenv("CXX", str(broken))
    with pytest.warns(UserWarning, match=said) as told:
        found = [messages.suits(torch.zeros(2, 3, width)) for width in (32, 64)]
    assert found == [False, False]
    assert len(told) == 1


@compiled
def test_a_folder_that_cannot_be_written(apart, monkeypatch):
    (apart / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(apart / "file"))
    assert build.loaded("messages.cpp", WIDTH=32) is not None  # for this process


@compiled
def test_a_folder_for_all_is_not_asked_for_code(apart, monkeypatch):
    monkeypatch.setenv("GFNODE_CACHE", str(apart / "shared"))
    assert build.loaded("messages.cpp", WIDTH=32) is not None
    assert not (apart / "shared").exists()


@compiled
@pytest.mark.parametrize("what", ["file", "folder", "owner"])
def test_code_that_others_may_have_changed_is_not_loaded(apart, monkeypatch, what):
    build.loaded("messages.cpp", WIDTH=32)
    (place,) = build.folder().iterdir()
    assert stat.S_IMODE(place.stat().st_mode) == stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    place.unlink()  # it is mapped into this process
    place.write_bytes(b"planted")
    place.chmod(0o700)
    if what == "owner":
        monkeypatch.setattr(os, "getuid", lambda: place.stat().st_uid + 1)
    else:
        (place if what == "file" else place.parent).chmod(0o770)
    build.loaded.cache_clear()
    assert build.loaded("messages.cpp", WIDTH=32) is not None
    kept = what == "file"  # where only the file was wrong, it is made again
    assert (place.read_bytes() != b"planted") is kept
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


@compiled
@pytest.mark.parametrize("left", [0, 100, 20_000, -1])
def test_code_that_was_cut_off_is_made_again(apart, left):
    """To load it would end the process."""
    build.loaded("messages.cpp", WIDTH=32)
    (place,) = build.folder().iterdir()
    whole = place.read_bytes()
    place.unlink()  # it is mapped into this process
    place.write_bytes(whole[:left])
    place.chmod(0o700)
    build.loaded.cache_clear()
    assert build.loaded("messages.cpp", WIDTH=32) is not None
    assert len(place.read_bytes()) == len(whole)
