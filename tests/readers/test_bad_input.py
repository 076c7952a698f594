"""Each bad input leaves as one InputError that names the file, what is wrong and the remedy."""

import os
import shutil
import sys
import textwrap
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfnode.errors import InputError
from gfnode.readers import FORMATS, isolated, load, save, topology
from gfnode.readers.formats import OWN
from gfnode.trajectory import Trajectory
from processes import python

ETHANOL = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One good file of each format, of 11 atoms (XTC compresses more than 9) and 6 frames."""
    path = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(5)
    trajectory = Trajectory(
        rng.normal(size=(6, 11, 3)), np.arange(6) * 100.0, [6, 6, 6, *[1] * 8], name="propane"
    )
    for suffix in OWN:
        if suffix != ".h5" or _tables():
            save(trajectory, path / f"run{suffix}")
    return path


def _tables():
    from importlib.util import find_spec

    return find_spec("tables") is not None


def options(path, top):
    return {
        **({"top": top} if FORMATS[path.suffix].needs_top else {}),
        **({"step": "2fs"} if path.suffix in (".dcd", ".pdb") else {}),
    }


def refused(path, *messages, **given):
    with pytest.raises(InputError) as caught:
        load(path, **given)
    said = str(caught.value)
    assert "\n" not in said
    for message in messages:
        assert message in said
    return said


def loaded(path, **given):
    """Return the trajectory, or None where it is refused with the file's name."""
    try:
        return load(path, **given)
    except InputError as error:
        if str(path) not in str(error):
            raise
    return None


# paths and arguments


def test_missing_file(folder, tmp_path):
    refused(folder / "run.npx", "no such file", f"did you mean {folder / 'run.npz'}?")
    refused(tmp_path / "else.npz", f"no such file in the folder {tmp_path}")
    far = tmp_path / "no" / "such" / "run.npz"
    refused(far, f"the folder {far.parent} does not exist ({tmp_path} does)")


def test_folder_empty_file_unknown_suffix(tmp_path):
    refused(tmp_path, "is a folder, expected a file")
    for suffix in OWN:
        (tmp_path / f"a{suffix}").touch()
        refused(tmp_path / f"a{suffix}", f"a{suffix}: the file is empty")
    for name in ("run.abc", "run"):
        (tmp_path / name).write_text("x")
        refused(tmp_path / name, "unknown format", ".npz", ".xtc", ".pdb")


def test_formats_that_another_program_converts(tmp_path):
    for name in ("run.g96", "run.G96", "run.tng"):
        (tmp_path / name).write_text("TITLE\n")
        refused(tmp_path / name, "not read", f"gmx trjconv -f {name}", "-o run.trr")


def test_unknown_sample():
    refused("sample:water", "unknown sample sample:water: expected sample:toluene")


@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".dcd", ".nc"])
def test_topology_is_needed(folder, tmp_path, suffix):
    path = folder / f"run{suffix}"
    refused(path, "store no elements", "--top molecule.pdb")
    refused(path, "no.pdb: no such file", top=tmp_path / "no.pdb")
    bad = tmp_path / "bad.pdb"
    bad.write_bytes(b"\xff\xfe\x00nonsense")
    refused(path, "bad.pdb: no topology can be read", top=bad, step=1)
    (tmp_path / "bad.xyz").write_text("1\n\nH 0 0 0\n")
    refused(path, "bad.xyz: no topology can be read", top=tmp_path / "bad.xyz")


def test_topologies_that_cannot_be_read_have_a_remedy(folder, tmp_path, monkeypatch, capfd):
    """A topology of GROMACS, say; mdtraj answers with its list of suffixes, cut off."""
    path = folder / "run.xtc"
    (top := tmp_path / "run.top").write_text("[ system ]\n")
    words = ("run.top: no topology can be read from .top: expected .pdb", "convert it to PDB")
    refused(path, *words, "a column element or mass", top=top)
    (top := tmp_path / "md.tpr").write_bytes(b"\x00\x00\x00\x0dVERSION 2022.5")
    refused(path, "convert it to PDB (gmx editconf -f md.tpr -o md.pdb)", top=top)
    (top := tmp_path / "molecule.mol2").write_text("@<TRIPOS>MOLECULE\n")
    monkeypatch.setitem(sys.modules, "pandas", None)
    refused(path, "molecule.mol2: mol2 files need pandas: pip install pandas", top=top)
    assert capfd.readouterr() == ("", "")


