"""What finished runs hold, read from their folders; nothing here needs torch."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode import runfiles
from gfnode.errors import InputError
from gfnode.files import read_arrays, read_json
from gfnode.metrics import Blocks
from gfnode.paper.specs import Quantity
from gfnode.trajectory import Doubles

METRICS = {
    "last-lag": "at the last lag of each window (what the paper prints)",
    "mean": "mean over all lags",
    "eq14": "mean over all lags (eq. 14 of the paper, three times as large)",
}
"""Which mean of the squared errors a table shows."""


@dataclass(frozen=True)
class Place:
    """Where a run belongs in a table or figure."""

    row: str
    molecule: str
    variant: str
    seed: int


class Result:
    """A finished run.

    Parameters
    ----------
    place
        Where it belongs.
    folder
        Where it lies.
    measures
        Names of the measures taken of it, and their files.
    """

    def __init__(self, place: Place, folder: Path, measures: dict[str, str]) -> None:
        self.place, self.folder = place, folder
        self._measures = measures

    @cached_property
    def facts(self) -> dict[str, Any]:
        """``run.json``."""
        return read_json(self.folder / runfiles.RUN)

    @cached_property
    def finished(self) -> dict[str, Any]:
        """``finished.json``."""
        return read_json(self.folder / runfiles.FINISHED)

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """``errors.npz``."""
        return _arrays(self.folder / runfiles.ERRORS)

    def measure(self, name: str) -> dict[str, NDArray[Any]]:
        """What was measured, by the name of the measure."""
        return _arrays(self.folder / self._measures[name])

    @property
    def model(self) -> str:
        """Registered name of the model."""
        return str(self.facts["experiment"]["model"]["name"])

    @property
    def horizon(self) -> float:
        """Of training, in fs."""
        return float(self.facts["system"]["horizon_fs"])

    @property
    def seconds(self) -> float:
        """Of training."""
        return float(self.facts.get("training", {}).get("seconds", 0.0))

    def methods(self, quantity: Quantity) -> list[str]:
        """Names of the baselines that a quantity is known of on the same windows."""
        if quantity.id == "error":
            prefix, arrays = "errors_", self.arrays
        else:
            prefix, arrays = f"{quantity.id}:", self.measure("structure")
        names = [key.removeprefix(prefix) for key in arrays if key.startswith(prefix)]
        return [name for name in names if name != self.model]

    def values(self, quantity: Quantity, metric: str, method: str | None = None) -> Doubles:
        """A quantity of the model or of a baseline, ``(window,)`` or ``(window, time)``.

        Parameters
        ----------
        quantity
            In its unit.
        metric
            Of :data:`METRICS`, for errors; other quantities are means over all lags.
        method
            A baseline; None: the model.
        """
        name = method or self.model
        if quantity.id != "error":
            return _finite(quantity.scale * self.measure("structure")[f"{quantity.id}:{name}"])
        errors = _finite(quantity.scale * self.arrays[f"errors_{name}"])
        if metric == "last-lag":
            return np.asarray(errors[np.arange(len(errors)), self.arrays["lags_fs"].argmax(1)])
        return np.asarray(3 * errors if metric == "eq14" else errors)

    def blocks(self) -> Blocks:
        """Blocks of start time that intervals are taken over."""
        return Blocks.of(self.arrays["starts_fs"], self.horizon, self.arrays["segments"])

    def same_windows(self, other: "Result") -> bool:
        """Whether both were judged on the same windows."""
        return all(
            np.array_equal(self.arrays[key], other.arrays[key])
            for key in ("starts_fs", "segments", "lags_fs")
        )


def _finite(values: NDArray[Any]) -> Doubles:
    """A prediction that is not a number is infinitely off."""
    return np.nan_to_num(values.astype(np.float64), nan=np.inf, posinf=np.inf)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        return read_arrays(path)
    except InputError as error:
        raise InputError(f"{error}; delete the run and repeat it") from error
