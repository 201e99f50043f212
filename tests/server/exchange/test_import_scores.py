"""Scores from a lab's tables: whose they are, what they mean, which drops they are of."""

from __future__ import annotations

import csv
import io
import json
import os
import time
import tomllib
from datetime import datetime

import openpyxl
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from tests.server.conftest import INSPECTED, rigaku_name
from tests.server.exchange.conftest import PLATE, TOML
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.lines import one_line
from xtalgrid_core.outcomes import Group, Outcome
from xtalgrid_server.cli.main import main
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.images import ImageRow
from xtalgrid_server.domain.wells import Well, parse_well
from xtalgrid_server.exchange.export import export
from xtalgrid_server.exchange.foreign import Told, utc
from xtalgrid_server.exchange.import_scores import import_lines, import_scores
from xtalgrid_server.exchange.scored import export_scored
from xtalgrid_server.exchange.words import Words
from xtalgrid_server.ledger.entering import enter_images
from xtalgrid_server.reports.agreement import agreement_with_people, disagreements
from xtalgrid_server.reports.entries import Filter
from xtalgrid_server.steps.score_rules import peoples_scores
from xtalgrid_server.steps.system import System
from xtalgrid_server.web.app import create_app

TABLE = """barcode,inspection,well,score,by,at
CI022987,3,A1a,Crystals,ann,2012-11-22 10:00
CI022987,3,A2a,precipitate,ann,2012-11-22 10:00
CI022987,3,A3a,3D,ben,2012-11-23T09:30:00Z
CI022987,3,A4a,,,
"""


@pytest.mark.usefixtures("plate")
def test_people_count_wherever_people_count_and_twice_is_once(system, bring, held, tmp_path):
    done = bring(TABLE)
    assert (done.lines, done.new, done.known, done.without_score, done.refused) == (4, 3, 0, 1, 0)
    assert done.people == {"ann": 2, "ben": 1}
    assert held() == {"A1a": "any crystal", "A2a": "any precipitate", "A3a": "crystals harvestable"}

    agreement = agreement_with_people(system.config, system.ledger, Filter())
    assert str(agreement.agree).endswith("2 of 3")
    assert str(agreement.same_outcome).endswith("1 of 1")  # ann named groups only
    (differing,) = disagreements(system.config, system.ledger, Filter())
    assert (differing.well, differing.person, differing.group) == ("A1a", None, Group.CRYSTAL)
    assert (differing.code, differing.who, differing.origin) == ("Crystals", "ann", "scores.csv")
    assert differing.at == datetime(2012, 11, 22, 9)  # the lab's time was Berlin's

    export_scored(system.config, system.imager, system.ledger, tmp_path / "scored.csv")
    with (tmp_path / "scored.csv").open(newline="") as stream:
        labels = {row["well"]: row["outcome"] for row in csv.DictReader(stream)}
    assert labels == {"A1a": "any crystal", "A2a": "any precipitate", "A3a": "crystals harvestable"}

    again = bring(TABLE.replace(",", ";"), "the same in another file.csv")
    assert (again.new, again.known, again.without_score) == (0, 3, 1)
    changed = bring(TABLE.replace("Crystals,ann,2012-11-22", "clear,ANN,2012-11-25"))
    assert (changed.new, changed.known) == (1, 2)
    assert held()["A1a"] == "any clear"  # her newest


