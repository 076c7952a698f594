"""Newton's equations in the default model: a molecule of springs, from forces to predictions."""

from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import gfnode
from gfnode import cli, rollout
from gfnode.ase import Propagator
from gfnode.dynamics.newton import NewtonDynamics
from gfnode.dynamics.potential import Potential
from gfnode.errors import InputError
from gfnode.experiment import build_model, configure, prepare
from gfnode.models import Symmetry
from gfnode.models.newton import Newton
from gfnode.prediction import not_in_loss
from gfnode.report import describe_result
from gfnode.trajectory import Trajectory
from gfnode.windows import Batch
from making import Springs, rotation, springs, system_of

HORIZON = 150.0


@cache
def trajectory(temperature=500.0):
    molecule = springs()
    x, v, f = (y[200:] for y in molecule.run(4600, 0.5, temperature=temperature))
    times = np.arange(len(x)) * 0.5
    return Trajectory(x, times, molecule.system.numbers, velocities=v, forces=f, name="springs")


def prepared(motion=None, **changes):
    experiment = configure(changes={"windows.horizon": HORIZON} | changes)
    dataset = prepare([trajectory() if motion is None else motion], experiment)
    model = build_model(experiment, dataset.system)
    parts = dataset.of(model)
    model.prepare(parts["train"])
    return model.eval(), parts


@pytest.fixture(scope="module")
def briefly():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Newton, "_steps", (1000, 1000))
        patch.setattr(Newton, "_batch", 64)
        yield


@pytest.fixture(scope="module")
def fitted(briefly):
    return prepared()


@torch.no_grad()
def error(model, windows):
    b = windows.batch(windows.evenly(500))
    found = model(b.positions, b.velocities, b.lags)
    return float((found - b.targets)[..., model.scored, :].square().mean())


def test_unseen_windows_are_foretold(fitted):
    model, parts = fitted
    assert model.newton.trust.weights[0] > 0.9
    assert model.newton.reach > 50
    assert "no thermostat" in model.found
    assert "% at 15 fs" in model.found
    plain, _ = prepared(**{"model.newton": False})
    assert plain.newton is None
    assert error(model, parts["test"]) < 0.5 * error(plain, parts["test"])


def test_a_potential_that_is_not_trusted_is_told_of(monkeypatch):
    """Where it foretells nothing, w is zero; without forces nothing is learned."""
    monkeypatch.setattr(Newton, "_steps", (5, 5))
    monkeypatch.setattr(Newton, "_fit_trust", lambda *_: None)
    model, _ = prepared()
    assert model.newton.reach == 0
    assert model.found.startswith("the learned potential predicts none of the training windows")
    assert "--set model.newton=false" in model.found
    model, _ = prepared(replace(trajectory(), forces=None)[::7])
    assert model.found == ""


def test_predictions_survive_saving(fitted):
    model, parts = fitted
    experiment = configure(changes={"windows.horizon": HORIZON})
    other = build_model(experiment, model.system).eval()
    assert other.newton.reach == 0
    other.load_state_dict(model.state_dict())
    assert other.newton.reach == model.newton.reach
    assert error(other, parts["test"]) == error(model, parts["test"])


def test_what_is_trained_is_the_rest(fitted):
    model, parts = fitted
    b = parts["test"].batch(slice(0, 8))
    model.train()
    modes = model(b.positions, b.velocities, b.lags)
    model.eval()
    assert (modes - model(b.positions, b.velocities, b.lags)).abs().max() > 1e-3
    assert not any("newton" in name for name, _ in model.named_parameters())


