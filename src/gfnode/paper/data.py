"""Where the data of a table lies in the user's folder, and what to fetch where it does not."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from gfnode import catalogue
from gfnode.errors import InputError

Kind = Literal["series", "scattered", "replicas"]


class MissingData(InputError):
    """Files that a table needs are not there; ``lines`` say what to fetch."""

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        super().__init__(message)
        self.lines = list(lines)


@dataclass(frozen=True)
class Found:
    """The files of a molecule.

    Parameters
    ----------
    files, top
        Trajectories, and the topology they need.
    kind
        ``series``: consecutive frames of one run; ``scattered``: frames of a series with most left
        out (rMD17); ``replicas``: runs of one molecule in solvent (alanine dipeptide).
    """

    files: tuple[str, ...]
    top: str | None
    kind: Kind


@cache
def datasets() -> dict[str, dict[str, Any]]:
    """All data sets by name; see ``datasets.toml``."""
    text = (files("gfnode") / "paper" / "datasets.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def find(dataset: str, molecules: Sequence[str], folder: Path) -> dict[str, Found]:
    """Find the files of molecules in a folder, the folders right below it, or the cache.

    Consecutive series are taken before scattered frames, and the user's own before the cache.

    Raises
    ------
    MissingData
        When some molecule has none.
    """
    facts = datasets()[dataset]
    found = {molecule: _find(facts, molecule, folder) for molecule in molecules}
    missing = [molecule for molecule, each in found.items() if each is None]
    if missing:
        said = f"{folder} holds no data of {', '.join(missing)}"
        if not folder.is_dir():
            what = "is no folder" if folder.exists() else "does not exist"
            said = f"{folder} {what}, so it holds no data of {', '.join(missing)}"
        raise MissingData(
            f"{said}, and it has not been fetched: get it with gfnode fetch, put it there, or "
            "give its folder with --data",
            _to_fetch(facts, missing, folder),
        )
    return {molecule: each for molecule, each in found.items() if each is not None}


def _find(facts: dict[str, Any], molecule: str, folder: Path) -> Found | None:
    if "tops" in facts:
        runs, tops = _matches(folder, facts["names"]), _matches(folder, facts["tops"])
        runs = [run for run in runs if run.suffix == runs[0].suffix]  # not the same run twice
        if runs and tops:
            return Found(tuple(map(str, runs)), str(tops[0]), "replicas")
        return _fetched(facts["series"], "replicas")
    ways: dict[Kind, str] = {"series": "names", "scattered": "names_scattered"}
    for kind, key in ways.items():
        names = [pattern.format(molecule=molecule) for pattern in facts[key]]
        if paths := _matches(folder, names):
            return Found((str(paths[0]),), None, kind)
        if (found := _fetched(facts[kind].format(molecule=molecule), kind)) is not None:
            return found
    return None


def _fetched(name: str, kind: Kind) -> Found | None:
    """Files in the cache."""
    if not catalogue.in_cache(catalogue.find(name)):
        return None
    runs = catalogue.locate_all(name)
    top = None if runs[0].top is None else str(runs[0].top)
    return Found(tuple(str(run.path) for run in runs), top, kind)


def _matches(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Files of the first folder that has any, in the order of the patterns and then of names."""
    places = [folder]
    if folder.is_dir():
        places += sorted(each for each in folder.iterdir() if each.is_dir())
    for place in places:
        found = [path for pattern in patterns for path in sorted(place.glob(pattern))]
        if found:
            return list(dict.fromkeys(found))
    return []


def _to_fetch(facts: dict[str, Any], missing: Sequence[str], folder: Path) -> list[str]:
    """What to type, and where to look by hand."""
    names = [facts["series"].format(molecule=molecule) for molecule in missing]
    lines = [f"to fetch: gfnode fetch {' '.join(names)}"]
    for name in names:
        entry = catalogue.find(name)
        files = ", ".join(part.remote.name for part in entry.parts)
        lines.append(
            f"  {name}: {files}, {entry.mb:.0f} MB; by hand: from {entry.page} into {folder}"
        )
    if "scattered" in facts:
        others = " ".join(facts["scattered"].format(molecule=molecule) for molecule in missing)
        lines.append(f"  for irregular lags and blocked splits only: gfnode fetch {others}")
    return lines
