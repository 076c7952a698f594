"""The report page: what it says, that it is one safe file, and how it plays in a browser."""

import base64
import csv
import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import HOSTILE, Page, Visit, files, number, rows

import gfnode
from commands import call, works
from gfnode.errors import InputError
from gfnode.examples import KINDS, Example, Examples, command, make_examples, stride_of
from gfnode.report import write_page
from gfnode.report.numbers import hundredths
from gfnode.report.structures import distances, pack, pack_several
from gfnode.report.summary import trained_on
from gfnode.units import format_time


class TestFile:
    def test_refers_to_nothing_outside_of_itself(self, parsed):
        loads = {"src", "href", "data", "action", "poster", "srcset", "xlink:href", "formaction"}
        for tag, attributes in parsed.tags:
            assert not [name for name in attributes if name.startswith(("on", "xmlns"))], tag
            for name in loads & set(attributes):
                assert (attributes[name] or "").startswith(("#", "data:")), (tag, attributes)
            for target in re.findall(r"url\(([^)]*)\)", attributes.get("style") or ""):
                assert target.startswith("#")

    def test_style_loads_nothing(self, page):
        style = page.read_text().split("<style>")[1].split("</style>")[0]
        assert "@import" not in style
        assert "url(" not in style

    def test_only_its_own_scripts_may_run_and_nothing_may_be_fetched(self, parsed):
        (policy,) = (
            a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy"
        )
        data, *scripts = parsed.scripts
        json.loads(data)
        allowed = [
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in scripts
        ]
        assert policy.startswith(f"default-src 'none'; script-src {' '.join(allowed)}; ")
        assert "connect-src" not in policy  # none, by default
        assert len(scripts) == 4

    def test_ids_are_unique(self, parsed):
        ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
        assert len(ids) == len(set(ids))

    def test_is_small_and_says_who_made_the_viewer(self, page, parsed):
        assert page.stat().st_size < 2.5e6
        said = "".join(parsed.text)
        assert "Copyright (c) 2014, University of Pittsburgh and contributors" in said

    def test_the_viewer_is_the_published_one(self):
        script = Path(gfnode.__file__).parent / "report" / "assets" / "3Dmol-min.js"
        assert hashlib.sha256(script.read_bytes()).hexdigest() == (
            "f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016"
        )

    def test_figures_have_text_and_follow_the_theme(self, page):
        figures = re.findall(r"<svg class=.*?</svg>", page.read_text(), re.S)
        assert len(figures) == 6
        assert all("<text" in each and "var(--line)" in each for each in figures)
        assert "constant-velocity" in figures[0]
        assert not re.search(r"(fill|stroke): #", "".join(figures))


