"""What a result was made with (commit, versions, platform), and hashes of the code that rules run."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.util
import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from anonbench.errors import AnonbenchError
from anonbench.files import write_bytes

COMMON = "anonbench.portable"
"""Imported by every command before it starts."""
PACKAGES = (
    "anonbench",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "pycocotools",
    "scipy",
    "simplejpeg",
    "torch",
    "torchvision",
)


def versions() -> dict[str, str | None]:
    """Return the versions of the packages that can change a number, None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


OUTCOMES = ("results", "dvc.lock")
"""What a run itself rewrites of what git tracks: no reason to say that it was made with changes."""


def commit() -> tuple[str | None, bool | None]:
    """Return the git commit of the working folder and whether tracked files differ from it (None, None outside git).

    `OUTCOMES` do not count: with them each run of the default study would be said to differ from its commit.
    """
    counted = [":/", *(f":(top,exclude){name}" for name in OUTCOMES)]
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", *counted],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return head, bool(changed.strip())


def provenance() -> dict[str, Any]:
    """Return commit, dirty flag, versions and platform. They vary from run to run: keep them out of hashed results."""
    head, dirty = commit()
    return {"commit": head, "dirty": dirty, "versions": versions(), "platform": platform.platform()}


def _source(module: str) -> Path | None:
    """Return a module's file, found from its top package's: asking Python for it would import the packages above it."""
    top, *parts = module.split(".")
    root = _root(top)
    if root is None or not parts:
        return root
    place = root.parent.joinpath(*parts)
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


@functools.cache
def _root(top: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(top)
    except (ModuleNotFoundError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@functools.cache
def _imports(module: str) -> frozenset[str]:
    """Return the modules of its own package and of anonbench that a module imports, anywhere in its text.

    Of anonbench, too, since a plugin of another package may build on it.
    """
    path = _source(module)
    if path is None:
        return frozenset()
    followed = (module.partition(".")[0], "anonbench")
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for one in _read(path)[1]:
        base = one.base
        if one.level:
            parents = package.split(".")[: len(package.split(".")) - one.level + 1]
            base = ".".join([*parents, base] if base else parents)
        found.update([base] if base else [])
        found.update(f"{base}.{name}" if base else name for name in one.names)
    return frozenset(name for name in found if name.partition(".")[0] in followed and _source(name) is not None)


class _Import(NamedTuple):
    """``from <level dots><base> import <names>``, or ``import <names>``, whose base is empty."""

    base: str
    level: int
    names: list[str]


@functools.cache
def _read(path: Path) -> tuple[bytes, list[_Import]]:
    """Return a module's syntax tree as text, without layout, comments and docstrings; and its imports.

    Snakemake and every job read the modules when they start, which takes them half a second. So what was read is kept
    in ``__pycache__``, under the hash of the module's text, where Python keeps compiled modules, too, or may.
    """
    text = path.read_bytes()
    kept = Path(importlib.util.cache_from_source(str(path))).with_suffix(".meaning")
    key = hashlib.sha256(_own() + text).digest()
    body = _kept(kept, key)
    if body is None:
        body = _described(text)
        if kept.parent.is_dir() or not sys.dont_write_bytecode:
            with contextlib.suppress(OSError, AnonbenchError):  # nothing but time is lost
                write_bytes(kept, key + hashlib.sha256(body).digest() + body)
    imports, _, meaning = body.partition(b"\n")
    return meaning, [_Import(*entry) for entry in json.loads(imports)]


@functools.cache
def _own() -> bytes:
    return Path(__file__).read_bytes()


def _kept(path: Path, key: bytes) -> bytes | None:
    """Return what is kept of the text with a key; None where nothing whole is."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    body = data[2 * len(key) :]
    return body if data[: 2 * len(key)] == key + hashlib.sha256(body).digest() else None


def _described(text: bytes) -> bytes:
    """Return the imports as a line of JSON, and the syntax tree as text.

    Every string that is a statement by itself is left out, since nothing can use it. This takes a third of the time of
    `ast.dump` and `ast.walk`.
    """
    words: list[str] = []
    imports: list[_Import] = []

    def describe(node: ast.AST) -> None:
        words.append(node.__class__.__name__)
        if isinstance(node, ast.Import):
            imports.append(_Import("", 0, [alias.name for alias in node.names]))
        elif isinstance(node, ast.ImportFrom):
            imports.append(_Import(node.module or "", node.level, [alias.name for alias in node.names]))
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                if name != "ctx":  # follows from where the node stands
                    describe(value)
            elif isinstance(value, list):
                words.append("[")
                for part in value:
                    if not isinstance(part, ast.AST):
                        words.append(repr(part))
                    elif not _is_text(part):
                        describe(part)
                words.append("]")
            else:
                words.append(repr(value))

    describe(ast.parse(text))
    return json.dumps(imports).encode() + b"\n" + "\0".join(words).encode()


def _meaning(path: Path) -> bytes:
    return _read(path)[0]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def code_hash(*modules: str) -> str:
    """Return 16 hexadecimal digits over the code of modules and of all that they import from their package and ours.

    Rules have it in their ``params``, so that an edit reruns those that use the edited module and no others; a change
    of a comment, docstring or layout reruns nothing. Plugins are reached through entry points, not imports: name the
    plugin's module beside the stage's. Raises ModuleNotFoundError for a module without a source file.
    """
    todo, seen = [*modules, COMMON], set()
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo.extend(_imports(module))
    digest = hashlib.sha256()
    for module in sorted(seen):
        path = _source(module)
        if path is None:
            raise ModuleNotFoundError(f"no source of module {module}")
        digest.update(module.encode() + b"\0" + _meaning(path) + b"\0")
    return digest.hexdigest()[:16]
