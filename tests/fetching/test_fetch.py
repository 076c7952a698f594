"""The catalogue, and getting its trajectories from servers that misbehave."""

import json
import re
import shlex
import tomllib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import gfnode
from fetched import ala2_bytes, archive_bytes, md17_bytes, own_catalogue, rmd17_bytes
from gfnode.catalogue import cache, catalogue, expand, find, is_name
from gfnode.cli import app
from gfnode.errors import InputError
from gfnode.fetching import Fetcher, extract
from gfnode.fetching.download import Patience
from gfnode.readers import Reader, md17
from serving import serving

ASPIRIN = md17_bytes("C9H8O4")
QUICK = Patience(silence=0.3, window=0.4, least=1000, tries=2, pause=0.01)


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """The cache folder; no proxy comes between."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("GFNODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Patience, "__init__", _quick(Patience.__init__))
    return tmp_path / "cache"


def _quick(normal):
    def init(self, *given, **named):
        normal(self, *given, **(named or (vars(QUICK) if not given else {})))

    return init


@pytest.fixture
def server(monkeypatch, tmp_path):
    with serving() as told:
        own_catalogue(told, tmp_path / "own.toml")
        monkeypatch.setenv("GFNODE_CATALOGUE", str(tmp_path / "own.toml"))
        told.files = {"/one/md17_aspirin.npz": ASPIRIN, "/two/md17_aspirin.npz": ASPIRIN}
        yield told


def call(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def get(name):
    return Fetcher().fetch(find(name))


class TestCatalogue:
    def test_all_molecules_are_there(self):
        names = list(catalogue())
        assert {f"md17:{each}" for each in md17.MOLECULES} <= set(names)
        assert {f"rmd17:{each}" for each in md17.MOLECULES} <= set(names)
        assert {f"md22:{each}" for each in md17.MD22} <= set(names)
        assert len(names) == 10 + 10 + 7 + 1

    def test_it_agrees_with_the_readers(self):
        """Formula, atoms and time step are known in two places."""
        from fetched import numbers_of

        for name, entry in catalogue().items():
            assert len(numbers_of(entry.formula)) == entry.atoms, name
            kind, _, molecule = name.partition(":")
            if kind == "mdshare":
                continue
            assert entry.formula == (md17.MOLECULES | md17.MD22)[molecule]
            assert entry.step_fs == md17.OTHER_STEPS.get(molecule, md17.STEP)

    def test_facts(self):
        for entry in catalogue().values():
            assert entry.licence
            assert "doi:10." in entry.citation
            assert entry.page.startswith("http")
            for part in entry.parts:
                assert len(part.remote.urls) >= 2 or part.member is not None
                assert len(set(part.remote.urls)) == len(part.remote.urls)
                assert all(re.fullmatch(r"https?://\S+", url) for url in part.remote.urls)
                assert not any(set("{}") & set(url) for url in part.remote.urls)
        places = [p.remote.place for e in catalogue().values() for p in e.parts]
        assert len(set(places)) == len(places)
        ala2 = catalogue()["mdshare:alanine-dipeptide"]
        assert ala2.mb == pytest.approx(128.73, abs=0.01)
        assert (len(ala2.runs), ala2.frames, ala2.step_fs) == (3, 250000, 1000)
        aspirin = catalogue()["rmd17:aspirin"].runs[0]
        assert aspirin.member.path == "rmd17/npz_data/rmd17_aspirin.npz"
        estimate = catalogue()["md17:aspirin"]  # R and F in float64, E
        assert estimate.mb == pytest.approx(
            estimate.frames * (estimate.atoms * 48 + 8) / 1e6, abs=1
        )

    def test_the_simulations_that_it_proposes(self):
        """Their options are those of the command, and the molecules are known."""
        from typer.main import get_command

        from gfnode.simulate.molecules import built_in

        command = get_command(app).commands["simulate"]
        for name, entry in catalogue().items():
            words = shlex.split(entry.simulate)
            assert words[:2] == ["gfnode", "simulate"]
            command.make_context("simulate", words[2:])
            assert words[2] in built_in() or name.startswith("md22:")

    def test_names(self):
        assert find("MD17:Aspirin") is find("md17:aspirin")
        assert find("md17:salicylic_acid").name == "md17:salicylic"
        assert find("md22:double_walled_nanotube").atoms == 370
        assert find("ala2") is find("mdshare:alanine-dipeptide")
        assert len(expand(["md17", "md17:uracil", "ala2"])) == 11
        assert is_name("ala2/1")
        assert not any(
            map(is_name, ("run.npz", "C:\\run.npz", "c:/a.npz", "http://x/y", "ala3", "run:1.npz"))
        )
        with pytest.raises(InputError, match=r"asprin: not in the catalogue .* mean md17:aspirin"):
            find("md17:asprin")
        with pytest.raises(InputError, match="expected names such as md17:aspirin, rmd17:"):
            find("zzz:yyy")

    def test_it_is_valid_toml_without_checksums_of_our_own(self):
        text = (files("gfnode") / "catalogue" / "catalogue.toml").read_text(encoding="utf-8")
        assert set(tomllib.loads(text)) == {"md17", "rmd17", "md22", "mdshare"}
        assert text.count("md5 =") == 4
        assert "sha256" not in text

    def test_own_entries(self, tmp_path, monkeypatch):
        own = tmp_path / "own.toml"
        own.write_text(
            '[md17.entries.aspirin]\nmb = 3\n[md17.entries.mine]\nfile = "m.npz"\n'
            'formula = "H2O"\natoms = 3\nframes = 7\nmb = 1\n'
        )
        monkeypatch.setenv("GFNODE_CATALOGUE", str(own))
        assert find("md17:aspirin").mb == 3
        assert find("md17:mine").runs[0].remote.urls[0].endswith("data/npz/m.npz")
        assert find("md17:aspirin").simulate.startswith("gfnode simulate aspirin ")
        assert find("md17:mine").simulate.startswith("gfnode simulate STRUCTURE.xyz ")
        own.write_text("[mine]\ntitle = 'x'\n")
        with pytest.raises(InputError, match=r"form of gfnode's own catalogue: .* is missing"):
            catalogue()
        own.write_text("[mine")
        with pytest.raises(InputError, match=r"own\.toml: does not have the form"):
            catalogue()
        own.unlink()
        with pytest.raises(InputError, match="no such file"):
            catalogue()


def test_the_documented_catalogue(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "fetch.md").read_text(encoding="utf-8")
    (tmp_path / "own.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    monkeypatch.setenv("GFNODE_CATALOGUE", str(tmp_path / "own.toml"))
    urls = [find(f"md17:{name}").runs[0].remote.urls for name in ("uracil", "my-molecule")]
    places = ("md17_uracil.npz", "my_molecule.npz")
    assert urls == [(f"https://data.example.org/md17/{place}",) for place in places]


class TestFetch:
    def test_from_nothing_to_a_trajectory(self, server, folder):
        said = call("fetch", "md17:aspirin").output
        for each in (
            "md17:aspirin: C9H8O4, 21 atoms, 211762 frames every 0.5 fs, about 215 MB",
            f"to download: 215 MB into {folder}",
            f"file     {folder}/md17/md17_aspirin.npz",
            "licence  not stated",
            "cite     S. Chmiela",
            "units    lengths in Å, energies in kcal/mol",
        ):
            assert each in said
        trajectory = gfnode.load("md17:aspirin")
        assert (len(trajectory), trajectory.step, trajectory.label) == (12, 0.5, "aspirin")
        assert trajectory.formula == "C9H8O4"
        left = sorted(p.name for p in folder.rglob("*") if p.suffix != ".lock" and p.is_file())
        assert left == ["checksums.json", "md17_aspirin.npz"]
        pin = json.loads((folder / "checksums.json").read_text())["md17/md17_aspirin.npz"]
        assert pin["sha256"] == cache.sha256(folder / "md17" / "md17_aspirin.npz")
        assert pin["from"].startswith(server.url)
        call("fetch", "md17:aspirin")
        assert len(server.asked) == 1, "it is there"
        call("fetch", "md17:aspirin", "--offline")
        assert "yes" in call("fetch", "--list", "md17:aspirin").output

    def test_every_command_takes_its_name(self, server, tmp_path):
        server.files["/one/md17_uracil.npz"] = md17_bytes("C4H4N2O2", frames=400)
        call("fetch", "md17:uracil")
        said = call("data", "md17:uracil").output
        assert "400 frames" in said
        small = ("--set", "windows.most=[16,8,8]", "--set", "training.epochs=1")
        small += ("--set", "model.name=persistence", "--set", "windows.horizon=10fs")
        call("train", "--data", "md17:uracil", "--out", tmp_path / "run", *small)
        data = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
        assert data[0]["file"] == "md17:uracil"

    def test_what_is_not_there(self, folder):
        for name in ("md17:uracil", "MD17:uracil"):
            with pytest.raises(InputError, match=r"is not in .*: get it with `gfnode fetch md17"):
                gfnode.load(name)
        with pytest.raises(InputError, match="did you mean md17:uracil"):
            gfnode.load("md17:urasil")
        said = call("data", "md17:uracil", code=2).stderr
        assert said.count("\n") == 1
        said = call("fetch", "md17:uracil", "--offline", code=2).stderr
        assert "nothing is downloaded with --offline" in said
        assert not folder.exists()

    def test_next_mirror(self, server):
        server.always = {"/one/md17_aspirin.npz": "404"}
        said = call("fetch", "md17:aspirin")
        assert "HTTP 404 Not Found; trying the next" in said.stderr
        assert (server.count("/one/md17_aspirin.npz"), len(server.asked)) == (1, 2)

    def test_no_mirror(self, server, folder):
        server.always = {"/one/md17_aspirin.npz": "page", "/two/md17_aspirin.npz": "503"}
        result = call("fetch", "md17:aspirin", code=2)
        error = result.stderr.splitlines()[-1]
        assert "md17_aspirin.npz could not be downloaded from any of its 2 addresses" in error
        assert "by hand from http://www.sgdml.org/#datasets" in error
        assert f"put it into {folder}/md17" in error
        assert "make your own trajectory: gfnode simulate aspirin --temperature 500K" in error
        assert "HTTP 503 Service Unavailable" in result.stderr
        (folder / "md17" / "md17_aspirin.npz").write_bytes(ASPIRIN)  # as it says
        call("fetch", "md17:aspirin", "--offline")
        assert gfnode.load("md17:aspirin").n_atoms == 21

    def test_one_of_several_fails(self, server):
        said = call("fetch", "md17:uracil", "md17:aspirin", code=2)
        assert "1 of 2 could not be fetched" in said.stderr
        assert "md17:aspirin: C9H8O4" in said.stdout
        assert gfnode.load("md17:aspirin").n_atoms == 21

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (md17_bytes("C2H6O"), "holds C2H6O, expected C9H8O4"),
            (ASPIRIN[:5000] + bytes(50) + ASPIRIN[5050:], "is damaged"),
            (ASPIRIN[: len(ASPIRIN) // 2], "not an npz file, or is damaged"),
            (archive_bytes({"a": b"b"}), "sends something other than the file"),
            (archive_bytes({"a": b"b"}, "w"), "sends something other than the file"),
            (b"PK\x03\x04 and so on", "not an npz file, or is damaged"),
            (b"", "not an npz file, or is damaged"),
        ],
    )
    def test_a_wrong_file_is_not_taken(self, server, folder, content, said):
        server.files["/one/md17_aspirin.npz"] = content
        result = call("fetch", "md17:aspirin")
        assert said in result.stderr
        assert (folder / "md17" / "md17_aspirin.npz").read_bytes() == ASPIRIN
        assert server.url + "/two" in (folder / "checksums.json").read_text()

    def test_a_wrong_file_put_there_by_hand(self, server, folder):
        (folder / "md17").mkdir(parents=True)
        (folder / "md17" / "md17_aspirin.npz").write_bytes(md17_bytes("C2H6O"))
        assert "holds C2H6O, expected C9H8O4" in call("fetch", "md17:aspirin", code=2).stderr
        with pytest.raises(InputError, match="holds C2H6O, expected C9H8O4"):
            gfnode.load("md17:aspirin")

    def test_checked_against_the_first(self, server, folder):
        call("fetch", "md17:aspirin")
        other = md17_bytes("C9H8O4", seed=1)
        path = folder / "md17" / "md17_aspirin.npz"
        path.write_bytes(other)
        for refuse in (lambda: gfnode.load("md17:aspirin"), lambda: get("md17:aspirin")):
            with pytest.raises(InputError, match="is not the file downloaded from"):
                refuse()
        path.unlink()
        server.files = {"/one/md17_aspirin.npz": other, "/two/md17_aspirin.npz": ASPIRIN}
        said = call("fetch", "md17:aspirin").stderr
        assert "is not the file downloaded from" in said
        assert path.read_bytes() == ASPIRIN
        path.touch()  # another time of change: looked at again, and the same
        assert gfnode.load("md17:aspirin").n_atoms == 21

    @pytest.mark.parametrize("text", ["{", "[]", '{"md17/md17_aspirin.npz": 3}'])
    def test_damaged_checksums(self, server, folder, text):
        call("fetch", "md17:aspirin")
        (folder / "checksums.json").write_text(text)
        if text.startswith('{"'):
            call("fetch", "md17:aspirin", "--offline")
            return
        said = call("fetch", "md17:aspirin", code=2).stderr
        assert "checksums.json" in said
        assert said.count("\n") == 1

    def test_goes_on_after_an_interruption(self, server, folder):
        server.wrong = {"/one/md17_aspirin.npz": ["truncate"]}
        call("fetch", "md17:aspirin")
        assert server.asked[1][1] == f"bytes={len(ASPIRIN) // 2}-"

    def test_killed_when_all_was_done(self, server, folder):
        """Neither remembered, nor its note removed."""
        call("fetch", "md17:aspirin")
        (folder / "checksums.json").unlink()
        note = folder / "md17" / "md17_aspirin.npz.part.json"
        note.write_text("{}")
        call("fetch", "md17:aspirin")
        assert not note.exists()
        assert "md17/md17_aspirin.npz" in json.loads((folder / "checksums.json").read_text())
        assert len(server.asked) == 1

    def test_not_enough_room(self, server, monkeypatch):
        monkeypatch.setattr(
            "gfnode.fetching.shutil.disk_usage", lambda _: type("U", (), {"free": 1e6})
        )
        said = call("fetch", "md17:aspirin", code=2).stderr
        assert "needs about 215 MB" in said
        assert "GFNODE_CACHE" in said
        assert server.asked == []

    def test_a_folder_that_cannot_be_made(self, tmp_path, monkeypatch, server):
        (tmp_path / "taken").write_text("a file")
        monkeypatch.setenv("GFNODE_CACHE", str(tmp_path / "taken" / "cache"))
        assert "cannot create the folder" in call("fetch", "md17:aspirin", code=2).stderr

    def test_asks_before_much_is_downloaded(self, server, monkeypatch):
        monkeypatch.setattr("gfnode.cli.fetch._someone_is_there", lambda: True)
        no = CliRunner().invoke(app, ["fetch", "md17:aspirin"], input="n\n")
        assert no.exit_code == 1
        assert server.asked == []
        assert CliRunner().invoke(app, ["fetch", "md17:aspirin"], input="y\n").exit_code == 0
        assert len(server.asked) == 1

    def test_interrupted(self, server, monkeypatch):
        def stop(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(Fetcher, "fetch", stop)
        assert "the same command continues" in call("fetch", "md17:aspirin", code=130).stderr

    def test_python(self, server, folder):
        assert gfnode.fetch("md17:aspirin", progress=False) == [
            folder / "md17" / "md17_aspirin.npz"
        ]

    def test_two_at_once_do_not_disturb_each_other(self, server, folder):
        import threading

        server.always = {"/one/md17_aspirin.npz": "slow"}
        got = []
        threads = [threading.Thread(target=lambda: got.append(get("md17:aspirin"))) for _ in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 3
        assert server.count("/one/md17_aspirin.npz") == 1
        assert (folder / "md17" / "md17_aspirin.npz").read_bytes() == ASPIRIN


class TestArchive:
    ETHANOL = rmd17_bytes("C2H6O")
    TOLUENE = rmd17_bytes("C7H8", 1)

    @pytest.fixture
    def archived(self, server):
        members = {
            "rmd17/readme.txt": b"hello",
            "rmd17/npz_data/rmd17_toluene.npz": self.TOLUENE,
            "rmd17/npz_data/rmd17_ethanol.npz": self.ETHANOL,
        }
        server.files["/rmd17.tar.bz2"] = archive_bytes(members)
        return server

    def test_single_file_first(self, archived):
        archived.files["/one/rmd17_ethanol.npz"] = self.ETHANOL
        get("rmd17:ethanol")
        assert archived.count("/rmd17.tar.bz2") == 0

    def test_out_of_the_archive_which_is_downloaded_once(self, archived, folder):
        for name in ("ethanol", "toluene"):
            said = call("fetch", f"rmd17:{name}").stderr
            assert f"looking for rmd17_{name}.npz in rmd17.tar.bz2" in said
        assert archived.count("/rmd17.tar.bz2") == 1
        trajectory = gfnode.load("rmd17:ethanol")
        assert (trajectory.time_step, len(trajectory), trajectory.label) == (0.5, 12, "ethanol")
        assert (np.diff(trajectory.times) > 0).all()
        names = {path.name for path in (folder / "rmd17").iterdir() if path.suffix != ".lock"}
        assert names == {"rmd17.tar.bz2", "rmd17_ethanol.npz", "rmd17_toluene.npz"}

    @pytest.mark.parametrize("damage", ["cut", "flip", "empty", "none"])
    def test_a_bad_archive_is_not_kept(self, archived, folder, damage):
        good = archived.files["/rmd17.tar.bz2"]
        middle = len(good) // 2
        archived.files["/rmd17.tar.bz2"] = {
            "cut": good[:middle],
            "flip": good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :],
            "empty": archive_bytes({"rmd17/readme.txt": b"hello"}),
            "none": archive_bytes({"rmd17/npz_data/rmd17_ethanol.npz": md17_bytes("CH4")}),
        }[damage]
        said = call("fetch", "rmd17:ethanol", code=2).stderr
        assert re.search("damaged|holds no rmd17|holds CH4, expected C2H6O", said)
        assert "could not be downloaded from any of its 3 addresses" in said
        archived.files["/rmd17.tar.bz2"] = good
        call("fetch", "rmd17:ethanol")

    def test_names_and_links_inside_do_not_lead_out(self, tmp_path):
        import tarfile

        name = "rmd17/npz_data/rmd17_ethanol.npz"
        (tmp_path / "secret").write_text("secret")
        archive = tmp_path / "bad.tar"
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            with tarfile.open(archive, "w") as opened:
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, str(tmp_path / "secret")
                opened.addfile(member)
                opened.addfile(tarfile.TarInfo("../../outside"))
            with pytest.raises(InputError, match="is not a file"):
                extract(archive, name, tmp_path / "out")
        with tarfile.open(archive, "w") as opened:
            member = tarfile.TarInfo(name)
            member.size = 2**60
            opened.fileobj.write(member.tobuf())
        with pytest.raises(InputError, match="too large"):
            extract(archive, name, tmp_path / "out")


class TestSeveralRuns:
    @pytest.fixture
    def ala2(self, server, tmp_path):
        for name, content in ala2_bytes(tmp_path).items():
            server.files[f"/one/{name}"] = content
        return server

    def test_runs_and_topology(self, ala2):
        said = call("fetch", "ala2").output
        assert "3 runs of 250000 frames every 1 ps" in said
        with pytest.raises(InputError, match="has 3 separate runs: name one of them, ala2/0, ala2"):
            gfnode.load("ala2")
        with pytest.raises(InputError, match="ala2 has no run 3: expected 0 to 2"):
            gfnode.load("ala2/3")
        second = gfnode.load("ala2/1")
        assert (second.formula, second.step, second.label) == (
            "C6H12N2O2",
            1000,
            "alanine-dipeptide",
        )
        assert second.topology is not None
        runs = Reader().load("ala2")
        assert [len(each) for each in runs] == [12, 12, 12]
        assert runs[1].fingerprint == second.fingerprint
        assert gfnode.load("mdshare:alanine-dipeptide/1").fingerprint == second.fingerprint

    def test_what_is_to_download_is_what_is_missing(self, ala2, folder):
        whole = sum(part.remote.mb for part in find("ala2").parts)
        assert f"to download: {whole:.0f} MB" in call("fetch", "ala2", "--yes").output
        first = find("ala2").runs[0].remote
        cache.path_of(first.place).unlink()
        assert f"to download: {first.mb:.0f} MB" in call("fetch", "ala2").output

    def test_a_local_folder_of_that_name_is_not_hidden(self, ala2, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "ala2").mkdir()
        with pytest.raises(InputError, match="ala2: is a folder"):
            gfnode.load("ala2")

    def test_a_wrong_topology(self, ala2, folder):
        gfnode.load("sample:toluene")[0].save(folder.parent / "toluene.pdb")
        wrong = (folder.parent / "toluene.pdb").read_bytes()
        ala2.files["/one/alanine-dipeptide-nowater.pdb"] = wrong
        said = call("fetch", "ala2", code=2).stderr
        assert "has 22 atoms, but its topology" in said

    def test_published_size_and_checksum(self, monkeypatch, tmp_path):
        """As the real catalogue has them."""
        monkeypatch.delenv("GFNODE_CATALOGUE", raising=False)
        entry = find("ala2")
        from gfnode.fetching import check_content

        path = tmp_path / entry.top.remote.name
        path.write_bytes(b"x" * 1813)
        with pytest.raises(InputError, match=r"has MD5 .* expected 7286356"):
            check_content(entry, entry.top, path)
        path.write_bytes(b"x")
        with pytest.raises(InputError, match="has 1 bytes, expected 1813"):
            check_content(entry, entry.top, path)


def test_cache_folder(monkeypatch):
    monkeypatch.setenv("GFNODE_CACHE", "~/somewhere")
    assert cache.folder() == Path.home() / "somewhere"
    monkeypatch.delenv("GFNODE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/tmp/xdg")
    assert cache.folder().name == "gfnode"


def test_list():
    said = call("fetch", "--list").output
    assert all(name in said for name in catalogue())
    assert "MB" in said
    assert "cache folder" in said
    assert "nothing to fetch" in call("fetch", code=2).stderr


@pytest.mark.parametrize("wrong", [3, None, ["md17:aspirin"]])
def test_a_name_is_text(wrong):
    with pytest.raises(InputError, match=r"the trajectory is .*, expected a name such as md17:"):
        gfnode.fetch(wrong, offline=True)
