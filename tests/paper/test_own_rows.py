"""Models of plug-ins as rows of the paper's tables, and what a change of their code does."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from commands import call
from distributions import FLYER, installed, write_distribution
from fetched import ala2_bytes
from gfnode.errors import InputError
from gfnode.experiment import configure
from gfnode.models import MODELS
from gfnode.paper import specs
from gfnode.paper.plan import Choice, make_plan, with_rows
from gfnode.paper.search import Search, conclude, plan_search
from gfnode.sweep import Job
from sweeps import write_md17

SMALL = (
    *("--molecules", "ethanol", "--split", "blocked", "--epochs", "1", "--seeds", "1"),
    *("--jobs", "1", "--set", "windows.horizon=40fs", "--set", "windows.most=[32,16,24]"),
    *("--set", "training.batch=16"),
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    write_distribution(
        folder, "flying-atoms", "1.2.3", FLYER, {"gfnode.models": {"flyer": "FLYER"}}
    )
    return folder


def test_rows(package: Path) -> None:
    spec = specs.load("table1")
    ids = [row.id for row in spec.rows]
    assert with_rows(spec, None) == (spec, None)
    assert with_rows(spec, ["egnn", "persistence"]) == (spec, ["egnn", "persistence"])
    with installed(package):
        found, names = with_rows(spec, ["flyer", "all", "flyer"])
    assert [row.id for row in found.rows] == [*ids, "flyer"]
    assert names == ["flyer", *ids, "flyer"]
    assert found.rows[-1].changes == {"model.name": "flyer"}


def test_a_table_with_a_row_of_ones_own(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is trained on the same windows, compared, and trained again when its code has changed."""
    monkeypatch.setenv("PYTHONPATH", str(package), prepend=":")
    write_md17(tmp_path / "md17_ethanol.npz", "ethanol")
    given = ["reproduce", "table1", "--data", tmp_path, "--out", tmp_path, *SMALL]
    assert call(*given, "--models", "persistence,flyer", "--dry-run").exit_code == 2
    with installed(package):
        result = call(*given, "--models", "ndcn,flyer")
        assert result.exit_code == 0, result.output
        assert "2 runs: 2 done" in result.stderr
        lines = (tmp_path / "table1.csv").read_text().splitlines()
        rows = {row["row"]: row for row in csv.DictReader(lines)}
        assert rows["flyer"]["kind"] == "model"
        assert rows["flyer"]["weights"] == "1"
        assert rows["flyer"]["published"] == ""
        assert float(rows["flyer"]["ratio_to_best_trivial"]) > 0
        again = call(*given, "--models", "ndcn,flyer")
        assert "2 runs: 0 done, 2 done before" in again.stderr
    code = package / "flying_atoms.py"
    code.write_text(code.read_text().replace("-memory * torch", "-0.5 * memory * torch"))
    with installed(package):
        changed = call(*given, "--models", "ndcn,flyer")
        assert "2 runs: 1 done, 1 done before" in changed.stderr, changed.output


def test_the_cost_of_a_model_that_fails(package: Path, tmp_path: Path) -> None:
    write_md17(tmp_path / "md17_ethanol.npz", "ethanol")
    code = package / "flying_atoms.py"
    failing = "    def prepare(self, windows, report):\n        1 / 0\n\n    def forward"
    code.write_text(code.read_text().replace("    def forward", failing))
    given = ["reproduce", "table1", "--data", tmp_path, "--out", tmp_path, *SMALL]
    with installed(package):
        result = call(*given, "--models", "flyer", "--dry-run")
    assert result.exit_code == 2, result.exception
    assert "error: the model 'flyer' of the package flying-atoms 1.2.3 failed" in result.stderr


