"""How close generated people are to real ones, beside blur, pixelate and mask-out; and how fast they are made.

    python benchmarks/gan.py --data DATA --annotations ANNOTATIONS --weights WEIGHTS [--split train] [--people 600]

Measures, on people's published crops, 60x108 pixels, about their size in the images:

- ``frechet``: Frechet distance (as FID, Heusel et al. 2017) of features to those of other real people. The features are
  the last hidden layer of *PoseNet*, a small network that this script trains on half of the split's real people to tell
  crops with a person from shifted ones without, and to place the 17 keypoints. Not Inception: distances compare within
  one run only. ``real`` compares two halves of the real people: the floor.
- ``person``: mean probability, according to PoseNet, that there is a person.
- ``keypoints``: median distance of PoseNet's keypoints from the annotated ones, in per cent of the crop's height.
- ``ssim``: structural similarity (Wang et al. 2004, 11x11 Gaussian) to the original, over the region: high where the
  original person shines through, so it says more of privacy than of realism. ``ring`` is the same over the pixels
  within a tenth of the height outside the region, for what the seam does to them.
- ``crops/s`` of each method on this machine, cutting and pasting included.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy import linalg
from torch import nn
from torch.nn import functional as F

from anonbench import images, regions
from anonbench.anonymize import engine
from anonbench.anonymize.contract import Method, make
from anonbench.anonymize.gan.data import published_crop, shares, shrink
from anonbench.anonymize.shard import People
from anonbench.datasets.record import root_of
from anonbench.records import RegionKind
from anonbench.variants import Variant

SIZE = (60, 108)
"""Width and height that crops are looked at: about what people have in the images."""
FEATURES = 48


class PoseNet(nn.Module):
    """Tells whether there is a person and where the keypoints are."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, FEATURES)
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(4, b), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.hidden = nn.Linear(FEATURES * 8 * 14, FEATURES)
        self.person, self.points = nn.Linear(FEATURES, 1), nn.Linear(FEATURES, 34)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, FEATURES) of crops (N, 3, 108, 60) in -1..1."""
        return torch.relu(self.hidden(self.body(x).flatten(1)))


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(people: np.ndarray, points: np.ndarray, empty: np.ndarray, steps: int = 500) -> PoseNet:
    torch.manual_seed(0)
    net, rng = PoseNet(), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.01)
    for _ in range(steps):
        some, none = rng.integers(len(people), size=32), rng.integers(len(empty), size=32)
        x = torch.cat([tensor(people[some]), tensor(empty[none])])
        found = net.features(x * (1 + 0.2 * torch.randn(64, 3, 1, 1)) + 0.1 * torch.randn(64, 3, 1, 1))
        wanted = torch.from_numpy(points[some])
        label = torch.cat([torch.ones(32), torch.zeros(32)])
        loss = F.binary_cross_entropy_with_logits(net.person(found)[:, 0], label)
        error = (net.points(found[:32]).view(-1, 17, 2) - wanted[..., :2]).abs() * (wanted[..., 2:] > 0)
        (loss + 5 * error.mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return net.eval()


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    one, two = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm((one + 1e-6 * np.eye(len(one))) @ (two + 1e-6 * np.eye(len(two)))).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one + two - 2 * root))


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the SSIM map of two grey float images."""

    def smooth(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (11, 11), 1.5)

    u, v = smooth(a), smooth(b)
    aa, bb, ab = smooth(a * a) - u * u, smooth(b * b) - v * v, smooth(a * b) - u * v
    c1, c2 = 6.5025, 58.5225
    return (2 * u * v + c1) * (2 * ab + c2) / ((u * u + v * v + c1) * (aa + bb + c2))


class Data:
    """The images of a split with their people."""

    def __init__(self, data: Path, annotations: Path, split: str, limit: int) -> None:
        self.root, _ = root_of(data)
        rows = regions.read(annotations / f"{split}.images.parquet", regions.IMAGES).to_pylist()
        self.people = People.read(annotations / f"{split}.regions.parquet", RegionKind.BODY, rows)
        self.works: list[engine.Work] = []
        count = 0
        for row in rows:
            found = self.people.regions(row)
            if found and count < limit:
                pixels = images.read_rgb(self.root / row["path"], (row["width"], row["height"]))
                points = self.people.keypoints(row["image_id"])
                self.works.append(engine.Work(row["image_id"], pixels, found, points))
                count += len(found)

    def changed(self, method: Method) -> tuple[list[engine.Work], float]:
        """Return the images changed by a method, and crops per second."""
        works = [engine.Work(w.image_id, w.pixels.copy(), w.regions, w.keypoints) for w in self.works]
        started = time.perf_counter()
        for start in range(0, len(works), method.batch):
            engine.anonymize(works[start : start + method.batch], method, 0)
        return works, sum(len(w.regions) for w in works) / (time.perf_counter() - started)


