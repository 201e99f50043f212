"""`/inbox`: what is new for this person, and what needs a decision."""

from __future__ import annotations

import itertools
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import HTMLResponse

from xtalgrid_core.outcomes import Group

from ...domain.drop_state import DropState, PersonScore
from ...domain.wells import Well
from ...ledger.database import now
from ...ledger.shapes import DropImage
from ...steps.new_crystals import NewCrystal, crystal_from, new_crystals
from ...steps.score_rules import rank
from ..pages.drops import DropCard, drop_cards
from ..site import AllowedRequest, PageRequest, PostedForm, Site
from .plate import days_between

router = APIRouter()

_FIRST_DAYS = 14
"""How many days back a person's first visit goes."""

_RECENT_DAYS = 90
"""How long before the newest inspection a drop may have been photographed to be news; the archive is scored too."""

_LIMIT = 60
"""Drops shown in each section, newest first."""


_DISPUTED_DAYS = 90
"""How far back scores in the imager's score table are compared with other people's."""

_RESCORED_DAYS = 365
"""How far back one's scores in the imager's score table are compared with newer ARTscores."""

_READ_AT_ONCE = 500
_MOST_READS = 40
_OF_OTHERS = 20
"""How many times as many drops are read for a person who may not see all of them."""


@dataclass(frozen=True, slots=True)
class CrystalPair:
    """A drop with a new crystal, and the days since the image before; both are None at the drop's first inspection."""

    crystal: NewCrystal
    before: DropImage | None
    days: int | None


@router.get("/inbox", response_class=HTMLResponse)
def inbox(request: AllowedRequest, older: str = "", of: str = "") -> HTMLResponse:
    """Show new crystals, where people disagree or the ARTscore now differs from one's own, and undecided drops.

    Without `older`, new crystals and undecided drops are of the last `_RECENT_DAYS` before the newest inspection. Where
    a person's own projects are known, all is of these, unless `of` is ``all``.
    """
    site, until = request.site, now()
    last_visit = site.ledger.users.last_seen(request.visitor.name) if request.visitor.may_score else None
    since = last_visit or (now() - timedelta(days=_FIRST_DAYS)).replace(second=0, microsecond=0)
    threshold = crystal_from(site.config)
    recent = None if older else _recent(request)
    every = site.crystals.get(
        (since, recent),
        lambda: new_crystals(site.ledger, threshold, inspected_since=recent, scored_since=since),
    )
    mine = request.wants_mine(of)
    shows = request.sight.is_mine if mine else request.sight.sees
    crystals = [crystal for crystal in every if shows(crystal.image.barcode)]
    newest = crystals[:_LIMIT]
    return request.render(
        "inbox.html",
        last_visit=last_visit,
        since=since,
        until=until,
        recent=recent,
        threshold=threshold,
        number=len(crystals),
        pairs=[_pair(request, crystal) for crystal in newest],
        found=_found_by_people(request, mine, since, {crystal.image.drop for crystal in newest}),
        disputed=_disputed(request, mine),
        rescored=_rescored(request, mine) if request.visitor.may_score else [],
        undecided=_undecided(request, mine, recent),
        limit=_LIMIT,
        mine=mine,
        query={"older": older} if older else {},
    )


@router.post("/inbox/seen")
def mark_seen(request: AllowedRequest, form: PostedForm) -> Response:
    """Mark everything that was new when the page was made as seen by this person."""
    request.check_form(form)
    request.site.ledger.users.mark_seen(request.visitor.name, _until(form.text("until")))
    return request.redirect("/inbox")


