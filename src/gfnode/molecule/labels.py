"""Unique, readable labels of atoms and residues."""

from collections.abc import Iterable

from gfnode.trajectory import Topology, Trajectory
from gfnode.trajectory.topology import residues_of


def told_apart(names: Iterable[str]) -> list[str]:
    """Make names unique: the n-th repetition gets the suffix #n, as in ALA2, ALA2#2."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found


def residue_labels(topology: Topology) -> list[str]:
    """Unique label of each residue, such as ALA2, or ALA2#2 in a second chain."""
    names, ids = topology.residue_names, topology.residue_ids
    return told_apart(f"{names[atom]}{ids[atom]}" for atom in residues_of(topology)[1])


def atom_labels(state: Trajectory) -> tuple[str, ...]:
    """Element and index of each atom; residue and name where the topology is more specific."""
    topology, symbols = state.topology, state.symbols
    plain = tuple(f"{symbol}{number}" for number, symbol in enumerate(symbols))
    if topology is None:
        return plain
    residues, (of, first) = residue_labels(topology), residues_of(topology)
    distinct = len(set(zip(of, topology.names, strict=True)))
    if len(set(topology.names)) <= len(set(symbols)) and distinct < len(symbols):
        return plain
    if len(first) == 1:
        return tuple(told_apart(topology.names))
    return tuple(told_apart(f"{residues[r]} {n}" for r, n in zip(of, topology.names, strict=True)))
