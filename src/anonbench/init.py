"""The command `anonbench init`: looks at a folder and writes a study of it that is ready to run."""

from __future__ import annotations

import os
import re
import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml

from anonbench import categories as naming
from anonbench.apply import folder as folders
from anonbench.apply.cli import OnUnusable, detector
from anonbench.apply.job import REMEDY, Job, look, unusable
from anonbench.apply.search import PERSON, Search, people
from anonbench.config import SPLIT, parse
from anonbench.datasets.record import adapter_of
from anonbench.detectors.config import DetectorConfig
from anonbench.errors import AnonbenchError, nearest
from anonbench.files import write_json, write_text
from anonbench.records import MAX_PIXELS, RegionKind, is_people, is_void
from anonbench.variants import Variant

SMALL = 2000
"""Training images up to which the study has a model that a processor trains."""
LARGEST = 1e9
"""Pixels beyond which a box tells nothing."""
SHARD = 2000
"""Images in a shard."""
SAMPLE = 5000
"""Annotations of a split that are looked at one by one."""
VAL_SHARE = 0.2
"""Of a folder's photographs, in the order of their names: neighbours show the same people."""
MARKS = {
    "leftImg8bit": "cityscapes", "WIDER_train": "widerface", "bounding_box_train": "market1501", "lfw": "lfw",
    "PNGImages": "pennfudan",
}  # fmt: skip
"""Folders that tell an official layout which has a study of its own."""
SIDE = 256
"""Shorter side in pixels at which the small model looks at images."""


@dataclass(slots=True)
class Seen:
    """What there is to know of a split."""

    name: str
    images: int
    people: Counter[str]
    missing: list[str]
    sizes: list[tuple[int, int]] = field(repr=False)
    boxes: np.ndarray = field(repr=False)
    masks: bool = False
    keypoints: bool = False
    faces: bool = False

    def told(self) -> str:
        """Return it in words."""
        width, height = (round(statistics.median(side)) for side in zip(*self.sizes, strict=True))
        who = ", ".join(f"{number} {name}" for name, number in sorted(self.people.items())) or "nobody"
        more = [
            what
            for what, there in (("masks", self.masks), ("keypoints", self.keypoints), ("faces", self.faces))
            if there
        ]
        labels = f" with {', '.join(more)}" if more else ""
        return f"{self.name}: {self.images} images (median {width}x{height}), people: {who}{labels}"


def init(
    folder: Annotated[Path, typer.Argument(help="A data set in COCO's layout, or a folder of photographs.")],
    out: Annotated[Path, typer.Option(help="Study to write, such as config/mine.yaml; it must not exist yet.")],
    name: Annotated[str | None, typer.Option(help="Name of the study; that of its file when left out.")] = None,
    train: Annotated[str | None, typer.Option(help="Split to train on, where its name does not tell.")] = None,
    val: Annotated[str | None, typer.Option(help="Split to test on, likewise.")] = None,
    people: Annotated[list[str] | None, typer.Option(help="Name of a category that is people.")] = None,
    not_people: Annotated[list[str] | None, typer.Option(help="Name of a category that is not.")] = None,
    face_detector: Annotated[
        str, typer.Option(help="Detector of faces: a name, or a detector with its options as JSON.")
    ] = "centerface",
    person_detector: Annotated[
        str | None, typer.Option(help="Detector of people, likewise, to label photographs that have no labels.")
    ] = None,
    on_unusable: Annotated[
        OnUnusable, typer.Option(help="What becomes of photographs that cannot be used, where there are no labels.")
    ] = OnUnusable.FAIL,
    threads: Annotated[int, typer.Option(min=1, help="Photographs that are looked at at a time.")] = 1,
) -> None:
    """Look at a folder and write a study of it: splits, who is people, sizes, detectors, a model that fits."""
    title = _named(name or out.stem)
    if out.exists():
        raise AnonbenchError("exists", file=out, remedy="give --out another name, or move it away")
    if not folder.is_dir():
        raise AnonbenchError("is not a folder", file=folder, remedy="give the folder of the data set")
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(folder)):
        raise AnonbenchError("lies in the data set, which is only read", file=out, remedy="give --out another folder")
    face = detector(face_detector, "--face-detector")
    declared = dict.fromkeys(people or (), True) | dict.fromkeys(not_people or (), False)
    notes: list[str] = []
    root, labels_on = folder, "auto"
    if not any((folder / "annotations").glob("*.json")):
        _refuse_known(folder)
        root, labels_on = Path("runs") / title / "labels", "upright"
        notes += _label(folder, root, person_detector, on_unusable, threads)
        train, val = "train", "val"
    names = _splits(root, train, val)
    both = [_look(root, split, declared) for split in names]
    study = _study(title, root, both, declared, labels_on, face)
    parse(study, file=out)
    write_text(out, _yaml(study, folder, out, both, notes))
    for line in (*(seen.told() for seen in both), *notes):
        typer.echo(line)
    for seen in both:
        if seen.missing:
            typer.echo(
                f"  warning: {len(seen.missing)} images of {seen.name} are not on disk, such as {seen.missing[0]}; the "
                "study skips them (on_bad_image)"
            )
    typer.echo(f"{out} is ready: snakemake -n --configfile {out} shows what it would do")


