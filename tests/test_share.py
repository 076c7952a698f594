"""A run as a model for others: complete, private, and refused when it was changed."""

import contextlib
import getpass
import io
import json
import os
import pickle
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from safetensors import safe_open

import gfnode
from commands import call
from gfnode.errors import InputError
from gfnode.files import read_json
from gfnode.run import Run
from gfnode.run import exported as layout
from gfnode.run.fitting import Reader
from gfnode.share import citation
from gfnode.share.card import escaped, fenced, model_card, plain
from gfnode.share.export import export
from gfnode.weights import save_tensors
from making import QUICK, quick_run, wiggle

HOSTILE = (
    "x\n---\nlicense: mit\n| a | <script>alert(1)</script> [l](http://evil) `c` \u202e\x00 ```"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An evaluated run, its data, and the exported model."""
    folder = tmp_path_factory.mktemp("private folder")
    path = wiggle().save(folder / "wiggle.npz")
    run = quick_run(path, folder / "run")
    run.evaluate()
    return folder / "run", path, export(run, folder / "model", licence="CC-BY-4.0")


@pytest.fixture
def model(made, tmp_path):
    """A copy to do harm to."""
    return shutil.copytree(made[2], tmp_path / "model")


def resealed(folder, **changes):
    """Change the configuration and its checksum, as one who does it on purpose."""
    config = read_json(folder / "config.json")
    for key, value in changes.items():
        *path, last = key.split("__")
        target = config
        for name in path:
            target = target[name]
        target[last] = value
    config["files"] = (
        {name: layout.describe_file(folder / name) for name in config["files"]}
        if isinstance(config["files"], dict)
        else config["files"]
    )
    config["checksum"] = layout.checksum(config)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def head(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


# What it holds


def test_the_folder_has_the_layout_of_a_hub(made):
    names = {path.name for path in made[2].iterdir()}
    assert names == {
        *("model.safetensors", "baselines.safetensors", "config.json", "evaluation.json"),
        *("calibration.safetensors", "README.md"),
    }
    with safe_open(made[2] / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    config = read_json(made[2] / "config.json")
    assert (config["format"], config["version"]) == ("gfnode-model", 2)
    assert config["lags_fs"] == [5.0, 60.0]
    assert config["units"] == {
        "positions": "angstrom",
        "velocities": "angstrom/fs",
        "times": "fs",
    }
    assert config["experiment"] == read_json(made[0] / "run.json")["experiment"]
    assert set(config["files"]) == names - {"config.json", "README.md"}
    assert (made[2].stat().st_mode & 0o777) == (made[0].stat().st_mode & 0o777)


def test_it_predicts_and_evaluates_like_the_run(made, tmp_path):
    folder, path, model = made
    run, other = Run.open(folder), Run.open(shutil.copytree(model, tmp_path / "elsewhere"))
    assert other.exported
    assert not run.exported
    one, two = (each.predict(path, [20.0, 60.0], frame=5) for each in (run, other))
    assert np.array_equal(one.positions, two.positions)
    given = gfnode.load(path)
    before = {p.name: p.read_bytes() for p in other.folder.iterdir()}
    found = other.evaluate(given).to_dict()
    assert json.loads(json.dumps(found)) == read_json(model / "evaluation.json")
    assert {p.name: p.read_bytes() for p in other.folder.iterdir()} == before
    unseen = wiggle(150, seed=1)
    assert other.evaluate(unseen).errors["gfnode"] == pytest.approx(
        run.evaluate(unseen).errors["gfnode"]
    )
    with pytest.raises(InputError, match=r"without its training data \(wiggle.npz\)"):
        other.evaluate()


def test_the_sample_is_found_again(tmp_path):
    changes = {"windows.horizon": "200fs", "model.name": "persistence"}
    run = gfnode.fit("sample:toluene", changes=changes, out=tmp_path / "run", progress=False)
    model = Run.open(export(run, tmp_path / "model"))
    assert (
        model.evaluate().errors["persistence"].shape == run.evaluate().errors["persistence"].shape
    )
    assert 480 < model.facts["data"][0]["temperature_K"] < 520


def test_nothing_tells_of_this_machine(tmp_path, monkeypatch):
    """Neither folders (with spaces too) nor the user, in any file."""
    home = tmp_path / "home of" / "somebody"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    wiggle().save(home / "traj.xtc")
    note = f"made whole with {home}/tools/unwrap and /opt/secret/other.dat and C:\\Users\\me\\x.top"
    loaded = gfnode.load(home / "traj.xtc", top=home / "traj.pdb")
    monkeypatch.setattr(
        "gfnode.readers.reader.load",
        lambda *a, **k: type(loaded)(**vars(loaded) | {"notes": (note,)}),
    )
    reader = Reader(top=str(home / "traj.pdb"), stride=1)
    run = gfnode.fit(
        str(home / "traj.xtc"),
        changes=QUICK,
        out=home / "run2",
        reader=reader,
        progress=False,
    )
    run.evaluate()
    model = export(run, home / "model")
    text = "".join(path.read_bytes().decode("latin-1") for path in sorted(model.iterdir()))
    for word in ("somebody", "home of", str(tmp_path), "/opt", "secret", "Users", str(Path.cwd())):
        assert word not in text, word
    if (user := getpass.getuser()) != "root":
        assert user not in text
    config = read_json(model / "config.json")
    assert config["data"][0]["file"] == "traj.xtc"
    assert config["data"][0]["reader"] == {"stride": 1}
    assert config["notes"][0] == "made whole with unwrap and other.dat and x.top"
    assert "--data traj.xtc --top traj.pdb --stride 1" in config["command"]
    assert config["command"].endswith("--out run2")


# The card


def test_the_card_is_read_by_a_hub_and_by_people(made):
    front, body = head(made[2])
    assert front["license"] == "cc-by-4.0"
    assert front["library_name"] == "gfnode"
    assert front["tags"][-1] == "H2O"
    evaluation = read_json(made[0] / "evaluation.json")
    own = evaluation["methods"]["gfnode"]
    result = front["model-index"][0]["results"][0]
    assert result["dataset"]["name"] == "wiggle"
    assert [each["value"] for each in result["metrics"]] == [
        own[key]["value"] for key in ("mean_over_lags", "last_lag", "superposed_mean_over_lags")
    ]
    assert "H2O, 3 atoms, 400 frames over 1.995 ps, " in body
    assert "from 5 fs to 60 fs" in body
    assert "Order of the atoms: O H H" in body
    for name in evaluation["methods"]:
        assert re.search(rf"^\| {name} \| \d", body, re.M), name
    assert body.count("times its MSE") == 4
    assert "Weights: CC-BY-4.0." in body
    assert citation.PAPER in body
    assert "gfnode train --data wiggle.npz" in body
    assert layout.describe_file(made[2] / "model.safetensors")["sha256"] in body
    assert "- rotation: rotating the start rotates the prediction" in body


def test_what_was_evaluated_is_told_by_the_weights_and_not_by_the_times_of_files(tmp_path, made):
    copy = shutil.copytree(made[0], tmp_path / "run")
    for path in copy.iterdir():  # as git or cp leave them
        os.utime(path, (10**9, 10**9 + (path.suffix == ".safetensors")))
    model = export(copy, tmp_path / "model")
    assert "**Not evaluated.**" not in head(model)[1]
    written = read_json(copy / "evaluation.json")
    del written["weights_sha256"]
    assert read_json(model / "evaluation.json") == written
    weights = bytearray((copy / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "weights.safetensors").write_bytes(weights)
    os.utime(copy / "weights.safetensors", (10**8, 10**8))
    assert "**Not evaluated.**" in head(export(copy, tmp_path / "other"))[1]


def test_a_card_without_evaluation_or_licence_says_so(tmp_path, made):
    folder = shutil.copytree(made[0], tmp_path / "run")
    (folder / "evaluation.json").unlink()
    model = export(folder, tmp_path / "model")
    front, body = head(model)
    assert front["license"] == "unknown"
    assert "model-index" not in front
    assert "**Not evaluated.**" in body
    assert "Not stated." in body
    assert not (model / "evaluation.json").exists()
    other, body = head(export(folder, tmp_path / "b", licence="My Own 1.0", authors=["A", "B & C"]))
    assert other["license"] == "other"
    assert other["license_name"] == "My Own 1.0"
    assert r"Model by A, B \& C." in body


@pytest.mark.parametrize(
    ("draws", "said"),
    [
        (None, "most conformational changes are missed"),
        ("samples", "`gfnode sample` draws ensembles"),
        ("motions", "`gfnode rollout` follows one"),
    ],
)
def test_the_card_says_what_a_prediction_is(made, draws, said):
    config = read_json(made[2] / "config.json")
    assert config["draws"] is None
    assert said in model_card(config | {"draws": draws}, None, "model")


def test_the_card_names_no_velocities_that_were_never_stored(made):
    config = read_json(made[2] / "config.json")
    assert "one conformation and its velocities, it predicts" in model_card(config, None, "model")
    card = model_card(config | {"velocity_gap_fs": -5.0}, None, "model")
    assert "and the frame 5 fs before it instead of velocities, it predicts" in card


def test_what_is_drawn_is_told_of_the_model(tmp_path):
    run = quick_run(wiggle(), tmp_path / "run", model={"name": "ito", "width": 6})
    assert read_json(export(run, tmp_path / "model") / "config.json")["draws"] == "samples"


def test_what_is_not_kept_is_said(tmp_path):
    changes = {"model": {"name": "gfnode", "basis": "path", "width": 6}}
    run = quick_run(wiggle(), tmp_path / "run", **changes)
    assert "permutation: **not kept**: " in head(export(run, tmp_path / "model"))[1]


def test_hostile_words_break_neither_markdown_nor_yaml(tmp_path):
    data = wiggle()
    data = type(data)(**vars(data) | {"name": HOSTILE, "notes": (HOSTILE,)})
    run = quick_run(data, tmp_path / "run")
    run.record(versions=run.facts["versions"] | {HOSTILE: HOSTILE})
    model = export(run, tmp_path / "model", name=HOSTILE, licence=HOSTILE, authors=[HOSTILE])
    front, body = head(model)
    assert front["license"] == "other"
    assert front["tags"][-1] == "H2O"
    assert set(front) == {
        *("license", "license_name", "library_name", "pipeline_tag", "tags", "metrics")
    }
    assert not {"\x00", "\u202e"} & set(body)
    shown = MarkdownIt().enable("table").render(body)
    assert "<script>" not in shown
    assert set(re.findall(r'href="([^"]*)"', shown)) == {"#citation"}
    assert shown.count("<h2>") == 10
    assert shown.count("<h1>") == 1
    assert not re.search(r"(?<!\\)://", re.sub(r"```.*?```", "", body, flags=re.S))
    for table in re.findall(r"<table>.*?</table>", shown, re.S):
        widths = [row.count("<td>") for row in table.split("<tr>")[2:]]
        assert set(widths) == {table.count("<th>")}
    assert Run.open(model).predict(wiggle(), [20.0]).n_atoms == 3


@given(st.text(max_size=80))
@settings(max_examples=60, deadline=None)
def test_any_text_stays_on_its_line(text):
    assert "\n" not in plain(text)
    assert len(plain(text)) <= 200
    front = yaml.safe_load("a: " + json.dumps(plain(text), ensure_ascii=False))
    assert front == {"a": plain(text)}
    assert not re.search(r"(?<!\\)(\\\\)*[<>|`\[\]*_]", escaped(text))
    block = fenced(text, "sh").splitlines()
    assert block[-1] not in text or set(block[-1]) == {"`"}


def test_the_citation_is_that_of_the_package():
    facts = yaml.safe_load((Path(__file__).parents[1] / "CITATION.cff").read_text("utf-8"))
    assert facts["title"] == citation.SOFTWARE
    assert facts["references"][0]["title"] == citation.PAPER
    assert f"version = {{{facts['version']}}}" in citation.bibtex()
    assert f"year   = {{{facts['references'][0]['year']}}}" in citation.bibtex()


# Changed and damaged


def test_every_flipped_bit_of_a_file_is_found(model, made):
    rng = np.random.default_rng(0)
    for name in ("model.safetensors", "baselines.safetensors", "evaluation.json"):
        path, content = model / name, (made[2] / name).read_bytes()
        for _ in range(30):
            harmed = bytearray(content)
            harmed[rng.integers(len(content))] ^= 1 << rng.integers(8)
            path.write_bytes(harmed)
            with pytest.raises(InputError, match=rf"{name} is not the file that was exported"):
                Run.open(model)
        path.write_bytes(content[:-1])
        with pytest.raises(InputError, match=rf"it has {len(content) - 1} bytes"):
            Run.open(model)
        path.write_bytes(content)
    Run.open(model)


@given(st.integers(0), st.integers(0, 7))
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_flipped_bit_of_the_configuration_is_found_or_means_nothing(model, made, place, bit):
    """1e-05 may become 1E-05, and a space a tab outside of a string: these are the same data."""
    content = (made[2] / "config.json").read_bytes()
    harmed = bytearray(content)
    harmed[place % len(content)] ^= 1 << bit
    (model / "config.json").write_bytes(harmed)
    try:
        found = layout.read_config(model)
    except InputError:
        pass
    else:
        assert found == json.loads(content)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "transformers"}, r"its format is 'transformers', expected 'gfnode-model'"),
        ({"version": 3}, r"exported in format 3, this gfnode reads format 2; pip install"),
        ({"version": 1}, r"exported in format 1, .* train and export it again"),
        ({"version": True}, "train and export"),
        ({"version": None}, "pip install --upgrade"),
        ({"system": 3}, "'system' is missing or not of type dict"),
        ({"data": {}}, "'data' is missing or not of type list"),
        ({"system": {}}, "config.json is damaged: KeyError"),
        ({"system__atoms": [0, 1, 99]}, "config.json is damaged"),
        ({"experiment__model__name": "unheard-of"}, "unknown model 'unheard-of'"),
        ({"experiment__model__width": 8}, "model.safetensors: these weights do not fit the model"),
        ({"experiment__windows__times": "many"}, "windows.times"),
        ({"experiment__model__width": 10**9}, "width: .* less than or equal to 4096"),
        ({"experiment__model__encoder_layers": 2**70}, "encoder_layers: .* equal to 100"),
        ({"velocity_gap_fs": "x"}, "differences over 'x' fs"),
        ({"velocity_gap_fs": 0.0}, "differences over 0.0 fs"),
        ({"files": 3}, "'files' is missing or not of type dict"),
        ({"files": {}}, "does not name model.safetensors"),
        ({"files": {"../run.json": {}}}, r"names '../run.json', which is not a file of a model"),
    ],
    ids=str,
)
def test_a_configuration_that_makes_no_sense_is_refused(model, changes, said):
    config = read_json(model / "config.json")
    if "files" in changes:
        config |= changes
        config["checksum"] = layout.checksum(config)
        (model / "config.json").write_text(json.dumps(config))
    else:
        resealed(model, **changes)
    with pytest.raises(InputError, match=said):
        Run.open(model)


@given(st.data())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_configuration_of_any_content_is_refused_or_works(model, made, data):
    """Its sums are right, as of one who changes it on purpose; nothing but InputError comes."""
    config = read_json(made[2] / "config.json")
    keys = st.sampled_from(sorted(config.keys() - {"files", "checksum"}))
    target, key = config, data.draw(keys)
    while isinstance(target[key], dict | list) and target[key] and data.draw(st.booleans()):
        target = target[key]
        key = data.draw(
            st.sampled_from(sorted(target) if isinstance(target, dict) else range(len(target)))
        )
    odd = [None, -1, 0, 1e308, 2**70, "x", "", "\x00", True, 0.5, [], [[]], [1, 2], {}, {"a": 1}]
    target[key] = data.draw(st.sampled_from(odd))
    config["checksum"] = layout.checksum(config)
    (model / "config.json").write_text(json.dumps(config))
    with warnings.catch_warnings(), contextlib.suppress(InputError):
        warnings.simplefilter("ignore")
        found = Run.open(model)
        assert found.predict(wiggle(20), [20.0]).positions.shape[0] == 1
        found.trajectories()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "[" * 100_000, "{}", '{"format": "gfnode-model"}', "\x00"]
)
def test_a_configuration_that_is_none_is_refused(model, text):
    (model / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json|was exported in format None"):
        Run.open(model)


def test_an_edited_configuration_is_refused(model):
    text = (model / "config.json").read_text()
    (model / "config.json").write_text(text.replace('"horizon_fs": 60.0', '"horizon_fs": 600.0'))
    with pytest.raises(InputError, match="was changed or damaged after the export"):
        Run.open(model)
    assert json.loads(text) != read_json(model / "config.json")
    (model / "config.json").write_text(json.dumps(json.loads(text)))  # laid out otherwise
    Run.open(model)


@pytest.mark.parametrize("name", ["model.safetensors", "baselines.safetensors"])
def test_a_file_that_is_missing_is_refused(model, name):
    (model / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: cannot be read: .*; it belongs to the model"):
        Run.open(model)


def test_wrong_tensors_are_refused_even_with_the_right_sums(model):
    save_tensors(model / "model.safetensors", {"a": torch.zeros(3)}, None)
    with pytest.raises(InputError, match=r"model\.safetensors: these weights do not fit the model"):
        Run.open(resealed(model))
    (model / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        Run.open(resealed(model))


def test_a_pickle_is_never_opened(model, monkeypatch):
    class Harm:
        def __reduce__(self):
            return (os.system, ("touch harmed",))

    buffer = io.BytesIO()
    pickle.dump(Harm(), buffer)
    monkeypatch.chdir(model)
    good = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="is not the file that was exported"):
        Run.open(model)
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        Run.open(resealed(model))
    (model / "model.safetensors").write_bytes(good)
    resealed(model)
    (model / "pytorch_model.bin").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"pytorch_model\.bin does not belong to this model"):
        Run.open(model)
    assert not Path("harmed").exists()


def same(run, other):
    """Whether two runs have the same weights."""
    mine, theirs = run.model.state_dict(), other.model.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(v, theirs[k]) for k, v in mine.items())


def test_harmless_files_beside_it_are_left_alone(model):
    before = Run.open(model)
    for name in (".gitattributes", "picture.png", "NOTES.txt"):
        (model / name).write_text("x")
    (model / "README.md").write_text("my own words")
    assert same(Run.open(model), before)


def test_links_are_followed(model, tmp_path):
    """Caches of hubs hold links to files elsewhere."""
    before = Run.open(model)
    for path in list(model.iterdir()):
        path.rename(tmp_path / f"blob-{path.name}")
        path.symlink_to(tmp_path / f"blob-{path.name}")
    assert same(Run.open(model), before)


# Where it may be written


def test_what_cannot_be_exported_is_refused(made, model, tmp_path):
    folder = shutil.copytree(made[0], tmp_path / "run")
    with pytest.raises(InputError, match="is an exported model already: copy the folder"):
        export(model, tmp_path / "other")
    with pytest.raises(
        InputError, match="is an exported model: training can only be continued in its run"
    ):
        gfnode.resume(model)
    before = {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}
    with pytest.raises(InputError, match="holds an exported model, which is never changed"):
        gfnode.fit(made[1], changes=QUICK, out=model, progress=False)
    assert before == {path.name: path.read_bytes() for path in model.iterdir() if path.is_file()}
    with pytest.raises(InputError, match="holds an exported model; write over it"):
        export(folder, model)
    with pytest.raises(InputError, match="holds something else; choose another"):
        export(folder, folder)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file; give the name of a folder"):
        export(folder, tmp_path / "file")
    (folder / "weights.safetensors").unlink()
    with pytest.raises(InputError, match="no validated weights yet"):
        export(folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".gfnode")]


def test_writing_over_replaces_what_is_of_the_model(made, model, tmp_path):
    folder = shutil.copytree(made[0], tmp_path / "run")
    (folder / "evaluation.json").unlink()
    (model / ".gitattributes").write_text("kept")
    export(folder, model, overwrite=True, name="again")
    assert Run.open(model).facts["name"] == "again"
    assert not (model / "evaluation.json").exists()
    assert (model / ".gitattributes").read_text() == "kept"
    (tmp_path / "empty").mkdir()
    assert Run.open(export(folder, tmp_path / "empty")).exported


def test_a_single_file_is_no_model(made):
    with pytest.raises(InputError, match="is a file, expected a folder"):
        Run.open(made[2] / "model.safetensors")


# On the command line


def test_the_commands(made, tmp_path):
    folder, path, _ = made
    model, out = tmp_path / "model", tmp_path / "p.npz"
    done = call("export", folder, "--out", model, "--name", "Water")
    assert done.exit_code == 0, done.output
    assert "Water: " in done.stdout
    assert layout.describe_file(model / "config.json")["sha256"] in done.stdout
    assert "no licence is stated" in done.stderr
    done = call("predict", model, "--start", path, "--times", "20fs", "--out", out)
    assert done.exit_code == 0, done.output
    assert gfnode.load(out).n_atoms == 3
    done = call("evaluate", model, "--data", path)
    assert "test part of the training data" in done.stdout
    assert "warning: an exported model has no training data: the constant" in done.stderr
    (model / "model.safetensors").write_bytes(b"")
    for words in (
        ("predict", model, "--start", path, "--times", "20fs", "--out", out),
        ("evaluate", model, "--data", path),
        ("export", model, "--out", tmp_path / "x"),
        ("report", model),
    ):
        done = call(*words)
        assert done.exit_code == 2
        assert re.fullmatch(r"error: .*model\.safetensors is not the file .*\n", done.stderr)


def test_a_comparison_that_cannot_be_made_is_refused_before_any_work(model, made, tmp_path):
    run, moved = (Path(shutil.copytree(made[0], tmp_path / name)) for name in ("run", "moved"))
    facts = read_json(moved / "run.json")
    facts["data"][0]["file"] = str(tmp_path / "gone.npz")
    (moved / "run.json").write_text(json.dumps(facts))
    before = sorted(run.iterdir())
    for other, told in (
        (model, "is an exported model, but a report needs a run folder"),
        (moved, r"gone\.npz: no such file, but .*moved was trained on it"),
    ):
        done = call("report", run, other, "--out", tmp_path / "report.html")
        assert done.exit_code == 2
        assert done.stdout == ""
        assert re.search(told, done.stderr)
        assert sorted(run.iterdir()) == before


def test_a_report_of_an_exported_model_is_refused(model, made):
    done = call("report", model, "--data", made[1])
    assert done.exit_code == 2
    assert "is an exported model, but a report needs a run folder" in done.stderr
