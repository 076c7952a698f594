"""Writing a trajectory that comes in pieces, in memory that does not grow with it.

The result is what :func:`gfnode.readers.save` writes of the whole.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from gfnode.errors import InputError
from gfnode.readers import FORMATS, extxyz, mdtraj_writers, npz, save
from gfnode.readers.boundary import foreign
from gfnode.readers.hdf5 import need_tables
from gfnode.trajectory import Trajectory

Pieces = Callable[[], Iterator[Trajectory]]
"""Gives the pieces, in order and from the first, every time it is called."""

SUFFIXES = (".npz", ".extxyz", ".xyz", ".xtc", ".trr", ".dcd", ".h5", ".pdb")
"""Formats that can be written in pieces."""


def save_pieces(pieces: Pieces, frames: int, path: str | Path) -> Path:
    """Write trajectories one after the other as one; the file appears whole or not at all.

    Parameters
    ----------
    pieces
        At least one, of the same atoms, each later than the one before.
    frames
        Take so many frames of them, from the first.
    path
        The suffix chooses the format; see :func:`gfnode.readers.save`. The topology that XTC, TRR
        and DCD need is written beside them unless it is there.

    Raises
    ------
    InputError
        As of :func:`gfnode.readers.save`, and for too few frames or pieces out of order.
    """
    from gfnode.files import whole

    path = Path(path).expanduser()
    check_target(path)

    def chosen() -> Iterator[Trajectory]:
        return _ascending(pieces(), frames, path)

    with whole(path) as partial, foreign(path, "cannot be written"):
        suffix = path.suffix.lower()
        target = partial.with_suffix(suffix)
        if suffix == ".npz":
            npz.write_pieces(chosen, frames, target)
        elif suffix in (".extxyz", ".xyz"):
            extxyz.write_pieces(chosen(), target)
        else:
            mdtraj_writers.write_pieces(chosen(), frames, target)
        if target != partial:
            target.replace(partial)
    if FORMATS[suffix].needs_top and not (beside := path.with_suffix(".pdb")).exists():
        save(next(chosen())[0], beside)
    return path


def check_target(path: Path) -> None:
    """Raise InputError unless a trajectory can be written to this path in pieces."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path}: unknown format {path.suffix or '(no suffix)'}: expected {', '.join(SUFFIXES)}"
        )
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file name")
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written: the folder {path.parent} does not exist")
    if path.suffix.lower() == ".h5":
        need_tables(path)


def _ascending(pieces: Iterator[Trajectory], frames: int, path: Path) -> Iterator[Trajectory]:
    """The first ``frames`` frames, checked where one piece follows another."""
    last, left = -np.inf, frames
    for piece in pieces:
        if piece.times[0] <= last:
            raise InputError(f"{path}: a piece begins at {piece.times[0]:g} fs, after {last:g} fs")
        yield piece if len(piece) <= left else piece[:left]
        left -= len(piece)
        if left <= 0:
            return
        last = float(piece.times[-1])
    raise InputError(f"{path}: {frames - left} frames came of {frames}")
