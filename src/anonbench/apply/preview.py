"""The contact sheet: some files as they become, what was changed outlined, to look for people who were missed."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from anonbench import images, regions
from anonbench.anonymize import engine
from anonbench.apply.folder import SHEET
from anonbench.apply.job import Job, check_unchanged, image_row
from anonbench.crops import Work
from anonbench.errors import AnonbenchError
from anonbench.files import write_bytes
from anonbench.records import RegionKind

COLUMNS, CELLS = 4, 24
"""Cells in a row, and photographs on a sheet."""
FRAMES = 4
"""Frames of a video, and as many videos at most."""
WIDTH, HEIGHT, CAPTION, GAP = 400, 300, 20, 6
"""Pixels of a cell's picture, of the line below it, and between cells."""
OUTLINE = (255, 200, 0)


class Cell(NamedTuple):
    """A picture (uint8 HxWx3 RGB), the boxes that were changed (x0, y0, x1, y1) and what is written below."""

    pixels: np.ndarray
    boxes: list[tuple[int, int, int, int]]
    caption: str


def draw(job: Job, photos: list[dict[str, Any]], clips: list[Any], path: Path) -> None:
    """Write the sheet (JPEG or PNG by the file's name), made from the originals: it may hold people who were missed.

    Half of the photographs are those in which most people were found, the others are spread evenly over the folder.
    """
    cells = [*_of_photos(job, photos), *_of_clips(job, clips)]
    rows = -(-len(cells) // COLUMNS)
    columns = min(COLUMNS, len(cells))
    sheet = Image.new("RGB", (columns * (WIDTH + GAP) + GAP, rows * (HEIGHT + CAPTION + GAP) + GAP), (32, 32, 32))
    pen, font = ImageDraw.Draw(sheet), _font()
    for place, cell in enumerate(cells):
        left, top = GAP + place % COLUMNS * (WIDTH + GAP), GAP + place // COLUMNS * (HEIGHT + CAPTION + GAP)
        height, width = cell.pixels.shape[:2]
        scale = min(WIDTH / width, HEIGHT / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        left += (WIDTH - size[0]) // 2
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        sheet.paste(Image.fromarray(cv2.resize(cell.pixels, size, interpolation=how)), (left, top))
        for x0, y0, x1, y1 in cell.boxes:
            pen.rectangle((left + x0 * scale, top + y0 * scale, left + x1 * scale, top + y1 * scale), outline=OUTLINE)
        pen.text((left, top + HEIGHT + 2), _short(pen, font, cell.caption), (230, 230, 230), font)
    stream = io.BytesIO()
    if path.suffix.casefold() == ".png":
        told = PngInfo()
        told.add_text("Comment", SHEET)
        sheet.save(stream, "PNG", pnginfo=told)
    else:
        sheet.save(stream, "JPEG", quality=90, comment=SHEET)
    write_bytes(path, stream.getvalue())


def chosen(counts: list[int]) -> list[int]:
    """Return the places of at most `CELLS` photographs with so many people each, in order."""
    most = sorted(range(len(counts)), key=lambda place: (-counts[place], place))[: CELLS // 2]
    rest = [place for place in range(len(counts)) if place not in most]
    spread = {rest[round(at * (len(rest) - 1) / max(CELLS // 2 - 1, 1))] for at in range(CELLS // 2)} if rest else set()
    return sorted({*most, *spread})


def _of_photos(job: Job, photos: list[dict[str, Any]]) -> Iterator[Cell]:
    rows = [image_row(photo) for photo in photos]
    people, sources = job.shard().people(rows), {photo["image_id"]: photo["sha256"] for photo in photos}
    for place in chosen([len(people.rows(row)) for row in rows]):
        row, path = rows[place], job.photos / rows[place]["file_name"]
        try:
            pixels = images.decode(images.read_bytes(path), file=path, **regions.frame_of(row)).pixels
        except AnonbenchError:
            check_unchanged(path, sources[row["image_id"]])
            raise
        work = Work(
            row["image_id"],
            pixels,
            people.regions(row) if people.have_regions(row["image_id"]) else [],
            people.keypoints(row["image_id"]),
            str(path),
            people.people(row),
        )
        (engine.anonymize_clip if job.method.clips else engine.anonymize)([work], job.method, job.seed)
        changed = [] if job.variant.region is RegionKind.FRAME else [region.box for region in work.regions]
        yield Cell(work.pixels, changed, f"{row['file_name']}: {len(people.rows(row))} found")


def _of_clips(job: Job, clips: list[Any]) -> Iterator[Cell]:
    for clip in clips[:FRAMES]:
        from anonbench.apply import video

        wanted = {round(at * (clip.frames - 1) / (FRAMES - 1)) for at in range(FRAMES)}
        source = job.photos / clip.file_name
        try:
            with video.reading(source, job.max_pixels) as frames:
                for frame in frames:
                    if frame.index in wanted:
                        video.change(job, clip, [frame], source)
                        rows = [row for row in clip.rows[frame.index] if row["status"] == regions.REGION]
                        boxes = [(row["x0"], row["y0"], row["x1"], row["y1"]) for row in rows]
                        yield Cell(frame.pixels, boxes, f"{clip.file_name}, frame {frame.index}: {len(rows)} found")
        except video.Unusable as error:
            raise AnonbenchError(str(error), file=source, remedy="run again") from error


def _font() -> Any:
    """Return a font with the letters of most scripts: the one that comes with Matplotlib."""
    package = importlib.util.find_spec("matplotlib")
    if package is None or package.origin is None:
        return ImageFont.load_default(13)
    return ImageFont.truetype(str(Path(package.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"), 13)


def _short(pen: ImageDraw.ImageDraw, font: Any, text: str) -> str:
    """Return a caption that fits below a picture, its beginning cut off."""
    while text and pen.textlength(text, font) > WIDTH:
        text = "…" + text[2:]
    return text
