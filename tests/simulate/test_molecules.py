"""Molecules by name, file and SMILES."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write

import gfnode
from gfnode import InputError
from gfnode.graph import bonds_from_distances
from gfnode.simulate import engines, extra
from gfnode.simulate.molecules import built_in, find

MD17 = {
    "aspirin": "C9H8O4",
    "azobenzene": "C12H10N2",
    "benzene": "C6H6",
    "ethanol": "C2H6O",
    "malonaldehyde": "C3H4O2",
    "naphthalene": "C10H8",
    "paracetamol": "C8H9NO2",
    "salicylic": "C7H6O3",
    "toluene": "C7H8",
    "uracil": "C4H4N2O2",
}


def test_built_in_molecules() -> None:
    assert set(built_in()) == {*MD17, "ala2"}
    for name, formula in MD17.items():
        found = find(name)
        assert Atoms(found.numbers).get_chemical_formula("hill") == formula
        bonds = bonds_from_distances(found.numbers, found.positions[None])
        rings = {"C2H6O": 0, "C3H4O2": 0, "C10H8": 2, "C12H10N2": 2}.get(formula, 1)
        assert len(bonds) == len(found.numbers) - 1 + rings, name
    ala2 = find("ala2")
    assert ala2.topology is not None
    assert len(ala2.topology.bonds) == 21


def test_atoms_are_in_the_order_of_md17(shared_data: Path) -> None:
    for name in MD17:
        with np.load(shared_data / "rmd17" / f"rmd17_{name}.npz") as file:
            numbers, frames = file["nuclear_charges"], file["coords"][:50]
        found = find(name)
        assert np.array_equal(found.numbers, numbers), name
        expected = bonds_from_distances(numbers.astype(np.int64), frames)
        assert np.array_equal(bonds_from_distances(found.numbers, found.positions[None]), expected)


@pytest.mark.parametrize("name", ["ethanol", "toluene", "uracil"])
def test_built_in_geometries_are_minima(name: str) -> None:
    """No GFN2-xTB force above 0.02 eV/Å."""
    pytest.importorskip("tblite")
    found = find(name)
    atoms = found.to_ase()
    atoms.calc = engines.Engine().calculator()
    assert np.abs(atoms.get_forces()).max() < 0.02


def test_the_first_bond_lengths() -> None:
    """Benzene: C–C 1.39 Å, C–H 1.08 Å (experiment 1.397 and 1.084)."""
    found = find("benzene")
    i, j = bonds_from_distances(found.numbers, found.positions[None]).T
    length = np.linalg.norm(found.positions[i] - found.positions[j], axis=1)
    carbon = (found.numbers[i] == 6) & (found.numbers[j] == 6)
    np.testing.assert_allclose(length[carbon], 1.397, atol=0.02)
    np.testing.assert_allclose(length[~carbon], 1.084, atol=0.02)


def test_files(tmp_path: Path) -> None:
    water = molecule("H2O")
    water.set_initial_charges([-1, 0, 0])
    write(tmp_path / "water.traj", water)
    found = find(str(tmp_path / "water.traj"))
    assert (found.name, found.charge, found.unpaired) == ("water", -1, 0)
    np.testing.assert_allclose(found.positions, water.positions)
    assert found.to_ase().get_initial_charges().sum() == -1
    box = Atoms("Cu2", [[0, 0, 0], [1.8, 1.8, 0]], cell=[3.6, 3.6, 3.6], pbc=True)
    write(tmp_path / "copper.cif", box)
    copper = find(str(tmp_path / "copper.cif"))
    assert copper.cell is not None
    np.testing.assert_allclose(copper.cell, 3.6 * np.eye(3), atol=1e-6)
    gfnode.load("sample:toluene")[:3].save(tmp_path / "some.npz")
    for source in (str(tmp_path / "some.npz"), "sample:toluene"):
        assert np.array_equal(find(source).numbers, find("toluene").numbers)
    gfnode.load("sample:toluene")[:1].save(tmp_path / "one.pdb")
    assert find(str(tmp_path / "one.pdb")).pdb == tmp_path / "one.pdb"


@pytest.mark.parametrize(
    ("text", "formula", "charge", "unpaired"),
    [
        ("CC(C)O", "C3H8O", 0, 0),
        ("[NH4+]", "H4N", 1, 0),
        ("CC(=O)[O-]", "C2H3O2", -1, 0),
        ("[CH3]", "CH3", 0, 1),
    ],
)
def test_smiles(text: str, formula: str, charge: int, unpaired: int) -> None:
    pytest.importorskip("rdkit")
    found, again = find(text), find(text)
    assert Atoms(found.numbers).get_chemical_formula("hill") == formula
    assert (found.charge, found.unpaired) == (charge, unpaired)
    assert np.array_equal(found.positions, again.positions)
    atoms = len(found.numbers)
    assert len(bonds_from_distances(found.numbers, found.positions[None])) == atoms - 1


def test_neither_name_nor_file_nor_smiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rdkit")
    (tmp_path / "bad.cif").write_text("nothing")
    for what, message in (
        ("benzol", "not a built-in molecule, a file or SMILES; built-in molecules are aspirin"),
        ("C(C", "a file or SMILES"),
        ("C(C)(C)(C)(C)C", "a file or SMILES"),
        ("", "a file or SMILES"),
        ("O.O", "several molecules"),
        ("there.pdb", "no such file"),
        ("sample:benzene", "unknown sample"),
        (str(tmp_path / "bad.cif"), "cannot read a structure"),
    ):
        with pytest.raises(InputError, match=message):
            find(what)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(extra, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"SMILES needs rdkit, .*pip install 'gfnode\[simulate\]'"):
        find("CCO")
