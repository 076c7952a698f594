"""C++ of this package, compiled for the processor at hand when it is first needed, and kept.

Nothing depends on it: where there is no C++ compiler, or what it makes cannot be loaded, the plain
form of the same mathematics is used. What is loaded runs with the rights of the user, so it is kept
where nobody else can write.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from gfnode.errors import InputError
from gfnode.files import whole

FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fPIC", "-fopenmp")

OFF = "GFNODE_PLAIN"
"""Environment variable that asks for the plain form everywhere."""


@cache
def loaded(source: str, **constants: int) -> ctypes.CDLL | None:
    """Compile a file of this package with these constants, and load it.

    What was compiled before for the same source, compiler and processor is taken from the user's
    own cache folder, if nobody else can have changed it. Where nothing can be kept there, it is
    compiled for this process alone.

    Returns
    -------
    ctypes.CDLL or None
        None where it cannot be had: another system than Linux, no C++ compiler (`CXX`, else
        ``c++``), one that fails, with a warning, or `GFNODE_PLAIN` is set.
    """
    compiler = _compiler()
    if not _wanted() or compiler is None:
        return None
    code = Path(__file__).with_name(source)
    native = "-march=native" if platform.machine() == "x86_64" else "-mcpu=native"
    defined = [f"-D{name}={value}" for name, value in constants.items()]
    command = [compiler, *FLAGS, native, *defined]
    try:
        version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
        headers = (path.read_bytes() for path in sorted(code.parent.glob("*.hpp")))
        parts = (code.read_bytes(), *headers, " ".join(command).encode(), version, _processor())
        place = folder() / f"{hashlib.sha256(b'|'.join(parts)).hexdigest()[:32]}.so"
        if _own(place.parent) and _own(place) and _intact(place):
            with suppress(OSError):  # what it is linked with may have gone: made again
                return ctypes.CDLL(str(place))
        with tempfile.TemporaryDirectory() as made:  # nobody else's; once loaded, it can go
            fresh = Path(made, "code.so")
            _compile([*command, "-c", str(code)], [compiler, "-shared", *_openmp()], fresh)
            return ctypes.CDLL(str(place if _keep(fresh, place) else fresh))
    except (OSError, subprocess.SubprocessError) as error:
        _complain(compiler, _reason(error))
        return None


def compiler_missing() -> bool:
    """Whether nothing can be compiled only because no C++ compiler is installed."""
    return _wanted() and _compiler() is None


def has_bfloat16() -> bool:
    """Whether the processor has instructions for products in bfloat16, which the kernels use."""
    return b"avx512_bf16" in _processor()


def folder() -> Path:
    """Where code is kept: with the caches of this user, whatever `GFNODE_CACHE` says."""
    from platformdirs import user_cache_path

    return user_cache_path("gfnode", appauthor=False) / "compiled"


def address(x: Any) -> Any:
    """Of a tensor, or an array of those of several; null for None."""
    if x is None:
        return None
    if hasattr(x, "data_ptr"):
        return ctypes.c_void_p(x.data_ptr())
    return (ctypes.c_void_p * len(x))(*(None if y is None else y.data_ptr() for y in x))


def _reason(error: Exception) -> str:
    """What a compiler or the loader says, without the names of files."""
    said = error.stderr.decode(errors="replace") if hasattr(error, "stderr") else str(error)
    lines = [line.strip() for line in (said or str(error)).splitlines() if line.strip()]
    told = [line for line in lines if "error: " in line] or lines or [str(error)]
    return told[0].split("error: ")[-1].split(".so: ")[-1]


@cache
def _complain(compiler: str, reason: str) -> None:
    """Warn, once."""
    warnings.warn(
        f"the C++ compiler {compiler} cannot be used ({reason}); without it, training and "
        "predictions take up to twice as long, with learned forces up to nine times: name another "
        f"one, such as g++, by the variable CXX, or set {OFF}=1 to go without it",
        stacklevel=3,
    )


def _wanted() -> bool:
    return not os.environ.get(OFF) and sys.platform.startswith("linux")


def _compiler() -> str | None:
    return shutil.which(os.environ.get("CXX", "c++"))


def _compile(compile_: list[str], link: list[str], place: Path) -> None:
    parts = str(place.with_suffix(".o"))
    for command in ([*compile_, "-o", parts], [*link, parts, "-o", str(place)]):
        subprocess.run(command, capture_output=True, check=True, timeout=120)


def _keep(made: Path, place: Path) -> bool:
    """Copy code to where it is kept; whether that could be done."""
    with suppress(OSError, InputError):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _own(place.parent):
            code = made.read_bytes()
            with whole(place) as partial:
                partial.write_bytes(code + hashlib.sha256(code).digest())
                partial.chmod(0o700)
            return True
    return False


def _intact(path: Path) -> bool:
    """Whether code ends with its digest, as it was kept: what is cut off ends the process."""
    kept = path.read_bytes()
    size = len(kept) - hashlib.sha256().digest_size
    return size > 0 and hashlib.sha256(kept[:size]).digest() == kept[size:]


def _own(path: Path) -> bool:
    """Whether a file or folder is there that only this user can have changed."""
    try:
        found = path.stat()
    except OSError:
        return False
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _openmp() -> list[str]:
    """The OpenMP runtime that PyTorch brought: two of them would fight for the processors."""
    import torch

    names = ("libgomp*.so*", "libomp*.so*", "libiomp*.so*")
    libraries = Path(torch.__file__).parent / "lib"
    return [str(path) for name in names for path in libraries.glob(name)] or ["-fopenmp"]


def _processor() -> bytes:
    """What tells this processor from others that share a home folder with it."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return platform.processor().encode()
    telling = (b"model name", b"flags", b"Features", b"CPU part")
    return b"\n".join(sorted({line for line in lines if line.startswith(telling)}))
