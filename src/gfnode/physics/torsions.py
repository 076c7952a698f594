"""Named dihedrals, and Ramachandran densities, basins and transitions of residues."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.geometry import dihedrals
from gfnode.metrics.distributions import (
    circular_mean,
    counts_by_block,
    jensen_shannon_of_counts,
    kullback_leibler,
    smoothed,
)
from gfnode.metrics.jackknife import jackknife, leave_one_out
from gfnode.metrics.lags import LAG_BINS
from gfnode.metrics.ramachandran import (
    BASINS,
    COARSE,
    OTHER,
    assign,
    density,
    passage_error,
    populations,
    torus_bins,
)
from gfnode.molecule.torsions import named_torsions, ramachandran_pairs, read_torsions
from gfnode.physics.comparing import Samples, compare
from gfnode.physics.predictions import Predictions
from gfnode.physics.quantity import Quantity, distance, estimate
from gfnode.physics.section import CONSTANT, FLOOR, TRUE, Section
from gfnode.thinning import evenly
from gfnode.trajectory import Doubles, Floats, Integers

MOST_TORSIONS = 40
"""Named torsions that are compared, at most (evenly chosen), besides user-defined ones."""

MOST_RESIDUES = 8
"""Residues whose Ramachandran densities are compared, at most (evenly chosen)."""


def torsions(predictions: Predictions) -> Section | None:
    """Compare φ, ψ, ω, χ and user-defined torsions; basins of φ and ψ and their transitions."""
    named = named_torsions(predictions.topology, predictions.system.bonds)
    chosen = {name: named[name] for name in _few(list(named), MOST_TORSIONS)}
    chosen |= (asked := _asked(predictions))
    if not chosen:
        return None
    numbers: dict[str, Any] = {}
    arrays: dict[str, NDArray[Any]] = {}
    for name, atoms in chosen.items():
        kind = Quantity(name, atoms[None], dihedrals, "degree", circular=True)
        numbers[name], found = compare(kind, predictions)
        arrays |= {f"{name}.{key}": value for key, value in found.items()}
    residues: dict[str, Any] = {}
    pairs = ramachandran_pairs(named)
    for residue in _few(list(pairs), MOST_RESIDUES):
        residues[residue], found = _ramachandran(pairs[residue], predictions)
        arrays |= {f"ramachandran.{residue}.{key}": value for key, value in found.items()}
    basins = {b.name: {"phi_deg": b.phi_deg, "psi_deg": b.psi_deg} for b in BASINS}
    facts: dict[str, Any] = {"lag_edges_fs": predictions.lag_edges, "quantities": numbers}
    facts["asked"] = list(asked)
    if residues:
        facts |= {"basins": basins, "states": [*basins, OTHER], "grid": COARSE}
    return Section(facts | {"ramachandran": residues}, arrays)


def _asked(predictions: Predictions) -> dict[str, Integers]:
    """User-defined torsions, converted from indices of the trajectory to those of state atoms."""
    source, system = predictions.trajectories[0], predictions.system
    whole = source.n_atoms == len(system.source_numbers)  # or of the state atoms only
    place = system.place if whole else np.arange(source.n_atoms)
    found = read_torsions(predictions.torsions, source.n_atoms, source.topology)
    for name, atoms in found.items():
        if (place[atoms] < 0).any():
            raise InputError(
                f"--torsion {name}: atom {atoms[place[atoms] < 0][0]} is not among the "
                f"{system.n_atoms} atoms that the model sees"
            )
    return {name: place[atoms] for name, atoms in found.items()}


def _few(names: list[str], most: int) -> list[str]:
    return [names[k] for k in evenly(len(names), most)]


def _angles(positions: Floats, atoms: Integers) -> Doubles:
    """φ and ψ, ``(2, sample)`` in radians."""
    return Quantity("", atoms, dihedrals).of(positions, atoms)


def _ramachandran(
    atoms: Integers, predictions: Predictions
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Density of φ and ψ, populations of basins and transitions between them."""
    samples = Samples.of(predictions)
    shape = predictions.lags_fs.shape
    begin = np.repeat(assign(*_angles(predictions.starts, atoms)), shape[1])
    constant = circular_mean(_angles(predictions.training, atoms), 1)[:, None]
    true = _angles(predictions.true, atoms)
    angles = {TRUE: true}
    angles |= {k: _angles(x, atoms) for k, x in predictions.predicted.items()}
    angles |= {CONSTANT: np.broadcast_to(constant, true.shape)}
    states = {key: assign(*each) for key, each in angles.items()}
    passages = {key: _passages(begin, each, samples) for key, each in states.items()}
    counted = {key: _torus(each, samples.labels, samples.blocks) for key, each in angles.items()}
    names = [*(basin.name for basin in BASINS), OTHER]
    methods: dict[str, Any] = {}
    for key, each in states.items():
        shares = populations(each.reshape(shape), predictions.blocks, len(names))
        methods[key] = {
            "populations": {name: estimate(x) for name, x in zip(names, shares, strict=True)},
            "transitions": passages[key].sum(0)[1:].astype(int).tolist(),
        }
        if key != TRUE:
            methods[key] |= _divergences(counted[TRUE], counted[key], predictions, None)
            methods[key] |= _passage_errors(passages[TRUE], passages[key], samples, predictions)
    n = samples.blocks
    parted = _torus(true, samples.labels + n * samples.half, 2 * n)
    halves = _passages(begin, states[TRUE], samples, parted=True)
    methods[FLOOR] = _divergences(parted[:n], parted[n:], predictions, samples.sides)
    methods[FLOOR] |= _passage_errors(halves[:n], halves[n:], samples, predictions, samples.sides)
    arrays: dict[str, NDArray[Any]] = {
        f"density.{key}": density(*each).astype(np.float32) for key, each in angles.items()
    }
    arrays["atoms"] = atoms
    return {"methods": methods}, arrays


