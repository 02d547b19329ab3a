"""Market-1501: people cut out of six cameras' videos, each image named after who is in it and which camera took it.

Layout, names and counts: https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html (Zheng et al., "Scalable Person
Re-identification: A Benchmark", ICCV 2015).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anonbench.datasets.base import CAMERA, DatasetAdapter, Sources, Split
from anonbench.datasets.layout import check_split, image_size, unrelated_order
from anonbench.errors import AnonbenchError

SPLITS = {"train": "bounding_box_train", "probe": "query", "gallery": "bounding_box_test"}
"""The folder of each split."""
CATEGORY = {"id": 1, "name": "person", "supercategory": "person"}
JUNK, DISTRACTOR = -1, 0
"""Numbers in the place of a person's: a detection that neither counts as right nor as wrong, and a false alarm."""
PAGE = "https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html"

_NAME = re.compile(r"(-1|\d{4,})_c(\d+)s(\d+)_(\d+)_(\d+)\.(?:jpe?g|png)", re.IGNORECASE)
_IMAGES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclass(frozen=True, slots=True)
class Shot:
    """What the name of an image says.

    ``person`` is a person's number from 1, or `JUNK` or `DISTRACTOR`; ``camera`` and ``sequence`` are counted from 1,
    ``frame`` is the place in the sequence and ``box`` which detection of the frame it is.
    """

    person: int
    camera: int
    sequence: int
    frame: int
    box: int

    @property
    def known(self) -> bool:
        """Tell whether it is somebody, and not junk or a distractor."""
        return self.person > DISTRACTOR


class Market1501(DatasetAdapter):
    """An image per person; query is the split probe and bounding_box_test the gallery."""

    def download(self, target: Path, splits: list[str], sources: Sources) -> None:
        """Refuse: there is no address that serves the archive to everybody who asks."""
        raise AnonbenchError(
            "Market-1501 cannot be fetched automatically",
            remedy=f"get Market-1501-v15.09.15.zip as {PAGE} says, unpack it, and give the study its folder as root:",
        )

    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``, the folder that holds bounding_box_train, query and bounding_box_test.

        Raises AnonbenchError when the folder is missing or without images, a name is of another form, nobody in it is
        known, or somebody is in train and also in probe or gallery.
        """
        check_split("market1501", split, SPLITS)
        folder = root / SPLITS[split]
        shots = {split: read_shots(folder)}
        shots |= {name: read_shots(root / other) for name, other in SPLITS.items() if (root / other).is_dir()}
        if not any(shot.known for shot in shots[split].values()):
            raise AnonbenchError("shows nobody who is known by number", file=folder, remedy=_remedy())
        _check_apart(root, shots)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        paths = {}
        for number, name in enumerate(unrelated_order("market1501", shots[split]), 1):
            width, height = image_size(folder / name, f"image {number}")
            new = f"{number:06d}{Path(name).suffix.lower()}"
            images.append({"id": number, "file_name": new, "width": width, "height": height})
            paths[number] = name
            annotations.append(_annotation(number, shots[split][name], width, height))
        cameras = sorted({shot.camera for of in shots.values() for shot in of.values()})
        return Split(
            folder=Path(SPLITS[split]),
            images=images,
            categories=[CATEGORY],
            annotations=annotations,
            sources=(),
            info={"description": f"Market-1501 {split}"},
            attributes={CAMERA: {str(camera): f"camera {camera}" for camera in cameras}},
            paths=paths,
            warnings=_warnings(split, shots),
        )


def read_shots(folder: Path) -> dict[str, Shot]:
    """Return what the names of a folder's images say, by name, sorted; other files and hidden ones are passed over.

    Raises AnonbenchError when the folder is missing or has no images, and for names of another form.
    """
    if not folder.is_dir():
        raise AnonbenchError("is not a folder", file=folder, remedy=_remedy())
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in _IMAGES and not p.name.startswith("."))
    if not names:
        raise AnonbenchError("has no images", file=folder, remedy=_remedy())
    found = {name: _NAME.fullmatch(name) for name in names}
    if wrong := [name for name, match in found.items() if match is None]:
        raise AnonbenchError(
            f"{len(wrong)} of {len(names)} images are not named <person>_c<camera>s<sequence>_<frame>_<box>.jpg, "
            "such as 0002_c1s1_000451_03.jpg",
            file=folder,
            entry=wrong[0],
            remedy="remove them, or unpack the official archive again",
        )
    return {name: Shot(*(int(value) for value in match.groups())) for name, match in found.items() if match}


def _remedy() -> str:
    return f"give the folder of Market-1501-v15.09.15, which holds {', '.join(SPLITS.values())} ({PAGE}), as root"


def _check_apart(root: Path, shots: dict[str, dict[str, Shot]]) -> None:
    """Raise AnonbenchError for somebody who is trained on and looked for: an attacker would be told the answer."""
    trained = {shot.person: name for name, shot in shots.get("train", {}).items() if shot.known}
    for split in ("probe", "gallery"):
        for name, shot in shots.get(split, {}).items():
            if shot.person in trained:
                raise AnonbenchError(
                    f"shows person {shot.person}, who is in {SPLITS['train']} too ({trained[shot.person]})",
                    file=root / SPLITS[split],
                    entry=name,
                    remedy="unpack the official archive again, in which nobody is in both",
                )


def _annotation(number: int, shot: Shot, width: int, height: int) -> dict[str, Any]:
    """Return the annotation of an image, which the person fills."""
    annotation: dict[str, Any] = {
        "id": number,
        "image_id": number,
        "category_id": CATEGORY["id"],
        "bbox": [0.0, 0.0, float(width), float(height)],
        "area": float(width * height),
        "iscrowd": int(shot.person == JUNK),
        "attributes": {CAMERA: str(shot.camera)},
    }
    if shot.known:
        annotation["identity"] = shot.person
    if shot.person == JUNK:
        annotation["ignore"] = 1
    return annotation


def _warnings(split: str, shots: dict[str, dict[str, Shot]]) -> list[str]:
    """Return what keeps people of a split from being found across cameras, a sentence each."""
    said = []
    cameras = {shot.camera for shot in shots[split].values() if shot.known}
    if len(cameras) == 1:
        said.append(
            f"everybody in {SPLITS[split]} was taken by camera {min(cameras)}: nobody can be found across cameras there"
        )
    if split == "probe" and "gallery" in shots:
        where: dict[int, set[int]] = {}
        for shot in shots["gallery"].values():
            where.setdefault(shot.person, set()).add(shot.camera)
        probes = [shot for shot in shots[split].values() if shot.known]
        lost = sum(not where.get(shot.person, set()) - {shot.camera} for shot in probes)
        if lost:
            said.append(
                f"{lost} of {len(probes)} images of {SPLITS[split]} show people whom no other camera took in "
                f"{SPLITS['gallery']}: by the protocol they are looked for in vain"
            )
    return said
