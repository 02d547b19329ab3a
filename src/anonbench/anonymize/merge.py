"""Joins the shards of a split: checks that everything is there and nothing else, sums up who was changed."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from pathlib import Path
from typing import Any

from anonbench import manifests, names, regions
from anonbench.anonymize.controls import anonymizes, hiding
from anonbench.anonymize.labels import Labels
from anonbench.errors import AnonbenchError
from anonbench.files import is_left_over, is_temporary, sha256_file, write_json, write_text
from anonbench.manifests import REMEDY, Row, is_changed
from anonbench.records import ANONYMIZED, UNANNOTATED, RegionKind
from anonbench.variants import EVERYTHING, Variant

_COMMON = ("dataset", "variant", "region", "touches", "method", "level", "parameters", "encoder", "seed", "anonbench")
_OF_SOME = ("weights_sha256", "fitted_on", "fallback", "facts", "tuned")
"""What the manifests of methods with weights, with facts, or that looked at a sample first, say of them."""
_KEYS = {
    "image": {"image_id", "file_name", "action", "sha256", "bytes"},
    "frame": {"image_id", "status", "pixels", "method"},
    "person": {"image_id", "person_id", "category", "status", "area", "method"},
}
"""What a row must have to be summed up."""
_KEPT = {"type", "facts", "weak"}.union(*_KEYS.values())
"""What is kept of a row: a method's parameters, said again for each of a million people, take most of the memory."""


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

    ``contents`` checks each image's sha256 (otherwise that it is there with its size). What an earlier run of the
    variant left and this one does not have is removed, and nothing else. Raises AnonbenchError when shards do not
    fit together, an image is missing, listed twice or edited, a file in the image folder was not written by the
    variant's runs, or with ``strict`` a person was left visible (controls aside).
    """
    paths = [manifests.shard_path(out, split, shard) for shard in range(shards)]
    tables = [_rows(path) for path in paths]
    header = _common_header(tables, paths, split, variant, shards)
    rows = [row for table in tables for row in table[1:]]
    images = {row["image_id"]: row for row in rows if row["type"] == "image"}
    people, frames = ([row for row in rows if row["type"] == kind] for kind in ("person", "frame"))
    named = _expected_names(annotations / f"{split}.images.parquet", images, header["encoder"])
    _check_images(rows, images, named, out / split, contents)
    hashes = {row["file_name"]: row["sha256"] for row in images.values()}
    listing, earlier = manifests.listing_path(out, split), manifests.listed(out, split)
    write_text(listing, manifests.listing_of({**earlier, **hashes}))  # ours, whatever ends this run
    gate = _at_the_gate(annotations / f"{split}.images.parquet")
    if strict and anonymizes(variant.method, header["parameters"]):
        check_nobody_visible(people, out, split)
        check_frames({**header, **gate}, out, split)
    _remove_stale_images(out, split, set(hashes))
    _remove_stale_shards(out, header, shards)
    write_text(listing, manifests.listing_of(hashes))
    target = manifests.annotations_path(out, split)
    labels = Labels(annotations / f"{split}.json")
    entries = ({**image, "file_name": named.get(image["id"], image["file_name"])} for image in labels.images)
    labels.write(target, list(entries))
    if variant.region is None:
        people = _unchanged(annotations / f"{split}.people.parquet")
    actions = Counter(row["action"] for row in images.values())
    summary = {
        "dataset": header["dataset"],
        "split": split,
        **{key: header[key] for key in (*_COMMON[1:], *_OF_SOME) if key in header},
        "images": {action: actions[action] for action in ("encoded", "copied", "stripped")},
        **gate,
        **({"frames": _counts(frames, "frames")} if frames else {}),
        **_coverage(people),
        **_means([*frames, *people]),
        "shards": [sha256_file(path) for path in paths],
        "annotations_sha256": sha256_file(target),
        "left_out": dict(sorted(labels.left_out.items())),
        "digest": manifests.digest_of(hashes),
    }
    write_json(manifests.summary_path(out, split), summary)
    return summary


def _rows(path: Path) -> list[Row]:
    """Read what is kept of a shard's rows; raise AnonbenchError for one that is of neither image, frame nor person."""
    rows = manifests.each_row(path)
    kept = [next(rows)]
    for number, row in enumerate(rows, start=2):
        if not _KEYS.get(row["type"], {""}) <= row.keys():
            what = "is not the row of an image, a frame or a person"
            raise AnonbenchError(what, file=path, entry=f"line {number}", remedy=REMEDY)
        kept.append({key: value for key, value in row.items() if key in _KEPT})
    return kept


def _common_header(tables: list[list[Row]], paths: list[Path], split: str, variant: Variant, shards: int) -> Row:
    first = tables[0][0]
    of_all = [key for key in (*_COMMON, *_OF_SOME) if key != "variant"]
    for number, (table, path) in enumerate(zip(tables, paths, strict=True)):
        expected = {"split": split, "variant": str(variant), "shard": number, "shards": shards}
        expected |= {key: first.get(key) for key in of_all}
        for key, value in expected.items():
            if table[0].get(key) != value:
                # what all shards looked for together may be wrong in either
                which = f"this shard and {paths[0].name} again" if key == "tuned" else "this shard again"
                raise AnonbenchError(
                    f"has {key} {table[0].get(key)!r} instead of {value!r}", file=path, remedy=f"run {which}"
                )
    return first


