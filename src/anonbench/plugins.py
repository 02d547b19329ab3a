"""What plugins with settings of their own have in common, and how a study names one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from anonbench import registry
from anonbench.blocks import NoSettings, Strict, explain
from anonbench.errors import AnonbenchError, nearest


class Plugin:
    """A plugin whose settings are a block, ``Options``; ``options`` are those that it was made with.

    ``files`` names the options that hold a path whose content decides the result.
    """

    Options: ClassVar[type[Strict]] = NoSettings
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        """Check the settings; raise AnonbenchError for a wrong one."""
        try:
            self.options: Any = self.Options.model_validate(options or {})
        except ValidationError as error:
            raise AnonbenchError(explain(error, self.Options), entry="options") from None


class PluginConfig(Strict):
    """A plugin of a ``group`` of the registry by its name, with its settings, which are completed by its defaults."""

    group: ClassVar[registry.Group]

    plugin: str
    options: dict[str, Any] = Field({}, validate_default=True)

    @classmethod
    def load(cls, name: str) -> Any:
        """Return the class of a plugin; raise AnonbenchError for one that is none of the group."""
        return registry.load(cls.group, name)

    @field_validator("plugin")
    @classmethod
    def _known(cls, plugin: str) -> str:
        known = registry.names(cls.group)
        if plugin not in known:
            raise ValueError(f"unknown {cls.group[:-1]} '{plugin}'{nearest(plugin, known)}")
        return plugin

    @field_validator("options")
    @classmethod
    def _complete(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Return the plugin's settings with its defaults."""
        if "plugin" not in info.data:
            return options
        try:
            model = cls.load(info.data["plugin"]).Options
        except AnonbenchError as error:
            raise ValueError(str(error)) from None
        try:
            return dict(model.model_validate(options).model_dump(mode="json"))
        except ValidationError as error:
            raise ValueError(explain(error, model)) from None

    @property
    def files(self) -> list[Path]:
        """The files that the settings name and whose content decides the result."""
        return [Path(self.options[name]) for name in self.load(self.plugin).files if self.options.get(name)]
