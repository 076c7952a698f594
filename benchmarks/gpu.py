"""On a GPU: a recorded train step beside the straightforward form, and many runs in turns.

All forms have the same weights and see the same batch (50 starts, 8 irregular lags, published
sizes). The share of the roofline is taken where the GPU is full, at a batch of 3200: the floor is
the operations of the layers' matrix products at the rate of a large product, which takes longer
than their operands need to pass through memory once. Runs are trainings of the ``published`` preset
on the bundled toluene, validation and all, alone and 16 of other seeds in turns.
"""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from gfnode.experiment import build_model, configure, prepare
from gfnode.readers import load
from gfnode.training import Trainer
from gfnode.training.replay import GraphReplay
from measuring import ratio, shown, take_turns
from molecules import MOLECULES, published, starts
from straightforward import Straightforward
from train_step import BATCH, LAGS, operations

GOAL, FULL, LARGE = 20.0, 3200, 8192
RUNS = (1, 4, 16)
WARM_EPOCHS, EPOCHS = 10, 40

CASES = ("ethanol", "uracil", "aspirin", "runs")

HEADER = """\
| molecule (atoms) | plain, ms | launched one by one, ms | recorded, ms | plain/recorded | goal \
| batch of 3200, ms | floor, ms | of the roofline |
| --- | --: | --: | --: | --- | --: | --: | --: | --: |"""


RUNS_HEADER = """\
| runs on toluene | epochs a second, all runs | beside one alone |
| --- | --: | --: |"""


def train_step(model: nn.Module) -> Callable[..., Tensor]:
    """Forward, mean squared error, backward and Adam, as ``training/loop.py`` does it on a GPU."""
    rate = torch.tensor(1e-4, device="cuda")
    optimizer = torch.optim.Adam(
        model.parameters(), lr=rate, weight_decay=1e-15, fused=True, capturable=True
    )

    def step(*batch: Tensor) -> Tensor:
        *inputs, targets = batch
        optimizer.zero_grad()
        loss = (model(*inputs) - targets).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def recorded(model: nn.Module, batch: Sequence[Tensor]) -> Callable[[], object]:
    """A step that has been recorded."""
    step = GraphReplay(train_step(model), "steps", print)
    for _ in range(5):
        step(*batch)
    return partial(step, *batch)


def waited(action: Callable[..., object]) -> Callable[[], None]:
    """An action and all that it makes the GPU do."""

    def act() -> None:
        action()
        torch.cuda.synchronize()

    return act


def batch_of(name: str, size: int) -> list[Tensor]:
    """A batch on the GPU."""
    return [values.cuda() for values in starts(MOLECULES[name], size, LAGS)]


def steps(name: str, repeats: int) -> dict[str, Any]:
    """Time the steps of a molecule."""
    batch = batch_of(name, BATCH)
    product = published(MOLECULES[name])
    plain = train_step(Straightforward(product).cuda())
    one_by_one = train_step(published(MOLECULES[name]).cuda())
    times = take_turns(
        {
            "plain": waited(partial(plain, *batch)),
            "one_by_one": waited(partial(one_by_one, *batch)),
            "recorded": waited(recorded(product.cuda(), batch)),
        },
        repeats,
        perf_counter,
    )
    square = torch.randn(LARGE, LARGE, device="cuda")
    full = take_turns(
        {
            "step": waited(recorded(product, batch_of(name, FULL))),
            "square": waited(lambda: square @ square),
        },
        repeats,
        perf_counter,
    )
    needed = 3 * operations(product, FULL, LAGS) / (2 * LARGE**3)
    floor = [t * needed for t in full["square"]]
    faster = ratio(times["plain"], times["recorded"])
    return {
        "molecule": name,
        "atoms": product.system.n_atoms,
        **{f"{key}_ms": median(values) for key, values in times.items()},
        "faster": faster,
        "full_ms": median(full["step"]),
        "floor_ms": median(floor),
        "of_roofline": ratio(floor, full["step"]),
        "goal": GOAL,
        "reached": faster["ratio"] >= GOAL,
    }


def epochs_in_turns(runs: int, *, replay: bool = True) -> float:
    """Epochs a second of so many runs together, once their steps have been recorded."""
    settings = {"windows.split": "blocked", "windows.most": [500, 200, 200], "windows.times": LAGS}
    training = {"epochs": WARM_EPOCHS + EPOCHS, "patience": None, "replay": replay}
    experiment = configure("published", settings | {"training": training})
    dataset = prepare([load("sample:toluene")], experiment)
    turns = []
    for seed in range(runs):
        with torch.cuda.stream(stream := torch.cuda.Stream()):
            model = build_model(experiment.model_copy(update={"seed": seed}), dataset.system)
            trainer = Trainer(model, dataset.of(model), experiment.training, seed, fresh_lags=True)
        turns.append((stream, trainer, trainer.running()))

    def until(epoch: int) -> None:
        left = list(turns)
        while left:
            for each in list(left):
                stream, trainer, turn = each
                if trainer.state.progress.epoch >= epoch:
                    left.remove(each)
                    continue
                with torch.cuda.stream(stream):
                    next(turn, None)
        torch.cuda.synchronize()

    until(WARM_EPOCHS)
    began = perf_counter()
    until(WARM_EPOCHS + EPOCHS)
    return runs * EPOCHS / (perf_counter() - began)


def measure(repeats: int, clock: str, cases: Sequence[str] = CASES) -> list[dict[str, Any]]:
    """Measure molecules by name, and runs together; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        print("| no GPU here |")
        return []
    results = []
    for name in cases:
        if name != "runs":
            results.append(steps(name, repeats))
            print(row(results[-1]), flush=True)
            continue
        found = {"one by one, alone": epochs_in_turns(1, replay=False)}
        found |= {f"recorded, {runs} in turns": epochs_in_turns(runs) for runs in RUNS}
        alone = found[f"recorded, {RUNS[0]} in turns"]
        print(f"\n{RUNS_HEADER}")
        for what, rate in found.items():
            print(f"| {what} | {rate:.1f} | {rate / alone:.2f} |", flush=True)
        most = found[f"recorded, {RUNS[-1]} in turns"]
        results.append({"runs": found, "goal": 5.0, "reached": most >= 5 * alone})
    return results


def row(result: dict[str, Any]) -> str:
    """Lay one molecule out in Markdown."""
    return (
        f"| {result['molecule']} ({result['atoms']}) | {result['plain_ms']:.0f} "
        f"| {result['one_by_one_ms']:.1f} | {result['recorded_ms']:.2f} "
        f"| {shown(result['faster'])} | {result['goal']:g} | {result['full_ms']:.1f} "
        f"| {result['floor_ms']:.1f} | {result['of_roofline']['ratio']:.0%} |"
    )
