"""Distances between distributions on known answers; the coverage of their error bars."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from gfnode.errors import InputError
from gfnode.metrics import Blocks
from gfnode.metrics import distributions as d
from gfnode.metrics.jackknife import jackknife, leave_one_out
from gfnode.metrics.ramachandran import COARSE, torus_bins

PI = np.pi


def degrees(*values: float) -> np.ndarray:
    return np.radians(np.array(values, dtype=float))


class TestCircle:
    def test_beside_the_seam(self) -> None:
        assert np.degrees(d.circular_difference(*degrees(179, -179))) == pytest.approx(-2)
        assert np.degrees(d.circular_difference(*degrees(-179, 179))) == pytest.approx(2)
        assert abs(np.degrees(d.circular_mean(degrees(170, -170)))) == pytest.approx(180)
        assert np.degrees(d.circular_mean(degrees(170, -160))) == pytest.approx(-175)

    def test_wrap(self) -> None:
        found = d.wrap([PI, -PI, 3 * PI, 2 * PI, 0.5 - 8 * PI, np.nan])
        np.testing.assert_allclose(found, [-PI, -PI, -PI, 0, 0.5, np.nan], atol=1e-12)
        tiny = d.wrap(np.nextafter(-PI, -4))
        assert -PI <= tiny < PI

    def test_agrees_with_scipy(self) -> None:
        angles = np.random.default_rng(0).vonmises(3.0, 2.0, (500, 4))
        mean = stats.circmean(angles, high=PI, low=-PI, axis=0)
        np.testing.assert_allclose(d.circular_mean(angles), mean)


values = st.floats(-50, 50, width=32)


class TestWasserstein:
    @settings(max_examples=80, deadline=None)
    @given(
        arrays(float, st.integers(1, 12), elements=values),
        arrays(float, st.integers(1, 12), elements=values),
    )
    def test_agrees_with_scipy(self, a: np.ndarray, b: np.ndarray) -> None:
        assert d.wasserstein(a, b) == pytest.approx(stats.wasserstein_distance(a, b), abs=1e-9)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 7), st.randoms(use_true_random=False))
    def test_circle_agrees_with_the_best_assignment(self, n: int, random) -> None:
        """Of equally many samples: the cheapest way to pair them, over all permutations."""
        from scipy.optimize import linear_sum_assignment

        rng = np.random.default_rng(random.randrange(10**6))
        a, b = rng.uniform(-PI, PI, (2, n))
        cost = np.abs(d.circular_difference(a[:, None], b))
        rows, columns = linear_sum_assignment(cost)
        expected = cost[rows, columns].mean()
        assert d.wasserstein(a, b, circular=True) == pytest.approx(expected, abs=1e-9)

    def test_on_the_circle(self) -> None:
        def apart(a: np.ndarray, b: np.ndarray) -> float:
            return float(np.degrees(d.wasserstein(a, b, circular=True)))

        assert apart(degrees(175), degrees(-175)) == pytest.approx(10)
        assert apart(degrees(0), degrees(180)) == pytest.approx(180)
        even = 2 * PI * (np.arange(3600) + 0.5) / 3600
        assert apart(even, degrees(77)) == pytest.approx(90)  # mean distance to a point
        assert apart(even, even + 1.0) == pytest.approx(0, abs=0.2)
        cluster = np.random.default_rng(1).normal(PI, 0.3, 400)
        assert apart(cluster, cluster - 0.2) == pytest.approx(np.degrees(0.2))
        assert apart(cluster, cluster[:200]) < 5

    def test_columns_and_sizes(self) -> None:
        rng = np.random.default_rng(2)
        a, b = rng.normal(size=(30, 2, 3)), rng.normal(size=(17, 2, 3))
        for circular in (False, True):
            found = d.wasserstein(a, b, circular=circular)
            alone = [
                d.wasserstein(a[:, i, j], b[:, i, j], circular=circular)
                for i in range(2)
                for j in range(3)
            ]
            np.testing.assert_allclose(found.ravel(), alone)

    def test_what_is_not_finite_is_infinitely_far(self) -> None:
        a = np.zeros((4, 2))
        b = np.array([[0, 0], [0, np.nan], [1, 0], [1, 0]], dtype=float)
        for circular in (False, True):
            np.testing.assert_allclose(d.wasserstein(a, b, circular=circular), [0.5, np.inf])

    def test_refuses_other_columns(self) -> None:
        with pytest.raises(InputError, match="same columns"):
            d.wasserstein(np.zeros((3, 2)), np.zeros((3, 4)))
        with pytest.raises(InputError, match="at least one sample"):
            d.wasserstein(np.zeros(0), np.zeros(3))

    @pytest.mark.parametrize("circular", [False, True])
    def test_of_bins(self, circular: bool) -> None:
        """Fine bins give what the samples give."""
        rng = np.random.default_rng(3)
        a, b = rng.normal(2.9, 0.5, 4000), rng.normal(-2.8, 0.7, 4000)
        a, b = (d.wrap(x) if circular else np.clip(x, -PI, PI) for x in (a, b))
        p, q = (d.normalised(np.bincount(d.bin_of(x, -PI, PI, 720), minlength=720)) for x in (a, b))
        found = d.wasserstein_of_bins(p, q, 2 * PI / 720, circular=circular)
        exact = float(d.wasserstein(a, b, circular=circular))
        assert found == pytest.approx(exact, abs=0.01)


def gaussian(mean: float, edges: np.ndarray) -> np.ndarray:
    return np.diff(stats.norm.cdf(edges, mean))


class TestDivergences:
    edges = np.linspace(-10, 12, 4001)

    def test_equal_and_disjoint(self) -> None:
        p, q = np.array([0.2, 0.8, 0, 0]), np.array([0, 0, 0.5, 0.5])
        assert d.jensen_shannon(p, p) == 0
        assert d.jensen_shannon(p, q) == pytest.approx(1)
        assert d.kullback_leibler(p, p) == 0
        assert d.kullback_leibler(p, q) == np.inf
        assert d.kullback_leibler(p, [0.4, 0.4, 0.1, 0.1]) == pytest.approx(-0.2 + 0.8)

    def test_entropy(self) -> None:
        assert d.entropy(np.full(8, 1 / 8)) == pytest.approx(3)
        assert d.entropy([1.0, 0.0]) == 0

    @pytest.mark.parametrize("shift", [0.3, 1.0, 2.5])
    def test_shifted_gaussians(self, shift: float) -> None:
        width = self.edges[1] - self.edges[0]
        p, q = (stats.norm.pdf(self.edges, mean) * width for mean in (0, shift))
        assert d.kullback_leibler(p, q) == pytest.approx(shift**2 / 2 / np.log(2), rel=1e-4)

        def integrand(x: float) -> float:
            a, b = stats.norm.pdf(x), stats.norm.pdf(x, shift)
            m = (a + b) / 2
            return float((a * np.log2(a / m) + b * np.log2(b / m)) / 2)

        exact = integrate.quad(integrand, -9, 11)[0]
        assert d.jensen_shannon(p, q) == pytest.approx(exact, rel=1e-4)

    def test_agrees_with_scipy(self) -> None:
        from scipy.spatial.distance import jensenshannon

        p, q = np.random.default_rng(4).dirichlet(np.ones(20), (2, 5))
        theirs = jensenshannon(p, q, base=2, axis=1) ** 2
        np.testing.assert_allclose(d.jensen_shannon(p, q), theirs)
        np.testing.assert_allclose(d.kullback_leibler(p, q), stats.entropy(p, q, base=2, axis=1))

    def test_smoothing_keeps_it_finite(self) -> None:
        p, q = d.smoothed([3, 0]), d.smoothed([0, 3])
        np.testing.assert_allclose(p, [3.5 / 4, 0.5 / 4])
        assert d.kullback_leibler(p, q) == pytest.approx(0.75 * np.log2(7))


class TestCounting:
    def test_outermost_bins_are_open(self) -> None:
        found = d.bin_of([-9, 0, 0.49, 0.5, 1, 9, np.inf, -np.inf, np.nan], 0, 1, 2)
        assert found.tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 1]

    def test_by_block(self) -> None:
        rng = np.random.default_rng(5)
        bins, labels = rng.integers(0, 4, (50, 3)), rng.integers(0, 6, 50)
        found = d.counts_by_block(bins, labels, 6, 4)
        for block, column, each in np.ndindex(found.shape):
            assert found[block, column, each] == (bins[labels == block, column] == each).sum()


def series(rng: np.random.Generator, n: int, memory: float) -> np.ndarray:
    """Normal numbers with correlation exp(−k/memory)."""
    rho = np.exp(-1 / memory)
    from scipy.signal import lfilter

    noise = rng.normal(size=n) * np.sqrt(1 - rho**2)
    noise[0] = rng.normal()
    return lfilter([1.0], [1.0, -rho], noise)


class TestErrorBars:
    """The true distance between the processes is known; the interval should hold it."""

    bins, low, high, shift = 30, -4.0, 5.0, 0.7

    def estimates(self, statistic, shift: float, count: int = 150) -> np.ndarray:
        """Rows (value, low, high, plug-in) over simulated series of 4000, in 20 blocks."""
        rng = np.random.default_rng(6)
        rows = []
        for _ in range(count):
            a, b = series(rng, 4000, 8.0), series(rng, 4000, 8.0) + shift
            blocks = Blocks.of(np.arange(4000.0), 1.0, most=20)
            p, q = (
                d.counts_by_block(
                    d.bin_of(x, self.low, self.high, self.bins)[:, None],
                    blocks.labels,
                    blocks.count,
                    self.bins,
                )[:, 0]
                for x in (a, b)
            )
            found = jackknife(leave_one_out(statistic, p, q), inflation=1.0, unbiased=True)
            rows.append((found.value, found.low, found.high, found.plug_in))
        return np.array(rows)

    def truth(self, shift: float) -> tuple[np.ndarray, np.ndarray]:
        edges = np.linspace(self.low, self.high, self.bins + 1)
        edges[[0, -1]] = -np.inf, np.inf
        return gaussian(0, edges), gaussian(shift, edges)

    def test_of_jensen_shannon(self) -> None:
        def statistic(p, q):
            return d.jensen_shannon(d.normalised(p), d.normalised(q))

        exact = float(d.jensen_shannon(*self.truth(self.shift)))
        found = self.estimates(statistic, self.shift)
        inside = (found[:, 1] <= exact) & (exact <= found[:, 2])
        assert 0.88 < inside.mean() <= 1
        assert (found[:, 2] - found[:, 1]).mean() < 1.2 * exact  # and is of use
        # what the counts give is too large; what is left after the correction is small
        bias, left = found[:, 3].mean() - exact, found[:, 0].mean() - exact
        assert bias > 0.05 * exact
        assert abs(left) < bias / 3

    def test_of_equal_distributions(self) -> None:
        def statistic(p, q):
            return d.jensen_shannon(d.normalised(p), d.normalised(q))

        found = self.estimates(statistic, 0.0)
        assert found[:, 0].mean() < found[:, 3].mean() / 2
        assert (found[:, 1] < 0.001).mean() > 0.9

    def test_of_kullback_leibler(self) -> None:
        exact = float(d.kullback_leibler(*self.truth(self.shift)))
        found = self.estimates(
            lambda p, q: d.kullback_leibler(d.smoothed(p), d.smoothed(q)), self.shift
        )
        inside = (found[:, 1] <= exact) & (exact <= found[:, 2])
        assert 0.88 < inside.mean() <= 1

    @pytest.mark.parametrize(
        ("memory", "left", "most_held"), [(1, 0.17, 0.7), (8, 0.27, 0.4), (80, 0.57, 0.2)]
    )
    def test_a_joint_density_needs_many_samples(
        self, memory: int, left: float, most_held: float
    ) -> None:
        """On 36 × 36 bins too much of the bias is left for an honest interval, as the docs say."""
        rng = np.random.default_rng(7)
        blocks = Blocks.of(np.arange(16_000.0), 1.0, most=20)

        def counts() -> np.ndarray:  # three basins, of 40, 55 and 5 %; forgotten at random times
            drawn = rng.random(16_000) < 1 / memory
            place = np.maximum(np.cumsum(drawn) - 1, 0)
            basin = rng.choice(3, 16_000, p=(0.4, 0.55, 0.05))
            phi = rng.vonmises(np.array([-1.4, -1.6, 1.0])[basin], np.array([8, 6, 15])[basin])
            psi = rng.vonmises(np.array([-0.5, 2.5, 0.7])[basin], np.array([8, 8, 15])[basin])
            bins = torus_bins(phi, psi, COARSE)[place]
            return d.counts_by_block(bins[:, None], blocks.labels, 20, COARSE**2)[:, 0]

        found = [
            jackknife(leave_one_out(d.jensen_shannon_of_counts, counts(), counts()), unbiased=True)
            for _ in range(20)
        ]
        value, plug_in = np.mean([(each.value, each.plug_in) for each in found], 0)
        assert value / plug_in == pytest.approx(left, abs=0.06)
        assert np.mean([each.low == 0 for each in found]) < most_held

    def test_of_a_mean_it_is_the_t_interval(self) -> None:
        x = np.random.default_rng(7).normal(5, 1, 12)
        values = np.r_[x.mean(), (x.sum() - x) / 11]
        found = jackknife(values)
        low, high = stats.t.interval(0.95, 11, x.mean(), stats.sem(x))
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
        wider = jackknife(values, inflation=2.25)
        assert wider.high - x.mean() == pytest.approx(1.5 * (high - x.mean()))
        two = jackknife(np.array([20.0, 21.0, 19.0]))  # of 19 and 21, whose mean is off by one
        assert two.high == pytest.approx(20.0 + stats.t.ppf(0.975, 1))

    def test_bias_of_the_variance(self) -> None:
        """The jackknife turns the variance by n into that by n − 1, exactly."""
        x = np.random.default_rng(8).normal(0, 1, 9)
        values = np.array([x.var(), *(np.delete(x, k).var() for k in range(9))])
        found = jackknife(values, unbiased=True)
        assert found.value == pytest.approx(x.var(ddof=1))
        assert found.plug_in == pytest.approx(x.var())

    def test_two_groups(self) -> None:
        """A difference of two means: the variances of both add up."""
        x = np.random.default_rng(9).normal([[8.0], [3.0]], 1, (2, 6))
        a, b = x
        left = [(a.sum() - each) / 5 - b.mean() for each in a]
        left += [a.mean() - (b.sum() - each) / 5 for each in b]
        found = jackknife(np.r_[a.mean() - b.mean(), left], np.repeat([0, 1], 6))
        width = stats.t.ppf(0.975, 10) * np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 6)
        assert found.high - found.value == pytest.approx(width)

    def test_one_block_gives_no_interval(self) -> None:
        found = jackknife(np.array([0.3, np.nan]))
        assert (found.value, found.blocks) == (0.3, 0)
        assert np.isnan(found.low)
