"""An opened trajectory file: what every format gives, and how its frames are read in blocks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.thinning import chunks
from gfnode.trajectory import Doubles, Integers, Topology

BLOCK = 2**18
"""About so many coordinates are in memory beside those that are kept."""


@dataclass(frozen=True)
class Given:
    """What the user said of a file: the step in fs, a topology file, a mapping of its arrays."""

    step: float | None = None
    top: Path | None = None
    mapping: str | None = None


@dataclass(frozen=True)
class Block:
    """A few frames, all atoms: positions ``(frame, atom, 3)`` in Å and what comes with them."""

    positions: NDArray[Any]
    velocities: NDArray[Any] | None = None  # (frame, atom, 3) in Å/fs
    cell: NDArray[Any] | None = None  # (frame, 3, 3) in Å
    forces: NDArray[Any] | None = None  # (frame, atom, 3) in u Å/fs²
    deviations: NDArray[Any] | None = None  # (frame, atom) in Å


@dataclass(frozen=True)
class Placed:
    """Where a topology file has the atoms, of its own: ``(atom, 3)`` and ``(3, 3)`` in Å."""

    path: Path
    positions: NDArray[Any]
    cell: NDArray[Any] | None


@dataclass(frozen=True)
class Source:
    """An opened file: everything but the frames, and the way to them.

    Parameters
    ----------
    numbers
        Atomic numbers, ``(atom,)``.
    times
        ``(frame,)`` in fs, increasing.
    blocks
        ``blocks(rows)`` reads frames by their numbers in the file, ascending, and gives them in
        that order, a few at a time; :func:`batches` says how many. Every block holds the same
        arrays.
    topology, time_step, name
        As of a :class:`gfnode.trajectory.Trajectory`.
    origin
        What the file says of where it came from.
    order
        Numbers in the file of the frames in order of time, where it is not sorted by time.
    notes
        What a user should know of the file.
    unread
        What else it holds, by its own names: energies, say.
    masses
        ``(atom,)`` in u, where the file holds them.
    states_unit
        Whether the file says what unit its lengths are in.
    placed
        Where the topology that came with it has the atoms; None: it does not say.
    known
        Arrays of a block whose unit is known, whatever that of the positions is: of other files.
    """

    numbers: Integers
    times: Doubles
    blocks: Callable[[Integers], Iterator[Block]]
    topology: Topology | None = None
    time_step: float | None = None
    name: str = ""
    origin: str = ""
    order: Integers | None = None
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    masses: Doubles | None = None
    states_unit: bool = False
    placed: Placed | None = None
    known: tuple[str, ...] = ()


def rescaled(source: Source, factor: float) -> Source:
    """The same with lengths times a factor: positions, and what is in their unit."""
    blocks, scale = source.blocks, np.float32(factor)
    lengths = ("positions", "velocities", "cell", "deviations")
    keys = [key for key in lengths if key not in source.known]

    def scaled(rows: Integers) -> Iterator[Block]:
        for each in blocks(rows):
            there = {key: values for key in keys if (values := getattr(each, key)) is not None}
            yield replace(each, **{key: values * scale for key, values in there.items()})

    return replace(source, blocks=scaled)


def batches(rows: Integers, n_atoms: int) -> Iterator[Integers]:
    """Split frame numbers into pieces of about :data:`BLOCK` coordinates."""
    return (rows[part] for part in chunks(len(rows), BLOCK, 3 * n_atoms))


def in_memory(
    positions: NDArray[Any], cell: NDArray[Any] | None = None
) -> Callable[[Integers], Iterator[Block]]:
    """Give the ``blocks`` of arrays (or memory maps) of all frames."""

    def blocks(rows: Integers) -> Iterator[Block]:
        for part in batches(rows, positions.shape[1]):
            yield Block(positions[part], cell=None if cell is None else cell[part])

    return blocks


def atomic_numbers(path: Path, values: NDArray[Any], array: str) -> Integers:
    """Atomic numbers ``(atom,)`` from numbers or element symbols, of all frames or of every one.

    ``array`` is what the file calls them.
    """
    where = f"{path}: array {array}"
    if values.dtype.kind not in "fiuUS":
        raise InputError(
            f"{where} holds {values.dtype} values, expected atomic numbers or element symbols"
        )
    if values.ndim == 2 and len(values):
        if (other := (values != values[0]).any(1)).any():
            raise InputError(
                f"{where} has shape {values.shape}, expected (atom,), or (frame, atom) with the "
                f"same atoms in the same order in all frames; frame {int(np.argmax(other))} "
                "differs from the first"
            )
        values = values[0]
    if values.ndim != 1:
        raise InputError(f"{where} has shape {values.shape}, expected (atom,) or (frame, atom)")
    if values.dtype.kind in "US":
        return _from_symbols(where, values)
    if (bad := np.flatnonzero(~np.isin(values, np.arange(1, 119)))).size:
        raise InputError(
            f"{where}: unknown element: atomic number {values[bad[0]]}, expected 1 to 118 (atom "
            f"{bad[0]})"
        )
    return values.astype(np.int64)


def _from_symbols(where: str, values: NDArray[Any]) -> Integers:
    from ase.data import atomic_numbers as known

    found = []
    for i, stored in enumerate(values.tolist()):
        symbol = stored.decode(errors="replace") if isinstance(stored, bytes) else stored
        if (number := known.get(symbol.strip().capitalize(), 0)) < 1:
            raise InputError(f"{where}: atom {i} is {symbol!r}, expected an element symbol")
        found.append(number)
    return np.array(found, dtype=np.int64)
