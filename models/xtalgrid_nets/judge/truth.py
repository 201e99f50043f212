"""Read the truth about each well, from a person or the renderer, that scores are judged against."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.images import SUFFIXES
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Group, Outcome
from xtalgrid_core.scale import pixel_size
from xtalgrid_synth.evaluation_plates import SETTINGS

from ..sets.arrays import sha256_of
from ..sets.format import any_of
from ..sets.tables import read_lines

Kind = Literal["real", "rendered"]

# Sources of single wells, by the start of the file name; no figure mixes two of them.
_WELL_SOURCES = (
    ("marco_gsk_", "wells: MARCO/GSK"),
    ("J000597_", "wells: Diamond, clear drops"),
    ("RMM3_01_470_", "wells: Rigaku, square wells"),
    ("lysozyme_presentation_", "wells: screenshots of 1536-well plates"),
    ("pres_images_", "wells: screenshots of 1536-well plates"),
    ("well_1464_", "wells: 1536-well plate, full size"),
)
_MORE = "more"  # a set of many sources, each named by the start of the file name, as in SOURCE__name.jpg

_MARCO = "MARCO's own images"
_MARCO_PERHAPS = "of an institution that gave images to MARCO"
_APART = {
    "wells: MARCO/GSK": _MARCO,
    "more: Mse544-CustomVision": _MARCO,
    "more: computer_vision_GS": _MARCO,
    "wells: screenshots of 1536-well plates": _MARCO_PERHAPS,
    "wells: 1536-well plate, full size": _MARCO_PERHAPS,
    "more: Marco_Polo": _MARCO_PERHAPS,
    "more: harrier": _MARCO_PERHAPS,
}
"""Sources that trained MARCO's network, or may have."""

_UV = "well_1464_uvtpef"  # the start of a UV image's name in a table without a column `kind`
_NO_WELLS = "marco_tiles"  # cut from mosaics, labels read by a program: for training, not for judging

_GROUPS = {group.value: group for group in SCORED_GROUPS} | {"crystals": Group.CRYSTAL}
_ANY = {any_of(group): group for group in SCORED_GROUPS}
_NAMES = {outcome.value: outcome for outcome in CLASSES}
_CODES = {
    outcome.code: outcome for outcome in reversed(CLASSES)
}  # rim shares clear's code; the first class with a code counts


@dataclass(frozen=True, slots=True)
class Truth:
    """One well image and its content.

    Attributes
    ----------
    path
        The image file.
    source, kind
        Origin of the image, and whether that is a camera or the renderer; figures never mix sources.
    plate
        The wells that a person looks through together.
    group, outcome
        Group of the judgement, and the class if that was given too; None if not given.
    sure
        Whether the judgement is certain; only then does it count as right or wrong.
    mask
        Picture of the drop (white on black) to judge the outline against, or None.
    pixel_size_um
        Micrometres per pixel; None to guess.
    well
        Name of the drop on its plate, such as ``A1a``; empty if it is not known.
    """

    path: Path
    source: str
    kind: Kind
    plate: str
    group: Group | None
    outcome: Outcome | None = None
    sure: bool = True
    mask: Path | None = None
    pixel_size_um: float | None = None
    well: str = ""


def real_wells(folder: Path) -> list[Truth]:
    """Read the wells of a folder of sets of real images with one ``labels.csv``.

    Its columns: ``set`` (a folder), ``image``, ``judgement`` (a group, or ``null experiment``), ``confidence``
    (``high`` or ``low``), ``drop_mask_quality`` (``good`` if outlines may be judged by ``drop_masks/NAME.png`` in the
    set's folder).

    Tables ``SET/labels_*.csv`` are read too, if there are any; they have no drop masks, and a column ``kind``. UV
    images are left out: networks for visible light do not score them.

    Raises
    ------
    ConfigError
        If there is no such table, or a judgement is none of these; the message names the line.
    """
    columns = ("set", "image", "judgement", "confidence")
    first = folder / "labels.csv"
    rows = [(first, *each) for each in read_lines(first, (*columns, "drop_mask_quality"))]
    rows += [(path, *each) for path in sorted(folder.glob("*/labels_*.csv")) for each in read_lines(path, columns)]
    truths = []
    for table, number, row in rows:
        name, source = row["image"], row["set"]
        is_uv = row.get("kind", "").upper().startswith("UV") or name.startswith(_UV)
        if source == _NO_WELLS or Path(name).suffix.lower() not in SUFFIXES or is_uv:
            continue
        mask = folder / source / "drop_masks" / f"{Path(name).stem}.png"
        path = folder / source / name
        if source == "wells":
            source = next((label for start, label in _WELL_SOURCES if name.startswith(start)), "wells: single ones")
        if source == _MORE:
            source = f"more: {name.partition('__')[0]}"
        group, outcome = _meaning(row["judgement"], _GROUPS, f"{table}, line {number}")
        truths.append(
            Truth(
                path=path,
                source=source,
                kind="real",
                plate=source,
                group=group,
                outcome=outcome,
                sure=is_sure(row["confidence"], f"{table}, line {number}", default=False),
                mask=mask if row.get("drop_mask_quality") == "good" and mask.is_file() else None,
            )
        )
    return each_once(truths)


