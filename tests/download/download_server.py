"""A real HTTP server on loopback that misbehaves as told, and what tests of downloads need beside it."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import numpy as np

from anonbench.catalogue import COLUMNS, Row
from anonbench.download.transfer import Retry

QUICK = Retry(attempts=4, first=0.01, longest=0.02, patience=2.0)
PAGE = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>"


@dataclass
class Server:
    """Serves ``files`` by path; ``plan`` holds what to do wrong, one entry per GET of a path, until it is used up.

    Entries: ``("break", n)`` sends n bytes and hangs up; ``("status", code, headers)``; ``("page",)`` an HTML page, and
    ``("page", kind)`` with another content type; ``("send", data)`` other bytes; ``("slow", n, seconds)`` pieces.
    """

    files: dict[str, bytes]
    plan: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    ranges: bool = True
    tags: bool = True
    dates: bool = False
    account: tuple[str, str] | None = None
    log: list[tuple[str, str, str | None, int]] = field(default_factory=list)
    """Method, path, Range header and status of each request."""
    url: str = ""

    def ranges_asked(self, path: str) -> list[str | None]:
        return [asked for method, where, asked, _ in self.log if method == "GET" and where == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        state: Server = self.server.state
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        given = (form.get("username", [""])[0], form.get("password", [""])[0])
        if self.path == "/login" and given == state.account and form.get("submit") == ["Login"]:
            self._send(302, b"", {"Location": "/downloads/", "Set-Cookie": "session=open"})
        else:
            self._send(200, PAGE, {"Content-Type": "text/html"})

    def do_GET(self) -> None:
        state: Server = self.server.state
        path = unquote(self.path)
        if path == "/login":
            self._send(200, PAGE, {"Content-Type": "text/html"})
            return
        if state.account is not None and "session=open" not in self.headers.get("Cookie", ""):
            self._send(200, PAGE, {"Content-Type": "text/html; charset=UTF-8"})
            return
        step = state.plan[path].pop(0) if state.plan.get(path) else ("serve",)
        data = state.files.get(path)
        if step[0] == "status":
            self._send(step[1], b"no", step[2] if len(step) > 2 else {})
        elif step[0] == "page":
            self._send(200, PAGE, {"Content-Type": step[1] if len(step) > 1 else "text/html"})
        elif data is None:
            self._send(404, b"nothing here", {})
        else:
            self._file(step[1] if step[0] == "send" else data, step)

    def _file(self, data: bytes, step: tuple[Any, ...]) -> None:
        state: Server = self.server.state
        asked = self.headers.get("Range")
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        date = "Sat, 21 Nov 2026 00:00:00 GMT"
        headers = {"Content-Type": "application/octet-stream"}
        if state.tags:
            headers["ETag"] = tag
        if state.dates:
            headers["Last-Modified"] = date
        status, start = 200, 0
        if asked and state.ranges and self.headers.get("If-Range", tag) in (tag if state.tags else "", date, tag):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        self._head(status, {**headers, "Content-Length": str(len(body))})
        if step[0] == "break":
            self.wfile.write(body[: step[1]])
            self.close_connection = True
        elif step[0] == "slow":
            for at in range(0, len(body), step[1]):
                self.wfile.write(body[at : at + step[1]])
                self.wfile.flush()
                time.sleep(step[2])
        else:
            self.wfile.write(body)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._head(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.server.state.log.append((self.command, unquote(self.path), self.headers.get("Range"), status))
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed


@contextlib.contextmanager
def serving(files: dict[str, bytes], **how: Any) -> Iterator[Server]:
    """Run a server in a thread until the block ends."""
    state = Server(files, **how)
    server: Any = _Quiet(("127.0.0.1", 0), _Handler)
    server.state = state
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def noise(size: int, seed: int = 0) -> bytes:
    """Return bytes that no archive makes smaller."""
    return np.random.default_rng(seed).bytes(size)


def packed(content: dict[str, bytes]) -> bytes:
    """Return a zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return stream.getvalue()


def row(file: str, data: bytes | None = None, **other: Any) -> Row:
    """Return a row of the data set ``toy``; size and hashes are those of ``data``."""
    values: dict[str, Any] = {
        "dataset": "toy", "version": "1", "file": file, "splits": (), "url": "http://127.0.0.1:9/" + file,
        "bytes": None, "md5": None, "sha256": None, "unpack": ".", "requires": None, "licence": "none",
        "terms": "https://example.org/terms", "images": {}, "people": {},
    }  # fmt: skip
    if data is not None:
        values["bytes"], values["md5"] = len(data), hashlib.md5(data).hexdigest()
        values["sha256"] = hashlib.sha256(data).hexdigest()
    return Row(**values | other)


def write_catalogue(path: Path, rows: list[Row]) -> Path:
    """Write rows in the form of config/datasets.csv."""

    def cell(value: Any) -> str:
        if isinstance(value, dict):
            return " ".join(f"{key}={number}" for key, number in value.items())
        return " ".join(value) if isinstance(value, tuple) else "" if value is None else str(value)

    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([cell(getattr(one, column)) for column in COLUMNS] for one in rows)
    return path
