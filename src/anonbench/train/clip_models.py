"""Video networks of a recipe, and how others name their weights."""

from __future__ import annotations

import re
from pathlib import Path

from anonbench.errors import AnonbenchError
from anonbench.files import read_json
from anonbench.learning.video import ORIGINS, Recognition, recognition
from anonbench.recipe import Recipe
from anonbench.train.data import VariantSplit
from anonbench.train.initialisation import ENTRY, Names
from anonbench.train.record import RECORD


def build(recipe: Recipe, actions: int) -> Recognition:
    """Return an untrained network; its random weights come from torch's global generator."""
    settings = recipe.settings
    return recognition(settings.network, actions, settings.small_widths, settings.small_depths)


_HEADS = re.compile(
    "^(" + "|".join(sorted({re.escape(origin.head) for origin in ORIGINS.values()})) + r")\.(weight|bias)$"
)


def _plain(name: str) -> str:
    """Return torchvision's name of a body's weight that has torchvision's or ours."""
    return name.removeprefix("module.").removeprefix("network.")


def _named(name: str) -> str:
    """Return our name of a weight that has torchvision's or ours."""
    name = name.removeprefix("module.")
    if name in ("head.weight", "head.bias") or name.startswith("network."):
        return name
    last = _HEADS.match(name)
    return f"head.{last[2]}" if last else f"network.{name}"


NAMES = Names(
    "clips", "network.", _plain, _named, re.compile(r"^head\."), re.compile(r"(?!)"), (),
    lambda recipe: str(recipe.settings.network), "actions",
)  # fmt: skip


def check_start(recipe: Recipe, variant: VariantSplit) -> None:
    """Raise AnonbenchError when a start is a whole training on other actions, which its last layer would mix up."""
    start = recipe.initialisation
    if start.kind != "checkpoint" or start.file is None or not Path(start.file).is_dir():
        return
    theirs = read_json(Path(start.file) / RECORD).get("actions")
    if theirs != list(variant.actions):
        raise AnonbenchError(
            f"was trained on other actions ({', '.join(theirs or ()) or 'none'})",
            file=start.file,
            entry=ENTRY,
            remedy="use kind: backbone, whose last layer starts at random",
        )
