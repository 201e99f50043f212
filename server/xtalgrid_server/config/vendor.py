"""The vendor's names: tables and columns of CrystalTrak as published client programs select and write them.

`xtalgrid_server.config` checks a lab's own names against these, `xtalgrid_server.imager.crystaltrak.tables` makes tables of them.
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
"""What xtalgrid calls a table → the vendor's name of it, and the names of its columns; ours are the same in lower case."""


def columns(table: str) -> tuple[str, ...]:
    """What xtalgrid calls the columns of a table."""
    return tuple(name.lower() for name in TABLES[table][1])
