"""NumPy archives: gfnode's own layout, MD17, MD22 and rMD17, and any other with a mapping.

The own layout says in words what each array holds::

    format, version                 "gfnode trajectory", 1
    numbers                         (atom,)
    times, times_unit               (frame,)
    positions, positions_unit       (frame, atom, 3); velocities, forces, cell likewise, where known
    deviations, deviations_unit     (frame, atom)
    positions_scale                 where positions are whole numbers: what one of them is worth
    time_step, time_step_unit       step of the original series
    names, residue_names, residue_ids, bonds
    name, source                    text

It is written in angstrom and fs, and read in any unit of :mod:`gfnode.readers.quantities`.
"""

import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers import mapping, md17
from gfnode.readers.archive import Archive, Fields
from gfnode.readers.boundary import foreign, frame_times
from gfnode.readers.quantities import DIMENSIONS, LENGTHS, factor
from gfnode.readers.source import Given, Source, atomic_numbers
from gfnode.readers.topology import read_topology
from gfnode.trajectory import Integers, Topology, Trajectory

FORMAT = "gfnode trajectory"
VERSION = 1
UNITS = {
    "positions": "angstrom",
    "velocities": "angstrom/fs",
    "forces": "u*angstrom/fs^2",
    "cell": "angstrom",
    "deviations": "angstrom",
}

STILL_FS = 100
"""Velocities keep the precision of positions divided by this many fs."""

LAYOUTS = {
    "gfnode": ("format", "version", "numbers", "times", "positions"),
    "rMD17": ("coords", "nuclear_charges", "old_indices"),
    "MD17": ("R", "z"),
}


def open_npz(path: Path, given: Given) -> Source:
    """Open an npz file of any known layout, or with a mapping."""
    archive = Archive(path)
    if given.mapping is not None:
        mapped = [array for array, _ in mapping.parse(given.mapping).values()]
        return _naming_the_rest(_open_mapped(path, archive, given), archive, mapped)
    layout = next((each for each, keys in LAYOUTS.items() if set(keys) <= set(archive)), None)
    if given.top is not None and layout is not None:
        raise InputError(f"{path}: {layout} files store their own elements: leave out --top")
    if layout == "gfnode":
        return _open_own(path, archive, given.step)
    if layout == "rMD17":
        source = md17.open_rmd17(path, archive, given.step)
        return _naming_the_rest(source, archive, [*LAYOUTS[layout], "old_forces"])
    if layout == "MD17":
        unit = archive.text("r_unit") or "angstrom"
        length = factor(str(path), "r_unit", unit, LENGTHS)
        source = md17.open_md17(path, archive, length, given.step)
        source = replace(source, states_unit="r_unit" in archive)
        return _naming_the_rest(source, archive, [*LAYOUTS[layout], "F"])
    known = "; ".join(f"{each}: {', '.join(keys)}" for each, keys in LAYOUTS.items())
    raise InputError(
        f"{path}: holds {archive.describe() or 'nothing'}, which matches no known layout "
        f"({known}); describe the arrays with --map, {mapping.propose(archive)}"
    )


def _naming_the_rest(source: Source, archive: Archive, used: Collection[str]) -> Source:
    """Name the numbers of every frame that are not read."""
    frames = (len(source.times),) if source.order is None else archive.shape("old_indices")
    rest = (key for key in archive if key not in used and archive.dtype(key).kind in "fiu")
    return replace(source, unread=tuple(key for key in rest if archive.shape(key)[:1] == frames))


def _open_own(path: Path, archive: Archive, step: float | None) -> Source:
    if (said := archive.text("format")) != FORMAT:
        raise InputError(f"{path}: the format is {said!r}, expected {FORMAT!r}")
    version = archive["version"]
    if version.shape != () or version.dtype.kind not in "iu" or not 1 <= version <= VERSION:
        raise InputError(
            f"{path}: the layout has version {version}, but this gfnode reads up to {VERSION}: "
            "update gfnode, or save the file with an older version"
        )
    with foreign(path, "not a valid gfnode trajectory"):
        factors = {
            key: factor(str(path), f"{key}_unit", archive.text(f"{key}_unit"), known)
            * (float(archive[f"{key}_scale"]) if f"{key}_scale" in archive else 1.0)
            for key, known in DIMENSIONS.items()
            if key in archive
        }
        numbers = atomic_numbers(path, archive["numbers"], "numbers")
        fields = {key: (key, factor) for key, factor in factors.items()}
        original = float(archive.scaled(*fields["time_step"])) if "time_step" in fields else None
        return _source(
            path,
            archive,
            fields,
            numbers,
            step,
            time_step=original if step is None else step,
            topology=Topology.from_arrays(archive) if "names" in archive else None,
            masses=archive.get("masses"),
            states_unit=True,
            name=archive.text("name"),
            origin=archive.text("source"),
        )


