"""Videos: frames through the same detectors and the same engine, boxes followed from frame to frame, sound kept.

FFmpeg (PyAV) decodes and encodes. Pictures are encoded anew as H.264 (VP9 in WebM), as a player shows them, turned or
mirrored; sound is copied, packet by packet. Whatever else a file holds (place, date, camera, telemetry, subtitles,
chapters, comments in the head of the sound) is left out.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace, Interpolation
from tqdm import tqdm

from anonbench import regions, workers
from anonbench.annotate.choose import Scene
from anonbench.anonymize import engine
from anonbench.apply import folder as folders
from anonbench.apply.job import Job, Unusable, changed, check_unchanged, digest, is_written, usable, whole_frame
from anonbench.apply.journal import Journal
from anonbench.apply.search import PERSON, Seen, people
from anonbench.apply.sound import without_comments
from anonbench.apply.tracks import Filled, Origin, follow
from anonbench.crops import Work
from anonbench.errors import AnonbenchError
from anonbench.files import atomic, sha256_file
from anonbench.records import MAX_PIXELS, Region, RegionKind
from anonbench.seeding import seed_of

QUALITY = {"libx264": {"crf": "18", "preset": "fast"}, "libvpx-vp9": {"crf": "24", "b:v": "0", "row-mt": "1"}}
"""Encoders and their settings; nearly as good as the source to the eye."""
EXACT = int(
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)
"""How colours are converted: FFmpeg's quicker ways make every video darker by one level there and one back."""
ENCODER_THREADS = 4
"""Fixed: on as many cores as there are, what an encoder writes would depend on the machine."""
WRITER = 3
"""Raised when other videos are written of the same frames: what an earlier one wrote is written again."""
DISPLAY_MATRIX = Type.DISPLAYMATRIX
MEMORY_SHARE = 0.5
"""Of the machine's memory, for all frames of a video at once, which a method that works on clips wants."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame: its place, its time in units of the stream's, seconds since the first, and its pixels, upright.

    Pixels are uint8 HxWx3 RGB. ``sound`` are the packets that stand before it in the file.
    """

    index: int
    pts: int
    time: float
    pixels: np.ndarray = field(repr=False)
    sound: tuple[Any, ...] = field(default=(), repr=False)


@dataclass(slots=True)
class Clip:
    """One video and what was found in it: ``rows`` are those of the table of regions, by frame, of all who are there.

    ``origins`` say of each row where its box comes from.
    """

    file_name: str
    sha256: str
    size: tuple[int, int]
    frames: int
    tracks: int
    rows: list[list[Row]] = field(repr=False)
    origins: list[list[Origin]] = field(repr=False)

    @property
    def left(self) -> list[Row]:
        """The people who will be left as they are, one entry each."""
        found = {
            (row["person_id"], row["status"]) for rows in self.rows for row in rows if row["status"] != regions.REGION
        }
        return [{"file_name": self.file_name, "person_id": number, "status": why} for number, why in sorted(found)]

    def ledger(self) -> Iterator[list[Any]]:
        """Yield the lines of the ledger: a row per frame and person."""
        for index, (rows, origins) in enumerate(zip(self.rows, self.origins, strict=True)):
            for row, origin in zip(rows, origins, strict=True):
                box: tuple[Any, ...] = ("",) * 4
                if row["status"] == regions.REGION:
                    box = (row["x0"], row["y0"], row["x1"] - row["x0"], row["y1"] - row["y0"])
                who = (row["person_id"], PERSON, row["kind"], row["status"], origin.value)
                yield [self.file_name, index, *who, *box, ""]


def look(job: Job, found: folders.Folder, seen: Journal | None) -> list[Clip]:
    """Look for people in every frame of every video; return those that can be used.

    Whatever cannot be decoded becomes `Folder.unusable`.
    """
    clips = []
    for name in found.videos:
        try:
            clips.append(_look(job, name, seen))
        except Unusable as error:
            found.unusable[name] = str(error)
    found.videos = [clip.file_name for clip in clips]
    return clips


