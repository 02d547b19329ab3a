"""Streams: what was encoded comes back bit for bit, and what is no stream of the model is refused."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from anonbench.codec import stream, weights
from anonbench.codec.compressor import Coded, Compressor
from anonbench.codec.stream import MAGIC, Stream
from anonbench.codec.tables import TOTAL, Tables
from anonbench.errors import AnonbenchError
from anonbench.learning.files import save_tensors
from tests.anonymize.conftest import photograph

from .tiny import STEPS, write


@pytest.fixture(scope="module", name="compressor")
def _compressor(tmp_path_factory: pytest.TempPathFactory) -> Compressor:
    return Compressor.load(write(tmp_path_factory.mktemp("codec") / "weights.safetensors"), "cpu")[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(1, 40), height=st.integers(1, 40), seed=st.integers(0, 1000), step=st.sampled_from(STEPS),
    kind=st.sampled_from(["photograph", "noise", "black", "grey"]),
)  # fmt: skip
def test_every_image_comes_back_as_it_was_encoded(
    compressor: Compressor, width: int, height: int, seed: int, step: float, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    pixels = {
        "photograph": lambda: photograph(width, height, seed),
        "noise": lambda: rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "black": lambda: np.zeros((height, width, 3), np.uint8),
        "grey": lambda: np.repeat(rng.integers(0, 256, (height, width, 1), dtype=np.uint8), 3, 2),
    }[kind]()
    coded = compressor.analyse(pixels, step)
    data = compressor.pack(coded)
    told = compressor.stream(coded)
    header = 18 + sum(1 if side < 128 else 2 for side in (width, height, len(told.escapes)))
    assert told.latent_bits == 8 * (len(data) - header)
    found = compressor.unpack(data)
    assert (found.latents == coded.latents).all()
    assert (found.step, found.width, found.height) == (coded.step, width, height)
    assert len(data) <= compressor.longest(-(-width // 8) * -(-height // 8) * 64)
    decoded = compressor.decode(data)
    assert decoded.shape == pixels.shape
    assert decoded.dtype == np.uint8
    assert (decoded == compressor.synthesise(coded)).all()
    assert compressor.encode(pixels, step) == data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.integers(-(2**30), 2**30), min_size=6, max_size=6), height=st.integers(1, 3))
def test_any_integers_come_back(compressor: Compressor, values: list[int], height: int) -> None:
    """Whatever the tables hold: what they do not is an escape."""
    latents = np.zeros((6, height, 1), np.int32)
    latents[:, -1, 0] = values
    coded = Coded(latents, 0, 5, 8 * height - 3)
    assert (compressor.unpack(compressor.pack(coded)).latents == latents).all()
    assert np.isfinite(compressor.estimate(coded))
    assert len(compressor.pack(coded)) <= compressor.longest(64 * height)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(place=st.integers(0, 10_000), flip=st.integers(1, 255), cut=st.integers(0, 400))
def test_damaged_and_cut_streams_are_refused(compressor: Compressor, place: int, flip: int, cut: int) -> None:
    data = compressor.encode(photograph(33, 21, 4))
    wrong = bytearray(data)
    wrong[place % len(data)] ^= flip
    for damaged in (bytes(wrong), data[: cut % len(data)], data + b"\0"):
        with pytest.raises(AnonbenchError):
            compressor.decode(damaged)


def sealed(body: bytes, model: bytes, step: int = 0, version: int = 1) -> bytes:
    """Return bytes with a header and the checksum that belongs to them."""
    bare = struct.pack("<4sB8sBI", MAGIC, version, model, step, 0)
    return bare[:-4] + struct.pack("<I", zlib.crc32(body, zlib.crc32(bare))) + body


def varint(value: int) -> bytes:
    return stream._varints(np.array([value]))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "a number is cut short"),
        (varint(0) + varint(4) + varint(0), "an image of 0x4 pixels has none"),
        (varint(60_000) + varint(60_000) + varint(0), "larger than 16777216 pixels"),
        (varint(2**32) + varint(1) + varint(0), "larger than"),
        (b"\xff" * 9, "a number is too long"),
        (varint(8) + varint(8) + varint(9), "its parts do not fit"),
        (varint(8) + varint(8) + varint(0) + b"abc", "its parts do not fit"),
        (varint(8) + varint(8) + varint(0) + bytes(8), "it ends in nothing"),
        (varint(8) + varint(8) + varint(0) + b"\x01\x02\x03\x04" * 20, "its words are too many or too few"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_headers_that_lie_are_refused_before_anything_is_made(compressor: Compressor, body: bytes, said: str) -> None:
    with pytest.raises(AnonbenchError, match=said):
        compressor.decode(sealed(body, compressor.model))


def test_streams_with_more_or_less_than_an_image_are_refused(compressor: Compressor) -> None:
    """Their checksum and form are right: only the coder's end tells."""
    told = Stream.unpack(compressor.encode(photograph(33, 21, 4)), compressor.model)
    for words in (np.append(np.uint32(7), told.words), told.words[1:]):
        wrong = replace(told, words=words.astype(np.uint32)).pack()
        with pytest.raises(
            AnonbenchError, match=r"a\.bin: is damaged or cut short \(its words are too many or too few"
        ):
            compressor.decode(wrong, file="a.bin")
    with pytest.raises(AnonbenchError, match="its escapes do not fit"):
        compressor.decode(replace(told, escapes=told.escapes + b"\x01").pack())


