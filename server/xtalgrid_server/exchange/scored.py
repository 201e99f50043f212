"""``export-scored``: write people's scores and the images they belong to as a CSV file for training networks.

Training reads this file, not the imager database (docs/decisions/0007-scored-wells-by-csv.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.files import replacing
from xtalgrid_core.outcomes import CLASSES, Outcome
from xtalgrid_core.spreadsheets import csv_line

from ..config import Config
from ..domain.images import ImageRow, ScoredDrop
from ..imager.crystaltrak.database import ImagerDatabase
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
)


@dataclass(slots=True)
class ExportedScores:
    """Counts of what was written and what was left out.

    Attributes
    ----------
    wells
        Rows written.
    pairs
        Rows with a UV image.
    without_image
        Scores left out because their inspection has no matching image.
    missing
        Scores left out because their image is not under the image root.
    codes
        Score code → number of rows, for codes that stand for no outcome.
    """

    wells: int = 0
    pairs: int = 0
    without_image: int = 0
    missing: int = 0
    codes: dict[str, int] | None = None


def export_scored(config: Config, database: ImagerDatabase, out: Path, uv: Sequence[str] = ()) -> ExportedScores:
    """Write one row for each drop at each inspection at which a person scored it: the newest score and its image.

    Scores by programs (``imager.scored_by``, ``imager.automatic``) and codes that mean "not scored" are left out. If
    several images match, the row has the one named in the score, else the first by name.

    Parameters
    ----------
    config, database
        The configuration and its imager database.
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
    outcomes = {config.score_code(outcome): outcome for outcome in CLASSES if outcome is not Outcome.RIM}
    done, unknown = ExportedScores(), dict[str, int]()
    try:
        with replacing(out) as stream:
            stream.write(csv_line(COLUMNS))
            for drop in database.scored_by_people(uv):
                row = _row(config, drop, outcomes, done)
                if row is not None:
                    stream.write(csv_line(row))
                    if not row[COLUMNS.index("outcome")]:
                        unknown[drop.score.code] = unknown.get(drop.score.code, 0) + 1
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}; give another file") from error
    done.codes = dict(sorted(unknown.items()))
    return done


def _row(
    config: Config, drop: ScoredDrop, outcomes: Mapping[str | None, Outcome], done: ExportedScores
) -> tuple[object, ...] | None:
    if not drop.images:
        done.without_image += 1
        return None
    image = next((row for row in drop.images if row.image_name == drop.score.image_name), drop.images[0])
    path = _file(config, image)
    if path is None:
        done.missing += 1
        return None
    mates = (_file(config, image, name) for name in drop.mates)
    mate = next((path for path in mates if path is not None), None)
    done.wells += 1
    done.pairs += mate is not None
    return (
        path,
        mate or "",
        image.barcode,
        image.well,
        image.inspection,
        drop.score.code,
        outcomes.get(drop.score.code, ""),
        drop.score.by,
        drop.score.date.isoformat(sep=" "),
        config.imager.pixel_size_um or "",
    )


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
