"""Judge by rendered pairs how well UV images tell protein crystals from salt."""

from __future__ import annotations

import io
import itertools
from collections import Counter

import numpy as np
from PIL import Image

from xtalgrid_core import wire
from xtalgrid_core.fluorescence import Glow, fluorescence
from xtalgrid_core.markdown import table
from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, Group
from xtalgrid_scoring.score import score_image
from xtalgrid_synth.uv import Nature, render_uv
from xtalgrid_synth.well import render_well

from .scoring import Settings

_SIZE, _UM = (960, 720), 3.0

Counts = Counter[tuple[Nature, Glow]]


def judge(wells: int, seed: int, settings: Settings) -> Counts:
    """Render crystals of each nature and class, score them, and count what their UV images say.

    Only wells that are called crystals count, by the boxes of their scores.

    Parameters
    ----------
    wells
        Number of wells of each nature.
    seed
        Of the first well.
    """
    options, networks = settings.options, settings.networks()
    counts: Counts = Counter()
    classes = itertools.cycle([CLASSES[index] for index in GROUP_CLASSES[Group.CRYSTAL]])
    for (nature, number), outcome in zip(itertools.product(Nature, range(wells)), classes, strict=False):
        well_seed = seed + number + 100_000 * list(Nature).index(nature)
        well = render_well(outcome, seed=well_seed, width=_SIZE[0], height=_SIZE[1], pixel_size_um=_UM)
        stream = io.BytesIO()
        Image.fromarray(well.image).save(stream, "PNG")
        entry = wire.ImageEntry(number=0, file="000.png", inspect_id=0, sha256="0" * 64, pixel_size_um=_UM)
        score = score_image(stream.getvalue(), entry, options, networks)
        if score.outcome.group is Group.CRYSTAL:
            uv = np.repeat(render_uv(well, seed=well_seed, nature=nature).image[:, :, None], 3, axis=2)
            boxes = [chop.box for chop in score.boxes if chop.outcome.group is Group.CRYSTAL]
            counts[nature, fluorescence(well.image, uv, boxes, _UM).glow] += 1
    return counts


def markdown(counts: Counts) -> str:
    """Tabulate the counts."""
    rows = [(str(nature), *(str(counts[nature, glow]) for glow in Glow)) for nature in Nature]
    return "\n".join(table(("crystals of", *map(str, Glow)), rows))