def test_a_limit_of_pixels_counts_what_is_padded(compressor: Compressor) -> None:
    data = compressor.encode(photograph(9, 9))
    assert compressor.decode(data, max_pixels=256).shape == (9, 9, 3)
    with pytest.raises(AnonbenchError, match="9x9 is larger than 255 pixels, to multiples of 8"):
        compressor.decode(data, max_pixels=255)


def test_whose_it_is(compressor: Compressor, tmp_path: Path) -> None:
    data = compressor.encode(photograph(16, 16))
    other, _ = Compressor.load(write(tmp_path / "other.safetensors", seed=1), "cpu")
    with pytest.raises(AnonbenchError, match=r"a\.bin: was encoded by another model"):
        other.decode(data, file="a.bin")
    with pytest.raises(AnonbenchError, match="is not a stream of this codec"):
        compressor.decode(b"\xff\xd8\xff\xe0" + bytes(100))
    with pytest.raises(AnonbenchError, match="is of version 2, and this reads 1"):
        compressor.decode(sealed(data[18:], compressor.model, version=2))
    with pytest.raises(AnonbenchError, match="has the step number 7 of 2"):
        compressor.decode(sealed(data[18:], compressor.model, step=7))


def test_the_header_is_as_the_page_says(compressor: Compressor) -> None:
    data = compressor.encode(photograph(300, 16), 2.0)
    assert data[:4] == b"anbc"
    assert data[4] == 1
    assert data[5:13] == compressor.model
    assert data[13] == 1
    assert data[14:18] == struct.pack("<I", zlib.crc32(data[18:], zlib.crc32(data[:14] + bytes(4))))
    assert data[18:22] == b"\xac\x02\x10" + bytes([len(Stream.unpack(data, compressor.model).escapes)])
    bare = Stream(compressor.model, 0, 256, 192, b"", np.empty(0, np.uint32))
    assert len(bare.pack()) == len(replace(bare, width=512, height=512).pack()) == 23
    assert len(replace(bare, width=100).pack()) == 22


def test_unknown_steps(compressor: Compressor) -> None:
    with pytest.raises(AnonbenchError, match="was fitted for the steps 1, 2, not for 3"):
        compressor.encode(photograph(8, 8), 3.0)


