"""Commands that are made to fail: killed, torn, refused by the system, at a chosen call or at a moment of time."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests import warm

SHIM = Path(__file__).with_name("shim.c")
SOURCES = Path(__file__).parents[2] / "src"
PATIENCE = 300
"""Seconds after which a command that should have ended is called hung."""


def can_compile() -> bool:
    """Tell whether there is a C compiler for the shim."""
    return shutil.which("cc") is not None and sys.platform == "linux"


@functools.cache
def shim() -> Path:
    """Compile the library that is preloaded; return its file."""
    library = Path(tempfile.mkdtemp(prefix="shim-")) / "shim.so"
    subprocess.run(["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", SHIM, "-o", library, "-ldl"], check=True)
    return library


class Ended(NamedTuple):
    """How a command ended: its status (negative: the signal) and what it said."""

    status: int
    said: str

    @property
    def sentence(self) -> str | None:
        """The one sentence that says what went wrong, None where it said more, less, or showed its inside."""
        errors = [line for line in self.said.splitlines() if line.startswith("error: ")]
        clean = self.status == 2 and len(errors) == 1 and "Traceback" not in self.said
        return errors[0] if clean else None


@dataclass(frozen=True)
class Fault:
    """What happens to a command.

    ``kind`` is its column in the table. ``environment`` tells the shim; with ``after`` (seconds) the command and all
    that it started are killed from outside; ``damage`` is done to a file, named relative to the folder, before it
    starts; ``twice`` starts a second one beside it.
    """

    kind: str
    environment: Mapping[str, str] = field(default_factory=dict)
    after: float | None = None
    damage: tuple[str, str, int] | None = None
    twice: bool = False

    def __str__(self) -> str:
        told = [f"{key.removeprefix('FAULT_').lower()} {value}" for key, value in self.environment.items()]
        told += [f"after {self.after:.3f} s"] if self.after is not None else []
        told += [" ".join(map(str, self.damage))] if self.damage else []
        return f"{self.kind} ({', '.join(told)})" if told else self.kind


def at_call(kind: str, act: str | int, number: int, ops: str = "", **more: str) -> Fault:
    """Return a fault at the ``number``-th call (from 1) of ``ops`` that changes a file."""
    told = {"ACT": str(act), "AT": str(number), "OPS": ops, **more}
    return Fault(kind, {f"FAULT_{key}": value for key, value in told.items() if value})


def environment(folder: Path, fault: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a command in ``folder``; the shim watches the files below it."""
    tools = warm.commands(0, shim()) if warm.USED else None
    mine = {
        "PATH": os.pathsep.join(
            map(str, [*([tools] if tools else []), Path(sys.executable).parent, os.environ["PATH"]])
        ),
        "PYTHONPATH": os.pathsep.join([str(SOURCES), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
        "XDG_CACHE_HOME": str(folder.parent / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    if fault:
        mine |= {"FAULT_ROOT": str(folder), "LD_PRELOAD": str(shim()), **fault}
    return {**os.environ, **mine}


class Running(NamedTuple):
    """A command that was started, and our end of the pipe that is its standard input and of all that it starts."""

    process: subprocess.Popen[str]
    kept: int


def start(words: Sequence[str], folder: Path, fault: Mapping[str, str] | None = None) -> Running:
    """Start a command in a folder."""
    inherited, kept = os.pipe()
    process = subprocess.Popen(
        list(words),
        cwd=folder,
        env=environment(folder, fault),
        stdin=inherited,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    os.close(inherited)
    return Running(process, kept)


def finish(running: Running, after: float | None = None) -> Ended:
    """Wait for a command and for all that it started; kill them ``after`` so many seconds."""
    process = running.process
    try:
        said, _ = process.communicate(timeout=PATIENCE if after is None else after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        if after is None:
            raise AssertionError(f"hung: {said[-1000:]}") from None
    alive = select.poll()
    alive.register(running.kept, 0)
    alive.poll()  # until nobody has the command's standard input any more
    os.close(running.kept)
    return Ended(process.returncode, said)


def run(words: Sequence[str], folder: Path, fault: Fault | None = None) -> list[Ended]:
    """Run a command with a fault; return how it ended (two of them, for a fault of two at once)."""
    if fault is None:
        return [finish(start(words, folder))]
    if fault.damage:
        inflict(folder, *fault.damage)
    processes = [start(words, folder, fault.environment) for _ in range(1 + fault.twice)]
    return [finish(process, fault.after) for process in processes]


def inflict(folder: Path, name: str, how: str, place: int) -> None:
    """Damage a file: cut it after ``place`` bytes, or flip the lowest bit of that byte; its times stay."""
    path = folder / name
    times = path.stat()
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[place:]
    else:
        data[place] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def tree(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder, by name."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def seconds(words: Sequence[str], folder: Path) -> float:
    """Return how long a command takes."""
    started = time.perf_counter()
    finish(start(words, folder))
    return time.perf_counter() - started


KILLED = -signal.SIGKILL
FULL, BROKEN, REFUSED, QUOTA, TOO_LARGE = errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT, errno.EFBIG
