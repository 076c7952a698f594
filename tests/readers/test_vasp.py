"""Output of VASP, beside ASE: XDATCAR, which ASE writes, and vasprun.xml, which ASE reads too."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gfnode
from commands import works
from gfnode.errors import InputError
from gfnode.readers import save
from gfnode.units import ELECTRONVOLT

CELL = np.array([[9.0, 0, 0], [1.0, 10, 0], [0, -0.5, 11]])
WATERS = "OOHHHH"
ENERGY = "<energy><i name='e_fr_energy'> -28 </i><i name='e_0_energy'> -28 </i></energy>"


@pytest.fixture
def frames():
    """Two waters that fly through the walls of a cell, one of them 4 Å in every frame."""
    rng = np.random.default_rng(3)
    places = np.array(
        [[1.0, 1, 1], [5, 5, 5], [1.8, 1.3, 1], [0.4, 1.7, 1], [5, 5.9, 5], [5, 5, 6]]
    )
    found = []
    for number in range(6):
        moved = places + rng.normal(0, 0.03, (6, 3))
        moved[[0, 2, 3]] += number * np.array([-2.0, 1, 3])
        atoms = Atoms(WATERS, moved, cell=CELL, pbc=True)
        atoms.wrap()
        found.append(atoms)
    return found


def check_same(read, frames):
    """Atoms, positions and cells are those of ASE's frames."""
    np.testing.assert_array_equal(read.numbers, frames[0].numbers)
    np.testing.assert_allclose(read.positions, [each.positions for each in frames], atol=2e-6)
    np.testing.assert_allclose(read.cell, [each.cell.array for each in frames], atol=1e-5)


def vasprun(frames, forces, *, potim="1.00000000", ibrion="     0", extra="") -> str:
    def vectors(name, rows):
        lines = "".join(f"<v> {a:.8f} {b:.8f} {c:.8f} </v>\n" for a, b, c in rows)
        return f'<varray name="{name}" >\n{lines}</varray>\n'

    symbols = frames[0].get_chemical_symbols()
    atoms = "".join(f"<rc><c>{each:2}</c><c>   1</c></rc>" for each in symbols)
    steps = "".join(
        f"<calculation><scstep>{ENERGY}</scstep>"
        f"<structure><crystal>{vectors('basis', each.cell)}</crystal>"
        f"{vectors('positions', each.get_scaled_positions(wrap=False))}</structure>"
        f"{vectors('forces', force)}"
        f"{ENERGY}</calculation>\n"
        for each, force in zip(frames, forces, strict=True)
    )
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n'
        f'<incar><i name="POTIM">{potim}</i>{extra}</incar>\n'
        '<kpoints><varray name="kpointlist" ><v> 0.0 0.0 0.0 </v></varray>'
        '<varray name="weights" ><v> 1.0 </v></varray></kpoints>\n'
        '<parameters><separator name="ionic" >'
        f'<i type="int" name="IBRION">{ibrion}</i><i name="POTIM">{potim}</i></separator>'
        "</parameters>\n"
        f'<atominfo><array name="atoms" ><set>{atoms}</set></array>'
        '<array name="atomtypes" ><set><rc><c>   2</c><c>O </c><c> 16.0 </c></rc>'
        "<rc><c>   4</c><c>H </c><c> 2.0 </c></rc></set></array></atominfo>\n"
        f"<structure name='initialpos' ><crystal>{vectors('basis', frames[0].cell)}</crystal>"
        f"{vectors('positions', frames[0].get_scaled_positions())}</structure>\n"
        f"{steps}</modeling>\n"
    )


@pytest.fixture
def forces(frames):
    return np.random.default_rng(4).normal(0, 0.3, (len(frames), 6, 3))


@pytest.fixture
def written(tmp_path, frames, forces):
    path = tmp_path / "vasprun.xml"
    path.write_text(vasprun(frames, forces))
    return path


@pytest.mark.parametrize("name", ["XDATCAR", "run2_XDATCAR", "XDATCAR.1", "part.xdatcar"])
def test_xdatcar_is_what_ase_wrote(frames, tmp_path, name):
    path = tmp_path / name
    ase.io.write(path, frames, format="vasp-xdatcar")
    read = gfnode.load(path, step="2fs", whole=False)
    check_same(read, frames)
    np.testing.assert_allclose(read.times, np.arange(6) * 2.0)
    assert read.velocities is None
    with pytest.raises(InputError, match=r"no times: give --step.*POTIM × NBLOCK"):
        gfnode.load(path)


