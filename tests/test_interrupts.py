"""Ctrl-C while a command works: one line that says how to go on, exit code 130."""

from pathlib import Path

import pytest

from commands import call, works
from sweeps import write_md17

AGAIN = "interrupted; the same command continues\n"
RESUMED = "interrupted; continue with the same command and --resume\n"
STARTED = ("--start", "sample:toluene", "--out", "out.npz")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, which is the cache too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFNODE_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    few = ("--set", "windows.most=[32,16,16]", "--set", "model.name=persistence")
    works("train", "sample:toluene", *few, "--out", folder)
    return folder


@pytest.mark.parametrize(
    ("words", "where", "said"),
    [
        (("fetch", "md17:ethanol", "--yes"), "gfnode.fetching.Fetcher.fetch", AGAIN),
        (("reproduce", "table1", "--data", "."), "gfnode.sweep.sweep", AGAIN),
        (
            ("simulate", "ethanol", "--engine", "emt", "--length", "1ps"),
            "gfnode.simulate.run.Simulation.run",
            RESUMED,
        ),
        (("rollout", "RUN", *STARTED, "--length", "9ps"), "gfnode.run.Run.rollout", RESUMED),
        (("predict", "RUN", *STARTED, "--times", "1ps"), "gfnode.run.Run.predict", "interrupted\n"),
        (("train", "sample:toluene"), "gfnode.run.fitting.fit", "interrupted\n"),
    ],
)
@pytest.mark.usefixtures("here")
def test_one_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], where: str, said: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupt)
    if words[0] == "reproduce":
        write_md17(Path("md17_ethanol.npz"), "ethanol")
        words = (*words, "--molecules", "ethanol", "--models", "egnn", "--split", "blocked")
    result = call(*(run if word == "RUN" else word for word in words))
    assert result.exit_code == 130, result.output
    assert result.stderr == said
