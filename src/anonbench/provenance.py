"""What a result was made with (commit, versions, platform), and hashes of the code that rules run."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

COMMON = "anonbench.portable"
"""Imported by every command before it starts."""
PACKAGES = (
    "anonbench",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "pycocotools",
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


def commit() -> tuple[str | None, bool | None]:
    """Return the git commit of the working folder and whether tracked files differ from it (None, None outside git)."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
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
    for node in _read(path)[1]:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        else:
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(name for name in found if name.partition(".")[0] in followed and _source(name) is not None)


@functools.cache
def _read(path: Path) -> tuple[bytes, list[ast.Import | ast.ImportFrom]]:
    """Return a module's syntax tree as text, without layout, comments and docstrings; and its imports.

    Every string that is a statement by itself is left out, since nothing can use it. Snakemake reads all modules
    whenever it starts; this takes a third of the time of `ast.dump` and `ast.walk`.
    """
    words: list[str] = []
    imports: list[ast.Import | ast.ImportFrom] = []

    def describe(node: ast.AST) -> None:
        words.append(node.__class__.__name__)
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
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

    describe(ast.parse(path.read_bytes()))
    return "\0".join(words).encode(), imports


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
