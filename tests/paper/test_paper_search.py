"""The small search of settings before a table: every row alike, by validation alone."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gfnode.cli import app
from gfnode.errors import InputError
from gfnode.files import read_json
from gfnode.paper import specs
from gfnode.paper.plan import Choice, make_plan
from gfnode.paper.search import Search, conclude, plan_search
from sweeps import write_md17

RATES = {"training.rate": 1e-3}, {"training.rate": 1e-2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("ethanol", "benzene"):
        write_md17(folder / f"md17_{name}.npz", name)
    return folder


def choice_of(data: Path) -> Choice:
    return Choice(data, ["ethanol", "benzene"], ["egnn", "gfnode"], seeds=3, split="blocked")


class TestReading:
    def test_values_are_json_or_text(self):
        found = Search.read(["training.rate=0.001, 1e-2", "model.basis=graph,path"])
        assert found.values == {"training.rate": [0.001, 0.01], "model.basis": ["graph", "path"]}
        assert len(found.combinations) == 4
        assert {"training.rate": 0.01, "model.basis": "graph"} in found.combinations

    @pytest.mark.parametrize("text", ["training.rate", "training.rate=0.001", "=1,2", "a=,,"])
    def test_one_value_is_no_search(self, text):
        with pytest.raises(InputError, match="expected key=value,value"):
            Search.read([text])

    def test_a_setting_is_searched_once(self):
        with pytest.raises(InputError, match=r"training\.rate is searched twice"):
            Search.read(["training.rate=0.001,0.002", "training.rate=0.003,0.004"])

    def test_a_value_is_tried_once(self):
        with pytest.raises(InputError, match=r"expected key=value,value"):
            Search.read(["training.rate=0.001,1e-3"])


class TestPlan:
    def test_every_row_is_tried_alike_with_one_seed(self, data):
        search = Search({"training.rate": [1e-3, 1e-2]}, ["ethanol"])
        trials = plan_search(specs.load("table1"), choice_of(data), search)
        places = [(each.planned.row.id, each.planned.molecule) for each in trials]
        assert sorted(places) == [("egnn", "ethanol")] * 2 + [("gfnode", "ethanol")] * 2
        assert {each.planned.seed for each in trials} == {53}
        for each in trials:
            rate = each.planned.job.experiment.training.rate
            assert rate == each.values["training.rate"]

    def test_what_was_tried_is_used_again(self, data):
        """The run of the search with the first seed is the run of the table."""
        spec, choice = specs.load("table1"), choice_of(data)
        trials = plan_search(spec, choice, Search({"training.rate": [1e-3, 1e-2]}))
        errors = [0.2 if each.values["training.rate"] == 1e-3 else 0.1 for each in trials]
        found = conclude(trials, errors)
        kept = Choice(**{**choice.__dict__, "of_rows": found.values})
        planned = make_plan(spec, kept)
        rates = {each.job.experiment.training.rate for each in planned}
        assert rates == {1e-2}
        tried = {each.planned.job.key for each in trials}
        assert {each.job.key for each in planned if each.seed == 53} <= tried


class TestChoice:
    def trials(self, data):
        spec, choice = specs.load("table1"), choice_of(data)
        return plan_search(spec, choice, Search({"training.rate": [1e-3, 1e-2]}))

    def test_each_row_keeps_the_least_geometric_mean(self, data):
        errors = {
            ("egnn", 1e-3): [1.0, 4.0],  # geometric mean 2, arithmetic 2.5
            ("egnn", 1e-2): [2.2, 2.2],
            ("gfnode", 1e-3): [3.0, 3.0],
            ("gfnode", 1e-2): [1.0, 1.0],
        }
        trials = self.trials(data)
        given = [errors[t.planned.row.id, t.values["training.rate"]].pop() for t in trials]
        found = conclude(trials, given)
        assert found.values == {"egnn": RATES[0], "gfnode": RATES[1]}
        np.testing.assert_allclose(found.errors["egnn"], [2.0, 2.2])
        assert sorted(found.molecules) == ["benzene", "ethanol"]
        cells = {row[0].lines[0]: row[1:] for row in found.grid(specs.load("table1")).rows}
        assert [each.look for each in cells["EGNN"]] == ["best", ""]
        assert [each.lines[0] for each in cells["GF-NODE"]] == ["300", "100"]

    def test_failures_do_not_win(self, data):
        trials = self.trials(data)
        given = [None if t.values["training.rate"] == 1e-3 else 9.0 for t in trials]
        found = conclude(trials, given)
        assert set(map(str, found.values.values())) == {str(RATES[1])}
        assert found.grid(specs.load("table1")).rows[0][1].lines == ("failed",)
        with pytest.raises(InputError, match="every training of egnn in the search failed"):
            conclude(trials, [None] * len(trials))


def test_on_the_command_line(data, tmp_path):
    words = [
        *("reproduce", "table1", "--data", data, "--out", tmp_path, "--molecules", "ethanol"),
        *("--models", "egnn", "--split", "blocked", "--epochs", "1", "--seeds", "2", "--jobs", "2"),
        *("--set", "windows.horizon=40fs", "--set", "windows.most=[32,16,24]"),
        *("--set", "training.batch=16", "--set", "model.width=4", "--set", "windows.times=4"),
        *("--search", "training.rate=0.0001,0.01"),
    ]
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "2 runs: 1 done, 1 done before, 0 failed" in done.output.replace("\n", " ")
    facts = [read_json(path) for path in (tmp_path / "runs").glob("*/run.json")]
    assert len(facts) == 3
    errors = {
        each["experiment"]["training"]["rate"]: each["training"]["best_validation_error"]
        for each in facts
        if each["seed"] == 53
    }
    best = min(errors, key=lambda rate: errors[rate])
    assert f"search: egnn keeps training.rate={best}" in done.output
    later = next(each for each in facts if each["seed"] == 54)
    assert later["experiment"]["training"]["rate"] == best
    text = (tmp_path / "table1.md").read_text()
    assert "## Search" in text
    assert "| EGNN |" in text.split("## Search")[1]
