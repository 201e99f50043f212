"""A whole unit: every image gets an answer, even if some of them are broken."""

import errno
import re

import msgspec
import pytest

from tests.conftest import GREEN, encoded, well
from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason, ManifestError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_worker import run
from xtalgrid_worker.checkpoint import MAX_BEGINS
from xtalgrid_worker.run import check_version, is_done, score_unit, version
from xtalgrid_worker.stopping import Stopped
from xtalgrid_worker.workunit import WorkUnit


@pytest.fixture
def score(tmp_path, networks):
    """``score(zip)``: score a unit, and read the result file."""

    def score(path, pause=lambda: None, report=lambda entry, answer, is_new: None) -> wire.Result:
        with WorkUnit(path) as unit:
            result, checkpoint = tmp_path / "result.json", tmp_path / "result.json.checkpoint"
            message = score_unit(unit, result, checkpoint, networks, pause, report)
        assert not checkpoint.exists()
        assert wire.decode_result(result.read_bytes()) == message
        return message

    return score


def without_seconds(result: wire.Result) -> wire.Result:
    images = [msgspec.structs.replace(i, seconds=0) if isinstance(i, wire.Scored) else i for i in result.images]
    return msgspec.structs.replace(result, images=tuple(images))


def outcomes(result: wire.Result) -> list[str]:
    return [answer.outcome if isinstance(answer, wire.Scored) else answer.reason for answer in result.images]


def test_answers_are_in_the_order_of_the_unit(score, make_unit, crystal, clear, options):
    result = score(make_unit([clear, crystal, encoded(well(None)), encoded(well(GREEN))]))
    assert outcomes(result) == [Outcome.CLEAR, Outcome.HARVESTABLE, Outcome.NULL_EXPERIMENT, Outcome.PRECIPITATE]
    assert [answer.number for answer in result.images] == [0, 1, 2, 3]
    assert (result.unit, result.worker) == ("unit", version())
    assert (result.segmenter, result.classifier) == (options.segmenter, options.classifier)
    assert result.host.runtime.startswith("onnxruntime")


def test_broken_images_affect_no_others(score, make_unit, crystal):
    images = [crystal, b"text, not an image", crystal[:-2000], encoded(well()[:1, :1]), crystal, crystal]
    result = score(make_unit(images, stored=[*images[:4], None, b"other"]))
    assert outcomes(result) == [
        Outcome.HARVESTABLE,
        FailureReason.NOT_AN_IMAGE,
        FailureReason.TRUNCATED,
        FailureReason.TOO_SMALL,
        FailureReason.MISSING_FILE,
        FailureReason.HASH_DIFFERS,
    ]


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("<network>\nexploded " + "x" * 1000), "RuntimeError"),
        (RecursionError("deep"), "deep"),
    ],
)
def test_an_unexpected_error_fails_one_image(score, make_unit, crystal, clear, monkeypatch, error, detail):
    real = run.score_image

    def explode(data, entry, *rest):
        if entry.number == 0:
            raise error
        return real(data, entry, *rest)

    monkeypatch.setattr(run, "score_image", explode)
    result = score(make_unit([crystal, clear]))
    assert outcomes(result) == [FailureReason.INTERNAL, Outcome.CLEAR]
    assert detail in result.images[0].detail


def test_a_unit_that_cannot_be_read_for_a_while_is_scored_whole_later(score, make_unit, crystal, clear, monkeypatch):
    """A share that goes away in the middle of a unit: until it is back no image fails, however often it is tried."""
    path, read = make_unit([crystal, clear, crystal]), WorkUnit.read

    def away(unit, entry):
        if entry.number:
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return read(unit, entry)

    monkeypatch.setattr(WorkUnit, "read", away)
    for _ in range(MAX_BEGINS + 1):
        with pytest.raises(OSError, match="Stale file handle"):
            score(path)
    monkeypatch.setattr(WorkUnit, "read", read)
    assert outcomes(score(path)) == [Outcome.HARVESTABLE, Outcome.CLEAR, Outcome.HARVESTABLE]


