"""What a user installs."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from processes import python

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """A wheel of this checkout, built beside it."""
    folder = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "."]
    subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", folder / "dist"], cwd=folder, check=True
    )
    (made,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(made) as opened:
        yield opened


def test_a_wheel_holds_every_module_and_the_sample(wheel):
    held = {name.removeprefix("gfnode/") for name in wheel.namelist() if name[:7] == "gfnode/"}
    source = ROOT / "src" / "gfnode"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert modules <= held
    assert {"data/toluene.npz", "kernels/messages.cpp", "py.typed"} <= held
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def pins(name: str) -> dict[str, str]:
    """Versions of a constraints file."""
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def requirements(*extras: str) -> dict[str, Requirement]:
    """What the package asks for, with some of its extras."""
    optional = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *(each for extra in extras for each in optional[extra])]
    return {each.name: each for each in map(Requirement, asked) if each.name != "gfnode"}


USERS = "mdanalysis", "ray", "simulate", "slurm"


def test_every_dependency_is_pinned_within_its_range():
    asked, pinned = requirements(*USERS, "test"), pins("constraints.txt")
    assert set(pinned) == set(asked)
    for name, pin in pinned.items():
        assert re.fullmatch(r"[0-9.]+(post\d+)?", pin), f"{name}: exact, and no local build"
        assert asked[name].specifier.contains(pin)
    assert pinned["torch"] == "2.13.0"


def test_every_range_begins_with_a_version_that_was_tested():
    oldest = pins("constraints-oldest.txt")
    assert {name: f">={pin}" for name, pin in oldest.items()} == {
        name: str(each.specifier) for name, each in requirements(*USERS).items()
    }


def test_the_version_is_written_once_more_in_the_code():
    import gfnode

    assert gfnode.__version__ == PROJECT["version"] == version("gfnode")


def test_the_package_runs_as_a_module():
    assert python("-m", "gfnode", "--version").stdout == f"gfnode {version('gfnode')}\n"


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("gfnode.metrics", {"torch"}),
        ("gfnode.report", {"torch", "matplotlib.pyplot"}),
        ("gfnode.paper.draw, gfnode.paper.tables, gfnode.paper.figures", {"torch"}),
        ("gfnode.readers", {"mdtraj", "ase", "torch", "scipy"}),
    ],
)
def test_imports_are_light(modules, heavy):
    program = f"import sys, {modules}; print({heavy} & sys.modules.keys())"
    assert python("-c", program).stdout == "set()\n"


def test_public_names_are_listed_before_they_are_used():
    program = (
        "import gfnode, sys; listed = dir(gfnode); "
        "assert {*gfnode.__all__, 'ase'} <= {*listed}, listed; assert 'torch' not in sys.modules"
    )
    python("-c", program)
