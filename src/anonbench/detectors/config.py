"""The settings of a pass of a detector over images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from anonbench import registry
from anonbench.blocks import Strict, explain
from anonbench.detectors import base
from anonbench.errors import AnonbenchError, nearest

_SCALES = (1.0, 2.0)


class DetectorConfig(Strict):
    """A detector, and how it looks at an image."""

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

    @field_validator("plugin")
    @classmethod
    def _known(cls, plugin: str) -> str:
        known = registry.names("detectors")
        if plugin not in known:
            raise ValueError(f"unknown detector '{plugin}'{nearest(plugin, known)}")
        return plugin

    @field_validator("options")
    @classmethod
    def _complete(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Return the detector's settings with its defaults."""
        if "plugin" not in info.data:
            return options
        try:
            model = base.load(info.data["plugin"]).Options
        except AnonbenchError as error:
            raise ValueError(str(error)) from None
        try:
            return model.model_validate(options).model_dump(mode="json")
        except ValidationError as error:
            raise ValueError(explain(error, model)) from None

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
        if changed and issubclass(base.load(self.plugin), base.StoredDetections):
            raise ValueError(f"'{self.plugin}' looks at no image: leave out {', '.join(changed)}")
        return self

    @property
    def finds(self) -> base.Finds:
        """What the detector finds."""
        return base.load(self.plugin).finds

    @property
    def files(self) -> list[Path]:
        """The files that the settings name and whose content decides the result."""
        return [Path(self.options[name]) for name in base.load(self.plugin).files if self.options.get(name)]
