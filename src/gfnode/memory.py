"""Where large arrays lie: in memory, or on disk where they would fill too much of it."""

import os
import re
import tempfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.machine import available

SHARE = 0.25
"""An array may take so much of the memory that is available."""

CHUNK = 1_000_000
"""Numbers in one piece of positions (4 MB as float32)."""

BYTES = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
BYTES |= {f"{key}i": 1024.0**i for i, key in enumerate("kmgt", 1)}


def room(shape: tuple[int, ...], most: float | str | None = None) -> NDArray[np.float32]:
    """Give a float32 array to be filled; a large one is a map of a file on disk.

    The file has no name and is gone with the array. It lies in the folder ``GFNODE_SCRATCH``, else
    where temporary files are kept.

    Parameters
    ----------
    shape
        Of the array.
    most
        Bytes, or text such as ``"2GB"``, above which it lies on disk; default: the environment
        variable ``GFNODE_MEMORY``, else a quarter of the memory that is available.

    Raises
    ------
    InputError
        When the disk has no room for it.
    """
    size = 4 * int(np.prod(shape, dtype=np.float64))
    if size <= limit(most):
        return np.empty(shape, dtype=np.float32)
    folder = scratch()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # a full disk is an error here, a crash later
                os.posix_fallocate(file.fileno(), 0, size)
            return np.asarray(np.memmap(file, np.float32, "w+", shape=shape))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: not enough space for {size / 1e9:.1f} GB of coordinates "
            f"({getattr(error, 'strerror', None) or error}); keep fewer atoms or frames "
            "(--select, --stride), or set GFNODE_SCRATCH to a folder with more space"
        ) from error


def limit(most: float | str | None = None) -> float:
    """Bytes that an array may take in memory; see :func:`room`."""
    if most is None:
        most = os.environ.get("GFNODE_MEMORY") or SHARE * available()
    if isinstance(most, str):
        found = re.fullmatch(r"(\d+\.?\d*)\s*([kmgt]?i?)b?", most.strip().lower())
        if found is None or found[2] not in BYTES:
            raise InputError(f"memory is {most!r}: expected a size such as 500MB or 2GiB")
        most = float(found[1]) * BYTES[found[2]]
    return float(most)


def pieces(frames: int, atoms: int) -> Iterator[tuple[int, int]]:
    """Ranges of frames that take little memory; each begins with the last of the one before."""
    size = max(2, CHUNK // (3 * atoms))
    for begin in range(0, max(frames - 1, min(frames, 1)), size - 1):
        yield begin, min(begin + size, frames)


def scratch() -> str:
    """The folder for large temporary files: on disk, where /tmp may be memory."""
    if folder := os.environ.get("GFNODE_SCRATCH"):
        return folder
    if "TMPDIR" not in os.environ and os.access("/var/tmp", os.W_OK):
        return "/var/tmp"
    return tempfile.gettempdir()
