"""Every error xtalgrid raises on purpose, in one tree.

::

    XtalgridError
    ├── ConfigError          the configuration cannot be used (names file and key)
    ├── ImageError           one image cannot be scored; carries a FailureReason
    ├── ModelError
    │   ├── UnknownModel     the weights a manifest names are not here
    │   └── BrokenModel      a weight file differs from its hash or cannot be loaded
    ├── WireError            a work unit or a result does not follow the wire format
    │   ├── ManifestError
    │   └── ResultError      a result that is refused; nothing of it is used
    ├── GridError            the engine behind a grid did not do what it was asked
    ├── LedgerError          our own database cannot be used as it is
    ├── ImagerError          the imager database cannot be reached or does not fit
    └── Busy                 somebody else has what this needs: a step's lock, or all scoring processes

A message says what happened, where, and what to do next.
"""

from __future__ import annotations

from enum import StrEnum


class XtalgridError(Exception):
    """Base of all errors that have a message for the user."""


class ConfigError(XtalgridError):
    """The configuration is wrong; the message lists every bad key at once."""


class FailureReason(StrEnum):
    """Why an image has no score. The list is fixed: results carry these strings."""

    MISSING_FILE = "missing file"
    UNREADABLE_FILE = "unreadable file"
    NAME_FITS_NO_PATTERN = "name fits no pattern"
    NOT_AN_IMAGE = "not an image"
    TRUNCATED = "truncated image"
    TOO_SMALL = "image too small"
    TOO_LARGE = "image too large"
    HASH_DIFFERS = "content differs from manifest"
    CRASHED_WORKER = "crashed the worker"
    TIMED_OUT = "timed out"
    UNIT_FAILED = "work unit failed"
    INTERNAL = "internal error"


class ImageError(XtalgridError):
    """One image cannot be scored.

    Parameters
    ----------
    reason
        From the fixed list, for programs.
    detail
        For people: what was found, and what was expected.
    """

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ModelError(XtalgridError):
    """A network's weights cannot be used."""


class UnknownModel(ModelError):
    """The weights a manifest names are neither in the package nor beside the work unit."""


class BrokenModel(ModelError):
    """A weight file differs from its SHA-256 or is no network."""


class WireError(XtalgridError):
    """A work unit or a result does not follow the wire format."""


class ManifestError(WireError):
    """The work unit's manifest cannot be used."""


class ResultError(WireError):
    """A result is refused. Nothing of it is used; the reason is recorded against its host."""


class GridError(XtalgridError):
    """The engine behind a grid, BOINC say, did not do what it was asked; what was planned stays planned."""


class LedgerError(XtalgridError):
    """xtalgrid's own database cannot be used as it is."""


class ImagerError(XtalgridError):
    """The imager database cannot be reached or does not fit the configuration."""


class Busy(XtalgridError):
    """Somebody else has what this needs right now; nothing was done. Later it may work."""
