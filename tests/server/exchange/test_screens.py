"""Conditions from Rock Maker's screens, CrystalTrak's designs, and lists with ingredients in columns."""

from __future__ import annotations

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.exchange.conftest import PLATE
from xtalgrid_core.errors import ConfigError
from xtalgrid_core.outcomes import Outcome
from xtalgrid_server.config import from_string
from xtalgrid_server.domain.wells import Well
from xtalgrid_server.exchange.layouts import read_layout, unread
from xtalgrid_server.exchange.parts import condition_of, find_parts

# In the form of the schema in github.com/chrishmorris/PiMS: children in any order, the unit is the stock's.
RMXML = """<?xml version="1.0" encoding="utf-8"?>
<screen>
  <!-- the vendor's notice -->
  <conditions>{conditions}</conditions>
  <ingredients>
    <ingredient><name>HEPES</name><types><type>Buffer</type></types><stocks>
      <stock><localID>3</localID><stockConcentration>1</stockConcentration><units>M</units><pH>7.5</pH></stock>
    </stocks></ingredient>
    <ingredient><shortName>PEG 3350</shortName><stocks>
      <stock><units>%w\\v</units><localID>4</localID><stockConcentration>50</stockConcentration></stock>
    </stocks></ingredient>
  </ingredients>
</screen>"""
CONDITION = """<condition>
  <conditionIngredient><type>Buffer</type><concentration>0.1</concentration><pH>7.5</pH><stockLocalID>3</stockLocalID>
  </conditionIngredient>
  <conditionIngredient><stockLocalID>4</stockLocalID><concentration>{percent}</concentration></conditionIngredient>
</condition>"""
DESIGN = """<crystaltrak datatype="design"><reservoir_design name="x" design_date="2026-01-01" res_vol="50">
<format rows="8" cols="12" subs="1"/>
<well number="1" label="A1"><item name="Tris" class="Buffer" conc="  0.1 " units="M" ph="8.5"/>
<item name="PEG 3350" class="Precipitant" conc="20" units="w/v"/></well>
<well number="96" label="H12"><item name="MPD" class="Precipitant" conc="30" units="v/v"/></well>
</reservoir_design></crystaltrak>"""


def screen(wells: int) -> str:
    return RMXML.format(conditions="".join(CONDITION.format(percent=n) for n in range(1, wells + 1)))


@pytest.fixture
def layout(system, tmp_path):
    def read(content, name="screen.xml", toml="", barcode=PLATE):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_layout(from_string(toml, home=system.config.home), system.ledger, file, barcode)

    return read


@pytest.fixture
def condition(system):
    return lambda row, col: system.ledger.contents.of_plates([PLATE])(PLATE, Well(row, col, 1)).condition


def test_rock_makers_conditions_run_along_the_rows(layout, condition):
    assert layout(screen(96)).recorded == 96
    assert condition(1, 1) == "0.1 M HEPES pH 7.5, 1 % w/v PEG 3350"
    assert condition(1, 12).endswith("12 % w/v PEG 3350")
    assert condition(2, 1).endswith("13 % w/v PEG 3350")
    assert condition(8, 12).endswith("96 % w/v PEG 3350")
    assert layout(screen(96)).recorded == 0


def test_the_configured_format_tells_where_the_conditions_are(layout, condition):
    layout(screen(24), toml=f"[import.plates]\n{PLATE} = {{ rows = 8, columns = 3 }}\n")
    assert condition(2, 1).endswith("4 % w/v PEG 3350")


def test_half_a_plate_s_conditions_are_not_those_of_a_smaller_plate(layout, condition, system, score):
    note = (
        "the conditions are those of 48 wells, 8 rows × 6 columns, along the rows; if that is wrong, set import.plates"
    )
    assert list(unread(layout(screen(48), barcode="NEW"))) == [note, "no images of plate NEW yet"]
    score({(12, 1): Outcome.CLEAR})
    with pytest.raises(
        ConfigError, match=f"48 conditions are a plate of 48 wells.*but {PLATE} has images of well A12a"
    ):
        layout(screen(48))
    assert condition(1, 7) == ""
    done = layout(screen(48), toml=f"[import.plates]\n{PLATE} = {{ rows = 8, columns = 12 }}\n")
    assert list(unread(done)) == []
    assert condition(1, 7).endswith("7 % w/v PEG 3350")
    assert condition(2, 1).endswith("13 % w/v PEG 3350")


