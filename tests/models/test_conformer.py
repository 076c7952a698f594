"""The mean conformer, and how it is put on a conformation."""

import pytest
import torch
from scipy.spatial.transform import Rotation

from gfnode.geometry import center, mean_conformer
from gfnode.models.conformer import Conformer
from making import conformations

MASSES = torch.tensor([12.0, 12.0, 16.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
HEAVY = torch.tensor([0, 1, 2])


def fitted(align: torch.Tensor | None = None) -> tuple[Conformer, torch.Tensor]:
    x = conformations(50, noise=0.1).float()
    conformer = Conformer(MASSES, HEAVY)
    conformer.fit(x, lambda: 1.0, align)
    return conformer, x[:4] + torch.randn(4, 1, 3)


@pytest.mark.parametrize("align", [None, torch.tensor([0, 3, 4])])
def test_centre_on_centre(align: torch.Tensor | None) -> None:
    """Of mass, or of the atoms on which targets are superposed, which do not leave it."""
    conformer, x = fitted(align)
    weights = MASSES if align is None else torch.zeros(9).index_fill(0, align, 1.0)
    placed = conformer.placed(x, conformer.orientation(x))
    torch.testing.assert_close(center(placed, weights), center(x, weights), atol=1e-5, rtol=0)
    superposed = conformer.superposed(x)
    middle = center(conformer.positions, weights).expand(4, 1, 3)
    torch.testing.assert_close(center(superposed, weights), middle, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("errors", "masses", "reflect"),
    [
        ((1.0, 1.0, 1.0, 1.0), False, False),
        ((1.0, 0.97, 0.96, 0.96), False, True),  # another 1 % is not worth it
        ((1.0, 0.99, 0.97, 0.96), True, False),
        ((1.0, 0.99, 0.97, 0.95), True, True),
    ],
)
def test_the_choice_of_least_error_is_kept(
    errors: tuple[float, ...], masses: bool, reflect: bool
) -> None:
    """Weights of the scored atoms or masses, each without and with reflections."""
    x, told = conformations(50, noise=0.1).float(), iter(errors)
    x[::5, :, 2] *= -1  # the other enantiomer
    conformer = Conformer(MASSES, HEAVY)
    conformer.fit(x, lambda: next(told))
    scored = torch.full((9,), 0.01).index_fill(0, HEAVY, 1.0)
    assert torch.equal(conformer.weights, MASSES if masses else scored)
    expected = mean_conformer(x, conformer.weights, reflect=reflect)
    assert torch.equal(conformer.positions, expected)
    other = mean_conformer(x, conformer.weights, reflect=not reflect)
    assert not torch.equal(conformer.positions, other)


def test_it_is_rotated_to_fit_best() -> None:
    conformer, x = fitted()
    weights = conformer.weights
    assert weights[0] > weights[-1]
    mine = conformer.orientation(x)
    for found, frame in zip(mine, x, strict=True):
        expected, _ = Rotation.align_vectors(
            (frame - center(frame, weights)).numpy(),
            (conformer.positions - center(conformer.positions, weights)).numpy(),
            weights=weights.numpy(),
        )
        torch.testing.assert_close(
            found.double(), torch.from_numpy(expected.as_matrix()), atol=1e-4, rtol=0
        )
