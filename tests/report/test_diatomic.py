"""What is said of a molecule of two atoms: nothing of what it cannot have."""

import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import gfnode
from gfnode.examples import make_examples
from gfnode.inspection import inspect
from gfnode.report import drift_table, inspection_table, physics_table, write_page
from gfnode.report.rollout import DRIFTS
from gfnode.trajectory import Trajectory
from gfnode.units import WAVENUMBER


def hydrogen_chloride(frames: int = 1500, wavenumber: float = 2900.0) -> Trajectory:
    """It turns in a plane, and its bond swings."""
    times = np.arange(float(frames))
    generator = np.random.default_rng(0)
    phase = np.cumsum(generator.normal(0, 0.03, frames)) + WAVENUMBER * wavenumber * times
    length = 1.28 + 0.05 * np.sin(phase)
    angle = 0.004 * times
    along = np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    x = length[:, None, None] * np.stack([-0.0277 * along, 0.9723 * along], 1)
    return Trajectory(x.astype(np.float32), times, [17, 1], name="hcl")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> gfnode.Run:
    folder = tmp_path_factory.mktemp("runs") / "hcl"
    changes = {"model.name": "mean-conformer", "windows.horizon": "60fs"}
    return gfnode.fit(hydrogen_chloride(), changes=changes, out=folder, progress=False)


def shown(table: Any) -> str:
    with (terminal := Console(width=200)).capture() as captured:
        terminal.print(table)
    return captured.get()


def test_the_swing_of_its_bond_is_a_clock() -> None:
    said = shown(inspection_table(inspect([hydrogen_chloride()]).to_dict()))
    assert "1 Cl–H bond vibrates at" in said
    assert "cannot be checked" not in said


def test_nothing_is_counted_that_it_cannot_have(run: gfnode.Run, tmp_path: Path) -> None:
    trajectories = run.trajectories()
    run.evaluate()
    physics = run.physics()
    assert "pair_distance" not in physics.numbers["shape"]["quantities"]
    said = shown(physics_table(physics.numbers))
    assert "broken bonds" in said
    assert "inverted centres" not in said
    make_examples(run, trajectories).save(run.folder)
    page = write_page(run.folder, tmp_path / "page.html").read_text()
    page = re.sub(r"<(script|style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    page = html.unescape(re.sub(r"<[^>]+>", " ", page))
    assert "2 scored, 1 bond " in page
    assert (
        "Errors are averaged over all 2 atoms." in page
    )  # the heavy one alone has no conformation
    assert "nan" not in page.lower().split()
    for absent in ("inverted centres", "stereocentres lost", "pair distances"):
        assert absent not in page
    assert "The atoms predicted worst are" not in page


def test_a_rollout_has_no_column_of_angles() -> None:
    drifts = dict.fromkeys(DRIFTS.values(), 0.1) | {"temperature_k": 400.0}
    drifts |= {"angle_drift_degree": None}
    ends = [(0.0, 390.0), (400.0, 1200.0)]
    result = {"velocity_gap_fs": None, "training": drifts} | {
        "stretches": [drifts | {"begin_fs": begin, "end_fs": end} for begin, end in ends]
    }
    said = shown(drift_table(result))
    assert "angles" not in said
    assert "0 to 0.39 ps" in said  # one unit in a column
    assert "0.4 to 1.2 ps" in said
