"""``gfnode simulate``."""

import json
import re
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from springs import FIVE
from typer.testing import CliRunner

import commands
import gfnode
from gfnode.cli import app
from gfnode.simulate.report import Pace
from gfnode.simulate.run import prepare

SHORT = ("--engine", "springs:Springs", "--steps", "200", "--equilibrate", "20fs")


@pytest.fixture(autouse=True)
def five(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a structure file."""
    lines = [
        f"{symbol} {x:.9f} {y:.9f} {z:.9f}" for symbol, (x, y, z) in zip("CNOCN", FIVE, strict=True)
    ]
    monkeypatch.chdir(tmp_path)
    Path("five.xyz").write_text("\n".join(["5", "", *lines, ""]))


call, works, fails = (
    partial(each, "simulate") for each in (commands.call, commands.works, commands.fails)
)


def test_what_no_disk_has_room_for_is_refused_before_the_steps() -> None:
    said = fails("five.xyz", "--engine", "springs:Springs", "--length", "1e25ps", "--every", "1fs")
    assert re.search(r"five\.npz: 1e\+28 frames need \S+ GB, but the disk has \S+ GB left", said)
    assert not [each for each in Path().iterdir() if each.suffix != ".xyz"]


def test_says_what_it_made_and_what_comes_next() -> None:
    said = works("five.xyz", *SHORT)
    assert "five.npz: Trajectory(five: 20 frames of 5 atoms C2N2O, every 5 fs, 95 fs)" in said
    record = json.loads(Path("five.simulation.json").read_text())["result"]
    heat = record["temperature_K"]
    assert f"temperature: {heat:.1f} K [" in said
    assert "over 9 degrees of freedom, set to 300 K" in said
    assert "conserved energy: drift" in said
    assert "momentum, angular momentum: at most" in said
    command = said.splitlines()[-1].strip()
    assert command == "gfnode data five.npz"
    result = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
    assert result.exit_code == 0
    assert "already finished" in works("five.xyz", *SHORT, "--resume")


def test_bonds_that_are_not_those_of_the_start_are_named() -> None:
    assert "bonds changed" not in works("five.xyz", *SHORT)
    near = FIVE.copy()
    near[1] = FIVE[0] + 1.3 * (FIVE[1] - FIVE[0]) / np.linalg.norm(FIVE[1] - FIVE[0])
    at = ["5", "", *("{} {} {} {}".format(s, *x) for s, x in zip("CNOCN", near, strict=True)), ""]
    Path("near.xyz").write_text("\n".join(at))  # a bond that the springs do not hold
    said = works("near.xyz", *SHORT)
    assert "bonds changed since the start: C0–N1, N1–O2 broke" in said


def test_what_is_finished_is_not_rounded_any_more() -> None:
    works("five.xyz", *SHORT, "--precision", "1e-3")
    works("five.xyz", *SHORT, "--resume")
    works("five.xyz", *SHORT, "--resume", "--precision", "0.001")
    said = fails("five.xyz", *SHORT, "--resume", "--precision", "0.01")
    assert "with positions rounded to 0.001 Å, but 0.01 Å is requested" in said
    works("five.xyz", *SHORT, "--out", "b.npz")
    said = fails("five.xyz", *SHORT, "--out", "b.npz", "--resume", "--precision", "0.01")
    assert "with positions not rounded" in said


def test_replicas_are_independent() -> None:
    works("five.xyz", *SHORT, "--replicas", "2", "--out", "e.npz")
    first, second = gfnode.load("e-0.npz"), gfnode.load("e-1.npz")
    assert not np.array_equal(first.positions, second.positions)
    works("five.xyz", *SHORT, "--replica", "1", "--out", "again.npz")
    assert np.array_equal(gfnode.load("again.npz").positions, second.positions)


def test_formats_without_elements() -> None:
    said = works("five.xyz", *SHORT, "--out", "a.dcd")
    assert said.splitlines()[-1].strip() == "gfnode data a.dcd --top a.pdb --step 5fs"
    assert "topology: a.pdb" in said


def test_precision_makes_a_small_file() -> None:
    works("five.xyz", *SHORT, "--out", "fine.npz")
    works("five.xyz", *SHORT, "--out", "coarse.npz", "--precision", "1e-3")
    for name, said in (("c.npz", "at most 0.1 Å"), ("c.xtc", "only .npz files take a precision")):
        assert said in fails("five.xyz", *SHORT, "--out", name, "--precision", "3")
        assert not list(Path().glob("c.*"))  # refused before the steps
    fine, coarse = gfnode.load("fine.npz"), gfnode.load("coarse.npz")
    np.testing.assert_allclose(coarse.positions, fine.positions, atol=6e-4)
    assert Path("coarse.npz").stat().st_size < Path("fine.npz").stat().st_size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("five.xyz", *SHORT, "--resume", "--overwrite"), "give only one of them"),
        (("five.xyz", *SHORT, "--replicas", "0"), "expected a whole number from 1"),
        (("five.xyz", *SHORT, "--option", "stiffness"), "--option stiffness: expected key=value"),
        (("five.xyz", *SHORT, "--option", "colour=1"), "cannot be created with colour=1"),
        (("five.xyz", *SHORT, "--temperature", "-3K"), "expected a number of kelvin"),
        (("five.xyz", *SHORT, "--length", "1ps"), "give either"),
        (("five.xyz", *SHORT, "--platform", "CPU"), "--platform is for --engine openmm"),
        (("five.xyz", *SHORT, "--out", "a.abc"), "unknown format .abc"),
        (("four.xyz", *SHORT), "no such file; did you mean five.xyz?"),
    ],
)
def test_errors(words: tuple[str, ...], message: str) -> None:
    assert message in fails(*words)
    assert [each.name for each in Path().iterdir()] == ["five.xyz"]


def test_an_existing_file_stays() -> None:
    Path("five.npz").write_text("mine")
    assert "five.npz: already exists: give another name" in fails("five.xyz", *SHORT)
    assert Path("five.npz").read_text() == "mine"
    works("five.xyz", *SHORT, "--overwrite")
    assert len(gfnode.load("five.npz")) == 20


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = works("five.xyz", *SHORT, "--out", "whole.npz") and gfnode.load("whole.npz")
    monkeypatch.setattr("gfnode.simulate.run.SAVE_EVERY_S", 0.0)

    def interrupt(self: Pace, step: int) -> str:
        if step > 120:
            raise KeyboardInterrupt
        return ""

    with monkeypatch.context() as patched:
        patched.setattr(Pace, "describe", interrupt)
        result = call("five.xyz", *SHORT)
    assert result.exit_code == 130
    assert result.stderr == "interrupted; continue with the same command and --resume\n"
    assert "holds an unfinished simulation" in fails("five.xyz", *SHORT)
    works("five.xyz", *SHORT, "--resume")
    assert np.array_equal(gfnode.load("five.npz").positions, whole.positions)


def test_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 steps of 0.5 fs in 2 s: 50 steps/s, 2.16 ns/day, and 1900 steps are left."""
    plan = prepare("five.xyz", engine="springs:Springs", steps=2000, equilibrate="5fs").protocol
    now = [10.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pace = Pace(plan)
    pace.describe(0)
    now[0] = 12.0
    said = pace.describe(100)
    assert plan.last_step == 2000
    assert said == "45 fs of 995 fs, 50 steps/s, 2.16 ns/day, 38 s left"
