"""Windows of other data are cut as those of training were, whatever the other data looks like."""

from dataclasses import replace

import numpy as np
import pytest

from gfnode.errors import InputError
from gfnode.experiment import configure, prepare
from gfnode.experiment.held_out import held_out
from gfnode.experiment.provenance import Provenance
from gfnode.readers import Reader
from gfnode.windows.velocities import VelocityRule
from making import wiggle


def windows_of_other_data(trained_on, other, preset="default"):
    atoms = {"windows.state": "all", "windows.score": "all"}
    experiment = configure(preset, {"windows.horizon": 60 * trained_on.step} | atoms)
    dataset = prepare([trained_on], experiment)
    known = Provenance(Provenance.describe([trained_on], [""], Reader()))
    rule = VelocityRule(gap=dataset.parts["train"].gap, steady=preset == "default")
    windows, own = held_out([other], known, experiment, dataset.whole_system, rule)
    assert not own
    return dataset.parts["train"], windows


@pytest.mark.parametrize(("step", "other", "frames"), [(200.0, 50.0, 400), (5.0, 200.0, 400)])
def test_targets_are_superposed_where_they_were_in_training(step, other, frames):
    train, windows = windows_of_other_data(wiggle(1000, step), wiggle(frames, other, seed=1))
    assert (windows.align is None) == (train.align is None)


def test_momenta_are_steadied_where_they_were_in_training():
    def rounded(seed):
        motion = wiggle(21_000, 0.5, seed, velocities=False)
        drift = 1e-4 * np.arange(len(motion))[:, None, None]
        return replace(motion, positions=np.round(motion.positions + drift, 3).astype(np.float32))

    for preset, steadied in (("default", True), ("published", False)):
        _, windows = windows_of_other_data(rounded(0), rounded(1), preset)
        assert (windows.steady is not None) == steadied


@pytest.mark.parametrize("step", [1.0, 5.0])
@pytest.mark.parametrize("velocities", [True, False])
def test_velocities_are_differences_to_the_frame_before_where_they_were_in_training(
    step, velocities
):
    trained_on = wiggle(1000, velocities=False)
    train, windows = windows_of_other_data(trained_on, wiggle(2000, step, velocities=velocities))
    for each in (train, windows):
        assert (each.neighbours == each.starts - 1).all()


def test_files_too_short_to_be_judged_are_told():
    long, short = wiggle(1000, seed=1), wiggle(40, seed=2)
    trained_on = [wiggle(1000), wiggle(300, seed=3)]  # the second is too short for three blocks
    experiment = configure(changes={"windows.horizon": 60 * long.step})
    dataset = prepare(trained_on, experiment)
    known = Provenance(Provenance.describe(trained_on, ["", ""], Reader()))
    rule, system = VelocityRule(gap=dataset.parts["train"].gap), dataset.whole_system
    none = r"file 2 \(40 frames, 195 fs\) gives no windows for a horizon of 300 fs, and is left"
    with pytest.warns(UserWarning, match=none):
        held_out([long, short], known, experiment, system, rule)
    with pytest.warns(UserWarning, match=r"file 2 \(300 frames, .*and is left out"):
        held_out(trained_on, known, experiment, system, rule)
    for frames, span in ((40, 195), (61, 300)):
        said = f"spans {span} fs, expected more than the training horizon, 300 fs; give a longer"
        with pytest.raises(InputError, match=said):
            held_out([wiggle(frames, seed=2)], known, experiment, system, rule)
    held_out([long, wiggle(100, seed=4)], known, experiment, system, rule)  # has windows
    pairs = long[np.arange(1000) % 50 < 2]  # too few frames for all the lags
    with pytest.raises(InputError, match="give a longer trajectory, or one with frames closer"):
        held_out([pairs], known, experiment, system, rule)


def test_data_given_twice_is_told() -> None:
    experiment = configure(changes={"windows.horizon": 300.0})
    dataset = prepare([wiggle(1000)], experiment)
    known = Provenance(Provenance.describe([wiggle(1000)], [""], Reader()))
    rule, other = VelocityRule(gap=dataset.parts["train"].gap), wiggle(500, seed=1)
    with pytest.warns(UserWarning, match="begins with frame 0 of .*frames count twice; remove the"):
        held_out([other, other], known, experiment, dataset.whole_system, rule)


@pytest.mark.parametrize("horizon", [1.0, 1e6])
def test_a_horizon_that_does_not_fit_the_data_is_refused(horizon):
    """That of a run.json that was changed; reports of it ended with a traceback."""
    trained_on = [wiggle(1000)]
    experiment = configure(changes={"windows.horizon": 300.0})
    dataset = prepare(trained_on, experiment)
    known = Provenance(Provenance.describe(trained_on, [""], Reader()))
    rule = VelocityRule(gap=dataset.parts["train"].gap)
    changed = replace(dataset.whole_system, horizon=horizon)
    with pytest.raises(InputError, match=r"the run's horizon is 1 (fs|ns), .* to 4.995 ps"):
        held_out(trained_on, known, experiment, changed, rule)
