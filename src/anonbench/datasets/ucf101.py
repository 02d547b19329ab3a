"""UCF101: 13 320 clips of 101 actions from YouTube, in three official splits.

Layout, lists and groups: https://www.crcv.ucf.edu/data/UCF101.php (Soomro et al., "UCF101: A Dataset of 101 Human
Action Classes From Videos in The Wild", CRCV-TR-12-01, 2012).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from anonbench.blocks import Strict
from anonbench.datasets import videos
from anonbench.datasets.base import DatasetAdapter, Sources, Split
from anonbench.datasets.layout import AGAIN, check_split, need_folder, read_lines
from anonbench.datasets.videos import Video, VideoOptions
from anonbench.errors import AnonbenchError

VIDEOS, LISTS = "UCF-101", "ucfTrainTestlist"
SPLITS = ("train", "val", "test")
ACTIONS = 101
CLIPS = {
    1: {"train": 9_537, "test": 3_783},
    2: {"train": 9_586, "test": 3_734},
    3: {"train": 9_624, "test": 3_696},
}
"""How many clips each list of an official split has."""
PAGE = "https://www.crcv.ucf.edu/data/UCF101.php"

_NAME = re.compile(r"(?P<action>[A-Za-z]+)/v_[A-Za-z]+_g(?P<group>\d{2})_c\d{2}\.avi")


class Ucf101Options(VideoOptions):
    """Which of the official splits is meant, and what of training is kept apart to choose by."""

    fold: int = Field(1, ge=1, le=3, description="Official split: trainlist01.txt and testlist01.txt, or 02 or 03.")
    val_groups: int = Field(
        0,
        ge=0,
        le=17,
        description="Groups of the training list, of 18, that are `val` instead: those with the highest numbers. The "
        "clips of a group were cut from the same video.",
    )


class Ucf101(DatasetAdapter):
    """Clips with an action each; frames are decoded once."""

    Options: ClassVar[type[Strict]] = Ucf101Options
    split_options = ("fold", "val_groups")
    converts: ClassVar[bool] = True

    def download(self, target: Path, splits: list[str], sources: Sources) -> None:
        """Refuse: the archive is a RAR file, which takes a program of its own to unpack."""
        raise AnonbenchError("UCF101 cannot be fetched automatically", remedy=_remedy())

    def convert(self, root: Path, target: Path, splits: list[str]) -> None:
        """Decode the splits' videos under ``target``.

        Raises AnonbenchError when a list or a video is missing, a line is of another form, and where `val` or `train`
        would be empty.
        """
        for split in splits:
            self._check(split)
            actions = read_actions(root / LISTS / "classInd.txt")
            sources, chosen = self._choose(root, split, actions)
            videos.convert(root, target, split, chosen, self.options, sources=sources, actions=actions)

    def read(self, root: Path, split: str) -> Split:
        """Read a split that `convert` wrote under ``root``; one of another size than the data set's warns."""
        self._check(split)
        found = videos.read(root, split)
        return replace(found, warnings=self._warnings(split, len(found.actions), len(found.videos)))

    def _check(self, split: str) -> None:
        check_split("ucf101", split, SPLITS)
        if split == "val" and not self.options.val_groups:
            raise AnonbenchError(
                "UCF101 has no split to choose by of its own",
                entry="options.val_groups",
                remedy="set val_groups to keep some of the training clips apart",
            )

    def _warnings(self, split: str, actions: int, clips: int) -> list[str]:
        """Return in what numbers a split is not that of the whole data set, a sentence each."""
        said = []
        if actions != ACTIONS:
            said.append(f"{LISTS}/classInd.txt has {actions} actions; the data set has {ACTIONS}")
        divided = split != "test" and self.options.val_groups  # into train and val, whose clips nobody has counted
        if not divided and clips != (official := CLIPS[self.options.fold][split]):
            said.append(f"{LISTS}/{_list(split, self.options.fold)} has {clips} clips; the official one has {official}")
        return said

    def _choose(self, root: Path, split: str, actions: list[str]) -> tuple[list[Path], list[Video]]:
        """Return the lists that are read, and the videos of a split."""
        need_folder(root / VIDEOS)
        file = root / LISTS / _list(split, self.options.fold)
        found = read_list(file, actions)
        if split != "test":
            groups = sorted({group for _, group in found.values()})
            if self.options.val_groups >= len(groups):
                raise AnonbenchError(
                    f"has {len(groups)} groups, and val_groups {self.options.val_groups} leaves none to train on",
                    file=file,
                    entry="options.val_groups",
                    remedy="lower it",
                )
            apart = set(groups[len(groups) - self.options.val_groups :])
            found = {path: of for path, of in found.items() if (of[1] in apart) == (split == "val")}
        return [file], [Video(f"{VIDEOS}/{path}", action) for path, (action, _) in found.items()]


def read_actions(path: Path) -> list[str]:
    """Return the actions of classInd.txt in the order of their numbers, which are 1, 2, 3, ...

    Raises AnonbenchError that names the line of another form.
    """
    actions = []
    for number, line in enumerate((line for line in read_lines(path) if line), 1):
        cells = line.split()
        if len(cells) != 2 or cells[0] != str(number) or cells[1] in actions:
            raise _refuse(path, number, f"'{line[:80]}' is not '{number} <action>' of an action of its own")
        actions.append(cells[1])
    return actions


def read_list(path: Path, actions: list[str]) -> dict[str, tuple[str, int]]:
    """Return the videos of a list by their path in the folder of videos: the action and the number of the group.

    Training lists have the action's number behind the path, test lists do not. Raises AnonbenchError that names the
    line of another form, of an unknown or another action, and of a video that is there already.
    """
    found: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line:
            continue
        name, _, label = line.partition(" ")
        match = _NAME.fullmatch(name)
        if match is None:
            raise _refuse(path, number, f"'{name[:80]}' is not <action>/v_<action>_g<group>_c<clip>.avi")
        action = match["action"]
        if action not in actions:
            raise _refuse(path, number, f"'{action}' is none of the actions of classInd.txt")
        if label and label.strip() != str(actions.index(action) + 1):
            raise _refuse(path, number, f"'{label.strip()[:20]}' is not the number of {action}")
        if name in found:
            raise _refuse(path, number, f"{name} stands there already")
        found[name] = action, int(match["group"])
    return found


def _list(split: str, fold: int) -> str:
    return f"{'test' if split == 'test' else 'train'}list{fold:02d}.txt"


def _refuse(path: Path, line: int, problem: str) -> AnonbenchError:
    return AnonbenchError(problem, file=path, entry=f"line {line}", remedy=AGAIN)


def _remedy() -> str:
    return (
        f"get UCF101.rar and UCF101TrainTestSplits-RecognitionTask.zip from {PAGE}, unpack both into a folder, and "
        "give it to the study as root:"
    )
