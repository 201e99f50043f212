"""Reports of plates and projects, as PDF and HTML, by the command and from the viewer."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import reportlab
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reportlab.pdfbase import pdfmetrics

from tests.conftest import missing
from tests.system.viewer import fill_plate
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.ledger.contents import Contents
from xtalgrid_server.web.report.content import pictures, report_of_plate
from xtalgrid_server.web.report.pdf import pdf
from xtalgrid_server.web.report.text import FONTS, Text

HOSTILE = "</font><script>alert(7)</script><b>&amp;<img src=/etc/passwd><para/>\x1b[2J\x00\u202e]]>{{7*7}}%s"
PATH = "/plate/CI022987/3"


def run(config, *words, code=0):
    done = CliRunner().invoke(main, ["--home", str(config.home), "report", *words])
    assert done.exit_code == code, done.output
    return done.output


def pages(data: bytes) -> int:
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF")
    return len(re.findall(rb"/Type /Page\b", data))


def said(data: bytes, tmp_path: Path) -> str:
    """The text of a PDF file, as another program reads it."""
    if not shutil.which("pdftotext"):
        missing("pdftotext is not installed (Debian's package poppler-utils)")
    (tmp_path / "said.pdf").write_bytes(data)
    done = subprocess.run(["pdftotext", "-layout", str(tmp_path / "said.pdf"), "-"], check=True, capture_output=True)
    return done.stdout.decode()


@pytest.fixture
def plate(system):
    """A plate of four drops: two that the ARTscore calls crystals, one of which ann calls clear, and one that ben calls a crystal."""
    outcomes = [Outcome.HARVESTABLE, Outcome.BAD_FORM, Outcome.CLEAR, Outcome.PRECIPITATE]
    fill_plate(system, "CI022987", outcomes, [0.91, 0.62, 0.02, 0.01], inspection=3, across=2)
    system.ledger.corrections.add(2, Outcome.CLEAR, "ann")
    system.ledger.corrections.add(3, Outcome.OVERNUCLEATED, "ben")
    system.ledger.contents.record(
        [
            Contents("CI022987", Well(0, 0, 0), "Kinase", "lysozyme", ""),
            Contents("CI022987", Well(1, 1, 0), "", "", "20 % PEG 3350, pH 7.4"),
        ]
    )


def test_a_plate_as_pdf_says_what_is_on_it_and_who_said_so(config, plate, tmp_path):
    out = tmp_path / "out.pdf"
    assert "1 plate, 4 pictures" in run(config, "CI022987", "--out", str(out))
    data = out.read_bytes()
    assert pages(data) >= 2 and data.count(b"/Subtype /Image") == 4
    text = said(data, tmp_path)
    for line in (
        r"Sample +lysozyme",
        r"Crystals +1 +1 +2",  # said by ben, by the ARTscore alone, together
        r"Clear +1 +0 +1",
        r"Precipitate +0 +1 +1",
        r"A1a +crystals harvestable \(ARTscore\) +91 % +lysozyme +20 % PEG 3350, pH 7\.4",
        r"B1a +crystals overnucleated \(ben\) +2 ?%",
        r"segmenter [0-9a-f]{64}",
        r"page 1 of \d",
        r"ann: clear, \d{4}",
    ):
        assert re.search(line, text), (line, text)


def test_a_plate_as_one_html_file(config, plate, tmp_path):
    out = tmp_path / "out.html"
    run(config, "CI022987", "--out", str(out), "--most", "2")
    page = out.read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2
    assert not re.search(r'(?:src|href)="(?!data:image/jpeg|#)', page)  # it needs nothing from elsewhere
    assert "crystals overnucleated (ben)" in page and "20 % PEG 3350, pH 7.4" in page


def test_the_pictures_are_framed_and_small(config, plate, system):
    report = report_of_plate(system.ledger, "CI022987")
    made = pictures(config, system.ledger, report)
    with Image.open(io.BytesIO(made[1])) as image:
        assert image.format == "JPEG" and max(image.size) <= 720
        red, green, blue = image.convert("RGB").getpixel((2, image.height // 2))
    assert red > 150 > green and blue < 150  # the frame of a crystal


def test_an_original_that_is_gone_is_said(config, plate, tmp_path):
    for path in config.image_root.rglob("*.jpg"):
        path.unlink()
    output = run(config, "CI022987", "--out", str(tmp_path / "out.pdf"))
    assert "4 pictures could not be made" in output
    assert "No picture: missing" in said((tmp_path / "out.pdf").read_bytes(), tmp_path)


def test_a_project_is_its_plates_newest_first(config, system, tmp_path):
    for number, barcode in enumerate(("OLD", "NEW", "OTHER")):
        at = datetime(2024, 1, 1) + timedelta(days=number)
        fill_plate(system, barcode, [Outcome.HARVESTABLE], [0.9], at=at)
    fill_plate(system, "NEW", [Outcome.CLEAR], [0.1], inspection=2, at=datetime(2024, 2, 1))
    places = [(barcode, "Kinase" if barcode != "OTHER" else "Phosphatase") for barcode in ("OLD", "NEW", "OTHER")]
    system.ledger.contents.record([Contents(b, Well(0, 0, 0), p, "s", "") for b, p in places])
    out = tmp_path / "out.html"
    assert "2 plates, 2 pictures" in run(config, "--project", "kinase", "--out", str(out))
    page = out.read_text(encoding="utf-8")
    assert page.index("NEW") < page.index("OLD") and "OTHER" not in page
    assert "2, 2024-02-01" in page
    pdf_file = tmp_path / "out.pdf"
    run(config, "--project", "kinase", "--out", str(pdf_file))
    assert pages(pdf_file.read_bytes()) >= 3


def test_a_plate_in_uv_light_alone_stops_no_report_of_its_project(config, system, score, tmp_path):
    score({(1, 1): Outcome.HARVESTABLE}, image="UV")
    fill_plate(system, "SEEN", [Outcome.HARVESTABLE], [0.9])
    for barcode, project in (("CI022987", "Kinase, UV"), ("SEEN", "Kinase")):
        system.ledger.contents.record([Contents(barcode, Well(0, 0, 0), project, "s", "")])
    out = tmp_path / "out.html"
    assert "1 plate, 1 picture; CI022987: no image in visible light." in run(
        config, "--project", "Kin", "--out", str(out)
    )
    assert "CI022987: no image in visible light." in out.read_text(encoding="utf-8")
    assert "has an image in visible light" in run(config, "--project", "UV", "--out", str(out), code=2)


def test_days_count_from_the_earliest_inspection_whatever_its_number(system):
    """As where an imager began to number anew."""
    for number, day in ((7, 1), (1, 5), (2, 9)):
        fill_plate(system, "P", [Outcome.CLEAR], [0.1], inspection=number, at=datetime(2024, 1, day))
    assert report_of_plate(system.ledger, "P", 2).plates[0].days == 8
    assert report_of_plate(system.ledger, "P", 7).plates[0].days == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("NONE", "--out", "x.pdf"), "there is no plate NONE"),
        (("CI022987", "--inspection", "9", "--out", "x.pdf"), "no inspection 9; choose from: 3"),
        (("--project", "none", "--out", "x.pdf"), "no plate with images has the project"),
        (("--project", " ", "--out", "x.pdf"), "no plate with images has the project"),
        (("--out", "x.pdf"), "either a plate or --project"),
        (("CI022987", "--project", "Kinase", "--out", "x.pdf"), "either a plate or --project"),
        (("CI022987", "--out", "x.docx"), "ends with .pdf or .html"),
        (("CI022987", "--out", "none/x.pdf"), "none"),
    ],
)
def test_what_cannot_be_reported_is_said(config, plate, tmp_path, monkeypatch, words, text):
    monkeypatch.chdir(tmp_path)
    assert text in run(config, *words, code=2)
    assert not list(tmp_path.glob("*.pdf"))


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_hostile_names_are_text(config, system, tmp_path, kind):
    fill_plate(system, "<b>P&1", [Outcome.HARVESTABLE], [0.9])
    system.ledger.corrections.add(1, Outcome.BAD_FORM, "<i>eve</i>" + "x" * 80)
    system.ledger.contents.record(
        [Contents("<b>P&1", Well(0, 0, 0), HOSTILE, HOSTILE + "\u0e01" * 50, (HOSTILE + "結晶" * 400)[:1000])]
    )
    out = tmp_path / f"out.{kind}"
    run(config, "<b>P&1", "--out", str(out))
    if kind == "html":
        page = out.read_text(encoding="utf-8")
        assert "<script" not in page and "<i>eve" not in page and "<img src=/etc" not in page
        assert "\x1b" not in page and "\u202e" not in page and "&lt;script&gt;alert(7)" in page and "{{7*7}}" in page
    else:
        text = said(out.read_bytes(), tmp_path)
        assert "<script>alert(7)</script><b>&amp;" in text.replace("\n", "") and "<i>eve</i>" in text
        assert "root:" not in text


def test_letters_that_no_font_has_are_numbers_and_said(config, plate, system, tmp_path):
    """Without the system's fonts; ReportLab's own has Latin letters only."""
    system.ledger.contents.record([Contents("CI022987", Well(0, 0, 0), "Kinase", "結晶 β µ é", "")])
    report = report_of_plate(system.ledger, "CI022987", most=1)
    text = said(pdf(report, {}, Text(tmp_path / "no fonts")), tmp_path)
    assert "[U+7D50][U+6676]" in text and "é" in text
    assert re.search(r"3 letters that no font here has are written as their numbers: .*U\+6676", text)
    assert "or install fonts-dejavu-core, fonts-droid-fallback, fonts-nanum." in " ".join(text.split())


def test_the_command_warns_of_what_a_pdf_cannot_show(config, plate, system, tmp_path, monkeypatch):
    monkeypatch.setattr(Text.__init__, "__defaults__", (tmp_path / "no fonts",))
    system.ledger.contents.record([Contents("CI022987", Well(0, 0, 0), "Kinase", "한글 עברית", "")])
    output = run(config, "CI022987", "--out", str(tmp_path / "out.pdf"))
    assert f"{tmp_path}/out.pdf: 7 letters that no font here has are written as their numbers: U+05D1" in output
    assert f"{tmp_path}/out.pdf: Text that runs from right to left is not turned around." in output
    assert "letters" not in run(config, "CI022987", "--out", str(tmp_path / "out.html"))


def test_what_only_the_second_font_has_is_shown_at_the_foot_and_in_the_title_too(config, system, tmp_path, monkeypatch):
    """As a Chinese barcode is: DejaVu has no Chinese, Droid has. Here a font without Greek is the first."""
    monkeypatch.setattr(pdfmetrics, "_fonts", dict(pdfmetrics._fonts))  # where fonts are registered, by their names
    data = Path(pytest.importorskip("matplotlib").get_data_path(), "fonts/ttf")
    first, second = ([tmp_path / name for name in FONTS[package]] for package in list(FONTS)[:2])
    for kind, (at, other) in enumerate(zip(first, second, strict=True)):
        at.parent.mkdir(exist_ok=True), other.parent.mkdir(exist_ok=True)
        shutil.copyfile(Path(reportlab.__file__).parent / "fonts" / ("Vera.ttf", "VeraBd.ttf")[kind], at)
        shutil.copyfile(data / "DejaVuSans.ttf", other)
    fill_plate(system, "Πλάτος 7", [Outcome.HARVESTABLE], [0.9])
    text = Text(tmp_path)
    made = pdf(report_of_plate(system.ledger, "Πλάτος 7"), {}, text)
    lines = said(made, tmp_path).splitlines()
    assert [line.strip().split(",")[0] for line in lines if line.strip().startswith("Πλάτος 7")] == ["Πλάτος 7"] * 2
    assert (text.faults, "U+" in " ".join(lines)) == ([], False)
    assert rb"/Title (\376\377\003\240\003\273" in made, "UTF-16 of the plate's name"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=600))
def test_any_text_becomes_markup_that_reportlab_reads(text):
    from reportlab.platypus import Paragraph

    made = Text()
    paragraph = Paragraph(made.markup(text))
    assert paragraph.wrap(200, 10_000)[1] < 700  # it fits a page
    assert sum(len(shown) for _, shown in made.runs(text, longest=100_000)) >= len(text)


def test_a_plate_of_1536_wells_is_bounded(config, system):
    fill_plate(system, "BIG", [Outcome.HARVESTABLE] * 1536, [0.9] * 1536, across=48, pictures=False)
    report = report_of_plate(system.ledger, "BIG")
    assert [(len(one.best), len(one.hits)) for one in report.plates] == [(48, 1536)]
    assert 20 < pages(pdf(report, {})) < 120


def test_the_plates_page_offers_both(client, plate, config):
    page = client.get(PATH).text
    for kind, media in (("pdf", "application/pdf"), ("html", "text/html; charset=utf-8")):
        assert f'href="{PATH}/report.{kind}"' in page
        answer = client.get(f"{PATH}/report.{kind}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, media)
        assert answer.headers["content-disposition"] == f'attachment; filename="CI022987_3_report.{kind}"'
        assert client.get(f"/plate/CI022987/4/report.{kind}").status_code == 404
    assert pages(client.get(f"{PATH}/report.pdf").content) >= 2
    assert 'act=export result=ok who="anna" kind="report.pdf"' in (config.home / "access.log").read_text()
