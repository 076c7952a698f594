"""The mean conformer of a molecule, superposed on its conformations."""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn

from gfnode.geometry import center, flattened, kabsch_rotation, mean_conformer


class Conformer(nn.Module):
    """Mean conformer c of the training frames, and the weights with which it is superposed.

    Its centre of mass is put on that of a conformation, so that displacements from it never move
    the molecule as a whole; or its centre of the atoms on which targets are superposed, if they
    are, which stays where it is. The weights are those of the rotation. Improper rotations are
    allowed, so that reflections are kept.

    Parameters
    ----------
    masses
        In u, ``(atom,)``.
    score
        Numbers of the scored atoms.
    """

    positions: Tensor
    weights: Tensor
    centring: Tensor
    masses: Tensor
    score: Tensor

    def __init__(self, masses: Tensor, score: Tensor) -> None:
        super().__init__()
        self.register_buffer("masses", masses, persistent=False)
        self.register_buffer("score", score, persistent=False)
        self.register_buffer("positions", torch.zeros(len(masses), 3))  # Å
        self.register_buffer("weights", masses.clone())
        self.register_buffer("centring", masses.clone())  # weights of the centre

    @torch.no_grad()
    def fit(
        self, conformations: Tensor, error: Callable[[], float], align: Tensor | None = None
    ) -> None:
        """Choose the mean and the weights of least error.

        Weights are the masses, or equal for the scored atoms; the mean is taken over conformations
        or, which suits a molecule that visits both enantiomers, over their reflections too.

        Parameters
        ----------
        conformations
            ``(frame, atom, 3)`` in Å.
        error
            Error of the model with the present positions and weights.
        align
            Numbers of the atoms on which targets are superposed; None: they are not.
        """
        centring = self.masses
        if align is not None:
            centring = torch.zeros_like(self.masses).index_fill(0, align, 1.0)
        self.centring.copy_(centring)
        # not quite zero for the others: where the scored atoms are coplanar, the others
        # distinguish the conformer from its mirror image
        scored = torch.full_like(self.masses, 0.01).index_fill(0, self.score, 1.0)
        least = torch.inf
        for weights, reflect in product((scored, self.masses), (False, True)):
            # with reflections, a planar molecule would buckle: without them where they gain little
            before = self.weights.clone(), self.positions.clone()
            self.weights.copy_(weights)
            self.positions.copy_(mean_conformer(conformations, weights, reflect=reflect))
            if (now := error()) < 0.98 * least:
                least = now
            else:
                self.weights.copy_(before[0])
                self.positions.copy_(before[1])
        self.positions.copy_(flattened(self.positions, conformations, self.weights))

    @property
    def planar(self) -> bool:
        """Whether it lies in the plane z = 0, so that its two faces are equivalent."""
        return not bool(self.positions[:, 2].any())

    def orientation(self, x: Tensor) -> Tensor:
        """Optimal (possibly improper) rotation R onto conformations, ``(..., 3, 3)``.

        For a planar conformer it is unique only up to the reflection through its plane.
        """
        return kabsch_rotation(self.positions, x, self.weights, reflect=True).to(x.dtype)

    def placed(self, x: Tensor, rotation: Tensor) -> Tensor:
        """The conformer, rotated and moved onto conformations ``(..., atom, 3)``."""
        own = self.positions - center(self.positions, self.centring)
        return own @ rotation.mT + center(x, self.centring)

    def superposed(self, x: Tensor) -> Tensor:
        """Conformations ``(..., atom, 3)``, rotated and moved onto the conformer."""
        own = (x - center(x, self.centring)) @ self.orientation(x)
        return own + center(self.positions, self.centring)
