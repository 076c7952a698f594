"""Forces on training frames: stored ones, else second differences of positions."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gfnode.thinning import evenly
from gfnode.windows.rounding import rounded_to
from gfnode.windows.windows import Windows

LONGEST = 1.0
"""Largest spacing of frames in fs for second differences: an X–H bond vibrates in 11 fs."""

NOISE = 0.2
"""Largest ratio of the error of forces from rounding of positions to their size."""

RIGID = 5e-4
"""Relative standard deviation of a bond length below which the bond counts as constrained."""

_LEAP = 5.0  # frames with rms forces above this multiple of the median are left out
_EVEN = 1e-3  # relative tolerance of equal gaps


class Forces(NamedTuple):
    """Forces on some frames."""

    frames: Tensor  # (sample,) indices, ascending
    values: Tensor  # (sample, atom, 3) u Å/fs²
    unknown: Tensor | None  # (sample, atom, 3) direction along which they are unknown; None: none


def find_forces(windows: Windows, bonds: Tensor, most: int) -> Forces | None:
    """Forces on training frames, or None where they cannot be determined.

    Stored forces are returned as they are. Else, from three consecutive frames a short time h
    apart::

        F = m (x(t + h) − 2 x(t) + x(t − h))/h²

    which is exact for a simulation by Verlet's scheme in steps of h. A global thermostat adds
    −ξ m v with an unknown friction ξ: along that direction, m v with
    v = (x(t + h) − x(t − h))/2h, these forces are not known.

    Parameters
    ----------
    windows
        Training windows over all atoms.
    bonds
        ``(bond, 2)``; None is returned where some are constrained: neither motion nor stored
        forces, which lack the constraint forces, then give those of the potential.
    most
        Largest number of frames, evenly spaced.
    """
    seen, frames = windows.seen, windows.frames
    if frames.forces is not None:
        chosen = seen[torch.from_numpy(evenly(len(seen), most)).to(seen.device)]
        if _rigid(frames.positions[chosen], bonds):  # programs do not store constraint forces
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
    """Training frames whose neighbours are training frames, too, at equal and short gaps."""
    seen, frames = windows.seen, windows.frames
    segments = torch.from_numpy(frames.segments).to(seen.device)
    before, now, after = seen[:-2], seen[1:-1], seen[2:]
    first, second = (frames.times[b] - frames.times[a] for a, b in ((before, now), (now, after)))
    good = (after - before == 2) & (segments[before] == segments[after])
    good &= (second - first).abs() <= _EVEN * first
    return now[good & (first <= LONGEST * (1 + _EVEN))]


def _rigid(positions: Tensor, bonds: Tensor) -> bool:
    """Whether some bond is constrained, see `RIGID`."""
    if not len(bonds) or len(positions) < 2:  # one frame does not tell
        return False
    lengths = (positions[:, bonds[:, 0]] - positions[:, bonds[:, 1]]).norm(dim=-1)
    return bool((lengths.std(0) < RIGID * lengths.mean(0)).any())
