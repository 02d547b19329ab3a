"""Drawn faces, and a model file with YuNet's outputs that knows nothing but brightness."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


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


def scene(width: int, height: int, faces: list[tuple[int, int, int]]) -> np.ndarray:
    """Return an image (uint8 HxWx3 RGB) with faces of a given side at x, y."""
    pixels = np.full((height, width, 3), (96, 112, 128), np.uint8)
    for x, y, side in faces:
        pixels[y : y + side, x : x + side] = face(side)
    return pixels


def yunet(path: Path) -> Path:
    """Write an ONNX file with YuNet's twelve outputs: every cell's score is its brightness, its box the cell's size."""
    nodes, tensors, outputs = b"", b"", b""
    for name, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            value = 1 / (3 * stride * stride * 255) if channels == 1 else 0.0
            weights = np.full((channels, 3, stride, stride), value, "<f4")
            output = f"{name}_{stride}"
            tensors += _field(5, _tensor(f"w_{output}", weights))
            ints = (
                _field(1, b"strides") + b"".join(_number(8, v) for v in (stride, stride)) + _number(20, 7),
                _field(1, b"kernel_shape") + b"".join(_number(8, v) for v in (stride, stride)) + _number(20, 7),
            )
            node = _field(1, b"input") + _field(1, f"w_{output}".encode()) + _field(2, output.encode())
            nodes += _field(1, node + _field(3, output.encode()) + _field(4, b"Conv") + b"".join(map(_five, ints)))
            outputs += _field(12, _value(output, (1, channels, 640 // stride, 640 // stride)))
    graph = nodes + _field(2, b"brightness") + tensors + _field(11, _value("input", (1, 3, 640, 640))) + outputs
    path.write_bytes(_number(1, 7) + _field(8, _field(1, b"") + _number(2, 11)) + _field(7, graph))
    return path


def _varint(value: int) -> bytes:
    data = b""
    while value > 127:
        data += bytes([value & 127 | 128])
        value >>= 7
    return data + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _five(attribute: bytes) -> bytes:
    return _field(5, attribute)


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_number(1, side) for side in values.shape)
    return dims + _number(2, 1) + _field(8, name.encode()) + _field(9, values.tobytes())


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_field(1, _number(1, side)) for side in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, 1) + _field(2, dims)))
