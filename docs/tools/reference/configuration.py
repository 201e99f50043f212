"""docs/reference/configuration-keys.md: every key of xtalgrid.toml, from the structs that read it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect as types

from xtalgrid_server.config import sections as config

from .text import docs_of_assignments, plain, table

HEAD = """# Configuration keys

Every key that `xtalgrid.toml` may have. `xtalgrid init` writes the same list as a file to edit; what the keys are for
is explained in [configuration.md](../configuration.md). A key that is left out has its default; an unknown one is an
error.

`home`, before all sections, is the folder of databases, spool, framed images and CSV files: text, by default
`xtalgrid-data` where the command runs. `XTALGRID_HOME` and `--home` override it.
"""

UNITS = {
    "_s": "seconds",
    "_minutes": "minutes",
    "_hours": "hours",
    "_days": "days",
    "_mb": "MB",
    "_um": "µm",
    "_per_hour": "images an hour",
    "_per_well": "GFLOP a well",
}
WHOLE_NAMES = {
    "days": "days",
    "step": "pixels",
    "limit": "images",
    "wells_per_unit": "wells",
    "wells_per_backfill_unit": "wells",
}

COMPUTED_DEFAULTS = {("grid", "workers"): "one for each core, at most 8"}
"""Defaults that differ from computer to computer."""


def keys() -> Iterator[tuple[str, str, str]]:
    """Yield (section, key, explanation) of every key; the explanation is empty if there is none."""
    for section, struct in config.SECTIONS.items():
        docs = docs_of_assignments(inspect.getsource(config), struct.__name__)
        for field in msgspec.structs.fields(struct):
            yield section, field.name, docs.get(field.name, "")
            if (inner := _subsection(field)) is not None:
                more = docs_of_assignments(inspect.getsource(config), inner.__name__)
                for each in msgspec.structs.fields(inner):
                    yield section, f"{field.name}.{each.name}", more.get(each.name, "")


def page() -> str:
    """Write the page."""
    parts = [HEAD.strip()]
    for section, struct in config.SECTIONS.items():
        parts += [f"## {section}", plain(struct.__doc__ or ""), _table(section, struct)]
        if struct is config.Publish:
            parts += ["A table of `hold`:", _table("hold", config.HoldRule)]
        for field in msgspec.structs.fields(struct):
            if (inner := _subsection(field)) is not None:
                name = f"{section}.{field.name}"
                parts += [f"### {name}", plain(inner.__doc__ or ""), _table(name, inner)]
    return "\n\n".join(parts) + "\n"


def _table(section: str, struct: type[msgspec.Struct]) -> str:
    docs = docs_of_assignments(inspect.getsource(config), struct.__name__)
    rows = []
    for field in msgspec.structs.fields(struct):
        if _subsection(field) is not None:
            rows.append((f"`{field.name}`", "section", "", docs.get(field.name, "")))
            continue
        what = _type(types.type_info(field.type))
        unit = WHOLE_NAMES.get(field.name) or next((u for end, u in UNITS.items() if field.name.endswith(end)), "")
        default = COMPUTED_DEFAULTS.get((section, field.name)) or _default(field)
        rows.append((f"`{field.name}`", ", ".join(filter(None, (what, unit))), default, docs.get(field.name, "")))
    return table(("key", "value", "default", ""), rows)


def _subsection(field: Any) -> type[msgspec.Struct] | None:
    """Return the struct of a key that is a section of its own."""
    is_struct = isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    return field.type if is_struct else None


def _default(field: Any) -> str:
    if field.default is msgspec.NODEFAULT:
        return "none" if field.default_factory is dict else "needed"
    if field.default is None:
        return "not set"
    return f"`{_toml(field.default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return msgspec.json.encode(value).decode()


def _type(kind: types.Type) -> str:
    """Say in words what the value may be, with its range."""
    match kind:
        case types.UnionType():
            return _type(next(part for part in kind.types if not isinstance(part, types.NoneType)))
        case types.LiteralType():
            return " or ".join(f"`{_toml(value)}`" for value in sorted(kind.values))
        case types.BoolType():
            return "`true` or `false`"
        case types.VarTupleType(item_type=types.StructType()):
            return "list of tables"
        case types.VarTupleType():
            return "list of text" + (", not empty" if kind.min_length else "")
        case types.DictType(value_type=types.DictType()):
            return "tables of text"
        case types.DictType(value_type=types.StructType()):
            return "table of tables"
        case types.DictType():
            return "table of text"
        case types.IntType() | types.FloatType():
            return ("whole number" if isinstance(kind, types.IntType) else "number") + _range(kind)
        case types.StrType():
            return "text"
    raise TypeError(f"docs/tools/reference/configuration.py can't describe {kind}")


def _range(kind: types.IntType | types.FloatType) -> str:
    low = f"above {kind.gt:g}" if kind.gt is not None else f"{kind.ge:g}" if kind.ge is not None else ""
    if kind.le is None:
        return f" {low}" if kind.gt is not None else f" from {low}" if low else ""
    return f" {low}, at most {kind.le:g}" if kind.gt is not None else f" {low} to {kind.le:g}"