def test_the_noise_channel(tmp_path: Path) -> None:
    noisy, _ = Compressor.load(write(tmp_path / "weights.safetensors", noise=2.0), "cpu")
    pixels = photograph(40, 32)
    first, again, other = (noisy.encode(pixels, 1.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert noisy.encode(pixels) != noisy.encode(pixels), "without a seed the system's numbers are taken"
    plain, _ = Compressor.load(write(tmp_path / "plain.safetensors"), "cpu")
    added = noisy.analyse(pixels, 1.0, np.random.default_rng(3)).latents - plain.analyse(pixels).latents
    assert added.std() == pytest.approx(2.0, rel=0.15)


def test_real_bits_are_those_that_the_density_estimates(tmp_path: Path) -> None:
    """On latents that come as often as the density says, of an image of 512x512, header included."""
    compressor, _ = Compressor.load(write(tmp_path / "weights.safetensors", channels=16), "cpu")
    rng = np.random.default_rng(0)
    for step, tables in enumerate(compressor.tables):
        rows = []
        for channel in range(16):
            counts = tables.of(channel)[:-1].astype(float)
            rows.append(rng.choice(len(counts), 64 * 64, p=counts / counts.sum()) + tables.first[channel])
        coded = Coded(np.stack(rows).reshape(16, 64, 64).astype(np.int32), step, 512, 512)
        real, estimated = 8 * len(compressor.pack(coded)), compressor.estimate(coded)
        assert real == pytest.approx(estimated, rel=0.02)
        y = torch.from_numpy(coded.latents)[None].float() * tables.step
        literal = -torch.log2(compressor.codec.density(y, tables.step).double()).sum()
        assert estimated == pytest.approx(float(literal), rel=1e-4)


def tampered(path: Path, target: Path, change: Any) -> Path:
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata())
    change(tensors, metadata)
    save_tensors({name: tensors[name].contiguous() for name in sorted(tensors)}, target, metadata)
    return target


def _counts(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    tensors["tables.0.counts"][0] += 1


def _first(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    tensors["tables.1.first"][0] = 2**30


def _missing(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    del tensors["codec.analysis.0.weight"]


def _infinite(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    tensors["codec.analysis.0.weight"][0, 0, 0, 0] = float("inf")


def _architecture(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    metadata[weights.FORMAT] = metadata[weights.FORMAT].replace('"channels": 6', '"channels": 4000')


def _step(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    metadata[weights.FORMAT] = metadata[weights.FORMAT].replace('"steps": [1.0', '"steps": [1' + 400 * "0")


def _more(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    tensors["more"] = torch.zeros(1)


def _other(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    metadata.clear()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_counts, f"counts do not add up to {TOTAL}"),
        (_first, "symbols that cannot be coded"),
        (_missing, r"another architecture than it says, first in 'analysis\.0\.weight'"),
        (_infinite, "holds numbers that are not finite"),
        (_architecture, "another architecture than it says"),
        (_step, r"does not hold a codec of this version \(OverflowError"),
        (_more, "1 tensors that belong to nothing"),
        (_other, "does not hold a codec of this version"),
    ],
)
def test_weights_that_are_no_codec(tmp_path: Path, change: Any, said: str) -> None:
    path = tampered(write(tmp_path / "weights.safetensors"), tmp_path / "wrong.safetensors", change)
    with pytest.raises(AnonbenchError, match=said):
        Compressor.load(path, "cpu")


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [("analysis.0.weight", 3e38, "no finite latents"), ("synthesis.0.weight", 3e38, "no finite pixels")],
)
def test_weights_that_overflow(tmp_path: Path, part: str, value: float, said: str) -> None:
    """They are finite, what comes of them is not: it must not become a black picture."""
    path = tampered(
        write(tmp_path / "weights.safetensors"),
        tmp_path / "wrong.safetensors",
        lambda tensors, _: tensors[f"codec.{part}"].fill_(value),
    )
    compressor, _ = Compressor.load(path, "cpu")
    pixels = photograph(33, 21, 4)
    with pytest.raises(AnonbenchError, match=rf"a\.png: the codec's weights make {said} of it; fit the codec again"):
        compressor.synthesise(compressor.analyse(pixels, file="a.png"), file="a.png")


def test_an_image_that_does_not_fit_into_memory(compressor: Compressor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory")

    data = compressor.encode(photograph(33, 21, 4))
    for part, call in (
        ("latents", lambda: compressor.analyse(photograph(33, 21, 4), file="a")),
        ("images", lambda: compressor.decode(data, file="a")),
    ):
        monkeypatch.setattr(compressor.codec, part, fail)
        with pytest.raises(AnonbenchError, match="a: the memory is not enough for an image of 33x21 at a time; take a"):
            call()
        monkeypatch.undo()


@pytest.mark.parametrize(("likely", "live"), [(TOTAL - 1, 0), (TOTAL - 14, 0), (TOTAL - 1, 5)])
def test_a_large_image_of_which_hardly_anything_is_said_comes_back(
    compressor: Compressor, likely: int, live: int
) -> None:
    """What nearly certain symbols cost is less than their share: while the coder's state is small, nothing."""
    counts = np.array([likely, TOTAL - likely] * 6, np.int32)
    tables = Tables(1.0, np.zeros(6, np.int32), np.full(6, 2, np.int32), counts)
    other = Compressor(compressor.codec, [tables], bytes(8), torch.device("cpu"))
    latents = np.zeros(compressor.architecture.latents(6000, 4000), np.int32)
    latents[0, 0, :live] = 3
    data = other.pack(Coded(latents, 0, 6000, 4000))
    assert len(data) < 100
    found = other.unpack(data, max_pixels=1 << 25)
    assert (found.latents == latents).all()
    assert (found.width, found.height) == (6000, 4000)


def test_a_size_that_does_not_fit_into_memory(compressor: Compressor) -> None:
    """Of tables with one likely symbol, a few bytes are a large image; who raises the limit gets a sentence."""
    likely = Tables(1.0, np.zeros(6, np.int32), np.full(6, 2, np.int32), np.array([TOTAL - 1, 1] * 6, np.int32))
    other = Compressor(compressor.codec, [likely], bytes(8), torch.device("cpu"))
    data = sealed(varint(2**34) + varint(2**20) + varint(0) + b"\x01\x02\x03\x04" * 10, bytes(8))
    with pytest.raises(AnonbenchError, match="a: the memory is not enough for an image of 17179869184x1048576 at"):
        other.decode(data, max_pixels=2**62, file="a")
    certain = replace(likely, counts=np.array([TOTAL, 0] * 6, np.int32))
    other = Compressor(compressor.codec, [certain], bytes(8), torch.device("cpu"))
    with pytest.raises(AnonbenchError, match="a: the memory is not enough for an image of 17179869184x1048576 at"):
        other.decode(data, max_pixels=2**62, file="a")


def test_weights_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match="no such file; run anonbench fit first"):
        Compressor.load(tmp_path / "none", "cpu")
    (tmp_path / "pickle").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(AnonbenchError, match="cannot be read as safetensors"):
        Compressor.load(tmp_path / "pickle", "cpu")
    path = write(tmp_path / "weights.safetensors")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(AnonbenchError, match="cannot be read as safetensors"):
        Compressor.load(path, "cpu")


def test_equal_codecs_are_equal_files(tmp_path: Path) -> None:
    assert write(tmp_path / "a").read_bytes() == write(tmp_path / "b").read_bytes()
    _, origin = Compressor.load(write(tmp_path / "c", {"dataset": "x"}), "cpu")
    assert origin == {"dataset": "x"}
