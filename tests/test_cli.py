"""The command line, as the docs write it: in one process, and as real processes."""

import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import gfnode
from commands import call, fails, works
from gfnode.cli import console
from gfnode.models.gfnode import GraphFourierODE
from gfnode.presets import PRESETS, SUMMARIES
from gfnode.run import VERSION, Run
from processes import python

COMMANDS = (
    *("data", "spectrum", "train", "evaluate", "report", "predict", "sample"),
    *("rollout", "reproduce", "models", "settings", "simulate"),
)
BASELINES = ("persistence", "constant-velocity", "mean-conformer", "rigid-rotor")
SMALL = (
    *("--set", "windows.most=[64,32,32]", "--set", "windows.horizon=200fs"),
    *("--set", "training.epochs=1", "--set", "training.batch=32"),
    *("--set", "model.width=8", "--set", "model.encoder_layers=1"),
)


def process(*words: str | Path, **options: object) -> "subprocess.Popen[str]":
    """The installed command as a process."""
    return subprocess.Popen(
        [sys.executable, "-c", "from gfnode.cli import main; main()", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        **options,  # type: ignore[call-overload]
    )


@pytest.fixture(scope="module")
def toluene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A piece of the sample: 3 ps."""
    path = tmp_path_factory.mktemp("data") / "toluene.npz"
    return gfnode.load("sample:toluene")[:600].save(path)


@pytest.fixture(scope="module")
def run(toluene: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run folder; tests only read it."""
    folder = tmp_path_factory.mktemp("runs") / "toluene"
    works("train", "--data", toluene, *SMALL, "--out", folder)
    return folder


class TestHelp:
    def test_lists_every_command(self):
        said = works("--help")
        for command in COMMANDS:
            assert re.search(rf"^  {command} ", said, re.M), said
        assert "sample:toluene" in said

    @pytest.mark.parametrize("command", COMMANDS)
    def test_shows_examples(self, command):
        said = works(command, "--help")
        examples = re.findall(rf"^ +(gfnode {command}.*)$", said, re.M)
        assert len(examples) >= 1, said

    def test_version(self):
        assert works("--version") == f"gfnode {gfnode.__version__}\n"

    def test_answers_without_the_heavy_libraries(self):
        code = (
            "import sys; from typer.testing import CliRunner; from gfnode import cli; "
            "assert CliRunner().invoke(cli.app, ['--help']).exit_code == 0; "
            "print([m for m in ('torch', 'numpy', 'matplotlib', 'scipy') if m in sys.modules])"
        )
        assert python("-c", code).stdout == "[]\n"


class TestLists:
    def test_models_with_their_symmetries(self):
        said = works("models")
        for name in ("gfnode", *BASELINES):
            assert re.search(rf"^ +{name} +\w", said, re.M)
        assert re.search(r"^ +rigid-rotor .*all but reflection, start", said, re.M)
        assert "gfnode settings model --model NAME" in said

    def test_every_preset_has_a_sentence(self):
        assert set(SUMMARIES) == set(PRESETS)
        said = works("models")
        assert all(f"--preset {name}: " in said for name in PRESETS)

    def test_settings_say_what_they_mean(self):
        said = works("settings", "rate", "hops")
        assert "training.rate" in said
        assert "Learning rate of the networks." in said
        assert "graph.hops" in said
        assert "training.epochs" not in said
        assert "no setting has 'nonsense' in its name" in fails("settings", "nonsense")
        assert "unknown model 'egn'" in fails("settings", "--model", "egn")

    def test_settings_can_be_given_back(self, toluene, tmp_path):
        said = works("settings", "--plain", "--preset", "published").splitlines()
        assert 'windows.split="published"' in said
        assert "seed=53" in said
        changes = [word for line in said for word in ("--set", line)]
        # the published split does not fit this short piece: all settings were understood
        told = fails("train", "--data", toluene, *changes, "--out", tmp_path / "run")
        assert "the published split needs more than 23001 frames" in told


class TestTrain:
    def test_says_what_it_chose_with_units(self, toluene, tmp_path):
        said = works("train", "--data", toluene, *SMALL, "--out", tmp_path / "run")
        for phrase in (
            "toluene (C7H8): 15 atoms, 600 frames over 2.995 ps, time step 5 fs",
            "64 train, 12 validation, 32 test (blocked split)",
            "horizon of 200 fs",
            "15 bonds",
            "gfnode, ",
            " weights",
            "Å² per coordinate",
            f"gfnode evaluate {tmp_path / 'run'}",
            f"gfnode predict {tmp_path / 'run'} --start {toluene}",
        ):
            assert phrase in said, said

    def test_settings_are_json_or_text(self, toluene, tmp_path):
        works(
            *("train", "--data", toluene, *SMALL, "--set", "windows.lags=irregular"),
            *("--set", "training.clip=null", "--set", "seed=7", "--out", tmp_path / "run"),
        )
        kept = json.loads((tmp_path / "run" / "run.json").read_text())["experiment"]
        assert kept["windows"]["lags"] == "irregular"
        assert kept["windows"]["horizon"] == 200.0
        assert kept["windows"]["most"] == [64, 32, 32]
        assert kept["training"]["clip"] is None
        assert kept["seed"] == 7

    def test_replicas(self, toluene, tmp_path):
        said = works("train", *("--data", toluene) * 2, *SMALL, "--out", tmp_path / "run")
        assert said.count("data      ") == 1  # not one for each of a thousand molecules
        assert "data      2 × toluene (C7H8): 15 atoms" in said

    def test_replicas_in_another_order_are_the_same_data(self, toluene, tmp_path):
        other = gfnode.load("sample:toluene")[600:1200].save(tmp_path / "other.npz")
        out = tmp_path / "run"
        works("train", "--data", toluene, "--data", other, *SMALL, "--out", out)
        for files in ((toluene, other), (other, toluene)):
            words = (word for file in files for word in ("--data", file))
            said = works("evaluate", out, *words)
            assert "test part of the training data: " in said
            assert "plot: " in said

    def test_a_model_without_weights(self, toluene, tmp_path):
        out = tmp_path / "run"
        words = ("--set", "model.name=persistence", "--set", "windows.horizon=200fs")
        assert "persistence, 0 weights" in works("train", "--data", toluene, *words, "--out", out)
        works("evaluate", out, "--json", tmp_path / "e.json")
        result = json.loads((tmp_path / "e.json").read_text())
        assert result["model"] == "persistence"
        assert set(result["methods"]) == set(BASELINES)

    def test_an_interrupted_run_goes_on_to_the_same_weights(self, toluene, tmp_path):
        words = ("train", "--data", str(toluene), *SMALL, "--set", "training.epochs=40")

        def heed() -> None:  # a shell may have started the tests with interrupts ignored
            signal.signal(signal.SIGINT, signal.default_int_handler)

        running = process(*words, "--out", tmp_path / "run", preexec_fn=heed)
        assert running.stderr is not None
        assert "fitted, before training" in running.stderr.readline()
        assert "epoch 1" in running.stderr.readline()  # one epoch is done, and kept
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
        assert running.returncode == 130, said
        last = f"interrupted; continue with: gfnode train --resume --out {tmp_path / 'run'}"
        assert said.splitlines()[-1] == last
        assert "Traceback" not in said
        said = works("train", "--resume", "--out", tmp_path / "run")
        assert "all epochs done" in said
        assert "training has already ended" not in said
        works(*words, "--out", tmp_path / "whole")
        one, other = (load_file(tmp_path / k / "weights.safetensors") for k in ("run", "whole"))
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one)

    def test_a_run_that_is_told_to_end_says_how_to_go_on(self, toluene, tmp_path):
        """SIGTERM: what a cluster sends at the end of the time limit."""
        words = ("train", "--data", str(toluene), *SMALL, "--set", "training.epochs=4000")
        running = process(*words, "--out", tmp_path / "run")
        assert running.stderr is not None
        running.stderr.readline()
        assert "epoch 1" in running.stderr.readline()
        running.terminate()
        _, said = running.communicate(timeout=60)
        assert running.returncode == 130, said
        last = f"interrupted; continue with: gfnode train --resume --out {tmp_path / 'run'}"
        assert said.splitlines()[-1] == last
        assert "Traceback" not in said


