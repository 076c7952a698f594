"""A rollout as tables and sentences for the console; from its JSON, null being not finite."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from gfnode.report.numbers import BOUNDLESS, cell, three, with_interval
from gfnode.report.sentences import seen_from
from gfnode.report.tables import in_one_unit, plain_table
from gfnode.trajectory import FAR_GAP
from gfnode.units import format_time

DRIFTS = {
    "bonds (Å)": "bond_drift_angstrom",
    "angles (°)": "angle_drift_degree",
    "radius of\ngyration (Å)": "radius_of_gyration_drift_angstrom",
}
MOST_LAGS = 12
"""Rows of the table of errors."""


def describe_rollout(result: Mapping[str, Any]) -> Iterator[str]:
    """What broke, and when."""
    reached = (result["frames"] - 1) * result["every_fs"]
    yield (
        f"{result['model']} from {result['start']}: {format_time(reached)} in strides of "
        f"{format_time(result['stride_fs'])}, velocities {_VELOCITIES[result['velocities']]}"
    )
    if (ended := result["ended"]) is not None:
        yield f"stopped at {format_time(ended['time_fs'])}: {ended['why']}"
    if result["training"] is None:
        return
    for key, what, side in (
        ("first_broken_bond", "broken bond", "above"),
        ("first_clash", "clash", "below"),
    ):
        if (event := result[key]) is None:
            yield f"first {what}: none"
            continue
        i, j = event["atoms"]
        yield (
            f"first {what}: at {format_time(event['time_fs'])}, atoms {i} and {j}, "
            f"{event['distance_angstrom']:.3g} Å apart ({side} {event['bound_angstrom']:.3g} Å); "
            f"{100 * event['share_of_frames']:.3g} % of frames have one"
        )


_VELOCITIES = {
    "derivative": "from the time derivative of the prediction",
    "next-frame": "from the predicted next frame",
    "frame-before": "from the predicted previous frame",
    "drawn": "drawn at random",
    "integrated": "from the integrated motion",
}


def drift_table(result: Mapping[str, Any]) -> Table:
    """How far distributions drift from those of training, and how hot it is, by stretch."""
    table = plain_table("Distance of distributions from the training data, and kinetic temperature")
    parts = [*result["stretches"], result["training"]]  # a molecule of two atoms has no angle
    drifts = {k: v for k, v in DRIFTS.items() if any(each[v] is not None for each in parts)}
    for title in drifts:
        table.add_column(title, justify="right")
    table.add_column("kinetic\ntemperature (K)", justify="right")
    gap = abs(result["velocity_gap_fs"] or 0.0)
    unknown = gap > FAR_GAP
    doubt = f"unknown from frames {format_time(gap)} apart" if unknown else seen_from(gap)
    if doubt:
        table.caption = f"Temperatures: {doubt}."
        table.caption_justify = "left"
    training = result["training"]
    stretches = result["stretches"]
    ends = in_one_unit([fs for each in stretches for fs in (each["begin_fs"], each["end_fs"])])
    rows = [
        (f"{begin.split()[0]} to {end}", each)
        for begin, end, each in zip(ends[::2], ends[1::2], stretches, strict=True)
    ]
    for name, values in (*rows, ("training stretches", training)):
        warm = None if unknown else values["temperature_k"]
        cells = [three(value) for value in (*(values[key] for key in drifts.values()), warm)]
        table.add_row(name, *cells, style="bold" if values is training else "")
    return table


def growth_table(result: Mapping[str, Any]) -> Table:
    """Errors of all methods by lag."""
    errors = result["errors"]
    table = plain_table(
        f"Root-mean-square error per coordinate in Å, {errors['starts']} starts, with 95 % "
        "intervals over blocks of time"
    )
    methods = errors["methods"]
    for name in methods:
        table.add_column(name.replace("-", "\n"), justify="right")
    lags = errors["lags_fs"]
    every, shown = -(-len(lags) // MOST_LAGS), in_one_unit(lags)
    for k in range((len(lags) - 1) % every, len(lags), every):
        cells = [cell(each["rmse_angstrom"][k], _angstrom) for each in methods.values()]
        table.add_row(shown[k], *cells)
    return table


def growth_sentences(result: Mapping[str, Any]) -> Iterator[str]:
    """How fast errors grow, and how long they stay below others."""
    for name in ("rollout", "direct"):
        method = result["errors"]["methods"][name]
        if (rate := method["growth_per_ps"]) is None:
            yield f"{name}: too few lags for an error growth rate"
        else:
            yield (
                f"{name}: initial exponential growth rate of the error {with_interval(rate)} /ps, "
                f"over {rate['count']} lags"
            )
        for other, kind in _OTHERS.items():
            yield f"{name}: {_against(name, other, result['errors'], kind)}"


def _against(name: str, other: str, errors: Mapping[str, Any], kind: str) -> str:
    """How long an error is below another; errors of what swings may meet more than once."""
    when = errors["methods"][name][f"reaches_{other}_fs"]
    if when == 0.0:
        return f"error never below that of {kind}"
    if when is not None:
        return f"error no longer below that of {kind} from {format_time(when)} on"
    ours, theirs = (
        [each["value"] for each in errors["methods"][method]["rmse_angstrom"]]
        for method in (name, other)
    )
    pairs = zip(ours, theirs, strict=True)  # None: without bound
    above = sum(b is not None and (a is None or a >= b) for a, b in pairs)
    if not above:
        return f"error below that of {kind} at all lags"
    return f"error below that of {kind} in the end, but not at {above} of {len(ours)} lags"


_OTHERS = {"persistence": "persistence", "unrelated": "unrelated conformations"}


def _angstrom(value: float | None) -> str:
    return BOUNDLESS if value is None else f"{value:.3f}"
