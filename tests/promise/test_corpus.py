"""A corpus of crafted files and annotations, each with its end: one sentence, or a variant that keeps its promises.

The promises: the person is changed where the labels say, nothing else is, nothing of what the file hid is in what may
be handed out, and the source is as it was. `crafted` makes the files.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from anonbench import cli, manifests
from anonbench.files import sha256_file, write_json

from . import crafted
from .crafted import BOX, HANDLED, HEIGHT, OTHER_FORMATS, PLAIN, REFUSED, SECRET, WIDTH, File

pytestmark = pytest.mark.filterwarnings("ignore")
VARIANT = "body-mask_out"
GREY = 128
"""What `mask_out` leaves."""
NAN = float("nan")
X, Y, W, H = BOX
OUTLINE = [X, Y, X + W, Y, X + W, Y + H, X, Y + H]


@dataclass
class Bench:
    """A data set and the commands on it, each in this process as if from the command line."""

    folder: Path
    coco: dict[str, Any] = field(default_factory=dict)
    known: dict[Path, tuple[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "coco" / "train").mkdir(parents=True)
        (self.folder / "coco" / "annotations").mkdir()
        self.coco = {
            "info": {"photographer": SECRET.decode()},
            "licenses": [{"id": 1, "name": SECRET.decode(), "url": f"http://example.org/{SECRET.decode()}"}],
            "images": [], "annotations": [],
            "categories": [{"id": 1, "name": "person", "supercategory": "person"}, {"id": 2, "name": "car"}],
        }  # fmt: skip
        record = {"dataset": "coco", "adapter": "coco", "options": {}, "root": str(self.folder / "coco"), "splits": {}}
        write_json(self.folder / "data" / "download.json", record)

    def add(self, data: bytes, suffix: str = "jpg", size: tuple[int, int] = (WIDTH, HEIGHT), **more: Any) -> int:
        """Add an image; return its id."""
        number = len(self.coco["images"]) + 1
        name = f"{number:04d}.{suffix}"
        (self.folder / "coco" / "train" / name).write_bytes(data)
        self.coco["images"].append(
            {
                "id": number,
                "file_name": name,
                "width": size[0],
                "height": size[1],
                "flickr_url": SECRET.decode(),
                **more,
            }
        )
        return number

    def label(self, image: int, **more: Any) -> int:
        """Add a person to an image; return their id."""
        number = len(self.coco["annotations"]) + 1
        person = {"id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "bbox": list(BOX), "area": W * H,
                  "segmentation": [OUTLINE], "name": SECRET.decode()}  # fmt: skip
        self.coco["annotations"].append({**person, **more})
        return number

    def save(self) -> None:
        """Write the annotations, and remember what is there."""
        path = self.folder / "coco" / "annotations" / "instances_train.json"
        path.write_text(json.dumps(self.coco))
        self.known = self.state()

    def state(self) -> dict[Path, tuple[str, int]]:
        """Return hash and time of every file of the source."""
        paths = (self.folder / "coco").rglob("*")
        return {path: (sha256_file(path), path.stat().st_mtime_ns) for path in paths if path.is_file()}

    def run(self, command: str, *more: str) -> tuple[int, str]:
        """Return a command's status and its error."""
        place = str(self.folder)
        data, annotations = ["--data", f"{place}/data"], ["--annotations", f"{place}/annotations"]
        split, variant = ["--split", "train"], ["--variant", VARIANT, "--out", f"{place}/v/{VARIANT}"]
        words = {
            "annotate": [*data, *split, "--out", f"{place}/annotations"],
            "regions": [*annotations, *split],
            "anonymize": [*data, *annotations, *split, *variant],
            "merge": [*annotations, *split, *variant, "--verify"],
            "export": [f"{place}/v/{VARIANT}", "--out", f"{place}/handed-out"],
        }[command]
        said = io.StringIO()
        before, sys.argv = sys.argv, ["anonbench", command, *words, *more]
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                cli.main()
        except SystemExit as stop:
            return int(stop.code or 0), said.getvalue().rpartition("\r")[2].rpartition("error: ")[2]
        finally:
            sys.argv = before
        raise AssertionError("the command line always exits")

    def whole(self, *first: str) -> None:
        """Run all commands."""
        self.save()
        for command in ("annotate", "regions", "anonymize", "merge", "export"):
            status, said = self.run(command, *(first if command == "annotate" else ()))
            assert status == 0, f"{command}: {said}"

    def refused(self, command: str, *before: str) -> str:
        """Run commands that end well and one that must not; return its sentence."""
        for one in before:
            status, said = self.run(one)
            assert status == 0, said
        status, said = self.run(command)
        assert status == 2, said
        assert said.count("\n") == 1
        assert "Traceback" not in said
        return said.strip()

    def people(self) -> dict[int, dict[str, Any]]:
        """Return the manifest's rows of people by id."""
        rows = manifests.rows_of(self.folder / "v" / VARIANT, "train")
        return {row["person_id"]: row for row in rows if row["type"] == "person"}

    def image(self, number: int) -> Path:
        """Return an image's place in the export."""
        return self.folder / "handed-out" / "train" / self.coco["images"][number - 1]["file_name"]


