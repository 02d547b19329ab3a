"""One run over a folder: look, choose, change, account for everybody; each step goes on where the last run stopped."""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import functools
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from anonbench import __version__, images, manifests, names, regions, workers
from anonbench.annotate import detections
from anonbench.annotate.choose import choose
from anonbench.annotate.options import Detectors, RegionsConfig
from anonbench.anonymize.contract import Method, make
from anonbench.anonymize.shard import Shard
from anonbench.apply import folder as folders
from anonbench.apply.journal import Journal, entries_of
from anonbench.apply.search import PERSON, Search, Seen, people
from anonbench.apply.tracks import Origin
from anonbench.crops import Work, cut
from anonbench.errors import AnonbenchError
from anonbench.files import atomic, is_left_over, is_temporary, read_json, sha256_bytes, sha256_file, write_json
from anonbench.records import MAX_PIXELS, UNANNOTATED, Region, RegionKind
from anonbench.variants import Variant

SPLIT = "photos"
"""What the photographs are called as a split of the stages' tables."""
SEEN, DONE = "seen.jsonl", "done.jsonl"
"""Journals of what was found in each file, and of what was written."""
WANTED = "wanted.json"
"""Names that the last run began to write: a file of one of them may be its work though no journal says so."""
SEEN_DEPENDS_ON = {"photos", "detectors", "anonbench"}
"""Settings on which depends what is found."""
SPELLED_OUT = 20
"""Files that a message names; the rest is in a list."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What to do: ``search`` are the detectors (None of a frame), ``regions`` what of a person is a region.

    Nobody is annotated, so every detection is changed. What may not be handed out lies in ``private``. ``gap`` and
    ``hold`` are seconds of `tracks.follow`. ``preview`` is the file of a contact sheet. ``elsewhere`` is a folder in
    the place of the private one.
    """

    photos: Path
    out: Path
    variant: Variant
    search: Search | None
    parameters: Row | None = None
    encoder: str = "source"
    seed: int = 0
    regions: RegionsConfig = field(default_factory=RegionsConfig)
    threads: int = 1
    weights: Path | None = None
    device: str = "auto"
    strict: bool = False
    skip_unusable: bool = False
    max_pixels: int = MAX_PIXELS
    gap: float = 1.0
    hold: float = 0.2
    preview: Path | None = None
    elsewhere: Path | None = None

    @property
    def private(self) -> Path:
        """The folder of ledger, tables, manifest and journals, beside ``out``."""
        return self.elsewhere or manifests.private_folder(self.out)

    @property
    def method(self) -> Method:
        """The method, with its weights if it is fitted; raise AnonbenchError for one that needs a whole data set."""
        return self._loaded[0]

    @property
    def fitted(self) -> Row:
        """What there is to say of the method's weights."""
        return self._loaded[1]

    @functools.cached_property
    def _loaded(self) -> tuple[Method, Row]:
        made = make(self.variant, self.parameters)
        if made.sample or getattr(made.parameters, "after", None):
            raise AnonbenchError(
                f"{self.variant} is made for a data set: it looks at all images first, or comes after another variant",
                entry="--parameters",
                remedy="name a quality or a step and no rate (bpp), or a method that looks at one image, or make a "
                "study of the pictures",
            )
        return made, self.shard().load(made)

    @property
    def bodies(self) -> bool:
        """Whether bodies are changed."""
        return self.variant.region is RegionKind.BODY

    def run(self) -> Row:
        """Do everything that is not done yet; return the summary, which is also written.

        Raises AnonbenchError when the output belongs to another run or overlaps the input, for files that cannot be
        used (all of them in one sentence, before anything is written to ``out``), and with ``strict``, also before
        that, when somebody would be left visible.
        """
        found = self._found()
        with self._alone(), contextlib.ExitStack() as closing:
            self._check_settings()
            if not self.skip_unusable:  # else one of two may turn out to be left out
                folders.check_names(found, self.out, self.encoder)
            (self.private / "summary.json").unlink(missing_ok=True)
            seen = Journal(self.private / SEEN)
            closing.callback(seen.close)
            done = Journal(self.private / DONE)
            closing.callback(done.close)
            self._check_claim(found, done.entries)
            photos, clips = look(self, found, seen), look_at_videos(self, found, seen)
            self._refuse(found)
            if self.skip_unusable:
                folders.check_names(found, self.out, self.encoder)
            self._tables(photos)
            left = [*self._left(photos), *(one for clip in clips for one in clip.left)]
            self._check_strict(left)
            earlier = files_of(done.entries)
            write_json(self.private / WANTED, self._check_claim(found, done.entries))
            rows = self._write(photos, seen, done)
            for clip in clips:
                from anonbench.apply.video import write

                rows += write(self, clip, seen, done)
            header = self.shard().header(self.photos.name, self.method, self.fitted)
            manifests.write_rows(self.private / "manifest.jsonl", [header, *rows])
            self._account(found, photos, clips)
            self._remove_stale(rows, earlier)
            self._draw(photos, clips)
            sizes = [*((photo["width"], photo["height"]) for photo in photos), *(clip.size for clip in clips)]
            return self._sum_up(found, rows, left, self._weak_frames(sizes))

    def count(self) -> Row:
        """Look and count, and write nothing but the contact sheet, if one is wanted.

        Raises AnonbenchError as `run` does, but not for files that cannot be used, which are counted, nor where only
        the file system of ``out`` can tell.
        """
        found = self._found()
        self._check_ours()
        self._check_differing()
        self._check_claim(found, entries_of(self.private / DONE))
        with tempfile.TemporaryDirectory(prefix="anonbench-") as folder:
            job = replace(self, elsewhere=Path(folder))
            job.__dict__["_loaded"] = self._loaded  # weights lie in memory once
            photos, clips = look(job, found, None), look_at_videos(job, found, None)
            folders.check_names(found, self.out, self.encoder, on_disk=False)
            job._tables(photos)
            left = [*job._left(photos), *(one for clip in clips for one in clip.left)]
            job._check_strict(left)
            job._draw(photos, clips)
            people_of = job.shard().people([image_row(photo) for photo in photos])
            return {
                "photos": len(photos),
                "photos_changed": sum(people_of.have_regions(photo["image_id"]) for photo in photos),
                "people": sum(len(people_of.rows(image_row(photo))) for photo in photos),
                "videos": len(clips),
                "frames": sum(clip.frames for clip in clips),
                "tracks": sum(clip.tracks for clip in clips),
                "left": Counter(one["status"] for one in left),
                "unusable": found.unusable,
                "not_copied": dict(sorted(Counter(found.others.values()).items())),
            }

    def _found(self) -> folders.Folder:
        """Return what is in the folder, once places and settings are seen to be possible."""
        images.check_policy(self.encoder)
        folders.check_places(self.photos, self.out)
        if self.preview is not None:
            folders.check_file(self.preview, self.photos, self.out)
        return folders.look(self.photos)

    def _draw(self, photos: list[Row], clips: list[Any]) -> None:
        if self.preview is not None:
            from anonbench.apply.preview import draw

            draw(self, photos, clips, self.preview)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second run out of the folder for as long as this one lasts, whatever ends it."""
        self._check_ours()
        self.private.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.private / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AnonbenchError("another run is writing here", file=self.out, remedy="wait until it ends") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # some network file systems have no locks
                raise
        try:
            yield
        finally:
            os.close(lock)

    def _check_ours(self) -> None:
        """Refuse folders in which no run of this command has begun."""
        if (self.private / folders.SETTINGS).is_file():
            return
        for place, ours in ((self.out, set()), (self.private, {"lock"})):
            strangers = sorted(set(os.listdir(place)) - ours) if place.is_dir() else []
            strangers = [name for name in strangers if not is_temporary(name)]
            if strangers:
                raise AnonbenchError(
                    f"contains files that this command did not write ({strangers[0]!a:.80})",
                    file=place,
                    remedy="choose another --out, or move them away",
                )

    def settings(self) -> Row:
        """Return what the result depends on beside the files."""
        return {
            "photos": os.fsencode(os.path.realpath(self.photos)).decode(errors="backslashreplace"),
            "variant": str(self.variant),
            "parameters": self.method.parameters.model_dump(mode="json"),
            "fitted": self.fitted,
            "encoder": self.encoder,
            "seed": self.seed,
            "gap": self.gap,
            "hold": self.hold,
            "detectors": self.search.told if self.search else {},
            "regions": self.regions.model_dump(mode="json", exclude={"detectors"}),
            "anonbench": __version__,
        }

    def _check_settings(self) -> None:
        """Refuse what another run has written with other settings; leave a note of these.

        A run that has written nothing yet is forgotten, and what it has seen with other detectors, too.
        """
        differing = self._check_differing()
        if SEEN_DEPENDS_ON.intersection(differing):
            (self.private / SEEN).unlink(missing_ok=True)
        path = self.private / folders.SETTINGS
        if differing or not path.is_file():
            write_json(path, self.settings())

    def _check_differing(self) -> list[str]:
        """Return the settings in which an earlier run differs; raise AnonbenchError if it has written something."""
        path, done = self.private / folders.SETTINGS, self.private / DONE
        mine, written = json.loads(json.dumps(self.settings())), done.is_file() and done.stat().st_size > 0
        if not path.is_file():
            return []
        remedy = f"choose another --out, or remove it and {self.private}"
        try:
            theirs = read_json(path)
        except AnonbenchError as error:  # a power cut may leave it empty
            if written:
                raise AnonbenchError(error.message, file=path, remedy=remedy) from None
            theirs = None
        theirs = theirs if isinstance(theirs, dict) else {}
        differing = [key for key in mine if theirs.get(key) != mine[key]]
        if differing and written:
            raise AnonbenchError(
                f"was written with other settings: {', '.join(differing)}", file=self.out, remedy=remedy
            )
        return differing

    def _check_claim(self, found: folders.Folder, done: Row) -> list[str]:
        """Refuse to write over what no run of this command has written, or through links.

        Return the names that this run and earlier ones may have written when they are killed before they have said so.
        ``done`` are the entries of what was written.
        """
        path, mine = self.private / WANTED, files_of(done).keys()
        try:
            earlier = read_json(path) if path.is_file() else None
        except AnonbenchError:  # a power cut may leave it empty
            earlier = None
        if not isinstance(earlier, list):
            earlier = [*self._there()] if done else []
        wanted = sorted({*found.photos, *(names.encoded(name, self.encoder) for name in found.photos), *found.videos})
        known = mine | {name for name in earlier if isinstance(name, str)}
        folders.check_links(wanted, self.out)
        folders.check_files(wanted, self.out)
        folders.check_unclaimed([name for name in wanted if name not in known], self.out)
        return sorted({*wanted, *(known - mine)})

    def shard(self) -> Shard:
        """Return the stage's own writer of images, for all photographs."""
        return Shard(
            data=self.photos,
            annotations=self.private / "tables",
            out=self.out,
            split=SPLIT,
            variant=self.variant,
            parameters=self.parameters,
            encoder=self.encoder,
            seed=self.seed,
            threads=self.threads,
            weights=self.weights,
            device=self.device,
            folder=self.out,
        )

    def _refuse(self, found: folders.Folder) -> None:
        """Write the list of what cannot be used; raise AnonbenchError unless it is to be skipped."""
        listed = self.private / "unusable.csv"
        if not found.unusable:
            listed.unlink(missing_ok=True)
            return
        write_csv(listed, ("file_name", "reason"), sorted(found.unusable.items()))
        if not self.skip_unusable:
            told = f"{unusable(found.unusable)}; all are listed in {listed}"
            raise AnonbenchError(told, file=self.photos, remedy=REMEDY)
        if not (found.photos or found.videos):
            raise AnonbenchError("none of its files can be used", file=self.photos, remedy=f"look into {listed}")

    def _tables(self, photos: list[Row]) -> None:
        """Write the stages' tables of images, people, faces and regions."""
        tables = self.private / "tables"
        regions.write(tables / f"{SPLIT}.images.parquet", [image_row(photo) for photo in photos], regions.IMAGES)
        crowd: list[Row] = []
        for photo in photos:
            size = (photo["width"], photo["height"])
            crowd += people(
                photo["image_id"], photo["seen"], size, self.bodies, len(crowd) + 1, self.regions.face.margin
            )
        regions.write(tables / f"{SPLIT}.people.parquet", crowd, regions.PEOPLE)
        faces = []
        if self.search and "face" in self.search.told:
            faces = [tables / f"{SPLIT}.faces.parquet"]
            run = {"finds": "face", "anonbench": __version__, **self.search.told["face"]}
            ids = [photo["image_id"] for photo in photos]
            detections.write(
                faces[0], ids, [photo["seen"].faces for photo in photos], run, {"images": ids, "missing": 0}
            )
        choose(tables, SPLIT, self.chosen(), faces, cover_all=True)

    def chosen(self) -> RegionsConfig:
        """Return what of a person is a region: faces that are nobody's are changed, too."""
        if not self.search or "face" not in self.search.configs:
            return self.regions
        update = {"unannotated": True, "detectors": Detectors(face=self.search.configs["face"])}
        return self.regions.model_copy(update=update)

    def _left(self, photos: list[Row]) -> list[Row]:
        """Return the people of photographs who will be left as they are."""
        if self.variant.region is RegionKind.FRAME:
            return []
        file_names = {photo["image_id"]: photo["file_name"] for photo in photos}
        table = regions.read(self.private / "tables" / f"{SPLIT}.regions.parquet", regions.REGIONS)
        return [
            {"file_name": file_names[row["image_id"]], "person_id": row["person_id"], "status": row["status"]}
            for row in table.select(["image_id", "person_id", "kind", "status"]).to_pylist()
            if row["kind"] == self.variant.region and row["status"] != regions.REGION
        ]

    def _check_strict(self, left: list[Row]) -> None:
        if not (self.strict and left and self.method.hides):
            return
        first = ", ".join(f"{one['person_id']} in {one['file_name']} ({one['status']})" for one in left[:5])
        raise AnonbenchError(
            f"strict: {len(left)} people would be left visible: {first}; nothing was written",
            file=self.photos,
            remedy="change bodies or whole frames instead, use another detector, or take these files out",
        )

    def _write(self, photos: list[Row], seen: Journal, done: Journal) -> list[Row]:
        """Write the photographs that are not written yet; return the manifest rows of all."""
        shard, rows = self.shard(), [image_row(photo) for photo in photos]
        people_of = shard.people(rows)
        sources = {photo["image_id"]: photo["sha256"] for photo in photos}
        # what a photograph's result depends on beside the settings
        told = {
            row["image_id"]: digest([sources[row["image_id"]], row["image_id"], people_of.rows(row)]) for row in rows
        }
        file_names = {row["image_id"]: row["file_name"] for row in rows}
        written: dict[int, list[Row]] = {}
        for row in tqdm(rows, "what is done", unit="photo", disable=None if done.entries else True):
            entry = done.entries.get(row["file_name"])
            if entry and entry["of"] == told[row["image_id"]] and is_written(self.out, entry["rows"][0]):
                written[row["image_id"]] = entry["rows"]

        def keep(some: dict[int, list[Row]]) -> None:
            for image_id, of in some.items():
                if of[0]["source_sha256"] != sources[image_id]:
                    seen.add(file_names[image_id], {})  # whatever its time and size say
                    raise changed(self.photos / file_names[image_id])
                written[image_id] = of
                done.add(file_names[image_id], {"of": told[image_id], "rows": of})

        left = [row for row in rows if row["image_id"] not in written]
        try:
            shard.work(left, self.photos, people_of, self.method, keep)
        except AnonbenchError as error:
            paths = {str(self.photos / row["file_name"]): sources[row["image_id"]] for row in left}
            if str(error.file) in paths:
                check_unchanged(Path(str(error.file)), paths[str(error.file)])
            raise
        return [row for image_id in sorted(written) for row in written[image_id]]

    def _account(self, found: folders.Folder, photos: list[Row], clips: list[Any]) -> None:
        """Write the ledger with the files' names, the coverage, and what was not copied."""
        write_csv(self.private / "not_copied.csv", ("file_name", "reason"), sorted(found.others.items()))
        file_names = {str(photo["image_id"]): photo["file_name"] for photo in photos}
        tables, region = self.private / "tables", str(self.variant.region)
        with open(tables / f"{SPLIT}.ledger.csv", newline="") as stream:
            ledger = csv.DictReader(stream)
            fields = [name for name in ledger.fieldnames or () if name != "image_id"]
            mine = (row | _told(row) for row in ledger if row["kind"] == region)
            rows = [[file_names[row["image_id"]], "", *(row[name] for name in fields)] for row in mine]
        rows += [line for clip in clips for line in clip.ledger()]
        write_csv(self.private / "ledger.csv", ("file_name", "frame", *fields), rows)
        kind, status, source = (2 + fields.index(name) for name in ("kind", "status", "source"))
        counts = Counter((row[kind], row[status], row[source], "video" if row[1] != "" else "photo") for row in rows)
        write_csv(
            self.private / "coverage.csv",
            ("kind", "status", "source", "in", "regions"),
            [[*key, number] for key, number in sorted(counts.items())],
        )

    def _remove_stale(self, rows: list[Row], earlier: Row) -> None:
        """Remove what earlier runs wrote that is no longer wanted, as long as it is as they left it.

        ``earlier`` are their rows of images and videos, by name.
        """
        current = {row["file_name"] for row in rows if row["type"] in ("image", "video")}
        if not self.out.is_dir():
            return
        for name in self._there() - current:
            path = self.out / name
            ours = name in earlier and is_written(self.out, earlier[name])
            if ours or is_left_over(path):
                path.unlink()
                with contextlib.suppress(OSError):  # not empty
                    path.parent.rmdir()

    def _there(self) -> set[str]:
        """Return the names of all files in ``out``, and of links to folders."""
        links = {
            (Path(parent) / name).relative_to(self.out).as_posix()
            for parent, inner, _ in os.walk(self.out)
            for name in inner
            if (Path(parent) / name).is_symlink()
        }
        return links.union(manifests.files_under(self.out))

    def _weak_frames(self, sizes: list[tuple[int, int]]) -> Counter[str]:
        """Return how many photographs and videos of these sizes are changed too little as whole frames, by why."""
        if self.variant.region is not RegionKind.FRAME:
            return Counter()
        why = {size: frame_weakness(self.method, size) for size in set(sizes)}
        return Counter(said for size in sizes if (said := why[size]) is not None)

    def _sum_up(self, found: folders.Folder, rows: list[Row], left: list[Row], weak_frames: Counter[str]) -> Row:
        photos = [row for row in rows if row["type"] == "image"]
        persons = [row for row in rows if row["type"] == "person"]
        clips = [row for row in rows if row["type"] == "video"]
        written = {row["file_name"] for row in (*photos, *clips)}
        summary = {
            "variant": str(self.variant),
            "photos": len(photos),
            "photos_changed": sum(row["action"] == "encoded" for row in photos),
            "people": len(persons),
            "people_changed": sum(row["method"] is not None for row in persons),
            "weak": sum("weak" in row for row in persons),
            "weak_in_videos": sum(sum(clip["weak"].values()) for clip in clips),
            "weak_frames": dict(sorted(weak_frames.items())),
            "videos": len(clips),
            **{key: sum(clip[key] for clip in clips) for key in ("frames", "tracks", "regions", "regions_filled_in")},
            "left": Counter(one["status"] for one in left),
            "unusable": len(found.unusable),
            "not_copied": dict(sorted(Counter(found.others.values()).items())),
            "damaged_videos": sum(clip["damaged"] > 0 for clip in clips),
            "strangers": sorted(self._there() - written),
        }
        write_json(self.private / "summary.json", summary)
        return summary


