"""Selection, stride, blocks and memory: every way of reading gives the same numbers."""

import gc
import os
import re
import shlex
import textwrap
import warnings
from pathlib import Path

import MDAnalysis
import numpy as np
import pytest
from ase.data import chemical_symbols
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from MDAnalysisTests.datafiles import DCD, PSF

from gfnode import machine, memory
from gfnode.errors import InputError
from gfnode.readers import FORMATS, Reader, archive, load, save, source
from gfnode.readers.formats import OWN
from gfnode.readers.md17 import MD22, MOLECULES
from gfnode.readers.topology import read_topology
from gfnode.trajectory import Topology, Trajectory
from gfnode.units import ELECTRONVOLT, KCAL_MOL
from gfnode.windows import Frames
from processes import python

SUFFIXES = tuple(OWN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One file of each format: 23 frames of 14 atoms, with velocities where it has them."""
    path = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(8)
    trajectory = Trajectory(
        rng.normal(size=(23, 14, 3)) + np.arange(14)[:, None],
        np.arange(23) * 100.0,
        [6, 7, 8, 16, *[1] * 10],
        velocities=rng.normal(size=(23, 14, 3)) * 0.01,
        cell=np.tile(np.diag([50.0, 51, 52]), (23, 1, 1)),
        topology=Topology(
            tuple(f"A{i}" for i in range(14)), ("LIG",) * 14, (1,) * 14, np.array([[0, 1]])
        ),
    )
    for suffix in SUFFIXES:
        save(trajectory, path / f"run{suffix}")
    return path


def options(path):
    return {
        **({"top": path.with_suffix(".pdb")} if FORMATS[path.suffix].needs_top else {}),
        **({"step": "2fs"} if path.suffix in (".dcd", ".pdb") else {}),
    }


def same(one, other):
    for key in ("positions", "velocities", "cell", "times", "numbers"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key), key)
    assert (one.topology is None) == (other.topology is None)
    if one.topology is not None:
        assert one.topology.names == other.topology.names
        np.testing.assert_array_equal(one.topology.bonds, other.topology.bonds)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(
    deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    stride=st.integers(1, 30),
    atoms=st.lists(st.integers(0, 13), min_size=1, unique=True),
    block=st.integers(1, 300),
)
def test_all_ways_of_reading_agree(folder, suffix, stride, atoms, block):
    path = folder / f"run{suffix}"
    whole = load(path, whole=False, **options(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "BLOCK", block)
        patch.setattr(archive, "BLOCK", block)
        got = load(
            path,
            select=atoms,
            stride=stride,
            whole=False,
            memory=0 if block % 2 else None,
            **options(path),
        )
    same(got, whole[::stride].select(atoms))
    if len(got) > 1:
        assert got.step == whole.step * stride


def test_frames_drawn_at_random_keep_the_step_of_their_series(tmp_path):
    rng = np.random.default_rng(3)
    places = np.sort(rng.choice(2000, 200, replace=False))
    x = rng.normal(size=(200, 3, 3))
    numbers = np.array([8, 1, 1])
    path = Trajectory(x, 0.5 * places, numbers, time_step=0.5).save(tmp_path / "some.npz")
    assert load(path, stride=2).step == load(path)[::2].step == 0.5
    # of two replicas in a row, every second frame is two steps later
    times = np.concatenate([np.arange(100.0), 500 + np.arange(100.0)])
    path = Trajectory(x, times, numbers, time_step=1.0).save(tmp_path / "two.npz")
    assert load(path, stride=2).step == load(path)[::2].step == 2.0
    path = Trajectory(x[:1], [0.0], numbers, time_step=0.5).save(tmp_path / "one.npz")
    assert load(path, stride=2).step == load(path)[::2].step == 0.5


def test_a_map_on_disk_goes_all_the_way_without_a_copy(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GFNODE_MEMORY", "1kB")
    monkeypatch.setenv("GFNODE_SCRATCH", str(tmp_path))
    trajectory = load(folder / "run.npz")
    assert isinstance(trajectory.positions.base, np.memmap)
    frames = Frames.of([trajectory])
    assert frames.positions.data_ptr() == trajectory.positions.ctypes.data
    monkeypatch.delenv("GFNODE_MEMORY")
    plain = load(folder / "run.npz")
    assert not isinstance(plain.positions.base, np.memmap)
    same(plain, trajectory)
    assert plain.fingerprint == trajectory.fingerprint
    assert not list(tmp_path.iterdir()), "the file has no name, so that nothing is left behind"
    del trajectory, frames
    gc.collect()


def test_a_full_scratch_folder_is_an_error_and_not_a_crash(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GFNODE_SCRATCH", str(tmp_path / "no"))
    with pytest.raises(InputError, match=r"no: not enough space for .* set GFNODE_SCRATCH"):
        load(folder / "run.npz", memory=0)
    if not hasattr(os, "posix_fallocate"):
        return
    monkeypatch.setenv("GFNODE_SCRATCH", str(tmp_path))
    with pytest.raises(
        InputError, match=r"not enough space for 4e\+09 GB|not enough space for 4000000000.0 GB"
    ):
        memory.room((10**18,), 0)


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 5e8), ("2GiB", 2 * 1024**3), ("1e3", None), ("7", 7), (12.5, 12.5)]
)
def test_sizes_of_memory(text, size):
    if size is None:
        with pytest.raises(InputError, match="expected a size such as"):
            memory.limit(text)
    else:
        assert memory.limit(text) == size


def test_a_share_of_what_is_available():
    assert 1e6 < memory.limit() == pytest.approx(memory.SHARE * machine.available(), rel=0.2)


def test_memory_is_that_of_what_is_kept(tmp_path):
    """One atom of an npz that unpacks to 120 MB."""
    frames, atoms = 2000, 5000
    program = f"""
        import numpy as np
        folder = {str(tmp_path)!r}
        x = np.zeros(({frames}, {atoms}, 3), dtype=np.float32)
        x += np.arange({frames}, dtype=np.float32)[:, None, None]
        np.savez_compressed(folder + "/run.npz", coords=x, Z=np.full({atoms}, 6))
        """
    run(program)
    assert (tmp_path / "run.npz").stat().st_size < 3e6
    reading = f"""
        import resource
        from gfnode import load
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        got = load({str(tmp_path / "run.npz")!r}, mapping="positions=coords,numbers=Z",
                   select=[3], step=1)
        assert got.positions[:, 0, 0].tolist() == list(range({frames}))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """
    kilobytes = int(run(reading))
    assert kilobytes < 60e3, "half of the array"


def run(program):
    return python("-W", "error", "-c", textwrap.dedent(program)).stdout


@pytest.mark.parametrize("stride", [0, -1, 1.5, True])
def test_stride_is_a_whole_number(folder, stride):
    with pytest.raises(InputError, match="stride is"):
        load(folder / "run.npz", stride=stride)


def test_bad_numbers_are_named_as_in_the_file(tmp_path):
    x = np.zeros((9, 5, 3))
    x[6, 3] = np.nan
    np.savez(tmp_path / "run.npz", R=x, z=[6] * 5)
    with pytest.raises(InputError, match="positions are not finite at frame 6, atom 3"):
        load(tmp_path / "run.npz", select=[4, 3], stride=2, step=1)


# AdK, with MDAnalysis as the judge


@pytest.mark.parametrize(
    ("select", "theirs", "atoms"),
    [("all", "all", 3341), ("heavy", "prop mass > 2", 1656), ("name CA", "name CA", 214)],
)
@pytest.mark.parametrize("stride", [1, 9])
def test_adk(select, theirs, atoms, stride):
    got = load(DCD, top=PSF, step="1ps", select=select, stride=stride)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MDAnalysis speaks of its own future
        universe = MDAnalysis.Universe(PSF, DCD)
        group = universe.select_atoms(theirs)
        expected = np.stack([group.positions.copy() for _ in universe.trajectory[::stride]])
    np.testing.assert_array_equal(got.positions, expected)
    assert (got.n_atoms, got.spacing) == (atoms, 1000 * stride)
    np.testing.assert_allclose(got.masses, group.masses, atol=0.02)
    assert "adk.psf stores no elements: they were taken from the masses" in got.notes
    assert any("holds 98 complete frames, but its header says 500" in note for note in got.notes)


def test_dcd_proposes_the_step_of_its_head():
    with pytest.raises(InputError, match=r"--step 1ps if its header is right \(a frame every 1000"):
        load(DCD, top=PSF)


def test_psf_with_heavy_hydrogens(tmp_path):
    text = re.sub(r"\b1\.0080*\b", "3.02400", Path(PSF).read_text(encoding="ascii"))
    (tmp_path / "heavy.psf").write_text(text, encoding="ascii")
    plain, heavy = read_topology(Path(PSF)), read_topology(tmp_path / "heavy.psf")
    np.testing.assert_array_equal(heavy.numbers, plain.numbers)
    assert "those of 1685 atoms with unusual masses from their names" in heavy.notes[0]


WATER_AND_ION = """one methane, TIP4P water and ions
   10
    1MET      C    1   0.000   0.000   0.000
    1MET     H1    2   0.063   0.063   0.063
    1MET     H2    3  -0.063  -0.063   0.063
    1MET     H3    4  -0.063   0.063  -0.063
    2SOL     OW    5   1.000   0.000   0.000
    2SOL    HW1    6   1.096   0.000   0.000
    2SOL    HW2    7   0.976   0.093   0.000
    2SOL     MW    8   1.010   0.010   0.000
    3NA+     NA    9   2.000   0.000   0.000
    4CL-     CL   10   3.000   0.000   0.000
   5.0   5.0   5.0
"""


def in_water(folder: Path) -> tuple[Path, Path]:
    top, run = folder / "water.gro", folder / "water.xtc"
    top.write_text(WATER_AND_ION, encoding="ascii")
    x = np.random.default_rng(0).normal(size=(3, 10, 3))
    save(Trajectory(x, np.arange(3.0), [6, 1, 1, 1, 8, 1, 1, 1, 11, 17]), run)
    return run, top


def test_ions_are_known_by_their_residues(tmp_path):
    run, top = in_water(tmp_path)
    found = load(run, top=top, select="resname 'NA+' or resname 'CL-'")
    assert found.numbers.tolist() == [11, 17]
    said = "water.gro: ions are recognised by their residue names, NA+ for Na, CL- for Cl"
    assert said in found.notes


@pytest.mark.parametrize("form", ["{:<4}", " {:<3}"])
def test_elements_of_a_pdb_file_that_names_none(tmp_path, form):
    """Names that begin in the first column, where two-letter elements do, are no such elements."""
    names = {"GLU": ("N", "CA", "CD", "OE1", "HG2"), "MSE": ("CE", "SE"), "DA": ("P", "NE")}
    names |= {"HOH": ("OW", "HW1"), "CA": ("CA",), "MOL": ("C1",)}
    lines: list[str] = []
    for k, (residue, atoms) in enumerate(names.items()):
        for name in atoms:
            line = f"ATOM  {len(lines) + 1:5d} {form.format(name)} {residue:>3} A{k + 1:4d}    "
            lines.append(f"{line}{2.0 * len(lines):8.3f}   0.000   0.000  1.00  0.00      PEP")
    path = tmp_path / "none.pdb"
    path.write_text("\n".join([*lines, "END", ""]), encoding="ascii")
    found = [chemical_symbols[z] for z in load(path, select="all").numbers]
    assert found == ["N", "C", "C", "O", "H", "C", "Se", "P", "N", "O", "H", "Ca", "C"]
    for notes in (load(path, select="all").notes, read_topology(path).notes):
        assert any("stores no elements" in note and "guessed" in note for note in notes)
    assert read_topology(path).numbers.tolist() == load(path, select="all").numbers.tolist()


def test_beads_of_residues_with_one_letter_are_no_ions(tmp_path):
    top = tmp_path / "beads.gro"
    line = "{0:5d}{1:<5}   CA{0:5d}{2:8.3f}   0.000   0.000\n"
    beads = "".join(line.format(k + 1, name, 0.38 * k) for k, name in enumerate("KFI"))
    top.write_text(f"three beads\n    3\n{beads}   5.0   5.0   5.0\n", encoding="ascii")
    found = read_topology(top)
    assert found.topology.residue_names == ("K", "F", "I")
    assert not any("ions" in note for note in found.notes)


@pytest.mark.parametrize("suffix", [".gro", ".pdb"])
def test_elements_of_ligands_are_guessed_from_names(tmp_path, suffix):
    """The first letter of CL1, BR2, SI, SE1 or FE is another element; CA, CAD, NA are C and N."""
    names = ["C1", "CL1", "BR2", "SI", "SE1", "FE", "CAD", "OAE", "PB", "HN", "DU1"]
    rows = []
    for k, name in enumerate(names, 1):
        if suffix == ".gro":
            rows.append(f"{1:5d}LIG  {name:>5}{k:5d}{0.2 * k:8.3f}{0:8.3f}{0:8.3f}")
        else:
            rows.append(f"HETATM{k:5d}  {name:<3} LIG A   1    {2.0 * k:8.3f}{0:8.3f}{0:8.3f}")
    rows = ["ligand", str(len(names)), *rows, "5.0 5.0 5.0"] if suffix == ".gro" else [*rows, "END"]
    path = tmp_path / f"ligand{suffix}"
    path.write_text("\n".join([*rows, ""]), encoding="ascii")
    found = read_topology(path)
    assert [chemical_symbols[z] for z in found.numbers] == [
        *("C", "Cl", "Br", "Si", "Se", "Fe", "C", "O", "P", "H", "X")
    ]
    assert any("stores no elements" in note and "guessed" in note for note in found.notes)


def test_virtual_sites_are_refused_only_where_they_are_kept(tmp_path):
    run, top = in_water(tmp_path)
    found = load(run, top=top)
    assert found.formula == "CH3"
    assert any("reading 4 of 10 atoms" in note for note in found.notes)
    with pytest.raises(InputError, match=r"atom 7 \(HOH2-MW\) has no known element.*--select"):
        load(run, top=top, select="all")


def test_names_of_files_beyond_ascii(folder, tmp_path):
    there = tmp_path / "Läufe 分子"
    there.mkdir()
    plain = load(folder / "run.xtc", top=folder / "run.pdb")
    there.joinpath("ü.xtc").write_bytes((folder / "run.xtc").read_bytes())
    there.joinpath("ü.pdb").write_bytes((folder / "run.pdb").read_bytes())
    found = load(there / "ü.xtc", top=there / "ü.pdb")
    np.testing.assert_array_equal(found.positions, plain.positions)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_velocities_that_are_all_zero_are_left_out(tmp_path, suffix):
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    still = Trajectory(x, np.arange(4.0), [6, 8], velocities=np.zeros_like(x))
    found = load(save(still, tmp_path / f"run{suffix}"))
    assert found.velocities is None
    assert (
        f"run{suffix}: stored velocities are left out: all are zero although the atoms move"
        in found.notes[0]
    )
    alone = load(save(still[:1], tmp_path / f"start{suffix}"))  # a start at rest
    assert not alone.velocities.any()
    resting = Trajectory(x[[0, 0]], np.arange(2.0), [6, 8], velocities=np.zeros((2, 2, 3)))
    assert load(save(resting, tmp_path / "resting.npz")).velocities is not None


# npz of any layout


def arrays(**changes):
    rng = np.random.default_rng(4)
    made = {
        "conf": rng.normal(size=(6, 4, 3)),
        "species": np.array(["C", "H", "H", "O"]),
        "t": np.arange(6) * 0.5,
        "vel": rng.normal(size=(6, 4, 3)),
        "box": np.array([3.0, 4.0, 5.0]),
    }
    return made | changes


def test_mapping(tmp_path):
    made = arrays()
    np.savez(tmp_path / "run.npz", **made)
    text = "positions=conf:nm, numbers=species,times=t:ps,velocities=vel:nm/ps,cell=box:nm"
    got = load(tmp_path / "run.npz", mapping=text, whole=False)
    np.testing.assert_allclose(got.positions, made["conf"] * 10, rtol=1e-6)
    np.testing.assert_allclose(got.velocities, made["vel"] * 0.01, rtol=1e-6)
    assert got.times.tolist() == [0, 500, 1000, 1500, 2000, 2500]
    assert got.numbers.tolist() == [6, 1, 1, 8]
    np.testing.assert_array_equal(got.cell, np.tile(np.diag([30.0, 40, 50]), (6, 1, 1)))
    items = dict(item.strip().split("=") for item in text.split(","))
    same(got, load(tmp_path / "run.npz", mapping=items, whole=False))
    plain = load(tmp_path / "run.npz", mapping="positions=conf,numbers=species", step="2fs")
    np.testing.assert_array_equal(plain.positions, made["conf"].astype(np.float32))
    assert plain.spacing == 2


def test_mapping_with_a_topology_and_numbers_of_every_frame(tmp_path):
    made = arrays(species=np.tile([6, 1, 1, 8], (6, 1)))
    np.savez(tmp_path / "run.npz", **made)
    got = load(tmp_path / "run.npz", mapping="positions=conf,numbers=species,times=t:ps")
    assert got.formula == "CH2O"
    save(got[0], tmp_path / "top.pdb")
    named = load(tmp_path / "run.npz", mapping="positions=conf,times=t", top=tmp_path / "top.pdb")
    assert named.topology is not None
    np.testing.assert_array_equal(named.positions, got.positions)


@pytest.mark.parametrize(
    "numbers",
    [
        [*"CCOHHHHHH"],
        [b"c", b"C ", *[b"o"], *[b"H"] * 6],
        np.tile([6.0, 6, 8, 1, 1, 1, 1, 1, 1], (5, 1)),
        np.tile([*"CCOHHHHHH"], (5, 1)),
    ],
)
def test_symbols_and_numbers_of_every_frame_in_known_layouts(tmp_path, numbers):
    x = np.random.default_rng(0).normal(size=(5, 9, 3))
    np.savez(tmp_path / "run.npz", R=x, z=numbers)
    np.savez(tmp_path / "r.npz", coords=x, nuclear_charges=numbers, old_indices=np.arange(5))
    for name in ("run.npz", "r.npz"):
        assert load(tmp_path / name).numbers.tolist() == [6, 6, 8, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("other", [["conf"], ["vel"], ["conf", "vel"]])
@pytest.mark.parametrize("block", [1, 30, 2**18])
def test_arrays_in_the_other_order(tmp_path, monkeypatch, other, block):
    """Fortran's, of one array or of both, in one block or in many."""
    made = arrays()
    np.savez(tmp_path / "run.npz", **made | {key: np.asfortranarray(made[key]) for key in other})
    monkeypatch.setattr(archive, "BLOCK", block)
    mapping = "positions=conf,numbers=species,velocities=vel:nm/ps,times=t"
    for stride in (1, 4):
        got = load(tmp_path / "run.npz", mapping=mapping, stride=stride)
        np.testing.assert_array_equal(got.positions, made["conf"][::stride].astype(np.float32))
        np.testing.assert_allclose(got.velocities, made["vel"][::stride] / 100, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("positions", "expected what=array:unit"),
        ("position=conf,numbers=species", "did you mean positions?"),
        ("numbers=species", "names no positions"),
        ("positions=conf,positions=vel", "names positions twice"),
        (
            "positions=confs,numbers=species",
            "perhaps --map positions=conf:angstrom,numbers=species",
        ),
        ("positions=conf:inch,numbers=species", "'inch', expected one of angstrom"),
        ("positions=conf,numbers=species:nm", "numbers take no unit"),
        ("positions=conf", "add numbers="),
        ("positions=box,numbers=species,times=t", "array box (positions) has shape (3,)"),
        ("positions=conf,numbers=conf", "array conf has shape (6, 4, 3), expected (atom,)"),
        ("positions=conf,numbers=species,times=t,cell=t", "cell has shape (6,)"),
        ("positions=conf,numbers=t,times=t", "atomic number 0.0"),
        (
            "positions=conf,numbers=species,velocities=box,times=t",
            "array box (velocities) has shape (3,)",
        ),
    ],
)
def test_bad_mappings(tmp_path, text, message):
    np.savez(tmp_path / "run.npz", **arrays())
    with pytest.raises(InputError) as caught:
        load(tmp_path / "run.npz", mapping=text)
    assert message in str(caught.value)


