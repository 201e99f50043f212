"""The memory that client and job share: eight channels, each for one message in one direction (``lib/app_ipc.h``, ``lib/shmem.cpp``).

A channel has 1,024 bytes. The first is 0 while it is empty and 1 while there is a message that the other side has not taken; the message follows,
text that a NUL ends. There is no lock: only the sender fills a channel, and only the reader empties it.
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
    """The channels that the worker uses, by their position."""

    CONTROL = 0
    """From the client: suspend, resume, quit, abort."""
    HEARTBEAT = 4
    """From the client, each second."""
    STATUS = 5
    """From the job: CPU time, checkpoints, and how much is done."""
    NEWS = 7
    """From the client: of files and messages, none of which concerns the worker (``trickle_down``)."""


class SharedMemory:
    """The channels, open."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    @classmethod
    def attach(cls, slot: Path, init: InitData) -> SharedMemory:
        """The memory the client set up for the job in this slot.

        Raises
        ------
        ConfigError
            When there is none: the client takes the app for one of BOINC 5, which it could neither suspend nor see the progress of.
        """
        try:
            if sys.platform == "win32":
                return cls(_named(init.mapping))
            return cls(_mapped(slot / FILE))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"no memory shared with the BOINC client ({error}); give the app version an <api_version> of 7.5 or more"
            ) from error

    def receive(self, channel: Channel) -> str | None:
        """Take the message out of a channel; None if it is empty."""
        start = channel * _CHANNEL
        if not self._memory[start]:
            return None
        text = self._memory[start + 1 : start + _CHANNEL].partition(b"\0")[0]
        self._memory[start] = 0
        return text.decode(errors="replace")

    def send(self, channel: Channel, text: str) -> bool:
        """Put a message into a channel; False, and nothing done, while the last one is still there."""
        start = channel * _CHANNEL
        if self._memory[start]:
            return False
        message = text.encode() + b"\0"
        if len(message) >= _CHANNEL:
            raise ValueError(f"a message of {len(message)} bytes; a channel takes {_CHANNEL - 1}")
        self._memory[start + 1 : start + 1 + len(message)] = message
        self._memory[start] = 1
        return True


def _mapped(path: Path) -> mmap.mmap:
    """Unix: a file in the slot."""
    with path.open("r+b") as stream:
        return mmap.mmap(stream.fileno(), _SIZE)


if sys.platform == "win32":

    def _named(name: str) -> mmap.mmap:
        """Windows: a mapping with a name, which a client that runs as a service makes for all sessions."""
        import ctypes

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.OpenFileMappingW.argtypes = (ctypes.c_uint32, ctypes.c_int, ctypes.c_wchar_p)
        kernel32.OpenFileMappingW.restype = ctypes.c_void_p
        kernel32.CloseHandle.argtypes = (ctypes.c_void_p,)
        everything = 0xF001F
        for full in (rf"Global\shm_{name}", f"shm_{name}"):
            # mmap would make a mapping of its own where there is none of this name
            handle = kernel32.OpenFileMappingW(everything, False, full)
            if handle:
                try:
                    return mmap.mmap(-1, _SIZE, tagname=full)
                finally:
                    kernel32.CloseHandle(handle)
        raise ctypes.WinError(ctypes.get_last_error())
