"""Fits an anonymizer to the clips and people of one split: data, loop, files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from anonbench.anonymize.contract import FitJob, Fitted
from anonbench.anonymize.course import Course
from anonbench.anonymize.learned import start, weights
from anonbench.anonymize.learned.data import Material
from anonbench.anonymize.learned.loop import Fitting, Players
from anonbench.anonymize.learned.networks import Anonymizer, Architecture
from anonbench.anonymize.learned.options import FitSettings
from anonbench.files import write_bytes
from anonbench.learning.devices import deterministic
from anonbench.learning.loop import run

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
    course = Course.begin(job, ENTRY)
    device = course.device
    begins = start.told(Path(job.settings.start)) if job.settings.start is not None else {}
    material = Material.read(job)
    digest = material.digest(job.threads)
    course.has_read()
    with deterministic(course.level != "seeded"):
        players = Players.new(architecture(job.settings), material, job.seed, device)

        def sheet() -> None:
            if job.sheet is not None:
                draw_sheet(job.sheet, players.anonymizer, material, device)

        learner = Fitting(players, material, job.seed, device, sheet)
        ran = run(learner, job.checkpoint, course.key(digest, {**material.counts, **begins}, __name__))
    weights.save(job.weights, players.anonymizer, job.origin)
    return course.fitted(ran, players.anonymizer, digest, material.counts, begins)


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
