"""Repeated application of models: against exact motions, symmetries, and what it must refuse."""

from itertools import islice

import numpy as np
import pytest
import torch
from harmonic import Harmonic
from torch import Tensor

from gfnode.errors import InputError
from gfnode.geometry import angular_momentum, momentum
from gfnode.models import Model, build
from gfnode.rollout import Difference, Repeated, Rollout, State, Thermal, steps
from gfnode.rollout import apply as rollout
from gfnode.simulate.synthetic import HarmonicNetwork, harmonic_network
from gfnode.trajectory.temperature import kinetic_temperature
from gfnode.units import BOLTZMANN
from making import build_variant, rotation, roughen, samples_of, system_of


@pytest.fixture(scope="module")
def network() -> HarmonicNetwork:
    return harmonic_network(temperature=400.0)


def start(network: HarmonicNetwork) -> tuple[Tensor, Tensor]:
    """Positions and velocities at three times, double precision."""
    x, v = network.state([0.0, 17.0, 391.0])
    return torch.from_numpy(x), torch.from_numpy(v)


@pytest.fixture(scope="module")
def ito() -> Model:
    options = {"width": 8, "encoder_layers": 1, "score_layers": 1}
    model = build_variant("ito", options, system_of("ethanol"))
    roughen(model, scale=0.3)
    return model.eval()


def gentle() -> tuple[Model, Tensor, Tensor]:
    """A network that moves atoms without flinging them away, and starts."""
    model = build_variant("gfnode", {"width": 8}, system_of("ethanol"))
    roughen(model, scale=0.25)
    frames = samples_of("ethanol", model.system, 3)
    return model, frames.positions, frames.velocities


class TestSteps:
    def test_repeated_application_of_an_exact_flow_is_the_flow(self, network):
        x, v = start(network)
        for time, found, speed in islice(steps(Harmonic(network), x, v, 37.0), 50):
            true = network.state(np.array([0.0, 17.0, 391.0]) + time)
            # δ⁴ω⁵/30 of the amplitude a step: 1e-6 at ω = 0.13/fs
            np.testing.assert_allclose(found, true[0], atol=2e-4)
            np.testing.assert_allclose(speed, true[1], atol=2e-5)
        assert time == 50 * 37.0

    def test_derivatives_are_of_fourth_order(self, network, monkeypatch):
        x, v = start(network)
        errors = []
        true = network.state(np.array([0.0, 17.0, 391.0]) + 40.0)[1]
        for delta in (4.0, 2.0, 1.0):
            monkeypatch.setattr(rollout, "DELTA", delta)
            _, _, speed = next(steps(Harmonic(network), x, v, 40.0))
            errors.append(float(np.abs(speed.numpy() - true).max()))
        orders = np.log2(np.divide(errors[:-1], errors[1:]))
        np.testing.assert_allclose(orders, 4, atol=0.2)

    def test_velocities_of_a_gap_are_those_of_training(self, network):
        x, v = start(network)
        times = np.array([0.0, 17.0, 391.0])
        for gap, reach in ((3.0, 3.0), (-3.0, -3.0), (-60.0, -0.999 * 40.0)):
            draw = Difference(gap, 40.0)
            _, _, speed = next(steps(Harmonic(network), x, v, 40.0, draw=draw))
            now, beside = (network.state(times + t)[0] for t in (40.0, 40.0 + reach))
            np.testing.assert_allclose(speed, (beside - now) / reach, atol=1e-12)

    def test_a_molecule_that_drifts_far_away_keeps_its_shape_in_float32(self):
        model = build("constant-velocity", system_of("ethanol"))
        x = samples_of("ethanol", model.system, 4).positions
        v = torch.tensor([1e-2, 0.0, -2e-2]).expand_as(x)
        time, found, speed = next(islice(steps(model, x, v, 1500.0), 199, None))
        assert time == 300_000.0
        torch.testing.assert_close(found, x + time * v, rtol=1e-3, atol=0)  # 6700 Å away
        assert (speed - v).abs().max() < 1e-3 * v.abs().max()
        assert (speed - speed[:, :1]).abs().max() < 1e-3 * v.abs().max()

    def test_a_batch_is_each_of_its_starts(self):
        model, x, v = gentle()
        together = next(islice(steps(model, x, v, 300.0), 3, None))
        alone = next(islice(steps(model, x[1:2], v[1:2], 300.0), 3, None))
        moved = (together[1] - x).abs().max()
        assert moved > 0.3
        assert (alone[1][0] - together[1][1]).abs().max() < 1e-4 * moved

    def test_a_turned_start_gives_the_turned_rollout(self):
        model, x, v = gentle()
        turn, shift = rotation().float(), torch.tensor([3.0, -2.0, 1.0])
        plain = next(islice(steps(model, x, v, 300.0), 3, None))
        turned = next(islice(steps(model, x @ turn.T + shift, v @ turn.T, 300.0), 3, None))
        moved = (plain[1] - x).abs().max()
        assert moved > 0.3
        assert (turned[1] - plain[1] @ turn.T - shift).abs().max() < 1e-3 * moved
        assert (turned[2] - plain[2] @ turn.T).abs().max() < 1e-2 * plain[2].abs().max()

    @pytest.mark.parametrize("stride", [0.0, -1.0, np.nan, np.inf])
    def test_refuses_a_stride_that_is_no_time(self, stride):
        model = build("persistence", system_of("ethanol"))
        x = torch.zeros(1, 9, 3)
        with pytest.raises(InputError, match=r"the stride of a rollout is .* above zero"):
            next(steps(model, x, x, stride))

    def test_refuses_shapes_that_do_not_fit(self):
        model = build("persistence", system_of("ethanol"))
        with pytest.raises(InputError, match=r"\(batch, atom, 3\), got \(9, 3\)"):
            next(steps(model, torch.zeros(9, 3), torch.zeros(9, 3), 10.0))