def test_an_unknown_layout_proposes_a_mapping_that_works(tmp_path):
    np.savez(tmp_path / "run.npz", **arrays(box=np.eye(3)))
    with pytest.raises(InputError) as caught:
        load(tmp_path / "run.npz")
    line = (
        "positions=conf:angstrom,numbers=species,times=t:fs,velocities=vel:angstrom/fs,"
        "cell=box:angstrom"
    )
    told = "the unit of conf, t, vel and box is a guess: put in that of the file"
    assert f"perhaps --map {line}; {told}" in str(caught.value)
    assert "conf 6×4×3" in str(caught.value)
    assert len(load(tmp_path / "run.npz", mapping=line)) == 6
    np.savez(tmp_path / "run.npz", **arrays(species=np.array(["C", "Qq", "H", "O"])))
    with pytest.raises(
        InputError, match="array species: atom 1 is 'Qq', expected an element symbol"
    ):
        load(tmp_path / "run.npz", mapping="positions=conf,numbers=species")


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (
            {"conf": "coords_nm", "t": "time_ps", "vel": "vel_nm_per_ps", "box": "box_nm"},
            "positions=coords_nm:nm,numbers=species,times=time_ps:ps,velocities=vel_nm_per_ps:nm/ps",
        ),
        (
            {"conf": "x_ang", "t": "t_fs", "vel": "forces_ev_ang"},
            "positions=x_ang:angstrom,numbers=species,times=t_fs:fs,forces=forces_ev_ang:ev/angstrom",
        ),
        (
            {"conf": "R_bohr", "t": "energies", "vel": "Forces_Hartree_Bohr"},
            "positions=R_bohr:bohr,numbers=species,"
            "forces=Forces_Hartree_Bohr:hartree/bohr and --step",
        ),
        (
            {"conf": "positions_Angstrom", "t": "temperature", "vel": "f_kcal_mol_A"},
            "positions=positions_Angstrom:angstrom,numbers=species,"
            "forces=f_kcal_mol_A:kcal/mol/angstrom and --step",
        ),
    ],
)
def test_the_mapping_proposed_has_the_units_that_names_tell(tmp_path, names, line):
    made = {names.get(key, key): value for key, value in arrays().items()}
    made["species"] = np.tile(made["species"], (6, 1))
    np.savez(tmp_path / "run.npz", **made)
    with pytest.raises(InputError) as caught:
        load(tmp_path / "run.npz")
    assert f"perhaps --map {line}" in str(caught.value)
    assert "is a guess" not in str(caught.value)
    mapping, _, step = line.partition(" and ")
    got = load(tmp_path / "run.npz", mapping=mapping, step="1fs" if step else None)
    unit = {"nm": 10, "ang": 1, "Angstrom": 1, "bohr": 0.529177210903}[
        names["conf"].rpartition("_")[2]
    ]
    np.testing.assert_allclose(got.positions, made[names["conf"]] * unit, rtol=1e-6)


