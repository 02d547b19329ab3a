"""Videos: nobody is shown by a frame in which they were missed, sound stays, nothing that tells place or time does."""

from __future__ import annotations

import csv
import json
import os
import random
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from anonbench import registry
from anonbench.anonymize import engine
from anonbench.anonymize.contract import Crop, Method
from anonbench.apply import folder as folders
from anonbench.apply import sound, video
from anonbench.apply.job import Job
from anonbench.crops import Work
from anonbench.errors import AnonbenchError
from anonbench.records import Region
from anonbench.variants import Variant
from tests.apply import moving
from tests.apply.conftest import Run, files_of
from tests.detectors import drawn


def job(tmp_path: Path, sees: Any = None, variant: str = "face-mask_out", **options: Any) -> Job:
    search = None if variant.startswith("frame") else sees or moving.Sees()
    return Job(tmp_path / "p", tmp_path / "o", Variant.parse(variant), search, threads=2, **options)


def visible(pixels: np.ndarray) -> int:
    """Return how many pixels of the white square are seen in a frame."""
    return int((pixels.min(axis=2) > 200).sum())


@pytest.mark.parametrize("where", [moving.straight, moving.curved])
def test_a_missed_frame_shows_nobody(tmp_path: Path, where: moving.Path2D) -> None:
    moving.write(tmp_path / "p" / "v.mp4", where=where)
    blind = {where(frame) for frame in (3, 11, 12, 13, 20, 27, 28, 39)}
    summary = job(tmp_path, moving.Sees(blind), gap=0.5, hold=0.1).run()
    shown = moving.read(tmp_path / "o" / "v.mp4")
    assert [visible(pixels) for pixels in shown] == [0] * 40
    assert all(visible(pixels) > 1000 for pixels in moving.read(tmp_path / "p" / "v.mp4"))
    for pixels in shown:  # and the rest stays what it was
        assert abs(pixels[200:].astype(int) - moving.GREY).max() <= 3
    assert summary["regions"] == summary["frames"] == 40
    assert summary["regions_filled_in"] == 8
    with open(tmp_path / "private" / "o" / "ledger.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {int(row["frame"]) for row in rows if row["source"] != "detector"} == {3, 11, 12, 13, 20, 27, 28, 39}
    assert {row["person_id"] for row in rows} == {"-1"}


def test_without_following_the_missed_frame_would_show_somebody(tmp_path: Path) -> None:
    moving.write(tmp_path / "p" / "v.mp4")
    job(tmp_path, moving.Sees({moving.straight(11)}), gap=0, hold=0).run()
    assert visible(moving.read(tmp_path / "o" / "v.mp4")[11]) > 1000


def test_sound_stays_to_the_byte_and_metadata_goes(tmp_path: Path) -> None:
    source = moving.write(tmp_path / "p" / "sub" / "ein Film.mp4")
    job(tmp_path).run()
    target = tmp_path / "o" / "sub" / "ein Film.mp4"
    assert moving.packets(target) == moving.packets(source)
    assert len(moving.packets(target)) > 20
    assert b"a secret" in source.read_bytes()
    for secret in (b"a secret", b"+48.1"):
        assert secret not in target.read_bytes()
    with av.open(str(source)) as old, av.open(str(target)) as new:
        assert not new.metadata.keys() - {"major_brand", "minor_version", "compatible_brands"}
        assert new.streams.video[0].average_rate == old.streams.video[0].average_rate
        assert [f.time for f in new.decode(video=0)] == [f.time for f in old.decode(video=0)]


def test_a_video_without_sound_and_one_with_uneven_times(tmp_path: Path) -> None:
    source = moving.write(tmp_path / "p" / "v.mkv", sound=False, times=lambda frame: frame + frame // 7)
    job(tmp_path).run()
    with av.open(str(source)) as old, av.open(str(tmp_path / "o" / "v.mkv")) as new:
        assert not new.streams.audio
        assert [f.time for f in new.decode(video=0)] == [f.time for f in old.decode(video=0)]


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_video_that_is_stored_on_its_side_is_looked_at_and_written_upright(tmp_path: Path, turned: int) -> None:
    moving.write(tmp_path / "p" / "v.mov", frames=6, size=(160, 200), turned=turned)
    sees = moving.Sees()
    job(tmp_path, sees, "face-identity").run()
    with av.open(str(tmp_path / "o" / "v.mov")) as container:
        frames = list(container.decode(video=0))
    assert {frame.rotation for frame in frames} == {0}
    for number, frame in enumerate(frames):
        expected = moving.frame_of(moving.straight(number), (160, 200)).astype(int)
        assert abs(frame.to_ndarray(format="rgb24").astype(int) - expected).mean() < 3


MATRICES = {
    "mirrored": ((-1, 0, 0, 1), lambda pixels: pixels[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda pixels: pixels[::-1]),
    "turned by a half": ((-1, 0, 0, -1), lambda pixels: pixels[::-1, ::-1]),
    "turned by a quarter": ((0, 1, -1, 0), lambda pixels: np.rot90(pixels, 3)),
    "turned back": ((0, -1, 1, 0), np.rot90),
    "turned and mirrored": ((0, 1, 1, 0), lambda pixels: pixels.transpose(1, 0, 2)),
    "turned back and mirrored": ((0, -1, -1, 0), lambda pixels: pixels.transpose(1, 0, 2)[::-1, ::-1]),
}
"""Display matrices (a, b, c, d), and what a player shows of a frame."""


@pytest.mark.parametrize("how", MATRICES)
def test_a_video_is_looked_at_and_written_as_a_player_shows_it(tmp_path: Path, how: str) -> None:
    matrix, shown = MATRICES[how]
    source = moving.write(tmp_path / "p" / "v.mp4", frames=4)
    stored = moving.read(source)
    moving.show(source, matrix)
    looked: list[np.ndarray] = []

    class Sees(moving.Sees):
        def __call__(self, pixels: np.ndarray, *more: Any) -> Any:
            looked.append(pixels)
            return super().__call__(pixels, *more)

    Job(tmp_path / "p", tmp_path / "o", Variant.parse("face-mask_out"), Sees(), threads=1).run()
    with av.open(str(tmp_path / "o" / "v.mp4")) as container:
        written = list(container.decode(video=0))
    for before, seen, after in zip(stored, looked, written, strict=True):
        expected = shown(before).astype(int)
        assert abs(seen - expected).mean() < 2
        assert after.side_data.get(video.DISPLAY_MATRIX) is None
        pixels = after.to_ndarray(format="rgb24")
        assert visible(pixels) == 0 < visible(expected)
        elsewhere = expected.min(axis=2) <= moving.GREY + 10
        assert abs(pixels - expected)[elsewhere].mean() < 10


def test_data_of_a_kind_that_is_not_known_beside_frames_leave_the_angle() -> None:
    """PyAV raises ValueError for the kinds that FFmpeg has and it has not, EXIF among them."""

    class Frame:
        rotation = 90

        @property
        def side_data(self) -> Any:
            raise ValueError("29 is not a valid Type")

    assert video._shown(Frame()) == video.Shown(True, False, True)  # counterclockwise, as the matrix of `turned back`
    Frame.rotation = -90
    assert video._shown(Frame()) == video.Shown(True, True, False)
    Frame.rotation = 30
    with pytest.raises(video.Unusable, match="no quarter turn"):
        video._shown(Frame())


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize(("turned", "aspect"), [(0, Fraction(4, 3)), (90, Fraction(3, 4))])
def test_pixels_that_are_no_squares_lie_on_their_side_with_the_video(
    tmp_path: Path, turned: int, aspect: Fraction, sound: bool
) -> None:
    """Sound before the first frame opens the encoder, which must know by then."""
    path = tmp_path / "p" / "v.mp4"
    moving.write(path, frames=3, size=(240, 320), turned=turned, aspect=Fraction(4, 3), sound=sound)
    job(tmp_path).run()
    with av.open(str(tmp_path / "o" / "v.mp4")) as container:
        shown = next(container.decode(video=0))
        assert (shown.width, shown.height) == (240, 320)
        assert container.streams.video[0].sample_aspect_ratio == aspect


def test_what_an_earlier_writer_wrote_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moving.write(tmp_path / "p" / "v.mp4", frames=5)
    with monkeypatch.context() as patch:
        patch.setattr(video, "WRITER", video.WRITER - 1)
        job(tmp_path).run()
    first = (tmp_path / "o" / "v.mp4").stat().st_mtime_ns
    job(tmp_path).run()
    second = (tmp_path / "o" / "v.mp4").stat().st_mtime_ns
    assert second > first
    job(tmp_path).run()
    assert (tmp_path / "o" / "v.mp4").stat().st_mtime_ns == second


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"<html>")])
def test_a_video_that_changes_meanwhile_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any
) -> None:
    source = moving.write(tmp_path / "p" / "v.mp4", frames=5)
    real = video.write

    def spoilt(*words: Any) -> Any:
        spoil(source)
        return real(*words)

    monkeypatch.setattr(video, "write", spoilt)
    with pytest.raises(AnonbenchError, match=r"v\.mp4: has changed since .*; run again when nothing else writes"):
        job(tmp_path).run()


