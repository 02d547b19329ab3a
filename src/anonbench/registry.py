"""Plugins by name: ours are entry points of this package, anyone's package can add more.

Groups: ``anonbench.attacks``, ``anonbench.datasets``, ``anonbench.detectors``, ``anonbench.methods``,
``anonbench.recognisers``, ``anonbench.tasks`` and ``anonbench.trainers``. A plugin is loaded only when it is used, so
that a method that needs a GPU library costs nothing to the others.
"""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from anonbench.errors import AnonbenchError, nearest

Group = Literal["attacks", "datasets", "detectors", "methods", "recognisers", "tasks", "trainers"]


@functools.cache
def _entries(group: Group) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"anonbench.{group}")}


def names(group: Group) -> list[str]:
    """Return the registered names of a group, sorted."""
    return sorted(_entries(group))


def module(group: Group, name: str) -> str:
    """Return the module that holds a plugin, without importing it."""
    return _entry(group, name).module


def load(group: Group, name: str) -> Any:
    """Return a plugin class; raise AnonbenchError for an unknown name or a plugin that cannot be imported."""
    entry = _entry(group, name)
    try:
        return entry.load()
    except ImportError as error:
        raise AnonbenchError(
            f"the {group[:-1]} plugin '{name}' cannot be imported: {error}",
            remedy=f"install what {entry.value} needs",
        ) from error


def _entry(group: Group, name: str) -> EntryPoint:
    try:
        return _entries(group)[name]
    except (KeyError, TypeError):  # TypeError: a list, from a file that somebody has edited
        raise AnonbenchError(f"unknown {group[:-1]} '{name}'{nearest(name, _entries(group))}") from None
