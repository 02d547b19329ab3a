"""Figures: scales of their own, intervals, doses, sizes, categories, cost; and colours that everyone can tell apart."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from synthetic_study import write_study

from anonbench import config, registry
from anonbench.files import read_json
from anonbench.report import captions
from anonbench.report.collect import Sources
from anonbench.report.figures import style as look
from anonbench.report.figures import write_figures
from anonbench.report.figures.categories import categories_figure
from anonbench.report.figures.cost import cost_figure, spent
from anonbench.report.figures.dose import dose_figure
from anonbench.report.figures.impact import impact_figure
from anonbench.report.figures.sizes import sizes_figure
from anonbench.report.impact import IMPACT_COLUMNS
from anonbench.report.sizes import SIZE_COLUMNS, sizes
from anonbench.report.study import ReportStudy, parts
from anonbench.report.tables import has, read_csv, write_tables

STUDY = ReportStudy("crafted", 0, {"d": {"train": "train", "val": "val"}}, ["original"], {"m": {}}, [0, 1])
SEEDS = pd.DataFrame(
    columns=["dataset", "model", "task", "category", "direction", "variant", "role", "difference"]
)  # fmt: skip


def _row(variant: str, difference: float, half: float = 1.0, **extra) -> dict:
    region, method, level = parts(variant)
    row = dict.fromkeys(IMPACT_COLUMNS)
    row |= {
        "dataset": "d", "model": "m", "task": "detection", "category": "person", "group": "people",
        "direction": "original", "variant": variant, "region": region, "method": method, "level": level,
        "metric": "AP", "role": "primary", "unit": "AP points", "best": "higher", "value": 40 + difference,
        "difference": difference, "difference_low": difference - half, "difference_high": difference + half,
        "instances": 100, "share_changed": 1.0, "leaks": "false",
    }  # fmt: skip
    return row | extra


def _original(**extra) -> dict:
    return _row("original", 0, **extra) | {"difference_low": None, "difference_high": None}


def _table(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame(rows)


def _bars(axis, width: float) -> list[tuple[float, float]]:
    """Return the ends of the horizontal lines of a width that are not the panel's own."""
    lines = [line for line in axis.get_lines() if line.get_linewidth() == width and line.get_marker() == "None"]
    ends = [tuple(float(x) for x in line.get_xdata()) for line in lines if len(set(line.get_ydata())) == 1]
    return [end for end in ends if end != (0.0, 1.0)]


# --- the forest plot


def test_every_data_set_model_and_task_has_a_scale_of_its_own() -> None:
    table = _table(
        _row("face-blur-low", -0.5, task="detection"),
        _row("face-blur-low", -30.0, task="pose"),
        _row("face-blur-low", -5.0, dataset="e"),
        _row("face-blur-low", -15.0, dataset="e", task="pose"),
        _row("body-mask_out", -40.0),
    )
    axes = impact_figure(table, SEEDS, STUDY).axes
    for axis, lowest in zip(axes, (-2, -31, -41, -2, -6, -16), strict=True):
        low, high = axis.get_xlim()
        assert low == pytest.approx(lowest - 0.04 * (2 - lowest))
        assert high == pytest.approx(2 + 0.04 * (2 - lowest))


def test_an_interval_of_nearly_nothing_does_not_hide_the_others() -> None:
    table = _table(
        _row("face-blur-low", -3.0),
        _row("face-blur-low", 0.0, half=300, category="rider", instances=4),
    )
    axis = impact_figure(table, SEEDS, STUDY).axes[0]
    low, high = axis.get_xlim()
    assert high - low < 20
    assert low < -4  # the main category's interval is whole
    arrows = [line for line in axis.get_lines() if line.get_marker() in ("<", ">")]
    assert sorted(float(line.get_xdata()[0]) for line in arrows) == [low, high]
    assert (-4.0, -2.0) in _bars(axis, 2.0)


def test_simultaneous_intervals_are_thin_ends_where_there_are_any() -> None:
    plain = _table(_row("face-blur-low", -3.0))
    assert _bars(impact_figure(plain, SEEDS, STUDY).axes[0], 0.9) == []
    empty = plain.assign(simultaneous_low=np.nan, simultaneous_high=np.nan)
    assert _bars(impact_figure(empty, SEEDS, STUDY).axes[0], 0.9) == []
    assert not has(empty, "simultaneous_low")
    both = plain.assign(simultaneous_low=-4.5, simultaneous_high=-1.5)
    figure = impact_figure(both, SEEDS, STUDY)
    assert _bars(figure.axes[0], 0.9) == [(-4.5, -1.5)]
    assert _bars(figure.axes[0], 2.0) == [(-4.0, -2.0)]
    assert "simultaneous" in " ".join(text.get_text() for text in figure.legends[0].get_texts())


