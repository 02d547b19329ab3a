"""The coco-small study's path on a tiny folder in COCO's layout, PNG and lossless: identity must equal original."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import pytest
import yaml

from tests.workflow.conftest import TINY_MODEL, Project

pytestmark = pytest.mark.slow


def as_png(root: Path) -> None:
    """Turn a folder's images into PNG files, losslessly from what they decode to."""
    for path in sorted((root / "annotations").glob("*.json")):
        coco: dict[str, Any] = json.loads(path.read_text())
        split = path.stem.partition("_")[2]
        for image in coco["images"]:
            old = root / split / image["file_name"]
            image["file_name"] = old.with_suffix(".png").name
            cv2.imwrite(str(old.with_suffix(".png")), cv2.imread(str(old)))
            old.unlink()
        path.write_text(json.dumps(coco))


def test_identity_equals_original_on_png(project: Project, make_coco: Callable[..., Any]) -> None:
    root = make_coco(images=4, size=(128, 96)).root
    as_png(root)
    study = yaml.safe_load((project.folder / "config" / "coco-small.yaml").read_text())
    study.update(
        datasets={"coco": {"train": "train", "val": "val"}},
        variants=["original", "body-identity", "body-mask_out"],
        models={"tiny": {**TINY_MODEL, "iterations": 6}},
        report={"bootstrap": 100, "people_per_sheet": 1, "vector_formats": []},
    )
    project.study("coco-png", study)
    done = project.snakemake("--config", f"root={root}", config="coco-png")
    assert done.returncode == 0, done.stdout
    out = project.folder / study["output"]
    weights = [
        (out / "models" / "coco" / variant / "tiny" / "seed0" / "weights.safetensors").read_bytes()
        for variant in study["variants"]
    ]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]
    table = pd.read_csv(out / "results" / "tables" / "impact.csv")
    identity = table[table["variant"] == "body-identity"]
    assert (identity["difference"].dropna() == 0).all()
    assert project.jobs("--config", f"root={root}", config="coco-png") == {}
    assert not (project.folder / "results").exists()
