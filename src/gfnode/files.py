"""Writing files whole, under a temporary name first, then renamed."""

import hashlib
import json
import os
import re
import shutil
import socket
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError

if TYPE_CHECKING:
    from filelock import FileLock

_DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError)


def check_apart(path: Path, sources: Iterable[str | Path]) -> None:
    """Refuse to write a file over one that is read.

    Raises
    ------
    InputError
        Names the file.
    """
    read = {Path(source).expanduser().resolve() for source in sources}
    if path.expanduser().resolve() in read:
        raise InputError(f"{path}: is an input and cannot also be the output: name another file")


def check_no_link(path: Path) -> Path:
    """Refuse to write through a link: in a folder that somebody gave it may lead to any file.

    Raises
    ------
    InputError
        Names the link and where it leads.
    """
    if path.is_symlink():
        raise InputError(
            f"{path}: is a link to {os.readlink(path)}, so the output would be written elsewhere: "
            "remove the link"
        )
    return path


def check_writable(path: Path, remedy: str = "") -> None:
    """Refuse a file, or a folder, that could not be written in the end, before all the work.

    Folders that are not there yet count as those that can be made where their parents are.

    Raises
    ------
    InputError
        Read-only or full disk, no permission.
    """
    folder = next((each for each in path.absolute().parents if each.is_dir()), path)
    try:
        TemporaryFile(dir=folder).close()
    except OSError as error:
        told = f"{path}: cannot be written: {error.strerror or error}"
        raise InputError(f"{told}: {remedy}" if remedy else told) from error


@contextmanager
def whole(path: Path, *, new: bool = False) -> Iterator[Path]:
    """Give a temporary name beside ``path``; what was written there gets its real name at the end.

    If anything fails, ``path`` stays as it was; what a killed process left of it is removed. With
    ``new`` there was no ``path``, and what another process wrote there meanwhile stays.

    Raises
    ------
    InputError
        When the file cannot be written: full disk, read-only folder. An error that names another
        file, which was read for it, stays as it is.
    """
    sweep_partials(path)
    partial = partial_name(path)
    try:
        yield partial
        if new and path.exists():
            raise InputError(
                f"{path}: another process has written it in the meantime; that file is kept"
            )
        os.replace(partial, path)
    except OSError as error:
        named = [str(each) for each in (error.filename, error.filename2) if each is not None]
        if named and not any(partial.stem in each for each in named):
            raise
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written: {reason}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def partial_name(path: Path) -> Path:
    """A name beside ``path`` for what will be ``path``: it tells which process writes it."""
    return path.with_name(f"{_marked(path)}{os.getpid()}-{uuid.uuid4().hex[:8]}{path.suffix}")


def sweep_partials(path: Path) -> None:
    """Remove what processes of this machine that were killed have left of ``path``, if it can be.

    ``path`` may be a file or a folder.
    """
    if os.name != "posix" or not path.parent.is_dir():
        return
    theirs = re.compile(rf"{re.escape(_marked(path))}(\d+)-[0-9a-f]{{8}}(\..*)?")
    with suppress(OSError):
        for each in path.parent.iterdir():
            if (found := theirs.fullmatch(each.name)) and not _alive(int(found[1])):
                if each.is_dir() and not each.is_symlink():
                    shutil.rmtree(each, ignore_errors=True)
                else:
                    each.unlink(missing_ok=True)


def _marked(path: Path) -> str:
    """What the partial files of ``path`` that this machine writes begin with; never too long."""
    name = hashlib.sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:12]
    return f".gfnode-{name}-{socket.gethostname()[:64]}-"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def locked(path: Path, what: str) -> "FileLock":
    """Take the lock file at ``path`` for this process; ``what`` says who else may hold it.

    Raises
    ------
    InputError
        When another process holds it, or it is a link.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(check_no_link(path))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(what) from error
    return lock


def make_folder(path: Path) -> Path:
    """Create a folder and its parents.

    Raises
    ------
    InputError
        When it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if path.is_file():
            raise InputError(
                f"{path}: is a file, expected a folder: choose another path"
            ) from error
        parent = next(each for each in path.absolute().parents if each.exists())
        reason = "that is a file" if parent.is_file() else error.strerror or str(error)
        raise InputError(f"{path}: cannot create the folder in {parent}: {reason}") from error
    return path


def to_json(data: Mapping[str, Any]) -> str:
    """Text of a JSON object; numbers that are not finite become null.

    What is no text in a file name (bytes that are not UTF-8) is escaped, and read back as it was.
    """
    text = json.dumps(_finite(data), indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace").decode()


def as_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader of :func:`to_json` gets: null for numbers that are not finite."""
    found: dict[str, Any] = json.loads(to_json(data))
    return found


def write_text(path: Path, text: str) -> Path:
    """Write a text; what is none in a file name (bytes that are not UTF-8) is escaped."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return path


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object."""
    write_text(path, to_json(data) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        When the file is missing or is not a JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # nested deeper than Python reads
        raise InputError(f"{path}: not valid JSON ({error}); the file is damaged") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(data).__name__}")
    return data


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as npz."""
    with whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays that :func:`write_arrays` wrote.

    Raises
    ------
    InputError
        When the file is missing or damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, EOFError, AttributeError, *_DAMAGED) as error:
        raise InputError(f"{path}: not a valid npz file ({error}); the file is damaged") from error


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, float) and not np.isfinite(data):
        return None
    return data
