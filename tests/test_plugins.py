"""Models and readers of other packages: found, used, named when they are broken or missing."""

import json
import re
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import gfnode
from distributions import FLYER, installed, write_distribution
from gfnode.cli import app
from gfnode.cli import console as console_module
from gfnode.errors import InputError
from gfnode.experiment import configure
from gfnode.models import MODELS, Entry, Model, build, read_options
from gfnode.plugins import PluginWarning, remedy
from gfnode.readers import FORMATS, load, save
from gfnode.run import Run
from gfnode.run.opening import assemble
from making import system_of, wiggle
from processes import python

POINTS = {"gfnode.models": {"flyer": "FLYER"}, "gfnode.readers": {"table": "TABLE"}}
CHANGES = {
    "windows": {"horizon": 60.0, "times": 3, "most": [70, 20, 40], "score": "all"},
    "training": {"epochs": 2, "batch": 16},
    "model": {"name": "flyer", "memory": 30.0},
    "accelerator": "cpu",
}


@pytest.fixture(scope="module", autouse=True)
def nothing_else():
    """Plug-ins that happen to be installed here have no say."""
    with installed():
        yield


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    write_distribution(folder, "flying-atoms", "1.2.3", FLYER, POINTS)
    return folder


@pytest.fixture(scope="module")
def made(package, tmp_path_factory):
    """A run made with the plug-in model on a file that the plug-in reader reads."""
    folder = tmp_path_factory.mktemp("made")
    with installed(package):
        path = save(wiggle(velocities=False), folder / "wiggle.table")
        gfnode.fit(path, changes=CHANGES, out=folder / "run", progress=False)
    return folder / "run", path


def broken(folder, name, code, **points):
    folder.mkdir(exist_ok=True)
    write_distribution(folder, name, "0.1", code, points or {"gfnode.models": {"bad": "BAD"}})
    return folder


# In use


class Unpromising(Model):
    """A model that does not say which symmetries it keeps."""


def test_what_else_is_installed_has_no_say(package, tmp_path, monkeypatch):
    """These tests failed on a machine with another package of plug-ins."""
    points = {"gfnode.models": {"flyer": "FLYER", "foreign": "FLYER", "broken": "NOTHING"}}
    write_distribution(tmp_path, "foreign-atoms", "1", FLYER, points)
    monkeypatch.syspath_prepend(tmp_path)
    for folders in ((), (package,)):
        with installed(*folders):
            assert [name for name in MODELS if MODELS.origin(name)] == ["flyer"] * len(folders)


def test_nothing_is_imported_before_it_is_asked_for(package):
    with installed(package):
        assert MODELS["gfnode"].model
        assert "flyer" in MODELS
        assert ".table" in FORMATS
        assert str(MODELS.origin("flyer")) == "flying-atoms 1.2.3"
        assert "flying_atoms" not in sys.modules
        assert isinstance(MODELS["flyer"], Entry)
        assert "flying_atoms" in sys.modules
    assert "flyer" not in MODELS
    assert list(MODELS)[:2] == ["gfnode", "egnn"]


def test_a_model_of_a_plugin_trains_and_comes_back(package, made):
    folder, path = made
    facts = json.loads((folder / "run.json").read_text())
    assert facts["versions"]["flying-atoms"] == "1.2.3"
    with installed(package):
        code = MODELS.code("flyer")
    assert re.fullmatch("[0-9a-f]{64}", code)
    assert facts["plugins"] == {
        "models": {"flyer": "flying-atoms"},
        "readers": {".table": "flying-atoms"},
        "code": {"flyer": code},
    }
    with installed(package):
        run = Run.open(folder)
        assert run.evaluate().model == "flyer"
        found = run.predict(path, [20.0], frame=3)
        start = load(path)
        fly = run.model.log_memory.exp().item()
        velocity = (start.positions[3] - start.positions[2]) / 5.0
        expected = start.positions[3] - fly * np.expm1(-20.0 / fly) * velocity
        np.testing.assert_allclose(found.positions[0], expected, atol=1e-5)
        assert read_options("flyer", {}) == {"memory": 20.0}
        assert sum(w.numel() for w in build("flyer", system_of("ethanol")).parameters()) == 1
        with pytest.raises(InputError, match=r"options of model flyer: .*'memory'"):
            read_options("flyer", {"memry": 3.0})


