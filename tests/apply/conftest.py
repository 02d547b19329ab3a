"""A folder of drawn photographs, stored detections for it, and runs of the command."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from anonbench.cli import app
from tests.anonymize.conftest import photograph

Run = Callable[..., str]
FACES = {
    "many.jpg": [[10 + 40 * (i % 5), 8 + 44 * (i // 5), 40 + 40 * (i % 5), 46 + 44 * (i // 5), 0.9] for i in range(20)],
    "sub/one.png": [[30.0, 20.0, 70.0, 70.0, 0.8]],
    "sub/ä b.jpg": [[100.5, 50.25, 130.0, 90.0, 0.7]],
    "none.jpg": [],
    "none.png": [],
}
"""Corners and score of the faces in each photograph."""


def encoded(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    """Return a file's bytes."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def tagged(orientation: int = 1) -> Image.Exif:
    """Return EXIF data with a place, a camera and an orientation."""
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = orientation, "a camera of mine"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 0.0), 3: "E", 4: (11.0, 34.0, 0.0)})
    return exif


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of five photographs, one of them with twenty faces, two without any."""
    folder = tmp_path / "photos"
    for number, name in enumerate(FACES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if name.endswith("png") else "JPEG"
        path.write_bytes(
            encoded(photograph(220, 190, number), kind, exif=tagged(), **({} if kind == "PNG" else {"quality": 93}))
        )
    return folder


@pytest.fixture
def faces(tmp_path: Path) -> str:
    """Return a detector that knows where the faces are, as the command takes it."""
    return stored(tmp_path / "faces.json", "boxes", FACES)


def stored(path: Path, plugin: str, boxes: dict[str, Any]) -> str:
    """Write stored detections; return the detector as the command takes it."""
    path.write_text(json.dumps(boxes))
    return json.dumps({"plugin": plugin, "options": {"path": str(path), "missing": "empty", "strangers": "ignore"}})


@pytest.fixture
def run() -> Run:
    """Return what runs a command in this process: its output, or its error raised."""

    def invoke(*words: object) -> str:
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None:
            raise result.exception
        return result.output

    return invoke


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below a folder by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
