"""The unit of length of positions, told by how far apart bonded atoms are."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from gfnode.errors import InputError
from gfnode.thinning import evenly
from gfnode.trajectory.core import Trajectory
from gfnode.trajectory.formula import masses_of, radii_of
from gfnode.units import BOHR

LENGTHS = {"angstrom": 1.0, "nm": 0.1, "bohr": 1 / BOHR, "pm": 100.0}
"""What nearest atoms measure, in sums of covalent radii, if positions are in this unit."""

UNITS = {"nm": "nm", "bohr": "bohr (atomic units)", "pm": "pm", "angstrom": "Å"}
"""Units of length in words."""

FITS = 1.2
"""A unit fits when nearest atoms are within this factor of the sum of their covalent radii (Å: of
its square; Cα atoms, 2.5 sums apart, must not look like bohr)."""

_FRAMES, _PLACES = 20, 100_000  # looked at, at most


@dataclass(frozen=True)
class Lengths:
    """Whether positions are in Å.

    Parameters
    ----------
    nearest
        Median distance of atoms to their nearest, Å.
    expected
        Median sum of the covalent radii of the same pairs, Å.
    ratio
        Median of the quotients; one for molecules in Å.
    unit
        The unit that it fits; None when none does (no bonds, one atom, or masses of no elements).
    """

    nearest: float | None
    expected: float | None
    ratio: float | None
    unit: str | None

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory]) -> "Lengths":
        """Compare nearest atoms with covalent radii, in some frames of each trajectory."""
        numbers = trajectories[0].numbers
        if len(numbers) < 2:
            return cls(None, None, None, None)
        radii = radii_of(numbers)
        most = max(1, min(_FRAMES, _PLACES // len(numbers)) // len(trajectories))
        near, expected = [], []
        for each in trajectories:
            for k in evenly(len(each), most):
                frame = each.positions[k].astype(np.float64)
                distance, partner = cKDTree(frame).query(frame, k=2)
                near.append(distance[:, 1])
                expected.append(radii + radii[partner[:, 1]])
        ratio = float(np.median(np.stack(near) / np.stack(expected)))
        unit = None
        if ratio > 0:
            off = {name: abs(np.log(ratio / value)) for name, value in LENGTHS.items()}
            best = min(off, key=lambda name: off[name])
            noble = np.isin(numbers, (2, 10, 18, 36, 54)).mean() > 0.5  # they touch, do not bond
            limit = np.log(FITS) * (2 if best == "angstrom" else 1)
            unit = best if off[best] < limit and not noble and not _beads(trajectories[0]) else None
        return cls(float(np.median(near)), float(np.median(expected)), ratio, unit)


def _beads(trajectory: Trajectory) -> bool:
    """Whether most masses are far above those of the elements: these are of coarse-grained models.

    Masses moved to hydrogens and isotopes of hydrogen are not.
    """
    heavier = trajectory.masses > 1.5 * masses_of(trajectory.numbers)
    return bool((heavier & (trajectory.numbers > 1)).mean() > 0.5)


def other_unit(unit: str, nearest: float, expected: float) -> str:
    """Say that positions are in another unit than Å, and what to do."""
    beads = "unless they are beads of a coarse-grained model, " if unit == "bohr" else ""
    return (
        f"positions look like {UNITS[unit]}, not Å: nearest atoms are {nearest:.3g} Å apart, "
        f"expected {expected:.3g} Å from covalent radii; {beads}read the file with --unit {unit} "
        f"(unit={unit!r} in Python; an array of an npz file: --map positions=ARRAY:{unit},…)"
    )


def doubts(trajectory: Trajectory) -> tuple[str, ...]:
    """A sentence where positions look as if they were not in Å, else none.

    Raises
    ------
    InputError
        Where they are surely not: atoms of nm lie so near one another that no molecule in Å could.
    """
    found = Lengths.of([trajectory])
    if found.unit in (None, "angstrom"):
        return ()
    assert found.unit is not None
    assert found.nearest is not None
    assert found.expected is not None
    said = f"{trajectory.label}: {other_unit(found.unit, found.nearest, found.expected)}"
    if found.unit == "nm":
        raise InputError(said)
    return (said,)


def warn_of_unit(trajectory: Trajectory) -> None:
    """Warn where positions look as if they were not in Å; see :func:`doubts`."""
    for doubt in doubts(trajectory):
        warnings.warn(doubt, stacklevel=4)
