"""The trajectories that a run was trained on: remembered, found again, and recognised."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from gfnode.errors import InputError
from gfnode.readers import Reader
from gfnode.thinning import evenly
from gfnode.trajectory import Trajectory
from gfnode.trajectory.given import unpacked_name


class Provenance:
    """The training data of a run as its ``run.json`` remembers it.

    Parameters
    ----------
    entries
        One for each trajectory, in the order of training, which the split goes by; see
        :meth:`describe`.
    """

    def __init__(self, entries: Sequence[dict[str, Any]]) -> None:
        self.entries = entries

    @staticmethod
    def describe(
        trajectories: Sequence[Trajectory], files: Sequence[str], reader: Reader
    ) -> list[dict[str, Any]]:
        """What is remembered of trajectories, their files (empty: in memory) and their reader."""
        return [
            {
                "file": str(Path(file).resolve()) if file and Path(file).exists() else file,
                "name": t.label,
                "formula": t.formula,
                "frames": len(t),
                "atoms": t.n_atoms,
                "span_fs": t.span,
                "fingerprint": t.fingerprint,
                "temperature_K": _temperature(t),
                "reader": reader.options(),
            }
            for t, file in zip(trajectories, files, strict=True)
        ]

    @property
    def files(self) -> list[str]:
        """The files, each once, in order; one may hold several trajectories."""
        return list(dict.fromkeys(entry["file"] for entry in self.entries))

    @property
    def inputs(self) -> list[str]:
        """The files, and the topologies that they were read with."""
        tops = (entry.get("reader", {}).get("top") for entry in self.entries)
        return list(dict.fromkeys(each for each in (*self.files, *tops) if each))

    @property
    def names(self) -> str:
        """What the trajectories are called."""
        return ", ".join(dict.fromkeys(str(entry["name"]) for entry in self.entries))

    @property
    def as_trained(self) -> Reader:
        """How the files were read."""
        return Reader.of(self.entries[0].get("reader", {}))

    def reader(self, file: str | Path, given: Reader | None = None) -> Reader:
        """How a file of the molecule is to be read: as said, else as the training data was.

        Files of another format than the training data are read as said alone; and the unit of
        length is that of the training files only: those that gfnode writes are in Å.
        """
        given, trained = given or Reader(), self.as_trained
        if unpacked_name(file).suffix.lower() != unpacked_name(self.files[0]).suffix.lower():
            return given
        if Path(file).resolve() not in [Path(each).resolve() for each in self.files]:
            trained = replace(trained, unit=None)
        return given.over(trained)

    def find(self, where: str) -> list[Trajectory]:
        """Read the trajectories again, and check that they are the same.

        Parameters
        ----------
        where
            The run, for messages.

        Raises
        ------
        InputError
            When a file has moved or holds other data.
        """
        self.check(where)
        found = []
        opened: dict[str, Iterator[Trajectory]] = {}
        for entry in self.entries:
            file = entry["file"]
            if file not in opened:
                opened[file] = cycle(Reader.of(entry.get("reader", {})).load(file))
            trajectory = next(opened[file])
            if trajectory.fingerprint != entry["fingerprint"]:
                raise InputError(
                    f"{file} no longer holds the data this run was trained on: restore it; "
                    "evaluate and report also take that or other data (--data)"
                )
            found.append(trajectory)
        return found

    def check(self, where: str) -> None:
        """Raise InputError for data that was in memory or has moved; ``where`` as above."""
        for entry in self.entries:
            if not (file := entry["file"]):
                raise InputError(
                    f"{where} was trained on data in memory; give the trajectory (--data)"
                )
            if not Path(file).exists() and ":" not in file:  # no name such as sample:toluene
                raise InputError(
                    f"{file}: no such file, but {where} was trained on it: put it back (a link "
                    "will do); evaluate and report also take its new path (--data)"
                )

    def arrange(self, trajectories: Iterable[Trajectory]) -> list[Trajectory] | None:
        """Put the trajectories of training into their order; None when these are others."""
        given = list(trajectories)
        by_fingerprint = {each.fingerprint: each for each in given}
        wanted = [entry["fingerprint"] for entry in self.entries]
        if len(given) != len(wanted) or by_fingerprint.keys() != set(wanted):
            return None
        return [by_fingerprint[each] for each in wanted]

    def holds(self, trajectory: Trajectory) -> bool:
        """Whether a trajectory is among those of training."""
        return any(entry["fingerprint"] == trajectory.fingerprint for entry in self.entries)


def _temperature(trajectory: Trajectory) -> float | None:
    """Kinetic temperature in K of evenly chosen frames, over 3N degrees of freedom.

    Where no velocities are stored they are taken from the next frame, if that is at most
    1 fs later: then a C–H stretch keeps 97 % of its energy. None: not known.
    """
    chosen = evenly(len(trajectory), 500)
    if trajectory.velocities is not None:
        return trajectory[chosen].temperature()
    chosen = np.unique(np.minimum(chosen, len(trajectory) - 2))
    if len(trajectory) < 2 or (trajectory.spacing or np.inf) > 1.0:
        return None
    now, after = trajectory.positions[chosen], trajectory.positions[chosen + 1]
    steps = trajectory.times[chosen + 1] - trajectory.times[chosen]
    velocities = ((after - now) / steps[:, None, None]).astype(np.float32)
    return replace(trajectory[chosen], velocities=velocities).temperature()
