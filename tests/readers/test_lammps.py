"""LAMMPS dumps against MDAnalysis, ASE and mdtraj, on files of LAMMPS and on our own."""

import bz2
import re
from dataclasses import replace
from pathlib import Path

import ase.io
import MDAnalysis
import MDAnalysisTests.datafiles as real
import mdtraj
import numpy as np
import pytest
from damaging import any_damage, loaded_or_refused
from hypothesis import strategies as st

from gfnode.errors import InputError
from gfnode.readers import load, save
from gfnode.trajectory import Trajectory
from gfnode.units import BOHR, ELECTRONVOLT, HARTREE, KCAL_MOL
from making import wiggle

FOLDER = Path(real.LAMMPSDUMP).parent


def top_of(atoms: int, path: Path) -> Path:
    """A topology of so many atoms of carbon."""
    return save(Trajectory(np.arange(3.0 * atoms).reshape(1, -1, 3), [0], [6] * atoms), path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("image_vf.lammpstrj", {}),
        ("image_vf.lammpstrj", {"unwrap_images": True}),
        ("mass_q_elem.lammpstrj", {}),
        ("additional_columns.lammpstrj", {}),
        ("albite_triclinic.dump", {}),
        ("chain_dump_1.lammpstrj", {}),
        ("wat.lammpstrj.bz2", {}),
    ],
)
def test_files_of_lammps(tmp_path: Path, name: str, options: dict[str, bool]) -> None:
    """MDAnalysis moves the corner of the box to zero, and undoes images only when told.

    It does so too where positions are shares of the box, and never were from zero: we do not.
    """
    path = tmp_path / name.removesuffix(".bz2")
    raw = (FOLDER / name).read_bytes()
    text = (bz2.decompress(raw) if name.endswith(".bz2") else raw).decode()
    if not options:
        text = text.replace(" ix iy iz", " a b c")
    path.write_text(text.rstrip() + "\n")
    theirs = MDAnalysis.Universe(str(path), format="LAMMPSDUMP", **options)
    elements = " element" in text
    top = {} if elements else {"top": top_of(len(theirs.atoms), tmp_path / "top.pdb")}
    ours = load(path, step="1fs", whole=False, **top)
    assert len(ours) == len(theirs.trajectory)
    heads = [frame.splitlines()[:4] for frame in text.split("ITEM: BOX BOUNDS")[1:]]
    for number, (frame, head) in enumerate(zip(theirs.trajectory, heads, strict=True)):
        corner = np.loadtxt(head[1:])
        tilt = corner[:, 2] if corner.shape[1] == 3 else np.zeros(3)
        low = corner[:, 0] - [min(0, *tilt[:2], tilt[:2].sum()), min(0, tilt[2]), 0]
        low = 2 * low if " xs" in text else low
        np.testing.assert_allclose(ours.positions[number] - low, frame.positions, rtol=0, atol=2e-5)
        box = MDAnalysis.lib.mdamath.triclinic_vectors(frame.dimensions)
        flags = [[flag == "pp"] for flag in head[0].split()[-3:]]
        np.testing.assert_allclose(ours.cell[number], box * flags, rtol=1e-5, atol=1e-5)
    if " vx" in text:
        assert ours.velocities is None
        assert ours.forces is None
        said = "velocities and forces are left out: the file does not give their units"
        assert any(said in note and "units yes" in note for note in ours.notes)


