"""What panels share: styles of truth and prediction, small multiples, tables of estimates."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from gfnode.report.cells import with_interval
from gfnode.report.numbers import NOTHING, Digits, three
from gfnode.report.pictures import Layout, Picture, Table
from gfnode.report.plots import COLOURS, short

TRUE, CONSTANT, FLOOR = "true", "constant", "floor"
PARTS = ("value", "low", "high")
BANDS = "bands: 95 % intervals, cut off at three times the highest curve"
APART = 30
"""Curves whose ends are so many times apart are drawn on a logarithmic axis."""

LABELS = {
    TRUE: "true",
    CONSTANT: "constant (mean geometry)",
    FLOOR: "floor (two stretches of MD)",
}

Estimate = Mapping[str, Any]


class Content(NamedTuple):
    """What a panel holds; see :class:`gfnode.report.pictures.Panel`."""

    sentences: Sequence[str]
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


def style(name: str, model: str, layout: Layout) -> dict[str, Any]:
    """Colour, dash and width of a curve: truth grey and thick, the model blue."""
    thin = layout.stroke
    styles: dict[str, dict[str, Any]] = {
        TRUE: {"color": "0.35", "lw": 2.4 * thin, "ls": "-"},
        model: {"color": COLOURS[0], "lw": 2 * thin, "ls": "-"},
        CONSTANT: {"color": COLOURS[4], "lw": 1.6 * thin, "ls": (0, (1, 1))},
        FLOOR: {"color": COLOURS[3], "lw": 1.6 * thin, "ls": (0, (4, 1.5, 1, 1.5))},
    }
    other = {"color": COLOURS[1], "lw": 1.6 * thin, "ls": (0, (4, 2))}
    return styles.get(name, other) | {"label": short(LABELS.get(name, name))}


def grid(
    layout: Layout, count: int, wide: int = 3, *, height: float = 0.78, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Small multiples: so many beside each other, two where it is narrow; height in widths."""
    columns = min(2 if layout.narrow else wide, count)
    rows = -(-count // columns)
    tall = height * rows / columns + (0.3 if layout.narrow else 0.1)
    figure = layout.figure(tall, tall)
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for each in axes[count:]:
        each.set_visible(False)
    return figure, axes[:count]


def legend(figure: Figure, axes: Sequence[Axes], layout: Layout) -> None:
    """One legend of all axes, below."""
    found: dict[str, Any] = {}
    for each in axes:
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    layout.legend(figure, 1, 4, handles=list(found.values()), labels=list(found))


def middles(edges: ArrayLike) -> NDArray[np.float64]:
    """Middles of bins."""
    values = np.asarray(edges, dtype=np.float64)
    return (values[:-1] + values[1:]) / 2


def values(estimates: Sequence[Estimate], key: str = "value") -> NDArray[np.float64]:
    """A part of estimates; nan where JSON has null."""
    return np.array([each.get(key) for each in estimates], dtype=np.float64)


def draw_by_lag(
    axes: Axes, lags_ps: ArrayLike, estimates: Sequence[Estimate], **options: Any
) -> None:
    """A curve against lag with its 95 % band."""
    value, low, high = (values(estimates, key) for key in PARTS)
    axes.plot(lags_ps, value, **options)
    axes.fill_between(lags_ps, low, high, color=options["color"], alpha=0.15, lw=0)


def follow_curves(axes: Axes) -> None:
    """Begin at zero, and cut bands off at three times the highest curve.

    Of few blocks of time an interval may be a hundred times as wide as its value is large, and
    would leave nothing of the curves to be seen.
    """
    highest = float(_drawn(axes).max(initial=0.0))
    top = axes.get_ylim()[1]
    axes.set_ylim(0, min(top, 3 * highest) if highest > 0 else top)


def span_curves(axes: Axes) -> None:
    """Follow curves of positive values; on a logarithmic axis where they are decades apart.

    The axis then ends a factor of two beyond the curves, whatever the bands do, and a curve has a
    gap where it is zero: it would drop to the end as a vertical line.
    """
    drawn = _drawn(axes)
    drawn = drawn[drawn > 0]
    if drawn.size and drawn.max() >= APART * drawn.min():
        for line in axes.lines:
            heights = np.asarray(line.get_ydata(), dtype=float)
            line.set_ydata(np.where(heights > 0, heights, np.nan))
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(power_of_ten)
        axes.set_ylim(drawn.min() / 2, 2 * drawn.max())
    else:
        follow_curves(axes)


def _drawn(axes: Axes) -> NDArray[np.float64]:
    """Finite values of all curves."""
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    return drawn[np.isfinite(drawn)]


def estimate_cell(found: Estimate | None, between: Digits = three) -> str:
    """An estimate with its interval, whose ends may have other digits; – where there is none."""
    if found is None or found.get("value") is None:
        return NOTHING
    return with_interval({key: found.get(key) for key in PARTS}, three, between)


def estimate_rows(name: Sequence[Any], found: Estimate | None) -> list[Any]:
    """A row of a CSV file: names, value, low, high."""
    return [*name, *((found or {}).get(key) for key in PARTS)]


def by_lag_rows(
    edges: Sequence[float], name: Sequence[Any], estimates: Sequence[Estimate]
) -> Iterator[list[Any]]:
    """Rows of a CSV file: names, ends of the bin, value, low, high."""
    for low, high, each in zip(edges[:-1], edges[1:], estimates, strict=True):
        yield estimate_rows([*name, low, high], each)


def ends(estimates: Sequence[Estimate]) -> str:
    """First and last known value, in words."""
    known = [each["value"] for each in estimates if each.get("value") is not None]
    return f"from {known[0]:.3g} to {known[-1]:.3g}" if known else "unknown"


def slug(text: str) -> str:
    """A name for files and ids."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower() or "x"


def power_of_ten(value: float, _: Any) -> str:
    """10⁻³ for a tick; letters alone, since names with a dollar sign are no formulas here."""
    if value == 0:
        return "0"
    exponent = round(float(np.log10(abs(value))))
    sign = "−" if value < 0 else ""
    return f"{sign}10{str(exponent).translate(_RAISED)}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
