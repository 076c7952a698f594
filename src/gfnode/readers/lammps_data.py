"""LAMMPS data files (of ``read_data`` and ``write_data``) as topologies, by ASE."""

import re
from pathlib import Path

import numpy as np

from gfnode.errors import InputError
from gfnode.readers.boundary import foreign
from gfnode.readers.by_mass import elements_by_mass
from gfnode.trajectory import Doubles, Integers, Topology

ELSE = "give the atoms as PDB, with elements, instead"


def is_data(path: Path) -> bool:
    """Whether a file is named as LAMMPS data files are: ``run.data``, ``run.lmp``, ``data.run``."""
    return path.suffix.lower() in (".data", ".lmp") or path.name.lower().startswith("data.")


def topology_of_data(path: Path) -> tuple[Integers, Topology, str, Doubles]:
    """Elements, names and bonds of atoms in the order of their ids, a note, and masses in u.

    Elements are those of the nearest masses, a molecule is a residue, and atoms are called by
    their elements. A file without bonds leaves them to be found by distances.

    Raises
    ------
    InputError
        When ASE cannot read it, and for masses that are not there or those of no element.
    """
    from ase.data import chemical_symbols
    from ase.io.lammpsdata import read_lammps_data

    said = "is no LAMMPS data file that ASE reads, as write_data of LAMMPS writes (Atoms # full)"
    with foreign(path, said):
        atoms = read_lammps_data(str(path), read_image_flags=False)
        if not len(atoms):
            raise InputError(f"{path}: holds no atoms")
        bonds = [
            sorted((atom, int(other)))
            for atom, text in enumerate(atoms.arrays.get("bonds", ()))
            for other in re.findall(r"(\d+)\(", text)
        ]
        molecules = atoms.arrays.get("mol-id", np.ones(len(atoms), dtype=np.int64))
    if "masses" not in atoms.arrays:
        raise InputError(f"{path}: has no Masses, which tell its elements: {ELSE}")
    masses = atoms.get_masses()
    numbers, note = elements_by_mass(path, masses, ELSE)
    names = Topology(
        tuple(chemical_symbols[z] for z in numbers),
        ("MOL",) * len(atoms),
        tuple(molecules.tolist()),
        np.unique(np.array(bonds, dtype=np.int64).reshape(-1, 2), axis=0),
    )
    return numbers, names, note, masses
