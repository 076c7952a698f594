"""The terminal that everything is shown on."""

from rich.console import Console


def plain_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that shows text as it is.

    Names come from files and from other people, so nothing in a text is a style, a link or an
    emoji; what is to have a style is given one with ``style=`` or as :class:`rich.text.Text`.
    """
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)
