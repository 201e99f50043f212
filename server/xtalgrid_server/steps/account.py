"""The account of all that is there, scored, waiting, failed or passed over, for `run`, `status` and Operations."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from xtalgrid_core.errors import FailureReason
from xtalgrid_core.files import readable
from xtalgrid_core.lines import first_lines

from ..config import Config
from ..config.sections import Imager
from ..domain.images import unusable_inspection
from ..domain.light import kind_of, not_scored
from ..imager.crystaltrak.database import ImagerDatabase
from ..imager.folder.entering import Imported
from ..imager.folder.seen import OtherFiles, SeenFiles
from ..ledger.database import now
from ..ledger.store import Ledger

SAME_IMAGE = "copy of another file"

_KINDS = 12
"""Number of kinds of what was passed over that are listed, the most frequent."""


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file that waits for its rest, since when (UTC), and what is missing."""

    file: str
    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Unscored:
    """A file, or a row of the imager database, that could not be used or scored, and why; `at` is UTC."""

    file: str
    reason: str
    detail: str
    step: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Account:
    """Where everything stands that is there; each image, other file and unusable row counts once.

    Attributes
    ----------
    there
        Number of all that is there: scored + waiting + failed + passed over.
    scored, waiting, failed
        Numbers of images by the file that they have now.
    passed_over
        Numbers of files of other kinds, and of images in other light, by what they are.
    differing
        Those of the images whose file is not the one that was scored; they wait for a new score, or failed.
    waiting_files
        Those of the waiting that are not complete yet.
    failures
        The failed, the oldest first.
    """

    there: int
    scored: int
    waiting: int
    failed: int
    passed_over: dict[str, int]
    differing: int
    waiting_files: tuple[WaitingFile, ...]
    failures: tuple[Unscored, ...]


def account(config: Config, ledger: Ledger, imager: ImagerDatabase, imported: Imported | None = None) -> Account:
    """Account for everything that the ledger and the imported folders know, or for what one import found."""
    if imported is None:
        is_embedded = not config.imager.url
        standings = ledger.accounts.counts()
        entered = imager.count_images() if is_embedded else 0
        lights = ledger.passed_over.counts()
        failures = ledger.accounts.failures()
        unusable = [unusable_inspection(one.file) for one in failures if one.reason == str(FailureReason.UNUSABLE_ROW)]
        entered -= imager.count_unusable([number for number in unusable if number is not None]) if entered else 0
        known = sum(standings.values()) + sum(lights.values())
        patterns = config.imager.patterns, config.imager.exclude
        if is_embedded and patterns != (Imager().patterns, Imager().exclude):  # the ledger may have others
            known = ledger.accounts.fitting(*patterns)
        standings["none"] += max(entered - known, 0)
        growing = [
            WaitingFile(f"{seen.folder}{os.sep}{seen.name}", _utc(seen.first), "not complete yet")
            for seen in (SeenFiles(imager).waiting() if is_embedded else ())
        ]
        passed_over = OtherFiles(imager).total() if is_embedded else collections.Counter[str]()
    else:
        images = {(row.inspect_id, row.image_name) for row in imported.entered}
        of_images = ledger.accounts.of(imported.entered)
        reasons = not_scored(config.light, imported.entered)
        lights = collections.Counter(reason for image, reason in reasons.items() if image not in of_images)
        standings = collections.Counter[str](of_images.get(image, "none") for image in images)
        standings["none"] -= lights.total()
        files = {readable(str(path.absolute())) for path in imported.rejected}
        failures = [one for one in ledger.accounts.failures() if (one.image or one.file) in of_images.keys() | files]
        growing = [WaitingFile(str(path), now(), "not complete yet") for path in imported.waiting]
        copies = len(imported.entered) - len(images)
        passed_over = imported.passed_over + collections.Counter({SAME_IMAGE: copies})
    passed_over = passed_over + collections.Counter({kind_of(reason): number for reason, number in lights.items()})
    waiting = [one for one in failures if one.waits]
    failed = [one for one in failures if not one.waits]
    without = sum(one.image is not None and one.step != "worker" for one in failed)
    number_waiting = standings["none"] + standings["changed"] - without + len(growing)
    growing += [WaitingFile(one.file, one.since, one.detail) for one in waiting]
    return Account(
        there=standings["scored"] + number_waiting + len(failed) + sum(passed_over.values()),
        scored=standings["scored"],
        waiting=number_waiting,
        failed=len(failed),
        passed_over=dict(sorted(passed_over.items())),
        differing=standings["changed"],
        waiting_files=tuple(growing),
        failures=tuple(Unscored(one.file, one.reason, one.detail, one.step, one.at) for one in failed),
    )


def account_lines(account: Account, files: int | None = 20) -> Iterator[str]:
    """Format an account as text: the sum, what was passed over, and this many of the waiting files (None: no names)."""
    others = sum(account.passed_over.values())
    numbers = f"{account.scored} scored + {account.waiting} waiting + {account.failed} failed + {others} passed over"
    yield f"{account.there} there = {numbers}"
    if others:
        most = sorted(account.passed_over, key=lambda kind: -account.passed_over[kind])[:_KINDS]
        kinds = [f"{number} {kind}" for kind, number in account.passed_over.items() if kind in most]
        if rest := others - sum(account.passed_over[kind] for kind in most):
            kinds.append(f"{rest} of {len(account.passed_over) - len(most)} other kinds (all with status --json)")
        yield f"passed over {', '.join(kinds)}"
    if account.differing:
        yield f"changed     {account.differing} files are not the ones that were scored"
    if files is not None:
        waiting = [f"{one.file}, since {one.since:%Y-%m-%d %H:%M} UTC: {one.why}" for one in account.waiting_files]
        yield from first_lines(waiting, files, start="waiting     ")


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
