"""Barcodes of plates that have none in their file names: the folder's name, and never one for two folders."""

from __future__ import annotations

import filecmp
import glob
import hashlib
from functools import cached_property
from pathlib import Path

import sqlalchemy as sa

from xtalgrid_core.files import readable

from ...config import Config
from ...domain.letters import composed, is_mark
from ...domain.log import log
from ..crystaltrak.database import ImagerDatabase
from .dates import whole_date

_LONGEST = 30
"""Bytes of a barcode."""

_HASH = 8


class PlateFolders:
    """Table of the folders that are plates, so that each keeps its barcode.

    Parameters
    ----------
    root
        The folder that is imported or watched. Below it, a folder whose name is only a date belongs to the plate that
        the folder above is.
    """

    def __init__(self, config: Config, database: ImagerDatabase, root: Path) -> None:
        self._config, self._database, self._root = config, database, root.absolute()
        self._table = sa.Table(
            "xtalgrid_plates",
            sa.MetaData(),
            sa.Column("folder", sa.String(4096), primary_key=True),
            sa.Column("barcode", sa.String(_LONGEST), nullable=False, unique=True),
        )

    @cached_property
    def _barcodes(self) -> dict[str, str]:
        """Barcodes by folder, read when the first is asked for: most conventions have barcodes in their names."""
        with self._database.transaction() as connection:
            self._table.create(connection, checkfirst=True)
            return {row.folder: row.barcode for row in connection.execute(self._table.select())}

    def _folder_of_plate(self, folder: Path, above: int) -> Path:
        """Return a folder so many above another, or one further up if it is a date."""
        if readable(str(folder)) in self._barcodes:  # as a version that did not read dates took it
            return folder
        folder = (folder, *folder.parents)[above]
        order = self._config.import_.dashed_dates
        while whole_date(folder.name, order) is not None and self._root in folder.parent.parents:
            folder = folder.parent
        return folder

    def barcode(self, folder: Path, above: int = 0) -> str:
        """Return the barcode of the plate that is so many folders above a folder with images.

        It is the folder's name, with its parent's or a hash where another plate has that one.
        """
        folder = self._folder_of_plate(folder.absolute(), above)
        path = readable(str(folder))
        if path not in self._barcodes:
            names = [barcode_of(path.split("/")[-1]), barcode_of("-".join(path.split("/")[-2:]))]
            fitting = [name for name in names if name and len(name.encode()) <= _LONGEST]
            barcode = next((name for name in fitting if self._is_free(name, folder)), None) or _hashed(names[0], path)
            if barcode != names[0]:
                log.info("folder %s is plate %s", path, barcode)
            with self._database.transaction() as connection:
                connection.execute(self._table.insert().values(folder=path, barcode=barcode))
            self._barcodes[path] = barcode
        return self._barcodes[path]

    def other_plate(self, folder: Path, barcode: str) -> str | None:
        """Return the plate, another than this one, as which a folder with images was entered before; or None."""
        with self._database.reading() as connection:
            if not sa.inspect(connection).has_table(self._table.name):
                return None
            own = sa.select(self._table.c.barcode).where(self._table.c.folder == readable(str(folder.absolute())))
            before: str | None = connection.scalar(own)
        return before if before not in (None, barcode) and self._database.entered(before) else None

    def _is_free(self, barcode: str, folder: Path) -> bool:
        """Tell whether no other folder is this plate; one imported before this table existed keeps its barcode."""
        if barcode in self._barcodes.values():
            return False
        images = {image.image_name for image in self._database.entered(barcode)}
        stored = self._config.image_root / barcode
        pairs = ((folder / name, file) for name in images for file in stored.glob(f"*/{glob.escape(name)}"))
        return not images or any(is_same_image(own, file) for own, file in pairs)


def barcode_of(name: str) -> str:
    """Convert a folder's name to a barcode: letters and digits of any alphabet, and dashes."""
    barcode, is_gap, is_letter = "", False, False
    for character in composed(name):
        is_letter = character.isalnum() or (is_letter and is_mark(character))
        if is_letter or character == "-":
            barcode += f"{'-' if is_gap else ''}{character}"
        is_gap = not is_letter and character != "-"
    return barcode.strip("-")


def _hashed(barcode: str, path: str) -> str:
    start = barcode.encode()[: _LONGEST - _HASH - 1].decode(errors="ignore") or "plate"
    return f"{start.rstrip('-')}-{hashlib.sha256(path.encode()).hexdigest()[:_HASH]}"


def is_same_image(one: Path, other: Path) -> bool:
    """Tell whether two paths lead to one file, or to files with the same content."""
    try:
        return one.samefile(other) or filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False
