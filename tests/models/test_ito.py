"""ITO: its score network, its point prediction, its samples, and processes with known answers."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from typer.testing import CliRunner

import gfnode
from gfnode import cli
from gfnode.errors import InputError
from gfnode.graph import hop_edges
from gfnode.models import build
from gfnode.molecule.system import System
from gfnode.training import Callback, Trainer, TrainingSettings
from gfnode.windows import Frames, Windows
from making import rotation, roughen, samples_of, system_of, wiggle, windows_of

SMALL = {"width": 8, "encoder_layers": 1, "score_layers": 1, "embedding": 4}


def made(name="ethanol", state="all", **options):
    """A model with statistics of some windows, and those windows."""
    torch.manual_seed(0)
    system = system_of(name, state)
    model = build("ito", system, SMALL | options)
    windows = windows_of(samples_of(name, system))
    model.prepare(windows)
    return model.eval(), windows


def asked_of(model, windows, draws=5):
    batch = windows.batch(slice(0, 4))
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(model.system.n_atoms, 4, draws, 3, generator=generator)
    times = torch.rand(4, draws, generator=generator)
    lags = 1500 * torch.rand(4, draws, generator=generator)
    return batch.positions, batch.velocities, z, times, lags


@pytest.mark.parametrize("name", ["ethanol", "benzene", "toluene"])
def test_the_score_network_turns_with_its_inputs_and_is_chiral(name):
    model, windows = made(name, "heavy", width=16, score_layers=2)
    roughen(model, scale=0.7)
    x, v, z, times, lags = asked_of(model, windows)

    def found(matrix, shift=0.0):
        x_, v_, z_ = ((y.double() @ matrix.mT).float() for y in (x, v, z))
        with torch.no_grad():
            return model.predict_noise(z_, times, model.encode(x_ + shift, v_), lags).double()

    plain = found(torch.eye(3).double())
    moved = (plain - model.schedule.sigma(times)[..., None] * z).norm(dim=-1).mean()
    assert moved > 0.05  # the network says something
    turn = rotation(3)
    shift = torch.tensor([3.0, -5.0, 8.0])
    assert (found(turn, shift) - plain @ turn.mT).norm(dim=-1).max() < 1e-4 * (1 + moved)
    mirror = turn * torch.tensor([1.0, 1.0, -1.0])
    assert (found(mirror) - plain @ mirror.mT).norm(dim=-1).mean() > 0.05 * moved


def test_before_training_nothing_is_known():
    """The noise found is σ z, the best for unit normal data, and the prediction is the start."""
    model, windows = made()
    x, v, z, times, lags = asked_of(model, windows)
    with torch.no_grad():
        found = model.predict_noise(z, times, model.encode(x, v), lags)
        predicted = model(x, v, lags)
    torch.testing.assert_close(found, model.schedule.sigma(times)[..., None] * z)
    torch.testing.assert_close(predicted, x[:, None].expand_as(predicted), atol=1e-4, rtol=0)


def test_what_is_diffused_has_unit_size():
    model, windows = made("toluene")
    batch = windows.batch(slice(0, 20))
    displaced = (batch.targets - batch.positions[:, None]).permute(2, 0, 1, 3)
    z = displaced / model.scale(batch.lags)
    assert float(z.square().mean()) == pytest.approx(1, abs=0.15)
    by_atom = z.square().mean((1, 2, 3))
    torch.testing.assert_close(by_atom, torch.ones(15), atol=0.15, rtol=0)
    zero = torch.zeros(1, 1)
    assert not model.scale(zero).any()
    far = model.scale(torch.tensor([[1e3, 1e6]]))[:, 0, :, 0]
    assert torch.equal(far[:, 0], far[:, 1])  # nothing is known beyond the windows


def test_gradients_are_finite():
    """Also where atoms meet, nothing moves and velocities are zero."""
    model, windows = made(width=16)
    roughen(model)
    batch = windows.batch(slice(0, 8))
    meeting = batch.positions.clone()
    meeting[:, 1] = meeting[:, 0]
    still = replace(
        batch,
        positions=meeting,
        velocities=torch.zeros_like(batch.velocities),
        targets=meeting[:, None].expand_as(batch.targets),
    )
    for each in (batch, still):
        for weighting in ("noise", "velocity"):
            model.settings = model.settings.model_copy(update={"weighting": weighting})
            model.zero_grad()
            loss = model.loss(each, torch.Generator().manual_seed(1))
            loss.backward()
            assert loss.isfinite()
            gradients = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
            assert len(gradients) > 20
            assert all(g.isfinite().all() for g in gradients.values())


def test_the_loss_follows_its_generator():
    model, windows = made(lags_per_step=2)
    batch = windows.batch(slice(0, 8))
    first, again, other = (
        float(model.loss(batch, torch.Generator().manual_seed(seed)).detach()) for seed in (0, 0, 1)
    )
    assert first == again != other
    asked = []
    model.predict_noise = lambda z, times, known, lags: asked.append(lags) or z
    model.loss(batch, torch.Generator().manual_seed(0))
    assert asked[0].shape == (8, 2)
    assert all(
        set(chosen) <= set(given)
        for chosen, given in zip(asked[0].tolist(), batch.lags.tolist(), strict=True)
    )


def test_the_point_prediction_is_the_mean_of_its_samples():
    model, windows = made(width=16, samples=6, steps=5)
    roughen(model, scale=0.5)
    batch = windows.batch(slice(0, 3))
    evaluations = []
    plain = model.predict_noise
    model.predict_noise = lambda *args, **names: evaluations.append(1) or plain(*args, **names)
    with torch.no_grad():
        found = model(batch.positions, batch.velocities, batch.lags)
        assert len(evaluations) == 5
        assert torch.equal(found, model(batch.positions, batch.velocities, batch.lags))
        drawn = []
        draw = model._draw
        model._draw = lambda *args, **names: drawn.append(draw(*args, **names)) or drawn[0]
        model(batch.positions, batch.velocities, batch.lags)
    assert drawn[0].shape == (3, 4, 6, 9, 3)
    torch.testing.assert_close(drawn[0].mean(2), found)
    spread = drawn[0].std(2)
    assert (spread > 1e-3).all()


def test_validation_asks_less():
    model, windows = made(validation_samples=2, validation_steps=3)
    evaluations = []
    plain = model.predict_noise
    model.predict_noise = lambda z, *args, **names: (
        evaluations.append(z.shape[2]) or plain(z, *args, **names)
    )
    batch = windows.batch(slice(0, 3))
    with torch.no_grad():
        found = model.estimate(batch.positions, batch.velocities, batch.lags)
    assert found.shape == batch.targets.shape
    assert evaluations == [2 * 4] * 3


def test_an_epoch_is_the_same_whenever_it_is_trained():
    """What is random in the loss comes from the seed and the number of the epoch."""
    weights = []
    for before in (0, 2):  # epochs of another run in between
        model, windows = made()
        parts = {"train": windows, "validation": windows}
        trainer = Trainer(model, parts, TrainingSettings(batch=8, ema=None), 5)
        for _ in range(before):
            trainer.generator.manual_seed(99)
            torch.rand(10, generator=trainer.generator)
        list(trainer._epoch(1, Callback()))
        weights.append({key: value.clone() for key, value in model.state_dict().items()})
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


TINY = {
    "windows": {"horizon": 60.0, "times": 4, "most": [64, 16, 16]},
    "training": {"epochs": 2, "batch": 16},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ito")
    path = wiggle().save(folder / "w.npz")
    changes = TINY | {"model": {"name": "ito"} | SMALL}
    return gfnode.fit(path, changes=changes, out=folder / "run", progress=False)


class TestSampling:
    def test_an_ensemble_at_each_time(self, run):
        start = wiggle(frames=50)
        found = run.sample(start, ["40fs", 20.0], 30, frame=7)
        assert list(found) == [20.0, 40.0]
        for ensemble in found.values():
            assert ensemble.positions.shape == (30, 3, 3)
            assert ensemble.times.tolist() == list(range(30))
            assert (ensemble.positions.std(0) > 1e-4).all()
            near = np.abs(ensemble.positions.mean(0) - start.positions[7]).max()
            assert near < 0.3
        assert "40 fs after wiggle, frame 7" in found[40.0].source

    def test_the_seed_repeats_it_and_other_times_do_not_matter(self, run):
        start = wiggle(frames=50)
        draw = partial(run.sample, start, count=5, steps=4)
        both, alone = draw([20.0, 40.0], seed=3), draw([40.0], seed=3)
        np.testing.assert_array_equal(both[40.0].positions, alone[40.0].positions)
        other = draw([40.0], seed=4)
        assert not np.array_equal(other[40.0].positions, alone[40.0].positions)
        chain = draw([40.0], solver="ancestral")
        assert np.isfinite(chain[40.0].positions).all()

    def test_many_samples_in_pieces(self, run, monkeypatch):
        monkeypatch.setattr(type(run.model), "at_once", lambda model, times: 4)
        told = []
        found = run.sample(wiggle(frames=9), [20.0], 10, steps=3, advance=told.append)
        assert told == [4, 4, 2]
        assert len(found[20.0]) == 10
        assert len(np.unique(found[20.0].positions[:, 0, 0])) == 10

    def test_bad_questions_are_refused(self, run, tmp_path):
        start = wiggle(frames=50)
        with pytest.raises(InputError, match="number of samples is 0"):
            run.sample(start, [20.0], 0)
        with pytest.raises(InputError, match="unknown solver 'euler': expected dpm or ancestral"):
            run.sample(start, [20.0], 2, solver="euler")
        with pytest.raises(InputError, match="at least 2 steps, got 1"):
            run.sample(start, [20.0], 2, steps=1)
        with pytest.raises(InputError, match="must be later than the start"):
            run.sample(start, [0.0], 2)

    def test_a_model_without_samples_is_refused(self, run, tmp_path):
        changes = TINY | {"model": {"name": "persistence"}}
        path = run.folder.parent / "w.npz"
        still = gfnode.fit(path, changes=changes, out=tmp_path / "still", progress=False)
        with pytest.raises(InputError, match=r"^persistence predicts one conformation .*name=ito"):
            still.sample(wiggle(frames=9), [20.0], 2)

    def test_command(self, run, tmp_path):
        start = str(run.folder.parent / "w.npz")

        def call(*words):
            return CliRunner().invoke(
                cli.app, ["sample", str(run.folder), "--start", start, *words]
            )

        many = ["--times", "20fs,40fs", "--samples", "6", "--out", str(tmp_path / "e.xtc")]
        result = call(*many, "--frame", "3", "--steps", "3")
        assert result.exit_code == 0, result.output
        assert "6 samples of 3 atoms (H2O), 40 fs after frame 3 of wiggle" in result.stdout
        for lag in ("20fs", "40fs"):
            top = tmp_path / f"e-{lag}.pdb"
            assert len(gfnode.load(tmp_path / f"e-{lag}.xtc", top=top)) == 6
        near = call(
            *("--times", "20.001fs,20.002fs", "--samples", "2", "--steps", "3"),
            *("--out", str(tmp_path / "near.npz")),
        )
        assert near.exit_code == 0, near.output
        assert len(list(tmp_path.glob("near-*.npz"))) == 2
        alone = call("--times", "20fs", "--samples", "4", "--out", str(tmp_path / "one.npz"))
        assert alone.exit_code == 0, alone.output
        assert len(gfnode.load(tmp_path / "one.npz")) == 4
        wrong = call("--times", "20fs", "--out", str(tmp_path / "no.npz"), "--solver", "euler")
        assert wrong.exit_code == 2
        assert wrong.stderr.startswith("error: unknown solver")
        assert not (tmp_path / "no.npz").exists()


# --- processes with known answers: trained to the end ------------------------------------------


def turned_windows(starts, targets, lags):
    """Windows of ``(window, atom, 3)`` and ``(window, time, atom, 3)``, each turned and moved."""
    generator = torch.Generator().manual_seed(5)
    count, times = targets.shape[:2]
    turn, _ = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator))
    turn = turn * torch.linalg.det(turn)[:, None, None]
    shift = 5 * torch.randn(count, 1, 3, generator=generator)
    whole = torch.cat([starts[:, None], targets], 1)
    positions = (whole @ turn.mT[:, None] + shift[:, None]).flatten(0, 1)
    at = torch.cat([torch.zeros(1), lags]).double().repeat(count)
    frames = Frames(positions, torch.zeros_like(positions), at, np.zeros(len(at), dtype=np.int64))
    first = torch.arange(count) * (times + 1)
    return Windows(frames, first, first[:, None] + 1 + torch.arange(times), None)


def trained(numbers, bonds, windows, horizon, epochs, **options):
    """An ITO trained on windows without velocities."""
    torch.manual_seed(0)
    atoms = np.arange(len(numbers))
    bonds = np.array(bonds)
    system = System(
        np.array(numbers), atoms, atoms, bonds, hop_edges(bonds, len(atoms)), 1.0, horizon
    )
    model = build("ito", system, {"width": 16, "encoder_layers": 1} | options)
    model.prepare(windows)
    settings = TrainingSettings(
        epochs=epochs, batch=256, rate=4e-3, ema=0.995, weight_decay=0, validate_every=epochs + 1
    )
    few = Windows(windows.frames, windows.starts[:8], windows.targets[:8], None)
    trainer = Trainer(model, {"train": windows, "validation": few}, settings, 0)
    trainer.run()
    return trainer.state.validated.eval()


SOLVERS = {"dpm": 40, "ancestral": 300}


@pytest.mark.slow
def test_a_correlated_gaussian():
    """Mean and covariance of all nine coordinates within 5 %, about a start without symmetry.

    Coordinates out of the plane of the three atoms are correlated with those in it: a network that
    followed reflections could not say on which side.
    """
    generator = torch.Generator().manual_seed(1)
    start = torch.tensor([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.3, 1.6, 0.0]])
    mean = 0.3 * torch.randn(9, generator=generator)
    root = 0.083 * torch.randn(9, 9, generator=generator) + 0.05 * torch.eye(9)
    targets = start.flatten() + mean + torch.randn(20_000, 1, 9, generator=generator) @ root.T
    lags = torch.tensor([100.0])
    windows = turned_windows(start.expand(20_000, 3, 3), targets.unflatten(-1, (3, 3)), lags)
    model = trained([8, 1, 17], [[0, 1], [0, 2]], windows, 100.0, 60)
    covariance = root @ root.T
    for solver, steps in SOLVERS.items():
        random = torch.Generator().manual_seed(3)
        with torch.no_grad():
            found = model.sample(
                start[None], torch.zeros(1, 3, 3), lags[None], 20_000, random,
                solver=solver, steps=steps,
            )  # fmt: skip
        moved = (found[0, 0] - start).flatten(1)
        assert (moved.mean(0) - mean).norm() < 0.05 * mean.norm(), solver
        assert (moved.T.cov() - covariance).norm() < 0.05 * covariance.norm(), solver
    with torch.no_grad():
        point = model(start[None], torch.zeros(1, 3, 3), lags[None])[0, 0]
    assert ((point - start).flatten() - mean).norm() < 0.05 * mean.norm()


@pytest.mark.slow
def test_a_jump_process():
    """A bond that jumps between two lengths with known rates: transition matrix within 0.03."""
    generator = torch.Generator().manual_seed(1)
    rates = np.array([[-1 / 60, 1 / 60], [1 / 25, -1 / 25]])
    lags = torch.tensor([10.0, 30.0, 90.0])
    jumps = torch.from_numpy(np.stack([expm(rates * float(lag)) for lag in lags])).float()
    lengths = torch.tensor([1.0, 1.5])

    def bonds(states):
        half = (lengths[states] + 0.03 * torch.randn(states.shape, generator=generator)) / 2
        x = torch.zeros(*states.shape, 2, 3)
        x[..., 0, 0], x[..., 1, 0] = -half, half
        return x

    begin = torch.randint(2, (16_000,), generator=generator)
    end = torch.rand(16_000, 3, generator=generator) < jumps[:, begin, 1].T
    windows = turned_windows(bonds(begin), bonds(end.long()), lags)
    model = trained([6, 8], [[0, 1]], windows, 90.0, 60, weighting="velocity")
    starts = bonds(torch.tensor([0, 1]))
    for solver, steps in SOLVERS.items():
        random = torch.Generator().manual_seed(3)
        with torch.no_grad():
            found = model.sample(
                starts, torch.zeros_like(starts), lags.expand(2, 3), 4000, random,
                solver=solver, steps=steps,
            )  # fmt: skip
        length = (found[..., 0, :] - found[..., 1, :]).norm(dim=-1)
        share = (length > 1.25).float().mean(-1)  # (from, time)
        assert (share - jumps[:, :, 1].T).abs().max() < 0.03, solver
