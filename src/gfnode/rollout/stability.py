"""Stability of a long trajectory: broken bonds, clashes, and drift of distributions.

Bonds, angles and the radius of gyration are compared with the training data
(:class:`Reference`), their distributions by the Wasserstein distance

    W = ∫ |F⁻¹(p) − G⁻¹(p)| dp,

separately for each coordinate, of which the mean is reported. Broken bonds and clashes are defined
as in :mod:`gfnode.molecule.integrity`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from gfnode.geometry import bond_angles, bond_lengths, radius_of_gyration
from gfnode.graph import pair_distances
from gfnode.metrics.distributions import wasserstein
from gfnode.molecule.integrity import LONGEST, SHORTEST, clash_limits, mean_lengths
from gfnode.molecule.internal import angles, nonbonded_pairs
from gfnode.molecule.system import System
from gfnode.thinning import evenly
from gfnode.trajectory import Doubles, Floats, Integers, Trajectory
from gfnode.trajectory.temperature import kinetic_temperature

SAMPLE = 500
"""Frames sampled for a distribution."""

MOST_PAIRS = 100_000
"""Pairs of atoms that are checked for clashes, at most: those closest in a frame of training."""

STRETCHES = 5
"""Parts of a rollout with a distribution each."""

QUANTITIES = {"bond": "angstrom", "angle": "degree", "radius_of_gyration": "angstrom"}
"""Quantities whose distributions are compared, and their units."""

_BLOCK = 2**22  # distances held at once

Internal = dict[str, Doubles]
"""Values by quantity, ``(frame, coordinate)``."""


@dataclass(frozen=True)
class Event:
    """First occurrence of a broken bond or clash, and its frequency.

    Parameters
    ----------
    time
        Of the first frame, fs since the start.
    atoms
        The pair, as indices of the source trajectory.
    distance, bound
        Their distance, and its limit, Å.
    frames
        Fraction of all frames in which some pair violates its limit.
    """

    time: float
    atoms: tuple[int, int]
    distance: float
    bound: float
    frames: float


@dataclass(frozen=True, eq=False)
class Reference:
    """Reference data from training.

    Parameters
    ----------
    system
        Of the model.
    pairs, least, most
        Pairs of state atoms ``(pair, 2)``, and the limits of their distances, ``(pair,)`` in Å.
    n_bonds
        Number of bonds, the first of the pairs.
    triples
        Angles, ``(angle, 3)``.
    sample
        Values of evenly spaced frames of training.
    temperature
        Kinetic temperature in K from the velocities of training windows.
    series
        The training data of the state atoms, for :meth:`floor`.
    """

    system: System
    pairs: Integers
    least: Doubles
    most: Doubles
    n_bonds: int
    triples: Integers
    sample: Internal
    temperature: float
    series: Sequence[Trajectory]

    @classmethod
    def of(
        cls, system: System, trajectories: Sequence[Trajectory], velocities: Floats
    ) -> "Reference":
        """Compute from the training data.

        Parameters
        ----------
        trajectories
            All atoms of the source.
        velocities
            Of training windows, state atoms, ``(window, atom, 3)`` in Å/fs.
        """
        state = [system.state_of(each) for each in trajectories]
        frames = np.concatenate([each.positions[evenly(len(each), SAMPLE)] for each in state])
        bonds = system.bonds
        others = nonbonded_pairs(bonds, system.n_atoms)
        if len(others) > MOST_PAIRS:
            apart = pair_distances(frames[0], others)
            others = others[np.sort(np.argpartition(apart, MOST_PAIRS)[:MOST_PAIRS])]
        pairs = np.concatenate([bonds, others])
        mean = mean_lengths(frames, bonds)
        triples = angles(bonds)
        return cls(
            system,
            pairs,
            np.concatenate([SHORTEST * mean, clash_limits(system.numbers, others)]),
            np.concatenate([LONGEST * mean, np.full(len(others), np.inf)]),
            len(bonds),
            triples,
            internal(frames, bonds, triples),
            float(kinetic_temperature(velocities, system.masses).mean()),
            state,
        )

    def floor(self, span: float) -> dict[str, float]:
        """W between a stretch of training of ``span`` fs and the rest of training.

        The median over at most ten stretches of each trajectory, of at most half its length. It is
        the expected drift of a perfect rollout.
        """
        found: list[dict[str, float]] = []
        for number, series in enumerate(self.series):
            times = series.times - series.times[0]
            if not times[-1]:  # a single frame has no stretches
                continue
            length = min(span, float(times[-1]) / 2)
            begins = np.linspace(0.0, times[-1] - length, min(10, int(times[-1] / length)))
            for begin in begins:
                inside = (times >= begin) & (times <= begin + length)
                if not inside.any():  # it lies between two frames
                    continue
                rest = [
                    (s.positions, np.arange(len(s.times)))
                    for i, s in enumerate(self.series)
                    if i != number
                ]
                stretch = [(series.positions, np.flatnonzero(inside))]
                outside = [*rest, (series.positions, np.flatnonzero(~inside))]
                parts = [
                    internal(_some(frames), self.bonds, self.triples)
                    for frames in (stretch, outside)
                ]
                found.append(drift(*parts))
        return {key: float(np.median([each[key] for each in found])) for key in QUANTITIES}

    @property
    def bonds(self) -> Integers:
        """Bonds among the state atoms, ``(bond, 2)``."""
        return self.pairs[: self.n_bonds]


@dataclass(frozen=True)
class Stretch:
    """A stretch of a rollout, and the distance of its distributions from those of training.

    Parameters
    ----------
    begin, end
        fs since the start.
    drift
        Wasserstein distance by quantity, in the units of :data:`QUANTITIES`.
    temperature
        Mean kinetic temperature of the velocities that applications began with, K; nan without any.
    """

    begin: float
    end: float
    drift: dict[str, float]
    temperature: float


@dataclass(frozen=True)
class Stability:
    """Stability of a rollout."""

    broken: Event | None  # first broken bond
    clash: Event | None  # first clash
    stretches: tuple[Stretch, ...]


def measure(
    pieces: Iterable[Trajectory],
    frames: int,
    reference: Reference,
    *,
    stretches: int = STRETCHES,
    temperatures: tuple[Doubles, Doubles] | None = None,
) -> Stability:
    """Measure the stability of a trajectory, chunk by chunk.

    Parameters
    ----------
    pieces
        Chunks of the state atoms; the first frame is the start.
    frames
        Total number of frames.
    reference
        Of the same system.
    stretches
        Number of parts of equal length for distributions.
    temperatures
        Times (fs since the start) and kinetic temperatures (K) of applications.
    """
    bounds = np.linspace(0, frames, min(stretches, frames) + 1).round().astype(int)
    wanted = [a + evenly(b - a, SAMPLE) for a, b in pairwise(bounds)]
    sampled: list[list[Internal]] = [[] for _ in wanted]
    ends = np.stack([bounds[:-1], bounds[1:] - 1])  # first and last frame of each
    times = np.zeros(ends.shape)
    watch = [_Watch(reference, kind) for kind in ("broken", "clash")]
    done, origin = 0, None
    for piece in pieces:
        origin = float(piece.times[0]) if origin is None else origin
        here = (ends >= done) & (ends < done + len(piece))
        times[here] = piece.times[ends[here] - done] - origin
        size = max(1, _BLOCK // max(1, len(reference.pairs)))
        for first in range(0, len(piece), size):
            part = slice(first, first + size)
            apart = pair_distances(piece.positions[part], reference.pairs)
            for each in watch:
                each.look(piece.times[part] - origin, apart)
        for kept, chosen in zip(sampled, wanted, strict=True):
            mine = chosen[(chosen >= done) & (chosen < done + len(piece))] - done
            if len(mine):
                x = piece.positions[mine]
                kept.append(internal(x, reference.bonds, reference.triples))
        done += len(piece)
    found = []
    for kept, begin, end in zip(sampled, times[0], times[1], strict=True):
        values = {key: np.concatenate([each[key] for each in kept]) for key in QUANTITIES}
        warm = np.nan
        if temperatures is not None:
            at, kelvin = temperatures
            inside = (at >= begin) & (at <= end)
            warm = float(kelvin[inside].mean()) if inside.any() else np.nan
        found.append(Stretch(float(begin), float(end), drift(values, reference.sample), warm))
    broken, clash = (each.event(frames) for each in watch)
    return Stability(broken, clash, tuple(found))


class _Watch:
    """Detects the first frame with a broken bond or a clash."""

    def __init__(self, reference: Reference, kind: str) -> None:
        self.reference, self.broken = reference, kind == "broken"
        self.first: tuple[float, int, float] | None = None
        self.frames = 0

    def look(self, times: Doubles, apart: Doubles) -> None:
        """Process distances ``(frame, pair)``."""
        r = self.reference
        if self.broken:
            excess = apart[:, : r.n_bonds] / r.most[: r.n_bonds]
        else:
            excess = r.least / np.maximum(apart, 1e-9)
        wrong = (excess > 1).any(1)
        self.frames += int(wrong.sum())
        if self.first is None and wrong.any():
            frame = int(wrong.argmax())
            pair = int(excess[frame].argmax())
            self.first = (float(times[frame]), pair, float(apart[frame, pair]))

    def event(self, frames: int) -> Event | None:
        """The first occurrence, if any."""
        if self.first is None:
            return None
        time, pair, distance = self.first
        r = self.reference
        i, j = r.system.atoms[r.pairs[pair]]
        bound = float((r.most if self.broken else r.least)[pair])
        return Event(time, (int(i), int(j)), distance, bound, self.frames / frames)


def internal(positions: Floats, bonds: Integers, triples: Integers) -> Internal:
    """Bond lengths (Å), angles (degrees) and radius of gyration (Å) of frames."""
    x = torch.from_numpy(np.ascontiguousarray(positions)).double()
    return {
        "bond": bond_lengths(x, torch.from_numpy(bonds)).numpy(),
        "angle": np.degrees(bond_angles(x, torch.from_numpy(triples)).numpy()),
        "radius_of_gyration": radius_of_gyration(x)[:, None].numpy(),
    }


def drift(values: Internal, others: Internal) -> dict[str, float]:
    """Mean Wasserstein distance over the coordinates of every quantity; nan without any."""
    return {
        key: float(wasserstein(values[key], others[key]).mean()) if values[key].size else np.nan
        for key in QUANTITIES
    }


def _some(parts: Sequence[tuple[Floats, Integers]]) -> Floats:
    """At most :data:`SAMPLE` evenly spaced rows of several arrays; no others are read."""
    ends = np.cumsum([0, *(len(rows) for _, rows in parts)])
    chosen = evenly(int(ends[-1]), SAMPLE)
    return np.concatenate(
        [
            array[rows[chosen[(chosen >= begin) & (chosen < end)] - begin]]
            for (array, rows), (begin, end) in zip(parts, pairwise(ends), strict=True)
        ]
    )
