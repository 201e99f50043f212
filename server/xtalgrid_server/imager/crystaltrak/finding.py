"""What a check of the imager database found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes
    ----------
    is_good
        Whether xtalgrid can work as it is; there may still be something to do.
    tried, found, todo
        What was tried, what was found, and what to do; empty: nothing.
    statements
        SQL for the database's administrator.
    text
        All of it in one line.
    """

    is_good: bool
    tried: str
    found: str
    todo: str = ""
    statements: tuple[str, ...] = ()
    text: str = field(init=False)

    def __post_init__(self) -> None:
        text = f"{self.tried}: {self.found}" + (f"; {self.todo}" if self.todo else "")
        object.__setattr__(self, "text", text)

    @property
    def label(self) -> str:
        """``ok``, ``note`` or ``PROBLEM``."""
        return "PROBLEM" if not self.is_good else "note" if self.todo else "ok"


def statements(findings: Iterable[Finding]) -> list[str]:
    """Return what to hand to the database's administrator, each statement once."""
    return list(dict.fromkeys(statement for finding in findings for statement in finding.statements))
