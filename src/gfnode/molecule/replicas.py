"""Splitting a box or cluster of identical molecules into one trajectory for each."""

from collections import Counter
from dataclasses import replace

import numpy as np

from gfnode import graph
from gfnode.errors import InputError
from gfnode.molecule.periodic import label
from gfnode.trajectory import Trajectory
from gfnode.trajectory.parts import molecule_source


def split_molecules(trajectory: Trajectory) -> list[Trajectory]:
    """Split a trajectory into replicas, one for each molecule, with the same times and atoms.

    Molecules are connected components of the bonds of the topology, else by covalent radii.

    Raises
    ------
    InputError
        For molecules of several kinds, or of one kind with their atoms in different orders.
    """
    where = f"{trajectory.source or trajectory.label}: "
    if (topology := trajectory.topology) is not None and len(topology.bonds):
        bonds = topology.bonds
    else:
        bonds = graph.bonds_from_distances(trajectory.numbers, trajectory.positions)
    molecules = label(bonds, trajectory.n_atoms)
    atoms = [np.flatnonzero(molecules == number) for number in range(molecules.max() + 1)]
    kinds = Counter(trajectory[0].select(each).formula for each in atoms)
    if len(kinds) > 1:
        found = ", ".join(f"{count} × {formula}" for formula, count in kinds.most_common(6))
        raise InputError(
            f"{where}holds molecules of several kinds ({found}); choose one kind with --select"
        )
    if len(atoms) == 1:
        return [trajectory]
    first = trajectory.numbers[atoms[0]]
    for number, mine in enumerate(atoms):
        if not np.array_equal(trajectory.numbers[mine], first):
            raise InputError(
                f"{where}molecule {number} (atoms {mine[0]} to {mine[-1]}) has its atoms in "
                "another order than molecule 0"
            )
    return [
        replace(
            trajectory.select(mine),
            source=molecule_source(trajectory.source, number),
            notes=trajectory.notes if number else (*trajectory.notes, _note(trajectory, atoms)),
        )
        for number, mine in enumerate(atoms)
    ]


def _note(trajectory: Trajectory, atoms: list[np.ndarray]) -> str:
    return f"{trajectory.label}: {len(atoms)} molecules of {len(atoms[0])} atoms, one replica each"
