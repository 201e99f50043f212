"""A lab upgrades in the middle of its work: today's code takes the release's home and goes on where it was."""

from __future__ import annotations

import contextlib
import http.cookiejar
import json
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from xtalgrid_core import wire
from xtalgrid_core.weights import read_manifest
from xtalgrid_server.cli.main import main
from xtalgrid_server.ledger.units import manifest_hash, options_hash

from .conftest import RECORDED, unpack

PASSWORD = "drops and salts"
RED, GREEN, BLUE, NONE = "crystals harvestable", "precipitate", "clear", "null experiment"
DRAWN = {
    "CI000003": [RED, GREEN, BLUE, NONE, RED, BLUE, GREEN, "failed"],
    "CI000004": [RED, NONE, GREEN],
    "CI000005": [RED],
    "CI000006": [GREEN, BLUE],
}
"""What the lab's own networks call the wells drawn by `make_home`, from column 1 on."""

SCORES = """
    SELECT i.barcode, i.col, s.classifier, s.outcome, s.probability, s.p_crystal, s.answer
    FROM scores s JOIN images i ON i.id = s.image_id ORDER BY s.id
"""
PLANNED = """
    SELECT i.barcode, i.col
    FROM units u JOIN unit_images ui ON ui.unit_id = u.id JOIN images i ON i.id = ui.image_id
"""
TABLE = "SELECT scoreid, inspectid, score, scoredate, imagename, scoredby FROM i_scores ORDER BY scoreid"


class Lab:
    """A copy of the lab: its commands and its databases."""

    def __init__(self, place: Path) -> None:
        with tarfile.open(RECORDED / "home.tar.xz") as archive:
            unpack(archive, place)
        self.place = place / "lab"
        self.home = self.place / "home"
        self.config = self.place / "xtalgrid.toml"

    def words(self, *words: str | Path) -> list[str]:
        return ["--config", str(self.config), "--home", str(self.home), *map(str, words)]

    def xtalgrid(self, *words: str | Path) -> str:
        """What a command says; it must not fail."""
        done = CliRunner().invoke(main, self.words(*words))
        assert done.exit_code == 0, f"{words}: {done.output}"
        return done.output

    def ledger(self, statement: str) -> list[tuple]:
        return self._rows("ledger.db", statement)

    def score_table(self) -> list[tuple]:
        return self._rows("imager.db", TABLE)

    def _rows(self, database: str, statement: str) -> list[tuple]:
        with contextlib.closing(sqlite3.connect(self.home / database)) as connection:
            return connection.execute(statement).fetchall()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab as the release left it."""
    return Lab(tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab after today's code was installed, a folder scored, and a night of its cron jobs gone by."""
    lab = Lab(tmp_path_factory.mktemp("upgraded"))
    said = lab.xtalgrid("status")
    for counts in ("2 planned, 5 sent, 3 returned, 1 failed", "3 accepted, 1 refused", "4 rows written"):
        assert counts in said
    assert "2 of 2 images accounted for" in lab.xtalgrid("run", lab.place / "new", "--copy")
    for words in (("create_work", "--retry"), ("grid",), ("assimilate",), ("finalizer",), ("set_autoscore",)):
        lab.xtalgrid(*words)
    return lab


def test_an_options_hash_is_what_it_was_but_for_the_scale(before: Lab, upgraded: Lab) -> None:
    """Or every image of the lab would be planned again."""
    question = "SELECT manifest, options_hash FROM units ORDER BY id"
    old = before.ledger(question)
    assert len(old) == 11
    for (manifest, known), (same, now) in zip(old, upgraded.ledger(question), strict=False):
        decoded = wire.decode_manifest(manifest)
        assert same == manifest
        assert options_hash(decoded.options, None) == known, "scales did not count before"
        assert manifest_hash(decoded) == now


def test_what_was_scored_is_untouched(before: Lab, upgraded: Lab) -> None:
    scores, rows = before.ledger(SCORES), before.score_table()
    assert len(scores) == 6 and len(rows) == 6
    assert upgraded.ledger(SCORES)[:6] == scores
    assert upgraded.score_table()[:6] == rows


