"""The formats of trajectory files by suffix, and reading any of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gfnode.errors import InputError
from gfnode.plugins import Registry
from gfnode.readers import (
    amber,
    ase_traj,
    dcd,
    extxyz,
    gro,
    gromacs,
    hdf5,
    lammps,
    lammps_writer,
    mdtraj_writers,
    npz,
    outcar,
    pdb,
    vasp,
    xyz,
)
from gfnode.readers.assemble import Choice, assemble
from gfnode.readers.boundary import existing_file
from gfnode.readers.packed import unpacked
from gfnode.readers.places import check_formula, place_of
from gfnode.readers.quantities import LENGTHS, factor
from gfnode.readers.source import Given, Source, rescaled
from gfnode.trajectory import Trajectory
from gfnode.trajectory.given import check_file, check_text, unpacked_name
from gfnode.trajectory.selection import Selection
from gfnode.units import parse_step

Writing = Callable[[Path, int], AbstractContextManager[Callable[[Trajectory], None]]]
"""``writing(path, frames)`` gives what writes pieces of so many frames in all, one by one."""


@dataclass(frozen=True)
class Holds:
    """What a format has a place for, but positions.

    Parameters
    ----------
    times
        ``exact``, as float32 in ``ps``, or ``none``.
    velocities, forces, masses, names, turned
        Velocities; forces; masses other than the standard ones; names, residues and bonds (in the
        file or beside it); a cell that lies in any way.
    rounding
        Of positions in Å, where it is coarser than float32.
    deviations
        Where standard deviations of predictions go, in words; empty: nowhere.
    """

    times: Literal["exact", "ps", "none"]
    velocities: bool = False
    forces: bool = False
    masses: bool = False
    names: bool = True
    turned: bool = False
    rounding: float | None = None
    deviations: str = ""


@dataclass(frozen=True)
class Format:
    """How one file format is read and written.

    Parameters
    ----------
    open
        ``open(path, given)`` gives a :class:`Source`: everything but the frames, and the way to
        them.
    write
        ``write(trajectory, path, precision)``; only npz has a use for the precision in Å. None: it
        is read only.
    needs_top
        The file holds no elements, so a topology file must come with it.
    takes_top
        One may come with it: some of these files hold no elements.
    holds
        None: nothing is known of it.
    unit
        Of lengths in the file, which ``open`` turns into Å.
    writing
        How pieces of it are written; None of npz, which goes through them once for every array,
        and of formats that are written whole only.
    """

    open: Callable[[Path, Given], Source]
    write: Callable[[Trajectory, Path, float | None], None] | None = None
    needs_top: bool = False
    takes_top: bool = False
    holds: Holds | None = None
    unit: str = "angstrom"
    writing: Writing | None = None


def _check(suffix: str, loaded: object) -> Format:
    if not isinstance(loaded, Format):
        raise TypeError(f"expected a gfnode.readers.Format, got {type(loaded).__name__}")
    if suffix.count(".") != 1 or len(suffix) < 2 or {"/", "\\"} & set(suffix):
        raise ValueError(f"{suffix!r} is not a file suffix: expected one such as '.csv'")
    return loaded


def _suffix(name: str) -> str:
    return f".{name.removeprefix('.')}".lower()


def _in_pieces(opener: Callable[[Path, Given], Source], writing: Writing, **facts: Any) -> Format:
    """A format that is written in pieces, and a whole trajectory as one of them."""

    def write(trajectory: Trajectory, path: Path, _precision: float | None) -> None:
        with writing(path, len(trajectory)) as write_piece:
            write_piece(trajectory)

    return Format(opener, write, writing=writing, **facts)


_ALL = Holds(
    "exact",
    velocities=True,
    forces=True,
    masses=True,
    turned=True,
    deviations="array deviations, Å",
)
_XYZ = _in_pieces(
    xyz.open_xyz,
    extxyz.writing,
    holds=replace(_ALL, names=False, deviations="column deviation, Å"),
)
_AMBER = _in_pieces(
    amber.open_netcdf,
    amber.writing,
    needs_top=True,
    holds=Holds("ps", velocities=True, forces=True),
)
_DUMP = _in_pieces(
    lammps.open_dump,
    lammps_writer.writing,
    takes_top=True,
    holds=Holds("exact", velocities=True, forces=True, masses=True, names=False),
)
_through = partial(_in_pieces, writing=mdtraj_writers.writing)

OWN: dict[str, Format] = {
    ".npz": Format(npz.open_npz, npz.write, takes_top=True, holds=_ALL),
    ".extxyz": _XYZ,
    ".xyz": _XYZ,
    ".xtc": _through(gromacs.open_xtc, needs_top=True, holds=Holds("ps", rounding=0.01), unit="nm"),
    ".trr": _through(
        gromacs.open_trr,
        needs_top=True,
        holds=Holds("ps", velocities=True, forces=True),
        unit="nm",
    ),
    ".dcd": _through(dcd.open_dcd, needs_top=True, holds=Holds("none")),
    ".nc": _AMBER,
    ".ncdf": _AMBER,
    ".lammpstrj": _DUMP,
    ".dump": _DUMP,
    ".traj": _in_pieces(
        ase_traj.open_traj,
        ase_traj.writing,
        holds=replace(_ALL, names=False, deviations=""),
    ),
    ".h5": _through(hdf5.open_hdf5, holds=Holds("ps", velocities=True), unit="nm"),
    ".pdb": _through(
        pdb.open_pdb,
        holds=Holds("none", rounding=0.001, deviations="B-factors, 8π² σ² in Å²"),
    ),
}
"""The formats of gfnode that can be written, in pieces too."""

READ = {
    ".xdatcar": Format(vasp.open_xdatcar),
    ".xml": Format(vasp.open_vasprun),
    ".outcar": Format(outcar.open_outcar),
    ".trj": Format(xyz.open_xyz),  # of xTB and CREST
    ".gro": Format(gro.open_gro, takes_top=True, unit="nm"),
}
"""Those that are read only."""

NAMED = ("xdatcar", "outcar")
"""Files that are known by their name, where their suffix tells nothing."""

GROMACS = "convert it with 'gmx trjconv -f {file} -s run.tpr -o {stem}.trr' and give the .trr"
REMEDIES = {".g96": GROMACS, ".tng": GROMACS}
"""What to do with files of formats that are known and not read."""

FORMATS: Registry[Format] = Registry("gfnode.readers", "file format", OWN | READ, _check, _suffix)
"""The known formats by suffix, those of installed plug-ins among them."""


def load(
    source: str | Path,
    *,
    top: str | Path | None = None,
    step: float | str | None = None,
    name: str | None = None,
    select: Selection | None = None,
    stride: int = 1,
    whole: bool | None = None,
    mapping: str | Mapping[str, str] | None = None,
    unit: str | None = None,
    memory: float | str | None = None,
) -> Trajectory:
    """Read a trajectory.

    Only what is kept takes memory; where that is much, it lies in a file on disk that is gone with
    the trajectory (see :func:`gfnode.memory.room`).

    Parameters
    ----------
    source
        A file, compressed (.gz, .bz2, .xz) or not; ``sample:toluene`` for the one that comes with
        the package; or a public one that ``gfnode fetch`` has downloaded, such as
        ``md17:aspirin``, with its topology and time step (of several runs one is named:
        ``ala2/0``).
    top
        Topology for XTC, TRR, DCD and NetCDF, and LAMMPS dumps without a column ``element``, which
        hold no elements: a PDB, GRO, PSF, … file.
    step
        Time between consecutive frames (of the original series for rMD17): fs, or text such as
        ``"2fs"``. It overrides the times in the file and is required where the format has none.
    name
        What to call the molecule; default: the name in the file.
    select
        The atoms to keep, see :func:`gfnode.trajectory.selection.choose`: ``"heavy"``,
        ``"0-7,12"``, ``"name CA"``. Default: all, but where the topology names water or ions beside
        something else, that alone.
    stride
        Keep every so many-th frame.
    whole
        Make molecules that a periodic box cuts whole, and their motion continuous (see
        :class:`gfnode.molecule.periodic.Unwrapper`). Default: where there is a box; False: leave
        the frames as they are stored; True: refuse a file without one.
    mapping
        What the arrays of an npz file of unknown layout are:
        ``"positions=coords:nm,numbers=Z,times=t:ps"``, or the same as a dictionary.
    unit
        Of lengths in the file, where it is not that of its format (nm in XTC, TRR, GRO and HDF5,
        else Å): ``angstrom``, ``nm``, ``bohr`` or ``pm``. Velocities and cell are taken along,
        forces are not.
    memory
        Bytes, or text such as ``"2GB"``, above which arrays lie on disk; default: ``GFNODE_MEMORY``
        in the environment, else a quarter of the memory that is available.

    Returns
    -------
    Trajectory
        Positions in Å, times in fs, velocities in Å/fs where the file holds them. Its ``notes``
        say what was left out or repaired.

    Raises
    ------
    InputError
        For everything that is wrong with the file, which the message names.
    """
    choice = Choice(select, stride, whole, memory)
    with opened(source, top=top, step=step, mapping=mapping, unit=unit) as (path, found):
        return assemble(path, found, choice, name)


@contextmanager
def opened(
    source: str | Path,
    *,
    top: str | Path | None = None,
    step: float | str | None = None,
    mapping: str | Mapping[str, str] | None = None,
    unit: str | None = None,
) -> Iterator[tuple[Path, Source]]:
    """Open a trajectory without its frames; see :func:`load`."""
    check_file(source, "the trajectory")
    if top is not None:
        check_file(top, "its topology")
    check_text(unit, "the unit of length", f"one of {', '.join(LENGTHS)}")
    with ExitStack() as stack, np.errstate(all="ignore"):  # inf and nan are refused
        place = stack.enter_context(place_of(source))
        format_of(unpacked_name(existing_file(place.path)))  # before it is unpacked
        path = stack.enter_context(unpacked(place.path))
        topology = place.top if top is None else Path(top).expanduser()
        if topology is not None:
            topology = stack.enter_context(unpacked(topology))
        with _enough_memory(place.path):
            found = _open(path, topology, place.step_fs if step is None else step, mapping)
            if unit is not None:
                found = _in_unit(found, unit, mapping, path)
        check_formula(place, found)
        with _enough_memory(place.path):
            yield place.path, found if found.name else replace(found, name=place.molecule)


@contextmanager
def _enough_memory(path: Path) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise InputError(
            f"{path}: needs more memory than is available ({error}): it is damaged, or too large; "
            "keep fewer atoms or frames (--select, --stride)"
        ) from error


def _open(
    path: Path,
    top: Path | None,
    step: float | str | None,
    mapping: str | Mapping[str, str] | None,
) -> Source:
    form = format_of(path)
    if form.needs_top and top is None:
        raise InputError(
            f"{path}: {path.suffix} files store no elements: give the topology with --top, e.g. "
            "--top molecule.pdb"
        )
    if mapping is not None and path.suffix.lower() != ".npz":
        raise InputError(f"{path}: only .npz files take a mapping: leave out --map")
    if top is not None and not (form.needs_top or form.takes_top):
        raise InputError(f"{path}: {path.suffix} files store their own elements: leave out --top")
    if isinstance(mapping, Mapping):
        mapping = ",".join(f"{key}={value}" for key, value in mapping.items())
    check_text(mapping, "the mapping", "such as 'positions=coords:nm,numbers=Z'")
    topology = None if top is None else existing_file(top)
    return form.open(path, Given(parse_step(step), topology, mapping))


def _in_unit(
    source: Source, unit: str, mapping: str | Mapping[str, str] | None, path: Path
) -> Source:
    """The same with the lengths of a file in this unit, not in that of its format."""
    if mapping is not None:
        raise InputError(
            f"{path}: with --map, give the unit of each array there (positions=ARRAY:{unit}): "
            "leave out --unit"
        )
    worth = factor(str(path), "the unit of length", unit, LENGTHS)
    if source.states_unit:
        raise InputError(f"{path}: the file states its unit of length: leave out --unit")
    return rescaled(source, worth / LENGTHS[format_of(path).unit])


def format_of(path: Path) -> Format:
    """The format of a file, by its suffix or name; InputError for one that is not known."""
    names = (f".{each}" for each in NAMED if each in path.name.lower())
    known = (FORMATS.get(each) for each in (path.suffix.lower(), *names))
    if (form := next(filter(None, known), None)) is None:
        if remedy := REMEDIES.get(path.suffix.lower()):
            remedy = remedy.format(file=path.name, stem=path.stem)
            raise InputError(f"{path}: {path.suffix} files are not read: {remedy}")
        raise InputError(
            f"{path}: unknown format {path.suffix or '(no suffix)'}: expected "
            f"{', '.join(FORMATS)} or a file XDATCAR or OUTCAR; in Python, Trajectory.from_ase, "
            "from_mdtraj and from_mdanalysis take what ASE, mdtraj and MDAnalysis have read"
        )
    return form
