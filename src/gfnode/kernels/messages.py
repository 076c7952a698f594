"""The messages of an EGNN layer as one operation, see ``messages.cpp``."""

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gfnode.kernels.build import address, loaded

ROWS = 24
"""Samples that go through a layer together: what they need lies in the cache of a core."""

STEP = 8
"""The width is a multiple of it: two short vectors of the processor."""

Weights = Sequence[Tensor | None]
"""Weight and bias of the two linear layers of messages, then those of two linear layers each for
shifts, drives and features, as PyTorch keeps them; None for those of a network that there is not.
"""

_SHIFT, _DRIVE, _FEATURE = 4, 8, 12  # where they begin


def suits(h: Tensor) -> bool:
    """Whether features ``(atom, batch, width)`` can be given to :func:`messages`.

    They can in single precision on a processor for which the code is or can be compiled, unless
    products may be rounded or PyTorch is making a graph of its own.
    """
    return (
        not torch.compiler.is_compiling()
        and h.device.type == "cpu"
        and h.dtype == torch.float32
        and h.shape[-1] % STEP == 0
        and torch.get_float32_matmul_precision() != "medium"
        and _loaded(h) is not None
    )


def messages(
    h: Tensor, scalars: Tensor, ends: Tensor, weights: Weights
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Take the messages of a layer, and what is made of them.

    Parameters
    ----------
    h
        ``(atom, batch, width)``.
    scalars
        ``(edge, batch, scalar)``.
    ends
        Own and other atom of the edges, ``(2, edge)``.
    weights
        See :data:`Weights`; what has none is not computed.

    Returns
    -------
    Tensor or None, Tensor or None, Tensor or None
        Features ``(atom, batch, width)``, shifts ``(edge, batch, 1)``, drives ``(atom, batch, 1)``.
    """
    if torch.is_grad_enabled():
        features, shifts, drives = _Messages.apply(h, scalars, ends, *weights)
        return features, shifts, drives
    return _forward(h.contiguous(), scalars.contiguous(), ends.contiguous(), weights, None)


class _Sizes(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in ("threads", "tiles", "atoms", "edges", "batch", "scalars")
    )


def _sizes(h: Tensor, scalars: Tensor, least: int) -> _Sizes:
    """Of arrays, and of the work of threads, each of which gets so many samples at least."""
    (atoms, batch, _), (edges, _, n_scalars) = h.shape, scalars.shape
    threads = max(1, min(torch.get_num_threads(), math.ceil(batch / least)))
    tiles = threads * max(1, math.ceil(batch / (ROWS * threads)))
    return _Sizes(threads, tiles, atoms, edges, batch, n_scalars)


def _networks(weights: Weights) -> tuple[bool, bool, bool]:
    """Whether there are shifts, drives and features."""
    shift, drive, feature = (weights[first] is not None for first in (_SHIFT, _DRIVE, _FEATURE))
    return shift, drive, feature


def _forward(
    h: Tensor, scalars: Tensor, ends: Tensor, weights: Weights, kept: Weights | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Fill `kept` with what a gradient needs, if it is given."""
    shift, drive, feature = _networks(weights)
    features = torch.empty_like(h) if feature else None
    shifts = h.new_empty(*scalars.shape[:2], 1) if shift else None
    drives = h.new_empty(*h.shape[:2], 1) if drive else None
    parts = [None if w is None else w.t().contiguous() for w in _split(weights, h.shape[-1])]
    _loaded(h).forward(
        ctypes.byref(_sizes(h, scalars, least=6)),
        *map(address, (ends, h, scalars, parts, kept, shifts, drives, features)),
    )
    return features, shifts, drives


class _Messages(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, scalars: Tensor, ends: Tensor, *weights: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        h, scalars, ends = h.contiguous(), scalars.contiguous(), ends.contiguous()
        on_edges, on_atoms = (*scalars.shape[:2], h.shape[-1]), h.shape
        shapes = [on_edges, on_edges, on_edges, on_atoms, on_atoms, on_atoms]
        shift, drive, feature = _networks(weights)
        there = [True, True, shift, drive, feature, feature]
        kept = [h.new_empty(n) if made else None for n, made in zip(shapes, there, strict=True)]
        ctx.save_for_backward(h, scalars, ends, *weights, *kept)
        ctx.set_materialize_grads(False)
        return _forward(h, scalars, ends, weights, kept)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        h, scalars, ends, *saved = ctx.saved_tensors
        weights, kept = saved[:-6], saved[-6:]
        features, shifts, drives = (None if g is None else g.contiguous() for g in gradients)
        own, other, rest, *others = _split(weights, h.shape[-1])
        parts = [None if w is None else w.contiguous() for w in (own, other, rest.t(), *others)]
        sizes = _sizes(h, scalars, least=ROWS)
        # each thread adds to its own, so few of them; what no gradient reaches stays zero
        summed = [None if w is None else w.new_zeros(sizes.threads, *w.shape) for w in parts]
        of_h, of_scalars = torch.empty_like(h), torch.empty_like(scalars)
        _loaded(h).backward(
            ctypes.byref(sizes),
            *map(address, (ends, h, scalars, parts, kept, shifts, drives, features)),
            *map(address, (of_h, of_scalars, summed)),
        )
        of_weights = [None if w is None else w.sum(0) for w in summed]
        return of_h, of_scalars, None, *_joined(of_weights)


def _split(weights: Weights, width: int) -> list[Any]:
    """In the order of ``messages.cpp``: those that act on concatenations in their parts."""
    first, feature = weights[0], weights[_FEATURE]
    assert first is not None
    scalars = first.shape[1] - 2 * width
    of_features = (None, None) if feature is None else feature.split(width, 1)
    ends = first.split([width, width, scalars], 1)
    return [*ends, *weights[1:_FEATURE], *of_features, *weights[_FEATURE + 1 :]]


def _joined(gradients: list[Any]) -> list[Tensor | None]:
    """In the order of :data:`Weights` again."""
    (own, other, rest), others = gradients[:3], gradients[3:]
    own_feature, summed, *last = others[_FEATURE - 1 :]
    feature = None if own_feature is None else torch.cat([own_feature, summed], 1)
    first = torch.cat([own, other, rest.t()], 1)
    return [first, *others[: _FEATURE - 1], feature, *last]


def _loaded(h: Tensor) -> Any:
    return loaded("messages.cpp", WIDTH=h.shape[-1])
