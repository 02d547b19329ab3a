"""Colour profiles without names: what a profile says of colours, written anew.

A profile holds texts (maker, owner, device, date) beside its numbers. One that means sRGB, Adobe RGB, Display P3 or
another plain space is replaced by that space's; of any other only the numbers stay that turn samples into colours.
The format is ICC.1:2022 (version 4) and ICC.1:2001-04 (version 2).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable

import numpy as np

LARGEST = 1 << 22
"""Bytes of the largest profile that is read; those of printing inks take one or two million."""

DROPPED = "colour profile dropped: it is damaged or of a kind that is not kept"

_CHANNELS = {b"RGB ": 3, b"GRAY": 1, b"CMYK": 4}
_NAMES = {b"RGB ": "RGB", b"GRAY": "Grey", b"CMYK": "CMYK"}
_CLASSES = (b"mntr", b"scnr", b"prtr", b"spac")
_D50 = struct.pack(">3i", 63190, 65536, 54061)
_PRIMARIES, _CURVES = (b"rXYZ", b"gXYZ", b"bXYZ"), (b"rTRC", b"gTRC", b"bTRC")
_TABLES = (b"A2B0", b"A2B1", b"A2B2")
_NEAR_PRIMARY, _NEAR_CURVE = 0.003, 0.0005
"""How far primaries (XYZ) and tone curves (linear light, 0..1) may be from a plain space's to be taken for it."""

_Tags = dict[bytes, bytes]


@functools.lru_cache(maxsize=16)
def plain(profile: bytes) -> bytes | None:
    """Return a profile of the same colours that holds nothing else; None for one that cannot be read or kept.

    Kept are profiles of RGB, grey and CMYK that are given by primaries and tone curves, or by tables of 8 or 16 bits.
    """
    if not 132 <= len(profile) <= LARGEST or profile[36:40] != b"acsp" or profile[8] not in (2, 4):
        return None
    kind, space, connection = profile[12:16], profile[16:20], profile[20:24]
    if kind not in _CLASSES or space not in _CHANNELS or connection not in (b"XYZ ", b"Lab "):
        return None
    tags = _numbers(profile)
    by_curves = {b"RGB ": (*_PRIMARIES, *_CURVES), b"GRAY": (b"kTRC",)}.get(space)
    if by_curves and tags.keys() >= set(by_curves) and (space == b"GRAY" or connection == b"XYZ "):
        for body, meant in _plain_spaces():
            if meant.keys() >= set(by_curves) and all(_near(tags[name], meant[name]) for name in by_curves):
                return body
        kept = by_curves
    elif b"A2B0" in tags and tags[b"A2B0"][8:10] == bytes((_CHANNELS[space], 3)):
        kept = _TABLES
    else:
        return None
    tags = {name: tags[name] for name in (b"wtpt", b"chad", *kept) if name in tags}
    return _write(_NAMES[space], profile[8:10], kind + space + connection, profile[67] & 3, tags)


