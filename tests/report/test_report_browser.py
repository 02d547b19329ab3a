"""The page in a real browser: Chromium without a window, without a network, steered by Playwright."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from synthetic_study import QUALITY, write_study

from anonbench.report import html
from anonbench.report.answer import Paragraph
from anonbench.report.collect import Sources
from anonbench.report.figures import write_figures
from anonbench.report.html import write_html
from anonbench.report.study import ReportStudy
from anonbench.report.tables import read_csv, write_csv, write_tables

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NARROW = {"width": 420, "height": 800}
ROW = "streetlife.compact.pose.person.body-mask_out.AP"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a Chromium: the machine's own, or the one that `playwright install chromium` has fetched."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        found = next((path for name in NAMES if (path := shutil.which(name))), own if Path(own).exists() else None)
        if found is None:
            pytest.skip("no Chromium is installed (playwright install chromium)")
        # a container's user is often root, and has little shared memory
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a study, with the columns that only some studies have and an answer in bullets."""
    root = tmp_path_factory.mktemp("study")
    quality = {name: good for name, good in QUALITY.items() if name != "body-blur-medium"}
    study = ReportStudy.read(write_study(root, images=15, bootstrap=50, quality=quality, tasks=("detection", "pose")))
    folders = {name: root / name for name in ("evaluations", "models", "anonymized")}
    tables, figures = root / "results/tables", root / "results/figures"
    write_tables(study, Sources(**folders, annotations=root / "annotations"), tables)
    write_figures(study, tables, figures)
    table = read_csv(tables / "impact.csv")
    own = (table.role == "primary") & (table.variant != "original") & (table.category == "person")
    for name, value in (("simultaneous", 9.0), ("equivalence", 3.0)):
        table[f"{name}_low"] = (table.difference - value).where(own)
        table[f"{name}_high"] = (table.difference + value).where(own)
    table["kept"], table["kept_low"], table["kept_high"] = 97.1, 95.0, 99.2
    table.loc[~own, ["kept", "kept_low", "kept_high"]] = None
    table["question"] = own.map({True: "primary", False: "exploratory"})
    table.loc[table.category == "car", "group"] = "overlapped"
    write_csv(tables / "impact.csv", table)
    with pytest.MonkeyPatch.context() as patch:
        said = [Paragraph("Face blur: what it costs.", ("box AP: cannot tell", "keypoint AP: costs 3.4"))]
        patch.setattr(html, "answers", lambda *_: said)
        write_html(study, tables, figures, folders["models"], root / "results/report.html", **{
            name: folders[name] for name in ("anonymized", "evaluations")
        })  # fmt: skip
    return root / "results/report.html"


@dataclass
class Opened:
    """A page in the browser, and what it complained of and asked for."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def opened(browser: Browser, page_file: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Open the page; a test's parameter, if any, is the context's options."""
    options: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, **getattr(request, "param", {})}
    context = browser.new_context(**options)
    context.set_default_timeout(120_000)  # other tests run beside this one
    found = Opened(context.new_page())
    found.page.on("console", lambda said: found.errors.append(said.text))
    found.page.on("pageerror", lambda error: found.errors.append(str(error)))
    found.page.on("request", lambda asked: found.requests.append(asked.url))
    found.page.goto(page_file.as_uri())
    yield found
    context.close()


def rows(page: Page) -> list[str]:
    """Return the ids of the rows that are shown, from top to bottom."""
    shown: list[str] = page.evaluate(
        "[...document.querySelectorAll('table.numbers > tbody')].filter(b => !b.hidden).map(b => b.id)"
    )
    return shown


def head(page: Page, name: str) -> Any:
    """Return the heading of a column of the table of every number."""
    return page.locator("table.numbers > thead th", has=page.get_by_role("button", name=name, exact=True))


def table_of(page_file: Path) -> pd.DataFrame:
    return read_csv(page_file.parent / "tables/impact.csv")


def test_it_loads_without_a_complaint_and_asks_for_nothing(opened: Opened, page_file: Path) -> None:
    opened.page.wait_for_load_state("networkidle")
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [page_file.as_uri()]
    widths = opened.page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth)")
    assert len(widths) > 24
    assert all(widths)


def test_the_answer_stands_first_in_bullets(opened: Opened) -> None:
    answer = opened.page.locator("h1 + *")
    assert answer.locator("p").inner_text() == "Face blur: what it costs."
    assert answer.locator("li").all_inner_texts() == ["box AP: cannot tell", "keypoint AP: costs 3.4"]


