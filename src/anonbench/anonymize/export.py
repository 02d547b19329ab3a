"""The command `anonbench export`: what of a variant may be handed out, in a folder of its own.

That is the images, the labels that `labels.KEPT` lists, a datasheet and the checksums of these files. No seed, no hash
and no path of the original is among them: the manifests, which hold them, are only read.
"""

from __future__ import annotations

import csv
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from anonbench import __version__, manifests
from anonbench.anonymize.controls import anonymizes
from anonbench.anonymize.labels import Labels
from anonbench.anonymize.merge import check_frames, check_nobody_visible, frames_in_doubt
from anonbench.errors import AnonbenchError
from anonbench.files import atomic, read_bytes, sha256_bytes, sha256_file, write_bytes, write_json, write_text
from anonbench.manifests import Row

SUMS, DATASHEET = "SHA256SUMS", "datasheet.json"
TIME = 946684800
"""When every exported file was changed: the first second of 2000, UTC. The real time is that of the processing."""

WORD = re.compile(r"[A-Za-z0-9_.-]{1,32}")
"""What a parameter's text may be: a name, not a path, a hash or a prompt."""


def export(
    variant: Annotated[Path, typer.Argument(help="Folder of the variant.")],
    out: Annotated[Path, typer.Option(help="Folder to be handed out; it must not exist yet.")],
    split: Annotated[list[str] | None, typer.Option(help="A split to export; all when left out.")] = None,
    rename: Annotated[
        Path | None,
        typer.Option(
            help="Give images and annotations new names and ids, in random order. The file gets what was what: keep it."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail when a person was left visible.")] = False,
) -> None:
    """Write what of a variant may be handed out: images, labels, a datasheet and checksums, and nothing else."""
    done = Export(variant, out, rename, strict).run(split or None)
    for name, of in done.items():
        people = of["people"]["by_category"].values()
        total, changed = (sum(entry[key] for entry in people) for key in ("people", "anonymized"))
        typer.echo(f"{name}: {of['images']} images, {of['annotations']} annotations, {changed} of {total} anonymized")
        if changed < total:
            reasons: Counter[str] = Counter()
            for entry in people:
                reasons.update(entry["reasons"])
            why = ", ".join(f"{reason} {number}" for reason, number in sorted(reasons.items()))
            typer.echo(f"  {total - changed} people are left visible ({why}); --strict refuses such a variant")
        strangers = of["people"]["unannotated"]
        if strangers["anonymized"] < strangers["people"]:
            typer.echo(
                f"  {strangers['people'] - strangers['anonymized']} detections of nobody who is annotated are left "
                "visible; --strict refuses such a variant"
            )
        if guessed := frames_in_doubt(of):
            typer.echo(
                f"  of {guessed} images it was guessed in which frame their labels were drawn, and people "
                "stay visible if that is wrong (anonbench check-frame); --strict refuses such a variant"
            )
        if of["people"].get("weak"):
            typer.echo(
                f"  {of['people']['weak']} people were changed and may still be recognised (anonbench merge names them)"
            )
    if rename is None:
        typer.echo(
            "Names and ids are those of the source and lead whoever has it to the original; --rename gives new ones."
        )
    else:
        typer.echo(f"{rename} says which image was which: it may not be handed out.")
    typer.echo(str(out))


class Export:
    """Copies a variant's handed-out part into a folder beside ``out`` and renames it to ``out`` when it is whole."""

    def __init__(self, variant: Path, out: Path, rename: Path | None = None, strict: bool = False) -> None:
        self.variant, self.out, self.rename, self.strict = variant, out, rename, strict
        self._check_places()
        self.part = out.resolve().with_name(f".{out.resolve().name}.export.part")
        self.mapping: list[tuple[Any, ...]] = []
        self.sums: dict[str, str] = {}

    def run(self, splits: list[str] | None = None) -> dict[str, Row]:
        """Write the export and return what its datasheet says of each split.

        Raises AnonbenchError, and leaves nothing, when the variant has no manifest, is a control, or is not what its
        manifests say, and with ``strict`` when a person was left visible.
        """
        written = manifests.splits_of(self.variant)
        for split in splits or ():
            if written and split not in written:
                raise AnonbenchError(
                    f"split '{split}' was not anonymized in this variant (splits: {', '.join(written)})",
                    file=self.variant,
                    entry="--split",
                    remedy="export one of those, or anonymize the training split first (snakemake variants)",
                )
        splits = splits or written
        if not splits:
            raise AnonbenchError(
                "has no manifest that says what is in it",
                file=manifests.private_folder(self.variant),
                remedy="give the folder of a variant, where anonymize and merge wrote it",
            )
        shutil.rmtree(self.part, ignore_errors=True)  # of an export that was killed
        try:
            sheets = {split: self._split(split) for split in splits}
            self._write(DATASHEET, sheets)
            _neutral_times(self.part)
            if self.rename is not None:
                self._write_mapping(self.rename)
            try:
                os.rename(self.part, self.out.resolve())
            except BaseException:
                if self.rename is not None:
                    self.rename.unlink(missing_ok=True)
                raise
        except BaseException:
            shutil.rmtree(self.part, ignore_errors=True)
            raise
        return sheets

    def _check_places(self) -> None:
        out, variant = self.out.resolve(), self.variant.resolve()
        private = manifests.private_folder(variant).parent
        for place, what in ((variant, "the variant"), (private, "what may not be handed out")):
            if out == place or out in place.parents or place in out.parents:
                raise AnonbenchError(f"overlaps {what} in {place}", file=self.out, remedy="choose another --out")
        if self.out.exists() and not (self.out.is_dir() and not any(self.out.iterdir())):
            raise AnonbenchError("exists and is not an empty folder", file=self.out, remedy="choose another --out")
        if self.rename is None:
            return
        mapping = self.rename.resolve()
        if mapping.exists():
            raise AnonbenchError("exists", file=self.rename, remedy="choose another file for --rename")
        if {out, variant} & {mapping, *mapping.parents}:
            raise AnonbenchError(
                "would be handed out with the images", file=self.rename, remedy="choose another file for --rename"
            )

    def _split(self, split: str) -> Row:
        """Copy a split; return what the datasheet says of it."""
        manifests.verify(self.variant, split, contents=False)  # contents are hashed while they are copied
        summary = manifests.summary_of(self.variant, split)
        if not anonymizes(summary["method"], summary["parameters"]):
            raise AnonbenchError(
                f"is a control ({summary['variant']}): nobody in it is anonymized",
                file=self.variant,
                remedy="export an anonymized variant",
            )
        rows = list(manifests.rows_of(self.variant, split))
        if self.strict:
            check_nobody_visible([row for row in rows if row["type"] == "person"], self.variant, split)
            check_frames(summary, self.variant, split)
        labels = Labels(manifests.annotations_path(self.variant, split))
        images = {row["image_id"]: row for row in rows if row["type"] == "image"}
        order = [image["id"] for image in labels.images]
        if {i["id"]: i["file_name"] for i in labels.images} != {i: row["file_name"] for i, row in images.items()}:
            raise AnonbenchError(
                "has images that differ from those of the manifest",
                file=manifests.annotations_path(self.variant, split),
                remedy=manifests.REMEDY,
            )
        if self.rename is not None:
            order = _shuffled(labels)
        number = {image_id: place for place, image_id in enumerate(order, 1)}
        digits = max(6, len(str(len(order))))
        names = {}
        for image_id in tqdm(order, f"export {split}", unit="image", disable=None):
            row = images[image_id]
            source = self.variant / split / row["file_name"]
            data = read_bytes(source)
            if sha256_bytes(data) != row["sha256"]:
                manifests.check_image(source, row, contents=True)
                raise AnonbenchError("changed while it was being copied", file=source, remedy="run again")
            suffix = ".png" if data.startswith(b"\x89PNG") else ".jpg"  # only these are written
            new = row["file_name"] if self.rename is None else f"{number[image_id]:0{digits}d}{suffix}"
            names[image_id] = new
            self._put(f"{split}/{new}", data, row["sha256"])
        target = f"annotations/instances_{split}.json"
        count = len(labels.coco.annotations)
        if self.rename is None:
            labels.write(self.part / target)
        else:
            entries = [
                {**image, "id": number[image["id"]], "file_name": names[image["id"]]}
                for image in sorted(labels.images, key=lambda image: number[image["id"]])
            ]
            framed = [entry for entry in entries if "video_id" in entry]
            video = {old: new for new, old in enumerate(dict.fromkeys(entry["video_id"] for entry in framed), 1)}
            for entry in framed:
                entry["video_id"] = video[entry["video_id"]]
            videos = sorted(({**entry, "id": video[entry["id"]]} for entry in labels.videos), key=lambda v: v["id"])
            self.mapping += [("image", split, i, images[i]["file_name"], number[i], names[i]) for i in order]
            self.mapping += [("video", split, old, "", new, "") for old, new in video.items()]
            labels.write(self.part / target, entries, self._renumbered(labels, number, split), videos)
        self.sums[target] = sha256_file(self.part / target)
        return {
            **{key: summary[key] for key in ("region", "touches", "method", "level", "fallback") if key in summary},
            **_parameters(summary["parameters"]),
            "images": len(order),
            "annotations": count,
            **{key: summary[key] for key in ("people", "share_changed", "share_area_changed")},
            **{key: summary[key] for key in ("frame_guessed", "frames") if key in summary},
        }

    def _renumbered(self, labels: Labels, number: dict[int, int], split: str) -> Iterator[Row]:
        """Yield the annotations image by image in the images' new order, those of an image in random order."""
        chance = random.SystemRandom()
        ids = list(labels.coco.annotations.ids())
        order = sorted(range(len(ids)), key=lambda at: (number[ids[at].image_id], chance.random()))
        for new, entry in enumerate(labels.annotations(order), 1):
            self.mapping.append(("annotation", split, entry["id"], "", new, ""))
            yield {**entry, "id": new, "image_id": number[entry["image_id"]]}

    def _put(self, name: str, data: bytes, digest: str) -> None:
        write_bytes(self.part / name, data)
        self.sums[name] = digest

    def _write(self, name: str, sheets: dict[str, Row]) -> None:
        """Write the datasheet, and the checksums of everything as ``sha256sum --check`` reads them."""
        value = {
            "format": "COCO",
            "variant": manifests.summary_of(self.variant, next(iter(sheets)))["variant"],
            "written_by": f"anonbench {__version__}",
            "renamed": self.rename is not None,
            "splits": sheets,
        }
        write_json(self.part / name, value)
        self.sums[name] = sha256_file(self.part / name)
        lines = []
        for path, digest in sorted(self.sums.items()):
            escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
            lines.append(f"{'' if escaped == path else chr(92)}{digest}  {escaped}\n")
        write_text(self.part / SUMS, "".join(lines))

    def _write_mapping(self, path: Path) -> None:
        """Write which image and annotation was which, for the owner's eyes only."""
        with atomic(path) as part:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", newline="") as stream:
                table = csv.writer(stream, lineterminator="\n")
                table.writerow(("kind", "split", "source_id", "source_name", "id", "name"))
                table.writerows(self.mapping)


def _shuffled(labels: Labels) -> list[int]:
    """Return the ids of the images in random order, the frames of each video together and in their own."""
    units: dict[tuple[str, int], list[int]] = {}
    for image in labels.images:
        unit = ("video", image["video_id"]) if "video_id" in image else ("image", image["id"])
        units.setdefault(unit, []).append(image["id"])
    shuffled = list(units.values())
    random.SystemRandom().shuffle(shuffled)
    return [image_id for unit in shuffled for image_id in unit]


def _parameters(parameters: dict[str, Any]) -> Row:
    """Return a method's parameters without seeds and without what may be a path, a hash or a text of the owner's."""

    def neutral(value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            return all(neutral(one) for one in value)
        return value is None or isinstance(value, (bool, int, float)) or bool(WORD.fullmatch(str(value)))

    kept = {
        key: value
        for key, value in parameters.items()
        if "seed" not in key and not isinstance(value, dict) and neutral(value)
    }
    withheld = sorted(parameters.keys() - kept.keys())
    return {"parameters": kept, **({"parameters_withheld": withheld} if withheld else {})}


def _neutral_times(folder: Path) -> None:
    """Give everything below a folder, and the folder, the same rights and the same time."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = os.path.join(parent, name)
            os.chmod(path, 0o644)
            os.utime(path, (TIME, TIME))
        os.chmod(parent, 0o755)
        os.utime(parent, (TIME, TIME))
