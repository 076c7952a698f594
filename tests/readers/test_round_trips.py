"""What is written comes back, to the precision that each format promises."""

import io
import warnings
import zipfile
from dataclasses import replace

import ase.io
import MDAnalysis
import mdtraj
import numpy as np
import pytest
from ase import units
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfnode.errors import InputError
from gfnode.readers import FORMATS, load, save
from gfnode.trajectory import Topology, Trajectory
from gfnode.trajectory.mdtraj import from_mdtraj

ROUNDING = {
    ".npz": 0,
    ".extxyz": 1e-8,
    ".xyz": 1e-8,
    ".xtc": 0.0051,
    ".trr": 0,
    ".dcd": 0,
    ".nc": 0,
    ".lammpstrj": 0,
    ".traj": 0,
}
ROUNDING |= {".h5": 0, ".pdb": 0.00051}
TIMED = (".npz", ".extxyz", ".xyz", ".xtc", ".trr", ".nc", ".lammpstrj", ".traj", ".h5")
FAST = (".npz", ".extxyz", ".xtc", ".trr", ".dcd", ".nc", ".lammpstrj", ".traj")
EXACT = (".npz", ".extxyz", ".xyz", ".lammpstrj", ".traj")
settings.register_profile(
    "files",
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def trajectories(draw):
    frames, atoms = draw(st.integers(1, 6)), draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([0.1, 3.0, 40.0]))
    # whole attoseconds of any spacing: what float32 ps can tell apart up to 100 ps
    times = np.cumsum(rng.integers(20, 2000, frames)) * 0.5
    cell = None
    if draw(st.booleans()):
        cell = np.tile(np.diag([30, 31, 32]) + np.tril(rng.normal(size=(3, 3)), -1), (frames, 1, 1))
    topology = None
    if draw(st.booleans()):
        bonds = np.array([[i, i + 1] for i in range(atoms - 1)]).reshape(-1, 2)
        names = tuple(f"X{i}" for i in range(atoms))
        residues = tuple(i // 5 + 1 for i in range(atoms))
        topology = Topology(names, ("LIG",) * atoms, residues, bonds)
    return Trajectory(
        rng.normal(size=(frames, atoms, 3)) * spread,
        times,
        rng.integers(1, 90, atoms),
        velocities=rng.normal(size=(frames, atoms, 3)) * 0.02 if draw(st.booleans()) else None,
        cell=cell,
        deviations=rng.random((frames, atoms)) if draw(st.booleans()) else None,
        topology=topology,
        time_step=draw(st.sampled_from([None, 0.5])),
        name=draw(st.sampled_from(["", "toluène 1"])),
        source="made up",
    )


def reopen(path, **options):
    suffix = path.suffix
    if FORMATS[suffix].needs_top:
        options["top"] = path.with_suffix(".pdb")
    if suffix not in TIMED:
        options["step"] = "2fs"
    return load(path, whole=False, **options)  # these molecules are larger than their cells


@pytest.mark.parametrize("suffix", FAST)
@settings(settings.get_profile("files"))
@given(trajectory=trajectories())
def test_positions_times_elements(tmp_path, suffix, trajectory):
    for old in tmp_path.iterdir():
        old.unlink()
    path = save(trajectory, tmp_path / f"run{suffix}")
    check(trajectory, reopen(path), suffix)
    assert not list(tmp_path.glob(".*")), "temporary files are left"


@pytest.mark.parametrize("suffix", [".h5", ".pdb", ".xyz"])
@settings(settings.get_profile("files"), max_examples=5)
@given(trajectory=trajectories())
def test_positions_times_elements_slow_formats(tmp_path, suffix, trajectory):
    if suffix == ".h5":
        pytest.importorskip("tables")
    path = save(trajectory, tmp_path / f"run{suffix}")
    check(trajectory, reopen(path), suffix)


def check(wrote, got, suffix):
    scale = np.abs(wrote.positions).max()
    atol = ROUNDING[suffix] + 4e-7 * scale
    np.testing.assert_allclose(got.positions, wrote.positions, rtol=0, atol=atol)
    np.testing.assert_array_equal(got.numbers, wrote.numbers)
    if suffix in TIMED:
        rtol = 0 if suffix in EXACT else 1e-7
        np.testing.assert_allclose(got.times, wrote.times, rtol=rtol, atol=1e-12)
    else:
        np.testing.assert_array_equal(got.times, np.arange(len(wrote)) * 2)
    if FORMATS[suffix].holds.velocities and wrote.velocities is not None:
        atol = 1e-7 if suffix in (".extxyz", ".xyz") else 0
        np.testing.assert_allclose(got.velocities, wrote.velocities, rtol=3e-7, atol=atol)
    else:
        assert got.velocities is None
    if FORMATS[suffix].holds.deviations and suffix != ".pdb" and wrote.deviations is not None:
        np.testing.assert_allclose(got.deviations, wrote.deviations, atol=1e-7)
    else:
        assert got.deviations is None
    if wrote.cell is None:
        assert got.cell is None
    else:
        np.testing.assert_allclose(got.cell, wrote.cell, rtol=0, atol=2e-2)
    if wrote.topology is not None and FORMATS[suffix].holds.names:
        assert got.topology.names == wrote.topology.names
        assert got.topology.residue_ids == wrote.topology.residue_ids
        np.testing.assert_array_equal(got.topology.bonds, wrote.topology.bonds)


@settings(settings.get_profile("files"))
@given(trajectory=trajectories())
def test_own_npz_keeps_everything(tmp_path, trajectory):
    got = load(save(trajectory, tmp_path / "run.npz"), whole=False)
    assert got.fingerprint == trajectory.fingerprint
    for key in ("name", "source", "time_step"):
        assert getattr(got, key) == getattr(trajectory, key)
    np.testing.assert_array_equal(got.cell, trajectory.cell)
    np.testing.assert_array_equal(got.deviations, trajectory.deviations)


@settings(settings.get_profile("files"))
@given(trajectory=trajectories(), precision=st.sampled_from([1e-4, 1e-3, 0.03]))
def test_precision(tmp_path, trajectory, precision):
    path = save(trajectory, tmp_path / "run.npz", precision=precision)
    got = load(path, whole=False)
    float32 = 1e-7 * np.abs(trajectory.positions).max()
    error = np.abs(got.positions.astype(float) - trajectory.positions).max()
    assert error <= precision / 2 + float32
    if trajectory.velocities is not None:
        error = np.abs(got.velocities.astype(float) - trajectory.velocities).max()
        assert error <= precision / 200 + 1e-8
    with np.load(path) as stored:
        assert stored["positions"].dtype.kind == "i"
    again = load(save(got, tmp_path / "again.npz", precision=precision), whole=False)
    assert again.fingerprint == got.fingerprint, "rounding twice is rounding once"


def test_units_are_named_in_the_file_and_other_units_converted(tmp_path):
    trajectory = Trajectory(
        np.ones((2, 2, 3)), [0, 5], [1, 8], np.ones((2, 2, 3)), np.ones((2, 3, 3)), time_step=5
    )
    path = save(trajectory, tmp_path / "run.npz")
    with np.load(path) as stored:
        arrays = dict(stored)
    said = {key: str(value) for key, value in arrays.items() if key.endswith("_unit")}
    assert said == {
        "positions_unit": "angstrom",
        "velocities_unit": "angstrom/fs",
        "cell_unit": "angstrom",
        "times_unit": "fs",
        "time_step_unit": "fs",
    }
    arrays |= {"positions_unit": "nm", "times_unit": "ps", "velocities_unit": "nm/ps"}
    np.savez(tmp_path / "nm.npz", **arrays)
    got = load(tmp_path / "nm.npz")
    assert (got.positions == 10).all()
    assert got.times.tolist() == [0, 5000]
    np.testing.assert_allclose(got.velocities, 0.01)
    for key, unit in [("positions", "fs"), ("positions", ""), ("times", "nm"), ("cell", "parsec")]:
        np.savez(tmp_path / "odd.npz", **arrays | {f"{key}_unit": unit})
        with pytest.raises(InputError, match=rf"odd.npz: {key}_unit is '{unit}', expected one of"):
            load(tmp_path / "odd.npz")


def test_writing_is_reproducible(tmp_path):
    sample = load("sample:toluene")[:20]
    one = save(sample, tmp_path / "a.npz", precision=1e-3).read_bytes()
    assert one == save(sample, tmp_path / "b.npz", precision=1e-3).read_bytes()
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        assert archive.testzip() is None


# Other programs read what gfnode writes, and see the same numbers.


@pytest.fixture
def methane():
    rng = np.random.default_rng(3)
    return Trajectory(
        rng.normal(size=(4, 5, 3)),
        [0, 500, 2000, 2500],
        [6, 1, 1, 1, 1],
        velocities=rng.normal(size=(4, 5, 3)) * 0.01,
        cell=np.tile(np.diag([20, 21, 22]), (4, 1, 1)),
    )


def test_ase_reads_extxyz(tmp_path, methane):
    frames = ase.io.read(save(methane, tmp_path / "run.extxyz"), index=":")
    for i, atoms in enumerate(frames):
        np.testing.assert_allclose(atoms.positions, methane.positions[i], atol=1e-7)
        speeds = atoms.get_velocities() * units.fs
        np.testing.assert_allclose(speeds, methane.velocities[i], atol=1e-7)
        np.testing.assert_allclose(atoms.cell.lengths(), [20, 21, 22])
        assert atoms.info["time_fs"] == methane.times[i]
        assert atoms.pbc.all()


@pytest.mark.filterwarnings("ignore:.*netCDF4:UserWarning")  # mdtraj takes SciPy then
@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".dcd", ".nc", ".h5", ".pdb"])
def test_mdtraj_reads_the_others(tmp_path, methane, suffix):
    if suffix == ".h5":
        pytest.importorskip("tables")
    path = save(methane, tmp_path / f"run{suffix}")
    top = {} if suffix in (".h5", ".pdb") else {"top": tmp_path / "run.pdb"}
    frames = mdtraj.load(path, **top)
    np.testing.assert_allclose(frames.xyz * 10, methane.positions, atol=ROUNDING[suffix] + 1e-6)
    np.testing.assert_allclose(frames.unitcell_lengths * 10, [[20, 21, 22]] * 4, rtol=1e-5)
    if suffix in TIMED:
        np.testing.assert_allclose(frames.time, [0, 0.5, 2, 2.5])


