"""ASE's own trajectories (``.traj``), read here and written by ASE.

A file holds arrays and, for every frame, JSON that says where these lie; the layout is that of
``ase.io.ulm``. ASE makes objects of what the JSON of a stranger names (constraints, cells, arrays
of any size); here it stays JSON, and only numbers are taken from the file. The trajectories of old
versions are pickles, which run code when they are read, and are refused.

Å, eV and u: momenta are in u Å per ASE time unit, left out at rest; forces, in eV/Å, are those of
the calculator that a frame was stored with. A frame's time is ``time_fs``, ``time_ps`` or ``time``
(fs) of ``Atoms.info``; ``time_fs`` is written. Cell vectors along directions that are not periodic
are zero in a Trajectory.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers.boundary import foreign, frame_times
from gfnode.readers.extxyz import TIME_KEYS, ase_frames, resting
from gfnode.readers.source import Block, Given, Source, atomic_numbers, batches
from gfnode.trajectory import Doubles, Integers, Trajectory
from gfnode.units import ELECTRONVOLT

MAGIC = (b"- of Ulm", b"AFFormat")
TAG = b"ASE-Trajectory"
HEAD = 48
"""Bytes: what it is, its tag, version, number of frames, and where their places are listed."""

PICKLE = b"PickleTrajectory"
CUT = "it is damaged or was cut off"
KINDS = {
    (kind, big): np.dtype(kind).newbyteorder(">" if big else "<")
    for kind in ("float64", "float32", "int64", "int32")
    for big in (False, True)
}
"""Types of numbers that are read, by their name and whether their first byte is the largest."""

READ = {"version", "ase_version", "description", "pbc", "numbers", "masses", "positions", "cell"}
READ |= {"momenta", "calculator", "info", "_little_endian"}

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Array:
    """Where an array lies in the file."""

    shape: tuple[int, ...]
    kind: np.dtype[Any]
    begin: int

    def read(self, file: BinaryIO) -> NDArray[Any]:
        """Read it."""
        file.seek(self.begin)
        raw = file.read(math.prod(self.shape) * self.kind.itemsize)
        found = np.frombuffer(raw, self.kind).reshape(self.shape)
        return found.astype(self.kind.newbyteorder("="))


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the JSON of a frame says: arrays ``(atom, 3)``, ``(3, 3)`` cell in Å and time in fs."""

    positions: _Array
    momenta: _Array | None
    forces: _Array | None
    cell: Doubles
    time: float | None


@dataclass(frozen=True)
class _Head:
    """What holds for all frames that do not say otherwise."""

    numbers: Integers
    masses: Doubles | None
    periodic: NDArray[np.bool_]


