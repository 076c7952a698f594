"""The terminal that everything is shown on."""

import io
from collections.abc import Iterable
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

_SHOWN = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"}
_SHOWN |= {127: "␡"} | dict.fromkeys(range(128, 160), "�")


def shown(text: str) -> str:
    """A text whose control characters are seen and do nothing: a terminal obeys them."""
    return text.translate(_SHOWN)


class Plain:
    """An output stream that shows control characters and what its encoding has no place for.

    Names come from files and from other people. Rich writes past it, to ``rich_proxied_file``.
    """

    def __init__(self, stream: TextIO) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write a text."""
        return self.rich_proxied_file.write(shown(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


class _PlainConsole(Console):
    @property
    def file(self) -> Any:
        """The stream itself: where a live display stands before it, past both."""
        found = super().file
        return getattr(found, "rich_proxied_file", found)

    @file.setter
    def file(self, stream: Any) -> None:
        self._file = stream

    def render(self, *args: Any, **options: Any) -> Iterable[Segment]:
        for text, style, control in super().render(*args, **options):
            yield Segment(text if control else shown(text), style, control)


def plain_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console that shows text as it is.

    Names come from files and from other people, so nothing in a text is a style, a link or an
    emoji; what is to have a style is given one with ``style=`` or as :class:`rich.text.Text`.
    """
    options: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
    return _PlainConsole(stderr=stderr, width=width, **options)


def titled_table(title: str | Text, *columns: Column | str) -> Table:
    """A table under its title, with a line below its head."""
    return Table(*columns, title=title, title_justify="left", box=SIMPLE_HEAD)