class TestFrames:
    @pytest.mark.parametrize(("stride", "every"), [(40.0, 10.0), (40.0, 15.0), (15.0, 40.0)])
    def test_lie_where_they_were_asked_for(self, network, stride, every):
        x, v = start(network)
        plan = Rollout(Harmonic(network), stride, every=every)
        state, numbers = State.of(x, v), []
        while state.count * stride < 200:
            numbers += plan.numbers(state.count)
            places = np.array(plan.numbers(state.count)) * every
            state, frames = plan.apply(state)
            assert frames.shape == (3, len(places), 6, 3)
            for place, frame in zip(places, frames.unbind(1), strict=True):
                true = network.state(np.array([0.0, 17.0, 391.0]) + place)[0]
                np.testing.assert_allclose(frame, true, atol=2e-5)
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) == int(state.count * stride / every)

    def test_tenths_of_a_femtosecond_lose_no_frame(self):
        plan = Rollout(build("persistence", system_of("ethanol")), 0.3, every=0.1)
        numbers = [k for count in range(100_000) for k in plan.numbers(count)]
        assert numbers == list(range(1, 300_001))


class TestRepeated:
    def test_what_is_left_of_a_stride_may_be_short(self):
        model = build("constant-velocity", system_of("ethanol"))
        x, v = torch.zeros(1, 9, 3), torch.full((1, 9, 3), 0.01)
        lags = torch.tensor([[0.5, 1.0, 2.0, 1500.0, 1500.5, 3001.0]])
        found = Repeated(model, 1500.0)(x, v, lags)
        torch.testing.assert_close(found[..., 0, 0], 0.01 * lags, rtol=1e-4, atol=1e-5)

    def test_of_an_exact_flow_is_the_flow_at_any_lags(self, network):
        x, v = start(network)
        model = Harmonic(network)
        lags = torch.tensor([[0.0, 12.0, 37.0, 500.0], [74.0, 73.9, 74.1, 1.0], [400.0] * 4])
        found = Repeated(model, 37.0)(x, v, lags.double())
        torch.testing.assert_close(found, model(x, v, lags.double()), rtol=0, atol=2e-4)

    def test_is_the_rollout_and_up_to_the_stride_the_model(self):
        model, x, v = gentle()
        for gap in (None, 5.0, -5.0):
            lags = torch.tensor([[100.0, 300.0, 600.0, 900.0]]).expand(3, -1)
            found = Repeated(model, 300.0, gap)(x, v, lags)
            torch.testing.assert_close(found[:, :2], model(x, v, lags[:, :2]), rtol=0, atol=1e-5)
            rolled = islice(steps(model, x, v, 300.0, draw=Difference(gap, 300.0)), 3)
            expected = torch.stack([at for _, at, _ in rolled], 1)
            torch.testing.assert_close(found[:, 1:], expected, rtol=0, atol=1e-4)


