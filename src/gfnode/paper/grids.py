"""Tables of texts under headings, as Markdown and HTML; records as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Text:
    """Text of a cell: lines, and what it looks like (``best``, ``second``, ``better``, …)."""

    lines: tuple[str, ...]
    look: str = ""

    @property
    def markdown(self) -> str:
        """For a cell of a Markdown table."""
        first, *rest = self.lines or ("",)
        mark = {"best": "**{}**", "second": "<u>{}</u>"}.get(self.look, "{}")
        return "<br>".join([mark.format(first), *rest]).replace("|", "\\|")


@dataclass(frozen=True)
class Grid:
    """A table of texts under a heading, with sentences before and after."""

    title: str
    before: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    after: tuple[str, ...] = ()


def markdown(grids: Sequence[Grid]) -> str:
    """All grids as Markdown."""
    parts = []
    for number, grid in enumerate(grids):
        lines = [f"{'##' if number else '#'} {grid.title}", ""]
        lines += [line for text in grid.before for line in (text, "")]
        if grid.rows:
            lines.append("| " + " | ".join(grid.head) + " |")
            lines.append("| --- " + "| --: " * (len(grid.head) - 1) + "|")
            lines += ["| " + " | ".join(cell.markdown for cell in row) + " |" for row in grid.rows]
            lines.append("")
        lines += [f"- {text}" for text in grid.after]
        parts.append("\n".join(lines).rstrip())
    return "\n\n".join(parts) + "\n"


def csv_of(columns: Iterable[str], records: Iterable[Mapping[str, Any]]) -> str:
    """Records as CSV with these columns, fractions with six digits."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(columns), lineterminator="\n")
    writer.writeheader()
    for each in records:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in each.items()})
    return buffer.getvalue()


def html(title: str, grids: Sequence[Grid]) -> str:
    """All grids as one self-contained page."""
    from jinja2 import Environment

    text = (files("gfnode") / "paper" / "page.html.j2").read_text(encoding="utf-8")
    return Environment(autoescape=True).from_string(text).render(title=title, grids=grids)
