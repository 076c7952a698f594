"""The base of every configuration: frozen, typed, and strict about unknown keys."""

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from gfnode.errors import InputError
from gfnode.units import parse_time


class TypedInt(int):
    """A whole number as a user typed it, so that a time without its unit is found out."""


class TypedFloat(float):
    """The same of any number."""


def _read_time(value: Any) -> float:
    return parse_time(str(value) if isinstance(value, TypedInt | TypedFloat) else value)


Femtoseconds = Annotated[float, BeforeValidator(_read_time)]
"""A time in fs, or text with its unit (``"1.5ps"``), which what is typed must have."""

Layers = Annotated[int, Field(ge=1, le=100)]
"""A number of layers. It has an end, so that nobody's settings build a model without one."""

Width = Annotated[int, Field(ge=1, le=4096)]
"""A number of features, of lags, of samples: whatever the size of a model or a step goes by."""

LengthUnit = Annotated[float, Field(ge=0.01, le=100)]
"""The unit of length of a network, in Å."""


def read_value(text: str) -> Any:
    """A value of a setting as it is typed: JSON where it is JSON, else text."""
    try:
        return json.loads(text, parse_int=TypedInt, parse_float=TypedFloat)
    except ValueError:
        return text.strip()


class Settings(BaseModel):
    """Base class of configurations; the docstring of a field says what the setting means."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false for a number, which pydantic would take for 1 and 0."""
        if isinstance(value, bool) and info.field_name is not None:
            kind = cls.model_fields[info.field_name].annotation
            kinds = {kind, *get_args(kind)}
            kinds |= {get_args(each)[0] for each in kinds if hasattr(each, "__metadata__")}
            if kinds & {int, float} and bool not in kinds:
                raise ValueError("expected a number")
        return value

    @property
    def idle(self) -> Mapping[str, str]:
        """Settings that would have no effect beside the others, and what each of them needs."""
        return {}

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
        group = cls.model_fields[key].default if key in cls.model_fields else None
        if problem["type"] in ("model_type", "dict_type") and isinstance(group, Settings | dict):
            one = next(iter(dict(group)), "…")
            return f"{key} is a group of settings: expected one of them, such as {key}.{one}=…"
        if problem["type"] != "extra_forbidden":
            said = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "tuple_type":
                said = "expected a list such as [1, 2, 3]"
            # a combination of settings names them itself
            return f"{key}: {said} (got {problem['input']!r})" if key else said
        if not (known := list(cls.meanings())):
            return f"unknown key {key!r}; there are no settings"
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
