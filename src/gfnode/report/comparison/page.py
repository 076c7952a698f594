"""The page of several runs side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from gfnode.report import downloads, structures
from gfnode.report.cells import verdict_cell, with_interval
from gfnode.report.comparison.curves import comparison_pictures
from gfnode.report.comparison.runs import Compared, differing
from gfnode.report.comparison.seeds import seeds_table
from gfnode.report.comparison.words import compared_words
from gfnode.report.loading import RunFiles, fitting
from gfnode.report.numbers import NOTHING, three
from gfnode.report.page import settings_of
from gfnode.report.panels.common import CONSTANT, FLOOR, estimate_cell, estimate_rows
from gfnode.report.panels.merits import merits
from gfnode.report.physics_table import atoms_words
from gfnode.report.pictures import Picture, Table
from gfnode.report.summary import rms_interval
from gfnode.report.tables import in_one_unit
from gfnode.report.template import check_target, fill, rms, save
from gfnode.units import format_time


def write_comparison(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Write several evaluated runs side by side as one HTML file.

    Runs judged on the same test windows are compared in pairs, with intervals over blocks of time;
    of others the page says why they cannot be.

    Parameters
    ----------
    folders
        Run folders as for :func:`gfnode.report.write_page`, two to twelve.
    out
        The file to write.

    Raises
    ------
    InputError
        When a folder lacks something or is damaged, or the file cannot be written.
    """
    out = check_target(Path(out))
    with fitting(*map(Path, folders)):
        return save(fill("compare.html", _context(Compared.read(folders))), out)


def _context(compared: Compared) -> dict[str, Any]:
    pictures, tables = comparison_pictures(compared), _tables(compared)
    packed, notes = structures.pack_several(
        [
            (name, run.examples, run.facts["system"], run.evaluation["targets_superposed_on_start"])
            for name, run in compared.named
        ]
    )
    words = compared_words(compared)
    return {
        "title": f"{', '.join(compared.names)}: gfnode comparison",
        "eyebrow": f"gfnode comparison of {len(compared.runs)} runs",
        "sections": [
            ("summary", "Summary"),
            ("errors", "Error against lag"),
            *([("paired", "Paired")] if any(each.verdict for each in compared.pairs) else []),
            ("structures", "Structures"),
            *([("physics", "Physics")] if "compared-physics" in tables else []),
            *([("training", "Training")] if "compared-training" in pictures else []),
            ("settings", "Settings"),
            ("numbers", "Numbers"),
        ],
        "names": compared.names,
        "molecules": list(dict.fromkeys(run.molecules for run in compared.runs)),
        "words": words,
        "pictures": pictures,
        "tables_of": tables,
        "structures": {"runs": packed},
        "structure_notes": notes,
        "files": _files(compared, words, pictures, tables),
    }


def _files(
    compared: Compared,
    words: dict[str, list[str]],
    pictures: dict[str, Picture],
    tables: dict[str, Table],
) -> dict[str, downloads.File]:
    rows: list[list[Any]] = []
    for name, run in compared.named:
        score = np.asarray(run.facts["system"]["score"])
        head, *body = downloads.followed_rows(run.examples, score)
        rows = rows or [["run", *head]]
        rows += [[name, *row] for row in body]
    found = downloads.of_figures([*pictures.values(), *tables.values()])
    found["examples"] = downloads.csv_file("examples", "RMSD of the examples of all runs", rows)
    everything = {
        "summary": words,
        "runs": {
            name: {
                "folder": str(run.folder),
                "run": {key: value for key, value in run.facts.items() if key != "system"},
                "evaluation": run.evaluation,
                "physics": run.physics,
                "weights": run.examples.weights,
            }
            for name, run in compared.named
        },
    }
    what = "every number of the runs"
    return found | {"comparison_json": downloads.json_file("comparison", what, everything)}


# --------------------------------------------------------------------------- tables


def _tables(compared: Compared) -> dict[str, Table]:
    found = [_runs(compared), _settings(compared)]
    if (seeds := seeds_table(compared)) is not None:
        found.append(seeds)
    edges = {tuple(r.evaluation["methods"][r.model]["lag_edges_fs"]) for r in compared.runs}
    if len(edges) == 1:
        found.append(_lags(compared))
    if any(each.verdict for each in compared.pairs):
        found.append(_pairs(compared))
    if any(run.physics for run in compared.runs):
        found.append(_physics(compared))
    return {each.name: each for each in found}


