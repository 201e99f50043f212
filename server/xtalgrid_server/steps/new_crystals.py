"""New crystals: drops whose `p_crystal` reached a threshold for the first time."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..config import Config
from ..domain.drop_state import DropState, PersonScore
from ..domain.images import FIRST_DATE, FIRST_IMAGED
from ..domain.novelty import chance_of_new, stood
from ..ledger.images import Range
from ..ledger.shapes import DropImage
from ..ledger.store import Ledger


@dataclass(frozen=True, slots=True)
class NewCrystal:
    """A drop at the first inspection at which its `p_crystal` reached the threshold.

    Attributes
    ----------
    image
        The image that reached it; the one with the largest `p_crystal`, if several did.
    before
        Largest `p_crystal` at any earlier inspection; None: no earlier inspection has a score.
    person_scores
        People's scores of the drop at the earlier inspections and at this one, oldest first.
    """

    image: DropImage
    before: float | None
    person_scores: tuple[PersonScore, ...] = ()

    @property
    def chance_of_new(self) -> float:
        """Its probability of a crystal that appeared or grew since the drop's first inspection."""
        return chance_of_new(self.image.p_crystal, self.image.p_new)

    @property
    def state(self) -> DropState:
        """What the drop is held to be at this inspection."""
        scores = (score for score in self.person_scores if score.inspect_id == self.image.inspect_id)
        return DropState.of(self.image.outcome, self.image.p_crystal, scores)


def crystal_from(config: Config) -> float:
    """Return the `p_crystal` from which on a drop counts as having a crystal.

    It is ``alerts.crystal_from``, or ``work.crystal_from`` if that is not set.
    """
    return config.alerts.crystal_from or config.work.crystal_from


def new_crystals(
    ledger: Ledger,
    threshold: float,
    *,
    inspected_since: datetime | None = None,
    scored_since: datetime | None = None,
    barcodes: Collection[str] | None = None,
) -> list[NewCrystal]:
    """Find the drops whose `p_crystal` reached the threshold at an inspection and was below it at all earlier ones.

    A drop that everybody who scored it at that inspection calls something else is left out; what people said of it
    earlier makes no difference: a drop that somebody once called precipitate is well worth an alert. Only the newest
    score of an image counts; inspections without a score are ignored.

    Parameters
    ----------
    threshold
        `p_crystal` (0..1]; see `crystal_from`.
    inspected_since
        Only crystals that appeared at an inspection since then (the imager's naive local time).
    scored_since
        Only images scored since then (UTC): what is new to somebody who last looked then.
    barcodes
        Only these plates.

    Returns
    -------
    Latest inspection date first; of the same date, the likeliest new crystal first. What most likely stood there at the
    drop's first inspection (`novelty.stood`) comes after all others.
    """
    plates = ledger.plates.with_crystals(threshold, inspected_since, scored_since)
    if barcodes is not None:
        plates &= set(barcodes)
    crystals: list[NewCrystal] = []
    for drops in scored_drops(ledger, plates):
        pasts = []
        for drop in drops:
            image = _first_crystal(drop, threshold)
            if (
                image is not None
                and (inspected_since is None or taken_at(image, drop) >= inspected_since)
                and (scored_since is None or (image.at is not None and image.at >= scored_since))
            ):
                pasts.append((image, drop))
        crystals += [crystal for crystal in _with_past(ledger, pasts) if crystal.state.chance]
    crystals.sort(key=lambda crystal: (-crystal.chance_of_new, crystal.image.drop))
    crystals.sort(key=lambda crystal: crystal.image.inspected, reverse=True)
    return sorted(crystals, key=lambda crystal: stood(crystal.image.p_new))


def with_past(ledger: Ledger, images: Sequence[DropImage]) -> list[NewCrystal]:
    """Return these images, each of another drop, with the earlier scores of their drops; ordered by plate."""
    chosen = {image.drop: image for image in images}
    crystals: list[NewCrystal] = []
    for drops in scored_drops(ledger, {image.barcode for image in images}):
        crystals += _with_past(ledger, [(chosen[drop[0].drop], drop) for drop in drops if drop[0].drop in chosen])
    return crystals


def scored_drops(ledger: Ledger, plates: Collection[str]) -> Iterator[list[list[DropImage]]]:
    """Yield the drops of these plates, some plates at a time, each as its scored images in order of time."""
    chosen = Range(barcodes=plates)
    for batch in ledger.plates.batches(chosen):
        images = ledger.images.of_plates(batch, chosen)
        yield [in_time(list(drop)) for _, drop in itertools.groupby(images, key=lambda image: image.drop)]


def in_time(drop: Sequence[DropImage]) -> list[DropImage]:
    """Return a drop's images in order of time: by the inspection's date, or its number where a clock had lost its time.

    An imager whose clock begins again at 1970 would otherwise have taken each drop's first image.
    """
    dates = {image.inspection: image.inspected for image in drop if image.inspected >= FIRST_IMAGED}

    def when(image: DropImage) -> tuple[datetime, int]:
        if image.inspected >= FIRST_IMAGED:
            return _moment(image)
        before = max((number for number in dates if number < image.inspection), default=None)
        return FIRST_DATE if before is None else dates[before], image.inspection

    return sorted(drop, key=when)


def taken_at(image: DropImage, drop: Sequence[DropImage]) -> datetime:
    """Return an image's date or, where the imager's clock had lost its time, until when it was taken for sure.

    That is when the drop was inspected next, or the image scored.
    """
    if image.inspected >= FIRST_IMAGED:
        return image.inspected
    later = [other.inspected for other in drop if other.inspection > image.inspection]
    dates = [date for date in later if date >= FIRST_IMAGED] + ([image.at] if image.at else [])
    return min(dates, default=image.inspected)


def _first_crystal(images: Iterable[DropImage], threshold: float) -> DropImage | None:
    """Return the first image of a drop to reach the threshold, or None; `images` are in order of time."""
    for _, group in itertools.groupby(images, key=_moment):
        best = max(group, key=lambda image: image.p_crystal)
        if best.p_crystal >= threshold:
            return best
    return None


def _with_past(ledger: Ledger, pasts: Sequence[tuple[DropImage, list[DropImage]]]) -> list[NewCrystal]:
    """Add the earlier scores to each image, given all images of its drop in order of time."""
    person_scores = ledger.person_scores.of(image for _, drop in pasts for image in drop)
    crystals = []
    for image, drop in pasts:
        earlier = before_inspection(image, drop)
        before = max((other.p_crystal for other in earlier), default=None)
        ids = {other.inspect_id for other in (*earlier, image)}
        by_people = sorted((score for inspect_id in ids for score in person_scores[inspect_id]), key=lambda s: s.at)
        crystals.append(NewCrystal(image, before, tuple(by_people)))
    return crystals


def before_inspection(image: DropImage, drop: Sequence[DropImage]) -> list[DropImage]:
    """Return a drop's images of earlier inspections than that of `image`; `drop` is in order of time (`in_time`)."""
    return list(itertools.takewhile(lambda other: _moment(other) != _moment(image), drop))


def _moment(image: DropImage) -> tuple[datetime, int]:
    """Return what tells an image's inspection from the others of its drop, in order of their dates."""
    return image.inspected, image.inspection
