"""Losses, networks and optics of learned anonymizers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional

from anonbench.anonymize import engine
from anonbench.anonymize.contract import Changed, make
from anonbench.anonymize.learned import losses, networks, optics, weights
from anonbench.anonymize.learned.loop import clips_of, frames_of
from anonbench.anonymize.learned.networks import Anonymizer, Architecture, cut
from anonbench.anonymize.learned.optics import Lens
from anonbench.anonymize.learned.options import LEVELS, FitSettings
from anonbench.anonymize.methods.learned import Learned
from anonbench.crops import Work
from anonbench.errors import AnonbenchError
from anonbench.learning.files import save_tensors
from anonbench.records import Region, RegionKind
from anonbench.variants import Variant

from .conftest import photograph
from .learned_tiny import network, ready, write_weights

FRAME = RegionKind.FRAME


# losses


def test_rms_and_penalty_of_a_hand_computed_case() -> None:
    """One picture differs by 0.3 everywhere, one by 0.6 in a quarter of its numbers: both have an RMS of 0.3."""
    x = torch.zeros(2, 1, 2, 2)
    y = torch.stack([torch.full((1, 2, 2), 0.3), torch.tensor([[[0.6, 0.0], [0.0, 0.0]]])])
    assert losses.rms(x, y).tolist() == pytest.approx([0.3, 0.3])
    assert float(losses.penalty(x, y, 0.1)) == pytest.approx(0.2)
    assert float(losses.penalty(x, y, 0.3 + 1e-6)) == 0
    assert float(losses.penalty(x, torch.stack([y[0], y[0] / 3]), 0.2)) == pytest.approx(0.05)  # of the first alone


def test_the_gradient_of_the_penalty_is_not_zero_and_points_back() -> None:
    """The published penalty has none. A step against ours brings the picture nearer to the original."""
    x = torch.rand(3, 3, 4, 4)
    y = (x + 0.4 * torch.randn(x.shape)).requires_grad_(True)
    losses.penalty(x, y, 0.1).backward()
    assert y.grad is not None
    assert float(y.grad.abs().min()) > 0
    nearer = losses.rms(x, y.detach() - 0.5 * y.grad)
    assert (nearer < losses.rms(x, y.detach())).all()
    # d RMS / d y = (y - x) / (n RMS), by the mean over pictures
    expected = (y.detach() - x) / (48 * losses.rms(x, y.detach())[:, None, None, None]) / 3
    assert torch.allclose(y.grad, expected, atol=1e-6)


def test_within_the_budget_the_penalty_is_silent_and_at_the_identity_it_is_finite() -> None:
    x = torch.rand(2, 3, 4, 4)
    y = (x + 0.01).requires_grad_(True)
    losses.penalty(x, y, 0.1).backward()
    assert y.grad is not None
    assert (y.grad == 0).all()
    same = x.clone().requires_grad_(True)
    (losses.rms(x, same).mean() + losses.penalty(x, same, 0.0)).backward()
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()


def test_nt_xent_of_a_hand_computed_case() -> None:
    """Two stills with orthogonal views: each view has a cosine of 1 with its other one and 0 with two more."""
    one, other = torch.eye(2) * 3, torch.eye(2) * 0.5  # lengths do not count
    expected = -math.log(math.exp(10) / (math.exp(10) + 2))
    assert float(losses.nt_xent(one, other)) == pytest.approx(expected, rel=1e-3)
    # swapped partners: -1 x log(1 / (1 + 1 + e^10))
    swapped = math.log(2 + math.exp(10))
    assert float(losses.nt_xent(one, other.flip(0))) == pytest.approx(swapped, rel=1e-3)
    assert float(losses.nt_xent(one, other, temperature=1.0)) == pytest.approx(
        math.log((math.e + 2) / math.e), rel=1e-4
    )


def test_triplet_of_a_hand_computed_case() -> None:
    a, p, n = torch.tensor([[0.0, 0.0]] * 2), torch.tensor([[3.0, 4.0]] * 2), torch.tensor([[0.0, 5.5], [0.0, 9.0]])
    assert float(losses.triplet(a, p, n)) == pytest.approx((5 - 5.5 + 1 + 0) / 2, abs=1e-4)


def test_guessing_counts_who_is_known_and_each_attribute_once() -> None:
    even = torch.zeros(3, 2)
    sure = torch.tensor([[math.log(3.0), 0.0, 0.0]] * 3)  # 3/5, 1/5, 1/5
    labels = torch.tensor([[0, 0], [1, losses.UNKNOWN], [0, 1]])
    expected = (math.log(2) + (math.log(5 / 3) + math.log(5)) / 2) / 2
    assert float(losses.guessing([even, sure], labels)) == pytest.approx(expected)
    nobody = torch.full((3, 2), losses.UNKNOWN)
    logits = [even.clone().requires_grad_(True), sure]
    nothing = losses.guessing(logits, nobody)
    nothing.backward()
    assert float(nothing.detach()) == 0


def test_certainty_is_minus_one_of_who_knows_nothing_and_zero_of_who_is_sure() -> None:
    even, sure = torch.zeros(4, 3), torch.tensor([[99.0, 0.0]] * 4)
    assert float(losses.certainty([even])) == pytest.approx(-1)
    assert float(losses.certainty([sure])) == pytest.approx(0)
    assert float(losses.certainty([even, sure])) == pytest.approx(-0.5)
    assert float(losses.strongest([torch.tensor(-2.0), torch.tensor(-0.5)])) == -0.5


# frames


def test_frames_are_rgb_images_and_time_and_colour_are_not_mixed() -> None:
    """Each frame of each version keeps its own three colours; the released TeD-SPAD code reshapes them away."""
    clips = torch.arange(2 * 3 * 3 * 4 * 2 * 2).reshape(2, 3, 3, 4, 2, 2)  # N, V, colours, frames, H, W
    frames = frames_of(clips)
    assert frames.shape == (24, 3, 2, 2)
    for n in range(2):
        for v in range(3):
            for t in range(4):
                assert (frames[(n * 3 + v) * 4 + t] == clips[n, v, :, t]).all()
    assert (clips_of(frames, clips.shape) == clips).all()
    published = clips[:, 0].reshape(-1, 3, 2, 2)  # no axis is moved: one colour of three frames
    assert published.shape == frames_of(clips[:, :1]).shape
    assert (published != frames_of(clips[:, :1])).any()


def test_a_frame_does_not_depend_on_the_others() -> None:
    made, pictures = network(), torch.rand(5, 3, 16, 16)
    alone = torch.cat([made(picture[None]) for picture in pictures])
    assert torch.allclose(made(pictures), alone, atol=1e-6)


def test_channels_stay_where_they_are() -> None:
    """A network that begins as the identity shows red where red was."""
    made = network(skip=True)
    red = torch.zeros(1, 3, 16, 16)
    red[:, 0] = 0.8
    shown = made(red)[0].mean((1, 2))
    assert shown.tolist() == pytest.approx([0.8, networks.CLIPPED, networks.CLIPPED], abs=1e-5)


# networks


def test_the_published_u_net_has_spacts_layers() -> None:
    """Channels of the second convolution of each block, as SPAct's unet_model.py has them; 3 + 3 channels."""
    made = networks.UNet((64, 128, 256, 512, 512))
    ups: Any = made.up
    assert [(up[0].in_channels, up[0].out_channels, up[3].out_channels) for up in ups] == [
        (1024, 512, 256), (512, 256, 128), (256, 128, 64), (128, 64, 64),
    ]  # fmt: skip
    biases = 64 * 2 + 128 * 2 + 256 * 2 + 512 * 2 + 512 * 2 + (512 + 256) + (256 + 128) + (128 + 64) + (64 + 64)
    assert sum(p.numel() for p in made.parameters()) + biases == 17_267_523


