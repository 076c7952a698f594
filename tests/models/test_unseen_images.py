"""A potential sees no periodic images: told by `gfnode data`, and before it is learned."""

import json
from pathlib import Path

import numpy as np
import pytest

from gfnode import Trajectory, report
from gfnode.files import to_json
from gfnode.inspection import inspect
from gfnode.models.newton import UNSEEN
from gfnode.run import fitting

WINDOWS = {"windows.most": [40, 10, 10], "windows.horizon": "200fs"}


def argon(side: float | None, *, forces: bool = True) -> Trajectory:
    """Eight atoms, 3.8 Å apart, that swing in a cubic box, with forces of springs."""
    rng = np.random.default_rng(0)
    grid = 3.8 * np.stack(np.meshgrid(*[np.arange(2)] * 3), -1).reshape(-1, 3)
    phases, times = rng.uniform(0, 6, (8, 3)), 10.0 * np.arange(600)
    swing = 0.3 * np.sin(0.02 * times[:, None, None] + phases)
    cell = None if side is None else np.repeat(side * np.eye(3)[None], 600, axis=0)
    pulls = -39.95 * 0.02**2 * swing if forces else None
    return Trajectory(grid + swing, times, [18] * 8, cell=cell, forces=pulls)


def test_the_advice_for_a_fluid() -> None:
    """It promised a potential, which was found useless after minutes of training."""
    found = inspect(argon(7.6))
    plain = json.loads(to_json(found.to_dict()))
    assert found.facts.choices.forces == "stored"
    assert "unseen-images" in [each.code for each in found.findings]
    said = [sentence for _, sentence in report.inspection_findings(plain)]
    assert f"{UNSEEN}. Try: --set model.newton=false" in said
    assert "--set model.newton=false" in (report.train_command(plain, ["a.npz"], []) or "")


@pytest.mark.parametrize("side", [None, 40.0])
def test_molecules_without_neighbours_across_the_box(side: float | None) -> None:
    found = inspect(argon(side))
    assert found.facts.choices.forces == "stored"
    assert "unseen-images" not in [each.code for each in found.findings]


def test_forces_are_not_asked_for_in_vain() -> None:
    for side, promised in ((None, True), (7.6, False)):
        plain = json.loads(to_json(inspect(argon(side, forces=False)).to_dict()))
        rows = [text for _, rows in report.inspection_sections(plain) for _, text in rows]
        assert any("would greatly improve" in text for text in rows) is promised
        assert "unseen-images" not in [each["code"] for each in plain["findings"]]


def test_it_is_told_before_training(tmp_path: Path) -> None:
    def notes(trajectory: Trajectory, name: str, **changes: object) -> tuple[str, ...]:
        _, dataset = fitting.begin(trajectory, changes=WINDOWS | changes, out=tmp_path / name)
        assert dataset is not None
        return dataset.notes

    told = f"{UNSEEN}: --set model.newton=false saves the time it takes"
    assert notes(argon(7.6), "fluid")[-1] == told
    for number, each in enumerate((argon(7.6, forces=False), argon(40.0), argon(None))):
        assert told not in notes(each, f"other-{number}")
    assert told not in notes(argon(7.6), "modes", model={"newton": False})
