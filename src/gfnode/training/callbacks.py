"""Callbacks of training: what a trainer tells those who watch, or save, its progress."""

from gfnode.training.state import EpochRecord, TrainingState


class Callback:
    """Base class of callbacks; a method that is not overridden does nothing."""

    def start(self, state: TrainingState, error: float) -> None:
        """Before training, of a model that comes fitted: its validation error in Å² is finite."""

    def note(self, text: str) -> None:
        """Message on anything that takes time besides training."""

    def batch(self, epoch: int, done: int, error: float) -> None:
        """Some batches of an epoch are done; ``error`` is the mean training loss so far."""

    def epoch(self, state: TrainingState, record: EpochRecord, best: bool) -> None:
        """An epoch is done; ``best``: its validation error is the lowest so far."""

    def close(self) -> None:
        """Training has ended, also by an error."""


class Callbacks(Callback):
    """Several callbacks, called in order."""

    def __init__(self, *callbacks: Callback) -> None:
        self._all = callbacks

    def start(self, state: TrainingState, error: float) -> None:
        """Call each."""
        for each in self._all:
            each.start(state, error)

    def note(self, text: str) -> None:
        """Call each."""
        for each in self._all:
            each.note(text)

    def batch(self, epoch: int, done: int, error: float) -> None:
        """Call each."""
        for each in self._all:
            each.batch(epoch, done, error)

    def epoch(self, state: TrainingState, record: EpochRecord, best: bool) -> None:
        """Call each."""
        for each in self._all:
            each.epoch(state, record, best)

    def close(self) -> None:
        """Call each."""
        for each in self._all:
            each.close()
