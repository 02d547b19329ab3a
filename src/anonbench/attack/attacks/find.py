"""Find people or faces at all: do detectors still see them where they are in the original?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import cv2
import numpy as np
from tqdm import tqdm

from anonbench import regions
from anonbench.attack.answers import mean_of
from anonbench.attack.contract import Answers, Choose, Looking, Measure, Risk, Site, drawn_together
from anonbench.attack.finding import IOU, Wanted, average_precision, match, size_of
from anonbench.attack.metrics import TEST, VALIDATION
from anonbench.attack.options import DETECTORS, By
from anonbench.attack.subjects import changed_in, pictures_of, tables_of
from anonbench.detectors import base, engine
from anonbench.detectors.config import DetectorConfig
from anonbench.errors import AnonbenchError
from anonbench.people import People
from anonbench.records import RegionKind
from anonbench.seeding import generator
from anonbench.tasks.scored import AREAS

RECALL, AP = "recall", "ap50"
OF_REGIONS = 0.2
"""The overlap that half of a face has with its region: where `annotate` found it, a margin of a quarter of its longer
side makes the region 2.4 times as large as the face, so that nothing that a detector finds overlaps it by one half."""


class Find(Looking):
    """Runs a detector on the variant's images, and looks for what it finds at the boxes of the original."""

    title: ClassVar[str] = "find with a detector"
    risk: ClassVar[Risk] = "singling out"
    by: ClassVar[By] = DETECTORS

    def look(self, site: Site, choose: Choose, detector: DetectorConfig | None) -> Answers:
        """Return recall and AP at an overlap of one half (of faces' regions `OF_REGIONS`), of all and by size.

        Recall is the share of boxes at which something is found with the detector's own threshold. Detectors are chosen
        on some of the images and reported on the others.
        """
        assert detector is not None
        made = base.make(detector.plugin, detector.options)
        if isinstance(made, base.StoredDetections):
            raise AnonbenchError(
                f"'{detector.plugin}' looks at no image, so that it would say the same of every variant",
                entry="attack.detectors",
                remedy="name a detector that looks at images",
            )
        cv2.setNumThreads(1)  # what is found must not depend on the number of cores
        images = [row["image_id"] for row in regions.read(site.table("images"), regions.IMAGES).to_pylist()]
        people, overlap = _people(site, made.finds)
        images = _some(images, people, site)
        read = pictures_of(site.variant, site.split)
        found = []
        for image in tqdm(images, f"find {made.finds}s", unit="image", disable=None):
            pixels = read(image)
            found.append(engine.inside(engine.detect(made, pixels, detector), pixels.shape[1], pixels.shape[0]))
        facts = {
            "finds": made.finds,
            "version": made.version,
            "weights_of_detector": [list(entry) for entry in made.weights],
        }
        return judge(images, people, found, changed_in(site.variant, site.split), choose, facts, site.scenes(), overlap)


