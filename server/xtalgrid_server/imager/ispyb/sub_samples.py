"""Write, read and delete sub-samples with their positions: points and regions of an image, for the beamline."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from ...storage.engines import chunks
from . import tables as t

_LONGEST = 1024


class SubSample(msgspec.Struct, frozen=True):
    """A person's point, or region with its upper left and lower right corner, in pixels of an image from its top left.

    Attributes
    ----------
    image
        Its blSampleImageId.
    """

    image: int
    at: tuple[float, float]
    to: tuple[float, float] | None
    comments: str


class Rows(msgspec.Struct, frozen=True):
    """The ids of a sub-sample's rows: its own, and those of its positions."""

    sub_sample: int
    position: int
    position2: int | None


def comment(text: str) -> str:
    """Return a text as the column of comments holds it: one line, at most 1024 characters of Western Europe."""
    line = re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()
    return "".join(map(_western, line))[:_LONGEST]


def _western(character: str) -> str:
    for each in (character, unicodedata.normalize("NFKD", character)):
        if known := each.encode("latin-1", "ignore"):
            return known.decode("latin-1")
    return "?"


def read_sub_samples(
    connection: sa.Connection, ids: Sequence[int], *, lock: bool = False
) -> dict[int, tuple[SubSample | None, bool]]:
    """Return the sub-samples that are there by their ids; with `lock` until the transaction ends.

    Each comes with whether it waits in a queue for the beamline. It is None if somebody made it more than a point or a
    region of a person's, such as by a plan for its diffraction.
    """
    first, second, table = t.positions.alias("first"), t.positions.alias("second"), t.sub_samples.c
    columns = first.c.posX.label("x"), first.c.posY.label("y"), second.c.posX.label("x2"), second.c.posY.label("y2")
    joined = t.sub_samples.outerjoin(first, first.c.positionId == table.positionId)
    joined = joined.outerjoin(second, second.c.positionId == table.position2Id)
    found: dict[int, tuple[SubSample | None, bool]] = {}
    for part in chunks(ids):
        chosen = sa.select(t.sub_samples, *columns).select_from(joined).where(table.blSubSampleId.in_(part))
        waiting = sa.select(t.queued.c.blSubSampleId).where(t.queued.c.blSubSampleId.in_(part))
        rows = connection.execute(chosen.with_for_update() if lock else chosen).all()
        # with the lock of reading, it is of now and not of the beginning of the transaction
        queued = set(connection.scalars(waiting.with_for_update(read=True) if lock else waiting))
        for row in rows:
            to = None if row.position2Id is None else (row.x2, row.y2)
            plain = SubSample(row.blSampleImageId, (row.x, row.y), to, row.comments or "")
            is_plain = row.diffractionPlanId is None and (row.source, row.type) == ("manual", _kind(plain))
            found[row.blSubSampleId] = (plain if is_plain else None, row.blSubSampleId in queued)
    return found


def insert_sub_sample(connection: sa.Connection, new: SubSample) -> Rows:
    """Insert a sub-sample of the image's sample."""
    position = _insert_position(connection, new.at)
    position2 = None if new.to is None else _insert_position(connection, new.to)
    sample = sa.select(t.images.c.blSampleId).where(t.images.c.blSampleImageId == new.image).scalar_subquery()
    values = {
        "blSampleId": sample,
        "blSampleImageId": new.image,
        "positionId": position,
        "position2Id": position2,
        "comments": new.comments,
        "source": "manual",
        "type": _kind(new),
    }
    return Rows(_key_of(connection.execute(t.sub_samples.insert().values(values))), position, position2)


def delete_sub_sample(connection: sa.Connection, rows: Rows) -> None:
    """Delete a sub-sample, and its positions unless others have them: ISPyB deletes those with a position."""
    table = t.sub_samples.c
    connection.execute(t.sub_samples.delete().where(table.blSubSampleId == rows.sub_sample))
    ours = [each for each in (rows.position, rows.position2) if each is not None]
    used = sa.select(table.positionId, table.position2Id).where(
        table.positionId.in_(ours) | table.position2Id.in_(ours)
    )
    others = {each for row in connection.execute(used) for each in row}
    free = [each for each in ours if each not in others]
    connection.execute(t.positions.delete().where(t.positions.c.positionId.in_(free)))


def _insert_position(connection: sa.Connection, at: tuple[float, float]) -> int:
    return _key_of(connection.execute(t.positions.insert().values(posX=at[0], posY=at[1])))


def _key_of(done: sa.CursorResult[tuple[()]]) -> int:
    key = done.inserted_primary_key
    assert key is not None  # as the column counts by itself
    return int(key[0])


def _kind(one: SubSample) -> str:
    return "poi" if one.to is None else "roi"
