"""Polo's saved runs (.xtal): lines that begin with ``<>``, a separator, and one JSON document.

Holleman et al. 2021, github.com/Hauptman-Woodward/Marco_Polo (io_utils.py, XtalWriter and RunDeserializer). A run is a
plate at one inspection; Polo knows one number for each well, so a plate whose wells have several drops is several runs.

What a file names as a class is never imported: only the known keys are read, and pictures in it are skipped.
"""

from __future__ import annotations

import base64
import codecs
import mmap
import re
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import msgspec

from xtalgrid_core.errors import ConfigError, ImageError
from xtalgrid_core.files import STANDARD_OUTPUT, replacing
from xtalgrid_core.images import read_image
from xtalgrid_core.spreadsheets import text_encoding

from ..config import Config
from ..domain.groups import four
from ..domain.wells import FORMATS, PlateFormat, Well
from ..imager.crystaltrak.database import ImagerDatabase
from ..imager.folder.dates import find_date
from ..imager.folder.formats import known_format
from ..ledger.store import Ledger
from ..reports.entries import DropInspection, Entry, Filter, inspections
from ..steps.pack import read_original
from .foreign import ForeignScore, Line, Place, Source, Told, utc
from .marco import CLASSES

HEADER, SEPARATOR, VERSION = "<>", "=" * 79, "0.2.1"
WHO, MODEL = "Polo", "Polo's machine"
"""Who gave Polo's classes: it names nobody. Its machine is MARCO, or whoever's classes were brought into it."""

_LARGEST = 2 * 1024**3
_LONGEST_HEADER = 64 * 1024
_LONGEST_TEXT = 200
_CLASSES = ("Crystals", "Clear", "Precipitate", "Other")
_MODULE = "polo.crystallography"

# ---- reading -------------------------------------------------------------------------------------------------------


def _struct(name: str, *fields: str, **inner: Any) -> Any:
    """Return a type for some keys of a Polo object, as newer and older versions write them; the rest is skipped."""
    keys = []
    for field in (*fields, *inner):
        for number, key in enumerate((field, f"_{field}", f"_{name}__{field}")):
            keys.append((f"{field}_{number}", inner.get(field, Any), msgspec.field(default=None, name=key)))
    return msgspec.defstruct(name, keys)


_Image: Any = _struct(
    "Image", "path", "well_number", "human_class", "machine_class", "prediction_dict", "plate_id", "date", "spectrum"
)
_IMAGES = msgspec.json.Decoder(_Image)
_Run: Any = _struct("Run", "plate_id", "run_name", images=list[msgspec.Raw] | None)


_BROKEN = msgspec.DecodeError, RecursionError, UnicodeError
_TEXT_OR_NO_NUMBER = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|(?P<word>NaN|-?Infinity)', re.DOTALL)
_NO_NUMBER = "\x7f"
"""What texts are made of that stand for these words."""


def _get(read: Any, field: str) -> Any:
    return next((value for n in range(3) if (value := getattr(read, f"{field}_{n}")) is not None), None)


def is_polo(file: Path) -> bool:
    """Tell whether a file begins as Polo's do."""
    with file.open("rb") as stream:
        data = stream.read(4096)
    head = data.decode(text_encoding(data), "ignore").lstrip()
    return head.startswith(HEADER) or (head.startswith("{") and "__class__" in head)


def open_polo(config: Config, file: Path, told: Told) -> Source:
    """Read the scores of a saved run: people's classes, by `Polo`, and MARCO's.

    Raises
    ------
    ConfigError
        If it is none.
    """
    lines = _read(config, file, told)
    notes = ("Polo keeps neither who gave a class nor when; --by names the person",)

    def probabilities() -> Iterator[Mapping[str, float]]:
        return (score.numbers for line in lines for score in line.scores if score.numbers)

    return Source("Polo's run", lambda: iter(lines), probabilities, notes)


