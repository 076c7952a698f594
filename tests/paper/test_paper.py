"""Tables and figures: their files against the paper, their numbers against hand-made ones."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commands import call
from gfnode.cli import app
from gfnode.errors import InputError
from gfnode.experiment import configure
from gfnode.files import write_arrays, write_json
from gfnode.metrics import paired_verdict
from gfnode.models import MODELS
from gfnode.paper import figures, specs
from gfnode.paper.data import MissingData, find
from gfnode.paper.documents import Made, describe, findings, number, to_csv, write_table
from gfnode.paper.plan import Choice, make_plan, with_rows
from gfnode.paper.results import Place, Result
from gfnode.paper.tables import make_table
from gfnode.sweep import Store
from sweeps import write_md17

HORIZON = 100.0
MADE = Made("gfnode reproduce table1", "paper", ["blocked"], 2, 7, {})
SMALL = (
    *("--split", "blocked", "--epochs", "1", "--seeds", "1", "--jobs", "2"),
    *("--set", "windows.horizon=40fs", "--set", "windows.most=[32,16,24]"),
    *("--set", "training.batch=16", "--set", "model.width=4", "--set", "windows.times=4"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_md17(folder / "md17_ethanol.npz", "ethanol")
    return folder


def finished(
    folder: Path, row: str, errors: np.ndarray, *, molecule: str = "ethanol", seed: int = 53
) -> Result:
    """A finished run with given errors of its model ``(window, time)`` in Å², made by hand.

    Persistence has 0.02 everywhere and the mean conformer 0.01 times 1 to 4 over the lags.
    """
    model = {"without-ode": "gfnode", "without-fourier": "gfnode"}.get(row, row)
    folder.mkdir(parents=True)
    windows, times = errors.shape
    lags = np.tile(HORIZON * np.arange(1, times + 1) / times, (windows, 1))
    write_arrays(
        folder / "errors.npz",
        {
            f"errors_{model}": errors,
            "errors_persistence": np.full_like(errors, 0.02),
            "errors_mean-conformer": np.tile(0.01 * np.arange(1, times + 1), (windows, 1)),
            "lags_fs": lags,
            "starts_fs": 10.0 * np.arange(windows),
            "segments": np.zeros(windows, dtype=np.int64),
        },
    )
    write_json(
        folder / "run.json",
        {
            "experiment": {"model": {"name": model}, "windows": {"align": False}},
            "system": {"horizon_fs": HORIZON, "time_step_fs": 0.5},
            "data": [
                {"file": "x/e.npz", "frames": 9, "atoms": 3, "fingerprint": "ab" * 32},
            ],
            "windows": {"train": 5, "validation": 5, "test": windows},
            "training": {"seconds": 12.0, "epochs": 7, "best_epoch": 5, "device": "cpu"},
            "versions": {"gfnode": "1", "torch": "2"},
        },
    )
    write_json(folder / "finished.json", {"weights": 1000})
    return Result(Place(row, molecule, "", seed), folder, {})


@pytest.fixture
def results(tmp_path: Path) -> list[Result]:
    """GF-NODE with two seeds, EGNN, an ablation; 40 windows, 4 lags; errors flat over windows."""

    def flat(*values: float) -> np.ndarray:
        return np.tile(np.array(values), (40, 1))

    return [
        finished(tmp_path / "a", "gfnode", flat(0.01, 0.01, 0.01, 0.03)),
        finished(tmp_path / "b", "gfnode", flat(0.01, 0.01, 0.01, 0.05), seed=54),
        finished(tmp_path / "c", "egnn", flat(0.02, 0.02, 0.02, 0.01)),
        finished(tmp_path / "d", "without-ode", flat(0.03, 0.03, 0.03, 0.06)),
    ]


ROWS = ["egnn", "gfnode", "without-ode"]


def test_what_was_learned_in_vain_is_said_under_tables(results: list[Result]) -> None:
    assert "in vain" not in str(describe(table_of(results), MADE)[0].after)
    for result in results[:3]:
        path = result.folder / "run.json"
        write_json(path, json.loads(path.read_text()) | {"doubt": "learned in vain"})
    again = [Result(each.place, each.folder, {}) for each in results]
    table = table_of(again)
    (said,) = (text for text in describe(table, MADE)[0].after if "in vain" in text)
    titles = {line.id: line.title for line in table.lines}
    assert said == (
        f"{titles['gfnode']} in ethanol (2 runs) and {titles['egnn']} in ethanol (1 run): "
        "learned in vain."
    )


def table_of(results: list[Result], metric: str = "last-lag"):
    return make_table(specs.load("table1"), ROWS, results, metric)


class TestSpecs:
    @pytest.mark.parametrize("name", specs.NAMES)
    def test_every_file_is_sound(self, name: str) -> None:
        spec = specs.load(name)
        ids = [row.id for row in spec.rows]
        assert len(set(ids)) == len(ids)
        for row in spec.rows:
            experiment = configure(spec.preset, spec.changes_of(row) | row.changes)
            assert experiment.model["name"] in MODELS
            assert not row.ablation or not spec.published or row.paper in spec.published
        for values in spec.published.values():
            known = {*spec.molecules, *(quantity.id for quantity in spec.quantities)}
            assert values.keys() <= known
        assert {row.paper for row in spec.rows} - {None} <= spec.published.keys() | {None} or (
            not spec.published
        )

    def test_published_values(self, shared_data: Path) -> None:
        """Every number against the transcription of the paper."""
        published = json.loads((shared_data.parent / "published.json").read_text())
        names = {
            "bond": "bond_mae_nm",
            "bond_relative": "bond_relative_percent",
            "angle": "angle_mae_deg",
            "angle_relative": "angle_relative_percent",
        }
        compared = 0
        for name in ("table1", "table2", "table3", "table4"):
            theirs = published[name]["values"]
            assert specs.load(name).published.keys() == theirs.keys()
            for row, values in specs.load(name).published.items():
                for key, (mean, *spread) in values.items():
                    told = theirs[row] if key == "error" else theirs[row][names.get(key, key)]
                    if isinstance(told, dict):
                        told = [told["mean"], told["spread"]]
                    assert [mean, *(spread or [None])] == told, (name, row, key)
                    compared += 1
        assert compared == 7 * 8 * 2 + 5 + 3 * 4

    def test_ablations_change_what_they_name(self) -> None:
        plan = {row.id: configure("paper", row.changes).model for row in specs.load("table1").rows}
        full = plan["gfnode"]

        def differ(name: str) -> set[str]:
            return {key for key in full if plan[name][key] != full[key]}

        assert differ("without-fourier") == {"transform"}
        assert differ("without-ode") == {"dynamics", "coordinate_dynamics"}

    def test_unknown_name(self) -> None:
        with pytest.raises(InputError, match="no table9"):
            specs.load("table9")


class TestPlan:
    def test_tables_share_runs_with_figures(self, data: Path) -> None:
        """Figure 3 at 3000 frames is the model of Table 1."""
        write_md17(data / "md17_malonaldehyde.npz", "ethanol", 30000)
        choice = Choice(data, ["malonaldehyde"], ["egnn"], seeds=1, horizons="each")
        plans = [make_plan(specs.load(name), choice) for name in ("table1", "figure3")]
        (table,), curve = plans
        assert [each.variant.id for each in curve] == ["1000", "2000", "3000", "4000", "5000"]
        same = [each.variant.id for each in curve if each.job.key == table.job.key]
        assert same == ["3000"]
        lags = [each.measures[-1].options["lags_fs"] for each in curve]
        assert [each[-1] for each in lags] == [500.0, 1000.0, 1500.0, 2000.0, 2500.0]

    def test_figure_3_by_rollout_trains_the_shortest_horizon(self, data: Path) -> None:
        write_md17(data / "md17_malonaldehyde.npz", "ethanol", 30000)
        plans = [
            make_plan(
                specs.load("figure3"),
                Choice(data, ["malonaldehyde"], ["egnn"], seeds=1, horizons=kind),
            )
            for kind in ("each", "rollout", "one")
        ]
        (rolled,), (one,) = plans[1:]
        assert rolled.job.key == plans[0][0].job.key
        options = rolled.measures[-1].options
        assert options == {"lags_fs": [250.0 * k for k in range(1, 11)], "repeated": True}
        assert one.measures[-1].options == {"lags_fs": options["lags_fs"]}
        assert rolled.measures[-1].file != plans[0][0].measures[-1].file

    def test_preset_and_settings(self, data: Path) -> None:
        choice = Choice(
            data, ["ethanol"], ["gfnode"], 2, 9, "published", changes={"training.rate": 0.01}
        )
        first, second = make_plan(specs.load("table4"), choice)
        experiment = first.job.experiment
        assert experiment.windows.lags == "regular"
        assert experiment.windows.split == "published"
        assert experiment.model["coordinate_activation"] is True
        assert (experiment.training.epochs, experiment.training.rate) == (9, 0.01)
        assert [each.job.experiment.seed for each in (first, second)] == [53, 54]

    def test_scattered_frames(self, tmp_path: Path) -> None:
        """RMD17: blocked, fresh lags, no regular ones."""
        import gfnode

        source = gfnode.load(write_md17(tmp_path / "x.npz", "ethanol"))
        np.savez(
            tmp_path / "rmd17_ethanol.npz",
            coords=source.positions[::3],
            nuclear_charges=source.numbers,
            old_indices=np.arange(0, len(source), 3),
        )
        choice = Choice(tmp_path, ["ethanol"], ["gfnode"], seeds=1)
        windows = make_plan(specs.load("table1"), choice)[0].job.experiment.windows
        assert (windows.split, windows.lags, windows.velocities) == (
            *("blocked", "fresh", "successor"),
        )
        assert windows.horizon == 1500.0
        with pytest.raises(InputError, match="needs consecutive frames"):
            make_plan(specs.load("table4"), choice)
        with pytest.raises(InputError, match="--split blocked"):
            make_plan(specs.load("table1"), Choice(tmp_path, ["ethanol"], split="published"))

    @pytest.mark.parametrize("what", specs.NAMES)
    def test_names_that_there_are_none_of(self, what: str, data: Path) -> None:
        spec = specs.load(what)
        rows, molecules = ", ".join(row.id for row in spec.rows), ", ".join(spec.molecules)
        expected = (
            f"expected some of {rows}, all for these, or registered models other than trivial "
            "baselines (gfnode models)"
        )
        for asked, said in (
            (Choice(data, ["zzz"]), f"no molecule 'zzz'; expected some of {molecules}"),
            (Choice(data, models=["zzz"]), f"no row 'zzz'; {expected}"),
            (Choice(data, models=["gfnod"]), f"no row 'gfnod'; did you mean 'gfnode'? {expected}"),
            (Choice(data, models=["ndnc"]), f"no row 'ndnc'; did you mean 'ndcn'? {expected}"),
            (Choice(data, models=["persistence"]), f"no row 'persistence'; {expected}"),
        ):
            rows_too = replace(asked, models=with_rows(spec, asked.models)[1])
            with pytest.raises(InputError) as caught:
                make_plan(spec, rows_too)
            assert str(caught.value) == f"{spec.title}: {said}"
        with pytest.raises(InputError, match=r"no molecule 'ethanl'; did you mean 'ethanol'\? exp"):
            make_plan(specs.load("table1"), Choice(data, ["ethanl"]))

    def test_options_that_contradict_settings(self, data: Path) -> None:
        with pytest.raises(InputError, match=r"--epochs and --set training\.epochs"):
            make_plan(
                specs.load("table1"),
                Choice(data, ["ethanol"], epochs=2, changes={"training.epochs": 3}),
            )
        with pytest.raises(InputError, match="has no place here, where --seeds"):
            make_plan(specs.load("table1"), Choice(data, ["ethanol"], changes={"seed": 1}))

    def test_finds_data_below(self, tmp_path: Path) -> None:
        for name in ("b/md17_benzene2017.npz", "a/rmd17_benzene.npz", "c/alanine-0.xtc"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        found = find("md17", ["benzene"], tmp_path)["benzene"]
        assert (Path(found.files[0]).name, found.kind) == ("md17_benzene2017.npz", "series")
        with pytest.raises(MissingData, match="holds no data of"):
            find("md17", ["ethanol"], tmp_path)
        with pytest.raises(MissingData, match="none does not exist, so it holds no"):
            find("md17", ["ethanol"], tmp_path / "none")
        with pytest.raises(MissingData):
            find("ala2", ["ala2"], tmp_path)
        (tmp_path / "c" / "alanine.pdb").touch()
        assert find("ala2", ["ala2"], tmp_path)["ala2"].kind == "replicas"

    def test_finds_what_was_fetched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Series before scattered frames, the user's own files before the cache."""
        cache, own = tmp_path / "cache", tmp_path / "own"
        monkeypatch.setenv("GFNODE_CACHE", str(cache))

        def put(place: str) -> str:
            (path := cache / place).parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
            return str(path)

        scattered = put("rmd17/rmd17_ethanol.npz")
        found = find("md17", ["ethanol"], own)["ethanol"]
        assert (found.files, found.kind) == ((scattered,), "scattered")
        series = put("md17/md17_ethanol.npz")
        found = find("md17", ["ethanol"], own)["ethanol"]
        assert (found.files, found.kind) == ((series,), "series")
        own.mkdir()
        (own / "md17_ethanol.npz").touch()
        assert find("md17", ["ethanol"], own)["ethanol"].files == (str(own / "md17_ethanol.npz"),)
        runs = [put(f"mdshare/alanine-dipeptide-{i}-250ns-nowater.xtc") for i in range(3)]
        with pytest.raises(MissingData):
            find("ala2", ["ala2"], own)
        top = put("mdshare/alanine-dipeptide-nowater.pdb")
        assert vars(find("ala2", ["ala2"], own)["ala2"]) == {
            "files": tuple(runs),
            "top": top,
            "kind": "replicas",
        }


