"""From what a user names to a molecule with a geometry: built in, a structure file, or SMILES."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from gfnode.errors import InputError
from gfnode.readers import FORMATS, load
from gfnode.readers.boundary import existing_file, foreign
from gfnode.simulate.extra import need
from gfnode.trajectory import Doubles, Integers, Topology, masses_of
from gfnode.trajectory.formula import other_masses

PEPTIDES = {"ala2": "alanine-dipeptide.pdb"}
"""Built-in molecules with residues, which force fields of proteins know."""

EMBEDDING_SEED = 20


@dataclass(frozen=True, eq=False)
class Molecule:
    """A molecule to begin a simulation with.

    Parameters
    ----------
    name
        What to call it, and its files.
    origin
        Where the geometry came from.
    numbers
        Atomic numbers, ``(atom,)``.
    positions
        ``(atom, 3)`` in Å.
    charge
        In e.
    unpaired
        Number of unpaired electrons.
    cell
        Periodic box vectors as rows, ``(3, 3)`` in Å.
    topology
        Names, residues and bonds.
    pdb
        A PDB file that it came from.
    atom_masses
        ``(atom,)`` in u, where they are not the standard ones; see
        :class:`gfnode.trajectory.Trajectory`.
    """

    name: str
    origin: str
    numbers: Integers
    positions: Doubles
    charge: int = 0
    unpaired: int = 0
    cell: Doubles | None = None
    topology: Topology | None = None
    pdb: Path | None = None
    atom_masses: Doubles | None = None

    @property
    def masses(self) -> Doubles:
        """Masses in u, ``(atom,)``."""
        return masses_of(self.numbers) if self.atom_masses is None else self.atom_masses

    def to_ase(self) -> Any:
        """Give ``ase.Atoms``, whose initial charges and magnetic moments sum up to the total."""
        from ase import Atoms

        atoms = Atoms(
            self.numbers,
            self.positions,
            cell=self.cell,
            pbc=self.cell is not None,
            masses=self.atom_masses,
        )
        first = np.arange(len(self.numbers)) == 0
        atoms.set_initial_charges(self.charge * first)
        atoms.set_initial_magnetic_moments(self.unpaired * first)
        return atoms


@cache
def built_in() -> dict[str, Molecule]:
    """Built-in molecules by name: those of MD17, in its order of atoms, and alanine dipeptide.

    Their geometries were embedded with RDKit and relaxed with GFN2-xTB to forces of 0.01 eV/Å.
    """
    import ase.io

    found = {}
    with as_file(files("gfnode") / "data" / "molecules.extxyz") as path:
        for atoms in ase.io.read(path, index=":", format="extxyz"):
            name = str(atoms.info["name"])
            found[name] = Molecule(
                name,
                f"{name} (built in)",
                np.asarray(atoms.numbers, dtype=np.int64),
                np.asarray(atoms.positions, dtype=np.float64),
            )
    for name, file in PEPTIDES.items():
        with as_file(files("gfnode") / "data" / file) as path:
            found[name] = _of_trajectory(path, name, f"{name} (built in)")
    return found


def find(what: str) -> Molecule:
    """Return the molecule that a user names.

    Parameters
    ----------
    what
        A built-in name (``toluene``, ``ala2``), a structure file (its first frame) or SMILES.

    Raises
    ------
    InputError
        When it is none of these, or RDKit is needed and not installed.
    """
    if what in built_in():
        return built_in()[what]
    path = Path(what).expanduser()
    if what.startswith("sample:") or path.is_file() or path.suffix.lower() in FORMATS:
        return _of_file(what, path)
    return _of_smiles(what)


def _of_file(what: str, path: Path) -> Molecule:
    if what.startswith("sample:"):
        return _of_trajectory(what, what.removeprefix("sample:"), f"the first frame of {what}")
    existing_file(path)
    if path.suffix.lower() in (".pdb", ".npz", ".h5"):
        return _of_trajectory(path, path.stem, f"the first frame of {path.name}")
    with foreign(path, "ASE cannot read a structure from it"):
        import ase.io

        atoms: Any = ase.io.read(path, index=0)
        numbers = np.asarray(atoms.numbers, dtype=np.int64)
        return Molecule(
            path.stem,
            f"the first frame of {path.name}",
            numbers,
            np.asarray(atoms.positions, dtype=np.float64),
            round(float(atoms.get_initial_charges().sum())),
            round(abs(float(atoms.get_initial_magnetic_moments().sum()))),
            np.asarray(atoms.cell, dtype=np.float64) if atoms.pbc.all() else None,
            atom_masses=other_masses(atoms.get_masses(), numbers),
        )


def _of_trajectory(source: Path | str, name: str, origin: str) -> Molecule:
    """Take the first frame of a file of a format that gfnode reads, with its names and bonds."""
    first = load(source, step=1.0, select="all", whole=False)[0]
    return Molecule(
        name,
        origin,
        first.numbers,
        first.positions[0].astype(np.float64),
        cell=None if first.cell is None else first.cell[0].astype(np.float64),
        topology=first.topology,
        pdb=source if isinstance(source, Path) and source.suffix.lower() == ".pdb" else None,
        atom_masses=first.atom_masses,
    )


def _of_smiles(text: str) -> Molecule:
    """Embed SMILES with RDKit (ETKDG, then MMFF94 where it has parameters)."""
    hint = f"; built-in molecules are {', '.join(built_in())}"
    need("rdkit", f"{text!r} is neither a built-in molecule nor a file{hint}; SMILES")
    from rdkit import Chem, RDLogger
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
    from rdkit.Chem.Descriptors import NumRadicalElectrons
    from rdkit.Chem.rdMolDescriptors import CalcMolFormula

    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined] # it would write to stderr
    drawn = Chem.MolFromSmiles(text)
    if drawn is None or not drawn.GetNumAtoms():
        raise InputError(f"{text!r} is not a built-in molecule, a file or SMILES{hint}")
    if len(Chem.GetMolFrags(drawn)) > 1:
        raise InputError(f"{text!r} contains several molecules: give one, or a structure file")
    molecule = Chem.AddHs(drawn)
    if rdDistGeom.EmbedMolecule(molecule, randomSeed=EMBEDDING_SEED) != 0:
        raise InputError(f"{text!r}: RDKit finds no geometry: give a structure file")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=2000)
    atoms = list(molecule.GetAtoms())
    numbers = np.array([atom.GetAtomicNum() for atom in atoms], dtype=np.int64)
    return Molecule(
        CalcMolFormula(drawn),
        f"SMILES {text}",
        numbers,
        np.asarray(molecule.GetConformer().GetPositions(), dtype=np.float64),
        Chem.GetFormalCharge(molecule),
        NumRadicalElectrons(molecule),
        atom_masses=other_masses(np.array([atom.GetMass() for atom in atoms]), numbers),
    )
