"""Figures, sheet and page: reproducible, self-contained, and opening with the answer."""

import hashlib
import json
import re
import shutil
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import typer
from PIL import Image
from synthetic_study import write_study
from typer.testing import CliRunner

from anonbench.errors import AnonbenchError
from anonbench.report import cli, sheet
from anonbench.report.answer import answers, warnings
from anonbench.report.captions import CAPTIONS
from anonbench.report.collect import Sources
from anonbench.report.figures import write_figures
from anonbench.report.html import write_html
from anonbench.report.pictures import read as read_picture
from anonbench.report.sheet import Status, choose, crop_box, face_box, statuses, write_sheet
from anonbench.report.study import ReportStudy
from anonbench.report.tables import read_csv, write_csv, write_tables


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The whole stage by its commands, as the workflow runs it."""
    root = tmp_path_factory.mktemp("study")
    study = write_study(root, images=30, people_per_sheet=3, vector_formats=("pdf", "svg"))
    app = typer.Typer()
    for name in ("report_tables", "report_figures", "report_sheet", "report_html"):
        app.command(name.replace("_", "-"))(getattr(cli, name))
    results = root / "results"
    stages = {"models": root / "models", "anonymized": root / "anonymized", "evaluations": root / "evaluations"}
    folders = {**stages, "annotations": root / "annotations"}
    tables, figures = results / "tables", results / "figures"
    said = ""
    for command, options in {
        "report-tables": {**folders, "out": tables},
        "report-figures": {"tables": tables, "out": figures},
        "report-sheet": {"dataset": "streetlife", "anonymized": stages["anonymized"], "out": figures},
        "report-html": {
            "tables": tables,
            "figures": figures,
            **stages,
            "out": results / "report.html",
        },
    }.items():
        words = [f"--{key}={value}" for key, value in options.items()]
        result = CliRunner().invoke(app, [command, f"--study={study}", *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        said = result.output
    return root, ReportStudy.read(study), said


def test_figures_have_the_same_bytes_every_time(made, tmp_path) -> None:
    root, study, _ = made
    drawn = write_figures(study, root / "results/tables", tmp_path)
    drawn += write_sheet(study, "streetlife", root / "anonymized", tmp_path)
    assert sorted(drawn) == sorted(
        f"{n}.{k}"
        for n in ("impact", "categories", "sizes", "curves", "coverage", "people", "sheet-streetlife")
        for k in ("png", "pdf", "svg")
    )
    for name in drawn:
        data = (tmp_path / name).read_bytes()
        assert data == (root / "results/figures" / name).read_bytes(), name
        assert b"CreationDate" not in data
        assert matplotlib.__version__.encode() not in data


def test_figures_have_something_on_them(made) -> None:
    for path in (made[0] / "results/figures").glob("*.png"):
        with Image.open(path) as image:
            assert image.width > 400
            assert len(image.convert("L").getcolors(256) or []) > 8


def test_the_page_opens_with_the_answer_and_needs_nothing_else(made) -> None:
    root, study, said = made
    page = (root / "results/report.html").read_text()
    (answer,) = answers(read_csv(root / "results/tables/impact.csv"))
    assert answer.plain() in said
    body = re.sub(r"<[^>]+>", "", page.split("</h1>")[1])
    assert body.strip().startswith(answer.text)
    assert all(f"<li>{point}</li>" in page for point in answer.points)
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", re.sub(r"base64,[^\"]+", "", page))
    assert {link[:5] for link in re.findall(r'<link[^>]*href="([^"]*)', page)} == {"data:"}
    assert "<script src" not in page
    assert set(re.findall(r'src="([^"]{5})', page)) == {"data:"}
    assert page.count("data:image/") == 8 + 5 * 3 * 2  # figures and sheet; of each variant three people, two crops each
    assert len(page) < 3_000_000
    made_from = json.loads((root / "results/provenance.json").read_text())
    assert made_from["study"] == study.name
    assert made_from["config_sha256"] == hashlib.sha256((root / "study.json").read_bytes()).hexdigest()
    assert "commit" in made_from
    assert read_csv(root / "results/cost.csv").cpu_hours.iloc[-1] > 0
    assert "CPU hours (<code>cost.csv</code>" in page
    assert "numpy" in made_from["versions"]


def test_the_answer_is_made_from_the_numbers(made) -> None:
    table = read_csv(made[0] / "results/tables/impact.csv")
    table = table[table.task.isin(["detection", "pose", "segmentation"])]

    def set_(task, category, variant, value, low, high, verdict) -> None:
        at = (table.task == task) & (table.category == category) & (table.variant == variant)
        for kind in ("difference", "simultaneous", "equivalence"):
            table.loc[at, [f"{kind}_low", f"{kind}_high"]] = (low, high)
        table.loc[at, "difference"] = value
        table.loc[at, "verdict"] = verdict

    for variant, *found in (
        ("face-blur-medium", -0.3, -0.9, 0.4, "no practical difference"),
        ("face-mask_out", 1.2, -0.4, 2.8, "cannot tell"),
        ("body-blur-medium", -30.0, -31.0, -29.0, "drop"),
        ("body-mask_out", 41.2, 39.5, 43.0, "gain"),
        ("face-identity", -0.1, -0.2, 0.0, "no practical difference"),
    ):
        set_("detection", "person", variant, *found)
        set_("pose", "person", variant, -0.5, -1.5, 0.5, "cannot tell")
        for category in ("car", "bicycle"):
            set_("detection", category, variant, 0.5, -0.2, 1.2, "cannot tell")
    (answer,) = answers(table)
    pose = "keypoint AP (−0.5, −1.5 to +0.5)"
    for point in (
        "Blurring faces (medium): no practical difference in box AP (−0.3, 90 % interval −0.9 to +0.4); cannot tell "
        f"for {pose}.",
        f"Masking out faces: cannot tell for box AP (+1.2, −0.4 to +2.8) and {pose}.",
        f"Blurring bodies (medium): costs 30.0 box AP (−31.0 to −29.0); cannot tell for {pose}.",
        f"Masking out bodies: gains 41.2 box AP (+39.5 to +43.0); cannot tell for {pose}.",
        "Re-encoding alone (face-identity): no practical difference in box AP (−0.1, 90 % interval −0.2 to 0.0); "
        f"cannot tell for {pose}.",
    ):
        assert point in answer.points
    controls = [point for point in answer.points if point.startswith("Cars and bicycles")]
    assert len(controls) == 1
    assert "move by up to 0.5 box AP; 0 of 10 intervals exclude zero. The controls could see about ±0.7." in controls[0]
    assert any(point.startswith("Mask AP on people (exploratory): ") for point in answer.points)
    assert "4 variants" not in answer.text
    assert "mild" not in answer.plain()
    assert "harsh" not in answer.plain()


def _warn(made, study=None, records=(), absent=(), change=lambda table, cover: None):
    root, own, _ = made
    table, cover = (read_csv(root / "results/tables" / f"{n}.csv") for n in ("impact", "coverage"))
    change(table, cover)
    return " ".join(warnings(study or own, table, cover, list(records), absent))


def test_people_left_visible_are_a_warning(made) -> None:
    text = _warn(made)
    assert "76 % of the people had their face changed in each variant" in text
    assert "31 no face found, 12 below min size, 4 crowd" in text


def test_nobody_is_missed_by_controls_and_what_comes_after_a_variant_hides_what_that_does(made) -> None:
    _, own, _ = made
    names = {"face-mask_out": "frame-jpeg-q20", "body-blur-medium": "frame-jpeg-after"}

    def change(table, cover) -> None:
        cover.drop(cover.index[~cover.variant.isin(names)], inplace=True)
        cover["region"] = "frame"
        cover["variant"] = cover.variant.map(names)
        cover["anonymized"] = 0

    variants = [*own.variants, *names.values()]
    study = replace(own, variants=variants, controls=("frame-jpeg-q20",), after={"frame-jpeg-after": "body-blur-low"})
    text = _warn(made, study=study, change=change)
    assert "0 % of the people had their body changed in each variant" in text
    assert "frame changed" not in text
    assert study.is_control("frame-jpeg-q20")
    assert not study.is_control("frame-jpeg-after")


def test_the_sheet_asks_whom_a_variant_hid_that_comes_after_another_and_leaves_controls_out(
    made, tmp_path, monkeypatch
) -> None:
    root, own, _ = made
    source, split = root / "anonymized/streetlife", own.datasets["streetlife"]["train"]
    there = tmp_path / "streetlife"
    variants = {"original": "original", "frame-jpeg-alone": "face-mask_out", "frame-jpeg-after": "face-mask_out"}
    for name, like in variants.items():
        shutil.copytree(source / like, there / name)
        shutil.copytree(source / "private" / like, there / "private" / name)
        file = there / "private" / name / "manifests" / f"{split}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"touches": "everything"}))
    asked = {}
    monkeypatch.setattr(sheet, "statuses", lambda *told: asked.update(statuses(*told)) or asked)
    after = {"frame-jpeg-after": "face-mask_out"}
    study = replace(own, variants=[*variants], asked={}, controls=("frame-jpeg-alone",), after=after)
    write_sheet(study, "streetlife", tmp_path, tmp_path)
    assert list(asked) == ["frame-jpeg-after"]
    assert not asked["frame-jpeg-after"].everybody
    assert {"anonymized", "no_face_found"} <= set(asked["frame-jpeg-after"].of.values())


def test_a_variant_that_spreads_more_than_the_others(made) -> None:
    root, study, _ = made
    table, cover, seeds = (read_csv(root / "results/tables" / f"{n}.csv") for n in ("impact", "coverage", "seeds"))
    at = (seeds.task == "detection") & (seeds.category == "person") & (seeds.metric == "AP")
    random = np.random.default_rng(3)
    calm, wild = seeds.copy(), seeds.copy()
    calm.loc[at, "value"] = 40 + random.normal(size=at.sum())
    wild.loc[at, "value"] = 40 + random.normal(size=at.sum())
    wild.loc[at & (seeds.variant == "face-mask_out"), "value"] = [20.0, 40.0, 60.0]
    said = [" ".join(warnings(study, table, cover, [], (), of)) for of in (calm, wild)]
    assert "box AP on person under" not in said[0]
    assert re.search(r"box AP on person under face-mask_out spreads over seeds \d\d\.\d times as much", said[1])


def test_an_original_that_learnt_nothing(made) -> None:
    def change(table, cover) -> None:
        table.loc[table.variant == "original", "value"] = 2.1

    assert "only 2.1 box AP on person" in _warn(made, change=change)


def test_controls_that_move(made) -> None:
    def change(table, cover) -> None:
        at = (table.category == "car") & (table.variant == "body-mask_out") & (table.task == "detection")
        table.loc[at, ["difference", "difference_low", "difference_high"]] = (-3.0, -4.0, -2.0)
        table.loc[at, "verdict"] = "drop"

    def overlapped(table, cover) -> None:
        change(table, cover)
        table.loc[table.group == "control", "group"] = "overlapped"

    before = _warn(made)
    text = _warn(made, change=change)
    assert text != before
    found = re.search(r"(\d+) of 20 intervals of categories whose boxes met no changed pixel exclude zero", text)
    assert found is not None
    assert int(found[1]) >= 1
    assert "may not be the anonymization's" in text
    assert "of other categories exclude zero" in _warn(made, change=overlapped)
    assert "may be an effect of it" in _warn(made, change=overlapped)


def test_few_seeds_and_missing_variants(made) -> None:
    def few(table, cover) -> None:
        table["n_seeds"] = 2

    def missing(table, cover) -> None:
        table.loc[table.variant == "face-mask_out", "verdict"] = "not evaluated"

    assert "2 seeds only" in _warn(made, change=few)
    assert "no evaluation of face-mask_out" in _warn(made, change=missing)
    assert "figure impact.png is missing" in _warn(made, absent=["figure impact.png"])


def test_leaking_starts_and_unequal_trainings(made) -> None:
    base = {"dataset": "coco2017", "model": "m", "variant": "original", "seed": 0, "recipe": {}, "resolved": {}}
    leak = [{**base, "initialisation": {"kind": "backbone", "seen": ["ImageNet-1k", "COCO"], "leaks": True}}]
    assert "have seen ImageNet-1k, COCO, that is, the original images" in _warn(made, records=leak)
    clean = [{**base, "initialisation": {"kind": "backbone", "seen": ["ImageNet-1k"], "leaks": False}}]
    assert "start weights" not in _warn(made, records=clean)
    unknown = [{**base, "initialisation": {"kind": "backbone"}}]
    assert "do not say what they have seen" in _warn(made, records=unknown)
    other = [{**base, "variant": v, "resolved": {"iterations": n}} for v, n in (("a", 9), ("b", 9), ("c", 8))]
    assert "c was not trained like the others" in _warn(made, records=other)


def test_no_identity(made) -> None:
    _, study, _ = made
    other = ReportStudy(**{**study.__dict__, "variants": [v for v in study.variants if v != "face-identity"]})
    assert "has no `identity` variant" in _warn(made, study=other)


def test_missing_figures_and_records_are_said_on_the_page(made, tmp_path) -> None:
    root, study, _ = made
    write_html(study, root / "results/tables", tmp_path / "none", tmp_path / "models", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "figure impact.png is missing" in page
    assert "training record of streetlife/original/compact/seed0" in page


def test_names_are_escaped_on_the_page(made, tmp_path) -> None:
    root, study, _ = made
    shutil.copytree(root / "results/tables", tmp_path / "tables")
    table = read_csv(tmp_path / "tables/impact.csv")
    table["dataset"] = "<b>&"
    write_csv(tmp_path / "tables/impact.csv", table)
    write_html(study, tmp_path / "tables", tmp_path, tmp_path, tmp_path / "r.html")
    assert "<b>&" not in (tmp_path / "r.html").read_text()


def test_the_page_says_what_a_generator_has_learnt_from(tmp_path) -> None:
    path = write_study(tmp_path, images=12, quality={"original": 0.85, "face-blur-low": 0.8, "body-gan": 0.5})
    study, folders = ReportStudy.read(path), {name: tmp_path / name for name in ("evaluations", "models", "anonymized")}
    write_tables(study, Sources(**folders, annotations=tmp_path / "annotations"), tmp_path / "tables")
    cover = read_csv(tmp_path / "tables/coverage.csv")
    assert dict(zip(cover.variant, cover.fitted_on, strict=True)) == {
        "face-blur-low": "",
        "body-gan": "elsewhere train",
    }
    write_html(study, tmp_path / "tables", tmp_path, tmp_path / "models", tmp_path / "r.html")
    assert (
        "learnt from people, too: streetlife, body-gan: fitted to elsewhere train." in (tmp_path / "r.html").read_text()
    )


def test_a_study_of_one_variant_still_draws(made, tmp_path) -> None:
    root, study, _ = made
    shutil.copytree(root / "results/tables", tmp_path / "tables")
    for name in ("impact", "seeds", "curves", "coverage"):
        table = read_csv(tmp_path / f"tables/{name}.csv")
        write_csv(tmp_path / f"tables/{name}.csv", table[table.variant == "original"])
    write_figures(study, tmp_path / "tables", tmp_path)
    write_html(study, tmp_path / "tables", tmp_path, root / "models", tmp_path / "r.html")
    assert "no variant has been evaluated yet" in (tmp_path / "r.html").read_text()


def test_missing_tables_and_images(made, tmp_path) -> None:
    root, study, _ = made
    with pytest.raises(AnonbenchError, match="report-tables"):
        write_figures(study, tmp_path, tmp_path)
    with pytest.raises(AnonbenchError, match="unknown data set 'coco'"):
        write_sheet(study, "coco", root / "anonymized", tmp_path)
    shutil.copytree(root / "anonymized", tmp_path / "anonymized")
    for image in (tmp_path / "anonymized/streetlife/body-mask_out/train").iterdir():
        image.write_bytes(b"no image")
    with pytest.raises(AnonbenchError, match=r"body-mask_out.*is not an image"):
        write_sheet(study, "streetlife", tmp_path / "anonymized", tmp_path)
    shutil.rmtree(tmp_path / "anonymized/streetlife/body-mask_out/train")
    with pytest.raises(AnonbenchError, match="no such image"):
        write_sheet(study, "streetlife", tmp_path / "anonymized", tmp_path)


def _person(i: int, image: int, height: float, **extra):
    box = [20 + 4 * i, 30, 0.4 * height, height]
    return {
        "id": i,
        "image_id": image,
        "category_id": 1,
        "bbox": box,
        "face": {"bbox": [30, 32, 8, 8]},
        **extra,
    }


def _truth(people, images: int = 30):
    frames = [{"id": i, "width": 640, "height": 480, "file_name": f"{i}.png"} for i in range(images)]
    return {"images": frames, "annotations": people, "categories": [{"id": 1, "name": "person"}]}


def _changed(*people, others=(), why="no_face_found"):
    """Return whom a variant changed, and whom it left."""
    return Status(
        False,
        {(p["image_id"], p["id"]): "anonymized" for p in people} | {(p["image_id"], p["id"]): why for p in others},
    )


def _ids(rows):
    return [row.person["id"] for row in rows]


def test_people_of_the_sheet_were_changed_by_every_variant_and_are_of_all_sizes() -> None:
    """On Penn-Fudan the tallest people are seen from behind: face variants do not touch them."""
    from_behind = [_person(i, i, 200 + i, face=None) for i in range(10)]
    facing = [_person(10 + i, 10 + i, 40 + 10 * i) for i in range(11)]
    everybody = [*from_behind, *facing]
    truth = _truth(everybody)
    status = {"body-mask_out": _changed(*everybody), "face-blur-low": _changed(*facing, others=from_behind)}
    rows = choose(truth, 4, status)
    heights = [row.person["bbox"][3] for row in rows]
    assert heights == [140, 90, 50, 205]  # next to the quantiles 135, 90, 45 of 40 to 140, and 204.5 of 200 to 209
    assert [row.left for row in rows] == [{}, {}, {}, {"face-blur-low": "no_face_found"}]
    assert choose(truth, 4, status) == choose(truth | {"annotations": everybody[::-1]}, 4, status)
    assert _ids(choose(truth, 1, status)) == [15]
    assert len(choose(truth, 50, status)) == 21
    nobody_left = {"body-mask_out": _changed(*everybody), "frame-blur-low": Status(True, {})}
    assert [row.left for row in choose(truth, 4, nobody_left)] == [{}] * 4


def test_every_variants_effect_is_seen_where_nobody_was_changed_by_all() -> None:
    people = [_person(i, i, 50 + i) for i in range(9)]
    status = {
        "face-blur-low": _changed(*people[:2], others=people[2:]),
        "body-blur-low": _changed(*people[2:8], others=people[:2]),
        "body-gan": _changed(*people[2:8]),
    }
    rows = choose(_truth(people), 3, status)
    assert set().union(*(set(status) - set(row.left) for row in rows)) == set(status)
    assert "body-blur-low" not in rows[0].left
    failed = {"body-gan": _changed(people[0]), "body-blur-low": _changed(others=people[1:2], why="method_failed")}
    assert set(_ids(choose(_truth(people), 2, failed))) >= {0}
    assert failed["body-blur-low"].changed(people[1])  # a fallback covers whom a method fails on


def test_who_is_seen_well_comes_first_and_the_last_row_is_for_the_most_frequent_reason() -> None:
    good = [_person(i, i, 100) for i in range(4)]
    cut = _person(4, 4, 100) | {"bbox": [0, 30, 40, 100]}
    small, faceless = _person(5, 5, 20), _person(6, 6, 100, face=None)
    crowd = _person(7, 7, 100, iscrowd=1)
    behind = [_person(8, 8, 90), {**_person(9, 8, 100), "bbox": [60, 28, 40, 100]}]
    everybody = [*good, cut, small, faceless, crowd, *behind]
    assert set(_ids(choose(_truth(everybody), 4, {}))) == {0, 1, 2, 3}
    assert set(_ids(choose(_truth(everybody), 5, {}))) == {0, 1, 2, 3, 6}
    assert _ids(choose(_truth([crowd, small]), 1, {})) == [5]
    assert set(_ids(choose(_truth([crowd, small]), 2, {}))) == {5, 7}
    tiny = [_person(20 + i, 20 + i, 10) for i in range(9)]
    left = {"face-blur-low": Status(False, {
        **_changed(*good[:2]).of,
        **_changed(others=tiny, why="below_min_size").of,  # most frequent of all, but nobody could see them
        **_changed(others=[good[2]], why="no_mask").of,
        **_changed(others=[good[3], faceless]).of,
    })}  # fmt: skip
    rows = choose(_truth([*everybody, *tiny]), 3, left)
    assert set(_ids(rows[:2])) == {0, 1}
    assert rows[2].left == {"face-blur-low": "no_face_found"}
    broken = [_person(1, 1, 0), {**_person(2, 2, 50), "bbox": None}]
    assert choose(_truth(broken), 2, {}) == []


def test_manifests_that_are_missing_or_damaged(made, tmp_path) -> None:
    root, study, _ = made
    shutil.copytree(root / "anonymized", tmp_path / "anonymized")
    shard = tmp_path / "anonymized/streetlife/private/body-mask_out/manifests/train/0.jsonl"
    shard.write_text(shard.read_text() + "{}")
    with pytest.raises(AnonbenchError, match=r"0\.jsonl.*run the anonymize stage again"):
        write_sheet(study, "streetlife", tmp_path / "anonymized", tmp_path)


@pytest.mark.parametrize("small", [False, True])
def test_a_sheet_of_people_without_faces_or_tiny(made, tmp_path, small: bool) -> None:
    root, study, _ = made
    shutil.copytree(root / "anonymized", tmp_path / "anonymized")
    place = tmp_path / "anonymized/streetlife/original/annotations/train.json"
    truth = json.loads(place.read_text())
    for a in truth["annotations"]:
        a.pop("keypoints", None)
        if small:
            a["bbox"][2:] = [4, 9]
    place.write_text(json.dumps(truth))
    write_sheet(study, "streetlife", tmp_path / "anonymized", tmp_path)
    with Image.open(tmp_path / "sheet-streetlife.png") as image:
        assert len(image.convert("L").getcolors(256) or []) > 8
    place.write_text(json.dumps(truth | {"annotations": []}))
    with pytest.raises(AnonbenchError, match="contains nobody with a box"):
        write_sheet(study, "streetlife", tmp_path / "anonymized", tmp_path)


def test_a_sheet_of_seven_variants_and_four_people_is_small(made, tmp_path) -> None:
    root, study, _ = made
    wide = ReportStudy(**{**study.__dict__, "variants": [*study.variants, "face-blur-medium"], "people_per_sheet": 4})
    for name in write_sheet(wide, "streetlife", root / "anonymized", tmp_path):
        assert (tmp_path / name).stat().st_size < 800_000
    with Image.open(tmp_path / "sheet-streetlife.png") as image:
        assert image.mode == "RGB"
        shown = image.size
    stored = re.search(rb"/Subtype /Image /Width (\d+) /Height (\d+)", (tmp_path / "sheet-streetlife.pdf").read_bytes())
    assert stored
    assert tuple(map(int, stored.groups())) == shown


@pytest.mark.parametrize(("size", "red"), [((20, 30), (19, 0)), ((30, 20), (0, 0))])
def test_images_come_in_the_frame_of_their_labels(tmp_path, size, red) -> None:
    stored = Image.new("RGB", (30, 20))
    stored.paste((255, 0, 0), (0, 0, 6, 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    frame = {"width": size[0], "height": size[1]}
    opened = Image.fromarray(read_picture(tmp_path, {**frame, "file_name": "a.jpg"}))
    assert opened.size == size
    assert opened.getpixel(red)[0] > 200
    with pytest.raises(AnonbenchError, match="annotated as 40x40"):
        read_picture(tmp_path, {"file_name": "a.jpg", "width": 40, "height": 40})
    Image.fromarray(np.full((20, 30), 65535, np.uint16)).save(tmp_path / "b.png")
    assert read_picture(tmp_path, {"file_name": "b.png", "width": 30, "height": 20})[3, 3].tolist() == [255] * 3


def test_faces_from_keypoints_only_when_seen() -> None:
    points = [50, 20, 2, 48, 18, 2, 52, 18, 2, 45, 20, 1, 55, 20, 1] + [0] * 36
    annotation = {"bbox": [30, 10, 40, 100], "keypoints": points}
    x, _, w, h = face_box(annotation)
    assert x < 45 < 55 < x + w
    assert w == h == 13
    assert face_box({**annotation, "keypoints": [50, 20, 1, *points[3:]]}) is None
    assert face_box({"bbox": [30, 10, 40, 100]}) is None


@pytest.mark.parametrize("box", [(5, 5, 10, 40), (600, 400, 40, 80), (0, 0, 640, 480), (100, 0, 400, 30)])
def test_crops_stay_inside_and_keep_their_shape(box) -> None:
    x0, y0, x1, y1 = crop_box(box, 1.5, 640, 480)
    assert x0 >= 0
    assert y0 >= 0
    assert x1 <= 640 + 1e-9
    assert y1 <= 480 + 1e-9
    assert (y1 - y0) / (x1 - x0) == pytest.approx(1.5)


def test_snakemakes_captions_say_the_same(request) -> None:
    alone = ("sheet", "restored", "cost")  # each a rule of its own
    folder = request.config.rootpath / "workflow" / "report"
    for name in ("impact_table", "figures", "page"):
        assert (folder / f"{name}.rst").read_text().strip()
    said = {name: " ".join((folder / f"{name}.rst").read_text().split()) for name in ("figures", *alone)}
    assert {name: said[name] for name in alone} == {name: CAPTIONS[name].caption for name in alone}
    drawn = [name for name in CAPTIONS if name not in alone]
    assert said["figures"] == " ".join(f"**{name}**: {CAPTIONS[name].caption}" for name in drawn)