def whole_frame(size: tuple[int, int]) -> Region:
    """Return the region that is all of a frame (``size``: width, height)."""
    width, height = size
    mask = np.ones((height, width), bool)
    return Region(0, RegionKind.FRAME, RegionKind.FRAME.value, (0, 0, width, height), mask, (0.0, 0.0, width, height))


def frame_weakness(method: Method, size: tuple[int, int]) -> str | None:
    """Return why somebody may still be recognised in a changed frame (``size``: width, height), None if not.

    Nobody looks for people in whole frames, so the method is asked of the largest there can be, one who fills it.
    """
    region = whole_frame(size)
    work = Work(0, np.zeros((size[1], size[0], 3), np.uint8), [region])
    crop = cut(work, region, method.window(region, *size), method.padding, 0)
    return method.weakness(replace(crop, region=replace(region, kind=RegionKind.BODY)))


REMEDY = "mend them or take them out, or leave them out with --on-unusable skip"


def unusable(files: dict[str, str]) -> str:
    """Return in words which files cannot be used, given their names and reasons."""
    of = sorted(files.items())
    told = "; ".join(f"{name if name.isprintable() else ascii(name)} {why}" for name, why in of[:SPELLED_OUT])
    more = f"; and {len(of) - SPELLED_OUT} more" if len(of) > SPELLED_OUT else ""
    return f"{len(of)} file{'' if len(of) == 1 else 's'} cannot be used: {told}{more}"


