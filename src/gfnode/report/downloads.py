"""The numbers of a report as files inside the page."""

import base64
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gfnode.examples import Examples
from gfnode.files import to_json
from gfnode.report.structures import distances

ESTIMATE = ("value", "low", "high", "count")


class File(NamedTuple):
    """A file that a link of the page holds."""

    name: str
    what: str
    link: str


def files(
    facts: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    examples: Examples,
    history: Sequence[Mapping[str, float | None]],
    *,
    labels: Sequence[str],
    words: Mapping[str, Sequence[str]],
) -> dict[str, File]:
    """All files of a report by what they hold; errors in Å² per coordinate, times in fs."""
    score = np.asarray(facts["system"]["score"])
    followed = {each.kind: distances(each, score) for each in examples.examples}
    everything = {
        "summary": words,
        "run": {key: value for key, value in facts.items() if key != "system"},  # in run.json
        "evaluation": evaluation,
        "atom_errors": {name: values.tolist() for name, values in examples.atom_errors.items()},
        "atoms": labels,
        "history": history,
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
    methods = evaluation["methods"]
    tables = {
        "methods": ("errors of every method", _methods(methods)),
        "lags": ("errors by lag", _by_lag(methods)),
        "verdicts": ("comparisons", _verdicts(evaluation["verdicts"])),
        "atoms": ("errors by atom", _atoms(labels, examples)),
        "examples": ("RMSD of the examples", _examples(examples, followed)),
    }
    if history:
        rows: list[list[Any]] = [list(history[0]), *(list(row.values()) for row in history)]
        tables["history"] = ("training history", rows)
    found = {
        key: File(f"{key}.csv", what, _link("text/csv", _csv(rows)))
        for key, (what, rows) in tables.items()
    }
    for key, what, data in (
        ("report", "every number of this page", everything),
        ("evaluation", "evaluation.json", evaluation),
        ("run", "run.json", facts),
    ):
        # null for what is not finite; no spaces, since the graph of a protein is long
        text = json.dumps(json.loads(to_json(data)), ensure_ascii=False, separators=(",", ":"))
        found[f"{key}_json"] = File(f"{key}.json", what, _link("application/json", text))
    return found


def _methods(methods: Mapping[str, Any]) -> list[list[Any]]:
    keys = [key for key, value in next(iter(methods.values())).items() if isinstance(value, dict)]
    head = ["method", *(f"{key}_{part}" for key in keys for part in ESTIMATE)]
    return [head] + [
        [name, *(method[key][part] for key in keys for part in ESTIMATE)]
        for name, method in methods.items()
    ]


def _by_lag(methods: Mapping[str, Any]) -> list[list[Any]]:
    rows: list[list[Any]] = [["method", "from_fs", "to_fs", *ESTIMATE]]
    for name, method in methods.items():
        edges = method["lag_edges_fs"]
        for low, high, each in zip(edges[:-1], edges[1:], method["by_lag"], strict=True):
            rows.append([name, low, high, *(each[part] for part in ESTIMATE)])
    return rows


def _verdicts(verdicts: Mapping[str, Any]) -> list[list[Any]]:
    parts = ("value", "low", "high")
    keys = [f"{key}_{part}" for key in ("ratio", "difference") for part in parts]
    return [["against", "verdict", *keys]] + [
        [name, each["verdict"]]
        + [each[key][part] for key in ("ratio", "difference") for part in parts]
        for name, each in verdicts.items()
    ]


def _atoms(labels: Sequence[str], examples: Examples) -> list[list[Any]]:
    columns = [values.tolist() for values in examples.atom_errors.values()]
    head = ["atom", *examples.atom_errors]
    return [head, *(list(row) for row in zip(labels, *columns, strict=True))]


def _examples(examples: Examples, followed: Mapping[str, Any]) -> list[list[Any]]:
    head = ["example", "lag_fs", "rmsd_angstrom", "superposed_angstrom", "start_angstrom"]
    rows: list[list[Any]] = [head]
    for each in examples.examples:
        columns = (each.lags_fs, *followed[each.kind].values())
        rows += [[each.kind, *row] for row in zip(*(c.tolist() for c in columns), strict=True)]
    return rows


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV with every digit; what is not known stays empty."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def _link(kind: str, text: str) -> str:
    return f"data:{kind};charset=utf-8;base64,{base64.b64encode(text.encode()).decode('ascii')}"
