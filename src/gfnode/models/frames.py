"""Reference frames: rigid motion that is removed before the transform and restored after it.

A frame splits a start into a placement and two channels an atom, (position, velocity), that are
propagated in the modes; and reassembles the molecule at every lag.
"""

from typing import Any

import torch
from torch import Tensor, nn

from gfnode.geometry import center
from gfnode.windows import Windows


class Frame(nn.Module):
    """Removes the placement of a molecule, and restores it at every lag.

    Attributes
    ----------
    invariants
        Number of invariants that the frame adds to the scalars of an atom.
    """

    invariants = 0

    def prepare(self, windows: Windows) -> None:
        """Fit to the training windows; nothing by default."""

    def place(self, positions: Tensor, velocities: Tensor) -> Any:
        """Find the placement of starts ``(batch, atom, 3)``, in Å and Å/fs."""
        raise NotImplementedError

    def scalars(self, placement: Any) -> Tensor | None:
        """Invariants for the atoms' scalars, ``(batch, atom, invariants)``; none by default."""

    def channels(self, placement: Any, x: Tensor, v: Tensor) -> Tensor:
        """Channels to propagate in the modes, ``(batch, atom, 3, 2)``.

        From encoded positions and velocities, ``(batch, atom, 3)``.
        """
        raise NotImplementedError

    def restore(
        self, placement: Any, channels: Tensor, h: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Positions and velocities at the lags, ``(batch, time, atom, 3)`` each."""
        raise NotImplementedError

    def correct(self, x: Tensor, decoded: Tensor, lags: Tensor) -> Tensor:
        """Combine positions before and after the decoder; by default, return the decoder's."""
        return decoded


class Centred(Frame):
    """The paper's frame: the mean position of the start is subtracted, and added back."""

    def place(self, positions: Tensor, velocities: Tensor) -> Tensor:
        """Mean position of the start, ``(batch, 1, 3)``."""
        return center(positions)

    def channels(self, placement: Tensor, x: Tensor, v: Tensor) -> Tensor:
        """Position and velocity, ``(batch, atom, 3, 2)``."""
        return torch.stack([x - placement, v], -1)

    def restore(
        self, placement: Tensor, channels: Tensor, h: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Positions and velocities at the lags, ``(batch, time, atom, 3)`` each."""
        x, v = channels.unbind(-1)
        return x + placement[:, None], v