def test_all_kinds_of_positions_agree(tmp_path: Path) -> None:
    """4500 atoms of water, of which LAMMPS wrote all four."""
    text = bz2.decompress((FOLDER / "spce_all_coords.lammpstrj.bz2").read_bytes()).decode()
    head, rows = text.split("ITEM: ATOMS ")[0], text.split("ITEM: ATOMS ")[1].splitlines()[1:4501]
    table = np.array([row.split() for row in rows])
    top = top_of(4500, tmp_path / "top.pdb")
    seen = {}
    for first, kind in zip(range(2, 14, 3), ("", "s", "u", "su"), strict=True):
        columns = f"ITEM: ATOMS id x{kind} y{kind} z{kind}\n"
        kept = table[:, [0, first, first + 1, first + 2]]
        (tmp_path / "a.dump").write_text(head + columns + "\n".join(map(" ".join, kept)) + "\n")
        seen[kind] = load(tmp_path / "a.dump", top=top, whole=False).positions[0]
    np.testing.assert_allclose(seen["s"], seen[""], rtol=0, atol=5e-4)
    np.testing.assert_allclose(seen["su"], seen["u"], rtol=0, atol=5e-4)
    assert np.abs(seen["u"] - seen[""]).max() > 30
    (tmp_path / "a.dump").write_text(text[: text.index("ITEM: TIMESTEP", 10)])
    both = load(tmp_path / "a.dump", top=top, whole=False).positions[0]
    np.testing.assert_array_equal(both, seen["u"])


RUN = """ITEM: UNITS
electron
ITEM: TIME
0
ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS xy xz yz pp pp pp
0.0000000000000000e+00 2.6456164000000001e+01 5.6691780000000005e+00
-7.5589040000000001e+00 1.7007534000000000e+01 3.7794520000000000e+00
0.0000000000000000e+00 1.7007534000000000e+01 -7.5589040000000001e+00
ITEM: ATOMS id type element mass x y z xs ys zs vx vy vz fx fy fz
1 1 Ar 40 1.88973 1 1 0.0697351 0.0849297 0.0587975 -0.00559409 -0.000679339 0.00128358 4.04e-06 1.44e-05 3.14e-06
2 1 Ar 40 16.9697 8.50377 8.50377 0.645926 0.722222 0.5 0.00559409 0.000679339 -0.00128358 -4.04e-06 -1.44e-05 -3.14e-06
ITEM: TIME
8
ITEM: TIMESTEP
4
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS xy xz yz pp pp pp
0.0000000000000000e+00 2.6456164000000001e+01 5.6691780000000005e+00
-7.5589040000000001e+00 1.7007534000000000e+01 3.7794520000000000e+00
0.0000000000000000e+00 1.7007534000000000e+01 -7.5589040000000001e+00
ITEM: ATOMS id type element mass x y z xs ys zs vx vy vz fx fy fz
2 1 Ar 40 17.0145 8.50919 8.4935 0.648674 0.722273 0.499396 0.00559336 0.000676589 -0.00128428 -3.74e-06 -1.49e-05 -4.27e-06
1 1 Ar 40 1.84498 0.994576 1.01027 0.0669866 0.0848792 0.0594014 -0.00559336 -0.000676589 0.00128428 3.74e-06 1.49e-05 4.27e-06
"""  # noqa: E501
"""As LAMMPS of 22 July 2025 wrote it: argon under Lennard-Jones forces, in a tilted box."""

SPEED = {"real": 1.0, "metal": 1e-3, "electron": BOHR}
FORCE = {"real": KCAL_MOL, "metal": ELECTRONVOLT, "electron": HARTREE / BOHR}


def test_units_of_electron_are_those_in_which_atoms_move(tmp_path: Path) -> None:
    """The manual has another unit of velocity, by which they would be 3 % slower."""
    (tmp_path / "a.dump").write_text(RUN)
    found = load(tmp_path / "a.dump", whole=False)
    assert found.times.tolist() == [0, 8]
    moved = found.positions[1] - found.positions[0]
    np.testing.assert_allclose(moved, found.velocities.mean(0) * 8, rtol=0.005, atol=1e-4)
    gained = np.diff(found.velocities, axis=0)[0] * 40 / 8
    np.testing.assert_allclose(gained, found.forces.mean(0), rtol=0.06, atol=5e-8)


