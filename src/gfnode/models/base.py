"""The one interface of every model, and the symmetries a model may promise."""

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from gfnode.errors import InputError
from gfnode.molecule.system import System
from gfnode.progress import Report, silent

if TYPE_CHECKING:
    from gfnode.windows import Batch, Windows


class Symmetry(StrEnum):
    """An equivariance or invariance that a model promises; tests check every promise."""

    TRANSLATION = "translation"  # translating the start translates the prediction
    ROTATION = "rotation"  # rotating the start (positions and velocities) rotates the prediction
    REFLECTION = "reflection"  # reflecting the start reflects the prediction
    PERMUTATION = "permutation"  # permuting the atoms permutes the prediction
    BATCH = "batch"  # a prediction does not depend on the rest of its batch
    LAGS = "lags"  # the prediction at a lag does not depend on the other lags asked for
    START = "start"  # as the lag goes to zero the prediction goes to the start


EUCLIDEAN = frozenset(
    {Symmetry.TRANSLATION, Symmetry.ROTATION, Symmetry.REFLECTION, Symmetry.PERMUTATION}
)
ALONE = frozenset({Symmetry.BATCH, Symmetry.LAGS})


class Model(nn.Module):
    """Predicts conformations at any later times from one start.

    A model is built for one :class:`~gfnode.molecule.system.System` and sees only its state atoms.

    Attributes
    ----------
    promises
        The symmetries this model keeps.
    loss_unit
        Unit of the training loss.
    piece
        Elements in the largest array of a prediction on a CPU, see :meth:`at_once`.
    """

    promises: ClassVar[frozenset[Symmetry]]
    loss_unit: ClassVar[str] = "Å²"
    piece: ClassVar[int] = 5_000_000

    scored: Tensor
    fixed: Tensor

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system
        self.register_buffer("scored", torch.as_tensor(system.score), persistent=False)
        fixed = torch.zeros(system.n_atoms, dtype=torch.bool)
        fixed[torch.as_tensor(system.held)] = True
        self.register_buffer("fixed", fixed, persistent=False)

    @property
    def n_weights(self) -> int:
        """Number of trainable parameters; a model without any is not trained."""
        return sum(each.numel() for each in self.parameters())

    @property
    def comes_fitted(self) -> bool:
        """Whether :meth:`prepare` makes it a model worth keeping, before any training."""
        return False

    @property
    def long_fit(self) -> str:
        """What :meth:`prepare` does where it calls ``report``, in words."""
        return "fitting the model"

    @property
    def found(self) -> str:
        """Message for the user about what :meth:`prepare` fitted; empty if there is none."""
        return ""

    @property
    def doubt(self) -> str:
        """Warning about a part that :meth:`prepare` failed to fit usefully; empty if none."""
        return ""

    @property
    def kept(self) -> frozenset[Symmetry]:
        """The symmetries of this instance: the promises, minus those that its options break."""
        return self.promises

    def prepare(self, windows: "Windows", report: Report = silent) -> None:
        """Fit statistics (a mean conformer, say) on the training windows; nothing by default.

        Long fits call ``report`` with their progress.
        """

    def physical_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters with a physical meaning, which have a learning rate of their own.

        A module lists the names of its own in a tuple, its attribute ``physical``.
        """
        for module in self.modules():
            for name in getattr(module, "physical", ()):
                yield getattr(module, name)

    def rows(self, times: int) -> int:
        """Rows of the edge feature array for one start with ``times`` lags."""
        return max(len(self.system.edges), self.system.n_atoms) * times

    @property
    def widest(self) -> int:
        """Largest number of features in a row."""
        return 96

    def at_once(self, times: int) -> int:
        """Batch size, in starts of ``times`` lags each, for prediction without gradients.

        At most 250. On a CPU, batches that exceed the cache are slower where layers work on whole
        arrays, and small ones take more operations (docs/performance.md).
        """
        most = self.piece if self.scored.device.type == "cpu" else 100_000_000
        return max(1, min(250, most // (self.widest * self.rows(times))))

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Predict the positions of the state atoms.

        Parameters
        ----------
        positions, velocities
            The start, ``(batch, atom, 3)`` in Å and Å/fs.
        lags
            ``(batch, time)`` in fs.

        Returns
        -------
        Tensor
            ``(batch, time, atom, 3)`` in Å.
        """
        raise NotImplementedError

    def with_spread(
        self, positions: Tensor, velocities: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Predict, with the standard deviation over the ensemble behind the prediction.

        Parameters
        ----------
        positions, velocities, lags
            As of :meth:`forward`.

        Returns
        -------
        Tensor, Tensor or None
            Positions as of :meth:`forward`; standard deviation of a coordinate over the ensemble,
            ``(batch, time, atom)`` in Å, or None for a model without an ensemble.
        """
        return self(positions, velocities, lags), None

    @property
    def follows(self) -> bool:
        """Whether :meth:`trajectories` is available."""
        return False

    def trajectories(
        self,
        positions: Tensor,
        velocities: Tensor,
        lags: Tensor,
        generator: torch.Generator,
        *,
        exact: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Draw one trajectory of the model's ensemble for each start.

        Positions at all lags of a start belong to one trajectory. Starts that are equal get
        independent trajectories.

        Parameters
        ----------
        positions, velocities, lags
            As of :meth:`forward`.
        generator
            On the device of the positions.
        exact
            The given velocities are instantaneous, as those this method returns; otherwise they
            are defined as in training, where they may be finite differences of frames.

        Returns
        -------
        Tensor, Tensor
            Positions and velocities, ``(batch, time, atom, 3)`` in Å and Å/fs; NaN where a
            trajectory leaves the region where the model is valid.
        """
        raise NotImplementedError

    def loss(self, batch: "Batch", generator: torch.Generator) -> Tensor:
        """Training loss: the mean squared error of the scored atoms, unless overridden.

        Parameters
        ----------
        batch
            Windows.
        generator
            Source of all random numbers, so that a run is reproducible.

        Returns
        -------
        Tensor
            Scalar, in `loss_unit`; here Å² per coordinate.
        """
        predicted = self(batch.positions, batch.velocities, batch.lags)
        return (predicted - batch.targets)[..., self.scored, :].square().mean()

    def estimate(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Prediction for validation in training: :meth:`forward`, or a cheaper approximation."""
        found: Tensor = self(positions, velocities, lags)
        return found

    def estimate_effort(self, times: int) -> float:
        """Cost of :meth:`estimate` for a start with ``times`` lags, in forward passes of a loss."""
        return 1.0

    def restore_fixed_atoms(self, positions: Tensor, found: Tensor) -> Tensor:
        """Reset fixed atoms (those that never move in training) to their positions at the start.

        Parameters
        ----------
        positions
            Of the starts, ``(batch, atom, 3)`` in Å.
        found
            Positions at later times, ``(batch, ..., atom, 3)`` in Å.
        """
        if not len(self.system.held):
            return found
        middle = (1,) * (found.dim() - positions.dim())
        start = positions.reshape(len(positions), *middle, *positions.shape[1:])
        return torch.where(self.fixed[:, None], start.to(found), found)


def check_prediction(found: object, positions: Tensor, lags: Tensor) -> Tensor:
    """Return a prediction, after checking that its shape is that of these starts and lags.

    Raises
    ------
    InputError
        For another type or shape, which broadcasting could otherwise hide.
    """
    expected = (*lags.shape, *positions.shape[1:])
    if isinstance(found, Tensor) and found.shape == expected:
        return found
    got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    raise InputError(
        f"the model predicted {got} for positions {tuple(positions.shape)} and lags "
        f"{tuple(lags.shape)}: expected a tensor (batch, time, atom, 3) of {expected}"
    )


def check_loss(found: object) -> Tensor:
    """Return a training loss, after checking that it is one number with a gradient.

    Raises
    ------
    InputError
        For anything else.
    """
    got = type(found).__name__
    if isinstance(found, Tensor):
        if found.numel() == 1 and found.requires_grad:
            return found
        got = f"{tuple(found.shape)} {'with' if found.requires_grad else 'without'} a gradient"
    raise InputError(
        f"the loss of the model is {got}: expected a tensor of one number, computed from weights"
    )


class Generative(Model):
    """A model of the distribution of later conformations, not only of their mean."""

    def sample(
        self,
        positions: Tensor,
        velocities: Tensor,
        lags: Tensor,
        count: int,
        generator: torch.Generator,
        *,
        solver: str,
        steps: int,
    ) -> Tensor:
        """Draw conformations, each lag on its own: samples of two lags form no trajectory.

        Parameters
        ----------
        positions, velocities, lags
            As of :meth:`forward`.
        count
            Samples for every start and lag.
        generator
            On the device of the positions.
        solver, steps
            Sampler and its number of steps; see :mod:`gfnode.models.diffusion`.

        Returns
        -------
        Tensor
            ``(batch, time, sample, atom, 3)`` in Å.
        """
        raise NotImplementedError
