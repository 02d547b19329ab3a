"""Do other processors make the same bytes? Every kind of job, here and under emulated processors, by sha256.

python benchmarks/portable.py [--cpu Haswell --cpu EPYC ...] [--figures]     table of what each processor makes
python benchmarks/portable.py --write                                       renews tests/portable.json

QEMU in user mode (Debian: qemu-user) runs the same interpreter and libraries with the instructions, the vendor's name
and the caches of the processor that is named, at a twentieth to a hundredth of the speed. Everything happens in one
process: what an emulated process starts would run on the processor that is really there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from anonbench import portable

portable.settle()

import typer  # noqa: E402
from tabulate import tabulate  # noqa: E402

from anonbench.cli import one_sentence  # noqa: E402

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "tests" / "portable.json"
CPUS = ("Haswell", "Skylake-Client", "EPYC", "EPYC-Milan")
"""Intel's first with AVX2 and a later one without AVX-512, AMD's first and third Zen."""
VARIANTS = (
    "original", "body-identity", "face-blur-medium", "body-blur-high", "body-pixelate-low", "face-mask_out",
    "frame-contrast", "body-adaptive_blur-high", "body-adaptive_pixelate-high",
)  # fmt: skip
FIT = {
    "face_size": [16, 16], "body_size": [16, 32], "channels": [16, 32], "discriminator_channels": [16, 32],
    "batch_size": 2, "warmup": 0.5, "r1_every": 1, "clusters": 4, "face_iterations": 2, "body_iterations": 2,
}  # fmt: skip
"""Each of the fit's kinds of step once, small as the training below."""
CLIPS = {
    "clips": {"train": 4, "val": 1}, "frames": 3, "width": 64, "height": 64, "actions": ["walk", "wave"],
    "attributes": True,
}  # fmt: skip
LEARNED = {
    "width": 32, "height": 32, "widths": [4, 6], "frames": 2, "stride": 1, "clips": 2, "stills": 3,
    "utility_widths": [4], "utility_depths": [1], "observer_widths": [4, 6], "observed": [8, 12], "min_pixels": 4,
    "identity_iterations": 1, "warmup_iterations": 1, "iterations": 2, "zernike": 4, "taps": 5,
}  # fmt: skip
"""Likewise, of a minimax."""
CODEC = {
    "channels": 8, "size": [32, 32], "batch_size": 2, "iterations": 2, "steps": [0.25, 1.0], "restorer_channels": 4,
    "choose_every": 1, "choose_from": 0.0, "held_out": 0.25, "noise": 0.1,
}  # fmt: skip
"""The same of a codec."""
LOOKED_FOR = {
    "seed": 3, "train": 6, "val": 0, "gallery": 12, "probe": 12, "gallery_identities": 12, "identities": 9,
    "people": [1, 3],
}  # fmt: skip
ATTACKER = {
    "knowledge": "aware", "width": 16, "height": 32, "iterations": 2, "batch_size": 8, "dimensions": 8,
}  # fmt: skip
RESTORER = {"widths": [4, 8], "iterations": 2, "batch_size": 8}
"""Those who are looked for, and who looks for them."""
SIZE = {"min_size": [96], "max_size": 128}
"""Of a training: small, since an emulated processor takes a minute for what a real one does in half a second."""


