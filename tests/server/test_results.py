"""Results are untrusted: everything that could not come from an honest worker is refused, whole, with a reason."""

import json
import math
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from tests.conftest import CHOP_BY_CHOP
from xtalgrid_core import wire
from xtalgrid_core.combination import Combination
from xtalgrid_core.errors import FailureReason, ResultError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.steps.account import account
from xtalgrid_server.steps.assimilate.agree import image_disagreement
from xtalgrid_server.steps.assimilate.assimilate import validate

from .conftest import answer, draw_well, result_of, rigaku_name

OUTCOMES = [Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.UNDECIDED, Outcome.NULL_EXPERIMENT]


@pytest.fixture
def manifest():
    return wire.Manifest(
        schema=1,
        unit="xg_1",
        min_worker="0.1.0",
        options=wire.Options(segmenter="a" * 64, classifier="b" * 64, **CHOP_BY_CHOP),
        images=tuple(
            wire.ImageEntry(number=n, file=f"{n:03d}.jpg", inspect_id=n, sha256="c" * 64, height=240, width=320)
            for n in range(5)
        ),
    )


@pytest.fixture
def honest(manifest):
    answers = [answer(n, outcome, 0.9) for n, outcome in enumerate(OUTCOMES)]
    answers[2] = msgspec.structs.replace(answers[2], probabilities=(0.5,) * 13)
    failed = wire.Failed(number=4, reason=FailureReason.TRUNCATED, detail="the file ends inside the image")
    return json.loads(wire.encode(result_of(manifest, [*answers, failed])))


def refuse(manifest, result):
    with pytest.raises(ResultError) as caught:
        validate(json.dumps(result).encode(), manifest)
    return str(caught.value)


def test_an_honest_result_passes(manifest, honest):
    assert validate(json.dumps(honest).encode(), manifest).images[0].outcome is Outcome.HARVESTABLE


def change(result, path, value):
    *steps, last = path
    for step in steps:
        result = result[step]
    result[last] = value


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["unit"], "xg_2", "unit"),
        (["segmenter"], "d" * 64, "other models"),
        (["schema"], 99, "schema 99"),
        (["worker"], "0.0.9", "0.1.0 or newer"),
        (["worker"], "<b>9.9.9</b>", "worker"),
        (["host", "platform"], "<script>alert(1)</script>", "host.platform"),
        (["images", 4, "detail"], "<img src=x>", "detail"),
        (["images", 4, "reason"], "bored", "reason"),
        (["images", 0, "number"], 1, "exactly the images"),
        (["images", 0, "probability"], 1.5, "probability"),
        (["images", 0, "probability"], math.nan, "wire format"),
        (["images", 0, "p_crystal"], -0.1, "p_crystal"),
        (["images", 0, "score"], 13, "does not belong"),
        (["images", 0, "outcome"], "gold", "outcome"),
        (["images", 0, "probabilities"], [0.95], "class probabilities"),
        (["images", 0, "probabilities"], [0.05] * 13, "more than its classes"),
        (["images", 0, "probability"], 0.2, "below the threshold"),
        (["images", 2, "probabilities"], [0.0] * 12 + [0.99], "above the threshold"),
        (["images", 2, "probability"], 0.99, "above the threshold"),
        (["images", 1, "probabilities"], [], "not a null experiment"),
        (["images", 0, "drop", "box"], [0, 0, 241, 10], "inside the image"),
        (["images", 0, "boxes", 0, "box"], [-1, 0, 10, 10], "box"),
        (["images", 0, "boxes", 0, "box"], [0, 0, 10, 1e9], "box"),
        (["images", 0, "height"], 999, "pixels"),
        (["images", 0, "drop", "outline"], [[0, 0]] * 5000, "outline"),
        (["images", 0, "pixel_size_origin"], "x" * 5000, "pixel_size_origin"),
    ],
)
def test_a_lie_is_refused(manifest, honest, path, value, reason):
    change(honest, path, value)
    assert reason in refuse(manifest, honest)


