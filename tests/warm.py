"""Commands that start warm: a server has the libraries loaded, and every command runs in a copy of it (fork).

A job of a tiny study takes less time than Python takes to load PyTorch, pandas or Snakemake. A folder holds a small
program for each command; put first on the path, it hands its arguments, folder, environment and open files to the
server, whose copy runs the command's own script and gives back its status. The project's code is never loaded by the
server: every command loads it from its own path. When the caller dies, the command and all that it started die, too.

A test about the order of sets, which every process draws anew, asks for a second server. All tests can be run with the
real commands, too (``REAL_COMMANDS=1 pytest``).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import marshal
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import NamedTuple

USED = hasattr(os, "pidfd_open") and not os.environ.get("REAL_COMMANDS")
"""Whether commands start warm: on Linux, unless somebody wants the real ones."""
COMMANDS = ("anonbench", "snakemake")
LIBRARIES = (
    "cv2", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf", "matplotlib.pyplot", "numpy",
    "pandas", "PIL.Image", "pyarrow.compute", "pyarrow.parquet", "pycocotools.mask", "pydantic", "safetensors.torch",
    "snakemake.cli", "snakemake.report", "snakemake.workflow", "torch._dynamo", "torchvision", "typer",
)  # fmt: skip
"""What commands load of other packages, once for all of them."""

CLIENT = """#!{python} -IS
import marshal, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"f"], [0, 1, 2])
    server.sendall(marshal.dumps(([{script!r}, *sys.argv[1:]], os.getcwd(), dict(os.environ))))
    code = int(server.recv(8) or 1)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class Command(NamedTuple):
    """What a newly started Python is given: script and arguments, folder, environment, and the three open files."""

    words: list[str]
    folder: str
    environment: dict[str, str]
    files: list[int]


@functools.cache
def commands(server: int = 0, preload: Path | None = None) -> Path:
    """Start a server that lives as long as this process; return the folder of the commands that use it.

    Each number is another server, and each server draws its own order of sets. ``preload`` is a library that comes
    before all others in its processes.
    """
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    address, scripts = folder / "server", Path(sys.executable).parent
    (folder / "bin").mkdir()
    for name in COMMANDS:
        program = folder / "bin" / name
        program.write_text(CLIENT.format(python=sys.executable, address=str(address), script=str(scripts / name)))
        program.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHASHSEED")}
    if preload is not None:
        environment["LD_PRELOAD"] = str(preload)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(64)  # who comes before the libraries are loaded waits
        process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(listener.fileno())],
            stdin=subprocess.PIPE,  # closed when this process ends, however it ends
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            env=environment,
            start_new_session=True,
        )
    atexit.register(process.communicate)
    return folder / "bin"


def serve(listener: socket.socket) -> Command | None:
    """Start what is asked for; return a command in the copy that is to run it, None when nobody can ask any more."""
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        callers = {caller: process for process, caller in running.values()}
        ready = select.select([listener, sys.stdin, *running, *callers], [], [])[0]
        if sys.stdin in ready:
            for process, _ in running.values():
                os.killpg(process, signal.SIGKILL)
            return None
        for file in ready:
            if file is listener:
                caller, _ = listener.accept()
                command = _receive(caller)
                if command is None:
                    continue
                process = os.fork()
                if process == 0:
                    os.setpgid(0, 0)
                    return command
                for opened in command.files:
                    os.close(opened)
                running[os.pidfd_open(process)] = process, caller
            elif file in running:
                process, caller = running.pop(file)
                code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                with contextlib.suppress(BrokenPipeError):
                    caller.send(b"%d" % code)
                caller.close()
                os.close(file)
            else:  # a caller says nothing more: it is gone, before its command ended
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(callers[file], signal.SIGKILL)


def _receive(caller: socket.socket) -> Command | None:
    """Return what a caller asks for, None when it was killed before it had said so."""
    try:
        _, files, _, _ = socket.recv_fds(caller, 1, 3)
        with caller.makefile("rb") as stream:
            return Command(*marshal.load(stream), files)
    except (ConnectionError, EOFError):
        return None


def run(command: Command) -> int:
    """Run a command as a newly started Python would; return its status."""
    for number, file in enumerate(command.files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(command.folder)
    os.environ.clear()
    os.environ.update(command.environment)
    sys.argv = command.words
    path = [part for part in command.environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    sys.path[:] = [str(Path(command.words[0]).parent), *path, *sys.path]
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
    try:
        runpy.run_path(command.words[0], run_name="__main__")
    except SystemExit as end:
        if not isinstance(end.code, str):
            return int(end.code or 0)
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def end(code: int) -> None:
    """End as Python does, but leave the libraries' memory to the system: freeing it takes longer than most jobs."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    server = socket.socket(fileno=int(sys.argv[1]))
    asked = serve(server)
    if asked is None:
        shutil.rmtree(Path(server.getsockname()).parent)
        os._exit(0)
    server.close()
    end(run(asked))
