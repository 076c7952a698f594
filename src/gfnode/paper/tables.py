"""The mathematics of tables: cells, spreads, ranks, verdicts. Needs no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from gfnode.errors import InputError
from gfnode.metrics import Estimate, Verdict, mean_estimate, paired_verdict
from gfnode.paper.results import Result
from gfnode.paper.specs import Quantity, Spec
from gfnode.trajectory import Doubles

FULL = "gfnode"
"""The row that ablations and baselines are compared with."""

Kind = Literal["model", "ablation", "trivial"]


@dataclass(frozen=True)
class Line:
    """A row of a table: an id, what the reader sees, and what kind of row it is."""

    id: str
    title: str
    kind: Kind


@dataclass(frozen=True)
class Column:
    """A column of a table: a quantity of one molecule."""

    molecule: str
    quantity: Quantity

    @property
    def id(self) -> str:
        """For files."""
        return f"{self.molecule}:{self.quantity.id}"


@dataclass(frozen=True)
class Cell:
    """A number of a table.

    Parameters
    ----------
    values
        Of each seed; one for a trivial baseline.
    estimate
        Mean over seeds and windows, with its interval over blocks of time.
    trivial, full
        Paired comparison with the best trivial baseline of the column, and with the full model,
        over blocks of time and seeds.
    published
        Mean and spread in the paper.
    """

    values: tuple[float, ...]
    estimate: Estimate
    trivial: Verdict | None
    full: Verdict | None
    published: tuple[float, float | None] | None

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.mean(self.values))

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds (n − 1); None of a single one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Table:
    """A whole table.

    Parameters
    ----------
    cells
        By row and column id; where a row has no finished run there is none.
    best_trivial
        Id of the best trivial baseline of each column.
    results
        The runs behind it.
    """

    spec: Spec
    metric: str
    lines: tuple[Line, ...]
    columns: tuple[Column, ...]
    cells: dict[tuple[str, str], Cell]
    best_trivial: dict[str, str]
    results: tuple[Result, ...] = field(repr=False)

    def ranks(self, column: Column) -> list[str]:
        """Best and second of a column: models and trivial baselines; ablations stand apart."""
        ids = [line.id for line in self.lines if line.kind != "ablation"]
        known = [each for each in ids if (each, column.id) in self.cells]
        return sorted(known, key=lambda each: self.cells[each, column.id].mean)[:2]

    def change(self, line: Line, column: Column) -> Literal["better", "worse", ""]:
        """How an ablation stands to the full model: by the means, as in the paper."""
        mine = self.cells.get((line.id, column.id))
        full = self.cells.get((FULL, column.id))
        if line.kind != "ablation" or mine is None or full is None:
            return ""
        return "better" if mine.mean < full.mean else "worse"

    @cached_property
    def models(self) -> list[Line]:
        """Rows that were trained."""
        return [line for line in self.lines if line.kind != "trivial"]


def make_table(spec: Spec, rows: Sequence[str], results: Iterable[Result], metric: str) -> Table:
    """Build a table from finished runs.

    Parameters
    ----------
    rows
        Ids of the rows that were asked for.
    results
        Of any order; several of a cell are its seeds.

    Raises
    ------
    InputError
        When runs of one column were judged on different windows.
    """
    found = list(results)
    present = {each.place.molecule for each in found}
    columns = tuple(
        Column(molecule, quantity)
        for molecule in spec.molecules
        if molecule in present
        for quantity in spec.quantities
    )
    lines = [
        Line(row.id, row.title, "ablation" if row.ablation else "model")
        for row in spec.rows
        if row.id in rows
    ]
    cells: dict[tuple[str, str], Cell] = {}
    trivial: dict[str, None] = {}
    best: dict[str, str] = {}
    for column in columns:
        mine = [each for each in found if each.place.molecule == column.molecule]
        made, best[column.id] = _column(spec, column, mine, metric)
        cells |= {(row, column.id): cell for row, cell in made.items()}
        trivial |= dict.fromkeys(row for row in made if row not in {line.id for line in lines})
    lines = [*(Line(name, name, "trivial") for name in trivial), *lines]
    return Table(spec, metric, tuple(lines), columns, cells, best, tuple(found))


def _column(
    spec: Spec, column: Column, results: Sequence[Result], metric: str
) -> tuple[dict[str, Cell], str]:
    """Cells of a column by row, and the best trivial baseline."""
    first, quantity = results[0], column.quantity
    for other in results[1:]:
        if not first.same_windows(other):
            raise InputError(
                f"{first.folder} and {other.folder} were evaluated on different windows and "
                "cannot share a column: do not change windows settings of single rows"
            )
    blocks = first.blocks()
    trivial = {name: first.values(quantity, metric, name) for name in first.methods(quantity)}
    best = min(trivial, key=lambda name: float(trivial[name].mean()))
    seeds: dict[str, list[Doubles]] = {}
    for result in results:
        seeds.setdefault(result.place.row, []).append(result.values(quantity, metric))
    methods = trivial | {row: np.mean(arrays, 0) for row, arrays in seeds.items()}
    means = {
        row: tuple(float(each.mean()) for each in seeds.get(row, [values]))
        for row, values in methods.items()
    }

    def against(row: str, other: str) -> Verdict | None:
        if row in trivial or row == other or other not in methods:
            return None
        over = means[row], means[other]
        return paired_verdict(methods[row], methods[other], blocks, over)

    cells = {
        row: Cell(
            means[row],
            mean_estimate(values, blocks),
            against(row, best),
            against(row, FULL),
            _published(spec, row, column),
        )
        for row, values in methods.items()
    }
    return cells, best


def _published(spec: Spec, row: str, column: Column) -> tuple[float, float | None] | None:
    name = next((each.paper for each in spec.rows if each.id == row), None)
    values = spec.published.get(name or "", {})
    found = values.get(column.molecule, values.get(column.quantity.id))
    if not found:
        return None
    mean, *spread = found
    return mean, spread[0] if spread else None
