"""Joins the shards of a split: checks that everything is there, removes what is not, sums up who was changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from anonbench import manifests, regions, registry
from anonbench.anonymize.labels import Labels
from anonbench.errors import AnonbenchError
from anonbench.files import sha256_file, write_json
from anonbench.manifests import REMEDY, Row
from anonbench.records import ANONYMIZED, UNANNOTATED, Reason
from anonbench.variants import Variant

_COMMON = ("dataset", "variant", "region", "method", "level", "parameters", "encoder", "seed", "anonbench")
_OF_SOME = ("weights_sha256", "fitted_on", "fallback")
"""What the manifests of methods with weights say of them."""


def merge(
    annotations: Path,
    split: str,
    variant: Variant,
    shards: int,
    out: Path,
    *,
    strict: bool = False,
    contents: bool = False,
) -> dict[str, Any]:
    """Write the manifest and ``annotations/<split>.json`` (of the keys in `labels.KEPT`) of a split; return the former.

    ``contents`` checks each image's sha256 (otherwise that it is there with its size); files in the image
    folder and shard manifests that belong to no shard are removed. Raises AnonbenchError when shards do not
    fit together, an image is missing, stands twice or was edited, or with ``strict`` a person was left
    visible (controls aside).
    """
    paths = [manifests.shard_path(out, split, shard) for shard in range(shards)]
    tables = [manifests.read_rows(path) for path in paths]
    header = _common_header(tables, paths, split, variant, shards)
    rows = [row for table in tables for row in table[1:]]
    images = {row["image_id"]: row for row in rows if row["type"] == "image"}
    people = [row for row in rows if row["type"] == "person"]
    _check_images(rows, images, annotations / f"{split}.images.parquet", out / split, contents)
    if strict and variant.method is not None and registry.load("methods", variant.method).anonymizes:
        check_nobody_visible(people, out, split)
    _remove_others(out / split, {row["file_name"] for row in images.values()})
    _remove_others(manifests.shard_path(out, split, 0).parent, {path.name for path in paths})
    target = manifests.annotations_path(out, split)
    labels = Labels(annotations / f"{split}.json")
    labels.write(target)
    if variant.region is None:
        people = _unchanged(annotations / f"{split}.people.parquet")
    actions = Counter(row["action"] for row in images.values())
    summary = {
        "dataset": header["dataset"],
        "split": split,
        **{key: header[key] for key in (*_COMMON[1:], *_OF_SOME) if key in header},
        "images": {action: actions[action] for action in ("encoded", "copied", "stripped")},
        **_coverage(people),
        "shards": [sha256_file(path) for path in paths],
        "annotations_sha256": sha256_file(target),
        "left_out": dict(sorted(labels.left_out.items())),
        "digest": manifests.digest_of({row["file_name"]: row["sha256"] for row in images.values()}),
    }
    write_json(manifests.summary_path(out, split), summary)
    return summary


def _common_header(tables: list[list[Row]], paths: list[Path], split: str, variant: Variant, shards: int) -> Row:
    first = tables[0][0]
    of_all = [key for key in (*_COMMON, *_OF_SOME) if key != "variant"]
    for number, (table, path) in enumerate(zip(tables, paths, strict=True)):
        expected = {"split": split, "variant": str(variant), "shard": number, "shards": shards}
        expected |= {key: first.get(key) for key in of_all}
        for key, value in expected.items():
            if table[0].get(key) != value:
                raise AnonbenchError(
                    f"has {key} {table[0].get(key)!r} instead of {value!r}", file=path, remedy="run this shard again"
                )
    return first


def _check_images(rows: list[Row], images: dict[int, Row], table: Path, folder: Path, contents: bool) -> None:
    counts = Counter(row["image_id"] for row in rows if row["type"] == "image")
    expected = regions.read(table, regions.IMAGES)
    names = dict(zip(expected["image_id"].to_pylist(), expected["file_name"].to_pylist(), strict=True))
    for image_id in [*names, *sorted(counts.keys() - names.keys())]:
        if counts[image_id] != (image_id in names) or images[image_id]["file_name"] != names[image_id]:
            raise AnonbenchError(
                f"stands {counts[image_id]} times in the manifests",
                file=folder / names.get(image_id, ""),
                entry=f"image {image_id}",
                remedy=f"the annotations have changed: {REMEDY}",
            )
        path = folder / names[image_id]
        if not path.is_file():
            raise AnonbenchError("is missing", file=path, entry=f"image {image_id}", remedy=REMEDY)
        manifests.check_image(path, images[image_id], contents)


def check_nobody_visible(people: list[Row], out: Path, split: str) -> None:
    """Raise AnonbenchError when a row of a person names no method: the person was left as they were."""
    visible = [row for row in people if row["method"] is None]
    if visible:
        first = ", ".join(f"{row['person_id']} in image {row['image_id']} ({row['status']})" for row in visible[:5])
        strangers = sum(row["category"] == UNANNOTATED for row in visible)
        remedy = "give them a region (regions in the study), take their images out, or set strict to false"
        if strangers:
            first += f"; {strangers} of them were detected and are nobody's who is annotated"
            remedy = f"set regions.unannotated to true; {remedy}"
        raise AnonbenchError(
            f"strict: {len(visible)} of {len(people)} people are left visible: {first}",
            file=out,
            entry=split,
            remedy=remedy,
        )


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove files that belong to no manifest, left behind by an earlier or a killed run, and empty folders."""
    for name in list(manifests.files_under(folder)):
        if name not in names:
            (folder / name).unlink()
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()


def _unchanged(table: Path) -> list[Row]:
    """Return the people of the original: nobody is changed, and there is no reason to give."""
    rows = regions.read(table, regions.PEOPLE).select(["category", "area"]).to_pylist()
    return [{**row, "status": None} for row in rows]


def _coverage(people: list[Row]) -> Row:
    """Return how many people were changed, by category with the reasons for the others, and their shares.

    A person covered by a fallback method counts as changed; the reason ``method_failed`` stays on record. Detections
    of people whom nobody annotated are counted apart: nobody knows how many were missed. ``weak``, where there are any,
    counts those who were changed, annotated or not, and may still be recognised.
    """
    weak = sum("weak" in row for row in people)
    strangers = [row for row in people if row["category"] == UNANNOTATED]
    people = [row for row in people if row["category"] != UNANNOTATED]
    categories = {name: _counts([r for r in people if r["category"] == name]) for name in _categories(people)}
    changed = [row for row in people if _is_changed(row)]
    total, area = (sum(row["area"] for row in rows) for rows in (people, changed))
    return {
        "people": {
            "total": len(people),
            "by_category": categories,
            "unannotated": _counts(strangers),
            **({"weak": weak} if weak else {}),
        },
        "share_changed": len(changed) / len(people) if people else None,
        "share_area_changed": area / total if total else None,
    }


def _categories(people: list[Row]) -> list[str]:
    return sorted({row["category"] for row in people})


def _is_changed(row: Row) -> bool:
    return row["status"] in (ANONYMIZED, Reason.METHOD_FAILED)


def _counts(people: list[Row]) -> Row:
    """Return how many people there are, how many of them were changed, and the reasons for the others."""
    reasons = Counter(row["status"] for row in people if row["status"] not in (ANONYMIZED, None))
    return {
        "people": len(people),
        "anonymized": sum(map(_is_changed, people)),
        "reasons": dict(sorted(reasons.items())),
    }