def _numbers(profile: bytes) -> _Tags:
    """Return the tags of a profile that hold nothing but numbers, written anew."""
    (count,) = struct.unpack(">I", profile[128:132])
    table = profile[132 : 132 + 12 * min(count, 100)]
    found: _Tags = {}
    for name, start, length in struct.iter_unpack(">4sII", table[: len(table) // 12 * 12]):
        body = profile[start : start + length]
        clean = _READ[name](body) if name in _READ and len(body) >= 12 else None
        if clean is not None:
            found[name] = clean
    return found


def _xyz(body: bytes) -> bytes | None:
    return _bare(body, 20) if body[:4] == b"XYZ " else None


def _matrix(body: bytes) -> bytes | None:
    return _bare(body, 44) if body[:4] == b"sf32" else None


def _curve(body: bytes) -> bytes | None:
    if body[:4] == b"curv":
        return _bare(body, 12 + 2 * int.from_bytes(body[8:12], "big"))
    numbers = dict(enumerate((1, 3, 4, 5, 7))).get(int.from_bytes(body[8:10], "big"))
    return _bare(body[:10] + b"\0\0" + body[12:], 12 + 4 * numbers) if body[:4] == b"para" and numbers else None


def _table(body: bytes) -> bytes | None:
    inputs, outputs, grid = body[8], body[9], body[10]
    if inputs > 4 or outputs > 4 or len(body) < 52:
        return None
    cells = grid**inputs * outputs
    if body[:4] == b"mft1":
        return _bare(body[:11] + b"\0" + body[12:], 48 + 256 * (inputs + outputs) + cells)
    if body[:4] == b"mft2":
        before, behind = struct.unpack(">HH", body[48:52])
        return _bare(body[:11] + b"\0" + body[12:], 52 + 2 * (before * inputs + cells + behind * outputs))
    return None


def _bare(body: bytes, length: int) -> bytes | None:
    """Return the first ``length`` bytes of a tag with its reserved bytes blank, None when it is shorter."""
    return body[:4] + bytes(4) + body[8:length] if len(body) >= length else None


_READ: dict[bytes, Callable[[bytes], bytes | None]] = {
    **dict.fromkeys((b"wtpt", *_PRIMARIES), _xyz),
    b"chad": _matrix,
    **dict.fromkeys((b"kTRC", *_CURVES), _curve),
    **dict.fromkeys(_TABLES, _table),
}


def _near(tag: bytes, other: bytes) -> bool:
    """Tell whether two tags (XYZ or curve) say the same."""
    if tag[:4] == b"XYZ ":
        return bool(np.abs(_fixed(tag[8:]) - _fixed(other[8:])).max() < _NEAR_PRIMARY)
    samples = np.linspace(0, 1, 256)
    with np.errstate(all="ignore"):
        return bool(np.abs(_light(tag, samples) - _light(other, samples)).max() < _NEAR_CURVE)


def _fixed(numbers: bytes) -> np.ndarray:
    return np.frombuffer(numbers, ">i4") / 65536


def _light(curve: bytes, samples: np.ndarray) -> np.ndarray:
    """Return the linear light of samples (float64, 0..1)."""
    if curve[:4] == b"curv":
        values = np.frombuffer(curve[12:], ">u2")
        if len(values) < 2:
            return samples ** (values[0] / 256) if len(values) else samples
        return np.interp(samples, np.linspace(0, 1, len(values)), values / 65535)
    kind = int.from_bytes(curve[8:10], "big")
    numbers = _fixed(curve[12:])
    gamma, a, b, c, d, e, f = np.append(numbers, (1, 1, 0, 0, 0, 0, 0)[len(numbers) :])
    power = np.maximum(a * samples + b, 0) ** gamma
    if kind in (0, 1, 2):
        return power + c
    return np.where(samples >= d, power + e, c * samples + f)


def _write(name: str, version: bytes, spaces: bytes, intent: int, tags: _Tags) -> bytes:
    """Return a profile; ``version`` is two bytes, ``spaces`` class, colour space and connection space."""
    tags = {b"desc": _text(name, version, b"desc"), b"cprt": _text("CC0", version, b"text"), **tags}
    start = 132 + 12 * len(tags)
    table, data, places = struct.pack(">I", len(tags)), b"", dict[bytes, int]()
    for tag, body in tags.items():
        if body not in places:
            places[body] = start + len(data)
            data += body + bytes(-len(body) % 4)
        table += struct.pack(">4sII", tag, places[body], len(body))
    head = struct.pack(">I4x2s2x", start + len(data), version) + spaces
    head += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp") + bytes(24) + struct.pack(">I", intent) + _D50
    return head.ljust(128, b"\0") + table + data


def _text(text: str, version: bytes, old: bytes) -> bytes:
    if version[0] >= 4:
        return struct.pack(">4s4xII4sII", b"mluc", 1, 12, b"enUS", 2 * len(text), 28) + text.encode("utf-16-be")
    if old == b"desc":
        return struct.pack(">4s4xI", b"desc", len(text) + 1) + text.encode() + bytes(1 + 78)
    return old + bytes(4) + text.encode() + b"\0"


@functools.cache
def _plain_spaces() -> tuple[tuple[bytes, _Tags], ...]:
    """Return the profiles of the plain spaces, and their tags; primaries adapted to D50 (Bradford)."""
    srgb = _parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    colours = {
        "sRGB": (srgb, (0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)),
        "Adobe RGB (1998)": (
            _parametric(0, 2.19921875),
            (0.60974, 0.31111, 0.01947),
            (0.20528, 0.62567, 0.06087),
            (0.14919, 0.06322, 0.74457),
        ),
        "Display P3": (srgb, (0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
        "ProPhoto RGB": (
            _parametric(0, 1.8),
            (0.79767, 0.28804, 0.0),
            (0.13519, 0.71188, 0.0),
            (0.03134, 0.00009, 0.82491),
        ),
    }
    greys = {f"Grey gamma {gamma}": _parametric(0, gamma) for gamma in (1.8, 2.2)} | {"Grey sRGB": srgb}
    found = []
    for name, (curve, *primaries) in colours.items():
        tags = {tag: b"XYZ " + bytes(4) + _s15(*xyz) for tag, xyz in zip(_PRIMARIES, primaries, strict=True)}
        found.append((name, b"RGB ", tags | dict.fromkeys(_CURVES, curve)))
    found += [(name, b"GRAY", {b"kTRC": curve}) for name, curve in greys.items()]
    white = {b"wtpt": b"XYZ " + bytes(4) + _D50}
    return tuple(
        (_write(name, b"\4\x30", b"mntr" + space + b"XYZ ", 0, white | tags), tags) for name, space, tags in found
    )


def _parametric(kind: int, *numbers: float) -> bytes:
    return struct.pack(">4s4xH2x", b"para", kind) + _s15(*numbers)


def _s15(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))
