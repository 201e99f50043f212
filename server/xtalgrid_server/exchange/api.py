"""The exchange for scripts and notebooks: read files of other programs, and write what a system knows."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from xtalgrid_core.errors import ConfigError

from ..config import Config, load
from ..ledger.store import Ledger
from ..reports.entries import Filter
from .export import FORMATS, Exported, Format, export
from .foreign import Line, Told
from .foreign_marks import Annotation
from .import_annotations import open_annotations
from .import_scores import open_source

AnyPath = str | PathLike[str]


def read_scores(
    file: AnyPath, *, config: AnyPath | None = None, home: AnyPath | None = None, **told: Any
) -> Iterator[Line]:
    """Read a file of scores, as `xtalgrid import-scores` recognises it, without a system and without recording it.

    Parameters
    ----------
    file
        A table, a run of Polo, MARCO's or TeXRank's scores, or the folder of Rock Maker's export.
    config, home
        The configuration, which names the lab's columns, and the data folder; defaults as in the command line.
    told
        What the file does not say, as `Told` has it: ``by="ann"``, ``barcode="DEMO000001"`` …

    Yields
    ------
    Line
        A line's place and scores in their own words, or the problem with it.

    Raises
    ------
    ConfigError
        If the file is none, or cannot be read.
    """
    return open_source(_config(config, home), Path(file), Told(**told)).lines()


def read_annotations(file: AnyPath) -> Iterator[Annotation]:
    """Read boxes and outlines of COCO, YOLO, Label Studio or labelme, from a file or a folder.

    Yields
    ------
    Annotation
        Its corners in units of the file, its label and who drew it, or the problem with it.

    Raises
    ------
    ConfigError
        If there are none, or they cannot be read.
    """
    return open_annotations(Path(file)).read()


def write(
    form: Format,
    out: AnyPath,
    *,
    config: AnyPath | None = None,
    home: AnyPath | None = None,
    confirmed: bool = False,
    **chosen: Any,
) -> Exported:
    """Write scores in one of the `FORMATS`, as `xtalgrid export` does.

    Parameters
    ----------
    out
        File to write; for ``yolo`` and ``labelme`` a folder, or a zip file if its name ends in ``.zip``.
    config, home
        The configuration and the data folder; defaults as in the command line.
    confirmed
        Write only boxes of the group that a person gave.
    chosen
        Which drops, as `Filter` has it: ``outcome="crystal"``, ``barcode="DEMO000001"``, ``inspection=2`` …

    Raises
    ------
    ConfigError
        If the form is unknown, or something cannot be written.
    """
    if form not in FORMATS:
        raise ConfigError(f"there is no format {form!r}; choose from {', '.join(FORMATS)}")
    read = _config(config, home)
    ledger = Ledger(read)
    try:
        return export(read, ledger, form, Path(out), Filter(**chosen), confirmed=confirmed)
    finally:
        ledger.close()


def _config(config: AnyPath | None, home: AnyPath | None) -> Config:
    return load(None if config is None else Path(config), None if home is None else Path(home))
