"""Uncertainties of a trained model's predictions, and statistics of interatomic distances.

Errors are taken on validation windows, which selected the weights but did not train them;
distances on the training windows.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from gfnode.errors import InputError
from gfnode.graph import hop_edges
from gfnode.models.base import Model
from gfnode.models.inference import predictions
from gfnode.models.interpolation import interpolate
from gfnode.weights import load_tensors, save_tensors
from gfnode.windows import Windows

WITHIN = 0.6827
"""Fraction of a normal distribution within one standard deviation of its mean."""

KNOTS = 16
SOON = 100.0
"""fs; by then vibrations have saturated their part of the error, which grows from zero at lag 0."""
_LEAST = 1e-3  # Å
_KINDS = (torch.float32, torch.float64, torch.int64)
GROUPS = 10
_SEEN = 200  # training windows that sizes are checked on
_SORTED = 10_000_000  # values a quantile is computed from; torch refuses more than 2²⁴
LIMP = 0.15
"""Å; a 1-4 distance with a larger standard deviation belongs to a rotatable bond."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Error widths of a model by lag and atom, and distance statistics of the molecule.

    Parameters
    ----------
    lags
        Ascending, ``(knot,)`` in fs.
    sizes
        Half-width of the interval about a predicted coordinate that contains 68.27 % of the true
        values, ``(knot, atom)`` in Å: for normal errors, the standard deviation.
    shares
        Coefficients a and b of :meth:`deviations`, ``(2,)``: of the squared size, and of the
        squared standard deviation over the model's ensemble.
    pairs
        State atoms at most two bonds apart, and three where the distance varies by less than
        0.15 Å, ``(pair, 2)``.
    lengths, spreads
        Mean distance of each and its standard deviation, ``(pair,)`` in Å.
    error
        Mean squared error of the scored atoms in the validation windows, Å² per coordinate: that
        of :meth:`~gfnode.models.base.Model.forward`, while training may validate a cheaper
        :meth:`~gfnode.models.base.Model.estimate`.
    """

    lags: Tensor
    sizes: Tensor
    shares: Tensor
    pairs: Tensor
    lengths: Tensor
    spreads: Tensor
    error: Tensor

    def deviations(self, lags: Tensor, spread: Tensor | None = None) -> Tensor:
        """Standard deviations of predicted coordinates at lags ``(…)`` in fs: ``(…, atom)`` in Å.

        With s the size at a lag, interpolated linearly between the knots from zero at lag zero and
        constant beyond the last (and between 100 fs and the first knot, if that is later), and u
        the standard deviation over the ensemble of *this* start::

            σ² = a s² + b u²

        Parameters
        ----------
        lags
            Any shape.
        spread
            u, ``(…, atom)`` in Å, see :meth:`gfnode.models.base.Model.with_spread`; without it
            σ = s.
        """
        knots, values = self.lags, self.sizes
        if knots[0] > SOON:
            knots = torch.cat([knots.new_tensor([SOON]), knots])
            values = torch.cat([values[:1], values])
        knots = torch.cat([knots.new_zeros(1), knots])
        values = torch.cat([torch.zeros_like(values[:1]), values])
        sizes = interpolate(knots, values, lags)
        if spread is None:
            return sizes
        a, b = self.shares.to(sizes)
        both = (a * sizes.square() + b * spread.square()).sqrt()
        return torch.where(spread > 0, both, sizes)  # no outcomes, nothing known of them

    @classmethod
    @torch.no_grad()
    def fit(cls, model: Model, train: Windows, validation: Windows) -> Self:
        """Calibrate on windows over the model's state atoms.

        Predictions that are not finite are left out; InputError where none is.

        At most 500 validation windows are used, evenly spaced. Knots are the mean lags of groups of
        equal size, and that of the frames next to the starts; sizes are made non-decreasing with
        the lag, and are at least 0.001 Å and half of the atom's root mean square error (an atom may
        move along one direction only). The validation part may be an unusually quiet stretch of the
        series: where fewer than 68.27 % of the errors in training windows, which the weights have
        seen, lie within σ, both terms of σ are scaled up to that coverage. Fixed atoms do not enter
        a, b and this scaling.
        """
        chosen = validation.take(validation.evenly(500))
        lag, error, spread = _errors(model, chosen)
        _check_some(lag, "validation")
        groups = min(KNOTS, max(1, len(lag) // 50))
        known = list(zip(lag.tensor_split(groups), error.tensor_split(groups), strict=True))
        soon, missed, _ = _errors(model, chosen.next_frames())
        if len(soon) >= 20 and soon.mean() < known[0][0].mean():
            known.insert(0, (soon, missed))
        knots = torch.stack([lags.mean() for lags, _ in known])
        sizes = torch.stack([_size(part) for _, part in known])
        knots, place = knots.unique(return_inverse=True)  # regular lags come many times
        sums = torch.zeros(len(knots), sizes.shape[1]).index_add(0, place, sizes)
        sizes = (sums / place.bincount()[:, None]).cummax(0).values
        shares, mean = torch.tensor([1.0, 0.0]), error[:, model.scored].square().mean()
        fitted = cls(knots.float(), sizes, shares, *_distances(model, train), mean)
        judged = model.system.judged
        if spread is not None:
            moving = model.system.moving
            each = (fitted.deviations(lag).float(), spread, error)
            shares = _shares(*(y[:, moving] for y in each))
            fitted = replace(fitted, shares=shares)
        lag, error, spread = _errors(model, train.take(train.evenly(_SEEN)))
        _check_some(lag, "training")
        relative = error / fitted.deviations(lag, spread).clamp(min=_LEAST)[..., None]
        wider = max(1.0, float(_width(relative[:, judged])))
        shares = shares * shares.new_tensor([1.0, wider**2])  # s² is itself wider
        return replace(fitted, sizes=sizes * wider, shares=shares)

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        save_tensors(path, {key: getattr(self, key) for key in self.__dataclass_fields__}, {})

    @classmethod
    def load(cls, path: Path, atoms: int) -> Self:
        """Read a file of :meth:`save`, for a model with ``atoms`` state atoms.

        Raises
        ------
        InputError
            When the file is missing, damaged, or of another molecule.
        """
        tensors, _ = load_tensors(path)
        try:
            found = cls(**tensors)
        except TypeError as error:
            raise InputError(f"{path}: expected the tensors of a calibration: {error}") from error
        if not all(
            value.dtype in _KINDS and bool((value.isfinite() & (value >= 0)).all())
            for value in tensors.values()
        ):
            raise InputError(
                f"{path}: has values other than numbers from 0 upwards: it is damaged. Get it "
                "again, or delete it for predictions without error bars"
            )
        knots, pairs = found.lags.numel(), found.lengths.numel()
        expected = [(knots,), (knots, atoms), (2,), (pairs, 2), (pairs,), (pairs,), ()]
        shapes = [tuple(value.shape) for value in asdict(found).values()]
        if (not knots or shapes != expected) or (
            pairs and not 0 <= found.pairs.min() <= found.pairs.max() < atoms
        ):
            raise InputError(f"{path}: sizes {shapes} do not fit the model, expected {expected}")
        return found


def _check_some(lags: Tensor, part: str) -> None:
    if not len(lags):
        raise InputError(
            f"the model predicts no finite positions in {part} windows, so it has no error bars: "
            "its training failed"
        )


def _errors(model: Model, windows: Windows) -> tuple[Tensor, Tensor, Tensor | None]:
    """Ascending lags; absolute errors ``(lag, atom, 3)``; ensemble deviations ``(lag, atom)``."""
    lags, errors, spreads = [], [], []
    for batch, found, spread in predictions(model, windows):
        finite = found.isfinite().all((-1, -2))
        lags.append(batch.lags[finite])
        errors.append((found - batch.targets).abs()[finite])
        if spread is not None:
            spreads.append(spread[finite])
    lag, order = torch.cat(lags).double().sort(stable=True)
    return lag, torch.cat(errors)[order], torch.cat(spreads)[order] if spreads else None


def _size(error: Tensor) -> Tensor:
    """68.27 % quantile of each atom's errors ``(lag, atom, 3)``, with its floors, ``(atom,)``."""
    each = error.movedim(1, 0).flatten(1)
    return torch.maximum(each.quantile(WITHIN, 1), each.square().mean(1).sqrt() / 2).clamp(
        min=_LEAST
    )


