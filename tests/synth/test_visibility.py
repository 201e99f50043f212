"""A well counts as one with crystals only if a person could see them."""

from __future__ import annotations

import numpy as np
import pytest

from xtalgrid_core.chops import Box
from xtalgrid_core.outcomes import PRIORITY, Outcome
from xtalgrid_synth import UNSURE, WellObject, render_well
from xtalgrid_synth.crystals import Patch
from xtalgrid_synth.drops import Shape
from xtalgrid_synth.scene import Scene
from xtalgrid_synth.visibility import RECOGNISED, SHOWER, forget_unseen, shows

MARK = 1 + PRIORITY[Outcome.HARVESTABLE]
SQUARE = np.ones((20, 20), np.float32)


def scene_with(*crystals: tuple[int, float, int]) -> Scene:
    """A drop of 100×400 pixels, with square crystals given as column, factor on the light, and side."""
    one = np.ones((100, 400), np.float32)
    scene = Scene(
        rng=np.random.default_rng(0),
        um=2.0,
        shape=Shape(one * 0, one * 0, 50),
        inside=one,
        light=one.copy(),
        crystals=one.copy(),
        amber=one * 0,
        crystal_amber=one * 0,
        content=np.zeros(one.shape, np.uint8),
    )
    for col, light, side in crystals:
        square = SQUARE[:side, :side]
        scene.put(Patch(square * np.float32(light), square), 50, col, Outcome.HARVESTABLE)
    return scene


def seen(scene: Scene, ground: np.ndarray, view: int = 400) -> list[int]:
    """The columns of the crystals that are kept."""
    bare = scene.light
    scene.light = bare * scene.crystals
    forget_unseen(scene, ground.astype(np.float32), bare, view)
    return [item.box.col + item.box.width // 2 for item in scene.objects]


def test_a_crystal_needs_contrast_light_and_size() -> None:
    ground = np.full((100, 400), 150.0)
    ground[:, 200:280] = 5  # black
    scene = scene_with((50, 0.6, 20), (150, 0.97, 20), (240, 0.6, 20), (340, 0.6, 2))
    assert seen(scene, ground) == [50]
    assert scene.content[50, 50] == MARK
    assert [scene.content[50, col] for col in (150, 240, 340)] == [UNSURE] * 3


def test_texture_around_a_crystal_hides_it_and_a_gradient_does_not() -> None:
    ground = np.full((100, 400), 120.0)
    ground[:, :200] += np.random.default_rng(1).normal(0, 30, (100, 200))
    ground[:, 200:] += np.linspace(-60, 60, 200)
    assert seen(scene_with((100, 0.7, 20), (300, 0.7, 20)), ground) == [300]


def test_a_crystal_beyond_the_pictures_edge_is_none() -> None:
    scene = scene_with((395, 0.6, 20), (420, 0.6, 20))
    assert len(scene.objects) == 1


def test_one_crystal_must_be_recognised_but_many_of_a_shower() -> None:
    def wells(outcome: Outcome, *sides: int) -> list[WellObject]:
        return [WellObject(outcome, Box(0, 0, side, 1)) for side in sides]

    assert shows(wells(Outcome.HARVESTABLE, 9, 28), Outcome.HARVESTABLE, 1000)
    assert not shows(wells(Outcome.HARVESTABLE, *[27] * 40), Outcome.HARVESTABLE, 1000)
    assert not shows([], Outcome.BAD_FORM, 1000)
    assert shows(wells(Outcome.OVERNUCLEATED, *[8] * 10, *[12] * 10), Outcome.OVERNUCLEATED, 1000)
    assert not shows(wells(Outcome.OVERNUCLEATED, *[12] * 19), Outcome.OVERNUCLEATED, 1000)
    assert not shows(wells(Outcome.OVERNUCLEATED, *[8] * 40), Outcome.OVERNUCLEATED, 1000)


@pytest.mark.parametrize("outcome", [Outcome.HARVESTABLE, Outcome.BAD_FORM, Outcome.OVERNUCLEATED])
def test_wells_without_visible_crystals_are_drawn_anew(outcome: Outcome) -> None:
    wells = [render_well(outcome, seed=seed, width=640, height=480, pixel_size_um=4.524) for seed in range(40, 60)]
    assert any(well.redrawn for well in wells)
    for well in wells:
        sides = [max(box.height, box.width) for box in well.crystal_boxes]
        assert len(sides) >= SHOWER if outcome is Outcome.OVERNUCLEATED else max(sides) >= RECOGNISED * 640
