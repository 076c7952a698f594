"""What was fitted in vain is kept in the run folder, and told wherever the run is looked at."""

from pathlib import Path

import pytest

from commands import works
from gfnode.files import read_json
from gfnode.models.gfnode import GraphFourierODE
from gfnode.models.newton import UNTRUSTED, Newton
from gfnode.report.summary import trained_on
from gfnode.share.export import describe
from making import build_variant, quick_run, system_of, wiggle


def test_a_potential_that_is_not_trusted_is_a_doubt():
    model = build_variant("gfnode", {}, system_of("ethanol"))
    assert isinstance(model.newton, Newton)
    assert model.doubt == ""
    model.newton._learned = True
    assert model.doubt == model.found == UNTRUSTED
    model.newton.trust.reach = 10.0
    assert model.doubt == ""


def test_it_is_told_by_evaluate_report_and_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(GraphFourierODE, "doubt", UNTRUSTED)
    path = wiggle().save(tmp_path / "wiggle.npz")
    run = quick_run(path, tmp_path / "run")
    facts = read_json(run.folder / "run.json")
    assert facts["doubt"] == UNTRUSTED
    assert trained_on(facts, 5)[-1] == f"T{UNTRUSTED[1:]}."
    card = describe(run, licence=None, name=None, authors=[])
    assert card["notes"][-1] == UNTRUSTED
    said = works("evaluate", str(run.folder), "--no-physics", "--no-plot")
    assert UNTRUSTED in said.replace("\n", " ")
