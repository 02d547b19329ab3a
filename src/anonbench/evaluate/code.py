"""What an evaluation depends on of the code."""

from __future__ import annotations

from collections.abc import Iterable

from anonbench import registry
from anonbench.provenance import code_hash


def evaluation_code(tasks: Iterable[str]) -> str:
    """Return the hash of the code that scores a model's tasks."""
    return code_hash("anonbench.evaluate.metrics", *(registry.module("tasks", task) for task in sorted(tasks)))
