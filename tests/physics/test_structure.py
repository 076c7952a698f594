"""Physics of predictions: geometry, integrity, shape and torsions, against mdtraj and by hand."""

import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mdtraj
import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

import gfnode
from gfnode.cli import app
from gfnode.files import read_arrays, read_json, to_json
from gfnode.metrics import Blocks
from gfnode.models import TRIVIAL, Model
from gfnode.molecule import torsions as names
from gfnode.physics import (
    Predictions,
    assess,
    comparing,
    predict_unseen,
    structure,
)
from gfnode.physics.predictions import predict_all
from gfnode.physics.structure import geometry, rmsd, shape, some_pairs
from gfnode.physics.torsions import _passage_errors, _passages, torsions
from gfnode.physics.wholeness import integrity
from gfnode.report import physics_table
from gfnode.run import Run
from gfnode.trajectory import Trajectory
from gfnode.windows import Windows

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"training.epochs": 1, "windows.most": [40, 24, 60], "windows.times": 4}


def peptide(frames: int = 400) -> Trajectory:
    """Alanine dipeptide that shivers and swings about φ and ψ, at 1 ps."""
    start = gfnode.load(Path(gfnode.__file__).parent / "data" / "alanine-dipeptide.pdb")
    rng = np.random.default_rng(0)
    x = np.repeat(start.positions.astype(float), frames, 0)
    for bond, after, size in (((6, 8), [*range(9, 22)], 60.0), ((8, 14), [*range(15, 22)], 90.0)):
        angle = np.radians(size) * np.sin(np.arange(frames) / rng.uniform(3, 9) + rng.uniform(0, 6))
        axis = x[:, bond[1]] - x[:, bond[0]]
        axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
        from scipy.spatial.transform import Rotation

        turn = Rotation.from_rotvec(angle[:, None] * axis).as_matrix()
        moved = x[:, after] - x[:, bond[:1]]
        x[:, after] = moved @ turn.swapaxes(-1, -2) + x[:, bond[:1]]
    x += rng.normal(0, 0.03, x.shape)
    times = 1000.0 * np.arange(frames)
    return Trajectory(x.astype(np.float32), times, start.numbers, topology=start.topology)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("run") / "peptide"
    settings = QUICK | {"windows.horizon": "16ps"}
    return gfnode.fit(peptide(), out=out, progress=False, changes=settings)


@pytest.fixture(scope="module")
def predictions(run: Run) -> Predictions:
    return predict_unseen(run)


@pytest.fixture(scope="module")
def exact(predictions: Predictions) -> Predictions:
    """A model that is never wrong, and its mirror image."""
    mirrored = predictions.true * np.array([1, 1, -1], dtype=np.float32)
    return replace(predictions, predicted={"gfnode": predictions.true, "mirror": mirrored})


def test_a_single_window_has_no_floor(predictions: Predictions) -> None:
    """It is its own partner, which differs from it by nothing."""
    one = replace(
        predictions,
        windows=predictions.windows.take(torch.tensor([3])),
        starts=predictions.starts[3:4],
        true=predictions.true[3:4],
        predicted={name: each[3:4] for name, each in predictions.predicted.items()},
        lags_fs=predictions.lags_fs[3:4],
    )
    for section in (geometry(one), shape(one)):
        assert section is not None
        for quantity in section.numbers["quantities"].values():
            assert np.isnan(quantity["methods"]["floor"]["error"]["value"])
            assert np.isfinite(quantity["methods"]["constant"]["error"]["value"])


def frames(positions: np.ndarray, run: Run) -> mdtraj.Trajectory:
    top = mdtraj.load(Path(gfnode.__file__).parent / "data" / "alanine-dipeptide.pdb").topology
    return mdtraj.Trajectory(positions.reshape(-1, 22, 3) / 10, top)


def test_a_perfect_model(exact: Predictions) -> None:
    for section in (geometry(exact), shape(exact), torsions(exact)):
        assert section is not None
        for quantity in section.numbers["quantities"].values():
            found = quantity["methods"]["gfnode"]
            assert found["error"]["value"] == pytest.approx(0, abs=1e-6)
            if "js_bits" in found:
                assert (found["wasserstein"]["value"], found["js_bits"]["value"]) == (0, 0)
            assert quantity["methods"]["floor"]["error"]["value"] > 0.01
    judged = integrity(exact)
    assert judged is not None
    methods = judged.numbers["methods"]
    assert methods["gfnode"] == methods["true"]
    assert all(methods["true"][key]["per_frame"]["value"] == 0 for key in (
        "broken_bonds", "collapsed_bonds", "inverted_centres", "chirality_lost"
    ))  # fmt: skip


