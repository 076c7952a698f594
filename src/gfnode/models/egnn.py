"""EGNN: an equivariant network on the start, conditioned on an embedding of the lag."""

from pydantic import Field
from torch import Tensor

from gfnode.models.base import ALONE, EUCLIDEAN, Model
from gfnode.models.inputs import AtomInputs
from gfnode.models.layers import EGNNLayers, lag_embedding
from gfnode.molecule.system import System
from gfnode.settings import Layers, LengthUnit, Settings, Width


class EGNNSettings(Settings):
    """What an EGNN is composed of."""

    width: Width = 64
    """Features per atom."""
    layers: Layers = 5
    """Layers of the network."""
    lag_width: Width = Field(32, ge=4, multiple_of=2)
    """Width of the lag embedding."""
    residual: bool = False
    """Whether a layer adds to the features; the published layers replace them."""
    still: bool = True
    """Training starts with zero displacements; false: with all weights random."""
    length_unit: LengthUnit = 1.0
    """Unit of length in the networks, in Å; 10 (nm) in the published experiments on alanine
    dipeptide."""


class EGNN(Model):
    """E(n)-equivariant graph network (Satorras, Hoogeboom & Welling, ICML 2021).

    The velocity variant (eq. 7): every layer is an :class:`~gfnode.models.layers.EGNNLayer` with
    the velocities of the start. The start is copied once for each lag; the copies differ only in
    the embedding of the lag, which is part of the atom features.

    Parameters
    ----------
    system
        The molecular system.
    settings
        What it is composed of.
    """

    promises = EUCLIDEAN | ALONE

    def __init__(self, system: System, settings: EGNNSettings) -> None:
        super().__init__(system)
        self.settings = s = settings
        self.inputs = AtomInputs(system, s.lag_width, s.width)
        self.layers = EGNNLayers(
            system.n_atoms,
            system.edges,
            s.width,
            s.layers,
            self.inputs.n_edge_scalars,
            residual=s.residual,
        )
        if s.still:
            self.layers.silence()

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """See :meth:`gfnode.models.base.Model.forward`."""
        s, step = self.settings, self.system.time_step
        x, v, embedding = repeat_for_lags(positions, velocities, lags, step, s)
        h, scalars = self.inputs(x, v, embedding)
        _, x = self.layers(h, x.transpose(0, 1), v.transpose(0, 1), scalars, positions_only=True)
        return x.transpose(0, 1).unflatten(0, lags.shape) * s.length_unit


def repeat_for_lags(
    positions: Tensor, velocities: Tensor, lags: Tensor, time_step: float, settings: EGNNSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """Copy starts once for each lag.

    Parameters
    ----------
    positions, velocities
        ``(batch, atom, 3)`` in Å and Å/fs.
    lags
        ``(batch, time)`` in fs.
    time_step
        In fs.
    settings
        Those that set the unit of length and the width of the lag embedding.

    Returns
    -------
    tuple[Tensor, Tensor, Tensor]
        Positions in units of length and velocities in units a step, ``(batch · time, atom, 3)``,
        and the embedding of the lag of each copy, ``(batch · time, atom, lag_width)``.
    """
    n_atoms, n_times = positions.shape[1], lags.shape[1]
    unit = settings.length_unit
    x = (positions / unit).repeat_interleave(n_times, 0)
    v = (velocities * (time_step / unit)).repeat_interleave(n_times, 0)
    embedding = lag_embedding(lags.flatten() / time_step, settings.lag_width)
    return x, v, embedding[:, None].expand(-1, n_atoms, -1)
