"""The base of every block of settings."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from anonbench.errors import nearest


class Strict(BaseModel):
    """A block of the configuration: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoSettings(Strict):
    """The settings of a plugin that has none."""


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
    first = error.errors(include_url=False)[0]
    where = tuple(part for part in first["loc"] if not str(part).startswith("function-"))
    entry = ".".join(str(part) for part in where)
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, where[:-1]) if model is not None else []
        return f"{entry}: unknown key{nearest(str(where[-1]), known)}"
    message = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] in ("missing", "value_error") else f" (got {json.dumps(first['input'], default=str)})"
    return f"{entry}: {message}{given}" if entry else message + given
