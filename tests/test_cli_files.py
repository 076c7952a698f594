"""Files on the command line: their names are shown as they are."""

from dataclasses import replace
from pathlib import Path

import pytest

import gfnode
from commands import works
from gfnode.cli.bars import naming
from gfnode.fetching.display import display
from gfnode.terminal import plain_console


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


@pytest.mark.usefixtures("terminal")
def test_settings_show_backticks_in_bold() -> None:
    said = works("settings")
    assert "`" not in said
    assert "\x1b[1m" in said
