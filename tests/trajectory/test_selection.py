"""Selections, against sets counted by hand, mdtraj and MDAnalysis; none of them runs code."""

import time
import warnings
from contextlib import suppress
from pathlib import Path

import MDAnalysis
import mdtraj
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from MDAnalysisTests.datafiles import DCD, PSF

from gfnode.errors import InputError
from gfnode.readers.topology import read_topology
from gfnode.trajectory import Topology
from gfnode.trajectory.selection import choose, solvent

# an alanine, two waters, sodium, a zinc that is bonded
NUMBERS = np.array([7, 6, 6, 8, 6, 1, 8, 1, 1, 8, 1, 1, 11, 30])
TOPOLOGY = Topology(
    ("N", "CA", "C", "O", "CB", "H", "O", "H1", "H2", "O", "H1", "H2", "NA", "ZN"),
    (*["ALA"] * 6, *["HOH"] * 3, *["XYZ"] * 3, "NA", "ZN"),
    (*[1] * 6, *[2] * 3, *[3] * 3, 4, 5),
    np.array([[0, 1], [1, 2], [2, 3], [1, 4], [0, 5], [6, 7], [6, 8], [9, 10], [9, 11], [0, 13]]),
)


def chosen(what, topology=TOPOLOGY):
    return choose(what, NUMBERS, topology).tolist()


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("all", list(range(14))),
        ("heavy", [0, 1, 2, 3, 4, 6, 9, 12, 13]),
        ("solute", [0, 1, 2, 3, 4, 5, 13]),
        ([3, 0], [3, 0]),
        (np.array([2, 5]), [2, 5]),
        ("0-3,12", [0, 1, 2, 3, 12]),
        (" 5 , 1 - 2", [5, 1, 2]),
        ("name CA", [1]),
        ("name CA CB", [1, 4]),
        ("resname ALA and not element H", [0, 1, 2, 3, 4]),
        ("protein", [0, 1, 2, 3, 4, 5]),
        ("water", [6, 7, 8]),
        ("backbone or element Zn", [0, 1, 2, 3, 13]),
        ("index 2 to 4", [2, 3, 4]),
        ("mass > 20", [12, 13]),
        ("resSeq 2", [6, 7, 8]),
        ("resid 3", [12]),
        ("name =~ 'H.*'", [5, 7, 8, 10, 11]),
        ("(all)", list(range(14))),
    ],
)
def test_choices(what, expected):
    assert chosen(what) == expected


def test_heavy_of_hydrogen_is_hydrogen():
    assert choose("heavy", np.array([1, 1])).tolist() == [0, 1]


def test_elements_need_no_topology():
    assert chosen("element O", None) == [3, 6, 9]
    assert chosen("not element H and index < 5", None) == [0, 1, 2, 3, 4]
    for what in ("name CA", "protein", "resname ALA", "water", "solute"):
        with pytest.raises(InputError, match="topology"):
            chosen(what, None)


def test_solvent_by_name_and_by_composition():
    water_and_ion = solvent(NUMBERS, TOPOLOGY)
    assert np.flatnonzero(water_and_ion).tolist() == [*range(6, 13)], "the bonded zinc stays"


@pytest.mark.parametrize(
    ("what", "messages"),
    [
        ("nam CA", ["'nam CA' cannot be understood", "did you mean name?", "protein and not"]),
        ("name CX", ["selects no atom", "elements", "residues ALA HOH XYZ", "names"]),
        ("none", ["selects no atom"]),
        ("14", ["14", "from 0 to 13"]),
        ("0-99999999999", ["from 0 to 13"]),
        ("5-2", ["runs backwards", "expected 2-5"]),
        ("0,0", ["name an atom twice"]),
        ([], ["expected all, heavy, solute"]),
        ([-1], ["from 0 to 13"]),
        ([0.5], ["expected all"]),
        ("", ["cannot be understood"]),
        ("protein and CA", ["cannot be understood"]),
        ("name", ["cannot be understood"]),
        ("protein and name", ["cannot be understood"]),
        ("resid CA", ["compares text with a number"]),
        ("name 5", ["compares text with a number"]),
        ("chainid 0", ["chains and segments are not available"]),
        ("(name CA", ["cannot be understood"]),
        ("(" * 2000, ["longer than"]),
    ],
)
def test_refusals(what, messages):
    with pytest.raises(InputError) as caught:
        choose(what, NUMBERS, TOPOLOGY, "run.xtc")
    said = str(caught.value)
    assert said.startswith("run.xtc: ")
    assert "\n" not in said
    assert all(message in said for message in messages), said


@pytest.mark.parametrize(
    "what",
    [
        "__import__('os').system('touch sprung')",
        "name __import__('os').system('touch sprung')",
        "name CA or open('sprung', 'w')",
        "name 'a' and '''+open(\"sprung\",\"w\")+'''",
        'name """+open("sprung","w")+"""',
        'name f\'{open("sprung", "w")}\'',
        "name == re",
        "name == atom",
        "atom.__class__",
        'exec(\'open("sprung","w")\')',
        "(lambda: open('sprung', 'w'))()",
        "name [x for x in open('sprung','w')]",
        "name CA; import os",
    ],
)
def test_no_selection_runs_code(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        chosen(what)
    assert not list(tmp_path.iterdir())


WORDS = ["name", "CA", "and", "or", "not", "(", ")", "'x'", "5", "==", "=~", "to", "resname", "all"]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.sampled_from([*WORDS, "protein", "index", "<", "re", "atom", "lambda", '"""']),
        max_size=9,
    )
)
def test_any_words_choose_or_are_refused(words):
    with suppress(InputError):
        found = chosen(" ".join(words))
        assert len(set(found)) == len(found) > 0


def test_deep_nesting_does_not_hang():
    began = time.perf_counter()
    with pytest.raises(InputError):
        chosen("(" * 40 + "name CA" + ")" * 39)
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("name CA", "name CA"),
        ("protein and not element H", "protein and prop mass > 2"),
        ("resname ALA GLY", "resname ALA GLY"),
        ("backbone and name C CA N", "name C CA N"),
        ("resSeq 3 to 8 and name CB", "resid 3:8 and name CB"),
    ],
)
def test_a_protein_against_mdtraj_and_mdanalysis(ours, theirs):
    top = read_topology(Path(PSF))
    found = choose(ours, top.numbers, top.topology)
    np.testing.assert_array_equal(found, mdtraj.load_psf(PSF).select(ours))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MDAnalysis speaks of its own future
        expected = MDAnalysis.Universe(PSF, DCD).select_atoms(theirs).indices
    np.testing.assert_array_equal(found, expected)
