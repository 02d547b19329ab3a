"""HMDB51: 6 766 clips of 51 actions from films and the web, in three official splits; and PA-HMDB51's labels of people.

Layout and lists: https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/ (Kuehne et al., "HMDB: A
Large Video Database for Human Motion Recognition", ICCV 2011). Labels: https://github.com/VITA-Group/PA-HMDB51 (Wu et
al., "Privacy-Preserving Deep Action Recognition: An Adversarial Learning Framework and A New Dataset", TPAMI 2020).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from anonbench.blocks import Strict
from anonbench.datasets import videos
from anonbench.datasets.base import DatasetAdapter, Sources, Split
from anonbench.datasets.layout import AGAIN, check_split, need_folder, read_lines
from anonbench.datasets.videos import Labels, Video, VideoOptions
from anonbench.errors import AnonbenchError, nearest
from anonbench.files import read_json

FOLDERS = ("hmdb51_org", "videos")
"""Names that a folder of videos has: of the archive, and of others' tools."""
LISTS, LABELS = "testTrainMulti_7030_splits", "PrivacyAttributes"
SPLITS = {"train": 1, "test": 2, "rest": 0}
"""What a list says of the videos of a split: those with 0 are in neither of the official two."""
ACTIONS = 51
CLIPS = {"train": 70, "test": 30}
"""How many clips of each action a split has, whichever the official split."""
LABELLED = ("pa_train", "pa_test")
"""PA-HMDB51's splits: tested are the videos that have labels, trained on all others."""
PAGE = "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/"
LABELS_PAGE = "https://github.com/VITA-Group/PA-HMDB51"
SEVERAL = "several"

VALUES: dict[str, tuple[str, ...]] = {
    "skin_color": ("unidentifiable", "white", "brown_or_yellow", "black"),
    "relationship": ("unidentifiable", "identifiable"),
    "face": ("invisible", "partial", "complete"),
    "nudity": ("none", "partial", "semi"),
    "gender": ("unidentifiable", "male", "female"),
}
"""PA-HMDB51's attributes: what its numbers 0, 1, 2, ... mean."""
MIXED = ("skin_color", "gender")
"""Attributes of which people in one frame may have several values."""

_LIST = re.compile(r"(.+)_test_split([123])\.txt")


class Hmdb51Options(VideoOptions):
    """Which of the official splits is meant."""

    fold: int = Field(1, ge=1, le=3, description="Official split: the lists <action>_test_split1.txt, or 2 or 3.")
    labels: bool = Field(
        False, description=f"Read PA-HMDB51's attributes of people from {LABELS}/<action>.json under the root."
    )


class Hmdb51(DatasetAdapter):
    """Clips with an action each; frames are decoded once."""

    Options: ClassVar[type[Strict]] = Hmdb51Options
    split_options = ("fold",)
    converts: ClassVar[bool] = True

    def download(self, target: Path, splits: list[str], sources: Sources) -> None:
        """Refuse: the archives are RAR files, which take a program of their own to unpack."""
        raise AnonbenchError("HMDB51 cannot be fetched automatically", remedy=_remedy())

    def convert(self, root: Path, target: Path, splits: list[str]) -> None:
        """Decode the splits' videos under ``target``.

        Raises AnonbenchError when lists, videos or labels are missing, a line or label is of another form, and where a
        split would be empty.
        """
        for split in splits:
            self._check(split)
            masks, sources = read_masks(root / LISTS, self.options.fold)
            labels = read_labels(root / LABELS) if self.options.labels else {}
            chosen = self._choose(root, split, masks, labels)
            videos.convert(
                root,
                target,
                split,
                chosen,
                self.options,
                sources=sources,
                actions=sorted(masks),
                attributes=_attributes() if self.options.labels else None,
            )

    def read(self, root: Path, split: str) -> Split:
        """Read a split that `convert` wrote under ``root``; one of another size than the data set's warns."""
        self._check(split)
        found = videos.read(root, split)
        return replace(found, warnings=_warnings(split, found))

    def _check(self, split: str) -> None:
        check_split("hmdb51", split, (*SPLITS, *LABELLED))
        if split in LABELLED and not self.options.labels:
            raise AnonbenchError(
                f"'{split}' is a split of PA-HMDB51",
                entry="options.labels",
                remedy="set labels: true, or another split",
            )

    def _choose(
        self, root: Path, split: str, masks: Mapping[str, Mapping[str, int]], labels: Mapping[str, Mapping[str, Any]]
    ) -> list[Video]:
        folder = _folder(root)
        for action, of in labels.items():
            if action not in masks:
                near = nearest(action, masks)
                raise AnonbenchError(
                    f"is of no action of HMDB51{near}", file=root / LABELS / f"{action}.json", remedy=AGAIN
                )
            for name in of:
                if name not in masks[action]:
                    raise AnonbenchError(
                        "is no video of the action", file=root / LABELS / f"{action}.json", entry=name, remedy=AGAIN
                    )
        chosen = []
        for action, of in masks.items():
            said = labels.get(action, {})
            for name, mask in of.items():
                wanted = mask == SPLITS[split] if split in SPLITS else (name in said) == (split == "pa_test")
                if wanted:
                    path = f"{folder.name}/{action}/{name}"
                    chosen.append(Video(path, action, _labels_of(said[name]) if name in said else None))
        if not chosen:
            raise AnonbenchError(f"has no videos of the split '{split}'", file=root / LISTS, remedy=AGAIN)
        return chosen


