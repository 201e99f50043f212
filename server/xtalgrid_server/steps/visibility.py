"""Who may see which plates: everybody all of them, or people those of their projects (`viewer.visibility`).

Pages, mails and webhooks all ask here. What is not known is not shown: a plate of a project that nobody is in, or of no
project, is seen by those who see everything alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..config import Config
from ..ledger.projects import PlateProjects
from ..ledger.store import Ledger
from ..storage.people import PeopleFile


@dataclass(frozen=True, slots=True)
class Sight:
    """What one person may see.

    Attributes
    ----------
    everything
        Whether that is every plate.
    projects
        The person's own projects.
    without_project
        Whether plates of no project may be seen.
    """

    plates: PlateProjects
    everything: bool
    projects: frozenset[str] = frozenset()
    without_project: bool = False

    @property
    def can_choose(self) -> bool:
        """Whether lists offer a choice: this person has projects, and may see plates of others too."""
        return bool(self.projects) and (self.everything or self.without_project)

    def sees(self, barcode: str) -> bool:
        """Whether this person may see a plate: they must be in all of its projects, if it has several."""
        if self.everything:
            return True
        projects = self.plates.of(barcode)
        return projects <= self.projects if projects else self.without_project

    def is_mine(self, barcode: str) -> bool:
        """Whether a plate is of one of the person's own projects, and they may see it."""
        return not self.projects.isdisjoint(self.plates.of(barcode)) and self.sees(barcode)


class Visibility:
    """Knows what each person may see."""

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self._plates = ledger.projects
        self._viewer = config.viewer
        self.people = PeopleFile(config.viewer.people_file)

    @property
    def is_limited(self) -> bool:
        """Whether there are plates that not everybody may see."""
        return self._viewer.visibility == "projects"

    def sight(self, name: str, groups: frozenset[str] = frozenset()) -> Sight:
        """Return what a person sees; `groups` are those that the web server told. A guest has no name."""
        people = self.people.now()
        projects = people.projects_of(name, groups)
        if not self.is_limited:
            return Sight(self._plates, True, projects)
        known = {name, *(f"@{group}" for group in groups | people.groups_of(name))} if name else set[str]()
        everything = not known.isdisjoint((*self._viewer.see_all, *self._viewer.reviewers))
        return Sight(self._plates, everything, projects, bool(name) and self._viewer.without_project == "shown")
