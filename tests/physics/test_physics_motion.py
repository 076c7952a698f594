"""Motion, kinetics, spectra and energies of predictions, against motions that are known exactly."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import gfnode
from gfnode.cli import app
from gfnode.errors import InputError
from gfnode.files import read_arrays, read_json, to_json
from gfnode.fourier import Basis, eigenbasis
from gfnode.graph import laplacian
from gfnode.metrics import Blocks
from gfnode.models import Model
from gfnode.models.base import ALONE
from gfnode.physics import SECTIONS, assess, predict_unseen
from gfnode.physics.energy import measure_energy, summary
from gfnode.physics.kinetics import Features, _part, measure_kinetics
from gfnode.physics.modes import dense, even_lags, on_reference, space_power
from gfnode.physics.motion import (
    Momenta,
    _by_lag,
    measure_motion,
    predicted_motion,
    true_motion,
)
from gfnode.physics.spectra import _spaces, _states, measure_spectra, spectral_distance
from gfnode.report.motion_table import motion_reasons, motion_table
from gfnode.simulate import asymmetric_top
from gfnode.units import BOLTZMANN
from gfnode.windows import Frames, Windows
from making import geometry_of, rotation, system_of, wiggle

ROOT = Path(__file__).resolve().parents[2]
CHANGES = {
    "windows": {"horizon": 600.0, "times": 8, "most": [60, 20, 120], "score": "all"},
    "model": {"width": 6, "encoder_layers": 1, "decoder_layers": 1, "lag_width": 4},
    "training": {"epochs": 1, "batch": 16},
    "accelerator": "cpu",
}


def fit(data, out, **windows):
    changes = CHANGES | {"windows": CHANGES["windows"] | windows}
    return gfnode.fit(data, changes=changes, out=out, progress=False)


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("physics")
    run = fit(wiggle(1600).save(folder / "wiggle.npz"), folder / "run")
    return predict_unseen(run)


@pytest.fixture(scope="module")
def top():
    """A rigid ethanol that tumbles and drifts."""
    return asymmetric_top(drift=(1e-3, 0.0, -2e-3))


def windows_of(motion, step=0.5, frames=400, *, stored=True):
    trajectory = motion.trajectory(frames, step)
    found = Frames.of([trajectory if stored else replace(trajectory, velocities=None)])
    starts = torch.arange(10, frames - 200, 20)
    targets = starts[:, None] + torch.tensor([1, 40, 150])
    return Windows(found, starts, targets, None if stored else starts + 1)


class Swing(Model):
    """x₀ + a sin ωt, the same for every atom."""

    promises = ALONE
    rate, size = 0.3, 0.4

    def forward(self, positions, velocities, lags):
        swing = self.size * torch.sin(self.rate * lags)[..., None, None]
        return positions[:, None] + swing * torch.ones(3)


class TestVelocities:
    def test_derivatives_of_a_prediction(self, top):
        """Five points: to rounding. Central differences: less by sin(ωΔ)/ωΔ."""
        windows = windows_of(top)
        model = Swing(system_of("ethanol"))
        lags = windows.lags[..., None, None]
        exact = model.rate * model.size * torch.cos(model.rate * lags).expand(-1, -1, 9, 3)
        _, v, known = predicted_motion(model, windows, None)
        assert known.tolist()[0] == [False, True, True]  # a lag of 0.5 fs has none 1 fs before it
        assert float((v - exact)[:, 1:].abs().max()) < 1e-5
        at, v, known = predicted_motion(model, windows, 0.5)
        assert known.tolist()[0] == [False, True, True]  # there, the start is the neighbour
        less = np.sin(0.5 * model.rate) / (0.5 * model.rate)
        assert float((v - less * exact)[:, 1:].abs().max()) < 1e-5
        wanted = windows.frames.positions[windows.starts][:, None] + model.size * torch.sin(
            model.rate * lags
        )
        assert float((at - wanted).abs().max()) < 1e-5

    @pytest.mark.parametrize("stored", [True, False])
    def test_a_free_top_keeps_its_momenta(self, top, stored):
        windows = windows_of(top, stored=stored)
        masses = torch.from_numpy(top.masses)
        x, v, known = true_motion(windows, None if stored else 0.5)
        assert known.all()
        found = Momenta.of(x, v, masses)
        exact = Momenta.of(*(torch.from_numpy(a)[None] for a in top.state([0.0])), masses)
        np.testing.assert_allclose(
            found.linear, np.broadcast_to(exact.linear, (10, 3, 3)), atol=2e-5
        )
        scale = np.linalg.norm(exact.angular)
        np.testing.assert_allclose(
            found.angular, np.broadcast_to(exact.angular, (10, 3, 3)), atol=2e-4 * scale
        )

    def test_where_a_neighbour_is_missing(self, top):
        trajectory = top.trajectory(300, 0.5)
        kept = [k for k in range(300) if k != 50]
        frames = Frames.of([replace(trajectory[kept], velocities=None)])
        starts = torch.tensor([10])
        targets = torch.tensor([[20, 49, 50, 51, 298]])
        _, _, known = true_motion(Windows(frames, starts, targets, starts + 1), 0.5)
        assert known.tolist() == [[True, False, False, True, False]]

    def test_a_few_frames_give_no_temperature(self):
        """One frame of nine atoms is off by a quarter: of rMD17 some bins know no more."""
        lags = np.repeat([[50.0, 150.0]], 40, axis=0)
        known = np.ones(lags.shape, bool)
        known[9:, 0] = False
        flat = np.zeros((40, 2, 3))
        momenta = Momenta(flat, flat, np.full((40, 2), 300.0))
        blocks = Blocks.of(10.0 * np.arange(40), 100.0)
        edges = np.array([0.0, 100.0, 200.0])
        found = _by_lag(momenta, momenta, known, lags=lags, blocks=blocks, edges=edges)
        first, second = found["temperature_K"]
        assert np.isnan(first["value"])
        assert second["value"] == pytest.approx(300)
        assert found["momentum_change_u_A_per_fs"] == [None, 0.0]

    def test_temperature_of_maxwell_velocities(self):
        generator = np.random.default_rng(0)
        masses = np.array([12.0, 1.0, 16.0, 1.0])
        v = generator.normal(size=(500, 40, 4, 3)) * np.sqrt(BOLTZMANN * 350 / masses)[:, None]
        x = generator.normal(size=(1, 1, 4, 3)) + np.zeros((500, 40, 1, 1))
        found = Momenta.of(torch.from_numpy(x), torch.from_numpy(v), torch.from_numpy(masses))
        assert found.temperature.mean() == pytest.approx(350, rel=0.01)
        linear, angular = found.thermal(torch.from_numpy(x[:, 0]), torch.from_numpy(masses))
        assert np.sqrt(np.square(found.linear).sum(-1).mean()) == pytest.approx(linear, rel=0.01)
        assert np.sqrt(np.square(found.angular).sum(-1).mean()) == pytest.approx(angular, rel=0.01)


class TestMotion:
    def test_of_a_run(self, predictions):
        found = measure_motion(predictions)
        numbers = found.numbers
        assert numbers["velocities"] == "stored"
        assert numbers["degrees_of_freedom"] == 9
        start = numbers["start"]
        flying = numbers["methods"]["constant-velocity"]["temperature_K"]
        resting = numbers["methods"]["persistence"]["temperature_K"]
        assert all(each["value"] == 0 for each in resting)
        assert np.mean([each["value"] for each in flying]) == pytest.approx(
            start["temperature_K"], rel=0.05
        )
        # the data has no momenta, and a rotor without them stands still
        assert start["momentum_u_A_per_fs"] < 1e-4 * start["thermal_momentum_u_A_per_fs"]
        rotor = numbers["methods"]["rigid-rotor"]
        assert max(rotor["angular_momentum_change_u_A2_per_fs_of_thermal"]) < 1e-2
        assert max(rotor["momentum_change_u_A_per_fs_of_thermal"]) < 1e-2
        assert found.arrays["temperature_K_true"].shape == (8, 3)

    def test_what_stops_changes_its_momenta_by_those_of_the_start(self, predictions):
        """Persistence of a water that drifts and turns: p₀ and L₀, of known thermal sizes."""
        frames, drift = predictions.windows.frames, torch.tensor([2e-3, 0.0, -1e-3])
        x = frames.positions  # with the centre of mass at the origin
        spin = torch.cross(torch.tensor([0.0, 3e-3, 0.0]).expand_as(x), x, dim=-1)
        moved = replace(frames, velocities=frames.velocities + drift + spin)
        flying = replace(predictions, windows=replace(predictions.windows, frames=moved))
        numbers = measure_motion(flying).numbers
        start, resting = numbers["start"], numbers["methods"]["persistence"]
        mass = 15.999 + 2 * 1.008
        heat = BOLTZMANN * start["temperature_K"]
        assert start["momentum_u_A_per_fs"] == pytest.approx(mass * float(drift.norm()), rel=1e-3)
        assert start["thermal_momentum_u_A_per_fs"] == pytest.approx(
            np.sqrt(3 * mass * heat), rel=1e-3
        )
        for key in ("momentum", "angular_momentum"):
            unit = "u_A_per_fs" if key == "momentum" else "u_A2_per_fs"
            change = np.array(resting[f"{key}_change_{unit}"])
            np.testing.assert_allclose(change, start[f"{key}_{unit}"], rtol=0.05)
            share = resting[f"{key}_change_{unit}_of_thermal"]
            np.testing.assert_allclose(share, change / start[f"thermal_{key}_{unit}"])

    def test_does_not_depend_on_the_order_of_the_state(self, predictions, tmp_path):
        """Masses go with their atoms, whatever order the model takes these in."""
        data = wiggle(1600)
        run = fit(data.save(tmp_path / "wiggle.npz"), tmp_path / "run", state=[2, 0, 1])
        found, same = (measure_motion(p).numbers for p in (predict_unseen(run), predictions))
        for key, value in same["start"].items():
            assert found["start"][key] == pytest.approx(value, rel=1e-5, abs=1e-7)
        names = ("constant-velocity", "rigid-rotor")
        pairs = [(found["true"], same["true"])]
        pairs += [(found["methods"][name], same["methods"][name]) for name in names]
        for mine, other in pairs:
            for a, b in zip(mine["temperature_K"], other["temperature_K"], strict=True):
                assert a["value"] == pytest.approx(b["value"], rel=1e-4)

    def test_a_test_part_at_rest_has_no_thermal_momenta(self, tmp_path):
        moving = wiggle(400, step=2.0, velocities=False)
        x = moving.positions.copy()
        x[250:] = x[250]  # as of a simulation that stopped
        run = fit(replace(moving, positions=x), tmp_path / "run", horizon=60.0, times=3)
        numbers = measure_motion(predict_unseen(run)).numbers
        assert numbers["start"]["thermal_momentum_u_A_per_fs"] == 0
        assert set(numbers["true"]["momentum_change_u_A_per_fs_of_thermal"]) == {None}

    def test_says_where_it_means_nothing(self, predictions, tmp_path):
        run = fit(
            wiggle(400), tmp_path / "heavy", state=[0, 1], score=[0, 1], horizon=60.0, times=3
        )
        part = predict_unseen(run)
        assert "2 of 3 atoms" in measure_motion(part).numbers["reason"]
        assert "2 of 3 atoms" in measure_energy(part).numbers["reason"]
        aligned = replace(predictions, windows=replace(predictions.windows, align=torch.arange(3)))
        assert "superposed" in measure_motion(aligned).numbers["reason"]
        coarse = replace(predictions.windows, neighbours=predictions.windows.starts + 1)
        said = measure_motion(replace(predictions, windows=coarse)).numbers["reason"]
        assert "5 fs apart" in said


class TestKinetics:
    def test_of_a_run(self, predictions):
        found = measure_kinetics(predictions)
        numbers = found.numbers
        assert numbers["features"] == "modes"  # water has no torsion
        persistence = numbers["methods"]["persistence"]
        for score in persistence["vamp2"]:
            assert score["value"] == pytest.approx(numbers["highest_vamp2"], abs=0.05)
        assert all(row[0]["value"] > 1e3 for row in persistence["timescales_ps"])
        for score in numbers["methods"]["mean-conformer"]["vamp2"]:
            assert score["value"] <= numbers["highest_vamp2"]
        # a motion without noise never forgets either, in features that hold all of it
        assert found.arrays["vamp2_true"].shape == (8, 3)
        assert found.arrays["timescales_ps_true"].shape == (8, 2, 3)

    def test_amplitudes_that_fade_have_their_time(self, predictions):
        """Displacements times e^(−τ / 2 ps), at the same lags of all windows."""
        lags = np.tile(75.0 * np.arange(1, 9), (len(predictions.starts), 1))
        features = Features(predictions)
        turned = on_reference(predictions.starts, features.reference, features.masses)
        off = (turned - features.reference)[:, None] * np.exp(-lags / 2000)[..., None, None]
        x = (features.reference + off).astype(np.float32)
        for failed in (0, 40):
            x[:failed] = np.nan
            faded = measure_kinetics(replace(predictions, lags_fs=lags, predicted={"gfnode": x}))
            found = faded.numbers["methods"]["gfnode"]
            assert faded.numbers["lags_fs"] == lags[0].tolist()
            for score, times in zip(found["vamp2"], found["timescales_ps"], strict=True):
                assert score["count"] == len(x) - failed
                assert score["value"] == pytest.approx(faded.numbers["highest_vamp2"], abs=1e-3)
                assert [each["value"] for each in times] == pytest.approx([2.0, 2.0], rel=1e-3)

    def test_windows_of_some_blocks_have_no_more_neighbours_than_these_allow(self):
        """Two blocks of thirty share frames at most once; with 29 pairs there is no variance."""
        part = _part(Blocks(np.arange(30).repeat(2), 30, 29, 1.0), np.array([17, 52, 16, 53]))
        assert part.labels.tolist() == [0, 1, 0, 1]
        assert (part.count, part.neighbours, part.length) == (2, 1, 1.0)
        assert part.inflation == pytest.approx((1 + 1 / 4) / (1 - 1 / 4))

    def test_a_single_block_of_time_has_no_intervals(self, predictions):
        whole = wiggle(1600, seed=9)
        short = whole[: round(900 / whole.spacing)]
        found = measure_kinetics(predict_unseen(predictions.run, short)).numbers
        assert found["blocks"] == 1
        last = found["true"]["vamp2"][-1]
        assert last["value"] > 1
        assert np.isnan([last["low"], last["high"]]).all()

    def test_too_few_windows_are_said(self, predictions):
        whole = wiggle(1600, seed=9)
        few = predict_unseen(predictions.run, whole[: round(650 / whole.spacing)])
        assert (
            "pairs of start and later frame within a lag bin, expected 30"
            in (measure_kinetics(few).numbers["reason"])
        )

    def test_atoms_without_bonds_have_none(self, tmp_path):
        """Three argon atoms far apart: no torsion, and modes of nothing."""
        water = wiggle(400)
        x = (4 * water.positions).astype(np.float32)
        gas = replace(water, positions=x, velocities=4 * water.velocities, numbers=[18, 18, 18])
        run = fit(gas, tmp_path / "run", horizon=60.0, times=3)
        assert run.calibration.pairs.shape == (0, 2)
        found = run.physics().numbers["kinetics"]
        assert "neither torsions nor" in found["reason"]

    def test_features_do_not_turn_with_the_molecule(self, predictions):
        features = Features(predictions)
        x = predictions.starts
        turned = (x @ rotation().numpy().T + 2.0).astype(np.float32)
        np.testing.assert_allclose(features.of(x), features.of(turned), atol=1e-5)

    def test_torsions_where_there_are_some(self, predictions):
        class Named:
            system = system_of("butane")
            topology = None
            training = geometry_of("butane")[1][None]

        found = Features(Named())
        assert found.kind == "torsions"
        assert len(found.names) == 3  # the middle bond, and two methyl groups
        x = np.random.default_rng(0).normal(size=(5, 14, 3)).astype(np.float32)
        values = found.of(x)
        np.testing.assert_allclose(values[:, :3] ** 2 + values[:, 3:] ** 2, 1, rtol=1e-5)


class TestSpectra:
    def test_of_a_run(self, predictions):
        """Water that swings with periods of 160 and 410 fs; what stands still has no spectrum."""
        found = measure_spectra(predictions)
        numbers = found.numbers
        assert numbers["spacing_fs"] == 5.0
        assert numbers["resolution_per_ps"] == pytest.approx(1 / 0.6)
        assert numbers["resolution_per_cm"] == pytest.approx(33.35641 / 0.6)
        assert numbers["highest_per_cm"] == pytest.approx(33.35641 * 100)  # two frames a period
        f, power = found.arrays["frequency_per_ps"], found.arrays["superposed_power_true"].sum(0)
        assert f[power[1:].argmax() + 1] == pytest.approx(1e3 / 410, abs=1 / 0.6)
        states = numbers["density_of_states"]
        assert states["distance_floor_per_ps"] < 0.5
        heat = predictions.trajectories[0].temperature()
        assert states["temperature_true_K"] == pytest.approx(heat, rel=0.1)
        spaces = numbers["superposed"]["eigenspaces"]
        assert sum(each["modes"] for each in spaces) == 3
        assert np.isnan(spaces[0]["true"]["frequency_per_ps"])  # the centre is taken off

    def test_tumbling_is_seen_as_it_is_and_not_superposed(self, predictions):
        """Superposed, true frames that a rotation turns have the spectra of those it does not."""
        windows = predictions.windows
        angle = 2 * np.pi / 500 * windows.frames.times  # once in 500 fs
        c, s, o = angle.cos(), angle.sin(), 0 * angle
        turn = torch.stack([c, -s, o, s, c, o, o, o, o + 1], -1).reshape(-1, 3, 3).float()
        frames = replace(windows.frames, positions=windows.frames.positions @ turn.mT)
        turned = replace(predictions, windows=replace(windows, frames=frames))
        found, still = (measure_spectra(each).numbers for each in (turned, predictions))
        power = {
            key: [each["true"]["power_A2"] for each in numbers[key]["eigenspaces"][1:]]
            for key in ("superposed", "as_is")
            for numbers in (found,)
        }
        wanted = [each["true"]["power_A2"] for each in still["superposed"]["eigenspaces"][1:]]
        np.testing.assert_allclose(power["superposed"], wanted, rtol=1e-3)
        assert min(np.array(power["as_is"]) / wanted) > 3

    def test_of_noise_that_is_forgotten(self):
        """Autoregressions of known variance and memory, and half of them."""
        rng = np.random.default_rng(0)
        x = np.zeros((64, 400, 6, 3))
        noise = rng.normal(size=x.shape)
        for t in range(1, 400):
            x[:, t] = 0.8 * x[:, t - 1] + 0.1 * noise[:, t]
        ring = np.array([[k, (k + 1) % 6] for k in range(6)])
        basis = eigenbasis(laplacian(np.concatenate([ring, ring[:, ::-1]]).T, 6))
        x = x[:, 100:].astype(np.float32)
        series = {"true": x, "predicted": x / 2}
        blocks = Blocks(np.arange(64) // 4, 16, 0, 1.0)
        numbers, arrays = _spaces(series, basis, blocks, 0.002)
        for each in numbers["eigenspaces"]:
            true, predicted = each["true"], each["predicted"]
            variance = 3 * each["modes"] * 0.01 / (1 - 0.64)
            assert true["power_A2"] == pytest.approx(variance, rel=0.1)
            assert predicted["power_A2"] == pytest.approx(true["power_A2"] / 4, rel=1e-5)
            assert true["memory_ps"] == pytest.approx(0.002 * 1.64 / 0.36, rel=0.1)
            low, value, high = (true[f"frequency_{key}per_ps"] for key in ("low_", "", "high_"))
            assert low < value < high
            assert true["frequency_per_cm"] == pytest.approx(33.35641 * value, rel=1e-6)
        assert numbers["rank_correlation_true"]["eigenspaces"] == 3  # without the constant mode
        assert arrays["power_true"].shape == (4, 151)

    @pytest.mark.parametrize("spacing", [0.002, 0.01])
    def test_the_density_of_states_of_two_lines(self, spacing):
        """Windows that swing at 10, then at 30 a picosecond, and predictions all at 10."""
        t = spacing * np.arange(401)  # whole periods of the differences
        waves = [
            np.sin(2 * np.pi * f * (t[None, :] + np.arange(4)[:, None] / 97)) for f in (10, 30)
        ]
        swing = np.concatenate([waves[0] / 10, waves[1] / 30])[..., None, None]  # as fast
        x = swing * np.ones((1, 1, 1, 3)) + np.zeros((1, 1, 2, 1))
        slow = np.concatenate([waves[0], waves[0]])[..., None, None] / 10 + 0 * x
        numbers, arrays = _states({"true": x, "predicted": slow}, np.array([1.0, 12.0]), spacing)
        assert numbers["mean_frequency_true_per_ps"] == pytest.approx(20, rel=0.01)
        assert numbers["mean_frequency_predicted_per_ps"] == pytest.approx(10, rel=0.01)
        assert numbers["distance_per_ps"] == pytest.approx(10, rel=0.01)
        assert numbers["distance_floor_per_ps"] == pytest.approx(20, rel=0.01)
        heat = 13 * 3 * (2e-3 * np.pi) ** 2 / 2 / (6 * BOLTZMANN)  # Σ m v²/3N k
        wanted = heat if spacing < 0.008 else np.nan
        assert numbers["temperature_true_K"] == pytest.approx(wanted, rel=0.01, nan_ok=True)
        assert arrays["velocity_lags_fs"][1] == pytest.approx(1000 * spacing)

    def test_drift_is_motion_and_has_a_temperature(self):
        """A molecule that moves evenly and does not vibrate."""
        t = 2.0 * np.arange(101)  # fs
        x = 0.01 * t[None, :, None, None] + np.zeros((4, 1, 2, 3))
        numbers, _ = _states({"true": x, "predicted": x / 2}, np.array([1.0, 12.0]), 0.002)
        heat = 13 * 3 * 0.01**2 / (6 * BOLTZMANN)  # Σ m v²/3N k
        assert numbers["temperature_true_K"] == pytest.approx(heat, rel=1e-2)
        assert numbers["temperature_predicted_K"] == pytest.approx(heat / 4, rel=1e-2)

    def test_uneven_frames_have_none(self, predictions):
        data = predictions.trajectories[0]
        uneven = [data[[k for k in range(len(data)) if k % 7]]]
        found = measure_spectra(replace(predictions, trajectories=uneven))
        assert "evenly spaced" in found.numbers["reason"]

    def test_starts_near_the_end_are_left_out(self):
        frames = Frames.of([wiggle(50), wiggle(50, seed=1)])
        starts = torch.tensor([0, 20, 45, 60, 95])
        windows = Windows(frames, starts, starts[:, None] + 1, None)
        found = dense(windows, np.array([10.0, 20.0, 30.0]), 10)
        assert found.starts.tolist() == [0, 20, 60]
        assert found.lags.tolist() == [[10.0, 20.0, 30.0]] * 3
        with pytest.raises(InputError, match="no start is followed by 60"):
            dense(windows, 5.0 * np.arange(1, 61), 10)

    def test_lags(self):
        dense, coarse = wiggle(4000, step=0.5), wiggle(400, step=1000.0)
        lags = even_lags([dense], 1500.0)
        assert (lags[0], lags[-1]) == (4.0, 1500.0)
        lags = even_lags([dense], 10_000.0)  # no further apart than 4 fs, no more than 512
        assert (lags[0], len(lags)) == (4.0, 512)
        assert even_lags([coarse], 100_000.0)[[0, -1]].tolist() == [1000.0, 100_000.0]
        with pytest.raises(InputError, match="one frame spacing"):
            even_lags([dense, coarse], 100.0)

    def test_benzene_does_not_depend_on_the_choice_of_eigenvectors(self):
        """Its eigenspaces are degenerate; any basis of each, and any orientation, is as good."""
        system = system_of("benzene")
        basis = eigenbasis(laplacian(system.edges.index, 12))
        assert np.bincount(basis.spaces).max() == 2
        rng = np.random.default_rng(0)
        turned = basis.vectors.copy()
        for space in range(int(basis.spaces.max()) + 1):
            mine = basis.spaces == space
            mix, _ = np.linalg.qr(rng.normal(size=(mine.sum(), mine.sum())))
            turned[:, mine] = turned[:, mine] @ mix
        x = rng.normal(size=(3, 64, 12, 3)).cumsum(1)
        y = x @ rotation().numpy().T
        powers = [
            space_power(np.einsum("am,wtax->wtmx", b.vectors, values), b.spaces, 0.01)[1]
            for b, values in ((basis, x), (Basis(turned, basis.values, basis.spaces), y))
        ]
        np.testing.assert_allclose(*powers, rtol=1e-8)

    def test_distance_of_lines_is_how_far_they_are_apart(self):
        lines = np.eye(50)
        assert spectral_distance(lines[10], 3 * lines[17], 0.5) == pytest.approx(3.5)
        assert np.isnan(spectral_distance(lines[10], 0 * lines[17], 0.5))


class TestEnergy:
    def test_of_a_run(self, predictions):
        """By another calculator of ASE, frame for frame."""
        from ase import Atoms
        from ase.calculators.emt import EMT

        found = measure_energy(predictions, "emt", 6)
        assert found.numbers["frames"] == 6
        assert found.numbers["true"]["mean_kcal_mol"] == pytest.approx(0, abs=1e-9)
        atoms = Atoms([8, 1, 1], predictions.true[0, 0], calculator=EMT())
        exact = atoms.get_potential_energy() * 23.0605478
        first = found.arrays["energy_kcal_mol_true"][0] + found.numbers["true_mean_kcal_mol"]
        assert first == pytest.approx(exact, rel=1e-5)
        assert set(found.numbers["methods"]) == set(predictions.predicted)
        lags = found.arrays["lags_fs"]
        places = [np.argwhere(predictions.lags_fs == lag) for lag in lags]
        assert len(set(lags)) > 3
        for name, x in (("true", predictions.true), *predictions.predicted.items()):
            said = found.arrays[f"energy_kcal_mol_{name}"] + found.numbers["true_mean_kcal_mol"]
            for value, where in zip(said, places, strict=True):  # one of those at this lag
                each = []
                for window, time in where:
                    atoms.positions = x[window, time]
                    each.append(atoms.get_potential_energy() * 23.0605478)
                assert np.abs(np.array(each) - value).min() < 1e-3

    def test_what_has_no_energy_is_counted(self):
        found = summary(np.array([1.0, np.nan, 6.0]))
        assert (found["mean_kcal_mol"], found["without_energy"]) == (3.5, 1)
        assert found["spread_kcal_mol"] == 2.5
        assert found["quantiles_kcal_mol"]["0.25"] == 2.25
        assert summary(np.array([np.nan])) == {"without_energy": 1}

    def test_an_engine_that_cannot_be_used_is_refused_first(self, predictions):
        done = []
        with pytest.raises(InputError, match="unknown engine"):
            assess(predictions.run, energy="abacus", advance=done.append)
        with pytest.raises(InputError, match="unknown engine"):
            measure_energy(predictions, "abacus")
        assert done == []

    def test_from_the_command_line(self, predictions):
        """The whole of `gfnode evaluate --energy`: printed, and in the files of the run."""
        said = CliRunner().invoke(
            app, ["evaluate", str(predictions.run.folder), "--energy", "emt", "--no-plot"]
        )
        assert said.exit_code == 0, said.output
        assert "Motion of predictions" in said.stdout
        assert "energy by emt" in said.stdout
        written = read_json(predictions.run.folder / "physics.json")
        assert {"spectra", "kinetics", "motion", "energy"} <= set(written)
        arrays = read_arrays(predictions.run.folder / "physics.npz")
        assert arrays["spectra.superposed_power_true"].shape[1] == len(
            arrays["spectra.frequency_per_ps"]
        )


def test_every_section_is_measured(predictions):
    assert {"kinetics", "motion", "spectra"} <= set(SECTIONS)


def keys_of(numbers, prefix=""):
    """Dotted keys of nested numbers; names of methods, and the two of anything, are a star."""
    found = set()
    for key, value in numbers.items():
        path = f"{prefix}{key}"
        found.add(path)
        listed = isinstance(value, list) and value and isinstance(value[0], dict)
        inner = value[0] if listed else value
        if isinstance(inner, dict) and not {"value", "count"} <= set(inner):
            found |= keys_of(inner, f"{path}.")
    return found


def test_keys_are_documented(predictions):
    """Every key of these sections has its row in docs/motion.md, and every row its key."""
    text = (ROOT / "docs" / "motion.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([^`]+)` \|", text.split("<!-- motion -->")[1].split("<!-- /")[0], re.M
    )
    assert len(rows) == len(set(rows))
    measured = {name: SECTIONS[name](predictions).numbers for name in ("kinetics", "motion")}
    measured["spectra"] = measure_spectra(predictions).numbers
    measured["energy"] = measure_energy(predictions, "emt", 3).numbers
    for numbers in measured.values():
        methods = numbers.get("methods", {})
        for name in list(methods)[1:]:
            assert keys_of(methods.pop(name)) == keys_of(numbers["true"])
        if methods:
            numbers["methods"] = {}
            numbers["*"] = numbers.pop("true")
            numbers["true"] = {}
    spectra = measured["spectra"]
    assert keys_of(spectra["as_is"]) == keys_of(spectra["superposed"])
    spectra["*"] = spectra.pop("superposed")
    spectra |= {"superposed": {}, "as_is": {}}
    (space, *_) = spectra["*"]["eigenspaces"]
    assert set(space["true"]) == set(space["predicted"])
    spectra["*"]["eigenspaces"] = {"*": space["true"], **{k: {} for k in space}}
    ranks = spectra["*"].pop("rank_correlation_true")
    spectra["*"] |= {"rank_correlation_true": {}, "rank_correlation_predicted": {}}
    expected = {key for key in keys_of(measured) if not key.endswith(".*")} - set(measured)
    expected |= {f"spectra.*.rank_correlation_*.{key}" for key in ranks} | {"*.reason"}
    expected = {key for key in expected if "quantiles_kcal_mol." not in key}
    assert set(rows) == expected


def printed(table):
    from rich.console import Console

    console = Console(width=130)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_the_table_says_what_was_measured(predictions):
    physics = {name: SECTIONS[name](predictions).numbers for name in ("kinetics", "motion")}
    physics["spectra"] = {"reason": "frames are uneven"}
    physics["energy"] = measure_energy(predictions, "emt", 3).numbers
    physics = json.loads(to_json(physics))
    said = printed(motion_table(physics))
    heat = physics["motion"]["true"]["temperature_K"][0]
    row = next(line for line in said.splitlines() if "kinetic temperature, 0 fs to 75 fs" in line)
    assert f"{heat['value']:.3g} [{heat['low']:.3g}" in row
    assert "VAMP-2 at" in said
    assert "change of angular momentum (relative to thermal)" in said
    assert re.search(r"energy by emt, mean ± spread \(kcal/mol\) +0 ± \d", said)
    assert motion_reasons(physics) == ["spectra not measured: frames are uneven"]
    assert motion_table({"spectra": {"reason": "frames are uneven"}}) is None
    physics["spectra"] = json.loads(to_json(measure_spectra(predictions).numbers))
    assert "rank correlation, frequency–eigenvalue" in printed(motion_table(physics))


def test_a_single_test_window_is_measured(tmp_path):
    """There is little to say of it, and no warning of numpy's says that."""
    run = fit(wiggle(1600).save(tmp_path / "wiggle.npz"), tmp_path / "run", most=[60, 20, 1])
    found = assess(run, run.trajectories()).sections
    assert found["spectra"].numbers["windows"] == 1
    assert np.isnan(found["spectra"].numbers["density_of_states"]["distance_floor_per_ps"])
    numbers = json.loads(to_json({name: section.numbers for name, section in found.items()}))
    assert "mean frequency of velocity spectrum (1/ps)" in printed(motion_table(numbers))
