"""Run folders, and places to write to, that nothing can be written to: told before the work."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import gfnode
from commands import call, fails, works
from gfnode.errors import InputError
from gfnode.examples import evaluated
from gfnode.files import TemporaryFile
from gfnode.run import Run
from making import quick_run, wiggle

LOCKED = f"cannot be written: {os.strerror(errno.EROFS)}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return quick_run(wiggle().save(folder / "w.npz"), folder / "run").folder


@pytest.fixture
def locked(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run in a folder that is read-only, also for root."""
    folder = shutil.copytree(made, tmp_path / "locked" / "run")

    def opened(**options: Any) -> Any:
        if Path(options["dir"]).is_relative_to(folder.parent):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return TemporaryFile(**options)

    monkeypatch.setattr("gfnode.files.TemporaryFile", opened)
    return folder


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is predicted, measured or read of data."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("it went to work")

    for name in (
        "run.run.evaluate",
        "physics.assess",
        "run.fitting.prepare",
        "rollout.apply.steps",
    ):
        monkeypatch.setattr(f"gfnode.{name}", work)


@pytest.mark.usefixtures("idle")
def test_python_says_at_once_that_results_cannot_be_kept(locked: Path) -> None:
    run = Run.open(locked)
    with pytest.raises(InputError, match=rf"evaluation\.json: {LOCKED}.*save=False"):
        run.evaluate()
    with pytest.raises(InputError, match=rf"physics\.json: {LOCKED}.*save=False"):
        run.physics()


def test_results_are_shown_and_not_kept(locked: Path, tmp_path: Path) -> None:
    Run.open(locked).evaluate(save=False)
    before = {path.name: path.stat().st_mtime_ns for path in locked.iterdir()}
    done = call("evaluate", locked, "--json", tmp_path / "e.json")
    assert done.exit_code == 0, done.output
    told = f"evaluation.json: {LOCKED}: results are shown, but only --json FILE saves them"
    assert told in done.stderr
    assert "error of baselines" in done.stdout or "persistence" in done.stdout
    assert "physics" in (tmp_path / "e.json").read_text()
    assert {path.name: path.stat().st_mtime_ns for path in locked.iterdir()} == before


@pytest.mark.usefixtures("idle")
def test_a_report_that_lacks_its_numbers_says_where_it_can_be_made(
    locked: Path, tmp_path: Path
) -> None:
    said = fails("report", locked, "--out", tmp_path / "r.html")
    assert LOCKED in said
    assert "copy the run folder" in said
    assert f"report.html: {LOCKED}" in fails("report", locked)


def test_a_report_of_an_evaluated_run_is_made_elsewhere(
    made: Path, locked: Path, tmp_path: Path
) -> None:
    works("report", made, "--no-physics", "--out", tmp_path / "a.html")
    for path in made.iterdir():
        if path.is_file():
            shutil.copy2(path, locked / path.name)
    works("report", locked, "--out", tmp_path / "b.html", "--no-physics")


@pytest.mark.usefixtures("idle")
def test_training_and_long_predictions_say_it_before_they_begin(locked: Path, made: Path) -> None:
    data, out = made.parent / "w.npz", locked.parent / "new"
    assert LOCKED in fails("train", "--data", data, "--out", out / "run")
    assert not out.exists()
    out = locked.parent / "a.npz"
    with pytest.raises(InputError, match=LOCKED):
        gfnode.load(data).save(out)
    assert LOCKED in fails("rollout", made, "--start", data, "--length", "1ps", "--out", out)


def test_an_evaluation_that_was_cut_off_is_none(made: Path, tmp_path: Path, monkeypatch) -> None:
    """New errors of windows beside the numbers of older weights, or the other way round."""
    folder = shutil.copytree(made, tmp_path / "run")
    run = Run.open(folder)
    run.evaluate()
    assert evaluated(folder)
    next(run.model.parameters()).data += 0.1
    run.save_best(run.model)
    assert not evaluated(folder)
    for name in ("write_arrays", "write_json"):

        def full(path: Path, _: object) -> None:
            raise InputError(f"{path}: cannot be written: No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(f"gfnode.evaluation.{name}", full)
            with pytest.raises(InputError, match="No space"):
                run.evaluate()
        assert not evaluated(folder), name
