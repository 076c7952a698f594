"""Chemical integrity of conformations: broken bonds, clashes, inverted stereocentres.

Limits are chosen so that real dynamics stays within them. Over every 16th frame of GFN2-xTB
dynamics of eight molecules at 300 to 500 K, and of alanine dipeptide, bonds were between 0.84 and
1.22 times their mean length. No pair came as close as the limit of a clash: the closest was 0.60
of the radii against 0.6 (aspirin, C with O), and in hydrogen bonds 0.50 against 0.45 (salicylic
acid).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from gfnode.graph import pair_distances
from gfnode.molecule.internal import Internal, near_in_graph, nonbonded_pairs, volumes
from gfnode.thinning import chunks, places
from gfnode.trajectory import Doubles, Floats, Integers

LONGEST, SHORTEST = 1.3, 0.7
"""A bond is broken above, collapsed below these multiples of its mean length."""

TOUCH, HYDROGEN_BOND = 0.6, 0.45
"""A pair clashes below this multiple of the sum of its van der Waals radii; the second is for a
hydrogen with N, O, F, S or Cl, which may form a hydrogen bond."""

ACCEPTORS = (7, 8, 9, 16, 17)
LARGE = 200
"""Number of atoms above which close pairs are found by a k-d tree instead of a full search."""

_VALUES = 4_000_000  # distances held at once
_FAR = 1e6  # Å; replaces positions that are not finite


@dataclass(frozen=True, eq=False)
class Integrity:
    """Reference data for the integrity of conformations of one molecule.

    Parameters
    ----------
    internal
        Its bonds and tetrahedra.
    bonds
        All bonds of the whole molecule, ``(bond, 2)``, for exclusion of close pairs.
    numbers
        Atomic numbers, ``(atom,)``.
    lengths
        Mean length of each bond of ``internal`` in Å, ``(bond,)``.
    """

    internal: Internal
    bonds: Integers
    numbers: Integers
    lengths: Doubles

    @classmethod
    def of(
        cls,
        bonds: Integers,
        numbers: Integers,
        reference: Floats,
        atoms: Integers | None = None,
    ) -> "Integrity":
        """Build from reference conformations, which define the mean bond lengths.

        Parameters
        ----------
        bonds
            ``(bond, 2)``.
        numbers
            Atomic numbers, ``(atom,)``.
        reference
            ``(sample, atom, 3)`` in Å.
        atoms
            Restrict to these.
        """
        internal = Internal.of(bonds, numbers, atoms)
        return cls(internal, bonds, numbers, mean_lengths(reference, internal.bonds))

    def counts(self, positions: Floats, starts: Floats) -> dict[str, Integers]:
        """Count the defects of each conformation.

        Parameters
        ----------
        positions
            ``(..., atom, 3)`` in Å.
        starts
            Conformations with the reference chirality, ``(..., atom, 3)``; broadcast.

        Returns
        -------
        dict
            Arrays ``(...)``: ``broken_bonds`` (longer than 1.3 times the mean, or not finite),
            ``collapsed_bonds`` (shorter than 0.7 times), ``clashes``, ``inverted_centres`` (atoms
            with four neighbours whose signed volume changed sign, also those with equivalent
            neighbours, as in a methyl group) and ``chirality_lost`` (those that are stereocentres).
        """
        relative = pair_distances(positions, self.internal.bonds) / self.lengths
        corners = self.internal.tetrahedra
        inverted = ~(volumes(positions, corners) * volumes(starts, corners) > 0)
        return {
            "broken_bonds": np.asarray((~(relative <= LONGEST)).sum(-1)),
            "collapsed_bonds": np.asarray((relative < SHORTEST).sum(-1)),
            "clashes": self.clashes(positions),
            "inverted_centres": np.asarray(inverted.sum(-1)),
            "chirality_lost": np.asarray((inverted & self.internal.stereo).sum(-1)),
        }

    def clashes(self, positions: Floats) -> Integers:
        """Number of clashing pairs, at least four bonds apart or of two molecules, ``(...)``."""
        atoms = self.internal.atoms
        frames = positions.reshape(-1, *positions.shape[-2:])[:, atoms]
        count = np.zeros(len(frames), dtype=np.int64)
        for part in chunks(len(frames), _VALUES, self._width):
            count[part] = self._touching(frames[part].astype(np.float64))
        return count.reshape(positions.shape[:-2])

    @property
    def _width(self) -> int:
        """Temporary values for each frame."""
        n = len(self.internal.atoms)
        return 32 * n if n > LARGE else 3 * len(self._pairs)

    @cached_property
    def _pairs(self) -> Integers:
        """Nonbonded pairs, as indices into the selected atoms."""
        place = places(self.internal.atoms, len(self.numbers))
        return place[nonbonded_pairs(self.bonds, len(self.numbers), self.internal.atoms)]

    @cached_property
    def _near(self) -> Integers:
        """Keys i · n_atoms + j of the excluded pairs."""
        near = near_in_graph(self.bonds, len(self.numbers))
        return near[:, 0] * len(self.numbers) + near[:, 1]

    def _touching(self, frames: Doubles) -> Integers:
        atoms = self.internal.atoms
        if len(atoms) <= LARGE:
            limits = clash_limits(self.numbers, atoms[self._pairs])
            with np.errstate(invalid="ignore"):
                return np.asarray((pair_distances(frames, self._pairs) < limits).sum(-1))
        # one tree for many frames: the frame is a fourth coordinate, spaced beyond the reach
        reach = 2 * TOUCH * float(_radii(self.numbers[atoms]).max())
        where = np.repeat(np.arange(len(frames)), len(atoms))
        points = np.concatenate([frames.reshape(-1, 3), 2 * reach * where[:, None]], 1)
        lost = ~np.isfinite(points).all(1)
        points[lost] = _FAR * (1 + np.flatnonzero(lost))[:, None]
        found = cKDTree(points).query_pairs(reach, output_type="ndarray")
        pairs = np.sort(atoms[found % len(atoms)], 1)
        apart = ~np.isin(pairs[:, 0] * len(self.numbers) + pairs[:, 1], self._near)
        found, pairs = found[apart], pairs[apart]
        close = pair_distances(points, found)
        touching = close < clash_limits(self.numbers, pairs)
        return np.bincount(where[found[touching, 0]], minlength=len(frames))


def clash_limits(numbers: Integers, pairs: Integers) -> Doubles:
    """Distances in Å below which pairs ``(pair, 2)`` of atoms clash, ``(pair,)``."""
    z = numbers[pairs]
    bridge = (z == 1).any(1) & np.isin(z, ACCEPTORS).any(1)
    return np.where(bridge, HYDROGEN_BOND, TOUCH) * _radii(z).sum(1)


def _radii(numbers: Integers) -> Doubles:
    """Van der Waals radii in Å, 2 Å where none is known."""
    from ase.data import vdw_radii

    known = np.full(119, 2.0)
    known[: len(vdw_radii)] = np.nan_to_num(vdw_radii, nan=2.0)
    return known[numbers]


def mean_lengths(positions: Floats, bonds: Integers) -> Doubles:
    """Mean length of each bond over conformations ``(sample, atom, 3)``, ``(bond,)`` in Å."""
    return np.asarray(pair_distances(positions, bonds).mean(0))
