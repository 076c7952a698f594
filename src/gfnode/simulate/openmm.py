"""OpenMM: molecules that a force field describes, in vacuum, implicit water or a box of water."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from gfnode.errors import InputError
from gfnode.simulate.extra import need
from gfnode.trajectory import Doubles, Integers, Topology
from gfnode.trajectory.mdtraj import to_mdtraj
from gfnode.units import KCAL_MOL, KJ_MOL

NM = 10.0  # Å

IMPLICIT = {"vacuum": None, "obc": "implicit/obc2.xml", "obc1": "implicit/obc1.xml"}
"""Solvents without molecules: their OpenMM files, for force fields that have none of their own."""

OWN_OBC = {
    "amber99sbildn": "amber99_obc.xml",
    "amber99sb": "amber99_obc.xml",
    "amber96": "amber96_obc.xml",
    "amber03": "amber03_obc.xml",
    "amber10": "amber10_obc.xml",
}
"""Files of implicit water (OBC) that came with the older Amber force fields."""

_WORDS = ("True", "False", "1", "0")  # that OpenMM evaluates

WATER = {"tip3p": "tip3p", "spce": "spce", "tip3pfb": "tip3p"}
"""Waters of three sites, and the boxes that OpenMM fills in for them."""


def force_field(name: str, solvent: str) -> Any:
    """Load an OpenMM force field and what belongs to its solvent.

    Parameters
    ----------
    name
        ``amber99sbildn``, or any other force field file of OpenMM without its suffix
        (``amber14-all``, ``charmm36``), or an XML file of one's own.
    solvent
        ``vacuum``, ``obc`` (implicit water of Onufriev, Bashford and Case), or a box of ``tip3p``,
        ``spce`` or ``tip3pfb``.

    Raises
    ------
    InputError
        Where OpenMM is not installed, a force field or solvent is unknown, or a file that is not
        OpenMM's own holds Python.
    """
    need("openmm", "the engine openmm")
    from openmm.app import ForceField

    stem = name.removesuffix(".xml")
    if solvent in IMPLICIT:
        extra = OWN_OBC.get(stem) if solvent == "obc" and stem in OWN_OBC else IMPLICIT[solvent]
    elif solvent in WATER:
        folder = stem.partition("-")[0] + "/" if stem in ("amber14-all", "amber19-all") else ""
        extra = f"{folder}{solvent}.xml"
    else:
        known = ", ".join([*IMPLICIT, *WATER])
        raise InputError(f"unknown solvent {solvent!r}: expected one of {known}")
    files = [f"{stem}.xml", *([extra] if extra else [])]
    try:
        _check_no_code(files)
        return ForceField(*files)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the force field {name} with {solvent} cannot be loaded ({' '.join(files)}): {error}; "
            "expected a file of OpenMM such as amber99sbildn or amber14-all, or an XML file"
        ) from error


def _check_no_code(files: list[str]) -> None:
    """Refuse Python, which OpenMM runs from force fields, in all but the files that it brings.

    Where a file of the name lies in the working folder, OpenMM takes that in place of its own.
    """
    waiting, seen = list(files), set[str]()
    while waiting:
        file = waiting.pop()
        if file in seen or not os.path.isfile(file):
            continue
        seen.add(file)
        for each in ElementTree.parse(file).getroot().iter():
            evaluated = each.get("useDispersionCorrection", "True").strip()
            if each.tag in ("Script", "InitializationScript") or evaluated not in _WORDS:
                raise InputError(
                    f"{file}: contains Python code ({each.tag}), which OpenMM would run and "
                    "gfnode does not allow: remove it, or give an OpenMM force field by name, in "
                    "a folder without a file of that name"
                )
            if each.tag == "Include":
                there = each.get("file", "")
                waiting += [there, os.path.join(os.path.dirname(file), there)]


def create_system(field: Any, topology: Any, **options: Any) -> Any:
    """Let the force field describe a molecule.

    Raises
    ------
    InputError
        For residues that it does not know.
    """
    try:
        return field.createSystem(topology, **options)
    except Exception as error:
        raise InputError(
            f"the force field does not describe this molecule: {error}. Give a PDB file with "
            "standard residues and all hydrogens"
        ) from error


def potential(
    numbers: Integers, topology: Topology | None, name: str, solvent: str
) -> Callable[[Doubles], float]:
    """Energy in kcal/mol of positions ``(atom, 3)`` in Å, of a molecule without a box.

    Raises
    ------
    InputError
        Without a topology with bonds, and for molecules and solvents that the force field does not
        know.
    """
    if solvent in WATER:
        raise InputError(
            f"energies in a box of {solvent} are not those of the molecule alone: use obc"
        )
    field = force_field(name, solvent)
    if topology is None or not len(topology.bonds):
        raise InputError("the engine openmm needs a topology with residues and bonds: a PDB file")
    from openmm import Context, Platform, VerletIntegrator
    from openmm.app import NoCutoff

    names = to_mdtraj(numbers, topology).to_openmm()
    system = create_system(field, names, nonbondedMethod=NoCutoff)
    # double precision, and quick for a molecule
    context = Context(system, VerletIntegrator(0.001), Platform.getPlatformByName("Reference"))

    def energy(positions: Doubles) -> float:
        context.setPositions(positions / NM)
        value = context.getState(energy=True).getPotentialEnergy()._value
        return float(value) * KJ_MOL / KCAL_MOL if np.isfinite(value) else float("nan")

    return energy


def read_pdb(path: Path) -> Any:
    """Read a PDB file."""
    from openmm.app import PDBFile

    try:
        return PDBFile(str(path))
    except Exception as error:
        raise InputError(f"{path}: OpenMM cannot read it: {error}") from error
