"""Time a train step and a forward pass of the product beside the straightforward form.

    python benchmarks/train_step.py [--repeats 20] [--threads 2] [--cpu-time] [--json F] [--check]

Both forms have the same weights and see the same batch (50 starts, 8 irregular lags, published
sizes). They take turns, and ratios are taken within a turn, so that what else the machine does
meets both.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor, nn

from molecules import MOLECULES, published, starts
from straightforward import Straightforward

GOALS = {"ethanol": 7.0, "uracil": 2.7, "aspirin": 2.0}
"""How many times faster a train step has to be."""

BATCH, LAGS = 50, 8


def train_step(model: nn.Module, batch: list[Tensor]) -> Callable[[], None]:
    """Forward, mean squared error, backward and Adam, as ``training.py`` does it."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-15, fused=True)
    *inputs, targets = batch

    def step() -> None:
        optimizer.zero_grad()
        (model(*inputs) - targets).square().mean().backward()
        optimizer.step()

    return step


def forward(model: nn.Module, batch: list[Tensor]) -> Callable[[], None]:
    """A prediction, without gradients."""

    def predict() -> None:
        with torch.no_grad():
            model(*batch[:3])

    return predict


def take_turns(
    first: Callable[[], None],
    second: Callable[[], None],
    repeats: int,
    clock: Callable[[], float],
) -> list[Any]:
    """Time two actions alternately, in ms: two lists."""
    taken: list[Any] = [[], []]
    for turn in range(repeats + 2):
        for action, times in zip((first, second), taken, strict=True):
            began = clock()
            action()
            if turn >= 2:
                times.append(1e3 * (clock() - began))
    return taken


def measure(name: str, repeats: int, clock: Callable[[], float] = perf_counter) -> dict[str, Any]:
    """Measure one molecule."""
    product = published(MOLECULES[name])
    plain = Straightforward(product)
    batch = starts(MOLECULES[name], BATCH, LAGS)
    result: dict[str, Any] = {
        "molecule": name,
        "atoms": product.system.n_atoms,
        "edges": product.system.edges.index.shape[1],
        "weights": sum(p.numel() for p in product.parameters()),
        "goal": GOALS[name],
    }
    for what, action in (("forward", forward), ("train_step", train_step)):
        slow, fast = take_turns(action(plain, batch), action(product, batch), repeats, clock)
        ratios = [a / b for a, b in zip(slow, fast, strict=True)]
        result[what] = {
            "straightforward_ms": median(slow),
            "product_ms": median(fast),
            "ratio": median(ratios),
            "ratio_least": min(ratios),
            "ratio_most": max(ratios),
        }
    result["reached"] = result["train_step"]["ratio"] >= result["goal"]
    return result


HEADER = """\
| molecule (heavy atoms) | | plain, ms | gfnode, ms | ratio (least–most) | goal |
| --- | --- | --- | --- | --- | --- |"""


def rows(result: dict[str, Any]) -> str:
    """Lay one molecule out in Markdown."""
    lines = []
    for what, goal in (("train_step", f"{result['goal']:g}"), ("forward", "")):
        m = result[what]
        lines.append(
            f"| {result['molecule']} ({result['atoms']}) | {what.replace('_', ' ')} "
            f"| {m['straightforward_ms']:.1f} | {m['product_ms']:.1f} "
            f"| {m['ratio']:.1f} ({m['ratio_least']:.1f}–{m['ratio_most']:.1f}) | {goal} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark; the exit status says whether every goal is reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20, help="timed turns (default 20)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument(
        "--cpu-time", action="store_true", help="CPU time, not wall-clock: for a busy machine"
    )
    parser.add_argument("--molecules", nargs="+", choices=list(GOALS), default=list(GOALS))
    parser.add_argument("--json", type=Path, help="write the results to a file")
    parser.add_argument("--check", action="store_true", help="fail where a goal is missed")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = process_time if options.cpu_time else perf_counter
    print(HEADER, flush=True)
    results = []
    for name in options.molecules:
        results.append(measure(name, options.repeats, clock))
        print(rows(results[-1]), flush=True)
    if options.json:
        machine = {
            "torch": torch.__version__,
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "threads": options.threads,
            "clock": "cpu" if options.cpu_time else "wall",
        }
        text = json.dumps({"machine": machine, "results": results}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    missed = [r["molecule"] for r in results if not r["reached"]]
    if missed:
        print(f"goal missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
