"""Where sizes cannot tell which frame labels were drawn in, a detector's boxes can."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anonbench import images
from anonbench.annotate import cli, frame
from anonbench.annotate.frame import Answer, Vote
from anonbench.annotate.image_files import Gate, LabelsOn
from anonbench.annotate.people import convert
from anonbench.datasets.coco import Coco
from anonbench.detectors.config import DetectorConfig
from anonbench.errors import AnonbenchError
from anonbench.files import write_json
from tests.detectors import drawn

CONFIG = '{"plugin": "centerface", "scales": [1.0]}'
SIDE = 90


def stored_of(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Return the pixels that a camera stores, so that undoing the orientation gives ``upright``."""
    pixels = upright
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels.swapaxes(0, 1) if orientation >= 5 else pixels


class Photographs:
    """Images with one drawn face each, whose people are labelled on the upright or on the stored image."""

    def __init__(self, folder: Path, orientations: list[int], labels_on: list[str], box: str = "person") -> None:
        self.root, self.data, self.annotations = folder / "root", folder / "data", folder / "annotations"
        (self.root / "train").mkdir(parents=True)
        entries, people = [], []
        for number, (orientation, frame_) in enumerate(zip(orientations, labels_on, strict=True), start=1):
            width, height = (320, 320) if orientation >= 5 else (320, 240)
            x, y = (180 if orientation >= 5 else 10) + 3 * number, 8 + 2 * number
            pixels = drawn.scene(width, height, [(x, y, SIDE)])
            where = np.zeros((height, width), np.uint8)
            where[y : y + SIDE + 40, x - 5 : x + SIDE + 5] = 1
            if frame_ == "stored":
                where = stored_of(where, orientation)
            rows, columns = np.nonzero(where)
            left, top = int(columns.min()), int(rows.min())
            w, h = int(columns.max()) + 1 - left, int(rows.max()) + 1 - top
            exif = Image.Exif()
            exif[0x0112] = orientation
            stored = np.ascontiguousarray(stored_of(pixels, orientation))
            Image.fromarray(stored).save(self.root / "train" / f"{number}.jpg", quality=95, exif=exif)
            size = {"width": stored.shape[1], "height": stored.shape[0]}
            entries.append({"id": number, "file_name": f"{number}.jpg", **size})
            people.append({"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "bbox": [left, top, w, h]})
            if box == "face":
                people[-1]["face"] = {"bbox": [left, top, w, h]}
        coco = {"images": entries, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
        write_json(self.root / "annotations" / "instances_train.json", coco)
        write_json(self.data / "download.json", {"dataset": "drawn", "root": str(self.root)})

    def annotate(self, labels_on: LabelsOn = LabelsOn.AUTO) -> dict[str, Any]:
        gate = Gate(labels_on=labels_on)
        return convert(Coco().read(self.root, "train"), self.root, self.annotations, "train", gate=gate)

    def check(self, **options: Any) -> None:
        cli.check_frame(self.data, self.annotations, "train", CONFIG, **{"sample": 50, "seed": 0, **options})


MIXED = [2, 3, 4, 8, 5, 3, 2, 6]


@pytest.mark.parametrize("truth", ["upright", "stored"])
@pytest.mark.parametrize("box", ["person", "face"])
def test_the_detector_finds_out(tmp_path: Path, capsys: pytest.CaptureFixture[str], truth: str, box: str) -> None:
    photographs = Photographs(tmp_path, MIXED, [truth] * 8, box)
    assert "8 images have an EXIF orientation" in photographs.annotate()["warnings"][0]
    if truth == "upright":
        photographs.check()
        assert "  upright, as the annotations have it" in capsys.readouterr().out
    else:
        with pytest.raises(typer.Exit) as left:
            photographs.check()
        assert left.value.exit_code == 1
        said = capsys.readouterr().out
        assert "8 images with 8 people whose sizes do not tell" in said
        assert "read upright: 0 of 8 people" in said
        assert "read as stored: 8 of 8 people hold what was detected; 8 images speak for it" in said
        assert "set labels_on of the data set to 'stored'" in said
        photographs.annotate(LabelsOn.STORED)
        photographs.check()
        assert "  stored, as the annotations have it" in capsys.readouterr().out


def test_a_sample_and_a_few_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs = Photographs(tmp_path, [1, 3, 3, 3, 6, 1], ["stored"] * 6)
    photographs.annotate()
    photographs.check(sample=2)
    said = capsys.readouterr().out
    assert "2 images with 2 people" in said
    assert "as stored: 2 of 2" in said
    assert "cannot tell" in said


def test_labels_that_do_not_agree_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Photographs(tmp_path, [3] * 6, ["stored", "upright"] * 3).annotate()
    annotations, root = tmp_path / "annotations", tmp_path / "root"
    answer = frame.check(annotations, "train", root, DetectorConfig.model_validate_json(CONFIG), 50)
    assert [len(side) for side in answer.sides.values()] == [3, 3]
    assert answer.frame is None
    lines = frame.told(answer, "train")
    assert "3 images speak for it, such as" in lines[1]
    assert "cannot tell" in lines[-1]


def test_nothing_to_ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs = Photographs(tmp_path, [1, 1], ["upright"] * 2)
    photographs.annotate()
    photographs.check()
    assert "no image with people has an EXIF orientation" in capsys.readouterr().out


def test_stored_boxes_cannot_tell(tmp_path: Path) -> None:
    photographs = Photographs(tmp_path, [3], ["upright"])
    photographs.annotate()
    write_json(tmp_path / "boxes.json", {"1": [[0, 0, 5, 5, 0.9]]})
    config = DetectorConfig.model_validate({"plugin": "boxes", "options": {"path": str(tmp_path / "boxes.json")}})
    with pytest.raises(AnonbenchError, match="--detector: 'boxes' holds boxes of one frame"):
        frame.check(photographs.annotations, "train", photographs.root, config, 5)


@pytest.mark.parametrize(
    ("upright", "stored", "said"),
    [(6, 0, "upright"), (5, 0, None), (0, 6, "stored"), (1, 8, "stored"), (2, 8, None), (0, 0, None), (50, 50, None)],
)
def test_it_takes_some_images_to_say(upright: int, stored: int, said: str | None) -> None:
    votes = [Vote("a.jpg", 3, 1, 1, 0, "upright")] * upright + [Vote("a.jpg", 3, 1, 0, 1, "upright")] * stored
    answer = Answer([*votes, Vote("a.jpg", 3, 1, 1, 1, "upright")])
    assert answer.frame == said
    assert answer.agrees == (said != "stored")


@given(st.integers(1, 8), st.integers(3, 20), st.integers(3, 20), st.data())
def test_boxes_turn_as_pixels_do(orientation: int, width: int, height: int, data: st.DataObject) -> None:
    x0, y0 = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y0:y1, x0:x1] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", exif=exif)
    header = images.header(stream.getvalue())
    rows, columns = np.nonzero(images.decode(stream.getvalue()).pixels[..., 0])
    expected = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    box = np.array([[x0, y0, x1 - x0, y1 - y0, 0.5]], np.float32)
    turned = frame._upright(box, header)
    assert turned[0, :4].tolist() == expected
    assert (frame._stored(turned, header) == box).all()
