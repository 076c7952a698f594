"""Detection of fixed atoms, which never move in a simulation."""

import torch

from gfnode.trajectory import Integers
from gfnode.windows.windows import Windows

STILL = 1e-4
"""Å; an atom counts as fixed if no coordinate changes by more."""

FEWEST = 5
"""Least number of pairs of frames for a decision."""

_AT_ONCE = 2_000_000  # coordinates


def find_fixed_atoms(windows: Windows) -> Integers:
    """Indices of fixed atoms: those at the same position in all starts' targets, ``(atom,)``.

    Empty where targets are superposed on their starts, which moves every atom, or where there are
    too few pairs of frames.
    """
    x, starts, targets = windows.frames.positions, windows.starts, windows.targets
    left = torch.arange(x.shape[1], device=x.device)
    if windows.align is not None or targets.numel() < FEWEST:
        return left[:0].numpy(force=True)
    done, size = 0, 1  # in most data no candidate remains after the first window
    while done < len(starts) and len(left):
        some = slice(done, done + size)
        begin, later = x[starts[some]][:, None, left], x[targets[some][..., None], left]
        left = left[((later - begin).abs() <= STILL).all(-1).flatten(0, 1).all(0)]
        done, size = done + size, max(1, _AT_ONCE // (3 * targets.shape[1] * max(1, len(left))))
    return left.numpy(force=True)
