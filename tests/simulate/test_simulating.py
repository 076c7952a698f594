"""Simulations as a whole: what is stored, resumed, refused."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from springs import MASSES, MOLECULES, WATER

import gfnode
from gfnode import InputError
from gfnode.readers.unfinished import Store, folder_of, record_of
from gfnode.simulate import run, simulate
from gfnode.simulate.run import prepare
from gfnode.units import BOLTZMANN
from processes import python

HERE = Path(__file__).parent
SHORT: dict[str, Any] = {
    "engine": "springs:Springs",
    "steps": 600,
    "equilibrate": "100fs",
    "every": "2fs",
}


class Stopped(Exception):
    """Stands for a kill, in this process."""


def stop_at(step: int):
    def progress(done: int, last: int) -> None:
        assert 0 < done <= last == 796
        if done >= step:
            raise Stopped

    return progress


@pytest.fixture(autouse=True)
def saves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SAVE_EVERY_S", 0.0)


def test_what_is_stored(tmp_path: Path) -> None:
    out = tmp_path / "five.npz"
    made = simulate(MOLECULES["five"], **SHORT, out=out)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["five.npz", "five.simulation.json"]
    read = gfnode.load(out)
    for found in (made, read):
        assert len(found) == 150
        np.testing.assert_allclose(found.times, 2.0 * np.arange(150))
        assert found.time_step == 2.0
        assert found.name == "five"
    assert np.array_equal(made.positions, read.positions)
    assert np.array_equal(made.velocities, read.velocities)
    for word in ("springs:Springs", "Bussi thermostat at 300 K", "seed 0", "gfnode simulate five"):
        assert word in read.source
    record = json.loads(record_of(out).read_text())
    assert record["settings"]["temperature_K"] == 300
    assert record["result"]["frames"] == 150
    assert record["result"]["degrees_of_freedom"] == 9
    kinetic = (read.masses * np.square(read.velocities.astype(float)).sum(-1)).sum(1) / 2
    expected = 2 * kinetic.mean() / (9 * BOLTZMANN)
    assert record["result"]["temperature_K"] == pytest.approx(expected, rel=1e-5)
    assert record["result"]["momentum_over_thermal"] < 1e-6
    assert record["result"]["angular_momentum_over_thermal"] < 1e-6


def test_velocities_and_forces_belong_to_positions(tmp_path: Path) -> None:
    """Of velocity Verlet they are central differences of its own positions, to rounding."""
    out = tmp_path / "five.npz"
    simulate(MOLECULES["five"], **SHORT | {"every": "0.5fs"}, thermostat="none", out=out)
    made = gfnode.load(out)
    x, v, f = (y.astype(float) for y in (made.positions, made.velocities, made.forces))
    assert np.abs(v).max() > 1e-3
    np.testing.assert_allclose((x[2:] - x[:-2]) / 1.0, v[1:-1], atol=1e-6)
    assert np.abs(f).max() > 1e-4
    second = (x[2:] - 2 * x[1:-1] + x[:-2]) / 0.25
    np.testing.assert_allclose(second * made.masses[:, None], f[1:-1], atol=0.02 * np.abs(f).max())


def test_temperature_of_both_counts() -> None:
    """Five atoms have 9 free degrees of 15: 300 K over 3N are 500 K of those that move."""
    both = {}
    for degrees in ("free", "3N"):
        how = SHORT | {"steps": 8000, "degrees": degrees, "coupling": "20fs"}
        simulation = prepare(MOLECULES["five"], **how)
        summary = simulation.run(None).summary
        assert summary is not None
        assert summary.temperature.value == pytest.approx(300, rel=0.2)
        assert summary.temperature.low < 310
        assert summary.temperature.high > 290
        assert summary.degrees == (15 if degrees == "3N" else 9)
        both[degrees] = simulation.dynamics.temperature  # type: ignore[attr-defined]
    assert both == {"free": 300, "3N": pytest.approx(500)}


def test_constant_energy() -> None:
    """After equilibration nothing comes in: the energy of the molecule itself is conserved."""
    simulation = prepare(MOLECULES["five"], **SHORT | {"steps": 4000}, thermostat="none")
    simulation.dynamics.prepare()
    simulation.dynamics.advance(1000, equilibrating=True)
    energies = []
    for _ in range(200):
        simulation.dynamics.advance(20, equilibrating=False)
        energies.append(simulation.dynamics.snapshot().energies)
    potential, kinetic, conserved = np.array(energies).T
    assert np.ptp(potential) > 1e-4
    assert np.ptp(potential + kinetic) < 0.02 * np.ptp(potential)
    np.testing.assert_allclose(np.diff(conserved), np.diff(potential + kinetic), atol=1e-12)


def test_momenta_stay_zero_in_a_long_run() -> None:
    simulation = prepare(MOLECULES["water"], **SHORT | {"steps": 60_000}, coupling="2fs")
    dynamics = simulation.dynamics
    dynamics.prepare()
    for _ in range(100):
        dynamics.advance(100, equilibrating=False)
        dynamics.renew()
    now = dynamics.snapshot()
    linear = MASSES @ now.velocities
    centre = MASSES @ now.positions / MASSES.sum()
    angular = MASSES @ np.cross(now.positions - centre, now.velocities)
    thermal = np.sqrt(BOLTZMANN * 300 * MASSES.sum())
    assert np.abs(linear).max() < 1e-13 * thermal
    assert np.abs(angular).max() < 1e-13 * thermal * np.abs(WATER).max()


def test_seeds_and_replicas() -> None:
    first = simulate(MOLECULES["five"], **SHORT)
    assert np.array_equal(first.positions, simulate(MOLECULES["five"], **SHORT).positions)
    for other in ({"seed": 1}, {"replica": 1}):
        assert not np.array_equal(
            first[9:].positions, simulate(MOLECULES["five"], **SHORT, **other)[9:].positions
        )


@pytest.mark.parametrize("thermostat", ["bussi", "langevin", "none"])
@pytest.mark.parametrize("step", [1, 150, 333, 780])
def test_resumed_is_the_same(tmp_path: Path, step: int, thermostat: str) -> None:
    how = SHORT | {"thermostat": thermostat}
    whole = simulate(MOLECULES["five"], **how)
    out = tmp_path / "a.npz"
    with pytest.raises(Stopped):
        simulate(MOLECULES["five"], **how, out=out, progress=stop_at(step))
    assert [each.name for each in tmp_path.iterdir()] == ["a.npz.unfinished"]
    with (folder_of(out) / "frames.bin").open("ab") as file:
        file.write(b"half a frame")
    resumed = simulate(MOLECULES["five"], **how, out=out, resume=True)
    assert np.array_equal(whole.positions, resumed.positions)
    assert np.array_equal(whole.velocities, resumed.velocities)
    assert np.array_equal(gfnode.load(out).positions, whole.positions)
    assert not folder_of(out).exists()
    again = simulate(MOLECULES["five"], **how, out=out, resume=True)  # finished: read
    assert np.array_equal(again.positions, whole.positions)


def test_unfinished_is_prolonged(tmp_path: Path) -> None:
    whole = simulate(MOLECULES["five"], **SHORT | {"steps": 1200})
    out = tmp_path / "a.npz"
    with pytest.raises(Stopped):
        simulate(MOLECULES["five"], **SHORT, out=out, progress=stop_at(500))
    longer = simulate(MOLECULES["five"], **SHORT | {"steps": 1200}, out=out, resume=True)
    assert np.array_equal(whole.positions, longer.positions)


def test_xtb_resumed_is_the_same(tmp_path: Path) -> None:
    """Its iteration begins with the orbitals before; these are dropped at every block."""
    pytest.importorskip("tblite")
    how: dict[str, Any] = {"steps": 250, "equilibrate": "25fs", "every": "5fs"}
    out = tmp_path / "a.npz"
    whole = simulate("O", **how) if _has_rdkit() else simulate("ethanol", **how)
    with pytest.raises(Stopped):
        simulate("O" if _has_rdkit() else "ethanol", **how, out=out, progress=_stop_after(150))
    resumed = simulate("O" if _has_rdkit() else "ethanol", **how, out=out, resume=True)
    assert np.array_equal(whole.positions, resumed.positions)


def _has_rdkit() -> bool:
    from importlib.util import find_spec

    return find_spec("rdkit") is not None


def _stop_after(step: int):
    def progress(done: int, _last: int) -> None:
        if done >= step:
            raise Stopped

    return progress


def killing(folder: Path, kills: int) -> dict[str, int]:
    """Run the killer in a process of its own."""
    done = python(HERE / "killing.py", folder, kills, 1, OMP_NUM_THREADS="1")
    return json.loads(done.stdout)


def test_killed_at_random(tmp_path: Path) -> None:
    assert killing(tmp_path, 8)["kills"] >= 8


@pytest.mark.slow
def test_killed_at_100_random_moments(tmp_path: Path) -> None:
    found = killing(tmp_path, 100)
    assert found["kills"] >= 100
    assert found["storing frames"] >= 10


def test_what_lies_there_is_not_lost(tmp_path: Path) -> None:
    out = tmp_path / "a.npz"
    five = MOLECULES["five"]
    out.write_bytes(b"old")
    with pytest.raises(InputError, match="already exists: give another name, or replace it"):
        simulate(five, **SHORT, out=out)
    with pytest.raises(InputError, match="exists"):
        simulate(five, **SHORT, out=out, resume=True)
    with pytest.raises(Stopped):
        simulate(five, **SHORT, out=out, overwrite=True, progress=stop_at(300))
    assert out.read_bytes() == b"old"
    with pytest.raises(InputError, match="unfinished simulation: continue it with --resume"):
        simulate(five, **SHORT, out=out)
    with pytest.raises(InputError, match=r"its seed is 0, now 1. Give the same command"):
        simulate(five, **SHORT, out=out, seed=1, resume=True)
    with pytest.raises(InputError, match="its molecule is five, now water"):
        simulate(MOLECULES["water"], **SHORT, out=out, resume=True)
    with (
        FileLock(folder_of(out) / "lock"),
        pytest.raises(InputError, match="another process is writing there"),
    ):
        simulate(five, **SHORT, out=out, resume=True)
    made = simulate(five, **SHORT, out=out, resume=True)
    with pytest.raises(InputError, match="finished with 150 frames, but 75 are requested"):
        simulate(five, **SHORT | {"steps": 300}, out=out, resume=True)
    assert np.array_equal(gfnode.load(out).positions, made.positions)


def test_a_damaged_folder(tmp_path: Path) -> None:
    out = tmp_path / "a.npz"
    with pytest.raises(Stopped):
        simulate(MOLECULES["five"], **SHORT, out=out, progress=stop_at(500))
    frames = folder_of(out) / "frames.bin"
    os.truncate(frames, frames.stat().st_size - 1)
    with pytest.raises(InputError, match=r"fewer than the .* frames counted in state.npz"):
        simulate(MOLECULES["five"], **SHORT, out=out, resume=True)
    (folder_of(out) / "state.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        simulate(MOLECULES["five"], **SHORT, out=out, resume=True)
    assert len(simulate(MOLECULES["five"], **SHORT, out=out, overwrite=True)) == 150


def test_a_failed_engine_can_be_resumed(tmp_path: Path) -> None:
    out = tmp_path / "a.npz"
    whole = simulate(MOLECULES["five"], **SHORT)
    simulation = prepare(MOLECULES["five"], **SHORT)
    simulation.dynamics._atoms.calc.left = 500  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="failed during the run: no convergence"):
        simulation.run(out)
    found = simulate(MOLECULES["five"], **SHORT, out=out, resume=True)
    assert np.array_equal(found.positions, whole.positions)


def test_a_molecule_that_comes_apart() -> None:
    simulation = prepare(MOLECULES["five"], **SHORT)
    simulation.dynamics.prepare()
    simulation.dynamics._atoms.calc.blow = True  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"not finite: the molecule has come apart; use a shorte"):
        simulation.dynamics.advance(1, equilibrating=False)


@pytest.mark.parametrize("suffix", [".extxyz", ".xtc", ".h5", ".dcd"])
def test_other_formats(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"five{suffix}"
    made = simulate(MOLECULES["five"], **SHORT, out=out)
    needs_top = suffix in (".xtc", ".dcd")
    assert (tmp_path / "five.pdb").exists() == needs_top
    read = gfnode.load(
        out,
        top=tmp_path / "five.pdb" if needs_top else None,
        step="2fs" if suffix == ".dcd" else None,
    )
    np.testing.assert_allclose(read.positions, made.positions, atol=0.006)
    assert record_of(out).exists()
    again = (
        simulate(MOLECULES["five"], **SHORT | {"resume": True}, out=out)
        if suffix != ".dcd"
        else read
    )
    assert len(again) == len(made)


def test_a_topology_that_is_there_stays(tmp_path: Path) -> None:
    gfnode.load("sample:toluene")[:1].save(tmp_path / "a.pdb")
    before = (tmp_path / "a.pdb").read_bytes()
    with pytest.raises(InputError, match="already exists with other atoms than"):
        simulate(MOLECULES["five"], **SHORT, out=tmp_path / "a.xtc")
    simulate(MOLECULES["five"], **SHORT, out=tmp_path / "b.xtc")
    (tmp_path / "b.pdb").write_bytes(kept := (tmp_path / "b.pdb").read_bytes() + b"REMARK mine\n")
    simulate(MOLECULES["five"], **SHORT, out=tmp_path / "b.xtc", overwrite=True)
    assert (tmp_path / "b.pdb").read_bytes() == kept
    assert (tmp_path / "a.pdb").read_bytes() == before


def test_the_command_in_the_file_makes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from gfnode.cli import app

    pytest.importorskip("tblite")
    monkeypatch.chdir(tmp_path)
    first = simulate(
        "ethanol",
        temperature="400K",
        steps=60,
        time_step="0.4fs",
        every="2fs",
        equilibrate="8fs",
        seed=7,
        replica=2,
        degrees="3N",
        options={"accuracy": 0.5},
        out="a.npz",
    )
    _, command = gfnode.load("a.npz").source.split("gfnode simulate ")
    words = ["simulate", *shlex.split(command), "--out", "b.npz"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert np.array_equal(gfnode.load("b.npz").positions, first.positions)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"steps": None}, "give either the number of steps"),
    ({"length": "1ps"}, "give either the number of steps"),
    ({"steps": 3}, "give no frame"),
    ({"temperature": "-5K"}, "expected a number of kelvin"),
    ({"temperature": "warm"}, "expected a number of kelvin"),
    ({"temperature": "0K"}, "a thermostat needs one above zero"),
    ({"time_step": "0fs"}, "above zero"),
    ({"time_step": "fast"}, "cannot read the time"),
    ({"every": "0.7fs"}, "whole number of time steps of 0.5 fs"),
    ({"every": "0fs"}, "at least one"),
    ({"equilibrate": "-1ps"}, "whole number of time steps"),
    ({"thermostat": "nose"}, "unknown thermostat 'nose': expected bussi, langevin, none"),
    ({"coupling": "0fs"}, "coupling is 0fs"),
    ({"degrees": "3N-6"}, "expected free or 3N"),
    ({"degrees": "3N", "thermostat": "langevin"}, "neither drifts nor rotates"),
    ({"seed": -1}, "must not be negative"),
    ({"steps": 1e2}, r"steps is 100\.0, expected a whole number"),
    ({"seed": 1.5}, r"seed is 1\.5, expected a whole number"),
    ({"steps": None, "length": np.inf}, "length is inf, expected a finite time"),
    ({"every": np.nan}, "every is nan, expected a finite time"),
    ({"equilibrate": np.inf}, "equilibrate is inf, expected a finite time"),
    ({"engine": "no:Thing"}, "cannot be imported"),
    ({"openmm": {"solvent": "obc"}}, "--solvent is for --engine openmm"),
    ({"options": {"fail_after": 0}}, "cannot handle this molecule: no convergence"),
    ({"out": "there/a.npz"}, "folder there does not exist"),
    ({"out": "a.abc"}, "unknown format .abc"),
    ({"out": "."}, "unknown format"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=lambda each: str(each)[:40])
def test_bad_input(
    change: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        simulate(MOLECULES["five"], **SHORT | change)
    assert not list(tmp_path.iterdir())


def test_one_atom_is_refused() -> None:
    from gfnode.simulate.molecules import Molecule

    atom = Molecule("argon", "a test", np.array([18]), np.zeros((1, 3)))
    with pytest.raises(InputError, match="a single atom"):
        simulate(atom, engine="lj", steps=100)


def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Store, *_: object) -> None:
        raise InputError(f"{folder_of(self.path)}: cannot be written: No space left on device")

    out = tmp_path / "a.npz"
    with monkeypatch.context() as patched:
        patched.setattr(Store, "append", full)
        with pytest.raises(InputError, match="No space left"):
            simulate(MOLECULES["five"], **SHORT, out=out)
    assert len(simulate(MOLECULES["five"], **SHORT, out=out, resume=True)) == 150
