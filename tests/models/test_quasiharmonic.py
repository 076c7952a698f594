"""Quasi-harmonic modes against the normal modes of a molecule whose springs are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gfnode.models.quasiharmonic import QuasiHarmonic
from making import quick_run, wiggle

MASSES = torch.tensor([12.0, 14.0, 1.0, 16.0])


def springs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal modes of random springs: frequencies ``(mode,)``, ascending, mass-weighted vectors."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    _, vectors = torch.linalg.eigh(root + root.mT)
    return torch.linspace(0.02, 0.5, 12, dtype=torch.float64), vectors


def thermal(
    samples: int, size: float = 0.02, times: int = 4
) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """Motion of all modes at one temperature, and lags in fs.

    Displacements and velocities ``(sample, atom, 3)``, and displacements at the lags.
    """
    omega, vectors = springs()
    generator = torch.Generator().manual_seed(1)
    q, p = size * torch.randn(2, samples, 12, generator=generator, dtype=torch.float64)
    lags = 500 * torch.rand(samples, times, generator=generator, dtype=torch.float64)
    turn = omega * lags[..., None]
    later = (q / omega)[:, None] * turn.cos() + (p / omega)[:, None] * turn.sin()
    root = MASSES.double().sqrt()[:, None]
    motion = [
        ((x @ vectors.mT).unflatten(-1, (4, 3)) / root).float() for x in (q / omega, p, later)
    ]
    return tuple(motion), lags.float()  # type: ignore[return-value]


def overlap(modes: QuasiHarmonic) -> torch.Tensor:
    """Of the directions found with the normal modes, ``(mode, mode)``."""
    found = (modes.synthesis * MASSES.sqrt()[:, None]).flatten(1)
    found = found / found.norm(dim=1, keepdim=True)
    return (found.double() @ springs()[1]).abs()


def test_they_are_the_normal_modes():
    omega, _ = springs()
    motion, lags = thermal(40_000)
    modes = QuasiHarmonic(MASSES, 12)
    modes.fit(motion[0], motion, lags)
    assert overlap(modes).diagonal().min() > 0.97  # softest first
    amplitudes, rates = (modes(x)[..., 0] for x in motion[:2])
    torch.testing.assert_close(amplitudes.square().mean(0), torch.ones(12), atol=0.02, rtol=0)
    torch.testing.assert_close(rates.square().mean(0).sqrt().double(), omega, atol=0, rtol=0.03)


def test_what_becomes_of_them_tells_modes_apart_that_chance_has_mixed(monkeypatch):
    """A hundred samples do not tell sizes by a tenth; phases up to half a picosecond later do."""
    motion, lags = thermal(100)
    mixed, modes = QuasiHarmonic(MASSES, 12), QuasiHarmonic(MASSES, 12)
    modes.fit(motion[0], motion, lags)
    monkeypatch.setattr(mixed, "_sweeps", 0)
    mixed.fit(motion[0], motion, lags)
    assert overlap(mixed).amax(1).mean() < 0.86
    assert overlap(modes).amax(1).mean() > 0.96
    torch.testing.assert_close(modes.inverse(modes(motion[0])), motion[0])


@pytest.mark.parametrize("samples", [40, 8])  # more and fewer than coordinates
def test_what_they_hold_comes_back(samples):
    motion, lags = thermal(samples)
    modes = QuasiHarmonic(MASSES, 12)
    modes.fit(motion[0], motion, lags)
    torch.testing.assert_close(modes.inverse(modes(motion[0])), motion[0])
    empty = (modes.synthesis.flatten(1).norm(dim=1) == 0).sum()
    assert empty == max(0, 12 - samples)
    assert (modes.analysis.flatten(0, 1).norm(dim=0) == 0).sum() == empty


def test_of_a_planar_molecule_they_lie_in_its_plane_or_at_right_angles_to_it():
    generator = torch.Generator().manual_seed(0)
    displacements = torch.randn(60, 5, 3, generator=generator)
    later = torch.randn(60, 4, 5, 3, generator=generator)
    lags = 500 * torch.rand(60, 4, generator=generator)
    masses = torch.tensor([12.0, 14.0, 1.0, 16.0, 1.0])
    modes = QuasiHarmonic(masses, 15)
    modes.fit(displacements, (displacements, displacements.flip(0), later), lags, planar=True)
    assert modes.odd.sum() == 5
    assert modes.synthesis[modes.odd][..., :2].abs().max() < 1e-5
    assert modes.synthesis[~modes.odd][..., 2].abs().max() < 1e-5
    mirrored = displacements * torch.tensor([1.0, 1.0, -1.0])
    sign = torch.where(modes.odd, -1.0, 1.0)[:, None]
    torch.testing.assert_close(modes(mirrored), sign * modes(displacements))


def test_signs_do_not_depend_on_the_order_of_atoms():
    motion, lags = thermal(200)
    order = [2, 0, 3, 1]
    modes, other = QuasiHarmonic(MASSES, 12), QuasiHarmonic(MASSES[order], 12)
    modes.fit(motion[0], motion, lags)
    renumbered = [x[..., order, :] for x in motion]
    other.fit(renumbered[0], renumbered, lags)
    torch.testing.assert_close(other(renumbered[0]), modes(motion[0]), atol=1e-4, rtol=1e-4)


def test_all_modes_have_one_temperature():
    """⟨q̇²⟩ σ² = k_B T of every mode, 0.02² u Å²/fs² here."""
    motion, lags = thermal(4000)
    modes = QuasiHarmonic(MASSES, 12)
    modes.fit(motion[0], motion, lags)
    heat = modes(motion[1])[..., 0].square().mean(0) * modes.inertia
    torch.testing.assert_close(heat, torch.full((12,), 4e-4), rtol=0.1, atol=0)


def test_a_vibration_three_times_as_large_is_no_other_conformer(tmp_path):
    """Springs know no conformers: they swing as before, with more energy than in training."""
    calm = wiggle(2000, 4.0)
    centre = calm.positions.mean(0)
    wild = replace(
        calm, positions=centre + 3 * (calm.positions - centre), velocities=3 * calm.velocities
    )
    start = int(np.square(wild.positions - centre).sum((1, 2))[:1900].argmax())
    windows = {"horizon": 400.0, "times": 4, "most": [100, 20, 20], "score": "all"}
    model = {"newton": False, "width": 6, "encoder_layers": 1, "decoder_layers": 1}
    run = quick_run(calm, tmp_path / "run", windows=windows, model=model, training={"epochs": 1})
    predicted = run.predict(wild[start], [100, 200, 400]).positions[-3:]
    later = wild.positions[[start + 25, start + 50, start + 100]]
    share = np.square(predicted - later).mean() / np.square(later - wild.positions[start]).mean()
    assert share < 0.1  # 1.02 where the molecule stays as it is


def test_a_rigid_molecule_has_none():
    modes = QuasiHarmonic(MASSES, 6)
    noise = 1e-6 * torch.randn(50, 4, 3, generator=torch.Generator().manual_seed(0))
    modes.fit(noise, (noise, noise, noise[:, None]), torch.ones(50, 1))
    assert not modes(noise).any()
