"""YOLO: a text file for each image, with a line ``class x y width height`` for each box, in parts of the image.

https://docs.ultralytics.com/datasets/detect/: x and y are the box's centre, classes count from 0 and are named in
data.yaml, and images/A/1.jpg has its labels in labels/A/1.txt. A sixth number is a program's confidence, which only
predictions have. An image without a box has no file: an empty one would say that a person found nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from xtalgrid_core.spreadsheets import text_encoding

from . import foreign_marks as marks
from .foreign_marks import Annotation, ForeignMark
from .many_files import Add, Unread, files_below
from .regions import LABELS, PROGRAM, Corner, Region, RegionsOfImage, image_file


class YoloWriter:
    """Adds images to a data set; `finish` it."""

    def __init__(self, add: Add) -> None:
        self._add = add
        self._images: list[str] = []

    def add(self, of_image: RegionsOfImage) -> None:
        """Add an image; outlines become their boxes, since a line of a file is either a box or an outline."""
        if of_image.regions:
            file = image_file(of_image.image)
            self._add(
                f"labels/{PurePosixPath(file).with_suffix('.txt')}",
                "".join(
                    _line(region, of_image.answer.width, of_image.answer.height) for region in of_image.regions
                ).encode(),
            )
            self._images.append(f"./images/{file}\n")

    def finish(self) -> None:
        """Write the names of the classes, and the list of images."""
        names = "".join(f"  {number}: {label}\n" for number, label in enumerate(LABELS))
        head = f"# by {PROGRAM}; link or copy the image root to images/\n"
        paths = "path: .\ntrain: train.txt\nval: train.txt\n"
        self._add("data.yaml", f"{head}{paths}nc: {len(LABELS)}\nnames:\n{names}".encode())
        self._add("train.txt", "".join(self._images).encode())


def _line(region: Region, width: int, height: int) -> str:
    x, y, box_width, box_height = region.box
    parts = (x + box_width / 2) / width, (y + box_height / 2) / height, box_width / width, box_height / height
    return f"{LABELS.index(region.label)} {' '.join(f'{part:.6f}' for part in parts)}\n"


# ---- reading -------------------------------------------------------------------------------------------------------

_NAMES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml", "classes.txt", "obj.names", "labels.txt")
_NO_LABELS = (*_NAMES, "train.txt", "val.txt", "valid.txt", "test.txt", "notes.txt", "readme.txt")
_LARGEST_FILE, _LONGEST_LINE = 16 * 1024 * 1024, 200_000
_MOST_NAMES = 10_000
_ROBOFLOW = re.compile(r"(.+)_(jpe?g|png|tiff?|bmp)\.rf\.\w+", re.IGNORECASE)


def names_file(folder: Path) -> Path | None:
    """Return the file that names the classes of a folder's labels; None if the folder has no labels of YOLO."""
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def yolo_annotations(folder: Path, names: Path) -> Iterator[Annotation]:
    """Read all label files below a folder; a line with a sixth number is a program's.

    The image's ending is not in the labels; it is ``*`` in their places.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    classes, unread = _class_names(_text(names)), list[Unread]()
    for path in files_below(folder, unread):
        if path.suffix.lower() == ".txt" and path.name.lower() not in _NO_LABELS and path.is_file():
            yield from _annotations(path, path.relative_to(folder), classes)
    for each in unread:
        yield Annotation(0, problem=each.reason, file=str(each.folder))


def _annotations(path: Path, relative: Path, classes: list[str]) -> Iterator[Annotation]:
    image = _image(relative)
    try:
        lines = _text(path).splitlines()
    except ValueError as error:
        yield Annotation(0, problem=str(error), file=str(relative))
        return
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield Annotation(number, _mark(line, image, classes), file=str(relative))
            except ValueError as error:
                yield Annotation(number, problem=str(error), file=str(relative))


def _image(relative: Path) -> str:
    """Return the path of a label file's image, without the names of folders that only labels have."""
    folders = [part for part in relative.parts[:-1] if part.lower() not in ("labels", "obj_train_data")]
    original = _ROBOFLOW.fullmatch(relative.stem)
    return "/".join([*folders, f"{original[1]}.{original[2]}" if original else f"{relative.stem}.*"])


def _mark(line: str, image: str, classes: list[str]) -> ForeignMark:
    if len(line) > _LONGEST_LINE:
        raise ValueError("the line is too long; simplify its outline")
    words = line.split()
    try:
        which, values = int(words[0]), [marks.number(float(word)) for word in words[1:]]
    except ValueError as error:
        raise ValueError(f"{line.strip()[:60]!r} is not a class and numbers") from error
    if not 0 <= which < len(classes) or not classes[which]:
        raise ValueError(f"class {which} has no name in the list of {len(classes)}")
    is_outline = len(values) >= 6 and len(values) % 2 == 0
    if len(values) not in (4, 5) and not is_outline:
        raise ValueError(f"{len(values)} numbers are neither a box (4, or 5 with a confidence) nor an outline")
    corners: tuple[Corner, ...]
    if is_outline:
        corners = marks.corners_of(list(zip(values[::2], values[1::2], strict=True)))
    else:
        x, y, width, height = values[:4]
        corners = marks.box_corners(x - width / 2, y - height / 2, width, height)
    return ForeignMark(
        place=marks.place_of(image),
        label=classes[which],
        corners=corners,
        size=(1.0, 1.0),
        in_pixels=False,
        is_outline=is_outline,
        kind="program" if len(values) == 5 else "person",
    )


def _text(path: Path) -> str:
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"more than {_LARGEST_FILE // 1024**2} MB")
    try:
        data = path.read_bytes()
        return data.decode(text_encoding(data))
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8 text") from error


def _class_names(text: str) -> list[str]:
    """Return the classes' names: a line each, or those of ``names:`` in YAML as tools write it, a list or a mapping."""
    lines = [line.split(" #")[0].rstrip() for line in text.splitlines()]
    start = next((n for n, line in enumerate(lines) if line.startswith("names:")), None)
    if start is None:
        return [marks.text(line) for line in lines[:_MOST_NAMES] if not line.startswith("#")]  # empty ones count too
    rest = lines[start].removeprefix("names:").strip()
    if rest:
        after = " ".join([rest, *lines[start + 1 :]])
        inside = re.match(r"[\[{]([^\]}]*)[\]}]", after)
        items = re.findall(r"""(?:'[^']*'|"[^"]*"|[^,'"])+""", inside[1]) if inside else []
    else:
        items = []
        for line in lines[start + 1 :]:
            if line and not line.startswith((" ", "-", "\t")):
                break
            items.append(line.strip().removeprefix("-"))
    return _numbered([item.strip() for item in items if item.strip()][:_MOST_NAMES])


def _numbered(items: list[str]) -> list[str]:
    names: dict[int, str] = {}
    for index, item in enumerate(items):
        match = re.fullmatch(r"(\d{1,4})\s*:\s*(.*)", item)
        names[int(match[1]) if match else index] = marks.text((match[2] if match else item).strip().strip("'\""))
    return [names.get(index, "") for index in range(max(names, default=-1) + 1)]
