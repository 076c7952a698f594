"""Neural dynamics beside linear ones: a train step and a forward pass at published sizes."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from gfnode.experiment import build_model, configure
from measuring import CLOCKS, ratio, shown, take_turns
from molecules import MOLECULES, starts, system
from train_step import BATCH, LAGS, forward, train_step

GOAL = 3.0

CASES = tuple(MOLECULES)

HEADER = """\
| molecule | | linear, ms | neural, ms | neural / linear (least–most) | goal, at most |
| --- | --- | --: | --: | --- | --- |"""


def measure(repeats: int, clock: str, cases: Sequence[str] = CASES) -> list[dict[str, Any]]:
    """Measure molecules by name."""
    neural = {"model.dynamics": "neural", "model.coordinate_dynamics": "neural"}
    results = []
    for name in cases:
        batch = starts(MOLECULES[name], BATCH, LAGS)
        models = {
            kind: build_model(configure("paper", changes), system(MOLECULES[name]))
            for kind, changes in (("linear", {}), ("neural", neural))
        }
        result: dict[str, Any] = {"molecule": name}
        for what, action in (("train_step", train_step), ("forward", forward)):
            acts = {kind: action(model, batch) for kind, model in models.items()}
            times = take_turns(acts, repeats, CLOCKS[clock])
            slower = ratio(times["neural"], times["linear"])
            result[what] = {f"{kind}_ms": median(t) for kind, t in times.items()}
            result[what]["slower"] = slower
            print(
                f"| {name} | {what.replace('_', ' ')} | {median(times['linear']):.1f} "
                f"| {median(times['neural']):.1f} | {shown(slower)} | {GOAL:g} |",
                flush=True,
            )
        result["reached"] = result["train_step"]["slower"]["ratio"] <= GOAL
        results.append(result)
    return results
