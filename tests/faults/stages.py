"""The stages of a tiny study, each in a folder as it is just before it runs, and what a fault may leave of it."""

from __future__ import annotations

import csv
import functools
import io
import random
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.apply import moving
from tests.codec import tiny
from tests.faults import faults
from tests.faults.faults import Ended, Fault
from tests.workflow.conftest import TINY, Project

QUICK = {"width": 16, "height": 32, "iterations": 4, "batch_size": 8, "dimensions": 8}
STUDY: dict[str, Any] = {
    **TINY,
    "name": "faulty",
    "datasets": {
        "streetlife": {"options": {"train": 3, "val": 2, "gallery": 6, "probe": 6, "gallery_identities": 6}}
    },
    "regions": {"detectors": {"face": {"plugin": "centerface", "scales": [1.0]}}},
    "variants": ["original", "face-blur-medium", "body-gan"],
    "methods": {
        "gan": {
            "fit": {
                "body_size": [16, 24], "channels": [8, 8], "discriminator_channels": [8, 8], "latent_channels": 4,
                "style_channels": 8, "batch_size": 4, "body_iterations": 2, "clusters": 2, "palette": 2,
            }
        }
    },
    "attack": {
        "attacks": ["link", "restore"],
        "probe": "probe",
        "gallery": "gallery",
        "sizes": [3],
        "attackers": {
            "face-aware": {"knowledge": "aware", "region": "face", "view": "region", **QUICK},
            "face-reverse": {
                "knowledge": "reverse", "region": "face", "view": "region", **QUICK, "attacks": ["restore"],
                "restorer": {"widths": [4, 6], "iterations": 4, "batch_size": 4},
            },
        },
    },
}  # fmt: skip
"""Every rule of the workflow has a job in it."""
SHORT: dict[str, Any] = {
    **{key: value for key, value in STUDY.items() if key not in ("attack", "methods", "regions")},
    "datasets": {"streetlife": {"options": {"train": 3, "val": 2}}},
    "variants": ["original", "face-blur-medium"],
}
"""The same with neither a method that is fitted, nor a detector, nor attackers."""
JOBS = {
    "download": "data/streetlife/download.json",
    "annotate": "annotations/streetlife/train.json",
    "detect": "annotations/streetlife/train.detections/face-0.parquet",
    "regions": "annotations/streetlife/train.regions.parquet",
    "fit": "anonymized/streetlife/private/fits/body-gan/fit.json",
    "anonymize": "anonymized/streetlife/private/face-blur-medium/manifests/train/0.jsonl",
    "merge": "anonymized/streetlife/private/face-blur-medium/manifests/train.json",
    "train": "models/streetlife/face-blur-medium/tiny/seed0/train.json",
    "predict": "evaluations/streetlife/face-blur-medium/tiny/seed0/on-original/predictions.json",
    "evaluate": "evaluations/streetlife/face-blur-medium/tiny/seed0/on-original/metrics.json",
    "fit_attacker": "attackers/streetlife/face-blur-medium/link/face-aware/seed0/attacker.json",
    "attack": "attacks/streetlife/face-blur-medium/link/face-aware/seed0/metrics.json",
    "report_tables": "results/tables/impact.csv",
    "report_figures": "results/figures/impact.png",
    "report_sheet": "results/figures/sheet-streetlife.png",
    "report_restored": "results/figures/restored-streetlife.png",
    "report_html": "results/report.html",
}
"""A job of each rule, by a file that it writes."""
COMMANDS = {
    "apply": "anonbench apply photos --variant face-blur-medium --out out/mine --threads 2 --preview sheet.jpg",
    "export": "anonbench export anonymized/streetlife/face-blur-medium --out handed",
    "encode": "anonbench encode photos/0.jpg photos/1.jpg --weights codec/weights.safetensors --seed 1 --out coded",
    "decode": "anonbench decode streams/0.bin streams/1.bin --weights codec/weights.safetensors --out decoded",
    "init": "anonbench init photos --out config/mine.yaml --person-detector hog",
}
"""Commands that are none of the workflow's."""
KEPT = {"export": ("handed",), "decode": ("decoded",), "init": ("config/mine.yaml", "runs/mine/labels")}
"""What commands that overwrite nothing were told to write."""
STAGES = (*JOBS, *COMMANDS)
JOURNALS = {"out/private/mine/seen.jsonl", "out/private/mine/done.jsonl"}
"""Files that grow by a line for each file that is done, in the order in which that happens; lines have hashes."""
MINE = {
    "mine.txt": "nobody's business",
    "data/mine.txt": "beside the data sets",
    "anonymized/streetlife/face-blur-medium/mine.txt": "in a variant",
    "models/mine.txt": "beside the models",
    "results/mine.txt": "beside the tables",
    "photos/notes.txt": "no photograph",
}
"""Files of the user that no stage knows of."""
WRITTEN = ("data", "annotations", "anonymized", "models", "evaluations", "attackers", "attacks", "results", "logs")


