"""The forces of a learned potential, and steps by them, as one operation: see ``forces.cpp``."""

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gfnode.kernels.build import address, loaded

ROWS = 24
"""Conformations that go through the network together."""

STEP = 32
"""Pairs are filled up to a multiple of it: two of the longest vectors there are."""


@dataclass(frozen=True)
class Packed:
    """Weights of a potential as ``forces.cpp`` wants them, see :func:`pack`."""

    atoms: int
    width: int
    pairs: int
    near: int
    weights: tuple[Tensor, ...]

    def code(self, source: str = "forces.cpp") -> Any:
        """The code for these sizes; None where there is none."""
        sizes = {"WIDTH": self.width, "PAIRS": self.pairs, "NEAR": self.near, "ATOMS": self.atoms}
        return loaded(source, **sizes)

    def sizes(self, positions: Tensor, rows: int = ROWS) -> Any:
        """Sizes of positions as the code wants them, and so many rows at most in a tile."""
        members, batch = positions.shape[:2]
        tiles = max(1, math.ceil(batch / rows))
        threads = max(1, min(torch.get_num_threads(), members * tiles))
        return ctypes.byref(_Sizes(threads, tiles, members, batch))


def pack(
    atoms: int, inputs: Sequence[Tensor], layers: Sequence[Tensor], ends: Sequence[Tensor]
) -> Packed | None:
    """Put weights in order.

    Parameters
    ----------
    atoms
        Of the molecule.
    inputs
        Mean and spread of inverse distances, and the limits they are held within, ``(pair,)``, and
        the places of near pairs among these, ``(near,)``.
    layers
        Weight ``(member, width, input)`` and bias ``(member, 1, width)`` of three layers by turns.
    ends
        l ``(member, 1, width)``, Q ``(member, near, near)`` and m ``(member, 1, near)``.

    Returns
    -------
    Packed or None
        None where :func:`forces` cannot be used: not in single precision on a processor for which
        it is or can be compiled.
    """
    width = layers[0].shape[1]
    mean, spread, limit, near = inputs
    if mean.dtype != torch.float32 or mean.device.type != "cpu" or width % STEP:
        return None
    more, some = (-len(y) % STEP for y in (mean, near))
    fill = torch.nn.functional.pad
    first, bias_1, second, bias_2, third, bias_3 = layers
    last, form, line = ends
    first = fill(first, (0, more))
    turned = [y.mT for y in (first, second, third)]
    biases = bias_1, bias_2, bias_3
    by_turns = [y for pair in zip(turned, biases, strict=True) for y in pair]
    weights = [
        *(fill(y, (0, more)) for y in (mean, 1 / spread, limit)),
        fill(near.int(), (0, some)),  # with weights of zero
        *(*by_turns, first, second, third),
        *(last, fill(form, (0, some, 0, some)), fill(line, (0, some))),
    ]
    sizes = atoms, width, len(mean) + more, len(near) + some
    packed = Packed(*sizes, tuple(y.contiguous() for y in weights))
    return packed if packed.code() is not None else None


def forces(positions: Tensor, packed: Packed) -> Tensor:
    """Forces at positions, ``(member, batch, atom, 3)`` both."""
    positions = positions.contiguous()
    found = torch.empty_like(positions)
    packed.code().forces(packed.sizes(positions), *map(address, (packed.weights, positions, found)))
    return found


@dataclass(frozen=True)
class Thermostat:
    """A thermostat as :func:`advance` wants it, see :class:`gfnode.dynamics.newton.NewtonDynamics`.

    Parameters
    ----------
    masses
        ``(atom,)`` in u.
    kinetic, freedoms
        K̄ in u Å²/fs², and g.
    frequency
        ω of each row, 1/fs.
    rate, along, others
        1/τ of each row in 1/fs, and R and S of every step and row; None: velocities are not scaled
        at random.
    """

    masses: Tensor
    kinetic: float
    freedoms: int
    frequency: Tensor
    rate: Tensor | None = None
    along: Tensor | None = None
    others: Tensor | None = None


def advance(
    state: Sequence[Tensor], packed: Packed, thermostat: Thermostat, steps: int, length: float
) -> list[Tensor]:
    """Take steps of so many fs, as :class:`gfnode.dynamics.newton.NewtonDynamics` does.

    Parameters
    ----------
    state
        Positions, velocities ``(member, row, atom, 3)``, friction ``(member, row, 1, 1)`` and
        accelerations; they are left alone.
    """
    moved = [y.clone(memory_format=torch.contiguous_format) for y in state]
    parts = thermostat.frequency, thermostat.rate, thermostat.along, thermostat.others
    kept = [None if y is None else y.contiguous() for y in parts]
    scalars = _Thermostat(*map(address, kept), thermostat.kinetic, length, thermostat.freedoms)
    packed.code().advance(
        packed.sizes(moved[0]),
        *map(address, (packed.weights, thermostat.masses.contiguous())),
        ctypes.c_int64(steps),
        ctypes.byref(scalars),
        *map(address, moved),
    )
    return moved


class _Sizes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in ("threads", "tiles", "members", "batch"))


class _Thermostat(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("frequency", "rate", "along", "others")),
        *((name, ctypes.c_float) for name in ("kinetic", "step")),
        ("freedoms", ctypes.c_int64),
    )
