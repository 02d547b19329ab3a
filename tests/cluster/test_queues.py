"""The profiles for Kubernetes and for other queues, with a `kubectl` and a `qsub` that run jobs on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.conftest import PROJECT, TINY, Project

SMALL: dict[str, Any] = {**TINY, "variants": ["original", "body-mask_out"], "anonymize": {"shards": 1}}
has_plugin = importlib.util.find_spec("snakemake_executor_plugin_cluster_generic") is not None
needs_plugin = pytest.mark.skipif(not has_plugin, reason="no snakemake_executor_plugin_cluster_generic")

KUBECTL = """#!{python} -IS
import json, os, subprocess, sys, time
from pathlib import Path
jobs = Path({jobs!r})
words = sys.argv[1:]
if words[:3] == ["create", "-f", "-"]:
    job = json.load(sys.stdin)
    name = job["metadata"]["name"]
    (jobs / f"{{name}}.json").write_text(json.dumps(job))
    container = job["spec"]["template"]["spec"]["containers"][0]
    kill = "kill -9 $$" if not (jobs / "lost").exists() and {lose!r} else "true"
    (jobs / "lost").touch()
    script = f"{{kill}}; {{' '.join(container['command'])}} > {{jobs}}/{{name}}.log 2>&1"
    run = f"sh -c '{{script}}' && echo 1// > {{jobs}}/{{name}}.state || echo /1/ > {{jobs}}/{{name}}.state"
    subprocess.Popen(["sh", "-c", run], cwd=container["workingDir"], start_new_session=True,
                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(f"job.batch/{{name}} created")
elif words[:2] == ["get", "job"]:
    name = words[2]
    state = jobs / f"{{name}}.state"
    if (jobs / f"{{name}}.json").exists():
        print(f"{{name}}/{{state.read_text().strip() if state.exists() else '//'}}", end="")
"""


def program(folder: Path, name: str, text: str) -> None:
    """Put a program on the path."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def run(project: Project, tools: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake with a folder of programs first on the path."""
    env = {**project.environment(), **environment}
    env["PATH"] = f"{tools}{os.pathsep}{env['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *words, "--configfile", "config/tiny.yaml"],
        cwd=project.folder, env=env, text=True, timeout=600, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@needs_plugin
@pytest.mark.slow
def test_kubernetes_runs_the_study_and_tries_a_lost_pod_again(project: Project, tmp_path: Path) -> None:
    project.study("tiny", SMALL)
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    program(tmp_path / "tools", "kubectl", KUBECTL.format(python=sys.executable, jobs=str(jobs), lose=True))
    done = run(
        project, tmp_path / "tools", "variants", "--profile", "profiles/kubernetes", "--latency-wait", "5",
        "--seconds-between-status-checks", "1",
        ANONBENCH_IMAGE="registry/anonbench", ANONBENCH_CLAIM="study", ANONBENCH_MOUNT=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "Trying to restart job" in done.stdout
    submitted = [json.loads(path.read_text()) for path in jobs.glob("*.json")]
    merged = [project.folder / f"anonymized/streetlife/private/{v}/manifests/train.json" for v in SMALL["variants"]]
    assert all(path.is_file() for path in merged)
    memory = set()
    for job in submitted:
        assert job["spec"]["backoffLimit"] == 0
        assert "activeDeadlineSeconds" not in job["spec"], "a job that waits for a node takes none of its time"
        pod = job["spec"]["template"]["spec"]
        assert pod["activeDeadlineSeconds"] >= 600
        container = pod["containers"][0]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert container["volumeMounts"] == [{"name": "study", "mountPath": str(tmp_path)}]
        assert "nvidia.com/gpu" not in container["resources"]["limits"]
        memory.add(int(container["resources"]["limits"]["memory"].removesuffix("M")))
    assert len(memory) > 1, "the second try asks for more"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "ANONBENCH_IMAGE, ANONBENCH_CLAIM and ANONBENCH_MOUNT have to be set"),
        ({"ANONBENCH_IMAGE": "i", "ANONBENCH_CLAIM": "c", "ANONBENCH_MOUNT": "/nowhere"}, "no pod would find it"),
    ],
)
def test_what_kubernetes_lacks_is_said(tmp_path: Path, environment: dict[str, str], message: str) -> None:
    words = ["--cpus", "1", "--megabytes", "1", "--minutes", "1", "--gpus", "0", "job.sh"]
    done = subprocess.run(
        [PROJECT / "profiles" / "kubernetes" / "submit", *words],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("job/1//", "success"),
        ("job//1/", "failed"),
        ("job//1/True", "failed"),
        ("job///True", "failed"),
        ("job///", "running"),
        ("job///False", "running"),
        ("", "failed"),
    ],
)
def test_the_state_of_a_pod(tmp_path: Path, said: str, state: str) -> None:
    """What `kubectl` prints of a job's name, of how many of its pods succeeded and failed, and whether it has."""
    program(tmp_path / "tools", "kubectl", f"#!/bin/sh\nprintf '%s' '{said}'\n")
    script = PROJECT / "profiles" / "kubernetes" / "status"
    path = f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}"
    assert subprocess.run([script, "job"], env={"PATH": path}, capture_output=True, text=True).stdout.strip() == state


def test_a_server_that_does_not_answer_loses_no_pod(tmp_path: Path) -> None:
    program(tmp_path / "tools", "kubectl", "#!/bin/sh\necho refused >&2\nexit 1\n")
    script = PROJECT / "profiles" / "kubernetes" / "status"
    path = f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}"
    assert subprocess.run([script, "job"], env={"PATH": path}, capture_output=True, text=True).stdout == "running\n"


@needs_plugin
@pytest.mark.slow
def test_another_queue_is_told_what_jobs_need(project: Project, tmp_path: Path) -> None:
    project.study("tiny", SMALL)
    asked = tmp_path / "asked"
    start = 'for script; do :; done\nsetsid sh "$script" > /dev/null 2>&1 &\necho 7.server\n'
    script = f'#!/bin/sh\necho "$@" >> {asked}\n{start}'
    program(tmp_path / "tools", "qsub", script)
    done = run(
        project, tmp_path / "tools", "annotations/streetlife/train.regions.parquet", "--profile", "profiles/generic",
        "--latency-wait", "5", "--seconds-between-status-checks", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    lines = asked.read_text().splitlines()
    assert len(lines) == 2
    for line in lines:
        assert re.search(
            r"-N (annotate|regions) .* select=1:ncpus=1:mem=[5-9]00mb:ngpus=0 .* walltime=00:10:00", line
        ), line
