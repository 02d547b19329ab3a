"""Images of variants as the report reads them, and pictures within the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from anonbench.errors import AnonbenchError
from anonbench.images import read_rgb
from anonbench.manifests import REMEDY


def read(folder: Path, image: Mapping[str, Any], sha256: str | None = None) -> np.ndarray:
    """Return an image of a variant in the frame of its labels, uint8 HxWx3, by its entry in the annotations.

    Raises AnonbenchError when it is missing, damaged or, with ``sha256`` (`manifests.image_hashes`), another one.
    """
    path = folder / image["file_name"]
    try:
        return read_rgb(path, (image["width"], image["height"]), image.get("labels_on"), sha256)
    except AnonbenchError as error:
        raise AnonbenchError(error.message, file=path, remedy=REMEDY) from None


def jpeg(image: Image.Image, quality: int, **options: Any) -> str:
    """Return a picture as the data URL of a JPEG; ``options`` are Pillow's."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, **options)
    return data_url("jpeg", buffer.getvalue())


def data_url(kind: str, data: bytes) -> str:
    """Return the bytes of an image file of a kind, such as ``png``, as a data URL."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
