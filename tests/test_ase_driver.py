"""The ASE driver against ASE's own dynamics, the run's predictions, and things that go wrong."""

import sys
import warnings
from itertools import islice

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.md.verlet import VelocityVerlet

import gfnode
from gfnode.ase import Propagator
from gfnode.errors import InputError
from gfnode.prediction import BeyondHorizonWarning
from making import QUICK, quick_run, wiggle


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return quick_run(wiggle(), tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    """A model whose motion is known: every atom flies on."""
    changes = {"model": {"name": "constant-velocity"}}
    return quick_run(wiggle(), tmp_path_factory.mktemp("runs") / "free", **changes)


@pytest.fixture
def atoms():
    return wiggle()[7].to_ase()[0]


class NoForce(Calculator):
    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


@pytest.mark.parametrize("direct", [False, True])
def test_free_flight_is_that_of_ase(free, atoms, direct):
    reference = atoms.copy()
    reference.calc = NoForce()
    dynamics = VelocityVerlet(reference, timestep=10 * units.fs)
    for frame in Propagator(atoms, free, "10fs", steps=4, direct=direct):
        dynamics.run(1)
        assert frame.positions == pytest.approx(reference.positions, abs=1e-4)
        assert frame.get_velocities() == pytest.approx(
            reference.get_velocities(), rel=1e-3, abs=1e-5
        )
        assert frame.info["time_fs"] == pytest.approx(35.0 + dynamics.get_time() / units.fs)


def test_a_start_that_its_box_cuts_is_told_of(run, atoms):
    atoms.set_cell([20, 20, 20])
    atoms.pbc = True
    atoms.positions -= atoms.positions[0]
    whole = atoms.copy()
    atoms.wrap()
    with pytest.warns(UserWarning, match="in 1 of 1 frames bonds such as .* reach across it"):
        list(Propagator(atoms, run, "10fs", steps=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(Propagator(whole, run, "10fs", steps=1))


def test_direct_frames_are_predictions_of_the_run(run, atoms):
    start = wiggle()[7]
    expected = run.predict(start, [10.0, 25.0, 60.0])
    found = list(Propagator(atoms, run, times=["25fs", 60.0, 10.0]))
    assert [frame.info["time_fs"] for frame in found] == expected.times.tolist()
    for frame, positions in zip(found, expected.positions, strict=True):
        np.testing.assert_allclose(frame.positions, positions, atol=1e-5)
    evenly = Propagator(atoms, run, "20fs", direct=True)
    assert len(evenly) == 3  # as fit into the horizon
    np.testing.assert_allclose(list(evenly)[2].positions, found[2].positions, atol=1e-5)


def test_velocities_are_the_derivative_of_the_prediction(run, atoms):
    (frame,) = Propagator(atoms, run, times=[30.0])
    near = run.predict(wiggle()[7], [29.0, 31.0]).positions.astype(float)
    slope = (near[1] - near[0]) / 2.0
    np.testing.assert_allclose(frame.get_velocities() * units.fs, slope, atol=2e-4)


def test_a_step_starts_from_the_prediction_before_it(run, atoms):
    first, second = Propagator(atoms, run, "30fs", steps=2)
    again = next(iter(Propagator(first, run, "30fs")))
    np.testing.assert_allclose(second.positions, again.positions, atol=1e-5)
    assert second.info["time_fs"] == again.info["time_fs"] == 35.0 + 60.0


def test_without_steps_it_goes_on(run, atoms):
    propagator = Propagator(atoms, run, "50fs")
    times = [frame.info["time_fs"] for frame in islice(propagator, 30)]
    assert times == pytest.approx([35.0 + 50 * k for k in range(1, 31)])
    with pytest.raises(TypeError, match="run forever"):
        len(propagator)


def test_every_pass_begins_at_the_start(run, atoms):
    propagator = Propagator(atoms, run, "20fs", steps=3)
    before = atoms.positions.copy()
    one, two = list(propagator), list(propagator)
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(one, two, strict=True))
    assert len({id(frame) for frame in one}) == 3
    assert np.array_equal(atoms.positions, before)  # the user's own are left alone


def test_it_runs_as_dynamics_do(run, atoms, tmp_path):
    propagator = Propagator(atoms, run, "20fs", steps=5)
    seen = []
    propagator.attach(lambda *words: seen.append((propagator.nsteps, *words)), 2, "every")
    with ase.io.Trajectory(tmp_path / "t.traj", "w", propagator.atoms) as file:
        propagator.attach(file.write)
        assert propagator.run(3)
        assert propagator.get_time() == pytest.approx((35.0 + 60.0) * units.fs)
        assert propagator.run()
        assert not propagator.run()
    assert seen == [(2, "every"), (4, "every")]
    expected = list(propagator)
    written = ase.io.read(tmp_path / "t.traj", ":")
    assert len(written) == 5
    for one, two in zip(written, expected, strict=True):
        assert one.positions == pytest.approx(two.positions)
        assert one.get_momenta() == pytest.approx(two.get_momenta())


def test_what_belongs_to_the_start_is_kept_or_left_out(run, atoms):
    atoms.set_cell([20, 20, 20])
    atoms.pbc = True
    atoms.set_tags([1, 2, 3])
    atoms.set_constraint(FixAtoms([0]))
    atoms.calc = NoForce()
    atoms.set_array("forces", np.ones((3, 3)))
    atoms.info["energy"] = 3.0
    with pytest.warns(UserWarning, match="constraints of the start are ignored") as told:
        (frame,) = Propagator(atoms, run, "30fs", steps=1)
    assert told[0].filename == __file__
    assert frame.cell.lengths() == pytest.approx(20.0)
    assert frame.get_tags().tolist() == [1, 2, 3]
    assert not frame.constraints
    assert frame.calc is None
    assert not frame.has("forces")
    assert "energy" not in frame.info
    assert not np.allclose(frame.positions[0], atoms.positions[0], atol=1e-4)  # it moved
    assert atoms.constraints


def test_a_part_of_the_atoms(tmp_path):
    windows = QUICK["windows"] | {"state": [0, 2], "score": [0]}
    part = quick_run(wiggle(), tmp_path / "run", windows=windows)
    start = wiggle()[7].to_ase()[0]
    with pytest.warns(UserWarning, match="1 of 2 atoms were not part of the training loss"):
        Propagator(start, part, "20fs")
    givens = (start, start[[0, 2]])
    frames = [next(iter(Propagator(given, part, "20fs", direct=True))) for given in givens]
    assert all(frame.numbers.tolist() == [8, 1] for frame in frames)
    assert frames[0].positions == pytest.approx(frames[1].positions)


def test_models_of_differences_take_two_frames(tmp_path):
    data = wiggle(velocities=False)
    changes = {"model": {"name": "constant-velocity"}}
    run = quick_run(data, tmp_path / "run", **changes)
    assert run.facts["velocity_gap_fs"] == -5.0
    pair = data[7:9].to_ase()
    found = list(Propagator(pair, run, "10fs", steps=2))
    x = data.positions.astype(float)
    for number, frame in enumerate(found, 1):
        expected = x[8] + number * 2 * (x[8] - x[7])
        np.testing.assert_allclose(frame.positions, expected, atol=1e-4)
        assert frame.info["time_fs"] == 40.0 + 10.0 * number
    v = (x[8] - x[7]) / 5.0
    for frame in Propagator(pair, run, times=["1fs", "40fs"]):
        np.testing.assert_allclose(frame.get_velocities() * units.fs, v, atol=1e-5)
    with pytest.warns(UserWarning, match="the stride of 2 fs is shorter than the 5 fs over"):
        Propagator(pair, run, "2fs")
    forward = quick_run(data, tmp_path / "forward", windows={"velocities": "forward"}, **changes)
    first = next(iter(Propagator(pair, forward, "10fs")))
    np.testing.assert_allclose(first.positions, x[7] + 2 * (x[8] - x[7]), atol=1e-4)
    assert first.info["time_fs"] == 45.0
    with pytest.warns(UserWarning, match="trained on velocities from frames 5 fs apart"):
        Propagator(wiggle()[7].to_ase()[0], run, "10fs")


def test_an_exported_model_will_do(run, atoms, tmp_path):
    model = gfnode.export(run, tmp_path / "model")
    one, two = (next(iter(Propagator(atoms, each, "20fs"))) for each in (run, str(model)))
    assert np.array_equal(one.positions, two.positions)


def test_a_generative_model_draws_samples(tmp_path, atoms):
    options = {"name": "ito", "width": 8, "encoder_layers": 1, "score_layers": 1}
    run = quick_run(wiggle(), tmp_path / "run", model=options)
    draws = [list(Propagator(atoms, run, "30fs", steps=2, seed=seed)) for seed in (0, 0, 1)]
    last = [frames[-1].positions for frames in draws]
    assert np.array_equal(last[0], last[1])
    assert not np.allclose(last[0], last[2])


def test_a_start_without_momenta_is_refused(run, atoms):
    still = Atoms(atoms.numbers, atoms.positions)
    with pytest.raises(InputError, match="the start H2O has no momenta, but the model needs"):
        Propagator(still, run)
    still.set_velocities(np.zeros((3, 3)))  # at rest, and said so
    with pytest.warns(UserWarning, match="the model was not trained on atoms at rest"):
        next(iter(Propagator(still, run, "10fs")))


def test_what_makes_no_sense_is_refused(run, atoms):
    methane = Atoms("CH4", np.eye(5, 3))
    methane.set_velocities(np.zeros((5, 3)))
    with pytest.raises(InputError, match=r"CH4 has 5 atoms .* this model was trained on 3 atoms"):
        Propagator(methane, run, "20fs")
    with pytest.raises(InputError, match="this model was trained on 3 atoms"):
        Propagator(atoms[[1, 0, 2]], run, "20fs")
    for stride in (0.0, "-5fs", float("nan")):
        with pytest.raises(InputError, match="stride"):
            Propagator(atoms, run, stride)
    with pytest.raises(InputError, match="cannot read the time"):
        Propagator(atoms, run, "soon")
    with pytest.raises(InputError, match="later than the start"):
        Propagator(atoms, run, times=[0.0, 5.0])
    with pytest.raises(InputError, match="later than the start"):
        Propagator(atoms, run, times=[])
    for steps in (0, True, -1):
        with pytest.raises(InputError, match="number of steps"):
            Propagator(atoms, run, "20fs", steps=steps)
    with pytest.raises(InputError, match="leave out steps"):
        Propagator(atoms, run, times=[5.0], steps=3)
    with pytest.raises(InputError, match="no frames came from ASE"):
        Propagator([], run)
    with pytest.raises(InputError, match="give the number of steps"):
        Propagator(atoms, run, "20fs").run()
    with pytest.raises(InputError, match="interval of an observer"):
        Propagator(atoms, run, "20fs").attach(print, 0)


def test_beyond_the_horizon_is_said(run, atoms):
    with pytest.warns(BeyondHorizonWarning, match="100 fs is beyond the training horizon of 60 fs"):
        Propagator(atoms, run)
    with pytest.warns(BeyondHorizonWarning, match="61 fs is beyond"):
        Propagator(atoms, run, times=[5.0, 61.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Propagator(atoms, run, 60.0)


def test_a_prediction_that_diverges_ends(free, atoms):
    atoms.set_velocities(np.full((3, 3), 1e38))
    with pytest.warns(UserWarning, match="atoms start at .* K, in training at"):
        propagator = Propagator(atoms, free, "60fs", steps=9)
    with pytest.warns(UserWarning, match=r"not finite .* after the start: the propagation ends"):
        assert len(list(propagator)) < 9


def test_it_is_there_without_an_import():
    assert gfnode.__getattr__("ase") is sys.modules["gfnode.ase"]
    assert gfnode.ase.Propagator is Propagator


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 1.5}, "number of steps is 1.5, expected a whole number from 1"),
        ({"steps": "two"}, "number of steps is 'two'"),
        ({"times": "20fs"}, r"times are '20fs', expected a list of them, e.g. \['20fs'\]"),
        ({"times": 20}, "times are 20, expected a list"),
        ({"atoms": None}, "the start is NoneType, expected ase.Atoms"),
        ({"atoms": "start.xyz"}, "the start is str, expected ase.Atoms"),
        ({"atoms": wiggle()[:2]}, r"the start is Trajectory, .* use to_ase\(\)"),
        ({"run": None}, "got NoneType, expected the name of a run folder"),
    ],
)
def test_what_a_propagator_cannot_take(free, atoms, changes, message):
    with pytest.raises(InputError, match=message):
        Propagator(**{"atoms": atoms, "run": free} | changes)
    with pytest.raises(InputError, match="number of steps is -1, expected a whole number from 0"):
        Propagator(atoms, free, "20fs", steps=2).run(-1)
