"""Read the labels people write for an outcome: our names, a group's name, MARCO's terms, or a score code."""

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
"""The class given to a chop of which only the group is known (``ChopSet.group_only``)."""


class Label(NamedTuple):
    """A well's outcome; `exact` is False if only its group is known, as for MARCO's images."""

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
    """Read labels, both our own names and a lab's own terms.

    Parameters
    ----------
    also
        Items ``TEXT=OUTCOME``, as on the command line: ``45=crystals harvestable``; ``16=`` leaves such wells out.
    groups
        Take ``precipitate``, ``other`` and ``clear``, which name both a class and a group of ours, as groups.

    Raises
    ------
    SetError
        If the text to the right of an equals sign is not an outcome.
    """

    def __init__(self, also: Iterable[str] = (), *, groups: bool = False) -> None:
        names = _CLASS_NAMES | _GROUP_NAMES if groups else _GROUP_NAMES | _CLASS_NAMES
        self._names: dict[str, Label | None] = dict(names)
        self._also: set[str] = set()
        self.given = tuple(also)
        """The items of `also`."""
        for item in self.given:
            text, equals, outcome = item.rpartition("=")
            if not equals or _plain(outcome) not in {"", *names}:
                raise SetError(
                    f"--map {item!r}: give TEXT=OUTCOME; outcomes are {', '.join(map(str, CLASSES))} and the groups"
                )
            self._names[_plain(text)] = names.get(_plain(outcome))
            self._also.add(_plain(text))

    def read(self, text: str) -> Label | None:
        """Return the label of a text; None if the lab leaves such wells out.

        Raises
        ------
        SetError
            If the text is not a known label.
        """
        try:
            return self._names[_plain(text)]
        except KeyError as error:
            raise SetError(f"unknown outcome {text!r}; give its meaning with --map '{text}=OUTCOME'") from error

    def knows(self, text: str) -> bool:
        """Tell whether `read` accepts this text."""
        return _plain(text) in self._names

    def maps(self, text: str) -> bool:
        """Tell whether the lab's own map has an entry for this text."""
        return _plain(text) in self._also
