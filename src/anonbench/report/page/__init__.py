"""The page's template with its style and script, which lie beside this module; the hash of the code covers them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

FOLDER = Path(__file__).parent


def render(**context: Any) -> str:
    """Return the page as one HTML file, with style and script in it; every text of ``context`` is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    style, script = ((FOLDER / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return environment.get_template("page.html").render(style=style, script=script, **context)
