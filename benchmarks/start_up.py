"""How long the command line and the package take to start, in CPU seconds of a process."""

import subprocess
import sys
from collections.abc import Sequence
from os import times
from statistics import median
from typing import Any

GOAL = 0.3  # s, of gfnode --help

COMMANDS = {
    "gfnode --help": "import sys; sys.argv[1:] = ['--help']; import gfnode.cli as c; c.main()",
    "import gfnode": "import gfnode",
    "import torch": "import torch",
}

CASES = tuple(COMMANDS)

HEADER = """\
| | CPU time, s (least–most) | goal, below |
| --- | --- | --- |"""


def measure(repeats: int, clock: str, cases: Sequence[str] = CASES) -> list[dict[str, Any]]:
    """Measure each command; the clock is always that of the processor."""
    results = []
    for name in cases:
        taken = []
        for _ in range(max(3, repeats // 2)):
            before = times()
            subprocess.run([sys.executable, "-c", COMMANDS[name]], check=True, capture_output=True)
            after = times()
            taken.append(sum(after[2:4]) - sum(before[2:4]))
        goal = GOAL if name.endswith("--help") else None
        results.append(
            {
                "command": name,
                "seconds": median(taken),
                "reached": goal is None or median(taken) < goal,
            }
        )
        print(
            f"| `{name}` | {median(taken):.2f} ({min(taken):.2f}–{max(taken):.2f}) "
            f"| {goal or ''} |",
            flush=True,
        )
    return results
