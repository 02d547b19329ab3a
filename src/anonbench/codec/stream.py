"""The form of a stream: a header that says what it is, then the latents; see docs/codec.md for the table."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anonbench.codec import coder
from anonbench.codec.networks import Architecture
from anonbench.codec.tables import Tables
from anonbench.errors import AnonbenchError

MAGIC = b"anbc"
VERSION = 1
MODEL_BYTES = 8
_HEAD = struct.Struct(f"<4sB{MODEL_BYTES}sBI")
_FARTHEST = 1 << 30


class Damaged(ValueError):
    """Bytes that are no stream, or not all of one; the message says why."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What a stream says: the ``model`` whose it is, the number of the ``step``, the image's size, and the latents."""

    model: bytes
    step: int
    width: int
    height: int
    escapes: bytes
    words: np.ndarray

    @property
    def latent_bits(self) -> int:
        """The bits of the latents alone, header left out."""
        return 8 * len(self.escapes) + 32 * len(self.words)

    def pack(self) -> bytes:
        """Return the bytes."""
        body = _varints(np.array([self.width, self.height, len(self.escapes)]))
        body += self.escapes + self.words.astype("<u4").tobytes()
        bare = _HEAD.pack(MAGIC, VERSION, self.model, self.step, 0)
        checked = zlib.crc32(body, zlib.crc32(bare))
        return _HEAD.pack(MAGIC, VERSION, self.model, self.step, checked) + body

    @classmethod
    def unpack(cls, data: bytes, model: bytes, *, file: str | Path | None = None) -> Stream:
        """Read a stream of ``model``; raise AnonbenchError (naming ``file``) for one of another, or damaged bytes."""
        if len(data) < _HEAD.size or data[:4] != MAGIC:
            raise AnonbenchError("is not a stream of this codec", file=file, remedy="give what anonbench encode wrote")
        _, version, own, step, told = _HEAD.unpack_from(data)
        if version != VERSION:
            raise AnonbenchError(
                f"is of version {version}, and this reads {VERSION}",
                file=file,
                remedy="take the anonbench that encoded it",
            )
        if own != model:
            raise AnonbenchError(
                f"was encoded by another model ({own.hex()}, not {model.hex()})",
                file=file,
                remedy="give the weights that it was encoded with",
            )
        try:
            body = data[_HEAD.size :]
            if zlib.crc32(body, zlib.crc32(_HEAD.pack(MAGIC, version, own, step, 0))) != told:
                raise Damaged("its checksum is wrong")
            (width, height, length), start = _read_varints(body, 3)
            escapes, words = body[start : start + length], body[start + length :]
            if len(escapes) != length or len(words) % 4:
                raise Damaged("its parts do not fit")
            read = np.frombuffer(words, "<u4").astype(np.uint32)
            if len(read) and not read[-1]:
                raise Damaged("it ends in nothing")
        except Damaged as error:
            raise AnonbenchError(f"is damaged or cut short ({error})", file=file, remedy="encode it again") from None
        return cls(own, step, width, height, escapes, read)


def check_size(
    width: int, height: int, architecture: Architecture, max_pixels: int, *, file: str | Path | None = None
) -> None:
    """Raise AnonbenchError for an image without pixels, or with more than ``max_pixels`` once it is padded."""
    if min(width, height) < 1:
        raise AnonbenchError(f"an image of {width}x{height} pixels has none", file=file, remedy="encode another")
    _, rows, columns = architecture.latents(width, height)
    if rows * columns * architecture.stride**2 > max_pixels:
        raise AnonbenchError(
            f"an image of {width}x{height} is larger than {max_pixels} pixels, to multiples of {architecture.stride}",
            file=file,
            entry="--max-pixels",
            remedy="raise it if the image is yours and the memory is enough",
        )


def write(latents: np.ndarray, tables: Tables) -> tuple[bytes, np.ndarray]:
    """Return the escapes and words of latents (int CxHxW, in steps); raise ValueError for what is no latent."""
    rows = latents.reshape(len(latents), -1).astype(np.int64)
    if rows.size and np.abs(rows).max() > _FARTHEST:
        raise ValueError(f"latents further than {_FARTHEST} steps from zero")
    symbols = rows - tables.first[:, None]
    escape = (tables.sizes - 1)[:, None]
    outside = (symbols < 0) | (symbols >= escape)
    values = rows[outside]
    words = coder.encode(np.where(outside, escape, symbols).astype(np.int32), tables)
    return _varints(np.where(values < 0, -2 * values - 1, 2 * values)), words


def read(stream: Stream, architecture: Architecture, tables: Tables, *, file: str | Path | None = None) -> np.ndarray:
    """Return the latents (int32 CxHxW, in steps) of a stream whose size was checked.

    Raises AnonbenchError for words that are too many or too few, and for escapes that do not fit. No number of words is
    too few by itself: while the coder's state is zero, the first symbol of a table costs nothing, likely or not,
    however many there are.
    """
    shape = architecture.latents(stream.width, stream.height)
    try:
        symbols = coder.decode(stream.words, tables, shape[1] * shape[2]).astype(np.int64)
        outside = symbols == (tables.sizes - 1)[:, None]
        found = symbols + tables.first[:, None]
        values, end = _read_varints(stream.escapes, int(outside.sum()))
        if end != len(stream.escapes) or any(value > 2 * _FARTHEST for value in values):
            raise Damaged("its escapes do not fit")
    except ValueError as error:
        raise AnonbenchError(f"is damaged or cut short ({error})", file=file, remedy="encode it again") from None
    plain = np.array(values, np.int64)
    found[outside] = np.where(plain % 2 == 1, -(plain + 1) // 2, plain // 2)
    return found.astype(np.int32).reshape(shape)


def _varints(values: np.ndarray) -> bytes:
    """Return whole numbers below 2^35 with seven bits to a byte, lowest first; all but the last byte of one have the
    eighth set (LEB128)."""
    written = bytearray()
    for value in values.tolist():
        while value > 0x7F:
            written.append(value & 0x7F | 0x80)
            value >>= 7
        written.append(value)
    return bytes(written)


def _read_varints(data: bytes, count: int) -> tuple[list[int], int]:
    """Return ``count`` whole numbers and where they end; raise Damaged for too few, or one that is too long."""
    found, at = [], 0
    for _ in range(count):
        value = shift = 0
        while True:
            if at >= len(data) or shift > 28:
                raise Damaged("a number is cut short" if at >= len(data) else "a number is too long")
            value |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not data[at - 1] & 0x80:
                break
        found.append(value)
    return found, at
