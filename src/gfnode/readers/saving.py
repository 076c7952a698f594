"""Writing trajectories, whole or piece by piece, and the topology beside files without elements."""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import numpy as np

from gfnode.errors import InputError
from gfnode.files import check_writable, whole
from gfnode.readers import npz
from gfnode.readers.boundary import foreign
from gfnode.readers.formats import FORMATS, OWN, format_of
from gfnode.readers.hdf5 import need_tables
from gfnode.readers.topology import read_topology
from gfnode.trajectory import Integers, Trajectory
from gfnode.trajectory.given import loaded, place, unpacked_name

COARSEST = 0.1
"""Å; positions rounded to more than this are no structure any more."""

Pieces = Callable[[], Iterator[Trajectory]]
"""Gives the pieces, in order and from the first, every time it is called."""


def save(
    trajectory: Trajectory,
    path: str | Path,
    *,
    precision: float | None = None,
    anew: bool = False,
    new: bool = False,
) -> Path:
    """Write a trajectory; the file appears whole or not at all.

    ===================  ==========  ==========  ======================================
    suffix               times       velocities  positions to
    ===================  ==========  ==========  ======================================
    .npz                 yes         yes         float32, or ``precision``
    .extxyz, .xyz        yes         yes         1e-8 Å
    .traj                yes         yes         float32
    .h5                  yes         yes         float32 (needs PyTables)
    .xtc                 yes         no          0.01 Å
    .trr, .nc, .ncdf     yes         yes         float32
    .lammpstrj, .dump    yes         yes         float32
    .dcd, .pdb           no          no          float32, 0.001 Å
    ===================  ==========  ==========  ======================================

    Forces go into npz, extended XYZ, traj, TRR, NetCDF and LAMMPS dumps; masses other than the
    standard ones into npz, extended XYZ, traj and LAMMPS dumps. XTC, TRR, NetCDF and HDF5 hold
    times as float32 ps. XTC, TRR, NetCDF and DCD cannot be opened without a topology, so the first
    frame is written beside them as ``<stem>.pdb``, unless that is there.

    Parameters
    ----------
    precision
        For npz: round positions to this many Å, at most 0.1, and velocities to a hundredth of it
        per fs, and store whole numbers, which take a third of the space.
    anew
        Whether the topology beside a file that needs one is written even if there is one.
    new
        Write over nothing that another process puts there meanwhile.

    Returns
    -------
    Path
        The trajectory file.

    Raises
    ------
    InputError
        For an unknown suffix, values that the format cannot hold, a folder that does not exist or
        cannot be written, a full disk, and a topology of other atoms that lies beside.
    """
    (trajectory,) = loaded([trajectory])
    path = place(path, "a trajectory file")
    check_target(path)
    check_precision(path, precision)
    write = format_of(path).write
    assert write is not None
    with _written(path, trajectory[0], anew=anew, new=new) as partial, _writing(path):
        write(trajectory, partial, precision)
    return path


def save_pieces(
    pieces: Pieces, frames: int, path: str | Path, *, anew: bool = False, new: bool = False
) -> Path:
    """Write trajectories one after the other as one, in memory that does not grow with them.

    The result is what :func:`save` writes of the whole.

    Parameters
    ----------
    pieces
        At least one, of the same atoms, each later than the one before.
    frames
        Take so many frames of them, from the first.
    path, anew, new
        As of :func:`save`; the format must be one of gfnode's own.

    Raises
    ------
    InputError
        As of :func:`save`, and for too few frames or pieces out of order.
    """
    path = Path(path).expanduser()
    check_target(path, OWN)

    def chosen() -> Iterator[Trajectory]:
        return _ascending(pieces(), frames, path)

    with _written(path, next(chosen())[0], anew=anew, new=new) as partial:
        if (writing := OWN[path.suffix.lower()].writing) is None:
            npz.write_pieces(chosen, frames, partial)
        else:
            _write_through(writing(partial, frames), chosen(), path)
    return path


