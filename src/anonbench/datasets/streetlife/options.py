"""What can be chosen about streetlife."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_serializer, model_validator

from anonbench.errors import nearest

from .actions import ACTIONS, DETAIL, MOTIONS

SplitName = Literal["train", "val", "gallery", "probe"]
REIDENTIFICATION = ("gallery", "probe")
"""The splits whose people are in no other one."""
_LATER = {
    "attributes", "outfits", "gallery", "probe", "gallery_identities", "clips", "frames", "fps", "actions",
}  # fmt: skip
"""Options that the first data sets did not have; no record names them where they are left alone."""
_STILLS = {"train", "val", *REIDENTIFICATION}
"""Options that count single images."""


class Options(BaseModel):
    """The data set's size and look; each image depends only on these, its split and its number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(256, ge=64, le=4096, description="image width in pixels")
    height: int = Field(192, ge=64, le=4096, description="image height in pixels")
    train: int = Field(480, ge=0, description="images of the training split")
    val: int = Field(120, ge=0, description="images of the validation split")
    identities: int = Field(40, ge=1, description="different people; both splits show the same ones")
    seed: int = Field(2023, ge=0)
    format: Literal["jpg", "png"] = "jpg"
    quality: int = Field(95, ge=1, le=100, description="of JPEG files")
    people: tuple[int, int] = Field((1, 6), description="fewest and most people in an image")
    attributes: bool = Field(False, description="record skin tone, hair, clothes and the like of each person")
    outfits: int = Field(1, ge=1, le=4, description="sets of clothes of each person, one of which is worn in a scene")
    gallery: int = Field(
        0, ge=0, description="images of the split `gallery`, whose people are also in `probe` alone; needs `probe`"
    )
    probe: int = Field(0, ge=0, description="images of the split `probe`, of the same people in other scenes")
    gallery_identities: int = Field(20, ge=1, description="people of gallery and probe, beside `identities`")
    clips: int | dict[SplitName, int] = Field(
        0, description="clips of train and of val, or of each split by name; a split then holds them alone, no images"
    )
    frames: int = Field(16, ge=2, le=1000, description="frames of a clip")
    fps: float = Field(8.0, ge=1, le=60, description="frames in a second of a clip")

    actions: tuple[str, ...] = Field(
        ACTIONS, min_length=2, description="what is done in clips, in the order of labels; see docs/streetlife.md"
    )

    @field_validator("actions")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in MOTIONS:
                raise ValueError(f"unknown action '{name}'{nearest(name, MOTIONS)}")
        if len(set(value)) < len(value):
            raise ValueError("the same action twice")
        return value

    @field_validator("people")
    @classmethod
    def _ordered(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= value[0] <= value[1] <= 12:
            raise ValueError("people must be (fewest, most) with 0 <= fewest <= most <= 12")
        return value

    @field_validator("clips")
    @classmethod
    def _counts(cls, value: int | dict[SplitName, int]) -> int | dict[SplitName, int]:
        if min(value.values(), default=0) < 0 if isinstance(value, dict) else value < 0:
            raise ValueError("clips cannot be fewer than 0")
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = self.model_fields_set
        if self.of_clips:
            if stills := sorted(given & _STILLS):
                raise ValueError(f"{', '.join(stills)}: splits of clips hold no images; count clips in clips instead")
            if self.meets and (self.people[1] < 2 or self.identities < 2):
                raise ValueError("people: two shake hands, or hand something over; set 2 or more")
        elif given & {"frames", "fps", "actions"}:
            raise ValueError("frames, fps and actions are of clips; set clips too")
        counts = {split: self.splits.get(split, 0) for split in REIDENTIFICATION}
        if not any(counts.values()):
            if "gallery_identities" in given:
                raise ValueError("gallery_identities are of the splits gallery and probe; set probe, or both")
            return self
        if not counts["probe"]:
            raise ValueError("gallery holds those who are looked for in probe; set probe too")
        least = self.gallery_identities * (len(self.actions) if self.of_clips else 1)
        if min(filter(None, counts.values())) < least:
            what = f"clips, {len(self.actions)} for each" if self.of_clips else "images, one for each"
            raise ValueError(f"gallery and probe need at least {least} {what} of gallery_identities")
        if self.of_clips and self.meets and self.gallery_identities < 2:
            raise ValueError("gallery_identities: two shake hands, or hand something over; set 2 or more")
        if self.people[0] < 1:
            raise ValueError("people: gallery and probe need somebody in each image")
        return self

    @property
    def of_clips(self) -> bool:
        """Whether the splits hold clips and not single images."""
        return any(self.clips.values()) if isinstance(self.clips, dict) else self.clips > 0

    @property
    def meets(self) -> bool:
        """Whether one of the actions is done by two."""
        return any(MOTIONS[name].meets for name in self.actions)

    @property
    def close(self) -> bool:
        """Whether people stand near the camera, so that what they hold can be seen, whatever they do."""
        return any(MOTIONS[name].kind == DETAIL for name in self.actions)

    def later(self, split: str) -> bool:
        """Tell whether anything is asked for of a split that the first data sets did not have."""
        return bool(_LATER - self._idle() - self._elsewhere(split))

    def _idle(self) -> set[str]:
        return {name for name in _LATER if getattr(self, name) == type(self).model_fields[name].default}

    @staticmethod
    def _elsewhere(split: str) -> set[str]:
        """Return the options that are of other splits alone."""
        return set() if split in REIDENTIFICATION else {*REIDENTIFICATION, "gallery_identities"}

    def of_split(self, split: str) -> dict[str, Any]:
        """Return, as JSON, what a split's images depend on: where more people are met changes nothing of the others."""
        told: dict[str, Any] = self.model_dump(mode="json")
        return {name: value for name, value in told.items() if name not in self._elsewhere(split)}

    @property
    def splits(self) -> dict[str, int]:
        """The number of images, or of clips, of each split."""
        if self.of_clips:
            clips = self.clips
            return {"train": clips, "val": clips} if isinstance(clips, int) else {str(k): n for k, n in clips.items()}
        found = {"train": self.train, "val": self.val, "gallery": self.gallery, "probe": self.probe}
        return {name: count for name, count in found.items() if count or name not in REIDENTIFICATION}

    @model_serializer(mode="wrap")
    def _dump(self, dump: Callable[[Self], dict[str, Any]]) -> dict[str, Any]:
        """The options that matter, so that a record says no more than it did before there were others."""
        idle = self._idle()
        if self.of_clips:
            idle |= _STILLS
        return {name: value for name, value in dump(self).items() if name not in idle}
