"""Figures of the report page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from gfnode.report.plots import COLOURS, STYLES, draw_errors, short

MOST_NAMED = 24  # atoms with their names at the axis
_TEXT = 9.0


def error_curves(evaluation: Mapping[str, Any], narrow: bool) -> Figure:
    """Error against lag; see :func:`gfnode.report.plots.error_against_lag`."""
    figure = _figure(narrow, 4.6 if narrow else 4.0)
    axes = figure.add_subplot()
    draw_errors(axes, evaluation, _TEXT)
    axes.set_ylabel("mean squared error (10⁻² Å²)", fontsize=_TEXT)
    if not narrow:
        _also_in_angstrom(axes)
    columns = 1 if narrow else 3
    figure.legend(loc="outside lower center", ncols=columns, fontsize=_TEXT, frameon=False)
    return figure


def _also_in_angstrom(axes: Axes) -> None:
    """A second scale: root mean square distance per atom, √(3 e)."""
    second = axes.secondary_yaxis(
        "right",
        functions=(_distance, lambda d: np.square(d) / 3e-2),
    )
    second.set_ylabel("root mean square distance (Å)", fontsize=_TEXT)
    second.yaxis.set_major_locator(LogLocator(10, (1, 2, 5), numticks=20))
    second.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    second.yaxis.set_minor_locator(NullLocator())
    second.tick_params(labelsize=_TEXT - 1)
    second.spines["right"].set_visible(False)


def _distance(error: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.maximum(3e-2 * np.asarray(error), 0)))


def training_curves(
    history: Sequence[Mapping[str, float | None]], best: int | None, narrow: bool
) -> Figure:
    """Training and validation error and the learning rate, by epoch.

    Parameters
    ----------
    history
        Rows of ``history.csv``; None where an epoch was not validated.
    best
        Epoch of the weights that were kept.
    """
    figure = _figure(narrow, 4.0 if narrow else 3.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    series = (("train_error", "training"), ("validation_error", "validation"))
    order = (1, 0)  # validation, by which the weights are chosen, in the first colour
    for number, (key, label) in zip(order, series, strict=True):
        rows = [(row["epoch"], 100 * row[key]) for row in history if row[key] is not None]  # type: ignore[operator]
        marker, line = STYLES[number]
        short = len(rows) <= 40
        upper.plot(
            *np.asarray(rows, dtype=float).reshape(-1, 2).T,
            color=COLOURS[number],
            marker=marker if short else None,
            ms=4,
            lw=1.8,
            ls=line,
            label=label,
        )
    kept = [row for row in history if row["epoch"] == best and row["validation_error"] is not None]
    for row in kept:
        error = 100 * row["validation_error"]  # type: ignore[operator]
        upper.plot(best, error, "o", ms=10, mfc="none", mec=COLOURS[0], mew=1.6, label="kept")
        for axes in (upper, lower):
            axes.axvline(float(best or 0), color="0.55", lw=0.8, ls=(0, (4, 3)), zorder=0)
    errors = np.concatenate([line.get_ydata() for line in upper.lines])
    if errors.min() > 0 and errors.max() > 4 * errors.min():
        upper.set_yscale("log")
        upper.yaxis.set_major_locator(LogLocator(10, (1, 2, 5), numticks=20))
        upper.yaxis.set_minor_locator(NullLocator())
    upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    upper.set_ylabel("error (10⁻² Å²)", fontsize=_TEXT)
    lower.plot(
        [row["epoch"] for row in history],
        [row["learning_rate"] for row in history],
        color="0.35",
        lw=1.4,
        marker="." if len(history) <= 40 else None,
    )
    lower.set_ylabel("rate", fontsize=_TEXT)
    lower.yaxis.set_major_locator(MaxNLocator(3))
    lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1g}"))
    lower.set_ylim(bottom=0)
    lower.set_xlabel("epoch", fontsize=_TEXT)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6 if narrow else 12))
    for axes in (upper, lower):
        _plain(axes)
    figure.legend(loc="outside lower center", ncols=3, fontsize=_TEXT, frameon=False)
    figure.align_ylabels()
    return figure


def atom_curves(
    atom_errors: Mapping[str, NDArray[np.float64]], labels: Sequence[str], narrow: bool
) -> Figure:
    """Root mean square distance of each scored atom, for the model and the best baseline.

    Parameters
    ----------
    atom_errors
        Å² per coordinate, ``(scored atom,)``; the model first.
    labels
        Names of the scored atoms.
    """
    figure = _figure(narrow, 2.9 if narrow else 2.6)
    axes = figure.add_subplot()
    places = np.arange(len(labels))
    few, labels = len(labels) <= MOST_NAMED, [short(each, 12) for each in labels]
    for number, (name, errors) in enumerate(atom_errors.items()):
        marker, line = STYLES[number]
        axes.plot(
            places,
            np.sqrt(3 * np.asarray(errors)),
            color=COLOURS[number],
            marker=marker if few else None,
            ls="none" if few else line,
            ms=7,
            lw=1.2,
            label=short(name),
        )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("rms distance (Å)", fontsize=_TEXT)
    axes.set_xlabel("atom", fontsize=_TEXT)
    if few:
        size = _TEXT - 1 if not narrow or len(labels) <= 12 else _TEXT - 3
        axes.set_xticks(places, labels, fontsize=size, rotation=90 if _long(labels, narrow) else 0)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6 if narrow else 12))
        axes.set_xlabel("scored atom, counted from 0", fontsize=_TEXT)
    _plain(axes)
    figure.legend(loc="outside lower center", ncols=2, fontsize=_TEXT, frameon=False)
    return figure


def _long(labels: Sequence[str], narrow: bool) -> bool:
    return sum(len(each) + 2 for each in labels) > (45 if narrow else 100)


def _figure(narrow: bool, height: float) -> Figure:
    return Figure(figsize=(3.9 if narrow else 7.8, height), layout="constrained")


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=_TEXT - 1)
    axes.grid(color="0.9", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
