"""The people of each project, from a CSV file of the lab.

Its columns are ``project`` and ``person``, separated by commas, semicolons or tabs. A person may be a group, ``@name``:
one that the web server in front of the viewer tells, or one whose members the file lists in lines of their own, with
the group in place of the project. A line that cannot be used is named, and counts for nobody.
"""

from __future__ import annotations

import csv
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from xtalgrid_core.lines import one_line
from xtalgrid_core.spreadsheets import text_encoding

from ..domain.letters import composed
from ..domain.log import log

_REREAD_SECONDS = 1.0
_COLUMNS = ("project", "person")
_DELIMITERS = ",;\t"
_LONGEST = {"project": 200, "person": 100}
"""Characters, as in the ledger."""


@dataclass(frozen=True, slots=True)
class ProjectPeople:
    """Who is of which project.

    Attributes
    ----------
    projects
        Projects by person or ``@group``.
    groups
        Groups, without the ``@``, by person.
    problems
        What of the file could not be used, a line each; nobody sees anything by it.
    is_read
        Whether the file could be read at all. If not, nobody is of any project for now, which is no news of anybody.
    """

    projects: dict[str, frozenset[str]] = field(default_factory=dict)
    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    is_read: bool = True

    def groups_of(self, person: str) -> frozenset[str]:
        """Return the groups that the file has a person in."""
        return self.groups.get(composed(person), frozenset())

    def projects_of(self, person: str, groups: frozenset[str] = frozenset()) -> frozenset[str]:
        """Return the projects of a person who is also in these groups; none of a guest."""
        if not person:
            return frozenset()
        names = [composed(person), *(f"@{composed(group)}" for group in groups | self.groups_of(person))]
        return frozenset[str]().union(*(self.projects.get(name, ()) for name in names))

    def people_of(self, project: str) -> list[str]:
        """Return the people and groups of a project."""
        return sorted(name for name, projects in self.projects.items() if project in projects)


def read_people(file: Path) -> ProjectPeople:
    """Read the file; what cannot be used is among the problems."""
    try:
        data = file.read_bytes()
        if (encoding := text_encoding(data)) != "utf-8-sig":
            data = data.decode(encoding).encode()
    except OSError as error:
        return _unread(f"cannot read {file}: {error.strerror}")
    except UnicodeError:
        return _unread(f"{file}: broken UTF-16 text; save the file as CSV UTF-8")
    lines = data.removeprefix(b"\xef\xbb\xbf").splitlines()
    first = lines[0].decode("utf-8", "replace") if lines else ""
    delimiter = max(_DELIMITERS, key=first.count)
    header = [name.strip().lower() for name in _fields(first, delimiter)]
    if any(header.count(name) != 1 for name in _COLUMNS):
        return _unread(f"{file}: line 1 must name the columns project and person")
    columns = {name: header.index(name) for name in _COLUMNS}
    projects: dict[str, set[str]] = {}
    groups: dict[str, set[str]] = {}
    problems = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            found = _read_line(line, delimiter, columns, len(header))
        except ValueError as error:
            problems.append(f"{file}, line {number}: {one_line(str(error))}")
            continue
        if found:
            project, person = found
            if project.startswith("@"):
                groups.setdefault(person, set()).add(project[1:])
            else:
                projects.setdefault(person, set()).add(project)
    return ProjectPeople(_frozen(projects), _frozen(groups), tuple(problems))


def _unread(problem: str) -> ProjectPeople:
    return ProjectPeople(problems=(problem,), is_read=False)


def _frozen(sets: dict[str, set[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(values) for name, values in sets.items()}


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise ValueError(f"it is no line of a CSV file: {error}") from error


def _read_line(line: bytes, delimiter: str, columns: dict[str, int], width: int) -> tuple[str, str] | None:
    """Return project and person; None for an empty line. Raises ValueError with what is wrong."""
    try:
        values = [composed(value.strip()) for value in _fields(line.decode("utf-8"), delimiter)]
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8; save the file as CSV UTF-8") from None
    if not any(values):
        return None
    found = {name: values[at] if at < len(values) else "" for name, at in columns.items()}
    for name, value in found.items():
        if not value or value == "@":
            raise ValueError(f"it has no {name}")
        if len(value) > _LONGEST[name] or not value.isprintable():
            raise ValueError(f"{value[:40]!r} is no name of a {name}")
    if any(values[width:]):
        raise ValueError("it has more values than columns; put a name with a comma into quotes")
    if found["project"].startswith("@") and found["person"].startswith("@"):
        raise ValueError("a group cannot be a member of a group; name its people")
    return found["project"], found["person"]


class PeopleFile:
    """The file as it is now: it is read again when it changes, and what is wrong with it is logged once."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).expanduser() if path else None
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._state: tuple[int, ...] | None = None
        self._people = ProjectPeople()

    def now(self) -> ProjectPeople:
        """Return what the file says, at most a second old; a file that is missing has nobody in it."""
        if self._path is None:
            return self._people
        with self._lock:
            if time.monotonic() - self._read_at >= _REREAD_SECONDS:
                self._read_at = time.monotonic()
                self._update(self._path)
            return self._people

    def _update(self, path: Path) -> None:
        try:
            found = path.stat()
            state: tuple[int, ...] | None = (found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size)
        except OSError:
            state = None
        if state is not None and state == self._state:
            return
        before, self._people, self._state = self._people, read_people(path), state
        for problem in self._people.problems:
            if problem not in before.problems:
                log.warning("viewer.people_file: %s", problem)
