"""What a drop is held to be at an inspection: the one rule that weighs its ARTscore and people's scores.

Lists, counts, the review order, reports and exports all ask it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from xtalgrid_core.outcomes import CLASSES, GROUP_CLASSES, SCORED_GROUPS, Group, Outcome

from .letters import folded

Comparison = Literal["agree", "differ", "alone"]

DISPUTED = "people disagree"
"""What a drop is held to be that people put into different groups."""


Meaning = Outcome | Group
"""What a score means: an outcome, or only a group, such as "Crystals" in a program that knows no finer classes."""


def group_of(meaning: Meaning) -> Group:
    """Return an outcome's group; a group itself."""
    return meaning if isinstance(meaning, Group) else meaning.group


def outcome_of(meaning: Meaning) -> Outcome:
    """Return an outcome itself; for a group, its first outcome, whose colour and priority it has."""
    return CLASSES[GROUP_CLASSES[meaning][0]] if isinstance(meaning, Group) else meaning


def meaning_name(meaning: Meaning) -> str:
    """Return an outcome's name, or ``any crystal`` for a group, since some groups and outcomes have the same name."""
    return f"any {meaning}" if isinstance(meaning, Group) else str(meaning)


MEANINGS: dict[str, Meaning] = {meaning_name(each): each for each in (*Outcome, *SCORED_GROUPS)}
"""What scores mean, by its name."""


@dataclass(frozen=True, slots=True)
class PersonScore:
    """A person's score of a drop at an inspection, given in XtalTrak, in the viewer, or imported from a file.

    Attributes
    ----------
    outcome
        None if the person named only a group, or for a code that the lab's map has no outcome for.
    code
        The lab's code; for an imported score of a group, the person's own word.
    at
        UTC.
    correction
        Id of a score given in the viewer; None for another.
    image_name
        That of the image, if known.
    group_only
        The group if the person named no outcome.
    origin
        File that it was imported from; empty for one given in XtalTrak or in the viewer.
    own_name
        The lab's own name for the code; empty if it has none.
    unseen
        Whether it was given in the viewer without an ARTscore on the page.
    """

    inspect_id: int
    outcome: Outcome | None
    code: str
    who: str
    at: datetime
    correction: int | None = None
    image_name: str | None = None
    group_only: Group | None = None
    origin: str = ""
    own_name: str = ""
    unseen: bool = False

    @property
    def meaning(self) -> Meaning | None:
        """The outcome, else the group; None for a code that stands for neither."""
        return self.outcome or self.group_only

    @property
    def group(self) -> Group | None:
        """The group; None for a code that stands for none."""
        return self.outcome.group if self.outcome else self.group_only

    @property
    def name(self) -> str:
        """What it says, for people: the lab's own name, an outcome, ``any crystal``, or else the code."""
        return self.own_name or (self.code if self.meaning is None else meaning_name(self.meaning))


@dataclass(frozen=True, slots=True)
class DropState:
    """A drop at an inspection, with all that is said of it.

    Attributes
    ----------
    artscore
        Outcome of its ARTscore; None while it waits.
    p_crystal
        The ARTscore's; None without one.
    people
        The newest score of each person, oldest first.
    """

    artscore: Outcome | None
    p_crystal: float | None = None
    people: tuple[PersonScore, ...] = ()

    @classmethod
    def of(
        cls, artscore: Outcome | None, p_crystal: float | None = None, scores: Iterable[PersonScore] = ()
    ) -> DropState:
        """Make the state from all of people's scores; of each person, whatever the case of the name, the newest."""
        scores = tuple(scores)
        if len(scores) < 2:  # nearly all
            return cls(artscore, p_crystal, scores)
        newest = {folded(score.who): score for score in sorted(scores, key=lambda score: score.at)}
        return cls(artscore, p_crystal, tuple(sorted(newest.values(), key=lambda score: score.at)))

    @property
    def said(self) -> tuple[Meaning, ...]:
        """The different outcomes that people gave, or groups where they gave no more, oldest first."""
        meanings = (score.meaning for score in self.people if score.meaning is not None)
        return tuple({meaning_name(each): each for each in meanings}.values())  # Outcome.CLEAR equals Group.CLEAR

    @property
    def disputed(self) -> bool:
        """Whether people put it into different groups."""
        return len(set(map(group_of, self.said))) > 1

    def by(self, who: str) -> PersonScore | None:
        """Return a person's score, whatever the case of the name, or None."""
        return next((score for score in self.people if folded(score.who) == folded(who)), None)

    @property
    def agreed(self) -> Meaning | None:
        """What everybody who scored it says, or only its group; None if they disagree or a code has no outcome."""
        if self.disputed or not self.people or any(score.meaning is None for score in self.people):
            return None
        return self.said[0] if len(self.said) == 1 else group_of(self.said[0])

    @property
    def outcomes(self) -> tuple[Meaning, ...]:
        """What it may be: all that people said if they disagree, else the newest person's outcome or the ARTscore's.

        If all of them named only the group, it is that: the ARTscore's class is not made theirs.
        """
        if self.disputed:
            return self.said
        newest_first = [score for score in reversed(self.people) if score.meaning is not None]
        if newest_first:
            named = next((score for score in newest_first if score.outcome), newest_first[0])
            return (named.meaning,) if named.meaning else ()
        return () if self.artscore is None else (self.artscore,)

    @property
    def outcome(self) -> Meaning | None:
        """What it is held to be; None while it waits, and if people disagree."""
        return self.outcomes[0] if len(self.outcomes) == 1 else None

    @property
    def group(self) -> Group | None:
        """The group that it is held to be of; None while it waits, and if people disagree."""
        return None if self.outcome is None else group_of(self.outcome)

    @property
    def name(self) -> str:
        """What it is held to be, for people and files; empty while it waits."""
        return DISPUTED if self.disputed else "" if self.outcome is None else meaning_name(self.outcome)

    @property
    def chance(self) -> float | None:
        """Its probability of a crystal: the part of the people who said so; without people, p_crystal."""
        groups = [score.group for score in self.people if score.group is not None]
        return groups.count(Group.CRYSTAL) / len(groups) if groups else self.p_crystal

    @property
    def comparison(self) -> Comparison:
        """Whether all that people and the ARTscore say is in one group; ``alone`` if there is nothing to compare."""
        ours = [] if self.artscore in (None, Outcome.FAILED) else [self.artscore]
        if not self.said or not (ours or self.disputed):
            return "alone"
        return "agree" if len({group_of(each) for each in (*self.said, *ours)}) == 1 else "differ"

    def is_one_of(self, name: str) -> bool:
        """Whether it may be of this outcome or group."""
        return any(name in (str(each), group_of(each)) for each in self.outcomes)
