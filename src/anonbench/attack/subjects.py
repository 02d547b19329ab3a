"""Crops of the people of a split, as a variant shows them: what an attacker sees and learns from."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveInt

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
OWN_IMAGES = "own_images"
"""What an attacker's record calls the original pictures that it has learnt from."""
DIGITS = 16
"""Of the sha256 of an original picture so many digits are enough to tell it from all others."""


@dataclass(frozen=True)
class Pictures:
    """How images look, to find those that are the same whatever their files are.

    ``looks``: by image, a hash of its pixels; ``places``: the images that show somebody in a box of a picture of some
    size; ``before``: the hash of an image's original, read when it is asked for.
    """

    looks: Mapping[int, str]
    places: Mapping[tuple[object, ...], Sequence[int]]
    before: Callable[[int], str]

    def shared(self, other: Pictures) -> tuple[int, int] | None:
        """Return two images of this one and of another that are the same picture; None where there are none.

        All are compared as they are shown, and their originals where the same person stands in the very same place.
        """
        known = {look: image for image, look in self.looks.items() if look}
        for image, look in other.looks.items():
            if look in known:
                return known[look], image
        for place in self.places.keys() & other.places.keys():
            known = {self.before(image): image for image in self.places[place]}
            for image in other.places[place]:
                if (look := other.before(image)) and look in known:
                    return known[look], image
        return None


@dataclass(frozen=True)
class Subjects:
    """The people of a split in one variant.

    ``crops`` uint8 (N, height, width, 3) RGB; ``images`` and ``people`` int64 (N,): ids of the image and of the person
    in it; ``identities`` object (N,): who it is, None where nobody says; ``covered`` bool (N,): whom the variant has
    changed; ``attributes`` object (N,): what may be said of somebody, {name: value}. ``coded``: whether a codec has
    altered every picture, of whomever it hides. ``sources``: the sha256 of the original file of every image;
    ``pictures``: how the images look. ``wholes``: they are crowds, of whom pictures tell as wholes.
    """

    crops: np.ndarray = field(repr=False)
    images: np.ndarray
    people: np.ndarray
    identities: np.ndarray
    covered: np.ndarray
    attributes: np.ndarray = field(repr=False)
    coded: bool = False
    sources: frozenset[str] = field(default=frozenset(), repr=False)
    pictures: Pictures | None = field(default=None, repr=False)
    wholes: bool = False

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


_PER_PERSON = [one.name for one in fields(Subjects) if one.name not in ("coded", "sources", "pictures", "wholes")]


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
    wholes: bool = False,
) -> Subjects:
    """Cut the people of a split out of a variant's images.

    ``variant`` is the variant's folder, ``annotations`` that of its data set's tables, ``region`` the kind of region
    that the variant changes (and the attacker is about), ``size`` width and height of the crops. Everybody with a box
    has a crop, whoever has no region, too (the method left them visible), but crowds; with ``wholes`` these are what is
    seen where there is nobody else, as in photographs whose attributes are of all of them (`regions.shown`). With
    ``most``, as many are drawn, the same whatever the variant. With ``inverted``, what the method did is taken back
    first, as far as its parameters tell how (`Inversion`); nothing was done in the original. Raises AnonbenchError for
    tables, images or manifests that are missing or damaged, for a method that cannot be inverted, and when nobody is
    there.
    """
    rows, people = tables_of(annotations, split, COLUMNS)
    wholes = wholes and regions.are_wholes(people)
    chosen = [row for row in people if row["box"] is not None and row["crowd"] is wholes]
    if not chosen:
        raise AnonbenchError("shows nobody with a box", file=annotations / f"{split}.people.parquet")
    if most is not None and len(chosen) > most:
        order = generator("subjects", seed, split).permutation(len(chosen))[:most]
        chosen = [chosen[k] for k in sorted(order)]
    of: dict[int, list[dict[str, Any]]] = {}
    for row in chosen:
        of.setdefault(row["image_id"], []).append(row)
    table = People.read(annotations / f"{split}.{region.table}.parquet", region, rows)
    told = manifests.contents_of(variant, split)
    check_images(told, rows, manifests.summary_path(variant, split))
    shown, changed = _reader(variant, split, told), set() if variant.name == ORIGINAL else told.changed
    invert = Inversion.of(variant, annotations, split, rows) if inverted and variant.name != ORIGINAL else None
    crops = []
    looks: dict[int, str] = {}
    places: dict[tuple[object, ...], list[int]] = {}
    for image in rows:
        if image["image_id"] not in of:
            continue
        pixels = shown(image["image_id"])
        looks[image["image_id"]] = _look(pixels)
        for row in of[image["image_id"]]:
            places.setdefault((*pixels.shape, *row["box"], row["identity"]), []).append(image["image_id"])
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
        coded=variant.name != ORIGINAL and _is_coded(told.summary),
        sources=frozenset(told.sources[image] for image in of),
        pictures=Pictures(looks, places, _looks_before(variant, split, looks)),
        wholes=wholes,
    )


