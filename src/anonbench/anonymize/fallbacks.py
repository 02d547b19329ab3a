"""Which methods can stand in for one that failed on a person."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from anonbench import registry
from anonbench.errors import nearest


def _known(name: str) -> str:
    names = [known for known in registry.names("methods") if known != "identity"]
    if name not in names:
        raise ValueError(f"no such method{nearest(name, names)}")
    method = registry.load("methods", name)
    if method.FitSettings is not None or method.available() is not None:
        raise ValueError(f"{name} does not work by itself")
    return name


Fallback = Annotated[
    str, AfterValidator(_known), Field(description="Method for people whom this one fails on; mask_out by default.")
]
"""Name of a method that needs no weights and leaves nobody as they are."""