class TestTables:
    @pytest.mark.parametrize(
        ("metric", "gfnode", "others"),
        [
            ("last-lag", [3.0, 5.0], [1.0, 2.0, 4.0]),
            ("mean", [1.5, 2.0], [1.75, 2.0, 2.5]),
            ("eq14", [4.5, 6.0], [5.25, 6.0, 7.5]),
        ],
    )
    def test_cells(
        self,
        results: list[Result],
        metric: str,
        gfnode: list[float],
        others: list[float],
    ) -> None:
        table = table_of(results, metric)
        cells = {row: cell for (row, _), cell in table.cells.items()}
        assert cells["gfnode"].values == pytest.approx(gfnode)
        assert cells["gfnode"].mean == pytest.approx(np.mean(gfnode))
        assert cells["gfnode"].spread == pytest.approx(abs(gfnode[1] - gfnode[0]) / 2**0.5)
        names = ("egnn", "persistence", "mean-conformer")
        assert [cells[name].mean for name in names] == pytest.approx(others)
        assert cells["egnn"].spread is None
        assert cells["gfnode"].published == (4.41, 0.06)
        said = describe(table, MADE)[0].before[0]
        assert said.count("(") == said.count(")")
        assert ("per atom" in said) == ("eq. 14" in said) == (metric == "eq14")

    def test_ranks_and_marks(self, results: list[Result]) -> None:
        """Trivial baselines are ranked with the models, ablations are not."""
        table = table_of(results)
        (column,) = table.columns
        assert table.ranks(column) == ["egnn", "persistence"]
        assert table.best_trivial[column.id] == "persistence"
        lines = {line.id: line for line in table.lines}
        assert table.change(lines["without-ode"], column) == "worse"
        assert table.change(lines["egnn"], column) == ""
        assert [line.kind for line in table.lines] == [*["trivial"] * 2, *["model"] * 2, "ablation"]

    def test_verdicts_are_paired_over_blocks(self, tmp_path: Path) -> None:
        """The comparison is that of seeds' mean errors on the same windows."""
        rng = np.random.default_rng(0)
        hard = rng.exponential(size=(60, 1)) * np.ones(4)
        runs = [
            finished(tmp_path / "a", "gfnode", 0.9 * hard),
            finished(tmp_path / "b", "gfnode", 0.7 * hard, seed=54),
            finished(tmp_path / "c", "egnn", hard),
        ]
        table = table_of(runs, "mean")
        found = table.cells["egnn", "ethanol:error"].full
        seeds = [100 * hard.mean()], [90 * hard.mean(), 70 * hard.mean()]
        expected = paired_verdict(100 * hard, 80 * hard, runs[0].blocks(), seeds)
        for mine, theirs in (
            (found.ratio, expected.ratio),
            (found.difference, expected.difference),
        ):
            assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high))
        assert found.ratio.value == pytest.approx(1.25)
        assert found.verdict == "indistinguishable"  # for all that two seeds tell
        assert table.cells["gfnode", "ethanol:error"].full is None
        assert table.cells["egnn", "ethanol:error"].trivial.verdict == "worse"

    def test_other_windows_are_refused(self, tmp_path: Path, results: list[Result]) -> None:
        other = finished(tmp_path / "z", "egnn", np.full((39, 4), 0.01))
        with pytest.raises(InputError, match="different windows"):
            table_of([*results, other])

    def test_what_is_not_a_number_is_infinite(self, tmp_path: Path) -> None:
        errors = np.full((40, 4), 0.01)
        errors[3, 3] = np.nan
        table = table_of([finished(tmp_path / "a", "egnn", errors)])
        assert table.cells["egnn", "ethanol:error"].mean == np.inf
        assert table.ranks(table.columns[0])[0] == "persistence"
        assert "∞" in describe(table, MADE)[0].rows[2][1].lines[0]

    def test_losses_are_said(self, results: list[Result]) -> None:
        said = " ".join(findings(table_of(results)))
        assert "GF-NODE against the best trivial baseline: better in 0, worse in 0, indis" in said
        assert "EGNN against the best trivial baseline: better in 1, worse in 0" in said
        assert "EGNN against GF-NODE: better in 0, worse in 0, indistinguishable in 1" in said

    def test_numbers(self) -> None:
        assert [number(each) for each in (4.412, 0.0, 0.004, 1234.5, np.inf, None)] == [
            *("4.41", "0.00", "0.004", "1234", "∞", "–"),
        ]
        assert number(0.01881, 4) == "0.0188"


