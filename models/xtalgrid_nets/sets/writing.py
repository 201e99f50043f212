"""Write a training set well by well; see `sets.format`."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from xtalgrid_core.files import replacing, write_atomically
from xtalgrid_core.outcomes import CLASSES

from ..claim import Claim
from .arrays import GrowingArray, sha256_of
from .format import JOURNAL, KINDS, RECORD, TABLE, SetError, WellRow, held_out, text_lines


class ChopSetWriter:
    """Write a training set well by well; a build that was killed continues with the same arguments.

    Use it as a context manager: if the block ends without an error, the set is finished (`RECORD` and `TABLE` are
    written); otherwise it can be continued.

    Parameters
    ----------
    folder
        Created if missing.
    builder, arguments
        The program that makes the set, and its arguments; both are recorded and must be the same to continue a build.

    Raises
    ------
    SetError
        If the folder holds a finished set, or one begun with other arguments.
    Busy
        If another process is writing a set there.
    """

    def __init__(self, folder: Path, builder: str, arguments: Mapping[str, Any]) -> None:
        self.folder = folder
        self._made_by = {"builder": builder, "arguments": json.loads(json.dumps(arguments, default=str))}
        self._arrays: dict[str, GrowingArray] = {}
        self._rows: list[WellRow] = []
        self._kept: Counter[str] = Counter()
        self._hashes: dict[str, int] = {}
        self._classes: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self.done: set[str] = set()
        """Images already processed, including those of an earlier, interrupted run."""
        self.failed: dict[str, str] = {}
        """Image → the reason why it is not in the set."""
        self.left_out: Counter[str] = Counter()
        """Reason → number of usable items that were left out for it."""
        self._refuse_finished()
        folder.mkdir(parents=True, exist_ok=True)
        self._claim = Claim(folder)
        try:
            self._refuse_finished()  # perhaps by another process a moment ago
            self._resume()
            self._journal = (folder / JOURNAL).open("a", encoding="utf-8")
            if not self._journal.tell():
                self._note(self._made_by)
        except BaseException:
            self._claim.give_up()
            raise

    def add(
        self,
        *,
        plate: str,
        source: str,
        image: str,
        outcome: str,
        sha256: str = "",
        left_out: Mapping[str, int] | None = None,
        counts: Mapping[str, int] | None = None,
        chops: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None = None,
        patches: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None = None,
        views: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None = None,
    ) -> int:
        """Add a well and its pixels; return the number given to it.

        Parameters
        ----------
        plate
            The unit of the split into training and validation.
        image
            Path or name, unique in the set.
        sha256
            Hash of the image's bytes, to recognise a second copy (`twin_of`).
        left_out
            Reason → number of items left out of this well, for the record.
        counts
            Anything else to count, for the record.
        chops, patches, views
            Pixels and labels (for views: masks), ``(n, …)`` each; see the module's docstring.
        """
        kinds = {"chops": chops, "patches": patches, "views": views}
        pairs = {kind: pair for kind, pair in kinds.items() if pair is not None}
        number = len(self._rows)
        for kind, (pixels, labels) in pairs.items():
            self._append(kind, pixels, labels, np.full(len(labels), number, np.int64))
        entry = {
            "well": [plate, source, image, outcome],
            "rows": {kind: len(labels) for kind, (_, labels) in pairs.items()},
            "classes": Counter(str(CLASSES[rank]) for rank in chops[1]) if chops else {},
            "sha256": sha256,
            "left_out": dict(left_out or {}),
            "counts": dict(counts or {}),
        }
        self._note(entry)
        self._remember(entry)
        return number

    def fail(self, image: str, reason: str) -> None:
        """Record that an image could not be used, and why."""
        self._note({"failed": image, "reason": reason})
        self.failed[image] = reason
        self.done.add(image)

    def leave_out(self, image: str, reason: str) -> None:
        """Record that a sound image does not belong in the set (a second copy, no score).

        It counts as left out, not as failed.
        """
        self._note({"left_out_image": image, "reason": reason})
        self.left_out[reason] += 1
        self.done.add(image)

    def twin_of(self, sha256: str) -> WellRow | None:
        """Return the well of this set whose image has these bytes, or None."""
        return self._rows[self._hashes[sha256]] if sha256 in self._hashes else None

    def counts(self) -> dict[str, Any]:
        """Count what is in the set so far, in the form of ``dataset.json``."""
        plates = {row.plate for row in self._rows}
        return {
            "wells": len(self._rows),
            "plates": len(plates),
            "plates_held_out": sum(held_out(plate) for plate in plates),
            **self._kept,
            **self._counts,
            "chops_by_class": {str(outcome): self._classes[str(outcome)] for outcome in CLASSES if self._classes},
            "wells_by_outcome": dict(Counter(row.outcome for row in self._rows).most_common()),
            "wells_by_source": dict(Counter(row.source for row in self._rows).most_common()),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for array in self._arrays.values():
                array.close()
            self._journal.close()
            if kind is None:
                self._finish()
        finally:
            self._claim.give_up()

    def _refuse_finished(self) -> None:
        if (self.folder / RECORD).exists():
            raise SetError(
                f"{self.folder}: already holds a finished training set; give another folder, or remove this one"
            )

    def _resume(self) -> None:
        """Read the journal of an interrupted build; its last line may be half written."""
        path = self.folder / JOURNAL
        if not path.exists():
            leftovers = [
                f"{name}.npy" for kind in KINDS.values() for name in kind if (self.folder / f"{name}.npy").exists()
            ]
            if leftovers:
                raise SetError(f"{self.folder}: contains {leftovers[0]} of another set; give another folder")
            return
        whole = path.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        path.write_bytes(whole)
        lines = [json.loads(line) for line in whole.splitlines()]
        if lines and lines[0] != self._made_by:
            raise SetError(
                f"{self.folder}: was begun by {lines[0]['builder']} with other arguments ({lines[0]['arguments']}); "
                "give the same arguments, or another folder"
            )
        for line in lines[1:]:
            if "failed" in line:
                self.failed[line["failed"]] = line["reason"]
                self.done.add(line["failed"])
            elif "left_out_image" in line:
                self.left_out[line["reason"]] += 1
                self.done.add(line["left_out_image"])
            else:
                self._remember(line)
        for kind, rows in self._kept.items():
            self._open(kind, rows)

    def _open(self, kind: str, keep: int) -> None:
        for name, (shape, dtype) in KINDS[kind].items():
            self._arrays[name] = GrowingArray(self.folder / f"{name}.npy", shape, dtype, keep)

    def _append(self, kind: str, *columns: npt.NDArray[Any]) -> None:
        if next(iter(KINDS[kind])) not in self._arrays:
            self._open(kind, 0)
        for name, values in zip(KINDS[kind], columns, strict=True):
            self._arrays[name].append(values)
            self._arrays[name].flush()  # before the journal mentions them

    def _remember(self, entry: Mapping[str, Any]) -> None:
        row = WellRow(len(self._rows), *entry["well"])
        self._rows.append(row)
        self.done.add(row.image)
        self._kept.update(entry["rows"])
        self._classes.update(entry["classes"])
        self._counts.update(entry["counts"])
        self.left_out.update(entry["left_out"])
        if entry["sha256"]:
            self._hashes.setdefault(entry["sha256"], row.well)

    def _note(self, entry: Mapping[str, Any]) -> None:
        self._journal.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._journal.flush()

    def _finish(self) -> None:
        _write_table(self.folder / TABLE, self._rows)
        record = {
            **self._made_by,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "xtalgrid": metadata.version("xtalgrid"),
            "counts": self.counts(),
            "left_out": dict(self.left_out.most_common()),
            "failed": [{"image": image, "reason": reason} for image, reason in self.failed.items()],
            "arrays": {
                array.path.name: {"shape": [array.rows, *array.shape], "sha256": sha256_of(array.path)}
                for array in self._arrays.values()
            },
        }
        write_atomically(self.folder / RECORD, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
        (self.folder / JOURNAL).unlink()


def _write_table(path: Path, rows: Sequence[WellRow]) -> None:
    with replacing(path) as stream:
        writer = csv.writer(text_lines(stream), lineterminator="\n")
        writer.writerow(WellRow._fields)
        writer.writerows(rows)
