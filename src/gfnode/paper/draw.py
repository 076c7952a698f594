"""From finished runs to the files of a table or figure. Needs no torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table as Shown
from rich.text import Text as Words

from gfnode.paper.documents import Grid, Made, describe, write_table
from gfnode.paper.results import Result
from gfnode.paper.specs import Spec
from gfnode.paper.tables import make_table

LOOKS = {"best": "bold", "second": "underline", "better": "green", "worse": "dark_orange"}


def draw(
    spec: Spec,
    rows: Sequence[str],
    results: Sequence[Result],
    *,
    metric: str,
    made: Made,
    out: Path,
) -> Iterator[Any]:
    """Write the files of a table or figure, and give what the console is to show.

    Raises
    ------
    InputError
        When results do not fit together, or a file cannot be written.
    """
    table = make_table(spec, rows, results, metric)
    paths = write_table(table, made, out)
    for grid in describe(table, made)[:3]:
        yield _shown(grid)
        yield from grid.after
    yield f"written: {', '.join(map(str, paths))}"


def _shown(grid: Grid) -> Shown:
    shown = Shown(title=Words(grid.title), title_justify="left", box=SIMPLE_HEAD)
    for number, head in enumerate(grid.head):
        shown.add_column(head, justify="right" if number else "left")
    for row in grid.rows:
        shown.add_row(
            *(Words("\n".join(cell.lines), style=LOOKS.get(cell.look, "")) for cell in row)
        )
    return shown
