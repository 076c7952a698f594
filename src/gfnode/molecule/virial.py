"""Consistency of stored forces with the motion, by a virial theorem for bonds.

At temperature T, with F_i the force on atom i, u the unit vector to it from an atom that it is
bonded to, r their distance and r̄ its mean, the divergence theorem gives for any potential

    ⟨(r − r̄) F_i · u⟩ = −k_B T ⟨1 + 2 (r − r̄)/r⟩,

an equation for each end of each bond, independent of the spacing of frames and of rotation. Forces
in another unit, or gradients instead of forces, give another temperature. Where velocities v_i are
stored, they give that temperature, too, since (r − r̄) v_i · u is bounded:

    ⟨(r − r̄) F_i · u⟩ = −m_i ⟨ṙ v_i · u + (r − r̄) v_i · u̇⟩,

also where a few bonds of a small molecule are not in equilibrium with the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gfnode.thinning import evenly
from gfnode.trajectory import Doubles, Floats, Integers, Trajectory
from gfnode.trajectory.given import unpacked_name
from gfnode.units import BOHR, BOLTZMANN, ELECTRONVOLT, HARTREE, KCAL_MOL, KJ_MOL
from gfnode.windows.forces import RIGID

UNITS = {
    "eV/Å": ELECTRONVOLT,
    "kcal/mol/Å": KCAL_MOL,
    "kJ/mol/Å": KJ_MOL,
    "kJ/mol/nm": KJ_MOL / 10,
    "hartree/Å": HARTREE,
    "hartree/bohr": HARTREE / BOHR,
}
"""Common units of forces, in u Å/fs²."""

EXPECTED = {
    ".extxyz": "eV/Å",
    ".xyz": "eV/Å",
    ".traj": "eV/Å",
    ".trr": "kJ/mol/nm",
    ".npz": "kcal/mol/Å",
}
"""Unit of forces assumed for each format (npz: that of MD17, unless another is given)."""

FACTOR = 3.0
"""Largest accepted ratio, either way, of the temperature from forces to a known one."""

USUAL, COLD, HOT = 300.0, 60.0, 3000.0
"""K. Where the temperature is unknown, the first is assumed, and the others are limits."""

NOTHING = 1e-3
"""K; forces of a lower temperature count as zero: no other unit makes them so small."""

_FEWEST, _MOST = 20, 500  # frames


@dataclass(frozen=True)
class OffForces:
    """Forces that do not fit the motion.

    Parameters
    ----------
    holds
        Temperature from the forces, K; negative where their sign is wrong.
    temperature
        Temperature of the motion, of the same bonds where velocities are stored, K; None: unknown.
    factor
        Estimated ratio of the stored to the true forces.
    unit, expected
        Their likely unit, and the one assumed; None where no unit fits.
    """

    holds: float
    temperature: float | None
    factor: float
    unit: str | None
    expected: str | None

    @property
    def words(self) -> str:
        """Message for the user."""
        if abs(self.holds) < NOTHING:
            return "stored forces are practically zero, although bonds vibrate: leave them out"
        if self.holds < 0:
            return (
                "stored forces push stretched bonds further apart: they look like gradients, "
                "which have the opposite sign; multiply them by −1"
            )
        other = f"{self.temperature:.0f} K" if self.temperature else "a few hundred K"
        size = f"{self.factor:.2g} times too large"
        if self.factor < 1:
            size = f"{1 / self.factor:.2g} times too small"
        holds = f"{self.holds:.2g}" if self.holds < 9.95 else f"{self.holds:.0f}"
        said = (
            f"stored forces are about {size}: they imply a temperature of {holds} K, but the "
            f"motion has {other}"
        )
        if self.unit:
            return f"{said}; they appear to be in {self.unit}, expected {self.expected}"
        return f"{said}; check their unit, and convert them"


def off_forces(
    trajectories: Sequence[Trajectory],
    bonds: Integers,
    temperature: float | None,
    atoms: Integers | None = None,
) -> OffForces | None:
    """Compare stored forces with the motion; None where they agree, or cannot be compared.

    Parameters
    ----------
    trajectories
        Of the same atoms; the first that stores forces is used.
    bonds
        ``(bond, 2)`` among ``atoms`` (all).
    temperature
        Of the motion in K, over the actual degrees of freedom, if known: used where no velocities
        are stored.
    """
    given = next((each for each in trajectories if each.forces is not None), None)
    if given is None or (found := _temperatures(given, bonds, atoms)) is None:
        return None
    holds, moves = found
    likely = moves or temperature
    known = likely if likely and COLD / 2 < likely < HOT else None
    factor = holds / (known or USUAL)
    fits = 1 / FACTOR < factor < FACTOR if known else COLD < holds < HOT
    if fits or (likely and 1 / FACTOR < holds / likely < FACTOR):  # however hot or cold
        return None
    expected = EXPECTED.get(unpacked_name(given.source).suffix.lower())
    unit = _likely_unit(factor, expected)
    if not (unit and expected):
        return OffForces(holds, known, factor, None, None)
    # the factor of the units: the temperature may be off by a little
    return OffForces(holds, known, UNITS[expected] / UNITS[unit], unit, expected)


def _likely_unit(factor: float, expected: str | None) -> str | None:
    """Unit that explains forces too large by a factor, if there is one besides the expected one."""
    if expected is None or not factor > 0:
        return None
    off = {
        name: abs(np.log(factor * value / UNITS[expected]))
        for name, value in UNITS.items()
        if name != expected
    }
    unit = min(off, key=lambda name: off[name])
    return unit if off[unit] < np.log(FACTOR) else None


def _temperatures(
    trajectory: Trajectory, bonds: Integers, atoms: Integers | None
) -> tuple[float, float | None] | None:
    """Temperatures in K from forces, and from velocities if stored: medians over bond ends."""
    if not len(bonds) or len(trajectory) < _FEWEST:
        return None
    frames = evenly(len(trajectory), _MOST)
    chosen = np.arange(trajectory.n_atoms) if atoms is None else atoms

    def ends(values: Floats | None) -> Doubles:
        """Values at the two atoms of every bond, ``(2, frame, bond, 3)``."""
        assert values is not None
        return values[frames][:, chosen][:, bonds.T].astype(np.float64).swapaxes(0, 1)

    x = ends(trajectory.positions)
    r = np.linalg.norm(x[1] - x[0], axis=-1)
    if not r.all() or (r.std(0) < RIGID * r.mean(0)).any():
        return None
    u, swing = (x[1] - x[0]) / r[..., None], r - r.mean(0)
    outward = np.stack([-u, u])  # at each end, away from the other
    thermal = BOLTZMANN * (1 + 2 * swing / r).mean(0)
    work = swing * (outward * ends(trajectory.forces)).sum(-1)
    holds = float(np.median(-work.mean(1) / thermal))
    if trajectory.velocities is None:
        return holds, None
    v = ends(trajectory.velocities)
    along = ((v[1] - v[0]) * u).sum(-1)
    turning = (v[1] - v[0] - along[..., None] * u) / r[..., None]
    rate = along * (outward * v).sum(-1) + swing * (np.stack([-turning, turning]) * v).sum(-1)
    masses = trajectory.masses[chosen][bonds.T]
    return holds, float(np.median(masses * rate.mean(1) / thermal))


def force_warnings(
    trajectories: Sequence[Trajectory], bonds: Integers, atoms: Integers
) -> tuple[str, ...]:
    """A warning where stored forces do not fit the motion, else none."""
    found = off_forces(trajectories, bonds, None, atoms)
    return () if found is None else (f"{trajectories[0].label}: {found.words}",)
