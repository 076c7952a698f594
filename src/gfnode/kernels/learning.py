"""The forces of a learned potential and their gradients by its weights, see ``learning.cpp``."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gfnode.kernels.build import address
from gfnode.kernels.forces import Packed, pack

_CODE = "learning.cpp"
_KEPT = 11  # of the length of the width, see learning.cpp


def learnable_forces(
    positions: Tensor,
    inputs: Sequence[Tensor],
    layers: Sequence[Tensor],
    ends: Sequence[Tensor],
) -> Tensor | None:
    """Forces of a potential, differentiable by its weights but not by positions.

    Parameters
    ----------
    positions
        ``(member, batch, atom, 3)`` in Å.
    inputs, layers, ends
        Weights as :func:`gfnode.kernels.forces.pack` wants them.

    Returns
    -------
    Tensor or None
        ``(member, batch, atom, 3)``; None where there is no code for it.
    """
    with torch.no_grad():
        packed = pack(positions.shape[2], inputs, layers, ends)
    if packed is None or packed.code(_CODE) is None:
        return None
    found: Tensor = _Forces.apply(positions.contiguous(), packed, *layers, *ends)
    return found


class _Forces(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, packed: Packed, *weights: Tensor) -> Tensor:
        rows = positions.shape[:2]
        lengths = [packed.pairs] + [packed.width] * _KEPT
        kept = [positions.new_empty(*rows, length) for length in lengths]
        found = torch.empty_like(positions)
        packed.code(_CODE).forward(
            packed.sizes(positions), *map(address, (packed.weights, positions, kept, found))
        )
        ctx.packed, ctx.real = packed, (weights[0].shape[-1], weights[-1].shape[-1])
        ctx.save_for_backward(positions, *kept)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        packed: Packed = ctx.packed
        positions, *kept = ctx.saved_tensors
        pairs, near, width = packed.pairs, packed.near, packed.width
        members, batch = positions.shape[:2]
        rows = math.ceil(batch / math.ceil(torch.get_num_threads() / members))
        parts = math.ceil(batch / rows)  # each adds to gradients of its own
        square = width, width
        shapes = [(width, pairs), (1, width), square, (1, width), square, (1, width)]
        shapes += [(1, width), (near, near), (1, near)]
        found = [positions.new_zeros(members, parts, *shape) for shape in shapes]
        packed.code(_CODE).backward(
            packed.sizes(positions, rows),
            *map(address, (packed.weights, positions, given.contiguous(), kept, found)),
        )
        of_in, *others, of_form, of_line = (y.sum(1) for y in found)
        n, m = ctx.real  # pairs and near pairs; the rest fills up
        return None, None, of_in[..., :n], *others, of_form[:, :m, :m], of_line[..., :m]
