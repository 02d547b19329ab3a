"""Drawn faces, and a model file with YuNet's outputs that knows nothing but brightness."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests import onnx_files


def face(side: int, turn: int = 0) -> np.ndarray:
    """Return a drawn face with hair, eyes, nose and mouth, uint8 (side, side, 3) RGB."""
    unit = 256
    pixels = np.full((unit, unit, 3), (96, 112, 128), np.uint8)
    cv2.ellipse(pixels, (128, 250), (100, 60), 0, 0, 360, (40, 60, 140), -1, cv2.LINE_AA)
    cv2.ellipse(pixels, (128, 116), (84, 100), 0, 0, 360, (60, 40, 30), -1, cv2.LINE_AA)
    cv2.ellipse(pixels, (128, 134), (70, 90), 0, 0, 360, (224, 178, 150), -1, cv2.LINE_AA)
    for x in (100, 156):
        cv2.ellipse(pixels, (x + turn, 118), (14, 8), 0, 0, 360, (250, 250, 250), -1, cv2.LINE_AA)
        cv2.circle(pixels, (x + turn, 118), 7, (50, 40, 40), -1, cv2.LINE_AA)
        cv2.ellipse(pixels, (x + turn, 100), (18, 7), 0, 180, 360, (60, 40, 30), 5, cv2.LINE_AA)
    cv2.ellipse(pixels, (128 + turn, 148), (10, 14), 0, 20, 160, (180, 130, 110), 4, cv2.LINE_AA)
    cv2.ellipse(pixels, (128 + turn, 184), (28, 10), 0, 0, 180, (170, 70, 70), -1, cv2.LINE_AA)
    return cv2.resize(cv2.GaussianBlur(pixels, (0, 0), 1.5), (side, side), interpolation=cv2.INTER_AREA)


def somebody() -> np.ndarray:
    """Return a picture (320x240) of somebody without a face who stands upright, for the detector `hog`."""
    pixels = np.full((320, 240, 3), 150, np.uint8)
    dark = (40, 40, 45)
    cv2.circle(pixels, (120, 70), 16, dark, -1, cv2.LINE_AA)
    cv2.ellipse(pixels, (120, 132), (28, 48), 0, 0, 360, dark, -1, cv2.LINE_AA)
    for x in (106, 134):
        cv2.line(pixels, (x, 170), (x, 262), dark, 20, cv2.LINE_AA)
    return cv2.GaussianBlur(pixels, (0, 0), 1.5)


def scene(width: int, height: int, faces: list[tuple[int, int, int]]) -> np.ndarray:
    """Return an image (uint8 HxWx3 RGB) with faces of a given side at x, y."""
    pixels = np.full((height, width, 3), (96, 112, 128), np.uint8)
    for x, y, side in faces:
        pixels[y : y + side, x : x + side] = face(side)
    return pixels


def yunet(path: Path) -> Path:
    """Write an ONNX file with YuNet's twelve outputs: every cell's score is its brightness, its box the cell's size."""
    filters = {
        f"{name}_{stride}": np.full(
            (channels, 3, stride, stride), 1 / (3 * stride * stride * 255) if channels == 1 else 0.0, "<f4"
        )
        for name, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        for stride in (8, 16, 32)
    }
    return onnx_files.write(path, "brightness", 640, filters)
