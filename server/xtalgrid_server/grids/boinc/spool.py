"""The folder ``home/spool/boinc``, where BOINC's daemons and xtalgrid's steps exchange files.

They exchange nothing but files, so a hook needs no database::

    manifests/<unit>.json        what a result is checked against: the ledger's manifest, for the hooks
    inbox/<unit>.json            a validated result, for `xtalgrid assimilate`
    inbox/<unit>.failed          why BOINC gave up a unit; from old servers `inbox/workunit-<id>.failed`
    refused/<result>.json        a result that the validator refused, to be recorded
    staged/, staging*/           zips and weights on their way to BOINC's download folder
"""

from __future__ import annotations

from pathlib import Path

from ...config import Config


class Spool:
    """One configuration's folders."""

    def __init__(self, config: Config) -> None:
        self.root = config.spool / "boinc"
        self.inbox = self.root / "inbox"
        self.refused = self.root / "refused"
        self.staged = self.root / "staged"
        self.staging = self.root / "staging"
        self.staging_weights = self.root / "staging-weights"
        self.quarantine = config.spool / "quarantine"

    def manifest(self, unit: str) -> Path:
        """Return the path of a unit's manifest."""
        return self.root / "manifests" / f"{unit}.json"

    def result(self, unit: str) -> Path:
        """Return where a unit's result waits for `assimilate`."""
        return self.inbox / f"{unit}.json"

    def failed(self, unit: str) -> Path:
        """Return the path of the note on why a unit was given up."""
        return self.inbox / f"{unit}.failed"

    def failed_id(self, workunit_id: str) -> Path:
        """Return the path of that note for a work unit whose name the server did not give."""
        return self.inbox / f"workunit-{workunit_id}.failed"
