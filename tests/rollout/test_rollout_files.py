"""Rollouts on disk: streamed, killed at any moment, resumed; and the command."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

import gfnode
from commands import fails
from gfnode import cli
from gfnode.errors import InputError
from gfnode.models import Model, build
from gfnode.prediction import BeyondHorizonWarning
from gfnode.readers.unfinished import folder_of
from gfnode.report import drift_table, growth_sentences
from gfnode.report.rollout import DRIFTS
from gfnode.rollout import Rollout, record, steps
from gfnode.rollout.record import Recorded, Recording
from gfnode.trajectory import Trajectory
from making import system_of


@pytest.fixture(scope="module")
def toluene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A piece of the sample: 5 ps."""
    path = tmp_path_factory.mktemp("data") / "toluene.npz"
    return gfnode.load("sample:toluene")[:1000].save(path)


@pytest.fixture(scope="module")
def run(toluene: Path, tmp_path_factory: pytest.TempPathFactory) -> gfnode.Run:
    """A trained run; tests only read it."""
    changes = {
        "windows.most": [64, 32, 32],
        "windows.horizon": "200fs",
        "windows.score": "all",
        "training.epochs": 1,
        "model.width": 8,
        "model.encoder_layers": 1,
    }
    out = tmp_path_factory.mktemp("runs") / "toluene"
    return gfnode.fit(toluene, changes=changes, out=out, progress=False)


def test_a_rollout_shorter_than_its_frames_are_apart_is_refused(run, tmp_path):
    start = gfnode.load("sample:toluene")[700]
    with pytest.raises(InputError, match="every 3 ps in a rollout of 1 ps leave only the start"):
        run.rollout(start, "1ps", tmp_path / "a.npz", every="3ps")
    assert list(tmp_path.iterdir()) == []


def test_going_on_and_beginning_anew_are_not_asked_for_at_once(run, tmp_path):
    given = ("--start", "sample:toluene", "--length", "1ps", "--out", tmp_path / "a.npz")
    assert "give only one of them" in fails(
        "rollout", run.folder, *given, "--resume", "--overwrite"
    )
    start = gfnode.load("sample:toluene")[700]
    with pytest.raises(InputError, match="give only one of them"):
        run.rollout(start, "1ps", tmp_path / "a.npz", resume=True, overwrite=True)


def test_a_stride_beyond_the_horizon_is_warned_of(run, tmp_path):
    start = gfnode.load("sample:toluene")[700]
    with pytest.warns(
        BeyondHorizonWarning, match="400 fs is beyond the training horizon of 200 fs"
    ):
        run.rollout(start, "800fs", tmp_path / "a.npz", stride="400fs")


@pytest.fixture
def recording(run: gfnode.Run, tmp_path: Path) -> Recording:
    """Ten applications of a trained model, a frame every 25 fs, each kept at once."""
    start = gfnode.load("sample:toluene")[700]
    assert start.velocities is not None
    plan = Rollout(run.model, 200.0, every=25.0)
    return Recording(plan, start, start.velocities[0], 2000.0, tmp_path / "a.npz", {}, seconds=0.0)


class Killed(Exception):
    """Stands for the end of the process."""


def killed_after(recording: Recording, frames: int) -> None:
    def advance(done: int, of: int) -> None:
        if done >= frames:
            raise Killed

    with pytest.raises(Killed):
        recording.run(resume=True, advance=advance)


