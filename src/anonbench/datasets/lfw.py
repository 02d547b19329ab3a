"""LFW, Labeled Faces in the Wild: photographs from the news with a face in the middle, named after whose it is.

Layout, lists and how the images were cut: http://vis-www.cs.umass.edu/lfw/README.txt (Huang et al., "Labeled Faces in
the Wild: A Database for Studying Face Recognition in Unconstrained Environments", 2007).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from anonbench.blocks import Strict
from anonbench.datasets.base import DatasetAdapter, Sources, Split
from anonbench.datasets.layout import check_split, image_size, read_lines, unrelated_order
from anonbench.errors import AnonbenchError

SPLITS = ("train", "val", "gallery", "probe")
FOLDERS = ("lfw", "lfw_funneled", "lfw-deepfunneled")
"""Names that the releases give the folder of images: as they were cut, and aligned in two ways."""
CATEGORY = {"id": 1, "name": "face", "supercategory": "person"}
SIDE = 250
"""Width and height of every image in pixels."""
FACE = (68.0, 68.0, 114.0, 127.0)
"""The box (x, y, width, height in pixels) that is taken for the face in every image.

Its sides and top are those of the detection that the image was cut around: that was enlarged by 2.2 in each dimension
and scaled to 250 pixels (README.txt), so it is the square of 250 / 2.2 = 114 pixels in the middle. A detection of that
kind may end above the chin; the box goes on down to row 195, where the crop that scikit-learn's `fetch_lfw_people`
takes by default ends (rows 70 to 195).
"""
PEOPLE, PAIRS = "people.txt", "pairs.txt"
PAGE = "http://vis-www.cs.umass.edu/lfw"

_NUMBERED = re.compile(r"(.+)_(\d{4,})\.jpg", re.IGNORECASE)

Folds = list[dict[str, int | None]]
"""The people of each fold by name, with the number of their images, None where the list does not say."""


class LfwOptions(Strict):
    """Where the images are, and whose faces are looked for."""

    images: str | None = Field(
        None,
        description=f"Folder of the images under the root; the one of {', '.join(FOLDERS)} that is there when left "
        "out.",
    )
    fold: int = Field(
        10,
        ge=1,
        description="Fold of people.txt whose people are gallery and probe. Those of the fold before it (before the "
        "first, of the last) are val, all others train.",
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images that show the same person or two people.

    ``fold`` counts from 1. ``first`` and ``second`` are POSIX paths in the folder of images (``Name/Name_0001.jpg``),
    which the column ``path`` of the table of images ends with.
    """

    fold: int
    first: str
    second: str
    same: bool


class Lfw(DatasetAdapter):
    """A face per image; nobody is in two of train, val and the pair of gallery and probe."""

    Options: ClassVar[type[Strict]] = LfwOptions
    split_options = ("fold",)

    def download(self, target: Path, splits: list[str], sources: Sources) -> None:
        """Refuse: there is no address that serves the archive to everybody who asks."""
        raise AnonbenchError("LFW cannot be fetched automatically", remedy=_remedy())

    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``, the folder that holds the folder of images and the lists.

        Raises AnonbenchError when images or both lists are missing, a name is of another form, people of a list have
        no images or another number of them, and when a split would be empty.
        """
        check_split("lfw", split, SPLITS)
        folder = self._folder(root)
        folds, sources, warnings = read_folds(root)
        faces = read_faces(folder)
        _check_people(folds, faces, folder, sources[0])
        if unlisted := len(faces) - sum(len(fold) for fold in folds):
            warnings.append(f"{unlisted} people of {folder} stand in no fold of {sources[0].name} and are in no split")
        chosen = self._choose(folds, faces, split, sources[0])
        identities = {name: number for number, name in enumerate(faces, 1)}
        images, annotations, paths = [], [], {}
        for number, path in enumerate(unrelated_order("lfw", chosen), 1):
            size = image_size(folder / path, f"image {number}")
            if size != (SIDE, SIDE):
                raise AnonbenchError(
                    f"is {size[0]}x{size[1]} and not {SIDE}x{SIDE} pixels, so that nothing says where its face is",
                    file=folder / path,
                    remedy="use the images as they were released",
                )
            images.append({"id": number, "file_name": f"{number:06d}.jpg", "width": SIDE, "height": SIDE})
            paths[number] = path
            annotations.append(_annotation(number, identities[path.partition("/")[0]]))
        return Split(
            folder=folder.relative_to(root),
            images=images,
            categories=[CATEGORY],
            annotations=annotations,
            sources=sources,
            info={"description": f"LFW {split}", "fold": self.options.fold},
            paths=paths,
            warnings=warnings,
        )

    def _folder(self, root: Path) -> Path:
        wanted = FOLDERS if self.options.images is None else (self.options.images,)
        found = [root / name for name in wanted if (root / name).is_dir()]
        if not found:
            raise AnonbenchError(f"has no folder {' or '.join(wanted)} of images", file=root, remedy=_remedy())
        if len(found) > 1:
            raise AnonbenchError(
                f"has the folders {' and '.join(path.name for path in found)}",
                file=root,
                remedy="say which one to read by the option images",
            )
        return found[0]

    def _choose(self, folds: Folds, faces: dict[str, list[str]], split: str, file: Path) -> list[str]:
        """Return the paths of a split's images."""
        test = self.options.fold - 1
        if len(folds) < 3 or test >= len(folds):
            raise AnonbenchError(
                f"has {len(folds)} folds, which leaves none for train, val and fold {test + 1}"
                if len(folds) < 3
                else f"has no fold {test + 1}, but {len(folds)}",
                file=file,
                remedy="use the official list, or set the option fold",
            )
        val = (test - 1) % len(folds)
        if split == "gallery":
            return [faces[name][0] for name in folds[test]]
        if split == "probe":
            found = [path for name in folds[test] for path in faces[name][1:]]
            if not found:
                raise AnonbenchError(
                    f"has nobody with two images in fold {test + 1}, so that nobody can be looked for",
                    file=file,
                    remedy="use the whole data set, or set the option fold",
                )
            return found
        used = [val] if split == "val" else [number for number in range(len(folds)) if number not in (test, val)]
        return [path for number in used for name in folds[number] for path in faces[name]]


