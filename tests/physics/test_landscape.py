"""``gfnode ramachandran``: densities and basins of trajectories."""

import os
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from typer.testing import CliRunner

import gfnode
from gfnode.cli import app
from gfnode.errors import InputError
from gfnode.files import read_json
from gfnode.metrics.ramachandran import BASINS
from gfnode.physics.landscape import Landscape, landscape
from gfnode.trajectory import Trajectory

DATA = os.environ.get("GFNODE_DATA")


def two_states(frames: int = 4000, seed: int = 0, stay: float = 0.98) -> Landscape:
    """Angles that jump between the helix and the strand, equally likely."""
    rng = np.random.default_rng(seed)
    state = np.cumsum(rng.random(frames) > stay) % 2
    phi = np.radians(-75 + 8 * rng.normal(size=frames))
    psi = np.radians(np.where(state, 150, -20) + 8 * rng.normal(size=frames))
    angles = np.stack([phi, psi])
    return Landscape(("φ", "ψ"), ("a",), (angles,), (1000.0 * np.arange(frames),), BASINS)


def test_populations_and_passages() -> None:
    found = two_states()
    result = found.to_dict()
    (run,) = result["runs"]
    assert run["populations"]["alpha_R"]["value"] == pytest.approx(0.5, abs=0.15)
    assert run["populations"]["alpha_L"]["value"] == 0
    labels = found.labels(0)
    assert run["changes"] == (np.diff(labels) != 0).sum()
    assert [each["lag_fs"] for each in run["passages"]] == [1e3, 4e3, 4e4, 4e5]
    first = np.array(run["passages"][0]["counts"])
    assert first.sum() == 3999
    assert first[0, 1] + first[1, 0] == run["changes"]
    later = np.array(run["passages"][2]["counts"], dtype=float)[:2, :2]
    rows = later / later.sum(1, keepdims=True)
    assert rows[0, 0] == pytest.approx((1 + 0.96**40) / 2, abs=0.1)


def test_passages_are_of_frames_that_are_a_lag_apart() -> None:
    """Also where frames are missing: a gap is no lag, and of uneven times the nearest serve."""
    whole = two_states(8000)
    for kept in (
        np.r_[0:3000, 6000:8000],
        np.sort(np.random.default_rng(0).choice(8000, 1600, replace=False)),
    ):
        part = Landscape(
            whole.names, ("a",), (whole.angles[0][:, kept],), (whole.times[0][kept],), BASINS
        )
        found = part.to_dict()["runs"][0]["passages"]
        for each in found:
            lag = each["lag_fs"] / 1000
            apart = kept[None, :] - kept[:, None]
            assert 0 < np.sum(each["counts"]) <= (np.abs(apart - lag) <= 0.05 * lag).sum()
        stays = [
            np.trace(counts) / counts.sum()
            for counts in (whole.passages(0, found[0]["lag_fs"]), np.array(found[0]["counts"]))
        ]
        assert stays[1] == pytest.approx(stays[0], abs=0.03)


def test_intervals_hold_the_population() -> None:
    """Over simulated runs the 95 % interval holds the true half in nearly all."""
    held = []
    for seed in range(60):
        found = two_states(4000, seed).populations(0)["alpha_R"]
        held.append(found.low <= 0.5 <= found.high)
    assert 0.85 < np.mean(held) <= 1


def test_runs_that_agree_and_differ() -> None:
    a, b = two_states(6000, 1, 0.9), two_states(6000, 2, 0.9)
    moved = b.angles[0] + np.array([[np.pi], [0.0]])
    both = Landscape(a.names, ("a", "b", "c"), (*a.angles, *b.angles, moved), a.times * 3, BASINS)
    assert both.apart(0, 1).value < 0.02
    assert both.apart(0, 1).low == pytest.approx(0, abs=0.01)
    assert both.apart(0, 2).value > 0.9