def shown(data: bytes, upright: bool = True) -> np.ndarray:
    """Return what anybody sees of a file, transparent pixels on black, int16 HxWx3 RGB."""
    image = Image.open(io.BytesIO(data))
    image = ImageOps.exif_transpose(image) if upright else image
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    return np.asarray(image.convert("RGB")).astype(np.int16)


def readings(data: bytes) -> Iterator[bytes]:
    """Yield a file's bytes, those of its pixels, and what its compressed chunks hold."""
    yield data
    if data.startswith(crafted.PNG):
        parts = list(crafted.chunks(data))
        yield b"".join(body for _, body in parts)
        inflater = zlib.decompressobj()
        yield inflater.decompress(b"".join(body for kind, body in parts if kind == b"IDAT"))
        yield inflater.unused_data
        yield Image.open(io.BytesIO(data)).tobytes()


def leaks(data: bytes) -> bool:
    """Tell whether anything of the secret is in a file."""
    words = [SECRET[:8], SECRET[10:], b"Jane", b"Elm"]
    words += [word.decode().encode(code) for word in words[:2] for code in ("utf-16-le", "utf-16-be")]
    return any(word in text for text in readings(data) for word in (*words, SECRET.hex().encode()))


# Files that are handled


@dataclass
class Handled:
    """The data set of all files that are handled: ids of the image with somebody in it, and of the one without."""

    bench: Bench
    with_person: dict[str, int]
    without: dict[str, int]


@pytest.fixture(scope="module")
def handled(tmp_path_factory: pytest.TempPathFactory) -> Handled:
    bench = Bench(tmp_path_factory.mktemp("handled"))
    found = Handled(bench, {}, {})
    for name, file in HANDLED.items():
        found.with_person[name] = bench.add(file.data, file.suffix, file.size, labels_on=file.labels_on)
        bench.label(found.with_person[name])
        found.without[name] = bench.add(file.data, file.suffix, file.size, labels_on=file.labels_on)
    bench.whole()
    return found


@pytest.mark.parametrize("name", HANDLED)
def test_the_person_is_changed_and_nothing_else(handled: Handled, name: str) -> None:
    file, number = HANDLED[name], handled.with_person[name]
    row = next(row for row in handled.bench.people().values() if row["image_id"] == number)
    assert (row["status"], row["pixels"]) == ("anonymized", W * H)
    data = handled.bench.image(number).read_bytes()
    assert not leaks(data)
    after = shown(data)
    inside = after[Y : Y + H, X : X + W]
    assert np.abs(inside[2:-2, 2:-2] - GREY).max() <= 2
    before = shown(file.like or file.data, file.labels_on == "upright")
    assert after.shape == before.shape
    if file.background:
        away = np.ones(after.shape[:2], bool)
        away[Y - 2 : Y + H + 2, X - 2 : X + W + 2] = False
        exact = data.startswith(crafted.PNG)
        assert np.abs(after - before)[away].max() <= (0 if exact else 10)