def _read(config: Config, file: Path, told: Told) -> list[Line]:
    if file.stat().st_size > _LARGEST:
        raise ConfigError(f"{file}: more than {_LARGEST // 1024**3} GB; save the run without images, or export its CSV")
    saved = None
    with _mapped(file) as data:
        first = start = len(codecs.BOM_UTF8) if data[: len(codecs.BOM_UTF8)] == codecs.BOM_UTF8 else 0
        while data[start : start + 2] == HEADER.encode() and start < _LONGEST_HEADER:
            end = data.find(b"\n", start, start + _LONGEST_HEADER)
            line = data[start : max(end, start)].decode("utf-8", "replace")
            if line.startswith(f"{HEADER}SAVE TIME:") and (date := find_date(line)) is not None:
                saved = date
            start = end + 1 if end >= 0 else _LONGEST_HEADER
        if start > first:  # the line after the header is the separator
            start = data.find(b"\n", start) + 1
        _quote_what_is_no_number(data, start)
        with memoryview(data) as view, view[start:] as document:
            try:
                run = msgspec.json.decode(document, type=_Run)
            except _BROKEN as error:
                raise ConfigError(f"{file}: no run of Polo ({error}); save it again in Polo") from error
            lines = list(_lines(run, utc(config, saved) if saved else None, told))
            del run  # its images are parts of the document
    if not lines:
        raise ConfigError(f"{file}: a run of Polo without images; choose another file")
    return lines


@contextmanager
def _mapped(file: Path) -> Iterator[mmap.mmap]:
    """Map a file to memory, as UTF-8 and as a private copy of the pages that are changed."""
    with file.open("rb") as stream, tempfile.TemporaryFile() as copy:
        opened: IO[bytes] = stream
        if (encoding := text_encoding(stream.read(4))).startswith("utf-16"):
            try:
                with file.open(encoding=encoding, newline="") as text:
                    while block := text.read(1 << 20):
                        copy.write(block.encode())
            except UnicodeError as error:
                raise ConfigError(f"{file}: no run of Polo ({error}); save it again in Polo") from error
            copy.flush()
            opened = copy
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as data:
            yield data


def _quote_what_is_no_number(data: mmap.mmap, start: int) -> None:
    """Make texts, of the same length, of the words that Python writes for numbers that JSON does not have."""
    if data.find(b"NaN", start) < 0 and data.find(b"Infinity", start) < 0:
        return
    for found in _TEXT_OR_NO_NUMBER.finditer(data, start):
        if found["word"]:
            data[found.start() : found.end()] = b'"%s"' % (_NO_NUMBER.encode() * (len(found["word"]) - 2))


def _lines(run: Any, saved: datetime | None, told: Told) -> Iterator[Line]:
    run_plate = _text(_get(run, "plate_id"))
    for number, read in enumerate(_get(run, "images") or (), start=1):
        try:
            image = _IMAGES.decode(read)
        except _BROKEN as error:
            yield Line(number, problem=f"no image of Polo ({error})")
            continue
        try:
            scores = tuple(_scores(image, saved, told))
            place = _place(image, run_plate, told) if scores else Place()
        except ValueError as error:
            yield Line(number, problem=str(error))
        else:
            yield Line(number, place, scores)


def _scores(image: Any, saved: datetime | None, told: Told) -> Iterator[ForeignScore]:
    if _text(_get(image, "spectrum")).casefold() not in ("", "visible"):
        return
    if human := _text(_get(image, "human_class")):
        yield ForeignScore("person", told.by or WHO, human, saved, "saved")
    numbers, machine = _numbers(_get(image, "prediction_dict")), _text(_get(image, "machine_class"))
    if machine and numbers:
        yield ForeignScore("program", MODEL, machine, saved, "saved", numbers=numbers)


def _numbers(read: Any) -> Mapping[str, float]:
    if not isinstance(read, dict) or not any(read.values()):
        return {}
    values = {name: read.get(name) for name in _CLASSES}
    numbers = {name: float(p) for name, p in values.items() if isinstance(p, int | float) and 0 <= p <= 1}
    if len(numbers) < len(_CLASSES) or abs(sum(numbers.values()) - 1) > 0.02:
        values = {
            name: "no number" if isinstance(value, str) and not value.strip(_NO_NUMBER) else value
            for name, value in values.items()
        }
        raise ValueError(f"the four probabilities are {values}, not numbers that sum to 1")
    return numbers


def _place(image: Any, run_plate: str, told: Told) -> Place:
    number, date = _get(image, "well_number"), find_date(_text(_get(image, "date")))
    return Place(
        image=_text(_get(image, "path")),
        barcode=told.barcode or _text(_get(image, "plate_id")) or run_plate,
        inspection=told.inspection,
        inspected=None if told.inspection is not None else date,
        number=number if isinstance(number, int) and 0 < number < 10**6 else 0,
    )