class TestNumbers:
    def test_errors_by_lag(self, parsed, evaluation):
        head, *body = parsed.tables["table-lags"]
        names = list(evaluation["methods"])
        assert head[1:-1] == names
        assert 2 <= len(body) <= 8
        for place, name in enumerate(names, 1):
            filled = [each for each in evaluation["methods"][name]["by_lag"] if each["count"]]
            for row, each in zip(body, filled, strict=True):
                assert row[place].strip().startswith(hundredths(each["value"]))
                assert number(row[place]) == pytest.approx(100 * each["value"], rel=6e-3)

    def test_errors_of_every_method(self, parsed, evaluation):
        _, *body = parsed.tables["table-methods"]
        keys = ("mean_over_lags", "last_lag", "eq14_mean_over_lags", "superposed_mean_over_lags")
        for row, (name, method) in zip(body, evaluation["methods"].items(), strict=True):
            assert row[0] == name
            rms = np.sqrt(3 * method["mean_over_lags"]["value"])
            assert float(row[1]) == pytest.approx(rms, rel=6e-3)
            for cell, key in zip(row[2:], keys, strict=True):
                assert number(cell) == pytest.approx(100 * method[key]["value"], rel=6e-3)
                low, high = re.search(r"\[(.*), (.*)\]", cell).groups()
                assert float(low) == pytest.approx(100 * method[key]["low"], rel=6e-3)
                assert float(high) == pytest.approx(100 * method[key]["high"], rel=6e-3)

    def test_comparisons(self, parsed, evaluation):
        shown = {"indistinguishable": "no significant difference"}
        _, *body = parsed.tables["table-verdicts"]
        for row, (name, each) in zip(body, evaluation["verdicts"].items(), strict=True):
            best = " best trivial" if name == evaluation["best_trivial"] else ""
            assert row[0] == name + best
            assert row[1].strip() == shown.get(each["verdict"], each["verdict"])
            assert number(row[2]) == pytest.approx(each["ratio"]["value"], rel=6e-3)
            assert number(row[3]) == pytest.approx(100 * each["difference"]["value"], rel=6e-3)

    def test_settings_data_and_facts(self, run, parsed):
        facts = json.loads((run / "run.json").read_text())
        settings = dict(parsed.tables["table-settings"][1:])
        assert settings["training.epochs"] == "2"
        assert settings["windows.most"] == "[64, 32, 32]"
        assert parsed.tables["table-data"][1][-1] == facts["data"][0]["fingerprint"]
        said = " ".join(parsed.text)
        assert f"torch {facts['versions']['torch']}" in said

    def test_files_hold_every_digit(self, run, parsed, evaluation):
        found = files(parsed)
        assert json.loads(found["evaluation.json"]) == evaluation
        assert json.loads(found["run.json"]) == json.loads((run / "run.json").read_text())
        with (run / "history.csv").open() as file:
            history = list(csv.DictReader(file))
        for row, original in zip(rows(found["history.csv"]), history, strict=True):
            assert list(map(float, row.values())) == list(map(float, original.values()))
        by_lag = [
            float(row["value"]) for row in rows(found["lags.csv"]) if row["method"] == "gfnode"
        ]
        expected = [each["value"] for each in evaluation["methods"]["gfnode"]["by_lag"]]
        assert by_lag == expected
        everything = json.loads(found["report.json"])
        assert everything["evaluation"] == evaluation
        assert set(everything["examples"]) == set(KINDS)

    def test_errors_by_atom_average_to_the_error(self, parsed, evaluation):
        atoms = rows(files(parsed)["atoms.csv"])
        assert [row["atom"] for row in atoms] == [f"C{i}" for i in range(7)]
        for name in ("gfnode", evaluation["best_trivial"]):
            mean = np.mean([float(row[name]) for row in atoms])
            assert mean == pytest.approx(
                evaluation["methods"][name]["mean_over_lags"]["value"], rel=1e-5
            )

    def test_sentences_are_apart_and_units_stay_with_their_numbers(self, page):
        text = page.read_text(encoding="utf-8")
        assert re.search(r"(were kept|which were kept)\.\s+2 epochs in", text)
        words = text[text.index('<section id="summary">') :]
        words = words[: words.index("</section>")]
        assert "\N{NO-BREAK SPACE}Å" in words
        assert not re.search(r"\d (Å|%|fs)", words)

    def test_summary_names_data_verdict_and_atoms(self, parsed, evaluation):
        said = " ".join(" ".join(parsed.text).split())
        best = evaluation["best_trivial"]
        assert (
            "trained and tested on 3.495 ps of molecular dynamics of toluene (C7H8): 700 frames"
            in said
        )
        assert "From one conformation of all 15 atoms and its velocities, it predicts" in said
        rms = np.sqrt(3 * evaluation["methods"]["gfnode"]["mean_over_lags"]["value"])
        assert f"error of an atom over all windows and lags is {rms:.2g} Å" in said
        assert "times its MSE" in said
        assert f"The best trivial baseline, {best}" in said
        worst = max(rows(files(parsed)["atoms.csv"]), key=lambda row: float(row["gfnode"]))
        assert f"predicted worst are {worst['atom']}, " in said

    @pytest.mark.parametrize(("gap", "beside"), [(-5.0, "before"), (2000.0, "after")])
    def test_summary_names_no_velocities_that_were_never_stored(self, run, gap, beside):
        facts = json.loads((run / "run.json").read_text()) | {"velocity_gap_fs": gap}
        said = " ".join(trained_on(facts, 7))
        assert f"atoms and the frame {format_time(abs(gap))} {beside} it instead of" in said
        assert "its velocities" not in said


