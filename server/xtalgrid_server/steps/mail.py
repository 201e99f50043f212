"""The lab's mail server: the one place that connects to it."""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xtalgrid_core.errors import ConfigError

from ..config import Config
from ..config.sections import Alerts

_PATIENCE_SECONDS = 30


@contextmanager
def mail_server(settings: Alerts) -> Iterator[smtplib.SMTP]:
    """Connect to the mail server, by STARTTLS and with the password if they are configured.

    Raises
    ------
    ConfigError
        If the password cannot be read.
    OSError, smtplib.SMTPException
        If the server cannot be reached, or refuses.
    """
    with smtplib.SMTP(settings.smtp_host, settings.port, timeout=_PATIENCE_SECONDS) as server:
        if settings.starttls:
            server.starttls(context=ssl.create_default_context())
        if settings.user:
            server.login(settings.user, secret_line(settings.password_file, "alerts.password_file"))
        yield server


def message_id(config: Config, about: object) -> str:
    """Return the Message-ID of a mail by what it is about: mail servers drop a second mail with the same one.

    Not by ids of the ledger, which are given again after it was restored from a backup.
    """
    domain = config.alerts.sender.partition("@")[2].rstrip(">")
    digest = hashlib.sha256(repr((config.imager.source, about)).encode()).hexdigest()[:24]
    return f"<xtalgrid.{config.imager.source}.{digest}@{domain}>"


def secret_line(file: str, key: str) -> str:
    """Return the first line of a file with a secret, which the configuration's `key` names; raises ConfigError."""
    try:
        lines = Path(file).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{key}: cannot read {file}: {why}") from error
    if not lines or not lines[0].strip():
        raise ConfigError(f"{key}: {file} is empty; write the secret into its first line")
    return lines[0].strip()


def reason(error: Exception) -> str:
    """Put a mail server's reply on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def mail_failure(settings: Alerts, why: str) -> str:
    """Say that mail could not be sent, and why."""
    return f"cannot send mail via {settings.smtp_host}:{settings.port}: {why}; the next run tries again"
