"""People's scores, from the imager's score table and from the viewer together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..config import Config
from ..domain.drop_state import PersonScore
from ..domain.images import ScoreRow
from .corrections import Correction, Corrections
from .imager_scores import ImagerScores
from .shapes import DropImage


class PersonScores:
    """The part of the ledger that knows people's scores, wherever they were given."""

    def __init__(self, config: Config, corrections: Corrections, imager_scores: ImagerScores) -> None:
        self._config, self._corrections, self._imager_scores = config, corrections, imager_scores

    def of(self, images: Iterable[DropImage], barcodes: Sequence[str] = ()) -> dict[int, list[PersonScore]]:
        """Return people's scores of drops, oldest first. Those taken back or replaced are left out.

        Parameters
        ----------
        images
            The drops' images.
        barcodes
            If `images` are most images of whole plates, these plates: they are then queried by plate, not by image.

        Returns
        -------
        dict
            By inspect id, the scores given in XtalTrak, as last seen, and in the viewer. A correction that was written
            into the score table appears once.
        """
        programs = self._config.imager.programs
        inspect_ids = {image.image_id: image.inspect_id for image in images}
        scores: dict[int, list[PersonScore]] = {inspect_id: [] for inspect_id in inspect_ids.values()}
        if barcodes:
            corrections = self._corrections.of_plates(barcodes)
            rows = self._imager_scores.of_plates(barcodes, besides=programs)
        else:
            corrections = self._corrections.of_images(list(inspect_ids))
            rows = self._imager_scores.of_inspections(list(scores), besides=programs)
        written: set[int] = set()
        for image_id, made in corrections.items():
            if image_id in inspect_ids:  # the plates may have other images
                scores[inspect_ids[image_id]] += self._given_in_viewer(inspect_ids[image_id], made)
                written.update(correction.written_id for correction in made if correction.written_id is not None)
        for inspect_id, given in scores.items():
            given += self._given_in_imager(row for row in rows.get(inspect_id, ()) if row.score_id not in written)
            if len(given) > 1:
                given.sort(key=lambda score: score.at)
        return scores

    def _given_in_viewer(self, inspect_id: int, corrections: Sequence[Correction]) -> Iterator[PersonScore]:
        newest = {correction.who: correction for correction in corrections}
        for made in newest.values():
            if made.outcome is not None:
                code = self._config.score_code(made.outcome) or ""
                yield PersonScore(inspect_id, made.outcome, code, made.who, made.at, made.id)

    def _given_in_imager(self, rows: Iterable[ScoreRow]) -> Iterator[PersonScore]:
        settings = self._config.imager
        for row in rows:
            if settings.is_persons(row.by, row.code):
                outcome = self._config.outcome(row.code)
                yield PersonScore(row.inspect_id, outcome, row.code, row.by, settings.utc(row.date))
