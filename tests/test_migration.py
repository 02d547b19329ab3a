"""Studies and recipes of the old form: rewritten with their comments, anchors and order, to the same values."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from anonbench import config
from anonbench import recipe as recipes
from anonbench.cli import app
from anonbench.errors import AnonbenchError
from anonbench.migration import migrated
from anonbench.train.rcnn import Architecture

OLD = """\
# My study.
name: mine
datasets:
  streetlife: {options: {train: 8, val: 4}}  # a few images
variants:
  - original
  - face-mask_out
models:
  first: &base
    preset: cpu-small
    # what it sees
    min_size: [96]  # the shorter side
    max_size: 128
    epochs: 2
  second:
    <<: *base
    architecture: {box_width: 64}
  third: {<<: *base, epochs: 3}
  fourth: {preset: cpu-small, horizontal_flip: 0.0, epochs: 1}
"""
NEW = """\
# My study.
name: mine
datasets:
  streetlife: {options: {train: 8, val: 4}}  # a few images
variants:
  - original
  - face-mask_out
models:
  first: &base
    preset: cpu-small
    # what it sees
    settings:
      min_size: [96] # the shorter side
      max_size: 128
    epochs: 2
  second:
    <<: *base
    settings:
      architecture: {box_width: 64}
      min_size: [96] # the shorter side
      max_size: 128
  third: {<<: *base, epochs: 3}
  fourth: {preset: cpu-small, settings: {horizontal_flip: 0.0}, epochs: 1}
"""


def run(*words: str | Path) -> tuple[str, str]:
    """Run the command; return what it wrote to standard output and to standard error."""
    done = CliRunner().invoke(app, ["config", *map(str, words)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def test_a_study_of_the_old_form_says_where_each_key_is_now(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(OLD)
    with pytest.raises(AnonbenchError) as error:
        config.load(file)
    assert str(error.value) == (
        f"{file}: models.first.min_size: now models.first.settings.min_size; run anonbench config --migrate FILE"
    )


def test_a_study_is_rewritten_with_its_comments_and_anchors(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(OLD)
    out, err = run("--migrate", file)
    assert out == NEW
    assert f"{file}: models.first.min_size: now models.first.settings.min_size" in err
    assert file.read_text() == OLD, "it is printed, not written"
    assert run("--migrate", file, "--in-place")[0] == ""
    assert file.read_text() == NEW
    models = config.load(file).models
    assert [model.settings.min_size for model in models.values()] == [(96,), (96,), (96,), (192,)]
    assert [model.settings.architecture.box_width for model in models.values()] == [128, 64, 128, 128]
    assert [model.settings.horizontal_flip for model in models.values()] == [0.5, 0.5, 0.5, 0]
    assert [model.epochs for model in models.values()] == [2, 2, 3, 1]


def test_a_study_of_today_stays_as_it_is_to_the_byte(tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text(NEW + "# the   end")
    err = run("--migrate", file, "--in-place")[1]
    assert "nothing to move" in err
    assert file.read_text() == NEW + "# the   end"
    assert run("--migrate", file)[0] == NEW + "# the   end"


def test_a_recipe_in_a_file_is_rewritten(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("trainer: detectron2\nzoo: a.yaml\narchitecture:\n  backbone: resnet18  # small\nepochs: 1\n")
    text, moved = migrated(file)
    assert text == (
        "trainer: detectron2\nsettings:\n  architecture:\n    backbone: resnet18 # small\n  zoo: a.yaml\nepochs: 1\n"
    )
    assert moved == ["architecture: now settings.architecture", "zoo: now settings.zoo"]
    file.write_text(text)
    assert recipes.read(str(file)).settings.architecture == Architecture(backbone="resnet18")


@pytest.mark.parametrize(
    ("text", "said"), [("a: [1", "is not valid YAML"), ("- 1", "is not a YAML mapping"), (None, "no such file")]
)
def test_what_is_no_study_is_named(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(AnonbenchError, match=rf"bad\.yaml: {said}"):
        migrated(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'name: "\xff"\n', "is not UTF-8"),
        (b"models: " + b"[" * 3000, "is not valid YAML"),
        (b"models: {a: {settings: {min_size: [5]}, max_size: 9}}\n", r"models\.a: has max_size beside its settings"),
    ],
)
def test_what_cannot_be_rewritten_is_left_alone(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(data)
    with pytest.raises(AnonbenchError, match=rf"bad\.yaml.* ?{said}") as error:
        run("--migrate", file, "--in-place")
    assert "\n" not in str(error.value)
    assert file.read_bytes() == data


def test_a_model_that_is_another_s_alias_stays_one(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("models:\n  a: &a\n    max_size: 9\n    epochs: 1\n  b: *a\n")
    text, moved = migrated(file)
    assert text == "models:\n  a: &a\n    settings:\n      max_size: 9\n    epochs: 1\n  b: *a\n"
    assert moved == ["models.a.max_size: now models.a.settings.max_size"]


def test_ends_of_lines_and_links_stay(tmp_path: Path) -> None:
    file, link = tmp_path / "old.yaml", tmp_path / "link.yaml"
    file.write_bytes(b"epochs: 1\r\nmax_size: 9  # pixels\r\n")
    link.symlink_to(file)
    run("--migrate", link, "--in-place")
    assert link.is_symlink()
    assert file.read_bytes() == b"epochs: 1\r\nsettings:\r\n  max_size: 9 # pixels\r\n"
