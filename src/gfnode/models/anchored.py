"""The anchored frame of the default model: a rotating body that carries the mean conformer."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gfnode.dynamics.rigid import LINEAR, steered_rotation
from gfnode.geometry import center, inertia_tensor, momentum
from gfnode.models.conformer import Conformer
from gfnode.models.frames import Frame
from gfnode.models.layers import lag_embedding, perceptron, zero_last
from gfnode.models.rotors import Rotors
from gfnode.molecule.system import System
from gfnode.windows import Batch, Windows


class Placement(NamedTuple):
    """A start, decomposed into a rigid body carrying the mean conformer and a remainder."""

    centre: Tensor  # (batch, 1, 3) centre of mass, Å
    drift: Tensor  # (batch, 1, 3) velocity of the centre of mass, Å/fs
    rotation: Tensor  # (batch, 3, 3) R, conformer frame to start; may include a reflection
    body: Tensor  # (batch, atom, 3) mean conformer superposed on the start, relative to centre, Å
    momentum: Tensor  # (batch, 3) L, angular momentum, u Å²/fs
    inverse: Tensor  # (batch, 3, 3) I⁻¹, 1/(u Å²)
    spins: Tensor  # (batch, rotor, 3) L_b of the rotors relative to the body, u Å²/fs
    rates: Tensor  # (batch, rotor) angular velocity of the rotors relative to the body, 1/fs
    displacement: Tensor  # (batch, atom, 3) u, start minus body, in the conformer frame, Å
    vibration: Tensor  # (batch, atom, 3) w, velocity minus drift and rotation, same frame, Å/fs


class Anchored(Frame):
    """A rigid body that carries the mean conformer, and the displacements from it.

    The :class:`gfnode.models.conformer.Conformer` is superposed on the start. The modes propagate
    the displacement u from it and the velocity w that remains after subtracting the drift V and the
    rotation with angular velocity I⁻¹ (L − Σ_b c_b L_b) (L the angular momentum, I the inertia
    tensor), both in the conformer frame, which R maps onto the start. At a lag τ::

        dQ/ds = Q [I⁻¹ (Qᵀ L − Σ_b c_b(τ) L_b)]×,   Q = 1 at s = 0
        x(τ) = x_c + s_t(τ) V + Q(s_r(τ)) T(τ) (body + R u(τ))

    L_b = a_b a_b·(Σ m (r − r_b) × (v − v_b) − I_b ω) is the angular momentum of rotor b about its
    bond a_b relative to the body, which rotates with ω: L = I ω + Σ_b L_b, a linear equation for ω.
    While a methyl group spins, the rest of an isolated molecule counter-rotates, since the total
    angular momentum is conserved. The coefficients c_b are constants fitted to the training windows
    (1 for free rotors) plus a learned function of the features at the bond that grows from zero
    with the lag. T rotates terminal rotors, such as methyl groups, about their bonds by s_b(τ)
    times their relative angular velocity, where training windows show them rotating freely; that
    velocity is subtracted from w, too. s(τ) = τ_p (1 − e^(−τ/τ_p)) makes momenta decay with a
    learned memory time τ_p, which covers free flight, solvent and aligned targets. At τ = 0 the
    prediction is the start, and its first derivative the velocity.

    Parameters
    ----------
    system
        The molecular system.
    width
        Features an atom.
    lag_width
        Width of the lag embedding.
    rotors
        False: internal rotation is ignored, L_b and T are left out.
    """

    invariants = 3
    physical = ("log_memory", "share", "log_spin_memory")
    _onset = 100.0  # fs; time scale on which learned corrections grow from zero
    _most_fitted = 32  # with more rotors, c_b are not fitted one by one
    _most_steps = 64

    masses: Tensor
    score: Tensor
    steps: Tensor
    free: Tensor

    def __init__(self, system: System, width: int, lag_width: int, *, rotors: bool = True) -> None:
        super().__init__()
        self.time_step, self.horizon = system.time_step, system.horizon
        self.lag_width = lag_width
        masses = torch.as_tensor(system.masses, dtype=torch.float32)
        self.rotors = Rotors(system.bonds if rotors else system.bonds[:0], system.masses)
        self.register_buffer("masses", masses, persistent=False)
        self.register_buffer("score", torch.as_tensor(system.score), persistent=False)
        self.conformer = Conformer(masses, self.score)
        self.register_buffer("steps", torch.tensor(16))  # of the integration of Q
        self._steps = 16  # the same on the host
        self.register_load_state_dict_post_hook(Anchored._take_steps)
        self.log_memory = nn.Parameter(torch.zeros(2))  # of drift and rotation, in horizons
        self.share = nn.Parameter(torch.zeros(len(self.rotors)))
        # 1: a terminal rotor that rotates freely
        self.register_buffer("free", torch.zeros(len(self.rotors)))
        self.log_spin_memory = nn.Parameter(torch.zeros(len(self.rotors)))  # in horizons
        self.share_of_features = perceptron(2 * width + lag_width, width, 1)
        zero_last(self.share_of_features)

    @torch.no_grad()
    def prepare(self, windows: Windows) -> None:
        """Compute the mean conformer; fit memory times and the coefficients c_b of rotors."""
        batch = windows.batch(windows.evenly(500))
        self._steps = 2  # enough while the memory time is close to zero
        self.share.zero_()
        memories = torch.cat([torch.tensor([1e4]), torch.logspace(1.5, -7, 35)]).log()
        self.log_memory.copy_(memories[-1])
        start = batch.positions, batch.velocities
        self.conformer.fit(
            windows.conformations(),
            lambda: float(self._error(batch, self.place(*start))),
            windows.align,
        )
        placement = self.place(*start)

        def fit(parameter: Tensor, values: Tensor, *, whole: bool = True) -> None:
            def error(value: Tensor) -> Tensor:
                parameter.copy_(value)
                followed = self._count_steps(placement, batch.lags)
                found = torch.tensor(torch.inf)
                if followed:
                    found = self._error(batch, placement, whole=whole)
                return found.nan_to_num(torch.inf)

            parameter.copy_(_best(error, values))

        fit(self.log_memory[0], memories, whole=False)
        fit(self.log_memory[1], memories)
        if len(self.share) <= self._most_fitted:
            for number in range(len(self.share)):
                fit(self.share[number], torch.linspace(0, 1.2, 13))
        self._count_steps(placement, batch.lags)
        self._fit_tips(batch, placement, memories)

    def _error(self, batch: Batch, placement: Placement, *, whole: bool = True) -> Tensor:
        """Mean squared error of the rigid body alone, over scored atoms or (not whole) their mean.

        In Å² per coordinate.
        """
        centre, rotation = self._follow(placement, batch.lags)
        x = centre + placement.body[:, None] @ rotation.mT
        miss = (x - batch.targets)[..., self.score, :]
        return (miss if whole else miss.mean(-2)).square().mean()

    def _fit_tips(self, batch: Batch, placement: Placement, memories: Tensor) -> None:
        """Find which terminal rotors rotate freely, and their memory times.

        A rotor is free where rotating its arms with the start by its predicted angle raises their
        overlap with the targets (squared means over eight groups of lags, summed) by a tenth.
        """
        self.free.zero_()
        if not len(self.rotors):
            return
        start = placement.body + placement.displacement @ placement.rotation.mT
        centre, rotation = self._follow(placement, batch.lags)
        later = (batch.targets - centre) @ rotation
        first, second = self.rotors.alignment(start[:, None], later)
        order = batch.lags.flatten().argsort()

        def kept(angles: Tensor) -> Tensor:
            alike = (angles.cos() * first + angles.sin() * second).flatten(0, 1)[order]
            parts = [part.sum(0).clamp(min=0) ** 2 for part in alike.chunk(8)]
            return torch.stack(parts).sum(0)

        best, chosen = 1.1 * kept(torch.zeros_like(first)), torch.zeros_like(self.free)
        remembered = torch.zeros_like(self.free)
        self.free.copy_(self.rotors.tip)
        for memory in memories:
            self.log_spin_memory.fill_(memory)
            now = kept(self._angles(placement, batch.lags))
            better = now > best
            best = torch.where(better, now, best)
            chosen = torch.where(better, self.free, chosen)
            remembered = torch.where(better, self.log_spin_memory, remembered)
        self.free.copy_(chosen)
        self.log_spin_memory.copy_(remembered)

    def _count_steps(self, placement: Placement, lags: Tensor) -> bool:
        """Set the integration steps: two per radian of the largest rotation, from 2 to 64.

        Returns whether 64 steps resolve it with at least one step per radian.
        """
        rate = (placement.inverse @ placement.momentum[..., None]).norm(dim=1)
        wanted = (2 * rate * self._elapsed(self.log_memory, lags)[..., 1]).max().ceil()
        self.steps.copy_(wanted.clamp(2, self._most_steps))
        self._take_steps()
        return bool(wanted <= 2 * self._most_steps)

    def _take_steps(self, _missing: object = None) -> None:
        self._steps = int(self.steps)

    def place(self, positions: Tensor, velocities: Tensor) -> Placement:
        """Decompose starts ``(batch, atom, 3)``, in Å and Å/fs."""
        m = self.masses
        centre = center(positions, m)
        r = positions - centre
        drift = momentum(velocities, m)[:, None] / m.sum()
        v = velocities - drift
        rotation = self.conformer.orientation(r)
        body = self.conformer.placed(r, rotation)
        # pseudo-inverse: a linear molecule does not rotate about its axis, an atom not at all
        inertia = inertia_tensor(positions, m)
        inverse = torch.linalg.pinv(inertia, rtol=LINEAR, hermitian=True)
        total = (m[:, None] * torch.linalg.cross(r, v)).sum(-2)
        spins, rates = self.rotors.spins(r, v, inertia, total)
        turn = inverse @ (total - self.share @ spins)[..., None]
        carried = torch.linalg.cross(turn.mT.expand_as(r), r)
        carried = carried + self.rotors.spinning(r, self.free * rates)
        own = (r - body) @ rotation, (v - carried) @ rotation
        return Placement(centre, drift, rotation, body, total, inverse, spins, rates, *own)

    def scalars(self, placement: Placement) -> Tensor:
        """Invariants ``(batch, atom, 3)``: |u| in Å, |w| and u·w/|u| in Å per time step.

        Lengths are √(|u|² + 10⁻⁶ Å²), and likewise of w, which are smooth at zero.
        """
        u, w = placement.displacement, placement.vibration * self.time_step
        size = (u.square().sum(-1) + 1e-6).sqrt()
        speed = (w.square().sum(-1) + 1e-12).sqrt()
        return torch.stack([size, speed, (u * w).sum(-1) / size], -1)

    def channels(self, placement: Placement, x: Tensor, v: Tensor) -> Tensor:
        """Displacement and vibration, ``(batch, atom, 3, 2)``."""
        return torch.stack([placement.displacement, placement.vibration], -1)

    def restore(
        self, placement: Placement, channels: Tensor, h: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Positions (Å) and vibrations (Å a step) at the lags, ``(batch, time, atom, 3)`` each."""
        u, w = channels.unbind(-1)
        embedding = lag_embedding(lags / self.time_step, self.lag_width)[:, :, None]
        embedding = embedding.expand(-1, -1, len(self.share), -1)
        hinge, far = self.rotors.axes.T
        known = torch.cat([h[:, :, hinge], h[:, :, far], embedding], -1)
        share = self.share_of_features(known).squeeze(-1) * self._begun(lags)[..., 0]
        share = self.share + share
        own = placement.rotation[:, None].mT
        centre, rotation = self._follow(placement, lags, share)
        shape = placement.body[:, None] + u @ own
        shape = self.rotors.turn(shape, self._angles(placement, lags))
        return centre + shape @ rotation.mT, w @ own @ rotation.mT * self.time_step

    def displacements(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Displacements and vibrations of starts, and displacements of targets, for fitting modes.

        Returns
        -------
        Tensor, Tensor, Tensor
            u and w of the starts, ``(batch, atom, 3)`` in Å and Å/fs, and u of the targets,
            ``(batch, time, atom, 3)`` in Å: targets minus the body propagated to their lags. All
            in the conformer frame.
        """
        placement = self.place(batch.positions, batch.velocities)
        centre, rotation = self._follow(placement, batch.lags)
        back = -self._angles(placement, batch.lags)
        later = self.rotors.turn((batch.targets - centre) @ rotation, back)
        later = (later - placement.body[:, None]) @ placement.rotation[:, None]
        return placement.displacement, placement.vibration, later

    def correct(self, x: Tensor, decoded: Tensor, lags: Tensor) -> Tensor:
        """Weight the decoder's correction by `_begun`, so that the prediction at lag 0 is exact."""
        return x + self._begun(lags) * (decoded - x)

    def _begun(self, lags: Tensor) -> Tensor:
        """1 − e^(−(τ/100 fs)²), ``(batch, time, 1, 1)``.

        Zero at τ = 0 in value and slope: the first derivative stays the velocity.
        """
        return -torch.expm1(-((lags / self._onset) ** 2))[..., None, None]

    def _elapsed(self, log_memory: Tensor, lags: Tensor) -> Tensor:
        """s(τ) = τ_p (1 − e^(−τ/τ_p)) for each memory time, ``(batch, time, memory)`` in fs."""
        memory = log_memory.exp() * self.horizon
        return -memory * torch.expm1(-lags[..., None] / memory)

    def _angles(self, placement: Placement, lags: Tensor) -> Tensor:
        """Rotation angles of free terminal rotors against the body, ``(batch, time, rotor)``."""
        return self.free * placement.rates[:, None] * self._elapsed(self.log_spin_memory, lags)

    def _follow(
        self, placement: Placement, lags: Tensor, share: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Centre of mass and rotation Q of the body at the lags, ``(batch, time, 1 or 3, 3)``.

        Coefficients c_b (``share``) are ``(batch, time, rotor)``; the constant ones by default.
        """
        share = self.share.expand(*lags.shape, -1) if share is None else share
        elapsed = self._elapsed(self.log_memory, lags)
        rotation = steered_rotation(
            placement.momentum[:, None],
            placement.inverse[:, None],
            share @ placement.spins,  # (batch, time, 3)
            elapsed[..., 1],
            steps=self._steps,
        )
        moved = placement.centre[:, None] + elapsed[..., :1, None] * placement.drift[:, None]
        return moved, rotation


def _best(error: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """First value whose error is within 1 % of the smallest, by a coarse-to-fine search.

    Every third value is tried, then the neighbours of the best one. ``values[0]`` where the errors
    of the first, the last and one in between agree to 0.1 %.
    """
    last = len(values) - 1
    errors = torch.full_like(values, torch.inf)

    def look(numbers: Iterable[int]) -> int:
        for number in numbers:
            if torch.isinf(errors[number]):
                errors[number] = error(values[number])
        return int((errors <= 1.01 * errors.min()).float().argmax())

    look((last, last // 3, 0))
    known = errors[[0, last // 3, last]]
    if torch.isclose(known, known[0], rtol=1e-3).all():
        return values[0]
    coarse = look(range(0, last, 3))
    return values[look(range(max(0, coarse - 2), min(coarse + 2, last) + 1))]
