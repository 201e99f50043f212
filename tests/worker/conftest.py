"""Work units of small wells."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.conftest import entry
from xtalgrid_core import wire

MakeUnit = Callable[..., Path]


@pytest.fixture
def make_unit(tmp_path: Path, options: wire.Options) -> MakeUnit:
    """``make_unit([bytes, …])`` writes a work unit's zip; `stored`: the bytes actually written, None for none."""

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
