"""The terminal that everything is shown on."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


def plain_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that shows text as it is.

    Names come from files and from other people, so nothing in a text is a style, a link or an
    emoji; what is to have a style is given one with ``style=`` or as :class:`rich.text.Text`.
    """
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


def titled_table(title: str | Text) -> Table:
    """A table under its title, with a line below its head."""
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD)
