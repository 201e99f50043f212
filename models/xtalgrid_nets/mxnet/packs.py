"""Convert chop sets (`xtalgrid_nets.sets.format`) to RecordIO packs and back.

Our packs contain PNG images, which keep every pixel exactly (``im2rec --encoding .png``; MXNet's readers accept PNG
as well as JPEG). The set's ``wells.csv`` lies beside the pack as ``PREFIX.wells.csv``, because RecordIO has no field
for the well of a chop. The label is the rank in `xtalgrid_core.outcomes.CLASSES`. Patches and views are not packed:
MXNet's classifier had no use for them.

Other packs can be converted back too: the caller gives the meaning of their numbers, and a pattern that finds a
chop's well in the paths of the ``.lst``.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from xtalgrid_core.chops import CHOP
from xtalgrid_core.errors import ImageError, XtalgridError
from xtalgrid_core.files import replacing
from xtalgrid_core.images import read_image

from ..sets.format import WellRow
from ..sets.reading import ChopSet
from ..sets.writing import ChopSetWriter
from .recordio import ImageRecord, PackWriter, RecordError, places, read_list, read_record, unpack_image

Part = Literal["all", "training", "held-out"]

_PATH = re.compile(r"(?P<well>\d{6,})/\d+\.(png|jpg)")


@dataclass(frozen=True, slots=True)
class Packed:
    """Number of images converted, and the reason for each that wasn't."""

    images: int
    failed: dict[str, str]


def pack(folder: Path, prefix: Path, *, part: Part = "all", quality: int | None = None) -> Packed:
    """Write a set's chops as ``PREFIX.rec``, ``.idx``, ``.lst`` and ``.wells.csv``.

    Parameters
    ----------
    part
        Which chops to write: MXNet takes training and validation from two packs.
    quality
        JPEG quality, 1..100 (im2rec's default is 95); None for PNG.

    Raises
    ------
    SetError
        If the folder is not a finished set.
    XtalgridError
        If there are no such chops.
    """
    chops = ChopSet(folder)
    training, held = chops.split()
    chosen = {"all": np.arange(len(chops.labels)), "training": training, "held-out": held}[part]
    if not len(chosen):
        raise XtalgridError(
            f"{folder}: has no chops{'' if part == 'all' else f' that are {part}'}; nothing was written"
        )
    suffix, options = ("png", {"compress_level": 3}) if quality is None else ("jpg", {"quality": quality})
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with PackWriter(prefix) as writer, replacing(_table_of(prefix)) as table:
        table.write(_as_csv(chops.table))
        for index in tqdm(chosen, desc="recordio pack", mininterval=5):
            stream = io.BytesIO()
            kind = "PNG" if suffix == "png" else "JPEG"
            Image.fromarray(chops.take([index])[0]).save(stream, kind, **options)
            labels = chops.labels[index : index + 1].astype(np.float32)
            path = f"{chops.wells[index]:06d}/{index:08d}.{suffix}"
            writer.add(ImageRecord(int(index), labels, stream.getvalue()), path)
    return Packed(len(chosen), {})


