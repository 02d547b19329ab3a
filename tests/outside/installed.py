"""Installs a package of others the way an installer would, into a folder: its name, version and entry points."""

from __future__ import annotations

import tomllib
from pathlib import Path

PACKAGES = Path(__file__).parent


def install(name: str, folder: Path) -> tuple[Path, ...]:
    """Write the metadata of a package of this folder into ``folder``; return what has to be on the path to find it."""
    project = tomllib.loads((PACKAGES / name / "pyproject.toml").read_text())["project"]
    describe(folder, project["name"], project["entry-points"], project["version"])
    return folder, PACKAGES / name


def describe(folder: Path, name: str, groups: dict[str, dict[str, str]], version: str = "1.0") -> None:
    """Write a package's metadata: its entry points by group and name."""
    place = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()), "")
    ]
    (place / "entry_points.txt").write_text("\n".join(lines))
