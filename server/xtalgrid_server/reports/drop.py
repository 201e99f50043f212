"""Look up a drop by the name given to a command: its images in the ledger, its scores in the imager database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xtalgrid_core.errors import ImagerError, XtalgridError

from ..domain.wells import parse_well
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.corrections import Correction
from ..ledger.imager_scores import SeenScore
from ..ledger.imported_scores import ImportedScore
from ..ledger.shapes import DropImage, ScoredImage
from ..ledger.store import Ledger


@dataclass(frozen=True, slots=True)
class EveryScore:
    """All scores that a drop's images ever got, changed and withdrawn ones too, oldest first.

    `corrections` and `imported` are by image id, the latter without images that have none; `seen` is what the score
    table had.
    """

    artscores: list[ScoredImage]
    corrections: dict[int, list[Correction]]
    imported: dict[int, list[ImportedScore]]
    seen: list[SeenScore]


def every_score(ledger: Ledger, images: Sequence[DropImage], inspect_ids: Sequence[int]) -> EveryScore:
    """Gather the scores of a drop's images, and of its inspections in the score table."""
    ids = list(dict.fromkeys(image.image_id for image in images))
    return EveryScore(
        ledger.scores.of_images(ids),
        ledger.corrections.of_images(ids),
        ledger.imported_scores.of_images(ids),
        ledger.imager_scores.history(inspect_ids),
    )


def images_of(ledger: Ledger, barcode: str, name: str, inspection: int | None = None) -> list[DropImage]:
    """Return the images of a drop, at all inspections or one, oldest inspection first.

    Parameters
    ----------
    name
        Such as ``A1a``, or ``A1`` if the well has only one drop.

    Raises
    ------
    XtalgridError
        If there are no images, or the name fits several drops; the message lists what there is.
    """
    try:
        wanted = parse_well(name)
    except ValueError as error:
        raise XtalgridError(str(error)) from error
    plate = ledger.images.of_plate(barcode, all_lights=True)
    if not plate:
        raise XtalgridError(
            f"no images of plate {barcode!r} yet; check the barcode, or run `xtalgrid create_work` to read new images"
        )
    of_well = [image for image in plate if image.well[:2] == wanted[:2]]
    exact = [image for image in of_well if str(image.well) == name.strip()]  # "A1.0" may be one drop's name
    images = exact or [image for image in of_well if wanted.subwell in (0, image.well.subwell)]
    wells = sorted({image.well for image in images})
    if not wells:
        known = sorted({image.well for image in plate})
        raise XtalgridError(f"plate {barcode} has no image of {name}; its wells go from {known[0]} to {known[-1]}")
    if len(wells) > 1:
        raise XtalgridError(f"{name} has several drops; name one of {', '.join(map(str, wells))}")
    numbers = sorted({image.inspection for image in images})
    if inspection is not None and inspection not in numbers:
        raise XtalgridError(
            f"{barcode} {wells[0]} has no inspection {inspection}; it has {', '.join(map(str, numbers))}"
        )
    images = [image for image in images if inspection in (None, image.inspection)]
    return sorted(images, key=lambda image: (image.inspected, image.inspection, image.image_id))


def record_scores(database: ImagerDatabase, ledger: Ledger, images: Sequence[DropImage]) -> tuple[list[int], str]:
    """Record a drop's rows of the imager's score table in the ledger.

    Returns
    -------
    The inspect ids of the drop's inspections that have images or rows, and why the imager database could not be read
    (an empty string if it was).
    """
    ids = sorted({image.inspect_id for image in images})
    try:
        gone = database.gone(images)  # one that was deleted knows no drop any more, one that was given again another
        there = [inspect_id for inspect_id in ids if inspect_id not in gone]
        rows = [row for scores in database.scores_of_drops(there[-1:]).values() for row in scores]
    except ImagerError as error:
        return ids, str(error)
    ledger.imager_scores.record(rows)
    return sorted({*ids, *(row.inspect_id for row in rows)}), ""
