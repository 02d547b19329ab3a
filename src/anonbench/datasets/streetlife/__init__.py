"""streetlife: street scenes rendered by anonbench itself, the same bytes on every machine."""

from .dataset import CATEGORIES, encode, render_split
from .options import Options
from .population import Identity, population
from .render import Scene, render_scene

__all__ = ["CATEGORIES", "Identity", "Options", "Scene", "encode", "population", "render_scene", "render_split"]
