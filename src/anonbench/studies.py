"""The default study, as values; `anonbench config --write` turns it into config/default.yaml."""

from __future__ import annotations

from typing import Any

_BODY = {"knowledge": "naive", "region": "body", "view": "person", "width": 32, "height": 64}
_FACE = {**_BODY, "region": "face", "view": "region", "height": 32, "attacks": ["link", "reidentify"]}

DEFAULT: dict[str, Any] = {
    "name": "default",
    "output": ".",
    "seed": 2023,
    "datasets": {
        "streetlife": {
            "train": "train",
            "val": "val",
            # people who are looked for: they change no image of train and val
            "options": {"val": 300, "gallery": 240, "probe": 240, "gallery_identities": 200},
        },
        # other streets and other people, from whom attackers learn
        "attacker": {
            "adapter": "streetlife",
            "options": {"seed": 7, "train": 400, "val": 1, "identities": 300, "attributes": True},
        },
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
    "methods": {"gan": {"fit_on": "streetlife"}},  # whoever attacks has the generator, too
    "anonymize": {"encoder": "source", "shards": 1, "threads": 1, "link": "copy", "strict": False},
    "models": {"cpu-small": {"preset": "cpu-short", "datasets": ["streetlife"]}},
    # the recipe and the margins were chosen on other seeds (docs/measurements/recipe.md)
    "train": {"seeds": [3, 4, 5], "original_seeds": [6, 7], "device": "cpu", "threads": 1},
    "attack": {
        "attacks": ["coverage", "find", "link", "reidentify", "infer"],
        "own": {"dataset": "attacker", "split": "train"},
        "probe": "probe",
        "gallery": "gallery",
        "detectors": {"faces": {"plugin": "centerface"}, "people": {"plugin": "hog"}},
        "attackers": {
            "body-naive": _BODY,
            "body-aware": {**_BODY, "knowledge": "aware"},
            "body-silhouette": {**_BODY, "view": "silhouette", "attacks": ["reidentify"]},
            "face-naive": _FACE,
            "face-aware": {**_FACE, "knowledge": "aware"},
            "face-naive-person": {**_FACE, "knowledge": "naive", "view": "person", "height": 64},
            "face-aware-person": {**_FACE, "knowledge": "aware", "view": "person", "height": 64},
            "face-surroundings": {**_BODY, "region": "face", "view": "surroundings", "attacks": ["reidentify"]},
        },
    },
    "report": {"margin": 3.0, "margins": {"pose": 2.5}, "bootstrap": 1000, "people_per_sheet": 4},
}
