"""What a variant promises, checked from outside: its files against what the generator of the crowds knows."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from anonbench import images, manifests, regions
from anonbench.anonymize.contract import Method
from anonbench.records import ANONYMIZED, CONTROL, Reason, Region, RegionKind
from anonbench.variants import Variant
from anonbench.windows import published_window

from .crowds import BRIGHT, DARK, SPLIT, Crowds, Photo

CLOSE = 16
"""A pixel survives when no channel differs from the original by more than this."""
MIDDLE, AMPLITUDE = (DARK + BRIGHT) / 2, (BRIGHT - DARK) / 2
"""Mean and standard deviation of the noise."""
ENERGY = 1.35
"""How much more variance may be left than the method's strength leaves, over all images with few people."""
SPARSE = 3
"""Few people: where more are changed one sees the others, smooth already."""
RARE = 1e-3
"""Chances below it are summed up apart, so that those of small people hide nothing."""
RINGING = 60
"""How far a JPEG's noise beside a mask may move a colour in it."""
MIXING = ("blur", "pixelate", "adaptive_blur", "adaptive_pixelate", "downsample", "grey", "contrast", "learned")
"""Methods whose results follow the original; those of all others may not."""
BLOCKS = 16
"""A JPEG's blocks of chroma: what may change beside a mask."""


class BrokenPromise(AssertionError):
    """What does not hold, with the seed that makes the crowds again."""


class Ledger:
    """The regions table and the manifest of a variant, joined by person."""

    def __init__(self, crowds: Crowds, annotations: Path, out: Path, variant: Variant) -> None:
        self.crowds, self.variant = crowds, variant
        self.rows = [row for row in manifests.rows_of(out, SPLIT) if row["type"] == "person"]
        table = regions.read(annotations / f"{SPLIT}.regions.parquet", regions.REGIONS).to_pylist()
        self.regions = {row["person_id"]: row for row in table if row["kind"] == variant.region}
        if variant.region is RegionKind.FRAME:
            self.regions = {-photo.image_id: _frame(photo) for photo in crowds.photos.values()}

    def broken(self, what: str, photo: Photo | None = None, person: int | None = None) -> BrokenPromise:
        """Return the error that says what to look at."""
        where = (
            f", image {photo.image_id} ({photo.mode}, {photo.pixels.shape[1]}x{photo.pixels.shape[0]})" if photo else ""
        )
        who = f", person {person} ({self.regions.get(person, {}).get('status')})" if person is not None else ""
        return BrokenPromise(f"{self.variant}, seed {self.crowds.seed}{where}{who}: {what}")


def _frame(photo: Photo) -> dict[str, Any]:
    """Return the frame of an image as a row of the regions table; its person's id is minus the image's."""
    height, width = photo.pixels.shape[:2]
    box = {"x0": 0, "y0": 0, "x1": width, "y1": height, "runs": None, "subject": [0.0, 0.0, width, height]}
    frame = {"person_id": -photo.image_id, "kind": RegionKind.FRAME.value, "source": "frame"}
    return {**frame, **box, "status": regions.REGION, "identity": None}


def every_frame_has_a_row(ledger: Ledger, out: Path, method: Method) -> None:
    """Each image has one row of its frame, whether somebody is in it or not, and was written anew."""
    rows = list(manifests.rows_of(out, SPLIT))
    frames = [row for row in rows if row["type"] == "frame"]
    if sorted(row["image_id"] for row in frames) != sorted(ledger.crowds.photos):
        raise ledger.broken(f"{len(frames)} frames have a row, of {len(ledger.crowds.photos)}")
    if {row["status"] for row in frames} != {ANONYMIZED if method.anonymizes else CONTROL}:
        raise ledger.broken("frames were left as they were")
    if {row["action"] for row in rows if row["type"] == "image"} != {"encoded"}:
        raise ledger.broken("images were copied")