class TestRecording:
    def test_frames_are_those_of_the_rollout(self, run, recording):
        path = recording.run().finish()
        found = gfnode.load(path)
        assert len(found) == recording.frames == 81
        np.testing.assert_allclose(found.times, 3500 + 25.0 * np.arange(81))
        np.testing.assert_array_equal(found.positions[0], recording.start.positions[0])
        x, v = (torch.from_numpy(a)[None] for a in (found.positions[0], recording.velocities))
        expected = [y[0].numpy() for _, y, _ in islice(steps(run.model, x, v, 200.0), 10)]
        np.testing.assert_allclose(found.positions[8::8], expected, atol=1e-5)
        assert not folder_of(path).exists()

    @pytest.mark.parametrize("suffix", [".npz", ".xtc"])
    def test_killed_and_resumed_it_is_the_same_to_the_byte(self, recording, suffix, tmp_path):
        whole = replace(recording, path=tmp_path / f"whole{suffix}", seconds=60.0)
        parts = replace(recording, path=tmp_path / f"parts{suffix}")
        whole.run().finish()
        for frames in (1, 9, 33, 34, 80):
            killed_after(parts, frames)
        assert not parts.path.exists()
        told: list[int] = []
        found = parts.run(resume=True, advance=lambda done, of: told.append(done))
        assert told[0] > 60  # it did not begin anew
        assert len(found.kelvin) == 10
        found.finish()
        assert parts.path.read_bytes() == whole.path.read_bytes()

    def test_what_was_half_written_is_left_out(self, recording, tmp_path):
        whole = replace(recording, path=tmp_path / "whole.npz")
        whole.run().finish()
        killed_after(recording, 33)
        for name in ("frames.bin", "numbers.bin"):
            with (folder_of(recording.path) / name).open("ab") as file:
                file.write(b"half a frame")
        recording.run(resume=True).finish()
        assert recording.path.read_bytes() == whole.path.read_bytes()

    def test_temperatures_are_appended(self, recording, tmp_path):
        """The state is written every few seconds: it must not grow with the rollout."""
        with replace(recording, path=tmp_path / "whole.npz", seconds=60.0).run() as whole:
            assert len(whole.kelvin) == 10
            assert whole.kelvin.min() > 0
        sizes = []
        for frames in (20, 50, 80):
            killed_after(recording, frames)
            sizes.append((folder_of(recording.path) / "state.npz").stat().st_size)
        assert len(set(sizes)) == 1
        with recording.run(resume=True) as found:
            np.testing.assert_array_equal(found.kelvin, whole.kelvin)

    def test_temperatures_that_were_cut_off_are_missed(self, recording):
        killed_after(recording, 33)
        os.truncate(folder_of(recording.path) / "numbers.bin", 8)
        with pytest.raises(
            InputError, match=r"numbers\.bin: holds fewer than the 3 numbers counted"
        ):
            recording.run(resume=True)

    def test_can_be_made_longer_or_shorter(self, recording, tmp_path):
        killed_after(recording, 50)
        with replace(recording, length=500.0, path=recording.path).run(resume=True) as short:
            assert short.frames == 21
        longer = replace(recording, length=3000.0, path=recording.path).run(resume=True)
        whole = replace(recording, length=3000.0, path=tmp_path / "whole.npz")
        whole.run().finish()
        longer.finish()
        assert recording.path.read_bytes() == whole.path.read_bytes()

    def test_goes_on_with_the_same_only(self, recording):
        killed_after(recording, 33)
        with pytest.raises(InputError, match=r"unfinished rollout: continue it with --resume"):
            recording.run()
        other = replace(recording, rollout=replace(recording.rollout, stride=100.0))
        with pytest.raises(InputError, match="another rollout: its stride fs is 200"):
            other.run(resume=True)
        assert other.run(overwrite=True).frames == 81

    def test_no_other_process_writes_there_until_it_is_finished(self, recording):
        with recording.run() as found:
            for how in ({"resume": True}, {"overwrite": True}):
                with pytest.raises(InputError, match="another process is writing there"):
                    recording.run(**how)
            path = found.finish()
        assert len(gfnode.load(path)) == 81

    def test_what_is_not_finished_can_be_gone_on_with(self, recording):
        with recording.run() as found:
            assert found.frames == 81
        assert recording.run(resume=True).finish() == recording.path

    def test_the_folder_goes_before_the_lock(self, recording, monkeypatch):
        held: list[bool] = []
        found = recording.run()
        monkeypatch.setattr(
            "gfnode.readers.unfinished.shutil.rmtree",
            lambda *_, **__: held.append(found.store.lock.is_locked),
        )
        found.finish()
        assert held == [True]
        assert not found.store.lock.is_locked

    def test_refuses_a_file_that_cannot_be_written(self, recording, tmp_path):
        with pytest.raises(InputError, match=r"unknown format \.gro"):
            replace(recording, path=tmp_path / "a.gro").run()
        with pytest.raises(InputError, match="does not exist"):
            replace(recording, path=tmp_path / "no" / "a.npz").run()

    def test_memory_does_not_grow_with_the_length(self, recording, monkeypatch):
        pieces: list[int] = []
        monkeypatch.setattr(record, "PIECE", 45 * 10)
        found = recording.run()
        for piece in found.pieces():
            pieces.append(len(piece))
        assert pieces == [10] * 8 + [1]
        whole = np.concatenate([piece.positions for piece in found.pieces()])
        np.testing.assert_array_equal(whole, gfnode.load(found.finish()).positions)