def tables_of(
    annotations: Path, split: str, columns: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of a split's table of images, and, some ``columns`` of them, those of its people.

    Raises AnonbenchError for a table that is missing or damaged, and for people of an image that is not there.
    """
    images = regions.read_checked(annotations / f"{split}.images.parquet", regions.IMAGES).to_pylist()
    file = annotations / f"{split}.people.parquet"
    people = regions.read_checked(file, regions.PEOPLE).select(list(columns)).to_pylist()
    if any(row.get("crowd", False) is None for row in people):
        raise AnonbenchError("has rows without crowd", file=file, remedy="delete it and run annotate again")
    lost = {row["image_id"] for row in people}.difference(row["image_id"] for row in images)
    if lost:
        raise AnonbenchError(
            f"holds people of image {min(lost)}, which the table of images lacks", file=file,
            remedy="run annotate again",
        )  # fmt: skip
    return images, people


def check_images(told: manifests.Contents, rows: list[dict[str, Any]], file: Path) -> None:
    """Raise AnonbenchError unless a manifest, ``file``, tells of the images that the table of images has."""
    if odd := told.names.keys() ^ {row["image_id"] for row in rows}:
        raise AnonbenchError(
            "tells of other images than the table of images", file=file, entry=f"image {min(odd)}",
            remedy=manifests.REMEDY,
        )  # fmt: skip


def _is_coded(summary: manifests.Row) -> bool:
    method = summary.get("method")
    return method is not None and bool(registry.load("methods", method).codec)


def _look(pixels: np.ndarray) -> str:
    """Return a hash of how a picture looks, the same however it is encoded without loss; empty for a blank one."""
    few = np.ascontiguousarray(pixels[::8, ::8])
    if not few.size or few.min() == few.max():
        return ""
    return hashlib.sha256(repr(pixels.shape).encode() + few.tobytes()).hexdigest()


def _looks_before(variant: Path, split: str, looks: Mapping[int, str]) -> Callable[[int], str]:
    """Return a function that says how an image looks in the original, beside the variant; empty where there is none."""
    original = variant.parent / ORIGINAL
    if variant.name == ORIGINAL or not manifests.exist(original, split):
        return lambda image: looks[image] if variant.name == ORIGINAL else ""
    reader = functools.cache(lambda: pictures_of(original, split))
    return functools.cache(lambda image: _look(reader()(image)))


def attributes_of(text: str | None, table: Path) -> dict[str, str]:
    """Return what a table of people says of somebody; raise AnonbenchError where it is not {name: value} in JSON."""
    try:
        value: dict[str, str] = json.loads(text or "{}")
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            raise ValueError("it is not {name: value}")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is none of the JSON errors
        raise AnonbenchError(
            f"has attributes that are not JSON ({error})", file=table, remedy="delete it and run the annotate stage"
        ) from None
    return value


def read_pair(
    variant: Path, original: Path, annotations: Path, split: str, region: RegionKind, view: View,
    size: tuple[int, int], most: int | None = None, seed: int = 0, inverted: bool = False, wholes: bool = False,
) -> tuple[Subjects, Subjects]:  # fmt: skip
    """Return the same people as a variant shows them and as they are (see `read_subjects`), read once if it is one."""
    asked = (annotations, split, region, view, size, most, seed)
    raw = read_subjects(original, *asked, wholes=wholes)
    return (raw if variant == original else read_subjects(variant, *asked, inverted, wholes)), raw


def pictures_of(variant: Path, split: str) -> Callable[[int], np.ndarray]:
    """Return a function that reads the image of an id, as a variant shows it: uint8 HxWx3 RGB, as its labels are.

    Both raise AnonbenchError: where the variant lists no images, or not that one, or its labels are not those of its
    manifest, and for a file that is missing, damaged, edited or of another size.
    """
    return _reader(variant, split, manifests.contents_of(variant, split))


def _reader(variant: Path, split: str, told: manifests.Contents) -> Callable[[int], np.ndarray]:
    """Do what `pictures_of` does, by what the manifest says."""
    file = manifests.annotations_path(variant, split)
    value = read_json(file)
    manifests.check_labels(file)
    try:
        entries = {image["id"]: _Entry.model_validate(image) for image in value["images"]}
    except (KeyError, TypeError, ValueError):
        raise AnonbenchError("contains no images", file=file, remedy="run the anonymize stage again") from None

    def read(image_id: int) -> np.ndarray:
        if image_id not in entries:
            raise AnonbenchError("lacks an image that the tables have", file=file, entry=f"image {image_id}")
        one = entries[image_id]
        if told.names.get(image_id) != one.file_name:
            raise AnonbenchError(
                f"says that it is {one.file_name!a:.80}, not {told.names.get(image_id)!a:.80}, as the manifest does",
                file=file,
                entry=f"image {image_id}",
                remedy=manifests.REMEDY,
            )
        return images.read_rgb(
            variant / split / one.file_name, (one.width, one.height), one.labels_on, told.hashes[one.file_name]
        )

    return read


class _Entry(BaseModel):
    """What is read of an image in a variant's labels."""

    model_config = ConfigDict(strict=True)

    file_name: str
    width: PositiveInt
    height: PositiveInt
    labels_on: images.Frame | None = None


def changed_in(variant: Path, split: str) -> set[tuple[int, int]]:
    """Return image and person of everybody whom a variant has changed; nobody's in the original."""
    return set() if variant.name == ORIGINAL else manifests.contents_of(variant, split).changed


def blank(crops: np.ndarray) -> np.ndarray:
    """Return which of crops uint8 (N, height, width, 3) show nothing, bool (N,)."""
    return np.asarray((crops == EMPTY).all(axis=(1, 2, 3)))


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
            part[:] = np.where(inside, 255, 0)[..., None] if inside.any() else EMPTY
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


def disjoint(own: Path, *attacked: tuple[Subjects, Path], names: bool = True) -> None:
    """Raise AnonbenchError when somebody whom the attacker learns from is attacked, or two sides are one picture.

    ``own`` is the table of the former, beside the latter stands theirs. Without ``names`` the same identity is another
    person in ``own``. Raises it, too, for a table that is missing or damaged.
    """
    for (one, first), (other, table) in itertools.combinations(attacked, 2):
        if one.pictures and other.pictures and (both := one.pictures.shared(other.pictures)):
            raise AnonbenchError(
                f"shows the very picture that is image {both[0]} of {first}", file=table, entry=f"image {both[1]}",
                remedy="name another split as attack.gallery",
            )  # fmt: skip
    if not names:
        return
    known = set(regions.read(own, regions.PEOPLE)["identity"].drop_null().to_pylist())
    for people, table in attacked:
        for both in sorted(known & {who for who in people.identities if who is not None}):
            raise AnonbenchError(
                f"shows '{both}', who is also in {table}: an attacker must not have learnt from those it attacks",
                file=own,
                remedy="choose another split or data set in attack.own",
            )


def shortened(sources: Iterable[str]) -> list[str]:
    """Return the sha256 of original pictures as an attacker's record has them."""
    return sorted({one[:DIGITS] for one in sources})


def unlearnt(record: Mapping[str, Any], *attacked: tuple[Path, str]) -> None:
    """Raise AnonbenchError when an attacker has learnt from a picture of those it attacks, whatever they are called.

    ``record`` is the attacker's, ``attacked`` are folders of variants and splits. The hashes of the original files
    tell; a record of an earlier version does not have them.
    """
    own = set(record.get(OWN_IMAGES) or ())
    for variant, split in attacked if own else ():
        for image, source in manifests.contents_of(variant, split).sources.items():
            if source[:DIGITS] in own:
                raise AnonbenchError(
                    "is a picture that the attacker has learnt from: it must not attack those it knows",
                    file=manifests.summary_path(variant, split),
                    entry=f"image {image}",
                    remedy="choose another split or data set in attack.own",
                )


def apart(probe: tuple[Path, str], gallery: tuple[Path, str]) -> None:
    """Raise AnonbenchError when a gallery holds an image of the probe, both a variant's folder and a split.

    The hashes of the original files tell. Everybody would be compared with their own picture.
    """
    mine, theirs = manifests.contents_of(*probe), manifests.contents_of(*gallery)
    known = {source: mine.names[image] for image, source in mine.sources.items()}
    for image, source in theirs.sources.items():
        if source in known:
            raise AnonbenchError(
                f"is {known[source]} of {probe[1]} too: a gallery must not hold images of the probe",
                file=manifests.summary_path(*gallery),
                entry=f"image {image}",
                remedy="name another split as attack.gallery",
            )
