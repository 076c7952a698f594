"""Models asked for more than fits into memory at once: piece by piece, without gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gfnode.errors import InputError
from gfnode.models.base import Model, Symmetry, held
from gfnode.windows import Batch, Windows

Predicted = tuple[Tensor, Tensor | None]  # as of Model.with_spread


@torch.no_grad()
def predictions(model: Model, windows: Windows) -> Iterator[tuple[Batch, Tensor, Tensor | None]]:
    """Predict windows over the state atoms of a model.

    Yields
    ------
    tuple
        Some of the windows, and positions and spreads as of :meth:`Model.with_spread`.
    """
    model.eval()
    for batch in windows.batches(model.at_once(windows.targets.shape[1])):
        with _alike(model, batch.positions):
            found = told(model, batch.positions, batch.velocities, batch.lags)
        yield batch, *found


@torch.no_grad()
def ask(model: Model, positions: Tensor, velocities: Tensor, lags: Tensor) -> Predicted:
    """Predict; see :meth:`Model.with_spread`.

    The lags of a start are asked for together unless predictions know nothing of one another.
    """
    if model.training:
        model.eval()
    times = lags.shape[1]
    together = model.at_once(1) if Symmetry.LAGS in model.kept else times
    starts = (y.split(model.at_once(times)) for y in (positions, velocities, lags))
    with _alike(model, positions):
        return _joined(
            [
                _joined([told(model, x, v, some) for some in each.split(together, 1)], 1)
                for x, v, each in zip(*starts, strict=True)
            ],
            0,
        )


def told(model: Model, positions: Tensor, velocities: Tensor, lags: Tensor) -> Predicted:
    """Predict; see :meth:`Model.with_spread`. Atoms that never move in training stay."""
    found, spread = model.with_spread(positions, velocities, lags)
    return held(model.system, positions, found), spread


@contextmanager
def _alike(model: Model, positions: Tensor) -> Iterator[None]:
    """Where a model fails since it was moved, or is of another dtype, say so in one line."""
    try:
        yield
    except RuntimeError as error:
        weights = next(model.parameters(), positions)
        if (weights.dtype, weights.device) == (positions.dtype, positions.device):
            raise
        raise InputError(
            f"the weights of the model are {weights.dtype} on {weights.device}, expected the same "
            f"as the start, {positions.dtype} on {positions.device}: call run.model.float().cpu()"
        ) from error


def _joined(pieces: list[Predicted], axis: int) -> Predicted:
    spreads = [spread for _, spread in pieces if spread is not None]
    found = torch.cat([found for found, _ in pieces], axis)
    return found, torch.cat(spreads, axis) if spreads else None
