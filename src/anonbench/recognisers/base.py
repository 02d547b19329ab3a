"""What a recogniser is: it gets pictures of people and describes each by numbers that are alike for the same person."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from anonbench import registry
from anonbench.errors import AnonbenchError
from anonbench.plugins import Plugin

REGIONS, VIEWS = ("face", "body"), ("region", "person")
"""What of people there is to recognise: no control, since that is what methods are not asked to change."""


class Recogniser(Plugin, abc.ABC):
    """A network that has learnt to recognise people elsewhere, and learns nothing here.

    Register the class in the entry-point group ``anonbench.recognisers``; its name is the entry point's. ``region`` and
    ``view`` say what it looks at (`attack.options.AttackerConfig`), ``size`` is the width and height of its pictures in
    pixels. To make one is to load the network: what is not always installed is imported then, and weights or a package
    that are missing are an AnonbenchError. An environment of its own is ``envs/<name>.yaml``.
    """

    region: ClassVar[str] = "face"
    view: ClassVar[str] = "region"
    size: ClassVar[tuple[int, int]]

    @property
    @abc.abstractmethod
    def version(self) -> str:
        """Library and model with their versions, in words."""

    @property
    @abc.abstractmethod
    def weights(self) -> list[tuple[str, str]]:
        """Name and hexadecimal sha256 of every file of numbers that decides the result."""

    @abc.abstractmethod
    def describe(self, pictures: np.ndarray) -> np.ndarray:
        """Return what describes each picture (uint8 (N, height, width, 3), RGB): float32 (N, D), of any length.

        The cosine of two is how alike they are. The same picture is described by the same numbers, whatever others
        there are.
        """


def load(name: str) -> type[Recogniser]:
    """Return a recogniser's class by its registered name; raise AnonbenchError for an unknown one."""
    plugin = registry.load("recognisers", name)
    if not (isinstance(plugin, type) and issubclass(plugin, Recogniser)):
        raise AnonbenchError(
            f"the recogniser plugin '{name}' is not a Recogniser",
            remedy="derive it from anonbench.recognisers.base.Recogniser",
        )
    size = getattr(plugin, "size", None)
    if not (isinstance(size, tuple) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
        raise AnonbenchError(f"the recogniser plugin '{name}' does not say in which size it looks at people")
    if plugin.region not in REGIONS or plugin.view not in VIEWS:
        raise AnonbenchError(
            f"the recogniser plugin '{name}' looks at the {plugin.view} of region {plugin.region}",
            remedy=f"let it look at the {' or the '.join(VIEWS)} of a {' or a '.join(REGIONS)}",
        )
    return plugin


def one_by_one(pictures: np.ndarray, describe: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the descriptions, float32 (N, D), of pictures of which a library takes one at a time."""
    return np.stack([np.asarray(describe(one), np.float32).ravel() for one in pictures])
