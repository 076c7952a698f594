"""Rounded coordinates: their precision, and corrections of the momenta of starts."""

import numpy as np

from gfnode.thinning import chunks, evenly
from gfnode.trajectory import SHORT_GAP, Doubles, Floats, Integers
from gfnode.units import BOHR

_SIZES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_UNITS = (1.0, 10.0, BOHR)  # Å in an Å, a nm and a bohr
_LARGEST_SHARE = 0.02
_LONGEST = 100.0  # fs
_CHUNK = 100_000  # coordinates of frames taken together, in double precision


def rounded_to(positions: Floats) -> Doubles:
    """Å to which the coordinates of frames are rounded, ``(frame,)``; 0 where none is detected.

    The coarsest of the three axes: a file of six digits rounds 99.9999 and 100.000 differently.
    Rounding below single precision is not detected. For numbers in half precision (in Å, nm or
    bohr), whose spacing grows with them, it is the root mean square of the spacing.

    Parameters
    ----------
    positions
        ``(frame, atom, 3)`` in Å.
    """
    single = np.asarray(positions, dtype=np.float32)
    x, spacing = single.astype(np.float64), np.spacing(np.abs(single)).astype(np.float64)
    moved = (single != 0).any(1)
    found = np.zeros(moved.shape)
    for size in _SIZES:
        off = np.abs(x - size * np.round(x / size))
        found[((off <= 2 * spacing) & (20 * spacing < size)).all(1) & moved] = size
    coarsest: Doubles = np.maximum(found.max(1), _half(x, spacing))
    return coarsest


def coarseness(positions: Floats) -> float:
    """Median of :func:`rounded_to` over at most 50 frames, in Å; 0 where none is detected."""
    sample = positions[evenly(len(positions), 50)]
    return float(np.quantile(rounded_to(sample), 0.5, method="lower"))


def _half(x: Doubles, spacing: Doubles) -> Doubles:
    """Rms spacing of float16 numbers in Å, ``(frame,)``; 0 for frames with other numbers."""
    found = np.zeros(len(x))
    for unit in _UNITS:
        with np.errstate(over="ignore", under="ignore"):  # half precision ends at 65504
            half = (x / unit).astype(np.float16)
        held = (np.abs(x - unit * half.astype(np.float64)) <= 2 * spacing).all((1, 2))
        held &= x.any((1, 2))
        steps = unit * np.spacing(np.abs(half[held])).astype(np.float64)
        found[held] = np.sqrt(np.square(steps).mean((1, 2)))
    return found


def steadied(
    positions: Floats, times: Doubles, masses: Doubles, starts: Integers, successors: Integers
) -> Doubles | None:
    """Corrections that average the momenta of starts over a longer time, to reduce rounding errors.

    Where positions are rounded to q, the velocity over a step g has an error of q/(g √6), by which
    the whole molecule drifts away in some hundred steps. Momenta of an isolated molecule are
    conserved; their means over the frames a … b, from before the start to its successor, are::

        V = (c_b − c_a)/(t_b − t_a),   L = Σ_k Σ_i m_i r_i(t_k) × r_i(t_k+1)/(t_b − t_a)

    with c the centre of mass and r positions relative to it: twice the area that atoms sweep, exact
    for straight steps. a is the last frame from which rounding changes velocities by less than 2 %
    of their size √(Σ m v²/3 Σ m), but at most 100 fs before b. Steps of more than 2.5 fs are not
    corrected. With v the velocity of the step alone and I the inertia tensor at the start, the
    correction is::

        δV + δω × (x − c),   δV = V − V(v),   δω = I⁻¹ (L − L(v))

    Parameters
    ----------
    positions, times
        Of one trajectory with all its atoms: ``(frame, atom, 3)`` in Å and ``(frame,)`` in fs.
    masses
        ``(atom,)`` in u.
    starts, successors
        Indices of frames, ``(start,)``.

    Returns
    -------
    array or None
        δV − δω × c in Å/fs and δω in 1/fs, ``(start, 2, 3)``; None where all are zero.
    """
    parts = list(chunks(len(starts), _CHUNK, 3 * len(masses)))
    earlier = np.concatenate(
        [_earlier(positions, times, masses, starts[k], successors[k]) for k in parts]
    )
    if (earlier == starts).all():
        return None
    base = int(earlier.min())
    centre, area = _swept(positions[base : int(successors.max()) + 1], masses)

    def mean_from(first: Integers) -> Doubles:  # V and L over the frames up to the successors
        a, b, span = first - base, successors - base, times[successors] - times[first]
        swept: Doubles = np.stack([centre[b] - centre[a], area[b] - area[a]]) / span[:, None]
        return swept

    speed, spin = mean_from(earlier) - mean_from(starts)
    c = centre[starts - base]
    second = np.concatenate([_second(positions[starts[k]] - c[k, None], masses) for k in parts])
    inertia = np.trace(second, axis1=1, axis2=2)[:, None, None] * np.eye(3) - second
    turn = (np.linalg.pinv(inertia, rcond=1e-6, hermitian=True) @ spin[..., None])[..., 0]
    return np.stack([speed - np.cross(turn, c), turn], 1)


def _second(r: Doubles, masses: Doubles) -> Doubles:
    """Σ m r rᵀ of ``(frame, atom, 3)``."""
    found: Doubles = np.einsum("a,fai,faj->fij", masses, r, r)
    return found


def _earlier(
    positions: Floats, times: Doubles, masses: Doubles, starts: Integers, successors: Integers
) -> Integers:
    """First frame a over which momenta are averaged; the start where rounding is negligible."""
    now, later = positions[starts].astype(np.float64), positions[successors].astype(np.float64)
    gap = times[successors] - times[starts]
    v = (later - now) / gap[:, None, None]
    size = np.sqrt((masses[:, None] * v**2).sum((1, 2)) / (3 * masses.sum()))
    coarse = np.minimum(rounded_to(positions[starts]), rounded_to(positions[successors]))
    wait = coarse / np.sqrt(6) / (_LARGEST_SHARE * np.maximum(size, 1e-9))
    end = times[successors]
    from_there = np.searchsorted(times, end - wait, side="right") - 1
    not_before = np.searchsorted(times, end - _LONGEST)
    found = np.clip(from_there, np.minimum(not_before, starts), starts)
    # over longer steps rounding matters little, and in a solvent momenta decay
    return np.where((wait > gap) & (gap <= SHORT_GAP), found, starts)


def _swept(positions: Floats, masses: Doubles) -> tuple[Doubles, Doubles]:
    """Centres of mass, and Σ m r × r' over all steps before a frame, ``(frame, 3)`` both."""
    share = masses / masses.sum()
    parts = list(chunks(len(positions), _CHUNK, 3 * len(masses)))
    centre = np.concatenate(
        [np.einsum("a,fai->fi", share, positions[k], dtype=np.float64) for k in parts]
    )
    area = np.zeros_like(centre)
    for k in parts:
        both = slice(k.start, k.stop + 1)  # with the first frame of the next
        r = positions[both] - centre[both, None]
        steps = np.einsum("a,fai->fi", masses, np.cross(r[:-1], r[1:]))
        area[k.start + 1 : k.start + 1 + len(steps)] = area[k.start] + steps.cumsum(0)
    return centre, area
