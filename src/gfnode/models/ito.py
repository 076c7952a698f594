"""ITO, implicit transfer operators: a diffusion model of x(t + τ) given x(t) and the lag τ.

M. Schreiner, O. Winther, S. Olsson, Implicit transfer operator learning: multiple time-resolution
surrogates for molecular dynamics, NeurIPS 2023.
"""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from gfnode.errors import InputError
from gfnode.geometry import center, kabsch_rotation, mean_conformer
from gfnode.models.base import ALONE, EUCLIDEAN, Generative, Symmetry
from gfnode.models.diffusion import SAMPLERS, SCHEDULES, Noise, even_times, noise_loss
from gfnode.models.interpolation import interpolate
from gfnode.models.layers import lag_embedding, perceptron
from gfnode.models.painn import Geometry, Message, Neighbours, Radial, Readout, Update, unit
from gfnode.molecule.system import System
from gfnode.progress import Report, silent
from gfnode.settings import Layers, Settings, Width

if TYPE_CHECKING:
    from gfnode.windows import Batch, Windows

KNOTS = 16
GENERIC = (1.0, 2.0**0.5, 3.0**0.5)  # a direction along which atoms have distinct coordinates


class ITOSettings(Settings):
    """What an ITO is composed of."""

    width: Width = 32
    """Features per atom."""
    encoder_layers: Layers = 3
    """Layers that encode the start."""
    score_layers: Layers = 2
    """Layers of the score network."""
    embedding: Width = Field(16, ge=4, multiple_of=2)
    """Width of the embeddings of lag and diffusion time."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """Noise schedule: `cosine` or `linear`."""
    weighting: Literal["noise", "velocity"] = "noise"
    """Target of the loss: the `noise`, or the `velocity` of the diffusion, which learns populations
    of several states in fewer steps, but narrow distributions in more."""
    lags_per_step: int | None = Field(4, ge=1)
    """Lags of each window in a training step, redrawn every time; null: all."""
    samples: Width = Field(8, ge=2, multiple_of=2)
    """Number of samples averaged in the point prediction."""
    solver: Literal["dpm", "ancestral"] = "dpm"
    """Solver that draws them: `dpm` (DPM-Solver++) or `ancestral`."""
    steps: Width = Field(10, ge=2)
    """Steps of the solver."""
    validation_samples: Width = Field(2, ge=2, multiple_of=2)
    """Samples of the cheaper prediction used to validate training."""
    validation_steps: Width = Field(4, ge=2)
    """Steps of the cheaper prediction."""
    noise_seed: int = Field(0, ge=0)
    """Random seed for the initial noise of the point prediction."""


@dataclass(frozen=True)
class EncodedStart:
    """Encoded starts, the condition of the score network; shapes of :mod:`gfnode.models.painn`."""

    positions: Tensor  # (atom, batch, 1, 3) Å
    s: Tensor  # (atom, batch, 1, feature)
    V: Tensor  # (atom, batch, 1, 3, feature)
    edges: Tensor  # (edge, batch, 1, scalar)


class ITO(Generative):
    """Denoising diffusion of the displacement from the start.

    What is diffused is the displacement of each atom from the start, normalised::

        z = (x_i(t + τ) − x_i(t)) / (w_i s(τ))

    with s(τ) the root mean square displacement over the training windows at this lag (interpolated,
    zero at lag zero) and w_i the atom's size relative to it. A displacement is invariant under
    translation, so the noise needs no projection onto zero mean: the displacement of the centre is
    modelled along with the others. (Schreiner et al. diffuse centred positions, with noise of zero
    mean.)

    A PaiNN encodes the start and its velocities, once for all lags; a second one, given those
    scalars and vectors, z, the lag and the diffusion time, predicts F in ε̂ = σ z + α F, which is
    zero at the beginning of training: ε̂ is then optimal for unit normal data. The loss is that of
    the noise, E |ε − ε̂|², over all state atoms.

    The point prediction is the mean of ``samples`` samples. Their noise is the same for all starts
    and lags, in the frame of the mean conformer superposed on the start and in the order of its
    atoms along a line, so that the prediction keeps the symmetries exactly; and it is antithetic
    (half is the negative of the other half), which leaves no sampling error in the mean of a normal
    distribution. A linear molecule has no unique frame: it is equivariant in distribution only.
    """

    loss_unit = ""
    promises = (EUCLIDEAN | ALONE | {Symmetry.START}) - {Symmetry.REFLECTION}
    piece = 1_300_000  # its layers work on whole arrays, which then stay in the cache

    knots: Tensor
    spread: Tensor
    share: Tensor
    conformer: Tensor
    speed: Tensor
    elements: Tensor
    hops: Tensor

    def __init__(self, system: System, settings: ITOSettings) -> None:
        super().__init__(system)
        self.settings = s = settings
        self.schedule = SCHEDULES[s.schedule]()
        self.edges = Neighbours(system.edges, system.n_atoms)
        kinds, index = torch.as_tensor(system.numbers).unique(return_inverse=True)
        hops = torch.as_tensor(system.edges.hop, dtype=torch.float32)[:, None, None, None]
        self.register_buffer("elements", index, persistent=False)
        self.register_buffer("hops", hops, persistent=False)
        self.register_buffer("knots", torch.linspace(0, system.horizon, KNOTS + 1))
        self.register_buffer("spread", torch.linspace(0, 1, KNOTS + 1))
        self.register_buffer("share", torch.ones(system.n_atoms))
        self.register_buffer("conformer", torch.zeros(system.n_atoms, 3))
        self.register_buffer("speed", torch.ones(()))

        radial = 16  # scalars of the length of an edge; the hop is one more
        self.radial = Radial(radial, 6.0)
        self.atoms = nn.Embedding(len(kinds), s.width)
        self.vectors_in = nn.Linear(2, s.width, bias=False)
        self.encoder = nn.ModuleList(
            module
            for _ in range(s.encoder_layers)
            for module in (Message(s.width, radial + 1), Update(s.width))
        )
        self.question = perceptron(2 * s.embedding + 1, s.width, s.width)
        self.gates = nn.Linear(s.width, 2 * s.width)
        self.score = nn.ModuleList(
            module
            for _ in range(s.score_layers)
            for module in (Message(s.width, radial + 1, radial), Update(s.width))
        )
        self.readout = Readout(s.width)

    @property
    def kept(self) -> frozenset[Symmetry]:
        """The promises; one or two atoms have no frame: equivariant in distribution only."""
        return self.promises - ({Symmetry.ROTATION} if self.system.n_atoms < 3 else set())

    def rows(self, times: int) -> int:
        """See :meth:`gfnode.models.base.Model.rows`; each start is sampled ``samples`` times."""
        return super().rows(times * self.settings.samples)

    # --- what is diffused -----------------------------------------------------------------------

    @torch.no_grad()
    def prepare(self, windows: "Windows", report: Report = silent) -> None:
        """Compute s(τ) and w_i of the displacements, and the mean conformer."""
        batch = windows.batch(windows.evenly(2000))
        square = (batch.targets - batch.positions[:, None]).square().mean(-1).double()
        square = square.flatten(0, 1)  # (lag, atom)
        known = batch.lags.double().flatten()
        groups = [part for part in known.argsort().tensor_split(KNOTS) if len(part)]
        middle = torch.stack([known[part].mean() for part in groups])
        size = torch.stack([square[part].mean() for part in groups])
        middle, which = middle.unique(return_inverse=True)
        size = torch.zeros_like(middle).index_add(0, which, size) / which.bincount()
        missing = KNOTS - len(middle)
        ahead = known.max() + self.system.horizon * torch.arange(1, missing + 1).to(known)
        zero = middle.new_zeros(1)
        self.knots.copy_(torch.cat([zero, middle, ahead]))
        self.spread.copy_(torch.cat([zero, size, size[-1:].expand(missing)]).sqrt())
        relative = square / self._spread(known).square().clamp(min=1e-12)[:, None]
        self.share.copy_(relative.mean(0).sqrt().clamp(min=1e-3))
        self.speed.copy_(batch.velocities.square().mean().sqrt().clamp(min=1e-12))
        self.conformer.copy_(mean_conformer(windows.conformations()))

    def _spread(self, lags: Tensor) -> Tensor:
        """s(τ) in Å, linear between the knots and constant beyond; any shape, fs."""
        return interpolate(self.knots, self.spread, lags)

    def scale(self, lags: Tensor) -> Tensor:
        """w_i s(τ), ``(atom, batch, draw, 1)`` in Å for lags ``(batch, draw)`` in fs."""
        return self.share[:, None, None, None] * self._spread(lags)[..., None]

    # --- the score network ----------------------------------------------------------------------

    def encode(self, positions: Tensor, velocities: Tensor) -> EncodedStart:
        """Encode starts, ``(batch, atom, 3)`` in Å and Å/fs."""
        x = positions.transpose(0, 1)[:, :, None]
        place = (positions - center(positions)).transpose(0, 1)[:, :, None]
        motion = velocities.transpose(0, 1)[:, :, None] / self.speed
        along, length = unit(self.edges.difference(x))
        known = torch.cat([self.radial(length), self.hops.expand(-1, *length.shape[1:], 1)], -1)
        s = self.atoms(self.elements)[:, None, None].expand(-1, *place.shape[1:3], -1)
        V = self.vectors_in(torch.stack([place, motion], -1))
        for message, update in zip(self.encoder[::2], self.encoder[1::2], strict=True):
            s, V = update(*message(s, V, Geometry(along, known), self.edges))
        return EncodedStart(x, s, V, known)

    def predict_noise(self, z: Tensor, times: Tensor, known: EncodedStart, lags: Tensor) -> Tensor:
        """Predict the noise ε̂ in noisy displacements.

        Parameters
        ----------
        z
            ``(atom, batch, draw, 3)``.
        times
            Diffusion times, ``(batch, draw)`` or one for all.
        known
            The encoded starts.
        lags
            ``(batch, draw)`` in fs.
        """
        times = times.expand(lags.shape)
        width = self.settings.embedding
        question = torch.cat(
            [
                lag_embedding(lags / self.system.time_step, width),
                (lags / self.system.horizon + 1e-3).log()[..., None],
                lag_embedding(1000 * times, width),
            ],
            -1,
        )
        s = known.s + self.question(question)
        start, noisy = self.gates(s).unsqueeze(-2).chunk(2, -1)
        V = start * known.V + noisy * z.unsqueeze(-1)
        along, length = unit(self.edges.difference(known.positions + self.scale(lags) * z))
        geometry = Geometry(along, known.edges, self.radial(length))
        for message, update in zip(self.score[::2], self.score[1::2], strict=True):
            s, V = update(*message(s, V, geometry, self.edges))
        alpha, sigma = (f(times)[..., None] for f in (self.schedule.alpha, self.schedule.sigma))
        return sigma * z + alpha * self.readout(s, V)

    def loss(self, batch: "Batch", generator: torch.Generator) -> Tensor:
        """Mean squared error of the noise, dimensionless, at random lags and diffusion times."""
        lags, targets = batch.lags, batch.targets
        count, device = self.settings.lags_per_step, lags.device
        if count is not None and count < lags.shape[1]:
            keys = torch.rand(lags.shape, generator=generator, device=device)
            chosen = keys.argsort(1)[:, :count]
            lags = lags.gather(1, chosen)
            targets = targets[torch.arange(len(lags), device=device)[:, None], chosen]
        displaced = (targets - batch.positions[:, None]).permute(2, 0, 1, 3)
        z = displaced / self.scale(lags).clamp(min=1e-6)
        known = self.encode(batch.positions, batch.velocities)
        denoiser = partial(self.predict_noise, known=known, lags=lags)
        times = even_times(self.schedule, tuple(lags.shape), generator)
        velocity = self.settings.weighting == "velocity"
        return noise_loss(denoiser, self.schedule, z, times, generator, velocity=velocity)

    # --- samples --------------------------------------------------------------------------------

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Predict: the mean of ``samples`` samples; see :meth:`Model.forward`."""
        s = self.settings
        return self._mean(positions, velocities, lags, s.samples, s.steps)

    def estimate(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """As :meth:`forward`, with fewer samples and steps."""
        s = self.settings
        return self._mean(positions, velocities, lags, s.validation_samples, s.validation_steps)

    def estimate_effort(self, times: int) -> float:
        """See :meth:`Model.estimate_effort`; a loss takes one evaluation at some of the lags."""
        s = self.settings
        return (
            s.validation_samples * s.validation_steps * times / min(s.lags_per_step or times, times)
        )

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
        """Draw conformations; see :meth:`Generative.sample`."""
        shape = (self.system.n_atoms, len(positions), lags.shape[1] * count, 3)
        noise = partial(torch.randn, shape, generator=generator, device=positions.device)
        return self._draw(positions, velocities, lags, count, noise, solver=solver, steps=steps)

    def _mean(
        self, positions: Tensor, velocities: Tensor, lags: Tensor, count: int, steps: int
    ) -> Tensor:
        generator = torch.Generator().manual_seed(self.settings.noise_seed)
        turn = kabsch_rotation(self.conformer, positions).to(positions)
        place = (self.conformer @ self.conformer.new_tensor(GENERIC)).argsort().argsort()

        def noise() -> Tensor:
            half = torch.randn(self.system.n_atoms, count // 2, 3, generator=generator)
            body = torch.cat([half, -half], 1).to(positions.device)[place]
            turned = body[:, None] @ turn.mT  # (atom, batch, sample, 3)
            return turned[:, :, None].expand(-1, -1, lags.shape[1], -1, -1).flatten(2, 3)

        drawn = self._draw(
            positions, velocities, lags, count, noise, solver=self.settings.solver, steps=steps
        )
        return drawn.mean(2)

    def _draw(
        self,
        positions: Tensor,
        velocities: Tensor,
        lags: Tensor,
        count: int,
        noise: Noise,
        *,
        solver: str,
        steps: int,
    ) -> Tensor:
        """Samples ``(batch, time, sample, atom, 3)`` in Å."""
        if solver not in SAMPLERS:
            raise InputError(f"unknown solver {solver!r}: expected {', '.join(SAMPLERS)}")
        asked = lags.repeat_interleave(count, 1)
        denoiser = partial(self.predict_noise, known=self.encode(positions, velocities), lags=asked)
        z = SAMPLERS[solver](denoiser, self.schedule, noise, steps)
        displaced = (self.scale(asked) * z).permute(1, 2, 0, 3)  # (batch, draw, atom, 3)
        return (positions[:, None] + displaced).unflatten(1, (lags.shape[1], count))
