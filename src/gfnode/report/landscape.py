"""Two dihedrals of trajectories: a table and a picture; nothing here needs torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from rich.table import Table

from gfnode.report.numbers import cell, hundredths, with_interval
from gfnode.report.plots import COLOURS, plain
from gfnode.report.tables import plain_table
from gfnode.units import format_time

Density = NDArray[np.float64]
TICKS = range(-180, 181, 90)


def landscape_table(result: Mapping[str, Any]) -> Table:
    """Populations of each run with their intervals."""
    title = (
        f"Populations of {' and '.join(result['angles'])} in %, 95 % intervals over blocks of time"
    )
    table = plain_table(title, "run")
    for state in result["states"]:
        table.add_column(state, justify="right")
    table.add_column("transitions", justify="right")
    for run in result["runs"]:
        cells = [cell(run["populations"][state], hundredths) for state in result["states"]]
        label = f"{run['name']}, {format_time(run['length_fs'])}"
        table.add_row(label, *cells, str(run["changes"]))
    return table


def landscape_words(result: Mapping[str, Any]) -> list[str]:
    """What states are not known or were never seen, and how far runs are apart."""
    said = []
    if not result["basins"]:
        said.append(
            f"{' and '.join(result['angles'])}: no basins are defined; give some with --basin "
            "NAME=FROM:TO,FROM:TO to get populations."
        )
    for run in result["runs"]:
        never = [key for key, each in run["populations"].items() if each["value"] == 0]
        if never:
            said.append(f"{run['name']} never visits {', '.join(never)}.")
    for each in result["between_runs"]:
        a, b = (result["runs"][k]["name"] for k in each["runs"])
        said.append(
            f"{a} and {b} differ by {with_interval(each['js_bits'])} bits (Jensen–Shannon; "
            "0: identical, 1: disjoint)."
        )
    return said


def draw_landscape(result: Mapping[str, Any], densities: Sequence[Density]) -> Figure:
    """Density of each run with its basins, and both marginals.

    Parameters
    ----------
    densities
        ``(bin, bin)`` of each run, sum one.
    """
    runs = result["runs"]
    count = len(densities)
    figure = Figure(figsize=(3.6 * count + 1.9, 5.1), layout="constrained")
    grid = figure.add_gridspec(
        2, count + 1, width_ratios=[3.4] * count + [1.2], height_ratios=[1.2, 3.4]
    )
    most = max(float(p.max()) for p in densities)
    norm = LogNorm(min(float(p[p > 0].min()) for p in densities), most)
    bins = len(densities[0])
    centres = (np.arange(bins) + 0.5) * 360 / bins - 180
    side = figure.add_subplot(grid[1, count])
    image = None
    for k, (p, run) in enumerate(zip(densities, runs, strict=True)):
        panel = figure.add_subplot(grid[1, k])
        image = panel.imshow(
            np.ma.masked_less_equal(p.T, 0),
            origin="lower",
            extent=(-180, 180, -180, 180),
            norm=norm,
            cmap="viridis",
            aspect="auto",
        )
        _outline(panel, result, run)
        panel.set_xlabel(f"{result['angles'][0]} (°)")
        panel.set_ylabel(f"{result['angles'][1]} (°)" if k == 0 else "")
        panel.set_xticks(TICKS)
        panel.set_yticks(TICKS)
        colour = COLOURS[k % len(COLOURS)]
        above = figure.add_subplot(grid[0, k], sharex=panel)
        above.step(centres, p.sum(1), where="mid", color=colour, lw=1.2)
        above.set_title(f"{run['name']}, {format_time(run['length_fs'])}", fontsize=10)
        plain(above)
        above.tick_params(labelbottom=False)
        side.step(p.sum(0), centres, where="mid", color=colour, lw=1.2)
    plain(side)
    side.set_ylim(-180, 180)
    side.set_yticks(TICKS)
    side.set_yticklabels([])
    side.set_xlabel("probability")
    assert image is not None
    figure.colorbar(
        image, ax=side, label=f"probability of {360 / bins:g}° × {360 / bins:g}°", pad=0.1
    )
    return figure


def _outline(panel: Axes, result: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Draw each basin, in pieces where it goes through 180°, with its population."""
    for name, basin in result["basins"].items():
        pieces = [(x, y) for x in _ranges(*basin["phi_deg"]) for y in _ranges(*basin["psi_deg"])]
        for x, y in pieces:
            panel.add_patch(
                Rectangle(
                    (x[0], y[0]), x[1] - x[0], y[1] - y[0], fill=False, ls=":", lw=0.9, ec="0.35"
                )
            )
        x, y = max(pieces, key=lambda each: (each[0][1] - each[0][0]) * (each[1][1] - each[1][0]))
        share = 100 * run["populations"][name]["value"]
        panel.text(
            (x[0] + x[1]) / 2,
            y[1] - 6,
            f"{name} {share:.3g} %",
            ha="center",
            va="top",
            fontsize=8,
            bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 1.0},
        )


def _ranges(low: float, high: float) -> list[tuple[float, float]]:
    """A range of angles as one or two pieces of −180 … 180."""
    return [(low, high)] if low < high else [(low, 180.0), (-180.0, high)]
