"""A plate's inspection as a file in every form that ``xtalgrid export`` writes."""

from __future__ import annotations

import codecs
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import IO, cast

from fastapi import APIRouter, HTTPException
from fastapi.responses import StreamingResponse

from xtalgrid_core.errors import Busy, ConfigError

from ...exchange.export import Format, write
from ...exchange.polo import write_runs
from ...reports.entries import Filter
from ..addresses import INSPECTION
from ..pages.downloads import BY_KIND, CSV, Download
from ..site import AllowedRequest, attachment
from .plate import read_plate

router = APIRouter()


_turns = BoundedSemaphore(2)
_PATIENCE_S = 10
_BLOCK = 256 * 1024


@router.get(f"/plate/{INSPECTION}/export/{{kind}}")
def export(request: AllowedRequest, barcode: str, inspection: int, kind: str) -> StreamingResponse:
    """Send a plate's inspection in a form of ``xtalgrid export``; it is written to a file without a name first."""
    chosen = BY_KIND.get(kind)
    if chosen is None:
        raise HTTPException(404, f"There is no such form; there are {', '.join(BY_KIND)}.")
    read_plate(request, barcode, inspection)  # 404 if there is none
    stream = tempfile.TemporaryFile(dir=request.site.config.home)  # noqa: SIM115  it is sent after this returns
    try:
        with _turn():
            ending = _write(request, Filter(barcode=barcode, inspection=inspection), chosen, stream)
    except ConfigError as error:
        stream.close()
        raise HTTPException(404, f"{error}.") from error
    except BaseException:
        stream.close()
        raise
    request.log("export", kind=kind, barcode=barcode, inspection=inspection)
    name = f"{barcode}_{inspection}_{kind}.{ending}"
    headers = {"Content-Length": str(stream.tell()), **attachment(name)}
    stream.seek(0)
    return StreamingResponse(_blocks(stream), media_type=chosen.type, headers=headers)


def _write(request: AllowedRequest, filter_: Filter, chosen: Download, stream: IO[bytes]) -> str:
    """Write the file; return its ending."""
    site = request.site
    if chosen.kind == "xtal":
        _, is_zip = write_runs(site.config, site.imager, site.ledger, stream, filter_)
        return "zip" if is_zip else chosen.ending
    if chosen.type == CSV and chosen.kind != "texrank":
        stream.write(codecs.BOM_UTF8)  # so that Excel reads it
    write(site.config, site.ledger, cast(Format, chosen.kind), stream, filter_)
    return chosen.ending


@contextmanager
def _turn() -> Iterator[None]:
    """Let two be written at once, however many are asked for."""
    if not _turns.acquire(timeout=_PATIENCE_S):
        raise Busy("Other downloads are being made; try again in a moment.")
    try:
        yield
    finally:
        _turns.release()


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    with stream:
        while block := stream.read(_BLOCK):
            yield block
