"""Which of a score's best chops show the drop. One that only touches it shows mostly the wall of the well."""

from __future__ import annotations

from collections.abc import Sequence

from .wire import BestChop, Scored

MOSTLY = 0.5
"""Smallest part of a chop that lies inside the drop's outline; of a drop smaller than a chop, of the drop."""

Point = tuple[float, float]


def shown_chops(answer: Scored) -> tuple[BestChop, ...]:
    """Return the best chops that lie mostly inside the drop, best first; all of them if no outline is known."""
    outline = answer.drop.outline
    drop = abs(_area(outline))
    if not drop:
        return answer.boxes
    return tuple(
        chop for chop in answer.boxes if area_inside(outline, chop.box) >= MOSTLY * min(chop.box[2] * chop.box[3], drop)
    )


def area_inside(outline: Sequence[Point], box: tuple[int, int, int, int]) -> float:
    """Return the area that an outline, points ``(row, col)``, shares with a box ``(row, col, height, width)``.

    The outline is cut along each side of the box in turn (Sutherland and Hodgman 1974).
    """
    row, col, height, width = box
    points = list(outline)
    for axis, limit, sign in ((0, row, 1), (0, row + height, -1), (1, col, 1), (1, col + width, -1)):
        points = _cut(points, axis, limit, sign)
    return abs(_area(points))


def _cut(points: list[Point], axis: int, limit: float, sign: int) -> list[Point]:
    """Cut off the part of a closed outline that lies beyond `limit` of an axis."""
    kept: list[Point] = []
    for before, point in zip(points[-1:] + points[:-1], points, strict=True):
        depths = [sign * (each[axis] - limit) for each in (before, point)]
        if (depths[0] >= 0) != (depths[1] >= 0):
            part = depths[0] / (depths[0] - depths[1])
            kept.append((before[0] + part * (point[0] - before[0]), before[1] + part * (point[1] - before[1])))
        if depths[1] >= 0:
            kept.append(point)
    return kept


def _area(points: Sequence[Point]) -> float:
    """Return an outline's area, negative if it turns the other way."""
    pairs = zip(points, [*points[1:], *points[:1]], strict=True)
    return sum(one[0] * other[1] - other[0] * one[1] for one, other in pairs) / 2
