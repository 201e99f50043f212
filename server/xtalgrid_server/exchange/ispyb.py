"""ISPyB's scores of people, and of programs by the name of their schema, as a source for `import-scores`.

A person's score in ISPyB has no person, and its time is that of the row's last change: only the newest is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Group, Outcome

from ..config import Config
from ..domain.drop_state import Meaning
from ..imager.crystaltrak.database import ImagerDatabase
from ..imager.ispyb.scores import ScoredImage, open_scores, read_people, read_program
from ..imager.ispyb.source import entered_images
from .foreign import ForeignScore, Line, Place, Source, Told, utc

WHO = "ISPyB"
"""Who gave the scores: ISPyB keeps no person."""

WORDS: Mapping[str, Meaning] = {
    "clear": Group.CLEAR,
    "contaminated": Group.OTHER,
    "light precipitate": Group.PRECIPITATE,
    "heavy precipitate": Group.PRECIPITATE,
    "phase separation": Outcome.PHASE_SEPARATION,
    "spherulites": Outcome.SPHERULITES,
    "microcrystals": Group.CRYSTAL,
    "1d crystals": Group.CRYSTAL,
    "2d crystals": Group.CRYSTAL,
    "3d crystals": Group.CRYSTAL,
}
"""What the scores that ISPyB is shipped with mean, unless ``scores.names`` says otherwise."""

_CLASSES = {"crystal": "Crystals", "precipitant": "Precipitate", "other": "Other", "clear": "Clear"}


def open_ispyb(config: Config, imager: ImagerDatabase, told: Told, schema: str = "") -> Source:
    """Read people's scores from ISPyB, or with a schema's name that program's probabilities.

    Raises
    ------
    ConfigError
        If no ISPyB is configured, or the schema is our own.
    """
    with open_scores(config):
        pass
    if schema and schema == config.publish.ispyb.schema:
        raise ConfigError(
            f"the schema {schema!r} holds our own ARTscores (publish.ispyb.schema); give another --schema"
        )
    reader = _Reader(config, imager, told, schema)
    notes = () if schema else ("ISPyB keeps neither person nor history: its newest score of each image counts",)
    name = f"ISPyB's {schema}" if schema else "ISPyB's people's scores"
    return Source(name, reader.lines, reader.probabilities, notes, WORDS, _crystal_is_largest)


class _Reader:
    def __init__(self, config: Config, imager: ImagerDatabase, told: Told, schema: str) -> None:
        self._config, self._imager, self._told, self._schema = config, imager, told, schema

    def lines(self) -> Iterator[Line]:
        """Read the scored images; a line's number is its blSampleImageId."""
        with open_scores(self._config) as ispyb:
            is_program = bool(self._schema)
            pages = read_program(self._config, ispyb, self._schema) if is_program else read_people(self._config, ispyb)
            for page in pages:
                places = self._places(page)
                for image in page:
                    place = places.get(image.id)
                    if image.other_light:
                        why = f"it is a {image.other_light} image; what is said of it is no score of the visible one"
                        yield Line(image.id, problem=why)
                    elif place is None:
                        yield Line(image.id, problem=image.problem or "its container has no barcode")
                    elif is_program and not _has_four(image):
                        yield Line(image.id, problem=f"{self._schema} has not all four probabilities of it")
                    else:
                        yield Line(image.id, place, (self._score(image),))

    def probabilities(self) -> Iterator[Mapping[str, float]]:
        """Read a program's probabilities."""
        if self._schema:
            with open_scores(self._config) as ispyb:
                for page in read_program(self._config, ispyb, self._schema):
                    yield from (_numbers(each) for each in page if _has_four(each) and not each.other_light)

    def _places(self, page: list[ScoredImage]) -> dict[int, Place]:
        """Return where images are: as they were entered here, or else by barcode, well and time."""
        is_source = bool(self._config.imager.ispyb.url)
        entered = entered_images(self._imager, [image.id for image in page]) if is_source else {}
        places = {}
        for image in page:
            known = entered.get(image.id)
            if known is not None and known.is_entered:
                places[image.id] = Place(image=known.name, barcode=known.barcode, inspection=known.number)
            elif image.well is not None and image.barcode:
                places[image.id] = Place(barcode=image.barcode, inspected=image.inspected, well=image.well)
        return places

    def _score(self, image: ScoredImage) -> ForeignScore:
        if self._schema:
            return ForeignScore("program", self._told.by or self._schema, "", numbers=_numbers(image))
        at = None
        with suppress(ValueError):  # such as a date ahead of now
            at = utc(self._config, image.changed) if image.changed else None
        return ForeignScore(self._told.kind or "person", self._told.by or WHO, image.word, at, "changed")


def _has_four(image: ScoredImage) -> bool:
    return image.four.keys() >= _CLASSES.keys()


def _numbers(image: ScoredImage) -> dict[str, float]:
    return {ours: image.four[name] for name, ours in _CLASSES.items()}


def _crystal_is_largest(four: Mapping[str, float]) -> bool:
    return four["Crystals"] == max(four.values())
