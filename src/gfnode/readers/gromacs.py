"""XTC and TRR (GROMACS): big-endian records, read frame by frame.

mdtraj decompresses XTC, but takes a file that was cut off or damaged as it comes, so the frame
heads are walked through first. XTC has no checksum: damage inside the compressed numbers may still
pass as other numbers, or crash mdtraj. It does not give the velocities of TRR, whose frames are
plain arrays and read here.

Times are float32 ps in both (TRR: also float64). They become float64 by way of the shortest decimal
that names the float32, so 0.1 ps is 100 fs and not 100.0000015 fs.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gfnode.errors import InputError
from gfnode.readers._boundary import femtoseconds, foreign, frame_times
from gfnode.readers.topology import ANGSTROM_PER_NM, SPEED, read_topology
from gfnode.trajectory import Trajectory

XTC_MAGIC, TRR_MAGIC = 1995, 1993


def read_xtc(path: Path, step: float | None, top: Path | None) -> Trajectory:
    """Read positions, times and the cell."""
    assert top is not None
    numbers, topology = read_topology(top)
    with foreign(path, "not an XTC file, or damaged or cut off"):
        frames = count_xtc(path, top, len(numbers))
        from mdtraj.formats import XTCTrajectoryFile

        with XTCTrajectoryFile(str(path)) as file:
            # a damaged last frame may be decompressed beyond its end: into room for one more
            positions, times, _, cell = file.read(n_frames=frames + 1)
        return Trajectory(
            positions * np.float32(ANGSTROM_PER_NM),
            frame_times(path, len(times), step, femtoseconds(times)),
            numbers,
            cell=None if cell is None else cell * np.float32(ANGSTROM_PER_NM),
            topology=topology,
            time_step=step,
            source=str(path),
        )


def count_xtc(path: Path, top: Path | None = None, n_atoms: int | None = None) -> int:
    """Walk through the frame heads; each frame must be whole and its head make sense."""
    data = path.read_bytes()
    place = frame = 0
    while place < len(data):
        where = f"{path}: frame {frame}"
        if place + 56 > len(data):
            raise InputError(f"{where} is cut off")
        magic, atoms = struct.unpack_from(">ii", data, place)
        if magic != XTC_MAGIC:
            raise InputError(f"{where} is damaged, or this is no XTC file")
        _same_atoms(path, top, atoms, n_atoms)
        if struct.unpack_from(">i", data, place + 52)[0] != atoms:
            raise InputError(f"{where} is damaged")
        place += 56
        if atoms <= 9:  # so few are not compressed
            place += 12 * atoms
        else:
            if place + 36 > len(data):
                raise InputError(f"{where} is cut off")
            precision, *bounds, small, size = struct.unpack_from(">f8i", data, place)
            low, high = bounds[:3], bounds[3:]
            if (
                not 0 < precision < np.inf
                or any(a > b for a, b in zip(low, high, strict=True))
                or not 9 <= small <= 72
                or not 0 < size <= 12 * atoms
            ):
                raise InputError(f"{where} is damaged")
            place += 36 + (size + 3) // 4 * 4
        if place > len(data):
            raise InputError(f"{where} is cut off")
        frame += 1
    return frame


def read_trr(path: Path, step: float | None, top: Path | None) -> Trajectory:
    """Read positions, times, the cell, and velocities where all frames have them.

    Frames that hold no positions (velocities or forces alone) are left out.
    """
    assert top is not None
    numbers, topology = read_topology(top)
    with foreign(path, "not a TRR file, or damaged or cut off"):
        frames = []
        for frame in _trr_frames(path):
            _same_atoms(path, top, frame["atoms"], len(numbers))
            if "x" in frame:
                frames.append(frame)
        if not frames:
            raise InputError(f"{path}: no frame holds positions")

        def every(key: str, unit: float) -> Any:
            if all(key in frame for frame in frames):
                return np.stack([frame[key] for frame in frames]) * unit
            return None

        cell = every("box", ANGSTROM_PER_NM)
        times = femtoseconds(np.array([frame["time"] for frame in frames]))
        return Trajectory(
            every("x", ANGSTROM_PER_NM),
            frame_times(path, len(frames), step, times),
            numbers,
            velocities=every("v", SPEED),
            cell=cell if cell is not None and cell.any() else None,
            topology=topology,
            time_step=step,
            source=str(path),
        )


def count_trr(path: Path) -> int:
    """Count the frames that hold positions."""
    with foreign(path, "cut off"):
        return sum("x" in frame for frame in _trr_frames(path))


def _trr_frames(path: Path) -> Iterator[dict[str, Any]]:
    data, place = path.read_bytes(), 0
    while place < len(data):
        frame, place = _trr_frame(data, place)
        yield frame


def _trr_frame(data: bytes, place: int) -> tuple[dict[str, Any], int]:
    """Read one frame: a head with the sizes of its blocks in bytes, then the blocks."""
    magic, _, length = struct.unpack_from(">3i", data, place)
    if magic != TRR_MAGIC or not 0 < length < 100:
        raise ValueError(f"no frame begins at byte {place}")
    place += 12 + (length + 3) // 4 * 4
    sizes = struct.unpack_from(">10i", data, place)
    atoms, _, _ = struct.unpack_from(">3i", data, place + 40)
    blocks = dict(zip(("box", "vir", "pres", "top", "sym", "x", "v", "f"), sizes[2:], strict=True))
    shapes = {"box": (3, 3), "x": (atoms, 3), "v": (atoms, 3), "f": (atoms, 3)}
    wide = blocks["box"] == 72 or 24 * atoms in (blocks["x"], blocks["v"], blocks["f"])
    real = np.dtype(">f8" if wide else ">f4")
    place += 52
    frame: dict[str, Any] = {"atoms": atoms}
    frame["time"] = np.frombuffer(data, real, 1, place)[0].astype(real.newbyteorder("="))
    place += 2 * real.itemsize
    if any(size < 0 for size in sizes):
        raise ValueError(f"the frame before byte {place} is damaged")
    for key, size in blocks.items():
        if size and key in shapes:
            count = int(np.prod(shapes[key]))
            if size != count * real.itemsize:
                raise ValueError(f"the frame before byte {place} is damaged")
            frame[key] = np.frombuffer(data, real, count, place).reshape(shapes[key])
        place += size
    return frame, place


def _same_atoms(path: Path, top: Path | None, atoms: int, expected: int | None) -> None:
    if expected is not None and atoms != expected:
        raise InputError(f"{path}: has {atoms} atoms, its topology {top} has {expected}")