def test_hdf5_is_a_topology_by_either_suffix(folder, tmp_path):
    pytest.importorskip("tables")
    shutil.copy(folder / "run.h5", tmp_path / "run.hdf5")
    assert len(load(folder / "run.xtc", top=tmp_path / "run.hdf5")) == 6


def test_every_topology_of_mdtraj_is_tried():
    from mdtraj.core.trajectory import _TOPOLOGY_EXTS

    known = {each for each in _TOPOLOGY_EXTS if not each.endswith(".gz")}
    assert known <= {*topology.READ, ".lh5"}


@pytest.mark.parametrize("suffix", [".npz", ".xyz", ".pdb"])
def test_topology_is_not_ignored(folder, suffix):
    refused(folder / f"run{suffix}", "leave out --top", top=folder / "run.pdb")


def test_an_npz_without_elements_wants_a_mapping_beside_its_topology(folder, tmp_path):
    np.savez(tmp_path / "mine.npz", coords=load(folder / "run.npz").positions)
    said = refused(tmp_path / "mine.npz", "matches no known layout", top=folder / "run.pdb")
    assert "--map positions=coords" in said


@pytest.mark.parametrize("step", ["0fs", -1, float("nan"), float("inf")])
def test_step_must_be_a_time_ahead(folder, step):
    refused(folder / "run.npz", step=step)


@pytest.mark.parametrize("suffix", [".dcd", ".pdb"])
def test_formats_without_times(folder, suffix):
    path = folder / f"run{suffix}"
    given = {"top": folder / "run.pdb"} if suffix == ".dcd" else {}
    refused(path, "stores no times: give --step", "--step 2fs", **given)


def test_a_single_frame_needs_no_step(folder):
    one = save(load(folder / "run.npz")[3], folder / "one.pdb")
    assert load(one).times.tolist() == [0]


@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".dcd", ".nc"])
def test_atom_counts_disagree(folder, tmp_path, suffix):
    small = save(load(folder / "run.npz")[0].select(range(10)), tmp_path / "small.pdb")
    refused(
        folder / f"run{suffix}",
        "has 11 atoms, but its topology",
        "has 10",
        **{"top": small, "step": 1},
    )


# damaged files


@pytest.mark.parametrize("suffix", [".npz", ".xtc", ".trr", ".dcd", ".nc", ".traj", ".h5"])
def test_truncated_binary(folder, tmp_path, suffix):
    if suffix == ".h5" and not _tables():
        pytest.skip("needs PyTables")
    path = folder / f"run{suffix}"
    given, raw = options(path, folder / "run.pdb"), path.read_bytes()
    whole = load(path, **given)
    cut = tmp_path / path.name
    for length in np.linspace(1, len(raw) - 1, 12 if suffix == ".h5" else 150, dtype=int):
        cut.write_bytes(raw[:length])
        if (
            (part := loaded(cut, **given)) is not None
        ):  # a cut between two frames leaves a whole file; DCD alone says how many it had
            assert suffix in (".xtc", ".trr", ".dcd", ".nc", ".traj")
            if suffix == ".traj":  # room for the places of further frames
                assert len(part) == len(whole)
                continue
            assert suffix != ".dcd" or "its header says 6" in part.notes[-1]
            assert len(part) < len(whole)
            np.testing.assert_array_equal(part.positions, whole.positions[: len(part)])


