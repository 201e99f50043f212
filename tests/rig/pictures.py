"""A home with large pictures that were scored, for tests and benchmarks that ask the viewer for many at once."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path

from PIL import Image

from tests.server.conftest import answer, result_of
from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome
from xtalgrid_core.weights import default_models
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.units import PlannedImage
from xtalgrid_server.steps.system import System
from xtalgrid_synth import render_well

LARGE = (6000, 4000)
"""The largest picture that is read, 24 million pixels."""


def fill(home: Path, larges: int, smalls: int) -> None:
    """Enter a plate of so many large PNG files and then so many usual JPEG files, with ids from 1 on, and scores."""
    drawn = Image.fromarray(render_well(Outcome.HARVESTABLE, seed=1, width=1280, height=960).image)
    large, small = io.BytesIO(), io.BytesIO()
    if larges:
        drawn.resize(LARGE).save(large, "PNG", compress_level=1)
    drawn.save(small, "JPEG", quality=90)
    segmenter, classifier = default_models()
    options = wire.Options(segmenter=segmenter, classifier=classifier)
    with System(from_string("", home=home)) as system:
        places = [
            ImageRow(0, "BIG", 1, datetime(2024, 1, 1), Well(1 + n // 12, 1 + n % 12, 1), f"{n}.{kind}")
            for n, kind in enumerate(["png"] * larges + ["jpg"] * smalls)
        ]
        for place in places:
            path = system.config.image_root / place.barcode / "1" / place.image_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((large if path.suffix == ".png" else small).getvalue())
        rows = system.imager.register(places)
        entries = tuple(
            wire.ImageEntry(number=n, file=f"{n:03d}.jpg", inspect_id=row.inspect_id, sha256="d" * 64)
            for n, row in enumerate(rows)
        )
        manifest = wire.Manifest(schema=1, unit="xg_big", min_worker="0.1.0", options=options, images=entries)
        system.ledger.units.add(manifest, [PlannedImage(row, "d" * 64) for row in rows])
        unit = system.ledger.units.named(manifest.unit)
        assert unit is not None
        answers = [answer(n, Outcome.HARVESTABLE) for n in range(len(rows))]
        system.ledger.scores.accept_result(unit, "f" * 64, result_of(manifest, answers), manifest)
