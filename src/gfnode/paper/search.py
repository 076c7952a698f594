"""The same small search of settings for every model, before a table is made.

Each row is trained with each combination of values, on some molecules, with the first seed alone;
the combination of least validation error is kept for all molecules and seeds. Test windows are not
looked at. So no row is tuned more than another, and the table says what was tried.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

import numpy as np

from gfnode.errors import InputError
from gfnode.paper.grids import Grid, Text
from gfnode.paper.plan import Choice, Planned, make_plan
from gfnode.paper.specs import Spec
from gfnode.settings import read_value

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Search:
    """What is tried.

    Parameters
    ----------
    values
        Of each setting, by its dotted key.
    molecules
        On which it is tried; None: on all of the table.
    """

    values: Mapping[str, Sequence[Any]]
    molecules: Sequence[str] | None = None

    @classmethod
    def read(cls, items: Sequence[str], molecules: Sequence[str] | None = None) -> Self:
        """Read ``key=value,value,…``; each value is JSON, else text.

        Raises
        ------
        InputError
            For text of another form, a single value, or a setting that was read already.
        """
        found: dict[str, list[Any]] = {}
        for item in items:
            key, _, text = item.partition("=")
            texts = [each.strip() for each in text.split(",") if each.strip()]
            values = [read_value(each) for each in texts]
            if not key.strip() or all(each == values[0] for each in values):
                raise InputError(
                    f"--search {item}: expected key=value,value,… with two different values or "
                    "more, e.g. --search training.rate=0.0003,0.001"
                )
            if key.strip() in found:
                raise InputError(
                    f"--search {item}: {key.strip()} is searched twice: expected all of its "
                    "values in one option"
                )
            found[key.strip()] = values
        return cls(found, molecules)

    @property
    def combinations(self) -> list[Values]:
        """Every combination of values."""
        return [
            dict(zip(self.values, each, strict=True)) for each in product(*self.values.values())
        ]


@dataclass(frozen=True)
class Trial:
    """One training of the search.

    Parameters
    ----------
    values
        That were tried.
    planned
        The job.
    """

    values: Values
    planned: Planned


def plan_search(spec: Spec, choice: Choice, search: Search) -> list[Trial]:
    """Plan the trainings of a search: of the first variant, where a figure has several.

    Raises
    ------
    InputError
        As of :func:`gfnode.paper.plan.make_plan`.
    """
    trials = []
    for values in search.combinations:
        tried = replace(
            choice,
            molecules=search.molecules or choice.molecules,
            seeds=1,
            changes={**choice.changes, **values},
        )
        planned = make_plan(spec, tried)
        first = planned[0].variant
        trials += [Trial(values, each) for each in planned if each.variant == first]
    return trials


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Parameters
    ----------
    values
        The values kept, by row.
    errors
        Geometric mean over molecules of the validation error in Å², by row, in the order of the
        combinations; inf where a training failed.
    tried
        The combinations.
    molecules
        On which.
    """

    values: dict[str, Values]
    errors: dict[str, list[float]]
    tried: Sequence[Values]
    molecules: Sequence[str]

    def grid(self, spec: Spec) -> Grid:
        """What was tried and what was kept, as a table."""
        head = ("", *(_said(each) for each in self.tried))
        rows = []
        for row, errors in self.errors.items():
            kept = self.tried.index(self.values[row])
            said = [f"{100 * each:.4g}" if np.isfinite(each) else "failed" for each in errors]
            cells = [Text((each,), "best" if k == kept else "") for k, each in enumerate(said)]
            rows.append((Text((spec.row(row).title,)), *cells))
        where = ", ".join(self.molecules)
        several = ", geometric mean over molecules" if len(self.molecules) > 1 else ""
        before = (
            "Each row was trained with each of these values and one seed; the value of least "
            "validation error, in bold, was kept for all seeds and molecules. Validation error in "
            f"10⁻² Å² per coordinate, on {where}{several}.",
        )
        return Grid("Search", before, head, tuple(rows))


def conclude(trials: Sequence[Trial], errors: Sequence[float | None]) -> Found:
    """Choose the values of least error for every row.

    Parameters
    ----------
    errors
        Validation error of each trial in Å²; None where it failed.

    Raises
    ------
    InputError
        When every trial of a row failed.
    """
    tried: list[Values] = []
    logs: dict[str, dict[int, list[float]]] = {}
    for trial, error in zip(trials, errors, strict=True):
        if trial.values not in tried:
            tried.append(trial.values)
        value = np.inf if error is None or not error > 0 else float(np.log(error))
        mine = logs.setdefault(trial.planned.row.id, {})
        mine.setdefault(tried.index(trial.values), []).append(value)
    means = {row: [float(np.exp(np.mean(of[k]))) for k in sorted(of)] for row, of in logs.items()}
    for row, found in means.items():
        if not np.isfinite(found).any():
            raise InputError(
                f"every training of {row} in the search failed; see the job.log of each"
            )
    return Found(
        {row: tried[int(np.argmin(found))] for row, found in means.items()},
        means,
        tried,
        list(dict.fromkeys(each.planned.molecule for each in trials)),
    )


def _said(values: Values) -> str:
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in values.items())