class Doomed(Model):
    """Stands still, and is nowhere after so many applications."""

    promises = build("persistence", system_of("ethanol")).promises
    left = 3

    def forward(self, positions, velocities, lags):
        self.left -= 1
        moved = positions.unsqueeze(1).repeat(1, lags.shape[1], 1, 1)
        if self.left < 0:
            moved[:, 4:] = torch.inf
        return moved


def test_ends_where_numbers_are_no_longer_finite(tmp_path):
    system = system_of("ethanol")
    start = Trajectory(np.random.default_rng(0).normal(size=(1, 9, 3)), [0.0], system.numbers)
    model = Doomed(system)
    v = np.zeros((9, 3), np.float32)
    path = tmp_path / "a.npz"
    found = Recording(Rollout(model, 100.0, every=10.0), start, v, 1000.0, path, {}).run()
    assert isinstance(found, Recorded)
    assert found.ended is not None
    assert found.ended.time == 350.0  # three applications, and four frames of the next
    assert "finite" in found.ended.why
    assert found.frames == 31
    assert gfnode.load(found.finish()).times[-1] == 300.0


class Lost(Doomed):
    """Leaves its range somewhere in the third application, whose motion is then unknown."""

    follows = True

    def trajectories(self, positions, velocities, lags, generator, *, exact=False):
        self.left -= 1
        moved = positions.unsqueeze(1).repeat(1, lags.shape[1], 1, 1)
        return (moved, moved) if self.left > 0 else (moved * torch.nan, moved * torch.nan)


def test_a_motion_that_leaves_its_range_does_so_within_the_next_stride(tmp_path):
    system = system_of("ethanol")
    start = Trajectory(np.random.default_rng(0).normal(size=(1, 9, 3)), [0.0], system.numbers)
    rollout = Rollout(Lost(system), 100.0, every=10.0, sampled=True)
    v = np.zeros((9, 3), np.float32)
    found = Recording(rollout, start, v, 1000.0, tmp_path / "a.npz", {}).run()
    assert found.ended is not None
    assert found.ended.time == 200.0  # not 210: it may have been valid for 99 fs
    assert found.ended.why.startswith("within the next 100 fs its motion leaves the range")
    assert found.frames == 21


