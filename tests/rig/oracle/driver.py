"""A DB-API module that SQLAlchemy takes for python-oracledb, over H2 or HSQLDB in Oracle mode in this process.

SQLAlchemy's real Oracle dialect writes the statements. As on Oracle: ``''`` is NULL, sequences, ROWNUM, FETCH FIRST,
RETURNING INTO, NULL sorts highest, dates bound without a type lose their fractions, the version is what the test says.
HSQLDB also pads CHAR columns with blanks and compares them so. On H2, accounts have the grants they are given, and
EXPLAIN PLAN says which tables are read whole. Not as on Oracle: what an optimizer chooses, locking, the network.

Run pytest with ``-p no:faulthandler``: the Java machine uses the signals that faulthandler reports as crashes.
"""

from __future__ import annotations

import os
import re
import types
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jpype
import oracledb
from sqlalchemy.dialects.oracle.oracledb import OracleDialect_oracledb

ADMINISTRATOR, EXPIRED = "xg", "expired"
"""Account that may do everything, and one whose password has expired. H2 and HSQLDB know the others."""

JARS = {"h2": Path("/usr/share/java/h2.jar"), "hsqldb": Path("/usr/share/java/hsqldb.jar")}
"""Debian's libh2-java and libhsqldb-java."""

_OPTIONS = {
    "h2": "jdbc:h2:mem:{};MODE=Oracle;DATABASE_TO_UPPER=TRUE;DB_CLOSE_DELAY=-1;DEFAULT_NULL_ORDERING=HIGH",
    "hsqldb": "jdbc:hsqldb:mem:{};sql.syntax_ora=true;hsqldb.tx=mvcc;sql.pad_space=false",
}
_EXPLAIN = re.compile(r"EXPLAIN PLAN SET STATEMENT_ID = '(\w+)' FOR (.*)", re.DOTALL)
_BIND = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|:\"?(\w+)\"?")
_RETURNING = re.compile(r"\s+RETURNING\s+(.*?)\s+INTO\s+(.*)$", re.IGNORECASE | re.DOTALL)
_DEFINES = re.compile(r"\s*(CREATE|DROP|ALTER|GRANT|TRUNCATE)\b", re.IGNORECASE)
_NO_CONDITION = re.compile(r"\b(WHERE|ON|AND|OR|NOT) [01]\b(?! *[=<>])", re.IGNORECASE)
"""A number as a condition, which H2 and HSQLDB take and Oracle before 23 refuses."""
_NUMBERS = ("NUM", "DEC", "BIGINT", "INT", "SMALLINT", "TINYINT", "DOUBLE", "FLOAT", "REAL")


class Variable:
    """What `Cursor.var` returns: the place of a value that a statement returns, or the conversion of a column."""

    def __init__(self, kind: Any, size: int = 0, arraysize: int = 1, inconverter: Any = None, outconverter: Any = None):
        self.convert: Callable[[Any], Any] = outconverter or (lambda value: value)
        self.is_text = kind in (str, oracledb.STRING, oracledb.DB_TYPE_VARCHAR)
        self.values: list[Any] = [None] * arraysize

    def getvalue(self, position: int = 0) -> Any:
        """Return the values that the statement's row at this position gave."""
        return self.values[position]


