"""Tiny learned anonymizers, and clips of people with attributes for a fit of a second."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from anonbench import regions
from anonbench.anonymize.contract import Method
from anonbench.anonymize.learned import weights
from anonbench.anonymize.learned.networks import Anonymizer
from anonbench.anonymize.learned.options import FitSettings
from anonbench.anonymize.learned.training import architecture
from anonbench.files import write_json
from anonbench.records import RegionKind

from .conftest import photograph

SETTINGS: dict[str, Any] = {
    "width": 16,
    "height": 16,
    "widths": [4, 6],
    "utility_widths": [4],
    "utility_depths": [1],
    "observer_widths": [4, 6],
    "observed": [8, 12],
    "frames": 2,
    "stride": 1,
    "clips": 2,
    "stills": 3,
    "min_pixels": 4,
    "identity_iterations": 1,
    "warmup_iterations": 1,
    "iterations": 6,
    "checkpoint_every": 2,
    "samples_every": 4,
    "zernike": 4,
    "taps": 5,
}
"""A fit of a second."""
ACTIONS = ("wave", "walk")
VALUES = {"hair": ("dark", "fair"), "bag": ("none", "none")}
"""Attributes of the people in turns; the bag does not vary."""


def network(seed: int = 0, **settings: Any) -> Anonymizer:
    """Return an anonymizer with random weights that changes every picture."""
    torch.manual_seed(seed)
    made = Anonymizer(architecture(FitSettings.model_validate({**SETTINGS, "skip": False, **settings})))
    return made.eval().requires_grad_(False)


def write_weights(path: Path, seed: int = 0, **settings: Any) -> Path:
    """Write an anonymizer with random weights."""
    weights.save(path, network(seed, **settings), {"dataset": "none", "split": "train", "region": "frame"})
    return path


def ready(method: Method) -> Method:
    """Return the method with random weights."""
    with tempfile.TemporaryDirectory() as folder:
        method.load(write_weights(Path(folder) / "weights.safetensors"), RegionKind.FRAME, "cpu")
    return method


def write_clips(
    folder: Path,
    clips: int = 4,
    frames: int = 4,
    size: tuple[int, int] = (40, 30),
    videos: list[dict[str, Any]] | None = None,
    attributes: bool = True,
    boxes: bool = True,
    crowds: bool = False,
    drop: int | None = None,
) -> Path:
    """Write clips of people, and the tables that `annotate` would: `data` and `annotations` in a folder, returned.

    ``videos`` is what the table of images says of them; ``drop`` is the id of an image that is not listed. With
    ``crowds`` nobody is told from others.
    """
    (folder / "data" / "raw").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    start = 0
    for clip in range(clips):
        scene = photograph(*size, seed=clip)
        for frame in range(frames):
            image_id = clip * frames + frame + 1
            data = cv2.imencode(".png", np.roll(scene, frame * (1 + clip % 2), 1))[1].tobytes()
            (folder / "data" / "raw" / f"{image_id}.png").write_bytes(data)
            row = {
                "image_id": image_id, "file_name": f"{image_id}.png", "path": f"raw/{image_id}.png", "width": size[0],
                "height": size[1], "labels_on": "upright", "bytes": len(data), "people": 1, "start": start,
                "video_id": clip + 1, "frame_index": frame,
            }  # fmt: skip
            start += len(data)
            if image_id == drop:
                continue
            images.append(row)
            said = {name: of[clip // 2 % 2] for name, of in VALUES.items()}
            people.append(
                {
                    "image_id": image_id, "person_id": image_id, "category": "person", "crowd": crowds, "ignore": False,
                    "box": [10.0, 5.0, 12.0, 20.0] if boxes else None, "area": 200.0,
                    "attributes": json.dumps(said) if attributes else None,
                }
            )  # fmt: skip
    if videos is None:
        videos = [{"id": clip + 1, "action": ACTIONS[clip % 2], "frames": frames} for clip in range(clips)]
    facts = {"videos": videos, "actions": list(ACTIONS)}
    regions.write(folder / "annotations" / "train.images.parquet", images, regions.IMAGES, facts)
    regions.write(folder / "annotations" / "train.people.parquet", people, regions.PEOPLE)
    write_json(folder / "data" / "download.json", {"dataset": "small", "root": "."})
    return folder
