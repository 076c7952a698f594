"""The system a model is built for: its atoms, those that are scored, their graph and times."""

import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from gfnode.errors import InputError
from gfnode.graph import Edges
from gfnode.thinning import places
from gfnode.trajectory import Doubles, Integers, Trajectory, masses_of
from gfnode.trajectory.formula import differ


@dataclass(frozen=True, eq=False)
class System:
    """The molecular system of a model.

    Parameters
    ----------
    source_numbers
        Atomic numbers of every atom of the trajectory, ``(source_atom,)``.
    atoms
        State atoms, those the model is given, as indices into these, ``(atom,)``.
    score
        Which state atoms are scored, as indices into ``atoms``.
    bonds
        Bonds among the state atoms, ``(bond, 2)``.
    edges
        Directed edges among the state atoms.
    time_step
        Step of the original series, fs.
    horizon
        Largest lag of training, fs.
    rigid
        Pairs of state atoms whose edges are marked as rigid, ``(pair, 2)``; see
        :func:`gfnode.windows.published.rigid_pairs`.
    source_masses
        Masses of every atom in u, ``(source_atom,)``, where they are not the standard ones.
    held
        Fixed atoms: state atoms that never move in training, as indices into ``atoms``. They stay
        at their start in predictions.
    """

    source_numbers: Integers
    atoms: Integers
    score: Integers
    bonds: Integers
    edges: Edges
    time_step: float
    horizon: float
    rigid: Integers = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    source_masses: Doubles | None = None
    held: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def n_atoms(self) -> int:
        """Number of state atoms."""
        return len(self.atoms)

    @cached_property
    def numbers(self) -> Integers:
        """Atomic numbers of the state atoms, ``(atom,)``."""
        return self.source_numbers[self.atoms]

    @cached_property
    def place(self) -> Integers:
        """Index of every atom of the data among the state atoms, ``(source_atom,)``, or −1."""
        return places(self.atoms, len(self.source_numbers))

    @cached_property
    def masses(self) -> Doubles:
        """Masses of the state atoms in u, ``(atom,)``."""
        if self.source_masses is None:
            return masses_of(self.numbers)
        return self.source_masses[self.atoms]

    @cached_property
    def judged(self) -> Integers:
        """Scored atoms that are not fixed, ``(atom,)``; all scored atoms if all are fixed."""
        kept = np.isin(self.score, self.moving)
        return self.score[kept] if kept.any() else self.score

    @cached_property
    def moving(self) -> Integers:
        """State atoms that are not fixed, ``(atom,)``."""
        return np.setdiff1d(np.arange(self.n_atoms), self.held)

    def state_of(self, start: Trajectory) -> Trajectory:
        """Restrict a trajectory to the state atoms.

        The trajectory may hold all atoms of the training data, or just the state atoms. It gets the
        masses of training, as most files hold none, with a warning if its own masses differ.

        Raises
        ------
        InputError
            When its atoms are not those that the model was trained on.
        """
        for expected, chosen in ((self.source_numbers, self.atoms), (self.numbers, None)):
            if np.array_equal(start.numbers, expected):
                state = start if chosen is None else start.select(chosen)
                if state.atom_masses is None and self.source_masses is None:
                    return state
                self._warn_of_masses(state)
                return replace(state, atom_masses=self.masses)
        raise InputError(
            f"{start.label} has {start.n_atoms} atoms with atomic numbers "
            f"{_brief(start.numbers)}; this model was trained on {len(self.source_numbers)} atoms "
            f"{_brief(self.source_numbers)} in this order. Give a start of the same molecule with "
            "its atoms in the same order"
        )

    def _warn_of_masses(self, state: Trajectory) -> None:
        mine, other = self.masses, state.atom_masses
        if other is None or not differ(other, mine):
            return
        atom = int(np.argmax(np.abs(other / mine - 1)))
        warnings.warn(
            f"{state.label}: its masses differ from those of training, which are used: atom "
            f"{self.atoms[atom]} has {other[atom]:.4g} u, in training {mine[atom]:.4g} u. For "
            "these masses, train on trajectories with them",
            stacklevel=4,
        )

    def whole_of(self, start: Trajectory) -> Trajectory:
        """The same frames with the masses of training, if all atoms are present."""
        same = start.n_atoms == len(self.source_numbers)
        known = start.atom_masses is not None or self.source_masses is not None
        return replace(start, atom_masses=self.source_masses) if same and known else start

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for the run folder."""
        masses = self.source_masses
        return {
            "source_masses": None if masses is None else masses.tolist(),
            "source_numbers": self.source_numbers.tolist(),
            "atoms": self.atoms.tolist(),
            "score": self.score.tolist(),
            "bonds": self.bonds.tolist(),
            "edges": self.edges.index.tolist(),
            "hops": self.edges.hop.tolist(),
            "rigid": self.rigid.tolist(),
            "held": self.held.tolist(),
            "time_step_fs": self.time_step,
            "horizon_fs": self.horizon,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "System":
        """Inverse of :meth:`to_dict`.

        Raises
        ------
        KeyError, TypeError, ValueError
            When an entry is missing, or inconsistent with others.
        """
        numbers = _below(119, data["source_numbers"])
        atoms = _below(len(numbers), data["atoms"])
        count = len(atoms)
        receiving, sending = (_below(count, ends) for ends in data["edges"])
        hops = np.asarray(data["hops"], dtype=np.int64)
        step, horizon = float(data["time_step_fs"]), float(data["horizon_fs"])
        if not count or (numbers == 0).any() or hops.shape != sending.shape:
            raise ValueError("atoms and edges do not match")
        masses = data.get("source_masses")
        if masses is not None:
            masses = np.asarray(masses, dtype=np.float64)
            if masses.shape != numbers.shape or not (0 < masses.min() <= masses.max() < np.inf):
                raise ValueError("masses do not match the atoms")
        if not (step > 0 and 0 < horizon < np.inf):
            raise ValueError(f"a step of {step} fs and a horizon of {horizon} fs")
        return cls(
            numbers,
            atoms,
            _below(count, data["score"]),
            _below(count, data["bonds"]).reshape(-1, 2),
            Edges(np.stack([receiving, sending]), hops),
            step,
            horizon,
            _below(count, data.get("rigid", [])).reshape(-1, 2),
            masses,
            _below(count, data.get("held", [])),
        )


def _below(count: int, values: Any) -> Integers:
    found = np.asarray(values, dtype=np.int64)
    if not found.ndim:
        raise ValueError(f"{values!r}, expected a list of numbers")
    if found.size and not 0 <= found.min() <= found.max() < count:
        raise ValueError(f"{found.min()} to {found.max()}, expected 0 to {count - 1}")
    return found


def _brief(numbers: Integers) -> str:
    text = " ".join(map(str, numbers[:12]))
    return f"[{text}{' …' if len(numbers) > 12 else ''}]"
