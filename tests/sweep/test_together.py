"""Runs that train in turns in one process, and what follows in processes of their own."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from gfnode.files import make_folder, read_json
from gfnode.sweep import State, Store, Summary, Task, sweep
from gfnode.sweep.crew import Member
from gfnode.sweep.launchers import Local, Resources, gpu_memory
from gfnode.sweep.together import Together
from gfnode.sweep.worker import do
from making import layered
from sweeps import TINY, job_of, write_md17


@pytest.fixture(scope="module")
def ethanol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_md17(tmp_path_factory.mktemp("data") / "md17_ethanol.npz", "ethanol")


def alone(folder: Path, *jobs: object) -> list[dict[str, np.ndarray]]:
    tasks = [Store(folder).task(job) for job in jobs]  # type: ignore[arg-type]
    for task in tasks:
        do(task.folder)
    return [load_file(task.folder / "weights.safetensors") for task in tasks]


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_turns_come_to_what_each_comes_to_alone(ethanol: Path, tmp_path: Path) -> None:
    """Whatever the runs: other seeds, models and lengths."""
    jobs = [job_of(ethanol, seed=s, epochs=3 + s) for s in range(2)] + [
        job_of(ethanol, settings={"model.lag_width": 4})
    ]
    expected = alone(tmp_path / "alone", *jobs)
    tasks = [Store(tmp_path / "together").task(job) for job in jobs]
    members = [Member(str(task.folder)) for task in tasks]
    order, left = [], list(members)
    while left:
        for member in list(left):
            order.append(members.index(member))
            if not member.turn():
                left.remove(member)
    assert order[:6] == [0, 1, 2, 0, 1, 2]  # nobody waits for another's end
    assert not any(task.busy for task in tasks)
    assert [task.state for task in tasks] == [State.STARTED] * 3  # nothing is evaluated here
    for task, weights in zip(tasks, expected, strict=True):
        do(task.folder)
        assert same(load_file(task.folder / "weights.safetensors"), weights)


def test_layers_that_draw_come_to_what_they_do_alone(
    ethanol: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout takes the random numbers of PyTorch, which all in a process share."""
    for key in ("width", "layers", "still"):
        monkeypatch.delitem(TINY, f"model.{key}")
    with layered() as name:
        jobs = [job_of(ethanol, seed=s, settings={"model.name": name}) for s in range(2)]
        expected = alone(tmp_path / "alone", *jobs)
        tasks = [Store(tmp_path / "together").task(job) for job in jobs]
        members = [Member(str(task.folder)) for task in tasks]
        before = torch.get_rng_state()
        while members:
            members = [member for member in members if member.turn()]
        assert torch.equal(torch.get_rng_state(), before)
        for task, weights in zip(tasks, expected, strict=True):
            do(task.folder)
            assert same(load_file(task.folder / "weights.safetensors"), weights)


def test_a_job_that_another_process_is_at_keeps_nobody_waiting(
    ethanol: Path, tmp_path: Path
) -> None:
    tasks = [Store(tmp_path).task(job_of(ethanol, seed=s, epochs=2)) for s in range(2)]
    taken, free = (Member(str(task.folder)) for task in tasks)
    with tasks[0].lock:
        assert taken.turn()
        assert taken.waits
        while free.turn():
            assert not free.waits
            assert taken.turn()
    assert (tasks[1].folder / "last.safetensors").exists()
    assert not (tasks[0].folder / "run.json").exists()
    while taken.turn():
        assert not taken.waits
    assert (tasks[0].folder / "last.safetensors").exists()
    assert not any(task.busy for task in tasks)


def test_a_failure_is_that_of_one(ethanol: Path, tmp_path: Path) -> None:
    bad, good = (Store(tmp_path).task(job_of(ethanol, seed=s)) for s in range(2))
    (bad.folder / "job.json").write_text("{")
    members = [Member(str(task.folder)) for task in (bad, good)]
    while members:
        members = [member for member in members if member.turn()]
    assert "job.json" in str(bad.failure)
    assert good.failure is None
    assert (good.folder / "last.safetensors").exists()