@pytest.mark.parametrize(
    ("what", "array", "unit", "factor"),
    [
        *(
            ("positions", "conf", each, 10)
            for each in ("nanometer", "Nanometers", "NM", "nanometre")
        ),
        *(("positions", "conf", each, 1) for each in ("Angstrom", "angstroms", "Å", "A", "\u212b")),
        ("positions", "conf", "Bohr", 0.529177210903),
        *(("times", "t", each, 1e3) for each in ("picosecond", "PS", "picoseconds")),
        *(("times", "t", each, 1) for each in ("femtoseconds", "Femtosecond")),
        ("velocities", "vel", "Angstrom / ps", 1e-3),
        ("velocities", "vel", "nanometers/picosecond", 1e-2),
        *(("forces", "vel", each, ELECTRONVOLT) for each in ("eV/A", "ev/ang", "eV/Angstrom")),
        *(("forces", "vel", each, KCAL_MOL) for each in ("kcal/mol/ang", "kcal/mol/Å")),
        ("forces", "vel", "Kcal/(mol*Angstrom)", KCAL_MOL),
        ("forces", "vel", "kJ/mol/nm", KCAL_MOL / 41.84),
        ("forces", "vel", "Ha/bohr", 4.961475e-1),
    ],
)
def test_usual_spellings_of_units(tmp_path, what, array, unit, factor):
    made = arrays(conf=np.random.default_rng(4).normal(size=(6, 4, 3)))
    np.savez(tmp_path / "run.npz", **made)
    mapping = {"positions": "conf", "numbers": "species", "times": "t"} | {what: f"{array}:{unit}"}
    got = load(tmp_path / "run.npz", mapping=mapping)
    np.testing.assert_allclose(getattr(got, what), made[array] * factor, rtol=1e-6)


