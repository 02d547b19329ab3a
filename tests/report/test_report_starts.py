"""Starts that have seen the images: marks in every table, the figure of starts, and combinations nobody asked for."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from synthetic_study import dump, write_study

from anonbench.errors import AnonbenchError
from anonbench.report.answer import answers
from anonbench.report.collect import Sources
from anonbench.report.figures import write_figures
from anonbench.report.figures.starts import _learnt, learning_rate, looks, panels, starts_figure
from anonbench.report.html import write_html
from anonbench.report.sheet import write_sheet
from anonbench.report.study import ReportStudy
from anonbench.report.tables import DAGGER, LEAKY, read_csv, write_tables

QUALITY = {"original": 0.85, "face-mask_out": 0.80, "body-mask_out": 0.15}
CHECKPOINT = {"kind": "checkpoint", "file": "models/streetlife/original/compact/seed0"}


def _sources(root: Path) -> Sources:
    return Sources(root / "evaluations", root / "models", root / "anonymized", annotations=root / "annotations")


def _copy(root: Path, dataset: str, model: str, leaks: bool) -> None:
    """Give a model the evaluations and records of ``compact``, another start, and other differences."""
    for stage in ("evaluations", "models"):
        for variant in (root / stage / "streetlife").iterdir():
            if dataset == "streetlife" or variant.name == "original":
                shutil.copytree(variant / "compact", root / stage / dataset / variant.name / model)
    for path in (root / "models" / dataset).glob(f"*/{model}/*/train.json"):
        record = json.loads(path.read_text())
        kind = "checkpoint" if leaks else "scratch"
        seen = [dataset] if leaks else []
        record["initialisation"] = {"kind": kind, "seen": seen, "leaks": leaks}
        dump(path, record)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study of three starts and, on the original of another data set alone, a fourth model."""
    root = tmp_path_factory.mktemp("starts")
    file = write_study(root, seeds=(0, 1), images=20, quality=QUALITY, tasks=("detection",), people_per_sheet=1)
    _copy(root, "streetlife", "leaky", leaks=True)
    _copy(root, "streetlife", "fast", leaks=False)
    _copy(root, "elsewhere", "clean", leaks=False)
    original = root / "anonymized/elsewhere/original"
    shutil.copytree(root / "anonymized/streetlife/original", original)
    value = json.loads(file.read_text())
    recipe = value["models"]["compact"]
    value["models"] |= {
        "leaky": {**recipe, "initialisation": CHECKPOINT},
        "fast": {**recipe, "reference_batch_size": 2},
        "clean": recipe,
    }
    value["datasets"]["elsewhere"] = {"train": "train", "val": "val"}
    all_ = list(QUALITY)
    value["asked"] = {
        "streetlife": {"compact": all_, "leaky": all_, "fast": ["original", "body-mask_out"], "clean": []},
        "elsewhere": {"compact": [], "leaky": [], "fast": [], "clean": ["original"]},
    }
    value["starts"] = [["streetlife", ["compact", "leaky", "fast"]]]
    dump(file, value)
    study = ReportStudy.read(file)
    table = write_tables(study, _sources(root), root / "tables")
    figures = write_figures(study, root / "tables", root / "figures")
    for dataset in study.datasets:
        write_sheet(study, dataset, root / "anonymized", root / "figures")
    write_html(study, root / "tables", root / "figures", root / "models", root / "report.html")
    return root, study, table, figures


def test_every_table_marks_the_start_that_has_seen_the_images(made) -> None:
    root, *_ = made
    for name in ("impact", "seeds", "curves"):
        table = read_csv(root / f"tables/{name}.csv")
        assert set(table.loc[table.model == "leaky", "leaks"]) == {"true"}, name
        assert set(table.loc[table.model != "leaky", "leaks"]) == {"false"}, name
    assert "leaks" in (root / "tables/subsets.csv").read_text().splitlines()[0].split(",")
    text = (root / "tables/impact.md").read_text()
    assert f"## streetlife, leaky {DAGGER}: box AP" in text
    assert "## streetlife, compact: box AP" in text
    assert text.endswith(f"{DAGGER} {LEAKY}.\n")


def test_latex_marks_it_in_a_row_as_wide_as_the_table(made) -> None:
    blocks = (made[0] / "tables/impact.tex").read_text().split(r"\resizebox")
    marked = [block for block in blocks if r"\dagger" in block]
    assert len(marked) == 2, "values and intervals"
    assert "% streetlife, leaky" in blocks[blocks.index(marked[0]) - 1] + marked[0]
    assert blocks.index(marked[1]) == blocks.index(marked[0]) + 1
    for block in marked:
        body = block.split(r"\midrule")[1].splitlines()[1]
        assert rf"\multicolumn{{{body.count('&') + 1}}}{{l}}{{\footnotesize $^\dagger$ {LEAKY}}}" in block


def test_a_start_that_learns_by_chance_does_not_hide_the_others(made) -> None:
    _, study, table, _ = made
    chance = (table.model == "fast") & (table.variant != "original")
    wide = table.assign(
        difference_low=table.difference_low.mask(chance, -300.0),
        difference_high=table.difference_high.mask(chance, 300.0),
    )
    low, high = starts_figure(study, wide).axes[0].get_xlim()
    assert high - low < 300, "half of the interval"
    ends = table[~chance & (table.model != "clean") & table.difference_low.notna()]
    assert low <= ends.difference_low.min()


