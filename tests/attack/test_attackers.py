"""The measuring stick is straight: a planted leak is found, a perfect replacement is at chance, seeds repeat."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anonbench.attack import trials
from anonbench.attack.attackers import describe_with, learn
from anonbench.attack.attacks.reidentify import Reidentify
from anonbench.attack.contract import Trial
from anonbench.attack.options import AttackerConfig
from anonbench.attack.subjects import Subjects
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file
from tests.attack.town import nothing
from tests.faults.faults import inflict

SIZE = (24, 32)
QUICK = AttackerConfig(
    knowledge="aware", width=SIZE[0], height=SIZE[1], iterations=120, batch_size=32, dimensions=32, shift=0.0,
    horizontal_flip=0.0, learning_rate=3e-3,
)  # fmt: skip


def people(count: int, pictures: int, seed: int) -> Subjects:
    """Return people in clothes of their own, each in several pictures before backgrounds of noise."""
    random = np.random.default_rng(seed)
    clothes = random.integers(40, 216, (count, 2, 3))
    crops = random.integers(0, 256, (count * pictures, SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for row in range(len(crops)):
        for half in range(2):
            crops[row, 4 + 12 * half : 16 + 12 * half, 4:20] = clothes[row // pictures, half]
    who = np.empty(len(crops), dtype=object)
    who[:] = [f"{seed}-{row // pictures}" for row in range(len(crops))]
    rows = np.arange(len(crops))
    return Subjects(crops, rows, rows, who, np.zeros(len(crops), bool), nothing(len(crops)))


def replaced(raw: Subjects, colour: int = 90) -> Subjects:
    """Return the same people as a perfect method leaves them: everybody is the same picture."""
    crops = np.full_like(raw.crops, colour)
    return replace(raw, crops=crops, covered=np.ones(len(raw), bool))


def marked(raw: Subjects) -> Subjects:
    """Return them as a method that writes, into four pixels, the colours of what is worn."""
    found = replaced(raw)
    found.crops[:, :2, :2] = raw.crops[:, 8, 8][:, None, None]
    found.crops[:, -2:, -2:] = raw.crops[:, 20, 8][:, None, None]
    return found


def found_again(seen: Subjects, raw: Subjects, own: tuple[Subjects, Subjects], out: Path) -> Trial:
    learn("reidentify", QUICK, *own, {"dataset": "own", "split": "train", "variant": "v"}, 0, out, device="cpu")
    return Reidentify().attempt(seen, raw, raw, describe_with(out, "cpu"))


def test_a_planted_leak_is_found(tmp_path: Path) -> None:
    own, raw = people(100, 2, 1), people(40, 2, 2)
    trial = found_again(marked(raw), raw, (marked(own), own), tmp_path)
    measured = trials.measure(trial, trials.linkabilities(trial, [10]))
    assert measured["linkability"]["10"] > 0.6
    assert measured["chance"]["10"] == 0.1
    assert measured["auc"] > 0.85
    assert measured["covered"] == 1


def test_a_perfect_replacement_is_at_chance_exactly(tmp_path: Path) -> None:
    """All probes are the same picture, so their scores tie: a strict comparison would call the first one found."""
    own, raw = people(60, 3, 1), people(40, 2, 2)
    trial = found_again(replaced(raw), raw, (replaced(own), own), tmp_path)
    measured = trials.measure(trial, trials.linkabilities(trial, [10]))
    assert measured["linkability"]["10"] == pytest.approx(0.1, abs=1e-3)
    assert measured["auc"] == pytest.approx(0.5, abs=1e-3)


def test_a_network_that_describes_everybody_alike_has_failed_and_says_so(tmp_path: Path) -> None:
    raw = people(20, 2, 1)
    quick = QUICK.model_copy(update={"iterations": 2})
    learn("reidentify", quick, raw, raw, {"split": "train"}, 0, tmp_path, device="cpu")
    for value, says in (
        (0.0, "who look different: the attack has failed"),
        (np.nan, "are not finite"),
    ):
        weights = load_file(tmp_path / "weights.safetensors")
        weights["network.head.weight"] = torch.full_like(weights["network.head.weight"], value)
        save_file(weights, tmp_path / "weights.safetensors")
        record = json.loads((tmp_path / "attacker.json").read_text())
        record["weights_sha256"] = sha256_file(tmp_path / "weights.safetensors")
        (tmp_path / "attacker.json").write_text(json.dumps(record))
        with pytest.raises(AnonbenchError, match=says):
            describe_with(tmp_path, "cpu")(raw.crops)


def test_raw_people_are_found_and_other_seeds_find_them_too(tmp_path: Path) -> None:
    own, raw = people(60, 3, 1), people(40, 2, 2)
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        learn("reidentify", QUICK, own, own, {"split": "train"}, seed, folder, device="cpu")
        trial = Reidentify().attempt(raw, raw, raw, describe_with(folder, "cpu"))
        assert trials.measure(trial, trials.linkabilities(trial, [10]))["linkability"]["10"] > 0.9
    one, two = (json.loads((tmp_path / s / "attacker.json").read_text())["weights_sha256"] for s in "01")
    assert one != two


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    own = people(20, 2, 1)
    quick = QUICK.model_copy(update={"iterations": 5})
    for name in ("a", "b"):
        learn(
            "link",
            quick,
            marked(own),
            own,
            {"split": "train"},
            3,
            tmp_path / name,
            device="cpu",
            logs=tmp_path / "logs",
        )
    for file in ("weights.safetensors", "attacker.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_killed_attacker_continues_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from anonbench.attack.learning import Contrast

    own = people(20, 2, 1)
    quick = QUICK.model_copy(update={"iterations": 12, "checkpoint_every": 4})
    learn("link", quick, marked(own), own, {"split": "train"}, 3, tmp_path / "whole", device="cpu")
    step = Contrast.step

    def killed(self: Contrast, batch: object, iteration: int) -> dict[str, float]:
        if iteration == 9:
            raise KeyboardInterrupt
        return step(self, batch, iteration)  # type: ignore[arg-type]

    monkeypatch.setattr(Contrast, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        learn("link", quick, marked(own), own, {"split": "train"}, 3, tmp_path / "cut", device="cpu")
    assert not (tmp_path / "cut" / "attacker.json").exists()
    monkeypatch.setattr(Contrast, "step", step)
    learn("link", quick, marked(own), own, {"split": "train"}, 3, tmp_path / "cut", device="cpu")
    assert (tmp_path / "cut/weights.safetensors").read_bytes() == (tmp_path / "whole/weights.safetensors").read_bytes()


def test_people_are_parted_the_same_way_for_everybody() -> None:
    random = np.random.default_rng(0)
    ids = np.arange(50)
    parts = []
    for _ in range(2):
        scores = random.normal(size=(50, 50)).astype(np.float32)
        trial = Trial(scores, ids, ids, np.ones((50, 50), bool), np.ones(50, bool), ids)
        parts.append(trials.split_people(trial, 0.3, 7))
    assert [len(parts[0][name].probe) for name in ("validation", "test")] == [15, 35]
    for name in ("validation", "test"):
        assert np.array_equal(parts[0][name].probe, parts[1][name].probe)
    assert not set(parts[0]["validation"].probe) & set(parts[0]["test"].gallery)
    few = Trial(scores[:3, :3], ids[:3], ids[:3], np.ones((3, 3), bool), np.ones(3, bool), ids[:3])
    with pytest.raises(AnonbenchError, match="3 people are too few"):
        trials.split_people(few, 0.3, 7)


def test_damaged_attackers_are_named(tmp_path: Path) -> None:
    own = people(20, 2, 1)
    learn("link", QUICK.model_copy(update={"iterations": 2}), own, own, {"split": "train"}, 0, tmp_path, device="cpu")
    inflict(tmp_path, "weights.safetensors", "flip", -1)
    with pytest.raises(AnonbenchError, match=r"weights\.safetensors: is damaged, .* attacker\.json tells of; let"):
        describe_with(tmp_path, "cpu")
    (tmp_path / "attacker.json").write_text("{}")
    with pytest.raises(AnonbenchError, match="is not the record of an attacker"):
        describe_with(tmp_path, "cpu")
    (tmp_path / "attacker.json").unlink()
    with pytest.raises(AnonbenchError, match="contains no attacker"):
        describe_with(tmp_path, "cpu")


def test_nobody_in_the_gallery_is_an_error() -> None:
    raw, others = people(10, 2, 1), people(10, 2, 2)
    with pytest.raises(AnonbenchError, match="nobody of the probe split is in the gallery split"):
        Reidentify().attempt(raw, raw, others, lambda crops: crops.reshape(len(crops), -1).astype(np.float32))


def test_three_people_are_too_few_to_learn_from(tmp_path: Path) -> None:
    few = people(3, 2, 1)
    with pytest.raises(AnonbenchError, match="3 people are too few to learn from"):
        learn("reidentify", QUICK, few, few, {"split": "train"}, 0, tmp_path, device="cpu")
    assert not list(tmp_path.rglob("*.safetensors"))
