"""To and from mdtraj, which works in nm and ps and holds no velocities."""

import warnings
from typing import Any

import numpy as np

from gfnode.errors import InputError
from gfnode.interop._shared import counted, named_times
from gfnode.readers.cells import ANGSTROM_PER_NM, check_cell
from gfnode.readers.topology import check_elements
from gfnode.trajectory import Trajectory
from gfnode.trajectory.mdtraj import from_mdtraj as from_topology
from gfnode.trajectory.mdtraj import masses_in
from gfnode.trajectory.mdtraj import to_mdtraj as to_topology
from gfnode.units import FS_PER, parse_step


class MadeUpTimesWarning(UserWarning):
    """Times may be the numbers of the frames, which mdtraj puts where a file stores no times."""


def to_mdtraj(trajectory: Trajectory) -> Any:
    """Give an ``mdtraj.Trajectory``: nm, and times as float64 ps.

    **Lost**: velocities, ``time_step``, ``name`` and ``source``, which mdtraj has no place for.
    Positions are divided by ten in float32. Without a topology the atoms are named after their
    elements, in one residue MOL without bonds. Saving to a file from mdtraj may lose more: most of
    its formats hold times as float32.

    Raises
    ------
    InputError
        For a cell that is periodic in part or not in the usual orientation: mdtraj keeps lengths
        and angles only.
    """
    import mdtraj

    check_cell(trajectory, "mdtraj")
    frames = mdtraj.Trajectory(
        trajectory.positions / np.float32(ANGSTROM_PER_NM),
        to_topology(trajectory.numbers, trajectory.topology),
        time=trajectory.times / FS_PER["ps"],
    )
    if trajectory.cell is not None:
        frames.unitcell_vectors = trajectory.cell / ANGSTROM_PER_NM
    return frames


def from_mdtraj(frames: Any, *, step: float | str | None = None, name: str = "") -> Trajectory:
    """Take an ``mdtraj.Trajectory``.

    **Lost**: chain and segment names, insertion codes, the order of bonds. Standard bonds are added
    where the topology has none.

    Parameters
    ----------
    step
        Time between frames: fs, or text such as ``"2fs"``. It overrides the times, and is needed
        where mdtraj made them up, as it does for DCD and PDB.
    name
        What to call the molecule.

    Raises
    ------
    InputError
        For anything else, atoms without an element, a missing topology, times that do not increase.

    Warns
    -----
    MadeUpTimesWarning
        Where times are 0, 1, 2, … ps and ``step`` is not given.
    """
    import mdtraj

    if not isinstance(frames, mdtraj.Trajectory):
        raise InputError(
            f"expected an mdtraj.Trajectory, got {type(frames).__name__}; use gfnode.load for a "
            "file"
        )
    if frames.topology is None:
        raise InputError("the mdtraj trajectory has no topology: load it with top=")
    numbers, topology = from_topology(frames.topology)
    check_elements("mdtraj", numbers, topology)
    fs = parse_step(step)
    made_up = getattr(frames, "_time_default_to_arange", False)
    notes: tuple[str, ...] = ()
    if fs is not None or made_up:
        times = counted(len(frames), fs, "mdtraj")
    else:
        times = named_times(np.asarray(frames.time))
        # what readers of DCD, PDB and the like put is marked nowhere
        if len(times) > 1 and (np.asarray(frames.time) == np.arange(len(times))).all():
            notes = (
                "times from mdtraj are 0, 1, 2, … ps, its placeholder for files without times: "
                "give step=, the time between frames, e.g. step='2fs' (step='1ps' if that is "
                "right)",
            )
            warnings.warn(notes[0], MadeUpTimesWarning, stacklevel=3)
    cell = frames.unitcell_vectors
    return Trajectory(
        frames.xyz * np.float32(ANGSTROM_PER_NM),
        times,
        numbers,
        cell=None if cell is None else cell * ANGSTROM_PER_NM,
        topology=topology,
        atom_masses=masses_in(frames.topology),
        time_step=fs,
        name=name,
        source="mdtraj",
        notes=notes,
    )
