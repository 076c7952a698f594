"""Plots of what a run folder holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from gfnode import runfiles
from gfnode.errors import InputError
from gfnode.files import read_json, whole
from gfnode.report.sentences import judged_on
from gfnode.report.tables import molecules, verdict
from gfnode.units import format_time

# Okabe and Ito's palette, told apart with any colour vision; the judged model comes first
COLOURS = ("#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00", "#56B4E9")
STYLES = (("o", "-"), ("s", (0, (5, 1))), ("^", "-"), ("D", (0, (1, 1))), ("v", "--"), ("P", "-."))
OFF_THE_SCALE = 10.0  # times the best trivial baseline's worst lag


def plot_error_against_lag(folder: str | Path) -> Path:
    """Draw the errors in the ``evaluation.json`` of a run folder as ``error_against_lag.png``.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    InputError
        When the folder holds no evaluation, or cannot be written.
    """
    folder = Path(folder)
    evaluation, facts = read_json(folder / runfiles.EVALUATION), read_json(folder / runfiles.RUN)
    figure = error_against_lag(evaluation, molecules(facts))
    return save_figure(figure, folder / "error_against_lag.png")


def check_picture(out: Path | None) -> None:
    """Refuse a file that no figure can be written to, by its suffix."""
    if out is not None and out.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"--out {out}: expected a name that ends with .png, .svg or .pdf")


def save_figure(figure: Figure, path: Path, dpi: int = 160) -> Path:
    """Write a figure whole; the suffix chooses the format."""
    with whole(path) as partial:
        figure.savefig(partial, dpi=dpi)
    return path


def error_against_lag(evaluation: Mapping[str, Any], molecule: str) -> Figure:
    """Draw error per coordinate against lag, for the model and the trivial baselines.

    The axis is logarithmic: methods are compared by ratios, and the intervals are symmetric there.
    Only the model and the best trivial baseline have bands, which may run off the axes when there
    are few blocks. A method that leaves the others far behind, as constant velocity does, is cut
    off at the top and its largest error stands in the legend.

    Parameters
    ----------
    evaluation
        The content of ``evaluation.json``; see docs/evaluation.md.
    molecule
        For the title.
    """
    figure = Figure(figsize=(8.0, 5.8), layout="constrained")
    axes = figure.add_subplot()
    draw_errors(axes, evaluation)
    _title(axes, evaluation, molecule)
    figure.legend(loc="outside lower center", ncols=3, fontsize=10.5, frameon=False)
    return figure


def draw_errors(axes: Axes, evaluation: Mapping[str, Any], fontsize: float = 12) -> None:
    """Draw the curves of :func:`error_against_lag` with their axes, without title and legend."""
    methods, model = evaluation["methods"], evaluation["model"]
    curves = {name: curve(methods[name]) for name in sorted(methods, key=lambda n: n != model)}
    scale = min(fontsize / 9, 1)  # small figures have fine lines
    bottom, top = _limits(curves, evaluation["best_trivial"], model)
    for number, (name, (lag, value, low, high)) in enumerate(curves.items()):
        colour, (marker, line) = COLOURS[number % len(COLOURS)], STYLES[number % len(STYLES)]
        judged = name == model
        label = short(name)
        if (value > top).any():
            worst = int(value.argmax())
            label += f"\n(off the scale: {value[worst]:.0f} at {lag[worst]:.2f} ps)"
        if judged or name == evaluation["best_trivial"]:
            axes.fill_between(lag, low, high, color=colour, alpha=0.17, lw=0)
        axes.plot(
            lag,
            value,
            color=colour,
            marker=marker,
            ls=line,
            lw=scale * (2.6 if judged else 1.6),
            ms=scale * (7 if judged else 5),
            zorder=3 if judged else 2,
            label=label,
        )
    axes.set_yscale("log")
    axes.set_ylim(bottom, top)
    axes.set_xlim(0, 1e-3 * evaluation["horizon_fs"])
    axes.set_xlabel("lag (ps)", fontsize=fontsize)
    axes.set_ylabel("mean squared error per coordinate (10⁻² Å²)", fontsize=fontsize)
    plain_decades(axes.yaxis)
    axes.tick_params(labelsize=fontsize - 1)
    plain(axes)


def plain(axes: Axes, stroke: float = 1.0) -> None:
    """The house style of axes; ``stroke`` is a factor on the width of lines."""
    axes.grid(color="0.9", lw=0.8 * stroke)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plain_decades(axis: Axis, steps: Sequence[float] = (1, 2, 5)) -> None:
    """Ticks of a logarithmic axis at these steps of each decade, as numbers without a power."""
    axis.set_major_locator(LogLocator(10, steps, numticks=20))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(NullLocator())


def short(name: str, most: int = 32) -> str:
    """A name that leaves room for what it names."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _title(axes: Axes, evaluation: Mapping[str, Any], molecule: str) -> None:
    """What was judged on what, above the axes."""
    model, best = evaluation["model"], evaluation["best_trivial"]
    superposed = evaluation["targets_superposed_on_start"]
    axes.set_title(f"{molecule}: {model} and the trivial baselines\n\n\n", loc="left", fontsize=13)
    axes.text(
        0.0,
        1.02,
        f"{judged_on(evaluation)}, horizon {format_time(evaluation['horizon_fs'])}"
        f"{', targets superposed on the start' if superposed else ''}\n"
        f"{model} is {verdict(evaluation, best)}\n"
        f"bands: separate 95 % intervals of {model} and {best}",
        transform=axes.transAxes,
        color="0.35",
        fontsize=9.5,
        linespacing=1.4,
        in_layout=False,  # long words may not squeeze the axes
    )


def curve(method: Mapping[str, Any]) -> NDArray[np.float64]:
    """Lag in ps, and value, low and high in 10⁻² Å², each ``(bin,)``; bins without data left out.

    An interval that is not known has no width.
    """
    rows = [
        [1e-3 * lag, *(100 * _number(each[key], each["value"]) for key in ("value", "low", "high"))]
        for lag, each in zip(method["lags_fs"], method["by_lag"], strict=True)
        if each["count"]
    ]
    return np.asarray(rows, dtype=np.float64).reshape(-1, 4).T


def _number(value: float | None, otherwise: float | None) -> float:
    """JSON has null for what is not finite: an unknown interval, or an error without bound."""
    found = otherwise if value is None else value
    return np.inf if found is None else found


def _limits(
    curves: Mapping[str, NDArray[np.float64]], best: str, model: str
) -> tuple[float, float]:
    """Ends of the error axis, in 10⁻² Å²: no baseline may stretch it far."""
    limit = OFF_THE_SCALE * curves[best][1].max()
    lines = np.concatenate([c[1] for n, c in curves.items() if n == model or c[1].max() <= limit])
    lines = lines[np.isfinite(lines) & (lines > 0)]
    if not len(lines):
        return 0.1, 10.0
    return float(lines.min()) / 1.6, float(lines.max()) * 1.6
