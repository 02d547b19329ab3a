"""`anonbench encode` and `anonbench decode`."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from anonbench import cli
from anonbench.cli import app
from anonbench.codec.compressor import Compressor
from anonbench.errors import AnonbenchError
from tests.anonymize.conftest import photograph

from .tiny import write


def run(*words: Any) -> str:
    """Run a command in this process; return what it printed."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(name="weights")
def _weights(tmp_path: Path) -> Path:
    return write(tmp_path / "weights.safetensors")


def test_images_become_files_and_files_images(weights: Path, tmp_path: Path) -> None:
    colour, grey = photograph(50, 37), photograph(21, 40)[..., 0]
    cv2.imwrite(str(tmp_path / "colour.png"), colour[..., ::-1])
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    said = run(
        "encode", tmp_path / "colour.png", tmp_path / "grey.png", "--weights", weights, "--out", tmp_path / "bin"
    )
    compressor, _ = Compressor.load(weights, "cpu")
    data = (tmp_path / "bin" / "colour.bin").read_bytes()
    assert data == compressor.encode(colour)
    assert f"{len(data)} bytes, {8 * len(data) / (50 * 37):.4f} bits per pixel (" in said
    said = run("decode", tmp_path / "bin" / "colour.bin", tmp_path / "bin" / "grey.bin", "--weights", weights,
               "--out", tmp_path / "png")  # fmt: skip
    assert "grey.png: 21x40" in said
    shown = cv2.imread(str(tmp_path / "png" / "colour.png"))[..., ::-1]
    assert (shown == compressor.decode(data)).all()
    assert (cv2.imread(str(tmp_path / "png" / "grey.png"))[..., ::-1] == compressor.decode(
        compressor.encode(np.repeat(grey[..., None], 3, 2)))).all()  # fmt: skip


def test_what_is_refused(weights: Path, tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        cv2.imwrite(str(tmp_path / name), photograph(20, 20))
    where = ("--weights", weights, "--out", tmp_path / "out")
    with pytest.raises(AnonbenchError, match=r"a\.jpg: would be written as a\.bin, as .*a\.png is"):
        run("encode", tmp_path / "a.png", tmp_path / "a.jpg", *where)
    with pytest.raises(AnonbenchError, match=r"a\.png, --max-pixels: an image of 20x20 is larger than 500 pixels"):
        run("encode", tmp_path / "a.png", *where, "--max-pixels", 500)
    with pytest.raises(AnonbenchError, match=r"none\.png: no such image"):
        run("encode", tmp_path / "none.png", *where)
    with pytest.raises(AnonbenchError, match=r"none\.bin: no such file"):
        run("decode", tmp_path / "none.bin", *where)
    with pytest.raises(
        AnonbenchError, match=r"a\.jpg: is not a stream of this codec; give what anonbench encode wrote"
    ):
        run("decode", tmp_path / "a.jpg", *where)
    with pytest.raises(AnonbenchError, match=r"a\.png: would be overwritten"):
        run("decode", tmp_path / "a.png", "--weights", weights, "--out", tmp_path)
    assert not (tmp_path / "out").exists()


def test_decode_overwrites_nothing(weights: Path, tmp_path: Path) -> None:
    """A photograph and its stream have one name: what is decoded beside the photograph must not take its place."""
    cv2.imwrite(str(tmp_path / "a.png"), photograph(20, 20))
    before = (tmp_path / "a.png").read_bytes()
    run("encode", tmp_path / "a.png", "--weights", weights, "--out", tmp_path / "bin")
    with pytest.raises(AnonbenchError, match=r"a\.png, .*a\.bin: exists, and may be an original; choose another --out"):
        run("decode", tmp_path / "bin" / "a.bin", "--weights", weights, "--out", tmp_path)
    assert (tmp_path / "a.png").read_bytes() == before


def test_encode_overwrites_streams_alone(weights: Path, tmp_path: Path) -> None:
    """Much is called .bin, such as a file of weights."""
    cv2.imwrite(str(tmp_path / "a.png"), photograph(20, 20))
    kept = weights.rename(tmp_path / "a.bin")
    before = kept.read_bytes()
    with pytest.raises(AnonbenchError, match=r"a\.bin, .*a\.png: exists, and is no stream that could be written anew"):
        run("encode", tmp_path / "a.png", "--weights", kept, "--out", tmp_path)
    assert kept.read_bytes() == before
    for _ in range(2):
        run("encode", tmp_path / "a.png", "--weights", kept, "--out", tmp_path / "out")


def test_what_cannot_be_read_has_a_remedy_of_its_own(weights: Path, tmp_path: Path) -> None:
    """No image is one of a data set, whose annotations could be corrected."""
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.png").write_text("none")
    data = cv2.imencode(".jpg", photograph(90, 90))[1].tobytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    for name, said in (
        ("circle.png", "cannot be read"), ("folder.png", "cannot be read"), ("none.png", "no such image"),
        ("text.png", "no known image format"), ("cut.jpg", "Premature end"),
    ):  # fmt: skip
        with pytest.raises(AnonbenchError, match=rf"{name}: .*{said}.*; give a photograph that can be read"):
            run("encode", tmp_path / name, "--weights", weights, "--out", tmp_path / "out")
    with pytest.raises(AnonbenchError, match=r"circle\.png: no such file"):
        run("decode", tmp_path / "circle.png", "--weights", weights, "--out", tmp_path / "out")


def test_a_file_that_is_too_long_is_not_read(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), photograph(20, 20))
    run("encode", tmp_path / "a.png", "--weights", weights, "--out", tmp_path)
    with (tmp_path / "a.bin").open("ab") as stream:
        stream.truncate(20_000_000_000)  # of which the disk holds nothing
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(AnonbenchError, match=r"a\.bin, --max-pixels: is longer than the stream of any image of"):
        run("decode", tmp_path / "a.bin", "--weights", weights, "--out", tmp_path / "out")