@dataclass(frozen=True)
class Outcome:
    """How a stage took a fault; ``wrong`` says what must not be, None where all is well.

    ``happened`` is false where the command came to its end before the fault.
    """

    stage: str
    fault: Fault
    wrong: str | None
    said: str = ""
    happened: bool = True


@dataclass
class Stage:
    """A stage's command, in ``before``: the folder as it is when the stage has not run.

    ``reads`` are the files that it opens, ``made`` those of them that another stage wrote, ``calls`` the operations by
    which it changes files, in order, ``after`` the sha256 of every file when it has run, ``varying`` those that differ
    from run to run, ``seconds`` how long it takes, ``kept`` what a command that overwrites nothing was told to write.
    """

    name: str
    words: list[str]
    before: Path
    reads: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    after: dict[str, str] = field(default_factory=dict)
    varying: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    seconds: float = 0.0
    kept: tuple[str, ...] = ()

    def fresh(self, folder: Path) -> Path:
        """Return a copy of the folder as it is before the stage, at ``folder``."""
        if folder.exists():
            shutil.rmtree(folder)
        shutil.copytree(self.before, folder, symlinks=True)
        return folder

    def take(self, fault: Fault, folder: Path) -> Outcome:
        """Let the stage take a fault in a fresh copy at ``folder``, run it again, and judge what is there."""
        self.fresh(folder)
        before = faults.tree(folder)
        fired = folder.with_name("fired")
        fired.unlink(missing_ok=True)
        told = {**fault.environment, "FAULT_ONCE": str(fired)} if fault.environment else {}
        ended = faults.run(self.words, folder, replace(fault, environment=told))
        happened = fired.exists() if told else fault.after is None or ended[0].status == faults.KILLED
        wrong = self._ended(ended, fault) or self._left(ended, before, folder, fault)
        if wrong is None:
            if fault.damage:
                shutil.copy2(self.before / fault.damage[0], folder / fault.damage[0])
            wrong = self._again(self._rerun(folder), folder)
        return Outcome(self.name, fault, wrong, "\n".join(one.said.strip()[-2000:] for one in ended), happened)

    def _ended(self, ended: list[Ended], fault: Fault) -> str | None:
        """Say what is wrong with how the command ended."""
        for one in ended:
            if one.status == 0 or one.sentence:
                continue
            if one.status == faults.KILLED and (
                fault.after is not None or fault.environment.get("FAULT_ACT") in DEADLY
            ):
                continue
            return f"ended with {one.status} and no sentence: {_last(one.said)}"
        return None

    def _left(self, ended: list[Ended], before: dict[str, str], folder: Path, fault: Fault) -> str | None:
        """Say which file the fault left that is not whole, or has touched that is nobody's to touch."""
        now = faults.tree(folder)
        if fault.damage and fault.damage[0] in now:  # as we have left it
            now[fault.damage[0]] = before[fault.damage[0]]
        for name, digest in before.items():
            if now.get(name) != digest and name not in self.written:
                return f"{name} was {'touched' if name in now else 'removed'}"
        if any(one.status == 0 for one in ended):
            return self._differs(now, "was believed: ") if not fault.twice else None
        for name in self.outputs:
            if name in now and now[name] != self.after[name] and name not in self.varying:
                return f"{name} is there and not whole"
        return None

    def _rerun(self, folder: Path) -> Ended:
        """Run the command again; one that would overwrite what is there says so, and then once that is gone."""
        again = faults.run(self.words, folder)[0]
        there = [folder / name for name in self.kept if (folder / name).exists()]
        if not there or again.sentence is None or not any(path.name in again.sentence for path in there):
            return again
        for path in there:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return faults.run(self.words, folder)[0]

    def _again(self, again: Ended, folder: Path) -> str | None:
        """Say what is wrong after the second run, which nothing disturbed."""
        if again.status:
            return f"the rerun ended with {again.status}: {_last(again.said)}"
        return self._differs(faults.tree(folder), "after the rerun ")

    def _differs(self, now: dict[str, str], when: str) -> str | None:
        for name in sorted(now.keys() | self.after.keys()):
            if name.startswith("logs/") or (name in self.varying and name in now):
                continue
            if now.get(name) != self.after.get(name):
                how = "is missing" if name not in now else "is left over" if name not in self.after else "differs"
                return f"{when}{name} {how}"
        return None

    @functools.cached_property
    def outputs(self) -> list[str]:
        """Files that are there when the stage has run, and were not before."""
        there = faults.tree(self.before)
        return [name for name in self.after if there.get(name) != self.after[name] and not name.startswith("logs/")]


