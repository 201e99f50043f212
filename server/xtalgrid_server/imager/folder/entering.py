"""``import-folder``: enter a folder of well images into the embedded imager database as plates."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from xtalgrid_core.errors import ConfigError, FailureReason, ImageError
from xtalgrid_core.files import readable

from ...config import Config
from ...domain.failures import FailureLog
from ...domain.images import ImageRow, file_time
from ...domain.letters import composed
from ...domain.light import Light, LightRules, LightsSeen, light_in
from ...domain.log import log
from ...domain.wells import Well, format_of, with_columns
from ...storage.originals import open_original, original_status, trust
from ...storage.permissions import outside
from ..crystaltrak.database import ImagerDatabase
from .dates import Order, find_date
from .formats import IMPORT_ANEW, PlateFormats, contradiction
from .inspections import DatedImage, Inspections
from .listing import NOT_SCORED, SECOND_FORMAT, own_folders, walk
from .names import ANY, NamedImage, Names, NumberedWell, compile_names
from .nearest import differences, fitting_all
from .plates import PlateFolders, is_same_image
from .seen import Copies, OtherFiles

STEP = "import-folder"


@dataclass(slots=True)
class Imported:
    """Result of importing a folder.

    Attributes
    ----------
    entered
        Images entered.
    rejected
        File → why it could not be entered.
    postponed
        Those of them that could not be read or stored, as on a full disk; they may be when they are tried again.
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
    notes
        What a person should know, one line each: formats that were inferred, inspections kept apart, scores not used.
    """

    entered: list[ImageRow] = field(default_factory=list)
    rejected: dict[Path, str] = field(default_factory=dict)
    postponed: set[Path] = field(default_factory=set)
    doubles: list[Path] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    waiting: list[Path] = field(default_factory=list)
    settling: list[Path] = field(default_factory=list)
    lights: LightsSeen = field(default_factory=LightsSeen)
    fell_back: bool = False
    notes: list[str] = field(default_factory=list)

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
        Whether to use, if no name matches the convention, one that all names match, or else ``any``.

    Raises
    ------
    ConfigError
        If the imager database is a vendor's, the folder does not exist, or the pattern is invalid.
    """
    refuse_vendors(config)
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise ConfigError(f"{folder}: {what}; give the folder with the well images")
    trust(config, folder)
    names = names or config.import_.names
    convention = convention_of(config, names)
    result = Imported()
    files: list[Path] = []
    there: dict[str, set[str]] = {}
    for listing in walk(folder, recursive, own_folders(config, folder)):
        result.passed_over += listing.others
        files += [listing.folder / entry.name for entry in listing.files]
        there[readable(str(listing.folder.absolute()))] = {readable(entry.name) for entry in listing.files}
    files = _one_for_each_stem(_to_score(files, convention, result), result)
    if fall_back and convention is not None and not any(convention.read(file.absolute()) for file in files):
        paths = [file.absolute() for file in files]
        other = fitting_all(paths, config.import_.dashed_dates)
        result.fell_back = bool(files) and other is None
        if other is not None:
            result.notes.append(f"no name matches {names}, and all match {other.name}, which is used")
        else:
            result.notes += differences(paths, convention)[:1]
        convention, files = other, _to_score(files, other, result)
    enter(config, database, failures, files, convention, copy, result, root=folder)
    OtherFiles(database).keep(readable(str(folder.absolute())), result.passed_over, recursive)
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
    return None if names == ANY else compile_names(names, config.import_.dashed_dates)


def enter(
    config: Config,
    database: ImagerDatabase,
    failures: FailureLog,
    files: list[Path],
    convention: Names | None,
    copy: bool,
    result: Imported,
    *,
    root: Path,
    clock: Callable[[], float] | None = None,
) -> None:
    """Enter image files, sorted and one per stem, and add them to `result` as entered, rejected or waiting.

    Parameters
    ----------
    root
        The folder that is imported or watched.
    clock
        As in `PlateFormats`: where an imager may still be writing.
    """
    entering = _Entering(config, database, failures, convention, result, root, clock)
    rows = entering.store(entering.images(entering.read(files)), copy)
    entered = database.register(rows)
    result.entered += entered
    result.lights.add_all(config.light, entered)
    result.notes += entering.notes()
    failures.close(entering.stored, STEP)


