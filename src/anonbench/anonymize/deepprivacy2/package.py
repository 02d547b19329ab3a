"""The real package, imported from the user's checkout of hukkelas/deep_privacy2: its networks, latents and histograms.

Used are ``dp2.utils.load_config``, ``dp2.infer.load_generator_state`` and ``forward_G`` of its anonymizers, one person
at a time as there. Left out are its detectors, downloads, order and paste. What keeps its dataset scripts from running
is avoided: HM-LO is called with the arguments that it has, and TriA-GAN gets the joint map that it needs.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from anonbench.anonymize.deepprivacy2 import models
from anonbench.anonymize.deepprivacy2.surface import Surface
from anonbench.errors import AnonbenchError

LAYOUT = ("dp2/infer.py", "dp2/anonymizer/anonymizer.py", "sg3_torch_utils/__init__.py", "stylemc.py", "configs")
REMEDY = "see docs/deepprivacy2.md"


class Package:
    """One generator of the package with its weights, ready to paint.

    Raises AnonbenchError for a folder that is not a checkout, a package that it needs, and weights that do not fit.
    """

    def __init__(
        self,
        checkout: Path,
        name: str,
        weights: Path,
        checkpoint: dict[str, Any],
        histogram: str,
        densepose: tuple[Path, Path] | None = None,
    ) -> None:
        check_checkout(checkout)
        model = models.MODELS[name]
        with _imports(checkout):
            try:
                import torch

                tops = importlib.import_module("tops")
                utils = importlib.import_module("dp2.utils")
                infer = importlib.import_module("dp2.infer")
                anonymizers = importlib.import_module("dp2.anonymizer")
                if histogram != "none":
                    anonymizers = importlib.import_module("dp2.anonymizer.histogram_match_anonymizers")
                structures = importlib.import_module("dp2.detection.structures")
                transforms = importlib.import_module("dp2.data.transforms.transforms")
                self._transform = importlib.import_module("dp2.detection.utils").transform_embedding
                self._vertices = utils.from_E_to_vertex
                cfg = utils.load_config(checkout / model.config)
                generator = tops.config.instantiate(cfg.generator)
                mapper = tops.config.instantiate(cfg.ckpt_mapper) if hasattr(cfg, "ckpt_mapper") else None
            except ImportError as error:
                raise AnonbenchError(
                    f"deep_privacy2 cannot be imported ({error})",
                    file=checkout,
                    entry="checkout",
                    remedy=f"install envs/deepprivacy2.yaml, {REMEDY}",
                ) from error
            key = "EMA_generator" if "EMA_generator" in checkpoint else "running_average_generator"
            state = checkpoint[key] if mapper is None else mapper(checkpoint[key])
            models.check_state(state, generator, weights, name)
            infer.load_generator_state(checkpoint, generator, mapper)
        self._torch, self._tops, self._name = torch, tops, name
        generator.eval().requires_grad_(False)
        self.generator = generator.to(tops.get_device())
        self.centres = hasattr(generator, "style_net") and hasattr(generator.style_net, "w_centers")
        kinds = {"face": structures.FaceDetection, "body": structures.PersonDetection}
        self._kind = kinds[model.kind]
        chosen = {"none": "Anonymizer", "naive": "HistogramMatchAnonymizer", "latent": "LatentHistogramMatchAnonymizer"}
        self._histogram = histogram
        self._anonymizer = getattr(anonymizers, chosen[histogram])(detector=None)
        self._anonymizer.generators[self._kind] = self.generator
        self._anonymizer.generator_cfgs[self._kind] = cfg
        self._surface = None if densepose is None else Surface(*densepose, tops.get_device())
        self._joints = transforms.InsertJointMap(model.size[::-1]) if model.keypoints else None

    @property
    def device(self) -> str:
        """Where it runs; the package decides: the first GPU if there is one."""
        return str(self._tops.get_device())

    def paint(
        self,
        pixels: np.ndarray,
        erased: np.ndarray,
        mask: np.ndarray,
        keypoints: np.ndarray | None,
        surface: dict[str, Any] | None = None,
        *,
        seed: int,
        multi_modal_truncation: bool,
        truncation_value: float,
        steps: int = 100,
    ) -> np.ndarray:
        """Return a crop with a new person in it, float32 HxWx3 RGB 0..255.

        ``pixels`` is uint8 HxWx3 RGB of the model's size, ``erased`` (bool HxW) what is painted, ``mask`` (bool HxW)
        the person without the dilation. Where the model wants them, ``keypoints`` are 17x3 in 0..1 (x, y, visible or
        not) and ``surface`` is what `surface_of` found.
        """
        torch, tops = self._torch, self._tops
        batch = {
            "img": torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None],
            "mask": torch.from_numpy(~erased)[None, None].float(),
            "maskrcnn_mask": torch.from_numpy(~mask)[None, None].float(),
        }
        if self._joints is not None:
            assert keypoints is not None
            batch["keypoints"] = torch.from_numpy(keypoints)[None]
            batch = self._joints(batch)
        if surface is not None:
            batch |= surface
        batch = {key: tops.to_cuda(value) for key, value in batch.items()}
        options: dict[str, Any] = {
            "amp": False,
            "multi_modal_truncation": multi_modal_truncation,
            "truncation_value": truncation_value,
        }
        if self._histogram == "latent":  # takes no z_idx, and neither detection_type although its base passes it
            options |= {"z_idx": None, "idx": 0, "n_sampling_steps": steps}
            with torch.random.fork_rng(), _numpy_seed(seed):
                tops.set_seed(seed)
                painted = self._anonymizer.forward_G(self.generator, batch, **options)
        else:
            with torch.no_grad():
                painted = self._anonymizer.forward_G(
                    self.generator, batch, z_idx=seed, detection_type=self._kind, **options
                )
        painted = painted.detach()
        image = painted[0] if painted.ndim == 4 else painted
        return image.permute(1, 2, 0).float().cpu().numpy()

    def surface_of(self, pixels: np.ndarray, mask: np.ndarray, erased: np.ndarray) -> dict[str, Any] | None:
        """Return the person's surface as the generator wants it, None when DensePose finds no body.

        ``pixels`` is the crop (uint8 HxWx3 RGB), ``mask`` the person in it (bool HxW), ``erased`` what is painted
        (bool, of the model's size). Prepared as the package's ``CSEPersonDetection`` does, within ``erased``.
        """
        assert self._surface is not None
        torch = self._torch
        rows, columns = np.where(mask.any(axis=1))[0], np.where(mask.any(axis=0))[0]
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        embedding, body = self._surface.find(pixels, box)
        whole = (0, 0, mask.shape[1], mask.shape[0])
        embedding, body = self._transform(embedding, body, whole, box, erased.shape)
        body &= torch.from_numpy(erased).to(body.device)
        if not body.any():
            return None
        table = self._surface.embeddings
        vertices = self._vertices(embedding[None], ~body[None, None], table).reshape(erased.shape)
        shown = table[vertices].permute(2, 0, 1) * body
        return {"embedding": shown[None].float(), "E_mask": body[None, None].float()}


def check_checkout(checkout: Path) -> None:
    """Raise AnonbenchError when a folder is not a checkout of the package."""
    missing = [name for name in LAYOUT if not (checkout / name).exists()]
    if missing:
        raise AnonbenchError(
            f"is not a checkout of hukkelas/deep_privacy2 (no {missing[0]})",
            file=checkout,
            entry="checkout",
            remedy=REMEDY,
        )


@contextlib.contextmanager
def _imports(checkout: Path) -> Iterator[None]:
    """Make the checkout importable; put back what its configuration loader leaves changed, its prints go to stderr."""
    path, original = str(checkout.resolve()), builtins.__import__
    if path not in sys.path:
        sys.path.insert(0, path)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        builtins.__import__ = original


@contextlib.contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """Keep NumPy's global generator, which the package seeds, as it was."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)
