"""Every statement for the imager database in Oracle's dialect, compared with the files in golden/.

After a wanted change: ``XTALGRID_WRITE_GOLDEN=1 pytest tests/server/imager/test_golden_sql.py``, and read the difference.
"""

from __future__ import annotations

import os
import pkgutil
import re
from importlib import import_module
from pathlib import Path

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server import imager as package
from xtalgrid_server.config import vendor
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well

from .statements import DAY, TALK, TALKERS, imager, sent_to, talking

GOLDEN = Path(__file__).with_name("golden")


def test_every_method_that_talks_to_the_database_is_here_and_has_its_file():
    assert set(TALK) == talking()
    found = {item.name for item in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")}
    modules = {name for name in found if not name.startswith(f"{package.__name__}.ispyb")}
    talkers = {name for name in modules if hasattr(import_module(name), "sa")}
    assert {name.removeprefix(f"{package.__name__}.") for name in talkers} == TALKERS
    assert {file.stem for file in GOLDEN.glob("*.sql")} == set(TALK)


def test_what_oracle_is_sent(tmp_path):
    different = []
    with imager(tmp_path) as database:
        for name, call in TALK.items():
            with sent_to(database._engine) as statements:
                call(database)
            file = GOLDEN / f"{name}.sql"
            text = "".join(f"{statement};\n\n" for statement in statements)
            if os.environ.get("XTALGRID_WRITE_GOLDEN") == "1" and text:
                file.write_text(text)
            if text != (file.read_text() if file.exists() else ""):
                different.append(f"{name}:\n{text}")
    assert not different, "\n".join(different)


def test_a_lab_with_names_of_its_own_is_sent_nothing_else(tmp_path):
    with imager(tmp_path, other_names=True) as database, sent_to(database._engine) as statements:
        for call in TALK.values():
            call(database)
        assert [row.scores[-1].code for row in database.scored_by_people()] == ["23"]
        assert [len(group) for group in database.newest_first(None, None)] == [1, 2, 2]
    # xtalgrid's names are left in labels, bound parameters and the columns of subqueries.
    words = re.sub(r" AS \w+|:\w+|\banon_\d\.\w+", " ", " ".join(statements))
    assert not set(re.findall(r"\w+", words)) & {
        n.lower() for table, names in vendor.TABLES.values() for n in (table, *names)
    }
    assert "crystal.lab_sequence.nextval" in words


def test_no_list_is_longer_than_oracle_takes(tmp_path):
    many = list(range(1, 1102))
    with imager(tmp_path) as database, sent_to(database._engine) as statements:
        database.scores_of_drops(many)
        database.write(lambda writer: (writer.autoscores(many), writer.set_autoscores(dict.fromkeys(many))))
    longest = max(len(found.split(",")) for statement in statements for found in re.findall(r"IN \((.*?)\)", statement))
    assert len(statements) >= 6
    assert longest <= 1000


def test_the_chain_sends_nothing_else(system, score, person):
    known = {
        _shape(part)
        for file in GOLDEN.glob("*.sql")
        for part in file.read_text().replace("crystal.", "").split(";\n\n")
    }
    with sent_to(system.imager._engine) as statements:
        rows = score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.HARVESTABLE})
        person(rows[0].inspect_id, "13", DAY)
        system.create_work(barcodes=["CI022987"])
        system.create_work()
        system.sync()
        system.finalize(frames="none")
        system.publish()
        system.imager.register([ImageRow(0, "P1", 1, DAY, Well(1, 1, 1), "late.jpg")])
    assert len(statements) > 5
    absent = {"FROM plates WHERE", "FROM plate_drops WHERE", "FROM samples WHERE", "FROM projects WHERE"}  # here
    sent = {
        _shape(statement)
        for statement in statements
        if not any(words in statement.replace("\n", " ") for words in absent)
    }
    assert sent <= known


def _shape(statement: str) -> str:
    """A statement whatever number of values it names, and whatever patterns are configured."""
    statement = re.sub(r"IN \(.*?\)", "IN (…)", statement)
    return re.sub(
        r"\s+",
        " ",
        re.sub(r"\(*rtrim\(i_images\.imagename\) (NOT )?LIKE .*?ESCAPE '\\'\)?( OR | AND )?", "", statement),
    ).strip()
