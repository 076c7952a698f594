"""Trajectory files: ``load`` reads any known format, ``save`` writes one.

Units are converted here and nowhere else: inside the package lengths are Å and times fs. The suffix
chooses the format. To add one, write a module with ``read(path, step, top)`` and
``write(trajectory, path, precision)`` and add a line to :data:`FORMATS`.
"""

import math
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

from gfnode.errors import InputError
from gfnode.readers import dcd, extxyz, gromacs, mdtraj_formats, npz
from gfnode.readers._boundary import existing_file, foreign
from gfnode.trajectory import Trajectory
from gfnode.units import parse_time

__all__ = ["FORMATS", "SAMPLES", "Format", "load", "save"]


@dataclass(frozen=True)
class Format:
    """How one file format is read and written.

    Parameters
    ----------
    read
        ``read(path, step, top)``; ``step`` in fs or None, ``top`` a topology file or None.
    write
        ``write(trajectory, path, precision)``; only npz has a use for the precision in Å.
    needs_top
        The file holds no elements, so a topology file must come with it.
    """

    read: Callable[[Path, float | None, Path | None], Trajectory]
    write: Callable[[Trajectory, Path, float | None], None]
    needs_top: bool = False


FORMATS: dict[str, Format] = {
    ".npz": Format(npz.read, npz.write),
    ".extxyz": Format(extxyz.read, extxyz.write),
    ".xyz": Format(extxyz.read, extxyz.write),
    ".xtc": Format(gromacs.read_xtc, mdtraj_formats.write, needs_top=True),
    ".trr": Format(gromacs.read_trr, mdtraj_formats.write, needs_top=True),
    ".dcd": Format(dcd.read, mdtraj_formats.write, needs_top=True),
    ".h5": Format(mdtraj_formats.read_hdf5, mdtraj_formats.write_hdf5),
    ".pdb": Format(mdtraj_formats.read_pdb, mdtraj_formats.write),
}
"""The known formats by suffix."""

SAMPLES = ("toluene",)
"""Trajectories that come with the package, opened as ``sample:toluene``."""


def load(
    source: str | Path,
    *,
    top: str | Path | None = None,
    step: float | str | None = None,
    name: str | None = None,
) -> Trajectory:
    """Read a trajectory.

    Parameters
    ----------
    source
        A file, or ``sample:toluene`` for the one that comes with the package.
    top
        Topology for XTC, TRR and DCD, which hold no elements: a PDB, GRO, PSF, … file.
    step
        Time between consecutive frames (of the original series for rMD17): fs, or text such as
        ``"2fs"``. It overrides the times in the file and is required where the format has none.
    name
        What to call the molecule; default: the name in the file.

    Returns
    -------
    Trajectory
        Positions in Å, times in fs, velocities in Å/fs where the file holds them.

    Raises
    ------
    InputError
        For everything that is wrong with the file, which the message names.
    """
    if str(source).startswith("sample:"):
        sample = str(source).removeprefix("sample:")
        if sample not in SAMPLES:
            known = ", ".join(f"sample:{each}" for each in SAMPLES)
            raise InputError(f"unknown sample {source}: expected {known}")
        with as_file(files("gfnode") / "data" / f"{sample}.npz") as path:
            return load(path, top=top, step=step, name=name)
    path = Path(source).expanduser()
    existing_file(path)
    form = _format(path)
    if form.needs_top and top is None:
        raise InputError(
            f"{path}: {path.suffix} files name no elements: give the topology with --top, "
            "e.g. --top molecule.pdb"
        )
    if top is not None and not form.needs_top:
        raise InputError(f"{path}: {path.suffix} files name their own elements: leave out --top")
    topology = None if top is None else existing_file(Path(top).expanduser())
    trajectory = form.read(path, _step(step), topology)
    return trajectory if name is None else replace(trajectory, name=name)


def save(trajectory: Trajectory, path: str | Path, *, precision: float | None = None) -> Path:
    """Write a trajectory; the file appears whole or not at all.

    ===================  ==========  ==========  ======================================
    suffix               times       velocities  positions to
    ===================  ==========  ==========  ======================================
    .npz                 yes         yes         float32, or ``precision``
    .extxyz, .xyz        yes         yes         1e-8 Å
    .h5                  yes         yes         float32 (needs PyTables)
    .xtc                 yes         no          0.01 Å
    .trr                 yes         no          float32
    .dcd, .pdb           no          no          float32, 0.001 Å
    ===================  ==========  ==========  ======================================

    XTC, TRR and HDF5 hold times as float32 ps. XTC, TRR and DCD cannot be opened without a
    topology, so the first frame is written beside them as ``<stem>.pdb``, unless that is there.

    Parameters
    ----------
    precision
        For npz: round positions to this many Å, and velocities to a hundredth of it per fs, and
        store whole numbers, which take a third of the space.

    Returns
    -------
    Path
        The trajectory file.

    Raises
    ------
    InputError
        For an unknown suffix, values that the format cannot hold, a folder that does not exist or
        cannot be written, a full disk.
    """
    path = Path(path).expanduser()
    form = _format(path)
    if precision is not None and path.suffix.lower() != ".npz":
        raise InputError(f"{path}: only .npz files take a precision ({precision} given)")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file name")
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written: the folder {path.parent} does not exist")
    _write_whole(form, trajectory, path, precision)
    if form.needs_top and not (beside := path.with_suffix(".pdb")).exists():
        _write_whole(FORMATS[".pdb"], trajectory[0], beside, None)
    return path


def _write_whole(form: Format, trajectory: Trajectory, path: Path, precision: float | None) -> None:
    """Write under a temporary name, then rename: no half-written file ever has the real name."""
    partial = path.with_name(f".{uuid.uuid4().hex}{path.suffix.lower()}")
    try:
        with foreign(path, "cannot be written"):
            form.write(trajectory, partial, precision)
            os.replace(partial, path)
    except InputError as error:
        said = str(error).removeprefix(f"{path}: ")
        raise InputError(f"{path}: {said}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _format(path: Path) -> Format:
    if (form := FORMATS.get(path.suffix.lower())) is None:
        raise InputError(
            f"{path}: unknown format {path.suffix or '(no suffix)'}: expected {', '.join(FORMATS)}"
        )
    return form


def _step(step: float | str | None) -> float | None:
    if step is None:
        return None
    fs = parse_time(step)
    if not (math.isfinite(fs) and fs > 0):
        raise InputError(f"the time step is {step}, expected a time above zero, e.g. 2fs")
    return fs