@pytest.mark.parametrize("suffix", [".xyz", ".lammpstrj", ".pdb"])
def test_truncated_text(folder, tmp_path, suffix):
    path = folder / f"run{suffix}"
    given, raw = options(path, None), path.read_text()
    whole = load(path, **given)
    cut = tmp_path / path.name
    for length in np.linspace(1, len(raw) - 1, 150, dtype=int):
        cut.write_text(raw[:length])
        if (part := loaded(cut, **given)) is not None:
            np.testing.assert_array_equal(part.positions, whole.positions[: len(part)])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bit_flips_in_npz(folder, tmp_path, data):
    good = load(folder / "run.npz")
    raw = bytearray((folder / "run.npz").read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "flipped.npz"
    path.write_bytes(raw)
    if (
        got := loaded(path)
    ) is not None:  # a flip in a date or another field that says nothing of the data
        assert got.fingerprint == good.fingerprint
        assert got.name == good.name


@pytest.mark.parametrize(
    ("suffix", "trials"),
    [(".xtc", 80), (".trr", 200), (".dcd", 200), (".nc", 200), (".traj", 200), (".h5", 40)],
)
def test_bit_flips_in_other_binaries(folder, tmp_path, suffix, trials):
    """These have no checksum, or not of everything: a flip may pass as another number.

    It never crashes or hangs, though the decoders of XTC and HDF5 that run below would.
    """
    path = folder / f"run{suffix}"
    program = f"""
        import signal, sys
        import numpy as np
        from pathlib import Path
        from gfnode.errors import InputError
        from gfnode.readers import isolation, load
        isolation.PATIENCE = 5
        raw, rng = Path({str(path)!r}).read_bytes(), np.random.default_rng(0)
        flipped = Path({str(tmp_path / path.name)!r})
        for trial in range({trials}):
            # half of the flips in the first 200 bytes, where the heads are
            byte = rng.integers(200 if trial % 2 else len(raw))
            bad = bytearray(raw)
            bad[byte] ^= 1 << rng.integers(8)
            flipped.write_bytes(bad)
            signal.alarm(10)
            try:
                load(flipped, **{options(path, str(folder / "run.pdb"))!r})
            except InputError as error:
                assert str(flipped) in str(error), error
        """
    done = python("-W", "error", "-c", textwrap.dedent(program))
    assert done.stdout == done.stderr == "", "the libraries below must keep quiet"


@pytest.mark.parametrize("damage", ["flip", "cut"])
@pytest.mark.parametrize("suffix", [".pdb", ".gro", ".psf"])
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_topologies(folder, tmp_path, suffix, damage, data):
    """They are read, or refused with their name; no number is checked by these formats."""
    good = tmp_path / f"good{suffix}"
    if not good.exists():
        write_topology(folder, good)
    raw = bytearray(good.read_bytes())
    if damage == "cut":
        raw = raw[: data.draw(st.integers(1, len(raw) - 1))]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    bad = tmp_path / f"bad{suffix}"
    bad.write_bytes(raw)
    try:
        got = load(folder / "run.dcd", top=bad, step=1)
    except InputError as error:
        assert str(bad) in str(error) or "run.dcd" in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert got.n_atoms == 11


def write_topology(folder, path):
    """Propane as PDB, GRO, or (CHARMM's) PSF."""
    if path.suffix == ".psf":
        atoms = "".join(
            f"{i + 1:8d} A    1    LIG  {name:4s} CT    0.000000 {mass:13.4f}           0\n"
            for i, (name, mass) in enumerate([("C", 12.011)] * 3 + [("H", 1.008)] * 8)
        )
        bonds = "       1       2       2       3\n"
        head = "PSF\n\n       1 !NTITLE\n REMARKS propane\n\n      11 !NATOM\n"
        path.write_text(f"{head}{atoms}\n       2 !NBOND: bonds\n{bonds}\n")
    else:
        import mdtraj

        mdtraj.load(folder / "run.pdb")[0].save(str(path))


def test_a_decoder_that_crashes_or_hangs_is_an_error(tmp_path):
    def crash():
        yield {"a": np.arange(3)}
        os.kill(os.getpid(), 11)
        yield {}

    def hang():
        import time

        time.sleep(60)
        yield {}

    def fail():
        yield {}
        raise ValueError("first line\nsecond line")

    for work, message, patience in [
        (crash, "it crashed", 60),
        (hang, "does not finish", 0.2),
        (fail, "ValueError: first line", 60),
    ]:
        with pytest.raises(InputError, match=f"run.xtc: damaged: .*{message}"):
            list(isolated(tmp_path / "run.xtc", "damaged", work, patience))
    left = isolated(tmp_path / "run.xtc", "damaged", crash)
    assert next(left)["a"].tolist() == [0, 1, 2]
    left.close()
    with pytest.raises(ChildProcessError):  # every child is gone
        os.waitpid(-1, os.WNOHANG)


def test_numbers_outside_the_range_of_the_head_are_refused(folder, tmp_path):
    """XTC's head names the least and largest coordinate: damage that reaches beyond is found."""
    raw = bytearray((folder / "run.xtc").read_bytes())
    least = int.from_bytes(raw[60:64], "big", signed=True)
    raw[60:64] = (least - 40).to_bytes(4, "big", signed=True)
    (tmp_path / "bad.xtc").write_bytes(raw)
    refused(tmp_path / "bad.xtc", "frame 0 is damaged", top=folder / "run.pdb")


# npz


def ethanol(frames=4, **changes):
    rng = np.random.default_rng(2)
    return {"R": rng.normal(size=(frames, 9, 3)), "z": ETHANOL} | changes


NAN = ethanol()["R"]
NAN[2, 3] = np.nan


@pytest.mark.parametrize(
    ("arrays", "messages"),
    [
        (
            {"x": np.zeros(3), "y": [1]},
            ["holds x 3, y 1", "MD17: R, z", "rMD17: coords", "gfnode: "],
        ),
        (
            ethanol(R=np.zeros((4, 8, 3))),
            ["array R (positions) has shape (4, 8, 3), expected (4, 9, 3)"],
        ),
        (ethanol(R=np.zeros(())), ["array R (positions) has shape ()"]),
        (ethanol(R=np.zeros((4, 27))), ["has shape (4, 27)", "save R.reshape(-1, 9, 3)"]),
        (ethanol(R=np.full((4, 9, 3), "a")), ["array R (positions) holds <U1 values"]),
        (ethanol(F=np.zeros((3, 9, 3))), ["array F (forces) has shape (3, 9, 3)"]),
        (ethanol(R=np.zeros((0, 9, 3))), ["empty: 0 frames"]),
        (ethanol(R=NAN), ["positions are not finite at frame 2, atom 3", "remove or repair"]),
        (
            ethanol(z=[6, 6, 8, 1, 1, 1, 1, 1, 0]),
            ["array z: unknown element: atomic number 0", "atom 8"],
        ),
        (ethanol(z=[*"CCOHHHHH", "Q"]), ["array z: atom 8 is 'Q', expected an element symbol"]),
        (ethanol(z=[b"\xff"] * 9), ["array z: atom 0 is "]),
        (
            ethanol(z=[True] * 9),
            ["array z holds bool values, expected atomic numbers or element symbols"],
        ),
        (ethanol(z=ETHANOL[None, None]), ["array z has shape (1, 1, 9), expected (atom,)"]),
        (ethanol(z=np.stack([ETHANOL, ETHANOL[::-1]] * 2)), ["array z", "frame 1 differs"]),
        (ethanol(z=ETHANOL[:, None]), ["array z has shape (9, 1), expected (atom,)"]),
        (ethanol(r_unit="furlong"), ["r_unit is 'furlong', expected one of angstrom"]),
        (ethanol(z=[6] * 9), ["not an MD17 or MD22 molecule", "give --step"]),
        (ethanol(name="benzene2018_dft", z=[6] * 9), ["benzene2018_dft is not an"]),
    ],
)
def test_bad_arrays(tmp_path, arrays, messages):
    np.savez(tmp_path / "bad.npz", **arrays)
    refused(tmp_path / "bad.npz", "bad.npz: ", *messages)


def test_object_arrays_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    np.savez(tmp_path / "trap.npz", R=np.array([Trap()], dtype=object), z=[1])
    refused(tmp_path / "trap.npz", "trap.npz", "array R holds Python objects, which gfnode never")
    np.savez(tmp_path / "trap.npz", **ethanol(z=np.array([Trap()] * 9)))
    refused(tmp_path / "trap.npz", "array z holds Python objects", "z.astype(str)")
    refused(tmp_path / "trap.npz", "array z holds", mapping="positions=R,numbers=z")
    np.savez(tmp_path / "trap.npz", x=ethanol()["R"], Z=ETHANOL, name=np.array([Trap()]))
    refused(
        tmp_path / "trap.npz", "perhaps --map positions=x:angstrom,numbers=Z"
    )  # name is not needed
    np.savez(tmp_path / "trap.npz", **ethanol(name=np.array([Trap()])))
    assert load(tmp_path / "trap.npz").formula == "C2H6O"
    np.save(tmp_path / "trap", np.array([Trap()], dtype=object), allow_pickle=True)
    (tmp_path / "trap.npy").rename(tmp_path / "npy.npz")
    refused(tmp_path / "npy.npz", "not an npz file")
    assert not (tmp_path / "sprung").exists()


def test_zip_that_holds_no_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        archive.writestr("R.npy", "hello")
        archive.writestr("z.npy", "hello")
    refused(tmp_path / "odd.npz", "odd.npz", "is not a NumPy array")
    with zipfile.ZipFile(tmp_path / "none.npz", "w"):
        pass
    refused(tmp_path / "none.npz", "holds nothing")


RMD17 = {"coords": ethanol()["R"], "nuclear_charges": ETHANOL}


@pytest.mark.parametrize(
    "indices",
    [[0, 1, 2], [0, 1, 2, -3], [0.0, 1.0, 2.0, 3.0], [[0, 1, 2, 3]], ["a", "b", "c", "d"]],
)
def test_bad_old_indices(tmp_path, indices):
    np.savez(tmp_path / "bad.npz", **RMD17, old_indices=indices)
    refused(tmp_path / "bad.npz", "old_indices are", "expected one whole number")


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"version": 2}, ["has version 2, but this gfnode reads up to 1", "update gfnode"]),
        ({"version": "new"}, ["has version new"]),
        ({"format": "gromacs"}, ["the format is 'gromacs', expected 'gfnode trajectory'"]),
        (
            {"times": [0, 1, 1, 2, 3, 4]},
            ["repeated times: frame 2", "gfnode convert FILE NEW"],
        ),
        ({"times": [0, 2, 1, 3, 4, 5]}, ["unsorted times: frame 2", "Sort"]),
        ({"times": ["a"] * 6}, ["array times holds <U1 values"]),
        ({"times": [0, 1]}, ["positions has shape (6, 11, 3), expected (2, 11, 3)"]),
        ({"times": 3.0}, ["bad.npz"]),
        ({"time_step": [1.0, 2.0], "time_step_unit": "fs"}, ["bad.npz"]),
        ({"names": ["C"]}, ["bad.npz", "residue_names"]),
        ({"positions_scale": np.nan}, ["positions are not finite"]),
        ({"positions_scale": [1, 2]}, ["bad.npz"]),
    ],
)
def test_bad_own_layout(folder, tmp_path, changes, messages):
    with np.load(folder / "run.npz") as stored:
        np.savez(tmp_path / "bad.npz", **dict(stored) | changes)
    refused(tmp_path / "bad.npz", *messages)


