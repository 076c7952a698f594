"""NumPy archives: gfnode's own layout, MD17 and rMD17.

The own layout says in words what each array holds::

    format, version                 "gfnode trajectory", 1
    numbers                         (atom,)
    times, times_unit               (frame,)
    positions, positions_unit       (frame, atom, 3); velocities and cell likewise, where known
    positions_scale                 where positions are whole numbers: what one of them is worth
    time_step, time_step_unit       step of the original series
    names, residue_names, residue_ids, bonds
    name, source                    text

It is written in angstrom and fs, and read in any unit of :data:`LENGTHS` and of
:data:`gfnode.units.FS_PER`.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers import md17
from gfnode.readers._boundary import foreign, frame_times
from gfnode.trajectory import Topology, Trajectory
from gfnode.units import FS_PER

FORMAT = "gfnode trajectory"
VERSION = 1
UNITS = {"positions": "angstrom", "velocities": "angstrom/fs", "cell": "angstrom"}

LENGTHS = {"angstrom": 1.0, "ang": 1.0, "å": 1.0, "nm": 10.0, "pm": 0.01, "bohr": 0.529177210903}
"""Å in one unit of length (bohr: CODATA 2018)."""

SPEEDS = {
    f"{length}/{time}": LENGTHS[length] / FS_PER[time] for length in LENGTHS for time in FS_PER
}
"""Å/fs in one unit of velocity."""

DIMENSIONS: dict[str, Mapping[str, float]] = {
    "positions": LENGTHS,
    "cell": LENGTHS,
    "velocities": SPEEDS,
    "times": FS_PER,
    "time_step": FS_PER,
}

STILL_FS = 100
"""Velocities keep the precision of positions divided by this many fs."""

LAYOUTS = {
    "gfnode": ("format", "version", "numbers", "times", "positions"),
    "rMD17": ("coords", "nuclear_charges", "old_indices"),
    "MD17": ("R", "z"),
}


class Archive(Mapping[str, NDArray[Any]]):
    """The arrays of an npz file, each read when asked for and checked against its checksum.

    ``np.load`` would skip the checksum of an array whose damaged header asks for fewer bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._reading(), zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                archive.open(member).close()  # compares both copies of the member's header
            self._keys = [member.removesuffix(".npy") for member in archive.namelist()]

    def __getitem__(self, key: str) -> NDArray[Any]:
        if key not in self._keys:
            raise KeyError(key)
        with self._reading(), zipfile.ZipFile(self.path) as archive:
            stored = io.BytesIO(archive.read(f"{key}.npy"))
            if stored.getvalue()[:6] != b"\x93NUMPY":
                raise InputError(f"{self.path}: {key} is not a NumPy array")
            return np.asarray(np.lib.format.read_array(stored, allow_pickle=False))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def _reading(self) -> Any:
        return foreign(self.path, "not an npz file, or damaged or cut off")


def read(path: Path, step: float | None, top: Path | None) -> Trajectory:
    """Read an npz file of any known layout."""
    arrays = Archive(path)
    layout = next((each for each, keys in LAYOUTS.items() if set(keys) <= set(arrays)), None)
    if layout == "gfnode":
        return _read_own(path, arrays, step)
    if layout == "rMD17":
        return md17.read_rmd17(path, arrays, step)
    if layout == "MD17":
        unit = _text(arrays, "r_unit") or "angstrom"
        return md17.read_md17(path, arrays, _factor(path, "r_unit", unit, LENGTHS), step)
    known = "; ".join(f"{each}: {', '.join(keys)}" for each, keys in LAYOUTS.items())
    raise InputError(
        f"{path}: holds {', '.join(arrays) or 'nothing'}, which is none of the known layouts "
        f"({known})"
    )


