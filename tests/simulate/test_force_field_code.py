"""Force fields in XML may hold Python, which OpenMM runs: gfnode refuses those of strangers."""

import os

import pytest

from gfnode import InputError
from gfnode.simulate.openmm import _check_no_code, force_field

CODE = "open('ran', 'w')"
SCRIPTS = {
    "script": f"<Script>{CODE}</Script>",
    "beginning": f"<InitializationScript>{CODE}</InitializationScript>",
    "attribute": f'<NonbondedForce useDispersionCorrection="{CODE}"/>',
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("inner", SCRIPTS.values(), ids=SCRIPTS)
def test_python_is_refused(here, inner):
    (here / "own.xml").write_text(f"<ForceField>{inner}</ForceField>")
    with pytest.raises(
        InputError, match=r"own\.xml: contains Python code .*, which OpenMM would run"
    ):
        _check_no_code(["own.xml"])


def test_python_of_a_file_that_is_included_is_refused(here):
    (here / "field").mkdir()
    first = '<ForceField><Include file="more.xml"/><Include file="own.xml"/></ForceField>'
    (here / "field" / "own.xml").write_text(first)
    (here / "field" / "more.xml").write_text(f"<ForceField>{SCRIPTS['script']}</ForceField>")
    with pytest.raises(InputError, match=r"more\.xml: contains Python"):
        _check_no_code([os.path.join("field", "own.xml")])


def test_numbers_are_no_python(here):
    inner = '<NonbondedForce coulomb14scale="0.8" useDispersionCorrection="False"/>'
    (here / "own.xml").write_text(f"<ForceField>{inner}</ForceField>")
    _check_no_code(["own.xml", "implicit/obc2.xml"])


@pytest.mark.parametrize("name", ["own.xml", "amber99sbildn"])
def test_openmm_runs_none(here, name):
    pytest.importorskip("openmm")
    text = f"<ForceField>{SCRIPTS['beginning']}</ForceField>"
    (here / "own.xml").write_text(text)
    (here / "amber99sbildn.xml").write_text(text)
    with pytest.raises(InputError, match="contains Python"):
        force_field(name, "vacuum")
    assert not (here / "ran").exists()


@pytest.mark.parametrize(("name", "solvent"), [("amber99sbildn", "obc"), ("charmm36", "vacuum")])
def test_those_of_openmm_may(name, solvent):
    pytest.importorskip("openmm")
    assert force_field(name, solvent)
