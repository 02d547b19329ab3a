"""The fit of learned anonymizers: what it may learn from, whose turn it is, what stops it, and that it repeats."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch.nn import functional
from typer.testing import CliRunner

from anonbench import regions
from anonbench.anonymize.contract import FitJob, Stills
from anonbench.anonymize.learned import data, start, training
from anonbench.anonymize.learned.data import Batch, Material
from anonbench.anonymize.learned.loop import ANONYMIZER, RIVALS, Fitting, Players
from anonbench.anonymize.learned.options import LEVELS, FitSettings
from anonbench.anonymize.shard import Shard
from anonbench.cli import app
from anonbench.errors import AnonbenchError
from anonbench.files import read_json, sha256_file, write_json
from anonbench.learning.files import save_tensors
from anonbench.learning.minimax import LEAST_SCALE, Side
from anonbench.learning.video import recognition
from anonbench.records import RegionKind
from anonbench.train import record as train_record
from anonbench.variants import Variant

from .conftest import photograph
from .learned_tiny import ACTIONS, SETTINGS, write_clips

CPU = torch.device("cpu")


def arguments(folder: Path, out: Path, **settings: Any) -> list[str]:
    given = json.dumps({**SETTINGS, **settings})
    return [
        "fit", "--data", str(folder / "data"), "--annotations", str(folder / "annotations"), "--region", "frame",
        "--method", "learned", "--settings", given, "--device", "cpu", "--out", str(out),
    ]  # fmt: skip


def run(folder: Path, out: Path, **settings: Any) -> dict[str, Any]:
    """Fit and return the record; a user's error is raised."""
    done = CliRunner().invoke(app, arguments(folder, out, **settings))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return read_json(out / "fit.json")


def job(folder: Path, stills: Path | None = None, **settings: Any) -> FitJob:
    others = None
    if stills is not None:
        table = stills / "annotations" / "train.images.parquet"
        rows = regions.read(table, regions.IMAGES).to_pylist()
        others = Stills(stills / "data", rows, table.with_name("train.people.parquet"))
    images = folder / "annotations" / "train.images.parquet"
    return FitJob(
        kind=RegionKind.FRAME, root=folder / "data", images=regions.read(images, regions.IMAGES).to_pylist(),
        table=folder / "annotations" / "train.people.parquet", settings=FitSettings.model_validate(SETTINGS | settings),
        seed=0, device="cpu", threads=1, weights=folder / "w", checkpoint=None, sheet=None, origin={},
        facts=regions.facts_of(images), stills=others,
    )  # fmt: skip


def fitting(folder: Path, **settings: Any) -> Fitting:
    material = Material.read(job(folder, **settings))
    players = Players.new(training.architecture(material.settings), material, 0, CPU)
    return Fitting(players, material, 0, CPU)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "small")


def write_start(folder: Path, **record: Any) -> Path:
    """Write what a finished training of the tiny action network leaves, with weights of its own."""
    torch.manual_seed(3)
    network = recognition("r3d_small", 2, [4], [1])
    save_tensors({name: value.contiguous() for name, value in network.state_dict().items()}, folder / start.WEIGHTS)
    settings = {"network": "r3d_small", "small_widths": [4], "small_depths": [1]}
    told = {
        "recipe": {"trainer": "clips", "settings": settings}, "data": {"dataset": "others"}, "seed": 5,
        "actions": list(ACTIONS), "weights_sha256": sha256_file(folder / start.WEIGHTS),
    }  # fmt: skip
    write_json(folder / start.RECORD, {**told, **record})
    return folder


# the start


def test_the_names_of_a_trainings_files_are_those_that_train_writes() -> None:
    assert (start.RECORD, start.WEIGHTS) == (train_record.RECORD, train_record.WEIGHTS)


def test_the_action_network_begins_as_what_was_trained_and_the_others_as_ever(clips: Path, tmp_path: Path) -> None:
    folder = write_start(tmp_path / "start")
    plain, begun = fitting(clips).players, fitting(clips, start=str(folder)).players
    given = load_file(folder / start.WEIGHTS)
    assert all(torch.equal(value, given[name]) for name, value in begun.utility.state_dict().items())
    assert differs(plain.utility.state_dict(), begun.utility.state_dict())
    for name in ("anonymizer", "observers"):
        assert not differs(getattr(plain, name).state_dict(), getattr(begun, name).state_dict())


def test_the_record_of_a_fit_says_whose_training_it_starts_from(clips: Path, tmp_path: Path) -> None:
    folder = write_start(tmp_path / "start")
    record = run(clips, tmp_path / "fit", start=str(folder))
    sha256 = sha256_file(folder / start.WEIGHTS)
    assert record["start"] == {"dataset": "others", "seed": 5, "weights_sha256": sha256}
    assert "start" not in run(clips, tmp_path / "plain")
    assert record["weights_sha256"] != sha256_file(tmp_path / "plain" / "weights.safetensors")


