"""COCO files that `annotate` and `merge` wrote, read without holding their annotations: each has a line of its own.

A file of COCO train2017's size takes gigabytes as Python's objects, and a few megabytes as places of lines. Whatever
other file there is, of one line or of many more, is read whole.
"""

from __future__ import annotations

import json
import os
import weakref
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import msgspec

from anonbench.errors import AnonbenchError
from anonbench.files import read_json

_LAST_OF_HEAD = b',"annotations":['
_END = b"]}"
_BLOCK = 1024
"""Annotations that are read at once when all are."""

_value = msgspec.json.Decoder().decode
_pass_over = msgspec.json.Decoder(msgspec.Raw).decode
"""Tells whether a text is one JSON value, in a seventh of the time of making it Python's objects."""


class Lines(Sequence[dict[str, Any]]):
    """The annotations of a file in its order, each read and decoded when it is asked for; threads may ask at once.

    The file is held open, so that one that takes its place makes no difference. Raises AnonbenchError for a line that
    is not JSON.
    """

    def __init__(self, descriptor: int, starts: array[int], path: Path) -> None:
        self.path = path
        self._descriptor = descriptor
        self._starts = starts
        weakref.finalize(self, os.close, descriptor)

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._decode(self._bytes(place, place + 1), place)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for first in range(0, len(self), _BLOCK):
            last = min(first + _BLOCK, len(self))
            for place, line in enumerate(self._bytes(first, last).split(b"\n")[: last - first], start=first):
                yield self._decode(line, place)

    def text(self, place: int) -> bytes:
        """Return the JSON of an annotation."""
        return self._bytes(place, place + 1).rstrip(b",\n")

    def _bytes(self, first: int, last: int) -> bytes:
        start, left = self._starts[first], self._starts[last] - self._starts[first]
        parts = []
        while left and (part := os.pread(self._descriptor, left, start)):
            parts.append(part)
            start, left = start + len(part), left - len(part)
        return b"".join(parts)

    def _decode(self, line: bytes, place: int) -> dict[str, Any]:
        try:
            value: dict[str, Any] = self._loaded(line.rstrip(b",\n"))
        except (ValueError, RecursionError) as error:
            raise AnonbenchError(
                f"is not valid JSON ({error})",
                file=self.path,
                entry=f"annotation number {place}",
                remedy="the file may be damaged: write it again",
            ) from None
        return value

    @staticmethod
    def _loaded(text: bytes) -> Any:
        try:
            return _value(text)
        except msgspec.MsgspecError:  # 1e999, which `json` takes for infinity, as in a file that is read whole
            return json.loads(text)


def read(path: str | Path) -> tuple[Any, Sequence[Any]]:
    """Return what a COCO file holds besides its annotations, and these.

    Annotations come lazily (`Lines`) where each has a line of its own and is a JSON object; of any other file that is
    JSON they are the list under ``annotations``, and the first value is the whole. Raises AnonbenchError for a file
    that is missing, not JSON, or without such a list.
    """
    path = Path(path)
    found = lazily(path)
    if found is not None:
        return found
    whole = read_json(path)
    annotations = whole.get("annotations") if isinstance(whole, dict) else None
    if not isinstance(annotations, list):
        raise AnonbenchError("is not a COCO annotation file (it has no list of annotations)", file=path)
    return whole, annotations


def lazily(path: Path) -> tuple[dict[str, Any], Lines] | None:
    """Return what `read` does of a file with a line for each annotation, None for any other and for one not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    lines = None
    try:
        with open(descriptor, "rb", closefd=False, buffering=1 << 20) as stream:
            head = stream.readline().rstrip(b"\n")
            if not head.endswith(_LAST_OF_HEAD):
                return None
            place, starts = stream.tell(), array("q")
            before = b""
            for line in stream:
                starts.append(place)
                if line.rstrip(b"\n") == _END and not before.endswith(b",\n"):
                    break
                if not (
                    (not before or before.endswith(b",\n"))
                    and line.startswith(b"{")
                    and line.endswith((b"},\n", b"}\n"))
                ):
                    return None
                _pass_over(line.rstrip(b",\n"))  # a line may hold two, or a part of one
                place, before = place + len(line), line
            else:
                return None  # cut short
            if stream.read(1):
                return None
            value = _value(head.removesuffix(_LAST_OF_HEAD) + b"}")
        if not isinstance(value, dict) or "annotations" in value:
            return None
        lines = Lines(descriptor, starts, path)
        return value, lines
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OSError):
        return None
    finally:
        if lines is None:
            os.close(descriptor)
