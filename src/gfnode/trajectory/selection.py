"""Choosing atoms: ``heavy``, ``solute``, indices, or mdtraj's selection language.

A selection may come from a stranger's run folder, so what mdtraj makes of it is looked through
before it is evaluated: only comparisons of an atom's properties pass.
"""

import ast
import difflib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.trajectory.checks import Integers
from gfnode.trajectory.topology import Topology, residues_of

Selection = str | Sequence[int]

WATER = frozenset(
    [
        "HOH",
        "H2O",
        "HHO",
        "OHH",
        "OH2",
        "WAT",
        "SOL",
        "DOD",
        "TIP",
        "TIP2",
        "TIP3",
        "TIP3P",
        "TIP4",
        "TIP5",
        "SPC",
        "SPCE",
    ]
)
"""Residue names of water; residues of one oxygen and two hydrogens count as water too."""

IONS = frozenset((3, 9, 11, 12, 17, 19, 20, 25, 26, 27, 28, 29, 30, 35, 37, 38, 48, 53, 55, 56))
"""Elements that are ions when they stand alone in a residue and unbonded: Na, Cl, Mg, Zn, …"""

EXAMPLES = (
    "all, heavy, solute, indices such as 0-7,12, or an expression such as 'name CA', 'resname ALA' "
    "or 'protein and not element H'"
)
LONGEST = 1000

TRUTHS = frozenset(
    ["is_backbone", "is_sidechain", "residue.is_protein", "residue.is_nucleic", "residue.is_water"]
)
TEXTS = frozenset(["name", "residue.name", "residue.code", "element.symbol"])
COUNTS = frozenset(["index", "n_bonds", "residue.resSeq", "residue.index", "element.mass"])
NAMELESS = frozenset(["index", "element.symbol", "element.mass"])
"""Properties of an atom that are known without a topology."""

WORDS = [
    *("all", "none", "protein", "nucleic", "water", "backbone", "sidechain", "name", "resname"),
    *("resid", "residue", "resSeq", "rescode", "index", "element", "symbol", "type", "mass"),
    *("n_bonds", "and", "or", "not", "to"),
]


def choose(
    what: Selection, numbers: Integers, topology: Topology | None = None, where: str = ""
) -> Integers:
    """Resolve a selection into atom indices.

    Parameters
    ----------
    what
        ``"all"``; ``"heavy"`` (all but hydrogen; everything where there is nothing else);
        ``"solute"`` (all but water and ions); indices from 0, as a list or as text (``"0-7,12"``,
        ends included), kept in the order given; or an expression in mdtraj's selection language.
    numbers
        Atomic numbers, ``(atom,)``.
    topology
        Names and residues; without it only elements, masses and indices can be asked for.
    where
        What is selected from, for messages.

    Returns
    -------
    Integers
        Indices ``(chosen,)``, each once.

    Raises
    ------
    InputError
        For an unknown word, indices outside, and when nothing is selected.
    """
    where = f"{where}: " if where else ""
    if not isinstance(what, str):
        return _indices(what, len(numbers), where)
    text = what.strip()
    if text == "all":
        return np.arange(len(numbers))
    if text == "heavy":
        heavy = np.flatnonzero(numbers > 1)
        return heavy if len(heavy) else np.arange(len(numbers))
    if text == "solute":
        if topology is None:
            raise InputError(
                f"{where}'solute' needs residue names: give a topology with --top, or the indices "
                "of the atoms"
            )
        found = np.flatnonzero(~solvent(numbers, topology))
    elif re.fullmatch(r"\d+(\s*-\s*\d+)?(\s*,\s*\d+(\s*-\s*\d+)?)*", text):
        return _ranges(text, len(numbers), where)
    else:
        found = _expression(text, numbers, topology, where)
    if not len(found):
        raise InputError(f"{where}selection {text!r} selects no atom; {_there(numbers, topology)}")
    return found


def solvent(numbers: Integers, topology: Topology) -> NDArray[np.bool_]:
    """Which atoms belong to water or are ions, by the residues of a topology; ``(atom,)``."""
    names = np.array(topology.residue_names)
    residue, first = residues_of(topology)
    size = np.bincount(residue)
    hydrogens = np.bincount(residue, numbers == 1)
    oxygens = np.bincount(residue, numbers == 8)
    water = (oxygens == 1) & (hydrogens == 2) & (size == 3)
    water |= np.isin(np.char.upper(names[first]), list(WATER))
    mask: NDArray[np.bool_] = water[residue] | ions(numbers, topology)
    return mask


def ions(numbers: Integers, topology: Topology) -> NDArray[np.bool_]:
    """Which atoms are ions: alone in their residue, and without bonds; ``(atom,)``.

    The water around them is as near as if it were bonded (Na–O 2.4 Å), and is exchanged.
    """
    residue, _ = residues_of(topology)
    mask: NDArray[np.bool_] = (np.bincount(residue) == 1)[residue] & np.isin(numbers, list(IONS))
    mask[topology.bonds.ravel()] = False
    return mask


