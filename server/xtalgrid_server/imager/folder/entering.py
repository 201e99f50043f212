"""``import-folder``: enter a folder of well images into the embedded imager database as plates."""

from __future__ import annotations

import collections
import itertools
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from xtalgrid_core.errors import ConfigError, FailureReason
from xtalgrid_core.files import readable

from ...config import Config
from ...domain.failures import FailureLog
from ...domain.images import ImageRow
from ...domain.light import Light, LightRules, LightsSeen, light_in
from ...domain.wells import Well
from ..crystaltrak.database import ImagerDatabase
from .listing import NOT_SCORED, SECOND_FORMAT, Listing, walk
from .names import ANY, NamedImage, Names, compile_names
from .plates import PlateFolders, is_same_image
from .seen import Copies, PassedOver

STEP = "import-folder"

_NO_PATTERN = (
    "the name does not match the convention; "
    "set import.names in xtalgrid.toml, or use --names any, which makes each file a well"
)


@dataclass(slots=True)
class Imported:
    """Result of importing a folder.

    Attributes
    ----------
    entered
        Images entered.
    rejected
        File → why it could not be entered.
    doubles
        Files with the same stem as one that was entered.
    passed_over
        Number of other files by kind, those of `doubles` included.
    waiting
        Files that are not complete yet.
    settling
        Those of `waiting` that are new or changed only a moment ago.
    lights
        What was passed over for its light, and drops whose images' light nothing tells.
    fell_back
        Whether no name matched the convention, so that each file was taken for a well.
    """

    entered: list[ImageRow] = field(default_factory=list)
    rejected: dict[Path, str] = field(default_factory=dict)
    doubles: list[Path] = field(default_factory=list)
    passed_over: collections.Counter[str] = field(default_factory=collections.Counter)
    waiting: list[Path] = field(default_factory=list)
    settling: list[Path] = field(default_factory=list)
    lights: LightsSeen = field(default_factory=LightsSeen)
    fell_back: bool = False

    @property
    def barcodes(self) -> list[str]:
        """Plates of the images entered."""
        return sorted({row.barcode for row in self.entered})


def import_folder(
    config: Config,
    database: ImagerDatabase,
    failures: FailureLog,
    folder: Path,
    *,
    recursive: bool = False,
    copy: bool = False,
    names: str | None = None,
    fall_back: bool = False,
) -> Imported:
    """Enter a folder's images into the embedded database; a second call enters only new ones.

    Of several files with the same stem, the first by `SUFFIXES` is taken. A file whose name matches no pattern is
    recorded as failed, and the others are entered.

    Parameters
    ----------
    config, database
        The configuration and its embedded imager database.
    failures
        Where files that cannot be entered are recorded.
    folder
        Folder of the images.
    recursive
        Whether to include subfolders.
    copy
        Whether to copy images into ``image_root/<barcode>/<inspection>/``. Otherwise they get a symbolic link there, or
        a copy if links are not possible.
    names
        Naming convention instead of ``import.names``; ``any``: each file is a well.
    fall_back
        Whether to use ``any`` if no name in the folder matches the convention.

    Raises
    ------
    ConfigError
        If the imager database is a vendor's, the folder does not exist, or the pattern is invalid.
    """
    refuse_vendors(config)
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise ConfigError(f"{folder}: {what}; give the folder with the well images")
    names = names or config.import_.names
    convention = convention_of(config, names)
    result = Imported()
    files: list[Path] = []
    there: dict[str, set[str]] = {}
    for listing in walk(folder, recursive):
        files += _one_for_each_stem(listing, convention, result)
        there[readable(str(listing.folder.absolute()))] = {readable(entry.name) for entry in listing.files}
    if fall_back and convention is not None and not any(convention.read(file.absolute()) for file in files):
        result.fell_back = bool(files)
        convention = None
    enter(config, database, failures, files, convention, copy, result)
    PassedOver(database).keep(readable(str(folder.absolute())), result.passed_over, recursive)
    recorded = [(file, *os.path.split(file)) for file in failures.open_files(STEP)]
    failures.close([file for file, place, name in recorded if place in there and name not in there[place]], STEP)
    return result


def refuse_vendors(config: Config) -> None:
    """Check that images will be entered into the embedded database.

    Raises
    ------
    ConfigError
        If the imager database is a vendor's.
    """
    if config.imager.url:
        raise ConfigError("folders can only be imported into the embedded imager database; remove imager.url")


def convention_of(config: Config, names: str) -> Names | None:
    """Return the naming convention; None if each file is a well.

    Raises
    ------
    ConfigError
        If `names` is an invalid pattern.
    """
    return None if names == ANY else compile_names(names, config.import_.plate_columns)


