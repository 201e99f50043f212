"""Shared memory of client and job: eight channels of one message each (``lib/app_ipc.h``, ``lib/shmem.cpp``).

A channel has 1,024 bytes. The first is 0 if the channel is empty, and 1 if it holds a message that has not been read;
the message follows as NUL-terminated text. There is no lock: only the sender fills a channel, and only the reader
empties it.
"""

from __future__ import annotations

import mmap
import sys
from enum import IntEnum
from pathlib import Path

from xtalgrid_core.errors import ConfigError

from .init_data import InitData

FILE = "boinc_mmap_file"
_CHANNEL = 1024
_SIZE = 8 * _CHANNEL


class Channel(IntEnum):
    """The channels used by the worker, by their position."""

    CONTROL = 0
    """From the client: suspend, resume, quit, abort."""
    HEARTBEAT = 4
    """From the client, every second."""
    STATUS = 5
    """From the job: CPU time, checkpoint CPU time and finished fraction."""
    TRICKLE_DOWN = 7
    """From the client: about files and trickle messages, which the worker ignores."""


class SharedMemory:
    """The channels of one job."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    @classmethod
    def attach(cls, slot: Path, init: InitData) -> SharedMemory:
        """Open the shared memory that the client has created for the job in this slot.

        Raises
        ------
        ConfigError
            If there is none, because the app version declares an API version below 6.
        """
        try:
            if sys.platform == "win32":
                return cls(_named(init.mapping))
            return cls(_mapped(slot / FILE))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no shared memory from the BOINC client ({error}); set <api_version> of the app version to 7.5 or more"
            ) from error

    def receive(self, channel: Channel) -> str | None:
        """Read a channel's message and empty the channel; None if it is empty."""
        start = channel * _CHANNEL
        if not self._memory[start]:
            return None
        text = self._memory[start + 1 : start + _CHANNEL].partition(b"\0")[0]
        self._memory[start] = 0
        return text.decode(errors="replace")

    def send(self, channel: Channel, text: str) -> bool:
        """Write a message to a channel; do nothing and return False if the previous one has not been read."""
        start = channel * _CHANNEL
        if self._memory[start]:
            return False
        message = text.encode() + b"\0"
        if len(message) >= _CHANNEL:
            raise ValueError(f"a message of {len(message)} bytes; a channel holds {_CHANNEL - 1}")
        self._memory[start + 1 : start + 1 + len(message)] = message
        self._memory[start] = 1
        return True


def _mapped(path: Path) -> mmap.mmap:
    """Map the file in the slot (Unix)."""
    with path.open("r+b") as stream:
        return mmap.mmap(stream.fileno(), _SIZE)


if sys.platform == "win32":

    def _named(name: str) -> mmap.mmap:
        """Open the named mapping (Windows); a client that runs as a service creates it for all sessions."""
        import ctypes

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.OpenFileMappingW.argtypes = (ctypes.c_uint32, ctypes.c_int, ctypes.c_wchar_p)
        kernel32.OpenFileMappingW.restype = ctypes.c_void_p
        kernel32.CloseHandle.argtypes = (ctypes.c_void_p,)
        everything = 0xF001F
        for full in (rf"Global\shm_{name}", f"shm_{name}"):
            # check first, because mmap would create a missing mapping
            handle = kernel32.OpenFileMappingW(everything, False, full)
            if handle:
                try:
                    return mmap.mmap(-1, _SIZE, tagname=full)
                finally:
                    kernel32.CloseHandle(handle)
        raise ctypes.WinError(ctypes.get_last_error())