class TestExamples:
    def test_are_the_predictions_of_the_run_and_the_frames_of_the_data(self, run):
        opened = gfnode.Run.open(run)
        trajectory = opened.trajectories()[0]
        for each in Examples.read(run).examples:
            frames = each.frame + np.arange(len(each.lags_fs))  # 40 inside: every one is shown
            assert each.inside == 40 == len(each.lags_fs) - 1
            assert each.lags_fs == pytest.approx(trajectory.times[frames] - each.start_fs)
            assert each.true == pytest.approx(trajectory.positions[frames])
            predicted = opened.predict(trajectory, list(each.lags_fs[1:]), frame=each.frame)
            assert each.predicted[1:] == pytest.approx(predicted.positions, abs=1e-5)
            assert (each.predicted[0] == each.true[0]).all()

    def test_are_typical_best_and_worst_by_the_evaluation(self, run):
        with np.load(run / "errors.npz") as file:
            errors, lags = file["errors_gfnode"], file["lags_fs"]
        bins = np.ceil(lags / 25 - 1e-9).astype(int)
        level = {b: errors[bins == b].mean() for b in np.unique(bins)}
        relative = (errors / np.vectorize(level.get)(bins)).mean(1)
        typical, best, worst = Examples.read(run).examples
        assert best.relative == pytest.approx(relative.min())
        assert worst.relative == pytest.approx(relative.max())
        assert (relative < typical.relative - 1e-12).sum() == (len(relative) - 1) // 2

    def test_distances_agree_with_another_library(self, run):
        import mdtraj

        score = np.arange(7)
        for each in Examples.read(run).examples:
            found = distances(each, score)
            x, y = each.predicted[:, score], each.true[:, score]
            assert found["rmsd"] == pytest.approx(np.sqrt(3 * np.square(x - y).mean((1, 2))))
            topology = mdtraj.Topology()
            residue = topology.add_residue("X", topology.add_chain())
            for _ in score:
                topology.add_atom("C", mdtraj.element.carbon, residue)
            for frame in range(len(x)):
                one, other = (mdtraj.Trajectory(z[frame][None] / 10, topology) for z in (x, y))
                expected = 10 * float(mdtraj.rmsd(one, other)[0])
                assert found["superposed"][frame] == pytest.approx(expected, abs=2e-3)

    def test_irregular_frames_are_those_that_there_are(self, tmp_path):
        whole = gfnode.load("sample:toluene")[:1500]
        kept = np.sort(np.random.default_rng(0).choice(1500, 500, replace=False))
        trajectory = whole[kept]
        changes = {"windows": {"horizon": 300.0, "most": [64, 32, 32], "times": 4}}
        model = {"model": {"name": "mean-conformer"}}
        run = gfnode.fit(trajectory, changes=changes | model, out=tmp_path / "r", progress=False)
        run.evaluate()
        for each in make_examples(run, [trajectory]).examples:
            times = trajectory.times - trajectory.times[0] - each.start_fs
            inside = (times > -1e-6) & (times < 300 + 1e-3)
            assert each.lags_fs == pytest.approx(times[inside], abs=1e-9)
            assert each.true == pytest.approx(trajectory.positions[inside])
        make_examples(run, [trajectory]).save(run.folder)
        text = write_page(run.folder, tmp_path / "page.html").read_text()
        assert "which has no weights" in text
        assert 'id="training"' not in text

    def test_the_command_makes_such_a_run(self, run):
        from gfnode.cli.options import read_settings
        from gfnode.experiment import configure

        words = shlex.split(Examples.read(run).command)
        settings = [b for a, b in pairwise(words) if a == "--set"]
        made = configure("default", read_settings(settings))
        assert made == gfnode.Run.open(run).experiment
        assert words[words.index("--data") + 1] == str(run.parent / "toluene.npz")

    def test_times_in_the_command_have_their_unit(self, run, monkeypatch):
        opened = gfnode.Run.open(run)
        windows = {"lags": "given", "given_lags": [100.0, 0.25], "horizon": 200.0}
        made = opened.experiment.windows.model_copy(update=windows)
        monkeypatch.setattr(
            opened, "experiment", opened.experiment.model_copy(update={"windows": made})
        )
        words = shlex.split(command(opened))
        assert 'windows.given_lags=["100.0fs", "0.25fs"]' in words
        assert "windows.horizon=200.0fs" in words


