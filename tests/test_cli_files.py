"""Files on the command line: names are shown as they are, and what is read is never written."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gfnode
from commands import call, fails, works
from gfnode.cli.bars import naming
from gfnode.fetching.display import display
from gfnode.terminal import plain_console
from making import quick_run, wiggle


@pytest.fixture(scope="module")
def toluene() -> gfnode.Trajectory:
    """A short piece of the sample."""
    return gfnode.load("sample:toluene")[:100]


@pytest.mark.parametrize(
    "name", ["mol[/b]", "tol[nH]uene", "[link=http:/x]t[/link]", "[red]t:smile:"]
)
def test_names_are_shown_as_they_are(toluene: gfnode.Trajectory, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(toluene, name=name).save(path)
    said = works("data", path, "--json", path.with_suffix(".json"))
    assert said.startswith(f"{name} (C7H8)")
    assert f"--data {path} " in said.replace("'", "")
    assert f"numbers: {path.with_suffix('.json')}\n" in said
    said = works("spectrum", path, "--csv", path.with_suffix(".csv"))
    assert f"curves: {path.with_suffix('.csv')}\n" in said


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed is shown as on a terminal."""
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "200"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("terminal")
def test_names_in_bars_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with naming("physics", "predicting", 2) as told:
        told("a[/b]:smile:[red]")
    assert "physics: a[/b]:smile:[red] done" in capsys.readouterr().err


@pytest.mark.usefixtures("terminal")
def test_names_of_downloads_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with display() as watcher:
        assert watcher is not None
        watcher.start("a[/b]:smile:[red]", 0, 10)
        watcher.say("c[/d]:smile: is gone")
    said = capsys.readouterr().err
    assert "a[/b]:smile:[red] " in said
    assert "c[/d]:smile: is gone" in said


def test_a_console_reads_no_markup() -> None:
    with (console := plain_console(width=80)).capture() as capture:
        console.print("[bold]a[/b] :smile:")
    assert capture.get() == "[bold]a[/b] :smile:\n"


def test_of_several_molecules_the_one_that_a_start_lies_in_is_named(tmp_path: Path) -> None:
    run = quick_run(wiggle(), tmp_path / "run")
    one, two = wiggle(), wiggle(seed=1)
    both = replace(
        one,
        positions=np.concatenate([one.positions, two.positions + 20], 1),
        velocities=np.concatenate([one.velocities, two.velocities], 1),
        numbers=np.tile(one.numbers, 2),
    )
    path = both.save(tmp_path / "two.npz")
    given = ("predict", run.folder, "--start", path, "--times", "50fs", "--each-molecule")
    said = call(*given, "--out", tmp_path / "a.npz").stderr
    assert (
        "two.npz holds 2 molecules: starting from the first; choose another with --select" in said
    )
    said = call(*given, "--out", tmp_path / "b.npz", "--select", "3-5").stderr
    assert "starting from" not in said
    (a,), (b,) = (gfnode.load(tmp_path / f"{each}.npz").positions for each in "ab")
    assert np.linalg.norm(b - a, axis=1).min() > 30  # the other one