def everybody_has_a_row(ledger: Ledger, method: Method) -> None:
    """Each annotated person stands once in the manifest, with the right status; nobody who has pixels is left."""
    counts = Counter(row["person_id"] for row in ledger.rows)
    by_id = {row["person_id"]: row for row in ledger.rows}
    for one in ledger.crowds.everybody():
        photo = ledger.crowds.photos[one.image_id]
        if counts[one.person_id] != 1:
            raise ledger.broken(f"has {counts[one.person_id]} rows", photo, one.person_id)
        row = by_id[one.person_id]
        done = ANONYMIZED if method.anonymizes else CONTROL
        if row["image_id"] != one.image_id:
            raise ledger.broken(f"stands in image {row['image_id']}", photo, one.person_id)
        if row["status"] != done and row["status"] not in set(Reason):
            raise ledger.broken(f"has the status {row['status']}", photo, one.person_id)
        if (row["status"] == done) != (row["box"] is not None):
            raise ledger.broken(f"has the status {row['status']} and the box {row['box']}", photo, one.person_id)
        if ledger.variant.region is RegionKind.BODY and (row["status"] == done) != (one.mask is not None):
            raise ledger.broken(f"has the status {row['status']}", photo, one.person_id)
        if ledger.variant.region is RegionKind.FRAME and row["status"] != done:
            raise ledger.broken(f"has the status {row['status']}, and everybody is in the frame", photo, one.person_id)
    strangers = counts.keys() - {one.person_id for one in ledger.crowds.everybody()}
    if strangers:
        raise ledger.broken(f"{len(strangers)} rows of nobody who is annotated")


def masks_of(ledger: Ledger, image_id: int) -> dict[int, np.ndarray]:
    """Return what must change by person: of bodies what the generator drew, of faces the region of the table."""
    photo, found = ledger.crowds.photos[image_id], {}
    if ledger.variant.region is RegionKind.FRAME:
        return {-image_id: np.ones(photo.pixels.shape[:2], bool)}
    for one in ledger.crowds.people[image_id]:
        if ledger.variant.region is RegionKind.BODY:
            if one.mask is not None:
                found[one.person_id] = one.mask
            continue
        row = ledger.regions[one.person_id]
        if row["status"] != regions.REGION:
            continue
        mask = np.zeros(photo.pixels.shape[:2], bool)
        x0, y0, x1, y1 = (row[key] for key in ("x0", "y0", "x1", "y1"))
        if row["runs"] is None:
            mask[y0:y1, x0:x1] = True
        else:
            counts = coco_mask.frPyObjects({"size": [*mask.shape], "counts": [*row["runs"]]}, *mask.shape)
            mask = coco_mask.decode(counts).astype(bool)
        found[one.person_id] = mask
    return found


def faces_are_covered(ledger: Ledger) -> None:
    """The region of a face holds what of the data set's own face box is in the image."""
    for one in ledger.crowds.everybody():
        row, photo = ledger.regions[one.person_id], ledger.crowds.photos[one.image_id]
        if one.face is None or min(one.face[2:]) < 1:  # below the least size of a face
            continue
        height, width = photo.pixels.shape[:2]
        x, y, w, h = one.face
        x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
        if x1 - x0 < 1e-3 or y1 - y0 < 1e-3:
            continue
        if row["status"] != regions.REGION or not (
            row["x0"] <= x0 + 1e-3 and row["y0"] <= y0 + 1e-3 and row["x1"] >= x1 - 1e-3 and row["y1"] >= y1 - 1e-3
        ):
            raise ledger.broken(f"their face {one.face} is not in the region {row}", photo, one.person_id)


