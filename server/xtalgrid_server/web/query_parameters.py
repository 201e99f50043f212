"""Query parameters: the short names of outcomes in addresses and style sheets, and the addresses of pages.

A *kind* is such a short name: of an outcome (``bad-form``), of an image without one, of a comparison, or of a step of
the colour scale for p_crystal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args
from urllib.parse import quote, urlencode

from xtalgrid_core.outcomes import SCORED_GROUPS, Group, Outcome

from ..domain.drop_state import DropState, Meaning, meaning_name
from ..domain.wells import Well

Order = Literal["plate", "best"]
Show = Literal["held", "art", "people", "disagreement", "heat"]
"""What frames show: what drops are held to be, the ARTscore, people's scores, where these differ, or p_crystal as a
colour."""

WAITING = "waiting"
"""Images that have neither a score nor a failure yet."""

HIDDEN = "hidden"
"""Drops whose ARTscore is hidden until the person has scored them."""

NO_PERSON = "unsaid"
"""Drops that no person has scored."""

DISPUTED = "disputed"
"""Drops that people put into different groups."""

KINDS: dict[str, Outcome] = {outcome.name.lower().replace("_", "-"): outcome for outcome in Outcome}
"""Outcomes by their kinds, such as ``bad-form``."""

GROUP_KINDS: dict[str, Group] = {f"any-{group}": group for group in SCORED_GROUPS}
"""Groups by their kinds, such as ``any-crystal``, for drops of which people named no more."""

COMPARISONS = {"differ": "group differs", "agree": "same group", "alone": "not compared"}
HEAT_STEPS = 10
"""Steps of the colour scale for p_crystal; ``heat-10`` is 1."""

GROUP_NAMES = {
    Group.CRYSTAL: "Crystals",
    Group.PRECIPITATE: "Precipitate",
    Group.OTHER: "Other",
    Group.CLEAR: "Clear",
    Group.UNKNOWN: "Needs a person",
}

_OTHERS = {
    WAITING: ("not scored yet", "…"),
    HIDDEN: ("ARTscore hidden", "·"),
    NO_PERSON: ("not scored by a person", "·"),
    DISPUTED: ("people disagree", "≠"),
}


def kind_of(meaning: Meaning | None) -> str:
    """Return the kind of an outcome or a group; None is an image that waits."""
    if isinstance(meaning, Group):
        return f"any-{meaning}"
    return WAITING if meaning is None else meaning.name.lower().replace("_", "-")


def kind_of_state(state: DropState) -> str:
    """Return the kind of what a drop is held to be."""
    return DISPUTED if state.disputed else kind_of(state.outcome)


def heat_kind(p_crystal: float) -> str:
    """Return the kind for a p_crystal, ``heat-0`` to ``heat-10``."""
    return f"heat-{round(min(max(p_crystal, 0.0), 1.0) * HEAT_STEPS)}"


def name_of(kind: str) -> str:
    """Return a kind's name for people."""
    if kind in KINDS:
        return str(KINDS[kind])
    if kind in GROUP_KINDS:
        return meaning_name(GROUP_KINDS[kind])
    if kind.startswith("heat-"):
        return f"p_crystal around {int(kind[5:]) / HEAT_STEPS:.1f}"
    return _OTHERS[kind][0] if kind in _OTHERS else COMPARISONS.get(kind, kind)


def letter_of(kind: str) -> str:
    """Return a kind's letter."""
    if kind in KINDS:
        return KINDS[kind].style.letter
    if kind in GROUP_KINDS:
        return GROUP_KINDS[kind][:2].title()
    return _OTHERS[kind][1] if kind in _OTHERS else {"differ": "≠", "agree": "=", "alone": "·"}.get(kind, "")


def group_of(kind: str) -> str:
    """Return the legend's heading for a kind."""
    if kind in KINDS:
        return GROUP_NAMES[KINDS[kind].group]
    if kind in GROUP_KINDS:
        return GROUP_NAMES[GROUP_KINDS[kind]]
    return "Compared" if kind in COMPARISONS else GROUP_NAMES[Group.UNKNOWN]


def all_kinds() -> list[str]:
    """Return every kind in the order of the legend."""
    ranked = [kind for group in GROUP_NAMES for kind, outcome in KINDS.items() if outcome.group is group]
    return [
        *ranked,
        *GROUP_KINDS,
        DISPUTED,
        WAITING,
        HIDDEN,
        NO_PERSON,
        *COMPARISONS,
        *(f"heat-{n}" for n in range(HEAT_STEPS, -1, -1)),
    ]


@dataclass(frozen=True, slots=True)
class PlateView:
    """How a person wants to see a plate, as the address's query says.

    Attributes
    ----------
    only
        The kinds to show; empty: all.
    favourites
        Whether to show only drops that are somebody's favourites.
    """

    order: Order = "plate"
    only: frozenset[str] = frozenset()
    large: bool = False
    show: Show = "held"
    favourites: bool = False

    @classmethod
    def from_query(
        cls, order: str = "", only: Iterable[str] = (), size: str = "", show: str = "", favourites: str = ""
    ) -> PlateView:
        """Read an address's query; unknown values are ignored."""
        shown: Show = next((each for each in get_args(Show) if each == show), "held")
        kinds = frozenset(set(all_kinds()) & set(only))
        return cls("best" if order == "best" else "plate", kinds, size == "large", shown, favourites == "only")

    @property
    def query(self) -> str:
        """The query with its question mark; empty for the default view."""
        parts = [("order", "best")] if self.order == "best" else []
        parts += [("show", self.show)] if self.show != "held" else []
        parts += [("size", "large")] if self.large else []
        parts += [("favourites", "only")] if self.favourites else []
        parts += [("only", kind) for kind in sorted(self.only)]
        return f"?{urlencode(parts)}" if parts else ""

    def ordered(self, order: Order) -> PlateView:
        """Return this view in another order."""
        return replace(self, order=order)

    def sized(self, large: bool) -> PlateView:
        """Return this view in another size."""
        return replace(self, large=large)

    def showing(self, show: Show) -> PlateView:
        """Return this view with other frames, and without its filter, which names kinds of the old ones."""
        return replace(self, show=show, only=frozenset())

    def with_favourites(self, only: bool) -> PlateView:
        """Return this view with all drops, or only favourites."""
        return replace(self, favourites=only)

    def toggled(self, kinds: Sequence[str]) -> PlateView:
        """Return this view with these kinds selected, or deselected if all of them were selected."""
        given = frozenset(kinds)
        return replace(self, only=self.only - given if given <= self.only else self.only | given)

    def includes(self, kind: str) -> bool:
        """Whether drops of this kind are shown."""
        return not self.only or kind in self.only


def plate_address(barcode: str, inspection: int, view: PlateView | None = None, part: str = "") -> str:
    """Return the address of a plate's page, or of a `part` of it such as ``/scores.csv``."""
    return f"/plate/{quote(barcode, safe='')}/{inspection}{part}{view.query if view else ''}"


def well_address(barcode: str, inspection: int, well: Well, view: PlateView | None = None) -> str:
    """Return the address of a well's page."""
    return f"/well/{quote(barcode, safe='')}/{inspection}/{quote(str(well), safe='')}{view.query if view else ''}"
