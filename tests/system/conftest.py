"""Outside programs that several modules use."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import sqlalchemy as sa


@pytest.fixture(scope="session")
def server() -> Iterator[sa.URL]:
    """A PostgreSQL server, started once."""
    if os.name != "posix":
        pytest.skip("starts PostgreSQL as Unix does")
    from .postgresql import running

    with running() as url:
        yield url