def synthetic(atoms: int, frames: int, *, far: float = 0.0, size: float = 6.0) -> Examples:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(frames, atoms, 3), scale=size).astype(np.float32) + far
    turn = np.broadcast_to(np.eye(3), (frames, 3, 3)).copy()
    lags = 10.0 * np.arange(frames)
    return Examples(
        tuple(
            Example(kind, 0, "t", 0, 0.0, 1.0, 300, lags, x, x + np.float32(0.1), turn)
            for kind in KINDS
        ),
        tuple(f"C{i}" for i in range(atoms)),
        {},
        0,
        "",
        "",
    )


class TestStructures:
    @pytest.mark.parametrize(("size", "kind"), [(6, "int16"), (60, "int32")])
    def test_packing_keeps_a_thousandth_of_an_angstrom(self, size, kind):
        examples = synthetic(50, 5, far=1000.0, size=size)
        system = {
            "source_numbers": [6] * 50,
            "atoms": list(range(50)),
            "score": list(range(10)),
            "bonds": [],
        }
        packed = pack(examples, system)["examples"][0]
        assert packed["true"]["type"] == kind
        raw = np.frombuffer(base64.b64decode(packed["true"]["data"]), kind)
        back = raw.reshape(5, 50, 3) * 1e-3 + packed["origin"]
        assert np.abs(back - examples.examples[0].true).max() < 0.6e-3

    def test_frames_left_out_are_told(self, monkeypatch):
        monkeypatch.setattr("gfnode.report.structures.MOST_BYTES", 1000)
        system = {"source_numbers": [6] * 9, "atoms": list(range(9)), "score": [0, 1], "bonds": []}
        packed, notes = pack_several([("run", synthetic(9, 10), system, False)])
        (example,) = packed[0]["examples"]
        assert len(example["lags_fs"]) == 5
        assert notes[1] == "To keep the page small, only one frame in 2 is shown."

    def test_the_first_view_is_a_rotation(self):
        system = {"source_numbers": [6] * 9, "atoms": list(range(9)), "score": [0, 1], "bonds": []}
        side = np.reshape(pack(synthetic(9, 2), system)["examples"][0]["side"], (3, 3))
        assert side @ side.T == pytest.approx(np.eye(3), abs=1e-5)
        assert np.linalg.det(side) == pytest.approx(1, abs=1e-5)

    def test_a_protein_stays_small(self):
        atoms, inside = 3341, 300
        stride = stride_of(inside, atoms)
        frames = inside // stride + 1
        assert 8 <= frames <= 20
        system = {
            "source_numbers": [6] * atoms,
            "atoms": list(range(atoms)),
            "score": list(range(atoms)),
            "bonds": [[i, i + 1] for i in range(atoms - 1)],
        }
        assert len(json.dumps(pack(synthetic(atoms, frames), system))) < 4e6
        assert stride_of(300, 15) == 3
        assert stride_of(40, 15) == 1


@pytest.fixture
def hostile(copied: Path, tmp_path: Path) -> Path:
    """A page of a run whose every name is an attack."""
    facts = json.loads((copied / "run.json").read_text())
    facts["data"][0] |= {"name": HOSTILE, "formula": HOSTILE, "file": HOSTILE}
    facts["notes"] = [HOSTILE]
    facts["created"] = facts["training"]["ended"] = HOSTILE
    facts["versions"][HOSTILE] = HOSTILE
    facts["experiment"]["model"][HOSTILE] = HOSTILE
    (copied / "run.json").write_text(json.dumps(facts))
    text = (copied / "evaluation.json").read_text()
    text = text.replace('"mean-conformer"', json.dumps(HOSTILE))
    (copied / "evaluation.json").write_text(text)
    with np.load(copied / "errors.npz") as file:
        arrays = {k.replace("mean-conformer", HOSTILE): v for k, v in file.items()}
    np.savez(copied / "errors.npz", **arrays)
    with np.load(copied / "examples.npz") as file:
        arrays = {k.replace("mean-conformer", HOSTILE): v for k, v in file.items()}
    arrays["labels"] = np.array([HOSTILE] * len(arrays["labels"]))
    arrays["command"] = np.array(HOSTILE)
    arrays |= {f"{kind}.trajectory": np.array(HOSTILE) for kind in KINDS}
    np.savez(copied / "examples.npz", **arrays)
    return write_page(copied, tmp_path / "hostile.html")