def test_the_page_marks_it_and_says_so_once(made) -> None:
    page = (made[0] / "report.html").read_text()
    assert f"streetlife, leaky {DAGGER}: Box AP" in page
    assert page.count(f"{DAGGER} {LEAKY}.") == 1
    assert "streetlife, leaky: the start weights have seen streetlife, that is, the original images" in page
    assert "compact: the start weights" not in page
    assert "by start and learning rate" in page


def test_what_a_record_does_not_say_is_not_a_clean_start(made, tmp_path) -> None:
    root, study, *_ = made
    shutil.copytree(root / "models", tmp_path / "models")
    for path in (tmp_path / "models/streetlife").glob("*/leaky/*/train.json"):
        record = json.loads(path.read_text())
        del record["initialisation"]["leaks"]
        dump(path, record)
    sources = Sources(root / "evaluations", tmp_path / "models", root / "anonymized", annotations=root / "annotations")
    table = write_tables(study, sources, tmp_path / "tables")
    assert set(table.loc[table.model == "leaky", "leaks"]) == {""}


def test_combinations_that_the_study_does_not_ask_for_are_no_failures(made) -> None:
    root, _, table, _ = made
    trained = {(d, m): set(part.variant) for (d, m), part in table.groupby(["dataset", "model"])}
    assert trained == {
        ("streetlife", "compact"): set(QUALITY),
        ("streetlife", "leaky"): set(QUALITY),
        ("streetlife", "fast"): {"original", "body-mask_out"},
        ("elsewhere", "clean"): {"original"},
    }
    page = (root / "report.html").read_text()
    assert "no evaluation of" not in page
    assert "is missing" not in page
    assert "not evaluated" not in page
    assert set(read_csv(root / "tables/coverage.csv").dataset) == {"streetlife"}
    assert not any("elsewhere" in text for text in (paragraph.plain() for paragraph in answers(table)))


def test_what_the_study_asks_for_is_still_missed(made) -> None:
    root, study, *_ = made
    chosen = {**study.asked, "elsewhere": {**study.asked["elsewhere"], "leaky": ["original"]}}
    asked = ReportStudy(**{**study.__dict__, "asked": chosen})
    with pytest.raises(AnonbenchError, match="no such file"):
        write_tables(asked, _sources(root), root / "more")


def test_the_figure_is_drawn_where_models_differ_in_their_start(made, tmp_path) -> None:
    root, study, _, figures = made
    assert figures[-1] == "starts.png"
    with Image.open(root / "figures/starts.png") as image:
        assert image.width > 800
        colours = {colour for _, colour in image.getcolors(1 << 20)}
    # one colour per start
    assert {(0x33, 0x33, 0x33), (0x00, 0x72, 0xB2)} <= colours
    again = write_figures(study, root / "tables", tmp_path)
    assert (tmp_path / "starts.png").read_bytes() == (root / "figures/starts.png").read_bytes()
    plain = ReportStudy(**{**study.__dict__, "starts": []})
    assert set(again) - set(write_figures(plain, root / "tables", tmp_path / "plain")) == {"starts.png"}


def test_the_figure_shows_people_by_region(made) -> None:
    _, study, table, _ = made
    shown = panels(study, table)
    assert [(dataset, category, region) for dataset, _, category, region, _ in shown] == [
        ("streetlife", "person", "face"),
        ("streetlife", "person", "body"),
    ]
    assert all(set(rows.category) == {"person"} for *_, rows in shown)


def test_a_figure_of_what_is_not_evaluated_yet(made, tmp_path) -> None:
    root, study, _, _ = made
    shutil.copytree(root / "tables", tmp_path / "tables")
    table = pd.read_csv(root / "tables/impact.csv", dtype=str, keep_default_na=False)
    gone = (table.model == "leaky") & (table.variant == "face-mask_out")
    table.loc[gone, ["value", "difference", "difference_low", "difference_high"]] = ""
    table.to_csv(tmp_path / "tables/impact.csv", index=False)
    write_figures(study, tmp_path / "tables", tmp_path / "figures")
    drawn = (tmp_path / "figures/starts.png").read_bytes()
    assert drawn != (root / "figures/starts.png").read_bytes()


def test_colour_is_the_start_and_marker_the_learning_rate(made) -> None:
    recipes = {name: made[1].models[name] for name in ("compact", "leaky", "fast")}
    assert [learning_rate(recipe) for recipe in recipes.values()] == pytest.approx([0.01, 0.01, 0.08])
    look = looks(recipes)
    assert look["compact"][0] == look["fast"][0] != look["leaky"][0]
    assert look["compact"][1] == look["leaky"][1] != look["fast"][1]


def test_what_learnt_nothing_is_drawn_open(made) -> None:
    root, study, _, _ = made
    table = read_csv(root / "tables/impact.csv")
    assert _learnt(table[table.model == "leaky"])
    table.loc[(table.model == "leaky") & (table.variant == "original"), "value"] = 4.9
    assert not _learnt(table[table.model == "leaky"])
    labels = [str(h.get_text()) for h in starts_figure(study, table).legends[0].get_texts()]
    assert "open: learnt next to nothing, so a difference says nothing" in labels
    assert f"{DAGGER} {LEAKY}" in labels
    assert any(
        label.startswith(f"leaky {DAGGER}: from a checkpoint, learning rate 0.01; 4.9 box AP") for label in labels
    )
