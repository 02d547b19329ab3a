"""The study on a real SLURM: the results of a run on this machine to the byte, and faults that lose nothing.

Each job starts Snakemake twice, so that these tests take minutes; all are skipped where no SLURM is installed.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.slurm import Cluster
from tests.faults.stages import STUDY
from tests.workflow.conftest import TINY, Project

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {**TINY, "variants": ["original", "body-mask_out"], "anonymize": {"shards": 1}}
MODEL = "models/streetlife/body-mask_out/tiny/seed0/train.json"
"""What is asked for where something fails: four jobs, one after another."""
COMPARED = (
    "annotations", "anonymized", "models", "evaluations", "attackers", "attacks", "results/tables", "results/figures",
)  # fmt: skip
TIMES = {"timing.json"}
SQUEUE = ("--slurm-status-command", "squeue")
"""The cluster has no accounting."""
SOON = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "20", *SQUEUE)
"""A head that asks more often than the profile says, for these jobs take seconds."""
MANY = 40
SLEEPERS = f"""
rule all:
    input: expand("slept/{{n}}", n=range({MANY}))
    localrule: True
rule sleep:
    output: "slept/{{n}}"
    resources: mem_mb=500, runtime=10
    shell: "sleep 1; touch {{output}}"
"""
ASKING = {"REQUEST_JOB_INFO", "REQUEST_JOB_USER_INFO", "REQUEST_JOB_INFO_SINGLE"}
"""What `squeue` sends to the controller."""


class Head:
    """A Snakemake that submits the jobs of a project to a cluster, with options in place of the tests' own."""

    def __init__(self, project: Project, cluster: Cluster, *options: str) -> None:
        self.project, self.cluster = project, cluster
        self.options = options or ("--configfile", "config/tiny.yaml", *SOON)
        self.log = project.folder / "head.log"

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start it in a session of its own; it hears interrupts, even where tests do not."""
        command = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", *self.options, *words]
        environment = {**self.project.environment(), "SLURM_CONF": self.cluster.environment["SLURM_CONF"]}
        environment["PATH"] = f"{self.cluster.root / 'bin'}{os.pathsep}{environment['PATH']}"
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                command, cwd=self.project.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip

    def run(self, *words: str, seconds: float = 900) -> int:
        """Run it to its end; return its status."""
        return self.start(*words).wait(seconds)

    def text(self) -> str:
        """Return what it has printed."""
        return self.log.read_text()


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of every result."""
    files = sorted(path for part in COMPARED for path in (folder / part).rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in TIMES and ".snakemake" not in path.name
    }


def until(ready: Callable[[], Any], seconds: float = 240) -> Any:
    """Wait until something is true; return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def running(cluster: Cluster, rule: str, project: Project) -> Callable[[], tuple[str, str] | None]:
    """Return a function that tells number and node of a running job of a rule of a project."""

    def find() -> tuple[str, str] | None:
        for number, (state, node, comment) in cluster.jobs().items():
            if state == "RUNNING" and rule in comment:
                return number, node
        return None

    return find


def local(folder: Path, study: dict[str, Any], *words: str) -> dict[str, str]:
    """Run a study on this machine; return the hashes of its results."""
    project = Project(folder)
    project.study("tiny", study)
    done = project.snakemake(*words)
    assert done.returncode == 0, done.stdout
    return hashes(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the hashes of the small study's results, made on this machine."""
    return local(tmp_path_factory.mktemp("local") / "project", SMALL, MODEL)


def hang(project: Project, sign: Path) -> None:
    """Let the first training of a project hang; ``sign`` is a file that says that one has."""
    train = project.folder / "src/anonbench/train/cli.py"
    stop = f"""
    import time
    if not Path({str(sign)!r}).exists():
        Path({str(sign)!r}).touch()
        time.sleep(3600)
"""
    text = train.read_text()
    place = text.index('"""', text.index('"""', text.index("def train(")) + 3) + 3
    train.write_text(text[:place] + stop + text[place:])


@pytest.fixture
def head(project: Project, cluster: Cluster) -> Iterator[Head]:
    """Return a head of the small study in a fresh project; its jobs end with the test."""
    project.study("tiny", SMALL)
    yield Head(project, cluster)
    cluster.say("scancel", "--user=root")
    until(lambda: all(state not in ("RUNNING", "PENDING", "COMPLETING") for state, _, _ in cluster.jobs().values()))


def test_the_results_are_those_of_a_local_run(cluster: Cluster, project: Project, tmp_path: Path) -> None:
    """Of every rule but `report_restored`: a detector, a method that is fitted, an attacker and an attack, too."""
    expected = local(tmp_path / "local", STUDY)
    project.study("tiny", STUDY)
    head = Head(project, cluster)
    assert head.run() == 0, head.text()
    found = hashes(project.folder)
    assert {part for part in COMPARED if not any(name.startswith(f"{part}/") for name in found)} == set()
    assert found == expected
    submitted, jobs = head.text().count("has been submitted"), int(re.findall(r"^total +(\d+)$", head.text(), re.M)[0])
    assert submitted <= jobs * 2 / 3, "what takes seconds is submitted together"
    states = {state for state, _, _ in cluster.jobs().values()}
    assert states == {"COMPLETED"}
    for rule in ("detect", "fit", "fit_attacker", "attack"):
        assert f"slurm_logs/rule_{rule}/" in head.text(), f"{rule} did not run on the cluster"
    assert "Nothing to be done" in project.snakemake().stdout, "a local Snakemake finds everything done"


