"""The rows of config/datasets.csv put on disk: fetched or taken from a mirror, verified, unpacked, and remembered."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import quote

import requests

from anonbench.catalogue import Row, needed
from anonbench.download import accounts, archive
from anonbench.download.transfer import RETRY, Digest, Retry, Wanted, check, digest_of, public, room, say, transfer
from anonbench.errors import AnonbenchError
from anonbench.files import atomic, read_json, write_json

RECORD = ".anonbench-unpacked.json"
"""In a data set's folder: which files of the catalogue are here whole, with size, hashes and what they left."""
ARCHIVES = ".archives"
"""In a data set's folder: archives on their way, and those that are kept."""
WORK = ".unpacking"


class Fetcher:
    """A data set's `anonbench.datasets.base.Sources`.

    ``mirror`` is a folder or base URL that holds ``<dataset>/<file>`` and stands in for every URL; then no account is
    needed. Archives are removed once they are unpacked, unless ``keep_archives``; a mirror's are never touched.
    """

    def __init__(
        self,
        dataset: str,
        rows: list[Row],
        mirror: str | None = None,
        keep_archives: bool = False,
        credentials: accounts.Credentials | None = None,
        retry: Retry = RETRY,
    ) -> None:
        self.dataset, self.rows, self.mirror, self.keep = dataset, rows, mirror, keep_archives
        self.credentials = credentials or accounts.Credentials()
        self.retry = retry
        self.fetched: dict[str, str] = {}
        """sha256 of every file that `fetch` was asked for, by name."""
        self._session = accounts.session()
        self._accounts: set[str] = set()

    def fetch(self, target: Path, splits: list[str]) -> None:
        """Fetch, verify and unpack everything that ``splits`` need under ``target``; nothing that is there already.

        A kill at any moment leaves what a later call takes up. Raises AnonbenchError that names file and remedy.
        """
        if not self.rows:
            raise AnonbenchError(
                f"the catalogue has no rows for '{self.dataset}'",
                remedy="give --catalogue config/datasets.csv, or a copy that is on disk as root:",
            )
        rows = needed(self.rows, splits)
        done = {row.file: digest for row in rows if (digest := _done(target, row)) is not None}
        missing = [row for row in rows if row.file not in done]
        folder = self._folder()
        if folder is None and self.mirror is None:
            for row in missing:
                accounts.require(row, self.credentials)
        room(target, self._needs(target, missing), f"{self.dataset} (archives and what is unpacked from them)")
        for row in missing:
            done[row.file] = self._get(row, target) if folder is None else self._take(row, target, folder)
        self.fetched |= {row.file: done[row.file] for row in rows}

    def _folder(self) -> Path | None:
        """Return the mirror's folder, when it is one."""
        if self.mirror is None or self.mirror.startswith(("http://", "https://")):
            return None
        folder = Path(self.mirror).expanduser()
        if not folder.is_dir():
            raise AnonbenchError("the mirror is not a folder", file=folder, remedy="check `download.mirror`")
        return folder

    def _needs(self, target: Path, missing: list[Row]) -> int:
        """Return the bytes that are needed at most at a time, as far as sizes are published.

        Photographs unpack to about the size of their archive; `archive.unpack` checks again with the real figure.
        """
        sizes = [row.bytes or 0 for row in missing]
        if self._folder() is not None:
            return sum(sizes)
        here = 0
        for row in missing:
            place = _place(target, row)
            here += sum(path.stat().st_size for path in (place, _part(place)) if path.is_file())
        return max(0, sum(sizes) + (sum(sizes) if self.keep else max(sizes, default=0)) - here)

    def _get(self, row: Row, target: Path) -> str:
        """Fetch a row over HTTP; return its sha256."""
        place = _place(target, row)
        wanted = self._wanted(row)
        digest = self._arrived(row, wanted, place, target) or transfer(wanted, place, self._logged_in(row), self.retry)
        try:
            self._install(row, place, digest, target)
        except archive.Damaged:
            place.unlink()  # where no hash is published, nothing but unpacking tells
            raise
        if row.unpack is not None and not self.keep:
            place.unlink(missing_ok=True)
            _tidy(place.parent, target)
        say(f"{wanted.name}: here ({digest.bytes / 1e6:.1f} MB)")
        return digest.sha256

    def _arrived(self, row: Row, wanted: Wanted, place: Path, target: Path) -> Digest | None:
        """Return what a file is that arrived in an earlier call, and was cut short before it was remembered."""
        if not place.is_file():
            return None
        digest = digest_of(place, wanted.name)
        try:
            check(wanted, digest)
        except AnonbenchError:
            if row.unpack is None and row.file not in _record(target):
                raise  # not ours
            place.unlink()  # of another version of the catalogue
            return None
        return digest

    def _take(self, row: Row, target: Path, folder: Path) -> str:
        """Take a row from a mirror's folder, which is only read; return its sha256."""
        source = folder / row.dataset / row.file
        if not source.is_file():
            raise AnonbenchError(
                "the mirror does not have it", file=source, remedy=f"put {row.file} there (terms: {row.terms})"
            )
        digest = digest_of(source, f"{row.dataset}/{row.file}")
        check(self._wanted(row, source), digest)
        self._install(row, source, digest, target)
        return digest.sha256

    def _install(self, row: Row, source: Path, digest: Digest, target: Path) -> None:
        """Unpack an archive or put a plain file in its place, and remember it last."""
        if row.unpack is None:
            if source != target / row.file:
                with atomic(target / row.file) as part:
                    shutil.copyfile(source, part)
            left, files = [row.file], 1
        else:
            work = target / WORK / row.file
            archive.remove(work)  # of a call that was killed
            try:
                files = archive.unpack(source, work)
                names = archive.merge(work, target / row.unpack)
            finally:
                archive.remove(work)
                _tidy(work.parent, target)
            left = sorted((Path(row.unpack) / name).as_posix() for name in names)
        record = _record(target)
        record[row.file] = {
            "bytes": digest.bytes, "md5": digest.md5, "sha256": digest.sha256, "unpack": row.unpack,
            "files": files, "left": left,
        }  # fmt: skip
        write_json(target / RECORD, dict(sorted(record.items())))

    def _wanted(self, row: Row, source: Path | None = None) -> Wanted:
        """Return what a row is expected to be, and where it comes from: a mirror's file, a mirror, its own URL."""
        name = f"{row.dataset}/{row.file}"
        refused = accounts.how(row)
        if source is not None:
            url = where = str(source)
            missing = refused
        elif self.mirror is not None:
            url = f"{self.mirror.rstrip('/')}/{quote(name)}"
            where = public(url)
            refused = missing = f"put {row.file} there (terms: {row.terms}), or check `download.mirror`"
        else:
            url, where = accounts.address(row, self.credentials), row.url
            missing = refused if row.requires else f"check its url in config/datasets.csv; {refused}"
        return Wanted(name, url, row.bytes, row.md5, row.sha256, refused, missing, where)

    def _logged_in(self, row: Row) -> requests.Session:
        """Return the session, logged in to the row's account."""
        if self.mirror is None and row.requires is not None and row.requires not in self._accounts:
            accounts.login(row, self.credentials, self._session)
            self._accounts.add(row.requires)
        return self._session


