"""The gallery of the documentation: one rendered person under every method and level.

snakemake variants --cores all --configfile config/gallery.yaml && python benchmarks/gallery.py
reads the variants of that study and writes docs/figures/gallery/<variant>.jpg and the tables of docs/gallery.md. The
person is one whom the report's sheet would show, too: with a visible face, neither cut off nor hidden.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from anonbench import config
from anonbench.cli import one_sentence
from anonbench.files import read_json, write_text
from anonbench.images import read_rgb
from anonbench.names import encoded
from anonbench.report.sheet import choose, crop_box, face_box, statuses
from anonbench.variants import ORIGINAL, Variant

ROOT = Path(__file__).parents[1]
SHOWN = {"face": ("Faces", (160, 160)), "body": ("Bodies", (160, 240)), "frame": ("Frames", (200, 150))}
"""Per kind of region: the heading, and the size (width, height) in pixels of what is shown."""
PEOPLE = 6
"""How many people of different sizes there are to choose from."""
BEGIN, END = "<!-- written by benchmarks/gallery.py -->", "<!-- /written -->"


def main(
    study: Annotated[Path, typer.Option(help="The study's file.")] = ROOT / "config" / "gallery.yaml",
    docs: Annotated[Path, typer.Option(help="The documentation's folder.")] = ROOT / "docs",
    number: Annotated[int, typer.Option(min=0, max=PEOPLE - 1, help="Who is shown: 0 is the tallest.")] = 1,
) -> None:
    """Crop the person out of every variant, and write the page's tables."""
    settings = config.load(study)
    (dataset, block), *_ = settings.datasets.items()
    anonymized = ROOT / settings.output / "anonymized" / dataset
    truth = read_json(anonymized / ORIGINAL / "annotations" / f"{block.train}.json")
    told = [variant for variant in settings.variants if settings.anonymizes(variant)]
    person, image, _ = choose(truth, PEOPLE, statuses(anonymized, told, block.train))[number]
    size = image["width"], image["height"]
    figures = docs / "figures" / "gallery"
    figures.mkdir(parents=True, exist_ok=True)
    rows: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    kinds = {Variant.parse(name).region for name in settings.variants}
    around = {"body": person["bbox"], "face": face_box(person), "frame": (0, 0, *size)}
    for name in settings.variants:
        variant = Variant.parse(name)
        stored = encoded(image["file_name"], settings.encoder(name) if variant.method else None)
        pixels = Image.fromarray(read_rgb(anonymized / name / block.train / stored, size))
        for kind, (_, shown) in SHOWN.items():
            if kind not in kinds or variant.region not in (None, kind):
                continue
            box = crop_box(around[kind], shown[1] / shown[0], *size)
            file = f"{name}-{kind}.jpg" if name == ORIGINAL else f"{name}.jpg"
            cell = pixels.resize(shown, Image.Resampling.LANCZOS, box=box)
            cell.save(figures / file, quality=88, optimize=True)
            rows[kind, variant.method or ORIGINAL][variant.level or ""] = f"![{name}](figures/gallery/{file})"
    page = docs / "gallery.md"
    before, _, rest = page.read_text().partition(BEGIN)
    write_text(page, f"{before}{BEGIN}\n{_tables(rows)}\n{END}{rest.partition(END)[2]}")


def _tables(rows: dict[tuple[str, str], dict[str, str]]) -> str:
    """Return a section per kind of region: a row for all methods without levels, then a table per set of levels."""
    lines = []
    for kind, (title, _) in SHOWN.items():
        by_levels: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for of, method in rows:
            if of == kind:
                by_levels[tuple(rows[of, method])].append(method)
        if not by_levels:
            continue
        lines += ["", f"## {title}", "", '<div class="gallery" markdown>']
        for levels, methods in by_levels.items():
            names = [f"`{method}`" if method != ORIGINAL else method for method in methods]
            cells = [[rows[kind, method][level] for level in levels] for method in methods]
            if levels == ("",):
                lines += ["", _row(names), _row("---" for _ in names), _row(cell for (cell,) in cells)]
            else:
                lines += ["", _row(["", *levels]), _row("---" for _ in ["", *levels])]
                lines += [_row([name, *more]) for name, more in zip(names, cells, strict=True)]
        lines += ["", "</div>"]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
