"""A resumable, verified download of one file over HTTP, retried with back-off."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
import tenacity
import urllib3.exceptions
from tqdm import tqdm

from anonbench.errors import AnonbenchError
from anonbench.files import read_json, sha256_bytes, write_json

CHUNK = 1 << 20
RETRYABLE = (408, 425, 429, 500, 502, 503, 504)
"""HTTP statuses of temporary failures."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a broken transfer is retried: ``attempts`` in a row without progress, waits in seconds.

    The wait doubles from ``first`` to ``longest``, plus a random part of up to ``first``. A server's own Retry-After is
    respected, up to ``patience``.
    """

    attempts: int = 8
    first: float = 1.0
    longest: float = 60.0
    patience: float = 600.0


RETRY = Retry()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file: ``name`` for messages, ``url``, the published size in bytes and hexadecimal hashes (None if unknown).

    ``refused`` and ``missing`` are what to do when the server answers 401, 403 or a web page, and 404. ``where`` stands
    for the URL in messages, when it holds a secret.
    """

    name: str
    url: str
    bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None
    refused: str = "check that the address may be read without an account"
    missing: str = "check the address in config/datasets.csv, or use a mirror"
    where: str = ""

    @property
    def place(self) -> str:
        """Where it comes from, for messages: without a user's name, password or key."""
        return self.where or public(self.url)


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file is: size in bytes, hexadecimal md5 and sha256."""

    bytes: int
    md5: str
    sha256: str


class _Again(Exception):
    """A temporary failure; ``after`` is the server's Retry-After in seconds."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after


@dataclass(slots=True)
class _Part:
    """The part of a file that is here, and beside it what tells whether the server still has the same file."""

    path: Path
    validator: str | None = None
    total: int | None = None
    url: str = ""
    note: Path = field(init=False)

    def __post_init__(self) -> None:
        self.note = self.path.with_name(self.path.name + ".json")
        with contextlib.suppress(AnonbenchError, AttributeError):
            note = read_json(self.note)
            self.validator, self.total, self.url = note.get("validator"), note.get("total"), note.get("url", "")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def remember(self, url: str, response: requests.Response, total: int | None) -> None:
        tag = response.headers.get("ETag", "")
        strong = tag if tag.startswith('"') else None
        self.validator, self.total, self.url = strong or response.headers.get("Last-Modified"), total, _key(url)
        write_json(self.note, {"url": self.url, "validator": self.validator, "total": total})

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.validator = self.total = None


def transfer(
    wanted: Wanted,
    target: Path,
    session: requests.Session,
    retry: Retry = RETRY,
    timeout: tuple[float, float] = (20.0, 60.0),
) -> Digest:
    """Fetch ``wanted`` to ``target`` and return what it is; ``target`` appears whole and verified, or not at all.

    What arrives stands beside it as ``<target>.part`` until then. A broken transfer goes on where it broke off (RFC
    9110: Range with If-Range), here or in a later call; it starts over when the server ignores ranges or has another
    file. Raises AnonbenchError when the server refuses or stays away, sends a web page, or another size or hash.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target.with_name(target.name + ".part"))
    if part.size and part.url != _key(wanted.url) and not _hashed(wanted):
        part.remove()  # of another address; with a published hash the server's ETag and then the hash decide
    idle, best = 0, part.size

    def attempt() -> None:
        nonlocal idle, best
        try:
            _attempt(wanted, part, session, timeout)
        except _Again:
            idle = 1 if part.size > best else idle + 1
            best = max(best, part.size)
            raise

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        own = min(retry.longest, retry.first * 2 ** max(0, idle - 1))
        own += tenacity.wait_random(0, retry.first)(state)
        return max(own, (getattr(error, "after", None) or 0.0))

    def note(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        seconds = state.next_action.sleep if state.next_action else 0.0
        say(f"{wanted.name}: {error}; trying again in {seconds:.0f} s")

    try:
        tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=lambda state: idle >= retry.attempts or _impatient(state, retry),
            wait=wait,
            before_sleep=note,
            reraise=True,
        )(attempt)
    except _Again as error:
        raise AnonbenchError(
            f"cannot be fetched from {wanted.place}: {error}",
            file=wanted.name,
            remedy="run again to resume it" if part.size else "check the network and run again",
        ) from None
    except OSError as error:
        raise _disk(error, target) from error
    digest = digest_of(part.path, wanted.name)
    check(wanted, digest, part)
    os.replace(part.path, target)
    part.note.unlink(missing_ok=True)
    return digest


def check(wanted: Wanted, digest: Digest, part: _Part | None = None) -> None:
    """Raise AnonbenchError when ``digest`` is not what is published; remove the part that is wrong."""
    for what in ("bytes", "md5", "sha256"):
        published, found = getattr(wanted, what), getattr(digest, what)
        if published is None or published == found:
            continue
        if part is not None:
            part.remove()
        kind = "a size of {} bytes" if what == "bytes" else f"the {what} " + "{}"
        raise AnonbenchError(
            f"has {kind.format(found)}, expected {published}",
            file=wanted.name,
            entry=wanted.place,
            remedy="run again to fetch it anew; if the error persists, the file has changed at its source"
            if part is not None
            else "replace it with the published file",
        )


def digest_of(path: Path, name: str) -> Digest:
    """Return size and hashes of a file, with a progress bar under ``name``."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    size = path.stat().st_size
    with open(path, "rb") as stream, bar(f"verify {name}", size) as progress:
        while chunk := stream.read(CHUNK):
            md5.update(chunk)
            sha256.update(chunk)
            progress.update(len(chunk))
    return Digest(size, md5.hexdigest(), sha256.hexdigest())


