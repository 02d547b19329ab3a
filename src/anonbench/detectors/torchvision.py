"""Detection models of torchvision with weights that the user brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from anonbench import portable
from anonbench.detectors.base import Detector, DetectorOptions, Finds, check_file, tidy
from anonbench.errors import AnonbenchError

Model = Literal[
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "ssdlite320_mobilenet_v3_large",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "keypointrcnn_resnet50_fpn",
]


class Options(DetectorOptions):
    """Settings of a torchvision model."""

    model: Model = Field("fasterrcnn_resnet50_fpn_v2", description="Name of the model in torchvision.models.detection.")
    weights: Path = Field(description="State dict of the model: a .safetensors, or a .pth that holds tensors only.")
    sha256: str | None = Field(None, description="Expected sha256 of the file; not checked when left out.")
    classes: int = Field(91, ge=2, description="Classes that the weights know, with background (COCO: 91).")
    label: int = Field(1, ge=1, description="The class to find (COCO: 1 is person).")
    threshold: float = Field(0.5, ge=0, le=1, description="Detections below this score are dropped.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where it runs; auto: a GPU if there is one.")


class Torchvision(Detector):
    """People, as a model knows them that was trained by torchvision or with it.

    Images go through one by one: torchvision pads a batch to its largest image, and boxes would depend on the others.
    """

    Options: ClassVar[type[DetectorOptions]] = Options
    finds: ClassVar[Finds] = "person"
    files: ClassVar[tuple[str, ...]] = ("weights",)
    needs_torch: ClassVar[bool] = True

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        import torch
        from torchvision.models import detection

        o = self.options
        if o.label >= o.classes:
            raise AnonbenchError(f"label {o.label} is not one of {o.classes} classes", entry="options.label")
        self._sha256 = check_file(o.weights, o.sha256, "options.weights")
        if o.device == "cuda" and not torch.cuda.is_available():
            raise AnonbenchError("there is no GPU here", entry="options.device", remedy="use 'auto' or 'cpu'")
        self._device = "cuda" if o.device != "cpu" and torch.cuda.is_available() else "cpu"
        if self._device == "cpu":
            portable.require_here("a torchvision detector on a processor")
            torch.set_num_threads(1)  # sums depend on how many there are; shards are jobs of their own
        model = getattr(detection, o.model)(weights=None, weights_backbone=None, num_classes=o.classes)
        try:
            model.load_state_dict(_state(o.weights))
        except (RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise AnonbenchError(
                f"does not fit {o.model} with {o.classes} classes ({str(error).splitlines()[0]})",
                file=o.weights,
                entry="options.weights",
                remedy="name the model and the number of classes that the weights were trained for",
            ) from None
        self._model = model.eval().to(self._device)

    @property
    def version(self) -> str:
        import torch
        import torchvision

        return f"{self.options.model}, torchvision {torchvision.__version__}, torch {torch.__version__}"

    @property
    def weights(self) -> list[tuple[str, str]]:
        return [(self.options.weights.name, self._sha256)]

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        import torch

        results = []
        with torch.inference_mode():
            for image in images:
                pixels = torch.from_numpy(np.array(image)).to(self._device).permute(2, 0, 1).float().div(255)
                found = self._model([pixels])[0]
                corners = found["boxes"][found["labels"] == self.options.label].cpu().numpy()
                scores = found["scores"][found["labels"] == self.options.label].cpu().numpy()
                boxes = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2], scores])
                results.append(tidy(boxes, self.options.threshold))
        return results


def _state(path: Path) -> Any:
    """Return the tensors in a weights file by name; nothing in it is executed."""
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise AnonbenchError(
            f"is not a file of tensors ({str(error).splitlines()[0]})",
            file=path,
            entry="options.weights",
            remedy="save the model's state_dict() and nothing else",
        ) from None
