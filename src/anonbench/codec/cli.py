"""The commands `anonbench encode` and `anonbench decode`: images to streams of a fitted codec, and back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from anonbench import images
from anonbench.codec import MAX_PIXELS
from anonbench.errors import AnonbenchError
from anonbench.files import write_bytes

if TYPE_CHECKING:
    from anonbench.codec.compressor import Compressor

SUFFIX = ".bin"
IMAGE = "give a photograph that can be read, or leave it out"
Weights = Annotated[Path, typer.Option(help="What anonbench fit wrote for a codec.")]
Out = Annotated[Path, typer.Option(help="Folder for the files.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
MaxPixels = Annotated[int, typer.Option(min=1, help="Pixels of an image at most, once it is padded.")]


def encode(
    files: Annotated[list[Path], typer.Argument(help="Images; what their EXIF orientation says is applied.")],
    weights: Weights,
    out: Out,
    step: Annotated[float, typer.Option(help="Step of the latents, one that the codec was fitted for.")] = 1.0,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the noise channel, if the codec has one; drawn when left out.")
    ] = None,
    device: Device = "auto",
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Write each image as a stream, NAME.bin; print its bits per pixel, real and as the density estimates them."""
    targets = _targets(files, out, SUFFIX)
    from anonbench.codec.compressor import Compressor  # torch takes seconds to import
    from anonbench.codec.stream import MAGIC
    from anonbench.seeding import generator

    for file, target in zip(files, targets, strict=True):
        if target.is_file() and not _starts(target, MAGIC):
            raise AnonbenchError(
                "exists, and is no stream that could be written anew",
                file=target,
                entry=str(file),
                remedy="choose another --out",
            )
    compressor, _ = Compressor.load(weights, device)
    for file, target in zip(files, targets, strict=True):
        pixels = _pixels(file, compressor, max_pixels)
        random = None if seed is None else generator("encode", seed, file.name)
        coded = compressor.analyse(pixels, step, random, file=file)
        written = compressor.pack(coded)
        write_bytes(target, written)
        count = coded.width * coded.height
        typer.echo(
            f"{target}: {len(written)} bytes, {8 * len(written) / count:.4f} bits per pixel "
            f"({compressor.estimate(coded) / count:.4f} estimated)"
        )


def decode(
    files: Annotated[list[Path], typer.Argument(help="Streams that anonbench encode wrote.")],
    weights: Weights,
    out: Out,
    device: Device = "auto",
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Write each stream as an image, NAME.png; no file that exists is overwritten."""
    targets = _targets(files, out, ".png")
    for file, target in zip(files, targets, strict=True):
        if target.exists():
            raise AnonbenchError(
                "exists, and may be an original",
                file=target,
                entry=str(file),
                remedy="choose another --out",
            )
    from anonbench.codec.compressor import Compressor

    compressor, _ = Compressor.load(weights, device)
    for file, target in zip(files, targets, strict=True):
        if not file.is_file():
            raise AnonbenchError(
                "is not a file" if file.exists() else "no such file",
                file=file,
                remedy="give what anonbench encode wrote",
            )
        if file.stat().st_size > compressor.longest(max_pixels):
            raise AnonbenchError(
                f"is longer than the stream of any image of {max_pixels} pixels",
                file=file,
                entry="--max-pixels",
                remedy="give what anonbench encode wrote",
            )
        pixels = compressor.decode(file.read_bytes(), max_pixels=max_pixels, file=file)
        write_bytes(target, _png(pixels, file))
        typer.echo(f"{target}: {pixels.shape[1]}x{pixels.shape[0]}")


def _pixels(file: Path, compressor: Compressor, max_pixels: int) -> np.ndarray:
    """Return an image's pixels (uint8 HxWx3 RGB, upright); raise AnonbenchError for what is none, or too large."""
    from anonbench.codec.stream import check_size

    with _of_no_data_set():
        data = images.read_bytes(file)
        width, height = images.header(data, file=file).upright
    check_size(width, height, compressor.architecture, max_pixels, file=file)
    with _of_no_data_set():
        return images.decode(data, file=file, max_pixels=max_pixels).pixels


@contextlib.contextmanager
def _of_no_data_set() -> Iterator[None]:
    """Say something else that is to be done about an image than `images` does."""
    try:
        yield
    except AnonbenchError as error:
        raise AnonbenchError(error.message, file=error.file, remedy=IMAGE) from None


def _starts(file: Path, begin: bytes) -> bool:
    """Tell whether a file starts with these bytes."""
    with file.open("rb") as stream:
        return stream.read(len(begin)) == begin


def _png(pixels: np.ndarray, file: Path) -> bytes:
    """Return pixels (uint8 HxWx3 RGB) as a PNG; raise AnonbenchError for a size that it cannot have."""
    import cv2

    try:
        done, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))
    except cv2.error:
        done = False
    if not done:
        height, width = pixels.shape[:2]
        raise AnonbenchError(
            f"holds an image of {width}x{height}, which cannot be written as a PNG",
            file=file,
            remedy="encode it in parts",
        )
    return data.tobytes()


def _targets(files: Sequence[Path], out: Path, suffix: str) -> list[Path]:
    """Return the files to write; raise AnonbenchError where two would be one."""
    targets = [out / f"{file.stem}{suffix}" for file in files]
    for number, target in enumerate(targets):
        if target in targets[:number]:
            other = files[targets.index(target)]
            raise AnonbenchError(
                f"would be written as {target.name}, as {other} is",
                file=files[number],
                remedy="give each its own name or folder",
            )
        if os.path.realpath(target) == os.path.realpath(files[number]):  # resolve() raises where links go in a circle
            raise AnonbenchError("would be overwritten", file=files[number], remedy="choose another --out")
    return targets
