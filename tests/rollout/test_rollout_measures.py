"""Stability and growth of errors: on motions whose answers are known."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import mdtraj
import numpy as np
import pytest
import torch
from harmonic import Harmonic
from scipy.stats import wasserstein_distance
from torch import Tensor

import gfnode
from gfnode.errors import InputError
from gfnode.models import Model, build
from gfnode.models.base import ALONE, EUCLIDEAN
from gfnode.rollout import Difference, Rollout, stability
from gfnode.rollout.growth import Growth, compare
from gfnode.rollout.stability import (
    QUANTITIES,
    Reference,
    drift,
    internal,
    measure,
)
from gfnode.simulate.synthetic import harmonic_network
from gfnode.trajectory import Trajectory
from gfnode.trajectory.temperature import kinetic_temperature
from gfnode.units import BOLTZMANN
from gfnode.windows import Frames, Windows
from making import geometry_of, system_of


@cache
def training() -> Trajectory:
    """Ethanol that trembles about a geometry, 400 frames."""
    numbers, base = geometry_of("ethanol")
    noise = np.random.default_rng(0).normal(size=(2, 400, 9, 3))
    return Trajectory(base + 0.03 * noise[0], 5.0 * np.arange(400), numbers, 5e-3 * noise[1])


@cache
def reference() -> Reference:
    found = training()
    assert found.velocities is not None
    return Reference.of(system_of("ethanol"), [found], found.velocities)


def pulled(frames: int = 101, speed: float = 2e-3) -> tuple[Trajectory, int, int, float, float]:
    """One bond of the mean geometry grows at a speed in Å/fs; the time at which it counts."""
    bond = 1  # whose first atom is moved along it
    mean = training().positions[0].astype(float)
    i, j = reference().bonds[bond]
    along = mean[j] - mean[i]
    length = np.linalg.norm(along)
    times = 10.0 * np.arange(frames)
    positions = np.tile(mean, (frames, 1, 1))
    side = np.isin(np.arange(9), _side(j, i))
    positions[:, side] += (times * speed)[:, None, None] * along / length
    bound = float(reference().most[bond])
    when = (bound - length) / speed
    return Trajectory(positions, times, system_of("ethanol").numbers), i, j, when, bound


def _side(atom: int, behind: int) -> list[int]:
    """Atoms on this side of a bond."""
    found, left = {behind, atom}, [atom]
    while left:
        here = left.pop()
        for i, j in reference().bonds:
            other = j if i == here else i if j == here else None
            if other is not None and other not in found:
                found.add(int(other))
                left.append(int(other))
    return sorted(found - {behind})


class TestStability:
    def test_training_data_is_sound_and_drifts_by_nothing(self):
        found = measure([training()], 400, reference(), stretches=1)
        assert found.broken is None
        assert found.clash is None
        assert all(value < 0.02 for value in found.stretches[0].drift.values())

    def test_a_bond_that_is_pulled_breaks_when_it_must(self):
        frames, i, j, when, bound = pulled()
        found = measure([frames], len(frames), reference()).broken
        assert found is not None
        assert set(found.atoms) == {i, j}
        assert found.time == 10 * np.ceil(when / 10)
        assert found.bound == pytest.approx(bound)
        assert found.distance > bound
        assert found.frames == pytest.approx((frames.times >= found.time).mean())

    def test_atoms_that_meet_clash_when_they_must(self):
        r, base = reference(), training().positions[0].astype(float)
        far = np.linalg.norm(_between(base, r.pairs), axis=1)[r.n_bonds :]
        pair = r.n_bonds + int(far.argmax())
        i = r.pairs[pair, 0]
        gap = _between(base, r.pairs[[pair]])[0]
        share = np.linspace(0, 1, 51)[:-1]
        positions = np.tile(base, (50, 1, 1))
        positions[:, i] += share[:, None] * gap  # along the line, past nothing that counts less
        frames = Trajectory(positions, np.arange(50.0), system_of("ethanol").numbers)
        every = np.linalg.norm(_between(positions, r.pairs), axis=-1)
        first = int((every < r.least).any(1).argmax())
        found = measure([frames], 50, r).clash
        assert found is not None
        assert found.time == first > 0
        assert found.distance < found.bound

    def test_of_too_many_pairs_the_closest_are_watched(self, monkeypatch):
        monkeypatch.setattr(stability, "MOST_PAIRS", 2)
        found = training()
        assert found.velocities is not None
        few = Reference.of(system_of("ethanol"), [found], found.velocities)
        assert len(few.pairs) == few.n_bonds + 2
        r, first = reference(), training().positions[0].astype(float)
        apart = np.linalg.norm(_between(first, r.pairs), axis=1)[r.n_bonds :]
        mine = np.linalg.norm(_between(first, few.pairs), axis=1)[few.n_bonds :]
        np.testing.assert_allclose(np.sort(mine), np.sort(apart)[:2])

    def test_pieces_do_not_matter(self):
        frames, *_ = pulled()
        whole = measure([frames], len(frames), reference())
        cut = [frames[a:b] for a, b in ((0, 1), (1, 47), (47, 101))]
        parts = measure(cut, len(frames), reference())
        assert (parts.broken, parts.clash) == (whole.broken, whole.clash)
        for one, other in zip(parts.stretches, whole.stretches, strict=True):
            assert (one.begin, one.end) == (other.begin, other.end)
            assert one.drift == pytest.approx(other.drift, rel=1e-9)

    def test_stretches_hold_their_own_frames(self):
        frames, *_ = pulled()
        times, kelvin = np.arange(0, 1000, 50.0), np.arange(20.0)
        found = measure(
            [frames], 101, reference(), stretches=4, temperatures=(times, kelvin)
        ).stretches
        assert found[0].begin == 0.0
        assert found[-1].end == 1000.0
        assert all(a.end + 10 == b.begin for a, b in pairwise(found))
        rises = [each.drift["bond"] for each in found]
        assert rises == sorted(rises)
        inside = [kelvin[(times >= e.begin) & (times <= e.end)].mean() for e in found]
        assert [each.temperature for each in found] == inside

    def test_the_floor_is_what_stretches_of_training_differ_by(self):
        floor = reference().floor(500.0)
        assert all(0 < value < 3 for value in floor.values())
        longer = reference().floor(1e9)  # as much as there is: two halves
        assert longer["bond"] < floor["bond"]

    def test_the_floor_of_a_molecule_that_swells(self):
        """Two runs, of which the second is larger by a tenth."""
        numbers, base = geometry_of("ethanol")
        times, still = 5.0 * np.arange(200), np.zeros((1, 9, 3))
        small, large = (
            Trajectory(np.tile(size * base, (200, 1, 1)), times, numbers) for size in (1.0, 1.1)
        )
        found = Reference.of(system_of("ethanol"), [small, large], still)
        floor = found.floor(247.5)  # a quarter of a run; of its rest are three of seven others
        length = np.linalg.norm(_between(base, found.bonds), axis=-1).mean()
        assert floor["bond"] == pytest.approx(0.1 * length * 4 / 7, rel=0.01)
        assert floor["angle"] == pytest.approx(0, abs=1e-3)

    def test_the_temperature_of_training_weighs_each_atom(self):
        """½ k_B T a degree of freedom, of Maxwell's velocities."""
        system = system_of("ethanol")
        noise = np.random.default_rng(0).normal(size=(2000, 9, 3))
        v = noise * np.sqrt(BOLTZMANN * 300 / system.masses)[:, None]
        found = Reference.of(system, [training()], v.astype(np.float32))
        assert found.temperature == pytest.approx(300, rel=0.02)

    def test_stretches_between_two_frames_have_no_share_in_the_floor(self):
        floor = reference().floor(1.0)  # most of its stretches hold no frame, the others one
        assert all(0 < value < 10 for value in floor.values())


