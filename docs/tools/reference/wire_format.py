"""docs/reference/wire-format.md and the JSON Schemas of manifest and result, from the structs that both sides use."""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

import msgspec

from xtalgrid_core import wire
from xtalgrid_core.outcomes import CLASSES

from .text import docs_of_assignments, plain, table

HEAD = f"""# Wire format

All that travels between server and worker. A work unit is a zip of `{wire.MANIFEST_NAME}` and the images, `000.jpg` and
so on; the answer is `{wire.RESULT_FILE}`. Both are JSON in UTF-8; their field `schema` is {wire.SCHEMA}. As JSON Schema
(2020-12): [manifest.schema.json](manifest.schema.json), [result.schema.json](result.schema.json).

Readers ignore fields that they don't know. A field may be added without a new schema number; a change of meaning takes
a new number, and the previous one stays readable. A worker older than `min_worker` refuses the unit.

Writers write every option. The defaults below are production's. What an older manifest leaves out means what it meant
then: `rule` is `"group"`, `mode` is `"exact"`, `step` is 50.

What a schema cannot express, and the readers check too:

* in a manifest no number and no file name comes twice; `mode` `dense` takes a `step` that is a multiple of 16;
* a result has at most {wire.MAX_RESULT_BYTES // 2**20} MB and {wire.MAX_RESULT_VALUES:,} values; no number is NaN or
  infinite;
* the server accepts a result only if it is for that unit, made by the models that the manifest names, and has exactly
  the manifest's images; if boxes lie inside their image; and if each outcome is one that the rule could have given for
  the probabilities (`xtalgrid_server/steps/assimilate/validate.py`).

Boxes are `[row, col, height, width]` in pixels of the original image; probabilities are 0..1; lengths of text are in
characters.
"""

CONTRACTS: dict[str, Any] = {"manifest": wire.Manifest, "result": wire.Result}


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of ``manifest`` or ``result``."""
    made = _portable(msgspec.json.schema(CONTRACTS[name]))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"xtalgrid {name}", **made}


def schema_file(name: str) -> str:
    """Return the schema as a file's text."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def _portable(value: Any) -> Any:
    r"""Make a schema readable outside Python: ECMAScript's ``$`` for ``\Z``, plain docstrings, null for None."""
    if isinstance(value, list):
        return [_portable(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: _portable(item) for key, item in value.items()}
    if isinstance(made.get("pattern"), str):
        made["pattern"] = made["pattern"].replace(r"\Z", "$")
    if isinstance(made.get("description"), str):
        made["description"] = re.sub(r"\bNone\b", "null", plain(made["description"]))
    return made


def page() -> str:
    """Write the page."""
    parts = [HEAD.strip()]
    for name in CONTRACTS:
        made = schema(name)
        top = made["$ref"].rpartition("/")[2]
        for kind in [top, *(other for other in made["$defs"] if other != top)]:
            definition = made["$defs"][kind]
            parts.append(f"{'##' if kind == top else '###'} {kind}")
            parts.append(definition.get("description", ""))
            parts.append(_fields(kind, definition) if "properties" in definition else _values(kind, definition))
        parts.append("")
    return "\n\n".join(part for part in _once(parts) if part) + "\n"


def _once(parts: list[str]) -> list[str]:
    """Leave out the second time what manifest and result have in common."""
    return list(dict.fromkeys(parts))


def _fields(kind: str, definition: dict[str, Any]) -> str:
    module = inspect.getmodule(getattr(wire, kind))
    assert module is not None
    docs = docs_of_assignments(inspect.getsource(module), kind)
    needed = definition["required"]
    rows = [
        (f"`{name}`", _type(field), "needed" if name in needed else _default(field), docs.get(name, ""))
        for name, field in definition["properties"].items()
    ]
    heads = ("field", "value", "default", "")
    return table(heads, rows) if any(row[3] for row in rows) else table(heads[:3], [row[:3] for row in rows])


def _default(field: dict[str, Any]) -> str:
    return f"`{json.dumps(field['default'])}`"


def _values(kind: str, definition: dict[str, Any]) -> str:
    values = [str(value) for value in definition["enum"]]
    if kind == "Outcome":  # in the order of priority, as `probabilities` has them
        classes = [str(outcome) for outcome in CLASSES]
        values = [*classes, *(value for value in values if value not in classes)]
    return "One of " + ", ".join(f"`{value}`" for value in values) + "."


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if "enum" in field:
        return " or ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    match field.get("type"):
        case "array" if "prefixItems" in field:
            return f"list of {len(field['prefixItems'])} {_plural(_type(field['prefixItems'][0]))}"
        case "array":
            most = f", at most {field['maxItems']:,}" if "maxItems" in field else ""
            return f"list of {_plural(_type(field['items']))}{most}"
        case "integer" | "number" as kind:
            return ("whole number" if kind == "integer" else "number") + _range(field)
        case "boolean":
            return "true or false"
        case "string":
            return "text" + (f", at most {field['maxLength']}" if "maxLength" in field else _pattern(field))
        case other:
            return str(other)


def _plural(kind: str) -> str:
    return re.sub(r"^(whole number|number|list)\b", r"\1s", kind)


def _pattern(field: dict[str, Any]) -> str:
    return f" `{field['pattern']}`" if "pattern" in field else ""


def _range(field: dict[str, Any]) -> str:
    if "exclusiveMinimum" in field:
        return f" above {field['exclusiveMinimum']:g}, at most {field['maximum']:g}"
    if "maximum" in field:
        return f" {field['minimum']:,.0f} to {field['maximum']:,.0f}"
    return f" from {field['minimum']}" if "minimum" in field else ""
