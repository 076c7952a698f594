"""Figures as files: sizes for a journal, and the numbers behind them."""

import csv
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from commands import call
from gfnode.errors import InputError
from gfnode.report import write_figures

POINT = 25.4 / 72  # mm


@pytest.fixture(scope="module")
def written(run: Path) -> list[Path]:
    return write_figures([run], run.parent / "figures", ["png", "pdf", "svg"])


@pytest.mark.parametrize("width", [85, 170])
@pytest.mark.parametrize("name", ["errors", "atoms", "training"])
def test_figures_have_the_width_of_columns(written, name, width):
    stem = written[0].parent / f"{name}-{width}mm"
    with Image.open(stem.with_suffix(".png")) as picture:
        picture.load()
        dpi = picture.info["dpi"][0]
        assert dpi == pytest.approx(600, rel=1e-3)
        assert picture.width / dpi * 25.4 == pytest.approx(width, abs=0.1)
        assert len(picture.convert("L").getcolors()) > 10  # something is drawn
    pdf = stem.with_suffix(".pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    right, top = map(float, re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", pdf).groups())
    assert right * POINT == pytest.approx(width, abs=0.1)
    assert top * POINT < 240
    svg = stem.with_suffix(".svg").read_text()
    assert float(re.search(r'width="([\d.]+)pt"', svg)[1]) * POINT == pytest.approx(width, abs=0.1)
    sizes = {float(size) for size in re.findall(r"font(?:-size)?: ([\d.]+)px", svg)}
    assert sizes
    assert 5.5 <= min(sizes) <= max(sizes) <= 9  # points: a pixel of this file is one


def test_numbers_stand_beside_the_figures(written, run):
    (path,) = (each for each in written if each.name == "errors.csv")
    with path.open() as file:
        found = [row for row in csv.DictReader(file) if row["method"] == "gfnode"]
    expected = json.loads((run / "evaluation.json").read_text())["methods"]["gfnode"]["by_lag"]
    assert [float(row["value"]) for row in found] == [each["value"] for each in expected]


def test_command(written, run, tmp_path):
    options = ("--no-physics", "--figures", tmp_path / "f", "--format", "pdf,svg")
    said = call("report", run, "--out", tmp_path / "r.html", *options)
    assert said.exit_code == 0, said.output
    assert "figures: " in said.stdout
    found = list((tmp_path / "f").iterdir())
    assert {each.suffix for each in found} == {".pdf", ".svg", ".csv"}
    for path in found:  # the same run gives the same bytes
        assert path.read_bytes() == (written[0].parent / path.name).read_bytes()
    said = call("report", run, "--figures", tmp_path / "g", "--format", "jpg")
    assert said.exit_code == 2
    assert "png, pdf, svg" in said.stderr
    assert not (tmp_path / "g").exists()


def test_unknown_formats_are_refused(run, tmp_path):
    with pytest.raises(InputError, match="unknown format"):
        write_figures([run], tmp_path, ["gif"])
