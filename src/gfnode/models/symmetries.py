"""Equivariance errors of a model, measured for each :class:`~gfnode.models.Symmetry`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gfnode.models.base import Model, Symmetry
from gfnode.windows import Windows

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Positions, velocities and lags to positions, as of :meth:`gfnode.models.Model.forward`."""

MEASURED = tuple(each for each in Symmetry if each is not Symmetry.PERMUTATION)
"""Symmetries that one model can be tested for; permuted atoms need a model of their own."""

STARTS = 4
"""Starts that symmetries are measured with."""

SHIFT = (3.0, -5.0, 8.0)  # Å
TURN = ((3 / 7, -6 / 7, 2 / 7), (6 / 7, 2 / 7, -3 / 7), (2 / 7, 3 / 7, 6 / 7))  # proper, by 73°
MIRROR = tuple((a, b, -c) for a, b, c in TURN)
SOON = 1e-4  # fs
STILL = 1e-3  # Å: less is no motion


@dataclass(frozen=True)
class Measured:
    """Whether a model promises a symmetry, and its equivariance error.

    Parameters
    ----------
    promised
        Whether the model declares the symmetry.
    broken_by
        Root mean square of f(g x) − g f(x), for a transformation g of the start x, relative to the
        root mean square displacement f(x) − x.
    """

    promised: bool
    broken_by: float


def two_ways(
    symmetry: Symmetry, predict: Predict, start: tuple[Tensor, Tensor, Tensor], found: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute f(g x), the prediction from transformed starts, and g f(x).

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
        f(g x) and g f(x), of one shape and equal where the symmetry is kept.
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
    """Apply a 3 × 3 matrix elementwise: matrix products on a GPU may use TF32."""
    return (vectors[..., None, :] * vectors.new_tensor(matrix)).sum(-1)


@torch.no_grad()
def measure(model: Model, windows: Windows) -> dict[str, Measured]:
    """Equivariance error of each symmetry but permutation, by name.

    From a few starts of windows over the model's state atoms.
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
