"""Tables and sentences of tasks that are not COCO's, in every direction, with gaps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from error_study import register, write

from anonbench.errors import AnonbenchError
from anonbench.evaluate import evidence
from anonbench.report import expected
from anonbench.report.answer import answers, warnings
from anonbench.report.collect import Sources, coverage
from anonbench.report.figures import impact_figure, write_figures
from anonbench.report.html import write_html
from anonbench.report.impact import _mean_of_known, impact
from anonbench.report.study import ReportStudy
from anonbench.report.tables import flat, latex, markdown, primary, read_csv, write_tables

ADDS = {"face-blur-mild": 1.5, "face-blur-medium": 2.5, "face-blur-strong": 4.0}


@pytest.fixture(autouse=True)
def _tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def worse(part: str, trained: str, tested: str, seed: int, image: int) -> float:
    """Return an error of people that grows with what was done to the images that were trained or tested on."""
    added = ADDS.get(trained, 0) + ADDS.get(tested, 0) if part == "person" else 0
    return 3 + added + 0.01 * (image % 5) + 0.01 * seed


def row(table: pd.DataFrame, **keys: str) -> pd.Series:
    """Return the one primary row that has these keys."""
    found = primary(table)
    for key, value in keys.items():
        found = found[found[key] == value]
    assert len(found) == 1, found
    return found.iloc[0]


def said(study: ReportStudy, sources: Sources, table: pd.DataFrame) -> list[str]:
    """Return the page's warnings."""
    return warnings(study, table, coverage(study, sources), [])


def page(root: Path, study: ReportStudy, sources: Sources) -> tuple[pd.DataFrame, str]:
    """Write tables, figures and page; return impact.csv and the page's text."""
    write_tables(study, sources, root / "tables")
    write_figures(study, root / "tables", root / "figures")
    write_html(study, root / "tables", root / "figures", root / "models", root / "report.html")
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", (root / "report.html").read_text(), flags=re.DOTALL)
    return read_csv(root / "tables/impact.csv"), " ".join(text.replace("&#39;", "'").split())


def test_a_rising_error_is_worse_everywhere(tmp_path: Path) -> None:
    study, sources = write(tmp_path, worse)
    table, text = page(tmp_path, study, sources)
    assert {row(table, variant=v, category="person").verdict for v in ADDS} == {"drop"}
    (answer,) = answers(table)
    assert answer.text.startswith("On walk, models trained on the originals with 3 seeds reach 3.0 distance error on")
    assert "its 3 intervals of 95 % hold all at once" in answer.text
    assert answer.points[0] == "Blurring faces (mild): adds 1.5 distance error (lower is better, +1.5 to +1.5)."
    assert answer.points[2].startswith("Blurring faces (strong): adds 4.0 distance error")
    hint = "Of distance error lower is better: a drop is a rise of the number."
    for form in (markdown(table, study), latex(table, study), text):
        assert hint in form
        assert "distance error in m" in form
        assert "AP" not in form.replace("GAP", "")


def test_a_falling_error_is_saved(tmp_path: Path) -> None:
    study, sources = write(tmp_path, lambda *of: 9 - worse(*of), variants=("original", "face-blur-medium"))
    table = write_tables(study, sources, tmp_path / "tables")
    assert row(table, variant="face-blur-medium", category="person").verdict == "gain"
    assert answers(table)[0].points[0].startswith("Blurring faces (medium): saves 2.5 distance error (lower is better")


def test_a_floor_of_an_error_is_passed_from_below(tmp_path: Path) -> None:
    study, sources = write(tmp_path / "good", lambda part, *of: worse("car", *of))
    table, _ = impact(study, sources)
    assert row(table, variant="face-blur-mild", category="person").verdict == "no practical difference"
    assert not any("learnt next to nothing" in text for text in said(study, sources, table))
    study, sources = write(tmp_path / "poor", lambda part, *of: 12 + worse("car", *of))
    table, _ = impact(study, sources)
    assert row(table, variant="face-blur-mild", category="person").verdict == "cannot tell"
    assert any("learnt next to nothing" in text for text in said(study, sources, table))


