"""CUDA graphs of training steps and validation.

A step of a small molecule is a thousand kernels of a few microseconds. Launching them one by one
from Python takes several times as long as running them; a CUDA graph launches all of them at once.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

WARM = 3
"""Eager calls before capture, in which libraries initialise."""


class GraphReplay:
    """A function on a GPU that is run eagerly at first, then captured as a CUDA graph and replayed.

    A function that cannot be captured, because its control flow depends on values on the device (a
    solver with adaptive steps), stays eager, with a note.

    Parameters
    ----------
    work
        Maps tensors, of the same shapes every time, to one tensor. It must change state in place,
        and everything else that it reads must stay at the same address.
    what
        Its name, for the note.
    note
        Called with the reason why capture failed.
    generator
        Source of its random numbers.
    """

    def __init__(
        self,
        work: Callable[..., Tensor],
        what: str,
        note: Callable[[str], None],
        generator: torch.Generator | None = None,
    ) -> None:
        self.work, self.what, self.note, self.generator = work, what, note, generator
        self.side = torch.cuda.Stream()  # its own: concurrent graphs must not share a workspace
        self.done = 0
        self.recorded: tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor] | None = None
        self.plain = False

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Call the function, by replay once it is captured."""
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
        """Call eagerly on a side stream, as in capture; the last time without synchronisation."""
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
        """Capture the function, which does not execute it."""
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
    """Raise at any synchronisation with the GPU."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls it a prototype
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
