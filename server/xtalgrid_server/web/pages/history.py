"""All scores that a drop ever got: by every model, by people here and in XtalTrak, what was changed and taken back too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from xtalgrid_core.outcomes import Outcome

from ...config import Config
from ...ledger.people import SeenScore
from ...ledger.plates import DropImage
from ...ledger.records import ScoreOrigin
from ..site import Site


@dataclass(frozen=True, slots=True)
class Entry:
    """A score: when (UTC), at which inspection, by whom or what. `outcome` None: a code of the lab, or taken back (`detail`)."""

    at: datetime
    inspection: int
    outcome: Outcome | None
    by: str
    detail: str
    probability: float | None = None
    p_crystal: float | None = None
    is_person: bool = False
    title: str = ""


def scores_ever(site: Site, images: Sequence[DropImage], origins: Sequence[ScoreOrigin]) -> list[Entry]:
    """The scores of a drop's images at all its inspections, newest first; `origins`: how one of the images was scored."""
    by_id = {image.image_id: image for image in images}
    rules = {each.score.score_id: each.options for each in origins}
    entries = []
    for score in site.ledger.plates.scores_ever(list(by_id)):
        options = rules.get(score.score_id)
        rule = (
            ""
            if options is None
            else f", {options.rule}" + ("" if options.rule == "pooled" else f" {options.threshold:g}")
        )
        entries.append(
            Entry(
                at=score.at,
                inspection=by_id[score.image_id].inspection,
                outcome=score.outcome,
                by="ARTscore",
                detail=f"{score.classifier[:8]}{rule}",
                probability=score.probability,
                p_crystal=score.p_crystal,
                title=f"classifier {score.classifier}, segmenter {score.segmenter}, worker {score.worker}",
            )
        )
    written = set()
    for image_id, made in site.ledger.people.corrections(list(by_id)).items():
        for one in made:
            written.add(one.written_id)
            detail = "here" if one.outcome else "taken back"
            entries.append(Entry(one.at, by_id[image_id].inspection, one.outcome, one.who, detail, is_person=True))
    numbers = {image.inspect_id: image.inspection for image in images}
    entries += [
        _of_table(site.config, seen, numbers[seen.row.inspect_id])
        for seen in site.ledger.people.history(list(numbers))
        if seen.row.score_id not in written and site.config.imager.is_persons(seen.row.by, seen.row.code)
    ]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)


def _of_table(config: Config, seen: SeenScore, inspection: int) -> Entry:
    """A row of the imager's score table as it was seen; one that was gone is dated when that was noticed."""
    return Entry(
        at=seen.seen_at if seen.gone else config.imager.utc(seen.row.date),
        inspection=inspection,
        outcome=None if seen.gone else config.outcome(seen.row.code),
        by=seen.row.by or "somebody",
        detail="deleted from the score table" if seen.gone else f"score {seen.row.code}, in the score table",
        is_person=True,
    )