@pytest.mark.parametrize(
    ("number", "changes", "reason"),
    [
        (0, {}, ""),
        (1, {}, ""),
        (3, {}, ""),
        (2, {}, "does not ask for"),
        (0, {"p_crystal": 0.1, "probability": 0.1}, "crystals begin at 0.25"),
        (1, {"p_crystal": 0.4, "probability": 0.6}, "crystals begin at 0.25"),
        (0, {"p_crystal": 0.5}, "does not fit"),
        (1, {"probability": 0.99}, "does not fit"),
        (1, {"probability": 0.2}, "does not fit"),
        (0, {"probabilities": [0.05, 0.9, *[0.01] * 11]}, "another class of its group"),
    ],
)
def test_what_the_pooled_rule_could_not_have_said_is_refused(manifest, honest, number, changes, reason):
    pooled = msgspec.structs.replace(manifest.options, rule="pooled", crystal_from=0.25)
    one = msgspec.structs.replace(manifest, options=pooled, images=manifest.images[number : number + 1])
    result = {**honest, "images": [{**honest["images"][number], **changes}]}
    if reason:
        assert reason in refuse(one, result)
    else:
        validate(json.dumps(result).encode(), one)


@pytest.mark.parametrize(
    ("groups", "changes", "reason"),
    [
        ([0.1, 0.55, 0.2, 0.15], {"probability": 0.55}, ""),
        ([0.3, 0.55, 0.1, 0.05], {"probability": 0.3}, ""),  # crystals, but hardly
        ([0.1, 0.65, 0.2, 0.05], {"probability": 0.65}, "not what its groups say"),
        ([0.1, 0.55, 0.2, 0.15], {"probability": 0.2}, "not what its groups say"),
        ([0.7, 0.2, 0.05, 0.05], {"probability": 0.2}, "not what its groups say"),  # a crystal kept back
        (None, {"probability": 0.55}, "does not ask for"),
    ],
)
def test_only_what_the_unit_leaves_undecided_is(manifest, honest, groups, changes, reason):
    options = msgspec.structs.replace(manifest.options, rule="pooled", crystal_from=0.25, undecided=(0.6,) * 4)
    one = msgspec.structs.replace(manifest, options=options, images=manifest.images[2:3])
    p_crystal = groups[0] if groups else 0.1
    result = {**honest, "images": [{**honest["images"][2], "groups": groups, "p_crystal": p_crystal, **changes}]}
    if reason:
        assert reason in refuse(one, result)
    else:
        validate(json.dumps(result).encode(), one)


@pytest.mark.parametrize(("other", "reason"), [(0.55, ""), (0.97, "is not a null experiment")])
def test_an_empty_well_may_be_undecided_too(manifest, honest, other, reason):
    options = msgspec.structs.replace(manifest.options, rule="pooled", crystal_from=0.25, undecided=(0.6,) * 4)
    one = msgspec.structs.replace(manifest, options=options, images=manifest.images[3:4])
    rest = (1 - other) / 3
    said = {"outcome": "undecided", "score": None, "p_crystal": rest, "groups": [rest, rest, other, rest]}
    result = {**honest, "images": [{**honest["images"][3], **said}]}
    if reason:
        assert reason in refuse(one, result)
    else:
        validate(json.dumps(result).encode(), one)


SECOND = "e" * 64
PAIRS = {"groups": [0.9, 0.05, 0.02, 0.03], "own_groups": [0.9, 0.05, 0.02, 0.03]}
UNSURE = {"model": SECOND, "groups": [0.25] * 4}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({**PAIRS, "second_opinion": UNSURE}, ""),
        (PAIRS, "does not have the second opinion"),
        ({}, "does not have the second opinion"),  # of a worker that does not know second opinions
        ({**PAIRS, "second_opinion": {**UNSURE, "model": "f" * 64}}, "does not have the second opinion"),
        ({"second_opinion": UNSURE}, "before and after it"),
        ({**PAIRS, "second_opinion": {**UNSURE, "groups": [0.5] * 4}}, "the second opinion's probabilities sum to 2"),
        ({**PAIRS, "own_groups": [0.5] * 4, "second_opinion": UNSURE}, "the first opinion's probabilities sum to 2"),
        ({**PAIRS, "second_opinion": {**UNSURE, "groups": [0.1, 0.3, 0.3, 0.3]}}, "not combined as the unit says"),
    ],
)
def test_both_opinions_must_be_there_and_combined_as_the_unit_says(manifest, honest, changes, reason):
    together = Combination(1.0, 1.0, (0.0,) * 4)  # so one that is unsure changes nothing
    options = msgspec.structs.replace(
        manifest.options, rule="combined", crystal_from=0.25, second_opinion=SECOND, combination=together
    )
    one = msgspec.structs.replace(manifest, options=options, images=manifest.images[:1])
    result = {**honest, "images": [{**honest["images"][0], **changes}]}
    if reason:
        assert reason in refuse(one, result)
    else:
        validate(json.dumps(result).encode(), one)