class TestSettingsOfSomeModels:
    """A setting of one model stopped the whole table, since the others do not have it."""

    @pytest.fixture
    def choice(self, tmp_path: Path) -> Choice:
        write_md17(tmp_path / "md17_ethanol.npz", "ethanol")
        return Choice(tmp_path, ["ethanol"], ["egno", "gfnode", "default"], seeds=1)

    def test_it_applies_where_it_exists(self, choice: Choice) -> None:
        choice = replace(choice, changes={"model.newton": False, "training.batch": 7})
        said = "model.newton has no effect on the rows egno: their models have no such setting"
        with pytest.warns(UserWarning, match="model.newton") as caught:
            planned = make_plan(specs.load("table1"), choice)
        assert [str(each.message) for each in caught] == [said]
        models = {each.row.id: each.job.experiment.model for each in planned}
        assert "newton" not in models["egno"]
        assert models["gfnode"]["newton"] is models["default"]["newton"] is False
        assert {each.job.experiment.training.batch for each in planned} == {7}

    def test_it_does_not_change_what_defines_a_row(self, choice: Choice) -> None:
        """Without ODE, with the ODE that the other rows were given, was the full model."""
        rows = ["egno", "egno-grid", "gfnode", "without-ode", "default"]
        choice = replace(choice, models=rows, changes={"model.dynamics": "neural"})
        with pytest.warns(UserWarning, match="model.dynamics") as caught:
            planned = make_plan(specs.load("table1"), choice)
        assert [str(each.message) for each in caught] == [
            "model.dynamics has no effect on the rows egno, egno-grid: their models have no such "
            "setting",
            "model.dynamics is not changed in the rows without-ode, which are defined by it",
        ]
        models = {each.row.id: each.job.experiment.model for each in planned}
        assert models["without-ode"]["dynamics"] == "feedforward"
        assert models["gfnode"]["dynamics"] == models["default"]["dynamics"] == "neural"
        assert len({each.job.key for each in planned}) == len(rows)

    def test_a_row_defined_by_it_is_not_searched(self, choice: Choice) -> None:
        choice = replace(choice, models=["gfnode", "without-ode"])
        search = Search({"model.dynamics": ["linear", "neural"]})
        with pytest.warns(UserWarning, match="not changed in the rows without-ode"):
            trials = plan_search(specs.load("table1"), choice, search)
        keys = [each.planned.job.key for each in trials if each.planned.row.id == "without-ode"]
        assert (len(keys), len(set(keys))) == (2, 1)

    def test_the_panels_of_a_figure_keep_what_they_differ_in(self, tmp_path: Path) -> None:
        choice = Choice(tmp_path, changes={"windows.lags": "regular"})
        said = (
            "windows.lags cannot be set here, as the parts differ in it: trained on irregular "
            "times; trained on regular times"
        )
        with pytest.raises(InputError, match=said):
            make_plan(specs.load("figure2"), choice)

    def test_what_does_not_fit_a_row_is_refused_before_any_run(self, choice: Choice) -> None:
        """It failed in the run of that row, after those of all rows before."""
        changes = {"model.coordinate_dynamics": "neural"}
        said = r"row default: .*use oscillator with model\.frame=anchored \(--models chooses rows"
        with (
            pytest.warns(UserWarning, match="no effect on the rows egno"),
            pytest.raises(InputError, match=said),
        ):
            make_plan(specs.load("table1"), replace(choice, changes=changes))

    @pytest.mark.parametrize("table", ["table2", "table3", "figure2"])
    def test_networks_see_alanine_dipeptide_in_nm(self, tmp_path: Path, table: str) -> None:
        """As in the published experiments; ITO, whose displacements are normalised, has no unit."""
        for name, content in ala2_bytes(tmp_path).items():
            (tmp_path / name).write_bytes(content)
        spec = specs.load(table)
        planned = make_plan(spec, Choice(tmp_path, seeds=1))
        assert {each.row.id for each in planned} == {row.id for row in spec.rows}
        for each in planned:
            unit = each.job.experiment.model.get("length_unit")
            assert unit == (None if each.row.id == "ito" else 10)
        choice = Choice(tmp_path, seeds=1, models=["gfnode"], changes={"model.length_unit": 1})
        for each in make_plan(spec, choice):
            assert each.job.experiment.model["length_unit"] == 1

    @pytest.mark.parametrize(
        ("key", "remedy"),
        [
            ("model.newto", "did you mean 'model.newton'?"),
            ("model.qqq", "gfnode settings model --model NAME lists those of a model"),
        ],
    )
    def test_it_is_refused_where_no_model_has_it(
        self, choice: Choice, key: str, remedy: str
    ) -> None:
        with pytest.raises(InputError) as caught:
            make_plan(specs.load("table1"), replace(choice, changes={key: 1}))
        said = f"{key}: no model of the rows egno, gfnode, default has this setting; {remedy}"
        assert str(caught.value) == said

    def test_a_search_trains_the_others_once(self, choice: Choice) -> None:
        search = Search({"model.newton": [True, False]})
        with pytest.warns(UserWarning, match="no effect on the rows egno"):
            trials = plan_search(specs.load("table1"), choice, search)
        jobs = {name: set[str]() for name in choice.models or ()}
        for each in trials:
            jobs[each.planned.row.id].add(each.planned.job.key)
        assert {name: len(keys) for name, keys in jobs.items()} == {
            "egno": 1,
            "gfnode": 2,
            "default": 2,
        }
        kept = replace(choice, of_rows=conclude(trials, [0.1] * len(trials)).values)
        planned = make_plan(specs.load("table1"), kept)
        assert all(each.job.key in jobs[each.row.id] for each in planned)


def test_the_code_of_a_package_is_all_of_its_files(tmp_path: Path) -> None:
    place = tmp_path / "fliers"
    place.mkdir()
    (place / "__init__.py").write_text(FLYER)
    (place / "wing.py").write_text("span = 3\n")
    info = tmp_path / "fliers-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fliers\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gfnode.models]\nflier = fliers:FLYER\n")
    data = tmp_path / "x.npz"
    data.touch()
    codes, keys = [], []
    for text in ("span = 3\n", "span = 4\n", "span = 3\n"):
        (place / "wing.py").write_text(text)
        with installed(tmp_path):
            codes.append(MODELS.code("flier"))
            experiment = configure("paper", {"model.name": "flier"})
            keys.append(Job((str(data),), experiment).key)
    assert codes[0] == codes[2] != codes[1]
    assert keys[0] == keys[2] != keys[1]
    assert MODELS.code("egnn") is None
    assert MODELS.code("nothing") is None
