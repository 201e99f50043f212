"""Read ``xtalgrid.toml``, check all of it, and report every mistake with its key in a single error.

Each section is a struct whose defaults work on a single machine: SQLite, the local grid, images under ``home``.
"""

from __future__ import annotations

import collections
import difflib
import ipaddress
import os
import tomllib
import zoneinfo
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from xtalgrid_core.chops import STRIDE, dense_step_error
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.frames import SUFFIX
from xtalgrid_core.outcomes import CLASSES, Group

from . import vendor
from .sections import FILE_NAME, SECTIONS, Alerts, Config, Imager, Viewer

_SECRET = ("url", "write_url", "database")
"""Keys whose values may contain a password and are never shown in messages."""


def load(file: Path | None = None, home: Path | None = None) -> Config:
    """Read the configuration.

    Parameters
    ----------
    file
        Default: the file named by ``XTALGRID_CONFIG``, else ``xtalgrid.toml`` in the working directory, else no file:
        all keys have their defaults.
    home
        Overrides ``home`` of the file. Default: ``XTALGRID_HOME``, else the file's, else ``xtalgrid-data`` in the
        working directory.

    Raises
    ------
    ConfigError
        If the file cannot be read or has mistakes; lists all of them, each with its key.
    """
    if file is None:
        named = os.environ.get("XTALGRID_CONFIG")
        file = Path(named) if named else Path(FILE_NAME)
        if not named and not file.is_file():
            return from_string("", home=home)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read {file}: {why}; `xtalgrid init FILE` writes one to start from") from error
    return from_string(text, file=file, home=home)


def from_string(text: str, *, file: Path | None = None, home: Path | None = None) -> Config:
    """Read the configuration from a string; see `load`."""
    where = str(file) if file else FILE_NAME
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}; correct that line, or the one before it") from error
    errors: list[str] = []
    named_home = home or os.environ.get("XTALGRID_HOME") or raw.pop("home", "xtalgrid-data")
    raw.pop("home", None)
    if not isinstance(named_home, str | Path):
        errors.append("home: expected a folder")
        named_home = "xtalgrid-data"
    sections: dict[str, Any] = {}
    for name, value in raw.items():
        if name not in SECTIONS:
            errors.append(f"{name}: unknown section{_did_you_mean(name, SECTIONS)}")
        elif not isinstance(value, dict):
            errors.append(f"{name}: expected a section, [{name}]")
        else:
            sections["import_" if name == "import" else name] = _section(SECTIONS[name], name, value, errors)
    config = Config(home=Path(named_home).expanduser().absolute(), file=file, **sections)
    errors.extend(_cross_checks(config))
    if errors:
        raise ConfigError(
            "\n".join(
                [
                    f"{where}: {len(errors)} {'error' if len(errors) == 1 else 'errors'}:",
                    *(f"  {error}" for error in errors),
                ]
            )
        )
    return config


def _section(kind: type[msgspec.Struct], name: str, values: dict[str, Any], errors: list[str]) -> msgspec.Struct:
    """Build a section from its valid keys, and append the mistakes in the others to `errors`."""
    fields = {item.name: item for item in msgspec.structs.fields(kind)}
    good: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            errors.append(f"{name}.{key}: unknown key{_did_you_mean(key, fields)}")
            continue
        try:
            good[key] = msgspec.convert(value, type=fields[key].type)
        except msgspec.ValidationError as error:
            shown = "" if key in _SECRET else f" (it is {value!r})"
            errors.append(f"{name}.{key}: {error}{shown}")
    return kind(**good)