def room(folder: Path, wanted: int, what: str) -> None:
    """Raise AnonbenchError when the disk under ``folder`` has less than ``wanted`` bytes free."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise AnonbenchError(
            f"{what} needs {wanted / 1e9:.2f} GB and {free / 1e9:.2f} GB are free",
            file=folder,
            remedy="free some space, or put the data on another disk (`output:` in the study)",
        )


def bar(label: str, total: int | None, unit: str = "B", done: int = 0) -> Any:
    """Return a progress bar with rate and time left; in a log file it writes a line now and then, not ten a second."""
    terminal = sys.stderr.isatty()
    return tqdm(
        desc=label, total=total, initial=done, unit=unit, unit_scale=True, unit_divisor=1000, leave=False,
        dynamic_ncols=terminal, mininterval=0.2 if terminal else 30.0, delay=0.5,
    )  # fmt: skip


def say(line: str) -> None:
    """Print a line about the work, beside the progress bars."""
    tqdm.write(line, file=sys.stderr)


def public(url: str) -> str:
    """Return a URL without a user's name and password in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _hashed(wanted: Wanted) -> bool:
    return wanted.md5 is not None or wanted.sha256 is not None


def _key(url: str) -> str:
    """Return what a part remembers its URL by: the URL may hold a secret."""
    return sha256_bytes(url.encode())[:16]


def _impatient(state: tenacity.RetryCallState, retry: Retry) -> bool:
    """Tell whether the server wants us to wait longer than a person would leave it alone."""
    error = state.outcome.exception() if state.outcome else None
    return (getattr(error, "after", None) or 0.0) > retry.patience


def _attempt(wanted: Wanted, part: _Part, session: requests.Session, timeout: tuple[float, float]) -> None:
    """Fetch what is missing of a part in one request; raise _Again when it broke off."""
    have = part.size
    if have and part.total == have:
        return
    if have and (part.total or wanted.bytes or have) < have:
        part.remove()
        have = 0
    headers = {"Accept-Encoding": "identity"}
    if have and (part.validator or _hashed(wanted)):
        headers["Range"] = f"bytes={have}-"
        if part.validator:
            headers["If-Range"] = part.validator
    with _answer(wanted.url, session, headers, timeout) as response:
        if response.status_code == 416:
            part.remove()
            raise _Again("the partial file does not match the server's file, starting over")
        _accepted(wanted, response)
        length = response.headers.get("Content-Length", "")
        rest = int(length) if length.isdigit() else None
        if response.status_code == 206:
            first, total = _range(response)
            if "Range" not in headers or first != have or (part.total not in (None, total)):
                part.remove()
                raise _Again("the server sent a range that was not asked for, starting over")
            say(f"{wanted.name}: going on at {have / 1e6:.1f} MB")
        else:
            total, have = rest, 0
        if wanted.bytes is not None and total is not None and total != wanted.bytes:
            part.remove()
            check(wanted, Digest(total, "", ""), part)
        if total is not None:
            room(part.path.parent, total - have, wanted.name)
        _write(wanted, part, response, have, total)
    if total is not None and part.size != total:
        raise _Again(f"the transfer ended after {part.size} of {total} bytes")
    if part.total is None:
        part.total = part.size


