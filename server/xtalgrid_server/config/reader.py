"""Read ``xtalgrid.toml``, check all of it, and report every mistake with its key in a single error.

Each section is a struct whose defaults work on a single machine: SQLite, the local grid, images under ``home``.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from xtalgrid_core.errors import ConfigError

from .checks import did_you_mean, find_mistakes
from .sections import FILE_NAME, SECTIONS, Config

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
        working directory.

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
