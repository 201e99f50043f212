"""Images with an ARTscore or a person's, with the contents of their drops: what searches, reports and exports read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from xtalgrid_core import wire
from xtalgrid_core.outcomes import Outcome, published

from ..config import Config
from ..domain.drop_state import DropState, PersonScore
from ..domain.letters import folded
from ..domain.wells import Well
from ..ledger.contents import Contents, PlateContents
from ..ledger.drop_notes import DropNote
from ..ledger.images import Range
from ..ledger.shapes import DropImage, ScoredImage
from ..ledger.store import Ledger
from ..steps.score_rules import rank


@dataclass(frozen=True, slots=True)
class Entry:
    """An image, what is in its drop, and people's scores of it at this inspection, oldest first.

    Either it has an ARTscore, or people scored it.
    """

    image: DropImage
    contents: Contents
    person_scores: tuple[PersonScore, ...]

    @property
    def artscore(self) -> Outcome | None:
        """Outcome of the image's ARTscore, as published; ``failed`` or, while it waits, None without one."""
        return published(self.image.outcome) if self.image.outcome else None

    @property
    def answer(self) -> wire.Scored | None:
        """The worker's answer; None without an ARTscore, or if answers were not read."""
        answer = self.image.answer if isinstance(self.image, ScoredImage) else None
        return answer if isinstance(answer, wire.Scored) else None


class DropInspection:
    """A drop at one inspection.

    Attributes
    ----------
    entries
        Its images, the one whose ARTscore has the highest priority first.
    best
        The first of them, whose ARTscore is the inspection's.
    artscore
        Outcome of the ARTscore, as published; ``failed`` or, while it waits, None without one.
    p_crystal
        The largest of all its images; None without an ARTscore.
    state
        What it is held to be, from the ARTscore and all people's scores.
    """

    __slots__ = ("artscore", "best", "entries", "p_crystal", "state")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = (
            tuple(entries) if len(entries) == 1 else tuple(sorted(entries, key=lambda entry: rank(entry.image)))
        )
        self.best = self.entries[0]
        self.artscore = self.best.artscore
        self.p_crystal = max((entry.image.p_crystal for entry in self.entries if entry.image.is_scored), default=None)
        scores = dict.fromkeys(score for entry in self.entries for score in entry.person_scores)
        self.state = DropState.of(self.artscore, self.p_crystal, scores)


@dataclass(frozen=True, slots=True)
class Filter:
    """Criteria for drops and inspections; the defaults let everything pass.

    Attributes
    ----------
    outcome
        Name of an outcome or group that the inspection may be of, by `DropInspection.state`.
    sample, condition, project
        Part of the recorded text; case does not matter.
    barcode
        A whole barcode.
    since, before
        Dates of inspection from the first up to, but not including, the second, in the imager's naive local time.
    scored_by_people
        Only inspections that a person scored.
    inspection
        Only this number of plates' inspections; None: all.
    note
        Part of a note on the drop; case does not matter.
    favourites
        Only drops that are somebody's favourites.
    among
        Barcodes of the only plates that count; None: all.
    """

    outcome: str = ""
    sample: str = ""
    condition: str = ""
    project: str = ""
    barcode: str = ""
    since: datetime | None = None
    before: datetime | None = None
    scored_by_people: bool = False
    inspection: int | None = None
    note: str = ""
    favourites: bool = False
    among: frozenset[str] | None = None

    @property
    def plates(self) -> set[str] | None:
        """Barcodes of the only plates that can fit, by `barcode` and `among`; None: all."""
        if self.among is None:
            return {self.barcode} if self.barcode else None
        return {self.barcode} & self.among if self.barcode else set(self.among)

    @property
    def by_contents(self) -> bool:
        """Whether the contents of drops, or the notes on them, are among the criteria."""
        return bool(self.sample or self.condition or self.project or self.note or self.favourites)

    def has(self, contents: Contents, notes: Sequence[DropNote]) -> bool:
        """Tell whether the contents of a drop, and the notes on it, meet the criteria."""
        wanted_note = folded(self.note)
        if self.note and not any(one.kind == "note" and wanted_note in folded(one.text) for one in notes):
            return False
        if self.favourites and not any(one.kind == "favourite" for one in notes):
            return False
        return all(
            folded(wanted) in folded(text)
            for wanted, text in (
                (self.sample, contents.sample),
                (self.condition, contents.condition),
                (self.project, contents.project),
            )
            if wanted
        )

    def counts(self, inspection: DropInspection) -> bool:
        """Tell whether an inspection meets the criteria on number and people, whatever its outcome."""
        if self.inspection not in (None, inspection.best.image.inspection):
            return False
        return not self.scored_by_people or bool(inspection.state.people)

    def fits(self, inspection: DropInspection) -> bool:
        """Tell whether an inspection meets the criteria on number, people and outcome; contents are for `has`."""
        return self.counts(inspection) and (not self.outcome or inspection.state.is_one_of(self.outcome))


