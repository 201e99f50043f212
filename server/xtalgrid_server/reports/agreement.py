"""``agreement`` and ``disagreements``: compare ARTscores with people's scores of the same inspections.

This is the report for shadow mode. Agreement between two computers' results of one unit is another matter:
`xtalgrid_server.steps.assimilate.agree`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from xtalgrid_core.outcomes import SCORED_GROUPS, Group, Outcome, published
from xtalgrid_core.wilson import wilson

from ..config import Config
from ..domain.drop_state import group_of
from ..ledger.store import Ledger
from .entries import DropInspection, Filter, scored_by_people

Order = Literal["newest", "p_crystal"]


@dataclass(frozen=True, slots=True)
class Part:
    """A proportion, `hits` of `number`, with its 95 % confidence interval (Wilson)."""

    hits: int
    number: int
    interval: tuple[float, float]

    @classmethod
    def of(cls, hits: int, number: int) -> Part:
        """Compute the interval of a proportion."""
        return cls(hits, number, wilson(hits, number))

    def __str__(self) -> str:
        """Format as ``90.0% (79.9%–95.3%), 54 of 60``, or as a dash if `number` is 0."""
        if not self.number:
            return "–"
        low, high = self.interval
        return f"{self.hits / self.number:.1%} ({low:.1%}–{high:.1%}), {self.hits} of {self.number}"


@dataclass(frozen=True, slots=True)
class Month:
    """Inspections of one month, such as ``2026-11``: agreement in group, and people's crystals that we found too."""

    month: str
    agree: Part
    crystals: Part


@dataclass(frozen=True, slots=True)
class AgreementWithPeople:
    """Comparison of ARTscores with people's scores of the same inspections.

    Attributes
    ----------
    agree, same_outcome
        Inspections in which the person's score and the ARTscore have the same group, and the very same outcome; the
        second is of those in which a person named an outcome, not only a group.
    unseen
        The same as `agree`, of those whose person scored them in the viewer without having seen an ARTscore.
    by_group
        Recall of each group: of the inspections that people put into it, those with an ARTscore of that group.
    named
        Precision of each group: of the inspections with an ARTscore of that group, those that people put into it.
    table
        Number of inspections by people's group, then ours; `Group.UNKNOWN` is undecided.
    missed
        Number of inspections with crystals by the person's score, but not by the ARTscore.
    only_ours
        Number of inspections with crystals by the ARTscore, but not by the person's score.
    disputed
        Number of inspections that people put into different groups; not counted elsewhere.
    failed, waiting
        Number of inspections that people scored and that have no ARTscore, because it failed or is still to come; not
        counted elsewhere.
    unmapped
        Number of people's scores by code, for codes without an outcome in ``imager.codes``; not counted elsewhere.
    classifiers
        Number of ARTscores by classifier (SHA-256).
    """

    agree: Part
    same_outcome: Part
    unseen: Part
    by_group: dict[Group, Part]
    named: dict[Group, Part]
    table: dict[Group, dict[Group, int]]
    missed: int
    only_ours: int
    months: tuple[Month, ...]
    disputed: int
    failed: int
    waiting: int
    unmapped: dict[str, int]
    classifiers: dict[str, int]


@dataclass(slots=True)
class _Counts:
    table: Counter[tuple[Group, Group]] = field(default_factory=Counter)
    same_outcome: int = 0
    outcomes: int = 0
    unseen: Counter[bool] = field(default_factory=Counter)
    disputed: int = 0
    failed: int = 0
    waiting: int = 0
    months: Counter[tuple[str, str]] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)
    classifiers: Counter[str] = field(default_factory=Counter)


