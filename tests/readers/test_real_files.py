"""MD17, rMD17, XTC and the bundled sample, against NumPy and mdtraj reading the same files."""

import mdtraj
import numpy as np
import pytest

from gfnode.errors import InputError
from gfnode.readers import load
from gfnode.readers.md17 import MOLECULES, OTHER_STEPS

ETHANOL = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1])
BENZENE = np.array([6] * 6 + [1] * 6)


def save_md17(path, numbers, frames=5, **extra):
    positions = np.random.default_rng(0).normal(size=(frames, len(numbers), 3))
    np.savez(path, R=positions, z=numbers, **extra)
    return positions


@pytest.mark.parametrize(
    ("numbers", "extra", "step", "expected"),
    [
        (ETHANOL, {}, None, 0.5),
        (ETHANOL, {"name": "Ethanol"}, None, 0.5),
        (BENZENE, {}, None, 0.2),
        (BENZENE, {"name": b"benzene_old"}, None, 0.2),
        (BENZENE, {"name": "benzene", "theory": "xTB; 100 fs thermostat; 0.5 fs step"}, None, 0.5),
        (BENZENE, {"theory": "PBE+vdW, time unknown"}, None, 0.2),
        (BENZENE, {"theory": "0.5 fs step"}, "2fs", 2.0),
        (np.array([8, 1, 1]), {"theory": "DFT, .25 fs time step"}, None, 0.25),
        (np.array([8, 1, 1]), {}, 1, 1.0),
        (np.array([8, 1, 1]), {"name": "Azobenzene"}, None, 1.0),
    ],
)
def test_md17_step(tmp_path, numbers, extra, step, expected):
    positions = save_md17(tmp_path / "run.npz", numbers, **extra)
    got = load(tmp_path / "run.npz", step=step)
    assert got.time_step == expected
    np.testing.assert_array_equal(got.times, np.arange(5) * expected)
    np.testing.assert_array_equal(got.positions, positions.astype(np.float32))


def test_azobenzene_is_not_taken_for_benzene(tmp_path):
    save_md17(tmp_path / "run.npz", ETHANOL, name="nitrobenzene")
    assert load(tmp_path / "run.npz").time_step == 0.5
    save_md17(tmp_path / "run.npz", np.array([7, 8]), name="nitrobenzene")
    with pytest.raises(InputError, match="give --step"):
        load(tmp_path / "run.npz")


def test_names(tmp_path):
    save_md17(tmp_path / "run.npz", ETHANOL)
    assert load(tmp_path / "run.npz").name == "ethanol"
    assert load(tmp_path / "run.npz", name="mine").name == "mine"
    save_md17(tmp_path / "run.npz", ETHANOL, name="Ethanol, dry")
    assert load(tmp_path / "run.npz").name == "Ethanol, dry"


def test_units_of_md17_are_honoured(tmp_path):
    positions = save_md17(tmp_path / "run.npz", ETHANOL, r_unit="nm")
    np.testing.assert_allclose(load(tmp_path / "run.npz").positions, positions * 10, rtol=1e-6)


def test_rmd17_is_sorted_and_repeats_dropped(tmp_path):
    rng = np.random.default_rng(1)
    series = rng.normal(size=(50, 9, 3))
    indices = rng.permutation(np.concatenate([rng.choice(50, 20, replace=False), [7, 7, 31]]))
    np.savez(
        tmp_path / "run.npz",
        coords=series[indices],
        nuclear_charges=ETHANOL.astype(np.uint8),
        old_indices=indices,
    )
    got = load(tmp_path / "run.npz")
    unique = sorted(set(indices.tolist()))
    assert got.times.tolist() == [i * 0.5 for i in unique]
    np.testing.assert_array_equal(got.positions, series[unique].astype(np.float32))
    assert (got.time_step, got.step, got.name) == (0.5, 0.5, "ethanol")
    assert load(tmp_path / "run.npz", step="2fs").times.tolist() == [i * 2.0 for i in unique]


def test_formulas_tell_the_molecules_apart():
    assert len(set(MOLECULES.values())) == len(MOLECULES) == 10