def test_the_profiles_own_pace_spares_the_controller(cluster: Cluster, project: Project) -> None:
    """Many jobs of a second: each is submitted once, and the controller is asked for all of them at a time."""
    (project.folder / "many.smk").write_text(SLEEPERS)
    head = Head(project, cluster, "--snakefile", "many.smk", *SQUEUE)
    before, start = cluster.requests(), time.monotonic()
    assert head.run(seconds=400) == 0, head.text()
    seconds, sent = time.monotonic() - start, cluster.requests() - before
    assert len([*(project.folder / "slept").iterdir()]) == MANY
    assert sent["REQUEST_SUBMIT_BATCH_JOB"] == MANY, sent
    assert 1 <= sum(sent[name] for name in ASKING) <= seconds / 40 + 1, (seconds, sent)
    # nodes and job steps included, but not that nodes say from time to time that they are there
    every = sum(count for name, count in sent.items() if "NODE" not in name)
    assert every <= 20 * MANY, (seconds, sent)


def test_a_job_whose_node_dies_runs_on_another(head: Head, cluster: Cluster, small: dict[str, str]) -> None:
    process = head.start(MODEL)
    number, node = until(running(cluster, "train", head.project))
    cluster.kill_node(node)
    try:
        assert process.wait(900) == 0, head.text()
    finally:
        cluster.start_node(node)
        until(lambda: cluster.states()[node] == "idle")
    assert hashes(head.project.folder) == small
    state, on, _ = cluster.jobs()[number]
    if state == "COMPLETED":  # SLURM itself has queued it again
        assert on != node
    else:  # the job was seen to fail before its node was seen to be lost
        assert state in ("FAILED", "NODE_FAIL")
        assert "Trying to restart job" in head.text()


def test_a_job_over_its_memory_gets_more(head: Head, cluster: Cluster, small: dict[str, str]) -> None:
    needs = head.project.folder / "src/anonbench/workflow/needs.py"
    text = needs.read_text()
    needs.write_text(
        text.replace("LEAST_MIB = 500", "LEAST_MIB = 100").replace("MEMORY_SPARE = 1.5", "MEMORY_SPARE = 0.2")
    )
    assert needs.read_text() != text
    asked = others = cluster.asked()
    process = head.start(MODEL)
    while process.poll() is None:  # the controller forgets a job minutes after its end
        asked = {**asked, **cluster.asked()}
        time.sleep(1)
    assert process.returncode == 0, head.text()
    tries: dict[str, list[tuple[str, int]]] = {}
    for number in sorted(asked.keys() - others.keys(), key=int):
        comment, mib = asked[number]
        tries.setdefault(comment, []).append((number, mib))
    again = {comment: those for comment, those in tries.items() if len(those) > 1}
    assert any("rule_train" in comment for comment in again), tries
    for those in again.values():
        assert [mib for _, mib in those] == [those[0][1] * 2**n for n in range(len(those))], tries
    failed = {number for those in again.values() for number, _ in those[:-1]}
    assert failed & cluster.killed(), "none of those that were tried again had taken too much memory"
    assert "Trying to restart job" in head.text()
    assert hashes(head.project.folder) == small


def test_a_job_over_its_time_gets_more(head: Head, tmp_path: Path, small: dict[str, str]) -> None:
    """The first training hangs; it is ended after a minute and tried again with two."""
    needs = head.project.folder / "src/anonbench/workflow/needs.py"
    needs.write_text(
        needs.read_text()
        .replace("LEAST_MINUTES = 10", "LEAST_MINUTES = 1")
        .replace("TIME_SPARE = 4", "TIME_SPARE = 0.01")
    )
    hang(head.project, tmp_path / "hung")
    assert head.run(MODEL) == 0, head.text()
    assert "SLURM status is: 'TIMEOUT'" in head.text(), head.text()
    assert {
        k: v for k, v in hashes(head.project.folder).items() if not k.endswith("train.json")
    }.items() <= small.items()


def test_a_cancelled_job_is_tried_again(head: Head, cluster: Cluster, small: dict[str, str]) -> None:
    process = head.start(MODEL)
    number, _ = until(running(cluster, "train", head.project))
    cluster.say("scancel", number)
    assert process.wait(900) == 0, head.text()
    assert "SLURM status is: 'CANCELLED" in head.text()
    assert hashes(head.project.folder) == small


def test_a_head_that_is_killed_goes_on_when_started_again(head: Head, cluster: Cluster, small: dict[str, str]) -> None:
    """While a job of the dead head still runs, too: both write the same bytes, whole."""
    process = head.start(MODEL)
    until(running(cluster, "train", head.project))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert head.run("--unlock") == 0, head.text()
    assert head.run(MODEL) == 0, head.text()
    assert hashes(head.project.folder) == small


def test_a_head_that_is_interrupted_cancels_its_jobs(head: Head, cluster: Cluster, tmp_path: Path) -> None:
    hang(head.project, tmp_path / "hung")  # or a fast machine has done it before it is interrupted
    process = head.start(MODEL)
    number, _ = until(running(cluster, "train", head.project))
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(120) != 0
    until(lambda: cluster.jobs()[number][0] in ("CANCELLED", "COMPLETING"))
