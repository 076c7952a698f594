"""Cells of tables: numbers with their intervals, verdicts."""

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from gfnode.report.tables import hundredths

_INTERVAL = Markup(' <span class="interval">[{}, {}]</span>')
_VERDICT = Markup('<span class="verdict {}">{}</span>')
NOTHING = "–"


def three(value: float | None) -> str:
    """Three digits; ∞ where JSON has null."""
    return "∞" if value is None else f"{value:.3g}"


def with_interval(
    estimate: Mapping[str, Any], digits: Callable[[float | None], str] = hundredths
) -> str:
    """A value, and its 95 % interval where there is one; a count of nothing has none."""
    value = digits(estimate["value"])
    low, high = estimate["low"], estimate["high"]
    if low is not None and high is not None and (low, high) != (0.0, 0.0):
        ends = (digits(each).replace("-", "−") for each in (low, high))
        value = Markup("{}").format(value) + _INTERVAL.format(*ends)
    return value.replace("-", "−") if not isinstance(value, Markup) else value


def verdict_cell(word: str) -> Markup:
    """A verdict in its colour."""
    return _VERDICT.format(word, {"indistinguishable": "no difference shown"}.get(word, word))
