"""What a drop is held to be at an inspection: the one rule that weighs its ARTscore and people's scores.

Lists, counts, the review order, reports and exports all ask it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from xtalgrid_core.outcomes import Group, Outcome

Comparison = Literal["agree", "differ", "alone"]

DISPUTED = "people disagree"
"""What a drop is held to be that people put into different groups."""


@dataclass(frozen=True, slots=True)
class PersonScore:
    """A person's score of a drop at an inspection, given in XtalTrak or in the viewer.

    `outcome` is None for a code of the score table that the lab's map has no outcome for. `at` is UTC. `correction` is
    the id of a score given in the viewer, None for one given in XtalTrak. `image_name` is that of the image, if known.
    `name` is the lab's own name for the code; empty if it has none. `unseen` tells that it was given in the viewer
    without an ARTscore on the page.
    """

    inspect_id: int
    outcome: Outcome | None
    code: str
    who: str
    at: datetime
    correction: int | None = None
    image_name: str | None = None
    name: str = ""
    unseen: bool = False

    @property
    def said(self) -> str:
        """What the person said, for people: the lab's own name, the outcome, or the code."""
        return self.name or str(self.outcome or self.code)


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
        newest = {score.who.casefold(): score for score in sorted(scores, key=lambda score: score.at)}
        return cls(artscore, p_crystal, tuple(sorted(newest.values(), key=lambda score: score.at)))

    @property
    def said(self) -> tuple[Outcome, ...]:
        """The different outcomes that people gave, oldest first."""
        return tuple(dict.fromkeys(score.outcome for score in self.people if score.outcome is not None))

    @property
    def disputed(self) -> bool:
        """Whether people put it into different groups."""
        return len({outcome.group for outcome in self.said}) > 1

    def by(self, who: str) -> PersonScore | None:
        """Return a person's score, whatever the case of the name, or None."""
        return next((score for score in self.people if score.who.casefold() == who.casefold()), None)

    @property
    def agreed(self) -> Outcome | Group | None:
        """What everybody who scored it says, or only its group; None if they disagree or a code has no outcome."""
        if self.disputed or not self.people or any(score.outcome is None for score in self.people):
            return None
        return self.said[0] if len(self.said) == 1 else self.said[0].group

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What it may be: all that people said if they disagree, else the newest person's outcome or the ARTscore's."""
        if self.disputed:
            return self.said
        if person := next((score.outcome for score in reversed(self.people) if score.outcome is not None), None):
            return (person,)
        return () if self.artscore is None else (self.artscore,)

    @property
    def outcome(self) -> Outcome | None:
        """What it is held to be; None while it waits, and if people disagree."""
        return self.outcomes[0] if len(self.outcomes) == 1 else None

    @property
    def name(self) -> str:
        """What it is held to be, for people and files; empty while it waits."""
        return DISPUTED if self.disputed else str(self.outcome or "")

    @property
    def chance(self) -> float | None:
        """Its probability of a crystal: the part of the people who said so; without people, p_crystal."""
        groups = [score.outcome.group for score in self.people if score.outcome is not None]
        return groups.count(Group.CRYSTAL) / len(groups) if groups else self.p_crystal

    @property
    def comparison(self) -> Comparison:
        """Whether all that people and the ARTscore say is in one group; ``alone`` if there is nothing to compare."""
        ours = [] if self.artscore in (None, Outcome.FAILED) else [self.artscore]
        if not self.said or not (ours or self.disputed):
            return "alone"
        return "agree" if len({outcome.group for outcome in (*self.said, *ours)}) == 1 else "differ"

    def is_one_of(self, name: str) -> bool:
        """Whether it may be of this outcome or group."""
        return any(name in (outcome, outcome.group) for outcome in self.outcomes)
