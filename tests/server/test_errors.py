"""What a user is told when something is wrong: one message, an exit code, no traceback."""

from __future__ import annotations

import errno
import os
import re
import resource
import socket
import sqlite3
import sys
from contextlib import closing, contextmanager

import filelock
import msgspec
import pytest
from click.testing import CliRunner

from xtalgrid_core.errors import ConfigError, LedgerError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string
from xtalgrid_server.steps.step import step
from xtalgrid_server.steps.system import System
from xtalgrid_server.storage.engines import open_engine, place, sqlite_remedy


@pytest.fixture
def say(tmp_path):
    def call(*words: object) -> str:
        done = CliRunner().invoke(main, ["--home", str(tmp_path), *map(str, words)])
        assert done.exit_code == 2, done.output
        assert "Traceback" not in done.output
        return done.output

    return call


def test_a_ledger_of_a_newer_xtalgrid_is_left_alone(tmp_path, say):
    assert CliRunner().invoke(main, ["--home", str(tmp_path), "status"]).exit_code == 0
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        ledger.execute("update alembic_version set version_num = '9999'")
    ledger.close()
    assert f"{tmp_path}/ledger.db) was written by a newer version of xtalgrid" in say("status")


def test_a_ledger_of_another_imager_is_left_alone(system, score):
    """Its units would be lost: their images lie under another image root."""
    score({(1, 1): Outcome.CLEAR})
    for source in ("another", "zz"):
        imager = msgspec.structs.replace(system.config.imager, source=source)
        with pytest.raises(
            LedgerError, match=f'imager "crystaltrak", and imager.source is "{source}": set imager.source'
        ):
            System(msgspec.structs.replace(system.config, imager=imager))
    with System(system.config) as again:
        assert len(again.ledger.images.of_plate("CI022987")) == 1


def test_a_damaged_ledger_is_named(tmp_path, say):
    (tmp_path / "ledger.db").write_bytes(b"no database at all")
    assert f"{tmp_path}/ledger.db): file is not a database; the file is damaged; restore it" in say("status")


def test_a_ledger_that_may_not_be_written_is_not_taken_for_a_full_disk(tmp_path, say):
    assert CliRunner().invoke(main, ["--home", str(tmp_path), "status"]).exit_code == 0
    (tmp_path / "x.toml").write_text(f'[ledger]\nurl = "sqlite:///file:{tmp_path}/ledger.db?mode=ro&uri=true"\n')
    said = say("--config", tmp_path / "x.toml", "pause")
    assert "attempt to write a readonly database; let this account write the file and its folder" in said


def test_a_file_that_another_program_holds_is_not_taken_for_a_full_disk(tmp_path):
    file = tmp_path / "ledger.db"
    with closing(sqlite3.connect(file)) as backup, closing(sqlite3.connect(file, timeout=0)) as ours:
        backup.execute("begin exclusive")
        with pytest.raises(sqlite3.OperationalError) as caught:
            ours.execute("begin immediate")
    assert "another program holds the file" in sqlite_remedy(str(caught.value))


@pytest.fixture
def full_disk():
    """Nothing can be written to a file until the block ends."""

    @contextmanager
    def limited():
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.mark.parametrize("words", [["init", "x.toml"], ["viewer", "metrics-token"]])
def test_a_full_disk_leaves_no_half_of_a_file_that_would_be_used(tmp_path, say, full_disk, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    with full_disk():
        said = say(*words)
    assert "File too large" in said
    assert not list(tmp_path.iterdir())
    assert CliRunner().invoke(main, ["--home", str(tmp_path), *words]).exit_code == 0
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size >= 32


def test_what_sqlite_calls_an_error_of_the_disk_may_be_a_full_one(tmp_path, full_disk):
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger:
        ledger.execute("create table a (b)")
        with full_disk(), pytest.raises(sqlite3.OperationalError) as caught:
            ledger.execute("insert into a values (1)")
            ledger.commit()
    assert str(caught.value) in ("disk I/O error", "database or disk is full")
    assert "free some disk space" in sqlite_remedy(str(caught.value))


def test_a_home_that_is_a_file_is_named(tmp_path):
    (tmp_path / "home").write_text("mine")
    done = CliRunner().invoke(main, ["--home", str(tmp_path / "home"), "status"])
    assert (done.exit_code, "home is a file; choose a folder" in done.output) == (2, True)


@pytest.mark.parametrize("toml", ['home = "~nobody-here/x"', "[imager]\nfolder = '~nobody-here/x'"])
def test_a_home_folder_that_no_account_has_is_one_message(tmp_path, toml):
    (tmp_path / "x.toml").write_text(toml)
    said = CliRunner().invoke(main, ["--config", str(tmp_path / "x.toml"), "status"])
    assert (said.exit_code, "write the whole path" in said.output) == (2, True)


def test_a_port_that_is_taken_is_said_before_the_greeting(say):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = say("serve", "--port", port)
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in said
    assert "http://" not in said


def test_a_plate_and_a_well_that_are_not_there(tmp_path, say):
    assert "check the barcode" in say("explain", "NOPE", "A1")
    done = CliRunner().invoke(main, ["--home", str(tmp_path), "create_work", "--barcode", "NOPE"])
    assert "plate NOPE: no image matches imager.patterns; is the barcode right?" in done.output


def test_a_file_that_cannot_be_written_is_named_without_its_temporary_name(tmp_path, say):
    assert f"cannot write {tmp_path}/nowhere/out.json: No such file" in say(
        "export", "coco", tmp_path / "nowhere" / "out.json"
    )


def test_a_missing_driver_is_named_with_the_command_that_adds_it(monkeypatch):
    for driver in ("psycopg", "MySQLdb"):
        monkeypatch.setitem(sys.modules, driver, None)
    added = re.escape(f"{sys.executable} -m pip install 'xtalgrid[postgres]'")
    with pytest.raises(ConfigError, match=f"ledger.url: the driver psycopg is not installed; add it by: {added}$"):
        open_engine("postgresql+psycopg://host/x", "ledger.url")
    with pytest.raises(ConfigError, match=r"mysql:// is not supported; use .*mysql\+pymysql://"):
        open_engine("mysql://host/x", "ledger.url")  # SQLAlchemy takes MySQLdb, for which we have no extra


def test_a_database_is_named_without_its_account_and_password():
    with pytest.raises(ConfigError, match=r"imager.url: mysql\+none:// is not supported"):
        open_engine("mysql+none://reader:secret@host/x", "imager.url")
    engine = open_engine("postgresql+psycopg://reader:secret@host:5433/x", "imager.url")
    assert place(engine.url) == "postgresql at host:5433"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "run this as the account that owns it"),
        (errno.ENOSPC, "free some disk space"),
        (errno.ENOLCK, "check the disk, or the share"),
        (errno.EROFS, "check the disk, or the share"),
    ],
)
def test_a_lock_that_cannot_be_taken_names_the_remedy(tmp_path, monkeypatch, number, remedy):
    def refuse(lock):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(ConfigError, match=remedy), step(from_string("", home=tmp_path / "home"), "finalizer"):
        pass
