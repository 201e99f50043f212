"""``projects``: the projects with their plates and people, and what one person sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..config import Config
from ..ledger.store import Ledger
from ..steps.visibility import Visibility
from ..storage.people import read_people


@dataclass(frozen=True, slots=True)
class Project:
    """A project: its plates in the ledger, and its people and groups by the lab's file. An empty name: none."""

    name: str
    plates: tuple[str, ...]
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Projects:
    """All projects, by name, and what is wrong with the file."""

    projects: tuple[Project, ...]
    problems: tuple[str, ...]


def projects(config: Config, ledger: Ledger) -> Projects:
    """Return the projects that a plate or the file has; plates without one come last."""
    path = config.viewer.people_file
    people = read_people(Path(path).expanduser()) if path else None
    plates: dict[str, list[str]] = {name: [] for names in people.projects.values() for name in names} if people else {}
    without = []
    of = ledger.projects.all()
    for barcode in ledger.plates.barcodes():
        for name in of.get(barcode, ()):
            plates.setdefault(name, []).append(barcode)
        if barcode not in of:
            without.append(barcode)
    found = [
        Project(name, tuple(plates[name]), tuple(people.people_of(name) if people else ())) for name in sorted(plates)
    ]
    if without:
        found.append(Project("", tuple(without), ()))
    return Projects(tuple(found), people.problems if people else ())


def seen_by(config: Config, ledger: Ledger, person: str) -> list[str]:
    """Return the plates that a person sees, as far as groups that the web server tells make no difference."""
    sight = Visibility(config, ledger).sight(person)
    return [barcode for barcode in ledger.plates.barcodes() if sight.sees(barcode)]


def project_lines(found: Projects) -> Iterator[str]:
    """Format projects as text."""
    for project in found.projects:
        number = f"{len(project.plates)} plate{'' if len(project.plates) == 1 else 's'}"
        people = ", ".join(project.people) or "nobody"
        yield f"{number:>12}  {f'{project.name}: {people}' if project.name else 'of no project'}"
    for problem in found.problems:
        yield f"PROBLEM  {problem}"