def test_other_categories_are_square_and_open_where_their_boxes_met_changed_pixels() -> None:
    table = _table(
        _row("face-blur-low", -1.0),
        _row("face-blur-low", 0.2, category="car", group="control"),
        _row("body-blur-low", -9.0),
        _row("body-blur-low", -0.4, category="car", group="touched"),
    )
    found = {}
    for axis in impact_figure(table, SEEDS, STUDY).axes:
        for line in axis.get_lines():
            if line.get_marker() == "s":
                found[float(line.get_xdata()[0])] = line.get_markerfacecolor()
    assert found[0.2] == look.SLATE
    assert found[-0.4] == "white"


# --- doses


def test_methods_of_several_levels_are_found_mild_first() -> None:
    asked = ["original", "face-blur-high", "face-blur-low", "face-mask_out", "body-blur-medium", "face-blur-medium"]
    assert captions.dosed(asked) == {("face", "blur"): ["face-blur-low", "face-blur-medium", "face-blur-high"]}
    frames = ["frame-downsample-10x", "frame-downsample-2x", "frame-downsample-4.5x"]
    assert captions.dosed(frames)["frame", "downsample"] == [frames[1], frames[2], frames[0]]
    assert list(captions.dosed(["face-p-dark", "face-p-bleak"]).values()) == [["face-p-dark", "face-p-bleak"]]
    assert captions.dosed(["original", "face-blur-low", "body-blur-high"]) == {}
    budgets = ["frame-p-b50", "frame-p-strict", "frame-p-b10"]
    assert list(captions.dosed(budgets).values()) == [["frame-p-b10", "frame-p-b50"]], "another way is no strength"


def test_a_dose_curve_goes_from_the_original_through_the_levels() -> None:
    table = _table(
        _original(),
        _row("face-blur-high", -6.0, half=2.0),
        _row("face-blur-low", -1.0, half=0.5),
        _row("face-identity", -0.1),
        _row("face-mask_out", -9.0),
    ).assign(simultaneous_low=[np.nan, -9, -2, np.nan, np.nan], simultaneous_high=[np.nan, -3, 0, np.nan, np.nan])
    (axis,) = dose_figure(table, STUDY).axes
    assert [text.get_text() for text in axis.get_xticklabels()] == ["none", "low", "high", "mask out"]
    (curve,) = [line for line in axis.get_lines() if line.get_linewidth() == 1.1]
    assert list(curve.get_ydata()) == [40, 39, 34]
    assert list(curve.get_xdata()) == [0, 1, 2]
    ends = {line.get_linewidth(): set() for line in axis.get_lines()}
    for line in axis.get_lines():
        if len(line.get_ydata()) == 2 and line.get_xdata()[0] == line.get_xdata()[1]:
            ends[line.get_linewidth()].add(tuple(float(y) for y in line.get_ydata()))
    assert ends[1.6] == {(38.5, 39.5), (32.0, 36.0), (30.0, 32.0)}
    assert ends[0.9] == {(38.0, 40.0), (31.0, 37.0)}
    low, high = axis.get_ylim()
    assert low < 30
    assert high > 41


