"""`/conditions`: which conditions gave what, a map of them, and a grid around one for optimisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse, Response

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import CLASSES, SCORED_GROUPS, Outcome

from ...exchange.layouts import TEXTS
from ...exchange.optimisation import (
    OptimisationGrid,
    Range,
    grid_csv,
    optimisation_grid,
    usual_ph,
    usual_range,
)
from ...reports.entries import Filter
from ...reports.search import DropGroup, Key
from ..pages.conditions import NO_PH, Found, TooLong, outcome_map, place_of, read_cached
from ..site import AllowedRequest, download

router = APIRouter()

_LONGEST = 200
_ROWS = 50

GROUPINGS: dict[str, tuple[Key, ...]] = {
    "condition": ("condition",),
    "condition and sample": ("condition", "sample"),
    "sample": ("sample",),
    "project": ("project",),
    "plate": ("plate",),
}
"""What the drops of a line have in common, by the words of the form."""

OUTCOMES = tuple(dict.fromkeys(map(str, (*SCORED_GROUPS, *CLASSES, Outcome.UNDECIDED))))
"""What can be searched for: groups, then outcomes; a name of both is the group's."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for, as texts of the form; `precipitant` and `ph` name a place in the map."""

    outcome: str
    condition: str
    sample: str
    project: str
    barcode: str
    since: str
    before: str
    by: str
    precipitant: str
    ph: str

    def address(self, **changed: object) -> str:
        """Return the address of this search with some parameters changed."""
        values = {name: getattr(self, name) for name in self.__slots__} | changed
        return "/conditions?" + urlencode({name: value for name, value in values.items() if value not in ("", None)})

    @property
    def filter(self) -> Filter:
        """The filter of the search; HTTPException 422 for what is no date or outcome."""
        if self.outcome not in ("", "any", *OUTCOMES):
            raise HTTPException(422, "There is no such outcome.")
        return Filter(
            outcome="" if self.outcome == "any" else self.outcome,
            sample=self.sample,
            condition=self.condition,
            project=self.project,
            barcode=self.barcode,
            since=_date(self.since),
            before=_date(self.before),
        )


Text = Annotated[str, Query(max_length=_LONGEST)]


@router.get("/conditions", response_class=HTMLResponse)
def conditions(
    request: AllowedRequest,
    outcome: Text = "crystal",
    condition: Annotated[str, Query(max_length=TEXTS["condition"])] = "",
    sample: Text = "",
    project: Text = "",
    barcode: Text = "",
    since: Text = "",
    before: Text = "",
    by: Text = "condition",
    precipitant: Text = "",
    ph: Text = "",
    page: Text = "1",
) -> HTMLResponse:
    """Search the archive as ``xtalgrid search`` does, and show a map of the conditions by precipitant and pH."""
    by = by if by in GROUPINGS else "condition"
    asked = Asked(
        outcome=outcome,
        condition=condition.strip(),
        sample=sample.strip(),
        project=project.strip(),
        barcode=barcode.strip(),
        since=since,
        before=before,
        by=by,
        precipitant=precipitant,
        ph=ph,
    )
    problem = ""
    try:
        found = request.site.searches.find(asked.filter, GROUPINGS[by], request.barcodes)
    except TooLong:
        found = Found([], {})
        problem = (
            "The search took too long and was stopped. Name a condition, a sample, a project, a plate or dates; "
            "`xtalgrid search` on the server has no limit."
        )
    groups = _at_place(found.groups, asked)
    number = min(max(int(page), 1), 100_000) if page.isascii() and page.isdigit() and len(page) < 9 else 1
    first = (number - 1) * _ROWS
    return request.render(
        "conditions.html",
        asked=asked,
        problem=problem,
        keys_of_rows=GROUPINGS[by],
        groupings=GROUPINGS,
        outcomes=OUTCOMES,
        groups=groups[first : first + _ROWS],
        total=len(groups),
        first=first + 1,
        page=number,
        more=len(groups) > first + _ROWS,
        map=outcome_map(found.conditions),
        no_ph=NO_PH,
    )