def test_molecules_that_the_cell_cuts_are_whole_and_fly_on(frames, tmp_path):
    ase.io.write(tmp_path / "XDATCAR", frames, format="vasp-xdatcar")
    read = gfnode.load(tmp_path / "XDATCAR", step="2fs")
    bond = read.positions[:, 2] - read.positions[:, 0]
    assert np.linalg.norm(bond, axis=-1).max() < 1.2
    drift = np.diff(read.positions[:, 0], axis=0)
    np.testing.assert_allclose(drift, np.tile([-2.0, 1, 3], (5, 1)), atol=0.3)


def test_a_cell_that_changes_and_the_names_of_potentials(tmp_path, frames):
    for number, each in enumerate(frames):
        each.set_cell(CELL * (1 + number / 100), scale_atoms=True)
    ase.io.write(tmp_path / "XDATCAR", frames, format="vasp-xdatcar")
    text = (tmp_path / "XDATCAR").read_text()
    lines = text.splitlines()
    assert lines[5].split() == ["O", "H"]
    text = text.replace(lines[5], "  O_s  H/63a1 ")
    (tmp_path / "XDATCAR").write_text(text + "\n")  # and a blank line at the end
    read = gfnode.load(tmp_path / "XDATCAR", step="2fs", whole=False)
    check_same(read, frames)


def test_a_head_without_a_comment_is_a_head(tmp_path, frames):
    for number, each in enumerate(frames):
        each.set_cell(CELL * (1 + number / 100), scale_atoms=True)
    ase.io.write(tmp_path / "XDATCAR", frames, format="vasp-xdatcar")
    lines = (tmp_path / "XDATCAR").read_text().splitlines()
    comment = lines[0]
    lines = ["" if each == comment else each.strip() for each in lines]
    (tmp_path / "XDATCAR").write_text("\n".join([*lines, "", "", ""]))  # and blank lines at the end
    read = gfnode.load(tmp_path / "XDATCAR", step="2fs", whole=False)
    check_same(read, frames)


def test_a_suffix_tells_more_than_the_name(tmp_path, frames):
    ase.io.write(tmp_path / "XDATCAR", frames, format="vasp-xdatcar")
    works("convert", tmp_path / "XDATCAR", tmp_path / "XDATCAR.npz", "--step", "2fs")
    read = gfnode.load(tmp_path / "XDATCAR.npz")
    save(read, tmp_path / "of_XDATCAR.extxyz")
    assert len(gfnode.load(tmp_path / "of_XDATCAR.extxyz", whole=False)) == len(read) == 6


@pytest.mark.parametrize(("scale", "row"), [("0.0", "1 0 0"), ("-27.0", "0 0 1")])
def test_a_cell_without_volume_is_none(tmp_path, scale, row):
    head = ["one", scale, row, "0 1 0", "0 0 1", "He", "1", "Direct configuration=     1"]
    (tmp_path / "XDATCAR").write_text("\n".join([*head, "0.5 0.25 0.0", ""]))
    with pytest.raises(InputError, match="header of frame 0"):
        gfnode.load(tmp_path / "XDATCAR")


def test_a_negative_scale_is_the_volume(tmp_path):
    head = ["one", "-27.0", "1 0 0", "0 1 0", "0 0 1", "He", "1", "Direct configuration=     1"]
    (tmp_path / "XDATCAR").write_text("\n".join([*head, "0.5 0.25 0.0", ""]))
    read = gfnode.load(tmp_path / "XDATCAR")
    np.testing.assert_allclose(read.cell[0], 3 * np.eye(3), rtol=1e-6)
    np.testing.assert_allclose(read.positions[0], [[1.5, 0.75, 0]], rtol=1e-6)


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_xdatcar_is_refused_or_whole_frames(tmp_path, frames, cut):
    path = tmp_path / "XDATCAR"
    ase.io.write(path, frames, format="vasp-xdatcar")
    raw = path.read_bytes()
    path.write_bytes(raw[: int(cut * len(raw))])
    try:
        read = gfnode.load(path, step="1fs", whole=False)
    except InputError:
        return
    assert raw[int(cut * len(raw)) :].lstrip().startswith((b"Direct configuration=", b"O H\n"))
    for mine, theirs in zip(read.positions, frames, strict=False):
        np.testing.assert_allclose(mine, theirs.positions, atol=2e-6)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  O   H\n", "  O   Xx\n", "expected an element symbol"),
        ("  O   H\n", "  2   4\n", "header of frame 0"),
        ("Direct configuration=     2", "Direct", "frame 1 begins with 'Direct'|header of frame 1"),
    ],
)
def test_what_is_wrong_with_an_xdatcar_is_named(frames, tmp_path, old, new, said):
    path = tmp_path / "XDATCAR"
    ase.io.write(path, frames, format="vasp-xdatcar")
    lines = path.read_text()
    symbols = lines.splitlines()[5]
    lines = lines.replace(symbols + "\n", "  O   H\n")
    assert old in lines
    path.write_text(lines.replace(old, new, 1))
    with pytest.raises(InputError, match=said):
        gfnode.load(path, step="1fs")


