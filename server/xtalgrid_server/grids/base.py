"""What every grid is to the rest of the server: units go in, results come out, and nothing is lost between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from xtalgrid_core import wire


@dataclass(frozen=True, slots=True)
class Submission:
    """A unit whose zip lies where `Grid.staged` says.

    `attempt` counts from 1: how often the unit was planned. `fresh`: somebody waits for it; the others are back-fill.
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
    """A result that a grid's own check has refused. `token` is what `Grid.forget_refused` takes."""

    unit: str
    sha256: str
    reason: str
    token: Path


class Grid(Protocol):
    """The spool of one configuration and the engine behind it."""

    batch: int
    """How many units are best submitted at once."""

    def staged(self, name: str) -> Path:
        """Where a unit's zip is built before it is submitted."""

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Let workers have staged units, all of them new to this grid (`known`).

        Raises
        ------
        GridError
            When the engine did not take them; some may have gone.
        """

    def known(self, attempts: Mapping[str, int]) -> set[str]:
        """Which of these units (name → attempt) the grid has, finished or not."""

    def forget_staged(self) -> None:
        """Remove what killed runs staged and nobody will submit."""

    def results(self) -> Iterator[tuple[str, Path]]:
        """(unit, result file) of finished units."""

    def refused(self) -> Iterator[Refused]:
        """Results that the grid's own check has refused, and not recorded yet."""

    def forget_refused(self, refused: Refused) -> None:
        """Once it is recorded."""

    def given_up(self) -> Iterator[tuple[str, str]]:
        """(unit, reason) of units that were given up."""

    def do_again(self, name: str) -> bool:
        """Have a unit worked on again after its result was refused; False: this grid does so by itself, or not at all."""

    def discard(self, name: str) -> None:
        """Forget a unit that the ledger has done with."""

    def offer_models(self, pair: tuple[str, str]) -> None:
        """Put a (segmenter, classifier) where workers can get it, before work asks for it."""