def test_angles_are_those_of_mdtraj() -> None:
    path = Path(gfnode.__file__).parent / "data" / "alanine-dipeptide.pdb"
    start = gfnode.load(path)
    shaken = start.positions + np.random.default_rng(0).normal(0, 0.05, (5, 22, 3))
    frames = Trajectory(
        shaken.astype(np.float32), np.arange(5.0), start.numbers, topology=start.topology
    )
    found = landscape([frames])
    theirs = mdtraj.Trajectory(frames.positions / 10, mdtraj.load(path).topology)
    for ours, kind in zip(found.angles[0], ("phi", "psi"), strict=True):
        want = getattr(mdtraj, f"compute_{kind}")(theirs)[1][:, 0]
        np.testing.assert_allclose(ours, want, atol=1e-5)
    assert found.names == ("φ of ALA2", "ψ of ALA2")
    with pytest.raises(InputError, match="residue GLY9 has not φ and ψ"):
        landscape([frames], residue="GLY9")


def test_on_the_command_line(tmp_path: Path) -> None:
    words = ["--torsion", "a=0-1-4-6", "--torsion", "b=1-4-6-9", "--stride", "50"]
    out, numbers = tmp_path / "ab.png", tmp_path / "ab.json"
    command = ["ramachandran", "sample:toluene", *words, "--out", str(out), "--json", str(numbers)]
    result = CliRunner().invoke(app, [*command, "--basin", "plane=-60:60,-30:30"])
    assert result.exit_code == 0, result.output
    assert "Populations of a and b" in result.output
    assert out.read_bytes()[:4] == b"\x89PNG"
    written = read_json(numbers)
    assert written["states"] == ["plane", "other"]
    assert sum(each["value"] for each in written["runs"][0]["populations"].values()) == 1
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "alpha_R" not in result.output
    assert "a and b: no basins are defined; give some with --basin" in result.output
    assert read_json(numbers)["basins"] == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no residue has φ and ψ"),
        (["--torsion", "a=0-1-4-6"], "expected two dihedrals, got 1"),
        (["--basin", "a=1"], "expected a new name and two ranges"),
        (["--out", "x.gif"], "ends with .png, .svg or .pdf"),
    ],
)
def test_refuses(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["ramachandran", "sample:toluene", *words])
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.skipif(not DATA, reason="GFNODE_DATA names no folder")
def test_alanine_dipeptide() -> None:
    """Both runs know helix and strand; the left-handed helix is visited in the second only."""
    folder = Path(str(DATA)) / "ala2"
    runs = [
        gfnode.load(
            folder / f"alanine-dipeptide-{k}-50ns.xtc", top=folder / "alanine-dipeptide.pdb"
        )[::10]
        for k in (0, 1)
    ]
    found = landscape(runs)
    first, second = (found.populations(run) for run in (0, 1))
    for each in (first, second):
        assert each["alpha_R"].value == pytest.approx(0.42, abs=0.03)
        assert each["beta"].value == pytest.approx(0.57, abs=0.05)
    assert first["alpha_L"].value == 0
    assert second["alpha_L"].value == pytest.approx(0.031, abs=0.004)
    assert second["alpha_L"].low < 0.01
    assert second["alpha_L"].high > 0.1


def test_the_other_residues_of_a_peptide_are_named(tmp_path: Path) -> None:
    chain = {"ACE": "CH3 C O", "GLY": "N CA C O", "ALA": "N CA CB C O", "NME": "N C"}
    topology = mdtraj.Topology()
    first = topology.add_chain()
    for number, (residue, names) in enumerate(chain.items(), 1):
        added = topology.add_residue(residue, first, resSeq=number)
        for name in names.split():
            topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), added)
    topology.create_standard_bonds()
    x = np.random.default_rng(0).normal(0, 0.3, (40, topology.n_atoms, 3))
    made = Trajectory.from_mdtraj(mdtraj.Trajectory(x, topology), step="2ps")
    made.save(tmp_path / "a.npz")
    result = CliRunner().invoke(app, ["ramachandran", str(tmp_path / "a.npz")])
    assert result.exit_code == 0, result.stderr
    assert "φ of GLY2" in result.stdout
    assert "other residues with φ and ψ (--residue): ALA3" in result.stdout
    result = CliRunner().invoke(app, ["ramachandran", str(tmp_path / "a.npz"), "--residue", "ALA3"])
    assert "φ of ALA3" in result.stdout
    assert "other residues" not in result.stdout