@pytest.mark.usefixtures("plate")
def test_the_viewer_shows_the_person_s_own_word_and_where_it_is_from(system, bring):
    bring(TABLE)
    bring("image,class,crystal,precipitate,other,clear\n" + rigaku_name(1) + ",Other,.1,.2,.4,.3\n", "marco.csv")
    with TestClient(create_app(system.config), base_url="http://localhost") as client:
        page = client.get(f"/well/{PLATE}/3/A1a").text
        assert "any crystal" in page
        assert "“Crystals” in scores.csv" in page
        assert "program, “Other” in marco.csv" in page
        assert "people disagree" not in page
        plate = client.get(f"/plate/{PLATE}/3?show=people").text
        assert "any crystal" in plate
        drops = {drop["well"]: drop for drop in client.get(f"/api/plates/{PLATE}/3").json()["drops"]}
    assert drops["A1a"]["people"] == {"ann": "any crystal"}
    assert drops["A1a"]["held_to_be"] == "any crystal"


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    ("table", "options"),
    [
        ("image,class,crystal,other,precipitate,clear\n{image},Crystals,0.926,0.026,0.026,0.022\n", {}),
        ("image,score,by\n{image},Crystals,ARTscore\n", {}),
        ("image,score,by\n{image},Crystals,CrystalScore\n", {}),
        ("image,score,by\n{image},Crystals,ARTSCORE\n", {}),  # as a rule of some score tables writes it
        ("image,score\n{image},Crystals\n", {"by": "crystalscore"}),
        ("image,score,by,kind\n{image},Crystals,Cinder,program\n", {}),
        ("image,score\n{image},Crystals\n", {"by": "MARCO 2018", "kind": "program"}),
    ],
)
def test_programs_are_never_people(system, bring, held, table, options):
    done = bring(table.format(image=rigaku_name(1)), **options)
    assert (done.new, done.people, done.programs.total()) == (1, {}, 1)
    assert held() == {}
    assert agreement_with_people(system.config, system.ledger, Filter()).agree.number == 0
    ((scores),) = system.ledger.imported_scores.of_plates([PLATE]).values()
    assert [score.meaning for score in scores] == [Group.CRYSTAL]


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("NOPE,3,A1a,clear,ann,", "no images of plate NOPE"),
        ("00012,3,A1a,clear,ann,", "it is a number: leading zeros are lost"),
        (",3,A1a,clear,ann,", "no barcode"),
        ("CI022987,3,H12a,clear,ann,", "no image of well H12a"),
        ("CI022987,9,A1a,clear,ann,", "no such inspection of this well; it has 3 on 2012-11-21"),
        ("CI022987,three,A1a,clear,ann,", "inspection is 'three', not a whole number"),
        ("CI022987,3,?,clear,ann,", "'?' is not a well"),
        ("CI022987,3,7,clear,ann,", "where is well number 7? Give the plate's format in import.plates"),
        ("CI022987,3,A1a,blob,ann,", "unknown word 'blob'"),
        ("CI022987,3,A1a,clear,,", "nobody who gave the score"),
        ("CI022987,3,A1a,clear,ann,45299.43", "'45299.43' is a number, not a date; in Excel"),
        ("CI022987,3,A1a,clear,ann,01/02/2012", "'01/02/2012' may be two dates"),
        ("CI022987,3,A1a,clear,ann,2199-01-01", "the date 2199-01-01 is impossible"),
        ("CI022987,3,A1a,clear,ann,yesterday", "'yesterday' is not a date"),
        ("CI022987,3,A1a,clear,ann,,0,5", "8 cells, but the header has 6"),
    ],
)
def test_a_line_is_refused_by_its_number_and_the_others_count(bring, held, line, reason):
    done = bring(f"{TABLE.splitlines()[0]}\n{line}\nCI022987,3,A1a,clear,eve,\n")
    assert (done.lines, done.new, done.refused) == (2, 1, 1)
    assert done.first_refused[0].line == 2
    assert reason in done.first_refused[0].reason
    assert held() == {"A1a": "any clear"}


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    ("at", "read"),
    [
        ("22.11.2012 14:05", datetime(2012, 11, 22, 13, 5)),  # Berlin's winter is an hour ahead of UTC
        ("22.11.2012 9:05", datetime(2012, 11, 22, 8, 5)),
        ("22.11.2012 02:05:30 PM", datetime(2012, 11, 22, 13, 5, 30)),
        ("2012-11-22 2:05 p.m.", datetime(2012, 11, 22, 13, 5)),
        ("2012-11-22 12:05 AM", datetime(2012, 11, 21, 23, 5)),
        ("2012-11-22 14:05 UTC", datetime(2012, 11, 22, 14, 5)),
        ("2012-11-22 14:05:30 -0500", datetime(2012, 11, 22, 19, 5, 30)),
        ("Thu, 22 Nov 2012 14:05:30 GMT", datetime(2012, 11, 22, 14, 5, 30)),
        ("1-Jul-2013 9:05", datetime(2013, 7, 1, 7, 5)),
        ("2012-11-22 14:05 EST", None),
        ("2012-11-22 25:05", None),
        ("2012-11-22 14:05 PM", None),
        ("2012-11-22 or 2012-11-23 9:00", None),
    ],
)
def test_no_part_of_a_time_is_passed_over(system, bring, at, read):
    done = bring(f'{TABLE.splitlines()[0]}\nCI022987,3,A1a,clear,ann,"{at}"\n')
    times = [one.at for scores in system.ledger.imported_scores.of_plates([PLATE]).values() for one in scores]
    assert times == ([read] if read else [])
    assert [one.reason for one in done.first_refused] == ([] if read else [f"{at!r} is not a date such as 2024-01-31"])


