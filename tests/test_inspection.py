"""What ``gfnode data`` finds out, against systems and faults that are known."""

import json
import re
import shlex
import typing
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from functools import cache
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import gfnode
from commands import call, fails, works
from gfnode import graph, report
from gfnode.errors import InputError
from gfnode.experiment import configure, prepare
from gfnode.files import to_json
from gfnode.inspection import Facts, Inspection, inspect
from gfnode.inspection.advice import judge
from gfnode.models.newton import Newton
from gfnode.molecule.replicas import split_molecules
from gfnode.presets import PRESETS
from gfnode.report.findings import _SENTENCES
from gfnode.simulate import asymmetric_top, counter_rotors, harmonic_network
from gfnode.trajectory import Doubles, Topology, Trajectory
from gfnode.trajectory.series import Series
from gfnode.units import BOHR, BOLTZMANN, WAVENUMBER
from gfnode.windows.rounding import coarseness


@cache
def toluene() -> Trajectory:
    """4 ps of the sample: 800 frames every 5 fs, with velocities."""
    return gfnode.load("sample:toluene")[:800]


def codes(found: Inspection) -> list[str]:
    return [each.code for each in found.findings]


def words(found: Inspection) -> str:
    """Everything that is said, one line each."""
    plain = json.loads(to_json(found.to_dict()))
    rows = [text for _, rows in report.inspection_sections(plain) for _, text in rows]
    said = [sentence for _, sentence in report.inspection_findings(plain)]
    return "\n".join([report.headline(plain), report.inspection_verdict(plain), *said, *rows])


def heated(t: Trajectory, first: float, last: float, besides: Doubles | float = 0.0) -> Trajectory:
    """Velocities that give each frame a temperature on a straight line, or off it by so much."""
    v = t.velocities.astype(np.float64)
    heats = np.square(v).sum(-1) @ t.masses / (3 * t.n_atoms * BOLTZMANN)
    wanted = np.linspace(first, last, len(t)) + besides
    return replace(t, velocities=np.float32(v * np.sqrt(wanted / heats)[:, None, None]))


def slowed(t: Trajectory, times: float = 0.5) -> Trajectory:
    """Hydrogens that move at so many times their speed."""
    share = np.where(t.numbers == 1, times, 1.0).astype(np.float32)
    return replace(t, velocities=t.velocities * share[:, None])


def molecules(*each: Trajectory) -> list[Trajectory]:
    """What ``--each-molecule`` makes of a box of them, far apart."""
    return split_molecules(
        replace(
            each[0],
            positions=np.concatenate(
                [t.positions + np.float32(50 * k) for k, t in enumerate(each)], axis=1
            ),
            velocities=np.concatenate([t.velocities for t in each], axis=1),
            numbers=np.tile(each[0].numbers, len(each)),
            topology=None,
            source="box.npz",
        )
    )


