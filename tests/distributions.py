"""Small distributions, installed as pip would: a module and its .dist-info beside each other."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from unittest.mock import patch

from gfnode import plugins
from gfnode.models import MODELS
from gfnode.readers import FORMATS

FLYER = '''
"""A model and a reader of another package."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from gfnode.models import Entry, Model, Symmetry
from gfnode.models.base import ALONE, EUCLIDEAN
from gfnode.readers import Format, Source, foreign, frame_times, in_memory
from gfnode.settings import Settings


class FlyerSettings(Settings):
    memory: float = Field(20.0, gt=0)
    """How long a velocity lasts, in fs."""


class Flyer(Model):
    promises: ClassVar[frozenset[Symmetry]] = EUCLIDEAN | ALONE | {Symmetry.START}

    def __init__(self, system, settings):
        super().__init__(system)
        self.log_memory = nn.Parameter(torch.tensor(settings.memory).log())

    def forward(self, positions, velocities, lags):
        memory = self.log_memory.exp()
        flown = -memory * torch.expm1(-lags / memory)
        return positions[:, None] + flown[..., None, None] * velocities[:, None]


def open_table(path, given):
    with foreign(path, "not a table of coordinates"):
        head = path.read_text(encoding="utf-8").splitlines()[0]
        numbers = np.array([int(each) for each in head.removeprefix("#").split(",")])
        rows = np.loadtxt(path, delimiter=",", ndmin=2)
        positions = rows[:, 1:].reshape(len(rows), len(numbers), 3)
    times = frame_times(path, len(rows), given.step, rows[:, 0])
    return Source(numbers, times, in_memory(positions), time_step=given.step)


def write_table(trajectory, path, precision):
    rows = np.column_stack([trajectory.times, trajectory.positions.reshape(len(trajectory), -1)])
    np.savetxt(path, rows, delimiter=",", header=",".join(map(str, trajectory.numbers)))


FLYER = Entry(Flyer, FlyerSettings, "every atom flies on and slows down")
TABLE = Format(open_table, write_table)
'''


def write_distribution(
    folder: Path, name: str, version: str, code: str, points: dict[str, dict[str, str]]
) -> None:
    """Lay a distribution of one module into a folder."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text(f"{module}.py,,\n{info.name}/METADATA,,\n")
    lines = []
    for group, named in points.items():
        lines += [f"[{group}]", *(f"{key} = {module}:{value}" for key, value in named.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def look_again() -> None:
    """Let the registries forget what was installed."""
    for registry in (MODELS, FORMATS):
        registry._offers = None
        registry._loaded.clear()
        registry._warned.clear()


@contextmanager
def installed(*folders: Path) -> Iterator[None]:
    """Put folders on the path as if only what is in them were installed; take them off again."""
    modules = {path.stem for folder in folders for path in folder.glob("*.py")}
    places = list(map(str, folders))

    def entry_points(group: str) -> list[EntryPoint]:
        points = (point for each in distributions(path=places) for point in each.entry_points)
        return [point for point in points if point.group == group]

    sys.path[:0] = places
    look_again()
    try:
        with patch.object(plugins, "entry_points", entry_points):
            yield
    finally:
        for folder in folders:
            sys.path.remove(str(folder))
        for module in modules:
            sys.modules.pop(module, None)
        look_again()
