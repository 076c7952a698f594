"""Linear interpolation of tabulated values."""

import torch
from torch import Tensor


def interpolate(knots: Tensor, values: Tensor, at: Tensor) -> Tensor:
    """Linear interpolation between knots, constant below the first and above the last.

    Parameters
    ----------
    knots
        Ascending, ``(knot,)``, at least two.
    values
        ``(knot, ...)``.
    at
        Points of interpolation, any shape, in the unit of the knots.

    Returns
    -------
    Tensor
        The shape of ``at``, then the trailing axes of ``values``; in the dtype of ``at``.
    """
    knots, values = knots.to(at), values.to(at)
    right = torch.searchsorted(knots, at.contiguous()).clamp(1, len(knots) - 1)
    share = ((at - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)
    return torch.lerp(values[right - 1], values[right], share[(...,) + (None,) * (values.ndim - 1)])
