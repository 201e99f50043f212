"""``init_data.xml``: a job's parameters, written by the client at each start of the job (``lib/app_ipc.cpp``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

NAME = "init_data.xml"


@dataclass(frozen=True, slots=True)
class InitData:
    """The parameters that the worker uses."""

    client: str
    """The client's version, such as ``7.20.5``."""
    job: str
    """Name of the BOINC result: one host's instance of a work unit."""
    client_pid: int | None
    """Process id of the client; None if it is an old one, which sends heartbeats instead."""
    cpu_time: float
    """CPU seconds of earlier runs of this job, up to the last checkpoint."""
    mapping: str
    """On Windows, part of the name of the shared memory."""


def read(slot: Path) -> InitData | None:
    """Read the file in a slot; None if it doesn't exist, which means there is no BOINC client."""
    try:
        text = (slot / NAME).read_bytes()
    except FileNotFoundError:
        return None

    def value(tag: str) -> str:
        # An XML parser would fail, because the client copies names of users and hosts into the file without escaping.
        match = re.search(rb"<%b>([^<]*)</%b>" % (tag.encode(), tag.encode()), text)
        return match[1].decode(errors="replace").strip() if match else ""

    return InitData(
        client=".".join(value(tag) for tag in ("major_version", "minor_version", "release")),
        job=value("result_name"),
        client_pid=int(_number(value("client_pid"))) or None,
        cpu_time=_number(value("wu_cpu_time")),
        mapping=value("comm_obj_name"),
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
