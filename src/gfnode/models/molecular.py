"""Predictions with realistic geometry: a model's mean, refined to usual interatomic distances."""

from typing import Self

import torch
from torch import Tensor

from gfnode.ambient import usual
from gfnode.errors import InputError
from gfnode.geometry import superpose
from gfnode.models.base import Model, Symmetry
from gfnode.models.calibration import Calibration
from gfnode.models.inference import predict_batch

STEPS = 12
"""Gauss-Newton steps."""

MOST = 250
"""Atoms at most: a step solves for all coordinates at once."""


class Molecular(Model):
    """Maximum a posteriori conformation, given a prediction and the distribution of distances.

    The mean over possible outcomes is no physical conformation: bonds are too short where the
    orientation of a group is uncertain. With the model's prediction x̂ and its standard deviations
    σ at a lag, and distances d_p between atoms up to two or three bonds apart, of mean ℓ_p and
    standard deviation s_p, this is

        argmin_x  Σ_i |x_i − x̂_i|² / 2σ_i²  +  Σ_p (d_p(x) − ℓ_p)² / 2s_p²

    found by Gauss-Newton steps from the start's conformation, superposed on x̂. As the lag goes to
    zero, so does σ, and the prediction is unchanged.

    Parameters
    ----------
    model
        The model that predicts x̂.
    calibration
        Its σ, and the distances.
    """

    promises = frozenset()

    weights: Tensor
    difference: Tensor

    def __init__(self, model: Model, calibration: Calibration) -> None:
        super().__init__(model.system)
        self.model, self.calibration = model, calibration
        last = calibration.sizes[-1]
        self.register_buffer("weights", (last.min() / last).square(), persistent=False)
        pairs = calibration.pairs
        ends = torch.eye(model.system.n_atoms)[pairs]
        self.register_buffer("difference", ends[:, 0] - ends[:, 1], persistent=False)

    @classmethod
    @usual()
    def of(cls, model: Model, calibration: Calibration | None, where: str) -> Self:
        """Wrap the model of a run in the folder ``where``.

        Raises
        ------
        InputError
            When nothing is calibrated, or for a molecule of too many atoms.
        """
        if calibration is None:
            raise InputError(
                f"{where}: --geometry molecule needs errors and distances that are measured at "
                f"the end of training; continue with: gfnode train --resume --out {where}"
            )
        if model.system.n_atoms > MOST:
            raise InputError(
                f"{where}: --geometry molecule takes at most {MOST} atoms, but the model has "
                f"{model.system.n_atoms}"
            )
        return cls(model, calibration)

    @property
    def kept(self) -> frozenset[Symmetry]:
        """The symmetries of the wrapped model."""
        return self.model.kept

    def rows(self, times: int) -> int:
        """See :meth:`Model.rows`; a step takes ``(3 atom)²`` numbers a lag."""
        return max(self.model.rows(times), self.system.n_atoms**2 * times // 4)

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        """Predict; see :meth:`Model.forward`."""
        return self.with_spread(positions, velocities, lags)[0]

    def with_spread(
        self, positions: Tensor, velocities: Tensor, lags: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Predict; the spread is that of the model, see :meth:`Model.with_spread`."""
        predicted, spread = predict_batch(self.model, positions, velocities, lags)
        # in double precision: bonds are a million times stiffer than uncertain coordinates
        mean, sizes = predicted.double(), self.calibration.deviations(lags.double(), spread)
        start = positions[:, None].double().expand_as(mean)
        known = (
            (mean.isfinite() & sizes.unsqueeze(-1).isfinite()).flatten(2).all(2)[..., None, None]
        )
        mean, sizes = torch.where(known, mean, start), torch.where(known[..., 0], sizes, 1.0)
        x = superpose(start, mean, self.weights)
        for _ in range(STEPS):
            x = x + self._step(x, mean, sizes.clamp(min=1e-6))
        return torch.where(known, x, torch.nan).to(predicted), spread

    def _step(self, x: Tensor, mean: Tensor, sizes: Tensor) -> Tensor:
        """One Gauss-Newton step, scaled down where an atom would move by more than 0.5 Å."""
        c, D = self.calibration, self.difference.to(x)
        apart = D @ x  # (batch, time, pair, 3)
        length = torch.linalg.vector_norm(apart, dim=-1, keepdim=True).clamp(min=1e-3)
        slope = D.unsqueeze(-1) * (apart / length / c.spreads[:, None]).unsqueeze(-2)
        slope = slope.flatten(-2)  # (batch, time, pair, 3 atom)
        miss = (c.lengths - length.squeeze(-1)) / c.spreads
        weight = sizes.square().reciprocal().unsqueeze(-1)
        normal = slope.mT @ slope
        normal = normal + torch.diag_embed(weight.expand_as(x).flatten(-2))
        pull = (weight * (mean - x)).flatten(-2) + (slope.mT @ miss.unsqueeze(-1)).squeeze(-1)
        step = torch.cholesky_solve(pull.unsqueeze(-1), torch.linalg.cholesky(normal))
        step = step.squeeze(-1).unflatten(-1, (-1, 3))
        largest = torch.linalg.vector_norm(step, dim=-1, keepdim=True).amax(-2, keepdim=True)
        return step * (0.5 / largest.clamp(min=0.5))
