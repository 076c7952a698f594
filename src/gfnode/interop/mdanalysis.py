"""To and from MDAnalysis, which works in Å and ps."""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.interop._shared import counted, named_times
from gfnode.readers.cells import check_cell
from gfnode.trajectory import Integers, Topology, Trajectory, formula_of
from gfnode.trajectory.mdtraj import from_mdtraj, to_mdtraj
from gfnode.trajectory.topology import residues_of
from gfnode.units import FS_PER, KJ_MOL, parse_step

SAME_MASS = 0.02
"""Two masses in u closer than this are of one element: force fields round to 0.01 u."""


class GuessedElementsWarning(UserWarning):
    """The other library named no elements, so they were guessed from masses and names."""


def need_mdanalysis() -> None:
    """Refuse where MDAnalysis is not installed."""
    if find_spec("MDAnalysis") is None:
        raise InputError(
            "MDAnalysis is not installed: pip install 'gfnode[mdanalysis]' (or pip install "
            "MDAnalysis)"
        )


def to_mdanalysis(trajectory: Trajectory) -> Any:
    """Give a ``Universe`` that holds copies of all frames in memory.

    Velocities are in Å/ps, forces in kJ/(mol Å), types the elements. Every frame keeps its own
    time, ``ts.time`` in ps, evenly spaced or not; ``trajectory.dt`` is the spacing, or the smallest
    one. Without a topology the atoms are named after their elements, in one residue MOL without
    bonds.

    **Lost**: ``name`` and ``source``; ``time_step`` where frames are missing.

    Raises
    ------
    InputError
        Where MDAnalysis is not installed; for a cell that is periodic in part or not in the usual
        orientation: MDAnalysis keeps lengths and angles only.
    """
    need_mdanalysis()
    from MDAnalysis import Universe
    from MDAnalysis.lib.mdamath import triclinic_box

    from gfnode.interop._timed import TimedMemoryReader

    check_cell(trajectory, "MDAnalysis")
    names = trajectory.topology or from_mdtraj(to_mdtraj(trajectory.numbers, None))[1]  # made up
    residue, first = residues_of(names)
    universe = Universe.empty(
        trajectory.n_atoms,
        n_residues=len(first),
        atom_resindex=residue,
        residue_segindex=np.zeros(len(first), dtype=np.int64),
    )
    attributes = {
        "names": list(names.names),
        "types": list(trajectory.symbols),
        "elements": list(trajectory.symbols),
        "masses": trajectory.masses,
        "resnames": [names.residue_names[i] for i in first],
        "resids": [names.residue_ids[i] for i in first],
        "segids": ["SYSTEM"],
    }
    for key, values in attributes.items():
        universe.add_TopologyAttr(key, values)
    if len(names.bonds):
        universe.add_TopologyAttr("bonds", [tuple(pair) for pair in names.bonds.tolist()])
    boxes = None
    if trajectory.cell is not None:
        boxes = np.stack([triclinic_box(*cell) for cell in trajectory.cell])
    velocities, forces = trajectory.velocities, trajectory.forces
    spacing = np.diff(trajectory.times).min(initial=np.inf)
    universe.trajectory = TimedMemoryReader(
        trajectory.positions.copy(),
        dimensions=boxes,
        dt=float(spacing) / FS_PER["ps"] if np.isfinite(spacing) else 1.0,
        velocities=None if velocities is None else velocities * np.float32(FS_PER["ps"]),
        forces=None if forces is None else forces / np.float32(KJ_MOL),
        times=trajectory.times / FS_PER["ps"],
    )
    return universe


def from_mdanalysis(
    atoms: Any,
    *,
    frames: slice | Sequence[int] | None = None,
    stride: int = 1,
    step: float | str | None = None,
    name: str = "",
) -> Trajectory:
    """Take the atoms of a ``Universe`` or an ``AtomGroup`` along its trajectory.

    The group's members are those at its current frame. Where no elements are known (a PSF names
    none) they are guessed: by mass where one element has it, else by MDAnalysis from the name.
    **Lost**: segments, charges, the order of bonds.

    Parameters
    ----------
    frames
        A slice, frame numbers in ascending order, or a mask; default: all.
    stride
        Keep every so manyth of these.
    step
        Time between the frames of the file: fs, or text such as ``"2fs"``. It overrides the times
        that MDAnalysis gives, and is needed where it knows none.
    name
        What to call the molecule.

    Raises
    ------
    InputError
        For atoms whose element cannot be told, no times, frames that do not exist.

    Warns
    -----
    GuessedElementsWarning
        Where elements were guessed.
    """
    need_mdanalysis()
    from MDAnalysis.lib.mdamath import triclinic_vectors

    if not hasattr(atoms, "universe"):
        raise InputError(
            f"expected a Universe or an AtomGroup, got {type(atoms).__name__}; use gfnode.load "
            "for a file"
        )
    universe, index = atoms.universe, np.asarray(atoms.atoms.ix)
    group, reader, fs = universe.atoms[index], universe.trajectory, parse_step(step)
    if not len(group):
        raise InputError("the MDAnalysis group holds no atoms")
    chosen = _frames(len(reader), frames, stride)
    shape = (len(chosen), len(group), 3)
    positions, velocities, forces = (np.empty(shape, np.float32) for _ in range(3))
    cell, times = np.zeros((len(chosen), 3, 3), np.float32), np.zeros(len(chosen))
    moving, forced, before = True, True, reader.frame
    with warnings.catch_warnings():
        # MDAnalysis would go on with a spacing of 1 ps
        warnings.filterwarnings("error", message=".*no dt information")
        try:
            for place, number in enumerate(chosen):
                ts = reader[number]
                positions[place] = group.positions
                if moving := moving and ts.has_velocities:
                    velocities[place] = group.velocities
                if forced := forced and ts.has_forces:
                    forces[place] = group.forces
                if ts.dimensions is not None:
                    cell[place] = triclinic_vectors(ts.dimensions)
                if fs is None:
                    times[place] = ts.time
        except UserWarning:
            times = counted(len(chosen), None, "MDAnalysis")
        finally:
            reader[before]
    masses = np.asarray(getattr(group, "masses", 0.0))
    return Trajectory(
        positions,
        named_times(times) if fs is None else np.array(chosen) * fs,
        elements(group),
        velocities=velocities / np.float32(FS_PER["ps"]) if moving else None,
        forces=forces * np.float32(KJ_MOL) if forced else None,
        cell=cell if cell.any() else None,
        topology=_topology(universe).select(index),
        name=name,
        source=str(getattr(reader, "filename", None) or "MDAnalysis"),
        atom_masses=masses if masses.ndim and (masses > 0).all() else None,
    )


