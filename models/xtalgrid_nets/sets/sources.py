"""Read labelled wells from tables, folders named after classes, and MARCO's shards."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from xtalgrid_core.errors import FailureReason, ImageError
from xtalgrid_core.files import SYSTEM_FOLDERS, readable
from xtalgrid_core.images import SUFFIXES

from .arrays import sha256_of
from .format import SetError
from .labels import Label, Labels
from .tables import heading, read_table
from .tfrecord import parse_example, read_records


@dataclass(frozen=True, slots=True)
class LabelledWell:
    """An image of a well, and the label a person gave it.

    Attributes
    ----------
    image
        Unique name in the set.
    data
        The file, or its bytes.
    plate
        Unit of the split into training and validation; if empty (unknown), the image is its own plate.
    pixel_size_um
        Micrometres per pixel; None to guess it from the image's size.
    uv, mask
        Files of the UV mate and of a hand-drawn mask, or None.
    """

    image: str
    data: Path | bytes
    label: Label
    plate: str
    source: str
    pixel_size_um: float | None = None
    uv: Path | None = None
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An entry without a well: an error to fix if `broken`, otherwise an image that doesn't belong in the set."""

    image: str
    reason: str
    broken: bool


Entry = LabelledWell | PassedOver


def read_file(path: Path) -> bytes:
    """Read a file's bytes.

    Raises
    ------
    ImageError
        If the file is missing or can't be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError(FailureReason.MISSING_FILE, f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise ImageError(FailureReason.UNREADABLE_FILE, f"cannot read {path}: {error}") from error


def plate_of(name: str, pattern: str) -> str:
    """Return the plate in a file's name: the first group of a pattern, or "" without a pattern or a match.

    Raises
    ------
    SetError
        If the pattern is not a regular expression with a group.
    """
    if not pattern:
        return ""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise SetError(f"--plate-from {pattern!r}: not a regular expression ({error})") from error
    if not compiled.groups:
        raise SetError(f"--plate-from {pattern!r}: put the plate's name in parentheses, such as '^(\\w+?)_'")
    match = compiled.search(name)
    return (match.group(1) or "") if match else ""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of a table's columns; an empty `label` means ``outcome``, else ``label``, else ``score``."""

    image: str = "image"
    label: str = ""
    plate: str = "plate"
    uv: str = "uv_image"
    source: str = "source"
    pixel_size: str = "pixel_size_um"


def from_table(
    table: Path,
    labels: Labels,
    *,
    columns: Columns | None = None,
    images: Path | None = None,
    plate_from: str = "",
    pixel_size_um: float | None = None,
) -> Iterator[Entry]:
    """Read the wells of a CSV file: one from ``xtalgrid export-scored``, or a lab's own.

    Parameters
    ----------
    images
        Base of relative paths; by default the table's folder.
    plate_from
        Pattern for tables without a column of plates; see `plate_of`.

    Raises
    ------
    SetError
        If the table can't be read or lacks a column.
    """
    image, label, plate, uv, source, size = map(heading, astuple(columns or Columns()))
    root = images or table.parent
    found = read_table(table)
    label = _label_column(table, found.columns, image, label)
    for line in found.lines:
        row, name = line.cells, line.cells[image]
        if line.wrong or not name:
            yield PassedOver(f"row {line.number}", f"{table}: {line.wrong or 'no image in this row'}", broken=True)
            continue
        try:
            read = _read_label(labels, row, label)
            pixels = _pixel_size(row.get(size, ""), pixel_size_um)
        except SetError as error:
            yield PassedOver(name, str(error), broken=False)
            continue
        if read is None:
            yield PassedOver(name, "left out by --map", broken=False)
            continue
        mate = row.get(uv)
        yield LabelledWell(
            image=name,
            data=root / name,
            label=read,
            plate=row.get(plate) or plate_of(Path(name).name, plate_from),
            source=row.get(source) or table.stem,
            pixel_size_um=pixels,
            uv=root / mate if mate else None,
        )


def _label_column(table: Path, names: Sequence[str], image: str, label: str) -> str:
    wanted = (label,) if label else ("outcome", "label", "score")
    found = next((name for name in wanted if name in names), None)
    if found is None or image not in names:
        missing = [*([] if image in names else [image]), *([] if found else [" or ".join(wanted)])]
        raise SetError(
            f"{table}: no column {' and no column '.join(missing)}; name the columns with --image-column and "
            f"--label-column (the table has {', '.join(names) or 'none'})"
        )
    return found


