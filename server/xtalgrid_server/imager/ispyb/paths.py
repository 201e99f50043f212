"""Paths of images as ISPyB has them, and as they are here: folders may be mounted elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def to_here(path: str, paths: Mapping[str, str]) -> str:
    """Return where a file of ISPyB is here; the longest of the folders that fit counts."""
    return _moved(path, paths.items())


def to_ispyb(path: str, paths: Mapping[str, str]) -> str:
    """Return the path that ISPyB has for a file here."""
    return _moved(path, ((here, there) for there, here in paths.items()))


def _moved(path: str, folders: Iterable[tuple[str, str]]) -> str:
    for old, new in sorted(folders, key=lambda pair: -len(pair[0])):
        if path.startswith(old.rstrip("/") + "/"):
            return new.rstrip("/") + path[len(old.rstrip("/")) :]
    return path
