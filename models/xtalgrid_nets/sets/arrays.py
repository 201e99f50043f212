"""Arrays larger than memory: ``.npy`` files that grow, and several such files read as one array."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

Array = npt.NDArray[np.generic]


class GrowingArray:
    """Append rows to a ``.npy`` file, with no more in memory than the rows being added.

    NumPy pads its header so that the first axis can grow in place. `flush` rewrites the header, so a killed process
    leaves at least the rows of the last flush.

    Parameters
    ----------
    path
        The file. If it exists, its first `keep` rows are kept; the rest, which a kill may have left half written, is
        cut off.
    shape
        Shape of one row.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike, keep: int = 0) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self.rows = keep
        self._stream = path.open("r+b" if path.exists() else "w+b")
        self._write_header()
        self._start = self._stream.tell()
        self._stream.truncate(self._start + keep * self._row_bytes)
        self._stream.seek(0, 2)
        if self._stream.tell() != self._start + keep * self._row_bytes:
            raise ValueError(f"{path}: shorter than the {keep} rows it should hold")

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def append(self, rows: Array) -> None:
        """Add rows, ``(n, *shape)``."""
        if rows.shape[1:] != self.shape:
            raise ValueError(f"{self.path.name} takes rows of {self.shape}, not {rows.shape[1:]}")
        self._stream.write(np.ascontiguousarray(rows, dtype=self.dtype).data)
        self.rows += len(rows)

    def flush(self) -> None:
        """Hand everything appended so far to the operating system, header included."""
        self._write_header()
        self._stream.seek(0, 2)
        self._stream.flush()

    def close(self) -> None:
        """Flush and close; closing twice does no harm."""
        if not self._stream.closed:
            self.flush()
            self._stream.close()

    def _write_header(self) -> None:
        self._stream.seek(0)
        header = {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.rows, *self.shape)}
        npy.write_array_header_1_0(self._stream, header)


class Stacked:
    """Several arrays on disk, memory-mapped and joined along the first axis."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._parts = [np.load(file, mmap_mode="r") for file in files]
        self._starts = np.cumsum([0] + [len(part) for part in self._parts])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def take(self, indices: npt.NDArray[np.integer] | Sequence[int]) -> npt.NDArray[np.uint8]:
        """Read the rows at these indices, in this order, into memory."""
        indices = np.asarray(indices, np.intp)
        which = np.searchsorted(self._starts, indices, side="right") - 1
        return np.stack([self._parts[k][i - self._starts[k]] for k, i in zip(which, indices, strict=True)])


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
