"""``alerts``, second part: tell people of new crystals as each of them chose, and the lab's webhooks.

Everything to tell is recorded first, once for each drop and receiver, and then sent: at once, or when a digest is due.
What cannot be delivered waits for a later run. One mail or message is about one project. Nobody is told of a plate that
they may not see (`steps.visibility`), be it when it is recorded or when it is sent.
"""

from __future__ import annotations

import html
import itertools
import smtplib
import time
import zoneinfo
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import formatdate

from xtalgrid_core.errors import ConfigError, XtalgridError
from xtalgrid_core.frames import percent
from xtalgrid_core.lines import one_line

from ..config import Config
from ..config.sections import WebhookKind, When
from ..domain.log import log
from ..domain.novelty import stood
from ..ledger.database import now
from ..ledger.notices import Notice, Settings
from ..ledger.store import Ledger
from .alerts import Alert, describe, drop_url
from .mail import mail_failure, mail_server, message_id, reason, secret_line
from .new_crystals import NewCrystal, crystal_from, new_crystals, with_past
from .outgoing import RefusedMessageError, post
from .visibility import Sight, Visibility
from .webhooks import payload

MAIL, WEBHOOK = "mail", "webhook"
MOST_LISTED = 100
"""Drops listed in a mail; of more, their number is told."""
_AGAIN = timedelta(minutes=10)
_AGAIN_AT_LEAST = timedelta(days=1)
"""A receiver that refuses is tried again after ten minutes, twice as long each time, and once a day at last."""
_POSTING_SECONDS = 300.0
"""Webhooks that no run has come to by then are left to the next one: many that don't answer hold up nobody for long."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody to tell: a person's mail or webhook, or a webhook of the configuration.

    `sees` tells whether they may know of a drop's plate, and `wants` whether of its project.
    """

    who: str
    channel: str
    when: When
    threshold: float
    since: datetime | None
    sees: Callable[[str], bool]
    wants: Callable[[str], bool]
    address: str = ""
    kind: WebhookKind = "json"

    @property
    def is_mail(self) -> bool:
        """Whether they get mail."""
        return bool(self.who) and self.channel == MAIL

    def __str__(self) -> str:
        """Who it is, for messages."""
        return f"{one_line(self.who)}'s {self.channel}" if self.who else f"webhook {self.channel}"


@dataclass(slots=True)
class Told:
    """What a run did.

    `delivered` messages, drops `waiting` for a digest or a later run, and `failures` that the operator can mend.
    """

    delivered: int = 0
    waiting: int = 0
    failures: list[str] = field(default_factory=list)


def receivers(config: Config, ledger: Ledger, told: Told) -> list[Receiver]:
    """Return everybody who wants to be told of new crystals."""
    visibility, found = Visibility(config, ledger), list[Receiver]()
    people, everybody = visibility.people.now(), ledger.notices.settings()
    if everybody and not people.is_read:
        # Without it, what waits for people would be taken for what they may not see any more, and forgotten.
        why = "; ".join(map(one_line, people.problems))
        told.failures.append(f"viewer.people_file: {why}; people are told of new crystals when it can be read again")
        everybody = {}
    for who, settings in everybody.items():
        if settings.since is None or (config.viewer.sign_in == "users" and not ledger.users.password(who)):
            continue
        sight = visibility.sight(who)
        wants = _wants(settings, sight)
        common = (settings.when, settings.crystal_from or crystal_from(config), settings.since, sight.sees, wants)
        if settings.address and config.alerts.smtp_host and not address_problem(config, settings.address):
            found.append(Receiver(who, MAIL, *common, settings.address))
        if settings.url and config.webhooks.people:
            found.append(Receiver(who, WEBHOOK, *common, settings.url, settings.kind))
    for hook in config.webhooks.hooks:
        try:
            url = secret_line(hook.url_file, f"webhooks.hooks {hook.name}")
        except ConfigError as error:
            told.failures.append(str(error))
            continue
        chosen = frozenset(hook.projects)
        threshold = hook.crystal_from or crystal_from(config)
        sees, wants = _everything, chosen.__contains__ if chosen else _everything
        found.append(Receiver("", hook.name, hook.when, threshold, None, sees, wants, url, hook.kind))
    return found


def _everything(_: str) -> bool:
    return True


def _wants(settings: Settings, sight: Sight) -> Callable[[str], bool]:
    chosen = frozenset(settings.projects) or sight.projects
    return chosen.__contains__ if chosen else _everything


def address_problem(config: Config, address: str) -> str:
    """Say why a person cannot have mail sent to an address; empty if they can."""
    name, _, domain = address.rpartition("@")
    plain = name.isascii() and name.replace(".", "").replace("-", "").replace("_", "").replace("+", "").isalnum()
    if not plain or len(address) > 200 or name[0] == "." or name[-1] == "." or ".." in name:
        return "this is no mail address"
    if domain.lower() not in (each.lower() for each in config.alerts.domains):
        return f"mails go to addresses at {', '.join(config.alerts.domains) or 'no domain'} alone (alerts.domains)"
    return ""


