"""The documentation: its examples run, and its tables, keys and links are in step with the code."""

import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import gfnode
from gfnode.cli import app
from gfnode.experiment import build_model, configure, prepare
from gfnode.models import MODELS, TRIVIAL, Symmetry, build
from gfnode.presets import PRESETS
from gfnode.readers import FORMATS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^\n]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.S
)
SMALL = {"training": {"epochs": 1}, "windows": {"most": [64, 32, 32]}}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every block that is to be run."""
    found = [match.groupdict() for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]
    assert {each["language"] for each in found} <= {"sh", "python", "toml"}
    return [(each["language"], each["text"]) for each in found if not each["why"]]


RUNNABLE = [page for page in PAGES if blocks(page)]


def table(page: str, mark: str = "") -> list[list[str]]:
    """Rows of the table between two marks, or of all tables of a page, without their heads."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if mark:
        text = text.split(f"<!-- {mark} -->")[1].split(f"<!-- /{mark} -->")[0]
    lines = [line.strip("|") for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split(" |")] for line in lines]
    return [[cell.removeprefix("| ") for cell in row] for row in rows if row[0][:3] != "---"]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = isinstance(value, dict)
        found |= flat(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return found


def settings(preset: str) -> dict[str, str]:
    resolved = flat(configure(preset).model_dump(mode="json"))
    return {f"`{key}`": f"`{json.dumps(value)}`" for key, value in resolved.items()}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder with the files that the examples name, and presets that train in a second."""
    for name, preset in dict(PRESETS).items():
        reduced = {key: preset.get(key, {}) | SMALL[key] for key in SMALL}
        monkeypatch.setitem(PRESETS, name, preset | reduced)
    before = [set(MODELS), set(FORMATS)]  # examples add to them
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for registry, names in zip((MODELS, FORMATS), before, strict=True):
        for name in set(registry) - names:
            del registry[name]


def files_of_a_user() -> None:
    """What the README calls one's own files."""
    trajectory = gfnode.load("sample:toluene")[:4000]
    trajectory[:1300].save("run.extxyz")
    for name in ("run1.xtc", "run2.xtc", "run.dcd", "run.npz"):
        trajectory.save(name)
    Path("run1.pdb").rename("molecule.pdb")


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_examples_run(page: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page, in order, in one folder and one namespace."""
    if page.name == "README.md":
        files_of_a_user()
    names: dict[str, Any] = {"__name__": page.stem}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
            continue
        quick = re.sub(r"training\.epochs=\d+", "training.epochs=1", text)
        quick = re.sub(r"--time \w+", "--time 1500fs", quick)  # of simulations
        for line in quick.replace("\\\n", " ").strip().splitlines():
            command, *words = shlex.split(line)
            if command == "python" and words[0].startswith("examples/"):
                monkeypatch.setattr(sys, "argv", words)
                runpy.run_path(str(ROOT / words[0]), run_name="__main__")
                continue
            assert command == "gfnode", f"{line}: mark the block with <!-- not run: reason -->"
            result = CliRunner().invoke(app, words)
            assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
            if "--out" in words:
                assert Path(words[words.index("--out") + 1]).exists()


def test_every_page_is_looked_at() -> None:
    assert {"README.md", "guide.md", "tutorial.md", "evaluation.md", "extending.md", "api.md"} <= {
        page.name for page in RUNNABLE
    }


def test_table_of_settings() -> None:
    """Names, defaults and meanings; links to other pages are left to the table."""
    rows = [
        [name.strip("`"), default.strip("`"), re.sub(r"\[(.*?)\]\(.*?\)", r"\1", meaning)]
        for name, default, meaning in table("docs/guide.md", "settings")[1:]
    ]
    described = list(configure().described())
    assert rows == [[name, json.dumps(value), told] for name, value, told in described]
    assert {name for name, *_ in described} == {key.strip("`") for key in settings("default")}


def test_every_setting_has_a_meaning() -> None:
    for model in MODELS:
        for name, _, meaning in configure("default", {"model.name": model}).described():
            assert meaning.endswith("."), f"{name} of {model}"


def test_table_of_presets() -> None:
    """Every setting in which a preset differs has its row, with the right values."""
    head, *rows = (row for row in table("docs/guide.md") if len(row) == 4 and row[0] != "suffix")
    assert head == ["setting", "default", "paper", "published"] == [head[0], *PRESETS]
    values = [settings(name) for name in PRESETS]
    expected = {
        key: [each[key] for each in values]
        for key in values[0]
        if len({each[key] for each in values}) > 1
    }
    assert {row[0]: row[1:] for row in rows} == expected


def test_keys_of_the_evaluation(small: Path) -> None:
    run = gfnode.fit("sample:toluene", out="run", progress=False)
    run.evaluate()
    written = json.loads((run.folder / "evaluation.json").read_text(encoding="utf-8"))
    keys = set(written) | {f"error_bars.{key}" for key in written["error_bars"]}
    for part in ("methods", "verdicts", "symmetries"):
        for entry in written[part].values():
            keys |= {f"{part}.*.{key}" for key in entry}
            estimates = [each for each in entry.values() if isinstance(each, dict)]
            keys |= {f"*.{key}" for each in estimates + entry.get("by_lag", []) for key in each}
    documented = [row[0].strip("`") for row in table("docs/evaluation.md", "keys")[1:]]
    assert len(documented) == len(set(documented))
    assert set(documented) == keys


def test_table_of_symmetries() -> None:
    (head, *rows) = table("docs/method.md", "symmetries")
    assert head[1:] == [each.value for each in Symmetry]
    trajectory = gfnode.load("sample:toluene")
    kept = {}
    for preset in PRESETS:
        experiment = configure(preset, {"windows.split": "blocked", "windows.most": [8, 8, 8]})
        dataset = prepare([trajectory], experiment)
        kept[f"`{preset}`"] = build_model(experiment, dataset.system).kept
    kept |= {f"`{name}`": build(name, dataset.whole_system).kept for name in TRIVIAL}
    others = set(MODELS) - {"gfnode", *TRIVIAL}
    kept |= {f"`{name}`": build(name, dataset.system).kept for name in others}
    assert {row[0]: row[1:] for row in rows} == {
        name: ["yes" if each in symmetries else "no" for each in Symmetry]
        for name, symmetries in kept.items()
    }


def test_public_names_are_documented() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in gfnode.__all__:
        assert re.search(rf"`gfnode\.{name}\b", text), name
        assert getattr(gfnode, name)


def test_formats_are_documented() -> None:
    text = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    assert all(f"`{suffix}`" in text for suffix in FORMATS)


def test_dependencies_are_documented() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {name for row in table("docs/dependencies.md") for name in row[0].split(", ")}
    optional = project["optional-dependencies"].values()
    needed = {re.split("[<>=[]", each)[0] for each in (*project["dependencies"], *chain(*optional))}
    assert needed - {"gfnode"} == listed - {"package"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        name, _, anchor = target.partition("#")
        path = (page.parent / name) if name else page
        assert path.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
            anchors = {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}
            assert anchor in anchors, target


def test_citation() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {gfnode.__version__}\n" in text
    for title in ("Joint modeling of spatial and temporal multiscales", "E(n) Equivariant Graph"):
        assert title in text


def test_architecture_lists_all_modules() -> None:
    tree = re.search(
        r"```\nsrc/gfnode/\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), re.S
    )
    assert tree
    named = set(re.findall(r"(?<!\S)([a-z0-9]+)(?:/|\.py)(?!\S)", tree[1]))
    package = ROOT / "src" / "gfnode"
    there = {p.parent.name for p in package.glob("*/__init__.py")}
    assert named == there | {p.stem for p in package.glob("[!_]*.py")}
