"""Cells of tables: numbers with their intervals, verdicts."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from markupsafe import Markup, escape

from gfnode.report.numbers import Digits, ends, hundredths
from gfnode.report.sentences import SHOWN

_INTERVAL = Markup(' <span class="interval">[{}, {}]</span>')
_VERDICT = Markup('<span class="verdict {}">{}</span>')


def with_interval(
    estimate: Mapping[str, Any], digits: Digits = hundredths, between: Digits | None = None
) -> Markup:
    """A value, and its 95 % interval where there is one; its ends may have other digits."""

    def minus(value: float | None, digits: Digits = digits) -> str:
        return digits(value).replace("-", "−")

    found = ends(estimate, partial(minus, digits=between or digits))
    return escape(minus(estimate["value"])) + (_INTERVAL.format(*found) if found else "")


def verdict_cell(word: str) -> Markup:
    """A verdict in its colour."""
    return _VERDICT.format(word, SHOWN.get(word, word))
