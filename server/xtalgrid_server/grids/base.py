"""The interface of every grid: units go in, results come out, and nothing is lost in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from xtalgrid_core import wire


@dataclass(frozen=True, slots=True)
class Submission:
    """A unit whose zip file is where `Grid.staged` says.

    `attempt` counts from 1 how often the unit was planned. `fresh` means that people wait for its scores; other units
    are back-fill.
    """

    manifest: wire.Manifest
    attempt: int = 1
    fresh: bool = True

    @property
    def unit(self) -> str:
        """The unit's name."""
        return self.manifest.unit


@dataclass(frozen=True, slots=True)
class Refused:
    """A result that a grid's own check refused. `token` is the grid's own reference to it."""

    unit: str
    sha256: str
    reason: str
    token: Path


class GivenUp(NamedTuple):
    """A unit that was given up, and why; `attempt` counts as that of `Submission`, None: the one under way."""

    unit: str
    reason: str
    attempt: int | None = None


class Grid(Protocol):
    """One configuration's spool, and the engine that works on it."""

    batch: int
    """How many units are best submitted at once."""

    def staged(self, name: str) -> Path:
        """Return where a unit's zip is built before it is submitted."""

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Hand staged units to the workers; none of them may be `known` to this grid yet.

        Raises
        ------
        GridError
            If the engine did not take them; it may have taken some.
        """

    def known(self, attempts: Mapping[str, int]) -> set[str]:
        """Return which of these units (name → attempt) the grid has, finished or not."""

    def forget_staged(self) -> None:
        """Delete units that killed runs staged but did not submit."""

    def results(self) -> Iterator[tuple[str, Path]]:
        """Yield (unit, result file) of finished units."""

    def refused(self) -> Iterator[Refused]:
        """Yield results that the grid's own check refused and that are not recorded yet."""

    def forget_refused(self, refused: Refused) -> None:
        """Delete a refused result after it is recorded."""

    def given_up(self) -> Iterator[GivenUp]:
        """Yield the units that were given up."""

    def do_again(self, name: str) -> bool:
        """Restart a unit after its result was refused; return False if this grid does so by itself, or not at all."""

    def discard(self, name: str) -> None:
        """Delete a unit that the ledger is done with."""

    def offer_models(self, pair: tuple[str, str]) -> None:
        """Make a (segmenter, classifier) pair available to workers before any unit asks for it."""
