"""Files are whole or absent."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anonbench import files
from anonbench.errors import AnonbenchError, nearest


def test_an_error_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})

    def fail() -> None:
        with files.atomic(path) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert files.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_a_killed_write_left_is_removed_by_the_next_write_of_that_file(tmp_path: Path) -> None:
    left, others = (tmp_path / f".{name}.json.{files._HOST}-00000000.4999999.3.part" for name in "ab")
    left.write_text("half")
    others.write_text("somebody may be writing this one")
    files.write_json(tmp_path / "a.json", {"a": 1})
    files.write_json(tmp_path / "a.json", {"a": 2})
    assert {p.name for p in tmp_path.iterdir()} == {"a.json", others.name}


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(AnonbenchError, match=r"a\.bin: cannot be written .*free some space"),
        files.atomic(tmp_path / "a.bin"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EDQUOT, "free some space"),
        (errno.EFBIG, "free some space"),
        (errno.EIO, "see whether the disk is well"),
        (errno.ENOSYS, "run again"),
    ],
)
def test_what_the_system_refuses_is_one_sentence_that_names_the_file(
    tmp_path: Path, number: int, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.write", refuse)
    with pytest.raises(AnonbenchError, match=rf"a\.bin: cannot be written \({os.strerror(number)}\); {remedy}"):
        files.write_bytes(tmp_path / "a.bin", b"abc")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_nobody_is_told_to_delete_what_the_system_does_not_let_them_read(number: int) -> None:
    assert "delete" not in files.remedy(OSError(number, "no"), "delete it")
    assert files.remedy(OSError("Corrupt snappy compressed data."), "delete it") == "delete it"
    assert files.remedy(ValueError("no"), "delete it") == "delete it"


def test_an_error_about_another_file_is_not_explained_as_one_of_writing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), files.atomic(tmp_path / "a.bin"):
        (tmp_path / "other").read_bytes()


def test_what_another_process_is_writing_is_left_to_it(tmp_path: Path) -> None:
    """Process 1 is always there; the one that had our number is not."""
    here = f".a.json.{files._HOST}"
    at_work, ours = tmp_path / f"{here}-00000000.1.0.part", tmp_path / f"{here}-00000000.{os.getpid()}.0.part"
    at_work.write_text("half")
    ours.write_text("half")
    files.write_json(tmp_path / "a.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", at_work.name}


@pytest.mark.parametrize("name", [".a.json.01234567-00000000.4999999.0.part", ".a.json.4999999.0.part"])
def test_what_another_machine_is_writing_is_left_to_it_until_it_is_old(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes cannot be asked for; names without a machine are those of earlier versions."""
    now = time.time()
    for folder, hours in (("new", 1), ("old", 7)):
        (tmp_path / folder).mkdir()
        (part := tmp_path / folder / name).write_text("half")
        os.utime(part, (0, 0))  # as a link to an old file
        monkeypatch.setattr("time.time", lambda hours=hours: now + 3600 * hours)
        files.write_json(tmp_path / folder / "a.json", {})
        assert part.exists() == (folder == "new")


def test_two_machines_whose_processes_have_one_number_write_two_temporary_files(tmp_path: Path) -> None:
    """As two pods do: a fresh interpreter, the same number, the same count."""
    code = "import os; os.getpid = lambda: 7; from anonbench import files\nwith files.atomic('a') as part: print(part)"
    said = set()
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code + "; part.touch()"], cwd=tmp_path, capture_output=True)
        said.add(done.stdout)
        assert not done.stderr
    assert len(said) == 2
    assert files.is_temporary(said.pop().decode().strip())


def test_a_child_of_fork_has_names_of_its_own() -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        child = pool.apply(files._temporary, ("a", "part"))
        pool.close()  # a handler that another test has left would outlive the signal by which a pool ends its processes
        pool.join()
    assert child.split(".")[2] != files._temporary("a", "part").split(".")[2]


def test_what_a_killed_process_linked_is_removed(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"abc")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / f".t.{files._HOST}-00000000.4999999.3.link").write_bytes(b"abc")
    files.place(tmp_path / "s", tmp_path / "folder" / "t", "hardlink")
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["t"]


