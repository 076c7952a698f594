"""PDB: every model is a frame. mdtraj reads it, the whole file at once: it is a format for few."""

from pathlib import Path

from gfnode.errors import InputError
from gfnode.readers.boundary import ends_with_line, foreign, frame_times
from gfnode.readers.cells import ANGSTROM_PER_NM
from gfnode.readers.source import Given, Source, in_memory
from gfnode.readers.topology import elements_of_pdb
from gfnode.trajectory.mdtraj import from_mdtraj, masses_in


def open_pdb(path: Path, given: Given) -> Source:
    """Open all models; ``step`` is required, as PDB holds no times."""
    import mdtraj

    _check_models(path)
    with foreign(path, "not a valid PDB file"):
        frames = mdtraj.load_pdb(str(path))
        notes = elements_of_pdb(path, frames.topology)
    numbers, topology = from_mdtraj(frames.topology)
    cell = frames.unitcell_vectors
    return Source(
        numbers,
        frame_times(path, len(frames), given.step),
        in_memory(frames.xyz * ANGSTROM_PER_NM, None if cell is None else cell * ANGSTROM_PER_NM),
        topology=topology,
        masses=masses_in(frames.topology),
        time_step=given.step,
        notes=notes,
    )


def _check_models(path: Path) -> None:
    """Every model must end, and the last line too; mdtraj would take what is there."""
    with foreign(path, "not a text file"):
        lines = path.read_text(encoding="utf-8").splitlines()
    begun = sum(line.startswith("MODEL ") for line in lines)
    ended = sum(line.startswith("ENDMDL") for line in lines)
    if begun != ended:
        raise InputError(f"{path}: {begun} models begin and {ended} end; the file was cut off")
    if lines[-1].startswith(("ATOM", "HETATM")):
        ends_with_line(path)
