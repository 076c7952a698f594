"""Inference in batches that fit into memory, without gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gfnode.errors import InputError
from gfnode.models.base import Model, Symmetry
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
            found = predict_batch(model, batch.positions, batch.velocities, batch.lags)
        yield batch, *found


@torch.no_grad()
def predict_in_batches(
    model: Model, positions: Tensor, velocities: Tensor, lags: Tensor
) -> Predicted:
    """Predict; see :meth:`Model.with_spread`.

    Lags are split into batches, too, where the model keeps `Symmetry.LAGS`.
    """
    if model.training:
        model.eval()
    times = lags.shape[1]
    together = model.at_once(1) if Symmetry.LAGS in model.kept else times
    starts = (y.split(model.at_once(times)) for y in (positions, velocities, lags))
    with _alike(model, positions):
        return _joined(
            [
                _joined([predict_batch(model, x, v, some) for some in each.split(together, 1)], 1)
                for x, v, each in zip(*starts, strict=True)
            ],
            0,
        )


def predict_batch(model: Model, positions: Tensor, velocities: Tensor, lags: Tensor) -> Predicted:
    """Predict; see :meth:`Model.with_spread`. Fixed atoms stay at their start."""
    found, spread = model.with_spread(positions, velocities, lags)
    return model.restore_fixed_atoms(positions, found), spread


@contextmanager
def _alike(model: Model, positions: Tensor) -> Iterator[None]:
    """Turn failures from weights of another dtype or device than the start into an InputError."""
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
