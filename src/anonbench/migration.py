"""Rewrites studies and recipes from the old form to the current one; comments, anchors and layout are kept."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.mergevalue import merge_attrib

from anonbench.errors import AnonbenchError
from anonbench.files import no_yaml
from anonbench.recipe import MOVED


def migrated(path: Path) -> tuple[str, list[str]]:
    """Return a YAML file's text in the current form and a line for each entry that was moved.

    The file is a study, or a recipe by itself. Raises AnonbenchError when it is not a YAML mapping, and for a block
    that has both ``settings`` and entries of the old form.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        text = path.read_bytes().decode()
        value = yaml.load(text.replace("\r\n", "\n"))
    except FileNotFoundError:
        raise AnonbenchError("no such file", file=path) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise no_yaml(error, path) from None
    if not isinstance(value, CommentedMap):
        raise AnonbenchError("is not a YAML mapping", file=path)
    models = value.get("models")
    named = {f"models.{name}.": block for name, block in models.items()} if isinstance(models, dict) else {"": value}
    blocks: dict[str, CommentedMap] = {}
    for where, block in named.items():  # an alias of another block (`b: *a`) follows that block
        if isinstance(block, CommentedMap) and not any(block is other for other in blocks.values()):
            blocks[where] = block
    for where, block in blocks.items():
        if (own := _own(block)) and "settings" in block:
            raise AnonbenchError(
                f"has {', '.join(own)} beside its settings",
                file=path,
                entry=where.rstrip(".") or None,
                remedy="move it into the settings by hand, and run again",
            )
    # before any is changed, since entries of a block show wherever it is merged in
    moves = {where: _moves(block) for where, block in blocks.items()}
    said = [f"{where}{name}: now {where}settings.{name}" for where, names in moves.items() for name in names]
    if not said:
        return text, []
    for where, names in moves.items():
        if names:
            _move(blocks[where], names)
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue().replace("\n", "\r\n" if "\r\n" in text else "\n"), said


def _own(block: CommentedMap) -> list[str]:
    """Return which of the moved entries are written in the block itself, not merged into it (``<<: *anchor``)."""
    return [name for name, _ in block.non_merged_items() if name in MOVED]


def _moves(block: CommentedMap) -> dict[str, Any]:
    """Return what the block's settings consist of: nothing unless it has some itself, else with what is merged in.

    A block's own settings replace merged-in settings as a whole, so they have to be complete.
    """
    own = _own(block)
    seen = {name: block[name] for name in MOVED if name in block} if own else {}
    return {name: value if name in own else copy.deepcopy(value) for name, value in seen.items()}


def _move(block: CommentedMap, moved: dict[str, Any]) -> None:
    settings, own = CommentedMap(moved), _own(block)
    place = [name for name, _ in block.non_merged_items()].index(own[0])
    merge = getattr(block, merge_attrib, None)
    if merge is not None and merge.merge_pos <= place:
        place += 1  # `<<` is an entry, too
    # ruamel (0.19) fails when it updates the blocks that this one is merged into; what they show is not written
    block._ref.clear()
    for name in own:
        if name in block.ca.items:  # the comments behind it
            settings.ca.items[name] = block.ca.items.pop(name)
        del block[name]
    if block.fa.flow_style():
        settings.fa.set_flow_style()
    block.insert(place, "settings", settings)
