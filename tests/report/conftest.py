import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import QUIET, SMALL, SOFTWARE, Page, chromium

import gfnode
from commands import call


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluated run with its page; tests that change it copy it."""
    folder = tmp_path_factory.mktemp("report")
    data = gfnode.load("sample:toluene")[:700].save(folder / "toluene.npz")
    assert call("train", "--data", data, *SMALL, "--out", folder / "run").exit_code == 0
    said = call("report", folder / "run", "--no-physics", "--out", folder / "report.html")
    assert said.exit_code == 0, said.output
    assert "not evaluated yet" in said.stdout
    return folder / "run"


@pytest.fixture(scope="session")
def other(run: Path) -> Path:
    """Another run on the same data, judged on the same windows."""
    folder, data = run.parent / "smaller", run.parent / "toluene.npz"
    changes = ("model.name=egnn", "model.width=4", "model.layers=1", "training.epochs=1")
    words = [word for each in changes for word in ("--set", each)]
    assert call("train", "--data", data, *SMALL[:8], *words, "--out", folder).exit_code == 0
    return folder


@pytest.fixture(scope="session")
def compared_page(run: Path, other: Path) -> Path:
    """Both side by side."""
    out = run.parent / "comparison.html"
    said = call("report", run, other, "--no-physics", "--out", out)
    assert said.exit_code == 0, said.output
    assert f"{other}: not evaluated yet" in said.stdout
    return out


@pytest.fixture(scope="session")
def page(run: Path) -> Path:
    return run.parent / "report.html"


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.fixture(scope="session")
def parsed(page: Path) -> Page:
    return Page(page.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def evaluation(run: Path) -> dict[str, Any]:
    return json.loads((run / "evaluation.json").read_text())


@pytest.fixture(scope="module")  # not longer: its event loop would be in the way of others
def browser() -> Iterator[Any]:
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield lambda *more: playwright.chromium.launch(
            executable_path=path, args=[*QUIET, *(more or SOFTWARE)]
        )


@pytest.fixture(scope="module")
def opened(browser: Any) -> Iterator[Any]:
    found = browser()
    yield found
    found.close()
