"""What the methods that are learned codecs share; they differ in what their training minimises."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from anonbench.anonymize.contract import Changed, Crop, FitJob, Fitted, Method, Result
from anonbench.anonymize.roi_codec import options
from anonbench.blocks import Strict
from anonbench.errors import AnonbenchError
from anonbench.records import LOSSLESS, RegionKind

if TYPE_CHECKING:
    from anonbench.codec.compressor import Compressor


class LearnedCodec(Method):
    """Encodes whole frames with a fitted codec and decodes them again."""

    class Parameters(Strict):
        """Parameters of `LearnedCodec`."""

        step: float = Field(
            1.0, gt=0, description="What latents are rounded to; one of the steps that the codec was fitted for."
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
        "mse": "mean squared error of the decoded image, of values in 0..255",
    }

    def __init__(self, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(parameters)
        self._compressor: Compressor | None = None
        self._origin: dict[str, Any] = {}

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
        steps = settings["steps"]
        if parameters.step in steps:
            return None
        known = ", ".join(f"{step:g}" for step in steps)
        return f"step {parameters.step:g} is none that the codec is fitted for (fit.steps: {known})"

    @classmethod
    def fit(cls, job: FitJob) -> Fitted:
        from anonbench.anonymize.roi_codec import training  # torch takes seconds to import

        return training.fit(job)

    def load(self, weights: Path, kind: RegionKind, device: str) -> dict[str, Any]:
        from anonbench.codec.compressor import Compressor

        self._compressor, self._origin = Compressor.load(weights, device)
        self._compressor.number_of(self.parameters.step)
        return {"fitted_on": self._origin}

    def change(self, crop: Crop) -> Result:
        """Return the decoded image of the crop's stream, with its bits and its error."""
        import cv2

        if self._compressor is None:
            raise AnonbenchError("the codec has no weights", remedy="call load, or give --weights")
        coded = self._compressor.analyse(crop.pixels, self.parameters.step, crop.generator())
        stream = self._compressor.stream(coded)
        bits = 8 * len(stream.pack())
        pixels = self._compressor.synthesise(coded)
        error = cv2.norm(crop.pixels, pixels, cv2.NORM_L2SQR) / pixels.size
        return Changed(
            pixels,
            {
                "bits": bits,
                "picture_bits": stream.latent_bits,
                "bits_estimated": round(self._compressor.estimate(coded), 1),
                "bpp": round(bits / (coded.width * coded.height), 6),
                "mse": round(error, 4),
            },
        )

    def weakness(self, crop: Crop) -> str | None:
        if self._origin.get("hides") == "heads":
            return "by a codec that was fitted to hide heads: no fit promises it, only attackers tell what is hidden"
        return "by a codec that was fitted to hide nobody"
