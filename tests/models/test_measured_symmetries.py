"""Symmetries as an evaluation measures them, with the weights that a model has."""

import json
import re

import pytest
import torch

import gfnode
from commands import works
from gfnode.models import MODELS, Entry, Model, Symmetry
from gfnode.models.base import ALONE, EUCLIDEAN
from gfnode.models.symmetries import MEASURED, measure
from gfnode.report import symmetries
from making import build_variant, roughen, samples_of, system_of, wiggle, windows_of

CHANGES = {
    "windows": {"horizon": 60.0, "times": 3, "most": [70, 20, 40], "score": "all"},
    "training": {"epochs": 1, "batch": 16},
}


class Blown(Model):
    """Atoms fly on, in a wind along x that it keeps silent about."""

    promises = EUCLIDEAN | ALONE | {Symmetry.START}
    wind = 0.05

    def forward(self, positions, velocities, lags):
        wind = torch.tensor([self.wind, 0, 0]) * velocities.square().mean().sqrt()
        return positions[:, None] + lags[..., None, None] * (velocities + wind)[:, None]


def test_of_a_wind():
    """rms of the wind less the turned wind, over that of the motion, computed by hand."""
    system = system_of("ethanol")
    windows = windows_of(samples_of("ethanol", system))
    found = measure(Blown(system), windows)
    assert set(found) == {each.value for each in MEASURED}
    assert all(each.promised for each in found.values())
    batch = windows.batch(windows.evenly(4))
    wind = 0.05 * batch.velocities.square().mean().sqrt() * torch.tensor([1.0, 0, 0])
    lags = batch.lags[..., None, None]
    motion = (lags * (batch.velocities + wind)[:, None]).square().mean().sqrt()
    turned = torch.tensor([3 / 7, 6 / 7, 2 / 7]) * wind[0]  # the first column of the turn
    expected = float((lags * (wind - turned)).square().mean().sqrt() / motion)
    assert found["rotation"].broken_by == pytest.approx(expected, rel=1e-3)
    assert found["rotation"].broken_by > 0.01
    assert found["batch"].broken_by > 0  # the wind is that of the whole batch
    for name in ("translation", "lags", "start"):
        assert found[name].broken_by < 1e-5, name


@pytest.mark.parametrize("name", ["preset:default", "preset:paper", "egnn", "ito"])
def test_what_is_promised_is_measured_as_kept(name):
    system = system_of("toluene")
    windows = windows_of(samples_of("toluene", system))
    model = build_variant(name, {}, system)
    model.prepare(windows)
    roughen(model, scale=0.7)
    found = measure(model, windows)
    for each, how in found.items():
        assert how.promised == (Symmetry(each) in model.kept)
        assert not how.promised or how.broken_by < 1e-3, (each, how)


def test_a_still_model_breaks_nothing_by_rounding():
    system = system_of("ethanol")
    windows = windows_of(samples_of("ethanol", system))
    found = measure(build_variant("persistence", {}, system), windows)
    assert max(each.broken_by for each in found.values()) < 5e-3


def test_a_broken_promise_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "blown", Entry(Blown, None, "flies on, in a wind"))
    monkeypatch.setattr(Blown, "wind", 2.0)
    data, folder = tmp_path / "wiggle.npz", tmp_path / "run"
    wiggle().save(data)
    changes = CHANGES | {"model": {"name": "blown"}}
    run = gfnode.fit(data, changes=changes, out=folder, progress=False)
    assert run.evaluate().symmetries["rotation"].promised
    said = " ".join(works("evaluate", folder, "--no-physics", "--no-plot").split())
    broken = r"broken with these weights: rotation by [\d.]+ %, reflection by .* of the predicted"
    assert re.search(broken, said)
    assert "; the model should keep rotation and reflection" in said
    sentence = symmetries(json.loads((folder / "evaluation.json").read_text()))
    assert sentence in said
    assert works("report", folder, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert sentence[1:] in page


def test_words():
    def of(**shares):
        return {"symmetries": {k: {"promised": True, "broken_by": v} for k, v in shares.items()}}

    assert symmetries({}) is None
    assert symmetries(of(start=2e-6, lags=0)).endswith(
        "all kept, to within 0.0002 % of the predicted motion"
    )
    said = symmetries(of(start=None, lags=0.5, batch=0.0))
    assert "start by any amount, lags by 50 % of the" in said
    assert said.endswith("; the model should keep start and lags")
