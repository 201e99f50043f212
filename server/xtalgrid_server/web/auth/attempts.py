"""Limits on wrong passwords: they slow down who guesses, and lock out nobody else.

An attempt counts when it begins and is forgotten if it is successful. Ten at a name from one address are the limit for
a quarter of an hour. Ten at a name from all addresses, or twenty from an address, only mean that the next ones have
to follow more slowly: otherwise anybody could lock out a person, or everybody behind one web server. A browser from
which the person has signed in before has a limit of its own, so that it is in whatever others do (OWASP calls its
cookie a device cookie).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ...ledger.database import now
from ...ledger.sign_ins import SignIns, name_hash
from ..proxies import one_computer

KEPT = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class _Limit:
    """After `attempts` attempts, the next one has to come `pause` after the last."""

    attempts: int
    pause: timedelta

    def wait(self, made: Sequence[datetime], at: datetime) -> float:
        """Return the seconds to wait; `made` are the attempts so far, oldest first."""
        return max((made[-1] + self.pause - at).total_seconds(), 0.0) if len(made) >= self.attempts else 0.0


_SLOWLY = timedelta(seconds=2)
_AT_NAME_FROM_ORIGIN = _Limit(10, KEPT)
_AT_NAME = _Limit(10, _SLOWLY)
_FROM_ADDRESS = _Limit(20, _SLOWLY)

SHORT_WAIT = _SLOWLY.total_seconds()
"""Seconds. Who has to wait no longer is not sent away."""


class Attempts:
    """Counts attempts to sign in, in the ledger."""

    def __init__(self, ledger: SignIns) -> None:
        self._ledger = ledger

    def begin(self, name: str, address: str, browser: str) -> float:
        """Count an attempt at a name.

        Parameters
        ----------
        browser
            Mark of a browser from which this person has signed in before; empty: none.

        Returns
        -------
        0 if it may be made; otherwise the seconds to wait, and it is not counted.
        """
        at, origin = now(), _origin(address, browser)
        made, hashed = self._ledger.attempts(name, origin, at - KEPT), name_hash(name)
        wait = _AT_NAME_FROM_ORIGIN.wait([one.at for one in made if (one.name, one.origin) == (hashed, origin)], at)
        if not browser:
            wait = max(
                wait,
                _AT_NAME.wait([one.at for one in made if one.name == hashed], at),
                _FROM_ADDRESS.wait([one.at for one in made if one.origin == origin], at),
            )
        if not wait:
            self._ledger.add_attempt(name, origin, at - KEPT)
        return wait

    def succeeded(self, name: str, address: str, browser: str) -> None:
        """Forget the attempts at this name from there."""
        self._ledger.forget_attempts(name, _origin(address, browser))


def _origin(address: str, browser: str) -> str:
    """Return whose attempts count together: the browser's, or else those of one computer."""
    return f"browser {browser}" if browser else one_computer(address)[:80]
