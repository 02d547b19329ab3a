"""COCO 2017: instances of 80 categories and the keypoints of people, in COCO's layout.

Files and counts: https://cocodataset.org/#download (Lin et al., "Microsoft COCO: Common Objects in Context", 2014).
"""

from __future__ import annotations

from pathlib import Path

from anonbench.datasets.base import DatasetAdapter, Sources, Split
from anonbench.datasets.coco import Coco
from anonbench.datasets.layout import check_split
from anonbench.errors import AnonbenchError

SPLITS = ("train2017", "val2017")
CATEGORIES = 80


class Coco2017(Coco):
    """The official release: both annotation files and all 80 categories must be there; `coco` reads any other copy."""

    def download(self, target: Path, splits: list[str], sources: Sources) -> None:
        """Fetch the images of the splits and the annotations."""
        DatasetAdapter.download(self, target, splits, sources)

    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``."""
        check_split("coco2017", split, SPLITS)
        return super().read(root, split)

    def _files(self, folder: Path, split: str) -> list[Path]:
        files = [folder / f"{kind}_{split}.json" for kind in ("instances", "person_keypoints")]
        for path in files:
            if not path.is_file():
                raise AnonbenchError(
                    "no such file",
                    file=path,
                    remedy="unpack annotations_trainval2017.zip under the root, or use the plugin 'coco'",
                )
        return files

    def _check(self, categories: int, file: Path) -> None:
        if categories != CATEGORIES:
            raise AnonbenchError(
                f"has {categories} categories, COCO 2017 has {CATEGORIES}",
                file=file,
                remedy="use the official instances file, or the plugin 'coco' for a subset",
            )
