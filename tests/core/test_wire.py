import json

import msgspec
import pytest

from xtalgrid_core import wire
from xtalgrid_core.combination import Combination
from xtalgrid_core.errors import FailureReason, ManifestError, ResultError
from xtalgrid_core.outcomes import Outcome

MANIFEST = wire.Manifest(
    schema=1,
    unit="xg_20121121_000001",
    min_worker="0.1.0",
    options=wire.Options(segmenter="a" * 64, classifier="b" * 64, rule="published", mode="exact", threshold=0.8),
    images=(
        wire.ImageEntry(number=0, file="000.jpg", inspect_id=17, sha256="c" * 64, pixel_size_um=1.13),
        wire.ImageEntry(number=1, file="001.jpg", inspect_id=18, sha256="d" * 64),
    ),
)
SCORED = wire.Scored(
    number=0,
    outcome=Outcome.BAD_FORM,
    score=22,
    probability=0.93,
    p_crystal=0.9,
    probabilities=(0.5,) * 13,
    height=1920,
    width=2560,
    pixel_size_um=1.13,
    pixel_size_origin="configured",
    drop=wire.Drop(box=(10, 20, 300, 400), outline=((10, 20), (10, 420), (310, 20)), confidence=0.97),
    boxes=(wire.BestChop(box=(10, 20, 256, 256), outcome=Outcome.BAD_FORM, probability=0.93),),
    seconds=1.5,
)
RESULT = wire.Result(
    schema=1,
    unit="xg_20121121_000001",
    worker="0.1.0",
    segmenter="a" * 64,
    classifier="b" * 64,
    host=wire.Host(platform="Linux"),
    images=(SCORED, wire.Failed(number=1, reason=FailureReason.TRUNCATED, detail="ends at row 7")),
)


def changed(message: msgspec.Struct, **fields) -> bytes:
    """A message as JSON with some of its fields replaced: ``images__0__probability=2``."""
    content = json.loads(wire.encode(message))
    for path, value in fields.items():
        *parents, last = (int(key) if key.isdigit() else key for key in path.split("__"))
        place = content
        for key in parents:
            place = place[key]
        place[last] = value
    return json.dumps(content).encode()


def test_manifests_and_results_survive_a_round_trip():
    assert wire.decode_manifest(wire.encode(MANIFEST)) == MANIFEST
    assert wire.decode_result(wire.encode(RESULT)) == RESULT
    assert wire.decode_answer(wire.encode(SCORED)) == SCORED


def test_missing_fields_of_an_old_manifest_get_its_defaults():
    old = json.loads(wire.encode(MANIFEST))
    old["options"] = {name: old["options"][name] for name in ("segmenter", "classifier", "threshold")}
    options = wire.decode_manifest(json.dumps(old).encode()).options
    assert (options.rule, options.mode, options.step) == ("group", "exact", 50)
    assert (options.threshold, options.n_boxes, options.support, options.crystal_from) == (0.8, 5, 0.3, 0.2)


def test_new_options_are_those_of_production_and_all_are_written():
    options = wire.Options(segmenter="a" * 64, classifier="b" * 64)
    written = json.loads(wire.encode(msgspec.structs.replace(MANIFEST, options=options)))["options"]
    assert (written["rule"], written["mode"], written["step"], written["crystal_from"]) == ("pooled", "dense", 48, 0.2)
    assert set(written) == set(wire.Options.__struct_fields__)


def test_a_unit_with_a_second_opinion_says_how_it_is_combined():
    combination = Combination(0.7, 0.4, (0.1, 0.2, 0.3, -0.6))
    options = wire.Options(
        segmenter="a" * 64, classifier="b" * 64, rule="combined", second_opinion="e" * 64, combination=combination
    )
    manifest = msgspec.structs.replace(MANIFEST, options=options)
    written = wire.encode(manifest)
    assert wire.decode_manifest(written) == manifest
    assert json.loads(written)["options"]["combination"] == {
        "ours": 0.7,
        "second": 0.4,
        "shifts": [0.1, 0.2, 0.3, -0.6],
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"rule": "combined"},
        {"rule": "combined", "second_opinion": "e" * 64},
        {"rule": "pooled", "second_opinion": "e" * 64},
        {"second_opinion": "e" * 64, "combination": {"ours": 1.0, "second": 1.0, "shifts": [0.0] * 4}},
    ],
)
def test_a_second_opinion_without_its_rule_or_its_combination_is_refused(fields):
    """The rule's name is what older workers refuse: they ignore fields that they do not know."""
    with pytest.raises(ManifestError, match="combined"):
        wire.decode_manifest(changed(MANIFEST, **{f"options__{name}": value for name, value in fields.items()}))