@pytest.mark.usefixtures("plate")
def test_blanks_without_end_are_no_date(bring):
    started = time.process_time()
    done = bring(f"{TABLE.splitlines()[0]}\nCI022987,3,A1a,clear,ann,2012-11-22{' ' * 100_000}x\n")
    assert done.first_refused[0].reason.endswith("… is not a date such as 2024-01-31")
    assert time.process_time() - started < 5


@pytest.mark.usefixtures("plate")
def test_the_afternoon_is_after_the_morning(bring, held):
    lines = "CI022987,3,A1a,clear,ann,22.11.2012 01:30 PM\nCI022987,3,A1a,Crystals,ann,22.11.2012 11:00 AM\n"
    assert bring(f"{TABLE.splitlines()[0]}\n{lines}").new == 2
    assert held() == {"A1a": "any clear"}


@pytest.mark.usefixtures("plate")
def test_a_note_beside_a_table_in_excel_costs_no_line(bring, held, tmp_path):
    book = openpyxl.Workbook()
    book.active.append(("image", "score", "by"))
    book.active.append((rigaku_name(1), "Crystals", "ann", None, "look again"))
    book.save(tmp_path / "scores.xlsx")
    assert bring(tmp_path / "scores.xlsx").new == 1
    assert held() == {"A1a": "any crystal"}


@pytest.mark.usefixtures("plate")
def test_probabilities_in_percent(system, bring, tmp_path):
    head = ("image", "class", "crystal", "precipitate", "other", "clear")
    book = openpyxl.Workbook()
    book.active.append(head)
    book.active.append((rigaku_name(1), "Crystals", 0.85, 0.07, 0.02, 0.06))
    for cell in book.active[2]:
        cell.number_format = "0%"  # as Excel formats a cell in which somebody types 85%
    book.save(tmp_path / "marco.xlsx")
    assert bring(tmp_path / "marco.xlsx").new == 1
    line = f'{rigaku_name(2)};Crystals;85%;"7,0 %";2%;6%'
    assert bring(f"{';'.join(head)}\n{line}\n", "marco.csv").new == 1
    numbers = [one.numbers for scores in system.ledger.imported_scores.of_plates([PLATE]).values() for one in scores]
    assert len(numbers) == 2
    for one in numbers:
        assert one == pytest.approx({"Crystals": 0.85, "Precipitate": 0.07, "Other": 0.02, "Clear": 0.06})


@pytest.mark.parametrize(("last", "well"), [("D6", None), ("H6", None), ("H12", "B1a"), ("P24", "A13a")])
def test_a_part_of_a_plate_is_not_taken_for_a_smaller_plate(system, bring, last, well):
    corner = parse_well(f"{last}a")
    wells = {Well(1, 1, 1), Well(2, 1, 1), Well(3, 1, 1), Well(1, 13, 1), corner}
    rows = [
        ImageRow(number, "HALF", 1, INSPECTED, each, f"HALF_{each}.jpg")
        for number, each in enumerate((each for each in sorted(wells) if each.col <= corner.col), start=1)
    ]
    with system.ledger._db.writing() as connection:
        enter_images(connection, system.ledger._db.source, rows)
    done = bring("barcode,well_number,score,by\nHALF,13,clear,ann\n")
    found = [str(image.well) for image, _ in system.ledger.person_scores.imported(["HALF"])]
    assert found == ([well] if well else [])
    assert done.refused == (well is None)
    if well is None:  # 13 is B1 on a plate of 96 wells, whose first rows or columns these may be
        assert "where is well number 13? Give the plate's format in import.plates" in done.first_refused[0].reason


