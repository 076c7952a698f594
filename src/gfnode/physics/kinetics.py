"""Kinetics of predictions and of the truth: VAMP-2 scores and implied timescales."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gfnode import geometry
from gfnode.fourier import eigenbasis
from gfnode.graph import laplacian
from gfnode.inspection.motions import torsion_atoms
from gfnode.metrics import NO_ESTIMATE, Blocks
from gfnode.metrics.kinetics import (
    Moments,
    directions,
    implied_timescales,
    standardise,
    vamp2,
)
from gfnode.metrics.lags import LAG_BINS
from gfnode.molecule.internal import FRAMES
from gfnode.molecule.torsions import named_torsions
from gfnode.physics.modes import on_reference
from gfnode.physics.predictions import Predictions
from gfnode.physics.quantity import torsion_angles
from gfnode.physics.section import TRUE, Section, estimate_rows
from gfnode.thinning import evenly
from gfnode.trajectory import Doubles, Floats, Integers

TORSIONS = 20
"""Largest number of torsions (evenly chosen), with a cosine and a sine each."""

AMPLITUDES = 30
"""Approximate number of amplitudes, of the lowest complete eigenspaces."""

TIMESCALES = 2
"""Number of implied timescales, the slowest."""

FEWEST = 5
"""Least number of pairs for each feature in a lag bin."""

Numbers = dict[str, Any]


class Features:
    """Features for kinetics: torsions, or amplitudes of graph modes.

    Backbone torsions φ and ψ if the topology names them; else torsions about rotatable bonds; else
    (benzene has none) the amplitudes of the lowest modes of the graph, of frames superposed on the
    mean conformer.

    Attributes
    ----------
    kind
        ``backbone torsions``, ``torsions`` or ``modes``.
    names
        Of torsions or eigenspaces.
    """

    def __init__(self, predictions: Predictions) -> None:
        system = predictions.system
        self.masses = system.masses
        self.kind = "backbone torsions"
        named = {
            key: atoms
            for key, atoms in named_torsions(predictions.topology, system.bonds).items()
            if key.startswith(("phi", "psi"))
        }
        if named:
            self.names = list(named)
            self.quadruples: Integers = np.array(list(named.values()))
        else:
            self.kind = "torsions"
            some = predictions.training[evenly(len(predictions.training), FRAMES)]
            everything = np.arange(system.n_atoms)
            self.quadruples = torsion_atoms(system.bonds, everything, self.masses, some)
            self.names = ["-".join(map(str, row)) for row in self.quadruples.tolist()]
        chosen = evenly(len(self.quadruples), TORSIONS)
        self.quadruples = self.quadruples[chosen]
        self.names = [self.names[k] for k in chosen]
        if len(self.quadruples):
            return
        self.kind = "modes"
        modes = min(system.n_atoms, AMPLITUDES // 3 + 1)
        basis = eigenbasis(laplacian(system.edges.index, system.n_atoms), modes)  # spaces are whole
        kept = np.flatnonzero(basis.values > 1e-9)
        self.vectors: Doubles = basis.vectors[:, kept]
        self.names = [f"eigenvalue {value:.4g}" for value in basis.values[kept]]
        shapes = torch.from_numpy(predictions.training[:2000]).double()
        self.reference = geometry.mean_conformer(shapes, torch.from_numpy(self.masses)).numpy()

    def of(self, positions: Floats) -> Doubles:
        """Features ``(frame, feature)`` of conformations ``(frame, atom, 3)``."""
        if self.kind == "modes":
            turned = on_reference(positions, self.reference, self.masses)
            found = np.einsum("am,fax->fmx", self.vectors, turned - self.reference)
            return np.asarray(found.reshape(len(found), -1))
        angles = torsion_angles(positions, self.quadruples)
        return np.concatenate([np.cos(angles), np.sin(angles)], 1)


def measure_kinetics(predictions: Predictions) -> Section:
    """VAMP-2 scores and implied timescales of the transition start → later, by lag bin.

    Of the truth, the model and the trivial baselines, with 95 % jackknife intervals over blocks of
    time. The score of the truth measures how predictable the features still are at that lag; that
    of a deterministic prediction how much of the start it retains: it is highest for persistence.
    The timescales are those of the conditional mean, and comparable between all of them.
    """
    features = Features(predictions)
    starts = features.of(predictions.starts)
    if not starts.shape[1]:
        return Section({"reason": "the molecule has neither torsions nor a connected graph"})
    windows, times = predictions.lags_fs.shape
    edges = predictions.lag_edges
    bins = predictions.lag_bins
    most, needed = max(int((bins == k).sum()) for k in range(LAG_BINS)), FEWEST * starts.shape[1]
    if most < needed:
        return Section(
            {
                "reason": f"at most {most} pairs of start and later frame within a lag bin, "
                f"expected {needed} for {starts.shape[1]} features"
            }
        )
    methods = {TRUE: predictions.true, **predictions.predicted}
    later = {
        name: features.of(x.reshape(-1, *x.shape[2:])).reshape(windows, times, -1)
        for name, x in methods.items()
    }
    scale = standardise(starts)
    blocks = predictions.blocks
    lags = [
        float(predictions.lags_fs[bins == k].mean()) if (bins == k).any() else float("nan")
        for k in range(LAG_BINS)
    ]
    numbers: Numbers = {
        "features": features.kind,
        "names": features.names,
        "blocks": blocks.count,
        "lag_edges_fs": edges,
        "lags_fs": lags,
    }
    found: dict[str, Numbers] = {}
    for name, values in later.items():
        score_of_lag, times_of_lag = [], []
        for k, lag in enumerate(lags):
            window, time = np.nonzero(bins == k)
            x, y = starts[window], values[window, time]
            usable = np.isfinite(y).all(1)
            score, times_ps = NO_ESTIMATE, (NO_ESTIMATE,) * TIMESCALES
            if usable.sum() >= needed:
                part = _part(blocks, window[usable])
                moments = Moments.of(x[usable], y[usable], part, scale)
                score = vamp2(moments, part.inflation)
                times_ps = implied_timescales(moments, 1e-3 * lag, TIMESCALES, part.inflation)
            score_of_lag.append(score.to_dict())
            times_of_lag.append([each.to_dict() for each in times_ps])
        found[name] = {"vamp2": score_of_lag, "timescales_ps": times_of_lag}
    numbers["highest_vamp2"] = 1 + directions(
        np.cov(starts - scale[0], rowvar=False, ddof=0) / np.outer(scale[1], scale[1])
    )
    numbers[TRUE] = found.pop(TRUE)
    numbers["methods"] = found
    arrays: dict[str, NDArray[Any]] = {"lags_fs": np.array(lags), "lag_edges_fs": np.array(edges)}
    for name, each in ((TRUE, numbers[TRUE]), *found.items()):
        arrays[f"vamp2_{name}"] = estimate_rows(each["vamp2"])
        slowest = [estimate_rows(row) for row in each["timescales_ps"]]
        arrays[f"timescales_ps_{name}"] = np.stack(slowest)
    return Section(numbers, arrays)


def _part(blocks: Blocks, windows: Integers) -> Blocks:
    """Blocks of some windows, without empty ones."""
    used, labels = np.unique(blocks.labels[windows], return_inverse=True)
    neighbours = min(blocks.neighbours, len(used) - 1)
    return Blocks(labels, len(used), neighbours, blocks.length)
