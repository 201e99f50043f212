"""Explanations: maps that say what the network said, and pictures of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from click.testing import CliRunner  # noqa: E402
from PIL import Image  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from xtalgrid_core.chops import Box  # noqa: E402
from xtalgrid_core.errors import ConfigError  # noqa: E402
from xtalgrid_core.outcomes import CLASSES, PRIORITY, SCORED_GROUPS, Group, Outcome  # noqa: E402
from xtalgrid_nets.explain.maps import explain, smooth_grad  # noqa: E402
from xtalgrid_nets.sets.crops import Crop  # noqa: E402
from xtalgrid_synth import render_well  # noqa: E402


class SeesRed(nn.Module):
    """A crystal is what is red: the red channel's mean over each cell is the evidence."""

    def class_map(self, x: torch.Tensor) -> torch.Tensor:
        red = F.avg_pool2d(x[:, :1], 32, 16) / 8
        rest = torch.zeros(len(x), len(CLASSES) - 1, *red.shape[2:])
        rest[:, PRIORITY[Outcome.CLEAR] - 1] = 8.0
        return torch.cat([red, rest], dim=1)


def half_red() -> Crop:
    view = np.full((512, 768, 3), 90, np.uint8)
    view[:, :256, 0] = 250
    return Crop(view, np.ones((512, 768), bool), Box(0, 0, 512, 768))


def test_a_group_is_shown_where_it_was_seen() -> None:
    found = explain(SeesRed(), half_red(), samples=2)
    crystal, clear = (found.groups[SCORED_GROUPS.index(g)] for g in (Group.CRYSTAL, Group.CLEAR))
    assert found.groups.shape == (4, 512, 768)
    assert np.allclose(found.groups.sum(axis=0), 1, atol=1e-4)
    assert crystal[:, :130].min() > 0.95
    assert clear[:, 640:].min() > 0.95
    assert found.decision.outcome is Outcome.HARVESTABLE
    best = found.chops[found.decision.best[0]]
    assert best.col <= 64


def test_smooth_grad_shows_what_the_answer_hangs_on_and_nothing_else() -> None:
    image = torch.zeros(1, 3, 512, 768)
    found = smooth_grad(SeesRed(), image, SCORED_GROUPS.index(Group.CRYSTAL), [(0, 0)], samples=3)
    assert found.shape == (512, 768)
    assert found[:240, :240].min() > 0.2
    assert found[:, 300:].max() == 0, "no gradient flows from outside of the chop"
    assert found[300:].max() == 0


def test_a_network_without_a_map_is_refused() -> None:
    with pytest.raises(ConfigError, match="give a dense one"):
        explain(nn.Linear(3, 3), half_red())


def test_the_command_draws_two_pictures_of_a_well(tmp_path: Path) -> None:
    from xtalgrid_nets.cli import main

    well = render_well(Outcome.HARVESTABLE, seed=3, width=640, height=540, pixel_size_um=2.6)
    Image.fromarray(well.image).save(tmp_path / "w.png")
    (tmp_path / "text.png").write_text("no image")
    words = [
        "explain",
        str(tmp_path / "w.png"),
        str(tmp_path / "text.png"),
        "--out",
        str(tmp_path / "out"),
        "--samples",
        "1",
    ]
    done = CliRunner().invoke(main, [*words, "--pixel-size", "2.6"])
    assert done.exit_code == 1
    assert "text.png: not an image" in done.output
    for kind in ("groups", "smoothgrad"):
        with Image.open(tmp_path / "out" / f"w-{kind}.png") as picture:
            assert picture.width > 1000
            assert np.asarray(picture.convert("RGB")).std() > 20, "not an empty page"
