"""The profiles for Kubernetes and for other queues, with a `kubectl` and a `qsub` that run jobs on this machine.

Both are stand-ins: no real Kubernetes and no real PBS has run these profiles.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
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


FIELDS = {
    "job": {"apiVersion", "kind", "metadata", "spec"},
    "metadata": {"name", "labels"},
    "spec": {"backoffLimit", "ttlSecondsAfterFinished", "template"},
    "pod": {"restartPolicy", "activeDeadlineSeconds", "containers", "volumes"},
    "container": {"name", "image", "command", "workingDir", "resources", "volumeMounts"},
}
"""What `profiles/kubernetes/submit` says of a job: names of batch/v1, of which a server takes no other."""
LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
QUANTITY = r"[1-9][0-9]*(m|k|M|G|Ki|Mi|Gi)?"
WHERE = {"ANONBENCH_IMAGE": "registry/anonbench", "ANONBENCH_CLAIM": "study"}


def check_job(job: dict[str, Any]) -> dict[str, Any]:
    """Check a job by what batch/v1 requires; return its container."""
    spec = job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert set(job) == FIELDS["job"]
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert set(job["metadata"]) == FIELDS["metadata"]
    assert re.fullmatch(LABEL, job["metadata"]["name"]), "DNS-1123, and short enough for its pods' label"
    assert set(spec) == FIELDS["spec"]
    assert spec["backoffLimit"] == 0
    assert isinstance(spec["ttlSecondsAfterFinished"], int)
    assert set(spec["template"]) == {"metadata", "spec"}
    for labels in (job["metadata"]["labels"], spec["template"]["metadata"]["labels"]):
        assert all(isinstance(value, str) and re.fullmatch(LABEL, value) for value in labels.values())
    assert set(pod) == FIELDS["pod"]
    assert pod["restartPolicy"] == "Never"  # a Job's pod may have OnFailure, too, but not the default, Always
    assert isinstance(pod["activeDeadlineSeconds"], int)
    assert pod["activeDeadlineSeconds"] > 0
    assert set(container) == FIELDS["container"]
    assert re.fullmatch(LABEL, container["name"])
    assert container["image"] == WHERE["ANONBENCH_IMAGE"]
    assert all(isinstance(word, str) for word in container["command"])
    assert Path(container["workingDir"]).is_absolute()
    assert set(container["resources"]) == {"requests", "limits"}
    for sizes in container["resources"].values():
        assert set(sizes) - {"nvidia.com/gpu"} == {"cpu", "memory"}
        assert all(isinstance(size, str) and re.fullmatch(QUANTITY, size) for size in sizes.values()), sizes
    (volume,), (mount,) = pod["volumes"], container["volumeMounts"]
    assert volume == {"name": mount["name"], "persistentVolumeClaim": {"claimName": WHERE["ANONBENCH_CLAIM"]}}
    assert set(mount) == {"name", "mountPath"}
    assert re.fullmatch(LABEL, mount["name"])
    assert isinstance(container, dict)
    return container


def program(folder: Path, name: str, text: str) -> None:
    """Put a program on the path."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def start(project: Project, tools: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start Snakemake with a folder of programs first on the path; it hears interrupts, even where tests do not."""
    env = {**project.environment(), **environment}
    env["PATH"] = f"{tools}{os.pathsep}{env['PATH']}"
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", *words, "--configfile", "config/tiny.yaml"],
        cwd=project.folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def interrupted(head: subprocess.Popen[str]) -> str:
    """Interrupt Snakemake until it ends, which it misses while it submits, and return what it says."""
    for _ in range(4):
        head.send_signal(signal.SIGINT)
        try:
            return head.communicate(timeout=20)[0]
        except subprocess.TimeoutExpired:
            pass
    raise AssertionError("Snakemake goes on after four interrupts")


