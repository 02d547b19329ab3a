"""Commands that start warm do what they do when a new Python runs them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests import warm

pytestmark = pytest.mark.skipif(not warm.USED, reason="commands start as a user's do")

MAIN = """
    import atexit, os, signal, sys, time

    def main():
        atexit.register(print, "ended")
        if sys.argv[1] == "sleep":
            os.write(1, b"asleep")
            time.sleep(600)
        print(sys.argv[1:], os.getcwd(), os.environ["SAID"], sys.stdin.read(), "anonbench.cli" in sys.modules)
        sys.stderr.write("wrong")
        return eval(sys.argv[1])
"""
"""A command line that says what it was given and ends as its first argument says."""


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose `anonbench` is the one above."""
    (tmp_path / "anonbench").mkdir()
    (tmp_path / "anonbench" / "__init__.py").write_text("")
    (tmp_path / "anonbench" / "cli.py").write_text(textwrap.dedent(MAIN))
    return {**os.environ, "PYTHONPATH": str(tmp_path), "SAID": "a b"}


@pytest.mark.parametrize(
    "ending",
    ["None", "3", "'a sentence'", "1 / 0", "sys.exit()", "exit('no')", "os._exit(4)", "os.kill(os.getpid(), 15)"],
)
def test_a_warm_command_is_like_a_new_process(own: dict[str, str], tmp_path: Path, ending: str) -> None:
    done = []
    for folder in (warm.commands(), Path(sys.executable).parent):
        command = [folder / "anonbench", ending, "ü"]
        done.append(subprocess.run(command, env=own, cwd=tmp_path, input="in", capture_output=True, text=True))
    assert done[0].returncode == done[1].returncode
    assert done[0].stdout == done[1].stdout
    last = [process.stderr.splitlines()[-1:] for process in done]
    assert last[0] == last[1]
    assert ("ended" in done[0].stdout) == (not ending.startswith("os."))


def test_a_command_dies_with_its_caller(own: dict[str, str]) -> None:
    command = [str(warm.commands() / "anonbench"), "sleep"]
    caller = subprocess.Popen(command, env=own, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert caller.stdout is not None
    assert caller.stdout.read(6) == b"asleep"
    caller.kill()
    assert caller.wait() == -9
    assert b"ended" not in caller.stdout.read(), "its output ends, since nobody holds it open any more"