def tell(config: Config, ledger: Ledger) -> Told:
    """Record whom to tell of what is new, and deliver what is due."""
    told = Told()
    everybody = receivers(config, ledger, told)
    _record(config, ledger, everybody)
    mails = [receiver for receiver in everybody if receiver.is_mail]
    due = [(receiver, _due(config, ledger, receiver, told)) for receiver in mails]
    if any(alerts for _, alerts in due):
        _mail(config, ledger, [pair for pair in due if pair[1]], told)
    end = time.monotonic() + _POSTING_SECONDS
    for receiver in everybody:
        if not receiver.is_mail and time.monotonic() < end:
            _post(config, ledger, receiver, _due(config, ledger, receiver, told), told)
    return told


def _record(config: Config, ledger: Ledger, everybody: Sequence[Receiver]) -> None:
    since = now() - timedelta(days=config.alerts.days)
    for threshold in {receiver.threshold for receiver in everybody}:
        crystals = new_crystals(ledger, threshold, inspected_since=since)
        contents = ledger.contents.of_plates({crystal.image.barcode for crystal in crystals})
        for receiver in everybody:
            if receiver.threshold == threshold:
                images = [
                    crystal.image
                    for crystal in crystals
                    if (receiver.since is None or (crystal.image.at is not None and crystal.image.at >= receiver.since))
                    and receiver.sees(crystal.image.barcode)
                    and receiver.wants(contents(*crystal.image.drop).project)
                ]
                ledger.notices.add(receiver.who, receiver.channel, images)


def _due(config: Config, ledger: Ledger, receiver: Receiver, told: Told) -> list[Alert]:
    """Return what to tell somebody now, by project; empty if their digest is not due, or they refused lately."""
    waiting = ledger.notices.waiting(receiver.who, receiver.channel)
    last = ledger.notices.last_delivery(receiver.who, receiver.channel)
    at, moment = now(), digest_moment(config, receiver.when)
    # What is dated ahead was recorded while this computer's clock was, and does not wait for that time.
    refused = last is not None and last.failed and last.at <= at < last.at + _pause(last.failed)
    if not waiting or refused or all(moment <= notice.at <= at for notice in waiting):
        told.waiting += len(waiting)
        return []
    alerts = _alerts(config, ledger, waiting)
    shown = [
        alert
        for alert in alerts
        if receiver.sees(alert.crystal.image.barcode) and receiver.wants(alert.contents.project)
    ]
    ledger.notices.set_sent({notice.id for notice in waiting} - {alert.id for alert in shown})
    told.waiting += len(shown)
    return sorted(shown, key=_rank)


def _rank(alert: Alert) -> tuple[str, bool, str, float]:
    """Sort by project and plate, the likeliest new crystal first; what stood there before is last in its project."""
    crystal = alert.crystal
    return alert.contents.project, stood(crystal.image.p_new), crystal.image.barcode, -crystal.chance_of_new


def _pause(failed: int) -> timedelta:
    return min(_AGAIN * (1 << min(failed - 1, 10)), _AGAIN_AT_LEAST)


def digest_moment(config: Config, when: When) -> datetime:
    """Return the time (UTC) at which the last digest was due; now, without one."""
    if when == "at once":
        return now() + timedelta(seconds=1)
    local = now().replace(tzinfo=UTC).astimezone(zoneinfo.ZoneInfo(config.imager.time_zone))
    moment = local.replace(hour=config.alerts.digest_hour, minute=0, second=0, microsecond=0)
    days = 0 if when == "daily" else local.weekday()
    while (due := moment - timedelta(days=days)) > local:
        days += 1 if when == "daily" else 7
    return due.astimezone(UTC).replace(tzinfo=None)


def _alerts(config: Config, ledger: Ledger, waiting: Sequence[Notice]) -> list[Alert]:
    ids = {notice.drop: notice.id for notice in waiting}  # not by score: there may be a newer one since
    images = ledger.images.of_scores(sorted({notice.score_id for notice in waiting}))
    crystals = with_past(ledger, [image for image in images if config.light.is_scored(image.image_name)])
    contents = ledger.contents.of_plates({crystal.image.barcode for crystal in crystals})
    return [
        Alert(ids[crystal.image.drop], crystal, contents(*crystal.image.drop))
        for crystal in crystals
        if crystal.image.drop in ids
    ]


def by_project(alerts: Sequence[Alert]) -> list[tuple[str, list[Alert]]]:
    """Group alerts, which are sorted by project."""
    return [(project, list(group)) for project, group in itertools.groupby(alerts, lambda a: a.contents.project)]


def headline(project: str, alerts: Sequence[Alert]) -> str:
    """Say how many new crystals a project has, in one line."""
    plates = len({alert.crystal.image.barcode for alert in alerts})
    crystals = f"{len(alerts)} new crystal{'' if len(alerts) == 1 else 's'}"
    return f"{one_line(project) or 'No project'}: {crystals} on {plates} plate{'' if plates == 1 else 's'}"