class TestEvaluate:
    def test_tables_verdicts_and_plot(self, run):
        said = works("evaluate", run)
        assert "toluene (C7H8), test part of the training data: 32 windows in " in said
        assert "8 lags up to 200 fs; 7 of 15 atoms scored; targets not superposed" in said
        assert "Mean squared error in 10⁻² Å², with 95 % intervals" in said
        assert len(re.findall(r"\bup to  ", said)) == 8
        words = r"better than|worse than|indistinguishable from"
        for name in BASELINES:
            assert re.search(
                rf"^gfnode is ({words}) {name}( \(best trivial baseline\))?: ", said, re.M
            )
        assert said.count("(best trivial baseline)") == 1
        assert (run / "error_against_lag.png").stat().st_size > 10_000

    def test_numbers_in_the_table_are_those_of_the_json(self, run, tmp_path, monkeypatch):
        monkeypatch.setattr(console, "WIDTH", 200)  # wide intervals on one line
        said = works("evaluate", run, "--no-plot", "--json", tmp_path / "errors.json")
        result = json.loads((tmp_path / "errors.json").read_text())
        assert result["unit"] == "angstrom^2 per coordinate"
        assert set(result["methods"]) == {"gfnode", *BASELINES}
        assert set(result["verdicts"]) == set(BASELINES)
        for name, method in result["methods"].items():
            row = next(each for each in said.splitlines() if each.split()[:1] == [name])
            cells = re.sub(r"\[[^]]*\]", "", row)  # without the intervals
            printed = [float(cell) for cell in cells.split()[1:]]
            keys = ("mean_over_lags", "last_lag", "eq14_mean_over_lags")
            keys += ("superposed_mean_over_lags",)
            assert printed == pytest.approx([100 * method[k]["value"] for k in keys], rel=6e-3)
            assert method["eq14_last_lag"]["value"] == pytest.approx(
                3 * method["last_lag"]["value"]
            )
        weights = hashlib.sha256((run / "weights.safetensors").read_bytes()).hexdigest()
        for name, numbers in (("physics", result.pop("physics")), ("evaluation", result)):
            kept = json.loads((run / f"{name}.json").read_text())
            assert kept == numbers | {"weights_sha256": weights}

    def test_json_on_the_console_is_alone_on_stdout(self, run):
        result = call("evaluate", run, "--no-plot", "--json", "-")
        assert json.loads(result.stdout)["windows"] == 32
        assert "Mean squared error" in result.stderr

    def test_other_data(self, run, tmp_path):
        other = gfnode.load("sample:toluene")[3000:3300].save(tmp_path / "other.npz")
        works("evaluate", run)
        before = {path: path.stat().st_mtime_ns for path in run.iterdir()}
        said = works("evaluate", run, "--data", other, "--json", tmp_path / "errors.json")
        assert "all windows of other data: 32 windows" in said
        assert "plot:" not in said
        assert {path: path.stat().st_mtime_ns for path in run.iterdir()} == before

    def test_data_given_by_a_relative_name_is_found_from_any_folder(
        self, toluene, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(toluene.parent)
        words = ("--set", "model.name=mean-conformer", "--set", "windows.horizon=200fs")
        works("train", "--data", toluene.name, *words, "--out", tmp_path / "run")
        home = works("evaluate", tmp_path / "run", "--no-plot")
        monkeypatch.chdir(tmp_path)
        away = works("evaluate", "run", "--no-plot")
        table = [each[each.index("Mean squared error") :].splitlines() for each in (home, away)]
        assert table[0] == table[1]
        assert any(row.startswith("mean-conformer ") for row in table[0])


class TestPredict:
    @pytest.mark.parametrize("suffix", [".xtc", ".npz", ".extxyz"])
    def test_writes_the_times_asked_for(self, run, toluene, tmp_path, suffix):
        out = tmp_path / f"predicted{suffix}"
        said = works(
            *("predict", run, "--start", toluene, "--frame", "10"),
            *("--times", "0.2ps,50fs,100fs", "--out", out),
        )
        assert "3 frames of 15 atoms (C7H8), 50 fs to 200 fs after frame 10 of toluene" in said
        top = out.with_suffix(".pdb") if suffix == ".xtc" else None
        found = gfnode.load(out, top=top)
        assert found.times.tolist() == pytest.approx([100, 150, 250])  # frame 10 is at 50 fs
        expected = gfnode.Run.open(run).predict(gfnode.load(toluene), [50, 100, 200], frame=10)
        assert found.positions == pytest.approx(expected.positions, abs=6e-3)

    def test_a_range_of_times_from_the_sample(self, run, tmp_path):
        out = tmp_path / "p.npz"
        words = ("--start", "sample:toluene", "--times", "50fs:0.2ps:50fs", "--out", out)
        assert "4 frames" in works("predict", run, *words)
        assert gfnode.load(out).times.tolist() == pytest.approx([50, 100, 150, 200])

    def test_beyond_the_horizon_warns_in_one_line(self, run, toluene, tmp_path):
        out = tmp_path / "p.npz"
        result = call("predict", run, "--start", toluene, "--times", "1ps", "--out", out)
        assert result.exit_code == 0
        warned, note = result.stderr.splitlines()
        assert warned.startswith("warning: 1 ps is beyond the training horizon of 200 fs")
        assert note.startswith("note: 8 of 15 atoms were not part of the training loss")
        assert out.exists()

    @pytest.mark.parametrize(
        ("times", "message"),
        [
            ("0fs", "later than the start: got 0 fs"),
            ("1e400fs", "the time '1e400fs' is too large: expected a finite one"),
            ("-5fs,100fs", "later than the start: got -5 fs"),
            ("100", "cannot read the time '100': expected a number with a unit"),
            ("1fs:2fs", "cannot read the range '1fs:2fs'"),
            ("1ps:1fs:1fs", "cannot read the range"),
            (",", "no time in ','"),
        ],
    )
    def test_times_that_cannot_be(self, run, toluene, tmp_path, times, message):
        out = tmp_path / "p.npz"
        told = fails("predict", run, "--start", toluene, f"--times={times}", "--out", out)
        assert message in told
        assert not out.exists()

    def test_other_atoms(self, run, toluene, tmp_path):
        other = gfnode.load(toluene)
        other = other.select(np.arange(14)).save(tmp_path / "other.npz")
        words = ("--times", "50fs", "--out", tmp_path / "p.npz")
        told = fails("predict", run, "--start", other, *words)
        assert "14 atoms" in told
        assert "trained on 15 atoms" in told

    def test_a_frame_that_is_not_there(self, run, toluene, tmp_path):
        words = ("--frame", "600", "--times", "50fs", "--out", tmp_path / "p.npz")
        assert "no frame 600" in fails("predict", run, "--start", toluene, *words)

    @pytest.mark.parametrize(
        ("name", "message"),
        [("p.xyzw", "unknown format .xyzw"), ("none/p.npz", "does not exist"), ("", "is a folder")],
    )
    def test_a_file_that_cannot_be_written(self, run, toluene, tmp_path, name, message):
        words = ("--start", toluene, "--times", "50fs", "--out", tmp_path / name)
        told = fails("predict", run, *words)
        assert message in told or "unknown format" in told


def truncated(folder: Path, good: Path) -> str:
    (folder / "cut.npz").write_bytes(good.read_bytes()[:-2000])
    return str(folder / "cut.npz")


def npz(**arrays: object):
    def make(folder: Path, good: Path) -> str:
        np.savez(folder / "made.npz", **arrays)  # type: ignore[arg-type]
        return str(folder / "made.npz")

    return make


R, Z = np.zeros((50, 3, 3)) + np.eye(3), np.array([8, 1, 1])
NOT_FINITE = R.copy()
NOT_FINITE[3, 1, 2] = np.nan
DATA = {
    "missing file": (lambda folder, good: folder / "toluen.npz", "no such file"),
    "folder": (lambda folder, good: folder, "is a folder, expected a file"),
    "truncated": (truncated, "cut.npz: "),
    "wrong keys": (npz(X=R, z=Z), "made.npz: "),
    "object array": (npz(R=R, z=np.array([8, 1, None])), "made.npz: "),
    "not finite": (npz(R=NOT_FINITE, z=Z, theory="1 fs step"), "not finite at frame 3, atom 1"),
    "unknown element": (npz(R=R, z=np.array([8, 1, 300])), "atomic number 300"),
    "no times": (npz(R=R, z=Z), "--step"),
    "unknown sample": (lambda folder, good: "sample:water", "expected sample:toluene"),
    "no topology": (npz(R=R, z=Z), "made.npz: "),
}

SETTINGS = {
    "unknown key": (["training.epoch=5"], "did you mean 'training.epochs'?"),
    "unknown option": (["model.widht=5"], "did you mean 'width'?"),
    "unknown model": (["model.name=gfnod"], "did you mean 'gfnode'?"),
    "not key=value": (["epochs"], "expected key=value"),
    "wrong kind": (["training.epochs=many"], "training.epochs"),
    "wrong value": (["training.epochs=0"], "greater than or equal to 1"),
    "time without unit": (["windows.horizon=1parsec"], "cannot read the time '1parsec'"),
    "a section": (["training=5"], "training"),
    "horizon beyond the trajectory": (["windows.horizon=5ps"], "trajectory spans 2.995 ps"),
    "horizon zero": (["windows.horizon=0fs"], "horizon 0 fs does not fit"),
    "lag zero": (["windows.lags=given", 'windows.given_lags=["0fs"]'], "times above zero"),
    "lag negative": (
        ["windows.lags=given", 'windows.given_lags=["-5fs", "10fs"]'],
        "times above zero",
    ),
    "fewer windows than a batch": (
        ["windows.horizon=200fs", "windows.most=[10,5,5]", "training.batch=64"],
        "10 training windows do not fill a batch of 64",
    ),
}


class TestBadInput:
    @pytest.mark.parametrize("case", DATA)
    def test_data(self, case, toluene, tmp_path):
        make, message = DATA[case]
        out = tmp_path / "run"
        told = fails("train", "--data", make(tmp_path, toluene), *SMALL, "--out", out)
        assert message in told
        assert not out.exists()

    @pytest.mark.parametrize("case", SETTINGS)
    def test_settings(self, case, toluene, tmp_path):
        items, message = SETTINGS[case]
        out = tmp_path / "run"
        words = [word for item in items for word in ("--set", item)]
        assert message in fails("train", "--data", toluene, *words, "--out", out)
        assert not out.exists()

    def test_xtc_without_topology(self, run, toluene, tmp_path):
        gfnode.load(toluene)[:3].save(tmp_path / "t.xtc")
        told = fails("train", "--data", tmp_path / "t.xtc", "--out", tmp_path / "run")
        assert "give the topology with --top" in told

    def test_unknown_preset(self, toluene, tmp_path):
        told = fails("train", "--data", toluene, "--preset", "best", "--out", tmp_path / "run")
        assert "unknown preset 'best': expected default, paper, published" in told

    def test_no_data(self):
        assert "gfnode train sample:toluene" in fails("train")

    def test_an_existing_run_is_not_overwritten(self, run, toluene):
        before = (run / "run.json").read_bytes()
        told = fails("train", "--data", toluene, *SMALL, "--out", run)
        assert "already holds a run: continue it (--resume" in told
        assert (run / "run.json").read_bytes() == before

    def test_resume_takes_no_settings(self, run, toluene):
        assert "leave out --data" in fails("train", "--resume", "--data", toluene, "--out", run)
        assert "--out RUN" in fails("train", "--resume")

    def test_what_to_do_next_where_the_data_is_gone(self, run, toluene, tmp_path):
        said = works("train", "--resume", "--out", run)
        assert said.startswith("training has already ended (all epochs done); ")
        assert "in another folder with more than --set training.epochs=" in said
        assert f"gfnode evaluate {run}\n" in said
        assert f"--start {toluene} --times 200fs" in said
        shutil.copytree(run, tmp_path / "moved")
        facts = json.loads((run / "run.json").read_text())
        facts["data"][0]["file"] = str(tmp_path / "gone.npz")
        (tmp_path / "moved" / "run.json").write_text(json.dumps(facts))
        said = works("train", "--resume", "--out", tmp_path / "moved")
        assert f"{tmp_path / 'gone.npz'} no longer exists" in said
        assert f"gfnode evaluate {tmp_path / 'moved'} --data FILE" in said
        assert "--start FILE --times 200fs" in said

    def test_files_need_no_option(self, toluene: Path, tmp_path: Path) -> None:
        out, other = tmp_path / "run", tmp_path / "other.npz"
        gfnode.load(toluene)[:1500].save(other)
        works("train", other, "--data", toluene, *SMALL, "--out", out)
        assert [data["file"] for data in Run.open(out).facts["data"]] == [str(other), str(toluene)]

    def test_resume_of_nothing(self, tmp_path):
        assert "does not exist" in fails("train", "--resume", "--out", tmp_path / "none")

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            (
                "accelerator=cuda",
                "accelerator=cuda cannot be used here: PyTorch finds no such device",
            ),
            ("windows.split=all", "leaves no windows for validation"),
            ('windows.given_lags=["100fs"]', "also set windows.lags=given"),
            ("windows.most=[0,1,1]", "windows.most.0: Input should be greater than 0"),
            ("seed=99999999999999999999999", "less than 4294967296"),
        ],
    )
    def test_training_that_cannot_begin_leaves_no_folder(
        self, toluene: Path, tmp_path: Path, setting: str, message: str
    ) -> None:
        if "cuda" in setting and torch.cuda.is_available():
            pytest.skip("it can")
        words = ("train", "--data", toluene, *SMALL, "--set", setting, "--out", tmp_path / "run")
        assert message in fails(*words)
        assert not (tmp_path / "run").exists()

    def test_one_atom(self, tmp_path: Path) -> None:
        drifting = np.linspace(0, 1, 400)[:, None, None] * np.ones(3)
        path = gfnode.Trajectory(drifting, np.arange(400.0), np.array([18])).save(
            tmp_path / "a.npz"
        )
        assert "select two or more" in fails("train", "--data", path, "--out", tmp_path / "run")

    @pytest.mark.parametrize("command", ["predict", "sample", "rollout"])
    def test_the_start_is_never_written_over(
        self, run: Path, toluene: Path, tmp_path: Path, command: str
    ) -> None:
        mine = tmp_path / "mine.npz"
        mine.write_bytes(toluene.read_bytes())
        how = ("--length", "1ps") if command == "rollout" else ("--times", "100fs")
        said = fails(command, run, "--start", mine, *how, "--out", tmp_path / "." / "mine.npz")
        assert "is an input" in said
        assert mine.read_bytes() == toluene.read_bytes()

    def test_what_another_process_wrote_meanwhile_is_kept(
        self, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, does = tmp_path / "p.npz", Run.predict

        def meanwhile(*args, **options):
            out.write_text("of another")
            return does(*args, **options)

        monkeypatch.setattr(Run, "predict", meanwhile)
        words = ("--start", "sample:toluene", "--times", "100fs", "--out", out)
        assert "already exists" in fails("predict", run, *words)
        assert out.read_text() == "of another"

    def test_a_prediction_that_is_there_is_kept(self, run: Path, tmp_path: Path) -> None:
        words = ("--start", "sample:toluene", "--times", "100fs", "--out", tmp_path / "p.npz")
        works("predict", run, *words)
        before = (tmp_path / "p.npz").read_bytes()
        for command in ("predict", "sample"):
            said = fails(command, run, *words)
            assert "already exists: give another name, or replace it with --overwrite" in said
        (tmp_path / "e-1ps.npz").touch()  # one of the files of several times
        times = ("--start", "sample:toluene", "--times", "100fs,1ps", "--out", tmp_path / "e.npz")
        assert "e-1ps.npz: already exists" in fails("sample", run, *times)
        assert (tmp_path / "p.npz").read_bytes() == before
        works("predict", run, *words, "--frame", "20", "--overwrite")
        assert (tmp_path / "p.npz").read_bytes() != before

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--torsion", "a=0-1-4-99"), "no atom 99"),
            (("--no-physics", "--torsion", "a=0-1-4-6"), "leave --no-physics out"),
            (("--json", "nowhere/e.json"), "the folder nowhere does not exist"),
            (("--json", "/proc/e.json"), "cannot write to the folder /proc"),
            (("--energy", "foo"), "unknown engine 'foo'"),
            (("--no-physics", "--energy", "xtb"), "leave --no-physics out"),
        ],
    )
    def test_what_is_wrong_is_said_before_the_work(
        self, run: Path, words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Run, "evaluate", None)
        assert message in fails("evaluate", run, *words)

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--length", "10"), "cannot read the time '10'"),
            (("--length", "0ps"), "the length of a rollout is 0 fs"),
            (("--length", "1ps", "--every", "5"), "cannot read the time '5'"),
        ],
    )
    def test_a_rollout_of_no_time_is_refused_without_notes(
        self, run: Path, tmp_path: Path, words: tuple[str, ...], message: str
    ) -> None:
        start = ("--start", "sample:toluene", "--out", tmp_path / "p.npz")
        assert message in fails("rollout", run, *start, *words)

    def test_a_report_is_html(self, run: Path, tmp_path: Path) -> None:
        for name in ("f.pdf", "f"):
            said = fails("report", run, "--out", tmp_path / name)
            assert "ends with .html or .htm; --figures DIR --format pdf" in said
        words = ("report", run, "--out", tmp_path / "r.html", "--format", "svgz")
        assert "none are written: add --figures DIR" in fails(*words)
        said = fails(*words, "--figures", tmp_path / "figures")
        assert "unknown format of figures 'svgz'" in said
        assert list(tmp_path.iterdir()) == []

    def test_a_prediction_into_a_file_without_times(self, run: Path, tmp_path: Path) -> None:
        words = ("predict", run, "--start", "sample:toluene", "--frame", "10", "--times")
        even = call(*words, "100fs,200fs", "--out", tmp_path / "a.dcd")
        assert even.exit_code == 0
        assert "note: .dcd cannot store times: read it with --step 100fs" in even.stderr
        uneven = call(*words, "100fs,200fs,400fs", "--out", tmp_path / "b.pdb")
        assert "warning: .pdb cannot store times, and frames are unevenly spaced" in uneven.stderr
        assert "times" not in call(*words, "100fs,200fs", "--out", tmp_path / "c.npz").stderr

    def test_a_prediction_that_is_not_finite(
        self, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(
            model: GraphFourierODE, x: torch.Tensor, v: torch.Tensor, lags: torch.Tensor
        ) -> object:
            return x[:, None].masked_fill(lags[..., None, None] > 150, torch.nan), None

        monkeypatch.setattr(GraphFourierODE, "with_spread", lost)
        words = ("--start", "sample:toluene", "--times", "100fs,200fs", "--out", tmp_path / "p.npz")
        said = fails("predict", run, *words)
        assert "positions that are not finite 200 fs after the start: its training failed" in said
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("command", ["evaluate", "predict"])
    def test_no_run_folder(self, command, toluene, tmp_path):
        rest = ("--start", toluene, "--times", "1fs", "--out", tmp_path / "p.npz")
        rest = rest if command == "predict" else ()
        assert "is not a run folder" in fails(command, tmp_path, *rest)
        assert "does not exist" in fails(command, tmp_path / "none", *rest)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                '{"format": "gfnode-run", "version": 99}',
                "run format 99, this gfnode",
            ),
            ('{"format": "gfnode-run", "version": 2}', "run format 2, this gfnode"),
            (f'{{"format": "gfnode-run", "version": {VERSION}}}', "is damaged"),
            ('{"format": "other"}', "not the run.json of a gfnode run"),
            ('{"format": "gf', "not valid JSON"),
            ('{"format": ' + "[" * 100_000, "not valid JSON"),
        ],
    )
    def test_a_newer_or_damaged_run_folder(self, tmp_path, text, message):
        (tmp_path / "run.json").write_text(text)
        assert message in fails("evaluate", tmp_path)

    def test_data_that_has_changed(self, toluene, tmp_path):
        data = gfnode.load(toluene).save(tmp_path / "data.npz")
        words = ("--set", "model.name=persistence", "--set", "windows.horizon=200fs")
        works("train", "--data", data, *words, "--out", tmp_path / "run")
        gfnode.load(toluene)[1:].save(data)
        assert "no longer holds the data" in fails("evaluate", tmp_path / "run")
        data.unlink()
        said = fails("evaluate", tmp_path / "run")
        assert "data.npz: no such file" in said
        assert "put it back (a link will do); evaluate and report also take its new path" in said

    def test_a_folder_that_cannot_be_written(self, toluene, tmp_path):
        (tmp_path / "file").write_text("in the way")
        out = tmp_path / "file" / "run"  # holds for root too, whom no permission stops
        said = fails("train", "--data", toluene, *SMALL, "--out", out)
        assert f"cannot create the folder in {tmp_path / 'file'}: that is a file" in said
        said = fails("train", "--data", toluene, *SMALL, "--out", out.parent)
        assert f"{out.parent}: is a file, expected a folder" in said

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("predict", "run", "--frame", "abc"), "error: invalid value for '--frame': "),
            (("report",), "error: missing argument 'RUN...' (see "),
            (("evaluate", "run", "--jso", "x"), "error: no such option --jso"),
            (("nosuch",), "error: no such command 'nosuch' (see "),
            (("--nosuch",), "error: no such option --nosuch (see "),
        ],
    )
    def test_words_that_no_command_takes(self, words: tuple[str, ...], said: str) -> None:
        found = re.sub(r"option:? '?(--\w+)'?", r"option \1", fails(*words))  # newer click: '--x'
        assert found.startswith(said)

    def test_a_single_frame_holds_no_motion(self, toluene: Path, tmp_path: Path) -> None:
        one = gfnode.load(toluene)[3:4].save(tmp_path / "one.npz")
        assert "a single frame has no motion to learn" in fails("train", one, "--out", tmp_path)
        said = works("data", one)
        assert "a single frame shows no vibration" in said
        assert "fixed length" not in said

    def test_one_atom_is_counted_as_one(self, toluene: Path, tmp_path: Path) -> None:
        one = gfnode.load(toluene).select([0]).save(tmp_path / "one.npz")
        assert "1 in the model; scored: 1 atom\n" in re.sub(r" +\n", "\n", works("data", one))

    def test_json_never_replaces_a_device(self, run):
        assert "is not a file" in fails("evaluate", run, "--no-plot", "--json", os.devnull)

    def test_a_full_disk(self, toluene, tmp_path):
        """No file may grow beyond 4 kB: writes fail midway, as on a full disk."""

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

        running = process(
            "train", "--data", toluene, *SMALL, "--out", tmp_path / "run", preexec_fn=limit
        )
        _, said = running.communicate(timeout=60)
        assert running.returncode == 2, said
        assert re.fullmatch(r"(epoch .*\n)*error: .*cannot be written: .*File too large.*\n", said)
        assert not (tmp_path / "run" / "weights.safetensors").exists()
        assert not list(tmp_path.rglob(".*")), "temporary files are left"


