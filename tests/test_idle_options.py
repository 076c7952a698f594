"""Options that would change nothing, seeds that no generator takes, lags named twice."""

from pathlib import Path

import pytest

import gfnode
from commands import fails, works
from gfnode import InputError, Run, Trajectory

ITO = {"model.name": "ito", "model.width": 8, "training.epochs": 1}


@pytest.fixture(scope="module")
def sampler(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A model that draws conformations."""
    most = {"windows.most": [20, 10, 10], "windows.score": "all"}
    folder = tmp_path_factory.mktemp("runs") / "ito"
    return gfnode.fit("sample:toluene", out=folder, changes=ITO | most)


@pytest.mark.parametrize("option", [("--step", "1fs"), ("--stride", "2"), ("--as-stored",)])
def test_reading_says_something_only_of_files_that_are_read(sampler: Run, option: tuple) -> None:
    """They were left aside, and the training data evaluated as ever."""
    said = fails("evaluate", sampler.folder, "--no-physics", *option)
    assert f"{option[0]}: only for files given with --data, and there are none" in said


def test_so_for_a_report(sampler: Run) -> None:
    assert "--top, --step: only for" in fails(
        "report", sampler.folder, "--top", "none.pdb", "--step", "1fs"
    )


def test_formats_of_figures_that_are_not_written(sampler: Run) -> None:
    said = fails("report", sampler.folder, "--format", "svg")
    assert "--format svg applies to figures, and none are written: add --figures" in said


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, True])
def test_seeds_that_no_generator_takes(sampler: Run, seed: object, tmp_path: Path) -> None:
    start = gfnode.load("sample:toluene")[:10]
    assert isinstance(start, Trajectory)
    with pytest.raises(InputError, match="the seed is"):
        sampler.sample(start, ["100fs"], 1, seed=seed)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the seed is"):
        sampler.rollout(start, "3ps", tmp_path / "r.npz", seed=seed)
    assert not list(tmp_path.iterdir())


def test_a_seed_out_of_range_is_one_line(sampler: Run, tmp_path: Path) -> None:
    given = "--start", "sample:toluene", "--out", tmp_path / "r.npz"
    assert "the seed is -1" in fails("rollout", sampler.folder, *given, "--length=3ps", "--seed=-1")


def test_a_model_that_samples_is_not_said_to_have_none(sampler: Run, tmp_path: Path) -> None:
    given = "--start", "sample:toluene", "--out", tmp_path / "r.npz", "--length", "3ps"
    assert "leave --sampled" in fails("rollout", sampler.folder, *given, "--sampled")


def test_a_lag_named_twice_is_one_ensemble(sampler: Run, tmp_path: Path) -> None:
    given = "--start", "sample:toluene", "--samples", "2", "--steps", "2"
    works("sample", sampler.folder, *given, "--times=100fs,0.1ps,1ps", "--out", tmp_path / "e.npz")
    assert {each.name for each in tmp_path.iterdir()} == {"e-100fs.npz", "e-1ps.npz"}


def test_two_names_of_the_same_dihedrals() -> None:
    torsions = "--torsion", "a=0-1-4-6", "--torsion", "b=1-4-6-9"
    said = fails("ramachandran", "sample:toluene", *torsions, "--residue", "ALA2")
    assert "--residue ALA2 and --torsion both say which dihedrals" in said


def test_more_hops_than_a_graph_takes_are_one_line() -> None:
    assert "invalid value for '--hops'" in fails("spectrum", "sample:toluene", "--hops", "101")


def test_what_no_disk_has_room_for_is_refused_before_the_work(sampler: Run, tmp_path: Path) -> None:
    given = ("--start", "sample:toluene", "--out", tmp_path / "a.xtc")
    said = fails("rollout", sampler.folder, *given, "--length", "1e20ps")
    assert "GB, but the disk has" in said
    assert not list(tmp_path.iterdir())


def test_reports_are_refused_before_anything_is_measured(sampler: Run, tmp_path: Path) -> None:
    assert "named twice" in fails("report", sampler.folder, sampler.folder)
    (tmp_path / "file").write_text("x")
    assert "file" in fails("report", sampler.folder, "--figures", tmp_path / "file")
    assert not (sampler.folder / "evaluation.json").exists()
