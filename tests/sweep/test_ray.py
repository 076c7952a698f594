"""A sweep on a Ray cluster of two nodes, one of which dies in the middle."""

import json
import os
import socket
import time
from pathlib import Path

import pytest

from gfnode.errors import InputError
from gfnode.files import read_json
from gfnode.sweep import State, Store, sweep
from gfnode.sweep.launchers import Ray, Resources
from gfnode.sweep.schedule import Summary
from gfnode.sweep.store import Task
from sweeps import job_of, write_md17

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,  # two nodes take half a minute to start
    pytest.mark.filterwarnings("ignore"),  # of Ray itself
    pytest.mark.xdist_group("ray"),  # "auto" finds a cluster of any process of this machine
]

EPOCHS = 300
RESOURCES = Resources(cpus=1, memory=2e8)


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    data = write_md17(tmp_path / "md17_ethanol.npz", "ethanol")
    return [Store(tmp_path / "out").task(job_of(data, seed=n, epochs=EPOCHS)) for n in range(4)]


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    memory = {"object_store_memory": 80_000_000, "memory": 2_000_000_000}
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False} | memory,
    )
    made.memory = memory
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_lost_node_loses_no_run(cluster, tasks: list[Task]) -> None:
    second = cluster.add_node(num_cpus=1, **cluster.memory)
    cluster.wait_for_nodes()
    killed: list[str] = []

    class Killer:
        """Kills the second node once both are in the middle of a run."""

        def look(self, waiting: list[Task], running: list[Task], summary: Summary) -> None:
            begun = [task.name for task in tasks if 3 < task.done_epochs < EPOCHS]
            if len(begun) >= 2 and not killed:
                killed.extend(begun)
                cluster.remove_node(second, allow_graceful=False)

        def ended(self, task: Task, failure: str | None) -> None:
            assert failure is None

    summary = sweep(tasks, Ray(RESOURCES, cluster.address), Killer())
    assert len(killed) == 2
    assert summary.failed == {}
    assert sorted(task.name for task in summary.done) == sorted(task.name for task in tasks)
    for task in tasks:
        assert task.state is State.FINISHED
        history = (task.folder / "history.csv").read_text().splitlines()
        assert [line.split(",")[0] for line in history[1:]] == [
            str(n) for n in range(1, EPOCHS + 1)
        ]
        assert read_json(task.folder / "run.json")["training"]["epochs"] == EPOCHS
    assert len(list(tasks[0].folder.parent.iterdir())) == len(tasks)


def test_a_failing_job_is_not_retried(tmp_path: Path) -> None:
    data = write_md17(tmp_path / "md17_ethanol.npz", "ethanol")
    task = Store(tmp_path).task(job_of(data, settings={"windows.horizon": "900fs"}))
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=80_000_000)
    try:
        summary = sweep([task], Ray(RESOURCES))
    finally:
        ray.shutdown()
    assert "900 fs" in json.dumps(summary.failed)


def test_no_cluster() -> None:
    with pytest.raises(InputError, match="no Ray cluster answers at"):
        Ray(RESOURCES, "auto")


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://localhost:{}", "[::1]:{}"])
def test_nobody_listens(address: str) -> None:
    """Ray itself tried again and again for minutes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(InputError, match="no Ray cluster answers at"):
        Ray(RESOURCES, address.format(port))
    assert time.monotonic() - began < 30
