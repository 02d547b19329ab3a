"""What of a person is a region."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from anonbench.blocks import Strict


class FaceRegions(Strict):
    """Where the region of a face comes from and how large it is."""

    sources: list[Literal["ground_truth", "keypoints"]] = Field(
        ["ground_truth", "keypoints"],
        min_length=1,
        description="Tried in this order: the data set's own face box; a head box from the five head keypoints.",
    )
    scale: float = Field(1.0, gt=0, le=4, description="Factor on both sides of the face box, about its centre.")
    min_size: int = Field(1, ge=1, description="Faces with a shorter side below this many pixels are left alone.")


class BodyRegions(Strict):
    """Which pixels of a body are a region."""

    dilate: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Radius of the disc that grows the mask, as a share of the square root of the person's box area "
        "(the published study: 0.02; 0: COCO's own mask, to the pixel).",
    )
    crowd: Literal["skip", "region"] = Field(
        "skip", description="Crowd masks: left alone with reason 'crowd', or changed as one region."
    )
    min_size: int = Field(1, ge=1, description="Bodies with a shorter side below this many pixels are left alone.")


class RegionsConfig(Strict):
    """What of a person is a region."""

    face: FaceRegions = FaceRegions()
    body: BodyRegions = BodyRegions()