def files_of(done: Row) -> Row:
    """Return the manifest's rows of what entries of a journal say was written, by the names of the files."""
    return {entry["rows"][0]["file_name"]: entry["rows"][0] for entry in done.values()}


def changed(path: Path) -> AnonbenchError:
    """Return the error of a file that is another one than people were looked for in."""
    return AnonbenchError(
        "has changed since people were looked for in it",
        file=path,
        remedy="run again when nothing else writes to the folder",
    )


def check_unchanged(path: Path, sha256: str) -> None:
    """Raise AnonbenchError for a file that is gone, or has not the content of that hash."""
    try:
        same = sha256_file(path) == sha256
    except OSError:
        same = False
    if not same:
        raise changed(path)


def look(job: Job, found: folders.Folder, seen: Journal | None) -> list[Row]:
    """Look for people in every photograph that no earlier run has looked at; return a row of each that can be used.

    A row has ``image_id`` (from 1, in the order of names), ``file_name``, ``bytes``, ``width``, ``height``, ``sha256``
    and ``seen``. Whatever cannot be decoded or written becomes `Folder.unusable`. ``seen`` is where it is kept.
    """
    rows: dict[str, Row] = {}
    problems: dict[str, str] = {}

    def one(numbered: tuple[int, str]) -> None:
        number, name = numbered
        try:
            rows[name] = {"image_id": number, "file_name": name, **_looked_at(job, number, name, seen)}
        except Unusable as error:
            problems[name] = str(error)

    bar = tqdm(total=len(found.photos), desc="looking for people", unit="photo", disable=None)
    workers.run(one, list(enumerate(found.photos, 1)), job.threads, bar, lambda: len(rows) + len(problems))
    found.unusable.update(problems)
    found.photos = [name for name in found.photos if name not in problems]
    return [rows[name] for name in found.photos]


