"""Choosing a few of many, taking all in pieces, and telling groups apart."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Numbers of at most ``most`` of ``count`` things in order, from the first to the last."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def places(kept: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Place of each of ``count`` things among those that are kept; -1 where it is not."""
    found = np.full(count, -1)
    found[kept] = np.arange(len(kept))
    return found


def among(rows: NDArray[np.int64], kept: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Rows ``(row, k)`` of things that are all kept, bonds say, as their `places` among those."""
    found = places(kept, count)[rows]
    return found[(found >= 0).all(1)]


def chunks(count: int, most: int, each: int = 1) -> Iterator[slice]:
    """All of ``count`` things, so many at once as hold ``most`` values of ``each``, or one."""
    size = max(1, most // max(1, each))
    return (slice(k, min(k + size, count)) for k in range(0, count, size))


def groups(labels: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each label in ascending order with the places that have it, ascending; all in one pass."""
    order = np.argsort(labels, kind="stable")
    for same in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if len(same):
            yield int(labels[same[0]]), same