def test_topology_beside_is_written_once(tmp_path, methane):
    save(methane[1:2], tmp_path / "run.pdb")
    before = (tmp_path / "run.pdb").read_bytes()
    save(methane, tmp_path / "run.xtc")
    assert (tmp_path / "run.pdb").read_bytes() == before


def test_partly_periodic_cell(tmp_path, methane):
    slab = Trajectory(
        methane.positions,
        methane.times,
        methane.numbers,
        cell=np.tile(np.diag([20.0, 21.0, 0.0]), (4, 1, 1)),
    )
    got = load(save(slab, tmp_path / "slab.extxyz"))
    np.testing.assert_array_equal(got.cell, slab.cell)
    assert ase.io.read(tmp_path / "slab.extxyz").pbc.tolist() == [True, True, False]
    save(slab, tmp_path / "slab.lammpstrj")
    got = load(tmp_path / "slab.lammpstrj")
    np.testing.assert_array_equal(got.cell, slab.cell)
    (tmp_path / "slab.lammpstrj").unlink()
    with pytest.raises(InputError, match=r"slab.xtc: .*fully periodic cell"):
        save(slab, tmp_path / "slab.xtc")
    assert [path.name for path in tmp_path.iterdir()] == ["slab.extxyz"]


@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".dcd", ".nc", ".lammpstrj", ".h5", ".pdb"])
def test_cells_that_lie_otherwise(tmp_path, methane, suffix):
    """Lengths and angles would bring it back along the axes, and the molecules not with it."""
    turned = np.tile([[0, 20.0, 0], [25, 0, 0], [0, 0, -30]], (4, 1, 1))
    molecule = replace(methane, cell=turned)
    with pytest.raises(InputError, match=rf"run{suffix}: .*a along x, .*frame 0 is not"):
        save(molecule, tmp_path / f"run{suffix}")
    got = load(save(molecule, tmp_path / "run.npz"), whole=False)
    np.testing.assert_array_equal(got.cell, turned)


