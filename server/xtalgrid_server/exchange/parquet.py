"""Scores as Parquet, for notebooks: the columns of JSON lines, typed. Needs pyarrow, which is large and an extra."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Any

from xtalgrid_core.errors import ConfigError, not_installed
from xtalgrid_core.outcomes import SCORED_GROUPS

from ..config import Config
from ..reports.entries import DropInspection, Entry
from ..reports.tables import COLUMNS, full_row
from .regions import PROGRAM

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as missing:
    raise ConfigError(f"Parquet: {not_installed(missing.name, 'parquet')}") from missing

_AT_ONCE = 20_000
"""Rows of a row group at most."""

_WORD = pa.dictionary(pa.int32(), pa.string())
_LOCAL, _UTC = pa.timestamp("s"), pa.timestamp("s", tz="UTC")
_TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys(("row", "col", "subwell", "inspection", "width", "height"), pa.int32()),
    "inspect_id": pa.int64(),
    **dict.fromkeys(("probability", "p_crystal", "p_new", "pixel_size_um"), pa.float32()),
    **dict.fromkeys(("inspected", "new_since"), _LOCAL),
    **dict.fromkeys(("scored_at", "person_at"), _UTC),
    **dict.fromkeys(("barcode", "project", "sample", "condition", "artscore", "outcome", "group", "classifier"), _WORD),
    "uv": _WORD,
    **dict.fromkeys(("person_score", "person_outcome", "person_group", "person", "person_where", "held_to_be"), _WORD),
}
_TYPES["people"] = pa.list_(pa.struct([(name, pa.string()) for name in ("person", "score", "outcome", "group", "at")]))
_BOX = pa.list_(pa.int32())
_SCHEMA = pa.schema(
    [
        *((name, _TYPES.get(name, pa.string())) for name in COLUMNS),
        *((name, _TYPES[name]) for name in ("width", "height", "pixel_size_um")),
        *((f"p_{group}_of_four", pa.float32()) for group in SCORED_GROUPS),
        ("drop", _BOX),
        ("boxes", pa.list_(pa.struct([("box", _BOX), ("outcome", pa.string()), ("probability", pa.float32())]))),
    ],
    metadata={"program": PROGRAM, "boxes": "row, col, height, width in pixels", "inspected": "imager's local time"},
)


@contextmanager
def parquet_writer(config: Config, stream: IO[bytes]) -> Iterator[Callable[[DropInspection, Entry], None]]:
    """Write images as rows; a row group ends with a plate, or after `_AT_ONCE` rows."""
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(stream, _SCHEMA, compression="zstd") as writer:

        def flush() -> None:
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
                rows.clear()

        def add(inspection: DropInspection, entry: Entry) -> None:
            if rows and (len(rows) == _AT_ONCE or rows[-1]["barcode"] != entry.image.barcode):
                flush()
            rows.append(_row(config, inspection, entry))

        yield add
        flush()


def _row(config: Config, inspection: DropInspection, entry: Entry) -> dict[str, Any]:
    values = full_row(config, inspection, entry)
    for name in ("inspected", "new_since", "scored_at", "person_at"):
        values[name] = values[name] and datetime.fromisoformat(values[name])
    four = values["groups"] or dict.fromkeys(map(str, SCORED_GROUPS))
    return values | {f"p_{group}_of_four": p for group, p in four.items()}
