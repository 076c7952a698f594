"""Which file, and which molecule of it, each trajectory of a data set is; from their sources.

A box of identical molecules becomes a trajectory for each molecule
(:func:`gfnode.molecule.replicas.split_molecules`), which messages are not to call files.
"""

from collections.abc import Sequence
from typing import NamedTuple

_MOLECULE = ", molecule "


class Part(NamedTuple):
    """File of a trajectory, counted from 1, and its molecule, from 0; None for all of the file."""

    file: int
    molecule: int | None


def molecule_source(source: str, molecule: int) -> str:
    """Source of a molecule of a file that is taken apart."""
    return f"{source}{_MOLECULE}{molecule}"


def parts(sources: Sequence[str]) -> list[Part]:
    """What the trajectories of a data set are; ``sources`` are theirs."""
    found: list[Part] = []
    file, last = 0, ""
    for source in sources:
        whole, taken, number = source.rpartition(_MOLECULE)
        molecule = int(number) if taken and number.isdecimal() else None
        file += not molecule or whole != last
        last = whole
        found.append(Part(file, molecule))
    return found


def part_names(sources: Sequence[str]) -> list[str]:
    """What messages call the trajectories: ``file 1``, ``molecule 0``, ``molecule 0 of file 2``."""
    found = parts(sources)
    several = len(found) > 0 and found[-1].file > 1
    return [
        f"file {file}"
        if molecule is None
        else f"molecule {molecule}" + (f" of file {file}" if several else "")
        for file, molecule in found
    ]