def _look(job: Job, name: str, seen: Journal | None) -> Clip:
    path = job.photos / name
    with usable():
        status = path.stat()
    stamp: Row = {"bytes": status.st_size, "mtime": status.st_mtime_ns}
    known = seen.entries if seen else {}
    whole = known.get(f"{name}\0")
    kept = _kept(known, name, stamp)
    if whole is None or kept is None:
        if job.search is not None and job.search.looks_up:
            raise Unusable("is a video, and stored detections know images alone")
        with usable():
            stamp["sha256"], missing = sha256_file(path), folders.missing_bytes(path)
        size, frames = (0, 0), 0
        if missing:
            raise Unusable(f"is cut short: at least {missing} bytes are missing at its end")
        with reading(path, job.max_pixels) as video:
            bar = tqdm(desc=f"looking for people in {name}", total=video.frames or None, unit="frame", disable=None)

            def one(frame: Frame) -> tuple[Frame, Row | None]:
                entry = known.get(f"{name}\0{frame.index}")
                if entry is not None and _is_of(entry, {**stamp, "time": frame.time}):
                    return frame, None
                in_it = Seen() if job.search is None else job.search(frame.pixels)
                return frame, {**stamp, "time": frame.time, **in_it.to_json()}

            found: list[Row] = []
            with bar:
                for frame, entry in workers.stream(one, video, job.threads):
                    height, width = frame.pixels.shape[:2]
                    if not frames:
                        check_writable(name, frame, video)
                    elif (width, height) != size:
                        raise Unusable(f"changes its size from {size[0]}x{size[1]} to {width}x{height}")
                    size, frames = (width, height), frames + 1
                    key = f"{name}\0{frame.index}"
                    if entry is not None and seen is not None:
                        seen.add(key, entry)
                    found.append(entry if entry is not None else known[key])
                    bar.update()
        if not frames:
            raise Unusable("has no frame that can be decoded")
        whole = {**stamp, "size": list(size), "frames": frames}
        if seen is not None:
            seen.add(f"{name}\0", whole)
    else:
        found = kept
    return _clip(job, name, whole, [Seen.from_json(entry) for entry in found], [entry["time"] for entry in found])


def _kept(known: Row, name: str, stamp: Row) -> list[Row] | None:
    """Return what a journal knows of every frame of a video, None where one is missing or is of another version."""
    whole = known.get(f"{name}\0")
    if whole is None or not _is_of(whole, stamp):
        return None
    of = {**stamp, "sha256": whole["sha256"]}
    found = [known.get(f"{name}\0{index}") for index in range(whole["frames"])]
    frames = [entry for entry in found if entry is not None and _is_of(entry, of) and "time" in entry]
    return frames if len(frames) == len(found) else None


def _is_of(entry: Row, stamp: Row) -> bool:
    """Tell whether an entry of the journal is of a file with that size and time, and content if ``stamp`` has it."""
    return all(entry.get(key) == value for key, value in stamp.items())


def _clip(job: Job, name: str, whole: Row, seen: list[Seen], times: list[float]) -> Clip:
    """Follow what was found through the frames, and choose regions as of photographs."""
    size = (int(whole["size"][0]), int(whole["size"][1]))
    faces = follow([one.faces for one in seen], times, size, job.gap, job.hold)
    persons = follow([one.persons for one in seen], times, size, job.gap, job.hold)
    clip = Clip(name, whole["sha256"], size, whole["frames"], 0, [], [])
    numbers = {number for filled in persons for number in filled.tracks}
    for index, (face, person) in enumerate(zip(faces, persons, strict=True)):
        rows, origins = _rows(job, name, index, size, face, person, len(numbers))
        clip.rows.append(rows)
        clip.origins.append(origins)
    clip.tracks = len({row["person_id"] for rows in clip.rows for row in rows})
    return clip


