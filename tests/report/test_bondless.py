"""Atoms without a bond: a cluster of argon."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

import gfnode
from gfnode.examples import make_examples
from gfnode.inspection import inspect
from gfnode.report import write_page
from gfnode.trajectory import Trajectory


def argon(frames: int = 600) -> Trajectory:
    """Four atoms on the corners of a tetrahedron, each swinging for itself; frames 20 fs apart."""
    generator = np.random.default_rng(0)
    corners = 3.8 / np.sqrt(8) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    phase = generator.uniform(0, 6, (4, 3)) + np.cumsum(
        generator.uniform(0.05, 0.2, (frames, 4, 3)), axis=0
    )
    x = corners + 0.2 * np.sin(phase)
    return Trajectory(x.astype(np.float32), 20.0 * np.arange(frames), [18] * 4, name="argon")


def test_forces_without_bonds_are_looked_at_without_a_word_of_torch() -> None:
    plain = argon()
    given = replace(plain, forces=plain.positions.mean(0) - plain.positions)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert inspect([given]).facts.choices.forces == "stored"


def test_every_step_goes_through_without_bonds(tmp_path: Path) -> None:
    changes = {"windows.horizon": "500fs", "training.epochs": 1}
    run = gfnode.fit(argon(), changes=changes, out=tmp_path / "run", progress=False)
    run.evaluate()
    assert run.physics().numbers["spectra"]["superposed"]["eigenspaces"]
    make_examples(run, run.trajectories()).save(run.folder)
    page = write_page(run.folder, tmp_path / "page.html").read_text()
    assert "density of states" in page
    assert "Power spectra of eigenspaces" not in page
