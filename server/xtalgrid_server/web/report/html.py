"""A report as one HTML file with its pictures, which needs no server."""

from __future__ import annotations

import base64

from xtalgrid_core.lines import one_line

from ..rendering import Render
from .content import Pictures, Report
from .looks import legend, look, plate_map


def html(render: Render, report: Report, pictures: Pictures) -> bytes:
    """Return a report as an HTML file."""
    plates = [(plate, plate_map(plate.drops), legend(plate.drops)) for plate in report.plates]
    sources = {
        image_id: "data:image/jpeg;base64," + base64.b64encode(made).decode()
        for image_id, made in pictures.items()
        if isinstance(made, bytes)
    }
    problems = {image_id: made for image_id, made in pictures.items() if isinstance(made, str)}
    page = render(
        "report.html", report=report, plates=plates, sources=sources, problems=problems, look=look, line=one_line
    )
    return page.encode("utf-8", "backslashreplace")
