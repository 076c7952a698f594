"""Are forces of the size that the motion says: the temperature that they hold bonds at.

At temperature T, with F_i the force on atom i, u the direction to it from an atom that it is bonded
to, r their distance and r̄ its mean, the divergence theorem gives for any potential

    ⟨(r − r̄) F_i · u⟩ = −k_B T ⟨1 + 2 (r − r̄)/r⟩,

one more equation for every end of every bond, however far frames are apart and however the molecule
turns. Forces in another unit, or gradients in their place, give another temperature.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gfnode import geometry
from gfnode.thinning import evenly
from gfnode.trajectory import Integers, Trajectory
from gfnode.units import BOHR, BOLTZMANN, ELECTRONVOLT, HARTREE, KCAL_MOL, KJ_MOL

UNITS = {
    "eV/Å": ELECTRONVOLT,
    "kcal/mol/Å": KCAL_MOL,
    "kJ/mol/Å": KJ_MOL,
    "kJ/mol/nm": KJ_MOL / 10,
    "hartree/Å": HARTREE,
    "hartree/bohr": HARTREE / BOHR,
}
"""What forces are written in, in u Å/fs²."""

EXPECTED = {".extxyz": "eV/Å", ".xyz": "eV/Å", ".trr": "kJ/mol/nm", ".npz": "kcal/mol/Å"}
"""What a file of each format is taken to hold them in (npz: MD17, where nothing else is named)."""

FACTOR = 3.0
"""A known temperature that forces miss by more than this either way is told."""

USUAL, COLD, HOT = 300.0, 60.0, 3000.0
"""K. Where no temperature is known, all between cold and hot is taken; the first is assumed."""

NOTHING = 1e-3
"""K. Forces that hold bonds at less are none: no other unit makes them so small."""

RIGID = 5e-4
"""Bonds that vary by less than this share of their length are held, and tell nothing."""

ZERO = 0.01
"""A momentum below this share of its thermal size is zero."""

_FEWEST, _MOST = 20, 500  # frames


@dataclass(frozen=True)
class OffForces:
    """Forces that do not fit the motion.

    Parameters
    ----------
    holds
        The temperature that they hold bonds at, K; below zero: they push where they should pull.
    temperature
        Of the motion, over what really moves, K; None where it is not known.
    factor
        How many times too large they are, as far as that tells.
    unit, expected
        What they are likely written in, and what they were taken for; None where nothing fits.
    """

    holds: float
    temperature: float | None
    factor: float
    unit: str | None
    expected: str | None

    @property
    def words(self) -> str:
        """Say it."""
        if abs(self.holds) < NOTHING:
            return "stored forces are as good as zero, though bonds swing: leave them out"
        if self.holds < 0:
            return (
                "stored forces push bonds apart when they are long: they look like gradients, "
                "which have the other sign; multiply them by −1"
            )
        other = f"{self.temperature:.0f} K" if self.temperature else "some hundred K"
        size = f"{self.factor:.2g} times too large"
        if self.factor < 1:
            size = f"{1 / self.factor:.2g} times too small"
        holds = f"{self.holds:.2g}" if self.holds < 9.95 else f"{self.holds:.0f}"
        said = (
            f"stored forces are some {size}: bonds swing under them as at {holds} K, and the "
            f"motion is that of {other}"
        )
        if self.unit:
            return f"{said}; they look like {self.unit}, and {self.expected} is expected"
        return f"{said}; look up their unit, and convert them"


def off_forces(
    trajectories: Sequence[Trajectory],
    bonds: Integers,
    temperature: float | None,
    atoms: Integers | None = None,
) -> OffForces | None:
    """Compare stored forces with the motion; None where they fit, or nothing can be told.

    Parameters
    ----------
    trajectories
        Of the same atoms; the first that stores forces is looked at.
    bonds
        ``(bond, 2)`` among ``atoms`` (all).
    temperature
        Of the motion in K, over the degrees of freedom that really move, where it is known.
    """
    given = next((each for each in trajectories if each.forces is not None), None)
    if given is None or (holds := _holds(given, bonds, atoms)) is None:
        return None
    known = temperature if temperature and COLD / 2 < temperature < HOT else None
    factor = holds / (known or USUAL)
    fits = 1 / FACTOR < factor < FACTOR if known else COLD < holds < HOT
    if fits:
        return None
    expected = EXPECTED.get(Path(given.source).suffix.lower())
    unit = None
    if expected and holds > 0:
        off = {name: abs(np.log(factor * value / UNITS[expected])) for name, value in UNITS.items()}
        unit = min((name for name in UNITS if name != expected), key=lambda name: off[name])
        unit = unit if off[unit] < np.log(FACTOR) else None
    if unit and expected:  # the temperature may be off by a little
        factor = UNITS[expected] / UNITS[unit]
    return OffForces(holds, known, factor, unit, expected if unit else None)


def _holds(trajectory: Trajectory, bonds: Integers, atoms: Integers | None) -> float | None:
    """Temperature at which forces hold bonds: the median over both ends of all, in K."""
    if not len(bonds) or len(trajectory) < _FEWEST:
        return None
    assert trajectory.forces is not None
    frames = evenly(len(trajectory), _MOST)
    chosen = np.arange(trajectory.n_atoms) if atoms is None else atoms
    x = trajectory.positions[frames][:, chosen].astype(np.float64)
    forces = trajectory.forces[frames][:, chosen].astype(np.float64)
    apart = x[:, bonds[:, 1]] - x[:, bonds[:, 0]]
    r = np.linalg.norm(apart, axis=-1)
    if not r.all() or (r.std(0) < RIGID * r.mean(0)).any():
        return None
    u, swing = apart / r[..., None], r - r.mean(0)
    work = [
        (swing * (sign * u * forces[:, bonds[:, end]]).sum(-1)).mean(0)
        for end, sign in ((0, -1), (1, 1))
    ]
    return float(np.median(-np.stack(work) / (1 + 2 * swing / r).mean(0)) / BOLTZMANN)


def moving_temperature(trajectory: Trajectory) -> float | None:
    """Temperature in K over what moves; None where no velocities are stored.

    T = Σ m v² / (k_B f), f = 3N less three for a momentum and three for an angular momentum (two
    atoms: two) that is zero. Of a few atoms those are a large share. Bonds that are held, which
    take more away, leave nothing to compare forces with.
    """
    if trajectory.velocities is None:
        return None
    frames = evenly(len(trajectory), _MOST)
    x, v = (
        torch.from_numpy(each[frames].astype(np.float64))
        for each in (trajectory.positions, trajectory.velocities)
    )
    masses, atoms = torch.from_numpy(trajectory.masses), trajectory.n_atoms
    twice = float((masses[:, None] * v**2).sum((1, 2)).mean())  # the kinetic energy
    thermal = geometry.thermal_momenta(x, masses, twice / (3 * atoms))
    linear = geometry.momentum(v, masses).square().sum(-1).mean().sqrt()
    angular = geometry.angular_momentum(x, v, masses).square().sum(-1).mean().sqrt()
    degrees = 3 * atoms
    if float(linear) < ZERO * thermal[0]:
        degrees -= 3
    if atoms > 1 and float(angular) < ZERO * thermal[1]:
        degrees -= 2 if atoms == 2 else 3
    return twice / (degrees * BOLTZMANN) if degrees > 0 else None


def doubts_of_forces(
    trajectories: Sequence[Trajectory], bonds: Integers, atoms: Integers
) -> tuple[str, ...]:
    """A sentence where stored forces do not fit the motion, else none."""
    found = off_forces(trajectories, bonds, moving_temperature(trajectories[0]), atoms)
    return () if found is None else (f"{trajectories[0].label}: {found.words}",)
