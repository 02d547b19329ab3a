"""From a model to detections in the original image's pixels; the same for every trainer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import nn

from anonbench.errors import AnonbenchError
from anonbench.learning.devices import deterministic
from anonbench.learning.supervised import autocast
from anonbench.recipe import Recipe
from anonbench.tasks.detections import Detection
from anonbench.train.data import Category, VariantSplit, input_size, load_image

Weights = dict[str, torch.Tensor]


def load(model: nn.Module, weights: Weights) -> None:
    """Load a training's weights; raise AnonbenchError when they are not those of the recipe's model."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise AnonbenchError(f"the weights do not fit the recipe ({error})", remedy="train again") from error


@torch.inference_mode()
def detections(
    model: nn.Module, categories: Sequence[Category], variant: VariantSplit, recipe: Recipe, device: torch.device
) -> Iterator[list[Detection]]:
    """Yield the detections of each image of ``variant``, in its order.

    ``model`` is in evaluation, takes a list of one uint8 (3, h, w) RGB image and returns a list of one dict:
    ``boxes`` (n, 4) x0, y0, x1, y1 in the input's pixels, ``labels`` (n,) from 1, ``scores`` (n,) and, by task,
    ``masks`` (n, m, m) probabilities on the box's grid and ``keypoints`` (n, 17, 3).
    """
    for sample in variant.samples:
        size = input_size(sample.width, sample.height, recipe.settings.min_size[-1], recipe.settings.max_size)
        image = load_image(sample, size).to(device)
        with deterministic(recipe.strict(device.type)), autocast(recipe, device):
            (found,) = model([image])
        arrays = {name: value.cpu().numpy() for name, value in found.items()}
        scale = np.asarray([sample.width / size[0], sample.height / size[1]])
        result = []
        for i, label in enumerate(arrays["labels"]):
            box = arrays["boxes"][i] * np.tile(scale, 2)
            category = categories[label - 1]
            mask = keypoints = None
            if "masks" in arrays:
                mask = paste(arrays["masks"][i], box, sample.width, sample.height)
            if "keypoints" in arrays and category.person:
                keypoints = arrays["keypoints"][i] * np.append(scale, 1)
            result.append(Detection(sample.id, category.id, box, float(arrays["scores"][i]), mask, keypoints))
        yield result


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
