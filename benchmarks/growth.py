"""How time and memory of the default model grow with atoms, lags and modes.

    python benchmarks/growth.py [--threads 1] [--json F] [--plot F.png]

A chain of N carbon atoms with 2 starts of 4 lags. Each point is a process of its own, so that its
peak memory is its own; times are CPU time, the least of five. The exponent is that of a power law
through the last half of the points: 1 is flat per atom.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

ATOMS = (22, 50, 100, 220, 500, 1000, 2000, 3341)
LAGS = (1, 4, 16, 64)
MODES = (8, 32, 128, 256)
STARTS, USUAL_LAGS, USUAL_ATOMS = 2, 4, 1000


def point(atoms: int, lags: int, modes: int | None) -> dict[str, float]:
    """Measure one size, in this process."""
    import torch

    from gfnode.experiment import build_model, configure
    from gfnode.graph import hop_edges
    from gfnode.molecule.system import System
    from measuring import peak_memory

    started = peak_memory()
    bonds = np.stack([np.arange(atoms - 1), np.arange(1, atoms)], 1)
    numbers, every = np.full(atoms, 6), np.arange(atoms)
    edges = hop_edges(bonds, atoms)
    none = np.zeros((0, 2), dtype=np.int64)
    system = System(numbers, every, every, bonds, edges, 1.0, 1000.0, none)
    changes = {} if modes is None else {"model.modes": modes}
    began = process_time()
    model = build_model(configure("default", changes), system)
    built = process_time() - began
    rng = np.random.default_rng(0)
    chain = np.stack([1.3 * every, 0.5 * (every % 2), 0.1 * rng.standard_normal(atoms)], 1)
    x = torch.as_tensor(chain + 0.1 * rng.standard_normal((STARTS, atoms, 3))).float()
    v = torch.as_tensor(0.01 * rng.standard_normal((STARTS, atoms, 3))).float()
    t = torch.linspace(50, 1000, lags).expand(STARTS, -1)
    model.frame.conformer.positions.copy_(torch.as_tensor(chain).float())

    def predict() -> None:
        with torch.no_grad():
            model(x, v, t)

    def step() -> None:
        model.zero_grad()
        model(x, v, t).square().mean().backward()

    found = {"build_s": built}
    for name, action in (("predict_ms", predict), ("train_step_ms", step)):
        taken = []
        for _ in range(6):
            began = process_time()
            action()
            taken.append(1e3 * (process_time() - began))
        found[name] = min(taken[1:])
    return found | {"memory_mb": peak_memory() - started}


def measure(threads: int, atoms: int, lags: int, modes: int | None) -> dict[str, Any]:
    """Measure one size, in a process of its own."""
    words = [sys.executable, __file__, "--threads", str(threads), "--point", f"{atoms},{lags}"]
    words[-1] += "" if modes is None else f",{modes}"
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    sizes = {"atoms": atoms, "lags": lags, "modes": modes or min(256, atoms)}
    found = sizes | json.loads(done.stdout)
    print(
        f"| {atoms} | {lags} | {found['modes']} | {found['build_s']:.2f} "
        f"| {found['predict_ms']:.1f} | {found['train_step_ms']:.1f} "
        f"| {1e3 * found['train_step_ms'] / atoms:.0f} | {found['memory_mb']:.0f} |",
        flush=True,
    )
    return found


def exponent(points: list[dict[str, Any]], over: str, what: str) -> float:
    """Slope on log axes, last half of the points."""
    rear = points[len(points) // 2 :]
    x, y = (np.log([max(1e-3, each[key]) for each in rear]) for key in (over, what))
    return float(np.polyfit(x, y, 1)[0])


def draw(series: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Time and memory on log axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    panels = figure.subplots(1, len(series))
    for panel, (over, points) in zip(panels, series.items(), strict=True):
        x = [each[over] for each in points]
        for what, colour, unit in (
            ("predict_ms", "#0072B2", "prediction, ms"),
            ("train_step_ms", "#D55E00", "train step, ms"),
            ("memory_mb", "0.4", "memory, MB"),
        ):
            label = f"{unit} (exponent {exponent(points, over, what):.2f})"
            panel.loglog(x, [each[what] for each in points], "o-", color=colour, label=label)
        panel.set_xlabel(over)
        panel.grid(color="0.9")
        panel.legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure all sizes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--point", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        import torch

        torch.set_num_threads(options.threads)
        atoms, lags, *modes = map(int, options.point.split(","))
        print(json.dumps(point(atoms, lags, modes[0] if modes else None)))
        return
    print("| atoms | lags | modes | build, s | prediction, ms | train step, ms | µs an atom | MB |")
    print("| --: | --: | --: | --: | --: | --: | --: | --: |", flush=True)
    n = options.threads
    series = {
        "atoms": [measure(n, each, USUAL_LAGS, min(each, 32)) for each in ATOMS],
        "lags": [measure(n, USUAL_ATOMS, each, 32) for each in LAGS],
        "modes": [measure(n, USUAL_ATOMS, USUAL_LAGS, each) for each in MODES],
    }
    for over, points in series.items():
        told = [f"{what} {exponent(points, over, what):.2f}" for what in list(points[0])[4:]]
        print(f"exponents over {over}: {', '.join(told)}")
    if options.json:
        options.json.write_text(json.dumps(series, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        draw(series, options.plot)


if __name__ == "__main__":
    main()
