"""Benchmarks of gfnode, as ratios where times depend on the machine.

python benchmarks                          # all of them: make bench
python benchmarks train_step dynamics      # some
python benchmarks --json F.json --check    # for comparison over time; exit 1 where a goal is missed
python benchmarks --threads 1 --clock cpu  # on a machine that has other work
"""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

from measuring import CLOCKS, machine

NAMES = ("start_up", "train_step", "dynamics", "loading", "prediction", "gpu")


def main() -> int:
    """Run the benchmarks; the exit status says whether every goal is reached."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(
        prog="python benchmarks",
        description=lines[0],
        epilog="\n".join(lines[1:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--repeats", type=int, default=12, help="timed turns (default 12)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="default: wall")
    parser.add_argument("--only", nargs="+", help="molecules, commands or formats to measure")
    parser.add_argument("--json", type=Path, metavar="F", help="write the results to a file")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"unknown benchmark {min(unknown)}: expected {', '.join(NAMES)}")
    torch.set_num_threads(options.threads)
    results: dict[str, list[dict[str, Any]]] = {}
    for name in options.names or NAMES:
        module = importlib.import_module(name)
        print(f"\n### {(module.__doc__ or '').splitlines()[0]}\n\n{module.HEADER}", flush=True)
        cases = [case for case in module.CASES if not options.only or case in options.only]
        results[name] = module.measure(options.repeats, options.clock, cases)
    if options.json:
        found = {"machine": machine(options.threads, options.clock), "results": results}
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    missed = [
        f"{name} {next(iter(result.values()))}"
        for name, each in results.items()
        for result in each
        if not result.get("reached", True)
    ]
    if missed:
        print(f"\ngoal missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
