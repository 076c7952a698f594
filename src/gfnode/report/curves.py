"""Figures of one run: error against lag, training, errors of atoms."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from gfnode.report.loading import History
from gfnode.report.pictures import Layout
from gfnode.report.plots import COLOURS, STYLES, draw_errors, plain_decades, short

MOST_NAMED = 24  # atoms with their names at the axis
_MARKED = 40  # epochs with a marker each


def error_curves(evaluation: Mapping[str, Any], layout: Layout) -> Figure:
    """Error against lag; see :func:`gfnode.report.plots.error_against_lag`."""
    figure = layout.figure(1.18, 0.51)
    axes = figure.add_subplot()
    draw_errors(axes, evaluation, layout.text)
    axes.set_ylabel("mean squared error (10⁻² Å²)", fontsize=layout.text)
    if not layout.narrow:
        _also_in_angstrom(axes, layout)
    layout.legend(figure, 1, 3)
    return figure


def _also_in_angstrom(axes: Axes, layout: Layout) -> None:
    """A second scale: root mean square distance per atom, √(3 e)."""
    second = axes.secondary_yaxis("right", functions=(_distance, lambda d: np.square(d) / 3e-2))
    second.set_ylabel("root mean square distance (Å)", fontsize=layout.text)
    plain_decades(second.yaxis)
    second.tick_params(labelsize=layout.text - 1)
    second.spines["right"].set_visible(False)


def _distance(error: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.maximum(3e-2 * np.asarray(error), 0)))


def training_curves(history: History, best: int | None, loss_unit: str, layout: Layout) -> Figure:
    """Training and validation error and the learning rate, by epoch.

    A loss that is not an error in Å², as that of a diffusion model, has axes of its own.

    Parameters
    ----------
    history
        Rows of ``history.csv``; None where an epoch was not validated.
    best
        Epoch of the weights that were kept.
    loss_unit
        Of the training loss; empty where it has none.
    """
    together = loss_unit == "Å²"
    figure = layout.figure(1.03 if together else 1.3, 0.46 if together else 0.6)
    shares = (3, 1) if together else (3, 2, 1)
    every = figure.subplots(len(shares), 1, sharex=True, height_ratios=shares)
    upper, lower = every[0], every[-1]
    # validation, by which the weights are chosen, in the first colour
    draw_epochs(
        upper, history, "validation_error", layout, number=0, label="validation error", factor=100
    )
    name, factor = ("training error", 100) if together else ("training loss", 1)
    where = upper if together else every[1]
    draw_epochs(where, history, "train_error", layout, number=1, label=name, factor=factor)
    for row in history:
        if row["epoch"] == best and row["validation_error"] is not None:
            error, epoch = 100 * row["validation_error"], float(best or 0)
            ring = {"ms": 10 * layout.stroke, "mfc": "none", "mec": COLOURS[0], "mew": 1.6}
            upper.plot(epoch, error, "o", ls="none", label="kept", **ring)
            for axes in every:
                axes.axvline(epoch, color="0.55", lw=0.8, ls=(0, (4, 3)), zorder=0)
    for axes in every[:-1]:
        scale_errors(axes)
    upper.set_ylabel("error (10⁻² Å²)", fontsize=layout.text)
    if not together:
        where.set_ylabel(f"loss ({loss_unit or 'no unit'})", fontsize=layout.text)
    lower.plot(
        [row["epoch"] for row in history],
        [row["learning_rate"] for row in history],
        color="0.35",
        lw=1.4,
        marker="." if len(history) <= _MARKED else None,
    )
    lower.set_ylabel("rate", fontsize=layout.text)
    lower.yaxis.set_major_locator(MaxNLocator(3))
    lower.yaxis.set_major_formatter(lambda value, _: f"{value:.1g}")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("epoch", fontsize=layout.text)
    layout.whole_numbers(lower.xaxis)
    for axes in every:
        layout.plain(axes)
    layout.legend(figure, 2, 3)
    figure.align_ylabels()
    return figure


def draw_epochs(
    axes: Axes,
    history: History,
    key: str,
    layout: Layout,
    *,
    number: int,
    label: str,
    factor: float,
) -> None:
    """Draw a column of a history by epoch, in the colour and style of a number."""
    rows = [(row["epoch"], factor * row[key]) for row in history if row[key] is not None]  # type: ignore[operator]
    marker, line = STYLES[number % len(STYLES)]
    axes.plot(
        *np.asarray(rows, dtype=float).reshape(-1, 2).T,
        color=COLOURS[number % len(COLOURS)],
        marker=marker if len(rows) <= _MARKED else None,
        ms=4 * layout.stroke,
        lw=1.8 * layout.stroke,
        ls=line,
        label=label,
    )


def scale_errors(axes: Axes) -> None:
    """A logarithmic axis where the errors on it differ by factors."""
    errors = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    errors = errors[np.isfinite(errors)]
    if len(errors) and errors.min() > 0 and errors.max() > 4 * errors.min():
        axes.set_yscale("log")
        plain_decades(axes.yaxis)
    else:
        axes.ticklabel_format(axis="y", useOffset=False)


def atom_curves(
    atom_errors: Mapping[str, NDArray[np.float64]], labels: Sequence[str], layout: Layout
) -> Figure:
    """Root mean square distance of each scored atom, for the model and the best baseline.

    Parameters
    ----------
    atom_errors
        Å² per coordinate, ``(scored atom,)``; the model first.
    labels
        Names of the scored atoms.
    """
    figure = layout.figure(0.74, 0.33)
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
            ms=7 * layout.stroke,
            lw=1.2,
            label=short(name),
        )
    axes.update_datalim([(0, 0)], updatex=False)  # room above is a share of all from zero on
    axes.autoscale_view()
    axes.set_ylim(bottom=0)
    axes.set_ylabel("rms distance (Å)", fontsize=layout.text)
    axes.set_xlabel("atom", fontsize=layout.text)
    layout.plain(axes)
    if few:
        size = layout.text - (1 if not layout.narrow or len(labels) <= 12 else 2)
        upright = 90 if _long(labels, layout.narrow) else 0
        axes.set_xticks(places, labels, fontsize=size, rotation=upright)
    else:
        layout.whole_numbers(axes.xaxis)
        axes.set_xlabel("scored atom, counted from 0", fontsize=layout.text)
    layout.legend(figure, 2, 2)
    return figure


def _long(labels: Sequence[str], narrow: bool) -> bool:
    return sum(len(each) + 2 for each in labels) > (45 if narrow else 100)