# text


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("1\n\nH 0 0 0\n1\n\nH 0 0 1\n", ["stores no times: give --step"]),
        (
            "1\ntime_fs=0\nH 0 0 0\n1\n\nH 0 0 1\n",
            ["frame 1 has no time_fs, but the first one has"],
        ),
        ("1\ntime=soon\nH 0 0 0\n", ["time is not a number"]),
        ("1\ntime=1\nH 0 0 0\n1\ntime=1\nH 0 0 1\n", ["all 2 frames are at 1 fs"]),
        ("1\n\nXq 0 0 0\n", ["atom 0 of frame 0 is called Xq, which is not an element", "Xq"]),
        ("1\n\nH 0 nan 0\n", ["positions are not finite at frame 0"]),
        (
            "1\nProperties=species:S:1:pos:R:3:forces:R:3\nH 0 nan 0 0 0 0\n",
            ["positions are not finite at frame 0, atom 0", "remove or repair"],
        ),
        (
            "1\nProperties=species:S:1:pos:R:3:forces:R:3\nH 0 0 0 0 0 nan\n",
            ["forces are not finite at frame 0, atom 0"],
        ),
        ("1\n\nH 0 zero 0\n", ["frame 0 is not valid XYZ"]),
        ("1\n\nH 0 0\n", ["frame 0 is not valid XYZ"]),
        ("2\n\nH 0 0 0\n", ["ends inside frame 0: 1 of 2 atoms"]),
        ("1\n\nH 0 0 0.12", ["the last line has no newline"]),
        ("0\n\n", ["begins with '0', expected the number of atoms"]),
        ("hello\n", ["begins with 'hello'"]),
        ("1\n\nH 0 0 0\n\n1\n\nH 0 0 1\n", ["a blank line precedes frame 1"]),
        ("1\n\nH 0 0 0\n2\n\nH 0 0 0\nH 0 0 1\n", ["frame 1 has 2 atoms, the first one 1"]),
        ("1\ntime=0\nH 0 0 0\n1\ntime=1\nO 0 0 0\n", ["frame 1 holds O, the first one H"]),
    ],
)
def test_bad_xyz(tmp_path, text, messages):
    (tmp_path / "bad.xyz").write_text(text)
    refused(tmp_path / "bad.xyz", "bad.xyz: ", *messages)