def test_times_too_fine_for_float32(tmp_path):
    fine = Trajectory(np.zeros((2, 1, 3)), [1e9, 1e9 + 0.5], [1])
    for suffix in (".xtc", ".trr", ".nc"):
        with pytest.raises(
            InputError, match=r"too coarse to tell these frames apart; save as .npz"
        ):
            save(fine, tmp_path / f"run{suffix}")
    assert load(save(fine, tmp_path / "run.npz")).times[1] == 1e9 + 0.5


def test_short_decimals_survive_float32_times(tmp_path):
    even = Trajectory(np.zeros((500, 1, 3)), np.arange(500) * 100.0, [1])
    got = reopen(save(even, tmp_path / "run.xtc"))
    assert got.times.tolist() == even.times.tolist()
    assert got.spacing == 100


def test_step_overrides_stored_times(tmp_path, methane):
    for suffix in (".npz", ".extxyz", ".xtc", ".lammpstrj", ".traj"):
        path = save(methane, tmp_path / f"run{suffix}")
        got = reopen(path, step="0.25ps", name="gas")
        assert (got.times.tolist(), got.time_step, got.name) == ([0, 250, 500, 750], 250, "gas")


def test_trr_velocities_and_forces(tmp_path, methane):
    """Written here byte by byte, as GROMACS does."""
    save(methane, tmp_path / "top.pdb")
    kilojoules_per_nm = np.random.default_rng(0).normal(0, 500, methane.positions.shape)
    for real in (">f4", ">f8"):
        size = np.dtype(real).itemsize
        frames = b""
        for i, time in enumerate(methane.times):
            head = [1993, 13, 12]
            blocks = [0, 0, 9 * size, 0, 0, 0, 0, 15 * size, 15 * size, 15 * size, 5, i, 0]
            frames += np.array(head, ">i4").tobytes() + b"GMX_trn_file"
            frames += np.array(blocks, ">i4").tobytes()
            frames += np.array([time / 1000, 0], real).tobytes()
            frames += (methane.cell[i] / 10).astype(real).tobytes()
            frames += (methane.positions[i] / 10).astype(real).tobytes()
            frames += (methane.velocities[i] * 100).astype(real).tobytes()
            frames += kilojoules_per_nm[i].astype(real).tobytes()
        (tmp_path / "run.trr").write_bytes(frames)
        got = load(tmp_path / "run.trr", top=tmp_path / "top.pdb")
        np.testing.assert_allclose(got.positions, methane.positions, rtol=1e-6)
        np.testing.assert_allclose(got.velocities, methane.velocities, rtol=1e-6)
        # an atom of 1 u under 1 kJ/mol/nm gains 1 nm/ps in 1 ps: 10 Å/ps each ps
        np.testing.assert_allclose(got.forces, kilojoules_per_nm * 10 / 1000**2, rtol=1e-6)
        np.testing.assert_allclose(got.cell, methane.cell)
        np.testing.assert_array_equal(got.times, methane.times)
        seen = mdtraj.load(tmp_path / "run.trr", top=tmp_path / "top.pdb")
        np.testing.assert_allclose(seen.xyz * 10, got.positions, rtol=1e-6)


