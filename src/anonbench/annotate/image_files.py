"""The gate: every image file of a split is opened once, before anything is written, and all bad ones are named at once.

An image that passes here is decoded, and written, by whatever does so later: its file is there, whole, a JPEG or PNG,
of the annotated size and not larger than the limit; and it is settled in which frame its labels were drawn.
"""

from __future__ import annotations

import contextlib
import csv
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from anonbench import images, names, workers
from anonbench.annotate.options import LabelsOn, OnBadImage
from anonbench.errors import AnonbenchError
from anonbench.files import atomic
from anonbench.records import is_void

SPELLED_OUT = 20
"""Bad images that the message names; the file beside the annotations lists all."""
COLUMNS = ("image_id", "file_name", "annotations", "people", "reason")
_REMEDY = "mend the files or fetch them again, take their entries out"


@dataclass(frozen=True, slots=True)
class Gate:
    """How image files are looked at: the settings of the data set, and on how many threads."""

    labels_on: LabelsOn = LabelsOn.AUTO
    on_bad_image: OnBadImage = OnBadImage.FAIL
    max_pixels: int = images.MAX_PIXELS
    threads: int = 1


@dataclass(slots=True)
class Seen:
    """What was found of one image: its file's ``bytes``, or the ``problem`` that keeps it from being used.

    ``labels_on`` is the frame of the labels (``upright`` or ``stored``); ``either`` says that the annotated size fits
    both, which differ by the EXIF ``orientation``, and ``guessed`` that nobody has said which it is.
    """

    bytes: int = 0
    labels_on: images.Frame = "upright"
    orientation: int = 1
    either: bool = False
    guessed: bool = False
    problem: str | None = None


@dataclass(slots=True)
class Found:
    """All images of a split: their entries and what was seen of them by id, names in normal form.

    ``paths`` are those of `datasets.base.Split`.
    """

    entries: dict[int, dict[str, Any]]
    seen: dict[int, Seen] = field(default_factory=dict)
    paths: Mapping[int, str] = field(default_factory=dict)

    @property
    def bad(self) -> list[int]:
        """The ids of the images that cannot be used, in order."""
        return sorted(image_id for image_id, seen in self.seen.items() if seen.problem is not None)

    def path(self, image_id: int) -> Any:
        """Return where an image's file is, relative to the split's folder."""
        return self.paths.get(image_id, self.entries[image_id].get("file_name"))

    def named(self, image_id: int) -> str:
        """Return an image as messages name it, without the file's name where that itself is at fault."""
        name = self.path(image_id)
        try:
            return f"image {image_id} ({names.normal(name):.300})"
        except ValueError:
            return f"image {image_id}"


def look(
    entries: dict[int, dict[str, Any]],
    folder: Path,
    file: Path,
    gate: Gate,
    split: str,
    paths: Mapping[int, str] | None = None,
) -> Found:
    """Look at every image file of a split once, on threads; the memory is that of an image per thread.

    ``entries`` are COCO's by id, ``folder`` holds the files, ``file`` the annotations; ``paths`` are those of
    `datasets.base.Split`. The entries of the result have their ``file_name`` in normal form, and ``labels_on`` where
    sizes alone would mislead. Raises AnonbenchError for two entries of one file; any other fault of an image is a
    `Seen.problem`.
    """
    found = Found({image_id: dict(entry) for image_id, entry in entries.items()}, paths=paths or {})
    todo = []
    for image_id, entry in found.entries.items():
        problem = _settle(entry)
        if problem is None:
            todo.append(image_id)
        else:
            found.seen[image_id] = Seen(problem=problem)
    _refuse_twins(found, todo, entries, file)

    def see(image_id: int) -> None:
        entry = found.entries[image_id]
        found.seen[image_id] = _see(folder / found.path(image_id), entry, gate)

    bar = tqdm(total=len(entries), desc=f"images of {split}", unit="image", disable=None)
    workers.run(see, todo, gate.threads, bar, lambda: len(found.seen))
    for image_id, entry in found.entries.items():
        entry.pop("labels_on", None)
        seen = found.seen[image_id]
        if seen.either and seen.labels_on == LabelsOn.STORED:
            entry["labels_on"] = seen.labels_on  # who reads the JSON alone could not tell
    return found


def _settle(entry: dict[str, Any]) -> str | None:
    """Give an entry's file name its normal form; return what is wrong with the entry itself."""
    try:
        entry["file_name"] = names.normal(entry.get("file_name"))
    except ValueError as error:
        return str(error)
    for side in ("width", "height"):
        if type(entry.get(side)) is not int or not 1 <= entry[side] < 2**31:
            return f"has the {side} {entry.get(side)!r}"
    if entry.get("labels_on", LabelsOn.AUTO) not in list(LabelsOn):
        return f"has labels_on {entry['labels_on']!r}, which is none of {', '.join(LabelsOn)}"
    return None


def _refuse_twins(found: Found, ids: Iterable[int], given: dict[int, dict[str, Any]], file: Path) -> None:
    owners: dict[str, int] = {}
    for image_id in ids:
        name = found.entries[image_id]["file_name"]
        other = owners.setdefault(name, image_id)
        if other != image_id:
            spelled = "" if given[other]["file_name"] == given[image_id]["file_name"] else f" of {name}"
            raise AnonbenchError(
                f"has the file name{spelled} of image {other} ({given[image_id]['file_name']!r} and "
                f"{given[other]['file_name']!r})",
                file=file,
                entry=f"image {image_id}",
                remedy="give each image of the split its own file, or remove one of the two entries",
            )