def test_unknown_element_in_pdb(tmp_path):
    line = "HETATM    1  Q1  MOL A   1       0.000   0.000   0.000  1.00  0.00          {}\nEND\n"
    for element in ("  ", "VS"):
        (tmp_path / "bad.pdb").write_text(line.format(element))
        refused(tmp_path / "bad.pdb", "atom 0", "no known element", "columns 77-78")


# writing


def test_writing_where_one_cannot(folder, tmp_path):
    run = load(folder / "run.npz")
    for path, message in [
        (tmp_path / "no" / "run.npz", "does not exist"),
        (tmp_path / "run.abc", "unknown format .abc: expected .npz"),
        (tmp_path, "unknown format"),
        (folder / "run.npz" / "run.npz", "does not exist"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            save(run, path)
        assert str(path) in str(caught.value)
    (tmp_path / "sub.npz").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        save(run, tmp_path / "sub.npz")
    with pytest.raises(InputError, match=r"only .npz files take a precision \(0.1 given\)"):
        save(run, tmp_path / "run.xtc", precision=0.1)
    for precision in (0, -1, np.nan, np.inf):
        with pytest.raises(InputError, match="expected a length above zero"):
            save(run, tmp_path / "run.npz", precision=precision)
    with pytest.raises(InputError, match="too large for 1e-30 Å"):
        save(run, tmp_path / "run.npz", precision=1e-30)


@pytest.mark.parametrize(
    "suffix",
    [".npz", ".extxyz", ".xtc", ".trr", ".dcd", ".nc", ".lammpstrj", ".traj", ".h5", ".pdb"],
)
def test_full_disk_leaves_the_old_file(folder, tmp_path, suffix):
    """A limit on the size of files stands in for a full disk."""
    if suffix == ".h5" and not _tables():
        pytest.skip("needs PyTables")
    path = tmp_path / f"run{suffix}"
    path.write_text("old")
    program = f"""
        import resource, signal
        from gfnode.errors import InputError
        from gfnode.readers import load, save
        run = load({str(folder / "run.npz")!r})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
        try:
            save(run, {str(path)!r})
        except InputError as error:
            print(error)
        """
    done = python("-c", textwrap.dedent(program))
    assert f"{path}: cannot be written" in done.stdout, done.stdout + done.stderr
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_warnings_of_libraries_stay_inside(folder):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in folder.glob("run.*"):
            load(path, **options(path, folder / "run.pdb"))
    assert not caught
