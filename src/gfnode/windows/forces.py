"""Forces on training frames: those that the file stores, else those that its motion shows."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gfnode.thinning import evenly
from gfnode.windows.rounding import rounded_to
from gfnode.windows.windows import Windows

LONGEST = 1.0
"""Frames at most so many fs apart show forces: a bond to hydrogen swings in 11 fs."""

NOISE = 0.2
"""Forces that rounded positions make so many times as large as what they hide are not taken."""

RIGID = 5e-4
"""A bond whose length varies by less than this share is held, by forces that are no potential's."""

_LEAP = 5.0  # so many times the usual force
_EVEN = 1e-3  # of a gap


class Forces(NamedTuple):
    """Forces on some frames."""

    frames: Tensor  # (sample,) their numbers, ascending
    values: Tensor  # (sample, atom, 3) u Å/fs²
    unknown: Tensor | None  # (sample, atom, 3) a direction in which they are not known; None: none


def find_forces(windows: Windows, bonds: Tensor, most: int) -> Forces | None:
    """Forces on frames that may be learned from, or None where nothing tells them.

    Stored ones are taken as they are. Else, from three frames in a row a short time h apart::

        F = m (x(t + h) − 2 x(t) + x(t − h))/h²

    which for a simulation by Verlet's scheme in steps of h is no approximation. A thermostat that
    scales all velocities alike adds to it −ξ m v, of a friction ξ that nobody knows: in that one
    direction, m v with v = (x(t + h) − x(t − h))/2h, these forces are not known.

    Parameters
    ----------
    windows
        Training windows over all atoms.
    bonds
        ``(bond, 2)``; where some have a fixed length there is no motion to tell forces from, and
        stored forces are not those of the motion.
    most
        So many frames at most, evenly chosen.
    """
    seen, frames = windows.seen, windows.frames
    if frames.forces is not None:
        chosen = seen[torch.from_numpy(evenly(len(seen), most)).to(seen.device)]
        if _rigid(frames.positions[chosen], bonds):  # programs leave out what holds the lengths
            return None
        return Forces(chosen, frames.forces[chosen], None)
    if frames.masses is None or windows.shown is None:  # published windows stand alone
        return None
    chosen = _in_a_row(windows)
    if not len(chosen):
        return None
    chosen = chosen[torch.from_numpy(evenly(len(chosen), most)).to(chosen.device)]
    step = frames.times[chosen + 1] - frames.times[chosen]
    before, now, after = (frames.positions[chosen + k].double() for k in (-1, 0, 1))
    h, m = step[:, None, None], frames.masses.double()
    values = m * (after - 2 * now + before) / h**2
    usual = values.square().mean((1, 2)).sqrt()
    size = float(usual.median())
    # a sum of rounding errors q/√12 with weights 1, −2 and 1
    x = now.float().cpu().numpy()
    coarse = max(float(np.median(rounded_to(x))), float(np.spacing(np.abs(x).max())))
    noise = coarse / (2**0.5 * float(step.median()) ** 2) * float(m.square().mean().sqrt())
    if noise > NOISE * size or _rigid(now, bonds):
        return None
    sound = usual < _LEAP * size
    along = m * (after - before) / (2 * h)
    return Forces(chosen[sound], values[sound].float(), along[sound].float())


def _in_a_row(windows: Windows) -> Tensor:
    """Frames between two others that may be learned from too, each a short time away."""
    seen, frames = windows.seen, windows.frames
    segments = torch.from_numpy(frames.segments).to(seen.device)
    before, now, after = seen[:-2], seen[1:-1], seen[2:]
    first, second = (frames.times[b] - frames.times[a] for a, b in ((before, now), (now, after)))
    good = (after - before == 2) & (segments[before] == segments[after])
    good &= (second - first).abs() <= _EVEN * first
    return now[good & (first <= LONGEST * (1 + _EVEN))]


def _rigid(positions: Tensor, bonds: Tensor) -> bool:
    """Whether a bond hardly changes its length."""
    lengths = (positions[:, bonds[:, 0]] - positions[:, bonds[:, 1]]).norm(dim=-1)
    return len(bonds) > 0 and bool((lengths.std(0) < RIGID * lengths.mean(0)).any())