def test_one_model_on_every_variant_is_paired_by_seed(tmp_path: Path) -> None:
    """Without noise of images the interval is scipy's paired t; seeds that move all variants alike cost nothing."""
    moves = np.array([[0.0, 0.3, -0.2], [0.1, 0.0, 0.4]])

    def error(part: str, trained: str, tested: str, seed: int, image: int) -> float:
        own = moves[0][seed] if tested == "face-blur-mild" else 0
        return 5 + 2 * (seed - 1) + (ADDS.get(tested, 0) + own if part == "person" else 0)

    study, sources = write(tmp_path, error, directions=("deployed",))
    table, _ = impact(study, sources)
    found = row(table, variant="face-blur-mild", category="person")
    expected = scipy.stats.t.interval(0.95, 2, 1.5 + moves[0].mean(), scipy.stats.sem(moves[0]))
    assert (found.difference_low, found.difference_high) == pytest.approx(expected, rel=0.05)
    strong = row(table, variant="face-blur-strong", category="person")
    assert (strong.difference_low, strong.difference_high) == pytest.approx((4, 4))


def test_what_is_deployed_is_described_by_the_images_that_are_tested(tmp_path: Path) -> None:
    study, sources = write(tmp_path, worse, directions=("original", "deployed"))
    table, text = page(tmp_path, study, sources)
    share = {on: row(table, variant="face-blur-mild", category="person", direction=on) for on in study.directions}
    assert share["original"].share_changed == pytest.approx(153 / 200)
    assert share["deployed"].share_changed == pytest.approx(4 / 10)
    assert text.count("trained on people changed") == text.count("tested on people changed") == 1


def test_a_study_without_the_usual_direction_does_not_speak_of_it(tmp_path: Path) -> None:
    study, sources = write(tmp_path, worse, directions=("deployed",), seeds=1)
    table, text = page(tmp_path, study, sources)
    assert "Every model is trained on a variant" not in text
    assert "Models are trained on the original images and tested on the variant's." in text
    assert set(flat(table)["walk"]) == {"deployed"}


def test_warnings_of_a_model_are_given_once(tmp_path: Path) -> None:
    study, sources = write(tmp_path, worse, directions=("original", "same", "deployed"), seeds=1)
    table, _ = impact(study, sources)
    texts = said(study, sources, table)
    assert len(texts) == len(set(texts))
    assert sum("one seed only" in text for text in texts) == 1


def test_reencoding_that_moves_people_names_its_direction(tmp_path: Path) -> None:
    def error(part: str, trained: str, tested: str, seed: int, image: int) -> float:
        return 3.0 + (2 + 0.01 * ((7 * image + 3 * seed) % 5)) * (tested == "face-identity")

    study, sources = write(tmp_path, error, directions=("original", "deployed"))
    table, _ = impact(study, sources)
    (text,) = (text for text in said(study, sources, table) if "only re-encodes" in text)
    assert text.startswith("walk, net, trained on the original images and tested on the variant's: face-identity")


def test_many_parts_and_no_people(tmp_path: Path) -> None:
    parts = ("run", "walk", "sit", "jump", "wave")
    study, sources = write(tmp_path, lambda part, *of: worse("person", *of) + len(part) / 10, parts=parts)
    table, _ = page(tmp_path, study, sources)
    assert set(table.category) == {*parts, "all"}
    assert re.search(r"\| variant +\| changed +\| seeds +\| all +\|", markdown(table, study))
    assert row(table, variant="face-blur-mild", category="all").difference == pytest.approx(1.5)
    assert flat(table)["walk"]["original"]["error"]["all"]["value"] == pytest.approx(3.39, abs=0.01)


def test_one_part_and_no_people(tmp_path: Path) -> None:
    study, sources = write(tmp_path, lambda part, *of: worse("person", *of), parts=("place",))
    table, text = page(tmp_path, study, sources)
    assert set(table.category) == {"place"}
    assert "the validation images hold nobody whose distance error could be measured" in text


def test_a_part_may_not_have_the_name_of_a_mean(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match=r"val\.json: error has a part named 'all'"):
        write(tmp_path, worse, parts=("person", "all"))


def test_evidence_may_have_a_field_of_any_name(tmp_path: Path) -> None:
    _, sources = write(tmp_path, worse, variants=("original",), seeds=1)
    (file,) = sources.evaluations.glob("**/evidence.npz")
    (of,) = evidence.read(file).values()
    assert set(of.parts["person"]) == {"errors", "groups"}