class Cursor:
    """A cursor; each statement is read to its end at once."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.description: list[tuple[Any, ...]] | None = None
        self.rowcount, self.arraysize = -1, 100
        self.outputtypehandler: Any = None
        self._rows: list[tuple[Any, ...]] = []
        self._sizes: dict[str, Any] = {}

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.fetchone, None)  # type: ignore[arg-type]

    def close(self) -> None:
        self._rows = []

    def var(self, *arguments: Any, **named: Any) -> Variable:
        return Variable(*arguments, **named)

    def setinputsizes(self, **sizes: Any) -> None:
        self._sizes = sizes

    def execute(self, sql: str, parameters: Any = None) -> Cursor:
        return self._run(sql, [parameters or {}])

    def executemany(self, sql: str, parameters: Sequence[Any]) -> Cursor:
        return self._run(sql, parameters)

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        size = size or self.arraysize
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows, self._rows = self._rows, []
        return rows

    def _run(self, sql: str, parameters: Sequence[Any]) -> Cursor:
        if "sys_context" in sql.lower():  # the dialect asks for the schema
            self.description, self._rows = [_column("SCHEMA", "VARCHAR", 0, 0)], [("PUBLIC",)]
            return self
        text, columns, places = sql, [], []
        if (returning := _RETURNING.search(sql)) and not sql.lstrip().upper().startswith("SELECT"):
            columns = [name.split(".")[-1].strip(' "').upper() for name in returning[1].split(",")]
            places = [name.strip(" :") for name in returning[2].split(",")]
            text = sql[: returning.start()]
        if explained := _EXPLAIN.match(sql):
            return self._explain(*explained.groups())
        if _NO_CONDITION.search(sql):
            raise oracledb.DatabaseError(f"ORA-00920: invalid relational operator in: {sql}")
        names = [found[1] for found in _BIND.finditer(text) if found[1]]
        text = _BIND.sub(lambda found: "?" if found[1] else found[0], text)
        self.description, self.rowcount = None, 0
        try:
            java = self.connection.java
            statement = java.prepareStatement(text, columns) if columns else java.prepareStatement(text)
            for number, values in enumerate(parameters):
                for position, name in enumerate(names, 1):
                    value = (
                        values.get(name, values.get(f'"{name}"')) if isinstance(values, dict) else values[position - 1]
                    )
                    self._bind(statement, position, name, value)
                if statement.execute():
                    self._fetch(statement.getResultSet())
                    self.rowcount = len(self._rows)
                    continue
                self.rowcount += max(statement.getUpdateCount(), 0)
                if columns:
                    keys = list(_rows(statement.getGeneratedKeys(), len(columns)))
                    for index, name in enumerate(places):
                        place = values[name]
                        place.values[number] = [place.convert(row[index]) for row in keys]
            if _DEFINES.match(sql):
                java.commit()  # as on Oracle, data definition commits
        except jpype.JException as error:
            raise _error(error, text) from None
        finally:
            self._sizes = {}
        return self

    def _explain(self, name: str, sql: str) -> Cursor:
        """Fill PLAN_TABLE as Oracle does, as far as H2 tells how it reads tables."""
        self._run(f"EXPLAIN {sql}", [{}])
        ((plan,),) = self.fetchall()
        for table in re.findall(r"/\* \w+\.(\w+)\.tableScan \*/", plan):
            self._run(f"INSERT INTO PLAN_TABLE VALUES ('{name}', 'TABLE ACCESS', 'FULL', '{table}')", [{}])
        for index in re.findall(r"/\* \w+\.(\w+): ", plan):
            self._run(f"INSERT INTO PLAN_TABLE VALUES ('{name}', 'INDEX', 'RANGE SCAN', '{index}')", [{}])
        self.description = None
        return self

    def _bind(self, statement: Any, position: int, name: str, value: Any) -> None:
        if value is None or value == "":
            statement.setNull(position, jpype.JClass("java.sql.Types").VARCHAR)
        elif isinstance(value, int):
            statement.setLong(position, int(value))
        elif isinstance(value, float):
            statement.setDouble(position, value)
        elif isinstance(value, Decimal):
            statement.setBigDecimal(position, jpype.JClass("java.math.BigDecimal")(str(value)))
        elif isinstance(value, datetime):
            if self._sizes.get(name) is not oracledb.DB_TYPE_TIMESTAMP:
                value = value.replace(microsecond=0)  # bound as DATE
            text = value.strftime("%Y-%m-%d %H:%M:%S.%f")
            statement.setTimestamp(position, jpype.JClass("java.sql.Timestamp").valueOf(text))
        elif isinstance(value, str):
            statement.setString(position, value)
        else:
            raise oracledb.NotSupportedError(f"DPY-3002: Python value of type {type(value).__name__} is not supported")

    def _fetch(self, result: Any) -> None:
        meta = result.getMetaData()
        self.description, converters = [], []
        for index in range(1, meta.getColumnCount() + 1):
            kind, precision, scale = str(meta.getColumnTypeName(index)), meta.getPrecision(index), meta.getScale(index)
            column = _column(str(meta.getColumnLabel(index)), kind.upper(), precision, scale)
            self.description.append(column)
            handler = self.outputtypehandler or self.connection.outputtypehandler
            variable = handler(self, column[0], column[1], column[4], column[4], column[5]) if handler else None
            converters.append(_converter(column[1], variable))
        self._rows = [
            tuple(None if value is None else convert(value) for convert, value in zip(converters, row, strict=True))
            for row in _rows(result, len(converters))
        ]


class Connection:
    """A connection to an in-memory database, named by the DSN's service."""

    outputtypehandler = inputtypehandler = None
    thin, autocommit, call_timeout, stmtcachesize = True, False, 0, 20
    max_identifier_length = 128
    version = os.environ.get("XTALGRID_ORACLE_VERSION", "19.3.0.0.0")

    def __init__(self, dsn: str = "", user: str = "", password: str = "", **_: Any) -> None:
        engine = os.environ.get("XTALGRID_ORACLE_ENGINE", "h2")
        if not jpype.isJVMStarted():
            jars = [str(jar) for jar in JARS.values() if jar.is_file()]
            jpype.startJVM("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", classpath=jars)
        service = re.search(r"SERVICE_NAME=(\w+)", dsn, re.IGNORECASE)
        url = _OPTIONS[engine].format(service[1] if service else "xe")
        if user == EXPIRED:
            raise oracledb.DatabaseError("ORA-28001: the account has expired")
        self.username = user
        if user in ("", ADMINISTRATOR):
            account = "SA", ""
        else:
            account, url = (user.upper(), password), url.partition(";")[0]  # the first connection has set the options
        try:
            self.java = jpype.JClass("java.sql.DriverManager").getConnection(url, *account)
        except jpype.JException as error:
            raise oracledb.DatabaseError(f"ORA-01017: invalid credential or not authorized; {error}") from None
        self.java.setAutoCommit(False)

    def cursor(self, scrollable: bool = False) -> Cursor:
        return Cursor(self)

    def ping(self) -> None:
        pass

    def commit(self) -> None:
        self.java.commit()

    def rollback(self) -> None:
        self.java.rollback()

    def close(self) -> None:
        self.java.rollback()
        self.java.close()


