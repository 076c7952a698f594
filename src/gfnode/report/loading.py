"""What a report reads of a run folder."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode import runfiles
from gfnode.errors import InputError
from gfnode.examples import Examples
from gfnode.files import read_arrays, read_json
from gfnode.metrics.lags import mean_lags
from gfnode.report.summary import Windows
from gfnode.report.tables import molecules

History = Sequence[Mapping[str, float | None]]


@dataclass(frozen=True, eq=False)
class RunFiles:
    """An evaluated run as its files have it.

    Parameters
    ----------
    folder
        Of the run.
    facts, evaluation
        ``run.json`` and ``evaluation.json``.
    examples, windows
        ``examples.npz`` and ``errors.npz``.
    history
        Rows of ``history.csv``; none where nothing was trained.
    physics, arrays
        ``physics.json`` by section and ``physics.npz``; empty where physics was not measured.
    """

    folder: Path
    facts: dict[str, Any]
    evaluation: dict[str, Any]
    examples: Examples
    windows: Windows
    history: list[dict[str, float | None]]
    physics: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    @classmethod
    def read(cls, folder: Path) -> "RunFiles":
        """Read them.

        Raises
        ------
        InputError
            When one is missing or damaged.
        """
        measured = all((folder / name).is_file() for name in (runfiles.PHYSICS, runfiles.DENSITIES))
        return cls(
            folder,
            read_json(folder / runfiles.RUN),
            read_json(folder / runfiles.EVALUATION),
            Examples.read(folder),
            read_windows(folder / runfiles.ERRORS),
            read_history(folder / runfiles.HISTORY),
            read_json(folder / runfiles.PHYSICS) if measured else {},
            read_arrays(folder / runfiles.DENSITIES) if measured else {},
        )

    @property
    def model(self) -> str:
        """Name of the model that is judged."""
        return str(self.evaluation["model"])

    @property
    def best(self) -> str:
        """Name of the best trivial baseline."""
        return str(self.evaluation["best_trivial"])

    @property
    def molecules(self) -> str:
        """Names and formulas of what it learnt."""
        return molecules(self.facts)

    @property
    def fingerprints(self) -> list[str]:
        """Of the data it learnt from."""
        return [each["fingerprint"] for each in self.facts["data"]]

    @property
    def scored(self) -> list[int]:
        """Numbers of the scored atoms in the data."""
        system = self.facts["system"]
        return [system["atoms"][place] for place in system["score"]]

    @property
    def labels(self) -> list[str]:
        """Names of the scored atoms."""
        return [self.examples.labels[i] for i in self.facts["system"]["score"]]

    def lags_ps(self, edges_fs: Sequence[float]) -> NDArray[np.float64]:
        """Where errors of lag bins belong on an axis of lags, ``(bin,)`` in ps."""
        return 1e-3 * mean_lags(self.windows.lags_fs, edges_fs)

    @property
    def loss_unit(self) -> str:
        """Of the training loss, which is not always an error in Å²; empty where it has none."""
        return str(self.facts["loss_unit"])


@contextmanager
def fitting(*folders: Path) -> Iterator[None]:
    """Say that the files of runs do not fit each other where what is made of them fails.

    Raises
    ------
    InputError
        Names the runs and what failed.
    """
    try:
        yield
    except InputError:
        raise
    except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        names = ", ".join(map(str, folders))
        raise InputError(
            f"{names}: run.json, evaluation.json and examples.npz do not fit together "
            f"({type(error).__name__}: {str(error)[:200]}); evaluate again (gfnode evaluate "
            f"{folders[0]})"
        ) from error


def read_windows(path: Path) -> Windows:
    """Read ``errors.npz``.

    Raises
    ------
    InputError
        When it is missing or damaged.
    """
    arrays, prefix = read_arrays(path), "errors_"
    try:
        return Windows(
            {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)},
            *(arrays[key] for key in ("lags_fs", "starts_fs", "segments")),
        )
    except KeyError as error:
        raise InputError(f"{path} is damaged: no {error}; evaluate the run again") from error


def read_history(path: Path) -> list[dict[str, float | None]]:
    """Rows of a run's ``history.csv``, none where nothing was trained.

    Raises
    ------
    InputError
        When it holds something other than numbers.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                {key: float(value) if value else None for key, value in row.items()}
                for row in csv.DictReader(file)
            ]
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is damaged: {error}; take it away, and the report comes without its curves"
        ) from error
