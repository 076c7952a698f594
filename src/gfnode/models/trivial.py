"""Baselines without trained weights, which every model is compared with."""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from gfnode.dynamics.rigid import free_rotation
from gfnode.errors import InputError
from gfnode.geometry import angular_momentum, center, inertia_tensor, mean_conformer, superpose
from gfnode.models.base import ALONE, EUCLIDEAN, Model, Symmetry
from gfnode.molecule.system import System
from gfnode.progress import Report, silent

if TYPE_CHECKING:
    from gfnode.windows import Windows


class Persistence(Model):
    """Nothing moves: x(t) = x(0)."""

    promises: ClassVar[frozenset[Symmetry]] = EUCLIDEAN | ALONE | {Symmetry.START}

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Predict; see :meth:`Model.forward`."""
        return positions.unsqueeze(1).repeat(1, lags.shape[1], 1, 1)


class ConstantVelocity(Model):
    """Every atom keeps its velocity: x(t) = x(0) + v(0) t."""

    promises: ClassVar[frozenset[Symmetry]] = EUCLIDEAN | ALONE | {Symmetry.START}

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Predict; see :meth:`Model.forward`."""
        return positions.unsqueeze(1) + lags[..., None, None] * velocities.unsqueeze(1)


class MeanConformer(Model):
    """The mean training conformation, superposed on the start: the same at every lag.

    Mean and superposition weight the scored atoms equally and the others not at all. The
    superposition is a proper rotation, so a reflected start does not get a reflected conformer.
    """

    promises: ClassVar[frozenset[Symmetry]] = (EUCLIDEAN | ALONE) - {Symmetry.REFLECTION}

    conformer: Tensor
    weights: Tensor

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self.register_buffer("conformer", torch.full((system.n_atoms, 3), torch.nan))
        weights = torch.zeros(system.n_atoms)
        weights[torch.as_tensor(system.score)] = 1.0
        self.register_buffer("weights", weights, persistent=False)

    def prepare(self, windows: "Windows", report: Report = silent) -> None:
        """Compute the mean (generalised Procrustes) of the conformations at training starts."""
        mean = mean_conformer(windows.conformations(), self.weights.to(windows.device))
        self.conformer.copy_(mean)

    def place(self, positions: Tensor) -> Tensor:
        """Superpose the conformer on the starts ``(batch, atom, 3)``.

        Raises
        ------
        InputError
            Before `prepare`.
        """
        if bool(self.conformer.isnan().any()):
            raise InputError(
                "the mean conformer is unknown: call prepare(windows) with training windows, or "
                "load a saved model"
            )
        return superpose(self.conformer.expand_as(positions), positions, self.weights)

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Predict; see :meth:`Model.forward`."""
        return self.place(positions).unsqueeze(1).repeat(1, lags.shape[1], 1, 1)


class RigidRotor(MeanConformer):
    """The mean conformer as a rigid body with the momenta of the start.

    The centre of mass moves with the total momentum; the body turns with the total angular momentum
    of the state atoms by the equations of a free asymmetric top (:func:`free_rotation`), its
    inertia being that of the start.
    """

    masses: Tensor

    def __init__(self, system: System) -> None:
        super().__init__(system)
        masses = torch.from_numpy(system.masses)
        self.register_buffer("masses", masses.float(), persistent=False)

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Predict; see :meth:`Model.forward`."""
        carried = self.place(positions)
        x, v, times = positions.double(), velocities.double(), lags.double()
        rotation = free_rotation(
            angular_momentum(x, v, self.masses), inertia_tensor(x, self.masses), times
        ).to(x.device)
        middle, drift = center(x, self.masses), center(v, self.masses)
        turned = (carried.double() - middle).unsqueeze(1) @ rotation.mT
        moved = turned + middle.unsqueeze(1) + times[..., None, None] * drift.unsqueeze(1)
        return moved.to(positions.dtype)