@torch.no_grad()
def test_symmetries_hold_and_the_start_comes_back(fitted):
    model, parts = fitted
    b = parts["test"].batch(slice(0, 8))
    found = model(b.positions, b.velocities, b.lags)
    shift = torch.tensor([3.0, -2.0, 1.0])
    for mirror in (1.0, -1.0):
        matrix = rotation(5) * torch.tensor([1.0, 1.0, mirror])
        x, v, expected = (
            (y.double() @ matrix.mT).float() for y in (b.positions, b.velocities, found)
        )
        ours = model(x + shift, v, b.lags) - shift
        moved = (found - b.positions[:, None]).norm(dim=-1).mean()
        assert (ours - expected).norm(dim=-1).max() < 1e-3 * moved
    alone = model(b.positions[3:4], b.velocities[3:4], b.lags[3:4, [5, 1]])
    assert torch.allclose(alone[0], found[3, [5, 1]], atol=1e-5)
    zero = torch.zeros_like(b.lags)
    assert torch.allclose(
        model(b.positions, b.velocities, zero), b.positions[:, None].expand_as(found), atol=1e-5
    )
    assert Symmetry.PERMUTATION not in model.kept  # another order is another fit
    assert Symmetry.ROTATION in model.kept


@torch.no_grad()
def test_a_trajectory_that_leaves_what_is_known_says_nothing(fitted):
    model, parts = fitted
    b = parts["test"].batch(slice(0, 4))
    torn = b.velocities.clone()
    torn[1, 2] += 1.0  # 1 Å/fs: this atom flies away
    found, _ = model.newton(b.targets, model.frame.conformer, b.positions, torn, b.lags)
    assert torch.equal(found[1, -1], b.targets[1, -1])
    assert not torch.equal(found[0, -1], b.targets[0, -1])
    broken = b.positions.clone()
    broken[:, 1] = broken[:, 0]  # two atoms in one place: forces are not finite
    found, spread = model.newton(b.targets, model.frame.conformer, broken, torn, b.lags)
    assert torch.equal(found, b.targets)
    assert torch.equal(spread, torch.zeros_like(spread))


@torch.no_grad()
def test_trajectories_that_are_known_say_how_far_they_are_apart(fitted, monkeypatch):
    """Also where nothing is followed any more, and the prediction has moved on from there."""
    model, parts = fitted
    b = parts["test"].batch(slice(0, 2))
    newton, count = model.newton, model.newton.dynamics.trajectories
    drifted = b.positions[:, None] + 0.01 * b.lags[..., None, None]
    apart = 0.05 * torch.randn(count, 1, 1, *b.positions.shape[1:])
    monkeypatch.setattr(newton.trust, "reach", 50.0)
    monkeypatch.setattr(
        newton, "_follow", lambda f, x, v, lags: x[:, None] + 0.01 * lags[..., None, None] + apart
    )
    known = torch.ones(count, *b.lags.shape, dtype=torch.bool)
    monkeypatch.setattr(newton.dynamics, "known", lambda found: known)
    for unknown in (0, 3, count - 1):
        known[:unknown] = False
        _, spread = newton(drifted, model.frame.conformer, b.positions, b.velocities, b.lags)
        expected = apart[unknown:].var(0).mean(-1).sqrt() if unknown < count - 1 else 0 * spread
        torch.testing.assert_close(spread, expected.expand_as(spread))


@pytest.mark.parametrize("wrong", ["wild", "not finite"])
def test_what_foretells_nothing_is_not_trusted(monkeypatch, wrong):
    monkeypatch.setattr(Newton, "_steps", (50, 50))
    trajectory_ = trajectory()
    if wrong == "wild":
        forces = np.random.default_rng(0).permutation(trajectory_.forces)
        trajectory_ = replace(trajectory_, forces=30 * forces)
    else:
        monkeypatch.setattr(
            "gfnode.dynamics.potential.Potential.forward", lambda self, x: x * torch.nan
        )
    experiment = configure(changes={"windows.horizon": HORIZON})
    dataset = prepare([trajectory_], experiment)
    model = build_model(experiment, dataset.system)
    parts = dataset.of(model)
    model.prepare(parts["train"])
    b = parts["test"].batch(slice(0, 5))
    found = model.eval()(b.positions, b.velocities, b.lags)
    plain = model.modes(b.positions, b.velocities, b.lags)
    assert model.newton.trust.weights.max() < 0.3
    assert (found - plain).square().mean() < 0.1 * (plain - b.targets).square().mean()


def test_forces_need_not_be_stored(briefly, fitted):
    shown, parts = prepared(replace(trajectory(), forces=None))
    assert shown.newton.trust.weights[0] > 0.9
    assert error(shown, parts["test"]) < 2 * error(fitted[0], fitted[1]["test"])