def test_who_removes_what_is_being_written_gets_told(tmp_path: Path) -> None:
    with (
        pytest.raises(AnonbenchError, match=r"a\.bin: cannot be written .*when nothing else writes to the folder"),
        files.atomic(tmp_path / "a.bin"),
    ):
        pass  # nothing is there to be renamed


@pytest.mark.parametrize("text", ['{"a": [1, 2', "", "\x00\x01"])
def test_cut_json_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cut.json"
    path.write_text(text)
    with pytest.raises(AnonbenchError, match=r"cut.json: is not valid JSON"):
        files.read_json(path)


@pytest.mark.parametrize("how", ["copy", "reflink", "hardlink"])
def test_place_gives_the_same_bytes_and_survives_repeats(tmp_path: Path, how: str) -> None:
    source, target = tmp_path / "s", tmp_path / "folder" / "t"
    source.write_bytes(b"abc")
    for _ in range(2):
        files.place(source, target, how)
    assert target.read_bytes() == b"abc"
    assert (target.stat().st_ino == source.stat().st_ino) == (how == "hardlink")
    assert [p.name for p in target.parent.iterdir()] == ["t"]


@pytest.mark.parametrize("how", ["copy", "reflink"])
def test_writing_to_what_was_placed_leaves_the_source_alone(tmp_path: Path, how: str) -> None:
    source, target = tmp_path / "s", tmp_path / "t"
    source.write_bytes(b"abc")
    files.place(source, target, how)
    with open(target, "ab") as stream:
        stream.write(b"more")
    assert (source.read_bytes(), target.read_bytes()) == (b"abc", b"abcmore")


def test_a_clone_is_made_where_the_file_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ioctl is given both files, and a file system that refuses it gets a copy."""
    source, target = tmp_path / "s", tmp_path / "t"
    source.write_bytes(b"abc")

    def clone(target: int, request: int, source: int) -> int:
        assert request == 0x40049409  # FICLONE of linux/fs.h
        assert os.fstat(source).st_size == 3
        return os.write(target, b"cloned")

    monkeypatch.setattr("fcntl.ioctl", clone)
    files.place(source, target, "reflink")
    assert target.read_bytes() == b"cloned"

    def refuse(*_: int) -> int:
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr("fcntl.ioctl", refuse)
    files.place(source, target, "reflink")
    assert target.read_bytes() == b"abc"

    def fail(*_: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fcntl.ioctl", fail)
    with pytest.raises(AnonbenchError, match="free some space"):
        files.place(source, target, "reflink")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s", "t"]


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(tmp_path / "n.json", {"a": float("nan")})


def test_nearest_names_the_closest_or_all() -> None:
    assert nearest("blurr", ["blur", "gan"]) == " (did you mean 'blur'?)"
    assert nearest("zzz", ["blur", "gan"]) == " (known: blur, gan)"


@pytest.mark.parametrize("how", ["write", "copy", "hardlink"])
@pytest.mark.parametrize("name", ["x" * 251 + ".jpg", "ü" * 125 + "x.jpg", "y" * 201])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str, how: str) -> None:
    source, folder = tmp_path / "source", tmp_path / "folder"
    source.write_bytes(b"whole")
    folder.mkdir()
    if how == "write":
        with files.atomic(folder / name) as part:
            stem = part.name.split(".")[1]
            part.write_bytes(b"whole")
    else:
        files.place(source, folder / name, how)
        stem = ""
    assert (folder / name).read_bytes() == b"whole"
    assert [path.name for path in folder.iterdir()] == [name]
    if stem:
        (other := folder.with_name("again")).mkdir()
        (left := other / f".{stem}.{files._HOST}-00000000.4999999.3.part").write_text("half")
        files.write_bytes(other / name, b"whole")
        assert not left.exists()


@pytest.mark.parametrize("text", ["[" * 100_000, '{"id": ' + "1" * 5000 + "}", "{", '"\xff"'])
def test_what_json_stumbles_over_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(AnonbenchError, match=r"bad\.json: is not valid JSON") as error:
        files.read_json(tmp_path / "bad.json")
    assert "\n" not in str(error.value)
