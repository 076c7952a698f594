"""The numbers of a report as files inside the page."""

import base64
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gfnode.examples import Examples
from gfnode.files import as_json
from gfnode.report.loading import History, RunFiles
from gfnode.report.pictures import Panel, Picture, Table
from gfnode.report.structures import distances

ESTIMATE = ("value", "low", "high", "count")
Rows = list[list[Any]]


class File(NamedTuple):
    """A file that a link of the page holds."""

    name: str
    what: str
    link: str


def files(run: RunFiles, words: Mapping[str, Sequence[str]]) -> dict[str, File]:
    """All files of a report by what they hold; errors in Å² per coordinate, times in fs."""
    examples, methods = run.examples, run.evaluation["methods"]
    score = np.asarray(run.facts["system"]["score"])
    followed = {each.kind: distances(each, score) for each in examples.examples}
    everything = {
        "summary": words,
        "run": {key: value for key, value in run.facts.items() if key != "system"},  # in run.json
        "evaluation": run.evaluation,
        "atom_errors": {name: values.tolist() for name, values in examples.atom_errors.items()},
        "atoms": run.labels,
        "history": run.history,
        "examples": {
            each.kind: {
                "window": each.window,
                "trajectory": each.trajectory,
                "frame": each.frame,
                "start_fs": each.start_fs,
                "error_over_mean_at_same_lags": each.relative,
                "lags_fs": each.lags_fs.tolist(),
            }
            | {f"{key}_angstrom": value.tolist() for key, value in followed[each.kind].items()}
            for each in examples.examples
        },
        "weights": examples.weights,
        "command": examples.command,
    }
    tables = {
        "methods": ("errors of every method", _methods(methods)),
        "lags": ("errors by lag", by_lag(methods)),
        "verdicts": ("comparisons", _verdicts(run.evaluation["verdicts"])),
        "atoms": ("errors by atom", atoms(run.labels, examples)),
        "examples": ("RMSD of the examples", followed_rows(examples, score)),
    }
    if run.history:
        tables["history"] = ("training history", history(run.history))
    found = {key: csv_file(key, what, rows) for key, (what, rows) in tables.items()}
    documents = [
        (
            "report",
            "every number of this page; curves and physics are in the other files",
            everything,
        ),
        ("evaluation", "comparison with the baselines", run.evaluation),
        ("run", "settings, molecule and data of the run", run.facts),
    ]
    if run.physics:
        documents.append(("physics", "physics of predictions", run.physics))
    return found | {f"{key}_json": json_file(key, what, data) for key, what, data in documents}


def of_panels(panels: Iterable[Panel]) -> dict[str, File]:
    """The numbers behind every picture and table of panels."""
    found: dict[str, File] = {}
    for panel in panels:
        found |= of_figures([*panel.pictures, *panel.tables])
    return found


def of_figures(figures: Iterable[Picture | Table]) -> dict[str, File]:
    """The numbers behind pictures and tables."""
    return {
        each.name: csv_file(
            each.name,
            each.caption if isinstance(each, Table) else each.words.split(". ")[0],
            each.rows,
        )
        for each in figures
    }


def csv_file(key: str, what: str, rows: Iterable[Iterable[Any]]) -> File:
    """A table as a file of the page."""
    return File(f"{key}.csv", what, _link("text/csv", csv_text(rows)))


def json_file(key: str, what: str, data: Mapping[str, Any]) -> File:
    """A JSON object as a file of the page."""
    # null for what is not finite; no spaces, since the graph of a protein is long
    text = json.dumps(as_json(data), ensure_ascii=False, separators=(",", ":"))
    return File(f"{key}.json", what, _link("application/json", text))


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV with every digit; what is not known stays empty."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def by_lag(methods: Mapping[str, Any]) -> Rows:
    """Errors of every method in every lag bin."""
    rows: Rows = [["method", "from_fs", "to_fs", *ESTIMATE]]
    for name, method in methods.items():
        edges = method["lag_edges_fs"]
        for low, high, each in zip(edges[:-1], edges[1:], method["by_lag"], strict=True):
            rows.append([name, low, high, *(each[part] for part in ESTIMATE)])
    return rows


def atoms(labels: Sequence[str], examples: Examples) -> Rows:
    """Errors of every scored atom."""
    columns = [values.tolist() for values in examples.atom_errors.values()]
    head = ["atom", *examples.atom_errors]
    return [head, *(list(row) for row in zip(labels, *columns, strict=True))]


def history(rows: History) -> Rows:
    """Of training, by epoch."""
    return [list(rows[0]), *(list(row.values()) for row in rows)]


def followed_rows(examples: Examples, score: Any) -> Rows:
    """Distances of the examples at every lag that is shown."""
    head = ["example", "lag_fs", "rmsd_angstrom", "superposed_angstrom", "start_angstrom"]
    rows: Rows = [head]
    for each in examples.examples:
        columns = (each.lags_fs, *distances(each, score).values())
        rows += [[each.kind, *row] for row in zip(*(c.tolist() for c in columns), strict=True)]
    return rows


def _methods(methods: Mapping[str, Any]) -> Rows:
    keys = [key for key, value in next(iter(methods.values())).items() if isinstance(value, dict)]
    head = ["method", *(f"{key}_{part}" for key in keys for part in ESTIMATE)]
    return [head] + [
        [name, *(method[key][part] for key in keys for part in ESTIMATE)]
        for name, method in methods.items()
    ]


def _verdicts(verdicts: Mapping[str, Any]) -> Rows:
    parts = ("value", "low", "high")
    keys = [f"{key}_{part}" for key in ("ratio", "difference") for part in parts]
    return [["against", "verdict", *keys]] + [
        [name, each["verdict"]]
        + [each[key][part] for key in ("ratio", "difference") for part in parts]
        for name, each in verdicts.items()
    ]


def _link(kind: str, text: str) -> str:
    coded = base64.b64encode(text.encode(errors="backslashreplace")).decode("ascii")
    return f"data:{kind};charset=utf-8;base64,{coded}"