def pixels_are_kept_and_lost(ledger: Ledger, out: Path, method: Method) -> None:
    """Outside all masks a PNG's pixels are the source's; under a mask no pixel survives.

    What is painted is one colour, or follows the original no further than the method's strength says, or not at all.
    """
    left = Mixed(ledger, method) if method.name in MIXING or method.codec else Independent(ledger)
    for photo in ledger.crowds.photos.values():
        before = images.read_rgb(ledger.crowds.root / SPLIT / photo.name, photo.pixels.shape[1::-1])
        after = images.read_rgb(out / SPLIT / photo.name, photo.pixels.shape[1::-1])
        if after.shape != photo.pixels.shape:
            raise ledger.broken(f"is {after.shape} pixels large", photo)
        if photo.exact and (before[photo.opaque] != photo.pixels[photo.opaque]).any():
            raise ledger.broken("the source was not read as it is stored", photo)
        masks = masks_of(ledger, photo.image_id)
        covered = np.zeros(before.shape[:2], bool)
        for mask in masks.values():
            covered |= mask
        if photo.exact and after[~photo.opaque & ~covered].any():
            raise ledger.broken("what transparency hid is to be seen", photo)
        _outside(ledger, photo, before, after, covered, bool(masks))
        if not method.anonymizes and not method.codec:  # a codec that hides nobody changes pixels all the same
            if photo.exact and (after != before).any():
                raise ledger.broken("the control has changed a pixel", photo)
        elif method.name == "mask_out":
            colour = np.asarray(method.parameters.colour or [method.parameters.value] * 3)
            wrong = (np.abs(after.astype(int) - colour) > (0 if photo.exact else RINGING)).any(axis=2) & covered
            if wrong.any():
                raise ledger.broken(f"{wrong.sum()} pixels have another colour", photo)
        elif covered.any():
            noise = (np.abs(before - MIDDLE) > 80).all(axis=2) & covered & photo.opaque
            left.look(photo, before, after, masks, noise)
    left.judge()


