"""Find the image that a line of a foreign file means: by its name, or by plate, inspection and well.

Nothing is guessed: a line that fits no image, or several drops, is refused with the reason.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePosixPath

from ..config import Config
from ..domain.letters import spellings
from ..domain.wells import FORMATS, SURE_WELLS, PlateFormat, Well
from ..imager.crystaltrak.database import ImagerDatabase
from ..imager.folder.formats import known_format
from ..imager.folder.plates import barcode_of
from ..ledger.shapes import DropImage
from ..ledger.store import Ledger
from .foreign import Place

_PLATES_KEPT = 8
_FOLDERS = 4
"""Folders that an image's name in the ledger may be joined with (`Names.image_name`)."""


class Places:
    """Finds images in the ledger; `prepare` first what a batch of lines needs.

    Parameters
    ----------
    folders_count
        Whether an image whose own name has no barcode, such as ``A1.jpg``, is that of a path only if a folder of the
        path is its plate: a path's plate may not be in the ledger.
    """

    def __init__(self, config: Config, imager: ImagerDatabase, ledger: Ledger, *, folders_count: bool = False) -> None:
        self._config, self._imager, self._ledger = config, imager, ledger
        self._folders_count = folders_count
        self._named: dict[str, list[DropImage]] = {}
        self._plates: OrderedDict[str, dict[tuple[int, int], list[DropImage]]] = OrderedDict()
        self._formats: dict[str, PlateFormat | None] = {}

    def prepare(self, places: Iterable[Place]) -> None:
        """Look up the names of images of a batch of lines at once."""
        names = {name for place in places if place.image for name in _names(place.image)}
        self._named = self._ledger.images.named(sorted(names)) if names else {}

    def find(self, place: Place) -> DropImage:
        """Return the image.

        Raises
        ------
        ValueError
            If there is none, or if it could be one of several.
        """
        barcode = self._barcode(place.barcode)
        if place.image:
            found = self._by_name(place, barcode)
            if len(found) == 1:
                return found[0]
            if len(found) > 1:
                drops = ", ".join(f"{image.barcode} inspection {image.inspection} {image.well}" for image in found[:3])
                raise ValueError(f"several images are named {_base(place.image)} ({drops}); give the barcode too")
            if not barcode or (place.well is None and not place.number):
                raise ValueError(f"no image named {_base(place.image)} in the ledger; import its folder first")
        if not barcode:
            raise ValueError("no barcode")
        return self._on_plate(place, barcode)

    def _barcode(self, said: str) -> str:
        """Return a plate's barcode here, by another name of it or in another spelling of its letters."""
        named = self._config.scores.plates
        barcode = next((named[each] for each in sorted(spellings(said)) if each in named), said)
        if barcode.isascii():
            return barcode
        return next((each for each in sorted(spellings(barcode)) if self._plate(each)), barcode)

    def _by_name(self, place: Place, barcode: str) -> list[DropImage]:
        for name in _names(place.image):  # with the most folders first
            found = self._named.get(name, [])
            if len(found) > 1:
                folders = PurePosixPath(place.image.replace("\\", "/")).parts[:-1]
                found = [image for image in found if image.barcode in folders] or found
            if barcode:
                fitting = [image for image in found if image.barcode == barcode]
                if found and not fitting:
                    raise ValueError(f"the image {name} is of plate {found[0].barcode}, not {barcode}")
                found = fitting
            elif len(found) == 1 and self._folders_count and not _names_plate(place.image, found[0]):
                raise ValueError(
                    f"the ledger's {name} is of plate {found[0].barcode}, which no folder of this path names; import "
                    "this one's folder first, or give the barcode too"
                )
            if place.inspection is not None:
                found = [image for image in found if image.inspection == place.inspection] or found[:0]
            if found:
                return found
        return []

    def _on_plate(self, place: Place, barcode: str) -> DropImage:
        wells = self._plate(barcode)
        if not wells:
            number = " (in this file it is a number: leading zeros are lost)" if barcode.isdecimal() else ""
            raise ValueError(
                f"no images of plate {barcode} in the ledger{number}; import them first, or name it in scores.plates"
            )
        well = place.well if place.well is not None else self._numbered(place.number, barcode, wells)
        subwell = well.subwell or place.subwell
        of_well = [image for image in wells.get(well[:2], ()) if subwell in (0, image.well.subwell)]
        if not of_well:
            raise ValueError(f"plate {barcode} has no image of well {_well_name(well, subwell)}")
        of_well = _at_inspection(place, barcode, of_well)
        drops = sorted({image.well for image in of_well})
        if len(drops) > 1:
            names = ", ".join(map(str, drops))
            raise ValueError(f"plate {barcode} has several drops in well {_well_name(well, 0)}: {names}; say which")
        return min(of_well, key=lambda image: image.image_name)

    def _plate(self, barcode: str) -> dict[tuple[int, int], list[DropImage]]:
        """Return a plate's images by row and column."""
        if barcode in self._plates:
            self._plates.move_to_end(barcode)
        else:
            wells = self._plates[barcode] = {}
            for image in self._ledger.images.of_plate(barcode):
                wells.setdefault(image.well[:2], []).append(image)
            if len(self._plates) > _PLATES_KEPT:
                self._plates.popitem(last=False)
        return self._plates[barcode]

    def _numbered(self, number: int, barcode: str, wells: Collection[tuple[int, int]]) -> Well:
        if not number:
            raise ValueError("no well")
        if number == 1:
            return Well(1, 1, 0)
        if barcode not in self._formats:
            known = known_format(self._config, self._imager, barcode)
            self._formats[barcode] = known[0] if known else _full_format(wells)
        plate = self._formats[barcode]
        if plate is None:
            raise ValueError(
                f"where is well number {number}? Give the plate's format in import.plates, or a well such as A1"
            )
        return plate.well(number, 0)


