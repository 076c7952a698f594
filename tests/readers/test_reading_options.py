"""Options of reading on the command line: remembered by a run, and taken up again."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import gfnode
from gfnode import cli
from gfnode.errors import InputError
from gfnode.readers import Reader
from gfnode.trajectory import Topology, Trajectory

SMALL = (
    *("--set", "windows.most=[32,16,16]", "--set", "training.epochs=1"),
    *("--set", "training.batch=16", "--set", "model.width=8", "--set", "windows.horizon=100fs"),
)


def done(*words):
    result = CliRunner().invoke(cli.app, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def dimer(tmp_path_factory):
    """Two waters in a box, one of them cut by it, and an ion: XTC and its topology."""
    folder = tmp_path_factory.mktemp("dimer")
    rng = np.random.default_rng(0)
    times = np.arange(600) * 10.0
    water = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    swing = 0.1 * np.cos(times[:, None, None] / 40 + rng.uniform(0, 6, (1, 7, 3)))
    base = np.concatenate([water + np.array([9.8, 3, 3]), water + 5.0, [[1.0, 1, 1]]])
    exact = base + swing
    residues = ("MOL",) * 3 + ("LOM",) * 3 + ("NA",)
    topology = Topology(
        ("O", "H1", "H2", "O", "H1", "H2", "NA"),
        residues,
        (1, 1, 1, 2, 2, 2, 3),
        np.array([[0, 1], [0, 2], [3, 4], [3, 5]]),
    )
    trajectory = Trajectory(
        exact % 10.0,
        times,
        [8, 1, 1, 8, 1, 1, 11],
        cell=np.tile(10.0 * np.eye(3), (600, 1, 1)),
        topology=topology,
    )
    trajectory.save(folder / "run.xtc")
    return folder


def test_a_run_remembers_how_its_files_were_read(dimer, tmp_path, monkeypatch):
    monkeypatch.chdir(dimer)
    out = tmp_path / "run"
    told = done(
        *("train", "--data", "run.xtc", "--top", "run.pdb", "--out", out, *SMALL),
        *("--select", "index < 6", "--stride", "2", "--each-molecule"),
    ).output
    assert "note      run.xtc: the periodic box cut molecules in" in told
    assert "note      run: 2 molecules of 3 atoms, one replica each" in told
    data = json.loads((out / "run.json").read_text())["data"]
    assert [entry["frames"] for entry in data] == [300, 300]
    assert (
        data[0]["reader"]
        == data[1]["reader"]
        == {
            "top": str(dimer / "run.pdb"),
            "select": "index < 6",
            "stride": 2,
            "each_molecule": True,
        }
    )
    monkeypatch.chdir(tmp_path)  # the topology is found from any folder
    done("evaluate", out, "--no-plot")
    found = gfnode.Run.open(out).trajectories()
    assert [t.formula for t in found] == ["H2O", "H2O"]
    assert np.ptp(found[0].positions, axis=(0, 1)).max() < 3, "whole"
    guess = done(
        *("predict", out, "--start", dimer / "run.xtc", "--times", "50fs"),
        *("--out", tmp_path / "a.npz"),
    )
    assert "is read as in training: --top" in guess.output
    other = done(
        *("predict", out, "--start", dimer / "run.xtc", "--times", "50fs", "--frame", "3"),
        *("--select", "resname LOM", "--out", tmp_path / "b.npz"),
    )
    assert "is read as in training: --top" in other.output
    assert "--stride 2 --each-molecule" in other.output
    assert "--select" not in other.output, "that was said now"
    start = Reader(top=str(dimer / "run.pdb"), select="0-2", stride=2).load(dimer / "run.xtc")[0]
    expected = gfnode.Run.open(out).predict(start, ["50fs"])
    np.testing.assert_array_equal(gfnode.load("a.npz", whole=False).positions, expected.positions)


def test_resume_takes_no_reading_options(tmp_path):
    result = CliRunner().invoke(
        cli.app, ["train", "--resume", "--out", str(tmp_path), "--stride", "2"]
    )
    assert result.exit_code == 2
    assert "leave out --data" in result.output


def test_state_and_score_by_expression(dimer, tmp_path):
    reader = Reader(top=str(dimer / "run.pdb"), select="resname MOL")
    changes = {
        "windows.score": "name O",
        "windows.state": "0-2",
        "windows.most": [32, 16, 16],
        "windows.horizon": "100fs",
        "training.epochs": 1,
        "model.width": 8,
    }
    run = gfnode.fit(
        dimer / "run.xtc", reader=reader, changes=changes, out=tmp_path / "run", progress=False
    )
    assert run.model.system.score.tolist() == [0]
    assert run.model.system.atoms.tolist() == [0, 1, 2]
    assert Path(run.facts["data"][0]["reader"]["top"]).is_absolute()


@pytest.mark.parametrize(
    ("option", "wrong", "said"),
    [
        ("mapping", 3, "the mapping is 3, expected text, such as"),
        ("mapping", b"positions=R", "the mapping is b'positions=R', expected text"),
        ("unit", 3, "unit of length is 3, expected text, one of angstrom"),
        ("name", 3, "name of a trajectory is 3, expected text"),
    ],
)
def test_options_are_text(tmp_path, option, wrong, said):
    path = tmp_path / "r.npz"
    np.savez(path, R=np.random.default_rng(0).normal(size=(4, 2, 3)), z=[8, 6])
    with pytest.raises(InputError, match=said):
        gfnode.load(path, **({"step": "1fs"} | {option: wrong}))


def test_a_reader_is_no_dictionary():
    for ask in (gfnode.fit, gfnode.WindowDataset):
        with pytest.raises(InputError, match=r"the reader is \{'step': '2fs'\}, expected .*Reader"):
            ask("sample:toluene", reader={"step": "2fs"})
