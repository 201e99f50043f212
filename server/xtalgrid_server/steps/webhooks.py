"""What webhooks are sent: new crystals in the form that Slack, Teams, Mattermost or a program takes.

Names come from databases and files, so they are text wherever they stand: no markup, no links, and nobody is called by
``@channel`` or ``<!here>``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from xtalgrid_core.lines import one_line

from ..config import Config
from ..config.sections import WebhookKind
from .alerts import Alert, as_row, drop_url

MOST_LISTED = 15
"""Drops in a message. Teams takes 28 kB; Slack 50 blocks of 3,000 characters."""
_LONGEST = 120
"""Characters of a name."""
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~<>&-])")


def payload(kind: WebhookKind, config: Config, headline: str, alerts: Sequence[Alert]) -> bytes:
    """Return what to send: a headline, the likeliest crystals, and how many more there are."""
    if kind == "json":
        rows = [as_row(alert) | {"url": drop_url(config, alert.crystal)} for alert in alerts]
        return msgspec.json.encode({"schema": 1, "text": headline, "drops": rows})
    make = {"slack": _slack, "teams": _teams, "mattermost": _mattermost}[kind]
    listed = sorted(alerts, key=lambda alert: -alert.crystal.chance_of_new)[:MOST_LISTED]
    return msgspec.json.encode(make(config, headline, listed, len(alerts) - len(listed)))


def _slack(config: Config, headline: str, alerts: Sequence[Alert], more: int) -> dict[str, Any]:
    lines = _lines(config, alerts, more, _for_slack, "<{url}|{text}>")
    sections = [{"type": "section", "text": {"type": "mrkdwn", "text": line, "verbatim": True}} for line in lines]
    header = {"type": "header", "text": {"type": "plain_text", "text": _short(headline), "emoji": False}}
    return {"text": _for_slack(headline), "blocks": [header, *sections]}


def _teams(config: Config, headline: str, alerts: Sequence[Alert], more: int) -> dict[str, Any]:
    """Return an Adaptive Card, as the workflow "When a Teams webhook request is received" takes it."""
    title = {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "wrap": True, "text": _for_markdown(headline)}
    lines = _lines(config, alerts, more, _for_markdown, "[{text}]({url})")
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [title, *({"type": "TextBlock", "wrap": True, "text": line} for line in lines)],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _mattermost(config: Config, headline: str, alerts: Sequence[Alert], more: int) -> dict[str, Any]:
    text = "\n".join(_lines(config, alerts, more, _for_markdown, "[{text}]({url})"))
    attachment = {
        "fallback": _for_markdown(headline),
        "color": "#c02020",
        "title": _for_markdown(headline),
        "text": text,
    }
    return {"attachments": [attachment]}


def _lines(config: Config, alerts: Sequence[Alert], more: int, escape: Callable[[str], str], link: str) -> list[str]:
    """Return a line for each drop, with a link if the viewer's address is known."""
    lines = []
    for alert in alerts:
        image, url = alert.crystal.image, drop_url(config, alert.crystal)
        name = escape(f"{image.barcode} {image.well}")
        place = link.format(url=url, text=name) if url else name
        said = escape(f"{image.outcome}, p_crystal {image.p_crystal:.2f}, inspection {image.inspection}")
        inside = escape(", ".join(each for each in (alert.contents.sample, alert.contents.condition) if each))
        lines.append(f"{place}: {said}" + (f" ({inside})" if inside else ""))
    return [*lines, f"and {more} more"] if more else lines


def _short(text: str) -> str:
    """Return a name or headline as one line, not too long, in which no @ calls anybody."""
    line = one_line(text).replace("@", "@\u200b")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _for_slack(text: str) -> str:
    return _short(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _for_markdown(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", _short(text))