class TestDocuments:
    def test_markdown(self, results: list[Result], tmp_path: Path) -> None:
        table = table_of(results)
        made = Made("gfnode reproduce table1", "paper", ["published"], 2, 7, {"run-x": "it broke"})
        markdown, comma, page = (path.read_text() for path in write_table(table, made, tmp_path))
        assert "| GF-NODE | 4.00 ± 1.41<br>paper 4.41 ± 0.06 |" in markdown
        assert "| EGNN | **1.00**<br>paper 4.46 ± 0.01<br>1 of 2 seeds |" in markdown
        assert "| persistence | <u>2.00</u> |" in markdown
        assert "| without ODE | 6.00 worse<br>paper 4.42 ± 0.00<br>1 of 2 seeds |" in markdown
        for text in (
            "last-lag",
            "Split: published",
            "run-x: it broke",
            "`gfnode reproduce table1`",
        ):
            assert text in markdown
        assert "test windows that overlap training windows" in markdown
        for row in markdown.splitlines():
            if row.startswith("|"):
                assert row.endswith("|")
        assert 'class="worse"' in page
        assert f"<li>Command: <code>{made.command}</code></li>" in page  # it had backticks
        assert "<script" not in page
        assert len(list(csv.DictReader(comma.splitlines()))) == 5

    def test_csv(self, results: list[Result]) -> None:
        rows = {row["row"]: row for row in csv.DictReader(to_csv(table_of(results)).splitlines())}
        mine = rows["gfnode"]
        assert (float(mine["mean"]), mine["seeds"], mine["values"]) == (4.0, "2", "3 5")
        assert float(mine["spread"]) == pytest.approx(2**0.5, rel=1e-5)
        assert (mine["published"], mine["published_spread"]) == ("4.41", "0.06")
        assert (mine["best_trivial"], float(mine["ratio_to_best_trivial"])) == ("persistence", 2.0)
        assert mine["against_best_trivial"] == "indistinguishable"  # 3 and 5 against 2
        assert rows["egnn"]["against_best_trivial"] == "better"
        assert float(rows["without-ode"]["ratio_to_gfnode"]) == 1.5
        assert rows["persistence"]["against_best_trivial"] == ""
        assert (mine["weights"], mine["training_seconds"]) == ("1000", "12")

    def test_user_text_is_escaped(self, results: list[Result], tmp_path: Path) -> None:
        made = Made("gfnode <b>", "paper", ["blocked"], 1, 1, {"run": "<script>alert(1)</script>"})
        page = write_table(table_of(results), made, tmp_path)[2].read_text()
        assert "<script>" not in page
        assert "gfnode &lt;b&gt;" in page