def _between(positions: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return positions[..., pairs[:, 1], :] - positions[..., pairs[:, 0], :]


class TestQuantities:
    def test_drift_is_the_wasserstein_distance_of_scipy(self):
        rng = np.random.default_rng(0)
        a, b = rng.normal(size=(500, 3)), rng.normal(0.3, 1.5, size=(400, 3))
        expected = np.mean([wasserstein_distance(x, y) for x, y in zip(a.T, b.T, strict=True)])
        found = drift(dict.fromkeys(QUANTITIES, a), dict.fromkeys(QUANTITIES, b))
        assert list(found.values()) == pytest.approx([expected] * 3)
        none = dict.fromkeys(QUANTITIES, a[:, :0])
        assert np.isnan(list(drift(none, none).values())).all()

    def test_bonds_and_angles_are_those_of_mdtraj(self):
        found, r = training()[:20], reference()
        mine = internal(found.positions, r.bonds, r.triples)
        frames = found.to_mdtraj()
        bonds = 10 * mdtraj.compute_distances(frames, r.bonds)
        np.testing.assert_allclose(mine["bond"], bonds, atol=1e-5)
        angles = np.degrees(mdtraj.compute_angles(frames, r.triples))
        np.testing.assert_allclose(mine["angle"], angles, atol=1e-2)

    def test_temperature_is_that_of_the_trajectory(self):
        found = training()
        assert found.velocities is not None
        mine = kinetic_temperature(found.velocities, found.masses)
        assert mine.mean() == pytest.approx(found.temperature())


class Unstable(Model):
    """What is off a template grows by e^(rate t); a mirror of growing errors."""

    promises = EUCLIDEAN | ALONE
    rate = 2e-3  # 1/fs
    template: Tensor

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        off = positions - self.template
        return self.template + off[:, None] * torch.exp(self.rate * lags)[..., None, None]


def made(rate: float) -> tuple[Unstable, Windows]:
    """Starts that are off the template by a little, truth that is the template, and other data."""
    model = Unstable(system_of("ethanol"))
    model.rate = rate
    x = torch.from_numpy(training().positions[0]).double()
    model.template = x - x.mean(0)
    generator = torch.Generator().manual_seed(0)
    frames = model.template.repeat(3000, 1, 1)
    starts = 21 * torch.arange(40)
    noise = torch.randn(40, 9, 3, generator=generator).double()
    frames[starts] += 1e-5 * (noise - noise.mean(1, keepdim=True))
    other = torch.randn(2000, 9, 3, generator=generator).double()
    frames[1000:] += other - other.mean(1, keepdim=True)
    times = torch.cat([torch.arange(1000), torch.arange(2000)]).double()
    segments = np.repeat([0, 1], [1000, 2000])
    stored = torch.zeros_like(frames)
    windows = Windows(Frames(frames, stored, times, segments), starts, starts[:, None], None)
    return model, windows


class TestGrowth:
    @pytest.mark.parametrize("rate", [2e-3, 8e-3])
    def test_a_known_rate_is_found(self, rate):
        model, windows = made(rate)
        found = compare(Rollout(model, 50.0), {}, windows, 200.0, points=10)
        assert found.lags_fs.tolist() == [20.0 * k for k in range(1, 11)]
        for method in ("rollout", "direct"):
            estimate = found.rate(method)
            assert estimate is not None
            assert estimate.value == pytest.approx(1000 * rate, rel=1e-3)
            assert estimate.low <= 1000 * rate + 1e-3
            assert estimate.high >= 1000 * rate - 1e-3

    @pytest.mark.parametrize(
        ("spread", "rate", "off", "held"), [(0.0, 1.5, 0.03, 0.9), (0.4, 1.62, 0.08, 0.0)]
    )
    def test_the_rate_of_errors_that_scatter(self, spread, rate, off, held):
        """Right if starts have one rate; if not, below that of the RMSE of all, which is 1.7."""
        rng, lags = np.random.default_rng(0), 100.0 * np.arange(1, 13)
        found = []
        for _ in range(100):
            slopes = 1.5 + spread * rng.normal(size=(64, 1))
            level, noise = rng.normal(0, 0.5, (64, 1)), rng.normal(0, 0.3, (64, 12))
            errors = np.exp(2 * (level + slopes * lags / 1000 + noise))
            both = {"rollout": errors, "unrelated": np.full((64, 12), 1e9)}
            starts = np.linspace(0, 6000, 64)
            found.append(Growth(lags, both, starts, np.zeros(64, dtype=int)).rate())
        assert np.mean([each.value for each in found]) == pytest.approx(rate, abs=off)
        assert np.mean([each.low <= 1.5 <= each.high for each in found]) >= held

    def test_what_cannot_grow_has_no_rate(self):
        model, windows = made(2e-3)
        windows.frames.positions[windows.starts] += torch.randn(40, 9, 3).double()
        assert compare(Rollout(model, 50.0), {}, windows, 400.0, points=10).rate() is None

    def test_of_an_exact_flow_rollout_and_direct_are_the_truth(self):
        network = harmonic_network(temperature=400.0)
        model = Harmonic(network)
        truth = network.trajectory(600, 2.0)
        positions, velocities = network.state(truth.times)
        frames = Frames(
            torch.from_numpy(positions),
            torch.from_numpy(velocities),
            torch.from_numpy(truth.times),
            np.zeros(600, dtype=np.int64),
        )
        starts = torch.arange(0, 300, 30)
        windows = Windows(frames, starts, starts[:, None], None)
        for velocity in (None, Difference(None, 90.0)):
            plan = Rollout(model, 90.0, velocity)
            found = compare(
                plan, {"persistence": build("persistence", model.system)}, windows, 500.0
            )
            assert found.errors["direct"].max() < 1e-12
            assert found.errors["rollout"].max() < 1e-6 * found.errors["persistence"].mean()
            assert found.reaches("rollout", "persistence") is None

    def test_where_curves_meet(self):
        lags = np.array([100.0, 200.0, 300.0, 400.0])
        rising = np.square([[2.0, 4.0, 6.0, 8.0]])
        flat = np.square([[5.0] * 4])
        swinging = np.square([[4.0, 2.0, 4.0, 18.0]])
        errors = {"a": rising, "b": flat, "c": swinging, "unrelated": 100 * flat}
        growth = Growth(lags, errors, np.zeros(1), np.zeros(1, dtype=np.int64))
        assert growth.reaches("a", "b") == 250.0
        assert growth.reaches("b", "a") is None
        assert growth.reaches("c", "a") is None or growth.reaches("c", "a") > 300
        assert growth.reaches("a", "c") is None
        assert growth.reaches("a", "a") is None
        assert growth.reaches("unrelated", "a") == 0.0
        assert [each.value for each in growth.rmse("a")] == [2.0, 4.0, 6.0, 8.0]

    def test_blocks_of_a_lag_are_as_long_as_it(self):
        lags, starts = np.array([10.0, 100.0, 500.0]), 10.0 * np.arange(100)
        growth = Growth(lags, {"a": np.ones((100, 3))}, starts, np.zeros(100, dtype=np.int64))
        assert [each.blocks for each in growth.rmse("a")] == [30, 10, 2]  # 30 at most

    def test_the_interval_of_a_rate_by_hand(self):
        """Three starts that are a block each, and grow by e, e² and e⁶ a picosecond."""
        lags = 100.0 * np.arange(1, 5)
        errors = np.square(1e-3 * np.exp(np.outer([1.0, 2.0, 6.0], lags / 1000)))
        growth = Growth(
            lags,
            {"rollout": errors, "unrelated": np.ones_like(errors)},
            400.0 * np.arange(3),
            np.zeros(3, dtype=np.int64),
        )
        found = growth.rate()
        assert found is not None
        assert (found.blocks, found.value) == (3, pytest.approx(3))
        # t of 2 degrees of freedom; variance 7; two pairs of neighbours that share a quarter
        width = 4.302652729911275 * np.sqrt(7 / 3 * (1 + 1 / 3) / (1 - 1 / 6))
        assert (found.low, found.high) == pytest.approx((3 - width, 3 + width))

    def test_a_rate_is_that_before_half_of_what_is_unrelated(self):
        """It doubles every 100 fs up to 0.4 of it, and levels off from 0.55."""
        errors = np.square(np.tile([0.2, 0.4, 0.8, 1.1, 1.2], (4, 1)))
        growth = Growth(
            100.0 * np.arange(1, 6),
            {"rollout": errors, "unrelated": np.full_like(errors, 4.0)},
            500.0 * np.arange(4),
            np.zeros(4, dtype=np.int64),
        )
        found = growth.rate()
        assert found is not None
        assert (found.value, found.count) == (pytest.approx(10 * np.log(2)), 3)

    def test_targets_that_training_superposed_are_superposed_here(self):
        model, windows = made(2e-3)
        turned = replace(windows, align=torch.arange(9))
        angle = torch.linspace(0, 3, 1000).double()
        zero, one = torch.zeros_like(angle), torch.ones_like(angle)
        rows = [angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero, zero, zero, one]
        turn = torch.stack(rows, 1).reshape(-1, 3, 3)
        still = build("persistence", model.system)
        frames = turned.frames
        frames.positions[:1000] = frames.positions[:1000] @ turn.mT
        for w, most in ((turned, 1e-4), (replace(turned, align=None), 10.0)):
            found = compare(Rollout(still, 50.0), {}, w, 400.0, points=10)
            assert (found.errors["rollout"].max() < 1e-4) == (most == 1e-4)

    @pytest.mark.parametrize(
        ("length", "every", "count"),
        [(40.0, 2.0, 20), (400.0, 16.0, 25), (1e9, 54.0, 24)],  # 20, 200 and ⅔ of 999 frames
    )
    def test_lags_end_with_the_length_or_two_thirds_of_the_data(self, length, every, count):
        """Frames 2 fs apart: all of few, and every n-th for 24 lags or a few more."""
        _, windows = made(2e-3)
        frames = replace(windows.frames, times=2 * windows.frames.times)
        still = build("persistence", system_of("ethanol"))
        found = compare(Rollout(still, 50.0), {}, replace(windows, frames=frames), length)
        assert found.lags_fs.tolist() == (every * np.arange(1, count + 1)).tolist()
        assert found.errors["direct"].shape[1] == count

    def test_refuses_what_is_too_short_or_uneven(self):
        model, windows = made(2e-3)
        late = replace(windows, starts=torch.tensor([998]), targets=torch.tensor([[999]]))
        with pytest.raises(InputError, match="the data ends 0 fs after the first start"):
            compare(Rollout(model, 50.0), {}, late, 400.0)
        alone = replace(windows, starts=windows.starts[:1], targets=windows.targets[:1])
        with pytest.raises(InputError, match="only 1 start is followed by 400 fs"):
            compare(Rollout(model, 50.0), {}, alone, 400.0)
        windows.frames.times[500:1000] += 0.5
        with pytest.raises(InputError, match="needs evenly spaced frames"):
            compare(Rollout(model, 50.0), {}, windows, 400.0)


def test_growth_writes_what_json_takes():
    model, windows = made(8e-3)
    plan = Rollout(model, 50.0)
    baselines = {"persistence": build("persistence", model.system)}
    found = compare(plan, baselines, windows, 400.0, points=10).to_dict()
    assert found["methods"]["rollout"]["growth_per_ps"]["value"] == pytest.approx(8, rel=1e-3)
    assert gfnode.files.to_json(found)  # type: ignore[attr-defined]
