"""A run in words that a chemist reads: what was learned, how well, and where it fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.metrics import Blocks, Verdict, paired_verdict
from gfnode.metrics.lags import lag_bins
from gfnode.report.numbers import rough
from gfnode.report.sentences import AGAINST, SHOWN, given
from gfnode.report.tables import error_bars, molecules, symmetries, verdict
from gfnode.units import count, format_time

FEW_BLOCKS = 10
BASELINES = {
    "persistence": "nothing moves",
    "constant-velocity": "every atom keeps its start velocity",
    "mean-conformer": "the mean conformation, superposed on the start",
    "rigid-rotor": "the mean conformation, moving as a free rigid body",
}


@dataclass(frozen=True, eq=False)
class Windows:
    """Errors of single windows, as ``errors.npz`` holds them.

    Parameters
    ----------
    errors
        By method, ``(window, time)`` in Å² per coordinate.
    lags_fs
        ``(window, time)``.
    starts_fs, segments
        ``(window,)``.
    """

    errors: Mapping[str, NDArray[np.float64]]
    lags_fs: NDArray[np.float64]
    starts_fs: NDArray[np.float64]
    segments: NDArray[np.int64]


def rms(error: float | None) -> float | None:
    """Root mean square distance per atom in Å from a mean squared error per coordinate in Å²."""
    return None if error is None else sqrt(3 * error)


def angstrom(error: float | None) -> str:
    """:func:`rms` in words."""
    value = rms(error)
    if value is None:
        return "unbounded"
    return f"{rough(value)} Å"


def rms_interval(estimate: Mapping[str, Any]) -> str:
    """The 95 % interval of :func:`rms` with its unit, or nothing."""
    low, high = rms(estimate["low"]), rms(estimate["high"])
    return "" if low is None or high is None else f"{rough(low)} to {rough(high)} Å"


def interval(estimate: Mapping[str, Any]) -> str:
    """The same in words."""
    found = rms_interval(estimate)
    return f" (95 % interval {found})" if found else ""


def verdicts_by_lag(evaluation: Mapping[str, Any], windows: Windows) -> list[Verdict | None]:
    """The model against the best trivial baseline in each lag bin, paired over blocks of time.

    None where a bin holds no lag.
    """
    blocks = Blocks.of(windows.starts_fs, evaluation["horizon_fs"], windows.segments)
    ours, theirs = (
        windows.errors[name] for name in (evaluation["model"], evaluation["best_trivial"])
    )
    edges = np.asarray(evaluation["methods"][evaluation["model"]]["lag_edges_fs"])
    bins = lag_bins(windows.lags_fs, edges)
    found: list[Verdict | None] = []
    for number in range(len(edges) - 1):
        inside = bins == number
        a, b = (np.where(inside, each, 0.0) for each in (ours, theirs))
        found.append(paired_verdict(a, b, blocks) if inside.any() else None)
    return found


def trained_on(facts: Mapping[str, Any], weights: int) -> list[str]:
    """The model, its training data and its test windows."""
    system, settings = facts["system"], facts["experiment"]
    data, model = facts["data"], settings["model"]["name"]
    span, frames = sum(each["span_fs"] for each in data), sum(each["frames"] for each in data)
    several = f" in {len(data)} trajectories" if len(data) > 1 else ""
    atoms, state, scored = (len(system[key]) for key in ("source_numbers", "atoms", "score"))
    shown = f"all {atoms} atoms" if state == atoms else f"{state} of the {atoms} atoms"
    heavy = all(system["source_numbers"][system["atoms"][k]] > 1 for k in system["score"])
    kind = "heavy atoms" if heavy and settings["windows"]["score"] == "heavy" else "atoms"
    learnt = f"with {count(weights, 'weight')}" if weights else "which has no weights"
    return [
        f"{model}, {learnt}, was trained and tested on {format_time(span)} of molecular dynamics "
        f"of {molecules(facts)}: {frames} frames{several}.",
        f"From one conformation of {shown} and {given(facts.get('velocity_gap_fs'))}, it predicts "
        f"the conformation at any time up to {format_time(system['horizon_fs'])} later. Errors "
        f"are averaged over {'the ' if scored < state else 'all '}{scored} {kind}.",
        _apart(facts),
        *([f"{doubt[0].upper()}{doubt[1:]}."] if (doubt := facts.get("doubt")) else []),
    ]


def _apart(facts: Mapping[str, Any]) -> str:
    """How training and test are kept apart."""
    split, windows = facts["experiment"]["windows"]["split"], facts["windows"]
    horizon = format_time(facts["system"]["horizon_fs"])
    if split == "blocked":
        return (
            f"It was trained on {windows['train']} windows; the {windows['test']} test windows are "
            f"from a later stretch of time, after a gap of at least {horizon}."
        )
    return (
        f"The split is {split!r}: test windows may share frames with training windows, so "
        "errors are optimistic."
    )


def how_good(evaluation: Mapping[str, Any], physics: Mapping[str, Any]) -> list[str]:
    """Errors compared with the best trivial baseline; ``physics`` may be empty."""
    model, best, methods = evaluation["model"], evaluation["best_trivial"], evaluation["methods"]
    ours, theirs = (methods[name]["mean_over_lags"] for name in (model, best))
    shape = methods[model]["superposed_mean_over_lags"]["value"]
    words = [
        f"On {evaluation['windows']} test windows, the root-mean-square (rms) error of an atom "
        f"over all windows and lags is {angstrom(ours['value'])}{interval(ours)}. The best trivial "
        f"baseline, {best} ({BASELINES.get(best, 'trivial')}), has {angstrom(theirs['value'])}.",
        f"{model} is {verdict(evaluation, best)}.",
    ]
    if shape is not None and ours["value"]:
        words.append(
            f"After superposition on the true molecule, the rms error is {angstrom(shape)}: "
            f"{100 * shape / ours['value']:.0f} % of the squared error is in the shape, the rest "
            "in position and orientation."
        )
    words += _spread(model, physics)
    if (bars := error_bars(evaluation)) is not None:
        words.append(f"{bars[0].upper()}{bars[1:]}.")
    if (kept := symmetries(evaluation)) is not None:
        words.append(f"{kept[0].upper()}{kept[1:]}.")
    if evaluation["blocks"] == 1:
        words.append(
            "The test part is a single block of time, so there are no intervals; a longer test "
            "part gives some."
        )
    elif evaluation["blocks"] < FEW_BLOCKS:
        words.append(
            f"The test part has only {evaluation['blocks']} blocks of time of one horizon each, so "
            "intervals are wide; a longer test part narrows them."
        )
    return words


def _spread(model: str, physics: Mapping[str, Any]) -> list[str]:
    """The error of the shape beside what dynamics itself spreads by."""
    found = physics.get("shape", {}).get("quantities", {}).get("rmsd_superposed", {})
    names = (model, "persistence", "constant", "floor")
    off = [found.get("methods", {}).get(each, {}).get("error", {}).get("value") for each in names]
    if None in off:
        return []
    ours, start, mean, floor = off
    verdict = "which is less" if ours < floor else "which is no less"
    return [
        f"Two unrelated MD frames differ by {floor:.2g} Å in shape (mean RMSD after "
        f"superposition). Predictions differ from the truth by {ours:.2g} Å, {verdict}; the "
        f"unchanged start by {start:.2g} Å, the mean conformation by {mean:.2g} Å."
    ]


def where_it_fails(
    evaluation: Mapping[str, Any],
    by_lag: Sequence[Verdict | None],
    atom_errors: Mapping[str, NDArray[np.float64]],
    labels: Sequence[str],
) -> list[str]:
    """At which lags and atoms the errors are.

    Parameters
    ----------
    by_lag
        Of :func:`verdicts_by_lag`.
    atom_errors, labels
        Errors in Å² per coordinate and names of the scored atoms.
    """
    model, best = evaluation["model"], evaluation["best_trivial"]
    edges = evaluation["methods"][model]["lag_edges_fs"]
    bins = [
        (low, high, found.verdict)
        for low, high, found in zip(edges[:-1], edges[1:], by_lag, strict=True)
        if found is not None
    ]
    runs = [(kind, list(group)) for kind, group in groupby(bins, key=lambda each: each[2])]
    stretches = [f"{SHOWN[kind]} {_between(group[0][0], group[-1][1])}" for kind, group in runs]
    words = []
    if len(runs) == 1:
        words.append(f"At all lags it is {AGAINST[runs[0][0]]} {best}.")
    elif stretches:
        words.append(f"Against {best}, by lag: {'; '.join(stretches)}.")
    words.append(_growth(evaluation["methods"][model]))
    errors = np.asarray(atom_errors[model])
    if len(errors) > 1 and np.isfinite(errors).all():
        order = np.argsort(-errors, kind="stable")
        worst, least = [labels[i] for i in order[: min(3, len(order) - 1)]], labels[order[-1]]
        most, fewest = angstrom(errors[order[0]]), angstrom(errors[order[-1]])
        if most == fewest:  # which is which would be chance
            words.append(f"All atoms have the same error ({most}).")
        elif len(worst) == 1:
            words.append(f"{worst[0]} is predicted worst ({most}), {least} best ({fewest}).")
        else:
            words.append(
                f"The atoms predicted worst are {', '.join(worst)} ({most} for {worst[0]}), the "
                f"best is {least} ({fewest})."
            )
    return words


def _between(low: float, high: float) -> str:
    return f"{f'from {format_time(low)} ' if low else 'up '}to {format_time(high)}"


def _growth(method: Mapping[str, Any]) -> str:
    edges = method["lag_edges_fs"]
    filled = [
        (low, high, each)
        for low, high, each in zip(edges[:-1], edges[1:], method["by_lag"], strict=True)
        if each["count"]
    ]
    first, worst = filled[0], max(filled, key=lambda each: each[2]["value"] or np.inf)
    return (
        f"The rms error is {angstrom(first[2]['value'])} at lags up to {format_time(first[1])} and "
        f"largest, {angstrom(worst[2]['value'])}, at lags {_between(*worst[:2])}."
    )
