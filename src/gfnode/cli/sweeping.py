"""Sweeps from the command line: their launcher, their progress, and what they will cost."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gfnode.cli.console import console, resumable
from gfnode.cli.options import read_settings
from gfnode.errors import InputError
from gfnode.terminal import titled_table
from gfnode.units import count

if TYPE_CHECKING:
    from gfnode.paper.plan import Planned
    from gfnode.sweep.launchers import Launcher
    from gfnode.sweep.store import Store, Task


def run_sweep(tasks: "list[Task]", launcher: "Launcher") -> dict[str, str]:
    """Do the tasks and show how far they are; give back why some failed, by name."""
    from gfnode.sweep import sweep
    from gfnode.sweep.display import ProgressDisplay

    terminal = console(stderr=True)
    total = len({task.folder for task in tasks})
    with (
        resumable(["the same command continues"]),
        ProgressDisplay(terminal, total) as display,
    ):
        summary = sweep(tasks, launcher, display)
    terminal.print(
        f"{count(total, 'run')}: {len(summary.done)} done, {len(summary.reused)} done before, "
        f"{len(summary.failed)} failed"
    )
    for name, reason in summary.failed.items():
        terminal.print(f"failed {name}: {reason}", soft_wrap=True)
    return summary.failed


def make_launcher(
    name: str,
    out: Path,
    jobs: int | None,
    cpus: int,
    gpus: float,
    memory: str,
    ray: str | None,
    slurm: list[str] | None,
    hours: float,
) -> "Launcher":
    """Make the launcher that the options ask for."""
    from gfnode.memory import limit
    from gfnode.sweep.launchers import Local, Ray, Resources, Slurm, gpu_memory
    from gfnode.sweep.together import Together

    one_of("--launcher", name, ("local", "ray", "slurm"))
    for its, said in (("ray", ray), ("slurm", slurm)):
        if said and name != its:
            raise InputError(
                f"--{its} has no effect with --launcher {name}: expected --launcher {its}"
            )
    if gpus and name == "local":
        raise InputError(
            f"--gpus {gpus:g} has no effect with --launcher local, which uses all there are"
        )
    resources = Resources(cpus, gpus, limit(memory))
    if name == "ray":
        return Ray(resources, ray)
    if name == "slurm":
        given = read_settings(slurm or [])
        cluster = str(given.pop("cluster", "slurm"))
        options = {f"slurm_{key}": value for key, value in given.items()}
        return Slurm(resources, out / "slurm", hours=hours, options=options, cluster=cluster)
    if memory_of_gpus := gpu_memory():
        return Together(resources, out, memory_of_gpus, jobs)
    return Local(resources, jobs)


def show_costs(
    planned: "list[Planned]", store: "Store", jobs: int | None, cpus: int, memory: str
) -> None:
    """Show the runs and what they will cost, from a few steps of each."""
    from gfnode.memory import limit
    from gfnode.sweep import State
    from gfnode.sweep.launchers import Local, Resources
    from gfnode.sweep.timing import estimates
    from gfnode.units import format_duration

    terminal = console()
    costs = estimates(each.job for each in planned)
    table = titled_table("Runs")
    for title in ("run", "state", "weights", "epochs", "time at most"):
        table.add_column(title, justify="left" if title in ("run", "state") else "right")
    left, longest, seen = 0.0, 0.0, set()
    for each in planned:
        if each.job.key in seen:
            continue
        seen.add(each.job.key)
        cost = costs[each.job.key]
        task = store.look(each.job, each.measures)
        if task.state is not State.FINISHED:
            left += cost.seconds
            longest = max(longest, cost.seconds)
        time = format_duration(cost.seconds)
        table.add_row(task.name, task.state, str(cost.weights), str(cost.epochs), time)
    terminal.print(table)
    slots = Local(Resources(cpus, memory=limit(memory)), jobs).slots or 1
    terminal.print(
        f"{len(seen)} runs; estimated from a few steps of each: {format_duration(left)} on one "
        f"processor left, about {format_duration(max(left / slots, longest))} with {slots} at "
        "once here"
    )


def show_states(planned: "list[Planned]", store: "Store") -> None:
    """Show the runs and which of them are finished; nothing is trained, so nothing is timed."""
    from gfnode.sweep import State

    tasks = {each.job.key: store.look(each.job, each.measures) for each in planned}.values()
    table = titled_table("Runs", "run", "state")
    for task in tasks:
        table.add_row(task.name, task.state)
    console().print(table)
    finished = sum(task.state is State.FINISHED for task in tasks)
    typer.echo(f"{len(tasks)} runs, {finished} finished: --collect draws their results")


def one_of(option: str, value: str | None, known: Iterable[object]) -> None:
    """Refuse a value that is not among the known ones."""
    words = [str(each) for each in known]
    if value is not None and value not in words:
        raise InputError(f"{option} {value}: expected {', '.join(words)}")
