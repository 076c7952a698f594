"""Where the jobs of a sweep lie, and how far each has come.

::

    OUT/runs/NAME-KEY/     a run folder as any other (:mod:`gfnode.runfiles`), and in it
        job.json           what is to be done
        job.log            what the processes said that did it
        job.lock           held by the process that is at it
        measure-*.npz      what was measured of the trained model
        finished.json      trained to its end, evaluated; written last
        failed.json        why the last attempt failed
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout

from gfnode import runfiles
from gfnode.errors import InputError
from gfnode.files import check_no_link, make_folder, read_json, write_json
from gfnode.sweep.jobs import Job, Measure, make_key, stored_experiment


class State(StrEnum):
    """How far a task has come."""

    NEW = "new"
    STARTED = "started"
    FINISHED = "finished"


@dataclass(frozen=True, eq=False)
class Task:
    """A job in its folder, and what is to be measured of it.

    Parameters
    ----------
    folder
        The run folder.
    measures
        Besides the evaluation.
    epochs
        Epochs at most; for the display.
    """

    folder: Path
    measures: tuple[Measure, ...] = ()
    epochs: int = 0

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @property
    def state(self) -> State:
        """How far it has come, from its files alone."""
        if (self.folder / runfiles.FINISHED).exists() and not self.missing:
            return State.FINISHED
        return State.STARTED if (self.folder / runfiles.RUN).exists() else State.NEW

    @property
    def missing(self) -> list[Measure]:
        """Measures that have not been taken."""
        return [each for each in self.measures if not (self.folder / each.file).exists()]

    @property
    def lock(self) -> FileLock:
        """Held while the job is done; the system frees it when its holder dies."""
        return FileLock(check_no_link(self.folder / "job.lock"))

    @property
    def busy(self) -> bool:
        """Some process is at it."""
        try:
            with self.lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    @property
    def failure(self) -> str | None:
        """Why the last attempt failed, in one line."""
        try:
            return str(read_json(self.folder / runfiles.FAILED)["message"])
        except (InputError, KeyError):
            return None

    def fail(self, message: str) -> None:
        """Record a failure."""
        write_json(self.folder / runfiles.FAILED, {"message": message})

    def forget_failure(self) -> None:
        """Begin anew: what an earlier attempt failed with no longer counts."""
        (self.folder / runfiles.FAILED).unlink(missing_ok=True)

    @property
    def done_epochs(self) -> int:
        """Epochs done so far."""
        try:
            return max(0, (self.folder / runfiles.HISTORY).read_bytes().count(b"\n") - 1)
        except OSError:
            return 0


class Store:
    """The folder of a sweep.

    Parameters
    ----------
    out
        Holds ``runs/``, and the tables and figures beside it.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)
        self.runs = self.out / "runs"
        self._known: dict[str, Path] = {}
        for path in sorted(self.runs.glob("*/job.json")):
            with suppress(InputError, KeyError):  # of another version: not ours to use
                data = read_json(path)
                self._known[make_key(stored_experiment(data), data["content"])] = path.parent

    def folder(self, job: Job) -> Path:
        """Where a job lies or will lie."""
        return self._known.get(job.key, self.runs / job.name)

    def look(self, job: Job, measures: Sequence[Measure] = ()) -> Task:
        """A task as it stands; its folder need not be there."""
        return Task(self.folder(job), tuple(measures), job.experiment.training.epochs)

    def task(self, job: Job, measures: Sequence[Measure] = ()) -> Task:
        """Make the folder of a job, unless it is there.

        Raises
        ------
        InputError
            When it cannot be written.
        """
        task = self.look(job, measures)
        # its files may have moved since
        write_json(make_folder(task.folder) / runfiles.JOB, job.to_dict())
        return task