def read_pairs(path: Path) -> list[Pair]:
    """Read pairs.txt, or pairsDevTrain.txt or pairsDevTest.txt, whose pairs are all of fold 1.

    The first line has the number of folds (none in the two others: one) and the number n of pairs of each kind. Each
    fold is n lines of a name and two numbers of its images, then n lines of a name, a number, another name, a number.
    Raises AnonbenchError that names the line when the file is cut short, longer than it says, or of another form.
    """
    lines = _lines(path)
    header = _numbers(path, 1, lines[0], (1, 2))
    folds, count = (1, header[0]) if len(header) == 1 else header
    wanted = 1 + 2 * folds * count
    if len(lines) != wanted:
        raise _refuse(
            path,
            min(len(lines), wanted) + 1,
            f"the file has {len(lines)} lines, and {folds} folds of {count} matched and {count} mismatched pairs "
            f"would be {wanted}",
        )
    pairs = []
    for at, line in enumerate(lines[1:]):
        fold, place = divmod(at, 2 * count)
        pairs.append(_pair(path, at + 2, line, fold + 1, place < count))
    return pairs


def _pair(path: Path, line: int, text: str, fold: int, same: bool) -> Pair:
    cells = text.split()
    names = cells[:1] * 2 if same else cells[::2]
    numbers = cells[1:] if same else cells[1::2]
    if len(cells) != (3 if same else 4) or not all(number.isdecimal() and int(number) > 0 for number in numbers):
        form = "a name and the numbers of two images" if same else "two names, each with the number of an image"
        raise _refuse(path, line, f"'{text[:80]}' is not {form}")
    if (names[0] == names[1]) != same or (same and int(numbers[0]) == int(numbers[1])):
        raise _refuse(path, line, "a pair of an image with itself" if same else "a mismatched pair of one person")
    first, second = (image_path(name, int(number)) for name, number in zip(names, numbers, strict=True))
    return Pair(fold, first, second, same)


def read_people(path: Path) -> Folds:
    """Read people.txt, or peopleDevTrain.txt or peopleDevTest.txt, which have one fold: the people of each fold.

    The first line has the number of folds (none in the two others); each fold is a line with the number n of its people
    and n lines of a name and how many images there are. Raises AnonbenchError that names the line when the file is cut
    short, longer than it says, of another form, or has somebody twice.
    """
    lines = _lines(path)
    single = len(lines) < 2 or not lines[1].isdecimal()
    folds: Folds = []
    seen: dict[str, int] = {}
    at = 0 if single else 1
    for _ in range(1 if single else _numbers(path, 1, lines[0], (1,))[0]):
        if at >= len(lines):
            raise _refuse(path, at + 1, "the file is cut short")
        (count,) = _numbers(path, at + 1, lines[at], (1,))
        if at + count >= len(lines):
            raise _refuse(path, len(lines) + 1, "the file is cut short")
        fold: dict[str, int | None] = {}
        for line in range(at + 1, at + 1 + count):
            cells = lines[line].split()
            if len(cells) != 2 or not cells[1].isdecimal() or int(cells[1]) < 1:
                raise _refuse(path, line + 1, f"'{lines[line][:80]}' is not a name and a number of images")
            if cells[0] in seen:
                raise _refuse(path, line + 1, f"{cells[0]} stands in line {seen[cells[0]]} already")
            seen[cells[0]] = line + 1
            fold[cells[0]] = int(cells[1])
        folds.append(fold)
        at += count + 1
    if at < len(lines):
        raise _refuse(path, at + 1, "the file goes on after its last fold")
    return folds


