"""A slot folder as a BOINC client makes it, and the client's side of the shared memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from xtalgrid_worker.boinc import init_data
from xtalgrid_worker.boinc.init_data import InitData

INIT_DATA = """<app_init_data>
<major_version>7</major_version>
<minor_version>20</minor_version>
<release>5</release>
<app_version>100</app_version>
<user_name>AT&T's <b>crystals</b></user_name>
<project_dir>/var/lib/boinc-client/projects/lab</project_dir>
<authenticator>secret</authenticator>
<result_name>unit_1_0</result_name>
<shm_key>-1</shm_key>
<client_pid>{pid}</client_pid>
<wu_cpu_time>12.500000</wu_cpu_time>
<host_info>
    <p_ncpus>8</p_ncpus>
</host_info>
</app_init_data>
"""


class ClientSide:
    """The other side of ``boinc_mmap_file``, with the offsets of ``lib/app_ipc.h``."""

    CONTROL, HEARTBEAT, STATUS, TRICKLE_DOWN = 0, 4096, 5120, 7168

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_bytes(bytes(8192))

    def say(self, offset: int, text: str) -> None:
        """Write a message for the job."""
        self._write(offset + 1, text.encode() + b"\0")
        self._write(offset, b"\1")

    def is_taken(self, offset: int) -> bool:
        return self._path.read_bytes()[offset] == 0

    def status(self) -> str | None:
        """Read the job's message."""
        data = self._path.read_bytes()[self.STATUS : self.STATUS + 1024]
        if data[0] == 0:
            return None
        self._write(self.STATUS, b"\0")
        return data[1:].partition(b"\0")[0].decode()

    def _write(self, offset: int, data: bytes) -> None:
        with self._path.open("r+b", buffering=0) as stream:
            stream.seek(offset)
            stream.write(data)


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    """slots/0 of a client's data folder, without a job's files."""
    (tmp_path / "projects" / "lab").mkdir(parents=True)
    folder = tmp_path / "slots" / "0"
    folder.mkdir(parents=True)
    (folder / "init_data.xml").write_text(INIT_DATA.format(pid=os.getpid()))
    return folder


@pytest.fixture
def client_side(slot: Path) -> ClientSide:
    return ClientSide(slot / "boinc_mmap_file")


@pytest.fixture
def init(slot: Path) -> InitData:
    data = init_data.read(slot)
    assert data is not None
    return data


@pytest.fixture
def link(slot: Path) -> Callable[[str, str], Path]:
    """``link("unit.zip", "unit_1.zip")``: a soft link in the slot, and the path it leads to."""

    def make(logical: str, physical: str) -> Path:
        (slot / logical).write_text(f"<soft_link>../../projects/lab/{physical}</soft_link>\n")
        return slot.parents[1] / "projects" / "lab" / physical

    return make
