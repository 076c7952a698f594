"""Does one job: what the process does that a launcher starts."""

import platform
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfnode import plugins, runfiles
from gfnode.errors import InputError
from gfnode.files import read_json, write_json
from gfnode.sweep.jobs import Job, Measure
from gfnode.sweep.store import State, Task

if TYPE_CHECKING:
    from gfnode.experiment import Dataset
    from gfnode.run import Run


def do(folder: str | Path, measures: Sequence[Mapping[str, Any]] = ()) -> None:
    """Do what is left of a job: train or go on training, evaluate, measure.

    Waits while another process is at it. Whatever goes wrong is recorded in the folder.

    Parameters
    ----------
    folder
        Of the job.
    measures
        As :meth:`Measure.to_dict` has them.
    """
    task = Task(Path(folder), tuple(Measure(**each) for each in measures))
    with task.lock, failures_kept(task):
        if task.state is not State.FINISHED:
            _do(task)


@contextmanager
def failures_kept(task: Task) -> Iterator[None]:
    """Forget the last failure of a task, and record another in its folder."""
    task.forget_failure()
    try:
        yield
    except Exception as error:
        if not isinstance(error, InputError) or error.__cause__ is not None:  # for job.log
            traceback.print_exc()
        said = str(error) if isinstance(error, InputError) else plugins.told(error)
        task.fail(said or f"{type(error).__name__}: {error}".splitlines()[0])


def begun(folder: Path) -> "tuple[Run, Dataset | None]":
    """The run of a job, new or taken up again, and its data; None where it has ended."""
    from gfnode.run import fitting

    job = Job.from_dict(read_json(folder / runfiles.JOB))
    if (folder / runfiles.RUN).exists():
        _find_data(folder, job)
        return fitting.reopen(folder)
    return fitting.begin(
        list(job.files),
        changes=job.experiment.model_dump(mode="json"),
        out=folder,
        reader=job.reader,
    )


def _do(task: Task) -> None:
    from gfnode import __version__
    from gfnode.run import Run, fitting
    from gfnode.sweep.measures import MEASURES

    folder, began = task.folder, time.perf_counter()
    if not (folder / runfiles.FINISHED).exists():
        run = fitting.finish(*begun(folder))
        trained = time.perf_counter()
        run.evaluate()
        write_json(
            folder / runfiles.FINISHED,
            {
                "when": datetime.now(UTC).isoformat(timespec="seconds"),
                "gfnode": __version__,
                "weights": run.model.n_weights,
                "evaluation_seconds": time.perf_counter() - trained,
                "seconds": time.perf_counter() - began,
                "host": platform.node(),
            },
        )
    else:
        _find_data(folder, Job.from_dict(read_json(folder / runfiles.JOB)))
        run = Run.open(folder)
    for measure in task.missing:
        MEASURES[measure.name](run, folder / measure.file, **measure.options)


def _find_data(folder: Path, job: Job) -> None:
    """Tell a run where its data lies now; the key of the job says that it is the same."""
    from gfnode.experiment.provenance import Provenance

    facts = read_json(folder / runfiles.RUN)
    options = job.reader.options()
    before = Provenance(facts["data"]).files
    now = [str(Path(file).expanduser().resolve()) for file in job.files]
    moved = dict(zip(before, now, strict=True))
    for entry in facts["data"]:
        entry |= {"file": moved[entry["file"]], "reader": options}
    write_json(folder / runfiles.RUN, facts)
