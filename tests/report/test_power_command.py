"""`anonbench power`: from a pilot run's table, from the published study, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from synthetic_study import QUALITY, write_study
from typer.testing import CliRunner

from anonbench import config
from anonbench.cli import app
from anonbench.errors import AnonbenchError
from anonbench.power import _pilot, of_pilot
from anonbench.report.collect import Sources
from anonbench.report.impact import impact
from anonbench.report.study import ReportStudy
from anonbench.report.tables import write_tables

MODEL = {"preset": "cpu-small"}


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The results of a pilot of three seeds, and its study.json."""
    root = tmp_path_factory.mktemp("pilot")
    file = write_study(root, images=30, bootstrap=200, noise=True)
    sources = Sources(root / "evaluations", root / "models", root / "anonymized", annotations=root / "annotations")
    write_tables(ReportStudy.read(file), sources, root / "tables")
    return root, file


def study(folder: Path, **changed: object) -> Path:
    """Write the study that is planned: the pilot's variants, four seeds."""
    value = {
        "name": "planned", "datasets": {"streetlife": {"train": "train", "val": "val"}}, "variants": list(QUALITY),
        "models": {"compact": MODEL}, "train": {"seeds": [0, 1, 2, 3]}, "report": {"margin": 2.0},
    } | changed  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def asked(*arguments: object) -> list[dict[str, object]]:
    found = CliRunner().invoke(app, ["power", *map(str, arguments), "--json"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(found.output)


def test_each_row_of_the_primary_question_is_planned(pilot: tuple[Path, Path], tmp_path: Path) -> None:
    found = asked("--study", study(tmp_path), "--pilot", pilot[0])
    variants = [v for v in QUALITY if v not in ("original", "face-identity")]
    assert {(row["task"], row["variant"]) for row in found} == {(t, v) for t in ("detection", "pose") for v in variants}
    for row in found:
        assert (row["seeds"], row["samples"], row["pilot_seeds"], row["margin"]) == (4, 30, 3, 2.0)
        assert 0 <= row["chance"] <= 1
    lost = next(row for row in found if row["task"] == "detection" and row["variant"] == "body-mask_out")
    assert lost["difference"] < -5
    assert lost["chance"] > 0.95
    assert lost["seeds_needed"] == 2


def test_the_table_of_the_pilot_and_its_contrasts_plan_alike(pilot: tuple[Path, Path]) -> None:
    """impact.csv has the freedom of seeds and images together; the plan needs that of seeds alone."""
    root, file = pilot
    sources = Sources(root / "evaluations", root / "models", root / "anonymized", annotations=root / "annotations")
    table, _ = impact(ReportStudy.read(file), sources)
    rows = table[(table.question == "primary") & table.error_seeds.notna()].to_dict("records")
    assert rows
    for row in rows:
        knows = _pilot(row, file)
        assert knows is not None
        total = (knows.seed_variance + knows.image_variance) ** 2
        parts = knows.seed_variance**2 / knows.freedom + knows.image_variance**2 / (knows.images - 1)
        if knows.freedom > knows.seeds - 1:
            assert total / parts == pytest.approx(row["freedom"], rel=1e-6)
        assert knows.factor >= 1


def test_more_images_and_a_wider_margin_help(pilot: tuple[Path, Path], tmp_path: Path) -> None:
    base = asked("--study", study(tmp_path), "--pilot", pilot[0])
    more = asked("--study", study(tmp_path), "--pilot", pilot[0], "--images", 30_000)
    wide = asked("--study", study(tmp_path), "--pilot", pilot[0], "--margin", 50)
    unsure = [k for k, row in enumerate(base) if row["chance"] < 0.8]
    assert unsure
    assert np.mean([more[k]["chance"] for k in unsure]) > np.mean([base[k]["chance"] for k in unsure])
    assert np.mean([wide[k]["chance"] for k in unsure]) > np.mean([base[k]["chance"] for k in unsure])


def test_the_question_is_the_studys_own(pilot: tuple[Path, Path], tmp_path: Path) -> None:
    primary = {"tasks": ["segmentation"], "variants": ["face-mask_out"]}
    found = asked("--study", study(tmp_path, report={"primary": primary}), "--pilot", pilot[0])
    assert [(row["task"], row["variant"]) for row in found] == [("segmentation", "face-mask_out")]


def test_a_variant_that_the_pilot_lacks_is_said(pilot: tuple[Path, Path], tmp_path: Path) -> None:
    found = asked(
        "--study", study(tmp_path, variants=["original", "face-mask_out", "body-pixelate-high"]), "--pilot", pilot[0]
    )
    notes = {row["variant"]: row.get("note") for row in found}
    assert notes == {"face-mask_out": None, "body-pixelate-high": "not in the pilot"}


def test_the_published_study_plans_for_its_variants(tmp_path: Path) -> None:
    variants = ["original", "face-blur-medium", "face-mask_out", "body-gan", "body-pixelate-medium"]
    found = {
        row["variant"]: row
        for row in asked("--study", study(tmp_path, variants=variants, report={"margin": 1.0}), "--published")
    }
    assert found["face-blur-medium"]["difference"] == pytest.approx(-0.267, abs=1e-3)
    assert found["body-gan"]["difference"] == pytest.approx(-19.2, abs=1e-3)
    assert found["body-gan"]["chance"] > 0.99
    assert found["face-mask_out"]["seeds_needed"] >= 2
    assert found["body-pixelate-medium"]["note"] == "not published"
    assert all(row.get("samples_needed") is None for row in found.values())


def test_the_table_names_rows_and_what_is_not_known(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["power", "--study", str(study(tmp_path)), "--published"], catch_exceptions=False)
    assert found.exit_code == 0
    assert "| seeds needed" in found.output
    assert "what images add is not published" in found.output


def refused(*arguments: object) -> str:
    with pytest.raises(AnonbenchError) as error:
        CliRunner().invoke(app, ["power", *map(str, arguments)], catch_exceptions=False)
    return str(error.value)


def test_mistakes_end_in_one_sentence(pilot: tuple[Path, Path], tmp_path: Path) -> None:
    file, results = study(tmp_path), pilot[0]
    assert "give --pilot FOLDER or --published" in refused("--study", file)
    assert "give --pilot FOLDER or --published" in refused("--study", file, "--pilot", results, "--published")
    assert "no.yaml" in refused("--study", tmp_path / "no.yaml", "--published")
    assert "no such table" in refused("--study", file, "--pilot", tmp_path / "nowhere")
    assert "--margin" in refused("--study", file, "--published", "--margin", 0)
    frames = study(tmp_path, variants=["original", "frame-downsample-4x"])
    assert "no variant that was published" in refused("--study", frames, "--published")
    other = study(tmp_path, models={"another": MODEL})
    assert "holds no row of the primary question" in refused("--study", other, "--pilot", results)


def test_a_pilot_of_one_seed_is_refused(pilot: tuple[Path, Path], tmp_path: Path) -> None:
    table = pd.read_csv(pilot[0] / "tables" / "impact.csv", keep_default_na=False)
    table["error_seeds"], table["n_seeds"] = "", 1
    (tmp_path / "tables").mkdir()
    table.to_csv(tmp_path / "tables" / "impact.csv", index=False)
    said = refused("--study", study(tmp_path), "--pilot", tmp_path)
    assert "one seed does not tell what seeds do" in said
    assert "two seeds or more" in said


def test_a_table_of_an_earlier_version_is_refused(pilot: tuple[Path, Path], tmp_path: Path) -> None:
    table = pd.read_csv(pilot[0] / "tables" / "impact.csv", keep_default_na=False).drop(columns="error_seeds")
    (tmp_path / "tables").mkdir()
    table.to_csv(tmp_path / "tables" / "impact.csv", index=False)
    path = study(tmp_path)
    with pytest.raises(AnonbenchError, match="has no column 'error_seeds'; it may be of an earlier version"):
        of_pilot(config.load(path), tmp_path, path)


@pytest.mark.parametrize(
    ("column", "value"),
    [("error_seeds", -1.0), ("error_images", "inf"), ("n_seeds", ""), ("samples", 0), ("freedom", -3)],
)
def test_a_pilot_that_was_edited_is_refused(
    pilot: tuple[Path, Path], tmp_path: Path, column: str, value: object
) -> None:
    table = pd.read_csv(pilot[0] / "tables" / "impact.csv", dtype=str, keep_default_na=False)
    chosen = (table.variant == "face-mask_out") & (table.category == "person") & (table.role == "primary")
    table.loc[chosen, column] = str(value)
    (tmp_path / "tables").mkdir()
    table.to_csv(tmp_path / "tables" / "impact.csv", index=False)
    with pytest.raises(AnonbenchError, match=rf"impact\.csv, .* person face-mask_out: {column} is"):
        of_pilot(config.load(study(tmp_path)), tmp_path, tmp_path / "study.yaml")


def test_other_proportions_of_the_originals_seeds_are_said(tmp_path: Path) -> None:
    quality = {"original": 0.85, "face-blur-medium": 0.83, "body-blur-medium": 0.6}
    file = write_study(tmp_path, images=20, bootstrap=100, noise=True, quality=quality, original_seeds=(3, 4))
    sources = Sources(
        tmp_path / "evaluations", tmp_path / "models", tmp_path / "anonymized", annotations=tmp_path / "annotations"
    )
    write_tables(ReportStudy.read(file), sources, tmp_path / "tables")
    given = ["power", "--pilot", str(tmp_path), "--study"]
    for train, said in (
        ({"seeds": [0, 1, 2]}, "the original's 5 beside 3 of each variant; this study has 3 beside 3"),
        ({"seeds": [0, 1, 2], "original_seeds": [3, 4]}, None),
        ({"seeds": [*range(6)], "original_seeds": [*range(6, 10)]}, None),
    ):
        found = CliRunner().invoke(app, [*given, str(study(tmp_path, train=train))], catch_exceptions=False)
        assert found.exit_code == 0
        assert ("seeds are counted" in found.output) == (said is not None)
        assert said is None or said in " ".join(found.output.split())