class _Steps:
    """The steps of a grid: what the form says, or else the usual ones."""

    def __init__(self, text: str, vary: int, concentration: Range, ph: Range) -> None:
        self.condition = read_cached(text)
        self.vary, self.concentration, self.ph = vary, concentration, ph

    @classmethod
    def of(cls, text: str, vary: str, concentration: Sequence[str], ph: Sequence[str]) -> _Steps:
        """Read the form's texts."""
        condition = read_cached(text.strip())
        number = int(vary) if vary.isascii() and vary.isdigit() and len(vary) < 4 else -1
        if not 0 <= number < len(condition.components):
            precipitant = condition.precipitant
            number = condition.components.index(precipitant) if precipitant else 0
        usual = usual_range(condition.components[number]) if condition.components else Range(0, 0, 1)
        return cls(condition.text, number, _range(concentration, usual), _range(ph, usual_ph(condition)))

    def grid(self) -> OptimisationGrid:
        """Make the grid; raises ConfigError if it can't be made."""
        return optimisation_grid(self.condition, self.vary, self.concentration, self.ph)

    @property
    def query(self) -> str:
        """The query of the CSV's address."""
        return urlencode(
            {"condition": self.condition.text, "vary": self.vary}
            | {"first": self.concentration.first, "last": self.concentration.last, "columns": self.concentration.number}
            | {"first_ph": self.ph.first, "last_ph": self.ph.last, "rows": self.ph.number}
        )


def _read_steps(
    condition: Annotated[str, Query(max_length=TEXTS["condition"])] = "",
    vary: Text = "",
    first: Text = "",
    last: Text = "",
    columns: Text = "",
    first_ph: Text = "",
    last_ph: Text = "",
    rows: Text = "",
) -> _Steps:
    return _Steps.of(condition, vary, (first, last, columns), (first_ph, last_ph, rows))


Steps = Annotated[_Steps, Depends(_read_steps)]
"""What the address says of a grid."""


@router.get("/conditions/grid", response_class=HTMLResponse)
def grid(request: AllowedRequest, steps: Steps) -> HTMLResponse:
    """Show a grid around a condition, and a form for its steps."""
    made, problem = None, ""
    try:
        made = steps.grid()
    except ConfigError as error:
        problem = str(error)
    return request.render("grid.html", steps=steps, grid=made, problem=problem)


@router.get("/conditions/grid.csv")
def grid_file(request: AllowedRequest, steps: Steps) -> Response:
    """Send a grid around a condition as CSV, which ``xtalgrid layout`` reads."""
    try:
        data = grid_csv(steps.grid())
    except ConfigError as error:
        raise HTTPException(422, f"No grid can be made: {error}.") from error
    request.log("export", kind="grid", condition=steps.condition.text)
    return download(data, "text/csv; charset=utf-8", "optimisation_grid.csv")


def _range(texts: Sequence[str], usual: Range) -> Range:
    first, last, number = (_number(text) for text in texts)
    return Range(
        usual.first if first is None else first,
        usual.last if last is None else last,
        usual.number if number is None else int(number),
    )


def _number(text: str) -> float | None:
    """Return a number of a form, also with a decimal comma; None for an empty field."""
    if not text.strip():
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > 1e6:
        raise HTTPException(422, f"“{text[:40]}” is no number that can be used here.")
    return value


def _date(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007  the imager's naive local time
    except ValueError as error:
        raise HTTPException(422, "Dates are written as 2026-01-31.") from error


def _at_place(groups: list[DropGroup], asked: Asked) -> list[DropGroup]:
    """Return the groups at the place of the map that the address names; all if it names none."""
    if not asked.precipitant or asked.by not in ("condition", "condition and sample"):
        return groups
    wanted = asked.precipitant
    placed = ((group, place_of(read_cached(group.keys[0]))) for group in groups)
    return [group for group, (name, ph) in placed if name == wanted and asked.ph in ("", str(ph))]