def judge(
    images: list[int], people: list[dict[str, Any]], found: list[np.ndarray], changed: set[tuple[int, int]],
    choose: Choose, facts: dict[str, Any], scenes: Mapping[int, int] | None = None,
    overlap: float = IOU,
) -> Answers:  # fmt: skip
    """Return the answers of a detector.

    ``images`` are ids, ``found`` what was found in each, float32 (D, 5) with the best first; ``people`` are those who
    are to be found (``image_id``, ``person_id``, ``identity``, ``box``, ``area``, ``crowd``), ``changed`` whom the
    variant has changed; ``scenes`` are `Site.scenes`, without clips not needed; ``overlap``: from which on a box
    counts. Raises AnonbenchError where there is nobody to find.
    """
    of: dict[int, list[dict[str, Any]]] = {image: [] for image in images}
    for person in people:
        if person["image_id"] in of:
            of[person["image_id"]].append(person)
    wanted = [_wanted(of[image], overlap) for image in images]
    rows = [(k, person) for k, image in enumerate(images) for person in of[image]]
    got = np.concatenate([match(boxes, truth)[2] for boxes, truth in zip(found, wanted, strict=True)])
    counted = np.array([not person["crowd"] for _, person in rows], dtype=bool)
    if not counted.any():
        raise AnonbenchError("nobody is there to be found", entry="attack.probe")
    place = np.array([k for k, _ in rows])[counted]
    sizes = np.array([size_of(person["area"]) for _, person in rows])[counted]
    covered = np.array([(p["image_id"], p["person_id"]) in changed for _, p in rows], dtype=bool)[counted]
    identities = np.empty(len(rows), dtype=object)
    identities[:] = [person["identity"] for _, person in rows]
    scene = np.array([(scenes or {}).get(image, image) for image in images], dtype=np.int64)
    groups, drawn = drawn_together(identities[counted], scene[place])
    hit = got[counted].astype(np.float64)
    chosen = choose(scene)
    measures: dict[str, dict[str, Measure]] = {}
    for part, mine in {VALIDATION: chosen, TEST: ~chosen}.items():
        measures[part] = {}
        some = np.flatnonzero(mine)
        for size in AREAS:
            end = "" if size == AREAS[0] else f"/{size}"
            there = mine[place] & ((sizes == size) if end else True)
            if not there.any():
                continue
            measures[part][f"{RECALL}{end}"] = mean_of(hit[there], groups[there], covered=covered[there])
            statistic = average_precision([found[k] for k in some], [wanted[k] for k in some], size)
            measures[part][f"{AP}{end}"] = Measure(statistic, scene[some])
    for part, few in measures.items():
        if not few:
            raise AnonbenchError(f"nobody is there to be found in the images of {part}", entry="attack.probe")
    arrays = {
        "probe": groups, "images": np.array(images)[place], "covered": covered, "validation": chosen[place],
        "hit": hit,
    }  # fmt: skip
    return Answers(measures, RECALL, drawn, {**facts, "overlap": overlap, "images": len(images)}, arrays)


def _wanted(people: list[dict[str, Any]], overlap: float) -> Wanted:
    return Wanted(
        np.array([person["box"] for person in people], dtype=np.float64).reshape(-1, 4),
        np.array([person["area"] for person in people], dtype=np.float64),
        np.array([person["crowd"] for person in people], dtype=bool),
        overlap,
    )


def _people(site: Site, finds: base.Finds) -> tuple[list[dict[str, Any]], float]:
    """Return who is to be found, with the box to find them at, and from which overlap on they are.

    Raises AnonbenchError where nobody has a box.
    """
    columns = ["image_id", "person_id", "box", "face", "area", "crowd", "ignore", "identity"]
    _, table = tables_of(site.annotations, site.split, columns)
    faces = _faces(site) if finds == "face" and not any(row["face"] for row in table) else {}
    people = []
    for row in table:
        crowd = row["crowd"] or row["ignore"]
        box, area = row["box"], row["area"]
        if finds == "face" and not crowd:
            box = row["face"] or faces.get((row["image_id"], row["person_id"]))
            area = None if box is None else box[2] * box[3]
        if box is not None:
            people.append({**row, "box": list(box), "area": area, "crowd": crowd})
    if not any(not person["crowd"] for person in people):
        what = {"face": "no face has a box", "person": "nobody has a box"}[finds]
        raise AnonbenchError(f"{what}, so that there is nothing to find", file=site.table("people"))
    return people, OF_REGIONS if faces else IOU


def _faces(site: Site) -> dict[tuple[int, int], tuple[float, float, float, float]]:
    """Return the boxes of faces that the annotate stage chose, by image and person, where the data set has none."""
    rows = regions.read(site.table("images"), regions.IMAGES).to_pylist()
    faces = People.read(site.table(RegionKind.FACE.table), RegionKind.FACE, rows)
    return {
        (image["image_id"], face.person_id): face.subject
        for image in rows
        for face in faces.regions(image)
        if face.person_id >= 0
    }


def _some(images: list[int], people: list[dict[str, Any]], site: Site) -> list[int]:
    """Return images, drawn by the seed, with as many people in all as may be attacked; sorted."""
    if site.most is None or len(people) <= site.most:
        return images
    count = dict.fromkeys(images, 0)
    for person in people:
        count[person["image_id"]] += 1
    order = generator("subjects", site.seed, site.split).permutation(len(images))
    upto = np.cumsum([count[images[k]] for k in order])
    return sorted(images[k] for k in order[: int(np.searchsorted(upto, site.most)) + 1])