def _until(text: str) -> datetime:
    """Return the time (UTC) of the page that a form is from: what came since, nobody has seen."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise HTTPException(422, "This form does not say when its page was made: reload the page.") from error
    return min(at.replace(tzinfo=None), now())


def _factor(request: PageRequest, mine: bool) -> int:
    return 1 if request.sight.everything and not mine else _OF_OTHERS


def _found_by_people(
    request: PageRequest, mine: bool, since: datetime, shown: Container[tuple[str, Well]]
) -> list[DropCard]:
    """Return drops that other people called crystals since then, besides those that are shown already."""
    site, name = request.site, request.visitor.name
    config = site.config.imager
    since_local = config.local(since.replace(tzinfo=UTC).timestamp())
    images = site.ledger.images.scored_by_people_since(
        config.programs, since, since_local, 20 * _LIMIT * _factor(request, mine)
    )
    return [
        card
        for card in _cards(site, request.visible(images, mine=mine))
        if card.image.drop not in shown
        and any(
            score.group is Group.CRYSTAL and score.who.casefold() != name.casefold() and score.at >= since
            for score in card.state.people
        )
    ][:_LIMIT]


def _disputed(request: PageRequest, mine: bool) -> list[DropCard]:
    """Return drops that people put into different groups, the last scored first."""
    site, most = request.site, 5 * _LIMIT * _factor(request, mine)
    programs = site.config.imager.programs
    images = site.ledger.images.scored_by_several(programs, _days_ago(site, _DISPUTED_DAYS), most)
    return [card for card in _cards(site, request.visible(images, mine=mine)) if card.state.disputed][:_LIMIT]


def _rescored(request: PageRequest, mine: bool) -> list[tuple[DropImage, PersonScore]]:
    """Return the drops whose ARTscore is newer than this person's score and in another group, the last scored first."""
    site, name = request.site, request.visitor.name
    config, images = site.config.imager, site.ledger.images
    in_viewer = images.rescored(name, 10 * _LIMIT)
    in_imager = images.scored_in_imager_by(name, config.programs, _days_ago(site, _RESCORED_DAYS))
    newer = dict.fromkeys(inspect_id for inspect_id, date, at in in_imager if at > config.utc(date))
    found = []
    scored = images.of_inspections([*in_viewer, *itertools.islice(newer, 10 * _LIMIT)])
    for card in _cards(site, request.visible(scored, mine=mine)):
        own, image = card.state.by(name), card.image
        if own is None or own.group is None or image.outcome is None or image.at is None or not image.is_scored:
            continue
        is_newer = image.at > own.at if own.correction is None else own.correction in in_viewer.values()
        if is_newer and image.outcome.group is not own.group:
            found.append((image, own))
    return sorted(found, key=lambda pair: pair[1].at, reverse=True)[:_LIMIT]


def _days_ago(site: Site, days: int) -> datetime:
    """Return the imager's naive local time so many days ago."""
    return site.config.imager.local((now() - timedelta(days=days)).replace(tzinfo=UTC).timestamp())


def _recent(request: PageRequest) -> datetime | None:
    """Return the imager's naive local time from which on an inspection is recent; None: there is none.

    It goes by the newest inspection, since a lab may have stopped its imager, but not by one that is dated ahead.
    """
    latest = request.site.config.imager.latest_date()
    newest = next((entry.date for entry in request.plates() if entry.date <= latest), None)
    return newest and newest - timedelta(days=_RECENT_DAYS)


def _undecided(request: PageRequest, mine: bool, recent: datetime | None) -> list[DropImage]:
    """Return the newest undecided images, photographed since then, that no person has scored."""
    site = request.site
    found: list[DropImage] = []
    before = None
    for _ in range(_MOST_READS):
        if len(found) >= _LIMIT:
            break
        images = site.ledger.images.undecided(before, _READ_AT_ONCE, recent)
        if not images:
            break
        person_scores = site.ledger.person_scores.of(images)
        found += [
            image
            for image in request.visible(images, mine=mine)
            if site.config.light.is_scored(image.image_name)
            and not DropState.of(image.outcome, scores=person_scores[image.inspect_id]).said
        ]
        before = images[-1].score_id
    return found[:_LIMIT]


def _cards(site: Site, images: Sequence[DropImage]) -> list[DropCard]:
    """Make the cards of images of several plates and inspections, in the order of the images."""
    person_scores = site.ledger.person_scores.of(images)
    groups: dict[tuple[str, int], list[DropImage]] = {}
    for image in images:
        groups.setdefault((image.barcode, image.inspection), []).append(image)
    return [card for group in groups.values() for card in drop_cards(group, person_scores)]


def _pair(request: PageRequest, crystal: NewCrystal) -> CrystalPair:
    """Add the drop's image before; the plate's inspection before may not have this drop."""
    image = crystal.image
    drop = request.site.ledger.images.of_plate(image.barcode, well=image.well)
    earlier = [one for one in drop if (one.inspected, one.inspection) < (image.inspected, image.inspection)]
    last = max(((one.inspected, one.inspection) for one in earlier), default=None)
    before = min((one for one in earlier if (one.inspected, one.inspection) == last), key=rank, default=None)
    days = days_between(before.inspected, image.inspected) if before else None
    return CrystalPair(crystal, before, days)
