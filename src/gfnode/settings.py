"""The base of every configuration: frozen, typed, and strict about unknown keys."""

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gfnode.errors import InputError
from gfnode.units import parse_time

Femtoseconds = Annotated[float, BeforeValidator(parse_time)]
"""A time in fs; text with a unit (``"1.5ps"``) is understood."""

Layers = Annotated[int, Field(ge=1, le=100)]
"""A number of layers. It has an end, so that nobody's settings build a model without one."""

Width = Annotated[int, Field(ge=1, le=4096)]
"""A number of features, of lags, of samples: whatever the size of a model or a step goes by."""


def read_value(text: str) -> Any:
    """A value of a setting as it is typed: JSON where it is JSON, else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip()


class Settings(BaseModel):
    """Base class of configurations; the docstring of a field says what the setting means."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def read(cls, values: Mapping[str, Any], where: str = "configuration") -> Self:
        """Validate a nested mapping.

        Raises
        ------
        InputError
            For an unknown key (the nearest known spelling is offered) or a value that does not fit.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [cls._explain(dict(problem)) for problem in error.errors()]
            raise InputError(f"{where}: " + "; ".join(lines)) from error

    @classmethod
    def _explain(cls, problem: dict[str, Any]) -> str:
        key = ".".join(map(str, problem["loc"]))
        if problem["type"] != "extra_forbidden":
            said = problem["msg"].removeprefix("Value error, ")
            return f"{key}: {said} (got {problem['input']!r})"
        known = list(cls.meanings())
        *path, last = map(str, problem["loc"])
        level: Any = cls
        for name in path:
            level = level.model_fields[name].annotation
        siblings = {name: ".".join([*path, name]) for name in level.model_fields}
        names = {name.rsplit(".", 1)[-1]: name for name in known}
        near = (
            [siblings[n] for n in difflib.get_close_matches(last, siblings, 1)]
            or difflib.get_close_matches(key, known, 1, 0.5)
            or [names[n] for n in difflib.get_close_matches(last, names, 1, 0.5)]
        )
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        return f"unknown key {key!r}; {hint}"

    @classmethod
    def meanings(cls, prefix: str = "") -> dict[str, str]:
        """What every setting means, by its dotted name; empty where nothing says so."""
        found: dict[str, str] = {}
        for name, field in cls.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, Settings):
                found |= kind.meanings(f"{prefix}{name}.")
            else:
                found[prefix + name] = " ".join((field.description or "").split())
        return found