@pytest.mark.usefixtures("terminal")
def test_settings_show_backticks_in_bold() -> None:
    said = works("settings")
    assert "`" not in said
    assert "\x1b[1m" in said


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained on a trajectory that has its topology beside it; tests only read it."""
    folder = tmp_path_factory.mktemp("trained")
    gfnode.load("sample:toluene")[:600].save(folder / "md.xtc")
    data = ("--data", folder / "md.xtc", "--top", folder / "md.pdb", "--out", folder / "run")
    few = ("--set", "windows.most=[64,32,32]", "--set", "windows.horizon=200fs")
    works("train", *data, *few, "--set", "model.name=mean-conformer")
    return folder / "run"


READ = (
    ("data", "md.xtc", "--top", "md.pdb", "--json", "md.xtc"),
    ("data", "md.xtc", "--top", "md.pdb", "--json", "./md.pdb"),
    ("spectrum", "a.npz", "--json", "a.npz"),
    ("spectrum", "a.npz", "--csv", "a.npz"),
    ("ramachandran", "a.npz", "--json", "a.npz"),
    ("convert", "md.xtc", "md.pdb", "--top", "md.pdb", "--force"),
    ("convert", "md.xtc", "md.xtc", "--top", "md.pdb", "--force"),
    ("simulate", "a.xyz", "--out", "a.xyz", "--engine", "emt", "--steps", "10", "--overwrite"),
)
OF_RUN = (
    ("predict", "--start", "md.xtc", "--top", "md.pdb", "--times", "100fs", "--out", "md.pdb"),
    ("predict", "--start", "md.xtc", "--top", "md.pdb", "--times", "100fs", "--out", "md.xtc"),
    ("predict", "--start", "md.xtc", "--times", "100fs", "--out", "../md.pdb"),
    ("predict", "--start", "a.npz", "--times", "100fs", "--out", "../md.pdb"),
    ("sample", "--start", "a.npz", "--times", "100fs", "--out", "a.npz"),
    ("sample", "--start", "a-100fs.npz", "--times", "100fs,200fs", "--out", "a.npz"),
    ("rollout", "--start", "a.npz", "--length", "1ps", "--out", "b.npz", "--json", "a.npz"),
    (*("rollout", "--start", "md.xtc", "--top", "md.pdb", "--length", "1ps", "--out", "md.pdb"),
     "--overwrite"),
    ("evaluate", "--data", "md.xtc", "--top", "md.pdb", "--json", "md.xtc"),
    ("evaluate", "--json", "../md.xtc"),
    ("evaluate", "--json", "../run/run.json"),
    ("report", "--out", "../md.xtc"),
    ("report", "--data", "md.xtc", "--top", "md.pdb", "--out", "md.pdb"),
)  # fmt: skip


def refused(words: tuple[object, ...], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with one line, and every file stays as it was."""
    here = folder.parent / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    whole = gfnode.load("sample:toluene")[:600]
    for name in ("md.xtc", "a.npz", "a-100fs.npz", "a.xyz"):
        whole.save(name)
    before = {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}
    assert "is an input and cannot also be the output" in fails(*words)
    assert {p: p.read_bytes() for p in folder.parent.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("words", READ)
def test_what_is_read_is_never_written_over(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(words, tmp_path / "none", monkeypatch)


@pytest.mark.parametrize("words", OF_RUN)
def test_what_is_read_beside_a_run_is_never_written_over(
    words: tuple[str, ...], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run.parent, tmp_path, dirs_exist_ok=True)
    facts = tmp_path / "run" / "run.json"
    facts.write_text(facts.read_text().replace(str(run.parent), str(tmp_path)))
    refused((words[0], tmp_path / "run", *words[1:]), tmp_path / "run", monkeypatch)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("spectrum", "a.npz", "--csv", "x.txt", "--json", "./x.txt"), "x.txt: would be written"),
        (
            ("spectrum", "a.npz", "--out", "x.png", "--csv", "x.png"),
            "x.png: would be written twice",
        ),
        (("ramachandran", "a.npz", "--out", "x.png", "--json", "x.png"), "x.png: would be written"),
        (
            ("rollout", "run", "--start", "a.npz", "--length", "1ps", "--out", "x.npz"),
            "x.npz: would be written twice",
        ),
        (
            ("rollout", "run", "--start", "a.npz", "--length", "1ps", "--out", "x.xtc"),
            "x.pdb: would be written twice, once as the topology of x.xtc",
        ),
    ],
)
def test_nothing_is_written_twice(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    gfnode.load("sample:toluene")[:600].save("a.npz")
    if words[0] == "rollout":
        other = "x.npz" if words[-1] == "x.npz" else "x.pdb"
        words = ("rollout", str(run), *words[2:], "--json", other)
    before = sorted(tmp_path.iterdir())
    assert said in fails(*words)
    assert sorted(tmp_path.iterdir()) == before
