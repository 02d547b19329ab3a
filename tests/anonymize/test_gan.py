"""What the generator does to crops: what it sees, styles, colours, bad input."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anonbench.anonymize import engine
from anonbench.anonymize.contract import make
from anonbench.anonymize.gan import conditions, histogram, networks, style, training, weights
from anonbench.anonymize.gan.data import shrink
from anonbench.anonymize.gan.networks import Generator
from anonbench.anonymize.gan.options import FitSettings
from anonbench.anonymize.methods.gan import Gan
from anonbench.crops import Work
from anonbench.errors import AnonbenchError
from anonbench.manifests import shard_path
from anonbench.records import ANONYMIZED, Reason, Region, RegionKind
from anonbench.variants import Variant

from .conftest import photograph, region
from .gan_tiny import SETTINGS, loaded, write_weights

BODY, FACE = RegionKind.BODY, RegionKind.FACE


def skeleton(box: tuple[int, int, int, int]) -> np.ndarray:
    """Return 17 visible keypoints inside a box."""
    rng = np.random.default_rng(1)
    x0, y0, x1, y1 = box
    points = rng.uniform((x0, y0), (x1, y1), (17, 2))
    return np.concatenate([points, np.full((17, 1), 2.0)], 1).astype(np.float32)


@pytest.mark.parametrize("box", [(30, 20, 60, 90), (60, 40, 64, 50), (1, 1, 119, 139)])
@pytest.mark.parametrize("kind", [BODY, FACE])
def test_the_generator_is_blind_to_the_person(tmp_path: Path, box: tuple[int, int, int, int], kind: RegionKind) -> None:
    one = region(box, kind)
    if kind is BODY:  # thin as an arm, so that shrinking by nearest neighbours would miss it
        mask = one.mask.copy()
        mask[::3] = False
        mask[:, 0] = True
        one = region(box, kind, mask=mask)
    pixels = photograph(120, 140)
    other = pixels.copy()
    x0, y0, x1, y1 = box
    other[y0:y1, x0:x1][one.mask] = 255 - other[y0:y1, x0:x1][one.mask]
    method = loaded(tmp_path, kind)
    first, second = (engine.anonymize_image(p, [one], method, seed=3) for p in (pixels, other))
    assert (first == second).all()
    assert (first[y0:y1, x0:x1][one.mask] != pixels[y0:y1, x0:x1][one.mask]).any()


@pytest.mark.parametrize("size", [(8, 16), (40, 72), (200, 300)])
def test_nothing_of_the_person_is_left_outside_the_working_mask(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((90, 50)) < 0.01
    pixels = photograph(50, 90)
    changed = np.where(mask[..., None], np.uint8(255) - pixels, pixels)
    (first, covered), (second, _) = shrink(pixels, mask, size), shrink(changed, mask, size)
    assert (first[~covered] == second[~covered]).all()
    assert (first[covered] != second[covered]).any()


def test_context_keypoints_and_seed_matter(tmp_path: Path) -> None:
    method, one, pixels = loaded(tmp_path), region((30, 20, 60, 90)), photograph(120, 140)
    plain = engine.anonymize_image(pixels, [one], method, seed=3)
    around = pixels.copy()
    around[:, :28] = 0
    points = {1: skeleton(one.box)}
    for name, other in {
        "seed": engine.anonymize_image(pixels, [one], method, seed=4),
        "keypoints": engine.anonymize_image(pixels, [one], method, seed=3, keypoints=points),
        "context": engine.anonymize_image(around, [one], method, seed=3),
    }.items():
        assert (other[20:90, 30:60][one.mask] != plain[20:90, 30:60][one.mask]).mean() > 0.1, name


@pytest.mark.parametrize("points", [None, np.zeros((17, 3), np.float32), np.full((17, 3), np.nan, np.float32)])
def test_keypoints_that_say_nothing(tmp_path: Path, points: np.ndarray | None) -> None:
    method, one, pixels = loaded(tmp_path), region((30, 20, 60, 90)), photograph(120, 140)
    keypoints = {} if points is None else {1: points}
    changed = engine.anonymize_image(pixels, [one], method, seed=3, keypoints=keypoints)
    assert (changed == engine.anonymize_image(pixels, [one], method, seed=3)).all()
    strict = loaded(tmp_path, require_keypoints=True)
    work = Work(1, pixels.copy(), [one], keypoints)
    ((row,),) = engine.anonymize([work], strict, 3)
    assert (row.status, row.fallback) == (Reason.METHOD_FAILED, "mask_out")
    assert (work.pixels[20:90, 30:60][one.mask] == 128).all()
    work = Work(1, pixels.copy(), [one], {1: skeleton(one.box)})
    ((row,),) = engine.anonymize([work], strict, 3)
    assert (row.status, row.fallback) == (ANONYMIZED, None)


def test_limbs_are_drawn_where_the_keypoints_are() -> None:
    points = torch.zeros(1, 17, 3)
    points[0, 5], points[0, 7] = torch.tensor([0.25, 0.25, 2.0]), torch.tensor([0.75, 0.75, 1.0])
    maps = conditions.limb_maps(points, 20, 40)
    lines, territories = maps[0, : conditions.LIMBS], maps[0, conditions.LIMBS :]
    assert lines.amax(dim=(1, 2)).gt(0).sum() == 1  # one limb has both its ends
    drawn = lines.sum(0)
    assert drawn[10, 5] > 0.8
    assert drawn[30, 15] > 0.8
    assert drawn[20, 10] > 0.8
    assert drawn[35, 3] < 0.01
    assert territories.sum(0) == pytest.approx(1, abs=1e-5)


def test_crown_feet_and_trunk_have_their_own_territories() -> None:
    places = {0: (0.5, 0.15), 5: (0.6, 0.3), 6: (0.4, 0.3), 11: (0.6, 0.6), 12: (0.4, 0.6)}
    places |= {13: (0.6, 0.75), 14: (0.4, 0.75), 15: (0.6, 0.9), 16: (0.4, 0.9)}
    points = torch.zeros(1, 17, 3)
    for index, place in places.items():
        points[0, index] = torch.tensor([*place, 2.0])
    maps = conditions.limb_maps(points, 40, 80)[0, conditions.LIMBS :]
    crown, left, right, trunk = range(conditions.LIMBS - 4, conditions.LIMBS)
    at = {(4, 20): crown, (74, 24): left, (74, 16): right, (36, 20): trunk}
    assert {place: int(maps[:, place[0], place[1]].argmax()) for place in at} == at
    points[0, 0] = 0  # no keypoint of the head is known
    assert float(conditions.limb_maps(points, 40, 80)[0, conditions.LIMBS + crown].max()) == 0


def test_pixels_choose_among_the_colours_of_a_style(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without shade, every pixel lies between the palette's colours; each territory prefers its own one."""
    monkeypatch.setattr(networks, "SHADE", 0.0)
    a = training.architecture(FitSettings(**SETTINGS), BODY)
    torch.manual_seed(0)
    network = Generator(a)
    maps = torch.zeros(1, a.lines + a.territories, a.height // a.stem, a.width // a.stem)
    maps[:, a.lines + 3] = 1.0
    w = network.style(torch.randn(1, a.latent_channels))
    with torch.no_grad():
        colours = network.palette(w).view(-1, 3)
        network.choose.weight.zero_()
        network.leave.weight.zero_()
        filled = network(torch.zeros(1, 3, a.height, a.width), torch.ones(1, 1, a.height, a.width), maps, w)
        share = math.exp(networks.NEARNESS) / (math.exp(networks.NEARNESS) + len(colours) - 1)
        expected = share * colours[3] + (1 - share) * (colours.sum(0) - colours[3]) / (len(colours) - 1)
    assert len(colours) == a.territories + a.palette
    assert filled[0, :, 5, 5].tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_the_blocks_of_the_first_layer_leave_no_pattern() -> None:
    """Far from the borders of even surroundings every pixel is alike, whichever of a block's it is."""
    a = training.architecture(FitSettings(**{**SETTINGS, "body_size": [96, 96]}), BODY)
    torch.manual_seed(0)
    network = Generator(a)
    maps = torch.zeros(1, a.lines + a.territories, 48, 48)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_()  # as after a training
        even = torch.full((1, 3, 96, 96), 0.3)
        filled = network(even, torch.zeros(1, 1, 96, 96), maps, network.style(torch.ones(1, a.latent_channels)))
        even[:, :, 48, 49] = -1.0
        other = network(even, torch.zeros(1, 1, 96, 96), maps, network.style(torch.ones(1, a.latent_channels)))
    middle = filled[..., 44:52, 44:52]
    assert float((middle - middle[..., :1, :1]).abs().max()) < 1e-4
    moved = (other - filled).abs().sum(1)[0]
    assert float((moved[48, 49] - moved[49, 48]).abs()) > 1e-4  # two pixels of one block, told apart


def test_everyone_alike_without_variation(tmp_path: Path) -> None:
    """Truncation 0 towards the mean leaves one style; modes leave one per cluster; 1 leaves all."""
    people = [region((5, 5, 25, 45), person_id=n) for n in range(12)]
    flat = np.full((50, 30, 3), 90, np.uint8)

    def looks(**parameters: Any) -> int:
        method = loaded(tmp_path, **parameters)
        return len({engine.anonymize_image(flat, [one], method).tobytes() for one in people})

    assert looks(truncation=0, modes=False) == 1
    assert 1 < looks(truncation=0, modes=True) <= 3
    assert looks(truncation=1, modes=False) == 12


def test_one_identity_keeps_its_style(tmp_path: Path) -> None:
    flat = np.full((50, 30, 3), 90, np.uint8)
    people = [replace(region((5, 5, 25, 45), person_id=n), identity=name) for n, name in enumerate("aab")]

    def looks(**parameters: Any) -> list[bytes]:
        method = loaded(tmp_path, truncation=1, **parameters)
        return [engine.anonymize_image(flat, [one], method, image_id=n).tobytes() for n, one in enumerate(people)]

    first, second, third = looks(consistent="identity")
    assert first == second != third
    assert len(set(looks())) == 3


def test_surroundings_are_the_colours_beside_the_mask() -> None:
    pixels = torch.full((2, 3, 30, 30), -1.0)
    pixels[:, :, 20:] = 0.5  # what lies below
    mask = torch.zeros(2, 1, 30, 30)
    mask[0, :, 5:20, 11:19] = 1
    mask[1] = 1  # no surroundings at all
    found = conditions.surroundings(pixels, mask)
    cells = found.view(2, 3, 3, 3)
    assert cells[0, :, 2, 1] == pytest.approx(0.5)
    assert cells[0, :, 0, 1] == pytest.approx(-1)
    assert cells[0, :, 0, 0] == pytest.approx(-1)
    assert cells[0, :, 2, 0] == pytest.approx(0.5)
    assert (cells[1] == 0).all()
    inverted = pixels * (1 - 2 * mask)
    assert (conditions.surroundings(inverted, mask) == found).all()


def test_styles_are_drawn_where_people_are() -> None:
    """Two kinds of people, three quarters of one, whose first number goes with what is beside them."""
    network = Generator(training.architecture(FitSettings(**SETTINGS), BODY))
    rng = torch.Generator().manual_seed(0)
    beside = torch.randn(400, conditions.SURROUNDINGS, generator=rng)
    latents = 0.1 * torch.randn(400, 5, generator=rng)
    latents[:300, 1] += 4
    latents[:, 0] += 2 * beside[:, 0]
    styles = style.describe(latents, torch.full((400, 5), 1e-4), beside, network, 2, 0)
    assert sorted(styles.shares.tolist()) == pytest.approx([0.25, 0.75])
    assert styles.centres[:, 1].sort().values == pytest.approx(torch.tensor([0.0, 4.0]), abs=0.3)
    assert float(styles.slopes[0, 0]) == pytest.approx(2, rel=0.15)  # ridge: somewhat less
    assert float(styles.slopes.abs().flatten()[1:].max()) < 0.3
    drawn = []
    network.style = lambda z: z  # type: ignore[method-assign]
    for n in range(200):
        around = torch.full((1, conditions.SURROUNDINGS), 0.0)
        around[0, 0] = 1.0
        drawn.append(styles.draw(np.random.default_rng(n), 1.0, True, network, around)[0])
    z = torch.stack(drawn)
    assert float(((z[:, 1] - 2).abs() > 0.5).float().mean()) > 0.95  # hardly anybody in between
    assert float((z[:, 1] > 2).float().mean()) == pytest.approx(0.75, abs=0.1)
    assert float(z[:, 0].mean()) == pytest.approx(2, abs=0.4)
    anywhere = styles.draw(np.random.default_rng(0), 1.0, True, network, None)
    assert float(anywhere[0, 0]) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize(
    "one",
    [
        region((0, 0, 120, 140), mask=np.ones((140, 120), bool)),
        region((40, 40, 41, 41)),
        region((0, 0, 1, 1)),
        region((119, 0, 120, 140), mask=np.ones((140, 1), bool)),
        region((0, 70, 120, 71), mask=np.ones((1, 120), bool)),
        Region(1, BODY, "mask", (10, 10, 20, 20), np.zeros((10, 10), bool), (10, 10, 10, 10)),
        replace(region((0, 0, 120, 140), FACE), subject=(-400, -300, 900, 900)),
        replace(region((26, 83, 28, 86), FACE), subject=(26.01, 83.93, 1.22, 1.38)),
    ],
    ids=[
        "no context",
        "one pixel",
        "corner",
        "right border",
        "one row",
        "empty mask",
        "larger than the image",
        "larger than its published crop",
    ],
)
@pytest.mark.parametrize("colours", ["none", "naive", "latent"])
@pytest.mark.parametrize("reference", ["context", "person"])
def test_odd_regions(tmp_path: Path, one: Region, colours: str, reference: str) -> None:
    method = loaded(tmp_path, one.kind, histogram=colours, reference=reference, steps=2)
    work = Work(1, photograph(120, 140), [one])
    ((row,),) = engine.anonymize([work], method, 0)
    assert row.status == ANONYMIZED


def test_not_a_number_becomes_the_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = loaded(tmp_path, fallback="pixelate")
    broken = method._network.forward

    def sometimes(visible: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        filled = broken(visible, *rest)
        return filled * float("nan") if visible.amax() > 0 else filled

    monkeypatch.setattr(method._network, "forward", sometimes)
    dark, light = (np.full((100, 60, 3), grey, np.uint8) for grey in (40, 220))
    works = [Work(n, pixels, [region((20, 20, 40, 80))]) for n, pixels in enumerate((dark, light))]
    (first,), (second,) = engine.anonymize(works, method, 0)
    assert (first.status, first.fallback) == (ANONYMIZED, None)
    assert (second.status, second.fallback) == (Reason.METHOD_FAILED, "pixelate")


def test_out_of_memory_halves_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    method = loaded(tmp_path, batch=8)
    expected = [work.pixels for work in crowd(method)]
    fill, sizes = method._fill, []

    def limited(crops: Any) -> Any:
        sizes.append(len(crops))
        if len(crops) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return fill(crops)

    method = loaded(tmp_path, batch=8)
    method.batch = 8  # type: ignore[misc]
    monkeypatch.setattr(method, "_full_batches", True)
    monkeypatch.setattr(method, "_fill", limited)
    found = [work.pixels for work in crowd(method)]
    assert sizes[:3] == [8, 4, 2]
    assert set(sizes[3:]) == {2}
    assert "going on with a batch of 2" in capsys.readouterr().err
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1  # padded batches, as on a GPU, may round differently


def crowd(method: Gan) -> list[Work]:
    """Return three images of four people, changed."""
    people = [region((4 + 28 * n, 10, 24 + 28 * n, 90), person_id=n) for n in range(4)]
    works = [Work(n, photograph(120, 100, n), people) for n in range(3)]
    engine.anonymize(works, method, 0)
    return works


def test_a_generator_without_weights_is_refused(tmp_path: Path) -> None:
    method = make(Variant.parse("body-gan"))
    with pytest.raises(AnonbenchError, match="has no weights"):
        method.change_batch([])
    with pytest.raises(AnonbenchError, match="no such file; run anonbench fit"):
        method.load(tmp_path / "absent", BODY, "cpu")


def test_weights_of_the_other_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AnonbenchError, match="generator of face regions, not of body ones"):
        Gan().load(write_weights(tmp_path / "w", FACE), BODY, "cpu")


class Trap:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(AnonbenchError, match="cannot be read as safetensors that can be read"):
        Gan().load(path, BODY, "cpu")
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(AnonbenchError, match="cannot be read as safetensors that can be read"):
        Gan().load(path, BODY, "cpu")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights_are_refused(tmp_path: Path, share: float) -> None:
    path = write_weights(tmp_path / "w.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(AnonbenchError, match="cannot be read as safetensors that can be read"):
        Gan().load(path, BODY, "cpu")


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = write_weights(tmp_path / "w.safetensors")
    a, *_, origin = weights.load(path)
    assert origin["dataset"] == "none"
    tensors = load_file(path)
    told = {weights.FORMAT: weights.told_of(a, origin)}
    for change, message in (
        ({"generator.leave.bias": torch.zeros(99)}, "another architecture than it says: 1 tensors differ"),
        ({"generator.new": torch.zeros(1)}, "first 'generator.new'"),
        ({"styles.mean": torch.full((7,), torch.nan)}, "not finite, first in 'styles.mean'"),
    ):
        save_file({**tensors, **change}, path, told)
        with pytest.raises(AnonbenchError, match=message):
            Gan().load(path, BODY, "cpu")
    save_file(tensors, path)
    with pytest.raises(AnonbenchError, match="does not hold a generator of this version"):
        Gan().load(path, BODY, "cpu")
    save_file(tensors, path, {weights.FORMAT: weights.told_of(replace(a, channels=(4, 6, 8)), origin)})
    with pytest.raises(AnonbenchError, match="another architecture"):
        Gan().load(path, BODY, "cpu")


@pytest.mark.parametrize("name", ["gan", "identity", "nonsense"])
def test_a_fallback_that_is_none(name: str) -> None:
    with pytest.raises(AnonbenchError, match="fallback"):
        Gan({"fallback": name})


def test_matched_values_have_the_reference_s_histogram() -> None:
    rng = np.random.default_rng(0)
    values, reference = rng.integers(0, 100, 5000, np.uint8), rng.normal(170, 20, 9000).clip(0, 255).astype(np.uint8)
    matched = histogram.match(values, reference)
    shares = (5, 25, 50, 75, 95)
    assert np.percentile(matched, shares) == pytest.approx(np.percentile(reference, shares), abs=2)
    assert (np.argsort(values[:50], kind="stable") == np.argsort(matched[:50], kind="stable")).all()


def test_wasserstein_distance_is_the_shift() -> None:
    values = torch.linspace(0.2, 0.4, 400)[None]
    moved = histogram.distance(histogram.soft_cdf(values), histogram.soft_cdf(values + 0.3))
    assert float(moved) == pytest.approx(0.3, rel=0.02)


def test_the_style_is_moved_towards_the_reference() -> None:
    def fill(w: torch.Tensor) -> torch.Tensor:
        return w[:, :3, None, None].expand(1, 3, 6, 5)

    start, chosen = torch.tensor([[-0.8, -0.8, -0.8, 5.0]]), torch.ones(6, 5, dtype=torch.bool)
    reference = np.full((50, 3), 204, np.uint8)
    given = {"steps": 100, "step_size": 0.05, "stop": 0.02}
    moved = histogram.latent(start, fill, chosen, reference, **given)
    assert float(moved[0, :3].amax()) == pytest.approx(0.6, abs=0.08)
    assert moved[0, 3] == 5
    assert (histogram.latent(moved, fill, chosen, reference, **given) == moved).all()  # below `stop` already
    assert (histogram.latent(start, fill, chosen, reference[:0], **given) == start).all()


@pytest.mark.parametrize("colours", ["naive", "latent"])
def test_colours_of_the_context_hide_the_person(tmp_path: Path, colours: str) -> None:
    """With the surroundings as reference nothing of the person is told; the published reference tells."""
    one, pixels = region((40, 30, 80, 120)), photograph(120, 140)
    dressed = pixels.copy()
    dressed[30:120, 40:80][one.mask] = (250, 10, 10)

    def person(picture: np.ndarray, **parameters: Any) -> np.ndarray:
        method = loaded(tmp_path, steps=3, step_size=0.1, **parameters)
        return engine.anonymize_image(picture, [one], method, seed=3)[30:120, 40:80][one.mask]

    for reference, same in (("context", True), ("person", False)):
        first, second = (person(p, histogram=colours, reference=reference) for p in (pixels, dressed))
        assert (first == second).all() == same
    assert (first != person(pixels)).any()


def test_nobody_is_background(tmp_path: Path) -> None:
    people = [region((40, 30, 80, 120)), region((20, 50, 60, 90), person_id=2), region((0, 0, 5, 5), person_id=3)]
    seen = []

    class Watch(Gan):
        def change_batch(self, crops: Any) -> Any:
            seen.extend(crops)
            return [crop.pixels for crop in crops]

    engine.anonymize_image(photograph(120, 140), people, Watch())
    for crop in seen:
        everyone = np.zeros((140, 120), bool)
        for one in people:
            x0, y0, x1, y1 = one.box
            everyone[y0:y1, x0:x1] |= one.mask
        x0, y0, x1, y1 = crop.window.box
        assert (crop.background == ~everyone[y0:y1, x0:x1]).all()


def test_threads_and_company_change_no_pixel(tmp_path: Path, dataset: Any) -> None:
    path = write_weights(tmp_path / "w.safetensors")
    given = {"weights": path, "device": "cpu"}
    first = dataset.run("body-gan", tmp_path / "a", **given)
    second = dataset.run("body-gan", tmp_path / "b", shards=3, threads=4, **given)
    names = sorted(p.relative_to(first) for p in (first / "train").rglob("*.*"))
    assert len(names) == 8
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    header = shard_path(first, "train", 0).read_text().splitlines()[0]
    assert '"fitted_on":{"dataset":"none","split":"train","region":"body"}' in header
    assert '"fallback":"mask_out"' in header
    assert '"weights_sha256":"' in header


def test_weights_are_given_where_they_are_needed(tmp_path: Path, dataset: Any) -> None:
    with pytest.raises(AnonbenchError, match="needs its weights"):
        dataset.run("body-gan")
    with pytest.raises(AnonbenchError, match="is not fitted"):
        dataset.run("body-mask_out", weights=tmp_path / "w")