class TestKnownMotion:
    def test_heavy_hydrogens_with_their_masses_are_as_hot_as_the_rest(self):
        t, usual = slowed(toluene()), inspect([toluene()]).facts.momenta.hydrogen_heat
        assert usual == pytest.approx(1.0, abs=0.2)  # 4 ps
        found = inspect([t])
        assert "heavy-hydrogens" in codes(found)
        assert found.facts.momenta.hydrogen_heat == pytest.approx(0.25 * usual)
        heavy = replace(t, atom_masses=np.where(t.numbers == 1, 4 * t.masses, t.masses))
        found = inspect([heavy])
        assert "heavy-hydrogens" not in codes(found)
        assert found.facts.momenta.hydrogen_heat == pytest.approx(usual)
        assert "heavy-hydrogens" not in codes(inspect([slowed(toluene(), 0.85)]))

    def test_a_temperature_that_goes_up_is_told(self):
        steady, up, little = (heated(toluene(), 300, end) for end in (300, 500, 350))
        found = inspect([steady, up])
        assert "temperature-drift" in codes(found)
        (drift,) = found.facts.momenta.drifts
        share = found.facts.momenta.degrees / found.facts.momenta.degrees_all
        assert drift.file == 1
        # means of the first and last tenth
        assert drift.first == pytest.approx(310 / share, rel=1e-3)
        assert drift.last == pytest.approx(490 / share, rel=1e-3)
        assert f"from {drift.first:.0f} K to {drift.last:.0f} K in file 2, so" in words(found)
        for each in (steady, little):
            assert "temperature-drift" not in codes(inspect(each))

    def test_molecules_of_one_simulation_that_are_hot_and_cold_by_turns(self):
        """One cools while the others warm, but together they keep their temperature."""
        one, other = heated(toluene(), 500, 300), heated(toluene(), 300, 500)
        assert "temperature-drift" not in codes(inspect(molecules(one, other)))
        found = inspect(molecules(other, other, other))
        (drift,) = found.facts.momenta.drifts
        assert drift.file == 0
        assert f"from {drift.first:.0f} K to {drift.last:.0f} K, so" in words(found)
        found = inspect([*molecules(one, other), *molecules(other, other)])
        assert "K in file 2, so" in words(found)

    def test_molecules_are_not_called_files(self):
        t = toluene()
        gapped = t[np.r_[:300, 310 : len(t)]]
        other = replace(gapped, positions=gapped.positions.copy())
        other.positions[100] = other.positions[99]
        said = words(inspect(molecules(gapped, other)))
        assert "1 gap in time" in said
        assert "frame 100 of molecule 1 is identical to frame 99 of molecule 1" in said
        assert "file 1" not in said
        assert "file 2" not in said
        assert said.count(f"{len(gapped)} frames over") == 1
        again = words(inspect([*molecules(t, slowed(t)), *molecules(t, t)]))
        assert "molecule 0 of file 2 repeats all of molecule 0 of file 1" in again

    def test_velocities_are_judged_once_positions_are_in_angstrom(self):
        """CP2K writes positions in the unit asked for, and velocities in atomic units."""
        t = toluene()
        found = inspect(replace(t, positions=t.positions / np.float32(BOHR)))
        assert codes(found)[0] == "length-unit"
        assert "velocity-unit" not in codes(found)

    def test_a_drift_of_one_of_many_files_is_more_certain(self):
        """As certain that there is none in any of them, if one alone would be just certain."""
        t = toluene()
        uneven = np.tile([23.0, -23.0], 5).repeat(len(t) // 10)  # 7 standard errors
        just = heated(t, 300, 500, uneven)
        steady = [heated(t, 300 + k, 300 + k) for k in range(20)]
        assert "temperature-drift" in codes(inspect([just]))
        assert "temperature-drift" in codes(inspect([just, steady[0]]))
        assert "temperature-drift" not in codes(inspect([just, *steady]))

    def test_velocities_of_other_positions_are_told(self):
        """A molecule that flies, and the same with every frame centred."""
        t = toluene()
        speed = np.array([2e-3, -1e-3, 1e-3])
        flying = replace(
            t,
            positions=(t.positions + t.times[:, None, None] * speed).astype(np.float32),
            velocities=(t.velocities + speed).astype(np.float32),
        )
        found = inspect(flying)
        assert found.facts.momenta.followed == pytest.approx(1, abs=0.01)
        assert "foreign-velocities" not in codes(found)
        centred = inspect(replace(flying, positions=t.positions))
        assert abs(centred.facts.momenta.followed) < 0.1
        assert "foreign-velocities" in codes(centred)
        assert "--set windows.velocities=backward" in words(centred)
        assert inspect(t).facts.momenta.followed is None  # it stands still

    def test_a_start_that_cools_fast_is_found(self):
        """A straight line scatters too much about such a curve."""
        t = toluene()
        now = 300 + 350 * np.exp(-10 * np.arange(len(t)) / len(t))
        squares = np.square(t.velocities.astype(float)).sum(-1) @ t.masses
        usual = t.temperature() * squares / squares.mean()
        scale = np.sqrt(now / usual).astype(np.float32)
        cooling = replace(t, velocities=t.velocities * scale[:, None, None])
        found = inspect(cooling)
        assert "temperature-drift" in codes(found)
        (drift,) = found.facts.momenta.drifts
        share = found.facts.momenta.degrees / found.facts.momenta.degrees_all
        assert drift.first == pytest.approx(now[: len(t) // 10].mean() / share, rel=1e-2)
        assert drift.last == pytest.approx(300 / share, rel=1e-2)

    def test_atoms_that_never_move_are_no_degrees_of_freedom(self):
        moving = toluene()
        x, v = moving.positions.copy(), moving.velocities.copy()
        x[:, [0, 5, 6]] = x[0, [0, 5, 6]]
        v[:, [0, 5, 6]] = 0
        found = inspect(replace(moving, positions=x, velocities=v, forces=None))
        momenta = found.facts.momenta
        assert momenta.fixed_atoms == 3
        assert momenta.rigid_bonds == 0  # though 0–5 and 0–6 do not vary
        assert momenta.degrees == 45 - 9
        heat = (moving.masses[:, None] * v.astype(float) ** 2).sum((1, 2)).mean()
        assert momenta.temperature_degrees == pytest.approx(heat / 36 / BOLTZMANN, rel=0.02)
        assert "3 atoms never move, as if fixed" in words(found)
        assert inspect(moving).facts.momenta.fixed_atoms == 0

    def test_of_a_single_heavy_atom_all_are_looked_at_as_training_scores_them(self):
        x = np.array([[0.0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]])
        water = harmonic_network(x, [[0, 1], [0, 2]], [8, 1, 1], stiffness=0.4)
        found = inspect(water.trajectory(1000, 0.5)).facts
        assert found.choices.score_atoms == 3
        assert found.motion.moved_at_horizon > 0.01
        assert found.motion.changed_at_horizon > 0.01

    def test_counter_rotors_have_no_momentum(self):
        motion = counter_rotors(rate=0.02)
        trajectory = motion.trajectory(2000, 0.5)
        found = inspect(trajectory).facts
        _, v = motion.state(trajectory.times)
        heat = (motion.masses[:, None] * v**2).sum((1, 2)).mean() / BOLTZMANN
        assert found.momenta.source == "stored"
        assert found.momenta.temperature == pytest.approx(heat / 45, rel=1e-4)
        assert found.momenta.linear.kind == found.momenta.angular.kind == "zero"
        # the two parts are rigid: the bonds do not vary, and six more are gone
        assert found.momenta.rigid_bonds == 15
        assert found.momenta.degrees == 45 - 15 - 6
        assert found.momenta.temperature_degrees == pytest.approx(heat / 24, rel=1e-4)
        assert dict(found.structure.groups) == {"CH3": 1}
        assert found.motion.drift.farthest < 1e-4

    def test_momenta_from_differences_alone(self):
        trajectory = replace(counter_rotors(rate=0.02).trajectory(2000, 0.5), velocities=None)
        found = inspect(trajectory).facts.momenta
        stored = inspect(counter_rotors(rate=0.02).trajectory(2000, 0.5)).facts.momenta
        assert (found.source, found.interval_fs) == ("differences", 0.5)
        assert found.linear.kind == found.angular.kind == "zero"
        assert found.temperature == pytest.approx(stored.temperature, rel=1e-3)

    def test_a_top_that_drifts_and_tumbles(self):
        drift = np.array([1e-3, -2e-3, 5e-4])
        motion = asymmetric_top(drift=drift.tolist())
        trajectory = motion.trajectory(2000, 1.0)
        found = inspect(trajectory).facts
        assert found.momenta.linear.kind == found.momenta.angular.kind == "constant"
        mass = motion.masses.sum()
        assert found.momenta.linear.rms == pytest.approx(mass * np.linalg.norm(drift), rel=1e-4)
        spin = np.linalg.norm(motion.moments * motion.spin)
        assert found.momenta.angular.rms == pytest.approx(spin, rel=1e-4)
        path = np.linalg.norm(drift) * trajectory.times[-1]
        assert found.motion.drift.net == pytest.approx(path, rel=1e-3)
        # within the shortest lags it turns at its angular velocity
        lag, angle = found.motion.lags_fs[3], found.motion.angles_deg[3]
        turns = motion.attitude([0.0, lag])
        exact = Rotation.from_matrix(turns[1] @ turns[0].T).magnitude()
        assert angle == pytest.approx(np.degrees(exact), rel=0.3)
        assert found.motion.changed_at_horizon < 1e-4 < found.motion.moved_at_horizon
        assert not [each for each in found.motion.motions if each.kind == "shape"]

    def test_a_top_that_spins_about_one_axis(self):
        rate = 0.004
        trajectory = asymmetric_top(spin=[0, 0, rate]).trajectory(2000, 1.0)
        found = inspect(trajectory).facts.motion
        for lag, angle in zip(found.lags_fs, found.angles_deg, strict=True):
            assert angle == pytest.approx(
                np.degrees(abs((rate * lag + np.pi) % (2 * np.pi) - np.pi)), abs=0.1
            )
        # cos(θ) falls until (1 + 2 cos θ)/3 is 1/e
        forgotten = np.arccos((3 / np.e - 1) / 2) / rate
        assert found.motions[0].kind == "turning"
        assert found.motions[0].memory_fs == pytest.approx(forgotten, rel=0.1)

    @pytest.mark.parametrize("rate", [0.0, 2e-4])
    def test_a_molecule_on_a_line_turns_as_its_axis_does(self, rate):
        """Where its bend points is not how it stands."""
        times = 2.0 * np.arange(1500)
        bend = np.random.default_rng(0).normal(0, 0.06, (len(times), 2))
        x = np.zeros((len(times), 3, 3))
        x[:, :, 0] = [0.0, -1.16, 1.16]
        x[:, 0, 1:], x[:, 1:, 1:] = bend, -0.375 * bend[:, None]
        turned = Rotation.from_rotvec(times[:, None] * [0.0, 0.0, rate]).as_matrix()
        x = np.einsum("fab,fnb->fna", turned, x)
        found = inspect(Trajectory(x, times, [6, 8, 8])).facts.motion
        for lag, degrees in zip(found.lags_fs, found.angles_deg, strict=True):
            assert degrees == pytest.approx(np.degrees(rate * lag), abs=0.5)
        kinds = [each.kind for each in found.motions]
        assert ("turning" in kinds) == (rate > 0)

    def test_a_torsion_is_named_after_the_atoms_of_the_topology(self):
        rng = np.random.default_rng(0)
        angles = np.cumsum(rng.normal(0, 0.05, 1200))
        x = np.tile([[1.0, 0, 0], [0, 0, 0], [0, 0, 1.5], [0, 0, 1.5]], (1200, 1, 1))
        x[:, 3, :2] = np.stack([np.cos(angles), np.sin(angles)], 1)
        x += rng.normal(0, 0.01, x.shape)
        bonds = np.array([[0, 1], [1, 2], [2, 3]])
        for residues, name in (((1, 1, 1, 1), "CA–C"), ((1, 1, 2, 2), "ALA1 CA–GLY2 C")):
            topology = Topology(
                ("N", "CA", "C", "O"),
                tuple("ALA" if residue == 1 else "GLY" for residue in residues),
                residues,
                bonds,
            )
            made = Trajectory(x, 10.0 * np.arange(1200), [7, 6, 6, 8], topology=topology)
            found = inspect(made).facts.motion
            assert [each.name for each in found.motions if each.kind == "torsion"] == [name]

    @pytest.mark.parametrize("step", [0.1, 0.5, 2.0, 8.0, 10.0])
    def test_the_clock_reads_a_frequency(self, step):
        """C–H springs: the angle of a step is ω times the step, whole turns left out."""
        wavenumber = 3000.0
        omega = wavenumber * WAVENUMBER
        mass = 12.011 * 1.008 / (12.011 + 1.008)
        x = np.array([[0, 0, 0], [1.09, 0, 0]])
        network = harmonic_network(x, [[0, 1]], [6, 1], stiffness=mass * omega**2)
        found = inspect(network.trajectory(3000, step)).facts.clock
        assert found.bond == "C-H"
        turns = omega * step / (2 * np.pi)
        assert found.angle == pytest.approx(2 * np.pi * abs(turns - round(turns)), rel=0.02)
        assert found.wavenumber == pytest.approx(wavenumber, rel=0.02)
        assert found.fits

    @pytest.mark.parametrize("hydrogen", [2.014, 3.024])
    def test_the_clock_counts_with_other_masses(self, hydrogen):
        """Deuterium, and hydrogen that was made heavy, swing more slowly in the same bond."""
        light, heavy = (12.011 * m / (12.011 + m) for m in (1.008, hydrogen))
        times = 0.5 * np.arange(3000)
        stretch = 0.05 * np.cos(3000 * WAVENUMBER * np.sqrt(light / heavy) * times + 0.3)
        x = np.zeros((3000, 2, 3))
        x[:, 1, 0] = 1.09 + stretch
        given = Trajectory(x, times, [6, 1], atom_masses=[12.011, hydrogen])
        assert inspect(given).facts.clock.fits
        assert inspect(given).facts.clock.step_fs == pytest.approx(0.5, rel=0.03)
        assert not inspect(replace(given, atom_masses=None)).facts.clock.fits

    def test_temperature_and_momentum_of_springs(self):
        motion = harmonic_network(temperature=300.0, seed=3)
        trajectory = motion.trajectory(4000, 0.5)
        found = inspect(trajectory).facts.momenta
        chosen = trajectory.velocities[np.linspace(0, 3999, 2000).round().astype(int)]
        exact = (motion.masses[:, None] * chosen.astype(float) ** 2).sum((1, 2)).mean()
        assert found.temperature == pytest.approx(exact / (18 * BOLTZMANN), rel=1e-5)
        assert found.linear.kind == "zero"
        assert found.angular.kind == "fluctuating"  # such springs hold the orientation


class TestOtherJudges:
    def test_drift_as_mdtraj_has_it(self):
        trajectory = asymmetric_top(drift=[1e-3, 0, 0]).trajectory(400, 1.0)
        topology = mdtraj.Topology()
        residue = topology.add_residue("MOL", topology.add_chain())
        for symbol in trajectory.symbols:
            topology.add_atom(symbol, mdtraj.element.get_by_symbol(symbol), residue)
        centre = 10 * mdtraj.compute_center_of_mass(
            mdtraj.Trajectory(trajectory.positions / 10, topology)
        )
        away = np.linalg.norm(centre - centre[0], axis=1)
        found = inspect(trajectory).facts.motion.drift
        assert found.farthest == pytest.approx(away.max(), rel=1e-3)

    def test_bonds_as_mdtraj_knows_them(self, shared_data):
        file = shared_data / "ala2" / "alanine-dipeptide.pdb"
        topology = mdtraj.load(file).topology
        found = inspect(gfnode.load(file)).facts.structure
        assert found.bonds_by_distances == topology.n_bonds == 21
        assert found.formula == "C6H12N2O2"


def nm(t: Trajectory) -> Trajectory:
    return replace(t, positions=t.positions * 0.1, velocities=t.velocities * 0.1)


def slower(t: Trajectory, factor: float) -> Trajectory:
    """The same frames with another step."""
    return replace(t, times=t.times * factor, time_step=t.step * factor, velocities=None)


def changed(t: Trajectory, frames: slice | int, atom: slice | int, by: float) -> Trajectory:
    x = t.positions.copy()
    x[frames, atom] += np.float32(by)
    return replace(t, positions=x)


def copied(t: Trajectory, frame: int, of: int, off: float = 0.0) -> Trajectory:
    x = t.positions.copy()
    x[frame] = x[of] + np.float32(off)
    return replace(t, positions=x)


def cut(t: Trajectory) -> Trajectory:
    """A piece is missing, and the times hide it."""
    x = np.concatenate([t.positions[:300], t.positions[420:]])
    return Trajectory(x, t.times[: len(x)], t.numbers)


@cache
def ethane() -> Trajectory:
    """A molecule of springs every 0.5 fs: C–H bonds swing near 3000/cm."""
    from ase.build import molecule

    built = molecule("C2H6")
    bonds = [[0, 1], *([0, k] for k in (2, 3, 4)), *([1, k] for k in (5, 6, 7))]
    mass = 12.011 * 1.008 / (12.011 + 1.008)
    stiffness = np.array([0.3, *[mass * (3000 * WAVENUMBER) ** 2] * 6])
    network = harmonic_network(
        built.positions, bonds, built.numbers, stiffness=stiffness, temperature=300.0
    )
    return network.trajectory(4000, 0.5)


FAULTS: dict[str, tuple[Callable[[], Trajectory], str, str]] = {
    "nm": (lambda: nm(toluene()), "length-unit", "positions look like nm, not Å"),
    "bohr": (
        lambda: replace(toluene(), positions=toluene().positions / 0.529177, velocities=None),
        "length-unit",
        "positions look like bohr",
    ),
    "step too long": (
        lambda: slower(ethane(), 4),
        "time-step",
        "the time step is about 0.5 fs, not 2 fs",
    ),
    "step too short": (
        lambda: slower(ethane(), 0.2),
        "time-step",
        "the time step is about 0.5 fs, not 0.1 fs",
    ),
    "velocities in another unit": (
        lambda: replace(ethane(), velocities=0.1 * ethane().velocities),
        "velocity-unit",
        "stored velocities match displacements over a step of 5 fs, but bond vibrations match "
        "0.5 fs",
    ),
    "fs for ps": (
        lambda: Trajectory(
            np.random.default_rng(0).normal(0, 0.5, (50, 1, 3)), np.arange(50.0), [18]
        ),
        "too-hot",
        "1 fs between frames is too short",
    ),
    "repeated frame": (
        lambda: copied(toluene(), 500, 90),
        "duplicates",
        "1 duplicate frame: frame 500 is identical to frame 90",
    ),
    "cooled": (
        lambda: heated(toluene(), 500, 100),
        "temperature-drift",
        "remove frames of heating",
    ),
    "heavy hydrogens": (
        lambda: slowed(toluene()),
        "heavy-hydrogens",
        "hydrogens have only 0.29 times the temperature of all other atoms",
    ),
    "nearly repeated": (
        lambda: copied(toluene(), 500, 499, 1e-4),
        "near-duplicates",
        "1 frame almost identical to the previous one, first frame 500",
    ),
    "damaged frame": (
        lambda: changed(ethane(), 777, 4, 1.0),
        "jumps",
        "1 jump: frame 777 is displaced, the next one is not; 1 atom moved too far, atom 4 by 1.7",
    ),
    "atom moved": (
        lambda: changed(ethane(), slice(777, None), 4, 1.0),
        "jumps",
        "frame 777 does not continue the previous one; 1 atom moved too far, atom 4",
    ),
    "cut": (
        lambda: cut(counter_rotors(rate=0.02).trajectory(600, 0.5)),
        "jumps",
        "frame 300 does not continue the previous one: a cut",
    ),
    "gap": (
        lambda: toluene()[np.r_[0:100, 130:800]],
        "gaps",
        "1 gap in time, the first after frame 99 (155 fs)",
    ),
    "single frame": (lambda: toluene()[:1], "single-frame", "a single frame contains no motion"),
    "too short": (lambda: toluene()[:6], "refused", "gfnode train would refuse: "),
    "few windows": (toluene, "few-windows", "independent training windows"),
    "whole numbers": (
        lambda: replace(toluene(), positions=np.rint(toluene().positions), velocities=None),
        "coarse",
        "positions are rounded to 1 Å, more than the amplitude of bond vibrations",
    ),
    "rounded": (
        lambda: replace(ethane(), positions=ethane().positions.round(2), velocities=None),
        "rounded-velocities",
        "positions are rounded to 0.01 Å",
    ),
}


class TestFaults:
    def test_a_file_that_continues_another_is_told(self):
        whole = toluene()
        parts = [whole[600:], whole[:300], whole[300:600]]  # in any order
        found = inspect(parts)
        told = found.facts.frames.continued_files
        assert [(each.file, each.after) for each in told] == [(2, 1), (0, 2)]
        assert "file 3 goes on where file 2 ends (and 1 more likewise)" in words(found)
        (shared,) = inspect([whole[:400], whole[399:]]).facts.frames.continued_files
        assert (shared.file, shared.after, shared.moved) == (1, 0, 0.0)

    def test_replicas_and_frames_far_apart_continue_nothing(self):
        whole, later = toluene(), gfnode.load("sample:toluene")[3000:3800]
        for files in ([whole], [whole, later], [whole, whole], [whole, whole[:400]]):
            assert not inspect(files).facts.frames.continued_files
        sparse = gfnode.load("sample:toluene")[::400]  # 2 ps apart: all frames are alike
        assert not inspect([sparse[:8], sparse[8:]]).facts.frames.continued_files

    def test_a_file_that_another_holds_is_told(self):
        whole = toluene()
        for files, pairs in (
            ([whole, whole], [(1, 0)]),
            ([whole[100:500], whole], [(0, 1)]),
            ([whole, whole[:400], whole[300:]], [(1, 0), (2, 0)]),
            ([whole[:500], whole[400:]], []),
        ):
            found = inspect(files)
            repeated = found.facts.frames.repeated_files
            assert [(each.file, each.of_file) for each in repeated] == pairs
            assert "duplicates" in codes(found)
            for file, other in pairs:
                assert f"file {file + 1} repeats all of file {other + 1}" in words(found)

    def test_few_atoms_that_come_back_by_chance_repeat_nothing(self):
        """Of N frames of one bond, or of rounded water, many agree: N²/2 pairs, few places."""
        times = np.arange(2000) * 2.0
        swings = 0.1 * np.cos(np.array([[0.471], [0.493], [0.211]]) * times)
        swings *= 1 + 0.5 * np.sin(0.003 * times)  # a thermostat
        bond = np.zeros((2000, 2, 3))
        bond[:, 1, 0] = 1.3 + swings[0]
        bond -= (bond * [[35], [1]]).sum(1, keepdims=True) / 36
        bond = Trajectory(bond, times, [17, 1])
        water = np.tile([[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]], (2000, 1, 1))
        water[:, 1:, 0] += swings[:2].T
        water[:, 1:, 1] += swings[2, :, None]
        water = Trajectory(water.round(2), times, [8, 1, 1])
        for each in (bond, replace(bond, positions=bond.positions.round(3)), water):
            found = inspect(each)
            assert found.facts.frames.duplicates == found.facts.frames.near_duplicates == 0
            assert not {"duplicates", "near-duplicates"} & set(codes(found))
        assert "duplicates" in codes(inspect([bond[:500], bond[400:]]))
        still = replace(bond, positions=bond.positions[:1].repeat(len(bond), 0), velocities=None)
        assert inspect(still).facts.frames.duplicates == len(bond) - 1

    def test_nothing_turns_about_atoms_in_a_line(self):
        """Propyne: the methyl group does, C≡C–H does not, and no torsion passes it."""
        x = [[0, 0, 0], [1.46, 0, 0], [2.66, 0, 0], [3.72, 0, 0]]
        x += [[-0.37, 1.03 * np.cos(a), 1.03 * np.sin(a)] for a in (0, 2.0944, 4.1888)]
        bonds = [[0, 1], [1, 2], [2, 3], [0, 4], [0, 5], [0, 6]]
        shaken = np.random.default_rng(0).normal(x, 0.05, (400, 7, 3))
        propyne = Trajectory(shaken, np.arange(400.0) * 5, [6, 6, 6, 1, 1, 1, 1])
        assert graph.bonds_from_distances(propyne.numbers, propyne.positions).tolist() == sorted(
            bonds
        )
        found = inspect(propyne).facts
        assert dict(found.structure.groups) == {"CH3": 1}
        assert found.motion.torsions == 0

    def test_one_of_two_equal_halves_turns(self):
        """Neither methyl group of ethane is the lighter one."""
        from ase.build import molecule

        ethane = molecule("C2H6")
        shaken = np.random.default_rng(0).normal(ethane.positions, 0.05, (200, 8, 3))
        found = inspect(Trajectory(shaken, np.arange(200.0) * 5, ethane.numbers)).facts
        assert dict(found.structure.groups) == {"CH3": 1}

    def test_files_too_short_for_the_horizon_are_told(self):
        """A blocked split spans more than twelve horizons."""
        replicas = [toluene(), toluene()[:51], toluene()[100:121]]
        found = inspect(replicas)
        said = (
            "file 2 (51 frames, 250 fs) and file 3 (21 frames, 100 fs) give no windows for a "
            "horizon of 265 fs: they would with --set windows.horizon=5fs, or leave them out"
        )
        assert f"{said}." in words(found)
        assert said in prepare(replicas, configure()).notes
        shorter = configure(changes={"windows.horizon": 5.0})
        dataset = prepare(replicas, shorter)
        assert not [note for note in dataset.notes if "give no windows" in note]
        train = dataset.parts["train"]
        assert set(train.frames.segments[train.starts].tolist()) == {0, 1, 2}
        assert "short-files" not in codes(inspect([toluene(), toluene()]))

    @pytest.mark.parametrize("name", FAULTS)
    def test_is_found_and_said(self, name):
        make, code, sentence = FAULTS[name]
        found = inspect(make())
        assert code in codes(found), found.findings
        assert sentence in words(found)
        assert found.verdict != "yes" or code == "gaps"

    @pytest.mark.parametrize("name", ["toluene", "ethane"])
    def test_sound_data_raises_none_of_them(self, name):
        found = inspect({"toluene": toluene, "ethane": ethane}[name]())
        assert set(codes(found)) <= {"few-windows", "slow-motion"}
        assert found.facts.clock.fits

    def test_a_broken_bond_in_frames_far_apart(self):
        """No speed forbids the leap after 1 ps; the bond does."""
        trajectory = changed(slower(toluene(), 200), 333, 9, 1.5)
        found = inspect(trajectory).facts.frames
        jump = found.first_jumps[0]
        assert (found.jumps, jump.frame, jump.kind) == (1, 333, "bond")
        assert jump.distance > 1.6 * jump.expected

    def test_fits_are_told_by_the_numbers(self):
        found = inspect(slower(ethane(), 4)).facts.clock
        assert found.step_fs == pytest.approx(0.5, rel=0.05)
        assert found.angle == pytest.approx(3000 * WAVENUMBER * 0.5, rel=0.05)

    def test_velocities_tell_the_step_too(self):
        trajectory = ethane()
        wrong = replace(trajectory, times=trajectory.times * 4, time_step=2.0)
        assert inspect(wrong).facts.clock.step_stored_fs == pytest.approx(0.5, rel=0.02)

    def test_what_is_wrong_with_the_unit_does_not_hide_the_rest(self):
        found = inspect(nm(toluene()))
        assert found.verdict == "no"
        assert found.scaled_by == pytest.approx(10)
        assert found.facts.structure.bonds == 15
        assert found.facts.momenta.temperature == pytest.approx(
            inspect(toluene()).facts.momenta.temperature, rel=1e-4
        )

    def test_the_same_file_twice(self):
        found = inspect([toluene(), toluene()])
        assert found.facts.frames.duplicates == 800
        assert "frame 0 of file 2 is identical to frame 0 of file 1" in words(found)

    def test_another_order_of_atoms_in_a_file(self):
        """It is said in place of bonds that then look broken, whichever file is longer."""
        swapped = np.arange(15)
        hydrogens = np.flatnonzero(toluene().numbers == 1)
        swapped[hydrogens[[0, -1]]] = hydrogens[[-1, 0]]
        other = toluene()[100:700].select(swapped)
        for files in ([toluene(), other], [toluene()[:50], toluene()[50:100], other]):
            found = inspect(files)
            assert found.verdict == "no"
            assert codes(found)[0] == "atom-order"
            assert not {"jumps", "time-step"} & set(codes(found))
            said = (
                f"atom order in file {len(files)} differs from that in file 1: 2 of the 15 bonds "
            )
            assert said in words(found)
        assert "atom-order" not in codes(inspect([toluene()[:400], toluene()[400:]]))

    def test_other_atoms(self):
        with pytest.raises(InputError, match="hold different atoms"):
            inspect([toluene(), ethane()])


def water_box(wrapped: bool) -> Trajectory:
    """27 waters in a cube of 9.6 Å that drift along y, atoms put back into the cell or not."""
    from ase.build import molecule

    water = molecule("H2O")
    grid = 3.2 * np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 1, 3)
    x = (grid + water.positions[[0, 1, 2]] + [0.3, 1, 1]).reshape(-1, 3)
    swing = 0.02 * np.sin(np.arange(200)[:, None, None] * 0.28) * (np.arange(81) % 3)[:, None]
    x = x + swing + np.arange(200)[:, None, None] * np.array([0, 0.02, 0])
    x = np.mod(x, 9.6) if wrapped else x
    bonds = np.array([[3 * k, 3 * k + j] for k in range(27) for j in (1, 2)])
    topology = Topology(("O", "H1", "H2") * 27, ("HOH",) * 81, tuple(np.arange(81) // 3), bonds)
    cell = np.repeat(9.6 * np.eye(3)[None], 200, axis=0)
    return Trajectory(x, np.arange(200) * 0.5, [8, 1, 1] * 27, cell=cell, topology=topology)


def test_a_box_that_is_not_given():
    wrapped = water_box(wrapped=True)
    found = inspect(replace(wrapped, cell=None, topology=None))
    assert found.verdict == "no"
    assert codes(found)[0] == "wrapped"
    assert not {"jumps", "several-molecules"} & set(codes(found))
    lengths = found.facts.frames.box
    assert lengths is not None
    assert lengths[0] is None
    assert lengths[1] == pytest.approx(9.6, abs=0.1)
    said = "atoms jump by about 9.6 Å along y, as if wrapped into a periodic box"
    assert said in words(found)
    assert 'Lattice="9 0 0' in words(found)
    torn = replace(found.facts, lengths=replace(found.facts.lengths, unit=None))  # most atoms cut
    assert "no-bond-lengths" not in [each.code for each in judge(torn)]
    for sound in (wrapped, replace(water_box(wrapped=False), cell=None, topology=None), toluene()):
        assert inspect(sound).facts.frames.box is None


@pytest.mark.filterwarnings("ignore")
def test_training_says_that_a_box_is_missing():
    """Who trains without a look at the data first is told too."""
    for wrapped in (True, False):
        box = replace(water_box(wrapped), cell=None, topology=None)
        dataset = prepare([box], configure("default", {"graph.bonds": "auto"}))
        told = [note for note in dataset.notes if "the file has no box" in note]
        assert len(told) == wrapped


def apart(*molecules: Trajectory) -> Trajectory:
    """Molecules of one series side by side, 9 Å apart."""
    shifts = np.arange(len(molecules), dtype=np.float32)[:, None] * np.float32([9, 0, 0])
    return Trajectory(
        numbers=np.concatenate([each.numbers for each in molecules]),
        positions=np.concatenate(
            [each.positions + by for each, by in zip(molecules, shifts, strict=True)], 1
        ),
        times=molecules[0].times,
    )


def test_of_several_molecules_it_is_said_which_was_followed():
    one, piece = toluene(), toluene().select(np.arange(3))
    said = words(inspect(one))
    assert "molecule: " not in said
    assert "first molecule" not in said
    said = words(inspect(apart(one, one)))
    assert "in the first molecule: 1 CH3, which can rotate about a single bond" in said
    assert re.search(r"^within the first molecule: (shape mode|torsion)", said, re.M)
    assert re.search(r"^(the first molecule: by|none: .* the first molecule does)", said, re.M)
    said = words(inspect(apart(piece, one)))
    assert "in the largest molecule: 1 CH3" in said
    assert re.search(r"^within the largest molecule: ", said, re.M)


def test_a_chain_of_single_atoms_is_in_no_unit():
    """Cα atoms, 3.8 Å apart: neither bohr nor broken bonds."""
    turn = np.arange(30) * 1.7
    chain = np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(30)], -1)
    noise = np.random.default_rng(0).normal(0, 0.1, (60, 30, 3))
    bonds = np.stack([np.arange(29), np.arange(1, 30)], 1)
    topology = Topology(("CA",) * 30, ("ALA",) * 30, tuple(range(30)), bonds)
    found = inspect(Trajectory(chain + noise, np.arange(60) * 1e3, [6] * 30, topology=topology))
    assert found.facts.lengths.unit is None
    assert found.scaled_by == 1
    assert "no-bond-lengths" in codes(found)
    assert not {"length-unit", "far-bonds"} & set(codes(found))
    assert found.facts.structure.only_topology == 29
    assert "but far apart" not in words(found)


def test_beads_whose_masses_are_no_elements_are_in_no_unit():
    """Beads 3.3 Å apart are called carbon, as LAMMPS does by default; their masses say more."""
    chain = np.stack([np.arange(20) * 3.3, np.zeros(20), np.zeros(20)], -1)
    rng = np.random.default_rng(0)
    noise, speeds = rng.normal(0, 0.1, (60, 20, 3)), rng.normal(0, 2e-3, (60, 20, 3))
    carbon = Trajectory(chain + noise, np.arange(60) * 50.0, [6] * 20, velocities=speeds)
    found = inspect(carbon)
    assert found.facts.lengths.unit == "bohr"
    assert "unless they are beads of a coarse-grained model" in words(found)
    found = inspect(replace(carbon, atom_masses=np.full(20, 72.0)))
    assert found.facts.lengths.unit is None
    assert found.scaled_by == 1
    assert "no-bond-lengths" in codes(found)
    assert "length-unit" not in codes(found)
    assert "give its bonds with --top" in words(found)
    assert "--each-molecule" not in words(found)
    heavy = toluene().numbers == 1  # moved to hydrogens, masses are still those of atoms
    moved = replace(toluene(), atom_masses=np.where(heavy, 3.024, toluene().masses - 2))
    assert inspect(moved).facts.lengths.unit == "angstrom"


def test_a_bond_without_length_is_not_broken():
    """Of a virtual site on its atom, say; NumPy warned of a division by zero."""
    t = toluene()[:100]
    x = t.positions.copy()
    x[:, 14] = x[:, 13]
    bonds = graph.bonds_from_distances(t.numbers, t.positions)
    names = (("X",) * 15, ("MOL",) * 15, (1,) * 15)
    topology = Topology(*names, np.concatenate([bonds, [[13, 14]]]))
    found = inspect(replace(t, positions=x, topology=topology))
    assert found.facts.frames.jumps == 0


def test_bonds_that_hold_water_rigid_are_no_far_bonds():
    """CHARMM and Amber name a bond from hydrogen to hydrogen; of a true one nothing is passed."""
    water = water_box(wrapped=False)
    first = np.arange(0, water.n_atoms, 3)
    named = [np.stack([first + i, first + j], 1) for i, j in ((0, 1), (0, 2), (1, 2))]
    for bonds, far in ((named, 0), ([*named[:2], named[0] + 3 * np.array([0, 1])], 1)):
        pairs = np.concatenate(bonds)
        pairs = pairs[(pairs < water.n_atoms).all(1)]
        topology = replace(water.topology, bonds=pairs)
        found = inspect(replace(water, topology=topology))
        assert ("far-bonds" in codes(found)) == bool(far)


class TestPeriodic:
    def test_whole_molecules(self):
        found = inspect(water_box(wrapped=False)).facts
        assert found.structure.kinds == (("H2O", 27),)
        assert found.structure.cell.lengths == pytest.approx((9.6,) * 3)
        assert found.structure.cell.angles_deg == pytest.approx((90,) * 3)
        assert found.structure.cell.broken_bonds == found.frames.wrapped == 0

    def test_broken_molecules(self):
        trajectory = water_box(wrapped=True)
        found = inspect(trajectory)
        # over 20 frames, bonds longer than half the cell
        chosen = np.unique(np.linspace(0, 199, 20).round().astype(int))
        i, j = trajectory.topology.bonds.T
        x = trajectory.positions[chosen]
        expected = (np.abs(x[:, i] - x[:, j]) > 4.8).any(-1).sum(1).mean()
        assert found.facts.structure.cell.broken_bonds == pytest.approx(expected)
        assert expected > 0
        assert (
            found.facts.frames.wrapped
            == (np.abs(np.diff(trajectory.positions, axis=0)) > 4.8).sum()
        )
        assert found.facts.frames.jumps == 0  # going across the cell is none
        assert {"broken-molecules", "several-molecules"} <= set(codes(found))

    def test_a_slab_is_periodic_along_two_axes(self):
        """An atom that goes across such a cell does not jump, either."""
        box = water_box(wrapped=True)
        slab = inspect(replace(box, cell=box.cell * np.float32([[1], [1], [0]]))).facts.frames
        frames = inspect(box).facts.frames
        assert slab.wrapped == frames.wrapped > 0
        assert slab.jumps == frames.jumps == 0

    def test_frames_without_a_cell_among_others(self):
        box = water_box(wrapped=False)
        none = np.arange(len(box)) % 2 == 1
        found = inspect(replace(box, cell=np.where(none[:, None, None], 0, box.cell)))
        assert found.facts.structure.cell.broken_bonds == found.facts.frames.jumps == 0


class TestChoices:
    def test_are_those_of_training(self, tmp_path, monkeypatch):
        small = {"training": {"epochs": 1}, "model": {"width": 8, "encoder_layers": 1}}
        trajectory = toluene()
        found = inspect(trajectory).facts.choices
        monkeypatch.setitem(PRESETS, "default", small)
        run = gfnode.fit(trajectory, out=tmp_path / "run", progress=False)
        facts = json.loads((tmp_path / "run" / "run.json").read_text())
        assert found.windows == facts["windows"]
        assert found.horizon_fs == run.model.system.horizon
        assert found.batch == facts["batch"]
        assert found.edges == len(run.model.system.edges)
        assert (found.state_atoms, found.score_atoms) == (
            run.model.system.n_atoms,
            len(run.model.system.score),
        )
        result = run.evaluate().to_dict()
        assert found.align == result["targets_superposed_on_start"]
        assert found.times == result["times"]

    def test_independent_windows_do_not_overlap(self):
        trajectory = toluene()
        found = inspect(trajectory).facts.choices
        span, horizon = trajectory.times[-1], found.horizon_fs
        for part, share in zip(("train", "validation", "test"), (0.6, 0.1, 0.3), strict=True):
            fits = share * (span - 2 * horizon) / horizon  # how many fit into the block
            assert 0 <= fits - found.independent[part] + 1e-6 <= 1.1 or found.independent[part] == 1

    def test_a_reader_that_gives_too_little(self):
        found = inspect(toluene()[:2]).facts.choices
        assert found.problem
        assert not found.windows


def truth(molecule: str) -> tuple[float, float]:
    """Time step and temperature of an MD17 series."""
    step = {"azobenzene": 1.0, "paracetamol": 1.0, "benzene": 0.2}.get(molecule, 0.5)
    return step, 300.0 if molecule == "benzene" else 500.0


class TestRealData:
    def test_rmd17(self, shared_data):
        """Steps as MD17 has them are found without knowing them; 500 K over 3N; no momentum."""
        files = sorted((shared_data / "rmd17").glob("*.npz"))
        assert len(files) == 10
        for file in files:
            molecule = file.stem.removeprefix("rmd17_")
            step, temperature = truth(molecule)
            found = inspect(gfnode.load(file, step=step))
            clock, momenta = found.facts.clock, found.facts.momenta
            assert clock.fits, molecule
            assert clock.step_fs == pytest.approx(step, rel=0.1), molecule
            assert momenta.temperature == pytest.approx(temperature, rel=0.04), molecule
            kind = "direction kept" if molecule == "benzene" else "zero"
            assert momenta.linear.kind == momenta.angular.kind == kind, molecule
            assert found.facts.frames.jumps == 0
            wrong = inspect(gfnode.load(file, step=0.4 * step)).facts.clock
            assert not wrong.fits
            assert wrong.step_fs == pytest.approx(step, rel=0.1), molecule

    @pytest.mark.parametrize("molecule", ["ethanol", "toluene", "uracil"])
    def test_xtb(self, shared_data, molecule):
        found = inspect(gfnode.load(shared_data / "xtb" / f"md17_{molecule}.npz")[:16000])
        assert found.facts.clock.step_fs == pytest.approx(0.5, rel=0.1)
        assert found.facts.momenta.temperature == pytest.approx(500, rel=0.05)
        assert found.facts.momenta.linear.kind == found.facts.momenta.angular.kind == "zero"
        assert found.facts.frames.duplicates == found.facts.frames.jumps == 0

    def test_alanine_dipeptide(self, shared_data):
        folder = shared_data / "ala2"
        trajectory = gfnode.load(
            folder / "alanine-dipeptide-0-50ns.xtc", top=folder / "alanine-dipeptide.pdb"
        )
        found = inspect(trajectory).facts
        assert found.frames.rounded_to == 0.01
        assert found.momenta.rigid_bonds == 12  # the bonds to hydrogen
        assert found.clock.why_not == "rigid"
        assert found.momenta.temperature is None
        assert found.choices.align
        turning = next(each for each in found.motion.motions if each.kind == "turning")
        assert 1000 <= turning.memory_fs < 5000
        assert found.structure.only_topology == found.structure.only_distances == 0


class TestSeries:
    def test_pairs_lie_in_one_trajectory_at_the_lag(self):
        series = Series.of([toluene()[:50], toluene()[100:130]])
        first, second = series.pairs(25.0, 1000, 0.1)
        assert len(first) == 45 + 25
        assert (series.times[second] - series.times[first] == 25.0).all()
        assert (series.segments[second] == series.segments[first]).all()

    def test_frames_are_those_of_their_trajectories_in_any_order(self):
        cell = np.random.default_rng(0).normal(size=(80, 3, 3)).astype(np.float32)
        given = [replace(toluene()[k : k + 20], cell=cell[k : k + 20]) for k in range(0, 80, 20)]
        series = Series.of(given)
        frames = np.array([79, 3, 3, 61, 20, 0, 19])  # none of the third
        x = series.positions(frames, np.array([4, 0]))
        assert np.array_equal(x, toluene().positions[frames][:, [4, 0]])
        assert np.array_equal(series.velocities(frames), toluene().velocities[frames])
        assert np.array_equal(series.cells(frames), cell[frames])
        assert Series.of([toluene(), given[0]]).cells(frames) is None

    def test_pieces_cover_every_interval(self, monkeypatch):
        monkeypatch.setattr("gfnode.memory.CHUNK", 15 * 3 * 7)
        series = Series.of([toluene()[:50], toluene()[100:101], toluene()[200:215]])
        inside = {(k, k + 1) for b, e in series.pieces(15) for k in range(b, e - 1)}
        expected = {(k, k + 1) for k in series.successive().tolist()}
        assert inside == expected
        assert {k for b, e in series.pieces(15) for k in range(b, e)} == set(range(len(series)))

    def test_pieces_do_not_change_what_is_found(self, monkeypatch):
        trajectory = copied(changed(ethane()[:900], 300, 4, 1.0), 500, 90)
        whole = inspect(trajectory).to_dict()
        monkeypatch.setattr("gfnode.memory.CHUNK", 24 * 50)
        assert inspect(trajectory).to_dict()["frames"] == whole["frames"]


@pytest.mark.parametrize("size", [1.0, 0.1, 0.01, 1e-3, 1e-4, None])
def test_rounding_is_seen(size):
    x = 8 * np.random.default_rng(0).normal(size=(50, 20, 3))
    x = x if size is None else np.round(x / size) * size
    trajectory = Trajectory(x, np.arange(50.0), [6] * 20)
    assert coarseness(trajectory.positions) == (size or 0.0)


def test_where_forces_would_come_from():
    assert inspect(toluene()).facts.choices.forces is None  # 5 fs from frame to frame
    assert inspect(ethane()).facts.choices.forces == "shown"
    stored = replace(ethane(), forces=np.ones_like(ethane().positions))
    assert inspect(stored).facts.choices.forces == "stored"
    few = inspect(stored[:60])  # 30 of them to train on
    assert few.facts.choices.forces == "few"
    assert "too few frames to learn a potential" in words(few)
    assert "would greatly improve predictions" not in words(few)


def test_why_no_potential_is_learned_though_the_file_holds_forces():
    large = apart(*[toluene()] * 5)
    stored = replace(large, forces=np.ones_like(large.positions))
    said = words(inspect(stored))
    assert f"none: a potential is learned for at most {Newton.largest} atoms, here are 75" in said
    assert "would greatly improve predictions" not in said
    held = ethane().positions.copy()
    bond = held[:, 1] - held[:, 0]
    held[:, 1] = held[:, 0] + 1.5 * bond / np.linalg.norm(bond, axis=-1, keepdims=True)
    rigid = words(inspect(replace(ethane(), positions=held, forces=np.ones_like(held))))
    assert "none: files leave out the forces that constrain bonds" in rigid


def test_stored_forces_are_not_asked_for_where_a_bond_is_still_in_the_training_part():
    """As in a cold simulation at constant energy, whose bonds pass on energy slowly."""
    calm = ethane().positions.copy()
    bond = calm[:, 1] - calm[:, 0]
    bond /= np.linalg.norm(bond, axis=-1, keepdims=True)
    stretch = np.random.default_rng(0).uniform(-8e-4, 8e-4, (len(calm), 1))
    stretch[int(0.6 * len(calm)) :] *= 100  # behind the training part
    calm[:, 1] = calm[:, 0] + 1.5 * (1 + stretch) * bond
    found = inspect(replace(ethane(), positions=calm, forces=np.ones_like(calm)))
    assert found.facts.momenta.rigid_bonds == 0
    assert found.facts.choices.forces == "rigid"
    assert "none: files leave out the forces that constrain bonds" in words(found)
    assert "forces in the file" not in words(found)


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 40])
def test_however_few_frames(frames):
    found = inspect(toluene()[:frames])
    assert words(found)
    assert found.verdict == "no" or frames == 40


