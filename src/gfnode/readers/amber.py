"""AMBER NetCDF (sander, pmemd, cpptraj, and many other programs), by SciPy's NetCDF 3.

Å and ps; velocities are divided by 20.455, the unit of AMBER, and say so. The format is described
at https://ambermd.org/netcdf/nctraj.xhtml. SciPy writes the head with a first frame; further frames
are records behind it, so that a file is written in pieces.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers.boundary import (
    check_written,
    femtoseconds,
    foreign,
    frame_times,
    picoseconds,
)
from gfnode.readers.cells import box_lengths_and_angles, box_vectors, check_cell
from gfnode.readers.quantities import FORCES, LENGTHS, SPEEDS, factor
from gfnode.readers.source import Block, Given, Source, batches
from gfnode.readers.topology import read_topology, same_atoms
from gfnode.trajectory import Integers, Trajectory
from gfnode.units import FS_PER

DAMAGED = "not a NetCDF 3 file, or damaged or cut off"
SPEED = 20.455
"""Å/ps in AMBER's unit of velocity, as its programs round it."""

READ: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "coordinates": ("angstrom", LENGTHS),
    "velocities": ("angstrom/picosecond", SPEEDS),
    "forces": ("kilocalorie/mole/angstrom", FORCES),
    "cell_lengths": ("angstrom", LENGTHS),
    "cell_angles": ("degree", {"degree": 1.0, "degrees": 1.0}),
    "time": ("picosecond", FS_PER),
}
"""The variables that are read: the unit where they name none, and what units are worth."""

LABELS = ("spatial", "cell_spatial", "cell_angular")
UNWRITTEN = 9e36
"""A frame that no program came to write holds NetCDF's filling, 9.97·10³⁶."""


def open_netcdf(path: Path, given: Given) -> Source:
    """Open positions and, where stored, times, velocities, forces and the cell."""
    top = read_topology(given.top)
    with foreign(path, DAMAGED):
        file = _opened(path)
        units = {
            key: _unit(path, key, file.variables[key]) for key in READ if key in file.variables
        }
        shape = file.variables["coordinates"].shape
        stored = _whole(file, "time") if "time" in units else None
        cell = _cell(file, units)
    frames = _count(path, shape)
    same_atoms(path, shape[1], top)
    arrays = [key for key in ("coordinates", "velocities", "forces") if key in units]
    for key in arrays:
        if file.variables[key].shape != shape:
            raise InputError(
                f"{path}: {key} have shape {file.variables[key].shape}, expected {shape}"
            )

    def blocks(rows: Integers) -> Iterator[Block]:
        for part in batches(rows, len(top.numbers)):
            found = {
                key: file.variables[key].data[part].astype(np.float32) * np.float32(units[key])
                for key in arrays
            }
            if (unwritten := np.abs(found["coordinates"]).max((1, 2)) > UNWRITTEN).any():
                raise InputError(
                    f"{path}: frame {part[np.argmax(unwritten)]} was never written (was the run "
                    "interrupted?): rewrite the file without such frames, e.g. with cpptraj"
                )
            yield Block(
                found["coordinates"],
                found.get("velocities"),
                None if cell is None else cell[part],
                found.get("forces"),
            )

    times = None if stored is None else femtoseconds(stored * (units["time"] / FS_PER["ps"]))
    source = top.source(frame_times(path, frames, given.step, times), blocks, given.step)
    unread = (key for key in file.variables if key not in (*READ, *LABELS))
    said = hasattr(file.variables["coordinates"], "units")
    return replace(source, unread=tuple(unread), states_unit=said)


def count(path: Path) -> int:
    """Count the frames."""
    with foreign(path, DAMAGED):
        return _count(path, _opened(path).variables["coordinates"].shape)


def _opened(path: Path) -> Any:
    """Open a file of the right layout; its arrays are memory maps, which it outlives."""
    from scipy.io import netcdf_file

    with path.open("rb") as file:
        if file.read(4) == b"\x89HDF":
            raise InputError(
                f"{path}: is NetCDF 4 (HDF5), expected NetCDF 3 as AMBER writes it: convert it "
                "with nccopy -k nc6 OLD NEW, or with cpptraj"
            )
    found = netcdf_file(str(path), "r", mmap=True)
    shape: tuple[int, ...] = getattr(found.variables.get("coordinates"), "shape", ())
    if len(shape) != 3 or shape[2] != 3:
        said = f"of shape {shape}" if shape else "none"
        raise InputError(
            f"{path}: expected coordinates (frame, atom, 3) as in an AMBER trajectory, got {said}"
        )
    return found