def _runs(compared: Compared) -> Table:
    molecule = [] if compared.one_molecule else ["molecules"]
    head = [
        *("run", "model", *molecule, "weights", "training windows", "epochs", "training time"),
        *("rms error of an atom, Å", "error, 10⁻² Å²", "best trivial", "error / best trivial"),
    ]
    keys = [
        *("run", "model", *molecule, "weights", "training_windows", "epochs", "training_seconds"),
        *("error_value", "error_low", "error_high", "best_trivial"),
        *("ratio_value", "ratio_low", "ratio_high", "verdict"),
    ]
    body, rows = [], [keys]
    for name, run in compared.named:
        trained = run.facts.get("training", {})
        error = run.evaluation["methods"][run.model]["mean_over_lags"]
        against = run.evaluation["verdicts"][run.best]
        ratio = against["ratio"]
        seconds = trained.get("seconds")
        what = [name, run.model, *([run.molecules] if molecule else []), run.examples.weights]
        what += [run.facts["windows"]["train"], trained.get("epochs")]
        body.append(
            [
                *(NOTHING if each is None else str(each) for each in what),
                NOTHING if seconds is None else f"{seconds:.0f} s",
                _rms(error),
                with_interval(error),
                run.best,
                with_interval(ratio, three) + Markup("<br>") + verdict_cell(against["verdict"]),
            ]
        )
        parts = ("value", "low", "high")
        rows.append(
            [
                *(*what, seconds, *(error[key] for key in parts), run.best),
                *(*(ratio[key] for key in parts), against["verdict"]),
            ]
        )
    caption = "The runs: errors per coordinate over all lags, with 95 % intervals"
    return Table("runs", caption, head, body, rows)


def _rms(error: dict[str, Any]) -> str:
    found = rms_interval(error)
    note = Markup(' <span class="interval">{}</span>').format(found) if found else ""
    return Markup("{}").format(rms(error["value"])) + note


def _lags(compared: Compared) -> Table:
    first = compared.runs[0]
    edges = first.evaluation["methods"][first.model]["lag_edges_fs"]
    methods = [run.evaluation["methods"][run.model]["by_lag"] for run in compared.runs]
    body, rows = [], [["to_fs", *compared.names]]
    ends = in_one_unit(edges[1:])
    for number, edge in enumerate(edges[1:]):
        cells = [each[number] for each in methods]
        shown = [with_interval(cell) if cell["count"] else NOTHING for cell in cells]
        body.append([f"to {ends[number]}", *shown])
        rows.append([edge, *(cell["value"] for cell in cells)])
    caption = "Error by lag, in 10⁻² Å² per coordinate, with 95 % intervals"
    return Table("compared-lags", caption, ["lags", *compared.names], body, rows)


def _pairs(compared: Compared) -> Table:
    """Each run, in rows, against each other, in columns."""
    body = []
    for one, name in enumerate(compared.names):
        row: list[str] = [name]
        for other in range(len(compared.names)):
            found = compared.verdict(one, other)
            if found is None:
                row.append(NOTHING)
                continue
            word, ratio = found
            row.append(with_interval(ratio, three) + Markup("<br>") + verdict_cell(word))
        body.append(row)
    keys = ["first", "second", "windows", "blocks", "verdict", "ratio", "low", "high"]
    keys += ["difference", "difference_low", "difference_high", "why_not"]
    rows: list[list[Any]] = [keys]
    for each in compared.pairs:
        names = [compared.names[each.first], compared.names[each.second]]
        found_pair = each.verdict
        if found_pair is None:
            rows.append([*names, *[None] * (len(keys) - 3), each.reason])
            continue
        estimates = [
            value if np.isfinite(value) else None
            for part in (found_pair.ratio, found_pair.difference)
            for value in (part.value, part.low, part.high)
        ]
        rows.append([*names, each.windows, each.blocks, found_pair.verdict, *estimates, ""])
    caption = "Mean squared error of the row's run divided by that of the column's run"
    head = ["", *(f"against {name}" for name in compared.names)]
    return Table("pairs", caption, head, body, rows)


def _physics(compared: Compared) -> Table:
    """Runs beside each other, and beside constant and floor where these are the same for all."""
    columns = {name: merits(run) for name, run in compared.named}
    if compared.same_windows:
        measured = next(run for run in compared.runs if run.physics)
        columns |= {name: merits(measured, name) for name in (CONSTANT, FLOOR)}
    keys = list(dict.fromkeys(key for each in columns.values() for key in each))
    body = [[key, *(estimate_cell(each.get(key)) for each in columns.values())] for key in keys]
    rows: list[list[Any]] = [["measure", "method", "value", "low", "high"]]
    rows += [
        estimate_rows([key, name], each[key])
        for key in keys
        for name, each in columns.items()
        if key in each
    ]
    of = {atoms_words(run.physics) for run in compared.runs if run.physics}
    atoms = (
        ", on different atoms" if len(of) > 1 else "".join(f", on {each}" for each in of if each)
    )
    caption = f"Physics of predictions{atoms}, with 95 % intervals"
    return Table("compared-physics", caption, ["measure", *columns], body, rows)


def _settings(compared: Compared) -> Table:
    settings = [_facts(run) | settings_of(run.facts) for run in compared.runs]
    rows = [[key, *values] for key, values in differing(settings).items()]
    caption = "Settings, data and versions that differ"
    head = ["setting", *compared.names]
    return Table("differing", caption, head, rows, [head, *rows])


def _facts(run: RunFiles) -> dict[str, str]:
    """What else may differ between runs."""
    versions = run.facts.get("versions", {})
    return {
        "data": ", ".join(f"{d['name']} ({d['frames']} frames)" for d in run.facts["data"]),
        "fingerprints": ", ".join(str(each)[:12] for each in run.fingerprints),
        "seed": str(run.facts.get("seed")),
        "windows": ", ".join(f"{count} {name}" for name, count in run.facts["windows"].items()),
        "horizon": format_time(run.facts["system"]["horizon_fs"]),
        "scored atoms": str(len(run.facts["system"]["score"])),
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }
