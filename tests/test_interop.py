"""Trajectories to and from mdtraj, ASE and MDAnalysis: made-up ones, and real files."""

import pickle
import sys
import warnings
from dataclasses import replace

import ase
import ase.io
import MDAnalysis
import mdtraj
import numpy as np
import pytest
from ase import units
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from MDAnalysis.transformations import translate
from MDAnalysisTests.datafiles import DCD, GRO, PSF, TRR, XTC, PDB_multiframe

import gfnode
from gfnode.errors import InputError
from gfnode.interop.mdanalysis import GuessedElementsWarning
from gfnode.interop.mdtraj import MadeUpTimesWarning
from gfnode.trajectory import Topology, Trajectory

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:MDAnalysis")

LIBRARIES = ("mdtraj", "ase", "mdanalysis")
WORDS = st.text("ABCHNOXYZ0123456789'*", min_size=1, max_size=4)


def single(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(float(np.float32(low)), float(np.float32(high)), width=32)


@st.composite
def topologies(draw, atoms: int) -> Topology:
    residues = draw(st.lists(st.tuples(WORDS, st.integers(0, 9999)), min_size=1, max_size=3))
    residues = [each for i, each in enumerate(residues) if i == 0 or each != residues[i - 1]]
    belongs = sorted(
        draw(st.lists(st.sampled_from(range(len(residues))), min_size=atoms, max_size=atoms))
    )
    index = st.integers(0, atoms - 1)
    pairs = draw(st.sets(st.tuples(index, index).filter(lambda p: p[0] < p[1]), max_size=6))
    return Topology(
        tuple(draw(st.lists(WORDS, min_size=atoms, max_size=atoms))),
        tuple(residues[i][0] for i in belongs),
        tuple(residues[i][1] for i in belongs),
        np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2),
    )


@st.composite
def trajectories(draw) -> Trajectory:
    frames, atoms = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    shape = (frames, atoms, 3)
    gaps = draw(st.lists(st.integers(1, 10**9), min_size=frames, max_size=frames))
    cell = None
    if draw(st.booleans()):
        # rows a along x, b in the xy plane, c anywhere above it
        cell = np.tile(np.diag(draw(st.tuples(*[single(5, 100)] * 3))), (frames, 1, 1))
        cell[:, [1, 2, 2], [0, 0, 1]] = draw(arrays.arrays(np.float32, 3, elements=single(-4, 4)))
        cell *= np.linspace(1, 1.1, frames)[:, None, None]
    return Trajectory(
        draw(arrays.arrays(np.float32, shape, elements=single(-900, 900))),
        np.cumsum(gaps) * 1e-3,
        draw(
            st.lists(st.sampled_from([1, 6, 7, 8, 17, 20, 29, 80]), min_size=atoms, max_size=atoms)
        ),
        velocities=draw(st.none() | arrays.arrays(np.float32, shape, elements=single(-0.1, 0.1))),
        forces=draw(st.none() | arrays.arrays(np.float32, shape, elements=single(-0.1, 0.1))),
        cell=cell,
        topology=draw(st.none() | topologies(atoms)),
        name=draw(st.sampled_from(["", "some <molecule>"])),
    )


def there_and_back(trajectory: Trajectory, library: str) -> Trajectory:
    other = getattr(trajectory, f"to_{library}")()
    return getattr(Trajectory, f"from_{library}")(other)


@pytest.mark.parametrize("library", LIBRARIES)
@settings(max_examples=60, deadline=None)
@given(trajectory=trajectories())
def test_there_and_back(library, trajectory):
    back = there_and_back(trajectory, library)
    np.testing.assert_array_equal(back.numbers, trajectory.numbers)
    np.testing.assert_array_max_ulp(back.times * 1e3, np.rint(trajectory.times * 1e3), 1)
    ulps = 2 if library == "mdtraj" else 0
    np.testing.assert_allclose(back.positions, trajectory.positions, rtol=ulps * 2**-23, atol=1e-37)
    for key in ("velocities", "forces"):
        mine, found = getattr(trajectory, key), getattr(back, key)
        if mine is None or library == "mdtraj":
            assert found is None
        else:
            np.testing.assert_allclose(found, mine, rtol=2e-7, atol=1e-37)
    if trajectory.cell is None:
        assert back.cell is None
    else:
        # mdtraj stores angles, in degrees and single precision
        atol = 2**-21 * float(np.abs(trajectory.cell).max())
        np.testing.assert_allclose(back.cell, trajectory.cell, rtol=2**-22, atol=atol)
    if trajectory.topology is None:
        assert back.topology is None or set(back.topology.residue_names) == {"MOL"}
    else:
        for key in ("names", "residue_names", "residue_ids"):
            assert getattr(back.topology, key) == getattr(trajectory.topology, key)
        np.testing.assert_array_equal(back.topology.bonds, trajectory.topology.bonds)
    if library == "ase":
        assert back.name == trajectory.name


TOLUENE = gfnode.load("sample:toluene")[:40:4]
UNEVEN = TOLUENE[[0, 1, 5, 9]]


def test_mdtraj_has_its_own_units():
    there = TOLUENE.to_mdtraj()
    np.testing.assert_allclose(there.xyz * 10, TOLUENE.positions, rtol=3e-7)
    np.testing.assert_allclose(there.time, np.arange(10) * 0.02, rtol=1e-12)
    assert [atom.element.symbol for atom in there.topology.atoms] == list(TOLUENE.symbols)
    distances = np.linalg.norm(TOLUENE.positions[:, 0] - TOLUENE.positions[:, 1], axis=1)
    np.testing.assert_allclose(
        10 * mdtraj.compute_distances(there, [[0, 1]])[:, 0], distances, rtol=1e-5
    )


def test_ase_has_its_own_units():
    there = TOLUENE.to_ase()
    assert [atoms.info["time_fs"] for atoms in there] == TOLUENE.times.tolist()
    expected = [each.temperature() for each in TOLUENE]
    np.testing.assert_allclose([atoms.get_temperature() for atoms in there], expected, rtol=1e-4)
    assert not there[0].pbc.any()


def test_mdanalysis_has_its_own_units():
    there = UNEVEN.to_mdanalysis()
    assert [ts.time for ts in there.trajectory] == pytest.approx([0, 0.02, 0.1, 0.18])
    assert there.trajectory.dt == pytest.approx(0.02)
    there.trajectory[2]
    np.testing.assert_allclose(there.atoms.velocities, 1000 * UNEVEN.velocities[2], rtol=1e-6)
    np.testing.assert_array_equal(
        there.select_atoms("element H").ix, np.flatnonzero(UNEVEN.numbers == 1)
    )
    assert there.atoms.total_mass() == pytest.approx(UNEVEN.masses.sum())


def test_forces_that_mdanalysis_reads_from_a_file(tmp_path):
    forces = np.random.default_rng(0).normal(size=UNEVEN.positions.shape).astype(np.float32)
    pushed = replace(UNEVEN, forces=1e-3 * forces)
    pushed.save(tmp_path / "forces.trr")
    TOLUENE[:1].save(tmp_path / "first.pdb")
    universe = MDAnalysis.Universe(str(tmp_path / "first.pdb"), str(tmp_path / "forces.trr"))
    read = Trajectory.from_mdanalysis(universe)
    np.testing.assert_allclose(read.forces, pushed.forces, rtol=1e-6)


def test_a_universe_is_a_copy_and_keeps_its_times():
    there = UNEVEN.to_mdanalysis()
    for other in (there.copy(), pickle.loads(pickle.dumps(there))):
        assert [ts.time for ts in other.trajectory] == pytest.approx([0, 0.02, 0.1, 0.18])
    there.trajectory.add_transformations(translate([1, 0, 0]))
    assert there.trajectory[3].positions[0, 0] == pytest.approx(UNEVEN.positions[3, 0, 0] + 1)
    np.testing.assert_array_equal(UNEVEN.positions[0], gfnode.load("sample:toluene").positions[0])


def test_frames_of_mdanalysis():
    there = TOLUENE.to_mdanalysis()
    there.trajectory[7]
    assert Trajectory.from_mdanalysis(there, stride=3).times.tolist() == [0, 60, 120, 180]
    assert there.trajectory.frame == 7
    for stride in (0, 1.5, True):
        with pytest.raises(InputError, match=f"stride is {stride}, expected a whole number"):
            Trajectory.from_mdanalysis(there, stride=stride)
    assert Trajectory.from_mdanalysis(there, frames=slice(2, 8), stride=2).times.tolist() == [
        40,
        80,
        120,
    ]
    mask = np.arange(10) % 3 == 1
    for chosen in (mask, np.flatnonzero(mask)):
        found = Trajectory.from_mdanalysis(there, frames=chosen, stride=np.int64(2))
        assert np.array_equal(found.times, Trajectory.from_mdanalysis(there).times[mask][::2])
    for wrong in (3, "all", [0.5], mask[:4]):
        with pytest.raises(InputError, match=r"frames are .*, expected a slice, frame numbers"):
            Trajectory.from_mdanalysis(there, frames=wrong)
    stepped = Trajectory.from_mdanalysis(there, frames=[1, 4], step="2ps")
    assert stepped.times.tolist() == [2000, 8000]
    carbons = Trajectory.from_mdanalysis(there.select_atoms("element C"))
    np.testing.assert_array_equal(carbons.positions, TOLUENE.select(range(7)).positions)
    for bad, message in [
        ({"frames": [10]}, "no frame 10: expected 0 to 9"),
        ({"frames": slice(20, 30)}, "selects none of the 10 frames"),
        ({"stride": 0}, "stride is 0"),
        ({"step": "0fs"}, "the time step is 0fs"),
        ({"frames": [3, 1]}, "times must increase"),
    ]:
        with pytest.raises(InputError, match=message):
            Trajectory.from_mdanalysis(there, **bad)
    with pytest.raises(InputError, match="holds no atoms"):
        Trajectory.from_mdanalysis(there.select_atoms("element Xe"))


@pytest.mark.parametrize("library", ["mdtraj", "mdanalysis"])
@pytest.mark.parametrize(
    "cell",
    [
        np.diag([20.0, 20.0, 0.0]),
        np.diag([20.0, 20.0, -20.0]),
        [[0, 20, 0], [20, 0, 0], [0, 0, 20]],
        [[20, 1, 0], [0, 20, 0], [0, 0, 20]],
    ],
    ids=["in part", "left-handed", "swapped", "turned"],
)
def test_cells_that_lengths_and_angles_cannot_hold(library, cell):
    whole = np.tile(np.diag([20.0, 20.0, 20.0]), (10, 1, 1))
    whole[3] = cell
    with pytest.raises(
        InputError, match=r"toluene: .* fully periodic cell .*; that of frame 3 is not"
    ):
        getattr(replace(TOLUENE, cell=whole), f"to_{library}")()
    back = Trajectory.from_ase(replace(TOLUENE, cell=whole).to_ase())
    np.testing.assert_array_equal(back.cell, whole.astype(np.float32))


def test_frames_without_times():
    there = mdtraj.Trajectory(TOLUENE.positions / 10, TOLUENE.to_mdtraj().topology)
    with pytest.raises(InputError, match="the 10 frames from mdtraj have no times: give step="):
        Trajectory.from_mdtraj(there)
    assert Trajectory.from_mdtraj(there, step="5fs").step == 5
    assert Trajectory.from_mdtraj(there[0]).times.tolist() == [0]
    universe = MDAnalysis.Universe(PDB_multiframe)
    with pytest.raises(InputError, match="the 24 frames from MDAnalysis have no times"):
        Trajectory.from_mdanalysis(universe)
    assert Trajectory.from_mdanalysis(universe, step="1ps").spacing == 1000
    with pytest.raises(InputError, match="the 2 frames from ASE have no times"):
        Trajectory.from_ase([ase.Atoms("H"), ase.Atoms("H")])


@pytest.mark.parametrize("what", [3, None, "molecule.pdb", TOLUENE])
def test_other_things_than_those_of_a_library_are_refused(what):
    said = f"got {type(what).__name__}; use gfnode.load"
    with pytest.raises(InputError, match=f"expected an mdtraj.Trajectory, {said}"):
        Trajectory.from_mdtraj(what)
    pytest.importorskip("MDAnalysis")
    with pytest.raises(InputError, match=f"expected a Universe or an AtomGroup, {said}"):
        Trajectory.from_mdanalysis(what)


