"""Templates, rendered to HTML."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from datetime import date, datetime
from importlib import metadata
from pathlib import Path

import jinja2

from xtalgrid_core.frames import percent

from ..domain.drop_state import outcome_of
from ..domain.images import has_date
from ..domain.novelty import new_since, stood
from ..domain.times import in_words
from ..steps.account import account_lines
from . import query_parameters
from .pages.pictures import SIDES

_HERE = Path(__file__).parent
STATIC = _HERE / "static"

Render = Callable[..., str]


@functools.cache  # which keeps the compiled templates
def renderer() -> Render:
    """Make a function that renders a template with values."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,  # a string from a database is always text, never markup
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    static = b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()) if path.is_file())
    environment.globals.update(
        version=metadata.version("xtalgrid"),
        static_version=hashlib.sha256(static + (_HERE / "templates" / "looks.css").read_bytes()).hexdigest()[:10],
        plate_address=query_parameters.plate_address,
        well_address=query_parameters.well_address,
        outcome_of=outcome_of,
        kind_of=query_parameters.kind_of,
        name_of=query_parameters.name_of,
        letter_of=query_parameters.letter_of,
        percent=percent,
        sides=SIDES,
        new_since=new_since,
        stood=stood,
        moment=moment,
        utc=utc,
        has_date=has_date,
        in_words=in_words,
        account_lines=account_lines,
    )

    def render(template: str, **values: object) -> str:
        return environment.get_template(template).render(**values)

    return render


def moment(at: datetime | date | None) -> str:
    """Format a date and time for people."""
    if at is None:
        return "–"
    return at.strftime("%Y-%m-%d %H:%M") if isinstance(at, datetime) else at.isoformat()


def utc(at: datetime) -> str:
    """Format when a score was given, in UTC, for people."""
    return f"{moment(at)} UTC" if has_date(at) else "without a date"
