"""Format the rows of a table as text for a terminal or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence


def csv_line(values: Sequence[object]) -> bytes:
    """Format a line of CSV in UTF-8; None becomes an empty field."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()