def _shares(size: Tensor, spread: Tensor, error: Tensor) -> Tensor:
    """Fit a and b of :meth:`Calibration.deviations`, both non-negative.

    Least squares over groups of similar u/s, on the square of the 68.27 % quantile of errors.

    Parameters
    ----------
    size, spread, error
        ``(lag, atom)`` twice, and ``(lag, atom, component)``, in Å.
    """
    size = size.clamp(min=1e-6)
    square, order = (spread / size).square().flatten().sort()
    relative = (error / size[..., None]).flatten(0, 1)[order]
    groups = min(GROUPS, len(square))
    width = torch.stack([_width(part) for part in relative.tensor_split(groups)]).square()
    mean = torch.stack([part.mean() for part in square.tensor_split(groups)])
    rows = torch.stack([1 / width, mean / width], 1).double()  # errors relative to the width
    a, b = nnls(rows.numpy(), np.ones(groups))[0]
    left = relative / (a + b * square).sqrt()[:, None].clamp(min=1e-6)
    return torch.tensor([a, b]).float() * _width(left).square()


def _width(errors: Tensor) -> Tensor:
    """68.27 % quantile of absolute errors; of a regular subsample where there are very many."""
    flat = errors.flatten()
    return flat[:: -(-len(flat) // _SORTED)].quantile(WITHIN)


def _distances(model: Model, train: Windows) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs ``(pair, 2)``, means and standard deviations of their distances."""
    edges = hop_edges(model.system.bonds, model.system.n_atoms, hops=3)
    once = edges.index[0] < edges.index[1]
    pairs, hop = torch.from_numpy(edges.index.T[once]), torch.from_numpy(edges.hop[once])
    if not len(pairs):
        return pairs, torch.zeros(0), torch.zeros(0)
    x = train.conformations(max(100, min(2000, 2_000_000 // max(1, len(pairs)))))  # some 50 MB
    apart = torch.linalg.vector_norm(x[:, pairs[:, 0]] - x[:, pairs[:, 1]], dim=-1).double()
    lengths, spreads = apart.mean(0), apart.std(0, correction=0).clamp(min=1e-3)
    kept = (hop < 3) | (spreads < LIMP)
    return pairs[kept], lengths[kept].float(), spreads[kept].float()
