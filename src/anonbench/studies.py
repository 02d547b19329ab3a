"""The default study, as values; `anonbench config --write` turns it into config/default.yaml."""

from __future__ import annotations

from typing import Any

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
        "face-gan",
        "body-blur-medium",
        "body-pixelate-medium",
        "body-mask_out",
        "body-gan",
    ],
    "methods": {},
    "anonymize": {"encoder": "source", "shards": 1, "threads": 1, "link": "copy", "strict": False},
    "models": {"cpu-small": {"preset": "cpu-short"}},
    # the recipe and the margins were chosen on other seeds (docs/measurements/recipe.md)
    "train": {"seeds": [3, 4, 5], "original_seeds": [6, 7], "device": "cpu", "threads": 1},
    "report": {"margin": 3.0, "margins": {"pose": 2.5}, "bootstrap": 1000, "people_per_sheet": 4},
}
