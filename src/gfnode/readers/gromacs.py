"""XTC and TRR (GROMACS): big-endian records, read frame by frame.

mdtraj decompresses XTC, but takes a file that was cut off or damaged as it comes. So the frame
heads are walked through first, the numbers are decompressed in a process of their own, and the
least and the largest coordinate of each frame must be those that its head names. TRR frames are
plain arrays, read and written here, as mdtraj leaves out their velocities and forces.

Times are float32 ps in both (TRR: also float64). They become float64 by way of the shortest decimal
that names the float32, so 0.1 ps is 100 fs and not 100.0000015 fs.
"""

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers.boundary import femtoseconds, foreign, frame_times
from gfnode.readers.cells import ANGSTROM_PER_NM, FORCE, SPEED
from gfnode.readers.isolation import Arrays, isolated
from gfnode.readers.source import Block, Given, Source, batches
from gfnode.readers.topology import read_topology, same_atoms
from gfnode.trajectory import Integers

XTC_MAGIC, TRR_MAGIC = 1995, 1993
XTC_PLAIN, XTC_PACKED = 56, 92
"""Length in bytes of a frame's head: magic, atoms, step, time, box, atoms; where coordinates are
compressed, precision, bounds (6), smallest index, size, too. All are of four bytes."""

XTC_DAMAGED = "not an XTC file, or damaged or cut off"
XTC_FOREIGN = "is damaged, or this is not an XTC file"


@dataclass(frozen=True)
class XtcHeads:
    """The heads of all frames."""

    atoms: int
    times: NDArray[np.float32]  # (frame,) ps
    box: NDArray[np.float32]  # (frame, 3, 3) nm
    precision: NDArray[np.float64]  # (frame,) what 1 nm counts; 0: not compressed
    bounds: NDArray[np.float64]  # (frame, 2, 3) least and largest coordinate, as they count


def open_xtc(path: Path, given: Given) -> Source:
    """Open positions, times and the cell."""
    top = read_topology(given.top)
    with foreign(path, XTC_DAMAGED):
        heads = read_xtc_heads(path)
    same_atoms(path, heads.atoms, top)
    cell = heads.box * np.float32(ANGSTROM_PER_NM) if heads.box.any() else None

    def blocks(rows: Integers) -> Iterator[Block]:
        done = 0
        for arrays in isolated(path, XTC_DAMAGED, lambda: _decode(path, rows, heads.atoms)):
            part = rows[done : done + len(arrays["nm"])]
            done += len(part)
            _check_bounds(path, arrays["nm"], part, heads)
            yield Block(
                arrays["nm"] * np.float32(ANGSTROM_PER_NM),
                cell=None if cell is None else cell[part],
            )

    times = frame_times(path, len(heads.times), given.step, femtoseconds(heads.times))
    return top.source(times, blocks, given.step)


def count_xtc(path: Path) -> int:
    """Count the frames; all must be whole."""
    with foreign(path, "cut off"):
        return len(read_xtc_heads(path).times)


