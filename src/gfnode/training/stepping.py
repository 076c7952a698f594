"""Execution of training steps: device, compilation, and precision of matrix products.

PyTorch can compile the whole step, which fuses elementwise operations between matrix products, in a
minute or more; the result is cached for later runs of the same shapes, which then begin within
seconds. It pays on a GPU, and on a CPU for models that do not use :mod:`gfnode.kernels`
(docs/performance.md).
"""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from gfnode.errors import InputError
from gfnode.models.base import Model
from gfnode.windows import Batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Loss = Callable[[Batch, torch.Generator], Tensor]
Precision = Literal["float32", "bfloat16"]


def setup_device(accelerator: str) -> "Fabric":
    """Set up one device, as named by Lightning Fabric: ``auto``, ``cpu``, ``cuda``, ``mps``.

    Raises
    ------
    InputError
        When it is not available.
    """
    from lightning_fabric import Fabric

    # silences its advice on the precision of matrix products, which is a setting here
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    try:
        return Fabric(accelerator=accelerator, devices=1)
    except (RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        if "not available" in said:
            said = "PyTorch finds no such device on this machine"
        raise InputError(
            f"accelerator={accelerator} cannot be used here: {said}; accelerator=auto uses what "
            "is available"
        ) from error


@contextmanager
def matmul_precision(precision: Precision) -> Iterator[None]:
    """Compute float32 matrix products in this precision, where the device supports it."""
    before = torch.get_float32_matmul_precision()
    if precision == "bfloat16":
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def compile_loss(
    model: Model, batch: Batch, generator: torch.Generator, note: Callable[[str], None]
) -> Loss | None:
    """Compile a loss and its gradient for batches of one shape.

    The model itself is not changed: validation and prediction, whose shapes vary, are not compiled.

    Parameters
    ----------
    model, batch, generator
        The model, and arguments of its loss for a trial; gradients are left at zero.
    note
        Called with messages for the user.

    Returns
    -------
    Loss or None
        None where compilation fails: no C++ compiler, or a model whose control flow depends on
        values (a solver with adaptive steps). Training then continues without.
    """
    note(
        "compiling the model, which takes a minute or more; later runs of the same shape start "
        "within seconds (training.compile)"
    )
    began = perf_counter()
    view = copy.copy(model)  # another module object with the same weights and layers
    view.compile(fullgraph=True, dynamic=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of parts of its own
            view.loss(batch, generator).backward()
    except Exception as error:  # of any type that a compiler may raise: eager steps still work
        said = " ".join(str(error).split()) or type(error).__name__
        note(f"compilation failed, training continues without: {said[:200]}")
        return None
    finally:
        model.zero_grad()
    note(f"compiled in {perf_counter() - began:.0f} s")
    return view.loss
