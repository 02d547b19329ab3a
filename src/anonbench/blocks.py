"""The base of every block of settings."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anonbench.errors import nearest

Size = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class Strict(BaseModel):
    """A block of the configuration: unknown keys are refused, and numbers that are none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NoSettings(Strict):
    """The settings of a plugin that has none."""


class Inside(ValueError):
    """A mistake in an entry below the one that is being validated: what a plugin says of its own settings.

    ``entry`` is the path from there, with dots; empty for the validated block itself.
    """

    def __init__(self, entry: str, message: str) -> None:
        self.entry, self.message = entry, message
        super().__init__(f"{entry}: {message}" if entry else message)


class Moved(Inside):
    """An entry of an old study that has another place now, ``to``, in the same block."""

    def __init__(self, entry: str, to: str) -> None:
        super().__init__(entry, f"now {to}")
        self.to = to


def _fields_at(model: Any, where: tuple[Any, ...]) -> list[str]:
    """Return the known keys of the block that an error's location points into."""
    for part in where:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
        field = model.model_fields.get(str(part))
        if field is None:
            return []
        model = field.annotation
        inner = getattr(model, "__args__", ())
        if inner and not (isinstance(model, type) and issubclass(model, BaseModel)):
            model = ("any", inner[-1]) if getattr(model, "__origin__", None) is dict else inner[0]
        if isinstance(model, tuple):
            return _Block(model[1]).after(where[where.index(part) + 1 :])
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


class _Block:
    """A dictionary of blocks: the next part of a location is a free name."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def after(self, where: tuple[Any, ...]) -> list[str]:
        return _fields_at(self.model, where[1:]) if where else []


def explain(error: ValidationError, model: Any = None) -> str:
    """Turn pydantic's first error into one sentence that names the entry and the nearest known key."""
    entry, message = located(error, model)
    return f"{entry}: {message}" if entry else message


def located(error: ValidationError, model: Any = None) -> tuple[str, str]:
    """Return the entry, with dots, that pydantic's first error is about, and what is wrong with it."""
    first = error.errors(include_url=False)[0]
    where = tuple(part for part in first["loc"] if not str(part).startswith("function-"))
    cause = first.get("ctx", {}).get("error")
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, where[:-1]) if model is not None else []
        message = f"unknown key{nearest(str(where[-1]), known)}"
    elif isinstance(cause, Moved):
        message = f"now {_dotted(*where, cause.to)}; run anonbench config --migrate FILE"
    elif isinstance(cause, Inside):
        message = cause.message
    else:
        given = "" if first["type"] in ("missing", "value_error") else json.dumps(first["input"], default=str)
        message = first["msg"].removeprefix("Value error, ") + (f" (got {given})" if given else "")
    return _dotted(*where, cause.entry if isinstance(cause, Inside) else ""), message


def _dotted(*parts: Any) -> str:
    return ".".join(str(part) for part in parts if part != "")
