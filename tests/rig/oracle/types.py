"""Columns of other types on the stand-in: ``pytest -p no:faulthandler -p tests.rig.oracle.plugin tests/rig/oracle/types.py``."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.system.foreign_types import *  # noqa: F403


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"oracle+oracledb://xg:xg@localhost/?service_name=x{uuid4().hex}")
    yield engine
    engine.dispose()
