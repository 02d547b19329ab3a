"""How far variants are from the originals: over all fits of a method, and of the images that manifests tell of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_study import dump

from anonbench.distortion import rms
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file
from anonbench.manifests import annotations_path, shard_path, summary_path, write_rows
from anonbench.report.apart import distortion
from anonbench.report.study import ReportStudy

STUDY = ReportStudy("s", 7, {"d": {"train": "t", "val": "v"}}, ["original", "body-gan"], {"m": {}}, [0, 1])
FITTED = ReportStudy(
    "s", 7, {"d": {"train": "t", "val": "v"}}, ["original", "body-gan"], {"m": {}}, [0, 1], refitted=("body-gan",)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return images of one grey each: originals 0, a variant 51, and its second fit 102 (of 255)."""
    for variant, grey in (("original", 0), ("body-gan", 51), ("body-gan-fit1", 102)):
        place, name = tmp_path / "d" / variant, "a.png"
        (place / "v").mkdir(parents=True)
        Image.new("RGB", (8, 6), (grey,) * 3).save(place / "v" / name)
        image = {"id": 1, "file_name": name, "width": 8, "height": 6}
        dump(annotations_path(place, "v"), {"images": [image], "annotations": [], "categories": []})
        row = {"type": "image", "image_id": 1, "file_name": name, "sha256": sha256_file(place / "v" / name)}
        write_rows(shard_path(place, "v", 0), [{"type": "shard"}, row])
        shards = [sha256_file(shard_path(place, "v", 0))]
        dump(summary_path(place, "v"), {"shards": shards, "digest": "", "annotations_sha256": ""})
    return tmp_path


def test_rms_is_in_units_of_0_to_1() -> None:
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 51, np.uint8)
    assert rms(black, grey) == rms(grey, black) == pytest.approx(0.2)


def test_a_refitted_variant_is_as_far_as_its_fits_are(folder: Path) -> None:
    assert distortion(STUDY, folder, "d", "original") == 0
    assert distortion(STUDY, folder, "d", "body-gan") == pytest.approx(0.2)
    assert distortion(FITTED, folder, "d", "body-gan") == pytest.approx(0.3)
    assert distortion(STUDY, folder, "d", "face-blur-low") is None


@pytest.mark.parametrize("variant", ["original", "body-gan"])
def test_an_image_that_is_not_its_manifests_is_refused(folder: Path, variant: str) -> None:
    Image.new("RGB", (8, 6), (9, 9, 9)).save(folder / "d" / variant / "v" / "a.png")
    with pytest.raises(AnonbenchError, match=f"{variant}/v/a.png"):
        distortion(STUDY, folder, "d", "body-gan")
