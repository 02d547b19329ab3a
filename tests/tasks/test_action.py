"""Actions of clips: ranks, ties, kinds, what is drawn, and what is refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anonbench.errors import AnonbenchError
from anonbench.evaluate import evidence
from anonbench.evaluate.inputs import read_predictions
from anonbench.evaluate.metrics import evaluate, evaluate_files
from anonbench.statistics.resampling import Draw
from anonbench.tasks.action import ClipScores
from anonbench.tasks.base import Outcome, load
from anonbench.tasks.truth import Truth, read_annotations
from tests.tasks.task_contract import check

ACTIONS = ["walk", "run", "wave", "sit", "read", "carry"]
KINDS = dict(zip(ACTIONS, ["outline"] * 4 + ["detail"] * 2, strict=True))
FRAMES = 3


def value(shown: list[str | None], **changes: Any) -> dict[str, Any]:
    """Return COCO-VID annotations of clips of three frames, each with a person in it."""
    images = [
        {"id": 10 * v + f, "file_name": f"{v}_{f}.png", "width": 32, "height": 24, "video_id": v, "frame_index": f}
        for v, f in itertools.product(range(1, len(shown) + 1), range(FRAMES))
    ]
    people = [
        {"id": i["id"], "image_id": i["id"], "category_id": 1, "bbox": [1, 1, 9, 20], "area": 180} for i in images
    ]
    videos = [{"id": v, "width": 32, "height": 24, "frames": FRAMES} for v in range(1, len(shown) + 1)]
    for video, action in zip(videos, shown, strict=True):
        video |= {} if action is None else {"action": action}
    category = {"id": 1, "name": "person", "supercategory": "person"}
    found = {"images": images, "annotations": people, "categories": [category], "videos": videos, "actions": ACTIONS}
    return {**found, "action_kinds": KINDS, **changes}


def truth_of(folder: Path, shown: list[str | None], **changes: Any) -> Truth:
    path = folder / "val.json"
    path.write_text(json.dumps(value(shown, **changes)))
    return read_annotations(path)


def entry(video: int, scores: dict[str, float]) -> dict[str, Any]:
    full = {action: scores.get(action, 0.0) for action in ACTIONS}
    return load("action").encode(ClipScores(video, 10 * video, full), frozenset())


def measured(truth: Truth, entries: list[dict[str, Any]]) -> Outcome:
    return load("action").measure(truth, entries)


@pytest.mark.parametrize("kinds", [KINDS, {}])
def test_the_task_keeps_the_contract(tmp_path: Path, kinds: dict[str, str]) -> None:
    random = np.random.default_rng(0)
    shown: list[str | None] = [ACTIONS[n] for n in random.integers(0, 6, 40)]
    shown[3] = shown[17] = None
    truth = truth_of(tmp_path, shown, action_kinds=kinds)
    scores = np.round(random.dirichlet(np.ones(6), 40), 1)  # with ties
    entries = [entry(v, dict(zip(ACTIONS, scores[v - 1].tolist(), strict=True))) for v in range(1, 41)]
    check(load("action"), truth, entries)
    outcome = measured(truth, entries)
    assert outcome.sampled == "video"
    assert len(outcome.groups) == 40
    assert list(outcome.parts) == (["outline", "detail"] if kinds else ["every action"])
    assert sum(part.instances for part in outcome.parts.values()) == 38
    assert outcome.people == set(outcome.parts)


def test_top_one_top_five_and_the_mean_over_actions_by_hand(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, ["walk", "walk", "walk", "run"], action_kinds={})
    last = {action: 1.0 for action in ACTIONS if action != "walk"}
    entries = [
        entry(1, {"walk": 0.9, "run": 0.1}),  # right
        entry(2, {"walk": 0.4, "run": 0.6}),  # second
        entry(3, last),  # sixth of six
        entry(4, {"run": 1.0}),  # right
    ]
    outcome = measured(truth, entries)
    assert outcome.overall == {"top-1": 50.0, "top-5": 75.0, "mean class": pytest.approx(100 * (1 / 3 + 1) / 2)}
    assert outcome.details == {"confusion": {"walk": {"run": 2, "walk": 1}, "run": {"run": 1}}}
    missing = measured(truth, entries[1:])
    assert missing.overall["top-1"] == 25.0, "a clip without an answer is wrong"


def test_equal_scores_share_a_rank(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, ["walk", "read"], action_kinds={})
    same = [entry(v, dict.fromkeys(ACTIONS, 1 / 6)) for v in (1, 2)]
    outcome = measured(truth, same)
    assert outcome.overall["top-1"] == pytest.approx(100 / 6), "who says the same of all has the accuracy of chance"
    assert outcome.overall["top-5"] == pytest.approx(100 * 5 / 6)
    pair = measured(truth, [entry(1, {"walk": 0.5, "run": 0.5}), entry(2, {"walk": 0.5, "run": 0.5})])
    assert pair.overall["top-1"] == pytest.approx(25)


def test_kinds_are_judged_apart_but_against_all_actions(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, ["walk", "run", "read", "carry"])
    entries = [entry(1, {"walk": 1}), entry(2, {"run": 1}), entry(3, {"carry": 1}), entry(4, {"walk": 1})]
    parts = measured(truth, entries).parts
    assert parts["outline"].measures["top-1"] == 100
    assert parts["detail"].measures["top-1"] == 0
    alone = measured(truth_of(tmp_path, ["walk"]), entries[:1])
    assert alone.skipped == {"detail": "no clip shows an action of this kind"}


def test_five_actions_have_no_top_five(tmp_path: Path) -> None:
    few = truth_of(tmp_path, ["walk"], actions=ACTIONS[:5], action_kinds={})
    scores = {action: float(action == "walk") for action in ACTIONS[:5]}
    assert measured(few, [{"image_id": 10, "video_id": 1, "scores": scores}]).overall["top-5"] is None


def test_weights_draw_videos(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, ["walk", "walk"], action_kinds={})
    outcome = measured(truth, [entry(1, {"walk": 1}), entry(2, {"run": 1})])
    found = outcome.parts["every action"].evidence
    assert found is not None
    of = load("action").score(found, np.array([[2, 0], [0, 2], [3, 1], [0, 0]]))
    assert of[:3].tolist() == [100.0, 0.0, 75.0]
    assert np.isnan(of[3])


def floors(truth: Truth, said: list[str]) -> dict[str, tuple[float, bool]]:
    """Return the floor of each part for a model that names these actions, and whether it has learnt."""
    task = load("action")
    entries = [entry(v, {action: 1.0}) for v, action in enumerate(said, 1)]
    found = {}
    for name, part in measured(truth, entries).parts.items():
        assert part.evidence is not None
        floor = task.floor_of(part.evidence)
        assert floor is not None
        found[name] = floor, task.learnt(float(part.measures["top-1"] or 0), floor)
    return found


@pytest.mark.parametrize("kinds", [KINDS, {}])
@pytest.mark.parametrize("always", ["walk", "read"])
def test_who_always_says_the_same_has_learnt_nothing_however_common_it_is(
    tmp_path: Path, kinds: dict[str, str], always: str
) -> None:
    shown: list[str | None] = [*["walk"] * 200, *["run"] * 50, *["read"] * 75, *["carry"] * 75]
    assert not any(
        learnt for _, learnt in floors(truth_of(tmp_path, shown, action_kinds=kinds), [always] * 400).values()
    )


def test_the_floor_by_hand(tmp_path: Path) -> None:
    """Half of the answers are `walk`, which a half of the clips show, and the others `run`."""
    shown: list[str | None] = ["walk", "walk", "run", "run"] * 25
    found = floors(truth_of(tmp_path, shown, action_kinds={}), ["walk", "run"] * 50)
    assert found["every action"] == (pytest.approx(50 + 100 * 1.6448536 * (0.25 / 100) ** 0.5), False)
    many: list[str | None] = [ACTIONS[n % 5] for n in range(4000)]
    right = floors(truth_of(tmp_path, many, action_kinds={}), [str(action) for action in many])
    assert right["every action"] == (pytest.approx(20 + 0.05 * 80), True), "luck is less than a twentieth of 80"
    kinds = floors(truth_of(tmp_path, [ACTIONS[n % 6] for n in range(240)]), [ACTIONS[n % 6] for n in range(240)])
    assert kinds["outline"] == (pytest.approx(100 * (1 / 6 + 1.6448536 * (5 / 36 / 160) ** 0.5)), True)
    assert load("action").floor_of({"right": np.ones(3), "instances": np.ones(3)}) is None, "of an earlier version"


def test_blind_models_pass_the_floor_about_once_in_twenty(tmp_path: Path) -> None:
    """Whatever they like to say: of two kinds each passes about as often, and both together at most twice."""
    random = np.random.default_rng(0)
    shown: list[str | None] = [ACTIONS[n % 6] for n in range(120)]
    truth = truth_of(tmp_path, shown)
    passed = []
    for liking in (0.1, 1.0, 100.0):
        for _ in range(100):
            said = random.choice(ACTIONS, 120, p=random.dirichlet(np.full(6, liking))).tolist()
            passed.append([learnt for _, learnt in floors(truth, said).values()])
    assert np.mean(passed) < 0.06
    assert np.any(passed, axis=1).mean() < 0.12


def test_subsets_count_the_clips_of_their_images(tmp_path: Path) -> None:
    data = value(["walk", "run"], action_kinds={})
    for image in data["images"]:
        image["subsets"] = ["near" if image["video_id"] == 1 else "far"]
    (tmp_path / "val.json").write_text(json.dumps(data))
    truth = read_annotations(tmp_path / "val.json")
    predictions = written(tmp_path, [entry(1, {"walk": 1}), entry(2, {"walk": 1})])
    found, _ = evaluate(truth, read_predictions(predictions, truth))
    assert {name: of["tasks"]["action"]["overall"]["top-1"] for name, of in found["subsets"].items()} == {
        "near": 100.0,
        "far": 0.0,
    }


def test_without_actions_nothing_is_judged(tmp_path: Path) -> None:
    outcome = measured(truth_of(tmp_path, [None, None]), [])
    assert outcome.skipped == {"": "the annotations have no clip with an action"}
    assert outcome.parts == {}


def written(folder: Path, entries: Any) -> Path:
    path = folder / "predictions.json"
    model = {"weights_sha256": "0" * 64, "tasks": ["action"], "trainer": "clips"}
    path.write_text(json.dumps({"categories": [{"id": 1, "name": "person"}], "model": model, "actions": entries}))
    return path


def test_files_go_through_evaluate(tmp_path: Path) -> None:
    truth_of(tmp_path, ["walk", "run", "read", "carry"])
    entries = [entry(v, {"walk": 1}) for v in (1, 2, 3, 4)]
    found = evaluate_files(written(tmp_path, entries), tmp_path / "val.json", tmp_path, draw=Draw(50, 1, "x"))
    assert found["tasks"]["action"]["parts"]["outline"]["top-1"] == 50
    assert found["tasks"]["action"]["details"]["confusion"]["carry"] == {"walk": 1}
    kept = evidence.read(tmp_path / "evidence.npz", Draw(50, 1, "x"))["action"]
    assert kept.sampled == "video"
    assert {name: len(of) for name, of in kept.replicates.items()} == {"outline": 50, "detail": 50}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"video_id": 9}, "action 1: is of video 9, which the annotations do not have"),
        ({"video_id": True}, "action 1: is of video True"),
        ({"image_id": 10}, "action 1: has image 10, which is not of its video 2"),
        ({"image_id": 99}, "action 1: lies in image 99"),
        ({"scores": [0.5] * 6}, "action 1: has no finite score of each action"),
        ({"scores": {**dict.fromkeys(ACTIONS, 0.1), "walk": float("nan")}}, "has no finite score of each action"),
        ({"scores": {**dict.fromkeys(ACTIONS, 0.1), "walk": "much"}}, "has no finite score of each action"),
        ({"scores": dict.fromkeys(ACTIONS[1:], 0.1)}, "has no score of the action 'walk'"),
        ({"scores": {**dict.fromkeys(ACTIONS, 0.1), "wlak": 1}}, r"score of 'wlak', which is no action there .*'walk'"),
    ],
)
def test_wrong_entries_are_refused(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    truth = truth_of(tmp_path, ["walk", "run"])
    path = written(tmp_path, [entry(1, {"walk": 1}), entry(2, {"run": 1}) | wrong])
    with pytest.raises(AnonbenchError, match=said):
        read_predictions(path, truth)


def test_two_answers_for_a_clip_are_refused(tmp_path: Path) -> None:
    truth = truth_of(tmp_path, ["walk", "run"])
    path = written(tmp_path, [entry(1, {"walk": 1}), entry(1, {"run": 1})])
    with pytest.raises(AnonbenchError, match="two answers for video 1"):
        read_predictions(path, truth)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"actions": ["walk", "walk"]}, "actions: is not a list of different names"),
        ({"actions": [1]}, "actions: is not a list of different names"),
        ({"actions": ["run"], "action_kinds": {}}, "video 1: has the action 'walk', which is not among"),
        ({"action_kinds": {"walk": "outline"}}, "action_kinds: does not give each action one kind"),
        ({"action_kinds": dict.fromkeys(ACTIONS, 3)}, "action_kinds: does not give each action one kind"),
        ({"action_kinds": ["outline"]}, "action_kinds: does not give each action one kind"),
    ],
)
def test_a_wrong_truth_is_refused(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(AnonbenchError, match=said):
        truth_of(tmp_path, ["walk"], **wrong)
