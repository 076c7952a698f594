"""DCD (CHARMM, NAMD, OpenMM): a few Fortran records per frame, all frames alike.

mdtraj reads DCD too, but drops a frame that was cut off without a word, prints to the terminal, and
makes up times. Here every record mark of the file is compared with what it must be, and frames are
taken out of a memory map.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers.boundary import EXAMPLE, foreign, frame_times
from gfnode.readers.cells import box_vectors
from gfnode.readers.source import Block, Given, Source, batches
from gfnode.readers.topology import read_topology, same_atoms
from gfnode.trajectory import Integers
from gfnode.units import format_time

AKMA = 48.88821
"""fs in CHARMM's unit of time, Å (u / (kcal/mol))^(1/2)."""

_BEFORE_MATRIX = 24
"""The last version of CHARMM that stores lengths and angles; NAMD, OpenMM, … name it, too."""


def open_dcd(path: Path, given: Given) -> Source:
    """Open positions and the cell; ``step`` is required, as DCD times cannot be relied upon."""
    top = read_topology(given.top)
    with foreign(path, "not a DCD file, or damaged or cut off"):
        frames, control = _frames(path)
        cell = _cell(frames, int(control[19]))
    same_atoms(path, frames["x"].shape[1], top)

    def blocks(rows: Integers) -> Iterator[Block]:
        for part in batches(rows, len(top.numbers)):
            taken = frames[part]
            positions = np.stack([taken[axis] for axis in "xyz"], axis=-1)
            yield Block(positions, cell=None if cell is None else cell[part])

    times = frame_times(path, len(frames), given.step, proposal=_claim(control, _head_time(path)))
    return top.source(times, blocks, given.step, _fewer(path, int(control[0]), len(frames)))


def count(path: Path) -> int:
    """Count the frames; all must be whole."""
    with foreign(path, "cut off"):
        return len(_frames(path)[0])


def _frames(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Map the frames as records ``x``, ``y``, ``z`` (atom,) and ``cell`` (6,); and the head."""
    data = np.memmap(path, np.uint8, "r")
    order = "<" if data[:4].tobytes() == (84).to_bytes(4, "little") else ">"
    integer = np.dtype(f"{order}i4")
    head = np.frombuffer(data, integer, 23)
    if head[0] != 84 or head[22] != 84 or data[4:8].tobytes() != b"CORD":
        raise InputError(f"{path}: not a DCD file of coordinates with 4-byte records")
    control = head[2:22]
    if control[8] or control[11]:
        raise InputError(
            f"{path}: has fixed atoms or a fourth dimension, which gfnode cannot read: write all "
            "atoms of every frame, in three dimensions"
        )
    title = int(np.frombuffer(data, integer, 1, 92)[0])
    count = np.frombuffer(data, integer, 4, 96 + max(title, 0))
    if count[0] != title or count[1] != 4 or count[3] != 4 or count[2] < 1:
        raise InputError(f"{path}: not a DCD file, or damaged: its header makes no sense")

    blocks = [("cell", f"{order}f8", 6)] if control[10] else []
    blocks += [(axis, f"{order}f4", int(count[2])) for axis in "xyz"]
    frame = np.dtype(
        [
            field
            for key, kind, size in blocks
            for field in ((f"{key}<", integer), (key, kind, (size,)), (f"{key}>", integer))
        ]
    )
    whole, rest = divmod(len(data) - 112 - title, frame.itemsize)
    if rest or not whole:
        raise InputError(
            f"{path}: frame {whole} is cut off: {rest} of {frame.itemsize} bytes (its header says "
            f"{control[0]} frames); the file was cut off or is damaged"
        )
    frames = np.frombuffer(data, frame, whole, 112 + title)
    for key, kind, size in blocks:
        expected = np.dtype(kind).itemsize * size
        wrong = (frames[f"{key}<"] != expected) | (frames[f"{key}>"] != expected)
        if wrong.any():
            raise InputError(f"{path}: frame {int(np.argmax(wrong))} is damaged")
    return frames, control


def _fewer(path: Path, said: int, frames: int) -> list[str]:
    """A run that was stopped leaves the number of frames that it should have come to."""
    if said in (0, frames):
        return []
    return [
        f"{path.name} holds {frames} complete frames, but its header says {said}: was the run "
        "interrupted?"
    ]


def _head_time(path: Path) -> float:
    """Unit of time of the head in fs: CHARMM's, but where the remarks say that CP2K wrote it."""
    with path.open("rb") as file:
        return 1.0 if b"created by CP2K" in file.read(1024) else AKMA


def _claim(control: NDArray[Any], unit: float) -> str:
    """What the head says of the time between frames, to be proposed: programs fill it loosely."""
    real = control.dtype.byteorder + "f4"
    delta, every = float(control[9:10].view(real)[0]), int(control[2])
    if control[19] == 0:  # not CHARMM's: float64 over two fields
        delta = float(control[9:11].copy().view(control.dtype.byteorder + "f8")[0])
    step = delta * unit * max(every, 1)
    if delta == 1 or not 1e-3 < step < 1e9:  # mdtraj writes 1, whatever the step
        return EXAMPLE
    said = format_time(float(f"{step:.4g}")).replace(" ", "")
    return (
        f"--step {said} if its header is right (a frame every {max(every, 1)} steps of "
        f"{format_time(float(f'{delta * unit:.4g}'))})"
    )


def _cell(frames: NDArray[Any], version: int) -> NDArray[Any] | None:
    """Cell vectors from a, γ, b, β, α, c; angles in degrees or as cosines; or CHARMM's matrix.

    Since its version 25 CHARMM stores its symmetric matrix of cell vectors by its lower triangle
    in place of them, in Å; that of others is told by angles that no cell has.
    """
    if "cell" not in (frames.dtype.names or ()) or not frames["cell"].any():
        return None
    stored = frames["cell"].astype(np.float64)
    lengths, angles = stored[:, [0, 2, 5]], stored[:, [4, 3, 1]]
    if not lengths.all(1).any():  # angles alone: no box
        return None
    few = np.abs(angles).max() <= 1
    cosines = angles if few else np.cos(np.radians(angles))
    square = 1 + 2 * cosines.prod(1) - np.square(cosines).sum(1)  # of the volume of unit vectors
    possible = few or ((angles > 0) & (angles < 180)).all()
    matrix = stored[:, [[0, 1, 3], [1, 2, 4], [3, 4, 5]]]
    if (version > _BEFORE_MATRIX or not possible or (square <= 0).any()) and (
        np.isfinite(matrix).all() and (np.linalg.eigvalsh(matrix) > 0).all()
    ):
        return matrix.astype(np.float32)
    return box_vectors(lengths, np.degrees(np.arccos(angles)) if few else angles)
