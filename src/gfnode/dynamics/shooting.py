"""Velocities at a start, from mean velocities over a gap, or from stored ones that lag behind."""

from collections.abc import Callable

import torch
from torch import Tensor

from gfnode.trajectory import SHORT_GAP

Move = Callable[[Tensor, Tensor | slice], Tensor]
"""``move(v, rows)``: positions of rows after the gap, if started with velocities v,
``(member, row, atom, 3)``."""

_TOLERANCE = 0.3  # fs; ε: positions are known to the distance that thermal atoms move in this time
_STEPS = 3  # of either iteration
_NUDGE = 0.01  # Å
_FEWEST, _SURE = 20, 6.0  # samples, and standard errors


def offset(velocities: Tensor, accelerations: Tensor, masses: Tensor) -> Tensor:
    """Time δ in fs by which stored velocities are behind positions, 0 where that cannot be told.

    Leapfrog integrators (GROMACS, OpenMM, xTB) store velocities of half a step before the
    positions. As Σ m v · a = −dU/dt, a potential energy that neither grows nor shrinks for ever
    means ⟨Σ m v(t) · a(t)⟩ = 0, and with v(t − δ) ≈ v(t) − δ a::

        δ = −⟨Σ m v · a⟩/⟨Σ m a²⟩

    Parameters
    ----------
    velocities, accelerations
        ``(sample, atom, 3)`` in Å/fs and Å/fs².
    masses
        ``(atom, 1)`` in u.
    """
    if len(velocities) < _FEWEST:
        return velocities.new_zeros(())
    power = (masses * velocities * accelerations).sum((-2, -1))
    slope = (masses * accelerations.square()).sum((-2, -1))
    found = -power.mean() / slope.mean()
    error = (power + found * slope).std() / len(power) ** 0.5 / slope.mean()
    sure = (found.abs() > _SURE * error) & (found.abs() <= SHORT_GAP)
    return torch.where(sure, found, torch.zeros_like(found))


def velocities_at_start(
    move: Move, positions: Tensor, over: Tensor, *, masses: Tensor, gap: float, starts: int
) -> tuple[Tensor, Tensor]:
    """Solve for initial velocities whose motion over a gap has a given mean velocity.

    Over a short gap g, the residual is added to them a few times. For a vibration of frequency ω
    that multiplies the error by 1 − sin(ωg)/(ωg): by 0.36 where g is a quarter of the period, and
    by 0.9 for bonds to hydrogen over 5 fs. Over longer gaps, Gauss-Newton steps are taken: with
    x(g; v) the final positions, y = √m v and J = ∂(√m x)/∂y by finite differences for all 3N
    columns,

        y ← y + (JᵀJ + ε²)⁻¹ (Jᵀ √m (x(g) − x(g; v)) − ε² y),

    the most probable velocities of a thermal motion if x(g) is known to the distance that atoms
    move in a time ε. A vibration of half a period in the gap ends at the same position whatever its
    velocity, and gets none. Initial guesses are kept where the residual does not decrease.

    Also returns the number of directions that the gap does not determine, ``(member, row)``: with s
    the singular values of J, Σ ε²/(s² + ε²). Thermal velocities lose kT/2 for each.

    Parameters
    ----------
    move
        The motion over the gap.
    positions, over
        At the start, in Å, and mean velocities from there over the gap, in Å/fs, both
        ``(member, row, atom, 3)``.
    masses
        ``(atom, 1)`` in u.
    gap
        In fs, negative where it ends at the start.
    starts
        The first so many rows are different starts; the others repeat them and share their J.
    """
    if abs(gap) > SHORT_GAP:
        return _gauss_newton(move, positions, over, masses=masses, gap=gap, starts=starts)
    v = over
    for _ in range(_STEPS):
        v = v + over - (move(v, slice(None)) - positions) / gap
    return v, v.new_zeros(v.shape[:2])


def _gauss_newton(
    move: Move, positions: Tensor, over: Tensor, *, masses: Tensor, gap: float, starts: int
) -> tuple[Tensor, Tensor]:
    """See :func:`velocities_at_start`; over long gaps."""
    first = over + over - (move(over, slice(None)) - positions) / gap
    target, weights = positions + gap * over, masses.sqrt()
    ridge = _TOLERANCE**2 * torch.eye(3 * len(masses)).to(over.device, torch.float64)
    v, ends = first, move(first, slice(None))
    before = (target - ends).double().square().sum((-2, -1), keepdim=True)
    for _ in range(_STEPS):
        slope = _derivative(move, v, ends, weights=weights, gap=gap, starts=starts)  # Jᵀ
        # shared by all repetitions; float64, so that results do not depend on the rest of the batch
        slope = slope.double()[:, None]
        y, left = (
            (z * weights).double().flatten(-2).unflatten(1, (-1, starts))[..., None]
            for z in (v, target - ends)
        )
        square = slope @ slope.mT + ridge
        change, _ = torch.linalg.solve_ex(square, slope @ left - ridge @ y)
        v = v + change[..., 0].flatten(1, 2).view_as(v).to(v) / weights
        ends = move(v, slice(None))
    missed = (target - ends).double().square().sum((-2, -1), keepdim=True)
    lost = (ridge @ torch.linalg.inv_ex(square)[0]).diagonal(dim1=-2, dim2=-1).sum(-1)
    lost = lost.expand(-1, v.shape[1] // starts, -1).flatten(1)
    return torch.where(missed < before, v, first), lost.to(v)


def _derivative(
    move: Move, v: Tensor, ends: Tensor, *, weights: Tensor, gap: float, starts: int
) -> Tensor:
    """Jᵀ of each start, ``(member, start, 3N, 3N)`` in fs, by finite differences."""
    atoms = len(weights)
    nudge = _NUDGE / abs(gap)
    nudges = nudge * torch.eye(3 * atoms).view(-1, atoms, 3).to(v)
    nudged = (v[:, :starts, None] + nudges).flatten(1, 2)
    rows = torch.arange(starts, device=v.device).repeat_interleave(3 * atoms)
    moved = move(nudged, rows).unflatten(1, (starts, -1)) - ends[:, :starts, None]
    scale = weights.expand(atoms, 3).flatten()
    return moved.flatten(-2) / nudge * scale / scale[:, None]
