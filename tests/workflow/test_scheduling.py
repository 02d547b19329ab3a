"""Snakemake's scheduler looks once for each job that ends, not ever more often."""

import re
import subprocess
import sys
import threading
import time

import pytest

from anonbench.workflow.scheduling import Waker

SNAKEFILE = """
from anonbench.workflow import scheduling

rounds = []

rule all:
    input: expand("{{i}}.txt", i=range({jobs}))

rule one:
    output: "{{i}}.txt"
    shell: "sleep 0.05; echo 1 > {{output}}"

onstart:
    scheduling.calm(workflow)
    select = workflow.scheduler.job_selector
    workflow.scheduler.job_selector = lambda jobs: rounds.append(len(jobs)) or select(jobs)

onsuccess:
    print(f"rounds: {{len(rounds)}}")
"""


def test_askings_while_a_waking_is_on_its_way_are_that_one() -> None:
    woken = threading.Semaphore(0)
    waker = Waker(woken.release)
    for _ in range(50):
        waker(0.05)
    assert woken.acquire(timeout=10)
    assert not woken.acquire(timeout=0.3)


def test_whoever_is_woken_can_ask_again_at_once() -> None:
    # where the flag fell only after the waking, an asking in between would be lost
    times: list[float] = []
    done = threading.Event()

    def wake() -> None:
        times.append(time.monotonic())
        if len(times) == 5:
            done.set()
        else:
            waker(0.01)

    waker = Waker(wake)
    waker(0.01)
    assert done.wait(timeout=10)


def test_an_outstanding_waking_does_not_keep_the_process() -> None:
    script = "from anonbench.workflow.scheduling import Waker; Waker(print)(600)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.parametrize("limit", [None, "200/1s"])
def test_rounds_do_not_pile_up(tmp_path, limit) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(jobs=40))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--directory", str(tmp_path)]
    command += ["--snakefile", str(tmp_path / "Snakefile")] + (["--max-jobs-per-timespan", limit] if limit else [])
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    found = re.search(r"^rounds: (\d+)$", shown.stdout + shown.stderr, re.MULTILINE)
    assert found is not None
    # one for each job; of a limit that somebody set, another one each second. Snakemake's own did 200 and more
    seconds = 60
    assert 40 <= int(found[1]) <= 41 + (seconds if limit else 0)
