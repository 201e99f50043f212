"""A grid around a condition for optimisation: the concentration of one component by columns, and the pH by rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from xtalgrid_core.errors import ConfigError
from xtalgrid_core.spreadsheets import csv_line
from xtalgrid_core.wells import row_letters

from ..domain.conditions import Component, Condition, pka_of

MOST_ROWS, MOST_COLUMNS = 32, 48
_BUFFERS = 1.0
"""Units of pH on both sides of its pKa within which a buffer buffers."""


@dataclass(frozen=True, slots=True)
class Range:
    """Values in equal steps, both ends included."""

    first: float
    last: float
    number: int

    @property
    def values(self) -> list[float]:
        """The values, rounded to four digits."""
        if self.number == 1:
            return [self.first]
        step = (self.last - self.first) / (self.number - 1)
        return [float(f"{self.first + n * step:.4g}") for n in range(self.number)]


@dataclass(frozen=True, slots=True)
class GridWell:
    """A well of a grid: its name, as ``A1``, and what goes into it."""

    name: str
    concentration: float
    ph: float | None
    condition: str


@dataclass(frozen=True, slots=True)
class OptimisationGrid:
    """A grid: rows of wells, the component that varies, and what to look at before anybody pipettes it."""

    varied: Component
    rows: list[list[GridWell]]
    warnings: list[str]


def usual_range(component: Component) -> Range:
    """Return 60 to 120 % of a component's concentration in six steps."""
    first, last = (float(f"{component.concentration * part:.3g}") for part in (0.6, 1.2))
    return Range(first, last, 6)


def usual_ph(condition: Condition) -> Range:
    """Return four steps of half a unit around a condition's pH; a single step without one."""
    if condition.ph is None:
        return Range(0, 0, 1)
    return Range(max(condition.ph - 0.5, 0.0), min(condition.ph + 1.0, 14.0), 4)


def optimisation_grid(condition: Condition, vary: int, concentration: Range, ph: Range) -> OptimisationGrid:
    """Make a grid around a condition.

    Parameters
    ----------
    vary
        Number of the component whose concentration varies, from 0.
    ph
        Left out of account if the condition has no pH.

    Raises
    ------
    ConfigError
        If there is no such component, or a range makes no sense.
    """
    if not 0 <= vary < len(condition.components):
        raise ConfigError("this condition has no component whose concentration can be read, so nothing can vary")
    component = condition.components[vary]
    _check(concentration, MOST_COLUMNS, 100.0 if "%" in component.unit else math.inf, "the concentration")
    if condition.ph is not None:
        _check(ph, MOST_ROWS, 14.0, "the pH")
    rows = []
    for row, value in enumerate([None] if condition.ph is None else ph.values):
        wells = []
        for column, amount in enumerate(concentration.values):
            text = _text(condition, vary, amount, value)
            wells.append(GridWell(f"{row_letters(row + 1)}{column + 1}", amount, value, text))
        rows.append(wells)
    return OptimisationGrid(component, rows, list(_warnings(condition, ph)))


def grid_csv(grid: OptimisationGrid) -> bytes:
    """Return a grid as CSV, which ``xtalgrid layout`` reads."""
    header = "well", "condition", f"varied: {grid.varied.name} in {grid.varied.unit}", "varied: pH"
    lines = [csv_line(header, "\r\n")]
    for well in (well for row in grid.rows for well in row):
        ph = "" if well.ph is None else f"{well.ph:g}"
        lines.append(csv_line((well.name, well.condition, f"{well.concentration:g}", ph), "\r\n"))
    return b"".join(lines)


def _check(values: Range, most: int, largest: float, name: str) -> None:
    if not 1 <= values.number <= most:
        raise ConfigError(f"{name} in {values.number} steps; there may be 1 to {most}")
    if not (0 <= values.first <= largest and 0 <= values.last <= largest):  # also NaN
        raise ConfigError(f"{name} from {values.first:g} to {values.last:g}; it may be 0 to {largest:g}")


def _text(condition: Condition, vary: int, amount: float, ph: float | None) -> str:
    components = list(condition.components)
    components[vary] = replace(components[vary], concentration=amount)
    parts = [(replace(each, ph=ph) if each.ph is not None else each).text for each in components]
    if ph is not None and all(each.ph is None for each in components):
        parts.append(f"pH {ph:g}")
    return ", ".join([*parts, *condition.unread])


def _warnings(condition: Condition, ph: Range) -> list[str]:
    warnings = [f"“{part}” can't be read: it is in every well as it is" for part in condition.unread]
    if condition.ph is None:
        several = {each.ph for each in condition.components if each.ph is not None}
        why = "has several pH" if len(several) > 1 else "names no pH"
        return [*warnings, f"this condition {why}: only the concentration varies"]
    for each in condition.components:
        pka = pka_of(each.name) if each.is_buffer else None
        if pka and not pka - _BUFFERS <= min(ph.values) <= max(ph.values) <= pka + _BUFFERS:
            low, high = pka - _BUFFERS, pka + _BUFFERS
            warnings.append(f"{each.name} buffers from about pH {low:.1f} to {high:.1f}: take another beyond")
    return warnings
