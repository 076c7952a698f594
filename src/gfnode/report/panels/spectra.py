"""Spectra in time: eigenspace by eigenspace, and the vibrational density of states."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gfnode.report.loading import RunFiles
from gfnode.report.numbers import three
from gfnode.report.panels.common import TRUE, Content, grid, legend, power_of_ten, style
from gfnode.report.pictures import Layout, Picture, Table
from gfnode.report.plots import plain_decades
from gfnode.report.sentences import seen_from
from gfnode.thinning import evenly
from gfnode.units import format_time

PREDICTED = "predicted"
KIND = "superposed"
"""Frames superposed on the start: internal motion, without tumbling of the whole."""

_MOST_SPACES = 6
_MOST_POINTS = 400  # of a curve in the page; files of it say so
_DECADES = 6.0
_STILL = 1e-9
_FINE = 10.0  # fs: frames further apart see little of the speed of vibrations

Space = Mapping[str, Any]


def spectra(run: RunFiles) -> Content | None:
    """Panel of the section ``spectra``."""
    if (section := run.physics.get("spectra")) is None:
        return None
    spaces = section[KIND]["eigenspaces"]
    pictures = [_density(run, section)]
    if _chosen(spaces):  # without a bond every eigenvalue is 0
        pictures = [_frequencies(section, spaces), _powers(run, spaces), *pictures]
    return Content(_sentences(section), pictures, [_table(spaces)])


def _two(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


def _sentences(section: Mapping[str, Any]) -> list[str]:
    words = []
    for kind, label in ((TRUE, "Truth"), (PREDICTED, "Prediction")):
        found = section[KIND][f"rank_correlation_{kind}"]
        if found["value"] is None:
            words.append(f"{label}: too few eigenspaces move for a rank correlation.")
            continue
        between = (
            f" (95 % interval {_two(found['low'])} to {_two(found['high'])})"
            if found["low"] is not None and found["high"] is not None
            else ""
        )
        chance = found.get("chance")
        text = (
            f"{label}: the rank correlation of mean frequency with graph eigenvalue is "
            f"{_two(found['value'])}{between} over {found['eigenspaces']} eigenspaces"
        )
        if chance is not None:
            text += f"; {_often(chance)} of random orders reach it"
        words.append(text + ".")
    states = section["density_of_states"]
    hot, cold = (states.get(f"temperature_{kind}_K") for kind in (TRUE, PREDICTED))
    if hot and cold is not None and section["spacing_fs"] <= _FINE:
        spacing = section["spacing_fs"]
        seen = seen_from(spacing) or f"from differences of frames {format_time(spacing)} apart"
        words.append(
            f"Predicted motion has {100 * cold / hot:.2g} % of the true kinetic energy "
            f"({cold:.3g} K of {hot:.3g} K over all degrees of freedom, {seen})."
        )
    return words


def _often(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= 1e-3 else "less than 0.1 %"


# --------------------------------------------------------------------------- eigenspaces


def _frequencies(section: Mapping[str, Any], spaces: Sequence[Space]) -> Picture:
    parts = ("frequency_per_ps", "frequency_low_per_ps", "frequency_high_per_ps")
    rows: list[list[Any]] = [["eigenvalue", "modes", "kind", *parts, "power_A2", "memory_ps"]]
    for each in spaces:
        for kind in (TRUE, PREDICTED):
            found = each[kind]
            keys = (*parts, "power_A2", "memory_ps")
            rows.append([each["eigenvalue"], each["modes"], kind, *(found[key] for key in keys)])
    told = []
    for kind in (TRUE, PREDICTED):
        known = [
            (each["eigenvalue"], each[kind]["frequency_per_ps"])
            for each in spaces
            if each["eigenvalue"] > _STILL and each[kind]["frequency_per_ps"] is not None
        ]
        if known:
            (first, low), (last, high) = known[0], known[-1]
            told.append(
                f"{kind}: {low:.3g} per ps at eigenvalue {first:.3g}, {high:.3g} per ps at "
                f"{last:.3g}"
            )
    words = f"Mean frequency of each eigenspace against its eigenvalue. {'; '.join(told)}."
    caption = (
        "Mean frequency of the motion in each eigenspace of the graph, against its eigenvalue, "
        f"with 95 % intervals; series of {section['lags']} frames "
        f"{format_time(section['spacing_fs'])} apart from {section['windows']} starts, frames "
        "superposed on the start. The points rise if the graph orders motion by its time scale."
    )
    draw = partial(_draw_frequencies, spaces)
    return Picture("eigenspace-frequencies", draw, words, rows, caption)


def _draw_frequencies(spaces: Sequence[Space], layout: Layout) -> Figure:
    figure = layout.figure(0.9, 0.42)
    axes = figure.add_subplot()
    for kind, marker in ((TRUE, "o"), (PREDICTED, "s")):
        known = [
            (each["eigenvalue"], *_bounds(each[kind]))
            for each in spaces
            if each["eigenvalue"] > _STILL and each[kind]["frequency_per_ps"] is not None
        ]
        if not known:
            continue
        x, value, low, high = np.asarray(known, dtype=np.float64).T
        options = style(kind, PREDICTED, layout) | {"ls": "none", "marker": marker}
        axes.errorbar(
            x,
            value,
            (value - low, high - value),
            **options | {"lw": None, "elinewidth": layout.stroke, "capsize": 2},
            ms=5 * layout.stroke,
        )
    axes.set_yscale("log")
    plain_decades(axes.yaxis)
    axes.set_xlabel("eigenvalue of the graph Laplacian", fontsize=layout.text)
    axes.set_ylabel("mean frequency (1/ps)", fontsize=layout.text)
    layout.plain(axes)
    legend(figure, [axes], layout)
    return figure


def _bounds(found: Mapping[str, Any]) -> tuple[float, float, float]:
    value = found["frequency_per_ps"]
    low, high = (found[f"frequency_{end}_per_ps"] for end in ("low", "high"))
    return value, value if low is None else low, value if high is None else high


def _chosen(spaces: Sequence[Space]) -> list[int]:
    """Eigenspaces whose spectra are drawn: evenly among those that move."""
    moving = [k for k, each in enumerate(spaces) if each["eigenvalue"] > _STILL]
    return [moving[k] for k in evenly(len(moving), _MOST_SPACES)]


def _powers(run: RunFiles, spaces: Sequence[Space]) -> Picture:
    frequency = run.arrays["spectra.frequency_per_ps"]
    powers = {
        kind: np.asarray(run.arrays[f"spectra.{KIND}_power_{kind}"], dtype=np.float64)
        for kind in (TRUE, PREDICTED)
    }
    chosen = _chosen(spaces)
    stride = -(-len(frequency) // _MOST_POINTS)
    rows: list[list[Any]] = [["eigenvalue", "frequency_per_ps", TRUE, PREDICTED]]
    for k in chosen:
        columns = (frequency, powers[TRUE][k], powers[PREDICTED][k])
        points = zip(*(each[::stride].tolist() for each in columns), strict=True)
        rows += [[spaces[k]["eigenvalue"], *point] for point in points]
    told = [
        f"eigenvalue {spaces[k]['eigenvalue']:.3g}: true power "
        f"{three(spaces[k][TRUE]['power_A2'])} Å², predicted "
        f"{three(spaces[k][PREDICTED]['power_A2'])} Å²"
        for k in chosen
    ]
    words = f"Power spectra of eigenspaces, true and predicted. {'; '.join(told)}."
    thinned = f" The file has one frequency in {stride}." if stride > 1 else ""
    caption = (
        "Temporal power spectra of the motion in single eigenspaces, in order of eigenvalue, on "
        f"one logarithmic scale.{thinned}"
    )
    draw = partial(_draw_powers, spaces, chosen, frequency, powers)
    return Picture("eigenspace-spectra", draw, words, rows, caption)


def _draw_powers(
    spaces: Sequence[Space],
    chosen: Sequence[int],
    frequency: NDArray[np.float64],
    powers: Mapping[str, NDArray[np.float64]],
    layout: Layout,
) -> Figure:
    figure, axes = grid(layout, len(chosen), height=0.85, sharex=True, sharey=True)
    top = max(float(each[list(chosen)].max()) for each in powers.values())
    for pane, k in zip(axes, chosen, strict=True):
        for kind in (TRUE, PREDICTED):
            shown = np.where(powers[kind][k] > 0, powers[kind][k], np.nan)
            pane.plot(frequency, shown, **style(kind, PREDICTED, layout))
        pane.set_title(f"eigenvalue {spaces[k]['eigenvalue']:.3g}", fontsize=layout.text)
        pane.set_yscale("log")
        pane.yaxis.set_major_formatter(power_of_ten)
        layout.plain(pane)
    axes[0].set_ylim(top / 10**_DECADES, 2 * top)
    axes[0].set_xlim(0, _last(frequency, powers[TRUE][list(chosen)].sum(0)))
    for pane in axes[-(2 if layout.narrow else 3) :]:
        pane.set_xlabel("frequency (1/ps)", fontsize=layout.text)
    figure.supylabel("power (Å² ps)", fontsize=layout.text)
    legend(figure, axes, layout)
    return figure


def _last(frequency: NDArray[np.float64], power: NDArray[np.float64]) -> float:
    """Up to where a spectrum holds all but a ten-thousandth of its power."""
    share = np.cumsum(power) / max(float(power.sum()), 1e-300)
    place = min(int(np.searchsorted(share, 1 - 1e-4)) + 1, len(frequency) - 1)
    return float(frequency[place])


# --------------------------------------------------------------------------- density of states


def _density(run: RunFiles, section: Mapping[str, Any]) -> Picture:
    frequency = run.arrays["spectra.density_frequency_per_ps"]
    densities = {
        kind: np.asarray(run.arrays[f"spectra.density_{kind}_K_ps"], dtype=np.float64)
        for kind in (TRUE, PREDICTED)
    }
    rows: list[list[Any]] = [["frequency_per_ps", "true_K_ps", "predicted_K_ps"]]
    columns = (frequency, *densities.values())
    rows += [list(row) for row in zip(*(each.tolist() for each in columns), strict=True)]
    states = section["density_of_states"]
    told = [
        f"{kind}: mean frequency {three(states[f'mean_frequency_{kind}_per_ps'])} per ps, "
        f"{three(states[f'temperature_{kind}_K'])} K"
        for kind in (TRUE, PREDICTED)
    ]
    far, floor = (three(states.get(key)) for key in ("distance_per_ps", "distance_floor_per_ps"))
    words = (
        f"Vibrational density of states, true and predicted. {'; '.join(told)}. Distance of the "
        f"spectra {far} per ps, of two halves of the truth {floor} per ps."
    )
    caption = (
        "Vibrational density of states: the spectrum of mass-weighted velocities, from "
        "differences of frames; its integral is the kinetic temperature. Scaled to unit area "
        f"(below), true and predicted spectra are {far} per ps apart (Wasserstein distance), two "
        f"halves of the truth {floor} per ps."
    )
    draw = partial(_draw_density, frequency, densities)
    return Picture("density-of-states", draw, words, rows, caption)


def _draw_density(
    frequency: NDArray[np.float64],
    densities: Mapping[str, NDArray[np.float64]],
    layout: Layout,
) -> Figure:
    figure = layout.figure(1.1, 0.5)
    upper, lower = figure.subplots(2, 1, sharex=True)
    step = float(frequency[1] - frequency[0])
    for kind, density in densities.items():
        options = style(kind, PREDICTED, layout)
        upper.plot(frequency, density, **options)
        area = float(density.sum()) * step
        lower.plot(frequency, density / area if area > 0 else density, **options)
    upper.set_ylabel("K ps", fontsize=layout.text)
    lower.set_ylabel("scaled (ps)", fontsize=layout.text)
    lower.set_xlabel("frequency (1/ps)", fontsize=layout.text)
    lower.set_xlim(0, _last(frequency, densities[TRUE]))
    for axes in (upper, lower):
        axes.set_ylim(bottom=0)
        layout.plain(axes)
    legend(figure, [upper], layout)
    return figure


def _table(spaces: Sequence[Space]) -> Table:
    kinds = (TRUE, PREDICTED)
    head = ["eigenvalue", "modes"]
    head += [f"{kind}: mean frequency, 1/ps" for kind in kinds]
    head += [f"{kind}: power, Å²" for kind in kinds]
    head += [f"{kind}: memory, ps" for kind in kinds]
    keys = ("frequency_per_ps", "power_A2", "memory_ps")
    values = [
        [each["eigenvalue"], each["modes"], *(each[kind][key] for key in keys for kind in kinds)]
        for each in spaces
    ]
    body = [[f"{row[0]:.4g}", str(row[1]), *(three(each) for each in row[2:])] for row in values]
    caption = "Eigenspaces of the graph: frequency, power and memory of their motion"
    names = ["eigenvalue", "modes", *(f"{kind}_{key}" for key in keys for kind in kinds)]
    return Table("eigenspaces", caption, head, body, [names, *values])