def test_a_second_opinion_that_was_not_asked_for_is_refused(manifest, honest):
    honest["images"][0]["second_opinion"] = UNSURE
    assert "one that it does not name" in refuse(manifest, honest)


def test_two_hosts_must_have_the_same_second_opinion(manifest, honest):
    first = wire.decode_result(json.dumps(honest).encode()).images[0]

    def says(crystal: float) -> wire.Scored:
        rest = (1 - crystal) / 3
        second = wire.SecondOpinion(model=SECOND, groups=(crystal, rest, rest, rest))
        return msgspec.structs.replace(first, second_opinion=second)

    assert image_disagreement(says(0.5), says(0.505), manifest.options) == ""
    assert image_disagreement(says(0.5), says(0.6), manifest.options) == "second opinion's crystal 0.500 and 0.600"


def test_images_left_out_doubled_or_invented_are_refused(manifest, honest):
    images = honest["images"]
    for wrong in (images[:-1], [*images, images[-1]], [], [*images[:-1], {**images[-1], "number": 77}]):
        assert "exactly the images" in refuse(manifest, {**honest, "images": wrong})


def test_a_computer_that_reads_none_of_a_unit_s_images_is_not_believed(manifest, honest):
    reasons = ["content differs from manifest", "unreadable file", "internal error"]
    honest["images"] = [
        {"status": "failed", "number": n, "reason": reasons[n % 3], "detail": "SHA-256 is 1f"} for n in range(5)
    ]
    assert refuse(manifest, honest).startswith("none of its 5 images could be scored; the first: content differs")
    honest["images"][3]["reason"] = "truncated image"  # that may be true of a file: then it is one bad image of five
    assert validate(json.dumps(honest).encode(), manifest)


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"[" * 1_000_000, b'{"schema": 1}', b"{}", b"\xff\xfe", b"null"])
def test_other_data_are_rejected(manifest, data):
    with pytest.raises(ResultError):
        validate(data, manifest)


def test_too_large_is_refused_unread(manifest):
    with pytest.raises(ResultError, match="bytes; at most"):
        validate(b" " * (wire.MAX_RESULT_BYTES + 1), manifest)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that fails to be read")
def test_a_result_that_cannot_be_read_is_counted_and_its_images_wait(system, tmp_path):
    draw_well(tmp_path / "new" / rigaku_name(1))
    system.import_folder(tmp_path / "new")
    system.create_work()
    (name,) = system.grid.waiting()
    result = system.config.spool / "units" / name / "result.json"
    result.symlink_to("/proc/self/mem")
    done = system.assimilate()
    assert (done.unread, done.accepted, done.refused) == (1, 0, 0)
    counted = account(system.config, system.ledger, system.imager)
    assert (counted.there, counted.waiting, counted.scored) == (1, 1, 0)
    (tmp_path / "xtalgrid.toml").write_text(f'home = "{system.config.home}"\n')
    command = CliRunner().invoke(main, ["--config", str(tmp_path / "xtalgrid.toml"), "assimilate"])
    assert "1 results could not be read and wait" in command.output


def test_a_refused_result_is_quarantined_and_the_unit_done_again_until_given_up(system, tmp_path):
    draw_well(tmp_path / "new" / rigaku_name(1))
    system.import_folder(tmp_path / "new")
    system.create_work()
    (name,) = system.grid.waiting()
    spool = system.config.spool
    for attempt in range(1, 4):
        (spool / "units" / name / "result.json").write_bytes(b'{"lie": %d}' % attempt)
        assert system.assimilate().refused == 1
        assert len(list((spool / "quarantine").iterdir())) == attempt
    unit = system.ledger.units.named(name)
    assert unit.state == "failed"
    assert "3 results refused" in unit.detail
    assert system.ledger.failures.of_files()[0][1] == "work unit failed"
    assert system.ledger.counts()["results"] == {"refused": 3}
