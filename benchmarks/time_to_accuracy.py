"""How long until the validation error that the straightforward form reaches in 100 epochs.

    python benchmarks/time_to_accuracy.py md17_ethanol.npz md17_toluene.npz md17_uracil.npz

Trajectories of MD17 in consecutive frames. The ``published`` preset is trained for 100 epochs on
the published windows (500 starts, irregular lags); the straightforward form computes the same with
the same weights, so that its time is that of its train steps, measured beside the product's, times
their number. Then the ``default`` preset, its modes alone (``model.newton=false``), is trained on
the same 500 starts until it is as good on the same validation windows, heavy atoms, mean over lags;
its time counts all, fitting too. Evaluation is left out on both sides.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from gfnode.experiment import build_model, configure, prepare
from gfnode.models import Model
from gfnode.models.gfnode import GraphFourierODE
from gfnode.presets import PRESETS
from gfnode.readers import load
from gfnode.training import Callback, EpochRecord, Trainer, TrainingState
from gfnode.windows import Windows
from measuring import CLOCKS, machine, ratio, take_turns
from straightforward import Straightforward
from train_step import train_step

EPOCHS, VALIDATED = 100, 500


def windows_of(parts: dict[str, Windows]) -> dict[str, Windows]:
    """All training windows, and the first of validation: those that both are judged on."""
    chosen = parts["validation"].take(torch.arange(min(VALIDATED, len(parts["validation"]))))
    return parts | {"validation": chosen}


def train(preset: str, path: Path, changes: dict[str, Any], enough: float) -> dict[str, Any]:
    """Train until a validation error (Å²) is reached; seconds are without validation."""
    experiment = configure(preset, changes)
    data = prepare([load(path)], experiment)
    model: Model = build_model(experiment, data.system)
    parts = windows_of(data.of(model))
    began = perf_counter()
    model.prepare(parts["train"])
    fitted = perf_counter() - began
    trainer = Trainer(model, parts, experiment.training, experiment.seed, accelerator="cpu")
    error = trainer._validate()[0]
    found = {"fit_s": fitted, "train_s": 0.0, "epochs": 0, "start_error": error, "error": error}

    class Enough(Callback):
        def epoch(self, state: TrainingState, record: EpochRecord, best: bool) -> None:
            found["train_s"] += trainer.batches * trainer.batch / record.windows_per_s
            found["epochs"] = record.epoch
            found["error"] = min(found["error"], record.validation_error or found["error"])
            if found["error"] <= enough:
                state.progress.stopped = "good enough"

    if error > enough:
        trainer.run(Enough())
    return found | {"model": model, "parts": parts, "batches": trainer.batches}


def measure(path: Path, clock: str) -> dict[str, Any]:
    """Measure one molecule."""
    budget = {"training.epochs": EPOCHS, "training.validate_every": 5, "training.patience": None}
    published = train("published", path, budget, enough=0.0)
    model = published["model"]
    assert isinstance(model, GraphFourierODE)
    batch = published["parts"]["train"].batch(slice(0, 50))
    tensors = [batch.positions, batch.velocities, batch.lags, batch.targets]
    acts = {
        "plain": train_step(Straightforward(model), tensors),
        "gfnode": train_step(model, tensors),
    }
    times = take_turns(acts, 6, CLOCKS[clock])
    plain = EPOCHS * published["batches"] * median(times["plain"]) / 1000
    same = {f"windows.{key}": value for key, value in PRESETS["published"]["windows"].items()}
    same |= {"windows.state": "all", "model.newton": False}
    default = train("default", path, same, enough=published["error"])
    spent = default["fit_s"] + default["train_s"]
    keep = ("fit_s", "train_s", "epochs", "start_error", "error")
    result = {
        "molecule": path.stem,
        "plain_s": plain,
        "step": ratio(times["plain"], times["gfnode"]),
        "published": {key: published[key] for key in keep},
        "default": {key: default[key] for key in keep},
        "faster": plain / spent,
        "reached": default["error"] <= published["error"],
    }
    print(
        f"| {path.stem} | {100 * published['error']:.2f} "
        f"| {plain:.0f} | {published['train_s']:.0f} "
        f"| {100 * default['error']:.2f} | {default['fit_s']:.1f} + {default['train_s']:.1f} "
        f"({default['epochs']} epochs) | {plain / spent:.0f} |",
        flush=True,
    )
    return result


HEADER = """\
| | straightforward, 100 epochs: error, 10⁻² Å² | s | by gfnode, s | default: error | s | faster |
| --- | --: | --: | --: | --: | --: | --: |"""


def main() -> None:
    """Measure each trajectory."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(HEADER, flush=True)
    results = [measure(path, options.clock) for path in options.files]
    if options.json:
        found = {"machine": machine(options.threads, options.clock), "results": results}
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
