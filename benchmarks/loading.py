"""From a file of 100 000 frames × 21 atoms to the first training step, each format in a process.

Seconds of wall-clock; packages are imported before. Memory is what the process grew by until then,
beside the array of positions.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

FRAMES, GOAL, MEMORY_GOAL = 100_000, 2.0, 2.0  # s; times the array

CASES = (".npz", ".xtc")

HEADER = """\
| file | preset | read, s | windows, s | fit, s | first step, s | in all, s | goal, below \
| memory / array | goal |
| --- | --- | --: | --: | --: | --: | --: | --- | --: | --- |"""


def write(folder: Path, suffix: str) -> Path:
    """Make a trajectory of aspirin's size, atoms on springs at 300 K; and a bit of it."""
    from gfnode import Trajectory, save
    from gfnode.graph import bonds_from_distances, hop_edges
    from gfnode.simulate.molecules import built_in
    from gfnode.simulate.synthetic import harmonic_network

    found = built_in()["aspirin"]
    bonds = bonds_from_distances(found.numbers, found.positions[None].astype(np.float32))
    near = hop_edges(bonds, len(found.numbers), hops=3).index
    springs = near[:, near[0] < near[1]].T
    motion = harmonic_network(found.positions, springs, found.numbers).trajectory(FRAMES)
    trajectory = Trajectory(motion.positions, motion.times, motion.numbers)
    path = folder / f"aspirin{suffix}"
    save(trajectory, path)
    save(trajectory[:100], path.with_stem("bit"))
    return path


def point(path: str, preset: str) -> dict[str, float]:
    """Measure one file, in this process."""
    import torch

    from gfnode import Trajectory
    from gfnode.experiment import build_model, configure, prepare
    from gfnode.readers import load
    from gfnode.training import Trainer
    from measuring import peak_memory

    torch.set_num_threads(2)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # imports what a first step would
    import lightning_fabric  # noqa: F401
    import scipy.spatial  # noqa: F401

    def read(file: Path) -> Trajectory:
        return load(file, top=None if file.suffix == ".npz" else file.with_suffix(".pdb"))

    whole = Path(path)
    read(whole.with_stem("bit"))  # imports what reading needs
    before, moments = peak_memory(), [perf_counter()]
    trajectory = read(whole)
    moments.append(perf_counter())
    changes = {"model.newton": False} if preset == "default" else {}  # that takes minutes
    experiment = configure(preset, changes)
    data = prepare([trajectory], experiment)
    model = build_model(experiment, data.system)
    parts = data.of(model)
    moments.append(perf_counter())
    model.prepare(parts["train"])
    moments.append(perf_counter())
    grown = 1e6 * (peak_memory() - before)
    trainer = Trainer(model, parts, experiment.training, 0, accelerator="cpu")
    trainer.step(*vars(trainer.train.batch(torch.arange(trainer.batch))).values())
    moments.append(perf_counter())
    spent = dict(zip(("read", "windows", "fit", "step"), np.diff(moments).tolist(), strict=True))
    return spent | {"memory_over_array": grown / trajectory.positions.nbytes}


def measure(repeats: int, clock: str, cases: Sequence[str] = CASES) -> list[dict[str, Any]]:
    """Measure formats with the published and the default preset; the clock is on the wall."""
    from measuring import in_a_process

    results = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix in cases:
            path = write(Path(folder), suffix)
            for preset in ("published", "default"):
                runs = [in_a_process(Path(__file__), str(path), preset) for _ in range(3)]
                found = min(runs, key=lambda run: sum(run.values()))
                total = sum(found[key] for key in ("read", "windows", "fit", "step"))
                reached = total < GOAL and found["memory_over_array"] <= MEMORY_GOAL
                results.append({"file": suffix, "preset": preset, **found, "reached": reached})
                print(
                    f"| {suffix} | {preset} | {found['read']:.2f} | {found['windows']:.2f} "
                    f"| {found['fit']:.2f} | {found['step']:.2f} | {total:.2f} | {GOAL:g} "
                    f"| {found['memory_over_array']:.1f} | {MEMORY_GOAL:g} |",
                    flush=True,
                )
    return results


if __name__ == "__main__":
    print(json.dumps(point(*sys.argv[1:])))