def look_at_videos(job: Job, found: folders.Folder, seen: Journal | None) -> list[Any]:
    """Return what `video.look` does; FFmpeg is loaded only where there is a video."""
    if not found.videos:
        return []
    from anonbench.apply import video

    return video.look(job, found, seen)


def _looked_at(job: Job, number: int, name: str, seen: Journal | None) -> Row:
    """Return what there is to know of a photograph, from the journal or by looking."""
    path = job.photos / name
    with usable():
        status = path.stat()
    stamp = {"bytes": status.st_size, "mtime": status.st_mtime_ns, "id": number if _by_id(job) else 0}
    entry = seen.entries.get(name) if seen else None
    if entry is None or any(entry.get(key) != value for key, value in stamp.items()):
        with usable():
            data = images.read_bytes(path)
            width, height = images.header(data).upright
            frame: Row = {"size": (width, height), "labels_on": "upright", "max_pixels": job.max_pixels}
            pixels = images.decode(data, **frame).pixels
        found = Seen() if job.search is None else job.search(pixels, number, name)
        if job.search is not None and not (len(found.faces) or len(found.persons)):
            with usable():
                images.without_metadata(data, **frame)  # so it can be written, whatever it holds
        entry = {**stamp, "width": width, "height": height, "sha256": sha256_bytes(data), **found.to_json()}
        if seen is not None:
            seen.add(name, entry)
    kept = {key: entry[key] for key in ("bytes", "width", "height", "sha256")}
    return {**kept, "seen": Seen.from_json(entry)}


