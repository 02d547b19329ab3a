"""The documentation's site: builds without a warning, without torch, and asks nobody else for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from anonbench import registry
from anonbench.anonymize.roi_codec.method import LearnedCodec

PROJECT = Path(__file__).parents[1]
BUILD = """
import sys
from mkdocs.__main__ import cli
cli(["build", "--strict", "--config-file", sys.argv[1], "--site-dir", sys.argv[2]], standalone_mode=False)
heavy = {"torch", "cv2", "anonbench"} & set(sys.modules)
assert not heavy, heavy
"""


def build(project: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BUILD, str(project / "mkdocs.yml"), str(site)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


class Page(HTMLParser):
    """What a page has and asks for: ids, links, and files that a browser loads by itself."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if "id" in has:
            self.ids.add(has["id"])
        if tag == "a" and "href" in has:
            self.links.append(has["href"])
        elif "src" in has:
            self.loads.append(has["src"])
        elif tag == "link" and "href" in has and has.get("rel") not in ("prev", "next", "canonical"):
            self.loads.append(has["href"])


def copy_to(folder: Path, committed: Path) -> Path:
    """Copy what the site is made of: the working tree's pages and sources, and the results that are in git."""
    for name in ("docs", "src"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mkdocs.yml", "CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(PROJECT / name, folder)
    shutil.copytree(committed / "results", folder / "results")
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, committed: Path) -> Path:
    project = copy_to(tmp_path_factory.mktemp("docs"), committed)
    done = build(project, project / "site")
    assert done.returncode == 0, done.stderr
    return project / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Every page of the site, by its path; the default study's report, which has a test of its own, is not one."""
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if "results" not in path.parts}


def test_every_page_is_there(pages: dict[Path, Page], site: Path) -> None:
    sources = {path.relative_to(PROJECT / "docs").with_suffix(".html") for path in (PROJECT / "docs").rglob("*.md")}
    assert sources <= {path.relative_to(site) for path in pages}


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    for path, page in pages.items():
        for target in page.loads:
            assert not urlsplit(target).netloc, f"{path.name} loads {target}"
            if path.name != "404.html" and not target.startswith("data:"):
                assert (path.parent / unquote(urlsplit(target).path)).is_file(), f"{path.name} loads {target}"
        assert "mermaid" not in path.read_text()  # the theme would fetch its renderer
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", sheet.read_text()), sheet


def test_links_and_anchors_lead_somewhere(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for target in page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert to.is_file(), f"{path.name} links to {target}"
            if parts.fragment and to in pages:
                assert unquote(parts.fragment) in pages[to].ids, f"{path.name} links to {target}"


def test_the_api_has_signatures_and_docstrings(site: Path) -> None:
    text = (site / "api.html").read_text()
    for name in ("anonymize.contract.Method.change", "datasets.base.DatasetAdapter.read", "detectors.base.Detector"):
        assert f'id="anonbench.{name}"' in text
    assert "uint8 HxWx3" in text


def test_dead_links_stop_the_build(tmp_path: Path, committed: Path) -> None:
    project = copy_to(tmp_path, committed)
    with (project / "docs" / "glossary.md").open("a") as page:
        page.write("\n[a](gone.md) [b](design.md#gone) ![c](../results/figures/gone.png)\n")
    (project / "docs" / "gone-from-the-menu.md").write_text("# A page that no menu has\n")
    done = build(project, project / "site")
    assert done.returncode != 0
    for said in ("gone.md", "#gone", "figures/gone.png", "gone-from-the-menu.md"):
        assert said in done.stderr, done.stderr
    assert done.stderr.count("WARNING") == 4, done.stderr


@pytest.mark.parametrize("name", registry.names("methods"))
def test_the_gallery_shows_every_method_and_level(name: str) -> None:
    page = (PROJECT / "docs" / "gallery.md").read_text()
    if name in ("diffusion", "deepprivacy2", "learned"):  # need weights, or clips, that do not come with the page
        assert f"[`{name}`]({name}.md)" in page
        return
    if issubclass(registry.load("methods", name), LearnedCodec):  # is fitted for longer than a gallery should take
        assert f"[`{name}`](codec.md)" in page
        return
    for kind in registry.load("methods", name).kinds:
        for level in registry.load("methods", name).levels or [""]:
            figure = f"figures/gallery/{'-'.join(filter(None, (kind, name, level)))}.jpg"
            assert figure in page
            assert 1000 < (PROJECT / "docs" / figure).stat().st_size < 30_000