def _frames(total: int, frames: slice | Sequence[int] | None, stride: int) -> list[int]:
    if isinstance(stride, bool) or not isinstance(stride, int | np.integer) or stride < 1:
        raise InputError(f"stride is {stride!r}, expected a whole number from 1")
    if frames is None or isinstance(frames, slice):
        chosen = list(range(total))[frames or slice(None)]
    else:
        numbers = np.asarray(frames)
        if numbers.dtype == bool and numbers.shape == (total,):
            numbers = np.flatnonzero(numbers)
        if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
            raise InputError(
                f"frames are {frames!r:.80}, expected a slice, frame numbers or a mask ({total},)"
            )
        chosen = numbers.tolist()
    if wrong := [frame for frame in chosen if not 0 <= frame < total]:
        raise InputError(f"MDAnalysis has no frame {wrong[0]}: expected 0 to {total - 1}")
    if not chosen:
        raise InputError(f"frames={frames} selects none of the {total} frames of MDAnalysis")
    return chosen[::stride]


def elements(group: Any) -> Integers:
    """Atomic numbers of a group, ``(atom,)``: those named, else by mass, else by atom name.

    Raises
    ------
    InputError
        For an atom of which neither tells.

    Warns
    -----
    GuessedElementsWarning
        Where any was guessed.
    """
    from MDAnalysis.guesser.default_guesser import DefaultGuesser

    numbers = _numbers(getattr(group, "elements", [""] * len(group)))
    unknown = np.flatnonzero(numbers == 0)
    if not unknown.size:
        return numbers
    names = getattr(group, "names", getattr(group, "types", np.array([""] * len(group))))
    masses = np.asarray(getattr(group, "masses", np.zeros(len(group))))
    by_mass = _numbers_of_masses(masses[unknown])
    guess = DefaultGuesser(group.universe).guess_atom_element
    by_name = _numbers([guess(str(each)) for each in names[unknown]])
    numbers[unknown] = np.where(by_mass > 0, by_mass, by_name)
    if (nameless := np.flatnonzero(numbers == 0)).size:
        atom = nameless[0]
        raise InputError(
            f"MDAnalysis: the element of atom {atom} ({str(names[atom])!r}, {masses[atom]:.4g} u) "
            "is unknown: set it with universe.add_TopologyAttr('elements', [...])"
        )
    warnings.warn(
        f"MDAnalysis has no elements for {unknown.size} of {len(group)} atoms; they were guessed "
        f"from masses and atom names: {formula_of(numbers[unknown])}",
        GuessedElementsWarning,
        stacklevel=4,
    )
    return numbers


def _numbers(symbols: Sequence[str]) -> Integers:
    """Atomic numbers of symbols in any case; 0 where there is no such element."""
    from ase.data import atomic_numbers

    return np.array([atomic_numbers.get(str(each).capitalize(), 0) for each in symbols])


def _numbers_of_masses(masses: NDArray[np.float64]) -> Integers:
    """Atomic numbers by mass in u; 0 where no element has it (repartitioned hydrogen, say)."""
    from ase.data import atomic_masses

    off = np.abs(masses[:, None] - atomic_masses)
    off[:, 0] = np.inf
    return np.where(off.min(1) < SAME_MASS, off.argmin(1), 0)


def _topology(universe: Any) -> Topology:
    atoms = universe.atoms
    names = getattr(atoms, "names", getattr(atoms, "types", ["X"] * len(atoms)))
    residues = getattr(atoms, "resnames", ["MOL"] * len(atoms))
    ids = getattr(atoms, "resids", [1] * len(atoms))
    bonds = universe.bonds.indices if hasattr(universe, "bonds") else []
    return Topology(
        tuple(str(each) for each in names),
        tuple(str(each) for each in residues),
        tuple(int(each) for each in ids),
        np.array(bonds, dtype=np.int64).reshape(-1, 2),
    )