def test_the_workflow_asks_for_what_is_drawn(tmp_path: Path) -> None:
    quality = {"original": 0.85, "face-blur-low": 0.84, "face-blur-high": 0.7, "body-mask_out": 0.2}
    file = write_study(tmp_path, seeds=(0, 1), images=20, quality=quality, bootstrap=100, tasks=("detection",))
    study = ReportStudy.read(file)
    folders = {name: tmp_path / name for name in ("evaluations", "models", "anonymized", "annotations")}
    write_tables(study, Sources(**folders), tmp_path / "tables")
    drawn = write_figures(study, tmp_path / "tables", tmp_path / "figures")
    wanted = captions.names(study.variants, starts=False)
    assert "dose" in wanted
    assert sorted(drawn) == sorted(f"{name}.png" for name in wanted)
    assert sorted(drawn) == sorted(path.name for path in (tmp_path / "figures").iterdir())
    listed = captions.listed(study)
    assert [one.name for one in listed] == [*wanted, "cost", "sheet-streetlife"]
    assert all(one.caption and one.alt and one.section in captions.SECTIONS for one in listed)
    again = write_figures(study, tmp_path / "tables", tmp_path / "again")
    for name in again:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "figures" / name).read_bytes(), name

    table = read_csv(tmp_path / "tables/sizes.csv")
    assert tuple(table.columns) == SIZE_COLUMNS
    assert set(table.category) == {"person"}
    assert set(table["first"]) == {"AP"}
    for row in table.itertuples():
        folder = tmp_path / "evaluations/streetlife" / row.variant / f"compact/seed{row.seed}/on-original"
        measured = read_json(folder / "metrics.json")["tasks"]["detection"]["parts"]["person"]
        assert row.metric == {"small": "APs", "medium": "APm", "large": "APl"}[row.size]
        assert row.value == pytest.approx(measured[row.metric], abs=1e-4)
        base = table[(table.variant == "original") & (table.seed == row.seed) & (table.metric == row.metric)]
        assert row.difference == pytest.approx(row.value - base.value.iloc[0], abs=2e-4)
    assert table["size"].nunique() > 1
    # without evaluations there is nothing, and a figure that says so
    (tmp_path / "none").mkdir()
    nothing = sizes(study, Sources(tmp_path / "none", *list(folders.values())[1:3]))
    assert nothing.empty
    assert "nothing was measured" in sizes_figure(nothing, pd.DataFrame(), study).texts[0].get_text()


# --- sizes


def test_the_share_changed_stands_beside_each_size() -> None:
    rows = [
        {
            "dataset": "d", "model": "m", "task": "detection", "category": "person", "variant": variant, "size": size,
            "seed": seed, "metric": "AP", "first": "AP", "unit": "AP points", "value": 40 + off + seed,
            "difference": off, "leaks": "false",
        }
        for variant, off in (
            ("original", 0), ("face-identity", -1), ("face-blur-low", -4), ("frame-blur-low", -9),
            ("frame-jpeg-q20", -2), ("frame-jpeg-f", -5),
        )
        for size in ("small", "large")
        for seed in (0, 1)
    ]  # fmt: skip
    counts = {("small", "region"): 30, ("small", "no_face_found"): 70, ("large", "region"): 50}
    people = pd.DataFrame(
        [
            {"dataset": "d", "kind": "face", "category": "person", "size": size, "status": status, "people": n}
            for (size, status), n in counts.items()
        ]
    )
    study = replace(STUDY, controls=("frame-jpeg-q20",), after={"frame-jpeg-f": "face-blur-low"})
    left, right = sizes_figure(pd.DataFrame(rows), people, study).axes
    names = ["face-identity", "face-blur-low", "frame-blur-low", "frame-jpeg-q20", "frame-jpeg-f"]
    assert [text.get_text() for text in left.get_yticklabels()] == names
    widths = [bar.get_width() for bar in right.patches]
    assert widths == pytest.approx([0, 0, 0.3, 1.0, 1.0, 1.0, 0, 0, 0.3, 1.0])
    said = {text.get_text() for axis in (left, right) for text in axis.texts}
    assert said == {"original: S 40.5, L 40.5", "people: S 100, L 50"}


# --- categories


def test_the_heat_map_marks_what_excludes_zero() -> None:
    table = _table(
        _row("face-blur-low", 0.5, category="car", group="control"),
        _row("face-blur-low", -5.0),
        _row("face-blur-low", -3.0, category="rider", half=9.0),
        _row("body-blur-low", 1.0, category="car", group="control", half=0.5),
        _row("body-blur-low", -40.0),
    ).assign(simultaneous_low=np.nan, simultaneous_high=np.nan)
    table.loc[1, ["simultaneous_low", "simultaneous_high"]] = (-11.0, 1.0)
    axis = categories_figure(table, STUDY).axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["person", "rider", "car"]
    bold = {text.get_text() for text in axis.texts if text.get_fontweight() == "bold"}
    assert {text.get_text() for text in axis.texts} == {"+0.5", "−5.0", "−3.0", "+1.0", "−40.0"}
    assert bold == {"+1.0", "−40.0"}
    many = _table(
        *(_row("face-blur-low", 2.0, category=f"c{k}", group="control", half=k, task=task)
          for k in range(80) for task in ("detection", "segmentation"))
    )  # fmt: skip
    first, second, *_ = categories_figure(many, STUDY).axes
    for axis in (first, second):
        assert len(axis.get_yticklabels()) == 80
        assert [float(line.get_ydata()[0]) for line in axis.get_lines()] == [0.5, 1.5]


