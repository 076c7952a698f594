"""Files that are made to do harm: nothing in them is executed, and none is read for ever."""

import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import tables

import gfnode
from gfnode.errors import InputError
from gfnode.readers import hdf5
from gfnode.readers.topology import read_topology


@pytest.fixture
def trap(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    yield Trap()
    assert not (tmp_path / "sprung").exists()


@pytest.fixture
def good(tmp_path):
    return gfnode.load("sample:toluene")[:5].save(tmp_path / "good.h5")


@pytest.fixture
def objects(good, trap):
    """An HDF5 file whose topology is an array of Python objects."""
    path = good.with_stem("objects")
    shutil.copy(good, path)
    with tables.open_file(path, "a") as file:
        file.remove_node("/", "topology")
        file.create_vlarray("/", "topology", tables.ObjectAtom()).append(trap)
    return path


def test_pickled_attributes_are_not_executed(good, trap):
    path = good.with_stem("attribute")
    shutil.copy(good, path)
    with tables.open_file(path, "a") as file:
        file.root.coordinates.attrs.units = trap
    with pytest.raises(InputError, match=r"attribute\.h5: not an mdtraj HDF5 file"):
        gfnode.load(path)
    assert len(gfnode.load(good)) == 5


def test_pickled_topologies_are_not_executed(good, objects):
    with pytest.raises(InputError, match="pickled Python objects"):
        gfnode.load(objects)
    xtc = gfnode.load(good).save(good.with_suffix(".xtc"))
    with pytest.raises(InputError, match="pickled Python objects"):
        gfnode.load(xtc, top=objects)


@pytest.mark.parametrize("suffix", [".lh5", ".LH5"])
def test_topologies_of_objects_are_refused(objects, suffix):
    path = objects.rename(objects.with_suffix(suffix))
    with pytest.raises(InputError, match="can hold Python objects"):
        read_topology(path)


def test_python_unpickles_as_before_when_the_file_is_closed(good):
    """Where there is no fork, files are read in the user's own process."""
    modules = tables.atom, tables.attributeset
    with hdf5._open(good):
        for module in modules:
            with pytest.raises(InputError, match="pickled Python objects"):
                module.pickle.loads(pickle.dumps(1))
    assert all(module.pickle is pickle for module in modules)


@pytest.mark.parametrize(("atoms", "size"), [(-7, -84), (0, 0), (7, -84)])
def test_a_frame_of_negative_size_ends_the_reading(tmp_path, atoms, size):
    sizes = np.zeros(10, dtype=">i4")
    sizes[7] = size
    head = struct.pack(">3i12s", 1993, 13, 12, b"GMX_trn_file") + sizes.tobytes()
    path = tmp_path / "back.trr"
    path.write_bytes((head + struct.pack(">3i2f", atoms, 0, 0, 0.0, 0.0)) * 2)
    pdb = gfnode.load("sample:toluene")[:1].save(tmp_path / "top.pdb")
    with pytest.raises(InputError, match=r"back\.trr: frame 0 is damaged"):
        gfnode.load(path, top=pdb)
