"""How far a prediction is trusted, as a falling function of the lag."""

import math

import torch
from scipy.optimize import isotonic_regression
from torch import Tensor, nn


class Trust(nn.Module):
    """Weight w(τ) with which a prediction is shifted towards another one.

    Piecewise linear in log τ between 16 knots from 10 fs to the horizon, constant on either side;
    between 0 and 1 and non-increasing.

    Parameters
    ----------
    horizon
        Longest lag of training, fs.

    Attributes
    ----------
    reach
        w is zero from this lag on, fs.
    """

    _knots = 16
    _stiff = 0.3
    _least = 0.02  # below this, w counts as zero

    knots: Tensor
    weights: Tensor

    def __init__(self, horizon: float) -> None:
        super().__init__()
        knots = 10 * torch.logspace(0, 1, self._knots, base=max(2.0, horizon / 10))
        self.register_buffer("knots", knots, persistent=False)  # fs
        self.register_buffer("weights", torch.zeros(self._knots))  # w at the knots
        self.reach = 0.0
        self.register_load_state_dict_post_hook(Trust._find_reach)

    def forward(self, lags: Tensor) -> Tensor:
        """Compute w at lags (fs) of any shape."""
        weights: Tensor = self._hats(lags) @ self.weights.to(lags.device)
        return weights

    def _hats(self, lags: Tensor) -> Tensor:
        """Basis functions at lags, ``(..., knot)``."""
        knots = self.knots.log().to(lags.device)
        place = (lags.clamp(min=1e-3).log() - knots[0]) / (knots[1] - knots[0])
        place = place.clamp(0, len(knots) - 1)
        return (1 - (place[..., None] - torch.arange(len(knots), device=lags.device)).abs()).relu()

    def forget(self) -> None:
        """Set w to zero."""
        self.weights.zero_()
        self._find_reach()

    def fit(self, lags: Tensor, square: Tensor, product: Tensor) -> None:
        """Fit w by least squares: the smallest Σ ⟨(r − w d)²⟩ of a smooth w.

        Far from all lags, as below the first of regular ones, w is that of the nearest knots by a
        coupling of 10⁻⁹, for which single precision is too coarse.

        Parameters
        ----------
        lags
            In fs, ``(batch, time)``.
        square, product
            ⟨d²⟩ and ⟨d r⟩ of the shift d to the other prediction and the shift r to the truth, at
            the lags, Å² per coordinate.
        """
        hats = self._hats(lags).flatten(0, 1).double()
        matrix = hats.T @ (hats * square.flatten()[:, None])
        diagonal = matrix.diagonal().clamp(min=0)
        if not diagonal.any():  # nothing would change
            return
        between = self._stiff * torch.minimum(diagonal[1:], diagonal[:-1])
        between = between + 1e-9 * diagonal.max()
        step = torch.diff(torch.eye(len(diagonal)).to(hats), dim=0)
        matrix = matrix + step.T @ (between[:, None] * step)
        weights = torch.linalg.solve(matrix, hats.T @ product.flatten().to(hats))
        falling = isotonic_regression(
            weights.clamp(0, 1).cpu().numpy(),
            weights=(diagonal + 1e-9 * diagonal.max()).cpu().numpy(),
            increasing=False,
        )
        weights = torch.from_numpy(falling.x.copy()).to(self.weights)
        self.weights.copy_(torch.where(weights < self._least, 0.0, weights))
        self._find_reach()

    def _find_reach(self, _missing: object = None) -> None:
        last = int((self.weights > 0).sum())  # w never rises
        beyond = last == len(self.knots)
        self.reach = math.inf if beyond else float(self.knots[last]) if last else 0.0