@pytest.mark.parametrize("stored", [True, False])
def test_atoms_that_are_held_and_bonded(briefly, stored):
    """Their bond does not swing, which is no constraint of the others' motion."""
    molecule, pair = Springs("ethanol", 0.1), [0, 1]
    molecule.masses = molecule.masses.copy()
    molecule.masses[pair] = 1e15
    x, v, f = (y[200:] for y in molecule.run(4600, 0.5))
    forces = np.where(np.isin(np.arange(9), pair)[:, None], 0, f)  # as of LAMMPS
    motion = replace(
        trajectory(),
        positions=x,
        velocities=v if stored else None,
        forces=forces if stored else None,
    )
    model, parts = prepared(motion)
    assert model.system.held.tolist() == pair
    assert model.newton.dynamics.freedoms == 21
    assert model.newton.trust.weights[0] > 0.9
    b = parts["test"].batch(parts["test"].evenly(100))
    start = b.positions, b.velocities, b.lags
    found, modes = ((y - b.targets).square().mean() for y in (model(*start), model.modes(*start)))
    assert found < 0.3 * modes


def test_without_forces_nothing_changes():
    model, _ = prepared(replace(trajectory(), forces=None)[::4])  # every 2 fs
    assert model.newton.reach == 0
    assert Symmetry.PERMUTATION in model.kept


def test_trust_is_fitted_to_what_the_members_have_not_learned(monkeypatch):
    seen = {}

    def fit(self, positions, forces, shown, **_):
        seen["shown"] = shown

    def fit_trust(self, batch, frame, modes, unseen_by):
        seen["batch"], seen["member"] = batch, unseen_by

    monkeypatch.setattr(Potential, "fit", fit)
    monkeypatch.setattr(Newton, "_fit_trust", fit_trust)
    model, parts = prepared()
    windows = parts["train"]
    frames = windows.frames.positions[model.newton.forces(windows).frames]
    batch = seen["batch"]
    assert len(batch.positions) > 20
    for member, start, targets in zip(seen["member"], batch.positions, batch.targets, strict=True):
        learned = frames[seen["shown"][member]]
        for x in (start, *targets):
            assert (learned - x).abs().amax((1, 2)).min() > 0


@torch.no_grad()
def test_the_weight_is_that_of_a_mean_over_members_that_err_alone(monkeypatch):
    """K members, each off by an error of variance σ² where it has not learned: 1 / (1 + σ²/K)."""
    system, members, count = system_of("ethanol"), 3, 600
    newton = Newton(system)
    newton.dynamics = NewtonDynamics(system, Potential(system, 4, members))
    noise = torch.Generator().manual_seed(0)
    truth, errors = torch.randn(2, count, 4, 9, 3, generator=noise)
    unseen_by = torch.arange(count) % members
    # trajectories m, m + K, … are of member m; their own errors are as large, and average out
    turn = torch.arange(newton.dynamics.trajectories) % members
    own = torch.randn(len(turn), 1, 4, 9, 3, generator=noise)
    own = own - torch.stack([own[turn == m].mean(0) for m in range(members)])[turn]
    learned = (turn[:, None] != unseen_by)[..., None, None, None]
    change = truth + own + torch.where(learned, 0.0, errors)
    still = torch.ones(9, dtype=torch.bool)
    still[system.score] = False
    change[..., still, :] = 100.0  # atoms that are not scored
    monkeypatch.setattr(newton, "_changes", lambda known, *_: (change, None))
    lags = 10 * 150 ** torch.rand(count, 4, generator=noise)
    batch = Batch(truth[:, 0], truth[:, 0], lags, 5.0 + truth)
    newton._fit_trust(batch, None, lambda x, v, lags: 5.0 + 0 * truth, unseen_by)
    expected = torch.full_like(newton.trust.weights, 1 / (1 + 1 / members))
    torch.testing.assert_close(newton.trust.weights, expected, atol=0.04, rtol=0)