def _read_label(labels: Labels, row: Mapping[str, str], column: str) -> Label | None:
    """Read a row's label; a lab's own map of score codes overrides the outcome written by the export."""
    code, text = row.get("score", ""), row[column]
    if column == "outcome" and code and (labels.maps(code) or not text):
        if not labels.maps(code):
            raise SetError(f"unknown score {code!r}; give its meaning with --map '{code}=OUTCOME'")
        return labels.read(code)
    if not text:
        raise SetError("people disagree" if row.get("disagreement") else "no label")
    return labels.read(text)


def _pixel_size(text: str, default: float | None) -> float | None:
    if not text:
        return default
    try:
        return float(text)
    except ValueError as error:
        raise SetError(f"pixel size {text!r} is not a number of micrometres") from error


def from_class_folders(
    folder: Path, labels: Labels, *, plate_from: str = "", pixel_size_um: float | None = None
) -> Iterator[Entry]:
    """Read the images in sub-folders named after classes, such as ``crystals harvestable/`` or ``13/``.

    Folders below them belong to the same class. Hidden files, and folders of deleted files, thumbnails or snapshots
    don't count; of an image in several formats the first does (`SUFFIXES`).

    Raises
    ------
    SetError
        If no sub-folder is named after a class.
    """
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not _is_aside(path.name))
    known = [path for path in folders if labels.knows(path.name)]
    if not known:
        raise SetError(
            f"{folder}: no subfolder is named after an outcome, a group or a score code"
            + (
                f"; give the meaning of {', '.join(path.name for path in folders[:8])} with --map NAME=OUTCOME"
                if folders
                else ""
            )
        )
    for path in folders:
        if path not in known:
            yield PassedOver(
                path.name + "/",
                f"the folder's name is not an outcome; give its meaning with --map '{path.name}=OUTCOME'",
                broken=False,
            )
            continue
        label = labels.read(path.name)
        found: set[Path] = set()
        for file in sorted(path.rglob("*"), key=_by_format):
            inside = file.relative_to(folder)
            if file.suffix.lower() not in SUFFIXES or any(map(_is_aside, inside.parts)) or not file.is_file():
                continue
            name = readable(str(inside))
            if label is None:
                yield PassedOver(name, "left out by --map", broken=False)
            elif inside.with_suffix("") in found:
                yield PassedOver(name, "another format of an image", broken=False)
            else:
                found.add(inside.with_suffix(""))
                yield LabelledWell(name, file, label, plate_of(file.name, plate_from), folder.name, pixel_size_um)


def without(frozen: Container[object], entries: Iterable[Entry]) -> Iterator[Entry]:
    """Pass over the wells whose image is among those that no model is fitted to: paths, or the SHA-256 of contents."""
    for entry in entries:
        if isinstance(entry, LabelledWell) and isinstance(entry.data, Path) and entry.data.is_file():
            place = entry.data.resolve()
            if place in frozen or sha256_of(place) in frozen:
                yield PassedOver(entry.image, "frozen: no model is fitted to it", broken=False)
                continue
        yield entry


def _is_aside(name: str) -> bool:
    """Tell whether a file or folder is hidden, or one that systems add to a share."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def _by_format(file: Path) -> tuple[Path, int]:
    suffix = file.suffix.lower()
    return file.with_suffix(""), SUFFIXES.index(suffix) if suffix in SUFFIXES else -1


def from_marco(shards: Sequence[Path], labels: Labels, *, plate_from: str = "") -> Iterator[Entry]:
    """Read the wells of MARCO's shards (TFRecord files of ``tf.train.Example``), in order.

    The features read are those of the published shards: ``image/encoded`` (JPEG), ``image/class/text``, or
    ``image/class/label`` if there is no text, ``image/class/source``, ``image/filename`` and ``image/id``. They don't
    name the plate.
    """
    for shard in shards:
        for record in read_records(shard):
            place = f"{shard.name}#{record.number}"
            if record.error:
                yield PassedOver(place, record.error, broken=True)
                continue
            try:
                features = parse_example(record.data)
            except ValueError as error:
                yield PassedOver(place, f"not a tf.train.Example: {error}", broken=True)
                continue
            yield _marco_well(features, place, labels, plate_from)


def _marco_well(features: Mapping[str, Sequence[object]], place: str, labels: Labels, plate_from: str) -> Entry:
    def text(name: str) -> str:
        value = next(iter(features.get(name, ())), b"")
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

    encoded = next(iter(features.get("image/encoded", ())), None)
    if not isinstance(encoded, bytes) or not encoded:
        return PassedOver(place, "no image/encoded in this record", broken=True)
    try:
        label = labels.read(text("image/class/text") or text("image/class/label"))
    except SetError as error:
        return PassedOver(place, str(error), broken=False)
    if label is None:
        return PassedOver(place, "left out by --map", broken=False)
    source = text("image/class/source")
    plate = plate_of(text("image/filename"), plate_from)
    return LabelledWell(place, encoded, label, plate, f"marco {source}".strip())
