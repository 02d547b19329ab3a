"""Crops of the people of a split, as a variant shows them: what an attacker sees and learns from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from anonbench import images, manifests, regions, registry
from anonbench.attack.inversion import Inversion
from anonbench.attack.options import View
from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.images.resizing import resized
from anonbench.people import People
from anonbench.records import Region, RegionKind
from anonbench.seeding import generator
from anonbench.variants import ORIGINAL

EMPTY = 127
"""Grey level of what an attacker does not see."""
AROUND = 0.5
"""Surroundings reach beyond a person's box by this share of its width and height, on each side."""
COLUMNS = ["image_id", "person_id", "box", "crowd", "ignore", "identity", "attributes"]
"""What is read of a table of people."""


@dataclass(frozen=True)
class Subjects:
    """The people of a split in one variant.

    ``crops`` uint8 (N, height, width, 3) RGB; ``images`` and ``people`` int64 (N,): ids of the image and of the person
    in it; ``identities`` object (N,): who it is, None where nobody says; ``covered`` bool (N,): whom the variant has
    changed; ``attributes`` object (N,): what may be said of somebody, {name: value}. ``coded``: whether a codec has
    altered every picture, of whomever it hides.
    """

    crops: np.ndarray = field(repr=False)
    images: np.ndarray
    people: np.ndarray
    identities: np.ndarray
    covered: np.ndarray
    attributes: np.ndarray = field(repr=False)
    coded: bool = False

    def __len__(self) -> int:
        return len(self.crops)

    def only(self, chosen: np.ndarray) -> Subjects:
        """Return those whom a bool (N,) or an index names."""
        return replace(self, **{one: getattr(self, one)[chosen] for one in _PER_PERSON})

    @property
    def altered(self) -> np.ndarray:
        """Who does not look as in the original, bool (N,), hidden or not."""
        return np.ones(len(self), bool) if self.coded else self.covered

    def known(self) -> Subjects:
        """Return those of whom it is known who they are."""
        return self.only(np.array([who is not None for who in self.identities], dtype=bool))

    def said(self, attribute: str) -> np.ndarray:
        """Return the values of an attribute, str (N,), empty where nobody says."""
        return np.array([str(one.get(attribute, "")) for one in self.attributes], dtype=np.str_)


_PER_PERSON = [one.name for one in fields(Subjects) if one.name != "coded"]


def read_subjects(
    variant: Path,
    annotations: Path,
    split: str,
    region: RegionKind,
    view: View,
    size: tuple[int, int],
    most: int | None = None,
    seed: int = 0,
    inverted: bool = False,
) -> Subjects:
    """Cut the people of a split out of a variant's images.

    ``variant`` is the variant's folder, ``annotations`` that of its data set's tables, ``region`` the kind of region
    that the variant changes (and the attacker is about), ``size`` width and height of the crops. Everybody with a box
    has a crop, whoever has no region, too (the method left them visible), but crowds. With ``most``, as many are
    drawn, the same whatever the variant. With ``inverted``, what the method did is taken back first, as far as its
    parameters tell how (`Inversion`); nothing was done in the original. Raises AnonbenchError for tables, images or
    manifests that are missing or damaged, for a method that cannot be inverted, and when nobody is there.
    """
    rows = regions.read(annotations / f"{split}.images.parquet", regions.IMAGES).to_pylist()
    people = regions.read(annotations / f"{split}.people.parquet", regions.PEOPLE)
    chosen = [row for row in people.select(COLUMNS).to_pylist() if row["box"] is not None and not row["crowd"]]
    if not chosen:
        raise AnonbenchError("shows nobody with a box", file=annotations / f"{split}.people.parquet")
    if most is not None and len(chosen) > most:
        order = generator("subjects", seed, split).permutation(len(chosen))[:most]
        chosen = [chosen[k] for k in sorted(order)]
    of: dict[int, list[dict[str, Any]]] = {}
    for row in chosen:
        of.setdefault(row["image_id"], []).append(row)
    table = People.read(annotations / f"{split}.{region.table}.parquet", region, rows)
    shown, changed = pictures_of(variant, split), changed_in(variant, split)
    invert = Inversion.of(variant, annotations, split, rows) if inverted and variant.name != ORIGINAL else None
    crops = []
    for image in rows:
        if image["image_id"] not in of:
            continue
        pixels = shown(image["image_id"])
        if invert is not None:
            pixels = invert(pixels, image, changed)
        found = {one.person_id: one for one in table.regions(image)}
        crops += [_crop(pixels, row, found.get(row["person_id"]), view, size) for row in of[image["image_id"]]]
    ordered = [row for image in rows for row in of.get(image["image_id"], ())]
    keys = [(row["image_id"], row["person_id"]) for row in ordered]
    who, said = np.empty(len(ordered), dtype=object), np.empty(len(ordered), dtype=object)
    who[:] = [row["identity"] for row in ordered]
    said[:] = [attributes_of(row["attributes"], annotations / f"{split}.people.parquet") for row in ordered]
    return Subjects(
        crops=np.stack(crops),
        images=np.array([image for image, _ in keys], dtype=np.int64),
        people=np.array([person for _, person in keys], dtype=np.int64),
        identities=who,
        covered=np.array([key in changed for key in keys], dtype=bool),
        attributes=said,
        coded=variant.name != ORIGINAL and _is_coded(variant, split),
    )


def _is_coded(variant: Path, split: str) -> bool:
    method = manifests.summary_of(variant, split).get("method")
    return method is not None and bool(registry.load("methods", method).codec)


def attributes_of(text: str | None, table: Path) -> dict[str, str]:
    """Return what a table of people says of somebody; raise AnonbenchError where that is no JSON."""
    try:
        value: dict[str, str] = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise AnonbenchError(
            f"has attributes that are not JSON ({error})", file=table, remedy="delete it and run the annotate stage"
        ) from None
    return value