def run(project: Project, tools: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake to its end."""
    with start(project, tools, *words, **environment) as process:
        said, _ = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, said)


def one_training(project: Project, **train: Any) -> list[str]:
    """Prepare a project whose next job is a training; return the words that ask for it alone."""
    project.study("tiny", {**SMALL, "train": {**SMALL["train"], **train}})
    folder = project.folder / "anonymized" / "streetlife"
    for path in (folder / "private/original/manifests/train.json", folder / "original/annotations/train.json"):
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    return ["models/streetlife/original/tiny/seed0/train.json", "--allowed-rules", "train", "--retries", "0"]


@needs_plugin
@pytest.mark.slow
def test_kubernetes_runs_the_study_and_tries_a_lost_pod_again(project: Project, tmp_path: Path) -> None:
    project.study("tiny", SMALL)
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    program(tmp_path / "tools", "kubectl", KUBECTL.format(python=sys.executable, jobs=str(jobs), lose=True))
    done = run(
        project, tmp_path / "tools", "variants", "--profile", "profiles/kubernetes", "--latency-wait", "5",
        "--seconds-between-status-checks", "1", **WHERE, ANONBENCH_MOUNT=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "Trying to restart job" in done.stdout
    submitted = [json.loads(path.read_text()) for path in jobs.glob("*.json")]
    merged = [project.folder / f"anonymized/streetlife/private/{v}/manifests/train.json" for v in SMALL["variants"]]
    assert all(path.is_file() for path in merged)
    memory = set()
    for job in submitted:
        container = check_job(job)
        assert "activeDeadlineSeconds" not in job["spec"], "a job that waits for a node takes none of its time"
        assert job["spec"]["template"]["spec"]["activeDeadlineSeconds"] >= 600
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert container["volumeMounts"] == [{"name": "study", "mountPath": str(tmp_path)}]
        assert "nvidia.com/gpu" not in container["resources"]["limits"]
        memory.add(int(container["resources"]["limits"]["memory"].removesuffix("M")))
    assert len(memory) > 1, "the second try asks for more"


@pytest.mark.parametrize("gpus", [0, 2])
def test_a_job_for_kubernetes_has_what_batch_v1_requires(tmp_path: Path, gpus: int) -> None:
    program(tmp_path / "tools", "kubectl", f"#!/bin/sh\n[ \"$*\" = 'create -f -' ] && cat > {tmp_path}/job.json\n")
    words = ["--cpus", "3", "--megabytes", "1500", "--minutes", "7", "--gpus", str(gpus), "job.sh"]
    env = {"PATH": f"{tmp_path / 'tools'}{os.pathsep}{os.environ['PATH']}", **WHERE, "ANONBENCH_MOUNT": str(tmp_path)}
    done = subprocess.run(
        [PROJECT / "profiles" / "kubernetes" / "submit", *words], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    job = json.loads((tmp_path / "job.json").read_text())
    container = check_job(job)
    assert done.stdout == job["metadata"]["name"] + "\n", "Snakemake asks for the job by what is printed"
    sizes = {"cpu": "3", "memory": "1500M", **({"nvidia.com/gpu": "2"} if gpus else {})}
    assert container["resources"] == {"limits": sizes, "requests": sizes}, "of GPUs both must be the same"
    assert job["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 420
    assert container["command"][-1] == str(tmp_path / "job.sh")
    assert Path(container["workingDir"]).is_relative_to(container["volumeMounts"][0]["mountPath"])


@needs_plugin
@pytest.mark.slow
@pytest.mark.parametrize("profile", ["kubernetes", "generic"])
def test_a_job_asks_for_its_gpus_and_ends_with_its_head(project: Project, tmp_path: Path, profile: str) -> None:
    asked, cancelled = tmp_path / "asked", tmp_path / "cancelled"
    cases = f'create) cat > {asked} ;; get) printf "$3///" ;; delete) sleep 3; echo "$@" > {cancelled} ;;'
    program(tmp_path / "tools", "kubectl", f"#!/bin/sh\ncase $1 in {cases} esac\n")
    program(tmp_path / "tools", "qsub", f'#!/bin/sh\necho "$@" > {asked}\necho 7.server\n')
    program(tmp_path / "tools", "qdel", f'#!/bin/sh\necho "$@" > {cancelled}\n')
    head = start(
        project, tmp_path / "tools", *one_training(project, device="cuda", processes=2),
        "--profile", f"profiles/{profile}", "--seconds-between-status-checks", "1",
        **WHERE, ANONBENCH_MOUNT=str(tmp_path),
    )  # fmt: skip
    assert head.stdout is not None
    with head, head.stdout:
        try:
            submitted = (re.search(r"with external jobid '(.*)'", line) for line in iter(head.stdout.readline, ""))
            name = next(found[1] for found in submitted if found)
            time.sleep(2)  # an interrupt while it submits is lost: it does so in a loop of asyncio's
            rest = interrupted(head)
        finally:
            head.kill()
    assert head.returncode != 0
    assert "Traceback" not in rest
    if profile == "generic":
        assert re.search(r" select=1:ncpus=2:mem=\d+mb:ngpus=2 ", asked.read_text())
        cancel = "7.server"
    else:
        resources = check_job(json.loads(asked.read_text()))["resources"]
        assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "2"
        cancel = f"delete job --ignore-not-found --wait=false {name}"
    until = time.monotonic() + 30
    while not (cancelled.exists() and cancelled.read_text()) and time.monotonic() < until:
        time.sleep(0.1)  # Snakemake waits for two seconds, kubectl takes three
    assert cancelled.read_text() == cancel + "\n"


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