def test_crystaltraks_design(layout, condition):
    assert layout(DESIGN).rows == 2
    assert condition(1, 1) == "0.1 M Tris pH 8.5, 20 % w/v PEG 3350"
    assert condition(8, 12) == "30 % v/v MPD"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (screen(95), "95 conditions fill no usual plate; set the plate's format in import.plates"),
        (screen(96).replace("<localID>3<", "<localID>9<"), "condition 1: no stock '3' among the ingredients"),
        (RMXML.format(conditions=""), "a screen without conditions"),
        ("<html><body/></html>", "neither Rock Maker's screen nor CrystalTrak's reservoir_design"),
        ("<screen>", "not XML"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><screen>&a;</screen>', "declares a document type"),
        (DESIGN.replace('label="A1"', 'label="A999"'), "'A999' is on no plate"),
        (DESIGN.replace('label="A1"', 'label="?"'), "'\\?' is not a well"),
        (DESIGN.replace('label="H12"', 'label="A01"'), "the well A1 is in it twice"),
        (DESIGN.replace("Tris", "T" * 1001), "more than 1000 characters"),
    ],
)
def test_a_screen_that_cannot_be_used_is_refused_whole(layout, condition, text, reason):
    with pytest.raises(ConfigError, match=reason):
        layout(text)
    assert condition(1, 1) == ""


def test_a_screen_names_no_plate(layout):
    with pytest.raises(ConfigError, match="give the barcode with --barcode"):
        layout(DESIGN, barcode="")


C6 = """Screen,JCSG+
Owner,ann

Well,pH,Buffer,,,,Chem 1,,,
A1,7.5,0.1,M,HEPES,7.5,20,%w/v,PEG 3350,
A2,7,,,,,2,M,"NaCl, dry",
"""
NUMBERED = "well;Conc 1;Unit 1;Name 1;pH 1;Conc 2;Unit 2;Name 2\nA1;0,1;M;HEPES;7,5;20;%W/V;PEG 3350\n"
REPEATED = "well\tconcentration\tunits\tchemical\tconcentration\tunits\tchemical\nA1\t0.1\tM\tHEPES\t20\t%\tPEG 3350\n"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (C6, "0.1 M HEPES pH 7.5, 20 % w/v PEG 3350"),
        (NUMBERED, "0,1 M HEPES pH 7,5, 20 % w/v PEG 3350"),
        (REPEATED, "0.1 M HEPES, 20 % PEG 3350"),
        ("well,condition,conc,name\nA1,as written,1,x\n", "as written"),
    ],
)
def test_lists_with_ingredients_in_columns(layout, condition, table, expected):
    layout(table, "list.csv")
    assert condition(1, 1) == expected


def test_an_excel_list(layout, condition, tmp_path):
    book = openpyxl.Workbook()
    for row in [["My screen"], ["Well", "Condition", "Sample"], ["A1", "=2 M NaCl", "ABL1"], ["A2", None, "ABL1"]]:
        book.active.append(row)
    book.active["B3"].data_type = "s"
    book.save(tmp_path / "own.xlsx")
    done = layout((tmp_path / "own.xlsx").read_bytes(), "list.bin")
    assert (done.rows, done.recorded, done.passed_over) == (2, 2, ())
    assert condition(1, 1) == "=2 M NaCl"


word = st.text("abcXYZ 0123.%/", min_size=1, max_size=8).map(str.strip).filter(bool)


@given(st.lists(st.tuples(word, word, word), min_size=1, max_size=5))
def test_every_ingredient_is_in_the_condition_in_order(parts):
    names = [f"{what} {n}" for n in range(len(parts)) for what in ("conc", "unit", "name")]
    found = condition_of(find_parts(names), [cell for part in parts for cell in part])
    assert len(find_parts(names)) == len(parts)
    assert all(name in found for _, _, name in parts)
    assert found.count(", ") == len(parts) - 1
