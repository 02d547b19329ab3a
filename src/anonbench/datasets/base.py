"""The contract of a data set plugin."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError

from anonbench.blocks import Strict, explain
from anonbench.errors import AnonbenchError


class NoOptions(Strict):
    """Options of a plugin that has none."""


@dataclass(frozen=True, slots=True)
class Split:
    """One split as the plugin reads it.

    ``images`` is the folder of the images, relative to the data set's root; ``coco`` holds COCO JSON (``images``,
    ``annotations``, ``categories``) plus the optional keys ``identity`` and ``face`` of an annotation.
    ``sources`` names the annotation files it came from, for messages.
    """

    images: Path
    coco: dict[str, Any]
    sources: tuple[Path, ...]


class DatasetAdapter(abc.ABC):
    """Fetches a data set and converts each split once into COCO JSON; nothing after it knows the original format."""

    Options: ClassVar[type[Strict]] = NoOptions

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        try:
            self.options: Any = self.Options.model_validate(options or {})
        except ValidationError as error:
            raise AnonbenchError(explain(error, self.Options), entry="options") from None

    @abc.abstractmethod
    def download(self, target: Path, splits: list[str]) -> None:
        """Put the raw data set under ``target``, whole or not at all; called only when the user gave no root.

        Raises AnonbenchError that says where to get the data when it cannot be fetched.
        """

    @abc.abstractmethod
    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``. Raises AnonbenchError that names the file and what is missing."""