def test_a_run_finishes_the_units_in_flight(upgraded: Lab) -> None:
    assert list((upgraded.home / "spool" / "units").iterdir()) == []
    assert not upgraded.ledger("SELECT * FROM units WHERE state IN ('planned', 'sent')")
    own = {(barcode, col): outcome for barcode, col, _, outcome, *_ in upgraded.ledger(SCORES)}
    for barcode, outcomes in DRAWN.items():
        assert [own[barcode, col] for col in range(1, len(outcomes) + 1)] == outcomes


def test_every_image_is_scored_exactly_once(before: Lab, upgraded: Lab) -> None:
    scored = Counter(upgraded.ledger("SELECT image_id, options_hash FROM scores"))
    asked = set(upgraded.ledger("SELECT image_id, options_hash FROM unit_images JOIN units ON units.id = unit_id"))
    assert scored == Counter(asked)
    new = Counter(upgraded.ledger(PLANNED)) - Counter(before.ledger(PLANNED))
    given_up = before.ledger(f"{PLANNED} WHERE u.state = 'failed'")
    assert len(given_up) == 2
    assert new == Counter([*given_up, ("CI000005", 1), ("CI000006", 1), ("CI000006", 2)]), (
        "nothing else is planned again"
    )
    assert "0 images planned in 0 units" in upgraded.xtalgrid("create_work")


def test_a_result_that_came_back_before_the_upgrade_is_taken_to_the_last_digit(before: Lab, upgraded: Lab) -> None:
    (file,) = before.home.glob("spool/units/*/result.json")
    said = json.loads(file.read_bytes())["images"]
    scores = [json.loads(row[-1]) for row in upgraded.ledger(SCORES) if row[0] == "CI000002"]
    assert len(said) == 2 and len(scores) == 4  # the lab's own networks have scored them too
    for answer in said:
        assert any(answer.items() <= score.items() for score in scores)


def test_a_half_scored_unit_is_scored_on(before: Lab, upgraded: Lab) -> None:
    (file,) = before.home.glob("spool/units/*/result.json.checkpoint")
    (done,) = [json.loads(line) for line in file.read_text().splitlines() if '"status"' in line]
    answers = [json.loads(row[-1]) for row in upgraded.ledger(SCORES)]
    assert any(done.items() <= answer.items() for answer in answers)


def test_the_configuration_holds(upgraded: Lab) -> None:
    codes = {
        (name.split("_")[7][4:], int(name.split("_")[10])): code
        for _, _, code, _, name, by in upgraded.score_table()
        if by == "ARTscore"
    }
    for barcode, outcomes in DRAWN.items():
        for col, outcome in enumerate(outcomes, 1):
            is_held = outcome in (BLUE, NONE, "failed")
            assert codes.get((barcode, col)) == (None if is_held else {RED: "45", GREEN: "13"}[outcome])
    options = [
        wire.decode_manifest(manifest).options
        for (manifest,) in upgraded.ledger("SELECT manifest FROM units ORDER BY id")
    ]
    assert {(o.crystal_from, o.n_boxes, o.rule, o.mode, o.step) for o in options} == {(0.25, 3, "pooled", "dense", 48)}
    assert len({(o.segmenter, o.classifier) for o in options}) == 2


def test_old_runs_are_undone_and_held_scores_approved(upgraded: Lab) -> None:
    (held,) = upgraded.ledger("SELECT score_id FROM finalizations WHERE action = 'hold' ORDER BY id LIMIT 1")
    upgraded.xtalgrid("approve", str(held[0]), "--as", "anna")
    upgraded.xtalgrid("finalizer")
    assert "1 insert" in upgraded.xtalgrid("set_autoscore")
    oldest = min(upgraded.home.glob("outbox/done/*.csv"))
    assert "3 rows removed" in upgraded.xtalgrid("set_autoscore", "--undo", oldest.name)