def unpack(
    rec: Path, folder: Path, *, classes: Sequence[tuple[int, str]] | None = None, wells: re.Pattern[str] | None = None
) -> Packed:
    """Make a set from a pack's images, well by well; unusable images are recorded and skipped.

    Parameters
    ----------
    rec
        The ``.rec``; its ``.lst`` is read if it exists. The ``.idx`` is not needed.
    classes
        ``classes[number]`` is (rank in `CLASSES`, outcome in ``wells.csv``) for a label; required for packs that
        aren't ours.
    wells
        Pattern with a group ``plate``, and optionally ``well``, for the paths of the ``.lst``. Without it each image
        is a well and a plate of its own (unless the pack is ours).

    Raises
    ------
    RecordError
        If the pack is damaged: nothing after the damage can be found.
    SetError
        If `folder` holds a set.
    XtalgridError
        If `classes` is required and missing.
    """
    prefix = rec.with_suffix("")
    table = _read_table(_table_of(prefix)) if wells is None else None
    if table is None and classes is None:
        raise XtalgridError(
            f"{rec}: the meaning of its labels is unknown; name them in order with --classes NAME,NAME,…"
        )
    paths = read_list(prefix.with_suffix(".lst")) if prefix.with_suffix(".lst").is_file() else {}
    groups: dict[WellRow, list[int]] = {}
    for place, number in _numbers(rec):
        groups.setdefault(_well_of(number, paths.get(number, ""), table, wells), []).append(place)
    arguments = {"pack": rec.name, "classes": classes, "wells": wells.pattern if wells else None}
    images = 0
    with ChopSetWriter(folder, "recordio unpack", arguments) as writer:
        for well, positions in tqdm(groups.items(), desc="recordio unpack", mininterval=5):
            if well.image in writer.done:
                continue
            pixels, labels, outcome = [], [], well.outcome
            for place in positions:
                record = unpack_image(read_record(rec, place), f"{rec}, byte {place}")
                try:
                    rank, name = _class_of(record, classes)
                    pixels.append(_chop(record.image))
                except (ImageError, RecordError) as error:
                    writer.fail(paths.get(record.number) or f"{rec.name} record {record.number}", str(error))
                    continue
                labels.append(rank)
                outcome = outcome or name
            if labels:
                chops = np.stack(pixels), np.array(labels, np.uint8)
                writer.add(plate=well.plate, source=well.source, image=well.image, outcome=outcome, chops=chops)
                images += len(labels)
        return Packed(images, dict(writer.failed))


def _numbers(rec: Path) -> Iterator[tuple[int, int]]:
    for place, payload in places(rec):
        yield place, unpack_image(payload, f"{rec}, byte {place}").number


def _well_of(number: int, path: str, table: list[WellRow] | None, wells: re.Pattern[str] | None) -> WellRow:
    if table is not None:
        match = _PATH.fullmatch(path)
        if match is None or int(match["well"]) >= len(table):
            raise RecordError(
                f"record {number}: the .lst's path {path!r} refers to no well of the .wells.csv; "
                "give both files, or use --wells"
            )
        return table[int(match["well"])]
    name = path or f"record {number}"
    if wells is None:
        return WellRow(0, name, "recordio", name, "")
    match = wells.search(path)
    if match is None:
        raise RecordError(f"record {number}: --wells does not match the path {path!r} of the .lst")
    parts = match.groupdict()
    plate = parts.get("plate") or name
    return WellRow(0, plate, "recordio", f"{plate} {parts['well']}" if parts.get("well") else name, "")


def _class_of(record: ImageRecord, classes: Sequence[tuple[int, str]] | None) -> tuple[int, str]:
    if len(record.labels) != 1:
        raise RecordError(f"{len(record.labels)} labels; a chop has one")
    number = float(record.labels[0])
    known = len(classes) if classes is not None else None
    if not math.isfinite(number) or number != int(number) or not 0 <= number < (known if known is not None else 13):
        raise RecordError(f"label {number:g} is not one of the classes")
    return (int(number), "") if classes is None else classes[int(number)]


def _chop(data: bytes) -> npt.NDArray[np.uint8]:
    image = read_image(data)
    if image.shape != (CHOP, CHOP, 3):
        raise RecordError(f"{image.shape[1]}×{image.shape[0]} pixels; a chop has {CHOP}×{CHOP}")
    return image


def _table_of(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".wells.csv")


def _as_csv(rows: Sequence[WellRow]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(WellRow._fields)
    writer.writerows(rows)
    return text.getvalue().encode()


def _read_table(path: Path) -> list[WellRow] | None:
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as stream:
        try:
            return [
                WellRow(number, row["plate"], row["source"], row["image"], row["outcome"])
                for number, row in enumerate(csv.DictReader(stream))
            ]
        except (KeyError, UnicodeDecodeError, csv.Error) as error:
            raise RecordError(f"{path}: not the table of wells that `sets recordio pack` writes ({error!r})") from error
