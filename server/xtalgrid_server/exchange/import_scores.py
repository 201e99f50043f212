"""``import-scores``: bring scores of people and programs in from files of other programs.

A file is recognised by its content. Each line is accepted or refused by its number, with the reason; the account adds
up. Programs' scores are kept and shown, but are never people's. The same file twice changes nothing.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.spreadsheets import text_encoding

from ..config import Config
from ..domain.drop_state import PersonScore, group_of, meaning_name
from ..domain.letters import composed, folded
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.imported_scores import AtIs, ImportedScore
from ..ledger.shapes import DropImage
from ..ledger.store import Ledger
from . import polo
from .accounts import FileAccount, Refused, file_lines, refused_to
from .foreign import ForeignScore, Line, Source, Told, is_sorted
from .import_annotations import annotation_format
from .places import Places
from .rockmaker import open_export
from .score_tables import open_table
from .sheets import hidden_note, several_sheets, sheets
from .texrank import is_texrank, open_texrank
from .words import Words

_AT_ONCE = 1000
_BOXES = "boxes and outlines come in by `xtalgrid import-annotations`"
_FEW = 5
"""Sorted rows below which sorting may be chance: five wells with crystals are sorted so once in 7,776 cases."""


@dataclass
class ImportedScores(FileAccount):
    """Account of a file: lines = new + known + without_score + refused; a line with any new score is new.

    Attributes
    ----------
    lines
        Lines with anything in them, without the header.
    without_score
        Lines of drops that nobody scored, by the file.
    hidden
        Those of the lines that Excel does not show.
    notes
        What a person should know.
    """

    format: str = ""
    lines: int = 0
    new: int = 0
    known: int = 0
    without_score: int = 0
    refused: int = 0
    hidden: int = 0
    people: Counter[str] = field(default_factory=Counter)
    programs: Counter[str] = field(default_factory=Counter)
    first_refused: list[Refused] = field(default_factory=list)
    unknown_words: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def import_scores(
    config: Config,
    imager: ImagerDatabase,
    ledger: Ledger,
    file: Path,
    told: Told | None = None,
    *,
    dry_run: bool = False,
    accept_sorted: bool = False,
    refused_file: Path | None = None,
) -> ImportedScores:
    """Import a file's scores.

    Parameters
    ----------
    told
        What the person says of the file.
    dry_run
        Only make the account; record nothing.
    accept_sorted
        Accept probabilities that look as if they had been paired with the wrong names; see `_check_lines`.
    refused_file
        CSV file for all refused lines.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not recognised. Nothing is recorded then.
    """
    source = open_source(config, file, told or Told())
    return import_source(
        config,
        imager,
        ledger,
        source,
        str(file),
        file.name,
        dry_run=dry_run,
        accept_sorted=accept_sorted,
        refused_file=refused_file,
    )


def import_source(
    config: Config,
    imager: ImagerDatabase,
    ledger: Ledger,
    source: Source,
    place: str,
    origin: str,
    *,
    dry_run: bool = False,
    accept_sorted: bool = False,
    refused_file: Path | None = None,
) -> ImportedScores:
    """Import the scores of an open source, of which messages say `place`, and the ledger keeps `origin`.

    Other parameters and errors are those of `import_scores`.
    """
    _check_lines(place, source, accept_sorted)
    done = ImportedScores(source.format, notes=list(source.notes))
    places, words = Places(config, imager, ledger, folders_count=True), Words(config, source.words)
    said: dict[int, int] = {}
    try:
        with refused_to(refused_file, "line") as out:
            lines = source.lines()
            while batch := list(itertools.islice(lines, _AT_ONCE)):
                scores = _read(config, ledger, origin, batch, places, words, done, said, out)
                if not dry_run:
                    ledger.imported_scores.add(scores)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or refused_file}: {error.strerror}") from error
    return done


def open_source(config: Config, file: Path, told: Told) -> Source:
    """Recognise a file by its content; a folder is Rock Maker's export.

    Raises
    ------
    ConfigError
        If it is no file of scores.
    """
    if file.is_dir():
        return open_export(config, file, told)
    if file.exists() and not file.is_file():
        raise ConfigError(f"{file}: neither a file nor a folder; save the scores as a file first")
    try:
        if polo.is_polo(file):
            return polo.open_polo(config, file, told)
        _refuse_what_is_no_table(file)
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    from_texrank = [sheet for sheet in sheets(file) if told.sheet in ("", sheet.name) and is_texrank(sheet)]
    if len(from_texrank) > 1:
        raise several_sheets(file, from_texrank)
    return open_texrank(from_texrank[0], told) if from_texrank else open_table(config, file, told)


def _refuse_what_is_no_table(file: Path) -> None:
    """Refuse files of programs that are not read, and say what to do with each.

    Raises
    ------
    ConfigError
        If it is JSON, or MarcoscopeJ's.
    """
    with file.open("rb") as stream:
        data = stream.read(4096)
    head = data.decode(text_encoding(data), "ignore").lstrip()
    if "\tmsoversion" in head.partition("\n")[0]:
        raise ConfigError(
            f"{file}: MarcoscopeJ's classes (.mso), which are not read; save the first column and the last, the well's "
            "number and the class, as CSV with the header well_number,score, say what the classes mean in "
            'xtalgrid.toml, such as [scores] names = { "90" = "any crystal", "50" = "any precipitate" }, and give '
            "--barcode and --by"
        )
    if not head.startswith(("{", "[")):
        return
    if '"scores"' in head.lower() and '"crystals"' in head.lower():
        raise ConfigError(
            f"{file}: MARCO's answers as JSON, which are not read; make a table of them, with a line for each image "
            "and the columns image, Crystals, Other, Precipitate and Clear"
        )
    if name := annotation_format(file):
        raise ConfigError(f"{file}: {name}, no table of scores; {_BOXES}")
    raise ConfigError(
        f"{file}: JSON, but no run of Polo; save the scores as a table, CSV or Excel, with a line for each image; "
        f"{_BOXES}"
    )


def _check_lines(place: str, source: Source, accept_sorted: bool) -> None:
    """Read the whole file once, so that one that breaks off is refused whole.

    The published script that writes MARCO's scores to ISPyB pairs the sorted probabilities with a fixed list of
    classes, so that "crystal" always has the largest: such rows say nothing.
    """
    rows, is_mixed_up = 0, True
    for four in source.probabilities():
        rows += 1
        is_mixed_up = is_mixed_up and source.looks_mixed_up(four)
    if is_mixed_up and rows >= _FEW and not accept_sorted:
        fall = "the probabilities fall from crystal to precipitate, clear and other"
        what = fall if source.looks_mixed_up is is_sorted else "crystal has the largest probability"
        raise ConfigError(
            f"{place}: in all {rows} rows {what}, as the published script that writes MARCO's scores to ISPyB mixes "
            "them up; get them from MARCO again, or, if all wells are crystals, use --accept-sorted"
        )


def _read(
    config: Config,
    ledger: Ledger,
    origin: str,
    batch: Sequence[Line],
    places: Places,
    words: Words,
    done: ImportedScores,
    said: dict[int, int],
    out: IO[bytes] | None,
) -> list[ImportedScore]:
    """Find the images and meanings of a batch of lines; return their scores that are new, and count all."""
    places.prepare(line.place for line in batch if line.scores)
    found: list[tuple[DropImage, list[ImportedScore]]] = []
    for line in batch:
        done.lines += 1
        done.hidden += line.is_hidden
        scores: list[ImportedScore] = []
        try:
            if line.problem:
                raise ValueError(line.problem)
            if line.scores:
                image = places.find(line.place)
                scores = list(_scores(config, line.file or origin, image, line.scores, words))
                _refuse_contradictions(scores, said)
        except ValueError as why:
            done.refuse(line.number, why, line.file, out)
            continue
        if scores:
            found.append((image, scores))
        else:
            done.without_score += 1
    return _count_new(ledger, found, done)


def _scores(
    config: Config, origin: str, image: DropImage, scores: Iterable[ForeignScore], words: Words
) -> Iterator[ImportedScore]:
    for score in scores:
        meaning = words.meaning(score.word, as_outcome=score.as_outcome) if score.word else None
        if meaning is None and (score.kind == "person" or not score.numbers):
            continue  # a word that says that there is no score
        at_is: AtIs = score.at_is if score.at else "imaged"
        at = score.at or config.imager.utc(image.inspected)
        yield ImportedScore(
            image.image_id, score.kind, composed(score.who), at, at_is, score.word, meaning, score.numbers, origin[:500]
        )


def _refuse_contradictions(scores: Sequence[ImportedScore], said: dict[int, int]) -> None:
    """Refuse a line if the file says otherwise of the same image, by the same person, at the same time or without one.

    `said` has what the file said so far; an image that the ledger does not know never gets there.

    Raises
    ------
    ValueError
        If so.
    """
    for score in scores:
        key = hash((score.giver, score.at if score.has_time else None))
        if said.setdefault(key, hash(str(score.says))) != hash(str(score.says)):
            when = "with the same time" if score.has_time else "and neither has a time"
            raise ValueError(f"{score.who} said otherwise in an earlier line, {when}; remove one")


def _count_new(
    ledger: Ledger, found: Sequence[tuple[DropImage, list[ImportedScore]]], done: ImportedScores
) -> list[ImportedScore]:
    """Return the scores that are neither imported already nor given by the same person here at the same time."""
    images = {image.image_id: image for image, _ in found}
    given = ledger.person_scores.of(images.values()) if images else {}
    unknown = {id(score) for score in ledger.imported_scores.unknown([s for _, scores in found for s in scores])}
    new = []
    for image, scores in found:
        fresh = [s for s in scores if id(s) in unknown and not _is_given(s, given[image.inspect_id])]
        for score in fresh:
            done.count_new(score.kind, score.who)
        done.new += bool(fresh)
        done.known += not fresh
        new += fresh
    return new


def _is_given(score: ImportedScore, given: Sequence[PersonScore]) -> bool:
    """Tell whether a person's score is one that is known from the viewer or the score table, as in our own export.

    A nameless class in Polo that is what people here say is taken for theirs, since `export xtal` brings it there.
    """
    if score.kind != "person" or score.meaning is None:
        return False
    if score.who == polo.WHO:
        return any(one.group is group_of(score.meaning) and one.who != polo.WHO for one in given)
    return any(
        (score.has_time or not one.origin)
        and folded(one.who) == folded(score.who)
        and one.at.replace(microsecond=0) == score.at
        and one.name == meaning_name(score.meaning)
        for one in given
    )


def import_lines(done: ImportedScores, dry_run: bool) -> Iterator[str]:
    """Format an account as text."""
    parts = f"{done.lines} lines = {done.new} new + {done.known} known + {done.without_score} without a score"
    notes = [*done.notes, *([hidden_note(done.hidden)] if done.hidden else [])]
    return file_lines(done, parts, "scores", notes, dry_run, line="line ", lines=" lines")
