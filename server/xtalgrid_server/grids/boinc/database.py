"""Read the BOINC project's database: which work units it has, and what became of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from xtalgrid_core import wire
from xtalgrid_core.errors import GridError

from ...config import Config
from ...storage.engines import chunks, open_engine, reading, short_reason
from . import tables as t
from .project import Project
from .states import ASSIMILATED, ResultOutcome, ServerState, ValidateState


@dataclass(frozen=True, slots=True)
class Counts:
    """How many instances and work units are where."""

    unsent: int
    in_progress: int
    overdue: int
    to_validate: int
    to_assimilate: int
    in_error: int


@dataclass(frozen=True, slots=True)
class HostAccount:
    """What one host did, as far as BOINC still has it. `seen` is in seconds since 1970."""

    id: int
    name: str
    system: str
    seen: int
    valid: int
    invalid: int
    errors: int
    in_progress: int


@dataclass(frozen=True, slots=True)
class AppVersion:
    """A registered app version, by the name of its folder, such as 102.3. Clients refuse one that is not signed."""

    name: str
    platform: str
    is_signed: bool


class BoincDatabase:
    """The project's database, opened for reading; all its errors become `GridError`."""

    def __init__(self, config: Config, project: Project) -> None:
        url = config.boinc.database or project.database_url().render_as_string(hide_password=False)
        self._engine = open_engine(url, "boinc.database")
        self._app = config.boinc.app

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def known(self, names: Sequence[str]) -> set[str]:
        """Return which of these work units exist."""
        known: set[str] = set()
        with self._reading() as connection:
            for part in chunks(names):
                known.update(connection.scalars(sa.select(t.workunits.c.name).where(t.workunits.c.name.in_(part))))
        return known

    def name_of(self, workunit_id: int) -> str | None:
        """Return the name of a work unit, or None if it no longer exists."""
        with self._reading() as connection:
            return connection.scalar(sa.select(t.workunits.c.name).where(t.workunits.c.id == workunit_id))

    def assimilated(self) -> set[str]:
        """Return the names of the work units that BOINC is done with and has not purged yet."""
        statement = sa.select(t.workunits.c.name).where(
            t.workunits.c.appid == self._appid(), t.workunits.c.assimilate_state == ASSIMILATED
        )
        with self._reading() as connection:
            return set(connection.scalars(statement))

    def counts(self, now: float) -> Counts:
        """Count instances and work units by where they are; `now` is in seconds since 1970."""
        units, results, app = t.workunits.c, t.results.c, self._appid()
        with self._reading() as connection:

            def count(table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
                return connection.scalar(sa.select(sa.func.count()).select_from(table).where(*where)) or 0

            at_work = (results.appid == app, results.server_state == ServerState.IN_PROGRESS)
            return Counts(
                unsent=count(t.results, results.appid == app, results.server_state == ServerState.UNSENT),
                in_progress=count(t.results, *at_work),
                overdue=count(t.results, *at_work, results.report_deadline < now),
                to_validate=count(t.workunits, units.appid == app, units.need_validate == 1),
                to_assimilate=count(t.workunits, units.appid == app, units.assimilate_state == 1),
                in_error=count(t.workunits, units.appid == app, units.error_mask != 0),
            )

    def hosts(self) -> list[HostAccount]:
        """Return the hosts that were sent work, those with invalid results and errors first."""
        results, hosts = t.results.c, t.hosts.c

        def total(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
            return sa.func.sum(sa.case((condition, 1), else_=0))

        refused = sa.and_(  # BOINC also calls results with client errors invalid
            results.outcome == ResultOutcome.SUCCESS, results.validate_state == ValidateState.INVALID
        )
        bad = total(sa.or_(refused, results.outcome == ResultOutcome.VALIDATE_ERROR)).label("bad")
        errors = total(results.outcome.in_([ResultOutcome.CLIENT_ERROR, ResultOutcome.NO_REPLY])).label("errors")
        statement = (
            sa.select(
                hosts.id,
                hosts.domain_name,
                hosts.os_name,
                hosts.rpc_time,
                total(results.validate_state == ValidateState.VALID).label("valid"),
                bad,
                errors,
                total(results.server_state == ServerState.IN_PROGRESS).label("at_work"),
            )
            .join(t.results, results.hostid == hosts.id)
            .where(results.appid == self._appid())
            .group_by(hosts.id, hosts.domain_name, hosts.os_name, hosts.rpc_time)
            .order_by(bad.desc(), errors.desc(), hosts.id)
        )
        with self._reading() as connection:
            return [
                HostAccount(
                    row.id,
                    wire.short_text(row.domain_name or "?"),  # text from a stranger's client
                    wire.short_text(row.os_name or "?"),
                    row.rpc_time,
                    int(row.valid),
                    int(row.bad),
                    int(row.errors),
                    int(row.at_work),
                )
                for row in connection.execute(statement)
            ]

    def app_versions(self) -> list[AppVersion]:
        """Return the registered app versions that are not deprecated, the newest first."""
        versions = t.app_versions.c
        statement = (
            sa.select(versions.version_num, t.platforms.c.name, versions.xml_doc)
            .join(t.platforms, t.platforms.c.id == versions.platformid)
            .where(versions.appid == self._appid(), versions.deprecated == 0)
            .order_by(versions.version_num.desc(), t.platforms.c.name)
        )
        with self._reading() as connection:
            return [
                AppVersion(
                    f"{row.version_num // 100}.{row.version_num % 100}", row.name, _is_signed(row.xml_doc or b"")
                )
                for row in connection.execute(statement)
            ]

    def failures_of(self, name: str) -> str:
        """Describe in a line how a work unit's instances ended: ``2 client error (exit 195: …), 1 no reply``."""
        statement = (
            sa.select(t.results.c.outcome, t.results.c.exit_status, t.results.c.stderr_out, t.results.c.validate_state)
            .join(t.workunits, t.workunits.c.id == t.results.c.workunitid)
            .where(t.workunits.c.name == name, t.results.c.server_state == ServerState.OVER)
            .order_by(t.results.c.id)
        )
        kinds: dict[str, int] = {}
        with self._reading() as connection:
            for row in connection.execute(statement):
                kind = _how_it_ended(row.outcome, row.exit_status, row.stderr_out, row.validate_state)
                kinds[kind] = kinds.get(kind, 0) + 1
        return ", ".join(f"{number} {kind}" for kind, number in kinds.items())

    def _appid(self) -> int:
        with self._reading() as connection:
            app_id = connection.scalar(sa.select(t.apps.c.id).where(t.apps.c.name == self._app))
        if app_id is None:
            raise GridError(f"the BOINC project has no application {self._app!r}; run its bin/xadd (docs/boinc.md)")
        return int(app_id)

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with reading(self._engine) as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise GridError(
                f"the BOINC project's database: {short_reason(error)}; check that it is up, and db_host, db_user and "
                "db_passwd in config.xml"
            ) from error


def _is_signed(xml_doc: bytes | str) -> bool:
    """Tell whether all files of an app version's description have signatures: BOINC registers empty ones, too."""
    text = xml_doc.decode(errors="replace") if isinstance(xml_doc, bytes) else xml_doc
    files = re.findall(r"<file_info>(.*?)</file_info>", text, re.DOTALL)
    return bool(files) and all(re.search(r"<file_signature>\s*[0-9a-f]", file) for file in files)


def _how_it_ended(outcome: int, exit_status: int, stderr: bytes | str | None, validity: int) -> str:
    if outcome == ResultOutcome.SUCCESS:
        return ValidateState(validity).name.lower().replace("_", " ") if validity in list(ValidateState) else "success"
    is_known = outcome in list(ResultOutcome)
    name = ResultOutcome(outcome).name.lower().replace("_", " ") if is_known else f"outcome {outcome}"
    if outcome == ResultOutcome.CLIENT_ERROR:
        name += f" (exit {exit_status}{_last_line(stderr)})"
    return name


def _last_line(stderr: bytes | str | None) -> str:
    """Format the last line of a worker's output, from BOINC's ``… <stderr_txt>…</stderr_txt> …``."""
    text = stderr.decode(errors="replace") if isinstance(stderr, bytes) else stderr or ""
    match = re.search(r"<stderr_txt>(.*)</stderr_txt>", text, re.DOTALL)
    lines = [line.strip() for line in (match[1] if match else "").splitlines() if line.strip()]
    return f": {wire.short_text(lines[-1])[:120]}" if lines else ""
