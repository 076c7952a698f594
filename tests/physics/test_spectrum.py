"""`gfnode spectrum`: systems with exact spectra, real molecules, and the command."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

import gfnode
from commands import call
from gfnode.errors import InputError
from gfnode.files import to_json
from gfnode.metrics.spectra import PER_CM
from gfnode.physics.modes import on_reference
from gfnode.physics.spectrum import spectrum
from gfnode.report.spectra import spectrum_headline, spectrum_words
from gfnode.simulate import harmonic_network
from gfnode.trajectory.temperature import kinetic_temperature
from making import rotation


@pytest.fixture(scope="module")
def network():
    """A ring of equal masses: its modes are those of the graph, ω² = K λ / m."""
    return harmonic_network(stiffness=0.02, temperature=30.0)


@pytest.fixture(scope="module")
def ring(network):
    return network.trajectory(16_000, 2.0)


class TestNetwork:
    def test_low_modes_are_slow_and_at_their_frequencies(self, network, ring):
        """With one hop the graph is that of the springs: 0, 1, 3, 4 (λ), frequencies ∝ √λ."""
        found = spectrum(ring, resolution_cm=5.0, superposed=False, hops=1)
        assert [each.modes for each in found.spaces] == [1, 2, 2, 1]
        np.testing.assert_allclose([s.eigenvalue for s in found.spaces], [0, 1, 3, 4], atol=1e-6)
        for space in found.spaces[1:]:
            exact = np.sqrt(0.02 * space.eigenvalue / 12.011) / (2e-3 * np.pi)
            assert space.frequency_per_ps == pytest.approx(exact, abs=0.2 * found.resolution_per_ps)
            assert space.wavenumber_per_cm == pytest.approx(PER_CM * space.frequency_per_ps)
            assert space.low_per_ps <= exact <= space.high_per_ps or space.high_per_ps == (
                pytest.approx(exact, abs=0.1 * found.resolution_per_ps)
            )
        assert (found.ranks.value, found.ranks.low, found.ranks.spaces) == (1.0, 1.0, 3)
        lines = np.unique(np.round(network.frequencies[1:], 9)) / (2e-3 * np.pi)
        np.testing.assert_allclose([p.frequency_per_ps for p in found.peaks], lines, atol=0.04)
        assert found.density.sum() * found.frequency[1] == pytest.approx(1)
        assert found.temperature == pytest.approx(ring.temperature(), rel=1e-6)
        assert found.correlation[0] == 1.0

    def test_amplitudes_are_those_of_the_oscillators(self, network, ring):
        """Each swings by A² + (Ȧ/ω)², half of it on average, over its mass."""
        found = spectrum(ring, superposed=False, hops=1)
        swing = network.amplitudes[1:] ** 2
        swing += (network.rates[1:] / network.frequencies[1:, None]) ** 2
        exact = np.split(swing.sum(1) / 2 / 12.011, [2, 4])  # by eigenvalue
        for squares in (
            [each.amplitude**2 for each in found.spaces[1:]],
            found.powers[1:].sum(1) * found.frequency[1],
        ):
            np.testing.assert_allclose(squares, [x.sum() for x in exact], rtol=0.02)

    def test_the_memory_of_noise_that_is_forgotten(self, ring):
        """φ^2k sums to ½ (1 + φ²)/(1 − φ²); twice that, every 4 fs."""
        rng = np.random.default_rng(0)
        x = 0.05 * rng.normal(size=ring.positions.shape)
        for t in range(1, len(x)):
            x[t] += 0.9 * x[t - 1]
        noisy = replace(
            ring, positions=ring.positions[0] + x, velocities=None, times=2 * ring.times
        )
        found = spectrum(replace(noisy, time_step=None), superposed=False, hops=1)
        assert found.ranks.spaces == 3  # its centre moves too, and is no vibration
        for space in found.spaces:
            assert space.low_per_ps < space.frequency_per_ps < space.high_per_ps
            assert space.memory_reached
            assert space.memory_ps == pytest.approx(0.004 * 1.81 / 0.19, rel=0.1)

    def test_velocities_may_be_missing(self, ring):
        stored = spectrum(ring, hops=1, superposed=False)
        found = spectrum(replace(ring, velocities=None), hops=1, superposed=False)
        assert (stored.velocities, found.velocities) == ("stored", "differences")
        np.testing.assert_allclose(found.density, stored.density, atol=0.02 * stored.density.max())
        assert found.temperature == pytest.approx(stored.temperature, rel=0.01)

    def test_drift_is_at_the_lowest_frequencies(self, ring):
        """And in the temperature, from differences as from stored velocities."""
        v = np.array([3e-3, 0.0, 0.0], dtype=np.float32)  # Å/fs
        drift = (v * (ring.times - ring.times[0])[:, None, None]).astype(np.float32)
        bare = replace(ring, positions=ring.positions + drift, velocities=None)
        still, found = (spectrum(x, hops=1) for x in (replace(ring, velocities=None), bare))
        heat = kinetic_temperature(np.tile(v, (ring.n_atoms, 1)), ring.masses)
        assert found.temperature - still.temperature == pytest.approx(heat, rel=0.05)
        gained = found.density * found.temperature - still.density * still.temperature
        assert gained[:2].sum() / gained.sum() == pytest.approx(1, abs=0.05)

    def test_differences_of_a_short_replica(self, ring):
        """They are one fewer than its frames, and lags of their correlation one fewer again."""
        bare = replace(ring, velocities=None)
        for lengths in ((4000, 100), (5,), (6, 9)):
            found = spectrum([bare[:length] for length in lengths], hops=1)
            assert found.correlation[0] == 1.0
            assert len(found.correlation) == min(lengths) - 1
            assert np.isfinite(found.correlation).all()

    def test_replicas_are_blocks_of_their_own(self, ring):
        halves = [ring[:8000], ring[8000:]]
        found, whole = (spectrum(x, hops=1, superposed=False) for x in (halves, ring))
        assert found.frames == 16_000
        for a, b in zip(found.spaces[1:], whole.spaces[1:], strict=True):
            assert a.frequency_per_ps == pytest.approx(b.frequency_per_ps, abs=0.05)

    def test_a_replica_counts_by_its_frames_and_its_motion(self, ring):
        """One of noise and almost at rest takes its share of heat away, and leaves the memory."""
        noise = np.random.default_rng(0).normal(size=(2000, 6, 3))
        still = replace(ring[:2000], velocities=1e-6 * noise)
        found, alone = spectrum([ring[:6000], still]), spectrum(ring[:6000])
        assert found.temperature == pytest.approx(0.75 * ring[:6000].temperature(), rel=1e-4)
        lags = len(alone.correlation)
        np.testing.assert_allclose(found.correlation[:lags], alone.correlation, atol=1e-3)

    def test_blocks_are_shared_among_replicas(self, ring):
        found = spectrum([ring[:12_000], ring[12_000:]], resolution_cm=65.0, hops=1)
        assert found.blocks == 22 + 7  # of 30, by their frames
        assert found.to_dict()["resolution_per_cm"] == pytest.approx(65, rel=0.01)

    def test_atoms_are_taken_in_pieces(self, monkeypatch):
        toluene = gfnode.load("sample:toluene")[:600]
        whole = spectrum(toluene)
        monkeypatch.setattr("gfnode.physics.spectrum.ATOMS_AT_ONCE", 4)
        found = spectrum(toluene)
        np.testing.assert_allclose(found.density, whole.density, rtol=1e-9)
        np.testing.assert_allclose(found.correlation, whole.correlation, atol=1e-12)


def test_frames_too_far_apart_name_no_peaks(ring):
    found = spectrum(replace(ring, velocities=None, times=ring.times * 500, time_step=None), hops=1)
    assert found.folded
    assert found.peaks == ()
    assert np.isnan(found.temperature)
    said = " ".join(spectrum_words(json.loads(to_json(found.to_dict()))))
    assert "Frames 1 ps apart do not resolve vibrations: motion faster than 16.7 cm⁻¹" in said


@pytest.mark.parametrize(
    ("stored", "every", "said"),
    [
        (True, 2, "K over 3N degrees of freedom"),
        (False, 1, "K over 3N degrees of freedom"),
        (
            False,
            2,
            "K over 3N degrees of freedom (from frames 4 fs apart, which partly miss fast "
            "vibrations)",
        ),
    ],
)
def test_a_temperature_of_frames_far_apart_says_so(ring, stored, every, said):
    frames = ring[: 400 * every : every]
    found = spectrum(frames if stored else replace(frames, velocities=None), hops=1)
    assert spectrum_headline(json.loads(to_json(found.to_dict()))).endswith(said)


def test_tumbling_is_gone_after_superposing(ring):
    """Frames turned and shifted at random have the spectra of the shape alone."""
    rng = np.random.default_rng(0)
    still = spectrum(ring[::4], hops=1)
    x = ring.positions[::4].astype(float)
    angle = np.cumsum(rng.normal(size=len(x))) * 0.02
    c, s, o, one = np.cos(angle), np.sin(angle), 0 * angle, 1 + 0 * angle
    turn = np.stack([c, -s, o, s, c, o, o, o, one], -1).reshape(-1, 3, 3)
    tumbling = replace(
        ring[::4],
        positions=(x @ np.swapaxes(turn, 1, 2) + np.linspace(0, 5, len(x))[:, None, None]),
        velocities=None,
    )
    found, as_is = spectrum(tumbling, hops=1), spectrum(tumbling, hops=1, superposed=False)
    for a, b, c in zip(found.spaces[1:], still.spaces[1:], as_is.spaces[1:], strict=True):
        assert a.frequency_per_ps == pytest.approx(b.frequency_per_ps, rel=1e-3)
        assert a.amplitude == pytest.approx(b.amplitude, rel=1e-3)
        if b.eigenvalue < 2:  # the molecule's extent lies in the lowest modes
            assert c.frequency_per_ps < 0.5 * b.frequency_per_ps
    assert np.isnan(found.spaces[0].frequency_per_ps)


def test_superposed_frames_do_not_turn():
    rng = np.random.default_rng(1)
    reference, masses = rng.normal(size=(5, 3)), np.array([1.0, 12, 16, 1, 14])
    x = reference @ rotation().numpy().T + 3.0
    found = on_reference(np.stack([x, reference]), reference, masses)
    np.testing.assert_allclose(found[0], reference - reference.mean(0), atol=1e-6)
    each = on_reference(np.stack([x, reference]), np.stack([x, x]), masses)
    np.testing.assert_allclose(each[1], x - x.mean(0), atol=1e-6)


class TestRealMolecules:
    """GFN2-xTB trajectories; the docs show these numbers."""

    def test_benzene(self, shared_data):
        whole = gfnode.load(shared_data / "xtb" / "md17_benzene.npz")[:16_000]
        found = spectrum(whole)
        assert [each.modes for each in found.spaces] == [1, 2, 1, 2, 1, 1, 2, 2]
        assert found.ranks.value < 0  # low modes are not slow
        assert found.temperature == pytest.approx(500, rel=0.05)
        stretch = max(each.wavenumber_per_cm for each in found.peaks)
        assert 2950 < stretch < 3150  # C–H
        assert sum(2900 < each.wavenumber_per_cm < 3200 for each in found.peaks) >= 1

    def test_toluene_has_a_slow_rotor(self, shared_data):
        whole = gfnode.load(shared_data / "xtb" / "md17_toluene.npz")[:16_000]
        slowest = min(spectrum(whole).spaces[1:], key=lambda s: s.frequency_per_ps)
        assert slowest.modes == 2  # two of the three hydrogens of the methyl group, against it
        assert slowest.wavenumber_per_cm < 200


class TestCommand:
    def test_writes_what_it_says(self, tmp_path):
        path = gfnode.load("sample:toluene")[:1500].save(tmp_path / "t.npz")
        out, curves, numbers = (tmp_path / name for name in ("s.png", "c.csv", "n.json"))
        said = call("spectrum", path, "--out", out, "--csv", curves, "--json", numbers)
        assert said.exit_code == 0, said.output
        assert "Eigenspaces of the molecular graph" in said.stdout
        assert "rank correlation of mean frequency with eigenvalue" in said.stdout
        assert out.read_bytes().startswith(b"\x89PNG")
        found = json.loads(numbers.read_text())
        assert found["atoms"] == 15
        assert found["resolution_per_cm"] == pytest.approx(PER_CM * found["resolution_per_ps"])
        with curves.open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows[0]) == 3 + len(found["eigenspaces"])
        last = rows[-1]
        assert float(last["wavenumber_per_cm"]) == pytest.approx(
            PER_CM * float(last["frequency_per_ps"]), rel=1e-4
        )
        total = sum(float(row["density_of_states_ps"]) for row in rows)
        assert total * found["resolution_per_ps"] == pytest.approx(1, rel=1e-4)

    def test_json_on_the_console(self, tmp_path):
        path = gfnode.load("sample:toluene")[:300].save(tmp_path / "t.npz")
        said = call("spectrum", path, "--select", "heavy", "--as-is", "--json", "-")
        found = json.loads(said.stdout)
        assert (found["atoms"], found["superposed"]) == (7, False)

    @pytest.mark.parametrize(
        ("frames", "words", "error"),
        [
            ([0, 1, 2, 4, 5, 6, 9], (), "evenly spaced"),
            ([0, 1], (), "at least 4 frames"),
            (range(40), ("--out", "x.txt"), "expected a name that ends with .png"),
            (range(40), ("--resolution", "0"), "resolution is 0"),
        ],
    )
    def test_plain_errors(self, tmp_path, frames, words, error):
        path = gfnode.load("sample:toluene")[list(frames)].save(tmp_path / "t.npz")
        said = call("spectrum", path, *words)
        assert said.exit_code == 2
        assert error in said.stderr
        assert said.stderr.count("\n") == 1

    def test_replicas_must_fit(self, ring):
        with pytest.raises(InputError, match="expected one spacing"):
            spectrum([ring[:100], ring[:200:2]])
        with pytest.raises(InputError, match="different atoms"):
            spectrum([ring[:100], ring.select([0, 1, 2])[:100]])