class TestFigures:
    def test_spectrum_of_a_wave(self) -> None:
        """A sine of amplitude a has the mean square a²/2, all of it at its frequency."""
        t = np.arange(400) * 0.005  # ps
        wave = 3.0 * np.sin(2 * np.pi * 12.5 * t)[None, :, None] + 7.0
        frequency, power = figures.spectrum(wave, 0.005)
        assert frequency[power.argmax()] == pytest.approx(12.5)
        assert np.sum(power) * frequency[1] == pytest.approx(4.5, rel=1e-3)
        assert pytest.approx(416.955, rel=1e-5) == 12.5 * figures.PER_CM  # of a CO₂-like bend

    def test_spectrum_is_that_of_the_eigenspace(self) -> None:
        """Turning the modes of an eigenspace among themselves changes nothing."""
        rng = np.random.default_rng(1)
        values = rng.normal(size=(4, 64, 2, 3))
        turn, _ = np.linalg.qr(rng.normal(size=(2, 2)))
        turned = np.einsum("km,wtmc->wtkc", turn, values)
        powers = [figures.spectrum(v.reshape(4, 64, 6), 0.01)[1] for v in (values, turned)]
        np.testing.assert_allclose(*powers, rtol=1e-10)
        np.testing.assert_allclose(*(figures._along(v[0]) for v in (values, turned)), rtol=1e-9)

    def test_horizons(self, tmp_path: Path) -> None:
        result = finished(tmp_path / "a", "gfnode", np.full((4, 4), 0.01), molecule="benzene")
        lags = np.tile(50.0 * np.arange(1, 11), (4, 1))
        errors = np.tile(0.01 * np.arange(1, 11), (4, 1))
        write_arrays(
            result.folder / "m.npz",
            {"errors_gfnode": errors, "errors_persistence": 2 * errors, "lags_fs": lags},
        )
        result = Result(result.place, result.folder, {"at-lags": "m.npz"})
        drawn = figures.horizons(specs.load("figure3"), [result], "last-lag")
        mine = [each for each in drawn.records[""] if each["row"] == "gfnode"]
        assert [each["frames"] for each in mine] == [200, 400, 600, 800, 1000]
        assert [each["mean"] for each in mine] == pytest.approx([2, 4, 6, 8, 10])
        assert drawn.said == [
            "benzene, 1000 frames, best first: GF-NODE 10, persistence 20.",
            "Rollouts: models of 200 frames, applied again and again beyond them.",
        ]
        mean = figures.horizons(specs.load("figure3"), [result], "mean").records[""]
        assert [e["mean"] for e in mean if e["row"] == "gfnode"] == pytest.approx(
            [1.5, 2.5, 3.5, 4.5, 5.5]
        )
        own = figures.horizons(specs.load("figure3"), [result], "last-lag", each=True).records[""]
        assert [e["frames"] for e in own if e["row"] == "gfnode"] == [1000]  # the first to finish


