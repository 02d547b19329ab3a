"""How far a variant's images are from the originals: the root mean square of the difference, in images of 0 to 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anonbench import manifests
from anonbench.datasets.coco import CocoFile
from anonbench.distortion import rms
from anonbench.report.pictures import read
from anonbench.report.study import ORIGINAL, ReportStudy

MOST = 64
"""Images of a variant that are looked at, at even distances in the order of the file."""


def distortion(study: ReportStudy, anonymized: Path, dataset: str, variant: str) -> float | None:
    """Return the mean over images of the RMS of variant minus original, over pixels and colours, in [0, 1].

    Of the images that models are tested on where the variant has these, else of those that they are trained on; of a
    variant whose method is fitted anew for each seed, the mean over its fits. None for a variant that is not there.
    Raises AnonbenchError for images that are missing or damaged, or others than their manifests tell of.
    """
    if variant == ORIGINAL:
        return 0.0
    folders = [anonymized / dataset / made for made in study.made(variant)]
    found = [apart for folder in folders if (apart := _distortion(study, dataset, folder)) is not None]
    return float(np.mean(found)) if found else None


def _distortion(study: ReportStudy, dataset: str, folder: Path) -> float | None:
    folders = folder.parent / ORIGINAL, folder
    for split in (study.datasets[dataset]["val"], study.datasets[dataset]["train"]):
        annotated = all(manifests.annotations_path(folder, split).is_file() for folder in folders)
        if annotated and manifests.exist(folders[1], split):
            return _of(folders, split)
    return None


def _of(folders: tuple[Path, Path], split: str) -> float | None:
    originals, images = (CocoFile(manifests.annotations_path(folder, split)).images for folder in folders)
    named = {image["id"]: image for image in images}
    hashes = [manifests.image_hashes(folder, split) for folder in folders]
    at = np.unique(np.linspace(0, len(originals) - 1, min(len(originals), MOST)).round().astype(int))
    apart = []
    for image in (originals[k] for k in at):
        if image["id"] in named:
            before, after = (
                read(folder / split, of, known.get(of["file_name"]))
                for folder, of, known in zip(folders, (image, named[image["id"]]), hashes, strict=True)
            )
            apart.append(rms(before, after))
    return float(np.mean(apart)) if apart else None
