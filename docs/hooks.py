"""Takes into the site what lies outside docs/ and is linked from there: figures of the default study, two pages.

Links are written for the repository (``../results/figures/impact.png``), so that they work in both places.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PROJECT = Path(__file__).parents[1]
OUTSIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "results/report.html",
    "results/figures/impact.png",
    "results/tables/impact.md",
)
LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the files of `OUTSIDE` under their own paths."""
    for name in OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(PROJECT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between docs/ and the files of `OUTSIDE` into links inside the site."""
    here = page.file.src_uri
    folder = posixpath.dirname(here if here in OUTSIDE else f"docs/{here}")

    def inside(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        site = target.removeprefix("docs/")
        if target not in OUTSIDE and (here not in OUTSIDE or site == target):
            return match[0]
        return match[1] + posixpath.relpath(site, posixpath.dirname(here) or ".")

    return LINK.sub(inside, markdown)