class Jobs:
    """The commands of a study on eight rendered images, run in this process under ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.annotations = folder, folder / "data", folder / "annotations"

    def run(self, command: str, *files: Path, **options: object) -> None:
        """Run a command of anonbench, over files if any; what it prints goes to standard error."""
        from anonbench.cli import app

        arguments = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        with contextlib.redirect_stdout(sys.stderr):
            app([command, *map(str, files), *arguments], standalone_mode=False)

    def digests(self, figures: bool = False) -> Iterator[tuple[str, str]]:
        """Yield each kind of job with the sha256 of what it made."""
        self.run(
            "download", dataset="streetlife", adapter="streetlife", splits="train,val", options='{"train":8,"val":2}',
            catalogue=ROOT / "config" / "datasets.csv", out=self.data,
        )  # fmt: skip
        yield "render", _tree(self.data)
        for split in ("train", "val"):
            self.run("annotate", data=self.data, split=split, out=self.annotations)
            self.run("regions", annotations=self.annotations, split=split, regions="{}")
        yield "annotate, regions", _tree(self.annotations)
        for variant in VARIANTS:
            yield variant, self.variant(variant)
        model = self.folder / "model"
        original = self.folder / "original"
        self.run("train", variant=original, recipe=json.dumps(_recipe()), dataset="streetlife", device="cpu", out=model)
        yield "train", _tree(model, "weights.safetensors", "train.json")
        predictions = self.folder / "predictions.json"
        self.run("predict", model=model, variant=original, split="val", device="cpu", out=predictions)
        yield "predict", _tree(self.folder, "predictions.json")
        truth, evaluation = original / "annotations" / "val.json", self.folder / "evaluation"
        self.run("evaluate", predictions=predictions, annotations=truth, out=evaluation)
        yield "evaluate", _tree(evaluation)
        for kind in ("body", "face"):
            place = self.folder / f"fit-{kind}"
            self.run(
                "fit", data=self.data, annotations=self.annotations, region=kind, method="gan", device="cpu",
                settings=json.dumps(FIT), out=place,
            )  # fmt: skip
            yield f"fit, {kind}", _tree(place, "weights.safetensors", "fit.json")
            weights = {"weights": place / "weights.safetensors", "device": "cpu"}
            yield f"{kind}-gan", self.variant(f"{kind}-gan", **weights)
        yield from self.codec()
        if figures:
            yield "figures", self.figures()
        yield from self.detectors()
        yield from Jobs(self.folder / "of-clips").learned()
        yield from Jobs(self.folder / "of-attackers").attacks()

    def attacks(self) -> Iterator[tuple[str, str]]:
        """Yield what attackers learn from people, and what they find of others; what each restores of them."""
        variant, splits = "body-blur-medium", ("train", "gallery", "probe")
        self.run(
            "download", dataset="people", adapter="streetlife", splits=",".join(splits), options=json.dumps(LOOKED_FOR),
            catalogue=ROOT / "config" / "datasets.csv", out=self.data,
        )  # fmt: skip
        for split in splits:
            self.run("annotate", data=self.data, split=split, out=self.annotations)
            self.run("regions", annotations=self.annotations, split=split, regions="{}")
            self.variant("original", split)
            self.variant(variant, split)
        people = {"original": self.folder / "original", "annotations": self.annotations}
        for attack, more in (
            ("link", {}),
            ("reidentify", {"network": "mosaic"}),
            ("infer", {}),
            ("restore", {"knowledge": "reverse", "restorer": RESTORER}),
        ):
            place = self.folder / f"attacker-{attack}"
            self.run(
                "fit-attacker", attack=attack, attacker=json.dumps({**ATTACKER, **more}), seen=self.folder / variant,
                split="train", seed=0, device="cpu", out=place, **people,
            )  # fmt: skip
            yield f"fit attacker, {attack}", _tree(place, "weights.safetensors", "attacker.json")
            tries = {"model": place, "own": self.annotations, "gallery": "gallery"}
            if attack in ("infer", "restore"):
                del tries["gallery"]
            yield attack, self.attack(attack, variant, **tries, **people)
        yield "find", self.attack("find", variant, detector='{"plugin":"hog","options":{"threshold":0.5}}', **people)

    def attack(self, attack: str, variant: str, **options: object) -> str:
        """Try an attack on the people of the split ``probe``; return the digest of what was found."""
        out = self.folder / f"attack-{attack}"
        place = self.folder / variant
        self.run("attack", attack=attack, variant=place, probe="probe", resamples=50, device="cpu", out=out, **options)
        return _tree(out)

    def learned(self) -> Iterator[tuple[str, str]]:
        """Yield what is fitted to clips, and what that makes of them."""
        from anonbench.anonymize.methods.learned import Learned

        self.run(
            "download", dataset="clips", adapter="streetlife", splits="train", options=json.dumps(CLIPS),
            catalogue=ROOT / "config" / "datasets.csv", out=self.data,
        )  # fmt: skip
        self.run("annotate", data=self.data, split="train", out=self.annotations)
        for level in ("b30", "vitacontrast", "optics"):
            place = self.folder / f"fit-{level}"
            self.run(
                "fit", data=self.data, annotations=self.annotations, region="frame", method="learned", device="cpu",
                settings=json.dumps({**Learned.fit_levels[level], **LEARNED}), out=place,
            )  # fmt: skip
            yield f"fit, {level}", _tree(place, "weights.safetensors", "fit.json")
            weights = {"weights": place / "weights.safetensors", "device": "cpu"}
            yield f"frame-learned-{level}", self.variant(f"frame-learned-{level}", **weights)

    def variant(self, name: str, *splits: str, **options: object) -> str:
        """Write splits of a variant, train unless given (the original with val); return the digest of its images."""
        from anonbench import manifests

        out = self.folder / name
        splits = splits or (("train", "val") if name == "original" else ("train",))
        for split in splits:
            common = {"annotations": self.annotations, "split": split, "variant": name, "out": out}
            self.run("anonymize", data=self.data, **common, **options)
            self.run("merge", **common)
        return str(manifests.summary_of(out, splits[0])["digest"])

    def codec(self) -> Iterator[tuple[str, str]]:
        """Yield a codec's weights, a variant of frames, the streams of its originals, and what is decoded of them."""
        place, streams, decoded = self.folder / "fit-codec", self.folder / "streams", self.folder / "decoded"
        self.run(
            "fit", data=self.data, annotations=self.annotations, region="frame", method="roi_codec", device="cpu",
            settings=json.dumps(CODEC), out=place,
        )  # fmt: skip
        yield "fit, codec", _tree(place, "weights.safetensors", "fit.json")
        weights = {"weights": place / "weights.safetensors", "device": "cpu"}
        parameters = json.dumps({"step": CODEC["steps"][0]})
        yield "frame-roi_codec", self.variant("frame-roi_codec", parameters=parameters, encoder="lossless", **weights)
        images = sorted((self.folder / "original" / "train").iterdir())
        self.run("encode", *images, step=CODEC["steps"][0], seed=0, out=streams, **weights)
        yield "streams", _tree(streams)
        self.run("decode", *sorted(streams.iterdir()), out=decoded, **weights)
        yield "decoded", _tree(decoded)

    def detectors(self) -> Iterator[tuple[str, str]]:
        """Yield what the detectors that need no weights of the user's find in an image, at a low threshold."""
        import cv2

        from anonbench.detectors.base import make
        from anonbench.images import read_rgb

        cv2.setNumThreads(1)  # QEMU's threads wait for each other by spinning
        image = read_rgb(min((self.data / "val").iterdir()))
        for name, options, scale in (("hog", {"threshold": 0.5}, 2), ("centerface", {"threshold": 1e-4}, 1)):
            found = make(name, options).detect([cv2.resize(image, None, fx=scale, fy=scale)])[0]
            if not len(found):
                sys.exit(f"{name} finds nothing that could be compared")
            yield name, hashlib.sha256(found.tobytes()).hexdigest()

    def figures(self) -> str:
        """Draw the committed tables' figures."""
        from anonbench.config import read_yaml
        from anonbench.workflow.plan import Plan

        study = self.folder / "study.json"
        study.write_text(Plan(read_yaml(ROOT / "config" / "default.yaml"), ROOT).arguments.summary())
        self.run("report-figures", study=study, tables=ROOT / "results" / "tables", out=self.folder / "figures")
        return _tree(self.folder / "figures")


