"""What of a person is a region."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from anonbench.blocks import Strict
from anonbench.detectors.config import DetectorConfig


class LabelsOn(StrEnum):
    """In which frame of an image with an EXIF orientation its labels were drawn."""

    AUTO = "auto"
    UPRIGHT = "upright"
    STORED = "stored"


class OnBadImage(StrEnum):
    """What becomes of images that cannot be used."""

    FAIL = "fail"
    SKIP = "skip"


Source = Literal["ground_truth", "detector", "keypoints", "union"]


class FaceRegions(Strict):
    """Where the region of a face comes from and how large it is."""

    sources: list[Source] = Field(
        ["ground_truth", "union"],
        min_length=1,
        description="Tried in this order, until one has a box that can be used: `ground_truth`, the data set's own "
        "face box; `detector`, the detected face that is matched to the person (none without detectors.face), with "
        "the margin; `keypoints`, a box from the head's keypoints; `union`, the smallest box that holds the two last, "
        "or the one that there is.",
    )
    margin: float = Field(
        0.25,
        ge=0,
        le=2,
        description="What is added to a detected face on every side, as a share of its longer side: a detector's box "
        "ends where the face does, before the ears (docs/annotate.md has the measurement).",
    )
    match: Literal["head", "iou"] = Field(
        "head",
        description="How detected faces are given to people, one to one: `head` prefers the person whose head "
        "keypoints the face holds, then the one whose mask holds most of the face; `iou` goes by the IoU of face and "
        "mask, then by score, as the published study does.",
    )
    min_iou: float = Field(
        0.01, ge=0, lt=1, description="`match: iou` only: a face below this IoU with a person's mask is not theirs."
    )
    scale: float = Field(1.0, gt=0, le=4, description="Factor on both sides of every face box, about its centre.")
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
    min_size: int = Field(1, ge=1, description="Bodies with a shorter side below this many pixels are left alone.")


class Detectors(Strict):
    """What looks for faces and people in the images themselves."""

    face: DetectorConfig | None = Field(None, description="Finds faces, for data sets without face boxes.")
    person: DetectorConfig | None = Field(None, description="Finds people that nobody annotated.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for wanted in ("face", "person"):
            detector = getattr(self, wanted)
            if detector is not None and detector.finds != wanted:
                raise ValueError(f"detectors.{wanted}: '{detector.plugin}' finds {detector.finds}s")
        return self


class RegionsConfig(Strict):
    """What of a person is a region."""

    face: FaceRegions = FaceRegions()
    body: BodyRegions = BodyRegions()
    crowd: Literal["skip", "region"] = Field(
        "region",
        description="Crowds and the people whom a data set tells to ignore: changed as one region (the whole mask; of "
        "faces those that are detected in it, or the data set's face box), or left alone with reason `crowd` or "
        "`ignore`.",
    )
    detectors: Detectors = Detectors()
    unannotated: bool = Field(
        False,
        description="Detected faces and people that are nobody's who is annotated become regions too, for "
        "anonymization only; otherwise they are left with the reason `left_unannotated`.",
    )
    paper: bool = Field(
        False,
        description="The published study's choice of people, gaps included: only persons and pedestrians (no riders), "
        "no crowds, where the data set has keypoints only people with one; faces from the detector only, without a "
        "margin, matched by IoU above 0.01; body masks grown by 0.02. Whom this leaves out has the reason "
        "`left_by_paper`.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.detectors.face is None and (self.face.sources == ["detector"] or self.paper):
            asked = "paper: true needs" if self.paper else "face.sources: 'detector' needs"
            raise ValueError(f"{asked} detectors.face")
        if self.unannotated and self.detectors.face is None and self.detectors.person is None:
            raise ValueError("unannotated: true needs detectors.face or detectors.person")
        if self.paper:
            for name, given, default in (
                ("face", self.face, FaceRegions()),
                ("body", self.body, BodyRegions()),
                ("crowd", self.crowd, "region"),
                ("unannotated", self.unannotated, False),
            ):
                if given != default:
                    raise ValueError(f"paper: true decides {name}; leave it out")
        return self

    def effective(self) -> RegionsConfig:
        """Return the settings that hold: under ``paper`` the published study's."""
        if not self.paper:
            return self
        face = FaceRegions(sources=["detector"], margin=0, match="iou", min_iou=0.01)
        return self.model_copy(update={"face": face, "body": BodyRegions(dilate=0.02), "crowd": "skip"})
