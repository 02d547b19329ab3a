"""Fits an anonymizer to the clips and people of one split: data, loop, files."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import torch

from anonbench import portable
from anonbench.anonymize.contract import FitJob, Fitted
from anonbench.anonymize.learned import weights
from anonbench.anonymize.learned.data import Material
from anonbench.anonymize.learned.loop import Fitting, Players
from anonbench.anonymize.learned.networks import Anonymizer, Architecture
from anonbench.anonymize.learned.options import FitSettings
from anonbench.files import write_bytes
from anonbench.learning.devices import choose_device, deterministic, held, hold
from anonbench.learning.files import key_of
from anonbench.learning.loop import run
from anonbench.provenance import code_hash
from anonbench.resources import peak_memory

ENTRY = "methods.learned.fit.determinism: portable"
SHEET_PICTURES = 8


def architecture(s: FitSettings) -> Architecture:
    """Return the anonymizer that a recipe asks for."""
    return Architecture(
        network=s.network, width=s.width, height=s.height, widths=tuple(s.widths), skip=s.skip, colour=s.colour,
        shrink=s.shrink, noise=s.noise, zernike=s.zernike, taps=s.taps,
    )  # fmt: skip


def fit(job: FitJob) -> Fitted:
    """Train and write the weights; see `anonbench.anonymize.contract.Method.fit`."""
    started = time.perf_counter()
    settings: FitSettings = job.settings
    device = choose_device(job.device)
    level = portable.level(settings.determinism, device.type, entry=ENTRY)
    hold(level, job.threads, ENTRY)
    material = Material.read(job)
    digest = material.digest(job.threads)
    reading = time.perf_counter() - started
    with deterministic(level != "seeded"):
        players = Players.new(architecture(settings), material, job.seed, device)

        def sheet() -> None:
            if job.sheet is not None:
                draw_sheet(job.sheet, players.anonymizer, material, device)

        what = [settings.model_dump(mode="json"), job.origin, digest, material.counts, job.seed, device.type]
        learner = Fitting(players, material, job.seed, device, sheet)
        ran = run(learner, job.checkpoint, key_of(*what, code_hash(__name__)))
    weights.save(job.weights, players.anonymizer, job.origin)
    record = {
        "data": {**material.counts, "images_sha256": digest},
        "parameters": sum(p.numel() for p in players.anonymizer.parameters()),
        "loss_curve": ran.curve,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        **held(level),
    }
    timing = {
        "seconds": round(time.perf_counter() - started, 2),
        "reading_seconds": round(reading, 2),
        "training_seconds": round(ran.seconds, 2),
        "steps_per_second": round(ran.iterations / max(ran.seconds, 1e-9), 3),
        **peak_memory(),
    }
    return Fitted(record, timing)


@torch.no_grad()
def draw_sheet(path: Path, network: Anonymizer, material: Material, device: torch.device) -> None:
    """Write a picture: stills above, below what the anonymizer makes of them."""
    seen = material.batch(0).stills[:SHEET_PICTURES]
    training = network.training
    network.eval()
    changed = network(seen.to(device).float() / 255).float().cpu()
    network.train(training)
    rows = [torch.cat(list(row), 2) for row in (seen.float() / 255, changed)]
    pixels = (torch.cat(rows, 1).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    write_bytes(path, cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes())
