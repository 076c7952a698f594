"""Several runs side by side: who is paired with whom, and the page."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import HOSTILE, Page, Visit, files, number, rows

from gfnode.errors import InputError
from gfnode.metrics import Blocks, paired_verdict
from gfnode.report import write_comparison, write_figures
from gfnode.report.comparison import Compared
from gfnode.report.comparison.runs import apart


@pytest.fixture(scope="module")
def compared(compared_page: Path) -> Path:
    return compared_page


@pytest.fixture(scope="module")
def side(compared: Path) -> Page:
    return Page(compared.read_text(encoding="utf-8"))


def changed(folder: Path, to: Path, change: Any, name: str = "run.json") -> Path:
    """A copy of a run with a change in one of its files."""
    shutil.copytree(folder, to)
    found = json.loads((to / name).read_text())
    change(found)
    (to / name).write_text(json.dumps(found))
    return to


class TestPairs:
    def test_verdict_is_that_of_the_errors_of_both_runs(self, run, other, compared):
        found = Compared.read([run, other])
        assert found.same_windows
        with np.load(run / "errors.npz") as a, np.load(other / "errors.npz") as b:
            assert (a["lags_fs"] == b["lags_fs"]).all()
            blocks = Blocks.of(a["starts_fs"], 200.0, a["segments"])
            expected = paired_verdict(a["errors_gfnode"], b["errors_egnn"], blocks)
        assert found.pairs[0].verdict == expected
        word, ratio = found.verdict(1, 0)
        assert ratio["value"] == pytest.approx(1 / expected.ratio.value)
        assert ratio["low"] == pytest.approx(1 / expected.ratio.high)
        turned = {"better": "worse", "worse": "better"}
        assert word == turned.get(expected.verdict, expected.verdict)

    def test_only_common_windows_are_paired(self, run, other, compared, tmp_path):
        half = shutil.copytree(other, tmp_path / "half")
        with np.load(other / "errors.npz") as file:
            arrays = dict(file)
        kept = np.random.default_rng(0).permutation(len(arrays["starts_fs"]))[:20]
        np.savez(half / "errors.npz", **{key: value[kept] for key, value in arrays.items()})
        found = Compared.read([run, half])
        assert not found.same_windows
        assert found.all_paired
        assert found.pairs[0].windows == 20
        with np.load(run / "errors.npz") as file:
            mine = file["errors_gfnode"][kept].mean()
        ratio = found.pairs[0].verdict.ratio.value
        assert ratio == pytest.approx(mine / arrays["errors_egnn"][kept].mean())

    @pytest.mark.parametrize(
        "unlike",
        [
            (lambda f: f["data"][0].update(name="benzene"), "run.json", "different molecules"),
            (lambda f: f["data"][0].update(fingerprint="0"), "run.json", "different data"),
            (lambda f: f["system"].update(score=[0, 1]), "run.json", "different atoms"),
            (
                lambda f: f.update(targets_superposed_on_start=True),
                "evaluation.json",
                "only one of them has targets superposed",
            ),
        ],
    )
    def test_other_tasks_are_not_paired(self, run, other, compared, tmp_path, unlike):
        change, name, reason = unlike
        found = Compared.read([run, changed(other, tmp_path / "unlike", change, name)])
        assert found.pairs[0].verdict is None
        assert reason in found.pairs[0].reason
        assert not found.same_windows

    def test_other_lags_are_not_paired(self, run, other, compared, tmp_path):
        later = shutil.copytree(other, tmp_path / "later")
        with np.load(other / "errors.npz") as file:
            arrays = dict(file)
        np.savez(later / "errors.npz", **arrays | {"lags_fs": arrays["lags_fs"] + 0.5})
        assert "no test window" in Compared.read([run, later]).pairs[0].reason

    def test_what_is_no_comparison(self, run, other, compared, tmp_path):
        with pytest.raises(InputError, match="2 to 12 runs"):
            Compared.read([run])
        with pytest.raises(InputError, match="named twice"):
            Compared.read([run, other, run / ".." / run.name])
        unit = changed(other, tmp_path / "u", lambda f: f.update(unit="nm^2"), "evaluation.json")
        with pytest.raises(InputError, match=r"different units.*nm\^2"):
            Compared.read([run, unit])

    def test_folders_of_one_name_are_told_apart(self):
        assert apart([Path("/a/run"), Path("/b/run")]) == ["a/run", "b/run"]
        assert apart([Path("/a/x"), Path("/a/y")]) == ["x", "y"]


class TestPage:
    def test_tables_hold_the_numbers_of_each_run(self, run, other, side):
        head, *body = side.tables["table-runs"]
        for row, folder, model in zip(body, (run, other), ("gfnode", "egnn"), strict=True):
            found = json.loads((folder / "evaluation.json").read_text())
            cells = dict(zip(head, row, strict=True))
            assert cells["model"] == model
            error = found["methods"][model]["mean_over_lags"]["value"]
            assert cells["run"] == folder.name
            assert number(cells["error, 10⁻² Å²"]) == pytest.approx(100 * error, rel=6e-3)
            rms = float(cells["rms error of an atom, Å"].split()[0])
            assert rms == pytest.approx(np.sqrt(3 * error), rel=6e-3)
        csv = rows(files(side)["runs.csv"])
        assert [each["run"] for each in csv] == [run.name, other.name]
        assert (
            float(csv[0]["error_value"])
            == json.loads((run / "evaluation.json").read_text())["methods"]["gfnode"][
                "mean_over_lags"
            ]["value"]
        )

    def test_seeds_are_taken_together(self, run, other, compared, side, tmp_path):
        def errors(factor):
            def change(found):
                found["methods"]["gfnode"]["mean_over_lags"]["value"] *= factor
                found["verdicts"][found["best_trivial"]]["ratio"]["value"] *= factor

            return change

        assert "table-seeds" not in side.tables
        again = changed(run, tmp_path / "again", errors(1.5), "evaluation.json")
        facts = json.loads((again / "run.json").read_text())
        facts["seed"] = facts["experiment"]["seed"] = 77
        (again / "run.json").write_text(json.dumps(facts))
        page = Page(
            write_comparison([run, other, again], tmp_path / "c.html").read_text(encoding="utf-8")
        )
        head, *body = page.tables["table-seeds"]
        mine, single = (dict(zip(head, row, strict=True)) for row in body)
        first = json.loads((run / "evaluation.json").read_text())
        value = 100 * first["methods"]["gfnode"]["mean_over_lags"]["value"]
        mean, spread = (float(each) for each in mine["error, 10⁻² Å²"].split(" ± "))
        assert mean == pytest.approx(1.25 * value, rel=6e-3)
        assert spread == pytest.approx(np.std([value, 1.5 * value], ddof=1), rel=6e-3)
        assert mine["seeds"].endswith(", 77")
        assert mine["runs"] == "run, again"
        assert "±" not in single["error, 10⁻² Å²"]
        csv = rows(files(page)["seeds.csv"])
        assert float(csv[0]["error"]) == pytest.approx(mean / 100, rel=6e-3)

    def test_settings_that_differ_and_no_others(self, side):
        found = {row[0]: row[1:] for row in side.tables["table-differing"][1:]}
        assert found["model.width"] == ["8", "4"]
        assert found["training.epochs"] == ["2", "1"]
        assert "training.batch" not in found
        assert "fingerprints" not in found

    def test_says_which_is_better_and_on_what(self, side, run, other):
        said = " ".join(" ".join(side.text).split())
        assert "All were evaluated on the same test windows" in said
        (pair,) = Compared.read([run, other]).pairs
        assert f"{pair.verdict.ratio.value:.3g} times its mean squared error" in said
        (row,) = rows(files(side)["pairs.csv"])
        assert float(row["ratio"]) == pair.verdict.ratio.value
        assert row["verdict"] == pair.verdict.verdict

    def test_everything_is_in_the_json(self, side, run):
        found = json.loads(files(side)["comparison.json"])
        assert list(found["runs"]) == ["run", "smaller"]
        expected = json.loads((run / "evaluation.json").read_text())
        assert found["runs"]["run"]["evaluation"] == expected

    def test_names_of_a_stranger_stay_text(self, run, other, compared, side, tmp_path):
        bad = changed(other, tmp_path / "bad", lambda f: f["data"][0].update(name=HOSTILE))
        found = Page(write_comparison([run, bad], tmp_path / "x.html").read_text())
        kinds = ("script", "img", "iframe", "style")
        html = [tag for tag, _ in found.tags if tag in kinds]
        assert html == [tag for tag, _ in side.tags if tag in kinds]
        said = " ".join(" ".join(found.text).split())
        assert "Not paired, because they are of different molecules" in said
        assert "none is ranked better" in said

    def test_damage_names_the_folder(self, run, other, compared, tmp_path):
        bad = changed(other, tmp_path / "bad", lambda f: f.pop("methods"), "evaluation.json")
        with pytest.raises(InputError, match="do not fit together"):
            write_comparison([run, bad], tmp_path / "x.html")

    @pytest.mark.parametrize("key", ["unit", "methods", "model"])
    def test_figures_of_damage_name_the_folder(self, run, other, compared, tmp_path, key):
        bad = changed(other, tmp_path / "bad", lambda f: f.pop(key), "evaluation.json")
        with pytest.raises(InputError, match=r"bad.*do not fit together"):
            write_figures([run, bad], tmp_path / "figures", ["svg"])


@pytest.fixture(scope="module")
def visit(opened: Any, compared: Path) -> Iterator[Visit]:
    found = Visit(opened, compared, viewport={"width": 360, "height": 480})
    yield found
    assert found.said == []
    assert found.asked == [compared.as_uri()]
    found.context.close()


class TestBrowser:
    def test_plays_each_run(self, visit):
        assert visit.page.is_visible("#run-shown")
        options = visit.page.locator("#run-shown option").all_inner_texts()
        assert options == ["run", "smaller"]
        first = visit.shown()[0][1]["x"]
        visit.page.select_option("#run-shown", "1")
        assert visit.state()["run"] == 1
        second = visit.shown()[0][1]["x"]
        assert np.abs(np.subtract(first, second)).max() > 1e-3
        assert np.shape(second) == np.shape(first) == (15, 3)

    def test_fits_a_phone_and_names_every_figure(self, visit):
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 360
        labels = visit.page.evaluate(
            "[...document.querySelectorAll('figure svg')].map((e) => e.getAttribute('aria-label'))"
        )
        assert len(labels) == 6
        assert all("run" in each and any(c.isdigit() for c in each) for each in labels)

    def test_files_are_saved_from_where_they_are_named(self, visit, side, tmp_path):
        with visit.page.expect_download() as caught:
            visit.page.click("#paired a[data-file]")
        caught.value.save_as(tmp_path / "pairs.csv")
        assert (tmp_path / "pairs.csv").read_text() == files(side)["pairs.csv"]
