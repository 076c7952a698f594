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
    """A property that a model promises; one test suite checks every promise made."""

    TRANSLATION = "translation"  # moving the start moves the prediction
    ROTATION = "rotation"  # turning the start (positions and velocities) turns the prediction
    REFLECTION = "reflection"  # mirroring the start mirrors the prediction
    PERMUTATION = "permutation"  # renumbering the atoms renumbers the prediction
    BATCH = "batch"  # a sample's prediction does not depend on its batch
    LAGS = "lags"  # a lag's prediction does not depend on the other lags asked for
    START = "start"  # as the lag goes to zero the start comes back


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
        Of the training loss.
    piece
        Numbers in the largest array of a prediction on a processor, see :meth:`at_once`.
    """

    promises: ClassVar[frozenset[Symmetry]]
    loss_unit: ClassVar[str] = "Å²"
    piece: ClassVar[int] = 5_000_000

    scored: Tensor

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system
        self.register_buffer("scored", torch.as_tensor(system.score), persistent=False)

    @property
    def n_weights(self) -> int:
        """Numbers that training changes; a model without any is not trained."""
        return sum(each.numel() for each in self.parameters())

    @property
    def comes_fitted(self) -> bool:
        """Whether :meth:`prepare` makes it a model worth keeping, before any training."""
        return False

    @property
    def found(self) -> str:
        """What :meth:`prepare` found, in words, where a user should know; else nothing."""
        return ""

    @property
    def doubt(self) -> str:
        """What of it :meth:`prepare` fitted in vain, in words; else nothing."""
        return ""

    @property
    def kept(self) -> frozenset[Symmetry]:
        """The symmetries of this instance: the promises, less what its options break."""
        return self.promises

    def prepare(self, windows: "Windows", report: Report = silent) -> None:
        """Fit statistics (a mean conformer, say) on the training windows; nothing by default.

        What takes long tells ``report`` how far it is.
        """

    def physical_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters with a physical meaning: they learn at a rate of their own.

        A module says which of its parameters are by an attribute ``physical``, a tuple of names.
        """
        for module in self.modules():
            for name in getattr(module, "physical", ()):
                yield getattr(module, name)

    def rows(self, times: int) -> int:
        """Rows of edge features that one start of ``times`` lags takes."""
        return max(len(self.system.edges), self.system.n_atoms) * times

    @property
    def widest(self) -> int:
        """Features of a row, at most."""
        return 96

    def at_once(self, times: int) -> int:
        """How many starts of ``times`` lags to predict at once, without a gradient.

        At most 250. On a processor large pieces are slower where layers work on whole arrays, and
        small ones take more operations (docs/performance.md).
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
        """Predict, and say how far the outcomes are apart that the model holds possible.

        Parameters
        ----------
        positions, velocities, lags
            As of :meth:`forward`.

        Returns
        -------
        Tensor, Tensor or None
            Positions as of :meth:`forward`; standard deviation of a coordinate over the outcomes,
            ``(batch, time, atom)`` in Å, or None of a model that knows a single outcome.
        """
        return self(positions, velocities, lags), None

    @property
    def follows(self) -> bool:
        """Whether :meth:`trajectories` can be drawn."""
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
        """Draw one of the motions that the model holds possible, of each start.

        Positions at all lags of a start are of one motion. A start that is given twice moves twice.

        Parameters
        ----------
        positions, velocities, lags
            As of :meth:`forward`.
        generator
            On the device of the positions.
        exact
            Velocities are those of the moment, as this method gives them; else what they were in
            training, which may be differences of frames.

        Returns
        -------
        Tensor, Tensor
            Positions and velocities, ``(batch, time, atom, 3)`` in Å and Å/fs; NaN where a motion
            leaves what the model knows.
        """
        raise NotImplementedError

    def loss(self, batch: "Batch", generator: torch.Generator) -> Tensor:
        """What training makes small: the mean squared error of the scored atoms, unless overridden.

        Parameters
        ----------
        batch
            Windows.
        generator
            Whatever is random is drawn from it, so that a run can be repeated.

        Returns
        -------
        Tensor
            Without axes, in `loss_unit`; here Å² per coordinate.
        """
        predicted = self(batch.positions, batch.velocities, batch.lags)
        return (predicted - batch.targets)[..., self.scored, :].square().mean()

    def estimate(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Predict as training validates it: :meth:`forward`, or something cheaper and close."""
        found: Tensor = self(positions, velocities, lags)
        return found


def held(system: System, positions: Tensor, found: Tensor) -> Tensor:
    """Put atoms that never move in training back to where they start; nothing else changes.

    Parameters
    ----------
    system
        Names them.
    positions
        Of the starts, ``(batch, atom, 3)`` in Å.
    found
        Positions at later times, ``(batch, ..., atom, 3)`` in Å.
    """
    if not len(system.held):
        return found
    still = torch.zeros(system.n_atoms, 1, dtype=torch.bool, device=found.device)
    still[torch.as_tensor(system.held, device=found.device)] = True
    middle = (1,) * (found.dim() - positions.dim())
    start = positions.reshape(len(positions), *middle, *positions.shape[1:])
    return torch.where(still, start.to(found), found)


def as_predicted(found: object, positions: Tensor, lags: Tensor) -> Tensor:
    """A prediction, unless it has another shape than one of these starts and lags.

    Raises
    ------
    InputError
        For something else, which may look like a prediction once it is broadcast.
    """
    expected = (*lags.shape, *positions.shape[1:])
    if isinstance(found, Tensor) and found.shape == expected:
        return found
    got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    raise InputError(
        f"the model predicted {got} for positions {tuple(positions.shape)} and lags "
        f"{tuple(lags.shape)}: expected a tensor (batch, time, atom, 3) of {expected}"
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
        solver: str = "dpm",
        steps: int = 20,
    ) -> Tensor:
        """Draw conformations, each lag for itself: samples of two lags make no trajectory.

        Parameters
        ----------
        positions, velocities, lags
            As of :meth:`forward`.
        count
            Samples of every start and lag.
        generator
            On the device of the positions.
        solver, steps
            How they are drawn; see :mod:`gfnode.models.diffusion`.

        Returns
        -------
        Tensor
            ``(batch, time, sample, atom, 3)`` in Å.
        """
        raise NotImplementedError
