"""How strong a blur or a mosaic is against the face that it hides, and when that is too little.

Measured with ``benchmarks/strength.py --sweep`` on large faces of COCO (table in docs/measurements/strength.md): what
is weak leaves each of three face detectors at least half of the faces that it finds in the originals.
"""

from __future__ import annotations

import math

from anonbench.records import Region, RegionKind

WEAK_BLUR = 0.065
"""A standard deviation below this share of a face's side is weak."""
WEAK_CELLS = 8.0
"""More cells of a mosaic than this along a face's side are weak."""
FACE_IN_BODY = 0.5
"""Side of a face as a share of the shorter side of the person's box: the median of COCO's people is 0.52."""


def side_of(region: Region) -> float:
    """Return the side of a face or person in pixels: the square root of the area of their own box."""
    _, _, w, h = region.subject
    return math.sqrt(w * h)


def face_of(region: Region) -> float:
    """Return the side of a face, or about that of the face of a person whose body the region is, in pixels."""
    return side_of(region) if region.kind is RegionKind.FACE else FACE_IN_BODY * min(region.subject[2:])


def weak_blur(deviation: float, region: Region) -> str | None:
    """Return why a blur of ``deviation`` pixels leaves the face in a region recognisable, None if it should not."""
    if deviation < WEAK_BLUR * face_of(region):
        return f"blurred by {100 * deviation / face_of(region):.1f} % of the face's side"
    return None


def weak_mosaic(cell: float, region: Region) -> str | None:
    """Return why cells with a side of ``cell`` pixels leave the face in a region recognisable, None if not."""
    if face_of(region) > WEAK_CELLS * cell:
        return f"{face_of(region) / cell:.1f} cells along the face's side"
    return None
