"""``init_data.xml``: what the client says of the job, written anew whenever it starts one (``lib/app_ipc.cpp``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

NAME = "init_data.xml"


@dataclass(frozen=True, slots=True)
class InitData:
    """The part of it that the worker goes by."""

    client: str
    """The client's version, as ``7.20.5``."""
    job: str
    """Name of the result, which is BOINC's word for one host's try at a work unit."""
    client_pid: int | None
    """None: a client that does not say; then its heartbeats tell that it is there."""
    cpu_time: float
    """CPU seconds up to the last checkpoint of earlier runs of this job."""
    mapping: str
    """On Windows, what the shared memory's name is made from."""


def read(slot: Path) -> InitData | None:
    """What the slot's file says; None where there is none, which is where there is no BOINC."""
    try:
        text = (slot / NAME).read_bytes()
    except FileNotFoundError:
        return None

    def value(tag: str) -> str:
        # No XML parser: the client copies texts of users and hosts into the file as they are, and reads it by its tags itself.
        found = re.search(rb"<%b>([^<]*)</%b>" % (tag.encode(), tag.encode()), text)
        return found[1].decode(errors="replace").strip() if found else ""

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