def test_only_npz_takes_a_mapping(folder):
    with pytest.raises(InputError, match=r"run.xyz: only .npz files take a mapping"):
        load(folder / "run.xyz", mapping="positions=x,numbers=z")


@pytest.mark.parametrize("layout", ["MD17", "rMD17", "mapped"])
def test_positions_of_half_precision_are_told(tmp_path, layout):
    x = np.random.default_rng(0).uniform(2.0, 3.9, size=(5, 9, 3))  # steps of 2⁻⁹ Å there
    numbers = [6, 6, 8, 1, 1, 1, 1, 1, 1]
    given = {"mapping": "positions=x:nm,numbers=Z", "step": 1} if layout == "mapped" else {}
    for half in (True, False):
        positions = x.astype(np.float16 if half else np.float32)
        arrays = {
            "MD17": {"R": positions, "z": numbers},
            "rMD17": {"coords": positions, "nuclear_charges": numbers, "old_indices": range(5)},
            "mapped": {"x": positions, "Z": numbers},
        }[layout]
        np.savez(tmp_path / "run.npz", **arrays)
        found = load(tmp_path / "run.npz", **given)
        size = "0.02" if layout == "mapped" else "0.002"
        said = f"run.npz: positions are stored as float16, which resolves only about {size} Å; "
        assert any(note.startswith(said) for note in found.notes) is half


