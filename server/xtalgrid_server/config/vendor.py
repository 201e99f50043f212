"""CrystalTrak's tables and columns, as far as published client programs read and write them.

The configuration reader checks a lab's own names against them; `xtalgrid_server.imager.crystaltrak.tables` builds
tables from them.
"""

from __future__ import annotations

TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "inspections": (
        "I_INSPECTIONS",
        ("INSPECTID", "BARCODEID", "INSPECTNUMBER", "INSPECTDATE", "COL", "I_ROW", "SUBWELL"),
    ),
    "images": ("I_IMAGES", ("INSPECTID", "IMAGENAME")),
    "scores": ("I_SCORES", ("SCOREID", "INSPECTID", "SCORE", "SCOREDATE", "IMAGENAME", "SCOREDBY")),
    "plate_inspections": (
        "I_PLATE_INSPECTIONS",
        ("BARCODEID", "INSPECTNUMBER", "INSPECTDATE", "DROPSCORECOUNT", "DROPVIEWCOUNT"),
    ),
    "autoscores": ("I_AUTOSCORES", ("INSPECTID", "XTAL_RANK_SCORE", "XTAL_CLEAR_SCORE", "XTAL_GOOD_BAD_SCORE")),
    "plates": ("PLATES", ("PLATE_ID", "BARCODE", "PROJECT_ID", "SETUP_DATE", "PLATE_NAME")),
    "plate_drops": ("PLATE_DROPS", ("FK_PLATE_ID", "FK_SAMPLE_ID")),
    "samples": ("SAMPLES", ("SAMPLE_ID", "SAMPLE_NAME")),
    "projects": ("PROJECTS", ("PROJECT_ID", "NAME")),
}
"""Our name for each table → the vendor's name and column names. Our column names are the vendor's in lower case."""


def columns(table: str) -> tuple[str, ...]:
    """Return our names for the columns of a table."""
    return tuple(name.lower() for name in TABLES[table][1])
