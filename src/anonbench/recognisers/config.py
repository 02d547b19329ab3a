"""The settings of a recogniser in a study."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from anonbench import registry
from anonbench.plugins import PluginConfig
from anonbench.recognisers import base


class RecogniserConfig(PluginConfig):
    """A network of somebody else's that tells people apart."""

    group: ClassVar[registry.Group] = "recognisers"

    plugin: str = Field(description="Name of the recogniser: dlib, sface, ...")
    options: dict[str, Any] = Field({}, validate_default=True, description="The recogniser's own settings.")

    @classmethod
    def load(cls, name: str) -> type[base.Recogniser]:
        """Return a recogniser's class; raise AnonbenchError for an unknown one."""
        return base.load(name)

    @property
    def of(self) -> type[base.Recogniser]:
        """The recogniser's class."""
        return self.load(self.plugin)

    def make(self) -> base.Recogniser:
        """Return the recogniser; raise AnonbenchError for weights or a package that are missing."""
        return self.of(self.options)