# MD22

SIZES = {
    "Ac-Ala3-NHMe": 42,
    "DHA": 56,
    "stachyose": 87,
    "AT-AT": 60,
    "AT-AT-CG-CG": 118,
    "buckyball-catcher": 148,
    "double-walled-nanotube": 370,
}


@pytest.mark.parametrize("molecule", sorted(SIZES))
def test_md22(tmp_path, molecule):
    from ase import Atoms

    numbers = Atoms(MD22[molecule]).numbers
    assert len(numbers) == SIZES[molecule]
    assert MD22[molecule] not in MOLECULES.values()
    positions = np.random.default_rng(0).normal(size=(3, len(numbers), 3))
    np.savez(tmp_path / "run.npz", R=positions, z=numbers)
    got = load(tmp_path / "run.npz")
    assert (got.step, got.name) == (1.0, molecule)
    np.savez(tmp_path / "run.npz", R=positions, z=numbers, name=molecule.lower())
    assert load(tmp_path / "run.npz").step == 1.0
    lines = ""
    for frame in positions:
        lines += f"{len(numbers)}\nProperties=species:S:1:pos:R:3 energy=-1.0\n"
        rows = zip(Atoms(numbers).symbols, frame, strict=True)
        lines += "".join(f"{s} {x:.8f} {y:.8f} {z:.8f}\n" for s, (x, y, z) in rows)
    (tmp_path / "run.xyz").write_text(lines)
    text = load(tmp_path / "run.xyz")
    assert (text.step, text.name) == (1.0, molecule)
    assert f"was recognised as {molecule} of MD22" in text.notes[0]
    np.testing.assert_allclose(text.positions, got.positions, atol=1e-6)
    assert load(tmp_path / "run.xyz", step=2).step == 2


