"""Figures 2, 3 and 4: the numbers behind them, and how they are drawn. Needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gfnode.metrics.distributions import jensen_shannon
from gfnode.metrics.ramachandran import BINS, density
from gfnode.metrics.spectra import PER_CM, mean_frequency, power_spectrum
from gfnode.paper.results import Result
from gfnode.paper.specs import Spec
from gfnode.report.plots import COLOURS, STYLES, plain
from gfnode.trajectory import Doubles
from gfnode.units import listed

FASTEST = 120.0
"""Frequencies of Figure 4 are drawn up to so many 1/ps: nothing in a molecule swings faster."""

Records = list[dict[str, Any]]
"""Rows of a CSV file."""


@dataclass(frozen=True)
class Drawn:
    """A figure, the numbers in it, and what they say.

    Parameters
    ----------
    figure
        To be saved.
    records
        Numbers by the ending of the CSV file that holds them.
    said
        Sentences.
    """

    figure: Figure
    records: Mapping[str, Records]
    said: Sequence[str]


# --------------------------------------------------------------------------- Ramachandran


def ramachandran(spec: Spec, results: Sequence[Result]) -> Drawn:
    """Figure 2: densities of φ and ψ over all test windows and lags, true and predicted."""
    rows = {row.id: row.title for row in spec.rows}
    variants = {variant.id: variant.title for variant in spec.variants}
    panels: dict[str, Doubles] = {}
    said: list[str] = []
    for place in dict.fromkeys((each.place.row, each.place.variant) for each in results):
        mine = [r for r in results if (r.place.row, r.place.variant) == place]
        measured = [each.measure("torsions") for each in mine]
        true = np.mean([density(m["phi_true"], m["psi_true"]) for m in measured], 0)
        predicted = np.mean([density(m["phi"], m["psi"]) for m in measured], 0)
        panels.setdefault("true", true)
        title = f"{rows[place[0]]}, {variants[place[1]]}"
        panels[title] = predicted
        apart = float(jensen_shannon(true.ravel(), predicted.ravel()))
        said.append(
            f"{title}: Jensen–Shannon divergence from the truth on its own test lags "
            f"{apart:.3f} bits (0 equal, 1 disjoint)."
        )
    figure = Figure(figsize=(4.2 * len(panels) + 0.8, 4.3), layout="constrained")
    shared = LogNorm(1e-5, max(float(p.max()) for p in panels.values()))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    image = None
    for panel, (title, values) in zip(axes, panels.items(), strict=True):
        masked = np.ma.masked_less_equal(values.T, 0)
        image = panel.imshow(
            masked, origin="lower", extent=(-180, 180, -180, 180), norm=shared, cmap="viridis"
        )
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("φ (°)")
        panel.set_ylabel("ψ (°)")
        panel.set_xticks(range(-180, 181, 90))
        panel.set_yticks(range(-180, 181, 90))
    assert image is not None
    width = f"{360 / BINS:g}°"
    figure.colorbar(image, ax=axes, label=f"probability of a bin of {width} × {width}")
    centres = (np.arange(BINS) + 0.5) * 360 / BINS - 180
    records: Records = [
        {"phi_deg": phi, "psi_deg": psi} | {name: p[i, j] for name, p in panels.items()}
        for i, phi in enumerate(centres)
        for j, psi in enumerate(centres)
    ]
    return Drawn(figure, {"": records}, said)


# --------------------------------------------------------------------------- horizons


def horizons(spec: Spec, results: Sequence[Result], metric: str, *, each: bool = False) -> Drawn:
    """Figure 3: error at the horizon against the horizon, a panel for each molecule.

    Parameters
    ----------
    each
        Whether every horizon has models of its own, be they finished or not.
    """
    titles = {row.id: row.title for row in spec.rows}
    scale = spec.quantities[0].scale
    records: Records = []
    for result in results:
        measured = result.measure("at-lags")
        step = float(result.facts["system"]["time_step_fs"])
        own = [k for k in measured if k.startswith("errors_")]
        lags = measured["lags_fs"][0]
        frames = np.round(lags / step).astype(int)
        # one model is looked at twice in each thousand frames, for a mean over lags
        chosen = [len(lags) - 1] if each else range(1, len(lags), 2)
        for key in own:
            method = key.removeprefix("errors_")
            model = method == result.model
            factor = 3 * scale if metric == "eq14" else scale
            for k in chosen:
                upto = slice(0, k + 1) if metric != "last-lag" else slice(k, k + 1)
                records.append(
                    {
                        "molecule": result.place.molecule,
                        "row": result.place.row if model else method,
                        "title": titles[result.place.row] if model else method,
                        "kind": "model" if model else "trivial",
                        "frames": int(frames[k]),
                        "horizon_ps": float(lags[k]) / 1000,
                        "seed": result.place.seed if model else 0,
                        "error": factor * float(measured[key][:, upto].mean()),
                    }
                )
    summed = _over_seeds(records)
    said = _say_horizons(summed)
    system = results[0].facts["system"]
    trained, reached = system["horizon_fs"], results[0].measure("at-lags")["lags_fs"].max()
    if trained < reached * (1 - 1e-6):
        span = round(trained / system["time_step_fs"])
        said.append(f"Rollouts: models of {span} frames, applied again and again beyond them.")
    return Drawn(_draw_horizons(spec, summed, metric), {"": summed}, said)


def _over_seeds(records: Records) -> Records:
    keys = ("molecule", "row", "title", "kind", "frames", "horizon_ps")
    found: dict[tuple[Any, ...], dict[int, float]] = {}
    for each in records:
        place = tuple(each[key] for key in keys)
        found.setdefault(place, {})[each["seed"]] = each["error"]
    return [
        dict(zip(keys, place, strict=True))
        | {
            "mean": float(np.mean(list(values.values()))),
            "spread": float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None,
            "seeds": len(values),
        }
        for place, values in found.items()
    ]


def _draw_horizons(spec: Spec, records: Records, metric: str) -> Figure:
    molecules = list(dict.fromkeys(each["molecule"] for each in records))
    names = list(dict.fromkeys((each["row"], each["kind"]) for each in records))
    names.sort(key=lambda each: each[1] != "model")
    figure = Figure(figsize=(5.4 * len(molecules) + 0.4, 5.2), layout="constrained")
    panels = figure.subplots(1, len(molecules), squeeze=False)[0]
    for panel, molecule in zip(panels, molecules, strict=True):
        above = _above(records, molecule)
        for number, (row, kind) in enumerate(names):
            mine = [e for e in records if (e["molecule"], e["row"]) == (molecule, row)]
            if row in above:
                continue
            mine.sort(key=lambda each: each["frames"])
            colour = COLOURS[number % len(COLOURS)] if kind == "model" else "0.5"
            marker, line = STYLES[number % len(STYLES)]
            panel.errorbar(
                [each["frames"] for each in mine],
                [each["mean"] for each in mine],
                [each["spread"] or 0.0 for each in mine],
                color=colour,
                marker=marker,
                ls=line if kind == "model" else ":",
                capsize=3,
                label=mine[0]["title"] if mine else row,
            )
        panel.set_title(molecule)
        panel.set_ylim(bottom=0)
        panel.set_xlabel("horizon (frames)")
        what = "" if metric == "last-lag" else f" ({metric})"
        panel.set_ylabel(f"{spec.quantities[0].title}{what}, {spec.quantities[0].unit}")
        plain(panel)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2 * min(2, len(panels)), frameon=False
    )
    return figure


def _above(records: Records, molecule: str) -> list[str]:
    """Trivial baselines so far off (ten times the best of anything) that they hide the others."""
    errors = {
        (each["row"], each["kind"], each["frames"]): each["mean"]
        for each in records
        if each["molecule"] == molecule
    }
    most = 10 * min(errors.values())
    far = [row for (row, kind, _), error in errors.items() if kind == "trivial" and error > most]
    return list(dict.fromkeys(far))


def _say_horizons(records: Records) -> list[str]:
    """Who is best at the longest horizon."""
    said = []
    for molecule in dict.fromkeys(each["molecule"] for each in records):
        mine = [each for each in records if each["molecule"] == molecule]
        longest = max(each["frames"] for each in mine)
        last = [each for each in mine if each["frames"] == longest]
        last.sort(key=lambda each: each["mean"])
        order = ", ".join(f"{each['title']} {each['mean']:.3g}" for each in last)
        said.append(f"{molecule}, {longest} frames, best first: {order}.")
        if above := _above(records, molecule):
            are = "is" if len(above) == 1 else "are"
            said.append(f"{molecule}: {listed(above)} {are} far above what the figure shows.")
    return said


# --------------------------------------------------------------------------- spectra


def spectrum(values: NDArray[np.floating], spacing_ps: float) -> tuple[Doubles, Doubles]:
    """Power spectral density of series, averaged over windows and components.

    Parameters
    ----------
    values
        ``(window, time, component)``.
    spacing_ps
        Between the times.

    Returns
    -------
    tuple
        Frequencies in 1/ps and density in the squared unit of the values times ps, both
        ``(frequency,)``; the density integrates to the mean square of a component. See
        :func:`gfnode.metrics.spectra.power_spectrum`.
    """
    frequency, power = power_spectrum(values, spacing_ps)
    return frequency, power.mean(0) / values.shape[-1]


def spectra(results: Sequence[Result], of: str) -> Drawn:
    """Figure 4: coefficients of each eigenspace over time, and their power spectra."""
    first = results[0]
    measured = [each.measure("modes") for each in results]
    coordinates = of == "coordinates"
    spaces = measured[0]["spaces" if coordinates else "feature_spaces"]
    kinds = ("coordinates_true", "coordinates") if coordinates else ("features",)
    lags = measured[0]["lags_fs"] / 1000
    step = float(lags[1] - lags[0])
    unit, squared = (" (Å)", " (Å² ps)") if coordinates else ("", "")
    eigenvalues = measured[0]["eigenvalues"]
    shown = np.unique(spaces)[:4]
    figure = Figure(figsize=(10.5, 2.3 * len(shown) + 0.8), layout="constrained")
    panels = figure.subplots(len(shown), 2, squeeze=False)
    powers: Records = []
    series: Records = []
    said = []
    for space, (left, right) in zip(shown, panels, strict=True):
        modes = np.flatnonzero(spaces == space)
        value = float(eigenvalues[modes[0]]) if coordinates or len(eigenvalues) > modes[0] else 0.0
        value = round(value, 9) + 0.0  # what is zero but for rounding
        title = f"eigenvalue {value:.3g}, {len(modes)} mode{'s' if len(modes) > 1 else ''}"
        middles = []
        for kind, colour, name in zip(kinds, COLOURS, ("true", "predicted"), strict=False):
            label = name if coordinates else "model"
            along = _along(measured[0][kind][0][:, modes])
            left.plot(lags, along, color=colour, lw=1.3, label=label)
            found = [spectrum(_flat(m[kind][:, :, modes]), step) for m in measured]
            frequency, power = found[0][0], np.mean([each for _, each in found], 0)
            right.semilogy(frequency[1:], power[1:], color=colour, lw=1.3, label=label)
            place = {"eigenvalue": value, "modes": len(modes), "of": of, "series": label}
            powers += [
                place | {"frequency_per_ps": f, "wavenumber_per_cm": f * PER_CM, "power": p}
                for f, p in zip(frequency, power, strict=True)
            ]
            series += [
                place | {"time_ps": t, "coefficient": c} for t, c in zip(lags, along, strict=True)
            ]
            centre = float(np.nan_to_num(mean_frequency(frequency, power)))
            middles.append(f"{label} {centre:.2f}/ps ({centre * PER_CM:.0f} cm⁻¹)")
        said.append(f"{title}: mean frequency of the spectrum {', '.join(middles)}.")
        right.set_xlim(0, min(FASTEST, float(frequency[-1])))
        left.set_title(title, fontsize=10, loc="left")
        left.set_ylabel(f"coefficient{unit}")
        right.set_ylabel(f"power{squared}")
        plain(left)
        plain(right)
    panels[-1, 0].set_xlabel("time (ps)")
    panels[-1, 1].set_xlabel("frequency (1/ps)")
    second = panels[0, 1].secondary_xaxis(
        "top", functions=(lambda f: f * PER_CM, lambda k: k / PER_CM)
    )
    second.set_xlabel("wavenumber (cm⁻¹)")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(f"{first.place.molecule}: {of} in the modes of the molecular graph")
    return Drawn(figure, {"": powers, "-time": series}, said)


def _along(values: NDArray[np.floating]) -> Doubles:
    """Coefficients ``(time, mode, component)`` along their direction at the first time.

    That neither depends on how the modes of one eigenspace are chosen, nor on the orientation.
    """
    flat = values.reshape(len(values), -1).astype(np.float64)
    return np.asarray(flat @ flat[0] / max(float(np.linalg.norm(flat[0])), 1e-300))


def _flat(values: NDArray[np.floating]) -> NDArray[np.floating]:
    return values.reshape(*values.shape[:2], -1)
