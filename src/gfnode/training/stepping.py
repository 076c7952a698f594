"""How training steps are carried out: compiled or not, and how exact their products are.

PyTorch can compile the whole step, which fuses what is done element by element between matrix
products, after a minute or more; it keeps what it compiled for later runs of the same shapes, which
then begin within seconds. It pays on a GPU, and on a processor for models that are not made of
:mod:`gfnode.kernels` (docs/performance.md).
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


def launch(accelerator: str) -> "Fabric":
    """Take one device, named as Lightning Fabric names it: ``auto``, ``cpu``, ``cuda``, ``mps``.

    Raises
    ------
    InputError
        When it is not there.
    """
    from lightning_fabric import Fabric

    # on GPUs it advises on the precision of products, which is ours to choose
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
def products(precision: Precision) -> Iterator[None]:
    """Take matrix products of float32 in this precision, where the device has units for it."""
    before = torch.get_float32_matmul_precision()
    if precision == "bfloat16":
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def compiled(
    model: Model, batch: Batch, generator: torch.Generator, note: Callable[[str], None]
) -> Loss | None:
    """Compile a loss and its gradient for batches of one shape.

    The model itself stays as it is: validation and prediction, whose shapes vary, do not wait for
    compilers.

    Parameters
    ----------
    model, batch, generator
        What is compiled, and what it is tried on; gradients are left at zero.
    note
        Told what is going on.

    Returns
    -------
    Loss or None
        None where it cannot be: no C++ compiler, or a model whose steps depend on its numbers (a
        solver that chooses its steps). Training goes on without.
    """
    note(
        "compiling the model, which takes a minute or more; later runs of the same shape start "
        "within seconds (training.compile)"
    )
    began = perf_counter()
    view = copy.copy(model)  # the same weights and layers under a module of its own
    view.compile(fullgraph=True, dynamic=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of parts of its own
            view.loss(batch, generator).backward()
    except Exception as error:  # whatever a compiler may say: plain steps still work
        said = " ".join(str(error).split()) or type(error).__name__
        note(f"compilation failed, training continues without: {said[:200]}")
        return None
    finally:
        model.zero_grad()
    note(f"compiled in {perf_counter() - began:.0f} s")
    return view.loss
