"""Whatever barcodes, names and conditions hold, no command writes it raw to a terminal or a log."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
import sqlalchemy as sa

import xtalgrid_server
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.contents import Contents

from ..conftest import INSPECTED

EVIL = "\x1b[2J\n2026-11-29T12:00:00Z INFO ok\r\x9b2J\u202e"
BARCODE = f"P{EVIL}"[:30]


@pytest.fixture
def hostile(system, score, person):
    """A drop with a score, whose plate, image, person, sample and condition have names from an attacker."""
    (row,) = score({(1, 1): Outcome.HARVESTABLE}, p_crystal=0.9)
    person(row.inspect_id, "13", INSPECTED)
    system.sync()
    with system.ledger.scores._db.writing() as connection:
        renamed = sa.text("UPDATE images SET barcode = :barcode, image_name = :name")
        connection.execute(renamed, {"barcode": BARCODE, "name": f"a{EVIL}.jpg"})
    system.ledger.contents.record([Contents(BARCODE, Well(1, 1, 0), EVIL, EVIL, EVIL)])
    system.imager.register([ImageRow(0, BARCODE, 9, INSPECTED, Well(1, 1, 1), f"b{EVIL}.jpg")])
    return row


def raw(text: str) -> set[str]:
    """Characters that control a terminal or turn text around."""
    return {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")}


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("search",),
        ("search", "--json"),
        ("agreement",),
        ("disagreements",),
        ("history", BARCODE, "A1a"),
        ("history", BARCODE, "A1a", "--json"),
        ("explain", BARCODE, "A1a"),
        ("explain", BARCODE, "A1a", "--json"),
        ("alerts",),
        ("create_work",),
        ("create_work", "--barcode", BARCODE),
        ("finalizer",),
        ("set_autoscore",),
        ("approve", "--barcode", BARCODE),
        ("import-folder", f"/nowhere{EVIL}"),
        ("layout", f"/nowhere{EVIL}.csv"),
    ],
    ids=" ".join,
)
def test_no_command_prints_or_logs_it_raw(xtalgrid, hostile, words):
    result = xtalgrid(*words)
    assert "Traceback" not in result.output
    assert raw(result.output) == set()
    assert not re.search("^2026-11-29T12:00:00Z INFO ok", result.output, re.MULTILINE)


def test_a_missing_image_is_one_line_of_the_log(xtalgrid, hostile):
    said = xtalgrid("create_work").output
    (line,) = (line for line in said.splitlines() if " WARNING create_work " in line)
    assert r"\x1b[2J\n2026-11-29T12:00:00Z INFO ok\r\x9b2J\u202e.jpg: missing file" in line


def test_lines_are_printed_in_one_place():
    """Commands print by `say`, which shows what would control a terminal; `cli.printing` prints documents."""
    package = Path(xtalgrid_server.__file__).parent
    prints = re.compile(r"^\s*(?:click\.s?echo|print|sys\.std(?:out|err)\.write)\(", re.MULTILINE)
    files = [path for path in package.rglob("*.py") if prints.search(path.read_text())]
    assert files == [package / "cli" / "printing.py"]