def test_a_mirror_image(exact: Predictions) -> None:
    """Bonds and angles cannot tell; dihedrals, impropers and hands do."""
    sections = geometry(exact), integrity(exact)
    assert sections[0] is not None
    assert sections[1] is not None
    found = {k: q["methods"]["mirror"] for k, q in sections[0].numbers["quantities"].items()}
    assert found["bond"]["error"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["angle"]["error"]["value"] == pytest.approx(0, abs=1e-4)
    assert found["dihedral"]["error"]["value"] > 5
    lost = sections[1].numbers["methods"]["mirror"]
    assert lost["chirality_lost"]["per_frame"]["value"] == 1
    assert lost["frames_with_any"]["value"] == 1


def test_intervals_end_where_a_value_can_be_at_most(exact: Predictions) -> None:
    """All of the error lies in one block of time: no interval could be wider."""
    lost = exact.true.copy()
    first = exact.blocks.labels == 0
    lost[first] = np.random.default_rng(0).normal(0, 3, lost[first].shape)
    predictions = replace(exact, predicted={"gfnode": lost})
    whole = integrity(predictions)
    kinds = geometry(predictions)
    assert whole is not None
    assert kinds is not None
    found = whole.numbers["methods"]["gfnode"]
    assert found["frames_with_any"]["high"] < 1
    assert found["broken_bonds"]["per_frame"]["high"] == whole.numbers["bonds"]
    assert found["inverted_centres"]["per_frame"]["high"] == whole.numbers["centres"]
    assert found["chirality_lost"]["per_frame"]["high"] == whole.numbers["stereocentres"]
    quantities = kinds.numbers["quantities"]
    assert quantities["dihedral"]["methods"]["gfnode"]["error"]["high"] == 180
    assert quantities["angle"]["methods"]["gfnode"]["error"]["high"] <= 180


def test_errors_agree_with_mdtraj(predictions: Predictions, run: Run) -> None:
    """Mean absolute errors of a baseline, from the quantities that mdtraj gives."""
    mine, true = (
        frames(x, run) for x in (predictions.predicted["constant-velocity"], predictions.true)
    )
    internal = predictions.internal
    section = geometry(predictions)
    assert section is not None
    found = {
        key: each["methods"]["constant-velocity"]["error"]["value"]
        for key, each in section.numbers["quantities"].items()
    }
    bond = 10 * np.abs(
        mdtraj.compute_distances(mine, internal.bonds)
        - mdtraj.compute_distances(true, internal.bonds)
    )
    assert found["bond"] == pytest.approx(bond.mean(), abs=1e-5)
    share = section.numbers["quantities"]["bond"]["methods"]["constant-velocity"]["relative"]
    lengths = 10 * mdtraj.compute_distances(true, internal.bonds)
    assert share["value"] == pytest.approx((bond / lengths).mean(), rel=1e-3)
    angles = [mdtraj.compute_angles(x, internal.angles) for x in (mine, true)]
    assert np.radians(found["angle"]) == pytest.approx(
        np.abs(angles[0] - angles[1]).mean(), abs=1e-5
    )
    for key, index in (("dihedral", internal.dihedrals), ("improper", internal.impropers)):
        a, b = (mdtraj.compute_dihedrals(x, index).astype(float) for x in (mine, true))
        off = np.abs(np.angle(np.exp(1j * (a - b)))).mean()
        assert np.radians(found[key]) == pytest.approx(off, abs=2e-5)


def test_distances_agree_with_scipy(predictions: Predictions, run: Run) -> None:
    section = geometry(predictions)
    assert section is not None
    mine, true = (frames(x, run) for x in (predictions.predicted["persistence"], predictions.true))
    internal = predictions.internal
    a, b = (10 * mdtraj.compute_distances(x, internal.bonds) for x in (mine, true))
    each = [stats.wasserstein_distance(x, y) for x, y in zip(a.T, b.T, strict=True)]
    np.testing.assert_allclose(section.arrays["bond.wasserstein.persistence"], each, atol=1e-6)
    found = section.numbers["quantities"]["bond"]["methods"]["persistence"]["wasserstein"]
    assert found["value"] == pytest.approx(np.mean(each), abs=1e-6)
    degrees = [np.degrees(mdtraj.compute_angles(x, internal.angles)) for x in (mine, true)]
    each = [stats.wasserstein_distance(x, y) for x, y in zip(*(x.T for x in degrees), strict=True)]
    np.testing.assert_allclose(section.arrays["angle.wasserstein.persistence"], each, atol=1e-3)
    found = section.numbers["quantities"]["angle"]["methods"]["persistence"]["wasserstein"]
    assert found["low"] < found["value"] < found["high"]
    assert found["value"] == pytest.approx(np.mean(each), abs=1e-3)
    off = np.abs(degrees[0] - degrees[1]).mean(0)
    np.testing.assert_allclose(section.arrays["angle.error.persistence"], off, atol=1e-2)
    for key in ("bond", "angle", "dihedral"):
        density = section.arrays[f"{key}.density.true"]
        np.testing.assert_allclose(density.sum(1), 1, rtol=1e-5)
    first = b[:, 0]
    low, high = section.arrays["bond.range"][0]
    counts, _ = np.histogram(first, 60, (low, high))
    apart = section.arrays["bond.density.true"][0] - counts / len(first)
    assert np.abs(apart).sum() < 0.02  # the least value is on the edge of a bin


def test_shape_agrees_with_mdtraj(predictions: Predictions, run: Run) -> None:
    true = predictions.true
    mine = predictions.predicted["persistence"]
    heavy = predictions.internal.atoms
    ours = rmsd(mine[..., heavy, :], true[..., heavy, :], True).ravel()
    a, b = frames(mine, run), frames(true, run)
    theirs = [
        mdtraj.rmsd(a[k], b[k], atom_indices=heavy, precentered=False)[0] for k in range(len(a))
    ]
    np.testing.assert_allclose(ours, 10 * np.array(theirs), atol=1e-5)
    raw = rmsd(mine[..., heavy, :], true[..., heavy, :], False)
    assert (raw.ravel() >= ours - 1e-6).all()
    section = shape(predictions)
    assert section is not None
    quantities = section.numbers["quantities"]
    assert quantities["rmsd_superposed"]["methods"]["persistence"]["error"][
        "value"
    ] == pytest.approx(ours.mean(), abs=1e-6)
    rg = [10 * mdtraj.compute_rg(x.atom_slice(heavy)) for x in (a, b)]
    found = quantities["radius_of_gyration"]["methods"]["persistence"]["error"]["value"]
    assert found == pytest.approx(np.abs(rg[0] - rg[1]).mean(), abs=1e-5)


def test_the_floor_of_the_rmsd_is_the_same_wherever_the_molecule_is(exact: Predictions) -> None:
    """A frame of another window says nothing about a molecule that has gone elsewhere since."""
    away = np.arange(len(exact.true), dtype=np.float32)[:, None, None] * 5
    moved = replace(
        exact,
        starts=exact.starts + away,
        true=exact.true + away[:, None],
        predicted={"gfnode": exact.true + away[:, None]},
    )
    for key in ("rmsd", "rmsd_superposed"):
        here, there = (
            section.numbers["quantities"][key]["methods"]["floor"]["error"]["value"]
            for section in (shape(exact), shape(moved))
            if section is not None
        )
        assert 0.02 < here < 3
        assert there == pytest.approx(here, rel=1e-3)


def test_rmsd_of_mirror_images_and_lost_frames() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=(3, 2, 9, 3)).astype(np.float32)
    x = y * np.array([1, -1, 1], dtype=np.float32)
    x[2, 1, 0, 0] = np.nan
    found = rmsd(x, y, True)
    assert found[2, 1] == np.inf
    placed = gfnode.geometry.superpose  # the slow way
    import torch

    slow = placed(torch.from_numpy(x[:2]), torch.from_numpy(y[:2])) - torch.from_numpy(y[:2])
    np.testing.assert_allclose(found[:2], slow.double().square().sum(-1).mean(-1).sqrt(), atol=1e-6)