def test_models_are_listed_with_their_package(package, monkeypatch):
    monkeypatch.setattr(console_module, "WIDTH", 250)  # no line is broken
    with installed(package):
        said = CliRunner().invoke(app, ["models"]).output
        options = CliRunner().invoke(app, ["settings", "model", "--model", "flyer"]).output
    assert re.search(
        r"flyer +every atom flies on and slows down \(from flying-atoms 1\.2\.3\)", said
    )
    assert re.search(r"model\.memory +20\.0 +How long a velocity lasts, in fs\.", options)
    assert "(from" not in said.replace("(from flying-atoms 1.2.3)", "")


def test_a_run_without_plugins_names_none(tmp_path):
    changes = CHANGES | {"model": {"name": "persistence"}}
    run = gfnode.fit(wiggle(), changes=changes, out=tmp_path / "run", progress=False)
    assert run.facts["plugins"] == {"models": {}, "readers": {}}


def test_the_command_line_of_an_installed_package(package, made, tmp_path):
    """In a process of its own, which finds the distribution as one that pip installed."""
    folder, path = made
    words = ["predict", folder, "--start", path, "--times", "20fs", "--out", tmp_path / "p.table"]
    code = f"import sys; sys.path.insert(0, {str(package)!r}); from gfnode.cli import main; main()"
    assert "1 frame of 3 atoms" in python("-c", code, *words).stdout
    assert (tmp_path / "p.table").read_text().startswith("# 8,1,1\n")


def test_a_plugin_model_is_shared(package, made, tmp_path):
    with installed(package):
        model = gfnode.export(made[0], tmp_path / "model")
        assert Run.open(model).predict(wiggle(), [20.0]).n_atoms == 3
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "It needs the package flying-atoms in addition to gfnode." in card
    with pytest.raises(InputError, match=r"pip install flying-atoms==1\.2\.3"):
        Run.open(model)


# Missing


def test_a_run_of_a_missing_plugin_says_what_to_install(made, package, tmp_path):
    folder, _ = made
    said = r"its model 'flyer' comes from the package flying-atoms 1\.2\.3, which is not installed"
    with pytest.raises(InputError, match=said + r".*pip install flying-atoms==1\.2\.3"):
        Run.open(folder)
    result = CliRunner().invoke(app, ["evaluate", str(folder)])
    assert result.exit_code == 2
    assert re.search(said, result.stderr)
    only_model = tmp_path / "site"
    only_model.mkdir()
    write_distribution(
        only_model, "flying-atoms", "1.2.3", FLYER, {"gfnode.models": {"flyer": "FLYER"}}
    )
    with installed(only_model):
        run = Run.open(folder)
        run.predict(wiggle(), [20.0])
        with pytest.raises(InputError, match=r"trained on \.table files, read by flying-atoms"):
            run.evaluate()


@pytest.mark.parametrize(
    ("package", "version"),
    [("evil; rm -rf", "1"), ("--index-url=x", "1"), ("a b", "1"), (None, None), (["x"], "1")],
)
def test_what_is_no_name_of_a_package_is_not_repeated(package, version):
    assert remedy(package, version) == "install the package it came from, if you trust it"


def test_what_is_no_version_is_not_repeated():
    assert remedy("good-name", "1; rm") == (
        "install the package it came from, if you trust it (pip install good-name)"
    )


def test_a_model_of_another_package_is_told(made, tmp_path):
    write_distribution(tmp_path, "other-flyer", "9", FLYER, POINTS)
    with (
        installed(tmp_path),
        pytest.warns(PluginWarning, match=r"comes from other-flyer 9 and may be different"),
    ):
        Run.open(made[0])


