"""From a table and the user's choices to the jobs that it needs."""

import difflib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from gfnode.errors import InputError
from gfnode.experiment import configure
from gfnode.models import MODELS, TRIVIAL
from gfnode.paper.data import Found, find
from gfnode.paper.specs import Row, Spec, Variant
from gfnode.readers import Reader
from gfnode.sweep import Job, Measure

FRAMES = 3000
"""Horizon of the paper, in frames."""

MOST = [500, 2000, 2000]
"""Windows that the published MD17 split uses, and that blocked ones are cut down to here."""

HORIZONS = (1000, 2000, 3000, 4000, 5000)
"""Horizons of Figure 3, in frames."""

EACH = 500
"""Frames between the lags at which Figure 3 looks at one model."""

LISTED = "gfnode settings model --model NAME lists those of a model"


@dataclass(frozen=True)
class Choice:
    """What the user chose; None leaves it to the table.

    Parameters
    ----------
    data
        Folder of the trajectories.
    molecules, models
        Names of columns and of rows.
    seeds, epochs, preset
        Of the runs.
    split
        ``blocked`` or ``published``.
    changes
        Settings on top of everything. One of a model (``model.…``) counts where the model has it.
    of_rows
        Settings of single rows, on top of these.
    horizons
        Of Figure 3: ``one`` model for all horizons, one for ``each``, or the model of the shortest
        applied again and again (``rollout``).
    """

    data: Path
    molecules: Sequence[str] | None = None
    models: Sequence[str] | None = None
    seeds: int | None = None
    epochs: int | None = None
    preset: str | None = None
    split: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    horizons: str = "one"
    of_rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Planned:
    """A job, and where its result belongs."""

    row: Row
    molecule: str
    variant: Variant
    seed: int
    job: Job
    measures: tuple[Measure, ...]


def with_rows(spec: Spec, models: Sequence[str] | None) -> tuple[Spec, list[str] | None]:
    """A table with a row more for each registered model that is asked for and has none.

    Models of plug-ins stand so beside those of the paper. ``all`` stands for the table's own rows.

    Returns
    -------
    tuple
        The table, and the ids of the rows that are asked for; None: all.
    """
    if models is None:
        return spec, None
    ids = [row.id for row in spec.rows]
    names = [name for each in models for name in (ids if each == "all" else [each])]
    more = [name for name in dict.fromkeys(names) if name not in (*ids, *TRIVIAL)]
    rows = [
        Row(id=name, title=name, changes={"model.name": name}) for name in more if name in MODELS
    ]
    return spec.model_copy(update={"rows": [*spec.rows, *rows]}), names


def make_plan(spec: Spec, choice: Choice) -> list[Planned]:
    """Plan the jobs of a table or figure, in the order in which they are best done.

    Seed by seed, so that a sweep which is stopped early has a whole table of fewer seeds.

    Raises
    ------
    InputError
        For names that the table does not have, and settings that are wrong or do not fit the data;
        :class:`gfnode.paper.data.MissingData` where there is none.

    Warns
    -----
    UserWarning
        Of settings that some rows are not given: their model has none, or they are defined by it.
    """
    if "seed" in choice.changes:
        raise InputError("--set seed has no place here, where --seeds sets the seeds: leave it out")
    if choice.epochs is not None and "training.epochs" in choice.changes:
        raise InputError(
            "--epochs and --set training.epochs set the same: expected only one of them"
        )
    molecules = _chosen_molecules(spec, choice.molecules or spec.shown)
    rows = [spec.row(each) for each in chosen_rows(spec, choice.models)]
    variants = _variants(spec, choice)
    _check_applies(choice.changes, rows, variants)
    found = find(spec.data, molecules, choice.data)
    seeds = range(spec.first_seed, spec.first_seed + (choice.seeds or spec.seeds))
    return [
        _planned(
            spec, choice, found[molecule], row=row, molecule=molecule, variant=variant, seed=seed
        )
        for seed, molecule, variant, row in product(seeds, molecules, variants, rows)
    ]


def _check_applies(keys: Iterable[str], rows: Sequence[Row], variants: Sequence[Variant]) -> None:
    """Every setting must apply to some row; warn of those that do not apply to all."""
    for key in keys:
        if any(key in variant.changes for variant in variants):
            titles = "; ".join(variant.title for variant in variants)
            raise InputError(f"{key} cannot be set here, as the parts differ in it: {titles}")
        defined = [row.id for row in rows if key in row.changes]
        if len(defined) == len(rows):
            raise InputError(
                f"{key} cannot be set here, as every row has its own: choose rows with --models, "
                "which takes every registered model (gfnode models)"
            )
        without = [row.id for row in rows if not row.has(key) and key not in row.changes]
        names = ", ".join(without)
        if len(without) == len(rows):
            known = {name for row in rows for name in row.model_settings}
            near = difflib.get_close_matches(key.removeprefix("model."), known, 1)
            raise InputError(
                f"{key}: no model of the rows {names} has this setting; "
                + (f"did you mean 'model.{near[0]}'?" if near else LISTED)
            )
        if without:
            warnings.warn(
                f"{key} has no effect on the rows {names}: their models have no such setting",
                stacklevel=3,
            )
        if defined:
            warnings.warn(
                f"{key} is not changed in the rows {', '.join(defined)}, which are defined by it",
                stacklevel=3,
            )


