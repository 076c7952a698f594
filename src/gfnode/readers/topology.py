"""Topology files, most by mdtraj: elements, names and bonds, and what they leave to be guessed."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gfnode.errors import InputError
from gfnode.readers.boundary import foreign
from gfnode.readers.by_mass import NEAR_MASS
from gfnode.readers.cells import ANGSTROM_PER_NM
from gfnode.readers.hdf5 import topology_of
from gfnode.readers.lammps_data import is_data, topology_of_data
from gfnode.readers.source import Block, Placed, Source
from gfnode.trajectory import Doubles, Integers, Topology
from gfnode.trajectory.mdtraj import from_mdtraj, masses_in

IONS = {
    name: symbol
    for symbol, names in {
        "Li": "LI LI+ LIT",
        "Na": "NA NA+ NA1+ SOD",
        "K": "K K+ K1+ POT",
        "Rb": "RB RB+ RUB",
        "Cs": "CS CS+ CES",
        "Mg": "MG MG2 MG+2 MG2+",
        "Ca": "CA CA2 CA+2 CA2+ CAL",
        "Zn": "ZN ZN2 ZN+2 ZN2+",
        "F": "F F-",
        "Cl": "CL CL- CL1- CLA",
        "Br": "BR BR-",
        "I": "I I- IOD",
    }.items()
    for name in names.split()
}
"""What residues of a single ion, and its atom, are called, and its element."""

AMINO_ACIDS = ("ASH", "CYX", "HID", "HIE", "HSP", "NMA")
"""Names of amino acids that mdtraj does not know."""

OF_TWO_LETTERS = re.compile(r"(CL|BR|SI|SE|FE)\d*[+-]?")
"""Names of atoms outside of proteins that are these elements, not C, B, S or F."""

DUMMY = re.compile(r"DU.*")
"""Names of sites without an element, which are no deuterium."""


@dataclass(frozen=True)
class Top:
    """A topology file that was read."""

    path: Path
    numbers: Integers
    topology: Topology
    notes: tuple[str, ...] = ()
    placed: Placed | None = None
    masses: Doubles | None = None

    def source(
        self,
        times: Doubles,
        blocks: Callable[[Integers], Iterator[Block]],
        step: float | None,
        notes: Sequence[str] = (),
    ) -> Source:
        """Frames of these atoms, opened; ``notes`` are those of their own file."""
        return Source(
            self.numbers,
            times,
            blocks,
            topology=self.topology,
            time_step=step,
            notes=(*self.notes, *notes),
            placed=self.placed,
            masses=self.masses,
        )


def read_topology(path: Path | None) -> Top:
    """Read atomic numbers, names and bonds from a file of any kind of `READ`."""
    assert path is not None  # formats without elements are given one
    suffix = path.suffix.lower()
    if suffix in (".h5", ".hdf5"):
        return Top(path, *topology_of(path))
    if suffix == ".lh5":
        raise InputError(
            f"{path}: LH5 files can hold Python objects that execute code when they are read: give "
            "another topology, such as PDB"
        )
    if is_data(path):
        numbers, names, note, weights = topology_of_data(path)
        return Top(path, numbers, names, (note,), masses=weights)
    _need_reader(path, suffix)
    import mdtraj  # only now: the above do without

    with foreign(path, "no topology can be read from it"):
        placed = None
        if suffix in PLACING:  # which load_topology reads in the same way
            frame = _first_frame(path)
            found, placed = frame.topology, _placed(path, frame)
        else:
            found = mdtraj.load_topology(str(path))
        notes = _elements_of_psf(path, found) if suffix == ".psf" else ()
        notes += elements_of_pdb(path, found) if suffix == ".pdb" else ()
        notes += _elements_of_gro(path, found) if suffix == ".gro" else ()
        notes += _elements_of_ions(path, found)
        masses = _masses(path, found.n_atoms)
        masses = masses_in(found) if masses is None else masses
        return Top(path, *from_mdtraj(found), notes, placed, masses)


AMBER = (".prmtop", ".parm7", ".prm7")
"""Amber's topologies."""

