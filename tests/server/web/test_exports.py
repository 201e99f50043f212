"""The plate page offers every form of `xtalgrid export`, by the same functions."""

from __future__ import annotations

import io
import json
import re
import zipfile
from urllib.parse import unquote

import openpyxl
import pytest

from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.exchange.export import FORMATS, export
from xtalgrid_server.ledger.marks import box_mark
from xtalgrid_server.reports.entries import Filter
from xtalgrid_server.web.pages import downloads
from xtalgrid_server.web.routes import exports
from xtalgrid_server.web.site import attachment

from ..conftest import INSPECTED
from .conftest import PLATE

HERE = [kind for kind in downloads.BY_KIND if kind != "parquet" or "parquet" in str(downloads.menu())]


@pytest.fixture
def plate(score, system):
    """Two drops at two inspections, and a mark of ann's."""
    for inspection in (3, 4):
        score({(1, 1): Outcome.HARVESTABLE, (2, 1): Outcome.CLEAR}, inspection=inspection, combined=True)
    mark = box_mark(1, 2, 30, 40, image_id=1, word="needles", who="ann", at=INSPECTED)
    system.ledger.marks.add([mark])


@pytest.mark.usefixtures("plate")
def test_the_menu_has_every_form(client):
    page = client.get(PLATE).text
    offered = re.findall(r'href="/plate/CI022987/3/export/([\w-]+)" download', page)
    assert set(offered) == set(HERE)
    assert set(downloads.BY_KIND) == {*FORMATS, "xtal"}


@pytest.mark.parametrize(
    ("barcode", "name"),
    [
        ("結晶-01", "結晶-01_3.csv"),
        ("蛋白-01", "蛋白-01_3.csv"),
        ('प्लेट 1/\u202ea"b', "प्लेट_1__a_b_3.csv"),
        ("CI1", "CI1_3.csv"),
    ],
)
def test_files_of_plates_in_any_alphabet_have_names_of_their_own(barcode, name):
    """As browsers read the header: `filename*` before `filename` (RFC 6266)."""
    header = attachment(f"{barcode}_3.csv")["Content-Disposition"]
    plain, _, encoded = re.fullmatch(r'attachment; filename="([\w.-]+)"(; filename\*=UTF-8\'\'(\S+))?', header).groups()
    assert plain.isascii() and unquote(encoded or plain) == name


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize("kind", HERE)
def test_a_form_is_what_export_writes_of_this_inspection(client, system, tmp_path, kind):
    got = client.get(f"{PLATE}/export/{kind}")
    assert got.status_code == 200
    assert int(got.headers["content-length"]) == len(got.content)
    assert f'attachment; filename="CI022987_3_{kind}.' in got.headers["content-disposition"]
    assert str(system.config.home).encode() not in got.content  # nobody is told where images lie
    if kind == "xtal":
        assert b'"num_wells"' in got.content
        assert got.content.count(b'"_bites"') == 2
        return
    if kind == "xlsx":
        book = openpyxl.load_workbook(io.BytesIO(got.content))
        assert book.sheetnames == ["Scores", "CI022987 3", "Legend"]
        return
    out = tmp_path / ("out.zip" if got.headers["content-type"] == "application/zip" else "out")
    export(system.config, system.ledger, kind, out, Filter(barcode="CI022987", inspection=3))
    assert contents(got.content) == contents(out.read_bytes(), str(system.config.image_root) + "/")


def contents(data: bytes, root: str = "") -> object:
    """What is in a file or zip file, without the time at which it was written and the image root."""
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    text = data.decode("utf-8-sig", "replace")
    return re.sub(r'"date_created":"[^"]*"', "", text).replace(root, "") if root or "date_created" in text else text


@pytest.mark.usefixtures("plate")
def test_what_is_not_there_is_not_found(client):
    assert client.get(f"{PLATE}/export/exe").status_code == 404
    assert client.get("/plate/none/3/export/csv").status_code == 404
    assert client.get("/plate/CI022987/9/export/xtal").status_code == 404


@pytest.mark.usefixtures("plate")
def test_two_are_written_at_once_and_the_log_tells(client, config, monkeypatch):
    monkeypatch.setattr(exports, "_PATIENCE_S", 0.01)
    with exports._turn(), exports._turn():
        busy = client.get(f"{PLATE}/export/csv")
    assert (busy.status_code, "Retry-After" in busy.headers) == (503, True)
    assert json.loads(client.get(f"{PLATE}/export/coco").content)["images"]
    *_, line = (config.home / "access.log").read_text().splitlines()
    assert "act=export" in line
    assert 'kind="coco" barcode="CI022987" inspection=3' in line
    assert not [path for path in config.home.iterdir() if path.name.startswith("tmp")]
