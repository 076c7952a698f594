"""Layers of messages (EGNN) as one operation, see ``messages.cpp``."""

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

Weights = list[Tensor | None]
"""Weight and bias of the two linear layers of messages, then those of two linear layers each for
shifts, drives and features, as PyTorch keeps them; None where nothing moves, or features stay.
"""

_ARRAYS = 5
_WEIGHTS = 16  # of a layer


def suits(*arrays: Tensor) -> bool:
    """Whether features ``(atom, batch, width)`` and other arrays can be given to :func:`messages`.

    They can in single precision on a processor for which the code is or can be compiled, unless
    PyTorch is making a graph of its own, or transforms functions (:mod:`torch.func`).
    """
    return (
        not torch.compiler.is_compiling()
        and not _transformed()
        and all(y.device.type == "cpu" and y.dtype == torch.float32 for y in arrays)
        and arrays[0].shape[-1] % STEP == 0
        and _loaded(arrays[0]) is not None
    )


def _transformed() -> bool:
    """Whether derivatives are of functions: PyTorch asks this too where one of its own is taken."""
    active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
    return bool(active())


def messages(arrays: Arrays, layers: Sequence[Weights], *, residual: bool) -> tuple[Tensor, Tensor]:
    """Take features and positions through layers of messages.

    Parameters
    ----------
    arrays, layers
        See :data:`Arrays` and, for each layer, :data:`Weights`.
    residual
        Whether layers add to the features instead of replacing them.

    Returns
    -------
    Tensor, Tensor
        Features ``(atom, batch, width)`` and positions ``(atom, batch, 3)``.
    """
    arrays = [y.contiguous() for y in arrays]
    weights = [w if w is None else w.contiguous() for layer in layers for w in layer]
    if torch.is_grad_enabled():
        h, x = _Messages.apply(residual, *arrays, *weights)
        return h, x
    return _forward(residual, arrays, weights, None)


class _Sizes(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in ("threads", "tiles", "layers", "atoms", "edges", "batch", "scalars", "residual")
    )


def _sizes(residual: bool, arrays: Arrays, weights: Weights, least: int) -> Any:
    """Of arrays, and of the work of threads, each of which gets so many samples at least."""
    (atoms, batch, _), (edges, _, scalars) = arrays[0].shape, arrays[3].shape
    threads = max(1, min(torch.get_num_threads(), math.ceil(batch / least)))
    tiles = threads * max(1, math.ceil(batch / (ROWS * threads)))
    layers = len(weights) // _WEIGHTS
    return ctypes.byref(_Sizes(threads, tiles, layers, atoms, edges, batch, scalars, residual))


def _forward(
    residual: bool, arrays: Arrays, weights: Weights, kept: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Fill `kept` with what a gradient needs, if it is given."""
    h, x = (torch.empty_like(y) for y in arrays[:2])
    _loaded(h).forward(
        _sizes(residual, arrays, weights, least=6), *map(address, (*arrays, weights, kept, h, x))
    )
    return h, x


class _Messages(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, residual: bool, *given: Any) -> tuple[Tensor, ...]:
        arrays, weights = given[:_ARRAYS], list(given[_ARRAYS:])
        numbers = ctypes.c_int64()
        _loaded(arrays[0]).kept(_sizes(residual, arrays, weights, least=1), ctypes.byref(numbers))
        kept = arrays[0].new_empty(numbers.value)
        ctx.save_for_backward(*given, kept)
        ctx.residual = residual
        return _forward(residual, arrays, weights, kept)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *given, kept = ctx.saved_tensors
        arrays, weights = given[:_ARRAYS], given[_ARRAYS:]
        of_h, of_x = (g.clone(memory_format=torch.contiguous_format) for g in gradients)
        of_v, of_scalars = (
            torch.zeros_like(y) if wanted else None
            for y, wanted in zip(arrays[2:4], ctx.needs_input_grad[3:5], strict=True)
        )
        of_weights = [None if w is None else torch.empty_like(w) for w in weights]
        sizes = _sizes(ctx.residual, arrays, weights, least=ROWS)  # a thread has sums of its own
        parts = (*arrays, weights, kept, of_h, of_x, of_v, of_scalars, of_weights)
        _loaded(of_h).backward(sizes, *map(address, parts))
        return None, of_h, of_x, of_v, of_scalars, None, *of_weights


def _loaded(h: Tensor) -> Any:
    rounded = torch.get_float32_matmul_precision() == "medium"
    return loaded("messages.cpp", WIDTH=h.shape[-1], ROUNDED=int(rounded))