def test_u_net_plus_plus_has_the_weights_that_the_package_counts() -> None:
    """13.9 million, with the encoder's last stage (8.4 million), which a depth of 4 does not run."""
    from torchvision.models import resnet18

    unused = sum(p.numel() for p in resnet18(weights=None).layer4.parameters())
    count = sum(p.numel() for p in networks.UNetPlusPlus().parameters())
    assert round((count + unused) / 1e6, 1) == 13.9


@pytest.mark.parametrize("name", ["unet", "unetplusplus", "optics"])
def test_folded_networks_show_the_same(name: str) -> None:
    made, picture = network(network=name, width=32, height=32), torch.rand(2, 3, 32, 32)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[operator,union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[operator,union-attr]
    expected = made(picture)
    assert torch.allclose(networks.folded(made)(picture), expected, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in made.modules())


@pytest.mark.parametrize("name", ["unet", "unetplusplus", "optics"])
@pytest.mark.parametrize("colour", networks.COLOURS)
@pytest.mark.parametrize("shrink", [1, 2])
def test_every_network_keeps_the_shape_and_the_range(name: str, colour: str, shrink: int) -> None:
    made = network(network=name, colour=colour, shrink=shrink, width=32, height=64)
    shown = made(torch.rand(2, 3, 64, 32))
    assert shown.shape == (2, 3, 64, 32)
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1 + 1e-6
    if colour != "rgb":
        assert (shown[:, 0] == shown[:, 1]).all()
        assert (shown[:, 0] == shown[:, 2]).all()


@pytest.mark.parametrize("size", [(96, 96), (64, 48), (224, 224), (30, 10)])
def test_contrast_is_that_of_the_method(size: tuple[int, int]) -> None:
    pixels = photograph(*size)
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    shown = networks.contrast(torch.from_numpy(luma)[None, None].float() / 255)[0, 0].numpy()
    after = make(Variant.parse("frame-contrast")).change(SimpleNamespace(pixels=pixels))
    assert np.abs(255 * shown - after[..., 0]).max() < 0.55  # half a level, and rounding


def test_contrast_shows_neither_how_bright_something_is_nor_how_much_it_differs() -> None:
    torch.manual_seed(0)
    luma = 0.1 + 0.3 * torch.rand(1, 1, 130, 140)  # squares of 9 pixels, none of which is flat
    seen = networks.contrast(luma)
    assert torch.allclose(networks.contrast(luma + 0.3), seen, atol=1e-4)
    assert torch.allclose(networks.contrast(2 * luma), seen, atol=1e-4)
    made = network(skip=True, colour="contrast", width=32, height=64)
    picture = torch.rand(1, 3, 64, 32)
    told = networks.contrast((picture * torch.tensor(networks.LUMA)[:, None, None]).sum(1, keepdim=True))
    assert torch.allclose(made(picture)[:, :1], told.clamp(networks.CLIPPED, 1 - networks.CLIPPED), atol=1e-4)


def test_what_is_hardly_uneven_is_not_enlarged() -> None:
    torch.manual_seed(0)
    noise = 0.5 + 0.01 * torch.randn(1, 1, 130, 140)
    assert float(networks.contrast(noise).std()) < 0.05
    assert float(networks.contrast(0.5 + 10 * (noise - 0.5)).std()) > 0.15


def test_the_working_size_follows_the_scale_of_the_fit() -> None:
    a = network().architecture
    assert a.shape_for(16, 16) == (16, 16)
    assert a.shape_for(40, 20) == (32, 16)
    assert a.shape_for(30, 120) == (16, 64)
    assert a.shape_for(161, 160) == (16, 16)
    assert a.shape_for(2, 2) == (16, 16)


@pytest.mark.parametrize(("width", "height"), [(1, 5000), (3, 300), (5000, 2), (200, 1)])
def test_the_working_size_of_a_strip_is_bounded(width: int, height: int) -> None:
    a = replace(network().architecture, width=224, height=224)
    found = a.shape_for(width, height)
    assert found[0] * found[1] <= 1.5 * max(4 * width * height, 16 * 224 * 224)
    assert all(side % a.multiple == 0 for side in found)


def test_a_strip_that_rounding_makes_far_larger_is_refused() -> None:
    a = replace(network().architecture, shrink=16)
    with pytest.raises(AnonbenchError, match=r"a frame of 1x9000000 pixels would be worked on as \d+x\d+"):
        a.shape_for(1, 9_000_000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"network": "linear"}, {"widths": []}, {"widths": [4, 0]}, {"widths": ["4"]}, {"colour": "blue"},
        {"shrink": 0}, {"width": 0}, {"height": -1}, {"height": 64.5}, {"taps": 0}, {"zernike": 0}, {"noise": -0.1},
        {"noise": math.nan}, {"noise": math.inf}, {"noise": 10**400}, {"noise": "much"}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_architectures_that_a_file_may_not_ask_for(tmp_path: Path, wrong: dict[str, Any]) -> None:
    weights.save(tmp_path / "w", network(), {})
    with safe_open(tmp_path / "w", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        told = json.loads(file.metadata()[weights.FORMAT])
    told["architecture"] |= wrong
    save_tensors(tensors, tmp_path / "wrong", {weights.FORMAT: json.dumps(told)})
    with pytest.raises(AnonbenchError, match=r"wrong: does not hold an anonymizer of this version"):
        weights.load(tmp_path / "wrong")


def test_noise_is_drawn_in_a_training_alone() -> None:
    made, picture = network(noise=0.2), torch.full((1, 3, 64, 64), 0.5)
    assert (made(picture) == made(picture)).all()
    apart = made.noisy(picture) - made(picture)
    assert 0.1 < float(apart.std()) < 0.25
    quiet = network()
    assert (quiet.noisy(picture) == quiet(picture)).all()


def test_crops_are_the_means_and_the_parts_that_they_should_be() -> None:
    pictures = torch.rand(2, 3, 12, 8)
    whole = torch.tensor([[0.0, 0.0, 8.0, 12.0]] * 2)
    assert torch.allclose(cut(pictures, whole, (8, 12)), pictures, atol=1e-6)
    part = cut(pictures, torch.tensor([[2.0, 3.0, 6.0, 9.0]] * 2), (4, 6))
    assert torch.allclose(part, pictures[:, :, 3:9, 2:6], atol=1e-6)
    mirrored = cut(pictures, whole, (8, 12), torch.tensor([True, False]))
    assert torch.allclose(mirrored[0], pictures[0].flip(2), atol=1e-6)
    assert torch.allclose(mirrored[1], pictures[1], atol=1e-6)
    even = torch.full((1, 3, 9, 9), 0.3)
    assert torch.allclose(cut(even, torch.tensor([[1.2, 0.4, 8.1, 8.9]]), (5, 3)), torch.full((1, 3, 3, 5), 0.3))


# optics


@pytest.mark.parametrize(("number", "found"), [(1, (0, 0)), (2, (1, 1)), (3, (1, -1)), (4, (2, 0)), (5, (2, -2)),
                                               (6, (2, 2)), (7, (3, -1)), (8, (3, 1)), (9, (3, -3)), (10, (3, 3)),
                                               (11, (4, 0)), (12, (4, 2)), (13, (4, -2)), (22, (6, 0))])  # fmt: skip
def test_nolls_numbers(number: int, found: tuple[int, int]) -> None:
    """As in the table of Noll (1976)."""
    assert optics.noll(number) == found


def test_zernike_polynomials_are_orthonormal_on_the_disk() -> None:
    places = (np.arange(400) + 0.5) / 200 - 1
    x, y = np.meshgrid(places, places)
    inside = np.hypot(x, y) <= 1
    values = np.stack([optics.zernike(k, x, y)[inside] for k in range(1, 16)])
    assert values @ values.T / inside.sum() == pytest.approx(np.eye(15), abs=0.02)
    r = np.hypot(x, y)
    assert optics.zernike(4, x, y) == pytest.approx(math.sqrt(3) * (2 * r**2 - 1))  # defocus


def test_the_spread_sums_to_one_and_is_never_negative() -> None:
    torch.manual_seed(0)
    for strength in (0.0, 0.1, 1.0):
        lens = Lens(12, 9)
        with torch.no_grad():
            lens.coefficients.copy_(strength * torch.randn(12))
        spread = lens.spread()
        assert spread.shape == (3, 9, 9)
        assert spread.sum((1, 2)).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
        assert float(spread.detach().min()) >= 0


def test_a_clear_lens_is_the_identity_within_sampling_and_defocus_is_not() -> None:
    lens, picture = Lens(6, 11), torch.from_numpy(photograph(48, 40)).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        lens.coefficients.zero_()
        assert (lens.spread()[:, 5, 5] > 0.9).all()
        assert float(losses.rms(lens(picture), picture)) < 0.01
        even = torch.full((1, 3, 20, 20), 0.4)
        assert torch.allclose(lens(even), even, atol=1e-5)  # up to the border
        lens.coefficients[0] = 0.5
        assert float(losses.rms(lens(picture), picture)) > 0.02


def test_the_spread_is_the_transform_of_the_pupil() -> None:
    """At the pitch of a plain transform of the padded pupil it is |FFT|^2 of it, up to the scale of colours."""
    taps = 5
    lens = Lens(3, taps)
    with torch.no_grad():
        lens.coefficients.copy_(torch.tensor([0.3, -0.2, 0.1]))
        found = lens.spread()[1].numpy()
    samples = 4 * taps
    scale = optics.REFERENCE / optics.WAVELENGTHS[1]
    surface = np.einsum("k,kyx->yx", lens.coefficients.detach().numpy(), lens.basis.numpy())
    pupil = lens.inside.numpy() * np.exp(2j * np.pi * scale * surface)
    # the centres of the samples in units of the aperture, and the pixels in units of the wavelength times the f-number
    xi = ((np.arange(samples) + 0.5) / samples * 2 - 1) / 2
    pixels = (np.arange(taps) - taps // 2) * optics.PITCH * scale
    field = np.array(
        [[(pupil * np.exp(-2j * np.pi * (u * xi[None] + v * xi[:, None]))).sum() for u in pixels] for v in pixels]
    )
    expected = np.abs(field) ** 2
    assert found == pytest.approx(expected / expected.sum(), abs=1e-5)


def test_a_lens_learns() -> None:
    torch.manual_seed(1)
    lens, picture = Lens(8, 9), torch.rand(1, 3, 24, 24)
    before = lens.coefficients.detach().clone()
    (-losses.rms(picture, lens(picture)).mean()).backward()
    assert lens.coefficients.grad is not None
    assert (lens.coefficients.grad != 0).all()
    assert len(before) == 8 == sum(p.numel() for p in lens.parameters())


# the method


def frame(width: int, height: int) -> Region:
    return Region(0, FRAME, "frame", (0, 0, width, height), np.ones((height, width), bool), (0, 0, width, height))


def test_levels_are_fits() -> None:
    assert set(Learned.levels) == set(Learned.fit_levels) == set(LEVELS)
    for level, settings in LEVELS.items():
        chosen = FitSettings.model_validate(settings)
        if level.startswith("b"):
            assert chosen.budget == pytest.approx(int(level[1:]) / 100)
            assert chosen.loss == "penalty"
    assert FitSettings.model_validate(LEVELS["tedspad"]).triplet_weight == 0.1


def test_the_published_schedule() -> None:
    """Adam at 1e-4 (the anonymizer's times 0.4), 224 pixels, 16 frames, stride 2, batch 8 + 8, 100 epochs, fp16."""
    found = FitSettings(preset="published")
    assert (found.learning_rate, found.anonymizer_rate) == (1e-4, 0.4)
    assert (found.width, found.height, found.frames, found.stride) == (224, 224, 16, 2)
    assert (found.clips, found.stills, found.epochs, found.iterations) == (8, 8, 100, None)
    assert found.precision == "fp16"


def test_the_fact_is_the_rms_of_what_is_written() -> None:
    method = ready(make(Variant.parse("frame-learned-b30")))
    pixels = photograph(50, 33)
    someone = Region(7, RegionKind.BODY, "frame", (0, 0, 0, 0), np.zeros((0, 0), bool), (5.0, 5.0, 9.0, 20.0))
    work = Work(1, pixels.copy(), [frame(50, 33)], people=[someone])
    (outcomes,) = engine.anonymize([work], method, 0)
    expected = np.sqrt(((work.pixels.astype(float) - pixels) ** 2).mean()) / 255
    assert outcomes[0].facts["rms"] == pytest.approx(expected, abs=1e-6)
    assert "only attackers tell" in outcomes[0].weak_people[7]
    assert expected > 0.05


def test_noise_belongs_to_the_frame(tmp_path: Path) -> None:
    method = make(Variant.parse("frame-learned-optics"))
    method.load(write_weights(tmp_path / "w", network="optics", noise=0.05), FRAME, "cpu")

    def shown(image_id: int, seed: int) -> np.ndarray:
        return engine.anonymize_image(photograph(40, 30), [frame(40, 30)], method, image_id=image_id, seed=seed)

    assert (shown(1, 0) == shown(1, 0)).all()
    assert (shown(1, 0) != shown(2, 0)).mean() > 0.5
    assert (shown(1, 0) != shown(1, 1)).mean() > 0.5


def test_numbers_that_are_not_finite_are_not_shown(tmp_path: Path) -> None:
    method = ready(make(Variant.parse("frame-learned-spact")))
    assert isinstance(method, Learned)
    with torch.no_grad():
        method._network.network.last.bias.fill_(math.nan)
    with pytest.raises(AnonbenchError, match=r"method learned failed on the frame: .* not finite"):
        engine.anonymize_image(photograph(40, 30), [frame(40, 30)], method)


def test_without_weights_it_says_so() -> None:
    with pytest.raises(AnonbenchError, match="no weights"):
        engine.anonymize_image(photograph(40, 30), [frame(40, 30)], make(Variant.parse("frame-learned-b10")))


# weights


def test_weights_are_what_was_saved(tmp_path: Path) -> None:
    made = network(seed=3)
    weights.save(tmp_path / "a", made, {"dataset": "x"})
    weights.save(tmp_path / "b", made, {"dataset": "x"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded, origin = weights.load(tmp_path / "a")
    assert origin == {"dataset": "x"}
    picture = torch.rand(1, 3, 16, 16)
    assert (loaded(picture) == made(picture)).all()


def test_weights_of_another_architecture_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    made = network()
    fields = {name: getattr(made.architecture, name) for name in Architecture.__slots__}
    other = Anonymizer(Architecture(**{**fields, "widths": (4, 7)}))
    other.architecture = made.architecture  # says one thing and holds another
    weights.save(tmp_path / "w", other, {})
    with pytest.raises(AnonbenchError, match="holds another architecture than it says"):
        weights.load(tmp_path / "w")
    with torch.no_grad():
        made.network.last.bias.fill_(math.inf)  # type: ignore[union-attr,operator]
    weights.save(tmp_path / "w", made, {})
    with pytest.raises(AnonbenchError, match=r"not finite, first in 'network\.last\.bias'"):
        weights.load(tmp_path / "w")
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes()[:-10])
    with pytest.raises(AnonbenchError, match="cannot be read as safetensors"):
        weights.load(tmp_path / "w")
    with pytest.raises(AnonbenchError, match="no such file"):
        weights.load(tmp_path / "missing")


def test_weights_of_another_method_are_refused(tmp_path: Path) -> None:
    from .gan_tiny import write_weights as write_gan

    with pytest.raises(AnonbenchError, match="does not hold an anonymizer"):
        make(Variant.parse("frame-learned-b10")).load(write_gan(tmp_path / "gan"), FRAME, "cpu")


def test_it_returns_pixels_with_a_fact() -> None:
    method = ready(make(Variant.parse("frame-learned-vita")))
    from anonbench.crops import cut as cut_out
    from anonbench.windows import Window

    work = Work(1, photograph(20, 20), [frame(20, 20)])
    changed = method.change(cut_out(work, work.regions[0], Window((0, 0, 20, 20)), "replicate", 0))
    assert isinstance(changed, Changed)
    assert changed.pixels.dtype == np.uint8


def test_the_average_of_a_shrunk_picture_is_kept() -> None:
    made = network(skip=True, shrink=2)
    picture = 0.2 + 0.6 * torch.rand(1, 3, 16, 16)
    assert torch.allclose(functional.avg_pool2d(made(picture), 16), functional.avg_pool2d(picture, 16), atol=0.02)