def test_dense_scoring_needs_steps_of_whole_cells():
    dense = changed(MANIFEST, options__mode="dense", options__step=32)
    assert wire.decode_manifest(dense).options.step == 32
    with pytest.raises(ManifestError, match="step is 50 pixels; dense scoring takes multiples of 16"):
        wire.decode_manifest(changed(MANIFEST, options__mode="dense", options__step=50))


def test_one_message_is_one_line():
    assert b"\n" not in wire.encode(RESULT)


def test_outcomes_and_reasons_travel_as_words():
    images = json.loads(wire.encode(RESULT))["images"]
    assert (images[0]["status"], images[0]["outcome"]) == ("scored", "crystals bad form")
    assert (images[1]["status"], images[1]["reason"]) == ("failed", "truncated image")


def test_fields_of_later_versions_are_ignored():
    assert wire.decode_result(changed(RESULT, images__0__uv=0.7, operator="x")) == RESULT
    assert wire.decode_manifest(changed(MANIFEST, images__0__plate=None, deadline="tomorrow")) == MANIFEST


@pytest.mark.parametrize(
    "fields",
    [
        {"schema": 2},
        {"schema": "1"},
        {"unit": "../../etc"},
        {"unit": "a b"},
        {"unit": ""},
        {"unit": "xg_1\n"},
        {"images": []},
        {"images__0__file": "../000.jpg"},
        {"images__0__file": "000.jpg\n"},
        {"images__0__file": "/tmp/000.jpg"},
        {"images__1__file": "000.jpg"},
        {"images__1__number": 0},
        {"images__0__sha256": "C" * 64},
        {"images__0__number": -1},
        {"options__threshold": 0},
        {"options__threshold": 1.01},
        {"options__step": 0},
        {"options__rule": "best"},
        {"options__mode": "quick"},
        {"options__segmenter": "a"},
    ],
)
def test_invalid_manifests_are_rejected(fields):
    with pytest.raises(ManifestError, match="make the work unit again"):
        wire.decode_manifest(changed(MANIFEST, **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"schema": 3},
        {"images__0__probability": 1.0001},
        {"images__0__probability": -0.1},
        {"images__0__probability": None},
        {"images__0__p_crystal": "0.5"},
        {"images__0__probabilities": [0.1] * 14},
        {"images__0__outcome": "crystal"},
        {"images__0__status": "maybe"},
        {"images__0__drop__box": [0, 0, 10]},
        {"images__0__drop__box": [0, 0, -1, 10]},
        {"images__0__boxes__0__box": [0, 0, 2_000_000, 10]},
        {"images__0__seconds": -1},
        {"images__0__height": 1e400},
        {"images__1__reason": "did not feel like it"},
        {"images__1__detail": "x" * 401},
        {"images__1__detail": "<script>alert(1)</script>"},
        {"images__1__detail": "one line\nand another"},
        {"host__platform": "<b>"},
        {"worker": "0.1\x00"},
        {"worker": "0.1\n"},
    ],
)
def test_results_with_values_out_of_range_are_rejected(fields):
    with pytest.raises(ResultError):
        wire.decode_result(changed(RESULT, **fields))


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_nan_and_infinity_are_rejected(number):
    data = wire.encode(RESULT).replace(b'"probability":0.93', b'"probability":' + number)
    with pytest.raises(ResultError):
        wire.decode_result(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema":1,"unit":' + b'{"a":' * 100_000,
        b'{"schema":1}',
        b"PK\x03\x04",
    ],
)
def test_other_data_are_rejected(data):
    with pytest.raises(ResultError):
        wire.decode_result(data)


def test_a_huge_result_is_not_even_parsed():
    with pytest.raises(ResultError, match="at most"):
        wire.decode_result(b" " * (wire.MAX_RESULT_BYTES + 1))


@pytest.mark.parametrize(
    "text", ["plain", "", "a\nb\tc\x00", "<script>", "x" * 1000, "file \udcff.jpg", "Tröpfchen 23 µm", "\x7f" * 500]
)
def test_any_text_can_be_made_short_text(text):
    failed = wire.Failed(number=1, reason=FailureReason.INTERNAL, detail=wire.short_text(text))
    assert wire.decode_answer(wire.encode(failed)) == failed