def test_what_ase_may_hold():
    first, second = (ase.Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]) for _ in range(2))
    with pytest.raises(InputError, match="no frames came from ASE"):
        Trajectory.from_ase([])
    with pytest.raises(InputError, match=r"expected ase\.Atoms, got str; use gfnode"):
        Trajectory.from_ase("molecule.xyz")
    with pytest.raises(InputError, match=r"expected ase\.Atoms, got int"):
        Trajectory.from_ase([first, 3])
    for nothing in (0, None):
        with pytest.raises(InputError, match=r"expected ase\.Atoms, got (int|NoneType)"):
            Trajectory.from_ase(nothing)
    with pytest.raises(InputError, match="frame 1 from ASE holds OC, the first one CO"):
        Trajectory.from_ase([first, ase.Atoms("OC")])
    first.info["time_ps"] = 1.0
    with pytest.raises(InputError, match=r"frame 1 from ASE has no info\['time_ps'\]"):
        Trajectory.from_ase([first, second])
    second.info["time_ps"] = "soon"
    with pytest.raises(InputError, match=r"frame 1 from ASE: .* is 'soon', expected a number"):
        Trajectory.from_ase([first, second])
    second.info["time_ps"] = 1.5
    second.set_velocities([[0, 0, 0.1], [0, 0, 0]])
    read = Trajectory.from_ase(iter([first, second]), name="CO")
    assert (read.times.tolist(), read.label) == ([1000, 1500], "CO")
    np.testing.assert_allclose(read.velocities[:, 0, 2], [0, 0.1 * units.fs], rtol=1e-6)
    second.set_array("momenta", None)
    for each in (first, second):
        each.set_array("velocities", np.full((2, 3), 0.2))
    read = Trajectory.from_ase([first, second])
    np.testing.assert_allclose(read.velocities, 0.2 * units.fs, rtol=1e-6)
    first.info["bonds"] = [[0.5, 1]]
    with pytest.raises(InputError, match="expected index pairs"):
        Trajectory.from_ase(first)


def test_ase_frames_without_momenta_among_others_are_said_to_rest():
    frames = TOLUENE[:3].to_ase()
    assert Trajectory.from_ase(frames).notes == ()
    frames[1].arrays.pop("momenta")
    found = Trajectory.from_ase(frames)
    assert not found.velocities[1].any()
    assert found.velocities[0].any()
    assert found.notes == (
        "ASE: 1 of 3 frames store no momenta (the first is frame 1): their atoms are taken to be "
        "at rest, as ASE stores it",
    )


def test_forces_come_from_ase_where_they_are_at_hand():
    moving = replace(TOLUENE, forces=np.random.default_rng(0).normal(size=TOLUENE.positions.shape))
    there = moving.to_ase()
    np.testing.assert_allclose(Trajectory.from_ase(there).forces, moving.forces, rtol=1e-5)
    assert there[0].get_forces()[0, 0] * 9.648533e-3 == pytest.approx(moving.forces[0, 0, 0])
    there[3].positions[0] += 0.1  # they were those of other positions
    assert Trajectory.from_ase(there).forces is None
    assert Trajectory.from_ase(TOLUENE.to_ase()).forces is None


def test_forces_of_data_sets_for_potentials_are_arrays_of_other_names():
    frames = TOLUENE.to_ase()
    given = np.random.default_rng(0).normal(size=TOLUENE.positions.shape)
    for atoms, forces in zip(frames, given, strict=True):
        atoms.set_array("REF_forces", forces)
    read = Trajectory.from_ase(frames)
    np.testing.assert_allclose(read.forces, given * 9.648533e-3, rtol=1e-5, atol=1e-9)
    assert "column REF_forces is read as forces, in eV/Å" in " ".join(read.notes)
    del frames[-1].arrays["REF_forces"]
    assert Trajectory.from_ase(frames).forces is None


def test_a_unit_that_ase_keeps_beside_a_time_counts(tmp_path):
    frames = TOLUENE[3:6].to_ase()
    for atoms in frames:
        atoms.info["time"] = f"{atoms.info.pop('time_fs') / 1000} ps"
    ase.io.write(tmp_path / "a.extxyz", frames)
    text = (tmp_path / "a.extxyz").read_text().replace('"', " ").replace("Lattice=", "box=")
    assert " ps " in text
    (tmp_path / "a.extxyz").write_text(text)
    read = ase.io.read(tmp_path / "a.extxyz", ":", format="extxyz")
    np.testing.assert_allclose(Trajectory.from_ase(read).times, TOLUENE.times[3:6])


def test_a_file_that_ase_dynamics_wrote(tmp_path):
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.md.verlet import VelocityVerlet

    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    atoms.set_velocities(np.random.default_rng(0).normal(size=(4, 3)) * 2e-3 / units.fs)
    path = tmp_path / "copper.traj"
    with (
        ase.io.Trajectory(path, "w", atoms) as file,
        VelocityVerlet(atoms, 2 * units.fs) as dynamics,
    ):
        dynamics.attach(file.write, interval=1)
        dynamics.run(20)
    with ase.io.Trajectory(path) as file:
        read = Trajectory.from_ase(file, step="2fs")
    assert len(read) == 21
    np.testing.assert_array_equal(read.cell[7], atoms.cell.array.astype(np.float32))
    # forces are what changes the velocities, which are the slope of the positions
    second = (read.positions[2:] - 2 * read.positions[1:-1] + read.positions[:-2]) / 4.0
    expected = second * read.masses[:, None]
    np.testing.assert_allclose(read.forces[1:-1], expected, atol=0.02 * np.abs(expected).max())
    slope = (read.positions[2:] - read.positions[:-2]) / 4.0
    np.testing.assert_allclose(read.velocities[1:-1], slope, atol=3e-5)
    assert np.abs(slope).max() > 1e-3


