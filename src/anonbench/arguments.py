"""Reading of command-line values that several commands share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from anonbench.blocks import explain
from anonbench.errors import AnonbenchError

Block = TypeVar("Block", bound=BaseModel)


def mapping(text: str, option: str) -> dict[str, Any]:
    """Return a JSON object given on the command line; raise AnonbenchError that names the option."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is none of the JSON errors
        raise AnonbenchError(f"is not valid JSON ({error})", entry=option) from None
    if not isinstance(value, dict):
        raise AnonbenchError("is not a JSON object", entry=option)
    return value


def block(model: type[Block], given: str | Mapping[str, Any], option: str) -> Block:
    """Return a block of settings, given as JSON or as a mapping; raise AnonbenchError that names the option."""
    try:
        return model.model_validate(mapping(given, option) if isinstance(given, str) else given)
    except ValidationError as error:
        raise AnonbenchError(explain(error, model), entry=option) from None