@pytest.mark.parametrize("units", ["real", "metal", "electron"])
def test_units(tmp_path: Path, units: str) -> None:
    """Atoms are put in the order of ids, in every frame."""
    path = tmp_path / "a.lammpstrj"
    path.write_text(RUN.replace("electron", units))
    found = load(path, whole=False)
    length, ps = BOHR if units == "electron" else 1.0, 1000.0 if units == "metal" else 1.0
    for number, frame in enumerate(RUN.split("ITEM: ATOMS ")[1:]):
        rows = sorted(line.split() for line in frame.splitlines()[1:3])
        x, v, f = (np.array([row[k : k + 3] for row in rows], float) for k in (4, 10, 13))
        np.testing.assert_allclose(found.positions[number], x * length, rtol=1e-6)
        np.testing.assert_allclose(found.velocities[number], v * SPEED[units], rtol=1e-6)
        np.testing.assert_allclose(found.forces[number], f * FORCE[units], rtol=1e-6)
    assert found.times.tolist() == [0, 8 * ps]
    with pytest.raises(InputError, match=r"states its unit of length: leave out --unit"):
        load(path, unit="nm")


def water(**changes: str) -> str:
    """Two frames of water, some lines of the head or columns other than usual."""
    lines = {
        "units": "real",
        "time": "0 2",
        "step": "0 4",
        "atoms": "3",
        "box": " pp pp pp\n0 10\n0 10\n0 10",
        "columns": "id type element x y z",
        "first": "2 1 H 1 0 0\n1 2 O 0 0 0\n3 1 H 0 1 0\n",
        "second": "1 2 O 0 0 0.1\n3 1 H 0 1 0\n2 1 H 1 0 0\n",
    } | changes
    text = f"ITEM: UNITS\n{lines['units']}\n" if lines["units"] else ""
    for frame, rows in enumerate((lines["first"], lines["second"])):
        if time := lines["time"]:
            text += f"ITEM: TIME\n{time.split()[frame]}\n"
        text += f"ITEM: TIMESTEP\n{lines['step'].split()[frame]}\n"
        text += f"ITEM: NUMBER OF ATOMS\n{lines['atoms']}\nITEM: BOX BOUNDS{lines['box']}\n"
        text += f"ITEM: ATOMS {lines['columns']}\n{rows}"
    return text


def test_columns_and_notes(tmp_path: Path) -> None:
    path = tmp_path / "a.dump"

    def found(text: str, **options: object) -> Trajectory:
        path.write_text(text)
        return load(path, whole=False, **options)

    assert found(water()).numbers.tolist() == [8, 1, 1]
    assert found(water() + "\n\n").positions[1, 0].tolist() == [0, 0, np.float32(0.1)]
    assert found(water(units="metal")).times.tolist() == [0, 2000]
    assert found(water(units="", time=""), step="1fs").times.tolist() == [0, 1]
    assert found(water(units="", time=""), step=1, unit="nm").positions[0, 1, 0] == 10
    assert found(water(box="\n0 10\n0 10\n0 10")).cell[0].any(1).all()  # of old versions
    assert found(water(box=" ff ss mm\n0 10\n0 10\n0 10")).cell is None
    turned = found(water(box=" abc origin pp pp pp\n0 10 0 1\n-10 0 0 2\n0 0 10 3"))
    assert turned.cell[1].tolist() == [[0, 10, 0], [-10, 0, 0], [0, 0, 10]]
    carbons = found(water().replace(" O ", " C ").replace(" H ", " C "))
    assert any("atoms of 2 types are all C, which LAMMPS writes" in note for note in carbons.notes)
    text = water(columns="n type element x y z")
    assert any("no column id" in note for note in found(text.replace("2 1 H", "1 2 O")
               .replace("1 2 O", "3 1 H")).notes)  # fmt: skip
    heavy = water(columns="id type element x y z mass")
    heavy = re.sub(r"(?m)^(\d 1 H .*)", r"\1 2.014", heavy)
    heavy = re.sub(r"(?m)^(\d 2 O .*)", r"\1 15.999", heavy)
    np.testing.assert_allclose(found(heavy).atom_masses, [15.999, 2.014, 2.014], rtol=1e-3)


def test_masses_tell_elements(tmp_path: Path) -> None:
    path = tmp_path / "a.dump"
    text = water(columns="id type mass x y z").replace(" O ", " 15.9994 ")
    path.write_text(text.replace(" H ", " 1.0 "))
    found = load(path, whole=False)
    assert found.numbers.tolist() == [8, 1, 1]
    assert any("inferred from the masses" in note for note in found.notes)
    np.testing.assert_allclose(found.masses, [15.9994, 1, 1], rtol=0.01)
    path.write_text(text.replace(" H ", " 3.024 "))
    with pytest.raises(
        InputError, match=r"atom 1 has a mass of 3.024 u, which is that of no element: .* Beads"
    ):
        load(path)


