"""Kinds of coordinates, halves of the truth, and summaries as JSON, for comparisons."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gfnode.geometry import dihedrals
from gfnode.metrics import NO_ESTIMATE, Estimate, summarise
from gfnode.metrics.jackknife import Distance
from gfnode.metrics.lags import LAG_BINS
from gfnode.physics.predictions import Predictions
from gfnode.thinning import chunks, evenly
from gfnode.trajectory import Doubles, Floats, Integers

MOST_COORDINATES = 1000
"""Coordinates of one kind that are compared, evenly chosen where there are more."""


CHUNK = 50_000
"""Conformations whose torsions are computed at once."""


@dataclass(frozen=True, eq=False)
class Quantity:
    """One kind of coordinate.

    Parameters
    ----------
    name
        Its key.
    index
        Atoms of each coordinate, ``(coordinate, k)``.
    measure
        Values ``(..., coordinate)`` in Å or radians from positions ``(..., atom, 3)`` and index.
    unit
        ``angstrom``, or ``degree`` where values are radians.
    circular
        Whether it is periodic.
    relative
        Whether relative errors are reported.
    """

    name: str
    index: Integers
    measure: Callable[[Tensor, Tensor], Tensor]
    unit: str = "angstrom"
    circular: bool = False
    relative: bool = False

    @property
    def most(self) -> float:
        """Largest possible error."""
        return 180.0 if self.unit == "degree" else np.inf

    @property
    def scale(self) -> float:
        """Factor to the reported unit: radians to degrees for angles, else 1."""
        return 180 / np.pi if self.unit == "degree" else 1.0

    def few(self) -> Integers:
        """The coordinates that are compared, at most `MOST_COORDINATES`, ``(coordinate, k)``."""
        return self.index[evenly(len(self.index), MOST_COORDINATES)]

    def of(self, positions: Floats, index: Integers) -> Doubles:
        """Values ``(coordinate, sample)`` of positions ``(..., atom, 3)``, ``...`` flattened."""
        x = torch.from_numpy(np.ascontiguousarray(positions)).flatten(0, -3)
        values = self.measure(x, torch.from_numpy(np.ascontiguousarray(index)))
        return np.ascontiguousarray(values.T.numpy(), dtype=np.float64)


def torsion_angles(positions: Floats, quadruples: Integers) -> Doubles:
    """Angles ``(frame, quadruple)`` in −π … π of conformations ``(frame, atom, 3)``, in chunks.

    See :func:`gfnode.geometry.dihedrals`.
    """
    index = torch.from_numpy(quadruples)
    found = np.empty((len(positions), len(quadruples)))
    for part in chunks(len(positions), CHUNK):
        found[part] = dihedrals(torch.from_numpy(np.array(positions[part])), index).numpy()
    return found


def halves(predictions: Predictions) -> Integers:
    """0 or 1: whether a window lies in the first or second half of the blocks, ``(window,)``.

    A single block is split in its middle.
    """
    blocks = predictions.blocks
    if blocks.count > 1:
        return np.asarray(2 * blocks.labels >= blocks.count, dtype=np.int64)
    rank = np.argsort(np.argsort(predictions.windows.starts.numpy(), kind="stable"))
    return np.asarray(2 * rank >= len(rank), dtype=np.int64)


def estimate(found: Estimate, scale: float = 1.0, most: float = np.inf) -> dict[str, Any]:
    """A mean as JSON; its interval, very wide for few blocks, is cut at the largest value."""
    scaled = found.scaled(scale)
    return replace(scaled, high=min(scaled.high, most)).to_dict()


def distance(found: Distance, scale: float = 1.0) -> dict[str, Any]:
    """A distance between distributions as JSON."""
    return {
        "value": found.value * scale,
        "low": found.low * scale,
        "high": found.high * scale,
        "plug_in": found.plug_in * scale,
        "blocks": found.blocks,
    }


def summary(
    values: Doubles,
    predictions: Predictions,
    scale: float = 1.0,
    *,
    known: bool = True,
    most: float = np.inf,
) -> dict[str, Any]:
    """Mean over windows and lags, and by lag bin, as JSON; nan if not known.

    ``most`` is the largest possible value, after scaling.
    """
    if not known:
        nothing = NO_ESTIMATE.to_dict()
        return {"error": nothing, "error_by_lag": [nothing] * LAG_BINS}
    found = summarise(values, predictions.lags_fs, predictions.blocks, predictions.lag_edges)
    return {
        "error": estimate(found.mean, scale, most),
        "error_by_lag": [estimate(each, scale, most) for each in found.by_lag],
    }
