"""Densities, basins and passages on angles placed by hand."""

import numpy as np
import pytest

from gfnode.errors import InputError
from gfnode.metrics import Blocks
from gfnode.metrics import ramachandran as r


def at(phi: float, psi: float) -> str:
    names = [basin.name for basin in r.BASINS] + [r.OTHER]
    return names[int(r.assign(np.radians(phi), np.radians(psi)))]


@pytest.mark.parametrize(
    ("phi", "psi", "basin"),
    [
        (-75, -20, "alpha_R"),
        (-75, 59.9, "alpha_R"),
        (-75, 60, "beta"),
        (-80, 75, "beta"),  # C7eq
        (-155, 160, "beta"),  # C5
        (-70, 150, "beta"),  # polyproline II
        (-155, 180, "beta"),
        (-155, -180, "beta"),
        (-155, -121, "beta"),
        (-155, -120, "alpha_R"),
        (175, 170, "beta"),  # through φ = 180°
        (-180, 170, "beta"),
        (180, 170, "beta"),
        (540, 170, "beta"),
        (55, 40, "alpha_L"),
        (70, -60, "alpha_L"),  # C7ax
        (0, 0, "alpha_L"),
        (-0.01, 0, "alpha_R"),
        (119.9, 0, "alpha_L"),
        (120, 0, "alpha_R"),
        (60, 175, "other"),
        (60, -170, "other"),
        (np.nan, 0, "other"),
    ],
)
def test_basins(phi: float, psi: float, basin: str) -> None:
    assert at(phi, psi) == basin


def test_density() -> None:
    phi, psi = np.radians([[-179, 179, 181, 3], [3, 3, 3, -3]])
    p = r.density(phi, psi)
    assert p.shape == (60, 60)
    assert p[0, 30] == 0.5  # −179° and 181° are one bin
    assert (p[59, 30], p[30, 29]) == (0.25, 0.25)
    assert p.sum() == pytest.approx(1)
    assert (p.sum(1)[0], p.sum(1)[30], p.sum(0)[30]) == (0.5, 0.25, 0.75)


def test_density_agrees_with_numpy() -> None:
    phi, psi = np.random.default_rng(0).uniform(-np.pi, np.pi, (2, 5000))
    edges = np.linspace(-np.pi, np.pi, 37)
    theirs = np.histogram2d(phi, psi, (edges, edges))[0] / 5000
    np.testing.assert_allclose(r.density(phi, psi, 36), theirs)


def test_transitions_of_a_jump_process() -> None:
    """Counts against lag follow the powers of the matrix that made the series."""
    rng = np.random.default_rng(1)
    P = np.array([[0.9, 0.08, 0.02], [0.1, 0.85, 0.05], [0.0, 0.2, 0.8]])
    uniform = rng.random(60_000)
    state = np.zeros(60_001, dtype=np.int64)
    ladder = P.cumsum(1)
    for k, u in enumerate(uniform):
        state[k + 1] = min(int((ladder[state[k]] < u).sum()), 2)
    for lag in (1, 3, 10):
        found = r.transitions(state[:-lag], state[lag:], 3)
        assert found.sum() == len(state) - lag
        rows = found / found.sum(1, keepdims=True)
        np.testing.assert_allclose(rows, np.linalg.matrix_power(P, lag), atol=0.02)
    assert r.transitions(np.array([[0], [2]]), np.array([[0, 1], [2, 0]]), 3).tolist() == [
        [1, 1, 0],
        [0, 0, 0],
        [1, 0, 1],
    ]


def test_passage_error() -> None:
    true = np.array([[6, 2], [0, 2]])
    assert r.passage_error(true, true) == 0
    # all of the first basin stay, all of the second leave: ¼ of 8 of 10, and all of 2 of 10
    assert r.passage_error(true, np.array([[8, 0], [2, 0]])) == pytest.approx(0.25 * 0.8 + 0.2)
    assert np.isnan(r.passage_error(np.zeros((2, 2)), np.zeros((2, 2))))


def test_populations() -> None:
    labels = np.array([0, 0, 0, 1] * 50)
    blocks = Blocks.of(np.arange(200.0), 10.0)
    a, b, none = r.populations(labels, blocks, 3)
    assert (a.value, b.value, none.value) == (0.75, 0.25, 0)
    assert a.low <= 0.75 <= a.high <= 1
    assert none.low == 0
    assert none.high == pytest.approx(1 - 0.05 ** (1 / blocks.count))
    often = r.populations((np.arange(200) < 9).astype(int), blocks, 2)[0]
    assert 0.9 < often.value < often.high < 1
    every = r.populations(np.zeros(200, int), blocks, 2)[0]
    assert (every.value, every.high) == (1, 1)
    assert every.low == pytest.approx(0.05 ** (1 / blocks.count))


def test_a_state_and_the_rest_are_known_equally_well() -> None:
    """The interval of 1 − p is that of p, mirrored; of the logarithms it would hold 78 %."""
    generator = np.random.default_rng(0)
    blocks = Blocks(np.repeat(np.arange(5), 40), 5, 0, 1.0)
    held = []
    for _ in range(400):
        share = generator.beta(9.7, 0.3, 5).repeat(40)
        rest, most = r.populations((generator.random(200) < share).astype(int), blocks, 2)
        assert (rest.low, rest.high) == (pytest.approx(1 - most.high), pytest.approx(1 - most.low))
        held.append(most.low <= 0.97 <= most.high)
    assert np.mean(held) > 0.87


def test_basins_of_a_user() -> None:
    found = r.read_basins(["a=-180:0,-120:60", "b=0:180,0:0"])
    assert r.assign(np.radians([-90, 90, -90]), np.radians([0, 77, 90]), found).tolist() == [
        0,
        1,
        2,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a=1:2",
        "a=1:2,3",
        "=1:2,3:4",
        "other=1:2,3:4",
        "a=1:x,2:3",
        "a=0:nan,0:60",
        "a=0:60,inf:3",
    ],
)
def test_refuses_basins_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="expected a new name and two ranges"):
        r.read_basins([text])
    with pytest.raises(InputError, match="expected a new name"):
        r.read_basins(["a=1:2,3:4", "a=1:2,3:4"])
