"""How the imager database is reached: accounts, passwords, and what is said when it does not answer."""

from __future__ import annotations

import itertools
import socket
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from xtalgrid_core.errors import ConfigError, ImagerError
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import Moment
from xtalgrid_server.imager.crystaltrak.database import ImagerDatabase
from xtalgrid_server.storage.engines import (
    Access,
    _limit_calls,
    is_gone,
    open_engine,
    password_variable,
    patiently,
    place,
)

SECRET = "tiger-7Q"


@pytest.fixture
def closed_port():
    with socket.socket() as held:  # bound and not listening: nobody else takes it meanwhile
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_password_from_a_file_or_the_environment(tmp_path, monkeypatch):
    pytest.importorskip("oracledb")
    url = "oracle+oracledb://writer@127.0.0.1:1521/?service_name=xtal"
    (tmp_path / "secret").write_text(SECRET + "\n")
    engine = open_engine(url, "imager.write_url", Access(password_file=str(tmp_path / "secret")))
    assert engine.url.password == SECRET
    assert SECRET not in repr(engine)
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbf" + SECRET.encode() + b"\r\n")  # as Windows' editors save it
    engine = open_engine(url, "imager.write_url", Access(password_file=str(tmp_path / "secret")))
    assert engine.url.password == SECRET
    assert password_variable("ledger.url") == "XTALGRID_LEDGER_PASSWORD"
    monkeypatch.setenv("XTALGRID_IMAGER_WRITE_PASSWORD", SECRET)
    assert open_engine(url, "imager.write_url").url.password == SECRET
    assert open_engine(url.replace("@", ":own@"), "imager.write_url").url.password == "own"
    assert open_engine(url, "imager.url").url.password is None


def test_a_passwords_file_that_cannot_be_used(tmp_path):
    url = "oracle+oracledb://reader@127.0.0.1:1521/?service_name=xtal"
    with pytest.raises(ConfigError, match=r"imager\.password_file: cannot read .*nowhere"):
        open_engine(url, "imager.url", Access(password_file=str(tmp_path / "nowhere")))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match=r"imager\.password_file: .* must contain the password"):
        open_engine(url, "imager.url", Access(password_file=str(tmp_path / "empty")))
    with pytest.raises(ConfigError, match=r"imager\.password_file: the URL has a password too") as caught:
        open_engine(url.replace("@", f":{SECRET}@"), "imager.url", Access(password_file=str(tmp_path / "empty")))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("driver", "place"), [("oracle+oracledb", "/?service_name=xtal"), ("postgresql+psycopg", "/xtal")]
)
def test_a_server_that_is_not_there_is_asked_again_and_no_secret_is_told(driver, place, closed_port, tmp_path, caplog):
    pytest.importorskip(driver.partition("+")[2])
    url = f"{driver}://reader:{SECRET}@127.0.0.1:{closed_port}{place}"
    database = ImagerDatabase(from_string(f'[imager]\nurl = "{url}"\nretry_s = 0.8\n', home=tmp_path))
    with pytest.raises(ImagerError, match=r"check imager\.url") as caught:
        list(database.newest_first(None, None))
    with pytest.raises(ImagerError), database.writing():
        pass
    database.close()
    assert caplog.text.count("retrying in 0.5 s") == 2
    assert SECRET not in caplog.text + str(caught.value)


def test_which_errors_are_worth_asking_again():
    for words, gone in (
        ("ORA-01017: invalid username/password; logon denied", False),
        ("ORA-00942: table or view does not exist", False),
        ("ORA-12541: TNS:no listener", True),
        ("ORA-00018: maximum number of sessions exceeded", True),
        ("ORA-12526: TNS:listener: all appropriate instances are in restricted mode", True),
        ("ORA-28001: the password has expired", False),
        ("DPY-4033: the database closed the connection because the connection's idle time has been exceeded", True),
        ("DPY-6005: cannot connect to database.\n[Errno 111] Connection refused", True),
        (
            "DPY-6005: cannot connect to database.\nDPY-3001: Native Network Encryption is only supported in thick mode",
            False,
        ),
        ("DPY-6005: cannot connect to database.\n[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", False),
        ("DPY-6000: Listener refused connection. (Similar to ORA-12660)", False),
        ("DPY-6001: Service x is not registered with the listener", True),
        ("connection failed: FATAL:  password authentication failed", False),
        ("connection failed: FATAL:  the database system is starting up", True),
        ("no such table: i_images", False),
    ):
        assert is_gone(sa.exc.OperationalError("SELECT 1", {}, Exception(words))) is gone, words


