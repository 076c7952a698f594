"""Configurations: strict about keys at every depth, and presets resolve to whole ones."""

import json
from pathlib import Path

import pytest

import gfnode
from gfnode.cli.options import read_settings
from gfnode.errors import InputError
from gfnode.experiment import Experiment, build_model, configure, refuse_idle
from gfnode.models import MODELS, build, read_options
from gfnode.presets import PRESETS
from making import system_of


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("windws", "windows"),
        ("sed", "seed"),
        ("windows.horizn", "windows.horizon"),
        ("training.epoch", "training.epochs"),
        ("training.learning_rate", "training.rate"),
        ("graph.hop", "graph.hops"),
        ("epochs", "training.epochs"),  # at the wrong depth
        ("horizon", "windows.horizon"),
    ],
)
def test_unknown_keys_offer_the_nearest_spelling(key, near):
    with pytest.raises(InputError, match=rf"unknown key '{key}'; did you mean '{near}'\?"):
        configure(changes={key: 1})


def test_unknown_nested_keys_are_found_too():
    with pytest.raises(
        InputError, match=r"unknown key 'windows.tims'; did you mean 'windows.times'"
    ):
        configure(changes={"windows": {"tims": 3}})
    with pytest.raises(InputError, match="unknown key 'train'; did you mean 'training'"):
        configure(changes={"train.batch": 3})
    with pytest.raises(InputError, match=r"'training.epoch'.*'sed'"):  # all of them at once
        configure(changes={"sed": 1, "training": {"epoch": 2}})


def test_a_key_like_no_other_lists_the_known_ones():
    with pytest.raises(
        InputError, match=r"unknown key 'qqqqq'; known keys: windows.horizon, .*seed"
    ):
        configure(changes={"qqqqq": 1})


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("model.widht", "did you mean 'width'"),
        ("model.encoder_layer", "did you mean 'encoder_layers'"),
        ("model.zzzzz", "known keys: frame, transform"),
    ],
)
def test_unknown_model_options(key, said):
    with pytest.raises(InputError, match=f"options of model gfnode: unknown key .*{said}"):
        configure(changes={key: 1})


def test_unknown_models_and_presets():
    with pytest.raises(InputError, match="unknown model 'gfnod'; did you mean 'gfnode'"):
        configure(changes={"model.name": "gfnod"})
    with pytest.raises(InputError, match=r"unknown model 'zzz'; known: gfnode, .*persistence"):
        configure(changes={"model.name": "zzz"})
    with pytest.raises(InputError, match=r"unknown preset 'papr'.*default, paper, published"):
        configure("papr")
    with pytest.raises(InputError, match="model"):
        configure(changes={"model.name": [3]})


def test_models_without_options_take_none():
    assert configure(changes={"model.name": "persistence"}).model == {"name": "persistence"}
    assert configure("paper", {"model.name": "rigid-rotor"}).model == {"name": "rigid-rotor"}
    with pytest.raises(InputError, match=r"persistence: .* 'width'; there are no settings"):
        configure(changes={"model": {"name": "persistence", "width": 3}})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training.epochs": 0}, r"training.epochs: .*greater than or equal to 1 \(got 0\)"),
        ({"training.epochs": "many"}, "training.epochs: .*valid integer"),
        ({"training.rate": float("nan")}, "training.rate: .*finite"),
        ({"windows.horizon": "soon"}, "windows.horizon: cannot read the time 'soon'"),
        ({"windows.horizon": "5 lightyears"}, "cannot read the time"),
        ({"windows.lags": "random"}, "windows.lags: .*'regular', 'irregular', 'fresh' or 'given'"),
        ({"windows.state": 1.5}, "windows.state"),
        ({"seed": -1}, "seed: "),
        ({"seed.x": 1}, "seed: .*valid integer"),
        ({"windows": 3}, "windows is a group of settings: .* such as windows.horizon="),
        ({"model": "egnn"}, "model is a group of settings: .* such as model.name="),
        ({"training": True}, "training is a group of settings: .* such as training.epochs="),
        ({"training.epochs": True}, r"training.epochs: expected a number \(got True\)"),
        ({"training.clip": False}, r"training.clip: expected a number \(got False\)"),
        ({"windows.horizon": True}, r"windows.horizon: expected a number \(got True\)"),
        ({"windows.times": True}, r"windows.times: expected a number \(got True\)"),
        ({"model.width": True}, r"width: expected a number \(got True\)"),
        ({"model.width": 0}, "options of model gfnode: width: "),
        ({"model.lag_width": 5}, "lag_width: .*multiple of 2"),
    ],
    ids=str,
)
def test_values_that_do_not_fit_are_named(changes, said):
    with pytest.raises(InputError, match=said):
        configure(changes=changes)


