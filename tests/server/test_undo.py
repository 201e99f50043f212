"""``set_autoscore --undo RUN`` restores exactly what was there, and what else is written beside the score table."""

import os
from decimal import Decimal
from types import SimpleNamespace

import msgspec
import pytest
import sqlalchemy as sa

from xtalgrid_core.errors import ConfigError, XtalgridError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.imager.crystaltrak.writer import ScoreWriter
from xtalgrid_server.reports.status import status
from xtalgrid_server.steps.publish import Previous

from .test_rules import with_policy

WELLS = {(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.CLEAR}


def published(system):
    run = system.finalize(frames="all").run
    system.publish()
    return run


@pytest.fixture
def tables(system):
    """Everything in the imager database's tables that we may write, but for the ids of rows."""

    tables = system.imager.tables
    with system.imager._engine.begin() as connection:
        tables.autoscores.create(connection, checkfirst=True)

    def read():
        with system.imager._engine.connect() as connection:
            scores = connection.execute(sa.select(tables.scores).order_by(tables.scores.c.inspectid)).all()
            images = connection.execute(sa.select(tables.images).order_by(*tables.images.c)).all()
            auto = connection.execute(sa.select(tables.autoscores).order_by(tables.autoscores.c.inspectid)).all()
        return [tuple(row) for rows in (scores, images, auto) for row in rows]

    return read


@pytest.fixture(params=[False, True], ids=["score table alone", "with images and autoscores"])
def everything(request, system):
    with_policy(system, image_rows=request.param, autoscores=request.param)


def test_undo_restores_exactly_what_was_there(system, score, person, tables, everything):
    first, _ = score(WELLS)
    person(first.inspect_id, "13", first.inspected)
    untouched = tables()
    old = published(system)
    assert (before := tables()) != untouched
    score({(1, 1): Outcome.PRECIPITATE, (2, 1): Outcome.CLEAR}, threshold=0.8)  # another model's opinion
    new = published(system)
    assert tables() != before
    assert system.undo(new, "ann", dry_run=True).restored == 1
    done = system.undo(new, "ann")
    assert (done.restored, done.removed, done.left) == (1, 0, [])
    assert tables() == before
    assert system.undo(old, "ann").removed == 2
    assert tables() == untouched
    assert system.undo(old, "ann").removed == 0, "twice is once"


def test_status_counts_our_rows_of_the_score_table_as_they_are(system, score, score_table):
    """Not how often one was written: a second model's scores and an undo counted twice."""

    def rows():
        counted = status(system.config, system.ledger, system.imager).rows_written
        assert counted == len(score_table())
        return counted

    score(WELLS)
    old = published(system)
    assert rows() == 2
    score({(1, 1): Outcome.PRECIPITATE, (2, 1): Outcome.CLEAR}, threshold=0.8)
    new = published(system)
    assert rows() == 2
    system.undo(new, "ann")
    assert rows() == 2
    system.undo(old, "ann")
    assert rows() == 0


def test_a_row_that_a_later_run_or_a_person_changed_is_left(system, score, tables):
    _, second = score(WELLS)
    old = published(system)
    score({(1, 1): Outcome.PRECIPITATE}, threshold=0.8)
    published(system)
    with system.imager.writing() as writer:
        (own,) = writer.scores_of_drops([second.inspect_id])[second.inspect_id]
        writer.replace(own.score_id, "ARTscore", "36", own.date, own.image_name)
    before = tables()
    left = system.undo(old, "ann").left
    assert tables() == before
    assert "has written there since; undo it first" in left[0]
    assert "changed or deleted by somebody else" in left[1]


def test_what_was_undone_is_published_again_only_when_approved(system, score, tables):
    score(WELLS)
    before = tables()
    run = published(system)
    system.undo(run, "ann")
    csv = system.config.outbox / "done" / f"{run}.csv"
    again = system.publish([csv])
    assert tables() == before
    assert len(again.refused) == 2
    assert f"run {run} was undone" in again.refused[0]
    assert system.finalize(frames="none").run == "", "nothing waits by itself"
    system.ledger.decisions.add_reviews([1], "approve", "ann")
    system.finalize(frames="none")
    assert system.publish().actions == {"insert": 1}


def test_killed_before_the_ledger_knew_an_undo_ends_the_same(system, score, tables, monkeypatch, everything):
    score(WELLS)
    published(system)
    before = tables()
    score({(1, 1): Outcome.PRECIPITATE}, threshold=0.8)
    new = published(system)
    with monkeypatch.context() as patch:
        patch.setattr(system.ledger.publications, "undo", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            system.undo(new, "ann")
    assert tables() == before
    system.undo(new, "ann")
    assert tables() == before
    assert system.ledger.publications.undone_scores(new)


def test_a_transaction_that_is_begun_again_is_counted_once(system, score, monkeypatch):
    score(WELLS)
    run = published(system)
    write = system.imager.write

    def write_again(work):
        with pytest.raises(ZeroDivisionError), system.imager.writing() as writer:
            work(writer)
            raise ZeroDivisionError  # the database went away before the commit
        return write(work)

    monkeypatch.setattr(system.imager, "write", write_again)
    assert system.undo(run, "ann").removed == 2


def test_no_such_run(system):
    with pytest.raises(XtalgridError, match="no run of this name wrote scores"):
        system.undo("20200101T000000Z", "ann")


def test_framed_images_and_machine_scores_are_rows_where_a_lab_wants_them(system, score, tables):
    with_policy(system, image_rows=True, autoscores=True)
    first, second = score({(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.NULL_EXPERIMENT}, p_crystal=0.75)
    published(system)
    assert len(tables()) == 2 + 4 + 2
    tables = system.imager.tables
    with system.imager._engine.connect() as connection:
        names = connection.scalars(sa.select(tables.images.c.imagename).order_by(*tables.images.c)).all()
        auto = connection.execute(sa.select(tables.autoscores).order_by(tables.autoscores.c.inspectid)).all()
    assert names == sorted([first.image_name, first.image_name.replace(".jpg", "_ART.jpg")]) + sorted(
        [second.image_name, second.image_name.replace(".jpg", "_ART.jpg")]
    )
    assert [(row.xtal_rank_score, row.xtal_good_bad_score) for row in auto] == [(0.75, 0), (0.75, 1)]
    assert auto[0].xtal_clear_score == pytest.approx(0.01)
    assert system.create_work().planned == 2, "the framed images are not scored"


def test_framed_images_are_kept_as_long_as_configured(system, score):
    score(WELLS)
    published(system)
    old, young = sorted(system.config.frames_dir.rglob("*_ART.jpg"))
    os.utime(old, (0, 0))
    with_policy(system, frames_days=30.0)
    stamp = system.config.home / "frames-looked-through"
    stamp.touch()
    os.utime(stamp, (2e9, 2e9))  # from before the clock was set back
    system.finalize()
    assert list(system.config.frames_dir.rglob("*_ART.jpg")) == [young]


def test_a_framed_image_that_cannot_be_replaced_or_deleted_stops_no_score(system, score, score_table, caplog):
    """As while somebody looks at it over a Windows share; here a folder stands in its place."""
    score(WELLS)
    published(system)
    one, other = sorted(system.config.frames_dir.rglob("*_ART.jpg"))
    for path, seconds in ((one, 0), (other, 0)):
        path.unlink()
        if path == one:
            path.mkdir()
        else:
            path.write_bytes(b"old")
        os.utime(path, (seconds, seconds))
    with_policy(system, frames_days=30.0)
    score({(1, 1): Outcome.PRECIPITATE, (2, 1): Outcome.PRECIPITATE}, threshold=0.8)
    done = system.finalize(frames="all")
    assert (done.not_framed, sum(done.actions.values())) == (1, 2)
    assert other.read_bytes() != b"old" and other.is_file()
    system.publish()
    assert [code for _, code, _, _ in score_table()] == ["13", "13"]
    assert "stays" in caplog.text and "cannot replace" in caplog.text


def test_a_lab_s_decimals_are_read_back_by_an_undo(system):
    """Columns of machine scores may be NUMERIC, whose numbers drivers give as decimals."""
    row = SimpleNamespace(
        inspectid=1, xtal_rank_score=Decimal("0.25"), xtal_clear_score=None, xtal_good_bad_score=Decimal(0)
    )
    writer = ScoreWriter(system.imager.tables, SimpleNamespace(execute=lambda _: [row]), lambda *_: {})
    before = Previous(autoscore=writer.autoscores([1])[1])
    assert msgspec.json.decode(msgspec.json.encode(before), type=Previous).autoscore == (0.25, None, 0)


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[imager]\nexclude = []\n[publish]\nimage_rows = true", "framed images would be scored again"),
        ("[publish]\nimage_rows = true\nframes_days = 30", "deleted framed images"),
    ],
)
def test_settings_that_would_harm_the_imager_database(toml, says):
    with pytest.raises(ConfigError, match=says):
        from_string(toml)
