"""What a report says: read from the ledger, and no more pictures or plates than fit into memory and patience."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata

from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.frames import frame, percent, thumbnail
from xtalgrid_core.images import read_image
from xtalgrid_core.lines import one_line
from xtalgrid_core.outcomes import SCORED_GROUPS, Group

from ...config import Config
from ...ledger.contents import Contents
from ...ledger.database import now
from ...ledger.shapes import DropImage, ScoredImage
from ...ledger.store import Ledger
from ...steps.pack import read_original
from ..pages.drops import LINE, DropCard, drop_cards, find_stop, select_drops
from ..pages.pictures import small_jpeg
from ..query_parameters import GROUP_NAMES, PlateView

MOST_PICTURES = 48
"""Pictures of a plate, unless its reader wants others; about 5 MB."""
ALL_PICTURES = 300
"""Pictures of a report of several plates."""
MOST_PLATES = 60
_FEWEST = 6
"""Pictures of a plate on which hardly anything is likely."""
_SIDE = 720

Pictures = dict[int, bytes | str]
"""JPEGs by image id, or why there is none."""


class _NothingVisibleError(ConfigError):
    """A plate without an image that has a say."""


@dataclass(frozen=True, slots=True)
class Count:
    """The drops of a group: how many people put there, and how many the ARTscore alone did."""

    name: str
    people: int
    artscore: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A drop with what is known of it."""

    drop: DropCard
    contents: Contents

    @property
    def held(self) -> str:
        """What it is held to be, and by whom."""
        state = self.drop.state
        if not state.said:
            return f"{state.name} (ARTscore)" if state.name else "not scored yet"
        return f"{state.name} ({', '.join(score.who for score in state.people)})"

    @property
    def artscore(self) -> str:
        """The ARTscore in words; empty without one."""
        image = self.drop.image
        if image.failure:
            return f"failed: {image.failure[0]}"
        return f"{image.outcome} {percent(image.probability)}" if image.is_scored else ""

    @property
    def p_crystal(self) -> str:
        """Formatted p_crystal; empty without an ARTscore."""
        return "" if self.drop.p_crystal is None else percent(self.drop.p_crystal)


@dataclass(frozen=True, slots=True)
class PlateReport:
    """A plate at one inspection.

    Attributes
    ----------
    projects, samples
        What is known to be on the plate.
    inspections
        (number, date) of all, by number.
    expected
        Expected crystals.
    best
        The drops to show, the likeliest crystals first; `likely` is how many reach the review's line.
    hits
        The drops that are held to be crystals, in the same order.
    models
        Ids of the networks that scored it: (segmenter, classifier).
    """

    barcode: str
    inspection: int
    inspected: datetime
    projects: tuple[str, ...]
    samples: tuple[str, ...]
    inspections: list[tuple[int, datetime]]
    drops: list[DropCard]
    counts: list[Count]
    expected: float
    likely: int
    line: int
    best: list[Shown]
    hits: list[Shown]
    models: list[tuple[str, str]]

    @property
    def days(self) -> int:
        """Days since the plate's first inspection, whatever the inspections' numbers."""
        return (self.inspected.date() - min(at for _, at in self.inspections).date()).days


@dataclass(frozen=True, slots=True)
class Report:
    """A report of one plate, or of the plates of a project.

    Attributes
    ----------
    left_out
        What was left out to keep it bounded; empty if nothing was.
    """

    title: str
    plates: list[PlateReport]
    made_at: datetime
    version: str
    is_project: bool = False
    left_out: str = ""

    @property
    def models(self) -> list[tuple[str, str]]:
        """Ids of the networks that scored it: (segmenter, classifier)."""
        return sorted({pair for plate in self.plates for pair in plate.models})


def plate_report(ledger: Ledger, barcode: str, inspection: int | None = None, most: int = MOST_PICTURES) -> PlateReport:
    """Read a plate at an inspection, the newest if None, with at most so many pictures.

    Raises
    ------
    ConfigError
        If there is none.
    """
    images = ledger.images.of_plate(barcode)
    if not images:
        why = "with an image in visible light; `xtalgrid search --group-by plate` lists plates"
        raise _NothingVisibleError(f"there is no plate {barcode} {why}")
    inspections = sorted({image.inspection: image.inspected for image in images}.items())
    number = max(inspections, key=lambda pair: (pair[1], pair[0]))[0] if inspection is None else inspection
    of_inspection = [image for image in images if image.inspection == number]
    if not of_inspection:
        known = ", ".join(str(each) for each, _ in inspections)
        raise ConfigError(f"plate {barcode} has no inspection {number}; choose from: {known}")
    person_scores = ledger.person_scores.of(of_inspection, [barcode])
    drops = select_drops(drop_cards(of_inspection, person_scores), PlateView("best"))
    contents = ledger.contents.of_plates([barcode])
    pairs = ledger.contents.samples([barcode]).get(barcode, [])
    stop = find_stop(drops, LINE)

    def shown(chosen: Sequence[DropCard]) -> list[Shown]:
        return [Shown(drop, contents(barcode, drop.well)) for drop in chosen]

    best = drops[: min(max(stop.above, _FEWEST), most)]
    return PlateReport(
        barcode=barcode,
        inspection=number,
        inspected=max(image.inspected for image in of_inspection),
        projects=tuple(dict.fromkeys(project for project, _ in pairs if project)),
        samples=tuple(dict.fromkeys(sample for _, sample in pairs if sample)),
        inspections=inspections,
        drops=drops,
        counts=_counts(drops),
        expected=stop.expected,
        likely=stop.above,
        line=stop.line,
        best=shown(best),
        hits=shown([drop for drop in drops if drop.state.group is Group.CRYSTAL]),
        models=_models(ledger, drops),
    )


