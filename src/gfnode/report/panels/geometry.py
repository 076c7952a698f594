"""Bonds, angles, dihedrals, shape, and whether the molecule is still one."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gfnode.report.loading import RunFiles
from gfnode.report.numbers import two
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
    grid,
    legend,
    middles,
    style,
)
from gfnode.report.physics_table import COUNTS, FURTHEST, NEEDED, UNITS, atoms_words
from gfnode.report.pictures import Layout, Picture, Table

NAMES = {
    "bond": "bonds",
    "angle": "angles",
    "dihedral": "dihedrals",
    "improper": "impropers",
    "pair_distance": "pair distances",
    "radius_of_gyration": "radius of gyration",
    "rmsd": "RMSD",
    "rmsd_superposed": "RMSD, superposed",
}
MEASURES = {"error": "error", "wasserstein": "Wasserstein", "js_bits": "JS, bits"}
_MOST_PANES = 6
_WHICH = f"the coordinates with {FURTHEST}, and typical ones"
_NEARLY_ROUND = 300.0  # degrees: bins of a dihedral span the circle


class Shown(NamedTuple):
    """A coordinate whose distribution is drawn."""

    title: str
    unit: str
    centres: NDArray[np.float64]
    densities: dict[str, NDArray[np.float64]]


def geometry(run: RunFiles) -> Content | None:
    """Panel of the sections ``geometry``, ``shape`` and ``integrity``."""
    quantities: dict[str, Any] = {}
    for section in ("geometry", "shape"):
        quantities |= run.physics.get(section, {}).get("quantities", {})
    whole = run.physics.get("integrity", {})
    if not quantities and "methods" not in whole:
        return None
    pictures, tables = [], []
    if quantities:
        tables.append(quantity_table(run, quantities, "geometry", "Geometry and shape"))
        if shown := _shown(run, quantities):
            pictures.append(densities_picture(run, shown, "geometry-distributions", _WHICH))
        edges = next(
            run.physics[s]["lag_edges_fs"] for s in ("geometry", "shape") if s in run.physics
        )
        pictures.append(_by_lag(run, quantities, edges))
    if "methods" in whole:
        tables.append(_integrity(run, whole))
    of = atoms_words(run.physics)
    looked = f"Measured on {of} (with them: gfnode evaluate --atoms all)." if of else ""
    sentences = [*filter(None, [looked]), *_sentences(run, quantities), *_whole_words(run, whole)]
    return Content(sentences, pictures, tables)


def quantity_table(run: RunFiles, quantities: Mapping[str, Any], name: str, what: str) -> Table:
    """Error, Wasserstein distance and divergence of the model, the constant and the floor."""
    columns = (run.model, CONSTANT, FLOOR)
    head = ["quantity", "unit"]
    head += [f"{label}:\n{column}" for label in MEASURES.values() for column in columns]
    body = []
    rows: list[list[Any]] = [["quantity", "unit", "method", "measure", "value", "low", "high"]]
    for key, quantity in quantities.items():
        unit, methods = quantity["unit"], quantity["methods"]
        cells = [NAMES.get(key, key), UNITS.get(unit, unit)]
        for measure in MEASURES:
            found = [methods.get(each, {}).get(measure) for each in columns]
            cells += [estimate_cell(each, two) for each in found]  # of many columns
        body.append(cells)
        for method, found in methods.items():
            for measure in (*MEASURES, "relative"):
                if measure in found:
                    rows.append(estimate_rows([key, unit, method, measure], found[measure]))
    caption = (
        f"{what}: mean errors, and distances between distributions (Wasserstein, Jensen–Shannon "
        "divergence), with 95 % intervals"
    )
    return Table(f"{name}-numbers", caption, head, body, rows)


# --------------------------------------------------------------------------- distributions


def _shown(run: RunFiles, quantities: Mapping[str, Any]) -> list[Shown]:
    """Of each kind the coordinate predicted worst, then the best of those with room left."""
    chosen: list[tuple[str, str, int, str]] = []
    for rank in ("worst", "typical"):
        for section in ("geometry", "shape"):
            for key in run.physics.get(section, {}).get("quantities", {}):
                distances = run.arrays.get(f"{section}.{key}.wasserstein.{run.model}")
                if distances is None or (rank == "typical" and len(distances) < 3):
                    continue
                order = np.argsort(-np.nan_to_num(distances, posinf=1e9), kind="stable")
                place = order[0] if rank == "worst" else order[len(order) // 2]
                chosen.append((section, key, int(place), rank))
    found = []
    for section, key, place, rank in chosen[:_MOST_PANES]:
        single = quantities[key]["compared"] == 1
        title = NAMES.get(key, key) if single else f"{rank} of {NAMES.get(key, key)}"
        found.append(shown_density(run, f"{section}.{key}", place, title, quantities[key]["unit"]))
    return found


def shown_density(run: RunFiles, place: str, number: int, title: str, unit: str) -> Shown:
    """The densities of one coordinate, as ``physics.npz`` has them."""
    low, high = run.arrays[f"{place}.range"][number]
    densities = {
        method: np.asarray(run.arrays[f"{place}.density.{method}"][number], dtype=np.float64)
        for method in (TRUE, run.model, run.best, CONSTANT)
        if f"{place}.density.{method}" in run.arrays
    }
    edges = np.linspace(low, high, len(densities[TRUE]) + 1)
    if unit == "degree" and high - low > _NEARLY_ROUND:
        turned = np.exp(1j * np.radians(middles(edges)))
        if (densities[TRUE] * turned).sum().real < 0:  # the circle is cut where there is least
            half = len(edges) // 2
            edges = edges + 180
            densities = {method: np.roll(each, -half) for method, each in densities.items()}
    index = run.arrays.get(f"{place}.index")
    if index is not None and len(index) > 1:
        atoms = [run.examples.labels[i].split()[-1] for i in index[number]]
        title = f"{title}\n{'–'.join(atoms)}"
    return Shown(title, UNITS.get(unit, unit), middles(edges), densities)


def densities_picture(run: RunFiles, shown: list[Shown], name: str, which: str) -> Picture:
    """Small multiples of distributions, true and predicted; ``which`` they are, in words."""
    rows: list[list[Any]] = [["coordinate", "unit", "bin_centre", "method", "probability"]]
    words = ["Distributions of single coordinates, true and predicted."]
    for each in shown:
        title = each.title.replace("\n", " ")
        turned = (each.unit == "°") & (each.centres > 180)  # drawn a turn further on
        centres = (each.centres - 360 * turned).tolist()
        for method, density in each.densities.items():
            pairs = zip(centres, density.tolist(), strict=True)
            rows += [[title, each.unit, centre, method, p] for centre, p in pairs]
        spread = {m: _spread(each.centres, p, each.unit) for m, p in each.densities.items()}
        told = ", ".join(
            f"{label} {spread[m][0]:.4g} ± {spread[m][1]:.2g} {each.unit}"
            for m, label in ((TRUE, "true"), (run.model, "predicted"))
        )
        words.append(f"{title}: {told}.")
    caption = (
        f"Distributions over all test windows and lags: {which}. A narrow peak where the truth is "
        "broad indicates a mean prediction; peaks are cut off at three times the highest true one."
    )
    draw = partial(_draw_densities, run.model, run.best, shown)
    return Picture(name, draw, " ".join(words), rows, caption)


def _spread(
    centres: NDArray[np.float64], density: NDArray[np.float64], unit: str
) -> tuple[float, float]:
    """Mean and standard deviation, on the circle where that is what the bins span."""
    total = max(float(density.sum()), 1e-300)
    if unit == "°" and centres[-1] - centres[0] > _NEARLY_ROUND:
        mean = np.angle((density * np.exp(1j * np.radians(centres))).sum())
        off = np.angle(np.exp(1j * (np.radians(centres) - mean)))
        deviation = np.sqrt((density * np.square(off)).sum() / total)
        return float(np.degrees(mean)), float(np.degrees(deviation))
    mean = float((density * centres).sum()) / total
    return mean, float(np.sqrt((density * np.square(centres - mean)).sum() / total))


def _draw_densities(model: str, best: str, shown: list[Shown], layout: Layout) -> Figure:
    figure, axes = grid(layout, len(shown), height=0.85)
    for pane, each in zip(axes, shown, strict=True):
        width = float(each.centres[1] - each.centres[0])
        true = each.densities[TRUE] / width
        top = float(true.max())
        pane.fill_between(each.centres, true, color="0.35", alpha=0.2, lw=0, step="mid")
        for method in (TRUE, best, model):
            if method in each.densities:
                options = style(method, model, layout)
                pane.step(each.centres, each.densities[method] / width, where="mid", **options)
                top = max(top, float(min(each.densities[method].max() / width, 3 * true.max())))
        if CONSTANT in each.densities:
            place = each.centres[int(np.argmax(each.densities[CONSTANT]))]
            pane.axvline(float(place), **style(CONSTANT, model, layout))
        pane.set_ylim(0, 1.1 * top)
        pane.set_xlim(*_support(each))
        pane.set_yticks([])
        pane.set_title(each.title, fontsize=layout.text)
        pane.set_xlabel(each.unit, fontsize=layout.text)
        layout.plain(pane)
        pane.spines["left"].set_visible(False)
        pane.locator_params(axis="x", nbins=4)
        if each.unit == "°":
            pane.xaxis.set_major_formatter(_degrees)
    legend(figure, axes, layout)
    return figure


def _degrees(value: float, _: Any) -> str:
    return f"{value - 360 if value > 180 else value:g}".replace("-", "−")


def _support(shown: Shown) -> tuple[float, float]:
    """Where there is something to see."""
    seen = np.zeros(len(shown.centres), bool)
    for density in shown.densities.values():
        seen |= density > 1e-3 * density.max()
    inside = shown.centres[seen]
    width = float(shown.centres[1] - shown.centres[0])
    margin = 0.1 * float(inside[-1] - inside[0]) + width
    low, high = float(shown.centres[0]) - width / 2, float(shown.centres[-1]) + width / 2
    return max(low, float(inside[0]) - margin), min(high, float(inside[-1]) + margin)


# --------------------------------------------------------------------------- by lag


def _by_lag(run: RunFiles, quantities: Mapping[str, Any], edges: list[float]) -> Picture:
    rows: list[list[Any]] = [
        ["quantity", "unit", "measure", "method", "from_fs", "to_fs", "value", "low", "high"]
    ]
    words = ["Mean error of geometry against lag."]
    for key, quantity in quantities.items():
        unit = UNITS.get(quantity["unit"], quantity["unit"])
        for method, found in quantity["methods"].items():
            for measure in MEASURES:
                if f"{measure}_by_lag" in found:
                    name = [key, quantity["unit"], measure, method]
                    rows += by_lag_rows(edges, name, found[f"{measure}_by_lag"])
        mine = quantity["methods"][run.model]["error_by_lag"]
        floor = quantity["methods"][FLOOR]["error"]["value"]
        last = f", floor {floor:.3g} {unit}" if floor is not None else ""
        words.append(f"{NAMES.get(key, key)}: {ends(mine)} {unit}{last}.")
    caption = (
        "Mean absolute error against lag (for RMSD: its mean). Constant: mean geometry of the "
        "training data. Floor: a true frame of another stretch of MD as prediction. For RMSD both "
        f"are superposed on the start; {BANDS}."
    )
    draw = partial(_draw_by_lag, run.model, run.best, quantities, run.lags_ps(edges))
    return Picture("geometry-by-lag", draw, " ".join(words), rows, caption)


def _draw_by_lag(
    model: str,
    best: str,
    quantities: Mapping[str, Any],
    lags: NDArray[np.float64],
    layout: Layout,
) -> Figure:
    figure, axes = grid(layout, len(quantities), 4, height=0.95, sharex=True)
    for pane, (key, quantity) in zip(axes, quantities.items(), strict=True):
        for method in (FLOOR, CONSTANT, best, model):
            if method in quantity["methods"]:
                found = quantity["methods"][method]["error_by_lag"]
                draw_by_lag(pane, lags, found, **style(method, model, layout))
        unit = UNITS.get(quantity["unit"], quantity["unit"])
        pane.set_title(f"{NAMES.get(key, key)} ({unit})", fontsize=layout.text)
        follow_curves(pane)
        pane.locator_params(nbins=4)
        layout.plain(pane)
    for pane in axes[-(2 if layout.narrow else 4) :]:
        pane.set_xlabel("lag (ps)", fontsize=layout.text)
        pane.tick_params(labelbottom=True)
    legend(figure, axes, layout)
    return figure


# --------------------------------------------------------------------------- words


def _sentences(run: RunFiles, quantities: Mapping[str, Any]) -> list[str]:
    words = []
    for key in ("bond", "angle", "dihedral"):
        if key not in quantities:
            continue
        methods, unit = quantities[key]["methods"], UNITS[quantities[key]["unit"]]
        mine, constant, floor = (methods[m]["error"]["value"] for m in (run.model, CONSTANT, FLOOR))
        if None in (mine, constant, floor):
            words.append(f"Predicted {NAMES[key]}: the mean absolute error is unbounded.")
            continue
        unit = unit if unit == "°" else f" {unit}"
        text = (
            f"Predicted {NAMES[key]}: mean absolute error {mine:.3g}{unit} (fixed mean geometry "
            f"{constant:.3g}{unit}, unrelated true frame {floor:.3g}{unit})"
        )
        js = [methods[m]["js_bits"]["value"] for m in (run.model, FLOOR)]
        if None not in js:
            text += (
                f"; Jensen–Shannon divergence of the distributions {js[0]:.2g} bits (0: identical, "
                f"1: disjoint; two stretches of MD {js[1]:.2g})"
            )
        words.append(text + ".")
    return words


def _whole_words(run: RunFiles, whole: Mapping[str, Any]) -> list[str]:
    if run.model not in whole.get("methods", {}):
        return []
    mine, true = (
        whole["methods"].get(each, {}).get("frames_with_any", {}).get("value")
        for each in (run.model, TRUE)
    )
    if mine is None:
        return []
    beside = f" (true frames: {100 * true:.3g} %)" if true is not None else ""
    return [
        f"{100 * mine:.3g} % of predicted frames have a broken or collapsed bond, a clash or an "
        f"inverted centre{beside}."
    ]


def _integrity(run: RunFiles, whole: Mapping[str, Any]) -> Table:
    methods = whole["methods"]
    columns = [name for name in (TRUE, run.model, run.best) if name in methods]
    body = []
    for key, label in COUNTS.items():
        if not whole.get(NEEDED.get(key, ""), 1):
            continue
        found = [methods[name].get(key, {}).get("per_frame") for name in columns]
        if any(each is not None for each in found):
            body.append([label, *(estimate_cell(each) for each in found)])
    shares = [methods[name].get("frames_with_any") for name in columns]
    body.append(["share of frames with any of these", *(estimate_cell(each) for each in shares)])
    rows: list[list[Any]] = [["count", "method", "value", "low", "high"]]
    for name, found in methods.items():
        for key, each in found.items():
            rows.append(estimate_rows([key, name], each.get("per_frame", each)))
    caption = "Molecular integrity: counts per frame, with 95 % intervals"
    return Table("integrity", caption, ["count", *columns], body, rows)
