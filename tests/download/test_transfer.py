"""Transfers against a real server that breaks off, lies and refuses; archives that want out; mirrors and accounts."""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import errno
import gzip
import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from download_server import QUICK, Server, noise, packed, row, serving, write_catalogue

from anonbench.catalogue import Row
from anonbench.download import archive, transfer
from anonbench.download.accounts import Credentials
from anonbench.download.sources import ARCHIVES, RECORD, Fetcher
from anonbench.errors import AnonbenchError
from tests.fixtures import coco2017

BLOB = noise(3_000_000)
CONTENT = {"toy/images/ä 1.jpg": noise(200_000, 1), "toy/labels.json": b"{}", "README": b"read me"}
ZIP = packed(CONTENT)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"/blob.bin": BLOB, "/toy.zip": ZIP, "/toy/toy.zip": ZIP}) as running:
        yield running


def wanted(server: Server, data: bytes | None = BLOB, **other: Any) -> transfer.Wanted:
    one = row("blob.bin", data)
    return transfer.Wanted("toy/blob.bin", f"{server.url}/blob.bin", one.bytes, one.md5, one.sha256, **other)


def get(want: transfer.Wanted, target: Path) -> transfer.Digest:
    return transfer.transfer(want, target, requests.Session(), QUICK, timeout=(2.0, 0.5))


def fetcher(rows: list[Row], **other: Any) -> Fetcher:
    return Fetcher("toy", rows, retry=QUICK, credentials=other.pop("credentials", Credentials({})), **other)


def toy(server: Server, data: bytes = ZIP, **other: Any) -> Row:
    return row("toy.zip", data, **{"url": f"{server.url}/toy.zip"} | other)


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files under a folder, without what the fetcher keeps for itself."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.relative_to(folder).parts[0].startswith(".")
    }