def test_another_version_of_the_package_is_told(made, tmp_path):
    write_distribution(tmp_path, "flying-atoms", "2.0", FLYER, POINTS)
    said = r"'flyer' was made with flying-atoms 1\.2\.3, but 2\.0 is installed: .* gfnode evaluate"
    with installed(tmp_path), pytest.warns(PluginWarning, match=said):
        Run.open(made[0])


def test_changed_code_of_the_same_version_is_told(made, tmp_path):
    write_distribution(tmp_path, "flying-atoms", "1.2.3", FLYER + "# faster\n", POINTS)
    said = r"the code of flying-atoms 1\.2\.3 has changed since its model 'flyer' was made"
    with installed(tmp_path), pytest.warns(PluginWarning, match=said):
        run = Run.open(made[0])
    with installed(tmp_path):  # not again, of a folder whose name nobody knows
        gfnode.export(run, tmp_path / "model")


@pytest.mark.parametrize(
    "plugins", [3, [], {"models": 3}, {"models": {"flyer": {}}}, {"models": []}]
)
def test_a_run_json_with_odd_plugins_is_refused(made, tmp_path, plugins):
    folder = shutil.copytree(made[0], tmp_path / "run")
    facts = json.loads((folder / "run.json").read_text()) | {"plugins": plugins}
    (folder / "run.json").write_text(json.dumps(facts))
    with pytest.raises(InputError):
        Run.open(folder)


# Broken


BROKEN = {
    "no such attribute": ("", "AttributeError"),
    "import fails": ("import no_such_module", "ModuleNotFoundError: No module named"),
    "any error": ("1 / 0", "ZeroDivisionError: division by zero"),
    "syntax": ("def", "SyntaxError"),
    "exit": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "not an entry": ("BAD = 3", "expected a gfnode.models.Entry, got int"),
    "not a model": (
        "from gfnode.models import Entry\nBAD = Entry(dict, None, '')",
        "must be a gfnode.models.Model that defines promises",
    ),
    "no promises": (
        "from gfnode.models import Entry, Model\nBAD = Entry(type('M', (Model,), {}), None, '')",
        "defines promises",
    ),
    "no settings": (
        "from gfnode.models import MODELS, Entry\nBAD = Entry(MODELS['egnn'].model, dict, '')",
        "must be a gfnode.settings.Settings",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_model_is_named_and_harms_no_other(case, package, tmp_path):
    code, said = BROKEN[case]
    with installed(package, broken(tmp_path, "broken-thing", code)):
        with pytest.raises(
            InputError, match=r"'bad' of the package broken-thing 0.1 cannot"
        ) as told:
            build("bad", system_of("ethanol"))
        assert said in str(told.value)
        assert "upgrade or uninstall the package" in str(told.value)
        build("flyer", system_of("ethanol"))
        with pytest.warns(PluginWarning, match=r"package broken-thing 0\.1 .* it is ignored"):
            names = list(MODELS)
        assert "flyer" in names
        assert "bad" not in names
        assert len(MODELS) == len(names)  # warned once: another warning would be an error


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("positions[:, None]", r"predicted \(2, 1, 3, 3\) .* expected .* of \(2, 3, 3, 3\)"),
        ("positions", r"predicted \(2, 3, 3\)"),
        ("positions[:, None].expand(-1, 3, -1, -1).double()", r"torch\.float64: expected torch\.f"),
        ("None", "predicted NoneType"),
    ],
)
def test_predictions_of_another_shape_are_refused_before_training(found, said, tmp_path):
    code = FLYER.replace(
        "return positions[:, None] + flown[..., None, None] * velocities[:, None]",
        f"return {found}",
    )
    write_distribution(tmp_path, "flat-atoms", "1", code, POINTS)
    with installed(tmp_path), pytest.raises(InputError, match=said):
        gfnode.fit(wiggle(), changes=CHANGES, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "history.csv").exists()


