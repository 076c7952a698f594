"""Linear interpolation against numpy's."""

import numpy as np
import torch

from gfnode.models.interpolation import interpolate


def test_it_is_numpys_constant_beyond_the_ends() -> None:
    knots, values = torch.tensor([0.0, 1.0, 4.0]), torch.tensor([[0.0, 5.0], [2.0, -1.0], [3.0, 7]])
    at = torch.linspace(-2, 6, 24, dtype=torch.float64).view(2, 3, 4)
    found = interpolate(knots, values, at)
    assert found.shape == (2, 3, 4, 2)
    for column in range(2):
        expected = np.interp(at, knots, values[:, column])
        np.testing.assert_allclose(found[..., column], expected, rtol=1e-12)
    np.testing.assert_array_equal(interpolate(knots, values[:, 0], at), found[..., 0])
