"""``gfnode reproduce``."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from gfnode import runfiles
from gfnode.cli.app import app
from gfnode.cli.console import console
from gfnode.cli.options import read_settings
from gfnode.cli.sweeping import make_launcher, one_of, run_sweep, show_costs, show_states
from gfnode.errors import InputError
from gfnode.terminal import titled_table
from gfnode.units import count

if TYPE_CHECKING:
    from gfnode.paper.documents import Made
    from gfnode.paper.grids import Grid
    from gfnode.paper.plan import Choice, Planned
    from gfnode.paper.search import Trial
    from gfnode.paper.specs import Spec
    from gfnode.sweep.jobs import Job
    from gfnode.sweep.launchers import Launcher
    from gfnode.sweep.store import Task


@app.command(
    epilog="""\b
Examples:
  gfnode reproduce --list
  gfnode reproduce table1 --data md17 --out results --dry-run
  gfnode reproduce table1 --data md17 --out results --molecules ethanol,uracil --seeds 1 \\
      --epochs 100
  gfnode reproduce table4 --data md17 --out results --models egnn,gfnode --split blocked
  gfnode reproduce table1 --data md17 --out results --models all,my-model
  gfnode reproduce table1 --data md17 --out results --epochs 100 \\
      --search training.rate=0.0003,0.001,0.003 --search-on ethanol
  gfnode reproduce table1 --data md17 --out results --launcher ray --ray auto

\b
The same command continues a sweep that was stopped; finished runs are reused."""
)
def reproduce(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT", help="table1 … table4, figure2 … figure4, ingredients; see --list."
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the tables and figures, and exit.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the runs and their estimated cost, and exit."),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the trajectories; default GFNODE_DATA, else data."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the runs and the results.")
    ] = Path("results"),
    molecules: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these molecules.")
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Only these rows; any registered model can be one (gfnode models), and all means "
            "those of the table.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Runs per cell, with different seeds.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of epochs per run.")
    ] = None,
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="paper or published.")] = None,
    split: Annotated[str | None, typer.Option(metavar="KIND", help="published or blocked.")] = None,
    metric: Annotated[
        str, typer.Option(metavar="NAME", help="last-lag (as in the paper's tables), mean or eq14.")
    ] = "last-lag",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of all runs; one of a model (model.…) applies to the rows whose "
            "model has it. Repeatable.",
        ),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=A,B,…",
            help="First try these values of a setting with every row and one seed, and keep the "
            "one with the least validation error. Repeatable.",
        ),
    ] = None,
    search_on: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Molecules used by --search; default: all."),
    ] = None,
    horizons: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="figure3: one model for all horizons (default), each its own, or rollout: that "
            "of the shortest, applied repeatedly.",
        ),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="figure4: coordinates (default) or features in the modes."
        ),
    ] = None,
    launcher: Annotated[str, typer.Option(metavar="NAME", help="local, ray or slurm.")] = "local",
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Concurrent runs (local); default: as many as the machine allows."
        ),
    ] = None,
    cpus: Annotated[int, typer.Option(min=1, help="Threads per run.")] = 1,
    gpus: Annotated[
        float, typer.Option(min=0, help="GPUs per run (ray: may be a fraction; slurm).")
    ] = 0.0,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Memory per run, e.g. 2GB; default: depends on the table."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Ray cluster, e.g. auto; default: this machine."),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="SLURM option, e.g. partition=gpu. Repeatable."),
    ] = None,
    hours: Annotated[float, typer.Option(help="Time limit of a SLURM job, in hours.")] = 24.0,
    collect: Annotated[
        bool,
        typer.Option("--collect", help="Train nothing; write the results of finished runs."),
    ] = False,
) -> None:
    """Reproduce a table or figure of the paper."""
    from gfnode.paper import specs

    if listed:
        console().print(_listing())
        return
    if what is None:
        raise InputError(
            f"say what to reproduce: {', '.join(specs.NAMES)} (gfnode reproduce --list)"
        )
    from gfnode.paper.plan import Choice, make_plan, with_rows
    from gfnode.sweep import Store

    spec, rows = with_rows(specs.load(what), _names(models))
    _check_words(spec, metric=metric, split=split, of=of, horizons=horizons)
    if search_on and not search:
        raise InputError("--search-on has no effect without --search")
    folder = data or Path(os.environ.get("GFNODE_DATA", "data"))
    choice = Choice(
        folder,
        _names(molecules),
        rows,
        seeds,
        epochs,
        preset,
        split,
        read_settings(settings or []),
        horizons or "one",
    )
    memory = memory or spec.memory
    store = Store(out)

    find = store.look if collect else store.task  # nothing is made of what is not done

    def start() -> "Launcher":
        return make_launcher(launcher, out, jobs, cpus, gpus, memory, ray, slurm, hours)

    def show(runs: "list[Planned]") -> None:
        if collect:
            show_states(runs, store)
        else:
            show_costs(runs, store, jobs, cpus, memory)

    failed: dict[str, str] = {}
    found: Grid | None = None
    if search:
        from gfnode.paper.search import Search, plan_search

        with _naming_data():
            trials = plan_search(spec, choice, Search.read(search, _names(search_on)))
        if dry_run:
            show([each.planned for each in trials])
            typer.echo("these are the runs of the search; later runs depend on their results")
            return
        choice, found, failed = _search(spec, choice, trials, find, None if collect else start)
    with _naming_data():
        planned = make_plan(spec, choice)
    if dry_run:
        show(planned)
        return
    tasks = [find(each.job, each.measures) for each in planned]
    if not collect:
        failed |= run_sweep(tasks, start())
    made = _made(spec, choice, planned, failed, found)
    _draw(spec, choice, planned, tasks, metric=metric, of=of or "coordinates", made=made, out=out)
    if failed:
        typer.echo(f"{count(len(failed), 'run')} failed; the same command retries", err=True)
        raise typer.Exit(1)


def _check_words(
    spec: "Spec", *, metric: str, split: str | None, of: str | None, horizons: str | None
) -> None:
    """Refuse options of unknown values, or that have no effect on what is reproduced."""
    from gfnode.paper.results import METRICS

    one_of("--metric", metric, METRICS)
    one_of("--split", split, ("published", "blocked"))
    one_of("--of", of, ("coordinates", "features"))
    one_of("--horizons", horizons, ("one", "each", "rollout"))
    _of_its_kind("--of", of, spec, "spectra")
    _of_its_kind("--horizons", horizons, spec, "horizons")


@contextmanager
def _naming_data() -> Iterator[None]:
    """Say what to fetch where data is missing."""
    from gfnode.paper.data import MissingData

    try:
        yield
    except MissingData as error:
        for line in error.lines:
            typer.echo(line, err=True)
        raise


def _search(
    spec: "Spec",
    choice: "Choice",
    trials: "list[Trial]",
    find: "Callable[[Job], Task]",
    start: "Callable[[], Launcher] | None",
) -> "tuple[Choice, Grid, dict[str, str]]":
    """Train what a search needs (nothing without a launcher), and choose each row's settings."""
    from gfnode.files import read_json
    from gfnode.paper.search import conclude
    from gfnode.sweep import State

    tasks = [find(each.planned.job) for each in trials]
    failed = {} if start is None else run_sweep(tasks, start())
    errors = [
        read_json(task.folder / runfiles.RUN)["training"]["best_validation_error"]
        if task.state is State.FINISHED
        else None
        for task in tasks
    ]
    found = conclude(trials, errors)
    for row, values in found.values.items():
        mine = {key: value for key, value in values.items() if spec.row(row).takes(key)}
        kept = ", ".join(f"{key}={value}" for key, value in mine.items())
        typer.echo(f"search: {row} keeps {kept or 'its settings'}")
    return replace(choice, of_rows=found.values), found.grid(spec), failed