@pytest.mark.parametrize("name", HANDLED)
def test_nobody_is_in_it_and_it_looks_the_same(handled: Handled, name: str) -> None:
    file = HANDLED[name]
    data = handled.bench.image(handled.without[name]).read_bytes()
    assert not leaks(data)
    after, before = shown(data), shown(file.like or file.data, file.labels_on == "upright")
    assert after.shape == before.shape
    if file.background:
        assert (after == before).all()


def test_the_sources_are_as_they_were(handled: Handled) -> None:
    assert handled.bench.state() == handled.bench.known
    assert len(handled.bench.known) == len(handled.with_person) + len(handled.without) + 1


def test_nothing_else_that_is_handed_out_tells_anything(handled: Handled) -> None:
    """Neither the variant's folder nor the export, in names or contents."""
    hashes = {sha256_file(path) for path in (handled.bench.folder / "coco" / "train").iterdir()}
    for place in ("v/" + VARIANT, "handed-out"):
        for path in (handled.bench.folder / place).rglob("*"):
            if path.is_file() and path.suffix not in (".jpg", ".png"):
                text = path.read_bytes()
                assert not leaks(text), path
                assert str(handled.bench.folder).encode() not in text
                named = set(re.findall(r"[0-9a-f]{64}", text.decode()))
                kept = {sha256_file(image) for image in (handled.bench.folder / place / "train").glob("*")}
                assert named & hashes <= kept  # only files that had nothing to lose


# Files that are refused


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, dict[str, int], str]:
    bench = Bench(tmp_path_factory.mktemp("refused"))
    bench.label(bench.add(PLAIN))
    numbers = {}
    for name, (data, _) in REFUSED.items():
        numbers[name] = bench.add(data)
        bench.label(numbers[name])
    bench.save()
    return bench, numbers, bench.refused("annotate")


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_refused(refused: tuple[Bench, dict[str, int], str], name: str) -> None:
    bench, numbers, _ = refused
    with open(bench.folder / "annotations" / "train.bad_images.csv", newline="") as stream:
        reasons = {int(row["image_id"]): row["reason"] for row in csv.DictReader(stream)}
    assert re.search(REFUSED[name][1], reasons.get(numbers[name], "nothing was said")), reasons.get(numbers[name])
    assert "\n" not in reasons[numbers[name]]


def test_all_are_named_at_once(refused: tuple[Bench, dict[str, int], str]) -> None:
    said = refused[2]
    number = len(REFUSED)
    assert f"instances_train.json: {number} of {number + 1} images cannot be used: image 2 (0002.jpg) is empty" in said
    assert f"and {number - 20} more; mend the files" in said


def test_skipped_they_are_in_no_variant(refused: tuple[Bench, dict[str, int], str], tmp_path: Path) -> None:
    bench, _, _ = refused
    bench.whole("--on-bad-image", "skip")
    assert [path.name for path in (bench.folder / "handed-out" / "train").iterdir()] == ["0001.jpg"]
    ledger = (bench.folder / "annotations" / "train.ledger.csv").read_text()
    assert ledger.count(",body,bad_image,") == len(REFUSED)
    assert bench.state() == bench.known


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_a_format_that_is_not_written(name: str, tmp_path: Path) -> None:
    data, format = OTHER_FORMATS[name]
    bench = Bench(tmp_path)
    bench.label(bench.add(data))
    bench.save()
    said = bench.refused("annotate")
    assert "0001.jpg" in said
    assert f"is a {format} image, and only JPEG and PNG are written" in said


# Annotations


def rle(counts: Any, size: tuple[int, int] = (HEIGHT, WIDTH)) -> dict[str, Any]:
    return {"size": list(size), "counts": counts}


