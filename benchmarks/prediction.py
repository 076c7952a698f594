"""1000 starts × 100 lags of a molecule of 22 atoms in one call, beside the engines that make data.

The ``default`` model of alanine dipeptide, unfitted, which takes as long. Engines run on one core
in a process of their own, the model too; a frame is one conformation 1 ps (force field) or 0.5 fs
(GFN2-xTB) after the one before, so that frames per second are at equal simulated time.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

STARTS, LAGS = 1000, 100

ENGINES = {
    "OpenMM, Amber99SB-ILDN, OBC": ("ala2", "openmm", "1ps", 40.0),
    "GFN2-xTB (tblite)": ("ala2", "xtb", "0.5fs", 0.05),
}
"""Molecule, engine, time between frames, ps simulated."""

CASES = ("gfnode", *ENGINES)

HEADER = """\
| what, one core | frames a second | a frame is later by | ps simulated a second | memory, MB |
| --- | --: | --: | --: | --: |"""


def model_point() -> dict[str, float]:
    """Predict in this process."""
    import numpy as np
    import torch

    from gfnode.experiment import build_model, configure
    from gfnode.graph import bonds_from_distances, hop_edges
    from gfnode.molecule.system import System
    from gfnode.rollout import predict
    from gfnode.simulate.molecules import built_in
    from measuring import peak_memory

    torch.set_num_threads(1)
    found = built_in()["ala2"]
    every = np.arange(len(found.numbers))
    bonds = bonds_from_distances(found.numbers, found.positions[None])
    edges = hop_edges(bonds, len(every))
    system = System(found.numbers, every, every, bonds, edges, 1000.0, 100_000.0)
    model = build_model(configure(), system).eval()
    x = torch.as_tensor(found.positions).float()
    model.frame.conformer.positions.copy_(x)
    x = x + 0.05 * torch.randn(STARTS, *x.shape)
    v = 0.01 * torch.randn_like(x)
    before = peak_memory()
    began = perf_counter()
    with torch.no_grad():
        result = predict(model, x, v, [1000.0 * k for k in range(1, LAGS + 1)])
    spent = perf_counter() - began
    assert result.shape == (STARTS, LAGS, *x.shape[1:])
    return {"frames_per_s": STARTS * LAGS / spent, "memory_mb": peak_memory() - before}


def engine_point(name: str) -> dict[str, float]:
    """Simulate in this process: a short run is taken off a longer one."""
    import logging

    from gfnode.simulate import simulate
    from gfnode.units import parse_time

    logging.disable(logging.INFO)
    molecule, engine, every, length = ENGINES[name]
    spent = []
    for times in (1, 3):
        began = perf_counter()
        simulate(molecule, engine=engine, every=every, length=f"{times * length}ps", equilibrate=0)
        spent.append(perf_counter() - began)
    simulated = 2 * length / (spent[1] - spent[0])  # ps/s
    return {"frames_per_s": simulated * 1000 / parse_time(every), "ps_per_s": simulated}


def measure(repeats: int, clock: str, cases: Sequence[str] = CASES) -> list[dict[str, Any]]:
    """Measure model and engines, on the wall's clock; engines must be installed."""
    from importlib.util import find_spec

    from measuring import in_a_process

    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENMM_CPU_THREADS"), "1")
    results: list[dict[str, Any]] = []
    for name in cases:
        _, engine, every, _ = ENGINES.get(name, ("", "", "", 0.0))
        if engine and find_spec({"xtb": "tblite"}.get(engine, engine)) is None:
            continue
        found = in_a_process(Path(__file__), name)
        results.append({"what": name, **found})
        speed = f"{found['ps_per_s']:.3g}" if engine else "–"
        memory = "" if engine else f"{found['memory_mb']:.0f}"
        print(
            f"| {name} | {found['frames_per_s']:.3g} | {every or 'any'} | {speed} | {memory} |",
            flush=True,
        )
    return results


if __name__ == "__main__":
    word = sys.argv[1]
    print(json.dumps(model_point() if word == "gfnode" else engine_point(word)))
