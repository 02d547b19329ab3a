"""The contract of a data set plugin."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from anonbench.plugins import Plugin

CAMERA = "camera"
"""The attribute that says which camera took a person: it is the image's, no trait to be inferred. In the protocol of
re-identification, images of the same person by the same camera are left out of a gallery."""


@dataclass(frozen=True, slots=True)
class Split:
    """One split in COCO's terms, as the plugin reads it.

    ``folder`` holds the images, relative to the data set's root. ``images`` are COCO's entries (``id``, ``file_name``
    as a POSIX path relative to ``folder``, ``width`` and ``height`` in pixels), ``categories`` COCO's.
    ``annotations`` yields COCO's entries one by one, whenever it is iterated over, so that a large file is never held
    as objects. ``sources`` are the annotation files, for messages and hashes.

    Beside COCO's keys an annotation may have ``identity`` (who it is, the same in every image), ``face``
    (``{"bbox": [x, y, w, h]}``, the face box of the data set), ``head`` (``[x, y, v, x, y, v]``: top of the head and
    neck, with COCO's visibility), ``ignore`` (1: a region that the data set tells everyone to ignore; ``iscrowd`` is 1
    too, as COCO's evaluation knows only that), ``void`` (1: such a region that is nobody) and ``subsets`` (names of the
    evaluation subsets it counts in). An image may have ``subsets`` too, and a category ``people`` (true: of people,
    false: not), where neither its name nor its supercategory is ``person`` or in spite of that.

    Clips are COCO-VID's: ``videos`` (``id``, ``name``, and optionally ``width``, ``height`` and ``action``, one of
    ``actions``), whose frames are the images with that ``video_id``, listed in the order of their ``frame_index``: 0,
    1, 2, ... without a gap. ``action_kinds`` divides the actions into kinds that are judged apart: ``{action: kind}``
    for all of them, or nothing. ``attributes`` are what may be said of a person: the values of each attribute with
    their meaning, ``{name: {value: meaning}}``, or without it, ``{name: [value, ...]}``. Where there are any, an
    annotation of a person may have ``attributes``, ``{name: value}``. The one called `CAMERA` says which camera took
    the image, and nothing of the person.

    Where the name of a file tells who is in it, the image has a ``file_name`` that does not, which is its name in every
    variant, and ``paths`` says where the file is: by the image's id, a POSIX path relative to ``folder``. ``warnings``
    are what whoever reads the split should know, a sentence each.
    """

    folder: Path
    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    annotations: Iterable[dict[str, Any]]
    sources: tuple[Path, ...]
    info: dict[str, Any] = field(default_factory=dict)
    licenses: list[dict[str, Any]] = field(default_factory=list)
    videos: list[dict[str, Any]] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    action_kinds: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    paths: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def path_of(self, image: dict[str, Any]) -> Any:
        """Return where an image's file is, relative to ``folder``: its name as given, unless it is stored elsewhere."""
        name = image.get("file_name")
        return self.paths.get(image["id"], name) if self.paths else name


class Sources(Protocol):
    """What a plugin asks for its files: the rows of config/datasets.csv, fetched and unpacked by the download stage."""

    def fetch(self, target: Path, splits: list[str]) -> None:
        """Fetch, verify and unpack everything that ``splits`` need under ``target``; nothing that is there already."""


class DatasetAdapter(Plugin, abc.ABC):
    """Fetches a data set and converts each split once into COCO JSON; nothing after it knows the original format."""

    renders: ClassVar[bool] = False
    """True for a plugin that makes its images itself, into folders of its own: what an earlier run left is removed."""

    converts: ClassVar[bool] = False
    """True for a plugin that makes images of a user's copy first (`convert`), such as the frames of videos, and reads
    those."""

    split_options: ClassVar[tuple[str, ...] | None] = None
    """Names of the options that say which pictures a split has; all others say how they are read. None: any may."""

    def download(self, target: Path, splits: list[str], sources: Sources) -> None:
        """Put the raw data set under ``target``; called only when the user gave no root.

        As it stands it fetches what ``sources`` (the data set's rows of config/datasets.csv) name. Raises
        AnonbenchError that says where to get the data when it cannot be fetched.
        """
        sources.fetch(target, splits)

    def convert(self, root: Path, target: Path, splits: list[str]) -> None:
        """Write what `read` reads of ``splits`` under ``target``, from a user's copy ``root``, which is only read.

        Called only of a plugin that ``converts``. What a killed run left is continued. Raises AnonbenchError that names
        the file that cannot be used.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``. Raises AnonbenchError that names the file and what is missing."""