def test_beads_keep_their_masses_whatever_element_they_are_given(tmp_path: Path) -> None:
    path, top = tmp_path / "a.dump", tmp_path / "a.pdb"
    text = water(columns="id type mass x y z").replace(" O ", " 72.0 ").replace(" H ", " 45.0 ")
    path.write_text(text)
    rows = "".join(
        f"HETATM{i:5d}  B{i}  BEA A   1    {i:8.3f}{0:8.3f}{0:8.3f}  1.00  0.00           C\n"
        for i in (1, 2, 3)
    )
    top.write_text(f"{rows}CONECT    1    2\nCONECT    2    3\nEND\n")
    found = load(path, top=top, whole=False)
    assert found.numbers.tolist() == [6, 6, 6]
    assert found.masses.tolist() == [72.0, 45.0, 45.0]
    assert found.topology is not None
    assert found.topology.bonds.tolist() == [[0, 1], [1, 2]]


def test_uneven_steps_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.dump"
    text = water(units="", time="")
    frame = water(units="", time="", step="9 10").partition("ITEM: TIMESTEP\n10")[0]
    path.write_text(text + frame)
    with pytest.raises(InputError, match=r"frames, but its frames are 4 to 5 steps apart; in LAMM"):
        load(path)
    notes = load(path, step="2fs").notes
    assert any(
        "its frames are 4 to 5 steps apart, but were all taken to be 2 fs" in n for n in notes
    )