class Unusable(Exception):
    """Why a file cannot be anonymized; goes on from its name."""


@contextlib.contextmanager
def usable() -> Iterator[None]:
    """Raise Unusable in the place of whatever a file that is only read leads to."""
    try:
        yield
    except AnonbenchError as error:
        raise Unusable(error.message) from error
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror or error})") from error
    except MemoryError as error:
        raise Unusable("needs more memory than there is") from error


def _by_id(job: Job) -> bool:
    return job.search is not None and job.search.looks_up


def image_row(photo: Row) -> Row:
    """Return a row of the stages' table of images."""
    name, (faces, persons) = photo["file_name"], (photo["seen"].faces, photo["seen"].persons)
    return {
        **{key: photo[key] for key in ("image_id", "file_name", "width", "height", "bytes")},
        "path": name,
        "labels_on": "upright",
        "people": len(persons) or len(faces),
        "start": 0,
        "video_id": None,
        "frame_index": None,
    }


def is_written(out: Path, row: Row) -> bool:
    """Tell whether a file is the one of its manifest row, to the byte."""
    path = out / row["file_name"]
    try:
        return not path.is_symlink() and path.stat().st_size == row["bytes"] and sha256_file(path) == row["sha256"]
    except OSError:
        return False


def write_csv(path: Path, head: tuple[str, ...], rows: list[Any]) -> None:
    """Write a table, atomically; names that are not Unicode are spelled out."""
    with atomic(path) as part, open(part, "w", newline="", errors="backslashreplace") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(head)
        table.writerows(rows)


def _told(row: Row) -> Row:
    """Return what a row of the stages' ledger is called where nobody is annotated."""
    return {"category": PERSON, "source": Origin.DETECTED.value} if row["category"] == UNANNOTATED else {}


def digest(value: Any) -> str:
    """Return the sha256 of a value as JSON."""
    return sha256_bytes(json.dumps(value, sort_keys=True, default=str).encode())
