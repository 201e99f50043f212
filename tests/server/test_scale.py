"""The configured scale is part of what a score depends on: another one has images scored again."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing

import msgspec
import pytest

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.ledger.units import options_hash
from xtalgrid_server.steps.create_work import work_options
from xtalgrid_server.steps.system import System

from .test_create_work import imaged  # noqa: F401
from .test_retry import come_back, counts


def with_scale(config, pixel_size_um):
    imager = msgspec.structs.replace(config.imager, pixel_size_um=pixel_size_um)
    return msgspec.structs.replace(config, imager=imager)


@pytest.fixture
def scored(system, imaged):  # noqa: F811
    """Two images, scored while no scale was configured."""
    imaged(0, 2)
    assert system.create_work().planned == 2
    come_back(system, Outcome.CLEAR, Outcome.CLEAR)
    return system


def test_another_scale_has_images_scored_again_once(scored):
    with System(with_scale(scored.config, 1.13)) as set_now:
        assert set_now.create_work().planned == 2
        assert come_back(set_now, Outcome.HARVESTABLE, Outcome.CLEAR).scores == 2
        assert counts(set_now) == (2, 2, 0, 0)
        assert set_now.create_work().planned == 0
        newest = set_now.ledger.images.of_plate("P1")
        assert sorted(image.outcome for image in newest) == sorted([Outcome.HARVESTABLE, Outcome.CLEAR])
    with System(scored.config) as as_before:
        assert as_before.create_work().planned == 0, "scores with these options and no scale are there"


def test_scores_of_earlier_versions_are_not_made_again(scored, imaged):  # noqa: F811
    imaged(1, 1)
    with System(with_scale(scored.config, 1.13)) as with_one:
        assert with_one.create_work().planned == 3
        come_back(with_one, Outcome.CLEAR, Outcome.CLEAR, Outcome.CLEAR)
    with closing(sqlite3.connect(scored.config.home / "ledger.db")) as ledger:
        ((guessed,), (scaled,)) = ledger.execute(
            "SELECT options_hash FROM units GROUP BY options_hash ORDER BY min(id)"
        )
        ledger.execute("DELETE FROM scores WHERE options_hash = ?", [guessed])  # the earlier version kept one of both
        without = options_hash(work_options(with_one.config, with_one.ledger), None)
        assert scaled == hashlib.sha256(f"{without} 1.13".encode()).hexdigest()
        ledger.execute("UPDATE scores SET options_hash = ?", [without])
        ledger.execute("UPDATE units SET options_hash = ?", [without])
        ledger.execute("UPDATE alembic_version SET version_num = '0018'")
        ledger.commit()
    with System(with_scale(scored.config, 1.13)) as upgraded:
        assert upgraded.create_work().planned == 0
        assert counts(upgraded) == (3, 3, 0, 0)
    with closing(sqlite3.connect(scored.config.home / "ledger.db")) as ledger:
        assert ledger.execute("SELECT DISTINCT options_hash FROM scores").fetchall() == [(scaled,)]
        assert ledger.execute("SELECT count(*) FROM units WHERE options_hash = ?", [without]).fetchone() == (1,)