def _place(target: Path, row: Row) -> Path:
    """Return where a row's file arrives: in the archives' folder, or where it stays."""
    return target / row.file if row.unpack is None else target / ARCHIVES / row.file


def _part(place: Path) -> Path:
    return place.with_name(place.name + ".part")


def _record(target: Path) -> dict[str, dict[str, object]]:
    path = target / RECORD
    record = read_json(path) if path.is_file() else {}
    if not isinstance(record, dict):
        raise AnonbenchError("is not a record of unpacked files", file=path, remedy="delete it and run again")
    return record


def _done(target: Path, row: Row) -> str | None:
    """Return the sha256 of a row that is here as the catalogue wants it, or None."""
    entry = _record(target).get(row.file)
    if not isinstance(entry, dict):
        return None
    same = all(getattr(row, key) in (None, entry.get(key)) for key in ("bytes", "md5", "sha256"))
    same = same and row.unpack == entry.get("unpack")
    left = entry.get("left")
    here = isinstance(left, list) and all((target / str(name)).exists() for name in left)
    if here and row.unpack is None:
        here = (target / row.file).stat().st_size == entry.get("bytes")
    return str(entry.get("sha256")) if same and here else None


def _tidy(folder: Path, target: Path) -> None:
    """Remove ``folder`` and its parents below ``target`` as far as they are empty."""
    while folder != target and folder.is_relative_to(target) and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