def chosen_rows(spec: Spec, models: Sequence[str] | None) -> list[str]:
    """Ids of the rows that were asked for, in the order of the table."""
    ids = [row.id for row in spec.rows]
    if wrong := _wrong(models, ids):
        near = [*ids, *(name for name in MODELS if name not in TRIVIAL)]
        raise InputError(
            f"{spec.title}: no row {wrong!r}; {_meant(wrong, near)}expected some of "
            f"{', '.join(ids)}, all for these, or registered models other than trivial baselines "
            "(gfnode models)"
        )
    return [name for name in ids if not models or name in models]


def split_of(spec: Spec, choice: Choice, found: Found) -> str:
    """The kind of split that the runs get.

    Raises
    ------
    InputError
        When the data has no consecutive frames, which the published splits need.
    """
    if found.kind == "scattered" and choice.split == "published":
        raise InputError(
            f"{found.files[0]} has no consecutive frames, which the published splits need: use "
            "--split blocked"
        )
    if choice.split == "blocked" or found.kind == "scattered":
        return "blocked"
    return spec.split


def _planned(
    spec: Spec,
    choice: Choice,
    found: Found,
    *,
    row: Row,
    molecule: str,
    variant: Variant,
    seed: int,
) -> Planned:
    of_data = _of_data(spec, choice, found)
    changes = spec.changes_of(row) | of_data | variant.changes | row.changes
    frames = changes.pop("horizon_frames", FRAMES)
    if frames != FRAMES or changes["windows.split"] == "blocked":
        changes["windows.horizon"] = frames * _spacing(found)
    changes |= {"training.epochs": choice.epochs or spec.epochs, "seed": seed}
    asked = {**choice.changes, **choice.of_rows.get(row.id, {})}
    changes |= {key: value for key, value in asked.items() if row.takes(key)}
    try:
        experiment = configure(row.preset or choice.preset or spec.preset, changes)
    except InputError as error:
        raise InputError(f"row {row.id}: {error} (--models chooses rows)") from error
    job = Job(found.files, experiment, Reader(top=found.top))
    horizon = experiment.windows.horizon or frames * _spacing(found)
    return Planned(row, molecule, variant, seed, job, _measures(spec, choice, horizon, frames))


def _of_data(spec: Spec, choice: Choice, found: Found) -> dict[str, Any]:
    """Settings that follow from the kind of the data."""
    split = split_of(spec, choice, found)
    changes: dict[str, Any] = {"windows.split": split}
    if split == "blocked" and found.kind != "replicas":
        changes["windows.most"] = MOST
    if found.kind == "scattered":
        if spec.changes.get("windows.lags") == "regular" or spec.kind != "table":
            raise InputError(
                f"{spec.title} needs consecutive frames, and {found.files[0]} has none: fetch the "
                "MD17 series (md17_*.npz)"
            )
        changes |= {
            "windows.lags": "fresh",  # few starts: their lags are drawn anew for every epoch
            "windows.velocities": "successor",
            "graph.bonds": "distances",  # the rule of 1.6 Å cuts stretched bonds of frame 0
        }
    return changes


def _variants(spec: Spec, choice: Choice) -> list[Variant]:
    if spec.kind == "horizons":
        trained = {"one": HORIZONS[-1:], "each": HORIZONS, "rollout": HORIZONS[:1]}
        frames = trained[choice.horizons]
        return [
            Variant(id=str(each), title=f"{each} frames", changes={"horizon_frames": each})
            for each in frames
        ]
    return spec.variants or [Variant(id="", title="")]


def _measures(spec: Spec, choice: Choice, horizon: float, frames: int) -> tuple[Measure, ...]:
    found = [Measure(name) for name in spec.measures]
    if spec.kind == "horizons":
        repeated = choice.horizons == "rollout"
        longest = HORIZONS[-1] if repeated else frames
        last = horizon * longest / frames
        parts = 8 if choice.horizons == "each" else longest // EACH
        lags = [round(last * k / parts, 6) for k in range(1, parts + 1)]
        found.append(
            Measure("at-lags", {"lags_fs": lags} | ({"repeated": True} if repeated else {}))
        )
    return tuple(found)


@cache
def _spacing(found: Found) -> float:
    """Time between frames in fs."""
    from gfnode import readers

    file = found.files[0]
    step = readers.load(file, top=found.top).step
    if step is None:
        raise InputError(f"{file} has a single frame; a trajectory of many frames is needed")
    return step


def _chosen_molecules(spec: Spec, names: Sequence[str] | None) -> list[str]:
    known = spec.molecules
    if wrong := _wrong(names, known):
        raise InputError(
            f"{spec.title}: no molecule {wrong!r}; {_meant(wrong, known)}expected some of "
            f"{', '.join(known)}"
        )
    return [name for name in known if not names or name in names]


def _wrong(names: Sequence[str] | None, known: Sequence[str]) -> str | None:
    return next((name for name in names or () if name not in known), None)


def _meant(wrong: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(wrong, known, 1, 0.7)
    return f"did you mean {near[0]!r}? " if near else ""
