"""Atoms that never move: those that a simulation held where they were."""

import torch

from gfnode.trajectory import Integers
from gfnode.windows.windows import Windows

STILL = 1e-4
"""Å; who never goes further does not move."""

FEWEST = 5
"""Pairs of frames, at least, that tell."""

_AT_ONCE = 2_000_000  # coordinates


def never_move(windows: Windows) -> Integers:
    """Atoms that are where the start has them in every frame that windows ask for, ``(atom,)``.

    None where targets are superposed on their starts, which moves all of them, or where there are
    too few frames to tell.
    """
    x, starts, targets = windows.frames.positions, windows.starts, windows.targets
    left = torch.arange(x.shape[1], device=x.device)
    if windows.align is not None or targets.numel() < FEWEST:
        return left[:0].numpy(force=True)
    done, size = 0, 1  # nearly always no atom is left after the first window
    while done < len(starts) and len(left):
        some = slice(done, done + size)
        begin, later = x[starts[some]][:, None, left], x[targets[some][..., None], left]
        left = left[((later - begin).abs() <= STILL).all(-1).flatten(0, 1).all(0)]
        done, size = done + size, max(1, _AT_ONCE // (3 * targets.shape[1] * max(1, len(left))))
    return left.numpy(force=True)
