"""LAMMPS data files as topologies."""

import numpy as np
import pytest

import gfnode
from gfnode.errors import InputError

# written by LAMMPS (write_data nocoeff), shortened by its velocities and angles; atoms in no order
DATA = """\
LAMMPS data file via write_data, version 29 Sep 2021, timestep = 400

6 atoms
2 atom types
4 bonds
1 bond types

0 8 xlo xhi
0 8 ylo yhi
0 8 zlo zhi

Masses

1 15.9994
2 1.008

Atoms # full

3 1 2 0.417 7.431075345215542 1.1085607112953832 7.430485230599502 -1 0 -1
1 1 1 -0.834 6.829323932733592 0.4914615050881995 7.874692865448654 -1 0 -1
2 1 2 0.417 7.1194150786001344 0.21385477964837207 0.7485314723486174 -1 0 0
6 2 2 0.417 4.829747442430552 4.312772662229576 3.7646564399424376 0 0 0
4 2 1 -0.834 5.26315610008286 3.595871184875654 4.157624762679517 0 0 0
5 2 2 0.417 5.071880152559771 2.8386306565412904 3.543367869536171 0 0 0

Bonds

1 1 1 2
2 1 1 3
3 1 4 5
4 1 6 4
"""

DUMP = """\
ITEM: TIMESTEP
{step}
ITEM: NUMBER OF ATOMS
6
ITEM: BOX BOUNDS pp pp pp
0.0 8.0
0.0 8.0
0.0 8.0
ITEM: ATOMS id type x y z
3 2 7.43 1.11 7.43
1 1 6.83 0.49 7.87
2 2 7.12 0.21 0.75
6 2 4.83 4.31 3.76
4 1 5.26 3.60 4.16
5 2 5.07 2.84 3.54
"""


NONE = r"run\.data: is no LAMMPS data file that ASE reads, as write_data of LAMMPS writes"


@pytest.fixture
def read(tmp_path):
    """A dump without elements, with a data file as its topology."""
    dump = tmp_path / "run.lammpstrj"
    dump.write_text("".join(DUMP.format(step=step) for step in (0, 10)))

    def of(text: str = DATA, name: str = "run.data") -> gfnode.Trajectory:
        (tmp_path / name).write_text(text)
        return gfnode.load(dump, top=tmp_path / name, step="1fs")

    return of


@pytest.mark.parametrize("name", ["run.data", "run.lmp", "data.run"])
def test_elements_bonds_and_molecules(read, name):
    found = read(name=name)
    assert found.numbers.tolist() == [8, 1, 1, 8, 1, 1]
    assert found.topology.bonds.tolist() == [[0, 1], [0, 2], [3, 4], [3, 5]]
    assert found.topology.names == ("O", "H", "H", "O", "H", "H")
    assert found.topology.residue_ids == (1, 1, 1, 2, 2, 2)
    assert f"{name} gives no elements: they were inferred from the masses" in found.notes[0]
    x = found.positions[0]  # the first molecule was cut by the box: by its bonds it is whole
    np.testing.assert_allclose(np.linalg.norm(x[[1, 2]] - x[0], axis=-1), [0.97, 0.97], atol=0.02)
    assert len(found.select("resid 1")) == len(found)


def test_other_masses_are_kept(read):
    found = read(DATA.replace("2 1.008", "2 1.2"))
    assert found.numbers.tolist() == [8, 1, 1, 8, 1, 1]
    np.testing.assert_allclose(found.masses[[1, 5]], 1.2)


def test_without_bonds_or_molecules(read):
    """An atom style that has neither; bonds are then found by distances."""
    head, _, _ = DATA.partition("Bonds")
    head = head.replace("4 bonds\n1 bond types\n", "").replace("# full", "# charge")
    rows = [line.split() for line in head.splitlines() if line.count(" ") == 9]
    for row in rows:
        head = head.replace(" ".join(row), " ".join([row[0], *row[2:]]))
    found = read(head)
    assert found.numbers.tolist() == [8, 1, 1, 8, 1, 1]
    assert found.topology.bonds.shape == (0, 2)
    assert found.topology.residue_ids == (1,) * 6


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("1 15.9994", "1 15.035", "mass of 15.035 u, which is that of no element: give the atoms"),
        ("Masses\n\n1 15.9994\n2 1.008\n", "", "has no Masses, which tell its elements"),
        ("# full", "# of my own", NONE),
        ("6 atoms", "5 atoms", NONE),
        ("7.1194150786001344", "x", NONE),
        ("4 1 6 4", "4 1 6 9", NONE),
        (DATA, "nothing", NONE),
        (DATA, "", "run.data: the file is empty"),
    ],
)
def test_bad_files(read, old, new, said):
    with pytest.raises(InputError, match=said):
        read(DATA.replace(old, new))


def test_of_other_atoms(read, tmp_path):
    with pytest.raises(InputError, match="has 6 atoms, but its topology"):
        read(
            DATA.replace("6 atoms", "3 atoms")
            .replace("4 bonds", "2 bonds")
            .replace("\n6 2 2 0.417", "\n#")
            .replace("\n4 2 1 -0.834", "\n#")
            .replace("\n5 2 2 0.417", "\n#")
            .replace("3 1 4 5\n4 1 6 4\n", "")
        )