def read_pair(
    variant: Path, original: Path, annotations: Path, split: str, region: RegionKind, view: View,
    size: tuple[int, int], most: int | None = None, seed: int = 0, inverted: bool = False,
) -> tuple[Subjects, Subjects]:  # fmt: skip
    """Return the same people as a variant shows them and as they are (see `read_subjects`), read once if it is one."""
    raw = read_subjects(original, annotations, split, region, view, size, most, seed)
    if variant == original:
        return raw, raw
    return read_subjects(variant, annotations, split, region, view, size, most, seed, inverted), raw


def pictures_of(variant: Path, split: str) -> Callable[[int], np.ndarray]:
    """Return a function that reads the image of an id, as a variant shows it: uint8 HxWx3 RGB, as its labels are.

    Both raise AnonbenchError: where the variant lists no images, or not that one, and for a file that is missing,
    damaged, edited or of another size.
    """
    file = manifests.annotations_path(variant, split)
    value = read_json(file)
    try:
        entries = {image["id"]: (image["file_name"], image["width"], image["height"]) for image in value["images"]}
        frames = {image["id"]: image.get("labels_on") for image in value["images"]}
    except (KeyError, TypeError):
        raise AnonbenchError("contains no images", file=file, remedy="run the anonymize stage again") from None
    hashes = manifests.image_hashes(variant, split)

    def read(image_id: int) -> np.ndarray:
        if image_id not in entries:
            raise AnonbenchError("lacks an image that the tables have", file=file, entry=f"image {image_id}")
        name, width, height = entries[image_id]
        return images.read_rgb(variant / split / name, (width, height), frames[image_id], hashes.get(name))

    return read


def changed_in(variant: Path, split: str) -> set[tuple[int, int]]:
    """Return image and person of everybody whom a variant has changed; nobody's in the original."""
    if variant.name == ORIGINAL:
        return set()
    rows = manifests.rows_of(variant, split)
    return {(r["image_id"], r["person_id"]) for r in rows if r["type"] == "person" and manifests.is_changed(r)}


def _crop(
    pixels: np.ndarray, person: dict[str, Any], region: Region | None, view: View, size: tuple[int, int]
) -> np.ndarray:
    """Return what an attacker sees of somebody: uint8 (height, width, 3)."""
    height, width = pixels.shape[:2]
    x, y, w, h = person["box"]
    if view == "region" and region is not None:
        left, top, right, bottom = region.box
    elif view == "surroundings":
        left, top, right, bottom = x - AROUND * w, y - AROUND * h, x + (1 + AROUND) * w, y + (1 + AROUND) * h
    else:
        left, top, right, bottom = x, y, x + w, y + h
    left, top = max(0, int(np.floor(left))), max(0, int(np.floor(top)))
    right, bottom = min(width, max(int(np.ceil(right)), left + 1)), min(height, max(int(np.ceil(bottom)), top + 1))
    if left >= right or top >= bottom:  # a box outside the image
        return np.full((size[1], size[0], 3), EMPTY, np.uint8)
    part = pixels[top:bottom, left:right].copy()
    if view != "person":
        inside = _mask(region, (left, top, right, bottom))
        if view == "surroundings":
            part[inside] = EMPTY
        elif view == "region":
            part[~inside] = EMPTY
        elif view == "colour":
            part[:] = np.rint(part[inside if inside.any() else ...].reshape(-1, 3).mean(axis=0))
        else:
            part[:] = np.where(inside, 255, 0)[..., None]
    return resized(part, size)


def _mask(region: Region | None, window: tuple[int, int, int, int]) -> np.ndarray:
    """Return where a region is in a window of the image: bool; nowhere for somebody who has none."""
    left, top, right, bottom = window
    mask = np.zeros((bottom - top, right - left), dtype=bool)
    if region is None:
        return mask
    x0, y0, x1, y1 = region.box
    a, b, c, d = max(x0, left), max(y0, top), min(x1, right), min(y1, bottom)
    if a < c and b < d:
        mask[b - top : d - top, a - left : c - left] = region.mask[b - y0 : d - y0, a - x0 : c - x0]
    return mask


def disjoint(own: Path, *attacked: tuple[Subjects, Path]) -> None:
    """Raise AnonbenchError when somebody whom the attacker learns from is attacked.

    ``own`` is the table of the former, beside the latter stands theirs. Raises it, too, for a table that is missing or
    damaged.
    """
    known = set(regions.read(own, regions.PEOPLE)["identity"].drop_null().to_pylist())
    for people, table in attacked:
        for both in sorted(known & {who for who in people.identities if who is not None}):
            raise AnonbenchError(
                f"shows '{both}', who is also in {table}: an attacker must not have learnt from those it attacks",
                file=own,
                remedy="choose another split or data set in attack.own",
            )


def apart(probe: tuple[Path, str], gallery: tuple[Path, str]) -> None:
    """Raise AnonbenchError when a gallery holds an image of the probe, both a variant's folder and a split.

    The hashes of the original files tell. Everybody would be compared with their own picture.
    """
    known = {row["source_sha256"]: row["file_name"] for row in _images(*probe)}
    for row in _images(*gallery):
        if row["source_sha256"] in known:
            raise AnonbenchError(
                f"is {known[row['source_sha256']]} of {probe[1]} too: a gallery must not hold images of the probe",
                file=manifests.summary_path(*gallery),
                entry=f"image {row['image_id']}",
                remedy="name another split as attack.gallery",
            )


def _images(variant: Path, split: str) -> Iterator[manifests.Row]:
    return (row for row in manifests.rows_of(variant, split) if row["type"] == "image")