def _text(value: Any) -> str:
    """Return a text without control characters, which no database takes; empty for anything else, and for none."""
    if not isinstance(value, str) or value == "None":
        return ""
    return "".join(c if c.isprintable() else " " for c in value[: 10 * _LONGEST_TEXT]).strip()


# ---- writing -------------------------------------------------------------------------------------------------------


def write_run(
    config: Config,
    stream: IO[bytes],
    drops: Iterable[tuple[DropInspection, Entry]],
    plate: PlateFormat,
    name: str,
    release: str,
) -> int:
    """Write images of one plate at one inspection, one for each well, as a run; return how many.

    It is an `HWIRun` with a menu of our own, a cocktail for each condition, so that all of Polo's views work. The
    class of a person is the group that the drop is held to be, the machine's the group that we decided; Polo itself
    filters by the largest probability.
    """
    entries = [(inspection, entry, _number(plate, entry)) for inspection, entry in drops]
    first = entries[0][1].image
    saved = f"SAVE TIME:{config.imager.local(time.time())}"
    head = [f"{HEADER}{line}\n" for line in (saved, f"VERSION:{VERSION}", f"WRITTEN BY:xtalgrid {release}")]
    stream.write(("".join(head) + SEPARATOR + "\n").encode())
    run = {
        "run_name": name,
        "image_dir": first.barcode,
        "image_spectrum": "Visible",
        "date": f"{first.inspected:%Y-%m-%d %H:%M:%S}",
        "has_been_machine_classified": True,
        "plate_id": first.barcode,
        "num_wells": plate.wells,
        "alt_spectrum": None,
        "next_run": None,
        "previous_run": None,
        "sampleName": next((entry.contents.sample for _, entry, _ in entries if entry.contents.sample), None),
        "plateName": first.barcode,
        "temperature": None,
        "cocktail_menu": _menu(entries, first.barcode),
    }
    text = msgspec.json.encode(_object("HWIRun", "run", run))[:-1]
    stream.write(text + b',"images":[')
    for index, (inspection, entry, number) in enumerate(sorted(entries, key=lambda each: each[2])):
        image = msgspec.json.encode(_image(config, inspection, entry, number))
        stream.write((b",\n" if index else b"\n") + image)
    stream.write(b"]}\n")
    return len(entries)


def _object(name: str, module: str, values: Mapping[str, Any]) -> dict[str, Any]:
    where = "polo.utils.io_utils" if module == "io_utils" else f"{_MODULE}.{module}"
    return {"__class__": name, "__module__": where, **values}


def _image(config: Config, inspection: DropInspection, entry: Entry, number: int) -> dict[str, Any]:
    image, answer = entry.image, entry.answer
    probabilities = four(answer)
    human = inspection.state.group if inspection.state.said else None
    values = {
        "_path": f"{image.barcode}/{image.image_name}",
        "_bites": _picture(config, entry),
        "well_number": number,
        "human_class": CLASSES.get(human) if human else None,
        "machine_class": CLASSES[answer.outcome.group] if answer and probabilities else None,
        "_prediction_dict": {name: probabilities[group] if probabilities else 0.0 for group, name in CLASSES.items()},
        "plate_id": image.barcode,
        "_date": f"{image.inspected:%Y-%m-%d %H:%M:%S}",
        "cocktail": _cocktail(entry, number),
        "spectrum": "Visible",
        "favorite": False,
        "previous_image": None,
        "next_image": None,
        "alt_image": None,
    }
    return _object("Image", "image", values)


def _picture(config: Config, entry: Entry) -> str | None:
    try:
        data = read_original(config, entry.image)
        read_image(data)  # Polo would stop at a damaged one
    except ImageError:
        return None
    return base64.b64encode(data).decode()


def _menu(entries: Iterable[tuple[DropInspection, Entry, int]], barcode: str) -> dict[str, Any]:
    cocktails = {str(number): _cocktail(entry, number) for _, entry, number in entries}
    values = {"start_date": None, "end_date": None, "type_": "s", "path": barcode, "_cocktails": cocktails}
    return _object("Menu", "io_utils", values)


