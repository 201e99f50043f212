"""Scored images with the contents of their drops and people's scores: what searches, reports and exports read."""

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
    """An image with its newest ARTscore; `said` are people's scores of its drop at this inspection, oldest first."""

    archived: Archived
    contents: Contents
    said: tuple[Said, ...]

    @property
    def image(self) -> DropImage:
        """The image."""
        return self.archived.image

    @property
    def person(self) -> Said | None:
        """The newest of people's scores, which is the one that counts."""
        return self.said[-1] if self.said else None


class Inspection:
    """A drop at one inspection.

    Attributes
    ----------
    entries
        Its images, the one whose ARTscore has the highest priority first.
    best
        The first of them, whose ARTscore is the inspection's.
    artscore
        Outcome of the ARTscore, as published.
    p_crystal
        The largest of all its images.
    outcome
        Of the person's score, if there is one and its code has an outcome, otherwise of the ARTscore.
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
    """Criteria for drops and inspections; the defaults let everything pass.

    Attributes
    ----------
    outcome
        Name of an outcome or group, compared with `Inspection.outcome`.
    sample, condition, project
        Part of the recorded text; case does not matter.
    barcode
        A whole barcode.
    since, before
        Dates of inspection from the first up to, but not including, the second, in the imager's naive local time.
    scored_by_people
        Only inspections that a person scored.
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
        """Whether the contents of drops are among the criteria."""
        return bool(self.sample or self.condition or self.project)

    def has(self, contents: Contents) -> bool:
        """Tell whether the contents of a drop meet the criteria."""
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
        """Tell whether an inspection meets the criteria on outcome and people's scores; contents are for `has`."""
        if self.scored_by_people and inspection.best.person is None:
            return False
        return not self.outcome or self.outcome in (inspection.outcome, inspection.outcome.group)


def drops(ledger: Ledger, chosen: Filter, answers: bool = False) -> Iterator[list[Inspection]]:
    """Return the drops whose contents, plate and dates fit, by plate, each with its inspections in order of time.

    Parameters
    ----------
    answers
        Also read the workers' full answers (`Archived.answer`).
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
    """Return the inspections that meet all criteria, by plate."""
    for drop in drops(ledger, chosen, answers):
        yield from filter(chosen.fits, drop)


def judged(config: Config, ledger: Ledger, chosen: Filter) -> Iterator[Inspection]:
    """Return the inspections that meet all criteria and that a person scored, by inspect id; read no others."""
    barcodes = {chosen.barcode} if chosen.barcode else None
    for batch in ledger.archive.judged(config.imager.programs, Range(barcodes, chosen.since, chosen.before)):
        recipes = ledger.people.contents({one.image.barcode for one in batch})
        fitting = [one for one in batch if chosen.has(recipes(one.image.barcode, one.image.well))]
        for inspection in _inspections(_entries(ledger, fitting, recipes)):
            if inspection.best.person is not None and chosen.fits(inspection):
                yield inspection


def _entries(ledger: Ledger, batch: Sequence[Archived], recipes: Recipes, plates: Sequence[str] = ()) -> list[Entry]:
    """Add contents and people's scores to images; `plates`, if given, are the plates that the batch has in full."""
    said = ledger.people.said({one.image.image_id: one.image.inspect_id for one in batch}, plates)
    return [Entry(one, recipes(one.image.barcode, one.image.well), tuple(said[one.image.inspect_id])) for one in batch]


def _inspections(entries: Iterable[Entry]) -> Iterator[Inspection]:
    """Group entries by inspection; those of one inspection must be consecutive."""
    for _, group in itertools.groupby(entries, key=lambda entry: entry.image.inspect_id):
        yield Inspection(list(group))


def _rank(entry: Entry) -> tuple[int, float, str]:
    return rank(entry.archived.outcome, entry.image.probability, entry.image.image_name)
