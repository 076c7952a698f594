"""How far long work is: told to whoever shows it."""

from collections.abc import Callable

Report = Callable[[int, int], None]
"""Is told what is done and what there is in all."""


def silent(done: int, total: int) -> None:
    """Tell nobody."""
