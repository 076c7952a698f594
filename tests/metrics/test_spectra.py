"""Spectra against oscillators, networks and noise whose spectra are known."""

import numpy as np
import pytest
from scipy import stats

from gfnode.errors import InputError
from gfnode.metrics import Blocks
from gfnode.metrics.correlation import autocorrelation, integrated_time, memory_time
from gfnode.metrics.ranks import Frequencies, mean_frequencies, rank_correlation
from gfnode.metrics.spectra import (
    PER_CM,
    difference_gain,
    differences,
    mean_frequency,
    peaks,
    power_spectrum,
    spacing_of,
    state_weights,
    welch,
)
from gfnode.simulate import harmonic_network
from gfnode.units import BOLTZMANN

CENTRES = np.array([4.0, 9.5, 23.0])  # 1/ps


def oscillation(rate=30.0, damping=0.0, steps=4000, spacing=0.002):
    t = np.arange(steps) * spacing
    return np.exp(-damping * t / 2) * np.sin(2 * np.pi * rate * t + 0.3)


def single_blocks(count):
    return Blocks(np.arange(count), count, 0, 1.0)


class TestPower:
    @pytest.mark.parametrize("rate", [3.0, 30.03, 91.77])
    def test_an_oscillator_comes_out_at_its_frequency(self, rate):
        frequency, power = power_spectrum(oscillation(rate)[:, None], 0.002)
        (peak,) = peaks(frequency, power, prominence=0.05)
        assert frequency[1] == pytest.approx(1 / 8)  # a resolution of 1/T
        assert peak.frequency_per_ps == pytest.approx(rate, abs=0.05 * frequency[1])
        assert peak.wavenumber_per_cm == pytest.approx(rate * PER_CM, abs=0.05 * 4.2)
        assert mean_frequency(frequency, power) == pytest.approx(rate, abs=0.2 * frequency[1])

    def test_a_damped_one_too(self):
        """q̈ = −ω²q − γq̇ swings at √(ω² − γ²/4)."""
        frequency, power = power_spectrum(oscillation(30.0, damping=4.0)[:, None], 0.002)
        (peak,) = peaks(frequency, power, prominence=0.05)
        assert peak.frequency_per_ps == pytest.approx(30.0, abs=frequency[1])

    def test_wavenumber_of_a_frequency(self):
        """One wave a centimetre is c = 2.99792458e10 waves a second."""
        assert pytest.approx(1 / 0.0299792458, rel=1e-12) == PER_CM

    def test_two_lines_closer_than_the_resolution_are_one(self):
        apart = power_spectrum((oscillation(30.0) + oscillation(30.5))[:, None], 0.002)
        together = power_spectrum((oscillation(30.0) + oscillation(30.1))[:, None], 0.002)
        assert len(peaks(*apart, prominence=0.05)) == 2
        assert len(peaks(*together, prominence=0.05)) == 1

    def test_parseval(self):
        """The integral is the mean square of the windowed series, over that of the window."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(3, 501, 4)).cumsum(1)
        frequency, power = power_spectrum(x, 0.01)
        hann = np.sin(np.pi * np.arange(501) / 501) ** 2
        square = np.square(hann[:, None] * (x - x.mean(1, keepdims=True))).sum((1, 2))
        np.testing.assert_allclose(
            power.sum(1) * frequency[1], square / np.square(hann).sum(), rtol=1e-10
        )

    def test_white_noise_is_flat(self):
        """Variance σ² spread evenly up to the Nyquist frequency."""
        x = 2.0 * np.random.default_rng(1).normal(size=(2000, 128, 3))
        _, power = power_spectrum(x, 0.01)
        level = power.mean(0)[2:-2]
        np.testing.assert_allclose(level, 3 * 4.0 / 50, rtol=0.12)
        assert level.mean() == pytest.approx(3 * 4.0 / 50, rel=0.01)

    def test_no_frame_is_wasted_and_blocks_tell_how_sure_their_mean_is(self):
        """17 windows in 9 blocks of one segment: the spread of white noise, and what blocks say."""
        noise = np.random.default_rng(7).normal(size=(500, 9 * 64, 1))
        blocks = np.stack([welch(x, 0.01, 64, 9)[1] for x in noise])[..., 2:-2]
        assert blocks.shape[1] == 9
        mean = blocks.mean(1)
        spread = mean.std(0).mean() / mean.mean()
        assert spread == pytest.approx(np.sqrt((1 + 2 / 36 * 16 / 17) / 17), rel=0.04)
        said = np.sqrt(blocks.var(1, ddof=1).mean(0) / 9).mean() / mean.mean()
        assert said == pytest.approx(spread, rel=0.08)

    def test_what_is_large_is_taken_in_pieces(self, monkeypatch):
        x = np.random.default_rng(2).normal(size=(5, 64, 6))
        whole = power_spectrum(x, 0.1)[1], welch(x[0], 0.1, 16, 3)[1], autocorrelation(x)
        monkeypatch.setattr("gfnode.metrics.spectra.CHUNK", 100)
        monkeypatch.setattr("gfnode.metrics.correlation.CHUNK", 100)
        pieces = power_spectrum(x, 0.1)[1], welch(x[0], 0.1, 16, 3)[1], autocorrelation(x)
        for a, b in zip(whole, pieces, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)

    def test_neither_the_choice_of_eigenvectors_nor_the_orientation_counts(self):
        rng = np.random.default_rng(3)
        x = rng.normal(size=(4, 64, 2, 3)).cumsum(1)
        modes, turn = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (2, 3))
        y = np.einsum("km,wtmc,dc->wtkd", modes, x, turn)
        a, b = (power_spectrum(v.reshape(4, 64, 6), 0.01)[1] for v in (x, y))
        np.testing.assert_allclose(a, b, rtol=1e-9)

    def test_refuses_what_is_uneven_or_short(self):
        assert spacing_of([0.0, 2.0, 4.0, 6.0]) == 2.0
        with pytest.raises(InputError, match=r"evenly spaced.* 1 fs to 3 fs apart.*rMD17"):
            spacing_of([0.0, 1.0, 2.0, 5.0])
        with pytest.raises(InputError, match="at least 4 frames, got 2"):
            spacing_of([0.0, 1.0])
        with pytest.raises(InputError, match="four times"):
            power_spectrum(np.zeros((3, 1)), 0.1)
        with pytest.raises(InputError, match="segment has 40 times, expected 4 to 30"):
            welch(np.zeros((30, 1)), 0.1, 40, 2)


class TestDensityOfStates:
    @pytest.mark.parametrize("stored", [True, False])
    def test_a_network_peaks_at_its_frequencies(self, stored):
        """From stored velocities and from differences of positions alike."""
        network = harmonic_network(temperature=300.0)
        spacing = 2.0
        x, v = network.state(np.arange(16_000) * spacing)
        if not stored:
            v = differences(x, spacing)
        weights = state_weights(network.masses)
        flat = np.sqrt(weights) * v.reshape(len(v), -1)
        frequency, blocks = welch(flat, 1e-3 * spacing, 4000, 2)
        power = blocks.mean(0) * (1 if stored else difference_gain(frequency, 1e-3 * spacing))
        exact = np.unique(np.round(network.frequencies / (2e-3 * np.pi), 9))[1:]
        found = [each.frequency_per_ps for each in peaks(frequency, power)]
        np.testing.assert_allclose(found, exact, atol=0.25 * frequency[1])
        # each line holds the kinetic energy of its modes, k_B Σ q̇² / 2 on average
        heat = power.sum() * frequency[1] * 3 * 6 * BOLTZMANN
        exact_heat = network.rates**2 + network.frequencies[:, None] ** 2 * network.amplitudes**2
        assert heat == pytest.approx(exact_heat.sum() / 2, rel=0.02)

    def test_gain_undoes_a_difference(self):
        x = oscillation(60.0)[:, None, None]
        frequency, power = power_spectrum(differences(x, 2.0)[:, 0], 0.002)
        exact = power_spectrum(
            (0.06 * 2 * np.pi * np.cos(2 * np.pi * 60.0 * np.arange(3999) * 0.002))[:, None], 0.002
        )[1]
        ratio = (power * difference_gain(frequency, 0.002))[480] / exact[480]
        assert ratio == pytest.approx(1, rel=1e-3)
        assert power[480] / exact[480] < 0.96


def autoregression(seed):
    """x_t = φ x_(t−1) + noise with φ = 0.9, settled, ``(200, 1800, 1)``."""
    x = np.zeros((200, 2000, 1))
    noise = np.random.default_rng(seed).normal(size=x.shape)
    for t in range(1, 2000):
        x[:, t] = 0.9 * x[:, t - 1] + noise[:, t]
    return x[:, 200:]


class TestAutocorrelation:
    def test_of_a_wave_is_a_cosine(self):
        c = autocorrelation(oscillation(25.0, steps=20_000)[:, None], 100)
        np.testing.assert_allclose(c, np.cos(2 * np.pi * 25.0 * 0.002 * np.arange(101)), atol=0.01)

    def test_against_sums(self):
        rng = np.random.default_rng(0)
        x, w = rng.normal(size=(3, 40, 2)), np.array([1.0, 5.0])
        away = x - x.mean((0, 1))
        sums = [(w * away[:, : 40 - k] * away[:, k:]).sum(2).mean() for k in range(11)]
        found = autocorrelation(x, 10, weights=w)
        np.testing.assert_allclose(found, np.array(sums) / sums[0], rtol=1e-10)

    def test_time_of_an_autoregression(self):
        """φ^k sums to ½ (1 + φ)/(1 − φ)."""
        x = autoregression(1)
        time, reached = integrated_time(autocorrelation(x, 400), 2.0)
        assert reached
        assert time == pytest.approx(2.0 * 0.5 * 1.9 / 0.1, rel=0.04)
        assert integrated_time(autocorrelation(x, 20), 2.0)[1] is False

    def test_time_of_its_square(self):
        """φ^2k sums to ½ (1 + φ²)/(1 − φ²), and twice that sum is the memory."""
        x = autoregression(2)
        time, reached = memory_time(x, 0.5)
        assert reached
        assert time == pytest.approx(0.5 * 1.81 / 0.19, rel=0.04)

    def test_what_lags_do_not_reach_is_a_lower_bound(self):
        """Nothing is forgotten in ten steps: half a step, and ten of them."""
        assert integrated_time(np.ones(11), 4.0) == (42.0, False)

    def test_of_what_does_not_move(self):
        c = autocorrelation(np.ones((10, 2)))
        assert np.isnan(c).all()
        assert np.isnan(integrated_time(c, 1.0)[0])


def lines(count, rng, spread=0.3):
    """Power of eigenspaces about known frequencies that vary between windows."""
    f = np.arange(0, 50, 0.25)
    centre = CENTRES[None, :, None] + spread * rng.normal(size=(count, 3, 1))
    return f, np.exp(-0.5 * ((f - centre) / 0.8) ** 2)


class TestRanks:
    def test_means_with_intervals_that_cover(self):
        hits, rng = [], np.random.default_rng(0)
        for _ in range(300):
            f, power = lines(6, rng)
            found = mean_frequencies(f, power, single_blocks(6))
            hits.append((found.low < CENTRES) & (found.high > CENTRES))
        assert 0.91 < np.mean(hits) < 0.98

    def test_blocks_that_share_frames_widen_the_intervals(self):
        """Five pairs of neighbours of correlation 1/4 in six blocks: (1 + 5/12)/(1 − 1/12)."""
        f, power = lines(6, np.random.default_rng(6))
        apart, beside = (
            mean_frequencies(f, power, Blocks(np.arange(6), 6, pairs, 1.0)) for pairs in (0, 5)
        )
        for end, each in ((apart.high, beside.high), (apart.low, beside.low)):
            ratio = np.log(each / beside.value) / np.log(end / apart.value)
            np.testing.assert_allclose(ratio, np.sqrt(17 / 11))

    @pytest.mark.parametrize(("order", "value"), [([0, 1, 2], 1.0), ([2, 1, 0], -1.0)])
    def test_order(self, order, value):
        f, power = lines(8, np.random.default_rng(1))
        found = rank_correlation(
            np.arange(3.0), mean_frequencies(f, power[:, order], single_blocks(8))
        )
        assert (found.value, found.low, found.high) == (value, value, value)
        assert found.spaces == 3
        assert found.chance == pytest.approx(1 / 6 if value > 0 else 1.0)

    def test_value_and_chance_against_scipy(self):
        rng = np.random.default_rng(2)
        values = rng.normal(size=6)
        known = Frequencies(values, values, values, np.zeros((4, 6)), 1.0)
        found = rank_correlation(np.arange(6.0), known)
        spearman = stats.spearmanr(np.arange(6.0), values).statistic
        assert found.value == pytest.approx(spearman)
        exact = stats.permutation_test(
            (values,),
            lambda x: stats.spearmanr(np.arange(6.0), x).statistic,
            permutation_type="pairings",
            n_resamples=np.inf,
            alternative="greater",
        )
        assert found.chance == pytest.approx(exact.pvalue)

    def test_chance_of_many_spaces_against_the_table(self):
        """Nine ranks with ρ = 0.6 (Σd² = 48): a one-sided p of 0.048, by random permutations."""
        values = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 8.0, 7.0, 6.0, 9.0])
        known = Frequencies(values, values, values, np.zeros((4, 9)), 1.0)
        found = rank_correlation(np.arange(9.0), known)
        assert found.value == pytest.approx(0.6)
        assert found.chance == pytest.approx(0.048, abs=0.008)

    def test_the_interval_covers(self):
        """True frequencies are known; windows scatter them across one another."""
        rng, hits = np.random.default_rng(3), []
        true = np.array([5.0, 5.6, 5.3, 7.0, 6.4])
        exact = stats.spearmanr(np.arange(5), true).statistic
        f = np.arange(0, 20, 0.25)
        for _ in range(60):
            centre = true[None, :, None] + 0.6 * rng.normal(size=(10, 5, 1))
            power = np.exp(-0.5 * ((f - centre) / 0.8) ** 2)
            found = rank_correlation(np.arange(5.0), mean_frequencies(f, power, single_blocks(10)))
            hits.append(found.low - 1e-9 <= exact <= found.high + 1e-9)
        assert np.mean(hits) >= 0.9

    def test_many_noisy_frequencies_are_not_called_less_ordered_than_they_are(self):
        """Noise shuffles ranks: what is found, and what is drawn about it, is too weak."""
        rng, hits = np.random.default_rng(5), []
        for _ in range(40):
            true = np.sort(rng.normal(20, 2, 30))  # in the order of the eigenvalues: exactly 1
            table = true + 4.0 * rng.normal(size=(10, 30))
            mean = table.mean(0)
            known = Frequencies(mean, mean, mean, (table - mean) / 10, 1.0)
            found = rank_correlation(np.arange(30.0), known)
            assert found.low < found.value < 0.95
            hits.append(found.high > 0.97)
        assert np.mean(hits) >= 0.85

    @pytest.mark.parametrize(("swapped", "ends"), [(False, (0.5, 1.0)), (True, (0.0, 1.0))])
    @pytest.mark.parametrize("blocks", [3, 8])
    def test_two_modes_may_swap_if_they_are_closer_than_the_interval_of_student(
        self, blocks, swapped, ends
    ):
        """ρ is 1 or 1/2; where both occur among the draws, their reflections count too."""
        contributions = np.linspace(-1, 1, blocks) * 0.01
        error = np.sqrt(2.0 * blocks / (blocks - 1) * np.square(contributions).sum())
        reach = stats.t.ppf(0.975, blocks - 1) * error
        for distance in (0.85 * reach, 1.15 * reach):
            values = np.array([1.0, 2.0 + distance, 2.0] if swapped else [1.0, 2.0, 2.0 + distance])
            deviations = np.stack([0 * contributions, 0 * contributions, contributions], 1)
            found = rank_correlation(
                np.arange(3.0), Frequencies(values, values, values, deviations, 2.0)
            )
            same = (found.value, found.value)
            assert (found.low, found.high) == (ends if distance < reach else same)

    def test_one_block_gives_no_interval_and_two_spaces_no_correlation(self):
        f, power = lines(4, np.random.default_rng(4))
        one = rank_correlation(
            np.arange(3.0), mean_frequencies(f, power, Blocks(np.zeros(4, int), 1, 0, 1.0))
        )
        assert one.value == 1.0
        assert np.isnan([one.low, one.high]).all()
        still = mean_frequencies(f, power * np.array([1, 1, 0])[:, None], single_blocks(4))
        assert np.isnan(rank_correlation(np.arange(3.0), still).value)