def test_a_broken_reader_is_named(tmp_path):
    where = tmp_path / "site"
    where.mkdir()
    points = {"gfnode.readers": {"bad": "BAD", "tar.gz": "TWO"}}
    code = "from gfnode.readers import FORMATS\nBAD = 3\nTWO = FORMATS['.npz']\n"
    (tmp_path / "x.bad").write_text("1")
    with installed(broken(where, "broken-thing", code, **points)):
        with pytest.raises(InputError, match=r"'\.bad' of the package broken-thing 0\.1 cannot"):
            load(tmp_path / "x.bad")
        with pytest.warns(PluginWarning) as told:
            assert ".npz" in list(FORMATS)
        assert any("'.tar.gz' is not a file suffix" in str(each.message) for each in told)
        save(wiggle(4), tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("group", "name", "registry"),
    [("gfnode.models", "gfnode", MODELS), ("gfnode.readers", "XTC", FORMATS)],
)
def test_a_name_of_gfnode_cannot_be_taken(group, name, registry, tmp_path):
    code = "raise RuntimeError('it must not be imported')"
    if registry is MODELS:  # it is told where a model is chosen, too
        with (
            installed(broken(tmp_path / "again", "usurper", code, **{group: {name: "BAD"}})),
            pytest.warns(PluginWarning, match=r"usurper 0\.1 offers a model 'gfnode'"),
        ):
            assert read_options("gfnode", {})["width"]
    with installed(broken(tmp_path, "usurper", code, **{group: {name: "BAD"}})):
        with pytest.warns(
            PluginWarning, match="usurper 0.1 offers .* gfnode already has one of that name"
        ):
            names = list(registry)
        assert len(names) == len(set(names))
        mine = registry[{"gfnode": "gfnode", "XTC": ".xtc"}[name]]
        assert (mine.model if group == "gfnode.models" else mine.open).__module__[:7] == "gfnode."


def test_two_packages_of_one_name_are_refused(package, tmp_path):
    write_distribution(tmp_path, "other-flyer", "9", FLYER, POINTS)
    with installed(package, tmp_path):
        with pytest.raises(InputError, match=r"flying-atoms 1.2.3 and other-flyer 9 both offer"):
            build("flyer", system_of("ethanol"))
        with pytest.warns(PluginWarning, match="both offer a model 'flyer'"):
            assert "flyer" not in list(MODELS)


def test_damaged_metadata_of_another_package_leaves_gfnode_alone(tmp_path):
    info = tmp_path / "odd-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gfnode.models]\nno equals sign\n\x00[\n")
    with installed(tmp_path), warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        assert "gfnode" in list(MODELS)
        assert build("persistence", system_of("ethanol"))


def test_names_can_be_added_and_taken_away():
    MODELS["by-hand"] = MODELS["egnn"]
    assert "by-hand" in list(MODELS)
    assert MODELS.origin("by-hand") is None
    with pytest.raises(ZeroDivisionError), MODELS.blamed("by-hand", "built"):
        _ = 1 / 0  # a traceback is for whoever registered it
    del MODELS["by-hand"]
    with pytest.raises(InputError, match="unknown model 'by-hand'"):
        read_options("by-hand", {})
    assert [] not in MODELS


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (MODELS["egnn"].model, "model 'by-hand' cannot be registered: expected a gfnode.models.En"),
        (Entry(Unpromising, None, ""), "must be a gfnode.models.Model that defines promises"),
        (Entry(MODELS["egnn"].model, dict, ""), "settings must be a gfnode.settings.Settings"),
    ],
)
def test_what_is_added_by_hand_is_checked(entry, said):
    """A model without promises trained to the end, and failed in its evaluation."""
    with pytest.raises(InputError, match=said):
        MODELS["by-hand"] = entry
    assert "by-hand" not in MODELS


def test_a_run_of_a_model_added_by_hand_says_what_to_import():
    experiment = configure("default", {"model.name": "persistence"})
    data = [{"file": "a.npz", "name": "a", "fingerprint": ""}]
    facts = {"data": data, "system": system_of("ethanol").to_dict()}
    facts["experiment"] = experiment.model_dump(mode="json") | {"model": {"name": "by-hand"}}
    with pytest.raises(InputError, match="'by-hand'; if it is your own, import the module that"):
        assemble(facts, Path("run.json"))
