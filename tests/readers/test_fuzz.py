"""Random bytes, truncations, flips and overwritten pieces of every format.

Each leaves as a trajectory of finite numbers or as one line that names the file, within the memory
and the time that the process is given. Formats with checksums (npz) never give other numbers.
"""

import io
import json
import textwrap
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gfnode.errors import InputError
from gfnode.readers import load, save
from gfnode.readers.joined import load_joined
from gfnode.trajectory import Topology, Trajectory
from processes import python

ATOMS = 11
ETHANOL = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1])

PROGRAM = """
    import collections, json, resource, signal, sys
    from pathlib import Path
    import numpy as np
    from gfnode.errors import InputError
    from gfnode.readers import isolation, load
    from gfnode.readers.joined import load_joined

    files, trials, seed = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    isolation.PATIENCE = 20
    resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
    rng = np.random.default_rng(seed)

    def damaged(raw):
        "The file with something wrong in it."
        bad, n = bytearray(raw), len(raw)
        at, much = int(rng.integers(n)), int(rng.integers(1, 64))
        match kind := rng.choice(KINDS):
            case "random":
                bad = bytearray(rng.bytes(int(rng.integers(1, 3000))))
            case "head":
                bad = bad[: at % 200 + 1] + rng.bytes(int(rng.integers(1, 3000)))
            case "cut":
                bad = bad[: at + 1]
            case "flip":
                bad[at] ^= 1 << int(rng.integers(8))
            case "flips":
                for place in rng.integers(n, size=much):
                    bad[place] ^= 1 << int(rng.integers(8))
            case "bytes":
                bad[at : at + much] = rng.bytes(len(bad[at : at + much]))
            case "zeros":
                bad[at : at + much] = bytes(len(bad[at : at + much]))
            case "ones":
                bad[at : at + much] = b"\\\\xff" * len(bad[at : at + much])
            case "twice":
                bad = bad + bad
            case "more":
                bad[at:at] = rng.bytes(much % 8 + 1)
            case "less":
                del bad[at : at + much % 8 + 1]
            case "swapped":
                bad[at : at + much], bad[at + much : at + 2 * much] = (
                    bad[at + much : at + 2 * much], bad[at : at + much]
                )
        return kind, bytes(bad)

    KINDS = ["random", "head", "cut", "flip", "flips", "bytes", "zeros", "ones", "twice", "more",
             "less", "swapped"]
    said = {{}}
    for name, options in files.items():
        path = Path(name)
        raw, good = path.read_bytes(), load(path, **options)
        bad = path.with_name(f"bad-{{path.name}}")
        count = collections.Counter()
        for trial in range(trials):
            kind, content = damaged(raw)
            bad.write_bytes(content)
            signal.alarm(60)
            try:
                got = load(bad, **options) if trial % 5 else load_joined([bad], **options)
            except InputError as error:
                assert str(bad) in str(error), (kind, str(error))
                assert "\\\\n" not in str(error), (kind, str(error))
                count["refused"] += 1
            else:
                assert np.isfinite(got.positions).all(), kind
                assert (np.diff(got.times) > 0).all(), kind
                if path.suffix == ".npz":
                    assert got.fingerprint == good.fingerprint, (path.name, kind, trial)
                count["read"] += 1
            signal.alarm(0)
        said[path.name] = count
    print(json.dumps(said))
    """


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A good file of every layout of every format, and how it is read."""
    folder = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(5)
    run = Trajectory(
        rng.normal(size=(6, ATOMS, 3)),
        np.arange(6) * 100.0,
        [6, 6, 6, *[1] * 8],
        velocities=0.01 * rng.normal(size=(6, ATOMS, 3)),
        cell=np.tile(np.diag([30.0, 31, 32]), (6, 1, 1)),
        topology=Topology(
            tuple(f"A{i}" for i in range(ATOMS)),
            ("MOL",) * ATOMS,
            (1,) * ATOMS,
            np.array([[i, i + 1] for i in range(ATOMS - 1)]),
        ),
    )
    found = {}
    timed = (".npz", ".extxyz", ".xyz", ".xtc", ".trr", ".nc", ".lammpstrj", ".h5")
    for suffix in (*timed, ".dcd", ".pdb"):
        given = (
            {"top": str(folder / "run.pdb")} if suffix in (".xtc", ".trr", ".dcd", ".nc") else {}
        )
        given |= {"step": "2fs"} if suffix in (".dcd", ".pdb") else {}
        found[str(save(run, folder / f"run{suffix}"))] = given
    few = save(run.select(range(9)), folder / "few.xtc")  # so few atoms are not compressed
    found[str(few)] = {"top": str(few.with_suffix(".pdb"))}
    x = rng.normal(size=(6, 9, 3))
    layouts = {
        "md17": ({"R": x, "z": ETHANOL, "E": np.zeros(6), "F": x}, {}),
        "rmd17": (
            {"coords": x, "nuclear_charges": ETHANOL, "old_indices": np.array([5, 3, 1, 2, 9, 3])},
            {},
        ),
        "other": (
            {"pos": x, "el": np.array(list("CCOHHHHHH")), "t": np.arange(6.0)},
            {"mapping": "positions=pos:nm,numbers=el,times=t:ps"},
        ),
    }
    for name, (arrays, given) in layouts.items():
        np.savez(folder / f"{name}.npz", **arrays)
        np.savez_compressed(folder / f"{name}-packed.npz", **arrays)
        found |= {str(folder / f"{name}{end}.npz"): given for end in ("", "-packed")}
    found[str(save(run, folder / "run.traj"))] = {}
    return found


@pytest.mark.parametrize("trials", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_damage_of_every_kind(files, trials):
    program = textwrap.dedent(PROGRAM.format()).replace("\\\\", "\\")
    words = ("-W", "error", "-c", program, json.dumps(files), trials, 0)
    done = python(*words, OMP_NUM_THREADS="1")
    assert done.stderr == "", "the libraries below must keep quiet"
    said = json.loads(done.stdout)
    assert set(said) == {Path(name).name for name in files}
    for name, count in said.items():
        assert sum(count.values()) == trials
        assert count["refused"] >= 0.4 * trials, name


def refused(path, *messages, **given):
    for read in (lambda: load(path, **given), lambda: load_joined([path], **given)):
        with pytest.raises(InputError) as caught:
            read()
        said = str(caught.value)
        assert str(path) in said
        for message in messages:
            assert message in said


def npz_with_head(path, shape, data=b"", kind=zipfile.ZIP_STORED):
    """An MD17 file whose positions promise a shape."""
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, head, content in (
            ("R", {"descr": "<f8", "fortran_order": False, "shape": shape}, data),
            ("z", {"descr": "|u1", "fortran_order": False, "shape": (9,)}, bytes(ETHANOL.tolist())),
        ):
            file = io.BytesIO()
            np.lib.format.write_array_header_1_0(file, head)
            archive.writestr(f"{name}.npy", file.getvalue() + content)
    return path


@pytest.mark.parametrize("frames", [10, 10**8, 2**40, 2**62])
def test_npz_that_promises_more_than_it_holds(tmp_path, frames):
    """Before memory is asked for, or room on the disk."""
    path = npz_with_head(tmp_path / "big.npz", (frames, 9, 3), bytes(9 * 3 * 8))
    refused(path, "its header declares", f"{frames}×9×3")


def test_npz_whose_sizes_lie(tmp_path):
    """The directory of the archive promises as much as the head of the array."""
    frames = 10**9
    path = npz_with_head(tmp_path / "big.npz", (frames, 9, 3), bytes(9 * 3 * 8))
    raw = path.read_bytes()
    stored = (128 + 9 * 3 * 8).to_bytes(4, "little")
    assert raw.count(stored) >= 2
    path.write_bytes(raw.replace(stored, (2**32 - 10).to_bytes(4, "little")))
    refused(path)


@pytest.mark.parametrize("frames", [10**7, 10**12])
def test_hdf5_that_promises_more_than_it_holds(files, tmp_path, frames):
    """HDF5 takes an array of any length, of which nothing was ever written."""
    import shutil

    import tables

    (good,) = (name for name in files if name.endswith(".h5"))
    path = tmp_path / "big.h5"
    shutil.copy(good, path)
    with tables.open_file(str(path), "a") as file:
        for node in ("time", "cell_lengths", "cell_angles", "velocities", "coordinates"):
            file.remove_node(f"/{node}")
        shape = (frames, ATOMS, 3)
        atom = tables.Float32Atom()
        made = file.create_carray("/", "coordinates", atom, shape, chunkshape=(1, ATOMS, 3))
        made.attrs.units = "nanometers"
    refused(path, f"it declares {frames} frames", step="1fs")


def test_hdf5_with_cell_angles_that_make_no_box(files, tmp_path):
    """Damaged, or in radians: such a cell is too flat for a box."""
    import shutil

    import tables

    (good,) = (name for name in files if name.endswith(".h5"))
    path = tmp_path / "flat.h5"
    shutil.copy(good, path)
    with tables.open_file(str(path), "a") as file:
        file.root.cell_angles[:] = 1e-3
    found = load(path)
    assert "Å high, too small for a box, and is ignored" in " ".join(found.notes)
    with tables.open_file(str(path), "a") as file:
        file.root.cell_angles[1] = 100.0, 170.0, 20.0  # no three vectors lie so
    refused(path, "frame 1")


@pytest.mark.parametrize("key", ["cell_lengths", "cell_angles", "time"])
def test_hdf5_with_arrays_of_another_shape(files, tmp_path, key):
    import shutil

    import tables

    (good,) = (name for name in files if name.endswith(".h5"))
    path = tmp_path / "other.h5"
    shutil.copy(good, path)
    with tables.open_file(str(path), "a") as file:
        stored = file.root[key][:]
        file.remove_node(f"/{key}")
        file.create_array("/", key, stored[:, :2] if stored.ndim == 2 else stored[:2])
    refused(path, "have shape" if key == "time" else f"{key} has shape")


@pytest.mark.parametrize("suffix", [".extxyz", ".npz"])
def test_positions_beyond_all_in_a_box_without_a_topology(tmp_path, suffix):
    """Bonds are looked for among the atoms of five frames."""
    x = np.random.default_rng(0).normal(size=(9, 9, 3)).astype(np.float32)
    path = save(Trajectory(x, np.arange(9.0), ETHANOL), tmp_path / f"far{suffix}")
    far = replace(load(path), positions=x.copy(), cell=np.tile(20 * np.eye(3), (9, 1, 1)))
    far.positions[4, 3] = 1e30
    save(far, path)
    refused(path, "positions of frame 4 reach 1e+30 Å")


def test_text_that_promises_more_than_it_holds(tmp_path):
    for digits in ("9" * 8, "9" * 12, "9" * 5000):
        (tmp_path / "big.xyz").write_text(f"{digits}\n\nH 0 0 0\n")
        refused(tmp_path / "big.xyz")


def test_numbers_that_no_simulation_holds(tmp_path):
    """A flipped bit of an exponent: no checksum finds it."""
    x = np.random.default_rng(0).normal(size=(4, 9, 3))
    x[2, 3, 1] = -1e9
    np.savez(tmp_path / "far.npz", R=x, z=ETHANOL)
    refused(tmp_path / "far.npz", "positions of frame 2 reach 1e+09 Å, more than 1e+06")
    fast = Trajectory(np.clip(x, -1, 1), np.arange(4.0), ETHANOL, velocities=np.clip(x, -4000, 0))
    save(fast, tmp_path / "fast.npz")
    refused(tmp_path / "fast.npz", "velocities of frame 2 reach 4e+03 Å/fs, more than 2998")