@pytest.mark.usefixtures("plate")
def test_two_words_at_the_same_time_are_not_both_her_newest(bring, held):
    lines = [f"CI022987,3,A1a,{word},ann,2012-11-22" for word in ("clear", "Crystals", "clear")]
    done = bring("\n".join([TABLE.splitlines()[0], *lines, "CI022987,3,A2a,clear,ann,2012-11-22", ""]))
    assert (done.new, done.known, done.refused) == (2, 1, 1)
    assert done.first_refused[0].line == 3
    assert done.first_refused[0].reason == "ann said otherwise in an earlier line, with the same time; remove one"
    assert held() == {"A1a": "any clear", "A2a": "any clear"}


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("barcode,inspection,well\nCI022987,3,A1a", ["A1a"]),
        ("plate,inspection,well\n3100,3,a01a", ["A1a"]),  # by scores.plates
        ("barcode,inspection,well,drop\nCI022987,3,B1,2", ["B1b"]),
        ("barcode,inspection,well,subwell\nCI022987,3,B1,b", ["B1b"]),
        ("barcode,inspection,row,col\nCI022987,3,1,1", ["A1a"]),
        ("barcode,inspection,row,col\nCI022987,3,A,1", ["A1a"]),
        ("barcode,inspection,well\nCI022987,3,B1", "several drops in well B1: B1a, B1b; say which"),
        ("barcode,well\nCI022987,A1a", "several inspections in all (3, 4, 5); say which"),
        ("barcode,inspected,well\nCI022987,2012-11-21,A1a", ["A1a"]),
        ("barcode,date,well\nCI022987,2012-11-21,A1a", ["A1a"]),
        ("barcode,date imaged,well\nCI022987,2012-11-23,A1a", "several inspections on this day (4, 5); say which"),
        ("barcode,date imaged,well\nCI022987,2012-11-23 16:00:00,A1a", ["A1a"]),
        ("barcode,inspected,well\nCI022987,2012-11-24,A1a", "no such inspection of this well"),
        ("image\n{first}", ["A1a"]),
        ("path\nZ:\\images\\3\\{first}", ["A1a"]),
        ("path,barcode\n/mnt/{first},OTHER", "is of plate CI022987, not OTHER"),
        ("image\nA1.jpg", "several images are named A1.jpg (CI022987 inspection 4 C1a, P2 inspection 1 A1a)"),
        ("image\nP2/A1.jpg", ["A1a of P2"]),
        ("image\nZ:\\runs\\P2_2024\\A2.jpg", ["A2a of P2"]),
        ("image\nA2.jpg", ["A2a of P2"]),
        ("image\nP22/A2.jpg", "A2.jpg is of plate P2, which no folder of this path names; import this one's folder"),
        ("image,barcode\nP22/A2.jpg,P2", ["A2a of P2"]),
        ("image,barcode\nA1.jpg,P2", ["A1a of P2"]),
        ("image\nmissing.jpg", "no image named missing.jpg in the ledger"),
        ("image,barcode,inspection,well\nmoved.jpg,CI022987,3,A1a", ["A1a"]),
    ],
)
def test_the_drop_that_a_line_means_or_why_there_is_none(system, score, bring, place, found):
    score({(1, 1): Outcome.CLEAR})
    day = INSPECTED.replace(day=23)
    for number, hour in ((4, 14), (5, 16)):
        score({(1, 1): Outcome.CLEAR}, inspection=number, inspected=day.replace(hour=hour))
    places = (Well(2, 1, 1), 3, PLATE, "b1.jpg"), (Well(2, 1, 2), 3, PLATE, "b2.jpg")
    places += (
        (Well(3, 1, 1), 4, PLATE, "A1.jpg"),
        (Well(1, 1, 1), 1, "P2", "A1.jpg"),
        (Well(1, 2, 1), 1, "P2", "A2.jpg"),
    )
    rows = [ImageRow(0, plate, number, INSPECTED, well, name) for well, number, plate, name in places]
    _enter(system, system.imager.register(rows))
    header, line = place.format(first=rigaku_name(1)).splitlines()
    done = bring(f"{header},score,by\n{line},clear,ann\n")
    if isinstance(found, str):
        assert found in done.first_refused[0].reason
        return
    assert done.first_refused == []
    given = system.ledger.imported_scores.with_images([PLATE, "P2"])
    wells = [f"{row.well}" + ("" if row.barcode == PLATE else f" of {row.barcode}") for row, _ in given]
    assert wells == found


