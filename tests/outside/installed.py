"""Installs a package of others the way an installer would, into a folder: its name, version and entry points."""

from __future__ import annotations

import tomllib
from pathlib import Path

PACKAGES = Path(__file__).parent


def install(name: str, folder: Path) -> tuple[Path, ...]:
    """Write the package's metadata into ``folder``; return what has to be on the path for it to be found."""
    project = tomllib.loads((PACKAGES / name / "pyproject.toml").read_text())["project"]
    place = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()), "")
    ]
    (place / "entry_points.txt").write_text("\n".join(lines))
    return folder, PACKAGES / name
