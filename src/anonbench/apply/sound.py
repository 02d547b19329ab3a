"""What stands in the head of a sound stream beside what decoding needs: comments, which may name people and places."""

from __future__ import annotations

VORBIS_HEADERS, VORBIS_FIRST = 3, 30
"""Packets in a Vorbis stream's head, and bytes of the first (Vorbis I, 4.2)."""
NO_COMMENTS = b"\x03vorbis" + bytes(8) + b"\x01"
"""A comment packet of no vendor and no comments, with its framing bit (Vorbis I, 5.2.1)."""
FLAC, STREAMINFO, LAST = b"fLaC", 0, 0x80
"""A FLAC stream's first bytes, the type of its first block, and the flag of the last one (RFC 9639, 8.1)."""


def without_comments(codec: str, head: bytes) -> bytes:
    """Return the private data of a sound stream (FFmpeg's extradata) without comments and pictures.

    Those of Vorbis and FLAC have some; others come back as they are. Raises ValueError for a head that is damaged.
    """
    if codec in ("vorbis", "libvorbis"):
        first, _, third = _vorbis(head)
        return _laced([first, NO_COMMENTS, third])
    if codec == "flac" and head.startswith(FLAC):
        size = int.from_bytes(head[5:8])
        if len(head) < 8 + size or head[4] & ~LAST != STREAMINFO:
            raise ValueError("its FLAC stream has no whole head")
        return FLAC + bytes([LAST | STREAMINFO]) + head[5 : 8 + size]
    return head


def _vorbis(head: bytes) -> list[bytes]:
    """Return the three packets of a Vorbis head: each with its size before it, or all sizes first (Xiph lacing)."""
    if int.from_bytes(head[:2]) == VORBIS_FIRST:
        packets, at = [], 0
        for _ in range(VORBIS_HEADERS):
            size = int.from_bytes(head[at : at + 2])
            packets.append(head[at + 2 : at + 2 + size])
            at += 2 + size
    else:
        sizes, at = [], 1
        for _ in range(VORBIS_HEADERS - 1):
            size = 0
            while head[at : at + 1] == b"\xff":
                size, at = size + 255, at + 1
            sizes.append(size + int.from_bytes(head[at : at + 1]))
            at += 1
        ends = [at + sizes[0], at + sizes[0] + sizes[1]]
        packets = [head[at : ends[0]], head[ends[0] : ends[1]], head[ends[1] :]]
    if [packet[:7] for packet in packets] != [bytes([kind]) + b"vorbis" for kind in (1, 3, 5)]:
        raise ValueError("its Vorbis stream has no whole head")
    return packets


def _laced(packets: list[bytes]) -> bytes:
    sizes = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets[:-1])
    return bytes([len(packets) - 1]) + sizes + b"".join(packets)
