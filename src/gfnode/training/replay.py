"""Training steps and validation recorded once on an NVIDIA GPU, and replayed as one launch each.

A step of a small molecule is a thousand kernels of a few microseconds. Launched one by one from
Python they take several times as long as they run; a CUDA graph launches all of them at once.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

WARM = 3
"""Times that work is done as it is before it is recorded: libraries set themselves up."""


class Replayed:
    """Work on a GPU that is recorded and replayed, and done from the first call on.

    What cannot be recorded, since its course depends on numbers that it must wait for (a solver
    that chooses its steps), is done as it is, and told of.

    Parameters
    ----------
    work
        Takes tensors, of the same shapes every time, to one tensor. What it changes it changes in
        place, and it finds all else that may change where it was when recorded.
    what
        Its name, for the note.
    note
        Told in words what keeps it from being recorded.
    generator
        Of all that is random in it.
    """

    def __init__(
        self,
        work: Callable[..., Tensor],
        what: str,
        note: Callable[[str], None],
        generator: torch.Generator | None = None,
    ) -> None:
        self.work, self.what, self.note, self.generator = work, what, note, generator
        self.side = torch.cuda.Stream()  # own: what runs at once must share no workspace
        self.done = 0
        self.recorded: tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor] | None = None
        self.plain = False

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Do the work."""
        result = None
        if self.recorded is None and not self.plain:
            if self.done < WARM:
                result = self._warm_up(inputs)
            else:
                self.recorded = self._record(inputs)
        if self.recorded is None:
            return self.work(*inputs) if result is None else result
        graph, places, result = self.recorded
        for place, new in zip(places, inputs, strict=True):
            place.copy_(new)
        graph.replay()
        return result.clone()

    def _warm_up(self, inputs: Sequence[Tensor]) -> Tensor | None:
        """Work beside the main stream, as recording will; the last time it must not wait."""
        self.done += 1
        state = None if self.generator is None else self.generator.get_state()
        main = torch.cuda.current_stream()
        self.side.wait_stream(main)
        try:
            with torch.cuda.stream(self.side), _unwaiting() if self.done == WARM else nullcontext():
                return self.work(*inputs)
        except RuntimeError as error:
            self._give_up(error)
            if self.generator is not None and state is not None:
                self.generator.set_state(state)  # the work is done again, with the same numbers
            return None
        finally:
            main.wait_stream(self.side)

    def _record(
        self, inputs: Sequence[Tensor]
    ) -> tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor] | None:
        """Record the work without doing it."""
        places = [values.clone() for values in inputs]
        graph = torch.cuda.CUDAGraph()
        if self.generator is not None:
            graph.register_generator_state(self.generator)
        try:
            with torch.cuda.graph(graph, stream=self.side):
                return graph, places, self.work(*places)
        except RuntimeError as error:
            self._give_up(error)
            return None

    def _give_up(self, error: RuntimeError) -> None:
        self.plain = True
        said = " ".join(str(error).split())
        self.note(
            f"{self.what} could not be recorded (training.replay); training continues without: "
            f"{said[:200]}"
        )


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
