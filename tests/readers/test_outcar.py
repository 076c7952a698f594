"""OUTCAR of VASP: beside ASE, which reads it too, and cut or changed in every way."""

from pathlib import Path

import ase.io
import ase.test
import numpy as np
import pytest
from ase import Atoms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gfnode
from commands import works
from gfnode.errors import InputError
from gfnode.units import ELECTRONVOLT

CELL = np.array([[9.0, 0, 0], [-1.0, 10, 0], [0, -10.5, 11]])
LINE = " " + "-" * 83 + "\n"
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
POTCARS = """ POTCAR:    PAW_PBE O 08Apr2002
   VRHFIN =O: s2p4
   POMASS =   16.000; ZVAL   =    6.000    mass and valenz
 POTCAR:    PAW_PBE Pb_d 06Sep2000
   VRHFIN =Pb: 5d10
   POMASS =  207.200; ZVAL   =   14.000    mass and valenz
 POTCAR:    PAW_PBE H 15Jun2001
   VRHFIN =H: ultrasoft test
   POMASS =    1.000; ZVAL   =    1.000    mass and valenz
"""


def outcar(frames, forces, *, potim="1.0000", ibrion=0, steps=None, end=True) -> str:
    """Text of an OUTCAR: two electronic steps for each frame, of the given ionic steps."""
    text = (
        " vasp.6.3.0 20Jan22 complex\n POTCAR:    PAW_PBE O 08Apr2002\n"
        " POTCAR:    PAW_PBE Pb_d 06Sep2000\n POTCAR:    PAW_PBE H 15Jun2001\n"
        f"{POTCARS}"
        "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1"
        "   number of bands    NBANDS=     12\n"
        "   ions per type =               1   1   3\n"
        "   ISPIN  =      1    spin polarized calculation?\n"
        f"   IBRION = {ibrion:6}    ionic relax: 0-MD 1-quasi-New 2-CG\n"
        f"   POTIM  = {potim}    time-step for ionic-motion\n"
        "  Mass of Ions in am\n   POMASS =  16.00207.20  2.00\n"
        "  Ionic Valenz\n   ZVAL   =   6.00 14.00  1.00\n"
        f"{cell_lines(frames[0])}"
        " k-points in reciprocal lattice and weights: read from INCAR\n"
        "   0.00000000  0.00000000  0.00000000       1.000\n"
    )
    for index, (frame, force) in enumerate(zip(frames, forces, strict=True)):
        step = index + 1 if steps is None else steps[index]
        for electronic in (1, 2):
            text += f"{'-' * 41} Iteration{step:7}({electronic:4})  {'-' * 39}\n"
            text += " Free energy of the ion-electron system (eV)\n"
        text += f" VOLUME and BASIS-vectors are now :\n{cell_lines(frame)}"
        text += f" POSITION{' ' * 39}TOTAL-FORCE (eV/Angst)\n{LINE}"
        for place, push in zip(frame.positions, force, strict=True):
            text += "".join(f"{x:13.5f}" for x in place) + "   "
            text += "".join(f"{x:14.6f}" for x in push) + "\n"
        text += f"{LINE}    total drift:   0.000000   0.000000   0.000000\n"
        text += f"  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n{LINE}"
        text += "  free  energy   TOTEN  =       -28.38622624 eV\n\n"
        text += "  energy  without entropy=   -28.38622624  energy(sigma->0) =  -28.38622624\n"
    return text + (" General timing and accounting informations for this job:\n" if end else "")


def cell_lines(frame) -> str:
    head = "      direct lattice vectors                 reciprocal lattice vectors\n"
    rows = zip(frame.cell.array, frame.cell.reciprocal(), strict=True)
    lines = ("".join(f"{x:13.9f}" for x in a) + "".join(f"{x:13.9f}" for x in b) for a, b in rows)
    return head + "".join(f"    {line}\n" for line in lines)


