"""Extended XYZ, read and written by ASE.

Each frame's time is the key ``time_fs`` of its comment line, or ``time_ps``, or ``time``, which is
taken as fs; ``time_fs`` is written. Velocities travel as ASE's momenta (u Å per ASE time unit); a
column ``velocities`` is read in ASE's units too. Cell vectors along directions that are not
periodic are zero in a Trajectory. Names and bonds have no place in this format.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers._boundary import ends_with_line, foreign, frame_times
from gfnode.trajectory import Doubles, Trajectory

TIME_KEYS = {"time_fs": 1.0, "time_ps": 1000.0, "time": 1.0}
"""Keys of the comment line that hold the time, and fs in their unit."""


def read(path: Path, step: float | None, top: Path | None) -> Trajectory:
    """Read all frames of an XYZ file, extended or plain."""
    from ase import units
    from ase.io import read as ase_read

    atoms = _check_frames(path)
    with foreign(path, "not a valid XYZ file"):
        frames: Any = ase_read(path, index=":", format="extxyz")
    numbers = frames[0].numbers
    for i, frame in enumerate(frames):
        if not np.array_equal(frame.numbers, numbers):
            raise InputError(
                f"{path}: frame {i} holds {frame.symbols}, the first one {frames[0].symbols}; all "
                "frames must hold the same atoms in the same order"
            )
    times = frame_times(path, len(frames), step, _stored_times(path, frames))
    velocities: NDArray[Any] | None = None
    if any(frame.has("momenta") for frame in frames):  # ASE leaves them out where they are zero
        velocities = np.stack([frame.get_velocities() for frame in frames]) * units.fs
    elif all(frame.has("velocities") for frame in frames):
        velocities = np.stack([frame.arrays["velocities"] for frame in frames]) * units.fs
    cell = np.stack([frame.cell.array * frame.pbc[:, None] for frame in frames])
    return Trajectory(
        np.stack([frame.positions for frame in frames]).reshape(-1, atoms, 3),
        times,
        numbers,
        velocities=velocities,
        cell=cell if cell.any() else None,
        time_step=step,
        name=str(frames[0].info.get("name", "")),
        source=str(path),
    )


def _check_frames(path: Path) -> int:
    """Walk through the file and return the number of atoms; every frame must be whole.

    ASE stops at the first blank line and takes what it has, and a last number cut short for
    another number.
    """
    ends_with_line(path)
    atoms = frame = 0
    with foreign(path, "not a text file"), path.open(encoding="utf-8") as lines:
        while line := lines.readline():
            if not line.strip():
                if lines.read().strip():
                    raise InputError(f"{path}: a blank line stands before frame {frame}; remove it")
                break
            if not line.strip().isdecimal() or (count := int(line)) < 1:
                raise InputError(
                    f"{path}: frame {frame} begins with {line.strip()[:40]!r}, expected the number "
                    "of atoms"
                )
            atoms = atoms or count
            if count != atoms:
                raise InputError(f"{path}: frame {frame} has {count} atoms, the first one {atoms}")
            if (got := sum(1 for _ in islice(lines, count + 1))) != count + 1:
                raise InputError(
                    f"{path}: the file ends inside frame {frame}: {max(got - 1, 0)} of {count} "
                    "atoms; it was cut off"
                )
            frame += 1
    return atoms


def _stored_times(path: Path, frames: list[Any]) -> Doubles | None:
    infos = [{key.lower(): value for key, value in frame.info.items()} for frame in frames]
    key = next((key for key in TIME_KEYS if key in infos[0]), None)
    if key is None:
        return None
    if missing := [i for i, info in enumerate(infos) if key not in info]:
        raise InputError(f"{path}: frame {missing[0]} has no {key}, the first one has")
    with foreign(path, f"{key} is not a number"):
        return np.array([float(info[key]) for info in infos]) * TIME_KEYS[key]


def write(trajectory: Trajectory, path: Path, precision: float | None) -> None:
    """Write extended XYZ with ``time_fs``, momenta and the cell where known."""
    from ase import Atoms, units
    from ase.io import write as ase_write

    def frames() -> Any:
        for i, positions in enumerate(trajectory.positions):
            cell = None if trajectory.cell is None else trajectory.cell[i].astype(np.float64)
            atoms: Any = Atoms(
                trajectory.numbers,
                positions.astype(np.float64),
                cell=cell,
                pbc=False if cell is None else cell.any(1),
                info={"time_fs": float(trajectory.times[i])},
            )
            if trajectory.name:
                atoms.info["name"] = trajectory.name
            if trajectory.velocities is not None:
                atoms.set_velocities(trajectory.velocities[i].astype(np.float64) / units.fs)
            yield atoms

    ase_write(path, frames(), format="extxyz")
