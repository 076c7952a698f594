"""Which runs stand side by side, and which of them may be paired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.metrics import Blocks, Verdict, paired_verdict
from gfnode.report.loading import RunFiles

MOST_RUNS = 12
_TENTH = 0.1  # fs: windows start, and look at lags, on frames


def check_compared(folders: Sequence[Path]) -> None:
    """Refuse runs that cannot stand side by side: fewer than two, more than twelve, one twice.

    Raises
    ------
    InputError
        Says which.
    """
    if not 2 <= len(folders) <= MOST_RUNS:
        raise InputError(
            f"a comparison is of 2 to {MOST_RUNS} runs, got {len(folders)}; name other folders"
        )
    resolved = [each.resolve() for each in folders]
    for path, again in zip(folders, resolved, strict=True):
        if resolved.count(again) > 1:
            raise InputError(f"{path} is named twice; a run is compared with others")


@dataclass(frozen=True, eq=False)
class Pair:
    """Two runs on the windows that both were judged on.

    Parameters
    ----------
    first, second
        Their numbers.
    windows
        That both were judged on.
    blocks
        Of time, that these fall into.
    verdict
        The first against the second; None where they cannot be paired.
    reason
        Why not.
    """

    first: int
    second: int
    windows: int = 0
    blocks: int = 0
    verdict: Verdict | None = None
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Compared:
    """Runs side by side.

    Parameters
    ----------
    runs
        As their folders have them.
    names
        Of each, told apart.
    pairs
        Every two of them.
    """

    runs: Sequence[RunFiles]
    names: Sequence[str]
    pairs: Sequence[Pair]

    @classmethod
    def read(cls, folders: Sequence[str | Path]) -> "Compared":
        """Read run folders.

        Raises
        ------
        InputError
            When there are fewer than two, more than twelve, one twice, one that cannot be read, or
            errors in other units.
        """
        paths = [Path(each) for each in folders]
        check_compared(paths)
        runs = [RunFiles.read(path) for path in paths]
        units = {str(run.evaluation["unit"]): run for run in runs}
        if len(units) > 1:
            given = "; ".join(f"{run.folder}: {unit}" for unit, run in units.items())
            raise InputError(
                f"errors in different units cannot stand on one axis ({given}); evaluate the runs "
                "again with one version of gfnode"
            )
        pairs = [_pair(runs, *both) for both in combinations(range(len(runs)), 2)]
        return cls(runs, apart(paths), pairs)

    @property
    def named(self) -> list[tuple[str, RunFiles]]:
        """Every run behind its name."""
        return list(zip(self.names, self.runs, strict=True))

    @property
    def one_molecule(self) -> bool:
        """Whether all are of the same molecules."""
        return len({run.molecules for run in self.runs}) == 1

    @property
    def all_paired(self) -> bool:
        """Whether every two were judged on common windows."""
        return all(each.verdict is not None for each in self.pairs)

    @property
    def same_windows(self) -> bool:
        """Whether all were judged on exactly the same windows."""
        counts = {len(run.windows.starts_fs) for run in self.runs}
        return self.all_paired and {each.windows for each in self.pairs} == counts

    def verdict(self, one: int, other: int) -> tuple[str, Mapping[str, float | None]] | None:
        """Verdict and ratio of one run's error to another's; None where they are not paired."""
        for each in self.pairs:
            found = each.verdict
            if found is None or {one, other} != {each.first, each.second}:
                continue
            ratio, word = found.ratio, str(found.verdict)
            values: tuple[float, ...] = (ratio.value, ratio.low, ratio.high)
            if one == each.second:
                values = tuple(1 / v if v else np.inf for v in (values[0], values[2], values[1]))
                word = {"better": "worse", "worse": "better"}.get(word, word)
            finite = (float(v) if np.isfinite(v) else None for v in values)
            return word, dict(zip(("value", "low", "high"), finite, strict=True))
        return None


def apart(paths: Sequence[Path]) -> list[str]:
    """Names of different folders, with as many parents as tell them apart."""
    parts = [path.resolve().parts for path in paths]
    depth = 1
    while len({each[-depth:] for each in parts}) < len(parts):
        depth += 1
    return ["/".join(each[-depth:]) for each in parts]


def _pair(runs: Sequence[RunFiles], first: int, second: int) -> Pair:
    a, b = runs[first], runs[second]
    if reason := _unlike(a, b):
        return Pair(first, second, reason=reason)
    here, there = common_windows(a, b)
    if not len(here):
        reason = "they share no test window (start and lags)"
        return Pair(first, second, reason=reason)
    horizon = max(a.evaluation["horizon_fs"], b.evaluation["horizon_fs"])
    blocks = Blocks.of(a.windows.starts_fs[here], horizon, a.windows.segments[here])
    errors = a.windows.errors[a.model][here], b.windows.errors[b.model][there]
    return Pair(first, second, len(here), blocks.count, paired_verdict(*errors, blocks))


def _unlike(a: RunFiles, b: RunFiles) -> str:
    """Why the errors of two runs are not errors of one task; empty where they are."""
    if a.molecules != b.molecules:
        return "they are of different molecules"
    if a.fingerprints != b.fingerprints:
        return "they were trained on different data"
    if sorted(a.scored) != sorted(b.scored):
        return "they are scored on different atoms"
    if len({run.evaluation["targets_superposed_on_start"] for run in (a, b)}) > 1:
        return "only one of them has targets superposed on the start"
    return ""


def common_windows(a: RunFiles, b: RunFiles) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the windows, in each of two runs, of the same start and the same lags."""
    of_b = {key: number for number, key in enumerate(_keys(b))}
    both = [(number, of_b[key]) for number, key in enumerate(_keys(a)) if key in of_b]
    here, there = np.array(both, dtype=np.int64).reshape(-1, 2).T
    return here, there


def _keys(run: RunFiles) -> list[tuple[int, ...]]:
    """Trajectory of each window, and its start and lags in whole tenths of fs."""
    windows = run.windows
    times = np.column_stack([windows.starts_fs, windows.lags_fs])
    whole = np.rint(np.asarray(times, dtype=np.float64) / _TENTH).astype(np.int64)
    return list(map(tuple, np.column_stack([windows.segments, whole]).tolist()))


def differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Settings that are not the same in all runs, with the value of each; – where it has none."""
    keys = dict.fromkeys(key for each in settings for key in each)
    rows = {key: [str(each.get(key, "–")) for each in settings] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}
