"""Read ``xtalgrid.toml``, check all of it, and report every mistake with its key in a single error.

Each section is a struct whose defaults work on a single machine: SQLite, the local grid, images under ``home``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from xtalgrid_core.errors import ConfigError

from .checks import did_you_mean, find_mistakes
from .sections import FILE_NAME, SECTIONS, Config

_PATHS = (
    *("home", "imager.password_file", "imager.write_password_file", "imager.oracle_client", "imager.folder"),
    *("imager.image_root", "imager.linked_folders", "imager.ispyb.password_file", "imager.ispyb.paths"),
    *("boinc.project", "publish.frames_dir", "publish.ispyb.password_file", "viewer.people_file"),
    *("alerts.password_file", "webhooks.hooks.url_file"),
)
_DATABASES = ("imager.url", "imager.write_url", "ledger.url")
_RELATIVE = re.compile(r"(sqlite(?:\+\w+)?:///)(?![/\\:]|file:|[A-Za-z]:)(.+)")
"""The URL of a SQLite file whose path does not begin at the root."""

_SECRET = ("url", "write_url", "database")
"""Keys whose values may contain a password and are never shown in messages."""


def load(file: Path | None = None, home: Path | None = None) -> Config:
    """Read the configuration.

    Parameters
    ----------
    file
        Default: the file named by ``XTALGRID_CONFIG``, else ``xtalgrid.toml`` in the working directory, else no file:
        all keys have their defaults.
    home
        Overrides ``home`` of the file. Default: ``XTALGRID_HOME``, else the file's, else ``xtalgrid-data`` in the
        working directory. A relative path in the file is one from the file's folder.

    Raises
    ------
    ConfigError
        If the file cannot be read or has mistakes; lists all of them, each with its key.
    """
    if file is None:
        named = os.environ.get("XTALGRID_CONFIG")
        file = Path(named) if named else Path(FILE_NAME)
        if not named and not file.is_file():
            return from_string("", home=home)
    try:
        text = file.read_text(encoding="utf-8-sig")  # Windows' editors begin it with a byte order mark
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {file}: it is not UTF-8 text ({error}); save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(
            f"cannot read {file}: {error.strerror}; `xtalgrid init FILE` writes one to start from"
        ) from error
    return from_string(text, file=file, home=home)


def from_string(text: str, *, file: Path | None = None, home: Path | None = None) -> Config:
    """Read the configuration from a string; see `load`."""
    where = str(file) if file else FILE_NAME
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}; correct that line, or the one before it") from error
    if file is not None:
        raw = _placed(raw, file.absolute().parent)
    errors: list[str] = []
    named_home = home or os.environ.get("XTALGRID_HOME") or raw.pop("home", "xtalgrid-data")
    raw.pop("home", None)
    if not isinstance(named_home, str | Path) or not str(named_home).strip():
        errors.append("home: expected a folder, such as /var/lib/xtalgrid")
        named_home = "xtalgrid-data"
    _rename(raw, "alerts", "viewer_url", "viewer", "url")
    sections: dict[str, Any] = {}
    for name, value in raw.items():
        if name not in SECTIONS:
            errors.append(f"{name}: unknown section{did_you_mean(name, SECTIONS)}")
        elif not isinstance(value, dict):
            errors.append(f"{name}: expected a section, [{name}]")
        else:
            sections["import_" if name == "import" else name] = _section(SECTIONS[name], name, value, errors)
    config = Config(home=Path(named_home).expanduser().absolute(), file=file, **sections)
    errors.extend(find_mistakes(config))
    if errors:
        raise ConfigError(
            "\n".join(
                [
                    f"{where}: {len(errors)} {'error' if len(errors) == 1 else 'errors'}:",
                    *(f"  {error}" for error in errors),
                ]
            )
        )
    return config


def _placed(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what a file says with its paths as from the file's folder, wherever a command runs."""

    def path(text: str) -> str:
        there = Path(text).expanduser()
        return str(folder / there) if text.strip() and not there.is_absolute() else text

    def url(text: str) -> str:
        return _RELATIVE.sub(lambda match: f"{match[1]}{folder / match[2]}", text, count=1)

    for names, place in ((_PATHS, path), (_DATABASES, url)):
        for name in names:
            raw = _changed(raw, name.split("."), place)
    return raw


def _changed(value: Any, keys: Sequence[str], change: Callable[[str], str]) -> Any:
    """Return a value with the texts under some keys changed, each of a list and of a table; what is none stays."""
    if isinstance(value, list):
        return [_changed(each, keys, change) for each in value]
    if keys:
        is_there = isinstance(value, dict) and keys[0] in value
        return value | {keys[0]: _changed(value[keys[0]], keys[1:], change)} if is_there else value
    if isinstance(value, dict):
        return {key: _changed(each, keys, change) for key, each in value.items()}
    return change(value) if isinstance(value, str) else value


def _rename(raw: dict[str, Any], section: str, key: str, to_section: str, to_key: str) -> None:
    """Move a key of earlier versions to where it is now, unless the new one is there too."""
    old, new = raw.get(section), raw.setdefault(to_section, {})
    if isinstance(old, dict) and key in old and isinstance(new, dict):
        new.setdefault(to_key, old.pop(key))


def _section(kind: type[msgspec.Struct], name: str, values: dict[str, Any], errors: list[str]) -> msgspec.Struct:
    """Build a section from its valid keys, and append the mistakes in the others to `errors`."""
    fields = {item.name: item for item in msgspec.structs.fields(kind)}
    good: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            errors.append(f"{name}.{key}: unknown key{did_you_mean(key, fields)}")
            continue
        inner = fields[key].type
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and isinstance(value, dict):
            good[key] = _section(inner, f"{name}.{key}", value, errors)
            continue
        try:
            good[key] = msgspec.convert(value, type=inner)
        except msgspec.ValidationError as error:
            shown = "" if key in _SECRET else f" (it is {value!r})"
            errors.append(f"{name}.{key}: {error}{shown}")
    return kind(**good)
