"""A model file with SFace's input and output that has learnt nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests import onnx_files


def sface(path: Path, seed: int = 0) -> Path:
    """Write an ONNX file that describes 112 x 112 pixels by 128 random sums of sixteen squares."""
    filters = np.random.default_rng(seed).normal(size=(8, 3, 28, 28)) / 1000
    return onnx_files.write(path, "sums", 112, {"fc1": filters}, given="data")