class Independent:
    """For methods that never see the pixels under a mask: what they paint is independent of them."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.sums = ledger, np.zeros(4)

    def look(
        self, photo: Photo, before: np.ndarray, after: np.ndarray, masks: dict[int, np.ndarray], noise: np.ndarray
    ) -> None:
        """Add up what is under the masks of an image."""
        a, b = (values[noise].astype(np.float64).ravel() - MIDDLE for values in (before, after))
        self.sums += (a @ b, a @ a, b @ b, len(a) / 3 if photo.grey else len(a))

    def judge(self) -> None:
        """Raise BrokenPromise for a correlation beyond five standard errors."""
        both, first, second, count = self.sums
        r = both / math.sqrt(first * second) if first * second > 0 else 0.0
        if abs(r) > 5 / math.sqrt(max(count, 1)):
            raise self.ledger.broken(f"what was painted follows the original (r = {r:.4f}, {count:.0f} values)")


class Mixed:
    """For methods that mix a pixel with others.

    How often a pixel of noise may look like its original, and how much of the noise's variance may be left, is derived
    from the method's own strength (`Response`): no more of anybody, and less over all people together.
    """

    def __init__(self, ledger: Ledger, method: Method) -> None:
        self.ledger, self.method = ledger, method
        self.sums = {True: np.zeros(4), False: np.zeros(4)}
        self.energy = np.zeros(3)

    def look(
        self, photo: Photo, before: np.ndarray, after: np.ndarray, masks: dict[int, np.ndarray], noise: np.ndarray
    ) -> None:
        """Count what is left of everybody in an image; raise BrokenPromise for one who is not changed enough."""
        if min(photo.pixels.shape[:2]) < 3:  # there are no surroundings to mix with
            return
        owner, order = _owners(masks)
        same = (np.abs(after.astype(np.int16) - before) <= CLOSE).all(axis=2) & noise
        survivors = np.bincount(owner[same], minlength=len(order))
        pixels = np.bincount(owner[noise], minlength=len(order))
        squares = ((after.astype(np.float64) - MIDDLE) ** 2).mean(axis=2)
        energies = np.bincount(owner[noise], squares[noise], minlength=len(order))
        lone = photo.exact and photo.opaque.all() and len(masks) <= SPARSE
        for index, person in enumerate(order):
            one = regions.to_region(self.ledger.regions[person], photo.pixels.shape[0])
            made = response(self.method, one, photo) if pixels[index] else None
            if made is None:
                continue
            chance = made.chance(photo.grey)
            most = pixels[index] * chance
            self.sums[chance < RARE] += (survivors[index], pixels[index], most, most * made.together)
            if lone and not made.at_border:
                self.energy += (energies[index], pixels[index] * made.variance, pixels[index] * made.power)
            if survivors[index] > 3 + 2 * made.together + 2 * most + 6 * math.sqrt(most * made.together):
                what = f"{survivors[index]} of {pixels[index]} pixels survive, by chance {most:.2f} may"
                raise self.ledger.broken(what, photo, person)

    def judge(self) -> None:
        """Raise BrokenPromise for what is left over all people."""
        left, allowed, kernels = self.energy
        if left > (ENERGY + 5 * math.sqrt(2 / max(kernels, 1))) * allowed:
            raise self.ledger.broken(f"{left / allowed:.2f} times the variance is left that the strength leaves")
        for survived, pixels, most, variance in self.sums.values():
            if survived > 3 + 1.5 * most + 6 * math.sqrt(variance):
                raise self.ledger.broken(f"{survived:.0f} of {pixels:.0f} pixels survive, by chance {most:.1f} may")


def _outside(
    ledger: Ledger, photo: Photo, before: np.ndarray, after: np.ndarray, covered: np.ndarray, changed: bool
) -> None:
    if photo.exact or not changed:
        wrong = (after != before).any(axis=2) & ~covered
        if wrong.any():
            y, x = np.argwhere(wrong)[0]
            raise ledger.broken(f"{wrong.sum()} pixels outside the masks changed, such as ({x}, {y})", photo)
        return
    rows, columns = -(-covered.shape[0] // BLOCKS), -(-covered.shape[1] // BLOCKS)
    padded = np.zeros((rows * BLOCKS, columns * BLOCKS), bool)
    padded[: covered.shape[0], : covered.shape[1]] = covered
    blocks = padded.reshape(rows, BLOCKS, columns, BLOCKS).any(axis=(1, 3))
    near = np.pad(blocks, 1)  # where the source's orientation shifts the blocks they are those beside
    near = np.logical_or.reduce([near[i : i + rows, j : j + columns] for i in range(3) for j in range(3)])
    far = ~near.repeat(BLOCKS, 0).repeat(BLOCKS, 1)[: covered.shape[0], : covered.shape[1]]
    if far.any() and np.abs(after[far].astype(int) - before[far]).mean() > 12:
        raise ledger.broken("the background has changed", photo)


def _owners(masks: dict[int, np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Return whose each pixel is in the end (index into the list of person ids, -1: nobody); large people come last."""
    order = sorted(masks, key=lambda person: (int(masks[person].sum()), person))
    owner = np.full(next(iter(masks.values())).shape, -1, np.int64)
    for index, person in enumerate(order):
        owner[masks[person]] = index
    return owner, order


# How strong a method is, and what may survive it by chance


class Response(NamedTuple):
    """What a method makes of noise: a weighted mean of the pixels about each.

    ``peak`` is the pixel's own weight, ``power`` the sum of the squares of all; ``together`` pixels get one value.
    ``at_border``: ``power`` is that of pixels at the image's border, where others count twice.
    """

    peak: float
    power: float
    at_border: bool
    together: int = 1

    @property
    def variance(self) -> float:
        """Of a result: that of the noise, and what rounding and enlarging add."""
        return AMPLITUDE**2 * self.power + 4

    def chance(self, grey: bool) -> float:
        """Return the probability that a result looks like its original.

        It is normal about ``peak`` times the original; a few pixels may as well be equal. Each channel has its own
        noise unless the image is grey.
        """
        deviation = AMPLITUDE * math.sqrt(max(self.power - self.peak**2, 1e-9)) + 2
        away = (AMPLITUDE * (1 - self.peak) - CLOSE) / deviation
        one = max(0.5 * math.erfc(away / math.sqrt(2)), 0.5 ** (1 / self.power - 1))
        return one if grey else one**3