def test_every_error_that_python_oracledb_calls_recoverable_is_worth_asking_again():
    errors = pytest.importorskip("oracledb.errors")
    closed = {code for code, number in errors.ERR_ORACLE_ERROR_XREF.items() if number == errors.ERR_CONNECTION_CLOSED}
    odd = {378, 1043, 16456}  # memory of the client, a wrong parameter
    for code in (closed | set(errors.ERR_RECOVERABLE_ERROR_CODES)) - odd:
        assert is_gone(sa.exc.DatabaseError("SELECT 1", {}, Exception(f"ORA-{code:05}: it happened"))), code


@pytest.mark.parametrize(
    "password", ["pa/ss", "p:ss", "a#b", "a?b", "p%ss", "[x]", "a b", "p&q=r", "pä", "a\\b", "p@ss", "@@", "%41"]
)
def test_any_password_works_from_its_file(tmp_path, password):
    pytest.importorskip("oracledb")
    (tmp_path / "secret").write_text(password + "\n", encoding="utf-8")
    url = "oracle+oracledb://reader@host:1521/?service_name=xtal"
    engine = open_engine(url, "imager.url", Access(password_file=str(tmp_path / "secret")))
    arguments = engine.dialect.create_connect_args(engine.url)[1]
    assert (arguments["user"], arguments["password"]) == ("reader", password)


def test_urls_that_would_mean_something_else_are_refused():
    pytest.importorskip("oracledb")
    with pytest.raises(ConfigError, match=r"imager\.write_url: the password contains @.*imager\.write_password_file"):
        open_engine(f"oracle+oracledb://reader:{SECRET}@x@host/?service_name=x", "imager.write_url")
    with pytest.raises(ConfigError, match=r"write oracle\+oracledb://user@/\?dsn=tcps://"):
        open_engine("oracle+oracledb://reader@host:2484/?service_name=x&protocol=tcps", "imager.url")


@pytest.mark.parametrize(
    ("url", "dsn", "where"),
    [
        ("oracle+oracledb://r@xtalprod", "xtalprod", "oracle at xtalprod"),
        ("oracle+oracledb://r@/?dsn=tcps://db1:2484/xtal", "tcps://db1:2484/xtal", "oracle at db1"),
        (
            "oracle+oracledb://r@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=db2)(PORT=1521)))",
            "(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=db2)(PORT=1521)))",
            "oracle at db2",
        ),
        ("oracle+oracledb://r@xtal?config_dir=/etc/oracle&wallet_location=/w", "xtal", "oracle at xtal"),
    ],
)
def test_aliases_descriptors_and_tcps_reach_the_driver(url, dsn, where):
    pytest.importorskip("oracledb")
    engine = open_engine(url, "imager.url")
    assert engine.dialect.create_connect_args(engine.url)[1]["dsn"] == dsn
    assert place(engine.url) == where


class OldClient:
    """What python-oracledb's connection does over client libraries before 18."""

    @property
    def call_timeout(self):
        raise AssertionError

    @call_timeout.setter
    def call_timeout(self, _):
        raise RuntimeError("DPI-1050: Oracle Client library is at version 12.2 but version 18.1 or higher is needed")


def test_client_libraries_before_18_connect_without_a_limit_for_statements(caplog):
    _limit_calls(OldClient(), 1000)
    assert "imager.statement_timeout_s has no effect" in caplog.text


@pytest.fixture
def clock(monkeypatch):
    """A clock that only waiting moves, as a list of the waits."""
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setattr("time.monotonic", lambda: 1000.0 + sum(waits))
    return waits


def _database(answers):
    """A database that gives these answers, one each time it is asked; errors are raised."""

    def work():
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return work


AWAY = sa.exc.OperationalError("SELECT 1", {}, Exception("ORA-12541: TNS:no listener"))
WRONG = sa.exc.OperationalError("SELECT 1", {}, Exception("ORA-00942: table or view does not exist"))


