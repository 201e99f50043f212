"""A training set on disk: a folder of arrays, which may be larger than memory, and the well behind each row.

==================  ===================================================================================================
``chops.npy``       (N, 256, 256, 3) uint8 RGB, levelled, at the reference scale: what the classifier sees
``labels.npy``      (N,) uint8, rank in `xtalgrid_core.outcomes.CLASSES`
``wells.npy``       (N,) int64, row of ``wells.csv``
``patches.npy``     (M, 448, 448, 3) uint8, optional: chops with context, for dense training
``patch_labels.npy`` (M, 5, 5) uint8: labels of the 256×256 windows at rows and columns `PATCH_STARTS`; `NO_LABEL`
                    where the content is ambiguous
``patch_wells.npy`` (M,) int64
``patch_hints.npy`` (M, 1056) float16, optional: what MARCO's network sees in each patch (`teach`)
``patch_losses.npy`` (M,) float32, with them: how far given weights are wrong about it
``views.npy``       (V, 256, 256, 3) uint8, optional: whole wells as the segmenter sees them
``masks.npy``       (V, 256, 256) uint8, 0 outside the drop, 255 inside
``view_wells.npy``  (V,) int64
``wells.csv``       well (row number), plate, source, image, outcome
``dataset.json``    how the set was made: builder, arguments, counts, what failed and why, SHA-256 of each array
==================  ===================================================================================================

Chops of one plate look alike, so validation holds out whole plates (`held_out`), never single chops or wells.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from xtalgrid_core.chops import CHOP
from xtalgrid_core.errors import XtalgridError
from xtalgrid_core.files import replacing, write_atomically
from xtalgrid_core.images import SEGMENTER_SIDE
from xtalgrid_core.outcomes import CLASSES, Group

from .arrays import GrowingArray, Stacked, sha256_of

PATCH = 448
"""Side of a patch: a chop with context on all sides."""

PATCH_STARTS = (0, 48, 96, 144, 192)
"""First rows and columns of a patch's labelled windows."""

NO_LABEL = 255
"""In ``patch_labels.npy``: the content of this window is ambiguous."""

RENDERED = "rendered"
"""The ``source`` of a rendered well."""

RECORD = "dataset.json"
TABLE = "wells.csv"
JOURNAL = "building.jsonl"

# Name → (shape of a row, type). Of each of the three kinds of rows, either all arrays exist or none.
_KINDS: dict[str, dict[str, tuple[tuple[int, ...], type]]] = {
    "chops": {"chops": ((CHOP, CHOP, 3), np.uint8), "labels": ((), np.uint8), "wells": ((), np.int64)},
    "patches": {
        "patches": ((PATCH, PATCH, 3), np.uint8),
        "patch_labels": ((len(PATCH_STARTS),) * 2, np.uint8),
        "patch_wells": ((), np.int64),
    },
    "views": {
        "views": ((SEGMENTER_SIDE, SEGMENTER_SIDE, 3), np.uint8),
        "masks": ((SEGMENTER_SIDE, SEGMENTER_SIDE), np.uint8),
        "view_wells": ((), np.int64),
    },
}


class SetError(XtalgridError):
    """A training set can't be read or made; the message says what to do."""


def held_out(plate: str) -> bool:
    """Tell whether a plate is for validation only.

    Every tenth plate is, by the SHA-256 of its name, so that the choice is the same in every set.
    """
    return int(hashlib.sha256(plate.encode()).hexdigest(), 16) % 10 == 9


def any_of(group: Group) -> str:
    """Return the ``outcome`` in ``wells.csv`` of a well of which only the group is known: ``any crystal``."""
    return f"any {group}"


class WellRow(NamedTuple):
    """A row of ``wells.csv``: `outcome` as scored (a class, `any_of` a group, or empty), `source` the well's origin."""

    well: int
    plate: str
    source: str
    image: str
    outcome: str