def _rows(
    job: Job, name: str, index: int, size: tuple[int, int], faces: Filled, persons: Filled, people_tracks: int
) -> tuple[list[Row], list[Origin]]:
    """Return the rows of a frame, of the kind that is changed, each with its track as person and identity."""
    image = {"image_id": index, "width": size[0], "height": size[1]}
    crowd = people(index, Seen(faces.boxes, persons.boxes), size, job.bodies, 1, job.regions.face.margin)
    of: dict[int, tuple[str, int, Origin]] = {}
    for row in crowd:
        which, place = row["detection"]
        filled = faces if which == "face" else persons
        track = filled.tracks[place]
        row["person_id"] = 1 + track + (people_tracks if which == "face" else 0)
        of[row["person_id"]] = (which, track, filled.origins[place])
    found, origins = [], []
    for row, person in Scene(image, crowd, job.chosen(), posed=False, cover_all=True).rows(faces.boxes, None):
        if row["kind"] != job.variant.region:
            continue
        if person is None:
            place = _nearest(row, faces.boxes)
            track, origin = faces.tracks[place], faces.origins[place]
            row["person_id"], row["identity"] = -1 - track, f"{name}/face{track}"
        else:
            which, track, origin = of[row["person_id"]]
            row["identity"] = f"{name}/{which}{track}"
        found.append(row)
        origins.append(origin)
    return found, origins


def _nearest(row: Row, boxes: np.ndarray) -> int:
    """Return the index of the detection that a stranger's row is of: the one whose centre is the region's."""
    x, y, w, h = row["subject"]
    away = np.abs(boxes[:, :2] + boxes[:, 2:4] / 2 - (x + w / 2, y + h / 2)).sum(axis=1)
    return int((away + np.abs(boxes[:, 2] - w) * 1e-3).argmin())


def write(job: Job, clip: Clip, seen: Journal, done: Journal) -> list[Row]:
    """Write a video unless it is written; return its manifest row."""
    fate = digest([WRITER, clip.sha256, clip.size, clip.rows])
    entry = done.entries.get(clip.file_name)
    if entry and entry["of"] == fate and is_written(job.out, entry["rows"][0]):
        rows: list[Row] = entry["rows"]
        return rows
    source, target = job.photos / clip.file_name, job.out / clip.file_name
    weak: Counter[str] = Counter()
    try:
        with (
            atomic(target) as part,
            reading(source, job.max_pixels) as video,
            Writer(part, target, clip.size, video) as out,
        ):
            bar = tqdm(desc=f"{job.variant} {clip.file_name}", total=clip.frames, unit="frame", disable=None)
            frames = 0
            with bar:
                for frame, outcomes in _changed(job, clip, video.with_sound(), source):
                    out.add(frame)
                    weak.update(outcome.weak for outcome in outcomes if outcome.weak)
                    frames += 1
                    bar.update()
            out.finish()
            if frames != clip.frames or sha256_file(source) != clip.sha256:
                seen.add(f"{clip.file_name}\0", {})  # whatever its time and size say
                raise changed(source)
    except Unusable as error:
        check_unchanged(source, clip.sha256)
        raise AnonbenchError(
            str(error), file=source, remedy="run again when nothing else writes to the folder"
        ) from error
    row = {
        "type": "video",
        "file_name": clip.file_name,
        "action": "encoded",
        "encoder": out.told,
        "source_sha256": clip.sha256,
        "sha256": sha256_file(target),
        "bytes": target.stat().st_size,
        "frames": clip.frames,
        "tracks": clip.tracks,
        "regions": sum(row["status"] == regions.REGION for rows in clip.rows for row in rows),
        "regions_filled_in": sum(one is not Origin.DETECTED for origins in clip.origins for one in origins),
        "weak": dict(sorted(weak.items())),
        "damaged": video.damaged,
        "notes": [*video.notes, *([f"{video.damaged} packets or frames are damaged"] if video.damaged else [])],
    }
    done.add(clip.file_name, {"of": fate, "rows": [row]})
    return [row]


