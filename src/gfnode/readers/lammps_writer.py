"""Writing LAMMPS text dumps: units real, with the items UNITS and TIME.

LAMMPS writes these two first when asked to. MDAnalysis and mdtraj, which count lines, read a dump
only without them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gfnode.readers.cells import check_cell
from gfnode.readers.quantities import FORCES
from gfnode.trajectory import Doubles, Trajectory


@contextmanager
def writing(path: Path, frames: int) -> Iterator[Callable[[Trajectory], None]]:
    """Give what writes positions, times, the box and, where known, velocities, forces, masses."""
    from ase.data import chemical_symbols

    written = 0
    with path.open("w", encoding="ascii") as file:

        def write_piece(piece: Trajectory) -> None:
            nonlocal written
            boxes, flags = _boxes(piece, path.suffix)
            kinds = np.unique(piece.numbers, return_inverse=True)[1] + 1
            positions = "x y z" if piece.cell is None else "xu yu zu"  # molecules are whole
            head, columns = f"id type element {positions}", [piece.positions]
            fixed = [
                f"{atom + 1} {kind} {chemical_symbols[number]}"
                for atom, (kind, number) in enumerate(zip(kinds, piece.numbers, strict=True))
            ]
            if piece.velocities is not None:
                head, columns = f"{head} vx vy vz", [*columns, piece.velocities]
            if piece.forces is not None:
                forces = piece.forces / FORCES["kcal/mol/angstrom"]
                head, columns = f"{head} fx fy fz", [*columns, forces]
            ends = [""] * piece.n_atoms
            if piece.atom_masses is not None:
                head, ends = f"{head} mass", [f" {mass:.9g}" for mass in piece.atom_masses]
            of_atom = " %.9g" * (3 * len(columns))
            form = "".join(f"{a}{of_atom}{b}\n" for a, b in zip(fixed, ends, strict=True))
            if not written:
                file.write("ITEM: UNITS\nreal\n")
            for i, time in enumerate(piece.times.tolist()):
                values = np.concatenate([each[i] for each in columns], axis=1).ravel().tolist()
                file.write(
                    f"ITEM: TIME\n{time!r}\nITEM: TIMESTEP\n{written + i}\n"
                    f"ITEM: NUMBER OF ATOMS\n{piece.n_atoms}\n"
                    f"{_bounds(boxes[i], flags[i])}ITEM: ATOMS {head}\n{form % tuple(values)}"
                )
            written += len(piece)

        yield write_piece


def _boxes(piece: Trajectory, suffix: str) -> tuple[Doubles, NDArray[np.bool_]]:
    """Origins and vectors of boxes, ``(frame, 4, 3)``, and along which they repeat.

    Every dump has a box: where a trajectory has none, along one direction or all, it is drawn
    around the atoms.
    """
    boxes = np.zeros((len(piece), 4, 3))
    if piece.cell is not None:
        boxes[:, 1:] = piece.cell
    periodic: NDArray[np.bool_] = (boxes[:, 1:] != 0).any(2)
    low, high = piece.positions.min(1), piece.positions.max(1)
    boxes[:, 0] = np.where(periodic, 0, low)
    around = np.eye(3) * np.maximum(high.astype(np.float64) - low, 1)[:, None]
    boxes[:, 1:] += np.where(periodic[..., None], 0, around)
    check_cell(replace(piece, cell=boxes[:, 1:].astype(np.float32)), suffix)
    return boxes, periodic


def _bounds(box: Doubles, periodic: NDArray[np.bool_]) -> str:
    """The item of a box whose first vector lies along x and whose second lies in the xy plane."""
    (x, y, z), (x1, _, _), (xy, y1, _), (xz, yz, z1) = box.tolist()
    flags = " ".join("pp" if each else "ff" for each in periodic)
    rows = [[x, x + x1], [y, y + y1], [z, z + z1]]
    tilted = any((xy, xz, yz))
    if tilted:
        along = (0.0, xy, xz, xy + xz)
        rows[0] = [x + min(along), x + x1 + max(along), xy]
        rows[1] = [y + min(0.0, yz), y + y1 + max(0.0, yz), xz]
        rows[2].append(yz)
    lines = "".join(" ".join(f"{value:.17g}" for value in row) + "\n" for row in rows)
    return f"ITEM: BOX BOUNDS {'xy xz yz ' if tilted else ''}{flags}\n{lines}"