def test_a_column_sorts_by_its_numbers(opened: Opened, page_file: Path) -> None:
    page, column = opened.page, head(opened.page, "Δ to original")
    assert column.get_attribute("aria-sort") == "none"
    before = rows(page)
    column.locator("button").click()
    assert column.get_attribute("aria-sort") == "ascending"
    table = table_of(page_file)
    own = table[(table.role == "primary") & (table.variant != "original")]
    differences = dict(
        zip(
            "streetlife.compact." + own.task + "." + own.category + "." + own.variant + ".AP",
            own.difference,
            strict=True,
        )
    )
    rising = [differences[name] for name in rows(page) if name in differences]
    assert len(rising) > 15
    assert rising == sorted(rising)
    assert rising[0] < -10
    assert all(".original." in name for name in rows(page)[len(rising) :])  # without a difference: last
    column.locator("button").press("Enter")
    assert column.get_attribute("aria-sort") == "descending"
    falling = [differences[name] for name in rows(page) if name in differences]
    assert falling == rising[::-1]
    assert all(".original." in name for name in rows(page)[len(rising) :])
    head(page, "variant").locator("button").click()
    assert column.get_attribute("aria-sort") == "none"
    page.get_by_role("button", name="Reset").click()
    assert rows(page) == before


def test_filters_leave_what_is_asked_for_and_say_how_much(opened: Opened, page_file: Path) -> None:
    page, table = opened.page, table_of(page_file)
    count = page.get_by_role("status").filter(has_text=" rows")
    everything = len(table)
    assert count.inner_text() == f"{int((table.metric == 'AP').sum())} of {everything} rows"
    form = page.get_by_role("search")
    form.get_by_label("Task").select_option("keypoint AP")
    form.get_by_label("Variant").select_option("face-mask_out")
    assert rows(page) == ["streetlife.compact.pose.person.face-mask_out.AP"]
    form.get_by_label("Metric").select_option("all")
    assert len(rows(page)) == 3
    form.get_by_label("Search").fill("person ap75")
    assert rows(page) == ["streetlife.compact.pose.person.face-mask_out.AP75"]
    assert count.inner_text() == f"1 of {everything} rows"
    form.get_by_label("Search").fill("nobody")
    assert rows(page) == []
    assert count.inner_text() == f"0 of {everything} rows"
    page.get_by_role("button", name="Reset").click()
    assert len(rows(page)) == (table.metric == "AP").sum()
    assert form.get_by_label("Search").input_value() == ""


def test_columns_that_a_study_adds_are_shown(opened: Opened) -> None:
    page = opened.page
    cells = dict(
        zip(
            page.locator("table.numbers > thead th").all_inner_texts(),
            page.locator(f"[id='{ROW}'] > tr").first.locator("th, td").all_inner_texts(),
            strict=True,
        )
    )
    cells = {name.strip(): " ".join(text.split()) for name, text in cells.items()}
    assert cells["kept, %"] == "97.1 95.0 to 99.2"
    assert cells["question"] == "primary"
    ends = [
        [float(end.replace("−", "-")) for end in cells[name].split(" to ")] for name in ("simultaneous 95 %", "90 %")
    ]
    assert [high - low for low, high in ends] == [pytest.approx(18.0, abs=0.11), pytest.approx(6.0, abs=0.11)]
    car = page.locator("[id='streetlife.compact.detection.car.body-mask_out.AP'] > tr").first
    assert "control, overlapped by people" in car.inner_text()


def test_every_number_has_a_link_and_says_how_to_make_it_again(opened: Opened, page_file: Path) -> None:
    page = opened.page
    details = page.locator(f"[id='{ROW}'] .how")
    assert not details.is_visible()
    page.locator("table.pivot").nth(1).get_by_role("row", name="body-mask_out").get_by_role("link").first.click()
    assert page.url.endswith(f"#{ROW}")
    assert details.is_visible()
    link = page.locator(f"[id='{ROW}'] > tr").first.get_by_role("link")
    assert link.get_attribute("aria-expanded") == "true"
    assert page.evaluate("document.activeElement.closest('tbody').id") == ROW
    folder = page_file.parents[1]
    evaluations = re.findall(r"evaluations/\S*\{0,1,2\}\S*metrics\.json", details.locator("pre").inner_text())
    assert len(evaluations) == 2
    for place in evaluations:
        assert all((folder / place.replace("{0,1,2}", seed)).is_file() for seed in "012")
    seeds = read_csv(page_file.parent / "tables/seeds.csv")
    own = seeds[(seeds.task == "pose") & (seeds.category == "person") & (seeds.metric == "AP")]
    wanted = {v: own.loc[own.variant == v, "value"].to_list() for v in ("body-mask_out", "original")}
    shown = [[float(cell) for cell in line.split("\t")[1:3]] for line in details.locator("tbody tr").all_inner_texts()]
    assert shown == [list(pair) for pair in zip(wanted["body-mask_out"], wanted["original"], strict=True)]
    page.keyboard.press("Enter")
    assert not details.is_visible()
    assert "#" not in page.url
    assert link.get_attribute("aria-expanded") == "false"


