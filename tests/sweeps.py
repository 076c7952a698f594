"""Small data in the layout of MD17, and jobs that take a second."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import molecule

from gfnode.experiment import configure
from gfnode.graph import bonds_from_distances
from gfnode.simulate import harmonic_network
from gfnode.sweep import Job, Task
from gfnode.sweep.launchers import Handle, Launcher
from gfnode.sweep.worker import do

G2 = {"ethanol": "CH3CH2OH", "benzene": "C6H6"}
TINY = {
    "windows.split": "blocked",
    "windows.horizon": "40fs",
    "windows.most": [32, 16, 24],
    "windows.times": 4,
    "training.batch": 16,
    "training.epochs": 3,
    "training.ema": None,
    "training.patience": None,
    "model.name": "egnn",
    "model.width": 4,
    "model.layers": 1,
    "model.still": True,
}


def write_md17(path: Path, name: str, frames: int = 1200, *, shift: float = 0.0) -> Path:
    """A harmonic molecule as an MD17 file, 0.5 fs a frame."""
    built = molecule(G2[name])
    numbers = np.asarray(built.numbers, dtype=np.int64)
    bonds = bonds_from_distances(numbers, built.positions[None])
    motion = harmonic_network(built.positions, bonds, numbers, temperature=300)
    positions = motion.trajectory(frames, 0.5).positions + np.float32(shift)
    np.savez(path, R=positions, z=numbers, name=name, theory="springs; 0.5 fs step")
    return path


def job_of(file: Path, **changes: Any) -> Job:
    """A tiny job; ``seed=1, epochs=2`` or dotted settings in ``settings``."""
    settings = TINY | dict(changes.pop("settings", {}))
    settings |= {"seed": changes.pop("seed", 0)}
    if "epochs" in changes:
        settings["training.epochs"] = changes.pop("epochs")
    assert not changes
    return Job((str(file),), configure("default", settings))


@dataclass
class _Ended(Handle):
    looks: int
    error: str

    def ended(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    def said(self) -> str:
        return self.error

    def stop(self) -> None:
        self.looks = 0


@dataclass
class Here(Launcher):
    """Does tasks in this process, at once; they seem to run for a few looks."""

    slots: int | None = None
    work: Callable[[Task], object] = lambda task: do(
        task.folder, [each.to_dict() for each in task.measures]
    )
    looks: int = 0
    started: list[str] = field(default_factory=list)

    def start(self, task: Task) -> Handle:
        self.started.append(task.name)
        error = ""
        try:
            self.work(task)
        except RuntimeError as caught:
            error = str(caught)
        return _Ended(self.looks, error)