def test_a_topology_stands_in_for_elements(tmp_path: Path) -> None:
    path, named = tmp_path / "a.dump", tmp_path / "b.dump"
    named.write_text(water())
    top = save(load(named, whole=False)[0], tmp_path / "water.pdb")
    path.write_text(water().replace(" element", " q").replace(" O ", " -1 ").replace(" H ", " 1 "))
    with pytest.raises(
        InputError, match=r"gives no elements for its atoms: give the topology with --top \(PDB, or"
    ):
        load(path)
    found = load(path, top=top, whole=False)
    assert found.numbers.tolist() == [8, 1, 1]
    assert found.topology is not None
    assert load(named, top=top, whole=False).topology is not None
    with pytest.raises(InputError, match=r"has 3 atoms, but its topology .* has 2"):
        load(path, top=top_of(2, tmp_path / "two.pdb"))
    with pytest.raises(InputError, match=r"atom 0 is O in its column element, but another"):
        load(named, top=top_of(3, tmp_path / "three.pdb"))
    named.write_text(water().replace(" O ", " C ").replace(" H ", " C "))
    assert load(named, top=top, whole=False).numbers.tolist() == [8, 1, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"units": "lj"}, r"its units are 'lj', expected real, metal, electron"),
        ({"units": ""}, r"not give the unit of its times: give --step, .*, 4 times the time s"),
        ({"time": ""}, r"stores no times: give --step, .*, 4 times the time step .* time yes writ"),
        ({"time": "0 0"}, "times"),
        ({"time": "0 x"}, r"header of frame 1 is damaged: ValueError: could not convert .*'x'"),
        ({"step": "0 a"}, r"header of frame 1 is damaged"),
        ({"atoms": "0"}, r"frame 0 has 0 atoms"),
        ({"atoms": "-3"}, r"frame 0 has -3 atoms"),
        ({"atoms": "2"}, r"frame 1 has '3 1 H 0 1 0', expected ITEM: TIMESTEP.* was cut off"),
        ({"atoms": "4"}, "frame 1 has|frame 0"),
        ({"box": " pp pp pp\n0 10\n0 10\n0"}, "header of frame 0 is damaged"),
        ({"box": " pp pp pp\n0 10\n0 10\n10 0"}, "upper bound of the box is below the lower"),
        ({"box": " pp pp pp\n0 10\n0 10\n0 0"}, "periodic box has zero extent"),
        ({"box": " pp pp pp\n0 10\n0 10\n0 nan"}, "upper bound of the box is below the lower"),
        ({"box": " pp pp pp\n0 10\n0 10\n0 inf"}, "cell"),
        ({"box": " pp pp\n0 10\n0 10\n0 10"}, "expected three such as pp pp ff"),
        ({"box": " pp pp qq\n0 10\n0 10\n0 10"}, "expected three such as pp pp ff"),
        ({"columns": "id type element x y w"}, r"expected columns x y z .*, got id type element x"),
        ({"columns": "id type element x x x"}, "each once"),
        ({"columns": ""}, "got none"),
        ({"columns": "id type element x y z q"}, r"line 1 of the atoms .* has 6 values, exp"),
        ({"first": "1 1 H 0 0 0\n1 2 O 0 0 0\n3 1 H 0 1 0\n"}, "frame 0 has an id more than"),
        ({"first": "a 1 H 0 0 0\n1 2 O 0 0 0\n3 1 H 0 1 0\n"}, "an id of frame 0 is not a number"),
        ({"first": "4 1 H 0 0 0\n1 2 O 0 0 0\n3 1 H 0 1 0\n"}, "frame 1 has other atom ids"),
        ({"first": "2 1 H 0 0 0\n1 2 H 0 0 0\n3 1 H 0 1 0\n"}, "frame 1 has different elements"),
        ({"first": "2 1 H 0 0 0\n1 2 OW 0 0 0\n3 1 H 0 1 0\n"}, r"element of atom 0 is 'OW', exp"),
        ({"second": "2 1 H 0 0 0\n1 2 O 0 ? 0\n3 1 H 0 1 0\n"}, "frame 1 is damaged"),
        ({"second": "2 1 H 0 0 0\n1 2 O 0 nan 0\n3 1 H 0 1 0\n"}, "positions .* frame 1"),
        ({"second": "2 1 H 0 0 0\n1 2 O 0 0 0\n"}, r"ends inside frame 1: 2 of 3 atoms"),
        ({"second": "2 1 H 0 0 0\n1 2 O 0 0 0\n3 1 H 0 1 "}, "last line has no newline"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path, changes, words):
    path = tmp_path / "a.dump"
    path.write_text(water(**changes))
    with pytest.raises(InputError, match=words) as caught:
        load(path, whole=False)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ITEM: TIME\n2\n", "", r"1 of 2 frames have no ITEM: TIME: give --step"),
        ("ITEM: TIMESTEP\n4\n", "", r"frame 1 has no ITEM: TIMESTEP"),
        ("ITEM: ATOMS id", "ITEM: ENTRIES id", r"'ITEM: ENTRIES id type element"),
        ("ITEM: TIME\n2", "ITEM: UNITS\nmetal\nITEM: TIME\n2", r"frame 1 has the units metal, the"),
        (
            "ITEM: TIMESTEP\n0\n",
            "ITEM: TIMESTEP\n0\n" * 2,
            r"frame 0 has 'ITEM: TIMESTEP', expected",
        ),
    ],
)
def test_bad_heads(tmp_path, old, new, words):
    path = tmp_path / "a.dump"
    path.write_text(water().replace(old, new))
    with pytest.raises(InputError, match=words):
        load(path, whole=False)


def test_damaged_files_of_mdanalysis(tmp_path: Path) -> None:
    bad = bz2.decompress((FOLDER / "wat.lammpstrj_long.bz2").read_bytes())
    (tmp_path / "wat.lammpstrj").write_bytes(bad)
    top = top_of(24, tmp_path / "top.pdb")
    with pytest.raises(InputError, match=r"line 1 of the atoms of frame 0 has 6 values, expected"):
        load(tmp_path / "wat.lammpstrj", top=top)
    (tmp_path / "a.dump").write_text((FOLDER / "nomass_elemx.lammpstrj").read_text() + "\n")
    with pytest.raises(InputError, match=r"the element of atom 1 is 'X', expected a symbol"):
        load(tmp_path / "a.dump")