def _named(text: str) -> str:
    name = _plain_name(text)
    if name is None:
        raise AnonbenchError(f"'{text}' makes no name of a study", entry="--name", remedy="use letters and digits")
    return name


def _plain_name(text: str) -> str | None:
    """Return a name that a study may have, None where nothing is left of the text."""
    name = re.sub(r"[^a-z0-9_-]+", "-", text.casefold()).strip("-_")
    return name if name and name != "private" else None


def _refuse_known(folder: Path) -> None:
    for mark, dataset in MARKS.items():
        if (folder / mark).is_dir():
            raise AnonbenchError(
                f"looks like {dataset}, which has a study of its own",
                file=folder,
                remedy=f"run snakemake --configfile config/{dataset}.yaml --config root={folder}, or copy that file",
            )


def _splits(root: Path, train: str | None, val: str | None) -> tuple[str, str]:
    """Return the splits to train and test on: those that are asked for, or the one whose name says so."""
    files = sorted((root / "annotations").glob("*.json"))
    found = {
        match[2]: path for path in files if (match := re.fullmatch(r"(instances|person_keypoints)_(.+)", path.stem))
    }
    known = [split for split in found if (root / split).is_dir() and re.match(SPLIT, split)]
    if not known:
        raise AnonbenchError(
            "has no annotations/instances_<split>.json with a folder <split> of images beside annotations",
            file=root,
            remedy="arrange it in COCO's layout (docs/photographs.md)",
        )
    chosen = []
    for asked, option, words in ((train, "train", ("train",)), (val, "val", ("val", "valid", "test", "dev"))):
        if asked is not None and asked not in known:
            raise AnonbenchError(f"has no split '{asked}'{nearest(asked, known)}", file=root, entry=f"--{option}")
        starts = ([split for split in known if split.casefold().startswith(word)] for word in words)
        fitting = next((some for some in starts if some), [])
        if asked is None and len(fitting) != 1:
            raise AnonbenchError(
                f"has {len(fitting)} splits that could be {option} (known: {', '.join(known)})",
                file=root,
                entry=f"--{option}",
                remedy="name the split; a study needs one to train on and another to test on",
            )
        chosen.append(asked or fitting[0])
    if chosen[0] == chosen[1]:
        raise AnonbenchError("would be trained and tested on", file=root, entry=chosen[0], remedy="name another --val")
    return chosen[0], chosen[1]


def _look(root: Path, split: str, declared: dict[str, bool]) -> Seen:
    """Look at a split as the plugin reads it; raise AnonbenchError where nobody is people, or that is not clear."""
    read = adapter_of("coco", {}).read(root, split)
    file = read.sources[0]
    ids: dict[Any, dict[str, Any]] = {}
    for index, category in enumerate(read.categories):
        if type(category.get("id")) is not int or not isinstance(category.get("name"), str):
            raise _wrong(file, f"category number {index}", "has no integer id, or no name")
        ids[category["id"]] = category
    try:
        decided = naming.decide(ids, declared, file)
    except AnonbenchError as error:
        raise AnonbenchError(
            error.message, file=file, entry=error.entry, remedy="say which are: --people NAME, --not-people NAME"
        ) from None
    persons = {number: category["name"] for number, category in decided.items() if is_people(category)}
    counts: Counter[str] = Counter()
    found: dict[str, Any] = {"masks": False, "keypoints": False, "faces": False}
    boxes = []
    for index, annotation in enumerate(read.annotations):
        if not isinstance(annotation, dict):
            continue
        if isinstance(annotation.get("category_id"), list | dict):
            raise _wrong(file, f"annotation {annotation.get('id')!r}", "has a category_id that is no id")
        if annotation.get("category_id") not in persons or is_void(annotation):
            continue
        counts[persons[annotation["category_id"]]] += 1
        if index < SAMPLE:
            found["masks"] |= bool(annotation.get("segmentation"))
            found["keypoints"] |= bool(annotation.get("num_keypoints"))
            found["faces"] |= bool(annotation.get("face"))
            box = annotation.get("bbox")
            if box is not None and not (isinstance(box, list) and all(type(side) in (int, float) for side in box)):
                raise _wrong(file, f"annotation {annotation.get('id')!r}", "has a bbox that is no list of numbers")
            if box and len(box) == 4 and all(abs(side) < LARGEST for side in box) and not annotation.get("iscrowd"):
                boxes.append(box)
    if not counts:
        raise AnonbenchError(
            f"split '{split}' shows nobody",
            file=file,
            remedy="name the categories of people (--people NAME), or another split",
        )
    sizes: list[tuple[Any, Any]] = [(image.get("width"), image.get("height")) for image in read.images]
    if not all(type(side) is int and side > 0 for size in sizes for side in size):
        raise AnonbenchError("has images without width and height", file=file, remedy="correct their entries")
    found["faces"] |= any(name.casefold() == RegionKind.FACE for name in persons.values())
    for image in read.images:
        if not isinstance(image.get("file_name"), str) or not image["file_name"]:
            raise _wrong(file, f"image {image.get('id')!r}", "has no file_name")
    missing = [n for n in (image["file_name"] for image in read.images) if not os.path.isfile(root / read.folder / n)]
    if len(missing) == len(sizes):
        raise AnonbenchError(
            f"holds none of the {len(sizes)} images of {file.name}", file=root / split, remedy="fetch the images"
        )
    return Seen(split, len(sizes), counts, missing, sizes, np.array(boxes, float).reshape(-1, 4), **found)