def test_a_sweep_of_runs_in_turns(ethanol: Path, tmp_path: Path) -> None:
    """Trained in one process, evaluated and measured in others."""
    store = Store(tmp_path)
    tasks = [store.task(job_of(ethanol, seed=s)) for s in range(3)]
    launcher = Together(Resources(), tmp_path, {}, 3)
    summary = sweep(tasks, launcher)
    assert (len(summary.done), summary.failed) == (3, {})
    assert not any(crew.alive for crew in launcher.crews.values())
    for task in tasks:
        assert task.state is State.FINISHED
        assert read_json(task.folder / "run.json")["training"]["epochs"] == 3
    again = sweep(tasks, Together(Resources(), tmp_path, {}, 3))
    assert len(again.reused) == 3


def test_the_process_that_is_killed_fails_its_runs_and_no_others(
    ethanol: Path, tmp_path: Path
) -> None:
    """What they saved stays, and the runs that wait get another process."""
    store = Store(tmp_path)
    tasks = [store.task(job_of(ethanol, seed=s, epochs=4000)) for s in range(2)]
    tasks.append(store.task(job_of(ethanol, epochs=2)))
    launcher = Together(Resources(), tmp_path, {}, 2)
    first = launcher.crews[None]

    class Killer:
        def look(self, waiting: list[Task], running: list[Task], summary: Summary) -> None:
            if min(task.done_epochs for task in tasks[:2]) > 1 and first.alive:
                first.process.kill()

        def ended(self, task: Task, failure: str | None) -> None:
            pass

    summary = sweep(tasks, launcher, Killer())
    assert [task.name for task in summary.done] == [tasks[2].name]
    assert set(summary.failed) == {task.name for task in tasks[:2]}
    assert all("ended by SIGKILL" in said for said in summary.failed.values())
    assert all((task.folder / "last.safetensors").exists() for task in tasks[:2])


def test_a_process_that_dies_when_it_is_asked_fails_one_run(
    ethanol: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [Store(tmp_path).task(job_of(ethanol, seed=s)) for s in range(2)]
    launcher = Together(Resources(), tmp_path, {}, 1)
    first = launcher.crews[None]
    first.process.kill()
    first.process.wait()
    monkeypatch.setattr(type(first), "alive", property(lambda _: True))  # nobody knows yet
    handle = launcher.start(tasks[0])
    monkeypatch.undo()
    assert handle.ended()
    assert "SIGKILL" in handle.said()
    summary = sweep(tasks[1:], launcher)
    assert len(summary.done) == 1


def test_the_process_ends_with_the_sweep(ethanol: Path, tmp_path: Path) -> None:
    launcher = Together(Resources(), tmp_path, {}, 1)
    crew = launcher.crews[None]
    crew.ask(Store(tmp_path).task(job_of(ethanol, epochs=4000)))
    assert crew.process.stdin is not None
    crew.process.stdin.close()  # as when the sweep is killed
    assert crew.process.wait(60) == 0
    launcher.close()


def test_as_many_at_once_as_memory_carries(tmp_path: Path) -> None:
    for free, slots in (([80e9], 16), ([8e9], 2), ([1e9], 1), ([80e9, 8e9], 18)):
        memory = dict(enumerate(free))
        launcher = Together(Resources(), tmp_path, memory)
        launcher.close()
        assert launcher.slots == slots
        assert len(launcher.crews) == len(memory)


def test_a_gpu_that_fails_is_left_out_and_the_others_keep_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def free(number: int) -> tuple[int, int]:
        if number == 0:
            raise RuntimeError("CUDA error")
        return 8 * 10**9, 80 * 10**9

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "mem_get_info", free)
    assert gpu_memory() == {1: 8e9, 2: 8e9}
    given: list[str | None] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, words: list[str], **options: Any) -> None:
            given.append(options["env"].get("CUDA_VISIBLE_DEVICES"))
            super().__init__(words, **options)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    monkeypatch.setattr(subprocess, "Popen", Recorded)
    launcher = Together(Resources(), tmp_path, gpu_memory())
    launcher.close()
    assert given == ["5", "7"]
    local, task = Local(Resources()), Task(make_folder(tmp_path / "job"))
    handles = [local.start(task) for _ in range(3)]
    for handle in handles:
        handle.stop()
        assert handle.ended()
    assert given[2:] == ["5", "7", "5"]
