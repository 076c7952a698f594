"""What a program has set for all of PyTorch and NumPy, set aside while gfnode works in it.

Weights and windows are float32, on devices that gfnode chooses itself, and fits need gradients. A
program around it may have made float64 or a GPU the default, stand in ``torch.inference_mode()`` or
``torch.autocast()``, let NumPy raise at an underflow, and draw random numbers of its own.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

import numpy as np
import torch


class _Float32:
    """float32 as default of PyTorch, which all threads share, while anyone is inside."""

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
    """PyTorch and NumPy as they come, inside of this; also a decorator, ``@usual()``.

    Gradients are recorded, as they are by default. Code of the caller does not belong inside.
    """
    with ExitStack() as stack:
        enter = stack.enter_context
        enter(_FLOAT32)
        enter(torch.inference_mode(False))
        enter(torch.enable_grad())
        enter(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        if torch.get_default_device().type != "cpu":
            enter(torch.device("cpu"))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                enter(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def seeded(seed: int, *, accelerator: str = "cpu") -> Iterator[None]:
    """Random numbers of PyTorch begin at a seed inside of this; those of the caller go on after it.

    On a GPU, too, unless ``accelerator`` is ``cpu``.
    """
    gpu = accelerator != "cpu" and torch.cuda.is_available()
    with torch.random.fork_rng([torch.cuda.current_device()] if gpu else []):
        if gpu:
            torch.manual_seed(seed)
        else:  # that of all devices would reach those not in use, too
            torch.default_generator.manual_seed(seed)
        yield
