"""Molecular dynamics in double precision: velocity Verlet, with Bussi's thermostat or Langevin's.

Written here rather than taken from ASE for two reasons: ASE's ``Bussi`` counts 3N degrees of
freedom for a molecule that neither drifts nor turns, so that it runs 3N/(3N − 6) times hotter than
it was told (15 % for toluene); and its state cannot be stored, so no run can be gone on with.
Units: Å, fs, u, K, energies in u Å²/fs².
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gfnode.trajectory import Doubles
from gfnode.units import BOLTZMANN

Forces = Callable[[Doubles], tuple[float, Doubles]]
"""Energy and forces ``(atom, 3)`` of positions ``(atom, 3)``."""

_NEXT, _LAST = [1, 2, 0], [2, 0, 1]

Conserved = Literal["momenta", "momentum", "nothing"]
"""What stays zero: momentum and angular momentum, momentum alone (in a box), or nothing."""


@dataclass
class State:
    """Everything that a run needs to go on.

    Parameters
    ----------
    positions, velocities, forces
        ``(atom, 3)`` in Å, Å/fs and u Å/fs².
    potential
        Energy in u Å²/fs².
    heat
        Energy that the thermostat has put in, in u Å²/fs².
    """

    positions: Doubles
    velocities: Doubles
    forces: Doubles
    potential: float
    heat: float = 0.0
    random: np.random.Generator = field(default_factory=np.random.default_rng)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Give arrays that hold all of it, that of the random numbers too."""
        return {
            "positions": self.positions,
            "velocities": self.velocities,
            "forces": self.forces,
            "energies": np.array([self.potential, self.heat]),
            "random": np.array(json.dumps(self.random.bit_generator.state)),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "State":
        """Inverse of :meth:`to_arrays`."""
        random = np.random.default_rng()
        random.bit_generator.state = json.loads(str(arrays["random"]))
        potential, heat = map(float, arrays["energies"])
        x, v, forces = (arrays[key] for key in ("positions", "velocities", "forces"))
        return cls(x, v, forces, potential, heat, random)


def degrees_of_freedom(atoms: int, conserved: Conserved) -> int:
    """Number of independent velocities.

    3N, less three where the momentum is kept at zero, less three more (two for two atoms) where
    the angular momentum is too. Three or more atoms in a line count as any other molecule: they
    leave it at once.
    """
    if conserved == "nothing":
        return 3 * atoms
    if conserved == "momentum":
        return 3 * atoms - 3
    return {1: 0, 2: 1}.get(atoms, 3 * atoms - 6)


def kinetic_energy(masses: Doubles, velocities: Doubles) -> float:
    """½ Σ m v² in u Å²/fs²."""
    return float(masses @ np.square(velocities).sum(1)) / 2


def without_momenta(
    masses: Doubles, positions: Doubles, velocities: Doubles, conserved: Conserved
) -> Doubles:
    """Take drift and, for ``momenta``, rotation out of velocities ``(atom, 3)``."""
    if conserved == "nothing":
        return velocities
    velocities = velocities - masses @ velocities / masses.sum()
    if conserved == "momentum" or len(masses) == 1:
        return velocities
    import torch  # late: what only reads the module does without it

    from gfnode import geometry

    arrays = (np.ascontiguousarray(each) for each in (positions, velocities, masses))
    return np.asarray(geometry.without_momenta(*map(torch.from_numpy, arrays)))


def without_torque(masses: Doubles, positions: Doubles, forces: Doubles) -> Doubles:
    """Take net force and torque out of forces ``(atom, 3)``, as rigid accelerations.

    For engines whose forces come from an iteration that stops before rounding: exact ones have
    neither.
    """
    about = positions - masses @ positions / masses.sum()
    rate = _rate(masses, about, _cross(about, forces).sum(0))
    share = masses[:, None]
    return np.asarray(forces - share * (forces.sum(0) / masses.sum() + _cross(rate, about)))


def _rate(masses: Doubles, about: Doubles, turning: Doubles) -> Doubles:
    """I⁻¹ L, or of a torque; ``about (atom, 3)`` are positions from the centre of mass."""
    inertia = (masses * np.square(about).sum(1)).sum() * np.eye(3) - (masses * about.T) @ about
    moments, axes = np.linalg.eigh(inertia)
    # of a linear molecule the inertia about its axis is zero, and so is that angular momentum
    turns = moments > 1e-10 * moments[-1]  # as in gfnode.geometry
    return np.asarray(axes @ (turns * (axes.T @ turning) / np.where(turns, moments, 1.0)))


def _cross(a: Doubles, b: Doubles) -> Doubles:
    """Give a × b along the last axis; ``np.cross`` takes five times as long for a molecule."""
    return np.asarray(a[..., _NEXT] * b[..., _LAST] - a[..., _LAST] * b[..., _NEXT])


def thermal_velocities(masses: Doubles, temperature: float, random: np.random.Generator) -> Doubles:
    """Draw velocities of Maxwell and Boltzmann, ``(atom, 3)`` in Å/fs at ``temperature`` in K."""
    spread = np.sqrt(BOLTZMANN * temperature / masses)[:, None]
    return np.asarray(spread * random.standard_normal((len(masses), 3)))


@dataclass(frozen=True)
class Bussi:
    """Stochastic velocity rescaling (Bussi, Donadio, Parrinello 2007, eq. A7).

    All velocities are multiplied by the same α, so what is zero in sum stays zero. The kinetic
    energy K follows its canonical distribution of ``degrees`` degrees of freedom:
    α² = (√c + R₁ √s)² + s (R₂² + … + R_f²), with c = exp(−Δt/τ), s = (1 − c) k_B T/(2K) and f
    normal deviates R; α has the sign of the first bracket (eq. A8).

    Parameters
    ----------
    temperature
        In K, of ``degrees`` degrees of freedom.
    coupling
        τ in fs.
    """

    temperature: float
    coupling: float
    degrees: int

    def scale(self, kinetic: float, step: float, random: np.random.Generator) -> float:
        """α for a kinetic energy in u Å²/fs² and a time step in fs."""
        first = random.standard_normal()
        rest = 2 * random.standard_gamma((self.degrees - 1) / 2)
        if not kinetic > 0:
            return 1.0
        kept = np.exp(-step / self.coupling)
        share = (1 - kept) * BOLTZMANN * self.temperature / (2 * kinetic)
        along = np.sqrt(kept) + first * np.sqrt(share)
        return float(np.copysign(np.sqrt(along**2 + share * rest), along))


@dataclass(frozen=True)
class Langevin:
    """Friction and noise on every atom; momenta are thermal, not zero.

    Parameters
    ----------
    temperature
        In K.
    coupling
        Inverse friction in fs.
    """

    temperature: float
    coupling: float


Thermostat = Bussi | Langevin | None


def advance(
    state: State,
    forces: Forces,
    masses: Doubles,
    *,
    step: float,
    steps: int,
    thermostat: Thermostat,
) -> None:
    """Integrate ``steps`` steps of ``step`` fs, changing ``state``.

    Velocity Verlet: v += (Δt/2) F/m, x += Δt v, v += (Δt/2) F/m, then the rescaling of
    :class:`Bussi`. With :class:`Langevin` the drift is split about the exact solution of friction
    and noise ("BAOAB", Leimkuhler and Matthews 2013). Velocities are of the time of the positions.
    """
    weights = masses[:, None]
    half = step / 2 / weights
    if isinstance(thermostat, Langevin):
        kept = np.exp(-step / thermostat.coupling)
        noise = np.sqrt((1 - kept**2) * BOLTZMANN * thermostat.temperature / weights)
    x, v = state.positions, state.velocities
    for _ in range(steps):
        v = v + half * state.forces
        if isinstance(thermostat, Langevin):
            x = x + step / 2 * v
            before = kinetic_energy(masses, v)
            v = kept * v + noise * state.random.standard_normal(v.shape)
            state.heat += kinetic_energy(masses, v) - before
            x = x + step / 2 * v
        else:
            x = x + step * v
        state.potential, state.forces = forces(x)
        v = v + half * state.forces
        if isinstance(thermostat, Bussi):
            kinetic = kinetic_energy(masses, v)
            scale = thermostat.scale(kinetic, step, state.random)
            v = scale * v
            state.heat += (scale**2 - 1) * kinetic
        state.positions, state.velocities = x, v
