"""Where on the surface of a body each pixel of a person is: DensePose CSE, for the generator that is conditioned on it.

Neverova et al., "Continuous surface embeddings", NeurIPS 2020, in detectron2's DensePose project. The package's own
``CSEDetector`` finds people by itself and downloads; here the same network is asked about our person's box.
"""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from anonbench.anonymize.deepprivacy2.models import check_state
from anonbench.errors import AnonbenchError, first_line

MESH = "smpl_27554"
"""The mesh of people that the generator was trained with."""

_ARRAYS = {
    ("numpy", "ndarray"), ("numpy", "dtype"), ("collections", "OrderedDict"), ("_codecs", "encode"),
    ("numpy.core.multiarray", "_reconstruct"), ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "scalar"),
}  # fmt: skip


class ArraysOnly(pickle.Unpickler):
    """Restores NumPy arrays in plain containers, as detectron2's published files hold them, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def read(path: Path) -> dict[str, Any]:
    """Return the tensors of a DensePose model by name, from detectron2's .pkl or .pth, or from .safetensors."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".pkl":
            with path.open("rb") as stream:
                state = ArraysOnly(stream, encoding="latin1").load()
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("model", state)
        return {name: torch.as_tensor(value) for name, value in state.items()}
    except FileNotFoundError:
        raise AnonbenchError("no such file", file=path, entry="densepose_weights") from None
    except (
        pickle.UnpicklingError,
        SafetensorError,
        RuntimeError,
        EOFError,
        ValueError,
        AttributeError,
        TypeError,
    ) as e:
        raise AnonbenchError(
            f"is not a file of arrays ({first_line(e)})", file=path, entry="densepose_weights", remedy="fetch it again"
        ) from None


class Surface:
    """DensePose's network, asked about one box at a time.

    ``config`` is a YAML file of detectron2's ``projects/DensePose/configs/cse``; nothing that it names is downloaded.
    """

    def __init__(self, config: Path, weights: Path, device: Any) -> None:
        if not config.is_file():
            raise AnonbenchError("no such file", file=config, entry="densepose_config")
        cfg = importlib.import_module("detectron2.config").get_cfg()
        importlib.import_module("densepose").add_densepose_config(cfg)
        try:
            cfg.merge_from_file(str(config), allow_unsafe=False)
            embedders = cfg.MODEL.ROI_DENSEPOSE_HEAD.CSE.EMBEDDERS
            embedders[MESH].INIT_FILE = cfg.MODEL.WEIGHTS = ""  # both are in our file of weights
        except (AssertionError, KeyError, ValueError) as error:
            raise AnonbenchError(
                f"is not a configuration of DensePose CSE ({error})", file=config, entry="densepose_config"
            ) from None
        cfg.MODEL.DEVICE = str(device)
        self._model = importlib.import_module("detectron2.modeling").build_model(cfg).eval()
        state = read(weights)
        check_state(state, self._model, weights, "DensePose CSE")
        self._model.load_state_dict(state, strict=False)
        self._sizes, self._bgr, self._device = cfg.INPUT, cfg.INPUT.FORMAT == "BGR", device
        self.embeddings = self._model.roi_heads.embedder(MESH).detach()

    def find(self, pixels: np.ndarray, box: tuple[int, int, int, int]) -> tuple[Any, Any]:
        """Return the embedding (float32 DxHxW) and mask (bool HxW) of the person in a box of uint8 HxWx3 RGB pixels.

        Both cover the box, at DensePose's own resolution.
        """
        import torch
        from torchvision.transforms.functional import InterpolationMode, resize

        structures = importlib.import_module("detectron2.structures")
        transforms = importlib.import_module("detectron2.data.transforms")
        height, width = pixels.shape[:2]
        size = transforms.ResizeShortestEdge.get_output_shape(
            height, width, self._sizes.MIN_SIZE_TEST, self._sizes.MAX_SIZE_TEST
        )
        image = torch.from_numpy(np.array(pixels[..., ::-1] if self._bgr else pixels)).permute(2, 0, 1)
        image = resize(image.to(self._device), list(size), InterpolationMode.BILINEAR, antialias=True)
        scale = torch.tensor([size[1] / width, size[0] / height] * 2)
        person = structures.Instances(size)
        person.pred_boxes = structures.Boxes((torch.tensor(box) * scale)[None]).to(self._device)
        person.pred_classes = torch.zeros(1, dtype=torch.long, device=self._device)
        person.scores = torch.ones(1, device=self._device)
        with torch.no_grad():
            (found,) = self._model.inference(
                [{"image": image, "height": height, "width": width}], [person], do_postprocess=True
            )
        output = found["instances"].pred_densepose
        return output.embedding[0].float(), output.coarse_segm[0].argmax(dim=0) > 0
