"""Two dihedrals of trajectories: densities, basins, populations, transitions; without a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfnode.errors import InputError
from gfnode.graph import bonds_from_distances
from gfnode.metrics import Blocks, Estimate
from gfnode.metrics.distributions import counts_by_block, jensen_shannon_of_counts
from gfnode.metrics.jackknife import Distance, jackknife, leave_one_out
from gfnode.metrics.ramachandran import (
    BASINS,
    COARSE,
    OTHER,
    Basin,
    assign,
    density,
    populations,
    torus_bins,
    transitions,
)
from gfnode.molecule.torsions import named_torsions, ramachandran_pairs
from gfnode.physics.quantity import torsion_angles
from gfnode.trajectory import Doubles, Integers, Trajectory

SHARES = (0.0001, 0.001, 0.01, 0.1)
"""Lags of the transitions, as fractions of a run."""

SLACK = 0.05
"""Relative tolerance of a lag between frames, which is also at most half of the median spacing."""


@dataclass(frozen=True, eq=False)
class Landscape:
    """Two dihedrals along trajectories, and their basins.

    Parameters
    ----------
    names
        Of the two dihedrals.
    runs
        Label of each trajectory.
    angles
        Of each trajectory, ``(2, frame)`` in radians.
    times
        Of each trajectory, ``(frame,)`` in fs.
    basins
        States to distinguish.
    """

    names: tuple[str, str]
    runs: tuple[str, ...]
    angles: tuple[Doubles, ...]
    times: tuple[Doubles, ...]
    basins: tuple[Basin, ...]

    @property
    def states(self) -> list[str]:
        """Names of the basins, and of the rest."""
        return [*(basin.name for basin in self.basins), OTHER]

    def labels(self, run: int) -> Integers:
        """Index of the state of each frame, ``(frame,)``."""
        return assign(self.angles[run][0], self.angles[run][1], self.basins)

    def density(self, run: int) -> Doubles:
        """Probability of each bin of 6° × 6°, ``(60, 60)``."""
        return density(*self.angles[run])

    def populations(self, run: int) -> dict[str, Estimate]:
        """Populations of the states with intervals over up to 30 blocks of the run."""
        shares = populations(self.labels(run), self._blocks(run), len(self.states))
        return dict(zip(self.states, shares, strict=True))

    def passages(self, run: int, lag_fs: float) -> Integers:
        """Count matrix of transitions between states within a lag, ``(from, to)``."""
        times, labels = self.times[run], self.labels(run)
        later = np.searchsorted((times[1:] + times[:-1]) / 2, times + lag_fs)  # the nearest frame
        slack = min(SLACK * lag_fs, 0.5 * float(np.median(np.diff(times))))
        kept = np.abs(times[later] - times - lag_fs) <= slack * (1 - 1e-9)
        return transitions(labels[kept], labels[later[kept]], len(self.states))

    def lags(self, run: int) -> list[float]:
        """Lags of the transitions in fs: median times over `SHARES` of the frames."""
        times = self.times[run]
        frames = {max(1, round(share * len(times))) for share in SHARES if len(times) > 1}
        return [float(np.median(times[k:] - times[:-k])) for k in sorted(frames)]

    def apart(self, first: int, second: int) -> Distance:
        """Jensen–Shannon divergence of two runs in bits, on a grid of 10°."""
        sides = [self._counts(run) for run in (first, second)]
        none = [np.zeros_like(each) for each in sides]
        p = np.concatenate([sides[0], none[1]])
        q = np.concatenate([none[0], sides[1]])
        groups = np.repeat([0, 1], [len(each) for each in sides])
        rows = leave_one_out(jensen_shannon_of_counts, p, q)
        return jackknife(rows, groups, unbiased=True, most=1.0)

    def to_dict(self) -> dict[str, Any]:
        """All results, under the keys of docs/physics.md."""
        return {
            "angles": list(self.names),
            "states": self.states,
            "basins": {
                b.name: {"phi_deg": list(b.phi_deg), "psi_deg": list(b.psi_deg)}
                for b in self.basins
            },
            "runs": [self._run(run) for run in range(len(self.runs))],
            "between_runs": [
                {"runs": [a, b], "js_bits": vars(self.apart(a, b))}
                for a in range(len(self.runs))
                for b in range(a + 1, len(self.runs))
            ],
        }

    def _run(self, run: int) -> dict[str, Any]:
        times = self.times[run]
        return {
            "name": self.runs[run],
            "frames": len(times),
            "length_fs": float(times[-1] - times[0]),
            "blocks": self._blocks(run).count,
            "populations": {key: vars(each) for key, each in self.populations(run).items()},
            "changes": int((np.diff(self.labels(run)) != 0).sum()),
            "passages": [
                {"lag_fs": lag, "counts": self.passages(run, lag).tolist()}
                for lag in self.lags(run)
            ],
        }

    def _blocks(self, run: int) -> Blocks:
        times = self.times[run]
        # frames, unlike windows, do not overlap: a short horizon gives the most blocks
        return Blocks.of(times, max(float(np.ptp(times)) / 1e4, 1e-3))

    def _counts(self, run: int) -> Doubles:
        """Counts of the coarse bins, ``(block, bin)``."""
        blocks, (first, second) = self._blocks(run), self.angles[run]
        bins = torus_bins(first, second, COARSE)[:, None]
        return counts_by_block(bins, blocks.labels, blocks.count, COARSE**2)[:, 0]


def landscape(
    trajectories: Sequence[Trajectory],
    *,
    residue: str | None = None,
    pair: tuple[tuple[str, Integers], tuple[str, Integers]] | None = None,
    basins: Sequence[Basin] | None = None,
) -> Landscape:
    """Compute φ and ψ of a residue, or two other dihedrals, along trajectories of one molecule.

    Parameters
    ----------
    residue
        Such as ``ALA2``; None for the first that has both.
    pair
        Two dihedrals instead of φ and ψ: name and atoms ``(4,)`` of each.
    basins
        States to distinguish; None: those of φ and ψ, or none for two other dihedrals.

    Raises
    ------
    InputError
        Where no residue has φ and ψ, or not the one that is asked for.
    """
    if pair is None:
        names, atoms = _chosen(trajectories[0], residue)
    else:
        (a, first), (b, second) = pair
        names, atoms = (a, b), np.stack([first, second])
    if basins is None:
        basins = BASINS if pair is None else ()  # α and β are regions of φ and ψ
    angles = tuple(torsion_angles(each.positions, atoms).T for each in trajectories)
    times = tuple(each.times - each.times[0] for each in trajectories)
    runs = tuple(each.label for each in trajectories)
    return Landscape(names, runs, angles, times, tuple(basins))


def phi_psi(first: Trajectory) -> dict[str, Integers]:
    """Atoms of φ and ψ, ``(2, 4)``, of each residue that has both, by its label."""
    topology = first.topology
    bonds = None
    if topology is not None and not len(topology.bonds):
        bonds = bonds_from_distances(first.numbers, first.positions)
    return ramachandran_pairs(named_torsions(topology, bonds))


def _chosen(first: Trajectory, residue: str | None) -> tuple[tuple[str, str], Integers]:
    pairs = phi_psi(first)
    name = next(iter(pairs), None) if residue is None else residue
    if name is None or name not in pairs:
        known = f"these have: {', '.join(list(pairs)[:12])}" if pairs else "none here has"
        asked = "no residue has" if residue is None else f"residue {residue} has not"
        raise InputError(
            f"{first.label}: {asked} φ and ψ ({known}); name another residue, or two dihedrals "
            "with --torsion NAME=A-B-C-D"
        )
    return (f"φ of {name}", f"ψ of {name}"), pairs[name]
