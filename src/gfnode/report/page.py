"""The report of a run: one HTML file that needs no network, no server and no other file."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gfnode.presets import flat
from gfnode.report import curves, described, downloads, structures, summary
from gfnode.report.loading import RunFiles, fitting
from gfnode.report.numbers import times
from gfnode.report.panels import physics_panels
from gfnode.report.pictures import Panel, Picture
from gfnode.report.summary import rms_interval
from gfnode.report.tables import COLUMNS
from gfnode.report.template import check_target, fill, rms, save
from gfnode.units import format_time

WORST_ATOMS = 10  # in the table


def write_page(folder: str | Path, out: str | Path) -> Path:
    """Write the report of an evaluated run as one HTML file.

    Parameters
    ----------
    folder
        A run folder with ``evaluation.json``, ``errors.npz`` and ``examples.npz``, and
        ``physics.json`` and ``physics.npz`` where physics was measured; ``gfnode report`` makes
        what is missing.
    out
        The file to write.

    Raises
    ------
    InputError
        When the folder lacks something, is damaged, or the file cannot be written.
    """
    folder, out = Path(folder), check_target(Path(out))
    run = RunFiles.read(folder)
    with fitting(folder):
        return save(fill("run.html", _context(run)), out)


def run_pictures(run: RunFiles) -> dict[str, Picture]:
    """Error against lag, errors of atoms, and training where there was some."""
    errors, labels = atom_errors(run), run.labels
    best = run.facts.get("training", {}).get("best_epoch")
    found = [
        Picture(
            "errors",
            partial(curves.error_curves, run.evaluation),
            described.errors_in_words(run.evaluation["methods"]),
            downloads.by_lag(run.evaluation["methods"]),
        ),
        Picture(
            "atoms",
            partial(curves.atom_curves, errors, labels),
            described.atoms_in_words(errors, labels),
            downloads.atoms(labels, run.examples),
        ),
    ]
    if run.history:
        found.append(
            Picture(
                "training",
                partial(curves.training_curves, run.history, best, run.loss_unit),
                described.training_in_words(run.history, best, run.loss_unit),
                downloads.history(run.history),
            )
        )
    return {each.name: each for each in found}


def all_pictures(run: RunFiles) -> list[Picture]:
    """Every figure of a run."""
    panels = physics_panels(run)
    return [*run_pictures(run).values(), *(each for panel in panels for each in panel.pictures)]


def atom_errors(run: RunFiles) -> dict[str, Any]:
    """Errors of atoms, the model first."""
    return dict(sorted(run.examples.atom_errors.items(), key=lambda each: each[0] != run.model))


def _context(run: RunFiles) -> dict[str, Any]:
    """Everything the template shows."""
    facts, evaluation = run.facts, run.evaluation
    by_lag = summary.verdicts_by_lag(evaluation, run.windows)
    labels, errors = run.labels, atom_errors(run)
    panels = physics_panels(run)
    words = {
        "Model and data": summary.trained_on(facts, run.examples.weights),
        "Accuracy": summary.how_good(evaluation, run.physics),
        "Where it fails": summary.where_it_fails(evaluation, by_lag, errors, labels),
    }
    files = downloads.files(run, words) | downloads.of_panels(panels)
    atoms = sorted(
        ((label, *values) for label, *values in zip(labels, *errors.values(), strict=True)),
        key=lambda row: -row[1],
    )
    names, formulas = (
        list(dict.fromkeys(each[key] for each in facts["data"])) for key in ("name", "formula")
    )
    aligned = evaluation["targets_superposed_on_start"]
    packed = structures.pack(run.examples, facts["system"], name=run.model, aligned=aligned)
    return {
        "title": f"{', '.join(names)}: {run.model} report",
        "eyebrow": "gfnode report",
        "sections": _sections(run, panels),
        "facts": facts,
        "evaluation": evaluation,
        "names": names,
        "formulas": [each for each in formulas if each not in names],
        "words": words,
        "key": _key_figures(evaluation, run.best),
        "columns": COLUMNS,
        "by_lag": by_lag,
        "pictures": run_pictures(run),
        "panels": panels,
        "atom_methods": list(errors),
        "atoms": atoms[:WORST_ATOMS],
        "atom_count": len(atoms),
        "trained": facts.get("training", {}),
        "loss_unit": run.loss_unit,
        "history": run.history,
        "weights": run.examples.weights,
        "command": run.examples.command,
        "settings": settings_of(facts),
        "structures": {"runs": [packed]},
        "structure_notes": [],
        "files": files,
    }


def _sections(run: RunFiles, panels: list[Panel]) -> list[tuple[str, str]]:
    """Where the links on top lead."""
    return [
        ("summary", "Summary"),
        ("errors", "Error against lag"),
        ("structures", "Structures"),
        ("atoms", "Atoms"),
        *((panel.key, panel.title) for panel in panels),
        *([("training", "Training")] if run.history else []),
        ("run", "Run"),
        ("numbers", "Numbers"),
    ]


def _key_figures(evaluation: Mapping[str, Any], best: str) -> list[tuple[str, str, str]]:
    """Value, what it is, and its interval: the four numbers on top."""
    methods, ratio = evaluation["methods"], evaluation["verdicts"][best]["ratio"]
    ours, theirs = (methods[name]["mean_over_lags"] for name in (evaluation["model"], best))
    value = "∞" if ratio["value"] is None else times(ratio["value"])
    between = "" if ratio["low"] is None else f"{times(ratio['low'])} to {times(ratio['high'])}"
    return [
        (f"{value} ×", f"the squared error of {best}", between),
        (f"{rms(ours['value'])} Å", "root mean square error of an atom", rms_interval(ours)),
        (f"{rms(theirs['value'])} Å", f"the same for {best}", rms_interval(theirs)),
        (format_time(evaluation["horizon_fs"]), "horizon: the largest lag", ""),
    ]


def settings_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a run: dotted keys and their values as JSON."""
    return {key: json.dumps(value) for key, value in flat(facts["experiment"]).items()}