def report_of_plate(ledger: Ledger, barcode: str, inspection: int | None = None, most: int = MOST_PICTURES) -> Report:
    """Read the report of a plate; see `plate_report`."""
    plate = plate_report(ledger, barcode, inspection, most)
    return Report(f"{plate.barcode}, inspection {plate.inspection}", [plate], now(), metadata.version("xtalgrid"))


def report_of_project(ledger: Ledger, project: str, most: int = MOST_PICTURES) -> Report:
    """Read the report of the plates with a project whose name contains this text, at their newest inspections.

    Of more than `MOST_PLATES` plates the newest are taken, and of each so many pictures that `ALL_PICTURES` suffice.
    Plates with images in other light alone are left out.

    Raises
    ------
    ConfigError
        If there is no such plate with images.
    """
    belonging = ledger.contents.plates_with(project.strip(), "project") if project.strip() else set()
    dates: dict[str, datetime] = {}
    for (barcode, _), date in ledger.plates.inspections_since(0).items():
        if barcode in belonging:
            dates[barcode] = max(date, dates.get(barcode, date))
    if not dates:
        raise ConfigError(f"no plate with images has the project {project!r}; see `xtalgrid search --project`")
    newest = sorted(dates, key=lambda barcode: (dates[barcode], barcode), reverse=True)
    chosen = newest[:MOST_PLATES]
    each = max(1, min(most, ALL_PICTURES // len(chosen)))
    plates, without = list[PlateReport](), list[str]()
    for barcode in chosen:
        try:
            plates.append(plate_report(ledger, barcode, most=each))
        except _NothingVisibleError:
            without.append(barcode)
    if not plates:
        raise ConfigError(f"no plate of the project {project!r} has an image in visible light")
    left_out = [f"The {len(chosen)} newest of {len(newest)} plates."] if len(newest) > len(chosen) else []
    if without:
        left_out.append(f"{', '.join(map(one_line, without))}: no image in visible light.")
    made_at, version = now(), metadata.version("xtalgrid")
    return Report(f"Project {project.strip()}", plates, made_at, version, True, " ".join(left_out))


def picture(config: Config, image: DropImage, score: ScoredImage | None) -> bytes:
    """Make a drop's picture as JPEG: with frame and boxes if it has an ARTscore, small enough for print.

    Raises
    ------
    ImageError
        If the original cannot be read.
    """
    data = read_original(config, image)
    if score is None or not isinstance(score.answer, wire.Scored):
        return small_jpeg(data, _SIDE)
    stream = io.BytesIO()
    thumbnail(frame(read_image(data), score.answer), _SIDE).save(stream, "JPEG", quality=82)
    return stream.getvalue()


def pictures(config: Config, ledger: Ledger, report: Report) -> Pictures:
    """Make the pictures of a report, one after the other; those that cannot be made are left out with the reason."""
    made: Pictures = {}
    for image, score in wanted_pictures(ledger, report):
        try:
            made[image.image_id] = picture(config, image, score)
        except ImageError as error:
            made[image.image_id] = str(error.reason)
    return made


def wanted_pictures(ledger: Ledger, report: Report) -> list[tuple[DropImage, ScoredImage | None]]:
    """Return the images to show, each with its score."""
    images = [shown.drop.image for plate in report.plates for shown in plate.best]
    ids = [image.score_id for image in images if image.score_id is not None]
    scores = {score.score_id: score for score in ledger.scores.by_id(ids)}
    return [(image, scores.get(image.score_id) if image.score_id is not None else None) for image in images]


def _models(ledger: Ledger, drops: Sequence[DropCard]) -> list[tuple[str, str]]:
    """Return the ids of the networks; only a score of each classifier is read."""
    one_of = {drop.image.classifier: drop.image.score_id for drop in drops if drop.image.is_scored}
    scores = ledger.scores.by_id([score_id for score_id in one_of.values() if score_id is not None])
    return sorted({(score.segmenter, score.classifier) for score in scores})


def _counts(drops: Sequence[DropCard]) -> list[Count]:
    """Count the drops by what they are held to be, and by who said so."""
    counts: Counter[tuple[str, bool]] = Counter()
    for drop in drops:
        state = drop.state
        if state.disputed:
            name = "People disagree"
        elif drop.image.failure and not state.said:
            name = "Failed"
        elif state.group is None:
            name = "Not scored yet"
        else:
            name = GROUP_NAMES[state.group]
        counts[name, bool(state.said)] += 1
    names = [*(GROUP_NAMES[group] for group in (*SCORED_GROUPS, Group.UNKNOWN)), "People disagree", "Failed"]
    names.append("Not scored yet")
    found = [Count(name, counts[name, True], counts[name, False]) for name in names]
    return [count for count in found if count.people or count.artscore]
