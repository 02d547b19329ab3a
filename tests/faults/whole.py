"""The whole study under Snakemake: killed, started twice, out of space, seen late, with clocks that jump."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults import faults
from tests.faults.faults import Ended, Fault
from tests.faults.stages import MINE, WRITTEN, Bench, Outcome

CERTIFIED = (
    "data", "annotations", "anonymized", "models", "evaluations", "attackers", "attacks", "results/tables",
    "results/figures",
)  # fmt: skip
"""Folders whose every byte must repeat."""
RUN = ("snakemake", "--cores", "2", "--configfile", "config/faulty.yaml")
DAY = 86400


class Whole:
    """Runs of a finished bench's study in folders of their own."""

    def __init__(self, bench: Bench, chance: random.Random) -> None:
        self.bench, self.chance = bench, chance
        self.wanted = certified(bench.project.folder)
        self.folder = bench.folder / "whole"

    def fresh(self, finished: bool = False) -> Path:
        """Return a copy of the project, with or without what the study has written; the user's files are there."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        left_out = () if finished else (*WRITTEN, ".snakemake")
        shutil.copytree(self.bench.project.folder, self.folder, ignore=shutil.ignore_patterns(*left_out), symlinks=True)
        if not finished:  # the source folder of streetlife's package is called so, too
            shutil.copytree(self.bench.project.folder / "src", self.folder / "src", dirs_exist_ok=True)
        for name, text in MINE.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        return self.folder

    def snakemake(self, *words: str, **told: str) -> Ended:
        """Run the study in the folder."""
        fault = {f"FAULT_{key}": value for key, value in told.items()}
        return faults.finish(faults.start([*RUN, *words], self.folder, fault or None))

    def killed(self, times: int, seconds: float) -> list[Outcome]:
        """Kill the run, with all its jobs, again and again, each time a little further; then let it end."""
        self.fresh()
        moments = sorted(self.chance.uniform(0.5, seconds) for _ in range(times))
        done = []
        for number, after in enumerate(moments):
            if number:
                self.snakemake("--unlock")
            ended = faults.finish(faults.start(RUN, self.folder), after)
            if ended.status == 0:
                break
            done.append(Fault("killed at a moment", after=after))
        self.snakemake("--unlock")
        wrong = self.ends()
        return [Outcome("whole study", fault, wrong) for fault in done]

    def ends(self) -> str | None:
        """Run the study to its end; say what is wrong with what is there then."""
        ended = self.snakemake()
        if ended.status:
            return f"the rerun ended with {ended.status}: {ended.said.strip()[-600:]}"
        return self.differs()

    def differs(self) -> str | None:
        """Say which certified file is not as it was in a run that nothing disturbed, and which of the user's is not."""
        now = certified(self.folder)
        for name in sorted(now.keys() | self.wanted.keys()):
            if now.get(name) != self.wanted.get(name):
                return f"{name} {'differs' if name in now and name in self.wanted else 'is missing or left over'}"
        for name, text in MINE.items():
            if (self.folder / name).read_text() != text:
                return f"{name} was touched"
        return None

    def every(self) -> Iterator[Outcome]:
        """Yield what becomes of each fault of the whole study but kills."""
        for kind, one in (
            ("a job is killed", self.a_job_killed),
            ("two at once", self.two_at_once),
            ("disk full", self.full),
            ("seen late", self.seen_late),
            ("clock jumps", self.clock),
        ):
            for wrong in one():
                yield Outcome("whole study", Fault(kind), wrong)

    def a_job_killed(self) -> Iterator[str | None]:
        """One job dies in the middle of its writing; Snakemake says so, and the rerun ends."""
        for part, number in (("anonymized", 5), ("results/figures", 4)):
            self.fresh()
            (once := self.folder / "once").unlink(missing_ok=True)
            told = {"ACT": "kill", "AT": str(number), "OPS": "write,rename", "ONCE": str(once)}
            ended = self.snakemake(**told, ROOT=str(self.folder / part))
            assert once.exists(), f"nothing was killed in {part}: {ended.said}"
            once.unlink()
            yield self.refused(ended) or self.ends()

    def refused(self, ended: Ended) -> str | None:
        """Say what is wrong with how a run failed: it must fail, and show nobody's inside."""
        if ended.status == 0:
            return "the run did not fail"
        return f"a traceback: {ended.said[-600:]}" if "Traceback" in ended.said else None

    def two_at_once(self) -> Iterator[str | None]:
        """The second run in a folder is refused, and the first one ends."""
        self.fresh()
        first = faults.start(RUN, self.folder)
        while not any((self.folder / ".snakemake" / "locks").glob("*")):
            time.sleep(0.01)
        second = self.snakemake()
        ended = faults.finish(first)
        wrong = self.refused(second)
        if wrong is None and "lock" not in second.said:
            wrong = f"nothing said of a lock: {second.said}"
        yield wrong or (f"the first ended with {ended.status}" if ended.status else self.differs())

    def full(self) -> Iterator[str | None]:
        """The disk, a small tmpfs where we may mount one, is full; with more space the run ends."""
        for share in (0.4, 0.8):
            self.fresh()
            size, own = pages(self.bench.project.folder), pages(self.folder)
            room = own + int((size - own) * share)
            with mounted(self.folder, room) as allowed:
                if not allowed:
                    return
                ended = self.snakemake()
                wrong = "the run did not fail" if ended.status == 0 else None
                grow(self.folder)
                self.snakemake("--unlock")
                yield wrong or self.ends()

    def seen_late(self) -> Iterator[str | None]:
        """The head process sees what jobs write two seconds late; it waits, or says how long to wait."""
        tools = self.bench.folder / "punctual"
        tools.mkdir(exist_ok=True)
        real = shutil.which("anonbench", path=faults.environment(self.folder)["PATH"])
        (tools / "anonbench").write_text(f'#!/bin/sh\nunset FAULT_LATE\nexec {real} "$@"\n')
        (tools / "anonbench").chmod(0o755)
        for wait in ("15", "0"):
            self.fresh()
            environment = faults.environment(self.folder, {"FAULT_LATE": "2", "FAULT_ROOT": str(self.folder / "data")})
            environment["PATH"] = f"{tools}{os.pathsep}{environment['PATH']}"
            command = [*RUN, "--latency-wait", wait, "data/streetlife/download.json"]
            done = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=faults.PATIENCE
            )
            said = done.stdout + done.stderr
            if wait == "0":
                wrong = self.refused(Ended(done.returncode, said))
                if wrong is None and "--latency-wait" not in said:
                    wrong = f"nothing said of --latency-wait: {said[-400:]}"
                yield wrong or self.ends()
            else:
                yield f"ended with {done.returncode}: {said[-400:]}" if done.returncode else self.ends()

    def clock(self) -> Iterator[str | None]:
        """Files are of tomorrow, or of last year, or change their order; the results stay."""
        for stage, shift in (("data", DAY), ("models", -365 * DAY)):
            self.fresh(finished=True)
            now = time.time() + shift
            for path in (self.folder / stage).rglob("*"):
                os.utime(path, (now, now))
            yield self.ends()


def pages(folder: Path) -> int:
    """Return the bytes that a folder's files take on a tmpfs, in whole pages."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(-(-path.stat().st_size // page) * page for path in folder.rglob("*") if path.is_file())


def certified(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file that must repeat, but the user's."""
    found = {name: faults.tree(folder / name) for name in CERTIFIED}
    everything = {f"{name}/{path}": digest for name, paths in found.items() for path, digest in paths.items()}
    return {name: digest for name, digest in everything.items() if name not in MINE}


@contextlib.contextmanager
def mounted(folder: Path, size: int) -> Iterator[bool]:
    """Put a folder's content on a tmpfs of so many bytes for a while; yield whether that was allowed."""
    aside = folder.with_name("aside")
    if aside.exists():
        shutil.rmtree(aside)
    folder.rename(aside)
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        yield False
        return
    try:
        shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def grow(folder: Path) -> None:
    """Make a tmpfs larger."""
    subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)