def test_a_part_without_a_value_in_the_first_seed_keeps_its_row(tmp_path: Path) -> None:
    def error(part: str, trained: str, tested: str, seed: int, image: int) -> float | None:
        return None if (part, trained, seed) == ("person", "original", 0) else worse(part, trained, tested, seed, image)

    study, sources = write(tmp_path, error)
    table, _ = impact(study, sources)
    found = row(table, variant="face-blur-strong", category="person")
    assert found.difference == pytest.approx(4)
    assert row(table, variant="original", category="person").n_seeds == 2


def test_a_mean_is_over_the_same_parts_in_every_run(tmp_path: Path) -> None:
    """A run that lacks a part has no mean, which would be one over easier or harder parts than the original's."""

    def error(part: str, trained: str, tested: str, seed: int, image: int) -> float | None:
        if (part, trained, seed) == ("bus", "face-blur-mild", 1):
            return None
        return 9.0 if part == "bus" else worse("car", trained, tested, seed, image)

    study, sources = write(tmp_path, error, parts=("person", "car", "bus"))
    table, _ = impact(study, sources)
    for mean in ("all", "untouched"):
        found = row(table, variant="face-blur-mild", category=mean)
        assert (found.n_seeds, found.difference) == (2, pytest.approx(0))


def test_a_secondary_metric_counts_its_own_seeds(tmp_path: Path) -> None:
    def error(part: str, trained: str, tested: str, seed: int, image: int) -> float | None:
        return None if seed == 2 and image else worse(part, trained, tested, seed, image)

    study, sources = write(tmp_path, error)
    table, _ = impact(study, sources)
    own = table[(table.variant == "face-blur-mild") & (table.category == "person")].set_index("metric").n_seeds
    assert dict(own) == {"error": 3, "spread": 2}


def test_a_mean_of_nothing_is_not_zero() -> None:
    replicates = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    assert np.array_equal(_mean_of_known(replicates), [2, 5, np.nan], equal_nan=True)


def test_few_videos_are_a_warning(tmp_path: Path) -> None:
    study, sources = write(tmp_path / "few", worse, per_video=4)
    table, text = page(tmp_path / "few", study, sources)
    assert (set(table.sampled), set(table.samples)) == ({"video"}, {6})
    assert sum("drawn over only 6 videos" in of for of in said(study, sources, table)) == 1
    assert "paired over validation videos and seeds" in text
    study, sources = write(tmp_path / "many", worse)
    assert not any("are drawn over only" in text for text in said(study, sources, impact(study, sources)[0]))


def test_what_whole_images_touch_is_not_called_untouched(tmp_path: Path) -> None:
    variants = ("original", "frame-blur-mild", "face-blur-mild")
    parts = ("person", "car", "bus", "tram", "bike")
    study, sources = write(tmp_path, worse, variants=variants, parts=parts)
    table, text = page(tmp_path, study, sources)
    assert "untouched" in set(table.category)
    assert "untouched" not in markdown(table, study).split("##")[1]
    assert "Δ untouched" not in text
    assert any(point.startswith("4 other categories, whose boxes") for point in answers(table)[0].points)
    assert set(table[(table.variant == "frame-blur-mild") & (table.category == "car")].group) == {"touched"}


def test_units_have_scales_of_their_own(tmp_path: Path) -> None:
    study, sources = write(tmp_path, worse, tasks=("error", "share"))
    table, seeds = impact(study, sources)
    left, right = impact_figure(table, seeds, study).axes[:2]
    assert left.get_xlim()[1] == pytest.approx(4.2, abs=0.3)
    assert right.get_xlim()[1] == pytest.approx(0.042, abs=0.003)
    assert "±1 m (distance error), ±0.01 shares (share)" in markdown(table, study)


def test_what_is_expected_in_another_unit_can_fail(tmp_path: Path) -> None:
    def error(part: str, trained: str, tested: str, seed: int, image: int) -> float:
        return 30 + 20 * (trained != "original") + 0.1 * seed

    study, sources = write(tmp_path, error, tasks=("share",))
    table, seeds = impact(study, sources)
    proposed = expected.propose("errors", table, seeds)
    assert {entry.metric for entry in proposed.entries} == {"share"}
    assert all(found.within for found in expected.compare(proposed, table))
    assert all(entry.tolerance < 0.01 for entry in proposed.entries)
    assert not any(found.within for found in expected.compare(proposed, table.assign(value=table.value + 0.02)))
