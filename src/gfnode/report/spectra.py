"""The spectra of a trajectory: a table, a sentence and a picture."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.table import Table

from gfnode.metrics.spectra import PER_CM
from gfnode.report.numbers import NOTHING, cell, signed, three, with_interval
from gfnode.report.plots import COLOURS, plain
from gfnode.report.sentences import called, seen_from
from gfnode.thinning import evenly
from gfnode.units import count, format_time

SHOWN = 16
"""At most so many eigenspaces are drawn and printed, evenly chosen."""


def spectrum_headline(result: Mapping[str, Any]) -> str:
    """What was looked at, in a line."""
    heat = result["temperature_K"]
    doubt = seen_from(None if result["velocities"] == "stored" else result["spacing_fs"])
    return (
        f"{called(result['molecule'], result['formula'])}: {count(result['atoms'], 'atom')}, "
        f"{result['frames']} frames every {format_time(result['spacing_fs'])}"
        + ("" if heat is None else f", {heat:.0f} K over 3N degrees of freedom")
        + (f" ({doubt})" if doubt and heat is not None else "")
    )


def spectrum_words(result: Mapping[str, Any]) -> list[str]:
    """Peaks and rank correlation, in sentences."""
    places = ", ".join(f"{each['wavenumber_per_cm']:.0f}" for each in result["peaks"])
    said = [
        f"Density of states: {f'peaks at {places} cm⁻¹' if places else 'no peaks'} "
        f"(resolution {result['resolution_per_cm']:.3g} cm⁻¹)."
    ]
    if result["folded"]:
        said = [
            f"Frames {format_time(result['spacing_fs'])} apart do not resolve vibrations: motion "
            f"faster than {result['highest_per_cm']:.3g} cm⁻¹ is aliased to a false frequency, so "
            "mean frequencies only rank motions by speed."
        ]
    ranks = result["rank_correlation"]
    if ranks["value"] is None:
        return [*said, "Rank correlation: fewer than three eigenspaces move."]
    verdict = "not shown to be slower"
    if ranks["low"] is not None and ranks["low"] > 0 and ranks["chance"] < 0.05:
        verdict = "slower"
    elif ranks["high"] is not None and ranks["high"] < 0:
        verdict = "not slower"
    frames = "superposed frames" if result["superposed"] else "frames not superposed"
    said.append(
        f"Low modes are {verdict}: rank correlation of mean frequency with eigenvalue "
        f"{with_interval(ranks, signed)} over {ranks['spaces']} eigenspaces ({frames}; "
        f"probability by chance {ranks['chance']:.3f})."
    )
    return said


def spectrum_table(result: Mapping[str, Any]) -> Table:
    """The eigenspaces of the graph."""
    table = Table(title="Eigenspaces of the molecular graph", title_justify="left")
    for name in ("eigenvalue", "modes", "mean frequency (1/ps)", "(cm⁻¹)", "amplitude (Å)"):
        table.add_column(name, justify="right")
    table.add_column("memory (ps)", justify="right")
    for each in _thinned(result["eigenspaces"]):
        frequency = {"value": each["frequency_per_ps"]}
        frequency |= {key: each[f"{key}_per_ps"] for key in ("low", "high")}
        memory = three(each["memory_ps"])
        if not each["memory_reached"] and memory != NOTHING:
            memory = f"> {memory}"
        table.add_row(
            f"{each['eigenvalue']:.4g}", str(each["modes"]), cell(frequency),
            three(each["wavenumber_per_cm"]), f"{each['amplitude']:.3f}", memory,
        )  # fmt: skip
    return table


def draw_spectrum(result: Mapping[str, Any], columns: NDArray[np.floating]) -> Figure:
    """Draw density of states, the spectrum of each eigenspace, and frequency against eigenvalue.

    Parameters
    ----------
    result
        Numbers of :meth:`gfnode.physics.spectrum.Spectrum.to_dict`, null where not finite.
    columns
        Its curves, as :meth:`gfnode.physics.spectrum.Spectrum.table` has them: frequency,
        wavenumber, density of states, and the power of each eigenspace.
    """
    figure = Figure(figsize=(11.0, 7.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1.0, 1.6))
    wavenumber, density = columns[:, 1], columns[:, 2]
    top = _upper(wavenumber, density)
    states = figure.add_subplot(grid[0, :])
    states.fill_between(wavenumber, density, color=COLOURS[0], alpha=0.2, lw=0)
    states.plot(wavenumber, density, color=COLOURS[0], lw=1.2)
    # a drifting or tumbling molecule may not squeeze its vibrations
    inner = density[wavenumber > 50]
    states.set_ylim(0, 1.18 * float(inner.max() if len(inner) else density.max()))
    highest = sorted(result["peaks"], key=lambda each: -each["height"])
    for place in _apart([each["wavenumber_per_cm"] for each in highest], 0.04 * top):
        height = float(density[np.abs(wavenumber - place) <= wavenumber[1]].max(initial=0.0))
        states.annotate(
            f"{place:.0f}", (place, height), (0, 3), textcoords="offset points", ha="center",
            fontsize=8, color="0.3", annotation_clip=True,
        )  # fmt: skip
    states.set_ylabel("density of states (ps)")
    states.set_title("vibrational density of states (integral one)", loc="left", fontsize=11)
    _wavenumbers(states, top)
    _ridges(figure.add_subplot(grid[1, 0]), result, columns, top)
    _ladder(figure.add_subplot(grid[1, 1]), result)
    figure.suptitle(spectrum_headline(result), x=0.01, ha="left", fontsize=12)
    return figure


def _ridges(
    axes: Axes, result: Mapping[str, Any], columns: NDArray[np.floating], top: float
) -> None:
    """Spectra of eigenspaces one above the other, each to its own height."""
    wavenumber, powers = columns[:, 1], columns[:, 3:].T
    moving = [k for k, each in enumerate(result["eigenspaces"]) if _moves(each)]
    chosen = _thinned(moving)
    for row, k in enumerate(chosen):
        height = powers[k] / max(float(powers[k].max()), 1e-300)
        axes.fill_between(wavenumber, row, row + 0.9 * height, color=COLOURS[0], alpha=0.35, lw=0)
        axes.plot(wavenumber, row + 0.9 * height, color=COLOURS[0], lw=0.8)
        mean = result["eigenspaces"][k]["wavenumber_per_cm"]
        axes.plot([mean, mean], [row, row + 0.7], color=COLOURS[1], lw=1.6)
    labels = [
        f"{each['eigenvalue']:.3g}" + (f" ({each['modes']}×)" if each["modes"] > 1 else "")
        for each in (result["eigenspaces"][k] for k in chosen)
    ]
    axes.set_yticks(range(len(chosen)), labels)
    axes.set_ylabel("eigenvalue (modes)")
    axes.set_title("power of each eigenspace; bar: mean frequency", loc="left", fontsize=11)
    _wavenumbers(axes, top)


def _ladder(axes: Axes, result: Mapping[str, Any]) -> None:
    """Mean frequency of each eigenspace against its eigenvalue."""
    spaces = [each for each in result["eigenspaces"] if _moves(each)]
    value = np.array([each["frequency_per_ps"] for each in spaces])
    known = [[each[f"{k}_per_ps"] for each in spaces] for k in ("low", "high")]
    ends = np.array(known, dtype=float)
    ends = np.where(np.isnan(ends), value, ends)
    eigenvalues = [each["eigenvalue"] for each in spaces]
    if spaces:
        axes.errorbar(
            eigenvalues, value, np.abs(ends - value), fmt="none", ecolor="0.6", capsize=3
        )  # fmt: skip
    sizes = [30 * each["modes"] for each in spaces]
    axes.scatter(eigenvalues, value, s=sizes, color=COLOURS[1], zorder=3)
    ranks = result["rank_correlation"]
    if ranks["value"] is not None:
        words = f"rank correlation {with_interval(ranks, signed)}"
        axes.set_title(words, loc="left", fontsize=11)
    axes.set_xlabel("eigenvalue of the graph Laplacian")
    axes.set_ylabel("mean frequency (1/ps)")
    axes.set_ylim(bottom=0)
    right = axes.secondary_yaxis("right", functions=(_to_cm, _from_cm))
    right.set_ylabel("(cm⁻¹)")
    plain(axes)


def _moves(space: Mapping[str, Any]) -> bool:
    return space["frequency_per_ps"] is not None and space["eigenvalue"] > 0


def _thinned(values: list[Any]) -> list[Any]:
    return [values[k] for k in evenly(len(values), SHOWN)]


def _upper(wavenumber: NDArray[np.floating], density: NDArray[np.floating]) -> float:
    """Where the spectrum ends for the eye: 99.5 % of it lie below."""
    share = np.cumsum(density) / max(float(density.sum()), 1e-300)
    last = min(int(np.searchsorted(share, 0.995)), len(share) - 1)
    return min(1.1 * float(wavenumber[last]), float(wavenumber[-1]))


def _apart(places: list[float], least: float) -> list[float]:
    """Those of the places, given the most important first, that leave room for one another."""
    kept: list[float] = []
    for place in places:
        if all(abs(place - other) >= least for other in kept):
            kept.append(place)
    return kept


def _wavenumbers(axes: Axes, top: float) -> None:
    axes.set_xlim(0, top)
    axes.set_xlabel("wavenumber (cm⁻¹)")
    above = axes.secondary_xaxis("top", functions=(_from_cm, _to_cm))
    above.tick_params(labelsize=8)
    above.set_xlabel("frequency (1/ps)", fontsize=8)
    plain(axes)


def _to_cm(frequency: Any) -> Any:
    return frequency * PER_CM


def _from_cm(wavenumber: Any) -> Any:
    return wavenumber / PER_CM
