"""Names come from files and other people: no terminal obeys them, and any bytes may stand there."""

import io
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

import gfnode
from gfnode.errors import InputError
from gfnode.examples import make_examples
from gfnode.files import read_json, write_json
from gfnode.report import write_page
from gfnode.terminal import Plain, plain_console, shown, titled_table
from making import quick_run, wiggle

EVIL = "\x1b]52;c;AAAA\x07\x1b[2J\x9b2J"
MAIN = "from gfnode.cli import main; main()"


def command(*words, **environment):
    return subprocess.run(
        [sys.executable, "-c", MAIN, *words],
        capture_output=True,
        env=os.environ | environment,
        check=False,
    )


def test_control_characters_are_shown():
    assert shown(EVIL) == "␛]52;c;AAAA␇␛[2J�2J"
    assert shown("lines\n\tand Å² → 🧪 stay") == "lines\n\tand Å² → 🧪 stay"


def test_nothing_is_written_over_what_was_said():
    """A server, a file name: the rest would have hidden the beginning of the line."""
    assert shown("not here\rall is well") == "not here␍all is well"


def test_a_stream_shows_them_and_what_it_has_no_letter_for():
    raw = io.BytesIO()
    stream = Plain(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write(f"{EVIL} Å bad\udcff\n")
    stream.flush()
    assert b"\x1b" not in raw.getvalue()
    assert raw.getvalue().endswith(b" \\xc5 bad\\udcff\n")


def test_a_console_keeps_its_own_styles(monkeypatch):
    raw = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Plain(raw))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    console = plain_console(width=80)
    assert isinstance(console, Console)
    assert console.file is raw
    table = titled_table(EVIL)
    table.add_column(EVIL)
    table.add_row(EVIL)
    console.print(table)
    console.print(EVIL, style="red")
    assert "\x1b[31m␛]52;c;AAAA␛[2J�2J\x1b[0m" in raw.getvalue()  # Rich leaves bells out
    assert "\x1b]" not in raw.getvalue()
    assert "\x1b[2J" not in raw.getvalue()
    assert raw.getvalue().count("␛]52") == 4


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_a_command_shows_the_name_of_a_stranger(tmp_path, encoding):
    path = replace(wiggle(), name=EVIL).save(tmp_path / "w.npz")
    for words in (("data", str(path)), ("spectrum", str(path))):
        done = command(*words, PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert b"\x1b" not in done.stdout + done.stderr
        assert b"]52;c;AAAA" in done.stdout


def test_a_name_stays_within_its_line(tmp_path):
    """The second half of one looked like a line of gfnode's own, and broke extended XYZ files."""
    named = replace(wiggle(), name="water\nerror: all lost\r", source="a\x85b")
    assert (named.name, named.source) == ("water error: all lost", "a b")
    path = named.save(tmp_path / "w.extxyz")
    assert gfnode.load(path).name == "water error: all lost"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_names_that_are_no_text(tmp_path):
    path = wiggle().save(tmp_path / "w.npz")
    path = path.rename(tmp_path / os.fsdecode(b"m\xe9thane.npz"))
    done = command("data", str(path))
    assert done.returncode == 0, done.stderr
    with pytest.raises(InputError, match="valid UTF-8"):
        quick_run(path, tmp_path / os.fsdecode(b"mod\xe8le"))
    run = quick_run(path, tmp_path / "run")
    run.evaluate()
    assert gfnode.Run.open(run.folder).trajectories()[0].name
    make_examples(run, run.trajectories()).save(run.folder)
    page = write_page(run.folder, tmp_path / os.fsdecode(b"\xe9.html"))
    assert "\\udce9" in page.read_text(encoding="utf-8")


def test_json_of_what_is_no_text(tmp_path):
    data = {"file": "m\udce9thane.npz", "name": "Å"}
    write_json(tmp_path / "x.json", data)
    assert read_json(tmp_path / "x.json") == data
