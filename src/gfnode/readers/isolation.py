"""Decoders written in C run in a process of their own, so that damage that crashes them ends there.

XTC's compressed numbers and HDF5 are decoded by libraries that trust the file. The child is forked:
that takes milliseconds, where a fresh interpreter that imports those libraries takes a third of a
second. Where the system has no fork (Windows), they run in this process.
"""

import json
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.readers.boundary import describe

Arrays = dict[str, NDArray[Any]]

PATIENCE = 30.0
"""Seconds without an answer after which a decoder counts as hanging."""


def isolated(
    path: Path, doing: str, work: Callable[[], Iterator[Arrays]], patience: float | None = None
) -> Iterator[Arrays]:
    """Give what ``work`` gives, computed by a child process.

    Parameters
    ----------
    path
        The file that is read, for messages.
    doing
        What an error means, such as ``"not an XTC file, or damaged"``.
    work
        Gives named arrays, none of Python objects.
    patience
        Seconds to wait for the next arrays; default :data:`PATIENCE`.

    Raises
    ------
    InputError
        When ``work`` raises, crashes or hangs.
    """
    if not hasattr(os, "fork"):
        yield from work()
        return
    receiver, sender = Pipe(duplex=False)
    with warnings.catch_warnings():  # of other threads, which this child never waits for
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        _serve(sender, work)
    sender.close()
    try:
        while True:
            if not receiver.poll(PATIENCE if patience is None else patience):
                raise InputError(f"{path}: {doing}: decoding it does not finish")
            head = json.loads(receiver.recv_bytes())
            if "end" in head:
                return
            if "error" in head:
                raise InputError(
                    head["error"] if head["bad_input"] else f"{path}: {doing}: {head['error']}"
                )
            yield {
                key: np.frombuffer(receiver.recv_bytes(), dtype).reshape(shape)
                for key, (dtype, shape) in head.items()
            }
    except EOFError as error:
        raise InputError(f"{path}: {doing}: it crashed the decoder") from error
    finally:
        receiver.close()
        with suppress(OSError):
            os.kill(child, signal.SIGKILL)
        with suppress(OSError):
            os.waitpid(child, 0)


def _serve(sender: Connection, work: Callable[[], Iterator[Arrays]]) -> None:
    """Send everything and end; nothing of the parent's is cleaned up here."""
    try:
        _silence()
        try:
            for arrays in work():
                head = {key: (value.dtype.str, value.shape) for key, value in arrays.items()}
                sender.send_bytes(json.dumps(head).encode())
                for value in arrays.values():
                    sender.send_bytes(np.ascontiguousarray(value).tobytes())
            sender.send_bytes(b'{"end": true}')
        except Exception as error:
            bad_input = isinstance(error, InputError)
            said = str(error) if bad_input else describe(error)
            sender.send_bytes(json.dumps({"error": said, "bad_input": bad_input}).encode())
    finally:
        os._exit(0)


def _silence() -> None:
    """No words, no traceback and no core file of a crash."""
    import faulthandler
    import resource

    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