def training_images(table: Path) -> frozenset[str]:
    """Return the SHA-256 of the images that train, by a table such as ``docs/records/real_images.csv``.

    Raises
    ------
    ConfigError
        If it cannot be read, or lacks a column, or a line has no SHA-256, or another use than ``train`` and ``judge``:
        then images might be judged that trained.
    """
    images = set()
    for number, row in read_lines(table, ("sha256", "use")):
        sha256, use = row["sha256"].lower(), row["use"].lower()
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ConfigError(f"{table}, line {number}: {row['sha256']!r} is no SHA-256 of 64 digits")
        if use not in ("train", "judge"):
            raise ConfigError(f"{table}, line {number}: use is {row['use']!r}; write train or judge")
        if use == "train":
            images.add(sha256)
    return frozenset(images)


def lab_wells(table: Path) -> list[Truth]:
    """Read the wells of a lab's own table, a CSV file.

    Its columns are ``plate``, ``image`` (relative to the table), and ``outcome`` or, where that is empty or missing,
    ``label``.

    A ``label`` is a group (``crystal``, ``precipitate``, ``other``, ``clear``), one of the other classes' names, or a
    score's two digits; an ``outcome`` is a class (so that ``precipitate`` means score 13), two digits, or, where only
    the group is known, ``any crystal``. An empty cell means no judgement; if there are both columns, the label counts
    where the outcome is empty. A column ``source`` keeps sources apart;
    ``low`` in a column ``confidence`` marks a judgement that does not count; ``pixel_size_um`` is the size of a pixel,
    and ``well`` the drop's name on its plate.

    Raises
    ------
    ConfigError
        If columns are missing, or a label is none of these; the message names the line.
    """
    truths = []
    for number, row in read_lines(table, ("plate", "image")):
        where = f"{table}, line {number}"
        if "outcome" not in row and "label" not in row:
            raise ConfigError(f"{table}: no column label or outcome, which says what is in each well")
        if not row["image"]:
            raise ConfigError(f"{where}: no image; name its file, or remove the line")
        group, outcome = _meaning(row.get("outcome", ""), _ANY, where)
        if group is None:
            group, outcome = _meaning(row.get("label", ""), _GROUPS, where)
        try:
            pixel_size_um = _pixel_size(row.get("pixel_size_um"))
        except ValueError:
            raise ConfigError(f"{where}: pixel_size_um is no number from 0.05 to 50") from None
        truths.append(
            Truth(
                path=table.parent / row["image"],
                source=row.get("source") or table.parent.resolve().name,
                kind="real",
                plate=row["plate"].strip(),
                group=group,
                outcome=outcome,
                sure=is_sure(row.get("confidence", ""), where),
                pixel_size_um=pixel_size_um,
                well=(row.get("well") or "").strip(),
            )
        )
    return each_once(truths)


def known_images(places: Iterable[Path]) -> frozenset[object]:
    """Return what the images of tables or folders of wells are known by (`keys_of`), whatever is said of them.

    Raises
    ------
    ConfigError
        If one is not there: by its content it would not be known under another name.
    """
    truths = [truth for place in places for truth in (real_wells(place) if place.is_dir() else lab_wells(place))]
    if lost := [truth.path for truth in truths if not truth.path.is_file()]:
        raise ConfigError(
            f"{lost[0]}: no such file; {len(lost)} of {len(truths)} images that are set aside are missing. Names in a "
            "table start at the table's folder"
        )
    return frozenset(key for truth in truths for key in keys_of(truth.path))


def keys_of(path: Path) -> set[object]:
    """Return what an image is known by: where it lies, and the SHA-256 of its content if it can be read."""
    place = path.resolve()
    try:
        return {place, sha256_of(place)} if place.is_file() else {place}
    except OSError:
        return {place}


def rendered_plates(folder: Path) -> list[Truth]:
    """Read the wells of rendered plates, which are a source of their own.

    The files are ``folder/BARCODE/INSPECTION/*.jpg`` and ``folder/BARCODE/truth.csv``.

    Raises
    ------
    ConfigError
        If there are none, or one was not rendered to the end, or they are of different versions of the renderer.
    """
    names = sorted(path.parent.name for path in folder.glob("*/truth.csv"))
    if not names:
        raise ConfigError(
            f"{folder}: no rendered plates (BARCODE/truth.csv) here; `xtalgrid-train sets render-test` makes them"
        )
    _check_renderer(folder, names)
    truths = []
    for name in names:
        table = folder / name / "truth.csv"
        for number, row in read_lines(table, ("image", "inspection", "outcome")):
            if row["outcome"] not in _NAMES:
                raise ConfigError(f"{table}, line {number}: {row['outcome']!r} is no class; render the plate again")
            outcome = Outcome(row["outcome"])
            path = folder / name / row["inspection"] / row["image"]
            truths.append(Truth(path, f"rendered: {folder.resolve().name}", "rendered", name, outcome.group, outcome))
    return truths