class TestCommand:
    def test_list(self) -> None:
        said = call("reproduce", "--list").stdout
        assert all(name in said for name in specs.NAMES)

    def test_missing_data_says_what_to_fetch(self, tmp_path: Path) -> None:
        result = call("reproduce", "table1", "--data", tmp_path, "--molecules", "uracil,aspirin")
        assert result.exit_code == 2
        assert "to fetch: gfnode fetch md17:aspirin md17:uracil" in result.stderr
        assert re.search(r"md17:uracil: md17_uracil\.npz, 78 MB; by hand: ", result.stderr)
        assert result.stderr.splitlines()[-1].startswith("error: ")
        assert str(tmp_path) in result.stderr
        result = call("reproduce", "table2", "--data", tmp_path)
        assert result.exit_code == 2
        assert "gfnode fetch mdshare:alanine-dipeptide" in result.stderr

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ((), "say what to reproduce"),
            (("table7",), "no table7"),
            (("table1", "--metric", "mse"), "--metric mse"),
            (("table1", "--split", "random"), "--split random"),
            (("table1", "--set", "training.epoch=3"), "epoch"),
            (("table1", "--launcher", "cloud"), "--launcher cloud"),
            (
                ("table1", "--of", "features"),
                "--of features has no effect here: it applies to figure4",
            ),
            (("table1", "--horizons", "each"), "has no effect here: it applies to figure3"),
            (("table1", "--search-on", "ethanol"), "--search-on has no effect without --search"),
            (("table1", "--slurm", "partition=gpu"), "--slurm has no effect with --launcher local"),
            (("table1", "--ray", "auto"), "--ray has no effect with --launcher local"),
            (("table1", "--gpus", "1"), "--gpus 1 has no effect with --launcher local"),
            (
                ("table1", "--models", ","),
                "',' contains no names: expected names separated by commas",
            ),
            (("table1", "--set", "model.name=ito"), "model.name cannot be set here, as every"),
            (
                ("table1", "--search", "model.name=ito,egnn"),
                "model.name cannot be set here, as every",
            ),
        ],
    )
    def test_mistakes(self, data: Path, tmp_path: Path, words: tuple, said: str) -> None:
        given = ("--data", data, "--out", tmp_path, "--molecules", "ethanol") if words else ()
        result = call("reproduce", *words, *given)
        assert result.exit_code == 2
        assert said in result.stderr
        assert result.stderr.count("\n") == 1

    def test_what_there_is_to_collect_is_told_at_once(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Training steps of every model were timed for it, and folders made of runs never done."""
        monkeypatch.setattr("gfnode.sweep.timing.estimate", None)
        given = ["table1", "--data", data, "--out", tmp_path, "--molecules", "ethanol", "--collect"]
        dry = call("reproduce", *given, "--models", "egnn,gfnode", "--seeds", "1", "--dry-run")
        assert dry.exit_code == 0, dry.output
        assert "2 runs, 0 finished" in dry.stdout
        assert "no run is finished" in call("reproduce", *given).stderr
        assert not list(tmp_path.iterdir())

    def test_table_from_nothing_to_the_end(self, data: Path, tmp_path: Path) -> None:
        """Dry run, two rows, a third that fails, again with what is there."""
        given = ["table1", "--data", data, "--out", tmp_path, "--molecules", "ethanol", *SMALL]
        rows = "egnn,gfnode"
        dry = call("reproduce", *given, "--models", rows, "--dry-run")
        assert dry.exit_code == 0, dry.output
        left = re.search(
            r"2 runs; estimated from a few steps of each: (\d+) s on one processor left", dry.stdout
        )
        assert left
        assert int(left[1]) >= 20  # two processes have to start
        assert not (tmp_path / "runs").exists()
        result = call("reproduce", *given, "--models", rows)
        assert result.exit_code == 0, result.output
        assert "2 runs: 2 done, 0 done before, 0 failed" in result.stderr
        assert "in 10⁻² Å², at the last lag of each window" in result.stdout
        assert "Error over that of the other" in result.stdout
        table = (tmp_path / "table1.md").read_text()
        assert "EGNO" not in table  # notes are of the rows that there are
        assert re.search(r"\| GF-NODE \| [^|]+<br>paper 4.41 ± 0.06 \|", table)
        assert (tmp_path / "table1.html").exists()
        folders = set((tmp_path / "runs").iterdir())
        assert call("evaluate", sorted(folders)[0], "--no-plot").exit_code == 0

        bad = ("--set", "training.batch=999")
        result = call("reproduce", *given, "--models", "egnn", *bad)
        assert result.exit_code == 2
        assert "do not fill a batch of 999" in result.output
        assert "no run is finished" in result.stderr

        result = call("reproduce", *given, "--models", rows, "--collect", "--metric", "mean")
        assert result.exit_code == 0, result.output
        assert "mean over all lags" in (tmp_path / "table1.md").read_text()
        again = call("reproduce", *given, "--models", rows)
        assert "2 runs: 0 done, 2 done before, 0 failed" in again.stderr
        assert len(Store(tmp_path)._known) == 3


def test_columns_are_documented() -> None:
    from gfnode.paper.documents import CSV_COLUMNS

    text = (Path(__file__).parents[2] / "docs" / "reproduce.md").read_text()
    table = text.split("| column | contents |")[1].split("\n\n")[0]
    named = [
        name
        for line in table.splitlines()[2:]
        for name in re.findall(r"`(\w+)`", line.split(" | ")[0])
    ]
    assert sorted(named) == sorted(CSV_COLUMNS)


def test_options_are_documented() -> None:
    import typer

    command = typer.main.get_command(app).commands["reproduce"]  # type: ignore[attr-defined]
    text = (Path(__file__).parents[2] / "docs" / "reproduce.md").read_text()
    options = {each for option in command.params for each in option.opts if each[:2] == "--"}
    assert len(options) > 15
    assert {each for each in options if each not in text} == set()