def _enter(system, rows):
    with system.ledger._db.writing() as connection:
        enter_images(connection, system.ledger._db.source, rows)


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    ("table", "missing"),
    [
        ("barcode,well,by\nX,A1,ann\n", "no column says the score (score, class"),
        ("barcode,score,by\nX,clear,ann\n", "no column says the image or the well"),
        ("well,score,by\nA1,clear,ann\n", "no column says the plate (barcode); or give it with --barcode"),
        ("barcode,well,score\nX,A1,clear\n", "no column says who gave the scores (by); or give it with --by"),
        ("barcode,well,class,label,by\nX,A1,clear,clear,ann\n", "'class' and 'label' may both be score"),
        ("barcode,well,score,score,by\nX,A1,clear,clear,ann\n", "may both be score; rename one of them in the file"),
        ("barcode,well,score,score,class,by\nX,A1,clear,,,ann\n", 'columns = { score = "class" }'),
        ("just one line of prose", "Its columns: 'just one line of prose'"),
        ("", "Its columns: none"),
    ],
)
def test_what_a_table_lacks_is_asked_for(bring, table, missing):
    with pytest.raises(ConfigError) as error:
        bring(table)
    assert missing in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize("word", ['5" wide', "a\\b", "\\u0041", "bell\x07", "\x7f", "\u202e", "'"])
def test_what_is_suggested_for_an_unknown_word_is_toml(bring, tmp_path, word):
    file = io.StringIO()
    csv.writer(file).writerows([("image", "score", "by"), (rigaku_name(1), word, "ann")])
    done = bring(file.getvalue())
    (said,) = (one_line(line) for line in import_lines(done, dry_run=True) if "[scores]" in line)
    toml = said.partition("such as ")[2].replace("[scores] ", "[scores]\n")
    assert list(tomllib.loads(toml)["scores"]["names"]) == [word]
    config = from_string(toml, home=tmp_path / "home")
    assert Words(config).meaning(word) is Group.CRYSTAL


@pytest.mark.usefixtures("plate")
def test_columns_as_the_lab_calls_them(tmp_path, system, bring, held):
    toml = TOML.replace(
        "[scores.names]", '[scores.columns]\nwell = "Lage"\nscore = "Bewertung"\nby = "wer"\n[scores.names]'
    )
    config = from_string(toml, home=tmp_path / "home")
    file = tmp_path / "werte.csv"
    file.write_text("Titel der Liste\n\nPlatte;Lage;Bewertung;wer;barcode\nx;A1a;Needles;ann;CI022987\n")
    done = import_scores(config, system.imager, system.ledger, file, Told())
    assert (done.new, done.notes) == (1, ["ignored the columns platte"])
    assert held() == {"A1a": "any crystal"}


@pytest.mark.usefixtures("plate")
def test_probabilities_that_the_published_script_mixed_up_are_refused(bring):
    rows = [
        (0.9, 0.06, 0.03, 0.01),
        (0.8, 0.1, 0.07, 0.03),
        (0.92, 0.03, 0.03, 0.02),
        (0.5, 0.3, 0.1, 0.1),
        (1, 0, 0, 0),
    ]
    head = "image,crystal,precipitant,clear,other\n"
    lines = [f"{rigaku_name(n % 4 + 1)},{','.join(map(str, row))}\n" for n, row in enumerate(rows)]
    with pytest.raises(
        ConfigError, match=r"in all 5 rows the probabilities fall.*MARCO's scores to ISPyB mixes them up"
    ):
        bring(head + "".join(lines))
    assert bring(head + "".join(lines), accept_sorted=True).new == 4  # one image twice
    honest = lines[0].replace("0.9,0.06,0.03,0.01", "0.06,0.9,0.03,0.01")
    assert bring(head + "".join([honest, *lines[1:]])).new == 1


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    ("four", "reason"),
    [
        ("0.9,0.9,0.9,0.9", "sum to 3.6, not to 1"),
        ("nan,0,0,1", "crystal is 'nan', not a probability"),
        ("-1,1,1,0", "crystal is '-1', not a probability"),
        ("1e999,0,0,0", "not a probability"),
        ("a,b,c,d", "not a probability"),
    ],
)
def test_probabilities_that_are_none_are_refused(bring, four, reason):
    done = bring(f"image,crystal,precipitate,other,clear\n{rigaku_name(1)},{four}\n")
    assert reason in done.first_refused[0].reason


@pytest.mark.usefixtures("plate")
def test_a_dry_run_and_the_file_of_refused_lines(system, bring, held, tmp_path):
    done = bring(TABLE + "CI022987,3,A1a,=cmd(),ann,\n", dry_run=True, refused_file=tmp_path / "no.csv")
    assert (done.new, done.refused, held()) == (3, 1, {})
    assert (tmp_path / "no.csv").read_text() == "file,line,reason\n,6,unknown word '=cmd()'; add it to scores.names\n"


