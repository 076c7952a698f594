"""How far a model is from the symmetries of a :class:`~gfnode.models.Symmetry`, as it is now."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gfnode.models.base import Model, Symmetry
from gfnode.windows import Windows

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Positions, velocities and lags to positions, as of :meth:`gfnode.models.Model.forward`."""

MEASURED = tuple(each for each in Symmetry if each is not Symmetry.PERMUTATION)
"""What one model shows by itself; of renumbered atoms a model has to be made anew."""

STARTS = 4
"""Starts that symmetries are measured with."""

SHIFT = (3.0, -5.0, 8.0)  # Å
TURN = ((3 / 7, -6 / 7, 2 / 7), (6 / 7, 2 / 7, -3 / 7), (2 / 7, 3 / 7, 6 / 7))  # proper, by 73°
MIRROR = tuple((a, b, -c) for a, b, c in TURN)
SOON = 1e-4  # fs
STILL = 1e-3  # Å: less is no motion


@dataclass(frozen=True)
class Measured:
    """How a model stands to one symmetry.

    Parameters
    ----------
    promised
        Whether it declares that it keeps it.
    broken_by
        Root mean square difference between the prediction from the changed start and the changed
        prediction, as a share of the predicted motion (that from start to prediction).
    """

    promised: bool
    broken_by: float


def two_ways(
    symmetry: Symmetry, predict: Predict, start: tuple[Tensor, Tensor, Tensor], found: Tensor
) -> tuple[Tensor, Tensor]:
    """Predict from what a symmetry makes of the starts, and do the same to the prediction.

    Parameters
    ----------
    symmetry
        One of :data:`MEASURED`.
    start
        Positions and velocities ``(batch, atom, 3)``, lags ``(batch, time)``.
    found
        Predicted from them, ``(batch, time, atom, 3)``.

    Returns
    -------
    tuple
        Two arrays of one shape, which are equal where the symmetry is kept.
    """
    x, v, lags = start
    match symmetry:
        case Symmetry.TRANSLATION:
            shift = x.new_tensor(SHIFT)
            return predict(x + shift, v, lags), found + shift
        case Symmetry.ROTATION | Symmetry.REFLECTION:
            matrix = TURN if symmetry is Symmetry.ROTATION else MIRROR
            return predict(_turned(x, matrix), _turned(v, matrix), lags), _turned(found, matrix)
        case Symmetry.BATCH:
            each = [predict(*(y[k : k + 1] for y in start)) for k in range(len(x))]
            return torch.cat(each), found
        case Symmetry.LAGS:
            order = torch.arange(lags.shape[1] - 1, -1, -2)
            return predict(x, v, lags[:, order]), found[:, order]
        case Symmetry.START:
            soon = torch.zeros_like(lags[:, :1]) + SOON
            return predict(x, v, soon), x[:, None]
    raise ValueError(f"{symmetry} needs a new model for the renumbered atoms")


def _turned(vectors: Tensor, matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Elementwise: products of matrices may be rounded on purpose on a GPU."""
    return (vectors[..., None, :] * vectors.new_tensor(matrix)).sum(-1)


@torch.no_grad()
def measure(model: Model, windows: Windows) -> dict[str, Measured]:
    """By how much a model breaks each symmetry, from some starts of windows over its state atoms.

    By name, all but permutation.
    """
    model.eval()
    starts = max(1, min(STARTS, model.at_once(windows.targets.shape[1])))
    batch = windows.batch(windows.evenly(starts))
    start = (batch.positions, batch.velocities, batch.lags)
    found = model(*start)
    motion = (found - batch.positions[:, None]).square().mean().sqrt().clamp(min=STILL)
    measured = {}
    for symmetry in MEASURED:
        ours, expected = two_ways(symmetry, model, start, found)
        share = float((ours - expected).square().mean().sqrt() / motion)
        measured[symmetry.value] = Measured(symmetry in model.kept, share)
    return measured