def _read_own(path: Path, arrays: Archive, step: float | None) -> Trajectory:
    if (said := _text(arrays, "format")) != FORMAT:
        raise InputError(f"{path}: the format is {said!r}, expected {FORMAT!r}")
    version = arrays["version"]
    if version.shape != () or version.dtype.kind not in "iu" or not 1 <= version <= VERSION:
        raise InputError(
            f"{path}: the layout has version {version}, this gfnode reads up to {VERSION}: "
            "update gfnode, or save the file with an older one"
        )
    stored = _quantity(path, arrays, "times")
    original = _quantity(path, arrays, "time_step") if "time_step" in arrays else None
    with foreign(path, "not a valid gfnode trajectory"):
        trajectory = Trajectory(
            positions=_quantity(path, arrays, "positions"),
            times=frame_times(path, len(stored), step, stored),
            numbers=arrays["numbers"],
            velocities=_quantity(path, arrays, "velocities") if "velocities" in arrays else None,
            cell=_quantity(path, arrays, "cell") if "cell" in arrays else None,
            topology=_topology(arrays),
            time_step=float(original) if step is None and original is not None else step,
            name=_text(arrays, "name"),
            source=str(path),
        )
    # the path is for messages; what the file says of its origin is worth more from here on
    return replace(trajectory, source=_text(arrays, "source") or str(path))


def _quantity(path: Path, arrays: Archive, key: str) -> NDArray[Any]:
    values = arrays[key]
    if values.dtype.kind not in "fiu":
        raise InputError(f"{path}: {key} holds {values.dtype} values, expected numbers")
    factor = _factor(path, f"{key}_unit", _text(arrays, f"{key}_unit"), DIMENSIONS[key])
    if f"{key}_scale" in arrays:
        factor *= float(arrays[f"{key}_scale"])
    return values if factor == 1 else values * np.float64(factor)


def _factor(path: Path, key: str, unit: str, known: Mapping[str, float]) -> float:
    if (factor := known.get(unit.strip(), known.get(unit.strip().lower()))) is None:
        raise InputError(f"{path}: {key} is {unit!r}, expected one of {', '.join(known)}")
    return factor


def _topology(arrays: Archive) -> Topology | None:
    if "names" not in arrays:
        return None
    return Topology(
        tuple(arrays["names"].astype(str).tolist()),
        tuple(arrays["residue_names"].astype(str).tolist()),
        tuple(arrays["residue_ids"].astype(np.int64).tolist()),
        arrays["bonds"].astype(np.int64).reshape(-1, 2),
    )


def _text(arrays: Archive, key: str) -> str:
    return str(arrays[key]) if key in arrays and arrays[key].dtype.kind == "U" else ""


def write(trajectory: Trajectory, path: Path, precision: float | None) -> None:
    """Write the own layout, rounded to ``precision`` Å where one is given."""
    arrays: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "name": trajectory.name,
        "source": trajectory.source,
        "numbers": trajectory.numbers,
        "times": trajectory.times,
        "times_unit": "fs",
    }
    if trajectory.time_step is not None:
        arrays |= {"time_step": trajectory.time_step, "time_step_unit": "fs"}
    if (topology := trajectory.topology) is not None:
        arrays |= {
            "names": np.array(topology.names, dtype=str),
            "residue_names": np.array(topology.residue_names, dtype=str),
            "residue_ids": np.array(topology.residue_ids, dtype=np.int64),
            "bonds": topology.bonds,
        }
    finest = {"positions": precision, "velocities": precision and precision / STILL_FS}
    for key, unit in UNITS.items():
        if (values := getattr(trajectory, key)) is not None:
            arrays |= {key: values, f"{key}_unit": unit, **_rounded(key, values, finest.get(key))}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _rounded(key: str, values: NDArray[Any], precision: float | None) -> dict[str, Any]:
    """Return multiples of the precision in the smallest integers that hold them, and the scale."""
    if precision is None:
        return {}
    if not 0 < precision < np.inf:
        raise InputError(f"the precision is {precision} Å, expected a length above zero, e.g. 1e-4")
    whole = np.rint(values.astype(np.float64) / precision)
    largest = float(np.abs(whole).max())
    if largest > 2**53:
        raise InputError(f"{key} up to {np.abs(values).max():g} are too large for {precision:g} Å")
    kind = np.min_scalar_type(-int(largest) - 1)
    return {key: whole.astype(kind), f"{key}_scale": precision}
