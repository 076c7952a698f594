"""A train step and a forward pass beside the straightforward form, and beside their floor.

Both forms have the same weights and see the same batch (50 starts, 8 irregular lags, published
sizes). The floor is the time of the layers' matrix products alone, at the rate of a large product
that is measured in the same turn. With products in bfloat16 a step is faster where the processor
has units for them.
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from gfnode.machine import memory_kept
from gfnode.models.gfnode import GraphFourierODE
from gfnode.models.layers import EGNNLayer, EGNNLayers
from gfnode.training.stepping import matmul_precision
from measuring import CLOCKS, ratio, shown, take_turns
from molecules import MOLECULES, published, starts
from straightforward import Straightforward

GOALS = {"ethanol": 13.0, "uracil": 4.0, "aspirin": 3.3}
"""How many times faster a train step has to be."""

BATCH, LAGS, SIZE = 50, 8, 1024

CASES = tuple(GOALS)

HEADER = """\
| molecule (atoms) | | plain, ms | gfnode, ms | plain/gfnode | goal | floor, ms | gfnode/floor \
| bfloat16, ms | gfnode/bfloat16 |
| --- | --- | --: | --: | --- | --- | --: | --- | --: | --- |"""


def train_step(model: nn.Module, batch: list[Tensor]) -> Callable[[], None]:
    """Forward, mean squared error, backward and Adam, as ``training/loop.py`` does it."""
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


def operations(model: GraphFourierODE, starts: int, lags: int) -> float:
    """Floating-point operations of the layers' matrix products in a forward pass.

    Two for every weight and row: a row is an atom or an edge of a start, in the decoder of a start
    and lag. A gradient takes twice as many again.
    """

    def weights(part: nn.Module | None) -> int:
        return sum(p.numel() for p in part.parameters() if p.ndim == 2) if part else 0

    total = 0.0
    for stack, rows in ((model.encoder, starts), (model.decoder, starts * lags)):
        assert isinstance(stack, EGNNLayers)
        for layer in stack.layers:
            assert isinstance(layer, EGNNLayer)
            width = sum(layer.message_in.sizes[:2])
            of_edges = layer.message_in.weight[:, width:].numel()
            of_edges += weights(layer.message_out) + weights(layer.shift)
            of_atoms = weights(layer) - of_edges
            edges = stack.edges.index.shape[1]
            total += 2 * rows * (edges * of_edges + stack.edges.n_atoms * of_atoms)
    return total


def measure(repeats: int, clock: str, cases: Sequence[str] = CASES) -> list[dict[str, Any]]:
    """Measure molecules by name, all of them unless some are asked for."""
    square = torch.randn(SIZE, SIZE)
    results = []
    for name in cases:
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
        needed = operations(product, BATCH, LAGS)
        for what, action, passes in (("forward", forward, 1), ("train_step", train_step, 3)):
            with memory_kept():  # as in training
                times = take_turns(
                    {
                        "plain": action(plain, batch),
                        "gfnode": action(product, batch),
                        "rounded": matmul_precision("bfloat16")(action(product, batch)),
                        "square": lambda: square @ square,
                    },
                    repeats,
                    CLOCKS[clock],
                )
            floor = [t * passes * needed / (2 * SIZE**3) for t in times["square"]]
            result[what] = {
                "plain_ms": median(times["plain"]),
                "gfnode_ms": median(times["gfnode"]),
                "floor_ms": median(floor),
                "faster": ratio(times["plain"], times["gfnode"]),
                "over_floor": ratio(times["gfnode"], floor),
                "rounded_ms": median(times["rounded"]),
                "over_rounded": ratio(times["gfnode"], times["rounded"]),
            }
        result["reached"] = result["train_step"]["faster"]["ratio"] >= result["goal"]
        results.append(result)
        print(rows(result), flush=True)
    return results


def rows(result: dict[str, Any]) -> str:
    """Lay one molecule out in Markdown."""
    lines = []
    for what, goal in (("train_step", f"{result['goal']:g}"), ("forward", "")):
        m = result[what]
        lines.append(
            f"| {result['molecule']} ({result['atoms']}) | {what.replace('_', ' ')} "
            f"| {m['plain_ms']:.1f} | {m['gfnode_ms']:.1f} | {shown(m['faster'])} | {goal} "
            f"| {m['floor_ms']:.1f} | {shown(m['over_floor'])} "
            f"| {m['rounded_ms']:.1f} | {shown(m['over_rounded'])} |"
        )
    return "\n".join(lines)