# what a run remembers


def test_reader_remembers_and_is_written_as_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reader = Reader("a.pdb", "2fs", "name CA", 3, False, unit="nm", each_molecule=True)
    options = reader.options()
    assert options == {
        "top": str(tmp_path / "a.pdb"),
        "step": "2fs",
        "select": "name CA",
        "stride": 3,
        "whole": False,
        "unit": "nm",
        "each_molecule": True,
    }
    assert Reader.of(options).options() == options
    said = "--top a.pdb --step 2fs --select 'name CA' --stride 3 --as-stored --unit nm"
    said += " --each-molecule"
    assert reader.command() == said
    assert Reader(select=[np.int64(3), 0]).options() == {"select": [3, 0]}
    assert Reader(select=[3, 0]).command() == "--select 3,0"
    assert shlex.split(reader.command(anywhere=True))[:2] == ["--top", str(tmp_path / "a.pdb")]
    assert Reader(step="1fs").over(reader).options() == options | {"step": "1fs"}
    with pytest.raises(InputError, match="unknown reader options: code"):
        Reader.of({"code": 1})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Reader.of(options).command() == said.replace("a.pdb", str(tmp_path / "a.pdb"))


def test_frames_without_momenta_beside_others_are_said_to_rest(tmp_path: Path) -> None:
    """ASE leaves momenta out where all are zero."""
    from ase import Atoms
    from ase.io import write

    frames = [Atoms("CO", [[0, 0, 0], [0, 0, 1.1 + 0.01 * i]]) for i in range(4)]
    for i in (0, 3):
        frames[i].set_momenta(np.ones((2, 3)))
    write(tmp_path / "co.extxyz", frames)
    found = load(tmp_path / "co.extxyz", step=1.0)
    assert found.velocities is not None
    assert (found.velocities != 0).any((1, 2)).tolist() == [True, False, False, True]
    (note,) = found.notes
    assert "2 of 4 frames store no momenta (the first is frame 1)" in note


