"""Fits a codec to one split: images and boxes, loop, tables, files."""

from __future__ import annotations

import time

import torch

from anonbench import portable
from anonbench.anonymize.contract import FitJob, Fitted
from anonbench.anonymize.roi_codec.data import Sources, faces_beside
from anonbench.anonymize.roi_codec.loop import Fitting
from anonbench.anonymize.roi_codec.options import FitSettings
from anonbench.codec import weights
from anonbench.codec.tables import tabulate
from anonbench.files import sha256_file
from anonbench.learning.devices import choose_device, deterministic, held, hold
from anonbench.learning.files import key_of
from anonbench.learning.loop import run
from anonbench.provenance import code_hash
from anonbench.resources import peak_memory

ENTRY = "fit.determinism: portable"


def fit(job: FitJob) -> Fitted:
    """Train and write the weights; see `anonbench.anonymize.contract.Method.fit`."""
    started = time.perf_counter()
    settings: FitSettings = job.settings
    device = choose_device(job.device)
    level = portable.level(settings.determinism, device.type, entry=ENTRY)
    hold(level, job.threads, ENTRY)
    sources = Sources.read(job.root, job.images, job.table, settings, job.seed, job.threads)
    reading = time.perf_counter() - started
    with deterministic():
        learner = Fitting(sources, settings, job.seed, device, job.threads)
        key = key_of(
            settings.model_dump(mode="json"), job.origin, sources.digest, sources.counts, job.seed, device.type,
            code_hash(__name__),
        )  # fmt: skip
        ran = run(learner, job.checkpoint, key)
        codec = learner.chosen()
    hides = settings.loss.heads > 0 or settings.loss.restorer > 0
    origin = {**job.origin, "hides": "heads" if hides else "nobody"}
    weights.save(job.weights, codec, [tabulate(codec.density, step) for step in settings.steps], origin)
    images, people = job.table.with_name(job.table.name.replace(".people.", ".images.")), job.table
    record = {
        "data": {**sources.counts, "images_sha256": sources.digest},
        "tables_sha256": {
            path.name: sha256_file(path) for path in (images, people, faces_beside(people)) if path.is_file()
        },
        "parameters": sum(p.numel() for p in codec.parameters()),
        "chosen": {"iteration": learner.best.iteration, **learner.best.losses} if sources.held else None,
        "loss_curve": ran.curve,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        **held(level),
    }
    timing = {
        "seconds": round(time.perf_counter() - started, 2),
        "reading_seconds": round(reading, 2),
        "training_seconds": round(ran.seconds, 2),
        "images_per_second": round(ran.images / max(ran.seconds, 1e-9), 2),
        **peak_memory(),
    }
    return Fitted(record, timing)
