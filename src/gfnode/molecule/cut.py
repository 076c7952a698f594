"""Molecules that a periodic box cuts: readers make molecules whole, other libraries need not."""

import warnings
from collections.abc import Sequence

import numpy as np

from gfnode.molecule.labels import atom_labels
from gfnode.molecule.order import LONG
from gfnode.molecule.periodic import images, lattices
from gfnode.molecule.system import System
from gfnode.thinning import evenly
from gfnode.trajectory import Integers, Trajectory, radii_of

_FRAMES = 20
_REMEDY = "Give the file itself, whose molecules gfnode.load makes whole, or make them whole first"


def warn_of_cut(state: Trajectory, system: System) -> None:
    """Warn where bonds of training between state atoms reach across the cell of a frame."""
    if found := cut_by_box(state, system.bonds):
        warnings.warn(
            f"{found}, and what is predicted from there means nothing. {_REMEDY}", stacklevel=4
        )


def cut_warnings(trajectories: Sequence[Trajectory], bonds: Integers) -> tuple[str, ...]:
    """A sentence for each trajectory whose bonds ``(bond, 2)`` reach across its cell."""
    found = (cut_by_box(each, bonds) for each in trajectories)
    return tuple(f"{each}, and a model of them means nothing. {_REMEDY}" for each in found if each)


def cut_by_box(trajectory: Trajectory, bonds: Integers) -> str:
    """Say in how many of some frames bonds reach across the cell; empty where none does."""
    if trajectory.cell is None or not len(bonds):
        return ""
    frames = evenly(len(trajectory), _FRAMES)
    lattice = lattices(trajectory.cell[frames])
    ends = trajectory.positions[frames].astype(np.float64)[:, bonds]
    apart = ends[:, :, 1] - ends[:, :, 0]
    usual = radii_of(trajectory.numbers)[bonds].sum(1)
    # in the small cell of a crystal a bond may be longer than half of it
    across = images(apart, lattice).any(axis=-1)
    across &= np.linalg.norm(apart, axis=-1) > LONG * usual
    if not across.any():
        return ""
    names, cut = atom_labels(trajectory), int(across.any(axis=1).sum())
    one, other = (names[atom] for atom in bonds[int(across.any(axis=0).argmax())])
    return (
        f"{trajectory.label}: the periodic box cuts the molecule: in {cut} of {len(frames)} frames "
        f"bonds such as {one}–{other} reach across it"
    )
