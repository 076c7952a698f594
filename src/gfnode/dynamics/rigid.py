"""Rotation of rigid bodies: free in closed form, and with internal rotors by integration.

Notation: L is the angular momentum, fixed in space; ℓ = RᵀL its components in the body frame, with
R(0) = 1; ω = J⁻¹ℓ the angular velocity in the body frame, J the inertia tensor. ℓ moves along the
intersection of the sphere |ℓ| = L with the ellipsoid ℓ·J⁻¹ℓ = 2T, around the principal axis of
greatest or of smallest inertia (Landau & Lifshitz, Mechanics, § 37).
"""

import numpy as np
import torch
from scipy.special import elliprf
from torch import Tensor

from gfnode.geometry import composed, cross_matrix, matrix_of, quaternion, rotation_matrix

LINEAR = 1e-4
"""A body counts as linear below this ratio of its smallest to its greatest moment of inertia."""

_X, _WEIGHT = (torch.from_numpy(v) / 2 for v in np.polynomial.legendre.leggauss(48))
_X = _X + 0.5  # nodes and weights on 0 … 1


def free_rotation(momentum: Tensor, inertia: Tensor, times: Tensor) -> Tensor:
    """Rotations R(t) of free rigid bodies: dR/dt = [Ω]× R, Ω = R J⁻¹ Rᵀ L, R(0) = 1.

    With c the principal axis that ℓ circles and a the other extreme one, the components are
    ℓ = (A cn u, ±B sn u, ±C dn u), u = λt + u₀, Jacobi functions of parameter m. What remains is a
    rotation about L by an angle ψ. In the frame in which ℓ is taken to the axis e = ±c by the
    shortest rotation, which has no singularity since ℓ stays on one side, its rate is

        dψ/dt = ω·(ℓ + L e) / (L + ℓ·e) = (2T + L ω_c) / (L + ℓ_c),

    integrated by Gauss-Legendre quadrature over what exceeds whole periods of ℓ. Each time is
    computed on its own; long times cost no more than short ones.

    Parameters
    ----------
    momentum
        Angular momentum L, ``(batch, 3)``.
    inertia
        Inertia tensor J at time zero, ``(batch, 3, 3)``. A linear body (see `LINEAR`) does not
        rotate about its axis, a point not at all.
    times
        ``(batch, time)``.

    Returns
    -------
    Tensor
        ``(batch, time, 3, 3)``, double precision, on the CPU, without gradient.
    """
    L, J, t = (x.detach().double().cpu() for x in (momentum, inertia, times))
    largest = L.abs().amax(-1, keepdim=True)  # scale first: squares of tiny momenta underflow
    axes, inverse, ell = _principal(_over(L, largest), J)
    size = torch.linalg.vector_norm(ell, dim=-1, keepdim=True)
    ell, t = _over(ell, size), t * size * largest  # from here on in units in which L = 1
    a, b, c = inverse.unsqueeze(-1).unbind(-2)  # (batch, 1), as everything up to the times
    la, lb, lc = ell.unsqueeze(-1).unbind(-2)
    twice_energy = a * la.square() + b * lb.square() + c * lc.square()

    r = torch.where(a == c, 1.0, _over(b - c, a - c))  # 0 … 1
    A = (la.square() + r * lb.square()).sqrt()
    B = (lb.square() + _over(la.square(), r)).sqrt()
    C = (lc.square() + (1 - r) * lb.square()).sqrt()
    m1 = _over(lc.square() - _over((1 - r) * la.square(), r), C.square())  # 1 − m without rounding
    m1 = torch.where(C > 0, m1, 1.0).clamp(1e-16, 1.0)
    side = torch.where(lc < 0, -1.0, 1.0).to(lc)
    sense = side * torch.where(a < c, -1.0, 1.0)
    rate = C * (a - c).abs() * r.sqrt()
    start = _first_kind(torch.atan2(sense * _over(lb, B), _over(la, A)), m1)
    half_period = 2 * _first_kind(torch.full_like(m1, torch.pi / 2), m1)  # of u: one period of dn

    def integral(begin: Tensor, length: Tensor) -> Tensor:
        """Mean of 1/(1 + C dn u) over u = begin … begin + length."""
        u = begin.unsqueeze(-1) + length.unsqueeze(-1) * _X
        dn = _jacobi(u, m1.unsqueeze(-1))[2]
        return (_WEIGHT / (1 + C.unsqueeze(-1) * dn)).sum(-1)

    period = _over(half_period, rate)  # 0 where ℓ stands still
    whole = torch.floor(_over(t, period)) * period
    rest = t - whole
    turns = whole * integral(start, half_period) + rest * integral(start, rate * rest)
    psi = c * t + (twice_energy - c) * turns

    sn, cn, dn = _jacobi(rate * t + start, m1)
    moved = torch.stack([A * cn, sense * B * sn, side * C * dn], -1)
    e = torch.cat([torch.zeros_like(side), torch.zeros_like(side), side], -1).unsqueeze(-2)
    before, now = _shortest_turn(ell.unsqueeze(-2), e), _shortest_turn(moved, e)
    rotation: Tensor = axes @ before.mT @ rotation_matrix(psi.unsqueeze(-1) * e) @ now @ axes.mT
    return rotation