class ChopSet:
    """One or more training sets read as one: small arrays in memory, pixels on disk until taken.

    Attributes
    ----------
    table
        The `WellRow` of every well of all sets; `wells`, `patch_wells` and `view_wells` are indices into it.
    labels, wells
        ``(N,)``, one for each chop.
    patch_labels, patch_wells
        ``(M, 5, 5)`` and ``(M,)``; M is 0 if no set has patches. `view_wells`, ``(V,)``, likewise.
    is_taught
        Whether all patches have hints (`take_hints`) and `patch_losses`, ``(M,)``.
    well_held_out
        ``(len(table),)`` bool: the well's plate is for validation only.

    Raises
    ------
    SetError
        If a folder holds no finished set, or its arrays don't fit together.
    """

    labels: npt.NDArray[np.uint8]
    wells: npt.NDArray[np.int64]
    patch_labels: npt.NDArray[np.uint8]
    patch_wells: npt.NDArray[np.int64]
    view_wells: npt.NDArray[np.int64]
    patch_losses: npt.NDArray[np.float32]

    def __init__(self, folders: Sequence[Path] | Path) -> None:
        self.folders = [folders] if isinstance(folders, Path) else list(folders)
        self.records = [_read_record(folder) for folder in self.folders]
        self.table: list[WellRow] = []
        self._starts: list[int] = []
        for folder in self.folders:
            self._starts.append(len(self.table))
            self.table += _read_table(folder)
        self.well_held_out = np.array([held_out(row.plate) for row in self.table], bool)
        self._chops, self.labels, self.wells = self._kind("chops", "labels", "wells")
        groups = {any_of(group) for group in Group}
        self._group_only = np.array([row.outcome in groups for row in self.table], bool)
        self._patches, self.patch_labels, self.patch_wells = self._kind("patches", "patch_labels", "patch_wells")
        self._views, _, self.view_wells = self._kind("views", "masks", "view_wells", in_memory=False)
        self._masks = Stacked(self._files("masks"))
        self._hints = Stacked(self._files("patch_hints"))
        losses = [np.load(path) for path in self._files("patch_losses")]
        self.patch_losses = np.concatenate([np.empty(0, np.float32), *losses])
        self.is_taught = len(self._hints) == len(self.patch_losses) == len(self.patch_wells)

    def split(self, wells: npt.NDArray[np.int64] | None = None) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the indices to train on and those held out, of the chops (or of `patch_wells`, `view_wells`)."""
        held = self.well_held_out[self.wells if wells is None else wells]
        return np.flatnonzero(~held), np.flatnonzero(held)

    def group_only(self, wells: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Tell for which of these wells only the group is known; their chops' labels are right as groups only."""
        known: npt.NDArray[np.bool_] = self._group_only[wells]
        return known

    def take(self, indices: npt.NDArray[np.integer] | Sequence[int]) -> npt.NDArray[np.uint8]:
        """Read the chops at these indices, in this order: ``(n, 256, 256, 3)``."""
        return self._chops.take(indices)

    def take_patches(self, indices: npt.NDArray[np.integer] | Sequence[int]) -> npt.NDArray[np.uint8]:
        """Read patches: ``(n, 448, 448, 3)``."""
        return self._patches.take(indices)

    def take_hints(self, indices: npt.NDArray[np.integer] | Sequence[int]) -> npt.NDArray[np.float32]:
        """Read the teacher's features of patches: ``(n, 1056)``."""
        return self._hints.take(indices).astype(np.float32)

    def take_views(
        self, indices: npt.NDArray[np.integer] | Sequence[int]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Read segmenter views, ``(n, 256, 256, 3)``, and their masks, ``(n, 256, 256)``, 0..255."""
        return self._views.take(indices), self._masks.take(indices)

    def hashes(self) -> dict[str, dict[str, str]]:
        """Return the recorded SHA-256 of each array of each folder, for the record of a training run."""
        return {
            str(folder): {name: entry["sha256"] for name, entry in record["arrays"].items()}
            for folder, record in zip(self.folders, self.records, strict=True)
        }

    def verify(self) -> None:
        """Read every array and compare its SHA-256 with the record.

        Raises
        ------
        SetError
            Names the first file that differs.
        """
        for folder, arrays in self.hashes().items():
            for name, expected in arrays.items():
                if sha256_of(Path(folder) / name) != expected:
                    raise SetError(
                        f"{Path(folder) / name}: does not match its SHA-256 in {RECORD}; build the set again"
                    )

    def _files(self, name: str) -> list[Path]:
        return [folder / f"{name}.npy" for folder in self.folders if (folder / f"{name}.npy").is_file()]

    def _kind(
        self, pixels: str, labels: str, wells: str, *, in_memory: bool = True
    ) -> tuple[Stacked, npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        shape = _KINDS[pixels][labels][0]
        first, last = [np.empty((0, *shape), np.uint8)], [np.empty(0, np.int64)]
        for folder, start in zip(self.folders, self._starts, strict=True):
            files = [name for name in (pixels, labels, wells) if (folder / f"{name}.npy").is_file()]
            if not files:
                continue
            if len(files) < 3:
                raise SetError(
                    f"{folder}: has {files[0]}.npy but not all of {pixels}, {labels}, {wells}; build the set again"
                )
            arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in files]
            if len({len(array) for array in arrays}) > 1:
                raise SetError(f"{folder}: {', '.join(files)} differ in length; build the set again")
            if in_memory:
                first.append(np.array(arrays[1]))
            last.append(np.array(arrays[2]) + start)
        of_wells = np.concatenate(last)
        if len(of_wells) and not 0 <= of_wells.min() <= of_wells.max() < len(self.table):
            raise SetError(
                f"{', '.join(map(str, self.folders))}: {wells}.npy refers to rows that {TABLE} lacks; build it again"
            )
        return Stacked(self._files(pixels)), np.concatenate(first), of_wells


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
        if (folder / RECORD).exists():
            raise SetError(f"{folder}: already holds a finished training set; give another folder, or remove this one")
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        self._journal = (folder / JOURNAL).open("a", encoding="utf-8")
        if not self._journal.tell():
            self._note(self._made_by)

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
        for array in self._arrays.values():
            array.close()
        self._journal.close()
        if kind is None:
            self._finish()

    def _resume(self) -> None:
        """Read the journal of an interrupted build; its last line may be half written."""
        path = self.folder / JOURNAL
        if not path.exists():
            leftovers = [
                f"{name}.npy" for kind in _KINDS.values() for name in kind if (self.folder / f"{name}.npy").exists()
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
        for name, (shape, dtype) in _KINDS[kind].items():
            self._arrays[name] = GrowingArray(self.folder / f"{name}.npy", shape, dtype, keep)

    def _append(self, kind: str, *columns: npt.NDArray[Any]) -> None:
        if next(iter(_KINDS[kind])) not in self._arrays:
            self._open(kind, 0)
        for name, values in zip(_KINDS[kind], columns, strict=True):
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


class _Lines:
    """A text file for `csv`, on top of a binary stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(text.encode())
        return len(text)


def text_lines(stream: IO[bytes]) -> _Lines:
    """Wrap a stream of bytes so that `csv.writer` can write to it."""
    return _Lines(stream)


def _read_table(folder: Path) -> list[WellRow]:
    path = folder / TABLE
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = [
                WellRow(int(row["well"]), row["plate"], row["source"], row["image"], row["outcome"])
                for row in csv.DictReader(stream)
            ]
    except FileNotFoundError as error:
        raise SetError(f"{path}: missing; the set is not finished; build it again") from error
    except (KeyError, TypeError, ValueError) as error:
        raise SetError(f"{path}: needs the columns {', '.join(WellRow._fields)} ({error!r}); build it again") from error
    if [row.well for row in rows] != list(range(len(rows))):
        raise SetError(f"{path}: the column well must count up from 0; build the set again")
    return rows


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        record["arrays"].items()
    except FileNotFoundError as error:
        reason = (
            "the build was interrupted; run it again to finish"
            if (folder / JOURNAL).exists()
            else "no training set here"
        )
        raise SetError(f"{path}: missing; {reason}") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise SetError(f"{path}: not the record of a training set ({error!r}); build the set again") from error
    return record
