"""What augmentation may change, and what it must not."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from xtalgrid_nets.fit.augment import FLIPS, degraded, distorted, exposed, rotated, turned  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def corner(n: int) -> torch.Tensor:
    """Pictures whose quarter at the upper left is bright, redder above than left: each position of the square differs."""
    images = torch.zeros(n, 3, 32, 32)
    images[:, :, :16, :16] = 200
    images[:, :, :4, :12] = 250
    return images


def test_positions_of_a_square() -> None:
    images = corner(400)
    for positions, expected in ((tuple(range(8)), 8), (FLIPS, 4)):
        made, _ = turned(images, None, random(), positions)
        assert len({picture.numpy().tobytes() for picture in made}) == expected
    mirrored = {images[0].flip(dims).numpy().tobytes() for dims in ((), (1,), (2,), (1, 2))}
    made, _ = turned(images, None, random(), FLIPS)
    assert {picture.numpy().tobytes() for picture in made} == mirrored


def test_a_mask_of_any_size_is_turned_alike() -> None:
    images = corner(64)
    made, masks = turned(images, images[:, :1, 2::4, 2::4].clone(), random())
    assert masks is not None
    assert torch.equal(masks > 0, made[:, :1, 2::4, 2::4] > 0)


def test_any_angle_keeps_the_middle_and_fills_the_corners() -> None:
    row, col = np.ogrid[:65, :65]
    inside = torch.from_numpy((row - 32) ** 2 + (col - 32) ** 2 < 12**2)  # too small for its reflection to come in
    images = (60 + 140 * inside.float()).expand(16, 3, 65, 65)
    made = rotated(images, random())
    clear_of_the_edge = torch.from_numpy(np.abs((row - 32) ** 2 + (col - 32) ** 2 - 12**2) > 60)
    assert (made - images).abs()[..., clear_of_the_edge].max() < 1  # a round thing looks the same at any angle
    assert made.min() >= 59.9  # nothing black comes into view
    angles = rotated(corner(16), random())
    assert len({picture.numpy().tobytes() for picture in angles}) == 16


def test_zoom_and_shift_stay_within_their_limits() -> None:
    row, col = np.ogrid[:129, :129]
    disc = torch.from_numpy(((row - 64) ** 2 + (col - 64) ** 2 < 30**2).astype(np.float32)) * 255
    made = rotated(disc.expand(200, 1, 129, 129), random(), degrees=60, shift=0.0625, zoom=0.2)[:, 0] > 127
    radius = (made.sum(dim=(1, 2)).float() / torch.pi).sqrt() / 30
    assert 1 / 1.21 < radius.min() < 0.87
    assert 1.2 < radius.max() < 1 / 0.79
    rows = (made.sum(dim=2) * torch.arange(129)).sum(dim=1) / made.sum(dim=(1, 2)) - 64
    assert 6 < rows.abs().max() < 129 * 0.0625 * 2**0.5 / 0.8 + 1


def test_marcos_distortions_have_their_limits() -> None:
    grey = torch.full((500, 3, 8, 8), 128.0)
    made = distorted(grey, random())
    assert (made[:, 0] - made[:, 2]).abs().max() < 0.2  # grey has no hue
    assert 30 < (made - grey).abs().max() < 32.1  # brightness alone
    red = torch.tensor([180.0, 90.0, 90.0]).view(1, 3, 1, 1).expand(500, 3, 8, 8)
    hues = distorted(red, random()).mean(dim=(2, 3)).argmax(dim=1)
    assert set(hues.tolist()) == {0, 1, 2}  # ±72° take red to yellow and to magenta
    assert (hues == 0).float().mean() > 0.5
    stripes = torch.cat([torch.full((500, 3, 4, 8), 118.0), torch.full((500, 3, 4, 8), 138.0)], dim=2)
    contrast = distorted(stripes, random()).mean(dim=1)
    ratio = (contrast[:, -1] - contrast[:, 0]).mean(dim=1) / 20
    assert 0.5 <= ratio.min() < 0.55
    assert 1.45 < ratio.max() <= 1.5


def test_exposure_and_resolution_leave_the_scene_where_it_is() -> None:
    images = corner(40).to(torch.uint8)
    made = degraded(exposed(images, random()).float(), random(), strongest=2.5)
    assert made.shape == images.shape
    assert made.min() >= 0
    assert made.max() <= 255
    inside, outside = made[:, :, 5:12, 5:12].mean(dim=(1, 2, 3)), made[:, :, 20:, 20:].mean(dim=(1, 2, 3))
    assert (inside > outside + 30).all()
    assert made.std(dim=0).mean() > 3


@pytest.mark.parametrize("change", [exposed, lambda x, r: rotated(x.float(), r), lambda x, r: distorted(x.float(), r)])
def test_the_same_random_numbers_give_the_same_pictures(change) -> None:  # type: ignore[no-untyped-def]
    images = corner(4).to(torch.uint8)
    assert torch.equal(change(images, random(7)), change(images, random(7)))
    assert not torch.equal(change(images, random(7)), change(images, random(8)))
