"""``export-scored``: write people's scores and the images they belong to as a CSV file for training networks.

Training reads this file, not the imager database (docs/decisions/0007-scored-wells-by-csv.md).
"""

from __future__ import annotations

import csv
import itertools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.files import STANDARD_OUTPUT, replacing
from xtalgrid_core.outcomes import Group
from xtalgrid_core.spreadsheets import cell_text, csv_line, open_text

from ..config import Config
from ..domain.drop_state import DropState, meaning_name
from ..domain.images import ImageRow, ScoredDrop, has_date
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.store import Ledger
from ..steps.pack import image_path
from ..storage.originals import original_status

COLUMNS = (
    "image",
    "uv_image",
    "plate",
    "well",
    "inspection",
    "score",
    "outcome",
    "scored_by",
    "date",
    "pixel_size_um",
    "disagreement",
)

_READ_AT_ONCE = 500
_DIFFERS = "another inspection has the same image, and people scored it differently there"


class _First(NamedTuple):
    """The first row of an image: its own path, and its label."""

    image: str
    code: str
    outcome: str


@dataclass(slots=True)
class ExportedScores:
    """Counts of what was written and what was left out.

    Attributes
    ----------
    wells
        Rows written.
    pairs
        Rows with a UV image.
    labelled
        Rows with a label: an outcome, or a group.
    disputed
        Rows without a label: people disagree, or one of several gave a code that stands for no outcome.
    again
        Inspections left out because another one has the same image.
    group_only
        Rows whose label is a group, because people agree on no more.
    without_image
        Inspections left out because they have no matching image.
    missing
        Inspections left out because their image is not under the image root.
    codes
        Score code → number of rows, for codes that stand for no outcome.
    """

    wells: int = 0
    pairs: int = 0
    labelled: int = 0
    disputed: int = 0
    group_only: int = 0
    again: int = 0
    without_image: int = 0
    missing: int = 0
    codes: Counter[str] = field(default_factory=Counter)


def export_scored(
    config: Config, database: ImagerDatabase, ledger: Ledger, out: Path, uv: Sequence[str] = ()
) -> ExportedScores:
    """Write one row for each drop at each inspection at which people scored it: what they agree on, and its image.

    Scores in the imager's score table and in the viewer count alike. Scores by programs (``imager.scored_by``,
    ``imager.automatic``) and codes that mean "not scored" are left out. If several images match, the row has the one
    that the newest score names, else the first by name. An image has one row: where an imager has two inspections with
    one image and people scored them differently, it has no label.

    Parameters
    ----------
    config, database, ledger
        The configuration, its imager database and its ledger.
    out
        File to write.
    uv
        Names of UV images, with ``*`` and ``?``; a row has the first of its inspection whose file exists.

    Raises
    ------
    ConfigError
        If the file cannot be written.
    ImagerError
        If the database cannot be read.
    """
    done = ExportedScores()
    elsewhere = {*ledger.corrections.inspect_ids(), *ledger.imported_scores.inspect_ids()}
    scored = database.scored_by_people(uv, elsewhere)
    seen, differing = dict[str, _First](), dict[str, _First]()
    try:
        with replacing(out) as stream:
            stream.write(csv_line(COLUMNS))
            while drops := list(itertools.islice(scored, _READ_AT_ONCE)):
                scores = ledger.person_scores.beside({drop.inspect_id: drop.scores for drop in drops})
                for drop in drops:
                    state = DropState.of(None, scores=scores[drop.inspect_id])
                    row = _row(config, drop, state, done, seen, differing)
                    if row is not None:
                        stream.write(csv_line(row))
        if differing and out != STANDARD_OUTPUT and out.is_file():
            _take_labels(out, differing, done)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}; give another file") from error
    return done


def _take_labels(table: Path, differing: Mapping[str, _First], done: ExportedScores) -> None:
    """Take the labels of images that another inspection has too, with another one: nothing says which is right."""
    images = {first.image for first in differing.values()}
    with open_text(table) as old, replacing(table) as new:
        for cells in csv.reader(old):
            row = dict(zip(COLUMNS, map(cell_text, cells), strict=True))
            if row["image"] in images:
                said = "; ".join(filter(None, (row["disagreement"], _DIFFERS)))
                row |= {"score": "", "outcome": "", "disagreement": said}
            new.write(csv_line(list(row.values())))
    for first in differing.values():
        done.labelled -= bool(first.outcome)
        done.group_only -= bool(first.outcome) and not first.code
        done.disputed += bool(first.outcome or first.code)


def _row(
    config: Config,
    drop: ScoredDrop,
    state: DropState,
    done: ExportedScores,
    seen: dict[str, _First],
    differing: dict[str, _First],
) -> tuple[object, ...] | None:
    """Return a drop's row, None without one; `seen` has the images so far, and `differing` those with two labels."""
    if not state.people:  # all took their scores back
        return None
    if not drop.images:
        done.without_image += 1
        return None
    newest = state.people[-1]
    image = next((row for row in drop.images if row.image_name == newest.image_name), drop.images[0])
    path = _file(config, image)
    if path is None:
        done.missing += 1
        return None
    code, outcome = _label(state)
    place = os.path.realpath(path)  # two names may lead to one file
    if (first := seen.get(place)) is not None:
        done.again += 1
        if (first.outcome or first.code) != (outcome or code):
            differing[place] = first
        return None
    seen[place] = _First(str(path), code, outcome)
    mates = (_file(config, image, name) for name in drop.mates)
    mate = next((path for path in mates if path is not None), None)
    done.wells += 1
    done.pairs += mate is not None
    done.codes.update({score.code for score in state.people if score.meaning is None})
    differ = len({score.name for score in state.people}) > 1
    done.group_only += bool(outcome) and not code
    done.disputed += not outcome and not code
    done.labelled += bool(outcome)
    return (
        path,
        mate or "",
        image.barcode,
        image.well,
        image.inspection,
        code,
        outcome,
        "; ".join(score.who for score in state.people),
        _date(config, newest.at),
        config.imager.pixel_size_um or "",
        "; ".join(f"{score.who}: {score.name}" for score in state.people) if differ else "",
    )


def _date(config: Config, at: datetime) -> str:
    """Format when a score was given, in the imager's local time; empty for a score without a date."""
    return config.imager.local(at.replace(tzinfo=UTC).timestamp()).isoformat(sep=" ") if has_date(at) else ""


def _label(state: DropState) -> tuple[str, str]:
    """Return the score code and the outcome that all people stand for, as far as there are any."""
    agreed, codes = state.agreed, {score.code for score in state.people}
    if isinstance(agreed, Group):
        return "", meaning_name(agreed)  # as xtalgrid_nets names it
    if agreed is not None:
        return state.people[-1].code, str(agreed)
    return (codes.pop() if len(codes) == 1 else "", "")


def _file(config: Config, image: ImageRow, name: str = "") -> Path | None:
    """Return the path of an image or, by `name`, of another one of its inspection; None if the file does not exist."""
    try:
        path = image_path(config, image).absolute()
        if name:
            if Path(name).name != name:
                return None
            path = path.with_name(name)
        original_status(config, path)
    except ImageError:
        return None
    return path