@pytest.mark.parametrize(
    "held", [(), ("velocities",), ("forces",), ("velocities", "forces", "cell")]
)
def test_trr_as_mdanalysis_reads_it(tmp_path, methane, held):
    forces = np.random.default_rng(0).normal(0, 0.01, methane.positions.shape)
    made = replace(methane, forces=forces)
    made = replace(made, **{k: None for k in ("velocities", "forces", "cell") if k not in held})
    path = save(made, tmp_path / "run.trr")
    ours = load(path, top=tmp_path / "run.pdb", whole=False)
    for key in ("velocities", "forces", "cell"):
        if key in held:
            np.testing.assert_allclose(getattr(ours, key), getattr(made, key), rtol=1e-6)
        else:
            assert getattr(ours, key) is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MDAnalysis.Universe(str(tmp_path / "run.pdb"), str(path))
        for frame, ts in zip(made, theirs.trajectory, strict=True):
            np.testing.assert_allclose(ts.positions, frame.positions[0], rtol=1e-6)
            assert ts.time == pytest.approx(frame.times[0] / 1000)
            assert ts.has_velocities == ("velocities" in held)
            assert ts.has_forces == ("forces" in held)
            if "velocities" in held:  # Å/ps
                np.testing.assert_allclose(ts.velocities, frame.velocities[0] * 1000, rtol=1e-6)
            if "forces" in held:  # kJ/mol/Å
                np.testing.assert_allclose(ts.forces, frame.forces[0] * 1e4, rtol=1e-6)
    seen = mdtraj.load(path, top=tmp_path / "run.pdb")
    np.testing.assert_allclose(seen.xyz * 10, made.positions, rtol=1e-6)
    assert (seen.unitcell_lengths is not None) == ("cell" in held)


