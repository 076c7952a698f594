"""How jobs become processes: here, on a Ray cluster, or through SLURM.

A launcher starts a task and says when it has ended. How it ended is in the folder of the task,
which every machine must reach.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gfnode.errors import InputError
from gfnode.files import check_no_link
from gfnode.machine import available, cores
from gfnode.sweep.store import Task
from gfnode.sweep.worker import do

MEMORY = 1.5e9
"""Bytes that a job takes on a processor: torch itself is a third of it."""

GPU_MEMORY = 3e9
"""Bytes that a job takes on a GPU, the context of CUDA included."""

RETRIES = 5
"""How often Ray does a task again whose machine or process was lost."""


@dataclass(frozen=True)
class Resources:
    """What one job gets.

    Parameters
    ----------
    cpus
        Threads.
    gpus
        Share of a GPU (Ray), or GPUs (SLURM); 0 asks for none.
    memory
        Bytes.
    """

    cpus: int = 1
    gpus: float = 0.0
    memory: float = MEMORY

    @property
    def environment(self) -> dict[str, str]:
        """The thread budget, as the libraries read it."""
        names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
        return {f"{name}_NUM_THREADS": str(self.cpus) for name in names}


class Handle(ABC):
    """A task that was started."""

    @abstractmethod
    def ended(self) -> bool:
        """It no longer runs, however it ended."""

    @abstractmethod
    def said(self) -> str:
        """What its end was like, where the folder does not tell."""

    @abstractmethod
    def stop(self) -> None:
        """End it now; it can be taken up again."""


class Launcher(ABC):
    """Starts tasks.

    Attributes
    ----------
    slots
        How many may be started at once; None leaves it to the launcher's own queue.
    """

    slots: int | None = None

    @abstractmethod
    def start(self, task: Task) -> Handle:
        """Start a task."""

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of everything."""


