"""What is shown when a job fails: the end of its own log."""

from __future__ import annotations

import re
from pathlib import Path

LINES = 15
_LOG = re.compile(r"^\s+log: (.+?) \(check log", re.MULTILINE)


def tail(*snakemake_logs: str | Path, lines: int = LINES) -> str:
    """Return the last lines of the log of every job that Snakemake's own logs name as failed."""
    text = "\n".join(Path(path).read_text(errors="replace") for path in snakemake_logs if Path(path).is_file())
    shown = []
    for names in dict.fromkeys(_LOG.findall(text)):
        for name in names.split(", "):
            path = Path(name)
            if not path.is_file():
                continue
            content = path.read_text(errors="replace").replace("\r", "\n")
            kept = [line for line in content.splitlines() if line.strip()][-lines:]
            shown.append("\n".join([f"--- {name}", *kept]))
    return "\n".join(shown)
