"""The messages of an EGNN layer as one operation, see ``messages.cpp``."""

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gfnode.kernels.build import library

ROWS = 24
"""Samples that go through a layer together: what they need lies in the cache of a core."""

LANES = 32
"""The width is a multiple of two of the longest vectors there are, of 16 numbers."""

Weights = Sequence[Tensor | None]
"""Weight and bias of: the first linear layer of messages, the second, and those of the networks of
shifts, drives and features, twice each; all as PyTorch keeps them, None where there are none."""


def suits(h: Tensor) -> bool:
    """Whether features ``(atom, batch, width)`` can be given to :func:`messages`.

    They can in single precision on a processor, where a compiler is or was, unless products may
    be rounded further or PyTorch is compiling a graph of its own.
    """
    return (
        h.device.type == "cpu"
        and h.dtype == torch.float32
        and h.shape[-1] % LANES == 0
        and not torch.compiler.is_compiling()
        and torch.get_float32_matmul_precision() != "medium"
        and library("messages.cpp", WIDTH=h.shape[-1]) is not None
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
        See :data:`Weights`; without those of a network there is none of its output.

    Returns
    -------
    Tensor or None, …
        Features ``(atom, batch, width)``, shifts ``(edge, batch, 1)``, drives ``(atom, batch, 1)``.
    """
    found: tuple[Tensor | None, ...] = _Messages.apply(h, scalars, ends, *weights)
    out, pushes, drives = found
    return out, pushes, drives


class _Sizes(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("threads", "tiles", "atoms", "edges", "batch", "scalars")
    ]

    @classmethod
    def of(cls, h: Tensor, scalars: Tensor) -> "_Sizes":
        (atoms, batch, _), (edges, _, n_scalars) = h.shape, scalars.shape
        threads = max(1, min(torch.get_num_threads(), math.ceil(batch / 6)))
        tiles = threads * max(1, math.ceil(batch / (ROWS * threads)))
        return cls(threads, tiles, atoms, edges, batch, n_scalars)


class _Messages(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, scalars: Tensor, ends: Tensor, *weights: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        h, scalars, ends = h.contiguous(), scalars.contiguous(), ends.contiguous()
        sizes, width = _Sizes.of(h, scalars), h.shape[-1]
        shift, drive, feature = (weights[first] is not None for first in (4, 8, 12))
        atoms, edges = h.shape, (*scalars.shape[:2], width)
        shapes = [edges, edges, shift and edges, drive and atoms, feature and atoms]
        needed = any(ctx.needs_input_grad)
        kept = [h.new_empty(shape) if shape and needed else None for shape in (*shapes, shapes[-1])]
        out = torch.empty_like(h) if feature else None
        pushes = h.new_empty(*edges[:2], 1) if shift else None
        drives = h.new_empty(*atoms[:2], 1) if drive else None
        parts = [None if w is None else w.t().contiguous() for w in _parts(weights, width)]
        _call(
            "forward", width, sizes, ends, h, scalars, parts, kept if needed else None,
            pushes, drives, out,
        )  # fmt: skip
        ctx.save_for_backward(h, scalars, ends, *weights, *kept)
        ctx.set_materialize_grads(False)
        return out, pushes, drives

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        h, scalars, ends, *rest = ctx.saved_tensors
        weights, kept = rest[:16], rest[16:]
        gout, gpushes, gdrives = (None if g is None else g.contiguous() for g in gradients)
        sizes, width = _Sizes.of(h, scalars), h.shape[-1]
        parts = _parts(weights, width)
        own = [None if w is None else w.contiguous() for w in parts]
        own[2] = None if parts[2] is None else parts[2].mT.contiguous()
        gh, gscalars = torch.empty_like(h), torch.empty_like(scalars)
        summed = [None if w is None else h.new_zeros(sizes.threads, *w.shape) for w in own]
        _call(
            "backward", width, sizes, ends, h, scalars, own, kept,
            gpushes, gdrives, gout, gh, gscalars, summed,
        )  # fmt: skip
        g = [None if w is None else w.sum(0) for w in summed]
        first = torch.cat([g[0], g[1], g[2].mT], 1)
        feature = None if g[14] is None else torch.cat([g[14], g[15]], 1)
        whole = [first, *g[3:14], feature, *g[16:]]
        return gh, gscalars, None, *whole


def _parts(weights: Weights, width: int) -> list[Tensor | None]:
    """In the order of ``messages.cpp``: those that act on concatenations are split."""
    first, *others = weights[:12]
    feature, *last = weights[12:]
    assert first is not None
    sizes = [width, width, first.shape[1] - 2 * width]
    split = (None, None) if feature is None else feature.split(width, 1)
    return [*first.split(sizes, 1), *others, *split, *last]


def _call(name: str, width: int, sizes: _Sizes, *arguments: Any) -> None:
    function = library("messages.cpp", WIDTH=width)[name]  # type: ignore[index]
    function(ctypes.byref(sizes), *map(_pointer, arguments))


def _pointer(x: Any) -> Any:
    """The address of a tensor, or an array of addresses; null for None."""
    if isinstance(x, Tensor):
        return ctypes.c_void_p(x.data_ptr())
    if x is None:
        return None
    return (ctypes.c_void_p * len(x))(*(None if y is None else y.data_ptr() for y in x))