def test_pauses_double_up_to_15_seconds_and_end_before_the_patience_does(clock, caplog):
    with pytest.raises(sa.exc.OperationalError, match="ORA-12541") as caught:
        patiently(_database(itertools.repeat(AWAY)), 60.0, "the imager database")
    assert caught.value is AWAY
    told = [0.5, 1.0, 2.0, 4.0, 8.0, *[15.0] * (len(clock) - 5)]
    assert [record.getMessage() for record in caplog.records] == [
        f"the imager database is unavailable (ORA-12541: TNS:no listener); retrying in {pause} s" for pause in told
    ]
    assert all(0.7 * pause <= wait <= pause for pause, wait in zip(told, clock, strict=True))
    assert 45 < sum(clock) < 60


def test_only_a_database_that_is_away_is_asked_again(clock, caplog):
    assert patiently(_database(iter([AWAY, "a row"])), 60.0, "the imager database") == "a row"
    assert len(clock) == len(caplog.records) == 1
    for error in (WRONG, ImagerError("refused"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            patiently(_database(iter([AWAY, error])), 60.0, "the imager database")
        assert caught.value is error
    assert len(clock) == 4
    with pytest.raises(sa.exc.OperationalError):
        patiently(_database(iter([AWAY])), 0.0, "the imager database")
    assert len(clock) == 4


def test_client_libraries_that_are_not_there(tmp_path):
    pytest.importorskip("oracledb")
    with pytest.raises(ConfigError, match=r"imager\.oracle_client: DPI-1047.*libclntsh"):
        open_engine("oracle+oracledb://u:p@h/?service_name=x", "imager.url", Access(oracle_client=str(tmp_path)))


def test_reading_and_writing_are_two_accounts(tmp_path):
    for name in ("reader", "writer"):
        ImagerDatabase(from_string("", home=tmp_path / name)).close()
    toml = f'[imager]\nurl = "sqlite:///{tmp_path}/reader/imager.db"\nwrite_url = "sqlite:///{tmp_path}/writer/imager.db"\n'
    database = ImagerDatabase(from_string(toml, home=tmp_path))
    with database.writing() as writer:
        writer.insert(1, "13", datetime(2012, 11, 21), "jdoe", "")
    database.close()
    rows = {}
    for name in ("reader", "writer"):
        engine = sa.create_engine(f"sqlite:///{tmp_path}/{name}/imager.db")
        with engine.connect() as connection:
            rows[name] = connection.exec_driver_sql("SELECT count(*) FROM i_scores").scalar()
        engine.dispose()
    assert rows == {"reader": 0, "writer": 1}


def test_what_does_not_fit_its_column_is_refused_before_it_is_sent(system):
    too_long = pytest.raises(ImagerError, match=r"I_SCORES\.SCOREDBY holds 30 bytes, but 'é+' has 32")
    with too_long, system.imager.writing() as writer:
        writer.insert(1, "13", datetime(2012, 11, 21), "jdoe", "")
        writer.insert(1, "13", datetime(2012, 11, 21), "é" * 16, "")
    with pytest.raises(ImagerError, match=r"naive dates of imager\.time_zone"), system.imager.writing() as writer:
        writer.insert(1, "13", datetime(2012, 11, 21, tzinfo=UTC), "jdoe", "")
    with system.imager.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(system.imager.tables.scores)) == 0
    with system.imager.writing() as writer:
        writer.insert(1, "13", datetime(2012, 11, 21, 1, 2, 3, 456), "jdoe", "")
    with system.imager.reading() as connection:
        row = connection.execute(system.imager.tables.scores.select()).one()
    assert (row.imagename, row.scoredate) == (None, datetime(2012, 11, 21, 1, 2, 3))


def test_an_index_on_the_date_bounds_what_a_page_reads(system):
    bounds = system.imager.select_images(Moment(datetime(2012, 1, 1), 5), Moment(datetime(2013, 1, 1), 7)).limit(1000)
    with system.imager.reading() as connection:
        words = bounds.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        plan = [row.detail for row in connection.execute(sa.text(f"EXPLAIN QUERY PLAN {words}"))]
    assert "SEARCH i_inspections USING INDEX ix_i_inspections_inspectdate (inspectdate>? AND inspectdate<?)" in plan
    assert not any(step.startswith("SCAN") for step in plan), plan
