"""What `anonbench config` writes: the schema, the default study and the pages of configuration and commands."""

from __future__ import annotations

import json
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from anonbench import commands_page, registry
from anonbench.config import Study, parse
from anonbench.errors import AnonbenchError
from anonbench.files import write_text
from anonbench.studies import DEFAULT

WIDTH = 110


def blocks(model: type[BaseModel] = Study, path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every block of the configuration: its dotted path ('datasets.<name>') and its model."""
    yield path, model
    for name, field in model.model_fields.items():
        inner, free = _block_of(field)
        if inner is not None:
            yield from blocks(inner, ".".join(p for p in (path, name, "<name>" if free else "") if p))


def _block_of(field: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """Return the block that a field holds, and whether it is a mapping of blocks by free names."""
    kind: Any = field.annotation
    if isinstance(kind, types.UnionType):
        kind = next((part for part in kind.__args__ if part is not types.NoneType), kind)
    free = getattr(kind, "__origin__", None) is dict
    if free:
        kind = kind.__args__[1]
    return (kind, free) if isinstance(kind, type) and issubclass(kind, BaseModel) else (None, False)


def _plugins() -> Iterator[tuple[str, type[BaseModel]]]:
    for name in registry.names("datasets"):
        yield f"datasets.<name>.options of `{name}`", registry.load("datasets", name).Options
    shown: set[type[BaseModel]] = set()
    for name in registry.names("methods"):
        method = registry.load("methods", name)
        yield f"methods.{name}.parameters", method.Parameters
        if method.FitSettings is not None and not shown & {*method.FitSettings.__mro__}:  # none has but other presets
            yield from blocks(method.FitSettings, f"methods.{name}.fit")
            shown.add(method.FitSettings)
    for name in sorted(registry.names("trainers"), key=lambda name: name != "torchvision"):
        for path, model in blocks(registry.load("trainers", name).Settings, "models.<name>.settings"):
            if model not in shown:  # trainers that build the same networks share blocks
                yield f"{path} of `{name}`", model
            shown.add(model)


def schema() -> str:
    """Return the JSON schema of a study's file."""
    return json.dumps(Study.model_json_schema(), indent=2) + "\n"


def default_yaml() -> str:
    """Return the default study as commented YAML; comments are the fields' descriptions."""
    parse(DEFAULT, file="anonbench.studies.DEFAULT")
    head = [
        "# yaml-language-server: $schema=../workflow/schemas/config.schema.json",
        "# The default study: embedded data, CPU. Written by `anonbench config --write`; every key is described in",
        "# docs/configuration.md. Copy this file to make a study of your own.",
    ]
    return "\n".join([*head, *_commented(DEFAULT, Study, 0)]) + "\n"


def _commented(value: dict[str, Any], model: type[BaseModel] | None, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for key, item in value.items():
        field = model.model_fields.get(key) if model else None
        inner, free = _block_of(field) if field else (None, False)
        if depth == 0:
            yield ""
        if field is not None and field.description and depth < 2:
            yield from (f"{pad}# {line}" for line in textwrap.wrap(field.description, WIDTH - len(pad) - 2))
        if isinstance(item, dict) and item and inner is not None:
            yield f"{pad}{key}:"
            if free:
                for name, block in item.items():
                    if block:
                        yield f"{pad}  {name}:"
                        yield from _commented(block, inner, depth + 2)
                    else:
                        yield f"{pad}  {name}: {{}}"
            else:
                yield from _commented(item, inner, depth + 1)
        else:
            yield from _entry(key, item, pad)


def _entry(key: str, item: Any, pad: str) -> Iterator[str]:
    text = yaml.safe_dump(item, default_flow_style=True, sort_keys=False, width=10_000).removesuffix("...\n").strip()
    if len(pad) + len(key) + 2 + len(text) <= WIDTH:
        yield f"{pad}{key}: {text}"
    else:
        yield f"{pad}{key}:"
        block = yaml.safe_dump(item, default_flow_style=False, sort_keys=False, width=WIDTH)
        yield from (f"{pad}  {line}" for line in block.splitlines())


def page() -> str:
    """Return the configuration page: a table per block, in Markdown."""
    lines = [
        "# Configuration",
        "",
        "<!-- Written by `anonbench config --write` from src/anonbench/config.py; edit it there. -->",
        "",
        "A study is one YAML file. Unknown keys are refused. `snakemake --configfile FILE` chooses the file,",
        "`--config key=value` overrides a top-level key.",
    ]
    for path, model in [*blocks(), *_plugins()]:
        doc = (model.__doc__ or "").strip().split("\n")[0]
        lines += [
            "",
            f"## `{path}`" if path and "`" not in path else f"## {commands_page.cell(path) or 'The study'}",
            "",
            doc,
            "",
        ]
        if not model.model_fields:
            lines.append("(nothing to set)")
            continue
        lines += ["| key | default | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            meaning = commands_page.cell(field.description or _summary(field))
            lines.append(f"| `{name}` | {_default(field)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _summary(field: FieldInfo) -> str:
    inner, free = _block_of(field)
    return f"see the block below{', one per name' if free else ''}" if inner else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    value = field.default if field.default is not PydanticUndefined else field.default_factory()  # type: ignore[call-arg, misc]
    if isinstance(value, BaseModel):
        return ""
    return f"`{json.dumps(value, default=_plain)}`"


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def generated() -> dict[str, str]:
    """Return the text of every generated file by its path in the project."""
    return {
        "workflow/schemas/config.schema.json": schema(),
        "config/default.yaml": default_yaml(),
        "docs/configuration.md": page(),
        "docs/commands.md": commands_page.page(),
    }


def config(
    write: Annotated[bool, typer.Option("--write", help="Write the files instead of comparing them.")] = False,
    base: Annotated[Path, typer.Option(help="The project's folder.")] = Path("."),
    migrate: Annotated[
        Path | None,
        typer.Option(help="A study or recipe in the old form: print it in the current form, do nothing else."),
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Rewrite the file of --migrate instead.")] = False,
) -> None:
    """Compare (or write) the schema, the default study and the pages of configuration and commands with the code."""
    if migrate is not None:
        _migrate(migrate, in_place)
        return
    stale = []
    for name, text in generated().items():
        path = base / name
        if path.is_file() and path.read_text() == text:
            continue
        if write:
            write_text(path, text)
            typer.echo(f"wrote {name}")
        else:
            stale.append(name)
    if stale:
        raise AnonbenchError(
            f"the code and {', '.join(stale)} disagree",
            remedy="run anonbench config --write",
        )


def _migrate(path: Path, in_place: bool) -> None:
    from anonbench.migration import migrated

    text, moved = migrated(path)
    for line in moved or ["nothing to move"]:
        typer.echo(f"{path}: {line}", err=True)
    if not in_place:
        typer.echo(text, nl=False)
    elif moved:
        write_text(path.resolve(), text)  # what a link leads to