def test_reports_tell_the_old_story(upgraded: Lab) -> None:
    story = upgraded.xtalgrid("history", "CI000001", "A3a")
    assert "crystals bad form" in story and "anna" in story
    assert "20 % PEG 3350" in upgraded.xtalgrid("search", "--outcome", "crystal", "--sample", "lysozyme")
    assert "our own drops" in upgraded.xtalgrid("model", "list")
    if {entry.sha256 for entry in read_manifest().models} >= {row[2] for row in upgraded.ledger(SCORES)[:6]}:
        for well in ("A1a", "A4a"):  # of crystals, and without a drop; exit status 1 if it is not what it was
            upgraded.xtalgrid("explain", "CI000001", well, "--recompute")
    assert "CI000001" not in upgraded.xtalgrid("alerts"), "it was told before"


# ---- the viewer -----------------------------------------------------------------------------------------------------


class Browser:
    """Somebody at the viewer, with cookies."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), urllib.request.ProxyHandler({})
        )

    def get(self, path: str, data: bytes | None = None) -> str:
        with self._opener.open(self.address + path, data, timeout=60) as answer:
            return answer.read().decode(errors="replace")

    def sign_in(self, name: str) -> str:
        token = re.search(r'name="form_token" value="(\w+)"', self.get("/sign-in"))
        assert token
        fields = {"form_token": token[1], "name": name, "password": PASSWORD, "then": "/"}
        return self.get("/sign-in", urllib.parse.urlencode(fields).encode())


@pytest.fixture(scope="module")
def browser(upgraded: Lab) -> Iterator[Browser]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "xtalgrid_server", *upgraded.words("serve", "--port", str(port))],
        stdout=subprocess.DEVNULL,
    )
    opened = Browser(f"http://127.0.0.1:{port}")
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                opened.get("/healthz")
                break
            time.sleep(0.1)
        yield opened
    finally:
        process.terminate()
        process.wait(30)


def test_people_sign_in_with_their_passwords_and_every_page_answers(upgraded: Lab, browser: Browser) -> None:
    with pytest.raises(urllib.error.HTTPError, match="403"):
        Browser(browser.address).sign_in("jdoe")  # was removed
    assert "anna" in browser.sign_in("anna")
    assert "crystals bad form</strong> by anna" in browser.get("/well/CI000001/1/A3a")
    pages = ["/", "/inbox", "/operations", "/metrics", "/api/plates", "/api/openapi.json"]
    for barcode, col in {(row[0], row[1]) for row in upgraded.ledger(SCORES)}:
        plate = f"/plate/{barcode}/1"
        pages += [plate, f"{plate}/scores.csv", f"{plate}/best.html", f"/api/plates/{barcode}/1"]
        pages += [f"/well/{barcode}/1/A{col}a"]
    for score, image in upgraded.ledger("SELECT id, image_id FROM scores WHERE outcome <> 'failed'"):
        pages += [f"/framed/{score}.jpg", f"/image/{image}.jpg", f"/thumbnail/160/{image}.jpg"]
    for page in sorted(set(pages)):
        assert browser.get(page)


# ---- a lab whose grid is BOINC ---------------------------------------------------------------------------------------


def test_boincs_daemons_take_what_comes_back_after_the_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hooks as the release's installation wrote them into the project; the manifest is in the ledger alone."""
    lab = Lab(tmp_path)
    lab.config.write_text(
        lab.config.read_text().replace("[grid]\n", f'[boinc]\nproject = "{tmp_path}"\n[grid]\nkind = "boinc"\n')
    )
    monkeypatch.setenv("XTALGRID_CONFIG", str(lab.config))
    monkeypatch.setenv("XTALGRID_HOME", str(lab.home))
    (result,) = lab.home.glob("spool/units/*/result.json")
    unit = result.parent.name
    uploaded = [tmp_path / f"{unit}.1_{number}_r1804{number}_0" for number in range(2)]
    for path in uploaded:
        shutil.copy(result, path)

    def hook(*words: str | Path) -> int:
        command = [sys.executable, "-m", "xtalgrid_server.boinc.hooks", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, timeout=60).returncode

    assert hook("check", uploaded[0]) == 0
    assert hook("compare", *uploaded) == 0
    assert hook("assimilate", "1", uploaded[0]) == 0
    lab.xtalgrid("assimilate")
    assert [row[0] for row in lab.ledger(SCORES)].count("CI000002") == 2
    assert lab.ledger(f"SELECT state FROM units WHERE name = '{unit}'") == [("returned",)]