def install() -> None:
    """Let SQLAlchemy use this module for ``oracle+oracledb://`` URLs in this process."""
    module = types.ModuleType("oracledb")
    vars(module).update({name: value for name, value in vars(oracledb).items() if not name.startswith("__")})
    vars(module).update(__version__=oracledb.__version__, Connection=Connection, Cursor=Cursor, connect=Connection)
    OracleDialect_oracledb.import_dbapi = classmethod(lambda _: module)
    describe("xg")


def describe(service: str) -> None:
    """Make Oracle's data dictionary in a database."""
    connection = Connection(f"SERVICE_NAME={service}")
    for statement in _DICTIONARY:
        connection.cursor().execute(statement)
    connection.close()


def _column(name: str, kind: str, precision: int, scale: int) -> tuple[Any, ...]:
    """Describe a column as python-oracledb does."""
    if kind.startswith(_NUMBERS):
        if kind.startswith(("DOUBLE", "FLOAT", "REAL")):
            precision, scale = 126, -127
        return name, oracledb.DB_TYPE_NUMBER, None, None, precision, scale, True
    if kind.startswith(("DATE", "TIMESTAMP")):
        return name, oracledb.DB_TYPE_TIMESTAMP if scale else oracledb.DB_TYPE_DATE, None, None, precision, scale, True
    text = oracledb.DB_TYPE_CHAR if kind in ("CHAR", "CHARACTER") else oracledb.DB_TYPE_VARCHAR
    return name, text, precision, precision, None, None, True


def _converter(kind: Any, variable: Variable | None) -> Callable[[Any], Any]:
    if kind is not oracledb.DB_TYPE_NUMBER:
        return variable.convert if variable else lambda value: value
    if variable and variable.is_text:
        return lambda value: variable.convert(str(_whole(value)))
    return lambda value: float(value) if isinstance(_whole(value), Decimal) else _whole(value)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else value


def _rows(result: Any, columns: int) -> Iterator[list[Any]]:
    while result.next():
        yield [_python(result.getObject(index)) for index in range(1, columns + 1)]


def _python(value: Any) -> Any:
    """Convert a value of Java."""
    match type(value).__name__:
        case "NoneType":
            return None
        case "java.math.BigDecimal":
            return Decimal(str(value.toPlainString()))
        case "java.lang.Long" | "java.lang.Integer" | "java.lang.Short" | "java.lang.Byte":
            return int(value)
        case "java.lang.Double" | "java.lang.Float":
            return float(value)
        case "java.sql.Timestamp":
            return datetime.fromisoformat(str(value.toLocalDateTime().toString())[:26])
        case _:
            return str(value)