def response(method: Method, region: Region, photo: Photo) -> Response | None:
    """Return what a method makes of the noise in a region.

    None for a blur of less than half a pixel: `blur` follows somebody of six pixels down to that, and nobody is seen
    in so few (docs/anonymize.md); the other methods have a least size.
    """
    height, width = photo.pixels.shape[:2]
    x0, y0, x1, y1 = region.box
    spread = strength(method, region, width, height)
    if method.name in ("pixelate", "adaptive_pixelate"):
        repeats = width - x1 < spread or height - y1 < spread  # the image's last pixels fill the cell
        return Response(1 / spread**2, 1 / spread if repeats else 1 / spread**2, repeats, math.floor(spread) ** 2)
    if spread < 0.5:
        return None
    taps = np.arange(-math.ceil(4 * spread), math.ceil(4 * spread) + 1)
    weights = np.exp(-0.5 * (taps / spread) ** 2)
    weights /= weights.sum()
    peak, power = float(weights.max() ** 2), float((weights**2).sum())
    at_border = min(x0, y0, width - x1, height - y1) < 4 * spread
    if at_border:
        power = 2 * power - peak  # mirrored there
    return Response(peak, power**2, at_border)


def strength(method: Method, region: Region, width: int, height: int) -> float:
    """Return the least standard deviation of a method's blur, or side of its cells, in pixels; by its documentation."""
    p = method.parameters
    w, h = region.subject[2:]
    side = math.sqrt(w * h) if region.kind is RegionKind.FACE else 0.5 * min(w, h)
    if region.kind is RegionKind.FRAME:
        short = min(width, height)
        if method.name == "downsample":
            return p.factor / 2
        if (
            method.name in ("grey", "contrast", "learned") or method.codec
        ):  # whose shapes stay, or what a fit made of them
            return 0.0
        return (
            max(2.0, short / p.frame_cells)
            if method.name == "pixelate"
            else short / 288 * deviation((p.kernel - 1) / 2, p.sigma)
        )
    if method.name == "pixelate":
        cells = p.face_cells if region.kind is RegionKind.FACE else p.body_cells
        return max(2.0, max(region.subject[2:]) / cells)
    if method.name.startswith("adaptive"):
        r = p.alpha * max(math.log(max(1, 100 * int(region.mask.sum()) // (width * height))), 1)
        sides = (region.box[2] - region.box[0], region.box[3] - region.box[1])
        if method.name == "adaptive_pixelate":
            return max(2.0, p.share * side, *(n / max(1, n // max(2, min(int(4 * r), n // 2))) for n in sides))
        taps = [max(3, min(int(13 * r), n // 2)) for n in sides]
        return max(p.share * side, *(deviation((n - 1) // 2, min(p.sigma * r, n - 1 + n % 2)) for n in taps))
    assert method.name == "blur", "say here how strong it is"
    window = published_window(region, width, height)
    assert window.size is not None
    scale = (window.box[3] - window.box[1]) / window.size[1]
    return scale * deviation((p.kernel - 1) / 2, p.sigma)


def deviation(reach: float, sigma: float) -> float:
    """Return the standard deviation of a Gaussian that is cut off ``reach`` pixels from its centre."""
    taps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (taps / sigma) ** 2)
    return math.sqrt(float((weights * taps**2).sum() / weights.sum()))


def check(crowds: Crowds, annotations: Path, out: Path, variant: Variant, method: Method) -> dict[str, Any]:
    """Check a variant; raise BrokenPromise for the first thing that does not hold, return how many people changed."""
    ledger = Ledger(crowds, annotations, out, variant)
    everybody_has_a_row(ledger, method)
    if variant.region is RegionKind.FACE:
        faces_are_covered(ledger)
    if variant.region is RegionKind.FRAME:
        every_frame_has_a_row(ledger, out, method)
    pixels_are_kept_and_lost(ledger, out, method)
    return {"people": len(ledger.rows), "changed": sum(row["box"] is not None for row in ledger.rows)}