PLACING = (".pdb", ".gro")
"""Topologies that say where the atoms are."""


READ = (
    *(*PLACING, ".psf", *AMBER, ".cif", ".mmcif", ".pdbx", ".mol2"),
    *(".data", ".lmp", ".h5", ".hdf5", ".hoomdxml", ".arc", ".gsd"),
)
"""All topologies that can be read, most common first."""


def _need_reader(path: Path, suffix: str) -> None:
    """Refuse what mdtraj cannot read, with a remedy, which its own words lack."""
    if suffix not in READ:
        convert = "convert it to PDB"
        if suffix == ".tpr":
            convert += f" (gmx editconf -f {path.name} -o {path.stem}.pdb)"
        raise InputError(
            f"{path}: no topology can be read from {suffix or 'a file without a suffix'}: expected "
            f"{', '.join(READ)}; {convert}, or leave out --top if the trajectory "
            "itself gives elements (a LAMMPS dump in a column element or mass)"
        )
    if suffix == ".mol2" and find_spec("pandas") is None:  # else mdtraj prints a banner
        raise InputError(
            f"{path}: mol2 files need pandas: pip install pandas, or give another topology, such "
            "as PDB"
        )


def _first_frame(path: Path) -> Any:
    import mdtraj

    if path.suffix.lower() == ".pdb":
        return mdtraj.load_frame(str(path), 0)
    with mdtraj.formats.GroTrajectoryFile(str(path)) as file:  # it cannot seek
        xyz, _, cell = file.read(n_frames=1)  # read_as_traj reads all, and fails at blank lines
        frame = mdtraj.Trajectory(xyz, file.topology)
        frame.unitcell_vectors = cell
        return frame


def _placed(path: Path, frame: Any) -> Placed:
    cell = frame.unitcell_vectors
    return Placed(
        path, frame.xyz[0] * ANGSTROM_PER_NM, None if cell is None else cell[0] * ANGSTROM_PER_NM
    )


def same_atoms(path: Path, atoms: int, top: Top) -> None:
    """Refuse a trajectory whose number of atoms is not that of its topology."""
    if atoms != len(top.numbers):
        raise InputError(
            f"{path}: has {atoms} atoms, but its topology {top.path} has {len(top.numbers)}: give "
            "one of the same atoms in the same order (a program may have written only some of them)"
        )


def _elements_of_psf(path: Path, topology: Any) -> tuple[str, ...]:
    """PSF names no elements: mdtraj takes the nearest mass, and where none is near, names decide.

    Masses that were changed to allow a longer time step (heavy hydrogens) are near no element.
    """
    from mdtraj.core import element

    masses = _psf_masses(path, topology.n_atoms)
    by_name = 0
    for atom, mass in zip(topology.atoms, masses, strict=True):
        if mass and abs(atom.element.mass - mass) > NEAR_MASS:
            letters = atom.name.lstrip("0123456789")[:1].upper()
            if letters not in "HCNOPS":
                raise InputError(
                    f"{path}: atom {atom.index} ({atom}) of mass {mass} is not a known element; "
                    "give a PDB file with elements as --top"
                )
            atom.element = element.Element.getBySymbol(letters)
            by_name += 1
    names = f", those of {by_name} atoms with unusual masses from their names" if by_name else ""
    return (f"{path.name} stores no elements: they were taken from the masses{names}",)


