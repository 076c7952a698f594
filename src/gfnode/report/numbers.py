"""Numbers and their 95 % intervals as people read them; null in JSON is None here."""

import math
from collections.abc import Callable, Mapping
from typing import Any

NOTHING, BOUNDLESS = "–", "∞"

Digits = Callable[[float | None], str]


def three(value: float | None, nothing: str = NOTHING) -> str:
    """Three digits, and all of those before the point."""
    if value is None:
        return nothing
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def terse(value: float | None, nothing: str = NOTHING) -> str:
    """The same for narrow tables, where next to nothing is not told exactly."""
    return "<0.0001" if value is not None and 0 < abs(value) < 1e-4 else three(value, nothing)


def hundredths(value: float | None) -> str:
    """An error in 10⁻² Å², or a share in %, with three digits; an unknown error is boundless."""
    return three(None if value is None else 100 * value, BOUNDLESS)


def signed(value: float | None) -> str:
    """A correlation."""
    return NOTHING if value is None else f"{value:+.2f}"


def rough(value: float) -> str:
    """Two digits, which is what estimates have; whole numbers from ten up."""
    return f"{value:.2g}" if abs(value) < 9.95 else f"{value:.0f}"


def two(value: float | None) -> str:
    """The same where there is one."""
    return NOTHING if value is None else rough(value)


def times(ratio: float) -> str:
    """A ratio with three digits, or as many as tell it from one."""
    away = abs(ratio - 1)
    if not 0 < away < 0.005:
        return f"{ratio:.3g}"
    return f"{ratio:.{min(9, -math.floor(math.log10(away)))}f}"


def ends(estimate: Mapping[str, Any], digits: Digits) -> tuple[str, str] | None:
    """Ends of the interval, where there is one, and the digits tell them from the value."""
    low, high = estimate["low"], estimate["high"]
    if low is None:
        return None
    found = digits(low), BOUNDLESS if high is None else digits(high)
    return None if {*found} == {digits(estimate["value"])} else found


def with_interval(estimate: Mapping[str, Any], digits: Digits = three) -> str:
    """A value and its interval: ``1.5 [1.4, 1.6]``."""
    value, found = digits(estimate["value"]), ends(estimate, digits)
    return f"{value} [{', '.join(found)}]" if found else value


def cell(estimate: Mapping[str, Any], digits: Digits = three) -> str:
    """The same for a table, which breaks a line before the interval if anywhere."""
    return with_interval(estimate, digits).replace(", ", ",\N{NO-BREAK SPACE}")
