"""A process that keeps its memory asks the system for it once."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from anonbench.resources import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
def step():
    for _ in range(3):
        np.ones(4 << 20, np.uint8)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing is set in other C libraries")
def test_freed_memory_is_taken_again_without_the_system() -> None:
    assert faults("keep") < 100


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from anonbench import resources

    monkeypatch.setattr(resources.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(resources.ctypes, "CDLL", lambda name: pytest.fail("a library was opened"))
    resources.keep_memory()
