"""What the numbers in BOINC's tables mean; apart from the tables, so that hooks start without SQLAlchemy."""

from __future__ import annotations

from enum import IntEnum


class ServerState(IntEnum):
    """Where an instance of a work unit is."""

    UNSENT = 2
    IN_PROGRESS = 4
    OVER = 5


class ResultOutcome(IntEnum):
    """How an instance ended."""

    SUCCESS = 1
    COULD_NOT_SEND = 2
    CLIENT_ERROR = 3
    NO_REPLY = 4
    NOT_NEEDED = 5
    VALIDATE_ERROR = 6
    CLIENT_DETACHED = 7


class ValidateState(IntEnum):
    """The validator's verdict on an instance."""

    INIT = 0
    VALID = 1
    INVALID = 2
    NO_CHECK = 3
    INCONCLUSIVE = 4
    TOO_LATE = 5


ASSIMILATED = 2
"""A work unit's `assimilate_state` once BOINC is done with it."""

ERRORS = {
    1: "it could not be sent",
    2: "too many hosts failed",
    4: "too many results, and no two agree",
    8: "sent out too often",
    16: "cancelled",
    32: "no canonical result",
}
"""Bits of a work unit's `error_mask`."""


def describe_errors(mask: int) -> str:
    """Describe an error mask in words."""
    return ", ".join(text for bit, text in ERRORS.items() if mask & bit) or f"error mask {mask}"