def crops(works: list[engine.Work], shift: float = 0.0) -> dict[str, np.ndarray]:
    """Return pixels, masks and keypoints of everyone at the working size; with ``shift``, of places beside them."""
    found: dict[str, list[Any]] = {"pixels": [], "masks": [], "points": []}
    for work in works:
        height, width = work.pixels.shape[:2]
        covered = np.zeros((height, width), bool)
        for one in work.regions:
            x0, y0, x1, y1 = one.box
            covered[y0:y1, x0:x1] |= one.mask
        for one in work.regions:
            window = published_crop(one, width, height)
            if shift:
                x0, y0, x1, y1 = window.box
                moved = [int(x0 + s * (x1 - x0)) for s in (-shift, shift)]
                free = [
                    x
                    for x in moved
                    if x >= 0 and x + x1 - x0 <= width and not covered[max(y0, 0) : y1, x : x + x1 - x0].any()
                ]
                if free and y0 >= 0 and y1 <= height:
                    found["pixels"].append(
                        shrink(work.pixels[y0:y1, free[0] : free[0] + x1 - x0], covered[y0:y1, x0:x1], SIZE)[0]
                    )
                continue
            crop = engine.cut(work, one, window, "replicate", 0)
            pixels, mask = shrink(crop.pixels, crop.mask, SIZE)
            found["pixels"].append(pixels)
            found["masks"].append(mask)
            found["points"].append(shares(crop.keypoints, crop.pixels.shape[1::-1]))
    return {name: np.stack(values) for name, values in found.items() if values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--annotations", "--weights"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--people", type=int, default=1600)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--parameters", nargs="*", default=["{}"], help="JSON of the generator's parameters, one row each"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Data(options.data, options.annotations, options.split, options.people)
    half = len(data.works) // 2
    real = crops(data.works[:half])
    empty = [crops(data.works[:half], shift) for shift in (0.9, 1.3, 2.0, 3.0)]
    net = train(real["pixels"], real["points"], np.concatenate([e["pixels"] for e in empty if e]))
    data.works, known = data.works[half:], data.works[:half]
    original = crops(data.works)

    @torch.inference_mode()
    def look(pixels: np.ndarray) -> tuple[np.ndarray, float, float]:
        found = net.features(tensor(pixels))
        points = original["points"]
        error = (net.points(found).view(-1, 17, 2).numpy() - points[..., :2]) * (SIZE[0] / SIZE[1], 1)
        distance = np.linalg.norm(error, axis=2)[points[..., 2] > 0]
        return found.numpy(), float(torch.sigmoid(net.person(found)).mean()), 100 * float(np.median(distance))

    with torch.inference_mode():
        example = net.features(tensor(crops(known)["pixels"])).numpy()
    methods: list[tuple[str, Method]] = []
    for text in options.parameters:
        method = make(Variant.parse("body-gan"), json.loads(text))
        method.load(options.weights, RegionKind.BODY, options.device)
        methods.append((f"gan {text}" if text != "{}" else "gan", method))
    for name in ("body-blur-medium", "body-pixelate-medium", "body-mask_out"):
        methods.append((name.removeprefix("body-"), make(Variant.parse(name))))
    print(f"{len(original['pixels'])} people; PoseNet from {len(real['pixels'])} others")
    print(f"{'':32}{'frechet':>9}{'person':>8}{'keypoints':>11}{'ssim':>7}{'ring':>7}{'crops/s':>9}")
    features, person, keypoints = look(original["pixels"])
    print(f"{'real':32}{frechet(example, features):9.2f}{person:8.2f}{keypoints:11.2f}{1:7.2f}{1:7.2f}")
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * (SIZE[1] // 20) + 1,) * 2)
    for name, method in methods:
        works, speed = data.changed(method)
        made = crops(works)["pixels"]
        features, person, keypoints = look(made)
        inside, around = [], []
        for before, after, mask in zip(original["pixels"], made, original["masks"], strict=True):
            grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float64) for p in (before, after)]
            similar = ssim(*grey)
            ring = cv2.dilate(mask.astype(np.uint8), disc).astype(bool) & ~mask
            inside.append(similar[mask].mean())
            around.append(similar[ring].mean() if ring.any() else 1.0)
        print(
            f"{name[:31]:32}{frechet(example, features):9.2f}{person:8.2f}{keypoints:11.2f}"
            f"{np.mean(inside):7.2f}{np.mean(around):7.2f}{speed:9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
