"""Geometry and shape: bonds, angles, dihedrals, pair distances, radius of gyration, RMSD."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gfnode.geometry import (
    bond_angles,
    bond_lengths,
    dihedrals,
    mean_conformer,
    radius_of_gyration,
    superpose,
)
from gfnode.physics.comparing import compare
from gfnode.physics.predictions import Predictions
from gfnode.physics.quantity import Quantity, summary
from gfnode.physics.section import CONSTANT, FLOOR, Section
from gfnode.thinning import chunks, evenly
from gfnode.trajectory import Doubles, Floats, Integers

MOST_PAIRS = 100
"""Pairs of atoms whose distances are compared, at most; drawn with seed 0 where there are more."""

MOST_CONFORMATIONS = 500
"""Training conformations for the mean conformer, at most."""

_VALUES = 4_000_000  # coordinates that are superposed at once


def geometry(predictions: Predictions) -> Section | None:
    """Bond lengths, bond angles, proper and improper dihedrals."""
    internal = predictions.internal
    kinds = [
        Quantity("bond", internal.bonds, bond_lengths, relative=True),
        Quantity("angle", internal.angles, bond_angles, "degree", relative=True),
        Quantity("dihedral", internal.dihedrals, dihedrals, "degree", circular=True),
        Quantity("improper", internal.impropers, dihedrals, "degree", circular=True),
    ]
    return _section([kind for kind in kinds if len(kind.index)], predictions)


def shape(predictions: Predictions) -> Section | None:
    """Pair distances, radius of gyration, and root mean square deviation, raw and superposed."""
    atoms = predictions.internal.atoms
    if len(atoms) < 2:
        return None

    def gyration(x: Tensor, index: Tensor) -> Tensor:
        return radius_of_gyration(x[..., index[0], :]).unsqueeze(-1)

    kinds = [Quantity("radius_of_gyration", atoms[None], gyration)]
    if len(atoms) > 2 or not len(predictions.internal.bonds):  # else it is the bond
        kinds.insert(0, Quantity("pair_distance", some_pairs(atoms), bond_lengths))
    section = _section(kinds, predictions)
    assert section is not None
    mean = mean_of_training(predictions)
    others = {
        CONSTANT: mean,
        FLOOR: _on_starts(predictions, predictions.true[predictions.partners]),
    }
    for superposed, key in ((False, "rmsd"), (True, "rmsd_superposed")):
        methods = {}
        for method, mine in (predictions.predicted | others).items():
            off = rmsd(mine[..., atoms, :], predictions.true[..., atoms, :], superposed)
            known = method != FLOOR or len(off) > 1
            methods[method] = summary(off, predictions, known=known)
        section.numbers["quantities"][key] = {
            "unit": "angstrom",
            "coordinates": 1,
            "compared": 1,
            "methods": methods,
        }
    return section


def rmsd(mine: Floats, true: Floats, superposed: bool) -> Doubles:
    """Root mean square distance of atoms, ``(window, time)`` in Å.

    Superposed, by the singular values σ of Σ y_i x_iᵀ with x and y centred (the least of them
    negative where the determinant is): RMSD² = (Σ |x_i|² + Σ |y_i|² − 2 Σ σ)/n.

    Parameters
    ----------
    mine, true
        ``(window, time, atom, 3)``; the first broadcasts.
    superposed
        Minimise over translation and rotation.

    References
    ----------
    W. Kabsch, Acta Cryst. A 34, 827 (1978).
    """
    found = []
    for part in chunks(len(true), _VALUES, true[0].size):
        y = true[part].astype(np.float64)
        x = np.broadcast_to(mine[part], y.shape).astype(np.float64)
        if superposed:
            x, y = (each - each.mean(-2, keepdims=True) for each in (x, y))
        lost = ~np.isfinite(x).all((-2, -1))
        x[lost] = 0.0
        squares = np.square(x - y).sum((-2, -1))
        if superposed:
            H = y.swapaxes(-1, -2) @ x
            sigma = np.linalg.svd(H, compute_uv=False)
            sigma[..., 2] *= np.sign(np.linalg.det(H))
            squares += 2 * (np.trace(H, axis1=-2, axis2=-1) - sigma.sum(-1))
        off = np.sqrt(np.maximum(squares, 0.0) / y.shape[-2])
        found.append(np.where(lost, np.inf, off))
    return np.concatenate(found)


def mean_of_training(predictions: Predictions) -> Floats:
    """Mean conformer of training, superposed on the start of each window over the selected atoms.

    ``(window, 1, atom, 3)`` in Å.
    """
    training = predictions.training
    weights = torch.zeros(training.shape[1])
    weights[torch.from_numpy(predictions.internal.atoms)] = 1.0
    frames = torch.from_numpy(training[evenly(len(training), MOST_CONFORMATIONS)])
    return _on_starts(predictions, mean_conformer(frames, weights)[None, None].numpy())


def _on_starts(predictions: Predictions, x: Floats) -> Floats:
    """Conformations superposed on the start of each window over the selected atoms.

    ``(window, time, atom, 3)`` in Å; leading axes of ``x`` broadcast. Where a molecule diffuses, a
    frame of another time would be nowhere near.
    """
    weights = torch.zeros(x.shape[-2])
    weights[torch.from_numpy(predictions.internal.atoms)] = 1.0
    starts = torch.from_numpy(predictions.starts)[:, None]
    return superpose(torch.from_numpy(x), starts, weights).numpy()


def some_pairs(atoms: Integers, most: int = MOST_PAIRS) -> Integers:
    """All pairs i < j of some atoms, or ``most`` of them drawn at random, ``(pair, 2)``."""
    n = len(atoms)
    total = n * (n - 1) // 2
    if total <= most:
        return atoms[np.stack(np.triu_indices(n, 1), 1)]
    chosen = np.sort(np.random.default_rng(0).choice(total, most, replace=False))
    # the k-th pair of the upper triangle, counted row by row
    starts = np.cumsum(np.r_[0, np.arange(n - 1, 0, -1)])
    i = np.searchsorted(starts, chosen, side="right") - 1
    return atoms[np.stack([i, chosen - starts[i] + i + 1], 1)]


def _section(kinds: list[Quantity], predictions: Predictions) -> Section | None:
    if not kinds:
        return None
    numbers: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for kind in kinds:
        numbers[kind.name], found = compare(kind, predictions)
        arrays |= {f"{kind.name}.{key}": value for key, value in found.items()}
    facts = {
        "atoms": len(predictions.internal.atoms),
        "looked_at": predictions.looked_at,
        "lag_edges_fs": predictions.lag_edges,
    }
    return Section(facts | {"quantities": numbers}, arrays)