def _recipe() -> dict[str, Any]:
    """Return the default study's recipe, two steps long, whose detections are all reported."""
    from anonbench import recipe as recipes

    recipe = recipes.read("cpu-small").model_dump(mode="json")
    recipe["settings"]["architecture"]["score_threshold"] = 0.0
    short = {"epochs": None, "iterations": 2, "warmup_iterations": 1, "batch_size": 2}
    return {**recipe, **short, "settings": {**recipe["settings"], **SIZE}}


CODE = re.compile(rb'\n "code": "[0-9a-f]{16}",')


def _tree(folder: Path, *names: str) -> str:
    """Return the sha256 of files by name; of all below the folder unless named.

    Records say which code made them (`CODE`), which changes with every edit and with no number.
    """
    digest = hashlib.sha256()
    for path in [folder / name for name in names] or sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(
                path.relative_to(folder).as_posix().encode() + b"\0" + CODE.sub(b"", path.read_bytes()) + b"\0"
            )
    return digest.hexdigest()


def measure(cpu: str | None, figures: bool) -> tuple[dict[str, str], float]:
    """Return what a processor makes (None: this one), by kind of job, and the seconds that it took."""
    emulated = [] if cpu is None else ["qemu-x86_64", "-cpu", cpu]
    flags = ["--figures"] if figures else []
    started = time.perf_counter()
    found: dict[str, str] = {}
    job = "nothing"
    with tempfile.TemporaryFile("w+") as errors:
        command = [*emulated, sys.executable, __file__, "--one", *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                job, digest = json.loads(line)
                found[job] = digest
                seconds = time.perf_counter() - started
                print(f"{cpu or 'here'}, {seconds:.0f} s: {job} {digest[:12]}", file=sys.stderr, flush=True)
        if process.returncode:
            errors.seek(0)
            print(f"{cpu or 'here'}: failed after {job}\n{errors.read()[-1000:]}", file=sys.stderr)
    return found, time.perf_counter() - started


def main(
    cpu: Annotated[list[str] | None, typer.Option(help="QEMU's name of a processor; may be repeated.")] = None,
    one: Annotated[bool, typer.Option("--one", help="This processor only, a JSON list a line.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Renew tests/portable.json on this processor.")] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Draw the committed tables' figures, too.")] = False,
) -> None:
    """Print the table; status 1 when a processor differs."""
    if one or write:
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            for job, digest in Jobs(Path(folder)).digests(figures):
                found[job] = digest
                print(json.dumps([job, digest]), flush=True)
        if write:
            COMMITTED.write_text(json.dumps(found, indent=1) + "\n")
        return
    names = [None, *(cpu or CPUS)]
    results = {name or "here": measure(name, figures) for name in names}
    expected = results["here"][0]
    rows = [[part, *(found.get(part, "not run")[:12] for found, _ in results.values())] for part in expected]
    rows.append(["seconds", *(f"{seconds:.0f}" for _, seconds in results.values())])
    print(tabulate(rows, headers=["job", *results], tablefmt="github", disable_numparse=True))
    differing = [
        f"{part} ({name})"
        for name, (found, _) in results.items()
        for part in expected
        if found.get(part) != expected[part]
    ]
    if differing:
        sys.exit("differ: " + ", ".join(differing))
    print(f"all {len(expected)} are the same on {len(results)} processors")


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