def test_predictions_that_diverged_are_told(copied, tmp_path):
    found = Examples.read(copied)
    for each in found.examples:
        each.predicted[3:] = np.nan
    found.save(copied)
    data = Page(write_page(copied, tmp_path / "page.html").read_text()).scripts[0]
    (typical, *_) = json.loads(data)["runs"][0]["examples"]
    assert None not in typical["rmsd"][:3]
    assert set(typical["rmsd"][3:]) == set(typical["superposed"][3:]) == {None}
    assert None not in typical["start"]


class TestStrangers:
    def test_names_stay_text(self, hostile, parsed):
        found = Page(hostile.read_text(encoding="utf-8"))
        html = [tag for tag, _ in found.tags if tag in ("script", "img", "iframe", "a", "style")]
        assert html == [tag for tag, _ in parsed.tags if tag in ("script", "a", "style")]
        assert not [a for _, a in found.tags if any(name.startswith("on") for name in a)]
        said = "".join(found.text)
        assert said.count("<script>alert(1)</script>") > 10

    @pytest.mark.parametrize("name", ["examples.npz", "errors.npz", "evaluation.json", "run.json"])
    def test_damage_is_one_clear_line(self, copied, tmp_path, name):
        path = copied / name
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(InputError, match=re.escape(name)) as caught:
            write_page(copied, tmp_path / "page.html")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "page.html").exists()

    def test_files_of_different_runs_are_told(self, copied, tmp_path):
        evaluation = json.loads((copied / "evaluation.json").read_text())
        del evaluation["methods"][evaluation["best_trivial"]]
        (copied / "evaluation.json").write_text(json.dumps(evaluation))
        with pytest.raises(InputError, match="do not fit together"):
            write_page(copied, tmp_path / "page.html")

    def test_numbers_that_make_no_sense_are_told(self, copied, tmp_path):
        evaluation = json.loads((copied / "evaluation.json").read_text())
        evaluation["error_bars"]["by_lag"] = []
        (copied / "evaluation.json").write_text(json.dumps(evaluation))
        with pytest.raises(InputError, match="do not fit together"):
            write_page(copied, tmp_path / "page.html")

    def test_history_that_is_no_history(self, copied, tmp_path):
        (copied / "history.csv").write_text("epoch,train_error\none,two\n")
        with pytest.raises(InputError, match=r"history\.csv is damaged"):
            write_page(copied, tmp_path / "page.html")


class TestCommand:
    def test_needs_no_data_once_made(self, copied, run, tmp_path):
        facts = json.loads((copied / "run.json").read_text())
        facts["data"][0]["file"] = str(tmp_path / "gone.npz")
        (copied / "run.json").write_text(json.dumps(facts))
        said = call("report", copied, "--no-physics")
        assert said.exit_code == 0, said.output
        assert said.stdout.startswith(f"report: {copied / 'report.html'} (")
        (copied / "examples.npz").unlink()
        said = call("report", copied, "--no-physics")
        assert said.exit_code == 2
        assert said.stderr.count("\n") == 1
        assert "gone.npz" in said.stderr
        moved = call("report", copied, "--no-physics", "--data", run.parent / "toluene.npz")
        assert moved.exit_code == 0, moved.output
        assert "not evaluated yet" not in moved.stdout

    def test_new_weights_are_evaluated_anew(self, copied):
        path = copied / "weights.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        said = call("report", copied, "--no-physics")
        assert said.exit_code == 0, said.output
        assert "not evaluated yet" in said.stdout

    def test_a_copy_is_not_evaluated_anew(self, copied):
        (copied / "examples.npz").unlink()
        for path in copied.iterdir():
            os.utime(path, (10**9, 10**9 + (path.suffix == ".safetensors")))
        assert "not evaluated yet" not in works("report", copied, "--no-physics")

    def test_other_data_are_refused(self, copied, tmp_path):
        other = gfnode.load("sample:toluene")[800:1400].save(tmp_path / "other.npz")
        said = call("report", copied, "--no-physics", "--data", other)
        assert said.exit_code == 2
        assert "gfnode evaluate --data" in said.stderr

    def test_a_folder_is_no_file(self, copied, tmp_path):
        said = call("report", copied, "--out", tmp_path)
        assert said.exit_code == 2
        assert "is not a file" in said.stderr