def raised(call: Callable[[], Any]) -> AnonbenchError:
    with pytest.raises(AnonbenchError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return caught.value


# --- transfers


def test_a_file_arrives_and_is_verified(server: Server, tmp_path: Path) -> None:
    digest = get(wanted(server), tmp_path / "deep" / "blob.bin")
    assert (tmp_path / "deep" / "blob.bin").read_bytes() == BLOB
    assert digest == transfer.Digest(len(BLOB), str(wanted(server).md5), str(wanted(server).sha256))
    assert os.listdir(tmp_path / "deep") == ["blob.bin"]


@pytest.mark.parametrize("how", [{"tags": True}, {"tags": False, "dates": True}, {"tags": False}])
def test_it_goes_on_where_it_broke_off(how: dict[str, bool], tmp_path: Path) -> None:
    with serving({"/blob.bin": BLOB}, plan={"/blob.bin": [("break", 1_200_000), ("break", 700_000)]}, **how) as server:
        get(wanted(server), tmp_path / "blob.bin")
    assert (tmp_path / "blob.bin").read_bytes() == BLOB
    assert server.ranges_asked("/blob.bin") == [None, "bytes=1200000-", "bytes=1900000-"]
    assert [status for *_, status in server.log] == [200, 206, 206]


def test_progress_resets_the_patience(tmp_path: Path) -> None:
    breaks: list[tuple[Any, ...]] = [("break", 300_000)] * 9  # more than QUICK.attempts
    with serving({"/blob.bin": BLOB}, plan={"/blob.bin": breaks}) as server:
        get(wanted(server), tmp_path / "blob.bin")
    assert (tmp_path / "blob.bin").read_bytes() == BLOB
    assert len(server.log) == 10


def test_without_ranges_it_starts_over(tmp_path: Path) -> None:
    with serving({"/blob.bin": BLOB}, plan={"/blob.bin": [("break", 1_000_000)]}, ranges=False) as server:
        get(wanted(server), tmp_path / "blob.bin")
    assert (tmp_path / "blob.bin").read_bytes() == BLOB
    assert [status for *_, status in server.log] == [200, 200]


def test_nothing_to_tell_versions_by_means_starting_over(tmp_path: Path) -> None:
    with serving({"/blob.bin": BLOB}, plan={"/blob.bin": [("break", 1_000_000)]}, tags=False) as server:
        get(wanted(server, None), tmp_path / "blob.bin")
    assert (tmp_path / "blob.bin").read_bytes() == BLOB
    assert server.ranges_asked("/blob.bin") == [None, None]


def test_a_file_that_changed_meanwhile_is_not_mixed(tmp_path: Path) -> None:
    old = noise(len(BLOB), 5)
    with serving({"/blob.bin": old}, plan={"/blob.bin": [("break", 1_000_000)] + [("status", 503)] * 9}) as server:
        raised(lambda: get(wanted(server, None), tmp_path / "blob.bin"))
        server.files["/blob.bin"] = BLOB
        server.plan.clear()
        get(wanted(server, None), tmp_path / "blob.bin")
    assert (tmp_path / "blob.bin").read_bytes() == BLOB
    assert server.log[-1][2:] == ("bytes=1000000-", 200)  # asked to go on, the server sends all of the new one


@pytest.mark.parametrize(("hashed", "asked"), [(True, "bytes=1000000-"), (False, None)])
def test_a_part_of_another_address(hashed: bool, asked: str | None, server: Server, tmp_path: Path) -> None:
    """A new link to a file whose hash is published goes on (the old link ran out); without a hash it starts over."""
    server.plan["/blob.bin"] = [("break", 1_000_000)] + [("status", 503)] * 9
    want = wanted(server, BLOB if hashed else None)
    raised(lambda: get(want, tmp_path / "blob.bin"))
    assert (tmp_path / "blob.bin.part").stat().st_size == 1_000_000
    server.files["/other.bin"] = BLOB
    get(dataclasses.replace(want, url=f"{server.url}/other.bin"), tmp_path / "blob.bin")
    assert server.ranges_asked("/other.bin") == [asked]
    assert (tmp_path / "blob.bin").read_bytes() == BLOB


def test_a_broken_network_is_one_sentence_and_a_rerun_continues(server: Server, tmp_path: Path) -> None:
    server.plan["/blob.bin"] = [("break", 1_000_000)] + [("break", 0)] * 20
    error = raised(lambda: get(wanted(server), tmp_path / "blob.bin"))
    assert "toy/blob.bin: cannot be fetched from http://127.0.0.1" in str(error)
    assert error.remedy == "run again to resume it"
    assert len(server.log) == 1 + QUICK.attempts - 1
    server.plan.clear()
    get(wanted(server), tmp_path / "blob.bin")
    assert (tmp_path / "blob.bin").read_bytes() == BLOB
    assert server.ranges_asked("/blob.bin")[-1] == "bytes=1000000-"


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with serving({}) as server:
        pass
    error = raised(lambda: get(wanted(server), tmp_path / "blob.bin"))
    assert "the server cannot be reached" in str(error)
    assert "check the network" in str(error)


def test_a_server_that_stalls(tmp_path: Path) -> None:
    with serving({"/blob.bin": BLOB}, plan={"/blob.bin": [("slow", 1_000_000, 0.8)]}) as server:
        get(wanted(server), tmp_path / "blob.bin")
        assert len(server.log) == 2
    assert (tmp_path / "blob.bin").read_bytes() == BLOB


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "the server does not have it (404 Not Found); check the address in config/datasets.csv"),
        (403, "the server refuses it (403 Forbidden); check that the address may be read without an account"),
        (401, "the server refuses it (401 Unauthorized)"),
        (400, "the server answers 400 Bad Request"),
    ],
)
def test_refusals_are_told_at_once(status: int, said: str, server: Server, tmp_path: Path) -> None:
    server.plan["/blob.bin"] = [("break", 1_000_000), ("status", status)]
    error = raised(lambda: get(wanted(server), tmp_path / "blob.bin"))
    assert said in str(error)
    assert len(server.log) == 2
    get(wanted(server), tmp_path / "blob.bin")  # what was there is still used
    assert server.log[-1][2:] == ("bytes=1000000-", 206)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the list of this thread's waits in seconds, none of which is waited for.

    The server of the test before may still be slow in a thread of its own.
    """
    waits: list[float] = []
    own, sleep = threading.get_ident(), time.sleep
    monkeypatch.setattr(time, "sleep", lambda s: waits.append(s) if threading.get_ident() == own else sleep(s))
    return waits


def test_429_waits_as_long_as_the_server_says(server: Server, tmp_path: Path, slept: list[float]) -> None:
    server.plan["/blob.bin"] = [("status", 429, {"Retry-After": "1"})]
    get(wanted(server), tmp_path / "blob.bin")
    assert slept == [1.0]


def test_503_with_a_date(server: Server, tmp_path: Path, slept: list[float]) -> None:
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    server.plan["/blob.bin"] = [("status", 503, {"Retry-After": email.utils.format_datetime(then, usegmt=True)})]
    patient = dataclasses.replace(QUICK, patience=3600.0)
    transfer.transfer(wanted(server), tmp_path / "blob.bin", requests.Session(), patient, timeout=(2.0, 0.5))
    (wait,) = slept
    assert 3000 < wait <= 3600  # the date is one of whole seconds, and a slow machine asks late


def test_a_wait_beyond_all_patience_is_told(server: Server, tmp_path: Path) -> None:
    server.plan["/blob.bin"] = [("status", 429, {"Retry-After": "3600"})]
    assert "429 Too Many Requests" in str(raised(lambda: get(wanted(server), tmp_path / "blob.bin")))
    assert len(server.log) == 1


@pytest.mark.parametrize("step", [("page",), ("page", "application/zip")])
def test_a_web_page_is_not_an_archive(step: tuple[Any, ...], server: Server, tmp_path: Path) -> None:
    server.plan["/blob.bin"] = [("break", 1_000_000), step]
    error = raised(lambda: get(wanted(server, None), tmp_path / "blob.bin"))
    assert "the server sent a web page instead of the file" in str(error)
    assert (tmp_path / "blob.bin.part").stat().st_size == 1_000_000  # what came before is kept
    get(wanted(server, None), tmp_path / "blob.bin")
    assert (tmp_path / "blob.bin").read_bytes() == BLOB


def test_a_truncated_file_is_told_before_it_is_fetched(server: Server, tmp_path: Path) -> None:
    server.files["/blob.bin"] = BLOB[:-5]
    error = raised(lambda: get(wanted(server), tmp_path / "blob.bin"))
    assert f"has a size of {len(BLOB) - 5} bytes, expected {len(BLOB)}; run again" in str(error)
    assert not list(tmp_path.iterdir())
    server.files["/blob.bin"] = BLOB
    get(wanted(server), tmp_path / "blob.bin")


def test_a_bad_hash_is_told_and_the_part_removed(server: Server, tmp_path: Path) -> None:
    server.files["/blob.bin"] = BLOB[:1000] + b"x" + BLOB[1001:]
    error = raised(lambda: get(wanted(server), tmp_path / "blob.bin"))
    assert f"expected {wanted(server).md5}; run again to fetch it anew" in str(error)
    assert not list(tmp_path.iterdir())
    server.files["/blob.bin"] = BLOB
    get(wanted(server), tmp_path / "blob.bin")


def test_a_corrupt_part_of_an_earlier_try_is_found_by_its_hash(server: Server, tmp_path: Path) -> None:
    server.plan["/blob.bin"] = [("break", 1_000_000)] + [("status", 503)] * 9
    raised(lambda: get(wanted(server), tmp_path / "blob.bin"))
    part = tmp_path / "blob.bin.part"
    part.write_bytes(bytes(1_000_000))
    server.plan.clear()
    assert "the md5" in str(raised(lambda: get(wanted(server), tmp_path / "blob.bin")))
    get(wanted(server), tmp_path / "blob.bin")
    assert (tmp_path / "blob.bin").read_bytes() == BLOB


def test_a_part_that_is_too_long_starts_over(server: Server, tmp_path: Path) -> None:
    server.plan["/blob.bin"] = [("break", 1_000_000)] + [("status", 503)] * 9
    raised(lambda: get(wanted(server), tmp_path / "blob.bin"))
    with open(tmp_path / "blob.bin.part", "ab") as stream:
        stream.write(bytes(len(BLOB)))
    server.plan.clear()
    get(wanted(server), tmp_path / "blob.bin")
    assert (tmp_path / "blob.bin").read_bytes() == BLOB


def test_a_full_disk_is_told_first(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    error = raised(lambda: get(wanted(server), tmp_path / "blob.bin"))
    assert "toy/blob.bin needs 0.00 GB and 0.00 GB are free; free some space" in str(error)
    assert not (tmp_path / "blob.bin.part").exists()


def test_a_disk_that_fills_up(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_write", full)
    assert "cannot be written (No space left on device)" in str(raised(lambda: get(wanted(server), tmp_path / "b")))


def test_a_password_in_an_address_is_never_shown(server: Server, tmp_path: Path) -> None:
    url = server.url.replace("http://", "http://me:secret@") + "/blob.bin"
    server.plan["/blob.bin"] = [("break", 1_000_000), ("status", 404)]
    error = raised(lambda: get(dataclasses.replace(wanted(server), url=url), tmp_path / "blob.bin"))
    assert "secret" not in str(error)
    assert "secret" not in (tmp_path / "blob.bin.part.json").read_text()


# --- archives


def test_zip_and_tar_unpack_alike(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(ZIP)
    for kind in ("gz", "xz", "bz2", ""):
        with tarfile.open(tmp_path / f"a.tar.{kind}", f"w:{kind}") as tar:  # type: ignore[call-overload]
            for name, data in CONTENT.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    for number, path in enumerate(sorted(tmp_path.glob("a.*"))):
        out = tmp_path / str(number)
        assert archive.unpack(path, out) == 3
        assert tree(out) == CONTENT


def _zip_with(name: str, mode: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packing:
        packing.writestr("good.txt", b"good")
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        packing.writestr(info, b"/etc/passwd")
    return stream.getvalue()


def _tar_with(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("good.txt"), io.BytesIO())
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        tar.addfile(info, io.BytesIO())
    return stream.getvalue()


def _zip_of(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packing:
        for name in names:
            packing.writestr(name, b"" if name.endswith("/") else b"content")
    return stream.getvalue()


def _tar_of(*names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_zip_of("a", "a/b"), "'a/b': needs a folder in the place of the file 'a'"),
        (_zip_of("a/b", "a"), "'a/b': needs a folder in the place of the file 'a'"),
        (_zip_of("a/b/c", "x", "a"), "'a/b/c': needs a folder in the place of the file 'a'"),
        (_zip_of("a", "a/"), "'a/': needs a folder in the place of the file 'a'"),
        (_zip_of("./a", "a/b"), "'a/b': needs a folder in the place of the file './a'"),
        (_zip_of("."), "'.': is a file without a name"),
        (_zip_of("a/" + "x" * 256), "has a name of more than 255 bytes"),
        (_tar_of("a", "a/b"), "'a/b': needs a folder in the place of the file 'a'"),
        (_tar_of("a/b", "a"), "'a/b': needs a folder in the place of the file 'a'"),
        (_tar_of("x" * 256), "has a name of more than 255 bytes"),
        (_zip_of("\u00e9").replace("\u00e9".encode(), b"\xff\xff"), "is damaged or of an unknown kind"),
        (_zip_with("../evil.txt"), "would be written outside"),
        (_zip_with("a/../../evil.txt"), "would be written outside"),
        (_zip_with("/evil.txt"), "would be written outside"),
        (_zip_with("..\\evil.txt"), "would be written outside"),
        (_zip_with("C:\\evil.txt"), "would be written outside"),
        (_zip_with("link", stat.S_IFLNK | 0o777), "is a link or a device"),
        (_zip_with("pipe", stat.S_IFIFO | 0o777), "is a link or a device"),
        (_tar_with("../evil.txt"), "would be written outside"),
        (_tar_with("/evil.txt"), "would be written outside"),
        (_tar_with("link", tarfile.SYMTYPE, "../../evil.txt"), "is a link or a device"),
        (_tar_with("link", tarfile.LNKTYPE, "good.txt"), "is a link or a device"),
        (_tar_with("null", tarfile.CHRTYPE), "is a link or a device"),
        (b"not an archive at all", "is truncated, or is not a zip or tar archive"),
        (ZIP[: len(ZIP) // 2], "is truncated, or is not a zip or tar archive"),
        (ZIP[:3000] + b"x" * 50 + ZIP[3050:], "is damaged"),
        (gzip.compress(_tar_with("a"))[:-20], "is damaged"),
    ],
)
def test_archives_that_are_refused(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "in" / "bad.zip"
    path.parent.mkdir()
    path.write_bytes(data)
    error = raised(lambda: archive.unpack(path, tmp_path / "in" / "out"))
    assert isinstance(error, archive.Damaged)
    assert said in str(error)
    assert "bad.zip" in str(error)
    assert os.listdir(tmp_path) == ["in"]
    if "damaged" not in said:
        assert os.listdir(tmp_path / "in") == ["bad.zip"]  # checked before anything was written


def test_an_encrypted_archive_is_named(tmp_path: Path) -> None:
    data = bytearray(packed({"a.txt": b"a"}))
    for at in (data.find(b"PK\x03\x04") + 6, data.find(b"PK\x01\x02") + 8):
        data[at] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    assert "a.txt: is encrypted" in str(raised(lambda: archive.unpack(tmp_path / "a.zip", tmp_path / "out")))


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packing:
        packing.writestr("zeros", bytes(3_000_000))
    monkeypatch.setattr(archive, "FREE", 1_000_000)
    assert "would unpack from" in str(raised(lambda: archive.unpack(tmp_path / "a.zip", tmp_path / "out")))
    # One that lies: its directory declares fewer bytes than there are.
    data = (tmp_path / "a.zip").read_bytes()
    lying = data.replace((3_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (tmp_path / "b.zip").write_bytes(lying)
    raised(lambda: archive.unpack(tmp_path / "b.zip", tmp_path / "out"))
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*")) <= 10


def test_unpacking_checks_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(ZIP)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    error = raised(lambda: archive.unpack(tmp_path / "a.zip", tmp_path / "out"))
    assert not isinstance(error, archive.Damaged)
    assert "unpacking a.zip needs" in str(error)


# --- a data set's files


def test_fetched_unpacked_and_remembered(server: Server, tmp_path: Path) -> None:
    one = fetcher([toy(server)])
    one.fetch(tmp_path, ["train"])
    assert tree(tmp_path) == CONTENT
    assert not (tmp_path / ARCHIVES).exists()
    assert one.fetched == {"toy.zip": toy(server).sha256}
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    again = fetcher([toy(server)])
    again.fetch(tmp_path, ["train"])
    assert len(server.log) == 1
    assert again.fetched == one.fetched
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_archives_are_kept_when_asked(server: Server, tmp_path: Path) -> None:
    fetcher([toy(server)], keep_archives=True).fetch(tmp_path, ["train"])
    assert (tmp_path / ARCHIVES / "toy.zip").read_bytes() == ZIP
    shutil.rmtree(tmp_path / "toy")
    fetcher([toy(server)], keep_archives=True).fetch(tmp_path, ["train"])
    assert tree(tmp_path) == CONTENT
    assert len(server.log) == 1


def test_what_was_deleted_is_fetched_again(server: Server, tmp_path: Path) -> None:
    fetcher([toy(server)]).fetch(tmp_path, ["train"])
    shutil.rmtree(tmp_path / "toy")
    fetcher([toy(server)]).fetch(tmp_path, ["train"])
    assert tree(tmp_path) == CONTENT
    assert len(server.log) == 2


def test_a_new_version_replaces_the_old(server: Server, tmp_path: Path) -> None:
    fetcher([toy(server)], keep_archives=True).fetch(tmp_path, ["train"])
    newer = packed({**CONTENT, "README": b"version 2"})
    server.files["/toy.zip"] = newer
    fetcher([toy(server, newer)], keep_archives=True).fetch(tmp_path, ["train"])
    assert (tmp_path / "README").read_bytes() == b"version 2"


def test_two_archives_share_folders(server: Server, tmp_path: Path) -> None:
    second = packed({"README": b"other", "toy/images/b.jpg": b"b", "more/c.txt": b"c"})
    server.files["/second.zip"] = second
    rows = [toy(server), row("second.zip", second, url=f"{server.url}/second.zip")]
    fetcher(rows).fetch(tmp_path, ["train"])
    assert tree(tmp_path) == {**CONTENT, "README": b"other", "toy/images/b.jpg": b"b", "more/c.txt": b"c"}


def test_only_what_the_splits_need(server: Server, tmp_path: Path) -> None:
    rows = [
        toy(server, splits=("train",), images={"train": 1, "val": 1}),
        row("labels/val.json", b"{}", url=f"{server.url}/val.json", splits=("val",), unpack=None),
    ]
    server.files["/val.json"] = b"{}"
    fetcher(rows).fetch(tmp_path, ["val"])
    assert tree(tmp_path) == {"labels/val.json": b"{}"}
    with pytest.raises(AnonbenchError, match=r"toy has no split 'vla' \(did you mean 'val'"):
        fetcher(rows).fetch(tmp_path, ["vla"])
    fetcher(rows).fetch(tmp_path, ["val", "train"])
    assert [path for _, path, _, _ in server.log] == ["/val.json", "/toy.zip"]
    (tmp_path / "labels" / "val.json").write_bytes(b"{")  # cut short
    fetcher(rows).fetch(tmp_path, ["val"])
    assert (tmp_path / "labels" / "val.json").read_bytes() == b"{}"


def test_a_kill_while_unpacking_starts_that_archive_over(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = archive._write

    def killed(path: Path, entry: Any, out: Path) -> None:
        if entry.name == "README":
            raise KeyboardInterrupt
        write(path, entry, out)

    with monkeypatch.context() as patched:
        patched.setattr(archive, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            fetcher([toy(server)]).fetch(tmp_path, ["train"])
    assert not (tmp_path / RECORD).exists()
    assert tree(tmp_path) == {}  # nothing half-unpacked where a reader looks
    fetcher([toy(server)]).fetch(tmp_path, ["train"])
    assert tree(tmp_path) == CONTENT
    assert len(server.log) == 1  # the archive itself was whole
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == [RECORD]


def test_a_damaged_archive_without_a_published_hash_is_fetched_again(server: Server, tmp_path: Path) -> None:
    server.files["/toy.zip"] = ZIP[: len(ZIP) // 2]
    unknown = row("toy.zip", url=f"{server.url}/toy.zip")
    assert "truncated" in str(raised(lambda: fetcher([unknown]).fetch(tmp_path, ["train"])))
    server.files["/toy.zip"] = ZIP
    fetcher([unknown]).fetch(tmp_path, ["train"])
    assert tree(tmp_path) == CONTENT


def test_the_disk_is_checked_before_anything_is_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 2 * len(ZIP) - 1  # enough for the archive, not for what it holds too
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - free, free))
    assert "toy (archives and what is unpacked" in str(raised(lambda: fetcher([toy(server)]).fetch(tmp_path, ["a"])))
    assert server.log == []


def test_no_rows_is_told(tmp_path: Path) -> None:
    assert "no rows for 'toy'; give --catalogue" in str(raised(lambda: fetcher([]).fetch(tmp_path, ["train"])))


# --- mirrors


def test_a_mirror_folder_is_only_read(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "toy" / "labels").mkdir(parents=True)
    (mirror / "toy" / "toy.zip").write_bytes(ZIP)
    (mirror / "toy" / "labels" / "a.json").write_bytes(b"[]")
    rows = [row("toy.zip", ZIP, requires="cityscapes"), row("labels/a.json", b"[]", unpack=None)]
    before = {p: p.stat().st_mtime_ns for p in mirror.rglob("*")}
    fetcher(rows, mirror=str(mirror)).fetch(tmp_path / "data", ["train"])
    assert tree(tmp_path / "data") == {**CONTENT, "labels/a.json": b"[]"}
    assert {p: p.stat().st_mtime_ns for p in mirror.rglob("*")} == before
    assert not (tmp_path / "data" / ARCHIVES).exists()


def test_a_mirror_that_lacks_or_spoils_a_file(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    assert "is not a folder" in str(raised(lambda: fetcher([row("a.zip")], mirror=str(mirror)).fetch(tmp_path, ["a"])))
    (mirror / "toy").mkdir(parents=True)
    error = raised(lambda: fetcher([row("toy.zip", ZIP)], mirror=str(mirror)).fetch(tmp_path, ["train"]))
    assert "mirror/toy/toy.zip: the mirror does not have it; put toy.zip there" in str(error)
    (mirror / "toy" / "toy.zip").write_bytes(ZIP[:-1])
    error = raised(lambda: fetcher([row("toy.zip", ZIP)], mirror=str(mirror)).fetch(tmp_path, ["train"]))
    assert f"has a size of {len(ZIP) - 1} bytes, expected {len(ZIP)}; replace it" in str(error)
    assert (mirror / "toy" / "toy.zip").exists()


def test_a_mirror_address(server: Server, tmp_path: Path) -> None:
    rows = [row("toy.zip", ZIP, requires="cityscapes")]  # and no account is asked for
    fetcher(rows, mirror=server.url + "/").fetch(tmp_path, ["train"])
    assert tree(tmp_path) == CONTENT
    assert server.ranges_asked("/toy/toy.zip") == [None]
    error = raised(lambda: fetcher([row("b.zip")], mirror=server.url).fetch(tmp_path, ["train"]))
    assert "the server does not have it (404 Not Found); put b.zip there (terms: https://example.org/terms)" in str(
        error
    )


# --- accounts

ME = {"ANONBENCH_CITYSCAPES_USERNAME": "me@example.org", "ANONBENCH_CITYSCAPES_PASSWORD": "open sesame"}


def behind_login(server: Server) -> Row:
    server.account = ("me@example.org", "open sesame")
    server.files["/file-handling/?packageID=3"] = ZIP
    return toy(server, url=f"{server.url}/file-handling/?packageID=3", requires="cityscapes")


def test_cityscapes_logs_in(server: Server, tmp_path: Path) -> None:
    rows = [behind_login(server)]
    server.plan["/file-handling/?packageID=3"] = [("break", 50_000)]
    fetcher(rows, credentials=Credentials(ME)).fetch(tmp_path, ["train"])
    assert tree(tmp_path) == CONTENT
    assert [(method, path) for method, path, _, _ in server.log] == [
        ("GET", "/login"), ("POST", "/login"), *[("GET", "/file-handling/?packageID=3")] * 2,
    ]  # fmt: skip


def test_a_refused_password_is_told_and_not_shown(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [behind_login(server)]
    wrong = Credentials({**ME, "ANONBENCH_CITYSCAPES_PASSWORD": "hunter2"})
    error = raised(lambda: fetcher(rows, credentials=wrong).fetch(tmp_path, ["train"]))
    assert "the site refuses the user name or password" in str(error)
    assert "hunter2" not in str(error) + repr(wrong) + "".join(capfd.readouterr())


def test_a_session_that_is_closed_is_a_login_page(server: Server, tmp_path: Path) -> None:
    rows = [behind_login(server)]
    server.plan["/file-handling/?packageID=3"] = [("break", 50_000), ("page",)]
    error = raised(lambda: fetcher(rows, credentials=Credentials(ME)).fetch(tmp_path, ["train"]))
    assert "a web page instead of the file" in str(error)
    assert "https://www.cityscapes-dataset.com/register/" in str(error)
    fetcher(rows, credentials=Credentials(ME)).fetch(tmp_path, ["train"])
    assert server.log[-1][2:] == ("bytes=50000-", 206)
    assert tree(tmp_path) == CONTENT


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ("cityscapes", ("https://www.cityscapes-dataset.com/register/", "ANONBENCH_CITYSCAPES_USERNAME")),
        ("bdd100k", ("https://bdd-data.berkeley.edu/", "copy the portal's link of it under bdd100k: urls:")),
    ],
)
def test_without_an_account_the_way_is_told(account: str, said: tuple[str, str], tmp_path: Path) -> None:
    rows = [row("first.zip"), row("a.zip", requires=account)]
    error = raised(lambda: fetcher(rows).fetch(tmp_path, ["train"]))
    assert str(error).startswith("toy/a.zip: needs an account; register at ")
    for part in (*said, "put a.zip into <folder>/toy/", "root:", "https://example.org/terms"):
        assert part in str(error)


def test_a_password_goes_over_https_only(tmp_path: Path) -> None:
    rows = [row("a.zip", url="http://example.org/a.zip", requires="cityscapes")]
    error = raised(lambda: fetcher(rows, credentials=Credentials(ME)).fetch(tmp_path, ["train"]))
    assert "a password is only sent over https" in str(error)


def test_bdd100k_takes_the_users_links(server: Server, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(f"bdd100k:\n  urls:\n    toy.zip: {server.url}/toy.zip?key=s3cret\n")
    tokens.chmod(0o600)
    server.files["/toy.zip?key=s3cret"] = ZIP
    server.plan["/toy.zip?key=s3cret"] = [("status", 403)]
    rows = [toy(server, url="https://bdd-data.berkeley.edu/", requires="bdd100k")]
    credentials = Credentials({"ANONBENCH_TOKENS": str(tokens)})
    error = raised(lambda: fetcher(rows, credentials=credentials).fetch(tmp_path / "a", ["train"]))
    assert "the server refuses it (403 Forbidden); register at https://bdd-data" in str(error)
    assert "s3cret" not in str(error)
    fetcher(rows, credentials=credentials).fetch(tmp_path / "a", ["train"])
    assert tree(tmp_path / "a") == CONTENT
    base = Credentials({"ANONBENCH_BDD100K_URL": server.url + "/toy/"})
    fetcher(rows, credentials=base).fetch(tmp_path / "b", ["train"])
    assert tree(tmp_path / "b") == CONTENT


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("cityscapes: {username: me, password: secret}", 0o640, "can be read by others; chmod 600"),
        ("cityscapes: {username: me, password: secret}", 0o604, "can be read by others"),
        ("cityscapes: {password: [secret", 0o600, "is not valid YAML"),
        ("- secret", 0o600, "is not a mapping of accounts"),
        (None, 0o600, "does not exist, although ANONBENCH_TOKENS names it as the token file"),
    ],
)
def test_token_files_that_are_refused(text: str | None, mode: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    error = raised(lambda: Credentials({"ANONBENCH_TOKENS": str(path)}).get("cityscapes", "username"))
    assert said in str(error)
    assert "secret" not in str(error)


def test_the_environment_goes_before_the_token_file(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    path.write_text("cityscapes: {username: me, password: one}")
    path.chmod(0o600)
    both = Credentials({"ANONBENCH_TOKENS": str(path), "ANONBENCH_CITYSCAPES_PASSWORD": "two"})
    assert (both.get("cityscapes", "username"), both.get("cityscapes", "password")) == ("me", "two")


# --- the command


def test_kill_9_in_the_middle_and_a_rerun_that_continues(tmp_path: Path) -> None:
    """The real command in a real process; what arrived before the kill is not asked for again."""
    coco2017.write(tmp_path / "coco")
    data = packed({**tree(tmp_path / "coco"), "padding": noise(4_000_000)})
    with serving({"/toy.zip": data}, plan={"/toy.zip": [("slow", 100_000, 0.05)]}) as server:
        rows = [toy(server, data, dataset="coco2017", images={"val2017": 3, "train2017": 4})]
        table = write_catalogue(tmp_path / "datasets.csv", rows)
        command = [
            sys.executable, "-m", "anonbench", "download", "--dataset", "coco2017", "--splits", "train2017,val2017",
            "--catalogue", str(table), "--out", str(tmp_path / "data"),
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        part = tmp_path / "data" / ARCHIVES / "toy.zip.part"
        limit = time.monotonic() + 120
        while not (part.is_file() and part.stat().st_size > 1_500_000):
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        had = part.stat().st_size
        assert had < len(data)
        assert not (tmp_path / "data" / "download.json").exists()
        again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert server.ranges_asked("/toy.zip") == [None, f"bytes={had}-"]
    assert server.log[-1][3] == 206
    assert f"going on at {had / 1e6:.1f} MB" in again.stderr
    told = again.stdout.splitlines()
    assert told[0].endswith("; DIFFERENT: the catalogue expects 4 images")
    assert told[1].startswith("coco2017 val2017: 3 images")
    assert "DIFFERENT" not in told[1]
    assert tree(tmp_path / "data").items() >= tree(tmp_path / "coco").items()


def test_an_error_of_the_command_is_one_sentence(server: Server, tmp_path: Path) -> None:
    table = write_catalogue(tmp_path / "datasets.csv", [row("a.zip", dataset="coco2017")])
    command = [
        sys.executable, "-m", "anonbench", "download", "--dataset", "coco2017", "--splits", "val2017",
        "--catalogue", str(table), "--mirror", server.url, "--out", str(tmp_path / "data"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"error: coco2017/a.zip, {server.url}/coco2017/a.zip: the server does not have it (404 Not Found); put a.zip "
        "there (terms: https://example.org/terms), or check `download.mirror`"
    ]