def _torus(angles: Doubles, labels: Integers, blocks: int) -> Doubles:
    """Counts on the coarse grid by block, ``(block, bin)``."""
    bins = torus_bins(angles[0], angles[1], COARSE)
    return counts_by_block(bins[:, None], labels, blocks, COARSE**2)[:, 0]


def _divergences(
    true: Doubles, mine: Doubles, predictions: Predictions, sides: Integers | None
) -> dict[str, Any]:
    """Jensen-Shannon and KL(truth ‖ prediction) divergences of counts ``(block, bin)``."""

    def kl(p: Doubles, q: Doubles) -> Doubles:
        return kullback_leibler(smoothed(p), smoothed(q))

    found = {}
    empty = not true.any() or not mine.any()
    measures = (("js_bits", jensen_shannon_of_counts, 1.0), ("kl_bits", kl, np.inf))
    for key, statistic, most in measures:
        rows = leave_one_out(statistic, true, mine)
        rows = np.full_like(rows, np.nan) if empty else rows
        inflation = predictions.blocks.inflation
        found[key] = distance(jackknife(rows, sides, inflation=inflation, unbiased=True, most=most))
    return found


def _passages(
    begin: Integers, after: Integers, samples: Samples, *, parted: bool = False
) -> Doubles:
    """Transition counts between basins by block, of all samples and each lag bin.

    ``(block, 1 + lag bin, from, to)``; with ``parted`` the second half of the truth follows as
    further blocks.
    """
    n = len(BASINS) + 1
    blocks = samples.blocks * (2 if parted else 1)
    labels = samples.labels + samples.blocks * samples.half * parted
    key = (labels * n + begin) * n + after
    found = [
        np.bincount(key[group], minlength=blocks * n * n).reshape(blocks, n, n)
        for group in samples.groups
    ]
    return np.stack(found, 1).astype(np.float64)


def _passage_errors(
    true: Doubles,
    mine: Doubles,
    samples: Samples,
    predictions: Predictions,
    sides: Integers | None = None,
) -> dict[str, Any]:
    """Errors of transition probabilities by lag bin; see `passage_error`."""
    rows = leave_one_out(passage_error, true, mine)  # (1 + block, 1 + lag bin)
    by_lag = [
        distance(
            jackknife(
                np.where(samples.seen[1 + k], rows[:, 1 + k], np.nan),
                sides,
                inflation=predictions.blocks.inflation,
                unbiased=True,
                most=1.0,
            )
        )
        for k in range(LAG_BINS)
    ]
    return {"passage_error_by_lag": by_lag}
