"""PDB: every model is a frame. mdtraj reads it, the whole file at once: it is a format for few.

It has no place for times, but GROMACS writes them into the titles, in ps, one before each model.
"""

import re
from pathlib import Path

import numpy as np

from gfnode.errors import InputError
from gfnode.readers.boundary import ends_with_line, foreign, frame_times
from gfnode.readers.cells import ANGSTROM_PER_NM
from gfnode.readers.source import Given, Source, in_memory
from gfnode.readers.topology import elements_of_pdb
from gfnode.trajectory import Doubles
from gfnode.trajectory.mdtraj import from_mdtraj, masses_in
from gfnode.units import FS_PER

TIME = re.compile(
    r"TITLE .*\bt=\s*([-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?)(?:\s+step=\s*\d+)?\s*", re.IGNORECASE
)


def open_pdb(path: Path, given: Given) -> Source:
    """Open all models; ``step`` is required where their titles name no times."""
    import mdtraj

    stored = _times(_checked(path))
    with foreign(path, "not a valid PDB file"):
        frames = mdtraj.load_pdb(str(path))
        notes = elements_of_pdb(path, frames.topology)
    numbers, topology = from_mdtraj(frames.topology)
    cell = frames.unitcell_vectors
    return Source(
        numbers,
        frame_times(path, len(frames), given.step, stored if len(stored) == len(frames) else None),
        in_memory(frames.xyz * ANGSTROM_PER_NM, None if cell is None else cell * ANGSTROM_PER_NM),
        topology=topology,
        masses=masses_in(frames.topology),
        time_step=given.step,
        notes=notes,
    )


def _times(lines: list[str]) -> Doubles:
    """Times in fs of all titles; none where one of them names none."""
    titles = [TIME.fullmatch(line) for line in lines if line.startswith("TITLE ")]
    found = [float(title[1]) for title in titles if title]
    return np.round(np.array(found if all(titles) else []) * FS_PER["ps"], 6)


def _checked(path: Path) -> list[str]:
    """Its lines. Every model must end, and the last line too; mdtraj would take what is there."""
    with foreign(path, "not a text file"):
        lines = path.read_text(encoding="utf-8").splitlines()
    begun = sum(line.startswith("MODEL ") for line in lines)
    ended = sum(line.startswith("ENDMDL") for line in lines)
    if begun != ended:
        raise InputError(f"{path}: {begun} models begin and {ended} end; the file was cut off")
    if lines[-1].startswith(("ATOM", "HETATM")):
        ends_with_line(path)
    return lines
