"""Freed memory is kept for the next image: giving it back and taking it again costs a tenth of a well's time."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of the settings in malloc.h."""

_KEPT = 64 * 1024 * 1024
"""Bytes of freed memory that are kept at most."""

_APART = 32 * 1024 * 1024
"""Bytes above which an array has memory of its own, given back at once: only very large images have such arrays."""


def keep_freed_memory() -> None:
    """Keep this process's freed memory, where the C library is glibc; elsewhere do nothing.

    For programs that only score: it changes a setting of the whole process.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    set_option(_MMAP_THRESHOLD, _APART)
    set_option(_TRIM_THRESHOLD, _KEPT)
