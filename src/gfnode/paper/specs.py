"""What a table or figure consists of, as its TOML file says it."""

import tomllib
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field

from gfnode.errors import InputError
from gfnode.settings import Settings

NAMES = (
    *("table1", "table2", "table3", "table4"),
    *("figure2", "figure3", "figure4"),
    "ingredients",
)
"""The tables and figures of the paper that can be reproduced, and one of ours."""


class Row(Settings):
    """A row of a table, or a curve of a figure: a model and what composes it.

    Parameters
    ----------
    id, title
        For the command line, and for the reader.
    changes
        Settings on top of those of the table, dotted; ``model.name`` among them.
    paper
        The name under which the paper lists it.
    ablation
        The row is compared with the full model, the row ``gfnode``.
    preset
        Of this row, in place of that of the table.
    note
        What a reader of the row should know.
    """

    id: str
    title: str
    changes: dict[str, Any]
    paper: str | None = None
    ablation: bool = False
    preset: str | None = None
    note: str = ""

    @property
    def model_settings(self) -> list[str]:
        """Names of the settings of the model, without ``model.``."""
        from gfnode.models import model_meanings  # needs torch, which tables do not

        return list(model_meanings(self.changes["model.name"]))

    def has(self, key: str) -> bool:
        """Whether a setting applies: one of the model, ``model.…``, only where the model has it."""
        group, *name = key.split(".")
        own = {each.split(".")[0] for each in self.model_settings}
        return group != "model" or not name or name[0] in own

    def takes(self, key: str) -> bool:
        """Whether a setting may be changed here: it applies, and does not define the row."""
        return self.has(key) and key not in self.changes


class Quantity(Settings):
    """Something a model is judged by: a mean over windows of what is never negative.

    Parameters
    ----------
    id
        ``error``, or what the measure ``structure`` calls it.
    title, unit
        For the reader.
    scale
        Turns Å² (errors), Å, radians or ratios into the unit.
    digits
        Decimals.
    """

    id: str
    title: str
    unit: str
    scale: float
    digits: int = 2


class Variant(Settings):
    """One of several trainings of each row, for figures that compare them."""

    id: str
    title: str
    changes: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it


class Spec(Settings):
    """A table or figure of the paper.

    Parameters
    ----------
    name, title
        ``table1``; what it shows.
    kind
        How its results are drawn.
    data
        A data set of :mod:`gfnode.paper.data`.
    molecules, shown
        Of that data set, the columns of Tables 1 and 4; those that are taken unless others are
        asked for (all).
    preset, epochs, seeds
        The budget: preset, epochs at most, runs with different seeds.
    first_seed
        Of these.
    changes
        Settings of all rows, on top of the preset. One of a model (``model.…``) counts where the
        model has it.
    split
        Of the paper.
    memory
        That a run takes on a processor, unless the user knows better.
    rows, quantities, variants
        See there.
    measures
        What is measured of each trained model.
    published
        The paper's mean and spread, by its name of the row and by molecule or quantity.
    notes
        What a reader should know.
    """

    name: str
    title: str
    kind: Literal["table", "ramachandran", "horizons", "spectra"]
    data: str
    molecules: list[str]
    shown: list[str] | None = None
    preset: str = "paper"
    epochs: int = Field(ge=1)
    seeds: int = Field(ge=1)
    first_seed: int = 53
    changes: dict[str, Any]
    split: str
    memory: str = "1.5GB"
    rows: list[Row]
    quantities: list[Quantity] = []  # noqa: RUF012
    variants: list[Variant] = []  # noqa: RUF012
    measures: list[str] = []  # noqa: RUF012
    published: dict[str, dict[str, list[float]]] = {}  # noqa: RUF012
    notes: list[str] = []  # noqa: RUF012

    def row(self, name: str) -> Row:
        """The row of an id."""
        return next(row for row in self.rows if row.id == name)

    def changes_of(self, row: Row) -> dict[str, Any]:
        """Those of `changes` that a row's model has."""
        return {key: value for key, value in self.changes.items() if row.has(key)}


def load(name: str) -> Spec:
    """Read the TOML file of a table or figure.

    Raises
    ------
    InputError
        For a name that there is none of.
    """
    if name not in NAMES:
        raise InputError(f"there is no {name} to reproduce: expected {', '.join(NAMES)}")
    text = (files("gfnode") / "paper" / f"{name}.toml").read_text(encoding="utf-8")
    return Spec.read(tomllib.loads(text) | {"name": name}, f"{name}.toml")
