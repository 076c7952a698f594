"""What a report is made of: pictures, tables, and panels of both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gfnode.report.plots import plain

MILLIMETRE = 1 / 25.4
"""In inches."""

Rows = Sequence[Sequence[Any]]
"""Of a CSV file, the head first; every digit, None where nothing is known."""


@dataclass(frozen=True)
class Layout:
    """How large a figure is drawn.

    Parameters
    ----------
    width
        In inches.
    text
        Size of letters in points.
    narrow
        A column or a phone: less beside each other, more below.
    """

    width: float
    text: float
    narrow: bool

    def figure(self, narrow: float, wide: float) -> Figure:
        """An empty figure; its height in widths, as the layout is narrow or wide."""
        height = self.width * (narrow if self.narrow else wide)
        return Figure(figsize=(self.width, height), layout="constrained")

    def plain(self, axes: Axes) -> None:
        """The house style of axes."""
        axes.tick_params(labelsize=self.text - 1)
        plain(axes, self.stroke)

    def legend(self, figure: Figure, narrow: int, wide: int, **entries: Any) -> None:
        """A legend below all axes; its columns, as the layout is narrow or wide."""
        figure.legend(
            loc="outside lower center",
            ncols=narrow if self.narrow else wide,
            fontsize=self.text,
            frameon=False,
            **entries,
        )

    def whole_numbers(self, axis: Axis) -> None:
        """Ticks at whole numbers, fewer of them where it is narrow."""
        axis.set_major_locator(MaxNLocator(integer=True, nbins=6 if self.narrow else 12))

    @property
    def stroke(self) -> float:
        """Factor on widths of lines and sizes of markers: less where letters are smaller."""
        return self.text / 9


WIDE = Layout(7.8, 9, narrow=False)
"""On the page."""
NARROW = Layout(3.9, 9, narrow=True)
"""On the page, on a phone."""
COLUMN = Layout(85 * MILLIMETRE, 7.5, narrow=True)
"""In one column of a journal."""
PAGE = Layout(170 * MILLIMETRE, 8, narrow=False)
"""Over two columns of a journal."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with its text alternative and the numbers in it.

    Parameters
    ----------
    name
        Of its files, without ending; unique in a report.
    draw
        Makes the figure.
    words
        What it shows, with numbers, for those who do not see it.
    rows
        The numbers behind it.
    caption
        Below it on the page.
    """

    name: str
    draw: Callable[[Layout], Figure]
    words: str
    rows: Rows
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """A table of a page.

    Parameters
    ----------
    name
        Unique in a report.
    caption
        What it holds, with units.
    head
        Of each column.
    body
        Cells as they are shown; the first of a row names it.
    rows
        The same with every digit.
    """

    name: str
    caption: str
    head: Sequence[str]
    body: Sequence[Sequence[str]]
    rows: Rows


@dataclass(frozen=True, eq=False)
class Panel:
    """A section of a report: words, pictures and tables on one subject.

    Parameters
    ----------
    key
        Unique in a report.
    title
        Its heading.
    sentences
        What was found, in words.
    """

    key: str
    title: str
    sentences: Sequence[str]
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
