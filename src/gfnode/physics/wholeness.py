"""Chemical integrity of predictions: broken bonds, clashes, inverted stereocentres."""

from typing import Any

import numpy as np

from gfnode.metrics import mean_estimate
from gfnode.molecule.integrity import (
    HYDROGEN_BOND,
    LONGEST,
    SHORTEST,
    TOUCH,
    Integrity,
    mean_lengths,
)
from gfnode.physics.predictions import Predictions
from gfnode.physics.quantity import summary
from gfnode.physics.section import TRUE, Section
from gfnode.thinning import chunks
from gfnode.trajectory import Integers

_VALUES = 6_000_000  # coordinates looked at at once


def integrity(predictions: Predictions) -> Section | None:
    """Count defects of each frame, true and predicted; chirality is compared with the start."""
    internal, system = predictions.internal, predictions.system
    if not len(internal.bonds):
        return None
    lengths = mean_lengths(predictions.training, internal.bonds)
    judge = Integrity(internal, system.bonds, system.numbers, lengths)
    bonds, atoms = len(internal.bonds), len(internal.atoms)
    most = {
        "broken_bonds": bonds,
        "collapsed_bonds": bonds,
        "clashes": atoms * (atoms - 1) // 2,
        "inverted_centres": len(internal.stereo),
        "chirality_lost": int(internal.stereo.sum()),
    }
    methods: dict[str, Any] = {}
    for method, positions in ({TRUE: predictions.true} | predictions.predicted).items():
        parts = chunks(len(positions), _VALUES, positions[0].size)
        pieces = [judge.counts(positions[k], predictions.starts[k, None]) for k in parts]
        counts = {key: np.concatenate([each[key] for each in pieces]) for key in pieces[0]}
        methods[method] = {
            key: _per_frame(value, predictions, most[key]) for key, value in counts.items()
        } | {"frames_with_any": _share(counts, predictions)}
    return Section(
        {
            "atoms": atoms,
            "looked_at": predictions.looked_at,
            "bonds": bonds,
            "centres": most["inverted_centres"],
            "stereocentres": most["chirality_lost"],
            "broken_above": LONGEST,
            "collapsed_below": SHORTEST,
            "clash_below": TOUCH,
            "hydrogen_bond_below": HYDROGEN_BOND,
            "lag_edges_fs": predictions.lag_edges,
            "methods": methods,
        }
    )


def _per_frame(counts: Integers, predictions: Predictions, most: int) -> dict[str, Any]:
    found = summary(counts.astype(np.float64), predictions, most=most)
    return {"per_frame": found["error"], "per_frame_by_lag": found["error_by_lag"]}


def _share(counts: dict[str, Integers], predictions: Predictions) -> dict[str, Any]:
    wrong = np.sum(list(counts.values()), axis=0) > 0
    return mean_estimate(wrong.astype(np.float64), predictions.blocks).of_share().to_dict()
