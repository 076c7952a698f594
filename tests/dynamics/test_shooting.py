"""Velocities at a start, of atoms on springs, whose motion over any gap is known exactly."""

import math

import pytest
import torch

from gfnode.dynamics.shooting import velocities_at_start

PERIOD = 11.0  # fs, of a bond to hydrogen
OMEGA = 2 * math.pi / torch.tensor([[PERIOD], [26.0], [60.0]]).double()
MASSES = torch.tensor([[1.0], [12.0], [16.0]]).double()


def case(gap, starts=4, repeated=1, seed=0):
    """Three atoms on springs: the move, positions, mean velocities, and velocities at the start."""
    generator = torch.Generator().manual_seed(seed)
    hot = (8.3e-7 * 300 / MASSES).sqrt()
    shape = 2, starts, 3, 3
    v = hot * torch.randn(shape, generator=generator).double()
    x = hot / OMEGA * torch.randn(shape, generator=generator).double()
    x, v = (y.repeat(1, repeated, 1, 1) for y in (x, v))

    def move(v, rows):
        here = x[:, rows]
        return torch.cos(OMEGA * gap) * here + torch.sin(OMEGA * gap) / OMEGA * v

    over = (move(v, slice(None)) - x) / gap
    return move, x, over, v


def found(gap, **options):
    move, x, over, v = case(gap, **options)
    starts = options.get("starts", 4)
    guess, lost = velocities_at_start(move, x, over, masses=MASSES, gap=gap, starts=starts)
    assert lost.shape == v.shape[:2]
    return guess, over, v


def share(guess, v):
    """Root-mean-square error over that of none, ``(atom,)``."""
    return ((guess - v).square().mean((0, 1, 3)) / v.square().mean((0, 1, 3))).sqrt()


@pytest.mark.parametrize("gap", [0.5, -0.5, 2.0, -2.0, 3.0, -4.0, -7.5, 8.0, -10.0, 18.0])
def test_they_are_those_of_the_start(gap):
    guess, over, v = found(gap)
    assert (share(guess, v) < 0.12).all()
    assert (share(guess, v) < 0.5 * share(over, v)).all()


def test_a_vibration_that_turns_by_half_tells_nothing():
    guess, _, v = found(-PERIOD / 2)
    assert guess[..., 0, :].abs().max() < 1e-9  # the most probable velocity
    assert (share(guess, v)[1:] < 0.02).all()


@pytest.mark.parametrize(("gap", "lost"), [(-PERIOD / 2, 3.0), (-10.0, 0.29), (2.0, 0.0)])
def test_directions_that_a_gap_says_nothing_of(gap, lost):
    move, x, over, _ = case(gap, repeated=2)
    _, found = velocities_at_start(move, x, over, masses=MASSES, gap=gap, starts=4)
    assert found == pytest.approx(torch.full((2, 8), lost).double(), abs=0.1)


def test_repetitions_share_a_derivative():
    alone, _, _ = found(-10.0)
    together, _, _ = found(-10.0, repeated=3)
    assert torch.allclose(together.unflatten(1, (3, 4)), alone[:, None].expand(-1, 3, -1, -1, -1))


def test_no_bit_depends_on_the_other_starts():
    """Trajectories part exponentially: in the end they would not be the same at all."""
    gap, generator = -7.5, torch.Generator().manual_seed(0)
    frequencies, masses = 0.6 * torch.rand(9, 1, generator=generator), torch.full((9, 1), 12.0)
    x, over = (torch.randn(2, 40, 9, 3, generator=generator) for _ in range(2))
    mixed = (torch.randn(27, 27, generator=generator) / 5).tolist()

    def velocities(some):
        begun, speeds = (y[:, some].repeat(1, 6, 1, 1) for y in (x, 0.01 * over))

        def move(v, rows):  # element by element, as rounding does not depend on the others then
            here = torch.cos(frequencies * gap) * begun[:, rows]
            y = (torch.sin(frequencies * gap) / frequencies * v).flatten(2).unbind(-1)
            moved = [sum(a * b for a, b in zip(row, y, strict=True)) for row in mixed]
            return here + torch.stack(moved, -1).view_as(v)

        starts = begun.shape[1] // 6
        found, _ = velocities_at_start(move, begun, speeds, masses=masses, gap=gap, starts=starts)
        return found.unflatten(1, (6, starts))

    alone = [velocities(slice(number, number + 1)) for number in range(40)]
    assert torch.equal(torch.cat(alone, 2), velocities(slice(None)))


def test_what_does_not_lead_nearer_is_left():
    _, x, over, _ = case(-10.0)

    def move(v, rows):  # nothing comes of large velocities
        return torch.where(v.abs() > 2 * over.abs().max(), torch.nan, x[:, rows] + 1e-6 * v)

    guess, _ = velocities_at_start(move, x, over, masses=MASSES, gap=-10.0, starts=4)
    assert guess.isfinite().all()