def test_a_link_from_elsewhere_leads_to_a_row_that_is_filtered_out(opened: Opened, page_file: Path) -> None:
    name = ROW.replace(".AP", ".AP75")
    opened.page.goto(f"{page_file.as_uri()}#{name}")
    opened.page.reload()
    assert opened.page.locator(f"[id='{name}'] .how").is_visible()
    assert opened.page.locator(f"[id='{name}']").first.is_visible()


def test_the_slider_moves_by_keyboard_and_by_pointer(opened: Opened) -> None:
    page = opened.page
    chooser = page.locator("#seen ~ div").get_by_label("Variant")
    assert page.locator(".compares:visible").get_attribute("data-variant") == "face-blur-medium"  # not the control
    chooser.select_option("body-mask_out")
    group = page.locator(".compares:visible")
    assert group.get_attribute("data-variant") == "body-mask_out"
    assert group.locator("figcaption").count() == 3
    slider = group.get_by_role("slider").first
    assert "body-mask_out, changed least" in (slider.get_attribute("aria-label") or "")
    shown = group.locator(".after").first
    at = "element => getComputedStyle(element).clipPath"
    assert "50%" in shown.evaluate(at)
    slider.focus()
    page.keyboard.press("End")
    assert "100%" in shown.evaluate(at)
    assert slider.get_attribute("aria-valuetext") == "100 % original"
    box = group.locator(".pair").first.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 20)
    assert slider.input_value() == "25"
    scores = [
        float(re.findall(r"[\d.]+(?= of 255)", text)[0]) for text in group.locator("figcaption").all_inner_texts()
    ]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0]


def test_the_methods_can_be_copied(browser: Browser, page_file: Path) -> None:
    context = browser.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.get_by_role("button", name="Copy the methods").click()
    page.locator(".methods").get_by_role("status").filter(has_text="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.replace("\r\n", "\n") == page.locator(".methods pre").text_content()
    assert copied.startswith("Data. streetlife: models were trained on the split “train” (12 images;")
    context.close()


@pytest.mark.parametrize("opened", [{"viewport": NARROW}], indirect=True)
def test_nothing_is_cut_off_on_a_telephone(opened: Opened) -> None:
    """What is wider than the screen scrolls in a box of its own, which the keyboard reaches."""
    page = opened.page
    page.locator(f"[id='{ROW}'] a").first.click()
    assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]") == [420, 420]
    outside = page.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 420.5"
        " && !e.closest('.scroll, pre')).map(e => e.outerHTML.slice(0, 80))"
    )
    assert outside == []
    assert page.evaluate("[...document.querySelectorAll('.scroll')].every(box => box.tabIndex === 0)")
    details = page.locator(f"[id='{ROW}'] .how-box").bounding_box()
    assert details
    assert details["x"] >= 0
    assert details["x"] + details["width"] <= 420


@pytest.mark.parametrize("opened", [{"java_script_enabled": False}], indirect=True)
def test_it_works_without_a_script(opened: Opened, page_file: Path) -> None:
    """A plain table, pairs side by side, no dead controls; a row's address shows its details."""
    page = opened.page
    assert page.locator("table.numbers > tbody").last.is_visible()
    assert not page.locator("#filters").is_visible()
    assert page.get_by_role("slider").count() == 0
    before, after = (page.locator(f".compare {kind}").first.bounding_box() for kind in (".before", ".after"))
    assert before
    assert after
    assert before["x"] + before["width"] <= after["x"]
    assert not page.locator(f"[id='{ROW}'] .how").is_visible()
    page.goto(f"{page_file.as_uri()}#{ROW}")
    assert page.locator(f"[id='{ROW}'] .how").is_visible()


@pytest.mark.parametrize(
    "opened", [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"viewport": NARROW}], indirect=True
)
def test_a_screen_reader_finds_its_way(opened: Opened) -> None:
    """axe-core's rules, contrast and names of controls among them, with a row's details open."""
    opened.page.goto(f"{opened.page.url}#{ROW}")
    found = Axe().run(opened.page).response["violations"]
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found] == []
    headings = opened.page.locator("table thead th").all()
    assert all(heading.get_attribute("scope") == "col" for heading in headings)


def test_the_keyboard_reaches_everything_and_shows_where_it_is(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        kind, outline = page.evaluate(
            "[document.activeElement.closest('th button, form, .compare, .scroll, nav, pre + p')?.tagName"
            " ?? document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]"
        )
        if kind == "BODY":
            break
        assert outline != "none", kind
        reached.add(kind)
    assert {"NAV", "BUTTON", "FORM", "FIGURE", "DIV", "P"} <= reached


def test_it_prints_without_controls_and_with_every_pair(opened: Opened) -> None:
    page = opened.page
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()
    assert not page.get_by_role("button", name="Copy the methods").is_visible()
    assert page.locator(".compares:visible").count() == 4
    assert not page.get_by_role("slider").first.is_visible()
    assert len(page.pdf(format="A4")) > 20_000
