"""What this process takes of the machine."""

from __future__ import annotations

import ctypes
import platform
import resource
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""glibc's numbers of what `mallopt` sets (malloc.h)."""


def keep_memory() -> None:
    """Let this process keep the memory that it frees, up to a GiB, instead of asking the system for it again.

    A network's maps of some megabytes each are allocated and freed in every step. By default glibc gives much of that
    back to the system, which clears it page by page before it comes again: a twentieth of a small training on a
    processor. Does nothing where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.mallopt(_MMAP_THRESHOLD, 32 << 20)  # the most that glibc takes
    library.mallopt(_TRIM_THRESHOLD, 1 << 30)
    library.mallopt(_TOP_PAD, 64 << 20)


def peak_memory() -> dict[str, float]:
    """Return the largest memory of this process and, if it has used one, of its GPU, in MiB."""
    # ru_maxrss is in KiB on Linux, in bytes on macOS
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    found = {"peak_memory_mib": round(rss, 1)}
    torch = sys.modules.get("torch")  # takes seconds to import, and who has not imported it has used no GPU
    if torch is not None and torch.cuda.is_initialized():
        found["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated() / (1 << 20), 1)
    return found
