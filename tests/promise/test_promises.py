"""Nobody visible lacks a row, and no pixel under a mask survives: every registered method, thousands of random people.

`pytest tests/promise --people 100000 --timeout 0` takes more of them. A failure names the seed of its crowds;
`--first-seed` with that seed and `--people 1000` runs them alone.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anonbench import images, manifests, registry
from anonbench.annotate.choose import choose
from anonbench.annotate.image_files import Gate
from anonbench.annotate.options import LabelsOn, RegionsConfig
from anonbench.annotate.people import convert
from anonbench.anonymize import engine, strength
from anonbench.anonymize.contract import make
from anonbench.anonymize.merge import merge
from anonbench.anonymize.methods import adaptive_blur, adaptive_pixelate
from anonbench.anonymize.methods.blur import Blur
from anonbench.anonymize.methods.gan import Gan
from anonbench.anonymize.methods.mask_out import MaskOut
from anonbench.anonymize.methods.pixelate import Pixelate
from anonbench.anonymize.shard import Shard
from anonbench.crops import Crop, Work
from anonbench.datasets.coco import Coco
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file
from anonbench.images import png
from anonbench.records import OF_PEOPLE, Region, RegionKind
from anonbench.variants import Variant

from ..anonymize import learned_tiny
from ..anonymize.gan_tiny import write_weights
from ..codec import tiny as codec_tiny
from . import crowds, promises
from .promises import BrokenPromise

# pycocotools and NumPy 2 disagree about the keyword of a copy
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

LOT = 1000
"""People in one data set."""
FEW = 400
"""People in the data set of the tests that look at one thing."""
KINDS = list(OF_PEOPLE)
Paste = Callable[[np.ndarray, Crop, np.ndarray], None]


def methods() -> list[str]:
    """Return the registered methods for people that can run here as they are, or with weights made here."""
    found = []
    for name in registry.names("methods"):
        plugin = registry.load("methods", name)
        if (
            plugin.available() is None
            and plugin.kinds >= set(OF_PEOPLE)
            and (plugin.FitSettings is None or name == "gan")
        ):
            found.append(name)
    return found


def annotated(data: Path, annotations: Path) -> None:
    """Run the annotate stage over crowds."""
    convert(Coco({}).read(data / "raw", crowds.SPLIT), data / "raw", annotations, crowds.SPLIT, Gate(LabelsOn.UPRIGHT))
    choose(annotations, crowds.SPLIT, RegionsConfig())


def variant(kind: RegionKind, name: str, turn: int) -> Variant:
    """Return a variant of a method, its levels in turn."""
    levels = list(registry.load("methods", name).levels)
    return Variant(kind, name, levels[turn % len(levels)] if levels else None)


class Lot:
    """Crowds, their annotations, and the variants of them."""

    def __init__(self, folder: Path, people: int, seed: int, weights: dict[str, Path]) -> None:
        self.folder, self.annotations, self.weights = folder, folder / "annotations", weights
        self.crowds = crowds.make(folder / "data", people, seed)
        annotated(self.crowds.folder, self.annotations)

    def run(self, one: Variant, out: Path, *, shards: int = 1, threads: int = 1, strict: bool = False) -> Path:
        """Write a variant."""
        plugin = registry.load("methods", one.method)
        fitted = plugin.FitSettings is not None
        for number in range(shards):
            Shard(
                self.crowds.folder,
                self.annotations,
                out,
                crowds.SPLIT,
                one,
                shard=number,
                shards=shards,
                threads=threads,
                weights=self.weights["codec" if plugin.codec else one.region] if fitted else None,
                device="cpu",
            ).run()
        merge(self.annotations, crowds.SPLIT, one, shards, out, strict=strict)
        return out

    def check(self, one: Variant, out: Path) -> dict[str, Any]:
        """Write a variant and hold it to its promises."""
        return promises.check(self.crowds, self.annotations, self.run(one, out), one, make(one))


@pytest.fixture(scope="module", name="weights")
def _weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights of a tiny generator, and of a tiny anonymizer and a tiny codec of frames."""
    folder = tmp_path_factory.mktemp("weights")
    found = {kind: write_weights(folder / f"{kind}.safetensors", kind) for kind in KINDS}
    frame = learned_tiny.write_weights(folder / "frame.safetensors")
    return {**found, RegionKind.FRAME: frame, "codec": codec_tiny.write(folder / "codec.safetensors")}


@pytest.fixture(scope="module", name="lot")
def _lot(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Path]) -> Lot:
    return Lot(tmp_path_factory.mktemp("lot"), FEW, 1, weights)