def elements_of_pdb(path: Path, topology: Any) -> tuple[str, ...]:
    """Where a PDB file names no elements mdtraj guesses them by the columns of names.

    Many programs do not keep to those, and Cα becomes calcium. In residues that are known to be
    amino acids, nucleic acids or water the first letter of the name is the element.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    atoms = (line for line in lines if line.startswith(("ATOM", "HETATM")))
    if any(line[76:78].strip().isalpha() for line in atoms):
        return ()
    _elements_by_name(topology)
    return (
        f"{path.name} stores no elements (columns 77-78): they were {GUESSED}",
        *_elements_of_ions(path, topology),
    )


def _elements_of_gro(path: Path, topology: Any) -> tuple[str, ...]:
    """GRO names no elements: mdtraj takes the first letter of a name, of CL1 carbon."""
    if _elements_by_name(topology):
        return (f"{path.name} stores no elements: they were {GUESSED}",)
    return ()


GUESSED = "guessed from the atom names; check that the formula is right"


def _elements_by_name(topology: Any) -> int:
    """Guess better than mdtraj does; how many atoms are in residues that are not known."""
    from mdtraj.core import element

    unknown = 0
    for residue in topology.residues:
        known = residue.is_protein or residue.is_water or residue.name in AMINO_ACIDS
        # a residue of a single atom may be the ion I, and no inosine
        known |= residue.is_nucleic and residue.n_atoms > 1
        if residue.n_atoms == 1 and residue.name.upper() in IONS:
            continue
        unknown += residue.n_atoms * (not known)
        for atom in residue.atoms:
            name = atom.name.lstrip("0123456789").upper()
            letter = "Se" if name == "SE" else name[:1]
            if known and letter in ("H", "C", "N", "O", "P", "S", "Se"):
                atom.element = element.Element.getBySymbol(letter)
            elif not known and (found := OF_TWO_LETTERS.fullmatch(name)):
                atom.element = element.Element.getBySymbol(found[1].capitalize())
            elif DUMMY.fullmatch(name):
                atom.element = element.virtual
    return unknown


def _elements_of_ions(path: Path, topology: Any) -> tuple[str, ...]:
    """Where a file names no elements mdtraj guesses them, and takes the ion NA+ for nitrogen."""
    from mdtraj.core import element

    changed: dict[str, str] = {}
    for residue in topology.residues:
        symbol = IONS.get(residue.name.upper())
        if symbol is None or residue.n_atoms != 1:
            continue
        atom, known = next(residue.atoms), element.Element.getBySymbol(symbol)
        # a bead CA may stand for the residue K, lysine
        if IONS.get(atom.name.upper()) == symbol and atom.element is not known:
            atom.element = known
            changed[residue.name] = symbol
    if not changed:
        return ()
    words = ", ".join(f"{name} for {symbol}" for name, symbol in changed.items())
    return (f"{path.name}: ions are recognised by their residue names, {words}",)


def _masses(path: Path, n_atoms: int) -> Doubles | None:
    """Masses in u of formats that name them: PSF and Amber's; one where a site has none."""
    suffix = path.suffix.lower()
    if suffix == ".psf":
        found = _psf_masses(path, n_atoms)
    elif suffix in AMBER:
        section = path.read_text(encoding="utf-8").partition("%FLAG MASS")[2].partition("%FLAG")[0]
        found = [float(word) for word in section.split()[1:]]  # the first is the format
    else:
        return None
    masses = np.array(found)
    return np.where(masses > 0, masses, 1.0)


def _psf_masses(path: Path, n_atoms: int) -> list[float]:
    lines = path.read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if "!NATOM" in line) + 1
    return [float(line.split()[7]) for line in lines[first : first + n_atoms]]


def check_elements(
    path: Path | str, numbers: Integers, names: Topology, kept: Integers | None = None
) -> None:
    """Refuse atoms without an element among those that are kept (all)."""
    atoms = np.arange(len(numbers)) if kept is None else kept
    for atom in atoms[numbers[atoms] == 0].tolist():
        called = f"{names.residue_names[atom]}{names.residue_ids[atom]}-{names.names[atom]}"
        raise InputError(
            f"{path}: atom {atom} ({called}) has no known element: fill in its element (in PDB "
            "columns 77-78), or leave virtual sites out with --select"
        )
