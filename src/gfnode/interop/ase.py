"""To and from ASE, which works in Å and in a time unit of its own (about 10.18 fs)."""

from collections.abc import Iterable
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.interop._shared import counted
from gfnode.readers.columns import Columns, find_forces
from gfnode.readers.extxyz import TIME_KEYS, ase_frames, resting
from gfnode.trajectory import Doubles, Floats, Topology, Trajectory
from gfnode.units import ELECTRONVOLT, FS_PER, parse_step

BONDS = "bonds"
"""Key of ``Atoms.info`` that holds index pairs ``(bond, 2)``; ASE has no place of its own."""


def to_ase(trajectory: Trajectory) -> list[Any]:
    """Give an ``ase.Atoms`` for every frame.

    ==========================  ===================================================================
    of the frame                in ``Atoms``
    ==========================  ===================================================================
    positions, cell             as they are; ``pbc`` along vectors that are not zero
    velocities                  momenta, in ASE's units
    forces                      results of a ``SinglePointCalculator``, in eV/Å
    time                        ``info["time_fs"]``
    name                        ``info["name"]``
    names, residues             arrays ``atomtypes``, ``residuenames``, ``residuenumbers``, as ASE's
                                PDB reader calls them
    bonds                       ``info["bonds"]``, ``(bond, 2)``
    ==========================  ===================================================================

    **Lost**: ``time_step`` and ``source``.
    """
    found = []
    for atoms in ase_frames(trajectory):
        if (topology := trajectory.topology) is not None:
            atoms.set_array("atomtypes", np.array(topology.names))
            atoms.set_array("residuenames", np.array(topology.residue_names))
            atoms.set_array("residuenumbers", np.array(topology.residue_ids))
            atoms.info[BONDS] = topology.bonds
        found.append(atoms)
    return found


def from_ase(
    frames: Any | Iterable[Any], *, step: float | str | None = None, name: str = ""
) -> Trajectory:
    """Take ``ase.Atoms``: one, a list, or a reader such as ``ase.io.Trajectory``.

    Times are those of ``info``: ``time_fs``, ``time_ps``, or ``time``, which is taken as fs.
    Velocities come from the momenta (frames without momenta are at rest if others have them), else
    from an array ``velocities``, in ASE's units too. Forces are those that every frame's calculator
    has at hand for just these positions, without constraints; nothing is calculated. Where there
    are none, an array whose name ends in ``forces`` (``REF_forces``, in eV/Å) is taken, and noted.
    **Lost**: energies, constraints and other results; cell vectors along directions that
    are not periodic.

    Parameters
    ----------
    step
        Time between frames: fs, or text such as ``"2fs"``. It overrides the times in ``info``.
    name
        What to call the molecule; default: ``info["name"]``.

    Raises
    ------
    InputError
        For no frames, frames of different atoms, several frames without times.
    """
    from ase import Atoms

    one = isinstance(frames, Atoms | str | PathLike) or not isinstance(frames, Iterable)
    images: list[Any] = [frames] if one else list(frames)
    if not images:
        raise InputError("no frames came from ASE: expected at least one Atoms")
    if others := [type(each).__name__ for each in images if not isinstance(each, Atoms)]:
        raise InputError(
            f"expected ase.Atoms, got {others[0]}"
            + ("; use gfnode.load for a file" if isinstance(frames, str | PathLike) else "")
        )
    first, fs = images[0], parse_step(step)
    for i, atoms in enumerate(images):
        if not np.array_equal(atoms.numbers, first.numbers):
            raise InputError(
                f"frame {i} from ASE holds {atoms.symbols}, the first one {first.symbols}; all "
                "frames must hold the same atoms in the same order"
            )
    velocities, notes = _stored_velocities(images)
    forces = _stored_forces(images)
    if forces is None:
        forces, said = _forces_of_arrays(images)
        notes += said
    cell = np.stack([atoms.cell.array * atoms.pbc[:, None] for atoms in images])
    stored = _stored_times(images) if fs is None else None
    return Trajectory(
        np.stack([atoms.positions for atoms in images]),
        counted(len(images), fs, "ASE") if stored is None else stored,
        first.numbers,
        velocities=velocities,
        cell=cell if cell.any() else None,
        topology=_topology(first),
        time_step=fs,
        name=name or str(first.info.get("name", "")),
        source="ASE",
        forces=forces,
        notes=notes,
        atom_masses=first.get_masses() if first.has("masses") else None,
    )


