"""Work that was done, one line each, so that a run that was killed goes on where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from anonbench.files import explained


class Journal:
    """A file of lines, each with a sha256 of its own: a half-written or damaged one is not believed.

    ``entries`` are the last values by key. Values are JSON.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.entries, whole = _read(path)
        if not whole:  # whoever wrote it was killed
            with explained(self.path):
                os.write(self._file, b"\n")

    def add(self, key: str, value: Any) -> None:
        """Append an entry; raise AnonbenchError when the system refuses to write."""
        body = json.dumps([key, value], separators=(",", ":"), allow_nan=False).encode()
        line = memoryview(_digest(body) + b" " + body + b"\n")
        with self._lock:
            with explained(self.path):
                while line:
                    line = line[os.write(self._file, line) :]
            self.entries[key] = value

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def entries_of(path: Path) -> dict[str, Any]:
    """Return what a journal holds, none where there is no such file; nothing is written."""
    return _read(path)[0] if path.is_file() else {}


def _read(path: Path) -> tuple[dict[str, Any], bool]:
    """Return the entries of a file, and whether its last line is whole."""
    entries: dict[str, Any] = {}
    with open(path, "rb") as stream:
        line = b"\n"
        for line in stream:
            digest, _, body = line.rstrip(b"\n").partition(b" ")
            if _digest(body) == digest:
                with contextlib.suppress(ValueError):
                    key, value = json.loads(body)
                    entries[key] = value
    return entries, line.endswith(b"\n")


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:16].encode()
