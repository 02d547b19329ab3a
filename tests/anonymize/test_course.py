"""What the trainings of all fitted methods have in common: presets, fields, beginning and end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from anonbench import registry
from anonbench.anonymize.contract import FitJob
from anonbench.anonymize.course import Course
from anonbench.anonymize.gan.options import FitSettings
from anonbench.anonymize.recipes import FromPreset
from anonbench.errors import AnonbenchError
from anonbench.learning.loop import Ran
from anonbench.records import RegionKind

FITTED = [name for name in registry.names("methods") if registry.load("methods", name).FitSettings is not None]


def job(tmp_path: Path, **settings: Any) -> FitJob:
    """Return a job of no data."""
    return FitJob(
        kind=RegionKind.FACE, root=tmp_path, images=[], table=tmp_path / "t", settings=FitSettings(**settings), seed=3,
        device="cpu", threads=1, weights=tmp_path / "w", checkpoint=None, sheet=None, origin={"dataset": "d"},
    )  # fmt: skip


@pytest.mark.parametrize("method", FITTED)
def test_what_is_given_beats_the_preset_and_the_preset_the_defaults(method: str) -> None:
    settings = registry.load("methods", method).FitSettings
    assert issubclass(settings, FromPreset)
    plain, published = settings(), settings(preset="published")
    assert plain.checkpoint_every != published.checkpoint_every
    assert settings(preset="published", checkpoint_every=7).checkpoint_every == 7
    wanted = {**settings.presets["published"], **getattr(settings, "own", {})}
    told = published.model_dump()
    assert all(told[name] == value for name, value in wanted.items() if not isinstance(value, dict | list | tuple))
    for wrong in ({"preset": "best"}, {"preset": ["cpu"]}, {"checkpoint_every": 0}, {"determinism": "some"}, "cpu"):
        with pytest.raises(ValidationError):
            settings.model_validate(wrong)


def test_a_training_says_how_long_it_took_and_what_it_was_held_to(tmp_path: Path) -> None:
    course = Course.begin(job(tmp_path, determinism="strict"), "here")
    course.has_read()
    ran = Ran([{"iteration": 1, "loss": 2.0}], iterations=4, images=32, seconds=2.0, loading_seconds=0.1)
    fitted = course.fitted(ran, nn.Linear(3, 2), "abc", {"people": 5}, {"own": 1})
    assert fitted.record == {
        "data": {"people": 5, "images_sha256": "abc"}, "parameters": 8, "own": 1, "loss_curve": ran.curve,
        "device": "cpu", "determinism": "strict",
    }  # fmt: skip
    assert list(fitted.record) == ["data", "parameters", "own", "loss_curve", "device", "determinism"]
    timing = fitted.timing
    assert (timing["training_seconds"], timing["steps_per_second"], timing["images_per_second"]) == (2.0, 2.0, 16.0)
    assert 0 <= timing["reading_seconds"] <= timing["seconds"]
    assert timing["peak_memory_mib"] > 0
    assert torch.get_num_threads() == 1


def test_a_checkpoint_is_of_one_data_seed_and_recipe(tmp_path: Path) -> None:
    course = Course.begin(job(tmp_path), "here")
    key = course.key("abc", {"people": 5}, "anonbench.anonymize.gan.options")
    assert key == Course.begin(job(tmp_path), "here").key("abc", {"people": 5}, "anonbench.anonymize.gan.options")
    others = [
        course.key("abd", {"people": 5}, "anonbench.anonymize.gan.options"),
        course.key("abc", {"people": 6}, "anonbench.anonymize.gan.options"),
        course.key("abc", {"people": 5}, "anonbench.anonymize.learned.options"),
        Course.begin(job(tmp_path, clusters=3), "here").key("abc", {"people": 5}, "anonbench.anonymize.gan.options"),
    ]
    assert len({key, *others}) == 5


def test_a_device_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AnonbenchError, match="no CUDA device"):
        Course.begin(replace(job(tmp_path), device="cuda"), "here")