class _Entering:
    """One call of `enter`."""

    def __init__(
        self,
        config: Config,
        database: ImagerDatabase,
        failures: FailureLog,
        convention: Names | None,
        result: Imported,
        root: Path,
        clock: Callable[[], float] | None,
    ) -> None:
        self._config, self._database, self._failures = config, database, failures
        self._convention, self._result = convention, result
        self._plates = PlateFolders(config, database, root)
        self._formats = PlateFormats(config, database, clock)
        self._inspections = Inspections(config, database)
        self._copies = Copies(database)
        self._root = root
        self._scores = Counter[str]()
        self._barcodes: dict[str, str] = {}
        self._wells: dict[str, defaultdict[str, set[Well]]] = {}
        self.stored: list[str] = []
        """Files that are available under the image root now."""
        self._notes: list[str] = []

    def read(self, files: list[Path]) -> list[tuple[Path, NamedImage]]:
        """Read the files' names."""
        convention = self._convention
        if convention is None:
            stored, order = {file: self._stored_name(file) for file in files}, self._config.import_.dashed_dates
            return _number_wells(self._database, self._plates, stored, order)
        read = [(file, convention.read(file.absolute())) for file in files]
        unread = [file for file, named in read if named is None]
        for file, why in zip(unread, differences([file.absolute() for file in unread], convention), strict=True):
            self._reject(file, FailureReason.NAME_FITS_NO_PATTERN, why)
        return [(file, named) for file, named in read if named is not None]

    def _stored_name(self, file: Path) -> str:
        return _stored_name(self._config.light, self._convention, file)

    def images(self, places: list[tuple[Path, NamedImage]]) -> list[DatedImage]:
        """Find the plate and the well of each image."""
        images = []
        for file, named in places:
            name = self._stored_name(file)
            barcode = self._named_barcode(readable(named.barcode))
            barcode = barcode or self._plates.barcode(file.absolute().parent, named.plate_folder or 0)
            if (why := _why_no_key(barcode, name)) is not None:
                self._reject(file, FailureReason.NAME_FITS_NO_PATTERN, why)
                continue
            well = self._well(file.absolute(), barcode, named)
            before = self._entered_as(file, barcode)
            if isinstance(well, Well) and before and well not in before:
                well = (
                    f"it was imported as well {min(before)} of plate {barcode}, and is read as {well} now. "
                    f"If {well} is right, {IMPORT_ANEW}"
                )
            if isinstance(well, str):
                self._reject(file, FailureReason.NAME_FITS_NO_PATTERN, well)
            elif well is None:
                self._result.waiting.append(file)
            else:
                images.append(DatedImage(file, barcode, well, name, named.inspection, named.date, named.is_own_time))
                self._scores[named.score] += 1
        for folder, barcode in dict.fromkeys((image.file.parent, image.barcode) for image in images):
            self._note_second_plate(folder, barcode)
        return images

    def _note_second_plate(self, folder: Path, barcode: str) -> None:
        """Say that a folder was another plate before, as where its names were corrected after `ANY` took them."""
        before = self._plates.other_plate(folder, barcode)
        if before is not None:
            note = (
                f"{folder} was imported as plate {before} before, by its folder's name, and its images are of plate "
                f"{barcode} now: their wells may be there twice, since plate {before} stays as it is. Go by {barcode} "
                f"if the names are right now; to be rid of {before}, {IMPORT_ANEW.partition(', because')[0]}"
            )
            self._notes.append(note)
            log.warning("%s", note)

    def _named_barcode(self, barcode: str) -> str:
        """Return a barcode with composed letters, unless an earlier version entered its plate with divided ones."""
        if barcode not in self._barcodes:
            is_known = composed(barcode) != barcode and bool(self._database.entered(barcode))
            self._barcodes[barcode] = barcode if is_known else composed(barcode)
        return self._barcodes[barcode]

    def _entered_as(self, file: Path, barcode: str) -> set[Well]:
        """Return the wells of a plate that a file was entered as before, whatever its name there; none if it is new."""
        if barcode not in self._wells:
            wells = self._wells[barcode] = defaultdict[str, set[Well]](set)
            copied = self._copies.origins(self._config.image_root / barcode)
            for image in self._database.entered(barcode):
                stored = self._config.image_root / barcode / str(image.inspection) / image.image_name
                try:
                    origin = readable(str(stored.readlink()))
                except OSError:  # a copy, or gone
                    origin = copied.get(readable(str(stored)), "")
                wells[origin].add(image.well)
        return self._wells[barcode].get(readable(str(file.absolute())), set())

    def _well(self, file: Path, barcode: str, named: NamedImage) -> Well | str | None:
        """Return the drop of an image; why it is on no such plate; None while the plate's format can't be told."""
        plate = self._formats.configured(barcode)
        if not isinstance(named.place, NumberedWell):
            well = named.place
        else:
            assert self._convention is not None
            number, subwell, columns = named.place
            known = with_columns(columns) if columns else None
            known = known or self._formats.of_numbered(file, barcode, named, self._convention)
            if known is None:
                return None
            if plate and not columns and plate[:2] != known[:2]:
                return contradiction(barcode, known, plate)
            well = known.well(number, subwell)
            if not columns and not known.has(well):
                rows, columns, _ = format_of(number)
                line = f'"{barcode}" = {{ rows = {rows}, columns = {columns} }}'
                change = "correct its format in import.plates" if plate else f"write {line} under [import.plates]"
                return (
                    f"well number {number} is not on plate {barcode}, which was imported with {known}. If that is "
                    f"wrong, {change}, and {IMPORT_ANEW}"
                )
            plate = plate or known
        if plate is None or plate.has(well):
            return well
        return f"well {well} is not on plate {barcode}, which has {plate}; correct its format in import.plates"

    def store(self, images: list[DatedImage], copy: bool) -> list[ImageRow]:
        """Make the files available under the image root; inspections get their numbers in the order of dates."""
        rows = []
        for image in sorted(images, key=lambda image: image.date or datetime.min):  # noqa: DTZ901
            try:
                original_status(self._config, image.file)
                when = image.date or self._config.imager.local(file_time(image.file.lstat()) / 1e9)
                number = self._inspections.number(image)
                target = self._config.image_root / image.barcode / str(number) / image.name
                with outside(self._config.home, target):
                    _link(self._config, image.file, target, copy, self._copies)
            except ImageError as error:
                self._reject(image.file, error.reason, error.detail)
            except FileExistsError as error:
                self._reject(image.file, FailureReason.NAME_FITS_NO_PATTERN, str(error))
            except FileNotFoundError:
                self._reject(image.file, FailureReason.MISSING_FILE, "the file has disappeared")
            except OSError as error:
                self._reject(image.file, FailureReason.UNREADABLE_FILE, f"cannot enter it: {error.strerror}")
            else:
                self.stored.append(readable(str(image.file.absolute())))
                rows.append(ImageRow(0, image.barcode, number, when, image.well, image.name))
        self._inspections.save()
        return rows

    def notes(self) -> list[str]:
        """Return what a person should know."""
        scores = ", ".join(f"{number} {score}" for score, number in sorted(self._scores.items()) if score)
        exported = (
            f"folders are named by people's scores ({scores}): `xtalgrid import-scores {self._root}` brings them in",
            "RockMaker's export does not name drops; each image is taken for its well's first",
        )
        return [*self._notes, *self._formats.notes, *self._inspections.notes, *(exported if scores else ())]

    def _reject(self, file: Path, reason: FailureReason, why: str) -> None:
        self._result.rejected[file] = why
        if reason in (FailureReason.UNREADABLE_FILE, FailureReason.MISSING_FILE):
            self._result.postponed.add(file)
        self._failures.add(readable(str(file.absolute())), STEP, reason, readable(why))


