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

Arrays = Sequence[Tensor]
"""Features ``(atom, batch, width)``, positions and velocities ``(atom, batch, 3)``, scalars
``(edge, batch, scalar)``, and own and other atom of the edges ``(2, edge)``.
"""

Weights = Sequence[Tensor | None]
"""Weight and bias of the two linear layers of messages, then those of two linear layers each for
shifts, drives and features, as PyTorch keeps them; None where nothing moves, or features stay.
"""

_SHIFT, _FEATURE = 4, 12  # where they begin
_ARRAYS, _KEPT = 5, 9


def suits(h: Tensor) -> bool:
    """Whether features ``(atom, batch, width)`` can be given to :func:`messages`.

    They can in single precision on a processor for which the code is or can be compiled, unless
    PyTorch is making a graph of its own.
    """
    return (
        not torch.compiler.is_compiling()
        and h.device.type == "cpu"
        and h.dtype == torch.float32
        and h.shape[-1] % STEP == 0
        and _loaded(h) is not None
    )


def messages(arrays: Arrays, weights: Weights) -> tuple[Tensor | None, Tensor | None]:
    """Take the messages of a layer, and what is made of them.

    Parameters
    ----------
    arrays, weights
        See :data:`Arrays` and :data:`Weights`.

    Returns
    -------
    Tensor or None, Tensor or None
        Features ``(atom, batch, width)``, positions ``(atom, batch, 3)``; None without weights.
    """
    arrays = [y.contiguous() for y in arrays]
    weights = [None if w is None else w.contiguous() for w in weights]
    if torch.is_grad_enabled():
        features, moved = _Messages.apply(*arrays, *weights)
        return features, moved
    return _forward(arrays, weights, None)


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


def _forward(
    arrays: Arrays, weights: Weights, kept: Weights | None
) -> tuple[Tensor | None, Tensor | None]:
    """Fill `kept` with what a gradient needs, if it is given."""
    h, x, _, scalars, _ = arrays
    features = None if weights[_FEATURE] is None else torch.empty_like(h)
    moved = None if weights[_SHIFT] is None else torch.empty_like(x)
    _loaded(h).forward(
        ctypes.byref(_sizes(h, scalars, least=6)),
        *map(address, (*arrays, weights, kept, moved, features)),
    )
    return features, moved


class _Messages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor | None, ...]:
        arrays, weights = given[:_ARRAYS], given[_ARRAYS:]
        h, x, _, scalars, _ = arrays
        on_edges, on_atoms = (*scalars.shape[:2], h.shape[-1]), h.shape
        shapes = [on_edges] * 3 + [on_atoms] * 3 + [on_edges[:2], on_atoms[:2], x.shape]
        moved, features = weights[_SHIFT] is not None, weights[_FEATURE] is not None
        there = [True, True, moved, moved, features, features, moved, moved, moved]
        kept = [h.new_empty(n) if made else None for n, made in zip(shapes, there, strict=True)]
        ctx.save_for_backward(*given, *kept)
        ctx.set_materialize_grads(False)
        return _forward(arrays, weights, kept)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        arrays, weights, kept = saved[:_ARRAYS], saved[_ARRAYS:-_KEPT], saved[-_KEPT:]
        h, _, _, scalars, _ = arrays
        features, moved = (None if g is None else g.contiguous() for g in gradients)
        of_arrays = [torch.empty_like(y) for y in arrays[:-1]]
        of_weights = [None if w is None else torch.empty_like(w) for w in weights]
        _loaded(h).backward(
            ctypes.byref(_sizes(h, scalars, least=ROWS)),  # each thread adds to its own weights
            *map(address, (*arrays, weights, kept, moved, features, *of_arrays, of_weights)),
        )
        return *of_arrays, None, *of_weights


def _loaded(h: Tensor) -> Any:
    rounded = torch.get_float32_matmul_precision() == "medium"
    return loaded("messages.cpp", WIDTH=h.shape[-1], ROUNDED=int(rounded))