def steered_rotation(
    momentum: Tensor, inverse: Tensor, spins: Tensor, times: Tensor, *, steps: int = 16
) -> Tensor:
    """Rotations R(t) of bodies with rotors (gyrostats): dR/dt = R [ω]×, ω = J⁻¹ (RᵀL − s).

    R(0) = 1. L is the total angular momentum, fixed in space; s that of the rotors, fixed in the
    body. Fourth order in the step: Runge-Kutta for RᵀL, Magnus for R. |L| is conserved, and R is
    orthogonal, to rounding.

    Parameters
    ----------
    momentum
        L, ``(…, 3)``; leading axes of all arguments broadcast.
    inverse
        J⁻¹ at time zero, ``(…, 3, 3)``.
    spins
        s, ``(…, 3)``.
    times
        ``(…)``.
    steps
        From zero to each time; errors are below 1e-3 for rotations of up to half a radian a step.

    Returns
    -------
    Tensor
        ``(…, 3, 3)``, differentiable.
    """
    seen, spins, h = torch.broadcast_tensors(momentum, spins, times[..., None] / steps)
    h = h[..., 0]
    # components first, for contiguous memory: explicit products and lengths then take less than
    # half of the time of linalg.cross and norm
    inverse = inverse.expand(*h.shape, 3, 3).movedim((-2, -1), (0, 1)).contiguous()
    seen, spins = (y.movedim(-1, 0).contiguous() for y in (seen, spins))

    def cross(x: Tensor, y: Tensor) -> Tensor:
        (a, b, c), (d, e, f) = x, y
        return torch.stack([b * f - c * e, c * d - a * f, a * e - b * d])

    def length(x: Tensor) -> Tensor:
        return x.square().sum(0).clamp(min=1e-24).sqrt()

    def rate(seen: Tensor) -> Tensor:
        return (inverse * (seen - spins)).sum(1)

    def bend(seen: Tensor) -> Tensor:
        return cross(seen, rate(seen))

    def half_step(seen: Tensor) -> Tensor:
        k1 = bend(seen)
        k2 = bend(seen + h / 4 * k1)
        k3 = bend(seen + h / 4 * k2)
        k4 = bend(seen + h / 2 * k3)
        found = seen + h / 12 * (k1 + 2 * (k2 + k3) + k4)
        return found * (size / length(found))

    size = length(seen)
    before, turned = rate(seen), None
    for _ in range(steps):
        middle = half_step(seen)
        seen = half_step(middle)
        after = rate(seen)
        turn = h / 6 * (before + 4 * rate(middle) + after)
        turn = turn + h**2 / 12 * cross(before, after)
        step = quaternion(turn.movedim(0, -1))
        turned = step if turned is None else composed(turned, step)
        before = after
    assert turned is not None
    return matrix_of(turned)


