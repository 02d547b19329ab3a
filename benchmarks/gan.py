"""How close generated people are to real ones, beside blur, pixelate and mask-out; and how fast they are made.

    python benchmarks/gan.py --data DATA --annotations ANNOTATIONS --split val --weights WEIGHTS [WEIGHTS ...] \\
        --look-data OTHER --look-annotations OTHER_ANNOTATIONS [--region body] [--sheet people.png]

`DATA` holds people that the generator was not fitted to: a held-out split, or a data set of another seed. Three small
networks look at them; all are trained by this script on the training split of `OTHER`, which is neither the data that
the generator was fitted to nor the data that is measured. For streetlife, whose data sets follow from a seed:

    anonbench download --dataset look --adapter streetlife --splits train --out OTHER \\
        --options '{"seed": 11, "train": 1000, "val": 2, "identities": 150}'

The people measured are those of every second image; those of the others are the real people that they are compared
with. Bodies are looked at as published crops of 60x108 pixels, about their size in the images; faces as 48x48.

- ``category``: Frechet distance (as FID, Heusel et al. 2017) between the two sets in the last hidden layer of
  *CategoryNet*, which tells the categories of objects and empty crops apart: a recognition network, as FID's Inception.
- ``pose``: the same in *PoseNet*, which tells crops with a person from shifted ones without, and places the 17
  keypoints. It sees where limbs are.
- ``identity``: the same in the embedding of *IdentityNet*, which tells the 150 people of `OTHER` apart by what they
  look like: a re-identification baseline in stripes (Sun et al. 2018). It sees hair, skin, clothes and their patterns.
- Behind each, the interval that holds 95 % of bootstrap differences to ``--against`` (blur-medium): images are drawn
  again, the same ones for all rows. Below zero throughout: closer to real people than blur is.
- ``person``: mean probability of PoseNet that there is a person. ``keypoints``: median distance of its keypoints from
  the annotated ones, in per cent of the crop's height.
- ``ssim``: structural similarity (Wang et al. 2004, 11x11 Gaussian) to the original, over the region: high where the
  original person shines through, so it says more of privacy than of realism. ``ring`` is the same over the pixels
  within a tenth of the height outside the region, for what the seam does to them.
- ``crops/s`` of each method on this machine, cutting and pasting included.

Neither network is Inception: distances compare within one run only. ``real`` compares the two sets as they are: the
floor. How well the networks do what they were trained for, on images of `OTHER` that they were not trained on, and how
the distances follow the strength of a blur are printed too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from anonbench import portable

portable.settle()  # before torch is loaded

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy import linalg  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from anonbench import images, regions  # noqa: E402
from anonbench.anonymize import engine  # noqa: E402
from anonbench.anonymize.contract import Method, make  # noqa: E402
from anonbench.anonymize.gan.data import published_crop, shares, shrink  # noqa: E402
from anonbench.arguments import mapping  # noqa: E402
from anonbench.cli import one_sentence  # noqa: E402
from anonbench.crops import Work, cut  # noqa: E402
from anonbench.datasets.record import root_of  # noqa: E402
from anonbench.files import read_json, write_bytes  # noqa: E402
from anonbench.people import People  # noqa: E402
from anonbench.records import Region, RegionKind  # noqa: E402
from anonbench.variants import Variant  # noqa: E402
from anonbench.windows import Window  # noqa: E402

SIZES = {RegionKind.BODY: (60, 108), RegionKind.FACE: (48, 48)}
"""Width and height that crops are looked at: about what people have in the images, faces somewhat enlarged."""
FEATURES = 48
STRIPES = 6
BASELINES = ("blur-low", "blur-medium", "blur-high", "pixelate-medium", "mask_out")


def trunk(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in zip((3, *widths), widths, strict=False):
        layers += [nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(4, b), nn.ReLU()]
    return nn.Sequential(*layers)


class CategoryNet(nn.Module):
    """Tells the categories of objects apart, and from crops without any."""

    def __init__(self, categories: int) -> None:
        super().__init__()
        self.body = trunk(24, 48, 96, 96)
        self.hidden, self.what = nn.Linear(96, FEATURES), nn.Linear(FEATURES, categories)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, FEATURES) of crops (N, 3, H, W) in -1..1."""
        return self.hidden(self.body(x).mean((2, 3)))


