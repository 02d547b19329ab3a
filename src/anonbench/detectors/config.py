"""The settings of a pass of a detector over images."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from anonbench import registry
from anonbench.detectors import base
from anonbench.plugins import PluginConfig

_SCALES = (1.0, 2.0)


class DetectorConfig(PluginConfig):
    """A detector, and how it looks at an image."""

    group: ClassVar[registry.Group] = "detectors"

    plugin: str = Field(description="Name of the detector: centerface, boxes, yunet, hog, torchvision, ...")
    options: dict[str, Any] = Field({}, validate_default=True, description="The detector's own settings.")
    scales: list[float] = Field(
        [*_SCALES],
        min_length=1,
        description="The image is looked at in these sizes, as factors of its own. Sizes above 1 find small faces and "
        "cost their square in time.",
    )
    tile: int | None = Field(
        None,
        ge=64,
        description="Sizes with a longer side than this many pixels are looked at in overlapping tiles of this side, "
        "and once more as a whole that fits into a tile; bounds the memory.",
    )
    overlap: float = Field(0.2, ge=0, le=0.8, description="What neighbouring tiles share, as a part of their side.")
    nms: float = Field(
        0.4,
        gt=0,
        le=1,
        description="Of two detections whose IoU is above this the better stays.",
    )

    @classmethod
    def load(cls, name: str) -> type[base.Detector] | type[base.StoredDetections]:
        """Return a detector's class; raise AnonbenchError for an unknown one."""
        return base.load(name)

    @field_validator("scales")
    @classmethod
    def _sizes(cls, scales: list[float]) -> list[float]:
        if len(set(scales)) < len(scales) or not all(0.05 <= scale <= 8 for scale in scales):
            raise ValueError("scales are different factors from 0.05 to 8")
        return sorted(scales)

    @model_validator(mode="after")
    def _stored(self) -> Self:
        pixels = [name for name in ("scales", "tile", "overlap", "nms") if name in self.model_fields_set]
        fields = type(self).model_fields
        changed = [name for name in pixels if getattr(self, name) != fields[name].get_default()]
        if changed and issubclass(self.load(self.plugin), base.StoredDetections):
            raise ValueError(f"'{self.plugin}' looks at no image: leave out {', '.join(changed)}")
        return self

    @property
    def finds(self) -> base.Finds:
        """What the detector finds."""
        return self.load(self.plugin).finds
