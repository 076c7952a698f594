"""Linear dynamics in closed form, and the two ablations without an ODE."""

import math

import torch
from torch import Tensor, nn

NODES = 8
ORDER = 12
"""Largest number of nodes on [0, t_max], and order of the Taylor step from the nearest node.

Measured: errors in float32 stay below 1e-5 for ‖tW‖ ≤ 20, and 8 × 13 vectors are the cheapest of
the combinations that achieve it."""

_CHOICES = sorted(
    ((nodes, order) for nodes in (1, 2, 4, NODES) for order in range(1, ORDER + 1)),
    key=lambda choice: choice[0] * (choice[1] + 1),
)

TRUNCATED = 1e-4
"""Largest norm of the last term of the series; it is exceeded near ‖tW‖ = 30."""

FINITE = 500.0
"""‖tW‖ (Frobenius) up to which no power in the series overflows, far beyond its convergence."""


class LinearDynamics(nn.Module):
    """Modes that obey dH̃_k/dt = H̃_k W_k, solved exactly: H̃_k(t) = H̃_k exp(t W_k).

    The published experiments run this (the paper's eq. 6 and 7 with linear f and g). Modes of one
    eigenspace share one matrix, so nothing depends on the choice of eigenvectors.

    Parameters
    ----------
    spaces
        Which eigenspace each mode belongs to, ``(mode,)``, counted from 0.
    width
        Length of the feature axis.

    Notes
    -----
    The states at up to eight nodes are computed by doubling, and each lag by the Taylor series
    about the nearest node, so that the cost hardly depends on the number of lags. Values and
    gradients are accurate for ‖tW‖ ≤ 20 (spectral norm). Beyond that the error grows; at times for
    which the series of some W no longer converges, near 30, and at negative ones, the result is NaN
    rather than wrong.
    """

    spaces: Tensor

    def __init__(self, spaces: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("spaces", spaces.detach().clone())
        self.weight = nn.Parameter(_matrices(spaces, width))

    def forward(self, amplitudes: Tensor, times: Tensor) -> Tensor:
        """Carry ``(batch, mode, row, feature)`` to times t ≥ 0, ``(batch, time)``.

        Returns
        -------
        Tensor
            ``(batch, time, mode, row, feature)``.
        """
        return exponential(amplitudes, self.weight, self.spaces, times)


class FeedForwardDynamics(nn.Module):
    """One application of W to each mode, the same for all lags (the paper's "without ODE").

    Parameters
    ----------
    spaces, width
        As for :class:`LinearDynamics`.
    """

    spaces: Tensor

    def __init__(self, spaces: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("spaces", spaces.detach().clone())
        self.weight = nn.Parameter(_matrices(spaces, width))

    def forward(self, amplitudes: Tensor, times: Tensor) -> Tensor:
        """Return ``(batch, time, mode, row, feature)``, the same at every time."""
        return _repeat(amplitudes @ self.weight[self.spaces], times)


class IdentityDynamics(nn.Module):
    """Constant amplitudes."""

    def forward(self, amplitudes: Tensor, times: Tensor) -> Tensor:
        """Return ``(batch, time, mode, row, feature)``, the same at every time."""
        return _repeat(amplitudes, times)


def exponential(amplitudes: Tensor, weight: Tensor, spaces: Tensor, times: Tensor) -> Tensor:
    """Compute H exp(t W) for many times at once.

    With A = ΔW, nodes at 0, Δ, 2Δ, … and t = (j + s)Δ, |s| ≤ 1/2, the result is
    Σ_k s^k/k! · (H exp(jA)) A^k. Everything that depends on time is then one batched product. On a
    CPU the numbers of nodes and terms depend on ‖W‖; on a GPU reading ‖W‖ would synchronise.

    Parameters
    ----------
    amplitudes
        H, ``(batch, mode, row, feature)``.
    weight
        W, ``(space, feature, feature)``.
    spaces
        Which W belongs to each mode, ``(mode,)``.
    times
        t ≥ 0, ``(batch, time)``.

    Returns
    -------
    Tensor
        ``(batch, time, mode, row, feature)``.
    """
    batch, modes, rows, width = amplitudes.shape
    sizes = torch.linalg.matrix_norm(weight.detach())
    longest = times.detach().amax().clamp(min=1.0).minimum(FINITE / sizes.amax())
    nodes, order = _nodes_and_order(weight.detach() * longest)
    step = longest / (nodes - 0.5)
    powers = _powers(weight * step.to(weight.dtype), order)
    share = _share(powers, order)
    longest, step, powers = longest * share, step * share, _rescaled(powers, share, order)
    doubled = _exponential_of_step(powers) if nodes > 1 else powers
    identity = torch.eye(width, dtype=powers.dtype, device=powers.device)
    powers = torch.cat([identity.expand(len(powers), -1, -1), powers], dim=-1)

    # nodes next to features: the products below then act on contiguous blocks
    states = amplitudes.transpose(0, 1).reshape(modes, batch * rows, 1, width)
    while (known := states.shape[2]) < nodes:
        moved = states.flatten(1, 2) @ doubled[spaces]
        states = torch.cat([states, moved.view_as(states)], dim=2)
        if 2 * known < nodes:
            doubled = doubled @ doubled
    terms = states.flatten(1, 2) @ powers[spaces]
    terms = terms.reshape(modes, batch, rows, nodes * (order + 1), width)

    place = times / step
    nearest = place.detach().round().clamp(0, nodes - 1)
    coefficients = _taylor_coefficients((place - nearest).to(amplitudes.dtype), order)
    unknown = ~((times >= 0) & (times <= longest * (1 + 1e-6)))
    coefficients = coefficients.masked_fill(unknown.unsqueeze(-1), math.nan)
    chosen = nearest.unsqueeze(-1) == torch.arange(nodes, device=times.device)
    coefficients = coefficients.unsqueeze(-2) * chosen.unsqueeze(-1)
    carried = coefficients.flatten(-2)[:, None] @ terms  # (mode, batch, row, time, feature)
    return carried.permute(1, 3, 0, 2, 4)


def _nodes_and_order(largest: Tensor) -> tuple[int, int]:
    """Cheapest nodes and order that are exact to rounding, or the largest available ones.

    With x the norm of half a step, the truncation error of the series is about x^order/order!.

    Parameters
    ----------
    largest
        t_max W, ``(space, feature, feature)``.
    """
    if largest.device.type != "cpu" or torch.compiler.is_compiling():
        return NODES, ORDER
    size = float(torch.linalg.matrix_norm(largest).amax())
    rounding = torch.finfo(largest.dtype).eps
    for nodes, order in _CHOICES:
        if size / (2 * nodes - 1) <= (rounding * math.factorial(order)) ** (1 / order):
            return nodes, order
    return NODES, ORDER


def _powers(matrix: Tensor, order: int) -> Tensor:
    """Concatenate A, A², …, A^order, ``(space, feature, order · feature)``."""
    width = matrix.shape[-1]
    powers = matrix
    while (known := powers.shape[-1] // width) < order:
        new = powers[..., -width:] @ powers[..., : min(known, order - known) * width]
        powers = torch.cat([powers, _flush(new)], dim=-1)
    return powers


def _share(powers: Tensor, order: int) -> Tensor:
    """Largest factor ≤ 1 on the step for which the last term of all series is below TRUNCATED."""
    width = powers.shape[-2]
    scale = 0.5**order / (TRUNCATED * math.factorial(order))
    last = torch.linalg.matrix_norm(powers[..., -width:].detach() * scale).amax()
    return last.clamp(min=1.0) ** (-1 / order)


def _rescaled(powers: Tensor, share: Tensor, order: int) -> Tensor:
    """Powers of ``share`` · A, from those of A."""
    k = torch.arange(1, order + 1, device=powers.device)
    shares = (share**k).to(powers.dtype).repeat_interleave(powers.shape[-2])
    return powers * shares


def _exponential_of_step(powers: Tensor) -> Tensor:
    """Compute exp(A) = exp(A/2)² from the powers of A, ``(space, feature, feature)``."""
    width = powers.shape[-2]
    order = powers.shape[-1] // width
    half = _taylor_coefficients(powers.new_full((), 0.5), order)
    identity = torch.eye(width, dtype=powers.dtype, device=powers.device)
    blocks = powers.reshape(*powers.shape[:-1], order, width)
    series = identity + (blocks * half[1:, None]).sum(-2)
    squared: Tensor = series @ series
    return squared


def _taylor_coefficients(s: Tensor, order: int) -> Tensor:
    """Compute s^k / k! for k = 0 … order, along a new last axis."""
    k = torch.arange(order + 1, dtype=s.dtype, device=s.device)
    return _flush(s.unsqueeze(-1) ** k / k.clamp(min=1).cumprod(0))


def _repeat(amplitudes: Tensor, times: Tensor) -> Tensor:
    return amplitudes.unsqueeze(1).expand(-1, times.shape[1], -1, -1, -1)


def _flush(x: Tensor) -> Tensor:
    """Set entries far below rounding to zero: CPUs are slow on denormal numbers.

    The gradient is passed through, so that such an entry can still grow.
    """
    tiny = x.detach().abs() < torch.finfo(x.dtype).eps ** 2
    return x - torch.where(tiny, x.detach(), 0.0)


def _matrices(spaces: Tensor, width: int) -> Tensor:
    """Initial W of each eigenspace as published, uniform(0, 1) / width²."""
    return torch.rand(int(spaces.max()) + 1, width, width) / width**2