def _changed(
    job: Job, clip: Clip, frames: Iterator[Frame], source: Path
) -> Iterator[tuple[Frame, list[engine.Outcome]]]:
    """Yield the frames in order, their people changed."""
    if not job.method.clips:
        yield from workers.stream(lambda frame: (frame, change(job, clip, [frame], source)[0]), frames, job.threads)
        return
    needed = clip.frames * clip.size[0] * clip.size[1] * 3
    if needed > MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise AnonbenchError(
            f"its {clip.frames} frames do not fit into memory at once, and {job.method.name} works on whole videos",
            file=source,
            remedy="cut it into shorter ones",
        )
    every = list(frames)
    yield from zip(every, change(job, clip, every, source), strict=True)


def change(job: Job, clip: Clip, frames: Sequence[Frame], source: Path) -> list[list[engine.Outcome]]:
    """Change the people in frames in place; a method that works on clips gets all frames, any other one of them."""
    works = [
        Work(
            image_id=seed_of("frame", clip.file_name, frame.index),
            pixels=frame.pixels,
            regions=_regions(job, clip, frame.index) if frame.index < clip.frames else [],
            file=str(source),
        )
        for frame in frames
    ]
    return (engine.anonymize_clip if job.method.clips else engine.anonymize)(works, job.method, job.seed)


def _regions(job: Job, clip: Clip, index: int) -> list[Region]:
    if job.variant.region is RegionKind.FRAME:
        return [whole_frame(clip.size)]
    return [regions.to_region(row, clip.size[1]) for row in clip.rows[index] if row["status"] == regions.REGION]


class Reader:
    """An opened video; iterate over it for its frames, upright."""

    def __init__(self, container: Any, max_pixels: int) -> None:
        self.container = container
        pictures = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not pictures:
            raise Unusable("has no moving picture")
        self.stream = pictures[0]
        self.stream.thread_type = "AUTO"
        self.sound = list(container.streams.audio)
        self.rest: list[Any] = []
        self.frames = int(self.stream.frames)
        average = self.stream.average_rate or self.stream.guessed_rate
        self.rate = float(average) if average else 25.0
        self.colorspace, self.primaries, self.transfer = 2, 2, 2
        left = Counter(stream.type for stream in container.streams if stream not in (self.stream, *self.sound))
        width, height = self.stream.codec_context.width, self.stream.codec_context.height
        if width * height > max_pixels:
            raise Unusable(f"has {width}x{height} pixels, more than the limit of {max_pixels}")
        self.aspect = self.stream.sample_aspect_ratio or Fraction(1)
        self.damaged = 0
        self.notes = [f"{number} {kind} streams left out" for kind, number in sorted(left.items())]
        self.notes += ["metadata left out"] if container.metadata else []

    def __iter__(self) -> Iterator[Frame]:
        return self._decoded([self.stream])

    def with_sound(self) -> Iterator[Frame]:
        """Yield the frames with their sound; ``rest`` is what comes after the last one."""
        return self._decoded([self.stream, *self.sound])

    def _decoded(self, streams: list[Any]) -> Iterator[Frame]:
        index, first, last, unit = 0, 0, None, float(self.stream.time_base)
        for packet in self.container.demux(streams):
            if packet.stream.index != self.stream.index:
                self.rest.append(packet)
                continue
            for frame in self._decode(packet):
                pts = frame.pts if frame.pts is not None else (0 if last is None else last + 1)
                last = pts if last is None or pts > last else last + 1
                if index == 0:
                    first = last
                    if _shown(frame).swapped and self.aspect:
                        self.aspect = 1 / self.aspect
                    self.colorspace = int(frame.colorspace)
                    self.primaries, self.transfer = int(frame.color_primaries), int(frame.color_trc)
                    if len(frame.format.components) and max(c.bits for c in frame.format.components) > 8:
                        self.notes.append(f"{frame.format.name} written with 8 bits")
                sound, self.rest = tuple(self.rest), []
                yield Frame(index, last, (last - first) * unit, _upright(frame), sound)
                index += 1

    def _decode(self, packet: Any) -> list[Any]:
        """Return the frames of a packet; a damaged one has none, or guessed ones, and FFmpeg goes on with the next."""
        try:
            frames = list(packet.decode())
        except av.error.InvalidDataError:
            self.damaged += 1
            return []
        self.damaged += sum(bool(frame.is_corrupt) for frame in frames)
        return frames


