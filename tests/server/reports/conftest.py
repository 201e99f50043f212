"""What tests of reports share."""

from __future__ import annotations

from datetime import timedelta

import pytest
from click.testing import CliRunner

from tests.server.conftest import INSPECTED, config, person, score, score_table, system  # noqa: F401
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main

TOML = """
[imager]
url = "{imager.url}"
owner = "{imager.owner}"
[ledger]
url = "{ledger.url}"
"""


@pytest.fixture
def xtalgrid(tmp_path, config):  # noqa: F811
    """``xtalgrid("search", toml="…")``: the command's result, in the same home as `system` and `score`."""

    def call(*words, toml=""):
        file = tmp_path / "xtalgrid.toml"
        sections = {"imager": config.imager, "ledger": config.ledger, "work": config.work}
        file.write_text(TOML.format(**sections) + toml)
        return CliRunner().invoke(main, ["--config", str(file), "--home", str(config.home), *map(str, words)])

    return call


@pytest.fixture
def inspect(score):  # noqa: F811
    """``inspect(2, {1: 0.9})``: inspection 2, a day after 1, p_crystal by column; from 0.5 on they are crystals."""

    def enter(number, p_crystals, first=INSPECTED):
        inspected = first + timedelta(days=number)
        return [
            row
            for col, p_crystal in p_crystals.items()
            for row in score(
                {(col, 1): Outcome.HARVESTABLE if p_crystal >= 0.5 else Outcome.CLEAR},
                inspection=number,
                inspected=inspected,
                p_crystal=p_crystal,
            )
        ]

    return enter
