"""Orthogonalised momentum: against singular values, and PyTorch's optimizer of single matrices."""

import pytest
import torch
from torch import nn

from gfnode.dynamics.muon import Muon

SHAPES = [(24, 10), (10, 24), (16, 16)]


def gradients(shape, count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def moved(optimizer_of, slopes):
    """Where a matrix of zeros is after a step for each gradient."""
    matrix = nn.Parameter(torch.zeros_like(slopes[0]))
    optimizer = optimizer_of([matrix])
    for slope in slopes:
        matrix.grad = slope.clone()
        optimizer.step()
    return matrix.detach()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_direction_of_a_gradient_counts_alike(shape):
    (slope,) = gradients(shape, 1)
    step = -moved(lambda each: Muon(each, 0.1), [slope])
    sizes = torch.linalg.svdvals(step) / (0.1 * max(1.0, shape[0] / shape[1]) ** 0.5)
    assert sizes.min() > 0.6
    assert sizes.max() < 1.3
    u, _, v = torch.linalg.svd(slope, full_matrices=False)
    polar = u @ v
    assert (step * polar).sum() > 0.97 * step.norm() * polar.norm()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch before 2.9 has none")
@pytest.mark.parametrize("shape", SHAPES)
def test_torch_agrees_to_its_bfloat16(shape):
    slopes = gradients(shape)
    ours = moved(lambda each: Muon(each, 0.1), slopes)
    theirs = moved(lambda each: torch.optim.Muon(each, 0.1, weight_decay=0.0), slopes)
    assert (ours - theirs).norm() < 0.05 * theirs.norm()


def test_stacked_matrices_move_each_by_itself():
    slopes = gradients((4, 12, 7))
    together = moved(lambda each: Muon(each, 0.02), slopes)
    for number in range(4):
        alone = moved(lambda each: Muon(each, 0.02), [slope[number] for slope in slopes])
        assert torch.allclose(together[number], alone, atol=1e-6)


def test_it_finds_the_least_squares():
    generator = torch.Generator().manual_seed(1)
    inputs, wanted = (
        torch.randn(200, 8, generator=generator),
        torch.randn(5, 8, generator=generator),
    )
    matrix = nn.Parameter(torch.zeros(5, 8))
    optimizer = Muon([matrix], 0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 300)
    for _ in range(300):
        matrix.grad = None
        ((inputs @ (matrix - wanted).mT) ** 2).mean().backward()
        optimizer.step()
        schedule.step()
    assert (matrix - wanted).abs().max() < 0.01
