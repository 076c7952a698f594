"""Error bars that hold what they say, where they are kept, and where they come out."""

import math
import shutil
from dataclasses import replace

import ase.io
import networkx as nx
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import gfnode
from gfnode.cli import app
from gfnode.errors import InputError
from gfnode.models import build, calibration
from gfnode.models.calibration import WITHIN, Calibration, _shares, _width
from gfnode.run import Run
from gfnode.runfiles import CALIBRATION
from gfnode.share.export import export
from gfnode.weights import load_tensors, save_tensors
from gfnode.windows import Frames, Windows
from making import QUICK, system_of, wiggle


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated")
    path = wiggle().save(folder / "wiggle.npz")
    return gfnode.fit(path, changes=QUICK, out=folder / "run", progress=False)


def diffusion(seed: int, heavy_tails: bool = False, frames: int = 4000) -> tuple[object, Windows]:
    """Ethanol whose atom i walks at random by 0.01 (i + 1) Å a step of 10 fs."""
    system = system_of("ethanol", horizon=200.0)
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(frames, system.n_atoms, 3))
    if heavy_tails:
        steps = rng.standard_t(3, size=steps.shape)
    size = 0.01 * (1 + np.arange(system.n_atoms))
    walk = np.cumsum(steps * size[:, None], 0)
    times = torch.arange(frames, dtype=torch.float64) * 10
    x = torch.from_numpy(walk).float()
    shared = Frames(x, torch.zeros_like(x), times, np.zeros(frames, dtype=np.int64))
    starts = torch.arange(0, frames - 20, 8)
    targets = starts[:, None] + torch.tensor([1, 2, 4, 8, 12, 16, 18, 20])
    return system, Windows(shared, starts, targets, None)