def test_names_that_are_no_unicode_are_printed(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal that is strict about it, the first of these ended the run."""
    files = [tmp_path / os.fsdecode(name) for name in (b"\xff.png", b"\xc3\xa9.png")]
    for file in files:
        file.write_bytes(cv2.imencode(".png", photograph(8, 8))[1].tobytes())
    shown = io.TextIOWrapper(io.BytesIO(), "utf-8", "strict")
    monkeypatch.setattr(sys, "stdout", shown)
    words = ["encode", *map(str, files), "--weights", str(weights), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["anonbench", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    shown.flush()
    said = shown.buffer.getvalue().decode()  # type: ignore[attr-defined]
    assert "\\udcff.bin: " in said
    assert "é.bin: " in said


def test_an_image_that_no_png_can_hold(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Compressor, "decode", lambda *_, **__: np.zeros((1, 1_100_000, 3), np.uint8))
    (tmp_path / "a.bin").touch()
    with pytest.raises(AnonbenchError, match=r"a\.bin: holds an image of 1100000x1, which cannot be written as a PNG"):
        run("decode", tmp_path / "a.bin", "--weights", weights, "--out", tmp_path / "out")


def test_the_noise_follows_the_seed_and_the_name(tmp_path: Path) -> None:
    weights = write(tmp_path / "weights.safetensors", noise=1.0)
    cv2.imwrite(str(tmp_path / "a.png"), photograph(20, 20))
    found = []
    for out, seed in (("x", ("--seed", 1)), ("y", ("--seed", 1)), ("z", ("--seed", 2)), ("w", ())):
        run("encode", tmp_path / "a.png", "--weights", weights, "--out", tmp_path / out, *seed)
        found.append((tmp_path / out / "a.bin").read_bytes())
    assert found[0] == found[1]
    assert len(set(found)) == 3