def _error(error: Any, text: str) -> Exception:
    state, message = str(error.getSQLState()), str(error.getMessage()).partition("\n")[0]
    if state.startswith("23"):
        return oracledb.IntegrityError(f"ORA-00001: {message}")
    if state == "90096":  # Oracle says so where another right is there
        code = "ORA-00942" if text.lstrip().upper().startswith("SELECT") else "ORA-01031"
        return oracledb.DatabaseError(f"{code}: {message}")
    if state == "90154":
        return oracledb.DatabaseError(f"ORA-32795: {message}")
    if "not found" in message:
        code = "ORA-00904" if message.startswith("Column") else "ORA-02289" if "Sequence" in message else "ORA-00942"
        return oracledb.DatabaseError(f"{code}: {message}")
    if state.startswith("22"):
        return oracledb.DatabaseError(f"ORA-12899: {message}")
    return oracledb.DatabaseError(f"ORA-00900: {message} [{state}] in: {text}")


# What SQLAlchemy's inspector asks Oracle's data dictionary for, over the standard's.
_TYPE = """CASE WHEN DATA_TYPE LIKE 'TIMESTAMP%' THEN CAST('DATE' AS VARCHAR(20))
    WHEN DATA_TYPE = 'CHARACTER' THEN CAST('CHAR' AS VARCHAR(20))
    WHEN DATA_TYPE LIKE 'CHARACTER V%' THEN CAST('VARCHAR2' AS VARCHAR(20))
    WHEN DATA_TYPE LIKE 'DOUBLE%' THEN CAST('FLOAT' AS VARCHAR(20)) ELSE CAST('NUMBER' AS VARCHAR(20)) END DATA_TYPE"""
_DICTIONARY = (
    "CREATE VIEW ALL_TABLES AS SELECT TABLE_NAME, TABLE_SCHEMA OWNER FROM INFORMATION_SCHEMA.TABLES "
    "WHERE TABLE_TYPE = 'BASE TABLE'",
    "CREATE VIEW ALL_VIEWS AS SELECT TABLE_NAME VIEW_NAME, TABLE_SCHEMA OWNER FROM INFORMATION_SCHEMA.TABLES "
    "WHERE TABLE_TYPE = 'VIEW'",
    "CREATE VIEW ALL_SEQUENCES AS SELECT SEQUENCE_NAME, SEQUENCE_SCHEMA SEQUENCE_OWNER "
    "FROM INFORMATION_SCHEMA.SEQUENCES",
    f"""CREATE VIEW ALL_TAB_COLS AS SELECT TABLE_SCHEMA OWNER, TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION COLUMN_ID,
    {_TYPE}, CHARACTER_MAXIMUM_LENGTH CHAR_LENGTH, CHARACTER_MAXIMUM_LENGTH DATA_LENGTH,
    NUMERIC_PRECISION DATA_PRECISION, NUMERIC_SCALE DATA_SCALE,
    CASE WHEN IS_NULLABLE = 'YES' THEN CAST('Y' AS VARCHAR(1)) ELSE CAST('N' AS VARCHAR(1)) END NULLABLE,
    CAST(NULL AS VARCHAR(10)) DATA_DEFAULT, CAST('NO' AS VARCHAR(3)) VIRTUAL_COLUMN,
    CAST('NO' AS VARCHAR(3)) HIDDEN_COLUMN, 'NO' DEFAULT_ON_NULL FROM INFORMATION_SCHEMA.COLUMNS""",
    "CREATE TABLE ALL_SYNONYMS (OWNER VARCHAR2(30), SYNONYM_NAME VARCHAR2(30), TABLE_OWNER VARCHAR2(30), "
    "TABLE_NAME VARCHAR2(30))",
    "CREATE GLOBAL TEMPORARY TABLE PLAN_TABLE (STATEMENT_ID VARCHAR2(30), OPERATION VARCHAR2(30), "
    "OPTIONS VARCHAR2(30), OBJECT_NAME VARCHAR2(30))",
    "CREATE TABLE ALL_COL_COMMENTS (OWNER VARCHAR2(30), TABLE_NAME VARCHAR2(30), COLUMN_NAME VARCHAR2(30), "
    "COMMENTS VARCHAR2(30))",
    "CREATE TABLE ALL_TAB_IDENTITY_COLS (OWNER VARCHAR2(30), TABLE_NAME VARCHAR2(30), COLUMN_NAME VARCHAR2(30), "
    "GENERATION_TYPE VARCHAR2(30), IDENTITY_OPTIONS VARCHAR2(30))",
)
