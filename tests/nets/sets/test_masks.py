"""Hand-drawn masks, as drawing programs save them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("torch", reason="training needs the extra [train]")

from xtalgrid_nets.cli import sets as commands
from xtalgrid_nets.sets.format import SetError
from xtalgrid_nets.sets.masks import read_mask
from xtalgrid_nets.sets.reading import ChopSet

DROP = np.zeros((60, 80), bool)
DROP[20:50, 30:70] = True


def grey(inside: int, outside: int = 0) -> Image.Image:
    return Image.fromarray(np.where(DROP, inside, outside).astype(np.uint8))


def painted(colour: tuple[int, int, int], ground: tuple[int, int, int, int]) -> Image.Image:
    pixels = np.empty((*DROP.shape, 4), np.uint8)
    pixels[:] = ground
    pixels[DROP] = (*colour, 255)
    return Image.fromarray(pixels)


def palette() -> Image.Image:
    """Index 1 is the ground's colour, index 0 the drop's: indices say nothing, colours do."""
    image = Image.fromarray(np.where(DROP, 0, 1).astype(np.uint8), "P")
    image.putpalette([250, 250, 250, 0, 0, 0])
    return image


SAVED = {
    "grey": grey(255),
    "zero and one": grey(1),
    "half tones": grey(200, 10),
    "bilevel": grey(255).convert("1"),
    "colour": painted((255, 0, 0), (0, 0, 0, 255)).convert("RGB"),
    "palette": palette(),
    "16 bits": Image.fromarray(np.where(DROP, 65535, 0).astype(np.uint16)),
    "white on transparent": painted((255, 255, 255), (255, 255, 255, 0)),
    "white on transparent black": painted((255, 255, 255), (0, 0, 0, 0)),
    "black on transparent": painted((0, 0, 0), (0, 0, 0, 0)),
    "opaque with alpha": painted((255, 255, 255), (0, 0, 0, 255)),
    "grey with alpha": painted((255, 255, 255), (0, 0, 0, 0)).convert("LA"),
}


@pytest.mark.filterwarnings("ignore:.*mode.*:DeprecationWarning")
@pytest.mark.parametrize("kind", SAVED)
def test_every_way_to_save_a_mask_is_the_same_drop(kind: str, tmp_path: Path) -> None:
    SAVED[kind].save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), DROP)


def test_no_drop_and_inverted_and_what_cannot_be_told(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    grey(0).save(path)
    assert not read_mask(path).any()
    grey(0, 255).save(path)
    assert np.array_equal(read_mask(path, inverted=True), DROP)
    with pytest.raises(SetError, match="--inverted"):
        read_mask(path)
    Image.new("L", (80, 60), 255).save(path)
    with pytest.raises(SetError, match="has only one colour"):
        read_mask(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SetError, match=r"cannot read|is not an image"):
        read_mask(path)


def test_a_folder_of_wells_and_a_folder_of_masks(tmp_path: Path) -> None:
    images, masks = tmp_path / "wells", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    rng = np.random.default_rng(0)
    for name in ("PL01_A1", "PL05_A2", "PL01_A3", "no_mask"):
        Image.fromarray(rng.integers(0, 255, (480, 640, 3)).astype(np.uint8)).save(images / f"{name}.jpg")
    (images / "PL01_A4.jpg").write_bytes((images / "PL01_A1.jpg").read_bytes())  # the same well twice
    for name in ("PL01_A1", "PL01_A4", "no_image"):
        grey(255).save(masks / f"{name}.png")
    grey(0).save(masks / "PL05_A2.png")
    grey(255).resize((60, 60)).save(masks / "PL01_A3.png")
    arguments = [str(images), str(masks), str(tmp_path / "set"), "--plate-from", r"^(\w+?)_"]
    result = CliRunner().invoke(commands.masks, arguments)
    assert result.exit_code == 1
    assert "no_image.png: there is no image no_image" in result.output
    assert "PL01_A3.png: the mask" in result.output
    assert "the shapes differ" in result.output
    assert "1  images without a mask" in result.output
    assert "1  second copies" in result.output
    made = ChopSet(tmp_path / "set")
    assert [(row.plate, row.image) for row in made.table] == [("PL01", "PL01_A1.png"), ("PL05", "PL05_A2.png")]
    _, drawn = made.take_views([0, 1])
    expected = np.array(grey(255).resize((256, 256), Image.Resampling.BILINEAR))
    assert np.abs(drawn[0].astype(int) - expected).max() <= 1
    assert not drawn[1].any()


def test_a_plate_of_real_masks(shared: Path, tmp_path: Path) -> None:
    real = shared / "real" / "plate_CI022987"
    images, masks = tmp_path / "wells", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for mask in sorted((real / "drop_masks").glob("*.png"))[:3]:
        (masks / mask.name).symlink_to(mask)
        image = real / f"{mask.stem}.jpg"
        (images / image.name).symlink_to(image)
    arguments = [str(images), str(masks), str(tmp_path / "set"), "--plate-from", r"_0*([A-Z]+\d+)_\d{3}_"]
    result = CliRunner().invoke(commands.masks, arguments)
    assert result.exit_code == 0, result.output
    made = ChopSet(tmp_path / "set")
    assert {row.plate for row in made.table} == {"CI022987"}
    views, drawn = made.take_views(range(3))
    for view, mask in zip(views, drawn, strict=True):
        assert 0.05 < (mask > 127).mean() < 0.6
        assert view[mask > 127].mean() < view[mask < 128].mean()  # a drop is darker than the plate around it
