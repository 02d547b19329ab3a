"""A real SLURM on one machine, in a folder of its own: one controller, several nodes, all on the loopback interface.

It needs what Debian calls ``slurm-wlm`` and ``munge``, and root. By hand:

    python tests/cluster/slurm.py start /tmp/cluster     # prints what to export
    python tests/cluster/slurm.py stop /tmp/cluster

Nothing outside the folder is written, and only processes that `start` started are ended. Nodes are slurmd processes
with ports of their own; they watch the memory of their jobs, but share the machine's cores, and no job is put into a
cgroup.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun", "scancel", "sdiag")

CONF = """\
ClusterName=anonbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge.socket
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdTimeout=20
SlurmctldTimeout=10
InactiveLimit=0
KillWait=2
MinJobAge=300
OverTimeLimit=0
SchedulerParameters=batch_sched_delay=1,sched_interval=2
DefMemPerCPU=500
NodeName={names} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports} CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Return the programs of SLURM and munge that are not on the path."""
    return [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])


class Cluster:
    """A cluster in ``root``, a folder with a short name (its sockets' names are limited), of ``nodes`` nodes.

    Each says that it has ``cpus`` cores, and MiB of ``memory``: a group of four jobs asks for as many.
    """

    def __init__(self, root: Path, nodes: int = 3, cpus: int = 4, memory: int = 8000) -> None:
        self.root = root.resolve()
        self.nodes = [f"node{n}" for n in range(1, nodes + 1)]
        self.cpus, self.memory = cpus, memory

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs in its environment to speak to this cluster."""
        return {"SLURM_CONF": str(self.root / "slurm.conf"), "PATH": f"{self.root / 'bin'}{os.pathsep}{_path()}"}

    def start(self) -> None:
        """Start munge, the controller and the nodes, and wait until all nodes take jobs."""
        for name in ("state", "munge", *(f"spool.{node}" for node in self.nodes)):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o755)
        key = self.root / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        # Snakemake's jobs start srun without SLURM_CONF, as if every cluster's file lay in /etc
        (self.root / "bin").mkdir(exist_ok=True)
        srun = f'#!/bin/sh\nSLURM_CONF={self.root}/slurm.conf exec {shutil.which("srun")} "$@"\n'
        (self.root / "bin" / "srun").write_text(srun)
        (self.root / "bin" / "srun").chmod(0o755)
        port, *ports = _free_ports(1 + len(self.nodes))
        names = f"node[1-{len(self.nodes)}]"
        conf = CONF.format(
            host=socket.gethostname(), port=port, root=self.root, names=names, ports=f"[{','.join(map(str, ports))}]",
            cpus=self.cpus, memory=self.memory,
        )  # fmt: skip
        (self.root / "slurm.conf").write_text(conf)
        munge = self.root / "munge"
        self._run(
            "munge", "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self.root}/munge.socket",
            f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed",
        )  # fmt: skip
        self._wait(lambda: (self.root / "munge.socket").exists(), "munge")
        self._run("slurmctld", "slurmctld", "-D", "-c")
        self._wait(lambda: self._ok("scontrol", "ping"), "the controller")
        for node in self.nodes:
            self.start_node(node)
        self._wait(lambda: set(self.states().values()) == {"idle"}, "the nodes")

    def start_node(self, node: str) -> None:
        """Start a node, or one that was killed again."""
        self._run(node, "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """Kill a node and everything that runs on it at once, as a loss of power does."""
        _kill(self._pids()[node], signal.SIGKILL)
        self._kill_jobs(node)
        self._forget(node)

    def states(self) -> dict[str, str]:
        """Return the state of each node."""
        said = self.say("sinfo", "--noheader", "--Node", "--format=%N %t")
        return dict(line.split() for line in said.splitlines())

    def jobs(self) -> dict[str, tuple[str, str, str]]:
        """Return state, nodes and comment of all jobs that the controller remembers, by id."""
        said = self.say("squeue", "--noheader", "--states=all", "--format=%i|%T|%N|%k")
        rows = (line.split("|", 3) for line in said.splitlines())
        return {number: (state, nodes, comment) for number, state, nodes, comment in rows}

    def asked(self) -> dict[str, tuple[str, int]]:
        """Return comment and MiB of all jobs that the controller remembers, as they were asked for, by id."""
        said = self.say("squeue", "--noheader", "--noconvert", "--states=all", "--format=%i|%m|%k")
        rows = (line.split("|", 2) for line in said.splitlines())
        return {number: (comment, int(memory.removesuffix("M"))) for number, memory, comment in rows}

    def killed(self) -> set[str]:
        """Return the ids of the jobs of which a node has killed a step for its memory."""
        logs = (*self.root.glob("slurmd.*.log"), *self.root.glob("node*.out"))
        text = "".join(path.read_text(errors="replace") for path in logs)
        return set(re.findall(r"(\d+)\.\w+ exceeded memory limit", text))

    def requests(self) -> Counter[str]:
        """Return how many requests of each kind the controller has had."""
        said = self.say("sdiag").partition("by message type\n")[2].partition("\n\n")[0]
        return Counter({name: int(count) for name, count in re.findall(r"^\s*(\w+)\s*\(.*?count:(\d+)", said, re.M)})

    def say(self, *words: str) -> str:
        """Run a command of SLURM; return what it prints."""
        return subprocess.run(
            words, env={**os.environ, **self.environment}, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def stop(self) -> None:
        """End what `start` and `start_node` started, and the jobs that run there."""
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            self.say("scancel", "--user=root")
        for name, pid in reversed(self._pids().items()):
            _kill(pid, signal.SIGKILL)
            self._forget(name)
        self._kill_jobs(*self.nodes)

    def _kill_jobs(self, *nodes: str) -> None:
        """Kill what runs on nodes of this cluster: the tasks, which know theirs, and the processes that watch them."""
        parents, names, tasks = {}, {}, set()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                variables, pid = (folder / "environ").read_bytes().split(b"\0"), int(folder.name)
                if f"SLURM_CONF={self.root}/slurm.conf".encode() in variables:
                    names[pid], rest = (folder / "stat").read_text().partition("(")[2].rsplit(")", 1)
                    parents[pid] = int(rest.split()[1])
                    if any(f"SLURMD_NODENAME={node}".encode() in variables for node in nodes):
                        tasks.add(pid)
        watching = {parents[pid] for pid in tasks if names.get(parents[pid]) == "slurmstepd"}
        if set(nodes) == set(self.nodes):  # whatever they watched may be gone
            watching |= {pid for pid, name in names.items() if name == "slurmstepd"}
        for pid in (*watching, *tasks):
            _kill(pid, signal.SIGKILL)

    def _run(self, name: str, *words: str) -> None:
        with open(self.root / f"{name}.out", "ab") as out:
            process = subprocess.Popen(
                words, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._write({**self._pids(), name: process.pid})

    def _pids(self) -> dict[str, int]:
        file = self.root / "started.json"
        found: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
        return found

    def _forget(self, name: str) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pids()[name], 0)
        self._write({key: pid for key, pid in self._pids().items() if key != name})

    def _write(self, pids: dict[str, int]) -> None:
        (self.root / "started.json").write_text(json.dumps(pids))

    def _ok(self, *words: str) -> bool:
        try:
            return "DOWN" not in self.say(*words)
        except (subprocess.SubprocessError, OSError):
            return False

    def _wait(self, ready: Any, what: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while True:
            with contextlib.suppress(subprocess.SubprocessError):
                if ready():
                    return
            if time.monotonic() > until:
                logs = "\n".join(f"--- {p.name}\n{p.read_text()[-2000:]}" for p in sorted(self.root.glob("*.out")))
                raise RuntimeError(f"{what} did not start in {seconds:.0f} s\n{logs}")
            time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _kill(pid: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def main() -> None:
    """Start or stop a cluster from the command line."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        sys.exit(__doc__)
    if sys.argv[1] == "start" and missing():
        sys.exit(f"error: {', '.join(missing())} not found; apt-get install slurm-wlm munge")
    cluster = Cluster(Path(sys.argv[2]))
    if sys.argv[1] == "stop":
        cluster.stop()
        return
    cluster.start()
    for name, value in cluster.environment.items():
        print(f"export {name}={value}")


if __name__ == "__main__":
    main()