def test_what_was_found_is_said_in_units():
    """Of w that falls evenly in log τ from 10 fs to 1500 fs; ω = 2πc ν."""
    newton = Newton(system_of("ethanol"))
    newton.trust.load_state_dict({"weights": torch.linspace(1, 0, 16)})
    assert newton.found.startswith("weight of Newton's equations, with no thermostat: 92%")
    assert newton.found.endswith(": 92% at 15 fs, 46% at 150 fs, 0% at 1.5 ps")
    newton.dynamics.rate.fill_(1 / 250)
    assert "with a stochastic thermostat of 250 fs: 92%" in newton.found
    newton.dynamics.frequency.fill_(2 * np.pi * 2.99792458e-5 * 1700)
    newton.dynamics.behind.fill_(0.25)
    assert "with a thermostat of 1700 cm⁻¹: 92%" in newton.found
    assert newton.found.endswith("1.5 ps; velocities are taken to be from 0.25 fs before")


@torch.no_grad()
def test_motion_goes_on_beyond_the_horizon(fitted):
    """A rollout takes velocities from lags around its stride, which is the horizon."""
    model, parts = fitted
    b = parts["test"].batch(slice(0, 20))

    def size(stride):
        rule = rollout.Difference(None, stride)
        lags = torch.tensor([stride, *(stride + each for each in rule.offsets)])
        found = model(b.positions, b.velocities, lags.expand(20, -1))
        return rule(found[:, 0], found[:, 1:], torch.Generator()).square().mean()

    assert size(HORIZON) == pytest.approx(float(size(0.95 * HORIZON)), rel=0.3)


@torch.no_grad()
def test_motions_are_drawn(fitted):
    model, parts = fitted
    assert model.follows
    b = parts["test"].batch(slice(0, 5))

    def draw(seed, x=b.positions, v=b.velocities, lags=b.lags):
        return model.trajectories(x, v, lags, torch.Generator().manual_seed(seed))[0]

    found = draw(1)
    assert torch.equal(found, draw(1))
    assert not torch.equal(found, draw(2))
    early = torch.full_like(b.lags[:, :1], 2.0)
    near = draw(1, lags=early) - model(b.positions, b.velocities, early)
    assert near.abs().max() < 2e-3
    matrix = rotation(5)
    x, v, expected = ((y.double() @ matrix.mT).float() for y in (b.positions, b.velocities, found))
    moved = (found - b.positions[:, None]).norm(dim=-1).mean()
    assert (draw(1, x + 2.0, v) - 2.0 - expected).norm(dim=-1).max() < 1e-3 * moved
    torn = b.velocities.clone()
    torn[1, 2] += 1.0  # 1 Å/fs: this atom flies away
    assert draw(1, v=torn)[1].isnan().all()
    assert torch.equal(draw(1, v=torn)[0], found[0])


def test_forces_move_atoms_that_are_not_in_the_loss(fitted, monkeypatch):
    model, _ = fitted
    said = not_in_loss(model)
    assert said.startswith("6 of 9 atoms were not part of the training loss")
    assert said.endswith("their motion was learned from forces alone")
    monkeypatch.setattr(model.newton.trust, "reach", 0.0)  # forces that were of no use
    assert not_in_loss(model).endswith("their motion was not learned")


@torch.no_grad()
def test_a_drawn_rollout_keeps_its_energy(fitted):
    """Springs without a thermostat."""
    model, parts = fitted
    molecule = springs()
    b = parts["test"].batch(slice(0, 8))

    def energy(x, v):
        kinetic = 0.5 * (torch.from_numpy(molecule.masses) * v.double().square()).sum((1, 2))
        return kinetic + torch.from_numpy(molecule.energy(x.double().numpy()))

    steps = rollout.steps(model, b.positions, b.velocities, HORIZON, sampled=True)
    *_, (_, x, v) = islice(steps, 10)
    assert (energy(x, v) / energy(b.positions, b.velocities)).log().abs().max() < 0.06


