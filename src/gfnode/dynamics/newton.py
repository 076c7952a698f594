"""Newton's equations in a learned potential, with the thermostat of the simulation."""

import math

import torch
from torch import Tensor

from gfnode.dynamics.potential import Potential
from gfnode.dynamics.shooting import offset, velocities_at_start
from gfnode.dynamics.thermostat import DRAWN, Bath, choose_thermostat, random_numbers
from gfnode.dynamics.verlet import State, VerletIntegrator
from gfnode.geometry import free_directions, without_momenta
from gfnode.molecule.system import System
from gfnode.windows import Batch

_AT_ONCE = 128  # starts whose velocities are solved for together


class NewtonDynamics(VerletIntegrator):
    """Molecular dynamics in a learned potential.

    A global thermostat, which scales all velocities alike, drives the kinetic energy K towards its
    mean K̄. That of Nosé and Hoover has a friction ξ, as in the simulations of MD17 (whose friction,
    derived from consecutive frames, is that of a thermostat of 1700 cm⁻¹ within a tenth)::

        dx/dt = v,   dv/dt = F(x)/m − ξ v,   dξ/dt = ω² (K/K̄ − 1)

    ξ is not known from a start. Its distribution is Gaussian of variance ω²/g, with g degrees of
    freedom: 3N, or 3N − 6 where the whole molecule neither translates nor rotates. So trajectories
    start from quantiles of it, six in each member of the potential, and form the ensemble of a
    prediction. The thermostat of Bussi, Donadio and Parrinello (J. Chem. Phys. 126, 014101, 2007)
    scales v by a random α after each step h, with c = e^(−h/τ), R standard normal and S a sum of
    g − 1 squared standard normals; each trajectory has random numbers of its own, the same ones
    for every start::

        α² = c + (1 − c) (R² + S) K̄/(g K) + 2 R √(c (1 − c) K̄/(g K))

    :meth:`sample` draws ξ and these numbers anew. :meth:`tune` chooses the thermostat (or none), ω
    and τ. The integrator is velocity Verlet with the friction split off symmetrically on both
    sides, time-reversible.

    Random scaling also amplifies the momenta that rounding leaves, so that in the end the whole
    molecule would drift (the flying ice cube): where training motion has no momenta,
    :meth:`sample` removes them.

    Velocities that are differences over a gap are those of its middle: they are converted to
    velocities at the start by :func:`gfnode.dynamics.shooting.velocities_at_start`. Stored ones
    that lag δ behind positions, as those of leapfrog integrators do, become v + δ F/m.

    Fixed atoms have no velocity, and a mass that no force moves.

    Parameters
    ----------
    system
        The molecular system.
    potential
        An ensemble; trajectories in all of its members are integrated together.
    """

    each = 6  # trajectories in each member of the potential
    _few = 64  # windows for preselection of thermostats

    frequency: Tensor
    rate: Tensor
    gap: Tensor
    behind: Tensor
    directions: Tensor
    friction: Tensor

    def __init__(self, system: System, potential: Potential) -> None:
        super().__init__(system, potential)
        self.register_buffer("frequency", torch.zeros(()))  # ω, 1/fs; 0: no friction
        self.register_buffer("rate", torch.zeros(()))  # 1/τ, 1/fs; 0: no random scaling
        self.register_buffer("gap", torch.zeros(()))  # fs
        self.register_buffer("behind", torch.zeros(()))  # δ of stored velocities, fs
        self.register_buffer("directions", torch.tensor(self.every))  # g
        self.span = 0.0  # the gap, on the host
        self.register_load_state_dict_post_hook(NewtonDynamics._on_host)
        count = self.trajectories = self.each * potential.members
        quantiles = (torch.arange(count) + 0.5) / count
        quantiles = math.sqrt(2) * torch.erfinv(2 * quantiles - 1)  # of mean square one
        quantiles = quantiles / quantiles.square().mean().sqrt().clamp(min=1e-6)
        self.register_buffer("friction", quantiles[:, None], persistent=False)

    @torch.no_grad()
    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Positions at the lags, ``(trajectory, batch, time, atom, 3)`` in Å.

        Trajectories i, i + K, … belong to member i of K.

        Steps have the same length whatever the lags; positions at a lag are extrapolated from the
        step before it.

        Parameters
        ----------
        positions, velocities, lags
            As of :meth:`gfnode.models.base.Model.forward`.
        """
        return self._ensemble(positions, velocities, lags, self.frequency, self.rate)

    @torch.no_grad()
    def sample(
        self,
        positions: Tensor,
        velocities: Tensor,
        lags: Tensor,
        generator: torch.Generator,
        *,
        exact: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Draw one trajectory of each start.

        Starts i, i + K, … move in member i of K.

        Parameters
        ----------
        positions, velocities, lags
            As of :meth:`forward`; as many starts as a multiple of K.
        generator
            Of ξ and of the random thermostat, on the device of the positions.
        exact
            Velocities are instantaneous, as those this method returns, not finite differences.

        Returns
        -------
        Tensor, Tensor
            Positions and velocities at the lags, ``(batch, 1, time, atom, 3)`` in Å and Å/fs.
        """

        def normal(*more: int) -> Tensor:
            shape = len(positions), 1, *more
            return torch.randn(shape, generator=generator, device=positions.device)

        def draw(_: int) -> tuple[Tensor, Tensor]:
            return normal(), normal(self.freedoms - 1).square().sum(-1)

        if self.freedoms < self.every:
            velocities = without_momenta(positions, velocities, self.masses[:, 0])
        x, v, lags = (y[:, None] for y in (positions, velocities, lags))
        bath = Bath(self.frequency, self.rate, normal(), draw)
        different = None if exact else len(x) // self.potential.members
        return self._integrate(x, v, lags, bath, different=different)

    def _ensemble(
        self, x: Tensor, v: Tensor, lags: Tensor, frequency: Tensor, rate: Tensor
    ) -> Tensor:
        """As :meth:`forward`, with ω and 1/τ ``(batch)`` or one for all."""
        x, v, lags = (y.expand(self.trajectories, *y.shape) for y in (x, v, lags))
        drawn: dict[int, tuple[Tensor, Tensor]] = {}

        def draw(step: int) -> tuple[Tensor, Tensor]:
            first = step - step % DRAWN
            if first not in drawn:
                drawn.clear()
                both = random_numbers(first, self.trajectories, self.freedoms)
                drawn[first] = both[0].to(self.masses), both[1].to(self.masses)
            along, others = (y[step - first, :, None] for y in drawn[first])
            return along, others

        bath = Bath(frequency, rate, self.friction, draw)
        return self._integrate(x, v, lags, bath, different=x.shape[1])[0]

    def _integrate(
        self, x: Tensor, v: Tensor, lags: Tensor, bath: Bath, *, different: int | None
    ) -> tuple[Tensor, Tensor]:
        """Positions and velocities at the lags, all ``(trajectory, batch, ...)``.

        ``different`` is the number of distinct starts in each member, whose velocities are
        differences over the gap; None: velocities are instantaneous.
        """
        shape = x.shape[:2]

        def rows(y: Tensor) -> Tensor:
            return self._by_member(y.expand(shape))[..., None, None]

        x, v, lags = (self._by_member(y) for y in (x, v, lags))
        frequency, rate = rows(bath.frequency), rows(bath.rate)
        start = rows(bath.friction) * frequency / math.sqrt(self.freedoms)
        state = x, v, start, self._accelerations(x)
        if different is not None:
            state, _ = self._instantaneous(state, frequency, different)
        lags = lags.flatten(0, 1)
        found, speeds = (x.new_empty(*lags.shape, *x.shape[2:]) for _ in range(2))
        number = torch.div(lags, self.step, rounding_mode="floor").long()
        order = number.flatten().argsort(stable=True)
        starts = torch.div(order, lags.shape[1], rounding_mode="floor")
        places = order % lags.shape[1]
        ending = torch.bincount(number.flatten())
        # the only synchronisation with the device
        *counts, random = torch.cat([ending, bath.rate.any().to(ending)[None]]).tolist()
        done = at = 0
        for step, count in enumerate(counts):
            if not count and not (random and step % DRAWN == 0):
                continue
            scaling: tuple[Tensor, ...] = ()
            if random and step > at:
                drawn = zip(*(bath.draw(each) for each in range(at, step)), strict=True)
                scaling = rate, *(torch.stack([rows(y) for y in each]) for each in drawn)
            state = self._run_steps(state, step - at, self.step, frequency, scaling)
            at = step
            row, time = (y[done : done + count] for y in (starts, places))
            rest = (lags[row, time] - step * self.step)[:, None, None]
            here, speed, damping, pull = (y.flatten(0, 1)[row] for y in state)
            curve = pull - damping * speed
            found[row, time] = here + rest * speed + rest**2 / 2 * curve
            speeds[row, time] = speed + rest * curve
            done += count
        found, speeds = (y.unflatten(0, x.shape[:2]) for y in (found, speeds))
        return self._by_trajectory(found, shape[1]), self._by_trajectory(speeds, shape[1])

    def known(self, found: Tensor) -> Tensor:
        """Whether positions are in the domain of the potential, ``(trajectory, batch, time)``.

        Of positions as :meth:`forward` returns them; see
        :meth:`gfnode.dynamics.potential.Potential.knows`.
        """
        known = self._by_member(found)
        known = self.potential.knows(known.flatten(1, 2)).unflatten(1, known.shape[1:3])
        return self._by_trajectory(known, found.shape[1])

    def _by_member(self, y: Tensor) -> Tensor:
        """``(trajectory, batch, ...)`` as ``(member, row, ...)``."""
        return y.unflatten(0, (-1, self.potential.members)).transpose(0, 1).flatten(1, 2)

    def _by_trajectory(self, y: Tensor, batch: int) -> Tensor:
        """Inverse of :meth:`_by_member`."""
        return y.unflatten(1, (-1, batch)).transpose(0, 1).flatten(0, 1)

    def _for_members(self, y: Tensor) -> Tensor:
        """Repeat for each member of the potential."""
        return y.expand(self.potential.members, *y.shape)

    def _instantaneous(self, state: State, frequency: Tensor, starts: int) -> tuple[State, Tensor]:
        """Velocities at the start, from stored ones or means over the gap after or before it.

        Also the number of directions that these do not determine, ``(member, row)``.
        """
        x, over, friction, pull = state
        over = over * self.moving
        if not self.span:
            v = over + self.behind * pull
            return (x, v, friction, pull), x.new_zeros(x.shape[:2])
        substeps = max(4, math.ceil(abs(self.span) / self.step))
        frequency = frequency.expand_as(friction)

        def move(v: Tensor, rows: Tensor | slice) -> Tensor:
            begun = x[:, rows], v, friction[:, rows], pull[:, rows]
            return self._run_steps(begun, substeps, self.span / substeps, frequency[:, rows])[0]

        v, lost = velocities_at_start(
            move, x, over, masses=self.masses, gap=self.span, starts=starts
        )
        return (x, v, friction, pull), lost

    @torch.no_grad()
    def measure(self, batch: Batch, gap: float) -> None:
        """Estimate δ, K̄, and whether the whole molecule moves, on training windows.

        It counts as at rest where the kinetic energy of translation and rotation is below a
        hundredth of its equipartition value.

        Parameters
        ----------
        batch
            Many windows: the relative standard error of K̄ from n starts is √(2/gn).
        gap
            Time in fs over which velocities are differences, negative where it ends at the start;
            0: they are instantaneous.
        """
        self.gap.fill_(gap)
        self.behind.zero_()
        self._on_host()
        if not gap:
            pull = [
                self._accelerations(self._for_members(x)).mean(0)
                for x in batch.positions.split(_AT_ONCE)
            ]
            self.behind.copy_(offset(batch.velocities, torch.cat(pull), self.masses))
        pieces = zip(batch.positions.split(_AT_ONCE), batch.velocities.split(_AT_ONCE), strict=True)
        found = zip(*(self._free(*piece) for piece in pieces), strict=True)
        x, v, lost = (torch.cat(y, 1) for y in found)
        own = without_momenta(x, v, self.masses[:, 0])
        energy, left = (0.5 * (self.masses * y.square()).sum((-2, -1)).mean() for y in (v, own))
        free = free_directions(batch.positions, self.masses[:, 0]).max()
        share = 1 - free / self.masses.numel() / 3  # of the energy, by equipartition
        rests = bool(self.moving.all()) and bool(energy - left < 0.01 * share * energy)
        self.directions.copy_(free if rests else torch.tensor(self.every))
        self.kinetic.copy_(energy / (1 - lost.mean() / self.directions))
        self._on_host()

    def _on_host(self, _missing: object = None) -> None:
        self.freedoms, self.span = int(self.directions), float(self.gap)

    def _free(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Positions, velocities and undetermined directions, without a thermostat."""
        x, v = self._for_members(x), self._for_members(v)
        none = torch.zeros_like(self.frequency)
        state = x, v, none.expand(*x.shape[:2], 1, 1), self._accelerations(x)
        (x, v, *_), lost = self._instantaneous(state, none, x.shape[1])
        return x, v, lost

    @torch.no_grad()
    def tune(self, batch: Batch) -> None:
        """Choose the thermostat with the smallest mean logarithmic error on training windows.

        All candidates are tried on a few windows, and the best of them on all windows, together
        with no thermostat.

        Parameters
        ----------
        batch
            Training windows; only lags up to 400 fs are used.
        """
        every = max(1, len(batch.lags) // self._few)
        few = Batch(*(y[::every] for y in vars(batch).values()))
        frequency, rate = choose_thermostat(
            lambda frequency, rate: self._error(few, frequency, rate, 200.0),
            lambda frequency, rate: self._error(batch, frequency, rate, 400.0),
        )
        self.frequency.fill_(frequency)
        self.rate.fill_(rate)

    def _error(self, batch: Batch, frequency: float, rate: float, up_to: float) -> float:
        """Mean logarithm of squared errors at lags up to ``up_to`` fs, with a thermostat."""
        frequencies, rates = (
            self.masses.new_full((len(batch.lags),), y) for y in (frequency, rate)
        )
        found = self._ensemble(
            batch.positions, batch.velocities, batch.lags.clamp(max=up_to), frequencies, rates
        ).mean(0)
        errors = (found - batch.targets).square().mean((-1, -2))[batch.lags <= up_to]
        logarithms = errors.nan_to_num(torch.inf).clamp(1e-12, 1e6).log()
        return float(logarithms.sum()) / max(1, len(logarithms))
