"""Drops over time: where a crystal is new."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from ..config import Config
from ..ledger.archive import Archived, Range
from ..ledger.people import Said
from ..ledger.plates import DropImage
from ..ledger.store import Ledger
from ..wells import Well


@dataclass(frozen=True, slots=True)
class NewCrystal:
    """A drop at the first inspection at which its `p_crystal` reached the threshold.

    `image` is the image that reached it, of several the one with the largest; `before` the largest `p_crystal` at any earlier
    inspection, None: there was none with a score. `said` is what people said of the drop at these inspections and at this one,
    oldest first.
    """

    image: DropImage
    before: float | None
    said: tuple[Said, ...] = ()

    @property
    def drop(self) -> tuple[str, Well]:
        """(barcode, well)."""
        return self.image.barcode, self.image.well


def crystal_from(config: Config) -> float:
    """The `p_crystal` from which a drop counts as one with a crystal: ``alerts.crystal_from``, else ``work.crystal_from``."""
    return config.alerts.crystal_from or config.work.crystal_from


def new_crystals(
    ledger: Ledger,
    threshold: float,
    *,
    inspected_since: datetime | None = None,
    scored_since: datetime | None = None,
    barcodes: Collection[str] | None = None,
) -> list[NewCrystal]:
    """The drops whose `p_crystal` was below the threshold at all earlier inspections and reached it at one since a moment.

    A person's score makes no difference: a drop that somebody called precipitate long ago is just the one to be told of. The
    newest score of an image counts, and inspections without a score don't.

    Parameters
    ----------
    threshold
        `p_crystal` (0..1]; see `crystal_from`.
    inspected_since
        Only inspections since then (the imager's naive local time).
    scored_since
        Only images scored since then (UTC): what is new for somebody who looked then.
    barcodes
        Only these plates.

    Returns
    -------
    Newest inspection first, of one inspection the largest `p_crystal` first.
    """
    plates = ledger.archive.with_crystals(threshold, inspected_since, scored_since)
    if barcodes is not None:
        plates &= set(barcodes)
    found = []
    for batch in ledger.archive.plates(Range(barcodes=plates)):
        crystals = [
            (crystal, earlier)
            for _, images in itertools.groupby(
                batch, key=lambda archived: (archived.image.barcode, archived.image.well)
            )
            for crystal, earlier in _first_crystal(images, threshold)
            if (inspected_since is None or crystal.image.inspected >= inspected_since)
            and (scored_since is None or (crystal.image.at is not None and crystal.image.at >= scored_since))
        ]
        said = ledger.people.said(
            {image.image_id: image.inspect_id for crystal, earlier in crystals for image in (crystal.image, *earlier)}
        )
        for crystal, earlier in crystals:
            ids = dict.fromkeys(image.inspect_id for image in (*earlier, crystal.image))
            told = sorted((one for inspect_id in ids for one in said[inspect_id]), key=lambda one: one.at)
            found.append(NewCrystal(crystal.image, crystal.before, tuple(told)))
    return sorted(found, key=lambda one: (-one.image.inspected.timestamp(), -one.image.p_crystal, one.drop))


def _first_crystal(images: Iterable[Archived], threshold: float) -> Iterator[tuple[NewCrystal, list[DropImage]]]:
    """A drop's first crystal with the images of before, or nothing; `images` are one drop's in the order of time."""
    earlier: list[DropImage] = []
    for _, group in itertools.groupby(
        images, key=lambda archived: (archived.image.inspected, archived.image.inspection)
    ):
        here = [archived.image for archived in group]
        best = max(here, key=lambda image: image.p_crystal)
        if best.p_crystal >= threshold:
            before = max((image.p_crystal for image in earlier), default=None)
            yield NewCrystal(best, before), earlier
            return
        earlier += here