DEADLY = ("kill", "torn")


def _last(said: str) -> str:
    lines = [line for line in said.strip().splitlines() if line.strip()]
    return " | ".join(lines[-2:])[-400:] if lines else "(nothing said)"


class Bench:
    """A finished tiny study, or what ``targets`` need of it, and its stages, prepared when they are asked for."""

    def __init__(self, folder: Path, study: dict[str, Any] = STUDY, targets: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.project = Project(folder / "project")
        self.project.study("faulty", study)
        ended = self.snakemake(*targets)
        assert ended.status == 0, ended.said
        for name, text in MINE.items():
            path = self.project.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        images = sorted((self.project.folder / "data/streetlife/train").iterdir())
        for number, image in enumerate(images):
            shutil.copy2(image, self.project.folder / "photos" / f"{number}.jpg")
        moving.write(self.project.folder / "photos" / "moving.mp4", 8, size=(160, 128))
        tiny.write(self.project.folder / "codec" / "weights.safetensors")
        words = shlex.split(COMMANDS["encode"].replace("--out coded", "--out streams"))
        ended = faults.finish(faults.start(words, self.project.folder))
        assert ended.status == 0, ended.said
        self._stages: dict[str, Stage] = {}

    def snakemake(self, *words: str) -> Ended:
        """Run Snakemake on the study."""
        command = ["snakemake", "--cores", "2", *words, "--configfile", "config/faulty.yaml"]
        return faults.finish(faults.start(command, self.project.folder))

    @functools.cached_property
    def commands(self) -> dict[str, list[str]]:
        """The command of every job, by each file that it writes."""
        ended = self.snakemake("--detailed-summary")
        assert ended.status == 0, ended.said
        table = ended.said[ended.said.index("output_file\t") :]
        rows = csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE)
        found = {}
        for row in rows:
            words = shlex.split(re.sub(r" > \S+ 2>&1$", "", (row["shellcmd"] or "").strip()))
            found[row["output_file"]] = words
        return found

    def stage(self, name: str) -> Stage:
        """Return a stage, ready to take faults."""
        if name not in self._stages:
            self._stages[name] = self._prepare(name)
        return self._stages[name]

    def _prepare(self, name: str) -> Stage:
        words = shlex.split(COMMANDS[name]) if name in COMMANDS else self.commands[JOBS[name]]
        before = self.folder / "before" / name
        for part in (*WRITTEN, "photos", "config", "codec", "streams"):
            if (self.project.folder / part).exists():
                shutil.copytree(self.project.folder / part, before / part)
        shutil.copy2(self.project.folder / "mine.txt", before / "mine.txt")
        stage = Stage(name, words, before, kept=KEPT.get(name, ()))
        log = self.folder / f"{name}.log"
        work = stage.fresh(self.folder / "first")
        logging = {"FAULT_ACT": "log", "FAULT_LOG": str(log), "FAULT_OPS": f"read,{','.join(OPS)}"}
        done = faults.finish(faults.start(words, work, logging))
        assert done.status == 0, done.said
        touched = _calls(log, work)
        stage.written = {path for op, path in touched if op != "read" and op != "mkdir"}
        for one in stage.written:  # as it is before the stage has ever run
            (before / one).unlink(missing_ok=True)
        work = stage.fresh(self.folder / "first")
        log.unlink()
        done = faults.finish(faults.start(words, work, logging))
        assert done.status == 0, done.said
        touched = _calls(log, work)
        stage.written |= {path for op, path in touched if op not in ("read", "mkdir")}
        stage.reads = sorted({path for op, path in touched if op == "read" and (before / path).is_file()})
        stage.made = [path for path in stage.reads if path.split("/")[0] in WRITTEN]
        stage.calls = [op for op, _ in touched if op != "read"]
        stage.after = faults.tree(work)
        again = stage.fresh(self.folder / "second")
        stage.seconds = faults.seconds(words, again)
        other = faults.tree(again)
        assert other.keys() == stage.after.keys(), "two runs that nothing disturbed leave different files"
        stage.varying = {one for one in other if other[one] != stage.after[one]} | JOURNALS
        return stage


