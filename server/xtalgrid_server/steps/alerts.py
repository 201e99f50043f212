"""``alerts``: tell people about drops that show their first crystal, once for each drop.

The drops are first recorded, then printed, or mailed if a mail server is configured, with one mail per plate. If a mail
cannot be sent, the next run sends it. A run that is killed after a mail but before recording it sends the mail again,
with the same Message-ID: two mails are better than none.
"""

from __future__ import annotations

import itertools
import smtplib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

from xtalgrid_core.errors import ConfigError, XtalgridError
from xtalgrid_core.frames import percent
from xtalgrid_core.lines import one_line

from ..config import Config
from ..domain.novelty import new_since, stood
from ..domain.wells import Well
from ..ledger.contents import Contents
from ..ledger.database import now
from ..ledger.store import Ledger
from .mail import mail_failure, mail_server, message_id, reason
from .new_crystals import NewCrystal, crystal_from, new_crystals, with_past

_SHOWN = 5
"""Mails that were refused, and addresses, that are named."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A drop with a new crystal to tell people about; `id` is the alert's in the ledger."""

    id: int
    crystal: NewCrystal
    contents: Contents


@dataclass(slots=True)
class SentAlerts:
    """What a run did.

    Attributes
    ----------
    alerts
        The drops that were due.
    mails
        Number of mails sent.
    waiting
        Number of drops left for the next run.
    failure
        Why some mails were not sent; empty if none failed.
    told
        Number of mails and messages to people and webhooks, as they chose.
    """

    alerts: list[Alert]
    mails: int = 0
    waiting: int = 0
    failure: str = ""
    told: int = 0


def preview(config: Config, ledger: Ledger) -> list[NewCrystal]:
    """Return the drops that `send_alerts` would record: new crystals of the last ``alerts.days``, not recorded yet."""
    since = now() - timedelta(days=config.alerts.days)
    crystals = new_crystals(ledger, crystal_from(config), inspected_since=since)
    known = ledger.alerts.known(crystal.image.barcode for crystal in crystals)
    return [crystal for crystal in crystals if crystal.image.drop not in known]


def send_alerts(config: Config, ledger: Ledger, show: Callable[[list[Alert]], None]) -> SentAlerts:
    """Record the new crystals, and send alerts for all drops that have not had one.

    Parameters
    ----------
    show
        Prints the alerts; called once. If nobody gets mail, the alerts are recorded as sent after it returns.
    """
    ledger.alerts.add(crystal.image for crystal in preview(config, ledger))
    alerts = _waiting(config, ledger)
    sent = SentAlerts(alerts)
    has_list = bool(config.alerts.smtp_host and config.alerts.recipients)
    if has_list and alerts:
        _mail(config, ledger, alerts, sent)
    show(alerts)
    if not has_list:
        ledger.alerts.set_sent([alert.id for alert in alerts])
    return sent


def _waiting(config: Config, ledger: Ledger) -> list[Alert]:
    """Return the drops whose alert was not sent, by plate, the likeliest new crystal first, what stood last."""
    waiting = ledger.alerts.waiting()
    found = ledger.images.of_scores([score_id for _, score_id in waiting.values()])
    images = [image for image in found if config.light.is_scored(image.image_name)]
    crystals = with_past(ledger, images)
    contents = ledger.contents.of_plates(crystal.image.barcode for crystal in crystals)
    alerts = [
        Alert(waiting[crystal.image.drop][0], crystal, contents(*crystal.image.drop))
        for crystal in crystals
        if crystal.image.drop in waiting  # one whose well was corrected since has an alert of its own
    ]
    return sorted(alerts, key=_rank)


def _rank(alert: Alert) -> tuple[str, bool, float, Well]:
    crystal, image = alert.crystal, alert.crystal.image
    return image.barcode, stood(image.p_new), -crystal.chance_of_new, image.well


# ---- mail ----------------------------------------------------------------------------------------------------------


