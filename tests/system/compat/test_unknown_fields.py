"""Messages of later versions say more: a reader takes what it knows, wherever the rest stands."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgrid_core import wire

from .conftest import RECORDED

UNIT = RECORDED / "units" / "pooled-dense.zip"
KNOWN = {"status"} | {
    field.encode_name
    for kind in vars(wire).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    for field in msgspec.structs.fields(kind)
}
names = st.text(min_size=1, max_size=20).filter(lambda name: name not in KNOWN)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def manifest() -> Any:
    with zipfile.ZipFile(UNIT) as archive:
        return json.loads(archive.read(wire.MANIFEST_NAME))


def result() -> Any:
    return json.loads(UNIT.with_suffix(".json").read_bytes())


def objects(value: Any) -> list[dict[str, Any]]:
    """Every JSON object of a message, itself first."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return ([value] if isinstance(value, dict) else []) + [found for each in inner for found in objects(each)]


@pytest.mark.parametrize(("message", "decode"), [(manifest, wire.decode_manifest), (result, wire.decode_result)])
@given(data=st.data())
def test_fields_that_are_not_known_are_passed_over_anywhere(message: Any, decode: Any, data: st.DataObject) -> None:
    said = message()
    plain = decode(json.dumps(said).encode())
    for place in data.draw(st.lists(st.sampled_from(range(len(objects(said)))), min_size=1, max_size=3, unique=True)):
        found = objects(said)[place]
        more = {data.draw(names): data.draw(values)}
        first = data.draw(st.booleans())
        content = {**more, **found} if first else {**found, **more}
        found.clear()
        found.update(content)
    assert decode(json.dumps(said).encode()) == plain
