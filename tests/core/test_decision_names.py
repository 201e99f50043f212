"""A classifier whose decision was adapted has a name of its own, and brings its combination with a second opinion."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from xtalgrid_core.combination import Combination
from xtalgrid_core.onnx_files import check_self_contained, with_note
from xtalgrid_core.weights import (
    DECISION,
    MANIFEST,
    PACKAGED,
    ModelEntry,
    WeightsManifest,
    default_models,
    default_options,
    find_model,
    named_by_decision,
    with_second_opinion,
)

MARCO = ModelEntry(
    sha256="d" * 64,
    role="second_opinion",
    file="marco.onnx",
    architecture="inception",
    variant="fp32",
    card="marco.md",
    combination=Combination(0.5, 0.5, (0.0,) * 4),
)
ADAPTED = Combination(0.9, 0.3, (0.1, 0.0, 0.0, 0.0))


def test_a_note_changes_the_name_and_not_the_network() -> None:
    onnx = pytest.importorskip("onnx", reason="another reader of ONNX files (extra dev)")
    data = (PACKAGED / "classifier.onnx").read_bytes()
    once = with_note(data, DECISION, "first")
    twice = with_note(with_note(once, "other", "ü" * 300), DECISION, "second")
    read = onnx.load_from_string(twice)
    assert {prop.key: prop.value for prop in read.metadata_props} == {"other": "ü" * 300, DECISION: "second"}
    assert read.graph == onnx.load_from_string(data).graph
    check_self_contained(twice, "it")
    assert with_note(once, DECISION, "first") == once, "twice is once"


def test_another_decision_is_another_name() -> None:
    entry, data = find_model(default_models()[1], "classifier")
    named, changed = named_by_decision(
        msgspec.structs.replace(entry, combination=ADAPTED, combined_with="d" * 64), data
    )
    assert named.sha256 == hashlib.sha256(changed).hexdigest()
    assert named.sha256 != entry.sha256
    other = named_by_decision(msgspec.structs.replace(entry, combined_with="e" * 64), data)[0]
    assert len({entry.sha256, named.sha256, other.sha256}) == 3


def test_an_adapted_combination_goes_with_its_classifier_and_its_second_opinion(tmp_path: Path) -> None:
    entry, _ = find_model(default_models()[1], "classifier")
    adapted = msgspec.structs.replace(entry, combination=ADAPTED, combined_with=MARCO.sha256)
    default = {"segmenter": default_models()[0], "classifier": entry.sha256}
    manifest = WeightsManifest(schema=1, default=default, models=(adapted,))
    (tmp_path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    options = default_options()
    assert with_second_opinion(options, MARCO, [tmp_path]).combination == ADAPTED
    assert with_second_opinion(options, MARCO).combination == MARCO.combination, (
        "the package's own knows no adapted one"
    )
    int8 = msgspec.structs.replace(MARCO, sha256="e" * 64)
    assert with_second_opinion(options, int8, [tmp_path]).combination == MARCO.combination, "it is for another one"
