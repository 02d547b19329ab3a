"""COCO's layout: ``<root>/<split>/*.jpg``, ``<root>/annotations/{instances,person_keypoints}_<split>.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from anonbench.blocks import Strict
from anonbench.datasets.base import DatasetAdapter, Split
from anonbench.errors import AnonbenchError, nearest
from anonbench.files import read_json


class CocoOptions(Strict):
    """Options of the COCO layout."""

    categories: list[str] | None = Field(
        None, description="Names of the categories to keep; all when left out. Images are kept either way."
    )


class Coco(DatasetAdapter):
    """Instances and person keypoints, joined by annotation id; either file may be missing, not both."""

    Options: ClassVar[type[Strict]] = CocoOptions

    def download(self, target: Path, splits: list[str]) -> None:
        """Refuse: this plugin reads a copy that is on disk."""
        raise AnonbenchError(
            "the 'coco' data set reads a folder in COCO's layout that is already on disk",
            remedy="give it: root: /path/to/coco in the study, or snakemake --config root=/path/to/coco",
        )

    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``."""
        folder = root / "annotations"
        instances, keypoints = folder / f"instances_{split}.json", folder / f"person_keypoints_{split}.json"
        present = [path for path in (instances, keypoints) if path.is_file()]
        if not present:
            known = {p.stem.partition("_")[2] for p in folder.glob("instances_*.json")} | {
                p.stem.removeprefix("person_keypoints_") for p in folder.glob("person_keypoints_*.json")
            }
            raise AnonbenchError(
                f"has neither {instances.name} nor {keypoints.name}",
                file=folder,
                remedy=f"check root and the split's name{nearest(split, known)}",
            )
        if not (root / split).is_dir():
            raise AnonbenchError("is not a folder of images", file=root / split, remedy="check root")
        coco = _read(present[0])
        if len(present) == 2:
            coco = _join(coco, _read(keypoints), keypoints)
        if self.options.categories is not None:
            coco = _only(coco, self.options.categories, present[0])
        return Split(images=Path(split), coco=coco, sources=tuple(present))


def _read(path: Path) -> dict[str, Any]:
    coco = read_json(path)
    if not isinstance(coco, dict) or not isinstance(coco.get("images"), list):
        raise AnonbenchError("is not a COCO annotation file", file=path)
    return coco


def _join(instances: dict[str, Any], keypoints: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return the instances with the keypoints of the annotations and categories of the same id.

    Raises AnonbenchError for a keypoint annotation (of ``file``) that stands twice, or is of no instance, or of one in
    another image or category: a person who stands in one file only would be lost.
    """
    points: dict[Any, dict[str, Any]] = {}
    known = {a.get("id"): a for a in instances.get("annotations", []) if isinstance(a, dict)}
    for annotation in keypoints.get("annotations", []):
        number = annotation.get("id") if isinstance(annotation, dict) else None
        same = known.get(number)
        if same is None or any(same.get(k) != annotation.get(k) for k in ("image_id", "category_id")):
            problem = "is not in the instances file, or there of another image or category"
        elif number in points:
            problem = "stands twice"
        else:
            points[number] = annotation
            continue
        remedy = "use instances and keypoints of the same release, or remove one of the two files"
        raise AnonbenchError(problem, file=file, entry=f"annotation {number}", remedy=remedy)
    annotations = []
    for annotation in instances.get("annotations", []):
        extra = points.get(annotation.get("id")) if isinstance(annotation, dict) else None
        if extra is not None:
            annotation = {**annotation, **{k: extra[k] for k in ("keypoints", "num_keypoints") if k in extra}}
        annotations.append(annotation)
    named = {c.get("id"): c for c in keypoints.get("categories", []) if isinstance(c, dict)}
    categories = [
        {**c, **{k: v for k, v in named.get(c.get("id"), {}).items() if k in ("keypoints", "skeleton")}}
        for c in instances.get("categories", [])
    ]
    return {**instances, "annotations": annotations, "categories": categories}


def _only(coco: dict[str, Any], names: list[str], file: Path) -> dict[str, Any]:
    known = {c.get("name"): c for c in coco.get("categories", [])}
    for name in names:
        if name not in known:
            raise AnonbenchError(f"has no category '{name}'{nearest(name, known)}", file=file)
    ids = {known[name]["id"] for name in names}
    return {
        **coco,
        "annotations": [a for a in coco.get("annotations", []) if a.get("category_id") in ids],
        "categories": [c for c in coco["categories"] if c["id"] in ids],
    }