@pytest.mark.usefixtures("plate")
def test_the_command_accounts_for_every_line(system, tmp_path):
    (tmp_path / "xtalgrid.toml").write_text(TOML)
    (tmp_path / "scores.csv").write_text(TABLE + "CI022987,3,A1a,blob,ann,\n")
    home = ["--config", str(tmp_path / "xtalgrid.toml"), "--home", str(tmp_path / "home"), "import-scores"]
    result = CliRunner().invoke(main, [*home, str(tmp_path / "scores.csv")])
    assert result.exit_code == 1
    assert "5 lines = 3 new + 0 known + 1 without a score + 1 refused" in result.output
    assert "people    3 new scores: ann 2, ben 1" in result.output
    assert "refused   line 6: unknown word 'blob'" in result.output
    assert '[scores] names = { "blob" = "any crystal" }' in result.output
    account = json.loads(CliRunner().invoke(main, [*home, str(tmp_path / "scores.csv"), "--json"]).output)
    assert (account["lines"], account["new"], account["known"]) == (5, 0, 3)
    assert account["first_refused"][0]["line"] == 6
    shown = CliRunner().invoke(main, [*home[:-1], "history", PLATE, "A1a"]).output
    assert "person ann: “Crystals”  (any crystal; imported from scores.csv)" in shown
    shown = CliRunner().invoke(main, [*home[:-1], "disagreements"]).output
    assert "Crystals any crystal" in shown


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.replace(",", "\t").encode("utf-16"),
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.replace(",", "\t").replace("\n", "\r\n").encode("utf-16-le"),
        lambda text: text.replace(",", ";").replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
    ],
)
def test_tables_as_spreadsheets_save_them(bring, held, encode):
    done = bring(encode(TABLE.replace("ann", "Änne")))
    assert (done.new, dict(done.people)) == (3, {"Änne": 2, "ben": 1})
    assert held()["A1a"] == "any crystal"


@pytest.mark.usefixtures("plate")
def test_decimal_commas(bring):
    done = bring(f"image;crystal;precipitate;other;clear\n{rigaku_name(1)};0,926;0,026;0,026;0,022\n")
    assert (done.new, done.refused) == (1, 0)


