"""What an anonymizer is fitted to: clips with their actions, and stills of people with their attributes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from anonbench import images, regions
from anonbench.anonymize.contract import FitJob, Stills
from anonbench.anonymize.learned.losses import UNKNOWN
from anonbench.anonymize.learned.options import FitSettings
from anonbench.clips import Box, Kept, check_actions, check_length, largest, part, span, stretch
from anonbench.errors import AnonbenchError
from anonbench.seeding import generator

KEPT_BYTES = 1 << 30
"""How much of decoded frames stays in memory; the others are decoded whenever they are seen. Changes no result."""
OF_CROWD = (0.6, 1.0)
"""Sides of a view of a crowd, as shares of what is seen of the picture: SPAct's crops of photographs."""
REMEDY = "fit on another data set (fit_on)"
SOURCE = "source"
"""Key of a row: the folder of the data set that its picture is of."""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Clip:
    """A video: its frames (rows of the images table) in order, and the position of its action."""

    video: int
    frames: tuple[Row, ...] = field(repr=False)
    action: int


@dataclass(frozen=True, slots=True)
class Still:
    """A person in a picture: its row, their box (x, y, width, height in pixels) and the positions of their values.

    In a data set that tells no people apart it is a ``crowd``: a picture of some, and the box is all of them.
    """

    picture: Row = field(repr=False)
    box: tuple[float, float, float, float]
    labels: tuple[int, ...]
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step sees.

    ``clips`` uint8 (N, V, 3, T, H, W), RGB: V versions of each clip, a triplet's three or one; ``actions`` int64 (N,);
    ``stills`` uint8 (M, 3, H, W); ``boxes`` float32 (2, M, 4): two views of the person in each, as x0, y0, x1, y1 in
    pixels; ``mirrored`` bool (2, M); ``gains`` float32 (2, M): brightness of a view; ``labels`` int64 (M, attributes).
    """

    clips: torch.Tensor
    actions: torch.Tensor
    stills: torch.Tensor
    boxes: torch.Tensor
    mirrored: torch.Tensor
    gains: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        names = self.__slots__
        return Batch(*(getattr(self, name).to(device, non_blocking=True) for name in names))

    def first(self, clips: int, stills: int) -> Batch:
        """Return the first so many clips and stills."""
        pair = (self.boxes[:, :stills], self.mirrored[:, :stills], self.gains[:, :stills])
        return Batch(self.clips[:clips], self.actions[:clips], self.stills[:stills], *pair, self.labels[:stills])


class Material:
    """Clips, stills and their decoded frames; ``batch`` draws what a step sees, a function of its number alone.

    ``values`` are the attributes that observers guess, with the values of each.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        actions: Sequence[str],
        stills: Sequence[Still],
        values: Mapping[str, Sequence[str]],
        settings: FitSettings,
        seed: int,
    ) -> None:
        self.clips, self.actions, self.stills = tuple(clips), tuple(actions), tuple(stills)
        self.values = {name: tuple(of) for name, of in values.items()}
        self.settings, self.seed = settings, seed
        self.kept = Kept(KEPT_BYTES)

    @classmethod
    def read(cls, job: FitJob) -> Material:
        """Choose what a fit may learn from; raise AnonbenchError where that is not enough."""
        settings: FitSettings = job.settings
        split = job.table.name.removesuffix(".people.parquet")
        own = _of(job)
        clips, actions = clips_of(own.images, job.facts, settings, job.table.with_name(f"{split}.images.parquet"))
        stills, values = stills_of(_of(job.stills) if job.stills else own, settings)
        return cls(clips, actions, stills, values, settings, job.seed)

    @property
    def pictures(self) -> list[Row]:
        """Every frame that may be seen, by id, those of clips before others; a file is there once."""
        frames = {_path(row): row for clip in self.clips for row in clip.frames}
        others = {_path(still.picture): still.picture for still in self.stills}
        return [*_by_id(frames.values()), *_by_id(row for path, row in others.items() if path not in frames)]

    @property
    def counts(self) -> dict[str, Any]:
        """What the record says of the data."""
        people = Counter(still.picture["image_id"] for still in self.stills)
        return {
            "clips": len(self.clips),
            "actions": len(self.actions),
            "stills": len(self.stills),
            "images": len(self.pictures),
            "most_people_in_an_image": max(people.values()),
            "attributes": {name: list(of) for name, of in self.values.items()},
        }

    def digest(self, threads: int) -> str:
        """Return the sha256 over names and bytes of all frames that may be seen, in the order of ``pictures``."""

        def of(row: Row) -> str:
            data = images.read_bytes(_path(row), row.get("sha256"))
            return f"{hashlib.sha256(data).hexdigest()}  {row['file_name']}\n"

        rows = self.pictures
        with ThreadPoolExecutor(threads) as pool:
            lines = list(tqdm(pool.map(of, rows), "frames", len(rows), unit="image", disable=None))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def batch(self, iteration: int) -> Batch:
        """Return what the step of an iteration sees, whatever came before."""
        s, random = self.settings, generator("batch", self.seed, iteration)
        clips = [self.clips[k] for k in self._turn("clips", len(self.clips), s.clips, iteration)]
        stills = [self.stills[k] for k in self._turn("stills", len(self.stills), s.stills, iteration)]
        seen = [self._versions(clip, random) for clip in clips]
        shown, boxes, mirrored = zip(*(self._view(still, random) for still in stills), strict=True)
        gains = 1 + s.jitter * random.uniform(-1, 1, (2, len(stills)))
        return Batch(
            torch.from_numpy(np.stack(seen)),
            torch.tensor([clip.action for clip in clips]),
            torch.from_numpy(np.stack(shown)),
            torch.from_numpy(np.stack(boxes, 1).astype(np.float32)),
            torch.from_numpy(np.stack(mirrored, 1)),
            torch.from_numpy(gains.astype(np.float32)),
            torch.tensor([still.labels for still in stills], dtype=torch.int64).reshape(len(stills), len(self.values)),
        )

    def _turn(self, what: str, count: int, size: int, iteration: int) -> list[int]:
        """Return whose turn it is: nobody twice in a pass, in its own order; a rest that fills no batch has none."""
        size = min(size, count)
        epoch, place = divmod(iteration, count // size)
        order = generator("order", what, self.seed, epoch).permutation(count)
        return [int(k) for k in order[place * size : (place + 1) * size]]

    def _versions(self, clip: Clip, random: np.random.Generator) -> np.ndarray:
        """Return what is seen of a clip, uint8 (V, 3, T, H, W): a stretch, or anchor, positive, negative."""
        s = self.settings
        free = max(0, len(clip.frames) - span(s))
        start = int(random.integers(free + 1))
        starts = [start]
        if s.loss == "tedspad":  # another stretch, as far as there is one
            starts += [start, (start + 1 + int(random.integers(max(1, free)))) % (free + 1)]
        found = []
        for one in starts:
            frames = [clip.frames[place] for place in stretch(len(clip.frames), one, s)]
            box = self._window(frames[0], random)
            mirrored = bool(random.random() < s.horizontal_flip)
            found.append(np.stack([self._part(row, box, mirrored) for row in frames], 1))
        return np.stack(found)

    def _view(self, still: Still, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a part of a picture that shows a person, uint8 (3, H, W), and where two views of them lie in it.

        The part has the scale of a clip's; of somebody who is larger it shows a part. The views of a crowd are two
        rectangles of the part, with `OF_CROWD` of its sides, wherever they lie.
        """
        s, row = self.settings, still.picture
        bx, by, bw, bh = still.box
        window = self._window(row, random, None if still.crowd else (bx + bw / 2, by + bh / 2))
        pixels = self._part(row, window, False)
        boxes = np.array([_inside(window, random) if still.crowd else self._around(still, random) for _ in range(2)])
        return pixels, _scaled(boxes, window, s), random.random(2) < s.horizontal_flip

    def _around(self, still: Still, random: np.random.Generator) -> tuple[float, float, float, float]:
        """Draw a view of a person: their box (x0, y0, x1, y1), each side by itself a little further out or in."""
        (x, y, w, h), around = still.box, self.settings.around
        left, top, right, bottom = random.uniform(-around / 3, around, 4)
        return x - left * w, y - top * h, x + (1 + right) * w, y + (1 + bottom) * h

    def _window(self, row: Row, random: np.random.Generator, middle: tuple[float, float] | None = None) -> Box:
        """Draw a rectangle of the input's shape in a frame; with ``middle`` one that this point is in."""
        width, height = row["width"], row["height"]
        w, h = largest(width, height, self.settings, random.uniform(*self.settings.crop))
        low, high = (0, 0), (width - w, height - h)
        if middle is not None:
            low = tuple(
                min(most, max(0, int(at) - side + 1)) for at, side, most in zip(middle, (w, h), high, strict=True)
            )
            high = tuple(max(a, min(most, int(at))) for a, at, most in zip(low, middle, high, strict=True))
        return int(random.integers(low[0], high[0] + 1)), int(random.integers(low[1], high[1] + 1)), w, h

    def _part(self, row: Row, window: Box, mirrored: bool) -> np.ndarray:
        """Return a part of a frame at the working size, uint8 (3, H, W)."""

        def decode() -> np.ndarray:
            return images.read_rgb(_path(row), (row["width"], row["height"]), row["labels_on"], row.get("sha256"))

        key = (_path(row), row["width"], row["height"], row["labels_on"])
        seen = part(self.kept.get(key, decode), window, self.settings)
        return np.ascontiguousarray((seen[:, ::-1] if mirrored else seen).transpose(2, 0, 1))


def _of(source: FitJob | Stills) -> Stills:
    """Return the pictures of a data set, whose rows say where they are from."""
    return Stills(source.root, [{**row, SOURCE: str(source.root)} for row in source.images], source.table)


def _by_id(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row["image_id"])


def _path(row: Row) -> str:
    return f"{row[SOURCE]}/{row['path']}"


def _inside(window: Box, random: np.random.Generator) -> tuple[float, float, float, float]:
    """Draw a view of a crowd: a rectangle (x0, y0, x1, y1) in what is seen, with `OF_CROWD` of its sides."""
    x, y, w, h = window
    share, across, down = random.uniform(*OF_CROWD), random.random(), random.random()
    left, top = x + across * (1 - share) * w, y + down * (1 - share) * h
    return left, top, left + share * w, top + share * h


def _scaled(boxes: np.ndarray, window: Box, s: FitSettings) -> np.ndarray:
    """Return boxes (N, 4) of a frame in pixels of a part of it, inside of it and of a pixel at least."""
    x, y, w, h = window
    found = (boxes - (x, y, x, y)) * (s.width / w, s.height / h, s.width / w, s.height / h)
    for first, last, most in ((0, 2, s.width), (1, 3, s.height)):
        found[:, first] = found[:, first].clip(0, most - 1)
        found[:, last] = np.maximum(found[:, last].clip(1, most), found[:, first] + 1)
    return found


def clips_of(
    rows: Sequence[Row], facts: Mapping[str, Any], settings: FitSettings, table: Path
) -> tuple[list[Clip], list[str]]:
    """Return the clips that have an action, and the names of the actions.

    ``table`` is the images table. Raises AnonbenchError for clips that are too short or lack frames, and where fewer
    than two actions are shown.
    """
    actions = list(facts.get("actions", ()))
    frames: dict[int, dict[int, Row]] = {}
    for row in rows:
        if row["video_id"] is not None:
            frames.setdefault(row["video_id"], {})[row["frame_index"]] = row
    found = []
    for video in facts.get("videos", ()):
        if video.get("action") not in actions:
            continue
        there = frames.get(video["id"], {})
        entry, count = f"video {video['id']}", max(int(video.get("frames", 0)), len(there))
        missing = [place for place in range(count) if place not in there]
        if missing:
            raise AnonbenchError(
                f"lacks frame {missing[0]} of {count}", file=table, entry=entry, remedy="run annotate again"
            )
        if settings.short_clips == "refuse":
            remedy = "lower fit.frames or fit.stride, or set fit.short_clips: repeat"
            check_length(count, settings, table, video["id"], remedy)
        found.append(Clip(video["id"], tuple(there[k] for k in range(count)), actions.index(video["action"])))
    check_actions({actions[clip.action] for clip in found}, table, REMEDY)
    return found, actions


def stills_of(source: Stills, settings: FitSettings) -> tuple[list[Still], dict[str, list[str]]]:
    """Return the people whom observers look at, and the attributes that they guess, with the values of each.

    None are guessed but by `vita`. Where nobody has a box of their own, as in videos with an action for all of the
    frame, they are crowds. Raises AnonbenchError where fewer than two are large enough, for an attribute that nobody
    has or that does not vary, and where none varies.
    """
    of = {row["image_id"]: row for row in source.images}
    every = [row for row in _people(source.table) if row["image_id"] in of and row["box"] is not None]
    single = [row for row in every if not row["crowd"]]
    people = [row for row in regions.shown(every) if row["box"][3] >= settings.min_pixels]
    if len(people) < 2:
        raise AnonbenchError(
            f"shows {len(people)} people with a box of {settings.min_pixels} pixels or more (of {len(single)} with a "
            f"box, and {len(every) - len(single)} crowds), and stills of them are what observers look at",
            file=source.table,
            remedy=f"lower fit.min_pixels, or {REMEDY} or look at another one's people (stills_on)",
        )
    said = [json.loads(row["attributes"]) if row["attributes"] else {} for row in people]
    values = _varying(said, settings, source.table) if settings.loss == "vita" else {}
    stills = []
    for row, has in zip(people, said, strict=True):
        labels = tuple(
            known.index(str(has[name])) if name in has and str(has[name]) in known else UNKNOWN
            for name, known in values.items()
        )
        x, y, w, h = row["box"]
        stills.append(Still(of[row["image_id"]], (x, y, w, h), labels, bool(row["crowd"])))
    return stills, values


def _people(table: Path) -> list[Row]:
    names = ["image_id", "person_id", "box", "crowd", "ignore", "attributes"]
    order = [("image_id", "ascending"), ("person_id", "ascending")]
    rows: list[Row] = regions.read(table, regions.PEOPLE).select(names).sort_by(order).to_pylist()
    if any(row["crowd"] is None for row in rows):
        raise AnonbenchError("has rows without crowd", file=table, remedy="delete it and run annotate again")
    return rows


def _varying(said: Sequence[Mapping[str, Any]], settings: FitSettings, table: Path) -> dict[str, list[str]]:
    """Return the values of each attribute that is to be hidden, sorted, but for those of one still alone."""
    counts: dict[str, Counter[str]] = {}
    for has in said:
        for name, value in has.items():
            counts.setdefault(name, Counter())[str(value)] += 1
    found = {name: sorted(v for v, n in of.items() if n > 1) for name, of in sorted(counts.items())}
    for name in settings.attributes:
        if name not in found:
            known = ", ".join(found) or "none"
            raise AnonbenchError(
                f"says of nobody what '{name}' is (known: {known})", file=table, entry="fit attributes", remedy=REMEDY
            )
        if len(found[name]) < 2:
            only = ", ".join(found[name]) or "no value twice"
            raise AnonbenchError(
                f"'{name}' does not vary ({only}): there is nothing to hide", file=table, entry="fit attributes",
                remedy="leave it out",
            )  # fmt: skip
    chosen = {name: of for name, of in found.items() if len(of) > 1 and name in (settings.attributes or found)}
    if not chosen:
        raise AnonbenchError(
            "has no attribute of people with two values, and vita hides such", file=table, entry="fit loss",
            remedy=f"use penalty or spact, which need none, or {REMEDY}",
        )  # fmt: skip
    return chosen