@pytest.mark.parametrize("suffix", [".pdb", ".xtc"])
def test_a_calpha_trace_keeps_its_bonds(suffix, tmp_path):
    # PDB readers know the bonds of whole residues by heart, but not those along a trace
    numbers, x = np.full(4, 6), np.cumsum(np.full((2, 4, 3), 2.2), axis=1)
    trace = Topology(
        ("CA",) * 4, ("MET", "ALA", "LIG", "GLY"), (1, 2, 3, 4), np.array([[0, 1], [1, 2], [2, 3]])
    )
    written = save(Trajectory(x, [0.0, 2.0], numbers, topology=trace), tmp_path / f"ca{suffix}")
    assert reopen(written).topology.bonds.tolist() == trace.bonds.tolist()


@pytest.mark.parametrize("suffix", [".pdb", ".gro"])
def test_a_calpha_trace_without_bonds_is_joined_along_its_chains(suffix, tmp_path):
    """Not over a gap, nor from chain to chain; one that names its bonds keeps to them."""
    rows = [(1, "A"), (2, "A"), (4, "A"), (5, "B"), (6, "B")]
    path, ion = tmp_path / f"ca{suffix}", (7, "B")
    text = "".join(
        f"HETATM{i:5d} {name:>3s}  {residue:>3s} {chain}{number:4d}    "
        f"{3.8 * i:8.3f}{0:8.3f}{0:8.3f}\n"
        for i, (name, residue, (number, chain)) in enumerate(
            [*(("CA", "ALA", row) for row in rows), ("CA", "CA", ion)]
        )
    )
    joined = [[0, 1], [3, 4]]
    if suffix == ".gro":  # which has no chains
        lines = [
            f"{number:5d}{'ALA':<5s}{'CA':>5s}{i:5d}{0.38 * i:8.3f}{0:8.3f}{0:8.3f}\n"
            for i, (number, _) in enumerate(rows)
        ]
        text, joined = (
            "".join(["trace\n", "    5\n", *lines, " 9.0 9.0 9.0\n"]),
            [[0, 1], [2, 3], [3, 4]],
        )
    path.write_text(text)
    found = reopen(path)
    assert found.topology.bonds.tolist() == joined
    assert found.numbers.tolist()[:5] == [6] * 5
    if suffix == ".pdb":
        path.write_text(f"{text}CONECT    1    2\nEND\n")
        assert reopen(path).topology.bonds.tolist() == [[1, 2]]


def test_beads_without_an_element_are_no_trace():
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for number in (1, 2):
        topology.add_atom("CA", None, topology.add_residue("ALA", chain, resSeq=number))
    numbers, names = from_mdtraj(topology)
    assert numbers.tolist() == [0, 0]  # refused with a remedy by those who need elements
    assert not names.bonds.size


def test_a_pdb_lists_no_bonds_that_its_readers_know(tmp_path):
    names = ("N", "CA", "C", "O")
    whole = Topology(
        names * 2,
        ("ALA",) * 4 + ("GLY",) * 4,
        (1,) * 4 + (2,) * 4,
        np.array([[0, 1], [1, 2], [2, 3], [2, 4], [4, 5], [5, 6], [6, 7]]),
    )
    x = np.random.default_rng(0).normal(size=(1, 8, 3))
    path = save(Trajectory(x, [0.0], [7, 6, 6, 8] * 2, topology=whole), tmp_path / "two.pdb")
    assert "CONECT" not in path.read_text()
    assert reopen(path).topology.bonds.tolist() == whole.bonds.tolist()
