"""An evaluation as tables and sentences for the console."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from gfnode.report.numbers import cell, hundredths, times
from gfnode.report.sentences import called
from gfnode.terminal import titled_table
from gfnode.units import FS_PER, format_time

COLUMNS = {
    "per coordinate,\nmean over lags": "mean_over_lags",
    "per coordinate,\nlast lag": "last_lag",
    "eq. 14 (per atom),\nmean over lags": "eq14_mean_over_lags",
    "superposed,\nmean over lags": "superposed_mean_over_lags",
}
BROKEN = 0.01
"""A symmetry is broken where predictions differ by more than so much of the motion (rms)."""

_WORDS = {"better": "better than", "worse": "worse than"}


def error_table(evaluation: Mapping[str, Any]) -> Table:
    """Mean errors of every method, with their intervals; ``evaluation.json`` read as JSON."""
    table = plain_table("Mean squared error in 10⁻² Å², with 95 % intervals over blocks of time")
    for title in COLUMNS:
        table.add_column(title, justify="right")
    for name, method in evaluation["methods"].items():
        cells = [cell(method[key], hundredths) for key in COLUMNS.values()]
        table.add_row(name, *cells, style="bold" if name == evaluation["model"] else "")
    return table


def lag_table(evaluation: Mapping[str, Any]) -> Table:
    """Errors by lag, in those bins in which there are any."""
    table = plain_table("Mean squared error per coordinate in 10⁻² Å², by lag")
    own = evaluation["methods"][evaluation["model"]]
    bins = [number for number, each in enumerate(own["by_lag"]) if each["count"]]
    ends = in_one_unit(own["lag_edges_fs"][1:])
    for number in bins:
        table.add_column(f"up to\n{ends[number]}", justify="right")
    for name, method in evaluation["methods"].items():
        cells = [hundredths(method["by_lag"][number]["value"]) for number in bins]
        table.add_row(name, *cells, style="bold" if name == evaluation["model"] else "")
    return table


def molecules(facts: Mapping[str, Any]) -> str:
    """Names and formulas of what a run learnt, from its ``run.json``."""
    return ", ".join(dict.fromkeys(called(d["name"], d["formula"]) for d in facts["data"]))


def in_one_unit(times_fs: Sequence[float]) -> list[str]:
    """Times of one column or row with the unit that reads best for the longest."""
    unit = format_time(max(times_fs, default=0.0)).split()[1]
    return [f"{fs / FS_PER[unit]:.4g} {unit}" for fs in times_fs]


def verdict(evaluation: Mapping[str, Any], other: str, note: str = "") -> str:
    """How the model compares with another method on the same windows; a note names what that is."""
    found = evaluation["verdicts"][other]
    text = f"{_WORDS.get(found['verdict'], 'indistinguishable from')} {other}{note}"
    ratio = found["ratio"]
    if ratio["value"] is None:
        return text
    text += f": {times(ratio['value'])} times its MSE"
    if ratio["low"] is None:
        return text + " (a single block of time gives no interval)"
    return text + f" (95 % interval {times(ratio['low'])} to {times(ratio['high'])})"


def verdicts(evaluation: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for every baseline; the best of the trivial ones is named."""
    for name in evaluation["verdicts"]:
        best = " (best trivial baseline)" if name == evaluation["best_trivial"] else ""
        yield f"{evaluation['model']} is {verdict(evaluation, name, best)}"


def error_bars(evaluation: Mapping[str, Any]) -> str | None:
    """A sentence on how many coordinates lie within the standard deviations predicted."""
    if (found := evaluation.get("error_bars")) is None:
        return None
    share, low, high = (found["inside"][key] for key in ("value", "low", "high"))
    interval = "" if low is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
    shares = [100 * each["value"] for each in found["by_lag"] if each["count"]]
    return (
        f"error bars: {100 * share:.1f} %{interval} of the coordinates lie within one predicted "
        f"standard deviation, {min(shares):.0f} to {max(shares):.0f} % by lag, expected "
        f"{100 * found['expected']:.1f} %"
    )


def symmetries(evaluation: Mapping[str, Any]) -> str | None:
    """A sentence on the symmetries of the model; None of evaluations that did not measure them."""
    if not (found := evaluation.get("symmetries")):
        return None
    shares = {name: each["broken_by"] for name, each in found.items()}
    broken = [name for name, share in shares.items() if share is None or not share < BROKEN]
    if not broken:
        most = _percent(max(shares.values()))
        return f"symmetries with these weights: all kept, to within {most} of the predicted motion"
    said = ", ".join(f"{name} by {_percent(shares[name])}" for name in broken)
    against = [name for name in broken if found[name]["promised"]]
    after = f"; the model should keep {' and '.join(against)}" if against else ""
    return f"symmetries broken with these weights: {said} of the predicted motion{after}"


def _percent(share: float | None) -> str:
    return "any amount" if share is None else f"{100 * share:.2g} %"


def plain_table(title: str, first: str = "") -> Table:
    """A table with rows by name."""
    return titled_table(Text(title), Column(first, no_wrap=True))
