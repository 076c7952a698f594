"""What can be measured of a trained run, besides its evaluation: each writes one file.

All look at the test windows of the run. Arrays are ``(window, time)`` unless said otherwise.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfnode.errors import InputError
from gfnode.evaluation import evaluate
from gfnode.experiment import prepare
from gfnode.files import write_arrays
from gfnode.fourier import eigenbasis
from gfnode.geometry import bond_angles, bond_lengths, center, dihedrals
from gfnode.graph import laplacian
from gfnode.models import Model
from gfnode.models.inference import predictions
from gfnode.molecule import internal
from gfnode.molecule.torsions import backbone
from gfnode.physics.modes import coefficients, even_lags, windows_at
from gfnode.rollout import Repeated
from gfnode.run import Run
from gfnode.trajectory import Integers
from gfnode.windows import Batch, Windows


def structure(run: Run, path: Path) -> None:
    """Bond lengths and angles of the heavy atoms, of the model and of every baseline.

    Arrays ``QUANTITY:METHOD``: the mean absolute error over all bonds (``bond``, Å) or angles
    (``angle``, radians), and the mean of that error over the true value (``bond_relative``,
    ``angle_relative``). The method ``constant`` has every bond and angle at its mean over the
    training starts.
    """
    parts = prepare(run.trajectories(), run.experiment).parts
    system = run.model.system
    heavy = system.numbers > 1
    bonds = system.bonds[heavy[system.bonds].all(1)]
    triples = internal.angles(bonds)
    if not len(triples):
        raise InputError("the molecule has no angle between heavy atoms to be measured")
    pairs, corners = system.atoms[bonds], system.atoms[triples]  # among all atoms
    starts = parts["train"].conformations()
    constant = [each.mean(0) for each in _internal(starts, pairs, corners)]
    found: dict[str, list[NDArray[Any]]] = {}

    def compare(method: str, predicted: Sequence[Tensor], true: Sequence[Tensor]) -> None:
        for name, mine, wanted in zip(("bond", "angle"), predicted, true, strict=True):
            error = (mine - wanted).abs()
            for key, values in ((name, error), (f"{name}_relative", error / wanted)):
                found.setdefault(f"{key}:{method}", []).append(values.mean(-1).cpu().numpy())

    for method, model in run.judged().items():
        place = model.system.place
        for batch, predicted in _predictions(model, parts["test"]):
            mine = _internal(predicted, place[pairs], place[corners])
            true = _internal(batch.targets, place[pairs], place[corners])
            compare(method, mine, true)
            if model is run.model:
                compare("constant", [each.to(predicted.device) for each in constant], true)
    write_arrays(path, {key: np.concatenate(pieces) for key, pieces in found.items()})


def torsions(run: Run, path: Path) -> None:
    """Backbone torsions φ and ψ of the first residue that has both, predicted and true.

    Arrays ``phi``, ``psi``, ``phi_true``, ``psi_true`` in radians and ``lags_fs``.
    """
    trajectories = run.trajectories()
    windows = prepare(trajectories, run.experiment).parts["test"]
    quadruples = backbone(trajectories[0].topology)
    place = run.model.system.place
    if (place[quadruples] < 0).any():
        raise InputError("the backbone is not among the state atoms of the model")
    index = torch.as_tensor(place[quadruples])
    pieces = []
    for batch, predicted in _predictions(run.model, windows):
        angles = [dihedrals(x, index.to(x.device)) for x in (predicted, batch.targets)]
        pieces.append(torch.cat([*angles, batch.lags[..., None]], -1).cpu().numpy())
    names = ("phi", "psi", "phi_true", "psi_true", "lags_fs")
    values = np.moveaxis(np.concatenate(pieces), -1, 0)
    write_arrays(path, dict(zip(names, values, strict=True)))


def at_lags(run: Run, path: Path, lags_fs: Sequence[float], repeated: bool = False) -> None:
    """Errors at given lags of the test starts, of the model and of every baseline.

    With ``repeated``, lags beyond the horizon are reached by applying the model again and again,
    one horizon at a time. Arrays as in ``errors.npz``.
    """
    windows = windows_at(run, run.trajectories(), lags_fs)
    name = run.experiment.model["name"]
    model, horizon = run.model, run.model.system.horizon
    if repeated:
        model, horizon = Repeated(model, horizon, windows.gap), max(lags_fs)
    models = run.judged() | {name: model}
    write_arrays(path, evaluate(name, models, windows, horizon).arrays())


def modes(run: Run, path: Path, starts: int = 64, times: int = 256) -> None:
    """Coefficients of the modes of the molecular graph over time, predicted and true.

    The positions of the state atoms, from which the centre of the start is taken, and the features
    that the model evolves (where it has modes) at about ``times`` even lags, see
    :func:`gfnode.physics.modes.even_lags`.

    Arrays: ``coordinates`` and ``coordinates_true`` ``(window, time, mode, 3)`` in Å, ``features``
    ``(window, time, mode, feature)``; ``eigenvalues`` and ``spaces`` ``(mode,)`` of the graph, and
    ``feature_spaces`` of the model's modes; ``lags_fs`` ``(time,)``.
    """
    system = run.model.system
    trajectories = run.trajectories()
    lags = even_lags(trajectories, system.horizon, times)
    windows = windows_at(run, trajectories, lags.tolist(), starts)
    basis = eigenbasis(laplacian(system.edges.index, system.n_atoms))
    found: dict[str, list[NDArray[Any]]] = {}
    features: list[Tensor] = []
    block = getattr(run.model, "features", None)
    dynamics = getattr(block, "dynamics", None)
    hook = None
    if dynamics is not None:
        hook = dynamics.register_forward_hook(lambda _, __, out: features.append(out))
    for batch, predicted in _predictions(run.model, windows):
        middle = center(batch.positions)[:, None]
        for key, x in (("coordinates", predicted), ("coordinates_true", batch.targets)):
            found.setdefault(key, []).append(coefficients(x, middle, basis.vectors).cpu().numpy())
        if features:
            found.setdefault("features", []).append(features.pop().squeeze(-2).cpu().numpy())
    if hook is not None:
        hook.remove()
    arrays = {key: np.concatenate(pieces) for key, pieces in found.items()}
    arrays |= {"eigenvalues": basis.values, "spaces": basis.spaces, "lags_fs": lags}
    if block is not None and "features" in arrays:
        arrays["feature_spaces"] = block.transform.spaces.cpu().numpy()
    write_arrays(path, arrays)


MEASURES: dict[str, Callable[..., None]] = {
    "structure": structure,
    "torsions": torsions,
    "at-lags": at_lags,
    "modes": modes,
}
"""``measure(run, path, **options)`` by name."""


def _predictions(model: Model, windows: Windows) -> Iterator[tuple[Batch, Tensor]]:
    """Of windows over all atoms: some of them, cut to those of a model, and what it predicts."""
    mine = windows.to(model.scored.device).select(model.system.atoms)
    return ((batch, found) for batch, found, _ in predictions(model, mine))


def _internal(positions: Tensor, pairs: Integers, corners: Integers) -> tuple[Tensor, Tensor]:
    """Bond lengths and angles."""
    device = positions.device
    return (
        bond_lengths(positions, torch.as_tensor(pairs, device=device)),
        bond_angles(positions, torch.as_tensor(corners, device=device)),
    )