def full(tilted: bool) -> Trajectory:
    made = wiggle(6)
    rng = np.random.default_rng(1)
    cell = np.zeros((6, 3, 3), np.float32)
    cell[:] = [[20, 0, 0], [3, 21, 0], [-4, 5, 22]] if tilted else np.diag([20, 21, 22])
    forces = rng.normal(0, 1e-3, made.positions.shape).astype(np.float32)
    return replace(made, cell=cell, forces=forces, atom_masses=np.full(made.n_atoms, 30.0))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tilted", [False, True])
def test_ours_is_read_by_others(tmp_path: Path, tilted: bool) -> None:
    made = full(tilted)
    path = save(made, tmp_path / "run.lammpstrj")
    again = load(path, whole=False)
    for key in ("positions", "velocities", "times", "numbers", "atom_masses"):
        np.testing.assert_array_equal(getattr(again, key), getattr(made, key), key)
    np.testing.assert_allclose(again.forces, made.forces, rtol=3e-7)
    np.testing.assert_allclose(again.cell, made.cell, rtol=1e-6)
    frames = ase.io.read(path, format="lammps-dump-text", index=":", units="real")
    for i, atoms in enumerate(frames):
        np.testing.assert_allclose(atoms.positions, made.positions[i], rtol=0, atol=1e-6)
        np.testing.assert_allclose(atoms.cell.array, made.cell[i], rtol=1e-6)
        np.testing.assert_allclose(
            atoms.get_velocities() * ase.units.fs, made.velocities[i], rtol=1e-5, atol=1e-9
        )
        np.testing.assert_allclose(
            atoms.get_forces() * ELECTRONVOLT, made.forces[i], rtol=1e-4, atol=1e-9
        )
        assert atoms.numbers.tolist() == made.numbers.tolist()
        assert atoms.pbc.all()
    # MDAnalysis and mdtraj know of no units and times
    text = re.sub(r"ITEM: (UNITS|TIME)\n.*\n", "", path.read_text())
    (tmp_path / "bare.lammpstrj").write_text(text)
    theirs = MDAnalysis.Universe(str(tmp_path / "bare.lammpstrj"), format="LAMMPSDUMP")
    for i, frame in enumerate(theirs.trajectory):
        np.testing.assert_allclose(frame.positions, made.positions[i], rtol=0, atol=1e-5)
        np.testing.assert_allclose(frame.velocities, made.velocities[i], rtol=1e-6)
        np.testing.assert_allclose(frame.forces * KCAL_MOL, made.forces[i], rtol=1e-5)
    save(made[0], tmp_path / "top.pdb")
    seen = mdtraj.load_lammpstrj(
        str(tmp_path / "bare.lammpstrj"), top=str(tmp_path / "top.pdb"), unit_set="real"
    )
    np.testing.assert_allclose(seen.xyz * 10, made.positions, rtol=0, atol=1e-5)
    np.testing.assert_allclose(seen.unitcell_vectors * 10, made.cell, rtol=0, atol=1e-4)


def test_boxes_in_part(tmp_path: Path) -> None:
    """A slab keeps its cell; a cell that is turned is refused; without a cell there is none."""
    made = full(False)
    slab = replace(made, cell=made.cell * np.float32([[1], [1], [0]]))
    np.testing.assert_array_equal(load(save(slab, tmp_path / "a.dump")).cell, slab.cell)
    assert ase.io.read(tmp_path / "a.dump", format="lammps-dump-text").pbc.tolist() == [1, 1, 0]
    assert load(save(replace(made, cell=None), tmp_path / "a.dump")).cell is None
    turned = replace(made, cell=made.cell[:, [1, 0, 2]])
    with pytest.raises(InputError, match=r"a.dump: .*can only hold a fully periodic cell"):
        save(turned, tmp_path / "a.dump")


@any_damage
def test_damage_of_any_kind(tmp_path: Path, data: st.DataObject) -> None:
    found = loaded_or_refused(tmp_path / "bad.dump", RUN.encode(), data)
    assert found is None or found.n_atoms in (1, 2)
