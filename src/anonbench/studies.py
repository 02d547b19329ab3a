"""The default study, as values; `anonbench config --write` turns it into config/default.yaml."""

from __future__ import annotations

from typing import Any

CPU_SMALL: dict[str, Any] = {
    "tasks": ["detection", "segmentation", "pose"],
    "architecture": {
        "backbone": "compact",
        "compact_widths": [16, 48, 80],
        "compact_depths": [1, 1, 2],
        "head_norm": "batch",
        "strides": [4, 8, 16],
        "pyramid_channels": 32,
        "proposal_levels": [8, 16],
        "anchor_sizes": [[22, 40], [60, 90]],
        "aspect_ratios": [0.6, 2.6],
        "rpn_samples": 64,
        "rpn_before_nms": 100,
        "rpn_after_nms": 100,
        "rpn_before_nms_test": 100,
        "rpn_after_nms_test": 60,
        "roi_levels": [4],
        "roi_sampling": 1,
        "box_roi_size": 7,
        "box_width": 128,
        "box_samples": 24,
        "box_positive_fraction": 0.4,
        "score_threshold": 0.05,
        "detections_per_image": 20,
        "mask_head": {"roi_size": 10, "widths": [24, 24], "regions_per_image": 6},
        "keypoint_head": {"roi_size": 7, "widths": [96, 96, 96], "regions_per_image": 6},
    },
    "min_size": [192],
    "max_size": 256,
    "batch_size": 8,
    "epochs": 8,
    "optimizer": "adamw",
    "base_learning_rate": 0.004,
    "reference_batch_size": 8,
    "weight_decay": 0.01,
    "gradient_clip": 5,
    "schedule": "cosine",
    "warmup_iterations": 50,
}
"""Boxes, masks and keypoints from scratch in a minute and a half of one core."""

DEFAULT: dict[str, Any] = {
    "name": "default",
    "output": ".",
    "seed": 2023,
    "datasets": {
        "streetlife": {
            "train": "train",
            "val": "val",
            "options": {},
        }
    },
    "variants": [
        "original",
        "body-identity",
        "face-blur-medium",
        "face-mask_out",
        "body-blur-medium",
        "body-pixelate-medium",
        "body-mask_out",
    ],
    "methods": {},
    "anonymize": {"encoder": "source", "shards": 1, "threads": 1, "link": "copy", "strict": False},
    "models": {"cpu-small": CPU_SMALL},
    "train": {"seeds": [0, 1], "device": "cpu", "threads": 1},
    "report": {"margin": 1.0, "bootstrap": 1000, "people_per_sheet": 4},
}
