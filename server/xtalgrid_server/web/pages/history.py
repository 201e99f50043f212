"""Every score that a drop has had: by each model, by people here and in XtalTrak, changed and withdrawn ones too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ...config import Config
from ...domain.drop_state import Meaning
from ...ledger.imager_scores import SeenScore
from ...ledger.imported_scores import numbers_of
from ...ledger.scores import Origin
from ...ledger.shapes import DropImage
from ...reports.drop import every_score
from ..site import Site


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One score: when (UTC), at which inspection, by whom or by what.

    `outcome` is None for a code that only the lab knows and for a withdrawn score; `detail` says which.
    """

    at: datetime
    inspection: int
    outcome: Meaning | None
    by: str
    detail: str
    probability: float | None = None
    p_crystal: float | None = None
    is_person: bool = False
    title: str = ""


def score_history(site: Site, images: Sequence[DropImage], origins: Mapping[int, Origin]) -> list[HistoryEntry]:
    """List the scores of a drop's images at all its inspections, newest first.

    Parameters
    ----------
    origins
        Where the scores of one of the images came from, by score id.
    """
    by_id = {image.image_id: image for image in images}
    numbers = {image.inspect_id: image.inspection for image in images}
    every = every_score(site.ledger, images, list(numbers))
    entries = [
        HistoryEntry(
            at=score.at,
            inspection=score.inspection,
            outcome=score.outcome,
            by="ARTscore",
            detail=f"{score.classifier[:8]}{_rule(origins.get(score.score_id))}",
            probability=score.probability if score.is_scored else None,
            p_crystal=score.p_crystal if score.is_scored else None,
            title=f"classifier {score.classifier}, segmenter {score.segmenter}, worker {score.worker}",
        )
        for score in every.artscores
    ]
    written = set()  # rows of the score table that the viewer wrote: they are corrections already
    for image_id, corrections in every.corrections.items():
        for correction in corrections:
            written.add(correction.written_id)
            entries.append(
                HistoryEntry(
                    at=correction.at,
                    inspection=by_id[image_id].inspection,
                    outcome=correction.outcome,
                    by=correction.who,
                    detail="undone" if correction.undoes else "in the viewer" if correction.outcome else "withdrawn",
                    is_person=True,
                )
            )
    entries += [
        _from_score_table(site.config, seen, numbers[seen.row.inspect_id])
        for seen in every.seen
        if seen.row.score_id not in written and site.config.imager.is_persons(seen.row.by, seen.row.code)
    ]
    entries += [
        HistoryEntry(
            at=score.at,
            inspection=by_id[image_id].inspection,
            outcome=score.meaning,
            by=score.who,
            detail=f"{score.kind}, “{score.word}” in {score.origin}",
            is_person=score.kind == "person",
            title=numbers_of(score),
        )
        for image_id, scores in every.imported.items()
        for score in scores
    ]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)


def _rule(origin: Origin | None) -> str:
    if origin is None:
        return ""
    options = origin.options
    return f", {options.rule}" if options.is_pooled else f", {options.rule} {options.threshold:g}"


def _from_score_table(config: Config, seen: SeenScore, inspection: int) -> HistoryEntry:
    """Make an entry of a row of the imager's score table; a deleted row is dated when the deletion was noticed."""
    return HistoryEntry(
        at=seen.seen_at if seen.gone else config.imager.utc(seen.row.date),
        inspection=inspection,
        outcome=None if seen.gone else config.outcome(seen.row.code),
        by=seen.row.by or "unknown",
        detail="deleted from the score table" if seen.gone else f"score {seen.row.code}, in the score table",
        is_person=True,
    )
