"""The one form in which molecular motion enters and leaves the package."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfnode.errors import InputError
from gfnode.trajectory.checks import (
    Doubles,
    Floats,
    Integers,
    as_array,
    check_finite,
    check_masses,
    check_times,
    even_spacing,
    step_of,
)
from gfnode.trajectory.exchange import Exchange
from gfnode.trajectory.formula import formula_of, masses_of, other_masses
from gfnode.trajectory.temperature import kinetic_temperature
from gfnode.trajectory.topology import Topology
from gfnode.units import format_time, parse_step

SHORT_GAP = 2.5
"""Frames at most so many fs apart: motion between them is a parabola, even of hydrogen.

Their differences are velocities; of frames further apart they see less of fast vibrations.
"""

FAR_GAP = 10.0
"""Frames more fs apart do not determine velocities: a C–H bond vibrates in 11 fs."""

_OF_ATOMS = ("positions", "velocities", "forces", "deviations")  # (frame, atom, ...)


@dataclass(frozen=True, eq=False)
class Trajectory(Exchange):
    """Conformations of one molecular system along time.

    Parameters
    ----------
    positions
        ``(frame, atom, 3)`` in Å.
    times
        ``(frame,)`` in fs, strictly increasing; the spacing may be uneven.
    numbers
        Atomic numbers, ``(atom,)``.
    velocities
        ``(frame, atom, 3)`` in Å/fs, where the source has them.
    forces
        ``(frame, atom, 3)`` in u Å/fs², where the source has those that belong to its motion.
    cell
        Periodic box vectors as rows, ``(frame, 3, 3)`` in Å.
    topology
        Names and bonds.
    time_step
        Time between consecutive frames of the *original* series in fs, or text such as ``"2fs"``.
        It differs from the spacing of ``times`` where frames are missing here and there, but not
        where they were thinned evenly; None means the smallest spacing.
    name, source
        What the molecule is called, and where the frames came from.
    notes
        What a user should know of how the file was read: atoms left out, molecules made whole.
    deviations
        Of predictions: standard deviation of each coordinate, ``(frame, atom)`` in Å.
    atom_masses
        ``(atom,)`` in u, where they are not the standard ones: isotopes, or masses that were moved
        from heavy atoms to hydrogens for a longer time step. All that are within 1 % of the
        standard ones are taken for these: None.

    Raises
    ------
    InputError
        For shapes that do not fit, an unknown element, coordinates that are not finite, times that
        do not increase.
    """

    positions: Floats
    times: Doubles
    numbers: Integers
    velocities: Floats | None = None
    cell: Floats | None = None
    topology: Topology | None = None
    time_step: float | None = None
    name: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()
    deviations: Floats | None = None
    forces: Floats | None = None
    atom_masses: Doubles | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        for key in ("name", "source"):  # of files and other people, and shown within a line
            if not isinstance(text := getattr(self, key), str):
                raise InputError(f"the {key} of a trajectory is {text!r:.80}, expected text")
            put(self, key, " ".join(text.splitlines()))
        # a source may be all there is to say of how the data was made
        said = self.source if len(self.source) <= 100 else self.label
        where = f"{said}: " if said else ""
        put(self, "positions", as_array(where, "positions", self.positions, np.float32))
        put(self, "times", as_array(where, "times", self.times, np.float64))
        put(self, "numbers", as_array(where, "numbers", self.numbers, np.int64))
        frames, atoms = len(self.times), len(self.numbers)
        expected = {"positions": (frames, atoms, 3), "times": (frames,), "numbers": (atoms,)}
        for key in ("velocities", "forces"):
            if (values := getattr(self, key)) is not None:
                put(self, key, as_array(where, key, values, np.float32))
                expected[key] = (frames, atoms, 3)
        if self.cell is not None:
            put(self, "cell", as_array(where, "cell", self.cell, np.float32))
            expected["cell"] = (frames, 3, 3)
        if self.deviations is not None:
            put(self, "deviations", as_array(where, "deviations", self.deviations, np.float32))
            expected["deviations"] = (frames, atoms)
        if self.atom_masses is not None:
            put(self, "atom_masses", as_array(where, "masses", self.atom_masses, np.float64))
            expected["atom_masses"] = (atoms,)
        for key, shape in expected.items():
            if (got := getattr(self, key).shape) != shape:
                raise InputError(f"{where}{key} has shape {got}, expected {shape} (frame, atom, 3)")
        if not frames or not atoms:
            raise InputError(f"{where}the trajectory is empty: {frames} frames of {atoms} atoms")
        named: Any = self.topology
        if named is not None:
            if not isinstance(named, Topology):
                kind = type(named).__name__
                raise InputError(f"{where}the topology is a {kind}, expected a gfnode.Topology")
            named.check(atoms, where)
        put(self, "time_step", parse_step(self.time_step))
        self._check_values(where)

    def _check_values(self, where: str) -> None:
        if bad := sorted({int(z) for z in self.numbers if not 1 <= z <= 118}):
            raise InputError(
                f"{where}unknown element: atomic number {bad[0]}, expected 1 to 118 "
                f"(atom {int(np.flatnonzero(self.numbers == bad[0])[0])})"
            )
        for key, values in self._known("positions", "velocities", "forces", "cell"):
            check_finite(values, key, where)
        if self.atom_masses is not None:
            check_masses(self.atom_masses, where)
            own = other_masses(self.atom_masses, self.numbers)
            object.__setattr__(self, "atom_masses", own)
        check_times(self.times, where)

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(
        self, frames: SupportsIndex | slice | Sequence[int] | NDArray[Any]
    ) -> "Trajectory":
        """Pick frames by number, slice, index array or mask; the result is a trajectory."""
        try:
            if isinstance(frames, int) or getattr(frames, "shape", None) == ():
                frames = [index(frames)]  # type: ignore[arg-type]
                if not -len(self) <= frames[0] < len(self):
                    raise InputError(
                        f"{self.label} has no frame {frames[0]}: expected 0 to {len(self) - 1}, "
                        f"or -1 to -{len(self)} counted from the end"
                    )
            times = self.times[frames]
            if times.ndim != 1:
                raise IndexError(f"{frames!r} selects no frames")
        except (IndexError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self.label} has {len(self)} frames and cannot select these: {error}; expected "
                f"numbers from 0 to {len(self) - 1}, or a slice"
            ) from None
        picked = {key: values[frames] for key, values in self._known(*_OF_ATOMS, "cell")}
        return replace(self, **picked, times=times, time_step=step_of(times, self.step))

    def __iter__(self) -> Iterator["Trajectory"]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        what = f"Trajectory({self.label}: {len(self)} frames of {self.n_atoms} atoms {self.formula}"
        if len(self) == 1:
            return what.replace("frames", "frame") + f" at {format_time(float(self.times[0]))})"
        even = f"every {format_time(self.spacing)}" if self.spacing else "unevenly spaced"
        return f"{what}, {even}, {format_time(self.span)})"

    def _repr_html_(self) -> str:
        from gfnode.notebook import trajectory_html

        return trajectory_html(self)

    def select(self, atoms: "ArrayLike | str") -> "Trajectory":
        """Keep some atoms: indices in their order, a mask ``(atom,)``, or text as of ``load``.

        Raises
        ------
        InputError
            For what :func:`gfnode.trajectory.selection.choose` refuses.
        """
        from gfnode.trajectory.selection import choose

        what = atoms if isinstance(atoms, str) else np.asarray(atoms)
        if not isinstance(what, str) and what.dtype == bool and what.shape == self.numbers.shape:
            what = np.flatnonzero(what)
        what = what if isinstance(what, str) else what.tolist()
        index = choose(what, self.numbers, self.topology, self.label)
        kept = {key: values[:, index] for key, values in self._known(*_OF_ATOMS)}
        kept |= {key: values[index] for key, values in self._known("numbers", "atom_masses")}
        return replace(self, **kept, topology=self.topology and self.topology.select(index))

    def _known(self, *keys: str) -> Iterator[tuple[str, Any]]:
        """Those of some arrays that are not None."""
        return ((key, values) for key in keys if (values := getattr(self, key)) is not None)

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)

    @property
    def label(self) -> str:
        """A short name for messages: the molecule's, else the source's."""
        return self.name or Path(self.source).stem or "trajectory"

    @property
    def spacing(self) -> float | None:
        """Time between frames in fs where it is even (to one part in 1000), else None."""
        return even_spacing(self.times)

    @property
    def step(self) -> float | None:
        """Time step of the series in fs; None for a single frame that names none."""
        if self.time_step is not None:
            return self.time_step
        if (even := self.spacing) is not None:
            return even
        steps = np.diff(self.times)
        return float(steps.min()) if steps.size else None

    @property
    def span(self) -> float:
        """Time from the first frame to the last, fs."""
        return float(self.times[-1] - self.times[0])

    @property
    def masses(self) -> Doubles:
        """Masses in u, ``(atom,)``: those of the source where it has others, else standard."""
        return masses_of(self.numbers) if self.atom_masses is None else self.atom_masses

    @property
    def symbols(self) -> tuple[str, ...]:
        """Element symbols, one an atom."""
        from ase.data import chemical_symbols

        return tuple(chemical_symbols[z] for z in self.numbers)

    @property
    def formula(self) -> str:
        """Molecular formula in Hill order."""
        return formula_of(self.numbers)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that models are trained on: the same data, the same value."""
        digest = hashlib.sha256()
        keys = ("numbers", "times", "positions", "velocities", "forces", "atom_masses")
        for _, values in self._known(*keys):
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()

    def temperature(self) -> float | None:
        """Mean kinetic temperature in K over 3N degrees of freedom, where velocities are known.

        T = Σ m v² / (3 N k_B), as MD17 counts it.
        """
        if self.velocities is None:
            return None
        return float(kinetic_temperature(self.velocities, self.masses).mean())

    def save(self, path: str | Path, *, precision: float | None = None) -> Path:
        """Write to a file; the suffix chooses the format (.npz, .extxyz, .xtc, .dcd, .pdb, …).

        See :func:`gfnode.readers.save`.
        """
        from gfnode import readers

        return readers.save(self, path, precision=precision)
