"""Work units of small wells, and the small networks that score them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.conftest import encoded, entry, well
from xtalgrid_core import wire
from xtalgrid_core.weights import default_models
from xtalgrid_worker.inference import Networks

RED, GREEN, BLUE = (150, 40, 40), (40, 120, 40), (40, 40, 140)


@pytest.fixture(scope="session")
def options(tiny_weights: Path) -> wire.Options:
    segmenter, classifier = default_models(tiny_weights)
    return wire.Options(segmenter=segmenter, classifier=classifier)


@pytest.fixture(scope="session")
def networks(options: wire.Options, tiny_weights: Path) -> Networks:
    return Networks.load(options, [tiny_weights])


@pytest.fixture(scope="session")
def crystal() -> bytes:
    return encoded(well(RED))


@pytest.fixture(scope="session")
def clear() -> bytes:
    return encoded(well(BLUE))


MakeUnit = Callable[..., Path]


@pytest.fixture
def make_unit(tmp_path: Path, options: wire.Options) -> MakeUnit:
    """``make_unit([bytes, …])`` writes a work unit's zip; `stored` are the bytes that really go in, None for none."""

    def make(
        data: Sequence[bytes], *, stored: Sequence[bytes | None] | None = None, name: str = "unit", **fields: object
    ) -> Path:
        manifest = wire.Manifest(
            **{
                "schema": 1,
                "unit": name,
                "min_worker": "0.1.0",
                "options": options,
                "images": tuple(entry(number, file) for number, file in enumerate(data)),
            }
            | fields
        )
        path = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(path, "w") as unit:
            unit.writestr("manifest.json", wire.encode(manifest))
            for number, file in enumerate(data if stored is None else stored):
                if file is not None:
                    unit.writestr(f"{number:03d}.png", file)
        return path

    return make
