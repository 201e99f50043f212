"""``model adapt``: have what decides adapted to people's scores, and compared with the models in use.

It writes a candidate and changes nothing: a person promotes it. The fit is that of ``xtalgrid-train adapt``, in a
process of its own; it needs no more than the server has.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xtalgrid_core.comparison import COMPARISON, Comparison, read_comparison
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.weights import MANIFEST, SECOND_OPINION, default_models, find_model

from ..config import Config
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.store import Ledger
from ..steps.promote import models_in_use
from .scored import ExportedScores, export_scored

LEAST_WELLS = 50
"""Fewer wells with a label are not adapted to."""

SCORED, FROZEN = "scored.csv", "frozen/wells.csv"

_TRAIN = "from xtalgrid_nets.cli import main; main(prog_name='xtalgrid-train')"


@dataclass(frozen=True, slots=True)
class AdaptedModel:
    """What `adapt` did.

    `labelled` is the number of wells that it could adapt to; `comparison` is None if that were too few. `is_new` is
    False if people gave no score since the last time.
    """

    folder: Path
    scored: ExportedScores
    labelled: int
    comparison: Comparison | None
    is_new: bool


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
        If the configuration names models, which no promotion would change, or if the fit fails; the message is its
        last line.
    ModelError
        If the second opinion that the configuration names is not installed.
    """
    weights = _weights(config, ledger)
    folder = config.home / "adapted"
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / SCORED
    before = table.read_bytes() if table.is_file() else b""
    scored = export_scored(config, database, ledger, table)
    labelled = scored.wells - scored.disputed
    current = models_in_use(config, ledger)
    last = read_comparison(folder)
    if labelled < LEAST_WELLS:
        return AdaptedModel(folder, scored, labelled, None, is_new=False)
    if last is not None and last.current == current and table.read_bytes() == before:
        return AdaptedModel(folder, scored, labelled, last, is_new=False)
    (folder / COMPARISON).unlink(missing_ok=True)  # a run that is killed leaves no comparison of other scores
    command = [sys.executable, "-c", _TRAIN, "adapt", str(table), str(folder)]
    command += ["--weights", str(weights)] if weights else []
    if config.work.second_opinion:
        entry, _ = find_model(config.work.second_opinion, "second_opinion", [config.weights])
        command += ["--second-opinion", str(config.weights / SECOND_OPINION / entry.file)]
    if (config.home / FROZEN).is_file():
        command += ["--frozen", str(config.home / FROZEN)]
    done = subprocess.run([*command, *further], capture_output=True, text=True)
    comparison = read_comparison(folder)
    if done.returncode or comparison is None:
        why = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise ConfigError(f"xtalgrid-train adapt: {why.removeprefix('Error: ')}")
    return AdaptedModel(folder, scored, labelled, comparison, is_new=True)


def _weights(config: Config, ledger: Ledger) -> Path | None:
    """Return the folder whose default pair is in use; None: the package's."""
    work = config.work
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