@pytest.mark.parametrize("molecule", sorted(MOLECULES))
def test_rmd17_files(shared_data, molecule):
    path = shared_data / "rmd17" / f"rmd17_{molecule}.npz"
    got = load(path)
    step = OTHER_STEPS.get(molecule, 0.5)
    with np.load(path) as stored:
        indices, positions = stored["old_indices"], stored["coords"]
    assert len(got) == len(np.unique(indices))
    np.testing.assert_array_equal(got.times, np.sort(np.unique(indices)) * step)
    assert (np.diff(got.times) > 0).all()
    assert (got.time_step, got.name) == (step, molecule)
    first = np.argmin(indices)
    np.testing.assert_array_equal(got.positions[0], positions[first].astype(np.float32))
    heavy = got.masses.sum() / got.n_atoms
    assert 5 < heavy < 12, "elements are read as they are"


def test_steps_of_the_named_molecules(shared_data):
    steps = {
        name: load(shared_data / "rmd17" / f"rmd17_{name}.npz").step
        for name in ("uracil", "benzene", "paracetamol", "azobenzene")
    }
    assert steps == {"uracil": 0.5, "benzene": 0.2, "paracetamol": 1.0, "azobenzene": 1.0}


@pytest.mark.parametrize("molecule", ["ethanol", "benzene"])
def test_xtb_files(shared_data, molecule):
    path = shared_data / "xtb" / f"md17_{molecule}.npz"
    got = load(path)
    assert (got.time_step, got.spacing, len(got), got.name) == (0.5, 0.5, 64000, molecule)
    with np.load(path) as stored:
        np.testing.assert_array_equal(got.positions, stored["R"])


def test_alanine_dipeptide(shared_data):
    folder = shared_data / "ala2"
    top = folder / "alanine-dipeptide.pdb"
    path = folder / "alanine-dipeptide-0-50ns.xtc"
    got = load(path, top=top)
    frames = mdtraj.load(path, top=top)
    np.testing.assert_allclose(got.positions, frames.xyz * 10, rtol=2e-7)
    assert (got.n_atoms, got.spacing, len(got)) == (22, 1000, frames.n_frames)
    np.testing.assert_array_equal(got.times, np.arange(1, 50001) * 1000.0)
    assert got.formula == "C6H12N2O2"
    assert len(got.topology.bonds) == 21
    expected = {tuple(sorted((a.index, b.index))) for a, b in frames.topology.bonds}
    assert {tuple(bond) for bond in got.topology.bonds} == expected
    assert got.topology.residue_names[0] == "ACE"
    lengths = np.linalg.norm(np.diff(got.positions[::500, got.topology.bonds], axis=2), axis=-1)
    assert 0.9 < lengths.min() < lengths.max() < 1.7


def test_sample():
    sample = load("sample:toluene")
    assert repr(sample) == "Trajectory(toluene: 6399 frames of 15 atoms C7H8, every 5 fs, 31.99 ps)"
    assert sample.time_step == sample.step == 5
    assert sample.temperature() == pytest.approx(500, abs=5)
    momentum = np.einsum("a,fax->fx", sample.masses, sample.velocities.astype(np.float64))
    thermal = np.sqrt(sample.masses.sum() * 8.314e-7 * 500)  # of a molecule in a gas
    assert np.abs(momentum).max() < 1e-3 * thermal
    assert "GFN2-xTB" in sample.source
    # velocities belong to these positions: over ±5 fs heavy atoms move as they say
    heavy = sample.numbers > 1
    moved = (sample.positions[2:, heavy] - sample.positions[:-2, heavy]) / 10
    said = sample.velocities[1:-1, heavy]
    assert np.corrcoef(moved.ravel(), said.ravel())[0, 1] > 0.97


def test_sample_is_rounded_as_its_page_says():
    sample = load("sample:toluene")
    for values, precision in [(sample.positions, 1e-4), (sample.velocities, 1e-6)]:
        steps = values.astype(np.float64) / precision
        assert np.abs(steps - np.rint(steps)).max() < 0.01


def test_sample_against_the_full_series(shared_data):
    sample = load("sample:toluene")
    with np.load(shared_data / "xtb" / "md17_toluene.npz") as stored:
        series = stored["R"].astype(np.float64)
    np.testing.assert_allclose(sample.positions, series[10:-1:10], rtol=0, atol=5.1e-5)
    central = (series[11::10] - series[9:-1:10][: len(series[11::10])]) / 1.0
    np.testing.assert_allclose(sample.velocities, central, rtol=0, atol=5.1e-7)
