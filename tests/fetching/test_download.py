"""Downloads from a server that stalls, truncates, redirects and lies."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from gfnode.errors import InputError
from gfnode.fetching.download import Download, Patience
from serving import serving

CONTENT = np.random.default_rng(0).bytes(300_000)
QUICK = Patience(silence=0.3, window=0.4, least=5000, tries=3, pause=0.01)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server():
    with serving() as told:
        told.files = {"/a": CONTENT, "/b": CONTENT}
        yield told


class Notes:
    """What a download tells."""

    def __init__(self):
        self.starts, self.said, self.count = [], [], 0

    def start(self, what, done, total):
        self.starts.append((what, done, total))

    def advance(self, count):
        self.count += count

    def say(self, text):
        self.said.append(text)


def right(path):
    if path.read_bytes() != CONTENT:
        raise InputError(f"{path}: is something else")


def get(server, tmp_path, *paths, check=right, **options):
    """Download to a file of 300 kB; what is left in the folder is that file alone."""
    watcher = Notes()
    target = tmp_path / "file.bin"
    options = {"patience": QUICK, "begins": CONTENT[:4]} | options
    urls = [path if "://" in path else server.url + path for path in paths or ("/a",)]
    got = Download(urls, target, check, watcher=watcher, **options).run()
    assert target.read_bytes() == CONTENT
    assert [each.name for each in tmp_path.iterdir()] == ["file.bin"]
    return got.removeprefix(server.url), watcher


def failing(server, tmp_path, *paths, **options):
    """What each address answered, when none gave the file."""
    with pytest.raises(ExceptionGroup) as caught:
        get(server, tmp_path, *paths, **options)
    assert not (tmp_path / "file.bin").exists()
    host = server.url.removeprefix("http://")
    return [str(each).removeprefix(f"{host}: ") for each in caught.value.exceptions]


def test_as_it_should_be(server, tmp_path):
    url, watcher = get(server, tmp_path, size=len(CONTENT))
    assert url == "/a"
    assert watcher.starts == [
        (f"file.bin from {server.url.removeprefix('http://')}", 0, len(CONTENT))
    ]
    assert watcher.count == len(CONTENT)
    assert watcher.said == []
    assert server.asked == [("/a", "")]


@pytest.mark.parametrize("wrong", ["truncate", "stall"])
def test_goes_on_where_it_was_cut_off(server, tmp_path, wrong):
    server.wrong = {"/a": [wrong, wrong]}
    _, watcher = get(server, tmp_path)
    half, quarter = len(CONTENT) // 2, len(CONTENT) // 4
    assert [asked for _, asked in server.asked] == [
        "",
        f"bytes={half}-",
        f"bytes={half + quarter}-",
    ]
    assert watcher.count == len(CONTENT), "no byte twice"
    assert [done for _, done, _ in watcher.starts] == [0, half, half + quarter]


def test_a_trickle_counts_as_stalled(server, tmp_path):
    server.wrong = {"/a": ["trickle"]}
    _, watcher = get(server, tmp_path)
    assert "has stalled; retrying in" in watcher.said[0]


def test_every_bit_of_progress_is_a_new_chance(server, tmp_path):
    server.wrong = {"/a": ["truncate"] * 8}
    get(server, tmp_path)
    assert len(server.asked) == 9


def test_a_server_without_ranges_begins_again(server, tmp_path):
    server.ranges = False
    server.wrong = {"/a": ["truncate"]}
    get(server, tmp_path)
    assert len(server.asked) == 2


def test_a_server_without_marks_is_not_gone_on_with(server, tmp_path):
    """Nothing tells whether the file is still the same."""
    server.marks = False
    server.wrong = {"/a": ["truncate"]}
    get(server, tmp_path)
    assert [asked for _, asked in server.asked] == ["", ""]


def test_the_file_changes_in_between(server, tmp_path):
    """The bytes of two versions are never mixed."""
    server.files["/a"] = CONTENT[:4] + bytes(len(CONTENT) - 4)
    server.wrong = {"/a": ["truncate"] * 3}
    with pytest.raises(ExceptionGroup):
        get(server, tmp_path, patience=Patience(0.3, 0.4, 5000, 1, 0.01))
    assert (tmp_path / "file.bin.part").stat().st_size == len(CONTENT) // 2
    server.files["/a"], server.wrong = CONTENT, {}
    get(server, tmp_path)
    assert server.asked[-1] == ("/a", f"bytes={len(CONTENT) // 2}-"), "asked, but not for that"


def test_goes_on_in_another_process(server, tmp_path):
    """The mirror that had begun comes first."""
    server.always = {"/a": "404"}
    server.wrong = {"/b": ["truncate"]}
    failing(server, tmp_path, "/a", "/b", patience=Patience(0.3, 0.4, 5000, 1, 0.01))
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "file.bin.part",
        "file.bin.part.json",
    ]
    server.asked.clear()
    get(server, tmp_path, "/a", "/b")
    assert server.asked == [("/b", f"bytes={len(CONTENT) // 2}-")]


def test_what_has_come_stays_while_other_mirrors_fail(server, tmp_path):
    server.wrong = {"/a": ["truncate", "404"]}
    server.always = {"/b": "404"}
    failing(server, tmp_path, "/a", "/b")
    assert (tmp_path / "file.bin.part").stat().st_size == len(CONTENT) // 2
    get(server, tmp_path, "/a", "/b")
    assert server.asked[-1] == ("/a", f"bytes={len(CONTENT) // 2}-")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("404", "HTTP 404 Not Found"),
        ("403", "HTTP 403 Forbidden"),
        ("page", "sends a web page instead of the file"),
        ("gzip", "sends the file in an encoding that was not requested"),
        ("redirect /a", "HTTP 302"),
        ("redirect /nowhere", "HTTP 404 Not Found"),
    ],
)
def test_the_next_mirror(server, tmp_path, wrong, said):
    server.always = {"/a": wrong}
    url, watcher = get(server, tmp_path, "/a", "/b")
    assert url == "/b"
    assert said in watcher.said[0]
    assert watcher.said[0].endswith("; trying the next")


def test_a_redirect_is_followed_and_gone_on_with(server, tmp_path):
    server.always = {"/c": f"redirect {server.url}/a"}
    server.wrong = {"/a": ["truncate"]}
    url, _ = get(server, tmp_path, "/c")
    assert url == "/c"
    assert [path for path, _ in server.asked] == ["/c", "/a", "/c", "/a"]
    assert server.asked[-1][1] == f"bytes={len(CONTENT) // 2}-"


@pytest.mark.parametrize("wrong", ["503", "429", "500", "deaf"])
def test_the_same_mirror_again(server, tmp_path, wrong):
    server.wrong = {"/a": [wrong, wrong]}
    _, watcher = get(server, tmp_path)
    assert len(server.asked) == 3
    assert all("; retrying in 0.0" in said for said in watcher.said)


def test_no_server_no_name(server, tmp_path):
    said = failing(server, tmp_path, "http://127.0.0.1:9/x", "http://nowhere.invalid/x", "ftq://x")
    assert said[0] == "127.0.0.1:9: refuses the connection"
    assert said[1] == "nowhere.invalid: no such server, or no network"
    assert len(said) == 3


def test_a_range_of_something_else(server, tmp_path):
    server.wrong = {"/a": ["truncate", "shifted"]}
    _, watcher = get(server, tmp_path)
    assert "sends another part of the file" in watcher.said[1]
    assert server.asked[-1] == ("/a", ""), "from the beginning"


def test_beginning_again_has_an_end(server, tmp_path):
    """Each time some bytes come, and each time they are of no use: their size was not said."""
    server.always = {"/a": "chunks"}
    said = failing(server, tmp_path)
    assert said == [
        f"sends another part of the file (bytes 4096-{len(CONTENT) - 1}/{len(CONTENT)}); given up "
        "after 3 tries in which what had come was lost"
    ]
    assert [asked for _, asked in server.asked] == ["", "bytes=4096-"] * 3


@pytest.mark.parametrize("marks", [True, False])
def test_a_file_that_begins_again_and_gets_further(server, tmp_path, marks):
    """Beginning again does not use up the tries of a server that then serves."""
    server.marks = marks
    server.wrong = {"/a": ["truncate", "shifted", "truncate", "shifted"]}
    get(server, tmp_path)


def test_more_and_less_than_the_size(server, tmp_path):
    said = failing(server, tmp_path, size=len(CONTENT) + 1)
    assert said == [f"has a file of {len(CONTENT)} bytes, expected {len(CONTENT) + 1}"]
    server.always = {"/a": "endless"}
    said = failing(server, tmp_path, size=len(CONTENT) - 1)
    assert said == [f"sends more than the expected {len(CONTENT) - 1} bytes"]
    assert failing(server, tmp_path, size=len(CONTENT) + 1) == [
        f"file.bin: has {len(CONTENT)} bytes, expected {len(CONTENT) + 1}"
    ]


def test_more_than_any_file_of_its_kind(server, tmp_path):
    """A server without an end would fill the disk."""
    limit = len(CONTENT) - 1
    assert failing(server, tmp_path, limit=limit) == [
        f"has a file of {len(CONTENT)} bytes, expected at most {limit}"
    ]
    server.always = {"/a": "endless"}
    said = failing(server, tmp_path, limit=limit)
    assert said == [f"sends more than the expected {limit} bytes"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", ["\xb2", "9" * 5000])
def test_a_length_that_is_no_number(server, tmp_path, length):
    """Digits that Python takes for none ended with a traceback."""
    server.always = {"/a": f"length {length}"}
    get(server, tmp_path)


def test_another_file(server, tmp_path):
    server.files["/a"] = b"something else"
    assert failing(server, tmp_path) == ["sends something other than the file"]
    server.files["/a"] = CONTENT[:-1] + b"?"
    assert failing(server, tmp_path) == ["file.bin: is something else"]
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_is_whole_already(server, tmp_path):
    """Killed after the last byte, and before it got its name; here without its size."""
    etag = '"whatever"'
    for size in (len(CONTENT), None):
        (tmp_path / "file.bin.part").write_bytes(CONTENT)
        note = {"url": f"{server.url}/a", "version": etag, "size": size}
        (tmp_path / "file.bin.part.json").write_text(json.dumps(note))
        get(server, tmp_path)
        (tmp_path / "file.bin").unlink()
    assert server.asked == [("/a", f"bytes={len(CONTENT)}-")]


@pytest.mark.parametrize("code", ["416", "shorter"])
def test_a_part_longer_than_the_file(server, tmp_path, code):
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    note = {"url": f"{server.url}/a", "version": '"x"', "size": None}
    (tmp_path / "file.bin.part.json").write_text(json.dumps(note))
    server.wrong = {"/a": ["416"]} if code == "416" else {}
    get(server, tmp_path)


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 3}', '{"size": "x"}', None, "\x00\xff"])
def test_a_damaged_note(server, tmp_path, note):
    """What is not known is not used."""
    (tmp_path / "file.bin.part").write_bytes(b"whatever")
    if note is not None:
        (tmp_path / "file.bin.part.json").write_bytes(note.encode("latin-1"))
    get(server, tmp_path)


def test_where_it_cannot_be_written(server, tmp_path):
    (tmp_path / "taken").write_text("a file")
    for target in (tmp_path / "taken" / "file", Path("/proc/nowhere/file")):
        with pytest.raises(InputError, match="cannot"):
            Download([f"{server.url}/a"], target, right, patience=QUICK).run()


def test_a_full_disk_keeps_what_has_come(server, tmp_path):
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(
            InputError, match="cannot be written: File too large; what was downloaded is"
        ):
            Download([f"{server.url}/a"], tmp_path / "f", right, patience=QUICK).run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.path.getsize(tmp_path / "f.part") == 100_000
    Download([f"{server.url}/a"], tmp_path / "f", right, patience=QUICK).run()
    assert server.asked[-1] == ("/a", "bytes=100000-")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("chunks", "breaks off"), ("nonsense", "does not answer as web servers do: no web")],
)
def test_what_python_says_of_it_is_put_into_words(server, tmp_path, wrong, words):
    server.always, server.ranges = {"/a": wrong}, False
    (said,) = failing(server, tmp_path)
    assert said.replace("\0", "") == words
