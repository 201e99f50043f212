"""The hierarchy of errors that xtalgrid raises on purpose.

::

    XtalgridError
    ├── ConfigError          the configuration is invalid (names file and key)
    ├── ImageError           one image cannot be scored; carries a FailureReason
    ├── ModelError
    │   ├── UnknownModel     the weights named by a manifest are not available
    │   └── BrokenModel      a weight file doesn't match its hash or cannot be loaded
    ├── WireError            a work unit or a result does not follow the wire format
    │   ├── ManifestError
    │   └── ResultError      a result is rejected as a whole
    ├── GridError            a grid's engine, such as BOINC, failed
    ├── LedgerError          xtalgrid's own database cannot be used
    ├── ImagerError          the imager database cannot be reached or does not match the configuration
    └── Busy                 a resource is in use: the lock of a step, or all scoring processes

A message says what happened, where, and what to do next.
"""

from __future__ import annotations

import sys
from enum import StrEnum


class XtalgridError(Exception):
    """Base class of all errors with a message for the user."""


class ConfigError(XtalgridError):
    """The configuration is invalid; the message lists every bad key at once."""


def not_installed(module: str | None, extra: str) -> str:
    """Say that a library is missing, and the command that adds its extra to the Python that runs this."""
    return f"{module} is not installed; add it by: {sys.executable} -m pip install 'xtalgrid[{extra}]'"


class FailureReason(StrEnum):
    """Why an image has no score. The list is fixed, because results carry these strings."""

    MISSING_FILE = "missing file"
    UNREADABLE_FILE = "unreadable file"
    UNUSABLE_ROW = "unusable row"
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


RETRYABLE = (
    FailureReason.MISSING_FILE,
    FailureReason.UNREADABLE_FILE,
    FailureReason.HASH_DIFFERS,
    FailureReason.CRASHED_WORKER,
    FailureReason.TIMED_OUT,
    FailureReason.INTERNAL,
)
"""Reasons of a worker that may lie in its computer, or in what it was sent: another try may score the image."""


class ImageError(XtalgridError):
    """One image cannot be scored.

    Parameters
    ----------
    reason
        For programs, from the fixed list.
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
    """The weights named by a manifest are neither in the package nor beside the work unit."""


class BrokenModel(ModelError):
    """A weight file doesn't match its SHA-256, or cannot be loaded as a network."""


class WireError(XtalgridError):
    """A work unit or a result does not follow the wire format."""


class ManifestError(WireError):
    """The work unit's manifest is invalid."""


class ResultError(WireError):
    """A result is rejected as a whole; the reason is recorded against its host."""


class GridError(XtalgridError):
    """A grid's engine, such as BOINC, failed; planned images stay planned."""


class LedgerError(XtalgridError):
    """xtalgrid's own database cannot be used."""


class ImagerError(XtalgridError):
    """The imager database cannot be reached, or does not match the configuration."""


class Busy(XtalgridError):
    """A resource is in use; nothing was done, and a later attempt may succeed."""
