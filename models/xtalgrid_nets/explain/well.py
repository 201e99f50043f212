"""Explain a well image in pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from xtalgrid_core.chops import CELLS, CHOP
from xtalgrid_core.decision import without_drop
from xtalgrid_core.dense import Float
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.images import Pixels, WellImage, network_input
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.weights import PACKAGED
from xtalgrid_scoring.drop import NoDrop, cut_out
from xtalgrid_scoring.networks import Networks
from xtalgrid_scoring.score import check_size, look

from ..adapt.start import starting_point
from ..judge.scoring import Settings
from ..networks import class_map_of
from . import words
from .maps import explain
from .pictures import draw_groups, draw_saliency


def load(settings: Settings, state: Path | None = None) -> tuple[Networks, nn.Module]:
    """Load the networks that decide, and the classifier among them for gradients.

    A trained state replaces the classifier of the settings' weights, and uses its calibration and pooling. The
    gradients of int8 weights leave out the rounding between the layers.

    Raises
    ------
    ConfigError
        If the classifier has no class map of the 13 outcomes.
    ModelError
        If weights or state can't be used.
    """
    networks = Networks.load(settings.options, [settings.weights] if settings.weights else [])
    start = starting_point(state, settings.weights or PACKAGED, settings.variant)
    net = start.net
    class_map = class_map_of(net)
    with torch.inference_mode():
        shape = tuple(class_map(torch.zeros(1, 3, CHOP, CHOP)).shape) if class_map else ()
    if class_map is None or shape != (1, len(CLASSES), CELLS, CELLS):
        raise ConfigError(
            f"{start.architecture} has no class map of the {len(CLASSES)} outcomes, which explain needs; "
            "give a dense classifier, such as squeezenet1.1"
        )

    def run(pictures: Pixels) -> Float:
        with torch.inference_mode():
            return np.asarray(class_map(torch.from_numpy(network_input(pictures))))

    return (networks.with_classifier(run) if state else networks), net


def explain_well(
    path: Path,
    networks: Networks,
    net: nn.Module,
    options: Options,
    out: Path,
    pixel_size_um: float | None = None,
    samples: int = 12,
) -> tuple[str, list[Path]]:
    """Explain one image: return the published decision in words, and the pictures (none for a null experiment).

    Parameters
    ----------
    networks, net
        See `load`.

    Raises
    ------
    ImageError
        If the file is not a usable image.
    """
    image = WellImage(path.read_bytes())
    well = cut_out(image, networks.mask, pixel_size_um, check=lambda crop, scale: check_size(crop, scale, options))
    if isinstance(well, NoDrop):
        decision = without_drop(well.drop.confidence, options, networks.calibration)
        return f"{words.outcome(decision)}; {words.groups(decision)}; there is no drop to draw", []
    if well.scale.is_guess:
        well = look(well, options, networks).well
    explained = explain(well, networks, net, options, samples)
    description = [words.outcome(explained.decision), words.groups(explained.decision), words.rule(options)]
    return "; ".join(description), [
        draw_groups(explained, path.name, out / f"{path.stem}-groups.png"),
        draw_saliency(explained, path.name, out / f"{path.stem}-smoothgrad.png"),
    ]
