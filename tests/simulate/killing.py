"""Kill a simulation at random moments, over and over, and look at what is left each time.

    python killing.py FOLDER KILLS SEED

Prints as JSON how many kills hit which phase. It is a process of its own, whose children are
forked from it, so that a child begins at once.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from springs import MOLECULES

from gfnode import load
from gfnode.readers.unfinished import folder_of
from gfnode.simulate import run
from gfnode.simulate.run import simulate
from gfnode.trajectory import Trajectory

run.SAVE_EVERY_S = 0.0
ALLOWED = {"run.npz", "run.npz.unfinished", "run.simulation.json"}


def go(out: Path, **how: bool) -> Trajectory:
    return simulate(
        MOLECULES["five"],
        engine="springs:Springs",
        length="300fs",
        equilibrate="100fs",
        every="2fs",
        out=out,
        **how,
    )


def phase(out: Path) -> str:
    """Where a killed simulation stood."""
    state = folder_of(out) / "state.npz"
    if not state.exists():
        return "before the first state"
    with np.load(state) as file:
        frames = int(file["frames"])
    return {0: "equilibrating", 150: "finishing"}.get(frames, "storing frames")


def killed(out: Path, resume: bool, delay: float) -> bool:
    """Run in a child and kill it; False where it was quicker."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            go(out, resume=resume, overwrite=not resume)
            code = 0
        finally:
            os._exit(code)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
    return os.WIFSIGNALED(status)


def main(folder: Path, kills: int, seed: int) -> None:
    go(folder / "whole" / "run.npz")  # what is imported on the way takes ten times as long
    began = time.monotonic()
    whole = go(folder / "whole" / "run.npz", overwrite=True)
    usual = time.monotonic() - began
    out, draw, hits, cycles = folder / "cut" / "run.npz", random.Random(seed), Counter(), 0
    old = whole[:3]
    while sum(hits.values()) < kills:
        old.save(out)
        cycles += 1
        finished = False
        while not finished:
            resume = (folder_of(out) / "settings.json").exists()
            share = draw.choice([draw.uniform(0, 0.5), draw.uniform(0.5, 1.2)])
            finished = not killed(out, resume, share * usual)
            if not finished:
                hits[phase(out)] += 1
            assert {each.name for each in out.parent.iterdir()} <= ALLOWED
            found = load(out)
            if len(found) == len(old) and not finished:
                assert np.array_equal(found.positions, old.positions)
                continue
            finished = finished or not folder_of(out).exists()
            assert np.array_equal(found.positions, whole.positions)
            assert np.array_equal(found.velocities, whole.velocities)
        go(out, resume=True)  # tidies where it was killed in between
        for each in out.parent.iterdir():
            each.unlink()
    print(json.dumps({"kills": sum(hits.values()), "cycles": cycles, **hits}))  # noqa: T201


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for name in ("whole", "cut"):
        (target / name).mkdir()
    main(target, int(sys.argv[2]), int(sys.argv[3]))
