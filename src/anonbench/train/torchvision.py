"""The default trainer: torchvision's R-CNN family, on any machine."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file
from anonbench.provenance import code_hash
from anonbench.recipe import Recipe
from anonbench.seeding import seed_of
from anonbench.train import models
from anonbench.train.contract import Detection, Fit, Trainer, Weights
from anonbench.train.data import Category, Variant, input_size, load_image
from anonbench.train.loop import Batches, deterministic, fit


class Torchvision(Trainer):
    """Faster, Mask and Keypoint R-CNN, or all three in one model, as the recipe's tasks say."""

    def check(self, recipe: Recipe) -> None:
        file = recipe.initialisation.file
        if file is not None and not Path(file).is_file():
            raise AnonbenchError("no such file", file=file, entry="recipe initialisation.file")

    def train(self, variant: Variant, recipe: Recipe, seed: int, device: torch.device, checkpoint: Path | None) -> Fit:
        # cuBLAS reads it when its first handle is made
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        with deterministic(recipe.deterministic):
            torch.manual_seed(seed_of("init", seed))
            model = models.build(recipe, variant.categories)
            initialisation = _initialise(model.backbone.body, recipe)
            model.to(device, memory_format=torch.channels_last)
            decoders = 0 if torch.get_num_threads() == 1 else 2
            key = _key(recipe, initialisation, variant, seed, device)
            ran = fit(model, Batches(variant, recipe, seed), device, checkpoint, key, decoders)
        weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
        return Fit(weights, ran.curve, initialisation, ran.images, ran.seconds, ran.loading_seconds)

    @torch.inference_mode()
    def predict(
        self, weights: Weights, categories: tuple[Category, ...], variant: Variant, recipe: Recipe, device: torch.device
    ) -> Iterator[list[Detection]]:
        model = models.build(recipe, categories)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise AnonbenchError(f"the weights do not fit the recipe ({error})", remedy="train again") from error
        model.to(device, memory_format=torch.channels_last).eval()
        for sample in variant.samples:
            size = input_size(sample.width, sample.height, recipe.min_size[-1], recipe.max_size)
            image = load_image(sample, size).to(device)
            with (
                deterministic(recipe.deterministic),
                torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"),
            ):
                (found,) = model([image])
            arrays = {name: value.cpu().numpy() for name, value in found.items()}
            scale = np.asarray([sample.width / size[0], sample.height / size[1]])
            detections = []
            for i, label in enumerate(arrays["labels"]):
                box = arrays["boxes"][i] * np.tile(scale, 2)
                category = categories[label - 1]
                mask = keypoints = None
                if "masks" in arrays:
                    mask = paste(arrays["masks"][i], box, sample.width, sample.height)
                if "keypoints" in arrays and category.person:
                    keypoints = arrays["keypoints"][i] * np.append(scale, 1)
                detections.append(Detection(sample.id, category.id, box, float(arrays["scores"][i]), mask, keypoints))
            yield detections


def _initialise(body: nn.Module, recipe: Recipe) -> dict[str, Any]:
    """Load the given backbone weights, if any; return what is recorded about the start."""
    start = recipe.initialisation
    if start.kind == "scratch":
        return {"kind": "scratch", "seen": []}
    assert start.file is not None
    try:
        given = load_file(start.file)
    except SafetensorError as error:
        raise AnonbenchError(f"is no safetensors file ({error})", file=start.file) from error
    given = {name.removeprefix("backbone.body."): value for name, value in given.items()}
    # the counter is missing from older files, and nothing uses it
    wanted = {name: v for name, v in body.state_dict().items() if not name.endswith("num_batches_tracked")}
    wrong = [n for n, v in wanted.items() if n not in given or given[n].shape != v.shape]
    if wrong:
        raise AnonbenchError(
            f"lacks {len(wrong)} of the backbone's {len(wanted)} tensors, first '{wrong[0]}'",
            file=start.file,
            entry="recipe initialisation.file",
            remedy=f"give weights of {recipe.architecture.backbone} with torchvision's names",
        )
    body.load_state_dict({name: given[name] for name in wanted}, strict=False)
    return {**start.model_dump(mode="json"), "file": Path(start.file).name, "sha256": sha256_file(start.file)}


def _key(recipe: Recipe, initialisation: dict[str, Any], variant: Variant, seed: int, device: torch.device) -> str:
    """Return what must agree for a checkpoint to be continued."""
    parts = [recipe.model_dump(mode="json"), initialisation, variant.sha256, variant.images_digest, seed, device.type]
    parts += [torch.get_num_threads(), torch.__version__, code_hash(__name__)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def paste(probabilities: np.ndarray, box: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the bool mask (height, width) of a float32 (m, m) grid of probabilities spread over ``box``.

    ``box`` is x0, y0, x1, y1 in image pixels. A pixel is set when the grid, interpolated at the pixel's centre
    (zero outside), reaches 0.5.
    """
    mask = np.zeros((height, width), dtype=bool)
    x0, y0 = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
    x1, y1 = min(width, math.ceil(box[2])), min(height, math.ceil(box[3]))
    if x1 <= x0 or y1 <= y0:
        return mask
    m = len(probabilities)
    sx, sy = m / (box[2] - box[0]), m / (box[3] - box[1])
    to_grid = np.array([[sx, 0, (x0 + 0.5 - box[0]) * sx - 0.5], [0, sy, (y0 + 0.5 - box[1]) * sy - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    mask[y0:y1, x0:x1] = cv2.warpAffine(probabilities, to_grid, (x1 - x0, y1 - y0), flags=flags) >= 0.5
    return mask
