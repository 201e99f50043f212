"""``create_work --retry``: what failed on its way through a worker is scored by another try, however old it is."""

from __future__ import annotations

import pytest

from xtalgrid_core import wire
from xtalgrid_core.errors import FailureReason
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.reports.status import status
from xtalgrid_server.steps.account import account

from .conftest import answer, draw_well, result_of
from .test_create_work import imaged, imager_of, labs, planned  # noqa: F401


def come_back(system, *said):
    """The worker answers all units: for each image an outcome, or why it failed."""
    for folder in (system.config.spool / "units").iterdir():
        manifest = wire.decode_manifest(system.ledger.units.named(folder.name).manifest)
        answers = [
            wire.Failed(number=n, reason=one, detail="said the worker")
            if isinstance(one, FailureReason)
            else answer(n, one)
            for n, one in enumerate(said[: len(manifest.images)])
        ]
        (folder / "result.json").write_bytes(wire.encode(result_of(manifest, answers)))
    return system.assimilate()


@pytest.fixture
def old(system, imaged):  # noqa: F811
    """Two images that no look-back reaches, beside a newer one; all in units of their own."""
    imaged(0, 2)
    system.create_work()
    assert come_back(system, Outcome.CLEAR, FailureReason.HASH_DIFFERS).accepted == 1
    imaged(300, 1)
    system.create_work()
    assert come_back(system, Outcome.CLEAR).accepted == 1
    return system


def counts(system):
    counted = account(system.config, system.ledger, system.imager)
    return counted.there, counted.scored, counted.failed, counted.waiting


def test_an_image_that_a_computer_failed_at_is_scored_by_another_try(old):
    assert counts(old) == (3, 2, 1, 0)
    assert old.create_work().planned == 0
    (image,) = (one for one in old.ledger.images.of_plate("P1") if one.failure)
    old.ledger.corrections.add(image.image_id, Outcome.BAD_FORM, "jdoe", score_id=image.score_id)
    assert old.create_work(retry=True).planned == 1
    assert planned(old) == [1]
    assert old.create_work(retry=True).planned == 0, "it is under way"
    assert come_back(old, Outcome.HARVESTABLE).scores == 1
    assert counts(old) == (3, 3, 0, 0)
    assert old.finalize(frames="none").actions["publish"] == 3
    ((_, given),) = old.ledger.corrections.in_force(["P1"])
    assert (given.who, given.outcome, given.score_id) == ("jdoe", Outcome.BAD_FORM, None)
    assert old.create_work(retry=True).planned == 0


def test_it_may_fail_again_and_is_tried_again(old):
    for reason in (FailureReason.CRASHED_WORKER, FailureReason.INTERNAL):
        assert old.create_work(retry=True).planned == 1
        come_back(old, reason)
        assert counts(old) == (3, 2, 1, 0)
    assert old.create_work(retry=True).planned == 1
    come_back(old, FailureReason.TOO_SMALL)
    assert old.create_work(retry=True).planned == 0, "that is the image's own fault"


def test_units_of_old_images_that_failed_are_made_again(system, imaged):  # noqa: F811
    imaged(0, 2)
    system.create_work()
    (name,) = system.grid.waiting()
    imaged(300, 1)
    (system.config.spool / "units" / name / "failed.txt").write_text("3 workers ended without an answer")
    assert system.assimilate().failed_units == 1
    system.create_work()
    come_back(system, Outcome.CLEAR)
    assert system.create_work().planned == 0
    assert list(status(system.config, system.ledger, system.imager).failed_units) == [name]
    assert system.create_work(retry=True, wells_per_unit=1).units == 2
    assert status(system.config, system.ledger, system.imager).failed_units == {}, "its images are in other units now"
    come_back(system, Outcome.CLEAR)
    assert counts(system) == (3, 3, 0, 0)
    assert status(system.config, system.ledger, system.imager).failed_units == {}


def test_a_lost_unit_is_not_made_while_the_share_is_off(system, imaged, caplog):  # noqa: F811
    imaged(0, 2)
    system.create_work()
    (name,) = system.grid.waiting()
    before = (system.config.spool / "units" / name / "unit.zip").read_bytes()
    system.grid.discard(name)
    root = system.config.image_root
    away = root.rename(root.with_name("away"))
    for mount_point in (False, True):
        if mount_point:
            root.mkdir()
        system.create_work()
        assert system.grid.waiting() == []
        assert f"1 units wait to be made again: there is nothing in {root}; is the share mounted?" in caplog.text
    root.rmdir()
    away.rename(root)
    system.create_work()
    assert (system.config.spool / "units" / name / "unit.zip").read_bytes() == before


def test_a_lost_unit_without_images_is_given_up_until_they_are_back(system, imaged):  # noqa: F811
    imaged(0, 2)
    system.create_work()
    (name,) = system.grid.waiting()
    system.grid.discard(name)
    plate = system.config.image_root / "P1"
    draw_well(system.config.image_root / "P2" / "1" / "1.jpg")
    away = plate.rename(plate.with_name("away"))
    system.create_work()
    assert system.grid.waiting() == []
    assert system.ledger.units.named(name).state == "failed"
    assert counts(system)[2] == 2, "each with a reason"
    away.rename(plate)
    assert system.create_work(retry=True).planned == 2
    come_back(system, Outcome.CLEAR, Outcome.CLEAR)
    assert counts(system) == (2, 2, 0, 0)


def test_old_images_that_could_not_be_read_are_tried_again(labs):  # noqa: F811
    image = imager_of(labs)
    paths = [labs.config.image_root / "P1" / str(n.inspection) / n.image_name for n in image(-300, 3, file=False)]
    image(0, 1)
    for path in paths:  # stands for a share that is away in the middle of a run: any error but "no such file"
        path.parent.mkdir(parents=True)
        path.symlink_to(path)
    labs.create_work(), come_back(labs, Outcome.CLEAR)
    failed = labs.create_work(backfill=True).failed
    assert [error.reason for _, error in failed] == [FailureReason.UNREADABLE_FILE] * 3
    assert labs.create_work(backfill=True).planned == 0
    for number, path in enumerate(paths):
        path.unlink()
        draw_well(path, shade=number)
    assert labs.create_work().planned == 3
    come_back(labs, *[Outcome.CLEAR] * 3)
    assert counts(labs) == (4, 4, 0, 0)


def test_a_unit_that_is_assimilated_meanwhile_is_not_lost(system, imaged, monkeypatch):  # noqa: F811
    imaged(0, 2)
    system.create_work()
    known = system.grid.known

    def late(attempts):
        come_back(system, Outcome.CLEAR, Outcome.CLEAR)
        return known(attempts)

    with monkeypatch.context() as patch:
        patch.setattr(system.grid, "known", late)
        system.create_work()
    assert system.grid.waiting() == []
    assert system.ledger.counts()["units"] == {"returned": 1}
