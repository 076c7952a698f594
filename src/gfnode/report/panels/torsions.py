"""Torsions: Ramachandran maps true and predicted, basins, transitions between them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MultipleLocator, NullLocator
from numpy.typing import NDArray

from gfnode.report.loading import RunFiles
from gfnode.report.panels.common import (
    BANDS,
    CONSTANT,
    FLOOR,
    TRUE,
    Content,
    by_lag_rows,
    draw_by_lag,
    ends,
    estimate_cell,
    estimate_rows,
    follow_curves,
    legend,
    middles,
    power_of_ten,
    slug,
    style,
)
from gfnode.report.panels.geometry import densities_picture, quantity_table, shown_density
from gfnode.report.physics_table import FURTHEST, furthest
from gfnode.report.pictures import Layout, Picture, Table
from gfnode.report.plots import short
from gfnode.units import listed

SEQUENTIAL, DIVERGING = "cividis_r", "PuOr_r"  # read with any colour vision, and in grey
DECADES = 3.0
_LINEAR = 100.0  # of the largest difference: below it the scale of colours is linear
_DEGREES = 180.0
_STATES = {"alpha_R": "α_R", "beta": "β", "alpha_L": "α_L", "other": "other"}


def torsions(run: RunFiles) -> Content | None:
    """Panel of the section ``torsions``."""
    if (section := run.physics.get("torsions")) is None:
        return None
    quantities = section["quantities"]
    pictures, tables, sentences = [], [], []
    stayed = []
    for residue, found in section["ramachandran"].items():
        pictures.append(_map(run, residue, found["methods"]))
        tables.append(_populations(run, residue, found["methods"], section["states"]))
        if _leaves(run, found["methods"]):
            pictures.append(_passages(run, residue, found["methods"], section["lag_edges_fs"]))
        else:
            stayed.append(residue)
        sentences += _sentences(run, residue, found["methods"], section["states"])
    sentences += _stayed(stayed, len(section["ramachandran"]))
    names = furthest(section)
    shown = [
        shown_density(run, f"torsions.{name}", 0, short(name, 24), quantities[name]["unit"])
        for name in names
        if f"torsions.{name}.range" in run.arrays
    ]
    if shown:
        which = "every torsion"
        if len(quantities) > len(names):
            which = f"the {len(names)} of {len(quantities)} torsions with {FURTHEST}"
        pictures.append(densities_picture(run, shown, "torsion-distributions", which))
    tables.append(quantity_table(run, quantities, "torsions", "Torsions"))
    return Content(sentences, pictures, tables)


# --------------------------------------------------------------------------- maps


def _map(run: RunFiles, residue: str, methods: Mapping[str, Any]) -> Picture:
    place = f"torsions.ramachandran.{residue}.density"
    true, mine = (
        np.asarray(run.arrays[f"{place}.{name}"], dtype=np.float64) for name in (TRUE, run.model)
    )
    bins = len(true)
    centres = middles(np.linspace(-_DEGREES, _DEGREES, bins + 1)).tolist()
    rows: list[list[Any]] = [["phi_deg", "psi_deg", "true", "predicted", "predicted_minus_true"]]
    some = np.argwhere((true > 0) | (mine > 0))
    rows += [
        [centres[i], centres[j], *(float(x[i, j]) for x in (true, mine, mine - true))]
        for i, j in some.tolist()
    ]
    told = []
    for label, density in (("true", true), ("predicted", mine)):
        i, j = np.unravel_index(int(density.argmax()), density.shape)
        told.append(f"the {label} density is highest at φ {centres[i]:.0f}°, ψ {centres[j]:.0f}°")
    moved = 0.5 * np.abs(mine - true).sum()
    words = (
        f"Ramachandran maps of {residue}, true, predicted and their difference. "
        f"{told[0].capitalize()}; {told[1]}. {100 * moved:.3g} % of the probability is misplaced."
    )
    js = methods[run.model].get("js_bits", {}).get("value")
    floor = methods.get(FLOOR, {}).get("js_bits", {}).get("value")
    beside = "" if js is None else f" Their Jensen–Shannon divergence is {js:.2g} bits"
    beside += "" if js is None or floor is None else f", that of two stretches of MD {floor:.2g}"
    caption = (
        f"φ and ψ of {residue} over all test windows and lags, in bins of {360 / bins:.3g}°: true "
        "and predicted on one logarithmic scale with the density of φ above, and the difference, "
        f"purple where too little is predicted, orange where too much."
        f"{beside}{'.' if beside else ''} Bins that are empty in both are not in the file."
    )
    return Picture(
        f"ramachandran-{slug(residue)}",
        partial(_draw_map, true, mine, short(residue, 24)),
        words,
        rows,
        caption,
    )


def _draw_map(
    true: NDArray[np.float64], mine: NDArray[np.float64], residue: str, layout: Layout
) -> Figure:
    """True and predicted with their marginals, and the difference; below each other on a column."""
    narrow = layout.narrow
    figure = layout.figure(1.9, 0.46)
    area = (360 / len(true)) ** 2
    top = max(true.max(), mine.max()) / area
    log = LogNorm(top / 10**DECADES, top)
    difference = (mine - true) / area
    most = float(np.abs(difference).max()) or 1.0
    if narrow:
        left, right = figure.subfigures(2, 1, height_ratios=(1, 1.25), squeeze=False).ravel()
    else:
        left, right = figure.subfigures(1, 2, width_ratios=(2, 1.25), squeeze=False).ravel()
    pair, third = left.subplots(2, 2, **_MARGINAL), right.subplots(1, 1)
    edges = np.linspace(-_DEGREES, _DEGREES, len(true) + 1)
    highest = max(true.sum(1).max(), mine.sum(1).max())
    for column, (title, density) in enumerate((("true", true), ("predicted", mine))):
        above, axes = pair[0, column], pair[1, column]
        above.stairs(density.sum(1), edges, color="0.35", fill=True, alpha=0.6)
        above.set_ylim(0, 1.05 * highest)
        above.set_axis_off()
        above.set_title(title, fontsize=layout.text)
        shown = np.ma.masked_equal(density.T / area, 0)
        drawn = axes.pcolormesh(edges, edges, shown, cmap=SEQUENTIAL, norm=log, rasterized=True)
        _torus(axes, layout)
        axes.set_ylabel("ψ (°)" if column == 0 else "", fontsize=layout.text)
    bar = left.colorbar(drawn, ax=pair[1, :], location="bottom", shrink=0.8, aspect=30)
    bar.ax.xaxis.set_major_locator(LogLocator(10))
    _bar(bar, "density (1/°²)", layout)
    limits = SymLogNorm(most / _LINEAR, vmin=-most, vmax=most)
    options: dict[str, Any] = {"cmap": DIVERGING, "norm": limits, "rasterized": True}
    drawn = third.pcolormesh(edges, edges, difference.T, **options)
    _torus(third, layout)
    third.set_ylabel("ψ (°)" if narrow else "", fontsize=layout.text)
    third.set_title(f"{residue}: predicted − true", fontsize=layout.text)
    bar = right.colorbar(drawn, ax=third, location="bottom", shrink=0.8, aspect=24)
    decade = 10 ** np.floor(np.log10(most))
    bar.set_ticks([-decade, -decade / 10, 0, decade / 10, decade])
    _bar(bar, "difference (1/°²)", layout)
    return figure


_MARGINAL: dict[str, Any] = {"sharex": True, "height_ratios": (1, 4), "squeeze": False}


def _bar(bar: Any, label: str, layout: Layout) -> None:
    bar.set_label(label, fontsize=layout.text)
    bar.ax.xaxis.set_major_formatter(power_of_ten)
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.ax.tick_params(labelsize=layout.text - 1)
    bar.ax.xaxis.get_offset_text().set_fontsize(layout.text - 1)
    bar.outline.set_visible(False)


def _torus(axes: Axes, layout: Layout) -> None:
    axes.set_xlim(-_DEGREES, _DEGREES)
    axes.set_ylim(-_DEGREES, _DEGREES)
    axes.xaxis.set_major_locator(MultipleLocator(90))
    axes.yaxis.set_major_locator(MultipleLocator(90))
    axes.set_aspect("equal")
    axes.set_xlabel("φ (°)", fontsize=layout.text)
    layout.plain(axes)
    axes.tick_params(axis="x", labelrotation=90 if layout.narrow else 0)


# --------------------------------------------------------------------------- basins


def _populations(
    run: RunFiles, residue: str, methods: Mapping[str, Any], states: list[str]
) -> Table:
    columns = [each for each in (TRUE, run.model, run.best, CONSTANT) if each in methods]
    columns = [each for each in columns if "populations" in methods[each]]
    body = [
        [
            _STATES.get(state, state),
            *(estimate_cell(methods[each]["populations"].get(state)) for each in columns),
        ]
        for state in states
    ]
    rows: list[list[Any]] = [["basin", "method", "value", "low", "high"]]
    for name, found in methods.items():
        for state, share in found.get("populations", {}).items():
            rows.append(estimate_rows([state, name], share))
    caption = f"Populations of the basins of {residue}, with 95 % intervals"
    return Table(f"populations-{slug(residue)}", caption, ["basin", *columns], body, rows)


def _passages(
    run: RunFiles, residue: str, methods: Mapping[str, Any], edges: list[float]
) -> Picture:
    rows: list[list[Any]] = [["method", "from_fs", "to_fs", "value", "low", "high"]]
    for name, found in methods.items():
        if "passage_error_by_lag" in found:
            rows += by_lag_rows(edges, [name], found["passage_error_by_lag"])
    left = {name: _left(found) for name, found in methods.items() if "transitions" in found}
    told = [
        f"{label}: {_share(left[name][0])} at the shortest and {_share(left[name][-1])} at the "
        "longest lags"
        for name, label in ((TRUE, "true"), (run.model, "predicted"))
        if name in left
    ]
    mine = methods[run.model]["passage_error_by_lag"]
    words = (
        f"Transitions between basins of {residue} against lag: share of windows that have left "
        f"their starting basin. {'; '.join(told)}. Share of predictions that end in a wrong "
        f"basin: {ends(mine)}."
    )
    for name, shares in left.items():
        for low, high, share in zip(edges[:-1], edges[1:], shares.tolist(), strict=True):
            rows.append([f"{name} left", low, high, None if np.isnan(share) else share, None, None])
    caption = (
        f"{residue}, against lag: the share of windows that have left their starting basin, and "
        "the share of predictions that would have to end in another basin to match the true "
        f"transitions ({BANDS})."
    )
    draw = partial(_draw_passages, (run.model, run.best), methods, left, run.lags_ps(edges))
    return Picture(f"passages-{slug(residue)}", draw, words, rows, caption)


def _leaves(run: RunFiles, methods: Mapping[str, Any]) -> bool:
    """Whether any window, true or predicted, leaves its basin, or ends in a wrong one."""
    wrong = methods[run.model].get("passage_error_by_lag", [])
    left = [_left(methods[name]) for name in (TRUE, run.model) if "transitions" in methods[name]]
    return any(np.nanmax(each, initial=0) > 0 for each in left) or any(
        (each["value"] or 0) > 0 for each in wrong
    )


def _stayed(names: list[str], count: int) -> list[str]:
    """Which of so many residues have no figure of passages."""
    if not names:
        return []
    if len(names) == count:
        who = f"any of the {count} residues" if count > 1 else names[0]
        return [
            f"No window leaves its basin in {who}, true or predicted, so no figure shows "
            "transitions."
        ]
    stay = "stays in its basin" if len(names) == 1 else "stay in their basins"
    return [
        f"{len(names)} of {count} residues {stay} in every window, true and predicted "
        f"({listed(names)}), so no figure shows transitions there."
    ]


def _left(found: Mapping[str, Any]) -> NDArray[np.float64]:
    """Share of windows outside of the basin that they started in, by lag bin."""
    counts = np.asarray(found["transitions"], dtype=np.float64)
    total = counts.sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1 - np.trace(counts, axis1=1, axis2=2) / total)


def _share(value: float) -> str:
    return "unknown" if np.isnan(value) else f"{100 * value:.3g} %"


def _draw_passages(
    names: tuple[str, str],
    methods: Mapping[str, Any],
    left: Mapping[str, NDArray[np.float64]],
    lags: NDArray[np.float64],
    layout: Layout,
) -> Figure:
    model, best = names
    figure = layout.figure(1.0, 0.42)
    axes = figure.subplots(1, 2, sharex=True).tolist()
    for name in (TRUE, best, model):
        if name in left:
            axes[0].plot(lags, left[name], **style(name, model, layout))
    for name in (FLOOR, best, model):
        if name in methods and "passage_error_by_lag" in methods[name]:
            found = methods[name]["passage_error_by_lag"]
            draw_by_lag(axes[1], lags, found, **style(name, model, layout))
    for pane, title in zip(axes, ("left the basin", "in a wrong basin"), strict=True):
        pane.set_title(f"share {title}", fontsize=layout.text)
        pane.set_xlabel("lag (ps)", fontsize=layout.text)
        follow_curves(pane)
        pane.locator_params(nbins=5)
        layout.plain(pane)
    legend(figure, axes, layout)
    return figure


def _sentences(
    run: RunFiles, residue: str, methods: Mapping[str, Any], states: list[str]
) -> list[str]:
    parts = []
    for state in states:
        true, mine = (
            methods[name]["populations"].get(state, {}).get("value") for name in (TRUE, run.model)
        )
        if true is not None and mine is not None and max(true, mine) >= 0.005:
            name = _STATES.get(state, state)
            parts.append(f"{name} {100 * mine:.3g} % (true {100 * true:.3g} %)")
    return (
        [f"Predicted populations of the basins of {residue}: {', '.join(parts)}."] if parts else []
    )