def drops(ledger: Ledger, chosen: Filter, answers: bool = False) -> Iterator[list[DropInspection]]:
    """Return the drops whose contents, plate and dates fit, by plate, each with its inspections in order of time.

    Parameters
    ----------
    answers
        Read the images that have an ARTscore as `ScoredImage`, with the workers' answers.
    """
    programs = ledger.person_scores.programs
    chosen_range = _range(ledger, chosen)
    for plates in ledger.plates.batches(chosen_range):
        contents = ledger.contents.of_plates(plates)
        keep = _fitting_drops(ledger, chosen, contents, plates) if chosen.by_contents else None
        batch = ledger.images.of_plates(plates, chosen_range, keep, answers=answers, programs=programs)
        entries = _entries(ledger, batch, contents, plates)
        for _, drop in itertools.groupby(entries, key=lambda entry: entry.image.drop):
            yield list(_inspections(drop))


def _fitting_drops(
    ledger: Ledger, chosen: Filter, contents: PlateContents, plates: Iterable[str]
) -> Callable[[str, Well], bool]:
    """Return a function that tells whether a drop of these plates meets the criteria on its contents and notes."""
    notes = ledger.drop_notes.of_plates(list(plates)) if chosen.note or chosen.favourites else {}
    return lambda barcode, well: chosen.has(contents(barcode, well), notes.get((barcode, well), ()))


def have_second_opinion(ledger: Ledger, chosen: Filter) -> bool:
    """Tell whether scores of the plates and dates that fit have a second opinion, without reading the scores."""
    return ledger.images.have_second_opinion(_range(ledger, chosen))


def _range(ledger: Ledger, chosen: Filter) -> Range:
    """Return the plates that may have drops that fit, and the dates."""
    barcodes = chosen.plates
    for name in ("project", "sample", "condition"):
        if part := getattr(chosen, name):
            matching = ledger.contents.plates_with(part, name)
            barcodes = matching if barcodes is None else barcodes & matching
    if chosen.note or chosen.favourites:
        noted = ledger.drop_notes.plates_with(chosen.note, "note" if chosen.note else "favourite")
        barcodes = noted if barcodes is None else barcodes & noted
    return Range(barcodes, chosen.since, chosen.before)


def inspections(ledger: Ledger, chosen: Filter, answers: bool = False) -> Iterator[DropInspection]:
    """Return the inspections that meet all criteria, by plate."""
    for drop in drops(ledger, chosen, answers):
        yield from filter(chosen.fits, drop)


def scored_by_people(config: Config, ledger: Ledger, chosen: Filter) -> Iterator[DropInspection]:
    """Return the inspections that meet all criteria and that a person scored, by inspect id; read no others."""
    chosen_range = Range(chosen.plates, chosen.since, chosen.before)
    for batch in ledger.images.scored_by_people(config.imager.programs, chosen_range):
        plates = {image.barcode for image in batch}
        contents = ledger.contents.of_plates(plates)
        fits = _fitting_drops(ledger, chosen, contents, plates)
        fitting = [image for image in batch if fits(*image.drop)]
        for inspection in _inspections(_entries(ledger, fitting, contents)):
            if inspection.state.people and chosen.fits(inspection):
                yield inspection


def _entries(
    ledger: Ledger, images: Sequence[DropImage], contents: PlateContents, plates: Sequence[str] = ()
) -> list[Entry]:
    """Add contents and people's scores to images, without those that have neither these nor an ARTscore.

    `plates`, if given, are the plates whose images these are.
    """
    person_scores = ledger.person_scores.of(images, plates)
    return [
        Entry(image, contents(*image.drop), tuple(person_scores[image.inspect_id]))
        for image in images
        if image.is_scored or person_scores[image.inspect_id]
    ]


def _inspections(entries: Iterable[Entry]) -> Iterator[DropInspection]:
    """Group entries by inspection; those of one inspection must be consecutive."""
    for _, group in itertools.groupby(entries, key=lambda entry: entry.image.inspect_id):
        yield DropInspection(list(group))
