"""``gfnode rollout``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from gfnode.cli.app import app
from gfnode.cli.bars import new_bar
from gfnode.cli.console import WITH_RESUME, note, resumable
from gfnode.cli.options import (
    AS_STORED,
    Frames,
    Geometry,
    Json,
    Output,
    Reading,
    RunFolder,
    Start,
    StartFrame,
    keep_inputs,
    load_start,
    reads,
    with_geometry,
)
from gfnode.units import format_time, parse_time

if TYPE_CHECKING:
    from gfnode.progress import Report


@app.command(
    epilog="""\b
Examples:
  gfnode rollout runs/toluene --start sample:toluene --frame 4600 --length 10ps --out long.xtc
  gfnode rollout runs/toluene --start sample:toluene --length 10ps --out long.npz --truth \\
      --json long.json
  gfnode rollout runs/toluene --start sample:toluene --length 1ns --every 100fs --out ns.xtc
  gfnode rollout runs/ethanol --start ethanol.npz --length 100ps --seed 1 --out motion.xtc
  gfnode rollout runs/toluene --start sample:toluene --length 2ns --every 100fs --out ns.xtc \\
      --resume

\b
An interrupted rollout continues with the same command and --resume. For direct prediction far
beyond training use gfnode predict; --truth compares both."""
)
@reads(without=["stride"])
def rollout(
    run: RunFolder,
    start: Start,
    length: Annotated[
        str, typer.Option(metavar="TIME", help="Length of the rollout, with unit: 10ps, 5ns.")
    ],
    out: Frames,
    frame: StartFrame = None,
    stride: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Time of one application of the model; default: its horizon."
        ),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Time between frames; default: the first multiple of the time step from 10 fs "
            "(a model that samples: the time of an application).",
        ),
    ] = None,
    sampled: Annotated[
        bool | None,
        typer.Option(
            "--sampled/--means",
            help="Draw one of the possible motions, or take their mean. Default: a motion, if the "
            "model has learned a potential.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Random seed.")] = 0,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the interrupted rollout in --out, or begin one."),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace --out and any unfinished rollout there."),
    ] = False,
    truth: Annotated[
        bool,
        typer.Option(
            "--truth",
            help="Compare with the true continuation of starts in --start (its test part, if the "
            "model was trained on it): rollout, direct prediction, persistence, mean conformer.",
        ),
    ] = False,
    starts: Annotated[
        int, typer.Option(metavar="NUMBER", min=2, help="Most starts of --truth.")
    ] = 64,
    json_file: Json = None,
    geometry: Geometry = "mean",
    reading: Reading = AS_STORED,
) -> None:
    """Apply a model repeatedly, far beyond its horizon.

    Frames are written as they are computed. The end of the output says what broke first, how far
    distributions have drifted from the training data, and with --truth how fast errors grow.
    """
    from gfnode import report
    from gfnode.errors import InputError
    from gfnode.files import as_json
    from gfnode.prediction import not_in_loss
    from gfnode.readers.saving import topology_path
    from gfnode.readers.unfinished import check_one_way
    from gfnode.rollout.runs import parse_length
    from gfnode.run import Run

    check_one_way(resume=resume, overwrite=overwrite)
    if sampled and geometry != "mean":
        raise InputError(
            f"--sampled draws motions, not means to be made a {geometry}: leave --geometry out"
        )
    span = parse_length(length)
    for time in filter(None, (stride, every)):
        parse_time(time)  # says what is wrong before any note
    output = Output(json_file)
    terminal = output.terminal
    found = with_geometry(Run.open(run), geometry)
    keep_inputs([out, output.target], [start], reading.top, found)
    given = load_start(found, start, reading.reader())
    truths = None
    if truth:
        seen = any(found.provenance.holds(each) for each in given)
        truths = found.trajectories() if seen else given
    moving = found.model.follows if sampled is None else sampled  # that moves all atoms
    if not moving and (unseen := not_in_loss(found.model)):
        note(
            f"{unseen}, but each application starts from there. For rollouts, train with "
            "--set windows.score=all"
        )
    with resumable([WITH_RESUME]), _progress(span) as advance:
        rolled = found.rollout(
            given[0],
            span,
            out,
            frame=frame,
            stride=stride,
            every=every,
            seed=seed,
            sampled=sampled,
            resume=resume,
            overwrite=overwrite,
            truth=truths,
            starts=starts,
            advance=advance,
        )
    result = as_json(rolled.to_dict())
    output.say(
        f"{out}: {result['frames']} frames of {given[0].label}, every "
        f"{format_time(result['every_fs'])}"
    )
    if (topology := topology_path(out)) is not None:
        output.say(f"{topology}: its topology")
    output.say(*report.describe_rollout(result))
    if result["training"] is not None:
        terminal.print()
        terminal.print(report.drift_table(result))
    if result["errors"] is not None:
        terminal.print(report.growth_table(result))
        output.say(*report.growth_sentences(result))
    output.numbers(result)


@contextmanager
def _progress(span_fs: float) -> Iterator["Report"]:
    """A bar with the time reached, the speed in ps/s, and the time left."""
    from rich.progress import BarColumn, TimeRemainingColumn

    span = span_fs / 1000
    columns = (
        "{task.description}",
        BarColumn(),
        "{task.completed:.6g} of {task.total:.6g} {task.fields[unit]}",
        "{task.fields[speed]}",
        TimeRemainingColumn(),
    )
    with new_bar(*columns) as bar:
        task = bar.add_task("rollout", total=span, unit="ps", speed="")
        done = 0

        def advance(now: int, of: int) -> None:
            nonlocal done
            if now < done:  # frames are done; now the starts of --truth
                bar.reset(task, total=of, description="compared with truth")
            done = now
            frames = bar.tasks[0].description == "rollout"
            place = now / of * span if frames else now
            bar.update(task, completed=place, unit="ps" if frames else "applications")
            speed = bar.tasks[0].speed
            bar.update(task, speed=f"{speed:.3g} ps/s" if speed and frames else "")

        yield advance