@pytest.mark.usefixtures("plate")
def test_an_excel_table(system, bring, held, tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "notes"
    book.active.append(["nothing here"])
    sheet = book.create_sheet("plate 1")
    sheet.append(["Scores of November"])
    sheet.merge_cells("A1:F1")
    sheet.append(["Barcode", "Inspection", "Well", "Score", "By", "At"])
    sheet.append([PLATE, 3, "A1a", "3D", "ann", datetime(2012, 11, 22, 10, 0)])
    sheet.append([PLATE, 3.0, "A2a", 13, "ann", datetime(2012, 11, 22, 10, 0)])
    sheet.append([PLATE, 3, "A3a", "clear", "ann", 45299.43])
    book.save(tmp_path / "scores.xlsx")
    done = bring(tmp_path / "scores.xlsx")
    assert (done.lines, done.new, done.refused) == (3, 2, 1)
    assert done.first_refused[0].reason.startswith("'45299.43' is a number, not a date")
    assert done.first_refused[0].line == 5
    assert held() == {"A1a": "crystals harvestable", "A2a": "precipitate"}
    (score, _) = (one for _, one in system.ledger.imported_scores.with_images([PLATE]))
    assert score.at == datetime(2012, 11, 22, 9)


@pytest.mark.usefixtures("plate")
def test_rows_that_excel_hides_are_read_and_counted(bring, held, tmp_path):
    """Whoever filters a table to look at it expects all of it to come; whoever hides rows to leave them out does not."""
    book = openpyxl.Workbook()
    for line in TABLE.splitlines():
        book.active.append([cell and (int(cell) if cell.isdecimal() else cell) for cell in line.split(",")])
    for hidden in (2, 4, 5):
        book.active.row_dimensions[hidden].hidden = True
    book.save(tmp_path / "scores.xlsx")
    done = bring(tmp_path / "scores.xlsx")
    assert (done.lines, done.new, done.hidden) == (4, 3, 3)
    assert set(held()) == {"A1a", "A2a", "A3a"}
    assert any("3 rows are hidden in Excel" in line for line in import_lines(done, False))
    assert not any("hidden" in line for line in import_lines(bring(TABLE), False))


@pytest.mark.usefixtures("plate")
def test_columns_that_excel_hides_are_read_and_named(bring, held, tmp_path):
    """As the names, which somebody hid to print the table; of columns that are ignored nothing is said."""
    book = openpyxl.Workbook()
    for line in TABLE.splitlines():
        book.active.append([*line.split(","), "note"])
    for name in ("Old", "Older"):
        book.create_sheet(name).sheet_state = "veryHidden"
    for letter, last in (("E", 5), ("G", 16384)):  # as Excel hides all columns on the right
        hidden = book.active.column_dimensions[letter]
        hidden.min, hidden.max, hidden.hidden = openpyxl.utils.column_index_from_string(letter), last, True
    book.save(tmp_path / "scores.xlsx")
    done = bring(tmp_path / "scores.xlsx")
    assert (done.new, set(held())) == (3, {"A1a", "A2a", "A3a"})
    beside, said = [line for line in import_lines(done, False) if "hidden" in line]
    assert "the sheets Old, Older are hidden in Excel, and not read" in beside
    assert "the column by is hidden in Excel, and read like the others; delete in the file what was meant" in said


def test_our_own_export_comes_in_again(system, score, bring, held, tmp_path):
    """Into another ledger people's scores; into the same one nothing, as they are known."""
    (row, other) = score({(1, 1): Outcome.CLEAR, (2, 1): Outcome.CLEAR})
    ids = {image.image_name: image.image_id for image in system.ledger.images.of_plate(PLATE)}
    system.ledger.corrections.add(ids[row.image_name], Outcome.CLEAR, "ann")
    bring(f"image,score,by\n{other.image_name},Crystals,ben\n")
    export(system.config, system.ledger, "csv", tmp_path / "ours.csv", Filter())
    before = held()
    assert before == {"A1a": "clear", "A2a": "any crystal"}
    done = bring(tmp_path / "ours.csv")
    assert (done.format, done.lines, done.known, done.new) == ("our own export", 2, 2, 0)
    with System(from_string(TOML, home=tmp_path / "elsewhere")) as elsewhere:
        _enter(elsewhere, elsewhere.imager.register([row, other]))
        done = import_scores(elsewhere.config, elsewhere.imager, elsewhere.ledger, tmp_path / "ours.csv")
        assert (done.new, dict(done.people)) == (2, {"ann": 1, "ben": 1})
        given = {str(image.well): one.meaning for image, one in elsewhere.ledger.person_scores.imported([PLATE])}
        assert given == {"A1a": Outcome.CLEAR, "A2a": Group.CRYSTAL}
        assert isinstance(given["A1a"], Outcome)


def test_a_person_s_score_from_a_file_keeps_the_artscore_away_like_any_other(system, plate, bring):
    bring(TABLE)
    scores = system.ledger.scores.newest([row.inspect_id for row in plate])
    rows = {row.inspect_id: [] for row in plate}
    peoples = peoples_scores(system.config, system.ledger, rows, scores)
    assert {inspect_id: [(one.code, one.by) for one in given] for inspect_id, given in peoples.items() if given} == {
        plate[0].inspect_id: [("any crystal", "ann")],
        plate[1].inspect_id: [("any precipitate", "ann")],
        plate[2].inspect_id: [("23", "ben")],
    }


@pytest.mark.usefixtures("plate")
def test_a_person_without_times_may_change_their_mind_and_back(bring, held):
    """As in an export of another program's present scores."""
    table = f"image,score,by\n{rigaku_name(1)},{{}},Rock Maker\n"
    for word in ("clear", "Crystals", "clear"):
        assert bring(table.format(word)).new == 1
        assert bring(table.format(word)).known == 1
        assert held()["A1a"] == f"any {'crystal' if word == 'Crystals' else 'clear'}"


@pytest.mark.usefixtures("plate")
def test_lines_that_contradict_each_other_without_times_are_refused(bring, held):
    table = f"image,score,by\n{rigaku_name(1)},clear,ann\n{rigaku_name(1)},Crystals,ANN\n{rigaku_name(1)},clear,ann\n"
    for new, known in ((1, 1), (0, 2)):
        done = bring(table)
        assert (done.lines, done.new, done.known, done.refused) == (3, new, known, 1)
        assert "ANN said otherwise in an earlier line, and neither has a time" in done.first_refused[0].reason
    assert held() == {"A1a": "any clear"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('[{"input": "A1.jpg", "scores": {"Clear": 0.1, "Crystals": 0.7}}]', "MARCO's answers as JSON.*make a table"),
        ('{"classes": ["Crystals", "Other"], "scores": [0.9, 0.1]}\n', "MARCO's answers as JSON"),
        ('\ufeff{"CLASSES": ["Crystals", "Other"], "SCORES": [0.9, 0.1]}\n', "MARCO's answers as JSON"),
        ('{"barcode": "P1", "outcome": "clear"}\n', "JSON, but no run of Polo; save the scores as a table"),
        ('{"images": [], "annotations": [], "categories": []}', "COCO, no table of scores; boxes and outlines"),
        ("P1-jpg.rar\tmsoversion2\r\n#\tc\r\n1\tx\t90\r\n", r"MarcoscopeJ's classes \(.mso\).*well_number,score"),
    ],
)
def test_files_of_programs_that_are_not_read_are_named(bring, content, reason):
    with pytest.raises(ConfigError, match=reason):
        bring(content)


