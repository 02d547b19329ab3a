"""What the methods that are learned codecs share; they differ in what their training minimises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from anonbench.anonymize.contract import Changed, Crop, FitJob, Fitted, Result
from anonbench.anonymize.rate_control import Rated, RateParameters, Scale, matched, setting_of
from anonbench.anonymize.roi_codec import options
from anonbench.blocks import Strict
from anonbench.errors import AnonbenchError
from anonbench.records import LOSSLESS, RegionKind

if TYPE_CHECKING:
    from anonbench.codec.compressor import Compressor


DEFAULT = 1.0
"""The step, where neither it nor a rate is given."""


class LearnedCodec(Rated):
    """Encodes whole frames with a fitted codec and decodes them again."""

    class Parameters(RateParameters):
        """Parameters of `LearnedCodec`."""

        setting = "step"

        step: float | None = Field(
            None,
            gt=0,
            description="What latents are rounded to, one of the steps that the codec was fitted for; 1 unless a rate "
            "is given.",
        )

    kinds: ClassVar[frozenset[RegionKind]] = frozenset({RegionKind.FRAME})
    FitSettings: ClassVar[type[Strict] | None] = options.FitSettings
    stores: ClassVar[str | None] = LOSSLESS
    codec: ClassVar[bool] = True
    facts: ClassVar[Mapping[str, str]] = {
        "bits": "bits of the stream, header included",
        "picture_bits": "bits of the latents alone",
        "bits_estimated": "bits of the latents by the density that was fitted",
        "bpp": "bits of the stream by the image's pixels",
        "step": "what its latents were rounded to",
        "mse": "mean squared error of the decoded image, of values in 0..255",
    }

    def __init__(self, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(parameters)
        self._compressor: Compressor | None = None
        self._origin: dict[str, Any] = {}
        self._steps: list[float] = []
        self._place: float | None = None if self.parameters.bpp is not None else 0.0

    @classmethod
    def misfit(cls, parameters: Any, settings: Mapping[str, Any]) -> str | None:
        loss = settings["loss"]
        if cls.anonymizes and not loss["heads"] and not loss["restorer"]:
            why = (
                "nothing in fit.loss hides anybody (heads and restorer are 0), but everybody would count as anonymized"
            )
            return f"{why}: take roi_codec_people"
        if not cls.anonymizes and (loss["heads"] or loss["restorer"]):
            return "fit.loss hides heads (heads, restorer), but the method counts as a control: take roi_codec"
        return _no_step(parameters, settings["steps"])

    @classmethod
    def fit(cls, job: FitJob) -> Fitted:
        from anonbench.anonymize.roi_codec import training  # torch takes seconds to import

        return training.fit(job)

    def load(self, weights: Path, kind: RegionKind, device: str) -> dict[str, Any]:
        from anonbench.codec.compressor import Compressor

        self._compressor, self._origin = Compressor.load(weights, device)
        if self.anonymizes and self._origin.get("hides") == options.NOBODY:
            raise AnonbenchError(
                f"is a codec that was fitted to hide nobody, and {self.name} would count everybody as anonymized",
                file=weights,
                entry=f"method {self.name}",
                remedy="give it weights of its own, or name the control that was fitted: roi_codec_people, stock_codec",
            )
        steps = [one.step for one in self._compressor.tables]
        why = _no_step(self.parameters, steps)
        if why is not None:
            raise AnonbenchError(why, file=weights, entry=f"method {self.name}", remedy="name a step of the fit")
        self._steps = [_step(self.parameters)]
        return {"fitted_on": self._origin}

    @property
    def _fitted(self) -> Compressor:
        if self._compressor is None:
            raise AnonbenchError("the codec has no weights", remedy="call load, or give --weights")
        return self._compressor

    def tune(self, crops: Sequence[Crop]) -> dict[str, Any]:
        """Find the steps with which some frames take the rate in the mean; return what was found.

        Raises AnonbenchError for a rate that the codec takes at none of its steps, or not to 2 % with so few frames.
        """
        codec = self._fitted
        if not crops:
            self._place = 0.0
            return {"images": 0}
        steps = [one.step for one in codec.tables]
        rates = np.array([self._rates(crop, steps) for crop in crops])
        order = np.argsort(rates.mean(0), kind="stable")
        self._steps, rates = [steps[k] for k in order], rates[:, order]
        scale = Scale(
            self.name, self.parameters.setting, 0, len(steps) - 1, ("its largest step", "its smallest"),
            "fit it at a larger fit.loss.rate, or for longer (fit.iterations)",
            "fit it at a smaller fit.loss.rate, or for smaller steps, too (fit.steps)",
        )  # fmt: skip
        self._place, bpp = matched(scale, self.parameters.bpp, lambda number, every: rates[::every, number], crops)
        whole = int(self._place)
        found: dict[str, Any] = {"images": len(crops), "bpp": bpp, "step": self._steps[whole]}
        if self._place > whole:
            found |= {"finer": self._steps[whole + 1], "share_finer": round(self._place - whole, 6)}
        return found

    def _rates(self, crop: Crop, steps: Sequence[float]) -> list[float]:
        """Return the bits per pixel that a frame takes with each step."""
        codec, size = self._fitted, crop.pixels.shape[:2]
        latents = codec.latents(crop.pixels, crop.generator())
        return [8 * len(codec.pack(codec.rounded(latents, step, size))) / (size[0] * size[1]) for step in steps]

    def change(self, crop: Crop) -> Result:
        """Return the decoded image of the crop's stream, with its bits and its error."""
        import cv2

        codec = self._fitted
        if self._place is None:
            raise self.unmatched()
        step = self._steps[setting_of(self._place, crop)]
        coded = codec.analyse(crop.pixels, step, crop.generator())
        stream = codec.stream(coded)
        bits = 8 * len(stream.pack())
        pixels = codec.synthesise(coded)
        error = cv2.norm(crop.pixels, pixels, cv2.NORM_L2SQR) / pixels.size
        return Changed(
            pixels,
            {
                "bits": bits,
                "picture_bits": stream.latent_bits,
                "bits_estimated": round(codec.estimate(coded), 1),
                "bpp": round(bits / (coded.width * coded.height), 6),
                "step": step,
                "mse": round(error, 4),
            },
        )

    def weakness(self, crop: Crop) -> str | None:
        if self._origin.get("hides") == options.HEADS:
            return "by a codec that was fitted to hide heads: no fit promises it, only attackers tell what is hidden"
        return "by a codec that was fitted to hide nobody"


def _step(parameters: Any) -> float:
    return DEFAULT if parameters.step is None else float(parameters.step)


def _no_step(parameters: Any, steps: Sequence[float]) -> str | None:
    """Return why a codec that was fitted for ``steps`` cannot be used with these parameters; None where it can."""
    known = ", ".join(f"{step:g}" for step in steps)
    if parameters.bpp is not None:
        few = f"a rate lies between those of two steps, and the codec is fitted for one alone (fit.steps: {known})"
        return few if len(steps) < 2 else None
    step = _step(parameters)
    return None if step in steps else f"step {step:g} is none that the codec is fitted for (fit.steps: {known})"