class Shown(NamedTuple):
    """How a player shows a frame: rows and columns ``swapped``, and then columns or rows in reverse order."""

    swapped: bool
    mirrored: bool
    upside_down: bool


STRAIGHT = Shown(False, False, False)
SKEW = 0.02
"""By which an entry of a frame's matrix may miss what a quarter turn has."""


def _shown(frame: Any) -> Shown:
    """Return what the display matrix of a frame asks for; raise Unusable for what is no quarter turn.

    A point (x, y) is shown at (a x + c y, b x + d y), where a, b, c and d are its entries 0, 1, 3 and 4 (fixed point,
    32 bits each; ISO/IEC 14496-12, 8.3.2).
    """
    try:
        matrix = frame.side_data.get(DISPLAY_MATRIX)
    except ValueError:  # PyAV lists all kinds of data before it looks for one, and does not know EXIF; but the angle
        turn = np.deg2rad(frame.rotation)  # counterclockwise; whether it is mirrored is not known
        entries = np.round([np.cos(turn), -np.sin(turn), 0, np.sin(turn), np.cos(turn), 0], 6)
    else:
        entries = np.zeros(6) if matrix is None else np.frombuffer(bytes(matrix), np.int32)[:6].astype(float)
    if not entries.any():
        return STRAIGHT
    a, b, c, d = entries[[0, 1, 3, 4]]
    sides = np.hypot(a, b), np.hypot(c, d)
    if min(sides) > 0:
        a, b, c, d = a / sides[0], b / sides[0], c / sides[1], d / sides[1]
        if max(abs(a), abs(d)) < SKEW:
            return Shown(True, c < 0, b < 0)
        if max(abs(b), abs(c)) < SKEW:
            return Shown(False, a < 0, d < 0)
    raise Unusable("is shown turned or sheared by what is no quarter turn")


def _upright(frame: Any) -> np.ndarray:
    shown = _shown(frame)
    if any(component.is_alpha for component in frame.format.components):
        pixels = frame.to_ndarray(format="rgba", interpolation=EXACT).astype(np.uint16)
        pixels = ((pixels[..., :3] * pixels[..., 3:] + 127) // 255).astype(np.uint8)  # as it shows on black
    else:
        pixels = frame.to_ndarray(format="rgb24", interpolation=EXACT)
    if shown.swapped:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels[:: -1 if shown.upside_down else 1, :: -1 if shown.mirrored else 1])


@contextlib.contextmanager
def reading(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Reader]:
    """Open a video; raise Unusable for what FFmpeg cannot read, and for frames that are too large."""
    with usable():
        kind = folders.container_of(path)
    if kind is None:
        raise Unusable("is no MP4, QuickTime, Matroska, WebM or AVI, whatever its name says")
    try:
        with av.open(os.fspath(path), format=kind, metadata_errors="replace") as container:
            yield Reader(container, max_pixels)
    except av.error.FFmpegError as error:
        raise Unusable(f"is not a video that can be decoded ({error.strerror})") from error


def check_writable(name: str, frame: Frame, video: Reader) -> None:
    """Raise Unusable where picture or sound of a video do not go into its kind of file, given the first frame."""
    try:
        with Writer(io.BytesIO(), Path(name), (frame.pixels.shape[1], frame.pixels.shape[0]), video) as out:
            out.add(replace(frame, sound=()))
            out.finish()
    except AnonbenchError as error:
        raise Unusable(error.message) from error