def call(*words: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, ["rollout", *map(str, words)], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_never_overwrites_its_start(run, toluene):
    before = toluene.read_bytes()
    with pytest.raises(InputError, match="is an input"):
        run.rollout(toluene, "200fs", toluene)
    assert toluene.read_bytes() == before


def test_what_is_there_is_replaced_only_where_that_is_wanted(run, tmp_path):
    start = gfnode.load("sample:toluene")[700]
    path, topology = tmp_path / "a.xtc", tmp_path / "a.pdb"
    start.select("heavy").save(topology)
    with pytest.raises(InputError, match=r"a\.pdb: already exists with other atoms"):
        run.rollout(start, "200fs", path)
    assert [each.name for each in tmp_path.iterdir()] == ["a.pdb"]
    topology.unlink()
    run.rollout(start, "200fs", path)
    before = path.read_bytes()
    for resume in (False, True):  # there is nothing to go on with
        with pytest.raises(InputError, match=r"a\.xtc: already exists: .* with --overwrite"):
            run.rollout(start, "400fs", path, resume=resume)
    assert path.read_bytes() == before
    run.rollout(start, "400fs", path, overwrite=True)
    assert len(gfnode.load(path, top=topology)) == 41
    assert {each.name for each in tmp_path.iterdir()} == {"a.xtc", "a.pdb"}


def test_no_other_process_writes_there_while_it_is_measured(run, tmp_path, monkeypatch):
    start, path = gfnode.load("sample:toluene")[700], tmp_path / "a.npz"
    refused: list[str] = []

    def measured(*_: object, **__: object) -> None:
        with pytest.raises(InputError) as error:
            run.rollout(start, "400fs", path, resume=True)
        refused.append(str(error.value))

    monkeypatch.setattr("gfnode.rollout.runs.measure", measured)
    run.rollout(start, "400fs", path)
    (said,) = refused
    assert "another process is writing there" in said
    assert len(gfnode.load(path)) == 41


class TestCommand:
    def test_says_what_became_of_it(self, run, toluene, tmp_path):
        out = tmp_path / "long.xtc"
        code, said, err = call(
            *(run.folder, "--start", toluene, "--frame", 700, "--length", "2ps", "--out", out),
            *("--truth", "--starts", 8, "--json", tmp_path / "long.json"),
        )
        assert code == 0, said + err
        for words in (
            f"{out}: 201 frames of toluene, every 10 fs",
            f"{tmp_path / 'long.pdb'}: its topology",
            "gfnode from toluene, frame 700: 2 ps in strides of 200 fs",
            "first broken bond: ",
            "first clash: ",
            "radius of",
            "Distance of distributions from the training data, and kinetic temperature",
            "temperature (K)",
            "training stretches",
            "error per coordinate in Å, 8 starts",
            "rollout: error ",
        ):
            assert words in said, said
        found = json.loads((tmp_path / "long.json").read_text())
        assert found["frames"] == len(gfnode.load(out, top=out.with_suffix(".pdb"))) == 201
        assert found["velocities"] == "derivative"
        methods = found["errors"]["methods"]
        assert list(methods)[:2] == ["rollout", "direct"]
        first = found["errors"]["lags_fs"][0]
        assert first < 200  # within the first application both are the same
        a, b = (methods[name]["rmse_angstrom"][0]["value"] for name in ("rollout", "direct"))
        assert a == pytest.approx(b, rel=1e-5)

    def test_velocities_are_those_of_training_whatever_the_start_has(self, run, toluene, tmp_path):
        bare = replace(gfnode.load(toluene), velocities=None).save(tmp_path / "bare.npz")
        out = tmp_path / "a.npz"
        code, said, _ = call(
            *(run.folder, "--start", bare, "--length", "1ps", "--stride", "100fs", "--out", out),
            *("--every", "20fs", "--json", "-"),
        )
        assert code == 0
        found = json.loads(said)
        assert found["velocities"] == "derivative"  # its own come from the next frame
        assert (found["stride_fs"], found["every_fs"], found["frames"]) == (100.0, 20.0, 51)
        assert found["errors"] is None

    @pytest.mark.parametrize(
        ("words", "error"),
        [
            (("--length", "0fs"), "the length of a rollout is 0 fs, expected a time above zero"),
            (("--length", "ten"), "cannot read the time 'ten'"),
            (("--length", "1ps", "--stride", "-1fs"), "the stride of a rollout is -1 fs"),
            (("--length", "1ps", "--every", "0fs"), "the every of a rollout is 0 fs"),
            (("--length", "1ps", "--frame", "5000"), "has no frame 5000"),
            (("--length", "1ps", "--out", "a.abc"), "unknown format .abc"),
        ],
    )
    def test_bad_input_is_one_line(self, run, toluene, tmp_path, words, error):
        out = () if "--out" in words else ("--out", tmp_path / "a.npz")
        code, _, err = call(run.folder, "--start", toluene, *words, *out)
        assert code == 2
        assert err.startswith("error: ")
        assert error in err
        assert err.count("\n") == 1
        assert not list(tmp_path.iterdir())

    @pytest.mark.slow
    def test_killed_by_the_system_it_goes_on(self, run, toluene, tmp_path):
        words = ("--start", toluene, "--frame", 700, "--length", "1500fs", "--stride", "20fs")
        out = tmp_path / "a.npz"
        command = [run.folder, *words, "--out", out]
        code = (
            "from gfnode.rollout import record; from gfnode.cli import main; "
            "record.SECONDS = 0.05; main()"
        )
        running = subprocess.Popen(
            [sys.executable, "-c", code, "rollout", *map(str, command)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        grown = folder_of(out) / "frames.bin"
        while running.poll() is None and not (grown.exists() and grown.stat().st_size > 5_000):
            sleep(0.02)
        running.send_signal(signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
        assert not out.exists()
        assert call(*command, "--resume")[0] == 0
        assert call(*command[:-1], tmp_path / "b.npz")[0] == 0
        assert out.read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize(
    ("gap", "told"), [(None, False), (2.0, False), (5.0, True), (-1000.0, False)]
)
def test_a_temperature_of_frames_far_apart_says_so(gap, told):
    drifts = dict.fromkeys(DRIFTS.values(), 0.1) | {"temperature_k": 400.0}
    result = {"velocity_gap_fs": gap, "training": drifts}
    result["stretches"] = [drifts | {"begin_fs": 0.0, "end_fs": 100.0}]
    with (console := Console(width=100)).capture() as capture:
        console.print(drift_table(result))
    said = " ".join(capture.get().split())
    assert ("from frames 5 fs apart, which partly miss fast vibrations" in said) == told
    assert ("400" in said) == (gap != -1000.0)
    assert ("unknown from frames 1 ps apart" in said) == (gap == -1000.0)


@pytest.mark.parametrize(
    ("errors", "when", "said"),
    [
        ([0.1, 0.1, 0.1], None, "rollout: error below that of persistence at all lags"),
        (
            [0.1, 0.3, 0.1],
            None,
            "error below that of persistence in the end, but not at 1 of 3 lags",
        ),
        ([0.3, 0.1, 0.3], 25.0, "error no longer below that of persistence from 25 fs on"),
        ([0.3, 0.3, None], 0.0, "rollout: error never below that of persistence"),
    ],
)
def test_errors_that_swing_are_not_said_to_stay_below(errors, when, said):
    method = {"growth_per_ps": None, "reaches_persistence_fs": when, "reaches_unrelated_fs": 0.0}
    flat = [{"value": 0.2}] * 3
    methods = {
        "rollout": method | {"rmse_angstrom": [{"value": each} for each in errors]},
        "direct": method | {"rmse_angstrom": flat},
        "persistence": {"rmse_angstrom": flat},
    }
    sentences = growth_sentences({"errors": {"methods": methods}})
    assert said in next(each for each in sentences if "that of persistence" in each)


def test_every_key_is_documented(run, toluene, tmp_path):
    page = Path(__file__).resolve().parents[2] / "docs" / "rollout.md"
    told = page.read_text(encoding="utf-8").split("<!-- keys -->")[1].split("<!-- /keys -->")[0]
    known = set(re.findall(r"`(\w+)`", told))
    written = run.rollout(
        toluene, "400fs", tmp_path / "a.npz", frame=700, truth=run.trajectories(), starts=4
    ).to_dict()

    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            below = [keys(each) for name, each in value.items()]
            return {name for name in value if name not in METHODS}.union(*below)
        return set().union(*map(keys, value)) if isinstance(value, list | tuple) else set()

    assert set(written["errors"]["methods"]) == METHODS
    assert keys(written) <= known
    # what is null here: events, an early end
    rest = {"time_fs", "why", "atoms", "distance_angstrom", "bound_angstrom", "share_of_frames"}
    names = {"derivative", "drawn", "integrated", "null", "value", "low", "high", "count"}
    assert known <= keys(written) | rest | names


METHODS = {"rollout", "direct", "persistence", "mean-conformer", "unrelated"}
