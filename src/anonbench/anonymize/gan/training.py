"""Fits a generator to the people of one split: crops, loop, style statistics, files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from anonbench.anonymize.contract import FitJob, Fitted
from anonbench.anonymize.course import Course
from anonbench.anonymize.gan import loop, weights
from anonbench.anonymize.gan.conditions import maps_for, surroundings
from anonbench.anonymize.gan.data import Batch, Crops
from anonbench.anonymize.gan.networks import Architecture, Generator
from anonbench.anonymize.gan.options import FitSettings
from anonbench.anonymize.gan.style import Styles, describe
from anonbench.files import write_bytes
from anonbench.learning.devices import deterministic
from anonbench.learning.loop import run
from anonbench.people import People
from anonbench.records import RegionKind
from anonbench.seeding import generator, seed_of

SHEET_PEOPLE = 12
ENTRY = "methods.gan.fit.determinism: portable"
CHUNK = 64
"""Crops in one go when nothing is trained."""


def architecture(fit: FitSettings, kind: RegionKind) -> Architecture:
    """Return the generator that a recipe asks for."""
    width, height = fit.size(kind)
    lines, territories = maps_for(kind)
    return Architecture(
        kind=kind.value,
        width=width,
        height=height,
        lines=lines,
        territories=territories,
        palette=fit.palette,
        stem=fit.stem,
        channels=tuple(fit.channels),
        latent_channels=fit.latent_channels,
        style_channels=fit.style_channels,
    )


def fit(job: FitJob) -> Fitted:
    """Train and write the weights; see `anonbench.anonymize.contract.Method.fit`."""
    course = Course.begin(job, ENTRY)
    settings: FitSettings = job.settings
    device = course.device
    people = People.read(job.table, job.kind, job.images)
    size = settings.size(job.kind)
    crops = Crops.read(
        job.root, job.images, people, job.kind, size, settings.min_pixels, settings.max_people, job.seed, job.threads
    )
    course.has_read()
    a = architecture(settings, job.kind)
    with deterministic(), _flushing():
        state = loop.State.new(a, settings, job.seed, device)
        key = course.key(crops.digest, crops.counts, __name__)

        def sheet(state: loop.State) -> None:
            styles = _styles(state, crops, a, settings, job.seed, device)
            _draw_sheet(job.sheet, state.ema, styles, crops, a, device)

        drawn = sheet if job.sheet is not None else None
        ran = run(loop.Fitting(state, crops, a, settings, job.seed, device, drawn), job.checkpoint, key)
        styles = _styles(state, crops, a, settings, job.seed, device)
    weights.save(job.weights, a, state.ema, styles, job.origin)
    return course.fitted(ran, state.ema, crops.digest, crops.counts, {"clusters": len(styles.centres)})


@contextlib.contextmanager
def _flushing() -> Iterator[None]:
    """Let a CPU take numbers next to nothing for zero, which they would otherwise spend a third of the time on."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _chunks(crops: Crops, a: Architecture, device: torch.device, order: np.ndarray) -> Iterator[loop.Inputs]:
    for start in range(0, len(order), CHUNK):
        some = order[start : start + CHUNK]
        yield loop.Inputs.of(Batch(crops.pixels[some], crops.masks[some], crops.keypoints[some]), a, device)


@torch.no_grad()
def _styles(
    state: loop.State, crops: Crops, a: Architecture, fit: FitSettings, seed: int, device: torch.device
) -> Styles:
    """Return the statistics of the styles of the fitted people (of at most 10,000, drawn by the seed)."""
    order = np.sort(generator("styles", seed).permutation(len(crops))[:10_000])
    found = []
    for x in _chunks(crops, a, device, order):
        mean, log_variance = state.encoder(x.real, x.mask, x.maps)
        found.append((mean, log_variance.exp(), surroundings(x.real, x.mask)))
    means, variances, beside = (torch.cat(part).float().cpu() for part in zip(*found, strict=True))
    network = Generator(a)
    network.load_state_dict(state.ema.state_dict())
    return describe(means, variances, beside, network, fit.clusters, seed_of("clusters", seed))


@torch.no_grad()
def _draw_sheet(
    path: Path | None, network: Generator, styles: Styles, crops: Crops, a: Architecture, device: torch.device
) -> None:
    """Write a picture: fitted people, what the generator sees, and three drawn styles, one row each."""
    assert path is not None
    order = np.linspace(0, len(crops) - 1, SHEET_PEOPLE).astype(int)
    (x,) = _chunks(crops, a, device, order)
    rows = [x.real, x.real * (1 - x.mask)]
    local = Generator(a)
    local.load_state_dict(network.state_dict())
    beside = surroundings(x.real, x.mask).cpu().split(1)
    for row, truncation in enumerate((1.0, 1.0, 0.0)):
        drawn = [
            styles.draw(generator("sheet", row, person), truncation, True, local, colours)
            for person, colours in zip(order, beside, strict=True)
        ]
        rows.append(x.paste(network(x.real, x.mask, x.maps, torch.cat(drawn).to(device)).float()))
    picture = torch.cat([torch.cat(list(row), 2) for row in rows], 1).clamp(-1, 1)
    pixels = ((picture + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()
    write_bytes(path, data)
