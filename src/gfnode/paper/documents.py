"""A table as a document: what stands in it and beside it, as Markdown, CSV and HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from gfnode import __version__
from gfnode.files import write_text
from gfnode.metrics import Verdict
from gfnode.paper.grids import Grid, Text, csv_of, html, markdown
from gfnode.paper.results import METRICS, Result
from gfnode.paper.specs import Spec
from gfnode.paper.tables import FULL, Cell, Column, Line, Table
from gfnode.units import count, format_duration, listed

SIGNS = {"better": "better", "worse": "worse", "indistinguishable": "≈"}


@dataclass(frozen=True)
class Made:
    """How a table came about.

    Parameters
    ----------
    command
        The command line.
    preset, splits, seeds, epochs
        Of the runs.
    failed
        Runs without a result, with the reason.
    search
        How settings were chosen, where they were searched for.
    """

    command: str
    preset: str
    splits: Sequence[str]
    seeds: int
    epochs: int
    failed: Mapping[str, str]
    search: Grid | None = None


def write_table(table: Table, made: Made, out: Path) -> list[Path]:
    """Write ``NAME.md``, ``NAME.csv`` and ``NAME.html``.

    Raises
    ------
    InputError
        When a file cannot be written.
    """
    grids = describe(table, made)
    texts = {"md": markdown(grids), "csv": to_csv(table), "html": html(table.spec.title, grids)}
    return [write_text(out / f"{table.spec.name}.{each}", text) for each, text in texts.items()]


def describe(table: Table, made: Made) -> list[Grid]:
    """Everything that a document of a table says, in order."""
    grids = [_main(table, made), _against(table, full=False), _against(table, full=True)]
    rows = {line.id: line.title for line in table.models}
    grids += [made.search, _cost(rows, table.results), _origin(table.results, made)]
    return [each for each in grids if each is not None]


def describe_figure(
    spec: Spec, results: Sequence[Result], said: Sequence[str], made: Made
) -> list[Grid]:
    """What goes with a figure: setup, what its numbers say, cost and origin."""
    before = (_setup(results, made), f"![{spec.title}]({spec.name}.png)")
    titles = {row.id: row.title for row in spec.rows}
    grids = [
        Grid(spec.title, before, (), (), (*said, *_doubts(titles, results), *spec.notes)),
        made.search,
        _cost(titles, results),
        _origin(results, made),
    ]
    return [each for each in grids if each is not None]


def _setup(results: Sequence[Result], made: Made) -> str:
    aligned = any(result.facts["experiment"]["windows"]["align"] for result in results)
    return (
        f"Split: {', '.join(sorted(set(made.splits)))}. Preset: {made.preset}. "
        f"At most {made.epochs} epochs, {made.seeds} {'seeds' if made.seeds > 1 else 'seed'}. "
        f"Targets {'superposed on their starts' if aligned else 'as they are'}."
    )


def _doubts(titles: Mapping[str, str], results: Sequence[Result]) -> list[str]:
    """What runs fitted in vain: each sentence once, with the titles of rows and the molecules."""
    places: dict[str, dict[tuple[str, str], int]] = {}
    for each in results:
        if (doubt := each.facts.get("doubt")) and each.place.row in titles:
            seen = places.setdefault(str(doubt), {})
            here = titles[each.place.row], each.place.molecule
            seen[here] = seen.get(here, 0) + 1
    said = []
    for doubt, seen in places.items():
        where = [f"{row} in {molecule} ({count(n, 'run')})" for (row, molecule), n in seen.items()]
        said.append(f"{listed(where)}: {doubt}.")
    return said


def findings(table: Table) -> list[str]:
    """In words: what is and what is not better than the best trivial baseline and than GF-NODE."""
    said = []
    for full in (False, True):
        for line in table.models:
            if found := _tally(_verdicts(table, line, full)):
                said.append(f"{line.title} against {_whom(table, full)}: {found}.")
    if said:
        columns = len(table.columns)
        what = f"{columns} columns" if columns > 1 else "one column"
        said.insert(0, f"Paired 95 % intervals over blocks of time and seeds, over {what}:")
    return said


def number(value: float | None, digits: int = 2) -> str:
    """A number as tables show it: so many decimals, more where it is small."""
    if value is None or not np.isfinite(value):
        return "∞" if value is not None and value > 0 else "–"
    if 0 < abs(value) < 0.5 * 10.0 ** (1 - digits):
        return f"{value:.2g}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}"


def _main(table: Table, made: Made) -> Grid:
    spec = table.spec
    head = ["", *(_heading(table, column) for column in table.columns)]
    rows = []
    for line in table.lines:
        cells = [_cell(table, line, column, made.seeds) for column in table.columns]
        rows.append((Text((line.title,)), *cells))
    said = [
        *findings(table),
        *_doubts({line.id: line.title for line in table.models}, table.results),
    ]
    unit = {column.quantity.unit for column in table.columns}
    what = {column.quantity.title for column in table.columns}
    before = []
    if {column.quantity.id for column in table.columns} == {"error"}:
        metric = "per atom" if table.metric == "eq14" else "per coordinate"
        before.append(
            f"{next(iter(what)).replace('per coordinate', metric).capitalize()} in "
            f"{next(iter(unit))}, {METRICS[table.metric]}. "
            f"Metric: {table.metric}."
        )
    before.append(_setup(table.results, made))
    after = [
        "± is the standard deviation over seeds (n − 1). Best of each column in bold, second "
        "underlined, trivial baselines included and ablations left out; better and worse mark "
        "ablations whose mean is below or above that of the full model. The second line of a cell "
        "is the paper's value, on its own data.",
    ]
    if "published" in " ".join(made.splits):
        after.append(
            "Published splits draw test windows that overlap training windows in time; blocked "
            "splits (--split blocked) do not."
        )
    shown = {line.id for line in table.models}
    of_rows = dict.fromkeys(row.note for row in spec.rows if row.id in shown and row.note)
    after += [*of_rows, *spec.notes]
    return Grid(spec.title, tuple(before), tuple(head), tuple(rows), (*said, *after))


def _cell(table: Table, line: Line, column: Column, seeds: int) -> Text:
    cell = table.cells.get((line.id, column.id))
    if cell is None:
        return Text(("–",))
    digits = column.quantity.digits
    text = number(cell.mean, digits)
    if cell.spread is not None:
        text += f" ± {number(cell.spread, digits)}"
    look: str = table.change(line, column)
    if look:
        text += f" {look}"
    if line.id in (ranks := table.ranks(column)):
        look = "best" if line.id == ranks[0] else "second"
    lines = [text]
    if cell.published is not None:
        mean, spread = cell.published
        digits = max(digits, 2)
        paper = f"paper {mean:.{digits}f}"
        lines.append(paper if spread is None else f"{paper} ± {spread:.{digits}f}")
    if line.kind != "trivial" and len(cell.values) < seeds:
        lines.append(f"{len(cell.values)} of {seeds} seeds")
    return Text(tuple(lines), look)


def _against(table: Table, *, full: bool) -> Grid | None:
    """Paired comparisons of all trained rows: ratio of errors, its interval, and the verdict."""
    lines = [line for line in table.models if not (full and line.id == FULL)]
    if not lines or (full and len(lines) == len(table.models)):
        return None
    head = ["", *(_heading(table, column) for column in table.columns)]
    rows = []
    if not full:
        names = [table.best_trivial[column.id] for column in table.columns]
        rows.append((Text(("best trivial",)), *(Text((name,)) for name in names)))
    for line in lines:
        rows.append((Text((line.title,)), *map(_verdict, _verdicts(table, line, full))))
    before = (
        "Error over that of the other on the same windows (below 1 is better), seeds averaged, "
        "with the paired 95 % interval over blocks of time and seeds.",
    )
    return Grid(f"Against {_whom(table, full)}", before, tuple(head), tuple(rows))


def _verdicts(table: Table, line: Line, full: bool) -> list[Verdict | None]:
    """Of a row against the full model, or else the best trivial baseline, column by column."""
    cells = [table.cells.get((line.id, column.id)) for column in table.columns]
    return [None if cell is None else cell.full if full else cell.trivial for cell in cells]


def _whom(table: Table, full: bool) -> str:
    if not full:
        return "the best trivial baseline"
    return next((line.title for line in table.lines if line.id == FULL), FULL)


def _verdict(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text(("–",))
    ratio = verdict.ratio
    interval = f" [{number(ratio.low)}, {number(ratio.high)}]" if np.isfinite(ratio.low) else ""
    look = "" if verdict.verdict == "indistinguishable" else verdict.verdict
    return Text((f"{number(ratio.value, 3)}{interval} {SIGNS[verdict.verdict]}",), look)


def _cost(titles: Mapping[str, str], results: Sequence[Result]) -> Grid:
    rows = []
    for row, title in titles.items():
        mine = [each for each in results if each.place.row == row]
        if not mine:
            continue
        weights = sorted({int(each.finished["weights"]) for each in mine})
        seconds = [each.seconds for each in mine]
        training = [each.facts.get("training", {}) for each in mine]
        devices = sorted({str(each.get("device", "–")) for each in training})
        best = [each.get("best_epoch", 0) for each in training]
        done = [each.get("epochs", 0) for each in training]
        cells = [
            _range([float(w) for w in weights], "{:.0f}"),
            format_duration(float(np.mean(seconds))),
            _range(done, "{:.0f}"),
            _range(best, "{:.0f}"),
            ", ".join(devices),
            str(len(mine)),
        ]
        rows.append((Text((title,)), *(Text((cell,)) for cell in cells)))
    head = ("", "weights", "training time, mean", "epochs", "best epoch", "device", "runs")
    return Grid("Cost", (), head, tuple(rows))


def _origin(results: Sequence[Result], made: Made) -> Grid:
    rows = []
    for molecule in dict.fromkeys(each.place.molecule for each in results):
        result = next(each for each in results if each.place.molecule == molecule)
        facts = result.facts
        for data in facts["data"]:
            rows.append(
                (
                    molecule,
                    Path(data["file"]).name,
                    f"{data['frames']} × {data['atoms']} atoms",
                    f"{facts['system']['time_step_fs']:g} fs",
                    f"{facts['system']['horizon_fs'] / 1000:g} ps",
                    ", ".join(f"{n} {part}" for part, n in facts["windows"].items()),
                    data["fingerprint"][:12],
                )
            )
    head = ("", "file", "frames", "time step", "horizon", "windows", "fingerprint")
    failed = [f"Without a result: {name}: {why}" for name, why in made.failed.items()]
    after = [*failed, f"Command: `{made.command}`", f"Versions: {_versions(results)}."]
    after.append(f"Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by gfnode {__version__}.")
    cells = tuple(tuple(Text((text,)) for text in row) for row in rows)
    return Grid("How it was made", (), head, cells, tuple(after))


def _versions(results: Sequence[Result]) -> str:
    found: dict[str, set[str]] = {}
    for result in results:
        for name, version in result.facts["versions"].items():
            found.setdefault(name, set()).add(version)
    return ", ".join(f"{name} {'/'.join(sorted(each))}" for name, each in found.items())


def _tally(verdicts: Sequence[Verdict | None]) -> str:
    known = [verdict.verdict for verdict in verdicts if verdict is not None]
    if not known:
        return ""
    return ", ".join(f"{word} in {sum(word == each for each in known)}" for word in SIGNS)


def _heading(table: Table, column: Column) -> str:
    if len({each.quantity.id for each in table.columns}) > 1:
        return f"{column.quantity.title} ({column.quantity.unit})"
    return column.molecule


def _range(values: Sequence[float], form: str) -> str:
    ends = dict.fromkeys(form.format(each) for each in (min(values), max(values)))
    return "–".join(ends)


CSV_COLUMNS = (
    *("row", "kind", "molecule", "quantity", "metric", "unit"),
    *("mean", "spread", "seeds", "low", "high", "published", "published_spread"),
    *("best_trivial", "ratio_to_best_trivial", "low_to_best_trivial", "high_to_best_trivial"),
    *("against_best_trivial", "ratio_to_gfnode", "low_to_gfnode", "high_to_gfnode"),
    *("against_gfnode", "weights", "training_seconds", "values"),
)
"""Columns of the CSV file; docs/reproduce.md explains them."""


def to_csv(table: Table) -> str:
    """Every number of a table, a line for each cell."""
    records = [
        _record(table, line, column, cell)
        for line in table.lines
        for column in table.columns
        if (cell := table.cells.get((line.id, column.id))) is not None
    ]
    return csv_of(CSV_COLUMNS, records)


def _record(table: Table, line: Line, column: Column, cell: Cell) -> dict[str, Any]:
    here = (line.id, column.molecule)
    mine = [each for each in table.results if (each.place.row, each.place.molecule) == here]
    record: dict[str, Any] = {
        "row": line.id,
        "kind": line.kind,
        "molecule": column.molecule,
        "quantity": column.quantity.id,
        "metric": table.metric if column.quantity.id == "error" else "mean",
        "unit": column.quantity.unit,
        "mean": cell.mean,
        "spread": cell.spread,
        "seeds": len(cell.values) if line.kind != "trivial" else 0,
        "low": cell.estimate.low,
        "high": cell.estimate.high,
        "best_trivial": table.best_trivial[column.id],
        "values": " ".join(f"{value:.6g}" for value in cell.values),
    }
    if cell.published is not None:
        record |= {"published": cell.published[0], "published_spread": cell.published[1]}
    for name, verdict in (("best_trivial", cell.trivial), ("gfnode", cell.full)):
        if verdict is not None:
            record[f"ratio_to_{name}"] = verdict.ratio.value
            record[f"low_to_{name}"] = verdict.ratio.low
            record[f"high_to_{name}"] = verdict.ratio.high
            record[f"against_{name}"] = verdict.verdict
    if mine:
        record["weights"] = mine[0].finished["weights"]
        record["training_seconds"] = float(np.mean([each.seconds for each in mine]))
    return record
