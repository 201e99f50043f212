"""Checks of a configuration that its sections' types cannot make: names, keys that need others, contradictions."""

from __future__ import annotations

import collections
import difflib
import ipaddress
import re
import zoneinfo
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from operator import attrgetter
from pathlib import Path
from typing import Any

from xtalgrid_core.chops import STRIDE, dense_step_error
from xtalgrid_core.frames import SUFFIX
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome

from ..domain.words import SCORE_COLUMNS, configured, names_known
from . import vendor
from .sections import Config, UndecidedBelow, Viewer, Webhooks, Work

_HOST = re.compile(r"[\w.-]+", re.ASCII)
_HOST_AND_PORT = re.compile(r"([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?", re.ASCII)
TAKEN_KEYS = "abdfghmnrsuv"
"""Keys that do something else on a drop's page."""

_WEB_ADDRESS = re.compile(r"https?://([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?(/+[\w.~%!$&'()*+,;=:@-]+)*/*", re.ASCII)


def find_mistakes(config: Config) -> list[str]:
    """Return every mistake, each with its key."""
    errors = []
    try:
        zoneinfo.ZoneInfo(config.imager.time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # "Europe" is a folder of zones
        errors.append(f"imager.time_zone: unknown zone {config.imager.time_zone!r}; give one such as Europe/Berlin")
    outcomes = [str(outcome) for outcome in CLASSES]
    errors += _imager_checks(config)
    errors += _unknown("imager.codes", "outcome", config.imager.codes, outcomes)
    held = [rule.outcome for rule in config.publish.hold]
    errors += _unknown("publish.hold", "outcome or group", held, [*outcomes, *Group])
    errors += [
        f"scores.names: {word!r} is to mean {meaning!r}, which is neither an outcome nor a group"
        + did_you_mean(meaning, names_known())
        for word, meaning in config.scores.names.items()
        if meaning and configured(meaning) is None
    ]
    errors += _unknown("scores.columns", "column", config.scores.columns, SCORE_COLUMNS)
    errors += _publish_checks(config)
    errors += _ispyb_checks(config)
    errors += _boinc_checks(config)
    errors += _alerts_checks(config)
    errors += _webhooks_checks(config.webhooks)
    errors += _viewer_checks(config.viewer)
    errors += _own_scores_checks(config)
    if config.imager.folder:
        folder, root = Path(config.imager.folder).expanduser().absolute(), config.image_root.absolute()
        if folder.is_relative_to(root) or root.is_relative_to(folder):
            errors.append(f"imager.folder: {folder} and imager.image_root ({root}) must not contain each other")
    errors += _work_checks(config.work)
    if "?" in str(config.home) and not (config.imager.url and config.ledger.url):
        errors.append(
            f"home: {config.home}: the address of a SQLite file can't hold a question mark; choose another folder"
        )
    urls = (
        ("imager.url", config.imager_url),
        ("imager.write_url", config.imager.write_url),
        ("ledger.url", config.ledger_url),
        ("publish.ispyb.url", config.publish.ispyb.url),
        ("imager.ispyb.url", config.imager.ispyb.url),
    )
    for key, url in urls:
        if url and "://" not in url:
            errors.append(
                f"{key}: not a database URL; give one such as oracle+oracledb://user:password@host/?service_name=x"
            )
    return errors


def _work_checks(work: Work) -> list[str]:
    """Find options of scoring that contradict each other."""
    errors = []
    if work.mode == "dense" and work.step % STRIDE:
        errors.append(f'work.step: {dense_step_error(work.step)} (mode = "exact")')
    if work.second_opinion and work.rule != "pooled":
        errors.append(
            f'work.second_opinion: it is combined with the rule "pooled", and work.rule is "{work.rule}"; '
            "remove one of the two"
        )
    if work.undecided not in (0, UndecidedBelow()) and work.rule != "pooled":
        errors.append(
            f'work.undecided: it is for the rule "pooled"; under work.rule "{work.rule}" wells below '
            "work.threshold are undecided: remove one of the two"
        )
    return errors


def _imager_checks(config: Config) -> list[str]:
    """Find unknown tables and columns, names given twice, and keys that require another key."""
    imager = config.imager
    errors = _unknown("imager.tables", "table", imager.tables, vendor.TABLES)
    for table, columns in imager.columns.items():
        if unknown := _unknown("imager.columns", "table", [table], vendor.TABLES):
            errors += unknown
            continue
        known = vendor.columns(table)
        errors += _unknown(f"imager.columns.{table}", "column", columns, known)
        errors += _twice(f"imager.columns.{table}", {key: columns.get(key, key) for key in known})
    errors += _twice("imager.tables", {key: imager.tables.get(key, name) for key, (name, _) in vendor.TABLES.items()})
    errors += _needs(config, "imager.url", "imager.write_url", "imager.password_file", "imager.write_password_file")
    if imager.url and imager.folder:
        errors.append(
            "imager.folder: its images go into the embedded database, but imager.url is set; remove one of them"
        )
    return errors + _needs(config, "imager.write_url", "imager.write_password_file")


def _unknown(key: str, what: str, names: Iterable[str], known: Collection[str]) -> list[str]:
    """Find names that are not known."""
    return [f"{key}: unknown {what} {name!r}{did_you_mean(name, known)}" for name in names if name not in known]


def _needs(config: Config, other: str, *keys: str) -> list[str]:
    """Find keys that are set although the other one, which they need, is not."""
    alone = [] if attrgetter(other)(config) else [key for key in keys if attrgetter(key)(config)]
    return [f"{key}: needs {other}, which is not set" for key in alone]


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


def _ispyb_checks(config: Config) -> list[str]:
    """Find settings with which ISPyB could not be read, or nothing be written to it."""
    settings, source, errors = config.publish.ispyb, config.imager.ispyb, []
    if source.url and (config.imager.url or config.imager.folder):
        other = "imager.url" if config.imager.url else "imager.folder"
        errors.append(f"imager.ispyb.url: images come from {other} already; remove one of them")
    errors += _needs(config, "imager.ispyb.url", "imager.ispyb.password_file")
    if source.since and re.fullmatch(r"\d{4}-\d\d-\d\d", source.since) is None:
        errors.append(f"imager.ispyb.since: {source.since!r} is not a date such as 2026-01-31")
    if len(set(settings.classes)) != len(SCORED_GROUPS) or not all(0 < len(name) <= 15 for name in settings.classes):
        errors.append("publish.ispyb.classes: give four names of at most 15 characters")
    errors += [
        f"imager.ispyb.types: {name!r} needs its number of drops a well"
        for name, plate in source.types.items()
        if not plate.drops
    ]
    errors += _needs(config, "publish.ispyb.url", "publish.ispyb.password_file", "publish.ispyb.marks")
    if not settings.url and not config.publish.score_table:
        errors.append("publish.score_table: false, but no publish.ispyb.url is set; scores would go nowhere")
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
    if viewer.groups_header and viewer.sign_in != "proxy":
        errors.append('viewer.groups_header: needs viewer.sign_in = "proxy"')
    if not viewer.groups_header and any(name.startswith("@") for name in viewer.reviewers):
        errors.append('viewer.reviewers: "@…" is a group, which viewer.groups_header brings; set that key')
    errors += _visibility_checks(viewer)
    errors += [
        f"viewer.hosts: {host!r} is not a host name like plates.lab.example, without a port"
        for host in viewer.hosts
        if not _HOST.fullmatch(host)
    ]
    if viewer.url and not _WEB_ADDRESS.fullmatch(viewer.url):
        errors.append(f"viewer.url: {viewer.url!r} is not an address like https://lab.example/xtalgrid")
    return errors


def _visibility_checks(viewer: Viewer) -> list[str]:
    """Find settings by which nobody would see a plate, or that have no effect."""
    errors = []
    if viewer.visibility == "projects":
        if viewer.sign_in == "local":
            errors.append('viewer.visibility: "projects" needs names: set viewer.sign_in to "users" or "proxy"')
        if not viewer.people_file:
            errors.append('viewer.people_file: not set, but viewer.visibility is "projects": nobody would see a plate')
    elif viewer.see_all:
        errors.append('viewer.see_all: needs viewer.visibility = "projects"; now everybody sees all plates')
    if not viewer.groups_header and not viewer.people_file and any(name.startswith("@") for name in viewer.see_all):
        errors.append('viewer.see_all: "@…" is a group, from viewer.groups_header or viewer.people_file; set one')
    return errors


def _own_scores_checks(config: Config) -> list[str]:
    """Find scores of the lab's own set that count as nothing, or that a key or code does not tell apart."""
    own, outcomes = config.viewer.scores, [str(outcome) for outcome in CLASSES if outcome is not Outcome.RIM]
    unknown = [score for score in own if score.outcome not in outcomes]
    if unknown:
        return [
            f"viewer.scores: {score.name!r} has the unknown outcome {score.outcome!r}"
            f"{did_you_mean(score.outcome, outcomes)}"
            for score in unknown
        ]
    errors = [
        f"viewer.scores: {score.name!r} has the key {score.key!r}, which has a use already; choose another"
        for score in own
        if score.key and score.key in TAKEN_KEYS
    ]
    for what, values in (
        ("name", [score.name for score in own]),
        ("key", [score.key for score in own if score.key]),
        ("code", [config.own_code(score) for score in own]),
    ):
        twice = [value for value, number in collections.Counter(values).items() if number > 1]
        errors += [f"viewer.scores: the {what} {value!r} is used twice; give each score its own" for value in twice]
    return errors


def _alerts_checks(config: Config) -> list[str]:
    """Find settings with which no mail could be sent."""
    alerts = config.alerts
    if not alerts.smtp_host:
        return _needs(config, "alerts.smtp_host", "alerts.domains")
    errors = [
        f"alerts.domains: {domain!r} is not a mail domain like lab.example"
        for domain in alerts.domains
        if not _HOST.fullmatch(domain)
    ]
    errors += [
        f"alerts.{key}: not set, but alerts.smtp_host is; {why}"
        for key, value, why in (
            ("sender", alerts.sender, "give the address that mail comes from"),
            ("recipients", alerts.recipients, "give the addresses that mail goes to"),
        )
        if not value and not (key == "recipients" and alerts.domains)
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


def _webhooks_checks(webhooks: Webhooks) -> list[str]:
    """Find names that are used twice, and hosts that are none."""
    names = collections.Counter(hook.name for hook in webhooks.hooks)
    errors = [f"webhooks.hooks: the name {name!r} is used twice" for name, number in names.items() if number > 1]
    errors += [
        f"webhooks.allowed_hosts: {host!r} is not a host such as chat.lab.example or chat.lab.example:8065"
        for host in webhooks.allowed_hosts
        if not _HOST_AND_PORT.fullmatch(host)
    ]
    return errors


def did_you_mean(name: str, known: Any) -> str:
    """Return the known name nearest to one that is not, as the end of a message; empty without any near."""
    close = difflib.get_close_matches(name, [str(item) for item in known], n=1)
    return f"; did you mean {close[0]}?" if close else ""