class TestSizes:
    def test_a_random_walk_has_the_deviations_it_was_made_with(self):
        system, windows = diffusion(0)
        found = Calibration.fit(build("persistence", system), windows, windows)
        lags = torch.tensor([10.0, 40.0, 80.0, 160.0, 200.0])
        expected = 0.01 * (1 + np.arange(9)) * np.sqrt(lags.numpy() / 10)[:, None]
        np.testing.assert_allclose(found.deviations(lags), expected, rtol=0.1)
        batch = windows.batch(slice(None))
        moved = (batch.targets - batch.positions[:, None])[..., system.score, :]
        assert float(found.error) == pytest.approx(float(moved.square().mean()))

    @pytest.mark.parametrize("heavy_tails", [False, True])
    def test_the_share_expected_of_unseen_errors_lies_within(self, heavy_tails):
        system, windows = diffusion(1, heavy_tails)
        model = build("persistence", system)
        found = Calibration.fit(model, windows, windows)
        unseen = diffusion(2, heavy_tails)[1]
        batch = unseen.batch(slice(None))
        error = (model(batch.positions, batch.velocities, batch.lags) - batch.targets).abs()
        inside = error <= found.deviations(batch.lags)[..., None]
        assert inside.float().mean() == pytest.approx(WITHIN, abs=0.02)
        assert inside.float().mean((0, 1, 3)).numpy() == pytest.approx(WITHIN, abs=0.05)

    @pytest.mark.parametrize("outcomes", [False, True])
    def test_a_calm_validation_part_does_not_make_them_small(self, outcomes):
        system, validation = diffusion(5)
        frames = validation.frames
        lively = replace(validation, frames=replace(frames, positions=2 * frames.positions))
        model, train = build("persistence", system), lively.take(torch.arange(400))
        lags = torch.tensor([40.0, 160.0])
        spread = 0.02 * lags[:, None].expand(2, 9).sqrt() if outcomes else None
        if outcomes:
            model.with_spread = lambda x, v, lags: (
                model(x, v, lags),
                0.02 * lags[..., None].expand(*lags.shape, 9).sqrt(),
            )
        found = Calibration.fit(model, train, validation.take(torch.arange(50)))
        alike = Calibration.fit(model, validation, validation)
        ratio = found.deviations(lags, spread) / alike.deviations(lags, spread)
        assert 1.6 < ratio.mean() < 2.1

    @pytest.mark.parametrize("never", ["at the first frame", "from some starts"])
    def test_predictions_that_are_not_finite_have_no_say(self, never):
        """They made every deviation NaN, and the run was refused as damaged."""
        system, windows = diffusion(4)
        model = build("persistence", system)
        expected = Calibration.fit(model, windows, windows).deviations(torch.tensor([40.0, 160.0]))

        def estimate(x, v, lags):
            wrong = (lags < 15) if never == "at the first frame" else (x[:, :1, 0] % 1.0 < 0.1)
            holes = torch.where(wrong, math.nan, 0.0)
            return x[:, None] + holes[..., None, None].expand(*lags.shape, 1, 1), None

        model.with_spread = estimate
        found = Calibration.fit(model, windows, windows).deviations(torch.tensor([40.0, 160.0]))
        np.testing.assert_allclose(found, expected, rtol=0.1)
        model.with_spread = lambda x, v, lags: (
            x[:, None] + float("nan") * lags[..., None, None],
            None,
        )
        with pytest.raises(InputError, match="predicts no finite positions"):
            Calibration.fit(model, windows, windows)

    def test_training_three_times_as_wild_makes_them_three_times_as_large(self):
        """Starts at rest at the origin are followed by noise of a size that the model knows."""
        system, rng = system_of("ethanol", horizon=200.0), np.random.default_rng(11)
        known = 10 ** rng.uniform(-2, 0, size=200)
        noise = rng.normal(size=(200, 9, 9, 3)) * known[:, None, None, None]
        noise[:, 0] = 0.0  # (start, frame, atom, 3)
        x = torch.from_numpy(noise).float().flatten(0, 1)
        v = torch.from_numpy(known).float().repeat_interleave(9)[:, None, None].expand_as(x)
        times = torch.arange(len(x), dtype=torch.float64) * 10
        frames = Frames(x, v, times, np.zeros(len(x), dtype=np.int64))
        starts = 9 * torch.arange(200)
        calm = Windows(frames, starts, starts[:, None] + torch.arange(1, 9), None)
        wild = replace(calm, frames=replace(frames, positions=3 * x))
        model = build("persistence", system)
        model.with_spread = lambda x, v, lags: (
            model(x, v, lags),
            v[:, None, :, 0].expand(*lags.shape, 9),
        )
        found = Calibration.fit(model, wild, calm)
        assert found.shares[1] == pytest.approx(9, rel=0.1)
        batch = wild.batch(slice(None))
        predicted, spread = model.with_spread(batch.positions, batch.velocities, batch.lags)
        within = (predicted - batch.targets).abs() <= found.deviations(batch.lags, spread)[
            ..., None
        ]
        assert within[..., model.scored, :].float().mean() == pytest.approx(WITHIN, abs=1e-3)

    def test_training_windows_known_by_heart_do_not_make_them_small(self):
        system, validation = diffusion(5)
        model = build("persistence", system)
        frames = replace(validation.frames, positions=torch.zeros_like(validation.frames.positions))
        found = Calibration.fit(model, replace(validation, frames=frames), validation)
        alike = Calibration.fit(model, validation, validation)
        np.testing.assert_allclose(found.sizes, alike.sizes, rtol=0.03)

    def test_they_begin_at_zero_never_fall_and_end_constant(self):
        system, windows = diffusion(3)
        found = Calibration.fit(build("persistence", system), windows, windows)
        sizes = found.deviations(torch.linspace(0, 400, 200))
        assert (sizes[0] == 0).all()
        assert (sizes.diff(dim=0) >= 0).all()
        assert torch.equal(sizes[-1], found.sizes[-1])

    def test_outcomes_apart_mean_large_errors(self):
        """Half the starts are calm, half are lively, and the model knows which."""
        system, windows = diffusion(6)
        x = windows.frames.positions
        lively = (torch.arange(len(x)) // 400) % 2 == 1
        steps = x.diff(dim=0) * (0.1 + lively[1:, None, None])
        x = torch.cat([x[:1], x[:1] + steps.cumsum(0)])
        windows = replace(windows, frames=replace(windows.frames, positions=x))
        inside = (windows.starts % 400 < 380).nonzero().flatten()  # no window in both
        windows = windows.take(inside)
        model = build("persistence", system)
        kind = torch.zeros(len(x)).index_put(
            (windows.starts,), 0.1 + lively[windows.starts].float()
        )
        known = {tuple(x[i, 0].tolist()): float(kind[i]) for i in windows.starts.tolist()}

        def with_spread(positions, velocities, lags):
            size = torch.tensor([known[tuple(start[0].tolist())] for start in positions])
            each = 0.01 * (1 + torch.arange(9)) * (lags[..., None] / 10).sqrt()
            return model(positions, velocities, lags), 3 * size[:, None, None] * each

        model.with_spread = with_spread
        found = Calibration.fit(model, windows, windows)
        assert found.shares[1] == pytest.approx(1 / 9, rel=0.1)
        batch = windows.batch(slice(None))
        predicted, spread = model.with_spread(batch.positions, batch.velocities, batch.lags)
        within = (predicted - batch.targets).abs() <= found.deviations(batch.lags, spread)[
            ..., None
        ]
        for part in (lively[windows.starts], ~lively[windows.starts]):
            assert within[part].float().mean() == pytest.approx(WITHIN, abs=0.03)
        plain = (predicted - batch.targets).abs() <= found.deviations(batch.lags)[..., None]
        assert plain[lively[windows.starts]].float().mean() < 0.6

    def test_without_outcomes_the_error_bar_is_not_zero(self):
        """As where every trajectory of a start has left what the potential knows."""
        system, windows = diffusion(7)
        found = Calibration.fit(build("persistence", system), windows, windows)
        found = replace(found, shares=torch.tensor([0.0, 1.0]))
        lags = torch.tensor([10.0, 200.0])
        spread = torch.zeros(2, 9)
        assert torch.equal(found.deviations(lags, spread), found.deviations(lags))
        spread[:, 0] = 0.3
        assert torch.allclose(found.deviations(lags, spread)[:, 0], torch.tensor(0.3))

    def test_frames_far_apart_have_forgotten_their_start_at_once(self):
        """Positions at random: an error is as large at the first frame as at any."""
        system = system_of("ethanol", horizon=300_000.0)
        rng = np.random.default_rng(8)
        x = torch.from_numpy(rng.normal(size=(3000, system.n_atoms, 3))).float()
        times = 10_000.0 * torch.arange(len(x), dtype=torch.float64)
        frames = Frames(x, torch.zeros_like(x), times, np.zeros(len(x), dtype=np.int64))
        starts = torch.arange(0, 2900, 6)
        targets = starts[:, None] + torch.from_numpy(rng.integers(1, 31, (len(starts), 8)))
        windows = Windows(frames, starts, targets, None)
        found = Calibration.fit(build("persistence", system), windows, windows)
        sizes = found.deviations(torch.tensor([0.0, 1000.0, 10_000.0, 50_000.0, 300_000.0]))
        assert (sizes[0] == 0).all()
        np.testing.assert_allclose(sizes[1:], np.sqrt(2), rtol=0.12)

    def test_what_moves_along_a_line_is_not_still(self):
        """Two of three coordinates never change, as of two atoms that do not turn."""
        system, windows = diffusion(9)
        x = windows.frames.positions * torch.tensor([1.0, 0.0, 0.0])
        windows = replace(windows, frames=replace(windows.frames, positions=x))
        found = Calibration.fit(build("persistence", system), windows, windows)
        lags = torch.tensor([40.0, 200.0])
        expected = 0.01 * (1 + np.arange(9)) * np.sqrt(lags.numpy() / 10)[:, None] / np.sqrt(12)
        np.testing.assert_allclose(found.deviations(lags), expected, rtol=0.15)

    def test_distances_are_those_of_training(self):
        system, windows = diffusion(4, frames=100)
        found = Calibration.fit(build("persistence", system), windows, windows)
        bonds = {tuple(sorted(pair)) for pair in system.bonds.tolist()}
        assert bonds <= set(map(tuple, found.pairs.tolist()))
        x = windows.conformations()
        i, j = found.pairs.T
        apart = (x[:, i] - x[:, j]).norm(dim=-1)
        np.testing.assert_allclose(found.lengths, apart.mean(0), rtol=1e-4)
        np.testing.assert_allclose(found.spreads, apart.std(0, correction=0), rtol=1e-3)
        graph = nx.Graph(system.bonds.tolist())
        hops = dict(nx.all_pairs_shortest_path_length(graph, cutoff=3))
        spread = {
            (a, b): float((x[:, a] - x[:, b]).norm(dim=-1).std())
            for a in hops
            for b in hops[a]
            if a < b
        }
        kept = {pair for pair, s in spread.items() if hops[pair[0]][pair[1]] < 3 or s < 0.15}
        assert set(map(tuple, found.pairs.tolist())) == kept < set(spread)

    def test_distances_of_what_is_rigid_are_known_to_a_thousandth(self):
        system, windows = diffusion(4, frames=100)
        rigid = windows.frames.positions[:, :1] + torch.randn(9, 3)
        windows = replace(windows, frames=replace(windows.frames, positions=rigid))
        found = Calibration.fit(build("persistence", system), windows, windows)
        np.testing.assert_allclose(found.spreads, 1e-3)


class TestFolder:
    def test_a_run_keeps_and_an_export_carries_it(self, run, tmp_path):
        folder = export(run, tmp_path / "model", licence="MIT")
        for each in (Run.open(run.folder), Run.open(folder)):
            assert torch.equal(each.calibration.sizes, run.calibration.sizes)

    def test_predictions_have_deviations(self, run):
        found = run.predict(wiggle(), [20.0, 60.0], frame=3)
        expected = run.calibration.deviations(torch.tensor([20.0, 60.0]))
        np.testing.assert_allclose(found.deviations, expected, rtol=1e-6)
        assert found[1].deviations.shape == (1, 3)
        np.testing.assert_array_equal(found.select([2, 0]).deviations, found.deviations[:, [2, 0]])

    def test_evaluation_counts_what_lies_within(self, run):
        result = run.evaluate(save=False)
        told = result.to_dict()["error_bars"]
        assert told["expected"] == WITHIN
        assert told["inside"]["value"] == pytest.approx(result.inside.mean())
        assert told["inside"]["high"] <= 1
        shares = [each for each in told["by_lag"] if each["count"]]
        assert sum(each["count"] for each in shares) == result.inside.size
        assert min(each["value"] for each in shares) <= result.inside.mean()
        assert 0.2 < result.inside.mean() < 1

    def test_a_run_without_it_makes_no_molecules(self, run, tmp_path):
        old = tmp_path / "old"
        shutil.copytree(run.folder, old)
        (old / CALIBRATION).unlink()
        found = Run.open(old)
        assert found.predict(wiggle(), [20.0]).deviations is None
        assert found.evaluate(save=False).to_dict()["error_bars"] is None
        with pytest.raises(InputError, match="gfnode train --resume"):
            found.as_molecules()
        assert gfnode.resume(old, progress=False).as_molecules()

    def test_a_file_of_another_molecule_is_refused(self, run, tmp_path):
        with pytest.raises(InputError, match="do not fit the model"):
            Calibration.load(run.folder / CALIBRATION, 5)
        with pytest.raises(InputError, match="tensors of a calibration"):
            Calibration.load(run.folder / "baselines.safetensors", 3)
        with pytest.raises(InputError, match="cannot be read"):
            Calibration.load(tmp_path / "none", 3)

    @pytest.mark.parametrize(
        "change",
        [
            {"sizes": lambda values: values * math.nan},
            {"sizes": lambda values: -values - 1},
            {"sizes": lambda values: values.bool()},
            {"lengths": lambda values: values + math.inf},
            {"pairs": lambda values: values.to(torch.float8_e4m3fn)},
            {"spreads": lambda values: values.to(torch.complex64)},
            {"lags": lambda values: values[0]},
            {"lags": lambda values: values[:0], "sizes": lambda values: values[:0]},
        ],
    )
    def test_error_bars_that_are_none_are_refused(self, run, tmp_path, change):
        tensors, _ = load_tensors(run.folder / CALIBRATION)
        new = tensors | {key: alter(tensors[key]) for key, alter in change.items()}
        save_tensors(tmp_path / CALIBRATION, new, {})
        with pytest.raises(InputError, match=r"damaged|do not fit the model"):
            Calibration.load(tmp_path / CALIBRATION, 3)

    def test_what_molecules_come_to_is_not_kept(self, run):
        run.evaluate()
        before = (run.folder / "evaluation.json").read_bytes()
        run.as_molecules().evaluate()
        assert (run.folder / "evaluation.json").read_bytes() == before


class TestCommands:
    def predict(self, run, out, *more):
        start = str(run.folder.parent / "wiggle.npz")
        words = ["predict", str(run.folder), "--start", start, "--times", "20fs,60fs"]
        return CliRunner().invoke(app, [*words, "--out", str(out), *more])

    def test_files_that_have_a_place_for_deviations_hold_them(self, run, tmp_path):
        expected = run.calibration.deviations(torch.tensor([20.0, 60.0])).numpy()
        for suffix, told in ((".pdb", "B-factors"), (".extxyz", "column"), (".npz", "array")):
            out = tmp_path / f"predicted{suffix}"
            result = self.predict(run, out)
            assert result.exit_code == 0, result.output
            assert told in result.output
        with np.load(tmp_path / "predicted.npz") as arrays:
            np.testing.assert_allclose(arrays["deviations"], expected, rtol=1e-6)
        frames = ase.io.read(tmp_path / "predicted.extxyz", ":")
        np.testing.assert_allclose([f.arrays["deviation"] for f in frames], expected, atol=1e-6)
        lines = (tmp_path / "predicted.pdb").read_text().splitlines()
        factors = [float(line[60:66]) for line in lines if line.startswith(("ATOM", "HETATM"))]
        np.testing.assert_allclose(factors, 8 * np.pi**2 * expected.ravel() ** 2, atol=0.006)
        for suffix in (".extxyz", ".npz"):  # which are read too
            again = tmp_path / f"again{suffix}.pdb"
            words = ["convert", str(tmp_path / f"predicted{suffix}"), str(again)]
            assert CliRunner().invoke(app, words).exit_code == 0
            assert [line[:66] for line in again.read_text().splitlines() if "ATOM" in line] == [
                line[:66] for line in lines if "ATOM" in line
            ]
            result = CliRunner().invoke(app, [*words[:2], str(again.with_suffix(".dcd"))])
            assert "cannot store standard deviations: they are left out" in result.output

    def test_others_say_that_they_have_none(self, run, tmp_path):
        result = self.predict(run, tmp_path / "predicted.xtc")
        assert result.exit_code == 0, result.output
        assert ".xtc cannot store them" in result.output

    def test_molecules(self, run, tmp_path):
        result = self.predict(run, tmp_path / "molecule.pdb", "--geometry", "molecule")
        assert result.exit_code == 0, result.output
        assert "deviations" not in result.output  # they are those of the mean
        told = CliRunner().invoke(
            app, ["evaluate", str(run.folder), "--no-physics", "--geometry", "molecule"]
        )
        assert told.exit_code == 0, told.output
        assert "error bars" not in told.output

    def test_another_geometry_is_an_error(self, run, tmp_path):
        result = self.predict(run, tmp_path / "x.pdb", "--geometry", "nice")
        assert result.exit_code == 2
        assert "expected mean or molecule" in result.output
        assert not (tmp_path / "x.pdb").exists()


def test_few_atoms_and_lags_are_enough_for_shares():
    size, spread = torch.rand(2, 1, 3, generator=torch.Generator().manual_seed(0)) + 0.1
    assert _shares(size, spread, torch.randn(1, 3, 3) * size[..., None]).isfinite().all()


def test_of_very_many_errors_evenly_chosen_ones_count(monkeypatch):
    monkeypatch.setattr(calibration, "_SORTED", 10)
    assert _width(torch.arange(100.0)) == pytest.approx(90 * WITHIN)  # 0, 10, … 90