def test_a_checkpoint_of_another_start_is_not_continued(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_start(tmp_path / "start")
    step = Fitting.step

    def stops(learner: Fitting, batch: Batch, iteration: int) -> dict[str, float]:
        if iteration == 5:
            raise KeyboardInterrupt
        return step(learner, batch, iteration)

    with monkeypatch.context() as patched:
        patched.setattr(Fitting, "step", stops)
        CliRunner().invoke(app, arguments(clips, tmp_path / "fit", start=str(folder)))
    assert (tmp_path / "fit" / "checkpoint.pt").is_file()
    weights = load_file(folder / start.WEIGHTS)
    weights["head.bias"] += 1
    save_tensors(weights, folder / start.WEIGHTS)
    told = read_json(folder / start.RECORD)
    write_json(folder / start.RECORD, {**told, "weights_sha256": sha256_file(folder / start.WEIGHTS)})
    done = CliRunner().invoke(app, arguments(clips, tmp_path / "fit", start=str(folder)))
    assert "belongs to another training" in done.output
    assert (tmp_path / "fit" / "fit.json").is_file()


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"actions": ["wave"]}, {}, r"was trained on other actions \(wave\) than those"),
        ({"actions": ["walk", "wave"]}, {}, "in the same order"),
        ({"recipe": {"trainer": "torchvision"}}, {}, "is a training of torchvision"),
        ({"weights_sha256": "0" * 64}, {}, "train it again"),
        ({"weights_sha256": None}, {}, "is not the record of a training"),
        ({}, {"utility_widths": [5]}, r"set utility: r3d_small, utility_widths: \[4\], utility_depths: \[1\]"),
        ({}, {"utility": "r3d_18"}, "holds another network than r3d_18"),
        ({"actions": [1, 2]}, {}, "does not name its actions"),
        ({"actions": None}, {}, "does not name its actions"),
        ({"recipe": {"trainer": "clips", "settings": [1]}}, {"utility": "r3d_18"}, "of a network that a fit can have"),
        (
            {"recipe": {"trainer": "clips", "settings": {"network": "swin3d_t"}}},
            {"utility_widths": [5]},
            "of a network that a fit can have",
        ),
        ({"recipe": {"trainer": "clips", "settings": {"network": "r3d_18"}}}, {"utility": "r3d_18"}, "train it again"),
    ],
)
def test_starts_that_are_none(
    clips: Path, tmp_path: Path, changes: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    folder = write_start(tmp_path / "start", **changes)
    with pytest.raises(AnonbenchError, match=message) as caught:
        run(clips, tmp_path / "fit", start=str(folder), **settings)
    assert "start" in str(caught.value)
    assert not (tmp_path / "fit" / "fit.json").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_start_that_is_no_finite_numbers_is_refused_and_not_the_fit(
    clips: Path, tmp_path: Path, value: float | None
) -> None:
    folder = write_start(tmp_path / "start")
    weights = load_file(folder / start.WEIGHTS)
    name = next(name for name in weights if name.endswith("running_var"))
    weights[name] = weights[name].int() if value is None else torch.full_like(weights[name], value)
    save_tensors(weights, folder / start.WEIGHTS)
    told = read_json(folder / start.RECORD)
    write_json(folder / start.RECORD, {**told, "weights_sha256": sha256_file(folder / start.WEIGHTS)})
    with pytest.raises(AnonbenchError, match=f"first in '{re.escape(name)}'.*train it again"):
        run(clips, tmp_path / "fit", start=str(folder))


@pytest.mark.parametrize("left", [start.RECORD, start.WEIGHTS])
def test_a_start_that_is_not_there_or_cut_short(clips: Path, tmp_path: Path, left: str) -> None:
    with pytest.raises(AnonbenchError, match="contains no finished training"):
        run(clips, tmp_path / "fit", start=str(tmp_path / "nothing"))
    folder = write_start(tmp_path / "start")
    cut = folder / left
    cut.write_bytes(cut.read_bytes()[:40])
    with pytest.raises(AnonbenchError, match=re.escape(left)):
        run(clips, tmp_path / "fit", start=str(folder))


def test_the_action_network_sees_frames_at_its_own_size(clips: Path) -> None:
    learner = fitting(clips, watched=[8, 4])
    frames = torch.rand(2, 3, 2, 16, 16)
    seen = learner._watched(frames)
    assert seen.shape == (2, 3, 2, 4, 8)
    # a triangle as wide as a pixel of what is seen: the mean of what it covers, where nothing changes across it
    flat = learner._watched(torch.arange(16.0).expand(1, 3, 2, 16, 16))
    assert torch.allclose(flat[0, 0, 0, 0, 1:-1], torch.arange(16.0).reshape(8, 2).mean(1)[1:-1])
    assert fitting(clips)._watched(frames) is frames
    sizes = []
    learner.players.utility.register_forward_pre_hook(lambda _, given: sizes.append(tuple(given[0].shape[-2:])))
    learner.step(learner.material.batch(2), 2)
    assert sizes == [(4, 8)]


# files


@pytest.mark.parametrize("level", [level for level in LEVELS if level not in ("b10", "b20", "b70", "b90")])
def test_every_level_is_fitted_and_applied(clips: Path, tmp_path: Path, level: str) -> None:
    settings = {**LEVELS[level], "ensemble": 2, "restart_every": 0, "restart_iterations": 0}
    record = run(clips, tmp_path / "fit", **settings)
    assert record["weights_sha256"] == sha256_file(tmp_path / "fit" / "weights.safetensors")
    assert record["data"]["clips"] == 4
    assert record["data"]["stills"] == 16
    assert record["data"]["attributes"] == ({"hair": ["dark", "fair"]} if settings["loss"] == "vita" else {})
    lens = level == "optics"
    assert [point["iteration"] for point in record["loss_curve"]] == list(range(1, 8 if lens else 9))
    last = record["loss_curve"][-1]
    assert ("identity" in last) != lens
    assert {"utility", "observers", "anonymizer_utility", "anonymizer_privacy", "rms"} <= last.keys()
    assert ("anonymizer_penalty" in last) == (settings["loss"] == "penalty")
    assert ("anonymizer_temporal" in last) == (settings["loss"] == "tedspad")
    assert (tmp_path / "fit" / "samples.png").is_file()
    out = tmp_path / "out"
    shard = Shard(
        clips / "data", clips / "annotations", out, "train", Variant.parse(f"frame-learned-{level}"),
        weights=tmp_path / "fit" / "weights.safetensors", device="cpu",
    )  # fmt: skip
    rows = [json.loads(line) for line in shard.run().read_text().splitlines()]
    assert rows[0]["weights_sha256"] == record["weights_sha256"]
    assert rows[0]["fitted_on"] == {"dataset": "small", "split": "train", "region": "frame"}
    assert all(0 <= row["facts"]["rms"] <= 1 for row in rows if row["type"] == "frame")
    assert len([row for row in rows if row["type"] == "frame"]) == 16


def test_twice_the_same_bytes_whatever_the_threads_that_apply(clips: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(clips, tmp_path / name)
    for file in ("weights.safetensors", "fit.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    for threads in (1, 3):
        Shard(
            clips / "data", clips / "annotations", tmp_path / f"out{threads}", "train",
            Variant.parse("frame-learned-b30"), weights=tmp_path / "a" / "weights.safetensors", device="cpu",
            threads=threads,
        ).run()  # fmt: skip
    names = sorted(path.name for path in (tmp_path / "out1" / "train").iterdir())
    assert len(names) == 16
    for name in names:
        assert sha256_file(tmp_path / "out1" / "train" / name) == sha256_file(tmp_path / "out3" / "train" / name)


@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_stopped_training_goes_on_to_the_same_bytes(
    clips: Path, tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"loss": "vita", "ensemble": 2, "restart_every": 2, "restart_iterations": 1}
    run(clips, tmp_path / "whole", **settings)
    step = Fitting.step

    def stops(learner: Fitting, batch: Batch, iteration: int) -> dict[str, float]:
        if iteration == at:
            raise KeyboardInterrupt
        return step(learner, batch, iteration)

    monkeypatch.setattr(Fitting, "step", stops)
    assert CliRunner().invoke(app, arguments(clips, tmp_path / "parts", **settings)).exit_code != 0
    assert not (tmp_path / "parts" / "fit.json").exists()
    assert (tmp_path / "parts" / "checkpoint.pt").exists() == (at >= 2)
    monkeypatch.setattr(Fitting, "step", step)
    run(clips, tmp_path / "parts", **settings)
    for file in ("weights.safetensors", "fit.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()
    assert not (tmp_path / "parts" / "checkpoint.pt").exists()


# whose turn it is


def test_turns_phases_and_restarts(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = fitting(
        clips, identity_iterations=2, warmup_iterations=1, iterations=12, rival_steps=2, restart_every=6,
        restart_iterations=2,
    )  # fmt: skip
    first, cycle = [ANONYMIZER] * 2 + [RIVALS], [ANONYMIZER, RIVALS, RIVALS] * 2
    anew = [RIVALS] * 2
    assert [learner.turn(k) for k in range(learner.iterations)] == [*first, *cycle, *anew, *cycle[:4]]
    begun = []
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda *_: begun.append(k))
    for k in range(learner.iterations):
        learner.before(k)
    assert begun == [9]


def test_observers_who_began_anew_learn_at_the_full_rate(clips: Path) -> None:
    learner = fitting(
        clips, learning_rate=0.01, rivals_rate=0.5, iterations=12, restart_every=6, restart_iterations=2,
        rate_warmup=0.9, identity_iterations=0, warmup_iterations=0,
    )  # fmt: skip
    rates = [learner.rate(RIVALS, k) for k in range(12)]
    assert rates[6:8] == [0.005, 0.005]
    assert all(rate < 0.004 for rate in (*rates[:6], *rates[8:]))


def test_nobody_begins_anew_for_nothing(clips: Path) -> None:
    """A restart after which the anonymizer has no step is left out, and the steps are played in turns."""
    for iterations, anew in ((8, []), (9, [6]), (16, [6]), (17, [6, 14])):
        learner = fitting(
            clips, identity_iterations=0, warmup_iterations=0, iterations=iterations, restart_every=6,
            restart_iterations=2,
        )  # fmt: skip
        begun = []
        for k in range(iterations):
            before = learner.players.observers[0].project[0].weight.clone()
            learner.before(k)
            if (learner.players.observers[0].project[0].weight != before).any():
                begun.append(k)
        assert begun == anew
        sides = [learner.turn(k) for k in range(iterations)]
        assert sides[6:8] == ([RIVALS] * 2 if anew else [ANONYMIZER, RIVALS])


def test_observers_begin_anew_and_nobody_else(clips: Path) -> None:
    learner = fitting(clips, loss="vita", restart_every=2, restart_iterations=1, warmup_iterations=0)
    batches = learner.batches(0)
    at = learner.begins + 2

    def weights() -> dict[str, torch.Tensor]:
        named = {"observer": learner.players.observers[0].head, "utility": learner.players.utility.head}
        return {name: module.weight.detach().clone() for name, module in named.items()}

    for iteration in range(at):
        learner.step(next(batches), iteration)
    before = weights()
    learner.before(at)
    after = weights()
    assert (before["observer"] != after["observer"]).any()
    assert (before["utility"] == after["utility"]).all()
    optimizer = learner.sides[RIVALS].optimizer
    assert not any(p in optimizer.state for p in learner.players.observers.parameters())
    assert any(p in optimizer.state for p in learner.players.utility.parameters())


@pytest.mark.parametrize("loss", ["penalty", "spact", "tedspad", "vita"])
def test_only_the_side_whose_turn_it_is_moves(clips: Path, loss: str) -> None:
    learner = fitting(clips, loss=loss, identity_iterations=0, warmup_iterations=0)
    state = {name: {k: v.clone() for k, v in one.state_dict().items()} for name, one in networks_of(learner).items()}
    batches = learner.batches(0)
    learner.step(next(batches), 0)
    moved = {name for name, one in networks_of(learner).items() if differs(state[name], one.state_dict())}
    assert moved == {"anonymizer"}  # statistics of batches of the others included
    state["anonymizer"] = {k: v.clone() for k, v in learner.players.anonymizer.state_dict().items()}
    learner.step(next(batches), 1)
    moved = {name for name, one in networks_of(learner).items() if differs(state[name], one.state_dict())}
    assert moved == {"utility", "observers"}


def networks_of(learner: Fitting) -> dict[str, torch.nn.Module]:
    players = learner.players
    return {"anonymizer": players.anonymizer, "utility": players.utility, "observers": players.observers}


def differs(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(value, other[name]) for name, value in one.items())


# the losses in the loop, from networks that stand still


def still(learner: Fitting, logits: torch.Tensor, views: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let action network and observers say the same whatever they see, and the anonymizer add 0.2 to black."""
    monkeypatch.setattr(learner.players.utility, "forward", lambda clips: logits[: len(clips)])
    monkeypatch.setattr(learner.players.utility, "described", lambda clips: (logits[: len(clips)], views[: len(clips)]))
    for one in learner.players.observers:
        monkeypatch.setattr(one, "views", lambda crops: views[: len(crops)])
        monkeypatch.setattr(one, "guesses", lambda crops: [logits[: len(crops)]])
    monkeypatch.setattr(learner.players.anonymizer, "noisy", lambda x: x + 0.2)


def black(learner: Fitting) -> Batch:
    batch = learner.material.batch(0)
    return Batch(
        torch.zeros_like(batch.clips), torch.zeros_like(batch.actions), torch.zeros_like(batch.stills), batch.boxes,
        batch.mirrored, batch.gains, torch.zeros_like(batch.labels),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # logits (1, 0): cross-entropy ln(1 + 1/e); views e1, e2, e3, e1, e2, e3: NT-Xent ln(4 + e^10) - 10
        ({"loss": "penalty", "budget": 0.05, "privacy_weight": 2.0, "penalty_weight": 4.0}, "U - 2 * N + 4 * 0.15"),
        ({"loss": "penalty", "budget": 0.3}, "U - N"),
        ({"loss": "spact", "utility_weight": 0.5}, "0.5 * U - N"),
        ({"loss": "tedspad", "utility_weight": 0.7, "triplet_weight": 0.1}, "0.7 * U - N + 0.7 * 0.1 * T"),
        ({"loss": "vita", "term": "max"}, "U - U"),
        ({"loss": "vita", "term": "entropy", "privacy_weight": 3.0}, "U - 3 * H"),
    ],
)
def test_what_the_anonymizer_minimises(
    clips: Path, settings: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = fitting(clips, **settings)
    views = torch.eye(3).repeat(2, 1)
    still(learner, torch.tensor([[1.0, 0.0]] * 6), views, monkeypatch)
    u, p = math.log(1 + math.exp(-1)), 1 / (1 + math.exp(-1))
    values = {
        "U": u,
        "N": math.log(4 + math.exp(10)) - 10,
        # anchors e1, e2; positives e3, e1; negatives e2, e3: all sqrt(2) apart
        "T": 1.0,
        "H": -(p * math.log(p) + (1 - p) * math.log(1 - p)) / math.log(2),
    }
    found = learner.terms(black(learner), learner.begins, ANONYMIZER)
    assert float(found.loss) == pytest.approx(eval(expected, {}, values), abs=1e-4)
    assert float(sum(value for name, value in found.shown.items() if name != "rms")) == pytest.approx(
        float(found.loss), abs=1e-5
    )
    assert float(found.shown["rms"]) == pytest.approx(0.2)


def test_the_anonymizer_minds_the_attacker_who_does_best(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = fitting(clips, loss="vita", term="max", ensemble=2)
    still(learner, torch.tensor([[1.0, 0.0]] * 6), torch.eye(3).repeat(2, 1), monkeypatch)
    monkeypatch.setattr(
        learner.players.observers[1], "guesses", lambda crops: [torch.tensor([[5.0, 0.0]] * len(crops))]
    )
    found = learner.terms(black(learner), learner.begins, ANONYMIZER)
    assert float(found.shown["anonymizer_privacy"]) == pytest.approx(-math.log(1 + math.exp(-5)), abs=1e-5)


def test_rivals_minimise_their_own_losses(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = fitting(clips, loss="spact", ensemble=2)
    still(learner, torch.tensor([[1.0, 0.0]] * 6), torch.eye(3).repeat(2, 1), monkeypatch)
    found = learner.terms(black(learner), learner.begins, RIVALS)
    n = math.log(4 + math.exp(10)) - 10
    assert float(found.loss) == pytest.approx(math.log(1 + math.exp(-1)) + 2 * n, abs=1e-4)
    assert float(found.shown["observers"]) == pytest.approx(n, abs=1e-4)


def test_beyond_the_budget_the_penalty_brings_pictures_back(clips: Path) -> None:
    """With nothing but the penalty the anonymizer, which begins with random weights, comes within the budget."""
    learner = fitting(
        clips, skip=False, privacy_weight=0, utility_weight=0, penalty_weight=10, budget=0.12, identity_iterations=0,
        warmup_iterations=0, iterations=120, learning_rate=0.02, rival_steps=1,
    )  # fmt: skip
    batches, found = learner.batches(0), []
    for iteration in range(learner.iterations):
        batch = next(batches)
        if learner.turn(iteration) == ANONYMIZER:
            for group in learner.sides[ANONYMIZER].optimizer.param_groups:
                group["lr"] = 0.02
            found.append(learner.step(batch, iteration)["rms"])
    assert found[0] > 0.15
    assert np.mean(found[-5:]) < 0.135


def test_first_steps_teach_the_anonymizer_the_identity(clips: Path) -> None:
    learner = fitting(clips, skip=False, identity_iterations=30, warmup_iterations=0, iterations=1)
    for group in learner.sides[ANONYMIZER].optimizer.param_groups:
        group["lr"] = 0.02
    batches = learner.batches(0)
    errors = [learner.step(next(batches), iteration)["identity"] for iteration in range(30)]
    assert np.mean(errors[-5:]) < 0.75 * errors[0]


# what is seen


def test_first_steps_of_contrast_do_not_bring_brightness_back(clips: Path) -> None:
    learner = fitting(clips, colour="contrast", identity_iterations=30, learning_rate=1e-4)
    batch = learner.material.batch(0)
    error = learner.terms(batch, 0, ANONYMIZER).shown["identity"]
    assert float(error.detach()) < 0.02, "it begins as what it is to show"


def test_a_batch_is_a_function_of_its_number(clips: Path) -> None:
    first, again = (Material.read(job(clips)) for _ in range(2))
    for k in (0, 1):
        again.batch(k)
    for name in Batch.__slots__:
        assert torch.equal(getattr(first.batch(5), name), getattr(again.batch(5), name)), name
    assert not torch.equal(first.batch(5).clips, first.batch(6).clips)
    assert first.batch(5).clips.dtype == torch.uint8


def test_everybody_is_seen_once_in_each_pass(clips: Path) -> None:
    material = Material.read(job(clips))
    found = [k for iteration in (0, 1) for k in material._turn("clips", 4, 2, iteration)]
    assert sorted(found) == [0, 1, 2, 3]
    assert len(material._turn("clips", 3, 8, 0)) == 3


def test_a_view_shows_the_person(clips: Path) -> None:
    """Its box, enlarged or shrunk a little, in pixels of the part that is seen."""
    material = Material.read(job(clips, around=0.0, crop=[1.0, 1.0]))
    batch = material.batch(0)
    # frames of 40 x 30 hold squares of 30: a person of 12 x 20 at (10, 5) has 6.4 x 10.7 of the 16 x 16 pixels
    for x0, y0, x1, y1 in batch.boxes.flatten(0, 1).tolist():
        assert x1 - x0 <= 12 * 16 / 30 + 1e-4
        assert (y0, y1) == pytest.approx((5 * 16 / 30, 25 * 16 / 30), abs=1e-4)
        assert 0 <= x0 < x1 <= 16
    assert (batch.boxes[..., 2] - batch.boxes[..., 0]).mean() > 3


def test_the_triplet_is_twice_the_same_stretch_and_once_another(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "c", frames=9)
    material = Material.read(job(folder, loss="tedspad", crop=[1.0, 1.0], horizontal_flip=0.0))
    seen: list[list[int]] = []
    real = material._part

    def part(row: Any, window: Any, mirrored: bool) -> np.ndarray:
        seen.append([row["video_id"], row["frame_index"]])
        return real(row, window, mirrored)

    material._part = part  # type: ignore[method-assign]
    for iteration in range(6):
        seen.clear()
        batch = material.batch(iteration)
        assert batch.clips.shape == (2, 3, 3, 2, 16, 16)
        for clip in range(2):
            anchor, positive, negative = (seen[clip * 6 + k * 2 : clip * 6 + k * 2 + 2] for k in range(3))
            assert anchor == positive
            assert negative != anchor
            assert {video for video, _ in [*anchor, *negative]} == {anchor[0][0]}


def test_frames_that_do_not_fit_in_memory_are_read_again(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Material.read(job(clips))
    monkeypatch.setattr(data, "KEPT_BYTES", 0)
    read = Material.read(job(clips))
    assert torch.equal(kept.batch(0).clips, read.batch(0).clips)
    assert kept.kept.frames
    assert not read.kept.frames


# what stops it


def test_clips_that_are_too_short(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(
        AnonbenchError, match=r"video 1: has 4 frames, and 4 at a stride of 2 span 7; lower fit\.frames"
    ):
        run(clips, tmp_path / "fit", frames=4, stride=2)


def test_a_missing_frame(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "c", drop=6)
    with pytest.raises(AnonbenchError, match=r"video 2: lacks frame 1 of 4"):
        run(folder, tmp_path / "fit")


def test_one_action_alone(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "c", videos=[{"id": k, "action": "wave", "frames": 4} for k in (1, 2, 3, 4)])
    with pytest.raises(AnonbenchError, match=r"clips of 1 action \(wave\), and telling actions apart takes two"):
        run(folder, tmp_path / "fit")
    folder = write_clips(tmp_path / "d", videos=[])
    with pytest.raises(AnonbenchError, match=r"clips of 0 action, and telling"):
        run(folder, tmp_path / "fit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attributes": ["bag"]}, r"fit attributes: 'bag' does not vary \(none\): there is nothing to hide"),
        ({"attributes": ["shoes"]}, r"says of nobody what 'shoes' is \(known: bag, hair\)"),
    ],
)
def test_attributes_that_do_not_vary(clips: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AnonbenchError, match=message):
        run(clips, tmp_path / "fit", loss="vita", **settings)


def test_no_attributes_at_all(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "c", attributes=False)
    with pytest.raises(AnonbenchError, match="has no attribute of people with two values, and vita hides such"):
        run(folder, tmp_path / "fit", loss="vita")
    run(folder, tmp_path / "fit", loss="spact")


def test_stills_without_people(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "c", boxes=False)
    with pytest.raises(AnonbenchError, match=r"shows 0 people with a box of 4 pixels or more"):
        run(folder, tmp_path / "fit")
    folder = write_clips(tmp_path / "d")
    with pytest.raises(AnonbenchError, match=r"shows 0 people with a box of 21 pixels or more \(of 16 with a box"):
        run(folder, tmp_path / "fit2", min_pixels=21)


def test_where_nobody_has_a_box_of_their_own_pictures_of_crowds_are_the_stills(tmp_path: Path) -> None:
    """As in UCF101 and VISPR, whose labels are of whole videos and photographs."""
    record = run(write_clips(tmp_path / "c", crowds=True), tmp_path / "fit", loss="spact")
    assert record["data"]["stills"] == 16
    with pytest.raises(AnonbenchError, match=r"of 21 pixels or more \(of 0 with a box, and 16 crowds\)"):
        run(tmp_path / "c", tmp_path / "fit2", min_pixels=21)


def test_views_of_a_crowd_are_two_parts_of_what_is_seen(tmp_path: Path) -> None:
    """Of a box as large as the frame both views would be the same, and telling them apart would hide nothing."""
    material = Material.read(job(write_clips(tmp_path / "c", crowds=True), loss="spact"))
    assert all(still.crowd for still in material.stills)
    for iteration in range(20):
        batch = material.batch(iteration)
        one, other = batch.boxes.numpy()
        assert (one != other).any(axis=1).all()
        sides = np.stack([one[:, 2] - one[:, 0], one[:, 3] - one[:, 1]])
        assert sides.min() >= 0.6 * 16 - 1e-3
        assert (one >= 0).all()
        assert (other <= 16).all()


def test_clips_of_one_data_set_and_stills_of_another(tmp_path: Path) -> None:
    """As UCF101's clips and VISPR's photographs, whose ids and names are the same numbers."""
    clips = write_clips(tmp_path / "c", boxes=False)
    others = write_clips(tmp_path / "s", clips=3, size=(60, 50), crowds=True)
    given = ["--stills-data", str(others / "data"), "--stills-annotations", str(others / "annotations")]
    for name in ("a", "b"):
        done = CliRunner().invoke(app, [*arguments(clips, tmp_path / name, loss="vita"), *given])
        assert done.exit_code == 0, done.output
    record = read_json(tmp_path / "a" / "fit.json")
    assert record["dataset"] == "small"
    assert record["stills"] == {"dataset": "small", "split": "train"}
    assert [record["data"][key] for key in ("clips", "stills", "images")] == [4, 12, 28]
    assert record["tables_sha256"].keys() == {
        "train.images.parquet", "train.people.parquet", "stills/train.images.parquet", "stills/train.people.parquet",
    }  # fmt: skip
    for file in ("weights.safetensors", "fit.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    alone = CliRunner().invoke(app, arguments(clips, tmp_path / "alone"))
    assert "shows 0 people" in str(alone.exception)
    assert "look at another one's people (stills_on)" in str(alone.exception)

    material = Material.read(job(clips, stills=others))
    assert {still.picture["width"] for still in material.stills} == {60}
    assert {row["width"] for clip in material.clips for row in clip.frames} == {40}
    still = material.stills[0]
    seen = cv2.cvtColor(cv2.imread(str(others / "data" / still.picture["path"])), cv2.COLOR_BGR2RGB)
    clip_first = material._part(material.clips[0].frames[0], (0, 0, 40, 30), False)
    still_first = material._part(still.picture, (0, 0, 60, 50), False)
    assert still.picture["image_id"] == material.clips[0].frames[0]["image_id"]
    assert (clip_first != still_first).any()
    assert abs(still_first.mean() - seen.mean()) < 3


def test_clips_and_stills_under_one_root_are_no_same_pictures(tmp_path: Path) -> None:
    """Two blocks of one data set, whose splits both begin at image 1."""
    clips = write_clips(tmp_path / "c")
    photo = photograph(60, 50, seed=9)
    (clips / "data" / "photos").mkdir()
    assert cv2.imwrite(str(clips / "data" / "photos" / "1.png"), photo)
    table = clips / "annotations" / "train.images.parquet"
    row = regions.read(table, regions.IMAGES).to_pylist()[0]
    row |= {"path": "photos/1.png", "width": 60, "height": 50, "video_id": None, "frame_index": None}
    people = regions.read(table.with_name("train.people.parquet"), regions.PEOPLE).to_pylist()[:1]
    others = tmp_path / "o.people.parquet"
    regions.write(others, people * 2, regions.PEOPLE)
    given = job(clips)
    material = Material.read(replace(given, stills=Stills(clips / "data", [row], others)))
    assert len(material.pictures) == 17
    material._part(material.clips[0].frames[0], (0, 0, 40, 30), False)
    seen = material._part(material.stills[0].picture, (0, 0, 60, 50), False)
    assert abs(seen.mean() - photo.mean()) < 3
    assert seen.shape == (3, 16, 16)


def test_stills_of_another_data_set_are_told_apart(clips: Path, tmp_path: Path) -> None:
    whole = arguments(clips, tmp_path / "fit")
    for more, said in (
        (["--stills-data", str(clips / "data")], "given together, or neither"),
        (["--stills-data", "x", "--stills-annotations", "y"], "x/download.json"),
    ):
        assert said in str(CliRunner().invoke(app, [*whole, *more]).exception)
    both = ["--stills-data", str(clips / "data"), "--stills-annotations", str(clips / "annotations")]
    swapped = {"learned": "gan", "frame": "body", json.dumps(SETTINGS): "{}"}
    failed = CliRunner().invoke(app, [*(swapped.get(one, one) for one in whole), *both])
    assert "gan looks at the people of its own data set alone" in str(failed.exception)


def test_crowds_beside_people_are_no_stills(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "c")
    table = folder / "annotations" / "train.people.parquet"
    people = regions.read(table, regions.PEOPLE).to_pylist()
    for row in people[::2]:
        row["crowd"] = True
    regions.write(table, people, regions.PEOPLE)
    material = Material.read(job(folder, loss="spact"))
    assert [still.crowd for still in material.stills] == [False] * 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 0}, "budget"),
        ({"budget": 1.5}, "budget"),
        ({"bugdet": 0.3}, "bugdet: unknown key, did you mean 'budget'"),
        ({"width": 15}, "width: 15 is no multiple of 2, which unet needs"),
        ({"network": "unetplusplus"}, None),
        ({"network": "unetplusplus", "width": 24}, "width: 24 is no multiple of 16"),
        ({"taps": 4}, "taps: 4 is even"),
        ({"crop": [0.9, 0.5]}, "crop: the smallest, 0.9, is 0 or above"),
        ({"restart_every": 5}, "restart_iterations"),
        ({"utility_widths": [4, 8]}, "utility_widths and utility_depths differ"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str | None) -> None:
    if message is None:
        FitSettings.model_validate(SETTINGS | settings)
        return
    from anonbench.blocks import explain

    with pytest.raises(ValidationError) as caught:
        FitSettings.model_validate(SETTINGS | settings)
    assert message.split(", did")[0] in explain(caught.value, FitSettings)


def test_fp16_needs_a_gpu(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match="fit precision: fp16 needs a GPU"):
        run(clips, tmp_path / "fit", precision="fp16")


def test_a_damaged_frame_is_named(clips: Path, tmp_path: Path) -> None:
    (clips / "data" / "raw" / "7.png").write_bytes(b"\x89PNG nonsense")
    with pytest.raises(AnonbenchError, match=r"7\.png"):
        run(clips, tmp_path / "fit", iterations=60)


def test_frames_that_were_edited_are_refused(clips: Path) -> None:
    asked = job(clips)
    for row in asked.images:
        row["sha256"] = sha256_file(asked.root / row["path"])
    material = Material.read(asked)
    material.digest(1)
    cv2.imwrite(str(asked.root / "raw" / "7.png"), photograph(40, 30, 99))
    with pytest.raises(AnonbenchError, match=r"7\.png: was edited or damaged after it was written"):
        material.digest(1)
    with pytest.raises(AnonbenchError, match=r"7\.png: was edited or damaged after it was written"):
        [material.batch(iteration) for iteration in range(8)]


@pytest.mark.parametrize("side", ["anonymizer", "rivals"])
def test_a_loss_that_is_no_number_stops_and_the_last_checkpoint_is_kept(
    clips: Path, tmp_path: Path, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the sixth step on a loss is not finite: the message says so, and the checkpoint of the fourth stays good."""
    terms = Fitting.terms

    def broken(learner: Fitting, batch: Batch, iteration: int, whose: str) -> Any:
        found = terms(learner, batch, iteration, whose)
        return found._replace(loss=found.loss * math.nan) if iteration >= 5 and whose == side else found

    monkeypatch.setattr(Fitting, "terms", broken)
    at = 7 if side == "anonymizer" else 6
    with pytest.raises(
        AnonbenchError, match=rf"not finite at iteration {at}: loss = nan; \({side}\) lower it.*is kept"
    ):
        run(clips, tmp_path / "fit")
    assert not (tmp_path / "fit" / "weights.safetensors").exists()
    state = torch.load(tmp_path / "fit" / "checkpoint.pt", weights_only=True)
    assert state["iteration"] == (6 if side == "anonymizer" else 4)
    values = [v for part in ("anonymizer.network", "rivals.utility", "rivals.observers") for v in state[part].values()]
    assert all(bool(torch.isfinite(value.float()).all()) for value in values)


def test_a_gradient_that_is_no_number_stops_before_the_weights_are_moved(clips: Path) -> None:
    """A finite loss may have a gradient that is not: nothing moves, so no checkpoint can hold such weights."""
    learner = fitting(clips, identity_iterations=0, warmup_iterations=0, gradient_clip=None)
    weight = learner.players.anonymizer.network.first[0].weight  # type: ignore[union-attr,index]
    weight.register_hook(lambda gradient: gradient * math.inf)
    before = weight.detach().clone()
    with pytest.raises(AnonbenchError, match=r"not finite at iteration 1: gradient = (nan|inf) \(anonymizer\)"):
        learner.step(learner.material.batch(0), 0)
    assert torch.equal(before, weight.detach())


def test_a_scale_that_has_vanished_stops(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fp16 single overflows are left out; where no scale is small enough the training is over."""
    learner = fitting(clips, identity_iterations=0, warmup_iterations=0)

    class Scaler:
        scale_now = 1.0

        def is_enabled(self) -> bool:
            return True

        def scale(self, loss: torch.Tensor) -> torch.Tensor:
            return loss

        def unscale_(self, optimizer: Any) -> None: ...

        def step(self, optimizer: Any) -> None: ...

        def update(self) -> None: ...

        def get_scale(self) -> float:
            return self.scale_now

    scaler = Scaler()
    monkeypatch.setattr(learner, "scaler", scaler)
    weight = learner.players.anonymizer.network.first[0].weight  # type: ignore[union-attr,index]
    weight.register_hook(lambda gradient: gradient * math.inf)
    learner.step(learner.material.batch(0), 0)  # left out
    scaler.scale_now = LEAST_SCALE / 2
    with pytest.raises(AnonbenchError, match="gradient"):
        learner.step(learner.material.batch(0), 0)


def test_running_out_of_memory_says_the_largest_batch_that_fits(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = Fitting.terms

    def limited(learner: Fitting, batch: Batch, iteration: int, side: str) -> Any:
        if len(batch.clips) > most[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return terms(learner, batch, iteration, side)

    monkeypatch.setattr(Fitting, "terms", limited)
    most = [0]
    for most[0], said in ((2, "2 fit; set clips: 2 and stills: 2, or lower frames"), (1, "not even 2 fit; lower")):
        with pytest.raises(AnonbenchError) as caught:
            run(clips, tmp_path / "fit", clips=4)
        assert f"for 4 clips and 3 stills at a time (iteration 1); {said}" in str(caught.value)
    most[0] = 2
    with pytest.raises(AnonbenchError, match="; 2 fit; set clips: 2"):
        run(clips, tmp_path / "fit", clips=3)  # half of which is one
    run(clips, tmp_path / "fit", clips=2, stills=2)


def test_a_side_that_is_held_has_no_gradient() -> None:
    layer = torch.nn.Linear(2, 2)
    side = Side({"layer": layer}, torch.optim.Adam(layer.parameters()))
    side.learns(False)
    assert not layer.training
    assert not layer.weight.requires_grad
    side.learns(True)
    assert layer.training
    assert side.parameters[0] is layer.weight
    assert functional.linear(torch.ones(1, 2), layer.weight).requires_grad