def test_positions_in_two_columns(tmp_path):
    head = "one\n1.0\n9 0 0\n0 9 0\n0 0 9\nHe\n1\nDirect configuration=     1\n"
    (tmp_path / "XDATCAR").write_text(f"{head}0.5 0.25\n")
    with pytest.raises(InputError, match="frame 0 holds no positions"):
        gfnode.load(tmp_path / "XDATCAR")


def test_vasprun_is_what_ase_reads(written, frames, forces):
    theirs = ase.io.read(written, index=":", format="vasp-xml")
    read = gfnode.load(written, whole=False)
    check_same(read, theirs)
    found = np.stack([each.get_forces(apply_constraint=False) for each in theirs])
    np.testing.assert_allclose(found, forces, atol=1e-8)
    np.testing.assert_allclose(read.forces, found * ELECTRONVOLT, rtol=1e-5)
    np.testing.assert_allclose(read.times, np.arange(6))
    np.testing.assert_allclose(read.atom_masses, [16, 16, 2, 2, 2, 2])  # heavy water
    assert any("every 1 fs, by its POTIM" in note for note in read.notes)
    np.testing.assert_allclose(gfnode.load(written, step="3fs").times, np.arange(6) * 3.0)


def test_a_machine_learned_run_stores_some_of_its_steps(tmp_path, frames, forces):
    path = tmp_path / "vasprun.xml"
    every = '<i type="int" name="ML_OUTBLOCK">    10</i>'
    path.write_text(vasprun(frames, forces, potim="1.5", extra=every))
    np.testing.assert_allclose(gfnode.load(path).times, np.arange(6) * 15.0)


def test_a_run_that_was_stopped_has_its_complete_steps(written, frames):
    text = written.read_text()
    written.write_text(text[: text.rindex('<varray name="forces"') + 60])
    read = gfnode.load(written, whole=False)
    assert len(read) == 5
    np.testing.assert_allclose(read.positions, [e.positions for e in frames[:5]], atol=2e-6)
    assert read.forces is not None
    assert any("did not finish: 5 steps" in note for note in read.notes)


def test_what_is_no_dynamics_has_no_times(tmp_path, frames, forces):
    path = tmp_path / "vasprun.xml"
    path.write_text(vasprun(frames, forces, ibrion="     2"))
    with pytest.raises(InputError, match=r"no times: give --step.*IBRION is not 0"):
        gfnode.load(path)
    assert len(gfnode.load(path, step="1fs")) == 6


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('0</i><i name="POTIM">', 'x</i><i name="POTIM">', "no times: give --step"),
        (">1.00000000<", ">**********<", "POTIM or ML_OUTBLOCK is not a number"),
        ("</incar>", '<i name="ML_OUTBLOCK">x</i></incar>', "POTIM or ML_OUTBLOCK is not"),
        ('name="basis"', 'name="base"', r"expected arrays \(3, 3\) of its cells, got \(0,\)"),
        ('name="forces" >\n<v>', 'name="forces" >\n<w/><v> 1 2 3 </v><v>', r"got \(7, 3\)"),
    ],
)
def test_what_is_wrong_with_a_vasprun_is_named(written, old, new, said):
    text = written.read_text(encoding="iso-8859-1")
    assert old in text
    written.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=said):
        gfnode.load(written)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<ForceField><AtomTypes/></ForceField>", "expected a vasprun.xml"),
        ("<modeling><incar/></modeling>", "no complete step"),
        ("no xml at all", "no complete step"),
    ],
)
def test_another_xml_is_refused(tmp_path, text, said):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=said):
        gfnode.load(tmp_path / "a.xml", step="1fs")


def test_entities_of_a_stranger_do_not_blow_up(tmp_path):
    lines = [f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9)]
    bomb = f'<!DOCTYPE modeling [<!ENTITY a0 "ha">{"".join(lines)}]><modeling>&a9;</modeling>'
    (tmp_path / "vasprun.xml").write_text(f'<?xml version="1.0"?>{bomb}')
    with pytest.raises(InputError, match="no complete step"):
        gfnode.load(tmp_path / "vasprun.xml", step="1fs")


def test_they_are_read_and_not_written(written, tmp_path):
    trajectory = gfnode.load(written)
    for name in ("a.xml", "XDATCAR"):
        with pytest.raises(InputError, match="unknown format"):
            save(trajectory, tmp_path / name)
    works("convert", written, tmp_path / "a.extxyz")
    again = gfnode.load(tmp_path / "a.extxyz", whole=False)
    np.testing.assert_allclose(again.positions, trajectory.positions, atol=1e-5)
    np.testing.assert_allclose(again.forces, trajectory.forces, rtol=1e-4, atol=1e-8)
