"""Reading of command-line values that several commands share."""

from __future__ import annotations

import json
from typing import Any

from anonbench.errors import AnonbenchError


def mapping(text: str, option: str) -> dict[str, Any]:
    """Return a JSON object given on the command line; raise AnonbenchError that names the option."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise AnonbenchError(f"is not valid JSON ({error})", entry=option) from None
    if not isinstance(value, dict):
        raise AnonbenchError("is not a JSON object", entry=option)
    return value
