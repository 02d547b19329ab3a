"""Who gets a region, from where, and why the others get none: the table of regions, the ledger, the coverage."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, groupby, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from anonbench import regions, windows
from anonbench.annotate import detections, geometry, matching
from anonbench.annotate.options import RegionsConfig
from anonbench.errors import AnonbenchError
from anonbench.files import atomic, write_text
from anonbench.records import OF_PEOPLE, UNANNOTATED, Box, Reason, RegionKind

LEDGER = ("image_id", "person_id", "category", "kind", "status", "source", "x", "y", "width", "height", "note")
COVERAGE = ("kind", "category", "size", "status", "source", "people")
SIZES = ((32**2, "small"), (96**2, "medium"), (math.inf, "large"))
"""COCO's bounds of the area in pixels."""
PERSONS = frozenset(("person", "pedestrian"))
"""The categories that the published study anonymizes."""
PAPER_MIN_AREA = 64
"""The published study leaves bodies alone whose crop has fewer pixels."""

NOTHING = np.zeros((0, 5), np.float32)
"""No detections."""

_Row = dict[str, Any]


def choose(
    annotations: Path,
    split: str,
    config: RegionsConfig,
    faces: Iterable[Path] = (),
    persons: Iterable[Path] = (),
    cover_all: bool = False,
) -> dict[str, Any]:
    """Write ``<split>.regions.parquet``, ``<split>.ledger.csv`` and ``<split>.coverage.csv``.

    ``annotations`` is the folder of `people.convert`'s files, where they go too; ``faces`` and ``persons`` are tables
    of detections. ``cover_all``: a detected face gets a row of its own unless regions cover all of it, not more than
    half. Returns counts by kind and status, and how many detections are of nobody who is annotated. Raises
    AnonbenchError for tables that are missing or do not belong together.
    """
    config = config.effective()
    images = regions.read(annotations / f"{split}.images.parquet", regions.IMAGES).to_pylist()
    images.sort(key=lambda row: row["image_id"])
    table = regions.read(annotations / f"{split}.people.parquet", regions.PEOPLE)
    posed = config.paper and table["keypoints"].null_count < len(table)
    people = _people(table)
    waiting = next(people, None)
    found_faces = detections.by_image(list(faces), images)
    found_persons = detections.by_image(list(persons), images)
    coverage: Counter[tuple[str, ...]] = Counter()
    statuses: Counter[tuple[str, str]] = Counter()
    strangers = 0
    with (
        regions.writer(annotations / f"{split}.regions.parquet", regions.REGIONS) as add,
        atomic(annotations / f"{split}.ledger.csv") as part,
        open(part, "w", newline="") as stream,
    ):
        ledger = csv.writer(stream, lineterminator="\n")
        ledger.writerow(LEDGER)
        for image in tqdm(images, f"regions {split}", unit="image", disable=None):
            number, present = image["image_id"], []
            if waiting is not None and waiting[0] == number:
                present, waiting = waiting[1], next(people, None)
            scene = Scene(image, present, config, posed, cover_all)
            rows = scene.rows(found_faces.get(number), found_persons.get(number))
            for row, person in rows:
                if person is None:
                    strangers += 1
                    row["person_id"] = -strangers
                add(row)
                ledger.writerow(_ledger(row, person))
                status, source = row["status"], row["source"] or ""
                size = next(name for bound, name in SIZES if row["area"] < bound)
                coverage[row["kind"], row["category"], size, status, source] += 1
                statuses[row["kind"], status] += 1
        for values in _skipped(annotations / f"{split}.images.parquet"):
            ledger.writerow(values)
            statuses[values[3], values[4]] += 1
    if waiting is not None:
        raise AnonbenchError(
            f"holds people of image {waiting[0]}, which the table of images lacks",
            file=annotations / f"{split}.people.parquet",
            remedy="run annotate again",
        )
    lines = [",".join(COVERAGE), *(",".join((*key, str(n))) for key, n in sorted(coverage.items()))]
    write_text(annotations / f"{split}.coverage.csv", "\n".join(lines) + "\n")
    return {"status": {" ".join(key): n for key, n in sorted(statuses.items())}, "unannotated": strangers}