def _cocktail(entry: Entry, number: int) -> dict[str, Any]:
    condition = entry.contents.condition
    amount = _object("UnitValue", "cocktail", {"_value": 1.0, "units": "x"})
    reagent = {"chemical_additive": condition, "_concentration": amount, "_chemical_formula": None, "stock_con": None}
    values = {
        "_well_assignment": number,
        "number": f"{entry.image.barcode}_C{number:04d}",
        "commercial_code": f"own {entry.image.well}",
        "pH": None,
        "reagents": [_object("Reagent", "cocktail", reagent)] if condition else [],
    }
    return _object("Cocktail", "cocktail", values)


def _number(plate: PlateFormat, entry: Entry) -> int:
    well = entry.image.well
    return (well.row - 1) * plate.columns + well.col


def plate_of(entries: Iterable[Entry], known: PlateFormat | None) -> PlateFormat:
    """Return a plate's format: as it is known, else the smallest usual one that has all its wells."""
    wells = [entry.image.well for entry in entries]
    rows, columns = max(well.row for well in wells), max(well.col for well in wells)
    if known is not None and known.rows >= rows and known.columns >= columns:
        return known
    usual = [plate for plate in FORMATS[2:] if plate.rows >= rows and plate.columns >= columns]
    return usual[0] if usual else PlateFormat(rows, columns)


def export_runs(config: Config, imager: ImagerDatabase, ledger: Ledger, out: Path, chosen: Filter) -> dict[Path, int]:
    """Write a plate at one inspection as a run; if wells have several drops, as one for each drop's position.

    Returns
    -------
    dict
        Number of images by file.

    Raises
    ------
    ConfigError
        If there is no such plate or inspection, or a file cannot be written.
    """
    written = {}
    runs = list(_runs(config, imager, ledger, chosen))
    if len(runs) > 1 and out == STANDARD_OUTPUT:
        raise ConfigError(f"-: the drops of this plate are {len(runs)} files; give a name, such as run.xtal")
    for letter, write in runs:
        file = out if len(runs) == 1 else out.with_name(f"{out.stem}_{letter}{out.suffix}")
        try:
            with replacing(file) as stream:
                written[file] = write(stream)
        except OSError as error:
            raise ConfigError(f"cannot write {error.filename or file}: {error.strerror}") from error
    return written


def write_runs(
    config: Config, imager: ImagerDatabase, ledger: Ledger, stream: IO[bytes], chosen: Filter
) -> tuple[int, bool]:
    """Write the same to a stream, several runs as a zip file; return the number of images, and whether it is one.

    Raises
    ------
    ConfigError
        If there is no such plate or inspection.
    """
    runs = list(_runs(config, imager, ledger, chosen))
    if len(runs) == 1:
        return runs[0][1](stream), False
    images = 0
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for letter, write in runs:
            with archive.open(f"run_{letter}.xtal", "w", force_zip64=True) as run:
                images += write(run)
    return images, True


def _runs(
    config: Config, imager: ImagerDatabase, ledger: Ledger, chosen: Filter
) -> Iterator[tuple[str, Callable[[IO[bytes]], int]]]:
    """Return the letter of each drop's position, and what writes its run and returns the number of images."""
    if not chosen.barcode:
        raise ConfigError("a run of Polo is one plate; give it with --barcode")
    drops = [(each, each.best) for each in inspections(ledger, chosen, answers=True)]
    number = max((entry.image.inspection for _, entry in drops), default=0)
    drops = [(each, entry) for each, entry in drops if entry.image.inspection == number]
    if not drops:
        raise ConfigError(f"plate {chosen.barcode} has no scored images at such an inspection; see `xtalgrid status`")
    known = known_format(config, imager, chosen.barcode)
    plate = plate_of((entry for _, entry in drops), known[0] if known else None)
    for subwell in sorted({entry.image.well.subwell for _, entry in drops}):
        letter = str(Well(1, 1, subwell)).removeprefix("A1").strip(".")
        name = f"{chosen.barcode} inspection {number} drop {letter}"
        of_position = [(each, entry) for each, entry in drops if entry.image.well.subwell == subwell]
        yield letter, partial(write_run, config, drops=of_position, plate=plate, name=name, release=version("xtalgrid"))
