"""VAMP, TICA and implied timescales against deeptime, a jump process and Ornstein-Uhlenbeck."""

import numpy as np
import pytest
from deeptime.decomposition import TICA, VAMP

from gfnode.errors import InputError
from gfnode.metrics import Blocks
from gfnode.metrics.jackknife import half_widths
from gfnode.metrics.kinetics import (
    Moments,
    implied_timescales,
    lagged,
    scores,
    standardise,
    tica,
    vamp2,
)

RATES = np.array([0.02, 0.1, 0.5])  # 1/step
JUMPS = np.array([[0.95, 0.05, 0.0], [0.03, 0.92, 0.05], [0.0, 0.1, 0.9]])


def blocks_of(count, number=20):
    labels = np.arange(count) * number // count
    return Blocks(labels, number, 0, 1.0)


def wander(count, seed=0, steps=1):
    """Pairs of an Ornstein-Uhlenbeck process in equilibrium, exact: y = e^(−kt) x + noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    keep = np.exp(-RATES * steps)
    return x, keep * x + np.sqrt(1 - keep**2) * rng.normal(size=(count, 3))


def jumps(count, seed=0):
    """Pairs of states of a Markov chain in equilibrium, as indicators of states 1 and 2."""
    rng = np.random.default_rng(seed)
    values, vectors = np.linalg.eig(JUMPS.T)
    share = np.real(vectors[:, values.real.argmax()])
    state = rng.choice(3, count, p=share / share.sum())
    after = (rng.random((count, 1)) > JUMPS[state].cumsum(1)).sum(1)
    return np.eye(3)[state][:, 1:], np.eye(3)[after][:, 1:]


@pytest.mark.parametrize("mixed", [False, True])
def test_of_a_wandering_process(mixed):
    """Score 1 + Σ e^(−2kt) and timescales 1/k, whatever linear features they are seen through."""
    x, y = wander(200_000)
    if mixed:
        mix = np.random.default_rng(1).normal(size=(3, 3)) * [1e-3, 1.0, 1e3]
        x, y = x @ mix + 5.0, y @ mix + 5.0
    moments = Moments.of(x, y, blocks_of(len(x)))
    score = vamp2(moments)
    assert score.value == pytest.approx(1 + np.exp(-2 * RATES).sum(), rel=2e-3)
    assert score.low < 1 + np.exp(-2 * RATES).sum() < score.high
    found = implied_timescales(moments, 2.0)
    for each, exact in zip(found, 2.0 / RATES, strict=True):
        assert each.value == pytest.approx(exact, rel=0.05)
        assert each.low < exact < each.high


def test_of_a_jump_process():
    """The eigenvalues of the transition matrix."""
    x, y = jumps(200_000)
    moments = Moments.of(x, y, blocks_of(len(x)))
    exact = np.sort(np.linalg.eigvals(JUMPS).real)[::-1][1:]
    assert vamp2(moments).value == pytest.approx(1 + np.square(exact).sum(), rel=5e-3)
    found = [each.value for each in implied_timescales(moments, 1.0)]
    np.testing.assert_allclose(found, -1 / np.log(exact), rtol=0.03)


def test_scores_are_those_of_deeptime():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5))
    y = 0.4 * x @ rng.normal(size=(5, 5)) + rng.normal(size=(400, 5))
    moments = Moments.of(x, y, blocks_of(400, 8))
    whole = VAMP(epsilon=1e-10).fit((x, y)).fetch_model()
    assert vamp2(moments).value == pytest.approx(whole.score(2), rel=1e-5)
    assert scores(moments.covariances()) == pytest.approx(whole.score(2), rel=1e-5)
    left = blocks_of(400, 8).labels != 3
    part = VAMP(epsilon=1e-10).fit((x[left], y[left])).fetch_model()
    assert scores(moments.without_each())[3] == pytest.approx(part.score(2), rel=1e-5)


def test_a_prediction_of_the_mean_has_the_timescales_of_the_truth():
    """And its score is the highest there is, since it is a function of the start."""
    x, y = wander(50_000)
    mean = np.exp(-RATES) * x
    found = implied_timescales(Moments.of(x, mean, blocks_of(len(x))), 1.0)
    np.testing.assert_allclose([each.value for each in found], 1 / RATES, rtol=1e-6)
    assert vamp2(Moments.of(x, mean, blocks_of(len(x)))).value == pytest.approx(4.0)
    assert vamp2(Moments.of(x, y, blocks_of(len(x)))).value < 3.5


def test_what_stands_still_never_forgets_and_noise_remembers_nothing():
    x, _ = wander(2000)
    still = implied_timescales(Moments.of(x, x, blocks_of(2000)), 1.0)
    assert still[0].value > 1e6
    noise = Moments.of(x, -x, blocks_of(2000))
    assert [each.value for each in implied_timescales(noise, 1.0)] == [0.0] * 3


def test_what_is_the_same_after_every_start_knows_nothing_of_it():
    x, _ = wander(2000)
    moments = Moments.of(x, np.ones_like(x), blocks_of(2000))
    assert vamp2(moments).value == 1.0
    assert [each.value for each in implied_timescales(moments, 1.0)] == [0.0] * 3


def test_a_constant_feature_counts_nothing():
    x, y = wander(5000)
    one = np.ones((5000, 1))
    with_it = Moments.of(np.hstack([x, one]), np.hstack([y, one]), blocks_of(5000))
    without = Moments.of(x, y, blocks_of(5000))
    assert vamp2(with_it).value == pytest.approx(vamp2(without).value, rel=1e-9)
    for a, b in zip(*(implied_timescales(m, 1.0) for m in (with_it, without)), strict=True):
        assert a.value == pytest.approx(b.value, rel=1e-6)


def test_the_interval_ends_at_the_highest_score():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 2))
    y = x + 0.5 * generator.normal(size=x.shape) * (1 + np.arange(60) // 20)[:, None]
    found = vamp2(Moments.of(x, y, blocks_of(60, 3)))
    assert found.value < found.high <= 3


def test_the_interval_covers():
    exact, hits = 1 + np.exp(-2 * RATES).sum(), []
    for seed in range(100):
        x, y = wander(2000, seed)
        found = vamp2(Moments.of(x, y, blocks_of(2000, 10)))
        hits.append(found.low < exact < found.high)
    assert 0.88 <= np.mean(hits) <= 0.99


def test_blocks_that_share_frames_widen_the_intervals():
    """By the root of the inflation: of the score, and of the eigenvalues e^(−lag/timescale)."""
    moments = Moments.of(*wander(20_000), blocks_of(20_000))
    one, four = (vamp2(moments, inflation) for inflation in (1.0, 4.0))
    assert four.high - four.value == pytest.approx(2 * (one.high - one.value))
    assert four.value - four.low == pytest.approx(2 * (one.value - one.low))
    assert (one.count, one.blocks) == (20_000, 20)
    one, four = (implied_timescales(moments, 2.0, inflation=each)[2] for each in (1.0, 4.0))
    kept = [[np.exp(-2.0 / t) for t in (each.value, each.low)] for each in (one, four)]
    assert kept[1][0] - kept[1][1] == pytest.approx(2 * (kept[0][0] - kept[0][1]))


def test_jackknife_of_a_mean_is_the_t_interval():
    from scipy import stats

    values = np.random.default_rng(0).normal(size=9)
    low, high = half_widths((values.sum() - values)[:, None] / 8)
    exact = stats.t.ppf(0.975, 8) * values.std(ddof=1) / 3
    assert float(high[0]) == pytest.approx(exact) == -float(low[0])
    wider = half_widths((values.sum() - values)[:, None] / 8, 2.25)
    assert float(wider[1][0]) == pytest.approx(1.5 * exact)
    assert np.isnan(half_widths(np.zeros((2, 1)))[0]).all()


def test_tica_of_a_trajectory():
    """An autoregression keeps e^(−k) a step; deeptime on the bare features agrees."""
    rng = np.random.default_rng(0)
    keep = np.exp(-RATES)
    x = np.zeros((40_000, 3))
    noise = rng.normal(size=x.shape) * np.sqrt(1 - keep**2)
    for t in range(1, len(x)):
        x[t] = keep * x[t - 1] + noise[t]
    found = tica(x, 2, 0.5)
    np.testing.assert_allclose(found.timescales, 0.5 / RATES, rtol=0.15)
    bare = TICA(lagtime=1).fit(lagged(x, 2)).fetch_model()
    np.testing.assert_allclose(found.timescales, 0.5 * 2 * bare.timescales(lagtime=1), rtol=1e-3)
    assert found.projection.shape == x.shape
    slow = np.corrcoef(found.projection[:, 0], x[:, 0])[0, 1]
    assert abs(slow) > 0.99


def test_tica_orders_by_timescale():
    """What alternates from frame to frame is strongly correlated, but it is not slow."""
    rng = np.random.default_rng(0)
    x = np.zeros((20_000, 2))
    for t in range(1, len(x)):
        x[t] = np.array([-0.9, 0.5]) * x[t - 1] + rng.normal(size=2)
    found = tica(x, 1, 1.0)
    np.testing.assert_allclose(found.timescales, [-1 / np.log(0.5), 0.0], rtol=0.1)
    assert abs(np.corrcoef(found.projection[:, 0], x[:, 1])[0, 1]) > 0.99
    assert abs(np.corrcoef(tica(x, 1, 1.0, most=1).projection[:, 0], x[:, 1])[0, 1]) > 0.99


def test_bad_pairs():
    x = np.zeros((10, 2))
    with pytest.raises(InputError, match=r"expected \(pair, feature\)"):
        Moments.of(x, x[:5], blocks_of(10, 2))
    with pytest.raises(InputError, match="lag is 10 frames, expected 1 to 9"):
        lagged(x, 10)
    assert standardise(x)[1].tolist() == [1.0, 1.0]


def test_a_single_block_has_estimates_without_intervals():
    """Nothing is left without it: of data that is hardly longer than the horizon."""
    moments = Moments.of(*wander(500), blocks_of(500, 1))
    several = Moments.of(*wander(500), blocks_of(500, 5))
    for one, whole in (
        (vamp2(moments), vamp2(several)),
        *zip(implied_timescales(moments, 1.0), implied_timescales(several, 1.0), strict=True),
    ):
        assert one.value == pytest.approx(whole.value)
        assert np.isnan([one.low, one.high]).all()
        assert one.blocks == 1
