"""``export-scored``: write people's scores and the images they belong to as a CSV file for training networks.

Training reads this file, not the imager database (docs/decisions/0007-scored-wells-by-csv.md).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.files import replacing
from xtalgrid_core.outcomes import Group
from xtalgrid_core.spreadsheets import csv_line

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
    without_image: int = 0
    missing: int = 0
    codes: Counter[str] = field(default_factory=Counter)


def export_scored(
    config: Config, database: ImagerDatabase, ledger: Ledger, out: Path, uv: Sequence[str] = ()
) -> ExportedScores:
    """Write one row for each drop at each inspection at which people scored it: what they agree on, and its image.

    Scores in the imager's score table and in the viewer count alike. Scores by programs (``imager.scored_by``,
    ``imager.automatic``) and codes that mean "not scored" are left out. If several images match, the row has the one
    that the newest score names, else the first by name.

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
    try:
        with replacing(out) as stream:
            stream.write(csv_line(COLUMNS))
            while drops := list(itertools.islice(scored, _READ_AT_ONCE)):
                scores = ledger.person_scores.beside({drop.inspect_id: drop.scores for drop in drops})
                for drop in drops:
                    row = _row(config, drop, DropState.of(None, scores=scores[drop.inspect_id]), done)
                    if row is not None:
                        stream.write(csv_line(row))
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}; give another file") from error
    return done


def _row(config: Config, drop: ScoredDrop, state: DropState, done: ExportedScores) -> tuple[object, ...] | None:
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
    mates = (_file(config, image, name) for name in drop.mates)
    mate = next((path for path in mates if path is not None), None)
    done.wells += 1
    done.pairs += mate is not None
    done.codes.update({score.code for score in state.people if score.meaning is None})
    code, outcome = _label(state)
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