@pytest.fixture(scope="module")
def adk() -> MDAnalysis.Universe:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return MDAnalysis.Universe(PSF, DCD)


def test_a_protein_without_elements(adk):
    with pytest.warns(GuessedElementsWarning, match="3341 of 3341 atoms; .* C1040H1685N289O320S7"):
        whole = Trajectory.from_mdanalysis(adk, frames=slice(0, 98, 20))
    read = mdtraj.load(DCD, top=PSF, stride=20)
    np.testing.assert_allclose(whole.positions, read.xyz * 10, rtol=1e-6, atol=1e-5)
    assert list(whole.numbers) == [atom.element.atomic_number for atom in read.topology.atoms]
    ids = [atom.residue.resSeq for atom in read.topology.atoms]
    assert list(whole.topology.residue_ids) == ids
    assert whole.topology.names[:5] == ("N", "HT1", "HT2", "HT3", "CA")
    assert set(map(tuple, whole.topology.bonds.tolist())) == {
        tuple(sorted((a.index, b.index))) for a, b in read.topology.bonds
    }
    np.testing.assert_allclose(np.diff(whole.times), 20_000, rtol=1e-6)  # as CHARMM's header has it
    again = there_and_back(whole, "mdanalysis")
    np.testing.assert_array_equal(again.topology.bonds, whole.topology.bonds)
    assert again.topology.residue_ids == whole.topology.residue_ids


def test_the_alpha_carbons_of_a_protein(adk):
    with pytest.warns(GuessedElementsWarning, match="C214$"):
        chain = Trajectory.from_mdanalysis(adk.select_atoms("name CA"), frames=[0])
    assert len(chain.topology.bonds) == 213
    assert set(chain.topology.names) == {"CA"}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_triclinic_cell_with_velocities():
    universe = MDAnalysis.Universe(GRO, TRR)
    protein = universe.select_atoms("protein")
    read = Trajectory.from_mdanalysis(protein, frames=[0, 3, 9])
    with mdtraj.open(TRR) as file:
        _, time, _, box, _ = file.read()
    np.testing.assert_allclose(read.cell, 10 * box[[0, 3, 9]], atol=1e-4)
    np.testing.assert_allclose(read.times, 1000 * time[[0, 3, 9]], rtol=1e-7)
    assert 190 < read.temperature() < 300  # constrained bonds, counted over 3N
    assert read.forces is None  # a TRR may hold them, this one does not
    back = there_and_back(read, "mdanalysis")
    np.testing.assert_allclose(back.cell, read.cell, atol=2e-5)
    np.testing.assert_allclose(back.velocities, read.velocities, rtol=2e-7)
    with pytest.raises(InputError, match=r"the element of atom 3344 \('MW', 0 u\) is unknown"):
        Trajectory.from_mdanalysis(universe)