class Scene:
    """The people of one image; ``cover_all`` as in `choose`."""

    def __init__(
        self, image: _Row, people: list[_Row], config: RegionsConfig, posed: bool, cover_all: bool = False
    ) -> None:
        self.image, self.people, self.config, self.posed = image, people, config, posed
        self.cover_all = cover_all
        self.height, self.width = image["height"], image["width"]

    def rows(self, faces: np.ndarray | None, persons: np.ndarray | None) -> Iterator[tuple[_Row, _Row | None]]:
        """Yield rows of the table of regions with the person that each is of (None: nobody who is annotated)."""
        faces = NOTHING if faces is None else faces
        matched = self._match(faces)
        free = faces[matching.unmatched(faces, matched)]
        found: list[_Row] = []
        for index, person in enumerate(self.people):
            yield self._body(person), person
            if person["crowd"]:
                row = self._crowd_face(person, free)
            else:
                row = self._face(person, self._seen(faces[matched[index]], free) if index in matched else None)
            found.append(row)
            yield row, person
        owner = {face: person for person, face in matched.items()}
        for number, face in enumerate(faces):
            of = found[owner[number]] if number in owner else None
            if not self._has_a_row(face, of, found):
                yield self._stranger(RegionKind.FACE, face), None
        for detected in persons if persons is not None else ():
            if not any(self._is_of(detected, person) for person in self.people if person["box"]):
                yield self._stranger(RegionKind.BODY, detected), None

    def _match(self, faces: np.ndarray) -> dict[int, int]:
        """Return which detected face is whose; crowds have none."""
        able = [
            index
            for index, person in enumerate(self.people)
            if person["box"] is not None and not person["crowd"] and self._left_out(person) is None
        ]
        people = [self.people[index] for index in able]
        own = matching.match(
            faces,
            [None if p["rle"] is None else {"size": [self.height, self.width], "counts": p["rle"]} for p in people],
            [p["box"] for p in people],
            (self.height, self.width),
            heads=[_points(p) for p in people],
            min_iou=self.config.face.min_iou,
            prefer=self.config.face.match,
        )
        return {able[person]: face for person, face in own.items()}

    def _left_out(self, person: _Row) -> Reason | None:
        """Return why a person gets no region whatever is known of them."""
        if person["ignore"] and self.config.crowd == "skip":
            return Reason.IGNORE
        if person["crowd"] and self.config.crowd == "skip":
            return Reason.CROWD
        if self.config.paper and (person["category"] not in PERSONS or (self.posed and person["keypoints"] is None)):
            return Reason.LEFT_BY_PAPER
        return None

    def _body(self, person: _Row) -> _Row:
        """Return the row of the body: the mask, or the box of a person whose mask cannot be used."""
        kind, config, box = RegionKind.BODY, self.config.body, person["box"]
        if (reason := self._left_out(person)) is not None:
            return self._none(person, kind, reason)
        if _is_a_face(person):
            return self._none(person, kind, Reason.NO_MASK)
        if box is None:
            return self._none(person, kind, Reason.INVALID_GEOMETRY)
        source, rle = "mask", None
        if person["rle"] is not None:
            rle = {"size": [self.height, self.width], "counts": person["rle"]}
            if not geometry.holds(box, rle):  # they contradict each other: the person is in one of the two places
                rle = geometry.union(rle, geometry.union_of_boxes([box], self.width, self.height))
                source, box = "union", _as_box(geometry.mask_bounds(rle))
        if min(box[2], box[3]) < config.min_size:
            return self._none(person, kind, Reason.BELOW_MIN_SIZE)
        if rle is not None:
            w, h = geometry.bounded(box, self.width, self.height)[2:]
            rle = geometry.dilate(rle, round(config.dilate * math.sqrt(w * h)))
            bounds = geometry.mask_bounds(rle)
            if bounds is not None:
                if self.config.paper and self._too_small(bounds, rle):
                    return self._none(person, kind, Reason.BELOW_MIN_SIZE)
                return self._region(person, kind, source, bounds, box, regions.runs_of(rle["counts"]))
        pixels = geometry.pixel_box(box, self.width, self.height)
        if pixels is None:
            return self._none(person, kind, Reason.OUTSIDE_IMAGE)
        return self._region(person, kind, "box", pixels, box)

    def _too_small(self, bounds: windows.PixelBox, rle: _Row) -> bool:
        w, h = windows.published_body_size(bounds, geometry.area(rle), self.width, self.height)
        return w * h < PAPER_MIN_AREA

    def _face(self, person: _Row, detected: Box | None) -> _Row:
        """Return the row of the face, from the first source that knows it and whose box can be used."""
        kind, config = RegionKind.FACE, self.config.face
        if (reason := self._left_out(person)) is not None:
            return self._none(person, kind, reason)
        missed = set()
        for wanted in config.sources:
            source, known, region = self._face_box(wanted, person, detected)
            if known is None or region is None:
                continue
            region = geometry.scaled(region, config.scale)
            pixels = geometry.pixel_box(region, self.width, self.height)
            if min(known[2], known[3]) < config.min_size:
                missed.add(Reason.BELOW_MIN_SIZE)
            elif pixels is None:
                missed.add(Reason.OUTSIDE_IMAGE)
            else:
                return self._region(person, kind, source, pixels, region)
        return self._none(person, kind, self._why_no_face(person, missed))

    @staticmethod
    def _why_no_face(person: _Row, missed: set[Reason]) -> Reason:
        """Return the reason of a face without a region, of the sources that know it the one that knows most."""
        for reason in (Reason.BELOW_MIN_SIZE, Reason.OUTSIDE_IMAGE):
            if reason in missed:
                return reason
        if person["crowd"]:
            return Reason.IGNORE if person["ignore"] else Reason.CROWD
        given_but_unusable = "face" in (person["note"] or "") and _is_a_face(person)
        return Reason.INVALID_GEOMETRY if given_but_unusable else Reason.NO_FACE_FOUND

    def _crowd_face(self, crowd: _Row, faces: np.ndarray) -> _Row:
        """Return the row of a crowd's faces: the data set's box, or as one region all that are known.

        These are the detected ones of which more than half lies in its mask (without a mask: in its box) and the one
        that its keypoints tell. What a method's strength follows is the largest of them.
        """
        kind, config = RegionKind.FACE, self.config.face
        row = self._face(crowd, None)
        if row["source"] == "ground_truth" or self._left_out(crowd) is not None:
            return row
        inside = [face for face in faces if min(face[2:4]) >= config.min_size and self._share_in(face, crowd) > 0.5]
        boxes = [geometry.scaled(self._grown(face), config.scale) for face in inside]
        if not boxes:
            return row
        source = "detector"
        if row["status"] == regions.REGION:
            source, boxes = "union", [*boxes, _box(row["subject"])]
        rle = geometry.union_of_boxes(boxes, self.width, self.height)
        bounds = geometry.mask_bounds(rle)
        if bounds is None:
            return row
        largest = max(boxes, key=lambda box: box[2] * box[3])
        return self._region(crowd, kind, source, bounds, largest, regions.runs_of(rle["counts"]))

    def _face_box(self, source: str, person: _Row, detected: Box | None) -> tuple[str, Box | None, Box | None]:
        """Return the name of the source in the end, the face that it knows, and the box that covers it."""
        if source == "ground_truth":
            given = None if person["face"] is None else _box(person["face"])
            return source, given, given
        head = None if source == "detector" else self._head(person)
        found = None if source == "keypoints" else detected
        if found is None:
            return "keypoints", head, head
        if head is None and source == "union" and (points := _points(person)) is not None:
            head = geometry.labelled_box(points)  # from behind: ears alone tell no face, but belong to the one found
        if head is None:
            return "detector", found, self._grown(found)
        return "union", matching.union_box(found, head), matching.union_box(self._grown(found), head)

    def _seen(self, detected: np.ndarray, free: np.ndarray) -> Box:
        """Return the box of a detected face, with those that are nobody's and whose centre lies in it.

        A detector may see one face twice. The published matching knows the best box alone.
        """
        box = _box(detected[:4])
        if self.config.face.match == "iou":
            return box
        x, y, w, h = box
        for other in free:
            if x <= other[0] + other[2] / 2 < x + w and y <= other[1] + other[3] / 2 < y + h:
                box = matching.union_box(box, _box(other[:4]))
        return box

    def _grown(self, face: Iterable[float]) -> Box:
        """Return a detected face's box with the margin."""
        x, y, w, h = _box([*face][:4])
        margin = self.config.face.margin * max(w, h)
        return x - margin, y - margin, w + 2 * margin, h + 2 * margin

    def _head(self, person: _Row) -> Box | None:
        points = _points(person)
        whole = (0.0, 0.0, float(self.width), float(self.height))
        box = None if points is None else geometry.head_box(points, _box(person["box"]) if person["box"] else whole)
        return geometry.neck_box(person["head"]) if box is None and person["head"] is not None else box

    def _has_a_row(self, face: np.ndarray, of: _Row | None, rows: list[_Row]) -> bool:
        """Tell whether a row of the people says what becomes of a detected face.

        It does where their regions cover more than half of it, where it is of somebody (``of``, their face's row) who
        has no region, and where it stays visible in somebody who is left out. With ``cover_all`` it does where they
        cover all of it, and where it is of somebody.
        """
        pixels = geometry.pixel_box(_box(face[:4]), self.width, self.height)
        if pixels is None:
            return False
        covered = np.zeros((pixels[3] - pixels[1], pixels[2] - pixels[0]), bool)
        for row in rows:
            if row["status"] == regions.REGION:
                x0, y0 = max(pixels[0], row["x0"]), max(pixels[1], row["y0"])
                x1, y1 = min(pixels[2], row["x1"]), min(pixels[3], row["y1"])
                if x0 < x1 and y0 < y1:
                    mask = regions.decode(row["runs"], self.height, (x0, y0, x1, y1))
                    covered[y0 - pixels[1] : y1 - pixels[1], x0 - pixels[0] : x1 - pixels[0]] |= mask
        if of is not None and (self.cover_all or of["status"] != regions.REGION):
            return True
        if covered.all() if self.cover_all else covered.mean() > 0.5:
            return True
        left_out = [p for p in self.people if self._left_out(p) is not None]
        return not self.config.unannotated and any(self._share_in(face, person) > 0.5 for person in left_out)

    def _share_in(self, found: np.ndarray, person: _Row) -> float:
        """Return the share of a detected box's pixels that a person's mask holds, or their box where there is none."""
        pixels = geometry.pixel_box(_box(found[:4]), self.width, self.height)
        if pixels is None or person["box"] is None:
            return 0.0
        if person["rle"] is None:
            return _covered(found, person["box"])
        return float(regions.decode(regions.runs_of(person["rle"]), self.height, pixels).mean())

    def _is_of(self, found: np.ndarray, person: _Row) -> bool:
        """Tell whether a detected person is one who is annotated: by the boxes' IoU, or as a part of them."""
        return _iou(found, person["box"]) > 0.5 or self._share_in(found, person) > 0.5

    def _stranger(self, kind: RegionKind, found: np.ndarray) -> _Row:
        """Return the row of a detection of nobody who is annotated."""
        box = _box(found[:4])
        nobody = {"person_id": 0, "category": UNANNOTATED, "keypoints": None, "identity": None, "area": box[2] * box[3]}
        config, region = (self.config.body, box) if kind is RegionKind.BODY else (self.config.face, self._grown(box))
        if kind is RegionKind.FACE:
            region = geometry.scaled(region, self.config.face.scale)
        pixels = geometry.pixel_box(region, self.width, self.height)
        if not self.config.unannotated:
            reason = Reason.LEFT_UNANNOTATED
        elif min(box[2], box[3]) < config.min_size:
            reason = Reason.BELOW_MIN_SIZE
        elif pixels is None:
            reason = Reason.OUTSIDE_IMAGE
        else:
            return self._region(nobody, kind, UNANNOTATED, pixels, region)
        return {**self._none(nobody, kind, reason), "subject": list(box)}

    def _region(
        self,
        person: _Row,
        kind: RegionKind,
        source: str,
        pixels: tuple[int, int, int, int],
        subject: Iterable[float],
        runs: np.ndarray | None = None,
    ) -> _Row:
        x0, y0, x1, y1 = pixels
        row = self._row(person, kind, regions.REGION, source)
        row.update(x0=x0, y0=y0, x1=x1, y1=y1, runs=runs)
        row["subject"] = list(geometry.bounded(_box(subject), self.width, self.height))
        return row

    def _none(self, person: _Row, kind: RegionKind, reason: Reason) -> _Row:
        return self._row(person, kind, reason.value, None)

    def _row(self, person: _Row, kind: RegionKind, status: str, source: str | None) -> _Row:
        return {
            "image_id": self.image["image_id"],
            "person_id": person["person_id"],
            "category": person["category"],
            "kind": kind.value,
            "status": status,
            "source": source,
            "runs": None,
            "keypoints": person["keypoints"],
            "area": person["area"],
            "identity": person["identity"],
        }