def test_an_invalid_pixel_size_fails_one_image(score, make_unit, crystal):
    with WorkUnit(make_unit([crystal, crystal])) as unit:
        entries = unit.manifest.images
    entries = (msgspec.structs.replace(entries[0], pixel_size_um=-1.0), entries[1])
    result = score(make_unit([crystal, crystal], images=entries))
    assert outcomes(result) == [FailureReason.INTERNAL, Outcome.HARVESTABLE]
    assert "pixel_size_um is -1.0" in result.images[0].detail


@pytest.mark.parametrize("last", [-1, 0, 1, 2, 3])
def test_stopped_after_any_image_it_resumes_with_the_same_result(score, make_unit, crystal, clear, last):
    path = make_unit([crystal, clear, b"broken", crystal, clear])
    whole = without_seconds(score(path))

    def stop(entry, answer, is_new):
        if entry.number > last:
            raise Stopped("test", 143)

    with pytest.raises(Stopped):
        score(path, report=stop)
    reported = []
    resumed = score(path, report=lambda entry, answer, is_new: reported.append((entry.number, is_new)))
    assert reported == [(number, number > last) for number in range(5)]
    assert without_seconds(resumed) == whole


def test_an_image_interrupted_by_a_stop_is_scored_again(score, make_unit, crystal):
    path = make_unit([crystal] * 2)
    for _ in range(MAX_BEGINS + 1):  # more often than an image may crash the worker
        safe_points = iter(range(7))

        def pause(safe_points=safe_points):
            if next(safe_points) == 6:
                raise Stopped("test", 143)

        with pytest.raises(Stopped):
            score(path, pause)
    assert outcomes(score(path)) == [Outcome.HARVESTABLE] * 2


def test_an_image_that_kills_the_worker_fails(score, make_unit, crystal, clear, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(data, entry, *rest):
        raise Killed

    path = make_unit([crystal, clear])
    with monkeypatch.context() as patch:
        patch.setattr(run, "score_image", kill)
        for _ in range(MAX_BEGINS):
            with pytest.raises(Killed):
                score(path)
    assert outcomes(score(path)) == [FailureReason.CRASHED_WORKER, Outcome.CLEAR]


def test_an_existing_result_is_recognized(score, make_unit, crystal, clear, tmp_path):
    path = make_unit([crystal])
    with WorkUnit(path) as unit, WorkUnit(make_unit([clear, clear], name="other")) as other:
        assert not is_done(unit.manifest, tmp_path / "result.json")
        score(path)
        assert is_done(unit.manifest, tmp_path / "result.json")
        assert not is_done(other.manifest, tmp_path / "result.json")
        (tmp_path / "result.json").write_bytes(b'{"schema":1')
        assert not is_done(unit.manifest, tmp_path / "result.json")


@pytest.mark.parametrize("min_worker", ["0", "0.1", "0.1.0", version(), "0.0.99"])
def test_units_for_older_workers_are_accepted(make_unit, crystal, min_worker):
    with WorkUnit(make_unit([crystal], min_worker=min_worker)) as unit:
        check_version(unit.manifest)


@pytest.mark.parametrize("min_worker", ["99", "0.99.1", "99.0.0.dev1"])
def test_units_for_newer_workers_are_rejected(make_unit, crystal, min_worker):
    with WorkUnit(make_unit([crystal], min_worker=min_worker)) as unit, pytest.raises(ManifestError, match="update it"):
        check_version(unit.manifest)


@pytest.mark.parametrize("min_worker", ["", "newest", "-1"])
def test_an_invalid_min_worker_is_an_error(make_unit, crystal, min_worker):
    with (
        WorkUnit(make_unit([crystal], min_worker=min_worker)) as unit,
        pytest.raises(ManifestError, match=re.escape(repr(min_worker))),
    ):
        check_version(unit.manifest)
