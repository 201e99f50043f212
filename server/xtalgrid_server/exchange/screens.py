"""Conditions of a screen from XML: Rock Maker's screens (RMXML) and CrystalTrak's reservoir designs.

RMXML names no wells: its conditions run along the rows. A concentration's unit is that of the ingredient's stock.
Schema of RMXML: github.com/chrishmorris/PiMS. Designs: as CSIRO's tools write them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.spreadsheets import text_encoding

from ..domain.wells import FORMATS, PlateFormat, Well, parse_well
from .sheets import refuse_declarations

_LARGEST = 16 * 1024**2
_LARGEST_NUMBER = 99


def is_xml(file: Path) -> bool:
    """Tell whether a file begins as XML."""
    with file.open("rb") as stream:
        head = stream.read(200)
    return head.decode(text_encoding(head), "ignore").lstrip().startswith("<")


def read_screen(file: Path, plate: PlateFormat | None) -> tuple[list[tuple[Well, str]], PlateFormat | None]:
    """Read the condition of each well, and return the plate's format too if it was inferred from their number.

    Parameters
    ----------
    plate
        The plate's format, if it is configured; else that of a usual plate with as many wells as there are conditions.

    Raises
    ------
    ConfigError
        If it is no screen that we know, or a condition can't be read; the message names it.
    """
    if file.stat().st_size > _LARGEST:
        raise ConfigError(f"{file}: more than {_LARGEST // 1024**2} MB; this is no screen")
    with file.open("rb") as stream:
        refuse_declarations(file, stream)
    try:
        root = ElementTree.parse(file).getroot()  # noqa: S314  without a document type there are no entities
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ConfigError(f"{file}: not XML ({error}); export the screen again") from error
    try:
        if (design := _first(root, "reservoir_design")) is not None:
            return list(_design(design)), None
        if _tag(root) == "screen":
            conditions = list(_rmxml(root))
            of_plate = plate or _usual(len(conditions))
            if of_plate is None or len(conditions) > of_plate.wells:
                raise ValueError(
                    f"{len(conditions)} conditions fill no usual plate; set the plate's format in import.plates"
                )
            wells = [(of_plate.well(number, 0), text) for number, text in enumerate(conditions, start=1)]
            return wells, of_plate if plate is None else None
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error
    raise ConfigError(
        f"{file}: XML with the root {_tag(root)!r}, neither Rock Maker's screen nor CrystalTrak's reservoir_design; "
        "give a CSV or Excel list with the columns well and condition"
    )


def ingredient(concentration: str, unit: str, name: str, ph: str = "") -> str:
    """Return an ingredient as people write it: ``0.1 M HEPES pH 7.5``."""
    amount, of_what = concentration.strip(), _unit(unit)
    if of_what.startswith("%"):  # as in 20 % of a column that is in percent already
        amount = amount.removesuffix("%").rstrip()
    parts = amount, of_what, name.strip(), f"pH {ph.strip()}" if ph.strip() else ""
    return " ".join(part for part in parts if part)


def _unit(unit: str) -> str:
    r"""Return a unit in one form: ``%w/v``, ``%W/V``, ``%w\v`` and ``w/v`` are ``% w/v``."""
    plain = unit.strip().replace("\\", "/")
    match = re.fullmatch(r"%?\s*([wv]/[wv])", plain, re.IGNORECASE)
    return f"% {match[1].lower()}" if match else plain


def _usual(wells: int) -> PlateFormat | None:
    return next((usual for usual in FORMATS if usual.wells == wells), None)


def _rmxml(root: ElementTree.Element) -> Iterator[str]:
    stocks: dict[str, tuple[str, str]] = {}
    for each in _all(root, "ingredients", "ingredient"):
        name = _text(each, "name") or _text(each, "shortName")
        for stock in _all(each, "stocks", "stock"):
            stocks[_text(stock, "localID")] = name, _text(stock, "units")
    conditions = _all(root, "conditions", "condition")
    if not conditions:
        raise ValueError("a screen without conditions")
    for number, condition in enumerate(conditions, start=1):
        texts = []
        for each in _all(condition, "conditionIngredient"):
            stock_id = _text(each, "stockLocalID")
            if stock_id not in stocks:
                raise ValueError(f"condition {number}: no stock {stock_id!r} among the ingredients")
            name, unit = stocks[stock_id]
            texts.append(ingredient(_text(each, "concentration"), unit, name, _text(each, "pH")))
        yield ", ".join(texts)


def _design(design: ElementTree.Element) -> Iterator[tuple[Well, str]]:
    for each in _all(design, "well"):
        well = parse_well(each.get("label", ""))
        if max(well) > _LARGEST_NUMBER:
            raise ValueError(f"well {each.get('label')!r} is on no plate")
        items = _all(each, "item")
        texts = (
            ingredient(one.get("conc", ""), one.get("units", ""), one.get("name", ""), one.get("ph", ""))
            for one in items
        )
        yield well, ", ".join(texts)


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _first(root: ElementTree.Element, name: str) -> ElementTree.Element | None:
    return next((each for each in root.iter() if _tag(each) == name), None)


def _all(element: ElementTree.Element, *path: str) -> list[ElementTree.Element]:
    """Return the elements below along a path of names, without their namespaces."""
    found = [element]
    for name in path:
        found = [child for each in found for child in each if _tag(child) == name]
    return found


def _text(element: ElementTree.Element, name: str) -> str:
    found = _all(element, name)
    return (found[0].text or "").strip() if found else ""