def test_every_method_keeps_its_promises(
    people: int, first_seed: int, tmp_path: Path, weights: dict[str, Path]
) -> None:
    seen: Counter[str] = Counter()
    for number in range(-(-people // LOT)):
        folder = tmp_path / str(number)
        lot = Lot(folder, min(LOT, people - number * LOT), first_seed + number, weights)
        for index, name in enumerate(methods()):
            one = variant(KINDS[(number + index) % 2], name, number // 2 + index)
            counts = lot.check(one, folder / name)
            seen[name] += counts["people"]
            seen[f"{one}, changed"] += counts["changed"]
        shutil.rmtree(folder)
    print("\n" + "\n".join(f"{key}: {seen[key]}" for key in sorted(seen)))
    assert {seen[name] for name in methods()} == {people}


FRAMED = [
    f"frame-{name}{level}"
    for name in registry.names("methods")
    if RegionKind.FRAME in registry.load("methods", name).kinds
    for level in ([f"-{one}" for one in registry.load("methods", name).levels] or [""])
    # of a codec's qualities one will do
    if not registry.load("methods", name).codec or level == "" or level.endswith("q20")
]


@pytest.mark.parametrize("text", FRAMED)
def test_every_frame_is_changed_with_everybody_in_it(lot: Lot, text: str, tmp_path: Path) -> None:
    one = Variant.parse(text)
    assert lot.check(one, lot.run(one, tmp_path, strict=True)) == {"people": FEW, "changed": FEW}


@pytest.mark.parametrize("name", methods())
def test_order_shards_and_threads_change_no_byte(lot: Lot, name: str, tmp_path: Path) -> None:
    one = variant(RegionKind.BODY, name, 0)
    plain = lot.run(one, tmp_path / "plain")
    shuffled = Lot.__new__(Lot)
    shuffled.folder, shuffled.weights, shuffled.crowds = tmp_path, lot.weights, lot.crowds
    shuffled.annotations = tmp_path / "annotations"
    crowds.save(lot.crowds, np.random.default_rng(5))
    try:
        annotated(lot.crowds.folder, shuffled.annotations)
    finally:
        crowds.save(lot.crowds)
    other = shuffled.run(one, tmp_path / "other", shards=3, threads=2)
    hashes = [
        {path: sha256_file(out / crowds.SPLIT / path) for path in manifests.files_under(out / crowds.SPLIT)}
        for out in (plain, other)
    ]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == len(lot.crowds.photos)
    people = [
        sorted(
            (row for row in manifests.rows_of(out, crowds.SPLIT) if row["type"] == "person"),
            key=lambda row: row["person_id"],
        )
        for out in (plain, other)
    ]
    assert people[0] == people[1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1, 20), (20, 1), (1, 1)])
def test_images_one_pixel_wide_are_worked_on_in_every_orientation(size: tuple[int, int], orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stored = crowds.stored(pixels, orientation)
    data = crowds.png(stored, np.ones(stored.shape[:2], bool), "rgb png", orientation)
    decoded = images.decode(data, size=size)
    assert (decoded.pixels == pixels).all()
    one = Region(1, RegionKind.BODY, "box", (0, 0, *size), np.ones(size[::-1], bool), (0.0, 0.0, *size))
    engine.anonymize([Work(1, decoded.pixels, [one])], make(Variant.parse("body-mask_out")), 0)
    assert (decoded.pixels == 128).all()


@pytest.mark.parametrize("kind", KINDS)
def test_strict_fails_while_somebody_is_visible(lot: Lot, kind: RegionKind, tmp_path: Path) -> None:
    one = Variant(kind, "mask_out", None)
    rows = [row for row in manifests.rows_of(lot.run(one, tmp_path), crowds.SPLIT) if row["type"] == "person"]
    visible = sum(row["box"] is None for row in rows)
    assert 0 < visible < FEW
    with pytest.raises(AnonbenchError, match=f"strict: {visible} of {FEW} people are left visible"):
        lot.run(one, tmp_path, strict=True)


def test_strict_passes_when_nobody_is(weights: dict[str, Path], tmp_path: Path) -> None:
    lot = Lot(tmp_path, FEW, 2, weights)
    for image_id, group in lot.crowds.people.items():
        lot.crowds.people[image_id] = [one for one in group if one.mask is not None]
    crowds.save(lot.crowds)
    annotated(lot.crowds.folder, lot.annotations)
    one = Variant.parse("body-blur-low")
    assert lot.check(one, lot.run(one, tmp_path / "out", strict=True))["changed"] == len(lot.crowds.everybody())


# What must be caught: each of these breaks a promise on purpose.


def spotted(paste: Paste, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave one in a hundred of the pixels under each mask as they were."""

    def some(pixels: np.ndarray, crop: Crop, result: np.ndarray) -> None:
        x0, y0, x1, y1 = crop.region.box
        before = pixels[y0:y1, x0:x1].copy()
        paste(pixels, crop, result)
        kept = (np.random.default_rng(0).random(crop.region.mask.shape) < 0.01) & crop.region.mask
        pixels[y0:y1, x0:x1][kept] = before[kept]

    monkeypatch.setattr(engine, "_paste", some)


def shifted(paste: Paste, monkeypatch: pytest.MonkeyPatch) -> None:
    """Move each mask by a pixel within its box, as a rounding error would."""

    def beside(pixels: np.ndarray, crop: Crop, result: np.ndarray) -> None:
        mask = np.zeros_like(crop.region.mask)
        mask[:, 1:] = crop.region.mask[:, :-1]
        paste(pixels, replace(crop, region=replace(crop.region, mask=mask)), result)

    monkeypatch.setattr(engine, "_paste", beside)


def edged(paste: Paste, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the last row of each person."""

    def above(pixels: np.ndarray, crop: Crop, result: np.ndarray) -> None:
        mask = crop.region.mask.copy()
        mask[-1] = False
        paste(pixels, replace(crop, region=replace(crop.region, mask=mask)), result)

    monkeypatch.setattr(engine, "_paste", above)


def boxed(paste: Paste, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paste the whole box instead of the mask."""

    def whole(pixels: np.ndarray, crop: Crop, result: np.ndarray) -> None:
        mask = np.ones_like(crop.region.mask)
        paste(pixels, replace(crop, region=replace(crop.region, mask=mask)), result)

    monkeypatch.setattr(engine, "_paste", whole)


def forgotten(paste: Paste, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave one person of the whole data set as they were, the largest of an image; the manifest says otherwise."""
    seen: list[int] = []

    def all_but_one(pixels: np.ndarray, crop: Crop, result: np.ndarray) -> None:
        last = max(crop.people, key=lambda one: (one.mask.sum(), one.person_id))
        if crop.region is last and last.mask.sum() > 300:
            seen.append(crop.region.person_id)
        if len(seen) != 1 or crop.region.person_id != seen[0]:
            paste(pixels, crop, result)

    monkeypatch.setattr(engine, "_paste", all_but_one)


def unlisted(paste: Paste, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave one person out of the manifest."""
    real = Shard._region_rows

    def fewer(*args: Any) -> list[manifests.Row]:
        rows = real(*args)
        return rows[1:] if len(rows) > 10 else rows

    monkeypatch.setattr(Shard, "_region_rows", fewer)


def weakened(paste: Paste, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blur and pixelate by a third of what was asked for, and paint another grey."""
    blur, cell, least = Blur._scale, Pixelate._cell, MaskOut.change
    monkeypatch.setattr(Blur, "_scale", lambda *args: blur(*args) / 3)
    monkeypatch.setattr(Pixelate, "_cell", lambda *args: max(1.0, cell(*args) / 3))
    face, scale = strength.face_of, adaptive_blur.scale_of
    for module in (adaptive_blur, adaptive_pixelate):
        monkeypatch.setattr(module, "face_of", lambda one: face(one) / 3)
        monkeypatch.setattr(module, "scale_of", lambda *args: scale(*args) / 3)
    monkeypatch.setattr(MaskOut, "change", lambda *args: least(*args) + np.uint8(1))


MUTANTS = [spotted, shifted, edged, boxed, forgotten, unlisted, weakened]


@pytest.mark.parametrize(
    "name", ["mask_out", "blur-medium", "pixelate-medium", "adaptive_blur-low", "adaptive_pixelate-low"]
)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_what_breaks_a_promise_is_caught(
    lot: Lot, name: str, mutant: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Variant.parse(f"body-{name}")
    mutant(engine._paste, monkeypatch)
    with pytest.raises(BrokenPromise, match="seed 1"):
        lot.check(one, tmp_path)


def halved(paste: Paste, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the left half of every frame."""

    def right(pixels: np.ndarray, crop: Crop, result: np.ndarray) -> None:
        kept = pixels[:, : pixels.shape[1] // 2].copy()
        paste(pixels, crop, result)
        pixels[:, : pixels.shape[1] // 2] = kept

    monkeypatch.setattr(engine, "_paste", right)


@pytest.mark.parametrize("text", ["frame-blur-medium", "frame-pixelate-medium", "frame-downsample-4x"])
@pytest.mark.parametrize("mutant", [spotted, halved, unlisted])
def test_what_breaks_a_promise_of_frames_is_caught(
    lot: Lot, text: str, mutant: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(engine._paste, monkeypatch)
    with pytest.raises(BrokenPromise, match="seed 1"):
        lot.check(Variant.parse(text), tmp_path)


def test_a_generator_that_shows_the_person_is_caught(lot: Lot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Gan.change_batch

    def shows(self: Gan, crops: Sequence[Crop]) -> list[np.ndarray]:
        mixed = (
            0.95 * np.asarray(a, float) + 0.05 * crop.pixels for a, crop in zip(real(self, crops), crops, strict=True)
        )
        return list(mixed)

    monkeypatch.setattr(Gan, "change_batch", shows)
    with pytest.raises(BrokenPromise, match="follows the original"):
        lot.check(Variant.parse("body-gan"), tmp_path)


def test_transparency_that_shows_what_it_hid_is_caught(
    lot: Lot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "on_black", lambda colours, alpha: colours)
    with pytest.raises(BrokenPromise, match="what transparency hid is to be seen"):
        lot.check(Variant.parse("body-mask_out"), tmp_path)
