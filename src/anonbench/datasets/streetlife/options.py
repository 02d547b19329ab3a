"""What can be chosen about streetlife."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


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

    @field_validator("people")
    @classmethod
    def _ordered(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= value[0] <= value[1] <= 12:
            raise ValueError("people must be (fewest, most) with 0 <= fewest <= most <= 12")
        return value

    @property
    def splits(self) -> dict[str, int]:
        """The number of images of each split."""
        return {"train": self.train, "val": self.val}