class _File:
    """The items of a file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.size = path.stat().st_size
        head = file.read(HEAD)
        if PICKLE in head:
            raise InputError(
                f"{path}: is a pickle written by an old version of ASE, and reading it could run "
                "code: expected a trajectory of ASE 3.10 or later. If you trust its origin, "
                "convert it with python -m ase.io.trajectory FILE"
            )
        if head[:8] not in MAGIC or head[8:24].rstrip() != TAG or len(head) < HEAD:
            raise InputError(f"{path}: is not an ASE trajectory, or is damaged")
        _, frames, place = np.frombuffer(head[24:], "<i8").tolist()
        if frames < 1:
            raise InputError(f"{path}: holds no frames")
        if place < 0 or place + 8 * frames > self.size:
            raise InputError(f"{path}: its header declares {frames} frames: {CUT}")
        file.seek(place)
        self.places: list[int] = np.frombuffer(file.read(8 * frames), "<i8").tolist()

    def __len__(self) -> int:
        return len(self.places)

    def item(self, frame: int) -> Json:
        """The JSON of a frame."""
        place = self.places[frame]
        if not HEAD <= place <= self.size - 8:
            raise InputError(f"{self.path}: frame {frame} lies outside the file: {CUT}")
        self.file.seek(place)
        length = int.from_bytes(self.file.read(8), "little", signed=True)
        if not 0 < length <= self.size - place - 8:
            raise InputError(f"{self.path}: frame {frame} lies outside the file: {CUT}")
        found = json.loads(self.file.read(length))
        if not isinstance(found, dict):
            raise TypeError(f"expected a JSON object, got {type(found).__name__}")
        return found

    def array(self, item: Json, key: str, big: bool) -> _Array | None:
        """Where an array lies; None where there is none."""
        if (said := item.get(f"{key}.")) is None:
            return None
        shape, kind, begin = said["ndarray"]
        if (kind, big) not in KINDS or not all(
            isinstance(n, int) and n >= 0 for n in (*shape, begin)
        ):
            raise ValueError(f"{key} are {kind!r} of shape {shape}, expected numbers")
        found = _Array(tuple(shape), KINDS[kind, big], begin)
        if begin + math.prod(shape) * found.kind.itemsize > self.size:
            raise InputError(f"{self.path}: {key} lie outside the file: {CUT}")
        return found

    def values(self, item: Json, key: str, big: bool) -> NDArray[Any] | None:
        """A small array, which may be in the JSON."""
        if (array := self.array(item, key, big)) is not None:
            return array.read(self.file)
        return None if item.get(key) is None else np.array(item[key])


def open_traj(path: Path, given: Given) -> Source:
    """Open positions, elements and, where stored, times, momenta, forces, masses and the cell."""
    from ase.data import atomic_masses

    frames: list[_Frame] = []
    with path.open("rb") as file, foreign(path, f"not an ASE trajectory, or {CUT}"):
        opened = _File(path, file)
        first = opened.item(0)
        head = now = _head(opened, first, 0)
        for number in range(len(opened)):
            item = opened.item(number) if number else first
            # a frame with a head of its own; without one that of the first frame holds
            now = _head(opened, item, number) if "numbers." in item or "numbers" in item else head
            _same(path, number, head, now)
            frames.append(_frame(opened, item, number, now, frames[-1].cell if frames else None))
    atoms = len(head.numbers)
    moving_in = [frame.momenta is not None for frame in frames]
    notes = resting(path.name, moving_in) if any(moving_in) else ()
    without = [number for number, frame in enumerate(frames) if frame.forces is None]
    if without and len(without) < len(frames):
        notes += (
            f"{path.name}: forces are left out, as {len(without)} of {len(frames)} frames do not "
            f"have them (the first is frame {without[0]})",
        )
    masses = atomic_masses[head.numbers] if head.masses is None else head.masses
    periodic = any(frame.cell.any() for frame in frames)

    def blocks(rows: Integers) -> Iterator[Block]:
        with path.open("rb") as file:
            for part in batches(rows, atoms):
                chosen = [frames[row] for row in part.tolist()]
                yield Block(
                    np.stack([frame.positions.read(file) for frame in chosen]),
                    _velocities(file, chosen, masses) if any(moving_in) else None,
                    np.stack([frame.cell for frame in chosen]) if periodic else None,
                    None
                    if without
                    else np.stack([frame.forces.read(file) for frame in chosen if frame.forces])
                    * ELECTRONVOLT,
                )

    stored = None if given.step is not None else _times(path, frames)
    return Source(
        head.numbers,
        frame_times(path, len(frames), given.step, stored),
        blocks,
        time_step=given.step,
        name=str(_info(first).get("name", "")),
        masses=head.masses,
        notes=notes,
        unread=_unread(first),
    )


def _head(opened: _File, item: Json, frame: int) -> _Head:
    big = item.get("_little_endian", True) is False
    numbers = opened.values(item, "numbers", big)
    if numbers is None:
        raise InputError(f"{opened.path}: frame {frame} has no elements: {CUT}")
    masses = opened.values(item, "masses", big)
    periodic = np.array(item.get("pbc", False), dtype=bool) & np.ones(3, dtype=bool)
    return _Head(
        atomic_numbers(opened.path, numbers, "numbers"),
        None if masses is None else masses.astype(np.float64),
        periodic,
    )


def _same(path: Path, frame: int, first: _Head, now: _Head) -> None:
    """Refuse frames of other atoms; the cell may come to repeat."""
    if now is first:
        return
    if not np.array_equal(now.numbers, first.numbers):
        raise InputError(
            f"{path}: frame {frame} has different atoms from the first one; all frames must hold "
            "the same atoms in the same order"
        )
    old, new = first.masses, now.masses
    if not (old is new if old is None or new is None else np.array_equal(old, new)):
        raise InputError(
            f"{path}: frame {frame} has different masses from the first one; all frames must have "
            "the same masses"
        )


def _frame(opened: _File, item: Json, number: int, head: _Head, before: Doubles | None) -> _Frame:
    big = item.get("_little_endian", True) is False
    calculator = item.get("calculator.", {})
    arrays = {
        "positions": opened.array(item, "positions", big),
        "momenta": opened.array(item, "momenta", big),
        "forces": opened.array(calculator, "forces", big),
    }
    shape = (len(head.numbers), 3)
    for key, array in arrays.items():
        if array is not None and array.shape != shape:
            raise InputError(
                f"{opened.path}: {key} of frame {number} have shape {array.shape}, expected {shape}"
            )
    if arrays["positions"] is None:
        raise InputError(f"{opened.path}: frame {number} has no positions: {CUT}")
    cell = opened.values(item, "cell", big)
    cell = np.zeros((3, 3)) if cell is None else cell.astype(np.float64)
    if cell.shape != (3, 3):
        raise InputError(
            f"{opened.path}: the cell of frame {number} has shape {cell.shape}, expected (3, 3)"
        )
    cell = np.where(head.periodic[:, None], cell, 0.0)
    if before is not None and np.array_equal(before, cell):
        cell = before  # most stay as they are
    info = _info(item)
    times = (float(info[key]) * worth for key, worth in TIME_KEYS.items() if key in info)
    return _Frame(arrays["positions"], arrays["momenta"], arrays["forces"], cell, next(times, None))


def _info(item: Json) -> Json:
    """``Atoms.info`` of a frame; empty where it is none."""
    found = item.get("info")
    return found if isinstance(found, dict) else {}


def _times(path: Path, frames: list[_Frame]) -> Doubles | None:
    """Times in fs, where frames have them."""
    missing = [number for number, frame in enumerate(frames) if frame.time is None]
    if len(missing) == len(frames):
        return None
    if missing:
        raise InputError(
            f"{path}: frame {missing[0]} has no time in its info, but others have: give --step, "
            "the time between frames, instead"
        )
    return np.array([frame.time for frame in frames])


def _velocities(file: BinaryIO, frames: list[_Frame], masses: Doubles) -> Doubles:
    """Å/fs; atoms are at rest in frames without momenta."""
    from ase import units

    rest = np.zeros((len(masses), 3))
    momenta = [rest if each.momenta is None else each.momenta.read(file) for each in frames]
    return np.stack(momenta) / masses[:, None] * units.fs


def _unread(item: Json) -> tuple[str, ...]:
    """What else a frame holds."""
    calculator = item.get("calculator.", {})
    keys = [key.rstrip(".") for key in item]
    found = [key for key in keys if key not in READ]
    keys = [key.rstrip(".") for key in calculator]
    found += [key for key in keys if key not in ("name", "parameters", "forces")]
    found += [key for key in _info(item) if key not in (*TIME_KEYS, "name")]
    return tuple(found)


@contextmanager
def writing(path: Path, frames: int) -> Iterator[Callable[[Trajectory], None]]:
    """Give what writes positions, times and, where known, momenta, forces, masses and the cell."""
    from ase.io.trajectory import TrajectoryWriter

    with TrajectoryWriter(str(path), "w") as file:

        def write_piece(piece: Trajectory) -> None:
            for atoms in ase_frames(piece):
                file.write(atoms)

        yield write_piece