def test_constant_and_floor(predictions: Predictions) -> None:
    section = geometry(predictions)
    assert section is not None
    true = section.numbers["quantities"]["bond"]["methods"]
    bonds = predictions.internal.bonds

    def lengths(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[..., bonds[:, 0], :] - x[..., bonds[:, 1], :], axis=-1)

    b = lengths(predictions.true)
    constant = np.abs(lengths(predictions.training).mean(0) - b).mean()
    assert true["constant"]["error"]["value"] == pytest.approx(constant, rel=1e-4)
    other = b[(np.arange(len(b)) + len(b) // 2) % len(b)]
    assert true["floor"]["error"]["value"] == pytest.approx(np.abs(other - b).mean(), rel=1e-4)
    # normal noise: independent frames differ by √2 of what a constant does
    ratio = true["floor"]["error"]["value"] / true["constant"]["error"]["value"]
    assert ratio == pytest.approx(np.sqrt(2), rel=0.05)
    assert true["constant"]["js_bits"]["value"] > 0.5 > true["floor"]["js_bits"]["value"]


def test_pieces_do_not_matter(predictions: Predictions, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = geometry(predictions), shape(predictions), integrity(predictions)
    monkeypatch.setattr(comparing, "_VALUES", predictions.true[:, :, 0, 0].size * 7)
    monkeypatch.setattr(structure, "_VALUES", 20_000)
    monkeypatch.setattr("gfnode.physics.wholeness._VALUES", 20_000)
    again = geometry(predictions), shape(predictions), integrity(predictions)
    for a, b in zip(whole, again, strict=True):
        assert a is not None
        assert b is not None
        assert close(a.numbers, b.numbers)


def close(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(close(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return bool(np.isclose(a, b, rtol=1e-6, atol=1e-9, equal_nan=True))
    return a == b


def test_some_pairs() -> None:
    atoms = np.array([2, 3, 5, 8])
    assert some_pairs(atoms).tolist() == [[2, 3], [2, 5], [2, 8], [3, 5], [3, 8], [5, 8]]
    many = some_pairs(np.arange(3000), 500)
    assert many.shape == (500, 2)
    assert (many[:, 0] < many[:, 1]).all()
    assert many.max() < 3000
    assert len(np.unique(many, axis=0)) == 500
    assert some_pairs(atoms, 6).tolist() == some_pairs(atoms).tolist()
    drawn = {tuple(pair) for pair in some_pairs(np.arange(5), 9).tolist()}
    assert drawn < {(i, j) for i in range(5) for j in range(i + 1, 5)}


def test_ramachandran(predictions: Predictions, run: Run) -> None:
    section = torsions(replace(predictions, torsions=("spin=0-1-4-6",)))
    assert section is not None
    assert list(section.numbers["quantities"]) == ["phi_ALA2", "psi_ALA2", "spin"]
    assert section.numbers["asked"] == ["spin"]
    methods = section.numbers["ramachandran"]["ALA2"]["methods"]
    true = frames(predictions.true, run)
    phi, psi = (getattr(mdtraj, f"compute_{k}")(true)[1][:, 0] for k in ("phi", "psi"))
    right = (phi < 0) & (np.abs(np.degrees(psi) + 30) < 90)
    found = methods["true"]["populations"]
    assert found["alpha_R"]["value"] == pytest.approx(right.mean())
    assert sum(each["value"] for each in found.values()) == pytest.approx(1)
    tables = np.array(methods["true"]["transitions"])
    assert tables.shape == (8, 4, 4)
    assert tables.sum() == len(phi)
    np.testing.assert_allclose(tables.sum((0, 1)) / len(phi), [found[k]["value"] for k in found])
    stay = np.array(methods["persistence"]["transitions"]).sum(0)
    assert np.trace(stay) == stay.sum()  # persistence never leaves
    assert methods["constant"]["js_bits"]["value"] > 0.8
    tens = np.linspace(-np.pi, np.pi, 37)
    start = frames(predictions.predicted["persistence"], run)
    turns = (getattr(mdtraj, f"compute_{k}")(start)[1][:, 0] for k in ("phi", "psi"))
    p, q = (0.5 + np.histogram2d(*x, (tens, tens))[0].ravel() for x in ((phi, psi), turns))
    lost = methods["persistence"]["kl_bits"]["plug_in"]  # of the truth from the prediction
    assert lost == pytest.approx(stats.entropy(p, q, base=2), rel=0.02)
    assert abs(lost / stats.entropy(q, p, base=2) - 1) > 0.05
    density = section.arrays["ramachandran.ALA2.density.true"]
    edges = np.linspace(-np.pi, np.pi, 61)
    theirs = np.histogram2d(phi, psi, (edges, edges))[0] / len(phi)
    assert np.abs(density - theirs).sum() < 0.02  # a few angles on the edge of a bin


def test_passages_drawn_alike_hardly_differ() -> None:
    """Chance alone makes two draws of one process differ; more than a third of that is removed."""
    rng = np.random.default_rng(0)
    after = np.array(
        [[0.7, 0.2, 0.05, 0.05], [0.2, 0.7, 0.05, 0.05], [0.2, 0.2, 0.5, 0.1], [0.3, 0.3, 0.2, 0.2]]
    )
    changed = after.copy()
    changed[0, :2] = 0.6, 0.3
    given = SimpleNamespace(
        blocks=Blocks(np.repeat(np.arange(10), 200), 10, 0, 1.0),
        lags_fs=np.ones((2000, 1)),
        lag_bins=np.zeros((2000, 1), dtype=int),
    )
    samples = comparing.Samples.of(given)
    rows, exact = [], 0.4 * 0.1
    for _ in range(100):
        begin = rng.choice(4, 2000, p=[0.4, 0.5, 0.07, 0.03])
        true, alike, other = (
            _passages(begin, (rng.random((2000, 1)) > P[begin].cumsum(1)[:, :3]).sum(1), samples)
            for P in (after, after, changed)
        )
        same, apart = (
            _passage_errors(true, each, samples, given)["passage_error_by_lag"][0]
            for each in (alike, other)
        )
        held = apart["low"] <= exact <= apart["high"]
        rows.append((same["value"], same["plug_in"], same["low"] == 0, held))
    value, plug_in, none, held = np.mean(rows, 0)
    assert value < 2 / 3 * plug_in
    assert none > 0.65  # without the correction 31 %
    assert held > 0.75  # 65 %


def test_a_molecule_without_dihedrals(tmp_path: Path) -> None:
    """Water has one heavy atom: all atoms are looked at, and there are no torsions."""
    from making import wiggle

    out = tmp_path / "water"
    run = gfnode.fit(wiggle(), out=out, progress=False, changes=QUICK | {"windows.horizon": 100})
    found = run.physics().numbers
    assert {"geometry", "shape", "integrity"} <= set(found)
    assert "torsions" not in found
    assert set(found["geometry"]["quantities"]) == {"bond", "angle"}
    assert found["geometry"]["atoms"] == 3
    assert (out / "physics.json").exists()


def test_models_are_asked_in_the_thread_that_called(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads in one module may break each other."""
    asked, call = set(), torch.nn.Module.__call__

    def watched(module: torch.nn.Module, *given: object, **options: object) -> object:
        asked.add(threading.current_thread())
        return call(module, *given, **options)

    monkeypatch.setattr(torch.nn.Module, "__call__", watched)
    assert {"motion", "spectra"} <= set(assess(run).sections)
    assert asked == {threading.current_thread()}


def test_what_an_evaluation_predicted_is_not_predicted_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    evaluation = run.evaluate(save=False, report=lambda *of: told.append(of))
    windows, _ = run.held_out()
    assert told[-1] == (len(windows), len(windows))
    expected, asked = assess(run).numbers, []
    whole = predict_all(run.model, windows)

    def watched(model: Model, of: Windows) -> torch.Tensor:
        asked.append(model)
        return predict_all(model, of)

    monkeypatch.setattr("gfnode.physics.predictions.predict_all", watched)
    found = assess(run, evaluation=evaluation).numbers
    assert len(asked) == len(TRIVIAL)
    assert run.model not in asked
    assert to_json(found) == to_json(expected)

    some = predict_unseen(run, known=whole, most_values=5 * whole[0].numel())
    assert len(some.predicted["gfnode"]) == 5
    np.testing.assert_array_equal(some.predicted["gfnode"], whole[windows.evenly(5)])
    monkeypatch.setattr("gfnode.evaluation.MOST_VALUES", whole.numel() - 1)
    assert run.evaluate(save=False).predicted is None


def test_all_atoms_and_other_data(run: Run) -> None:
    other = peptide(50)
    found = assess(run, other, atoms="all").numbers
    assert found["geometry"]["atoms"] == 22
    assert found["geometry"]["quantities"]["bond"]["coordinates"] == 21
    assert found["integrity"]["centres"] == 4


def call(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.output


def test_on_the_command_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "data.npz"
    peptide().save(file)
    out = tmp_path / "run"
    quick = [f"{key}={json.dumps(value)}" for key, value in QUICK.items()]
    words = [word for item in [*quick, "windows.horizon=16ps"] for word in ("--set", item)]
    assert call("train", "--data", file, "--out", out, *words)[0] == 0
    code, said = call(
        "evaluate", out, "--no-plot", "--json", tmp_path / "e.json", "--torsion", "spin=0-1-4-6"
    )
    assert code == 0, said
    for text in ("bond length, error (Å)", "clashes per frame", "spin, error (°)", "floor"):
        assert text in said
    written = read_json(tmp_path / "e.json")["physics"]
    kept = read_json(out / "physics.json")
    assert kept["geometry"] == written["geometry"]
    arrays = read_arrays(out / "physics.npz")
    assert arrays["geometry.bond.index"].shape == (9, 2)
    code, said = call("evaluate", out, "--no-plot", "--no-physics", "--json", tmp_path / "n.json")
    assert code == 0
    assert "bond length" not in said
    assert "physics" not in read_json(tmp_path / "n.json")
    code, said = call("evaluate", out, "--no-plot", "--torsion", "spin=0-1-4")
    assert code == 2
    assert "expected a new name and four atoms" in said
    code, said = call("evaluate", out, "--no-plot", "--atoms", "some")
    assert code == 2
    assert "expected heavy or all" in said


NAMED = ("quantities", "methods", "ramachandran", "basins")


def paths(values: dict, inside: str = "", by_name: bool = False) -> set[str]:
    """Keys as the documentation writes them."""
    found: set[str] = set()
    for key, value in values.items():
        path = f"{inside}{'*' if by_name else key}"
        if not by_name:
            found.add(path)
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict) and "low" in inner:
            found |= {f"*.{each}" for each in inner}
        elif isinstance(inner, dict) and key != "populations":
            found |= paths(inner, f"{path}.", key in NAMED and not by_name)
    return found


def test_keys_are_documented(predictions: Predictions) -> None:
    """The table of docs/physics.md holds every key of these sections, and no other."""
    measures = (geometry, integrity, shape, torsions)
    found: set[str] = set()
    for measure in measures:
        section = measure(predictions)
        assert section is not None
        found |= paths(section.numbers)
    counts = ("collapsed_bonds", "clashes", "inverted_centres", "chirality_lost")
    found = {key for key in found if not re.match(rf"methods\.\*\.({'|'.join(counts)})\.", key)}
    text = (ROOT / "docs" / "physics.md").read_text(encoding="utf-8")
    table = text.split("<!-- structure -->")[1].split("<!-- /structure -->")[0]
    documented = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    assert len(documented) == len(set(documented))
    assert set(documented) == found


def test_the_table_names_the_best_baseline() -> None:
    def each(value: float) -> dict:
        return {"error": {"value": value, "low": value / 2, "high": value * 2}}

    methods = {"gfnode": each(3.0), "persistence": each(2.0), "rigid-rotor": each(0.5)}
    methods |= {"constant": each(0.1), "floor": each(0.2)}
    table = physics_table(
        {"geometry": {"quantities": {"bond": {"unit": "angstrom", "methods": methods}}}}
    )
    cells = [list(column.cells) for column in table.columns]
    assert cells[0][0] == "bond length, error (Å)"
    assert [column[0] for column in cells[1:]] == [
        "3 [1.5,\N{NO-BREAK SPACE}6]",
        "0.5 rigid-rotor",
        "0.1",
        "0.2",
    ]


def test_named_torsions_of_the_state(predictions: Predictions) -> None:
    found = names.named_torsions(predictions.topology, predictions.system.bonds)
    assert list(found) == ["phi_ALA2", "psi_ALA2"]
