"""EGNO: predicts all times together, coupled by convolutions over time."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from gfnode.models.base import ALONE, EUCLIDEAN, Model, Symmetry
from gfnode.models.egnn import EGNNSettings, repeat_for_lags
from gfnode.models.inputs import AtomInputs
from gfnode.models.layers import EGNNLayer, Incidence, pass_messages
from gfnode.molecule.system import System
from gfnode.settings import Width


class EGNOSettings(EGNNSettings):
    """What an EGNO is composed of, besides what an EGNN is."""

    time_modes: Width = 2
    """Number of temporal frequencies kept by the convolutions, lowest first."""
    times: Literal["grid", "as-if-regular"] = "grid"
    """`grid`: the model runs on regular times up to the horizon, and lags are interpolated;
    `as-if-regular`: it runs on the requested lags and treats them as regular, as in the published
    experiments."""
    grid: Width = Field(8, ge=2)
    """Points of the grid, in addition to the start at lag zero."""

    @property
    def idle(self) -> Mapping[str, str]:
        """The grid, where there is none."""
        return {} if self.times == "grid" else {"grid": "model.times=grid"}


class TimeConvolution(nn.Module):
    """Convolution over regular times (Xu et al. 2024): y = F⁻¹(M_k · (F x)_k).

    F is the discrete Fourier transform over time, M_k a complex matrix over channels for each of
    the lowest frequencies k; higher ones come out as zero.

    Parameters
    ----------
    channels
        Length of the last axis, which M_k mixes.
    modes
        Frequencies kept, at most the ``time // 2 + 1`` that a series has.
    """

    def __init__(self, channels: int, modes: int) -> None:
        super().__init__()
        # real and imaginary parts last
        self.weight = nn.Parameter(torch.rand(modes, channels, channels, 2) / channels**2)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(atom, batch, time, …, channel)`` over time."""
        n_times = x.shape[2]
        weight = torch.view_as_complex(self.weight)[: n_times // 2 + 1]
        spectrum = torch.fft.rfft(x, dim=2)[:, :, : len(weight)]
        mixed = torch.einsum("abk...i,kio->abk...o", spectrum, weight)
        return torch.fft.irfft(mixed, n=n_times, dim=2)


class EGNOLayer(nn.Module):
    """Convolutions over time, then messages between atoms at each time.

    ::

        h ← h + SiLU(C_h h),   (x − x̄, v) ← (x − x̄, v) + C_x (x − x̄, v),   then an EGNN layer

    C_x mixes the two channels (position, velocity) and never Cartesian components, so the layer is
    equivariant under rotation.
    """

    def __init__(self, settings: EGNOSettings, scalars: int) -> None:
        super().__init__()
        self.features = TimeConvolution(settings.width, settings.time_modes)
        self.coordinates = TimeConvolution(2, settings.time_modes)
        nn.init.zeros_(self.coordinates.weight)  # else the molecule grows with every layer
        self.graph = EGNNLayer(settings.width, scalars, residual=settings.residual)
        if settings.still:
            self.graph.silence()

    def forward(
        self, h: Tensor, x: Tensor, v: Tensor, scalars: Tensor, edges: Incidence
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Update features, and positions and velocities about the centre of the start.

        ``(atom, batch, time, feature)`` and twice ``(atom, batch, time, 3)``.
        """
        h = h + functional.silu(self.features(h))
        channels = torch.stack([x, v], -1)
        x, v = (channels + self.coordinates(channels)).unbind(-1)
        shape = h.shape[1:3]
        flat = [y.flatten(1, 2) for y in (h, x, v)]
        h, x = pass_messages([self.graph], [*flat, scalars], edges)
        return h.unflatten(1, shape), x.unflatten(1, shape), v


class EGNO(Model):
    """Equivariant graph neural operator (Xu et al., ICML 2024, arXiv 2401.11037).

    The start is copied to all times, each copy with an embedding of its lag among the features, and
    every layer couples the copies by a convolution over time, which assumes regular times:
    ``times`` in :class:`EGNOSettings` chooses them.

    Parameters
    ----------
    system
        The molecular system.
    settings
        What it is composed of.
    """

    promises = EUCLIDEAN | ALONE | {Symmetry.START}

    def __init__(self, system: System, settings: EGNOSettings) -> None:
        super().__init__(system)
        self.settings = s = settings
        self.inputs = AtomInputs(system, s.lag_width, s.width)
        self.edges = Incidence(system.edges, system.n_atoms)
        self.layers = nn.ModuleList(
            EGNOLayer(s, self.inputs.n_edge_scalars) for _ in range(s.layers)
        )

    @property
    def kept(self) -> frozenset[Symmetry]:
        """The promises; without a grid, predictions couple the lags and miss the start at lag 0."""
        grid = self.settings.times == "grid"
        return self.promises - (set() if grid else {Symmetry.LAGS, Symmetry.START})

    def rows(self, times: int) -> int:
        """See :meth:`gfnode.models.base.Model.rows`; with a grid its points count, not the lags."""
        grid = self.settings.times == "grid"
        return super().rows(self.settings.grid if grid else times)

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """See :meth:`gfnode.models.base.Model.forward`."""
        if self.settings.times == "as-if-regular":
            ascending, order = lags.sort(1)
            moved = self.operate(positions, velocities, ascending)
            return gather_times(moved, order.argsort(1))
        n_grid, horizon = self.settings.grid, self.system.horizon
        grid = torch.linspace(0, horizon, n_grid + 1, device=lags.device, dtype=lags.dtype)
        moved = self.operate(positions, velocities, grid[1:].expand(len(lags), -1))
        known = torch.cat([positions[:, None], moved], 1)
        return interpolate_grid(known, lags * (n_grid / horizon))

    def operate(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Predict at ascending lags, treated as regular, ``(batch, time, atom, 3)`` in Å."""
        s, step = self.settings, self.system.time_step
        x, v, embedding = repeat_for_lags(positions, velocities, lags, step, s)
        h, scalars = self.inputs(x, v, embedding)
        centre = positions.mean(1)[:, None] / s.length_unit  # (batch, 1, 3)
        h = h.unflatten(1, lags.shape)
        x, v = (y.transpose(0, 1).unflatten(1, lags.shape) for y in (x, v))
        x = x - centre
        for layer in self.layers:
            h, x, v = layer(h, x, v, scalars, self.edges)
        return (x + centre).movedim(0, 2) * s.length_unit


def gather_times(values: Tensor, index: Tensor) -> Tensor:
    """Gather times ``index (batch, wanted)`` from ``(batch, time, atom, 3)``."""
    return values.gather(1, index[:, :, None, None].expand(-1, -1, *values.shape[2:]))


def interpolate_grid(values: Tensor, places: Tensor) -> Tensor:
    """Interpolate ``(batch, point, atom, 3)`` linearly at fractional point indices.

    Beyond the last point, the last interval is extrapolated.
    """
    below = places.detach().long().clamp(0, values.shape[1] - 2)
    share = (places - below)[:, :, None, None]
    return torch.lerp(gather_times(values, below), gather_times(values, below + 1), share)
