"""What people write for an outcome: our names, a group's name, MARCO's words, or a score code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from xtalgrid_core.outcomes import CLASSES, Group, Outcome, published

from .format import SetError, any_of

STANDS_FOR: dict[Group, Outcome] = {
    Group.CRYSTAL: Outcome.HARVESTABLE,
    Group.PRECIPITATE: Outcome.PRECIPITATE,
    Group.OTHER: Outcome.OTHER,
    Group.CLEAR: Outcome.CLEAR,
}
"""The class that a chop is given where only its group is known (``ChopSet.group_only``)."""


class Label(NamedTuple):
    """A well's outcome; `exact` is False where only its group is known, as of MARCO's images."""

    outcome: Outcome
    exact: bool = True

    def __str__(self) -> str:
        return str(self.outcome) if self.exact else any_of(self.outcome.group)


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", text.strip().lower())


_CLASS_NAMES = {
    name: Label(published(outcome))
    for outcome in CLASSES
    if outcome.code and outcome is not Outcome.RIM
    for name in (str(outcome), outcome.code, str(int(outcome.code)))
} | {str(Outcome.RIM): Label(Outcome.RIM)}
_GROUP_NAMES = {
    name: Label(outcome, exact=False)
    for group, outcome in STANDS_FOR.items()
    for name in (str(group), f"{group}s", any_of(group))
}


class Labels:
    """Reads labels, and what a lab writes besides our names.

    Parameters
    ----------
    also
        ``TEXT=OUTCOME`` each, as on the command line: ``45=crystals harvestable``; ``16=`` leaves such wells out.
    groups
        ``precipitate``, ``other`` and ``clear``, which name classes and groups of ours, are meant as groups.

    Raises
    ------
    SetError
        When what is right of the equals sign is no outcome.
    """

    def __init__(self, also: Iterable[str] = (), *, groups: bool = False) -> None:
        names = _CLASS_NAMES | _GROUP_NAMES if groups else _GROUP_NAMES | _CLASS_NAMES
        self._names: dict[str, Label | None] = dict(names)
        self._also: set[str] = set()
        for item in also:
            text, equals, outcome = item.rpartition("=")
            if not equals or _plain(outcome) not in {"", *names}:
                raise SetError(
                    f"{item!r}: write TEXT=OUTCOME; outcomes are {', '.join(map(str, CLASSES))} and the groups"
                )
            self._names[_plain(text)] = names.get(_plain(outcome))
            self._also.add(_plain(text))

    def read(self, text: str) -> Label | None:
        """Return the label; None where the lab wants such wells left out.

        Raises
        ------
        SetError
            When the text says nothing known.
        """
        try:
            return self._names[_plain(text)]
        except KeyError as error:
            raise SetError(f"no outcome {text!r} known; say what it means with --map '{text}=OUTCOME'") from error

    def knows(self, text: str) -> bool:
        """Whether `read` takes it."""
        return _plain(text) in self._names

    def maps(self, text: str) -> bool:
        """Whether the lab's own map says what it means."""
        return _plain(text) in self._also
