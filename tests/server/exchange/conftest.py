"""A plate with ARTscores, and files of scores for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import Config, from_string
from xtalgrid_server.domain.drop_state import DropState
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.exchange.foreign import Told
from xtalgrid_server.exchange.import_scores import ImportedScores, import_scores

PLATE = "CI022987"
TOML = """
[imager]
time_zone = "Europe/Berlin"
automatic = ["CrystalScore"]
[scores.names]
"3D" = "crystals harvestable"
"needles" = "any crystal"
"skin" = "33"
"later" = ""
[scores.plates]
"3100" = "CI022987"
"""

Import = Callable[..., ImportedScores]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return from_string(TOML, home=tmp_path / "home")


@pytest.fixture
def plate(score: Any) -> list[ImageRow]:
    """A1a to D1a are A1: clear, A2: precipitate, A3: crystals harvestable, A4: clear; the rows of the imager."""
    outcomes = (Outcome.CLEAR, Outcome.PRECIPITATE, Outcome.HARVESTABLE, Outcome.CLEAR)
    rows: list[ImageRow] = score({(col, 1): outcome for col, outcome in enumerate(outcomes, start=1)})
    return rows


@pytest.fixture
def bring(system: Any, tmp_path: Path) -> Import:
    """``bring(text, by="ann")``: import a file with this content."""

    def read(content: str | bytes | Path, name: str = "scores.csv", **options: Any) -> ImportedScores:
        file = content if isinstance(content, Path) else tmp_path / name
        if not isinstance(content, Path):
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        told = {key: options.pop(key) for key in ("by", "kind", "barcode", "inspection", "sheet") if key in options}
        return import_scores(system.config, system.imager, system.ledger, file, Told(**told), **options)

    return read


@pytest.fixture
def held(system: Any) -> Callable[[], dict[str, str]]:
    """What the drops that people scored are held to be, by well."""

    def read() -> dict[str, str]:
        images = system.ledger.images.of_plate(PLATE)
        scores = system.ledger.person_scores.of(images)
        states = {str(image.well): DropState.of(image.outcome, scores=scores[image.inspect_id]) for image in images}
        return {well: state.name for well, state in states.items() if state.people}

    return read