def test_many_variants_leave_no_room_for_numbers() -> None:
    table = _table(*(_row(f"face-blur-{k}x", -k) for k in range(15)))
    axis = categories_figure(table, STUDY).axes[0]
    assert not axis.texts
    assert len(axis.get_lines()) == 13  # all but those of 0 and 1, whose intervals hold zero


# --- cost


def test_the_cost_panel_sums_what_each_variant_took() -> None:
    rows = [
        ("fit", "face-gan", "", 1, 100.0),
        ("anonymize", "face-gan-low", "", 2, 10.0),
        ("merge", "face-gan-low", "", 1, 1.0),
        ("anonymize", "original", "", 1, 3.0),
        ("train", "original", "m", 3, 50.0),
        ("train", "face-gan-low", "m", 3, 40.0),
        ("train", "original", "other", 3, 999.0),
        ("predict", "original", "m", 3, 2.0),
        ("evaluate", "original", "m", 3, 1.0),
        ("annotate", "", "", 1, 77.0),
    ]
    cost = pd.DataFrame(rows, columns=["stage", "variant", "model", "runs", "seconds"]).assign(dataset="d")
    took = spent(cost, "d", "m", ["original", "face-gan-low", "face-gan-high"])
    assert took.loc["original"].to_dict() == {"fit": 0, "anonymize": 3, "train": 150, "predict and evaluate": 9}
    assert took.loc["face-gan-low"].to_dict() == {"fit": 100, "anonymize": 21, "train": 120, "predict and evaluate": 0}
    assert took.loc["face-gan-high"].to_dict() == {"fit": 100, "anonymize": 0, "train": 0, "predict and evaluate": 0}
    table = _table(_original(), _row("face-gan-low", -2.0), _row("face-gan-high", -3.0))
    bars, effect = cost_figure(cost, table, STUDY).axes
    assert bars.get_xlabel() == "minutes"
    assert [text.get_text() for text in bars.texts] == ["2.7", "4.0", "1.7"]
    assert (-3.0, -1.0) in _bars(effect, 2.0)
    nothing = cost_figure(cost[cost.stage == "annotate"], table, STUDY)
    assert "nothing was measured" in nothing.texts[0].get_text()


# --- colours

SEEN = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""What colours look like without one kind of cone: Machado, Oliveira and Fernandes (2009), on linear sRGB."""


def _lab(colour: str, seen: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(SEEN[seen]) @ linear, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    x, y, z = np.cbrt(np.array(to_xyz) @ linear / (0.95047, 1, 1.08883))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", list(SEEN))
@pytest.mark.parametrize(
    "palette",
    [
        (*look.PEOPLE_COLOURS, *look.CONTROL_COLOURS), look.LINES, look.METHODS, tuple(look.SIZES.values()),
        tuple(look.STAGES.values()), look.STARTS, (look.CHANGED, *look.REASONS),
        tuple(look.DIVERGING(x) for x in (0.0, 0.25, 0.5, 0.75, 1.0)),
    ],
    ids=["categories", "lines", "methods", "sizes", "stages", "starts", "reasons", "heat map"],
)  # fmt: skip
def test_colours_of_one_figure_stay_apart_for_everyone(palette, seen: str) -> None:
    """A difference of 2.3 (CIE 1976) can just be told side by side; lines and dots are small, and asked for 14."""
    for one, other in itertools.combinations(palette, 2):
        assert np.linalg.norm(_lab(one, seen) - _lab(other, seen)) >= 14, (one, other)


def test_figures_of_data_sets_without_anything_say_so() -> None:
    alone = _table(_original())
    for figure in (impact_figure(alone, SEEDS, STUDY), categories_figure(alone, STUDY), dose_figure(alone, STUDY)):
        assert figure.texts[0].get_text().startswith("no ")
    untrained = replace(STUDY, untrained=("m",))
    assert "curves" not in [one.name for one in captions.listed(untrained)]
    assert "seeds" not in next(one.caption for one in captions.listed(untrained) if one.name == "impact")


def test_the_dose_study_has_every_level_of_its_methods(request) -> None:
    study = config.load(request.config.rootpath / "config/dose.yaml")
    doses = captions.dosed(study.variants)
    assert {region for region, _ in doses} == {"face", "body"}
    for (_, method), variants in doses.items():
        levels = registry.load("methods", method).levels
        assert [parts(variant)[2] for variant in variants] == list(levels)
