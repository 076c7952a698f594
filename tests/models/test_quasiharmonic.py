"""Quasi-harmonic modes against the normal modes of a molecule whose springs are known."""

import numpy as np
import pytest
import torch

from gfnode.models.quasiharmonic import QuasiHarmonic

MASSES = torch.tensor([12.0, 14.0, 1.0, 16.0])


def springs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal modes of random springs: frequencies ``(mode,)``, ascending, mass-weighted vectors."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    _, vectors = torch.linalg.eigh(root + root.mT)
    return torch.linspace(0.02, 0.5, 12, dtype=torch.float64), vectors


def thermal(samples: int, size: float = 0.02) -> tuple[torch.Tensor, torch.Tensor]:
    """Displacements and velocities ``(sample, atom, 3)`` of all modes at one temperature."""
    omega, vectors = springs()
    generator = torch.Generator().manual_seed(1)
    q, p = size * torch.randn(2, samples, 12, generator=generator, dtype=torch.float64)
    root = MASSES.double().sqrt()[:, None]
    return tuple(((x @ vectors.mT).unflatten(-1, (4, 3)) / root).float() for x in (q / omega, p))  # type: ignore[return-value]


def test_they_are_the_normal_modes():
    omega, vectors = springs()
    displacements, velocities = thermal(40_000)
    modes = QuasiHarmonic(MASSES, 12)
    modes.fit(displacements, velocities)
    found = modes.synthesis * MASSES.sqrt()[:, None]
    found = found.flatten(1) / found.flatten(1).norm(dim=1, keepdim=True)
    overlap = (found.double() @ vectors).abs()
    assert overlap.diagonal().min() > 0.97  # softest first
    amplitudes, rates = modes(displacements)[..., 0], modes(velocities)[..., 0]
    torch.testing.assert_close(amplitudes.square().mean(0), torch.ones(12), atol=0.02, rtol=0)
    torch.testing.assert_close(rates.square().mean(0).sqrt().double(), omega, atol=0, rtol=0.03)


@pytest.mark.parametrize("samples", [40, 8])  # more and fewer than coordinates
def test_what_they_hold_comes_back(samples):
    displacements, velocities = thermal(samples)
    modes = QuasiHarmonic(MASSES, 12)
    modes.fit(displacements, velocities)
    torch.testing.assert_close(modes.inverse(modes(displacements)), displacements)
    empty = (modes.synthesis.flatten(1).norm(dim=1) == 0).sum()
    assert empty == max(0, 12 - samples)
    assert (modes.analysis.flatten(0, 1).norm(dim=0) == 0).sum() == empty


def test_modes_of_one_size_are_told_apart_by_their_velocities():
    """Two modes of equal amplitude, one of them twice as fast: hotter, that is."""
    generator = torch.Generator().manual_seed(0)
    q, p = torch.randn(2, 3000, 2, generator=generator)
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    displacements, velocities = torch.zeros(2, 3000, 1, 3)
    displacements[:, 0, :2] = 0.1 * q @ turn
    velocities[:, 0, :2] = p * torch.tensor([0.01, 0.02]) @ turn
    modes = QuasiHarmonic(torch.ones(1), 3)
    modes.fit(displacements, velocities)
    rates = modes(velocities)[..., :2, 0]
    correlation = np.corrcoef(rates.T.numpy())[0, 1]
    assert abs(correlation) < 1e-3
    assert rates.square().mean(0).sqrt().tolist() == pytest.approx([0.1, 0.2], rel=0.05)


def test_signs_do_not_depend_on_the_order_of_atoms():
    displacements, velocities = thermal(200)
    order = [2, 0, 3, 1]
    modes, other = QuasiHarmonic(MASSES, 12), QuasiHarmonic(MASSES[order], 12)
    modes.fit(displacements, velocities)
    other.fit(displacements[:, order], velocities[:, order])
    torch.testing.assert_close(other(displacements[:, order]), modes(displacements))


def test_a_rigid_molecule_has_none():
    modes = QuasiHarmonic(MASSES, 6)
    noise = 1e-6 * torch.randn(50, 4, 3, generator=torch.Generator().manual_seed(0))
    modes.fit(noise, noise)
    assert not modes(noise).any()