def test_a_video_that_is_shown_askew_is_not_looked_at_askew(tmp_path: Path) -> None:
    source = moving.write(tmp_path / "p" / "v.mp4", frames=4)
    moving.show(source, (1, 1, -1, 1))
    with pytest.raises(AnonbenchError, match="no quarter turn"):
        job(tmp_path).run()


def test_uneven_times_are_times(tmp_path: Path) -> None:
    """At the average rate of this video a second is not one frame."""
    moving.write(tmp_path / "p" / "v.mp4", sound=False, frames=27, times=lambda t: t if t < 21 else 400 * (t - 20))
    job(tmp_path, moving.Sees({moving.straight(10)})).run()
    assert [visible(pixels) for pixels in moving.read(tmp_path / "o" / "v.mp4")] == [0] * 27


@pytest.mark.parametrize(("name", "flags"), [("v.mp4", "faststart"), ("v.mkv", ""), ("v.mov", "frag_keyframe")])
def test_a_video_that_is_cut_short_is_unusable(tmp_path: Path, name: str, flags: str) -> None:
    source = moving.write(tmp_path / "p" / name, flags=flags)
    whole = source.read_bytes()
    assert folders.missing_bytes(source) == 0
    for size in (len(whole) - 1, len(whole) // 2):
        source.write_bytes(whole[:size])
        with pytest.raises(AnonbenchError, match=rf"{name} is cut short: at least \d+ bytes"):
            job(tmp_path).run()
    if name == "v.mkv":
        head = 4 + 1 + (whole[4] & 0x7F)
        source.write_bytes(whole[:head] + b"\xec\x84abcd" + whole[head : len(whole) // 2])
        assert folders.missing_bytes(source) > 0
    source.write_bytes(whole + b"\xff" * 40)  # what some cameras put behind their files
    assert folders.missing_bytes(source) == 0
    job(tmp_path).run()


def test_sizes_that_say_nothing_are_no_missing_bytes(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    path.write_bytes(b"RIFF\xff\xff\xff\xffAVI " + bytes(100))  # written to a pipe
    assert folders.missing_bytes(path) == 0
    path.write_bytes(b"RIFF\xff\x00\x00\x00AVI " + bytes(100))
    assert folders.missing_bytes(path) == 8 + 255 - 112
    path.write_bytes(b"\0\0\0\x10ftypmp42\0\0\0\0\0\0\0\x0cemsgabcd\0\0\1\0mdatabcd")
    assert folders.missing_bytes(path) == 256 - 12
    path.write_bytes(b"\0\0\0\x10ftypmp42\0\0\0\0\0\0\0\0mdat" + bytes(9))  # to the end of the file
    assert folders.missing_bytes(path) == 0


def test_damaged_packets_are_counted(tmp_path: Path) -> None:
    source = moving.write(tmp_path / "p" / "v.mp4", sound=False)
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(source.read_bytes())
    for packet in packets[20:22]:
        place = data.index(bytes(packet))
        data[place + 5 : place + packet.size] = bytes(packet.size - 5)
    source.write_bytes(data)
    summary = job(tmp_path, strict=True).run()
    assert summary["damaged_videos"] == 1
    row = json.loads((tmp_path / "private" / "o" / "manifest.jsonl").read_text().splitlines()[-1])
    assert row["damaged"] >= 1
    assert f"{row['damaged']} packets or frames are damaged" in row["notes"]


def vorbis(tags: list[bytes]) -> bytes:
    """Return a packet of comments."""
    told = b"".join(struct.pack("<I", len(tag)) + tag for tag in tags)
    return b"\x03vorbis" + struct.pack("<I", 5) + b"maker" + struct.pack("<I", len(tags)) + told + b"\x01"


FIRST, THIRD = b"\x01vorbis" + bytes(23), b"\x05vorbis" + bytes(range(256)) * 9
SECRET = [b"ARTIST=Alice Secret", b"LOCATION=48.137,11.575"]
STREAMINFO, COMMENTS = bytes(range(34)), b"\x84" + (30).to_bytes(3) + b"LOCATION=48.137,11.575" + bytes(8)


@pytest.mark.parametrize(
    ("codec", "head", "expected"),
    [
        ("vorbis", sound._laced([FIRST, vorbis(SECRET * 40), THIRD]), sound._laced([FIRST, sound.NO_COMMENTS, THIRD])),
        (
            "vorbis",
            b"".join(len(one).to_bytes(2) + one for one in (FIRST, vorbis(SECRET), THIRD)),
            sound._laced([FIRST, sound.NO_COMMENTS, THIRD]),
        ),
        ("flac", b"fLaC\x00" + (34).to_bytes(3) + STREAMINFO + COMMENTS, b"fLaC\x80" + (34).to_bytes(3) + STREAMINFO),
        ("flac", STREAMINFO, STREAMINFO),
        ("aac", b"\x11\x90", b"\x11\x90"),
    ],
)
def test_comments_in_the_head_of_sound_go(codec: str, head: bytes, expected: bytes) -> None:
    assert sound.without_comments(codec, head) == expected


@pytest.mark.parametrize(
    ("codec", "head"),
    [
        ("vorbis", b""), ("vorbis", b"\x02\xff\xff"), ("vorbis", sound._laced([FIRST, b"x" * 30, THIRD])),
        ("flac", b"fLaC\x00\x00\x00\x22abc"), ("flac", b"fLaC\x04" + (34).to_bytes(3) + STREAMINFO),
    ],
)  # fmt: skip
def test_a_damaged_head_of_sound_is_not_copied(codec: str, head: bytes) -> None:
    with pytest.raises(ValueError, match="has no whole head"):
        sound.without_comments(codec, head)


@pytest.mark.parametrize("codec", ["vorbis", "flac"])
def test_comments_in_sound_stay_out_of_the_file_and_the_sound_stays(tmp_path: Path, codec: str) -> None:
    source, heard = tmp_path / "p" / "v.mkv", tmp_path / "heard.mkv"
    source.parent.mkdir()
    with av.open(str(heard), "w") as container:
        options = {"strict": "-2"} if codec == "vorbis" else {}
        stream: Any = container.add_stream(codec, rate=44100, options=options)
        stream.layout, kind = "stereo", "fltp" if codec == "vorbis" else "s16"
        for number in range(10):
            tone = (0.1 * np.sin(np.arange(1024) / 20 + number)).astype(np.float32)[None].repeat(2, 0)
            if kind == "s16":
                tone = (tone.T.reshape(1, -1) * 32000).astype(np.int16)
            part = av.AudioFrame.from_ndarray(tone, kind, layout="stereo")
            part.sample_rate, part.pts, part.time_base = 44100, 1024 * number, Fraction(1, 44100)
            container.mux(stream.encode(part))
        container.mux(stream.encode())
    with av.open(str(heard)) as sounding, av.open(str(source), "w") as container:
        old: Any = sounding.streams.audio[0]
        head = old.codec_context.extradata
        if codec == "vorbis":
            first, _, third = sound._vorbis(head)
            head = sound._laced([first, vorbis(SECRET), third])
        picture: Any = container.add_stream("libx264", rate=20)
        picture.width, picture.height, picture.pix_fmt = 320, 240, "yuv420p"
        copied: Any = container.add_stream_from_template(old)
        copied.codec_context.extradata = head
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(moving.frame_of(moving.straight(number), (320, 240)), "rgb24")
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        for packet in sounding.demux(old):
            if packet.dts is not None:
                packet.stream = copied
                container.mux(packet)
    assert (b"Alice Secret" in source.read_bytes()) is (codec == "vorbis")
    job(tmp_path).run()
    target = tmp_path / "o" / "v.mkv"
    assert b"Alice Secret" not in target.read_bytes()
    assert moving.packets(target) == moving.packets(source)
    with av.open(str(source)) as old_file, av.open(str(target)) as new_file:
        samples = [[f.to_ndarray() for f in file.decode(audio=0)] for file in (old_file, new_file)]
    assert len(samples[0]) > 2
    assert all((a == b).all() for a, b in zip(*samples, strict=True))


@pytest.mark.parametrize(
    ("name", "codec", "size"), [("v.webm", "libvpx-vp9", (96, 64)), ("v.mp4", "libx264", (97, 65))]
)
def test_other_containers_and_odd_sizes(tmp_path: Path, name: str, codec: str, size: tuple[int, int]) -> None:
    source = moving.write(tmp_path / "p" / name, frames=8, size=size, codec=codec)
    job(tmp_path).run()
    shown = moving.read(tmp_path / "o" / name)
    assert [pixels.shape[:2] for pixels in shown] == [size[::-1]] * 8
    assert moving.packets(tmp_path / "o" / name) == moving.packets(source)


def test_colours_stay_what_they_were(tmp_path: Path) -> None:
    from av.video.reformatter import Colorspace

    path = tmp_path / "p" / "v.mp4"
    path.parent.mkdir()
    colours = np.array([(200, 30, 60), (20, 180, 60), (250, 240, 30), (90, 90, 200)], np.uint8)
    pixels = np.repeat(np.repeat(colours.reshape(2, 2, 3), 60, 0), 80, 1)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.options = 160, 120, "yuv420p", {"crf": "5"}
        stream.codec_context.colorspace = 1
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, interpolation=video.EXACT
            )
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    job(tmp_path, variant="face-identity").run()
    with av.open(str(tmp_path / "o" / "v.mp4")) as container:
        frame = next(container.decode(video=0))
        assert frame.colorspace == 1
        shown = frame.to_ndarray(format="rgb24", interpolation=video.EXACT).astype(int)
    assert abs((shown - pixels).mean()) < 0.3  # neither darker nor brighter
    assert np.median(abs(shown - pixels)) <= 1  # between two colours half the chroma is lost


def test_frames_go_through_the_engine_of_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moving.write(tmp_path / "p" / "v.mp4", frames=5)
    seen: list[tuple[np.ndarray, np.ndarray, Region]] = []
    real = engine.anonymize

    def watched(works: list[Work], method: Method, seed: int) -> Any:
        before = works[0].pixels.copy()
        outcomes = real(works, method, seed)
        seen.append((before, works[0].pixels.copy(), works[0].regions[0]))
        return outcomes

    monkeypatch.setattr(engine, "anonymize", watched)
    job(tmp_path, variant="face-blur-medium").run()
    assert len(seen) == 5
    for before, after, region in seen:
        x0, y0, x1, y1 = region.box
        outside = np.ones(before.shape[:2], bool)
        outside[y0:y1, x0:x1] = False
        assert (before[outside] == after[outside]).all()
        assert (before != after).any()
        assert region.identity == "v.mp4/face0"


class Counted(Method):
    """Says how many crops of a person it got at once, as their grey."""

    clips = True

    def change(self, crop: Crop) -> np.ndarray:
        return self.change_clip([crop])[0]

    def change_clip(self, crops: Any) -> Any:
        return [np.full_like(crop.pixels, 10 * len(crops)) for crop in crops]


def test_a_method_that_works_on_clips_gets_a_person_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moving.write(tmp_path / "p" / "v.mp4", frames=12)
    load = registry.load
    monkeypatch.setattr(registry, "names", lambda group: ["counted"] if group == "methods" else ["centerface"])
    monkeypatch.setattr(registry, "load", lambda group, name: Counted if name == "counted" else load(group, name))
    Counted.name = "counted"
    job(tmp_path, variant="face-counted").run()
    for number, pixels in enumerate(moving.read(tmp_path / "o" / "v.mp4")):
        x, y = moving.straight(number)
        assert abs(int(pixels[y + 20, x + 20, 1]) - 120) <= 4
    monkeypatch.setattr(video, "MEMORY_SHARE", 0.0)
    (tmp_path / "o" / "v.mp4").unlink()
    with pytest.raises(AnonbenchError, match="do not fit into memory"):
        job(tmp_path, variant="face-counted").run()


def test_whole_frames_and_bodies(tmp_path: Path) -> None:
    moving.write(tmp_path / "p" / "v.mp4", frames=4)
    job(tmp_path, variant="frame-pixelate-high").run()
    other = Job(tmp_path / "p", tmp_path / "bodies", Variant.parse("body-mask_out"), moving.Sees(), threads=1)
    assert other.run()["regions"] == 4
    for number, pixels in enumerate(moving.read(tmp_path / "bodies" / "v.mp4")):
        x, y = moving.straight(number)
        below = pixels[min(y + 3 * moving.SIDE, 230), x + 20].astype(int)
        assert abs(below - 128).max() <= 6  # where the legs would be


def test_a_killed_run_looks_at_no_frame_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moving.write(tmp_path / "p" / "v.mp4")
    moving.write(tmp_path / "p" / "w.mp4", frames=10, where=moving.curved)

    class Stops(moving.Sees):
        def __call__(self, *args: Any) -> Any:
            if self.asked == 15:
                raise KeyboardInterrupt
            return super().__call__(*args)

    with pytest.raises(KeyboardInterrupt):
        job(tmp_path, Stops()).run()
    assert not (tmp_path / "o").exists()
    sees = moving.Sees()
    real, calls = video.Writer.add, []

    def breaks(self: Any, frame: Any) -> None:
        calls.append(frame.index)
        if len(calls) == 47:  # two are from the look whether they can be written
            raise KeyboardInterrupt
        real(self, frame)

    with monkeypatch.context() as patch:
        patch.setattr(video.Writer, "add", breaks)
        with pytest.raises(KeyboardInterrupt):
            job(tmp_path, sees).run()
    assert files_of(tmp_path / "o").keys() == {"v.mp4"}  # the half-written one is gone
    assert 35 <= sees.asked <= 45
    again = moving.Sees()
    first = (tmp_path / "o" / "v.mp4").stat().st_mtime_ns
    job(tmp_path, again).run()
    assert again.asked == 0
    assert (tmp_path / "o" / "v.mp4").stat().st_mtime_ns == first
    clean = Job(tmp_path / "p", tmp_path / "clean", Variant.parse("face-mask_out"), moving.Sees(), threads=1)
    clean.run()
    for name in ("v.mp4", "w.mp4"):  # x264 does not always write the same bytes for the same frames
        paths = [tmp_path / folder / name for folder in ("o", "clean")]
        assert moving.packets(paths[0]) == moving.packets(paths[1])
        for a, b in zip(*map(moving.read, paths), strict=True):
            assert abs(a.astype(int) - b).mean() < 0.5


def test_a_damaged_line_of_the_journal_costs_one_look(tmp_path: Path) -> None:
    moving.write(tmp_path / "p" / "v.mp4", frames=8)
    job(tmp_path).run()
    journal = tmp_path / "private" / "o" / "seen.jsonl"
    damaged = bytearray(journal.read_bytes())
    damaged[damaged.index(b"0.8")] ^= 1
    journal.write_bytes(damaged)
    sees = moving.Sees()
    job(tmp_path, sees).run()
    assert sees.asked == 1
    assert [visible(pixels) for pixels in moving.read(tmp_path / "o" / "v.mp4")] == [0] * 8


def test_frames_of_another_version_are_not_believed(tmp_path: Path) -> None:
    source = moving.write(tmp_path / "p" / "v.mp4", frames=10)
    first, status = source.read_bytes(), source.stat()
    job(tmp_path).run()
    moving.write(source, frames=10, where=lambda _: (200, 150))

    class Stops(moving.Sees):
        def __call__(self, *args: Any) -> Any:
            if self.asked == 6:
                raise KeyboardInterrupt
            return super().__call__(*args)

    with pytest.raises(KeyboardInterrupt):
        job(tmp_path, Stops()).run()
    source.write_bytes(first)
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    job(tmp_path).run()
    assert [visible(pixels) for pixels in moving.read(tmp_path / "o" / "v.mp4")] == [0] * 10


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moving.write(tmp_path / "p" / "v.mp4", frames=5)

    real = video.Writer.add

    def full(self: Any, frame: Any) -> None:
        real(self, frame)
        if frame.index:
            with self._written():
                raise av.error.FFmpegError(28, "No space left on device", "o/v.mp4")

    with monkeypatch.context() as patch:
        patch.setattr(video.Writer, "add", full)
        with pytest.raises(AnonbenchError, match="No space left on device"):
            job(tmp_path).run()
    assert not files_of(tmp_path / "o") if (tmp_path / "o").exists() else True
    job(tmp_path).run()
    assert len(moving.read(tmp_path / "o" / "v.mp4")) == 5


def test_pixels_that_are_no_squares_stay_so_and_transparency_shows_black(tmp_path: Path) -> None:
    path = tmp_path / "p" / "v.mov"
    path.parent.mkdir()
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgba"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        stream.codec_context.time_base = Fraction(1, 10)
        pixels = np.full((48, 64, 4), 230, np.uint8)
        pixels[:, :32, 3], pixels[:, 32:, 3] = 0, 255
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(pixels, "rgba")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    job(tmp_path, moving.Sees({(32, 0)})).run()
    with av.open(str(tmp_path / "o" / "v.mov")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert shown[:, :28].max() <= 12  # what was under it is not in the file
    assert shown[:, 36:].min() >= 215


def test_sound_that_a_container_cannot_hold_is_seen_before_anything_is_written(tmp_path: Path) -> None:
    path = moving.write(tmp_path / "p" / "v.mkv", frames=5)
    path.rename(tmp_path / "p" / "v.webm")  # Matroska with AAC, which WebM does not allow
    with pytest.raises(AnonbenchError, match=r"v\.webm cannot be written"):
        job(tmp_path).run()
    assert not (tmp_path / "o").exists()


def test_frames_that_are_too_large_are_not_decoded(tmp_path: Path) -> None:
    moving.write(tmp_path / "p" / "v.mp4", frames=3)
    sees = moving.Sees()
    with pytest.raises(AnonbenchError, match="has 320x240 pixels, more than the limit of 1000"):
        job(tmp_path, sees, max_pixels=1000).run()
    assert not sees.asked


@pytest.mark.parametrize("name", ["noise.mp4", "cut.mov", "sound.mp4", "empty.mkv"])
def test_what_is_no_video_is_unusable(tmp_path: Path, name: str) -> None:
    path = tmp_path / "p" / name
    moving.write(tmp_path / "p" / "good.mp4", frames=3)
    if name == "sound.mp4":
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("aac", rate=48000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", layout="mono")
            frame.sample_rate = 48000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    elif name == "cut.mov":
        whole = moving.write(tmp_path / "whole.mov", frames=10).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    else:
        path.write_bytes(b"" if name == "empty.mkv" else random.Random(1).randbytes(5000))
    with pytest.raises(AnonbenchError, match="1 file cannot be used"):
        job(tmp_path).run()
    assert not (tmp_path / "o").exists()
    assert job(tmp_path, skip_unusable=True).run()["videos"] == 1
    assert files_of(tmp_path / "o").keys() == {"good.mp4"}


@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile a.mp4\n", "#EXTM3U\n#EXTINF:10,\na.mp4\n#EXT-X-ENDLIST\n"]
)
def test_a_list_of_files_is_no_video(tmp_path: Path, text: str) -> None:
    moving.write(tmp_path / "p" / "a.mp4", frames=3)
    (tmp_path / "p" / "b.mp4").write_text(text)
    with pytest.raises(AnonbenchError, match=r"b\.mp4 is no MP4, QuickTime, .* whatever its name says"):
        job(tmp_path).run()
    assert job(tmp_path, skip_unusable=True).run()["videos"] == 1


def test_weak_regions_of_videos_are_counted_and_said(run: Run, tmp_path: Path) -> None:
    moving.write(tmp_path / "p" / "v.mp4", frames=4)
    assert job(tmp_path).run()["weak_in_videos"] == 0
    weak = Job(tmp_path / "p", tmp_path / "weak", Variant.parse("face-blur-low"), moving.Sees())
    assert weak.run()["weak_in_videos"] == 4
    said = run("apply", tmp_path / "p", "--variant", "frame-grey", "--out", tmp_path / "grey")
    assert "1 file may still show who fills the frame" in said
    assert "may be handed out" not in said


def test_a_video_that_changes_meanwhile_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moving.write(tmp_path / "p" / "v.mp4", frames=6)
    real = video.write

    def late(*args: Any) -> Any:
        moving.write(tmp_path / "p" / "v.mp4", frames=7)
        return real(*args)

    monkeypatch.setattr(video, "write", late)
    with pytest.raises(AnonbenchError, match="has changed since people were looked for"):
        job(tmp_path).run()
    assert not files_of(tmp_path / "o")


def test_the_command_with_a_real_detector(run: Run, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    moving.film(photos / "v.mp4", [drawn.scene(240, 160, [(20 + 8 * number, 40, 72)]) for number in range(8)])
    words = ("apply", photos, "--variant", "face-blur-medium", "--out", tmp_path / "out")
    assert "1 video, 8 frames, 1 track" in run(*words, "--dry-run", "--preview", tmp_path / "dry.jpg")
    said = run(*words, "--preview", tmp_path / "sheet.jpg")
    assert "1 video, 8 frames: 8 regions of 1 track" in said
    summary = json.loads((tmp_path / "private" / "out" / "summary.json").read_text())
    assert summary["left"] == {}
    old, new = moving.read(photos / "v.mp4"), moving.read(tmp_path / "out" / "v.mp4")
    for number, (a, b) in enumerate(zip(old, new, strict=True)):
        inside = (slice(50, 100), slice(30 + 8 * number, 80 + 8 * number))
        assert np.std(b[inside].astype(float)) < 0.8 * np.std(a[inside].astype(float))


def test_folders_know_videos(tmp_path: Path) -> None:
    for name in ("A.MP4", "b.webm", "c.MOV"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypmp42")
    for name in ("d.wmv", "e.3gp", "no ending"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypmp42")
    found = folders.look(tmp_path)
    assert found.videos == ["A.MP4", "b.webm", "c.MOV"]
    assert sorted(found.unusable) == ["d.wmv", "e.3gp", "no ending"]
