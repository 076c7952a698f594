"""``fetch`` and ``convert`` killed at random times: the old file, or one to go on with.

A driver without threads forks a child for each try, and kills it.
"""

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest

import gfnode
from fetched import archive_bytes, md17_bytes, own_catalogue, rmd17_bytes
from processes import python
from serving import serving

DRIVER = """
    import json, os, random, signal, sys, time
    from pathlib import Path
    from gfnode.cli import app
    {imports}

    def run(words):
        "The command line in a child of its own; its process number."
        child = os.fork()
        if child:
            return child
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1), os.dup2(nowhere, 2)
        code = 1
        try:
            app([str(word) for word in words], standalone_mode=False)
            code = 0
        except BaseException as error:
            code = getattr(error, "exit_code", getattr(error, "code", 1)) or 0
        finally:
            os._exit(code)

    def killed(words, after):
        "Whether it was killed before it had come to its end."
        child = run(words)
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, status
        return os.WIFSIGNALED(status)

    def whole(words):
        began = time.monotonic()
        code = os.waitstatus_to_exitcode(os.waitpid(run(words), 0)[1])
        assert code == 0, code
        return time.monotonic() - began

    random.seed({seed})
    {body}
"""


def drive(imports: str, body: str, **environment: str) -> dict:
    """What the driver prints."""
    indented = textwrap.indent(textwrap.dedent(body), " " * 4).strip()
    program = textwrap.dedent(DRIVER.format(imports=imports, seed=0, body=indented))
    said = python("-c", program, no_proxy="*", **environment).stdout
    return json.loads(said.splitlines()[-1])


HOW_OFTEN = pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])


@HOW_OFTEN
@pytest.mark.parametrize("kind", ["file", "archive"])
def test_fetch(tmp_path: Path, kills: int, kind: str) -> None:
    """After every kill the file is not there, or whole and right; what has come is gone on with."""
    if kind == "file":
        name, place, content = "md17:aspirin", "md17/md17_aspirin.npz", md17_bytes("C9H8O4", 0, 400)
    else:
        name, place, content = "rmd17:ethanol", "rmd17/rmd17_ethanol.npz", rmd17_bytes("C2H6O")
    (tmp_path / "right").write_bytes(content)
    with serving() as server:
        own_catalogue(server, tmp_path / "own.toml")
        if kind == "file":
            served, server.files = "/one/md17_aspirin.npz", {"/one/md17_aspirin.npz": content}
        else:
            served = "/rmd17.tar.bz2"
            filling = np.random.default_rng(0).bytes(200_000)
            members = {"rmd17/other": filling, "rmd17/npz_data/rmd17_ethanol.npz": content}
            server.files[served] = archive_bytes(members)
        server.always[served], size = "slow", len(server.files[served])
        body = f"""
        cache, right = Path(os.environ["GFNODE_CACHE"]), Path({str(tmp_path / "right")!r})
        right = right.read_bytes()
        target, words = cache / {place!r}, ["fetch", {name!r}, "--yes"]
        download = target if {kind!r} == "file" else target.with_name("rmd17.tar.bz2")
        part = download.with_name(download.name + ".part")
        longest = whole(words)
        assert target.read_bytes() == right
        kills = came = gone_on = early = 0
        while kills < {kills} or ({kind!r} == "file" and not gone_on):
            if target.exists():
                came += 1
                for each in target.parent.iterdir():
                    each.unlink()
            before = part.stat().st_size if part.exists() else 0
            kills += killed(words, random.uniform(0, 1.05 * longest))
            assert not target.exists() or target.read_bytes() == right
            pins = cache / "checksums.json"
            assert not pins.exists() or json.loads(pins.read_text())
            after = part.stat().st_size if part.exists() else 0
            gone_on += 0 < before < {size} and (download.exists() or after > before)
            early = 0 if after or download.exists() else early + 1
            if early > 8:  # this machine has become slower
                longest, early = 1.3 * longest, 0
        whole(words)
        assert target.read_bytes() == right
        left = sorted(each.name for each in target.parent.iterdir() if each.suffix != ".lock")
        print(json.dumps({{"kills": kills, "came": came, "gone_on": gone_on, "left": left}}))
        """
        told = drive(
            "import gfnode.fetching, gfnode.fetching.display, filelock, ase.formula",
            body,
            GFNODE_CACHE=str(tmp_path / "cache"),
            GFNODE_CATALOGUE=str(tmp_path / "own.toml"),
        )
        ranges = [int(asked[6:-1]) for path, asked in server.asked if path == served and asked]
    assert told["kills"] >= kills
    archive = {"rmd17.tar.bz2"} if kind == "archive" else set()
    assert set(told["left"]) == {Path(place).name} | archive
    assert all(0 < begin <= size for begin in ranges)
    assert ranges or kind == "archive", "some went on in the middle"


@HOW_OFTEN
@pytest.mark.parametrize("suffix", [".npz", ".xtc"])
def test_convert(tmp_path: Path, kills: int, suffix: str) -> None:
    """After every kill there is the old file, byte by byte, or the new one, whole."""
    run = gfnode.load("sample:toluene")[:1500]
    run.save(tmp_path / "run.npz")
    run[:7].save(tmp_path / f"out{suffix}")
    expected = {"run.npz", f"out{suffix}"} | ({"out.pdb"} if suffix == ".xtc" else set())
    body = f"""
    folder = Path({str(tmp_path)!r})
    out, old = folder / "out{suffix}", (folder / "out{suffix}").read_bytes()
    words = ["convert", folder / "run.npz", out, "--force"]
    longest = whole(words)
    new = out.read_bytes()
    kills = came = 0
    while kills < {kills}:
        out.write_bytes(old)
        kills += killed(words, random.uniform(0, 1.05 * longest))
        came += out.read_bytes() == new
        assert out.read_bytes() in (old, new)
    out.write_bytes(old)
    whole(words)
    assert out.read_bytes() == new
    left = sorted(each.name for each in folder.iterdir())
    print(json.dumps({{"kills": kills, "came": came, "left": left}}))
    """
    told = drive("import gfnode.convert, gfnode.readers.joined, mdtraj", body)
    assert told["kills"] == kills
    assert set(told["left"]) == expected, "nothing is left lying"
    given = {"top": tmp_path / "out.pdb"} if suffix == ".xtc" else {}
    again = gfnode.load(tmp_path / f"out{suffix}", **given)
    np.testing.assert_allclose(again.positions, run.positions, rtol=0, atol=0.006)