@pytest.mark.parametrize(("times", "shape"), [("v", r"\(5, 2, 3\)"), ("step", r"\(\)")])
def test_times_of_a_wrong_shape(tmp_path: Path, times: str, shape: str) -> None:
    x = np.random.default_rng(0).normal(size=(5, 2, 3))
    np.savez(tmp_path / "raw.npz", coords=x, Z=[6, 8], v=x, step=2.0)
    mapping = {"positions": "coords", "numbers": "Z", "times": times}
    with pytest.raises(InputError, match=rf"times have shape {shape}, expected \(frame,\)"):
        load(tmp_path / "raw.npz", mapping=mapping)


@pytest.mark.parametrize("kind", ["u4", "u8", "i1"])
def test_positions_in_whole_numbers(tmp_path: Path, kind: str) -> None:
    x = np.random.default_rng(0).integers(0, 9, (5, 2, 3)).astype(kind)
    np.savez(tmp_path / "raw.npz", coords=x, Z=[6, 8])
    found = load(tmp_path / "raw.npz", mapping="positions=coords,numbers=Z", step="1fs")
    np.testing.assert_array_equal(found.positions, x)


@pytest.mark.parametrize("frames", [0, 1, 2, 5, 6, 17])
def test_pieces_hold_every_interval_once(frames, monkeypatch):
    monkeypatch.setattr(memory, "CHUNK", 5 * 3 * 4)  # five frames of four atoms
    found = list(memory.pieces(frames, 4))
    assert all(end - begin <= 5 for begin, end in found)
    intervals = [k for begin, end in found for k in range(begin, end - 1)]
    assert intervals == list(range(frames - 1))
    assert {k for begin, end in found for k in range(begin, end)} == set(range(frames))
