"""COCO's layout: ``<root>/<split>/*.jpg``, ``<root>/annotations/{instances,person_keypoints}_<split>.json``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, overload

import msgspec
from pydantic import Field

from anonbench import lines
from anonbench.blocks import Strict
from anonbench.categories import looks_like_people
from anonbench.datasets.base import DatasetAdapter, Sources, Split
from anonbench.errors import AnonbenchError, nearest
from anonbench.records import is_people

POINTS = ("keypoints", "num_keypoints")
"""What an annotation takes from the keypoints file."""


class CocoOptions(Strict):
    """Options of the COCO layout."""

    categories: list[str] | None = Field(
        None,
        description="Names of the categories to keep; all when left out. Images are kept either way. Those "
        "of people, and those whose names look like people, cannot be left out.",
    )


class Coco(DatasetAdapter):
    """Instances and person keypoints, joined by annotation id; either file may be missing, not both."""

    Options: ClassVar[type[Strict]] = CocoOptions
    split_options = ()

    def download(self, target: Path, splits: list[str], sources: Sources) -> None:
        """Refuse: this plugin reads a copy that is on disk."""
        raise AnonbenchError(
            "the 'coco' data set reads a folder in COCO's layout that is already on disk",
            remedy="give it: root: /path/to/coco in the study, or snakemake --config root=/path/to/coco",
        )

    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``; the annotations stay JSON text until they are iterated over."""
        present = self._files(root / "annotations", split)
        if not (root / split).is_dir():
            raise AnonbenchError("is not a folder of images", file=root / split, remedy="check root")
        coco = CocoFile(present[0])
        self._check(len(coco.categories), present[0])
        annotations, categories = coco.annotations, coco.categories
        if len(present) == 2:
            keypoints = CocoFile(present[1])
            annotations, categories = _join(coco, keypoints), _skeletons(coco, keypoints)
        if self.options.categories is not None:
            categories = _only(categories, self.options.categories, present[0])
            annotations = annotations.of({c["id"] for c in categories})
        return Split(
            folder=Path(split),
            images=coco.images,
            categories=categories,
            annotations=annotations,
            sources=tuple(present),
            info=coco.info,
            licenses=coco.licenses,
            videos=coco.videos,
            actions=coco.actions,
            action_kinds=coco.action_kinds,
            attributes=coco.attributes,
        )

    def _files(self, folder: Path, split: str) -> list[Path]:
        """Return the split's annotation files that are there, the one with all instances first."""
        instances, keypoints = folder / f"instances_{split}.json", folder / f"person_keypoints_{split}.json"
        present = [path for path in (instances, keypoints) if path.is_file()]
        if not present:
            known = {p.stem.partition("_")[2] for p in folder.glob("instances_*.json")} | {
                p.stem.removeprefix("person_keypoints_") for p in folder.glob("person_keypoints_*.json")
            }
            raise AnonbenchError(
                f"has neither {instances.name} nor {keypoints.name}",
                file=folder,
                remedy=f"check root and the split's name{nearest(split, known)}",
            )
        return present

    def _check(self, categories: int, file: Path) -> None:
        """Raise AnonbenchError if a file with so many categories is not what the plugin reads."""


class _Keys(msgspec.Struct):
    """What joining and choosing need of an annotation; the rest is skipped over."""

    id: Any = None
    image_id: Any = None
    category_id: Any = None


class _Top(msgspec.Struct):
    images: Any = None
    annotations: Any = None
    categories: Any = None
    info: Any = None
    licenses: Any = None
    videos: Any = None
    actions: Any = None
    action_kinds: Any = None
    attributes: Any = None


class _LazyTop(_Top):
    annotations: list[msgspec.Raw] | None = None


_keys = msgspec.json.Decoder(_Keys).decode
_value: Callable[[msgspec.Raw], Any] = msgspec.json.Decoder().decode


class Texts(Sequence[msgspec.Raw]):
    """The annotations of a file that has a line for each, as JSON, read when they are asked for."""

    def __init__(self, found: lines.Lines) -> None:
        self._lines = found

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> msgspec.Raw: ...
    @overload
    def __getitem__(self, index: slice) -> list[msgspec.Raw]: ...
    def __getitem__(self, index: int | slice) -> msgspec.Raw | list[msgspec.Raw]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return msgspec.Raw(self._lines.text(range(len(self))[index]))


