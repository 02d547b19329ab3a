"""The settings of a recogniser in a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from anonbench import registry
from anonbench.blocks import Strict, explain
from anonbench.errors import AnonbenchError, nearest
from anonbench.recognisers import base


class RecogniserConfig(Strict):
    """A network of somebody else's that tells people apart."""

    plugin: str = Field(description="Name of the recogniser: dlib, sface, ...")
    options: dict[str, Any] = Field({}, validate_default=True, description="The recogniser's own settings.")

    @field_validator("plugin")
    @classmethod
    def _known(cls, plugin: str) -> str:
        known = registry.names("recognisers")
        if plugin not in known:
            raise ValueError(f"unknown recogniser '{plugin}'{nearest(plugin, known)}")
        return plugin

    @field_validator("options")
    @classmethod
    def _complete(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Return the recogniser's settings with its defaults."""
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

    @property
    def of(self) -> type[base.Recogniser]:
        """The recogniser's class."""
        return base.load(self.plugin)

    @property
    def files(self) -> list[Path]:
        """The files that the settings name and whose content decides the result."""
        return [Path(self.options[name]) for name in self.of.files if self.options.get(name)]

    def make(self) -> base.Recogniser:
        """Return the recogniser; raise AnonbenchError for weights or a package that are missing."""
        return self.of(self.options)
