"""Tiny generators: with random weights for what happens to crops, with a few steps for what training does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from anonbench.anonymize.gan import conditions, loop, style, training, weights
from anonbench.anonymize.gan.options import FitSettings
from anonbench.anonymize.methods.gan import Gan
from anonbench.records import RegionKind

SETTINGS: dict[str, Any] = {
    "face_size": [8, 8],
    "body_size": [8, 16],
    "channels": [4, 6],
    "discriminator_channels": [4, 6],
    "latent_channels": 5,
    "style_channels": 7,
    "batch_size": 4,
    "face_iterations": 6,
    "body_iterations": 6,
    "warmup": 0.5,
    "r1_every": 2,
    "clusters": 3,
    "checkpoint_every": 2,
    "samples_every": 3,
}
"""A training of less than a second."""


def write_weights(path: Path, kind: RegionKind = RegionKind.BODY, seed: int = 0) -> Path:
    """Write a generator with random weights whose styles are far apart."""
    fit = FitSettings(**SETTINGS)
    a = training.architecture(fit, kind)
    state = loop.State.new(a, fit, seed, torch.device("cpu"))
    torch.manual_seed(seed)
    latents, beside = 3 * torch.randn(40, 5), torch.randn(40, conditions.SURROUNDINGS)
    styles = style.describe(latents, torch.full((40, 5), 0.01), beside, state.ema, fit.clusters, seed)
    weights.save(path, a, state.ema, styles, {"dataset": "none", "split": "train", "region": kind.value})
    return path


def loaded(folder: Path, kind: RegionKind = RegionKind.BODY, **parameters: Any) -> Gan:
    """Return the method with random weights."""
    method = Gan(parameters)
    method.load(write_weights(folder / f"{kind.value}.safetensors", kind), kind, "cpu")
    return method
