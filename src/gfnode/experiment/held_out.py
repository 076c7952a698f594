"""Windows that a run has not seen in training."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gfnode.errors import InputError
from gfnode.experiment.experiment import Experiment, prepare
from gfnode.experiment.provenance import Provenance
from gfnode.molecule.cut import warn_of_cut
from gfnode.molecule.order import warn_of_order
from gfnode.molecule.system import System
from gfnode.trajectory import Trajectory
from gfnode.trajectory.lengths import warn_of_unit
from gfnode.units import format_time
from gfnode.windows import Windows
from gfnode.windows.cutting import make_windows, superposes
from gfnode.windows.duplicates import warn_of_duplicates
from gfnode.windows.short import warn_of_length
from gfnode.windows.velocities import VelocityRule


def held_out(
    given: Sequence[Trajectory],
    provenance: Provenance,
    experiment: Experiment,
    system: System,
    rule: VelocityRule,
) -> tuple[Windows, bool]:
    """Windows that training has not seen, over all atoms, and whether they are of its data.

    Parameters
    ----------
    given
        The trajectories of training, all of them, in any order: the test part of their split.
        Others of the same system: windows all over them.
    provenance, experiment, system, rule
        Of the run; the rule is how it took its velocities.

    Raises
    ------
    InputError
        For another system, or for some of the trajectories of training among others: their windows
        would not all be unseen.
    """
    arranged = provenance.arrange(given)
    if arranged is not None:
        return _test_part(arranged, experiment, system), True
    _check_others(given, provenance, system)
    windows = _all_over(given, experiment, system, rule)
    _warn_of_velocities(windows, system, rule, given[0].label)
    return windows, False


def _test_part(arranged: Sequence[Trajectory], experiment: Experiment, system: System) -> Windows:
    """Test windows of the data of training."""
    windows = prepare(arranged, experiment).parts["test"]
    least, most = float(windows.lags.min()), sum(each.span for each in arranged)
    if not least <= system.horizon * (1 + 1e-6) <= most * (1 + 2e-6):
        raise InputError(
            f"the run's horizon is {format_time(system.horizon)}, expected {format_time(least)} "
            f"(the shortest lag of its test windows) to {format_time(most)} (the length of its "
            "data): run.json was changed; train again"
        )
    warn_of_length(arranged, experiment.windows, windows, system.horizon)
    return windows


def _check_others(given: Sequence[Trajectory], provenance: Provenance, system: System) -> None:
    """Refuse other data than of the system, seen in training, or too short; warn of its defects."""
    for trajectory in given:
        if provenance.holds(trajectory):
            raise InputError(
                f"this run was trained on {trajectory.label}: give all {len(provenance.entries)} "
                "training trajectories to evaluate on their test part, or only other trajectories"
            )
        if not np.array_equal(trajectory.numbers, system.source_numbers):
            system.state_of(trajectory)  # says what is wrong, if something is
            raise InputError(
                f"{trajectory.label} holds only the state atoms; evaluation compares with "
                "baselines that need all atoms"
            )
        warn_of_unit(trajectory)
        warn_of_order(system.state_of(trajectory), system)
        warn_of_cut(system.state_of(trajectory), system)
    warn_of_duplicates(given)
    longest = max(given, key=lambda each: each.span)
    if longest.span <= system.horizon:
        raise InputError(
            f"{longest.label} is too short to evaluate on: it spans {format_time(longest.span)}, "
            f"expected more than the training horizon, {format_time(system.horizon)}; give a "
            "longer trajectory"
        )


def _all_over(
    given: Sequence[Trajectory], experiment: Experiment, system: System, rule: VelocityRule
) -> Windows:
    """Windows all over other trajectories, cut like those of training."""
    if system.source_masses is not None:  # most files hold none
        given = [replace(each, atom_masses=system.source_masses) for each in given]
    gap, kind = rule.gap, rule.kind
    if kind == "auto" and gap is not None and not rule.takes_stored:
        given = [replace(each, velocities=None) for each in given]
        kind = "forward" if gap > 0 else "backward"  # differences over a time, as in training
    as_trained = {
        "velocities": kind,
        "horizon": system.horizon,
        "split": "all",
        "align": superposes(experiment.windows, system.time_step),
    }
    settings = experiment.windows.model_copy(update=as_trained)
    windows = make_windows(given, settings, gap)[0]["test"]
    warn_of_length(given, settings, windows, system.horizon)
    return windows if rule.steady else replace(windows, steady=None)


def _warn_of_velocities(windows: Windows, system: System, rule: VelocityRule, label: str) -> None:
    """Warn of velocities over longer times than those of training, or of another temperature."""
    if (gaps := windows.velocity_gaps) is not None:
        toward = 1 if bool((gaps > 0).all()) else -1
        rule.warn_if_far(float(gaps.abs().max()), system.time_step, toward)
    over = None if gaps is None else float(gaps.abs().median())
    if rule.heat is not None and rule.alike(over):
        some = windows.select(system.atoms).batch(windows.evenly(500))
        x, v = some.positions.numpy(), some.velocities.numpy()
        rule.heat.warn_of(v, system.masses, x, over, label, stacklevel=4)
