"""One shard of a variant: reads its images once, changes them on threads, writes them and then the manifest."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from tqdm import tqdm

from anonbench import __version__, distortion, images, manifests, names, regions, workers
from anonbench.anonymize import engine
from anonbench.anonymize.contract import DISTORTION, After, Method, make
from anonbench.crops import Crop, Work, cut, person_seed
from anonbench.datasets.record import hashes_of, root_of
from anonbench.errors import AnonbenchError, in_one_line
from anonbench.files import place, sha256_bytes, sha256_file, write_bytes, write_json
from anonbench.people import Frames, People, whole
from anonbench.records import CONTROL, UNANNOTATED, RegionKind
from anonbench.resources import peak_memory
from anonbench.variants import Variant

_Image = dict[str, Any]
_HELD = 2**28
"""Bytes of pixels that are held at once while a method looks at a sample."""
_FEWEST = 8
"""Frames of a sample, however large they are."""
_RESERVED = ("annotations", "manifests")


@dataclass(frozen=True, slots=True)
class Shard:
    """What to do: ``parameters`` are the method's (None: those of the variant's level).

    ``data`` holds the data set's download.json, ``annotations`` its tables, ``out`` is the variant's folder;
    ``link`` (``copy``, ``reflink`` or ``hardlink``, as `files.place` has them) is how images that nothing is changed in
    get there; only images below ``data`` are ever hard-linked, others are cloned. ``weights`` is what the method's
    training wrote, for a method that is fitted. ``timing`` is a file for seconds and memory, which do not repeat.
    ``folder`` is where the images go, unless that is ``<out>/<split>``.
    """

    data: Path
    annotations: Path
    out: Path
    split: str
    variant: Variant
    parameters: dict[str, Any] | None = None
    encoder: str = "source"
    seed: int = 0
    shard: int = 0
    shards: int = 1
    threads: int = 1
    link: str = "copy"
    weights: Path | None = None
    device: str = "auto"
    timing: Path | None = None
    folder: Path | None = None

    @property
    def target(self) -> Path:
        """The folder of the images."""
        return self.folder or self.out / self.split

    def run(self) -> Path:
        """Write the shard's images and then its manifest, whose path is returned.

        The bytes depend on neither ``threads`` nor ``shards``. Raises AnonbenchError for anything in the
        input that keeps a person from being anonymized, and when the disk is full; an earlier manifest is
        gone by then.
        """
        if not 0 <= self.shard < self.shards:
            raise AnonbenchError(
                f"there is no shard {self.shard} of {self.shards}", remedy="shards are numbered from 0"
            )
        if self.split in _RESERVED:
            raise AnonbenchError(f"a split cannot be called '{self.split}'")
        images.check_policy(self.encoder)
        method = None if self.variant.method is None else make(self.variant, self.parameters)
        fitted = {} if method is None else self.load(method)
        root, record = root_of(self.data)
        self._check_folders(root)
        manifests.check_layout(self.out, self.split)
        everything = regions.read(self.annotations / f"{self.split}.images.parquet", regions.IMAGES)
        _check_names(everything, self.annotations / f"{self.split}.images.parquet", self.out, self.encoder)
        hashes = hashes_of(self.data, self.split)
        rows = [
            {**row, "sha256": hashes.get(row["path"])}
            for row in regions.shard_of(everything, self.shard, self.shards).to_pylist()
        ]
        people = self.people(rows)
        if method is not None and method.sample:
            fitted |= {"tuned": self._tuned(method, self._sampled(everything, root, method, hashes), root)}
        earlier = None if method is None else _Earlier.of(self, method, rows)
        path = manifests.shard_path(self.out, self.split, self.shard)
        self._check_folder_is_ours()
        path.unlink(missing_ok=True)
        header = self.header(record.get("dataset", self.data.name), method, fitted)
        started = time.perf_counter()
        written: dict[int, list[manifests.Row]] = {}
        self.work(rows, root, people, method, written.update, earlier)
        if self.timing is not None:
            write_json(self.timing, _timing(written, time.perf_counter() - started))
        ordered = [row for image_id in sorted(written) for row in written[image_id]]
        manifests.write_rows(path, [header, *ordered])
        return path

    def header(self, dataset: str, method: Method | None, fitted: dict[str, Any]) -> manifests.Row:
        """Return the manifest's first row; ``fitted`` is what `load` returned."""
        return {
            "type": "shard",
            "dataset": dataset,
            "split": self.split,
            "variant": str(self.variant),
            "region": self.variant.region,
            "touches": self.variant.touches,
            "method": self.variant.method,
            "level": self.variant.level,
            "parameters": method.parameters.model_dump(mode="json") if method else {},
            "encoder": self.encoder if method else None,
            "seed": self.seed,
            "shard": self.shard,
            "shards": self.shards,
            "anonbench": __version__,
            **({"facts": {**method.facts, **(DISTORTION if method.codec else {})}} if method and method.facts else {}),
            **fitted,
        }

    def people(self, rows: list[_Image], region: RegionKind | None = None) -> People | Frames:
        """Return who is in the images, and where; of the variant's region unless another is given."""
        region = region or self.variant.region
        if region is None:
            return People.nobody()
        table = self.annotations / f"{self.split}.{region.table}.parquet"
        return Frames.read(table, rows) if region is RegionKind.FRAME else People.read(table, region, rows)

    def _sampled(self, everything: pa.Table, root: Path, method: Method, hashes: Mapping[str, str]) -> list[Crop]:
        """Return the frames of the split's sample as the method will see them, fewer where they are large."""
        largest = max(
            (w * h * 3 for w, h in zip(*(everything[k].to_pylist() for k in ("width", "height")), strict=True)),
            default=1,
        )
        most = min(method.sample, max(_FEWEST, _HELD // largest), len(everything))
        rows = everything.take([(2 * k + 1) * len(everything) // (2 * most) for k in range(most)]).to_pylist()
        people, earlier, crops = self.people(rows), _Earlier.of(self, method, rows), []
        for row in rows:
            source = f"{root}/{row['path']}"
            data = images.read_bytes(source, hashes.get(row["path"]))
            decoded = images.decode(data, file=source, **regions.frame_of(row))
            work = self._work(row, decoded.pixels, people, source)
            if earlier is not None:
                earlier([row], [work])
            (region,) = work.regions
            window = method.window(region, row["width"], row["height"])
            crops.append(cut(work, region, window, method.padding, self.seed))
        return crops

    def load(self, method: Method) -> dict[str, Any]:
        """Give a fitted method its weights; return what the manifest's header says of the method."""
        if method.FitSettings is None:
            if self.weights is not None:
                raise AnonbenchError(f"method {method.name} is not fitted", entry="--weights", remedy="leave it out")
            return method.describe()
        if self.weights is None:
            raise AnonbenchError(
                f"method {method.name} is fitted to data and needs its weights",
                entry="--weights",
                remedy="run anonbench fit and give the file that it wrote",
            )
        assert self.variant.region is not None
        said = method.load(self.weights, self.variant.region, self.device)
        try:
            msgspec.json.encode(said)
        except (TypeError, ValueError) as error:
            raise AnonbenchError(
                f"says of itself what no manifest can hold ({in_one_line(error)})",
                file=self.weights,
                remedy="fit the method again (anonbench fit)",
            ) from None
        return {"weights_sha256": sha256_file(self.weights), "fallback": method.fallback, **said, **method.describe()}

    def _tuned(self, method: Method, crops: list[Crop], root: Path) -> dict[str, Any]:
        """Let a method look at its sample; return what the manifest says of it. Raises AnonbenchError when it fails."""
        try:
            return method.tune(crops)
        except MemoryError:
            raise
        except Exception as error:  # whatever a plugin raises becomes a sentence
            if isinstance(error, AnonbenchError) and (error.file is not None or error.entry is not None):
                raise
            raise AnonbenchError(
                f"method {method.name} failed on {len(crops)} frames of the split {self.split} together: "
                f"{in_one_line(error)}",
                file=root,
                remedy="fix the method or its parameters, or take another",
            ) from error

    def _check_folders(self, root: Path) -> None:
        """Refuse an output folder that overlaps the originals."""
        target, source = (Path(os.path.realpath(path)) for path in (self.target, root))
        if target == source or target in source.parents or source in target.parents:
            raise AnonbenchError(
                f"overlaps the original data in {source}", file=target, remedy="choose another output folder"
            )

    def _check_folder_is_ours(self) -> None:
        """Refuse to write into a folder of images in which no run of this stage has begun; leave the sign that one has.

        The sign is a file: Snakemake makes the manifests' folder before the job.
        """
        folder, sign = self.target, manifests.sign_path(self.out, self.split)
        if not sign.is_file() and folder.is_dir() and any(folder.iterdir()):
            raise AnonbenchError(
                "contains files that this stage did not write",
                file=folder,
                remedy="move them away, or choose another output folder",
            )
        if not sign.is_file():
            write_bytes(sign, b"")

    def work(
        self,
        rows: list[_Image],
        root: Path,
        people: People | Frames,
        method: Method | None,
        keep: Callable[[dict[int, list[manifests.Row]]], object],
        earlier: _Earlier | None = None,
    ) -> None:
        """Write images on threads; ``keep`` gets the manifest rows of images, by id, as they are written."""
        groups = _clips(rows) if method and method.clips else _batches(rows, method.batch if method else 1)
        groups.sort(key=lambda group: -sum(row["bytes"] for row in group))  # no long one left for the end
        finished: list[int] = []
        brief = method is not None and method.brief
        turns = threading.BoundedSemaphore(max(1, self.threads // 2)) if brief else contextlib.nullcontext()
        bar = tqdm(total=len(rows), desc=f"{self.variant} {self.split}", unit="image", disable=None)

        def write(group: list[_Image]) -> None:
            keep(self.write(group, root, people, method, turns, earlier))
            finished.extend(row["image_id"] for row in group)

        workers.run(write, groups, self.threads, bar, lambda: len(finished))

    def write(
        self,
        rows: list[_Image],
        root: Path,
        people: People | Frames,
        method: Method | None,
        turns: AbstractContextManager[Any] = contextlib.nullcontext(),  # noqa: B008 (it has no state)
        earlier: _Earlier | None = None,
    ) -> dict[int, list[manifests.Row]]:
        """Write a few images (several at a time for a method that works on batches or clips only); return their rows.

        People are changed within ``turns``, after ``earlier``.
        """
        found: dict[int, manifests.Row] = {}
        outcomes: dict[int, list[engine.Outcome]] = {}
        todo: list[tuple[_Image, str, bytes, images.Decoded]] = []
        folder = str(self.target)
        for row in rows:
            image_id, source = row["image_id"], f"{root}/{row['path']}"
            data = images.read_bytes(source, row.get("sha256"))
            if method is not None and people.have_regions(image_id):
                decoded = images.decode(data, file=source, **regions.frame_of(row))
                todo.append((row, source, data, decoded))
            else:
                found[image_id] = self._untouched(row, source, data, strip=method is not None)
        if method is not None and todo:
            with turns:
                works = [self._work(row, decoded.pixels, people, source) for row, source, _, decoded in todo]
                originals = [work.pixels.copy() if method.codec else None for work in works]
                first = earlier([row for row, *_ in todo], works) if earlier else [_Before() for _ in works]
                change = engine.anonymize_clip if method.clips else engine.anonymize
                changed = [
                    [_told(one, before, work, original) for one in outcome]
                    for outcome, before, work, original in zip(
                        change(works, method, self.seed), first, works, originals, strict=True
                    )
                ]
            for (row, _, data, decoded), work, outcome in zip(todo, works, changed, strict=True):
                encoded = images.encode(work.pixels, decoded, self.encoder, file=work.file)
                row = {**row, "file_name": names.encoded(row["file_name"], self.encoder)}
                write_bytes(f"{folder}/{row['file_name']}", encoded.data)
                image = _image_row(row, "encoded", data, encoded.data, encoded.encoder, decoded.notes)
                found[work.image_id], outcomes[work.image_id] = image, outcome
        return {
            row["image_id"]: [
                found[row["image_id"]],
                *self._region_rows(
                    row["image_id"],
                    [*people.rows(row), *(earlier.strangers(row) if earlier else ())],
                    outcomes.get(row["image_id"], []),
                ),
            ]
            for row in rows
        }

    def _work(self, row: _Image, pixels: np.ndarray, people: People | Frames, source: str) -> Work:
        return Work(
            image_id=row["image_id"],
            pixels=pixels,
            regions=people.regions(row),
            keypoints=people.keypoints(row["image_id"]),
            file=source,
            people=people.people(row),
            split=self.split,
        )

    def _region_rows(
        self, image_id: int, people: list[dict[str, Any]], outcomes: list[engine.Outcome]
    ) -> list[manifests.Row]:
        """Return one manifest row per person of an image, changed or not, and before them one of a changed frame.

        What becomes of a frame becomes of everybody in it, unless another variant came before.
        """
        frame = outcomes[0] if self.variant.region is RegionKind.FRAME else None
        by_id = {outcome.person_id: outcome for outcome in outcomes}
        written: list[manifests.Row] = [] if frame is None else [self._frame_row(image_id, frame)]
        for row in people:
            outcome = frame or by_id.get(row["person_id"])
            status = outcome.status if outcome else row["status"]
            if frame and frame.statuses is not None:
                status = frame.statuses.get(row["person_id"], CONTROL)
                outcome = frame if manifests.is_changed({"status": status}) else None
            said = outcome and frame.weak_people.get(row["person_id"]) if frame else outcome and outcome.weak
            more: manifests.Row = {"weak": said} if said else {}
            if outcome and outcome.facts and not frame:
                more |= {"facts": dict(outcome.facts)}
            written.append(
                {
                    "type": "person",
                    "image_id": image_id,
                    "person_id": row["person_id"],
                    "category": row["category"],
                    "region": RegionKind(row["kind"]),
                    "status": status,
                    "source": row["source"],
                    "box": [row["x0"], row["y0"], row["x1"], row["y1"]] if outcome else None,
                    "pixels": outcome.pixels if outcome else 0,
                    "area": row["area"],
                    "method": (outcome.fallback or self.variant.method) if outcome else None,
                    "seed": outcome.seed if outcome else person_seed(self.seed, self.split, image_id, row["person_id"]),
                    **more,
                }
            )
        return written

    def _frame_row(self, image_id: int, frame: engine.Outcome) -> manifests.Row:
        return {
            "type": "frame",
            "image_id": image_id,
            "region": RegionKind.FRAME,
            "status": frame.status,
            "pixels": frame.pixels,
            "method": frame.fallback or self.variant.method,
            "seed": frame.seed,
            **({"facts": dict(frame.facts)} if frame.facts else {}),
        }

    def _untouched(self, row: _Image, source: str, data: bytes, strip: bool) -> manifests.Row:
        """Place an image byte for byte, without its metadata where ``strip`` says so and it has any."""
        target = self.target / row["file_name"]
        kept, notes = images.Stripped(data, ())
        if strip:
            kept, notes = images.without_metadata(data, file=source, **regions.frame_of(row))
        same = kept == data
        if not same or self.link == "copy":
            write_bytes(target, kept)  # what was read and hashed, not the file once more
        elif self.link == "hardlink" and Path(source).resolve().is_relative_to(self.data.resolve()):
            place(Path(source), target, "hardlink")
        else:
            place(Path(source), target, "reflink")
        return _image_row(row, "copied" if same else "stripped", data, data if same else kept, None, notes)


@dataclass(frozen=True, slots=True)
class _Before:
    """What another variant did to an image: the outcomes of its regions, and the status of everybody, by person id, if
    it anonymizes."""

    outcomes: Sequence[engine.Outcome] = ()
    statuses: Mapping[int, str] | None = None


@dataclass(frozen=True, slots=True)
class _Earlier:
    """The variant that a method works on instead of the original images: its method, and who is where for it."""

    shard: Shard
    method: Method
    people: People | Frames

    @classmethod
    def of(cls, shard: Shard, method: Method, rows: list[_Image]) -> _Earlier | None:
        """Return what comes before a method in some images; None if it works on the originals."""
        wanted = method.parameters
        if not isinstance(wanted, After) or wanted.after is None:
            return None
        variant = Variant.parse(wanted.after)
        return cls(shard, make(variant, wanted.after_parameters), shard.people(rows, variant.region))

    def __call__(self, rows: list[_Image], works: list[Work]) -> list[_Before]:
        """Change images in place, as the variant would; return what became of each."""
        own = [
            self.shard._work(row, work.pixels, self.people, work.file or "")
            for row, work in zip(rows, works, strict=True)
        ]
        outcomes = engine.anonymize(own, self.method, self.shard.seed)
        return [_Before(found, self._statuses(row, found)) for row, found in zip(rows, outcomes, strict=True)]

    def strangers(self, image: _Image) -> list[dict[str, Any]]:
        """Return the rows of whom the variant knows and no table of people does: detections of nobody annotated."""
        if not self.method.hides:
            return []
        return [whole(row, image) for row in self.people.rows(image) if row["category"] == UNANNOTATED]

    def _statuses(self, image: _Image, outcomes: list[engine.Outcome]) -> dict[int, str] | None:
        if not self.method.hides:
            return None
        done = {one.person_id: one.status for one in outcomes}
        if isinstance(self.people, Frames):
            return {row["person_id"]: done[0] for row in self.people.rows(image)}
        return {row["person_id"]: done.get(row["person_id"], row["status"]) for row in self.people.rows(image)}


def _told(outcome: engine.Outcome, before: _Before, work: Work, original: np.ndarray | None) -> engine.Outcome:
    """Return an outcome with what was done to people before, and how far the frame is from the ``original``, if
    given."""
    weak = dict(outcome.weak_people)
    for one in (one for one in before.outcomes if one.status != CONTROL):
        hidden = set(weak) - set(one.weak_people) if one.person_id == 0 else {one.person_id}
        weak = {person: one.weak_people.get(person, why) for person, why in weak.items() if person not in hidden}
        if one.weak is not None:
            weak[one.person_id] = one.weak
    facts = outcome.facts
    if original is not None:
        faces = [one.subject for one in work.people]
        height, width = original.shape[:2]
        counted = distortion.outside(faces, width, height)
        measured = zip(DISTORTION, (distortion.psnr, distortion.ms_ssim), strict=True)
        values = {name: measure(original, work.pixels, counted) for name, measure in measured}
        facts = {**facts, **{name: None if v is None else round(v, 4) for name, v in values.items()}}
    return replace(outcome, weak_people=weak, facts=facts, statuses=before.statuses)


def _batches(rows: list[_Image], size: int) -> list[list[_Image]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _clips(rows: list[_Image]) -> list[list[_Image]]:
    """Return the frames of each video in order, and every still image alone."""
    clips: dict[tuple[str, int], list[_Image]] = {}
    for row in rows:
        still = row["video_id"] is None
        clips.setdefault(("image", row["image_id"]) if still else ("video", row["video_id"]), []).append(row)
    return [sorted(clip, key=lambda row: row["frame_index"] or 0) for clip in clips.values()]


def _timing(written: dict[int, list[manifests.Row]], seconds: float) -> dict[str, float]:
    encoded = sum(rows[0]["action"] == "encoded" for rows in written.values())
    people = sum(row["type"] == "person" and row["box"] is not None for rows in written.values() for row in rows)
    return {
        "images": len(written),
        "encoded": encoded,
        "people": people,
        "seconds": round(seconds, 3),
        "seconds_per_encoded_image": round(seconds / max(encoded, 1), 5),
        **peak_memory(),
    }


def _image_row(
    row: _Image, action: str, source: bytes, data: bytes, encoder: str | None, notes: tuple[str, ...]
) -> manifests.Row:
    before = sha256_bytes(source)
    return {
        "type": "image",
        "image_id": row["image_id"],
        "file_name": row["file_name"],
        "action": action,
        "encoder": encoder,
        "source_sha256": before,
        "sha256": before if data is source else sha256_bytes(data),
        "bytes": len(data),
        "notes": list(notes),
    }


def _folders(name: str) -> Iterator[str]:
    """Yield the folders that a file lies in, the innermost first."""
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def _check_names(table: pa.Table, file: Path, out: Path, encoder: str) -> None:
    """Raise AnonbenchError for a file name that `annotate` does not write, is a duplicate, or would be another's file.

    The last where two images become PNGs of one name, and where the file system takes names for one that differ in case
    or in how Unicode writes a letter.
    """
    seen: dict[str, int] = {}
    for image_id, name in zip(table["image_id"].to_pylist(), table["file_name"].to_pylist(), strict=True):
        remedy = "run annotate again"
        try:
            if names.normal(name) != name:
                raise ValueError(f"has the file name {name!r} instead of {names.normal(name)!r}")
            stored = names.normal(names.encoded(name, encoder))
            if stored in seen:
                remedy = "give each image of the split its own name and run annotate again"
                as_what = "" if stored == name else f" as a PNG, as {name!r} is stored losslessly"
                raise ValueError(f"has the file name of image {seen[stored]} ({stored}){as_what}")
        except ValueError as error:
            raise AnonbenchError(str(error), file=file, entry=f"image {image_id}", remedy=remedy) from None
        seen[stored] = image_id
    folders = {parent for name in seen for parent in _folders(name)}
    for name in sorted(folders & seen.keys()):
        raise AnonbenchError(
            f"has the file name {name}, which is a folder of other images",
            file=file,
            entry=f"image {seen[name]}",
            remedy="rename one of the two and run annotate again",
        )
    pair = names.alike(seen)
    if pair and names.are_one(manifests.private_folder(out)):
        raise AnonbenchError(
            f"the file system takes {pair[0]!a} and {pair[1]!a} for one file",
            file=out,
            remedy="write to one that tells case and Unicode forms apart, or rename one of the images",
        )
