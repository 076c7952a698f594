"""Kinetics, momenta and temperature, and energies of predictions."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gfnode.report.loading import RunFiles
from gfnode.report.motion_table import MOMENTA
from gfnode.report.numbers import three, with_interval
from gfnode.report.panels.common import (
    BANDS,
    TRUE,
    Content,
    by_lag_rows,
    draw_by_lag,
    ends,
    follow_curves,
    grid,
    legend,
    span_curves,
    style,
)
from gfnode.report.pictures import Layout, Picture, Table
from gfnode.units import format_time


def kinetics(run: RunFiles) -> Content | None:
    """Panel of the section ``kinetics``."""
    if (section := run.physics.get("kinetics")) is None:
        return None
    methods = {TRUE: section[TRUE], **section["methods"]}
    edges = section["lag_edges_fs"]
    rows: list[list[Any]] = [["quantity", "method", "from_fs", "to_fs", "value", "low", "high"]]
    for name, found in methods.items():
        rows += by_lag_rows(edges, ["vamp2", name], found["vamp2"])
        for place, series in enumerate(_series(found)):
            rows += by_lag_rows(edges, [f"timescale_{place + 1}_ps", name], series)
    told = "; ".join(
        f"{label}: score {ends(methods[name]['vamp2'])}, slowest timescale "
        f"{ends(_series(methods[name])[0])} ps"
        for name, label in ((TRUE, "true"), (run.model, "predicted"))
    )
    words = f"VAMP-2 score and slowest implied timescale against lag. {told}."
    names = ", ".join(section["names"][:8]) + (" …" if len(section["names"]) > 8 else "")
    caption = (
        f"Left: VAMP-2 score of the transition from start to lag, in {section['features']} "
        f"({names}): how much memory of the start is left (1: none). Right: the slowest implied "
        "timescale, on a logarithmic axis, without zeros, if curves are decades apart. "
        f"{BANDS.capitalize()}."
    )
    draw = partial(_draw_kinetics, run, methods, edges)
    picture = Picture("kinetics", draw, words, rows, caption)
    return Content(_kinetics_words(run, methods), [picture])


def _series(found: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """Implied timescales by lag bin, the slowest first."""
    return [list(each) for each in zip(*found["timescales_ps"], strict=True)]


def _kinetics_words(run: RunFiles, methods: Mapping[str, Any]) -> list[str]:
    last = {
        name: [each for each in methods[name]["vamp2"] if each["value"] is not None]
        for name in (TRUE, run.model)
    }
    if not all(last.values()):
        return []
    true, mine = (last[name][-1] for name in (TRUE, run.model))
    known = None not in (true["low"], true["high"], mine["low"], mine["high"])
    if not known or (mine["low"] <= true["high"] and true["low"] <= mine["high"]):
        kind = "no significant difference"
    else:
        more = "more" if mine["value"] > true["value"] else "less"
        kind = f"predictions keep {more} memory of the start than MD"
    return [
        f"At the longest lags the VAMP-2 score is {with_interval(true)} in the truth and "
        f"{with_interval(mine)} in predictions (1: no memory of the start): {kind}."
    ]


def _draw_kinetics(
    run: RunFiles, methods: Mapping[str, Any], edges: Sequence[float], layout: Layout
) -> Figure:
    figure = layout.figure(0.95, 0.42)
    axes = figure.subplots(1, 2).tolist()
    lags = run.lags_ps(edges)
    for name in (TRUE, run.best, run.model):
        if name in methods:
            options = style(name, run.model, layout)
            draw_by_lag(axes[0], lags, methods[name]["vamp2"], **options)
            draw_by_lag(axes[1], lags, _series(methods[name])[0], **options)
    titles = ("VAMP-2 score", "slowest timescale (ps)")
    for pane, title in zip(axes, titles, strict=True):
        pane.set_title(title, fontsize=layout.text)
        pane.set_xlabel("lag (ps)", fontsize=layout.text)
    follow_curves(axes[0])
    span_curves(axes[1])
    for pane in axes:
        pane.locator_params(axis="x", nbins=5)
        layout.plain(pane)
    legend(figure, axes, layout)
    return figure


# --------------------------------------------------------------------------- momenta, temperature


def motion(run: RunFiles) -> Content | None:
    """Panel of the section ``motion``."""
    if (section := run.physics.get("motion")) is None:
        return None
    methods = {TRUE: section[TRUE], **section["methods"]}
    edges, start = section["lag_edges_fs"], section["start"]
    rows: list[list[Any]] = [["quantity", "method", "from_fs", "to_fs", "value", "low", "high"]]
    for name, found in methods.items():
        rows += by_lag_rows(edges, ["temperature_K", name], found["temperature_K"])
        for key in found:
            if key.startswith(("momentum", "angular")):
                for low, high, each in zip(edges[:-1], edges[1:], found[key], strict=True):
                    rows.append([key, name, low, high, each, None, None])
    told = "; ".join(
        f"{label}: {ends(methods[name]['temperature_K'])} K"
        for name, label in ((TRUE, "true"), (run.model, "predicted"))
    )
    words = f"Kinetic temperature and change of momenta against lag. {told}."
    caption = (
        f"Kinetic temperature over {section['degrees_of_freedom']} degrees of freedom (at the "
        f"start {start['temperature_K']:.3g} K; {BANDS}), and change of total momentum and angular "
        "momentum since the start, relative to their thermal sizes. A mean prediction slows down "
        "and appears cold."
    )
    mine = methods[run.model]
    hot, cold = (methods[name]["temperature_K"][-1]["value"] for name in (TRUE, run.model))
    sentences = []
    if hot is not None and cold is not None:
        sentences.append(
            f"At the longest lags, up to {format_time(edges[-1])}, the kinetic temperature is "
            f"{cold:.3g} K in predictions and {hot:.3g} K in the truth."
        )
    known = [
        f"{label} by {max(changes):.2g}"
        for key, label in MOMENTA.items()
        if (changes := [each for each in mine.get(key, ()) if each is not None])
    ]
    if known:
        sentences.append(
            f"Predictions change the total {' and '.join(known)} of its thermal size at most; in "
            "an isolated molecule both are conserved."
        )
    draw = partial(_draw_motion, run, methods, edges)
    return Content(sentences, [Picture("motion", draw, words, rows, caption)])


def _draw_motion(
    run: RunFiles, methods: Mapping[str, Any], edges: Sequence[float], layout: Layout
) -> Figure:
    figure, axes = grid(layout, 3, height=1.0)
    lags = run.lags_ps(edges)
    for name in (TRUE, run.best, run.model):
        if name not in methods:
            continue
        options = style(name, run.model, layout)
        draw_by_lag(axes[0], lags, methods[name]["temperature_K"], **options)
        for pane, key in zip(axes[1:], MOMENTA, strict=True):
            pane.plot(lags, np.array(methods[name][key], dtype=np.float64), **options)
    axes[0].set_title("temperature (K)", fontsize=layout.text)
    for pane, label in zip(axes[1:], MOMENTA.values(), strict=True):
        pane.set_title(f"{label}\nchange / thermal", fontsize=layout.text)
    for pane in axes:
        pane.set_xlabel("lag (ps)", fontsize=layout.text)
        follow_curves(pane)
        pane.locator_params(nbins=4)
        layout.plain(pane)
    legend(figure, axes, layout)
    return figure


# --------------------------------------------------------------------------- energies


def energy(run: RunFiles) -> Content | None:
    """Panel of the section ``energy``."""
    if (section := run.physics.get("energy")) is None:
        return None
    methods = {TRUE: section[TRUE], **section["methods"]}
    quantiles = next(
        (list(each["quantiles_kcal_mol"]) for each in methods.values() if "mean_kcal_mol" in each),
        [],
    )
    keys = ("mean_kcal_mol", "spread_kcal_mol")
    head = ["method", "mean", "standard deviation"]
    head += [f"{100 * float(each):g} % below" for each in quantiles] + ["without energy"]
    rows: list[list[Any]] = [["method", *keys, *quantiles, "without_energy"]]
    for name, found in methods.items():
        shares = found.get("quantiles_kcal_mol", {})
        values = [*(found.get(key) for key in keys), *(shares.get(each) for each in quantiles)]
        rows.append([name, *values, found["without_energy"]])
    body = [[str(row[0]), *map(three, row[1:-1]), str(row[-1])] for row in rows[1:]]
    caption = (
        f"Potential energies by {section['engine']} of {section['frames']} conformations per "
        "method, in kcal/mol relative to the true mean"
    )
    words = []
    mine, true = methods[run.model], methods[TRUE]
    if "mean_kcal_mol" in mine and "spread_kcal_mol" in true:
        words.append(
            f"Predicted conformations are {mine['mean_kcal_mol']:.3g} kcal/mol above the true ones "
            f"on average; the true standard deviation is {true['spread_kcal_mol']:.3g} kcal/mol."
        )
    return Content(words, tables=[Table("energies", caption, head, body, rows)])