@pytest.fixture(scope="module")
def once(opened: Any, page: Path) -> Iterator[Visit]:
    found = Visit(opened, page, viewport={"width": 480, "height": 480})  # few pixels to draw
    yield found
    found.context.close()


@pytest.fixture
def visit(once: Visit, page: Path) -> Iterator[Visit]:
    """The page in its beginning; nothing may be said or asked for by the end."""
    once.page.locator("input[value=overlay]").check(force=True)
    once.page.locator("input[value=lab]").check(force=True)
    once.page.select_option("#example", "0")
    yield once
    assert once.said == []
    assert once.asked == [page.as_uri()]


def apart(visit: Visit) -> float:
    """Root mean square distance of the two structures on the screen, over the scored atoms."""
    models = {each["kind"]: np.array(each["x"])[:7] for each in visit.shown()[0]}
    return float(np.sqrt(3 * np.square(models["true"] - models["predicted"]).mean()))


class TestBrowser:
    def test_draws_both_structures(self, visit):
        pixels = visit.page.evaluate(
            """(() => { const c = document.querySelector('#pane-0 canvas');
            const d = document.createElement('canvas'); d.width = c.width; d.height = c.height;
            const g = d.getContext('2d'); g.drawImage(c, 0, 0);
            const p = g.getImageData(0, 0, d.width, d.height).data; let blue = 0, grey = 0;
            for (let i = 0; i < p.length; i += 4) {
              if (p[i + 2] > p[i] + 60) blue++;
              else if (p[i] < 200 && Math.abs(p[i] - p[i + 2]) < 30) grey++; }
            return [blue, grey, p.length / 4]; })()"""
        )
        assert pixels[0] > 0.01 * pixels[2]
        assert pixels[1] > 0.002 * pixels[2]

    def test_plays_both_in_step(self, visit, run):
        examples = Examples.read(run)
        visit.page.select_option("#speed", index=3)
        visit.page.evaluate("document.getElementById('frame').value = 0")
        visit.page.dispatch_event("#frame", "input")
        assert visit.state()["frame"] == 0
        assert apart(visit) == pytest.approx(0, abs=2e-3)
        visit.page.click("#play")
        visit.wait(4)
        visit.page.click("#play")
        state = visit.state()
        assert not state["playing"]
        frame = state["frame"]
        lag = examples.examples[0].lags_fs[frame]
        assert visit.page.inner_text("#lag") == f"{lag:.4g} fs"
        assert visit.page.input_value("#frame") == str(frame)
        expected = distances(examples.examples[0], np.arange(7))["rmsd"][frame]
        assert apart(visit) == pytest.approx(expected, abs=2e-3)
        assert float(visit.page.inner_text("#rmsd").split()[0]) == pytest.approx(expected, abs=6e-4)

    def test_slider_views_examples_and_placement(self, visit, run):
        examples = Examples.read(run)
        visit.page.select_option("#example", "2")
        visit.page.focus("#frame")
        visit.page.keyboard.press("End")
        assert visit.state()["frame"] == len(examples.examples[2].lags_fs) - 1
        found = distances(examples.examples[2], np.arange(7))
        assert apart(visit) == pytest.approx(found["rmsd"][-1], abs=2e-3)
        visit.page.locator("input[value=superposed]").check(force=True)
        assert apart(visit) == pytest.approx(found["superposed"][-1], abs=2e-3)
        assert visit.page.is_hidden("#pane-1")
        visit.page.locator("input[value=side]").check(force=True)
        assert visit.page.is_visible("#pane-1")
        both, alone = visit.shown()
        assert both[1]["x"] == alone[0]["x"]

    def test_structures_are_saved_as_they_were(self, visit, run, tmp_path):
        example = Examples.read(run).examples[0]
        for kind in ("true", "predicted"):
            with visit.page.expect_download() as caught:
                visit.page.click(f"#save-{kind}")
            path = tmp_path / caught.value.suggested_filename
            caught.value.save_as(path)
            found = gfnode.load(path)
            assert found.positions == pytest.approx(getattr(example, kind), abs=1.1e-3)
            assert found.times == pytest.approx(example.lags_fs)

    def test_tables_are_saved_as_they_are(self, visit, parsed, tmp_path):
        with visit.page.expect_download() as caught:
            visit.page.click("#errors a[data-file='file-lags']")
        caught.value.save_as(tmp_path / "lags.csv")
        assert (tmp_path / "lags.csv").read_text() == files(parsed)["lags.csv"]

    def test_fits_a_phone_and_the_dark(self, opened, page):
        size = {"width": 360, "height": 740}
        found = Visit(opened, page, viewport=size, color_scheme="dark", has_touch=True)
        assert found.page.evaluate("document.documentElement.scrollWidth") == 360
        assert found.page.locator("#errors .narrow svg").is_visible()
        assert found.page.locator("#errors .wide svg").is_hidden()
        ground = found.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", ground))) < 60
        assert found.said == []
        found.context.close()

    def test_names_of_a_stranger_do_nothing(self, opened, hostile):
        found = Visit(opened, hostile)
        found.page.click("#play")
        found.page.wait_for_timeout(100)
        assert found.said == []
        assert found.asked == [hostile.as_uri()]
        assert found.page.locator("img").count() == 0
        assert HOSTILE in found.page.inner_text("h1")
        found.context.close()

    def test_keys_turn_the_structures_and_the_view_stays_in_step(self, visit):
        turned = "document.getElementById('player').player.viewers.map((v) => v.getView())"
        before = visit.page.evaluate(turned)
        visit.page.focus("#pane-0")
        visit.page.keyboard.press("ArrowRight")
        after = visit.page.evaluate(turned)
        assert np.abs(np.subtract(after[0], before[0]))[4:].max() > 0.01
        assert after[1][4:] == pytest.approx(after[0][4:], abs=1e-6)
        visit.page.keyboard.press("ArrowLeft")
        back = visit.page.evaluate(turned)[0]
        assert np.abs(back[4:]) == pytest.approx(np.abs(before[0][4:]), abs=1e-4)
        visit.page.keyboard.press("+")
        assert visit.page.evaluate(turned)[0][3] != pytest.approx(back[3])
        visit.page.keyboard.press("-")

    def test_everything_is_reached_by_the_tabulator(self, visit):
        assert visit.page.evaluate("document.querySelector('a, button, [tabindex]').className") == (
            "skip"
        )
        visit.page.focus(".skip")
        left = "document.querySelector('.skip').getBoundingClientRect().left"
        assert visit.page.evaluate(left) >= 0  # seen once it is reached
        seen = []
        for _ in range(40):
            visit.page.keyboard.press("Tab")
            seen.append(visit.page.evaluate("document.activeElement.id"))
        assert visit.page.evaluate(left) < 0
        assert {"example", "pane-0", "play", "frame", "speed", "save-true"} <= set(seen)

    def test_links_to_files_are_called_what_they_show(self, visit):
        """WCAG 2.5.3: who speaks to a page says what is seen; the name adds which file it is."""
        links = visit.page.eval_on_selector_all(
            "a.download", "all => all.map((e) => [e.ariaLabel ?? e.textContent, e.textContent])"
        )
        assert len({label for label, _ in links}) > 3
        assert all(shown.strip() and label.startswith(shown.strip()) for label, shown in links)

    def test_prints_without_controls_and_with_all_settings(self, visit):
        visit.page.emulate_media(media="print")
        for hidden in ("nav", "#play", "#frame", "#numbers", ".skip"):
            assert visit.page.locator(hidden).is_hidden(), hidden
        for shown in ("#errors .wide svg", "#pane-0 canvas", "#table-lags"):
            assert visit.page.locator(shown).first.is_visible(), shown
        assert visit.page.locator("#errors .narrow svg").is_hidden()
        visit.page.emulate_media(media="screen")
        pages = visit.page.pdf(format="A4")
        assert pages.startswith(b"%PDF")
        assert 3 <= len(re.findall(rb"/Type\s*/Page\b", pages)) <= 12

    def test_without_webgl_it_says_so_and_the_numbers_move(self, browser, page):
        bare = browser("--disable-3d-apis", "--disable-gpu")
        found = Visit(bare, page)
        assert found.page.is_visible("#no-webgl")
        before = found.page.inner_text("#rmsd")
        found.page.focus("#frame")
        found.page.keyboard.press("Home")
        assert found.page.inner_text("#rmsd") == "0.000 Å" != before
        assert found.said == []
        bare.close()
