"""Open the source of images that is configured."""

from __future__ import annotations

from ..config import Config
from ..domain.failures import FailureLog
from .crystaltrak.database import ImagerDatabase
from .folder.source import FolderSource
from .ispyb.source import IspybSource
from .source import ImageSource


def open_source(config: Config, database: ImagerDatabase, failures: FailureLog) -> ImageSource:
    """Return the source of images: a watched folder, ISPyB, or the imager database itself."""
    if config.imager.folder:
        return FolderSource(config, database, failures)
    if config.imager.ispyb.url:
        return IspybSource(config, database, failures)
    return database
