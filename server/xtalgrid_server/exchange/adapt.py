"""``model adapt``: have what decides adapted to people's scores, and compared with the models in use.

It writes a candidate and changes nothing: a person promotes it. The fit is that of ``xtalgrid-train adapt``, in a
process of its own; it needs no more than the server has.
"""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from xtalgrid_core.comparison import COMPARISON, Comparison, read_comparison
from xtalgrid_core.errors import BrokenModel, ConfigError
from xtalgrid_core.files import write_atomically
from xtalgrid_core.spreadsheets import cell_text, dict_reader, open_text
from xtalgrid_core.weights import MANIFEST, SECOND_OPINION, default_models, find_model

from ..config import Config
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.store import Ledger
from ..steps.promote import models_in_use
from .scored import ExportedScores, export_scored

LEAST_WELLS = 50
"""Fewer wells with a label are not adapted to."""

SCORED, FROZEN, WELLS = "scored.csv", "frozen/wells.csv", "wells.csv"

MADE_OF = "made_of.txt"
"""Fingerprint of all that the candidate was made of, written once it and its comparison are there."""

_TRAIN = "from xtalgrid_nets.cli import main; main(prog_name='xtalgrid-train')"


@dataclass(frozen=True, slots=True)
class AdaptedModel:
    """What `adapt` did.

    Attributes
    ----------
    labelled
        Number of exported wells that have a label.
    fitted
        Number of those that were fitted to. The others are frozen, copies, or can't be read.
    comparison
        None if wells with a label are too few.
    is_new
        False if nothing that it depends on has changed since the last time.
    withdrawn
        Whether the last candidate's comparison was removed, because people took back the scores that it was made of.
    """

    folder: Path
    scored: ExportedScores
    labelled: int
    comparison: Comparison | None
    is_new: bool
    fitted: int = 0
    withdrawn: bool = False


def adapt(config: Config, database: ImagerDatabase, ledger: Ledger, further: Sequence[str] = ()) -> AdaptedModel:
    """Export people's scores to ``home/adapted``, and make a candidate and its comparison there.

    Parameters
    ----------
    further
        Options of ``xtalgrid-train adapt``, beside those that follow from the configuration and from
        ``home/frozen/wells.csv``, if that exists.

    Raises
    ------
    ConfigError
        If the configuration names models, which no promotion would change, or a rule that what is adapted has no part
        in, or if the fit fails; the message is its last line.
    ModelError
        If the second opinion that the configuration names is not installed.
    """
    weights = _weights(config, ledger)
    folder = config.home / "adapted"
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / SCORED
    scored = export_scored(config, database, ledger, table)
    if scored.labelled < LEAST_WELLS:
        # Images that are away, as on a share that is off, are no reason to give up what was made of them.
        takes_back = not scored.missing and (folder / COMPARISON).is_file()
        if takes_back:
            _forget(folder)
        return AdaptedModel(folder, scored, scored.labelled, None, is_new=False, withdrawn=takes_back)
    command = ["adapt", str(table), str(folder), "--crystal-from", repr(config.work.crystal_from)]
    command += ["--weights", str(weights)] if weights else []
    if config.work.second_opinion:
        entry, _ = find_model(config.work.second_opinion, "second_opinion", [config.weights])
        command += ["--second-opinion", str(config.weights / SECOND_OPINION / entry.file)]
    frozen = config.home / FROZEN
    if frozen.is_file():
        command += ["--frozen", str(frozen)]
    command += further
    made_of = _fingerprint(command, models_in_use(config, ledger), config.work.second_opinion, (table, frozen))
    if (last := _last(folder, made_of)) is not None:
        return AdaptedModel(folder, scored, scored.labelled, last, is_new=False, fitted=_rows(folder / WELLS))
    _forget(folder)  # a run that is killed leaves no comparison of other scores
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN, *command], capture_output=True, text=True, errors="backslashreplace"
    )
    comparison = read_comparison(folder)
    if done.returncode or comparison is None:
        raise ConfigError(f"xtalgrid-train adapt: {_why(done)}")
    write_atomically(folder / MADE_OF, made_of.encode())
    return AdaptedModel(folder, scored, scored.labelled, comparison, is_new=True, fitted=_rows(folder / WELLS))


def _why(done: subprocess.CompletedProcess[str]) -> str:
    """Say why the fit ended without a comparison."""
    if done.returncode < 0:  # what it printed before that has nothing to do with it
        return f"killed by signal {-done.returncode}, as where memory is short; nothing was made"
    lines = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
    return lines[-1].removeprefix("Error: ")


def _forget(folder: Path) -> None:
    """Remove the comparison, without which no candidate is promoted; its other files stay."""
    for name in (MADE_OF, COMPARISON):
        (folder / name).unlink(missing_ok=True)


def _last(folder: Path, made_of: str) -> Comparison | None:
    """Return the comparison of the last run, if it would come out the same today."""
    try:
        same = (folder / MADE_OF).read_text(encoding="utf-8", errors="replace") == made_of
        return read_comparison(folder) if same else None
    except (FileNotFoundError, BrokenModel):
        return None


def _fingerprint(command: Sequence[str], models: tuple[str, str], second_opinion: str, tables: Sequence[Path]) -> str:
    """Return a name for all that a candidate depends on: options, networks, and tables with the images they list."""
    digest = hashlib.sha256(repr((metadata.version("xtalgrid"), command, models, second_opinion)).encode())
    for table in tables:
        if table.is_file():
            digest.update(table.read_bytes())
            digest.update(repr([_state(path) for path in _images(table)]).encode())
    return digest.hexdigest()


def _images(table: Path) -> Iterator[Path]:
    """Yield the images of a table; what is wrong with it is for the fit to say."""
    try:
        with open_text(table) as stream:
            for row in dict_reader(stream):
                # as `xtalgrid_nets.sets.tables` reads it
                cells = {name.strip().casefold(): cell_text(cell or "").strip() for name, cell in row.items() if name}
                yield table.parent / cells.get("image", "")
    except (OSError, UnicodeError, csv.Error):
        return


def _state(path: Path) -> tuple[int, int] | None:
    """Return size and time of an image, which tell another content without reading it; None if it is not there."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def _rows(table: Path) -> int:
    """Return the number of lines of a table below its header."""
    with open_text(table) as stream:
        return sum(1 for _ in dict_reader(stream))


def _weights(config: Config, ledger: Ledger) -> Path | None:
    """Return the folder whose default pair is in use; None: the package's."""
    work = config.work
    if work.rule != "pooled":
        raise ConfigError(
            f'{config.file or "configuration"}: work.rule is "{work.rule}", and what is adapted decides only by the '
            'rule "pooled"; remove that line, then adapt'
        )
    for key, sha256 in (("segmenter", work.segmenter), ("classifier", work.classifier)):
        if sha256:
            raise ConfigError(
                f"{config.file or 'configuration'}: work.{key} is {sha256[:12]}…, which overrides every promotion; "
                "remove that line, then adapt"
            )
    current = models_in_use(config, ledger)
    if current == default_models():
        return None
    if (config.weights / MANIFEST).is_file() and default_models(config.weights) == current:
        return config.weights
    raise ConfigError(f"{config.weights}: not the folder of the models in use; run `xtalgrid model list`")
