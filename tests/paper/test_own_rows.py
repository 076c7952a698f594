"""Models of plug-ins as rows of the paper's tables, and what a change of their code does."""

import csv
from pathlib import Path

import pytest

from commands import call
from distributions import FLYER, installed, write_distribution
from gfnode.experiment import configure
from gfnode.models import MODELS
from gfnode.paper import specs
from gfnode.paper.plan import with_rows
from gfnode.sweep import Job
from sweeps import write_md17

SMALL = (
    *("--molecules", "ethanol", "--split", "blocked", "--epochs", "1", "--seeds", "1"),
    *("--jobs", "1", "--set", "windows.horizon=40fs", "--set", "windows.most=[32,16,24]"),
    *("--set", "training.batch=16"),
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    write_distribution(
        folder, "flying-atoms", "1.2.3", FLYER, {"gfnode.models": {"flyer": "FLYER"}}
    )
    return folder


def test_rows(package: Path) -> None:
    spec = specs.load("table1")
    ids = [row.id for row in spec.rows]
    assert with_rows(spec, None) == (spec, None)
    assert with_rows(spec, ["egnn", "persistence"]) == (spec, ["egnn", "persistence"])
    with installed(package):
        found, names = with_rows(spec, ["flyer", "all", "flyer"])
    assert [row.id for row in found.rows] == [*ids, "flyer"]
    assert names == ["flyer", *ids, "flyer"]
    assert found.rows[-1].changes == {"model.name": "flyer"}


def test_a_table_with_a_row_of_ones_own(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is trained on the same windows, compared, and trained again when its code has changed."""
    monkeypatch.setenv("PYTHONPATH", str(package), prepend=":")
    write_md17(tmp_path / "md17_ethanol.npz", "ethanol")
    given = ["reproduce", "table1", "--data", tmp_path, "--out", tmp_path, *SMALL]
    assert call(*given, "--models", "persistence,flyer", "--dry-run").exit_code == 2
    with installed(package):
        result = call(*given, "--models", "ndcn,flyer")
        assert result.exit_code == 0, result.output
        assert "2 runs: 2 done" in result.stderr
        lines = (tmp_path / "table1.csv").read_text().splitlines()
        rows = {row["row"]: row for row in csv.DictReader(lines)}
        assert rows["flyer"]["kind"] == "model"
        assert rows["flyer"]["weights"] == "1"
        assert rows["flyer"]["published"] == ""
        assert float(rows["flyer"]["ratio_to_best_trivial"]) > 0
        again = call(*given, "--models", "ndcn,flyer")
        assert "2 runs: 0 done, 2 done before" in again.stderr
    code = package / "flying_atoms.py"
    code.write_text(code.read_text().replace("-memory * torch", "-0.5 * memory * torch"))
    with installed(package):
        changed = call(*given, "--models", "ndcn,flyer")
        assert "2 runs: 1 done, 1 done before" in changed.stderr, changed.output


def test_the_code_of_a_package_is_all_of_its_files(tmp_path: Path) -> None:
    place = tmp_path / "fliers"
    place.mkdir()
    (place / "__init__.py").write_text(FLYER)
    (place / "wing.py").write_text("span = 3\n")
    info = tmp_path / "fliers-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fliers\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gfnode.models]\nflier = fliers:FLYER\n")
    data = tmp_path / "x.npz"
    data.touch()
    codes, keys = [], []
    for text in ("span = 3\n", "span = 4\n", "span = 3\n"):
        (place / "wing.py").write_text(text)
        with installed(tmp_path):
            codes.append(MODELS.code("flier"))
            experiment = configure("paper", {"model.name": "flier"})
            keys.append(Job((str(data),), experiment).key)
    assert codes[0] == codes[2] != codes[1]
    assert keys[0] == keys[2] != keys[1]
    assert MODELS.code("egnn") is None
    assert MODELS.code("nothing") is None