class CocoFile:
    """A file in COCO's format, its annotations as slices of its text, or left in it where each has a line of its own.

    Python's own reader, which holds everything as objects, is used for what is not strict JSON (it accepts NaN).
    Raises AnonbenchError for a file that is missing, cut short, not JSON, or not COCO's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        left = lines.lazily(path)
        top = self._read(path) if left is None else self._top(left[0], Texts(left[1]))
        if not isinstance(top.images, list):
            raise AnonbenchError("is not a COCO annotation file", file=path)
        self.images = self._entries(top.images, "image")
        self.categories = self._entries(top.categories, "category")
        self.annotations = Annotations(self._list(top.annotations, "annotation"), path)
        self.info = top.info if isinstance(top.info, dict) else {}
        self.licenses = top.licenses if isinstance(top.licenses, list) else []
        self.videos = self._entries(top.videos, "video") if top.videos is not None else []
        self.actions = top.actions if isinstance(top.actions, list) else []
        self.action_kinds = top.action_kinds if isinstance(top.action_kinds, dict) else {}
        self.attributes = top.attributes if isinstance(top.attributes, dict) else {}  # other formats have a list

    @staticmethod
    def _read(path: Path) -> _Top:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            raise AnonbenchError("no such file", file=path) from None
        try:
            return msgspec.json.decode(text, type=_LazyTop)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        try:
            top = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise AnonbenchError(
                f"is not valid JSON ({error})",
                file=path,
                remedy="the file may be cut short: fetch or write it again",
            ) from None
        return CocoFile._top(top, top.get("annotations")) if isinstance(top, dict) else _Top()

    @staticmethod
    def _top(found: dict[str, Any], annotations: Any) -> _Top:
        given = {key: found.get(key) for key in _Top.__struct_fields__}
        return _Top(**{**given, "annotations": annotations})

    def _list(self, entries: Any, what: str) -> Sequence[Any]:
        if not isinstance(entries, list | Texts):
            raise AnonbenchError(
                f"has no list of {what} entries", file=self.path, remedy="is it a COCO annotation file?"
            )
        return entries

    def _entries(self, entries: Any, what: str) -> list[dict[str, Any]]:
        for index, entry in enumerate(self._list(entries, what)):
            if not isinstance(entry, dict):
                raise AnonbenchError("has no integer id", file=self.path, entry=f"{what} number {index}")
        return list(entries)


class Annotations:
    """COCO's annotations, each decoded when its turn comes; iterate as often as needed.

    ``entries`` are JSON texts (or values, of a file that is not strict JSON); ``points`` are entries of the keypoints
    file by annotation id. What is not a dictionary is yielded as it is: `annotate` says which entry it was.
    """

    def __init__(self, entries: Sequence[Any], file: Path, points: dict[int, Any] | None = None) -> None:
        self.entries, self.file, self.points = entries, file, points or {}

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for index, entry in enumerate(self.entries):
            annotation = self._decode(entry, index)
            if self.points and isinstance(annotation, dict):
                number = annotation.get("id")
                extra = self.points.get(number) if isinstance(number, int) else None
                if extra is not None:
                    more = self._decode(extra, index)
                    annotation.update((key, more[key]) for key in POINTS if key in more)
            yield annotation

    def ids(self) -> Iterator[_Keys]:
        """Yield the ids of each annotation, None where it has none."""
        for entry in self.entries:
            if isinstance(entry, msgspec.Raw):
                try:
                    yield _keys(entry)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    yield _Keys()
            elif isinstance(entry, dict):
                yield _Keys(*(entry.get(key) for key in _Keys.__struct_fields__))
            else:
                yield _Keys()

    def at(self, positions: Iterable[int]) -> Annotations:
        """Return those at some positions, in that order."""
        return Annotations([self.entries[position] for position in positions], self.file, self.points)

    def of(self, categories: set[int]) -> Annotations:
        """Return those of some categories, and those without any, which `annotate` refuses by name."""
        kept = [
            entry
            for entry, keys in zip(self.entries, self.ids(), strict=True)
            if not isinstance(keys.category_id, int) or keys.category_id in categories
        ]
        return Annotations(kept, self.file, self.points)

    def _decode(self, entry: Any, index: int) -> Any:
        if not isinstance(entry, msgspec.Raw):
            return dict(entry) if isinstance(entry, dict) else entry
        try:
            return _value(entry)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise AnonbenchError(
                f"is not valid JSON ({error})",
                file=self.file,
                entry=f"annotation number {index}",
                remedy="fetch or write the file again",
            ) from None


def _join(instances: CocoFile, keypoints: CocoFile) -> Annotations:
    """Return the instances with the keypoints of the annotations of the same id.

    Raises AnonbenchError for a duplicate keypoint annotation, and for one of no instance, or of one in another image or
    category: a person who stands in one file only would be lost.
    """

    def refuse(number: Any, problem: str) -> AnonbenchError:
        remedy = "use instances and keypoints of the same release, or remove one of the two files"
        return AnonbenchError(problem, file=keypoints.path, entry=f"annotation {number}", remedy=remedy)

    stranger = "is not in the instances file, or there of another image or category"
    points: dict[int, Any] = {}
    place: dict[int, tuple[Any, Any]] = {}
    for entry, keys in zip(keypoints.annotations.entries, keypoints.annotations.ids(), strict=True):
        if not isinstance(keys.id, int):
            raise refuse(keys.id, stranger)
        if keys.id in points:
            raise refuse(keys.id, "duplicate annotation")
        points[keys.id], place[keys.id] = entry, (keys.image_id, keys.category_id)
    for keys in instances.annotations.ids():
        if isinstance(keys.id, int) and place.get(keys.id) == (keys.image_id, keys.category_id):
            del place[keys.id]
    for number in place:
        raise refuse(number, stranger)
    return Annotations(instances.annotations.entries, instances.path, points)


def _skeletons(instances: CocoFile, keypoints: CocoFile) -> list[dict[str, Any]]:
    """Return the categories of the instances with the names and limbs of the keypoints file."""
    named = {c.get("id"): c for c in keypoints.categories}
    return [
        {**c, **{k: v for k, v in named.get(c.get("id"), {}).items() if k in ("keypoints", "skeleton")}}
        for c in instances.categories
    ]


def _may_be_people(category: dict[str, Any]) -> bool:
    return looks_like_people(category.get("name")) or looks_like_people(category.get("supercategory"))


def _only(categories: list[dict[str, Any]], names: list[str], file: Path) -> list[dict[str, Any]]:
    known = {c.get("name"): c for c in categories}
    for name in names:
        if name not in known:
            raise AnonbenchError(f"has no category '{name}'{nearest(name, map(str, known))}", file=file)
    dropped = [c for c in categories if c.get("name") not in names and c.get("people") is not False]
    if people := [str(c.get("name")) for c in dropped if is_people(c) or _may_be_people(c)]:
        raise AnonbenchError(
            f"categories leave out {', '.join(people)}, who may be people and would stay visible without a row",
            file=file,
            entry="options",
            remedy="add them to categories, and to not_people in the study if they are none",
        )
    return [c for c in categories if c.get("name") in names]