def _why_no_key(barcode: str, name: str) -> str | None:
    """Return why the imager database can't hold a barcode and an image's name; None if it can."""
    if len(name.encode()) > 255 or len(barcode.encode()) > 30:
        return "an image name has at most 255 bytes, a barcode 30 bytes"
    if barcode.endswith(" "):
        return f"the barcode {barcode!r} ends in a blank, which databases do not keep; rename the folder or file"
    return None


def _to_score(files: list[Path], convention: Names | None, result: Imported) -> list[Path]:
    """Return the files that the convention scores, and count the others."""
    if convention is None:
        return files
    chosen = [file for file in files if not convention.passes_over(file.absolute())]
    if len(chosen) < len(files):
        others = set(files).difference(chosen)
        result.passed_over += Counter(NOT_SCORED.format(file.suffix.lower()) for file in others)
    return chosen


def _one_for_each_stem(files: list[Path], result: Imported) -> list[Path]:
    """Return the first file of each stem in its folder, and count the others."""
    chosen: dict[tuple[Path, str], Path] = {}
    for file in files:
        if chosen.setdefault((file.parent, file.stem), file) is not file:
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
    database: ImagerDatabase, plates: PlateFolders, stored: Mapping[Path, str], order: Order
) -> list[tuple[Path, NamedImage]]:
    """Assign each file to a well of its folder's plate, in order; files entered before keep their wells.

    Numbers in names count as numbers, so that 10.jpg comes after 9.jpg.

    If several folders are inspections of one plate, a name that another inspection has is the same well there.
    """
    places: list[tuple[Path, NamedImage]] = []
    wells: dict[str, dict[str, Well]] = {}
    taken: defaultdict[tuple[str, datetime | None], set[Well]] = defaultdict(set)
    for folder, group in itertools.groupby(stored, key=lambda path: path.parent):
        barcode, date = plates.barcode(folder), find_date(folder.absolute().name, order)
        if barcode not in wells:
            entered = database.entered(barcode)
            wells[barcode] = {row.image_name: row.well for row in entered}
            for row in entered:
                taken[barcode, row.inspected].add(row.well)
                taken[barcode, None].add(row.well)
        known = wells[barcode]
        names = {file: stored[file] for file in sorted(group, key=_by_numbers)}
        is_again = date is not None and not known.keys() & names.values()  # such as the next files of a camera
        here = taken[barcode, date if is_again else None]
        free = (well for well in (Well(row, col, 1) for row in itertools.count(1) for col in range(1, 13)))
        for file, name in names.items():
            if name not in known:
                known[name] = next(well for well in free if well not in here)
            taken[barcode, date].add(known[name])
            taken[barcode, None].add(known[name])
            places.append((file, NamedImage(barcode, None, known[name], date, plate_folder=0)))
    return places


def _by_numbers(file: Path) -> list[str | int]:
    """Return what sorts files as a person does."""
    parts = re.split(r"([0-9]+)", file.stem)
    return [int(part) if at % 2 else part for at, part in enumerate(parts)]


def _link(config: Config, file: Path, target: Path, copy: bool, copies: Copies) -> None:
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
                f"{target} already exists with other content; two images of one inspection have the same name. "
                "If they are of two inspections, let import.names read the inspection's number or date"
            )
    temporary = target.with_name(f".{os.getpid()}.part")  # names may have 255 bytes already
    temporary.unlink(missing_ok=True)
    try:
        if copy or is_stale:
            raise OSError("a copy is wanted")
        temporary.symlink_to(file.absolute())
    except OSError:
        try:
            with open_original(config, file) as original, temporary.open("xb") as made:
                shutil.copyfileobj(original, made)
        except OSError:
            temporary.unlink(missing_ok=True)  # a part of it would fill a full disk for ever
            raise
        copies.add(target, file)
    temporary.replace(target)  # and a link to a file that was moved