def read_masks(folder: Path, fold: int) -> tuple[dict[str, dict[str, int]], list[Path]]:
    """Return, for each action, its videos with 1 (train), 2 (test) or 0 (neither), and the lists that say so.

    Raises AnonbenchError that names the line of another form, and when there are no lists of the official split.
    """
    need_folder(folder)
    masks: dict[str, dict[str, int]] = {}
    sources = []
    for path in sorted(folder.iterdir()):
        match = _LIST.fullmatch(path.name)
        if match is None or match[2] != str(fold):
            continue
        sources.append(path)
        of = masks.setdefault(match[1], {})
        for number, line in enumerate(read_lines(path), 1):
            if not line:
                continue
            name, _, mask = line.rpartition(" ")
            name = name.strip()
            if mask not in ("0", "1", "2") or not name.endswith(".avi") or "/" in name:
                raise _refuse(path, number, f"'{line[:80]}' is not the name of a video and 0, 1 or 2")
            if name in of:
                raise _refuse(path, number, f"{name} stands there already")
            of[name] = int(mask)
    if not masks:
        raise AnonbenchError(f"has no lists *_test_split{fold}.txt", file=folder, remedy=AGAIN)
    return masks, sources


def read_labels(folder: Path) -> dict[str, dict[str, Any]]:
    """Return PA-HMDB51's labels by action and video, each ``{attribute: [[first, last, value], ...]}``.

    Frames are counted from 0, the last one included; a value is a number, or a list of them where people differ.
    Raises AnonbenchError that names the video and the attribute of another form.
    """
    files = sorted(need_folder(folder).glob("*.json"))
    if not files:
        raise AnonbenchError("has no labels", file=folder, remedy=f"get the folder {LABELS} of {LABELS_PAGE}")
    found = {}
    for path in files:
        value = read_json(path)
        if not isinstance(value, dict):
            raise AnonbenchError("is not a file of labels by video", file=path, remedy=AGAIN)
        for name, said in value.items():
            for attribute in VALUES:
                ranges = said.get(attribute) if isinstance(said, dict) else None
                if not isinstance(ranges, list) or not all(_is_range(attribute, entry) for entry in ranges):
                    raise AnonbenchError(
                        f"has no ranges of frames with a value of {attribute}", file=path, entry=name, remedy=AGAIN
                    )
        found[path.stem] = value
    return found


def _warnings(split: str, found: Split) -> list[str]:
    """Return in what numbers a split is not that of the whole data set, a sentence each."""
    said = []
    if len(found.actions) != ACTIONS:
        said.append(f"{LISTS} has lists of {len(found.actions)} actions; the data set has {ACTIONS}")
    clips = Counter(video["action"] for video in found.videos)
    if split in CLIPS and (other := [name for name in found.actions if clips[name] != CLIPS[split]]):
        said.append(
            f"{LISTS} gives {len(other)} of {len(found.actions)} actions another number of clips in {split} than "
            f"{CLIPS[split]}, such as {other[0]} with {clips[other[0]]}"
        )
    return said


def _is_range(attribute: str, entry: Any) -> bool:
    if not isinstance(entry, list) or len(entry) != 3 or any(type(v) is not int for v in entry[:2]):
        return False
    values = entry[2] if isinstance(entry[2], list) and attribute in MIXED else [entry[2]]
    known = range(len(VALUES[attribute]))
    return 0 <= entry[0] <= entry[1] and bool(values) and all(type(v) is int and v in known for v in values)


def _labels_of(said: Mapping[str, Any]) -> Labels:
    """Return what is said of the people in a frame; an attribute whose ranges do not reach it is left out.

    Where ranges overlap, the later one counts. Of several values, "nothing can be told" is none.
    """

    def labels(frame: int) -> dict[str, str]:
        found = {}
        for attribute, names in VALUES.items():
            for first, last, value in said[attribute]:
                if first <= frame <= last:
                    told = {*(value if isinstance(value, list) else [value])}
                    told = told - {0} or told
                    found[attribute] = names[told.pop()] if len(told) == 1 else SEVERAL
        return found

    return labels


def _attributes() -> dict[str, list[str]]:
    return {name: [*values, *([SEVERAL] if name in MIXED else [])] for name, values in VALUES.items()}


def _folder(root: Path) -> Path:
    for name in FOLDERS:
        if (root / name).is_dir():
            return root / name
    raise AnonbenchError(f"has no folder {' or '.join(FOLDERS)} of videos", file=root, remedy=_remedy())


def _refuse(path: Path, line: int, problem: str) -> AnonbenchError:
    return AnonbenchError(problem, file=path, entry=f"line {line}", remedy=AGAIN)


def _remedy() -> str:
    return (
        f"get hmdb51_org.rar and test_train_splits.rar from {PAGE}, unpack them (the first holds an archive for each "
        f"action) to {FOLDERS[0]}/<action>/*.avi and {LISTS}/*.txt, and give their folder to the study as root:"
    )
