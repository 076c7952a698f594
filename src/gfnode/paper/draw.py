"""From finished runs to the files of a table or figure. Needs no torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table as Shown
from rich.text import Text as Words

from gfnode.files import write_text
from gfnode.paper import figures
from gfnode.paper.documents import Made, describe, describe_figure, write_table
from gfnode.paper.grids import Grid, csv_of, markdown
from gfnode.paper.results import Result
from gfnode.paper.specs import Spec
from gfnode.paper.tables import make_table
from gfnode.report.plots import save_figure
from gfnode.terminal import titled_table

LOOKS = {"best": "bold", "second": "underline", "better": "green", "worse": "dark_orange"}


def draw(
    spec: Spec,
    rows: Sequence[str],
    results: Sequence[Result],
    *,
    metric: str,
    of: str,
    each: bool,
    made: Made,
    out: Path,
) -> Iterator[Any]:
    """Write the files of a table or figure, and give what the console is to show.

    Parameters
    ----------
    of, each
        Of figures: which modes are shown, and whether every horizon has models of its own.

    Raises
    ------
    InputError
        When results do not fit together, or a file cannot be written.
    """
    if spec.kind != "table":
        if spec.kind == "ramachandran":
            drawn = figures.ramachandran(spec, results)
        elif spec.kind == "horizons":
            drawn = figures.horizons(spec, results, metric, each=each)
        else:
            drawn = figures.spectra(results, of)
        yield from drawn.said
        yield f"written: {', '.join(map(str, _write(spec, results, drawn, made, out)))}"
        return
    table = make_table(spec, rows, results, metric)
    paths = write_table(table, made, out)
    for grid in describe(table, made)[:3]:
        yield _shown(grid)
        yield from (*grid.before, *grid.after)
    yield f"written: {', '.join(map(str, paths))}"


def _write(
    spec: Spec, results: Sequence[Result], drawn: figures.Drawn, made: Made, out: Path
) -> list[Path]:
    """Write a figure as PNG and SVG, its numbers as CSV, and what they say as Markdown."""
    paths = [save_figure(drawn.figure, out / f"{spec.name}.{each}") for each in ("png", "svg")]
    for ending, records in drawn.records.items():
        paths.append(write_text(out / f"{spec.name}{ending}.csv", csv_of(records[0], records)))
    text = markdown(describe_figure(spec, results, drawn.said, made))
    return [*paths, write_text(out / f"{spec.name}.md", text)]


def _shown(grid: Grid) -> Shown:
    shown = titled_table(Words(grid.title))
    for number, head in enumerate(grid.head):
        shown.add_column(head, justify="right" if number else "left")
    for row in grid.rows:
        shown.add_row(
            *(Words("\n".join(cell.lines), style=LOOKS.get(cell.look, "")) for cell in row)
        )
    return shown
