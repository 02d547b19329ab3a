"""Accounts that a data set asks for: credentials from the environment or a file, and the login that they open.

Cityscapes' login follows its own downloader (cityscapesScripts, cityscapesscripts/download/downloader.py): a form with
``username``, ``password`` and ``submit=Login`` is posted to ``/login``, and a redirect means that it was accepted.
BDD100K publishes no such protocol: its portal gives links in the browser, which the user hands on.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import yaml

from anonbench import __version__
from anonbench.catalogue import Row
from anonbench.errors import AnonbenchError

TOKENS = "ANONBENCH_TOKENS"
DEFAULT = "~/.config/anonbench/tokens.yaml"
REGISTER = {
    "cityscapes": "https://www.cityscapes-dataset.com/register/",
    "bdd100k": "https://bdd-data.berkeley.edu/",
}


class Credentials:
    """What the user gave for each account, read when it is asked for. It prints nothing of it."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._tokens: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return "Credentials(...)"

    @property
    def file(self) -> Path:
        """The token file, whether it is there or not."""
        return Path(self._environment.get(TOKENS) or DEFAULT).expanduser()

    def get(self, account: str, key: str) -> Any:
        """Return ANONBENCH_<ACCOUNT>_<KEY> from the environment, or the key of the account in the token file, or None.

        Raises AnonbenchError for a token file that others can read, or that is not a YAML mapping of mappings.
        """
        value = self._environment.get(f"ANONBENCH_{account}_{key}".upper())
        return value or self._read().get(account, {}).get(key)

    def _read(self) -> dict[str, Any]:
        if self._tokens is None:
            path = self.file
            if not path.is_file():
                if self._environment.get(TOKENS):
                    raise AnonbenchError(f"does not exist, although {TOKENS} names it as the token file", file=path)
                return {}
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise AnonbenchError("can be read by others", file=path, remedy=f"chmod 600 {path}")
            try:
                tokens = yaml.safe_load(path.read_text(encoding="utf-8"))
            except (yaml.YAMLError, UnicodeDecodeError):  # their messages quote the file
                raise AnonbenchError("is not valid YAML", file=path) from None
            if not isinstance(tokens, dict) or not all(isinstance(value, dict) for value in tokens.values()):
                raise AnonbenchError(
                    "is not a mapping of accounts", file=path, remedy="see docs/download.md for its form"
                )
            self._tokens = tokens
        return self._tokens


def session() -> requests.Session:
    """Return a session that says who we are."""
    made = requests.Session()
    made.headers["User-Agent"] = f"anonbench/{__version__}"
    return made


def how(row: Row) -> str:
    """Return what to do for a file behind an account: where to register, what to fetch, where to put it."""
    by_hand = (
        f"put {row.file} into <folder>/{row.dataset}/ and run with --mirror <folder> (`download.mirror` in the study),"
        " or give your copy as root:"
    )
    if row.requires is None:
        return f"fetch it in a browser (terms: {row.terms}), {by_hand}"
    give = {
        "cityscapes": "set ANONBENCH_CITYSCAPES_USERNAME and ANONBENCH_CITYSCAPES_PASSWORD",
        "bdd100k": "copy the portal's link of it under bdd100k: urls:",
    }[row.requires]
    where = f"in {TOKENS}'s file" if row.requires == "bdd100k" else f"or the account in {TOKENS}'s file"
    register = f"register at {REGISTER[row.requires]} (terms: {row.terms})"
    return f"{register} and {give} ({where}, default {DEFAULT}); or {by_hand}"


def require(row: Row, credentials: Credentials) -> None:
    """Raise AnonbenchError when a row needs an account and the user gave none; it says what to do."""
    if row.requires == "cityscapes":
        given = all(credentials.get("cityscapes", key) for key in ("username", "password"))
    elif row.requires == "bdd100k":
        given = _link(row, credentials) is not None
    else:
        return
    if not given:
        raise AnonbenchError("needs an account", file=f"{row.dataset}/{row.file}", remedy=how(row))


def address(row: Row, credentials: Credentials) -> str:
    """Return the URL that a row is fetched from."""
    return (_link(row, credentials) if row.requires == "bdd100k" else None) or row.url


def login(row: Row, credentials: Credentials, current: requests.Session) -> None:
    """Log ``current`` in to what a row requires. Raises AnonbenchError when the account is refused."""
    if row.requires != "cityscapes":
        return
    page = urljoin(row.url, "/login")
    parts = urlsplit(page)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise AnonbenchError(
            "a password is only sent over https",
            file=f"{row.dataset}/{row.file}",
            entry=page,
            remedy="give it an https address",
        )
    form = {key: str(credentials.get("cityscapes", key)) for key in ("username", "password")}
    try:
        current.get(page, allow_redirects=False, timeout=60).raise_for_status()
        answer = current.post(page, data={**form, "submit": "Login"}, allow_redirects=False, timeout=60)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise AnonbenchError(
            f"the login failed ({type(error).__name__})",
            file=f"{row.dataset}/{row.file}",
            entry=page,
            remedy="run again, or log in with a browser to see whether the site works",
        ) from None
    if answer.status_code != 302:
        raise AnonbenchError(
            "the site refuses the user name or password",
            file=f"{row.dataset}/{row.file}",
            entry=page,
            remedy=f"check them by logging in with a browser; {how(row)}",
        )


def _link(row: Row, credentials: Credentials) -> str | None:
    """Return the user's own link of a BDD100K file: by name, or under a base URL that serves all of them."""
    base = credentials.get("bdd100k", "url")
    links = credentials.get("bdd100k", "urls")
    link = links.get(row.file) if isinstance(links, dict) else None
    return str(link) if link else f"{str(base).rstrip('/')}/{row.file}" if base else None
