"""DCD (CHARMM, NAMD, OpenMM): a few Fortran records per frame, all frames alike.

mdtraj reads DCD too, but drops a frame that was cut off without a word, prints to the terminal, and
makes up times. Here every record mark of the file is compared with what it must be.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers._boundary import foreign, frame_times
from gfnode.readers.topology import box_vectors, read_topology
from gfnode.trajectory import Trajectory


def read(path: Path, step: float | None, top: Path | None) -> Trajectory:
    """Read positions and the cell; ``step`` is required, as DCD times cannot be relied upon."""
    assert top is not None
    numbers, topology = read_topology(top)
    with foreign(path, "not a DCD file, or damaged or cut off"):
        frames = _frames(path)
        cell = _cell(frames)
    if (atoms := frames["x"].shape[1]) != len(numbers):
        raise InputError(f"{path}: has {atoms} atoms, its topology {top} has {len(numbers)}")
    return Trajectory(
        np.stack([frames[axis] for axis in "xyz"], axis=-1),
        frame_times(path, len(frames), step),
        numbers,
        cell=cell,
        topology=topology,
        time_step=step,
        source=str(path),
    )


def count(path: Path) -> int:
    """Count the frames; all must be whole."""
    with foreign(path, "cut off"):
        return len(_frames(path))


def _frames(path: Path) -> NDArray[Any]:
    """Return the frames as records ``x``, ``y``, ``z`` (atom,) and ``cell`` (6,), where stored."""
    data = path.read_bytes()
    order = "<" if data[:4] == (84).to_bytes(4, "little") else ">"
    integer = np.dtype(f"{order}i4")
    head = np.frombuffer(data, integer, 23)
    if head[0] != 84 or head[22] != 84 or data[4:8] != b"CORD":
        raise InputError(f"{path}: not a DCD file of coordinates with 4-byte records")
    control = head[2:22]
    if control[8] or control[11]:
        raise InputError(f"{path}: holds fixed atoms or a fourth dimension, which are not read")
    title = int(np.frombuffer(data, integer, 1, 92)[0])
    count = np.frombuffer(data, integer, 4, 96 + max(title, 0))
    if count[0] != title or count[1] != 4 or count[3] != 4 or count[2] < 1:
        raise InputError(f"{path}: not a DCD file, or a damaged one: its head makes no sense")

    blocks = [("cell", f"{order}f8", 6)] if control[10] else []
    blocks += [(axis, f"{order}f4", int(count[2])) for axis in "xyz"]
    frame = np.dtype(
        [
            field
            for key, kind, size in blocks
            for field in ((f"{key}<", integer), (key, kind, (size,)), (f"{key}>", integer))
        ]
    )
    body = data[112 + title :]
    whole, rest = divmod(len(body), frame.itemsize)
    if rest or not whole or 0 < control[0] != whole:
        raise InputError(
            f"{path}: holds {whole} whole frames and {rest} more bytes, its head says "
            f"{control[0]} frames; the file was cut off or is damaged"
        )
    frames = np.frombuffer(body, frame)
    for key, kind, size in blocks:
        expected = np.dtype(kind).itemsize * size
        wrong = (frames[f"{key}<"] != expected) | (frames[f"{key}>"] != expected)
        if wrong.any():
            raise InputError(f"{path}: frame {int(np.argmax(wrong))} is damaged")
    return frames


def _cell(frames: NDArray[Any]) -> NDArray[Any] | None:
    """Cell vectors from CHARMM's order a, γ, b, β, α, c; angles in degrees or as cosines."""
    if "cell" not in (frames.dtype.names or ()) or not frames["cell"].any():
        return None
    stored = frames["cell"].astype(np.float64)
    lengths, angles = stored[:, [0, 2, 5]], stored[:, [4, 3, 1]]
    if np.abs(angles).max() <= 1:
        angles = np.degrees(np.arccos(angles))
    return box_vectors(lengths, angles)
