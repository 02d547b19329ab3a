"""Small videos of a white square that moves, with sound, and a detector that sees it in all but some frames."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from anonbench.apply.search import Seen
from anonbench.detectors.base import tidy
from anonbench.detectors.config import DetectorConfig

SIDE = 40
GREY = 40
"""Side of the square in pixels, and the level of what is behind it."""

Path2D = Callable[[int], tuple[int, int]]


def straight(frame: int) -> tuple[int, int]:
    """Return where the square is in a frame that moves on a line."""
    return 10 + 4 * frame, 60


def curved(frame: int) -> tuple[int, int]:
    """Return where the square is in a frame that swings."""
    return round(120 + 100 * np.sin(frame / 9)), round(80 + 50 * np.cos(frame / 7))


def frame_of(place: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return a frame (uint8 HxWx3 RGB)."""
    pixels = np.full((size[1], size[0], 3), GREY, np.uint8)
    pixels[:8, :8] = (200, 30, 60)  # says which way is up
    x, y = place
    pixels[max(y, 0) : y + SIDE, max(x, 0) : x + SIDE] = 250
    return pixels


def write(
    path: Path,
    frames: int = 40,
    *,
    where: Path2D = straight,
    size: tuple[int, int] = (320, 240),
    rate: int = 20,
    turned: int = 0,
    sound: bool = True,
    codec: str = "libx264",
    times: Callable[[int], int] = lambda frame: frame,
    flags: str = "",
    aspect: Fraction | None = None,
) -> Path:
    """Write a video with a title, a place and a second of sound for each of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", container_options={"movflags": flags} if flags else {}) as container:
        container.metadata.update({"title": "a secret", "location": "+48.1+011.5/"})
        picture: Any = container.add_stream(codec, rate=rate)
        turns = turned // 90 % 4
        picture.width, picture.height = size if turns % 2 == 0 else size[::-1]
        picture.pix_fmt = "yuv420p" if size[0] % 2 == size[1] % 2 == 0 else "yuv444p"
        picture.options = {"crf": "8"}
        if aspect is not None:
            picture.codec_context.sample_aspect_ratio = aspect
        if turned:
            picture.set_display_rotation(turned)
        audio: Any = None
        if sound:
            audio = container.add_stream("aac" if codec == "libx264" else "libopus", rate=48000, layout="mono")
        for number in range(frames):
            pixels = np.ascontiguousarray(np.rot90(frame_of(where(number), size), -turns))
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=picture.pix_fmt)
            frame.pts, frame.time_base = times(number), Fraction(1, rate)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if audio is not None:
            tone = np.sin(2 * np.pi * 440 * np.arange(48000 * frames // rate) / 48000).astype(np.float32)
            for start in range(0, len(tone), 960):
                part = av.AudioFrame.from_ndarray(tone[None, start : start + 960], "fltp", layout="mono")
                part.sample_rate, part.pts, part.time_base = 48000, start, Fraction(1, 48000)
                container.mux(audio.encode(part))
            container.mux(audio.encode())
    return path


def film(path: Path, frames: list[np.ndarray], rate: int = 10) -> Path:
    """Write a video of these frames (uint8 HxWx3 RGB, sides even)."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "8"}
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    return path


def show(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write into an MP4 how it is to be shown: entries a, b, c, d of its matrix, each -1, 0 or 1."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = (one << 16 for one in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def read(path: Path) -> list[np.ndarray]:
    """Return the frames of a video, as stored."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def packets(path: Path) -> list[tuple[float, bytes]]:
    """Return the packets of sound with their times in seconds."""
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(audio=0) if packet.dts is not None]
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in found]


class Sees:
    """Finds the white square, but for the frames in which its left edge is at one of ``blind``."""

    looks_up = False

    def __init__(self, blind: Collection[tuple[int, int]] = ()) -> None:
        self.blind = blind
        self.asked = 0
        self.configs = {"face": DetectorConfig(plugin="centerface")}
        self.told = {"face": {"version": "white squares", "weights": []}}

    def __call__(self, pixels: np.ndarray, image_id: int = 0, name: str = "") -> Seen:
        self.asked += 1
        stats = cv2.connectedComponentsWithStats((pixels.min(axis=2) > 150).astype(np.uint8))[2][1:]
        boxes = [(*stat[:4], 0.9) for stat in stats if stat[4] > 100]
        kept = [box for box in boxes if not any(abs(box[0] - x) < 2 and abs(box[1] - y) < 2 for x, y in self.blind)]
        return Seen(tidy(np.array(kept, np.float32).reshape(-1, 5), 0.1))
