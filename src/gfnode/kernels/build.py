"""C++ of this package, compiled for the processor at hand when it is first needed, and kept.

Nothing depends on it: where there is no C++ compiler, or what it makes cannot be loaded, the plain
form of the same mathematics is used.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from gfnode.catalogue.cache import folder

FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fPIC", "-fopenmp")

OFF = "GFNODE_PLAIN"
"""Environment variable that asks for the plain form everywhere."""


@cache
def loaded(source: str, **constants: int) -> ctypes.CDLL | None:
    """Compile a file of this package with these constants, and load it.

    What was compiled before for the same source, compiler and processor is taken from the cache
    folder.

    Returns
    -------
    ctypes.CDLL or None
        None where it cannot be had: another system than Linux, no C++ compiler (`CXX`, else
        ``c++``), one that fails, or `GFNODE_PLAIN` is set.
    """
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if os.environ.get(OFF) or compiler is None or not sys.platform.startswith("linux"):
        return None
    code = Path(__file__).with_name(source)
    native = "-march=native" if platform.machine() == "x86_64" else "-mcpu=native"
    defined = [f"-D{name}={value}" for name, value in constants.items()]
    command = [compiler, *FLAGS, native, *defined]
    try:
        version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
        headers = (path.read_bytes() for path in sorted(code.parent.glob("*.hpp")))
        parts = (code.read_bytes(), *headers, " ".join(command).encode(), version, _processor())
        place = folder() / "kernels" / f"{hashlib.sha256(b'|'.join(parts)).hexdigest()[:32]}.so"
        if not place.exists():
            _compile([*command, "-c", str(code)], [compiler, "-shared", *_openmp()], place)
        return ctypes.CDLL(str(place))
    except (OSError, subprocess.SubprocessError):
        return None


def address(x: Any) -> Any:
    """Of a tensor, or an array of those of several; null for None."""
    if x is None:
        return None
    if hasattr(x, "data_ptr"):
        return ctypes.c_void_p(x.data_ptr())
    return (ctypes.c_void_p * len(x))(*(None if y is None else y.data_ptr() for y in x))


def _compile(compile_: list[str], link: list[str], place: Path) -> None:
    """Made elsewhere and renamed: others may want the same at the same time."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as made:
        for command in (
            [*compile_, "-o", f"{made}/code.o"],
            [*link, f"{made}/code.o", "-o", f"{made}/code.so"],
        ):
            subprocess.run(command, capture_output=True, check=True, timeout=120)
        Path(made, "code.so").replace(place)


def _openmp() -> list[str]:
    """The OpenMP runtime that PyTorch brought: two of them would fight for the processors."""
    import torch

    brought = [str(path) for path in Path(torch.__file__).parent.glob("lib/lib*omp*.so*")]
    return brought or ["-fopenmp"]


def _processor() -> bytes:
    """What tells this processor from others that share a home folder with it."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return platform.processor().encode()
    telling = (b"model name", b"flags", b"Features", b"CPU part")
    return b"\n".join(sorted({line for line in lines if line.startswith(telling)}))