def _at_inspection(place: Place, barcode: str, images: Sequence[DropImage]) -> list[DropImage]:
    if place.inspection is not None:
        found = [image for image in images if image.inspection == place.inspection]
    elif place.inspected is not None:
        exact = [image for image in images if image.inspected == place.inspected]
        found = exact or [image for image in images if image.inspected.date() == place.inspected.date()]
    else:
        found = list(images)
    numbers = sorted({image.inspection for image in found})
    if len(numbers) > 1:
        which = "on this day" if place.inspected else "in all"
        raise ValueError(f"plate {barcode} has several inspections {which} ({', '.join(map(str, numbers))}); say which")
    if not found:
        known = ", ".join(sorted({f"{image.inspection} on {image.inspected:%Y-%m-%d}" for image in images}))
        raise ValueError(f"plate {barcode} has no such inspection of this well; it has {known}")
    return found


def _full_format(wells: Collection[tuple[int, int]]) -> PlateFormat | None:
    """Return the usual format whose last row and column have images; None if there is none.

    Not one of fewer than 96 wells: half a plate with images, A1 to H6, is more common than a plate of 48.
    """
    last = max(row for row, _ in wells), max(column for _, column in wells)
    return next((plate for plate in FORMATS if plate[:2] == last and plate.wells >= SURE_WELLS), None)


def _names_plate(path: str, image: DropImage) -> bool:
    """Tell whether an image's name, or a folder of a path if it has any, has to do with the image's plate."""
    *folders, _ = path.replace("\\", "/").split("/")
    folders = [folder for folder in map(barcode_of, folders) if folder]
    plate = barcode_of(image.barcode)
    return (
        not folders
        or image.barcode in image.image_name  # where it may be padded
        or any(_has(folder, plate) or _has(plate, folder) for folder in folders)  # it may be of several folders
    )


def _has(text: str, word: str) -> bool:
    """Tell whether a text has a word, not as a part of a longer one."""
    return re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", text) is not None


def _names(path: str) -> list[str]:
    """Return the names that an image may have in the ledger: with the most folders first."""
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    joined = ("_".join(parts[-number:]) for number in range(min(len(parts), 1 + _FOLDERS), 0, -1))
    return [name for each in joined for name in sorted(spellings(each))]


def _base(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _well_name(well: Well, subwell: int) -> str:
    return str(well._replace(subwell=subwell)) if subwell else str(well._replace(subwell=0)).removesuffix(".0")
