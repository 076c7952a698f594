"""What can be measured of a trained run, besides its evaluation: each writes one file."""

from collections.abc import Callable

MEASURES: dict[str, Callable[..., None]] = {}
"""``measure(run, path, **options)`` by name."""