def _write(wanted: Wanted, part: _Part, response: requests.Response, have: int, total: int | None) -> None:
    """Append the answer's body to the part, or begin it anew."""
    chunks = _body(response)
    head = next(chunks, b"")
    if not have:
        if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
            raise _page(wanted)
        part.path.unlink(missing_ok=True)
        part.remember(wanted.url, response, total)
    with open(part.path, "ab") as stream, bar(wanted.name, total, done=have) as progress:
        stream.write(head)
        progress.update(len(head))
        for chunk in chunks:
            stream.write(chunk)
            progress.update(len(chunk))


@contextlib.contextmanager
def _answer(
    url: str, session: requests.Session, headers: dict[str, str], timeout: tuple[float, float]
) -> Iterator[requests.Response]:
    """Yield the answer to a GET; a network that fails becomes _Again. Reasons are ours: theirs may hold signed URLs."""
    try:
        response = session.get(url, headers=headers, stream=True, timeout=timeout)
    except requests.Timeout:
        raise _Again("the server does not answer") from None
    except requests.exceptions.SSLError:
        raise _Again("its certificate cannot be verified") from None
    except requests.exceptions.TooManyRedirects:
        raise _Again("it redirects in a loop") from None
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        raise _Again("the server cannot be reached") from None
    except requests.RequestException as error:
        raise _Again(f"the request failed ({type(error).__name__})") from None
    with contextlib.closing(response):
        yield response


def _body(response: requests.Response) -> Iterator[bytes]:
    """Yield the answer's body as it was sent; a connection that breaks becomes _Again."""
    try:
        yield from response.raw.stream(CHUNK, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        slow = isinstance(error, urllib3.exceptions.ReadTimeoutError)
        raise _Again("the server stopped sending" if slow else "the connection broke") from None


def _accepted(wanted: Wanted, response: requests.Response) -> None:
    """Raise what an answer that brings no file means."""
    status = response.status_code
    where = wanted.place
    if status in RETRYABLE:
        raise _Again(f"the server answers {status} {response.reason}", _after(response.headers.get("Retry-After")))
    if status in (401, 403):
        raise AnonbenchError(
            f"the server refuses it ({status} {response.reason})", file=wanted.name, entry=where, remedy=wanted.refused
        )
    if status in (404, 410):
        raise AnonbenchError(
            f"the server does not have it ({status} {response.reason})",
            file=wanted.name,
            entry=where,
            remedy=wanted.missing,
        )
    if status not in (200, 206):
        raise AnonbenchError(
            f"the server answers {status} {response.reason}", file=wanted.name, entry=where, remedy=wanted.missing
        )
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") and not wanted.name.endswith((".html", ".htm")):
        raise _page(wanted)


def _page(wanted: Wanted) -> AnonbenchError:
    return AnonbenchError(
        "the server sent a web page instead of the file (a login, licence or quota page)",
        file=wanted.name,
        entry=wanted.place,
        remedy=wanted.refused,
    )


def _range(response: requests.Response) -> tuple[int, int | None]:
    """Return first byte and total of ``Content-Range: bytes first-last/total``; -1 when it cannot be read."""
    try:
        span, _, total = response.headers["Content-Range"].removeprefix("bytes ").partition("/")
        return int(span.partition("-")[0]), int(total) if total != "*" else None
    except (KeyError, ValueError):
        return -1, None


def _after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which holds seconds or a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        then = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    return max(0.0, (then - datetime.datetime.now(datetime.UTC)).total_seconds())


def _disk(error: OSError, target: Path) -> AnonbenchError:
    return AnonbenchError(
        f"cannot be written ({error.strerror})", file=target, remedy="free some space or check the folder's rights"
    )