def _open_mapped(path: Path, archive: Archive, given: Given) -> Source:
    """Open arrays that the user named."""
    assert given.mapping is not None
    fields = mapping.parse(given.mapping)
    found = {}
    for key, (array, unit) in fields.items():
        if array not in archive:
            raise InputError(
                f"{path}: --map names {array}, the file holds {archive.describe()}; "
                f"{mapping.propose(archive)}"
            )
        if key in DIMENSIONS:
            known = DIMENSIONS[key]
            said = f"the unit of {key}"
            found[key] = (array, factor(str(path), said, unit or mapping.USUAL[key], known))
        elif unit:
            raise InputError(f"--map {key}={array}:{unit}: {key} take no unit")
    if given.top is not None:
        top = read_topology(given.top)
        numbers, topology, notes = top.numbers, top.topology, top.notes
    elif "numbers" in fields:
        array, _ = fields["numbers"]
        numbers, topology, notes = atomic_numbers(path, archive[array], array), None, ()
    else:
        raise InputError(f"{path}: --map names no numbers: add numbers=…, or give --top")
    return _source(
        path,
        archive,
        found,
        numbers,
        given.step,
        time_step=given.step,
        topology=topology,
        masses=archive[fields["masses"][0]] if "masses" in fields else None,
        notes=notes,
    )


def _source(
    path: Path,
    archive: Archive,
    fields: Fields,
    numbers: Integers,
    step: float | None,
    *,
    notes: tuple[str, ...] = (),
    **rest: Any,
) -> Source:
    """Open arrays by what they are: names in the file and factors into Å and fs."""
    array = fields["positions"][0]
    stored = archive.scaled(*fields["times"]) if "times" in fields else None
    counted = archive.shape(array) if stored is None or not stored.ndim else stored.shape
    times = frame_times(path, counted[0] if counted else 0, step, stored)
    for key in ("positions", "velocities", "forces"):
        if key in fields:
            archive.check_shape(fields[key][0], key, len(numbers), len(times))
    notes += archive.coarse(fields)
    return Source(numbers, times, archive.blocks(fields), notes=notes, **rest)


def write(trajectory: Trajectory, path: Path, precision: float | None) -> None:
    """Write the own layout, rounded to ``precision`` Å where one is given."""
    arrays = _described(trajectory)
    finest = {"positions": precision, "velocities": precision and precision / STILL_FS}
    for key, unit in UNITS.items():
        if (values := getattr(trajectory, key)) is not None:
            arrays |= {key: values, f"{key}_unit": unit, **_rounded(key, values, finest.get(key))}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def write_pieces(pieces: Callable[[], Iterator[Trajectory]], frames: int, path: Path) -> None:
    """Write trajectories one after the other as one; they are gone through once for every array."""
    first = next(pieces())
    arrays = _described(first)
    arrays["times"] = np.concatenate([piece.times for piece in pieces()])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        for key, value in arrays.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(value), allow_pickle=False)
        for key, unit in UNITS.items():
            if (one := getattr(first, key)) is None:
                continue
            head = {"descr": "<f4", "fortran_order": False, "shape": (frames, *one.shape[1:])}
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, head)
                for piece in pieces():
                    member.write(np.ascontiguousarray(getattr(piece, key), dtype="<f4").data)
            with archive.open(f"{key}_unit.npy", "w") as member:
                np.lib.format.write_array(member, np.asanyarray(unit), allow_pickle=False)


def _described(trajectory: Trajectory) -> dict[str, Any]:
    """All arrays but those of :data:`UNITS`."""
    arrays: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "name": trajectory.name,
        "source": trajectory.source,
        "numbers": trajectory.numbers,
        "times": trajectory.times,
        "times_unit": "fs",
    }
    if trajectory.atom_masses is not None:
        arrays["masses"] = trajectory.atom_masses
    if trajectory.time_step is not None:
        arrays |= {"time_step": trajectory.time_step, "time_step_unit": "fs"}
    if trajectory.topology is not None:
        arrays |= trajectory.topology.to_arrays()
    return arrays


def _rounded(key: str, values: NDArray[Any], precision: float | None) -> dict[str, Any]:
    """Return multiples of the precision in the smallest integers that hold them, and the scale."""
    if precision is None:
        return {}
    whole = np.rint(values.astype(np.float64) / precision)
    largest = float(np.abs(whole).max())
    if largest > 2**53:
        raise InputError(f"{key} up to {np.abs(values).max():g} are too large for {precision:g} Å")
    kind = np.min_scalar_type(-int(largest) - 1)
    return {key: whole.astype(kind), f"{key}_scale": precision}