def test_times_that_mdtraj_may_have_made_up(tmp_path):
    """Readers of formats without times number the frames: 0, 1, 2, … ps."""
    TOLUENE.to_mdtraj().save(str(tmp_path / "a.pdb"))
    read = mdtraj.load(str(tmp_path / "a.pdb"))
    with pytest.warns(MadeUpTimesWarning, match=r"0, 1, 2, … ps, .* step='2fs'"):
        found = Trajectory.from_mdtraj(read)
    assert found.step == 1000
    assert "step=" in found.notes[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Trajectory.from_mdtraj(read, step="1ps").notes == ()
        assert Trajectory.from_mdtraj(read[0]).notes == ()
        read.time = read.time * 2
        assert Trajectory.from_mdtraj(read).step == 2000


def test_times_in_single_precision():
    with mdtraj.open(XTC) as file:
        _, time, _, _ = file.read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = Trajectory.from_mdanalysis(MDAnalysis.Universe(GRO, XTC).select_atoms("name CA"))
    np.testing.assert_allclose(read.times, 1000 * time, rtol=1e-7)
    frames = mdtraj.Trajectory(
        TOLUENE.positions / 10, TOLUENE.to_mdtraj().topology, time=np.arange(10, dtype="f4") / 10
    )
    assert Trajectory.from_mdtraj(frames).times.tolist() == [100.0 * i for i in range(10)]


@pytest.mark.parametrize(
    ("names", "masses", "numbers"),
    [
        (["CA", "HA"], [40.08, 1.008], [20, 1]),  # calcium, not Cα
        (["CA", "HA"], [8.979, 4.032], [6, 1]),  # hydrogens made heavy, at the cost of carbon
        (["CA", "OXT"], [0.0, 0.0], [6, 8]),
    ],
)
def test_elements_from_masses_and_names(names, masses, numbers):
    universe = MDAnalysis.Universe.empty(2, trajectory=True)
    universe.add_TopologyAttr("names", names)
    universe.add_TopologyAttr("masses", masses)
    with pytest.warns(GuessedElementsWarning):
        assert Trajectory.from_mdanalysis(universe).numbers.tolist() == numbers


def test_elements_that_nothing_tells():
    universe = MDAnalysis.Universe.empty(2, trajectory=True)
    with pytest.raises(InputError, match=r"element of atom 0 \('', 0 u\) is unknown: set it with"):
        Trajectory.from_mdanalysis(universe)
    topology = TOLUENE.to_mdtraj().topology
    topology.atom(3).element = None
    with pytest.raises(InputError, match=r"mdtraj: atom 3 .* has no known element"):
        Trajectory.from_mdtraj(mdtraj.Trajectory(TOLUENE.positions / 10, topology))
    with pytest.raises(InputError, match="has no topology"):
        Trajectory.from_mdtraj(mdtraj.Trajectory(TOLUENE.positions / 10, None))


def test_without_mdanalysis(monkeypatch):
    monkeypatch.setitem(sys.modules, "MDAnalysis", None)
    for call in (TOLUENE.to_mdanalysis, lambda: Trajectory.from_mdanalysis(None)):
        with pytest.raises(InputError, match=r"pip install 'gfnode\[mdanalysis\]'"):
            call()


class TestObjectsOfOtherLibraries:
    """Handed over as they are: what was got, what is expected, and how to get there."""

    @pytest.fixture(scope="class")
    @staticmethod
    def run(tmp_path_factory) -> gfnode.Run:
        changes = {"training.epochs": 1, "windows.most": (20, 10, 10), "model.newton": False}
        folder = tmp_path_factory.mktemp("foreign") / "run"
        sample = gfnode.load("sample:toluene")[:400]
        return gfnode.fit(sample, changes=changes, out=folder, progress=False)

    @staticmethod
    def refused(made, kind: str) -> None:
        with pytest.raises(InputError) as error:
            made()
        for word in (f"got {kind}, expected", "from_ase", "from_mdtraj", "from_mdanalysis"):
            assert word in str(error.value)

    @pytest.mark.parametrize("kind", ["mdtraj", "ndarray", "ase", "list", "number"])
    def test_where_trajectories_are_expected(self, run, kind, tmp_path):
        sample = gfnode.load("sample:toluene")[:3]
        frames, name = {
            "mdtraj": (sample.to_mdtraj(), "mdtraj.core.trajectory.Trajectory"),
            "ndarray": (np.zeros((3, 3)), "numpy.ndarray"),
            "ase": (sample.to_ase()[0], "ase.atoms.Atoms"),
            "list": (sample.to_ase(), "ase.atoms.Atoms"),
            "number": (3, "int"),
        }[kind]
        one = "list" if kind == "list" else name
        self.refused(lambda: gfnode.fit(frames, out=tmp_path / "run", progress=False), name)
        self.refused(lambda: run.evaluate(frames), name)
        self.refused(lambda: run.physics(frames), name)
        self.refused(lambda: run.predict(frames, [100.0]), one)
        self.refused(lambda: run.rollout(frames, 100.0, tmp_path / "a.npz"), one)
        self.refused(lambda: gfnode.load(frames), one)

    def test_a_topology_in_memory(self, tmp_path):
        sample = gfnode.load("sample:toluene")[:3]
        sample.save(tmp_path / "run.xtc")
        topology = sample.to_mdtraj().topology
        self.refused(
            lambda: gfnode.load(tmp_path / "run.xtc", top=topology),
            "mdtraj.core.topology.Topology",
        )