def _see(path: Path, entry: dict[str, Any], gate: Gate) -> Seen:
    """Read and decode one image's file."""
    size = (entry["width"], entry["height"])
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Seen(
                problem="is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file (a device or a pipe)"
            )
        if status.st_size == 0:
            return Seen(problem="is empty")
        data = images.read_bytes(path)
        header = images.header(data)
        labels_on, guessed = _frame(header, size, gate.labels_on, entry)
        frame: dict[str, Any] = {"size": size, "labels_on": labels_on, "max_pixels": gate.max_pixels}
        images.decode(data, **frame)
        images.without_metadata(data, **frame)  # so every variant writes it, whether somebody is in it or not
    except FileNotFoundError:
        return Seen(problem="is not on disk")
    except AnonbenchError as error:
        return Seen(problem=error.message)
    except OSError as error:
        return Seen(problem=f"cannot be read ({error.strerror or error})")
    except MemoryError:
        return Seen(problem="needs more memory than there is")
    either = images.orientation_is_ambiguous(header, size)
    return Seen(len(data), labels_on, header.orientation, either, guessed)


def _frame(
    header: images.Header, size: tuple[int, int], labels_on: LabelsOn, entry: dict[str, Any]
) -> tuple[images.Frame, bool]:
    """Return the frame that an image's labels were drawn in, and whether that is a guess."""
    wanted = labels_on if labels_on is not LabelsOn.AUTO else entry.get("labels_on", LabelsOn.AUTO)
    if wanted != LabelsOn.AUTO:
        return ("upright" if wanted == LabelsOn.UPRIGHT else "stored"), False
    if images.orientation_is_ambiguous(header, size):
        return "upright", True
    return ("stored" if size == header.size != header.upright else "upright"), False


def lost(found: Found, annotations: Iterable[Any], people: Mapping[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is lost with the bad images of a split, in order of their ids.

    ``annotations`` are COCO's, ``people`` the categories of people by id. Each entry has ``image_id``, ``file_name``,
    ``reason``, ``annotations`` (how many), ``people`` (id and category of each).
    """
    gone: dict[int, dict[str, Any]] = {
        number: {
            "image_id": number,
            "file_name": found.path(number),
            "reason": found.seen[number].problem,
            "annotations": 0,
            "people": [],
        }
        for number in found.bad
    }
    for annotation in _readable(annotations) if gone else ():
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        if type(image_id) is not int or image_id not in gone:
            continue
        gone[image_id]["annotations"] += 1
        category = annotation.get("category_id")
        if type(category) is int and category in people and not is_void(annotation):
            gone[image_id]["people"].append([annotation.get("id"), people[category]["name"]])
    return list(gone.values())


def _readable(annotations: Iterable[Any]) -> Iterator[Any]:
    """Yield annotations up to the first that cannot be read: the bad images are to be told before it is."""
    with contextlib.suppress(AnonbenchError):
        yield from annotations


def write_list(path: Path, gone: Sequence[Mapping[str, Any]]) -> None:
    """Write the list of bad images, with how many annotations and people each has; without any, remove an old one."""
    if not gone:
        path.unlink(missing_ok=True)
        return
    with atomic(path) as part, open(part, "w", newline="", errors="backslashreplace") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(COLUMNS)
        for one in gone:
            rows.writerow([len(one[key]) if key == "people" else one[key] for key in COLUMNS])


def refuse(found: Found, listed: Path, file: Path) -> None:
    """Raise AnonbenchError that names the bad images of a split, and the file that lists them."""
    bad = found.bad
    remedy = f"{_REMEDY}, or set on_bad_image of the data set to skip (all are listed in {listed})"
    if len(bad) == 1:
        problem = found.seen[bad[0]].problem or ""
        raise AnonbenchError(problem, file=file, entry=found.named(bad[0]), remedy=remedy)
    told = "; ".join(f"{found.named(number)} {found.seen[number].problem}" for number in bad[:SPELLED_OUT])
    more = f"; and {len(bad) - SPELLED_OUT} more" if len(bad) > SPELLED_OUT else ""
    raise AnonbenchError(
        f"{len(bad)} of {len(found.entries)} images cannot be used: {told}{more}", file=file, remedy=remedy
    )


def warnings(found: Found, gone: Sequence[Mapping[str, Any]], listed: Path) -> list[str]:
    """Return what whoever annotates should know of the images of a split, a sentence each."""
    said = []
    if gone:
        annotations, people = sum(one["annotations"] for one in gone), sum(len(one["people"]) for one in gone)
        said.append(
            f"{len(gone)} of {len(found.entries)} images cannot be used and are skipped, with {annotations} "
            f"annotations ({people} people): {found.named(gone[0]['image_id'])} {gone[0]['reason']}"
            f"{', ...' if len(gone) > 1 else ''}; all are listed in {listed}"
        )
    guessed = [number for number, seen in found.seen.items() if seen.guessed]
    if guessed:
        orientation = found.seen[guessed[0]].orientation
        said.append(
            f"{len(guessed)} images have an EXIF orientation that the annotated sizes do not tell from none, such as "
            f"{found.named(guessed[0])}, orientation {orientation}: their labels are taken as drawn on the upright "
            "image and may have been drawn on the stored one, which would leave people visible; run "
            "anonbench check-frame, and set labels_on of the data set to upright or stored"
        )
    good = [number for number, seen in found.seen.items() if seen.problem is None]
    pair = names.alike(found.entries[number]["file_name"] for number in good)
    if pair:
        said.append(
            f"the file names {pair[0]!a} and {pair[1]!a} differ only in case or in how Unicode writes a letter; write "
            "variants to a file system that tells them apart"
        )
    return said
