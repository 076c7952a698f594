"""Jumps: implausible displacements of atoms in one interval, or broken bonds."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gfnode.molecule.periodic import bond_lengths, minimum_image
from gfnode.trajectory import Doubles, Integers
from gfnode.trajectory.series import Series, rms
from gfnode.units import BOLTZMANN

FAR = 3.0
"""A jump exceeds this multiple of the 99 % quantile of an atom's displacements…"""

HOT = 1000.0
"""… and the displacement at three times the thermal speed at this temperature, K."""

MEMORY = 100.0
"""fs; displacements are ballistic for shorter times, and grow as the square root for longer."""

STRETCH = (0.5, 1.6)
"""A bond is broken in a frame outside of these multiples of its median length."""

_SAMPLE = 2_000_000  # numbers from which typical displacements and lengths are computed


@dataclass(frozen=True)
class Jump:
    """A jump of atoms between two frames.

    Parameters
    ----------
    frame
        The frame after the jump.
    kind
        ``spike``: a single outlier frame; ``cut``: more than half of the atoms jump, as where
        pieces were joined; ``atoms``: some jump; ``bond``: the frame breaks a bond.
    atom
        The one that exceeds its limit most.
    distance
        Its displacement, Å (for ``bond``: length of the bond).
    expected
        The limit of its displacement, Å (for ``bond``: its median length).
    atoms
        Number of atoms that jump.
    """

    file: int
    frame: int
    kind: Literal["spike", "cut", "atoms", "bond"]
    atom: int
    distance: float
    expected: float
    atoms: int


def find_jumps(series: Series, bonds: Integers) -> tuple[list[Jump], int]:
    """Frames in which an atom jumps, or a bond is broken.

    Returns
    -------
    list, int
        One jump for each such frame; and the number of displacements across the periodic cell,
        which are not counted as jumps.
    """
    usual = _usual_reach(series)
    lengths = _usual_lengths(series, bonds)
    found: dict[tuple[int, int], Jump] = {}
    wrapped = 0
    for begin, end in series.pieces(series.first.n_atoms):
        frames = np.arange(begin, end)
        x = series.positions(frames)
        step = np.diff(x, axis=0)
        short = minimum_image(step, series.cells(frames[:-1]))
        move = np.linalg.norm(short, axis=-1).astype(np.float64)
        wrapped += int((short != step).any(-1).sum())
        limit = np.maximum(usual, _reach(series, np.diff(series.times[frames])))
        jumps = _leaps(series, begin, x, move, limit)
        jumps += _broken(series, frames, x, bonds, lengths) if len(bonds) else []
        for jump in jumps:
            found.setdefault((jump.file, jump.frame), jump)
    return [found[key] for key in sorted(found)], wrapped


def _leaps(
    series: Series, begin: int, x: NDArray[np.float32], move: Doubles, limit: Doubles
) -> list[Jump]:
    """Jumps in intervals where displacements exceed the limit, both ``(interval, atom)``."""
    far = move > limit
    leaps = set(np.flatnonzero(far.any(1)).tolist())
    found = []
    while leaps:
        k = min(leaps)
        kind: Literal["spike", "cut", "atoms"] = "cut" if far[k].mean() > 0.5 else "atoms"
        back = k + 1 in leaps and rms(x[k + 2] - x[k]) < 0.5 * rms(x[k + 1] - x[k])
        leaps -= {k, k + 1} if back else {k}
        file, frame = series.place(begin + k + 1)
        atom = int((move[k] / limit[k]).argmax())
        expected = float(limit[k, atom])
        how_far, count = float(move[k, atom]), int(far[k].sum())
        found.append(Jump(file, frame, "spike" if back else kind, atom, how_far, expected, count))
    return found


def _usual_reach(series: Series) -> Doubles:
    """Three times the 99 % quantile of each atom's displacements, ``(atom,)`` in Å; 0: unknown."""
    atoms = series.first.n_atoms
    starts = series.successive(most=max(20, min(2000, _SAMPLE // atoms)))
    if len(starts) < 5:
        return np.zeros(atoms)
    both = np.stack([starts, starts + 1], 1).ravel()
    x = series.positions(both).reshape(len(starts), 2, atoms, 3)
    move = np.linalg.norm(minimum_image(x[:, 1] - x[:, 0], series.cells(starts)), axis=-1)
    # 99 % of thermal displacements are below 2.19 medians, the better estimate from few intervals
    high = np.quantile(move, 0.99, axis=0) if len(starts) >= 300 else 2.19 * np.median(move, 0)
    return np.asarray(FAR * high, dtype=np.float64)


def _reach(series: Series, gaps: Doubles) -> Doubles:
    """Largest plausible displacement in each interval, ``(interval, atom)`` in Å.

    Three thermal speeds at `HOT` times min(t, √(t · `MEMORY`)).
    """
    speed = 3 * np.sqrt(3 * BOLTZMANN * HOT / series.first.masses)
    return np.asarray(np.minimum(gaps, np.sqrt(gaps * MEMORY))[:, None] * speed)


def _usual_lengths(series: Series, bonds: Integers) -> Doubles:
    """Median length of each bond in Å, by the minimum image convention."""
    if not len(bonds):
        return np.empty(0)
    frames = series.evenly(max(5, min(101, _SAMPLE // len(bonds))))
    lengths = bond_lengths(series.positions(frames), bonds, series.cells(frames))
    return np.asarray(np.median(lengths, axis=0))


def _broken(
    series: Series, frames: Integers, x: NDArray[np.float32], bonds: Integers, usual: Doubles
) -> list[Jump]:
    """Jumps of kind ``bond``: frames with broken bonds."""
    length = bond_lengths(x, bonds, series.cells(frames))
    ratio = np.divide(length, usual, out=np.ones_like(length), where=usual > 0)  # 0: of one place
    off = (ratio < STRETCH[0]) | (ratio > STRETCH[1])
    found = []
    for k in np.flatnonzero(off.any(1)).tolist():
        file, frame = series.place(int(frames[k]))
        bond = int(np.abs(np.log(np.maximum(ratio[k], 1e-9))).argmax())
        found.append(
            Jump(
                file,
                frame,
                "bond",
                int(bonds[bond, 1]),
                float(length[k, bond]),
                float(usual[bond]),
                len(np.unique(bonds[off[k]])),
            )
        )
    return found