class PoseNet(nn.Module):
    """Tells whether there is a person and where the keypoints are."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self.body = trunk(16, 32, FEATURES)
        self.hidden = nn.Linear(FEATURES * -(-width // 8) * -(-height // 8), FEATURES)
        self.person, self.points = nn.Linear(FEATURES, 1), nn.Linear(FEATURES, 34)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, FEATURES) of crops (N, 3, H, W) in -1..1."""
        return torch.relu(self.hidden(self.body(x).flatten(1)))


class IdentityNet(nn.Module):
    """Tells people apart by their looks."""

    def __init__(self, people: int) -> None:
        super().__init__()
        self.body = trunk(24, 48, 96)
        self.hidden = nn.Linear(96 * STRIPES, FEATURES)
        self.who = nn.Linear(FEATURES, people)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, FEATURES) of crops (N, 3, H, W) in -1..1."""
        return self.hidden(F.adaptive_avg_pool2d(self.body(x), (STRIPES, 1)).flatten(1))


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


@dataclass
class Crops:
    """Crops (uint8 NxHxWx3), masks (bool NxHxW), keypoints (float32 Nx17x3, shares), and whose each is."""

    pixels: np.ndarray
    masks: np.ndarray
    points: np.ndarray
    of: np.ndarray
    names: list[str | None]
    categories: list[str]

    @property
    def seen(self) -> np.ndarray:
        return self.points[..., 2] > 0


@dataclass
class Data:
    """The images of a split with their people."""

    kind: RegionKind
    size: tuple[int, int]
    works: list[Work] = field(default_factory=list)
    categories: dict[int, str] = field(default_factory=dict)

    @classmethod
    def read(cls, data: Path, annotations: Path, split: str, kind: RegionKind, limit: int, skip: int = 0) -> Data:
        root, _ = root_of(data)
        rows = regions.read(annotations / f"{split}.images.parquet", regions.IMAGES).to_pylist()[skip:]
        table = annotations / f"{split}.regions.parquet"
        people = People.read(table, kind, rows)
        known = regions.read(table, regions.REGIONS).select(["person_id", "category"]).to_pylist()
        self, count = cls(kind, SIZES[kind], [], {row["person_id"]: row["category"] for row in known}), 0
        for row in rows:
            found = people.regions(row)
            if found and count < limit:
                pixels = images.read_rgb(root / row["path"], (row["width"], row["height"]))
                self.works.append(Work(row["image_id"], pixels, found, people.keypoints(row["image_id"])))
                count += len(found)
        return self

    def every(self, start: int, step: int) -> Data:
        return self.of(self.works[start::step])

    def of(self, works: list[Work]) -> Data:
        return Data(self.kind, self.size, works, self.categories)

    def changed(self, method: Method) -> tuple[Data, float]:
        """Return the images changed by a method, and crops per second."""
        works = [Work(w.image_id, w.pixels.copy(), w.regions, w.keypoints) for w in self.works]
        started = time.perf_counter()
        for start in range(0, len(works), method.batch):
            engine.anonymize(works[start : start + method.batch], method, 0)
        speed = sum(len(w.regions) for w in works) / (time.perf_counter() - started)
        return self.of(works), speed

    def crops(self) -> Crops:
        """Return everyone at the size that the networks look at."""
        found = []
        for number, work in enumerate(self.works):
            height, width = work.pixels.shape[:2]
            for one in work.regions:
                crop = cut(work, one, published_crop(one, width, height), "replicate", 0)
                points = shares(crop.keypoints, crop.pixels.shape[1::-1])
                category = self.categories[one.person_id]
                found.append((*shrink(crop.pixels, crop.mask, self.size), points, number, one.identity, category))
        pixels, masks, points, of, names, categories = zip(*found, strict=True)
        stacked = (np.stack(pixels), np.stack(masks), np.stack(points), np.array(of))
        return Crops(*stacked, list(names), list(categories))

    def objects(self, labels: Path) -> tuple[np.ndarray, list[str]]:
        """Return crops (uint8 NxHxWx3) of the objects that are no people, and their categories."""
        coco = read_json(labels)
        names = {one["id"]: one["name"] for one in coco["categories"]}
        works = {work.image_id: work for work in self.works}
        found, categories = [], []
        for one in coco["annotations"]:
            x, y, w, h = one["bbox"]
            work, name = works.get(one["image_id"]), names[one["category_id"]]
            if work is None or name in self.categories.values() or min(w, h) < 8:
                continue
            scale = 1.2 * max(w / self.size[0], h / self.size[1])
            wide, high = int(self.size[0] * scale), int(self.size[1] * scale)
            left, top = int(x + w / 2 - wide / 2), int(y + h / 2 - high / 2)
            box = (left, top, left + wide, top + high)
            nobody = Region(one["id"], self.kind, "label", box, np.zeros((high, wide), bool), (x, y, w, h))
            crop = cut(work, nobody, Window(box), "replicate", 0)
            found.append(shrink(crop.pixels, crop.mask, self.size)[0])
            categories.append(name)
        return np.stack(found), categories

    def empty(self) -> np.ndarray:
        """Return crops (uint8 NxHxWx3) of the same sizes from beside people, where nobody is."""
        found = []
        for work in self.works:
            height, width = work.pixels.shape[:2]
            covered = np.zeros((height, width), bool)
            for one in work.regions:
                x0, y0, x1, y1 = one.box
                covered[y0:y1, x0:x1] |= one.mask
            for one in work.regions:
                x0, y0, x1, y1 = published_crop(one, width, height).box
                for shift in (0.9, -0.9, 1.3, -1.3, 2.0, -2.0, 3.0, -3.0):
                    left = int(x0 + shift * (x1 - x0))
                    right = left + x1 - x0
                    free = left >= 0 and right <= width and y0 >= 0 and y1 <= height
                    if free and not covered[y0:y1, left:right].any():
                        found.append(shrink(work.pixels[y0:y1, left:right], covered[y0:y1, left:right], self.size)[0])
        return np.stack(found)


def noisy(x: torch.Tensor) -> torch.Tensor:
    """Return crops with other colours and noise, so that the networks do not learn images by heart."""
    x = x * (1 + 0.1 * torch.randn(len(x), 3, 1, 1)) + 0.1 * torch.randn(len(x), 3, 1, 1)
    return x.roll((int(torch.randint(-3, 4, ())), int(torch.randint(-2, 3, ()))), (2, 3))


def optimise(net: nn.Module, steps: int, loss: Callable[[], torch.Tensor]) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    for _ in range(steps):
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    net.eval()


def category_net(groups: list[np.ndarray], steps: int) -> CategoryNet:
    torch.manual_seed(0)
    net, rng = CategoryNet(len(groups)), np.random.default_rng(0)
    what = torch.arange(len(groups)).repeat_interleave(16)

    def loss() -> torch.Tensor:
        x = noisy(tensor(np.concatenate([group[rng.integers(len(group), size=16)] for group in groups])))
        if rng.random() < 0.5:
            x = x.flip(3)
        return F.cross_entropy(net.what(net.features(x)), what)

    optimise(net, steps, loss)
    return net


def pose_net(known: Crops, empty: np.ndarray, steps: int) -> PoseNet:
    torch.manual_seed(0)
    net, rng = PoseNet(known.pixels.shape[2], known.pixels.shape[1]), np.random.default_rng(0)

    def loss() -> torch.Tensor:
        some, none = rng.integers(len(known.pixels), size=32), rng.integers(len(empty), size=32)
        x = tensor(np.concatenate([known.pixels[some], empty[none]]))
        found = net.features(x * (1 + 0.2 * torch.randn(64, 3, 1, 1)) + 0.1 * torch.randn(64, 3, 1, 1))
        wanted = torch.from_numpy(known.points[some])
        label = torch.cat([torch.ones(32), torch.zeros(32)])
        error = (net.points(found[:32]).view(-1, 17, 2) - wanted[..., :2]).abs() * (wanted[..., 2:] > 0)
        return F.binary_cross_entropy_with_logits(net.person(found)[:, 0], label) + 5 * error.mean()

    optimise(net, steps, loss)
    return net


def identity_net(known: Crops, who: np.ndarray, people: int, steps: int) -> IdentityNet:
    torch.manual_seed(0)
    net, rng = IdentityNet(people), np.random.default_rng(0)

    def loss() -> torch.Tensor:
        some = rng.integers(len(known.pixels), size=64)
        x = noisy(tensor(known.pixels[some]))
        if rng.random() < 0.5:
            x = x.flip(3)
        logits = net.who(net.features(x))
        return F.cross_entropy(logits, torch.from_numpy(who[some]), label_smoothing=0.1)

    optimise(net, steps, loss)
    return net


def moments(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return a.mean(0), np.cov(a, rowvar=False) + 1e-6 * np.eye(a.shape[1])


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Frechet distance of normal distributions with the moments of features (N, F) and (M, F)."""
    (mean, one), (other, two) = moments(a), moments(b)
    root = linalg.cholesky(one, lower=True)
    both = np.sqrt(np.maximum(linalg.eigvalsh(root.T @ two @ root), 0)).sum()
    return float(((mean - other) ** 2).sum() + np.trace(one) + np.trace(two) - 2 * both)