def _cross_checks(config: Config) -> list[str]:
    errors = []
    try:
        zoneinfo.ZoneInfo(config.imager.time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        errors.append(f"imager.time_zone: unknown zone {config.imager.time_zone!r}; give one such as Europe/Berlin")
    outcomes = [str(outcome) for outcome in CLASSES]
    errors += _imager_checks(config.imager)
    errors += [
        f"imager.codes: unknown outcome {name!r}{_did_you_mean(name, outcomes)}"
        for name in config.imager.codes
        if name not in outcomes
    ]
    for rule in config.publish.hold:
        known = [*outcomes, *Group]
        if rule.outcome not in known:
            errors.append(
                f"publish.hold: unknown outcome or group {rule.outcome!r}{_did_you_mean(rule.outcome, known)}"
            )
    errors += _publish_checks(config)
    errors += _boinc_checks(config)
    errors += _alerts_checks(config.alerts)
    errors += _viewer_checks(config.viewer)
    if config.imager.folder:
        folder, root = Path(config.imager.folder).expanduser().absolute(), config.image_root.absolute()
        if folder.is_relative_to(root) or root.is_relative_to(folder):
            errors.append(f"imager.folder: {folder} and imager.image_root ({root}) must not contain each other")
    if config.work.mode == "dense" and config.work.step % STRIDE:
        errors.append(f'work.step: {dense_step_error(config.work.step)} (mode = "exact")')
    urls = (
        ("imager.url", config.imager_url),
        ("imager.write_url", config.imager.write_url),
        ("ledger.url", config.ledger_url),
    )
    for key, url in urls:
        if url and "://" not in url:
            errors.append(
                f"{key}: not a database URL; give one such as oracle+oracledb://user:password@host/?service_name=x"
            )
    return errors


def _imager_checks(imager: Imager) -> list[str]:
    """Find unknown tables and columns, names given twice, and keys that require another key."""
    errors = [
        f"imager.tables: unknown table {key!r}{_did_you_mean(key, vendor.TABLES)}"
        for key in imager.tables
        if key not in vendor.TABLES
    ]
    for table, columns in imager.columns.items():
        if table not in vendor.TABLES:
            errors.append(f"imager.columns: unknown table {table!r}{_did_you_mean(table, vendor.TABLES)}")
            continue
        known = vendor.columns(table)
        errors += [
            f"imager.columns.{table}: unknown column {key!r}{_did_you_mean(key, known)}"
            for key in columns
            if key not in known
        ]
        errors += _twice(f"imager.columns.{table}", {key: columns.get(key, key) for key in known})
    errors += _twice("imager.tables", {key: imager.tables.get(key, name) for key, (name, _) in vendor.TABLES.items()})
    if not imager.url:
        needless = ("write_url", "password_file", "write_password_file")
        errors += [f"imager.{key}: needs imager.url, which is not set" for key in needless if getattr(imager, key)]
    elif imager.folder:
        errors.append(
            "imager.folder: its images go into the embedded database, but imager.url is set; remove one of them"
        )
    if imager.write_password_file and not imager.write_url:
        errors.append("imager.write_password_file: needs imager.write_url, which is not set")
    return errors


def _twice(key: str, names: dict[str, str]) -> list[str]:
    """Find names used for more than one table or column."""
    count = collections.Counter(name.lower() for name in names.values())
    return [f"{key}: {name.upper()!r} is used twice" for name, number in count.items() if number > 1]


def _publish_checks(config: Config) -> list[str]:
    publish, name, errors = config.publish, f"RMM3_RDI{SUFFIX}", []
    if publish.image_rows and not any(fnmatchcase(name, pattern) for pattern in config.imager.exclude):
        errors.append(f'imager.exclude: framed images would be scored again; add "*{Path(SUFFIX).stem}.*"')
    if publish.image_rows and publish.frames_days:
        errors.append("publish.frames_days: the imager database would list deleted framed images; set it to 0")
    return errors


def _boinc_checks(config: Config) -> list[str]:
    """Find settings that BOINC's tools would reject, or with which units would never finish."""
    boinc, errors = config.boinc, []
    if config.grid.kind == "boinc" and not boinc.project:
        errors.append('boinc.project: not set, but grid.kind is "boinc"; give the folder of the BOINC project')
    if boinc.max_errors > boinc.max_results:
        errors.append(f"boinc.max_errors: {boinc.max_errors} is more than boinc.max_results, {boinc.max_results}")
    if max(boinc.quorum, 2) > boinc.max_results:
        errors.append(f"boinc.max_results: {boinc.max_results} is less than the number of hosts that a check needs")
    return errors


def _viewer_checks(viewer: Viewer) -> list[str]:
    errors = []
    if viewer.sign_in == "proxy" and not viewer.trusted_proxies:
        errors.append(
            'viewer.trusted_proxies: empty, although viewer.sign_in is "proxy"; give the web server\'s address'
        )
    for key, addresses in (("trusted_proxies", viewer.trusted_proxies), ("metrics_from", viewer.metrics_from)):
        for address in addresses:
            try:
                ipaddress.ip_network(address, strict=False)
            except ValueError:
                errors.append(f"viewer.{key}: {address!r} is not an address or network like 10.0.0.5 or 10.0.0.0/24")
    return errors


def _alerts_checks(alerts: Alerts) -> list[str]:
    """Find settings with which no mail could be sent."""
    if not alerts.smtp_host:
        return []
    errors = [
        f"alerts.{key}: not set, but alerts.smtp_host is; {why}"
        for key, value, why in (
            ("sender", alerts.sender, "give the address that mail comes from"),
            ("recipients", alerts.recipients, "give the addresses that mail goes to"),
        )
        if not value
    ]
    if bool(alerts.user) != bool(alerts.password_file):
        errors.append("alerts.user and alerts.password_file: set both or neither")
    if alerts.user and not alerts.starttls:
        errors.append("alerts.starttls: a password is not sent in the clear; set it to true, or remove alerts.user")
    addresses = [("sender", alerts.sender), *(("recipients", address) for address in alerts.recipients)]
    errors += [
        f"alerts.{key}: {address!r} is not a mail address"
        for key, address in addresses
        if address and (address.count("@") != 1 or not address.isprintable() or " " in address)
    ]
    return errors


def _did_you_mean(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, [str(item) for item in known], n=1)
    return f"; did you mean {close[0]}?" if close else ""
