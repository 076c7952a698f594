"""What the code of a plug-in raises is told in one line, with its package and the line in it."""

import json
import re

import pytest
from typer.testing import CliRunner

import gfnode
from distributions import FLYER, installed, write_distribution
from gfnode import plugins
from gfnode.cli import app
from gfnode.errors import InputError
from gfnode.experiment import configure
from gfnode.files import read_json, write_json
from gfnode.presets import flat
from gfnode.sweep.jobs import Job
from gfnode.sweep.worker import do
from making import wiggle

POINTS = {"gfnode.models": {"flyer": "FLYER"}, "gfnode.readers": {"table": "TABLE"}}
CHANGES = {
    "windows": {"horizon": 60.0, "times": 3, "most": [70, 20, 40], "score": "all"},
    "training": {"epochs": 2, "batch": 16},
    "model": {"name": "flyer"},
    "accelerator": "cpu",
}
SETTINGS = [
    f"--set={key}={json.dumps(value)}"
    for key, value in (flat(CHANGES) | {"windows.horizon": "60fs"}).items()
]
CONSTRUCTOR = "        super().__init__(system)\n"
METHODS = "    promises: ClassVar[frozenset[Symmetry]] = EUCLIDEAN | ALONE | {Symmetry.START}\n"
FORWARD = "        memory = self.log_memory.exp()\n"
READER = "def open_table(path, given):\n"
LOSS = "\n    def loss(self, batch, generator):\n        "
LATER = "if self.training: self.calls = getattr(self, 'calls', 0) + 1\n        "

FAILING = {
    "constructor": (CONSTRUCTOR, "        1 / 0\n", "built"),
    "prepare": (
        METHODS,
        "\n    def prepare(self, windows, report):\n        raise SystemExit('no licence')\n",
        "fitted and tried",
    ),
    "forward": (FORWARD, "        1 / 0\n", "fitted and tried"),
    "loss": (METHODS, LOSS + "raise SystemExit('no licence')\n", "trained"),
    "loss, inside PyTorch": (METHODS, LOSS + "return torch.zeros(2) @ torch.zeros(3)\n", "trained"),
    "loss, of a file": (METHODS, LOSS + "open('none')\n", "trained"),
    "forward, later": (
        FORWARD,
        f"        {LATER}if getattr(self, 'calls', 0) > 5: 1 / 0\n",
        "trained",
    ),
    "forward, in validation": (
        FORWARD,
        "        if not self.log_memory.requires_grad: 1 / 0  # the average of the weights\n",
        "trained",
    ),
    "forward, in calibration": (
        FORWARD,
        "        if len(positions) > 2 and lags.unique().numel() == 1: 1 / 0  # the next frames\n",
        "calibrated",
    ),
}


@pytest.fixture
def table(tmp_path):
    """A file in the format of the plug-in."""
    site = tmp_path / "whole"
    site.mkdir()
    write_distribution(site, "flying-atoms", "3", FLYER, POINTS)
    with installed(site):
        return wiggle(velocities=False).save(tmp_path / "wiggle.table")


def failing(tmp_path, after, added):
    """A site with a package of added code, and a pattern of the place of its last line."""
    site = tmp_path / "site"
    site.mkdir(parents=True, exist_ok=True)
    code = FLYER.replace(after, after + added)
    write_distribution(site, "failing-atoms", "3", code, POINTS)
    number = 1 + code[: code.index(added) + len(added.rstrip())].count("\n")
    return site, f"{site / 'failing_atoms.py'}:{number}"