def made(count=6, seed=3, *, changing=True):
    """Frames of five atoms in a cell that changes, and their forces in eV/Å."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(1, 8, (5, 3))
    frames = [
        Atoms("OPbH3", places, cell=CELL * (1 + number / 100 * changing), pbc=True)
        for number in range(count)
    ]
    for frame in frames:
        frame.positions += rng.normal(0, 0.03, (5, 3))
    return frames, rng.normal(0, 30, (count, 5, 3))


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="OUTCAR"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_text


@pytest.mark.parametrize("name", ["OUTCAR", "OUTCAR.1", "water_OUTCAR", "run.outcar"])
def test_it_is_what_ase_reads(write, name):
    frames, forces = made()
    path = write(outcar(frames, forces), name)
    theirs = ase.io.read(path, index=":", format="vasp-out")
    read = gfnode.load(path, whole=False)
    assert read.numbers.tolist() == theirs[0].numbers.tolist() == [8, 82, 1, 1, 1]
    np.testing.assert_allclose(read.positions, [e.positions for e in theirs], atol=1e-6)
    np.testing.assert_allclose(read.cell, [e.cell.array for e in theirs], atol=1e-6)
    found = np.stack([each.get_forces(apply_constraint=False) for each in theirs])
    np.testing.assert_allclose(read.forces, found * ELECTRONVOLT, rtol=1e-6)
    np.testing.assert_allclose(found, forces, atol=1e-6)
    np.testing.assert_allclose(read.atom_masses, [16, 207.2, 2, 2, 2])  # heavy hydrogen
    np.testing.assert_allclose(read.times, np.arange(6.0))
    assert read.velocities is None


def test_the_file_that_ase_tests_with(write):
    """Its potential was taken out, and with it the line that names the element."""
    original = Path(ase.test.__file__).parent / "testdata" / "vasp" / "OUTCAR_example_1"
    path = write(original.read_text().replace("\n POTCAR:", "\n   VRHFIN =Ni:\n POTCAR:", 1))
    theirs = ase.io.read(path, format="vasp-out")
    read = gfnode.load(path, whole=False)
    np.testing.assert_allclose(read.positions, [theirs.positions], atol=1e-6)
    found = theirs.get_forces(apply_constraint=False)
    np.testing.assert_allclose(read.forces, [found * ELECTRONVOLT], rtol=1e-6, atol=1e-12)
    assert set(read.numbers) == {28}


@given(
    count=st.integers(1, 8),
    seed=st.integers(0, 2**32),
    keep=st.integers(1, 3),
    potim=st.sampled_from([0.5, 1.0, 2.0]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
def test_what_was_written_comes_back(tmp_path, count, seed, keep, potim):
    """Of ionic steps that are not all written, too."""
    frames, forces = made(count, seed)
    path = tmp_path / "OUTCAR"
    steps = [1 + keep * index for index in range(count)]
    path.write_text(outcar(frames, forces, potim=f"{potim:.4f}", steps=steps))
    read = gfnode.load(path, whole=False)
    np.testing.assert_allclose(read.positions, [e.positions for e in frames], atol=6e-6)
    np.testing.assert_allclose(read.cell, [e.cell.array for e in frames], atol=1e-6)
    np.testing.assert_allclose(read.forces / ELECTRONVOLT, forces, atol=1e-5)
    np.testing.assert_allclose(read.times, np.arange(count) * keep * potim)
    some = gfnode.load(path, whole=False, stride=2, select="0,3")
    np.testing.assert_array_equal(some.positions, read.positions[::2, [0, 3]])
    np.testing.assert_array_equal(some.forces, read.forces[::2, [0, 3]])


def test_a_step_that_is_given_counts_frames(write):
    path = write(outcar(*made(), steps=[1, 2, 3, 1, 2, 3]))
    with pytest.raises(InputError, match=r"frame 3 is of step 1, after step 3.*--step"):
        gfnode.load(path)
    np.testing.assert_allclose(gfnode.load(path, step="2fs").times, np.arange(6) * 2.0)


def test_notes(write):
    frames, forces = made()
    read = gfnode.load(write(outcar(frames, forces, potim="0.5000")))
    assert any("steps of 0.5 fs, its POTIM" in note for note in read.notes)
    assert not any("did not finish" in note for note in read.notes)
    read = gfnode.load(write(outcar(frames, forces, end=False)))
    assert any("did not finish: 6 steps" in note for note in read.notes)


def test_what_is_no_dynamics_has_no_times(write):
    path = write(outcar(*made(), ibrion=2))
    with pytest.raises(InputError, match=r"no times: give --step.*IBRION is not 0"):
        gfnode.load(path)
    assert len(gfnode.load(path, step="1fs")) == 6


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
def test_a_cut_file_has_its_complete_steps_or_is_refused(tmp_path, cut):
    frames, forces = made()
    path = tmp_path / "OUTCAR"
    text = outcar(frames, forces)
    end = int(cut * text.index(" General timing"))
    path.write_text(text[:end] or "\n")
    if end < text.index("    total drift"):
        with pytest.raises(InputError, match="OUTCAR: holds no complete step"):
            gfnode.load(path)
        return
    read = gfnode.load(path, whole=False)
    assert any("did not finish" in note for note in read.notes)
    np.testing.assert_allclose(
        read.positions, [each.positions for each in frames[: len(read)]], atol=6e-6
    )
    np.testing.assert_allclose(read.forces / ELECTRONVOLT, forces[: len(read)], atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("VRHFIN =O: s2p4", "VRHFIN =Xx: s2p4", "expected an element symbol"),
        ("VRHFIN =O: s2p4", "", "names 2 elements .* and 3 numbers of atoms"),
        ("ions per type =               1   1   3", "ions per type = 1 1 2", "frame 0 does not"),
        ("direct lattice vectors  ", "", "no cell"),
        ("TOTAL-FORCE (eV/Angst)", "TOTAL-FORCE (eV/Angst) (ML)", "machine-learned.*vasprun.xml"),
        ("TOTAL-FORCE", "FORCE", "holds no complete step"),
        ("POTIM  = 1.0000", "POTIM  = ******", "POTIM is not a number"),
        ("POTIM  = 1.0000", "", "POTIM is not a number"),
        ("IBRION =      0", "IBRION =      x", "no times: give --step"),
    ],
)
def test_what_is_wrong_is_named(write, old, new, said):
    text = outcar(*made())
    assert old in text
    with pytest.raises(InputError, match=said):
        gfnode.load(write(text.replace(old, new)))


def test_forces_that_overflow_their_columns(write):
    frames, forces = made(2)
    text = outcar(frames, forces)
    number = f"{forces[1, 2, 0]:14.6f}"
    assert text.count(number) == 1
    with pytest.raises(InputError, match="frame 1 holds no positions and forces"):
        gfnode.load(write(text.replace(number, "*" * 14)))


@given(st.binary(min_size=1, max_size=300))
@settings(max_examples=50, deadline=None, suppress_health_check=SLOW)
def test_bytes_of_all_kinds(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("vasp") / "OUTCAR"
    path.write_bytes(content)
    with pytest.raises(InputError, match="OUTCAR: holds no complete step"):
        gfnode.load(path)


def test_it_is_converted(write, tmp_path):
    path = write(outcar(*made()))
    works("convert", path, tmp_path / "run.npz")
    ours, again = gfnode.load(path), gfnode.load(tmp_path / "run.npz", whole=False)
    np.testing.assert_array_equal(again.positions, ours.positions)
    np.testing.assert_array_equal(again.forces, ours.forces)