FULL = rle([0, WIDTH * HEIGHT])
WHOLE = (0, 0, WIDTH, HEIGHT)
FAR = [value for i in range(400) for value in ((9e5, -9e5) if i % 2 else (-9e5, 9e5))]
PLACES: dict[str, tuple[dict[str, Any], tuple[int, int, int, int]]] = {
    "polygon": ({}, BOX),
    "no segmentation": ({"segmentation": None}, BOX),
    "an empty list": ({"segmentation": []}, BOX),
    "an empty polygon": ({"segmentation": [[]]}, BOX),
    "a polygon of two points": ({"segmentation": [[1, 2, 3, 4]]}, BOX),
    "a polygon of an odd number": ({"segmentation": [[*OUTLINE, 1]]}, BOX),
    "one polygon of two broken": ({"segmentation": [[60, 8, 62, 8, 62, 10], [1]]}, BOX),
    "a polygon with NaN": ({"segmentation": [[NAN, *OUTLINE[1:]]]}, BOX),
    "a polygon with null": ({"segmentation": [[None, *OUTLINE[1:]]]}, BOX),
    "a polygon of texts": ({"segmentation": [["16"] * 8]}, BOX),
    "a polygon without an area": ({"segmentation": [[20, 20, 20, 20, 20, 20]]}, BOX),
    "a polygon outside": ({"segmentation": [[500, 500, 600, 500, 600, 600]]}, BOX),
    "a polygon through all of space": ({"segmentation": [FAR]}, BOX),
    "a polygon in shares of the image": ({"segmentation": [[0.2, 0.2, 0.9, 0.2, 0.9, 0.9]]}, BOX),
    "a polygon beside the box": ({"segmentation": [[64, 8, 80, 8, 80, 24, 64, 24]]}, BOX),
    "a box beside the polygon": ({"bbox": [70, 40, 1, 1]}, BOX),
    "a box without end": ({"bbox": [-1e9, -1e9, 2e9, 2e9]}, BOX),
    "a box without end, no mask": ({"bbox": [-1e9, -1e9, 2e9, 2e9], "segmentation": None}, WHOLE),
    "a box with NaN": ({"bbox": [NAN, 1, 2, 3]}, BOX),
    "a box of texts": ({"bbox": ["a"] * 4}, BOX),
    "a box of three": ({"bbox": [1, 2, 3]}, BOX),
    "a box of no size": ({"bbox": [16, 16, 0, 0]}, BOX),
    "a negative box": ({"bbox": [48, 48, -32, -32]}, BOX),
    "a box that leaves the image": ({"bbox": [-50, -50, 98, 98], "segmentation": None}, (0, 0, 48, 48)),
    "RLE": ({"segmentation": rle([X * HEIGHT + Y, *[H, HEIGHT - H] * (W - 1), H, HEIGHT * (WIDTH - X - W) + 16])}, BOX),
    "RLE of everything": ({"segmentation": FULL, "bbox": list(WHOLE)}, WHOLE),
    "RLE of another size": ({"segmentation": rle([0, WIDTH * HEIGHT], (WIDTH, HEIGHT))}, BOX),
    "RLE too short": ({"segmentation": rle([5, 5])}, BOX),
    "RLE too long": ({"segmentation": rle([0, 10**9])}, BOX),
    "RLE of nothing": ({"segmentation": rle([WIDTH * HEIGHT])}, BOX),
    "RLE with a negative run": ({"segmentation": rle([-1, WIDTH * HEIGHT + 1])}, BOX),
    "RLE of text that is none": ({"segmentation": rle("~~~~")}, BOX),
    "RLE of an empty text": ({"segmentation": rle("")}, BOX),
    "RLE without counts": ({"segmentation": {"size": [HEIGHT, WIDTH]}}, BOX),
    "RLE whose text never ends": ({"segmentation": rle("o" * 5000)}, BOX),
    "crowd": ({"iscrowd": 1}, BOX),
    "crowd without a mask": ({"iscrowd": 1, "segmentation": None}, BOX),
    "crowd of NaN": ({"iscrowd": NAN}, BOX),
    "ignored": ({"ignore": 1, "iscrowd": 1}, BOX),
    "void, but a person": ({"void": 1}, BOX),
    "void and a crowd": ({"void": True, "iscrowd": 1}, BOX),
    "void by a text": ({"void": "x", "ignore": "x", "iscrowd": 1}, BOX),
    "area 0": ({"area": 0}, BOX),
    "area of -5": ({"area": -5}, BOX),
    "area of NaN": ({"area": NAN}, BOX),
    "keypoints of another number": ({"keypoints": [1] * 20}, BOX),
    "keypoints far away": ({"keypoints": [1e30, 1e30, 2] * 17}, BOX),
    "a face without end": ({"face": {"bbox": [-1e9, -1e9, 2e9, 2e9]}}, BOX),
    "an id of 0": ({"id": 0}, BOX),
    "an id of 2^63-1": ({"id": 2**63 - 1}, BOX),
    "secrets in every unknown key": (
        {"caption": SECRET.decode(), "gps": [SECRET.decode()], "identity": SECRET.decode()},
        BOX,
    ),
    "secrets in known keys": (
        {"head": SECRET.decode(), "subsets": {"a": SECRET.decode()}, "mask_source": SECRET.decode()},
        BOX,
    ),
}
"""What an annotation says, and where the person is changed at least."""


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, dict[str, tuple[int, int]]]:
    bench = Bench(tmp_path_factory.mktemp("annotated"))
    numbers = {}
    for name, (change, _) in PLACES.items():
        image = bench.add(crafted.png(crafted.RGB, 8, 2), "png")
        number = bench.label(image, **change)
        numbers[name] = (image, change.get("id", number))
    bench.whole()
    return bench, numbers


