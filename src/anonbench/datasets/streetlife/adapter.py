"""The data set plugin of `streetlife`: nothing is fetched, everything is rendered."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from anonbench.datasets.base import DatasetAdapter, Sources, Split
from anonbench.datasets.layout import check_split
from anonbench.datasets.streetlife import Options, render_split
from anonbench.errors import AnonbenchError
from anonbench.files import read_json


class Streetlife(DatasetAdapter):
    """Rendered street scenes with full ground truth; see docs/streetlife.md."""

    Options: ClassVar[Any] = Options
    renders: ClassVar[bool] = True

    def download(self, target: Path, splits: list[str], sources: Sources) -> None:
        """Render the splits under ``target``."""
        for split in splits:
            render_split(self.options, split, target)

    def read(self, root: Path, split: str) -> Split:
        """Read a rendered split."""
        check_split("streetlife", split, self.options.splits)
        file = root / "annotations" / f"{split}.json"
        coco = read_json(file)
        if not isinstance(coco, dict) or not (root / split).is_dir():
            raise AnonbenchError("is not a rendered split", file=file, remedy="delete it and run download again")
        return Split(
            folder=Path(split),
            images=coco["images"],
            categories=coco["categories"],
            annotations=coco["annotations"],
            sources=(file,),
            info=coco["info"],
            licenses=coco["licenses"],
            videos=coco.get("videos", []),
            actions=coco.get("actions", []),
            action_kinds=coco.get("action_kinds", {}),
            attributes=coco.get("attributes", {}),
        )