def _stored_velocities(images: list[Any]) -> tuple[NDArray[Any] | None, tuple[str, ...]]:
    """Velocities in Å/fs, of momenta or of arrays of this name, and what is to be said of them."""
    from ase import units

    moving = [atoms.has("momenta") for atoms in images]
    if any(moving):
        found = np.stack([atoms.get_velocities() for atoms in images])
        return found * units.fs, resting("ASE", moving)
    if all(atoms.has("velocities") for atoms in images):
        return np.stack([atoms.arrays["velocities"] for atoms in images]) * units.fs, ()
    return None, ()


def _stored_forces(images: list[Any]) -> Floats | None:
    """Forces in u Å/fs² that need no calculation, where all frames have them."""
    wanted = ["forces"]
    for atoms in images:
        if atoms.calc is None or atoms.calc.calculation_required(atoms, wanted):
            return None
    forces = [atoms.get_forces(apply_constraint=False) for atoms in images]
    return np.asarray(np.stack(forces) * ELECTRONVOLT, dtype=np.float32)


def _forces_of_arrays(images: list[Any]) -> tuple[Floats | None, tuple[str, ...]]:
    """Forces in u Å/fs² that arrays of all frames hold, by name, and what is to be said of that."""
    columns: list[Columns] = [
        {
            key: ("R", array.shape[1])
            for key, array in atoms.arrays.items()
            if array.ndim == 2 and array.dtype.kind == "f"
        }
        for atoms in images
    ]
    column, notes = find_forces("ASE", columns)
    if column is None:
        return None, notes
    forces = np.stack([atoms.arrays[column] for atoms in images])
    return np.asarray(forces * ELECTRONVOLT, dtype=np.float32), notes


def _stored_times(images: list[Any]) -> Doubles | None:
    key = next((key for key in TIME_KEYS if key in images[0].info), None)
    if key is None:
        return None
    # ASE reads "time = 0.5 ps" of a comment as two entries, the second one true
    unit = next((unit for unit in FS_PER if key == "time" and images[0].info.get(unit) is True), "")
    times, scale = [], FS_PER.get(unit, TIME_KEYS[key])
    for i, atoms in enumerate(images):
        try:
            times.append(float(atoms.info[key]) * scale)
        except KeyError:
            raise InputError(
                f"frame {i} from ASE has no info[{key!r}], but the first one has"
            ) from None
        except (TypeError, ValueError):
            raise InputError(
                f"frame {i} from ASE: info[{key!r}] is {atoms.info[key]!r}, expected a number"
            ) from None
    return np.array(times)


def _topology(atoms: Any) -> Topology | None:
    keys = ("atomtypes", "residuenames", "residuenumbers")
    if not any(atoms.has(key) for key in keys) and BONDS not in atoms.info:
        return None
    symbols = atoms.get_chemical_symbols()
    fallback = (symbols, ["MOL"] * len(symbols), [1] * len(symbols))
    names, residue_names, residue_ids = (
        atoms.arrays[key].tolist() if atoms.has(key) else other
        for key, other in zip(keys, fallback, strict=True)
    )
    bonds = np.asarray(atoms.info.get(BONDS, []))
    if bonds.size and (bonds.dtype.kind not in "iu" or bonds.ndim != 2):
        raise InputError(f"info[{BONDS!r}] from ASE has shape {bonds.shape}, expected index pairs")
    return Topology(
        tuple(str(each).strip() for each in names),
        tuple(str(each).strip() for each in residue_names),
        tuple(int(each) for each in residue_ids),
        bonds.astype(np.int64).reshape(-1, 2),
    )