def test_models_without_a_potential_draw_nothing(tmp_path):
    model, parts = prepared(**{"model.newton": False})
    assert not model.follows
    b = parts["test"].batch(slice(0, 2))
    with pytest.raises(InputError, match="cannot sample"):
        next(rollout.steps(model, b.positions, b.velocities, HORIZON, sampled=True))


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def run(fitted, tmp_path_factory):
    out = tmp_path_factory.mktemp("springs") / "run"
    changes = {"windows.horizon": HORIZON, "training.epochs": 1}
    return gfnode.fit(trajectory(), out=out, changes=changes)


def test_samples_of_all_lags_are_of_the_same_motions(run):
    told = []
    found = run.sample(trajectory(), ["100fs", "101fs"], 6, frame=4000, advance=told.append)
    assert sum(told) == 12
    for lag, samples in found.items():
        alone = run.sample(trajectory(), [lag], 6, frame=4000)[lag]
        assert np.allclose(alone.positions, samples.positions, atol=1e-6)
    first = found[100.0].positions
    assert np.abs(first[0] - first[1:]).max((1, 2)).min() > 1e-4


def test_training_tells_the_error_of_the_whole_model(run):
    validation = prepare([trajectory()], run.experiment).parts["validation"]
    told = float(run.calibration.error)
    assert told == pytest.approx(error(run.model, validation), rel=1e-3)
    assert told < 0.5 * run.facts["training"]["best_validation_error"]
    assert any(f"the validation error is {told:.4g} Å²" in line for line in describe_result(run))


def test_refused(run, monkeypatch):
    with pytest.raises(InputError, match="a solver and its steps, which belong to diffusion"):
        run.sample(trajectory(), ["10fs"], 2, solver="dpm")
    lost = Newton.sample
    monkeypatch.setattr(
        Newton, "sample", lambda *given, **how: [y * torch.nan for y in lost(*given, **how)]
    )
    with pytest.raises(InputError, match="only 0 of 8 motions from springs, frame 9 stay"):
        run.sample(trajectory(), ["10fs"], 2, frame=9)


def test_motions_that_are_lost_are_drawn_again(run, monkeypatch):
    drawn = Newton.sample

    asked = []

    def some(*given, **how):
        found, speeds = drawn(*given, **how)
        asked.append(len(found))
        if len(asked) == 1:
            found[::2] = torch.nan
        return found, speeds

    monkeypatch.setattr(Newton, "sample", some)
    with pytest.warns(UserWarning, match="2 of 5 motions left the range of the model's potential"):
        found = run.sample(trajectory(), ["10fs"], 3)
    assert len(found[10.0]) == 3
    assert asked == [3, 2]


def test_a_rollout_goes_on_to_the_same_frames(run, tmp_path):
    start = tmp_path / "start.npz"
    trajectory()[:2].save(start)

    def roll(name, length, *more):
        words = ["rollout", str(run.folder), "--start", str(start), "--out"]
        words += [str(tmp_path / name), "--length", length, *more]
        result = CliRunner().invoke(cli.app, words)
        assert result.exit_code == 0, result.output
        return gfnode.load(tmp_path / name).positions

    words = ["rollout", str(run.folder), "--start", str(start), "--out", "a.npz", "--sampled"]
    refused = CliRunner().invoke(cli.app, [*words, "--length", "1ps", "--geometry", "molecule"])
    assert refused.exit_code == 2
    assert "leave --geometry out" in refused.output
    whole = roll("whole.npz", "1ps")
    assert not np.array_equal(whole, roll("means.npz", "1ps", "--means"))
    assert not np.array_equal(whole, roll("other.npz", "1ps", "--seed", "1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gfnode.rollout.record.save_pieces", interrupted)
        with pytest.raises(AssertionError):
            roll("part.npz", "0.5ps")
    assert np.array_equal(whole, roll("part.npz", "1ps", "--resume"))


def test_ase_goes_through_one_motion(run):
    atoms = trajectory()[3000].to_ase()[0]
    times = ["20fs", "40fs"]
    drawn = [Propagator(atoms, run, times=times, sampled=True, seed=seed) for seed in (1, 1, 2)]
    one, same, other = (np.array([frame.positions for frame in each]) for each in drawn)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    stepped = next(iter(Propagator(atoms, run, "20fs")))
    assert np.abs(stepped.positions - one[0]).max() < 0.05
