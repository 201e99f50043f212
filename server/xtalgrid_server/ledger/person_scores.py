"""People's scores: from the imager's score table, from the viewer, and from imported files together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from xtalgrid_core.outcomes import Group

from ..config import Config
from ..domain.drop_state import PersonScore
from ..domain.images import ImageRow, ScoreRow
from .corrections import Correction, Corrections
from .imager_scores import ImagerScores
from .imported_scores import ImportedScore, ImportedScores
from .shapes import DropImage


class PersonScores:
    """The part of the ledger that knows people's scores, wherever they were given."""

    def __init__(
        self, config: Config, corrections: Corrections, imager_scores: ImagerScores, imported_scores: ImportedScores
    ) -> None:
        self._config, self._corrections, self._imager_scores = config, corrections, imager_scores
        self._imported_scores = imported_scores

    @property
    def programs(self) -> tuple[str, ...]:
        """SCOREDBY names of programs, whose scores are not people's."""
        return self._config.imager.programs

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
            By inspect id, the scores given in XtalTrak, as last seen, in the viewer, and in imported files. A
            correction that was written into the score table appears once; programs' scores do not.
        """
        by_id = {image.image_id: image for image in images}
        inspect_ids = list(dict.fromkeys(image.inspect_id for image in by_id.values()))
        if barcodes:
            corrections = self._corrections.of_plates(barcodes)
            imported = self._imported_scores.of_plates(barcodes)
            rows = self._imager_scores.of_plates(barcodes, besides=self.programs)
        else:
            corrections = self._corrections.of_images(list(by_id))
            imported = self._imported_scores.of_images(list(by_id))
            rows = self._imager_scores.of_inspections(inspect_ids, besides=self.programs)
        made: dict[int, list[tuple[str, list[Correction]]]] = {}
        for image_id, given in corrections.items():
            if given and (image := by_id.get(image_id)):  # the plates may have other images
                made.setdefault(image.inspect_id, []).append((image.image_name, given))
        brought: dict[int, list[PersonScore]] = {}
        for image_id, scores in imported.items():
            if image := by_id.get(image_id):
                brought.setdefault(image.inspect_id, []).extend(_imported(image.inspect_id, image.image_name, scores))
        return {
            each: self._merged(each, made.get(each, ()), rows.get(each, ()), brought.get(each, ()))
            for each in inspect_ids
        }

    def beside(self, rows: Mapping[int, Sequence[ScoreRow]]) -> dict[int, list[PersonScore]]:
        """Return the same for inspections whose people's rows in the score table are known, by inspect id."""
        made = self._corrections.of_inspections(list(rows))
        brought: dict[int, list[PersonScore]] = {}
        for inspect_id, images in self._imported_scores.of_inspections(list(rows)).items():
            brought[inspect_id] = [one for name, scores in images for one in _imported(inspect_id, name, scores)]
        return {each: self._merged(each, made.get(each, ()), rows[each], brought.get(each, ())) for each in rows}

    def imported(self, barcodes: Sequence[str]) -> list[tuple[ImageRow, PersonScore]]:
        """Return people's scores of these plates' images in imported files, in the order of import."""
        return [
            (image, given)
            for image, score in self._imported_scores.with_images(barcodes)
            for given in _imported(image.inspect_id, image.image_name, [score])
        ]

    def _merged(
        self,
        inspect_id: int,
        made: Sequence[tuple[str, list[Correction]]],
        rows: Sequence[ScoreRow],
        imported: Sequence[PersonScore],
    ) -> list[PersonScore]:
        """Return an inspection's scores: its corrections by image name, its rows in the score table, imported ones."""
        scores = list(imported)
        written: set[int | None] = set()
        for image_name, corrections in made:
            scores += self._given_in_viewer(inspect_id, image_name, corrections)
            written.update(correction.written_id for correction in corrections)
        scores += self._given_in_imager(row for row in rows if row.score_id not in written)
        if len(scores) > 1:
            scores.sort(key=lambda score: score.at)
        return scores

    def _given_in_viewer(
        self, inspect_id: int, image_name: str, corrections: Sequence[Correction]
    ) -> Iterator[PersonScore]:
        newest = {correction.who: correction for correction in corrections}
        for made in newest.values():
            if made.outcome is not None:
                code = made.code or self._config.score_code(made.outcome) or ""
                yield PersonScore(
                    inspect_id,
                    made.outcome,
                    code,
                    made.who,
                    made.at,
                    made.id,
                    image_name,
                    own_name=self._config.own_name(code),
                    unseen=made.score_id is None,
                )

    def _given_in_imager(self, rows: Iterable[ScoreRow]) -> Iterator[PersonScore]:
        settings = self._config.imager
        for row in rows:
            if settings.is_persons(row.by, row.code):
                outcome = self._config.outcome(row.code)
                at = settings.utc(row.date)
                own_name = self._config.own_name(row.code)
                yield PersonScore(
                    row.inspect_id, outcome, row.code, row.by, at, image_name=row.image_name, own_name=own_name
                )


def _imported(inspect_id: int, image_name: str, scores: Iterable[ImportedScore]) -> Iterator[PersonScore]:
    """Return those of an image's imported scores that people gave and that mean something."""
    for score in scores:
        if score.kind == "person" and score.meaning is not None:
            outcome, group = (None, score.meaning) if isinstance(score.meaning, Group) else (score.meaning, None)
            yield PersonScore(
                inspect_id,
                outcome,
                score.word,
                score.who,
                score.at,
                image_name=image_name,
                group_only=group,
                origin=score.origin,
            )
