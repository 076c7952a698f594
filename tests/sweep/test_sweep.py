"""Sweeps: keys of jobs, what is kept of them, and what happens when something goes wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.numpy import load_file

import gfnode
import gfnode.sweep.schedule
from gfnode.errors import InputError
from gfnode.files import read_arrays, read_json, write_json
from gfnode.metrics import squared_errors
from gfnode.molecule.torsions import backbone
from gfnode.physics.modes import windows_at
from gfnode.progress import Report
from gfnode.readers import Reader
from gfnode.rollout import Difference, steps
from gfnode.run import Run
from gfnode.sweep import Job, Measure, State, Store, sweep, timing
from gfnode.sweep.display import ProgressDisplay
from gfnode.sweep.launchers import Local, Resources, Slurm
from gfnode.sweep.schedule import Summary
from gfnode.sweep.timing import _fit, estimate, estimates
from gfnode.sweep.worker import do
from gfnode.trajectory import Topology
from gfnode.units import format_duration
from making import wiggle
from sweeps import TINY, Here, job_of, write_md17

SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from sweeps import job_of
from gfnode.sweep import Store, sweep
from gfnode.sweep.launchers import Local, Resources
store = Store({out!r})
tasks = [store.task(job_of(Path({data!r}), seed=seed, epochs={epochs})) for seed in range({jobs})]
summary = sweep(tasks, Local(Resources(), 2))
print(json.dumps([len(summary.done), len(summary.reused), summary.failed]))
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gfnode.sweep.schedule, "LOOK", 0.02)


@pytest.fixture(scope="module")
def ethanol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_md17(tmp_path_factory.mktemp("data") / "md17_ethanol.npz", "ethanol")


def process(out: Path, data: Path, *, jobs: int, epochs: int) -> "subprocess.Popen[str]":
    """A sweep as a process of its own."""
    text = SCRIPT.format(
        tests=str(Path(__file__).parents[1]), out=str(out), data=str(data), jobs=jobs, epochs=epochs
    )
    return subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def wait_for(condition: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


class TestKeys:
    def test_is_that_of_the_content(self, ethanol: Path, tmp_path: Path) -> None:
        moved = tmp_path / "md17_ethanol.npz"
        moved.write_bytes(ethanol.read_bytes())
        assert job_of(moved).key == job_of(ethanol).key
        assert job_of(moved).name == job_of(ethanol).name
        other = write_md17(tmp_path / "other.npz", "ethanol", shift=0.1)
        assert job_of(other).key != job_of(ethanol).key

    def test_is_that_of_the_resolved_configuration(self, ethanol: Path) -> None:
        plain = job_of(ethanol)
        written_out = job_of(ethanol, settings={"windows.horizon": 40.0, "training.clip": 1.0})
        assert written_out.key == plain.key
        for settings in ({"training.rate": 1e-3}, {"model.width": 5}, {"windows.lags": "regular"}):
            assert job_of(ethanol, settings=settings).key != plain.key
        assert job_of(ethanol, seed=1).key != plain.key

    def test_survives_being_written(self, ethanol: Path) -> None:
        job = job_of(ethanol)
        again = Job.from_dict(json.loads(json.dumps(job.to_dict())))
        assert again.key == job.key
        assert again.experiment == job.experiment

    def test_changed_data_is_refused(self, tmp_path: Path) -> None:
        file = write_md17(tmp_path / "a.npz", "ethanol")
        planned = job_of(file).to_dict()
        write_md17(file, "ethanol", 1300)
        with pytest.raises(InputError, match="changed since"):
            Job.from_dict(planned)

    def test_missing_data_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"gone\.npz: cannot be read"):
            _ = job_of(tmp_path / "gone.npz").key

    def test_options_of_a_measure_are_in_its_file_name(self) -> None:
        plain, one, other = (Measure("x", each) for each in ({}, {"lags": [1]}, {"lags": [2]}))
        assert plain.file == "measure-x.npz"
        assert len({plain.file, one.file, other.file}) == 3
        assert Measure("x", {"lags": [1]}).file == one.file


class TestStore:
    def test_a_setting_that_came_later_does_not_lose_a_run(
        self, ethanol: Path, tmp_path: Path
    ) -> None:
        task = Store(tmp_path).task(job_of(ethanol))
        stored = read_json(task.folder / "job.json")
        del stored["experiment"]["training"]["clip"]  # as if written before there was one
        stored["experiment"]["model"].pop("residual")
        write_json(task.folder / "job.json", stored)
        old = task.folder.rename(task.folder.with_name("old-name-00000000"))
        assert Store(tmp_path).folder(job_of(ethanol)) == old
        assert Store(tmp_path).folder(job_of(ethanol, seed=1)) != old

    def test_strange_folders_are_left_alone(self, ethanol: Path, tmp_path: Path) -> None:
        (tmp_path / "runs" / "notes").mkdir(parents=True)
        (tmp_path / "runs" / "notes" / "job.json").write_text("{}")
        task = Store(tmp_path).task(job_of(ethanol))
        assert task.state is State.NEW
        assert task.folder.name == job_of(ethanol).name


class TestScheduling:
    """With tasks that only write their marks: the order of things."""

    def tasks(self, ethanol: Path, out: Path, count: int = 4) -> list:
        return [Store(out).task(job_of(ethanol, seed=seed)) for seed in range(count)]

    @staticmethod
    def finish(task: object) -> None:
        write_json(task.folder / "finished.json", {})  # type: ignore[attr-defined]

    def test_what_is_finished_is_not_done_again(self, ethanol: Path, tmp_path: Path) -> None:
        tasks = self.tasks(ethanol, tmp_path)
        self.finish(tasks[1])
        first, second = Here(slots=2, work=self.finish), Here(work=self.finish)
        summary = sweep(tasks, first)
        assert (len(summary.done), len(summary.reused), summary.failed) == (3, 1, {})
        assert sorted(first.started) == sorted(t.name for t in tasks if t is not tasks[1])
        again = sweep(self.tasks(ethanol, tmp_path), second)
        assert (len(again.done), len(again.reused), second.started) == (0, 4, [])

    def test_a_folder_asked_for_twice_is_done_once(self, ethanol: Path, tmp_path: Path) -> None:
        store, launcher = Store(tmp_path), Here(work=self.finish)
        tasks = [
            store.task(job_of(ethanol), [Measure("structure")]),
            store.task(job_of(ethanol), [Measure("modes")]),
        ]
        for measure in ("structure", "modes"):
            (tasks[0].folder / Measure(measure).file).touch()
        assert len(sweep(tasks, launcher).done) == 1
        assert launcher.started == [tasks[0].name]

    def test_no_more_at_once_than_slots(self, ethanol: Path, tmp_path: Path) -> None:
        most = 0

        class Watch:
            def look(self, waiting: list, running: list, summary: Summary) -> None:
                nonlocal most
                most = max(most, len(running))

            def ended(self, task: object, failure: str | None) -> None:
                pass

        launcher = Here(slots=2, work=self.finish, looks=2)
        sweep(self.tasks(ethanol, tmp_path, 5), launcher, Watch())
        assert most == 2

    def test_a_failure_stops_nothing_else_and_is_tried_again(
        self, ethanol: Path, tmp_path: Path
    ) -> None:
        tasks = self.tasks(ethanol, tmp_path)

        def work(task: object) -> None:
            if task.name == tasks[0].name:  # type: ignore[attr-defined]
                raise RuntimeError("the roof fell in")
            self.finish(task)

        summary = sweep(tasks, Here(slots=1, work=work))
        assert len(summary.done) == 3
        assert summary.failed == {tasks[0].name: "the roof fell in"}
        assert tasks[0].failure == "the roof fell in"
        again = sweep(self.tasks(ethanol, tmp_path), Here(work=self.finish))
        assert (len(again.done), len(again.reused)) == (1, 3)
        assert tasks[0].failure is None

    def test_a_task_that_another_is_at_is_waited_for(self, ethanol: Path, tmp_path: Path) -> None:
        tasks, launcher = self.tasks(ethanol, tmp_path, 2), Here(work=self.finish)
        lock = tasks[0].lock
        lock.acquire()
        looks = 0

        class Other:
            """Another sweep, which finishes the first task when the second has long been done."""

            def look(_, waiting: list, running: list, summary: Summary) -> None:  # noqa: N805
                nonlocal looks
                looks += 1
                if looks == 5:
                    assert [each.name for each in waiting] == [tasks[0].name]
                    self.finish(tasks[0])
                    lock.release()

            def ended(_, task: object, failure: str | None) -> None:  # noqa: N805
                pass

        summary = sweep(tasks, launcher, Other())
        assert launcher.started == [tasks[1].name]
        assert [each.name for each in summary.reused] == [tasks[0].name]

    def test_a_task_that_another_gave_up_is_taken_over(self, ethanol: Path, tmp_path: Path) -> None:
        tasks, launcher = self.tasks(ethanol, tmp_path, 1), Here(work=self.finish)
        lock = tasks[0].lock
        lock.acquire()

        class Other:
            def look(self, waiting: list, running: list, summary: Summary) -> None:
                lock.release()

            def ended(self, task: object, failure: str | None) -> None:
                pass

        assert len(sweep(tasks, launcher, Other()).done) == 1


@pytest.fixture(scope="module")
def store(ethanol: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("sweep"))
    summary = sweep([store.task(job_of(ethanol))], Here())
    assert summary.failed == {}
    return store


class TestRuns:
    """With real runs in this process."""

    def test_leaves_a_run_folder_as_any_other(self, ethanol: Path, store: Store) -> None:
        folder = store.folder(job_of(ethanol))
        run = Run.open(folder)
        assert run.experiment == job_of(ethanol).experiment
        assert run.facts["training"]["ended"] == "all epochs done"
        assert read_json(folder / "evaluation.json")["model"] == "egnn"
        weights = read_json(folder / "finished.json")["weights"]
        assert weights == sum(each.numel() for each in run.model.parameters())

    def test_measures_are_added_without_training(self, ethanol: Path, store: Store) -> None:
        before = (store.folder(job_of(ethanol)) / "weights.safetensors").stat().st_mtime_ns
        lags = {"lags_fs": [10.0, 20.0, 40.0]}
        measures = [Measure("structure"), Measure("at-lags", lags), Measure("modes")]
        measures.append(Measure("at-lags", {"lags_fs": [40.0, 48.0], "repeated": True}))
        task = store.task(job_of(ethanol), measures)
        assert task.state is State.STARTED
        assert sweep([task], Here()).failed == {}
        assert (task.folder / "weights.safetensors").stat().st_mtime_ns == before
        with np.load(task.folder / measures[1].file) as found:
            assert np.unique(found["lags_fs"]).tolist() == [10.0, 20.0, 40.0]
            assert found["errors_egnn"].shape == found["errors_persistence"].shape == (24, 3)
        with np.load(task.folder / measures[3].file) as found:
            assert np.unique(found["lags_fs"]).tolist() == [40.0, 48.0]
            repeated = found["errors_egnn"]
        # the same by hand: an application of the horizon of 40 fs, and one of what is left
        run = Run.open(task.folder)
        windows = windows_at(run, run.trajectories(), [40.0, 48.0]).select(run.model.system.atoms)
        batch = windows.batch(torch.arange(len(windows)))
        gap = run.trajectories()[0].spacing
        draw = Difference(gap, run.model.system.horizon)
        _, x, v = next(steps(run.model, batch.positions, batch.velocities, 40.0, draw=draw))
        with torch.no_grad():
            last = run.model(x, v, torch.full((len(x), 1), 8.0))
        found = torch.cat([x[:, None], last], 1)
        both = (each[..., run.model.scored, :] for each in (found, batch.targets))
        errors = squared_errors(*both)
        np.testing.assert_allclose(repeated, errors, rtol=1e-3)

    def test_data_may_move(self, tmp_path: Path) -> None:
        file = write_md17(tmp_path / "md17_ethanol.npz", "ethanol")
        store = Store(tmp_path / "out")
        assert sweep([store.task(job_of(file))], Here()).failed == {}
        (tmp_path / "elsewhere").mkdir()
        file = file.rename(tmp_path / "elsewhere" / file.name)
        task = Store(tmp_path / "out").task(job_of(file), [Measure("structure")])
        assert sweep([task], Here()).failed == {}
        assert Run.open(task.folder).trajectories()[0].source.startswith(str(file.parent))

    def test_bad_settings_are_a_failure_in_one_line(self, ethanol: Path, tmp_path: Path) -> None:
        task = Store(tmp_path).task(job_of(ethanol, settings={"windows.horizon": "900fs"}))
        do(task.folder)
        assert task.state is State.NEW
        assert task.failure is not None
        assert "900 fs" in task.failure
        assert "\n" not in task.failure

    def test_structure_agrees_with_mdtraj(self, ethanol: Path, store: Store) -> None:
        """Errors of persistence from lengths and angles that mdtraj measures."""
        import mdtraj
        from mdtraj.core.element import Element

        task = store.task(job_of(ethanol), [Measure("structure")])
        assert sweep([task], Here()).failed == {}
        with np.load(task.folder / "measure-structure.npz") as found:
            bonds, angles = found["bond:persistence"], found["angle_relative:persistence"]
            constant = found["bond:constant"]
        run, splits = Run.open(task.folder), np.load(task.folder / "splits.npz")
        trajectory = run.trajectories()[0]
        topology = mdtraj.Topology()
        residue = topology.add_residue("MOL", topology.add_chain())
        for number in trajectory.numbers:
            topology.add_atom("X", Element.getByAtomicNumber(int(number)), residue)
        frames = mdtraj.Trajectory(trajectory.positions / 10, topology)
        oxygen, *carbons = np.argsort(-trajectory.numbers, kind="stable")[:3].tolist()
        apart = np.linalg.norm(
            trajectory.positions[0, carbons] - trajectory.positions[0, oxygen], axis=1
        )
        middle, end = np.array(carbons)[np.argsort(apart)].tolist()
        ends, heavy = (oxygen, end), [[oxygen, middle], [middle, end]]
        lengths = 10 * mdtraj.compute_distances(frames, heavy).astype(float)
        angle = mdtraj.compute_angles(frames, [[ends[0], middle, ends[1]]])[:, 0].astype(float)
        starts, targets = splits["test_starts"], splits["test_targets"]
        expected = np.abs(lengths[starts][:, None] - lengths[targets]).mean(-1)
        np.testing.assert_allclose(bonds, expected, atol=3e-5)
        relative = np.abs(angle[starts][:, None] - angle[targets]) / angle[targets]
        np.testing.assert_allclose(angles, relative, atol=3e-5)
        mean = lengths[splits["train_starts"]].mean(0)
        np.testing.assert_allclose(constant, np.abs(mean - lengths[targets]).mean(-1), atol=3e-5)

    def test_modes_of_the_true_motion(self, ethanol: Path, store: Store) -> None:
        """Parseval: all modes together hold what the positions hold."""
        task = store.task(job_of(ethanol), [Measure("modes")])
        assert sweep([task], Here()).failed == {}
        with np.load(task.folder / "measure-modes.npz") as found:
            true, spaces, lags = (found[k] for k in ("coordinates_true", "spaces", "lags_fs"))
        run, splits = Run.open(task.folder), np.load(task.folder / "splits.npz")
        x = run.trajectories()[0].positions
        start = int(splits["test_starts"][0])
        moved = x[start + np.round(lags / 0.5).astype(int)] - x[start].mean(0)
        np.testing.assert_allclose((true[0] ** 2).sum((1, 2)), (moved**2).sum((1, 2)), rtol=1e-4)
        assert len(spaces) == true.shape[2] == len(x[0])

    def test_estimate_counts_what_there_is_to_do(self, ethanol: Path) -> None:
        cost = estimate(job_of(ethanol))
        assert cost.epochs == 3
        assert 0 < cost.training < 60
        assert cost.beginning > 10  # a process has to start
        times = (cost.beginning, cost.fitting, cost.training, cost.validation, cost.evaluation)
        assert cost.seconds == sum(times)
        longer = estimates([job_of(ethanol, epochs=300), job_of(ethanol, epochs=300, seed=1)])
        first, second = longer.values()
        assert first is second  # seeds are alike
        assert 10 < first.training / cost.training < 1000  # 100, but two timings
        trivial = {key: value for key, value in TINY.items() if not key.startswith("model.")}
        assert estimate(_persistence(ethanol, trivial)).training == 0

    def test_jobs_that_read_a_file_otherwise_are_timed_apart(
        self, ethanol: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(timing, "estimate", lambda job: job.reader.stride)
        job = job_of(ethanol)
        thinned = replace(job, reader=Reader(stride=2))
        assert list(estimates([job, job_of(ethanol, seed=1), thinned]).values()) == [None, None, 2]

    def test_a_long_fit_is_cut_short(self) -> None:
        class Slow:
            done = 0

            def prepare(self, _: object, report: Report) -> None:
                for step in range(5000):
                    time.sleep(0.002)
                    self.done = step + 1
                    report(step + 1, 5000)

        slow = Slow()
        assert 10 < _fit(slow, None) < 100  # 5000 times 2 ms and more
        assert slow.done < 100


def _persistence(file: Path, settings: dict) -> Job:
    from gfnode.experiment import configure

    return Job((str(file),), configure("default", settings | {"model.name": "persistence"}))


class TestProcesses:
    def test_killed_and_continued(self, ethanol: Path, tmp_path: Path) -> None:
        """Kill -9 in the middle: workers end too, and what comes after is as if nothing was."""
        out, epochs = tmp_path / "out", 150
        killed = process(out, ethanol, jobs=2, epochs=epochs)
        folder = Store(out).folder(job_of(ethanol, epochs=epochs))
        history = folder / "history.csv"
        wait_for(lambda: history.exists() and history.read_text().count("\n") > 3)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        tasks = [Store(out).task(job_of(ethanol, seed=s, epochs=epochs)) for s in range(2)]
        wait_for(lambda: not any(task.busy for task in tasks), 10)
        assert State.STARTED in {task.state for task in tasks}
        assert 3 <= tasks[0].done_epochs < epochs
        summary = sweep(tasks, Here())
        assert (len(summary.done), summary.failed) == (2, {})
        whole = Store(tmp_path / "whole").task(job_of(ethanol, epochs=epochs))
        do(whole.folder)
        a, b = (load_file(each / "weights.safetensors") for each in (folder, whole.folder))
        assert all(np.array_equal(a[key], b[key]) for key in a)
        assert (folder / "history.csv").read_text().count("\n") == epochs + 1

    def test_two_sweeps_on_one_folder(self, ethanol: Path, tmp_path: Path) -> None:
        """Every run is done by exactly one of them, and both end with all of them."""
        out, jobs, epochs = tmp_path / "out", 2, 20
        both = [process(out, ethanol, jobs=jobs, epochs=epochs) for _ in range(2)]
        said = [json.loads(each.communicate(timeout=120)[0]) for each in both]
        assert [failed for *_, failed in said] == [{}, {}]
        assert [done + reused for done, reused, _ in said] == [jobs, jobs]
        folders = list((out / "runs").iterdir())
        assert len(folders) == jobs
        for folder in folders:
            assert (folder / "history.csv").read_text().count("\n") == epochs + 1
            assert read_json(folder / "run.json")["training"]["epochs"] == epochs

    def test_a_killed_worker_is_one_failure(self, ethanol: Path, tmp_path: Path) -> None:
        tasks = [Store(tmp_path).task(job_of(ethanol, epochs=n)) for n in (4000, 2)]
        launcher = Local(Resources(), 2)
        handles = []
        start = launcher.start

        def remember(task: object) -> object:
            handles.append(start(task))  # type: ignore[arg-type]
            return handles[-1]

        class Killer:
            def look(self, waiting: list, running: list, summary: Summary) -> None:
                if summary.done and tasks[0].done_epochs > 1 and handles[0].process.poll() is None:
                    handles[0].process.kill()

            def ended(self, task: object, failure: str | None) -> None:
                pass

        launcher.start = remember  # type: ignore[method-assign, assignment]
        summary = sweep(tasks, launcher, Killer())
        assert [each.name for each in summary.done] == [tasks[1].name]
        assert "SIGKILL" in summary.failed[tasks[0].name]
        assert tasks[0].state is State.STARTED

    def test_thread_budget(self) -> None:
        assert Resources(cpus=3).environment["OMP_NUM_THREADS"] == "3"
        assert Local(Resources(memory=1e15)).slots == 1
        assert Local(Resources(), 7).slots == 7

    @pytest.mark.filterwarnings("ignore::ResourceWarning")  # submitit leaves its logs open
    def test_slurm_through_submitit(self, ethanol: Path, tmp_path: Path) -> None:
        pytest.importorskip("submitit")
        task = Store(tmp_path).task(job_of(ethanol))
        summary = sweep([task], Slurm(Resources(), tmp_path / "slurm", cluster="local", hours=0.1))
        assert (len(summary.done), summary.failed) == (1, {})

    def test_slurm_that_is_not_there(self, tmp_path: Path) -> None:
        pytest.importorskip("submitit")
        with pytest.raises(InputError, match="SLURM"):
            Slurm(Resources(), tmp_path)


class TestDisplay:
    @pytest.mark.parametrize(
        ("seconds", "said"),
        [(40, "40 s"), (720, "12 min"), (3600, "1 h"), (12000, "3 h 20 min"), (187200, "2 d 4 h")],
    )
    def test_durations(self, seconds: float, said: str) -> None:
        assert format_duration(seconds) == said

    def test_lines_without_a_terminal(self, ethanol: Path, tmp_path: Path) -> None:
        import io

        buffer = io.StringIO()
        tasks = [Store(tmp_path).task(job_of(ethanol, seed=seed)) for seed in range(2)]

        def work(task: object) -> None:
            if task.name == tasks[0].name:  # type: ignore[attr-defined]
                raise RuntimeError("no")
            TestScheduling.finish(task)

        with ProgressDisplay(Console(file=buffer, width=60), 2) as display:
            sweep(tasks, Here(work=work), display)
        assert buffer.getvalue().splitlines() == [
            f"failed {tasks[0].name}: no",
            f"done   {tasks[1].name}",
        ]


class TestBackbone:
    def test_of_alanine_dipeptide(self) -> None:
        names = ("C", "O", "N", "CA", "CB", "C", "O", "N", "C")
        residues = (1, 1, 2, 2, 2, 2, 2, 3, 3)
        topology = Topology(names, tuple("X" for _ in names), residues, np.empty((0, 2), int))
        assert backbone(topology).tolist() == [[0, 2, 3, 5], [2, 3, 5, 7]]

    def test_of_something_else(self) -> None:
        with pytest.raises(InputError, match="no residue"):
            backbone(None)


def test_other_lags_keep_the_test_starts_of_a_shuffled_split(tmp_path: Path) -> None:
    """The published split of alanine dipeptide is shuffled anew with every horizon."""
    changes = {"windows.split": "published-alanine", "windows.horizon": 60.0}
    run = gfnode.fit(
        wiggle(400), changes=changes | {"model.name": "persistence"}, out=tmp_path / "run"
    )
    test = read_arrays(run.folder / "splits.npz")["test_starts"]
    for lags in ([20.0, 40.0], [20.0, 100.0]):
        windows = windows_at(run, run.trajectories(), lags)
        assert set(windows.starts.tolist()) <= set(test.tolist())
        assert len(windows) > 0.7 * len(test)
        batch = windows.batch(torch.arange(len(windows)))
        np.testing.assert_allclose(batch.lags, np.tile(lags, (len(windows), 1)), rtol=1e-6)
