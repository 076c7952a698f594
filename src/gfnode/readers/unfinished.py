"""A trajectory that grows on disk, such that killing what makes it at any moment loses little.

Beside ``FILE`` lies the folder ``FILE.unfinished`` while a simulation or a rollout runs::

    settings.json    what is made, and the layout of a frame
    frames.bin       frames, appended
    numbers.bin      numbers beside the frames, appended
    state.npz        how many of both count, and everything that is needed to go on
    lock             held by the process that writes

Frames reach the disk before the state that counts them is renamed into place, so ``state.npz``
always names frames that are there; what follows them in their file is cut off on going on.
The finished file of a simulation is written in the folder and then moved; that of a rollout is
written in pieces, under a temporary name beside its own.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.files import check_no_link, locked, make_folder, read_arrays, read_json, to_json, whole
from gfnode.readers.saving import save, topology_beside, topology_path
from gfnode.trajectory import Trajectory

SUFFIX = ".unfinished"
RECORD = ".simulation.json"

NUMBER = np.dtype("<f4")
"""How a number beside the frames is stored."""

LAYOUT = {
    "positions": "<f4",
    "velocities": "<f4",
    "forces": "<f4",
    "cell": "<f4",
    "energies": "<f8",
}
"""What a frame may hold, and how numbers are stored."""


def folder_of(path: Path) -> Path:
    """Where an unfinished trajectory lies."""
    return path.with_name(path.name + SUFFIX)


def record_of(path: Path) -> Path:
    """Where the record of a finished one lies."""
    return path.with_name(path.stem + RECORD)


def check_one_way(*, resume: bool, overwrite: bool) -> None:
    """Refuse to go on and to begin anew at once.

    Raises
    ------
    InputError
        See above.
    """
    if resume and overwrite:
        raise InputError("--resume continues, --overwrite starts over: give only one of them")


def check_free(path: Path, what: str) -> None:
    """Refuse a file that exists, or that an unfinished simulation or rollout (``what``) becomes.

    Raises
    ------
    InputError
        See above.
    """
    if ((folder := folder_of(path)) / "settings.json").exists():
        raise InputError(
            f"{folder}: holds an unfinished {what}: continue it with --resume, or start over with "
            "--overwrite"
        )
    if path.exists():
        raise InputError(
            f"{path}: already exists: give another name, or replace it with --overwrite"
        )


def write_json_durably(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object that is on the disk when it has its name."""
    with whole(path) as partial, partial.open("wb") as file:
        file.write(to_json(data).encode() + b"\n")
        _to_disk(file)


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


