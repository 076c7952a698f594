"""What every reader and writer shares: paths, times, and errors that name the file."""

import difflib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import clear_frames
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.trajectory import Doubles
from gfnode.units import FS_PER

ROOM = 1 << 20
"""Bytes; a file that cannot grow by so many failed for want of room."""


@contextmanager
def foreign(path: Path, doing: str) -> Iterator[None]:
    """Run another library's code: its warnings stay in, its errors leave as :class:`InputError`.

    mdtraj, ASE, PyTables and zipfile raise many types on a damaged file; all mean the same here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            clear_frames(error.__traceback__)  # closes the files that the library left open
            said = error.strerror if isinstance(error, OSError) else None
            raise InputError(f"{path}: {doing}: {said or describe(error)}") from error


def describe(error: Exception) -> str:
    """Return the library's own words on one line, behind the name of its error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def existing_file(path: Path) -> Path:
    """Return the path if a file that holds something is there, else say what is there instead."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file")
    if not path.exists():
        raise InputError(f"{path}: no such file{_hint(path)}")
    with foreign(path, "cannot be opened"), path.open("rb") as file:
        if not file.read(1):
            raise InputError(f"{path}: the file is empty")
    return path


def _hint(path: Path) -> str:
    folder = path.parent
    if folder.is_dir():
        near = difflib.get_close_matches(path.name, os.listdir(folder), n=1)
        return f"; did you mean {folder / near[0]}?" if near else f" in the folder {folder}"
    there = next(parent for parent in path.absolute().parents if parent.is_dir())
    return f": the folder {folder} does not exist ({there} does)"


EXAMPLE = "e.g. --step 2fs"
"""What an error offers where nothing is known of the program that wrote a file."""


def frame_times(
    path: Path,
    frames: int,
    step: float | None,
    stored: Doubles | None = None,
    *,
    proposal: str = EXAMPLE,
) -> Doubles:
    """Return times in fs: by ``step`` if the user names one, else those that the file stores.

    A single frame needs neither: it is at time 0. ``proposal`` is what the error offers.
    """
    if step is not None:
        return np.arange(frames, dtype=np.float64) * step
    if stored is not None:
        if stored.shape != (frames,):
            raise InputError(
                f"{path}: times have shape {stored.shape}, expected (frame,) for {frames} frames"
            )
        return stored
    if frames > 1:
        raise InputError(
            f"{path}: stores no times: give --step, the time between frames, {proposal}"
        )
    return np.zeros(frames)


def femtoseconds(ps: NDArray[Any]) -> Doubles:
    """Convert ps of either precision to fs, as the shortest decimals that name them."""
    return np.round(ps.astype("U32").astype(np.float64) * FS_PER["ps"], 6)


def picoseconds(times: Doubles, suffix: str, last: float) -> NDArray[np.float32]:
    """Convert fs to float32 ps, as many formats hold them; ``last``: of the frame before, in ps.

    Raises
    ------
    InputError
        Where they are too coarse to tell frames apart.
    """
    found = (times / FS_PER["ps"]).astype(np.float32)
    if (np.diff(found, prepend=np.float32(last)) <= 0).any():
        raise InputError(
            f"{suffix} holds times as float32 ps, too coarse to tell these frames apart; save as "
            ".npz"
        )
    return found


def check_written(path: Path, count: Callable[[Path], int], frames: int) -> None:
    """Count the frames written: libraries do not notice a full disk."""
    try:
        whole = count(path)
    except InputError:
        whole = 0
    if whole != frames:
        reason = no_room(path) or "it came out incomplete; is the disk full?"
        raise InputError(f"cannot be written: {reason}")


@contextmanager
def telling_of_room(path: Path) -> Iterator[None]:
    """Run another library's writer: it ends as a file that cannot grow does, if that is why.

    Some raise a number of their own, or stumble over what they would have said.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if reason := no_room(path):
            raise InputError(f"cannot be written: {reason}") from error
        raise


def no_room(path: Path) -> str | None:
    """Why a file that failed to be written cannot grow; None where it can. It grows by trying."""
    try:
        with path.open("ab", buffering=0) as file:
            for _ in range(2):  # the first may come through in part
                file.write(bytes(ROOM))
    except OSError as error:
        return error.strerror
    return None


def ends_with_line(path: Path) -> None:
    """Refuse a text file whose last line has no end: its last number may be cut short."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() not in b"\r\n":
            raise InputError(
                f"{path}: the last line has no newline, so the file may be cut off within a "
                "number; if it is complete, add the newline"
            )


def check_text(path: Path) -> None:
    """Refuse a file that holds other bytes than those of text."""
    with foreign(path, "not a text file"), path.open(encoding="utf-8") as lines:
        for _ in lines:
            pass