def _mail(config: Config, ledger: Ledger, alerts: list[Alert], sent: SentAlerts) -> None:
    """Send a mail for each plate; one that is refused stops no other, unless it would be the same for all."""
    sent.waiting = len(alerts)
    refused, left_out = list[str](), dict[str, str]()
    try:
        with mail_server(config.alerts) as server:
            for barcode, group in itertools.groupby(alerts, key=lambda alert: alert.crystal.image.barcode):
                plate = list(group)
                try:
                    others = server.send_message(message(config, plate))
                except smtplib.SMTPDataError as error:
                    refused.append(f"plate {one_line(barcode)}: {reason(error)}")
                    continue
                ledger.alerts.set_sent([alert.id for alert in plate])
                sent.mails += 1
                sent.waiting -= len(plate)
                for address, (code, text) in others.items():
                    why = f"{code} {text.decode(errors='replace')}"
                    left_out.setdefault(address, f"{address} got no mail of plate {one_line(barcode)}: {one_line(why)}")
    except (OSError, smtplib.SMTPException, ConfigError) as error:
        refused.append(reason(error))
    failures = [mail_failure(config.alerts, "; ".join(_few(refused)))] if refused else []
    failures += [f"{line}; correct alerts.recipients" for line in _few(list(left_out.values()))]
    sent.failure = "\n".join(failures)


def _few(lines: list[str]) -> list[str]:
    return [*lines[:_SHOWN], f"{len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else lines


def message(config: Config, plate: list[Alert]) -> EmailMessage:
    """Compose the mail about the new crystals on one plate."""
    first = plate[0].crystal.image
    number = f"{len(plate)} new crystal{'s' if len(plate) > 1 else ''}"
    mail = EmailMessage()
    mail["Subject"] = one_line(f"{first.barcode}: {number}")
    mail["From"] = config.alerts.sender
    mail["To"] = ", ".join(config.alerts.recipients)
    mail["Date"] = formatdate()
    mail["Message-ID"] = message_id(config, sorted(alert.crystal.image.drop for alert in plate))
    mail["Auto-Submitted"] = "auto-generated"
    head = f"{number} on plate {first.barcode}, where p_crystal reached {crystal_from(config):g} for the first time:"
    mail.set_content("\n".join([head, "", *(line for alert in plate for line in _lines(config, alert))]))
    return mail


def _lines(config: Config, alert: Alert) -> Iterable[str]:
    contents = alert.contents
    yield describe(alert.crystal)
    for name in ("project", "sample", "condition"):
        if text := getattr(contents, name):
            yield f"       {name}: {text}"
    if address := drop_url(config, alert.crystal):
        yield f"       {address}"
    yield ""


def drop_url(config: Config, crystal: NewCrystal) -> str:
    """Return the address of a drop's page; empty if the viewer's own is not known."""
    if not config.viewer.url:
        return ""
    image = crystal.image
    place = f"{quote(image.barcode, safe='')}/{image.inspection}/{quote(str(image.well), safe='')}"
    return f"{config.viewer.url.rstrip('/')}/well/{place}"


def describe(crystal: NewCrystal) -> str:
    """Describe a new crystal on one line.

    For example::

        A1a    inspection 3, 2012-11-21: crystals harvestable, p_crystal 80 %, never scored before; jdoe scored it 13
    """
    image = crystal.image
    before = "never scored before" if crystal.before is None else f"{percent(crystal.before)} at most before"
    line = (
        f"{image.well!s:<5}  inspection {image.inspection}, {image.inspected:%Y-%m-%d}: {image.outcome}, "
        f"p_crystal {percent(image.p_crystal)}, {before}"
    )
    if new := new_since(image.p_new, image.since):
        line += f", {new}"
    for score in {score.who: score for score in crystal.person_scores}.values():  # of each person, the last
        line += f"; {score.who} scored it {score.code} {score.outcome or ''}".rstrip()
    return line


def as_row(alert: Alert) -> dict[str, Any]:
    """Convert an alert to a row for programs; `people` are people's scores up to this inspection, oldest first."""
    image, contents = alert.crystal.image, alert.contents
    return {
        "barcode": image.barcode,
        "well": str(image.well),
        "inspection": image.inspection,
        "inspected": image.inspected,
        "image": image.image_name,
        "score_id": image.score_id,
        "outcome": image.outcome,
        "probability": image.probability,
        "p_crystal": image.p_crystal,
        "p_new": image.p_new,
        "new_since": image.since,
        "before": alert.crystal.before,
        "people": [
            {"score": score.code, "outcome": score.outcome, "group": score.group, "person": score.who, "at": score.at}
            for score in alert.crystal.person_scores
        ],
        "project": contents.project,
        "sample": contents.sample,
        "condition": contents.condition,
    }


def check_sent(sent: SentAlerts) -> None:
    """Raise an error if a run could not send its mails.

    Raises
    ------
    XtalgridError
        With the reason.
    """
    if sent.failure:
        raise XtalgridError(sent.failure)