REAL = {
    "uracil": ("rmd17/rmd17_uracil.npz", ()),
    "toluene": ("rmd17/rmd17_toluene.npz", ()),
    "benzene": ("rmd17/rmd17_benzene.npz", ()),
    "ethanol": ("xtb/md17_ethanol.npz", ()),
    "aspirin": ("xtb/md17_aspirin.npz", ()),
    "ala2": ("ala2/alanine-dipeptide-0-50ns.xtc", ("--top", "ala2/alanine-dipeptide.pdb")),
}


@pytest.mark.parametrize("name", REAL)
def test_real_input(name, shared_data, tmp_path):
    """Train, evaluate and predict on real files, for two epochs."""
    file, options = REAL[name]
    options = [word if word.startswith("--") else shared_data / word for word in options]
    out = tmp_path / "run"
    said = works(
        *("train", "--data", shared_data / file, *options, "--out", out),
        *("--set", "training.epochs=2", "--set", "windows.most=[128,64,64]"),
        *("--set", "model.newton=false"),  # learning a potential takes minutes
    )
    assert "trained 2 epochs" in said
    works("evaluate", out)
    result = json.loads((out / "evaluation.json").read_text())
    assert result["windows"] == 64
    for method in result["methods"].values():
        assert method["mean_over_lags"]["value"] > 0
    # hardly trained, but nowhere near a molecule that falls apart
    assert result["verdicts"]["constant-velocity"]["verdict"] != "worse"
    words = ("--start", shared_data / file, *options, "--times", "100fs,500fs")
    predicted = tmp_path / "predicted.npz"
    works("predict", out, *words, "--out", predicted)
    assert len(gfnode.load(predicted)) == 2
