"""The base of every block of settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A block of the configuration: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