@pytest.mark.parametrize("name", PLACES)
def test_an_annotation_that_is_handled(annotated: tuple[Bench, dict[str, tuple[int, int]]], name: str) -> None:
    bench, numbers = annotated
    image, person = numbers[name]
    row = bench.people()[person]
    assert row["status"] == "anonymized"
    x, y, w, h = PLACES[name][1]
    after, before = shown(bench.image(image).read_bytes()), crafted.RGB
    assert (after[y : y + h, x : x + w] == GREY).all()
    assert (after == GREY).all(axis=2).sum() == row["pixels"]
    x0, y0, x1, y1 = row["box"]
    away = np.ones((HEIGHT, WIDTH), bool)
    away[y0:y1, x0:x1] = False
    assert (after == before)[away].all()


def test_labels_tell_nothing(annotated: tuple[Bench, dict[str, tuple[int, int]]]) -> None:
    bench, _ = annotated
    for path in ("handed-out/annotations/instances_train.json", f"v/{VARIANT}/annotations/train.json"):
        text = (bench.folder / path).read_bytes()
        assert not leaks(text)
        assert len(json.loads(text)["annotations"]) == len(PLACES)
    assert bench.state() == bench.known


METHODS = ("blur-medium", "pixelate-medium", "adaptive_blur-medium", "adaptive_pixelate-medium", "mask_out")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["face", "body"])
@pytest.mark.parametrize("size", [1e4, 1e9, 1e100])
def test_boxes_without_end_cost_no_memory_without_end(method: str, kind: str, size: float, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    endless = [-size, -size, 2 * size, 2 * size]
    image = bench.add(crafted.png(crafted.RGB, 8, 2), "png")
    bench.label(image, bbox=endless, segmentation=None, face={"bbox": endless})
    bench.save()
    more = ("--variant", f"{kind}-{method}")
    for command in ("annotate", "regions", "anonymize"):
        assert bench.run(command, *(more if command == "anonymize" else ())) == (0, "")
    after = shown((tmp_path / "v" / VARIANT / "train" / "0001.png").read_bytes())
    assert (after != crafted.RGB).any(axis=2).mean() > 0.95


def test_masks_grown_without_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.label(bench.add(PLAIN), bbox=[-1e9, -1e9, 2e9, 2e9])
    bench.save()
    assert bench.run("annotate") == (0, "")
    assert bench.run("regions", "--regions", '{"body": {"dilate": 0.5}}') == (0, "")


Change = Callable[[dict[str, Any]], object]
SENTENCES: dict[str, tuple[Change, str]] = {
    "an id twice": (
        lambda c: c["annotations"].append(c["annotations"][0]),
        "annotation 1: duplicate annotation id 1",
    ),
    "an image twice": (lambda c: c["images"].append(c["images"][0]), "image 1: duplicate image id 1"),
    "a file twice": (
        lambda c: c["images"].append({**c["images"][0], "id": 2, "file_name": ".//0001.jpg"}),
        "image 2: has the file name of 0001.jpg of image 1",
    ),
    "a negative id": (lambda c: c["annotations"][0].update(id=-1), "annotation -1: has a negative id"),
    "an id of text": (lambda c: c["annotations"][0].update(id="1"), "annotation number 0: has no integer id"),
    "another image": (lambda c: c["annotations"][0].update(image_id=9), "annotation 1: belongs to image 9"),
    "another category": (
        lambda c: c["annotations"][0].update(category_id=9),
        "annotation 1: has the unknown category 9",
    ),
    "nobody": (lambda c: c["annotations"][0].update(category_id=2), "has no person in 1 images"),
    **{
        f"category {name}": (lambda c, n=name: c["categories"][1].update(name=n), "look.? like people")
        for name in (
            "Person",
            "PERSONS",
            "pedestrian",
            "Rider",
            "child",
            "police-officer",
            "peoplegroup",
            "ｐｅｒｓｏｎ",
            "Fußgänger",
            "행인 사람",
            "person?",
            "trafficPedestrian",
            "face",
        )
    },
    "supercategory Human": (lambda c: c["categories"][1].update(supercategory="Human"), "looks like people"),
    "a supercategory that is a list": (
        lambda c: c["categories"][1].update(supercategory=["person"]),
        "category 2: has the supercategory",
    ),
    "a category of no name": (lambda c: c["categories"][1].pop("name"), "category 2: has the name None"),
    "a category with a hidden letter": (
        lambda c: c["categories"][1].update(name="per\u200bson"),
        "category 2: has the name",
    ),
    "width 0": (lambda c: c["images"][0].update(width=0), "has the width 0"),
    "width of NaN": (lambda c: c["images"][0].update(width=NAN), "has the width nan"),
    "sides in the other order": (
        lambda c: c["images"][0].update(width=HEIGHT, height=WIDTH),
        "is 96x64 pixels, but annotated as 64x96",
    ),
    "another frame": (lambda c: c["images"][0].update(labels_on="left"), "labels_on 'left', which is none of"),
    "a name outside": (
        lambda c: c["images"][0].update(file_name="../annotations/instances_train.json"),
        "not a path inside",
    ),
    "an absolute name": (lambda c: c["images"][0].update(file_name="/etc/passwd"), "not a path inside"),
    "a name with NUL": (lambda c: c["images"][0].update(file_name="0001.jpg\0.png"), "control character"),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_an_annotation_that_is_refused(name: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.label(bench.add(PLAIN))
    SENTENCES[name][0](bench.coco)
    bench.save()
    said = bench.refused("annotate")
    assert "instances_train.json" in said
    assert re.search(SENTENCES[name][1], said), said
    assert ";" in said  # the remedy
    assert bench.state() == bench.known


@pytest.mark.parametrize("name", ["walker", "child"])
def test_an_option_that_drops_people(name: str, tmp_path: Path) -> None:
    """They would stay visible without a row."""
    bench = Bench(tmp_path)
    bench.label(bench.add(PLAIN))
    bench.coco["categories"].append({"id": 3, "name": name, "supercategory": "person" if name == "walker" else "x"})
    bench.save()
    path = tmp_path / "data" / "download.json"
    write_json(path, json.loads(path.read_text()) | {"options": {"categories": ["person", "car"]}})
    assert f"leave out {name}, who may be people" in bench.refused("annotate")


def test_annotations_are_not_written_among_the_sources(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.label(bench.add(PLAIN))
    mine = tmp_path / "coco" / "annotations" / "train.json"
    mine.write_text("mine")
    bench.save()
    status, said = bench.run("annotate", "--out", str(mine.parent))
    assert status == 2
    assert "contains the data set's own annotations; choose another folder" in said
    assert bench.state() == bench.known


def test_a_corpus_of_at_least_eighty_kinds() -> None:
    kinds = len(HANDLED) + len(REFUSED) + len(OTHER_FORMATS)
    assert kinds >= 80
    assert len(PLACES) + len(SENTENCES) >= 80
    assert all(isinstance(file, File) for file in HANDLED.values())
