"""Images that are known and not to be scored, such as those in UV light: which, and why, as it was last seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from ..domain.image_names import first_whole
from ..domain.light import Light
from . import tables as t
from .database import LedgerDatabase, is_of, now


class PassedOver:
    """The part of the ledger for images that are passed over."""

    def __init__(self, database: LedgerDatabase) -> None:
        self._db = database

    def unknown(self, reasons: Mapping[tuple[int, str], str]) -> dict[tuple[int, str], str]:
        """Return those of some images, by (inspect id, image name), that are not recorded yet, with their reasons."""
        known = self._known(reasons)
        return {key: reason for key, reason in reasons.items() if key not in known}

    def _known(self, reasons: Mapping[tuple[int, str], str]) -> dict[tuple[int, str], str]:
        """Return the recorded reasons of all images of these inspections."""
        table = t.passed_over.c
        rows = sa.select(table.inspect_id, table.image_name, table.reason).where(table.source == self._db.source)
        ids = sorted({inspect_id for inspect_id, _ in reasons})
        return {(row.inspect_id, row.image_name): row.reason for row in self._db.rows_in(rows, table.inspect_id, ids)}

    def add(self, reasons: Mapping[tuple[int, str], str]) -> dict[tuple[int, str], str]:
        """Record images with their reasons; return those that were not recorded yet.

        Another configuration may give another reason, which takes the place of the recorded one.
        """
        known = self._known(reasons)
        new = {key: reason for key, reason in reasons.items() if key not in known}
        other = {key: reason for key, reason in reasons.items() if known.get(key, reason) != reason}
        if other:
            table = t.passed_over.c
            same = table.inspect_id == sa.bindparam("of"), table.image_name == sa.bindparam("named")
            changed = t.passed_over.update().where(table.source == self._db.source, *same)
            with self._db.writing() as connection:
                connection.execute(
                    changed.values(reason=sa.bindparam("because")),
                    [{"of": key[0], "named": key[1], "because": reason} for key, reason in other.items()],
                )
        if new:
            seen = {"source": self._db.source, "seen_at": now()}
            with self._db.writing() as connection:
                connection.execute(
                    t.passed_over.insert(),
                    [
                        {"inspect_id": inspect_id, "image_name": name, "reason": reason, **seen}
                        for (inspect_id, name), reason in new.items()
                    ],
                )
        return new

    def uv_images(self, inspect_ids: Sequence[int]) -> dict[int, str]:
        """Return the names of UV images by inspect id, of several the first by name that is no slice of a composite.

        The configuration as it is now tells the light: it may know more than when the images were passed over.
        """
        table, light = t.passed_over.c, self._db.light
        statement = sa.select(table.inspect_id, table.image_name).where(table.source == self._db.source)
        found: dict[int, list[str]] = {}
        for row in self._db.rows_in(statement, table.inspect_id, inspect_ids):
            if light.of(row.image_name) is Light.UV:
                found.setdefault(row.inspect_id, []).append(row.image_name)
        return {inspect_id: name for inspect_id, names in found.items() if (name := first_whole(names))}

    def counts(self) -> dict[str, int]:
        """Count images by reason, except those that were planned after all, such as under another configuration."""
        table, images = t.passed_over.c, t.images.c
        same = images.source == table.source, images.inspect_id == table.inspect_id
        planned = sa.exists().where(*same, images.image_name == table.image_name)
        chosen = is_of(self._db.source, table.source), ~planned
        statement = sa.select(table.reason, sa.func.count()).where(*chosen).group_by(table.reason)
        return {row[0]: int(row[1]) for row in self._db.rows(statement.order_by(table.reason))}