def enter(
    config: Config,
    database: ImagerDatabase,
    failures: FailureLog,
    files: list[Path],
    convention: Names | None,
    copy: bool,
    result: Imported,
) -> None:
    """Enter image files, sorted and one per stem, and add them to `result` as entered or rejected."""
    rows, mended = [], []
    plates, copies = PlateFolders(config, database), Copies(database)

    def reject(file: Path, reason: FailureReason, why: str) -> None:
        result.rejected[file] = why
        failures.add(readable(str(file.absolute())), STEP, reason, readable(why))

    names = {file: _stored_name(config.light, convention, file) for file in files}
    if convention is None:
        places = _number_wells(database, plates, names)
    else:
        places = []
        for file in files:
            named = convention.read(file.absolute())
            if named is not None:
                places.append((file, named))
                continue
            reject(file, FailureReason.NAME_FITS_NO_PATTERN, _NO_PATTERN)
    for file, named in places:
        name = names[file]
        named = replace(named, barcode=readable(named.barcode) or plates.barcode(file.parent))
        if len(name.encode()) > 255 or len(named.barcode.encode()) > 30:
            reject(file, FailureReason.NAME_FITS_NO_PATTERN, "an image name has at most 255 bytes, a barcode 30 bytes")
            continue
        try:
            when = named.date or config.imager.local(file.lstat().st_mtime)
            _link(file, config.image_root / named.barcode / str(named.inspection) / name, copy, copies)
        except FileExistsError as error:
            reject(file, FailureReason.NAME_FITS_NO_PATTERN, str(error))
        except OSError as error:
            is_gone = isinstance(error, FileNotFoundError)
            reason = FailureReason.MISSING_FILE if is_gone else FailureReason.UNREADABLE_FILE
            reject(file, reason, "the file has disappeared" if is_gone else f"cannot enter it: {error.strerror}")
        else:
            mended.append(readable(str(file.absolute())))
            rows.append(ImageRow(0, named.barcode, named.inspection, when, named.well, name))
    entered = database.register(rows)
    result.entered += entered
    result.lights.add_all(config.light, entered)
    failures.close(mended, STEP)


def _one_for_each_stem(listing: Listing, convention: Names | None, result: Imported) -> list[Path]:
    """Return a folder's files to be entered, and count the others."""
    result.passed_over += listing.others
    chosen: dict[str, Path] = {}
    for file in (listing.folder / entry.name for entry in listing.files):
        if convention is not None and convention.passes_over(file):
            result.passed_over[NOT_SCORED.format(file.suffix.lower())] += 1
        elif chosen.setdefault(file.stem, file) is not file:
            result.passed_over[SECOND_FORMAT] += 1
            result.doubles.append(file)
    return list(chosen.values())


def _stored_name(light: LightRules, convention: Names | None, file: Path) -> str:
    """Return the name of an image in the database; if only a folder tells that it is not visible, with that folder's.

    Polo's folders end in -uvt and -shg; others are just named UV, themselves or the folder above the plate's.
    """
    file = file.absolute()
    name = readable(convention.image_name(file) if convention else file.name)
    if light.of(name) is None:
        parent, above = file.parent.name, file.parent.parent.name
        for folder in (parent, above) if above.isalnum() else (parent,):
            if light_in(folder) not in (None, Light.VISIBLE):
                return f"{readable(folder)}_{name}"
    return name


def _number_wells(
    database: ImagerDatabase, plates: PlateFolders, names: Mapping[Path, str]
) -> list[tuple[Path, NamedImage]]:
    """Assign each file to a well of a plate named after its folder, in order; files entered before keep their wells."""
    places: list[tuple[Path, NamedImage]] = []
    for folder, group in itertools.groupby(names, key=lambda path: path.parent):
        barcode = plates.barcode(folder)
        taken = database.wells_taken(barcode)
        free = (
            well
            for well in (Well(row, col, 1) for row in itertools.count(1) for col in range(1, 13))
            if well not in set(taken.values())
        )
        wells = ((file, taken.get(names[file]) or next(free)) for file in group)
        places.extend((file, NamedImage(barcode, 1, well, None)) for file, well in wells)
    return places


def _link(file: Path, target: Path, copy: bool, copies: Copies) -> None:
    """Make `file` available as `target`, by a symbolic link or a copy; a copy follows the file that it was made from.

    Raises
    ------
    FileExistsError
        If `target` exists with other content: two files claim to be the same image of the same inspection.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    is_stale = False
    if target.exists():
        if is_same_image(file, target):
            return
        is_stale = not target.is_symlink() and copies.is_of(target, file)
        if not is_stale:
            raise FileExistsError(
                f"{target} already exists with other content; two images of one inspection have the same name"
            )
    temporary = target.with_name(f".{os.getpid()}.part")  # names may have 255 bytes already
    temporary.unlink(missing_ok=True)
    try:
        if copy or is_stale:
            raise OSError("a copy is wanted")
        temporary.symlink_to(file.absolute())
    except OSError:
        shutil.copyfile(file, temporary)
        copies.add(target, file)
    temporary.replace(target)  # and a link to a file that was moved