def read_folds(root: Path) -> tuple[Folds, tuple[Path, ...], list[str]]:
    """Return the people of each fold, the lists that say so, and what is to be told of them.

    They are those of people.txt, or where it is missing all who stand in a pair of pairs.txt. Raises AnonbenchError
    when both are missing, or somebody's pairs are in two folds.
    """
    people, pairs = root / PEOPLE, root / PAIRS
    sources = tuple(path for path in (people, pairs) if path.is_file())
    if not sources:
        raise AnonbenchError(f"has neither {PEOPLE} nor {PAIRS}", file=root, remedy=_remedy())
    paired = _folds_of_pairs(pairs) if pairs.is_file() else []
    if not people.is_file():
        _check_folds(paired, pairs)
        return [dict.fromkeys(sorted(names)) for names in paired], sources, []
    folds = read_people(people)
    place = {name: number for number, fold in enumerate(folds) for name in fold}
    other = sum(place.get(name) != number for number, names in enumerate(paired) for name in names)
    if not other:
        return folds, sources, []
    return folds, sources, [f"{other} people of {PAIRS} do not stand in the same fold of {PEOPLE}, which is followed"]


def _folds_of_pairs(path: Path) -> list[set[str]]:
    folds: list[set[str]] = []
    for pair in read_pairs(path):
        if len(folds) < pair.fold:
            folds.append(set())
        folds[-1] |= {pair.first.partition("/")[0], pair.second.partition("/")[0]}
    return folds


def _check_folds(folds: list[set[str]], path: Path) -> None:
    place: dict[str, int] = {}
    for number, names in enumerate(folds, 1):
        for name in sorted(names):
            if name in place:
                raise AnonbenchError(
                    f"has pairs of {name} in fold {place[name]} and in fold {number}",
                    file=path,
                    remedy="use the official list, in whose folds are different people",
                )
            place[name] = number


def read_faces(folder: Path) -> dict[str, list[str]]:
    """Return the paths of everybody's images in ``folder`` (``Name/Name_0001.jpg``), by name, both sorted.

    Files beside the people's folders, and hidden ones, are passed over. Raises AnonbenchError for a person without
    images and an image that is not named after its folder.
    """
    faces: dict[str, list[str]] = {}
    for person in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        files = sorted(p.name for p in person.iterdir() if not p.name.startswith(".") and p.name != "Thumbs.db")
        if not files:
            raise AnonbenchError("has no images", file=person, remedy="remove the folder, or unpack the archive again")
        for name in files:
            match = _NUMBERED.fullmatch(name)
            if match is None or match[1] != person.name:
                raise AnonbenchError(
                    f"is not named {person.name}_0001.jpg or the like",
                    file=person / name,
                    remedy="remove it, or unpack the official archive again",
                )
        faces[person.name] = [f"{person.name}/{name}" for name in files]
    if not faces:
        raise AnonbenchError("has no folders of people", file=folder, remedy=_remedy())
    return faces


def image_path(name: str, number: int) -> str:
    """Return the path of a person's n-th image (from 1) in the folder of images."""
    return f"{name}/{name}_{number:04d}.jpg"


def _check_people(folds: Folds, faces: dict[str, list[str]], folder: Path, file: Path) -> None:
    """Raise AnonbenchError when people of a list have no images, or not as many as it says."""
    listed = [(name, count) for fold in folds for name, count in fold.items()]
    if missing := [name for name, _ in listed if name not in faces]:
        raise AnonbenchError(
            f"has {len(missing)} people of whom there are no images in {folder}",
            file=file,
            entry=missing[0],
            remedy="unpack the images again, or use a list of the people who are there",
        )
    for name, count in listed:
        if count is not None and count != len(faces[name]):
            raise AnonbenchError(
                f"says that there are {count} images, and {folder / name} has {len(faces[name])}",
                file=file,
                entry=name,
                remedy="unpack the images again, or use a list of the images that are there",
            )


def _annotation(number: int, identity: int) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": number,
        "category_id": CATEGORY["id"],
        "bbox": list(FACE),
        "area": FACE[2] * FACE[3],
        "iscrowd": 0,
        "face": {"bbox": list(FACE)},
        "identity": identity,
    }


def _lines(path: Path) -> list[str]:
    """Return a list's lines without the empty ones at its end."""
    lines = read_lines(path)
    while not lines[-1]:
        lines.pop()
    return lines


def _numbers(path: Path, line: int, text: str, counts: Iterable[int]) -> list[int]:
    """Return the whole numbers above 0 of a line, of which there must be one of ``counts``."""
    cells = text.split()
    if len(cells) not in counts or not all(cell.isdecimal() and int(cell) > 0 for cell in cells):
        raise _refuse(path, line, f"'{text[:80]}' does not say how many follow")
    return [int(cell) for cell in cells]


def _refuse(path: Path, line: int, message: str) -> AnonbenchError:
    return AnonbenchError(message, file=path, entry=f"line {line}", remedy=f"fetch the list again ({PAGE})")


def _remedy() -> str:
    return (
        f"unpack lfw.tgz or lfw-funneled.tgz, put {PEOPLE} and {PAIRS} beside the folder of images (all from {PAGE}; "
        "scikit-learn's fetch_lfw_pairs fetches copies into lfw_home), and give the study that folder as root:"
    )