@pytest.mark.parametrize("count", [1, 2, 3])
def test_however_few_atoms(count):
    assert words(inspect(toluene().select(np.arange(count))))


def test_json_is_plain_and_finite():
    found = inspect([toluene()[:400], toluene()[400:]])
    plain = json.loads(to_json(found.to_dict()))
    assert plain["files"][1]["frames"] == 400
    assert plain["verdict"] == found.verdict


def test_the_command_that_trains_quotes_and_names(tmp_path: Path):
    found = json.loads(to_json(inspect(slower(ethane(), 4)).to_dict()))
    command = report.train_command(found, ["my run.xtc"], ["--top", "m.pdb", "--step", "2fs"])
    assert command is not None
    assert command.startswith("gfnode train --data 'my run.xtc' --top m.pdb --step 0.5fs --out ")
    nothing = json.loads(to_json(inspect(toluene()[:1]).to_dict()))
    assert report.train_command(nothing, ["one.pdb"], []) is None


class TestCommand:
    def test_answers_first_and_gives_the_command(self, tmp_path):
        file = toluene().save(tmp_path / "mine.npz")
        said = works("data", file)
        lines = said.splitlines()
        assert lines[0] == "toluene (C7H8): 15 atoms, 800 frames every 5 fs, 3.995 ps"
        assert lines[2] == "Suitable for training?  Yes, with care:"
        assert f"  gfnode train --data {file} --out runs/toluene" in lines

    def test_the_command_works_as_it_stands(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setitem(PRESETS, "default", {"model": {"name": "persistence"}})
        wrong = replace(ethane(), times=ethane().times * 4, time_step=2.0, velocities=None)
        wrong.save("two words.xtc")
        options = ("--top", "two words.pdb", "--step", "2fs")
        said = works("data", "two words.xtc", *options)
        line = next(each for each in said.splitlines() if each.startswith("  gfnode train"))
        words = shlex.split(line)
        assert words[words.index("--step") + 1] == "0.5fs"
        works(*words[1:])
        assert (tmp_path / words[-1] / "run.json").exists()

    def test_replicas(self, tmp_path):
        for number in (1, 2):
            toluene()[400 * (number - 1) : 400 * number].save(tmp_path / f"run{number}.npz")
        said = works("data", tmp_path / "run1.npz", tmp_path / "run2.npz")
        assert "800 frames in 2 trajectories every 5 fs" in said
        assert re.search(r"file 2 +toluene: 400 frames", said)

    def test_what_forces_would_be_worth(self):
        said = " ".join(works("data", "sample:toluene").split())
        assert "no potential is learned; forces in the file, or frames at most 1 fs" in said

    def test_json(self, tmp_path):
        file = toluene().save(tmp_path / "mine.npz")
        result = call("data", file, "--json", "-")
        assert result.exit_code == 0
        printed = json.loads(result.stdout)
        assert "Suitable for training?" in result.stderr
        works("data", file, "--json", tmp_path / "numbers.json")
        assert json.loads((tmp_path / "numbers.json").read_text()) == printed
        assert printed["choices"]["horizon_fs"] == pytest.approx(265)

    def test_bad_input(self, tmp_path):
        assert "no such file" in fails("data", tmp_path / "none.npz")
        toluene().save(tmp_path / "mine.xtc")
        assert "--top" in fails("data", tmp_path / "mine.xtc")
        other = ethane().save(tmp_path / "other.npz")
        assert "different atoms" in fails("data", "sample:toluene", other)


class TestDocumentation:
    PAGE = Path(__file__).resolve().parents[1] / "docs" / "inspection.md"

    def rows(self, mark: str) -> list[list[str]]:
        text = self.PAGE.read_text(encoding="utf-8")
        text = text.split(f"<!-- {mark} -->")[1].split(f"<!-- /{mark} -->")[0]
        lines = [line.strip("|") for line in text.splitlines() if line.startswith("| `")]
        return [[cell.strip(" `") for cell in line.split(" |")] for line in lines]

    def test_every_key(self):
        documented = [row[0] for row in self.rows("keys")]
        assert len(documented) == len(set(documented))
        assert set(documented) == set(keys_of(Inspection))

    def test_keys_are_those_of_the_json(self):
        """The names of fields are the keys: what is written holds no others."""
        plain = json.loads(to_json(inspect(copied(toluene(), 500, 90)).to_dict()))
        free = ("findings.*.values", "choices.windows", "choices.independent")

        def walk(value: object, name: str) -> set[str]:
            if isinstance(value, list):
                return set().union(*(walk(each, f"{name}.*") for each in value))
            if not isinstance(value, dict) or name in free:
                return set()
            inner = {k: f"{name}.{k}" if name else k for k in value}
            return set(inner.values()).union(*(walk(value[k], inner[k]) for k in value))

        assert walk(plain, "") <= set(keys_of(Inspection))

    def test_every_finding(self):
        documented = {row[0]: row[1] for row in self.rows("findings")}
        assert set(documented) == set(_SENTENCES)
        for name in FAULTS:
            for each in inspect(FAULTS[name][0]()).findings:
                assert documented[each.code] == each.level, each


def keys_of(kind: type, prefix: str = "") -> Iterator[str]:
    """Dotted names of the fields of a dataclass and of those in it; ``*`` is any item."""
    for name, hint in typing.get_type_hints(kind).items():
        inner = next(filter(is_dataclass, _within(hint)), None)
        if inner is Facts:
            yield from keys_of(Facts)
            continue
        yield prefix + name
        if inner is not None:
            several = typing.get_origin(hint) is tuple
            yield from keys_of(inner, f"{prefix}{name}.{'*.' if several else ''}")


def _within(hint: object) -> Iterator[object]:
    yield hint
    for each in typing.get_args(hint):
        yield from _within(each)


@pytest.mark.parametrize("first", [1600, 2050])
@pytest.mark.parametrize("moving", [True, False])
def test_training_proposes_the_same_step(first, moving):
    """Training looked at the first 2000 frames, the inspection at all, of which some explode."""
    sample = gfnode.load("sample:toluene")[:2500]
    grown = 0.05 * (1.02 ** np.clip(np.arange(2500) - first, 0, 100) - 1)
    noise = np.random.default_rng(0).normal(0, 1, sample.positions.shape)
    positions = (sample.positions + grown[:, None, None] * noise).astype(np.float32)
    velocities = sample.velocities if moving else None
    exploding = replace(
        sample, positions=positions, velocities=velocities, times=sample.times / 2, forces=None
    )
    said = inspect(exploding).facts.clock.words
    notes = [note for note in prepare([exploding], configure()).notes if "time step is" in note]
    assert said.startswith("the time step is about 5 fs, not 2.5 fs: ") or first == 1600
    expected = [f"{exploding.label}: {said}; give it with --step 5fs"] if said else []
    assert notes == expected