def test_dotted_and_nested_changes_are_one():
    dotted = configure(
        changes={"training.epochs": 5, "training.batch": 3, "windows.horizon": "1ps"}
    )
    nested = configure(changes={"training": {"epochs": 5, "batch": 3}, "windows": {"horizon": 1e3}})
    mixed = configure(
        changes={"training": {"epochs": 5}, "training.batch": 3, "windows.horizon": 1000}
    )
    assert dotted == nested == mixed
    assert dotted.training.epochs == 5
    assert dotted.training.rate == configure().training.rate
    assert dotted.windows.horizon == 1000.0


def test_the_later_of_two_changes_holds():
    assert configure(changes={"training": {"batch": 3}, "training.batch": 4}).training.batch == 4
    assert configure(changes={"training.batch": 4, "training": {"batch": 3}}).training.batch == 3


def test_times_take_units():
    found = configure(changes={"windows.lags": "given", "windows.given_lags": ["1ps", 5, "2 fs"]})
    assert found.windows.given_lags == [1000.0, 5.0, 2.0]


@pytest.mark.parametrize("typed", ["windows.horizon=500", "windows.horizon=5e2"])
def test_times_that_are_typed_need_their_unit(typed):
    for text in (typed, 'windows={"horizon": 500.0}', "windows.given_lags=[100]"):
        with pytest.raises(InputError, match=r"cannot read the time .*: expected a number with a"):
            configure(changes=read_settings([text]))
    made = configure(
        changes=read_settings(["windows.horizon=500fs", "training.epochs=5", "seed=3"])
    )
    assert made == configure(changes={"windows.horizon": 500, "training": {"epochs": 5}, "seed": 3})


def test_settings_do_not_change():
    with pytest.raises(Exception, match="frozen"):
        configure().training.epochs = 3


# Presets


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_resolve_to_whole_configurations(preset):
    found = configure(preset)
    dumped = found.model_dump(mode="json")
    assert Experiment.read(json.loads(json.dumps(dumped))) == found  # as run.json keeps it
    assert set(dumped["model"]) == {"name"} | set(read_options("gfnode", {}))
    assert build(
        "gfnode", system_of("ethanol"), {k: v for k, v in found.model.items() if k != "name"}
    )


def test_published_is_the_published_protocol():
    found = configure("published")
    w, t, m = found.windows, found.training, found.model
    assert (w.split, w.lags, w.velocities, w.times, w.align) == (
        "published",
        "irregular",
        "forward",
        8,
        False,
    )
    assert (w.state, w.score, w.horizon) == ("heavy", "heavy", None)
    assert (found.graph.bonds, found.graph.hops, found.graph.rigid) == ("published", 2, "published")
    assert (t.epochs, t.batch, t.rate, t.weight_decay) == (5000, 50, 1e-4, 1e-15)
    assert (t.optimizer, t.schedule, t.validate_every, t.select) == (
        "adam",
        "published",
        5,
        "last-lag",
    )
    assert (t.clip, t.ema, t.patience) == (None, None, None)
    assert (m["width"], m["lag_width"], m["encoder_layers"], m["decoder_layers"]) == (64, 32, 5, 5)
    assert (m["modes"], m["dynamics"], m["coordinate_dynamics"]) == (2, "linear", "linear")
    assert (m["frame"], m["laplacian"], m["transform"]) == ("centred", "combinatorial", "graph")
    assert (m["whole_eigenspaces"], m["coordinate_activation"]) == (False, True)
    assert found.seed == 53


def test_paper_is_published_without_its_flaws():
    paper, published = (configure(p).model_dump() for p in ("paper", "published"))
    differing = {k for k in published["model"] if paper["model"][k] != published["model"][k]}
    assert differing == {"whole_eigenspaces", "coordinate_activation"}
    assert {k: v for k, v in paper.items() if k != "model"} == {
        k: v for k, v in published.items() if k != "model"
    }


def test_changes_go_over_a_preset_key_by_key():
    found = configure("published", {"model.modes": 4, "windows": {"lags": "regular"}})
    assert found.model["modes"] == 4
    assert found.model["whole_eigenspaces"] is False
    assert found.windows.lags == "regular"
    assert found.windows.split == "published"
    assert configure("published").model["modes"] == 2  # the preset itself is untouched


# Models


def test_options_of_models():
    assert read_options("gfnode", {"width": 7})["width"] == 7
    assert read_options("persistence", {}) == {}
    with pytest.raises(InputError, match="did you mean 'persistence'"):
        build("persistance", system_of("ethanol"))
    assert {entry.summary for entry in MODELS.values()}