def _check_renderer(folder: Path, finished: Sequence[str]) -> None:
    """Check that all plates of `sets render-test` in a folder are whole and of one version of the renderer."""
    versions: dict[str, str] = {}
    for path in sorted(folder.glob(f"*/{SETTINGS}")):
        if path.parent.name not in finished:
            raise ConfigError(
                f"{path.parent}: this plate was not rendered to the end; run the same "
                "`xtalgrid-train sets render-test` again, or remove it"
            )
        try:
            versions[str(json.loads(path.read_bytes())["renderer"])] = path.parent.name
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: not the settings of a rendered plate; render it again") from error
    if len(versions) > 1:
        kinds = " and ".join(f"{version} ({plate})" for version, plate in sorted(versions.items()))
        raise ConfigError(
            f"{folder}: plates of different renderers, {kinds}; judge them apart, in folders of their own"
        )


def each_once(truths: Sequence[Truth]) -> list[Truth]:
    """Return wells without those that are listed again.

    Raises
    ------
    ConfigError
        If the same image is listed with two different judgements.
    """
    found: dict[Path, Truth] = {}
    for truth in truths:
        first = found.setdefault(truth.path.resolve(), truth)
        if (first.group, first.outcome, first.sure) != (truth.group, truth.outcome, truth.sure):
            raise ConfigError(f"{truth.path}: listed twice, with different judgements; leave one of them")
    return list(found.values())


def without_copies(truths: Sequence[Truth]) -> list[Truth]:
    """Return wells without real ones whose file has the content of another of their source: one picture counts once.

    Raises
    ------
    ConfigError
        If the two have different judgements.
    """
    kept = []
    found: dict[tuple[str, str], Truth] = {}
    for truth in truths:
        if truth.kind == "real" and truth.path.is_file():
            first = found.setdefault((truth.source, sha256_of(truth.path)), truth)
            if (first.group, first.outcome, first.sure) != (truth.group, truth.outcome, truth.sure):
                raise ConfigError(
                    f"{truth.path}: the same picture as {first.path.name}, with another judgement; leave one of them"
                )
            if first is not truth:
                continue
        kept.append(truth)
    return kept


def apart(truth: Truth) -> str:
    """Say why a well's source stays out of totals that compare our networks with MARCO's; empty if it doesn't."""
    return "rendered, as the wells that trained ours" if truth.kind == "rendered" else _APART.get(truth.source, "")


def by_source(truths: Iterable[Truth]) -> dict[str, list[Truth]]:
    """Group wells by source, real ones first."""
    ordered = sorted(truths, key=lambda truth: (truth.kind, truth.source))
    grouped: dict[str, list[Truth]] = {}
    for truth in ordered:
        grouped.setdefault(truth.source, []).append(truth)
    return grouped


def meaning(label: str, groups: Mapping[str, Group] = _GROUPS) -> tuple[Group | None, Outcome | None]:
    """Return the group and, if the label names one, the class; a word for both means the group.

    Parameters
    ----------
    groups
        Words for a group.

    Raises
    ------
    KeyError
        If the label is neither, nor empty.
    """
    word = label.strip().lower()
    if word in groups:
        return groups[word], None
    outcome = _class(word)
    return (outcome.group, outcome) if outcome else (None, None)


def is_sure(confidence: str, where: str, default: bool = True) -> bool:
    """Return whether a cell is ``high``, not ``medium`` or ``low``, and `default` if it is empty.

    Raises
    ------
    ConfigError
        If it says anything else; the message begins with `where`.
    """
    word = confidence.strip().lower()
    if word not in ("", "high", "medium", "low"):
        raise ConfigError(f"{where}: confidence is {confidence!r}; write high, medium or low")
    return word == "high" if word else default


def _meaning(label: str, groups: Mapping[str, Group], where: str) -> tuple[Group | None, Outcome | None]:
    """Return what `meaning` does; another label is a `ConfigError` that begins with `where`."""
    try:
        return meaning(label, groups)
    except KeyError as error:
        names = (*_GROUPS, *(name for name in _NAMES if name not in _GROUPS))
        raise ConfigError(
            f"{where}: {error.args[0]!r} is not a group, class or score; choose from: {', '.join(names)}, "
            "or a score such as 23"
        ) from None


def _pixel_size(text: str | None) -> float | None:
    if not (text or "").strip():
        return None
    number = float(text or "")
    pixel_size(1, 1, number)  # a ValueError if it is out of range
    return number


def _class(label: str) -> Outcome | None:
    word = label.strip().lower()
    if not word:
        return None
    return _CODES[word.zfill(2)] if word.isdigit() else _NAMES[word]
