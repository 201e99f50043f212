"""Types of the commands' parameters."""

from __future__ import annotations

import math
from typing import Any

import click


class GivenPath(click.Path):
    """A path that is not empty: an empty one, of a variable that is not set in a script, would be this folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if value == "":
            self.fail("the path is empty; give one, or . for this folder", param, ctx)
        return super().convert(value, param, ctx)


class FiniteRange(click.FloatRange):
    """A number in a range, and neither nan, which is in every range, nor infinite."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number to reckon with", param, ctx)
        return number


class InspectionNumber(click.types.IntParamType):
    """The number of an inspection, from `least` to the largest that databases hold; help does not show the bounds."""

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not self._least <= number < 2**31:
            self.fail(f"{number} is not in the range {self._least} to {2**31 - 1}", param, ctx)
        return number