def drawn_again(of: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the crops (indices) of as many images as there are, drawn with replacement."""
    places = [np.flatnonzero(of == image) for image in np.unique(of)]
    return np.concatenate([places[n] for n in rng.integers(len(places), size=len(places))])


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the SSIM map of two grey float images."""

    def smooth(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (11, 11), 1.5)

    u, v = smooth(a), smooth(b)
    aa, bb, ab = smooth(a * a) - u * u, smooth(b * b) - v * v, smooth(a * b) - u * v
    c1, c2 = 6.5025, 58.5225
    return (2 * u * v + c1) * (2 * ab + c2) / ((u * u + v * v + c1) * (aa + bb + c2))


def similar(original: Crops, made: np.ndarray) -> tuple[float, float]:
    """Return mean SSIM over the regions and over what is around them."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * (made.shape[1] // 20) + 1,) * 2)
    inside, around = [], []
    for before, after, mask in zip(original.pixels, made, original.masks, strict=True):
        found = ssim(*(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float64) for p in (before, after)))
        ring = cv2.dilate(mask.astype(np.uint8), disc).astype(bool) & ~mask
        inside.append(found[mask].mean())
        around.append(found[ring].mean() if ring.any() else 1.0)
    return float(np.mean(inside)), float(np.mean(around))


class Looks:
    """The networks, trained on another data set's people; ``told`` says how well they do on its held-out images."""

    NETS = ("category", "pose", "identity")

    def __init__(self, data: Data, labels: Path, steps: int) -> None:
        kept = len(data.works) * 9 // 10
        parts = data.of(data.works[:kept]), data.of(data.works[kept:])
        learned, tested = (part.crops() for part in parts)
        names = sorted({name for name in learned.names if name is not None})
        number = {name: n for n, name in enumerate(names)}
        told, of = (np.array([number.get(name or "", -1) for name in part.names]) for part in (learned, tested))
        self.pose = pose_net(learned, parts[0].empty(), steps)
        has = told >= 0
        mine = Crops(learned.pixels[has], learned.masks[has], learned.points[has], learned.of[has], [], [])
        self.identity = identity_net(mine, told[has], len(names), 2 * steps)
        groups, held = (grouped(part, crops, labels) for part, crops in zip(parts, (learned, tested), strict=True))
        self.category = category_net(list(groups.values()), steps * 3 // 2)
        with torch.inference_mode():
            right = self.identity.who(self.identity.features(tensor(tested.pixels))).argmax(1).numpy() == of
            hits = [
                float((self.category.what(self.category.features(tensor(held[name]))).argmax(1) == n).float().mean())
                for n, name in enumerate(groups)
                if name in held
            ]
        self.told = (
            f"looked at by networks of {len(learned.pixels)} other people; of crops of their held-out images "
            f"{100 * np.mean(hits):.0f} % are told to be the right one of {', '.join(groups)} (mean over these), "
            f"of {len(of)} people {100 * right.mean():.0f} % are given the right one of {len(names)} names, keypoints "
            f"are {self.keypoints(tested, tested.pixels):.1f} % of the height off"
        )

    @torch.inference_mode()
    def features(self, pixels: np.ndarray) -> list[np.ndarray]:
        return [getattr(self, net).features(tensor(pixels)).numpy() for net in self.NETS]

    @torch.inference_mode()
    def person(self, pixels: np.ndarray) -> float:
        return float(torch.sigmoid(self.pose.person(self.pose.features(tensor(pixels)))).mean())

    @torch.inference_mode()
    def keypoints(self, crops: Crops, pixels: np.ndarray) -> float:
        points = self.pose.points(self.pose.features(tensor(pixels))).view(-1, 17, 2).numpy()
        error = (points - crops.points[..., :2]) * (pixels.shape[2] / pixels.shape[1], 1)
        return 100 * float(np.median(np.linalg.norm(error, axis=2)[crops.seen]))


def grouped(data: Data, crops: Crops, labels: Path) -> dict[str, np.ndarray]:
    """Return crops (uint8 NxHxWx3) by category; `nothing` are those without anybody."""
    objects, categories = data.objects(labels)
    of = np.array([*crops.categories, *categories])
    pixels = np.concatenate([crops.pixels, objects])
    return {name: pixels[of == name] for name in sorted(set(of.tolist()))} | {"nothing": data.empty()}


def draw_sheet(path: Path, rows: Sequence[np.ndarray], people: np.ndarray, zoom: int = 2) -> None:
    """Write a picture with a row per method and a column per person."""
    picture = np.concatenate([np.concatenate(list(row[people]), 1) for row in rows])
    picture = cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST)
    write_bytes(path, cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))[1].tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--data", "--annotations", "--look-data", "--look-annotations"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="Of one or more trainings, a row each.")
    parser.add_argument("--region", type=RegionKind, choices=list(RegionKind), default=RegionKind.BODY)
    parser.add_argument("--split", default="val")
    parser.add_argument("--look-split", default="train")
    parser.add_argument(
        "--steps", type=int, default=600, help="Of PoseNet's training; the others take more: 1.5, 2 times as many."
    )
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--skip", type=int, default=0, help="Images left out: those that choices were made on.")
    parser.add_argument("--bootstrap", type=int, default=200)
    parser.add_argument("--against", choices=BASELINES, default="blur-medium")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sheet", type=Path, help="Where to draw some of the people under every method.")
    parser.add_argument(
        "--parameters", nargs="*", default=["{}"], help="JSON of the generator's parameters, one row each"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    given = (options.region, 10**9)
    looks = Looks(
        Data.read(options.look_data, options.look_annotations, options.look_split, *given),
        options.look_annotations / f"{options.look_split}.json",
        options.steps,
    )
    data = Data.read(options.data, options.annotations, options.split, options.region, options.people, options.skip)
    measured, others = data.every(0, 2), data.every(1, 2).crops()
    original, example = measured.crops(), looks.features(others.pixels)
    methods: list[tuple[str, Method]] = []
    for weights in options.weights:
        for text in options.parameters:
            method = make(Variant.parse(f"{options.region}-gan"), mapping(text, "--parameters"))
            method.load(weights, options.region, options.device)
            methods.append((f"gan {weights.parent.name}" + (f" {text}" if text != "{}" else ""), method))
    methods += [(name, make(Variant.parse(f"{options.region}-{name}"))) for name in BASELINES]
    made = {"real": original.pixels}
    speeds: dict[str, float] = {}
    for name, method in methods:
        works, speeds[name] = measured.changed(method)
        made[name] = works.crops().pixels
    seen = {name: looks.features(pixels) for name, pixels in made.items()}
    rng = np.random.default_rng(0)
    draws = [(drawn_again(original.of, rng), drawn_again(others.of, rng)) for _ in range(options.bootstrap)]

    def distances(name: str, net: int) -> np.ndarray:
        return np.array([frechet(seen[name][net][a], example[net][b]) for a, b in draws])

    nets = range(len(looks.NETS))
    bases = [distances(options.against, net) for net in nets]
    print(f"{len(original.pixels)} {options.region} regions of {len(measured.works)} images, compared with "
          f"{len(others.pixels)} others; {looks.told}")  # fmt: skip
    head = "".join(f"{net:>10}{'minus ' + options.against:>20}" for net in looks.NETS)
    print(f"{'':34}{head}{'person':>8}{'keypoints':>11}{'ssim':>6}{'ring':>6}{'crops/s':>9}")
    for name, pixels in made.items():
        line = f"{name[:33]:34}"
        for net in nets:
            difference = distances(name, net) - bases[net]
            low, high = np.percentile(difference, (2.5, 97.5))
            interval = "" if name in ("real", options.against) else f"{low:.2f} .. {high:.2f}"
            line += f"{frechet(seen[name][net], example[net]):10.2f}{interval:>20}"
        inside, around = similar(original, pixels)
        line += f"{looks.person(pixels):8.2f}{looks.keypoints(original, pixels):11.2f}{inside:6.2f}{around:6.2f}"
        print(line + (f"{speeds[name]:9.0f}" if name in speeds else ""), flush=True)
    if options.sheet:
        people = np.linspace(0, len(original.pixels) - 1, 16).astype(int)
        draw_sheet(options.sheet, list(made.values()), people)


if __name__ == "__main__":
    with one_sentence():
        main()
