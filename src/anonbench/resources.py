"""What this process has taken of the machine."""

from __future__ import annotations

import resource
import sys


def peak_memory() -> dict[str, float]:
    """Return the largest memory of this process and, if it has used one, of its GPU, in MiB."""
    # ru_maxrss is in KiB on Linux, in bytes on macOS
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    found = {"peak_memory_mib": round(rss, 1)}
    torch = sys.modules.get("torch")  # takes seconds to import, and who has not imported it has used no GPU
    if torch is not None and torch.cuda.is_initialized():
        found["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated() / (1 << 20), 1)
    return found
