"""How often Snakemake's scheduler looks at what can run next.

Snakemake 9 limits how many jobs are started in a span of time (``--max-jobs-per-timespan``, 100 in a second unless
given). For that, every round in which jobs are ready asks for another one a span later, and so does every job that
ends. None of these askings is ever taken back, so rounds pile up: after four hundred jobs there are hundreds of them in
a second, and each looks at all ready jobs and their input files. In a study of 520 jobs on two cores that took 43 % of
one of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

DEFAULT = (100, 1)
"""Jobs and seconds of the limit that Snakemake sets where nobody asks for one."""


class Waker:
    """Wakes a scheduler after a delay; whoever asks while a waking is on its way gets that one.

    ``wake`` is called in a thread of its own, which does not keep the process alive.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting = False

    def __call__(self, delay: float) -> None:
        """Have the scheduler woken ``delay`` seconds from now, or sooner."""
        with self._lock:
            if self._waiting:
                return
            self._waiting = True
        timer = threading.Timer(delay, self._due)
        timer.daemon = True
        timer.start()

    def _due(self) -> None:
        with self._lock:  # before the scheduler wakes, which may ask again at once
            self._waiting = False
        self._wake()


def calm(workflow: Any) -> None:
    """Take the limit from a run on this machine that nobody set one for, and let others have one waking at a time.

    ``workflow`` is Snakemake's, about to start its jobs (``onstart``). Cores limit what runs on one machine; a limit
    in time is for the controller of a cluster.
    """
    scheduler = workflow.scheduler
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if workflow.local_exec and (limit is None or (limit.max_jobs, limit.timespan) == DEFAULT):
        scheduler.job_rate_limiter = None
    scheduler._schedule_reevalutation = Waker(scheduler._open_jobs.release)