def _expected_names(table: Path, images: dict[int, Row], encoder: str | None) -> dict[int, str]:
    """Return the name of each image of the split in the variant: the source's, unless it was made a PNG."""
    expected = regions.read(table, regions.IMAGES)
    found = dict(zip(expected["image_id"].to_pylist(), expected["file_name"].to_pylist(), strict=True))
    changed = (i for i in found if i in images and images[i]["action"] == "encoded")
    return found | {i: names.encoded(found[i], encoder) for i in changed}


def _check_images(rows: list[Row], images: dict[int, Row], named: dict[int, str], folder: Path, contents: bool) -> None:
    counts = Counter(row["image_id"] for row in rows if row["type"] == "image")
    for image_id in [*named, *sorted(counts.keys() - named.keys())]:
        if counts[image_id] != (image_id in named) or images[image_id]["file_name"] != named[image_id]:
            raise AnonbenchError(
                f"appears {counts[image_id]} times in the manifests",
                file=folder / named.get(image_id, ""),
                entry=f"image {image_id}",
                remedy=f"the annotations have changed: {REMEDY}",
            )
        path = folder / named[image_id]
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


def check_frames(summary: Row, out: Path, split: str) -> None:
    """Raise AnonbenchError when it was guessed of an image in which frame its labels were drawn, and that matters."""
    guessed = frames_in_doubt(summary)
    if guessed:
        raise AnonbenchError(
            f"strict: labels of {guessed} images with an EXIF orientation may have been drawn on the stored image, and "
            "people stay visible there if they were",
            file=out,
            entry=split,
            remedy="run anonbench check-frame and set labels_on of the data set to upright or stored, or set strict to "
            "false",
        )


def frames_in_doubt(summary: Row) -> int:
    """Return of how many images a wrong guess of the frame leaves people visible: none where everything is changed.

    Of a variant that comes after another one, that one tells.
    """
    region = summary["region"]
    changed = hiding(Variant(region and RegionKind(region), summary["method"]), summary["parameters"])
    return 0 if changed.touches == EVERYTHING else int(summary.get("frame_guessed", 0))


def _remove_stale_images(out: Path, split: str, current: set[str]) -> None:
    """Remove images of earlier runs that are no longer in the split: what the last merge listed, and temporary files.

    Those that somebody may still be writing are left. Raises AnonbenchError for any other file, removing nothing then.
    """
    folder, earlier = out / split, manifests.listed(out, split)
    stale: list[Path] = []
    strange: list[Path] = []
    for name in sorted(set(manifests.files_under(folder)) - current):
        path = folder / name
        if is_left_over(path) or (name in earlier and sha256_file(path) == earlier[name]):
            stale.append(path)
        elif not is_temporary(name.rpartition("/")[2]):
            strange.append(path)
    if strange:
        more = f" (and {len(strange) - 1} other files)" if len(strange) > 1 else ""
        raise AnonbenchError(
            f"does not belong to the variant{more}, and no earlier merge left it there as it is",
            file=strange[0],
            remedy=f"move it away, or remove {folder} and run the anonymize stage again",
        )
    for path in stale:
        path.unlink()
        for parent in path.relative_to(folder).parents[:-1]:
            if any((folder / parent).iterdir()):
                break
            (folder / parent).rmdir()


def _remove_stale_shards(out: Path, header: Row, shards: int) -> None:
    """Remove the manifests of shards that an earlier run of this variant had beyond those of this one."""
    folder = manifests.shard_path(out, header["split"], 0).parent
    for path in folder.iterdir():
        if path.suffix != ".jsonl" or not path.stem.isdecimal() or int(path.stem) < shards:
            continue
        with contextlib.suppress(AnonbenchError):
            first = manifests.read_rows(path)[0]
            if all(first.get(key) == header[key] for key in ("split", "variant")):
                path.unlink()


def _unchanged(table: Path) -> list[Row]:
    """Return the people of the original: nobody is changed, and there is no reason to give."""
    rows = regions.read(table, regions.PEOPLE).select(["category", "area"]).to_pylist()
    return [{**row, "status": None} for row in rows]


def _at_the_gate(table: Path) -> Row:
    """Return how many images, annotations and people were skipped, and images whose frame was guessed, if any."""
    facts = regions.facts_of(table)
    if "skipped" in facts:
        gone = facts["skipped"]
        annotations, people = sum(one["annotations"] for one in gone), sum(len(one["people"]) for one in gone)
        facts["skipped"] = {"images": len(gone), "annotations": annotations, "people": people}
    return {key: facts[key] for key in ("skipped", "frame_guessed") if key in facts}


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
    changed = [row for row in people if is_changed(row)]
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


def _means(rows: list[Row]) -> Row:
    """Return of each fact that is a number of how many people or frames it is known, and its mean."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.get("facts", {}).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values.setdefault(name, []).append(value)
    means = {name: {"count": len(of), "mean": math.fsum(of) / len(of)} for name, of in sorted(values.items())}
    return {"facts_mean": means} if means else {}


def _categories(people: list[Row]) -> list[str]:
    return sorted({row["category"] for row in people})


def _counts(people: list[Row], what: str = "people") -> Row:
    """Return how many people (or frames) there are, how many of them were changed, and the others' reasons."""
    reasons = Counter(row["status"] for row in people if row["status"] not in (ANONYMIZED, None))
    return {
        what: len(people),
        "anonymized": sum(map(is_changed, people)),
        "reasons": dict(sorted(reasons.items())),
    }