class Writer:
    """Encodes frames as they come, and puts the copied sound beside them.

    ``part`` is a path or a file, ``target`` what it is called in the end, ``size`` width and height.
    """

    def __init__(self, part: Path | io.BytesIO, target: Path, size: tuple[int, int], video: Reader) -> None:
        self.target = target
        ending = target.suffix[1:].casefold()
        self.codec = "libvpx-vp9" if ending == "webm" else "libx264"
        self.video = video
        self.container = av.open(
            part if isinstance(part, io.BytesIO) else os.fspath(part),
            "w",
            format=folders.VIDEOS[ending],
            container_options={"fflags": "+bitexact"},
        )
        width, height = size
        rate = Fraction(video.rate).limit_denominator(1001 * 120)
        stream: Any = self.container.add_stream(self.codec, rate=rate)
        stream.width, stream.height = width, height
        even = width % 2 == 0 and height % 2 == 0
        stream.pix_fmt = "yuv420p" if even or self.codec != "libx264" else "yuv444p"
        stream.options = QUALITY[self.codec]
        context = stream.codec_context
        context.thread_count = ENCODER_THREADS
        context.time_base = video.stream.time_base
        stream.time_base = video.stream.time_base
        self.stream, self.context = stream, context
        with self._written():
            self.sound = {one.index: self._like(one) for one in video.sound}
        self.told = " ".join([self.codec, *(f"{key} {value}" for key, value in QUALITY[self.codec].items())])

    def _like(self, source: Any) -> Any:
        """Return a stream for the packets of a sound stream, without what says whose it is."""
        made: Any = self.container.add_stream_from_template(source)
        made.metadata.clear()
        if (head := source.codec_context.extradata) is not None:
            made.codec_context.extradata = without_comments(source.codec_context.codec.canonical_name, head)
        return made

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(av.error.FFmpegError):  # of an encoder that had nothing to write yet
            self.container.close()

    def finish(self) -> None:
        """Write what the encoder still holds, and the file's end."""
        with self._written():
            self.container.mux(self.stream.encode())
        self._copy(self.video.rest)
        with self._written():
            self.container.close()

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Raise AnonbenchError for what keeps the file from being written."""
        try:
            yield
        except (av.error.FFmpegError, ValueError) as error:  # ValueError: sound that a container does not hold
            raise AnonbenchError(
                f"cannot be written ({getattr(error, 'strerror', None) or error})",
                file=self.target,
                remedy="free some space and run again, or leave the video out",
            ) from error

    def add(self, frame: Frame) -> None:
        """Encode a frame, and copy its sound."""
        picture: Any = av.VideoFrame.from_ndarray(frame.pixels, "rgb24")
        space = self.video.colorspace
        matrix = Colorspace(space) if space in (1, 4, 7, 9) else Colorspace.ITU601
        picture = picture.reformat(format=self.stream.pix_fmt, dst_colorspace=matrix, interpolation=EXACT)
        if frame.index == 0:
            self.context.sample_aspect_ratio = self.video.aspect  # known since a frame was decoded
            self.context.colorspace, self.context.color_primaries = space, self.video.primaries
            self.context.color_trc = self.video.transfer
        picture.colorspace = space
        picture.color_primaries, picture.color_trc = self.video.primaries, self.video.transfer
        picture.pts, picture.time_base = frame.pts, self.video.stream.time_base
        self._copy(frame.sound)  # which opens the encoder, too: not before its settings are known
        with self._written():
            self.container.mux(self.stream.encode(picture))

    def _copy(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            if packet.dts is None and packet.size:
                self.video.damaged += 1
            elif packet.dts is not None:
                packet.stream = self.sound[packet.stream.index]
                with self._written():
                    self.container.mux(packet)
