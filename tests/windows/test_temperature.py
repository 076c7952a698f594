"""Starts that move as none of training did are told, with what may be the cause."""

from dataclasses import replace

import numpy as np
import pytest

import gfnode
from gfnode.run import Run
from gfnode.trajectory.temperature import kinetic_temperature
from gfnode.units import BOLTZMANN
from gfnode.windows.temperature import StartTemperatures, rounding_temperature


def maxwell(starts: int, kelvin: float) -> tuple[np.ndarray, np.ndarray]:
    """Velocities of a heat bath, and masses."""
    masses = np.array([12.0, 1.0, 1.0, 16.0])
    spread = np.sqrt(BOLTZMANN * kelvin / masses)[:, None]
    return spread * np.random.default_rng(0).normal(size=(starts, 4, 3)), masses


def test_a_heat_bath_has_its_temperature():
    found = kinetic_temperature(*maxwell(40_000, 300.0))
    assert found.mean() == pytest.approx(300.0, rel=0.01)
    assert found.std() == pytest.approx(300.0 * np.sqrt(2 / 12), rel=0.03)  # 12 squares of normals


def test_many_starts_are_judged_by_their_median_and_one_is_given_slack():
    v, masses = maxwell(100, 300.0)
    x = v.astype(np.float32)
    heat = StartTemperatures.of(v, masses, x, None)
    heat.warn_of(v, masses, x, None, "same")
    one = v[kinetic_temperature(v, masses).argmax()][None]
    heat.warn_of(1.3 * one, masses, x, None, "hot")
    with pytest.warns(UserWarning, match="hotter: atoms start at .* K, in training at "):
        heat.warn_of(1.5 * one, masses, x, None, "hotter")
    with pytest.warns(UserWarning, match="many: atoms start at"):
        heat.warn_of(2.5 * v, masses, x, None, "many")
    with pytest.warns(UserWarning, match="rest: atoms start at 0 K"):
        heat.warn_of(0 * one, masses, x, None, "rest")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    changes = {"model.name": "mean-conformer", "windows.horizon": "100fs"}
    sample = gfnode.load("sample:toluene")[:600]
    folder = tmp_path_factory.mktemp("heat") / "run"
    return gfnode.fit(sample, changes=changes, out=folder, progress=False)


def test_a_wrong_time_step_and_rest_are_told(run):
    other = gfnode.load("sample:toluene")[700:1300]
    run.predict(other, ["20fs"])
    run.evaluate(other, save=False)
    moving = replace(other, velocities=None, times=0.1 * other.times, time_step=None)
    told = "K, in training at .* check the time between frames"
    for ask in (lambda: run.predict(moving, ["20fs"]), lambda: run.evaluate(moving, save=False)):
        with pytest.warns(UserWarning, match=told):
            ask()
    still = replace(other, velocities=np.zeros_like(other.positions))
    with pytest.warns(UserWarning, match=r"start at 0 K, .* was not trained on atoms at rest"):
        run.predict(still, ["20fs"])


def test_velocities_that_see_less_are_not_compared(run, tmp_path):
    """Differences over 20 fs miss fast motion; stored velocities see more than those over 100."""
    other = gfnode.load("sample:toluene")[700:1300]
    apart = replace(other, velocities=None)[::4]
    for frame in range(1, 100, 10):
        run.predict(apart, ["20fs"], frame=frame)
    run.evaluate(replace(other, velocities=None)[::2], save=False)
    coarse = gfnode.load("sample:toluene", stride=20)
    changes = {"model.name": "mean-conformer", "windows.horizon": "600fs", "windows.times": 4}
    bare = replace(coarse, velocities=None)
    slow = gfnode.fit(bare, changes=changes, out=tmp_path / "slow", progress=False)
    with pytest.warns(UserWarning) as told:  # noqa: PT030
        slow.predict(coarse[5], ["100fs"])
    (said,) = [str(each.message) for each in told]
    assert "trained on velocities from frames 100 fs apart" in said


def test_velocities_of_rounded_positions_are_told(run):
    other = gfnode.load("sample:toluene")[700:1300]
    times = 0.1 * other.times  # so that rounding makes most of the difference
    coarse = np.round(other.positions, 1).astype(np.float32)
    rounded = replace(other, positions=coarse, velocities=None, times=times, time_step=None)
    with pytest.warns(
        UserWarning,
        match=r"rounded to 0\.1 Å, too coarse for velocities from differences over 0\.5 fs",
    ):
        run.predict(rounded, ["20fs"])


@pytest.mark.parametrize(
    ("share", "why"), [(0.31, "rounded to 0.01 Å"), (0.29, "check the time between")]
)
def test_rounding_explains_a_temperature_of_which_it_is_a_third(share, why):
    """Differences of numbers rounded to q over g are off by q²/6g² in the mean square."""
    q, gap, masses = 0.01, 2.0, np.full(4, 12.0)
    positions = np.random.default_rng(0).integers(-500, 500, size=(5, 4, 3)) * q
    velocities = np.full(positions.shape, q / gap / np.sqrt(6 * share))
    these = velocities, masses, positions.astype(np.float32), gap, "these"
    with pytest.warns(UserWarning, match=why):
        StartTemperatures(1e-3, 1e-3, 0.0).warn_of(*these)
    noise = rounding_temperature(q, gap, masses)
    StartTemperatures(1e-3, 1e3, noise).warn_of(
        *these
    )  # none of this is hot, and training was as coarse
    if share > 0.3:
        with pytest.warns(UserWarning, match=why):
            StartTemperatures(1e-3, 1e3, noise / 3).warn_of(*these)
    else:
        StartTemperatures(1e-3, 1e3, noise / 3).warn_of(*these)


def test_rounding_of_training_is_seen():
    v, masses = maxwell(100, 300.0)
    x = np.random.default_rng(0).normal(size=v.shape)
    coarse = StartTemperatures.of(v, masses, np.round(x, 2).astype(np.float32), -0.5)
    assert coarse.rounding == pytest.approx(masses.mean() * 1e-4 / (6 * 0.25) / BOLTZMANN)
    assert StartTemperatures.of(v, masses, np.round(x, 2).astype(np.float32), None).rounding == 0.0


def test_runs_of_an_earlier_gfnode_say_nothing(run):
    facts = {k: v for k, v in run.facts.items() if k != "start_temperature_k"}
    earlier = Run(run.folder, run.experiment, run.model, facts)
    other = gfnode.load("sample:toluene")[700:]
    earlier.predict(replace(other, velocities=np.zeros_like(other.positions)), ["20fs"])
