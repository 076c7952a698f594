"""Molecular geometry: superposition, internal coordinates, momenta, rotations.

Pure functions of tensors, vectorised over all leading axes (written ``...``) and differentiable.
Positions are Å, velocities Å/fs, masses u, angles radians. Rotations are matrices that act on
column vectors: a conformation ``(..., atom, 3)`` is turned by ``positions @ rotation.mT``.
"""

import math

import torch
from torch import Tensor

STRAIGHT = 1e-10
"""Ratio of a moment of inertia to the largest below which it counts as zero: linear molecules."""


def center(positions: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighted mean position Σ w_i x_i / Σ w_i, kept as ``(..., 1, 3)`` so that it subtracts.

    Parameters
    ----------
    positions
        ``(..., atom, 3)``.
    weights
        ``(atom,)``; masses give the centre of mass, None the plain mean.
    """
    if weights is None:
        return positions.mean(-2, keepdim=True)
    weights = weights.to(positions)
    return (weights / weights.sum(-1, keepdim=True)).unsqueeze(-2) @ positions


def kabsch_rotation(
    mobile: Tensor, target: Tensor, weights: Tensor | None = None, *, reflect: bool = False
) -> Tensor:
    """Optimal rotation of centred ``mobile`` onto centred ``target``.

    R = argmin Σ w_i |R x_i − y_i|² over rotations (over rotations and reflections with
    ``reflect``), that is the orthogonal polar factor of H = Σ w_i y_i x_iᵀ, taken from its
    singular values in double precision.

    The gradient is that of the polar factor by implicit differentiation, so it stays finite for
    planar and linear molecules, where that of the singular vectors does not; a rotation that the
    atoms leave undetermined (about the axis of a linear molecule) gets gradient zero.

    Parameters
    ----------
    mobile, target
        ``(..., atom, 3)``, leading axes broadcast.
    weights
        ``(atom,)``, None for ones.

    Returns
    -------
    Tensor
        ``(..., 3, 3)`` in double precision.

    References
    ----------
    W. Kabsch, Acta Cryst. A 32, 922 (1976).
    """
    x, y = mobile.double(), target.double()
    x, y = x - center(x, weights), y - center(y, weights)
    H = (y if weights is None else y * weights.to(y).unsqueeze(-1)).mT @ x
    with torch.no_grad():
        U, s, Vt = torch.linalg.svd(H.nan_to_num(0.0, 0.0, 0.0))  # svd raises on NaN
        if not reflect:  # reverse the axis of the smallest singular value of a reflection
            sign = torch.det(U @ Vt).sign().unsqueeze(-1)
            U = torch.cat([U[..., :2], U[..., 2:] * sign.unsqueeze(-1)], -1)
            s = torch.cat([s[..., :2], s[..., 2:] * sign], -1)
        R: Tensor = U @ Vt
    if not H.requires_grad:
        return R
    # H = R S with S = V diag(s) Vᵀ. A small rotation ω away from the optimum has the gradient
    # ("torque") (tr S − S) ω, so ω = (tr S − S)⁻¹ torque is one Newton step: zero here, but it
    # carries the derivative.
    stiffness = s.sum(-1, keepdim=True) - s
    ease = torch.where(stiffness > 1e-12 * s[..., :1], stiffness.reciprocal(), 0.0)
    misfit = R.mT @ H
    torque = vector_of(misfit - misfit.mT)
    turn = Vt.mT @ (ease * (Vt @ (torque - torque.detach()).unsqueeze(-1)).squeeze(-1)).unsqueeze(
        -1
    )
    return R + R @ cross_matrix(turn.squeeze(-1))


def superpose(
    mobile: Tensor, target: Tensor, weights: Tensor | None = None, reflect: bool = False
) -> Tensor:
    """Superpose ``mobile`` on ``target`` by least squares over translation and rotation.

    Parameters
    ----------
    mobile, target
        ``(..., atom, 3)``, leading axes broadcast.
    weights
        ``(atom,)``, None for ones. Atoms of weight zero are moved, but do not enter the fit.
    reflect
        Allow a reflection where it fits better (orthogonal Procrustes).

    Returns
    -------
    Tensor
        ``(..., atom, 3)`` in the precision of ``mobile``.
    """
    rotation = kabsch_rotation(mobile, target, weights, reflect=reflect)
    x, y = mobile.double(), target.double()
    placed = (x - center(x, weights)) @ rotation.mT + center(y, weights)
    return placed.to(mobile.dtype)


def mean_conformer(
    conformations: Tensor,
    weights: Tensor | None = None,
    *,
    reflect: bool = False,
    tolerance: float = 1e-6,
    iterations: int = 100,
) -> Tensor:
    """Mean shape of conformations, without translation and rotation (generalised Procrustes).

    All conformations are superposed on the current mean, starting from the first, and averaged,
    until the mean changes by less than ``tolerance`` Å (largest coordinate).

    Parameters
    ----------
    conformations
        ``(sample, atom, 3)``.
    weights
        ``(atom,)`` of the superposition, None for ones. Atoms of weight zero are averaged in the
        frame that the others define.
    reflect
        Superpose with reflections allowed.

    Returns
    -------
    Tensor
        ``(atom, 3)``, its weighted centre at the origin, in the precision of ``conformations``.

    References
    ----------
    J. C. Gower, Psychometrika 40, 33 (1975).
    """
    samples = conformations.double()
    samples = samples - center(samples, weights)
    mean = samples[0]
    for _ in range(iterations):
        previous, mean = mean, superpose(samples, mean, weights, reflect).mean(0)
        if bool((mean - previous).abs().max() < tolerance):
            break
    return (mean - center(mean, weights)).to(conformations.dtype)


def flattened(conformer: Tensor, samples: Tensor, weights: Tensor | None = None) -> Tensor:
    """Project the mean conformer of a planar molecule into the plane z = 0.

    A planar molecule is its own mirror image, so that its two faces are equivalent, and the
    remaining thickness of a mean conformer is noise. It counts as planar where its mean square
    distance from its plane is less than a quarter of that of the samples.

    Parameters
    ----------
    conformer
        ``(atom, 3)`` in Å.
    samples
        Conformations that it is the mean of, ``(sample, atom, 3)``.
    weights
        ``(atom,)`` of the superposition, None for ones.

    Returns
    -------
    Tensor
        ``(atom, 3)``: rotated, with z = 0; unchanged where it is not planar.
    """
    centred = (conformer - center(conformer)).double()
    axes = torch.linalg.svd(centred).Vh
    plane = conformer.double() @ axes.mT
    plane[:, 2] = 0.0
    rotation = kabsch_rotation(plane, samples, weights, reflect=True)
    heights = ((samples.double() - center(samples.double(), weights)) @ rotation)[..., 2]
    thick = (centred @ axes[2]).square().mean() > heights.square().mean() / 4
    return conformer if thick else plane.to(conformer.dtype)


def radius_of_gyration(positions: Tensor) -> Tensor:
    """Root of Σ |x_i − x̄|²/n about the mean position, ``(...)`` in Å.

    All atoms have the same weight, as in mdtraj.

    Parameters
    ----------
    positions
        ``(..., atom, 3)`` in Å.
    """
    centred = positions - center(positions)
    return centred.square().sum(-1).mean(-1).sqrt()


def bond_lengths(positions: Tensor, pairs: Tensor) -> Tensor:
    """Distances ``(..., pair)`` in Å between the atoms of ``pairs (pair, 2)``."""
    i, j = pairs.unbind(-1)
    lengths: Tensor = torch.linalg.vector_norm(positions[..., j, :] - positions[..., i, :], dim=-1)
    return lengths


def bond_angles(positions: Tensor, triples: Tensor) -> Tensor:
    """Angles ``(..., triple)`` in 0 … π at the middle atom of ``triples (triple, 3)``.

    θ = atan2(|a×b|, a·b), accurate at 0 and π where the arc cosine is not.
    """
    i, j, k = triples.unbind(-1)
    a = positions[..., i, :] - positions[..., j, :]
    b = positions[..., k, :] - positions[..., j, :]
    sine = torch.linalg.vector_norm(torch.linalg.cross(a, b), dim=-1)
    return torch.atan2(sine, (a * b).sum(-1))


def dihedrals(positions: Tensor, quadruples: Tensor) -> Tensor:
    """Torsion angles ``(..., quadruple)`` in −π … π of ``quadruples (quadruple, 4)``.

    φ = atan2(|b₂| b₁·(b₂×b₃), (b₁×b₂)·(b₂×b₃)), with the IUPAC sign: cis is 0, and positive means
    that the rear bond is rotated clockwise, looking along the middle bond. Where three consecutive
    atoms are collinear the angle is undefined; the value is then 0 or ±π, its gradient
    meaningless.
    """
    i, j, k, m = quadruples.unbind(-1)
    b1 = positions[..., j, :] - positions[..., i, :]
    b2 = positions[..., k, :] - positions[..., j, :]
    b3 = positions[..., m, :] - positions[..., k, :]
    normal1, normal2 = torch.linalg.cross(b1, b2), torch.linalg.cross(b2, b3)
    sine = torch.linalg.vector_norm(b2, dim=-1) * (b1 * normal2).sum(-1)
    return torch.atan2(sine, (normal1 * normal2).sum(-1))


def momentum(velocities: Tensor, masses: Tensor) -> Tensor:
    """Total linear momentum P = Σ m_i v_i, ``(..., 3)`` in u Å/fs."""
    return (masses.to(velocities).unsqueeze(-1) * velocities).sum(-2)


def angular_momentum(positions: Tensor, velocities: Tensor, masses: Tensor) -> Tensor:
    """Angular momentum about the centre of mass L = Σ m_i r_i × v_i, ``(..., 3)`` in u Å²/fs."""
    r = positions - center(positions, masses)
    v = velocities - center(velocities, masses)
    total: Tensor = (masses.to(positions).unsqueeze(-1) * torch.linalg.cross(r, v)).sum(-2)
    return total


def inertia_tensor(positions: Tensor, masses: Tensor) -> Tensor:
    """Inertia about the centre of mass I = Σ m_i (|r_i|² 1 − r_i r_iᵀ), ``(..., 3, 3)`` in u Å²."""
    r = positions - center(positions, masses)
    second = (masses.to(r).unsqueeze(-1) * r).mT @ r
    trace = second.diagonal(dim1=-2, dim2=-1).sum(-1)
    return trace[..., None, None] * torch.eye(3, dtype=r.dtype, device=r.device) - second


def thermal_momenta(positions: Tensor, masses: Tensor, heat: float) -> tuple[float, float]:
    """Thermal rms momentum √(3 M k_B T) and rms angular momentum √(tr(I) k_B T).

    In u Å/fs and u Å²/fs, of positions ``(..., atom, 3)``, over which tr(I) is averaged; ``heat``
    is k_B T in u Å²/fs².
    """
    trace = inertia_tensor(positions, masses).diagonal(dim1=-2, dim2=-1).sum(-1).mean()
    return math.sqrt(3 * float(masses.sum()) * heat), math.sqrt(float(trace) * heat)


def _turns(inertia: Tensor) -> tuple[Tensor, Tensor]:
    """Principal axes as columns, and inverse moments of inertia, zero for vanishing moments."""
    moments, axes = torch.linalg.eigh(inertia)
    turning = moments > STRAIGHT * moments[..., -1:]
    return axes, torch.where(turning, moments.reciprocal(), 0.0)


def without_momenta(positions: Tensor, velocities: Tensor, masses: Tensor) -> Tensor:
    """Remove the total momentum and angular momentum: v − V − ω × (r − r_c), V = P/M, ω = I⁻¹L.

    ``(..., atom, 3)``, computed in double precision and returned in that of ``velocities``. I⁻¹ is
    a pseudo-inverse: the axis of a linear molecule does not contribute.
    """
    x, v, m = positions.double(), velocities.double(), masses.double()
    v = v - (momentum(v, m) / m.sum()).unsqueeze(-2)
    axes, inverse = _turns(inertia_tensor(x, m))
    along = axes.mT @ angular_momentum(x, v, m).unsqueeze(-1)
    turn = (axes @ (inverse.unsqueeze(-1) * along)).mT
    arms = x - center(x, m)
    v = v - torch.linalg.cross(turn.expand_as(arms), arms)
    return v.to(velocities.dtype)


def free_directions(positions: Tensor, masses: Tensor) -> Tensor:
    """Degrees of freedom without the total momenta, see :func:`without_momenta`, ``(...)``.

    3N − 6; 3N − 5 for collinear atoms; 0 for a single atom.
    """
    _, inverse = _turns(inertia_tensor(positions.double(), masses.double()))
    return 3 * positions.shape[-2] - 3 - (inverse > 0).sum(-1)


def cross_matrix(vectors: Tensor) -> Tensor:
    """Matrix [v]× ``(..., 3, 3)`` of ``vectors (..., 3)``: [v]× x = v × x."""
    rows = vectors.unsqueeze(-2).expand(*vectors.shape, 3)
    matrix: Tensor = torch.linalg.cross(
        rows, torch.eye(3, dtype=rows.dtype, device=rows.device).expand_as(rows)
    ).mT
    return matrix


def vector_of(skew: Tensor) -> Tensor:
    """Vector ``(..., 3)`` of a skew matrix ``(..., 3, 3)``: the inverse of `cross_matrix`."""
    return torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1)


def rotation_matrix(vectors: Tensor) -> Tensor:
    """Rotation exp([v]×) ``(..., 3, 3)`` by the angle |v| about v, for ``vectors (..., 3)``."""
    return matrix_of(quaternion(vectors))


def quaternion(vectors: Tensor) -> Tensor:
    """Unit quaternion of :func:`rotation_matrix`, ``(..., 4)``: (cos ½θ, sin ½θ · v/θ), θ = |v|."""
    x, y, z = vectors.unbind(-1)
    angle = (x * x + y * y + z * z).clamp(min=1e-30).sqrt()
    turns = angle / (2 * torch.pi)  # sinc and cos of the same rounded argument: unit norm
    share = torch.sinc(turns) / 2
    return torch.stack([(torch.pi * turns).cos(), share * x, share * y, share * z]).movedim(0, -1)


def composed(first: Tensor, second: Tensor) -> Tensor:
    """Hamilton product of quaternions ``(..., 4)``; its matrix is the product of theirs."""
    (a, b, c, d), (w, x, y, z) = first.unbind(-1), second.unbind(-1)
    product = (
        a * w - b * x - c * y - d * z,
        a * x + b * w + c * z - d * y,
        a * y - b * z + c * w + d * x,
        a * z + b * y - c * x + d * w,
    )
    return torch.stack(product).movedim(0, -1)


def matrix_of(quaternions: Tensor) -> Tensor:
    """Rotation ``(..., 3, 3)`` of unit ``quaternions (..., 4)``."""
    w, x, y, z = quaternions.unbind(-1)
    rows = (
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack(rows, -1).unflatten(-1, (3, 3))
