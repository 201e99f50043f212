"""The log of access: who did what, when and from where, a line each, that nobody can forge, flood or read secrets in."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import missing
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string
from xtalgrid_server.storage.access_log import AccessLog

from .conftest import PASSWORD, link

WELL = "/well/CI022987/3/A1a"
PROXY = "10.0.0.5"
LINE = re.compile(
    r'(?P<at>\S+) from=(?P<from>\S+) act=(?P<act>[\w-]+) result=(?P<result>\w+) who="(?P<who>[^"]*)"(?P<more>.*)'
)


def written(config):
    return (config.home / "access.log").read_text().splitlines()


def told(config):
    """What each line says: (from, act, result, who)."""
    return [LINE.fullmatch(line).group("from", "act", "result", "who") for line in written(config)]


@pytest.fixture
def people(configured, with_user):
    """A viewer behind a web server, whose people ben is one of."""
    return configured(f'sign_in = "users"\ntrusted_proxies = ["{PROXY}"]')


@pytest.fixture
def ben(visit, people):
    """Ben's browser, which has signed in, at 10.1.1.7."""
    client = visit(people, address=PROXY)
    client.headers["X-Forwarded-For"] = "1.2.3.4, 10.1.1.7"
    assert client.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD).status_code == 303
    return client


def test_what_people_do_in_the_viewer(ben, config, score, system):
    score({(1, 1): Outcome.CLEAR})
    system.ledger.decisions.add("r1", [{"score_id": 1, "inspect_id": 1, "action": "hold", "csv_row": "{}"}])
    ben.fill("/corrections", WELL, image="1", outcome="harvestable")
    ben.fill("/corrections/undo", WELL, then=WELL)
    ben.fill("/corrections/typed", WELL, who="ben", scores=f'[{{"key": "{"a" * 32}", "image": 1, "outcome": "clear"}}]')
    ben.fill("/operations/review", "/operations", verdict="approve", score=1)
    ben.get("/plate/CI022987/3/scores.csv")
    ben.get("/plate/CI022987/3/best.html")
    ben.fill("/password", "/password", password="wrong", new="salts without drops", again="salts without drops")
    ben.fill("/password", "/password", password=PASSWORD, new="salts without drops", again="salts without drops")
    ben.fill("/sign-out")
    ben.fill("/sign-in", "/sign-in", name="ben", password=PASSWORD)
    assert told(config) == [
        ("10.1.1.7", act, result, "ben")
        for act, result in (
            ("sign-in", "ok"), ("score", "ok"), ("score", "ok"), ("score", "ok"), ("review", "ok"), ("export", "ok"),
            ("export", "ok"), ("password", "refused"), ("password", "ok"), ("sign-out", "ok"), ("sign-in", "refused"),
        )
    ]  # fmt: skip
    more = [LINE.fullmatch(line)["more"] for line in written(config)]
    place = ' barcode="CI022987" inspection=3 well="A1a" image=1 outcome='
    assert more[1:4] == [f'{place}"crystals harvestable"', f'{place}"withdrawn"', f'{place}"clear"']
    assert more[4] == ' verdict="approve" scores=[1]'
    at = datetime.strptime(LINE.fullmatch(written(config)[0])["at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)


def test_what_is_done_by_commands(config, score, system, monkeypatch, tmp_path):
    monkeypatch.setenv("LOGNAME", "carla")
    score({(1, 1): Outcome.CLEAR})
    system.ledger.decisions.add("r1", [{"score_id": 1, "inspect_id": 1, "action": "hold", "csv_row": "{}"}])
    for words, said in (
        (("user", "add", "ben", "--stdin"), f"{PASSWORD}\n"),
        (("user", "remove", "ben"), None),
        (("approve", "1", "--as", "anna"), None),
        (("export", "csv", str(tmp_path / "out.csv")), None),
        (("export-scored", str(tmp_path / "scored.csv")), None),
        (("viewer", "link"), None),
    ):
        done = CliRunner().invoke(main, ["--home", str(config.home), *words], input=said)
        assert done.exit_code == 0, done.output
    carlas = [("terminal", act, "ok", "carla") for act in ("export", "export", "link")]
    by_anna = ("terminal", "review", "ok", "anna")
    adds = [("terminal", act, "ok", "carla") for act in ("user-add", "user-remove")]
    assert told(config) == [*adds, by_anna, *carlas]
    assert written(config)[2].endswith(' verdict="approve" scores=[1] account="carla"')
    assert PASSWORD not in "".join(written(config))


def test_links_are_logged_without_their_codes(visit, config):
    client = visit()
    address = link(client.app)
    stranger = visit(address="10.0.0.9", app=client.app)
    stranger.get("/sign-in/link?code=guess")
    stranger.get(address)
    assert told(config)[-2:] == [("10.0.0.9", "sign-in", "refused", ""), ("10.0.0.9", "sign-in", "ok", "anna")]
    assert address.partition("=")[2] not in "".join(written(config)) and "guess" not in "".join(written(config))


def test_what_is_typed_for_a_name_that_nobody_has_is_not_written(ben, config):
    for name in (PASSWORD, "ben\n2026-11-29T16:12:01Z from=10.9.9.9 act=sign-in result=ok", "x" * 9000):
        ben.fill("/sign-in", "/sign-in", name=name, password="x")
    assert told(config)[1:] == [("10.1.1.7", "sign-in", "refused", "")] * 3
    assert PASSWORD not in "".join(written(config))


def test_foreign_text_stays_within_its_field(config):
    log = AccessLog(config)
    log.write("export", "ben", "10.1.1.7", barcode='x" act=sign-in\r\n2026 from=10.9.9.9\x1b[2J\u202e\udc80')
    (line,) = written(config)
    assert line.endswith(r'barcode="x\" act=sign-in\r\n2026 from=10.9.9.9\u001b[2J\u202e\\udc80"')


def test_the_log_is_private_rotated_and_has_an_end(tmp_path):
    config = from_string("[viewer]\naccess_log_mb = 1\naccess_log_files = 3", home=tmp_path)
    log = AccessLog(config)
    for n in range(60):
        log.write("export", "ben", "10.1.1.7", number=n, text="x" * 100_000)
    kept = sorted(tmp_path.glob("access*"))
    assert [path.name for path in kept] == ["access.log", "access.log.1", "access.log.2"]
    assert all(path.stat().st_size <= 10**6 and path.stat().st_mode & 0o777 == 0o600 for path in kept)
    numbers = [int(n) for path in reversed(kept) for n in re.findall(r"number=(\d+)", path.read_text())]
    assert numbers == list(range(60 - len(numbers), 60)) and len(numbers) > 18


def test_several_programs_write_at_once_and_no_line_is_lost(tmp_path):
    config = from_string("[viewer]\naccess_log_mb = 1\naccess_log_files = 50", home=tmp_path)
    logs = [AccessLog(config) for _ in range(3)]
    text = "x" * 20_000

    def write(log):
        for n in range(60):
            log.write("export", "ben", number=n, text=text)

    threads = [threading.Thread(target=write, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [line for path in tmp_path.glob("access*") for line in path.read_text().splitlines()]
    assert len(lines) == 180 and all(LINE.fullmatch(line) for line in lines)
    assert len(list(tmp_path.glob("access*"))) > 3


def test_strangers_cannot_push_out_what_people_did(config):
    log = AccessLog(config)
    for _ in range(2500):
        log.write("sign-in", "", "10.9.9.9", "refused")
        log.write("sign-in", "ben", "10.9.9.9", "delayed")
    log.write("score", "ben", "10.1.1.7")
    assert 100 <= len(written(config)) < 200 and told(config)[-1][1] == "score"
    log._budget = 1.0
    log.write("sign-in", "", "10.9.9.9", "refused")
    assert int(written(config)[-1].partition(" skipped=")[2]) + len(written(config)) == 5002


# ---- fail2ban


@pytest.fixture
def fail2ban(tmp_path):
    """``fail2ban(lines)``: the addresses that fail2ban finds with the filter of docs/viewer.md."""
    if not (program := shutil.which("fail2ban-regex")):
        missing("no fail2ban-regex on this machine; Debian: apt-get install fail2ban")
    page = (Path(__file__).parents[3] / "docs" / "viewer.md").read_text(encoding="utf-8")
    (tmp_path / "xtalgrid.conf").write_text(re.search(r"```ini\n(# /etc/fail2ban/filter.d.*?)```", page, re.DOTALL)[1])

    def find(lines):
        (tmp_path / "some.log").write_text("".join(f"{line}\n" for line in lines))
        command = [program, "--print-all-matched", "--out", "ip", tmp_path / "some.log", tmp_path / "xtalgrid.conf"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()

    return find


def test_fail2ban_finds_who_guesses_and_nobody_else(fail2ban, visit, people, config):
    client = visit(people, address=PROXY)

    def sign_in(address, name, password):
        client.headers["X-Forwarded-For"] = address
        return client.fill("/sign-in", "/sign-in", name=name, password=password).status_code

    for n in range(12):
        assert sign_in("10.66.6.6", "ben", f"guess {n}") in (403, 429)
    sign_in("2001:db8::66", "nobody", "guess")
    assert sign_in("10.1.1.7", "ben", PASSWORD) == 303
    sign_in("10.1.1.8", "10.2.2.2 from=10.3.3.3 act=sign-in result=refused", "x")
    AccessLog(config).write("export", "ben", "10.1.1.9", barcode='"\n from=10.4.4.4 act=sign-in result=refused who=""')
    found = fail2ban(written(config))
    assert found == ["10.66.6.6"] * 12 + ["2001:db8::66", "10.1.1.8"]
