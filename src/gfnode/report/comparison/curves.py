"""Figures of several runs."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gfnode.metrics import Verdict
from gfnode.report.comparison.runs import Compared
from gfnode.report.curves import draw_epochs, scale_errors
from gfnode.report.described import errors_in_words
from gfnode.report.downloads import by_lag
from gfnode.report.numbers import hundredths
from gfnode.report.pictures import Layout, Picture
from gfnode.report.plots import COLOURS, STYLES, curve, plain_decades, short
from gfnode.report.summary import verdicts_by_lag
from gfnode.units import count, format_time

_PAD = 1.6  # room on a logarithmic axis
_UNLIKE = 3.0  # factor between horizons, beyond which lags are counted in them
_GREY = "0.35"


def comparison_pictures(compared: Compared) -> dict[str, Picture]:
    """Error against lag, that over the best trivial baseline, and training."""
    found = [_errors(compared), _ratios(compared)]
    if any(run.history for run in compared.runs):
        found.append(_training(compared))
    return {each.name: each for each in found}


# --------------------------------------------------------------------------- error against lag


def _errors(compared: Compared) -> Picture:
    own = {name: run.evaluation["methods"][run.model] for name, run in compared.named}
    rows: list[list[Any]] = []
    for name, run in compared.named:
        methods = run.evaluation["methods"]
        head, *body = by_lag({method: methods[method] for method in (run.model, run.best)})
        rows = rows or [["run", *head]]
        rows += [[name, *row] for row in body]
    trivial = (
        "the best trivial baseline (grey) is the same for all"
        if compared.same_windows
        else "lines without markers: the best trivial baseline of each run"
    )
    caption = (
        "Mean squared error per coordinate against lag. Bands: separate 95 % intervals of each "
        f"run; {trivial}."
    )
    words = errors_in_words(own, " of each run")
    return Picture("compared-errors", partial(_draw_errors, compared), words, rows, caption)


def _draw_errors(compared: Compared, layout: Layout) -> Figure:
    figure = layout.figure(1.15, 0.5)
    axes = figure.add_subplot()
    units = _lag_axis(axes, compared, layout)
    extremes: list[NDArray[np.float64]] = []
    for number, (name, run) in enumerate(compared.named):
        lag, value, low, high = curve(run.evaluation["methods"][run.model])
        lag = lag / units[number]
        extremes.append(value)
        _curve(axes, layout, lag, value, (low, high), number=number, label=short(name))
    shown = compared.runs[:1] if compared.same_windows else compared.runs
    for number, run in enumerate(shown):
        lag, value, *_ = curve(run.evaluation["methods"][run.best])
        lag = lag / units[number]
        extremes.append(value)
        colour = _GREY if compared.same_windows else COLOURS[number % len(COLOURS)]
        trivial = run.best if compared.same_windows else None
        axes.plot(lag, value, color=colour, lw=layout.stroke, ls=(0, (2, 2)), label=trivial)
    _logarithmic(axes, np.concatenate(extremes))
    axes.set_ylabel("mean squared error (10⁻² Å²)", fontsize=layout.text)
    return _finish(figure, axes, layout)


# --------------------------------------------------------------------------- over the best trivial


def _ratios(compared: Compared) -> Picture:
    found = [verdicts_by_lag(run.evaluation, run.windows) for run in compared.runs]
    rows: list[list[Any]] = [["run", "against", "from_fs", "to_fs", "ratio", "low", "high"]]
    words = ["Error of each run / error of its best trivial baseline, by lag; below 1 is better."]
    for name, run, verdicts in zip(compared.names, compared.runs, found, strict=True):
        edges = run.evaluation["methods"][run.model]["lag_edges_fs"]
        filled = []
        for low, high, each in zip(edges[:-1], edges[1:], verdicts, strict=True):
            if each is not None:
                ratio = (each.ratio.value, each.ratio.low, each.ratio.high)
                rows.append([name, run.best, low, high, *(_known(value) for value in ratio)])
                filled.append((high, each.ratio.value))
        if filled:
            (first, begin), (last, end) = filled[0], filled[-1]
            words.append(
                f"{name}: {begin:.3g} at lags up to {format_time(first)}, {end:.3g} at lags up to "
                f"{format_time(last)}, against {run.best}."
            )
    caption = (
        "Error divided by that of the best trivial baseline on the same windows; below 1 the run "
        "is better. Bands: 95 % intervals of the ratio, paired over blocks of time."
    )
    draw = partial(_draw_ratios, compared, found)
    return Picture("compared-ratios", draw, " ".join(words), rows, caption)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _draw_ratios(
    compared: Compared, found: Sequence[Sequence[Verdict | None]], layout: Layout
) -> Figure:
    figure = layout.figure(1.0, 0.42)
    axes = figure.add_subplot()
    units = _lag_axis(axes, compared, layout)
    extremes = [np.ones(1)]
    for number, (name, run, verdicts) in enumerate(
        zip(compared.names, compared.runs, found, strict=True)
    ):
        lags = run.evaluation["methods"][run.model]["lags_fs"]
        ratios = [
            (1e-3 * lag / units[number], each.ratio.value, each.ratio.low, each.ratio.high)
            for lag, each in zip(lags, verdicts, strict=True)
            if each is not None and np.isfinite(each.ratio.value)
        ]
        lag, value, low, high = np.asarray(ratios, dtype=float).reshape(-1, 4).T
        extremes.append(value)
        _curve(axes, layout, lag, value, (low, high), number=number, label=short(name))
    axes.axhline(1, color=_GREY, lw=layout.stroke, ls=(0, (2, 2)), zorder=1)
    _logarithmic(axes, np.concatenate(extremes))
    axes.set_ylabel("error / best trivial", fontsize=layout.text)
    return _finish(figure, axes, layout)


# --------------------------------------------------------------------------- training


def _training(compared: Compared) -> Picture:
    rows: list[list[Any]] = [["run", "epoch", "train_error", "train_unit", "validation_error"]]
    words = ["Validation error of each run by epoch, in 10⁻² Å²."]
    for name, run in compared.named:
        for row in run.history:
            unit = run.loss_unit or "none"
            rows.append([name, row["epoch"], row["train_error"], unit, row["validation_error"]])
        known = [
            (row["epoch"], row["validation_error"])
            for row in run.history
            if row["validation_error"] is not None
        ]
        if known:
            words.append(
                f"{name}: from {hundredths(known[0][1])} to {hundredths(known[-1][1])} in "
                f"{count(int(known[-1][0] or 0), 'epoch')}."
            )
        elif not run.history:
            words.append(f"{name} was not trained.")
    caption = "Mean squared error per coordinate on the validation windows of each run, by epoch."
    unlike = [n for n, run in compared.named if run.loss_unit != "Å²"]
    if unlike:
        caption += (
            f" The training loss of {', '.join(unlike)} is not an error in Å² and is not shown."
        )
    return Picture(
        "compared-training", partial(_draw_training, compared), " ".join(words), rows, caption
    )


def _draw_training(compared: Compared, layout: Layout) -> Figure:
    figure = layout.figure(0.85, 0.36)
    axes = figure.add_subplot()
    for number, (name, run) in enumerate(compared.named):
        if run.history:
            draw_epochs(
                axes,
                run.history,
                "validation_error",
                layout,
                number=number,
                label=short(name),
                factor=100,
            )
    scale_errors(axes)
    layout.whole_numbers(axes.xaxis)
    axes.set_xlabel("epoch", fontsize=layout.text)
    axes.set_ylabel("validation error (10⁻² Å²)", fontsize=layout.text)
    return _finish(figure, axes, layout)


# --------------------------------------------------------------------------- what they share


def _lag_axis(axes: Axes, compared: Compared, layout: Layout) -> list[float]:
    """Label and limit the axis, and give what the lags of each run are counted in, in ps.

    That is its horizon where horizons differ by factors.
    """
    horizons = [1e-3 * run.evaluation["horizon_fs"] for run in compared.runs]
    unlike = max(horizons) > _UNLIKE * min(horizons)
    axes.set_xlabel("lag / horizon" if unlike else "lag (ps)", fontsize=layout.text)
    axes.set_xlim(0, 1 if unlike else max(horizons))
    return horizons if unlike else [1.0] * len(horizons)


def _curve(
    axes: Axes,
    layout: Layout,
    lag: NDArray[np.float64],
    value: NDArray[np.float64],
    interval: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    number: int,
    label: str,
) -> None:
    """A run and its interval, in its colour, dash and marker; after six the markers change."""
    colour = COLOURS[number % len(COLOURS)]
    axes.fill_between(lag, *interval, color=colour, alpha=0.14, lw=0)
    marker, line = STYLES[number % len(STYLES)]
    turn = number // len(COLOURS)
    axes.plot(
        lag,
        value,
        color=colour,
        marker=STYLES[(number + turn) % len(STYLES)][0] if turn else marker,
        mfc="none" if turn else None,
        ls=line,
        lw=2.2 * layout.stroke,
        ms=6 * layout.stroke,
        label=label,
    )


def _logarithmic(axes: Axes, values: NDArray[np.float64]) -> None:
    values = values[np.isfinite(values) & (values > 0)]
    if len(values):
        axes.set_ylim(values.min() / _PAD, values.max() * _PAD)
    axes.set_yscale("log")
    steps = (1, 2, 5) if not len(values) or values.max() < 1000 * values.min() else (1,)
    plain_decades(axes.yaxis, steps)


def _finish(figure: Figure, axes: Axes, layout: Layout) -> Figure:
    layout.plain(axes)
    layout.legend(figure, 1, 3)
    return figure
