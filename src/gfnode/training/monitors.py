"""Monitors of training: CSV, TensorBoard, a log, and a live display."""

import csv
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gfnode import runfiles
from gfnode.files import check_no_link
from gfnode.progress import Report, silent
from gfnode.training.callbacks import Callback
from gfnode.training.state import EpochRecord, TrainingState


class FolderMonitor(Callback):
    """Writes ``history.csv``, ``log.txt`` and ``tensorboard/`` into a run folder.

    Parameters
    ----------
    folder
        The run folder.
    history
        Epochs done before, when a run is resumed: the CSV is rewritten from them.

    Raises
    ------
    InputError
        When one of them is a link.
    """

    def __init__(self, folder: Path, history: list[EpochRecord]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        for name in (runfiles.HISTORY, runfiles.LOG, runfiles.BOARD):
            check_no_link(folder / name)
        self._board = SummaryWriter(str(folder / runfiles.BOARD), purge_step=len(history) + 1)
        self._file = (folder / runfiles.HISTORY).open("w", newline="", encoding="utf-8")
        names = [each.name for each in fields(EpochRecord)]
        self._csv = csv.DictWriter(self._file, names)
        self._csv.writeheader()
        self._csv.writerows(asdict(record) for record in history)
        self._file.flush()
        self._log = logging.getLogger(f"gfnode.{folder.resolve()}")
        self._log.setLevel(logging.INFO)
        self._log.propagate = False
        self._handler = logging.FileHandler(folder / runfiles.LOG, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._log.addHandler(self._handler)
        self._log.info("starting at epoch %d", len(history) + 1)

    def start(self, state: TrainingState, error: float) -> None:
        """Write a line."""
        self._log.info("%s", describe_start(error))

    def note(self, text: str) -> None:
        """Write a line."""
        self._log.info("%s", text)

    def epoch(self, state: TrainingState, record: EpochRecord, best: bool) -> None:
        """Write a line and the scalars."""
        self._csv.writerow(asdict(record))
        self._file.flush()
        for key, value in asdict(record).items():
            if key != "epoch" and value is not None:
                self._board.add_scalar(key, value, record.epoch)
        self._log.info("%s%s", describe(state, record), "  best so far" if best else "")
        if state.progress.stopped:
            self._log.info("end: %s", state.progress.stopped)

    def close(self) -> None:
        """Close all files."""
        self._board.close()
        self._file.close()
        self._log.removeHandler(self._handler)
        self._handler.close()


class LiveMonitor(Callback):
    """A progress bar on the console; without a terminal, plain lines every few seconds.

    Parameters
    ----------
    console
        The console to print to.
    epochs, batches
        Epochs in all, batches in each.
    begin
        Epochs done before.
    """

    def __init__(self, console: Console, epochs: int, batches: int, begin: int) -> None:
        self._console, self._epochs, self._batches = console, epochs, batches
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=8),  # all of it fits into 80 columns
            TextColumn("train {task.fields[train]} valid {task.fields[validation]} Å²"),
            TextColumn("{task.fields[rate]} windows/s"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task(
            "",
            total=epochs * batches,
            completed=begin * batches,
            epoch=begin + 1,
            epochs=epochs,
            train="–",
            validation="–",
            rate="–",
        )
        self._said = 0.0
        self._bar.start()

    def start(self, state: TrainingState, error: float) -> None:
        """Print the validation error before training."""
        self._console.print(describe_start(error))

    def note(self, text: str) -> None:
        """Print a message."""
        self._console.print(text, soft_wrap=True)

    def batch(self, epoch: int, done: int, error: float) -> None:
        """Move the bar."""
        self._bar.update(
            self._task,
            completed=epoch * self._batches + done,
            epoch=epoch + 1,
            train=f"{error:.3g}",
        )

    def epoch(self, state: TrainingState, record: EpochRecord, best: bool) -> None:
        """Show the record of the epoch."""
        if record.validation_error is not None:
            self._bar.update(self._task, validation=f"{record.validation_error:.3g}")
        self._bar.update(self._task, rate=f"{record.windows_per_s:.0f}")
        stopped = state.progress.stopped
        if not self._console.is_terminal and (stopped or time.monotonic() - self._said > 5):
            self._said = time.monotonic()
            self._console.print(describe(state, record), soft_wrap=True)
        if stopped and record.epoch < self._epochs:
            self._console.print(f"stopped early: {stopped}")

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()


@contextmanager
def fit_display(console: Console | None, what: str) -> Iterator[Report]:
    """Progress of the fit before training, where that takes long; ``what`` it does, in words.

    A bar, or without a terminal a line at the beginning; nothing without a console.
    """
    if console is None:
        yield silent
        return
    with Progress(
        TextColumn(what),
        BarColumn(bar_width=12),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None, visible=False)

        def report(done: int, total: int) -> None:
            if bar.tasks[task].total is None and not console.is_terminal:
                console.print(f"{what} ({total} steps)")
            bar.update(task, total=total, completed=done, visible=True)

        yield report


def describe_start(error: float) -> str:
    """One line on a fitted model, before training."""
    return f"fitted, before training: validation {error:.5g} Å²"


def describe(state: TrainingState, record: EpochRecord) -> str:
    """One line on an epoch."""
    unit = f" {state.model.loss_unit}".rstrip()
    validation = ""
    if record.validation_error is not None:
        validation = (
            f"validation {record.validation_error:.5g} Å² "
            f"(last lag {record.validation_error_last_lag:.5g} Å²)  "
        )
    return (
        f"epoch {record.epoch}: train {record.train_error:.5g}{unit}  {validation}"
        f"rate {record.learning_rate:.3g}  {record.windows_per_s:.0f} windows/s"
    )
