"""Attackers who undo a method first: what they restore, that it helps them, and that a killed one continues."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from anonbench import manifests
from anonbench.anonymize import engine
from anonbench.anonymize.contract import make
from anonbench.attack import restoration, trials
from anonbench.attack.attackers import describe_with, learn
from anonbench.attack.attacks.reidentify import Reidentify
from anonbench.attack.attacks.restore import EXAMPLES, Restore, examples
from anonbench.attack.fitting import restored_by
from anonbench.attack.options import AttackerConfig, RestorerConfig
from anonbench.attack.restoration import Restoration, UNet, likeness, ssim
from anonbench.attack.subjects import Subjects, read_subjects
from anonbench.errors import AnonbenchError
from anonbench.records import Region, RegionKind
from anonbench.variants import Variant
from tests.attack.town import build, nothing, person

SIZE = (16, 32)
REVERSE = AttackerConfig(
    knowledge="reverse", width=SIZE[0], height=SIZE[1], iterations=60, batch_size=32, dimensions=32, shift=0.0,
    horizontal_flip=0.0, learning_rate=3e-3,
    restorer=RestorerConfig(iterations=100, batch_size=16, widths=[8, 16], learning_rate=1e-2),
)  # fmt: skip


def striped(count: int, pictures: int, seed: int) -> Subjects:
    """Return people who are known by fine stripes: which of 8 rows is bright, before noise."""
    random = np.random.default_rng(seed)
    bright = random.integers(0, 2, (count, 16)).repeat(2, axis=1)
    crops = random.integers(90, 120, (count * pictures, SIZE[1], SIZE[0], 3)).astype(np.uint8)
    crops += (80 * bright.repeat(pictures, axis=0)[:, :, None, None]).astype(np.uint8)
    who = np.empty(len(crops), dtype=object)
    who[:] = [f"{seed}-{row // pictures}" for row in range(len(crops))]
    rows = np.arange(len(crops))
    return Subjects(crops, rows, rows, who, np.zeros(len(crops), bool), nothing(len(crops)))


def inverted(raw: Subjects) -> Subjects:
    """Return them as a method leaves them that can be undone: bright is dark, at a third of the contrast."""
    crops = (60 + (255 - raw.crops.astype(np.float32)) / 3).round().astype(np.uint8)
    return replace(raw, crops=crops, covered=np.ones(len(raw), bool))


def found(seen: Subjects, raw: Subjects, folder: Path) -> float:
    trial = Reidentify().attempt(restored_by(folder, seen, "cpu"), None, raw, describe_with(folder, "cpu"))
    return float(trials.measure(trial, trials.linkabilities(trial, [10]))["linkability"]["10"])


def test_what_can_be_undone_is_and_then_a_naive_look_is_enough(tmp_path: Path) -> None:
    own, raw = striped(80, 2, 1), striped(40, 2, 2)
    seen = inverted(raw)
    learn("reidentify", REVERSE, inverted(own), own, {"split": "train"}, 0, tmp_path / "reverse", device="cpu")
    naive = REVERSE.model_copy(update={"knowledge": "naive", "restorer": None})
    learn("reidentify", naive, own, own, {"split": "train"}, 0, tmp_path / "naive", device="cpu")
    restored = restored_by(tmp_path / "reverse", seen, "cpu")
    before, after = (np.abs(one.crops.astype(int) - raw.crops).mean() for one in (seen, restored))
    assert after < before / 3
    assert likeness(restored.crops, raw.crops).mean() > 0.5 > likeness(seen.crops, raw.crops).mean()
    assert found(seen, raw, tmp_path / "reverse") > found(seen, raw, tmp_path / "naive") + 0.3
    record = json.loads((tmp_path / "reverse/attacker.json").read_text())
    assert record["restorer"]["crops"] == len(own)
    assert record["restorer"]["loss_curve"][-1]["l1"] < record["restorer"]["loss_curve"][0]["l1"]


def test_whoever_was_left_visible_is_looked_at_as_they_are(tmp_path: Path) -> None:
    own = striped(20, 2, 1)
    quick = REVERSE.model_copy(update={"iterations": 2, "restorer": RestorerConfig(iterations=2, widths=[4, 8])})
    learn("link", quick, inverted(own), own, {}, 0, tmp_path, device="cpu")
    half = np.arange(len(own)) < 10
    seen = replace(own, covered=half)
    restored = restored_by(tmp_path, seen, "cpu")
    assert np.array_equal(restored.crops[~half], own.crops[~half])


def test_what_a_codec_alone_has_altered_is_restored_though_it_hides_nobody(tmp_path: Path) -> None:
    own = striped(20, 2, 1)
    quick = REVERSE.model_copy(update={"iterations": 2, "restorer": RestorerConfig(iterations=2, widths=[4, 8])})
    coded = replace(inverted(own), covered=np.zeros(len(own), bool), coded=True)
    learn("link", quick, coded, own, {}, 0, tmp_path, device="cpu")
    assert json.loads((tmp_path / "attacker.json").read_text())["restorer"]["crops"] == len(own)
    restored = restored_by(tmp_path, coded.only(np.arange(5)), "cpu")
    assert len(restored) == 5
    assert (restored.crops != coded.crops[:5]).any(axis=(1, 2, 3)).all()


def test_nothing_is_restored_where_nobody_was_changed(tmp_path: Path) -> None:
    own = striped(20, 2, 1)
    learn("link", REVERSE.model_copy(update={"iterations": 2}), own, own, {}, 0, tmp_path, device="cpu")
    assert "restorer" not in json.loads((tmp_path / "attacker.json").read_text())
    seen = inverted(own)
    assert restored_by(tmp_path, seen, "cpu") is seen


@pytest.mark.parametrize("killed_in", ["restorer", "attacker"])
def test_a_killed_one_continues_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: str
) -> None:
    from anonbench.attack.learning import Contrast

    own = striped(20, 2, 1)
    quick = REVERSE.model_copy(
        update={"iterations": 8, "checkpoint_every": 3, "restorer": RestorerConfig(iterations=8, widths=[4, 8])}
    )
    learn("link", quick, inverted(own), own, {}, 3, tmp_path / "whole", device="cpu")
    learner = {"restorer": Restoration, "attacker": Contrast}[killed_in]
    step, steps = learner.step, []

    def killed(self: object, batch: object, iteration: int) -> dict[str, float]:
        if iteration == 5:
            raise KeyboardInterrupt
        return step(self, batch, iteration)  # type: ignore[arg-type]

    monkeypatch.setattr(learner, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        learn("link", quick, inverted(own), own, {}, 3, tmp_path / "cut", device="cpu")
    assert not (tmp_path / "cut/attacker.json").exists()
    monkeypatch.setattr(learner, "step", step)

    def counted(self: Restoration, batch: restoration.Batch, iteration: int) -> dict[str, float]:
        steps.append(iteration)
        return of_restorer(self, batch, iteration)

    of_restorer = Restoration.step
    monkeypatch.setattr(Restoration, "step", counted)
    learn("link", quick, inverted(own), own, {}, 3, tmp_path / "cut", device="cpu")
    assert steps == ([3, 4, 5, 6, 7] if killed_in == "restorer" else []), "what had been learnt is not learnt again"
    for name in ("weights.safetensors", "attacker.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "cut").glob("*.pt"))


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (48, 96)])
def test_a_u_net_takes_any_size_and_starts_with_the_picture_as_it_is(size: tuple[int, int]) -> None:
    crops = torch.randint(0, 256, (2, 3, size[1], size[0]), dtype=torch.uint8)
    network = UNet([4, 8, 8])
    assert torch.allclose(network(crops), crops.float() / 255)
    assert np.array_equal(
        restoration.restore(network, crops.numpy().transpose(0, 2, 3, 1), torch.device("cpu")),
        crops.numpy().transpose(0, 2, 3, 1),
    )


def test_ssim_is_that_of_the_publication() -> None:
    """By its formula, in a window at a time."""
    random = np.random.default_rng(0)
    one, other = (random.integers(0, 256, (14, 13, 3)).astype(np.uint8) for _ in range(2))
    taps = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window = np.multiply.outer(taps, taps) / taps.sum() ** 2
    values = []
    for y in range(4):
        for x in range(3):
            for c in range(3):
                a, b = (p[y : y + 11, x : x + 11, c].astype(np.float64) / 255 for p in (one, other))
                ma, mb = (window * a).sum(), (window * b).sum()
                va, vb = (window * a * a).sum() - ma**2, (window * b * b).sum() - mb**2
                cov = (window * a * b).sum() - ma * mb
                c1, c2 = 0.01**2, 0.03**2
                values.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    assert likeness(one[None], other[None])[0] == pytest.approx(np.mean(values), abs=1e-5)
    same = torch.rand(2, 3, 16, 16)
    assert torch.allclose(ssim(same, same), torch.ones(2))


def test_a_restored_picture_is_linked_and_its_likeness_noted() -> None:
    raw = striped(20, 1, 1)
    trial = Restore().attempt(raw, raw, None, lambda crops: crops.reshape(len(crops), -1).astype(np.float32) / 9e3)
    assert trial.likeness is not None
    assert np.allclose(trial.likeness, 1)
    part = trial.among(np.arange(20) < 5, np.arange(20) < 8)
    assert part.likeness is not None
    assert part.scores.shape == (5, 8)
    assert len(part.likeness) == 5
    assert set(trial.pictures) == {"seen", "original"}
    assert len(trial.pictures["seen"]) == EXAMPLES


def test_who_is_looked_at_has_most_in_the_original_picture() -> None:
    """Four of five: the second of an image and of an identity are left out, and so is the one who has least."""
    crops = np.full((7, 4, 4, 3), 100, np.uint8)
    for index, step in enumerate([5, 90, 80, 70, 60, 0, 40]):
        crops[index, ::2] += step
    who = np.array([None, "a", "b", "a", None, None, None], dtype=object)
    subjects = Subjects(
        crops=crops, images=np.array([1, 2, 2, 3, 4, 5, 6]), people=np.arange(7), identities=who,
        covered=np.ones(7, bool), attributes=np.array([{}] * 7, dtype=object),
    )  # fmt: skip
    assert examples(subjects, 4).tolist() == [1, 4, 6, 0]
    assert examples(subjects, 9).tolist() == [1, 4, 6, 0, 5]


def test_a_diverging_restorer_says_what_to_do(tmp_path: Path) -> None:
    own = striped(20, 1, 1)
    wild = REVERSE.model_copy(update={"restorer": RestorerConfig(iterations=50, learning_rate=1e30)})
    with pytest.raises(AnonbenchError, match=r"restorer: the loss is not finite .*lower its learning_rate"):
        learn("link", wild, inverted(own), own, {}, 0, tmp_path, device="cpu")


def anonymized(tmp_path: Path, name: str) -> tuple[np.ndarray, Subjects, Subjects, Subjects]:
    """Return an original crop of a split made by a method, that crop as it is shown, and inverted."""
    random = np.random.default_rng(0)
    picture = cv2.resize(random.integers(0, 256, (20, 16, 3)).astype(np.uint8), (160, 200), interpolation=2)
    boxes = [(20.0, 20.0, 60.0, 150.0), (90.0, 30.0, 50.0, 140.0)]
    town = build(tmp_path, {1: picture}, [person(1, k, box) for k, box in enumerate(boxes, 1)])
    variant = Variant.parse(name)
    method = make(variant)
    regions = []
    for k, box in enumerate(boxes, 1):
        x, y, w, h = (int(v) for v in box)
        regions.append(Region(k, RegionKind.BODY, "test", (x, y, x + w, y + h), np.ones((h, w), bool), box))
    changed = engine.anonymize_image(picture, regions[:1], method)
    rows = [{"image_id": 1, "person_id": k, "status": "anonymized" if k == 1 else "crowd"} for k in (1, 2)]
    out = town.show(name, {1: changed}, rows)
    file = manifests.summary_path(out, "val")
    said = {"method": variant.method, "parameters": method.parameters.model_dump(mode="json"), "region": "body"}
    file.write_text(json.dumps({**json.loads(file.read_text()), **said}))
    raw, seen, inverse = (
        read_subjects(town.variant(v), town.annotations, "val", RegionKind.BODY, "person", (32, 64), inverted=i)
        for v, i in (("original", True), (name, False), (name, True))
    )
    return changed, raw, seen, inverse


@pytest.mark.parametrize("name", ["body-blur-medium", "body-pixelate-medium"])
def test_arithmetic_takes_back_what_the_manifest_says_was_done(tmp_path: Path, name: str) -> None:
    _, raw, seen, inverse = anonymized(tmp_path, name)
    before, after = (np.abs(one.crops[0].astype(int) - raw.crops[0]).mean() for one in (seen, inverse))
    assert after < 0.8 * before
    assert np.array_equal(inverse.crops[1], raw.crops[1]), "who was left visible is not touched"
    assert list(inverse.covered) == [True, False]


def test_what_arithmetic_cannot_take_back_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"not take back anything of mask_out.*restorer of kind unet"):
        anonymized(tmp_path, "body-mask_out")