def check_target(path: Path, among: Collection[str] | None = None) -> None:
    """Refuse a file that could not be written in the end.

    Parameters
    ----------
    among
        Suffixes of the formats that can be written; default: all that are.

    Raises
    ------
    InputError
        For another suffix, a folder, a folder that does not exist or is read-only, HDF5 without
        PyTables.
    """
    if among is None:
        among = [suffix for suffix, form in FORMATS.items() if form.write is not None]
    inner = unpacked_name(path)
    if inner != path and inner.suffix.lower() in among:
        raise InputError(
            f"{path}: compressed files can be read but not written: write {inner.name} and "
            "compress it"
        )
    if path.suffix.lower() not in among:
        raise InputError(
            f"{path}: unknown format {path.suffix or '(no suffix)'}: expected {', '.join(among)}"
        )
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file name")
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written: the folder {path.parent} does not exist")
    check_writable(path)
    if path.suffix.lower() == ".h5":
        need_tables(path)


def check_precision(path: Path, precision: float | None) -> None:
    """Refuse a precision that a file has no place for, or that leaves nothing of a structure.

    Raises
    ------
    InputError
        See above.
    """
    if precision is None:
        return
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path}: only .npz files take a precision ({precision} given)")
    if not isinstance(precision, int | float | np.number):
        raise InputError(f"the precision is {precision!r:.80}, expected a number of Å")
    if not 0 < precision <= COARSEST:
        raise InputError(
            f"the precision is {precision:g} Å, expected a length above zero and at most "
            f"{COARSEST:g} Å; 1e-4 is usual, and XTC files have 0.01"
        )


def topology_path(path: Path) -> Path | None:
    """Where the topology of a file lies whose format holds no elements; None: it needs none."""
    return path.with_suffix(".pdb") if format_of(path).needs_top else None


def topology_beside(path: Path, numbers: Integers) -> Path | None:
    """The topology that lies beside a file already; None where it needs none or there is none.

    Parameters
    ----------
    numbers
        Atomic numbers of what is to be written to ``path``.

    Raises
    ------
    InputError
        Where it is of other atoms, or none: what is written would be read with it.
    """
    topology = topology_path(path)
    if topology is None or not topology.exists():
        return None
    try:
        same = np.array_equal(read_topology(topology).numbers, numbers)
    except InputError:
        same = False
    if not same:
        raise InputError(
            f"{topology}: already exists with other atoms than {path}, and would be taken for its "
            "topology: give another name, or delete it"
        )
    return topology


@contextmanager
def _written(path: Path, frame: Trajectory, *, anew: bool, new: bool) -> Iterator[Path]:
    """Give the name to write under, its suffix in lower case; a frame becomes the topology."""
    there = None if anew else topology_beside(path, frame.numbers)
    with whole(path, new=new) as partial:
        lower = partial.with_suffix(path.suffix.lower())
        try:
            yield lower
            lower.replace(partial)
        finally:
            if lower != partial:
                lower.unlink(missing_ok=True)
    if there is None and (topology := topology_path(path)) is not None:
        save(frame, topology)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Run what writes ``path``, under whatever name: its errors name the real one."""
    try:
        with foreign(path, "cannot be written"):
            yield
    except InputError as error:
        raise InputError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error


def _write_through(
    opened: AbstractContextManager[Callable[[Trajectory], None]],
    pieces: Iterator[Trajectory],
    path: Path,
) -> None:
    """Write pieces as they are made; what goes wrong in making them is no failure to write."""
    with ExitStack() as stack:
        with _writing(path):
            write = stack.enter_context(opened)
        for piece in pieces:
            with _writing(path):
                write(piece)
        with _writing(path):
            stack.close()


def _ascending(pieces: Iterator[Trajectory], frames: int, path: Path) -> Iterator[Trajectory]:
    """The first ``frames`` frames, checked where one piece follows another."""
    last, left = -np.inf, frames
    for piece in pieces:
        if piece.times[0] <= last:
            raise InputError(f"{path}: a piece begins at {piece.times[0]:g} fs, after {last:g} fs")
        yield piece if len(piece) <= left else piece[:left]
        left -= len(piece)
        if left <= 0:
            return
        last = float(piece.times[-1])
    raise InputError(f"{path}: got {frames - left} of {frames} frames")