def _people(table: pa.Table) -> Iterator[tuple[int, list[_Row]]]:
    """Yield the people of a table by image, in its order."""
    rows = chain.from_iterable(batch.to_pylist() for batch in table.to_batches(max_chunksize=8192))
    for image_id, group in groupby(rows, key=lambda row: row["image_id"]):
        yield image_id, list(group)


def _points(person: _Row) -> np.ndarray | None:
    return None if person["keypoints"] is None else np.asarray(person["keypoints"], np.float32).reshape(-1, 3)


def _box(values: Iterable[float]) -> Box:
    x, y, w, h = (float(v) for v in values)
    return x, y, w, h


def _as_box(pixels: windows.PixelBox | None) -> Box:
    """Return pixel bounds as x, y, width, height."""
    x0, y0, x1, y1 = pixels or (0, 0, 0, 0)
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)


def _covered(found: np.ndarray, box: Box) -> float:
    """Return the share of a detected box that another box holds."""
    x, y, w, h = (float(v) for v in found[:4])
    wide = min(x + w, box[0] + box[2]) - max(x, box[0])
    high = min(y + h, box[1] + box[3]) - max(y, box[1])
    return max(wide, 0.0) * max(high, 0.0) / (w * h) if w * h > 0 else 1.0


def _iou(found: np.ndarray, box: Box) -> float:
    """Return the IoU of a detected box and another."""
    area = float(found[2] * found[3])
    common = _covered(found, box) * area
    return common / (area + box[2] * box[3] - common) if common else 0.0


def _is_a_face(person: _Row) -> bool:
    """Tell whether a face is all that is annotated of a person."""
    return str(person["category"]).casefold() == RegionKind.FACE


def _skipped(table: Path) -> Iterator[list[Any]]:
    """Yield the ledger's lines of people in images that `annotate` skipped: they are in no table and no variant."""
    for image in regions.facts_of(table).get("skipped", ()):
        for (person_id, category), kind in product(image["people"], OF_PEOPLE):
            yield [
                image["image_id"],
                person_id,
                category,
                kind.value,
                Reason.BAD_IMAGE.value,
                "",
                "",
                "",
                "",
                "",
                image["reason"],
            ]


def _ledger(row: _Row, person: _Row | None) -> list[Any]:
    box = (person["box"] or ("", "", "", "")) if person else row["subject"]
    values = [row[key] for key in ("image_id", "person_id", "category", "kind", "status")]
    return [*values, row["source"] or "", *box, person["note"] if person else ""]
