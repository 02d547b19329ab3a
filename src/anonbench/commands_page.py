"""The page of the commands, written from the command line's own descriptions by `anonbench config`."""

from __future__ import annotations

import enum
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from typer.models import ArgumentInfo, OptionInfo

from anonbench.cli import COMMANDS

HEAD = """# Commands

<!-- Written by `anonbench config --write` from the command line; edit it there. -->

One command per step of the study. Snakemake calls them with the study's values; you can call each by hand. A mistake
of the user becomes one sentence on standard error and status 2."""


def page() -> str:
    """Return the page: for every command what it does, its options, their defaults and meanings."""
    lines = [HEAD]
    for name, module in COMMANDS.items():
        function = getattr(importlib.import_module(module), name.replace("-", "_"))
        lines += ["", f"## anonbench {name}", "", cell(inspect.getdoc(function) or ""), ""]
        lines += ["| option | default | meaning |", "|---|---|---|", *_rows(function)]
    return "\n".join(lines) + "\n"


def _rows(function: Callable[..., Any]) -> Iterator[str]:
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        kind, info = parameter.annotation, None
        if get_origin(kind) is Annotated:
            kind, *notes = get_args(kind)
            info = next((note for note in notes if isinstance(note, OptionInfo | ArgumentInfo)), None)
        required = parameter.default is inspect.Parameter.empty
        default = "(required)" if required else _default(parameter.default)
        cells = (f"`{_spelled(parameter.name, kind, info)}`", default, (info.help if info else None) or "")
        yield f"| {' | '.join(map(cell, cells))} |"


def cell(text: str) -> str:
    """Return text for a cell of a Markdown table: no bar ends it, and no <word> outside `code` is taken for HTML."""
    parts = text.replace("|", r"\|").split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


def _spelled(name: str, kind: Any, info: OptionInfo | ArgumentInfo | None) -> str:
    if isinstance(info, ArgumentInfo):
        return name.upper()
    declared = (info.default, *(info.param_decls or ())) if info else ()  # in Annotated the first is taken as a default
    names = [text for text in declared if isinstance(text, str) and text.startswith("-")]
    several = get_origin(kind) is list or any(get_origin(part) is list for part in get_args(kind))
    option = ", ".join(names) or f"--{name.replace('_', '-')}"
    choices = [member.value for member in kind] if inspect.isclass(kind) and issubclass(kind, enum.Enum) else []
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
    return f"{option} {{{','.join(choices)}}}" if choices else f"{option} ..." if several else option


def _default(value: Any) -> str:
    if value is None or value is False:
        return ""
    return "on" if value is True else f"`{value.value if isinstance(value, enum.Enum) else value}`"