class TestSamples:
    def test_are_drawn_anew_and_repeat_with_their_seed(self, ito):
        frames = samples_of("ethanol", ito.system, 2)
        start = frames.positions, frames.velocities

        def drawn(seed: int) -> list[Tensor]:
            return [x for _, x, _ in islice(steps(ito, *start, 1000.0, seed=seed), 3)]

        runs = [drawn(seed) for seed in (0, 0, 1)]
        assert all(torch.equal(a, b) for a, b in zip(runs[0], runs[1], strict=True))
        assert all((a - b).abs().max() > 0.01 for a, b in zip(runs[0], runs[2], strict=True))
        assert (runs[0][0] - runs[0][1]).abs().max() > 0.01

    def test_refuse_frames_within_a_stride(self, ito):
        Rollout(ito, 100.0, every=300.0)
        with pytest.raises(
            InputError, match="samples at lags within one stride do not form a traj"
        ):
            Rollout(ito, 100.0, every=50.0)

    def test_thermal_velocities_are_as_large_as_those_of_training(self):
        system = system_of("ethanol")
        frames = samples_of("ethanol", system, 40)
        masses = torch.as_tensor(system.masses)
        sizes = torch.linspace(1e-3, 9e-3, 9)
        generator = torch.Generator().manual_seed(0)
        many = frames.positions.repeat(200, 1, 1)
        draw = Thermal(sizes, masses, still=False)
        found = draw(many, many[:, None, :0], generator)
        torch.testing.assert_close(found.square().mean((0, 2)).sqrt(), sizes, rtol=0.03, atol=0)
        like = Thermal.like(many, found, masses)
        assert not like.still
        torch.testing.assert_close(like.sizes, sizes, rtol=0.03, atol=0)

    def test_still_velocities_have_no_momenta(self):
        system = system_of("ethanol")
        x = samples_of("ethanol", system, 40).positions
        masses = torch.as_tensor(system.masses)
        x = x.repeat(50, 1, 1)
        sizes = 2e-3 * (12 / masses).sqrt().float()
        draw = Thermal(sizes, masses, still=True)
        v = draw(x, x[:, None, :0], torch.Generator().manual_seed(0))
        assert momentum(v, masses).abs().max() < 1e-6
        assert angular_momentum(x, v, masses).abs().max() < 1e-6
        assert Thermal.like(x, v, masses).still
        kinetic = (masses[:, None] * v.square()).sum((1, 2)).mean()
        torch.testing.assert_close(
            kinetic, 27 * 12 * 4e-6 * kinetic.new_ones(()), rtol=0.03, atol=0
        )

    @pytest.mark.parametrize(
        ("masses", "x"),
        [
            ([14.0, 14.0], [[0.0, 0, 0], [1.1, 0, 0]]),
            ([16.0, 12.0, 16.0], [[-0.9, 0.7, 0], [0, 0, 0], [0.9, -0.7, 0]]),
            ([16.0, 1.0, 1.0], [[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]),
        ],
    )
    def test_still_velocities_of_small_molecules_are_as_hot(self, masses, x):
        """Two atoms have one direction left, three in line four: the scale knows how many."""
        weights, x = torch.tensor(masses).double(), torch.tensor(x).expand(20_000, -1, -1)
        sizes = (BOLTZMANN * 300 / weights).sqrt().float()
        draw = Thermal(sizes, weights, still=True)
        v = draw(x, x[:, None, :0], torch.Generator().manual_seed(0))
        assert kinetic_temperature(v.numpy(), weights.numpy()).mean() == pytest.approx(
            300, rel=0.03
        )

    def test_a_single_start_gives_all_atoms_one_temperature(self):
        """Three numbers say little of an atom's speed, and would be drawn from ever after."""
        masses = torch.tensor(system_of("ethanol").masses)
        x = samples_of("ethanol", system_of("ethanol"), 1).positions[:1]
        heat = BOLTZMANN * 300 / masses[:, None]
        generator = torch.Generator().manual_seed(0)
        v = (torch.randn(x.shape, generator=generator).double() * heat.sqrt()).float()
        draw = Thermal.like(x, v, masses)
        hot = float(kinetic_temperature(v.numpy(), masses.numpy())[0])
        np.testing.assert_allclose(draw.sizes.square() * masses / BOLTZMANN, hot, rtol=1e-5)
        assert not draw.still

    def test_a_still_atom_rests(self):
        draw = Thermal(torch.full((1,), 1e-3), torch.ones(1), still=True)
        x = torch.zeros(3, 1, 3)
        assert not draw(x, x[:, None, :0], torch.Generator()).any()