def _wrong(file: Path, entry: str, message: str) -> AnonbenchError:
    return AnonbenchError(message, file=file, entry=f"{entry:.60}", remedy="correct that entry")


def _study(
    name: str, root: Path, both: list[Seen], declared: dict[str, bool], labels_on: str, face: DetectorConfig | None
) -> dict[str, Any]:
    """Return the study as values."""
    first, second = both
    largest = max(width * height for seen in both for width, height in seen.sizes)
    dataset: dict[str, Any] = {"adapter": "coco", "root": str(root.absolute()), "train": first.name, "val": second.name}
    for key, wanted in (("people", True), ("not_people", False)):
        if listed := [category for category, said in declared.items() if said is wanted]:
            dataset[key] = listed
    if labels_on != "auto":
        dataset["labels_on"] = labels_on
    if any(seen.missing for seen in both):
        dataset["on_bad_image"] = "skip"
    if largest > MAX_PIXELS:
        dataset["max_pixels"] = largest
    called = _plain_name(root.resolve().name) or "photos"
    if called == "labels":
        called = "photos"
    study: dict[str, Any] = {
        "name": name,
        "output": f"runs/{name}",
        "seed": 2023,
        "datasets": {called: dataset},
    }
    if not all(seen.faces for seen in both) and face is not None:
        long_side = max(max(size) for seen in both for size in seen.sizes)
        tile = {"tile": 1920} if long_side > 1920 else {}
        scales = [1.0, 2.0] if statistics.median(max(size) for size in first.sizes) <= 1000 else [1.0]
        chosen = face.model_dump(mode="json", exclude_defaults=True) | {"plugin": face.plugin}
        study["regions"] = {"detectors": {"face": {"scales": scales, **tile, **chosen}}}
    study["variants"] = [
        "original", "body-identity", "face-blur-medium", "face-mask_out", "body-blur-medium", "body-mask_out",
    ]  # fmt: skip
    study["anonymize"] = {"encoder": "source", "shards": min(64, -(-first.images // SHARD)), "threads": 1}
    study["models"] = _models(both)
    study["train"] = {"seeds": [0, 1, 2], "device": "auto", "threads": 1}
    return study


def _models(both: list[Seen]) -> dict[str, Any]:
    """Return a small model for a small data set, or the usual networks, of the tasks that the labels allow."""
    masks, keypoints = (all(getattr(seen, key) for seen in both) for key in ("masks", "keypoints"))
    if both[0].images > SMALL:
        models: dict[str, Any] = {"mask-rcnn" if masks else "faster-rcnn": {"preset": "mask-rcnn-r50"}}
        if not masks:
            models["faster-rcnn"]["tasks"] = ["detection"]
        if keypoints:
            models["keypoint-rcnn"] = {"preset": "keypoint-rcnn-r50"}
        return models
    tasks = ["detection", *(["segmentation"] if masks else []), *(["pose"] if keypoints else [])]
    sizes, shapes = _anchors(both[0])
    architecture = {"anchor_sizes": sizes, "aspect_ratios": shapes}
    settings = {"min_size": [SIDE], "max_size": SIDE * 3 // 2, "architecture": architecture}
    return {"cpu-small": {"preset": "cpu-small", "tasks": tasks, "settings": settings}}


def _anchors(seen: Seen) -> tuple[list[list[int]], list[float]]:
    """Return sizes for the two levels of the small model, and shapes, that fit the people at its scale.

    Sizes are quantiles of the root of the boxes' areas, shapes of height by width.
    """
    scale = SIDE / statistics.median(min(size) for size in seen.sizes)
    boxes = seen.boxes[(seen.boxes[:, 2:] > 0).all(axis=1)]
    if not len(boxes):
        return [[24, 48], [96, 180]], [0.6, 1.0, 2.6]
    roots = np.sqrt(boxes[:, 2] * boxes[:, 3]) * scale
    a, b, c, d = (max(4, round(float(value))) for value in np.quantile(roots, (0.15, 0.4, 0.65, 0.9)))
    b, c = max(b, a + 4), max(c, a + 8)
    low, high = (round(float(value), 1) for value in np.quantile(boxes[:, 3] / boxes[:, 2], (0.2, 0.8)))
    return [[a, b], [max(c, b + 4), max(d, c + 8, b + 8)]], sorted({max(low, 0.1), 1.0, max(high, 0.1)})


def _label(folder: Path, root: Path, person_detector: str | None, on_unusable: OnUnusable, threads: int) -> list[str]:
    """Label photographs by a detector of people, in COCO's layout with links to the folder; return what to know of it.

    Raises AnonbenchError without a detector, and where it finds too few.
    """
    person = detector(person_detector, "--person-detector")
    if person is None:
        raise AnonbenchError(
            "has no labels (annotations/*.json), and models are trained on labels",
            file=folder,
            remedy="let a detector label it (--person-detector), or only anonymize it: anonbench apply",
        )
    if Path(os.path.realpath(root)).is_relative_to(os.path.realpath(folder)):
        raise AnonbenchError(
            "lies among the photographs, which are only read",
            file=root,
            remedy="run the command in another folder, which runs/ is written to",
        )
    if root.exists():
        raise AnonbenchError("holds labels of an earlier run", file=root, remedy="remove it, or choose another --name")
    found = folders.look(folder)
    job = Job(folder, root, Variant.parse("body-mask_out"), Search(None, person), threads=threads)
    photos = look(job, found, None)
    if found.unusable and on_unusable is OnUnusable.FAIL:
        raise AnonbenchError(unusable(found.unusable), file=folder, remedy=REMEDY)
    cut = len(photos) - max(1, round(VAL_SHARE * len(photos)))
    labelled = {}
    for split, some in (("train", photos[:cut]), ("val", photos[cut:])):
        crowd: list[dict[str, Any]] = []
        for photo in some:
            size = (photo["width"], photo["height"])
            crowd += people(photo["image_id"], photo["seen"], size, bodies=False, first=len(crowd) + 1)
        if not crowd:
            raise AnonbenchError(
                f"nobody is found in the {len(some)} photographs of {split}",
                file=folder,
                entry="--person-detector",
                remedy="give more photographs, or a better detector",
            )
        labelled[split] = some, crowd
    for split, (some, crowd) in labelled.items():
        write_json(root / "annotations" / f"instances_{split}.json", _coco(some, crowd), indent=None)
        (root / split).symlink_to(folder.absolute(), target_is_directory=True)
    return [
        f"labels are those of {person.plugin}, in {root}: what a model loses is told against them, and whoever it "
        "misses is missed by all",
        *([f"{len(found.unusable)} files cannot be used and are left out"] if found.unusable else []),
        *([f"not in the study: {folders.of_others(found)}"] if found.others or found.videos else []),
    ]


def _coco(photos: list[dict[str, Any]], crowd: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "images": [
            {"id": photo["image_id"], **{key: photo[key] for key in ("file_name", "width", "height")}}
            for photo in photos
        ],
        "categories": [{"id": 1, "name": PERSON, "supercategory": PERSON}],
        "annotations": [
            {
                "id": row["person_id"],
                "image_id": row["image_id"],
                "category_id": 1,
                "bbox": row["box"],
                "area": row["area"],
                "iscrowd": 0,
            }
            for row in crowd
        ],
    }


def _yaml(study: dict[str, Any], folder: Path, out: Path, both: list[Seen], notes: list[str]) -> str:
    """Return the study's file, with what was seen as comments."""
    lines = [
        f"# A study of {_plain(folder)}, written by anonbench init; every key is described in docs/configuration.md.",
        "#",
        f"#   snakemake -n --configfile {_plain(out)}                 # what it would do",
        f"#   snakemake --cores all --configfile {_plain(out)}",
        "#",
        *(f"# {_plain(line)}" for line in (*(seen.told() for seen in both), *notes)),
    ]
    for key, value in study.items():
        flow = None if isinstance(value, (dict, list)) else False
        lines.append(
            yaml.safe_dump(
                {key: value}, sort_keys=False, default_flow_style=flow, width=110, allow_unicode=True
            ).rstrip()
        )
    return "\n".join(lines) + "\n"


def _plain(text: object) -> str:
    """Return text for a comment of one line."""
    shown = str(text)
    return shown if shown.isprintable() else ascii(shown)
