"""``home/spool/boinc``: what passes between BOINC's daemons and xtalgrid's steps, as files alone, so that a hook needs no database.

::

    manifests/<unit>.json        what a result is checked against: the ledger's own, for the hooks
    inbox/<unit>.json            a validated result, for `xtalgrid assimilate`
    inbox/<unit>.failed          why BOINC gave a unit up; of old servers `inbox/workunit-<id>.failed`
    refused/<result>.json        a result that the validator has refused, to be recorded
    staged/, staging*/           zips and weights on their way to BOINC's download folder
"""

from __future__ import annotations

from pathlib import Path

from ...config import Config


class Spool:
    """The folders of one configuration."""

    def __init__(self, config: Config) -> None:
        self.root = config.spool / "boinc"
        self.inbox = self.root / "inbox"
        self.refused = self.root / "refused"
        self.staged = self.root / "staged"
        self.staging = self.root / "staging"
        self.staging_weights = self.root / "staging-weights"
        self.quarantine = config.spool / "quarantine"

    def manifest(self, unit: str) -> Path:
        """The manifest of a unit."""
        return self.root / "manifests" / f"{unit}.json"

    def result(self, unit: str) -> Path:
        """Where a unit's result waits for `assimilate`."""
        return self.inbox / f"{unit}.json"

    def failed(self, unit: str) -> Path:
        """Where it is said why a unit was given up."""
        return self.inbox / f"{unit}.failed"

    def failed_id(self, workunit_id: str) -> Path:
        """The same for a work unit whose name the server did not say."""
        return self.inbox / f"workunit-{workunit_id}.failed"