class Local(Launcher):
    """A process for each job on this machine.

    A crash or a kill of one is a failure of one. They end with this process, however it ends.

    Parameters
    ----------
    jobs
        How many at once; None: as many as processors and memory carry.
    """

    def __init__(self, resources: Resources, jobs: int | None = None) -> None:
        self.resources = resources
        self.gpus = gpu_memory()
        self.slots = jobs or self._fit()
        self.taken: set[int] = set()

    def start(self, task: Task) -> Handle:
        """Start a process."""
        place = min(set(range(len(self.taken) + 1)) - self.taken)
        self.taken.add(place)
        environment = os.environ | self.resources.environment
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = visible([*self.gpus][place % len(self.gpus)])
        words = ["-m", "gfnode.sweep", str(task.folder), json.dumps(_measures(task))]
        with check_no_link(task.folder / "job.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # a Ctrl-C is ours to handle
            )
        return _Process(process, self.taken, place, task.folder / "job.log")

    def _fit(self) -> int:
        r = self.resources
        found = [cores() // r.cpus, available() / r.memory]
        if self.gpus:
            found.append(sum(free // GPU_MEMORY for free in self.gpus.values()))
        return max(1, int(min(found)))


@dataclass
class _Process(Handle):
    process: "subprocess.Popen[bytes]"
    taken: set[int]
    place: int
    log: Path

    def ended(self) -> bool:
        if self.process.poll() is None:
            return False
        self.taken.discard(self.place)
        assert self.process.stdin is not None
        self.process.stdin.close()
        return True

    def said(self) -> str:
        return how_it_ended(self.process, self.log)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def how_it_ended(process: "subprocess.Popen[Any]", log: Path) -> str:
    """The end of a process in words, with the last that it said."""
    code = process.returncode
    if code < 0:
        name = signal.Signals(-code).name
        cause = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the process was ended by {name}{cause}"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"the process ended with exit code {code}: {lines[-1] if lines else 'no output'}"


class Ray(Launcher):
    """Tasks of a Ray cluster, or of this machine as one; a task whose node is lost is done again.

    Parameters
    ----------
    address
        Of the cluster (``auto``, ``host:port``, ``ray://…``); None starts one on this machine.

    Raises
    ------
    InputError
        When Ray is not installed or no cluster answers.
    """

    def __init__(self, resources: Resources, address: str | None = None) -> None:
        self.ray = _extra("ray", "ray")
        _check_answers(address)
        self.own = not self.ray.is_initialized()
        try:
            if self.own:
                self.ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(
                f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}"
            ) from error
        # a fresh process each: what one job leaves in memory or on a GPU is not the next one's
        self.work = self.ray.remote(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            memory=resources.memory,
            max_retries=RETRIES,
            max_calls=1,
            runtime_env={"env_vars": resources.environment},
        )(do)

    def start(self, task: Task) -> Handle:
        """Give a task to the cluster."""
        call = (str(task.folder.resolve()), _measures(task))
        return _RayTask(self.ray, self.work.options(name=task.name).remote(*call))

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self.own:
            self.ray.shutdown()


def _check_answers(address: str | None) -> None:
    """Refuse an address where nothing listens; Ray would try to connect for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster answers at {address}: {error}; give the address that `ray start "
            "--head` printed"
        ) from error


@dataclass
class _RayTask(Handle):
    ray: Any
    reference: Any

    def ended(self) -> bool:
        return bool(self.ray.wait([self.reference], timeout=0)[0])

    def said(self) -> str:
        try:
            self.ray.get(self.reference)
        except self.ray.exceptions.RayError as error:
            text = " ".join(str(error).split())
            return f"{type(error).__name__}: {text[:300]}"
        return "the task ended without a result: can every node access the same --out folder?"

    def stop(self) -> None:
        self.ray.cancel(self.reference, force=True)


class Slurm(Launcher):
    """Jobs of a SLURM cluster, through submitit.

    Parameters
    ----------
    folder
        Where submitit keeps its scripts and logs; every node must reach it.
    hours
        Time limit of a job; one that it cuts off goes on when the sweep is started again.
    options
        Of submitit's ``update_parameters``: ``slurm_partition``, ``slurm_account``, …
    cluster
        ``slurm``; ``local`` and ``debug`` are submitit's stand-ins.

    Raises
    ------
    InputError
        When submitit is not installed, or there is no such cluster or option.
    """

    def __init__(
        self,
        resources: Resources,
        folder: Path,
        *,
        hours: float = 24.0,
        options: Mapping[str, Any] | None = None,
        cluster: str = "slurm",
    ) -> None:
        submitit = _extra("submitit", "slurm")
        self.resources = resources
        gpus = {"gpus_per_node": int(resources.gpus)} if resources.gpus else {}
        try:
            self.executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
            self.executor.update_parameters(
                name="gfnode",
                timeout_min=max(1, round(60 * hours)),
                cpus_per_task=resources.cpus,
                mem_gb=max(1.0, resources.memory / 1e9),
                **gpus,
                **(options or {}),
            )
        except (RuntimeError, NameError, TypeError, ValueError) as error:
            raise InputError(f"SLURM: {str(error).splitlines()[0]}") from error

    def start(self, task: Task) -> Handle:
        """Submit a job."""
        call = (str(task.folder.resolve()), _measures(task))
        return _SlurmJob(self.executor.submit(_do_within, self.resources.environment, *call))


@dataclass
class _SlurmJob(Handle):
    job: Any

    def ended(self) -> bool:
        return bool(self.job.done())

    def said(self) -> str:
        error = self.job.exception()
        state = f"the job {self.job.job_id} ended as {self.job.state}"
        return state if error is None else f"{state}: {' '.join(str(error).split())[:300]}"

    def stop(self) -> None:
        self.job.cancel()


def _do_within(environment: Mapping[str, str], folder: str, measures: Any) -> None:
    """Do a job with its thread budget; torch, which is loaded by now, is told itself."""
    import torch

    os.environ.update(environment)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    do(folder, measures)


def gpu_memory() -> dict[int, float]:
    """Free bytes of every GPU that torch sees, by its number; one that fails is left out."""
    import torch

    if not torch.cuda.is_available():
        return {}
    found = {}
    for number in range(torch.cuda.device_count()):
        with suppress(RuntimeError):
            found[number] = float(torch.cuda.mem_get_info(number)[0])
    return found


def visible(number: int) -> str:
    """The name of a GPU, among those that this process may see."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return names.split(",")[number] if names else str(number)


def _measures(task: Task) -> list[dict[str, Any]]:
    return [each.to_dict() for each in task.measures]


def _extra(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{module} is not installed: pip install 'gfnode[{extra}]'") from error