# ---- mail ----------------------------------------------------------------------------------------------------------


def _mail(config: Config, ledger: Ledger, due: Sequence[tuple[Receiver, list[Alert]]], told: Told) -> None:
    try:
        with mail_server(config.alerts) as server:
            for receiver, alerts in due:
                refused = ""
                for project, group in by_project(alerts):
                    try:
                        server.send_message(digest(config, receiver, project, group))
                    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
                        refused = f"the mail server refused it: {reason(error)}"
                        if isinstance(error, smtplib.SMTPDataError):
                            continue  # another project's mail may be taken
                        break
                    _delivered(ledger, receiver, group, told)
                if refused:
                    _failed(ledger, receiver, refused, told)
    except (OSError, smtplib.SMTPException, ConfigError) as error:
        told.failures.append(mail_failure(config.alerts, reason(error)))


def digest(config: Config, receiver: Receiver, project: str, alerts: Sequence[Alert]) -> EmailMessage:
    """Compose a person's mail about new crystals of one project, as text and as HTML."""
    mail, title = EmailMessage(), headline(project, alerts)
    mail["Subject"] = title[:150]
    mail["From"] = config.alerts.sender
    mail["To"] = receiver.address
    mail["Date"] = formatdate()
    drops = sorted(alert.crystal.image.drop for alert in alerts)
    mail["Message-ID"] = message_id(config, (receiver.who, receiver.since, drops))
    mail["Auto-Submitted"] = "auto-generated"
    page = f"{config.viewer.url.rstrip('/')}/notifications" if config.viewer.url else ""
    if page:
        mail["List-Unsubscribe"] = f"<{page}>"
    why = f"You get this because you asked for it ({receiver.when})" + (f": {page}" if page else ".")
    listed = alerts[:MOST_LISTED]
    more = f"… and {len(alerts) - len(listed)} more." if len(alerts) > len(listed) else ""
    text, rows = [title, ""], []
    for barcode, group in itertools.groupby(listed, lambda alert: alert.crystal.image.barcode):
        text += ["", one_line(barcode)]
        for alert in group:
            url, inside = drop_url(config, alert.crystal), _inside(alert)
            text += [f"  {one_line(describe(alert.crystal))}", *(f"       {line}" for line in (inside, url) if line)]
            rows.append(_row(alert.crystal, url, inside))
    mail.set_content("\n".join([*text, "", *([more, ""] if more else []), why]) + "\n")
    mail.add_alternative(
        _HTML.format(title=html.escape(title), rows="\n".join(rows), more=more, why=html.escape(why)), "html"
    )
    return mail


_HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="font-family: sans-serif">
<h1 style="font-size: 1.2em">{title}</h1>
<table cellpadding="4" style="border-collapse: collapse">
<tr align="left">
<th>Drop</th><th>Inspection</th><th>ARTscore</th><th>p<sub>crystal</sub></th><th>Sample, condition</th>
</tr>
{rows}
</table>
<p>{more}</p>
<p style="color: #666">{why}</p>
</body></html>
"""


def _inside(alert: Alert) -> str:
    return one_line(", ".join(text for text in (alert.contents.sample, alert.contents.condition) if text))


def _row(crystal: NewCrystal, url: str, inside: str) -> str:
    image = crystal.image
    name = html.escape(one_line(f"{image.barcode} {image.well}"))
    cells = (
        f'<a href="{html.escape(url)}">{name}</a>' if url else name,
        f"{image.inspection}, {image.inspected:%Y-%m-%d}",
        html.escape(str(image.outcome)),
        percent(image.p_crystal),
        html.escape(inside),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


# ---- webhooks ------------------------------------------------------------------------------------------------------


def _post(config: Config, ledger: Ledger, receiver: Receiver, alerts: Sequence[Alert], told: Told) -> None:
    refused = ""
    for project, group in by_project(alerts):
        body = payload(receiver.kind, config, headline(project, group), group)
        try:
            post(receiver.address, body, config.webhooks.allowed_hosts)
        except XtalgridError as error:
            refused = str(error)
            if isinstance(error, RefusedMessageError):
                continue  # another project's message may be taken
            break
        _delivered(ledger, receiver, group, told)
    if refused:
        _failed(ledger, receiver, refused, told)


def _delivered(ledger: Ledger, receiver: Receiver, group: Sequence[Alert], told: Told) -> None:
    ledger.notices.set_sent([alert.id for alert in group])
    ledger.notices.delivered(receiver.who, receiver.channel)
    told.delivered += 1
    told.waiting -= len(group)


def _failed(ledger: Ledger, receiver: Receiver, problem: str, told: Told) -> None:
    ledger.notices.delivered(receiver.who, receiver.channel, one_line(problem))
    failure = f"{receiver}: {one_line(problem)}; a later run tries again"
    if receiver.who:  # their own page says so, and it is nothing that the operator can mend
        log.warning("alerts: %s", failure)
    else:
        told.failures.append(failure)
