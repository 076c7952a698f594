"""What the benchmarks share: taking turns, ratios within a turn, processes of their own."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

CLOCKS: dict[str, Callable[[], float]] = {"wall": perf_counter, "cpu": process_time}


def take_turns(
    actions: Mapping[str, Callable[[], object]], repeats: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Time actions one after the other, again and again, in ms; the first two turns are left out.

    What else the machine does meets all of them, so that ratios within a turn mean something.
    """
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats + 2):
        for name, action in actions.items():
            began = clock()
            action()
            if turn >= 2:
                taken[name].append(1e3 * (clock() - began))
    return taken


def ratio(above: list[float], below: list[float]) -> dict[str, float]:
    """Median, least and most of the ratios within turns."""
    found = [a / b for a, b in zip(above, below, strict=True)]
    return {"ratio": median(found), "least": min(found), "most": max(found)}


def shown(found: Mapping[str, float]) -> str:
    """A ratio with its range."""
    return f"{found['ratio']:.2f} ({found['least']:.2f}–{found['most']:.2f})"


def machine(threads: int, clock: str) -> dict[str, Any]:
    """What the times were taken on."""
    import torch

    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "clock": clock,
    }


def peak_memory() -> float:
    """Most memory that this process had at once, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the parent had, too
        lines = status.read_text(encoding="ascii").splitlines()
        return float(next(x.split()[1] for x in lines if x.startswith("VmHWM"))) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(script: Path, *words: str) -> dict[str, Any]:
    """Run a script of this folder that prints JSON on its last line."""
    done = subprocess.run(
        [sys.executable, str(script), *words], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