def test_the_number_of_windows_of_published_splits_cannot_be_set():
    with pytest.raises(InputError, match=r"windows.most has no effect .*windows.split=blocked"):
        configure("published", {"windows.most": [10, 10, 10]})
    assert configure("published", {"windows.most": [9, 9, 9], "windows.split": "blocked"})


def test_a_list_without_brackets_is_answered_with_one():
    with pytest.raises(
        InputError, match=r"windows.most: expected a list such as \[1, 2, 3\] \(got "
    ):
        configure("default", {"windows.most": "256,64,64"})


@pytest.mark.parametrize("option", ["newton", "rotors", "settling", "anharmonic"])
def test_what_the_frame_of_the_paper_does_not_have(option: str, tmp_path: Path) -> None:
    """It was accepted without a word, and nothing was learned from the forces, say."""

    def check(changes: dict[str, object]) -> None:
        refuse_idle(configure("paper", changes), changes)

    with pytest.raises(InputError, match=f"model.{option} has no effect without model.frame=anch"):
        check({f"model.{option}": True})
    check({f"model.{option}": False})
    stored = configure("paper").model_dump()
    assert stored["model"][option] is True  # by default, and unused
    check(stored)
    anchored = {"model.frame": "anchored", "model.coordinate_dynamics": "oscillator"}
    check(anchored | {f"model.{option}": True})
    changes = {"model": {option: True}}
    with pytest.raises(InputError, match="no effect"):
        gfnode.fit("sample:toluene", preset="paper", out=tmp_path / "run", changes=changes)
    assert not list(tmp_path.iterdir())


def test_modes_of_the_graph_have_one_equilibrium() -> None:
    changes = {"model.coordinate_basis": "graph"}
    refuse_idle(configure("default", changes), changes)  # true by default, and unused
    changes |= {"model.settling": True}
    with pytest.raises(InputError, match="settling has no effect"):
        refuse_idle(configure("default", changes), changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training.warmup": 9}, r"training.warmup has .* training.schedule=cosine or constant"),
        ({"model.transform": "identity", "model.basis": "path"}, "basis .*model.transform=graph"),
        (
            {"model.name": "egno", "model.times": "as-if-regular", "model.grid": 4},
            "grid .*model.times=grid",
        ),
        ({"windows.lags": "regular", "windows.seed": 1}, r"seed has .* windows.lags=fresh or irr"),
        (
            {"windows.velocities": "stored", "windows.successor_steps": 9},
            "successor_steps has .* windows.velocities=auto or successor",
        ),
        ({"model.name": "egnn", "training.physical_rate": 1.0}, "physical_rate has .* model.frame"),
    ],
)
def test_other_options_without_effect(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        refuse_idle(configure("paper", changes), changes)
    kept = dict(list(changes.items())[:-1])
    refuse_idle(configure("paper", kept), kept)
    whole = configure("paper", changes).model_dump(mode="json")  # of a run made before
    refuse_idle(configure("paper", whole), whole)


@pytest.mark.parametrize(
    "changes",
    [
        {"windows.lags": "fresh", "windows.seed": 1},
        {"windows.split": "published", "windows.seed": 1},  # of evaluations on other data
        {"windows.lags": "regular", "windows.seed": 0},
        {"windows.velocities": "forward", "windows.successor_steps": 9},  # it warns of far starts
        {"model.name": "egnn", "training.physical_rate": None},
    ],
)
def test_options_with_an_effect(changes: dict[str, object]) -> None:
    refuse_idle(configure("default", changes), changes)


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        *(("default", name) for name in ("gfnode", "egnn", "egno", "ndcn", "ito", "persistence")),
        ("paper", "gfnode"),
        ("published", "gfnode"),
    ],
)
def test_the_rate_of_physical_parameters(preset: str, name: str) -> None:
    """It is refused for those models that have none."""
    changes = {"model.name": name, "training.physical_rate": 0.5}
    experiment = configure(preset, changes)
    model = build_model(experiment, system_of("ethanol"))
    if any(True for _ in model.physical_parameters()):
        refuse_idle(experiment, changes)
    else:
        with pytest.raises(InputError, match="physical_rate has no effect"):
            refuse_idle(experiment, changes)


def test_the_rate_of_physical_parameters_of_another_package() -> None:
    """Whether they exist is not known before the model is built."""
    MODELS["by-hand"] = MODELS["egnn"]
    try:
        changes = {"model.name": "by-hand", "training.physical_rate": 0.5}
        refuse_idle(configure("default", changes), changes)
    finally:
        del MODELS["by-hand"]


def test_fractions_of_a_published_split() -> None:
    changes = {"windows.fractions": [0.8, 0.1, 0.1]}
    with pytest.raises(InputError, match=r"windows.fractions has no effect with windows.split=pub"):
        configure("paper", changes)
    assert configure("paper", changes | {"windows.split": "blocked"})
