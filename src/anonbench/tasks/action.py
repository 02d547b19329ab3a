"""Action recognition: which of the data set's actions a clip shows.

The truth is the key ``action`` of a video (COCO-VID's `videos`), one of the file's list ``actions``. Kinds of actions
(``action_kinds``) are judged apart: a method that leaves silhouettes alone may keep one kind and lose the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import special

from anonbench.errors import nearest
from anonbench.tasks.base import OTHER, Evidence, Measures, Metric, Outcome, Part, Problem, Task
from anonbench.tasks.truth import Truth, all_finite

ENTRIES = "actions"
"""Key of a trainer's outputs, and of their list in a file of predictions."""
EVERY = "every action"
"""The one part of a data set that tells no kinds of actions apart."""
DIGITS = 6
"""Of a probability in a file of predictions."""
LEAST = 0.05
"""What a model must find of what there is to find beyond chance, for differences to say anything."""


@dataclass(frozen=True, slots=True)
class ClipScores:
    """What a model says of a clip: the probability (0..1) of each action, by name; ``image`` is its first frame."""

    video: int
    image: int
    scores: Mapping[str, float]


class Action(Task):
    """Top-1 accuracy of clips, in per cent, with top-5 and the mean over actions.

    Equal scores share a rank: the accuracy is the expected one where ties are broken at random, so that a model which
    says the same of every action has that of chance. A clip without an answer is wrong. Clips without an action in the
    truth are left out. There is no top-5 among five actions or fewer.

    The floor of a part is beyond chance by `LEAST` of what there is beyond it, or by what clips that are drawn one by
    one leave to luck in one of twenty models that know nothing (the normal approximation of the binomial distribution)
    if that is more. Chance is what the model's own answers get there if they are dealt anew among all clips, as in
    Cohen's kappa (1960): whoever always says the same has that of its action.
    """

    metrics = (Metric("top-1", "%"), Metric("top-5", "%"), Metric("mean class", "%"))
    title = "top-1 accuracy"
    entries = ENTRIES
    all_people: ClassVar[bool] = True

    def encode(self, output: ClipScores, people: frozenset[int]) -> dict[str, Any]:
        """Return a clip's scores as JSON, with the ids of the video and of its first frame."""
        scores = {action: round(float(score), DIGITS) for action, score in output.scores.items()}
        return {"image_id": output.image, "video_id": output.video, "scores": scores}

    def problem(self, entry: dict[str, Any], truth: Truth) -> Problem | None:
        """Return what is wrong with the video of an entry or with its scores."""
        video = entry.get("video_id")
        if type(video) is not int or video not in truth.videos:
            return Problem(f"is of video {video!a:.80}, which the annotations do not have", OTHER)
        if truth.images[entry["image_id"]].get("video_id") != video:
            return Problem(f"has image {entry['image_id']}, which is not of its video {video}", OTHER)
        scores = entry.get("scores")
        if not isinstance(scores, dict) or not all_finite([*scores.values()]):
            return Problem("has no finite score of each action")
        for action in scores:
            if action not in truth.actions:
                return Problem(
                    f"has a score of {action!a:.80}, which is no action there{nearest(action, truth.actions)}", OTHER
                )
        for action in truth.actions:
            if action not in scores:
                return Problem(f"has no score of the action {action!a:.80}", OTHER)
        return None

    def unranked(self, entries: Sequence[dict[str, Any]], trained: bool) -> Problem | None:
        """Return why entries cannot be measured together: two are of one video."""
        seen = set[int]()
        for entry in entries:
            if entry["video_id"] in seen:
                return Problem(f"have two answers for video {entry['video_id']}")
            seen.add(entry["video_id"])
        return None

    def measure(self, truth: Truth, entries: Sequence[dict[str, Any]]) -> Outcome:
        """Judge the clips with an action, each kind of action apart if the truth has kinds."""
        groups, place = truth.groups()
        at = {truth.images[image].get("video_id"): k for image, k in place.items()}
        clips = [
            (at[v], str(video["action"]), v) for v, video in truth.videos.items() if v in at and video.get("action")
        ]
        if not clips:
            return Outcome({}, {}, groups, truth.sampled, skipped={"": "the annotations have no clip with an action"})
        where = np.array([group for group, _, _ in clips])
        shown = np.array([truth.actions.index(action) for _, action, _ in clips])
        said = {entry["video_id"]: entry["scores"] for entry in entries}
        answers = [said.get(video) for _, _, video in clips]
        right = _right(answers, shown, truth.actions)
        every = _measures(right, shown, truth.actions)
        kinds = dict.fromkeys(truth.action_kinds.values()) or {EVERY: None}
        blind = _named(answers, truth.actions)[shown]
        parts = {}
        for kind in kinds:
            of = np.array([truth.action_kinds.get(truth.actions[action], EVERY) == kind for action in shown])
            if of.any():
                parts[kind] = _part(right[of], shown[of], blind[of], where[of], len(groups), truth.actions)
        skipped = {kind: "no clip shows an action of this kind" for kind in kinds if kind not in parts}
        details = {"confusion": _confusion(answers, shown, truth.actions)}
        return Outcome(every, parts, groups, truth.sampled, frozenset(parts), skipped, details)

    def floor_of(self, evidence: Evidence) -> float | None:
        """Return the top-1 accuracy (0..100) beyond which a model has learnt something; None of evidence without it."""
        if "blind" not in evidence or not (clips := float(evidence["instances"].sum())):  # of an earlier version
            return None
        chance = float(evidence["blind"].sum()) / clips
        luck = float(special.ndtri(0.95)) * (chance * (1 - chance) / clips) ** 0.5
        return 100 * min(chance + max(LEAST * (1 - chance), luck), 1.0)

    def score(self, evidence: Evidence, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the top-1 accuracy (0..100) where each video counts as often as its weight says."""
        if weights is None:
            weights = np.ones(len(evidence["right"]))
        with np.errstate(invalid="ignore"):
            return np.asarray(100 * (weights @ evidence["right"]) / (weights @ evidence["instances"]))


def _right(answers: Sequence[Mapping[str, float] | None], shown: np.ndarray, actions: Sequence[str]) -> np.ndarray:
    """Return float64 (N, 2): the chance that a clip's action is the first, and among the first five, of its scores.

    With g scores above that of the action and t others equal to it, its rank is g + 1 ... g + t + 1 with equal chance,
    and among the first k with the chance (k - g) / (t + 1), from 0 to 1.
    """
    found = np.zeros((len(answers), 2))
    for row, (scores, action) in enumerate(zip(answers, shown, strict=True)):
        if scores is None:
            continue
        values = np.array([scores[name] for name in actions])
        above, equal = int((values > values[action]).sum()), int((values == values[action]).sum())
        found[row] = [min(max((k - above) / equal, 0.0), 1.0) for k in (1, 5)]
    return found


def _named(answers: Sequence[Mapping[str, float] | None], actions: Sequence[str]) -> np.ndarray:
    """Return in which share of clips each action is the answer, float64 (A,), those with equal scores in parts."""
    found = np.zeros(len(actions))
    for scores in answers:
        if scores is not None:
            values = np.array([scores[name] for name in actions])
            first = values == values.max()
            found += first / first.sum()
    return found / len(answers)


def _measures(right: np.ndarray, shown: np.ndarray, actions: Sequence[str]) -> Measures:
    top, five = 100 * right.mean(axis=0)
    mean = np.mean([right[shown == action, 0].mean() for action in np.unique(shown)])
    return {
        "top-1": float(top),
        "top-5": float(five) if len(actions) > 5 else None,
        "mean class": float(100 * mean),
    }


def _part(
    right: np.ndarray, shown: np.ndarray, blind: np.ndarray, where: np.ndarray, groups: int, actions: Sequence[str]
) -> Part:
    evidence = {"right": np.zeros(groups), "instances": np.zeros(groups, np.int64), "blind": np.zeros(groups)}
    np.add.at(evidence["right"], where, right[:, 0])
    np.add.at(evidence["instances"], where, 1)
    np.add.at(evidence["blind"], where, blind)
    return Part(_measures(right, shown, actions), len(shown), evidence)


def _confusion(
    answers: Sequence[Mapping[str, float] | None], shown: np.ndarray, actions: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Return how often each action was taken for which, by the first of the highest scores; {} of one never shown."""
    counts: dict[str, dict[str, int]] = {}
    for scores, action in zip(answers, shown, strict=True):
        if scores is not None:
            said = max(actions, key=scores.__getitem__)
            row = counts.setdefault(actions[action], {})
            row[said] = row.get(said, 0) + 1
    return {action: dict(sorted(counts[action].items())) for action in actions if action in counts}
