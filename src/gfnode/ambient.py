"""Isolation from global settings of PyTorch and NumPy in the calling program.

Weights and windows are float32, on devices that gfnode chooses itself, and fits need gradients. A
calling program may have set float64 or a GPU as the default, be inside ``torch.inference_mode()``
or ``torch.autocast()``, let NumPy raise at an underflow, and draw random numbers of its own.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import numpy as np
import torch


class _Float32:
    """Reentrant context with float32 as default dtype, which is global to all threads."""

    def __init__(self) -> None:
        self.lock, self.inside, self.before = Lock(), 0, torch.float32

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.before = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                torch.set_default_dtype(self.before)


_FLOAT32 = _Float32()


@contextmanager
def usual() -> Iterator[None]:
    """Context (or decorator, ``@usual()``) with the default settings of PyTorch and NumPy.

    Gradients are recorded, as by default. User code must not be called inside.
    """
    with ExitStack() as stack:
        enter = stack.enter_context
        enter(_FLOAT32)
        enter(torch.inference_mode(False))
        enter(torch.enable_grad())
        enter(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        if torch.empty(0).device.type != "cpu":  # older get_default_device miss contexts
            enter(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                enter(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def seeded(seed: int, *, accelerator: str = "cpu") -> Iterator[None]:
    """Context with a seeded PyTorch generator; that of the caller is restored afterwards.

    Also on the current GPU, unless ``accelerator`` is ``cpu``.
    """
    gpu = accelerator != "cpu" and torch.cuda.is_available()
    with torch.random.fork_rng([torch.cuda.current_device()] if gpu else []):
        if gpu:
            torch.manual_seed(seed)
        else:  # torch.manual_seed would seed unused devices, too
            torch.default_generator.manual_seed(seed)
        yield
