"""What a plate's page offers for download."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple


class Download(NamedTuple):
    """A form of a plate's inspection: its name and what it is, for people, and its file's ending and type."""

    kind: str
    name: str
    text: str
    ending: str
    type: str


_ZIP = "application/zip"
CSV = "text/csv; charset=utf-8"

MENU: dict[str, list[Download]] = {
    "Tables": [
        Download("xlsx", "Excel", "table, plate map in colours, legend", "xlsx",
                 "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        Download("csv", "CSV", "a line for each image", "csv", CSV),
        Download("jsonl", "JSON lines", "with boxes and probabilities", "jsonl", "application/x-ndjson"),
        Download("parquet", "Parquet", "the same, typed, for notebooks", "parquet", "application/vnd.apache.parquet"),
    ],
    "Boxes to correct": [
        Download("label-studio", "Label Studio", "tasks and labelling interface", "zip", _ZIP),
        Download("labelme", "labelme", "a file for each image", "zip", _ZIP),
        Download("coco", "COCO", "for CVAT and detectors", "json", "application/json"),
        Download("yolo", "YOLO", "a text for each image", "zip", _ZIP),
    ],
    "People's marks": [Download("annotations", "Marks", "boxes, outlines and points as CSV", "csv", CSV)],
    "Other programs": [
        Download("xtal", "Polo", "run with pictures; large", "xtal", "application/octet-stream"),
        Download("marco", "MARCO", "four probabilities", "csv", CSV),
        Download("texrank", "TeXRank", "ranks", "csv", CSV),
    ],
}  # fmt: skip
"""What the plate's page offers."""

BY_KIND = {each.kind: each for group in MENU.values() for each in group}


def menu() -> dict[str, list[Download]]:
    """Return what can be downloaded here: Parquet only with pyarrow."""
    missing = set() if find_spec("pyarrow") else {"parquet"}
    return {name: [each for each in group if each.kind not in missing] for name, group in MENU.items()}
