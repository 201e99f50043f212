"""What searches, reports and exports go through: each scored image with what is in its drop and what people said of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from xtalgrid_core.outcomes import published

from ..config import Config
from ..ledger.archive import Archived, Range
from ..ledger.people import Contents, Recipes, Said
from ..ledger.plates import DropImage
from ..ledger.store import Ledger
from ..steps.score_rules import rank


@dataclass(frozen=True, slots=True)
class Entry:
    """An image with its newest ARTscore; `said`: what people said of its drop at this inspection, oldest first."""

    archived: Archived
    contents: Contents
    said: tuple[Said, ...]

    @property
    def image(self) -> DropImage:
        """The image."""
        return self.archived.image

    @property
    def person(self) -> Said | None:
        """The person's score that holds: the newest."""
        return self.said[-1] if self.said else None


class Inspection:
    """A drop at an inspection: its images, the one whose ARTscore has the highest priority first.

    Attributes
    ----------
    best
        The image whose ARTscore is the inspection's.
    artscore
        What xtalgrid says, as it is published.
    p_crystal
        The largest of its images.
    outcome
        What the drop is held to be: a person's score goes before the ARTscore.
    """

    __slots__ = ("artscore", "best", "entries", "outcome", "p_crystal")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries) if len(entries) == 1 else tuple(sorted(entries, key=_rank))
        self.best = self.entries[0]
        self.artscore = published(self.best.archived.outcome)
        self.p_crystal = max(entry.archived.image.p_crystal for entry in self.entries)
        person = self.best.person
        self.outcome = person.outcome if person is not None and person.outcome is not None else self.artscore


@dataclass(frozen=True, slots=True)
class Filter:
    """Which drops: texts are parts of what is recorded, whatever their case; dates are the imager's naive local time.

    `outcome` is the name of an outcome or of a group, of what the drop is held to be; `scored_by_people`: only inspections that a
    person scored.
    """

    outcome: str = ""
    sample: str = ""
    condition: str = ""
    project: str = ""
    barcode: str = ""
    since: datetime | None = None
    before: datetime | None = None
    scored_by_people: bool = False

    @property
    def by_contents(self) -> bool:
        """Whether it matters what is in a drop."""
        return bool(self.sample or self.condition or self.project)

    def has(self, contents: Contents) -> bool:
        """Whether the contents of a drop fit."""
        return all(
            wanted.casefold() in text.casefold()
            for wanted, text in (
                (self.sample, contents.sample),
                (self.condition, contents.condition),
                (self.project, contents.project),
            )
            if wanted
        )

    def fits(self, inspection: Inspection) -> bool:
        """Whether an inspection is one of those asked for; `has` is to be asked too."""
        if self.scored_by_people and inspection.best.person is None:
            return False
        return not self.outcome or self.outcome in (inspection.outcome, inspection.outcome.group)


def drops(ledger: Ledger, chosen: Filter, answers: bool = False) -> Iterator[list[Inspection]]:
    """The drops whose contents, plate and dates fit, each with its inspections in the order of time; plate by plate.

    Parameters
    ----------
    answers
        With the workers' words (`Archived.answer`).
    """
    barcodes: set[str] | None = {chosen.barcode} if chosen.barcode else None
    if chosen.by_contents:
        with_contents = ledger.people.plates_with(chosen.project, chosen.sample, chosen.condition)
        barcodes = with_contents if barcodes is None else barcodes & with_contents
    chosen_range = Range(barcodes, chosen.since, chosen.before)
    for plates in ledger.archive.batches(chosen_range):
        recipes = ledger.people.contents(plates)
        keep = (lambda barcode, well, inside=recipes: chosen.has(inside(barcode, well))) if chosen.by_contents else None
        batch = ledger.archive.images(plates, chosen_range, answers, keep)
        entries = _entries(ledger, batch, recipes, plates)
        for _, drop in itertools.groupby(entries, key=lambda entry: (entry.image.barcode, entry.image.well)):
            yield list(_inspections(drop))


def inspections(ledger: Ledger, chosen: Filter, answers: bool = False) -> Iterator[Inspection]:
    """The inspections of drops that fit, plate by plate."""
    for drop in drops(ledger, chosen, answers):
        yield from filter(chosen.fits, drop)


def judged(config: Config, ledger: Ledger, chosen: Filter) -> Iterator[Inspection]:
    """The inspections that fit and that a person scored, by inspect id, without going through all the others."""
    barcodes = {chosen.barcode} if chosen.barcode else None
    for batch in ledger.archive.judged(config.imager.programs, Range(barcodes, chosen.since, chosen.before)):
        recipes = ledger.people.contents({one.image.barcode for one in batch})
        fitting = [one for one in batch if chosen.has(recipes(one.image.barcode, one.image.well))]
        for inspection in _inspections(_entries(ledger, fitting, recipes)):
            if inspection.best.person is not None and chosen.fits(inspection):
                yield inspection


def _entries(ledger: Ledger, batch: Sequence[Archived], recipes: Recipes, plates: Sequence[str] = ()) -> list[Entry]:
    """The images with all that is told of them; `plates`: the batch is of these whole plates."""
    said = ledger.people.said({one.image.image_id: one.image.inspect_id for one in batch}, plates)
    return [Entry(one, recipes(one.image.barcode, one.image.well), tuple(said[one.image.inspect_id])) for one in batch]


def _inspections(entries: Iterable[Entry]) -> Iterator[Inspection]:
    """Entries of one inspection stand together."""
    for _, group in itertools.groupby(entries, key=lambda entry: entry.image.inspect_id):
        yield Inspection(list(group))


def _rank(entry: Entry) -> tuple[int, float, str]:
    return rank(entry.archived.outcome, entry.image.probability, entry.image.image_name)