def agreement_with_people(config: Config, ledger: Ledger, chosen: Filter) -> AgreementWithPeople:
    """Compare people's scores with the newest ARTscores of the same inspections.

    If several people scored an inspection and agree on the group, the newest score counts; if they don't, none does. If
    it has several images, the ARTscore with the highest priority counts.
    """
    counts = _Counts()
    for inspection in scored_by_people(config, ledger, chosen):
        state = inspection.state
        if state.disputed:
            counts.disputed += 1
            continue
        if not state.said:
            counts.unmapped[state.people[-1].code] += 1
            continue
        artscore = inspection.artscore
        if artscore in (None, Outcome.FAILED):
            counts.failed += artscore is Outcome.FAILED
            counts.waiting += artscore is None
            continue
        person = state.outcomes[0]
        theirs, ours = group_of(person), artscore.group
        month = f"{inspection.best.image.inspected:%Y-%m}"
        counts.table[theirs, ours] += 1
        if isinstance(person, Outcome):
            counts.outcomes += 1
            counts.same_outcome += published(person) is artscore
        if next(score for score in reversed(state.people) if score.meaning is not None).unseen:
            counts.unseen[theirs is ours] += 1
        counts.classifiers[inspection.best.image.classifier] += 1
        counts.months[month, "all"] += 1
        counts.months[month, "agree"] += theirs is ours
        if theirs is Group.CRYSTAL:
            counts.months[month, "crystals"] += 1
            counts.months[month, "found"] += ours is Group.CRYSTAL
    return _summary(counts)


def _summary(counts: _Counts) -> AgreementWithPeople:
    table = {
        theirs: {ours: counts.table[theirs, ours] for ours in (*SCORED_GROUPS, Group.UNKNOWN)}
        for theirs in SCORED_GROUPS
    }
    total, months = counts.table.total(), counts.months
    crystal = Group.CRYSTAL
    return AgreementWithPeople(
        agree=Part.of(sum(table[group][group] for group in SCORED_GROUPS), total),
        same_outcome=Part.of(counts.same_outcome, counts.outcomes),
        unseen=Part.of(counts.unseen[True], counts.unseen.total()),
        by_group={group: Part.of(table[group][group], sum(table[group].values())) for group in SCORED_GROUPS},
        named={
            group: Part.of(table[group][group], sum(row[group] for row in table.values())) for group in SCORED_GROUPS
        },
        table=table,
        missed=sum(table[crystal].values()) - table[crystal][crystal],
        only_ours=sum(table[group][crystal] for group in SCORED_GROUPS if group is not crystal),
        months=tuple(
            Month(
                month,
                Part.of(months[month, "agree"], months[month, "all"]),
                Part.of(months[month, "found"], months[month, "crystals"]),
            )
            for month in sorted({month for month, _ in months})
        ),
        disputed=counts.disputed,
        failed=counts.failed,
        waiting=counts.waiting,
        unmapped=dict(sorted(counts.unmapped.items())),
        classifiers=dict(counts.classifiers.most_common()),
    )


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An inspection that a person and xtalgrid put into different groups; `at` is when the person scored it, UTC.

    `person` is None if they named only the `group`, in their own word, which then is the `code`. `others` are the
    scores that other people gave it, as ``name: outcome``. `origin` is the file that the score was imported from.
    """

    barcode: str
    well: str
    inspection: int
    inspected: datetime
    image_name: str
    score_id: int | None
    artscore: Outcome
    probability: float
    p_crystal: float
    person: Outcome | None
    group: Group
    code: str
    who: str
    at: datetime
    others: tuple[str, ...] = ()
    origin: str = ""


def disagreements(
    config: Config, ledger: Ledger, chosen: Filter, order: Order = "newest", limit: int = 50
) -> list[Disagreement]:
    """List inspections whose groups by a person and by ARTscore differ, newest or largest `p_crystal` first.

    An inspection is listed once for each person who differs.
    """

    def rank(one: Disagreement) -> tuple[object, ...]:
        place = one.barcode, one.well, one.inspection  # breaks ties
        return (one.p_crystal, *place) if order == "p_crystal" else (one.inspected, one.p_crystal, *place)

    return heapq.nlargest(limit, _disagreements(scored_by_people(config, ledger, chosen)), key=rank)


def _disagreements(inspections: Iterable[DropInspection]) -> Iterator[Disagreement]:
    for inspection in inspections:
        image, people, artscore = inspection.best.image, inspection.state.people, inspection.artscore
        if artscore is None or inspection.p_crystal is None:  # failed, or still to come
            continue
        for person in people:
            if person.group is None or person.group is artscore.group:
                continue
            yield Disagreement(
                barcode=image.barcode,
                well=str(image.well),
                inspection=image.inspection,
                inspected=image.inspected,
                image_name=image.image_name,
                score_id=image.score_id,
                artscore=artscore,
                probability=image.probability,
                p_crystal=inspection.p_crystal,
                person=person.outcome,
                group=person.group,
                code=person.code,
                who=person.who,
                at=person.at,
                others=tuple(f"{other.who}: {other.name}" for other in people if other is not person),
                origin=person.origin,
            )
