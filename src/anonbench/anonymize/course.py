"""The course of every method's training: where it runs, how repeatably, what it says of itself at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from anonbench import portable
from anonbench.anonymize.contract import FitJob, Fitted
from anonbench.learning.devices import choose_device, held, hold
from anonbench.learning.files import key_of
from anonbench.learning.loop import Ran
from anonbench.provenance import code_hash
from anonbench.resources import peak_memory


@dataclass
class Course:
    """A training that has begun: its device, its level of determinism (see `portable.level`), and its clock."""

    job: FitJob
    device: torch.device
    level: str
    started: float = field(default_factory=time.perf_counter)
    reading: float = 0.0

    @classmethod
    def begin(cls, job: FitJob, entry: str) -> Course:
        """Choose a device for a job, and hold this process to the level that its settings ask for in ``entry``.

        Raises AnonbenchError where there is no such device, or the level cannot be held here.
        """
        started = time.perf_counter()
        device = choose_device(job.device)
        level = portable.level(job.settings.determinism, device.type, entry=entry)
        hold(level, job.threads, entry)
        return cls(job, device, level, started)

    def has_read(self) -> None:
        """Note that all data is there, and the training proper begins."""
        self.reading = time.perf_counter() - self.started

    def key(self, digest: str, counts: Mapping[str, Any], module: str) -> str:
        """Return what must agree for a checkpoint to be continued; ``digest`` is the data's, ``module`` trains."""
        job = self.job
        what = [job.settings.model_dump(mode="json"), job.origin, digest, dict(counts), job.seed]
        return key_of(*what, self.device.type, code_hash(module))

    def fitted(
        self,
        ran: Ran,
        network: nn.Module,
        digest: str,
        counts: Mapping[str, Any],
        more: Mapping[str, Any] | None = None,
    ) -> Fitted:
        """Return record and timing of what ``ran``; ``more`` of the record is the method's own."""
        record = {
            "data": {**counts, "images_sha256": digest},
            "parameters": sum(p.numel() for p in network.parameters()),
            **(more or {}),
            "loss_curve": ran.curve,
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            **held(self.level),
        }
        took = max(ran.seconds, 1e-9)
        timing = {
            "seconds": round(time.perf_counter() - self.started, 2),
            "reading_seconds": round(self.reading, 2),
            "training_seconds": round(ran.seconds, 2),
            "steps_per_second": round(ran.iterations / took, 3),
            "images_per_second": round(ran.images / took, 2),
            **peak_memory(),
        }
        return Fitted(record, timing)
