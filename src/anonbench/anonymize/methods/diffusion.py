"""In-painting with a diffusion model that the user brings, through the package ``diffusers``.

Latent diffusion: Rombach et al., CVPR 2022; pose as a second condition: Zhang et al., "Adding conditional control to
text-to-image diffusion models" (ControlNet), ICCV 2023. Anonymizing people this way: Klemp et al., LDFA, 2023 (faces).
"""

from __future__ import annotations

import importlib
import inspect
import math
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from pydantic import AfterValidator, Field, model_validator

from anonbench.anonymize.contract import Crop, Method
from anonbench.anonymize.fallbacks import Fallback
from anonbench.blocks import Strict
from anonbench.errors import AnonbenchError, first_line
from anonbench.records import Region, RegionKind
from anonbench.windows import Window, published_window

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
GREY = 0.5
"""What is painted where the person was, in 0..1: zero in the models' own range -1..1, which they are trained with."""


def _eights(size: tuple[int, int]) -> tuple[int, int]:
    if any(side < 8 or side % 8 for side in size):
        raise ValueError("width and height must be multiples of 8")
    return size


Size = Annotated[tuple[int, int], AfterValidator(_eights)]
Prompts = Annotated[tuple[str, ...], Field(min_length=1)]


class Diffusion(Method):
    """Replaces a person or a face by what a diffusion model paints in its place.

    The model sees the published crop at a working size of its own. At strength 1 the person is painted grey, with a
    margin, before the model gets the crop: in-painting pipelines encode the whole picture, and with some of them what
    is under the mask would shine through. The noise of a person is drawn from the person's seed alone. Batches are
    filled up to a constant size, so that the sums of the arithmetic do not depend on who else is in one.

    Raises AnonbenchError, when it is made, for a missing package, model or GPU, for weights that are pickles, and for a
    model that cannot in-paint.
    """

    class Parameters(Strict):
        """Parameters of `Diffusion`; sizes are width and height in pixels."""

        model: str = Field(
            min_length=1, description="In-painting checkpoint: a folder in diffusers' layout, or an id on the hub."
        )
        revision: str | None = Field(None, description="Commit of the model on the hub: name it, ids move.")
        variant: str | None = Field(None, description="Variant of the weight files, such as fp16.")
        local_files_only: bool = Field(True, description="Use only what is on this machine, fetch nothing.")
        controlnet: str | None = Field(
            None, description="Pose ControlNet (OpenPose) for the model: a folder, or an id on the hub."
        )
        controlnet_revision: str | None = Field(None, description="Commit of the ControlNet on the hub.")
        controlnet_scale: float = Field(1.0, ge=0, description="Weight of the pose.")
        without_keypoints: Literal["fallback", "unposed"] = Field(
            "fallback", description="What becomes of bodies without a visible keypoint where a ControlNet is used."
        )
        face_prompts: Prompts = Field(
            ("photo of a person's face, natural light, sharp focus",),
            description="What to paint for a face; a person's seed chooses one.",
        )
        body_prompts: Prompts = Field(
            ("photo of a person standing in the street, full body, natural light, sharp focus",),
            description="What to paint for a body; a person's seed chooses one.",
        )
        negative_prompt: str = Field(
            "drawing, painting, cartoon, deformed, disfigured, extra limbs, text, watermark, blurry",
            description="What not to paint, where the model knows negative prompts.",
        )
        steps: int = Field(30, ge=1, description="Steps of a whole denoising.")
        strength: float = Field(
            1.0, gt=0, le=1, description="Below 1 it starts from the noised person, of whom something may remain."
        )
        guidance: float = Field(7.5, ge=0, description="Classifier-free guidance scale.")
        face_size: Size = Field((512, 512), description="Working size of a face's crop.")
        body_size: Size = Field((384, 704), description="Working size of a body's crop.")
        margin: int = Field(8, ge=0, description="Pixels of the working size that are repainted around the mask.")
        consistent: Literal["person", "identity"] = Field(
            "person", description="Noise and prompt per region, or per identity where the data set tells who is who."
        )
        batch: int = Field(4, ge=1, description="People in one go; halved when the memory is not enough.")
        device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU if there is one.")
        precision: Literal["auto", "half", "full"] = Field("auto", description="auto: half on a GPU, full on a CPU.")
        fallback: Fallback = "mask_out"

        @model_validator(mode="after")
        def _check(self) -> Diffusion.Parameters:
            if int(self.steps * self.strength) < 1:
                raise ValueError(f"{self.steps} steps at strength {self.strength:g} leave no step to run")
            return self

    def __init__(self, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(parameters)
        p = self.parameters
        self.fallback = p.fallback
        self.batch = p.batch
        self._lock = threading.Lock()  # a pipeline's scheduler has a state
        self._device, self._pipeline = _load(p)
        self._accepted = set(inspect.signature(self._pipeline.__call__).parameters)

    @classmethod
    def available(cls) -> str | None:
        """Return why the method cannot run here with its default parameters."""
        return _missing_package() or "diffusion needs a model: set 'model' to a folder or an id on the hub"

    def window(self, region: Region, width: int, height: int) -> Window:
        size = self.parameters.face_size if region.kind is RegionKind.FACE else self.parameters.body_size
        return Window(published_window(region, width, height).box, size)

    def change(self, crop: Crop) -> np.ndarray:
        return self.change_batch([crop])[0]

    def change_batch(self, crops: Sequence[Crop]) -> Sequence[np.ndarray]:
        results: list[np.ndarray] = [np.full(crop.pixels.shape, np.nan, np.float32) for crop in crops]
        sizes: dict[tuple[int, int], list[int]] = {}
        for index, crop in enumerate(crops):
            if self._lacks_pose(crop):
                if len(crops) == 1:
                    raise ValueError("the person has no visible keypoint, and the ControlNet needs a pose")
                continue
            sizes.setdefault((crop.pixels.shape[1], crop.pixels.shape[0]), []).append(index)
        with self._lock:
            for indices in sizes.values():
                painted = self.in_full_batches([crops[index] for index in indices], self._paint)
                for index, result in zip(indices, painted, strict=True):
                    results[index] = result
        return results

    def _lacks_pose(self, crop: Crop) -> bool:
        if self.parameters.controlnet is None or self.parameters.without_keypoints == "unposed":
            return False
        if crop.region.kind is RegionKind.FACE:
            return False
        return crop.keypoints is None or not (crop.keypoints[:, 2] > 0).any()

    def _paint(self, crops: Sequence[Crop]) -> list[np.ndarray]:
        """Return the painted crops, float32 HxWx3 RGB 0..255, NaN where the model's own checker refused the result."""
        import torch

        p = self.parameters
        masks = [dilated(crop.mask, p.margin) for crop in crops]
        height, width = crops[0].pixels.shape[:2]
        call: dict[str, Any] = {
            "prompt": [self._prompt(crop) for crop in crops],
            "image": torch.stack([self._shown(crop, mask) for crop, mask in zip(crops, masks, strict=True)]),
            "mask_image": torch.stack([torch.from_numpy(mask[None].astype(np.float32)) for mask in masks]),
            "height": height,
            "width": width,
            "strength": p.strength,
            "num_inference_steps": p.steps,
            "guidance_scale": p.guidance,
            "generator": [torch.Generator("cpu").manual_seed(crop.seed_of(self._by_identity)) for crop in crops],
            "output_type": "np",
        }
        if "negative_prompt" in self._accepted:
            call["negative_prompt"] = [p.negative_prompt] * len(crops)
        if p.controlnet is not None:
            poses = np.stack([pose_image(crop.keypoints, (width, height)) for crop in crops])
            call["control_image"] = torch.from_numpy(poses).permute(0, 3, 1, 2).float().div(255)
            call["controlnet_conditioning_scale"] = p.controlnet_scale
        with torch.inference_mode():
            found = self._pipeline(**call)
        images = np.asarray(found.images, np.float32) * 255
        for index, refused in enumerate(getattr(found, "nsfw_content_detected", None) or ()):
            if refused:
                images[index] = np.nan
        return list(images)

    def _shown(self, crop: Crop, mask: np.ndarray) -> Any:
        """Return what the model gets of a crop: float32 3xHxW RGB 0..1, the person in grey at strength 1."""
        import torch

        pixels = crop.pixels.astype(np.float32) / 255
        if self.parameters.strength == 1:
            pixels[mask] = GREY
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def _prompt(self, crop: Crop) -> str:
        face = crop.region.kind is RegionKind.FACE
        prompts = self.parameters.face_prompts if face else self.parameters.body_prompts
        return prompts[int(crop.generator(self._by_identity).integers(len(prompts)))]

    @property
    def _by_identity(self) -> bool:
        consistent: str = self.parameters.consistent
        return consistent == "identity"


def dilated(mask: np.ndarray, margin: int) -> np.ndarray:
    """Return a mask (bool HxW) grown by a disc of ``margin`` pixels."""
    if margin == 0:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return cv2.dilate(mask.astype(np.uint8), disc).astype(bool)


_OPENPOSE = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""COCO's keypoint at each of OpenPose's 18 places; None is the neck, between the shoulders."""

_LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""OpenPose's limbs, in the order of their colours."""


def pose_image(keypoints: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """Draw COCO keypoints the way pose ControlNets were shown them, uint8 HxWx3 RGB; black without keypoints.

    ``keypoints`` are float 17x3 (x, y, visibility) in pixels of an image of ``size`` (width, height). OpenPose (Cao et
    al., 2019) has 18 of them; colours go round the hue circle in 18 steps; limbs are ellipses at 60 % brightness with
    a half-axis of 4 pixels at 512, joints discs of the same radius, as in the ControlNet release's annotator.
    """
    width, height = size
    canvas = np.zeros((height, width, 3), np.uint8)
    if keypoints is None:
        return canvas
    points = [_joint(keypoints, index) for index in _OPENPOSE]
    hues = cv2.cvtColor(np.array([[(10 * i, 255, 255) for i in range(18)]], np.uint8), cv2.COLOR_HSV2RGB)[0].tolist()
    radius = max(1, round(4 * min(width, height) / 512))
    for (a, b), colour in zip(_LIMBS, hues, strict=False):
        start, end = points[a], points[b]
        if start is None or end is None:
            continue
        (x0, y0), (x1, y1) = start, end
        centre, half = (round((x0 + x1) / 2), round((y0 + y1) / 2)), round(math.hypot(x1 - x0, y1 - y0) / 2)
        angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
        cv2.ellipse(canvas, centre, (half, radius), angle, 0, 360, [0.6 * value for value in colour], -1)
    for point, colour in zip(points, hues, strict=True):
        if point is not None:
            cv2.circle(canvas, (round(point[0]), round(point[1])), radius, colour, -1)
    return canvas


def _joint(keypoints: np.ndarray, index: int | None) -> tuple[float, float] | None:
    shoulders = (5, 6)
    indices = shoulders if index is None else (index,)
    if any(keypoints[i, 2] <= 0 for i in indices):
        return None
    x, y = keypoints[list(indices), :2].mean(axis=0)
    return float(x), float(y)


def _missing_package() -> str | None:
    missing = [name for name in ("diffusers", "transformers") if find_spec(name) is None]
    return f"diffusion needs the package {missing[0]}" if missing else None


def _load(p: Any) -> tuple[str, Any]:
    """Return the device and the pipeline; nothing that is unpickled or executed comes with the weights."""
    reason = _missing_package()
    if reason is not None:
        raise AnonbenchError(reason, remedy="install envs/diffusion.yaml, see docs/diffusion.md")
    import torch

    diffusers = importlib.import_module("diffusers")
    logging = importlib.import_module("diffusers.utils").logging

    if p.device == "cuda" and not torch.cuda.is_available():
        raise AnonbenchError("there is no GPU here", entry="device", remedy="use 'auto' or 'cpu'")
    device = "cuda" if p.device != "cpu" and torch.cuda.is_available() else "cpu"
    half = p.precision == "half" or (p.precision == "auto" and device == "cuda")
    options = {
        "dtype": torch.float16 if half else torch.float32,
        "use_safetensors": True,
        "local_files_only": p.local_files_only,
    }
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    extra = {}
    if p.controlnet is not None:
        _check_folder(p.controlnet, "controlnet", "config.json")
        extra["controlnet"] = _fetched(
            diffusers.ControlNetModel, p.controlnet, "controlnet", **options, revision=p.controlnet_revision
        )
    _check_folder(p.model, "model", "model_index.json")
    pipeline = _fetched(
        diffusers.AutoPipelineForInpainting,
        p.model,
        "model",
        **options,
        **extra,
        revision=p.revision,
        variant=p.variant,
    )
    pipeline.set_progress_bar_config(disable=True)
    return device, pipeline.to(device)


def _check_folder(name: str, entry: str, index: str) -> None:
    """Raise AnonbenchError when a model that is a path is not a folder with safetensors in diffusers' layout."""
    path = Path(name).expanduser()
    if not path.exists():
        if path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
            raise AnonbenchError("no such folder", file=name, entry=entry, remedy=f"set {entry} to a model's folder")
        return
    if not path.is_dir() or not (path / index).is_file():
        raise AnonbenchError(
            f"is not a model in diffusers' layout (no {index})",
            file=name,
            entry=entry,
            remedy="convert a single-file checkpoint with diffusers' save_pretrained(safe_serialization=True)",
        )
    for file in sorted(path.rglob("*")):
        if file.suffix in PICKLES and not any(file.parent.glob("*.safetensors")):
            raise AnonbenchError(
                "is a pickle, which can run code when it is read",
                file=file,
                entry=entry,
                remedy="save the model with safe_serialization=True",
            )


def _fetched(cls: Any, name: str, entry: str, **options: Any) -> Any:
    """Return ``cls.from_pretrained``, its many errors as one sentence."""
    folder = Path(name).expanduser()
    try:
        return cls.from_pretrained(str(folder) if folder.exists() else name, **options)
    except Exception as error:  # the libraries below raise anything from KeyError to their own
        remedy = "check that it is an in-painting model with safetensors weights and complete"
        if options["local_files_only"] and not folder.exists():
            remedy = f"fetch it once with 'hf download {name}', or set local_files_only to false"
        raise AnonbenchError(
            f"cannot be loaded ({first_line(error, typed=True)})", file=name, entry=entry, remedy=remedy
        ) from error