def _indices(what: Sequence[int], n_atoms: int, where: str) -> Integers:
    atoms = np.asarray(what)
    if atoms.ndim != 1 or not len(atoms) or atoms.dtype.kind not in "iu":
        raise InputError(f"{where}atoms {what!r}: expected {EXAMPLES}")
    atoms = atoms.astype(np.int64)
    if atoms.min() < 0 or atoms.max() >= n_atoms:
        raise _outside(str(atoms.tolist()), n_atoms, where)
    if len(np.unique(atoms)) < len(atoms):
        raise InputError(f"{where}atoms {atoms.tolist()} name an atom twice")
    return atoms


def _ranges(text: str, n_atoms: int, where: str) -> Integers:
    """Indices from text such as ``0-7,12``, ends included."""
    parts = [[int(end) for end in part.split("-")] for part in text.split(",")]
    for first, *_, last in (part for part in parts if part[-1] < part[0]):
        raise InputError(
            f"{where}atoms {text}: {first}-{last} runs backwards, expected {last}-{first}"
        )
    if max(max(part) for part in parts) >= n_atoms:  # before a range fills the memory
        raise _outside(text, n_atoms, where)
    return _indices([i for part in parts for i in range(part[0], part[-1] + 1)], n_atoms, where)


def _outside(what: str, n_atoms: int, where: str) -> InputError:
    return InputError(f"{where}atoms {what}: expected indices from 0 to {n_atoms - 1}")


def _expression(text: str, numbers: Integers, topology: Topology | None, where: str) -> Integers:
    from mdtraj.core.selection import parse_selection

    from gfnode.trajectory.mdtraj import to_mdtraj

    if len(text) > LONGEST:
        raise InputError(f"{where}the selection is longer than {LONGEST} characters")
    try:
        parsed = parse_selection(text)
        known = TRUTHS | TEXTS | COUNTS if topology is not None else NAMELESS
        _check_truth(parsed.astnode, known)
    except _NotKnownError as error:
        raise InputError(f"{where}selection {text!r}: {error}") from error
    except Exception as error:  # pyparsing, ast and mdtraj raise many types
        raise InputError(
            f"{where}selection {text!r} cannot be understood{_nearest(text)}: expected {EXAMPLES}"
        ) from error
    atoms = to_mdtraj(numbers, topology).atoms
    return np.array([atom.index for atom in atoms if parsed.expr(atom)], dtype=np.int64)


class _NotKnownError(ValueError):
    """A property that the data does not have."""


def _check_truth(node: Any, known: frozenset[str]) -> None:
    """Pass what is true or false of an atom."""
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                _check_truth(value, known)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            _check_truth(operand, known)
        case ast.Compare(left=ast.Call(func=function, args=[pattern, value])):
            if ast.unparse(function) != "re.match" or not isinstance(pattern, ast.Constant):
                raise ValueError(ast.unparse(node))
            re.compile(str(pattern.value))
            _check_values([value, ast.Constant("")], known)
        case ast.Compare(left=left, comparators=others):
            _check_values([left, *others], known)
        case ast.Constant(value=bool()):
            pass
        case ast.Attribute() if _property(node, known) in TRUTHS:
            pass
        case _:
            raise ValueError(ast.unparse(node))


def _check_values(nodes: Sequence[Any], known: frozenset[str]) -> None:
    """Pass properties and constants that can be compared: all text, or all numbers."""
    kinds = set()
    for node in nodes:
        if isinstance(node, ast.List):
            _check_values(node.elts, known)
            node = node.elts[0]  # noqa: PLW2901
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float):
            kinds.add(isinstance(node.value, str))
        else:
            kinds.add(_property(node, known) in TEXTS)
            if _property(node, known) in TRUTHS:
                raise ValueError(ast.unparse(node))
    if len(kinds) > 1:
        raise _NotKnownError("it compares text with a number")


def _property(node: Any, known: frozenset[str]) -> str:
    if not isinstance(node, ast.Attribute):
        raise ValueError(ast.unparse(node))
    name = ast.unparse(node).removeprefix("atom.")
    if name in known:
        return name
    if name in TRUTHS | TEXTS | COUNTS:
        raise _NotKnownError(
            "the data has no atom or residue names: select by element or index, or give a topology"
        )
    raise _NotKnownError("chains and segments are not available: select by residue or index")


def _nearest(text: str) -> str:
    for word in re.findall(r"[A-Za-z_]+", text):
        near = difflib.get_close_matches(word, WORDS, n=1)
        if word not in WORDS and near and word.lower() == word:
            return f" ({word}: did you mean {near[0]}?)"
    return ""


def _there(numbers: Integers, topology: Topology | None) -> str:
    """What could have been selected."""
    from ase.data import chemical_symbols

    symbols = [chemical_symbols[z] for z in numbers]
    found = [f"there are elements {_common(symbols)}"]
    if topology is not None:
        found.append(f"residues {_common(topology.residue_names)}")
        found.append(f"names {_common(topology.names)}")
    return ", ".join(found)


def _common(words: Sequence[str]) -> str:
    counts = [word for word, _ in Counter(words).most_common()]
    return " ".join(counts[:8]) + (" …" if len(counts) > 8 else "")