@dataclass
class Store:
    """An unfinished trajectory on disk. Use :meth:`begin` or :meth:`resume`.

    Parameters
    ----------
    path
        The trajectory file that it will become.
    frame
        Layout of a frame.
    frames, numbers
        How many frames count, and how many numbers beside them.
    """

    path: Path
    frame: np.dtype[Any]
    lock: FileLock
    frames: int = 0
    numbers: int = 0

    @classmethod
    def begin(
        cls,
        path: Path,
        settings: Mapping[str, Any],
        shapes: Mapping[str, Any],
        *,
        frames: int,
        what: str,
    ) -> "Store":
        """Make the folder; what lies in one that is there is lost.

        Parameters
        ----------
        settings
            How it is made: what one that goes on must agree with.
        shapes
            Shape of every array of a frame.
        frames
            How many there will be.
        what
            ``simulation`` or ``rollout``.

        Raises
        ------
        InputError
            When the folder cannot be written, or another process writes there, or the disk has no
            room for so many frames.
        """
        folder = folder_of(path)
        _check_room(path, frames, _layout(shapes).itemsize)
        make_folder(folder)
        lock = _locked(folder)
        (folder / "settings.json").unlink(missing_ok=True)  # first: without it there is no run
        (folder / "state.npz").unlink(missing_ok=True)
        for name in ("frames.bin", "numbers.bin"):
            (folder / name).write_bytes(b"")
        shapes = {key: list(shape) for key, shape in shapes.items()}
        head = {
            "format": f"gfnode {what}",
            "version": 1,
            "settings": dict(settings),
            "frame": shapes,
        }
        write_json_durably(folder / "settings.json", head)
        return cls(path, _layout(shapes), lock)

    @classmethod
    def resume(
        cls, path: Path, settings: Mapping[str, Any], *, what: str
    ) -> "tuple[Store, dict[str, NDArray[Any]]] | None":
        """Open what :meth:`begin` left; None where there is nothing to go on with.

        Returns
        -------
        Store, dict
            The store, and the arrays of the last :meth:`append`; empty before the first.

        Raises
        ------
        InputError
            For another one, a damaged folder, or another process that writes there.
        """
        folder = folder_of(path)
        if not (folder / "settings.json").exists():
            return None
        lock = _locked(folder)
        try:
            head = read_json(folder / "settings.json")
            if head.get("format") != f"gfnode {what}" or head.get("version") != 1:
                raise InputError(f"{folder}: is not an unfinished {what} of this version of gfnode")
            same_settings(folder, head["settings"], settings, what)
            store = cls(path, _layout(head["frame"]), lock)
            state = store._read_state(folder)
        except BaseException:
            lock.release()
            raise
        return store, state

    def _read_state(self, folder: Path) -> dict[str, NDArray[Any]]:
        state = {}
        if (folder / "state.npz").exists():
            state = read_arrays(folder / "state.npz")
            self.frames, self.numbers = (int(state.pop(key)) for key in ("frames", "numbers"))
        for what, count, kind in (
            ("frames", self.frames, self.frame),
            ("numbers", self.numbers, NUMBER),
        ):
            file = folder / f"{what}.bin"
            if file.stat().st_size < count * kind.itemsize:
                raise InputError(
                    f"{file}: holds fewer than the {count} {what} counted in state.npz: it was "
                    "changed from outside. Start over with --overwrite"
                )
            os.truncate(file, count * kind.itemsize)
        return state

    def append(
        self,
        frames: NDArray[Any],
        state: Mapping[str, NDArray[Any]],
        numbers: Sequence[float] = (),
    ) -> None:
        """Add frames and the state after them; all count, or nothing.

        Parameters
        ----------
        frames
            Structured array ``(frame,)`` of the layout :attr:`frame`.
        state
            What is needed to go on; it replaces what was there.
        numbers
            Any numbers to keep beside the frames, in single precision.
        """
        folder = folder_of(self.path)
        added = np.asarray(numbers, dtype=NUMBER)
        try:
            for name, values in (("frames.bin", frames), ("numbers.bin", added)):
                if len(values):
                    with (folder / name).open("ab") as file:
                        file.write(values.tobytes())
                        _to_disk(file)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error.strerror}") from error
        self.frames += len(frames)
        self.numbers += len(added)
        counts = {"frames": np.array(self.frames), "numbers": np.array(self.numbers)}
        with whole(folder / "state.npz") as partial, partial.open("wb") as file:
            np.savez(file, **counts, **state)  # type: ignore[arg-type]
            _to_disk(file)

    def read(self, first: int = 0, count: int | None = None) -> NDArray[Any]:
        """Frames that count, from the ``first`` on (all): a structured array ``(frame,)``."""
        left = self.frames - first
        return np.fromfile(
            folder_of(self.path) / "frames.bin",
            self.frame,
            left if count is None else min(count, left),
            offset=first * self.frame.itemsize,
        )

    def read_numbers(self) -> NDArray[np.float32]:
        """All numbers that count, ``(number,)``."""
        return np.fromfile(folder_of(self.path) / "numbers.bin", NUMBER, self.numbers)

    def finish(
        self, trajectory: Trajectory, record: Mapping[str, Any], precision: float | None
    ) -> Path:
        """Write the trajectory and its record under their names, and remove the folder.

        Both are written inside of the folder and then moved, so that no kill leaves anything else
        beside the file.
        """
        folder = folder_of(self.path)
        there = topology_beside(self.path, trajectory.numbers)
        made = save(trajectory, folder / self.path.name, precision=precision, anew=True)
        written = folder / record_of(self.path).name
        write_json_durably(written, record)
        os.replace(written, record_of(self.path))
        topology = topology_path(self.path)
        if topology is not None and there is None:
            os.replace(folder / topology.name, topology)
        os.replace(made, self.path)
        self.discard()
        return self.path

    def discard(self) -> None:
        """Remove the folder, and what is in it."""
        shutil.rmtree(folder_of(self.path), ignore_errors=True)
        self.lock.release()

    def close(self) -> None:
        """Let another process go on."""
        self.lock.release()


def same_settings(
    where: Path, found: Mapping[str, Any], given: Mapping[str, Any], what: str
) -> None:
    """Refuse to go on with another simulation or rollout, ``what``.

    Raises
    ------
    InputError
        That names the first difference.
    """
    for key in [*given, *found]:
        if (there := found.get(key)) != (here := given.get(key)):
            raise InputError(
                f"{where}: holds another {what}: its {key.replace('_', ' ')} is {there}, now "
                f"{here}. Give the same command, or start over with --overwrite"
            )


def _layout(shapes: Mapping[str, Any]) -> np.dtype[Any]:
    return np.dtype([(key, LAYOUT[key], tuple(shape)) for key, shape in shapes.items()])


def _check_room(path: Path, frames: int, size: int) -> None:
    """Refuse more frames than the disk has room for."""
    needed, free = frames * size / 1e9, shutil.disk_usage(path.parent).free / 1e9
    if needed > free:
        raise InputError(
            f"{path}: {float(frames):.3g} frames need {needed:.3g} GB, but the disk has "
            f"{free:.3g} GB left: ask for fewer (--every) or a shorter time"
        )


def _locked(folder: Path) -> FileLock:
    for name in ("frames.bin", "numbers.bin"):
        check_no_link(folder / name)
    return locked(folder / "lock", f"{folder}: another process is writing there")