def last_line(words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 2, result.exception
    return result.stderr.splitlines()[-1]


@pytest.mark.parametrize("case", FAILING)
def test_what_a_model_raises_is_told_with_its_package_and_line(case, table, tmp_path):
    """It was a traceback."""
    after, added, done = FAILING[case]
    site, place = failing(tmp_path, after, added)
    with installed(site):
        said = last_line(["train", table, "--out", tmp_path / "run", *SETTINGS])
    assert re.fullmatch(
        f"error: the model 'flyer' of the package failing-atoms 3 failed while it was {done}, at "
        rf"{re.escape(place)} \((\w+Error: .+|SystemExit: no licence)\); correct or upgrade the "
        "package",
        said,
    )


def test_in_python_the_error_is_the_cause(tmp_path):
    site, place = failing(tmp_path, METHODS, LOSS + "raise KeyError('mean')\n")
    with installed(site), pytest.raises(InputError, match=place) as told:
        gfnode.fit(wiggle(), changes=CHANGES, out=tmp_path / "run", progress=False)
    assert isinstance(told.value.__cause__, KeyError)


def test_wrong_arguments_have_no_line(tmp_path):
    method = "\n    def loss(self, batch):\n        pass\n"
    site, _ = failing(tmp_path, METHODS, method)
    said = r"trained \(TypeError: Flyer\.loss\(\) takes 2 positional arguments but 3 were given\)"
    with installed(site), pytest.raises(InputError, match=said):
        gfnode.fit(wiggle(), changes=CHANGES, out=tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("None", "NoneType"),
        ("3.0", "float"),
        ("super().loss(batch, generator).detach()", r"\(\) without a gradient"),
        ("batch.targets * self.log_memory", r"\(16, 3, 3, 3\) with a gradient"),
    ],
)
def test_what_is_no_loss_is_refused(loss, said, tmp_path):
    site, _ = failing(tmp_path, METHODS, f"{LOSS}return {loss}\n")
    with (
        installed(site),
        pytest.raises(InputError, match=rf"loss of the model is {said}: expected a tensor of one"),
    ):
        gfnode.fit(wiggle(), changes=CHANGES, out=tmp_path / "run", progress=False)


def test_a_constructor_that_forgets_the_system_is_told(tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    code = FLYER.replace(CONSTRUCTOR, "        nn.Module.__init__(self)\n")
    write_distribution(site, "failing-atoms", "3", code, POINTS)
    with installed(site), pytest.raises(InputError, match=r"must call super\(\).__init__\(system"):
        gfnode.fit(wiggle(), changes=CHANGES, out=tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "RUN"],
        ["report", "RUN"],
        ["predict", "RUN", "--start", "TABLE", "--times=20fs", "--out", "FOLDER/p.npz"],
        ["rollout", "RUN", "--start", "TABLE", "--length=200fs", "--out", "FOLDER/r.npz"],
    ],
    ids=lambda words: words[0],
)
def test_commands_after_training_tell_it_too(command, table, tmp_path):
    site, place = failing(tmp_path, FORWARD, "        if len(positions) == 1: 1 / 0\n")
    words = {"RUN": tmp_path / "run", "TABLE": table, "FOLDER/p.npz": tmp_path / "p.npz"}
    words["FOLDER/r.npz"] = tmp_path / "r.npz"
    with installed(site):
        gfnode.fit(table, changes=CHANGES, out=tmp_path / "run", progress=False)
        said = last_line(words.get(word, word) for word in command)
    assert said == (
        "error: the model 'flyer' or the file format '.table' of the package failing-atoms 3 "
        f"failed, at {place} (ZeroDivisionError: division by zero); correct or upgrade the package"
    )


def test_what_is_told_does_not_depend_on_what_was_imported_first(table, tmp_path, monkeypatch):
    site, _ = failing(tmp_path, FORWARD, "        if len(positions) == 1: 1 / 0\n")
    with installed(site):
        run = gfnode.fit(table, changes=CHANGES, out=tmp_path / "run", progress=False)
        with pytest.raises(ZeroDivisionError) as caught:
            run.predict(gfnode.load(table), ["20fs"])
        said = plugins.told(caught.value)
        monkeypatch.setattr(plugins, "_REGISTRIES", plugins._REGISTRIES[::-1])
        assert plugins.told(caught.value) == said
    assert said.startswith("the model 'flyer' or the file format '.table' of the package")


def test_a_reader_that_fails_is_told(table, tmp_path):
    site, place = failing(tmp_path, READER, "    {}['unit']\n")
    with installed(site):
        said = last_line(["data", table])
    assert said == (
        f"error: the file format '.table' of the package failing-atoms 3 failed, at {place} "
        "(KeyError: 'unit'); correct or upgrade the package"
    )


def test_a_job_of_a_sweep_tells_it_and_keeps_the_traceback(table, tmp_path, capsys):
    for number, (after, added, said) in enumerate(
        [
            (METHODS, LOSS + "1 / 0\n", "failed while it was trained, at"),
            (FORWARD, "        if len(positions) == 1: 1 / 0\n", "failed, at"),
        ]
    ):
        site, place = failing(tmp_path / f"{number}", after, added)
        with installed(site):
            folder = tmp_path / f"{number}" / "job"
            folder.mkdir()
            write_json(
                folder / "job.json", Job((str(table),), configure("default", CHANGES)).to_dict()
            )
            do(folder)
        assert f"{said} {place} (Zero" in read_json(folder / "failed.json")["message"]
        assert "Traceback" in capsys.readouterr().err