def test_marcos_answers_are_named_in_utf_16_too(bring):
    with pytest.raises(ConfigError, match="MARCO's answers as JSON"):
        bring('{"classes": ["Crystals"], "scores": [0.9]}\n'.encode("utf-16"))


@pytest.mark.usefixtures("plate")
def test_what_is_said_of_mso_can_be_done(tmp_path, system):
    toml = TOML.replace("[scores.names]", '[scores.names]\n"90" = "any crystal"\n"50" = "any precipitate"')
    config = from_string(toml + '[import.plates]\n"CI*" = { rows = 8, columns = 12 }\n', home=tmp_path / "home")
    (tmp_path / "classes.csv").write_text("well_number,score\n1,90\n2,50\n")
    told = Told(barcode=PLATE, by="ann")
    assert import_scores(config, system.imager, system.ledger, tmp_path / "classes.csv", told).new == 2


def test_a_named_pipe_is_not_waited_for(bring, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ConfigError, match="neither a file nor a folder"):
        bring(tmp_path / "pipe.csv")


@pytest.mark.usefixtures("plate")
def test_a_word_and_a_person_are_known_however_their_letters_are_written(bring, held, system):
    """The configuration has ü as one letter, a table from a Mac as two characters; both look alike."""
    named = from_string(TOML.replace('"skin" = "33"', '"Trüb" = "any precipitate"'), home=system.config.home)
    line = f"barcode,inspection,well,score,by\n{PLATE},3,A1a,Tru\u0308b,Jo\u0308rg\n"
    with System(named) as lab:
        file = named.home / "scores.csv"
        for text in (line, line.replace("Jo\u0308rg", "J\u00f6rg")):
            file.write_text(text, encoding="utf-8")
            done = import_scores(named, lab.imager, lab.ledger, file, Told())
            assert done.refused == 0
        assert done.known == 1, "the same person said the same"
    assert held() == {"A1a": "any precipitate"}


def test_the_hour_that_comes_twice_is_told_apart_by_its_zone(config):
    """On 25 October 2026 it is 2:30 twice in Berlin: at 0:30 and at 1:30 UTC."""
    for text, hour in (("2026-10-25T00:30:00Z", 0), ("2026-10-25T01:30:00Z", 1), ("2026-10-25T02:30:00+01:00", 1)):
        assert utc(config, text) == datetime(2026, 10, 25, hour, 30)
    assert utc(config, "2026-07-01T12:00:00") == datetime(2026, 7, 1, 10)
    with pytest.raises(ValueError, match="impossible"):
        utc(config, "1970-01-01T00:00:00Z")


@pytest.mark.usefixtures("plate")
@pytest.mark.parametrize(
    "line",
    ["inspection,well,score,by\n3.0,A1a,Clear,ann\n", "inspection,row,col,drop,score,by\n3.0,1.0,1.0,1.0,Clear,ann\n"],
)
def test_whole_numbers_with_a_point_are_whole(bring, held, line):
    """As pandas writes a column in which one number is missing."""
    assert bring(line, barcode=PLATE).new == 1
    assert held() == {"A1a": "any clear"}
    assert bring(line.replace("3.0", "3.5"), barcode=PLATE).refused == 1
