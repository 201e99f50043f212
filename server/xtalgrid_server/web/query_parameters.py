"""What stands for an outcome in addresses and style sheets, and the addresses themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args
from urllib.parse import quote, urlencode

from xtalgrid_core.outcomes import Group, Outcome

from ..domain.wells import Well

Order = Literal["plate", "best"]
Show = Literal["art", "people", "disagreement", "heat"]
"""What frames say: the ARTscore, people's scores, where the two differ, or p_crystal as a colour."""

WAITING = "waiting"
"""Images that have neither a score nor a failure yet."""

UNSAID = "unsaid"
"""Drops that no person has scored."""

KINDS: dict[str, Outcome] = {outcome.name.lower().replace("_", "-"): outcome for outcome in Outcome}
"""Outcomes by the word that stands for them in addresses and style sheets, such as ``bad-form``."""

COMPARED = {"differ": "group differs", "agree": "same group", "alone": "not compared"}
HEAT = 10
"""Steps of the scale of p_crystal; ``heat-10`` is 1."""

GROUP_NAMES = {
    Group.CRYSTAL: "Crystals",
    Group.PRECIPITATE: "Precipitate",
    Group.OTHER: "Other",
    Group.CLEAR: "Clear",
    Group.UNKNOWN: "For a person",
}

_OTHERS = {WAITING: ("not scored yet", "…"), UNSAID: ("not scored by a person", "·")}


def kind(outcome: Outcome | None) -> str:
    """The word that stands for an outcome in addresses and style sheets."""
    return WAITING if outcome is None else outcome.name.lower().replace("_", "-")


def heat(p_crystal: float) -> str:
    """The word for a p_crystal, ``heat-0`` to ``heat-10``."""
    return f"heat-{round(min(max(p_crystal, 0.0), 1.0) * HEAT)}"


def name_of(word: str) -> str:
    """What a word says to people."""
    if word in KINDS:
        return str(KINDS[word])
    if word.startswith("heat-"):
        return f"p_crystal around {int(word[5:]) / HEAT:.1f}"
    return _OTHERS[word][0] if word in _OTHERS else COMPARED.get(word, word)


def letter_of(word: str) -> str:
    """A word's letter."""
    if word in KINDS:
        return KINDS[word].look.letter
    return _OTHERS[word][1] if word in _OTHERS else {"differ": "≠", "agree": "=", "alone": "·"}.get(word, "")


def group_of(word: str) -> str:
    """The heading that a word stands under in a legend."""
    if word in KINDS:
        return GROUP_NAMES[KINDS[word].group]
    return {"differ": "Compared", "agree": "Compared", "alone": "Compared"}.get(word, GROUP_NAMES[Group.UNKNOWN])


def all_words() -> list[str]:
    """Every word of a legend, in its order."""
    ranked = [word for group in GROUP_NAMES for word, outcome in KINDS.items() if outcome.group is group]
    return [*ranked, WAITING, UNSAID, *COMPARED, *(f"heat-{n}" for n in range(HEAT, -1, -1))]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person chose to see of a plate: the address's query."""

    order: Order = "plate"
    only: frozenset[str] = frozenset()
    large: bool = False
    show: Show = "art"

    @classmethod
    def of(cls, order: str = "", only: Iterable[str] = (), size: str = "", show: str = "") -> Choice:
        """From an address; words that mean nothing are passed over."""
        known = set(all_words())
        chosen: Show = next((each for each in get_args(Show) if each == show), "art")
        return cls("best" if order == "best" else "plate", frozenset(known & set(only)), size == "large", chosen)

    @property
    def query(self) -> str:
        """The query with its question mark; empty for the usual choice."""
        parts = [("order", "best")] if self.order == "best" else []
        parts += [("show", self.show)] if self.show != "art" else []
        parts += [("size", "large")] if self.large else []
        parts += [("only", word) for word in sorted(self.only)]
        return f"?{urlencode(parts)}" if parts else ""

    def ordered(self, order: Order) -> Choice:
        """The same in another order."""
        return replace(self, order=order)

    def sized(self, large: bool) -> Choice:
        """The same in another size."""
        return replace(self, large=large)

    def showing(self, show: Show) -> Choice:
        """Other frames; what was filtered by the ones before is shown again."""
        return replace(self, show=show, only=frozenset())

    def toggled(self, words: Sequence[str]) -> Choice:
        """With these words chosen, or no more chosen when all of them were."""
        chosen = frozenset(words)
        return replace(self, only=self.only - chosen if chosen <= self.only else self.only | chosen)

    def shows(self, word: str) -> bool:
        """Whether a word is among the chosen ones."""
        return not self.only or word in self.only


def plate_address(barcode: str, inspection: int, choice: Choice | None = None, part: str = "") -> str:
    """Address of a plate's page, or of a `part` of it such as ``/scores.csv``."""
    return f"/plate/{quote(barcode, safe='')}/{inspection}{part}{choice.query if choice else ''}"


def well_address(barcode: str, inspection: int, well: Well, choice: Choice | None = None) -> str:
    """Address of a well's page."""
    return f"/well/{quote(barcode, safe='')}/{inspection}/{quote(str(well), safe='')}{choice.query if choice else ''}"
