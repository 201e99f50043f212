"""Read training sets; see `sets.format`."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xtalgrid_core.outcomes import Group

from .arrays import Stacked, sha256_of
from .format import JOURNAL, KINDS, RECORD, TABLE, SetError, WellRow, any_of, held_out

TAUGHT = ("patch_hints.npy", "patch_losses.npy")
"""What `sets teach` adds to a set."""


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
        places = [folder.resolve() for folder in self.folders]
        if len(set(places)) < len(places):
            doubled = next(
                folder for folder, place in zip(self.folders, places, strict=True) if places.count(place) > 1
            )
            raise SetError(f"{doubled}: given twice; give each set once")
        self.records = [_read_record(folder) for folder in self.folders]
        for folder, record in zip(self.folders, self.records, strict=True):
            _check_arrays(folder, record)
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
        shape = KINDS[pixels][labels][0]
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


def _check_arrays(folder: Path, record: Mapping[str, Any]) -> None:
    """Check that all arrays of the record are there, as long as it says: a copy may have been cut short."""
    for name, entry in record["arrays"].items():
        path = folder / name
        if name in TAUGHT and not path.exists():  # taken out to be taught anew
            continue
        try:
            rows = len(np.load(path, mmap_mode="r"))
        except (OSError, ValueError, EOFError) as error:
            raise SetError(f"{path}: missing or cut short ({error}); copy the set again, or build it again") from error
        if rows != entry["shape"][0]:
            raise SetError(
                f"{path}: has {rows:,} rows, but {entry['shape'][0]:,} by {RECORD}; "
                "copy the set again, or build it again"
            )


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for entry in record["arrays"].values():
            entry["sha256"], entry["shape"][0]
    except FileNotFoundError as error:
        reason = (
            "the build was interrupted; run it again to finish"
            if (folder / JOURNAL).exists()
            else "no training set here"
        )
        raise SetError(f"{path}: missing; {reason}") from error
    except (ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise SetError(f"{path}: not the record of a training set ({error!r}); build the set again") from error
    return record