def read_xtc_heads(path: Path) -> XtcHeads:
    """Walk through the frame heads; each frame must be whole and its head make sense."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        _, atoms = struct.unpack_from(">2i", data)
        packed = atoms > 9  # so few are not compressed
        length = XTC_PACKED if packed else XTC_PLAIN
        places, fault = _walk(data, length, 0 if packed else 12 * atoms, 12 * atoms)
        if not places:
            raise InputError(f"{path}: frame 0 {fault}")
        heads = sliding_window_view(np.frombuffer(data, np.uint8), length)[places]
    integers, reals = (
        np.pad(heads.view(kind), ((0, 0), (0, (XTC_PACKED - length) // 4)))
        for kind in (">i4", ">f4")
    )
    if (bad := (integers[:, [1, 13]] != atoms).any(1) | (atoms <= 0)).any():
        raise InputError(f"{path}: frame {int(np.argmax(bad))} {XTC_FOREIGN}")
    precision, bounds, small = reals[:, 14], integers[:, 15:21].reshape(-1, 2, 3), integers[:, 21]
    bad = ~((precision > 0) & (precision < np.inf)) | (bounds[:, 0] > bounds[:, 1]).any(1)
    if (bad := packed & (bad | (small < 9) | (small > 72))).any():
        raise InputError(f"{path}: frame {int(np.argmax(bad))} is damaged")
    if fault:
        raise InputError(f"{path}: frame {len(places)} {fault}")
    box = reals[:, 4:13].astype(np.float32).reshape(-1, 3, 3)
    times = reals[:, 3].astype(np.float32)
    return XtcHeads(atoms, times, box, precision.astype(np.float64), bounds.astype(np.float64))


def _walk(data: mmap.mmap, length: int, size: int, most: int) -> tuple[list[int], str]:
    """Where frames begin, and what is wrong with the one after them, if anything.

    Parameters
    ----------
    data
        The file.
    length
        Of a head, in bytes.
    size
        Of what follows it; 0: the last number of the head.
    most
        How large that may be.
    """
    ends = struct.Struct(f">i{length - 8}xi")  # the first and the last number of a head
    places: list[int] = []
    place = 0
    while place < len(data):
        if place + length > len(data):
            return places, "is cut off"
        magic, last = ends.unpack_from(data, place)
        body = size or last
        if magic != XTC_MAGIC:
            return places, XTC_FOREIGN
        if not 0 < body <= most:
            return places, "is damaged"
        if (after := place + length + (body + 3) // 4 * 4) > len(data):
            return places, "is cut off"
        places.append(place)
        place = after
    return places, ""


def _decode(path: Path, rows: Integers, n_atoms: int) -> Iterator[Arrays]:
    from mdtraj.formats import XTCTrajectoryFile

    with _in_ascii(path) as name, XTCTrajectoryFile(name) as file:
        at = 0
        for part in batches(rows, n_atoms):
            runs = np.split(part, np.flatnonzero(np.diff(part) > 1) + 1)
            found = []
            for run in runs:
                if run[0] != at:
                    file.seek(int(run[0]))
                found.append(file.read(n_frames=len(run))[0])
                at = int(run[-1]) + 1
            yield {"nm": np.concatenate(found)}


@contextmanager
def _in_ascii(path: Path) -> Iterator[str]:
    """A name of the file in ASCII: mdtraj opens no other XTC file."""
    if str(path).isascii():
        yield str(path)
        return
    with TemporaryDirectory() as folder:
        link = Path(folder, "link.xtc")
        link.symlink_to(path.resolve())
        yield str(link)


def _check_bounds(path: Path, nm: NDArray[Any], rows: Integers, heads: XtcHeads) -> None:
    """The numbers of a frame span what its head says, unless they are damaged."""
    scale = heads.precision[rows][:, None]
    bounds = heads.bounds[rows]
    got = np.stack([nm.min(1), nm.max(1)], 1) * scale[..., None]
    wrong = np.abs(got - bounds) > 0.5 + 2e-7 * np.abs(bounds)
    if (bad := np.flatnonzero(wrong.any((1, 2)) & (scale[:, 0] > 0))).size:
        raise InputError(
            f"{path}: frame {rows[bad[0]]} is damaged: its coordinates are outside the range "
            "given in its header"
        )


def open_trr(path: Path, given: Given) -> Source:
    """Open positions, times, the cell, and velocities and forces where all frames have them.

    Frames that hold no positions (velocities or forces alone) are left out.
    """
    top = read_topology(given.top)
    data = np.memmap(path, np.uint8, "r")
    with foreign(path, "not a TRR file, or damaged or cut off"):
        frames = [frame for frame in _trr_frames(path, data) if "x" in frame.places]
    if not frames:
        raise InputError(f"{path}: no frame holds positions")
    for frame in frames:
        same_atoms(path, frame.atoms, top)
    atoms = (len(top.numbers), 3)
    shapes = {"x": atoms, "v": atoms, "f": atoms, "box": (3, 3)}
    held = {key for key in shapes if all(key in frame.places for frame in frames)}

    def every(key: str, unit: float, rows: Integers) -> Any:
        if key not in held:
            return None
        count = int(np.prod(shapes[key]))
        stored = [
            np.frombuffer(data, frames[i].real, count, frames[i].places[key]).reshape(shapes[key])
            for i in rows
        ]
        return np.stack(stored) * unit

    cell = every("box", ANGSTROM_PER_NM, np.arange(len(frames)))
    cell = cell if cell is not None and cell.any() else None

    def blocks(rows: Integers) -> Iterator[Block]:
        for part in batches(rows, len(top.numbers)):
            yield Block(
                every("x", ANGSTROM_PER_NM, part),
                every("v", SPEED, part),
                None if cell is None else cell[part],
                every("f", FORCE, part),
            )

    stored = femtoseconds(np.array([frame.time for frame in frames]))
    times = frame_times(path, len(frames), given.step, stored)
    return top.source(times, blocks, given.step, _in_some(path.name, frames))


def _in_some(name: str, frames: "list[_TrrFrame]") -> tuple[str, ...]:
    """Say what is left out as only some of the frames with positions hold it."""
    notes = []
    for key, what in (("v", "velocities"), ("f", "forces")):
        held = [key in frame.places for frame in frames]
        if any(held) and not all(held):
            notes.append(
                f"{name}: {what} are left out: {held.count(False)} of {len(held)} frames do not "
                f"hold them (the first is frame {held.index(False)}); have GROMACS write them as "
                f"often as positions (nst{key}out = nstxout), or drop such frames with gmx "
                "trjconv -force -dt"
            )
    return tuple(notes)


def count_trr(path: Path) -> int:
    """Count the frames that hold positions."""
    with foreign(path, "cut off"):
        frames = _trr_frames(path, np.memmap(path, np.uint8, "r"))
        return sum("x" in frame.places for frame in frames)


def trr_bytes(
    positions: NDArray[Any],
    times: NDArray[Any],
    box: NDArray[Any] | None,
    velocities: NDArray[Any] | None,
    forces: NDArray[Any] | None,
    *,
    first: int,
) -> bytes:
    """Frames of a TRR file, in GROMACS's units; ``first`` is the number of their first.

    mdtraj writes neither velocities nor forces. As there, a box of zeros stands for none.
    """
    frames, atoms = positions.shape[:2]
    rows = {"x": positions, "v": velocities, "f": forces}
    arrays = {key: values for key, values in rows.items() if values is not None}
    sizes = [4 * 3 * atoms if key in arrays else 0 for key in rows]
    head = [("head", ">i4", 3), ("name", "S12"), ("sizes", ">i4", 13), ("reals", ">f4", 2)]
    layout: list[Any] = [*head, ("box", ">f4", (3, 3))]
    layout += [(key, ">f4", (atoms, 3)) for key in arrays]
    made = np.zeros(frames, np.dtype(layout))
    made["head"], made["name"] = (TRR_MAGIC, 13, 12), b"GMX_trn_file"
    made["sizes"] = [0, 0, 36, 0, 0, 0, 0, *sizes, atoms, 0, 0]
    made["sizes"][:, 11] = np.arange(first, first + frames)
    made["reals"][:, 0] = times
    if box is not None:
        made["box"] = box
    for key, values in arrays.items():
        made[key] = values
    return made.tobytes()


@dataclass(frozen=True)
class _TrrFrame:
    """Where the arrays of a frame begin."""

    atoms: int
    time: np.floating[Any]  # ps
    real: np.dtype[Any]
    places: dict[str, int]


def _trr_frames(path: Path, data: NDArray[np.uint8]) -> Iterator[_TrrFrame]:
    place = number = 0
    while place < len(data):
        try:
            frame, place = _trr_frame(data, place)
        except (ValueError, struct.error) as error:
            raise InputError(
                f"{path}: frame {number} is damaged or cut off, or this is not a TRR file ({error})"
            ) from error
        number += 1
        yield frame


def _trr_frame(data: Any, place: int) -> tuple[_TrrFrame, int]:
    """Read one frame: a head with the sizes of its blocks in bytes, then the blocks."""
    magic, length, again = struct.unpack_from(">3i", data, place)
    if magic != TRR_MAGIC or not 0 < again < 100 or length != again + 1:
        raise ValueError(f"no frame begins at byte {place}")
    if data[place + 12 : place + 12 + again].tobytes() != b"GMX_trn_file":
        raise ValueError(f"no name at byte {place}")
    place += 12 + (again + 3) // 4 * 4
    sizes = struct.unpack_from(">10i", data, place)
    atoms, _, _ = struct.unpack_from(">3i", data, place + 40)
    if atoms <= 0 or min(sizes) < 0:
        raise ValueError(f"{atoms} atoms in blocks of {sizes} bytes")
    blocks = dict(zip(("box", "vir", "pres", "top", "sym", "x", "v", "f"), sizes[2:], strict=True))
    counts = {"box": 9, "vir": 9, "pres": 9, "x": 3 * atoms, "v": 3 * atoms, "f": 3 * atoms}
    wide = blocks["box"] == 72 or 24 * atoms in (blocks["x"], blocks["v"], blocks["f"])
    real = np.dtype(">f8" if wide else ">f4")
    place += 52
    time = np.frombuffer(data, real, 1, place)[0].astype(real.newbyteorder("="))
    place += 2 * real.itemsize
    places = {}
    for key, size in blocks.items():
        if size != 0 and size != counts.get(key, 0) * real.itemsize:
            raise ValueError(f"block {key} of {size} bytes before byte {place}")
        if size:
            places[key] = place
        place += size
    if any(sizes[:2]) or place > len(data):
        raise ValueError(f"it ends at byte {place}")
    return _TrrFrame(atoms, time, real, places), place
