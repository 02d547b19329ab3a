"""Which methods leave people as they are: what `merge`, `export` and a study ask of a method without running it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from anonbench import registry
from anonbench.anonymize.contract import After
from anonbench.variants import Variant


def anonymizes(method: str | None, parameters: Mapping[str, Any]) -> bool:
    """Tell whether a registered method anonymizes people with its complete parameters, as manifests have them.

    False for None, the original's. Where they are another version's, which the method refuses, its class tells.
    """
    if method is None:
        return False
    plugin = registry.load("methods", method)
    try:
        return bool(plugin.anonymizes_with(plugin.Parameters.model_validate(parameters)))
    except ValidationError:
        return bool(plugin.anonymizes)


def hiding(variant: Variant, parameters: Mapping[str, Any]) -> Variant:
    """Return the variant whose regions decide who is hidden: the one that a variant's method comes after, or itself."""
    if variant.method is not None and issubclass(registry.load("methods", variant.method).Parameters, After):
        after = parameters.get("after")
        return Variant.parse(after) if after else variant
    return variant