OPS = ("open", "write", "rename", "link", "unlink", "truncate", "sync", "mkdir")


def _calls(log: Path, folder: Path) -> list[tuple[str, str]]:
    """Return the calls that the shim has counted, with paths relative to the folder."""
    lines = (line.partition(" ") for line in log.read_text().splitlines())
    return [(op, Path(path).relative_to(folder).as_posix()) for op, _, path in lines]


def every(stage: Stage, each: int, chance: random.Random) -> Iterator[Fault]:
    """Yield the faults of a stage: up to ``each`` of every kind, at calls and moments drawn at random."""

    def places(*ops: str) -> list[int]:
        numbers = range(1, 1 + sum(op in ops for op in stage.calls))
        return sorted(chance.sample(numbers, min(each, len(numbers))))

    for op in ("open", "write", "rename", "unlink", "mkdir", "sync"):
        for number in places(op):
            yield faults.at_call("killed at a call", "kill", number, op)
    for number in places("write"):
        yield faults.at_call("half a write, killed", "torn", number, "write")
    for _ in range(each):
        yield Fault("killed at a moment", after=chance.uniform(0.02, 1.05 * stage.seconds))
    for number in places("open", "write", "rename"):
        yield faults.at_call("disk full", faults.FULL, number, "open,write,rename,mkdir", ON="1")
    for number in places("write"):
        yield faults.at_call("quota, file size", chance.choice([faults.QUOTA, faults.TOO_LARGE]), number, "write")
    for number in places(*OPS[:-1]):
        yield faults.at_call("I/O error", faults.BROKEN, number, "open,write,rename,link,unlink,truncate,sync")
    for number in places("open", "mkdir"):
        yield faults.at_call("no permission", faults.REFUSED, number, "open,mkdir")
    reads = len(stage.reads)
    for number in sorted(chance.sample(range(1, 1 + reads), min(each, reads))):
        yield faults.at_call("cannot be read", faults.BROKEN, number, "read")
    for number in places(*OPS)[:1]:
        yield faults.at_call("clock jumps", "log", number, JUMP=str(chance.choice([-86400, 86400 * 365])))
    yield Fault("two at once", twice=True)
    for name in chance.sample(stage.made, min(each, len(stage.made))):
        size = (stage.before / name).stat().st_size
        yield Fault("cut short", damage=(name, "cut", chance.choice([0, size // 2, max(0, size - 1)])))
    for name in chance.sample(stage.made, min(each, len(stage.made))):
        size = (stage.before / name).stat().st_size
        if size:
            yield Fault("flipped bit", damage=(name, "flip", chance.randrange(size)))
