"""What the recipes of all methods that are fitted share: presets, and fields that mean the same in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from anonbench.blocks import Strict

__all__ = ("CheckpointEvery", "Determinism", "FromPreset", "LearningRate", "Precision", "SamplesEvery")

Determinism = Annotated[
    Literal["auto", "portable", "strict"],
    Field(
        description="`portable`: the same bytes on every x86-64 processor with AVX2; `strict`: on one machine; `auto`: "
        "portable on x86-64 processors."
    ),
]
Precision = Annotated[
    Literal["fp32", "bf16"], Field(description="Of the arithmetic; bf16 is automatic mixed precision.")
]
CheckpointEvery = Annotated[int, Field(ge=1, description="Steps between two checkpoints.")]
LearningRate = Annotated[float, Field(gt=0, description="Adam's; falls to a tenth by a half cosine.")]
SamplesEvery = Annotated[int, Field(ge=1, description="Steps between two sample sheets.")]


class FromPreset(Strict):
    """Settings of which those that are left out come from one of the ``presets``, which the field ``preset`` names."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]]

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        name = values.get("preset", cls.model_fields["preset"].default)
        return cls.completed(cls.presets.get(name, {}) if isinstance(name, str) else {}, values)

    @classmethod
    def completed(cls, preset: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that are given, and those of the preset where none are."""
        return {**preset, **values}
