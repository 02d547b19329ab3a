"""VISPR, the Visual Privacy dataset: photographs from Flickr with the private attributes that can be seen in them.

Splits, attributes and format: https://tribhuvanesh.github.io/vpa/ (Orekondy et al., "Towards a Visual Privacy Advisor:
Understanding and Predicting Privacy Risks in Images", ICCV 2017).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from anonbench.blocks import Strict
from anonbench.datasets.base import DatasetAdapter, Sources, Split
from anonbench.datasets.layout import AGAIN, check_split, image_size, need_folder
from anonbench.errors import AnonbenchError, nearest
from anonbench.files import read_json

SPLITS = {"train2017": 10_000, "val2017": 4_167, "test2017": 8_000}
"""How many images each split has."""
CATEGORY = {"id": 1, "name": "person", "supercategory": "person"}
PAGE = "https://tribhuvanesh.github.io/vpa/"
YES, NO = "yes", "no"

ATTRIBUTES = (
    "a0_safe", "a1_age_approx", "a2_weight_approx", "a3_height_approx", "a4_gender", "a5_eye_color", "a6_hair_color",
    "a7_fingerprint", "a8_signature", "a9_face_complete", "a10_face_partial", "a11_tattoo", "a12_semi_nudity",
    "a13_full_nudity", "a16_race", "a17_color", "a18_ethnic_clothing", "a19_name_full", "a20_name_first",
    "a21_name_last", "a23_birth_city", "a24_birth_date", "a25_nationality", "a26_handwriting", "a27_marital_status",
    "a29_ausweis", "a30_credit_card", "a31_passport", "a32_drivers_license", "a33_student_id", "a35_mail",
    "a37_receipt", "a38_ticket", "a39_disability_physical", "a41_injury", "a43_medicine", "a46_occupation",
    "a48_occassion_work", "a49_phone", "a55_religion", "a56_sexual_orientation", "a57_culture", "a58_hobbies",
    "a59_sports", "a60_occassion_personal", "a61_opinion_general", "a62_opinion_political", "a64_rel_personal",
    "a65_rel_social", "a66_rel_professional", "a67_rel_competitors", "a68_rel_spectators", "a69_rel_views",
    "a70_education_history", "a73_landmark", "a74_address_current_complete", "a75_address_current_partial",
    "a78_address_home_complete", "a79_address_home_partial", "a82_date_time", "a85_username", "a90_email",
    "a92_email_content", "a97_online_conversation", "a99_legal_involvement", "a102_vehicle_ownership",
    "a103_license_plate_complete", "a104_license_plate_partial",
)  # fmt: skip
"""The 68 attributes, as the data set spells them."""
PRESETS: dict[str, tuple[str, ...]] = {
    "seven": (
        "a17_color", "a4_gender", "a9_face_complete", "a10_face_partial", "a12_semi_nudity", "a64_rel_personal",
        "a65_rel_social",
    ),
}  # fmt: skip
"""``seven``: what SPAct (CVPR 2022) and those who compare with it are taken to have used; their code names none."""


class VisprOptions(Strict):
    """Which attributes are read."""

    attributes: list[str] | None = Field(
        None, min_length=1, description="Names of attributes to read; all 68, or those of the preset, when left out."
    )
    preset: Literal["seven"] | None = Field(
        None, description="`seven`: the seven attributes that published anonymizers of videos are measured on."
    )

    @field_validator("attributes")
    @classmethod
    def _known(cls, names: list[str] | None) -> list[str] | None:
        for name in names or ():
            if name not in ATTRIBUTES:
                raise ValueError(f"unknown attribute '{name}'{nearest(name, ATTRIBUTES)}")
        if len({*(names or ())}) < len(names or ()):
            raise ValueError("the same attribute twice")
        return names

    @property
    def chosen(self) -> tuple[str, ...]:
        """The attributes that are read, in the data set's order."""
        wanted = self.attributes or (PRESETS[self.preset] if self.preset else ATTRIBUTES)
        return tuple(name for name in ATTRIBUTES if name in wanted)


class Vispr(DatasetAdapter):
    """Photographs with attributes of the whole image, which count as those of all people in it."""

    Options: ClassVar[type[Strict]] = VisprOptions
    split_options = ()

    def download(self, target: Path, splits: list[str], sources: Sources) -> None:
        """Refuse: the addresses of the archives have moved before."""
        raise AnonbenchError("VISPR cannot be fetched automatically", remedy=_remedy())

    def read(self, root: Path, split: str) -> Split:
        """Read a split under ``root``, which holds images/<split>/*.jpg and annotations/<split>/*.json.

        Folders called <split>, with images and annotations side by side, are read, too. Raises AnonbenchError when a
        folder is missing or empty, an image has no annotation, or one is of another form.
        """
        check_split("vispr", split, SPLITS)
        folder, labels = (_folder(root, kind, split) for kind in ("images", "annotations"))
        names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
        if not names:
            raise AnonbenchError("has no images", file=folder, remedy=_remedy())
        images, annotations, unknown = [], [], set[str]()
        for number, name in enumerate(names, 1):
            width, height = image_size(folder / name, f"image {number}")
            said = _labels(labels / f"{Path(name).stem}.json")
            unknown |= said - {*ATTRIBUTES}
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            annotations.append(
                {
                    "id": number,
                    "image_id": number,
                    "category_id": CATEGORY["id"],
                    "bbox": [0, 0, width, height],
                    "area": width * height,
                    "iscrowd": 1,
                    "attributes": {name: YES if name in said else NO for name in self.options.chosen},
                }
            )
        warnings = []
        if unknown:
            warnings.append(f"{folder} has labels that are none of the 68 attributes: {', '.join(sorted(unknown)[:9])}")
        if len(names) != SPLITS[split]:
            warnings.append(f"{folder} has {len(names)} images; the data set has {SPLITS[split]}")
        return Split(
            folder=folder.relative_to(root),
            images=images,
            categories=[CATEGORY],
            annotations=annotations,
            sources=tuple(labels / f"{Path(name).stem}.json" for name in names),
            info={"description": f"VISPR {split}"},
            attributes={name: [NO, YES] for name in self.options.chosen},
            warnings=warnings,
        )


def _labels(path: Path) -> set[str]:
    value: Any = read_json(path)
    labels = value.get("labels") if isinstance(value, dict) else None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise AnonbenchError("has no list 'labels' of names", file=path, remedy=AGAIN)
    return set(labels)


def _folder(root: Path, kind: str, split: str) -> Path:
    return root / kind / split if (root / kind / split).is_dir() else need_folder(root / split)


def _remedy() -> str:
    return (
        f"get images and annotations of train2017, val2017 and test2017 as {PAGE} says, unpack them to "
        "images/<split>/*.jpg and annotations/<split>/*.json, and give their folder to the study as root:"
    )
