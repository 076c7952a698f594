"""Compressed files (.gz, .bz2, .xz): unpacked on disk for as long as they are read."""

import bz2
import gzip
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedIOBase
from pathlib import Path

from gfnode import memory
from gfnode.errors import InputError
from gfnode.readers.boundary import existing_file
from gfnode.trajectory.given import unpacked_name

_OPEN: dict[str, Callable[[Path], BufferedIOBase]] = {
    ".gz": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}

_PIECE = 2**22  # bytes
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError)  # and OSError without a number


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Give a file that can be read, of a compressed one what it holds.

    That lies in a folder of its own below ``GFNODE_SCRATCH``, else where temporary files are kept,
    and is gone at the end. Errors from within name the compressed file.

    Raises
    ------
    InputError
        When the file is damaged or the disk has no room.
    """
    if (inner := unpacked_name(path)) == path:
        yield path
        return
    existing_file(path)
    scratch = memory.scratch()
    with ExitStack() as stack:
        with _clear(path, scratch):
            folder = tempfile.TemporaryDirectory(prefix="gfnode-", dir=scratch)
            inside = Path(stack.enter_context(folder)) / inner.name
            with _OPEN[path.suffix.lower()](path) as file, inside.open("wb") as out:
                shutil.copyfileobj(file, out, _PIECE)
        try:
            yield inside
        except InputError as error:
            raise InputError(str(error).replace(str(inside), str(path))) from error


@contextmanager
def _clear(path: Path, scratch: str) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(
                f"{path}: cannot be unpacked into {scratch}: {error.strerror}; set GFNODE_SCRATCH "
                "to a folder with more room, or unpack it yourself"
            ) from error
        raise InputError(
            f"{path}: cannot be unpacked, it is cut off or damaged: {error}"
        ) from error