def _count(path: Path, shape: tuple[int, ...]) -> int:
    if not shape[0]:
        raise InputError(f"{path}: holds no frames")
    return shape[0]


def _unit(path: Path, key: str, variable: Any) -> float:
    """What a stored number is worth, in units of gfnode; times in fs."""
    usual, known = READ[key]
    said = getattr(variable, "units", usual)
    unit = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return factor(str(path), f"the unit of {key}", unit, known) * float(
        np.asarray(getattr(variable, "scale_factor", 1.0)).item()
    )


def _whole(file: Any, key: str) -> NDArray[Any]:
    """A small array, in the byte order of this machine."""
    values = np.array(file.variables[key].data)
    return values.astype(values.dtype.newbyteorder("="))


def _cell(file: Any, units: Mapping[str, float]) -> NDArray[Any] | None:
    if not {"cell_lengths", "cell_angles"} <= units.keys():
        return None
    lengths, angles = (_whole(file, key) * units[key] for key in ("cell_lengths", "cell_angles"))
    return box_vectors(lengths, angles) if lengths.any() else None


@contextmanager
def writing(path: Path, frames: int) -> Iterator[Callable[[Trajectory], None]]:
    """Give what writes positions, times and, where known, velocities, forces and the cell."""
    written, last = 0, -np.inf

    def write_piece(piece: Trajectory) -> None:
        nonlocal written, last
        times = picoseconds(piece.times, path.suffix, last)
        check_cell(piece, path.suffix)
        records = _records(piece, times)
        if not written:
            _write_head(path, records[:1])
        with path.open("ab") as file:
            file.write(records[0 if written else 1 :].tobytes())
        written, last = written + len(piece), float(times[-1])

    yield write_piece
    with path.open("r+b") as file:
        file.seek(4)  # behind "CDF" and the version
        file.write(frames.to_bytes(4, "big"))
    check_written(path, count, frames)


def _records(piece: Trajectory, times: NDArray[np.float32]) -> NDArray[np.void]:
    """Frames as they lie in the file: big-endian, one after the other."""
    arrays: dict[str, NDArray[Any]] = {"time": times, "coordinates": piece.positions}
    if piece.cell is not None:
        arrays["cell_lengths"], arrays["cell_angles"] = box_lengths_and_angles(piece.cell)
    if piece.velocities is not None:
        arrays["velocities"] = piece.velocities * (FS_PER["ps"] / SPEED)
    if piece.forces is not None:
        arrays["forces"] = piece.forces / FORCES["kcal/mol/angstrom"]
    kinds = [(key, ">f8" if key.startswith("cell") else ">f4") for key in arrays]
    records = np.zeros(len(piece), [(key, kind, arrays[key].shape[1:]) for key, kind in kinds])
    for key, values in arrays.items():
        records[key] = values
    return records


def _write_head(path: Path, records: NDArray[np.void]) -> None:
    """Write a file of one frame."""
    from scipy.io import netcdf_file

    from gfnode import __version__

    atoms = records["coordinates"].shape[1]
    dimensions = {"frame": None, "spatial": 3, "atom": atoms, "label": 5}
    dimensions |= {"cell_spatial": 3, "cell_angular": 3}
    of_atoms = ("frame", "atom", "spatial")
    shapes = {
        "time": ("frame",),
        "cell_lengths": ("frame", "cell_spatial"),
        "cell_angles": ("frame", "cell_angular"),
    }
    with netcdf_file(str(path), "w", version=2) as file:
        facts = {"Conventions": "AMBER", "ConventionVersion": "1.0", "program": "gfnode"}
        for key, value in (facts | {"programVersion": __version__}).items():
            setattr(file, key, value)
        for key, length in dimensions.items():
            file.createDimension(key, length)
        for key, letters in (("spatial", "xyz"), ("cell_spatial", "abc")):
            file.createVariable(key, "c", (key,))[:] = list(letters)
        names = [list("alpha"), list("beta "), list("gamma")]
        file.createVariable("cell_angular", "c", ("cell_angular", "label"))[:] = names
        for key in records.dtype.names or ():
            kind = records.dtype[key].base.char
            made = file.createVariable(key, kind, shapes.get(key, of_atoms))
            made[:] = records[key].astype(records.dtype[key].base.newbyteorder("="))
            made.units = READ[key][0]
            if key == "velocities":
                made.scale_factor = SPEED
