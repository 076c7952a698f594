"""What this process may take of its machine: processors, and memory.

A container, or a job of SLURM, is limited by its control group (version 2) and by every one above.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path("/sys/fs/cgroup")
"""The control group above all, of this machine or of the container."""

OWN = Path("/proc/self/cgroup")
"""Names the control group of this process: ``0::/path``, from the root."""


def available() -> float:
    """Bytes of memory that can still be taken."""
    found = [np.inf]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
        found.append(1024.0 * float(kilobytes))
    except (OSError, StopIteration):
        if hasattr(os, "sysconf"):
            found.append(0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    least = min(*found, _tightest(_memory))
    return max(0.0, least) if np.isfinite(least) else 4e9


def cores() -> int:
    """Processors that may be used."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, int(min(count or 1, _tightest(_processors))))


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep memory that is let go for what is taken next, inside of this; then give it back.

    The allocator of Linux (glibc) returns every large array to the system at once, which fills the
    next one with zeros, page by page. Steps of training take the same arrays again and again: that
    is up to a sixth of their time. Elsewhere nothing changes.
    """
    trim_threshold, most_mapped = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX
    try:
        libc = ctypes.CDLL(None)
        mallopt, malloc_trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError, TypeError):
        yield
        return
    mallopt(most_mapped, 0)  # large arrays come from the heap
    mallopt(trim_threshold, -1)  # whose end is not cut off
    try:
        yield
    finally:
        mallopt(most_mapped, 65536)  # as by default
        mallopt(trim_threshold, 2**26)  # what glibc comes to where large arrays are common
        malloc_trim(0)


def _tightest(limit: Callable[[Path], float]) -> float:
    """The least limit of the own control group and all above it; infinite where there is none."""
    folders = [ROOT]
    with suppress(OSError, StopIteration):
        lines = OWN.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        own = next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))
        for part in own.split("/"):
            folders.append(folders[-1] / part)
    found = [np.inf]
    for folder in folders:
        with suppress(OSError, ValueError, KeyError):  # not there, or no limit ("max")
            found.append(limit(folder))
    return min(found)


def _memory(group: Path) -> float:
    """Bytes that are left to a control group; what it holds of files can be let go."""
    lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    used: dict[str, Any] = dict(line.split() for line in lines)
    return float((group / "memory.max").read_text(encoding="ascii")) - float(used["anon"])


def _processors(group: Path) -> float:
    quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
    return int(quota) / int(period)