def _made(
    spec: "Spec",
    choice: "Choice",
    planned: "list[Planned]",
    failed: dict[str, str],
    search: "Grid | None",
) -> "Made":
    """How the results came to be, for their documents."""
    from gfnode.paper.documents import Made

    return Made(
        command=shlex.join(["gfnode", *sys.argv[1:]]),
        preset=choice.preset or spec.preset,
        splits=sorted({each.job.experiment.windows.split for each in planned}),
        seeds=choice.seeds or spec.seeds,
        epochs=max(each.job.experiment.training.epochs for each in planned),
        failed=failed,
        search=search,
    )


def _draw(
    spec: "Spec",
    choice: "Choice",
    planned: "list[Planned]",
    tasks: "list[Task]",
    *,
    metric: str,
    of: str,
    made: "Made",
    out: Path,
) -> None:
    from gfnode.paper.draw import draw
    from gfnode.paper.plan import chosen_rows
    from gfnode.paper.results import Place, Result
    from gfnode.sweep import State

    found = [
        Result(
            Place(each.row.id, each.molecule, each.variant.id, each.seed),
            task.folder,
            {measure.name: measure.file for measure in each.measures},
        )
        for each, task in zip(planned, tasks, strict=True)
        if task.state is State.FINISHED
    ]
    if not found:
        raise InputError(f"no run is finished yet, so there is nothing to draw (in {out / 'runs'})")
    rows, each = chosen_rows(spec, choice.models), choice.horizons == "each"
    terminal = console()
    for line in draw(spec, rows, found, metric=metric, of=of, each=each, made=made, out=out):
        terminal.print(line, soft_wrap=isinstance(line, str))


def _listing() -> Table:
    from gfnode.paper import specs

    heads = ("what", "shows", "rows (--models)", "molecules", "budget")
    table = titled_table("gfnode reproduce WHAT", *heads)
    for name in specs.NAMES:
        spec = specs.load(name)
        table.add_row(
            name,
            spec.title,
            ", ".join(row.id for row in spec.rows),
            ", ".join(spec.molecules),
            f"{spec.epochs} epochs, {spec.seeds} seeds, {spec.split} split",
        )
    return table


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [each.strip() for each in text.split(",") if each.strip()]
    if not names:
        raise InputError(f"{text!r} contains no names: expected names separated by commas")
    return names


def _of_its_kind(option: str, value: str | None, spec: "Spec", kind: str) -> None:
    if value is not None and spec.kind != kind:
        from gfnode.paper import specs

        those = [name for name in specs.NAMES if specs.load(name).kind == kind]
        raise InputError(f"{option} {value} has no effect here: it applies to {', '.join(those)}")
