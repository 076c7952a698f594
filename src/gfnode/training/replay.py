"""Training steps recorded once on an NVIDIA GPU, and replayed as one launch each.

A step of a small molecule is a thousand kernels of a few microseconds. Launched one by one from
Python they take several times as long as they run; a CUDA graph launches all of them at once.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from gfnode.windows import Batch

WARM = 3
"""Steps taken one kernel at a time before one is recorded: libraries set themselves up in them."""

Step = Callable[[Batch], Tensor]


class Replayed:
    """A training step that is recorded and replayed, and takes steps from its first call on.

    A step that cannot be recorded, since its course depends on numbers that it must wait for (a
    solver that chooses its steps), is taken as it is, and told of.

    Parameters
    ----------
    step
        Takes a batch to its loss; changes weights and the state of the optimizer in place, and
        finds learning rates in tensors.
    generator
        Of all that is random in it.
    note
        Told in words what keeps it from being recorded.
    """

    def __init__(self, step: Step, generator: torch.Generator, note: Callable[[str], None]) -> None:
        self.step, self.generator, self.note = step, generator, note
        self.side = torch.cuda.Stream()  # own: what runs at once must share no workspace
        self.taken = 0
        self.recorded: tuple[torch.cuda.CUDAGraph, Batch, Tensor] | None = None
        self.plain = False

    def __call__(self, batch: Batch) -> Tensor:
        """Take a step; all batches have one shape."""
        loss = None
        if self.recorded is None and not self.plain:
            if self.taken < WARM:
                loss = self._warm_up(batch)
            else:
                self.recorded = self._record(batch)
        if self.recorded is None:
            return self.step(batch) if loss is None else loss
        graph, inputs, recorded = self.recorded
        for kept, new in zip(vars(inputs).values(), vars(batch).values(), strict=True):
            kept.copy_(new)
        graph.replay()
        return recorded.clone()

    def _warm_up(self, batch: Batch) -> Tensor | None:
        """Take a step beside the main stream, as recording will; the last one must not wait."""
        self.taken += 1
        main = torch.cuda.current_stream()
        self.side.wait_stream(main)
        try:
            with (
                torch.cuda.stream(self.side),
                _unwaiting() if self.taken == WARM else nullcontext(),
            ):
                return self.step(batch)
        except RuntimeError as error:
            self._give_up(error)
            return None
        finally:
            main.wait_stream(self.side)

    def _record(self, batch: Batch) -> tuple[torch.cuda.CUDAGraph, Batch, Tensor] | None:
        """Record a step without taking it."""
        inputs = Batch(*(values.clone() for values in vars(batch).values()))
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        try:
            with torch.cuda.graph(graph, stream=self.side):
                return graph, inputs, self.step(inputs)
        except RuntimeError as error:
            self._give_up(error)
            return None

    def _give_up(self, error: RuntimeError) -> None:
        self.plain = True
        said = " ".join(str(error).split())
        self.note(f"steps are not recorded, training goes on without: {said[:200]}")


@contextmanager
def _unwaiting() -> Iterator[None]:
    """Refuse whatever waits for a value of the GPU."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls it a prototype
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
