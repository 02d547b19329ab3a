"""DeepPrivacy2's generators, run by the package itself on our regions.

Hukkelås and Lindseth, "DeepPrivacy2: Towards Realistic Full-Body Anonymization", WACV 2023, and "Does Image
Anonymization Impact Computer Vision Training?", CVPR-W 2023; the package is a checkout of hukkelas/deep_privacy2.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from anonbench.anonymize.contract import Crop, Method
from anonbench.anonymize.deepprivacy2 import geometry, models
from anonbench.anonymize.deepprivacy2.package import Package, check_checkout
from anonbench.anonymize.fallbacks import Fallback
from anonbench.blocks import Strict
from anonbench.errors import AnonbenchError
from anonbench.records import Region, RegionKind
from anonbench.windows import Window


class DeepPrivacy2(Method):
    """Replaces faces (FDF) or bodies (TriA-GAN; StyleGAN from the mask alone or from DensePose) with DeepPrivacy2's.

    The generator never sees a pixel of the person (DensePose does); with a histogram the package reads the colours of
    the whole original crop, the person's among them, as published. Of the dilated mask that it paints only our mask is
    pasted.

    Raises AnonbenchError, when it is made, for a missing checkout, package or file, and for weights whose checksum or
    shape is not the model's.
    """

    class Parameters(Strict):
        """Parameters of `DeepPrivacy2`."""

        model: Literal["fdf128", "fdf256", "triagan", "nocse", "cse"] = Field(
            description="fdf128, fdf256: faces; triagan: bodies from keypoints; nocse: bodies from the mask alone; "
            "cse: bodies from DensePose."
        )
        checkout: Path = Field(description="Folder with a checkout of github.com/hukkelas/deep_privacy2.")
        weights: Path = Field(
            description="The model's checkpoint, or a folder in which the file with the published md5 is taken."
        )
        sha256: str | None = Field(
            None, pattern="^[0-9a-fA-F]{64}$", description="Of weights of your own, instead of the published md5."
        )
        trust_pickle: bool = Field(
            False,
            description="Unpickle a checkpoint in full, which can run code; its checksum is checked all the same.",
        )
        densepose_config: Path | None = Field(
            None, description="For cse: YAML file of detectron2's projects/DensePose/configs/cse."
        )
        densepose_weights: Path | None = Field(None, description="For cse: the file of weights that belongs to it.")
        truncation_value: float = Field(
            0.0,
            ge=0,
            le=1,
            description="1: styles as varied as the training's; 0: the mean style, or a cluster centre.",
        )
        multi_modal_truncation: bool | None = Field(
            None,
            description="Truncate towards a cluster centre instead of the mean; if the weights have any, when unset.",
        )
        histogram: Literal["none", "naive", "latent"] = Field(
            "none",
            description="Match the colours of the original crop, the person included: naive (histograms of the pixels) "
            "or latent (optimise the style).",
        )
        steps: int = Field(100, ge=1, description="Steps of histogram: latent at most.")
        consistent: Literal["person", "identity"] = Field(
            "person", description="One style per region, or per identity where the data set tells who is who."
        )
        device: Literal["auto", "cpu", "cuda"] = Field(
            "auto", description="The package takes the first GPU if there is one; another wish is refused."
        )
        fallback: Fallback = "mask_out"

        @model_validator(mode="after")
        def _densepose(self) -> Self:
            given = (self.densepose_config is not None, self.densepose_weights is not None)
            if given != 2 * (self.model == "cse",):
                needs = "needs densepose_config and densepose_weights" if self.model == "cse" else "uses no DensePose"
                raise ValueError(f"model: {self.model} {needs}")
            return self

    padding: ClassVar[str] = "zero"

    def __init__(self, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(parameters)
        p = self.parameters
        self.fallback = p.fallback
        self.model = models.MODELS[p.model]
        self._lock = threading.Lock()  # the package keeps seeds and networks in globals
        check_checkout(p.checkout)
        path, self.sha256 = models.find(p.weights, self.model.md5, p.sha256)
        _check_device(p.device)
        densepose = (p.densepose_config, p.densepose_weights) if self.model.surface else None
        self._package = Package(p.checkout, p.model, path, models.read(path, p.trust_pickle), p.histogram, densepose)
        if p.multi_modal_truncation and not self._package.centres:
            raise AnonbenchError(
                "contains no cluster centres",
                file=path,
                entry="multi_modal_truncation",
                remedy="set it to false: the styles are then truncated towards their mean",
            )
        wanted = p.multi_modal_truncation
        self._modes = self._package.centres if wanted is None else wanted

    @classmethod
    def available(cls) -> str | None:
        """Return why the method cannot run here with its default parameters."""
        return "deepprivacy2 needs 'model', 'checkout' and 'weights'"

    @classmethod
    def kinds_with(cls, parameters: Any) -> frozenset[RegionKind]:
        return frozenset((models.MODELS[parameters.model].kind,))

    def describe(self) -> dict[str, Any]:
        return {"weights_sha256": self.sha256}

    def window(self, region: Region, width: int, height: int) -> Window:
        if region.kind is not self.model.kind:
            raise AnonbenchError(
                f"model '{self.parameters.model}' paints {self.model.kind} regions, not {region.kind} ones",
                entry=f"method {self.name}",
                remedy=f"use it in a variant {self.model.kind}-{self.name}",
            )
        return Window(geometry.window_of(region, width, height, self.parameters.model), note=(width, height))

    def change(self, crop: Crop) -> np.ndarray:
        p, size = self.parameters, self.model.size
        keypoints = None
        original = crop.pixels if p.histogram != "none" else geometry.without(crop.pixels, crop.mask)
        if self.model.kind is RegionKind.FACE:
            pixels = geometry.face_crop(original, size)
            mask = erased = geometry.face_mask(crop.region.box, crop.window.box, size)
        else:
            pixels = geometry.body_crop(original, size)
            inside = geometry.inside_image(crop.window.box, *crop.window.note)
            mask, erased = geometry.body_mask(crop.mask, inside, size)
        height, width = crop.pixels.shape[:2]
        if self.model.keypoints:
            if crop.keypoints is None:
                raise ValueError("the person has no keypoints, and the model needs them")
            keypoints = geometry.crop_keypoints(crop.keypoints, (width, height))
            if not keypoints[:, 2].any():
                raise ValueError("the person has no visible keypoint, and the model needs some")
        seed = int(crop.generator(p.consistent == "identity").integers(2**32))
        with self._lock:
            surface = self._package.surface_of(crop.pixels, crop.mask, erased) if self.model.surface else None
            if self.model.surface and surface is None:
                raise ValueError("DensePose finds no body where the person is")
            painted = self._package.paint(
                pixels,
                erased,
                mask,
                keypoints,
                surface,
                seed=seed,
                multi_modal_truncation=self._modes,
                truncation_value=p.truncation_value,
                steps=p.steps,
            )
        if not np.isfinite(painted).all():
            raise ValueError("the generator returned numbers that are not finite")
        return geometry.bicubic(painted, (width, height))


def _check_device(device: str) -> None:
    """Raise AnonbenchError where the package would run on another device than is wished."""
    if device == "auto":
        return
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise AnonbenchError("there is no GPU here", entry="device", remedy="use 'auto' or 'cpu'")
    if device == "cpu" and torch.cuda.is_available():
        raise AnonbenchError(
            "deep_privacy2 takes a GPU where it sees one", entry="device", remedy="run with CUDA_VISIBLE_DEVICES=''"
        )
