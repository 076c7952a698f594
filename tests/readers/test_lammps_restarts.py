"""LAMMPS dumps that a run continued from a restart file was appended to."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from commands import call
from gfnode.errors import InputError
from gfnode.readers import load


def dump(path: Path, frames: Iterable[tuple[int, float]], units: str = "real") -> Path:
    """Frames of these steps and times, as LAMMPS writes them; positions are those of the step."""
    lines = []
    for number, (step, time) in enumerate(frames):
        head = ["ITEM: UNITS", units] if number == 0 else []
        box = ["ITEM: BOX BOUNDS pp pp pp", *["-9.0e+01 9.0e+01"] * 3]
        lines += [*head, "ITEM: TIME", f"{time:g}", "ITEM: TIMESTEP", f"{step}"]
        lines += ["ITEM: NUMBER OF ATOMS", "2", *box, "ITEM: ATOMS id element xu yu zu"]
        lines += [f"1 O {np.sin(step):g} 0 0", f"2 H {np.sin(step):g} 0.96 0"]
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.mark.parametrize(("units", "step"), [("real", 0.5), ("metal", 0.0005)])
def test_time_that_a_restart_counts_from_zero(tmp_path: Path, units: str, step: float) -> None:
    """LAMMPS 2021 goes on with steps, and begins anew with times."""
    before = [(at, at * step) for at in range(0, 122, 2)]
    after = [(at, (at - 120) * step) for at in range(122, 162, 2)]
    read = load(dump(tmp_path / "on.lammpstrj", before + after, units))
    np.testing.assert_allclose(read.times, np.arange(81.0), atol=1e-6)
    assert any("goes back to 0.001 at frame 61" in n or "back to 1 at" in n for n in read.notes)


def test_frames_that_a_restart_wrote_again(tmp_path: Path) -> None:
    before = [(at, at * 0.5) for at in range(0, 122, 2)]
    after = [(at, (at - 100) * 0.5) for at in range(100, 162, 2)]
    path = dump(tmp_path / "again.lammpstrj", before + after)
    with pytest.raises(InputError, match="frame 61 is at 50 fs, the one before at 60 fs"):
        load(path)
    result = call("convert", path, tmp_path / "once.npz")
    assert result.exit_code == 0, result.output
    read = load(tmp_path / "once.npz")
    np.testing.assert_allclose(read.times, np.arange(81.0))
    np.testing.assert_allclose(read.positions[:, 0, 0], np.sin(read.times * 2), atol=1e-5)


@pytest.mark.parametrize(
    "after",
    [
        [(0, 0.0), (2, 1.0), (4, 2.0)],  # another run
        [(20, 0.0), (22, 2.0), (24, 4.0)],  # with another time step
        [(12, 5.0), (14, 6.0), (16, 7.0)],  # times that are no times of the steps
    ],
)
def test_other_times_that_go_back(tmp_path: Path, after: list[tuple[int, float]]) -> None:
    before = [(at, at * 0.5) for at in range(0, 20, 2)]
    if after[0][0] == 12:
        before = [(at, at * 0.5 + (at == 6) * 0.3) for at in range(0, 20, 2)]
    with pytest.raises(InputError, match="unsorted times: frame 10 "):
        load(dump(tmp_path / "other.lammpstrj", before + after))


def test_times_of_a_changing_time_step_stay(tmp_path: Path) -> None:
    times = np.cumsum(np.linspace(0.5, 2, 20))
    read = load(dump(tmp_path / "free.lammpstrj", zip(range(0, 40, 2), times, strict=True)))
    np.testing.assert_allclose(read.times, times, rtol=1e-5)
