"""What tests share: the committed files, a guard of what runs leave, and a tiny data set in COCO's official layout."""

from __future__ import annotations

import os

from anonbench import portable

portable.settle()  # before a test imports torch
os.environ.setdefault("OMP_NUM_THREADS", "1")  # likewise: the networks are tiny, and files of tests run side by side

import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from anonbench.records import KEYPOINTS, SKELETON  # noqa: E402

PROJECT = Path(__file__).parents[1]
WRITTEN_BY_RUNS = (
    "annotations", "anonymized", "data", "data.dvc", "dvc.lock", "evaluations", "logs", "models", "results", "runs",
    "scratch",
)  # fmt: skip
"""Files and folders of the project that `make demo`, `dvc repro` and other studies write."""


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Let no test open what a run leaves in the working tree: it is this machine's, and may be half-written."""
    if event != "open" or not isinstance(arguments[0], str | os.PathLike):
        return
    if arguments[1] or os.path.isabs(arguments[0]):  # without a mode, a name may be relative to some open folder
        path = os.path.relpath(os.path.abspath(arguments[0]), PROJECT)
        if path.partition(os.sep)[0] in WRITTEN_BY_RUNS:
            raise AssertionError(f"a test opens {path}, which a run writes: read the copy that `committed` returns")


def pytest_configure() -> None:
    """Watch every file that this process opens; set no limit of time, which another machine would break."""
    sys.addaudithook(_guard)
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes after their argument: compressed ones hold the time, and processes must agree on the tests' names."""
    return argname if isinstance(val, bytes) else None


LONGEST = (
    "workflow/test_run.py", "workflow/test_datasets.py", "workflow/test_dvc.py", "promise/test_promises.py",
    "expected/test_expected.py", "train/test_train_training.py", "workflow/test_confound.py", "workflow/test_clips.py",
    "outside/test_counting.py", "workflow/test_ready_made.py", "workflow/test_coco_study.py", "workflow/test_dag.py",
    "workflow/test_attack.py", "workflow/test_order.py",
)  # fmt: skip
"""The files that take longest, as measured, by their names under tests/."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where files are shared out to several processes, let none begin with a long one when the others are done."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        places = {PROJECT / "tests" / name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: places.get(item.path, len(LONGEST)))


def git(*words: str) -> str:
    """Run git in the project; return what it printed."""
    return subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project's files as git's index has them: committed, or staged to be.

    What a run writes (`WRITTEN_BY_RUNS`) tests read here alone, so that a run's leftovers, which are this machine's,
    make no difference. What people write (README, docs, config, sources) they read in the working tree, so that an
    edit is tested before it is committed. Whoever renews results stages them to have them tested (`git add results
    dvc.lock data.dvc`). Skips in a source archive, where nothing says what was committed.
    """
    if not (PROJECT / ".git").exists():
        pytest.skip("no git repository: what is committed is not known")
    folder = tmp_path_factory.mktemp("committed")
    git("checkout-index", "--all", f"--prefix={folder}/")
    return folder


class CocoFolder:
    """``root`` with splits train and val; `instances` is the JSON of a split, written by `save`."""

    def __init__(self, root: Path, images: int = 3, size: tuple[int, int] = (64, 48)) -> None:
        self.root = root
        self.json: dict[str, dict[str, Any]] = {}
        for number, split in enumerate(("train", "val")):
            self.json[split] = self._split(split, images, size, seed=number)
            self.save(split)

    def _split(self, split: str, images: int, size: tuple[int, int], seed: int) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        width, height = size
        (self.root / split).mkdir(parents=True)
        coco: dict[str, Any] = {
            "info": {"description": "made by a test"},
            "licenses": [],
            "images": [],
            "annotations": [],
            "categories": [
                {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(KEYPOINTS),
                 "skeleton": [list(limb) for limb in SKELETON]},
                {"id": 3, "name": "car", "supercategory": "vehicle"},
            ],
        }  # fmt: skip
        for image_id in range(1, images + 1):
            pixels = rng.integers(60, 200, (height, width, 3), dtype=np.uint8)
            pixels = cv2.blur(pixels, (5, 5))
            name = f"{image_id:06d}.jpg"
            if image_id < images:  # the last image has a car and nobody in it
                x, y, w, h = 8 + 4 * image_id, 6, 16, 36
                pixels[y : y + h, x : x + w] = (40, 60 * image_id % 256, 220)
                keypoints = [0.0] * 51
                for index, (dx, dy) in enumerate([(8, 5), (6, 4), (10, 4), (4, 5), (12, 5), (3, 11), (13, 11)]):
                    keypoints[3 * index : 3 * index + 3] = [float(x + dx), float(y + dy), 2.0]
                coco["annotations"].append(
                    {"id": 10 * image_id, "image_id": image_id, "category_id": 1, "iscrowd": 0,
                     "bbox": [float(x), float(y), float(w), float(h)], "area": float(w * h),
                     "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                     "keypoints": keypoints, "num_keypoints": 7}
                )  # fmt: skip
            coco["annotations"].append(
                {"id": 10 * image_id + 1, "image_id": image_id, "category_id": 3, "iscrowd": 0,
                 "bbox": [40.0, 30.0, 20.0, 12.0], "area": 240.0,
                 "segmentation": [[40, 30, 60, 30, 60, 42, 40, 42]]}
            )  # fmt: skip
            pixels[30:42, 40:60] = (200, 30, 30)
            cv2.imwrite(str(self.root / split / name), pixels)
            coco["images"].append({"id": image_id, "file_name": name, "width": width, "height": height})
        return coco

    def save(self, split: str) -> Path:
        """Write the split's JSON as instances_<split>.json (keypoints inside) and return its path."""
        path = self.root / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(self.json[split]))
        return path

    def person(self, split: str = "train", number: int = 0) -> dict[str, Any]:
        """Return the annotation of the split's ``number``-th person, to be changed in place."""
        return [a for a in self.json[split]["annotations"] if a["category_id"] == 1][number]


@pytest.fixture
def make_coco(tmp_path: Path) -> Callable[..., CocoFolder]:
    """Return a function that makes a `CocoFolder` under the test's folder."""
    return lambda name="coco", **options: CocoFolder(tmp_path / name, **options)
