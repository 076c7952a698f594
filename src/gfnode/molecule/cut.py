"""Starts that a periodic box cuts: readers make molecules whole, other libraries need not."""

import warnings

import numpy as np

from gfnode.molecule.labels import atom_labels
from gfnode.molecule.periodic import lattices
from gfnode.molecule.system import System
from gfnode.thinning import evenly
from gfnode.trajectory import Trajectory

_FRAMES = 20


def warn_of_cut(state: Trajectory, system: System) -> None:
    """Warn where bonds of training between state atoms reach across the cell of a frame."""
    if state.cell is None or not len(system.bonds):
        return
    frames = evenly(len(state), _FRAMES)
    lattice = lattices(state.cell[frames])
    ends = state.positions[frames].astype(np.float64)[:, system.bonds]
    parts = (ends[:, :, 1] - ends[:, :, 0]) @ np.linalg.pinv(lattice)
    across = (np.rint(parts) != 0).any(axis=-1)
    if not across.any():
        return
    names, cut = atom_labels(state), int(across.any(axis=1).sum())
    one, other = (names[atom] for atom in system.bonds[int(across.any(axis=0).argmax())])
    warnings.warn(
        f"{state.label}: the periodic box cuts the molecule: in {cut} of {len(frames)} "
        f"frames bonds such as {one}–{other} reach across it, and what is predicted "
        "from there means nothing. Give the file itself, whose molecules gfnode.load makes whole, "
        "or make them whole first",
        stacklevel=4,
    )