def _principal(L: Tensor, J: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Right-handed principal axes (a, b, c) as columns, inverse moments, ℓ(0) along the axes.

    ℓ circles c, the axis of greatest inertia, or at high energy that of the smallest.
    """
    moments, axes = torch.linalg.eigh(J)
    axes = axes * torch.det(axes).sign()[..., None, None]
    ell = (axes.mT @ L.unsqueeze(-1)).squeeze(-1)
    inverse = _over(torch.ones_like(moments), moments.clamp_min(0.0))
    point = moments[..., 2:] <= 0
    linear = moments[..., :1] <= LINEAR * moments[..., 2:]
    ell = torch.cat([ell[..., :1].masked_fill(linear, 0.0), ell[..., 1:]], -1).masked_fill(point, 0)
    first = torch.where(linear, inverse[..., 1:2], inverse[..., :1])
    inverse = torch.cat([first, inverse[..., 1:]], -1).masked_fill(point, 0.0)

    (i, j, k), (x, _, z) = inverse.unbind(-1), ell.unbind(-1)
    high = (z.square() * (j - k) < x.square() * (i - j)).unsqueeze(-1)
    sign = torch.tensor([1.0, -1.0, 1.0], dtype=ell.dtype)  # keeps the reversed axes right-handed
    inverse = torch.where(high, inverse.flip(-1), inverse)
    ell = torch.where(high, ell.flip(-1) * sign, ell)
    axes = torch.where(high.unsqueeze(-1), axes.flip(-1) * sign, axes)
    return axes.unsqueeze(-3), inverse, ell


def _over(x: Tensor, y: Tensor) -> Tensor:
    """Quotient x / y, 0 where y is 0."""
    return torch.where(y == 0, 0.0, x / torch.where(y == 0, 1.0, y))


def _first_kind(phi: Tensor, m1: Tensor) -> Tensor:
    """Elliptic integral F(φ | 1 − m1) for −π ≤ φ ≤ π, by Carlson's R_F."""

    def carlson(sine: Tensor, cosine: Tensor) -> Tensor:
        x = cosine.square()
        y = x + m1 * sine.square()
        value = elliprf(x.numpy(), y.numpy(), np.ones(x.shape))
        return sine * torch.from_numpy(np.asarray(value))

    quarter = carlson(torch.ones_like(phi), torch.zeros_like(phi))
    back = torch.cos(phi) < 0  # F(φ) = ±2K − F(±π − φ)
    half = torch.sin(phi).sign() * 2 * quarter
    inner = carlson(torch.sin(phi), torch.cos(phi))
    return torch.where(back, half - inner, inner)


def _jacobi(u: Tensor, m1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Jacobi's sn, cn and dn of parameter m = 1 − m1, by the arithmetic-geometric mean.

    Abramowitz & Stegun 16.4. SciPy's take m, which loses m1 where it is small.
    """
    a, b = torch.ones_like(m1), m1.sqrt()
    ratios = []
    for _ in range(8):  # quadratic: to rounding for m1 ≥ 1e-16
        ratios.append((a - b) / (a + b))
        a, b = (a + b) / 2, (a * b).sqrt()
    phi = 2.0 ** len(ratios) * a * u
    for ratio in reversed(ratios):
        phi = (phi + torch.asin(ratio * torch.sin(phi))) / 2
    sn, cn = torch.sin(phi), torch.cos(phi)
    return sn, cn, (cn.square() + m1 * sn.square()).sqrt()


def _shortest_turn(source: Tensor, target: Tensor) -> Tensor:
    """Shortest rotation that takes one unit vector to another, which must not be opposite."""
    cross = torch.linalg.cross(source, target.expand_as(source))
    K = cross_matrix(cross)
    cosine = (source * target).sum(-1)[..., None, None]
    return torch.eye(3, dtype=K.dtype, device=K.device) + K + K @ K / (1 + cosine)
