"""Runs that differ in nothing but the seed, taken together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gfnode.report.comparison.runs import Compared
from gfnode.report.loading import RunFiles
from gfnode.report.numbers import NOTHING, hundredths, three
from gfnode.report.page import settings_of
from gfnode.report.pictures import Table
from gfnode.report.template import rms


def seeds_table(compared: Compared) -> Table | None:
    """Mean over the seeds of each group of runs, and their spread; None where no group has two."""
    groups: dict[str, list[int]] = {}
    for number, run in enumerate(compared.runs):
        groups.setdefault(_apart_from_seed(run), []).append(number)
    if max(map(len, groups.values())) < 2:
        return None
    head = [
        "model",
        "runs",
        "seeds",
        "rms error of an atom, Å",
        "error, 10⁻² Å²",
        "error / best trivial",
    ]
    body = []
    rows: list[list[Any]] = [
        ["model", "runs", "seeds", "error", "error_spread", "ratio", "ratio_spread"]
    ]
    for numbers in groups.values():
        runs = [compared.runs[number] for number in numbers]
        named = ", ".join(compared.names[number] for number in numbers)
        seeds = ", ".join(str(run.facts.get("seed", NOTHING)) for run in runs)
        errors = [run.evaluation["methods"][run.model]["mean_over_lags"]["value"] for run in runs]
        ratios = [run.evaluation["verdicts"][run.best]["ratio"]["value"] for run in runs]
        (error, spread), (ratio, its) = _spread(errors), _spread(ratios)
        body.append(
            [
                *(runs[0].model, named, seeds, NOTHING if error is None else rms(error)),
                hundredths(error) + ("" if spread is None else f" ± {hundredths(spread)}"),
                three(ratio) + ("" if its is None else f" ± {three(its)}"),
            ]
        )
        rows.append([runs[0].model, named, seeds, error, spread, ratio, its])
    caption = "Runs that differ only in the seed: mean ± standard deviation (n − 1)"
    return Table("seeds", caption, head, body, rows)


def _apart_from_seed(run: RunFiles) -> str:
    """All that a run was made of but its seed."""
    settings = settings_of(run.facts)
    settings.pop("seed", None)
    return repr((run.model, sorted(settings.items()), run.fingerprints, run.scored))


def _spread(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation, as far as all are known and there are two."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None, None
    return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None
