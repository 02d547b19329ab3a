"""Model files in ONNX, written by hand: convolutions of one input, each with an output of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np


def write(path: Path, name: str, side: int, filters: Mapping[str, np.ndarray], given: str = "input") -> Path:
    """Write a model of one square image, ``side`` pixels, called ``given``.

    ``filters`` float32 (channels, 3, s, s) by output: each is applied to squares of s pixels that do not overlap.
    """
    nodes, tensors, outputs = b"", b"", b""
    for output, weights in filters.items():
        channels, _, stride, _ = weights.shape
        tensors += _field(5, _tensor(f"w_{output}", weights.astype("<f4")))
        ints = (
            _field(1, b"strides") + b"".join(_number(8, v) for v in (stride, stride)) + _number(20, 7),
            _field(1, b"kernel_shape") + b"".join(_number(8, v) for v in (stride, stride)) + _number(20, 7),
        )
        node = _field(1, given.encode()) + _field(1, f"w_{output}".encode()) + _field(2, output.encode())
        nodes += _field(1, node + _field(3, output.encode()) + _field(4, b"Conv") + b"".join(map(_five, ints)))
        outputs += _field(12, _value(output, (1, channels, side // stride, side // stride)))
    graph = nodes + _field(2, name.encode()) + tensors + _field(11, _value(given, (1, 3, side, side))) + outputs
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
